//! The protection of the data on its path through a run, store by store and hop by hop, each with
//! its encryption and how far that is shown. It is derived from the report's plan, findings and
//! residual risks.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::document::{
    RecordedCluster, RecordedFinding, RecordedLevel, RecordedLookup, RecordedStatus,
    RecordedSurvey, RecordedTarget, RecordedTouch, RunReport,
};

/// How far a protection is shown; later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// Observed on the resource itself, or enforced by AWS.
    Passed,
    /// It follows from verified settings; the resource itself was not looked up, or cannot be.
    Inferred,
    /// It is not as required, and an exception in the settings covers that.
    Excepted,
    /// It was not looked up, or is unknown.
    Gap,
    /// Facts show that it is missing.
    Failed,
}

impl Proof {
    pub(super) const ALL: [Self; 5] =
        [Self::Passed, Self::Inferred, Self::Excepted, Self::Gap, Self::Failed];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Inferred => "inferred",
            Self::Excepted => "excepted",
            Self::Gap => "gap",
            Self::Failed => "failed",
        }
    }

    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "seen on the thing itself, or enforced by AWS",
            Self::Inferred => "follows from settings that were verified",
            Self::Excepted => "not as required; an exception covers it",
            Self::Gap => "not looked at, or not visible",
            Self::Failed => "facts show that it is not there",
        }
    }
}

/// A protection: how far it is shown, in words, and by which checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StationProtection {
    pub(super) proof: Proof,
    pub(super) what: String,
    pub(super) by: BTreeSet<String>,
}

impl StationProtection {
    fn new(proof: Proof, what: impl Into<String>) -> Self {
        Self { proof, what: what.into(), by: BTreeSet::new() }
    }

    fn by(mut self, check: &str) -> Self {
        self.by.insert(check.to_owned());
        self
    }
}

/// A station on the data's path. There is at most one of each kind, so that each has its own place
/// in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StationKind {
    /// The run's input: collectors' files, or those of Stream Enrich.
    Input,
    /// `raw.processing`.
    Processing,
    /// The cluster: memory, disks and the traffic between its nodes.
    Cluster,
    /// `enriched.good`.
    Enriched,
    /// `shredded.good`.
    Shredded,
    /// Bad rows and errors.
    Bad,
    /// `raw.archive`.
    RawArchive,
    /// `enriched.archive`.
    EnrichedArchive,
    /// `shredded.archive`.
    ShreddedArchive,
    /// `log`.
    Logs,
    /// The database that events are loaded into.
    Warehouse,
    /// The index for bad rows.
    Index,
    /// The shredder's records of events seen before.
    Tracking,
}

impl StationKind {
    /// The station of a location; none for code and schemas.
    fn of_role(role: &str) -> Option<Self> {
        Some(match role {
            "raw.processing" => Self::Processing,
            "raw.archive" => Self::RawArchive,
            "enriched.good" => Self::Enriched,
            "enriched.archive" => Self::EnrichedArchive,
            "shredded.good" => Self::Shredded,
            "shredded.archive" => Self::ShreddedArchive,
            "log" => Self::Logs,
            "enriched.stream" => Self::Input,
            role if role.starts_with("raw.in") => Self::Input,
            role if matches!(role.rsplit('.').next(), Some("bad" | "errors")) => Self::Bad,
            _ => return None,
        })
    }

    fn of_purpose(purpose: &str) -> Option<Self> {
        Some(match purpose {
            "ENRICHED_EVENTS" => Self::Warehouse,
            "FAILED_EVENTS" => Self::Index,
            "DUPLICATE_TRACKING" => Self::Tracking,
            _ => return None,
        })
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Input => "Input",
            Self::Processing => "Raw, processing",
            Self::Cluster => "EMR cluster",
            Self::Enriched => "Enriched events",
            Self::Shredded => "Shredded events",
            Self::Bad => "Bad rows",
            Self::RawArchive => "Raw archive",
            Self::EnrichedArchive => "Enriched archive",
            Self::ShreddedArchive => "Shredded archive",
            Self::Logs => "Logs",
            Self::Warehouse => "Warehouse",
            Self::Index => "Index of bad rows",
            Self::Tracking => "Event manifest",
        }
    }
}

/// One part of a station: a location, a target, or a layer of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StationPart {
    pub(super) name: String,
    pub(super) protection: StationProtection,
}

/// A station, with the protection of its data at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Station {
    pub(super) kind: StationKind,
    pub(super) parts: Vec<StationPart>,
}

impl Station {
    /// The worst of its parts.
    pub(super) fn proof(&self) -> Proof {
        self.parts.iter().map(|part| part.protection.proof).max().unwrap_or(Proof::Gap)
    }
}

/// A hop of the data, with its protection in transit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) from: StationKind,
    pub(super) to: StationKind,
    /// Who carries it.
    pub(super) by: BTreeSet<String>,
    pub(super) protection: StationProtection,
}

/// The path of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataPath {
    pub(super) stations: Vec<Station>,
    pub(super) hops: Vec<Hop>,
}

impl DataPath {
    pub(super) fn of(document: &RunReport) -> Self {
        let mut stations: BTreeMap<StationKind, Vec<StationPart>> = BTreeMap::new();
        let mut roles = BTreeSet::new();
        // Listing and deleting move no data.
        for touch in document.touches().iter().filter(|touch| moves(touch)) {
            if let Some(kind) = StationKind::of_role(&touch.role)
                && roles.insert(&touch.role)
            {
                stations.entry(kind).or_default().push(StationPart {
                    name: touch.role.clone(),
                    protection: in_s3(document, &touch.role),
                });
            }
        }
        for target in document.targets() {
            if let Some(kind) = StationKind::of_purpose(&target.purpose) {
                stations
                    .entry(kind)
                    .or_default()
                    .push(StationPart { name: named(target), protection: beyond_s3(document) });
            }
        }
        stations.insert(StationKind::Cluster, layers(document));
        let hops = ways(document)
            .into_iter()
            .filter(|((from, to), _)| stations.contains_key(from) && stations.contains_key(to))
            .map(|((from, to), way)| Hop {
                from,
                to,
                protection: on_the_way(document, to, &way),
                by: way.by,
            })
            .collect();
        Self {
            stations: stations.into_iter().map(|(kind, parts)| Station { kind, parts }).collect(),
            hops,
        }
    }
}

fn moves(touch: &RecordedTouch) -> bool {
    matches!(touch.access.as_str(), "read" | "write")
}

/// The display name of an actor.
fn actor(name: &str) -> &str {
    match name {
        "runner" => "the runner",
        "spark" => "Spark",
        "scalding" => "Scalding",
        "rdb-loader" => "RDB Loader",
        "emr" => "EMR",
        other => other,
    }
}

/// One hop between two stations, while it is built.
#[derive(Default)]
struct DataFlow {
    by: BTreeSet<String>,
    roles: BTreeSet<String>,
}

impl DataFlow {
    fn add(&mut self, touch: &RecordedTouch) {
        self.by.insert(actor(&touch.actor).to_owned());
        self.roles.insert(touch.role.clone());
    }
}

/// The hops between stations, in the order of the pipeline.
fn ways(document: &RunReport) -> Vec<((StationKind, StationKind), DataFlow)> {
    let mut ways: Vec<((StationKind, StationKind), DataFlow)> = Vec::new();
    let mut way = |from: StationKind, to: StationKind, touch: &RecordedTouch| {
        let index = ways.iter().position(|(ends, _)| *ends == (from, to)).unwrap_or_else(|| {
            ways.push(((from, to), DataFlow::default()));
            ways.len() - 1
        });
        ways[index].1.add(touch);
    };
    let touches: Vec<(&RecordedTouch, StationKind)> = document
        .touches()
        .iter()
        .filter(|touch| moves(touch))
        .filter_map(|touch| Some((touch, StationKind::of_role(&touch.role)?)))
        .collect();
    for (touch, kind) in &touches {
        let of_part = || {
            touches
                .iter()
                .filter(|(other, _)| other.part == touch.part && other.access != touch.access)
        };
        match (touch.part.as_deref(), touch.access.as_str(), kind) {
            // Logs come from the cluster, whoever copies them; the runner's use of them ends there.
            (_, "write", StationKind::Logs) if touch.actor != "runner" => {
                way(StationKind::Cluster, StationKind::Logs, touch);
            }
            (_, _, StationKind::Logs) => {}
            (
                Some(
                    "staging"
                    | "staging_stream_enrich"
                    | "archive_raw"
                    | "archive_enriched"
                    | "archive_shredded",
                ),
                _,
                _,
            ) => {
                for (other, other_kind) in of_part() {
                    let (from, to) = if touch.access == "read" {
                        (*kind, *other_kind)
                    } else {
                        (*other_kind, *kind)
                    };
                    way(from, to, touch);
                    way(from, to, other);
                }
            }
            (Some("rdb_load"), "read", _) => way(*kind, StationKind::Warehouse, touch),
            (Some("elasticsearch"), "read", _) => way(*kind, StationKind::Index, touch),
            (_, "read", _) => way(*kind, StationKind::Cluster, touch),
            (_, _, _) => {
                way(StationKind::Cluster, *kind, touch);
                if touch.part.as_deref() == Some("shred") {
                    way(StationKind::Cluster, StationKind::Tracking, touch);
                }
            }
        }
    }
    // Logs come last: all other data goes to a consumer.
    ways.sort_by_key(|((_, to), _)| *to == StationKind::Logs);
    ways
}

/// What a finding says about a protection, if anything: `proved` is how far a passed status shows
/// it.
fn said_by(finding: &RecordedFinding, proved: Proof) -> Option<StationProtection> {
    let proof = match finding.status {
        RecordedStatus::Passed => proved,
        RecordedStatus::Failed => Proof::Failed,
        RecordedStatus::Unknown => Proof::Gap,
        RecordedStatus::Excepted => Proof::Excepted,
        RecordedStatus::NotApplicable => return None,
    };
    let what = match (finding.status, finding.level) {
        (RecordedStatus::Excepted, _) => {
            format!(
                "{}; excepted: {}",
                finding.saw,
                finding.excepted.as_deref().unwrap_or_default()
            )
        }
        (RecordedStatus::Failed, RecordedLevel::Advisory) => {
            format!("{} (advice only)", finding.saw)
        }
        _ => finding.saw.clone(),
    };
    Some(StationProtection::new(proof, what).by(&finding.check))
}

/// The worst of several; of equals the first.
fn worst(protections: impl IntoIterator<Item = StationProtection>) -> Option<StationProtection> {
    protections
        .into_iter()
        .reduce(|worst, next| if next.proof > worst.proof { next } else { worst })
}

/// The objections if there are any, and otherwise the strongest evidence.
fn weighed(protections: Vec<StationProtection>) -> Option<StationProtection> {
    let (against, shown): (Vec<_>, Vec<_>) =
        protections.into_iter().partition(|protection| protection.proof > Proof::Inferred);
    worst(against).or_else(|| {
        shown.into_iter().reduce(|best, next| if next.proof < best.proof { next } else { best })
    })
}

/// Whether all objects were looked up, so that the result holds for all.
fn complete(survey: &RecordedSurvey) -> Proof {
    if survey.looked_at < survey.objects { Proof::Inferred } else { Proof::Passed }
}

/// Protection at rest in one location.
fn in_s3(document: &RunReport, role: &str) -> StationProtection {
    let mut shown = Vec::new();
    let by = format!("{role} by ");
    let written = document.written.iter().find(|written| written.role == role);
    for finding in document.of_check("written-objects").filter(|finding| finding.subject == role) {
        shown.extend(said_by(
            finding,
            written.map_or(Proof::Inferred, |written| complete(&written.survey)),
        ));
    }
    for finding in document.of_check("data-encrypted").filter(|finding| finding.subject == role) {
        let survey = document
            .facts
            .as_ref()
            .and_then(|facts| facts.data.get(role))
            .and_then(RecordedLookup::found);
        // If nothing exists yet, future writes count; and if nothing will be written, there is
        // nothing to protect.
        let is_empty = survey.is_some_and(|survey| survey.objects == 0);
        if !is_empty
            || finding.is_open()
            || document
                .of_check("written-encryption")
                .all(|finding| !finding.subject.starts_with(&by))
        {
            shown.extend(said_by(finding, survey.map_or(Proof::Inferred, complete)));
        }
    }
    let mut writers: Vec<StationProtection> = document
        .of_check("written-encryption")
        .filter_map(|finding| {
            let who = finding.subject.strip_prefix(&by)?;
            let said = said_by(finding, Proof::Inferred)?;
            Some(StationProtection { what: format!("{}, {who}", said.what), ..said })
        })
        .collect();
    let cluster_is_unsafe = document.clusters().iter().any(|cluster| cluster.is_unsafe);
    if cluster_is_unsafe
        && !writers.is_empty()
        && written.is_none_or(|written| written.survey.looked_at == 0)
    {
        writers.push(
            StationProtection::new(Proof::Gap, "a cluster was unsafe: what it wrote is suspect")
                .by("cluster-security-configuration"),
        );
    }
    let writers = worst(writers);
    // The protection of future writes matters only if no existing object was looked up.
    let seen = shown.iter().any(|protection| protection.proof == Proof::Passed);
    match writers {
        Some(writers) if !seen || writers.proof > Proof::Inferred => shown.insert(0, writers),
        _ => {}
    }
    weighed(shown).unwrap_or_else(|| StationProtection::new(Proof::Gap, "no check looked at it"))
}

/// Protection at rest in a storage target.
fn beyond_s3(document: &RunReport) -> StationProtection {
    match document.residual_risk("beyond-s3") {
        Some(_) => StationProtection::new(Proof::Gap, "at rest: not looked at"),
        None => StationProtection::new(Proof::Gap, "no check looked at it"),
    }
}

fn named(target: &RecordedTarget) -> String {
    target.name.clone().unwrap_or_else(|| target.file.clone())
}

/// The buckets of some locations, as far as the report contains them.
fn buckets<'a>(document: &'a RunReport, roles: &BTreeSet<String>) -> Option<BTreeSet<&'a str>> {
    let bucket = |role: &String| {
        let written = document.written.iter().find(|written| written.role == *role);
        written.and_then(|written| written.folders.first()).map(|folder| folder.bucket.as_str())
    };
    roles.iter().map(bucket).collect()
}

/// Protection in transit, between S3 and the reader or writer.
fn on_the_way(document: &RunReport, to: StationKind, way: &DataFlow) -> StationProtection {
    match to {
        StationKind::Warehouse | StationKind::Index | StationKind::Tracking => {
            return to_target(document, to);
        }
        _ => {}
    }
    // If the report does not contain a location's bucket, all of the run's buckets must pass.
    let among = buckets(document, &way.roles);
    let findings: Vec<&RecordedFinding> = document
        .of_check("bucket-tls-only")
        .filter(|finding| {
            among.as_ref().is_none_or(|among| among.contains(finding.subject.as_str()))
        })
        .collect();
    let open = findings.iter().find(|finding| finding.status != RecordedStatus::Passed);
    let check = "bucket-tls-only";
    match (findings.is_empty(), open) {
        (true, _) => {
            StationProtection::new(Proof::Inferred, "TLS, by the AWS clients' own default")
        }
        (false, None) => {
            StationProtection::new(Proof::Passed, "TLS: bucket policies deny plain http").by(check)
        }
        (false, Some(finding)) if finding.level == RecordedLevel::Required => {
            said_by(finding, Proof::Passed)
                .unwrap_or_else(|| StationProtection::new(Proof::Gap, finding.saw.clone()))
                .by(check)
        }
        (false, Some(finding)) => {
            let why = if finding.status == RecordedStatus::Failed {
                "would answer plain http too"
            } else {
                "has a policy that could not be read"
            };
            StationProtection::new(
                Proof::Inferred,
                format!("TLS, by the AWS clients' own default; {} {why}", finding.subject),
            )
            .by(check)
        }
    }
}

/// Protection in transit, to the storage targets of one kind.
fn to_target(document: &RunReport, kind: StationKind) -> StationProtection {
    let targets: Vec<&RecordedTarget> = document
        .targets()
        .iter()
        .filter(|target| StationKind::of_purpose(&target.purpose) == Some(kind))
        .collect();
    // Only the AWS SDK connects to DynamoDB.
    if !targets.is_empty() && targets.iter().all(|target| target.store.contains_key("dynamo-db")) {
        return StationProtection::new(Proof::Inferred, "TLS, by the AWS clients' own default");
    }
    let of_targets = document
        .of_check("target-tls")
        .filter(|finding| targets.iter().any(|target| target.file == finding.subject));
    worst(of_targets.filter_map(|finding| said_by(finding, Proof::Passed)))
        .unwrap_or_else(|| StationProtection::new(Proof::Gap, "no check looked at it"))
}

/// What contradicts a cluster's verification, or that it is unknown; `None` if it is verified, or
/// there was no cluster.
fn cluster_trouble(document: &RunReport) -> Option<StationProtection> {
    let decisive = [
        "cluster-security-configuration",
        "cluster-configurations",
        "cluster-groups",
        "step-arguments",
    ];
    let findings = decisive
        .iter()
        .flat_map(|check| document.of_check(check))
        .filter(|finding| !finding.not_there);
    let said = findings.filter_map(|finding| {
        Some(StationProtection {
            what: format!("the cluster: {}", finding.saw),
            ..said_by(finding, Proof::Passed)?
        })
    });
    worst(said).filter(|said| said.proof > Proof::Inferred)
}

/// One protection according to the security configuration, compared with the clusters that ran.
fn by_configuration(document: &RunReport, checks: &[&str], seen: bool) -> StationProtection {
    let before = checks
        .iter()
        .flat_map(|check| document.of_check(check))
        .filter_map(|finding| said_by(finding, Proof::Inferred));
    let Some(before) = worst(before) else {
        return StationProtection::new(Proof::Gap, "not required, and not looked at");
    };
    match cluster_trouble(document) {
        Some(trouble) if trouble.proof >= before.proof => trouble,
        None if seen && before.proof == Proof::Inferred => {
            StationProtection { what: format!("{}; the cluster runs it", before.what), ..before }
                .by("cluster-security-configuration")
        }
        _ => before,
    }
}

/// The layers of the cluster that store or transmit data.
fn layers(document: &RunReport) -> Vec<StationPart> {
    let seen = !document.clusters().is_empty();
    let in_transit = [
        "in-transit",
        "certificate-object",
        "certificate-key",
        "certificate-chain",
        "certificate-validity",
        "certificate-names",
        "certificate-strength",
    ];
    let mut layers = vec![StationPart {
        name: "Traffic between nodes".to_owned(),
        protection: by_configuration(document, &in_transit, seen),
    }];
    if let Some(residual_risk) = document.residual_risk("hdfs-rpc-privacy") {
        layers.push(StationPart {
            name: "HDFS and YARN RPC".to_owned(),
            protection: StationProtection::new(Proof::Gap, residual_risk.what.clone()),
        });
    }
    layers
        .push(StationPart { name: "EBS volumes".to_owned(), protection: volumes(document, seen) });
    let disks = by_configuration(document, &["local-disk-at-rest"], seen);
    layers.push(StationPart { name: "Local disks (LUKS)".to_owned(), protection: disks });
    layers
}

/// EBS volumes, which EC2 shows once they exist.
fn volumes(document: &RunReport, seen: bool) -> StationProtection {
    let looked_at = |cluster: &RecordedCluster| {
        cluster.findings.iter().any(|finding| finding.check == "cluster-volumes")
    };
    let all = seen && document.clusters().iter().all(looked_at);
    let found = worst(
        document
            .of_check("cluster-volumes")
            .filter(|finding| !finding.not_there)
            .filter_map(|finding| said_by(finding, Proof::Passed)),
    );
    match found {
        Some(found) if all || found.proof > Proof::Inferred => found,
        _ => by_configuration(document, &["local-disk-at-rest"], seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::tests::{RECORDED, parse, recorded};

    fn told(document: &RunReport) -> String {
        let path = DataPath::of(document);
        let parts = path
            .stations
            .iter()
            .flat_map(|station| station.parts.iter().map(move |part| (station.kind.title(), part)));
        let at_rest = parts.map(|(station, part)| {
            format!(
                "{station}, {}: {}: {}",
                part.name,
                part.protection.proof.word(),
                part.protection.what
            )
        });
        let hops = path.hops.iter().map(|hop| {
            let by: Vec<&str> = hop.by.iter().map(String::as_str).collect();
            let StationProtection { proof, what, .. } = &hop.protection;
            format!(
                "{} -> {} ({}): {}: {what}",
                hop.from.title(),
                hop.to.title(),
                by.join(", "),
                proof.word()
            )
        });
        at_rest.chain(hops).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_path_of_each_recorded_run_is_told_by_its_plan_and_findings() {
        for (name, _) in RECORDED {
            insta::assert_snapshot!(name, told(&recorded(name)));
        }
    }

    #[test]
    fn no_finding_that_gets_worse_makes_any_protection_better() {
        for (name, text) in RECORDED {
            let before = DataPath::of(&parse(text).unwrap());
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let mut changed = 0;
            let lists = ["/findings", "/watched/clusters/0/findings"];
            for (list, worse) in lists.iter().flat_map(|list| [(list, "failed"), (list, "unknown")])
            {
                for index in
                    0..value.pointer(list).and_then(serde_json::Value::as_array).map_or(0, Vec::len)
                {
                    let mut value = value.clone();
                    let finding = value.pointer_mut(&format!("{list}/{index}")).unwrap();
                    // A failed finding stays failed when it becomes unknown; that is another case.
                    if finding["status"] == "failed" || finding["status"] == "refuted" {
                        continue;
                    }
                    finding["status"] = worse.into();
                    let after = DataPath::of(&serde_json::from_value(value).unwrap());
                    let pairs = |path: &DataPath| {
                        let parts = path.stations.iter().flat_map(|station| {
                            station.parts.iter().map(|part| part.protection.proof)
                        });
                        parts
                            .chain(path.hops.iter().map(|hop| hop.protection.proof))
                            .collect::<Vec<_>>()
                    };
                    for (was, is) in pairs(&before).into_iter().zip(pairs(&after)) {
                        assert!(is >= was, "{name} {list}/{index} {worse}: {was:?} became {is:?}");
                        changed += usize::from(is > was);
                    }
                }
            }
            assert!(changed > 20, "{name}: findings decide, not the program: {changed}");
        }
    }

    #[test]
    fn a_run_in_stream_mode_goes_past_processing() {
        let mut value: serde_json::Value = serde_json::from_str(RECORDED[2].1).unwrap();
        let touch = |role: &str, access: &str, actor: &str, part: &str| {
            serde_json::json!({
                "role": role, "access": access, "actor": actor, "part": part
            })
        };
        value["inputs"]["plan"]["touches"] = serde_json::json!([
            touch("enriched.stream", "read", "s3-dist-cp", "staging_stream_enrich"),
            touch("enriched.good", "write", "s3-dist-cp", "staging_stream_enrich"),
            touch("enriched.good", "read", "s3-dist-cp", "shred"),
            touch("shredded.good", "write", "s3-dist-cp", "shred"),
        ]);
        let path = DataPath::of(&serde_json::from_value(value).unwrap());
        let ways: Vec<(StationKind, StationKind)> =
            path.hops.iter().map(|hop| (hop.from, hop.to)).collect();
        assert_eq!(
            ways,
            [
                (StationKind::Input, StationKind::Enriched),
                (StationKind::Enriched, StationKind::Cluster),
                (StationKind::Cluster, StationKind::Shredded)
            ]
        );
        assert!(path.stations.iter().all(|station| station.kind != StationKind::Processing));
    }
}

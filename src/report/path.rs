//! What protects what: the data's path through a run, store by store and hop by hop, each with its
//! encryption and how far that is shown. All of it follows from the document's plan, findings and
//! gaps.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::document::{
    Cluster, Document, Finding, Level, Lookup, Status, Survey, Target, Touch,
};

/// How far a protection is shown; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// Seen on the thing itself, or enforced by AWS.
    Proved,
    /// It follows from settings that were proved; the thing itself was not looked at, or shows
    /// itself to nobody.
    Inferred,
    /// It is not as required, and an exception in the settings covers that.
    Excused,
    /// Nobody looked, or nobody could tell.
    Gap,
    /// Facts show that it is not there.
    Refuted,
}

impl Proof {
    pub(super) const ALL: [Self; 5] =
        [Self::Proved, Self::Inferred, Self::Excused, Self::Gap, Self::Refuted];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Inferred => "inferred",
            Self::Excused => "excused",
            Self::Gap => "gap",
            Self::Refuted => "refuted",
        }
    }

    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Proved => "seen on the thing itself, or enforced by AWS",
            Self::Inferred => "follows from settings that were proved",
            Self::Excused => "not as required; an exception covers it",
            Self::Gap => "not looked at, or nobody can tell",
            Self::Refuted => "facts show that it is not there",
        }
    }
}

/// A protection: how far it is shown, in which words, and by which checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) proof: Proof,
    pub(super) what: String,
    pub(super) by: BTreeSet<String>,
}

impl Protection {
    fn new(proof: Proof, what: impl Into<String>) -> Self {
        Self { proof, what: what.into(), by: BTreeSet::new() }
    }

    fn by(mut self, check: &str) -> Self {
        self.by.insert(check.to_owned());
        self
    }
}

/// A station of the data's path. There is at most one of each kind, so that each has its own place
/// in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// What the run reads: collectors' files, or Stream Enrich's.
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
    /// Where events are loaded.
    Warehouse,
    /// Where bad rows are indexed.
    Index,
    /// Where the shredder notes which events it has seen.
    Tracking,
}

impl Kind {
    /// What a location is in the path; none for code and schemas.
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
pub(super) struct Part {
    pub(super) name: String,
    pub(super) protection: Protection,
}

/// A station, with what protects the data while it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Station {
    pub(super) kind: Kind,
    pub(super) parts: Vec<Part>,
}

impl Station {
    /// The worst of its parts.
    pub(super) fn proof(&self) -> Proof {
        self.parts.iter().map(|part| part.protection.proof).max().unwrap_or(Proof::Gap)
    }
}

/// A way that data takes, with what protects it on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) from: Kind,
    pub(super) to: Kind,
    /// Who carries it.
    pub(super) by: BTreeSet<String>,
    pub(super) protection: Protection,
}

/// The path of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataPath {
    pub(super) stations: Vec<Station>,
    pub(super) hops: Vec<Hop>,
}

impl DataPath {
    pub(super) fn of(document: &Document) -> Self {
        let mut stations: BTreeMap<Kind, Vec<Part>> = BTreeMap::new();
        let mut roles = BTreeSet::new();
        // Listing and deleting move no data.
        for touch in document.touches().iter().filter(|touch| moves(touch)) {
            if let Some(kind) = Kind::of_role(&touch.role)
                && roles.insert(&touch.role)
            {
                stations.entry(kind).or_default().push(Part {
                    name: touch.role.clone(),
                    protection: in_s3(document, &touch.role),
                });
            }
        }
        for target in document.targets() {
            if let Some(kind) = Kind::of_purpose(&target.purpose) {
                stations
                    .entry(kind)
                    .or_default()
                    .push(Part { name: named(target), protection: beyond_s3(document) });
            }
        }
        stations.insert(Kind::Cluster, layers(document));
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

fn moves(touch: &Touch) -> bool {
    matches!(touch.access.as_str(), "read" | "write")
}

/// Who is meant by a touch's actor.
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

/// One way between two stations, as it is put together.
#[derive(Default)]
struct Way {
    by: BTreeSet<String>,
    roles: BTreeSet<String>,
}

impl Way {
    fn add(&mut self, touch: &Touch) {
        self.by.insert(actor(&touch.actor).to_owned());
        self.roles.insert(touch.role.clone());
    }
}

/// The ways between stations, in the order of the pipeline.
fn ways(document: &Document) -> Vec<((Kind, Kind), Way)> {
    let mut ways: Vec<((Kind, Kind), Way)> = Vec::new();
    let mut way = |from: Kind, to: Kind, touch: &Touch| {
        let index = ways.iter().position(|(ends, _)| *ends == (from, to)).unwrap_or_else(|| {
            ways.push(((from, to), Way::default()));
            ways.len() - 1
        });
        ways[index].1.add(touch);
    };
    let touches: Vec<(&Touch, Kind)> = document
        .touches()
        .iter()
        .filter(|touch| moves(touch))
        .filter_map(|touch| Some((touch, Kind::of_role(&touch.role)?)))
        .collect();
    for (touch, kind) in &touches {
        let of_part = || {
            touches
                .iter()
                .filter(|(other, _)| other.part == touch.part && other.access != touch.access)
        };
        match (touch.part.as_deref(), touch.access.as_str(), kind) {
            // Logs come from the cluster, whoever brings them; what the runner does with them there
            // goes no further.
            (_, "write", Kind::Logs) if touch.actor != "runner" => {
                way(Kind::Cluster, Kind::Logs, touch)
            }
            (_, _, Kind::Logs) => {}
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
            (Some("rdb_load"), "read", _) => way(*kind, Kind::Warehouse, touch),
            (Some("elasticsearch"), "read", _) => way(*kind, Kind::Index, touch),
            (_, "read", _) => way(*kind, Kind::Cluster, touch),
            (_, _, _) => {
                way(Kind::Cluster, *kind, touch);
                if touch.part.as_deref() == Some("shred") {
                    way(Kind::Cluster, Kind::Tracking, touch);
                }
            }
        }
    }
    // Everything else is on its way to somebody who uses it.
    ways.sort_by_key(|((_, to), _)| *to == Kind::Logs);
    ways
}

/// What a finding says of a protection, where it says anything: `proved` is how far its being
/// Proved shows it.
fn said_by(finding: &Finding, proved: Proof) -> Option<Protection> {
    let proof = match finding.status {
        Status::Proved => proved,
        Status::Refuted => Proof::Refuted,
        Status::Unknown => Proof::Gap,
        Status::Excused => Proof::Excused,
        Status::NotApplicable => return None,
    };
    let what = match (finding.status, finding.level) {
        (Status::Excused, _) => {
            format!("{}; excused: {}", finding.saw, finding.excused.as_deref().unwrap_or_default())
        }
        (Status::Refuted, Level::Advised) => format!("{} (advice only)", finding.saw),
        _ => finding.saw.clone(),
    };
    Some(Protection::new(proof, what).by(&finding.check))
}

/// The worst of several; of equally bad ones the first.
fn worst(protections: impl IntoIterator<Item = Protection>) -> Option<Protection> {
    protections
        .into_iter()
        .reduce(|worst, next| if next.proof > worst.proof { next } else { worst })
}

/// Whatever speaks against it, and else the strongest proof for it.
fn weighed(protections: Vec<Protection>) -> Option<Protection> {
    let (against, shown): (Vec<_>, Vec<_>) =
        protections.into_iter().partition(|protection| protection.proof > Proof::Inferred);
    worst(against).or_else(|| {
        shown.into_iter().reduce(|best, next| if next.proof < best.proof { next } else { best })
    })
}

/// Whether all objects were looked at, so that what was found holds for all.
fn complete(survey: &Survey) -> Proof {
    if survey.looked_at < survey.objects { Proof::Inferred } else { Proof::Proved }
}

/// At rest in one location.
fn in_s3(document: &Document, role: &str) -> Protection {
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
        let survey =
            document.facts.as_ref().and_then(|facts| facts.data.get(role)).and_then(Lookup::found);
        // Where nothing is yet, what will be written counts; and where nothing will be, there is
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
    let mut writers: Vec<Protection> = document
        .of_check("written-encryption")
        .filter_map(|finding| {
            let who = finding.subject.strip_prefix(&by)?;
            let said = said_by(finding, Proof::Inferred)?;
            Some(Protection { what: format!("{}, {who}", said.what), ..said })
        })
        .collect();
    let cluster_is_unsafe = document.clusters().iter().any(|cluster| cluster.is_unsafe);
    if cluster_is_unsafe
        && !writers.is_empty()
        && written.is_none_or(|written| written.survey.looked_at == 0)
    {
        writers.push(
            Protection::new(Proof::Gap, "a cluster was unsafe: what it wrote is suspect")
                .by("cluster-security-configuration"),
        );
    }
    let writers = worst(writers);
    // What will be written is news only where nothing that is there was looked at.
    let seen = shown.iter().any(|protection| protection.proof == Proof::Proved);
    match writers {
        Some(writers) if !seen || writers.proof > Proof::Inferred => shown.insert(0, writers),
        _ => {}
    }
    weighed(shown).unwrap_or_else(|| Protection::new(Proof::Gap, "no check looked at it"))
}

/// At rest in a storage target.
fn beyond_s3(document: &Document) -> Protection {
    match document.gap("beyond-s3") {
        Some(_) => Protection::new(Proof::Gap, "at rest: not looked at"),
        None => Protection::new(Proof::Gap, "no check looked at it"),
    }
}

fn named(target: &Target) -> String {
    target.name.clone().unwrap_or_else(|| target.file.clone())
}

/// The buckets of some locations, as far as the document tells.
fn buckets<'a>(document: &'a Document, roles: &BTreeSet<String>) -> Option<BTreeSet<&'a str>> {
    let bucket = |role: &String| {
        let written = document.written.iter().find(|written| written.role == *role);
        written.and_then(|written| written.folders.first()).map(|folder| folder.bucket.as_str())
    };
    roles.iter().map(bucket).collect()
}

/// In transit, between S3 and whoever reads or writes there.
fn on_the_way(document: &Document, to: Kind, way: &Way) -> Protection {
    match to {
        Kind::Warehouse | Kind::Index | Kind::Tracking => return to_target(document, to),
        _ => {}
    }
    // Where the document does not tell which bucket a location is in, all of the run's buckets must
    // hold.
    let among = buckets(document, &way.roles);
    let findings: Vec<&Finding> = document
        .of_check("bucket-tls-only")
        .filter(|finding| {
            among.as_ref().is_none_or(|among| among.contains(finding.subject.as_str()))
        })
        .collect();
    let open = findings.iter().find(|finding| finding.status != Status::Proved);
    let check = "bucket-tls-only";
    match (findings.is_empty(), open) {
        (true, _) => Protection::new(Proof::Inferred, "TLS, by the AWS clients' own default"),
        (false, None) => {
            Protection::new(Proof::Proved, "TLS: bucket policies deny plain http").by(check)
        }
        (false, Some(finding)) if finding.level == Level::Required => {
            said_by(finding, Proof::Proved)
                .unwrap_or_else(|| Protection::new(Proof::Gap, finding.saw.clone()))
                .by(check)
        }
        (false, Some(finding)) => {
            let why = if finding.status == Status::Refuted {
                "would answer plain http too"
            } else {
                "has a policy that nobody could see"
            };
            Protection::new(
                Proof::Inferred,
                format!("TLS, by the AWS clients' own default; {} {why}", finding.subject),
            )
            .by(check)
        }
    }
}

/// In transit, to the storage targets of one kind.
fn to_target(document: &Document, kind: Kind) -> Protection {
    let targets: Vec<&Target> = document
        .targets()
        .iter()
        .filter(|target| Kind::of_purpose(&target.purpose) == Some(kind))
        .collect();
    // DynamoDB is reached by the AWS SDK alone.
    if !targets.is_empty() && targets.iter().all(|target| target.store.contains_key("dynamo-db")) {
        return Protection::new(Proof::Inferred, "TLS, by the AWS clients' own default");
    }
    let of_targets = document
        .of_check("target-tls")
        .filter(|finding| targets.iter().any(|target| target.file == finding.subject));
    worst(of_targets.filter_map(|finding| said_by(finding, Proof::Proved)))
        .unwrap_or_else(|| Protection::new(Proof::Gap, "no check looked at it"))
}

/// What stands against a cluster's being what was verified, or that nobody could tell; none where
/// that is proved, or no cluster was there.
fn cluster_trouble(document: &Document) -> Option<Protection> {
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
        Some(Protection {
            what: format!("the cluster: {}", finding.saw),
            ..said_by(finding, Proof::Proved)?
        })
    });
    worst(said).filter(|said| said.proof > Proof::Inferred)
}

/// What the security configuration says of one protection, held against the clusters that ran.
fn by_configuration(document: &Document, checks: &[&str], seen: bool) -> Protection {
    let before = checks
        .iter()
        .flat_map(|check| document.of_check(check))
        .filter_map(|finding| said_by(finding, Proof::Inferred));
    let Some(before) = worst(before) else {
        return Protection::new(Proof::Gap, "not required, and not looked at");
    };
    match cluster_trouble(document) {
        Some(trouble) if trouble.proof >= before.proof => trouble,
        None if seen && before.proof == Proof::Inferred => {
            Protection { what: format!("{}; the cluster runs it", before.what), ..before }
                .by("cluster-security-configuration")
        }
        _ => before,
    }
}

/// The layers of the cluster in which data lies or moves.
fn layers(document: &Document) -> Vec<Part> {
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
    let mut layers = vec![Part {
        name: "Traffic between nodes".to_owned(),
        protection: by_configuration(document, &in_transit, seen),
    }];
    if let Some(gap) = document.gap("hdfs-rpc-privacy") {
        layers.push(Part {
            name: "HDFS and YARN RPC".to_owned(),
            protection: Protection::new(Proof::Gap, gap.what.clone()),
        });
    }
    layers.push(Part { name: "EBS volumes".to_owned(), protection: volumes(document, seen) });
    let disks = by_configuration(document, &["local-disk-at-rest"], seen);
    layers.push(Part { name: "Local disks (LUKS)".to_owned(), protection: disks });
    layers
}

/// EBS volumes, which EC2 shows, once there are any.
fn volumes(document: &Document, seen: bool) -> Protection {
    let looked_at = |cluster: &Cluster| {
        cluster.findings.iter().any(|finding| finding.check == "cluster-volumes")
    };
    let all = seen && document.clusters().iter().all(looked_at);
    let found = worst(
        document
            .of_check("cluster-volumes")
            .filter(|finding| !finding.not_there)
            .filter_map(|finding| said_by(finding, Proof::Proved)),
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

    fn told(document: &Document) -> String {
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
            let Protection { proof, what, .. } = &hop.protection;
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
            for (list, worse) in
                lists.iter().flat_map(|list| [(list, "refuted"), (list, "unknown")])
            {
                for index in
                    0..value.pointer(list).and_then(serde_json::Value::as_array).map_or(0, Vec::len)
                {
                    let mut value = value.clone();
                    let finding = value.pointer_mut(&format!("{list}/{index}")).unwrap();
                    // What is refuted gets no better by being unknown; it is another story.
                    if finding["status"] == "refuted" {
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
        let touch = |role: &str, access: &str, actor: &str, part: &str| serde_json::json!({"role": role, "access": access, "actor": actor, "part": part});
        value["inputs"]["plan"]["touches"] = serde_json::json!([
            touch("enriched.stream", "read", "s3-dist-cp", "staging_stream_enrich"),
            touch("enriched.good", "write", "s3-dist-cp", "staging_stream_enrich"),
            touch("enriched.good", "read", "s3-dist-cp", "shred"),
            touch("shredded.good", "write", "s3-dist-cp", "shred"),
        ]);
        let path = DataPath::of(&serde_json::from_value(value).unwrap());
        let ways: Vec<(Kind, Kind)> = path.hops.iter().map(|hop| (hop.from, hop.to)).collect();
        assert_eq!(
            ways,
            [
                (Kind::Input, Kind::Enriched),
                (Kind::Enriched, Kind::Cluster),
                (Kind::Cluster, Kind::Shredded)
            ]
        );
        assert!(path.stations.iter().all(|station| station.kind != Kind::Processing));
    }
}

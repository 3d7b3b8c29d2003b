//! The common input of Markdown, JUnit and SARIF: one form for the report of a run, of an audit and
//! of a reencrypt. It also decides which open findings have a cause of their own, so that one cause
//! is one failure.

use time::OffsetDateTime;

use crate::{
    audit::tally::{ObjectJudgement, UncheckedObjects},
    base::{
        outcome::Outcome,
        text::{grouped, grouped_count, size},
        time_format::rfc3339,
    },
    checks::catalogue::{CATALOGUE, find},
    report::{
        audit_document::{AuditReport, AuditedEncryption, AuditedLocation},
        conclusion::{Conclusion, Tone},
        document::{
            AnyReport, CallToAct, RecordedFinding, RecordedLevel, RecordedOutcome,
            RecordedResidualRisk, RecordedStatus, RunReport,
        },
        html::{audit, marks::Mark, reencrypt, sentinel, setup},
        reencrypt_document::{Mode, ReencryptReport, ReencryptedLocation},
        sentinel_document::{ReportedPlace, SentinelReport},
        setup_document::{PlannedAction, PlannedStep, SetupReport},
    },
    sentinel::record::{SentinelCluster, SentinelVerdict},
    settings::policy::{Policy, accepted},
    setup::record::{UndoResult, UndoneStep},
    watch::terminate::{UNSAFE, may_be_running},
};

/// The name of the finding on the encryption of a location's objects.
pub(super) const OBJECTS_ENCRYPTED: &str = "objects-encrypted";
/// The name of the finding on whether all objects of a location could be looked up.
pub(super) const OBJECTS_SEEN: &str = "objects-seen";
/// The name of the finding on the objections to a change of objects.
pub(super) const CHANGE_ALLOWED: &str = "reencrypt-allowed";
/// Whether a piece of a setup is as it should be.
pub(super) const PIECE_IN_PLACE: &str = "setup-in-place";
/// The name of the finding on a cluster of which no check is open.
pub(super) const CLUSTER_AS_REQUIRED: &str = "cluster-as-required";
/// The name of the finding on whether a place's clusters were known at all times.
pub(super) const PLACE_SEEN: &str = "place-seen";
/// Whether a piece that a setup had made was taken back.
pub(super) const PIECE_TAKEN_BACK: &str = "setup-taken-back";

/// The data that the formats need, from a report of any kind.
#[derive(Clone, Debug)]
pub(crate) struct ReportSummary<'a> {
    /// The version of the program that wrote the report.
    pub(super) guard: &'a str,
    pub(super) command: &'a str,
    /// The run's id; an audit and a reencrypt have none.
    pub(super) run: Option<&'a str>,
    pub(super) started: OffsetDateTime,
    pub(super) ended: OffsetDateTime,
    pub(super) account: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    pub(super) conclusion: Conclusion,
    pub(super) exit_code: u8,
    /// Whether the program failed, whatever it found.
    pub(super) is_bug: bool,
    /// The runner config's name and SHA-256.
    pub(super) config: Option<(&'a str, &'a str)>,
    pub(super) calls: Vec<CallToAct<'a>>,
    pub(super) findings: Vec<RecordedFinding>,
    pub(super) residual_risks: &'a [RecordedResidualRisk],
}

/// Why an open finding is not a failure of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum SharedWith<'a> {
    /// It waits for the check of that finding.
    WaitsFor(&'a RecordedFinding),
    /// It has the same fix as that finding.
    SameFix(&'a RecordedFinding),
}

impl SharedWith<'_> {
    /// In words: which finding to look at first.
    pub(super) fn in_words(self) -> String {
        match self {
            Self::WaitsFor(cause) => {
                format!("skipped: waits for {} ({}); fix that first", cause.check, cause.subject)
            }
            Self::SameFix(cause) => {
                format!("skipped: same cause as {} ({})", cause.check, cause.subject)
            }
        }
    }
}

impl<'a> ReportSummary<'a> {
    pub(crate) fn of(report: &'a AnyReport) -> Self {
        match report {
            AnyReport::Run(report) => Self::of_run(report),
            AnyReport::Audit(report) => Self::of_audit(report),
            AnyReport::Reencrypt(report) => Self::of_reencrypt(report),
            AnyReport::Setup(report) => Self::of_setup(report),
            AnyReport::Sentinel(report) => Self::of_sentinel(report),
        }
    }

    pub(crate) fn of_run(report: &'a RunReport) -> Self {
        let config = report.inputs.as_ref();
        Self {
            guard: &report.guard,
            command: &report.command,
            run: Some(&report.run),
            started: report.started,
            ended: report.ended,
            account: report.account(),
            region: report.region(),
            conclusion: Conclusion::of(report),
            exit_code: report.exit_code,
            is_bug: report.outcome == RecordedOutcome::Bug,
            config: config.map(|inputs| (inputs.config.as_str(), inputs.config_sha256.as_str())),
            calls: report.calls_to_act(),
            findings: report.all_findings().cloned().collect(),
            residual_risks: &report.residual_risks,
        }
    }

    fn of_audit(report: &'a AuditReport) -> Self {
        let wanted = wanted(&report.policy);
        let findings = report.locations.iter().flat_map(|location| audited(location, &wanted));
        Self {
            guard: &report.guard,
            command: &report.command,
            run: None,
            started: report.started,
            ended: report.ended,
            account: None,
            region: None,
            conclusion: concluded(audit::conclusion(report)),
            exit_code: report.exit_code,
            is_bug: report.outcome == Outcome::Bug,
            config: None,
            calls: Vec::new(),
            findings: findings.collect(),
            residual_risks: &[],
        }
    }

    fn of_reencrypt(report: &'a ReencryptReport) -> Self {
        let mut findings: Vec<RecordedFinding> =
            report.locations.iter().flat_map(|location| changed(report, location)).collect();
        findings.extend((1..).zip(&report.refusals).map(|(n, why)| refusal(report.mode, n, why)));
        Self {
            guard: &report.guard,
            command: &report.command,
            run: None,
            started: report.started,
            ended: report.ended,
            account: Some(&report.account),
            region: Some(&report.region),
            conclusion: concluded(reencrypt::conclusion(report)),
            exit_code: report.exit_code,
            is_bug: report.outcome == Outcome::Bug,
            config: None,
            calls: Vec::new(),
            findings,
            residual_risks: &[],
        }
    }

    fn of_setup(report: &'a SetupReport) -> Self {
        Self {
            guard: &report.guard,
            command: &report.command,
            run: None,
            started: report.started,
            ended: report.ended,
            account: Some(&report.account),
            region: Some(&report.region),
            conclusion: concluded(setup::conclusion(report)),
            exit_code: report.exit_code,
            is_bug: report.outcome == Outcome::Bug,
            config: None,
            calls: Vec::new(),
            findings: (report.plan.iter().map(|step| planned(report, step)))
                .chain(report.taken_back.iter().map(taken_back))
                .collect(),
            residual_risks: &[],
        }
    }

    fn of_sentinel(report: &'a SentinelReport) -> Self {
        let unseen = report.places.iter().any(|place| !place.unseen.is_empty());
        // Formats that name one account and one region can do so only if there is one.
        let place = match report.places.as_slice() {
            [one] => Some(one),
            _ => None,
        };
        let living_unsafe = report
            .clusters
            .iter()
            .filter(|cluster| cluster.verdict == SentinelVerdict::Unsafe && !cluster.is_over());
        Self {
            guard: &report.guard,
            command: &report.command,
            run: Some(&report.run),
            started: report.started,
            ended: report.ended,
            account: place.map(|place| place.account.as_str()),
            region: place.map(|place| place.region.as_str()),
            conclusion: concluded(sentinel::conclusion(&report.clusters, unseen, report.once)),
            exit_code: report.exit_code,
            is_bug: report.outcome == Outcome::Bug,
            config: None,
            calls: living_unsafe
                .map(|cluster| CallToAct {
                    cluster: cluster.id.as_str(),
                    what: may_be_running(cluster.id.as_str(), UNSAFE),
                    obstacle: "it was not over when it was seen for the last time",
                    commands: sentinel::by_hand(cluster),
                })
                .collect(),
            findings: (report.clusters.iter().flat_map(watched_cluster))
                .chain(report.places.iter().map(watched_place))
                .collect(),
            residual_risks: &[],
        }
    }

    /// All findings by check, in the order of the catalogue; others come last, in the order of the
    /// report.
    pub(super) fn by_check(&self) -> Vec<(&str, Vec<&RecordedFinding>)> {
        let mut groups: Vec<(&str, Vec<&RecordedFinding>)> =
            CATALOGUE.iter().map(|check| (check.name, Vec::new())).collect();
        for finding in &self.findings {
            match groups.iter_mut().find(|(name, _)| *name == finding.check) {
                Some((_, findings)) => findings.push(finding),
                None => groups.push((&finding.check, vec![finding])),
            }
        }
        groups.retain(|(_, findings)| !findings.is_empty());
        groups
    }

    /// The finding that an open one shares its cause with; `None` if it is a failure of its own.
    ///
    /// A finding is left out only for one that is open itself at the same level or above: whatever
    /// refuses a launch stays visible.
    pub(super) fn shared_with(&self, finding: &RecordedFinding) -> Option<SharedWith<'_>> {
        if !finding.is_open() {
            return None;
        }
        if let Some(root) = self.root_of(finding) {
            return Some(SharedWith::WaitsFor(root));
        }
        let fix = finding.fix.as_deref().filter(|_| finding.status == RecordedStatus::Unknown)?;
        let first = self.findings.iter().find(|other| {
            other.status == RecordedStatus::Unknown
                && other.level <= finding.level
                && !other.not_there
                && other.fix.as_deref() == Some(fix)
                && self.root_of(other).is_none()
        })?;
        let is_itself = first.check == finding.check && first.subject == finding.subject;
        (!is_itself).then_some(SharedWith::SameFix(first))
    }

    /// The finding that a finding waits for, if that is open itself. It is not if an exception
    /// covers it: then the waiting one must be reported.
    fn root_of(&self, finding: &RecordedFinding) -> Option<&RecordedFinding> {
        self.root(finding.waits_for.as_deref()?, finding.level)
    }

    /// The open finding of `check` that waits for no other, or the one at the root of its chain.
    fn root(&self, check: &str, level: RecordedLevel) -> Option<&RecordedFinding> {
        let mut check = check;
        // Longer than any chain of waiting checks; a forged report may contain a cycle.
        for _ in 0..8 {
            let open: Vec<&RecordedFinding> = self
                .findings
                .iter()
                .filter(|other| other.check == check && other.is_open() && other.level <= level)
                .collect();
            if let Some(own) = open.iter().find(|other| other.waits_for.is_none()) {
                return Some(own);
            }
            check = open.iter().find_map(|other| other.waits_for.as_deref())?;
        }
        None
    }

    /// The open findings with a cause of their own, refusing ones first.
    pub(super) fn causes(&self) -> Vec<&RecordedFinding> {
        let mut causes: Vec<&RecordedFinding> = self
            .findings
            .iter()
            .filter(|finding| finding.is_open() && self.shared_with(finding).is_none())
            .collect();
        causes.sort_by_key(|finding| (finding.level, finding.status));
        causes
    }
}

fn concluded((mark, title, sentence): (Mark, &'static str, String)) -> Conclusion {
    let tone = match mark {
        Mark::Passed => Tone::Good,
        Mark::Failed => Tone::Bad,
        Mark::Inferred | Mark::Excepted | Mark::Open | Mark::Nothing => Tone::Unsure,
    };
    Conclusion { tone, title, sentence }
}

/// A finding on a location, or on a change as a whole.
fn finding(check: &str, subject: &str, status: RecordedStatus, saw: String) -> RecordedFinding {
    RecordedFinding {
        check: check.to_owned(),
        level: RecordedLevel::Required,
        subject: subject.to_owned(),
        status,
        saw,
        wanted: "every object looked at".to_owned(),
        at: None,
        fix: None,
        excepted: None,
        waits_for: None,
        not_there: false,
    }
}

/// The encryption that a policy accepts.
fn wanted(policy: &Policy) -> String {
    let kinds = accepted(&policy.accept_encryption);
    if policy.expected_keys.is_empty() {
        kinds
    } else {
        format!("{kinds}, by {}", policy.expected_keys.join(" or "))
    }
}

fn objects(number: u64) -> String {
    grouped_count(number, "object")
}

/// The finding on the encryption of a location's objects, then on whether all of them were seen.
fn audited(location: &AuditedLocation, wanted: &str) -> Vec<RecordedFinding> {
    let of = |judgement: ObjectJudgement| {
        location.kinds.iter().filter(move |kind| kind.judgement == judgement)
    };
    let count = |judgement| of(judgement).map(|kind| kind.counts.objects).sum::<u64>();
    let offending: Vec<String> = of(ObjectJudgement::Offender).map(kind).collect();
    let accepted: Vec<String> = of(ObjectJudgement::Accepted).map(kind).collect();
    let mut findings = Vec::new();
    let encrypted = |status, saw| RecordedFinding {
        wanted: wanted.to_owned(),
        ..finding(OBJECTS_ENCRYPTED, &location.location, status, saw)
    };
    if !offending.is_empty() {
        let saw = format!("not as required: {}", offending.join(", "));
        let command = location.repair_command();
        findings.push(RecordedFinding {
            fix: Some(format!("{command} (a dry run; with --apply it changes the objects)")),
            ..encrypted(RecordedStatus::Failed, saw)
        });
    } else if !accepted.is_empty() {
        findings.push(encrypted(RecordedStatus::Passed, accepted.join(", ")));
    }
    let mut hidden: Vec<String> = location.unseen.iter().map(obstacle).collect();
    hidden.extend(location.unlisted.iter().map(obstacle));
    let mut fixes: Vec<String> =
        location.unseen.iter().chain(&location.unlisted).map(fix_of_obstacle).collect();
    if location.no_bucket {
        hidden.push("no such bucket".to_owned());
        fixes.push("name a bucket that exists".to_owned());
    }
    let untold = count(ObjectJudgement::Untold);
    if untold > 0 {
        hidden.push(format!("{} whose KMS key the source does not show", objects(untold)));
        fixes.push("audit this location without --inventory".to_owned());
    }
    fixes.sort();
    fixes.dedup();
    if !hidden.is_empty() {
        findings.push(RecordedFinding {
            fix: Some(fixes.join("; ")),
            ..finding(
                OBJECTS_SEEN,
                &location.location,
                RecordedStatus::Unknown,
                format!("not looked at: {}", hidden.join("; ")),
            )
        });
    } else if findings.is_empty() {
        let saw = "nothing to encrypt".to_owned();
        findings.push(encrypted(RecordedStatus::NotApplicable, saw));
    }
    findings
}

fn kind(kind: &AuditedEncryption) -> String {
    let name = match (kind.encryption.as_str(), &kind.kms_key) {
        ("none", _) => "unencrypted".to_owned(),
        (name, Some(key)) => format!("{name} by {key}"),
        (name, None) => name.to_owned(),
    };
    format!("{} {name} ({})", objects(kind.counts.objects), size(kind.counts.bytes))
}

fn obstacle(hidden: &UncheckedObjects) -> String {
    let what = match (hidden.objects, &hidden.first) {
        (0, _) => "a part that could not be listed".to_owned(),
        (number, Some(first)) => format!("{}, the first {first}", objects(number)),
        (number, None) => objects(number),
    };
    format!("{what}: {}", hidden.obstacle.message)
}

fn fix_of_obstacle(hidden: &UncheckedObjects) -> String {
    if hidden.denied {
        format!("allow `{}` to the guard's credentials", hidden.obstacle.operation)
    } else {
        "try again; if it stays so, look at network, endpoints and credentials".to_owned()
    }
}

/// The `number`th objection to a change; the number makes check and subject unique. In a dry run it
/// refuses nothing yet.
fn refusal(mode: Mode, number: usize, why: &str) -> RecordedFinding {
    let subject = match number {
        1 => "the change".to_owned(),
        _ => format!("the change ({number})"),
    };
    let level =
        if mode == Mode::DryRun { RecordedLevel::Advisory } else { RecordedLevel::Required };
    RecordedFinding {
        level,
        wanted: "nothing that prevents a change".to_owned(),
        ..finding(CHANGE_ALLOWED, &subject, RecordedStatus::Failed, why.to_owned())
    }
}

/// The finding on the current encryption of a location's objects, then on whether all of them were
/// seen.
fn changed(report: &ReencryptReport, location: &ReencryptedLocation) -> Vec<RecordedFinding> {
    let mut findings = Vec::new();
    let left = report.left_in(location);
    let encrypted = |status, saw| RecordedFinding {
        wanted: wanted(&report.policy),
        ..finding(OBJECTS_ENCRYPTED, &location.location, status, saw)
    };
    if left > 0 {
        let saw = format!("{} of {} not as required", objects(left), grouped(location.looked_at));
        let fix = Some(what_to_do(report, location));
        findings.push(RecordedFinding { fix, ..encrypted(RecordedStatus::Failed, saw) });
    } else if location.looked_at > location.unseen {
        let saw = format!("{} looked at, each as required", objects(location.looked_at));
        findings.push(encrypted(RecordedStatus::Passed, saw));
    }
    if location.unseen > 0 || location.obstacle.is_some() {
        let why = location.obstacle.as_ref().map_or("no reason is recorded", |it| &it.message);
        let saw = format!("{} not looked at: {why}", objects(location.unseen));
        let fix = location.obstacle.as_ref().map_or_else(
            || "run it again".to_owned(),
            |it| format!("see that `{}` is answered, then run it again", it.operation),
        );
        findings.push(RecordedFinding {
            fix: Some(fix),
            ..finding(OBJECTS_SEEN, &location.location, RecordedStatus::Unknown, saw)
        });
    } else if findings.is_empty() {
        findings.push(encrypted(RecordedStatus::NotApplicable, "nothing to encrypt".to_owned()));
    }
    findings
}

/// The finding on a piece of a setup: whether it is as it should be, after what was done.
fn planned(report: &SetupReport, step: &PlannedStep) -> RecordedFinding {
    let applied = report.record.iter().flat_map(|record| &record.steps);
    let is_made = applied.into_iter().any(|done| {
        done.verified && done.piece.kind() == step.kind && done.piece.subject() == step.subject
    });
    let seen = step.seen.clone().unwrap_or_default();
    let (status, saw) = match step.action {
        PlannedAction::Keep => (RecordedStatus::Passed, "in place".to_owned()),
        PlannedAction::Create | PlannedAction::Change if is_made => {
            (RecordedStatus::Passed, "made by this setup, and looked at afterwards".to_owned())
        }
        PlannedAction::Create => (RecordedStatus::Failed, "does not exist".to_owned()),
        PlannedAction::Change => (RecordedStatus::Failed, "has other settings".to_owned()),
        PlannedAction::Refuse => (RecordedStatus::Failed, seen),
        PlannedAction::Unknown => (RecordedStatus::Unknown, seen),
    };
    let fix = (status != RecordedStatus::Passed).then(|| {
        step.fix.clone().unwrap_or_else(|| "emr-etl-guard setup --apply makes it".to_owned())
    });
    RecordedFinding {
        wanted: "as setup plans it".to_owned(),
        fix,
        ..finding(PIECE_IN_PLACE, &format!("{} {}", step.kind, step.subject), status, saw)
    }
}

/// The finding on a piece that was to be taken back. What stays for a good reason is as it should
/// be.
fn taken_back(step: &UndoneStep) -> RecordedFinding {
    let fix = "see why it stays, then run the same command again";
    let (status, saw, fix) = match &step.result {
        UndoResult::Undone { stays: None } => {
            (RecordedStatus::Passed, "taken back, and looked at afterwards".to_owned(), None)
        }
        UndoResult::Undone { stays: Some(why) } => {
            (RecordedStatus::Passed, format!("taken back, except: {why}"), None)
        }
        UndoResult::Gone => (RecordedStatus::Passed, "was gone already".to_owned(), None),
        UndoResult::Kept { why } => (RecordedStatus::NotApplicable, format!("stays: {why}"), None),
        UndoResult::Unknown { why } => (RecordedStatus::Unknown, why.clone(), Some(fix)),
        UndoResult::Failed { why } => (RecordedStatus::Failed, why.clone(), Some(fix)),
    };
    let subject = format!("{} {}", step.piece.kind(), step.piece.subject());
    RecordedFinding {
        wanted: "taken back, unless it is used or somebody has changed it".to_owned(),
        fix: fix.map(str::to_owned),
        ..finding(PIECE_TAKEN_BACK, &subject, status, saw)
    }
}

/// The open findings on a cluster of the account; where there are none, one with its verdict.
fn watched_cluster(cluster: &SentinelCluster) -> Vec<RecordedFinding> {
    let place = format!("cluster {} in {}/{}", cluster.id, cluster.account, cluster.region);
    // Most checks of a cluster have the cluster itself as their subject.
    let subject = |subject: &str| {
        if subject == cluster.id.as_str() { place.clone() } else { format!("{subject}, {place}") }
    };
    let open = cluster.open.iter().map(|open| RecordedFinding {
        wanted: open.expected.clone(),
        fix: find(&open.check).map(|check| format!("emr-etl-guard explain {}", check.name)),
        excepted: (open.status == "excepted").then(|| "an exception of the settings".to_owned()),
        ..finding(
            &open.check,
            &subject(&open.subject),
            match open.status.as_str() {
                "failed" => RecordedStatus::Failed,
                "excepted" => RecordedStatus::Excepted,
                _ => RecordedStatus::Unknown,
            },
            open.seen.clone(),
        )
    });
    let open: Vec<RecordedFinding> = open.collect();
    if !open.is_empty() {
        return open;
    }
    let (status, saw) = match cluster.verdict {
        SentinelVerdict::Unsafe => (RecordedStatus::Failed, "unsafe"),
        SentinelVerdict::Unjudged => (RecordedStatus::Unknown, "not judged"),
        SentinelVerdict::Excepted => (RecordedStatus::Excepted, "as required, by exceptions"),
        SentinelVerdict::Passed => (RecordedStatus::Passed, "as required"),
    };
    vec![RecordedFinding {
        wanted: "a cluster as its rule requires".to_owned(),
        ..finding(CLUSTER_AS_REQUIRED, &place, status, saw.to_owned())
    }]
}

/// The finding on whether the clusters of a place were known at all times.
fn watched_place(place: &ReportedPlace) -> RecordedFinding {
    let subject = format!("{}/{}", place.account, place.region);
    let (status, saw) = if place.unseen.is_empty() {
        (RecordedStatus::Passed, "known at all times".to_owned())
    } else {
        let times = place.unseen.iter().map(|unseen| {
            let until = unseen.until.map_or_else(|| "the end".to_owned(), rfc3339);
            format!("not seen from {} to {until}: {}", rfc3339(unseen.from), unseen.why)
        });
        (RecordedStatus::Unknown, times.collect::<Vec<_>>().join("; "))
    };
    let fix = (status == RecordedStatus::Unknown).then(|| {
        "allow the sentinel what emr-etl-guard explain --permissions --sentinel prints".to_owned()
    });
    RecordedFinding {
        wanted: "known at all times which clusters there are".to_owned(),
        fix,
        ..finding(PLACE_SEEN, &subject, status, saw)
    }
}

/// The fix for what is left in a location.
fn what_to_do(report: &ReencryptReport, location: &ReencryptedLocation) -> String {
    let mut steps: Vec<String> = location.command(report.mode).into_iter().collect();
    steps.extend(location.found.iter().filter_map(|found| found.why.clone()));
    steps.join("; ")
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::document::tests::recorded;

    pub(in crate::report) fn other(name: &str) -> AnyReport {
        let text = match name {
            "audit" => include_str!("../../tests/recordings/documents/audit-v1.json"),
            "reencrypt" => include_str!("../../tests/recordings/documents/reencrypt-v1.json"),
            "setup" => include_str!("../../tests/recordings/documents/setup-apply-v1.json"),
            "undo" => include_str!("../../tests/recordings/documents/setup-undo-v1.json"),
            _ => include_str!("../../tests/recordings/documents/reencrypt-batch-v1.json"),
        };
        AnyReport::parse(Path::new(name), text.as_bytes()).unwrap()
    }

    fn told(summary: &ReportSummary<'_>) -> String {
        let line = |finding: &RecordedFinding| {
            format!(
                "{:?} {:?} {} {}: seen {}; expected {}; fix {}",
                finding.level,
                finding.status,
                finding.check,
                finding.subject,
                finding.saw,
                finding.wanted,
                finding.fix.as_deref().unwrap_or("-")
            )
        };
        summary.findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_audit_and_a_reencrypt_have_findings_for_each_location_and_a_setup_for_each_piece() {
        for name in ["audit", "reencrypt", "reencrypt-batch", "setup", "undo"] {
            let report = other(name);
            let summary = ReportSummary::of(&report);
            insta::assert_snapshot!(name, told(&summary));
        }
    }

    #[test]
    fn two_reasons_against_a_change_are_two_findings_by_name() {
        let AnyReport::Reencrypt(mut report) = other("reencrypt") else {
            panic!("it is that of a reencrypt")
        };
        report.refusals = vec!["one".to_owned(), "another".to_owned()];
        let summary = ReportSummary::of_reencrypt(&report);
        let names: std::collections::BTreeSet<_> =
            summary.findings.iter().map(|finding| (&finding.check, &finding.subject)).collect();
        assert_eq!(names.len(), summary.findings.len());
        assert!(names.iter().any(|(_, subject)| *subject == "the change (2)"));
    }

    #[test]
    fn what_waits_for_a_finding_or_needs_the_same_fix_has_no_cause_of_its_own() {
        let mut report = recorded("refused-v2");
        let open = |report: &RunReport| {
            let summary = ReportSummary::of_run(report);
            summary.causes().iter().map(|it| it.subject.clone()).collect::<Vec<_>>()
        };
        let before = open(&report);
        let template = report.findings.iter().find(|it| it.is_open()).unwrap().clone();
        let like = |subject: &str, waits_for: Option<&str>, fix: &str| RecordedFinding {
            check: "of-tomorrow".to_owned(),
            level: RecordedLevel::Required,
            status: RecordedStatus::Unknown,
            subject: subject.to_owned(),
            waits_for: waits_for.map(str::to_owned),
            fix: Some(fix.to_owned()),
            not_there: false,
            ..template.clone()
        };
        report.findings.push(like("first", None, "log in"));
        report.findings.push(like("second", None, "log in"));
        report.findings.push(like("third", Some("of-tomorrow"), "fix of-tomorrow first"));
        let after = open(&report);
        assert_eq!(after.len(), before.len() + 1);
        assert!(after.contains(&"first".to_owned()));
        // The awaited finding is covered by an exception: nothing else reports that this one is
        // open.
        for finding in &mut report.findings {
            if finding.subject == "first" || finding.subject == "second" {
                finding.status = RecordedStatus::Excepted;
            }
        }
        report.findings.push(like("fourth", Some("of-tomorrow"), "fix of-tomorrow first"));
        let covered = open(&report);
        assert!(covered.contains(&"third".to_owned()) && !covered.contains(&"fourth".to_owned()));
        // An advisory finding cannot replace a required one.
        report.findings.push(RecordedFinding {
            level: RecordedLevel::Advisory,
            ..like("advice", None, "log in")
        });
        report.findings.push(like("required", None, "log in"));
        let open = open(&report);
        assert!(open.contains(&"required".to_owned()) && !open.contains(&"second".to_owned()));
    }

    #[test]
    fn findings_that_wait_for_each_other_in_a_circle_are_failures_of_their_own() {
        let mut report = recorded("refused-v2");
        let template = report.findings.iter().find(|it| it.is_open()).unwrap().clone();
        for (check, waits_for) in [("one", "other"), ("other", "one")] {
            report.findings.push(RecordedFinding {
                check: check.to_owned(),
                level: RecordedLevel::Required,
                status: RecordedStatus::Unknown,
                waits_for: Some(waits_for.to_owned()),
                fix: Some(format!("fix {waits_for} first")),
                ..template.clone()
            });
        }
        let summary = ReportSummary::of_run(&report);
        let of_circle = ["one", "other"];
        let causes = summary.causes();
        assert_eq!(
            causes.iter().filter(|it| of_circle.contains(&it.check.as_str())).count(),
            of_circle.len()
        );
    }
}

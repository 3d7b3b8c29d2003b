//! The report of a run, read back: owned and typed, as far as the pages need it. Every format other
//! than the JSON itself is made from this alone.
//!
//! The types here describe the report, not the program: reports of older versions stay readable
//! when the program's own types change.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::Read as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    aws::trust::AwsConnections,
    base::{
        digest::sha256,
        printable::neutralised,
        report_kind::{RUN_REPORT_VERSION, ReportKind, SENTINEL_REPORT_VERSION},
    },
    checks::{
        catalogue::{CATALOGUE, find, required_of_runs},
        finding::Level,
        fix::CommandContext,
    },
    report::{
        audit_document::AuditReport, json::Record, reencrypt_document::ReencryptReport,
        sentinel_document::SentinelReport, setup_document::SetupReport,
    },
    watch::terminate::{UNSAFE, WROTE, manual_termination_commands, may_be_running},
};

/// The versions that can be read, by the kind of report.
const fn readable(kind: ReportKind) -> RangeInclusive<u32> {
    match kind {
        ReportKind::Run => 1..=RUN_REPORT_VERSION,
        ReportKind::Audit => 1..=crate::report::audit_document::VERSION,
        ReportKind::Reencrypt => 1..=crate::report::reencrypt_document::VERSION,
        ReportKind::Setup => 1..=crate::report::setup_document::VERSION,
        ReportKind::Sentinel => 1..=SENTINEL_REPORT_VERSION,
    }
}

impl ReportKind {
    /// The kind of a report, from its member `command`.
    pub(crate) fn of(command: &str) -> Self {
        match command {
            "audit" => Self::Audit,
            "reencrypt" => Self::Reencrypt,
            "setup" => Self::Setup,
            "sentinel" => Self::Sentinel,
            _ => Self::Run,
        }
    }

    /// The kind in words.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Audit => "an audit",
            Self::Reencrypt => "a reencrypt",
            Self::Setup => "a setup",
            Self::Sentinel => "a sentinel",
        }
    }
}

/// Why a file cannot be read as a report: what was seen, and what was expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadReportError {
    #[error("{}: cannot be read: {error}", shown(file))]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error(
        "{}: no document of emr-etl-guard: {why}; expected the file that the setting `report` \
         names, or what `check --json` prints",
        shown(file)
    )]
    NotOne { file: PathBuf, why: String },
    #[error("{}: version {seen} of the document; expected {} to {}: use the guard that wrote it, or \
        a later one", shown(file), wanted.start(), wanted.end())]
    Version { file: PathBuf, seen: String, wanted: RangeInclusive<u32> },
    #[error(
        "{}: the report of {}; this form is made of the report of a run, check or watch alone; \
         fix: emr-etl-guard report markdown {}",
        shown(file),
        kind.in_words(),
        shown(file)
    )]
    RunOnly { file: PathBuf, kind: ReportKind },
}

fn shown(file: &Path) -> std::path::Display<'_> {
    if is_stdin(file) { Path::new("standard input").display() } else { file.display() }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The record of one run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RunReport {
    pub(crate) version: u32,
    pub(crate) guard: String,
    pub(crate) run: String,
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) only: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) started: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// Since version 2.
    #[serde(default)]
    pub(crate) who: RecordedCaller,
    /// Since version 2.
    pub(crate) chain: Option<RecordedChain>,
    /// None for a run that an earlier guard left open and that is closed now.
    pub(crate) inputs: Option<RecordedInputs>,
    /// None in the same place.
    pub(crate) facts: Option<RecordedFacts>,
    pub(crate) findings: Vec<RecordedFinding>,
    #[serde(alias = "gaps")]
    pub(crate) residual_risks: Vec<RecordedResidualRisk>,
    /// None in the same place.
    pub(crate) verdict: Option<RecordedVerdict>,
    /// Reports of older guards lack it; see [`RunReport::not_enforced`].
    #[serde(default)]
    pub(crate) not_enforced: Vec<String>,
    pub(crate) watched: Option<RecordedWatch>,
    /// Since version 2.
    #[serde(default)]
    pub(crate) states: Vec<RecordedStateChange>,
    #[serde(default)]
    pub(crate) written: Vec<RecordedOutput>,
    /// Since version 2.
    #[serde(default)]
    pub(crate) actions: Vec<RecordedAction>,
    #[serde(default)]
    pub(crate) timeline: Vec<RecordedTimelineEntry>,
    /// Since version 2.
    #[serde(default)]
    pub(crate) calls: Vec<RecordedCalls>,
    /// Reports of older guards lack it.
    #[serde(default)]
    pub(crate) connections: AwsConnections,
    pub(crate) outcome: RecordedOutcome,
    pub(crate) exit_code: u8,
}

/// Who ran it, and on which machine.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RecordedCaller {
    pub(crate) account: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) runner_principal: Option<String>,
    /// Reports of older guards lack it.
    #[serde(default)]
    pub(crate) user: Option<String>,
    pub(crate) host: Option<String>,
}

/// Its position among the runs of one state directory.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedChain {
    pub(crate) sequence: u64,
    pub(crate) previous: Option<RecordedPrevious>,
    #[serde(default)]
    pub(crate) unrecorded: Vec<RecordedBegunRun>,
}

/// The document before.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedPrevious {
    pub(crate) run: String,
    pub(crate) sequence: u64,
    pub(crate) sha256: String,
}

/// A run that started and left no report.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedBegunRun {
    pub(crate) run: String,
    pub(crate) sequence: u64,
}

/// The inputs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedInputs {
    pub(crate) config: String,
    pub(crate) config_sha256: String,
    pub(crate) sealed_sha256: Option<String>,
    #[serde(default)]
    pub(crate) sealed: Vec<RecordedChange>,
    /// Since version 2.
    pub(crate) runner: Option<RecordedRunner>,
    /// Since version 2.
    pub(crate) settings: Option<RecordedSettings>,
    pub(crate) policy: RecordedPolicy,
    pub(crate) documents: RecordedDocuments,
    pub(crate) plan: RecordedPlan,
}

/// The runner's program.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedRunner {
    pub(crate) path: String,
    pub(crate) sha256: RecordedLookup<String>,
    pub(crate) version: RecordedLookup<String>,
}

/// The settings, by digest.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedSettings {
    pub(crate) file: Option<String>,
    pub(crate) file_sha256: Option<String>,
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) base_file: Option<String>,
    #[serde(default)]
    pub(crate) locks: Vec<RecordedLock>,
    #[serde(default)]
    pub(crate) overrides: Vec<RecordedOverride>,
}

/// A setting that a settings file locks.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedLock {
    pub(crate) setting: String,
    pub(crate) file: String,
    pub(crate) line: u64,
}

/// A setting from a flag or the environment.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedOverride {
    pub(crate) setting: String,
    pub(crate) by: String,
    pub(crate) over: Vec<String>,
}

/// A value that the seal set.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedChange {
    pub(crate) key: String,
    pub(crate) before: Option<String>,
    pub(crate) after: String,
}

/// The requirements.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedPolicy {
    pub(crate) require: Vec<String>,
    pub(crate) accept_encryption: Vec<String>,
    #[serde(default)]
    pub(crate) expected_keys: Vec<String>,
    #[serde(default)]
    pub(crate) advise: Vec<String>,
    #[serde(default)]
    pub(crate) enforce: Vec<String>,
    #[serde(default)]
    pub(crate) exceptions: Vec<RecordedException>,
}

/// An exception of the settings.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedException {
    pub(crate) check: String,
    pub(crate) subject: String,
    pub(crate) reason: String,
    pub(crate) expires: String,
}

/// The files that the runner got besides its config.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RecordedDocuments {
    #[serde(default)]
    pub(crate) targets: Vec<RecordedTarget>,
}

/// A storage target.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedTarget {
    pub(crate) file: String,
    pub(crate) name: Option<String>,
    pub(crate) purpose: String,
    /// One key, the kind of store, with its properties.
    pub(crate) store: BTreeMap<String, Value>,
}

/// The plan of the run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedPlan {
    pub(crate) touches: Vec<RecordedTouch>,
}

/// One access to a location.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct RecordedTouch {
    /// The key below `aws.s3.buckets`.
    pub(crate) role: String,
    /// `list`, `read`, `write` or `delete`.
    pub(crate) access: String,
    /// `s3-dist-cp`, `spark`, ….
    pub(crate) actor: String,
    /// `staging`, `enrich`, …; none for what the cluster does apart from the steps.
    pub(crate) part: Option<String>,
}

/// The facts from AWS and the runner, as far as the pages show them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedFacts {
    pub(crate) guard: RecordedLookup<RecordedIdentity>,
    pub(crate) runner: RecordedLookup<RecordedIdentity>,
    pub(crate) runner_version: Option<RecordedLookup<String>>,
    #[serde(default)]
    pub(crate) endpoints: Vec<RecordedEndpoint>,
    #[serde(default)]
    pub(crate) data: BTreeMap<String, RecordedLookup<RecordedSurvey>>,
    pub(crate) security_configuration: Option<RecordedLookup<RecordedSecurityConfiguration>>,
    #[serde(default)]
    pub(crate) role: Option<RecordedLookup<RecordedRole>>,
    #[serde(default)]
    pub(crate) service_role: Option<RecordedLookup<RecordedRole>>,
}

/// The result of looking up a fact.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedLookup<T> {
    Found(T),
    Absent,
    /// With the reason, which the findings contain.
    Denied(IgnoredAny),
    /// Likewise.
    Unreachable(IgnoredAny),
}

impl<T> RecordedLookup<T> {
    pub(crate) fn found(&self) -> Option<&T> {
        match self {
            Self::Found(fact) => Some(fact),
            Self::Absent | Self::Denied(_) | Self::Unreachable(_) => None,
        }
    }
}

/// An AWS identity.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedIdentity {
    pub(crate) account: String,
    pub(crate) arn: String,
}

/// An endpoint that replaced AWS's own.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedEndpoint {
    pub(crate) service: String,
    pub(crate) url: String,
}

/// A role.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedRole {
    pub(crate) arn: String,
}

/// The security configuration that was sealed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedSecurityConfiguration {
    pub(crate) name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created: OffsetDateTime,
    pub(crate) digest: String,
}

/// The objects of one location.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RecordedSurvey {
    pub(crate) objects: u64,
    pub(crate) looked_at: u64,
    pub(crate) kinds: Vec<RecordedTally>,
    pub(crate) unseen: Option<RecordedUnseen>,
}

/// The objects of one kind.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedTally {
    pub(crate) stored: RecordedEncryption,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedEncryption {
    Unencrypted,
    /// The kind, and the KMS key's ARN where there is one.
    Kind(String, Option<String>),
    CustomerKey,
    Other(String),
}

/// Objects that could not be looked up.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedUnseen {
    pub(crate) objects: u64,
}

/// Launch or refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedVerdict {
    Launch,
    #[serde(alias = "refuse-refuted")]
    RefuseFailed,
    RefuseUnknown,
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedOutcome {
    Ended(u8),
    Signalled(u8),
    BadUsage,
    BadConfig,
    FactsUnknown,
    Bug,
    UnsafeClusterAlive,
    Unconfirmed,
    UnsafeClusterTerminated,
    Refused,
    RunnerNotExecutable,
    RunnerNotFound,
    Undelivered,
}

/// Whether a check can refuse a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedLevel {
    Required,
    #[serde(alias = "advised")]
    Advisory,
}

/// A check's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedStatus {
    #[serde(alias = "refuted")]
    Failed,
    Unknown,
    #[serde(alias = "excused")]
    Excepted,
    #[serde(alias = "proved")]
    Passed,
    NotApplicable,
}

impl RecordedStatus {
    /// The word for it in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Excepted => "excepted",
            Self::NotApplicable => "not-applicable",
        }
    }
}

/// The result of one check on one subject.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedFinding {
    pub(crate) check: String,
    pub(crate) level: RecordedLevel,
    pub(crate) subject: String,
    pub(crate) status: RecordedStatus,
    #[serde(rename = "seen", alias = "saw")]
    pub(crate) saw: String,
    #[serde(rename = "expected", alias = "wanted")]
    pub(crate) wanted: String,
    pub(crate) at: Option<String>,
    #[serde(rename = "remediation", alias = "mend")]
    pub(crate) fix: Option<String>,
    #[serde(rename = "exception", alias = "excused")]
    pub(crate) excepted: Option<String>,
    pub(crate) waits_for: Option<String>,
    #[serde(default)]
    pub(crate) not_there: bool,
}

impl RecordedFinding {
    /// Identifies the finding among those of a run, and stays the same in the next run: the SHA-256
    /// of its check and of a subject, its own or one that represents several.
    pub(crate) fn fingerprint(&self, subject: &str) -> String {
        sha256(format!("{}\0{subject}", self.check))
    }

    /// An id that is unique in an account. It contains a hash, because the distinguishing part of a
    /// subject may be longer than an id may be.
    pub(crate) fn id_in(&self, region: &str, account: &str) -> String {
        let subject = &self.fingerprint(&self.subject)[..32];
        format!("{region}/{account}/emr-etl-guard/{}/{subject}", self.check)
    }

    /// Whether it failed or is unknown: there is something to do.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.status, RecordedStatus::Failed | RecordedStatus::Unknown)
    }
}

/// A risk that remains whatever the checks show.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedResidualRisk {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) source: String,
}

/// The result of the watch.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedWatch {
    pub(crate) clusters: Vec<RecordedCluster>,
    pub(crate) search_trouble: Option<String>,
    #[serde(default)]
    pub(crate) undecided: Vec<String>,
}

/// One cluster of the run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedCluster {
    pub(crate) id: String,
    pub(crate) found_by: String,
    pub(crate) cluster: RecordedLookup<RecordedClusterFacts>,
    pub(crate) steps: RecordedLookup<Vec<RecordedStep>>,
    pub(crate) findings: Vec<RecordedFinding>,
    pub(crate) is_unsafe: bool,
    #[serde(default)]
    pub(crate) ended_by_stop: bool,
    /// `left` or `ended`, for one that continued although nobody waited for it.
    #[serde(default)]
    pub(crate) orphan: Option<String>,
    pub(crate) end: Option<RecordedTermination>,
    /// Commands that terminate it; reports of older guards lack them.
    #[serde(default)]
    pub(crate) remediation: Option<String>,
}

/// A cluster that must end, and whose end was not observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallToAct<'a> {
    pub(crate) cluster: &'a str,
    /// The first thing to know.
    pub(crate) what: String,
    /// What prevented its end.
    pub(crate) obstacle: &'a str,
    /// Shell commands that terminate it.
    pub(crate) commands: String,
}

impl CallToAct<'_> {
    /// The same as a finding, for formats that contain only findings.
    pub(crate) fn finding(&self) -> RecordedFinding {
        RecordedFinding {
            check: CALL_TO_ACT.to_owned(),
            level: RecordedLevel::Required,
            subject: self.cluster.to_owned(),
            status: RecordedStatus::Failed,
            saw: format!("{}: {}", self.what, self.obstacle),
            wanted: "its end".to_owned(),
            at: None,
            fix: Some(format!("end it now: {}", self.commands)),
            excepted: None,
            waits_for: None,
            not_there: false,
        }
    }
}

/// The check name of such a finding.
pub(crate) const CALL_TO_ACT: &str = "cluster-may-be-running";

/// Earlier guards wrote this before the fix for an unsafe cluster, also where it was not
/// terminated.
const CLAIM: &str = "the cluster is terminated; ";

/// The last facts from EMR.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedClusterFacts {
    pub(crate) status: RecordedClusterStatus,
    pub(crate) release: Option<String>,
}

/// Its state.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedClusterStatus {
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
}

/// One of its steps.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedStep {
    pub(crate) state: String,
}

/// The result of a termination.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordedTermination {
    Confirmed,
    Unconfirmed(String),
}

/// The check of the objects that the run wrote in one location.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedOutput {
    pub(crate) role: String,
    pub(crate) folders: Vec<RecordedFolder>,
    pub(crate) survey: RecordedSurvey,
    pub(crate) cut_short: Option<String>,
}

/// A folder in S3.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedFolder {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl std::fmt::Display for RecordedFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// A change of a cluster's state.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedStateChange {
    pub(crate) cluster: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) seen: OffsetDateTime,
}

/// An action of the guard.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedAction {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) error: Option<String>,
}

/// The requests of one operation.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedCalls {
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) attempts: u64,
    pub(crate) kept: Vec<RecordedRequest>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedRequest {
    pub(crate) subject: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) status: Option<u16>,
}

/// One entry of the timeline.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordedTimelineEntry {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) what: String,
}

/// A report of any kind.
#[derive(Clone, Debug)]
pub(crate) enum AnyReport {
    Run(Box<RunReport>),
    Audit(Box<AuditReport>),
    Reencrypt(Box<ReencryptReport>),
    Setup(Box<SetupReport>),
    Sentinel(Box<SentinelReport>),
}

impl AnyReport {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// [`ReadReportError`] when it cannot be read, is not a report, or has a version that this
    /// program does not know.
    pub(crate) fn read(file: &Path) -> Result<Self, ReadReportError> {
        let mut text = Vec::new();
        let read = if is_stdin(file) {
            std::io::stdin().read_to_end(&mut text).map(|_| ())
        } else {
            std::fs::read(file).map(|bytes| text = bytes)
        };
        read.map_err(|error| ReadReportError::Unreadable { file: file.to_owned(), error })?;
        Self::parse(file, &text)
    }

    pub(super) fn parse(file: &Path, text: &[u8]) -> Result<Self, ReadReportError> {
        let not_one = |why: String| ReadReportError::NotOne { file: file.to_owned(), why };
        let mut value: Value =
            serde_json::from_slice(text).map_err(|error| not_one(format!("not JSON: {error}")))?;
        let kind = ReportKind::of(value["command"].as_str().unwrap_or_default());
        let wanted = readable(kind);
        // The version determines the format of the rest, so it is read first.
        match value.get("version") {
            Some(version)
                if version.as_u64().is_some_and(|version| {
                    u32::try_from(version).is_ok_and(|version| wanted.contains(&version))
                }) => {}
            Some(version) => {
                return Err(ReadReportError::Version {
                    file: file.to_owned(),
                    seen: version.to_string(),
                    wanted,
                });
            }
            None => return Err(not_one("it has no `version`".to_owned())),
        }
        // The output is shown to people, and anybody may have written the file.
        neutralise(&mut value);
        let read = match kind {
            ReportKind::Run => serde_json::from_value(value)
                .map(|document: RunReport| Self::Run(Box::new(document.without_claims()))),
            ReportKind::Audit => serde_json::from_value(value).map(Self::Audit),
            ReportKind::Reencrypt => serde_json::from_value(value).map(Self::Reencrypt),
            ReportKind::Setup => serde_json::from_value(value).map(Self::Setup),
            ReportKind::Sentinel => serde_json::from_value(value).map(Self::Sentinel),
        };
        read.map_err(|error| not_one(error.to_string()))
    }

    /// Its kind.
    pub(crate) const fn kind(&self) -> ReportKind {
        match self {
            Self::Run(_) => ReportKind::Run,
            Self::Audit(_) => ReportKind::Audit,
            Self::Reencrypt(_) => ReportKind::Reencrypt,
            Self::Setup(_) => ReportKind::Setup,
            Self::Sentinel(_) => ReportKind::Sentinel,
        }
    }

    /// The report of a run, the only kind that the format of Security Hub supports.
    ///
    /// # Errors
    /// [`ReadReportError::RunOnly`] for another kind.
    pub(crate) fn of_run(self, file: &Path) -> Result<RunReport, ReadReportError> {
        let kind = self.kind();
        match self {
            Self::Run(document) => Ok(*document),
            _ => Err(ReadReportError::RunOnly { file: file.to_owned(), kind }),
        }
    }
}

/// Makes each text in `value` one line without invisible characters. Text that was escaped when it
/// was recorded stays as it is.
fn neutralise(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = neutralised(text) {
                *text = shown;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(neutralise),
        Value::Object(members) => {
            let all = std::mem::take(members).into_iter().map(|(name, mut value)| {
                neutralise(&mut value);
                (neutralised(&name).into_owned(), value)
            });
            *members = all.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl RunReport {
    /// The report that `record` is written as.
    ///
    /// # Errors
    /// When the record cannot be read back, which is a bug.
    pub(super) fn of(record: &Record<'_>) -> anyhow::Result<Self> {
        let mut value = serde_json::to_value(record)?;
        neutralise(&mut value);
        Ok(serde_json::from_value(value)?)
    }

    /// The same, without claims about a cluster's end in the fixes: the cluster's own entry states
    /// that.
    fn without_claims(mut self) -> Self {
        let clusters = self.watched.iter_mut().flat_map(|watched| &mut watched.clusters);
        let findings = clusters.flat_map(|cluster| &mut cluster.findings);
        for fix in findings.filter_map(|finding| finding.fix.as_mut()) {
            if let Some(rest) = fix.strip_prefix(CLAIM) {
                *fix = rest.to_owned();
            }
        }
        self
    }

    /// The clusters that a person must terminate.
    pub(crate) fn calls_to_act(&self) -> Vec<CallToAct<'_>> {
        let is_unsafe_run = self.outcome == RecordedOutcome::UnsafeClusterAlive;
        let must_end = |cluster: &&RecordedCluster| {
            let is_confirmed = matches!(cluster.end, Some(RecordedTermination::Confirmed));
            let is_left = cluster.orphan.as_deref() == Some("left");
            !is_confirmed
                && (cluster.is_unsafe
                    || cluster.ended_by_stop
                    || (cluster.remediation.is_some() && !is_left))
        };
        self.clusters()
            .iter()
            .filter(must_end)
            .map(|cluster| {
                let what = if cluster.is_unsafe {
                    UNSAFE
                } else if cluster.ended_by_stop {
                    "must end, because the run was stopped,"
                } else if cluster.orphan.is_some() {
                    "must end, because nothing waits for it,"
                } else if is_unsafe_run {
                    WROTE
                } else {
                    "must end"
                };
                CallToAct {
                    cluster: &cluster.id,
                    what: may_be_running(&cluster.id, what),
                    obstacle: match &cluster.end {
                        Some(RecordedTermination::Unconfirmed(why)) => why,
                        _ => "its end was not seen",
                    },
                    commands: cluster.remediation.clone().unwrap_or_else(|| {
                        cluster.id.parse().map_or_else(
                            |_| "aws emr terminate-clusters".to_owned(),
                            |id| manual_termination_commands(&id, &self.commands()),
                        )
                    }),
                }
            })
            .collect()
    }

    /// Whether a person must terminate a cluster.
    pub(crate) fn must_act_on(&self, cluster: &str) -> bool {
        self.calls_to_act().iter().any(|call| call.cluster == cluster)
    }

    /// The values for commands about its clusters: a report does not contain the guard's profile.
    fn commands(&self) -> CommandContext {
        CommandContext::in_region(self.region().unwrap_or_default())
    }

    /// The region of the run's clusters, from the finding about it.
    pub(crate) fn region(&self) -> Option<&str> {
        let asked = self
            .of_check("ebs-encryption-by-default")
            .next()
            .map(|finding| finding.subject.as_str());
        asked.or_else(|| {
            self.of_check("bucket-region").next().map(|finding| finding.wanted.as_str())
        })
    }

    /// Whether the guard requested a cluster's termination and EMR accepted; `None` if it did not
    /// request it, or if the report does not list actions.
    pub(crate) fn asked_for_its_end(&self, cluster: &str) -> Option<bool> {
        let mut asked = self
            .actions
            .iter()
            .filter(|action| action.action == "terminate" && action.subject == cluster)
            .peekable();
        asked.peek()?;
        Some(asked.any(|action| action.error.is_none()))
    }

    /// The accesses of the run's plan.
    pub(crate) fn touches(&self) -> &[RecordedTouch] {
        self.inputs.as_ref().map_or(&[], |inputs| &inputs.plan.touches)
    }

    /// The storage targets.
    pub(crate) fn targets(&self) -> &[RecordedTarget] {
        self.inputs.as_ref().map_or(&[], |inputs| &inputs.documents.targets)
    }

    /// The account that clusters are launched in.
    pub(crate) fn account(&self) -> Option<&str> {
        let told = self
            .facts
            .as_ref()
            .and_then(|facts| facts.runner.found())
            .map(|identity| identity.account.as_str());
        self.who.account.as_deref().or(told)
    }

    /// The ARN that the guard's credentials belong to.
    pub(crate) fn principal(&self) -> Option<&str> {
        let told = self
            .facts
            .as_ref()
            .and_then(|facts| facts.guard.found())
            .map(|identity| identity.arn.as_str());
        self.who.principal.as_deref().or(told)
    }

    /// The ARN that the runner's credentials belong to.
    pub(crate) fn runner_principal(&self) -> Option<&str> {
        let told = self
            .facts
            .as_ref()
            .and_then(|facts| facts.runner.found())
            .map(|identity| identity.arn.as_str());
        self.who.runner_principal.as_deref().or(told)
    }

    /// Every finding: before the launch, on each cluster, after the run.
    pub(crate) fn all_findings(&self) -> impl Iterator<Item = &RecordedFinding> {
        self.findings.iter().chain(self.clusters().iter().flat_map(|cluster| &cluster.findings))
    }

    /// The required checks on the run that its policy lowers to advisory. Reports of older guards
    /// show them only by their policy.
    pub(crate) fn not_enforced(&self) -> Vec<&str> {
        if !self.not_enforced.is_empty() {
            return self.not_enforced.iter().map(String::as_str).collect();
        }
        let Some(policy) = self.inputs.as_ref().map(|inputs| &inputs.policy) else {
            return Vec::new();
        };
        let is_lowered = |name: &str| {
            policy.advise.iter().any(|lowered| lowered == name)
                && !policy.enforce.iter().any(|raised| raised == name)
        };
        required_of_runs().map(|check| check.name).filter(|check| is_lowered(check)).collect()
    }

    /// The number of open findings from pre-launch checks that the policy lowers to advisory.
    pub(crate) fn open_advice(&self) -> usize {
        let Some(policy) = self.inputs.as_ref().map(|inputs| &inputs.policy) else { return 0 };
        let not_enforced = self.not_enforced();
        let is_lowered = |finding: &&RecordedFinding| {
            finding.level == RecordedLevel::Advisory
                && finding.is_open()
                && !finding.not_there
                && policy.advise.contains(&finding.check)
                && !not_enforced.contains(&finding.check.as_str())
                && find(&finding.check).is_none_or(|check| check.level == Level::Required)
        };
        self.all_findings().filter(is_lowered).count()
    }

    /// The run's clusters; none where nothing was launched.
    pub(crate) fn clusters(&self) -> &[RecordedCluster] {
        self.watched.as_ref().map_or(&[], |watched| &watched.clusters)
    }

    /// The findings of one check.
    pub(crate) fn of_check<'a>(
        &'a self,
        check: &'a str,
    ) -> impl Iterator<Item = &'a RecordedFinding> {
        self.all_findings().filter(move |finding| finding.check == check)
    }

    /// All findings by check, in the order of the catalogue; unknown checks come last, in the order
    /// of the report.
    pub(crate) fn by_check(&self) -> Vec<(&str, Vec<&RecordedFinding>)> {
        let mut groups: Vec<(&str, Vec<&RecordedFinding>)> =
            CATALOGUE.iter().map(|check| (check.name, Vec::new())).collect();
        for finding in self.all_findings() {
            match groups.iter_mut().find(|(name, _)| *name == finding.check) {
                Some((_, findings)) => findings.push(finding),
                None => groups.push((&finding.check, vec![finding])),
            }
        }
        groups.retain(|(_, findings)| !findings.is_empty());
        groups
    }

    /// The residual risk with this name, if there is one.
    pub(crate) fn residual_risk(&self, name: &str) -> Option<&RecordedResidualRisk> {
        self.residual_risks.iter().find(|residual_risk| residual_risk.name == name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        base::outcome,
        checks::{finding, verdict},
    };

    /// Reports that the guard wrote, of both versions.
    pub(in crate::report) const RECORDED: [(&str, &str); 3] = [
        ("unencrypted-v1", include_str!("../../tests/recordings/documents/unencrypted-v1.json")),
        ("unsafe-v2", include_str!("../../tests/recordings/documents/unsafe-v2.json")),
        ("refused-v2", include_str!("../../tests/recordings/documents/refused-v2.json")),
    ];

    pub(in crate::report) fn recorded(name: &str) -> RunReport {
        let (_, text) = RECORDED.into_iter().find(|(recorded, _)| *recorded == name).unwrap();
        parse(text).unwrap()
    }

    pub(in crate::report) fn parse(text: &str) -> Result<RunReport, ReadReportError> {
        let file = Path::new("report.json");
        AnyReport::parse(file, text.as_bytes())?.of_run(file)
    }

    #[test]
    fn documents_of_both_versions_are_read_and_an_older_one_lacks_only_what_came_later() {
        let [old, new] = ["unencrypted-v1", "unsafe-v2"].map(recorded);
        assert_eq!((old.version, new.version), (1, 2));
        for document in [&old, &new] {
            assert_eq!(document.account(), Some("123456789012"));
            assert_eq!(
                document.runner_principal(),
                Some("arn:aws:iam::123456789012:user/snowplow")
            );
            assert!(document.principal().unwrap().starts_with("arn:aws:sts::"));
            assert_eq!(document.clusters().len(), 1);
            assert!(
                document.all_findings().count() > document.findings.len(),
                "the clusters' findings are among them"
            );
        }
        assert!(old.chain.is_none() && old.calls.is_empty() && old.states.is_empty());
        assert_eq!(new.chain.as_ref().unwrap().sequence, 1);
        assert_eq!(
            new.states.iter().map(|change| change.state.as_str()).collect::<Vec<_>>(),
            ["STARTING", "TERMINATING", "TERMINATED"]
        );
        assert!(new.actions.iter().any(|action| action.action == "terminate"));
    }

    #[test]
    fn a_document_that_somebody_else_wrote_shows_no_control_characters_either() {
        let mut hostile: Value = serde_json::from_str(RECORDED[1].1).unwrap();
        hostile["findings"][0]["saw"] = "a\u{1b}[2J\nb \\u{a}".into();
        let read = parse(&hostile.to_string()).unwrap();
        assert_eq!(read.findings[0].saw, r"a\u{1b}[2J\u{a}b \u{a}");
    }

    #[test]
    fn what_is_no_document_is_named_with_what_was_seen_and_what_was_wanted() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        let mut newer: Value = serde_json::from_str(RECORDED[1].1).unwrap();
        newer["version"] = (RUN_REPORT_VERSION + 1).into();
        let mut unknown: Value = serde_json::from_str(RECORDED[1].1).unwrap();
        unknown["findings"][0]["status"] = "fine".into();
        let mut incomplete: Value = serde_json::from_str(RECORDED[1].1).unwrap();
        incomplete.as_object_mut().unwrap().remove("findings");
        let errors = [
            said("{"),
            said("[]"),
            said(r#"{"version": "2"}"#),
            said(&newer.to_string()),
            said(&unknown.to_string()),
            said(&incomplete.to_string()),
            AnyReport::read(Path::new("/nowhere/report.json")).unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn every_word_that_the_guard_writes_for_an_answer_or_an_end_is_read() {
        fn same<
            W: serde::Serialize + std::fmt::Debug,
            R: serde::de::DeserializeOwned + std::fmt::Debug,
        >(
            written: W,
        ) {
            let read: R = serde_json::from_value(serde_json::to_value(&written).unwrap()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{written:?}"));
        }
        for status in [
            finding::Status::Passed,
            finding::Status::Failed,
            finding::Status::Unknown,
            finding::Status::NotApplicable,
            finding::Status::Excepted,
        ] {
            same::<_, RecordedStatus>(status);
        }
        same::<_, RecordedLevel>(Level::Required);
        same::<_, RecordedLevel>(Level::Advisory);
        for verdict in [
            verdict::Verdict::Launch,
            verdict::Verdict::RefuseFailed,
            verdict::Verdict::RefuseUnknown,
        ] {
            same::<_, RecordedVerdict>(verdict);
        }
        for outcome in [
            outcome::Outcome::Ended(3),
            outcome::Outcome::Signalled(15),
            outcome::Outcome::BadUsage,
            outcome::Outcome::BadConfig,
            outcome::Outcome::FactsUnknown,
            outcome::Outcome::Bug,
            outcome::Outcome::UnsafeClusterAlive,
            outcome::Outcome::Unconfirmed,
            outcome::Outcome::UnsafeClusterTerminated,
            outcome::Outcome::Refused,
            outcome::Outcome::RunnerNotExecutable,
            outcome::Outcome::RunnerNotFound,
            outcome::Outcome::Undelivered,
        ] {
            same::<_, RecordedOutcome>(outcome);
        }
    }

    /// Every format of a report.
    fn forms(document: &RunReport) -> Vec<(&'static str, String)> {
        use crate::report::{
            asff, html, junit, markdown, ocsf, sarif, signature::ReportSignature,
            summary::ReportSummary,
        };
        let summary = ReportSummary::of_run(document);
        vec![
            ("html", html::page(document, &ReportSignature::NotLooked)),
            ("markdown", markdown::markdown(&summary)),
            ("junit", junit::junit(&summary).unwrap()),
            ("sarif", sarif::sarif(&summary).unwrap()),
            ("asff", asff::asff(document, None).unwrap()),
            ("ocsf", ocsf::ocsf(&summary).unwrap()),
        ]
    }

    #[test]
    fn an_older_document_of_a_live_unsafe_cluster_is_a_call_to_act_in_every_form_too() {
        let id = "j-COW5ZZE09YJ4Y";
        let commands = manual_termination_commands(
            &id.parse().unwrap(),
            &CommandContext::in_region("eu-west-1"),
        );
        let over = recorded("unsafe-v2");
        assert_eq!(over.calls_to_act(), []);
        for (form, text) in forms(&over) {
            assert!(!text.contains("--cluster-ids j-"), "{form}");
        }
        let mut alive = over;
        alive.outcome = RecordedOutcome::UnsafeClusterAlive;
        for end in [None, Some(RecordedTermination::Unconfirmed("denied".to_owned()))] {
            alive.watched.as_mut().unwrap().clusters[0].end = end;
            for (form, text) in forms(&alive) {
                assert!(text.contains(&commands), "{form}: {text}");
                assert!(text.contains("UNSAFE and MAY STILL BE RUNNING"), "{form}");
                assert!(!text.contains("the cluster is terminated"), "{form}");
            }
        }
    }
}

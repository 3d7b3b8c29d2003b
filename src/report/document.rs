//! The document of a run, read again: owned and typed, as far as the pages need it. Every form but
//! the document's own is made from this, and from nothing else.
//!
//! The types here are those of the document, not of the program: what an older version wrote stays
//! readable when the program's own types have moved on.

use std::{
    collections::BTreeMap,
    io::Read as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    base::report_kind::DocumentKind,
    checks::catalogue::CATALOGUE,
    report::{audit_document::AuditDocument, json::Record, reencrypt_document::ReencryptDocument},
};

/// The versions that can be read: of a run's document, of an audit's, of a repair's.
const fn readable(kind: DocumentKind) -> RangeInclusive<u32> {
    match kind {
        DocumentKind::Run => 1..=2,
        DocumentKind::Audit => 1..=crate::report::audit_document::VERSION,
        DocumentKind::Reencrypt => 1..=crate::report::reencrypt_document::VERSION,
    }
}

impl DocumentKind {
    /// The kind of a document, by its member `command`.
    pub(crate) fn of(command: &str) -> Self {
        match command {
            "audit" => Self::Audit,
            "reencrypt" => Self::Reencrypt,
            _ => Self::Run,
        }
    }

    /// What its documents are of.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Audit => "an audit",
            Self::Reencrypt => "a reencrypt",
        }
    }
}

/// Why a file cannot be read as a document: what was seen, what was wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoDocument {
    #[error("{}: cannot be read: {error}", shown(file))]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error(
        "{}: no document of emr-etl-guard: {why}; wanted the file that the setting `report` names, or what `check --json` prints",
        shown(file)
    )]
    NotOne { file: PathBuf, why: String },
    #[error("{}: version {seen} of the document; wanted {} to {}: use the guard that wrote it, or a later one", shown(file), wanted.start(), wanted.end())]
    Version { file: PathBuf, seen: String, wanted: RangeInclusive<u32> },
    #[error(
        "{}: the document of {}, which has a page only: emr-etl-guard report html {}; wanted that of a run, check or watch",
        shown(file),
        kind.in_words(),
        shown(file)
    )]
    PageOnly { file: PathBuf, kind: DocumentKind },
}

fn shown(file: &Path) -> std::path::Display<'_> {
    if is_stdin(file) { Path::new("standard input").display() } else { file.display() }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The record of one run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Document {
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
    pub(crate) who: Who,
    /// Since version 2.
    pub(crate) chain: Option<Chain>,
    /// None where a run is closed that an earlier guard left open.
    pub(crate) inputs: Option<Inputs>,
    /// None in the same place.
    pub(crate) facts: Option<Facts>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) gaps: Vec<Gap>,
    /// None in the same place.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) watched: Option<Watched>,
    /// Since version 2.
    #[serde(default)]
    pub(crate) states: Vec<StateChange>,
    #[serde(default)]
    pub(crate) written: Vec<Written>,
    /// Since version 2.
    #[serde(default)]
    pub(crate) actions: Vec<Action>,
    #[serde(default)]
    pub(crate) timeline: Vec<Moment>,
    /// Since version 2.
    #[serde(default)]
    pub(crate) calls: Vec<Calls>,
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: u8,
}

/// Who ran it, and where.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Who {
    pub(crate) account: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) runner_principal: Option<String>,
    pub(crate) host: Option<String>,
}

/// Its place among the runs of one state directory.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Chain {
    pub(crate) sequence: u64,
    pub(crate) previous: Option<Previous>,
    #[serde(default)]
    pub(crate) unrecorded: Vec<Begun>,
}

/// The document before.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Previous {
    pub(crate) run: String,
    pub(crate) sequence: u64,
    pub(crate) sha256: String,
}

/// A run that began, and left no document.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Begun {
    pub(crate) run: String,
    pub(crate) sequence: u64,
}

/// What went in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Inputs {
    pub(crate) config: String,
    pub(crate) config_sha256: String,
    pub(crate) sealed_sha256: Option<String>,
    #[serde(default)]
    pub(crate) sealed: Vec<Change>,
    /// Since version 2.
    pub(crate) runner: Option<Runner>,
    /// Since version 2.
    pub(crate) settings: Option<SettingsUsed>,
    pub(crate) policy: Policy,
    pub(crate) documents: Documents,
    pub(crate) plan: Plan,
}

/// The runner's program.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Runner {
    pub(crate) path: String,
    pub(crate) sha256: Lookup<String>,
    pub(crate) version: Lookup<String>,
}

/// The settings, by digest.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SettingsUsed {
    pub(crate) file: Option<String>,
    pub(crate) file_sha256: Option<String>,
    pub(crate) sha256: String,
}

/// What the seal set.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) before: Option<String>,
    pub(crate) after: String,
}

/// What was required.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Policy {
    pub(crate) require: Vec<String>,
    pub(crate) accept_encryption: Vec<String>,
    #[serde(default)]
    pub(crate) expected_keys: Vec<String>,
    #[serde(default)]
    pub(crate) advise: Vec<String>,
    #[serde(default)]
    pub(crate) enforce: Vec<String>,
    #[serde(default)]
    pub(crate) exceptions: Vec<Exception>,
}

/// What the settings excuse.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Exception {
    pub(crate) check: String,
    pub(crate) subject: String,
    pub(crate) reason: String,
    pub(crate) expires: String,
}

/// The files that the runner was given besides its config.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Documents {
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

/// A storage target.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) file: String,
    pub(crate) name: Option<String>,
    pub(crate) purpose: String,
    /// One key, the kind of store, with what is known of it.
    pub(crate) store: BTreeMap<String, Value>,
}

/// What the run would touch.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Plan {
    pub(crate) touches: Vec<Touch>,
}

/// One way in which it touches a location.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Touch {
    /// The key below `aws.s3.buckets`.
    pub(crate) role: String,
    /// `list`, `read`, `write` or `delete`.
    pub(crate) access: String,
    /// `s3-dist-cp`, `spark`, ….
    pub(crate) actor: String,
    /// `staging`, `enrich`, …; none for what the cluster does as such.
    pub(crate) part: Option<String>,
}

/// What AWS and the runner said, as far as the pages tell it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Facts {
    pub(crate) guard: Lookup<Identity>,
    pub(crate) runner: Lookup<Identity>,
    pub(crate) runner_version: Option<Lookup<String>>,
    #[serde(default)]
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub(crate) data: BTreeMap<String, Lookup<Survey>>,
    pub(crate) security_configuration: Option<Lookup<SecurityConfiguration>>,
    #[serde(default)]
    pub(crate) role: Option<Lookup<Role>>,
    #[serde(default)]
    pub(crate) service_role: Option<Lookup<Role>>,
}

/// What asking for a fact came to.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lookup<T> {
    Found(T),
    Absent,
    /// With what stood in the way, which the findings tell.
    Denied(IgnoredAny),
    /// In the same way.
    Unreachable(IgnoredAny),
}

impl<T> Lookup<T> {
    pub(crate) fn found(&self) -> Option<&T> {
        match self {
            Self::Found(fact) => Some(fact),
            Self::Absent | Self::Denied(_) | Self::Unreachable(_) => None,
        }
    }
}

/// Who somebody is to AWS.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Identity {
    pub(crate) account: String,
    pub(crate) arn: String,
}

/// An endpoint that stood in for AWS's own.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) service: String,
    pub(crate) url: String,
}

/// A role.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Role {
    pub(crate) arn: String,
}

/// The security configuration that was sealed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SecurityConfiguration {
    pub(crate) name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created: OffsetDateTime,
    pub(crate) digest: String,
}

/// The objects of one location.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Survey {
    pub(crate) objects: u64,
    pub(crate) looked_at: u64,
    pub(crate) kinds: Vec<Tally>,
    pub(crate) unseen: Option<Unseen>,
}

/// The objects of one kind.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tally {
    pub(crate) stored: Stored,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stored {
    Unencrypted,
    /// The kind, and the KMS key's ARN where there is one.
    Kind(String, Option<String>),
    CustomerKey,
    Other(String),
}

/// Objects that could not be looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Unseen {
    pub(crate) objects: u64,
}

/// Launch or refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Launch,
    RefuseRefuted,
    RefuseUnknown,
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
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

/// Whether a check can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    Required,
    Advised,
}

/// A check's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    Refuted,
    Unknown,
    Excused,
    Proved,
    NotApplicable,
}

/// What one check found on one subject.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Finding {
    pub(crate) check: String,
    pub(crate) level: Level,
    pub(crate) subject: String,
    pub(crate) status: Status,
    pub(crate) saw: String,
    pub(crate) wanted: String,
    pub(crate) at: Option<String>,
    pub(crate) mend: Option<String>,
    pub(crate) excused: Option<String>,
    pub(crate) waits_for: Option<String>,
    #[serde(default)]
    pub(crate) not_there: bool,
}

impl Finding {
    /// Refuted or Unknown: something is left to do.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.status, Status::Refuted | Status::Unknown)
    }
}

/// Something that stays open whatever the checks prove.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) source: String,
}

/// What the watch learnt.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Watched {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) search_trouble: Option<String>,
    #[serde(default)]
    pub(crate) undecided: Vec<String>,
}

/// One cluster of the run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) found_by: String,
    pub(crate) cluster: Lookup<ClusterFacts>,
    pub(crate) steps: Lookup<Vec<Step>>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) is_unsafe: bool,
    #[serde(default)]
    pub(crate) ended_by_stop: bool,
    pub(crate) end: Option<End>,
}

/// What EMR said of it last.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterFacts {
    pub(crate) status: ClusterStatus,
    pub(crate) release: Option<String>,
}

/// Its state.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterStatus {
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
}

/// One of its steps.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) state: String,
}

/// How a termination went.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    Confirmed,
    Unconfirmed(String),
}

/// What was found of the objects that the run wrote, in one location.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Written {
    pub(crate) role: String,
    pub(crate) folders: Vec<Folder>,
    pub(crate) survey: Survey,
    pub(crate) cut_short: Option<String>,
}

/// A folder in S3.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Folder {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl std::fmt::Display for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// A cluster was seen in another state than before.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StateChange {
    pub(crate) cluster: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) seen: OffsetDateTime,
}

/// Something the guard did.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Action {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) error: Option<String>,
}

/// The requests of one operation.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Calls {
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) attempts: u64,
    pub(crate) kept: Vec<Request>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) subject: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) status: Option<u16>,
}

/// What happened when.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Moment {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) what: String,
}

/// A document of any kind.
#[derive(Clone, Debug)]
pub(crate) enum AnyDocument {
    Run(Box<Document>),
    Audit(Box<AuditDocument>),
    Reencrypt(Box<ReencryptDocument>),
}

impl AnyDocument {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// [`NoDocument`] when it cannot be read, is no document, or is of a version that this program does not know.
    pub(crate) fn read(file: &Path) -> Result<Self, NoDocument> {
        let mut text = Vec::new();
        let read = if is_stdin(file) {
            std::io::stdin().read_to_end(&mut text).map(|_| ())
        } else {
            std::fs::read(file).map(|bytes| text = bytes)
        };
        read.map_err(|error| NoDocument::Unreadable { file: file.to_owned(), error })?;
        Self::parse(file, &text)
    }

    pub(super) fn parse(file: &Path, text: &[u8]) -> Result<Self, NoDocument> {
        let not_one = |why: String| NoDocument::NotOne { file: file.to_owned(), why };
        let value: Value =
            serde_json::from_slice(text).map_err(|error| not_one(format!("not JSON: {error}")))?;
        let kind = DocumentKind::of(value["command"].as_str().unwrap_or_default());
        let wanted = readable(kind);
        // The version decides what the rest means, so it comes first.
        match value.get("version") {
            Some(version)
                if version.as_u64().is_some_and(|version| {
                    u32::try_from(version).is_ok_and(|version| wanted.contains(&version))
                }) => {}
            Some(version) => {
                return Err(NoDocument::Version {
                    file: file.to_owned(),
                    seen: version.to_string(),
                    wanted,
                });
            }
            None => return Err(not_one("it has no `version`".to_owned())),
        }
        let read = match kind {
            DocumentKind::Run => serde_json::from_value(value).map(Self::Run),
            DocumentKind::Audit => serde_json::from_value(value).map(Self::Audit),
            DocumentKind::Reencrypt => serde_json::from_value(value).map(Self::Reencrypt),
        };
        read.map_err(|error| not_one(error.to_string()))
    }

    /// The document of a run, which all forms but the page are made of.
    ///
    /// # Errors
    /// [`NoDocument::PageOnly`] where it is another's.
    pub(crate) fn of_run(self, file: &Path) -> Result<Document, NoDocument> {
        let page_only = |kind| Err(NoDocument::PageOnly { file: file.to_owned(), kind });
        match self {
            Self::Run(document) => Ok(*document),
            Self::Audit(_) => page_only(DocumentKind::Audit),
            Self::Reencrypt(_) => page_only(DocumentKind::Reencrypt),
        }
    }
}

impl Document {
    /// The document that `record` would be written as.
    ///
    /// # Errors
    /// When the record cannot be read again, which is a bug.
    pub(super) fn of(record: &Record<'_>) -> anyhow::Result<Self> {
        Ok(serde_json::from_value(serde_json::to_value(record)?)?)
    }

    /// What the run would touch.
    pub(crate) fn touches(&self) -> &[Touch] {
        self.inputs.as_ref().map_or(&[], |inputs| &inputs.plan.touches)
    }

    /// The storage targets.
    pub(crate) fn targets(&self) -> &[Target] {
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
    pub(crate) fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(self.clusters().iter().flat_map(|cluster| &cluster.findings))
    }

    /// The run's clusters; none where nothing was launched.
    pub(crate) fn clusters(&self) -> &[Cluster] {
        self.watched.as_ref().map_or(&[], |watched| &watched.clusters)
    }

    /// The findings of one check.
    pub(crate) fn of_check<'a>(&'a self, check: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.all_findings().filter(move |finding| finding.check == check)
    }

    /// All findings by their check, in the order of the catalogue; checks that it does not know
    /// come last, in the order of the document.
    pub(crate) fn by_check(&self) -> Vec<(&str, Vec<&Finding>)> {
        let mut groups: Vec<(&str, Vec<&Finding>)> =
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

    /// Whether something of that name stays open.
    pub(crate) fn gap(&self, name: &str) -> Option<&Gap> {
        self.gaps.iter().find(|gap| gap.name == name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        base::outcome,
        checks::{finding, verdict},
    };

    /// Documents that the guard wrote, of both versions.
    pub(in crate::report) const RECORDED: [(&str, &str); 3] = [
        ("unencrypted-v1", include_str!("../../tests/recordings/documents/unencrypted-v1.json")),
        ("unsafe-v2", include_str!("../../tests/recordings/documents/unsafe-v2.json")),
        ("refused-v2", include_str!("../../tests/recordings/documents/refused-v2.json")),
    ];

    pub(in crate::report) fn recorded(name: &str) -> Document {
        let (_, text) = RECORDED.into_iter().find(|(recorded, _)| *recorded == name).unwrap();
        parse(text).unwrap()
    }

    pub(in crate::report) fn parse(text: &str) -> Result<Document, NoDocument> {
        let file = Path::new("report.json");
        AnyDocument::parse(file, text.as_bytes())?.of_run(file)
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
    fn what_is_no_document_is_named_with_what_was_seen_and_what_was_wanted() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        let mut newer: Value = serde_json::from_str(RECORDED[1].1).unwrap();
        newer["version"] = 3.into();
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
            AnyDocument::read(Path::new("/nowhere/report.json")).unwrap_err().to_string(),
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
            finding::Status::Proved,
            finding::Status::Refuted,
            finding::Status::Unknown,
            finding::Status::NotApplicable,
            finding::Status::Excused,
        ] {
            same::<_, Status>(status);
        }
        same::<_, Level>(finding::Level::Required);
        same::<_, Level>(finding::Level::Advised);
        for verdict in [
            verdict::Verdict::Launch,
            verdict::Verdict::RefuseRefuted,
            verdict::Verdict::RefuseUnknown,
        ] {
            same::<_, Verdict>(verdict);
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
            same::<_, Outcome>(outcome);
        }
    }
}

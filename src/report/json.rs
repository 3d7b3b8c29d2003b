//! The document: the report for machines, and the evidence of one run. One JSON object, with a
//! version of its own form; `schema.json` beside this file says what is in it.

use std::collections::BTreeMap;

use nix::unistd::{User, geteuid};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use time::{Date, OffsetDateTime};

use crate::{
    aws::{log::OperationCalls, trust::AwsConnections},
    base::{lookup::Lookup, names::AccountId, outcome::Outcome, report_kind::RUN_REPORT_VERSION},
    checks::{
        finding::{Finding, Status},
        residual_risks::ResidualRisk,
        verdict::Verdict,
    },
    evidence::{
        chain::ChainLink,
        timeline::{ActionRecord, StateChange, Timeline, TimelineEntry},
    },
    facts::{gather::Facts, stored::StoredEncryption, sts::CallerIdentity, written::OutputSurvey},
    settings::{
        locks::SettingLock,
        policy::Policy,
        resolve::{SettingOverride, SettingsFile, SettingsProvenance},
    },
    spec::{
        data_paths::LaunchPlan,
        observations::{RunnerDocuments, RunnerVersion, SealChange},
    },
    watch::records::WatchResult,
};

/// The schema of the version.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": RUN_REPORT_VERSION})
}

/// The evidence of one run of emr-etl-guard.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "The document of one run of emr-etl-guard")]
pub struct Record<'a> {
    /// The version of this form.
    #[schemars(schema_with = "version_schema")]
    pub version: u32,
    /// This program's version.
    pub guard: &'static str,
    /// The run's id, which is also the value of its tag.
    pub run: &'a str,
    /// What was asked for.
    pub command: ReportedCommand,
    /// Whether the verdict is by some checks only, at the user's wish.
    pub only: bool,
    /// When the guard started.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub started: OffsetDateTime,
    /// When this record was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub ended: OffsetDateTime,
    /// Who ran it, and where.
    pub who: RunCaller<'a>,
    /// Its place among the runs of one state directory; a check has none.
    pub chain: Option<ChainLink>,
    /// What went in; none where a run is closed that an earlier guard left open.
    pub inputs: Option<RunInputs<'a>>,
    /// What AWS and the runner said before the launch.
    pub facts: Option<&'a Facts>,
    /// What the checks found: pre-flight first, then on the run.
    pub findings: Vec<&'a Finding>,
    /// The exceptions that excuse some of them.
    pub exceptions: Vec<UsedException<'a>>,
    /// What stays open whatever the checks prove.
    pub residual_risks: &'a [ResidualRisk],
    /// Launch or refuse.
    pub verdict: Option<Verdict>,
    /// The required checks on the run's clusters, and on what it wrote, that the policy lowers to
    /// advice: where there are any, the run is not enforced, and nothing that they judge is verified.
    pub not_enforced: Vec<&'static str>,
    /// The run's clusters, when it was launched.
    pub watched: Option<&'a WatchResult>,
    /// The states that clusters were seen in, in the order of time.
    pub states: Vec<StateChange>,
    /// What was found of the objects that it wrote.
    pub written: &'a [OutputSurvey],
    /// The same objects, counted by how they are encrypted.
    pub objects: ObjectSummary,
    /// What the guard did to others, and how that ended.
    pub actions: Vec<ActionRecord>,
    /// What happened when.
    pub timeline: Vec<TimelineEntry>,
    /// What was asked of AWS. A fact and its request are joined by the operation and what it is
    /// about.
    pub calls: Vec<OperationCalls>,
    /// Who vouched for the servers of AWS, and through which proxies they were asked.
    pub connections: AwsConnections,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code, after remapping; 74 cannot stand here, since a document does not know whether
    /// it will arrive.
    pub exit_code: u8,
}

impl<'a> Record<'a> {
    /// A record of a run's beginning, its end, and what happened between them; of all else it says
    /// that there is none.
    pub(crate) fn of_run(
        run: &'a str,
        command: ReportedCommand,
        started: OffsetDateTime,
        timeline: &Timeline,
        outcome: Outcome,
        exit_code: u8,
    ) -> Self {
        Self {
            version: RUN_REPORT_VERSION,
            guard: env!("CARGO_PKG_VERSION"),
            run,
            command,
            only: false,
            started,
            ended: OffsetDateTime::now_utc(),
            who: RunCaller::of(None, None),
            chain: None,
            inputs: None,
            facts: None,
            findings: Vec::new(),
            exceptions: Vec::new(),
            residual_risks: &[],
            verdict: None,
            not_enforced: Vec::new(),
            watched: None,
            states: timeline.states(),
            written: &[],
            objects: ObjectSummary::of(&[]),
            actions: timeline.actions(),
            timeline: timeline.moments(),
            calls: Vec::new(),
            connections: AwsConnections::default(),
            outcome,
            exit_code,
        }
    }
}

/// What was asked of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Command")]
pub enum ReportedCommand {
    /// `run`: the whole line.
    Run,
    /// `check`: up to the verdict.
    Check,
    /// `watch ID…`: clusters that ran already were watched.
    Watch,
    /// A run was closed that an earlier guard had left open, by `watch --resume` or before the next
    /// `run`.
    Resume,
}

/// Who ran it, and where.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Who")]
pub struct RunCaller<'a> {
    /// The account that clusters are launched in.
    pub account: Option<&'a AccountId>,
    /// The ARN that the guard's credentials belong to.
    pub principal: Option<&'a str>,
    /// The ARN that the runner's credentials belong to.
    pub runner_principal: Option<&'a str>,
    /// The operating system's name of the user that ran it; none where that has no name.
    pub user: Option<String>,
    /// The machine's name.
    pub host: String,
}

impl<'a> RunCaller<'a> {
    /// By what STS said, if it was asked.
    pub(crate) fn of(
        guard: Option<&'a Lookup<CallerIdentity>>,
        runner: Option<&'a Lookup<CallerIdentity>>,
    ) -> Self {
        let (guard, runner) = (guard.and_then(Lookup::found), runner.and_then(Lookup::found));
        Self {
            account: runner.map(|identity| &identity.account),
            principal: guard.map(|identity| identity.arn.as_str()),
            runner_principal: runner.map(|identity| identity.arn.as_str()),
            user: User::from_uid(geteuid()).ok().flatten().map(|user| user.name),
            host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

/// The inputs of a run, by digest.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Inputs")]
pub struct RunInputs<'a> {
    /// The runner config's name.
    pub config: &'a str,
    /// SHA-256 of the runner config as read.
    pub config_sha256: &'a str,
    /// SHA-256 of the sealed config, when it was sealed.
    pub sealed_sha256: Option<&'a str>,
    /// What the seal set.
    pub sealed: &'a [SealChange],
    /// The runner; none where there is none, as for a check on another machine.
    pub runner: Option<&'a RunnerProgram>,
    /// The guard's own options.
    pub settings: SettingsUsed,
    /// The policy in force.
    pub policy: &'a Policy,
    /// SHA-256 of the policy as compact JSON, in the order it has here.
    pub policy_sha256: String,
    /// Its storage targets and enrichments.
    pub documents: &'a RunnerDocuments,
    /// What the run would touch, by its arguments and config.
    pub plan: &'a LaunchPlan,
}

/// The runner's program.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Runner")]
pub struct RunnerProgram {
    /// Its file.
    pub path: String,
    /// SHA-256 of that file.
    pub sha256: Lookup<String>,
    /// What it says its version is.
    pub version: Lookup<RunnerVersion>,
}

/// The settings, by digest: some values are not for everybody's eyes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SettingsUsed {
    /// The settings file, if there is one.
    pub file: Option<String>,
    /// SHA-256 of that file.
    pub file_sha256: Option<String>,
    /// SHA-256 over every setting in force, secrets and the file's name left out; equal for equal
    /// settings, wherever they come from.
    pub sha256: String,
    /// The operator's file, /etc/emr-etl-guard/guard.yml, where another one stood in its place; what
    /// it locks held all the same.
    pub base_file: Option<String>,
    /// SHA-256 of that file.
    pub base_file_sha256: Option<String>,
    /// What the files lock: no flag, no variable and no other file could set it.
    pub locks: Vec<UsedLock>,
    /// The settings that flags and the environment gave, without their values, and what those beat.
    pub overrides: Vec<UsedOverride>,
}

/// A lock, with its place.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Lock")]
pub struct UsedLock {
    /// The name of a setting, or of a group of them: `policy` or `all`.
    pub setting: String,
    /// The file that locks it.
    pub file: String,
    /// The line it stands in, from 1.
    pub line: u64,
}

/// A setting that a flag or the environment gave.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Override")]
pub struct UsedOverride {
    /// The setting.
    pub setting: String,
    /// What gave the value in force: a flag or an environment variable.
    pub by: String,
    /// What else set it, what counts more first: a variable, a file; none where only its default was
    /// beaten.
    pub over: Vec<String>,
}

impl SettingsUsed {
    pub(crate) fn of(
        file: Option<&SettingsFile>,
        provenance: &SettingsProvenance,
        sha256: String,
    ) -> Self {
        let path = |file: &SettingsFile| file.path.display().to_string();
        let digest = |file: &SettingsFile| file.sha256.clone();
        let lock = |lock: &SettingLock| UsedLock {
            setting: lock.setting.clone(),
            file: lock.file.display().to_string(),
            line: lock.line,
        };
        let beaten = |one: &SettingOverride| UsedOverride {
            setting: one.setting.clone(),
            by: one.by.clone(),
            over: one.over.clone(),
        };
        let SettingsProvenance { base, locks, overrides, places: _ } = provenance;
        Self {
            file: file.map(path),
            file_sha256: file.map(digest),
            sha256,
            base_file: base.as_ref().map(path),
            base_file_sha256: base.as_ref().map(digest),
            locks: locks.iter().map(lock).collect(),
            overrides: overrides.iter().map(beaten).collect(),
        }
    }
}

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// An exception that covers something in this run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UsedException<'a> {
    /// The check's name.
    pub check: &'a str,
    /// What it is about, as the settings say; a trailing `*` fits any ending.
    pub subject: &'a str,
    /// Why it may be so.
    pub reason: &'a str,
    /// The last day it holds, by UTC.
    #[serde(with = "day")]
    #[schemars(with = "String")]
    pub expires: Date,
    /// The subjects of the findings that it covers.
    pub covers: Vec<&'a str>,
}

/// The exceptions of `policy` that excuse some of `findings`.
pub(crate) fn used_exceptions<'a>(
    policy: &'a Policy,
    findings: &[&'a Finding],
) -> Vec<UsedException<'a>> {
    let excepted = |exception: &crate::settings::policy::PolicyException| {
        let covered = findings.iter().filter(|finding| {
            finding.status == Status::Excepted
                && exception.covers(finding.check.name, &finding.subject)
        });
        covered.map(|finding| finding.subject.as_str()).collect::<Vec<_>>()
    };
    let used = policy.exceptions.iter().map(|exception| UsedException {
        check: &exception.check,
        subject: &exception.subject,
        reason: &exception.reason,
        expires: exception.expires,
        covers: excepted(exception),
    });
    used.filter(|exception| !exception.covers.is_empty()).collect()
}

/// Objects by how they are encrypted.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Objects")]
pub struct ObjectSummary {
    /// How many objects the run wrote, in the locations that were looked at.
    pub objects: u64,
    /// How many of them were looked at.
    pub looked_at: u64,
    /// Those, by how they are encrypted.
    pub kinds: Vec<EncryptionCount>,
}

/// Objects that are encrypted in one way.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Kind")]
pub struct EncryptionCount {
    /// How.
    pub stored: StoredEncryption,
    /// How many.
    pub objects: u64,
    /// Together, in bytes.
    pub bytes: u64,
}

impl ObjectSummary {
    pub(crate) fn of(written: &[OutputSurvey]) -> Self {
        let surveys = || written.iter().map(|written| &written.survey);
        let mut kinds: BTreeMap<&StoredEncryption, (u64, u64)> = BTreeMap::new();
        for tally in surveys().flat_map(|survey| &survey.kinds) {
            let (objects, bytes) = kinds.entry(&tally.stored).or_default();
            *objects += tally.objects;
            *bytes += tally.bytes;
        }
        Self {
            objects: surveys().map(|survey| survey.objects).sum(),
            looked_at: surveys().map(|survey| survey.looked_at).sum(),
            kinds: kinds
                .into_iter()
                .map(|(stored, (objects, bytes))| EncryptionCount {
                    stored: stored.clone(),
                    objects,
                    bytes,
                })
                .collect(),
        }
    }
}

//! The JSON report: the evidence of one run for programs. It is one JSON object with a format
//! version; `schema.json` beside this file describes it.

use std::collections::BTreeMap;

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
    report::caller::LocalCaller,
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

/// The schema of the field `version`.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": RUN_REPORT_VERSION})
}

/// The evidence of one run of emr-etl-guard.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "The document of one run of emr-etl-guard")]
pub struct Record<'a> {
    /// The version of this format.
    #[schemars(schema_with = "version_schema")]
    pub version: u32,
    /// This program's version.
    pub guard: &'static str,
    /// The run's id, which is also the value of its tag.
    pub run: &'a str,
    /// The command that was run.
    pub command: ReportedCommand,
    /// Whether the verdict covers only some checks, at the user's request.
    pub only: bool,
    /// When the guard started.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub started: OffsetDateTime,
    /// When this record was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub ended: OffsetDateTime,
    /// Who ran it, and on which machine.
    pub who: RunCaller<'a>,
    /// Its position among the runs of one state directory; a check has none.
    pub chain: Option<ChainLink>,
    /// The inputs; none for a run that an earlier guard left open and that is closed now.
    pub inputs: Option<RunInputs<'a>>,
    /// The facts from AWS and the runner before the launch.
    pub facts: Option<&'a Facts>,
    /// The findings of the checks: pre-flight first, then on the run.
    pub findings: Vec<&'a Finding>,
    /// The exceptions that cover some of them.
    pub exceptions: Vec<UsedException<'a>>,
    /// Risks that remain whatever the checks show.
    pub residual_risks: &'a [ResidualRisk],
    /// Launch or refuse.
    pub verdict: Option<Verdict>,
    /// The required checks on the run's clusters and output that the policy lowers to advisory. If
    /// there are any, the run is not enforced, and nothing that they check is verified.
    pub not_enforced: Vec<&'static str>,
    /// The run's clusters, if it was launched.
    pub watched: Option<&'a WatchResult>,
    /// The observed state changes of clusters, in the order of time.
    pub states: Vec<StateChange>,
    /// The check of the objects that it wrote.
    pub written: &'a [OutputSurvey],
    /// The same objects, counted by encryption.
    pub objects: ObjectSummary,
    /// The guard's actions on clusters and processes, and their results.
    pub actions: Vec<ActionRecord>,
    /// The timeline of events.
    pub timeline: Vec<TimelineEntry>,
    /// The AWS requests. A fact and its request are linked by the operation and its subject.
    pub calls: Vec<OperationCalls>,
    /// The certificate authorities that verified the AWS servers, and the proxies that were used.
    pub connections: AwsConnections,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code, after remapping; never 74, since a report cannot contain the failure of its
    /// own delivery.
    pub exit_code: u8,
}

impl<'a> Record<'a> {
    /// A record of a run with its start, end and events; all other fields are empty.
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

/// The command that was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Command")]
pub enum ReportedCommand {
    /// `run`: all stages.
    Run,
    /// `check`: up to the verdict.
    Check,
    /// `watch ID…`: clusters that were already running were watched.
    Watch,
    /// A run was closed that an earlier guard had left open, by `watch --resume` or before the next
    /// `run`.
    Resume,
}

/// Who ran it, and on which machine.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Who")]
pub struct RunCaller<'a> {
    /// The account that clusters are launched in.
    pub account: Option<&'a AccountId>,
    /// The ARN that the guard's credentials belong to.
    pub principal: Option<&'a str>,
    /// The ARN that the runner's credentials belong to.
    pub runner_principal: Option<&'a str>,
    /// The operating system's name of the user who ran it; none if that user has no name.
    pub user: Option<String>,
    /// The machine's name.
    pub host: String,
}

impl<'a> RunCaller<'a> {
    /// From the response of STS, if it was called.
    pub(crate) fn of(
        guard: Option<&'a Lookup<CallerIdentity>>,
        runner: Option<&'a Lookup<CallerIdentity>>,
    ) -> Self {
        let (guard, runner) = (guard.and_then(Lookup::found), runner.and_then(Lookup::found));
        let LocalCaller { user, host } = LocalCaller::of_this_process();
        Self {
            account: runner.map(|identity| &identity.account),
            principal: guard.map(|identity| identity.arn.as_str()),
            runner_principal: runner.map(|identity| identity.arn.as_str()),
            user,
            host,
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
    /// The values that the seal set.
    pub sealed: &'a [SealChange],
    /// The runner; none if there is none, for example in a check on another machine.
    pub runner: Option<&'a RunnerProgram>,
    /// The guard's own options.
    pub settings: SettingsUsed,
    /// The policy in force.
    pub policy: &'a Policy,
    /// SHA-256 of the policy as compact JSON, in the order it has here.
    pub policy_sha256: String,
    /// Its storage targets and enrichments.
    pub documents: &'a RunnerDocuments,
    /// The planned accesses of the run, by its arguments and config.
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
    /// The version that it reports.
    pub version: Lookup<RunnerVersion>,
}

/// The settings, by digest: some values are confidential.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SettingsUsed {
    /// The settings file, if there is one.
    pub file: Option<String>,
    /// SHA-256 of that file.
    pub file_sha256: Option<String>,
    /// SHA-256 over all effective settings, without secrets and the file's name. It is equal for
    /// equal settings, whatever their source.
    pub sha256: String,
    /// The operator's file, /etc/emr-etl-guard/guard.yml, if another file replaced it; its locks
    /// were effective all the same.
    pub base_file: Option<String>,
    /// SHA-256 of that file.
    pub base_file_sha256: Option<String>,
    /// The settings that the files lock: no flag, variable or other file could change them.
    pub locks: Vec<UsedLock>,
    /// The settings from flags and the environment, without their values, and which sources they
    /// overrode.
    pub overrides: Vec<UsedOverride>,
}

/// A lock, with its position.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Lock")]
pub struct UsedLock {
    /// The name of a setting, or of a group of them: `policy` or `all`.
    pub setting: String,
    /// The file that locks it.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
}

/// A setting from a flag or the environment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Override")]
pub struct UsedOverride {
    /// The setting.
    pub setting: String,
    /// The source of the effective value: a flag or an environment variable.
    pub by: String,
    /// The overridden sources, in order of precedence: a variable, a file; none if only its default
    /// was overridden.
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
    /// Its subject, as in the settings; a trailing `*` matches any ending.
    pub subject: &'a str,
    /// The reason for the exception.
    pub reason: &'a str,
    /// Its last day, in UTC.
    #[serde(with = "day")]
    #[schemars(with = "String")]
    pub expires: Date,
    /// The subjects of the findings that it covers.
    pub covers: Vec<&'a str>,
}

/// The exceptions of `policy` that cover some of `findings`.
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

/// Objects by encryption.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Objects")]
pub struct ObjectSummary {
    /// The number of objects that the run wrote, in the checked locations.
    pub objects: u64,
    /// The number of objects that were looked up.
    pub looked_at: u64,
    /// Those objects, by encryption.
    pub kinds: Vec<EncryptionCount>,
}

/// Objects with the same encryption.
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

//! Settings: the guard's own options. One list of options defines the flags, the environment
//! variables and `guard.yml`. Precedence: flag, environment, file, default. The part with
//! requirements is the policy.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{ArgMatches, Args, FromArgMatches, ValueEnum, parser::ValueSource};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

use crate::{
    base::{outcome::ExitCodes, prices::PriceChanges, text},
    settings::{
        alert_channels::{AlertChannelSettings, Channels},
        aws_options::{AwsOptions, CredentialSource, RootDigest},
        destination::{Destination, Retention},
        evidence_options::EvidenceOptions,
        locks::{self, SettingLock, lock_of},
        metrics_targets::{Labels, Targets},
        policy::{
            EncryptionKind, HOSTED_ASSETS, OnUnencrypted, Policy, PolicyException, Protection,
        },
        report_options::ReportOptions,
        section_lines,
        sentinel_options::{SentinelOptions, SentinelSettings},
        sentinel_rules::SectionMistake,
        sign_key::KeyName,
        watch_options::{OnOrphan, OnStop, OnUnjudged, TerminationRules, WatchLimits},
    },
};

/// The size limit of a settings file in bytes: some content takes its parser quadratic time.
const LARGEST_FILE: u64 = 128 << 10;

/// The default settings file. Its locks are effective even if another file is given.
pub const DEFAULT_FILE: &str = "/etc/emr-etl-guard/guard.yml";

/// The section with the settings of the sentinel.
const SENTINEL: &str = "sentinel";

/// A duration, written as `90s`, `10m` or `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("{error}; write a time such as 90s or 10m"))
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What renders the ERB in the runner config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ErbEngine {
    /// The guard itself: environment variables, defaults and literals; anything else is refused.
    #[default]
    Native,
    /// The program `ruby`.
    Ruby,
    /// The program `jruby`.
    Jruby,
    /// The JRuby in the runner's jar.
    RunnerJar,
}

/// Headings of the options in the help. Options without one are common.
const RUNNER: &str = "Runner";
const POLICY: &str = "Policy";
const AWS: &str = "AWS";
const WATCHING: &str = "Watching";
const EVIDENCE: &str = "Reports and evidence";
const ALERTS: &str = "Alerts and metrics";
const PROCESS: &str = "The guard's process";

/// The options, each of which may be a flag, an environment variable, or a key of `guard.yml` (with
/// `_` for `-`).
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The real EmrEtlRunner: a program, or a jar that `java -jar` runs [default: the next
    /// `snowplow-emr-etl-runner` on PATH]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_RUNNER",
        value_name = "PATH",
        help_heading = RUNNER,
        hide_short_help = true
    )]
    pub runner: Option<PathBuf>,

    /// What renders the ERB in the runner config [default: native]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ERB",
        value_enum,
        value_name = "ENGINE",
        help_heading = RUNNER,
        hide_short_help = true
    )]
    pub erb: Option<ErbEngine>,

    /// Whether to start the runner with a clean environment: of the guard's variables only those on
    /// an allow-list [default: false]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_CLEAN_ENVIRONMENT",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        help_heading = RUNNER,
        hide_short_help = true
    )]
    pub clean_environment: Option<bool>,

    /// The security configuration to write into the runner config [default: the one that the config
    /// names]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_SECURITY_CONFIGURATION",
        value_name = "NAME",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub security_configuration: Option<String>,

    /// Protections that the security configuration must give [default: all three]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_REQUIRE",
        value_enum,
        value_delimiter = ',',
        value_name = "PROTECTION",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub require: Option<Vec<Protection>>,

    /// Kinds of default bucket encryption to accept [default: all three]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ACCEPT_ENCRYPTION",
        value_enum,
        value_delimiter = ',',
        value_name = "KIND",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub accept_encryption: Option<Vec<EncryptionKind>>,

    /// KMS keys (ARN, id or alias) that must encrypt what is written to S3 and to the cluster's
    /// disks; other keys and SSE-S3 are then refused [default: any]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EXPECTED_KEYS",
        value_delimiter = ',',
        value_name = "KEY",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub expected_keys: Option<Vec<String>>,

    /// Buckets of other owners that the run only reads, besides Snowplow's hosted assets; a `*` at
    /// the end matches any ending
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EXTERNAL_BUCKETS",
        value_delimiter = ',',
        value_name = "BUCKET",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub external_buckets: Option<Vec<String>>,

    /// Checks to lower to advisory: they are reported, but do not refuse a launch (their names:
    /// `explain`)
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ADVISE",
        value_delimiter = ',',
        value_name = "CHECK",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub advise: Option<Vec<String>>,

    /// Advisory checks to raise to required
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ENFORCE",
        value_delimiter = ',',
        value_name = "CHECK",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub enforce: Option<Vec<String>>,

    /// Days for which certificates must still be valid [default: 30]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_CERTIFICATE_DAYS",
        value_name = "DAYS",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub certificate_days: Option<u16>,

    /// Objects to look at in each location that the run reads; an even sample where there are more;
    /// 0: none [default: 1000]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_DATA_OBJECTS",
        value_name = "NUMBER",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub data_objects: Option<usize>,

    /// Objects to look at, after the run, in each location that it wrote to; an even sample where
    /// there are more; 0: none [default: all]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_CONFIRM_OBJECTS",
        value_name = "NUMBER",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub confirm_objects: Option<usize>,

    /// What it means that the run wrote an object without the required encryption [default:
    /// unconfirmed]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ON_UNENCRYPTED",
        value_enum,
        value_name = "WHAT",
        help_heading = POLICY,
        hide_short_help = true
    )]
    pub on_unencrypted: Option<OnUnencrypted>,

    /// Exceptions, each with check, subject, reason and the last day it holds; only in the settings
    /// file
    #[arg(skip)]
    pub exceptions: Option<Vec<PolicyException>>,

    /// Whether to tag the run's clusters with `emr-etl-guard-run`, to tell them from others
    /// [default: true]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_RUN_TAG",
        value_name = "BOOL",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub run_tag: Option<bool>,

    /// Endpoints that may stand in for AWS, such as http://127.0.0.1:5000
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALLOW_ENDPOINTS",
        value_delimiter = ',',
        value_name = "ORIGIN",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub allow_endpoints: Option<Vec<String>>,

    /// Certificate authorities outside the public set that are trusted for AWS, such as the one of
    /// a proxy that inspects TLS: the SHA-256 digests of their certificates
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALLOW_ROOTS",
        value_delimiter = ',',
        value_name = "SHA256",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub allow_roots: Option<Vec<RootDigest>>,

    /// Which credentials the guard uses [default: chain]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_CREDENTIALS",
        value_enum,
        value_name = "SOURCE",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub credentials: Option<CredentialSource>,

    /// Time limit of one AWS call with its retries [default: 30s]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_AWS_TIMEOUT",
        value_name = "TIME",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub aws_timeout: Option<HumanDuration>,

    /// Time limit of all AWS calls before the launch together; throttled calls are repeated until
    /// then [default: 10m]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT",
        value_name = "TIME",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub pre_flight_timeout: Option<HumanDuration>,

    /// Time limit for looking at the objects that the run wrote [default: 10m]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_CONFIRM_TIMEOUT",
        value_name = "TIME",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub confirm_timeout: Option<HumanDuration>,

    /// Time limit for the runner's answer to `--version` [default: 2m]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_VERSION_TIMEOUT",
        value_name = "TIME",
        help_heading = RUNNER,
        hide_short_help = true
    )]
    pub version_timeout: Option<HumanDuration>,

    /// How often to look for the run's clusters at first; later less often [default: 5s]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_WATCH_INTERVAL",
        value_name = "TIME",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub watch_interval: Option<HumanDuration>,

    /// URL of an SQS queue that EventBridge fills with EMR's events, so that changes are seen
    /// sooner [default: none]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EVENT_QUEUE",
        value_name = "URL",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub event_queue: Option<String>,

    /// Time after the launch within which a search for clusters must have succeeded and every
    /// cluster must have been judged; else an alarm is raised and the runner is stopped [default:
    /// 15m]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_JUDGE_WITHIN",
        value_name = "TIME",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub judge_within: Option<HumanDuration>,

    /// How long to wait until the termination of an unsafe cluster is confirmed [default: 15m]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_TERMINATION_TIMEOUT",
        value_name = "TIME",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub termination_timeout: Option<HumanDuration>,

    /// How long a stop may take: half of it for the runner, which is then killed, the rest for the
    /// run's clusters [default: 8s]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_STOP_TIMEOUT",
        value_name = "TIME",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub stop_timeout: Option<HumanDuration>,

    /// What to do with verified clusters when a signal stops the guard [default: leave]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ON_STOP",
        value_enum,
        value_name = "WHAT",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub on_stop: Option<OnStop>,

    /// What to do with a cluster of the run that keeps running although no process waits for it
    /// [default: leave]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ON_ORPHAN",
        value_enum,
        value_name = "WHAT",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub on_orphan: Option<OnOrphan>,

    /// What to do, besides the alarm, with a cluster of the run that could not be judged within
    /// `judge_within` [default: terminate]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ON_UNJUDGED",
        value_enum,
        value_name = "WHAT",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub on_unjudged: Option<OnUnjudged>,

    /// Whether to terminate an unsafe cluster without a run's tag, which is only presumed to be
    /// this run's; for use with `run_tag: false` [default: false]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_TERMINATE_UNTAGGED",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub terminate_untagged: Option<bool>,

    /// Whether to terminate an unsafe cluster that existed before the run [default: true]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_TERMINATE_ADOPTED",
        value_name = "BOOL",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub terminate_adopted: Option<bool>,

    /// Whether to terminate an unsafe cluster that was named to `watch` [default: false]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_TERMINATE_ATTACHED",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub terminate_attached: Option<bool>,

    /// Folder for the journal of unfinished runs [default: /var/lib/emr-etl-guard for root, else
    /// $XDG_STATE_HOME/emr-etl-guard]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_STATE_DIR",
        value_name = "FOLDER",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub state_dir: Option<PathBuf>,

    /// Write the report (JSON) to this file
    #[arg(long, env = "EMR_ETL_GUARD_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Where to deliver the report of each run: folders, s3://bucket/prefix/, stdout [default:
    /// nowhere but the file of `report`]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EVIDENCE",
        value_delimiter = ',',
        value_name = "DESTINATION",
        help_heading = EVIDENCE,
        hide_short_help = true
    )]
    pub evidence: Option<Vec<Destination>>,

    /// Reports to keep in each folder of `evidence`; the newest is always kept [default: all]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EVIDENCE_KEEP",
        value_name = "NUMBER",
        help_heading = EVIDENCE,
        hide_short_help = true
    )]
    pub evidence_keep: Option<u32>,

    /// Days to keep reports in each folder of `evidence` [default: no limit]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EVIDENCE_DAYS",
        value_name = "DAYS",
        help_heading = EVIDENCE,
        hide_short_help = true
    )]
    pub evidence_days: Option<u32>,

    /// The key that signs reports: a file with an Ed25519 key (PKCS#8 PEM), or the ARN or alias of
    /// an asymmetric KMS key [default: none]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_SIGN_KEY",
        value_name = "KEY",
        help_heading = EVIDENCE,
        hide_short_help = true
    )]
    pub sign_key: Option<KeyName>,
    /// ARN of an SNS topic to notify of refusals, unsafe clusters and runs that could not be
    /// confirmed
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALERT_SNS",
        value_name = "ARN",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub alert_sns: Option<String>,

    /// Webhook to notify of the same, with JSON that has a `text`, as Slack takes it: its URL,
    /// which is a secret, or file:PATH of a file with the URL
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALERT_WEBHOOK",
        hide_env_values = true,
        value_name = "URL",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub alert_webhook: Option<String>,

    /// Program to run for the same, with the alert as JSON on its standard input
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALERT_COMMAND",
        value_name = "PROGRAM",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub alert_command: Option<PathBuf>,

    /// Time limit of an alert with its retries; shorter while the guard is being stopped [default:
    /// 10s]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALERT_TIMEOUT",
        value_name = "TIME",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub alert_timeout: Option<HumanDuration>,

    /// File for metrics in the text format of Prometheus, for the textfile collector of
    /// node_exporter
    #[arg(
        long,
        env = "EMR_ETL_GUARD_METRICS_FILE",
        value_name = "FILE",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub metrics_file: Option<PathBuf>,

    /// Collector to send metrics to, by OTLP over HTTP [default: the value of
    /// OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_OTLP_ENDPOINT",
        value_name = "URL",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub otlp_endpoint: Option<String>,

    /// Labels of all metrics, to tell pipelines apart, such as pipeline=acme
    #[arg(
        long,
        env = "EMR_ETL_GUARD_METRICS_LABELS",
        value_name = "NAME=VALUE",
        help_heading = ALERTS,
        hide_short_help = true
    )]
    pub metrics_labels: Option<Labels>,

    /// AWS prices that differ from those of us-east-1, for the estimates of `reencrypt`, such as
    /// write-STANDARD=0.0055
    #[arg(
        long,
        env = "EMR_ETL_GUARD_PRICES",
        value_name = "NAME=USD",
        help_heading = AWS,
        hide_short_help = true
    )]
    pub prices: Option<PriceChanges>,

    /// Whether to show the run's clusters on a terminal while they are watched [default: true]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_PROGRESS",
        value_name = "BOOL",
        help_heading = WATCHING,
        hide_short_help = true
    )]
    pub progress: Option<bool>,

    /// Print none of the guard's own messages on standard output [default: false]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_QUIET",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        hide_possible_values = true
    )]
    pub quiet: Option<bool>,

    /// Whether the guard may dump core and be attached to by a debugger; a dump holds the runner's
    /// keys [default: false]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_CORE_DUMPS",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        help_heading = PROCESS,
        hide_short_help = true
    )]
    pub core_dumps: Option<bool>,

    /// Other exit codes in place of the guard's own, such as 77=90,69=91; none may be 0 (except for
    /// 74) or one of the runner's
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EXIT_CODES",
        value_name = "FROM=TO",
        help_heading = PROCESS,
        hide_short_help = true
    )]
    pub exit_codes: Option<ExitCodes>,

    /// What the command `sentinel` watches, and how; only in the settings file
    #[arg(skip)]
    pub sentinel: Option<SentinelSettings>,

    /// Settings that neither flags, nor the environment, nor another settings file may set; only in
    /// the settings file
    #[arg(skip)]
    pub locked: Option<Vec<String>>,
}

/// The options from flags and the environment, with their sources.
#[derive(Clone, Debug, Default)]
pub struct GivenOptions {
    /// The options.
    pub options: Options,
    /// The settings among them, each with its sources, in order of precedence.
    origins: Vec<(String, Vec<Origin>)>,
}

/// The source of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// A flag, such as `--advise`.
    Flag(String),
    /// An environment variable.
    Variable(String),
}

impl Origin {
    fn name(&self) -> &str {
        let (Self::Flag(name) | Self::Variable(name)) = self;
        name
    }

    fn in_words(&self) -> String {
        match self {
            Self::Flag(flag) => format!("the flag {flag}"),
            Self::Variable(name) => format!("the environment variable {name}"),
        }
    }
}

/// Options that the program itself built: they come from no flag or variable.
impl From<Options> for GivenOptions {
    fn from(options: Options) -> Self {
        Self { options, origins: Vec::new() }
    }
}

/// All options, as a clap command.
fn arguments() -> clap::Command {
    Options::augment_args(clap::Command::new("options"))
}

/// The names of all settings: those with flags, and those that only the file has.
fn setting_names() -> Vec<String> {
    let command = arguments();
    let flags = command.get_arguments().map(|arg| arg.get_id().to_string());
    flags.chain(["exceptions", SENTINEL].map(str::to_owned)).collect()
}

/// The options in `matches` that were given, with their sources. A variable that a flag overrides
/// is included.
fn origins(matches: &ArgMatches) -> Vec<(String, Vec<Origin>)> {
    let command = arguments();
    let given = command.get_arguments().filter_map(|arg| {
        let key = arg.get_id().to_string();
        let flag = || Origin::Flag(format!("--{}", arg.get_long().unwrap_or_default()));
        let variable = || Some(Origin::Variable(arg.get_env()?.to_string_lossy().into_owned()));
        let is_set = || arg.get_env().is_some_and(|name| std::env::var_os(name).is_some());
        let origins: Vec<Origin> = match matches.value_source(&key)? {
            ValueSource::CommandLine => {
                [flag()].into_iter().chain(variable().filter(|_| is_set())).collect()
            }
            ValueSource::EnvVariable => variable().into_iter().collect(),
            _ => return None,
        };
        Some((key, origins))
    });
    given.collect()
}

impl FromArgMatches for GivenOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let origins = origins(matches);
        Ok(Self { options: Options::from_arg_matches_mut(matches)?, origins })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenOptions {
    fn group_id() -> Option<clap::Id> {
        Options::group_id()
    }

    fn augment_args(command: clap::Command) -> clap::Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Options::augment_args_for_update(command)
    }
}

/// A setting from a flag or the environment, and what it overrode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingOverride {
    /// The setting.
    pub setting: String,
    /// The effective source: a flag or an environment variable.
    pub by: String,
    /// The overridden sources, in order of precedence: a variable, the settings file. None: only
    /// its default was overridden.
    pub over: Vec<String>,
}

/// The position of a setting in a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingPlace {
    /// The setting.
    pub setting: String,
    /// The file.
    pub file: PathBuf,
    /// The line of its key, from 1.
    pub line: u64,
}

/// The sources of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsProvenance {
    /// The file at [`DEFAULT_FILE`], if another one was given instead.
    pub base: Option<SettingsFile>,
    /// The locks.
    pub locks: Vec<SettingLock>,
    /// The settings from flags and the environment.
    pub overrides: Vec<SettingOverride>,
    /// The settings in settings files, effective or not, and the keys within a section.
    pub places: Vec<SettingPlace>,
}

impl SettingsProvenance {
    /// The source of the value of `setting`: a flag, an environment variable, or a position in a
    /// file, as `FILE:LINE: SETTING`.
    pub(crate) fn source(&self, setting: &str) -> String {
        let given = self.overrides.iter().find(|one| one.setting == setting);
        let place = section_lines::and_above(setting)
            .find_map(|path| self.places.iter().find(|place| place.setting == path));
        match (given, place) {
            (Some(given), _) => given.by.clone(),
            (None, Some(SettingPlace { file, line, .. })) => {
                format!("{}:{line}: {setting}", file.display())
            }
            (None, None) => setting.to_owned(),
        }
    }
}

/// A locked setting that is set outside of the file that locks it.
#[derive(Clone, Debug)]
pub struct LockedOverride {
    setting: String,
    lock: SettingLock,
    /// The sources that set it, in words.
    by: Vec<String>,
}

/// The settings file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFile {
    /// Its path.
    pub path: PathBuf,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// The settings of one run: every option decided. Only `commands/` takes them all.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The settings file, if there is one.
    pub file: Option<SettingsFile>,
    /// The locks, and the overrides.
    pub provenance: SettingsProvenance,
    /// The real runner, if given.
    pub runner: Option<PathBuf>,
    /// Who renders ERB.
    pub erb: ErbEngine,
    /// Whether the runner gets a clean environment.
    pub clean_environment: bool,
    /// The security configuration to seal, if given.
    pub security_configuration: Option<String>,
    /// The requirements.
    pub policy: Policy,
    /// Whether clusters are tagged.
    pub run_tag: bool,
    /// How AWS is called.
    pub aws: AwsOptions,
    /// Limit for all AWS calls before the launch together.
    pub pre_flight_timeout: Duration,
    /// Limit for `--version`.
    pub version_timeout: Duration,
    /// The time limit of a stop.
    pub stop_timeout: Duration,
    /// Time limits of the watch.
    pub watch: WatchLimits,
    /// Which clusters may be terminated.
    pub termination: TerminationRules,
    /// What the sentinel watches, and how.
    pub sentinel: SentinelSettings,
    /// The folder of the journal, if given.
    pub state_dir: Option<PathBuf>,
    /// The output on this machine.
    pub report: ReportOptions,
    /// Where reports are delivered, and the signing key.
    pub evidence: EvidenceOptions,
    /// The channels for alerts.
    pub(crate) alerts: Channels,
    /// Where metrics go.
    pub(crate) metrics: Targets,
    /// Prices that differ from those of us-east-1.
    pub prices: PriceChanges,
    /// Whether the guard may dump core.
    pub core_dumps: bool,
    /// Remapped exit codes.
    pub exit_codes: ExitCodes,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The settings file is invalid.
    #[error("{file}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// The error, with line and column.
        message: String,
    },
    /// The operator's file cannot be read, and another one was given.
    #[error(
        "{file}: cannot be read: {source}; what it locks holds although {named} was named, so it \
         must be known; fix: let this user read it"
    )]
    BaseUnreadable {
        /// The operator's file.
        file: String,
        /// The file that was given.
        named: String,
        /// Why.
        source: io::Error,
    },
    /// A locked setting is set elsewhere.
    #[error("{}; fix: remove that, or have {} changed", in_words(.0), files(.0))]
    Locked(Vec<LockedOverride>),
    /// An option has an invalid value.
    #[error("{0}")]
    Value(String),
}

/// The locked settings that are set, where they are locked, and by which sources they are set.
fn in_words(overrides: &[LockedOverride]) -> String {
    let one = |LockedOverride { setting, lock, by }: &LockedOverride| {
        format!("`{setting}` is locked ({lock}), but set by {}", by.join(" and "))
    };
    overrides.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The files that lock these settings.
fn files(overrides: &[LockedOverride]) -> String {
    let mut files: Vec<String> =
        overrides.iter().map(|one| one.lock.file.display().to_string()).collect();
    files.dedup();
    files.join(" and ")
}

impl Settings {
    /// Resolves every option: `given` (flags and environment) first, then the settings file, then
    /// the default.
    ///
    /// `file` must exist; without it [`DEFAULT_FILE`] is used if it exists. No other file can set
    /// what [`DEFAULT_FILE`] locks.
    ///
    /// # Errors
    /// [`SettingsError`] that names the file and key, or the option.
    pub fn resolve(
        given: impl Into<GivenOptions>,
        file: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        Self::resolve_over(Path::new(DEFAULT_FILE), given.into(), file)
    }

    /// The same, with `base` as the operator's file.
    fn resolve_over(
        base: &Path,
        given: GivenOptions,
        named: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let GivenOptions { options, origins } = given;
        let Stored { options: stored, file, keys, mut provenance } = stored(base, named)?;
        let locked = |(setting, origins): &(String, Vec<Origin>)| {
            let lock = lock_of(&provenance.locks, setting)?.clone();
            let by = origins.iter().map(Origin::in_words).collect();
            Some(LockedOverride { setting: setting.clone(), lock, by })
        };
        let locked: Vec<LockedOverride> = origins.iter().filter_map(locked).collect();
        if !locked.is_empty() {
            return Err(SettingsError::Locked(locked));
        }
        let beaten = |(setting, origins): (String, Vec<Origin>)| {
            let mut by_weight = origins.iter().map(|origin| origin.name().to_owned());
            let by = by_weight.next()?;
            let stored = file.as_ref().filter(|_| keys.contains(&setting));
            let over =
                by_weight.chain(stored.map(|file| file.path.display().to_string())).collect();
            Some(SettingOverride { setting, by, over })
        };
        provenance.overrides = origins.into_iter().filter_map(beaten).collect();
        Ok(Self { provenance, ..Self::decide(options, stored, file)? })
    }

    /// The options of the sentinel: its section, with the policy.
    ///
    /// # Errors
    /// A rule of the section that could never apply as it is written, because it asks for less than
    /// the policy.
    pub fn sentinel_options(&self) -> Result<SentinelOptions, SettingsError> {
        self.sentinel.options(&self.policy, self.watch.termination).map_err(
            |SectionMistake { path, what }| {
                SettingsError::Value(format!("{}: {what}", self.provenance.source(&path)))
            },
        )
    }

    /// The alert channels, for an alert that the settings are invalid, as far as they can be read.
    /// A locked setting is used only from the file that locks it, whatever else is wrong with that
    /// file.
    pub(crate) fn for_alerts(given: Options, file: Option<&Path>) -> Option<Self> {
        Self::for_alerts_over(Path::new(DEFAULT_FILE), given, file)
    }

    fn for_alerts_over(base: &Path, given: Options, named: Option<&Path>) -> Option<Self> {
        fn one<T>(
            given: Option<T>,
            (stored, is_locked): (Option<serde_yaml::Value>, bool),
            read: impl FnOnce(serde_yaml::Value) -> Option<T>,
        ) -> Option<T> {
            given.filter(|_| !is_locked).or_else(|| read(stored?))
        }
        let base = RawFile::read(base);
        let named = named.map(RawFile::read);
        // The effective value, and whether it has precedence over the given one.
        let find = |key: &str| match &named {
            Some(named) if !base.locks(key) => (named.value(key), named.locks(key)),
            _ => (base.value(key), base.locks(key)),
        };
        let text = |value: serde_yaml::Value| value.as_str().map(str::to_owned);
        let given = Options {
            alert_sns: one(given.alert_sns, find("alert_sns"), text),
            alert_webhook: one(given.alert_webhook, find("alert_webhook"), text),
            alert_command: one(given.alert_command, find("alert_command"), |value| {
                text(value).map(PathBuf::from)
            }),
            alert_timeout: one(given.alert_timeout, find("alert_timeout"), |value| {
                text(value)?.parse().ok()
            }),
            allow_endpoints: one(given.allow_endpoints, find("allow_endpoints"), |value| {
                serde_yaml::from_value(value).ok()
            }),
            allow_roots: one(given.allow_roots, find("allow_roots"), |value| {
                serde_yaml::from_value(value).ok()
            }),
            ..Options::default()
        };
        Self::decide(given, Options::default(), None)
            .ok()
            .filter(|settings| !settings.alerts.is_empty())
    }

    fn decide(
        given: Options,
        stored: Options,
        file: Option<SettingsFile>,
    ) -> Result<Self, SettingsError> {
        // A variable that is set to an empty value counts as not set.
        let list = |given: Option<Vec<String>>, stored: Option<Vec<String>>| {
            let names = given.or(stored).unwrap_or_default();
            names.into_iter().filter(|name| !name.trim().is_empty()).collect::<Vec<_>>()
        };
        let mut external_buckets: Vec<String> =
            HOSTED_ASSETS.iter().map(ToString::to_string).collect();
        external_buckets.extend(list(given.external_buckets, stored.external_buckets));
        let span = |given: Option<HumanDuration>, stored: Option<HumanDuration>, default: u64| {
            given.or(stored).map_or(Duration::from_secs(default), |span| span.0)
        };
        let interval = span(given.watch_interval, stored.watch_interval, 5);
        if interval.is_zero() {
            return Err(SettingsError::Value(
                "watch_interval: must be longer than 0s; write a time such as 30s".to_owned(),
            ));
        }
        let security_configuration = given.security_configuration.or(stored.security_configuration);
        if security_configuration.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(SettingsError::Value(
                "security_configuration: is blank; name one, or leave the setting out".to_owned(),
            ));
        }
        Ok(Self {
            file,
            provenance: SettingsProvenance::default(),
            runner: given.runner.or(stored.runner),
            erb: given.erb.or(stored.erb).unwrap_or_default(),
            clean_environment: given
                .clean_environment
                .or(stored.clean_environment)
                .unwrap_or(false),
            security_configuration,
            policy: Policy {
                require: given
                    .require
                    .or(stored.require)
                    .unwrap_or_else(|| Protection::value_variants().to_vec()),
                accept_encryption: given
                    .accept_encryption
                    .or(stored.accept_encryption)
                    .unwrap_or_else(|| EncryptionKind::value_variants().to_vec()),
                expected_keys: list(given.expected_keys, stored.expected_keys),
                external_buckets,
                advise: list(given.advise, stored.advise),
                enforce: list(given.enforce, stored.enforce),
                certificate_days: given.certificate_days.or(stored.certificate_days).unwrap_or(30),
                data_objects: given.data_objects.or(stored.data_objects).unwrap_or(1000),
                confirm_objects: given.confirm_objects.or(stored.confirm_objects),
                on_unencrypted: given.on_unencrypted.or(stored.on_unencrypted).unwrap_or_default(),
                exceptions: in_force(
                    stored.exceptions.unwrap_or_default(),
                    OffsetDateTime::now_utc().date(),
                )?,
            },
            run_tag: given.run_tag.or(stored.run_tag).unwrap_or(true),
            aws: AwsOptions {
                allow_endpoints: list(given.allow_endpoints, stored.allow_endpoints),
                allow_roots: {
                    let roots = given.allow_roots.or(stored.allow_roots).unwrap_or_default();
                    roots.into_iter().filter(|root| !root.as_str().is_empty()).collect()
                },
                credentials: given.credentials.or(stored.credentials).unwrap_or_default(),
                timeout: span(given.aws_timeout, stored.aws_timeout, 30),
                confirm_timeout: span(given.confirm_timeout, stored.confirm_timeout, 600),
                event_queue: given
                    .event_queue
                    .or(stored.event_queue)
                    .filter(|url| !url.trim().is_empty()),
            },
            pre_flight_timeout: span(given.pre_flight_timeout, stored.pre_flight_timeout, 600),
            version_timeout: span(given.version_timeout, stored.version_timeout, 120),
            stop_timeout: span(given.stop_timeout, stored.stop_timeout, 8),
            watch: WatchLimits {
                interval,
                judge_within: span(given.judge_within, stored.judge_within, 900),
                termination: span(given.termination_timeout, stored.termination_timeout, 900),
            },
            termination: TerminationRules {
                on_stop: given.on_stop.or(stored.on_stop).unwrap_or_default(),
                on_orphan: given.on_orphan.or(stored.on_orphan).unwrap_or_default(),
                on_unjudged: given.on_unjudged.or(stored.on_unjudged).unwrap_or_default(),
                untagged: given.terminate_untagged.or(stored.terminate_untagged).unwrap_or(false),
                adopted: given.terminate_adopted.or(stored.terminate_adopted).unwrap_or(true),
                attached: given.terminate_attached.or(stored.terminate_attached).unwrap_or(false),
            },
            sentinel: stored.sentinel.unwrap_or_default(),
            state_dir: given.state_dir.or(stored.state_dir),
            report: ReportOptions {
                file: given.report.or(stored.report),
                progress: given.progress.or(stored.progress).unwrap_or(true),
                quiet: given.quiet.or(stored.quiet).unwrap_or(false),
                verbose: false,
            },
            evidence: EvidenceOptions {
                destinations: given.evidence.or(stored.evidence).unwrap_or_default(),
                retention: Retention {
                    keep: given.evidence_keep.or(stored.evidence_keep),
                    days: given.evidence_days.or(stored.evidence_days),
                },
                sign_key: given.sign_key.or(stored.sign_key),
            },
            alerts: Channels::of(AlertChannelSettings {
                sns: given.alert_sns.or(stored.alert_sns),
                webhook: given.alert_webhook.or(stored.alert_webhook),
                command: given.alert_command.or(stored.alert_command),
                limit: span(given.alert_timeout, stored.alert_timeout, 10),
            })
            .map_err(SettingsError::Value)?,
            metrics: Targets {
                file: given.metrics_file.or(stored.metrics_file),
                otlp: given
                    .otlp_endpoint
                    .or(stored.otlp_endpoint)
                    .filter(|url| !url.trim().is_empty()),
                labels: given.metrics_labels.or(stored.metrics_labels).unwrap_or_default(),
            },
            prices: given.prices.or(stored.prices).unwrap_or_default(),
            core_dumps: given.core_dumps.or(stored.core_dumps).unwrap_or(false),
            exit_codes: given.exit_codes.or(stored.exit_codes).unwrap_or_default(),
        })
    }
}

/// The merged content of the settings files.
#[derive(Debug, Default)]
struct Stored {
    options: Options,
    /// The effective file.
    file: Option<SettingsFile>,
    /// The settings that they set.
    keys: Vec<String>,
    provenance: SettingsProvenance,
}

impl Stored {
    fn of(read: ReadFile) -> Self {
        let ReadFile { options, file, keys, within, locks, .. } = read;
        let places = places_of(&file.path, &keys).chain(places_of(&file.path, &within)).collect();
        let keys = keys.into_iter().map(|(key, _)| key).collect();
        let provenance = SettingsProvenance { locks, places, ..SettingsProvenance::default() };
        Self { options, file: Some(file), keys, provenance }
    }
}

/// The positions of settings, each with its line, in `file`.
fn places_of(file: &Path, keys: &[(String, u64)]) -> impl Iterator<Item = SettingPlace> {
    keys.iter().map(|(setting, line)| SettingPlace {
        setting: setting.clone(),
        file: file.to_owned(),
        line: *line,
    })
}

/// The content of the file `named`, or else of `base`, if it exists. The locks of `base` apply in
/// both cases.
fn stored(base: &Path, named: Option<&Path>) -> Result<Stored, SettingsError> {
    let Some(path) = named else {
        return match read(base) {
            Err(SettingsError::Unreadable { source, .. }) if is_absent(&source) => {
                Ok(Stored::default())
            }
            read => Ok(Stored::of(read?)),
        };
    };
    let named = read(path)?;
    let base = match read(base) {
        // An identical copy counts as the same file, such as the copy that a service manager makes.
        Ok(base) if base.file.sha256 == named.file.sha256 => return Ok(Stored::of(named)),
        Ok(base) => base,
        Err(SettingsError::Unreadable { source, .. }) if is_absent(&source) => {
            return Ok(Stored::of(named));
        }
        Err(SettingsError::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied && is_credential(path) =>
        {
            return Ok(Stored::of(named));
        }
        Err(SettingsError::Unreadable { file, source }) => {
            let named = path.display().to_string();
            return Err(SettingsError::BaseUnreadable { file, named, source });
        }
        Err(error) => return Err(error),
    };
    let overrides =
        named.keys.iter().filter(|(key, _)| key != "locked").filter_map(|(key, line)| {
            let lock = lock_of(&base.locks, key)?.clone();
            let by = vec![format!("{}, line {line}", path.display())];
            Some(LockedOverride { setting: key.clone(), lock, by })
        });
    let overrides: Vec<LockedOverride> = overrides.collect();
    if !overrides.is_empty() {
        return Err(SettingsError::Locked(overrides));
    }
    let mut mapping = named.mapping.clone();
    let mut keys: Vec<String> = named.keys.iter().map(|(key, _)| key.clone()).collect();
    for (key, value) in base.mapping {
        if let Some(name) = key.as_str()
            && name != "locked"
            && lock_of(&base.locks, name).is_some()
        {
            keys.push(name.to_owned());
            mapping.insert(key, value);
        }
    }
    let options = serde_yaml::from_value(serde_yaml::Value::Mapping(mapping)).map_err(|error| {
        SettingsError::Invalid { file: path.display().to_string(), message: error.to_string() }
    })?;
    let locked_places = places_of(&base.file.path, &base.keys)
        .filter(|place| lock_of(&base.locks, &place.setting).is_some());
    let section = if lock_of(&base.locks, SENTINEL).is_some() {
        places_of(&base.file.path, &base.within)
    } else {
        places_of(&named.file.path, &named.within)
    };
    let places =
        locked_places.chain(places_of(&named.file.path, &named.keys)).chain(section).collect();
    let locks = base.locks.into_iter().chain(named.locks).collect();
    let base = Some(base.file);
    let provenance = SettingsProvenance { base, locks, places, ..SettingsProvenance::default() };
    Ok(Stored { options, file: Some(named.file), keys, provenance })
}

/// Whether the error means that the file does not exist.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether `path` is a systemd credential of a service. Only root puts files there, so it counts as
/// root's own file where that is not readable for the service's user. Source: systemd, System and
/// Service Credentials.
fn is_credential(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.starts_with("/run/credentials"))
}

/// A settings file with errors, as far as it can be read.
#[derive(Debug, Default)]
struct RawFile(serde_yaml::Value);

impl RawFile {
    fn read(path: &Path) -> Self {
        let text = std::fs::File::open(path).and_then(|file| whole(&file)).unwrap_or_default();
        Self(serde_yaml::from_str(&text).unwrap_or_default())
    }

    fn value(&self, key: &str) -> Option<serde_yaml::Value> {
        self.0.get(key).cloned()
    }

    fn locks(&self, key: &str) -> bool {
        let names = self.0.get("locked").and_then(serde_yaml::Value::as_sequence);
        let locks = names.into_iter().flatten().filter_map(|name| {
            let setting = name.as_str()?.to_owned();
            Some(SettingLock { setting, file: PathBuf::new(), line: 0 })
        });
        lock_of(&locks.collect::<Vec<_>>(), key).is_some()
    }
}

/// The exceptions, none of which may have expired: an expired one must be renewed or removed, not
/// ignored.
fn in_force(
    exceptions: Vec<PolicyException>,
    today: Date,
) -> Result<Vec<PolicyException>, SettingsError> {
    for exception in &exceptions {
        let name = format!("exceptions: `{}` on `{}`", exception.check, exception.subject);
        if exception.reason.trim().is_empty() {
            return Err(SettingsError::Value(format!("{name} gives no reason; write one")));
        }
        if exception.expires < today {
            return Err(SettingsError::Value(format!(
                "{name} expired on {}; fix what it covers and remove it, or renew it",
                exception.expires
            )));
        }
    }
    Ok(exceptions)
}

/// The text of a settings file, up to a size limit.
fn whole(file: &std::fs::File) -> io::Result<String> {
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other(format!(
            "larger than {LARGEST_FILE} bytes; this is no settings file"
        )));
    }
    Ok(text)
}

/// A valid settings file.
#[derive(Debug)]
struct ReadFile {
    options: Options,
    /// The same as a raw mapping.
    mapping: serde_yaml::Mapping,
    file: SettingsFile,
    /// The settings in it, each with its line.
    keys: Vec<(String, u64)>,
    /// The keys within the section `sentinel`, each with its line.
    within: Vec<(String, u64)>,
    locks: Vec<SettingLock>,
}

/// The error in a settings file, as `FILE:LINE:COLUMN: MESSAGE` where the position is known.
fn invalid(file: &str, error: &serde_yaml::Error) -> SettingsError {
    let message = error.to_string();
    let (file, message) = match error.location() {
        Some(place) => {
            let (line, column) = (place.line(), place.column());
            let without_place = message
                .strip_suffix(&format!(" at line {line} column {column}"))
                .map_or_else(|| message.clone(), str::to_owned);
            (format!("{file}:{line}:{column}"), without_place)
        }
        None => (file.to_owned(), message),
    };
    SettingsError::Invalid { file, message }
}

/// Checks that all `keys` of `file` are settings.
fn known_settings(
    file: &str,
    keys: &[(String, u64)],
    known: &[String],
) -> Result<(), SettingsError> {
    let known = || known.iter().map(String::as_str).chain(["locked"]);
    let Some((key, line)) = keys.iter().find(|(key, _)| known().all(|known| known != key)) else {
        return Ok(());
    };
    let meant = match text::nearest(key, known()) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => "; `emr-etl-guard run --help` lists the settings, with `-` for `_`".to_owned(),
    };
    let message = format!("there is no setting `{key}`{meant}");
    Err(SettingsError::Invalid { file: format!("{file}:{line}"), message })
}

fn read(path: &Path) -> Result<ReadFile, SettingsError> {
    let name = path.display().to_string();
    let unreadable = |source| SettingsError::Unreadable { file: name.clone(), source };
    let opened = std::fs::File::open(path).map_err(unreadable)?;
    let text = whole(&opened).map_err(unreadable)?;
    let file = SettingsFile { path: path.to_owned(), sha256: crate::base::digest::sha256(&text) };
    let invalid = |error: serde_yaml::Error| invalid(&name, &error);
    if text.trim().is_empty() {
        let (options, mapping) = (Options::default(), serde_yaml::Mapping::new());
        let (keys, within, locks) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(ReadFile { options, mapping, file, keys, within, locks });
    }
    // A file with only comments has no mapping.
    let mapping: Option<serde_yaml::Mapping> = serde_yaml::from_str(&text).map_err(invalid)?;
    let keys = locks::places(&text).settings;
    let known = setting_names();
    known_settings(&name, &keys, &known)?;
    let options: Options = serde_yaml::from_str(&text).map_err(invalid)?;
    let within = section_lines::lines(&text, SENTINEL);
    if let Some(section) = &options.sentinel {
        section.check().map_err(|SectionMistake { path, what }| {
            let line = section_lines::line_of(&within, &path);
            let message = format!("{path}: {what}");
            SettingsError::Invalid { file: format!("{name}:{line}"), message }
        })?;
    }
    let names = options.locked.as_deref().unwrap_or_default();
    let locks = locks::locks(names, path, &text, &known).map_err(SettingsError::Value)?;
    if !locks.is_empty() {
        locks::check_protected(path, &opened).map_err(unreadable)?.map_err(SettingsError::Value)?;
    }
    Ok(ReadFile { options, mapping: mapping.unwrap_or_default(), file, keys, within, locks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::alert_channels::Channel;
    use std::io::Write as _;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn resolve(given: Options, text: &str) -> Result<Settings, String> {
        let file = file(text);
        let name = file.path().display().to_string();
        Settings::resolve(given, Some(file.path()))
            .map_err(|error| error.to_string().replace(&name, "guard.yml"))
    }

    #[test]
    fn what_is_given_beats_the_file_and_the_file_beats_the_default() {
        let given = Options {
            stop_timeout: Some(HumanDuration(Duration::from_secs(1))),
            ..Options::default()
        };
        let settings =
            resolve(given, "stop_timeout: 2s\naws_timeout: 3s\nrequire: [in-transit]\n").unwrap();
        assert_eq!(settings.stop_timeout, Duration::from_secs(1));
        assert_eq!(settings.aws.timeout, Duration::from_secs(3));
        assert_eq!(settings.watch.judge_within, Duration::from_secs(900));
        assert_eq!(settings.policy.require, [Protection::InTransit]);
        assert_eq!(settings.policy.accept_encryption.len(), 3);
    }

    /// The options from these flags.
    fn flags(flags: &[&str]) -> GivenOptions {
        let command = GivenOptions::augment_args(clap::Command::new("emr-etl-guard"))
            .mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
        let matches = command.try_get_matches_from([&["emr-etl-guard"], flags].concat()).unwrap();
        GivenOptions::from_arg_matches(&matches).unwrap()
    }

    /// The settings with `base` as the content of the operator's file, and `other` of the given
    /// one.
    fn over_base(base: &str, given: GivenOptions, other: &str) -> Result<Settings, String> {
        let (base, other) = (file(base), file(other));
        Settings::resolve_over(base.path(), given, Some(other.path())).map_err(|error| {
            let error = error.to_string().replace(&base.path().display().to_string(), "base.yml");
            error.replace(&other.path().display().to_string(), "other.yml")
        })
    }

    #[test]
    fn what_the_operators_file_locks_holds_where_another_file_is_named() {
        let base =
            "# the operator's\nadvise: [bucket-owner]\nquiet: true\nlocked: [policy, runner]\n";
        let settings = over_base(base, flags(&[]), "progress: false\nlocked: [erb]\n").unwrap();
        assert_eq!(settings.policy.advise, ["bucket-owner"]);
        assert!(!settings.report.quiet, "what is not locked, the other file replaces");
        let locks = settings.provenance.locks.iter().map(ToString::to_string);
        let locks: Vec<String> =
            locks.map(|lock| lock.split(", line ").last().unwrap_or_default().to_owned()).collect();
        assert_eq!(locks, ["4: `policy`", "4: `runner`", "2: `erb`"]);
        assert!(settings.provenance.base.is_some());

        let said = [
            over_base(base, flags(&[]), "quiet: false\nadvise: []\nrunner: /tmp/evil\n"),
            over_base(base, flags(&[]), "exceptions: []\n"),
            over_base(base, flags(&["--advise=bucket-tls-only"]), "progress: false\n"),
            over_base(base, flags(&["--erb=ruby"]), "locked: [erb]\n"),
            over_base("locked: [all]\n", flags(&[]), "locked: [erb]\nquiet: true\n"),
            // An error in the operator's file is reported even if another file is given.
            over_base("lokced: [policy]\n", flags(&[]), "quiet: true\n"),
        ]
        .map(|settings| settings.map(drop).unwrap_err());
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_copy_of_the_operators_file_is_the_operators_file() {
        let text = "advise: [bucket-owner]\nlocked: [policy]\n";
        let settings = over_base(text, flags(&[]), text).unwrap();
        assert_eq!((settings.policy.advise.len(), settings.provenance.base), (1, None));
        assert!(over_base(text, flags(&["--advise="]), text).is_err());
    }

    #[test]
    fn an_operators_file_that_cannot_be_read_lets_no_other_take_its_place() {
        // Nobody can read a folder as a file, not even root.
        let (base, other) = (tempfile::tempdir().unwrap(), file("quiet: true\n"));
        let resolve = |named| Settings::resolve_over(base.path(), flags(&[]), named);
        for named in [Some(other.path()), None] {
            let error = resolve(named).map(drop).unwrap_err().to_string();
            assert!(error.contains("cannot be read: Is a directory"), "{error}");
        }
        // A file that does not exist locks nothing.
        let absent = base.path().join("guard.yml");
        assert!(Settings::resolve_over(&absent, flags(&[]), Some(other.path())).is_ok());
        assert!(Settings::resolve_over(&absent, flags(&[]), None).is_ok());
        let below_a_file = other.path().join("guard.yml");
        assert!(Settings::resolve_over(&below_a_file, flags(&[]), None).is_ok());
    }

    #[test]
    fn only_what_systemd_has_loaded_stands_for_a_file_that_the_user_cannot_read() {
        let elsewhere = tempfile::tempdir().unwrap();
        let feigned = elsewhere.path().join("run/credentials/guard.yml");
        std::fs::create_dir_all(feigned.parent().unwrap()).unwrap();
        std::fs::write(&feigned, "").unwrap();
        assert!(!is_credential(&feigned));
        // Nor is a path that leads out of there.
        assert!(!is_credential(Path::new("/run/credentials/../../etc/passwd")));
    }

    #[test]
    fn alerts_of_wrong_settings_go_where_the_locked_channel_leads() {
        let (base, other) = (
            file("alert_command: /bin/page\nlocked: [alert_command]\nno_such_key: 1\n"),
            file("alert_command: /bin/true\nalert_timeout: 3s\n"),
        );
        let given = flags(&["--alert-command=/bin/false"]).options;
        let alerts = |named| {
            let settings = Settings::for_alerts_over(base.path(), given.clone(), named).unwrap();
            let names = settings.alerts.channels.iter().map(Channel::name);
            (names.collect::<Vec<_>>(), settings.alerts.limit)
        };
        let page = vec!["the command /bin/page".to_owned()];
        assert_eq!(alerts(Some(other.path())), (page.clone(), Duration::from_secs(3)));
        assert_eq!(alerts(None).0, page);
        let free = Settings::for_alerts_over(other.path(), given.clone(), None).unwrap();
        assert_eq!(free.alerts.channels[0].name(), "the command /bin/false");
    }

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alerts";

    #[test]
    fn a_settings_file_has_an_end_and_aliases_of_aliases_are_not_written_out() {
        let fitting = format!("#{}\n", "x".repeat(128 * 1024 - 2));
        assert!(resolve(Options::default(), &fitting).is_ok());
        assert_eq!(
            resolve(Options::default(), &format!("{fitting}#")).unwrap_err(),
            "guard.yml: cannot be read: larger than 131072 bytes; this is no settings file"
        );
        let laughs: Vec<String> =
            (1..40).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
        let laughs = laughs.concat();
        let laughs = file(&format!("a0: &a0 x\n{laughs}alert_sns: {TOPIC}\n"));
        assert!(Settings::for_alerts(Options::default(), Some(laughs.path())).is_none());
        let plain = file(&format!("unknown: x\nalert_sns: {TOPIC}\n"));
        assert!(Settings::for_alerts(Options::default(), Some(plain.path())).is_some());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it_and_its_place() {
        let said = |text: &str| resolve(Options::default(), text).map(drop).unwrap_err();
        insta::assert_snapshot!(
            [
                said("quiet: true\nrequires: []\n"),
                said("# a comment\n\nrequre: []\n"),
                said("no-such-key: 1\n"),
                said("quiet: true\nrequire: [s3-at-rset]\n"),
                said("quiet: maybe\n"),
                said("[quiet]\n"),
                said("quiet: 'true\n"),
            ]
            .join("\n")
        );
    }

    fn exception(expires: &str) -> String {
        format!(
            "exceptions:\n  - check: kms-key-enabled\n    subject: arn:*\n    reason: audited by \
             hand\n    expires: {expires}\n"
        )
    }

    #[test]
    fn an_exception_holds_to_the_end_of_its_last_day_and_is_an_error_after_it() {
        let exceptions =
            || resolve(Options::default(), &exception("2999-12-31")).unwrap().policy.exceptions;
        let last = Date::from_calendar_date(2999, time::Month::December, 31).unwrap();
        assert!(in_force(exceptions(), last).is_ok());
        let error = in_force(exceptions(), last.next_day().unwrap()).unwrap_err().to_string();
        assert_eq!(
            error,
            "exceptions: `kms-key-enabled` on `arn:*` expired on 2999-12-31; fix what it covers \
             and remove it, or renew it"
        );
        assert!(
            resolve(Options::default(), &exception("2020-01-01"))
                .unwrap_err()
                .contains("expired on 2020-01-01")
        );
        assert!(resolve(Options::default(), &exception("soon")).is_err());
        assert!(
            exceptions()[0].covers("kms-key-enabled", "arn:aws:kms:x")
                && !exceptions()[0].covers("kms-key-enabled", "alias/x")
        );
    }

    #[test]
    fn snowplows_hosted_assets_are_external_in_every_region() {
        let policy = resolve(Options::default(), "external_buckets: [partner]\n").unwrap().policy;
        for bucket in ["snowplow-hosted-assets", "snowplow-hosted-assets-us-east-1", "partner"] {
            assert!(policy.is_external(bucket), "{bucket}");
        }
        assert!(!policy.is_external("snowplow-hosted-assetsx"));
    }
}

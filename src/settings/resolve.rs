//! Settings: the guard's own options. One list of options serves the flags, the environment and
//! `guard.yml`; flags beat environment beats file beats default. The part of them that says what is
//! required is the policy.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

use crate::{
    base::{outcome::ExitCodes, prices::PriceChanges},
    settings::{
        alert_channels::{AlertChannelSettings, Channels},
        aws_options::{AwsOptions, CredentialSource},
        destination::{Destination, Retention},
        evidence_options::EvidenceOptions,
        metrics_targets::{Labels, Targets},
        policy::{
            EncryptionKind, HOSTED_ASSETS, OnUnencrypted, Policy, PolicyException, Protection,
        },
        report_options::ReportOptions,
        sign_key::KeyName,
        watch_options::{OnOrphan, OnStop, OnUnjudged, TerminationRules, WatchLimits},
    },
};

/// A settings file larger than this is refused, in bytes: its reader takes time in proportion to
/// the square of some of what can stand in it.
const LARGEST_FILE: u64 = 128 << 10;

/// Where settings are looked for when nobody names a file.
pub const DEFAULT_FILE: &str = "/etc/emr-etl-guard/guard.yml";

/// A length of time, written as `90s`, `10m` or `250ms`.
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

/// Who renders the ERB of the runner config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ErbEngine {
    /// The guard itself: variables, their defaults and literals; anything else is refused.
    #[default]
    Native,
    /// The program `ruby`.
    Ruby,
    /// The program `jruby`.
    Jruby,
    /// The JRuby within the runner's own jar.
    RunnerJar,
}

/// The options, each of which may be a flag, an environment variable, or a key of `guard.yml` (with
/// `_` for `-`).
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The real EmrEtlRunner: a program, or a jar (run with `java -jar`) [default: the next
    /// `snowplow-emr-etl-runner` on PATH]
    #[arg(long, env = "EMR_ETL_GUARD_RUNNER", value_name = "PATH")]
    pub runner: Option<PathBuf>,

    /// Who renders the ERB of the runner config [default: native]
    #[arg(long, env = "EMR_ETL_GUARD_ERB", value_enum, value_name = "ENGINE")]
    pub erb: Option<ErbEngine>,

    /// The security configuration to seal into the runner config [default: the one the config
    /// names]
    #[arg(long, env = "EMR_ETL_GUARD_SECURITY_CONFIGURATION", value_name = "NAME")]
    pub security_configuration: Option<String>,

    /// The protections that the security configuration must give [default: all three]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_REQUIRE",
        value_enum,
        value_delimiter = ',',
        value_name = "PROTECTION"
    )]
    pub require: Option<Vec<Protection>>,

    /// The kinds of default encryption accepted on buckets [default: all three]
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ACCEPT_ENCRYPTION",
        value_enum,
        value_delimiter = ',',
        value_name = "KIND"
    )]
    pub accept_encryption: Option<Vec<EncryptionKind>>,

    /// KMS keys (ARN, id or alias) that must encrypt what is written; other keys, and SSE-S3, are
    /// then refused [default: any]
    #[arg(long, env = "EMR_ETL_GUARD_EXPECTED_KEYS", value_delimiter = ',', value_name = "KEY")]
    pub expected_keys: Option<Vec<String>>,

    /// Buckets of others that are only read, besides Snowplow's hosted assets; a trailing `*` fits
    /// any ending
    #[arg(
        long,
        env = "EMR_ETL_GUARD_EXTERNAL_BUCKETS",
        value_delimiter = ',',
        value_name = "BUCKET"
    )]
    pub external_buckets: Option<Vec<String>>,

    /// Checks that are reported but do not refuse a launch (their names: `explain`)
    #[arg(long, env = "EMR_ETL_GUARD_ADVISE", value_delimiter = ',', value_name = "CHECK")]
    pub advise: Option<Vec<String>>,

    /// Checks that refuse although they only advise by themselves
    #[arg(long, env = "EMR_ETL_GUARD_ENFORCE", value_delimiter = ',', value_name = "CHECK")]
    pub enforce: Option<Vec<String>>,

    /// For how many days more certificates must be valid [default: 30]
    #[arg(long, env = "EMR_ETL_GUARD_CERTIFICATE_DAYS", value_name = "DAYS")]
    pub certificate_days: Option<u16>,

    /// So many objects are looked at in each location that the run reads data from; an even sample,
    /// where there are more; 0: none [default: 1000]
    #[arg(long, env = "EMR_ETL_GUARD_DATA_OBJECTS", value_name = "NUMBER")]
    pub data_objects: Option<usize>,

    /// So many of the objects that the run wrote are looked at in each location, once it is over;
    /// an even sample, where there are more; 0: none [default: all]
    #[arg(long, env = "EMR_ETL_GUARD_CONFIRM_OBJECTS", value_name = "NUMBER")]
    pub confirm_objects: Option<usize>,

    /// What it means that something written is not encrypted as required [default: unconfirmed]
    #[arg(long, env = "EMR_ETL_GUARD_ON_UNENCRYPTED", value_enum, value_name = "WHAT")]
    pub on_unencrypted: Option<OnUnencrypted>,

    /// Exceptions, each with check, subject, reason and the last day it holds; only in the settings
    /// file
    #[arg(skip)]
    pub exceptions: Option<Vec<PolicyException>>,

    /// Whether to tag the run's clusters (`emr-etl-guard-run`), to know them from others [default:
    /// true]
    #[arg(long, env = "EMR_ETL_GUARD_RUN_TAG", value_name = "BOOL")]
    pub run_tag: Option<bool>,

    /// Endpoints that may stand in for AWS, by origin, such as http://127.0.0.1:5000
    #[arg(
        long,
        env = "EMR_ETL_GUARD_ALLOW_ENDPOINTS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub allow_endpoints: Option<Vec<String>>,

    /// Whose credentials the guard looks with [default: chain]
    #[arg(long, env = "EMR_ETL_GUARD_CREDENTIALS", value_enum, value_name = "SOURCE")]
    pub credentials: Option<CredentialSource>,

    /// Time limit for one AWS call, its retries included [default: 30s]
    #[arg(long, env = "EMR_ETL_GUARD_AWS_TIMEOUT", value_name = "TIME")]
    pub aws_timeout: Option<HumanDuration>,

    /// Time limit for all that is asked of AWS before the launch, together; throttling is waited
    /// out as long [default: 10m]
    #[arg(long, env = "EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", value_name = "TIME")]
    pub pre_flight_timeout: Option<HumanDuration>,

    /// Time limit for looking at what the run wrote [default: 10m]
    #[arg(long, env = "EMR_ETL_GUARD_CONFIRM_TIMEOUT", value_name = "TIME")]
    pub confirm_timeout: Option<HumanDuration>,

    /// Time limit for the runner to answer `--version` [default: 2m]
    #[arg(long, env = "EMR_ETL_GUARD_VERSION_TIMEOUT", value_name = "TIME")]
    pub version_timeout: Option<HumanDuration>,

    /// How often the watch looks for the run's clusters at first; it slows down by itself [default:
    /// 5s]
    #[arg(long, env = "EMR_ETL_GUARD_WATCH_INTERVAL", value_name = "TIME")]
    pub watch_interval: Option<HumanDuration>,

    /// An SQS queue, by its URL, that a rule of EventBridge feeds with EMR's events: they hasten
    /// the watch [default: none]
    #[arg(long, env = "EMR_ETL_GUARD_EVENT_QUEUE", value_name = "URL")]
    pub event_queue: Option<String>,

    /// Within this time after the launch every cluster of the run is judged, and a search for them
    /// has succeeded; else an alarm is raised and the runner is stopped [default: 15m]
    #[arg(long, env = "EMR_ETL_GUARD_JUDGE_WITHIN", value_name = "TIME")]
    pub judge_within: Option<HumanDuration>,

    /// How long to wait for the end of an unsafe cluster to be confirmed [default: 15m]
    #[arg(long, env = "EMR_ETL_GUARD_TERMINATION_TIMEOUT", value_name = "TIME")]
    pub termination_timeout: Option<HumanDuration>,

    /// How long a stop may take: the runner gets half of it before it is killed, the rest is for
    /// the run's clusters [default: 8s]
    #[arg(long, env = "EMR_ETL_GUARD_STOP_TIMEOUT", value_name = "TIME")]
    pub stop_timeout: Option<HumanDuration>,

    /// What a stop (a signal to the guard) means for clusters that are what was verified [default:
    /// leave]
    #[arg(long, env = "EMR_ETL_GUARD_ON_STOP", value_enum, value_name = "WHAT")]
    pub on_stop: Option<OnStop>,

    /// What is done about a cluster of the run that goes on although nobody waits for it [default:
    /// leave]
    #[arg(long, env = "EMR_ETL_GUARD_ON_ORPHAN", value_enum, value_name = "WHAT")]
    pub on_orphan: Option<OnOrphan>,

    /// What is done about a cluster of the run's own that could not be judged within
    /// `judge_within`, besides the alarm [default: terminate]
    #[arg(long, env = "EMR_ETL_GUARD_ON_UNJUDGED", value_enum, value_name = "WHAT")]
    pub on_unjudged: Option<OnUnjudged>,

    /// Whether an unsafe cluster without any run's tag, which can only be presumed to be this
    /// run's, may be terminated; to be considered where `run_tag` is false [default: false]
    #[arg(long, env = "EMR_ETL_GUARD_TERMINATE_UNTAGGED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub terminate_untagged: Option<bool>,

    /// Whether an unsafe cluster that was there before the run may be terminated [default: true]
    #[arg(long, env = "EMR_ETL_GUARD_TERMINATE_ADOPTED", value_name = "BOOL")]
    pub terminate_adopted: Option<bool>,

    /// Whether an unsafe cluster that was named to `watch` may be terminated [default: false]
    #[arg(long, env = "EMR_ETL_GUARD_TERMINATE_ATTACHED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub terminate_attached: Option<bool>,

    /// Where the journal of unfinished runs is kept [default: /var/lib/emr-etl-guard for root, else
    /// $XDG_STATE_HOME/emr-etl-guard]
    #[arg(long, env = "EMR_ETL_GUARD_STATE_DIR", value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,

    /// Where to write the machine-readable report (JSON)
    #[arg(long, env = "EMR_ETL_GUARD_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Where each run's document goes: folders, s3://bucket/prefix/, stdout [default: nowhere but
    /// the report]
    #[arg(long, env = "EMR_ETL_GUARD_EVIDENCE", value_delimiter = ',', value_name = "DESTINATION")]
    pub evidence: Option<Vec<Destination>>,

    /// So many runs' documents stay in a folder that they go to; the newest always does [default:
    /// all]
    #[arg(long, env = "EMR_ETL_GUARD_EVIDENCE_KEEP", value_name = "NUMBER")]
    pub evidence_keep: Option<u32>,

    /// For so many days documents stay in a folder that they go to [default: for ever]
    #[arg(long, env = "EMR_ETL_GUARD_EVIDENCE_DAYS", value_name = "DAYS")]
    pub evidence_days: Option<u32>,

    /// What signs documents: a file with an Ed25519 key (PKCS#8 PEM), or an asymmetric KMS key by
    /// its ARN or alias [default: nothing]
    #[arg(long, env = "EMR_ETL_GUARD_SIGN_KEY", value_name = "KEY")]
    pub sign_key: Option<KeyName>,
    /// The SNS topic (its ARN) that hears of refusals, unsafe clusters and runs that could not be
    /// confirmed
    #[arg(long, env = "EMR_ETL_GUARD_ALERT_SNS", value_name = "ARN")]
    pub alert_sns: Option<String>,

    /// The webhook that hears of the same, as JSON with a `text`, which Slack and others take: its
    /// URL, which is a secret, or file:PATH of a file that holds it
    #[arg(long, env = "EMR_ETL_GUARD_ALERT_WEBHOOK", hide_env_values = true, value_name = "URL")]
    pub alert_webhook: Option<String>,

    /// The program that is run for the same, with the alert as JSON on its standard input
    #[arg(long, env = "EMR_ETL_GUARD_ALERT_COMMAND", value_name = "PROGRAM")]
    pub alert_command: Option<PathBuf>,

    /// How long an alert may take, its retries included; a stop that is under way leaves it less
    /// [default: 10s]
    #[arg(long, env = "EMR_ETL_GUARD_ALERT_TIMEOUT", value_name = "TIME")]
    pub alert_timeout: Option<HumanDuration>,

    /// Where to write metrics in Prometheus' text format, for node_exporter's textfile collector
    #[arg(long, env = "EMR_ETL_GUARD_METRICS_FILE", value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,

    /// The collector that metrics are sent to, by OTLP over HTTP [default: what
    /// OTEL_EXPORTER_OTLP_ENDPOINT names]
    #[arg(long, env = "EMR_ETL_GUARD_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Labels that all metrics bear, to tell one pipeline's from another's, such as pipeline=acme
    #[arg(long, env = "EMR_ETL_GUARD_METRICS_LABELS", value_name = "NAME=VALUE")]
    pub metrics_labels: Option<Labels>,

    /// What AWS's prices are where they are not those of us-east-1, for the estimates of
    /// `reencrypt`, such as write-STANDARD=0.0055
    #[arg(long, env = "EMR_ETL_GUARD_PRICES", value_name = "NAME=USD")]
    pub prices: Option<PriceChanges>,

    /// Whether a terminal shows the run's clusters while it watches them [default: true]
    #[arg(long, env = "EMR_ETL_GUARD_PROGRESS", value_name = "BOOL")]
    pub progress: Option<bool>,

    /// Keep the guard's own messages off standard output [default: false]
    #[arg(long, env = "EMR_ETL_GUARD_QUIET", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub quiet: Option<bool>,

    /// Other exit codes for the guard's own, such as 77=1,69=1
    #[arg(long, env = "EMR_ETL_GUARD_EXIT_CODES", value_name = "FROM=TO")]
    pub exit_codes: Option<ExitCodes>,
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
    /// The real runner, when named.
    pub runner: Option<PathBuf>,
    /// Who renders ERB.
    pub erb: ErbEngine,
    /// The security configuration to seal, when named.
    pub security_configuration: Option<String>,
    /// What is required.
    pub policy: Policy,
    /// Whether clusters are tagged.
    pub run_tag: bool,
    /// How AWS is asked.
    pub aws: AwsOptions,
    /// Limit for all AWS calls before the launch together.
    pub pre_flight_timeout: Duration,
    /// Limit for `--version`.
    pub version_timeout: Duration,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// Time limits of the watch.
    pub watch: WatchLimits,
    /// Which clusters may be terminated.
    pub termination: TerminationRules,
    /// Where the journal is kept, when named.
    pub state_dir: Option<PathBuf>,
    /// What is written and shown on this machine.
    pub report: ReportOptions,
    /// Where documents go, and what signs them.
    pub evidence: EvidenceOptions,
    /// Who hears of what went wrong.
    pub(crate) alerts: Channels,
    /// Where metrics go.
    pub(crate) metrics: Targets,
    /// Prices that are not those of us-east-1.
    pub prices: PriceChanges,
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
        source: std::io::Error,
    },
    /// The settings file is not what was expected.
    #[error("{file}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// An option has a value that cannot be used.
    #[error("{0}")]
    Value(String),
}

impl Settings {
    /// Decides every option: `given` (flags and environment) first, then the settings file, then
    /// the default.
    ///
    /// `file` is a file that must exist; without it [`DEFAULT_FILE`] is used if it is there.
    ///
    /// # Errors
    /// [`SettingsError`] that names the file and key, or the option.
    pub fn resolve(given: Options, file: Option<&Path>) -> Result<Self, SettingsError> {
        let (stored, file) = match file_of(file) {
            Some(path) => read(path)?,
            None => (Options::default(), None),
        };
        Self::decide(given, stored, file)
    }

    /// As much of the settings as it takes to tell somebody that they cannot be used, where there
    /// is that much.
    pub(crate) fn for_alerts(given: Options, file: Option<&Path>) -> Option<Self> {
        let text = file_of(file).and_then(|path| whole(path).ok()).unwrap_or_default();
        let stored: serde_yaml::Value = serde_yaml::from_str(&text).unwrap_or_default();
        let text = |key: &str| stored.get(key).and_then(|value| value.as_str().map(str::to_owned));
        let one = |key: &str| stored.get(key).cloned();
        let given = Options {
            alert_sns: given.alert_sns.or_else(|| text("alert_sns")),
            alert_webhook: given.alert_webhook.or_else(|| text("alert_webhook")),
            alert_command: given.alert_command.or_else(|| text("alert_command").map(PathBuf::from)),
            alert_timeout: given.alert_timeout.or_else(|| text("alert_timeout")?.parse().ok()),
            allow_endpoints: given
                .allow_endpoints
                .or_else(|| serde_yaml::from_value(one("allow_endpoints")?).ok()),
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
        // A variable that is set to nothing names nothing.
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
                "watch_interval: must be longer than nothing".to_owned(),
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
            runner: given.runner.or(stored.runner),
            erb: given.erb.or(stored.erb).unwrap_or_default(),
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
            state_dir: given.state_dir.or(stored.state_dir),
            report: ReportOptions {
                file: given.report.or(stored.report),
                progress: given.progress.or(stored.progress).unwrap_or(true),
                quiet: given.quiet.or(stored.quiet).unwrap_or(false),
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
            exit_codes: given.exit_codes.or(stored.exit_codes).unwrap_or_default(),
        })
    }
}

/// The settings file, if there is one.
fn file_of(named: Option<&Path>) -> Option<&Path> {
    named.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|file| file.exists()))
}

/// The exceptions, none of which may have expired: one that has must be renewed or removed by
/// somebody, not forgotten.
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
                "{name} expired on {}; mend what it excuses and remove it, or renew it",
                exception.expires
            )));
        }
    }
    Ok(exceptions)
}

/// The text of a settings file, which has an end.
fn whole(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other(format!(
            "larger than {LARGEST_FILE} bytes; this is no settings file"
        )));
    }
    Ok(text)
}

fn read(path: &Path) -> Result<(Options, Option<SettingsFile>), SettingsError> {
    let file = path.display().to_string();
    let text =
        whole(path).map_err(|source| SettingsError::Unreadable { file: file.clone(), source })?;
    let read =
        Some(SettingsFile { path: path.to_owned(), sha256: crate::base::digest::sha256(&text) });
    if text.trim().is_empty() {
        return Ok((Options::default(), read));
    }
    match serde_yaml::from_str(&text) {
        Ok(options) => Ok((options, read)),
        Err(error) => Err(SettingsError::Invalid { file, message: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let error = resolve(Options::default(), "quiet: true\nrequires: []\n").unwrap_err();
        assert!(
            error.starts_with("guard.yml: unknown field `requires`, expected one of `runner`"),
            "{error}"
        );
        assert!(error.ends_with("at line 2 column 1"), "{error}");
    }

    fn exception(expires: &str) -> String {
        format!(
            "exceptions:\n  - check: kms-key-enabled\n    subject: arn:*\n    reason: audited by hand\n    expires: {expires}\n"
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
            "exceptions: `kms-key-enabled` on `arn:*` expired on 2999-12-31; mend what it excuses and remove it, or renew it"
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

//! The command line exactly as typed. This also makes the guard a drop-in replacement when it is
//! called by the runner's name.

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ErrorKind},
};

use crate::{
    audit::offenders::OffendersFormat,
    base::{
        names::{AccountId, ClusterId, PrincipalPattern},
        printable::Printable,
        report_kind::ReportKind,
    },
    commands::{
        help,
        setup::flags::SetupFlags,
        short_forms::{self, ShortForm},
    },
    evidence::verify::VerifyArguments,
    report::{
        options::CheckOptions,
        render::{HtmlArguments, RenderArguments},
        sentinel_quarter::QuarterArguments,
    },
    sentinel::probe::ProbeKind,
    settings::{policy::EncryptionKind, resolve::GivenOptions},
    system::process::RUNNER_NAME,
};

/// Launches Snowplow's EmrEtlRunner only when end-to-end encryption is verified, and watches its
/// clusters until it is confirmed
#[derive(Debug, Parser)]
#[command(
    name = "emr-etl-guard",
    version,
    max_term_width = 100,
    help_template = help::TEMPLATE,
    before_help = help::PROGRAM_EXAMPLES,
    after_help = "Options and examples of a command: emr-etl-guard COMMAND -h",
    after_long_help = help::EXIT_CODES,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Check, seal the config, launch the runner, watch its clusters, confirm the encryption
    ///
    /// ARGS are the runner's own arguments, unchanged. Nothing is launched unless every required
    /// check has passed.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::RUN_EXAMPLES,
        after_help = help::MORE,
        after_long_help = help::EXIT_CODES
    )]
    Run(Launch),
    /// Check everything that `run` checks before a launch; launch nothing
    ///
    /// `check config.yml -r resolver.json` is short for
    /// `check -- run -c config.yml -r resolver.json`. Where the run has other options too (`-x`,
    /// `-t`, ...), give its whole command line behind `--`.
    ///
    /// Exit code 0: `run` would launch. 77: a required check failed. 69: facts could not be
    /// established. Without a resolver, 0 means that everything else is as a launch requires it.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::CHECK_EXAMPLES,
        after_help = help::MORE,
        after_long_help = help::EXIT_CODES
    )]
    Check(CheckArguments),
    /// Watch clusters that are running, or finish interrupted runs; launch nothing
    ///
    /// The clusters are judged as those of a run are, whoever started them, until they end: by the
    /// runner config that ARGS name, or without one by the settings. An unsafe cluster is
    /// terminated only where the setting `terminate_attached` allows it.
    ///
    /// With `--resume`: a guard that was killed, or had no time left to stop in order, leaves its
    /// run unfinished in the state directory. The next `run` finishes it first; this command does
    /// only that. The config that ARGS name gives the credentials, where the settings say so.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::WATCH_EXAMPLES,
        after_help = help::MORE,
        after_long_help = help::EXIT_CODES
    )]
    Watch(WatchArguments),
    /// Judge every cluster of the account, whoever launches it, until stopped
    ///
    /// The settings' section `sentinel` names accounts, regions, queues with events, and rules. A
    /// cluster that is not as required is reported at once; it is terminated only where a rule says
    /// so, and a second look shows the same. Nothing is launched.
    ///
    /// With `--once`, each cluster that lives is judged once. Exit code 0: all are as required. 71:
    /// an unsafe one is alive. 76: all unsafe ones are over. 75: not all could be judged. Without
    /// it, 0 after a signal to stop.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::SENTINEL_EXAMPLES,
        after_help = help::MORE,
        after_long_help = help::EXIT_CODES
    )]
    Sentinel(SentinelArguments),
    /// Look at how existing objects in S3 are encrypted; change nothing
    ///
    /// A word with `://` in it is a location, whatever files there are. Any other path is a runner
    /// config, all of whose locations are looked at: `audit config.yml` is short for
    /// `audit -- run -c config.yml`. Exit code 0: every object is encrypted as the policy requires.
    /// 77: some are not. 69: not everything could be looked at.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::AUDIT_EXAMPLES,
        after_help = help::MORE
    )]
    Audit(AuditArguments),
    /// Plan, write as infrastructure code, or make live what encryption needs in AWS
    ///
    /// Looks at the account as `check` does, and prints what is there, what is missing, and what
    /// would be made or changed, in order and with reasons: keys, roles, buckets, certificates, the
    /// security configuration. Without `--apply` nothing is changed. What exists is never replaced
    /// or weakened.
    ///
    /// `setup config.yml -r resolver.json` is short for `setup -- run -c config.yml -r
    /// resolver.json`. Exit code 0: the plan is complete, or was made live. 77: something cannot be
    /// made without a decision. 69: not everything could be looked at, or AWS failed.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::SETUP_EXAMPLES,
        after_help = help::MORE
    )]
    Setup(Box<SetupArguments>),
    /// Print the sealed runner config; ask AWS nothing
    ///
    /// `seal config.yml` is short for `seal -- run -c config.yml`. Credentials are masked unless
    /// `--show-secrets` is given.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::SEAL_EXAMPLES,
        after_help = help::MORE
    )]
    Seal(SealArguments),
    /// Convert a report (HTML, Markdown, JUnit, ...), verify it, or print its schema
    ///
    /// Asks AWS nothing and reads no settings.
    #[command(help_template = help::TEMPLATE, before_help = help::REPORT_EXAMPLES)]
    Report {
        /// What to do with it.
        #[command(subcommand)]
        command: ReportCommand,
    },
    /// Encrypt existing objects in S3 as required, in place; a dry run without `--apply`
    ///
    /// Looks at every object in the locations, and says what would be done and what it would cost.
    /// With `--apply` it is done, object by object: each is first noted in a ledger in the state
    /// directory and looked at again afterwards, so that an interrupted run can be continued. All
    /// metadata of the objects is kept.
    ///
    /// A word with `://` in it is a location, whatever files there are. Any other path is a runner
    /// config, all of whose locations are meant.
    #[command(
        help_template = help::TEMPLATE,
        before_help = help::REENCRYPT_EXAMPLES,
        after_help = help::MORE,
        after_long_help = help::REENCRYPT_CODES
    )]
    Reencrypt(Box<ReencryptArguments>),
    /// List the checks, or explain one: its reason, what it looks at, how to fix a failure
    ///
    /// With `--permissions`: print the IAM policy that the guard's credentials need, limited to
    /// what the runner config in ARGS uses. With `--scp`: print what an organisation can deny
    /// beside the guard.
    #[command(help_template = help::TEMPLATE, before_help = help::EXPLAIN_EXAMPLES)]
    Explain {
        /// The name of a check
        check: Option<String>,
        /// Print the IAM policy that the guard's credentials need
        #[arg(long, conflicts_with = "check", group = "policy")]
        permissions: bool,
        /// With `--permissions`: the policy for `audit`, in place of that for checks and runs
        #[arg(long, requires = "permissions")]
        audit: bool,
        /// With `--permissions`: the policy for `sentinel`, by the settings' section of that name
        #[arg(long, requires = "permissions", conflicts_with_all = ["audit", "arguments"])]
        sentinel: bool,
        /// With `--sentinel`: the policy of the role in this account, which the section names
        #[arg(hide_short_help = true, long, value_name = "ID", requires = "sentinel")]
        account: Option<AccountId>,
        /// Print all checks as Markdown
        #[arg(long, conflicts_with_all = ["check", "permissions"])]
        markdown: bool,
        /// Print, as Markdown, the controls of NIST, PCI DSS, HIPAA and AWS Security Hub that each
        /// check is evidence for, and what it does not prove of them.
        #[arg(long, conflicts_with_all = ["check", "permissions", "markdown"])]
        controls: bool,
        /// Print all settings as Markdown
        #[arg(long, conflicts_with_all = ["check", "permissions", "markdown", "controls"])]
        settings: bool,
        /// Print a service control policy: what an AWS organisation can deny beside the guard
        ///
        /// On standard error it says what each statement does not stop. With a runner config in
        /// ARGS, the statement about volumes is limited to its service role.
        #[arg(
            long,
            group = "policy",
            conflicts_with_all = ["check", "permissions", "markdown", "controls", "settings"],
            requires_all = ["launcher", "admin"]
        )]
        scp: bool,
        /// With `--scp`: the ARN of a role or user that may start clusters; repeatable
        #[arg(hide_short_help = true, long, value_name = "ARN", requires = "scp")]
        launcher: Vec<PrincipalPattern>,
        /// With `--scp`: the ARN of a role or user that may change security configurations;
        /// repeatable
        #[arg(hide_short_help = true, long, value_name = "ARN", requires = "scp")]
        admin: Vec<PrincipalPattern>,
        /// The runner's own arguments, behind `--`
        #[arg(last = true, value_name = "ARGS", requires = "policy")]
        arguments: Vec<OsString>,
    },
    /// Print completions for a shell
    #[command(help_template = help::TEMPLATE, before_help = help::COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: CompletionShell,
    },
    /// Print a manual page: of the program, of a command, or of the settings file
    #[command(help_template = help::TEMPLATE, before_help = help::MAN_EXAMPLES)]
    Man {
        /// A command such as `check`, or `guard.yml` for the settings [default: the program]
        page: Option<String>,
    },
}

/// The shells that there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletionShell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

/// What `run` and `check` take.
#[derive(Args, Debug)]
pub struct Launch {
    /// The settings file [default: /etc/emr-etl-guard/guard.yml, if it exists]
    #[arg(long, env = "EMR_ETL_GUARD_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Print all findings, and log each step on standard error
    ///
    /// Findings are printed as on a terminal, also where standard output is none. This overrides
    /// the setting `quiet`, unless that is locked.
    #[arg(short, long)]
    pub verbose: bool,
    /// The guard's options.
    #[command(flatten)]
    pub options: GivenOptions,
    /// The runner's own arguments, behind `--`
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<OsString>,
}

impl Launch {
    /// Uses only the environment.
    #[must_use]
    pub fn without_flags() -> Self {
        let command = Self::augment_args(clap::Command::new("emr-etl-guard"));
        let matches = command.try_get_matches_from(["emr-etl-guard"]);
        matches
            .and_then(|matches| Self::from_arg_matches(&matches))
            .unwrap_or_else(|error| error.exit())
    }

    /// Replaces a short form by the complete arguments.
    fn expand(
        &mut self,
        short: &mut ShortForm,
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<(), String> {
        let (short, behind) = (std::mem::take(short), std::mem::take(&mut self.arguments));
        self.arguments = short.runner_arguments(words, behind)?;
        Ok(())
    }

    /// The same for commands that take locations or a config.
    fn expand_words(
        &mut self,
        short: &mut ShortForm,
        words: &mut Vec<String>,
    ) -> Result<(), String> {
        let (locations, configs): (Vec<String>, Vec<String>) =
            std::mem::take(words).into_iter().partition(|word| short_forms::is_location(word));
        *words = locations;
        let is_bare = |word: &&String| !word.contains(['.', '/']) && *word != "-";
        if let Some(word) = configs.iter().find(is_bare)
            && !short_forms::is_runner_command(word)
        {
            return Err(format!(
                "`{word}` is neither a location nor a file's path; fix: write s3://{word} for a \
                 bucket, ./{word} for a runner config"
            ));
        }
        self.expand(short, configs.into_iter().map(OsString::from))
    }
}

/// What `check` takes.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// What to check and what to print.
    #[command(flatten)]
    pub check: CheckOptions,
    /// The runner config; short for `-- run -c CONFIG`
    #[arg(value_name = "CONFIG")]
    pub config_file: Option<OsString>,
    /// The files of a short form.
    #[command(flatten)]
    pub short: ShortForm,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What `setup` takes.
#[derive(Args, Debug)]
pub struct SetupArguments {
    /// What to do and what to make.
    #[command(flatten)]
    pub flags: SetupFlags,
    /// The runner config; short for `-- run -c CONFIG`
    #[arg(value_name = "CONFIG")]
    pub config_file: Option<OsString>,
    /// The files of a short form.
    #[command(flatten)]
    pub short: ShortForm,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What `watch` takes.
#[derive(Args, Debug)]
pub struct WatchArguments {
    /// Ids of the clusters, such as j-1ABCDEFGHIJKL
    #[arg(required_unless_present = "resume", value_name = "CLUSTER")]
    pub clusters: Vec<ClusterId>,
    /// Finish the runs that are unfinished in the state directory
    #[arg(long, conflicts_with_all = ["clusters", "until_idle"])]
    pub resume: bool,
    /// Watch until the clusters have ended or are idle, as for `--use-persistent-jobflow`
    #[arg(long)]
    pub until_idle: bool,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What `sentinel` takes.
#[derive(Args, Debug)]
pub struct SentinelArguments {
    /// Judge each cluster that lives once, and end
    ///
    /// It waits for clusters that are starting, up to the setting `judge_within` (15 minutes): only
    /// then their instances and volumes can be looked at. Exit code 75: not all could be judged in
    /// that time, or an account or region could not be seen.
    #[arg(long)]
    pub once: bool,
    /// A region to watch, in place of those in the settings; repeatable
    #[arg(long = "region", value_name = "REGION")]
    pub regions: Vec<String>,
    /// Ask the sentinel that runs on this machine, and end; for health checks of containers
    ///
    /// It is asked at the address of the setting `sentinel.listen`. Exit code 0: it is; 69: it is
    /// not, or does not answer.
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["once", "regions"])]
    pub probe: Option<ProbeKind>,
    /// Settings.
    #[command(flatten)]
    pub launch: Launch,
}

/// What `audit` takes.
#[derive(Args, Debug)]
pub struct AuditArguments {
    /// How to look and what to write.
    #[command(flatten)]
    pub audit: AuditOptions,
    /// Locations such as s3://bucket/folder, or a runner config
    #[arg(value_name = "LOCATION|CONFIG")]
    pub locations: Vec<String>,
    /// The files of a short form.
    #[command(flatten)]
    pub short: ShortForm,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// How `audit` looks, and what it writes.
#[derive(Args, Clone, Debug, Default)]
pub struct AuditOptions {
    /// Look at old versions too, not only at the current ones
    #[arg(long)]
    pub versions: bool,
    /// Read an S3 Inventory in place of asking for each object
    ///
    /// MANIFEST is its manifest.json, in S3 or as a local file; once for each bucket.
    #[arg(long, value_name = "MANIFEST")]
    pub inventory: Vec<String>,
    /// Write the objects that are not encrypted as required to this file
    #[arg(long, value_name = "FILE")]
    pub offenders: Option<PathBuf>,
    /// The format of that file [default: by its extension: .jsonl, .csv or .manifest]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "offenders", hide_short_help = true)]
    pub offenders_format: Option<OffendersFormat>,
    /// Continue an interrupted audit, and keep progress for that
    ///
    /// The progress is kept in the state directory.
    #[arg(long)]
    pub resume: bool,
    /// Print the report (JSON) on standard output, in place of the table
    #[arg(long)]
    pub json: bool,
}

/// What `seal` takes.
#[derive(Args, Debug)]
pub struct SealArguments {
    /// Print only what the seal changes
    #[arg(long)]
    pub diff: bool,
    /// Print credentials as they are
    #[arg(long)]
    pub show_secrets: bool,
    /// The runner config; short for `-- run -c CONFIG`
    #[arg(value_name = "CONFIG")]
    pub config_file: Option<OsString>,
    /// The files of a short form.
    #[command(flatten)]
    pub short: ShortForm,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What can be done with documents.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Verify signed reports: their signatures, and that none is missing between them
    ///
    /// The signature of each FILE is in FILE.dsse beside it. Exit code 0: all are valid. 1: one is
    /// not valid, or missing. 65: a file is no report or no signature. 64: a file or the key cannot
    /// be read.
    #[command(help_template = help::TEMPLATE, before_help = help::VERIFY_EXAMPLES)]
    Verify(VerifyArguments),
    /// Print the JSON Schema of reports
    Schema(SchemaArguments),
    /// Convert to an HTML page to read and to print, in one file
    Html(HtmlArguments),
    /// Convert to a summary in Markdown, for a pipeline's page or a ticket
    Markdown(RenderArguments),
    /// Convert to JUnit XML, which pipelines show as tests
    Junit(RenderArguments),
    /// Convert to SARIF 2.1.0, for code scanning: open findings, with their place in the config
    Sarif(RenderArguments),
    /// Convert to findings for AWS Security Hub: one BatchImportFindings request in each line
    ///
    /// Each line is for `aws securityhub batch-import-findings --cli-input-json`. A finding that
    /// has passed again is archived there.
    Asff(AsffArguments),
    /// Make OCSF Compliance Findings (class 2003), one JSON object a line, with the controls that
    /// each check is evidence for
    Ocsf(RenderArguments),
    /// List every cluster that lived in a quarter, from the reports of a sentinel
    ///
    /// Each cluster once, judged or not, of a guarded run or not; and every time at which it was
    /// not known which clusters there were. Exit code 0: the list was written. 1: a report is
    /// missing, changed, or its signature does not hold, and no list is written. 65: a file is no
    /// report of a sentinel. 64: a file or the key cannot be read.
    #[command(help_template = help::TEMPLATE, before_help = help::QUARTER_EXAMPLES)]
    Quarter(QuarterArguments),
}

/// What `report schema` takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct SchemaArguments {
    /// The command whose reports are meant
    #[arg(value_enum, value_name = "KIND", default_value_t)]
    pub of: ReportKind,
}

/// What `report asff` takes.
#[derive(Args, Debug)]
pub struct AsffArguments {
    /// What is rendered, and where to.
    #[command(flatten)]
    pub render: RenderArguments,
    /// The region of Security Hub [default: the region of the report]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}

/// What can be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acknowledgement {
    /// Copies set off notifications.
    Notifications,
}

/// Headings of options of `reencrypt`.
const CHANGES: &str = "What is changed, and how fast";
const BATCH: &str = "S3 Batch Operations";

/// What `reencrypt` takes.
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line, to the letter"
)]
pub struct ReencryptArguments {
    /// Locations such as s3://bucket/prefix, or a runner config
    #[arg(value_name = "LOCATION|CONFIG")]
    pub locations: Vec<String>,
    /// The files of a short form.
    #[command(flatten)]
    pub short: ShortForm,
    /// Change the objects; without it nothing is changed
    #[arg(long)]
    pub apply: bool,
    /// A bucket that may be changed although no runner config names it
    #[arg(long = "bucket", value_name = "NAME")]
    pub buckets: Vec<String>,
    /// The encryption to give
    ///
    /// With it every object that has another encryption is changed, not only those that the policy
    /// rejects.
    #[arg(long, value_enum, value_name = "KIND")]
    pub encryption: Option<EncryptionKind>,
    /// The KMS key to encrypt with: an ARN, id or alias; implies `--encryption SSE-KMS`
    #[arg(long, value_name = "KEY")]
    pub kms_key: Option<String>,
    /// Start the restore of archived objects that must be copied; a later run copies them
    #[arg(long, help_heading = CHANGES, hide_short_help = true)]
    pub restore: bool,
    /// Days that a restored copy is kept
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 7,
        help_heading = CHANGES,
        hide_short_help = true
    )]
    pub restore_days: u16,
    /// Delete the old versions that copies of this program have replaced, once the copy is verified
    /// to be the same; this cannot be undone
    #[arg(long, help_heading = CHANGES, hide_short_help = true)]
    pub purge_old_versions: bool,
    /// Delete also old versions that others have overwritten and that are not encrypted as
    /// required; no newer version has their contents, and this cannot be undone
    #[arg(long, help_heading = CHANGES, hide_short_help = true)]
    pub purge_overwritten_versions: bool,
    /// Change objects although copies set off the functions, queues and topics that are notified of
    /// new objects (a dry run names them), or although it is unknown whether there are any
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        value_delimiter = ',',
        help_heading = CHANGES,
        hide_short_help = true
    )]
    pub despite: Vec<Acknowledgement>,
    /// Objects in a second, at most
    #[arg(long, value_name = "N", help_heading = CHANGES, hide_short_help = true)]
    pub max_rate: Option<NonZeroU32>,
    /// Bytes in a second, at most, such as 200M
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = bytes,
        help_heading = CHANGES,
        hide_short_help = true
    )]
    pub max_bytes: Option<u64>,
    /// Write what is to be done with each object to this file, as JSON lines
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub list: Option<PathBuf>,
    /// Print the report (JSON) on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// With `--apply`: create jobs of S3 Batch Operations for what they can do without loss; they
    /// wait for `--batch-status --confirm`. Jobs have no preconditions, so they copy only in
    /// buckets that never had versions
    #[arg(long, help_heading = BATCH, hide_short_help = true)]
    pub batch: bool,
    /// With `--batch`: have S3 list the unencrypted objects of these storage classes; none is
    /// looked at before [default: STANDARD]
    #[arg(
        long,
        requires = "batch",
        value_name = "CLASSES",
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "STANDARD",
        value_parser = ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"],
        help_heading = BATCH, hide_short_help = true)]
    pub generate_manifest: Option<Vec<String>>,
    /// ARN of the role of the jobs
    #[arg(long, value_name = "ARN", help_heading = BATCH, hide_short_help = true)]
    pub batch_role: Option<String>,
    /// Location of manifests and completion reports, such as s3://bucket/prefix
    #[arg(long, value_name = "S3_URI", help_heading = BATCH, hide_short_help = true)]
    pub batch_place: Option<String>,
    /// Priority of the jobs; higher numbers first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        help_heading = BATCH,
        hide_short_help = true
    )]
    pub batch_priority: i32,
    /// Follow the jobs until they end, read their reports, and look at the objects again
    #[arg(
        long,
        conflicts_with_all = ["batch", "apply"],
        help_heading = BATCH,
        hide_short_help = true
    )]
    pub batch_status: bool,
    /// With `--batch-status`: only this job
    #[arg(
        long,
        value_name = "ID",
        requires = "batch_status",
        help_heading = BATCH,
        hide_short_help = true
    )]
    pub job: Option<String>,
    /// With `--batch-status`: confirm waiting jobs whose objects are all within the locations;
    /// refused as `--apply` is
    #[arg(long, requires = "batch_status", help_heading = BATCH, hide_short_help = true)]
    pub confirm: bool,
    /// Print the trust policy and permissions that the role of the jobs needs, and exit
    #[arg(long, help_heading = BATCH, hide_short_help = true)]
    pub role_policy: bool,
    /// Print the IAM policy that the guard's credentials need for this command, and exit
    #[arg(long, hide_short_help = true)]
    pub permissions: bool,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// A number of bytes, with `K`, `M`, `G` or `T` for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of bytes; write one such as 500000, 200M or 2G");
    let (digits, power) = match text.trim_end_matches(['i', 'B']).char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let power = ["K", "M", "G", "T"]
                .iter()
                .position(|it| it.eq_ignore_ascii_case(&unit.to_string()))
                .ok_or_else(wrong)?;
            (&text[..at], power + 1)
        }
        _ => (text, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes =
        (0..power).try_fold(number, |bytes, _| bytes.checked_mul(1024)).ok_or_else(wrong)?;
    if bytes == 0 { Err(wrong()) } else { Ok(bytes) }
}

impl Cli {
    /// Whether `--verbose` was given.
    pub(crate) fn is_verbose(&self) -> bool {
        let launch = match &self.command {
            CliCommand::Run(launch) => launch,
            CliCommand::Check(CheckArguments { launch, .. })
            | CliCommand::Watch(WatchArguments { launch, .. })
            | CliCommand::Sentinel(SentinelArguments { launch, .. })
            | CliCommand::Audit(AuditArguments { launch, .. })
            | CliCommand::Seal(SealArguments { launch, .. }) => launch,
            CliCommand::Reencrypt(arguments) => &arguments.launch,
            CliCommand::Setup(arguments) => &arguments.launch,
            CliCommand::Report { .. }
            | CliCommand::Explain { .. }
            | CliCommand::Completions { .. }
            | CliCommand::Man { .. } => return false,
        };
        launch.verbose
    }

    /// The options of `run` without any flags, if `words` call that command: used if its flags
    /// cannot be parsed.
    pub(crate) fn run_without_flags(words: impl IntoIterator<Item = OsString>) -> Option<Launch> {
        let mut words = words.into_iter();
        let called_as_runner = is_runner_name(&words.next()?);
        let is_run = called_as_runner || words.next().is_some_and(|word| word == "run");
        match Self::try_parse_from(["emr-etl-guard", "run", "--"]).ok()?.command {
            CliCommand::Run(launch) if is_run => Some(launch),
            _ => None,
        }
    }

    /// Parses the process' arguments. If called as [`RUNNER_NAME`], all of them belong to the
    /// runner.
    ///
    /// # Errors
    /// The output of clap: a usage error, or the requested help.
    pub fn parse_from_process(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        if is_runner_name(&name) {
            let own = ["emr-etl-guard", "run", "--"].map(OsString::from);
            Self::try_parse_from(own.into_iter().chain(words))
        } else {
            Self::try_parse_from(std::iter::once(name).chain(words))?.expanded()
        }
    }

    /// Replaces short forms by the complete arguments.
    fn expanded(mut self) -> Result<Self, clap::Error> {
        let expanded = match &mut self.command {
            CliCommand::Check(CheckArguments { config_file, short, launch, check }) => {
                check.config_alone =
                    short.resolver.is_none() && (config_file.is_some() || short.config.is_some());
                launch.expand(short, config_file.take())
            }
            CliCommand::Seal(SealArguments { config_file, short, launch, .. }) => {
                launch.expand(short, config_file.take())
            }
            CliCommand::Setup(arguments) => {
                let SetupArguments { config_file, short, launch, .. } = &mut **arguments;
                launch.expand(short, config_file.take())
            }
            CliCommand::Audit(AuditArguments { locations, short, launch, .. }) => {
                launch.expand_words(short, locations)
            }
            CliCommand::Reencrypt(arguments) => {
                let ReencryptArguments { locations, short, launch, .. } = &mut **arguments;
                launch.expand_words(short, locations)
            }
            _ => Ok(()),
        };
        let wrong = |message| Self::command().error(ErrorKind::ArgumentConflict, message);
        expanded.map(|()| self).map_err(wrong)
    }

    /// The message for invalid arguments. It repeats them, and clap's text has several lines, so
    /// clap parses the same words again in printable form. A line end in a value from the
    /// environment still cannot start a line that looks like the guard's own.
    pub(crate) fn usage_error(
        words: impl IntoIterator<Item = OsString>,
        error: &clap::Error,
    ) -> String {
        let printable = |word: OsString| String::from(Printable::from(word.to_string_lossy()));
        let words: Vec<String> = words.into_iter().map(printable).collect();
        if let Some(line) = short_forms::with_separator(&words, &Self::command()) {
            return format!(
                "emr-etl-guard: error: the runner's arguments must stand behind `--`\n  \
                 fix: {line}\n"
            );
        }
        let again = Self::parse_from_process(words.into_iter().map(OsString::from)).err();
        let said = match again.filter(clap::Error::use_stderr) {
            Some(mut again) => {
                // Clap suggests that a word could come behind `--`, where it would be wrong in
                // another way.
                again.remove(ContextKind::Suggested);
                again.to_string()
            }
            None => error.to_string(),
        };
        let said = said.replace("\nemr-etl-guard: ", "\n  emr-etl-guard: ");
        match said.strip_prefix("error: ") {
            Some(said) => format!("emr-etl-guard: error: {said}"),
            None => said,
        }
    }
}

fn is_runner_name(program: &OsString) -> bool {
    std::path::Path::new(program).file_name().is_some_and(|file| file == RUNNER_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_cannot_be_taken_are_repeated_without_lines_of_their_own() {
        let words = ["guard", "run", "--x\nemr-etl-guard: confirmed\u{9b}"].map(OsString::from);
        let error = Cli::parse_from_process(words.clone()).unwrap_err();
        let said = Cli::usage_error(words, &error);
        assert_eq!(
            said.lines().next().unwrap(),
            r"emr-etl-guard: error: unexpected argument '--x\u{a}emr-etl-guard: confirmed\u{9b}' found"
        );
        assert!(said.contains("\nUsage: "), "{said}");
    }

    #[test]
    fn under_the_runners_name_every_argument_belongs_to_the_runner() {
        let words = ["/usr/local/bin/snowplow-emr-etl-runner", "run", "-c", "config.yml", "--help"]
            .map(OsString::from);
        let CliCommand::Run(launch) = Cli::parse_from_process(words).unwrap().command else {
            panic!("not run")
        };
        assert_eq!(launch.arguments, ["run", "-c", "config.yml", "--help"]);
    }

    /// The result for a command line whose words are separated by blanks.
    fn said(line: &str) -> String {
        let words = || line.split(' ').map(OsString::from);
        match Cli::parse_from_process(words()) {
            Ok(cli) => format!("{cli:?}"),
            Err(error) => Cli::usage_error(words(), &error),
        }
    }

    #[test]
    fn where_the_separator_is_missing_the_whole_command_line_is_given() {
        for (line, fix) in [
            ("run -c config.yml -r r.json", "run -- run -c config.yml -r r.json"),
            ("run run -c config.yml -r r.json", "run -- run -c config.yml -r r.json"),
            // The guard's options are found at any position.
            (
                "run -c c.yml --quiet -r r.json -x shred --report f --advise=a",
                "run --quiet --report f --advise=a -- run -c c.yml -r r.json -x shred",
            ),
            ("run -v -c c.yml -r r.json", "run -v -- run -c c.yml -r r.json"),
            ("run config.yml", "run -- run -c config.yml -r resolver.json"),
            ("run run -c config.yml", "run -- run -c config.yml -r resolver.json"),
            ("run lint resolver -r r.json", "run -- lint resolver -r r.json"),
            ("check run -c c.yml -r r.json", "check -- run -c c.yml -r r.json"),
            ("check run -c c.yml", "check -- run -c c.yml"),
            ("check -c c.yml -r r.json -x shred", "check -- run -c c.yml -r r.json -x shred"),
            ("check c.yml -r r.json -x shred", "check -- run -c c.yml -r r.json -x shred"),
            ("audit run -c c.yml", "audit -- run -c c.yml"),
            ("seal --diff -c c.yml -t targets", "seal --diff -- run -c c.yml -t targets"),
            ("watch j-1ABC -c c.yml -r r", "watch j-1ABC -- run -c c.yml -r r"),
            ("explain --permissions run -c c.yml", "explain --permissions -- run -c c.yml"),
        ] {
            assert_eq!(
                said(&format!("emr-etl-guard {line}")),
                format!(
                    "emr-etl-guard: error: the runner's arguments must stand behind `--`\n  fix: \
                     emr-etl-guard {fix}\n"
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_command_line_of_the_runner_is_answered_as_a_mistake_in_a_flag() {
        for line in [
            "run --requre=x",
            "run -- run -c c.yml --quiet -x",
            "check --nonsense",
            "run --stop-timeout soon -- run -c c.yml -r r",
            "frobnicate -c c.yml",
            "check a.yml b.yml",
            // The fix would repeat a secret.
            "run --alert-webhook=https://hooks.example/secret -c c.yml -r r.json",
        ] {
            let said = said(&format!("emr-etl-guard {line}"));
            assert!(!said.contains("behind `--`") && !said.contains("secret"), "{line}: {said}");
        }
        let said = said("emr-etl-guard check --jsn");
        assert!(said.starts_with("emr-etl-guard: error: unexpected argument '--jsn' found\n"));
        assert!(said.contains("a similar argument exists: '--json'"), "{said}");
    }

    #[test]
    fn a_word_with_a_scheme_is_a_location_and_every_other_one_a_config() {
        let audit = |line: &str| {
            let words = ["emr-etl-guard", "audit"].into_iter().chain(line.split(' '));
            match Cli::parse_from_process(words.map(OsString::from)).map(|cli| cli.command) {
                Ok(CliCommand::Audit(audit)) => (audit.locations, audit.launch.arguments),
                other => panic!("{line}: {other:?}"),
            }
        };
        let none: [&str; 0] = [];
        let config = ["run", "-c", "config.yml"];
        for (line, locations, arguments) in [
            ("s3://a/b s3://c", &["s3://a/b", "s3://c"][..], &none[..]),
            ("config.yml", &none, &config),
            ("-c config.yml", &none, &config),
            ("-c config.yml --json", &none, &config),
            ("-c s3://a", &none, &["run", "-c", "s3://a"]),
            ("./s3:/a", &none, &["run", "-c", "./s3:/a"]),
            ("s3a://a", &["s3a://a"], &none),
            ("s3://a -- run -c config.yml", &["s3://a"], &config),
        ] {
            let (found, given) = audit(line);
            assert_eq!(found, locations, "{line}");
            assert_eq!(given, arguments, "{line}");
        }
    }

    #[test]
    fn bytes_are_written_with_the_letters_of_powers_of_1024() {
        let table = [
            ("500000", Some(500_000)),
            ("2K", Some(2048)),
            ("200M", Some(200 << 20)),
            ("1GiB", Some(1 << 30)),
            ("0", None),
            ("M", None),
            ("1X", None),
        ];
        for (text, wanted) in table {
            assert_eq!(bytes(text).ok(), wanted, "{text}");
        }
        assert!(bytes("99999999999T").is_err());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}

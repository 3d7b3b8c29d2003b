//! The command line: what was typed, nothing more. Also what makes the guard a drop-in when it is
//! called under the runner's name.

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf};

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::{
    audit::offenders::OffendersFormat,
    base::{names::ClusterId, printable::Printable, report_kind::ReportKind},
    evidence::verify::VerifyArguments,
    report::{options::CheckOptions, render::RenderArguments},
    settings::{policy::EncryptionKind, resolve::GivenOptions},
    system::process::RUNNER_NAME,
};

/// Launches Snowplow's EmrEtlRunner only when end-to-end encryption is proved, and watches its
/// clusters until it is confirmed.
#[derive(Debug, Parser)]
#[command(name = "emr-etl-guard", version, max_term_width = 110, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Check, seal, launch the runner, watch its clusters, confirm: the whole line
    ///
    /// ARGS are the runner's own arguments, as they stood on its command line: `emr-etl-guard run
    /// -- run -c config.yml -r resolver.json`.
    #[command(after_help = EXIT_CODES)]
    Run(Launch),
    /// Check everything, up to the verdict; launch nothing
    ///
    /// Exit 0 when `run` would launch, 77 when a required check failed, 69 when facts could not
    /// be established.
    Check(CheckArguments),
    /// Watch clusters that run already, or close runs that were left open; launch nothing
    ///
    /// Clusters that are named are judged as a run's are, whoever has started them, and followed to
    /// their end: against the runner config that ARGS name, or without one by what the settings
    /// require. One that is unsafe is ended only where the setting `terminate_attached` allows it.
    ///
    /// With `--resume`: a guard that is killed, or whose time to stop runs out, leaves its run open
    /// in the state directory. The next `run` closes it before anything else; this does only that.
    /// ARGS name the runner config, whose credentials are used where the settings say so.
    #[command(after_help = EXIT_CODES)]
    Watch(WatchArguments),
    /// Look at what lies in S3 already: how each object is encrypted; change nothing
    ///
    /// LOCATIONS are places such as s3://bucket/folder. In their place, ARGS behind `--` name a
    /// runner config, all of whose locations are looked at. Exit 0 when every object is encrypted
    /// as the policy wants it, 77 when some are not, 69 when not everything could be seen.
    Audit(AuditArguments),
    /// Print the sealed runner config; ask AWS nothing
    ///
    /// Credentials are masked unless `--show-secrets` is given.
    Seal(SealArguments),
    /// Work with the document that a run leaves: make a page or other forms of it, verify it, or
    /// print the schema it follows
    ///
    /// Nothing is asked of AWS, and no settings are read.
    Report {
        /// What to do with it.
        #[command(subcommand)]
        command: ReportCommand,
    },
    /// Give objects that are there already the encryption that they should have, in place; a dry
    /// run, unless told to act
    ///
    /// Looks at every object in the locations of the runner config that ARGS name, or below the
    /// s3:// URIs, and says what would be done and what it would cost. With `--apply` it is done:
    /// object by object, each begun in a ledger in the state directory and proved by another look,
    /// so that a run that was broken off goes on where it was. Nothing that an object carries is
    /// lost.
    #[command(after_help = REENCRYPT_CODES)]
    Reencrypt(Box<ReencryptArguments>),
    /// List the checks, or explain one: why it exists, what it looks at, how to fix it
    ///
    /// With `--permissions`: the IAM policy that the guard's credentials need, scoped to the runner
    /// config that ARGS name.
    Explain {
        /// A check's name.
        check: Option<String>,
        /// Print the IAM policy that the guard's credentials need.
        #[arg(long, conflicts_with = "check")]
        permissions: bool,
        /// The permissions that `audit` needs, in place of those for checks and runs
        #[arg(long, requires = "permissions")]
        audit: bool,
        /// Print the whole catalogue as Markdown.
        #[arg(long, conflicts_with_all = ["check", "permissions"])]
        markdown: bool,
        /// Print, as Markdown, the controls of NIST, PCI DSS, HIPAA and AWS Security Hub that each
        /// check is evidence for, and what it does not prove of them.
        #[arg(long, conflicts_with_all = ["check", "permissions", "markdown"])]
        controls: bool,
        /// The runner's own arguments, behind `--`
        #[arg(last = true, value_name = "ARGS", requires = "permissions")]
        arguments: Vec<OsString>,
    },
}

/// What `run` and `check` take.
#[derive(Args, Debug)]
pub struct Launch {
    /// The settings file [default: /etc/emr-etl-guard/guard.yml, if it exists]
    #[arg(long, env = "EMR_ETL_GUARD_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// The guard's options.
    #[command(flatten)]
    pub options: GivenOptions,
    /// The runner's own arguments, behind `--`
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<OsString>,
}

impl Launch {
    /// What the environment alone says.
    #[must_use]
    pub fn without_flags() -> Self {
        let command = Self::augment_args(clap::Command::new("emr-etl-guard"));
        let matches = command.try_get_matches_from(["emr-etl-guard"]);
        matches
            .and_then(|matches| Self::from_arg_matches(&matches))
            .unwrap_or_else(|error| error.exit())
    }
}

/// What `check` takes.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// What to check and what to print.
    #[command(flatten)]
    pub check: CheckOptions,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What `watch` takes.
#[derive(Args, Debug)]
pub struct WatchArguments {
    /// The clusters to watch, `j-...`
    #[arg(required_unless_present = "resume", value_name = "CLUSTER")]
    pub clusters: Vec<ClusterId>,
    /// Close the runs that the state directory says were left open
    #[arg(long, conflicts_with_all = ["clusters", "until_idle"])]
    pub resume: bool,
    /// Watch until the clusters are over or idle; as with `--use-persistent-jobflow` in ARGS
    #[arg(long)]
    pub until_idle: bool,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What `audit` takes.
#[derive(Args, Debug)]
pub struct AuditArguments {
    /// How to look and what to write.
    #[command(flatten)]
    pub audit: AuditOptions,
    /// Places such as s3://bucket/folder
    #[arg(value_name = "LOCATIONS")]
    pub locations: Vec<String>,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// How `audit` looks, and what it writes.
#[derive(Args, Clone, Debug, Default)]
pub struct AuditOptions {
    /// Look at old versions too, not only at what is current
    #[arg(long)]
    pub versions: bool,
    /// Read an S3 Inventory in place of asking for each object: its manifest.json, as s3://... or a
    /// local file; once for each bucket
    #[arg(long, value_name = "MANIFEST")]
    pub inventory: Vec<String>,
    /// List what is not encrypted as required in this file
    #[arg(long, value_name = "FILE")]
    pub offenders: Option<PathBuf>,
    /// The form of that list [default: by the file's ending: .jsonl, .csv or .manifest]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "offenders")]
    pub offenders_format: Option<OffendersFormat>,
    /// Keep in the state directory how far the look has come, and go on from where an earlier one
    /// was broken off
    #[arg(long)]
    pub resume: bool,
    /// Print the machine-readable report to standard output, in place of the table
    #[arg(long)]
    pub json: bool,
}

/// What `seal` takes.
#[derive(Args, Debug)]
pub struct SealArguments {
    /// Print what the seal changes instead of the sealed config
    #[arg(long)]
    pub diff: bool,
    /// Print credentials as they are
    #[arg(long)]
    pub show_secrets: bool,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
}

/// What can be done with documents.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Verify documents against their signatures and against each other
    ///
    /// Each FILE is a document; its signature is beside it, in FILE.dsse. Exit 0 when all of it
    /// holds, 1 when something does not, 65 when a file is no document or no signature, 64 when a
    /// file or the key cannot be read.
    Verify(VerifyArguments),
    /// Print the JSON Schema that documents follow
    Schema(SchemaArguments),
    /// Make a page of it to read and to print: one HTML file with everything in it
    Html(RenderArguments),
    /// Make a summary in Markdown, for a pipeline's page or a ticket
    Markdown(RenderArguments),
    /// Make JUnit XML, which pipelines show as tests
    Junit(RenderArguments),
    /// Make SARIF 2.1.0, for code scanning: open findings, at their places in the runner config
    Sarif(RenderArguments),
    /// Make findings for AWS Security Hub, one BatchImportFindings request a line
    ///
    /// Each line is for `aws securityhub batch-import-findings --cli-input-json`. What is proved
    /// again is archived there.
    Asff(AsffArguments),
    /// Make OCSF Compliance Findings (class 2003), one JSON object a line, with the controls that
    /// each check is evidence for
    Ocsf(RenderArguments),
}

/// What `report schema` takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct SchemaArguments {
    /// Of which documents
    #[arg(value_enum, value_name = "KIND", default_value_t)]
    pub of: ReportKind,
}

/// What `report asff` takes.
#[derive(Args, Debug)]
pub struct AsffArguments {
    /// What is rendered, and where to.
    #[command(flatten)]
    pub render: RenderArguments,
    /// The region whose Security Hub will take them [default: the region that the document is
    /// about]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}

/// What can be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acknowledgement {
    /// Others are notified of what is changed.
    Notifications,
}

/// What `reencrypt` takes.
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line, to the letter"
)]
pub struct ReencryptArguments {
    /// Where to look, s3://bucket/prefix; without any: the locations of the runner config
    #[arg(value_name = "S3_URI")]
    pub locations: Vec<String>,
    /// Do it
    #[arg(long)]
    pub apply: bool,
    /// A bucket that may be changed although no runner config names it
    #[arg(long = "bucket", value_name = "NAME")]
    pub buckets: Vec<String>,
    /// The encryption that objects get; then every object that has another one is changed, not only
    /// those that the policy refuses
    #[arg(long, value_enum, value_name = "KIND")]
    pub encryption: Option<EncryptionKind>,
    /// The KMS key that objects get: an ARN, id or alias; implies `--encryption SSE-KMS`
    #[arg(long, value_name = "KEY")]
    pub kms_key: Option<String>,
    /// Start the restore of archived objects that must be copied; a later run copies them
    #[arg(long)]
    pub restore: bool,
    /// For how many days a restored copy stays
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub restore_days: u16,
    /// Remove the old versions that this program's own copies have replaced, once the copy is proved
    /// to be all that they were; what is removed is gone, and nothing brings it back
    #[arg(long)]
    pub purge_old_versions: bool,
    /// Remove also the old versions that other writers have overwritten, and that are not encrypted as
    /// required: their contents are in no newer version, and nothing brings them back
    #[arg(long)]
    pub purge_overwritten_versions: bool,
    /// Do it although copies in place set off the Lambda functions, queues and topics that are
    /// notified of new objects (which a dry run names), or nobody may look whether there are any
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub despite: Vec<Acknowledgement>,
    /// At most so many objects in a second
    #[arg(long, value_name = "N")]
    pub max_rate: Option<NonZeroU32>,
    /// At most so many bytes in a second, such as 200M
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub max_bytes: Option<u64>,
    /// Write what is to be done about each object, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// Print the machine-readable report to standard output, in place of all else there
    #[arg(long)]
    pub json: bool,
    /// With `--apply`: have S3 Batch Operations do what it can do without losing anything; its jobs
    /// wait for `--batch-status --confirm`. They run without preconditions, so they copy only in
    /// buckets that never had versions
    #[arg(long)]
    pub batch: bool,
    /// With `--batch`: have S3 make the list itself, of what is unencrypted in these storage
    /// classes; nothing is looked at beforehand [default: STANDARD]
    #[arg(
        long,
        requires = "batch",
        value_name = "CLASSES",
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "STANDARD",
        value_parser = ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
    )]
    pub generate_manifest: Option<Vec<String>>,
    /// The ARN of the role that the jobs run under
    #[arg(long, value_name = "ARN")]
    pub batch_role: Option<String>,
    /// Where manifests and completion reports go, s3://bucket/prefix
    #[arg(long, value_name = "S3_URI")]
    pub batch_place: Option<String>,
    /// The jobs' priority; higher numbers first
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub batch_priority: i32,
    /// Follow the jobs to their end, read their reports, and look at the objects again
    #[arg(long, conflicts_with_all = ["batch", "apply"])]
    pub batch_status: bool,
    /// With `--batch-status`: only this job
    #[arg(long, value_name = "ID", requires = "batch_status")]
    pub job: Option<String>,
    /// With `--batch-status`: confirm jobs that wait for it and whose objects all lie within the
    /// places; refused as `--apply` is
    #[arg(long, requires = "batch_status")]
    pub confirm: bool,
    /// Print what the jobs' role must trust and be allowed, and end
    #[arg(long)]
    pub role_policy: bool,
    /// Print the IAM policy that the guard's own credentials need for this command, and end
    #[arg(long)]
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

const REENCRYPT_CODES: &str = "\
Exit codes:
  0   every object that was looked at is encrypted as it should be
  64  the command line or the settings are wrong
  65  the runner's config or arguments cannot be understood
  69  something could not be looked at, or the ledger cannot be used
  75  something is left to do: what a dry run found, what failed, what must be done by hand
  77  refused: a bucket that nobody named, or a location that a running cluster uses
  128+n  stopped by signal n; the next run goes on";

const EXIT_CODES: &str = "\
Exit codes: the runner's own pass through (0 done, 1 error, 3 no data, 4 earlier run unfinished, 17 lock held, 18 cluster busy).
  64  the guard's command line or settings are wrong
  65  the runner's config or arguments cannot be understood
  69  facts could not be established (AWS unreachable, access denied), or the state directory cannot be used: refused
  70  a bug in the guard
  71  an unsafe cluster may still be running: act now
  74  the run ended, but its document could not be delivered everywhere, or not be signed
  75  the run ended, but encryption could not be confirmed
  76  an unsafe cluster was found and its termination confirmed
  77  refused: a required check failed
  126, 127  the runner cannot be executed, or was not found
  128+n  ended by signal n";

impl Cli {
    /// What `run` would go by without any flag, where that is the command in `words`: for when its
    /// flags cannot be understood.
    pub(crate) fn run_without_flags(words: impl IntoIterator<Item = OsString>) -> Option<Launch> {
        let mut words = words.into_iter();
        let called_as_runner = is_runner_name(&words.next()?);
        let is_run = called_as_runner || words.next().is_some_and(|word| word == "run");
        match Self::try_parse_from(["emr-etl-guard", "run", "--"]).ok()?.command {
            CliCommand::Run(launch) if is_run => Some(launch),
            _ => None,
        }
    }

    /// Parses the process' arguments; called as [`RUNNER_NAME`], all of them belong to the runner.
    ///
    /// # Errors
    /// What clap prints: a usage error, or the help that was asked for.
    pub fn parse_from_process(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        if is_runner_name(&name) {
            let own = ["emr-etl-guard", "run", "--"].map(OsString::from);
            Self::try_parse_from(own.into_iter().chain(words))
        } else {
            Self::try_parse_from(std::iter::once(name).chain(words))
        }
    }

    /// What clap says of words that it cannot take. It repeats them, and its text has several lines:
    /// so it is asked again about the same words in printable form. A value from the environment
    /// that holds ends of lines still cannot begin a line like one of the guard's own.
    pub(crate) fn usage_error(
        words: impl IntoIterator<Item = OsString>,
        error: &clap::Error,
    ) -> String {
        let printable = |word: OsString| String::from(Printable::from(word.to_string_lossy()));
        let words = words.into_iter().map(|word| printable(word).into());
        let again = Self::parse_from_process(words).err().filter(clap::Error::use_stderr);
        let said = again.map_or_else(|| error.to_string(), |again| again.to_string());
        said.replace("\nemr-etl-guard: ", "\n  emr-etl-guard: ")
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
            r"error: unexpected argument '--x\u{a}emr-etl-guard: confirmed\u{9b}' found"
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

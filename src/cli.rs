//! The command line: what was typed, nothing more. Also what makes the guard a drop-in when it is called under the runner's name.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{launch::RUNNER_NAME, settings::Options};

/// Launches Snowplow's EmrEtlRunner only when end-to-end encryption is proved, and watches its clusters until it is confirmed.
#[derive(Debug, Parser)]
#[command(name = "emr-etl-guard", version, max_term_width = 110, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check, seal, launch the runner, watch its clusters, confirm: the whole line
    ///
    /// ARGS are the runner's own arguments, as they stood on its command line: `emr-etl-guard run -- run -c config.yml -r resolver.json`.
    #[command(after_help = EXIT_CODES)]
    Run(Launch),
    /// Check everything, up to the verdict; launch nothing
    ///
    /// Exit 0 when `run` would launch, 77 when a required check is refuted, 69 when facts could not be established.
    Check(CheckArguments),
    /// Close runs that were left open: find their clusters, judge them, end what must end; launch nothing
    ///
    /// A guard that is killed, or whose time to stop runs out, leaves its run open in the state directory. The next `run` closes it before anything else;
    /// this does only that. ARGS name the runner config, whose credentials are used where the settings say so.
    #[command(after_help = EXIT_CODES)]
    Watch(WatchArguments),
    /// Print the sealed runner config; ask AWS nothing
    ///
    /// Credentials are masked unless `--show-secrets` is given.
    Seal(SealArguments),
    /// List the checks, or explain one: why it exists, what it looks at, how to mend it
    ///
    /// With `--permissions`: the IAM policy that the guard's credentials need, scoped to the runner config that ARGS name.
    Explain {
        /// A check's name.
        check: Option<String>,
        /// Print the IAM policy that the guard's credentials need.
        #[arg(long, conflicts_with = "check")]
        permissions: bool,
        /// Print the whole catalogue as Markdown.
        #[arg(long, conflicts_with_all = ["check", "permissions"])]
        markdown: bool,
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
    pub options: Options,
    /// The runner's own arguments, behind `--`
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<OsString>,
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

/// What `check` looks at, and in which forms it tells.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckOptions {
    /// Judge by these checks alone (their names: `explain`); exit 0 says nothing of the others
    #[arg(long, value_delimiter = ',', value_name = "CHECK")]
    pub only: Vec<String>,
    /// Print the machine-readable report to standard output, in place of the table
    #[arg(long)]
    pub json: bool,
    /// Write the findings as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a summary in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// What `watch` takes.
#[derive(Args, Debug)]
pub struct WatchArguments {
    /// Close the runs that the state directory says were left open
    #[arg(long, required = true)]
    pub resume: bool,
    /// Settings and runner arguments.
    #[command(flatten)]
    pub launch: Launch,
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

const EXIT_CODES: &str = "\
Exit codes: the runner's own pass through (0 done, 1 error, 3 no data, 4 earlier run unfinished, 17 lock held, 18 cluster busy).
  64  the guard's command line or settings are wrong
  65  the runner's config or arguments cannot be understood
  69  facts could not be established (AWS unreachable, access denied), or the state directory cannot be used: refused
  70  a bug in the guard
  71  an unsafe cluster may still be running: act now
  75  the run ended, but encryption could not be confirmed
  76  an unsafe cluster was found and its termination confirmed
  77  refused: a required check is refuted
  126, 127  the runner cannot be executed, or was not found
  128+n  ended by signal n";

impl Cli {
    /// What `run` would go by without any flag, where that is the command in `words`: for when its flags cannot be understood.
    pub(crate) fn run_without_flags(words: impl IntoIterator<Item = OsString>) -> Option<Launch> {
        let mut words = words.into_iter();
        let called_as_runner = is_runner_name(&words.next()?);
        let is_run = called_as_runner || words.next().is_some_and(|word| word == "run");
        match Self::try_parse_from(["emr-etl-guard", "run", "--"]).ok()?.command {
            Command::Run(launch) if is_run => Some(launch),
            _ => None,
        }
    }

    /// Parses the process' arguments; called as [`RUNNER_NAME`], all of them belong to the runner.
    ///
    /// # Errors
    /// What clap prints: a usage error, or the help that was asked for.
    pub fn parse_from_process(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        if is_runner_name(&name) {
            let own = ["emr-etl-guard", "run", "--"].map(OsString::from);
            Self::try_parse_from(own.into_iter().chain(words))
        } else {
            Self::try_parse_from(std::iter::once(name).chain(words))
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
    fn under_the_runners_name_every_argument_belongs_to_the_runner() {
        let words = ["/usr/local/bin/snowplow-emr-etl-runner", "run", "-c", "config.yml", "--help"].map(OsString::from);
        let Command::Run(launch) = Cli::parse_from_process(words).unwrap().command else { panic!("not run") };
        assert_eq!(launch.arguments, ["run", "-c", "config.yml", "--help"]);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}

//! `emr-etl-guard` is run in place of Snowplow's EmrEtlRunner. It makes sure that no batch run
//! starts or continues without the end-to-end encryption that its owner requires.
//!
//! The program is one straight line:
//!
//! ```text
//! argv ─► runner front end ─► spec ─► facts ─► verdict ─► launch ─► watch ─► confirm ─► report
//! ```
//!
//! The function `line` below starts it; its steps are in `commands/run/line.rs`. Side effects
//! happen only in `facts`, in the launch, in `watch` and in `report`. Front ends, `spec` and
//! `checks` are plain functions.
//!
//! A module imports only from those before it in this list: `base`, `system`, `settings`, `spec`,
//! `runners`, `aws`, `facts`, `checks`, `evidence`, `watch`, `audit`, `reencrypt`, `permissions`,
//! `setup`, `sentinel`, `report`, `commands`. A test enforces that order.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`system::output` keeps what others have written from steering a terminal"
)]

pub mod audit;
pub mod aws;
pub mod base;
pub mod checks;
pub mod commands;
#[cfg(test)]
mod contracts;
pub mod evidence;
pub mod facts;
mod permissions;
mod reencrypt;
pub mod report;
pub mod runners;
mod sentinel;
pub mod settings;
mod setup;
pub mod spec;
pub mod system;
pub mod watch;

use std::{ffi::OsString, process::ExitCode};

use tracing::Level;
use tracing_subscriber::{
    EnvFilter,
    filter::{FilterFn, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    base::outcome::Outcome,
    commands::{
        cli::Cli,
        dispatch::{alert_settings_error, command},
        error::GuardError,
        run::line::{LineEnd, LineSession},
    },
    report::{notify::Notify, options::CheckOptions},
    settings::resolve::Settings,
    system::{background_output, core_dumps, heap, output, screen, signals},
};

/// Runs the program: from the process' arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let dumps = core_dumps::switch_off();
    heap::share();
    let parsed = Cli::parse_from_process(std::env::args_os());
    start_log(parsed.as_ref().is_ok_and(Cli::is_verbose));
    if let Err(error) = dumps {
        tracing::error!(%error, "a core dump of the guard, which holds secrets, may be possible");
    }
    if let Err(error) = signals::keep_child_status() {
        tracing::error!(%error, "the ends of child processes may be missed");
    }
    let code = match parsed {
        Ok(cli) => command(cli, &line),
        Err(error) => {
            // Help and version were requested, which is no error. Everything else is a usage error,
            // and its message repeats words of the command line.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            let said = Cli::usage_error(std::env::args_os(), &error);
            output::err(&said);
            if let Some(options) = Cli::run_without_flags(std::env::args_os()) {
                let first = said.lines().next().unwrap_or_default();
                let first = first.strip_prefix("emr-etl-guard: ").unwrap_or(first);
                alert_settings_error(&options, "run", &first.into());
            }
            Outcome::BadUsage.code()
        }
    };
    background_output::finish();
    ExitCode::from(code)
}

/// The steps of a run. With the options of `check` it ends at the verdict.
async fn line(
    arguments: &[OsString],
    settings: &Settings,
    check: Option<&CheckOptions>,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    let steps = async {
        let mut session = LineSession::open(arguments, settings, check, notify).await?;
        let launch = Box::pin(session.plan()).await?;
        let known = session.ask(&launch).await?;
        let pre_flight = session.judge(&launch, &known).await?;
        let started = session.launch(&launch, &known, &pre_flight).await?;
        let watched = session.watch(&launch, started).await?;
        Ok(session.confirm(&launch, &known, &pre_flight, watched).await?)
    };
    LineEnd::of(Box::pin(steps).await)
}

/// Starts the log for debugging the guard itself. By default it writes nothing, since cron mails
/// whatever is written to standard error. `verbose` also logs the guard's steps.
fn start_log(verbose: bool) {
    let log = tracing_subscriber::registry().with(
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| screen::AboveLiveView),
    );
    // From DEBUG on, libraries log headers and bodies of requests and answers, and with them
    // secrets. No value of the variable enables that.
    let own = FilterFn::new(|line| {
        *line.level() <= Level::INFO || line.target().starts_with(env!("CARGO_CRATE_NAME"))
    });
    match EnvFilter::try_from_env("EMR_ETL_GUARD_LOG") {
        Ok(filter) => log.with(filter).with(own).init(),
        // The same as `emr_etl_guard=error`, without the code that parses such filters.
        Err(_) => {
            let level = if verbose { Level::DEBUG } else { Level::ERROR };
            log.with(Targets::new().with_target("emr_etl_guard", level)).init();
        }
    }
}

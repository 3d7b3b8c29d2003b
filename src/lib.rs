//! `emr-etl-guard` stands where Snowplow's EmrEtlRunner stood, and makes sure that no batch run
//! starts, or goes on, without the end-to-end encryption its owner requires.
//!
//! One straight line:
//!
//! ```text
//! argv ─► runner front end ─► spec ─► facts ─► verdict ─► launch ─► watch ─► confirm ─► report
//! ```
//!
//! `line` below is that line; its steps are in `commands/run/line.rs`. Side effects live in
//! `facts`, in the launch, in `watch`, and in `report`; front ends, `spec` and `checks` are plain
//! functions. A module imports only from those before it: `base`, `system`, `settings`, `spec`,
//! `runners`, `aws`, `facts`, `checks`, `evidence`, `watch`, `audit`, `reencrypt`, `permissions`,
//! `report`, `commands`. A test holds that order.

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
pub mod settings;
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
    system::{core_dumps, heap, output, screen, signals},
};

/// The program: from the process' arguments to its exit code.
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
            // Help and version are asked for; everything else is a usage error, which repeats words
            // of the command line.
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
    ExitCode::from(code)
}

/// The line of a run; with the options of `check`, up to the verdict.
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

/// A log for those who debug the guard itself; silent unless asked for, since cron mails whatever
/// reaches standard error. `verbose`: the steps of the guard are asked for.
fn start_log(verbose: bool) {
    let log = tracing_subscriber::registry().with(
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| screen::AboveLiveView),
    );
    // What libraries log of requests and answers, from DEBUG on, holds headers and bodies, and with
    // them secrets. No value of the variable shows that.
    let own = FilterFn::new(|line| {
        *line.level() <= Level::INFO || line.target().starts_with(env!("CARGO_CRATE_NAME"))
    });
    match EnvFilter::try_from_env("EMR_ETL_GUARD_LOG") {
        Ok(filter) => log.with(filter).with(own).init(),
        // The same as `emr_etl_guard=error`, without the machinery that reads such words.
        Err(_) => {
            let level = if verbose { Level::DEBUG } else { Level::ERROR };
            log.with(Targets::new().with_target("emr_etl_guard", level)).init();
        }
    }
}

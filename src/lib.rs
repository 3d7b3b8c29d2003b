//! `emr-etl-guard` stands where Snowplow's EmrEtlRunner stood, and makes sure that no batch run
//! starts, or goes on, without the end-to-end encryption its owner requires.
//!
//! One straight line, each word a module:
//!
//! ```text
//! argv ─► invocation ─► runner_config ─► facts ─► verdict ─► launch ─► watch ─► confirm ─► report
//! ```
//!
//! `guard` below is that line. Side effects live in `facts`, `launch`, `watch` (with `supervise`
//! and `terminate`) and `report`; all else is plain functions.

pub mod audit;
pub mod aws;
pub mod base;
pub mod checks;
pub mod commands;
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

use std::process::ExitCode;

use tracing::Level;
use tracing_subscriber::{
    EnvFilter, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    base::outcome::Outcome,
    commands::{
        cli::Cli,
        dispatch::{command, tell_of_settings},
    },
    system::{heap, screen, signals},
};

/// The program: from the process' arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    heap::share();
    start_log();
    if let Err(error) = signals::keep_child_status() {
        tracing::error!(%error, "the ends of child processes may be missed");
    }
    let code = match Cli::parse_from_process(std::env::args_os()) {
        Ok(cli) => command(cli),
        Err(error) => {
            // Help and version are asked for; everything else is a usage error.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if let Some(options) = Cli::run_without_flags(std::env::args_os()) {
                tell_of_settings(
                    &options,
                    "run",
                    error.to_string().lines().next().unwrap_or_default(),
                );
            }
            Outcome::BadUsage.code()
        }
    };
    ExitCode::from(code)
}

/// A log for those who debug the guard itself; silent unless asked for, since cron mails whatever
/// reaches standard error.
fn start_log() {
    let log = tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(|| screen::Above));
    match EnvFilter::try_from_env("EMR_ETL_GUARD_LOG") {
        Ok(filter) => log.with(filter).init(),
        // The same as `emr_etl_guard=error`, without the machinery that reads such words.
        Err(_) => log.with(Targets::new().with_target("emr_etl_guard", Level::ERROR)).init(),
    }
}

//! The kinds of reports.

use clap::ValueEnum;

/// The version of a run's report. It increases when a field changes its meaning or is removed.
pub(crate) const RUN_REPORT_VERSION: u32 = 3;

/// The version of a sentinel's report, under the same rule.
pub(crate) const SENTINEL_REPORT_VERSION: u32 = 1;

/// The kinds of reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportKind {
    /// Of `run`, `check` and `watch`
    #[default]
    Run,
    /// Of `audit`
    Audit,
    /// Of `reencrypt`
    Reencrypt,
    /// Of `setup`
    Setup,
    /// Of `sentinel`
    Sentinel,
}

//! The kinds of reports.

use clap::ValueEnum;

/// The version of a run's report; it grows when a field changes its meaning or goes away.
pub(crate) const RUN_REPORT_VERSION: u32 = 3;

/// The kinds of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportKind {
    /// Of `run`, `check` and `watch`
    #[default]
    Run,
    /// Of `audit`
    Audit,
    /// Of `reencrypt`
    Reencrypt,
}

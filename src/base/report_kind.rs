//! The kinds of reports.

use clap::ValueEnum;

/// The kinds of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DocumentKind {
    /// Of `run`, `check` and `watch`
    #[default]
    Run,
    /// Of `audit`
    Audit,
    /// Of `reencrypt`
    Reencrypt,
}

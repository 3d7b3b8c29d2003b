//! What is written and shown of a run on this machine.

use std::path::PathBuf;

/// What the report and the terminal need of the settings.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Where the JSON report goes.
    pub file: Option<PathBuf>,
    /// Whether a terminal shows the watch.
    pub progress: bool,
    /// No own messages on standard output.
    pub quiet: bool,
    /// All findings on standard output, also where it is no terminal. No setting: the flag
    /// `--verbose` alone gives it.
    pub verbose: bool,
}

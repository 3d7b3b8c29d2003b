//! The output of a run on this machine.

use std::path::PathBuf;

/// The settings for the report and the terminal.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Where the JSON report goes.
    pub file: Option<PathBuf>,
    /// Whether the watch is shown on a terminal.
    pub progress: bool,
    /// No own messages on standard output.
    pub quiet: bool,
    /// All findings on standard output, even if it is not a terminal. Not a setting: only the flag
    /// `--verbose` enables it.
    pub verbose: bool,
}

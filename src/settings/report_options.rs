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
}

//! The options of `check` that decide about its output.

use std::path::PathBuf;

use clap::Args;

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

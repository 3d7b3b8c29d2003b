//! The options of `check` for its output.

use std::path::PathBuf;

use clap::Args;

/// The checks that `check` runs, and the formats of its output.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckOptions {
    /// Judge only these checks (their names: `explain`); exit code 0 says nothing of the others
    #[arg(long, value_delimiter = ',', value_name = "CHECK")]
    pub only: Vec<String>,
    /// Print the report (JSON) on standard output, in place of the table
    #[arg(long)]
    pub json: bool,
    /// Write the findings as JUnit XML
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a summary in Markdown
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Whether the config was given without a resolver, in a short form: then no launch is
    /// evaluated, and a resolver may be missing.
    #[arg(skip)]
    pub config_alone: bool,
    /// Write the fixes of all findings as a commented shell script, in their order
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    pub fix_script: Option<PathBuf>,
}

//! The commands that convert a report: they read it, render it, and write the output atomically.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    base::outcome::Outcome,
    report::document::{AnyReport, ReadReportError, RunReport},
    system::output::{complain, write_whole},
};

/// What is rendered, and where it is written.
#[derive(Args, Debug)]
pub struct RenderArguments {
    /// The report, as `--report` writes it or `--json` prints it; `-`: standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error(transparent)]
    NoDocument(#[from] ReadReportError),
    /// The report lacks data that this format needs.
    #[error("{0}")]
    Lacking(String),
    #[error("{}: cannot be written: {error}", .to.as_deref().unwrap_or(Path::new("standard \
        output")).display())]
    Unwritable { to: Option<PathBuf>, error: io::Error },
    #[error("a bug in emr-etl-guard: {0:#}")]
    Bug(#[from] anyhow::Error),
}

impl RenderError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NoDocument(ReadReportError::Unreadable { .. })
            | Self::Unwritable { .. }
            | Self::Lacking(_) => Outcome::BadUsage,
            Self::NoDocument(
                ReadReportError::NotOne { .. }
                | ReadReportError::Version { .. }
                | ReadReportError::RunOnly { .. },
            ) => Outcome::BadConfig,
            Self::Bug(_) => Outcome::Bug,
        }
    }
}

/// Renders the report of `arguments`, which must be that of a run, with `form`.
pub(crate) fn render(
    arguments: &RenderArguments,
    form: impl Fn(&RunReport) -> Result<String, RenderError>,
) -> Outcome {
    render_any(arguments, |document| form(&document.of_run(&arguments.file)?))
}

/// Renders the report of `arguments` with `form`.
pub(crate) fn render_any(
    arguments: &RenderArguments,
    form: impl Fn(AnyReport) -> Result<String, RenderError>,
) -> Outcome {
    let rendered = AnyReport::read(&arguments.file).map_err(RenderError::from).and_then(form);
    match rendered.and_then(|text| write(arguments.out.as_deref(), &text)) {
        Ok(()) => Outcome::Ended(0),
        Err(error) => {
            complain(&error.to_string().into());
            error.outcome()
        }
    }
}

fn write(to: Option<&Path>, text: &str) -> Result<(), RenderError> {
    let written = match to {
        Some(file) => write_whole(file, text),
        None => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        }
    };
    written.map_err(|error| RenderError::Unwritable { to: to.map(Path::to_owned), error })
}

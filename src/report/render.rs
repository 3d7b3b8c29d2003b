//! The commands that convert a report: they read it, render it, and write the output atomically.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    base::{outcome::Outcome, report_kind::ReportKind, text::shell_word},
    evidence::retention,
    report::{
        document::{AnyReport, ReadReportError, RunReport},
        sentinel_document::SentinelReport,
        sentinel_history::{HistoryError, SentinelHistory},
    },
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

/// What `report html` takes.
#[derive(Args, Debug)]
pub struct HtmlArguments {
    /// The report, as `--report` writes it or `--json` prints it; `-`: standard input. Several
    /// reports of one sentinel, or a folder with them, make one page over their whole time
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub files: Vec<PathBuf>,
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
    /// Of several reports, one is not that of a sentinel.
    #[error(
        "{}: the report of {}; only reports of one sentinel make one page; fix: emr-etl-guard \
         report html {}",
        .file.display(), .kind.in_words(), shell_word(&.file.display().to_string())
    )]
    NotOfSentinel { file: PathBuf, kind: ReportKind },
    #[error(transparent)]
    NotTogether(#[from] HistoryError),
    #[error("a bug in emr-etl-guard: {0:#}")]
    Bug(#[from] anyhow::Error),
}

impl RenderError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NoDocument(ReadReportError::Unreadable { .. })
            | Self::Unwritable { .. }
            | Self::NotOfSentinel { .. }
            | Self::NotTogether(_)
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
    conclude(rendered, arguments.out.as_deref())
}

/// Renders the page of one report with `one`, or that of several of one sentinel with `together`.
pub(crate) fn render_html(
    arguments: &HtmlArguments,
    one: impl Fn(AnyReport, &Path) -> Result<String, RenderError>,
    together: impl Fn(&SentinelHistory, &[PathBuf]) -> String,
) -> Outcome {
    let rendered = || {
        if let [file] = arguments.files.as_slice()
            && !file.is_dir()
        {
            return one(AnyReport::read(file)?, file);
        }
        let files = report_files(&arguments.files)?;
        let history = SentinelHistory::of(sentinel_reports(&files)?)?;
        Ok(together(&history, &files))
    };
    conclude(rendered(), arguments.out.as_deref())
}

/// The files of reports that `paths` name: files themselves, and of a folder those that the guard
/// has named, in their order; each once.
///
/// # Errors
/// When a folder cannot be read.
pub(crate) fn report_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReadReportError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |error| ReadReportError::Unreadable { file: path.clone(), error };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let is_report = name.to_str().is_some_and(retention::is_report);
            if is_report {
                found.push(path.join(name));
            }
        }
        // Names begin with the time, so they sort by time.
        found.sort();
        files.append(&mut found);
    }
    let mut named = BTreeSet::new();
    files.retain(|file| named.insert(file.clone()));
    Ok(files)
}

/// The reports in `files`, each of which must be that of a sentinel.
///
/// # Errors
/// For the first file that is not, or that cannot be read.
pub(crate) fn sentinel_reports(files: &[PathBuf]) -> Result<Vec<SentinelReport>, RenderError> {
    let read = |file: &PathBuf| match AnyReport::read(file)? {
        AnyReport::Sentinel(report) => Ok(*report),
        other => Err(RenderError::NotOfSentinel { file: file.clone(), kind: other.kind() }),
    };
    files.iter().map(read).collect()
}

/// Writes what was rendered, or the error; the only place that makes it an outcome.
pub(crate) fn conclude(rendered: Result<String, RenderError>, out: Option<&Path>) -> Outcome {
    match rendered.and_then(|text| write(out, &text)) {
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

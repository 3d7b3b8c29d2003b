//! Owns every unsuccessful end of a run, with its text and its exit code.

use std::io::Write;

use crate::log::{Level, Logger};

/// Why a run stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The command line or the configuration is invalid: the text goes to standard error unchanged.
    Refused(String),
    /// Another run holds the lock.
    LockHeld(String),
    /// The persistent cluster is busy.
    ClusterBusy(String),
    /// There is nothing to do.
    NoData(String),
    /// An earlier run is unfinished.
    NotEmpty(String),
    /// A cluster failed before any step: another one may succeed.
    BootstrapFailure(Fatal),
    /// A FATAL log line.
    Fatal(Fatal),
    /// An uncaught Ruby exception: its class and message, on standard error.
    Crash(String, String),
}

/// An error that the real program logs with the place it was raised at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// The exception's class, without `Snowplow::EmrEtlRunner::`.
    pub class: &'static str,
    /// Its text, possibly of several lines.
    pub message: String,
    /// The method it was raised in.
    pub raised_in: &'static str,
}

impl Stop {
    /// An `EmrExecutionError` raised in `method`.
    #[must_use]
    pub fn execution(message: String, method: &'static str) -> Self {
        Self::Fatal(Fatal { class: "EmrExecutionError", message, raised_in: method })
    }

    /// An uncaught Ruby exception.
    #[must_use]
    pub fn crash(class: &str, message: impl Into<String>) -> Self {
        Self::Crash(class.to_owned(), message.into())
    }

    /// A `ConfigError`, which is one line on standard error.
    #[must_use]
    pub fn config(message: &str) -> Self {
        Self::Refused(format!("{message}\n"))
    }

    /// Prints what the real program prints and returns its exit code.
    pub fn report(&self, logger: &mut Logger<'_>, stderr: &mut dyn Write) -> i32 {
        match self {
            Self::Refused(text) => {
                complain(stderr, text);
                1
            }
            Self::LockHeld(message) => plain(logger, message, 17),
            Self::ClusterBusy(message) => plain(logger, message, 18),
            Self::NoData(message) => plain(logger, &format!("No logs to process: {message}"), 3),
            Self::NotEmpty(message) => plain(
                logger,
                &format!("There seems to be an ongoing run of EmrEtlRunner: {message}"),
                4,
            ),
            Self::BootstrapFailure(fatal) | Self::Fatal(fatal) => {
                logger.line(Level::Fatal, &fatal.text());
                1
            }
            Self::Crash(class, message) => {
                complain(stderr, &format!("{class}: {message}\n"));
                1
            }
        }
    }
}

impl Fatal {
    /// The exception with its backtrace in the format of the real program's jar: line numbers
    /// without files.
    fn text(&self) -> String {
        let frames = [
            &format!(":824:in `{}'", self.raised_in),
            ":43:in `send_to'",
            ":76:in `call_with'",
            ":138:in `block in redefine_method'",
            ":778:in `run'",
            ":43:in `send_to'",
            ":76:in `call_with'",
            ":138:in `block in redefine_method'",
            ":138:in `run'",
            ":43:in `send_to'",
            ":76:in `call_with'",
            ":138:in `block in redefine_method'",
            ":41:in `<main>'",
        ];
        format!(
            "\n\nSnowplow::EmrEtlRunner::{} ({}):\n    {}\n\n",
            self.class,
            self.message,
            frames.join("\n    ")
        )
    }
}

fn plain(logger: &mut Logger<'_>, message: &str, code: i32) -> i32 {
    logger.raw(format!("{message}\n").as_bytes());
    code
}

fn complain(stderr: &mut dyn Write, text: &str) {
    // If even standard error is closed, only the exit code remains.
    let _ = stderr.write_all(text.as_bytes());
}

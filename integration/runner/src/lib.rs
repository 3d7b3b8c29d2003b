//! A stand-in for Snowplow `EmrEtlRunner` 1.0.4: the same arguments, configuration, requests, log
//! lines and exit codes, without Ruby, and against a stand-in AWS only.
//!
//! ```text
//! argv ─► config ─► documents ─► flow: lock ─► steps (S3) ─► job flow (EMR) ─► wait ─► exit code
//! ```
//!
//! Environment variables enable behaviour that the real program does not have ([`knobs`],
//! [`misbehave`]). Not supported: Ruby in the configuration, legacy (pre-Spark) jobs, Elasticsearch
//! targets, Consul locks, Snowplow tracking, and YAML as Psych reads it (`yes`, `0755`, `<<`
//! merges, `:symbol` keys, tags). JSON and plain YAML are loaded alike; for the rest this is **no
//! oracle** for how the real program reads a configuration. Times are UTC.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::thread;

pub mod argv;
pub mod aws;
pub mod config;
pub mod documents;
pub mod emr;
pub mod erb;
pub mod flow;
pub mod jobflow;
pub mod journal;
pub mod knobs;
pub mod lock;
pub mod log;
pub mod misbehave;
pub mod s3;
pub mod selection;
pub mod signals;
pub mod steps;
pub mod stop;

use argv::{Command, NAME, Options, Refusal};
use aws::Aws;
use config::Config;
use documents::Documents;
use flow::Run;
use journal::Journal;
use knobs::Knobs;
use log::Logger;
use stop::Stop;

/// The exit code for an invalid setup of the stand-in itself; the real program has no such code.
pub const MISCONFIGURED: i32 = 78;

/// The process: its arguments and streams.
pub struct Process<'a> {
    /// The arguments, without the program's name.
    pub arguments: Vec<String>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Read only for a configuration named `-`.
    pub stdin: &'a mut dyn Read,
    /// Log lines and the like.
    pub stdout: &'a mut dyn Write,
    /// Usage, and errors that are no log lines.
    pub stderr: &'a mut dyn Write,
}

/// How a session ends before a run started, or instead of one.
enum End {
    Code(i32),
    Stop(Stop),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Runs the command and returns the exit code. This is the one place where codes are decided.
#[must_use]
pub fn run(process: Process<'_>, knobs: &Knobs, journal: &Journal) -> i32 {
    let Process { arguments, env, stdin, stdout, stderr } = process;
    thread::sleep(knobs.startup);
    let logger = RefCell::new(Logger::new(stdout));
    let mut session =
        Session { arguments: &arguments, env, stdin, stderr, logger: &logger, knobs, journal };
    let code = match session.serve() {
        Ok(()) => 0,
        Err(End::Code(code)) => code,
        Err(End::Stop(stop)) => stop.report(&mut logger.borrow_mut(), session.stderr),
    };
    journal.exit(code);
    code
}

struct Session<'a, 'out> {
    arguments: &'a [String],
    env: &'a dyn Fn(&str) -> Option<String>,
    stdin: &'a mut dyn Read,
    stderr: &'a mut dyn Write,
    logger: &'a RefCell<Logger<'out>>,
    knobs: &'a Knobs,
    journal: &'a Journal,
}

impl Session<'_, '_> {
    fn serve(&mut self) -> Result<(), End> {
        let command = match argv::parse(self.arguments.iter().cloned()) {
            Ok(command) => command,
            Err(refusal) => {
                self.journal.started(self.arguments, false, None);
                let text = match refusal {
                    Refusal::Stderr(text) => return Err(Stop::Refused(text).into()),
                    Refusal::Stdout(text) => text,
                };
                self.print(&text);
                return Err(End::Code(1));
            }
        };
        match command {
            Command::Version => self.print(&format!("{NAME} {}\n", self.knobs.version)),
            Command::Help(usage) => self.print(&usage),
            Command::Run(options) => self.run(&options)?,
            Command::Lint(name, options) => {
                let documents = Documents::load(&options)?;
                documents.check()?;
                self.print("Valid Iglu resolver config\n");
                if name != "lint resolver" {
                    self.print("Valid enrichments\n");
                }
            }
            Command::Generate(_, options) => {
                self.load_config(&options)?;
                Documents::load(&options)?;
                self.print("The generate command is not supported yet\n");
            }
        }
        Ok(())
    }

    fn run(&mut self, options: &Options) -> Result<(), End> {
        if self.knobs.misbehave.exit_idle {
            self.journal.started(self.arguments, false, None);
            return Err(End::Code(0));
        }
        let endpoint = aws::check_endpoint(self.knobs.endpoint.as_deref()).map_err(|why| {
            // An error is ignored if standard error is closed; the exit code reports it too.
            let _ = writeln!(self.stderr, "standin-runner: {why}");
            End::Code(MISCONFIGURED)
        })?;
        let config = self.load_config(options)?;
        let documents = Documents::load(options)?;
        config.agree_with(options).map_err(|refusal| Stop::Refused(refusal.0))?;
        let aws = Aws::new(
            endpoint,
            &config.aws.access_key_id,
            &config.aws.secret_access_key,
            self.knobs.http_timeout,
            self.journal.clone(),
        );
        let run = Run {
            config: &config,
            options,
            documents: &documents,
            knobs: self.knobs,
            aws: &aws,
            logger: self.logger,
        };
        Ok(run.execute()?)
    }

    /// Reads the configuration from the source in the options, and records in the journal that a
    /// run has started.
    fn load_config(&mut self, options: &Options) -> Result<Config, End> {
        let read = self.read_config(options);
        let from_stdin = options.config.as_deref() == Some("-");
        self.journal.started(self.arguments, from_stdin, read.as_ref().ok().map(Vec::as_slice));
        let text = read?;
        if let Some(code) = self.knobs.misbehave.exit {
            return Err(End::Code(i32::from(code)));
        }
        let text = String::from_utf8_lossy(&text);
        Config::load(&text, self.env).map_err(|refusal| Stop::Refused(refusal.0).into())
    }

    fn read_config(&mut self, options: &Options) -> Result<Vec<u8>, Stop> {
        let refuse = |message: &str| Stop::Refused(format!("{message}\n{}", options.usage));
        let failed = |error: std::io::Error| Stop::crash("IOError", error.to_string());
        match options.config.as_deref() {
            None => Err(refuse("Missing option: config")),
            Some("-") => {
                let mut text = Vec::new();
                self.stdin.read_to_end(&mut text).map_err(failed)?;
                Ok(text)
            }
            // Anything but a regular file is rejected: a FIFO, /dev/stdin on a pipe.
            Some(path) if Path::new(path).is_file() => fs::read(path).map_err(failed),
            Some(path) => Err(refuse(&format!(
                "Configuration file '{path}' does not exist, or is not a file"
            ))),
        }
    }

    fn print(&self, text: &str) {
        self.logger.borrow_mut().raw(text.as_bytes());
    }
}

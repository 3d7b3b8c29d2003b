//! A Ruby oracle as a child process: a batch of requests in, as many answers out.

use std::{
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// A Ruby that keeps dying without a message is broken, not provoked by a request.
const DEATHS: usize = 3;

/// One oracle script under one Ruby.
pub(crate) struct Oracle {
    /// The Ruby's name, for messages.
    pub(crate) ruby: String,
    script: &'static str,
    /// The locale and the variable `X` that it starts with, for scripts that must not change their
    /// environment.
    own_environment: Option<OwnEnvironment>,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

impl Oracle {
    /// The oracle `script` (a file beside this one) under `ruby`; it starts with the first
    /// question.
    pub(crate) fn new(ruby: &str, script: &'static str) -> Self {
        Self { ruby: ruby.to_owned(), script, own_environment: None, running: None }
    }

    /// The same, in a process that really has this locale and this variable, which it decodes at
    /// its start.
    pub(crate) fn with_own_environment(mut self, environment: OwnEnvironment) -> Self {
        self.own_environment = Some(environment);
        self
    }

    /// Answers in the order of `requests`. A request that kills the oracle is answered with an
    /// error, and a new oracle takes the next.
    ///
    /// # Errors
    /// When the Ruby cannot be started, or dies every time.
    pub(crate) fn ask(&mut self, requests: &[Value]) -> anyhow::Result<Vec<Value>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut deaths = 0;
        while answers.len() < requests.len() {
            let before = answers.len();
            self.ask_until_death(&requests[before..], &mut answers)?;
            if answers.len() == requests.len() {
                break;
            }
            deaths = if answers.len() == before { deaths + 1 } else { 0 };
            if deaths == DEATHS {
                bail!(
                    "{} {} ended {DEATHS} times without an answer, the last time at {}",
                    self.ruby,
                    self.script,
                    requests[before]
                );
            }
            answers.push(json!({"error": "the oracle died", "exit": 1}));
        }
        Ok(answers)
    }

    fn ask_until_death(
        &mut self,
        requests: &[Value],
        answers: &mut Vec<Value>,
    ) -> anyhow::Result<()> {
        let (mut child, mut lines) = match self.running.take() {
            Some(running) => running,
            None => start(&self.ruby, self.script, self.own_environment)?,
        };
        let stdin = child.stdin.take().context("the oracle has no standard input")?;
        // Written on a thread of its own, because both sides would block once both pipes are full.
        let (stdin, expected) = std::thread::scope(|scope| -> anyhow::Result<_> {
            let writing = scope.spawn(move || {
                let mut writer = BufWriter::new(stdin);
                for request in requests {
                    // The reader notices an oracle that died.
                    if writeln!(writer, "{request}").is_err() {
                        break;
                    }
                }
                let _ = writer.flush();
                writer.into_parts().0
            });
            let mut read = 0;
            let mut line = String::new();
            while read < requests.len() {
                line.clear();
                if lines.read_line(&mut line)? == 0 {
                    break;
                }
                let answer = serde_json::from_str(&line)
                    .with_context(|| format!("{} {} answered {line:?}", self.ruby, self.script))?;
                answers.push(answer);
                read += 1;
            }
            let stdin = writing
                .join()
                .map_err(|_| anyhow::anyhow!("the thread that writes to the oracle panicked"))?;
            Ok((stdin, read))
        })?;
        if expected == requests.len() {
            child.stdin = Some(stdin);
            self.running = Some((child, lines));
        } else {
            drop(stdin);
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Oracle {
    /// The oracle ends when its input ends.
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// The real environment of a Ruby process.
#[derive(Clone, Copy)]
pub(crate) struct OwnEnvironment {
    /// `LC_ALL`; not set if none.
    pub(crate) locale: Option<&'static str>,
    /// `X`.
    pub(crate) x: &'static str,
}

/// Every case is different, so JRuby's compiled code is used only once: without its compiler, and
/// with the JVM's quick one, a case takes less than half the time.
const JRUBY_OPTIONS: &str = "-Xcompile.mode=OFF -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC";

fn start(
    ruby: &str,
    script: &str,
    environment: Option<OwnEnvironment>,
) -> anyhow::Result<(Child, BufReader<ChildStdout>)> {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/runner/oracle").join(script);
    let mut command = Command::new(ruby);
    command.arg(&script);
    if std::env::var_os("JRUBY_OPTS").is_none() {
        command.env("JRUBY_OPTS", JRUBY_OPTIONS);
    }
    match environment {
        // Makes Ruby read the environment as UTF-8 whatever the machine's locale is.
        None => command.env("LC_ALL", "C.UTF-8"),
        Some(OwnEnvironment { locale, x }) => {
            for variable in ["LC_ALL", "LC_CTYPE", "LANG"] {
                command.env_remove(variable);
            }
            command.arg("--as-started").env("X", x).envs(locale.map(|locale| ("LC_ALL", locale)))
        }
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{ruby}` cannot be started; install it"))?;
    let stdout = child.stdout.take().context("the oracle has no standard output")?;
    Ok((child, BufReader::new(stdout)))
}

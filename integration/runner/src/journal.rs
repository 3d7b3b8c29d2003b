//! Owns the private journal: one JSON line per event, which shows a test what a run did, or that
//! none started.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Appends events to a file, or nowhere. A clone writes to the same file.
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<PathBuf>);

impl Journal {
    /// A journal at `path`; `None` drops every event.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// `spawned`: the process exists and handles signals. Comes first, before any wait.
    pub fn spawned(&self, arguments: &[String]) {
        self.write(&json!({"event": "spawned", "argv": arguments, "pid": std::process::id()}));
    }

    /// `started`: the arguments are parsed and the configuration was read, if possible; never its
    /// text.
    pub fn started(&self, arguments: &[String], from_stdin: bool, config: Option<&[u8]>) {
        let stdin_bytes = config.filter(|_| from_stdin).map_or(0, <[u8]>::len);
        self.write(&json!({
            "event": "started",
            "argv": arguments,
            "pid": std::process::id(),
            "stdin_bytes": stdin_bytes,
            "config_sha256": config.map(sha256),
        }));
    }

    /// `request`: about to be sent. `subject` is a cluster or a bucket and prefix, `attempt` counts
    /// from 1.
    pub fn request(&self, service: &str, operation: &str, subject: &str, attempt: u32) {
        self.write(&json!({
            "event": "request",
            "service": service,
            "operation": operation,
            "subject": subject,
            "attempt": attempt,
        }));
    }

    /// `answer`: the result of the request before it; `status` is null if no response came.
    pub fn answer(&self, operation: &str, status: Option<u16>, job_flow_id: Option<&str>) {
        self.write(&json!({
            "event": "answer",
            "operation": operation,
            "status": status,
            "job_flow_id": job_flow_id,
        }));
    }

    /// `signal`: this signal ends the run, or is ignored at the test's request.
    pub fn signal(&self, signal: i32, ignored: bool) {
        self.write(&json!({"event": "signal", "signal": signal, "ignored": ignored}));
    }

    /// `exit`: the last event.
    pub fn exit(&self, code: i32) {
        self.write(&json!({"event": "exit", "code": code}));
    }

    fn write(&self, event: &Value) {
        let Some(path) = &self.0 else { return };
        // One write of one whole line: the signal thread may write at the same time.
        let line = format!("{event}\n");
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("standin-runner: journal {}: {error}", path.display());
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

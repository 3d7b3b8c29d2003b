//! Owns the data of one S3 Batch Operations job.

use serde::Serialize;
use time::OffsetDateTime;

/// A job.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its account.
    pub account: String,
    /// `New`, `Preparing`, `Suspended`, `Ready`, `Active`, `Complete`, `Failed` or `Cancelled`.
    pub status: String,
    /// The body of the request that made it.
    pub request: String,
    /// The token that identifies its repetition.
    pub token: String,
    /// Its description.
    pub description: String,
    /// Its priority.
    pub priority: i32,
    /// The ARN of the role that its tasks run under.
    pub role: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// Why it failed: code and reason.
    pub failure: Option<(String, String)>,
    /// Its tasks.
    #[serde(skip)]
    pub tasks: Vec<JobTask>,
    /// The results of the first of them.
    #[serde(skip)]
    pub done: Vec<TaskOutcome>,
}

/// One object of a job.
#[derive(Debug, Clone)]
pub struct JobTask {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version, if the manifest names one.
    pub version: Option<String>,
}

/// The result of a task: status, error code and message, as in the completion report.
#[derive(Debug, Clone)]
pub struct TaskOutcome(pub u16, pub String, pub String);

impl TaskOutcome {
    /// Whether the task succeeded.
    pub fn is_success(&self) -> bool {
        self.0 < 300
    }
}

//! Owns what is known of one S3 Batch Operations job.

use serde::Serialize;
use time::OffsetDateTime;

/// A job.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The account it is of.
    pub account: String,
    /// `New`, `Preparing`, `Suspended`, `Ready`, `Active`, `Complete`, `Failed` or `Cancelled`.
    pub status: String,
    /// The body of the request that made it.
    pub request: String,
    /// What it was told apart by from its own repetition.
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
    /// What there is to do.
    #[serde(skip)]
    pub(crate) tasks: Vec<Task>,
    /// How the first of them went.
    #[serde(skip)]
    pub(crate) done: Vec<Outcome>,
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
}

/// HTTP status, error code, message.
#[derive(Debug, Clone)]
pub(crate) struct Outcome(pub(crate) u16, pub(crate) String, pub(crate) String);

impl Outcome {
    pub(crate) fn is_success(&self) -> bool {
        self.0 < 300
    }
}

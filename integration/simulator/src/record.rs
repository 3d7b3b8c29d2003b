//! Owns the record of every request.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use emr_world::subject::Subject;

/// One request and its result.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// From 1 on.
    pub seq: u64,
    /// Simulated time of arrival.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Real milliseconds from the simulator's start to the arrival.
    pub arrived_ms: u64,
    /// Real milliseconds from the simulator's start to the reply; absent while there is none.
    pub replied_ms: Option<u64>,
    /// Its subject.
    #[serde(flatten)]
    pub subject: Subject,
    /// The caller; none: unsigned.
    pub access_key: Option<String>,
    /// The caller's account, if the access key is known.
    pub account: Option<String>,
    /// The region it was signed for.
    pub region: String,
    /// HTTP method.
    pub method: String,
    /// Path, decoded.
    pub path: String,
    /// Query parameters, decoded.
    pub query: BTreeMap<String, String>,
    /// Header names in lower case; `authorization` is cut to its credential.
    pub headers: BTreeMap<String, String>,
    /// JSON as it came; a form as an object of strings; other text as a string; else null.
    pub body: Value,
    /// HTTP status of the answer; absent when none was made.
    pub status: Option<u16>,
    /// AWS's error code, if it is an error.
    pub error_code: Option<String>,
    /// The round it came in, from 1 on, in rounds mode.
    pub round: Option<u64>,
    /// The fault applied to it, as it is written in commands.
    pub fault: Option<Value>,
}

impl Recorded {
    /// The operation's name.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.subject.operation
    }

    /// The cluster the call is about.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.subject.cluster_id.as_deref()
    }
}

//! An S3 Batch Operations job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job of S3 Batch Operations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Job {
    /// Its id.
    pub(crate) id: String,
    /// Its status in S3: a `New` job soon waits for its confirmation, with status `Suspended`.
    pub(crate) status: String,
    /// The number of its objects; none while S3 has not listed them yet.
    pub(crate) objects: Option<u64>,
    /// The number of completed objects, as S3 reports it.
    pub(crate) succeeded: u64,
    /// Those that failed.
    pub(crate) failed: u64,
    /// S3's failure messages.
    pub(crate) failures: Vec<String>,
    /// Where S3 stores the generated manifest; none where the guard wrote it.
    pub(crate) generated_manifest: Option<String>,
}

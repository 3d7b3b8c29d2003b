//! An S3 Batch Operations job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job of S3 Batch Operations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Job {
    /// Its id.
    pub(crate) id: String,
    /// S3's word for how far it is: one that is `New` soon waits for its confirmation, as
    /// `Suspended` says.
    pub(crate) status: String,
    /// Its objects; none where S3 is yet to list them.
    pub(crate) objects: Option<u64>,
    /// Those that are done, by S3's word.
    pub(crate) succeeded: u64,
    /// Those that failed.
    pub(crate) failed: u64,
    /// What S3 says of failures.
    pub(crate) failures: Vec<String>,
    /// Where S3 keeps the manifest that it has made; none where the guard wrote it.
    pub(crate) generated_manifest: Option<String>,
}

//! What `setup` has made and changed: the part of its report from which `setup --undo` takes it
//! back. And what came of taking it back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::setup::piece::Piece;

/// The version of the form of [`SetupRecord`].
pub(crate) const RECORD_VERSION: u32 = 1;

/// Everything that one `setup --apply` did, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SetupRecord {
    /// [`RECORD_VERSION`].
    pub(crate) version: u32,
    /// The start of the names of everything that was made.
    pub(crate) name: String,
    /// The account.
    pub(crate) account: String,
    /// The region of clusters, keys and security configurations.
    pub(crate) region: String,
    /// When it started, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When it ended, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) finished: OffsetDateTime,
    /// The steps, in the order in which they were carried out.
    pub(crate) steps: Vec<AppliedStep>,
    /// The security configuration that the runner config has to name.
    pub(crate) security_configuration: Option<String>,
}

/// One step that was carried out, or failed after a change was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AppliedStep {
    /// The piece as it should be, with the ARN of the key in place of its placeholder.
    pub(crate) piece: Piece,
    /// What was done.
    pub(crate) action: AppliedAction,
    /// The settings before, in the form of the same field of the piece; none if there were none.
    pub(crate) before: Option<Value>,
    /// How AWS identifies what was made.
    pub(crate) made: MadeIds,
    /// The calls that changed something, in order.
    pub(crate) calls: Vec<AppliedCall>,
    /// When it ended, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) at: OffsetDateTime,
    /// Whether the piece was read again afterwards and is as it should be.
    pub(crate) verified: bool,
    /// Why the step is not complete; none if it is.
    pub(crate) error: Option<String>,
}

/// What was done about a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AppliedAction {
    /// It was made.
    Create,
    /// It was changed.
    Change,
    /// It was as it should be when it was looked at again. Nothing was changed.
    Found,
}

/// How AWS identifies what was made, as far as that is not the piece's own name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MadeIds {
    /// The ARN of a role, an instance profile or a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arn: Option<String>,
    /// The ETag of an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
    /// The version of an object, in a bucket that keeps versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

impl MadeIds {
    /// The same with what `other` knows in addition.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            arn: other.arn.or(self.arn),
            etag: other.etag.or(self.etag),
            version: other.version.or(self.version),
        }
    }
}

/// A call that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AppliedCall {
    /// The API's name of the call, `CreateRole`.
    pub(crate) operation: String,
    /// AWS's id of the request; none if no answer came.
    pub(crate) request: Option<String>,
}

/// What came of taking back one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UndoneStep {
    /// The piece.
    pub(crate) piece: Piece,
    /// What came of it.
    pub(crate) result: UndoResult,
    /// The calls that changed something, in order.
    pub(crate) calls: Vec<AppliedCall>,
    /// When it ended, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) at: OffsetDateTime,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(crate) enum UndoResult {
    /// It was taken back, and looked at afterwards.
    Undone {
        /// What of it stays, and why: statements that somebody changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stays: Option<String>,
    },
    /// It was not there any more, or nothing of it.
    Gone,
    /// It stays.
    Kept {
        /// Why.
        why: String,
    },
    /// It stays, because it is not known whether it can be taken back.
    Unknown {
        /// Why not.
        why: String,
    },
    /// AWS refused, or the change cannot be seen.
    Failed {
        /// Why.
        why: String,
    },
}

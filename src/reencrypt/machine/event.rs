//! The inputs (events) and outputs (actions) of the repair of one object.

use crate::reencrypt::machine::{
    choice::{LeaveReason, RepairMethod},
    snapshot::{ObjectLock, Snapshot},
    state::RepairState,
};

/// An object that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedObject {
    /// All its properties.
    pub snapshot: Snapshot,
    /// It is not encrypted as required.
    pub offends: bool,
    /// What a multipart copy would lose of it.
    pub loss: Option<LeaveReason>,
    /// S3's time in the response, in milliseconds since 1970.
    pub now: i64,
}

/// A look's answer.
#[derive(Clone, Debug)]
pub enum LookAnswer<O> {
    /// It is there.
    Seen(Box<ObservedObject>),
    /// There is no such object or version, or it is a delete marker.
    Absent,
    /// The look-up failed.
    Failed(O),
}

/// A version, or a delete marker, in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its id.
    pub id: String,
    /// It is a delete marker.
    pub is_marker: bool,
}

/// An unfinished multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// Its id.
    pub id: String,
    /// When it was created, in milliseconds since 1970.
    pub initiated: i64,
}

/// What S3 returned about the result of a call; each field is none where S3 did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeObject {
    /// The new version.
    pub version: Option<String>,
    /// The copied version: `x-amz-copy-source-version-id`.
    pub source: Option<String>,
    /// The new object's `ETag`, with its quotes.
    pub etag: Option<String>,
    /// Its last modification, in milliseconds since 1970.
    pub modified: Option<i64>,
    /// The new upload.
    pub upload: Option<String>,
}

/// The result of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// S3 reports success.
    Done(MadeObject),
    /// A precondition failed, or the target no longer exists.
    Changed,
    /// The upload no longer exists.
    NoUpload,
    /// Unknown: it may have taken effect, or may do so later.
    Unclear(String),
    /// S3 throttled the call; it may have taken effect all the same.
    SlowDown,
    /// It did not take effect.
    Refused(String),
}

/// An event.
#[derive(Clone, Debug)]
pub enum RepairEvent<O> {
    /// The repair begins.
    Started,
    /// An action without a response has finished: a wait, a change of the ledger.
    Over,
    /// The response to a look-up.
    Looked(LookAnswer<O>),
    /// The versions and delete markers of exactly this key, the newest first.
    Listed(Result<Vec<ListedVersion>, O>),
    /// The unfinished uploads of exactly this key.
    Uploads(Result<Vec<UnfinishedUpload>, O>),
    /// The response to a call.
    Answered(CallAnswer),
}

/// The parameters of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOrder {
    /// The object's state: its `ETag` as a precondition, and the properties that the request must
    /// set again because a copy would lose them.
    pub before: Box<Snapshot>,
    /// The lock to set again: the part that is still in force by S3's time.
    pub lock: ObjectLock,
    /// Whether to send `If-Match` for the object that is overwritten.
    pub if_match: bool,
    /// The source's version; none: the current one.
    pub source: Option<String>,
}

/// The next action.
#[derive(Clone, Debug, PartialEq)]
pub enum RepairAction<O> {
    /// Wait until the rate limit allows one more object, and this many bytes.
    Wait(u64),
    /// Look up this version; none: the current object.
    Look(Option<String>),
    /// List the versions and delete markers of exactly this key.
    List,
    /// List the unfinished uploads of exactly this key.
    ListUploads,
    /// Write this to the ledger.
    Write(RepairState),
    /// Remove its entry from the ledger.
    Forget,
    /// `CopyObject` onto itself.
    Copy(CopyOrder),
    /// `UpdateObjectEncryption` of this version.
    Update(Option<String>),
    /// `CreateMultipartUpload`, with all properties of the object.
    CreateUpload(CopyOrder),
    /// `UploadPartCopy` of every missing part.
    CopyParts(String, CopyOrder),
    /// `CompleteMultipartUpload`; true: with the checksum of each part.
    Complete(String, CopyOrder, bool),
    /// `AbortMultipartUpload`.
    Abort(String),
    /// `DeleteObject` of exactly this version.
    Delete(String),
    /// `RestoreObject`.
    Restore(Option<String>),
    /// Wait before the next try; longer with each try.
    BackOff(u32),
    /// It is over.
    End(RepairEnd<O>),
}

/// What happens to the version that a copy replaced, if it is not as required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplacedVersion {
    /// It is removed at the end of this run.
    ToPurge,
    /// It stays.
    Left(LeaveReason),
}

/// The result of an object's repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairEnd<O> {
    /// It is encrypted as requested, and all its properties were kept.
    Done(RepairMethod, Option<ReplacedVersion>),
    /// An old version was removed.
    Purged,
    /// Its restore was requested.
    Restoring,
    /// There was nothing to do: it is as required, or it no longer exists.
    Nothing,
    /// It remains unchanged.
    Left(LeaveReason),
    /// Another writer changed it meanwhile: the next run decides again.
    Changed,
    /// The copy lacks properties of the original, and could not be removed.
    Damaged {
        /// The lost properties, in words.
        losses: Vec<String>,
        /// Its encryption differs from the requested one, which is one of the losses.
        encryption_differs: bool,
    },
    /// It is not done.
    Failed(String),
    /// This multipart upload could not be aborted.
    UploadLeft(String),
    /// The look-up failed.
    Unseen(O),
}

//! What goes in and out of the repair of one object.

use crate::reencrypt::machine::{
    choice::{LeaveReason, RepairMethod},
    snapshot::{ObjectLock, Snapshot},
    state::RepairState,
};

/// An object that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedObject {
    /// All that it carries.
    pub snapshot: Snapshot,
    /// It is not encrypted as it should be.
    pub offends: bool,
    /// What a copy in parts would lose of it.
    pub loss: Option<LeaveReason>,
    /// S3's own time of the answer, in milliseconds since 1970.
    pub now: i64,
}

/// A look's answer.
#[derive(Clone, Debug)]
pub enum LookAnswer<O> {
    /// It is there.
    Seen(Box<ObservedObject>),
    /// There is no such object or version, or it is a delete marker.
    Absent,
    /// It could not be looked at.
    Failed(O),
}

/// A version, or a delete marker, in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its id.
    pub id: String,
    /// It is a delete marker.
    pub is_marker: bool,
}

/// An upload in parts that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// Its id.
    pub id: String,
    /// When it began, in milliseconds since 1970.
    pub initiated: i64,
}

/// What S3 said of what a call made; none of it where S3 did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeObject {
    /// The version that it made.
    pub version: Option<String>,
    /// The version that was copied: `x-amz-copy-source-version-id`.
    pub source: Option<String>,
    /// The new object's `ETag`, with its quotes.
    pub etag: Option<String>,
    /// Its date, in milliseconds since 1970.
    pub modified: Option<i64>,
    /// The upload that was begun.
    pub upload: Option<String>,
}

/// What one call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// S3 says that it is done.
    Done(MadeObject),
    /// A precondition failed, or what it is about is gone.
    Changed,
    /// There is no such upload any more.
    NoUpload,
    /// It may have been done or not, or be done later.
    Unclear(String),
    /// S3 asked to slow down; it may have been done all the same.
    SlowDown,
    /// It is not done.
    Refused(String),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum RepairEvent<O> {
    /// The repair begins.
    Started,
    /// What had no answer of its own is over: a wait, a change of the ledger.
    Over,
    /// A look was answered.
    Looked(LookAnswer<O>),
    /// The versions and delete markers of exactly this key, the newest first.
    Listed(Result<Vec<ListedVersion>, O>),
    /// The unfinished uploads of exactly this key.
    Uploads(Result<Vec<UnfinishedUpload>, O>),
    /// A call was answered.
    Answered(CallAnswer),
}

/// What a copy is sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOrder {
    /// What it must be when it is copied, by its `ETag`, and what is restated because a copy would
    /// lose it.
    pub before: Box<Snapshot>,
    /// The lock to restate: as far as it is in force by S3's time.
    pub lock: ObjectLock,
    /// `If-Match` on what is overwritten.
    pub if_match: bool,
    /// The source's version; none: whatever is current.
    pub source: Option<String>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum RepairAction<O> {
    /// Wait until the pace lets one more object, and so many bytes, go on.
    Wait(u64),
    /// Look at this version; none: at the current object.
    Look(Option<String>),
    /// List the versions and delete markers of exactly this key.
    List,
    /// List the unfinished uploads of exactly this key.
    ListUploads,
    /// Write this into the ledger.
    Write(RepairState),
    /// Forget it in the ledger.
    Forget,
    /// `CopyObject` onto itself.
    Copy(CopyOrder),
    /// `UpdateObjectEncryption` of this version.
    Update(Option<String>),
    /// `CreateMultipartUpload`, with all that the object carries.
    CreateUpload(CopyOrder),
    /// `UploadPartCopy` of every part that is not there yet.
    CopyParts(String, CopyOrder),
    /// `CompleteMultipartUpload`; true: with each part's own checksum.
    Complete(String, CopyOrder, bool),
    /// `AbortMultipartUpload`.
    Abort(String),
    /// `DeleteObject` of exactly this version.
    Delete(String),
    /// `RestoreObject`.
    Restore(Option<String>),
    /// Wait a while, longer with each try.
    BackOff(u32),
    /// It is over.
    End(RepairEnd<O>),
}

/// What happens to the version that a copy has replaced, and that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplacedVersion {
    /// It is removed at the end of this run.
    ToPurge,
    /// It stays.
    Left(LeaveReason),
}

/// How an object's repair ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairEnd<O> {
    /// It is encrypted as asked, and everything was kept.
    Done(RepairMethod, Option<ReplacedVersion>),
    /// An old version was removed.
    Purged,
    /// Its restore was asked for.
    Restoring,
    /// There was nothing to do: it is as it should be, or it is gone.
    Nothing,
    /// It stays as it is.
    Left(LeaveReason),
    /// Another writer changed it meanwhile: the next run judges it anew.
    Changed,
    /// The copy is not all that it was made of, and could not be taken back.
    Damaged {
        /// What it lacks, in words.
        losses: Vec<String>,
        /// It is encrypted otherwise than asked, which is one of them.
        encryption_differs: bool,
    },
    /// It is not done.
    Failed(String),
    /// This upload in parts could not be aborted.
    UploadLeft(String),
    /// It could not be looked at.
    Unseen(O),
}

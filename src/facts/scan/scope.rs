//! What a scan covers, and what it gives.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    base::{
        lookup::Lookup,
        names::{BucketName, S3Location},
    },
    facts::stored::StoredEncryption,
};

/// An object, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its bucket.
    pub(crate) bucket: Arc<BucketName>,
    /// Its key.
    pub(crate) key: String,
    /// Which version, where versions are listed; `null` is the one from before versioning.
    pub(crate) version_id: Option<String>,
    /// Whether this is what a GET without a version gives.
    pub(crate) is_latest: bool,
    /// A delete marker: it holds nothing.
    pub(crate) is_delete_marker: bool,
    /// In bytes.
    pub(crate) size: u64,
    /// As S3 writes it, with its quotes.
    pub(crate) etag: Option<String>,
    /// When it was written.
    pub(crate) modified: Option<OffsetDateTime>,
    /// `STANDARD`, `GLACIER`, …
    pub(crate) storage_class: Option<String>,
    /// How it is encrypted; `Absent` for what has been deleted since it was listed, and for what
    /// holds nothing and is not asked (see `holds_data`).
    pub(crate) stored: Lookup<StoredEncryption>,
}

impl Object {
    /// Whether there is anything to encrypt: delete markers and empty objects, such as folder
    /// markers, hold nothing.
    pub(crate) fn holds_data(&self) -> bool {
        !self.is_delete_marker && self.size > 0
    }
}

/// Where a list stands: behind this key, and where versions are listed, behind this version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListPosition {
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// A range of keys below a location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Split {
    /// It begins behind this position; none: with the first key.
    pub(crate) after: Option<ListPosition>,
    /// It ends with this key; none: with the last key.
    pub(crate) until: Option<String>,
}

/// What to scan.
#[derive(Clone, Debug)]
pub(crate) struct ScanScope {
    pub(crate) location: S3Location,
    /// All versions and delete markers, not only what is current.
    pub(crate) versions: bool,
    /// Objects from before this time, by S3's clock, are listed but not asked.
    pub(crate) since: Option<OffsetDateTime>,
    /// What begins with one of these is left out: it belongs to a scope of its own.
    pub(crate) except: Vec<String>,
}

impl ScanScope {
    /// Whether an object is asked how it is encrypted. One without a time may be of any.
    pub(crate) fn asks(&self, object: &Object) -> bool {
        object.holds_data() && !self.is_earlier(object)
    }

    /// Whether an object is from before the time that is asked about.
    pub(crate) fn is_earlier(&self, object: &Object) -> bool {
        self.since.zip(object.modified).is_some_and(|(since, modified)| modified < since)
    }
}

/// One page of one split, all of its objects asked.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Which of the splits.
    pub(crate) split: usize,
    /// In the order of the list.
    pub(crate) objects: Vec<Object>,
    /// How far this split has come with these objects.
    pub(crate) reached: SplitProgress,
}

/// How far a split has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SplitProgress {
    /// Behind this position.
    Position(ListPosition),
    /// Its end.
    End,
    /// No further: its list could not be read. `Absent`: no such bucket.
    Stopped(Lookup<()>),
}

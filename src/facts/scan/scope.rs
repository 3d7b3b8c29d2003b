//! The scope of a scan, and the objects that it returns.

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
    /// The version, if versions are listed; `null` is the one from before versioning.
    pub(crate) version_id: Option<String>,
    /// Whether a GET without a version returns it.
    pub(crate) is_latest: bool,
    /// Whether it is a delete marker, which has no content.
    pub(crate) is_delete_marker: bool,
    /// The size in bytes.
    pub(crate) size: u64,
    /// The ETag as S3 writes it, with its quotes.
    pub(crate) etag: Option<String>,
    /// When it was written.
    pub(crate) modified: Option<OffsetDateTime>,
    /// The storage class: `STANDARD`, `GLACIER`, …
    pub(crate) storage_class: Option<String>,
    /// Its encryption. `Absent` if it was deleted after it was listed, and for objects without
    /// content, which are not read (see `holds_data`).
    pub(crate) stored: Lookup<StoredEncryption>,
}

impl Object {
    /// Whether it has content to encrypt. Delete markers and empty objects, such as folder markers,
    /// have none.
    pub(crate) fn holds_data(&self) -> bool {
        !self.is_delete_marker && self.size > 0
    }
}

/// A position in a list: after this key, and if versions are listed, after this version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListPosition {
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// A range of keys below a location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Split {
    /// It starts after this position; none: at the first key.
    pub(crate) after: Option<ListPosition>,
    /// It ends with this key; none: at the last key.
    pub(crate) until: Option<String>,
}

/// What to scan.
#[derive(Clone, Debug)]
pub(crate) struct ScanScope {
    pub(crate) location: S3Location,
    /// Whether all versions and delete markers are listed, not only the current objects.
    pub(crate) versions: bool,
    /// Objects that are older than this time, by S3's clock, are listed but not read.
    pub(crate) since: Option<OffsetDateTime>,
    /// Keys with one of these prefixes are left out, because they belong to another scope.
    pub(crate) except: Vec<String>,
}

impl ScanScope {
    /// Whether an object's encryption is read. An object without a time may be new.
    pub(crate) fn asks(&self, object: &Object) -> bool {
        object.holds_data() && !self.is_earlier(object)
    }

    /// Whether an object is older than the given time.
    pub(crate) fn is_earlier(&self, object: &Object) -> bool {
        self.since.zip(object.modified).is_some_and(|(since, modified)| modified < since)
    }
}

/// One page of one split, after all of its objects were read.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The number of the split.
    pub(crate) split: usize,
    /// The objects in the order of the list.
    pub(crate) objects: Vec<Object>,
    /// The split's position after these objects.
    pub(crate) reached: SplitProgress,
}

/// The progress of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SplitProgress {
    /// Up to this position.
    Position(ListPosition),
    /// The end.
    End,
    /// It stopped, because its list could not be read. `Absent`: the bucket does not exist.
    Stopped(Lookup<()>),
}

//! One object, as an audit counts it.

use time::OffsetDateTime;

use crate::facts::stored::StoredEncryption;

/// One row of an inventory: an object, or one version of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectRow<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) version_id: Option<&'a str>,
    pub(crate) is_latest: bool,
    pub(crate) is_delete_marker: bool,
    pub(crate) size: u64,
    pub(crate) modified: Option<OffsetDateTime>,
    pub(crate) etag: Option<&'a str>,
    pub(crate) storage_class: Option<&'a str>,
    /// None if the inventory does not contain it.
    pub(crate) stored: Option<&'a StoredEncryption>,
}

impl<'a> ObjectRow<'a> {
    pub(crate) fn seen(&self, stored: &'a StoredEncryption) -> SeenObject<'a> {
        SeenObject {
            bucket: self.bucket,
            key: self.key,
            version_id: self.version_id,
            is_latest: self.is_latest,
            size: self.size,
            etag: self.etag,
            modified: self.modified,
            storage_class: self.storage_class,
            stored,
        }
    }
}

/// An object as its source describes it, borrowed for the time of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenObject<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) version_id: Option<&'a str>,
    pub(crate) is_latest: bool,
    pub(crate) size: u64,
    pub(crate) etag: Option<&'a str>,
    pub(crate) modified: Option<OffsetDateTime>,
    pub(crate) storage_class: Option<&'a str>,
    pub(crate) stored: &'a StoredEncryption,
}

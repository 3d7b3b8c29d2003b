//! The address of one version of an object.

use serde::{Deserialize, Serialize};

use crate::base::printable::Printable;

/// One object, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ObjectId {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// The version that is meant; none: whatever is current in a bucket without versions.
    pub(crate) version: Option<String>,
}

impl ObjectId {
    pub(crate) fn name(&self) -> Vec<u8> {
        // No bucket, key or version holds this byte.
        [self.bucket.as_str(), self.key.as_str(), self.version.as_deref().unwrap_or_default()]
            .join("\0")
            .into_bytes()
    }

    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(name).ok()?.split('\0').map(str::to_owned);
        Some(Self {
            bucket: parts.next()?,
            key: parts.next()?,
            version: parts.next().filter(|version| !version.is_empty()),
        })
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, shown(&self.key))?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " (version {version})"))
    }
}

/// A key, or another text of S3's, as people may read it.
pub(crate) fn shown(key: &str) -> Printable {
    key.into()
}

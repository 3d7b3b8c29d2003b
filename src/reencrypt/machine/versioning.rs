//! The versioning of a bucket.

use serde::{Deserialize, Serialize};

/// The versioning of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versioning {
    /// It never had versions: an overwritten or deleted object is lost.
    Unversioned,
    /// Every write creates a version with an id of its own.
    Enabled,
    /// It had versions, and may still contain some; a write replaces the version `null`.
    Suspended,
}

impl Versioning {
    /// From the status in GetBucketVersioning; a bucket that never had versions has none. An
    /// unknown status may mean versions.
    pub fn of_status(status: Option<&str>) -> Self {
        match status {
            None => Self::Unversioned,
            Some("Suspended") => Self::Suspended,
            Some(_) => Self::Enabled,
        }
    }

    /// Whether the bucket can contain versions.
    pub const fn has_versions(self) -> bool {
        !matches!(self, Self::Unversioned)
    }
}

impl std::fmt::Display for Versioning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unversioned => "never enabled",
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        })
    }
}

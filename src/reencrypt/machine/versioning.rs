//! Whether a bucket keeps versions of its objects.

use serde::{Deserialize, Serialize};

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versioning {
    /// It never had versions: what is overwritten or deleted is gone.
    Unversioned,
    /// Every write makes a version with an id of its own.
    Enabled,
    /// It had versions, and may hold some; a write replaces the version `null`.
    Suspended,
}

impl Versioning {
    /// By the status of GetBucketVersioning; a bucket that never had versions has none. A status
    /// that is not known may mean versions.
    pub fn of_status(status: Option<&str>) -> Self {
        match status {
            None => Self::Unversioned,
            Some("Suspended") => Self::Suspended,
            Some(_) => Self::Enabled,
        }
    }

    /// Whether the bucket can hold versions.
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

//! Why an inventory cannot be used.

use crate::base::lookup::{LookupError, LookupErrorKind};

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    #[error("{place}: {why}")]
    Fetch {
        place: String,
        why: String,
        /// What kept S3 from being asked, where it was.
        obstacle: Option<Box<LookupError>>,
    },
    #[error("{manifest} is not an inventory manifest: {why}")]
    Manifest { manifest: String, why: String },
    #[error(
        "{manifest}: the inventory has no field {field}, only {has}; add it to the bucket's \
         inventory configuration (optional fields) and wait for the next one, or audit without \
         --inventory"
    )]
    Field { manifest: String, field: &'static str, has: String },
    #[error(
        "{file}: its MD5 is {seen}, and the manifest says {wanted}: it was changed or cut off; \
         bring it again"
    )]
    Checksum { file: String, seen: String, wanted: String },
    #[error("{file}: {why}")]
    File { file: String, why: String },
}

impl InventoryError {
    /// A file that could not be brought.
    pub(super) fn fetch(place: String, why: impl Into<FetchFailure>) -> Self {
        let FetchFailure { why, obstacle } = why.into();
        Self::Fetch { place, why, obstacle }
    }
}

/// Why a file could not be brought.
pub(super) struct FetchFailure {
    why: String,
    obstacle: Option<Box<LookupError>>,
}

impl From<String> for FetchFailure {
    fn from(why: String) -> Self {
        Self { why, obstacle: None }
    }
}

impl From<LookupError> for FetchFailure {
    fn from(obstacle: LookupError) -> Self {
        let why = match obstacle.kind {
            LookupErrorKind::Denied => {
                format!("{}; allow {}", obstacle.message, obstacle.operation)
            }
            _ => obstacle.message.clone(),
        };
        Self { why, obstacle: Some(Box::new(obstacle)) }
    }
}

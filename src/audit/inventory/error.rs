//! Why an inventory cannot be used.

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    #[error("{place}: {why}")]
    Fetch { place: String, why: String },
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

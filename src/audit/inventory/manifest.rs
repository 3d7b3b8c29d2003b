//! The content of an inventory's `manifest.json`, and the inventory's location.

use std::path::PathBuf;

use serde::Deserialize;

/// Size limit of a manifest in bytes. A manifest has one line for each file; a larger one is
/// refused.
pub(super) const LARGEST_MANIFEST: u64 = 64 << 20;

/// The formats of an inventory's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Format {
    #[serde(rename = "CSV")]
    Csv,
    #[serde(rename = "ORC")]
    Orc,
    Parquet,
}

/// The content of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) source_bucket: String,
    pub(super) destination_bucket: String,
    /// Milliseconds since 1970.
    pub(super) creation_timestamp: String,
    pub(super) file_format: Format,
    pub(super) file_schema: String,
    pub(super) files: Vec<Listed>,
}

/// A file of the inventory, as the manifest lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    #[serde(rename = "MD5checksum")]
    pub(super) md5: String,
}

/// Where an inventory is stored.
#[derive(Debug)]
pub(super) enum InventoryLocation {
    /// In the destination bucket that the manifest names.
    S3,
    /// On the local disk, beside this manifest.
    Local(PathBuf),
}

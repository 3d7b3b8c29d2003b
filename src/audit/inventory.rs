//! S3 Inventory: the manifest, its files, and their rows, however many there are, in constant
//! memory.
//!
//! A file is brought to the disk, held against the checksum in the manifest, and only then read:
//! what was cut off or changed on the way counts nowhere. Source: Amazon S3 user guide, Amazon S3
//! Inventory (manifest files, fields).

mod columns;
pub(crate) mod error;
mod files;
mod kinds;
mod limits;
mod manifest;
mod orc_limits;
mod parquet_limits;
pub mod read;
mod text;

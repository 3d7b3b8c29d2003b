//! S3 Inventory: the manifest, its files and their rows, read in constant memory whatever their
//! number.
//!
//! A file is downloaded to the disk and compared with the checksum in the manifest before it is
//! read. A file that was cut off or changed on the way is never counted. Source: Amazon S3 user
//! guide, Amazon S3 Inventory (manifest files, fields).

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

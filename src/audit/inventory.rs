//! S3 Inventory: the manifest, its files, and their rows, however many there are, in constant
//! memory.
//!
//! A file is brought to the disk, held against the checksum in the manifest, and only then read:
//! what was cut off or changed on the way counts nowhere. Source: Amazon S3 user guide, Amazon S3
//! Inventory (manifest files, fields).

mod columns;
mod files;
mod kinds;
mod text;

use std::path::PathBuf;

use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    audit::{inventory::kinds::ROWS_AT_ONCE, object_row::Row, source::InventorySource},
    aws::clients::Aws,
    base::names::BucketName,
};

/// A manifest has a line for each file; more than this is none.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    #[error("{place}: {why}")]
    Fetch { place: String, why: String },
    #[error("{manifest} is no manifest of an inventory: {why}")]
    Manifest { manifest: String, why: String },
    #[error(
        "{manifest}: the inventory has no field {field}, only {has}; add it to the bucket's inventory configuration (optional fields) and wait for the next one, or audit without --inventory"
    )]
    Field { manifest: String, field: &'static str, has: String },
    #[error(
        "{file}: its MD5 is {seen}, and the manifest says {wanted}: it was changed or cut off; bring it again"
    )]
    Checksum { file: String, seen: String, wanted: String },
    #[error("{file}: {why}")]
    File { file: String, why: String },
}

/// The forms of an inventory's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Format {
    #[serde(rename = "CSV")]
    Csv,
    #[serde(rename = "ORC")]
    Orc,
    Parquet,
}

/// `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    source_bucket: String,
    destination_bucket: String,
    /// Milliseconds since 1970.
    creation_timestamp: String,
    file_format: Format,
    file_schema: String,
    files: Vec<Listed>,
}

/// A file of the inventory, as the manifest lists it.
#[derive(Debug, Deserialize)]
struct Listed {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

/// An inventory whose manifest was read.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// As it was named.
    name: String,
    bucket: BucketName,
    place: Place,
    manifest: Manifest,
    created: OffsetDateTime,
}

/// Where an inventory lies.
#[derive(Debug)]
enum Place {
    /// In the bucket that the manifest names.
    S3,
    /// Around this local manifest.
    Local(PathBuf),
}

impl Inventory {
    /// Reads the manifest, `s3://…/manifest.json` or a local file.
    pub(crate) async fn open(aws: &Aws, name: &str) -> Result<Self, InventoryError> {
        let (bytes, place) = files::manifest(aws, name).await?;
        let no_manifest = |why: String| InventoryError::Manifest { manifest: name.to_owned(), why };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| no_manifest(error.to_string()))?;
        let bucket = manifest
            .source_bucket
            .parse()
            .map_err(|error| no_manifest(format!("its sourceBucket {error}")))?;
        let milliseconds: i128 = manifest
            .creation_timestamp
            .parse()
            .map_err(|_| no_manifest("its creationTimestamp is no number".to_owned()))?;
        let created = OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000);
        let created =
            created.map_err(|_| no_manifest("its creationTimestamp is no time".to_owned()))?;
        if manifest.file_format == Format::Csv {
            // Without these there is no use in bringing the files.
            text::Fields::of(&manifest.file_schema)
                .map_err(|field| missing(name, field, &manifest.file_schema))?;
        }
        Ok(Self { name: name.to_owned(), bucket, place, manifest, created })
    }

    /// Whose objects it lists.
    pub(crate) fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// How many files it has.
    pub(crate) fn files(&self) -> usize {
        self.manifest.files.len()
    }

    /// What the report says of it.
    pub(crate) fn source(&self, now: OffsetDateTime, rows: u64) -> InventorySource {
        InventorySource {
            manifest: self.name.clone(),
            format: match self.manifest.file_format {
                Format::Csv => "CSV",
                Format::Orc => "ORC",
                Format::Parquet => "Parquet",
            }
            .to_owned(),
            bucket: self.bucket().to_string(),
            created: self.created,
            age_seconds: (now - self.created).whole_seconds(),
            rows,
        }
    }

    /// Reads all rows; `seen` is told of each, `done` of how many were read since it was last told,
    /// and of files that are done.
    pub(crate) async fn read(
        &self,
        aws: &Aws,
        mut seen: impl FnMut(&Row<'_>),
        mut done: impl FnMut(u64, bool),
    ) -> Result<(), InventoryError> {
        for listed in &self.manifest.files {
            let file =
                files::fetch(aws, &self.place, &self.manifest.destination_bucket, listed).await?;
            let unreadable = |why: String| InventoryError::File { file: listed.key.clone(), why };
            let mut rows = match self.manifest.file_format {
                Format::Csv => Rows::Text(Box::new(
                    text::Rows::open(file.into_file(), &self.manifest.file_schema)
                        .map_err(|field| missing(&self.name, field, &self.manifest.file_schema))?,
                )),
                Format::Orc => Rows::Columns(
                    columns::Rows::orc(file.into_file())
                        .map_err(|error| self.explained(error, &listed.key))?,
                ),
                Format::Parquet => Rows::Columns(
                    columns::Rows::parquet(file.into_file())
                        .map_err(|error| self.explained(error, &listed.key))?,
                ),
            };
            loop {
                let read = match &mut rows {
                    Rows::Text(rows) => rows.next(ROWS_AT_ONCE, &mut seen).map_err(unreadable)?,
                    Rows::Columns(rows) => rows.next(&mut seen).map_err(unreadable)?,
                };
                let Some(read) = read else { break };
                done(read, false);
                // Signals and the rest have their turn.
                tokio::task::yield_now().await;
            }
            done(0, true);
        }
        Ok(())
    }

    fn explained(&self, error: columns::ColumnsError, file: &str) -> InventoryError {
        match error {
            columns::ColumnsError::Field(field, has) => missing(&self.name, field, &has),
            columns::ColumnsError::Unreadable(why) => {
                InventoryError::File { file: file.to_owned(), why }
            }
        }
    }
}

fn missing(manifest: &str, field: &'static str, has: &str) -> InventoryError {
    InventoryError::Field { manifest: manifest.to_owned(), field, has: has.to_owned() }
}

enum Rows {
    Text(Box<text::Rows>),
    Columns(columns::Rows),
}

//! Reads an inventory: its manifest first, then the rows of its files.

use std::fs::File;

use time::OffsetDateTime;

use crate::{
    audit::{
        inventory::{
            columns,
            error::InventoryError,
            files,
            kinds::ROWS_AT_ONCE,
            manifest::{Format, InventoryLocation, Manifest},
            text,
        },
        object_row::ObjectRow,
        source::InventorySource,
    },
    aws::clients::Aws,
    base::names::BucketName,
};

/// Size limit of a schema in bytes. The schema of ORC or Parquet is longer than twenty field names,
/// and takes about one kilobyte.
const LONGEST_SCHEMA: usize = 64 << 10;

/// An inventory whose manifest has been read.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// The name that the user gave.
    name: String,
    bucket: BucketName,
    place: InventoryLocation,
    manifest: Manifest,
    created: OffsetDateTime,
}

impl Inventory {
    /// Reads the manifest, from `s3://…/manifest.json` or a local file.
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
        let created = milliseconds
            .checked_mul(1_000_000)
            .and_then(|nanoseconds| OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok())
            .ok_or_else(|| no_manifest("its creationTimestamp is no time".to_owned()))?;
        if manifest.file_schema.len() > LONGEST_SCHEMA {
            return Err(no_manifest(format!(
                "its fileSchema has {} bytes, and S3's has {LONGEST_SCHEMA} at most",
                manifest.file_schema.len()
            )));
        }
        if manifest.file_format == Format::Csv {
            // Without these fields the files are of no use, so they are not downloaded.
            text::Fields::of(&manifest.file_schema)
                .map_err(|field| missing(name, field, &manifest.file_schema))?;
        }
        Ok(Self { name: name.to_owned(), bucket, place, manifest, created })
    }

    /// The bucket whose objects the inventory lists.
    pub(crate) fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The number of its files.
    pub(crate) fn files(&self) -> usize {
        self.manifest.files.len()
    }

    /// The inventory's entry in the report.
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

    /// Reads all rows. `seen` gets each row. `done` gets how many rows were read since its last
    /// call, and how many files are complete.
    pub(crate) async fn read(
        &self,
        aws: &Aws,
        mut seen: impl FnMut(&ObjectRow<'_>),
        mut done: impl FnMut(u64, bool),
    ) -> Result<(), InventoryError> {
        for listed in &self.manifest.files {
            let file =
                files::fetch(aws, &self.place, &self.manifest.destination_bucket, listed).await?;
            let unreadable = |why: String| InventoryError::File { file: listed.key.clone(), why };
            let (format, schema) = (self.manifest.file_format, &self.manifest.file_schema);
            let mut rows = InventoryRows::open(format, file.into_file(), schema)
                .map_err(|error| self.explained(error, &listed.key))?;
            while let Some(read) = rows.next(&mut seen).map_err(unreadable)? {
                done(read, false);
                // Signals and other tasks get their turn.
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

/// The rows of one file.
enum InventoryRows {
    Text(Box<text::TextRows>),
    Columns(columns::ColumnRows),
}

impl InventoryRows {
    fn open(format: Format, file: File, schema: &str) -> Result<Self, columns::ColumnsError> {
        Ok(match format {
            Format::Csv => Self::Text(Box::new(
                text::TextRows::open(file, schema)
                    .map_err(|field| columns::ColumnsError::Field(field, schema.to_owned()))?,
            )),
            Format::Orc => Self::Columns(columns::ColumnRows::orc(file)?),
            Format::Parquet => Self::Columns(columns::ColumnRows::parquet(file)?),
        })
    }

    /// Reads some rows and returns their number; none at the end.
    fn next(&mut self, seen: &mut impl FnMut(&ObjectRow<'_>)) -> Result<Option<u64>, String> {
        match self {
            Self::Text(rows) => rows.next(ROWS_AT_ONCE, seen),
            Self::Columns(rows) => rows.next(seen),
        }
    }
}

/// Counts the rows of an inventory's file, read as `audit --inventory` reads it. `format` is the
/// name that a manifest uses. `schema` is its `fileSchema`, which only CSV needs.
///
/// # Errors
/// A description of why the file cannot be read.
pub fn count_rows(format: &str, file: File, schema: &str) -> Result<u64, String> {
    let format = serde_json::from_value(format.into()).map_err(|error| error.to_string())?;
    let mut rows = InventoryRows::open(format, file, schema).map_err(|error| match error {
        columns::ColumnsError::Field(field, has) => format!("no field {field}, only {has}"),
        columns::ColumnsError::Unreadable(why) => why,
    })?;
    let mut number = 0;
    while let Some(read) = rows.next(&mut |_| {})? {
        number += read;
    }
    Ok(number)
}

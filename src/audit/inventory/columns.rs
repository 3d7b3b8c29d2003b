//! Inventories in columns, ORC and Parquet. They are read one stripe or row group at a time, and
//! only in the columns that the audit needs.

use std::fs::File;

use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, cast::AsArray as _,
};
use arrow_schema::{DataType, Schema, TimeUnit};
use orc_rust::{ArrowReaderBuilder, projection::ProjectionMask as OrcProjection};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use time::OffsetDateTime;

use crate::{
    audit::{
        inventory::{
            kinds::{Kinds, ROWS_AT_ONCE},
            limits, orc_limits, parquet_limits,
        },
        object_row::ObjectRow,
    },
    system::quietly::quietly,
};

/// The columns that are read, by S3's names. The first four are required.
const COLUMNS: [&str; 10] = [
    "bucket",
    "key",
    "size",
    "encryption_status",
    "version_id",
    "is_latest",
    "is_delete_marker",
    "last_modified_date",
    "e_tag",
    "storage_class",
];
/// The names of the required columns in an inventory's configuration.
const NEEDED: [&str; 4] = ["Bucket", "Key", "Size", "EncryptionStatus"];

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum ColumnsError {
    /// The first field is missing; the second lists the fields that the file has.
    Field(&'static str, String),
    Unreadable(String),
}

/// The batches of one file.
pub(super) struct ColumnRows {
    batches: Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>,
    kinds: Kinds,
    /// How many rows were read so far.
    row: u64,
}

impl ColumnRows {
    pub(super) fn orc(file: File) -> Result<Self, ColumnsError> {
        contained(|| {
            let dictionary = orc_limits::check(&file).map_err(ColumnsError::Unreadable)?;
            let builder = ArrowReaderBuilder::try_new(file)
                .map_err(|error| ColumnsError::Unreadable(error.to_string()))?;
            has_fields(&builder.schema())?;
            let mask =
                OrcProjection::named_roots(builder.file_metadata().root_data_type(), &COLUMNS);
            let batches = builder
                .with_projection(mask)
                .with_batch_size(limits::rows_at_once(dictionary, ROWS_AT_ONCE))
                .build();
            Ok(Self {
                batches: Box::new(batches.map(|batch| batch.map_err(|error| error.to_string()))),
                kinds: Kinds::new(),
                row: 0,
            })
        })
        .map_err(ColumnsError::Unreadable)?
    }

    pub(super) fn parquet(file: File) -> Result<Self, ColumnsError> {
        let unreadable =
            |error: parquet::errors::ParquetError| ColumnsError::Unreadable(error.to_string());
        contained(|| {
            parquet_limits::check_footer(&file).map_err(ColumnsError::Unreadable)?;
            let looked_at =
                file.try_clone().map_err(|error| ColumnsError::Unreadable(error.to_string()))?;
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
            has_fields(builder.schema())?;
            let dictionary = parquet_limits::check_groups(
                &looked_at,
                builder.metadata().row_groups(),
                |column| {
                    let path = column.column_path().parts();
                    path.first().is_some_and(|name| COLUMNS.contains(&name.as_str()))
                },
            )
            .map_err(ColumnsError::Unreadable)?;
            let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
            let batches = builder
                .with_projection(mask)
                .with_batch_size(limits::rows_at_once(dictionary, ROWS_AT_ONCE))
                .build()
                .map_err(unreadable)?;
            Ok(Self {
                batches: Box::new(batches.map(|batch| batch.map_err(|error| error.to_string()))),
                kinds: Kinds::new(),
                row: 0,
            })
        })
        .map_err(ColumnsError::Unreadable)?
    }

    /// Reads the rows of one batch. Returns none at the end.
    pub(super) fn next(
        &mut self,
        seen: &mut impl FnMut(&ObjectRow<'_>),
    ) -> Result<Option<u64>, String> {
        let first = self.row;
        let after = |why: String| format!("after row {first}: {why}");
        let next = contained(|| self.batches.next()).map_err(after)?;
        let Some(batch) = next else { return Ok(None) };
        let batch = batch.map_err(after)?;
        self.row += batch.num_rows() as u64;
        let columns = Columns::of(&batch)?;
        for row in 0..batch.num_rows() {
            let at = |why: String| format!("row {}: {why}", first + row as u64 + 1);
            let key = columns.key.get(row).ok_or_else(|| at("it has no key".to_owned()))?;
            limits::check_key(key).map_err(at)?;
            let is_delete_marker = columns.marker.get(row).unwrap_or(false);
            let size = match columns.size.get(row) {
                Some(size) => {
                    u64::try_from(size).map_err(|_| at(format!("{size} is no size (of {key})")))?
                }
                // A delete marker has no size.
                None if is_delete_marker => 0,
                None => return Err(at(format!("{key} has no size"))),
            };
            seen(&ObjectRow {
                bucket: columns.bucket.get(row).ok_or_else(|| at("it has no bucket".to_owned()))?,
                key,
                version_id: columns.version.get(row),
                is_latest: columns.latest.get(row).unwrap_or(true),
                is_delete_marker,
                size,
                modified: columns.modified.get(row),
                etag: columns.etag.get(row),
                storage_class: columns.class.get(row),
                stored: self
                    .kinds
                    .of(columns.encryption.get(row).unwrap_or_default())
                    .map_err(at)?,
            });
        }
        Ok(Some(batch.num_rows() as u64))
    }
}

/// Runs third-party readers, which panic on some broken files. A panic becomes an error.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quietly(work).ok_or_else(|| "its reader gave up on it: the file is broken".to_owned())
}

fn has_fields(schema: &Schema) -> Result<(), ColumnsError> {
    let missing =
        COLUMNS.iter().zip(NEEDED).find(|(column, _)| schema.column_with_name(column).is_none());
    match missing {
        None => Ok(()),
        Some((_, field)) => {
            let has: Vec<&str> =
                schema.fields().iter().map(|field| field.name().as_str()).collect();
            Err(ColumnsError::Field(field, has.join(", ")))
        }
    }
}

/// The columns of one batch, each in its Arrow type.
struct Columns<'a> {
    bucket: Text<'a>,
    key: Text<'a>,
    size: Number<'a>,
    encryption: Text<'a>,
    version: Text<'a>,
    latest: BooleanColumn<'a>,
    marker: BooleanColumn<'a>,
    modified: TimestampUnit<'a>,
    etag: Text<'a>,
    class: Text<'a>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let column = |name: &str| batch.column_by_name(name);
        let text = |name: &str| Text::of(column(name)).ok_or_else(|| odd(batch, name));
        let truth = |name: &str| BooleanColumn::of(column(name)).ok_or_else(|| odd(batch, name));
        Ok(Self {
            bucket: text("bucket")?,
            key: text("key")?,
            size: Number::of(column("size")).ok_or_else(|| odd(batch, "size"))?,
            encryption: text("encryption_status")?,
            version: text("version_id")?,
            latest: truth("is_latest")?,
            marker: truth("is_delete_marker")?,
            modified: TimestampUnit::of(column("last_modified_date"))
                .ok_or_else(|| odd(batch, "last_modified_date"))?,
            etag: text("e_tag")?,
            class: text("storage_class")?,
        })
    }
}

fn odd(batch: &RecordBatch, name: &str) -> String {
    let kind = batch
        .column_by_name(name)
        .map_or_else(String::new, |column| column.data_type().to_string());
    format!("the column {name} is of the type {kind}, which no inventory has there")
}

/// A column of text; none where the file has no such column.
struct Text<'a>(Option<&'a StringArray>);

impl<'a> Text<'a> {
    fn of(column: Option<&'a ArrayRef>) -> Option<Self> {
        Some(Self(
            column
                .map(|column| column.as_string_opt::<i32>())
                .map_or(Some(None), |column| column.map(Some))?,
        ))
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        self.0.filter(|column| !column.is_null(row)).map(|column| column.value(row))
    }
}

struct Number<'a>(&'a Int64Array);

impl<'a> Number<'a> {
    fn of(column: Option<&'a ArrayRef>) -> Option<Self> {
        column?.as_primitive_opt().map(Self)
    }

    fn get(&self, row: usize) -> Option<i64> {
        (!self.0.is_null(row)).then(|| self.0.value(row))
    }
}

struct BooleanColumn<'a>(Option<&'a BooleanArray>);

impl<'a> BooleanColumn<'a> {
    fn of(column: Option<&'a ArrayRef>) -> Option<Self> {
        match column {
            None => Some(Self(None)),
            Some(column) => column.as_boolean_opt().map(|column| Self(Some(column))),
        }
    }

    fn get(&self, row: usize) -> Option<bool> {
        self.0.filter(|column| !column.is_null(row)).map(|column| column.value(row))
    }
}

enum TimestampUnit<'a> {
    None,
    Seconds(&'a TimestampSecondArray),
    Milliseconds(&'a TimestampMillisecondArray),
    Microseconds(&'a TimestampMicrosecondArray),
    Nanoseconds(&'a TimestampNanosecondArray),
}

impl<'a> TimestampUnit<'a> {
    fn of(column: Option<&'a ArrayRef>) -> Option<Self> {
        let Some(column) = column else { return Some(Self::None) };
        match column.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                column.as_primitive_opt().map(Self::Seconds)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                column.as_primitive_opt().map(Self::Milliseconds)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                column.as_primitive_opt().map(Self::Microseconds)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                column.as_primitive_opt().map(Self::Nanoseconds)
            }
            _ => None,
        }
    }

    fn get(&self, row: usize) -> Option<OffsetDateTime> {
        let (value, unit) = match self {
            Self::None => return None,
            Self::Seconds(column) => {
                (column.is_valid(row).then(|| column.value(row))?, 1_000_000_000)
            }
            Self::Milliseconds(column) => {
                (column.is_valid(row).then(|| column.value(row))?, 1_000_000)
            }
            Self::Microseconds(column) => (column.is_valid(row).then(|| column.value(row))?, 1000),
            Self::Nanoseconds(column) => (column.is_valid(row).then(|| column.value(row))?, 1),
        };
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(value) * unit).ok()
    }
}

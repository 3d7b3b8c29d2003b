//! Inventories as S3 writes them, in each of the three formats: files, manifest, checksums. Shared
//! by the black-box tests and the benchmark.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use flate2::{Compression, write::GzEncoder};
use md5::{Digest as _, Md5};
use orc_rust::{ArrowWriterBuilder, compression::CompressionType};
use parquet::{arrow::ArrowWriter, basic, file::properties::WriterProperties};
use serde_json::json;

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    Orc,
    Parquet,
}

pub(crate) const FORMS: [Form; 3] = [Form::Csv, Form::Orc, Form::Parquet];

impl Form {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Orc => "ORC",
            Self::Parquet => "Parquet",
        }
    }
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    pub(crate) latest: bool,
    pub(crate) marker: bool,
    pub(crate) size: Option<i64>,
    /// Milliseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) encryption: Option<String>,
}

impl Line {
    pub(crate) fn new(key: &str, size: i64, encryption: &str) -> Self {
        let encryption = Some(encryption.to_owned());
        Self {
            key: key.to_owned(),
            version: None,
            latest: true,
            marker: false,
            size: Some(size),
            modified: 1_764_082_920_000,
            encryption,
        }
    }
}

/// Columns, without the one named by `skip`.
fn columns(bucket: &str, lines: &[Line], form: Form, skip: &str) -> RecordBatch {
    let text = |of: fn(&Line) -> Option<&str>| {
        Arc::new(lines.iter().map(of).collect::<StringArray>()) as ArrayRef
    };
    let times = lines.iter().map(|line| line.modified);
    let (time, times): (DataType, ArrayRef) = match form {
        // ORC's own timestamps have nanosecond precision.
        Form::Orc => (
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            Arc::new(
                times.map(|time| Some(time * 1_000_000)).collect::<TimestampNanosecondArray>(),
            ),
        ),
        _ => (
            DataType::Timestamp(TimeUnit::Millisecond, None),
            Arc::new(times.map(Some).collect::<TimestampMillisecondArray>()),
        ),
    };
    let all: Vec<(&str, DataType, ArrayRef)> = vec![
        (
            "bucket",
            DataType::Utf8,
            Arc::new(lines.iter().map(|_| Some(bucket)).collect::<StringArray>()),
        ),
        ("key", DataType::Utf8, text(|line| Some(&line.key))),
        ("version_id", DataType::Utf8, text(|line| line.version.as_deref())),
        (
            "is_latest",
            DataType::Boolean,
            Arc::new(lines.iter().map(|line| Some(line.latest)).collect::<BooleanArray>()),
        ),
        (
            "is_delete_marker",
            DataType::Boolean,
            Arc::new(lines.iter().map(|line| Some(line.marker)).collect::<BooleanArray>()),
        ),
        (
            "size",
            DataType::Int64,
            Arc::new(lines.iter().map(|line| line.size).collect::<Int64Array>()),
        ),
        ("last_modified_date", time, times),
        ("e_tag", DataType::Utf8, text(|_| Some("9e107d9d372bb6826bd81d3542a419d6"))),
        ("storage_class", DataType::Utf8, text(|_| Some("STANDARD"))),
        ("encryption_status", DataType::Utf8, text(|line| line.encryption.as_deref())),
    ];
    let kept: Vec<_> = all.into_iter().filter(|(name, ..)| *name != skip).collect();
    let fields: Vec<Field> =
        kept.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true)).collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        kept.into_iter().map(|(.., column)| column).collect(),
    )
    .expect("columns of one length")
}

const TEXT_FIELDS: [&str; 10] = [
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
    "EncryptionStatus",
];

fn text_fields(skip: &str) -> String {
    let skip = skip.replace('_', "");
    TEXT_FIELDS
        .into_iter()
        .filter(|name| name.to_ascii_lowercase() != skip)
        .collect::<Vec<_>>()
        .join(", ")
}

fn text_line(bucket: &str, line: &Line, skip: &str, out: &mut impl std::io::Write) {
    let key = percent_encoding::utf8_percent_encode(&line.key, percent_encoding::NON_ALPHANUMERIC)
        .to_string();
    let time =
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(line.modified) * 1_000_000)
            .expect("a time");
    let (date, clock) = (time.date(), time.time());
    let modified =
        format!("{date}T{:02}:{:02}:{:02}.000Z", clock.hour(), clock.minute(), clock.second());
    let values = [
        ("bucket", bucket.to_owned()),
        ("key", key),
        ("version_id", line.version.clone().unwrap_or_default()),
        ("is_latest", line.latest.to_string()),
        ("is_delete_marker", line.marker.to_string()),
        ("size", line.size.map_or_else(String::new, |size| size.to_string())),
        ("last_modified_date", modified),
        ("e_tag", "9e107d9d372bb6826bd81d3542a419d6".to_owned()),
        ("storage_class", "STANDARD".to_owned()),
        ("encryption_status", line.encryption.clone().unwrap_or_default()),
    ];
    let quoted: Vec<String> = values
        .into_iter()
        .filter(|(name, _)| *name != skip)
        .map(|(_, value)| format!("\"{value}\""))
        .collect();
    writeln!(out, "{}", quoted.join(",")).expect("room on the disk");
}

/// Writes one file of an inventory, chunk by chunk.
pub(crate) fn file(
    path: &Path,
    form: Form,
    bucket: &str,
    skip: &str,
    mut chunks: impl Iterator<Item = Vec<Line>>,
) {
    let file = BufWriter::new(File::create(path).expect("a file"));
    match form {
        Form::Csv => {
            let mut out = GzEncoder::new(file, Compression::fast());
            for line in chunks.flatten() {
                text_line(bucket, &line, skip, &mut out);
            }
            out.finish().expect("room on the disk").flush().expect("room on the disk");
        }
        Form::Orc => {
            let first = columns(bucket, &chunks.next().expect("rows"), form, skip);
            let builder = ArrowWriterBuilder::new(file, first.schema())
                .with_compression(CompressionType::Zlib);
            let mut out = builder.try_build().expect("an ORC file");
            out.write(&first).expect("room on the disk");
            chunks.for_each(|lines| {
                out.write(&columns(bucket, &lines, form, skip)).expect("room on the disk");
            });
            out.close().expect("room on the disk");
        }
        Form::Parquet => {
            let first = columns(bucket, &chunks.next().expect("rows"), form, skip);
            let properties = WriterProperties::builder()
                .set_compression(basic::Compression::SNAPPY)
                .set_max_row_group_row_count(Some(100_000))
                .build();
            let mut out = ArrowWriter::try_new(file, first.schema(), Some(properties))
                .expect("a Parquet file");
            out.write(&first).expect("room on the disk");
            chunks.for_each(|lines| {
                out.write(&columns(bucket, &lines, form, skip)).expect("room on the disk");
            });
            out.close().expect("room on the disk");
        }
    }
}

/// Writes the manifest of `files`, which are below `folder`, and returns its location. `prefix` is
/// put before each file's name in its key.
pub(crate) fn manifest(
    folder: &Path,
    form: Form,
    bucket: &str,
    skip: &str,
    prefix: &str,
    files: &[PathBuf],
) -> PathBuf {
    let files: Vec<_> = files
        .iter()
        .map(|path| {
            let mut digest = Md5::new();
            std::io::copy(
                &mut File::open(path).expect(
                    "a \
                file",
                ),
                &mut Hashing(&mut digest),
            )
            .expect("it can be read");
            let name = path.file_name().expect("a name").to_string_lossy();
            let size = path.metadata().expect("a file").len();
            json!({
                "key": format!("{prefix}{name}"),
                "size": size, "MD5checksum": hex(&digest.finalize())
            })
        })
        .collect();
    let manifest = json!({
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::acme-inventory",
        "version": "2016-11-30",
        "creationTimestamp": "1764082800000",
        "fileFormat": form.name(),
        "fileSchema": text_fields(skip),
        "files": files,
    });
    let bytes = serde_json::to_vec_pretty(&manifest).expect("JSON");
    std::fs::write(folder.join("manifest.checksum"), hex(&Md5::digest(&bytes)))
        .expect("room on the disk");
    let place = folder.join("manifest.json");
    std::fs::write(&place, bytes).expect("room on the disk");
    place
}

struct Hashing<'a>(&'a mut Md5);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

//! Inventories as text: gzipped CSV without a head, its fields named by the manifest, its keys
//! URL-encoded.

use std::{borrow::Cow, fs::File, io::BufReader};

use flate2::read::MultiGzDecoder;
use percent_encoding::percent_decode;
use time::{Date, Month, OffsetDateTime, Time};

use crate::audit::{inventory::kinds::Kinds, object_row::ObjectRow};

/// Where the fields stand in a line.
#[derive(Debug)]
pub(super) struct Fields {
    bucket: usize,
    key: usize,
    size: usize,
    encryption: usize,
    version: Option<usize>,
    latest: Option<usize>,
    marker: Option<usize>,
    modified: Option<usize>,
    etag: Option<usize>,
    class: Option<usize>,
    number: usize,
}

impl Fields {
    /// By the manifest's `fileSchema`; gives the field that is missing, if one is that nothing can
    /// be said without.
    pub(super) fn of(schema: &str) -> Result<Self, &'static str> {
        let names: Vec<&str> = schema.split(',').map(str::trim).collect();
        let place = |name: &str| names.iter().position(|field| *field == name);
        let needed = |name: &'static str| place(name).ok_or(name);
        Ok(Self {
            bucket: needed("Bucket")?,
            key: needed("Key")?,
            size: needed("Size")?,
            encryption: needed("EncryptionStatus")?,
            version: place("VersionId"),
            latest: place("IsLatest"),
            marker: place("IsDeleteMarker"),
            modified: place("LastModifiedDate"),
            etag: place("ETag"),
            class: place("StorageClass"),
            number: names.len(),
        })
    }
}

/// The rows of one file.
#[derive(Debug)]
pub(super) struct TextRows {
    reader: csv::Reader<MultiGzDecoder<BufReader<File>>>,
    record: csv::StringRecord,
    fields: Fields,
    kinds: Kinds,
}

impl TextRows {
    pub(super) fn open(file: File, schema: &str) -> Result<Self, &'static str> {
        let text = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(false)
            .buffer_capacity(1 << 16)
            .from_reader(text);
        Ok(Self {
            reader,
            record: csv::StringRecord::new(),
            fields: Fields::of(schema)?,
            kinds: Kinds::new(),
        })
    }

    /// Reads at most `number` rows; none at the end.
    pub(super) fn next(
        &mut self,
        number: usize,
        seen: &mut impl FnMut(&ObjectRow<'_>),
    ) -> Result<Option<u64>, String> {
        let mut rows = 0;
        for _ in 0..number {
            if !self.reader.read_record(&mut self.record).map_err(|error| error.to_string())? {
                break;
            }
            rows += 1;
            let (record, fields) = (&self.record, &self.fields);
            if record.len() != fields.number {
                return Err(format!(
                    "a line has {} fields, and the manifest names {}",
                    record.len(),
                    fields.number
                ));
            }
            let field = |place: Option<usize>| {
                place.map(|place| &record[place]).filter(|text| !text.is_empty())
            };
            let is = |place: Option<usize>, default| {
                field(place).map_or(default, |text| text.eq_ignore_ascii_case("true"))
            };
            let is_delete_marker = is(fields.marker, false);
            let size = match (field(Some(fields.size)).map(str::parse), is_delete_marker) {
                (Some(Ok(size)), _) => size,
                // A delete marker has none.
                (None, true) => 0,
                _ => {
                    return Err(format!(
                        "`{}` is no size (of {})",
                        &record[fields.size], &record[fields.key]
                    ));
                }
            };
            let key = decoded(&record[fields.key]).ok_or_else(|| {
                format!("the key `{}` is not URL-encoded UTF-8", &record[fields.key])
            })?;
            seen(&ObjectRow {
                bucket: &record[fields.bucket],
                key: &key,
                version_id: field(fields.version),
                is_latest: is(fields.latest, true),
                is_delete_marker,
                size,
                modified: field(fields.modified).and_then(time),
                etag: field(fields.etag),
                storage_class: field(fields.class),
                stored: self.kinds.of(&record[fields.encryption]),
            });
        }
        Ok((rows > 0).then_some(rows))
    }
}

/// A key as it is.
fn decoded(key: &str) -> Option<Cow<'_, str>> {
    if !key.contains(['%', '+']) {
        return Some(Cow::Borrowed(key));
    }
    // Both ways of encoding in use write a plus sign as %2B, so that a bare one can only be a
    // space.
    let key = key.replace('+', " ");
    percent_decode(key.as_bytes()).decode_utf8().ok().map(|key| Cow::Owned(key.into_owned()))
}

/// `2026-11-25T15:02:00.000Z`, always by UTC.
fn time(text: &str) -> Option<OffsetDateTime> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
    let small =
        |from: usize, to: usize| number(from, to).and_then(|number| u8::try_from(number).ok());
    let month = Month::try_from(small(5, 7)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(8, 10)?).ok()?;
    Some(
        date.with_time(Time::from_hms(small(11, 13)?, small(14, 16)?, small(17, 19)?).ok()?)
            .assume_utc(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn keys_and_times_are_read_as_s3_writes_them() {
        assert_eq!(decoded("a/b%20c%2Bd+e%C3%A4").unwrap(), "a/b c+d eä");
        assert_eq!(decoded("%FF"), None);
        assert_eq!(time("2026-11-25T15:02:03.000Z"), Some(datetime!(2026-11-25 15:02:03 UTC)));
        for text in ["", "yesterday", "2026-13-25T15:02:03.000Z", "2026-11-25"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_that_nothing_can_be_said_without_is_named() {
        assert_eq!(Fields::of("Bucket, Key, Size").unwrap_err(), "EncryptionStatus");
        assert_eq!(Fields::of("Bucket, Key, EncryptionStatus").unwrap_err(), "Size");
        assert!(Fields::of("Bucket, Key, Size, EncryptionStatus").is_ok());
    }
}

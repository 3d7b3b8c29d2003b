//! Inventories as text: gzipped CSV without a header line. The manifest names its fields, and its
//! keys are URL-encoded.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufReader, Read},
};

use flate2::read::MultiGzDecoder;
use percent_encoding::percent_decode;
use time::{Date, Month, OffsetDateTime, Time};

use crate::audit::{
    inventory::{kinds::Kinds, limits},
    object_row::ObjectRow,
};

/// Limit on a line's length in bytes. An encoded key has at most 3 KiB; the longest other field, an
/// access control list, some tens of KiB.
const LONGEST_LINE: u64 = 256 << 10;
/// Size of the reader's buffer in bytes. One read may bring that much of the following lines.
const BUFFER: usize = 64 << 10;
/// Limit on the ratio of unpacked to packed size. Lines that differ only in a counter, with keys of
/// the longest kind, reach about 100; deflate itself reaches about 1,000.
const LARGEST_RATIO: u64 = 400;
/// Text of fewer bytes than this may have any ratio.
const ANY_RATIO: u64 = 64 << 20;

/// The positions of the fields in a line.
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
    /// Finds the fields in the manifest's `fileSchema`.
    ///
    /// # Errors
    /// The name of a required field that is missing.
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

/// Unpacked text, read within limits.
#[derive(Debug)]
struct Metered<R> {
    text: R,
    /// Limit on all bytes together.
    most: u64,
    /// Bytes read so far: in all, and for the current line, with what was in the buffer before it.
    whole: u64,
    line: u64,
}

impl<R> Metered<R> {
    /// For a file of `size` bytes.
    fn new(text: R, size: u64) -> Self {
        let most = size.saturating_mul(LARGEST_RATIO).max(ANY_RATIO);
        Self { text, most, whole: 0, line: 0 }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        let length = read as u64;
        (self.whole, self.line) = (self.whole + length, self.line + length);
        if self.line > LONGEST_LINE {
            return Err(io::Error::other(format!(
                "a line has more than {LONGEST_LINE} bytes, which none of an inventory's has"
            )));
        }
        if self.whole > self.most {
            return Err(io::Error::other(format!(
                "it unpacks to more than {} bytes, {LARGEST_RATIO} times its size; no inventory \
                 does",
                self.most
            )));
        }
        Ok(read)
    }
}

/// The rows of one file.
#[derive(Debug)]
pub(super) struct TextRows {
    reader: csv::Reader<Metered<MultiGzDecoder<BufReader<File>>>>,
    record: csv::StringRecord,
    fields: Fields,
    kinds: Kinds,
}

impl TextRows {
    /// Opens `file` by the manifest's schema.
    ///
    /// # Errors
    /// The name of a required field that is missing.
    pub(super) fn open(file: File, schema: &str) -> Result<Self, &'static str> {
        // If the file's size is unknown, only the limit for any file applies.
        let size = file.metadata().map_or(0, |data| data.len());
        let text = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file));
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(BUFFER)
            .from_reader(Metered::new(text, size));
        Ok(Self {
            reader,
            record: csv::StringRecord::new(),
            fields: Fields::of(schema)?,
            kinds: Kinds::new(),
        })
    }

    /// Reads at most `number` rows. Returns none at the end.
    pub(super) fn next(
        &mut self,
        number: usize,
        seen: &mut impl FnMut(&ObjectRow<'_>),
    ) -> Result<Option<u64>, String> {
        let mut rows = 0;
        for _ in 0..number {
            self.reader.get_mut().line = 0;
            let line = self.reader.position().line();
            let read = self.reader.read_record(&mut self.record);
            if !read.map_err(|error| format!("line {line}: {error}"))? {
                break;
            }
            rows += 1;
            let at = |why: String| format!("line {line}: {why}");
            let (record, fields) = (&self.record, &self.fields);
            if record.len() != fields.number {
                return Err(at(format!(
                    "it has {} fields, and the manifest names {}",
                    record.len(),
                    fields.number
                )));
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
                // A delete marker has no size.
                (None, true) => 0,
                _ => {
                    return Err(at(format!(
                        "`{}` is no size (of {})",
                        limits::excerpt(&record[fields.size]),
                        limits::excerpt(&record[fields.key])
                    )));
                }
            };
            let key = decoded(&record[fields.key]).ok_or_else(|| {
                let key = limits::excerpt(&record[fields.key]);
                at(format!("the key `{key}` is not URL-encoded UTF-8"))
            })?;
            limits::check_key(&key).map_err(at)?;
            let stored = self.kinds.of(&record[fields.encryption]).map_err(at)?;
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
                stored,
            });
        }
        Ok((rows > 0).then_some(rows))
    }
}

/// Decodes a key.
fn decoded(key: &str) -> Option<Cow<'_, str>> {
    if !key.contains(['%', '+']) {
        return Some(Cow::Borrowed(key));
    }
    // Both encodings in use write a plus sign as %2B, so a bare plus sign can only be a space.
    let key = key.replace('+', " ");
    percent_decode(key.as_bytes()).decode_utf8().ok().map(|key| Cow::Owned(key.into_owned()))
}

/// Parses `2026-11-25T15:02:00.000Z`, always in UTC.
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

    const SCHEMA: &str = "Bucket, Key, Size, EncryptionStatus";

    /// The number of rows in this text.
    fn read(text: impl Read) -> Result<u64, String> {
        let mut file = tempfile::tempfile().unwrap();
        let mut packed = flate2::read::GzEncoder::new(text, flate2::Compression::fast());
        io::copy(&mut packed, &mut file).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut rows = TextRows::open(file, SCHEMA).unwrap();
        let mut number = 0;
        while let Some(read) = rows.next(100, &mut |_| {})? {
            number += read;
        }
        Ok(number)
    }

    #[test]
    fn a_line_has_an_end() {
        let row = "\"acme\",\"a\",\"1\",\"SSE-S3\"\n";
        assert_eq!(read(row.repeat(1000).as_bytes()), Ok(1000));
        let refused = "line 3: a line has more than 262144 bytes, which none of an inventory's has";
        for endless in [
            // A single byte repeated; fields; lines within quotes.
            ("x", 2 << 20),
            (",", 2 << 20),
            ("\"\n", 2 << 20),
        ] {
            let (piece, bytes) = endless;
            let start = format!("{row}{row}{}", &piece[..piece.len() - 1]);
            let last = piece.as_bytes()[piece.len() - 1];
            let text = io::Cursor::new(start).chain(io::repeat(last).take(bytes));
            assert_eq!(read(text), Err(refused.to_owned()), "{piece:?}");
        }
        let short = format!("{row}acme,a,1\n");
        assert_eq!(
            read(short.as_bytes()),
            Err("line 2: it has 3 fields, and the manifest names 4".to_owned())
        );
    }

    #[test]
    fn a_file_unpacks_to_a_multiple_of_its_size() {
        let mut metered = Metered::new(io::repeat(b'\n'), 1 << 20);
        let mut whole = 0;
        let mut buffer = vec![0; BUFFER];
        let refusal = loop {
            metered.line = 0;
            match metered.read(&mut buffer) {
                Ok(read) => whole += read as u64,
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(whole, 400 << 20);
        assert!(refusal.starts_with("it unpacks to more than 419430400 bytes"), "{refusal}");
    }

    #[test]
    fn keys_and_words_are_no_longer_and_no_more_than_s3s() {
        let key = |length: usize| format!("acme,{},1,SSE-S3\n", "k".repeat(length));
        assert_eq!(read(key(1024).as_bytes()), Ok(1));
        let refusal = read(key(1025).as_bytes()).unwrap_err();
        assert!(refusal.ends_with("has 1025 bytes, and S3 allows 1024"), "{refusal}");
        let words = |number: usize| {
            let lines: Vec<String> = (0..number).map(|it| format!("acme,a,1,W{it}\n")).collect();
            lines.concat()
        };
        assert_eq!(read(words(64).as_bytes()), Ok(64));
        let refusal = read(words(65).as_bytes()).unwrap_err();
        assert!(refusal.starts_with("line 65: more than 64 words"), "{refusal}");
    }

    #[test]
    fn a_field_that_nothing_can_be_said_without_is_named() {
        assert_eq!(Fields::of("Bucket, Key, Size").unwrap_err(), "EncryptionStatus");
        assert_eq!(Fields::of("Bucket, Key, EncryptionStatus").unwrap_err(), "Size");
        assert!(Fields::of("Bucket, Key, Size, EncryptionStatus").is_ok());
    }
}

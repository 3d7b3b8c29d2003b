//! Limits for an inventory's files. They come from outside: a small file can unpack to more than
//! memory holds, and the readers trust the lengths that a file declares.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
};

/// S3's own limit, in bytes of UTF-8. Source: Amazon S3 user guide, Naming Amazon S3 objects.
const LONGEST_KEY: usize = 1024;
/// How much of the file's text an error shows, in characters.
const EXCERPT: usize = 80;
/// Size limit of a part that a reader holds in memory as a whole, such as the footer; in bytes.
pub(super) const LARGEST_PART: u64 = 64 << 20;
/// Size limit of the unpacked columns of one stripe or row group together, in bytes.
pub(super) const LARGEST_GROUP: u64 = 1 << 30;
/// Size limit of the texts of one batch that come from a dictionary, in bytes.
const LARGEST_BATCH: u64 = 512 << 20;
/// A row takes at least one byte. With fewer rows than this, the rows are not compared with the
/// size.
const ANY_ROWS: u64 = 1 << 20;

/// The beginning of a text, as long as an error shows.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Checks a key's length.
///
/// # Errors
/// When the key is longer than S3 allows.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    if key.len() > LONGEST_KEY {
        return Err(format!(
            "the key `{}` has {} bytes, and S3 allows {LONGEST_KEY}",
            excerpt(key),
            key.len()
        ));
    }
    Ok(())
}

/// Checks the number of rows.
///
/// # Errors
/// When a file of `size` bytes cannot hold so many rows.
pub(super) fn check_rows(rows: u64, size: u64) -> Result<(), String> {
    if rows > ANY_ROWS.saturating_add(size.saturating_mul(4)) {
        return Err(format!("it names {rows} rows, more than {size} bytes can hold"));
    }
    Ok(())
}

/// How many rows may be read at once if each may repeat the longest text of a dictionary of
/// `dictionary` bytes; never more than `most`.
pub(super) fn rows_at_once(dictionary: u64, most: usize) -> usize {
    let rows = LARGEST_BATCH / dictionary.max(1);
    usize::try_from(rows).unwrap_or(most).clamp(1, most)
}

/// Reads a part of a file.
///
/// # Errors
/// When the part is outside the file, or larger than `most` bytes.
pub(super) fn part(file: &File, offset: u64, length: u64, most: u64) -> Result<Vec<u8>, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(format!("it names {length} bytes from {offset} on, and has {size} in all"));
    }
    if length > most {
        return Err(format!("a part of it has {length} bytes, and {most} are allowed"));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
    file.read_exact_at(&mut bytes, offset).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The number of bytes in `unpacked`, or `most` if there are more. The bytes are not kept.
pub(super) fn measure(unpacked: impl Read, most: u64) -> io::Result<u64> {
    io::copy(&mut unpacked.take(most), &mut io::sink())
}

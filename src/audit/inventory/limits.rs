//! What an inventory's files may hold at most. They come from outside: a small file can unpack to
//! one that no memory holds, and its readers believe the lengths that it names.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
};

/// S3's own limit, in bytes of UTF-8. Source: Amazon S3 user guide, Naming Amazon S3 objects.
const LONGEST_KEY: usize = 1024;
/// As much of a text from the file is shown in an error, in characters.
const EXCERPT: usize = 80;
/// Part of a file that a reader keeps whole, such as its footer, may have so many bytes.
pub(super) const LARGEST_PART: u64 = 64 << 20;
/// The columns of one stripe or row group may unpack to so many bytes together.
pub(super) const LARGEST_GROUP: u64 = 1 << 30;
/// The texts of one batch that a dictionary repeats may have so many bytes.
const LARGEST_BATCH: u64 = 512 << 20;
/// A row takes a byte at least; where there are fewer rows than this, nobody counts.
const ANY_ROWS: u64 = 1 << 20;

/// As much of a text as an error shows.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// # Errors
/// When the key is longer than any that S3 has.
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

/// # Errors
/// When a file of `size` bytes cannot have so many rows.
pub(super) fn check_rows(rows: u64, size: u64) -> Result<(), String> {
    if rows > ANY_ROWS.saturating_add(size.saturating_mul(4)) {
        return Err(format!("it names {rows} rows, more than {size} bytes can hold"));
    }
    Ok(())
}

/// How many rows may be read at once where each may repeat the longest text of a dictionary of
/// `dictionary` bytes; `most` where that is small.
pub(super) fn rows_at_once(dictionary: u64, most: usize) -> usize {
    let rows = LARGEST_BATCH / dictionary.max(1);
    usize::try_from(rows).unwrap_or(most).clamp(1, most)
}

/// Part of a file.
///
/// # Errors
/// When it is not there, or larger than `most` bytes.
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

/// How much `unpacked` holds, or `most` where that is less. Nothing of it is kept.
pub(super) fn measure(unpacked: impl Read, most: u64) -> io::Result<u64> {
    io::copy(&mut unpacked.take(most), &mut io::sink())
}

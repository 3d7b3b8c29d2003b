//! Checks the structure of a Parquet file before the reader, which trusts it, opens it: the lists
//! of its footer, its row groups, and the header of each page.
//!
//! Source: Apache Parquet format (file metadata, data pages), Apache Thrift compact protocol.

use std::fs::File;

use parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, RowGroupMetaData},
};

use crate::audit::inventory::limits::{LARGEST_GROUP, LARGEST_PART, check_rows, part};

/// Size limit of an unpacked page in bytes. Usual pages have one megabyte.
const LARGEST_PAGE: u64 = 16 << 20;
/// Limit on a page's unpacked bytes for each of its values, and on its fixed overhead.
const LARGEST_VALUE: u64 = 8 << 10;
const BESIDE_VALUES: u64 = 64 << 10;
/// Limit on the number of pages in a column of a row group.
const MOST_PAGES: usize = 1 << 16;
/// Size limit of a page's header in bytes. A header takes tens of bytes; with the smallest and the
/// largest value of the column, a few thousand.
const LARGEST_HEADER: u64 = 64 << 10;
/// Limit on the depth of structures nested in a footer.
const DEPTH: usize = 24;
/// Size in bytes of the file's end: the footer's length and the four letters of the format.
const TAIL: u64 = 8;
const MAGIC: &[u8] = b"PAR1";

/// Checks the footer before the reader allocates the lists that it declares.
///
/// # Errors
/// A description, when the file is not Parquet or exceeds a limit.
pub(super) fn check_footer(file: &File) -> Result<(), String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let tail_at = size.checked_sub(TAIL).ok_or("it is too short for a Parquet file")?;
    let tail = part(file, tail_at, TAIL, TAIL)?;
    let (length, magic) = tail.split_at(4);
    if magic != MAGIC {
        return Err("it does not end as a Parquet file does".to_owned());
    }
    let length = length.try_into().map(u32::from_le_bytes).map_err(|_| "its tail is cut off")?;
    let length = u64::from(length);
    let at = tail_at.checked_sub(length).ok_or("its footer begins before the file")?;
    let footer = part(file, at, length, LARGEST_PART)?;
    Thrift { rest: &footer }.skip_structure(DEPTH).map_err(|why| format!("its footer: {why}"))
}

/// Checks the row groups. Returns the size of the largest dictionary among the columns that `reads`
/// selects, in bytes.
///
/// # Errors
/// A description, when a limit is exceeded.
pub(super) fn check_groups(
    file: &File,
    groups: &[RowGroupMetaData],
    reads: impl Fn(&ColumnChunkMetaData) -> bool,
) -> Result<u64, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let rows = groups.iter().fold(0_u64, |sum, group| {
        sum.saturating_add(u64::try_from(group.num_rows()).unwrap_or(u64::MAX))
    });
    check_rows(rows, size)?;
    let mut dictionary = 0;
    for (number, group) in groups.iter().enumerate() {
        let mut whole = 0_u64;
        for column in group.columns().iter().filter(|column| reads(column)) {
            let place = format!("row group {number}, column {}", column.column_path());
            if !matches!(column.compression(), Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return Err(format!(
                    "{place}: is packed with {}, and S3 packs inventories with SNAPPY",
                    column.compression()
                ));
            }
            let pages = pages(file, column).map_err(|why| format!("{place}: {why}"))?;
            whole = whole.saturating_add(pages.whole);
            if whole > LARGEST_GROUP {
                return Err(format!(
                    "row group {number} unpacks to more than {LARGEST_GROUP} bytes, which no \
                     inventory's does"
                ));
            }
            dictionary = dictionary.max(pages.dictionary);
        }
    }
    Ok(dictionary)
}

/// The unpacked size of a column's pages and of its dictionary, in bytes.
#[derive(Debug, Default)]
struct PageSizes {
    whole: u64,
    dictionary: u64,
}

/// Reads the headers of a column's pages.
fn pages(file: &File, column: &ColumnChunkMetaData) -> Result<PageSizes, String> {
    let places = [Some(column.data_page_offset()), column.dictionary_page_offset()];
    if places.into_iter().flatten().any(|place| place < 0) || column.compressed_size() < 0 {
        return Err("begins before the file".to_owned());
    }
    let (mut at, length) = column.byte_range();
    let end = at.checked_add(length).ok_or("ends after every possible end of a file")?;
    let mut sizes = PageSizes::default();
    let mut number = 0;
    while at < end {
        number += 1;
        if number > MOST_PAGES {
            return Err(format!("more than {MOST_PAGES} pages"));
        }
        let bytes = part(file, at, (end - at).min(LARGEST_HEADER), LARGEST_HEADER)?;
        let mut thrift = Thrift { rest: &bytes };
        let header = thrift.structure(DEPTH).map_err(|why| format!("page {number}: {why}"))?;
        let of_header = (bytes.len() - thrift.rest.len()) as u64;
        let field = |path: &[i64]| header.get(path).and_then(|value| u64::try_from(value).ok());
        let (Some(unpacked), Some(packed)) = (field(&[2]), field(&[3])) else {
            return Err(format!("page {number} does not name its sizes"));
        };
        if unpacked > LARGEST_PAGE {
            return Err(format!(
                "page {number} unpacks to {unpacked} bytes, and {LARGEST_PAGE} are allowed"
            ));
        }
        let values = field(&[5, 1]).or_else(|| field(&[8, 1])).or_else(|| field(&[7, 1]));
        let most = values.unwrap_or(0).saturating_mul(LARGEST_VALUE).saturating_add(BESIDE_VALUES);
        if unpacked > most {
            return Err(format!(
                "page {number} unpacks to {unpacked} bytes, too many for its {} values",
                values.unwrap_or(0)
            ));
        }
        if field(&[7, 1]).is_some() {
            sizes.dictionary += unpacked;
        }
        sizes.whole += unpacked;
        at = at
            .checked_add(of_header)
            .and_then(|at| at.checked_add(packed))
            .filter(|next| *next <= end)
            .ok_or_else(|| format!("page {number} ends after the column"))?;
    }
    Ok(sizes)
}

/// The numbers of a structure, each by the path of its field ids. Only two levels are kept.
#[derive(Debug, Default)]
struct Numbers(Vec<(Vec<i64>, i64)>);

impl Numbers {
    fn get(&self, path: &[i64]) -> Option<i64> {
        self.0.iter().find(|(known, _)| known == path).map(|(_, value)| *value)
    }
}

/// A reader of Thrift's compact protocol.
struct Thrift<'a> {
    rest: &'a [u8],
}

impl Thrift<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let (byte, rest) = self.rest.split_first().ok_or("it is cut off")?;
        self.rest = rest;
        Ok(*byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    fn pass(&mut self, length: u64) -> Result<(), String> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.rest = self.rest.get(length..).ok_or("it is cut off")?;
        Ok(())
    }

    /// Reads a structure to its end. Returns its numbers, and those of the structures in it.
    fn structure(&mut self, depth: usize) -> Result<Numbers, String> {
        let mut numbers = Numbers::default();
        let mut field = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(numbers);
            }
            field = match header >> 4 {
                0 => self.zigzag()?,
                more => field.checked_add(i64::from(more)).ok_or("a field has no number")?,
            };
            match header & 0xf {
                // Booleans are stored in the field header itself.
                1 | 2 => {}
                4..=6 => {
                    let value = self.zigzag()?;
                    numbers.0.push((vec![field], value));
                }
                12 if depth > 0 => {
                    for (path, value) in self.structure(depth - 1)?.0 {
                        // No caller needs deeper numbers.
                        if path.len() == 1 {
                            numbers.0.push((vec![field, path[0]], value));
                        }
                    }
                }
                kind => self.value(kind, depth)?,
            }
        }
    }

    /// Skips a value of this type.
    fn value(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        let below = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        match kind {
            1..=3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let number = match header >> 4 {
                    15 => self.varint()?,
                    number => u64::from(number),
                };
                self.values(number, &[header & 0xf], below)
            }
            11 => {
                let number = self.varint()?;
                if number == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                self.values(number, &[kinds >> 4, kinds & 0xf], below)
            }
            12 => self.skip_structure(below),
            _ => Err("it holds what Thrift does not know".to_owned()),
        }
    }

    /// Skips so many values or pairs, each of which takes at least one byte.
    fn values(&mut self, number: u64, kinds: &[u8], depth: usize) -> Result<(), String> {
        if number > self.rest.len() as u64 {
            return Err(format!("a list announces {number} values, more than there are bytes"));
        }
        for _ in 0..number {
            kinds.iter().try_for_each(|kind| self.value(*kind, depth))?;
        }
        Ok(())
    }

    /// Skips a structure.
    fn skip_structure(&mut self, depth: usize) -> Result<(), String> {
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            if header >> 4 == 0 {
                self.zigzag()?;
            }
            match header & 0xf {
                1 | 2 => {}
                kind => self.value(kind, depth)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::Arc};

    use parquet::schema::{parser::parse_message_type, types::SchemaDescriptor};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// A number in zigzag encoding, as a field stores it.
    fn zigzag(number: u64) -> Vec<u8> {
        let (mut number, mut bytes) = (number << 1, Vec::new());
        while number > 0x7f {
            bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).unwrap());
        bytes
    }

    /// The header of a page with so many values that unpacks to so many bytes. The page itself is
    /// empty.
    fn page(unpacked: u64, values: u64) -> Vec<u8> {
        let sizes = [&[0x15, 0, 0x15][..], &zigzag(unpacked), &[0x15, 0]].concat();
        [&sizes[..], &[0x2c, 0x15], &zigzag(values), &[0, 0]].concat()
    }

    fn sizes(bytes: &[u8]) -> Result<u64, String> {
        let schema = parse_message_type("message row { required binary key (UTF8); }").unwrap();
        let column = SchemaDescriptor::new(Arc::new(schema)).column(0);
        let column = ColumnChunkMetaData::builder(column)
            .set_data_page_offset(0)
            .set_total_compressed_size(i64::try_from(bytes.len()).unwrap())
            .build()
            .unwrap();
        pages(&file(bytes), &column).map(|sizes| sizes.whole)
    }

    #[test]
    fn a_page_unpacks_to_no_more_than_its_values_take() {
        assert_eq!(sizes(&[page(1 << 20, 1000), page(70_000, 1)].concat()), Ok((1 << 20) + 70_000));
        assert_eq!(
            sizes(&page(1 << 30, 1_000_000)),
            Err("page 1 unpacks to 1073741824 bytes, and 16777216 are allowed".to_owned())
        );
        assert_eq!(
            sizes(&[page(10, 1), page(1 << 20, 1)].concat()),
            Err("page 2 unpacks to 1048576 bytes, too many for its 1 values".to_owned())
        );
        let cut_off = page(10, 1);
        assert_eq!(sizes(&cut_off[..4]), Err("page 1: it is cut off".to_owned()));
        assert_eq!(
            sizes(&page(10, 1).repeat(MOST_PAGES + 1)),
            Err("more than 65536 pages".to_owned())
        );
    }

    #[test]
    fn a_footers_lists_are_no_longer_than_the_footer() {
        let checked = |footer: &[u8]| {
            let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
            check_footer(&file(&[footer, &length, MAGIC].concat()))
        };
        assert_eq!(checked(&[0]), Ok(()));
        // A list of 4,294,967,295 structures.
        assert_eq!(
            checked(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
            Err("its footer: a list announces 4294967295 values, more than there are bytes"
                .to_owned())
        );
        assert_eq!(checked(&[0x1c; 1000]), Err("its footer: it is nested too deeply".to_owned()));
        assert_eq!(checked(&[0x15]), Err("its footer: it is cut off".to_owned()));
        assert_eq!(
            check_footer(&file(b"\xff\xff\xff\x7fPAR1")),
            Err("its footer begins before the file".to_owned())
        );
    }
}

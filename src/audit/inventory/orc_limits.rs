//! Checks the structure of an ORC file before the reader, which trusts it, opens it: where its
//! parts are, how many types and rows it has, and the unpacked size of each part.
//!
//! Source: ORC specification, version 1 (file tail, compression, stripes).

use std::fs::File;

use flate2::read::DeflateDecoder;
use orc_prost::Message;
use orc_rust::proto::{
    CompressionKind, Footer, PostScript, StripeFooter, StripeInformation, stream::Kind,
};

use crate::audit::inventory::limits::{LARGEST_GROUP, LARGEST_PART, check_rows, measure, part};

/// Limit on the number of types. An inventory has about twenty columns, none nested in another.
const MOST_TYPES: usize = 256;
/// Limit on the chunk size that a file declares, in bytes. No chunk unpacks to more than the
/// declared size, which is 256 KiB by default.
const LARGEST_PIECE: u64 = 4 << 20;
const USUAL_PIECE: u64 = 256 << 10;
/// Size limit of a packed stripe in bytes. Usual stripes have tens of megabytes.
const LARGEST_STRIPE: u64 = 512 << 20;
/// Size of a chunk's header in bytes. It holds the chunk's length times two, plus one where the
/// chunk is not packed.
const HEADER: usize = 3;

/// How the chunks of a file are packed.
#[derive(Clone, Copy, Debug)]
struct Packing {
    kind: CompressionKind,
    piece: u64,
}

/// Checks the file. Returns the largest dictionary that the reader will hold, in bytes.
///
/// # Errors
/// A description, when the file is not ORC or exceeds a limit.
pub(super) fn check(file: &File) -> Result<u64, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let (packing, footer) = read_tail(file, size)?;
    // Each type must come before its children. Otherwise the reader would never end.
    let is_tree = footer.types.iter().enumerate().all(|(place, kind)| {
        kind.subtypes.iter().all(|below| {
            usize::try_from(*below).is_ok_and(|below| below > place && below < footer.types.len())
        })
    });
    if footer.types.is_empty() || footer.types.len() > MOST_TYPES || !is_tree {
        return Err(format!(
            "its {} types are no tree of at most {MOST_TYPES}",
            footer.types.len()
        ));
    }
    let rows = footer
        .stripes
        .iter()
        .fold(0_u64, |sum, stripe| sum.saturating_add(stripe.number_of_rows()));
    check_rows(rows.max(footer.number_of_rows()), size)?;
    let mut dictionary = 0;
    for (number, stripe) in footer.stripes.iter().enumerate() {
        let of_it = check_stripe(file, packing, stripe, footer.types.len())
            .map_err(|why| format!("stripe {number} {why}"))?;
        dictionary = dictionary.max(of_it);
    }
    Ok(dictionary)
}

/// Reads how the file is packed, and its footer.
fn read_tail(file: &File, size: u64) -> Result<(Packing, Footer), String> {
    let last = size.checked_sub(1).ok_or("it is empty")?;
    let length = u64::from(part(file, last, 1, 1)?[0]);
    let tail = last.checked_sub(length).ok_or("its postscript begins before the file")?;
    let postscript = PostScript::decode(&*part(file, tail, length, 255)?)
        .map_err(|error| format!("its postscript: {error}"))?;
    let packing = Packing {
        kind: match postscript.compression() {
            kind @ (CompressionKind::None | CompressionKind::Zlib) => kind,
            other => {
                return Err(format!(
                    "it is packed with {}, and S3 packs inventories with ZLIB",
                    other.as_str_name()
                ));
            }
        },
        piece: postscript.compression_block_size.unwrap_or(USUAL_PIECE),
    };
    if packing.piece > LARGEST_PIECE {
        return Err(format!(
            "its pieces unpack to {} bytes, and {LARGEST_PIECE} are allowed",
            packing.piece
        ));
    }
    let (of_footer, of_metadata) =
        (postscript.footer_length.unwrap_or(0), postscript.metadata_length.unwrap_or(0));
    let footer_at = tail.checked_sub(of_footer).ok_or("its footer begins before the file")?;
    let metadata_at =
        footer_at.checked_sub(of_metadata).ok_or("its metadata begins before the file")?;
    let metadata = part(file, metadata_at, of_metadata, LARGEST_PART)?;
    packing.unpack(&metadata).map_err(|why| format!("its metadata {why}"))?;
    let footer = part(file, footer_at, of_footer, LARGEST_PART)?;
    let footer = packing.unpack(&footer).map_err(|why| format!("its footer {why}"))?;
    let footer = Footer::decode(&*footer).map_err(|error| format!("its footer: {error}"))?;
    Ok((packing, footer))
}

/// The largest dictionary of a stripe, in bytes.
fn check_stripe(
    file: &File,
    packing: Packing,
    stripe: &StripeInformation,
    types: usize,
) -> Result<u64, String> {
    let data = stripe.index_length().checked_add(stripe.data_length());
    let end = data.and_then(|data| stripe.offset().checked_add(data));
    let (Some(data), Some(end)) = (data, end) else {
        return Err("ends after every possible end of a file".to_owned());
    };
    if data > LARGEST_STRIPE {
        return Err(format!("has {data} bytes, and {LARGEST_STRIPE} are allowed"));
    }
    let footer = packing.unpack(&part(file, end, stripe.footer_length(), LARGEST_PART)?)?;
    let footer =
        StripeFooter::decode(&*footer).map_err(|error| format!("has a broken footer: {error}"))?;
    if footer.columns.len() != types {
        return Err(format!("has {} columns, and the file {types} types", footer.columns.len()));
    }
    let most = stripe.number_of_rows();
    if footer.columns.iter().any(|column| u64::from(column.dictionary_size()) > most) {
        return Err("has a dictionary with more texts than it has rows".to_owned());
    }
    let (mut offset, mut whole, mut dictionary) = (stripe.offset(), 0_u64, 0);
    for stream in &footer.streams {
        let next = offset
            .checked_add(stream.length())
            .filter(|next| *next <= end)
            .ok_or("has a stream that ends after it")?;
        let unpacked = packing.length(&part(file, offset, stream.length(), LARGEST_STRIPE)?)?;
        whole = whole.saturating_add(unpacked);
        if whole > LARGEST_GROUP {
            return Err(format!(
                "unpacks to more than {LARGEST_GROUP} bytes, which no inventory's does"
            ));
        }
        if stream.kind() == Kind::DictionaryData {
            dictionary = dictionary.max(unpacked);
        }
        offset = next;
    }
    Ok(dictionary)
}

impl Packing {
    /// Goes through the chunks of a part; `look` gets each chunk, and whether it is packed.
    fn each(
        self,
        mut bytes: &[u8],
        mut look: impl FnMut(&[u8], bool) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.kind == CompressionKind::None {
            return look(bytes, false);
        }
        let cut_off = "has a piece that is cut off";
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(cut_off)?;
            let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
            let length = usize::try_from(header >> 1).map_err(|error| error.to_string())?;
            let (piece, rest) = rest.split_at_checked(length).ok_or(cut_off)?;
            look(piece, header & 1 == 0)?;
            bytes = rest;
        }
        Ok(())
    }

    /// The unpacked size of a part, in bytes.
    fn length(self, bytes: &[u8]) -> Result<u64, String> {
        let mut whole = 0_u64;
        self.each(bytes, |piece, is_packed| {
            let length = if is_packed {
                measure(DeflateDecoder::new(piece), self.piece + 1).map_err(broken)?
            } else {
                piece.len() as u64
            };
            if is_packed && length > self.piece {
                return Err(format!(
                    "has a piece of {} bytes that unpacks to more than the {} that the file allows",
                    piece.len(),
                    self.piece
                ));
            }
            whole = whole.saturating_add(length);
            Ok(())
        })?;
        Ok(whole)
    }

    /// Unpacks a part.
    fn unpack(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let length = self.length(bytes)?;
        if length > LARGEST_PART {
            return Err(format!("unpacks to {length} bytes, and {LARGEST_PART} are allowed"));
        }
        let mut whole = Vec::new();
        self.each(bytes, |piece, is_packed| {
            if is_packed {
                std::io::copy(&mut DeflateDecoder::new(piece), &mut whole).map_err(broken)?;
            } else {
                whole.extend_from_slice(piece);
            }
            Ok(())
        })?;
        Ok(whole)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn broken(error: std::io::Error) -> String {
    format!("has a piece that cannot be unpacked: {error}")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::DeflateEncoder};
    use orc_rust::proto::{ColumnEncoding, Stream, Type};

    use super::*;

    fn piece(bytes: &[u8]) -> Vec<u8> {
        let mut out = DeflateEncoder::new(vec![0; HEADER], Compression::best());
        out.write_all(bytes).unwrap();
        let mut piece = out.finish().unwrap();
        let length = u32::try_from(piece.len() - HEADER).unwrap() << 1;
        piece[..HEADER].copy_from_slice(&length.to_le_bytes()[..HEADER]);
        piece
    }

    /// An ORC file of one stripe with one stream, which has these bytes; `change` modifies it.
    fn file(stream: &[u8], change: impl FnOnce(&mut Footer, &mut StripeFooter)) -> File {
        let mut of_stripe = StripeFooter {
            streams: vec![Stream {
                kind: Some(Kind::Data.into()),
                column: Some(0),
                length: Some(stream.len() as u64),
            }],
            columns: vec![ColumnEncoding::default()],
            ..StripeFooter::default()
        };
        let mut footer = Footer {
            types: vec![Type::default()],
            stripes: vec![StripeInformation {
                offset: Some(0),
                index_length: Some(0),
                data_length: Some(stream.len() as u64),
                number_of_rows: Some(10),
                ..StripeInformation::default()
            }],
            ..Footer::default()
        };
        change(&mut footer, &mut of_stripe);
        let of_stripe = piece(&of_stripe.encode_to_vec());
        footer.stripes[0].footer_length = Some(of_stripe.len() as u64);
        let footer = piece(&footer.encode_to_vec());
        let postscript = PostScript {
            footer_length: Some(footer.len() as u64),
            compression: Some(CompressionKind::Zlib.into()),
            metadata_length: Some(0),
            ..PostScript::default()
        }
        .encode_to_vec();
        let mut file = tempfile::tempfile().unwrap();
        for part in [stream, &of_stripe, &footer, &postscript] {
            file.write_all(part).unwrap();
        }
        file.write_all(&[u8::try_from(postscript.len()).unwrap()]).unwrap();
        file
    }

    #[test]
    fn no_piece_unpacks_to_more_than_its_file_says() {
        let largest = vec![0; 256 << 10];
        assert_eq!(check(&file(&piece(&largest), |_, _| {})), Ok(0));
        let bomb = piece(&vec![0; 4 << 20]);
        let refusal = check(&file(&bomb, |_, _| {})).unwrap_err();
        assert_eq!(
            refusal,
            format!(
                "stripe 0 has a piece of {} bytes that unpacks to more than the 262144 that the \
                 file allows",
                bomb.len() - HEADER
            )
        );
        let pieces = piece(&largest).repeat(5000);
        let refusal = check(&file(&pieces, |_, _| {})).unwrap_err();
        assert!(refusal.starts_with("stripe 0 unpacks to more than 1073741824 bytes"), "{refusal}");
        assert_eq!(
            check(&file(&pieces[..100], |_, _| {})),
            Err("stripe 0 has a piece that is cut off".to_owned())
        );
    }

    #[test]
    fn what_the_reader_would_believe_is_looked_at() {
        let refusal = |change: fn(&mut Footer, &mut StripeFooter)| {
            check(&file(&piece(b"text"), change)).unwrap_err()
        };
        let cases = [
            refusal(|footer, _| footer.types[0].subtypes = vec![0]),
            refusal(|footer, _| footer.types = vec![Type::default(); 257]),
            refusal(|footer, _| footer.number_of_rows = Some(u64::MAX)),
            refusal(|footer, _| footer.stripes[0].offset = Some(u64::MAX)),
            refusal(|footer, _| footer.stripes[0].data_length = Some(1 << 40)),
            refusal(|_, stripe| stripe.columns.clear()),
            refusal(|_, stripe| stripe.columns[0].dictionary_size = Some(11)),
            refusal(|_, stripe| stripe.streams[0].length = Some(u64::MAX)),
        ];
        insta::assert_snapshot!(cases.join("\n"));
        let dictionary = file(&piece(b"text"), |_, stripe| {
            stripe.streams[0].kind = Some(Kind::DictionaryData.into());
        });
        assert_eq!(check(&dictionary), Ok(4));
    }
}

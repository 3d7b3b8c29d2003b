//! Parses a page of ListObjectsV2 directly from its XML: for millions of objects, the SDK's parser
//! costs as much as a quarter of the HEAD requests.
//!
//! An unexpected document is not parsed. Then the SDK makes the request, and its result counts.

use quick_xml::{Reader, events::Event};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Keys are percent-encoded.
    pub(super) is_encoded: bool,
    pub(super) is_truncated: bool,
    /// The token for the next page.
    pub(super) token: Option<String>,
    pub(super) entries: Vec<ListedObject>,
}

/// An object in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListedObject {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<OffsetDateTime>,
    pub(super) storage_class: Option<String>,
}

/// An object that is being parsed; required fields may still be missing.
#[derive(Default)]
struct PartialObject {
    key: Option<String>,
    size: Option<u64>,
    rest: ListedObject,
}

impl Listing {
    /// Parses a page; none if it is incomplete or not a page.
    pub(super) fn parse(xml: &str) -> Option<Self> {
        let mut reader = Reader::from_str(xml);
        let mut listing = Self::default();
        let (mut depth, mut text, mut draft, mut is_over, mut says_whether_it_ends) =
            (0_usize, String::new(), PartialObject::default(), false, false);
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    depth += 1;
                    text.clear();
                    if depth == 1 && start.local_name().as_ref() != b"ListBucketResult" {
                        return None;
                    }
                }
                Event::Text(piece) => text.push_str(&piece.decode().ok()?),
                Event::CData(piece) => text.push_str(&piece.decode().ok()?),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                    Some(letter) => text.push(letter),
                    None => text.push_str(quick_xml::escape::resolve_predefined_entity(
                        &reference.decode().ok()?,
                    )?),
                },
                Event::End(end) => {
                    match (depth, end.local_name().as_ref()) {
                        (1, _) => is_over = true,
                        (2, b"Contents") => {
                            listing.entries.push(std::mem::take(&mut draft).whole()?);
                        }
                        (2, name) => {
                            says_whether_it_ends |= name == b"IsTruncated";
                            listing.take(name, &text)?;
                        }
                        (3, name) => draft.take(name, &text)?,
                        _ => {}
                    }
                    depth = depth.checked_sub(1)?;
                    text.clear();
                }
                Event::Eof => return (is_over && says_whether_it_ends).then_some(listing),
                // Elements such as `<Prefix/>`, and parts without content.
                Event::Empty(_) | Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return None,
            }
        }
    }

    fn take(&mut self, name: &[u8], text: &str) -> Option<()> {
        match name {
            b"EncodingType" => self.is_encoded = text == "url",
            b"IsTruncated" => self.is_truncated = text.parse().ok()?,
            b"NextContinuationToken" => {
                self.token = Some(text.to_owned()).filter(|token| !token.is_empty());
            }
            _ => {}
        }
        Some(())
    }
}

impl PartialObject {
    fn take(&mut self, name: &[u8], text: &str) -> Option<()> {
        match name {
            b"Key" => self.key = Some(text.to_owned()),
            b"Size" => self.size = Some(text.parse().ok()?),
            b"ETag" => self.rest.etag = Some(text.to_owned()),
            b"LastModified" => {
                self.rest.modified = Some(OffsetDateTime::parse(text, &Rfc3339).ok()?);
            }
            b"StorageClass" => self.rest.storage_class = Some(text.to_owned()),
            _ => {}
        }
        Some(())
    }

    fn whole(self) -> Option<ListedObject> {
        Some(ListedObject { key: self.key?, size: self.size?, ..self.rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A page as S3 writes it, including elements that the guard does not read.
    fn written(listing: &Listing) -> String {
        let optional = |name: &str, text: Option<&str>| {
            text.map_or(String::new(), |text| {
                format!("<{name}>{}</{name}>", quick_xml::escape::escape(text))
            })
        };
        let entry = |entry: &ListedObject| {
            let modified = entry.modified.map(|modified| modified.format(&Rfc3339).unwrap());
            format!(
                "<Contents><Key>{}</Key>{}{}<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>{}</Size><Owner><ID>75aa</ID><Key>no</Key></Owner>{}</Contents>",
                quick_xml::escape::escape(&entry.key),
                optional("LastModified", modified.as_deref()),
                optional("ETag", entry.etag.as_deref()),
                entry.size,
                optional("StorageClass", entry.storage_class.as_deref())
            )
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>acme</Name><Prefix/>{}{}<KeyCount>1</KeyCount>\
             <IsTruncated>{}</IsTruncated>{}<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes></ListBucketResult>",
            optional("NextContinuationToken", listing.token.as_deref()),
            if listing.is_encoded { "<EncodingType>url</EncodingType>" } else { "" },
            listing.is_truncated,
            listing.entries.iter().map(entry).collect::<String>()
        )
    }

    fn entry() -> impl Strategy<Value = ListedObject> {
        let time = (0_i64..4_000_000_000)
            .prop_map(|second| OffsetDateTime::from_unix_timestamp(second).unwrap());
        (
            "[ -~äß€]{0,12}",
            any::<u64>(),
            prop::option::of("\"[0-9a-f]{4}\""),
            prop::option::of(time),
            prop::option::of("[A-Z_]{1,8}"),
        )
            .prop_map(|(key, size, etag, modified, storage_class)| ListedObject {
                key,
                size,
                etag,
                modified,
                storage_class,
            })
    }

    proptest! {
        #[test]
        fn a_page_is_read_as_it_was_written_and_a_part_of_one_is_none(
            entries in prop::collection::vec(entry(), 0..5), token in prop::option::of("[ \
                -~]{1,20}"), is_encoded: bool, is_truncated: bool, cut in 0.0..1.0_f64,
        ) {
            let listing = Listing { is_encoded, is_truncated, token, entries };
            let text = written(&listing);
            prop_assert_eq!(Listing::parse(&text), Some(listing));
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short text")]
            let part = text.char_indices().nth((text.chars().count() as f64 * cut) as usize).map_or("", |(at, _)| &text[..at]);
            prop_assert_eq!(Listing::parse(part), None);
        }
    }

    #[test]
    fn what_is_no_page_is_none() {
        let page = |inside: &str| {
            Listing::parse(&format!(
                "<ListBucketResult><IsTruncated>false</IsTruncated>{inside}</ListBucketResult>"
            ))
        };
        assert!(page("<Contents><Key>a</Key><Size>1</Size></Contents>").is_some());
        for inside in [
            "<Contents><Key>a</Key></Contents>",
            "<Contents><Size>1</Size></Contents>",
            "<Contents><Key>a</Key><Size>-1</Size></Contents>",
            "<Contents><Key>a</Key><Size>1</Size><LastModified>yesterday</LastModified></Contents>",
            "<Contents><Key>a&unknown;</Key><Size>1</Size></Contents>",
            "<Contents><Key>a</Size></Contents>",
            "<IsTruncated>perhaps</IsTruncated>",
        ] {
            assert_eq!(page(inside), None, "{inside}");
        }
        assert_eq!(Listing::parse("<Error><Code>SlowDown</Code></Error>"), None);
        assert_eq!(
            Listing::parse("<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult></ListBucketResult>"),
            None
        );
        assert_eq!(Listing::parse(""), None);
    }
}

//! Lists: reads the pages of one split, and cuts a location into splits.

use std::sync::Arc;

use aws_sdk_s3::{
    operation::list_objects_v2::ListObjectsV2Output,
    primitives::DateTime,
    types::{DeleteMarkerEntry, EncodingType, Object as Listed, ObjectVersion},
};
use time::OffsetDateTime;

use crate::{
    base::{
        aws_calls::{self, Call},
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{BucketName, S3Location},
    },
    facts::{
        heads::Heads,
        scan::{
            listing::{ListedObject, Listing},
            order::{ListFault, ListOrder, Marker},
            scope::{ListPosition, Object, ScanScope, Split, SplitProgress},
        },
    },
};

/// The maximum number of splits of a location.
const SPLITS: usize = 32;
/// How many pages of folders are read to find borders, and how many levels deep.
const FOLDER_PAGES: usize = 10;
const DEPTH: usize = 6;
/// How many positions in the keys are tried to find one where they differ.
const PLACES: usize = 40;
/// The last character of Unicode. Appended to a prefix, it sorts after all keys that continue the
/// prefix with another character.
const LAST: char = '\u{10ffff}';

/// A page of a list. Its objects are not read yet.
#[derive(Debug)]
pub(crate) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) reached: SplitProgress,
}

/// The pages of one split.
pub(super) struct Pages<'a> {
    s3: &'a aws_sdk_s3::Client,
    scope: &'a ScanScope,
    bucket: Arc<BucketName>,
    heads: &'a Heads,
    at: Option<ListPosition>,
    /// Verifies that the pages fit together.
    order: ListOrder,
    /// S3's continuation token for a list of current objects.
    token: Option<String>,
    until: Option<String>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(
        s3: &'a aws_sdk_s3::Client,
        scope: &'a ScanScope,
        heads: &'a Heads,
        split: Split,
    ) -> Self {
        let bucket = Arc::new(scope.location.bucket.clone());
        let order = ListOrder::new(&scope.location.prefix, split.after.as_ref());
        Self { s3, scope, bucket, heads, at: split.after, order, token: None, until: split.until }
    }

    /// The next page.
    pub(super) async fn next(&mut self) -> Page {
        let page = if self.scope.versions { self.versions().await } else { self.current().await };
        let mut page = match page {
            Lookup::Found(page) => page,
            other => {
                return Page {
                    objects: Vec::new(),
                    reached: SplitProgress::Stopped(other.map(drop)),
                };
            }
        };
        // Ranges of keys are complete only if the pages of a list fit together. S3's lists do,
        // except those of directory buckets, which have no order.
        if let Err(fault) = self.fits(&page) {
            return Page {
                objects: Vec::new(),
                reached: SplitProgress::Stopped(incomplete(self.call(), &fault)),
            };
        }
        // It is not documented whether a list that starts at a key marker includes that key.
        if let Some(ListPosition { key, version: None }) = &self.at {
            let start = page.objects.partition_point(|object| object.key <= *key);
            page.objects.drain(..start);
        }
        if let Some(until) = &self.until
            && page.objects.last().is_some_and(|last| last.key > *until)
        {
            let end = page.objects.partition_point(|object| object.key <= *until);
            page.objects.truncate(end);
            page.reached = SplitProgress::End;
        }
        page.objects
            .retain(|object| !self.scope.except.iter().any(|inner| object.key.starts_with(inner)));
        if let SplitProgress::Position(position) = &page.reached {
            self.at = Some(position.clone());
        }
        page
    }

    /// Compares a page, as S3 sent it, with the pages before it.
    fn fits(&mut self, page: &Page) -> Result<(), ListFault> {
        let next = match (&page.reached, &self.token) {
            (SplitProgress::Position(_), Some(token)) => Some(Marker::Token(token)),
            (SplitProgress::Position(position), None) => {
                Some(Marker::Version(&position.key, position.version.as_deref()))
            }
            _ => None,
        };
        let entries =
            page.objects.iter().map(|object| (object.key.as_str(), object.version_id.as_deref()));
        self.order.page(entries, next)
    }

    fn call(&self) -> &'static Call {
        if self.scope.versions {
            &aws_calls::LIST_OBJECT_VERSIONS
        } else {
            &aws_calls::LIST_OBJECTS
        }
    }

    async fn current(&mut self) -> Lookup<Page> {
        let after = self
            .at
            .as_ref()
            .filter(|at| !at.key.is_empty() && self.token.is_none())
            .map(|at| at.key.as_str());
        let location = &self.scope.location;
        let prefix = Some(location.prefix.as_str()).filter(|prefix| !prefix.is_empty());
        // In the order in which they are signed.
        let parameters = [
            ("continuation-token", self.token.as_deref()),
            ("encoding-type", Some("url")),
            ("list-type", Some("2")),
            ("prefix", prefix),
            ("start-after", after),
        ];
        let call = &aws_calls::LIST_OBJECTS;
        let listing =
            match self.heads.list(call, &parameters).await.and_then(|xml| Listing::parse(&xml)) {
                Some(listing) => listing,
                None => {
                    let request = self
                        .s3
                        .list_objects_v2()
                        .bucket(location.bucket.as_str())
                        .prefix(&location.prefix)
                        .encoding_type(EncodingType::Url);
                    let request = request
                        .set_start_after(after.map(str::to_owned))
                        .set_continuation_token(self.token.clone());
                    let result = request.customize().interceptor(self.heads.learn()).send().await;
                    match Lookup::from_call(call, &["NoSuchBucket"], result)
                        .and_then(|page| Lookup::expect_in_answer(call, listing(page)))
                    {
                        Lookup::Found(listing) => listing,
                        other => {
                            return other.map(|_| Page {
                                objects: Vec::new(),
                                reached: SplitProgress::End,
                            });
                        }
                    }
                }
            };
        let objects: Vec<Object> = listing
            .entries
            .into_iter()
            .map(|entry| self.object(entry, listing.is_encoded))
            .collect();
        // A page may be empty although the list continues.
        let last = objects
            .last()
            .map(|last| last.key.clone())
            .or_else(|| self.at.as_ref().map(|at| at.key.clone()));
        let next = listing
            .token
            .as_ref()
            .map(|_| ListPosition { key: last.unwrap_or_default(), version: None });
        self.token = listing.token;
        Self::page(call, objects, listing.is_truncated, next)
    }

    async fn versions(&self) -> Lookup<Page> {
        let (key, version) = self.at.clone().map(|at| (at.key, at.version)).unzip();
        let location = &self.scope.location;
        let request = self
            .s3
            .list_object_versions()
            .bucket(location.bucket.as_str())
            .prefix(&location.prefix);
        let request = request
            .set_key_marker(key)
            .set_version_id_marker(version.flatten())
            .encoding_type(EncodingType::Url);
        let result = request.customize().interceptor(self.heads.learn()).send().await;
        let call = &aws_calls::LIST_OBJECT_VERSIONS;
        Lookup::from_call(call, &["NoSuchBucket"], result).and_then(|page| {
            let encoded = is_encoded(page.encoding_type.as_ref());
            let versions: Option<Vec<Object>> = page
                .versions
                .unwrap_or_default()
                .into_iter()
                .map(|version| self.version(version, encoded))
                .collect();
            let markers: Option<Vec<Object>> = page
                .delete_markers
                .unwrap_or_default()
                .into_iter()
                .map(|marker| self.marker(marker, encoded))
                .collect();
            let next = page.next_key_marker.filter(|key| !key.is_empty()).map(|key| ListPosition {
                key: decoded(key, encoded),
                version: page.next_version_id_marker.filter(|version| !version.is_empty()),
            });
            let told = versions.zip(markers).zip(page.is_truncated);
            Lookup::expect_in_answer(call, told).and_then(|((mut objects, markers), truncated)| {
                for list in [&objects, &markers] {
                    let mut pairs = list.iter().zip(list.iter().skip(1));
                    if let Some((last, next)) = pairs.find(|(last, next)| last.key > next.key) {
                        let (last, key) = (last.key.clone(), next.key.clone());
                        return incomplete(call, &ListFault::GoesBack { key, last });
                    }
                }
                objects.extend(markers);
                // S3 gives versions and delete markers as two lists. For each key, the newest comes
                // first.
                objects.sort_by(|a, b| {
                    a.key
                        .cmp(&b.key)
                        .then(b.is_latest.cmp(&a.is_latest))
                        .then(b.modified.cmp(&a.modified))
                });
                Self::page(call, objects, truncated, next)
            })
        })
    }

    /// `next` is the position of a list that continues. An answer without it is invalid.
    fn page(
        call: &Call,
        objects: Vec<Object>,
        goes_on: bool,
        next: Option<ListPosition>,
    ) -> Lookup<Page> {
        if !goes_on && next.is_some() {
            return incomplete(call, &ListFault::Contradicts);
        }
        if !goes_on {
            return Lookup::Found(Page { objects, reached: SplitProgress::End });
        }
        Lookup::expect_in_answer(call, next)
            .map(|next| Page { objects, reached: SplitProgress::Position(next) })
    }

    fn object(&self, entry: ListedObject, encoded: bool) -> Object {
        Object {
            bucket: Arc::clone(&self.bucket),
            key: decoded(entry.key, encoded),
            version_id: None,
            is_latest: true,
            is_delete_marker: false,
            size: entry.size,
            etag: entry.etag,
            modified: entry.modified,
            storage_class: entry.storage_class,
            stored: Lookup::Absent,
        }
    }

    fn version(&self, listed: ObjectVersion, encoded: bool) -> Option<Object> {
        Some(Object {
            bucket: Arc::clone(&self.bucket),
            key: decoded(listed.key?, encoded),
            version_id: Some(listed.version_id?),
            is_latest: listed.is_latest?,
            is_delete_marker: false,
            size: u64::try_from(listed.size?).ok()?,
            etag: listed.e_tag,
            modified: listed.last_modified.and_then(time),
            storage_class: listed.storage_class.map(|class| class.as_str().to_owned()),
            stored: Lookup::Absent,
        })
    }

    fn marker(&self, listed: DeleteMarkerEntry, encoded: bool) -> Option<Object> {
        Some(Object {
            bucket: Arc::clone(&self.bucket),
            key: decoded(listed.key?, encoded),
            version_id: Some(listed.version_id?),
            is_latest: listed.is_latest?,
            is_delete_marker: true,
            size: 0,
            etag: None,
            modified: listed.last_modified.and_then(time),
            storage_class: None,
            stored: Lookup::Absent,
        })
    }
}

/// A list whose pages do not fit together: whether it is complete is unknown.
fn incomplete<T>(call: &Call, fault: &ListFault) -> Lookup<T> {
    Lookup::Unreachable(LookupError::new(
        call.permission,
        LookupErrorKind::UnreadableAnswer,
        format!(
            "{fault}; whether it has every object is unknown. fix: run this again; if it happens \
             again, look at what answers instead of S3 (a proxy, a gateway, an emulator)"
        ),
    ))
}

/// The page that the SDK has parsed; none if a field is missing that every object has.
fn listing(page: ListObjectsV2Output) -> Option<Listing> {
    let entry = |object: Listed| {
        Some(ListedObject {
            key: object.key?,
            size: u64::try_from(object.size?).ok()?,
            etag: object.e_tag,
            modified: object.last_modified.and_then(time),
            storage_class: object.storage_class.map(|class| class.as_str().to_owned()),
        })
    };
    Some(Listing {
        is_encoded: is_encoded(page.encoding_type.as_ref()),
        is_truncated: page.is_truncated?,
        token: page.next_continuation_token.filter(|token| !token.is_empty()),
        entries: page.contents.unwrap_or_default().into_iter().map(entry).collect::<Option<_>>()?,
    })
}

fn time(time: DateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(time.as_nanos()).ok()
}

/// Whether the keys of a list are percent-encoded, as requested. XML cannot represent some
/// characters that keys may contain. S3 confirms the encoding; some simulators ignore the request.
fn is_encoded(kind: Option<&EncodingType>) -> bool {
    kind == Some(&EncodingType::Url)
}

/// The decoded key.
pub(crate) fn decoded(key: String, encoded: bool) -> String {
    if !encoded || !key.contains(['%', '+']) {
        return key;
    }
    let spaces = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}

/// Cuts a location into splits, at the borders of its folders. Together the splits cover all keys,
/// even those written meanwhile. `Absent`: the bucket does not exist.
pub(crate) async fn cut(s3: &aws_sdk_s3::Client, location: &S3Location) -> Lookup<Vec<Split>> {
    let mut prefix = location.prefix.clone();
    let (mut folders, mut is_large) = (Vec::new(), false);
    for _ in 0..DEPTH {
        folders = match folders_below(s3, location, &prefix).await {
            Lookup::Found(Some(folders)) => folders,
            // A list of one page needs no splits.
            Lookup::Found(None) => break,
            other => return other.map(|_| Vec::new()),
        };
        is_large = true;
        // If there is only one folder, its subfolders are used.
        match folders.as_slice() {
            [only] => prefix.clone_from(only),
            _ => break,
        }
    }
    if folders.len() < 2 && is_large {
        folders = match by_letter(s3, location, &prefix).await {
            Lookup::Found(borders) => borders,
            other => return other.map(|_| Vec::new()),
        };
    }
    Lookup::Found(between(&folders))
}

/// The borders for keys below `prefix` without folders: one for each character at the first
/// position where the keys differ.
async fn by_letter(
    s3: &aws_sdk_s3::Client,
    location: &S3Location,
    prefix: &str,
) -> Lookup<Vec<String>> {
    let next_behind = async |start: &str, after: Option<String>| {
        let list = s3
            .list_objects_v2()
            .bucket(location.bucket.as_str())
            .prefix(start)
            .max_keys(1)
            .encoding_type(EncodingType::Url);
        let page = Lookup::from_call(
            &aws_calls::LIST_OBJECTS,
            &["NoSuchBucket"],
            list.set_start_after(after.clone()).send().await,
        );
        page.and_then(|page| {
            let encoded = is_encoded(page.encoding_type.as_ref());
            let key = page
                .contents
                .unwrap_or_default()
                .into_iter()
                .next()
                .and_then(|object| object.key)
                .map(|key| decoded(key, encoded));
            // A key that comes again would repeat for ever.
            let after = after.map(|key| ListPosition { key, version: None });
            let is_again = key.is_some() && key == after.as_ref().map(|after| after.key.clone());
            let fault = match &key {
                Some(key) if is_again => Err(ListFault::Repeats(key.clone())),
                _ => ListOrder::new(start, after.as_ref())
                    .page(key.iter().map(|key| (key.as_str(), None)), None),
            };
            match fault {
                Ok(()) => Lookup::Found(key),
                Err(fault) => incomplete(&aws_calls::LIST_OBJECTS, &fault),
            }
        })
    };
    let mut start = prefix.to_owned();
    for _ in 0..PLACES {
        let (mut borders, mut after) = (Vec::new(), None);
        while borders.len() < SPLITS {
            let key = match next_behind(&start, after.take()).await {
                Lookup::Found(Some(key)) => key,
                Lookup::Found(None) => break,
                other => return other.map(|_| Vec::new()),
            };
            // A key that ends here sorts before all longer ones.
            let Some(letter) = key.get(start.len()..).and_then(|rest| rest.chars().next()) else {
                after = Some(key);
                continue;
            };
            let border = format!("{start}{letter}");
            after = Some(format!("{border}{LAST}"));
            borders.push(border);
        }
        match borders.as_slice() {
            [] => break,
            [only] => start.clone_from(only),
            _ => return Lookup::Found(borders),
        }
    }
    Lookup::Found(Vec::new())
}

/// The folders directly below `prefix`; none if everything below it is on one page.
async fn folders_below(
    s3: &aws_sdk_s3::Client,
    location: &S3Location,
    prefix: &str,
) -> Lookup<Option<Vec<String>>> {
    let list = || {
        s3.list_objects_v2()
            .bucket(location.bucket.as_str())
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
    };
    let call = &aws_calls::LIST_OBJECTS;
    let first = Lookup::from_call(call, &["NoSuchBucket"], list().send().await);
    match first {
        Lookup::Found(first) if first.is_truncated != Some(true) => return Lookup::Found(None),
        Lookup::Found(_) => {}
        other => return other.map(|_| None),
    }
    let mut folders: Vec<String> = Vec::new();
    let mut token = None;
    for _ in 0..FOLDER_PAGES {
        let page = match Lookup::from_call(
            call,
            &["NoSuchBucket"],
            list().delimiter("/").set_continuation_token(token).send().await,
        ) {
            Lookup::Found(page) => page,
            other => return other.map(|_| None),
        };
        let encoded = is_encoded(page.encoding_type.as_ref());
        folders.extend(
            page.common_prefixes
                .unwrap_or_default()
                .into_iter()
                .filter_map(|folder| folder.prefix)
                .map(|folder| decoded(folder, encoded)),
        );
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    folders.sort();
    Lookup::Found(Some(folders))
}

/// The ranges between some of `folders`, chosen evenly.
fn between(folders: &[String]) -> Vec<Split> {
    let step = folders.len().div_ceil(SPLITS).max(1);
    let borders = folders.iter().step_by(step).skip(1);
    let mut splits = Vec::new();
    let mut after = None;
    for border in borders {
        splits.push(Split { after: after.take(), until: Some(border.clone()) });
        after = Some(ListPosition { key: border.clone(), version: None });
    }
    splits.push(Split { after, until: None });
    splits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_lies_in_one_split_wherever_a_location_is_cut(
            mut borders in prop::collection::vec("([a-c]{1,2}/){1,2}", 0..100), key in "([a-d]{0,2}/){0,3}[a-d]{0,2}",
        ) {
            borders.sort();
            borders.dedup();
            let splits = between(&borders);
            prop_assert!(splits.len() <= SPLITS);
            let holds = |split: &&Split| {
                split.after.as_ref().is_none_or(|after| key > after.key) && split.until.as_ref().is_none_or(|until| key <= *until)
            };
            prop_assert_eq!(splits.iter().filter(holds).count(), 1);
        }
    }

    #[test]
    fn keys_are_decoded_where_they_are_encoded() {
        assert_eq!(decoded("a%2Bb+c%C3%BC".to_owned(), true), "a+b cü");
        assert_eq!(decoded("a%2Bb+c".to_owned(), false), "a%2Bb+c");
    }
}

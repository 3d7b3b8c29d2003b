//! Lists: the pages of one split, and the cut of a location into splits.

use std::sync::Arc;

use aws_sdk_s3::{
    primitives::DateTime,
    types::{DeleteMarkerEntry, EncodingType, Object as Listed, ObjectVersion},
};
use time::OffsetDateTime;

use super::{Object, Position, Reached, Scope, Split};
use crate::{
    aws::{Lookup, calls, calls::Call},
    facts::heads::Heads,
    names::{BucketName, S3Location},
};

/// A location is cut into so many splits at most.
const SPLITS: usize = 32;
/// So many pages of folders are read to find where to cut, and so deep.
const FOLDER_PAGES: usize = 10;
const DEPTH: usize = 6;

/// A page of a list, nothing asked yet.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) reached: Reached,
}

/// The pages of one split.
pub(super) struct Pages<'a> {
    s3: &'a aws_sdk_s3::Client,
    scope: &'a Scope,
    bucket: Arc<BucketName>,
    heads: &'a Heads,
    at: Option<Position>,
    until: Option<String>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(s3: &'a aws_sdk_s3::Client, scope: &'a Scope, heads: &'a Heads, split: Split) -> Self {
        let bucket = Arc::new(scope.location.bucket.clone());
        Self { s3, scope, bucket, heads, at: split.after, until: split.until }
    }

    /// The next page.
    pub(super) async fn next(&mut self) -> Page {
        let page = if self.scope.versions { self.versions().await } else { self.current().await };
        let mut page = match page {
            Lookup::Found(page) => page,
            other => return Page { objects: Vec::new(), reached: Reached::Stopped(other.map(drop)) },
        };
        // Whether S3 begins with a bare key marker or behind it is not written anywhere.
        if let Some(Position { key, version: None }) = &self.at {
            let start = page.objects.partition_point(|object| object.key <= *key);
            page.objects.drain(..start);
        }
        if let Some(until) = &self.until
            && page.objects.last().is_some_and(|last| last.key > *until)
        {
            let end = page.objects.partition_point(|object| object.key <= *until);
            page.objects.truncate(end);
            page.reached = Reached::End;
        }
        page.objects.retain(|object| !self.scope.except.iter().any(|inner| object.key.starts_with(inner)));
        if let Reached::Position(position) = &page.reached {
            self.at = Some(position.clone());
        }
        page
    }

    async fn current(&self) -> Lookup<Page> {
        let after = self.at.as_ref().map(|at| at.key.clone());
        let location = &self.scope.location;
        let request = self.s3.list_objects_v2().bucket(location.bucket.as_str()).prefix(&location.prefix).set_start_after(after);
        let result = request.encoding_type(EncodingType::Url).customize().interceptor(self.heads.learn()).send().await;
        let call = &calls::LIST_OBJECTS;
        Lookup::from_call(call, &["NoSuchBucket"], result).and_then(|page| {
            let encoded = is_encoded(page.encoding_type.as_ref());
            let objects = page.contents.unwrap_or_default().into_iter().map(|object| self.object(object, encoded)).collect();
            let truncated = page.is_truncated.unwrap_or_default();
            Lookup::expect_in_answer(call, objects).and_then(|objects: Vec<Object>| {
                let last = objects.last().map(|last| Position { key: last.key.clone(), version: None });
                Self::page(call, objects, truncated, last)
            })
        })
    }

    async fn versions(&self) -> Lookup<Page> {
        let (key, version) = self.at.clone().map(|at| (at.key, at.version)).unzip();
        let location = &self.scope.location;
        let request = self.s3.list_object_versions().bucket(location.bucket.as_str()).prefix(&location.prefix);
        let request = request.set_key_marker(key).set_version_id_marker(version.flatten()).encoding_type(EncodingType::Url);
        let result = request.customize().interceptor(self.heads.learn()).send().await;
        let call = &calls::LIST_OBJECT_VERSIONS;
        Lookup::from_call(call, &["NoSuchBucket"], result).and_then(|page| {
            let encoded = is_encoded(page.encoding_type.as_ref());
            let versions = page.versions.unwrap_or_default().into_iter().map(|version| self.version(version, encoded));
            let markers = page.delete_markers.unwrap_or_default().into_iter().map(|marker| self.marker(marker, encoded));
            let truncated = page.is_truncated.unwrap_or_default();
            let next = page.next_key_marker.map(|key| Position { key: decoded(key, encoded), version: page.next_version_id_marker });
            Lookup::expect_in_answer(call, versions.chain(markers).collect()).and_then(|mut objects: Vec<Object>| {
                // S3 lists the two kinds in two lists; the newest version of a key comes first.
                objects.sort_by(|a, b| a.key.cmp(&b.key).then(b.is_latest.cmp(&a.is_latest)).then(b.modified.cmp(&a.modified)));
                Self::page(call, objects, truncated, next)
            })
        })
    }

    /// `next` is where a list that goes on goes on; an answer that does not say so is none.
    fn page(call: &Call, objects: Vec<Object>, goes_on: bool, next: Option<Position>) -> Lookup<Page> {
        if !goes_on {
            return Lookup::Found(Page { objects, reached: Reached::End });
        }
        Lookup::expect_in_answer(call, next).map(|next| Page { objects, reached: Reached::Position(next) })
    }

    fn object(&self, listed: Listed, encoded: bool) -> Option<Object> {
        Some(Object {
            bucket: Arc::clone(&self.bucket),
            key: decoded(listed.key?, encoded),
            version_id: None,
            is_latest: true,
            is_delete_marker: false,
            size: u64::try_from(listed.size?).ok()?,
            etag: listed.e_tag,
            modified: listed.last_modified.and_then(time),
            storage_class: listed.storage_class.map(|class| class.as_str().to_owned()),
            stored: Lookup::Absent,
        })
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

fn time(time: DateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(time.as_nanos()).ok()
}

/// Whether the keys of a list are in the form that every key can be listed in: XML has no way to write some characters that keys may hold. S3 says so where they are;
/// some stand-ins take the wish and do nothing.
fn is_encoded(kind: Option<&EncodingType>) -> bool {
    kind == Some(&EncodingType::Url)
}

/// A key as it is.
fn decoded(key: String, encoded: bool) -> String {
    if !encoded || !key.contains(['%', '+']) {
        return key;
    }
    let spaces = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}

/// Cuts a location into splits, by the folders it has; together they hold every key, whatever is written meanwhile. `Absent`: no such bucket.
pub(crate) async fn cut(s3: &aws_sdk_s3::Client, location: &S3Location) -> Lookup<Vec<Split>> {
    let mut prefix = location.prefix.clone();
    let mut folders = Vec::new();
    for _ in 0..DEPTH {
        folders = match folders_below(s3, location, &prefix).await {
            Lookup::Found(Some(folders)) => folders,
            // What fits on one page needs no cut.
            Lookup::Found(None) => break,
            other => return other.map(|_| Vec::new()),
        };
        // A folder that is the only one is looked into.
        match folders.as_slice() {
            [only] => prefix.clone_from(only),
            _ => break,
        }
    }
    Lookup::Found(between(&folders))
}

/// The folders directly below `prefix`; none where everything below it fits on one page.
async fn folders_below(s3: &aws_sdk_s3::Client, location: &S3Location, prefix: &str) -> Lookup<Option<Vec<String>>> {
    let list = || s3.list_objects_v2().bucket(location.bucket.as_str()).prefix(prefix).encoding_type(EncodingType::Url);
    let call = &calls::LIST_OBJECTS;
    let first = Lookup::from_call(call, &["NoSuchBucket"], list().send().await);
    match first {
        Lookup::Found(first) if first.is_truncated != Some(true) => return Lookup::Found(None),
        Lookup::Found(_) => {}
        other => return other.map(|_| None),
    }
    let mut folders: Vec<String> = Vec::new();
    let mut token = None;
    for _ in 0..FOLDER_PAGES {
        let page = match Lookup::from_call(call, &["NoSuchBucket"], list().delimiter("/").set_continuation_token(token).send().await) {
            Lookup::Found(page) => page,
            other => return other.map(|_| None),
        };
        let encoded = is_encoded(page.encoding_type.as_ref());
        folders
            .extend(page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix).map(|folder| decoded(folder, encoded)));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    folders.sort();
    Lookup::Found(Some(folders))
}

/// The ranges between some of `folders`, evenly chosen.
fn between(folders: &[String]) -> Vec<Split> {
    let step = folders.len().div_ceil(SPLITS).max(1);
    let borders = folders.iter().step_by(step).skip(1);
    let mut splits = Vec::new();
    let mut after = None;
    for border in borders {
        splits.push(Split { after: after.take(), until: Some(border.clone()) });
        after = Some(Position { key: border.clone(), version: None });
    }
    splits.push(Split { after, until: None });
    splits
}

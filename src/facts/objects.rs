//! What lies in S3: each object is asked how it is encrypted, all of them up to a limit, an even sample beyond it.
//!
//! Lists carry no encryption, so every object costs a HEAD. Memory stays within the limit, or within what is under way where there is none, however many objects
//! are listed.

use std::{
    future::ready,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{Object, ServerSideEncryption},
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::{
    aws::{Lookup, Obstacle, calls},
    facts::s3::is_code,
    names::{BucketName, S3Location},
    settings::EncryptionKind,
};

/// So many HEADs are under way at once in one location, and twice as many in all; S3 answers 5,500 a second and prefix.
const HEADS_AT_ONCE: usize = 32;
/// So many keys of each kind are named.
const NAMED: usize = 3;

/// What was found in one location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Objects that hold anything.
    pub objects: u64,
    /// Empty objects, such as folder markers: they hold nothing to encrypt, and are not looked at.
    pub empty: u64,
    /// Objects from before the time that was asked about: not looked at, and counted nowhere else.
    #[serde(skip_serializing_if = "is_zero")]
    pub earlier: u64,
    /// How many were looked at.
    pub looked_at: u64,
    /// What these are, by how they are encrypted.
    pub kinds: Vec<Tally>,
    /// Those that could not be looked at.
    pub unseen: Option<Unseen>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How they are encrypted.
    pub stored: Stored,
    /// How many.
    pub objects: u64,
    /// Together, in bytes.
    pub bytes: u64,
    /// The first few keys, in the order of the list.
    pub first: Vec<String>,
}

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stored {
    /// Not at all.
    Unencrypted,
    /// By S3, under this key's ARN where it is KMS's.
    Kind(EncryptionKind, Option<String>),
    /// SSE-C: under a key that only its writer has.
    CustomerKey,
    /// In a way that this program does not know.
    Other(String),
}

/// Objects that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// How many.
    pub objects: u64,
    /// What stood in the way of the first one; `Denied` or `Unreachable`.
    pub why: Lookup<()>,
}

/// Items that stand evenly in a sequence of unknown length: at most `limit` of them, and all as long as there are no more.
///
/// Every `stride`-th item is kept; when there is no more room, every other one goes and the stride doubles.
#[derive(Debug)]
struct EvenSample<T> {
    limit: usize,
    stride: u64,
    seen: u64,
    kept: Vec<T>,
}

impl<T> EvenSample<T> {
    fn new(limit: usize) -> Self {
        Self { limit, stride: 1, seen: 0, kept: Vec::new() }
    }

    fn take(&mut self, item: T) {
        let position = self.seen;
        self.seen += 1;
        if !position.is_multiple_of(self.stride) {
            return;
        }
        if self.kept.len() == self.limit {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
            if !position.is_multiple_of(self.stride) || self.kept.len() == self.limit {
                return;
            }
        }
        self.kept.push(item);
    }
}

/// What to look at.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    /// In these folders, as if they were one.
    pub(super) folders: &'a [S3Location],
    /// Not at objects from before this time, by S3's clock.
    pub(super) since: Option<OffsetDateTime>,
    /// At so many objects, evenly spread, where there are more; none: at all of them.
    pub(super) limit: Option<usize>,
}

/// A survey under way: what it has counted can be read at any time, so that one that is broken off still says how far it came.
#[derive(Debug, Default)]
pub(super) struct Counting(Mutex<Survey>);

impl Counting {
    fn lock(&self) -> MutexGuard<'_, Survey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many objects were looked at or could not be, and how many of those that are listed so far are to be.
    pub(super) fn far(&self, limit: Option<usize>) -> (u64, u64) {
        let survey = self.lock();
        let most = limit.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(u64::MAX);
        (survey.looked_at + survey.unseen.as_ref().map_or(0, |unseen| unseen.objects), survey.objects.min(most))
    }

    /// What was counted.
    pub(super) fn end(self) -> Survey {
        let mut survey = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        survey.kinds.sort_by(|a, b| a.stored.cmp(&b.stored));
        survey
    }
}

/// How many HEADs may be under way at once, in all surveys that share it.
pub(super) fn gate() -> Semaphore {
    Semaphore::new(2 * HEADS_AT_ONCE)
}

/// Looks at what lies in `location`, at `limit` objects at most; `Absent` when there is no such bucket.
pub(super) async fn survey(s3: &aws_sdk_s3::Client, location: &S3Location, limit: usize) -> Lookup<Survey> {
    let counting = Counting::default();
    let scope = Scope { folders: std::slice::from_ref(location), since: None, limit: Some(limit) };
    let done = count(s3, &gate(), &scope, &counting).await;
    done.map(|()| counting.end())
}

/// Looks at everything in `scope`, through `gate`, and counts it; `Absent` when there is no such bucket.
pub(super) async fn count(s3: &aws_sdk_s3::Client, gate: &Semaphore, scope: &Scope<'_>, counting: &Counting) -> Lookup<()> {
    let trouble = Mutex::new(Lookup::Found(()));
    let mut listed = std::pin::pin!(
        stream::iter(scope.folders)
            .flat_map(|folder| list(s3, folder))
            .take_while(|entry| {
                let found = entry.found().is_some();
                if !found {
                    *trouble.lock().unwrap_or_else(PoisonError::into_inner) = entry.clone().map(drop);
                }
                ready(found)
            })
            .filter_map(|entry| ready(entry.into_found().filter(|entry| counting.lock().admits(entry, scope.since))))
    );
    let chosen = match scope.limit {
        None => listed.left_stream(),
        Some(limit) => {
            let mut sample = EvenSample::new(limit);
            while let Some(entry) = listed.next().await {
                sample.take(entry);
            }
            stream::iter(sample.kept).right_stream()
        }
    };
    let heads = chosen.map(async |entry| {
        // Nobody closes the gate, so it always opens.
        let _permit = gate.acquire().await;
        let stored = head(s3, entry.bucket, &entry.key).await;
        counting.lock().count(entry.key, entry.size, stored);
    });
    heads.buffer_unordered(HEADS_AT_ONCE).for_each(ready).await;
    trouble.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// An object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<'a> {
    bucket: &'a BucketName,
    key: String,
    size: u64,
    modified: Option<OffsetDateTime>,
}

/// The objects below `folder`, in the order of their keys; ends with the first answer that is none.
fn list<'a>(s3: &aws_sdk_s3::Client, folder: &'a S3Location) -> impl Stream<Item = Lookup<Entry<'a>>> + use<'a> {
    let pages = s3.list_objects_v2().bucket(folder.bucket.as_str()).prefix(&folder.prefix).into_paginator().send();
    let pages = stream::unfold(pages, async |mut pages| pages.next().await.map(|page| (page, pages)));
    pages.flat_map(|page| {
        let entries: Vec<Lookup<Entry<'a>>> = match Lookup::from_call(&calls::LIST_OBJECTS, &["NoSuchBucket"], page) {
            Lookup::Found(page) => page.contents.unwrap_or_default().into_iter().map(|object| entry(&folder.bucket, object)).collect(),
            other => vec![other.and_then(|_| Lookup::expect_in_answer(&calls::LIST_OBJECTS, None))],
        };
        stream::iter(entries)
    })
}

fn entry(bucket: &BucketName, object: Object) -> Lookup<Entry<'_>> {
    let modified = object.last_modified.and_then(|time| OffsetDateTime::from_unix_timestamp_nanos(time.as_nanos()).ok());
    let size = object.size.and_then(|size| u64::try_from(size).ok());
    Lookup::expect_in_answer(&calls::LIST_OBJECTS, object.key.zip(size).map(|(key, size)| Entry { bucket, key, size, modified }))
}

impl Survey {
    /// Counts an object that was listed; gives whether it is to be looked at. One without a time may be of any.
    fn admits(&mut self, entry: &Entry<'_>, since: Option<OffsetDateTime>) -> bool {
        if since.zip(entry.modified).is_some_and(|(since, modified)| modified < since) {
            self.earlier += 1;
            return false;
        }
        if entry.size == 0 {
            self.empty += 1;
            return false;
        }
        self.objects += 1;
        true
    }

    fn count(&mut self, key: String, size: u64, stored: Lookup<Stored>) {
        let stored = match stored {
            Lookup::Found(stored) => stored,
            // Deleted since it was listed: nobody will read it.
            Lookup::Absent => {
                self.objects = self.objects.saturating_sub(1);
                return;
            }
            other => {
                let unseen = self.unseen.get_or_insert_with(|| Unseen { objects: 0, why: other.map(drop) });
                unseen.objects += 1;
                return;
            }
        };
        self.looked_at += 1;
        let index = self.kinds.iter().position(|tally| tally.stored == stored).unwrap_or_else(|| {
            self.kinds.push(Tally { stored, objects: 0, bytes: 0, first: Vec::new() });
            self.kinds.len() - 1
        });
        let tally = &mut self.kinds[index];
        tally.objects += 1;
        tally.bytes += size;
        // Answers come in any order; the keys named are the first of the list all the same.
        let place = tally.first.partition_point(|named| *named < key);
        if place < NAMED {
            tally.first.insert(place, key);
            tally.first.truncate(NAMED);
        }
    }
}

/// Why S3 refuses an object: a GET, of one byte, is answered in words.
async fn refused(s3: &aws_sdk_s3::Client, bucket: &BucketName, key: &str) -> Lookup<Stored> {
    let result = s3.get_object().bucket(bucket.as_str()).key(key).range("bytes=0-0").send().await;
    if result.as_ref().is_err_and(|error| is_code(error, "InvalidRequest")) {
        return Lookup::Found(Stored::CustomerKey);
    }
    Lookup::from_call(&calls::GET_OBJECT, &["NoSuchKey"], result)
        .and_then(|_| Lookup::not_asked(&calls::HEAD_OBJECT, "S3 refuses a HEAD of it, but no GET"))
}

async fn head(s3: &aws_sdk_s3::Client, bucket: &BucketName, key: &str) -> Lookup<Stored> {
    let result = s3.head_object().bucket(bucket.as_str()).key(key).send().await;
    // S3 answers so, without a word, to a HEAD of an SSE-C object that does not bring its key; and to one whose credentials have expired.
    if result.as_ref().is_err_and(|error| error.raw_response().is_some_and(|response| response.status().as_u16() == 400)) {
        return refused(s3, bucket, key).await;
    }
    Lookup::from_call(&calls::HEAD_OBJECT, &["NotFound", "NoSuchKey", "404"], result).map(|answer| stored(&answer))
}

fn stored(answer: &HeadObjectOutput) -> Stored {
    if answer.sse_customer_algorithm().is_some() {
        return Stored::CustomerKey;
    }
    match answer.server_side_encryption() {
        None => Stored::Unencrypted,
        Some(kind) => match encryption_kind(kind) {
            Some(kind) => Stored::Kind(kind, answer.ssekms_key_id().map(str::to_owned)),
            None => Stored::Other(kind.as_str().to_owned()),
        },
    }
}

/// S3's word for a kind of encryption.
pub(super) fn encryption_kind(kind: &ServerSideEncryption) -> Option<EncryptionKind> {
    match kind {
        ServerSideEncryption::Aes256 => Some(EncryptionKind::SseS3),
        ServerSideEncryption::AwsKms => Some(EncryptionKind::SseKms),
        ServerSideEncryption::AwsKmsDsse => Some(EncryptionKind::DsseKms),
        _ => None,
    }
}

impl Unseen {
    /// What stood in the way, and whether it was a refusal.
    #[must_use]
    pub fn obstacle(&self) -> Option<(&Obstacle, bool)> {
        match &self.why {
            Lookup::Denied(obstacle) => Some((obstacle, true)),
            Lookup::Unreachable(obstacle) => Some((obstacle, false)),
            Lookup::Found(()) | Lookup::Absent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(items: u64, limit: usize) -> Vec<u64> {
        let mut sample = EvenSample::new(limit);
        (0..items).for_each(|item| sample.take(item));
        sample.kept
    }

    proptest! {
        #[test]
        fn a_sample_is_everything_up_to_the_limit_and_even_beyond_it(items in 0_u64..5000, limit in 1_usize..200) {
            let kept = sample(items, limit);
            let room = u64::try_from(limit).unwrap();
            if items <= room {
                prop_assert_eq!(kept, (0..items).collect::<Vec<_>>());
            } else {
                prop_assert!(kept.len() <= limit && kept.len() * 2 >= limit, "{} of {limit}", kept.len());
                let stride = kept.get(1).map_or(items, |second| second - kept[0]);
                prop_assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == stride));
                prop_assert!(kept[0] == 0 && items - kept[kept.len() - 1] <= 2 * stride, "it reaches to the end: {kept:?} of {items}");
            }
        }
    }

    proptest! {
        #[test]
        fn of_a_list_what_is_not_from_before_counts_and_each_object_counts_once(
            objects in prop::collection::vec((0_u64..3, prop::option::of(0_i64..100)), 0..50), since in prop::option::of(0_i64..100),
        ) {
            let at = |second| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
            let bucket: BucketName = "acme-out".parse().unwrap();
            let mut survey = Survey::default();
            for (size, modified) in &objects {
                let entry = Entry { bucket: &bucket, key: "a".to_owned(), size: *size, modified: modified.map(at) };
                let looked = survey.admits(&entry, since.map(at));
                let before = matches!((since, modified), (Some(since), Some(modified)) if *modified < since);
                prop_assert_eq!(looked, !before && *size > 0, "an object without a time is looked at");
            }
            prop_assert_eq!(survey.objects + survey.empty + survey.earlier, objects.len() as u64);
        }
    }

    #[test]
    fn the_keys_named_are_the_first_ones_in_whatever_order_the_answers_come() {
        let mut survey = Survey::default();
        for key in ["e", "b", "d", "a", "c"] {
            survey.count(key.to_owned(), 1, Lookup::Found(Stored::Unencrypted));
        }
        assert_eq!(survey.kinds[0].first, ["a", "b", "c"]);
    }

    #[test]
    fn what_could_not_be_seen_is_counted_and_never_taken_for_something() {
        let mut survey = Survey::default();
        let denied = || Lookup::Denied(Obstacle { operation: "s3:GetObject".to_owned(), message: "no".to_owned() });
        survey.count("a".to_owned(), 1, denied());
        survey.count("b".to_owned(), 1, Lookup::Absent);
        survey.count("c".to_owned(), 7, Lookup::Found(Stored::Unencrypted));
        survey.count("d".to_owned(), 1, denied());
        assert_eq!(survey.unseen.as_ref().map(|unseen| unseen.objects), Some(2));
        assert_eq!(survey.looked_at, 1);
        assert_eq!(survey.kinds, [Tally { stored: Stored::Unencrypted, objects: 1, bytes: 7, first: vec!["c".to_owned()] }]);
    }
}

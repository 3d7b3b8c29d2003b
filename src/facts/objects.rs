//! What already lies where a run will read: each object is asked how it is encrypted, all of them up to a limit, an even sample beyond it.
//!
//! Lists carry no encryption, so every object costs a HEAD. Memory stays within the limit, however many objects are listed.

use aws_sdk_s3::{operation::head_object::HeadObjectOutput, types::ServerSideEncryption};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    aws::{Lookup, Obstacle, calls},
    names::S3Location,
    settings::EncryptionKind,
};

/// So many HEADs are under way at once in one location; S3 answers 5,500 a second and prefix.
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
    /// How many were looked at.
    pub looked_at: u64,
    /// What these are, by how they are encrypted.
    pub kinds: Vec<Tally>,
    /// Those that could not be looked at.
    pub unseen: Option<Unseen>,
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

/// Looks at what lies in `location`, at `limit` objects at most; `Absent` when there is no such bucket.
pub(super) async fn survey(s3: &aws_sdk_s3::Client, location: &S3Location, limit: usize) -> Lookup<Survey> {
    let mut survey = Survey::default();
    let mut sample = EvenSample::new(limit);
    let mut pages = s3.list_objects_v2().bucket(location.bucket.as_str()).prefix(&location.prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = match Lookup::from_call(&calls::LIST_OBJECTS, &["NoSuchBucket"], page) {
            Lookup::Found(page) => page,
            other => return other.map(|_| survey),
        };
        for object in page.contents.unwrap_or_default() {
            let (Some(key), Some(size)) = (object.key, object.size.and_then(|size| u64::try_from(size).ok())) else {
                return Lookup::expect_in_answer(&calls::LIST_OBJECTS, None);
            };
            if size == 0 {
                survey.empty += 1;
            } else {
                survey.objects += 1;
                sample.take((key, size));
            }
        }
    }
    let heads = stream::iter(sample.kept).map(async |(key, size)| {
        let stored = head(s3, location, &key).await;
        (key, size, stored)
    });
    // In the order of the list, so that the keys named are the first ones.
    let mut heads = std::pin::pin!(heads.buffered(HEADS_AT_ONCE));
    while let Some((key, size, stored)) = heads.next().await {
        survey.count(key, size, stored);
    }
    survey.kinds.sort_by(|a, b| a.stored.cmp(&b.stored));
    Lookup::Found(survey)
}

impl Survey {
    fn count(&mut self, key: String, size: u64, stored: Lookup<Stored>) {
        let stored = match stored {
            Lookup::Found(stored) => stored,
            // Deleted since it was listed: nobody will read it.
            Lookup::Absent => return,
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
        if tally.first.len() < NAMED {
            tally.first.push(key);
        }
    }
}

async fn head(s3: &aws_sdk_s3::Client, location: &S3Location, key: &str) -> Lookup<Stored> {
    let result = s3.head_object().bucket(location.bucket.as_str()).key(key).send().await;
    // S3 answers so, without a word, to a HEAD of an SSE-C object that does not bring its key.
    if result.as_ref().is_err_and(|error| error.raw_response().is_some_and(|response| response.status().as_u16() == 400)) {
        return Lookup::Found(Stored::CustomerKey);
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

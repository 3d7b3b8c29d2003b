//! Surveys objects in S3: reads the encryption of each object up to a limit, or of an even sample
//! if there are more.
//!
//! Lists do not contain the encryption, so each object takes a HEAD request. Memory is limited by
//! that limit, or by the number of pending requests if there is none, however many objects are
//! listed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    base::{
        lookup::{Lookup, LookupError},
        names::S3Location,
    },
    facts::{
        scan::{
            self,
            pace::ConcurrencyLimit,
            scope::{Object, ScanScope},
        },
        stored::StoredEncryption,
    },
};

/// How many HEAD requests are pending at once in one location; twice as many in all. S3 answers
/// 5,500 per second and prefix.
const HEADS_AT_ONCE: usize = 32;
/// How many keys of each kind are named.
const NAMED: usize = 3;

/// The result for one location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Survey")]
pub struct LocationSurvey {
    /// Objects that are not empty.
    pub objects: u64,
    /// Empty objects, such as folder markers. They hold nothing to encrypt, and are not read.
    pub empty: u64,
    /// Objects that are older than the given time. They are not read, and are not in the other
    /// counts.
    #[serde(skip_serializing_if = "is_zero")]
    pub earlier: u64,
    /// How many objects were read.
    pub looked_at: u64,
    /// The objects that were read, by their encryption.
    pub kinds: Vec<EncryptionTally>,
    /// Objects that could not be read.
    pub unseen: Option<UnseenObjects>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Tally")]
pub struct EncryptionTally {
    /// Their encryption.
    pub stored: StoredEncryption,
    /// How many.
    pub objects: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// The first few keys, in the order of the list.
    pub first: Vec<String>,
}

/// Objects that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Unseen")]
pub struct UnseenObjects {
    /// How many.
    pub objects: u64,
    /// The error for the first one; `Denied` or `Unreachable`.
    pub why: Lookup<()>,
}

/// What to survey.
#[derive(Clone, Debug)]
pub(super) struct SurveyQuery<'a> {
    /// The folders, which are treated as one.
    pub(super) folders: &'a [S3Location],
    /// Objects older than this time, by S3's clock, are not read.
    pub(super) since: Option<OffsetDateTime>,
    /// The maximum number of objects to read; an even sample if there are more. None: read all of
    /// them.
    pub(super) limit: Option<usize>,
}

/// A survey in progress. Its counts can be read at any time, so that an interrupted survey still
/// reports how far it came.
#[derive(Debug, Default)]
pub(super) struct SurveyProgress(Mutex<LocationSurvey>);

impl SurveyProgress {
    fn lock(&self) -> MutexGuard<'_, LocationSurvey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many objects were read or could not be read, and how many of the objects listed so far
    /// will be.
    pub(super) fn far(&self, limit: Option<usize>) -> (u64, u64) {
        let survey = self.lock();
        let most = limit.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(u64::MAX);
        (
            survey.looked_at + survey.unseen.as_ref().map_or(0, |unseen| unseen.objects),
            survey.objects.min(most),
        )
    }

    /// The counts.
    pub(super) fn end(self) -> LocationSurvey {
        let mut survey = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        survey.kinds.sort_by(|a, b| a.stored.cmp(&b.stored));
        survey
    }
}

/// The limit on pending HEAD requests, for all surveys that share it.
pub(crate) fn crew() -> Arc<ConcurrencyLimit> {
    ConcurrencyLimit::new(2 * HEADS_AT_ONCE, HEADS_AT_ONCE)
}

/// Surveys the objects in `location`, at most `limit` of them; `Absent` if the bucket does not
/// exist.
pub(super) async fn survey(
    s3: &aws_sdk_s3::Client,
    location: &S3Location,
    limit: usize,
) -> Lookup<LocationSurvey> {
    let counting = SurveyProgress::default();
    let question =
        SurveyQuery { folders: std::slice::from_ref(location), since: None, limit: Some(limit) };
    let done = count(s3, &crew(), &question, &counting).await;
    done.map(|()| counting.end())
}

/// Surveys everything in the query, and counts it; `Absent` if the bucket does not exist.
pub(super) async fn count(
    s3: &aws_sdk_s3::Client,
    crew: &Arc<ConcurrencyLimit>,
    question: &SurveyQuery<'_>,
    counting: &SurveyProgress,
) -> Lookup<()> {
    let scopes = question.folders.iter().map(|folder| ScanScope {
        location: folder.clone(),
        versions: false,
        since: question.since,
        except: Vec::new(),
    });
    let scopes: Vec<ScanScope> = scopes.collect();
    if let Some(limit) = question.limit {
        let list = |object: &Object| counting.lock().list(object, question.since);
        let (objects, end) = scan::sample(s3, &scopes, limit, crew, list).await;
        let mut survey = counting.lock();
        for object in objects {
            survey.count(object);
        }
        return end;
    }
    for scope in &scopes {
        let list = |object: &Object| counting.lock().list(object, scope.since);
        let end = scan::whole(s3, scope, crew, list, |object| counting.lock().count(object)).await;
        if end.found().is_none() {
            return end;
        }
    }
    Lookup::Found(())
}

impl LocationSurvey {
    /// Counts an object that was listed.
    fn list(&mut self, object: &Object, since: Option<OffsetDateTime>) {
        if since.zip(object.modified).is_some_and(|(since, modified)| modified < since) {
            self.earlier += 1;
        } else if object.holds_data() {
            self.objects += 1;
        } else {
            self.empty += 1;
        }
    }

    /// Counts an object after its HEAD request.
    fn count(&mut self, object: Object) {
        let Object { key, size, .. } = object;
        let stored = match object.stored {
            Lookup::Found(stored) => stored,
            // The object was deleted after it was listed. It cannot be read any more.
            Lookup::Absent => {
                self.objects = self.objects.saturating_sub(1);
                return;
            }
            other => {
                let unseen = self
                    .unseen
                    .get_or_insert_with(|| UnseenObjects { objects: 0, why: other.map(drop) });
                unseen.objects += 1;
                return;
            }
        };
        self.looked_at += 1;
        let index =
            self.kinds.iter().position(|tally| tally.stored == stored).unwrap_or_else(|| {
                self.kinds.push(EncryptionTally {
                    stored,
                    objects: 0,
                    bytes: 0,
                    first: Vec::new(),
                });
                self.kinds.len() - 1
            });
        let tally = &mut self.kinds[index];
        tally.objects += 1;
        tally.bytes += size;
        // Answers come in any order, but the first keys of the list are named.
        let place = tally.first.partition_point(|named| *named < key);
        if place < NAMED {
            tally.first.insert(place, key);
            tally.first.truncate(NAMED);
        }
    }
}

impl UnseenObjects {
    /// The obstacle, and whether access was denied.
    #[must_use]
    pub fn obstacle(&self) -> Option<(&LookupError, bool)> {
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
    use crate::base::lookup::LookupErrorKind;
    use proptest::prelude::*;

    fn object(
        key: &str,
        size: u64,
        modified: Option<i64>,
        stored: Lookup<StoredEncryption>,
    ) -> Object {
        Object {
            bucket: Arc::new("acme-out".parse().unwrap()),
            key: key.to_owned(),
            version_id: None,
            is_latest: true,
            is_delete_marker: false,
            size,
            etag: None,
            modified: modified
                .map(|second| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)),
            storage_class: None,
            stored,
        }
    }

    proptest! {
        #[test]
        fn of_a_list_what_is_not_from_before_counts_and_each_object_counts_once(
            objects in prop::collection::vec((0_u64..3, prop::option::of(0_i64..100)), 0..50), since in prop::option::of(0_i64..100),
        ) {
            let since_time = since.map(|second| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second));
            let scope = ScanScope { location: S3Location::parse("s3://acme-out").unwrap(), versions: false, since: since_time, except: Vec::new() };
            let mut survey = LocationSurvey::default();
            let mut asked = 0;
            for (size, modified) in &objects {
                let object = object("a", *size, *modified, Lookup::Absent);
                survey.list(&object, since_time);
                let before = matches!((since, modified), (Some(since), Some(modified)) if *modified < since);
                prop_assert_eq!(scope.asks(&object), !before && *size > 0, "an object without a \
                    time is looked at");
                asked += u64::from(scope.asks(&object));
            }
            prop_assert_eq!(survey.objects + survey.empty + survey.earlier, objects.len() as u64);
            prop_assert_eq!(survey.objects, asked);
        }
    }

    #[test]
    fn the_keys_named_are_the_first_ones_in_whatever_order_the_answers_come() {
        let mut survey = LocationSurvey::default();
        for key in ["e", "b", "d", "a", "c"] {
            survey.count(object(key, 1, None, Lookup::Found(StoredEncryption::Unencrypted)));
        }
        assert_eq!(survey.kinds[0].first, ["a", "b", "c"]);
    }

    #[test]
    fn what_could_not_be_seen_is_counted_and_never_taken_for_something() {
        let mut survey = LocationSurvey::default();
        let denied =
            || Lookup::Denied(LookupError::new("s3:GetObject", LookupErrorKind::Denied, "no"));
        survey.count(object("a", 1, None, denied()));
        survey.count(object("b", 1, None, Lookup::Absent));
        survey.count(object("c", 7, None, Lookup::Found(StoredEncryption::Unencrypted)));
        survey.count(object("d", 1, None, denied()));
        assert_eq!(survey.unseen.as_ref().map(|unseen| unseen.objects), Some(2));
        assert_eq!(survey.looked_at, 1);
        assert_eq!(
            survey.kinds,
            [EncryptionTally {
                stored: StoredEncryption::Unencrypted,
                objects: 1,
                bytes: 7,
                first: vec!["c".to_owned()]
            }]
        );
    }
}

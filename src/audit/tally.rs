//! What was counted, by location and by kind of encryption, and what could not be read. Plain data;
//! its size depends on the number of locations, kinds and keys only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    audit::object_row::{self, SeenObject},
    base::lookup::{Lookup, LookupError, LookupErrorKind},
    checks::stored::Standard,
    facts::{scan::scope::Object, stored::StoredEncryption},
    settings::policy::EncryptionKind,
};

/// How many different obstacles are recorded for one location. Later ones are counted with the
/// last.
const OBSTACLES: usize = 16;

/// The counts of a group of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Counts")]
pub(crate) struct ObjectCounts {
    /// How many.
    pub(crate) objects: u64,
    /// Their total size in bytes.
    pub(crate) bytes: u64,
    /// How many of them are old versions.
    pub(crate) noncurrent: u64,
    /// When the oldest was written.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<crate::base::time_format::Rfc3339>")]
    pub(crate) oldest: Option<OffsetDateTime>,
    /// When the newest was written.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<crate::base::time_format::Rfc3339>")]
    pub(crate) newest: Option<OffsetDateTime>,
}

impl ObjectCounts {
    fn add(&mut self, object: &SeenObject<'_>) {
        self.objects += 1;
        self.bytes += object.size;
        self.noncurrent += u64::from(!object.is_latest);
        let Some(modified) = object.modified else { return };
        if self.oldest.is_none_or(|oldest| modified < oldest) {
            self.oldest = Some(modified);
        }
        if self.newest.is_none_or(|newest| modified > newest) {
            self.newest = Some(modified);
        }
    }
}

/// Objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TallyRow {
    pub(crate) stored: StoredEncryption,
    pub(crate) counts: ObjectCounts,
}

/// What prevented reading some objects, or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Hidden")]
pub(crate) struct UncheckedObjects {
    /// The error.
    pub(crate) obstacle: LookupError,
    /// Whether access was denied, so that a permission is missing.
    pub(crate) denied: bool,
    /// How many objects; none for a part that could not be listed.
    pub(crate) objects: u64,
    /// The key of the first of them.
    pub(crate) first: Option<String>,
}

/// What was counted in one location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditTally {
    pub(crate) rows: Vec<TallyRow>,
    /// Empty objects, such as folder markers: nothing in them to encrypt.
    pub(crate) empty: u64,
    pub(crate) delete_markers: u64,
    /// Objects that were deleted after they were listed.
    #[serde(default)]
    pub(crate) vanished: u64,
    /// Objects that could not be read.
    pub(crate) unseen: Vec<UncheckedObjects>,
    /// Parts of the location that could not be listed.
    pub(crate) unlisted: Vec<UncheckedObjects>,
    /// There is no such bucket.
    pub(crate) no_bucket: bool,
}

impl AuditTally {
    /// Counts an object whose encryption is known.
    pub(crate) fn count(&mut self, object: &SeenObject<'_>) {
        let known = self.rows.iter().position(|row| row.stored == *object.stored);
        let index = known.unwrap_or_else(|| {
            self.rows
                .push(TallyRow { stored: object.stored.clone(), counts: ObjectCounts::default() });
            self.rows.len() - 1
        });
        self.rows[index].counts.add(object);
    }

    /// Counts an object that a scan has read. Returns what is known of it.
    pub(crate) fn scanned<'a>(&mut self, object: &'a Object) -> Option<SeenObject<'a>> {
        if object.is_delete_marker {
            self.delete_markers += 1;
        } else if object.size == 0 {
            self.empty += 1;
        } else {
            match &object.stored {
                Lookup::Found(stored) => {
                    let seen = SeenObject {
                        bucket: object.bucket.as_str(),
                        key: &object.key,
                        version_id: object.version_id.as_deref(),
                        is_latest: object.is_latest,
                        size: object.size,
                        etag: object.etag.as_deref(),
                        modified: object.modified,
                        storage_class: object.storage_class.as_deref(),
                        stored,
                    };
                    self.count(&seen);
                    return Some(seen);
                }
                // The object was deleted after it was listed. It cannot be read any more.
                Lookup::Absent => self.vanished += 1,
                Lookup::Denied(obstacle) => {
                    hide(&mut self.unseen, obstacle, true, Some(&object.key));
                }
                Lookup::Unreachable(obstacle) => {
                    hide(&mut self.unseen, obstacle, false, Some(&object.key));
                }
            }
        }
        None
    }

    /// Counts a row of an inventory. Returns what is known of the object.
    pub(crate) fn listed<'a>(&mut self, row: &object_row::ObjectRow<'a>) -> Option<SeenObject<'a>> {
        if row.is_delete_marker {
            self.delete_markers += 1;
            return None;
        }
        if row.size == 0 {
            self.empty += 1;
            return None;
        }
        let Some(stored) = row.stored else {
            let message = "the inventory does not say how it is encrypted".to_owned();
            hide(
                &mut self.unseen,
                &LookupError::new("s3:GetObject", LookupErrorKind::UnreadableAnswer, message),
                false,
                Some(row.key),
            );
            return None;
        };
        let seen = row.seen(stored);
        self.count(&seen);
        Some(seen)
    }

    /// Counts a part of the location that could not be listed.
    pub(crate) fn stopped(&mut self, why: &Lookup<()>) {
        match why {
            Lookup::Found(()) => {}
            Lookup::Absent => self.no_bucket = true,
            Lookup::Denied(obstacle) => hide(&mut self.unlisted, obstacle, true, None),
            Lookup::Unreachable(obstacle) => hide(&mut self.unlisted, obstacle, false, None),
        }
    }

    /// Objects that could not be read.
    pub(crate) fn hidden(&self) -> u64 {
        self.unseen.iter().map(|hidden| hidden.objects).sum()
    }

    /// Whether listing failed before it gave any object.
    pub(crate) fn nothing_was_listed(&self) -> bool {
        self.rows.is_empty()
            && self.unseen.is_empty()
            && (self.empty, self.delete_markers, self.vanished) == (0, 0, 0)
            && !self.unlisted.is_empty()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.unseen.is_empty() && self.unlisted.is_empty() && !self.no_bucket
    }
}

fn hide(
    all: &mut Vec<UncheckedObjects>,
    obstacle: &LookupError,
    denied: bool,
    first: Option<&str>,
) {
    let place = place(all, obstacle, denied, first);
    all[place].objects += u64::from(first.is_some());
}

/// The entry in which objects with this obstacle are counted.
fn place(
    all: &mut Vec<UncheckedObjects>,
    obstacle: &LookupError,
    denied: bool,
    first: Option<&str>,
) -> usize {
    // Compared by what is recorded, so that a report does not repeat a line.
    let known = all.iter().position(|hidden| {
        hidden.denied == denied
            && hidden.obstacle.operation == obstacle.operation
            && hidden.obstacle.message == obstacle.message
    });
    known.unwrap_or_else(|| {
        if all.len() < OBSTACLES {
            all.push(UncheckedObjects {
                obstacle: obstacle.clone(),
                denied,
                objects: 0,
                first: first.map(str::to_owned),
            });
        }
        all.len() - 1
    })
}

/// The policy's judgement of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Judgement")]
pub(crate) enum ObjectJudgement {
    /// It is encrypted as required.
    Accepted,
    /// It is not.
    Offender,
    /// The source does not give its key, and the policy requires one.
    Untold,
}

impl ObjectJudgement {
    /// Judges an object by its encryption. `tells_keys`: whether the source gives the KMS key of an
    /// object.
    pub(crate) fn of(standard: &Standard, stored: &StoredEncryption, tells_keys: bool) -> Self {
        match stored {
            StoredEncryption::Kind(kind, key) if standard.accepts(*kind, key.as_deref()) => {
                Self::Accepted
            }
            StoredEncryption::Kind(kind, None)
                if *kind != EncryptionKind::SseS3
                    && !tells_keys
                    && standard.accepts_kind(*kind) =>
            {
                Self::Untold
            }
            StoredEncryption::Kind(..)
            | StoredEncryption::Unencrypted
            | StoredEncryption::CustomerKey
            | StoredEncryption::Other(_) => Self::Offender,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tally::ObjectJudgement::{Accepted, Offender, Untold};
    use proptest::prelude::*;

    fn seen(stored: &StoredEncryption, size: u64, second: i64) -> SeenObject<'_> {
        SeenObject {
            bucket: "acme",
            key: "k",
            version_id: None,
            is_latest: second % 2 == 0,
            size,
            etag: None,
            modified: OffsetDateTime::from_unix_timestamp(second).ok(),
            storage_class: None,
            stored,
        }
    }

    fn kinds() -> [StoredEncryption; 4] {
        let kms = |key: &str| StoredEncryption::Kind(EncryptionKind::SseKms, Some(key.to_owned()));
        [
            StoredEncryption::Unencrypted,
            StoredEncryption::Kind(EncryptionKind::SseS3, None),
            kms("a"),
            kms("b"),
        ]
    }

    proptest! {
        #[test]
        fn every_object_counts_once_and_the_times_span_them_all(objects in prop::collection::vec((0_usize..4, 1_u64..1000, 0_i64..1000), 1..60)) {
            let kinds = kinds();
            let mut tally = AuditTally::default();
            for (kind, size, second) in &objects {
                tally.count(&seen(&kinds[*kind], *size, *second));
            }
            let sum = |of: fn(&ObjectCounts) -> u64| tally.rows.iter().map(|row| of(&row.counts)).sum::<u64>();
            prop_assert_eq!(sum(|counts| counts.objects), objects.len() as u64);
            prop_assert_eq!(sum(|counts| counts.bytes), objects.iter().map(|(_, size, _)| size).sum::<u64>());
            let oldest = tally.rows.iter().filter_map(|row| row.counts.oldest).min().unwrap();
            let newest = tally.rows.iter().filter_map(|row| row.counts.newest).max().unwrap();
            prop_assert_eq!(oldest.unix_timestamp(), objects.iter().map(|(.., second)| *second).min().unwrap());
            prop_assert_eq!(newest.unix_timestamp(), objects.iter().map(|(.., second)| *second).max().unwrap());
        }
    }

    #[test]
    fn the_policy_is_held_against_kind_and_key() {
        let wanted = |keys: &[&str]| {
            Standard::for_tests(&[EncryptionKind::SseS3, EncryptionKind::SseKms], keys)
        };
        let judge = |keys: &[&str], stored: &StoredEncryption, tells_keys| {
            ObjectJudgement::of(&wanted(keys), stored, tells_keys)
        };
        let judged = |wanted: &Standard, tells_keys| {
            kinds().map(|stored| ObjectJudgement::of(wanted, &stored, tells_keys))
        };
        assert_eq!(judged(&wanted(&[]), true), [Offender, Accepted, Accepted, Accepted]);
        assert_eq!(judged(&wanted(&["a"]), true), [Offender, Offender, Accepted, Offender]);
        let dsse = StoredEncryption::Kind(EncryptionKind::DsseKms, Some("a".to_owned()));
        assert_eq!(judge(&["a"], &dsse, true), Offender);
        let keyless = StoredEncryption::Kind(EncryptionKind::SseKms, None);
        assert_eq!(judge(&["a"], &keyless, false), Untold, "an inventory tells no keys");
        assert_eq!(judge(&["a"], &keyless, true), Offender);
        assert_eq!(judge(&[], &keyless, false), Accepted);
        for stored in [StoredEncryption::CustomerKey, StoredEncryption::Other("aws:new".to_owned())]
        {
            assert_eq!(judge(&[], &stored, true), Offender);
        }
    }

    #[test]
    fn obstacles_are_told_apart_up_to_a_bound_and_counted_beyond_it() {
        let mut all = Vec::new();
        for number in 0..100 {
            let obstacle =
                LookupError::new("s3:GetObject", LookupErrorKind::Denied, number.to_string());
            hide(&mut all, &obstacle, true, Some("k"));
        }
        assert_eq!(all.len(), OBSTACLES);
        assert_eq!(all.iter().map(|hidden| hidden.objects).sum::<u64>(), 100);
    }
}

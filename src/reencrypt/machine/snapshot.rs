//! An object with all properties that a copy could lose, and which differences are allowed after a
//! change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reencrypt::machine::choice::{ArchiveState, RepairMethod};

/// An object as S3 describes it, tags and ACL included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In bytes.
    pub size: u64,
    /// With its quotes.
    pub etag: String,
    /// Its last modification, in milliseconds since 1970.
    pub modified: i64,
    /// Its id; none in a bucket without versions.
    pub version: Option<String>,
    /// S3's name of its encryption; none: unencrypted.
    pub algorithm: Option<String>,
    /// The KMS key's ARN.
    pub key: Option<String>,
    /// Its data key comes from the bucket key, so that not every read calls KMS.
    #[serde(default)]
    pub bucket_key: bool,
    /// `STANDARD`, …
    pub storage_class: String,
    /// `Content-Type`, `Cache-Control`, …, and the website redirect.
    pub headers: BTreeMap<String, String>,
    /// Its user metadata: `x-amz-meta-…`.
    pub metadata: BTreeMap<String, String>,
    /// The number of metadata entries that cannot be returned as headers.
    pub missing_metadata: i32,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Grantee (`id=…`, `uri=…`) and permission; none where the bucket has ACLs disabled.
    pub grants: Vec<(String, String)>,
    /// Its retention and holds.
    pub lock: ObjectLock,
    /// The checksum that S3 stores with it.
    pub checksum: Option<Checksum>,
    /// Whether it is archived.
    pub archive: ArchiveState,
}

/// Object Lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: Option<String>,
    /// In milliseconds since 1970.
    pub until: Option<i64>,
    /// It has a legal hold.
    pub legal_hold: bool,
    /// `ON` or `OFF`: the event hold.
    pub event_hold: Option<String>,
    /// The days of retention after the event.
    pub event_days: Option<i32>,
    /// The years.
    pub event_years: Option<i32>,
}

/// A checksum that S3 stores with the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// S3's name for it: `CRC32`, `CRC32C`, `CRC64NVME`, `MD5`, `SHA1`, `SHA256`, `SHA512`,
    /// `XXHASH3`, `XXHASH64` or `XXHASH128`.
    pub algorithm: String,
    /// As S3 writes it.
    pub value: String,
    /// Of the whole content; otherwise of the checksums of its parts.
    pub full: bool,
}

impl ObjectLock {
    /// Whether it protects the object at `now`, in milliseconds since 1970.
    pub fn protects(&self, now: i64) -> bool {
        self.legal_hold
            || self.event_hold.as_deref() == Some("ON")
            || self.until.is_some_and(|until| until > now)
    }

    /// The lock without an expired retention: S3 rejects a date in the past, and it protects
    /// nothing.
    #[must_use]
    pub fn in_force(&self, now: i64) -> Self {
        if self.until.is_some_and(|until| until <= now) {
            Self { mode: None, until: None, ..self.clone() }
        } else {
            self.clone()
        }
    }
}

impl Snapshot {
    /// Whether its `ETag` is the MD5 of its content: it is neither a multipart object nor encrypted
    /// with KMS.
    fn has_plain_etag(&self) -> bool {
        !self.etag.contains('-') && matches!(self.algorithm.as_deref(), None | Some("AES256"))
    }

    /// Whether UpdateObjectEncryption can be applied to it: its content has a data key of a
    /// supported kind.
    pub fn has_data_key(&self) -> bool {
        has_data_key(self.algorithm.as_deref())
    }

    /// Whether S3's data show that both have the same bytes. An `ETag` under KMS says nothing about
    /// them.
    pub fn has_same_content(&self, other: &Self) -> bool {
        let by_etag = self.has_plain_etag() && other.has_plain_etag() && self.etag == other.etag;
        let by_checksum = self.checksum.as_ref().is_some_and(|checksum| checksum.full)
            && self.checksum == other.checksum;
        self.size == other.size && (by_etag || by_checksum)
    }

    /// The version's id. S3 calls an object `null` that was written before versioning was enabled.
    pub fn id(&self) -> &str {
        self.version.as_deref().unwrap_or(NULL)
    }

    /// Whether both are the same write, whatever properties were changed since.
    pub fn is_same_write(&self, other: &Self) -> bool {
        self.id() == other.id() && self.etag == other.etag && self.modified == other.modified
    }

    /// Whether nothing differs at all: content, encryption, ACL, redirect, class, locks, tags and
    /// metadata. If versioning was enabled meanwhile, the existing object has the id `null`.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id() == other.id() && Self { version: other.version.clone(), ..self.clone() } == *other
    }
}

/// The version id of writes without versioning, or with suspended versioning: the only version that
/// can be overwritten.
pub const NULL: &str = "null";

/// S3's name of SSE-KMS, the only encryption with bucket keys. Source: Amazon S3 user guide,
/// Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys.
pub(super) const KMS: &str = "aws:kms";

/// Whether objects with this encryption, by S3's name, have a data key that UpdateObjectEncryption
/// can re-encrypt.
pub fn has_data_key(algorithm: Option<&str>) -> bool {
    matches!(algorithm, Some("AES256" | "aws:kms"))
}

/// The properties of `before` that `after` lacks, in words; empty where all were kept. `now` in
/// milliseconds since 1970.
///
/// Some things cannot be kept: copied content has a new date, and a new `ETag` where that is not
/// its MD5.
pub fn losses(before: &Snapshot, after: &Snapshot, method: RepairMethod, now: i64) -> Vec<String> {
    let mut losses = Vec::new();
    let mut same = |what: &str, equal: bool| {
        if !equal {
            losses.push(what.to_owned());
        }
    };
    same("size", before.size == after.size);
    same("storage class", before.storage_class == after.storage_class);
    same(
        "metadata",
        before.metadata == after.metadata && before.missing_metadata == after.missing_metadata,
    );
    for name in
        before.headers.keys().chain(after.headers.keys()).collect::<std::collections::BTreeSet<_>>()
    {
        same(name, before.headers.get(name) == after.headers.get(name));
    }
    let may_have_bucket_key = after.algorithm.as_deref() == Some(KMS);
    same("bucket key", after.bucket_key || !before.bucket_key || !may_have_bucket_key);
    same("tags", before.tags == after.tags);
    same("ACL", before.grants == after.grants);
    same("Object Lock", before.lock.in_force(now) == after.lock.in_force(now));
    match method {
        RepairMethod::Update => {
            same("ETag", before.etag == after.etag);
            same("date", before.modified == after.modified);
            same("checksum", before.checksum == after.checksum);
        }
        RepairMethod::Copy | RepairMethod::CopyInParts => {
            let comparable =
                method == RepairMethod::Copy && before.has_plain_etag() && after.has_plain_etag();
            same("ETag", !comparable || before.etag == after.etag);
            if let Some(checksum) = &before.checksum {
                let kept = after.checksum.as_ref();
                same(
                    "checksum's algorithm",
                    kept.is_some_and(|kept| kept.algorithm == checksum.algorithm),
                );
                same(
                    "checksum",
                    !checksum.full
                        || kept.is_none_or(|kept| !kept.full || kept.value == checksum.value),
                );
            }
        }
    }
    losses
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn plain() -> Snapshot {
        Snapshot {
            size: 5,
            etag: "\"5d41402abc4b2a76b9719d911017c592\"".to_owned(),
            modified: 0,
            version: None,
            algorithm: None,
            key: None,
            bucket_key: false,
            storage_class: "STANDARD".to_owned(),
            headers: BTreeMap::new(),
            metadata: BTreeMap::new(),
            missing_metadata: 0,
            tags: BTreeMap::new(),
            grants: Vec::new(),
            lock: ObjectLock::default(),
            checksum: None,
            archive: ArchiveState::No,
        }
    }

    fn lost(change: impl FnOnce(&mut Snapshot)) -> Vec<String> {
        let before = plain();
        let mut after = Snapshot { algorithm: Some("AES256".to_owned()), modified: 9, ..plain() };
        change(&mut after);
        losses(&before, &after, RepairMethod::Copy, 0)
    }

    #[test]
    fn each_thing_that_a_copy_may_lose_is_named() {
        assert!(lost(|_| ()).is_empty());
        assert_eq!(lost(|it| it.size = 4), ["size"]);
        assert_eq!(lost(|it| it.etag = "\"x\"".to_owned()), ["ETag"]);
        assert_eq!(lost(|it| it.storage_class = "STANDARD_IA".to_owned()), ["storage class"]);
        assert_eq!(
            lost(|it| drop(it.metadata.insert("a".to_owned(), "b".to_owned()))),
            ["metadata"]
        );
        assert_eq!(
            lost(|it| drop(it.headers.insert("website-redirect".to_owned(), "/".to_owned()))),
            ["website-redirect"]
        );
        assert_eq!(lost(|it| drop(it.tags.insert("a".to_owned(), "b".to_owned()))), ["tags"]);
        assert_eq!(lost(|it| it.grants.push(("id=x".to_owned(), "READ".to_owned()))), ["ACL"]);
        assert_eq!(lost(|it| it.lock.legal_hold = true), ["Object Lock"]);
    }

    #[test]
    fn a_bucket_key_is_kept_where_there_is_one_to_keep() {
        let under = |algorithm: &str, bucket_key| Snapshot {
            algorithm: Some(algorithm.to_owned()),
            etag: "\"x\"".to_owned(),
            bucket_key,
            ..plain()
        };
        let lost = |from: &Snapshot, to: &Snapshot| losses(from, to, RepairMethod::Copy, 0);
        let (with, without) = (under("aws:kms", true), under("aws:kms", false));
        assert_eq!(lost(&with, &without), ["bucket key"]);
        assert!(lost(&with, &with).is_empty() && lost(&without, &with).is_empty());
        assert!(lost(&with, &under("aws:kms:dsse", false)).is_empty(), "it knows none");
    }

    #[test]
    fn an_etag_says_nothing_of_the_content_under_kms_or_in_parts() {
        let changed = |algorithm: &str, etag: &str| {
            lost(|it| {
                it.algorithm = Some(algorithm.to_owned());
                it.etag = etag.to_owned();
            })
        };
        assert!(changed("aws:kms", "\"other\"").is_empty());
        assert!(changed("AES256", "\"other-2\"").is_empty());
        assert_eq!(changed("AES256", "\"other\""), ["ETag"]);
    }

    #[test]
    fn a_checksum_of_the_whole_content_is_kept_and_one_of_parts_keeps_its_algorithm() {
        let sum = |algorithm: &str, value: &str, full| {
            Some(Checksum { algorithm: algorithm.to_owned(), value: value.to_owned(), full })
        };
        let compare = |before, after| {
            let before = Snapshot { checksum: before, ..plain() };
            losses(&before, &Snapshot { checksum: after, ..plain() }, RepairMethod::Copy, 0)
        };
        assert!(compare(None, sum("CRC64NVME", "a", true)).is_empty(), "S3 adds its own");
        assert!(compare(sum("SHA256", "a-2", false), sum("SHA256", "b", true)).is_empty());
        assert_eq!(compare(sum("SHA256", "a", true), sum("SHA256", "b", true)), ["checksum"]);
        assert_eq!(
            compare(sum("SHA256", "a", true), sum("CRC32", "a", true)),
            ["checksum's algorithm"]
        );
    }

    #[test]
    fn a_retention_that_is_over_need_not_be_kept() {
        let lock = ObjectLock {
            mode: Some("GOVERNANCE".to_owned()),
            until: Some(100),
            ..ObjectLock::default()
        };
        let before = Snapshot { lock, ..plain() };
        assert_eq!(losses(&before, &plain(), RepairMethod::Copy, 99), ["Object Lock"]);
        assert!(losses(&before, &plain(), RepairMethod::Copy, 100).is_empty());
    }
}

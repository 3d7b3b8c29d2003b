//! An object with all that it carries, as far as a copy could lose it: what is looked at before and
//! after, and how the two may differ.

use std::collections::BTreeMap;

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{ChecksumMode, ObjectLockLegalHoldStatus, ServerSideEncryption},
};
use serde::{Deserialize, Serialize};

use crate::{
    aws::bucket_region::is_code,
    base::{aws_calls, lookup::Lookup},
    facts::stored::{self, StoredEncryption},
    reencrypt::{
        method::{ArchiveState, LARGEST_COPY, RepairMethod},
        place::ObjectId,
    },
    settings::policy::EncryptionKind,
};

/// An object as S3 describes it, tags and ACL included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// In bytes.
    pub(crate) size: u64,
    /// With its quotes.
    pub(crate) etag: String,
    /// When it was written, in milliseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) version: Option<String>,
    /// S3's word for how it is encrypted; none: not at all.
    pub(crate) algorithm: Option<String>,
    /// The KMS key's ARN.
    pub(crate) key: Option<String>,
    /// `STANDARD`, …
    pub(crate) storage_class: String,
    /// `Content-Type`, `Cache-Control`, …, and where a website redirects to.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Metadata that cannot travel in headers.
    pub(crate) missing_metadata: i32,
    pub(crate) tags: BTreeMap<String, String>,
    /// Grantee (`id=…`, `uri=…`) and permission; none where the bucket knows no ACLs.
    pub(crate) grants: Vec<(String, String)>,
    pub(crate) lock: ObjectLock,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) archive: ArchiveState,
}

/// Object Lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectLock {
    pub(crate) mode: Option<String>,
    /// In milliseconds since 1970.
    pub(crate) until: Option<i64>,
    pub(crate) legal_hold: bool,
    pub(crate) event_hold: Option<String>,
    pub(crate) event_days: Option<i32>,
    pub(crate) event_years: Option<i32>,
}

/// A checksum that S3 keeps with the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    pub(crate) algorithm: String,
    pub(crate) value: String,
    /// Of the whole content; else of the checksums of its parts.
    pub(crate) full: bool,
}

impl ObjectLock {
    /// Whether it protects anything at `now`, in milliseconds since 1970.
    pub(crate) fn protects(&self, now: i64) -> bool {
        self.legal_hold
            || self.event_hold.as_deref() == Some("ON")
            || self.until.is_some_and(|until| until > now)
    }

    /// Without a retention that is over: S3 accepts no date in the past, and it protects nothing.
    pub(crate) fn in_force(&self, now: i64) -> Self {
        if self.until.is_some_and(|until| until <= now) {
            Self { mode: None, until: None, ..self.clone() }
        } else {
            self.clone()
        }
    }
}

impl Snapshot {
    /// How it is encrypted.
    pub(crate) fn stored(&self) -> StoredEncryption {
        match self.algorithm.as_deref() {
            None => StoredEncryption::Unencrypted,
            Some(algorithm) => {
                match stored::encryption_kind(&ServerSideEncryption::from(algorithm)) {
                    Some(kind) => StoredEncryption::Kind(kind, self.key.clone()),
                    None => StoredEncryption::Other(algorithm.to_owned()),
                }
            }
        }
    }

    /// Whether its `ETag` is the MD5 of its content: neither written in parts nor encrypted by KMS.
    fn has_plain_etag(&self) -> bool {
        !self.etag.contains('-')
            && matches!(
                self.stored(),
                StoredEncryption::Unencrypted | StoredEncryption::Kind(EncryptionKind::SseS3, _)
            )
    }
}

/// What objects of a bucket may carry that a HEAD does not show, or shows only to those who may
/// read it: then it has to be asked for by name, since a copy made by somebody who does not see it
/// would lose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HiddenMetadata {
    pub(crate) acls: bool,
    pub(crate) locks: bool,
}

impl HiddenMetadata {
    /// So many requests one look takes, tags not counted.
    pub(crate) fn a_look(self) -> u64 {
        1 + u64::from(self.acls) + 2 * u64::from(self.locks)
    }

    /// So many requests the look took that came to `seen`.
    pub(crate) fn requests(self, seen: &Snapshot) -> u64 {
        self.a_look() + u64::from(!seen.tags.is_empty() || seen.size > LARGEST_COPY)
    }
}

/// Looks at an object. `Absent`: there is no such object.
pub(crate) async fn look(
    s3: &aws_sdk_s3::Client,
    place: &ObjectId,
    version: Option<&str>,
    carries: HiddenMetadata,
) -> Lookup<Snapshot> {
    let version = version.map(str::to_owned);
    let request =
        s3.head_object().bucket(&place.bucket).key(&place.key).set_version_id(version.clone());
    let result = Box::pin(request.checksum_mode(ChecksumMode::Enabled).send()).await;
    let head = match Lookup::from_call(
        &aws_calls::HEAD_OBJECT,
        &["NotFound", "NoSuchKey", "NoSuchVersion", "404"],
        result,
    ) {
        Lookup::Found(head) => head,
        other => return other.and_then(|_| Lookup::Absent),
    };
    // S3 copies tags by itself, or refuses; but a copy in parts is only given what was seen.
    let asks_tags = head.tag_count.unwrap_or(0) > 0
        || head.content_length.is_none_or(|size| size > LARGEST_COPY.cast_signed());
    let tags = async {
        if asks_tags {
            tags(s3, place, version.clone()).await
        } else {
            Lookup::Found(BTreeMap::new())
        }
    };
    let grants = async {
        if carries.acls {
            grants(s3, place, version.clone()).await
        } else {
            Lookup::Found(Vec::new())
        }
    };
    let lock = async {
        if carries.locks {
            lock(s3, place, version.clone()).await
        } else {
            Lookup::Found(ObjectLock::default())
        }
    };
    let (tags, grants, lock) = tokio::join!(Box::pin(tags), Box::pin(grants), Box::pin(lock));
    tags.and_then(|tags| {
        grants.and_then(|grants| {
            lock.and_then(|lock| {
                Lookup::expect_in_answer(
                    &aws_calls::HEAD_OBJECT,
                    snapshot(head, tags, grants, lock),
                )
            })
        })
    })
}

/// Retention and legal hold.
async fn lock(
    s3: &aws_sdk_s3::Client,
    place: &ObjectId,
    version: Option<String>,
) -> Lookup<ObjectLock> {
    let none = "NoSuchObjectLockConfiguration";
    let retention = s3
        .get_object_retention()
        .bucket(&place.bucket)
        .key(&place.key)
        .set_version_id(version.clone())
        .send();
    let hold = s3
        .get_object_legal_hold()
        .bucket(&place.bucket)
        .key(&place.key)
        .set_version_id(version)
        .send();
    let (retention, hold) = tokio::join!(Box::pin(retention), Box::pin(hold));
    let retention = if retention.as_ref().is_err_and(|error| is_code(error, none)) {
        Lookup::Found(None)
    } else {
        Lookup::from_call(
            &aws_calls::GET_OBJECT_RETENTION,
            &["NoSuchKey", "NoSuchVersion"],
            retention,
        )
        .map(|answer| answer.retention)
    };
    let hold = if hold.as_ref().is_err_and(|error| is_code(error, none)) {
        Lookup::Found(None)
    } else {
        Lookup::from_call(&aws_calls::GET_OBJECT_LEGAL_HOLD, &["NoSuchKey", "NoSuchVersion"], hold)
            .map(|answer| answer.legal_hold)
    };
    retention.and_then(|retention| {
        hold.map(|hold| ObjectLock {
            mode: retention
                .as_ref()
                .and_then(|it| it.mode.as_ref())
                .map(|mode| mode.as_str().to_owned()),
            until: retention
                .and_then(|it| it.retain_until_date)
                .and_then(|until| until.to_millis().ok()),
            legal_hold: hold.and_then(|it| it.status) == Some(ObjectLockLegalHoldStatus::On),
            ..ObjectLock::default()
        })
    })
}

async fn tags(
    s3: &aws_sdk_s3::Client,
    place: &ObjectId,
    version: Option<String>,
) -> Lookup<BTreeMap<String, String>> {
    let result = s3
        .get_object_tagging()
        .bucket(&place.bucket)
        .key(&place.key)
        .set_version_id(version)
        .send()
        .await;
    Lookup::from_call(&aws_calls::GET_OBJECT_TAGGING, &["NoSuchKey"], result)
        .map(|answer| answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

async fn grants(
    s3: &aws_sdk_s3::Client,
    place: &ObjectId,
    version: Option<String>,
) -> Lookup<Vec<(String, String)>> {
    let result = s3
        .get_object_acl()
        .bucket(&place.bucket)
        .key(&place.key)
        .set_version_id(version)
        .send()
        .await;
    Lookup::from_call(&aws_calls::GET_OBJECT_ACL, &["NoSuchKey"], result).and_then(|answer| {
        let grant = |grant: aws_sdk_s3::types::Grant| {
            let grantee = grant.grantee?;
            let name = grantee
                .uri
                .map(|uri| format!("uri={uri}"))
                .or_else(|| grantee.id.map(|id| format!("id={id}")))?;
            Some((name, grant.permission?.as_str().to_owned()))
        };
        let grants: Option<Vec<_>> =
            answer.grants.unwrap_or_default().into_iter().map(grant).collect();
        Lookup::expect_in_answer(
            &aws_calls::GET_OBJECT_ACL,
            grants.map(|mut grants| {
                grants.sort();
                grants
            }),
        )
    })
}

fn snapshot(
    head: HeadObjectOutput,
    tags: BTreeMap<String, String>,
    grants: Vec<(String, String)>,
    lock: ObjectLock,
) -> Option<Snapshot> {
    let checksum = checksum(&head);
    let headers = [
        ("content-type", head.content_type),
        ("cache-control", head.cache_control),
        ("content-disposition", head.content_disposition),
        ("content-encoding", head.content_encoding),
        ("content-language", head.content_language),
        ("expires", head.expires_string),
        ("website-redirect", head.website_redirect_location),
    ];
    let headers =
        headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let storage_class =
        head.storage_class.map_or_else(|| "STANDARD".to_owned(), |class| class.as_str().to_owned());
    let archived = matches!(storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
        || head.archive_status.is_some();
    let archive = match head.restore.as_deref() {
        _ if !archived => ArchiveState::No,
        Some(restore) if restore.contains("ongoing-request=\"true\"") => ArchiveState::Restoring,
        Some(_) => ArchiveState::Restored,
        None => ArchiveState::Archived,
    };
    Some(Snapshot {
        size: u64::try_from(head.content_length?).ok()?,
        etag: head.e_tag?,
        modified: head.last_modified?.to_millis().ok()?,
        version: head.version_id,
        algorithm: head.server_side_encryption.map(|kind| kind.as_str().to_owned()),
        key: head.ssekms_key_id,
        storage_class,
        headers,
        metadata: head.metadata.unwrap_or_default().into_iter().collect(),
        missing_metadata: head.missing_meta.unwrap_or(0),
        tags,
        grants,
        lock: ObjectLock {
            event_hold: head.object_lock_event_hold.map(|hold| hold.as_str().to_owned()),
            event_days: head.object_lock_event_hold_duration_days,
            event_years: head.object_lock_event_hold_duration_years,
            ..lock
        },
        checksum,
        archive,
    })
}

fn checksum(head: &HeadObjectOutput) -> Option<Checksum> {
    let all = [
        ("CRC64NVME", &head.checksum_crc64_nvme),
        ("CRC32C", &head.checksum_crc32_c),
        ("CRC32", &head.checksum_crc32),
        ("SHA256", &head.checksum_sha256),
        ("SHA1", &head.checksum_sha1),
    ];
    let (algorithm, value) =
        all.into_iter().find_map(|(algorithm, value)| Some((algorithm, value.as_ref()?)))?;
    let full = head
        .checksum_type
        .as_ref()
        .map_or(!value.contains('-'), |kind| kind.as_str() == "FULL_OBJECT");
    Some(Checksum { algorithm: algorithm.to_owned(), value: value.clone(), full })
}

/// What of `before` is not in `after`, in words; nothing where everything was kept. `now` in
/// milliseconds since 1970.
///
/// Some things cannot stay: a content that was copied anew has a new date, and a new `ETag` where
/// that is not its MD5.
pub(crate) fn losses(
    before: &Snapshot,
    after: &Snapshot,
    method: RepairMethod,
    now: i64,
) -> Vec<String> {
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
mod tests {
    use super::*;

    pub(crate) fn plain() -> Snapshot {
        Snapshot {
            size: 5,
            etag: "\"5d41402abc4b2a76b9719d911017c592\"".to_owned(),
            modified: 0,
            version: None,
            algorithm: None,
            key: None,
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

//! Looks up an object with all properties that a copy could lose.

use std::collections::BTreeMap;

use crate::{
    aws::bucket_region::is_code,
    base::{aws_calls, lookup::Lookup},
    facts::stored::{self, StoredEncryption},
    reencrypt::{
        machine::{
            choice::{ArchiveState, LARGEST_COPY},
            snapshot::{Checksum, ObjectLock, Snapshot},
        },
        place::ObjectId,
    },
};
use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{ChecksumMode, ObjectLockLegalHoldStatus, ServerSideEncryption},
};

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
}

/// Properties that objects of a bucket may have and that a HEAD does not show, or shows only with a
/// permission. They must be requested separately, since a copy by a caller without that permission
/// would lose them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HiddenMetadata {
    pub(crate) acls: bool,
    pub(crate) locks: bool,
}

impl HiddenMetadata {
    /// The number of requests of one look-up, without tags.
    pub(crate) fn a_look(self) -> u64 {
        1 + u64::from(self.acls) + 2 * u64::from(self.locks)
    }

    /// The number of requests of the look-up that returned `seen`.
    pub(crate) fn requests(self, seen: &Snapshot) -> u64 {
        self.a_look() + u64::from(!seen.tags.is_empty() || seen.size > LARGEST_COPY)
    }
}

/// Looks up an object. `Absent`: it does not exist.
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
    // S3 copies tags by itself, or refuses. But a multipart copy gets only the tags that were read.
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
        bucket_key: head.bucket_key_enabled == Some(true),
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

/// Source: Amazon S3 API reference, HeadObject, the response's headers.
fn checksum(head: &HeadObjectOutput) -> Option<Checksum> {
    let all = [
        ("CRC64NVME", &head.checksum_crc64_nvme),
        ("CRC32C", &head.checksum_crc32_c),
        ("CRC32", &head.checksum_crc32),
        ("SHA512", &head.checksum_sha512),
        ("SHA256", &head.checksum_sha256),
        ("SHA1", &head.checksum_sha1),
        ("MD5", &head.checksum_md5),
        ("XXHASH128", &head.checksum_xxhash128),
        ("XXHASH3", &head.checksum_xxhash3),
        ("XXHASH64", &head.checksum_xxhash64),
    ];
    let (algorithm, value) =
        all.into_iter().find_map(|(algorithm, value)| Some((algorithm, value.as_ref()?)))?;
    let full = head
        .checksum_type
        .as_ref()
        .map_or(!value.contains('-'), |kind| kind.as_str() == "FULL_OBJECT");
    Some(Checksum { algorithm: algorithm.to_owned(), value: value.clone(), full })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::ChecksumAlgorithm;

    #[test]
    fn no_kind_of_checksum_is_taken_for_none() {
        let head = HeadObjectOutput::builder;
        let every = [
            head().checksum_crc32("a"),
            head().checksum_crc32_c("a"),
            head().checksum_crc64_nvme("a"),
            head().checksum_md5("a"),
            head().checksum_sha1("a"),
            head().checksum_sha256("a"),
            head().checksum_sha512("a"),
            head().checksum_xxhash128("a"),
            head().checksum_xxhash3("a"),
            head().checksum_xxhash64("a"),
        ];
        let seen: Vec<_> =
            every.map(|head| checksum(&head.build()).unwrap().algorithm).into_iter().collect();
        // S3's names in alphabetical order, and all algorithms that the SDK has.
        assert_eq!(seen, ChecksumAlgorithm::values());
        assert!(checksum(&head().build()).is_none());
    }
}

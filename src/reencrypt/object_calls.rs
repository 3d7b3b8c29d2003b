//! The calls that change one object, and the listings of its versions and uploads. Each is sent
//! once and returns its result; the state machine decides what follows.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    operation::copy_object::builders::CopyObjectFluentBuilder,
    primitives::{DateTime, DateTimeFormat},
    types::{
        ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType,
        ObjectEncryption, ObjectLockEventHold, ObjectLockLegalHoldStatus, ObjectLockMode,
        RestoreRequest, ServerSideEncryption, SsekmsEncryption, StorageClass,
    },
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    aws::{answer::describe, fast_s3::PATH, whole_list::whole_list},
    base::{
        aws_calls::{self, Call},
        lookup::{Lookup, LookupError, LookupErrorKind},
    },
    facts::scan::pages::decoded,
    reencrypt::{
        cost::{Cost, PART},
        machine::{
            event::{CallAnswer, CopyOrder, ListedVersion, MadeObject, UnfinishedUpload},
            snapshot::{ObjectLock, Snapshot},
            state::TargetEncryption,
            verdict,
        },
        pace::CopyPace,
        place::ObjectId,
    },
};

/// The maximum number of parts of an object. Source: Amazon S3 user guide, Multipart upload limits.
const MOST_PARTS: u64 = 10_000;
/// The number of parts of one object that are copied concurrently.
const PARTS_AT_ONCE: usize = 8;
/// How often a missing part is copied, or an upload that still exists is aborted.
const ATTEMPTS: u32 = 6;
/// The first wait between two of them, which doubles.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The result of one call.
enum CallResult<T> {
    Done(T),
    /// Another writer changed the object.
    Changed,
    /// The upload no longer exists.
    NoUpload,
    /// Unknown: it may have taken effect or not.
    Unclear(String),
    SlowDown,
    Refused(String),
}

impl<T> CallResult<T> {
    /// The response in the state machine's type; `made` converts a success.
    fn answer(self, made: impl FnOnce(T) -> CallAnswer) -> CallAnswer {
        match self {
            Self::Done(answer) => made(answer),
            Self::Changed => CallAnswer::Changed,
            Self::NoUpload => CallAnswer::NoUpload,
            Self::Unclear(why) => CallAnswer::Unclear(why),
            Self::SlowDown => CallAnswer::SlowDown,
            Self::Refused(why) => CallAnswer::Refused(why),
        }
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

fn sort<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    call: &Call,
    result: Result<T, SdkError<E, HttpResponse>>,
) -> CallResult<T> {
    let error = match result {
        Ok(answer) => return CallResult::Done(answer),
        Err(error) => error,
    };
    let status = error.raw_response().map(|response| response.status().as_u16());
    let said = format!("{}: {}", call.operation, describe(&error));
    match (code(&error), status) {
        ("SlowDown" | "Throttling" | "RequestLimitExceeded", _) | (_, Some(429 | 503)) => {
            CallResult::SlowDown
        }
        ("NoSuchUpload", _) => CallResult::NoUpload,
        ("PreconditionFailed" | "NoSuchKey" | "NoSuchVersion", _) | (_, Some(412)) => {
            CallResult::Changed
        }
        // These errors can come in the body of a response with status 200, so the call may have
        // taken effect.
        ("InternalError" | "ConditionalRequestConflict" | "RequestTimeout", _)
        | (_, None | Some(200 | 500..)) => CallResult::Unclear(said),
        _ => CallResult::Refused(format!("{said} ({})", call.permission)),
    }
}

fn done() -> CallAnswer {
    CallAnswer::Done(MadeObject::default())
}

/// The calls about one object.
#[derive(Clone, Copy)]
pub(super) struct ObjectCalls<'a> {
    /// For reads: retries by itself.
    pub(super) s3: &'a aws_sdk_s3::Client,
    /// For changes: a call without a response is checked before it is sent again.
    pub(super) writer: &'a aws_sdk_s3::Client,
    pub(super) pace: &'a CopyPace,
    /// The cost so far.
    pub(super) spent: &'a Mutex<Cost>,
    pub(super) place: &'a ObjectId,
    pub(super) target: &'a TargetEncryption,
}

impl ObjectCalls<'_> {
    fn spend(&self, count: impl FnOnce(&mut Cost)) {
        count(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn encryption(&self) -> ServerSideEncryption {
        ServerSideEncryption::from(self.target.algorithm.as_str())
    }

    /// The versions and delete markers of exactly this key, the newest first.
    pub(super) async fn versions(&self) -> Result<Vec<ListedVersion>, LookupError> {
        let call = &aws_calls::LIST_OBJECT_VERSIONS;
        let mut found = KeyVersions::default();
        let (mut at, mut told) = (None::<(String, Option<String>)>, HashSet::new());
        loop {
            self.spend(Cost::list);
            let (key, version) = at.clone().unzip();
            let result = self
                .s3
                .list_object_versions()
                .bucket(&self.place.bucket)
                .prefix(&self.place.key)
                .encoding_type(EncodingType::Url)
                .set_key_marker(key)
                .set_version_id_marker(version.flatten())
                .send()
                .await;
            let page = match Lookup::from_call(call, &[], result) {
                Lookup::Found(page) => page,
                other => return Err(obstacle(call, other)),
            };
            let encoded = page.encoding_type == Some(EncodingType::Url);
            let is_key = |key: Option<String>| {
                key.is_some_and(|key| decoded(key, encoded) == self.place.key)
            };
            let next = page.next_key_marker.map(|key| {
                (decoded(key, encoded), page.next_version_id_marker.filter(|id| !id.is_empty()))
            });
            let goes_on = page.is_truncated.unwrap_or_default();
            for version in page.versions.unwrap_or_default() {
                if is_key(version.key) {
                    found.add(false, version.version_id, version.is_latest, version.last_modified);
                }
            }
            for marker in page.delete_markers.unwrap_or_default() {
                if is_key(marker.key) {
                    found.add(true, marker.version_id, marker.is_latest, marker.last_modified);
                }
            }
            // Longer keys with this prefix come after it.
            match next.filter(|(key, _)| goes_on && *key <= self.place.key) {
                Some(next) if told.insert(next.clone()) => at = Some(next),
                Some(_) => return Err(unreadable(call, "it gives the same continuation twice")),
                None => break,
            }
        }
        found.in_order().ok_or_else(|| unreadable(call, "a version comes twice, or has no id"))
    }

    /// The unfinished uploads of exactly this key.
    pub(super) async fn uploads(&self) -> Result<Vec<UnfinishedUpload>, LookupError> {
        let call = &aws_calls::LIST_MULTIPART_UPLOADS;
        let mut found = Vec::new();
        let (mut at, mut told) = (None::<(String, String)>, HashSet::new());
        loop {
            self.spend(Cost::list);
            let (key, id) = at.clone().unzip();
            let result = self
                .s3
                .list_multipart_uploads()
                .bucket(&self.place.bucket)
                .prefix(&self.place.key)
                .encoding_type(EncodingType::Url)
                .set_key_marker(key)
                .set_upload_id_marker(id)
                .send()
                .await;
            let page = match Lookup::from_call(call, &[], result) {
                Lookup::Found(page) => page,
                other => return Err(obstacle(call, other)),
            };
            let encoded = page.encoding_type == Some(EncodingType::Url);
            let next = page
                .next_key_marker
                .map(|key| decoded(key, encoded))
                .zip(page.next_upload_id_marker)
                .filter(|(key, _)| page.is_truncated.unwrap_or_default() && *key <= self.place.key);
            for upload in page.uploads.unwrap_or_default() {
                let is_key = upload.key.is_some_and(|key| decoded(key, encoded) == self.place.key);
                let initiated = upload.initiated.and_then(|at| at.to_millis().ok());
                match (is_key, upload.upload_id.zip(initiated)) {
                    (false, _) => {}
                    (true, Some((id, initiated))) => found.push(UnfinishedUpload { id, initiated }),
                    (true, None) => return Err(unreadable(call, "an upload has no id or date")),
                }
            }
            match next {
                Some(next) if told.insert(next.clone()) => at = Some(next),
                Some(_) => return Err(unreadable(call, "it gives the same continuation twice")),
                None => return Ok(found),
            }
        }
    }

    /// `UpdateObjectEncryption` of a version, or of the only one.
    pub(super) async fn update(&self, version: Option<String>, before: &Snapshot) -> CallAnswer {
        let Some(encryption) = self.target.key.as_deref().and_then(|key| {
            SsekmsEncryption::builder()
                .kms_key_arn(key)
                .set_bucket_key_enabled(self.target.bucket_key_for(before))
                .build()
                .ok()
        }) else {
            return CallAnswer::Refused("the target has no key".to_owned());
        };
        self.spend(|spent| spent.write(&before.storage_class, 1));
        let request = self
            .writer
            .update_object_encryption()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .set_version_id(version);
        let result = request.object_encryption(ObjectEncryption::Ssekms(encryption)).send().await;
        sort(&aws_calls::UPDATE_OBJECT_ENCRYPTION, result).answer(|_| done())
    }

    /// `CopyObject` onto itself.
    pub(super) async fn copy(&self, order: &CopyOrder) -> CallAnswer {
        let before = &order.before;
        self.spend(|spent| spent.write(&before.storage_class, 1));
        let request = self
            .writer
            .copy_object()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .copy_source(source(self.place, order.source.as_deref()))
            // The first precondition protects the source, the second the overwritten object.
            .copy_source_if_match(&before.etag)
            .set_if_match(order.if_match.then(|| before.etag.clone()))
            .storage_class(StorageClass::from(before.storage_class.as_str()))
            .server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.target.key.clone())
            .set_bucket_key_enabled(self.target.bucket_key_for(before))
            .set_website_redirect_location(before.headers.get("website-redirect").cloned());
        let result = keep(request, before, &order.lock).send().await;
        sort(&aws_calls::COPY_OBJECT, result).answer(|answer| {
            let copy = answer.copy_object_result;
            CallAnswer::Done(MadeObject {
                version: answer.version_id,
                source: answer.copy_source_version_id,
                etag: copy.as_ref().and_then(|copy| copy.e_tag.clone()),
                modified: copy
                    .and_then(|copy| copy.last_modified)
                    .and_then(|at| at.to_millis().ok()),
                upload: None,
            })
        })
    }

    /// `CreateMultipartUpload`, with all properties of the object.
    pub(super) async fn create_upload(&self, order: &CopyOrder) -> CallAnswer {
        let (before, lock) = (&order.before, &order.lock);
        let header = |name: &str| before.headers.get(name).cloned();
        let expires = match header("expires") {
            None => None,
            Some(text) => match DateTime::from_str(&text, DateTimeFormat::HttpDate) {
                Ok(date) => Some(date),
                Err(_) => {
                    return CallAnswer::Refused(format!(
                        "its header Expires is no date (`{text}`), and would be lost in a copy in \
                         parts"
                    ));
                }
            },
        };
        let grants = |permission: &str| grants(before, permission);
        let (algorithm, kind) = checksum_of_parts(before);
        self.spend(|spent| spent.write(&before.storage_class, 1));
        let tags: Vec<String> = before
            .tags
            .iter()
            .map(|(key, value)| format!("{}={}", encoded(key), encoded(value)))
            .collect();
        let result = self
            .writer
            .create_multipart_upload()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .set_content_type(header("content-type"))
            .set_cache_control(header("cache-control"))
            .set_content_disposition(header("content-disposition"))
            .set_content_encoding(header("content-encoding"))
            .set_content_language(header("content-language"))
            .set_expires(expires)
            .set_website_redirect_location(header("website-redirect"))
            .set_metadata(
                (!before.metadata.is_empty())
                    .then(|| before.metadata.clone().into_iter().collect()),
            )
            .set_tagging((!tags.is_empty()).then(|| tags.join("&")))
            .storage_class(StorageClass::from(before.storage_class.as_str()))
            .server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.target.key.clone())
            .set_bucket_key_enabled(self.target.bucket_key_for(before))
            .set_grant_full_control(grants("FULL_CONTROL"))
            .set_grant_read(grants("READ"))
            .set_grant_read_acp(grants("READ_ACP"))
            .set_grant_write_acp(grants("WRITE_ACP"))
            .set_object_lock_mode(lock.mode.as_deref().map(ObjectLockMode::from))
            .set_object_lock_retain_until_date(lock.until.map(DateTime::from_millis))
            .set_object_lock_legal_hold_status(
                lock.legal_hold.then_some(ObjectLockLegalHoldStatus::On),
            )
            .set_object_lock_event_hold(lock.event_hold.as_deref().map(ObjectLockEventHold::from))
            .set_object_lock_event_hold_duration_days(lock.event_days)
            .set_object_lock_event_hold_duration_years(lock.event_years)
            .checksum_algorithm(algorithm)
            .checksum_type(kind)
            .send()
            .await;
        sort(&aws_calls::CREATE_MULTIPART_UPLOAD, result).answer(|answer| match answer.upload_id {
            Some(upload) => {
                CallAnswer::Done(MadeObject { upload: Some(upload), ..MadeObject::default() })
            }
            None => {
                CallAnswer::Unclear("the answer to CreateMultipartUpload holds no id".to_owned())
            }
        })
    }

    /// Copies the missing parts; `parts` becomes the complete list for the completion.
    pub(super) async fn copy_parts(
        &self,
        upload: &str,
        order: &CopyOrder,
        parts: &mut Vec<CompletedPart>,
    ) -> CallAnswer {
        let before = &order.before;
        let there = match self.parts(upload, before).await {
            CallResult::Done(there) => there,
            other => return other.answer(|_| done()),
        };
        let there = &there;
        let copies = parts_of(before.size).map(|part| async move {
            let known = there
                .get(&part.number)
                .filter(|(size, _)| *size == part.to - part.from)
                .map(|(_, known)| known.clone());
            let copied = match known {
                Some(known) => known,
                None => self.copy_part(order, upload, &part).await?,
            };
            Ok::<_, CallResult<CopiedPart>>(copied.completed(part.number))
        });
        // In any order: a slow part does not delay later ones.
        let under_way = stream::iter(copies).buffer_unordered(PARTS_AT_ONCE);
        match under_way.try_collect::<Vec<CompletedPart>>().await {
            Ok(mut all) => {
                // A completion lists them in order.
                all.sort_by_key(CompletedPart::part_number);
                *parts = all;
                done()
            }
            Err(other) => other.answer(|_| done()),
        }
    }

    /// The parts that an upload has, by number, with their sizes.
    async fn parts(
        &self,
        upload: &str,
        before: &Snapshot,
    ) -> CallResult<BTreeMap<i32, (u64, CopiedPart)>> {
        let call = &aws_calls::LIST_PARTS;
        let request =
            self.s3.list_parts().bucket(&self.place.bucket).key(&self.place.key).upload_id(upload);
        let pages = whole_list(
            call,
            &["NoSuchUpload"],
            |marker| {
                self.spend(Cost::list);
                request.clone().set_part_number_marker(marker).send()
            },
            |page| {
                page.next_part_number_marker
                    .as_deref()
                    .filter(|_| page.is_truncated.unwrap_or_default())
            },
            |page| Some(page.parts().iter().filter_map(|part| part.e_tag.as_deref()).collect()),
        );
        let pages = match Box::pin(pages).await {
            Lookup::Found(pages) => pages,
            Lookup::Absent => return CallResult::NoUpload,
            Lookup::Denied(obstacle) => {
                return CallResult::Refused(format!(
                    "{}: {} ({})",
                    call.operation, obstacle.message, call.permission
                ));
            }
            Lookup::Unreachable(obstacle) => {
                return CallResult::Unclear(format!("{}: {}", call.operation, obstacle.message));
            }
        };
        let part = |part: aws_sdk_s3::types::Part| {
            let size = u64::try_from(part.size?).ok()?;
            let checksum = PartChecksum::of_part(before, |algorithm| match algorithm {
                ChecksumAlgorithm::Crc32 => part.checksum_crc32.clone(),
                ChecksumAlgorithm::Crc32C => part.checksum_crc32_c.clone(),
                ChecksumAlgorithm::Sha1 => part.checksum_sha1.clone(),
                ChecksumAlgorithm::Sha256 => part.checksum_sha256.clone(),
                _ => None,
            });
            Some((part.part_number?, (size, CopiedPart { etag: part.e_tag?, checksum })))
        };
        let parts = pages.into_iter().flat_map(|page| page.parts.unwrap_or_default());
        CallResult::Done(parts.filter_map(part).collect())
    }

    async fn copy_part(
        &self,
        order: &CopyOrder,
        upload: &str,
        part: &UploadPart,
    ) -> Result<CopiedPart, CallResult<CopiedPart>> {
        let before = &order.before;
        let mut wait = FIRST_WAIT;
        let mut trouble = String::new();
        for _ in 0..ATTEMPTS {
            self.pace.bytes(part.to - part.from).await;
            self.spend(|spent| spent.write(&before.storage_class, 1));
            let request = self
                .writer
                .upload_part_copy()
                .bucket(&self.place.bucket)
                .key(&self.place.key)
                .upload_id(upload)
                .part_number(part.number)
                .copy_source(source(self.place, order.source.as_deref()))
                .copy_source_range(format!("bytes={}-{}", part.from, part.to - 1))
                .copy_source_if_match(&before.etag);
            let result = request.send().await.map(|answer| {
                let result = answer.copy_part_result?;
                let checksum = PartChecksum::of_part(before, |algorithm| match algorithm {
                    ChecksumAlgorithm::Crc32 => result.checksum_crc32.clone(),
                    ChecksumAlgorithm::Crc32C => result.checksum_crc32_c.clone(),
                    ChecksumAlgorithm::Sha1 => result.checksum_sha1.clone(),
                    ChecksumAlgorithm::Sha256 => result.checksum_sha256.clone(),
                    _ => None,
                });
                Some(CopiedPart { etag: result.e_tag?, checksum })
            });
            match sort(&aws_calls::UPLOAD_PART_COPY, result) {
                CallResult::Done(Some(part)) => return Ok(part),
                CallResult::Done(None) => {
                    "the answer to UploadPartCopy holds no ETag".clone_into(&mut trouble);
                }
                // Copying a part twice is harmless.
                CallResult::Unclear(why) => trouble = why,
                CallResult::SlowDown => {
                    self.pace.slow_down();
                    "S3 asked to slow down".clone_into(&mut trouble);
                    continue;
                }
                CallResult::Changed => return Err(CallResult::Changed),
                CallResult::NoUpload => return Err(CallResult::NoUpload),
                CallResult::Refused(why) => return Err(CallResult::Refused(why)),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(CallResult::Unclear(trouble))
    }

    /// `CompleteMultipartUpload`; `with_checksums`: with the checksum of each part.
    pub(super) async fn complete(
        &self,
        upload: &str,
        order: &CopyOrder,
        parts: Vec<CompletedPart>,
        with_checksums: bool,
    ) -> CallAnswer {
        let before = &order.before;
        let parts = if with_checksums {
            parts
        } else {
            parts
                .into_iter()
                .map(|part| {
                    CompletedPart::builder()
                        .set_part_number(part.part_number)
                        .set_e_tag(part.e_tag)
                        .build()
                })
                .collect()
        };
        let request = self
            .writer
            .complete_multipart_upload()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .upload_id(upload)
            .set_if_match(order.if_match.then(|| before.etag.clone()))
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
        // S3 itself then compares the whole object with its former checksum.
        let sum = |algorithm: &str| {
            before
                .checksum
                .as_ref()
                .filter(|it| it.full && it.algorithm == algorithm)
                .map(|it| it.value.clone())
        };
        let request = request
            .set_checksum_crc32(sum("CRC32"))
            .set_checksum_crc32_c(sum("CRC32C"))
            .set_checksum_crc64_nvme(sum("CRC64NVME"))
            .set_checksum_type(
                ["CRC32", "CRC32C", "CRC64NVME"]
                    .iter()
                    .any(|it| sum(it).is_some())
                    .then_some(ChecksumType::FullObject),
            );
        self.spend(|spent| spent.write(&before.storage_class, 1));
        let result = request.send().await;
        // Another write happened since the upload was created, possibly of the same content: S3 no
        // longer accepts this upload. Source: Amazon S3 API reference, CompleteMultipartUpload,
        // If-Match.
        if result.as_ref().is_err_and(|error| code(error) == "ConditionalRequestConflict") {
            return match self.abort(upload).await {
                CallAnswer::Refused(why) => CallAnswer::Refused(format!(
                    "another writer wrote to its key meanwhile, and the upload {upload} could not \
                     be aborted, and is billed: {why}"
                )),
                _ => CallAnswer::NoUpload,
            };
        }
        sort(&aws_calls::COMPLETE_MULTIPART_UPLOAD, result).answer(|answer| {
            CallAnswer::Done(MadeObject {
                version: answer.version_id,
                etag: answer.e_tag,
                ..MadeObject::default()
            })
        })
    }

    /// Aborts an upload. A part that was in progress may arrive after an abort, and is billed, so
    /// the parts are listed afterwards. Source: Amazon S3 API reference, AbortMultipartUpload.
    pub(super) async fn abort(&self, upload: &str) -> CallAnswer {
        for _ in 0..ATTEMPTS {
            let result = self
                .s3
                .abort_multipart_upload()
                .bucket(&self.place.bucket)
                .key(&self.place.key)
                .upload_id(upload)
                .send()
                .await;
            match sort(&aws_calls::ABORT_MULTIPART_UPLOAD, result) {
                CallResult::Done(_) => {}
                other => return other.answer(|_| done()),
            }
            self.spend(Cost::list);
            let parts = self
                .s3
                .list_parts()
                .bucket(&self.place.bucket)
                .key(&self.place.key)
                .upload_id(upload)
                .max_parts(1)
                .send()
                .await;
            match parts {
                // Usually the upload no longer exists. Without the permission to list parts, S3's
                // response to the abort counts.
                Err(_) => return done(),
                Ok(parts) if parts.parts().is_empty() => return done(),
                Ok(_) => {}
            }
        }
        CallAnswer::Refused("it has parts after it was aborted".to_owned())
    }

    /// Removes exactly this version.
    pub(super) async fn delete(&self, version: String) -> CallAnswer {
        let result = self
            .s3
            .delete_object()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .version_id(version)
            .send()
            .await;
        sort(&aws_calls::DELETE_OBJECT_VERSION, result).answer(|_| done())
    }

    /// Requests a restore; without `days`, Intelligent-Tiering restores an object permanently.
    pub(super) async fn restore(&self, version: Option<String>, days: Option<i32>) -> CallAnswer {
        let request = self
            .s3
            .restore_object()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .set_version_id(version);
        let result =
            request.restore_request(RestoreRequest::builder().set_days(days).build()).send().await;
        if result.as_ref().is_err_and(|error| code(error) == "RestoreAlreadyInProgress") {
            return done();
        }
        sort(&aws_calls::RESTORE_OBJECT, result).answer(|_| done())
    }

    /// Whether a version of the object has annotations, which a multipart copy would lose.
    pub(super) async fn has_annotations(&self, version: Option<String>) -> Lookup<bool> {
        self.spend(Cost::list);
        let request = self
            .s3
            .list_object_annotations()
            .bucket(&self.place.bucket)
            .key(&self.place.key)
            .set_version_id(version);
        let result = request.max_annotation_results(1).send().await;
        Lookup::from_call(&aws_calls::LIST_OBJECT_ANNOTATIONS, &[], result).map(|answer| {
            answer.annotation_count.unwrap_or(0) > 0
                || !answer.annotations.unwrap_or_default().is_empty()
        })
    }
}

fn obstacle<T>(call: &Call, lookup: Lookup<T>) -> LookupError {
    match lookup {
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => obstacle,
        Lookup::Found(_) | Lookup::Absent => unreadable(call, "S3 says that there is no such list"),
    }
}

fn unreadable(call: &Call, why: &str) -> LookupError {
    LookupError::new(
        call.permission,
        LookupErrorKind::UnreadableAnswer,
        format!("the answers do not hold the whole list: {why}"),
    )
}

/// A version or delete marker in a listing.
struct ListedEntry {
    id: String,
    is_latest: bool,
    /// In milliseconds since 1970.
    modified: i64,
}

/// The versions of one key in listing order: S3 lists versions and delete markers in one order,
/// which the SDK splits into two lists.
#[derive(Default)]
struct KeyVersions {
    versions: VecDeque<ListedEntry>,
    markers: VecDeque<ListedEntry>,
    is_incomplete: bool,
}

impl KeyVersions {
    fn add(
        &mut self,
        is_marker: bool,
        id: Option<String>,
        is_latest: Option<bool>,
        modified: Option<DateTime>,
    ) {
        let list = if is_marker { &mut self.markers } else { &mut self.versions };
        match (id, is_latest, modified.and_then(|at| at.to_millis().ok())) {
            (Some(id), Some(is_latest), Some(modified)) => {
                list.push_back(ListedEntry { id, is_latest, modified });
            }
            _ => self.is_incomplete = true,
        }
    }

    /// The newest first; none where an entry is missing or duplicated. Each list keeps its order,
    /// since a multipart upload has the date of its creation; the dates merge the two lists.
    fn in_order(mut self) -> Option<Vec<ListedVersion>> {
        let (mut ids, mut all) = (HashSet::new(), Vec::new());
        loop {
            let is_marker = match (self.versions.front(), self.markers.front()) {
                (None, None) => break,
                (version, None) => version.is_none(),
                (None, Some(_)) => true,
                (Some(version), Some(marker)) => {
                    !version.is_latest && (marker.is_latest || marker.modified > version.modified)
                }
            };
            let list = if is_marker { &mut self.markers } else { &mut self.versions };
            let id = list.pop_front()?.id;
            if !ids.insert(id.clone()) {
                return None;
            }
            all.push(ListedVersion { id, is_marker });
        }
        (!self.is_incomplete).then_some(all)
    }
}

struct UploadPart {
    number: i32,
    from: u64,
    /// The offset after its last byte.
    to: u64,
}

/// A part of an upload that exists.
#[derive(Clone)]
struct CopiedPart {
    etag: String,
    checksum: Option<PartChecksum>,
}

/// A part's checksum, where the object's checksum is computed from them: then the completion must
/// list each. Source: Amazon S3 API reference, CompletedPart.
#[derive(Clone)]
struct PartChecksum {
    algorithm: ChecksumAlgorithm,
    value: String,
}

impl PartChecksum {
    /// `said`: S3's checksums of the part, by algorithm. None: not needed for a checksum of the
    /// whole.
    fn of_part(
        before: &Snapshot,
        said: impl FnOnce(&ChecksumAlgorithm) -> Option<String>,
    ) -> Option<Self> {
        match checksum_of_parts(before) {
            (algorithm, ChecksumType::Composite) => {
                said(&algorithm).map(|value| Self { algorithm, value })
            }
            _ => None,
        }
    }
}

impl CopiedPart {
    fn completed(self, number: i32) -> CompletedPart {
        let part = CompletedPart::builder().part_number(number).e_tag(self.etag);
        let Some(PartChecksum { algorithm, value }) = self.checksum else { return part.build() };
        match algorithm {
            ChecksumAlgorithm::Crc32 => part.checksum_crc32(value),
            ChecksumAlgorithm::Crc32C => part.checksum_crc32_c(value),
            ChecksumAlgorithm::Sha1 => part.checksum_sha1(value),
            ChecksumAlgorithm::Sha256 => part.checksum_sha256(value),
            _ => part,
        }
        .build()
    }
}

/// The parts for the copy of an object.
fn parts_of(size: u64) -> impl Iterator<Item = UploadPart> {
    let length = PART.max(size.div_ceil(MOST_PARTS));
    (0..size.div_ceil(length)).zip(1..).map(move |(index, number)| UploadPart {
        number,
        from: index * length,
        to: ((index + 1) * length).min(size),
    })
}

/// The checksum that a multipart copy keeps: of the whole content where S3 can compute it from
/// parts, otherwise of the parts' checksums.
fn checksum_of_parts(before: &Snapshot) -> (ChecksumAlgorithm, ChecksumType) {
    let (algorithm, is_whole) = verdict::checksum_of_parts(before);
    let kind = if is_whole { ChecksumType::FullObject } else { ChecksumType::Composite };
    (ChecksumAlgorithm::from(algorithm), kind)
}

/// The copy source; without a version it is the current object.
fn source(place: &ObjectId, version: Option<&str>) -> String {
    let version =
        version.map_or_else(String::new, |version| format!("?versionId={}", encoded(version)));
    format!("{}/{}{version}", place.bucket, utf8_percent_encode(&place.key, PATH))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The grantees of a permission, in the format of the grant headers.
fn grants(before: &Snapshot, permission: &str) -> Option<String> {
    let named: Vec<String> = before
        .grants
        .iter()
        .filter(|(_, granted)| granted == permission)
        .filter_map(|(grantee, _)| {
            grantee.split_once('=').map(|(kind, name)| format!("{kind}=\"{name}\""))
        })
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// Adds to a copy the properties that S3 would drop: ACL and locks.
fn keep(
    request: CopyObjectFluentBuilder,
    before: &Snapshot,
    lock: &ObjectLock,
) -> CopyObjectFluentBuilder {
    request
        .set_grant_full_control(grants(before, "FULL_CONTROL"))
        .set_grant_read(grants(before, "READ"))
        .set_grant_read_acp(grants(before, "READ_ACP"))
        .set_grant_write_acp(grants(before, "WRITE_ACP"))
        .set_object_lock_mode(lock.mode.as_deref().map(ObjectLockMode::from))
        .set_object_lock_retain_until_date(lock.until.map(DateTime::from_millis))
        .set_object_lock_legal_hold_status(lock.legal_hold.then_some(ObjectLockLegalHoldStatus::On))
        .set_object_lock_event_hold(lock.event_hold.as_deref().map(ObjectLockEventHold::from))
        .set_object_lock_event_hold_duration_days(lock.event_days)
        .set_object_lock_event_hold_duration_years(lock.event_years)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reencrypt::machine::choice::LARGEST_COPY;
    use proptest::prelude::*;

    #[test]
    fn versions_and_delete_markers_are_put_together_in_their_order() {
        let listed = |entries: &[(bool, &str, bool, i64)]| {
            let mut found = KeyVersions::default();
            for (is_marker, id, is_latest, at) in entries {
                let at = Some(DateTime::from_millis(*at));
                found.add(*is_marker, Some((*id).to_owned()), Some(*is_latest), at);
            }
            found.in_order().map(|all| all.into_iter().map(|it| it.id).collect::<Vec<_>>())
        };
        let (old, new) = (1_000, 2_000);
        // A multipart upload, `c`, has the date of its creation, before `b`.
        let parts = [(false, "c", true, old), (false, "b", false, new), (true, "m", false, 500)];
        assert_eq!(listed(&parts).unwrap(), ["c", "b", "m"]);
        let deleted = [(false, "a", false, new), (true, "m", true, new), (true, "l", false, old)];
        assert_eq!(listed(&deleted).unwrap(), ["m", "a", "l"]);
        let between =
            [(false, "c", true, new), (false, "a", false, old), (true, "m", false, 1_500)];
        assert_eq!(listed(&between).unwrap(), ["c", "m", "a"]);
        assert_eq!(listed(&[(false, "a", true, new), (false, "a", false, old)]), None);
        let mut nameless = KeyVersions::default();
        nameless.add(false, None, Some(true), Some(DateTime::from_millis(1)));
        assert!(nameless.in_order().is_none());
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_without_gaps_and_within_s3s_limits(size in 1_u64..48 * 1024 * 1024 * 1024 * 1024) {
            let parts: Vec<UploadPart> = parts_of(size).collect();
            prop_assert!(parts.len() as u64 <= MOST_PARTS);
            let mut at = 0;
            for (part, number) in parts.iter().zip(1..) {
                prop_assert_eq!((part.number, part.from), (number, at));
                let length = part.to - part.from;
                prop_assert!(length > 0 && length <= LARGEST_COPY && (length >= 5 * 1024 * 1024 || part.to == size));
                at = part.to;
            }
            prop_assert_eq!(at, size);
        }
    }

    #[test]
    fn a_source_is_written_so_that_any_key_arrives() {
        let place = ObjectId {
            bucket: "b".to_owned(),
            key: "a b/ü?versionId=x+%".to_owned(),
            version: Some("v.1".to_owned()),
        };
        assert_eq!(source(&place, None), "b/a%20b/%C3%BC%3FversionId%3Dx%2B%25");
        assert_eq!(
            source(&place, Some("v.1")),
            "b/a%20b/%C3%BC%3FversionId%3Dx%2B%25?versionId=v%2E1"
        );
    }
}

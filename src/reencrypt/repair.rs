//! One object gets its encryption: begun in the ledger, done by the method that fits, and proved by
//! another look, before it counts.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    operation::copy_object::builders::CopyObjectFluentBuilder,
    primitives::{DateTime, DateTimeFormat},
    types::{
        ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectEncryption,
        ObjectLockEventHold, ObjectLockLegalHoldStatus, ObjectLockMode, RestoreRequest,
        SsekmsEncryption, StorageClass,
    },
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    aws::{answer::describe, fast_s3::PATH, observers::ServiceClock},
    base::{
        aws_calls::{self, Call},
        lookup::{Lookup, LookupError},
    },
    facts::stored,
    reencrypt::{
        cost::{Cost, CostInputs, PART},
        ledger::{Ledger, LedgerError, RepairState},
        method::{self, Choice, LeaveReason, ObjectState, RepairMethod},
        pace::CopyPace,
        place::ObjectId,
        plan::RepairPlan,
        snapshot::{self, HiddenMetadata, Snapshot},
        target::RepairTarget,
    },
};

/// So many parts an object has at most. Source: Amazon S3 user guide, Multipart upload limits.
const MOST_PARTS: u64 = 10_000;
/// So many parts of one object are copied at once.
const PARTS_AT_ONCE: usize = 8;
/// So often a call is sent that may not have arrived.
const ATTEMPTS: u32 = 6;
/// The first wait between two of them, which doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How an object's turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RepairResult {
    /// It is encrypted as asked, and everything was kept; a copy may have left an old version
    /// behind.
    Done(RepairMethod, Option<PreviousVersion>),
    /// An old version was removed.
    Purged,
    /// Its restore was asked for.
    Restoring,
    /// There was nothing to do: it is as it should be, or it is gone.
    Nothing,
    /// It stays as it is.
    Left(LeaveReason),
    /// It is not done, because another writer changed it meanwhile.
    Changed,
    /// It is not done.
    Failed(String),
    /// It could not be looked at.
    Unseen(LookupError),
}

/// The version that a copy was made of, where the bucket keeps it: it is still not encrypted as it
/// should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PreviousVersion {
    /// It is removed at the end of this run.
    ToPurge,
    /// It stays.
    Left(LeaveReason),
}

/// What one call came to.
enum CallResult<T> {
    Done(T),
    /// Another writer was there: the object is not what it was.
    Changed,
    /// It may have been done or not.
    Unclear(String),
    SlowDown,
    Refused(String),
}

fn sort<T, E: ProvideErrorMetadata>(
    call: &Call,
    result: Result<T, SdkError<E, HttpResponse>>,
) -> CallResult<T> {
    let error = match result {
        Ok(answer) => return CallResult::Done(answer),
        Err(error) => error,
    };
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        .unwrap_or_default()
        .to_owned();
    let status = error.raw_response().map(|response| response.status().as_u16());
    let said = format!("{}: {}", call.operation, describe(&error));
    match (code.as_str(), status) {
        ("SlowDown" | "Throttling" | "RequestLimitExceeded", _) | (_, Some(429 | 503)) => {
            CallResult::SlowDown
        }
        ("PreconditionFailed" | "NoSuchKey" | "NoSuchVersion", _) | (_, Some(412)) => {
            CallResult::Changed
        }
        // An error in an answer that began as a success is one that came in the middle.
        ("InternalError" | "ConditionalRequestConflict" | "RequestTimeout", _)
        | (_, None | Some(200 | 500..)) => CallResult::Unclear(said),
        _ => CallResult::Refused(format!("{said} ({})", call.permission)),
    }
}

/// What repairs objects.
pub(crate) struct Repair<'a> {
    /// For looking: tries again by itself.
    pub(crate) s3: &'a aws_sdk_s3::Client,
    /// For changing: what is not answered is looked at before it is sent again.
    pub(crate) writer: &'a aws_sdk_s3::Client,
    pub(crate) ledger: &'a Ledger,
    pub(crate) pace: &'a CopyPace,
    pub(crate) plan: &'a RepairPlan,
    /// What it has come to so far.
    pub(crate) spent: &'a Mutex<Cost>,
}

fn now() -> i64 {
    ServiceClock::of_s3().now_or_own_millis()
}

/// How many days ago an object was written.
fn age_days(object: &Snapshot) -> u64 {
    u64::try_from((now() - object.modified) / 86_400_000).unwrap_or(0)
}

fn unseen<T>(lookup: Lookup<T>) -> RepairResult {
    match lookup {
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => RepairResult::Unseen(obstacle),
        Lookup::Found(_) | Lookup::Absent => RepairResult::Nothing,
    }
}

impl Repair<'_> {
    /// Counts what is paid for.
    fn spend(&self, count: impl FnOnce(&mut Cost)) {
        count(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Looks at an object, and counts the requests that this takes.
    async fn look(
        &self,
        place: &ObjectId,
        version: Option<&str>,
        carries: HiddenMetadata,
    ) -> Lookup<Snapshot> {
        let seen = snapshot::look(self.s3, place, version, carries).await;
        let (class, requests) = seen
            .found()
            .map_or(("STANDARD", 1), |seen| (seen.storage_class.as_str(), carries.requests(seen)));
        self.spend(|spent| spent.read(class, requests));
        seen
    }

    /// What a change of an object came to besides its requests.
    fn came_with(&self, place: &ObjectId, begun: &StartedRepair) {
        let before = &begun.before;
        let versioned = self
            .plan
            .buckets
            .get(&place.bucket)
            .is_some_and(|bucket| bucket.versioning.has_versions());
        let costs = CostInputs {
            size: before.size,
            storage_class: &before.storage_class,
            age_days: age_days(before),
            from_kms: before.key.is_some(),
            to_kms: begun.target.kind != crate::settings::policy::EncryptionKind::SseS3,
            versioned,
            look: 0,
        };
        self.spend(|spent| spent.came_with(begun.method, costs));
    }

    /// Gives one object its turn.
    ///
    /// # Errors
    /// [`LedgerError`]: then nothing more may be done.
    pub(crate) async fn turn(
        &self,
        place: &ObjectId,
        state: RepairState,
    ) -> Result<RepairResult, LedgerError> {
        let Some(bucket) = self.plan.buckets.get(&place.bucket) else {
            return Ok(RepairResult::Failed(
                "its bucket is not among those of this run".to_owned(),
            ));
        };
        self.pace.object().await;
        match state {
            RepairState::Planned { choice: Choice::Restore, .. } => self.restore(place).await,
            RepairState::Planned { choice: Choice::Purge, .. } => Box::pin(self.purge(place)).await,
            RepairState::Planned { is_latest, .. } => {
                Box::pin(self.begin(place, &bucket.target, bucket.carries, is_latest)).await
            }
            RepairState::Begun { method, kind, key, before, upload, is_latest } => {
                let target = RepairTarget { kind, key, updatable: false, by: "an earlier run" };
                self.go_on(
                    place,
                    StartedRepair { method, target, before: *before, upload, is_latest },
                    &bucket.target,
                    bucket.carries,
                )
                .await
            }
            RepairState::Done { .. } | RepairState::Purged { .. } => Ok(RepairResult::Nothing),
        }
    }

    async fn begin(
        &self,
        place: &ObjectId,
        target: &RepairTarget,
        carries: HiddenMetadata,
        is_latest: bool,
    ) -> Result<RepairResult, LedgerError> {
        let before = match self.look(place, place.version.as_deref(), carries).await {
            Lookup::Found(before) => before,
            Lookup::Absent => {
                self.ledger.forget(place).await?;
                return Ok(RepairResult::Nothing);
            }
            other => return Ok(unseen(other)),
        };
        let loss = match self.loss(place, &before).await {
            Lookup::Found(loss) => loss,
            other => return Ok(unseen(other)),
        };
        let stored = before.stored();
        let seen = ObjectState {
            stored: &stored,
            size: before.size,
            is_latest,
            archive: before.archive,
            locked: before.lock.protects(now()),
            loss,
        };
        match method::choose(
            &seen,
            self.plan.criterion.offends(&stored, target),
            self.plan.wish(target),
        ) {
            Choice::Do(method) => {
                let begun = StartedRepair {
                    method,
                    target: target.clone(),
                    before,
                    upload: None,
                    is_latest,
                };
                self.ledger.write(place, &begun.state()).await?;
                self.act(place, begun, carries).await
            }
            Choice::Nothing => {
                self.ledger.forget(place).await?;
                Ok(RepairResult::Nothing)
            }
            Choice::Restore => self.restore(place).await,
            Choice::Purge => Box::pin(self.purge(place)).await,
            Choice::Leave(reason) => Ok(RepairResult::Left(reason)),
        }
    }

    /// Goes on with what an earlier run has begun and not seen the end of. Where that was for
    /// another target and is not done, the scan plans it anew.
    async fn go_on(
        &self,
        place: &ObjectId,
        begun: StartedRepair,
        target: &RepairTarget,
        carries: HiddenMetadata,
    ) -> Result<RepairResult, LedgerError> {
        match self.compare(place, &begun, carries, begun.looked_for(place)).await {
            Compared::Untouched if begun.target.is_same(target) => {
                self.act(place, begun, carries).await
            }
            Compared::Untouched => {
                self.drop_upload(place, &begun).await?;
                Ok(RepairResult::Nothing)
            }
            Compared::End(end) => self.settle(place, &begun, end).await,
        }
    }

    /// Looks at what became of a call.
    async fn compare(
        &self,
        place: &ObjectId,
        begun: &StartedRepair,
        carries: HiddenMetadata,
        version: Option<&str>,
    ) -> Compared {
        let after = match self.look(place, version, carries).await {
            Lookup::Found(after) => after,
            Lookup::Absent => return Compared::End(RepairResult::Nothing),
            other => return Compared::End(unseen(other)),
        };
        let before = &begun.before;
        if !begun.target.is_met(&after.stored()) {
            let same = after.etag == before.etag
                && after.version == before.version
                && after.modified == before.modified;
            return if same { Compared::Untouched } else { Compared::End(RepairResult::Changed) };
        }
        let losses = snapshot::losses(before, &after, begun.method, now());
        Compared::End(if losses.is_empty() {
            let kept = begun.method != RepairMethod::Update
                && after.version.is_some()
                && after.version != before.version;
            let old = match (self.plan.purge, before.lock.protects(now())) {
                (false, _) => PreviousVersion::Left(LeaveReason::OldVersion),
                (true, true) => PreviousVersion::Left(LeaveReason::LockedVersion),
                (true, false) => PreviousVersion::ToPurge,
            };
            RepairResult::Done(begun.method, kept.then_some(old))
        } else {
            RepairResult::Failed(format!(
                "it is encrypted as asked, but not the same any more: {}; mend that by hand, then run this again",
                losses.join(", ")
            ))
        })
    }

    /// Writes down how it ended, where that is an end.
    async fn settle(
        &self,
        place: &ObjectId,
        begun: &StartedRepair,
        end: RepairResult,
    ) -> Result<RepairResult, LedgerError> {
        match &end {
            RepairResult::Done(_, Some(PreviousVersion::ToPurge)) => {
                self.ledger
                    .write(
                        place,
                        &RepairState::Planned {
                            choice: Choice::Purge,
                            size: begun.before.size,
                            is_latest: false,
                        },
                    )
                    .await?;
            }
            RepairResult::Done(method, _) => {
                self.ledger.write(place, &RepairState::Done { method: *method, at: now() }).await?;
            }
            // Gone, or another writer's: what was begun is over, and the next list shows what there
            // is.
            RepairResult::Nothing | RepairResult::Changed => self.drop_upload(place, begun).await?,
            _ => {}
        }
        Ok(end)
    }

    async fn drop_upload(
        &self,
        place: &ObjectId,
        begun: &StartedRepair,
    ) -> Result<(), LedgerError> {
        if let Some(upload) = &begun.upload
            && let Err(why) = self.abort_upload(place, upload).await
        {
            // One that is left behind costs storage until the bucket's lifecycle rule takes it; the
            // ledger keeps it for the next run.
            tracing::error!(%place, upload, error = why, "an upload could not be aborted");
            return Ok(());
        }
        self.ledger.forget(place).await
    }

    /// Does it, as often as it takes to know that it is done.
    async fn act(
        &self,
        place: &ObjectId,
        mut begun: StartedRepair,
        carries: HiddenMetadata,
    ) -> Result<RepairResult, LedgerError> {
        let mut wait = FIRST_WAIT;
        let mut trouble = String::new();
        for _ in 0..ATTEMPTS {
            let moved = if begun.method == RepairMethod::Copy { begun.before.size } else { 0 };
            self.pace.bytes(moved).await;
            let sent = match begun.method {
                RepairMethod::Update => self.update(place, &begun.before, &begun.target).await,
                RepairMethod::Copy => self.copy(place, &begun.before, &begun.target).await,
                RepairMethod::CopyInParts => self.copy_in_parts(place, &mut begun).await?,
            };
            let version = match sent {
                CallResult::Done(version) => {
                    self.pace.on_success();
                    version.or_else(|| begun.looked_for(place).map(str::to_owned))
                }
                CallResult::Changed => {
                    let end = self.compare(place, &begun, carries, begun.looked_for(place)).await;
                    let end = match end {
                        Compared::Untouched => RepairResult::Changed,
                        Compared::End(end) => end,
                    };
                    return self.settle(place, &begun, end).await;
                }
                CallResult::Refused(why) => return Ok(RepairResult::Failed(why)),
                CallResult::SlowDown => {
                    self.pace.slow_down();
                    "S3 asked to slow down".clone_into(&mut trouble);
                    // It can have been done all the same: that is looked at before it is sent
                    // again, or a versioned bucket would get one copy after the other.
                    begun.looked_for(place).map(str::to_owned)
                }
                CallResult::Unclear(why) => {
                    trouble = why;
                    tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    wait *= 2;
                    begun.looked_for(place).map(str::to_owned)
                }
            };
            match self.compare(place, &begun, carries, version.as_deref()).await {
                Compared::Untouched => {}
                Compared::End(end) => {
                    if matches!(end, RepairResult::Done(..)) {
                        self.came_with(place, &begun);
                    }
                    return self.settle(place, &begun, end).await;
                }
            }
        }
        let trouble = if trouble.is_empty() {
            "S3 said that it is done, but it is not".to_owned()
        } else {
            trouble
        };
        Ok(RepairResult::Failed(format!("{trouble}; run this again")))
    }

    async fn update(
        &self,
        place: &ObjectId,
        before: &Snapshot,
        target: &RepairTarget,
    ) -> CallResult<Option<String>> {
        let Some(encryption) = target
            .key
            .as_deref()
            .and_then(|key| SsekmsEncryption::builder().kms_key_arn(key).build().ok())
        else {
            return CallResult::Refused("the target has no key".to_owned());
        };
        self.spend(|spent| spent.write(&before.storage_class, 1));
        let request = self
            .writer
            .update_object_encryption()
            .bucket(&place.bucket)
            .key(&place.key)
            .set_version_id(place.version.clone());
        let result = request.object_encryption(ObjectEncryption::Ssekms(encryption)).send().await;
        sort(&aws_calls::UPDATE_OBJECT_ENCRYPTION, result.map(|_| None))
    }

    async fn copy(
        &self,
        place: &ObjectId,
        before: &Snapshot,
        target: &RepairTarget,
    ) -> CallResult<Option<String>> {
        self.spend(|spent| spent.write(&before.storage_class, 1));
        let request = self
            .writer
            .copy_object()
            .bucket(&place.bucket)
            .key(&place.key)
            .copy_source(source(place))
            // The first guards what is read, the second what is overwritten.
            .copy_source_if_match(&before.etag)
            .if_match(&before.etag)
            .storage_class(StorageClass::from(before.storage_class.as_str()))
            .server_side_encryption(stored::server_side_encryption(target.kind))
            .set_ssekms_key_id(target.key.clone())
            .set_website_redirect_location(before.headers.get("website-redirect").cloned());
        let result = keep(request, before).send().await;
        sort(&aws_calls::COPY_OBJECT, result.map(|answer| answer.version_id))
    }

    /// Copies in parts; parts that are there from an earlier run are not copied again. An upload that
    /// comes to nothing is aborted: its parts would be paid for.
    async fn copy_in_parts(
        &self,
        place: &ObjectId,
        begun: &mut StartedRepair,
    ) -> Result<CallResult<Option<String>>, LedgerError> {
        let upload = match begun.upload.clone() {
            Some(upload) => upload,
            None => match self.create_upload(place, &begun.before, &begun.target).await {
                CallResult::Done(upload) => {
                    begun.upload = Some(upload.clone());
                    self.ledger.write(place, &begun.state()).await?;
                    upload
                }
                CallResult::Changed => return Ok(CallResult::Changed),
                CallResult::Unclear(why) => return Ok(CallResult::Unclear(why)),
                CallResult::SlowDown => return Ok(CallResult::SlowDown),
                CallResult::Refused(why) => return Ok(CallResult::Refused(why)),
            },
        };
        let sent = match self.parts(place, &upload, &begun.before).await {
            CallResult::Done(Some(there)) => {
                match self.copy_parts(place, &begun.before, &upload, there).await {
                    Ok(parts) => self.complete(place, &begun.before, &upload, parts).await,
                    Err(sent) => sent,
                }
            }
            // It was completed or aborted: the look that follows tells which.
            CallResult::Done(None) => {
                begun.upload = None;
                return Ok(CallResult::Unclear("its upload in parts is over".to_owned()));
            }
            CallResult::Changed => CallResult::Changed,
            CallResult::Unclear(why) => CallResult::Unclear(why),
            CallResult::SlowDown => CallResult::SlowDown,
            CallResult::Refused(why) => CallResult::Refused(why),
        };
        if let CallResult::Done(_) = sent {
            begun.upload = None;
        }
        if !matches!(sent, CallResult::Changed | CallResult::Refused(_)) {
            return Ok(sent);
        }
        match self.abort_upload(place, &upload).await {
            Ok(()) => {
                begun.upload = None;
                self.ledger.write(place, &begun.state()).await?;
                Ok(sent)
            }
            // The ledger keeps it for the next run.
            Err(why) => Ok(match sent {
                CallResult::Refused(refusal) => CallResult::Refused(format!(
                    "{refusal}; its upload {upload} could not be aborted, and is billed: {why}"
                )),
                other => other,
            }),
        }
    }

    /// Copies the parts that are not `there` yet; gives them all, as a completion names them.
    async fn copy_parts(
        &self,
        place: &ObjectId,
        before: &Snapshot,
        upload: &str,
        there: BTreeMap<i32, (u64, CopiedPart)>,
    ) -> Result<Vec<CompletedPart>, CallResult<Option<String>>> {
        let there = &there;
        let copies = parts_of(before.size).map(|part| async move {
            let known = there
                .get(&part.number)
                .filter(|(size, _)| *size == part.to - part.from)
                .map(|(_, known)| known.clone());
            let copied = match known {
                Some(known) => known,
                None => self.copy_part(place, before, upload, &part).await?,
            };
            Ok(copied.completed(part.number))
        });
        stream::iter(copies).buffered(PARTS_AT_ONCE).try_collect().await
    }

    async fn complete(
        &self,
        place: &ObjectId,
        before: &Snapshot,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> CallResult<Option<String>> {
        let request = self
            .writer
            .complete_multipart_upload()
            .bucket(&place.bucket)
            .key(&place.key)
            .upload_id(upload)
            .if_match(&before.etag)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
        // S3 itself then compares the whole with what it was.
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
        // Something was written since the upload was begun, be it the same content: S3 wants another
        // upload then, and not this one again. Source: Amazon S3 API reference,
        // CompleteMultipartUpload, If-Match.
        if result.as_ref().is_err_and(|error| {
            error.as_service_error().and_then(ProvideErrorMetadata::code)
                == Some("ConditionalRequestConflict")
        }) {
            return CallResult::Changed;
        }
        sort(&aws_calls::COMPLETE_MULTIPART_UPLOAD, result.map(|answer| answer.version_id))
    }

    /// Aborts an upload; one that is over is aborted. A part that was still on its way may arrive
    /// after an abort, and is billed: so the parts are listed afterwards. Source: Amazon S3 API
    /// reference, AbortMultipartUpload.
    async fn abort_upload(&self, place: &ObjectId, upload: &str) -> Result<(), String> {
        let mut trouble = String::new();
        for _ in 0..ATTEMPTS {
            let result = self
                .s3
                .abort_multipart_upload()
                .bucket(&place.bucket)
                .key(&place.key)
                .upload_id(upload)
                .send()
                .await;
            match result {
                Err(error) if is_no_such_upload(&error) => return Ok(()),
                Err(error) => {
                    let call = &aws_calls::ABORT_MULTIPART_UPLOAD;
                    return Err(format!(
                        "{}: {} ({})",
                        call.operation,
                        describe(&error),
                        call.permission
                    ));
                }
                Ok(_) => {}
            }
            self.spend(Cost::list);
            let parts = self
                .s3
                .list_parts()
                .bucket(&place.bucket)
                .key(&place.key)
                .upload_id(upload)
                .max_parts(1)
                .send()
                .await;
            match parts {
                // Usually there is no such upload any more; and who may not list parts takes S3's word.
                Err(_) => return Ok(()),
                Ok(parts) if parts.parts().is_empty() => return Ok(()),
                Ok(_) => "it has parts after it was aborted".clone_into(&mut trouble),
            }
        }
        Err(trouble)
    }

    async fn create_upload(
        &self,
        place: &ObjectId,
        before: &Snapshot,
        target: &RepairTarget,
    ) -> CallResult<String> {
        let header = |name: &str| before.headers.get(name).cloned();
        let expires = match header("expires") {
            None => None,
            Some(text) => match DateTime::from_str(&text, DateTimeFormat::HttpDate) {
                Ok(date) => Some(date),
                Err(_) => {
                    return CallResult::Refused(format!(
                        "its header Expires is no date (`{text}`), and would be lost in a copy in parts"
                    ));
                }
            },
        };
        let grants = |permission: &str| grants(before, permission);
        let lock = before.lock.in_force(now());
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
            .bucket(&place.bucket)
            .key(&place.key)
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
            .server_side_encryption(stored::server_side_encryption(target.kind))
            .set_ssekms_key_id(target.key.clone())
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
        match sort(&aws_calls::CREATE_MULTIPART_UPLOAD, result.map(|answer| answer.upload_id)) {
            CallResult::Done(Some(upload)) => CallResult::Done(upload),
            CallResult::Done(None) => {
                CallResult::Unclear("the answer to CreateMultipartUpload holds no id".to_owned())
            }
            CallResult::Changed => CallResult::Changed,
            CallResult::Unclear(why) => CallResult::Unclear(why),
            CallResult::SlowDown => CallResult::SlowDown,
            CallResult::Refused(why) => CallResult::Refused(why),
        }
    }

    /// The parts that an upload has, by number, with their sizes. None: there is no such upload any
    /// more.
    async fn parts(
        &self,
        place: &ObjectId,
        upload: &str,
        before: &Snapshot,
    ) -> CallResult<Option<BTreeMap<i32, (u64, CopiedPart)>>> {
        self.spend(Cost::list);
        let request = self.s3.list_parts().bucket(&place.bucket).key(&place.key).upload_id(upload);
        let pages: Result<Vec<_>, _> = request.into_paginator().items().send().collect().await;
        if pages.as_ref().is_err_and(is_no_such_upload) {
            return CallResult::Done(None);
        }
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
        sort(
            &aws_calls::LIST_PARTS,
            pages.map(|parts| Some(parts.into_iter().filter_map(part).collect())),
        )
    }

    async fn copy_part(
        &self,
        place: &ObjectId,
        before: &Snapshot,
        upload: &str,
        part: &UploadPart,
    ) -> Result<CopiedPart, CallResult<Option<String>>> {
        let mut wait = FIRST_WAIT;
        let mut trouble = String::new();
        for _ in 0..ATTEMPTS {
            self.pace.bytes(part.to - part.from).await;
            self.spend(|spent| spent.write(&before.storage_class, 1));
            let request = self
                .writer
                .upload_part_copy()
                .bucket(&place.bucket)
                .key(&place.key)
                .upload_id(upload)
                .part_number(part.number)
                .copy_source(source(place))
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
                // A part that is copied twice is one part.
                CallResult::Unclear(why) => trouble = why,
                CallResult::SlowDown => {
                    self.pace.slow_down();
                    "S3 asked to slow down".clone_into(&mut trouble);
                    continue;
                }
                CallResult::Changed => return Err(CallResult::Changed),
                CallResult::Refused(why) => return Err(CallResult::Refused(why)),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(CallResult::Unclear(trouble))
    }

    /// What a copy in parts would lose of an object that needs one.
    async fn loss(&self, place: &ObjectId, before: &Snapshot) -> Lookup<Option<LeaveReason>> {
        if before.size <= method::LARGEST_COPY {
            return Lookup::Found(None);
        }
        if before.missing_metadata > 0 {
            return Lookup::Found(Some(LeaveReason::UnreadableMetadata));
        }
        if !method::fits_in_xml(&place.key) {
            return Lookup::Found(Some(LeaveReason::KeyNotInXml));
        }
        self.spend(Cost::list);
        let request = self
            .s3
            .list_object_annotations()
            .bucket(&place.bucket)
            .key(&place.key)
            .set_version_id(place.version.clone());
        let result = request.max_annotation_results(1).send().await;
        Lookup::from_call(&aws_calls::LIST_OBJECT_ANNOTATIONS, &[], result).map(|answer| {
            let annotated = answer.annotation_count.unwrap_or(0) > 0
                || !answer.annotations.unwrap_or_default().is_empty();
            annotated.then_some(LeaveReason::Annotated)
        })
    }

    async fn restore(&self, place: &ObjectId) -> Result<RepairResult, LedgerError> {
        // Intelligent-Tiering brings an object back for good, and takes no number of days.
        let seen = match self.look(place, place.version.as_deref(), HiddenMetadata::default()).await
        {
            Lookup::Found(seen) => seen,
            other => return Ok(unseen(other)),
        };
        let days = (seen.storage_class != "INTELLIGENT_TIERING")
            .then_some(i32::from(self.plan.restore_days));
        let request = self
            .s3
            .restore_object()
            .bucket(&place.bucket)
            .key(&place.key)
            .set_version_id(place.version.clone());
        let result =
            request.restore_request(RestoreRequest::builder().set_days(days).build()).send().await;
        let underway = result.as_ref().is_err_and(|error| {
            error.as_service_error().and_then(ProvideErrorMetadata::code)
                == Some("RestoreAlreadyInProgress")
        });
        if let (Err(error), false) = (&result, underway) {
            return Ok(RepairResult::Failed(format!(
                "{}: {} ({})",
                aws_calls::RESTORE_OBJECT.operation,
                describe(error),
                aws_calls::RESTORE_OBJECT.permission
            )));
        }
        self.spend(|spent| spent.restore(&seen.storage_class, seen.size));
        self.ledger.forget(place).await?;
        Ok(RepairResult::Restoring)
    }

    /// Removes an old version, but only where a newer one is proved, and only what is still as it
    /// was found.
    async fn purge(&self, place: &ObjectId) -> Result<RepairResult, LedgerError> {
        let Some(bucket) = self.plan.buckets.get(&place.bucket) else {
            return Ok(RepairResult::Failed(
                "its bucket is not among those of this run".to_owned(),
            ));
        };
        let newest = self.look(place, None, HiddenMetadata::default());
        let old = self.look(place, place.version.as_deref(), HiddenMetadata::default());
        let (newest, old) = tokio::join!(newest, old);
        let old = match old {
            Lookup::Found(old) => old,
            Lookup::Absent => {
                self.ledger.forget(place).await?;
                return Ok(RepairResult::Nothing);
            }
            other => return Ok(unseen(other)),
        };
        let newest = match newest {
            Lookup::Found(newest) => newest,
            Lookup::Absent => {
                return Ok(RepairResult::Failed(
                    "its key is deleted: no newer version proves anything, so it stays".to_owned(),
                ));
            }
            other => return Ok(unseen(other)),
        };
        let offends = |seen: &Snapshot| self.plan.criterion.offends(&seen.stored(), &bucket.target);
        if newest.version == old.version || offends(&newest) {
            return Ok(RepairResult::Failed(
                "its newer version is not encrypted as required yet, so it stays".to_owned(),
            ));
        }
        if !offends(&old) {
            return Ok(RepairResult::Nothing);
        }
        let version = place.version.clone();
        let result = self
            .s3
            .delete_object()
            .bucket(&place.bucket)
            .key(&place.key)
            .set_version_id(version.clone())
            .send()
            .await;
        if let Err(error) = result {
            return Ok(RepairResult::Failed(format!(
                "{}: {} ({})",
                aws_calls::DELETE_OBJECT_VERSION.operation,
                describe(&error),
                aws_calls::DELETE_OBJECT_VERSION.permission
            )));
        }
        let costs = CostInputs {
            size: old.size,
            storage_class: &old.storage_class,
            age_days: age_days(&old),
            from_kms: false,
            to_kms: false,
            versioned: true,
            look: 0,
        };
        self.spend(|spent| spent.delete_early(costs));
        match self.look(place, version.as_deref(), HiddenMetadata::default()).await {
            Lookup::Absent => {
                self.ledger.write(place, &RepairState::Purged { at: now() }).await?;
                Ok(RepairResult::Purged)
            }
            Lookup::Found(_) => Ok(RepairResult::Failed(
                "S3 said that it is removed, but it is still there".to_owned(),
            )),
            other => Ok(unseen(other)),
        }
    }
}

/// A repair under way.
struct StartedRepair {
    method: RepairMethod,
    target: RepairTarget,
    before: Snapshot,
    upload: Option<String>,
    is_latest: bool,
}

impl StartedRepair {
    fn state(&self) -> RepairState {
        RepairState::Begun {
            method: self.method,
            kind: self.target.kind,
            key: self.target.key.clone(),
            before: Box::new(self.before.clone()),
            upload: self.upload.clone(),
            is_latest: self.is_latest,
        }
    }

    /// The version that shows what became of it: an update leaves the version, a copy makes a new
    /// one.
    fn looked_for<'a>(&self, place: &'a ObjectId) -> Option<&'a str> {
        place.version.as_deref().filter(|_| self.method == RepairMethod::Update)
    }
}

enum Compared {
    /// Nothing happened to it.
    Untouched,
    End(RepairResult),
}

struct UploadPart {
    number: i32,
    from: u64,
    /// Behind its last byte.
    to: u64,
}

/// A part of an upload that is there.
#[derive(Clone)]
struct CopiedPart {
    etag: String,
    checksum: Option<PartChecksum>,
}

/// A part's checksum, where the object's is made of them: then the completion must name each. Source:
/// Amazon S3 API reference, CompletedPart.
#[derive(Clone)]
struct PartChecksum {
    algorithm: ChecksumAlgorithm,
    value: String,
}

impl PartChecksum {
    /// `said`: what S3 says of the part, by algorithm. None: a checksum of the whole needs none.
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

fn is_no_such_upload<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchUpload")
}

/// The parts that an object is copied in.
fn parts_of(size: u64) -> impl Iterator<Item = UploadPart> {
    let length = PART.max(size.div_ceil(MOST_PARTS));
    (0..size.div_ceil(length)).zip(1..).map(move |(index, number)| UploadPart {
        number,
        from: index * length,
        to: ((index + 1) * length).min(size),
    })
}

/// The checksum that a copy in parts keeps: of the whole where S3 can make that of parts, else of
/// the parts' checksums.
fn checksum_of_parts(before: &Snapshot) -> (ChecksumAlgorithm, ChecksumType) {
    match before.checksum.as_ref().map(|it| (it.algorithm.as_str(), it.full)) {
        Some((algorithm @ ("CRC32" | "CRC32C"), false)) => {
            (ChecksumAlgorithm::from(algorithm), ChecksumType::Composite)
        }
        Some((algorithm @ ("CRC32" | "CRC32C" | "CRC64NVME"), _)) => {
            (ChecksumAlgorithm::from(algorithm), ChecksumType::FullObject)
        }
        Some((algorithm, _)) => (ChecksumAlgorithm::from(algorithm), ChecksumType::Composite),
        None => (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
    }
}

fn source(place: &ObjectId) -> String {
    let version = place
        .version
        .as_ref()
        .map_or_else(String::new, |version| format!("?versionId={}", encoded(version)));
    format!("{}/{}{version}", place.bucket, utf8_percent_encode(&place.key, PATH))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Who has a permission, as the grant headers write it.
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

/// Adds to a copy what S3 would drop: ACL and locks.
fn keep(request: CopyObjectFluentBuilder, before: &Snapshot) -> CopyObjectFluentBuilder {
    let lock = before.lock.in_force(now());
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_the_whole_without_gaps_and_within_s3s_limits(size in 1_u64..48 * 1024 * 1024 * 1024 * 1024) {
            let parts: Vec<UploadPart> = parts_of(size).collect();
            prop_assert!(parts.len() as u64 <= MOST_PARTS);
            let mut at = 0;
            for (part, number) in parts.iter().zip(1..) {
                prop_assert_eq!((part.number, part.from), (number, at));
                let length = part.to - part.from;
                prop_assert!(length > 0 && length <= method::LARGEST_COPY && (length >= 5 * 1024 * 1024 || part.to == size));
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
        assert_eq!(source(&place), "b/a%20b/%C3%BC%3FversionId%3Dx%2B%25?versionId=v%2E1");
    }
}

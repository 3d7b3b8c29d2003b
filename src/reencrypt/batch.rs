//! Repairs beyond one machine: S3 Batch Operations, AWS's own engine, gets a manifest of the
//! objects that a job can change without losing anything.
//!
//! Jobs run without preconditions, and at any time. So they copy only in buckets that never had
//! versions, where a copy cannot restore deleted content. An update in place names a version and
//! moves no data, so it may run anywhere.
//!
//! A job treats all its objects alike. So there is one job for each bucket, storage class and
//! method. Objects with properties that a job would remove (locks, ACLs, redirects) are left to a
//! run without `--batch`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write as _,
};

use aws_sdk_s3::{primitives::ByteStream, types::ServerSideEncryption};
use aws_sdk_s3control::{
    operation::{create_job::builders::CreateJobFluentBuilder, list_jobs::ListJobsOutput},
    types::{
        JobDescriptor, JobListDescriptor, JobManifest, JobManifestFormat, JobManifestLocation,
        JobManifestSpec, JobOperation, JobReport, JobReportFormat, JobReportScope, JobStatus,
        ObjectEncryption, S3CopyObjectOperation, S3ObjectMetadata, S3SseAlgorithm, S3StorageClass,
        S3UpdateObjectEncryptionOperation, S3UpdateObjectEncryptionSsekms,
    },
};
use futures_util::{StreamExt as _, stream};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    aws::{fast_s3::PATH, whole_list::whole_list},
    base::{
        aws_calls,
        lookup::Lookup,
        names::{S3Location, partition},
    },
    reencrypt::{
        cost::Cost,
        error::ReencryptError,
        job::Job,
        ledger::{Ledger, PAGE},
        leftover::{Leftover, unseen},
        machine::{
            choice::{Choice, RepairMethod},
            job::{JobBucket, JobPhase, JobRules},
            state::RepairState,
        },
        options::BatchOptions,
        place::ObjectId,
        plan::BucketPlan,
        scope::RepairScope,
        snapshot,
    },
    settings::policy::EncryptionKind,
};

/// The beginning of the description of this program's jobs.
pub(super) const DESCRIPTION: &str = "emr-etl-guard reencrypt";
/// The number of objects in one manifest, so that it stays below the size limit of one PUT.
const MOST_OBJECTS: u64 = 10_000_000;
/// The number of objects that are looked up concurrently.
const LOOKS_AT_ONCE: usize = 64;

/// The properties that all objects of a job share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobGroup {
    pub(super) bucket: String,
    /// None: the job updates in place.
    pub(super) storage_class: Option<String>,
}

/// A manifest that is being written.
struct ManifestDraft {
    file: tempfile::NamedTempFile,
    objects: u64,
    digest: Sha256,
}

/// The result of creating jobs.
#[derive(Debug, Default)]
pub(crate) struct CreatedJobs {
    pub(crate) jobs: Vec<Job>,
    /// The objects without a job.
    pub(crate) left: Vec<Leftover>,
    /// Something could not be looked up.
    pub(crate) unseen: bool,
    pub(crate) cost: Cost,
}

/// A newly created job.
pub(super) fn new_job(id: String, objects: Option<u64>) -> Job {
    Job {
        id,
        status: "New".to_owned(),
        objects,
        succeeded: 0,
        failed: 0,
        failures: Vec::new(),
        generated_manifest: None,
    }
}

/// The properties of a bucket that decide about jobs in it.
pub(super) fn job_bucket(bucket: &BucketPlan) -> JobBucket {
    JobBucket { versioning: bucket.versioning, dsse: bucket.target.kind == EncryptionKind::DsseKms }
}

pub(super) fn text<T>(lookup: Lookup<T>, what: &str) -> Result<T, ReencryptError> {
    match lookup {
        Lookup::Found(found) => Ok(found),
        Lookup::Absent => {
            Err(ReencryptError::Unseen(format!("{what}: S3 says that there is no such thing")))
        }
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => Err(ReencryptError::Unseen(
            format!("{what}: {} ({})", obstacle.message, obstacle.operation),
        )),
    }
}

/// Creates jobs for the planned changes; the jobs wait for confirmation.
pub(crate) async fn make(
    scope: &RepairScope,
    ledger: &Ledger,
    order: &BatchOptions,
) -> Result<CreatedJobs, ReencryptError> {
    let mut made = CreatedJobs::default();
    let mut unfit_ones: BTreeMap<&str, (u64, ObjectId)> = BTreeMap::new();
    let mut manifests: BTreeMap<JobGroup, ManifestDraft> = BTreeMap::new();
    let mut after: Option<ObjectId> = None;
    loop {
        let page = ledger.page(after.as_ref(), PAGE, |state| {
            matches!(state, RepairState::Planned { choice: Choice::Do(_), .. })
        })?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let looks = page.into_iter().map(async |(place, state)| {
            let carries = scope
                .plan
                .buckets
                .get(&place.bucket)
                .map(|bucket| bucket.carries)
                .unwrap_or_default();
            let seen =
                snapshot::look(&scope.aws.s3_bulk, &place, place.version.as_deref(), carries).await;
            (place, state, seen)
        });
        let looks: Vec<_> = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
        for (place, state, seen) in looks {
            let Some(bucket) = scope.plan.buckets.get(&place.bucket) else { continue };
            let RepairState::Planned { choice: Choice::Do(method), .. } = state else { continue };
            let seen = match seen {
                Lookup::Found(seen) => seen,
                Lookup::Absent => continue,
                Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                    let why = unseen(&obstacle);
                    made.left.push(Leftover::of_objects(
                        format!("{place}: {why}"),
                        &why,
                        1,
                        &place.to_string(),
                    ));
                    made.unseen = true;
                    continue;
                }
            };
            let now = scope.aws.s3_clock.now_or_own_millis();
            let method = match JobRules::default().fit(&seen, method, job_bucket(bucket), now) {
                Ok(method) => method,
                Err(why) => {
                    let why = why.of_object();
                    unfit_ones.entry(why).or_insert_with(|| (0, place.clone())).0 += 1;
                    continue;
                }
            };
            let group = JobGroup {
                bucket: place.bucket.clone(),
                storage_class: (method != RepairMethod::Update).then_some(seen.storage_class),
            };
            add(&mut manifests, &group, &place)?;
            if manifests.get(&group).is_some_and(|it| it.objects == MOST_OBJECTS)
                && let Some(full) = manifests.remove(&group)
            {
                made.jobs.push(create(scope, order, &group, full).await?);
            }
        }
    }
    for (group, manifest) in manifests {
        made.jobs.push(create(scope, order, &group, manifest).await?);
    }
    for job in &made.jobs {
        made.cost.job(job.objects.unwrap_or(0));
    }
    for (why, (number, first)) in unfit_ones {
        let line = format!("{first} and {} more: {why}; run this without --batch", number - 1);
        made.left.push(Leftover::of_objects(
            line,
            &format!("{why}; run this without --batch"),
            number,
            &first.to_string(),
        ));
    }
    Ok(made)
}

fn add(
    manifests: &mut BTreeMap<JobGroup, ManifestDraft>,
    group: &JobGroup,
    place: &ObjectId,
) -> Result<(), ReencryptError> {
    let file = |error: std::io::Error| {
        ReencryptError::File(format!("a manifest cannot be written: {error}"))
    };
    if !manifests.contains_key(group) {
        let manifest = ManifestDraft {
            file: tempfile::NamedTempFile::new().map_err(file)?,
            objects: 0,
            digest: Sha256::new(),
        };
        manifests.insert(group.clone(), manifest);
    }
    let Some(manifest) = manifests.get_mut(group) else { return Ok(()) };
    let version = place.version.as_ref().map_or_else(String::new, |version| format!(",{version}"));
    let line = format!("{},{}{version}\n", place.bucket, utf8_percent_encode(&place.key, PATH));
    manifest.digest.update(&line);
    manifest.objects += 1;
    manifest.file.write_all(line.as_bytes()).map_err(file)
}

/// Writes the manifest to S3 and creates the job. The same manifest again gives the same job.
async fn create(
    scope: &RepairScope,
    order: &BatchOptions,
    group: &JobGroup,
    mut manifest: ManifestDraft,
) -> Result<Job, ReencryptError> {
    let Some(bucket) = scope.plan.buckets.get(&group.bucket) else {
        return Err(ReencryptError::Usage(format!(
            "{} is not among the buckets of this run",
            group.bucket
        )));
    };
    let unreadable = |error: &dyn std::fmt::Display| {
        ReencryptError::File(format!("a manifest cannot be read: {error}"))
    };
    manifest.file.flush().map_err(|error| unreadable(&error))?;
    // Streamed from disk, part by part: ten million names are a gigabyte.
    let lines =
        ByteStream::from_path(manifest.file.path()).await.map_err(|error| unreadable(&error))?;
    let versioned = bucket.versioning.has_versions();
    let token = manifest.digest.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let kind = group.storage_class.as_deref().unwrap_or("update");
    let key =
        format!("{}manifests/{}-{kind}-{}.csv", order.place.prefix, group.bucket, &token[..16]);
    let put = scope.aws.s3.put_object().bucket(order.place.bucket.as_str()).key(&key).body(lines);
    // S3 Batch Operations cannot read a CSV manifest encrypted with KMS, so the manifest never uses
    // the bucket's default.
    let put = put.server_side_encryption(ServerSideEncryption::Aes256).send().await;
    let etag = text(
        Lookup::from_call(&aws_calls::PUT_OBJECT, &[], put),
        &format!("the manifest s3://{}/{key}", order.place.bucket),
    )?
    .e_tag
    .unwrap_or_default();
    let arn = |rest: &str| format!("arn:{}:s3:::{rest}", partition(&scope.region));
    let built = || {
        use aws_sdk_s3control::types::JobManifestFieldName::{Bucket, Key, VersionId};
        let fields = if versioned { vec![Bucket, Key, VersionId] } else { vec![Bucket, Key] };
        let spec = JobManifestSpec::builder()
            .format(JobManifestFormat::S3BatchOperationsCsv20180820)
            .set_fields(Some(fields))
            .build()
            .ok()?;
        let location = JobManifestLocation::builder()
            .object_arn(arn(&format!("{}/{key}", order.place.bucket)))
            .e_tag(etag.trim_matches('"'))
            .build()
            .ok()?;
        let manifest = JobManifest::builder().spec(spec).location(location).build();
        Some((manifest, operation(bucket, group, &arn(&group.bucket))?))
    };
    let (manifest_of_job, operation) = built()
        .ok_or_else(|| ReencryptError::Usage("the job cannot be put into words".to_owned()))?;
    let description = format!(
        "{DESCRIPTION}: {} objects of {} ({kind}) get {}",
        manifest.objects,
        group.bucket,
        crate::settings::policy::kind_name(bucket.target.kind)
    );
    // A different role or target is a different job.
    let token = crate::base::digest::sha256(format!(
        "{token} {} {} {:?}",
        order.role, description, bucket.target.key
    ));
    let what = JobDescription { operation, description, token: token[..64].to_owned() };
    let job = send(scope, order, what, |request| request.manifest(manifest_of_job)).await?;
    Ok(new_job(job, Some(manifest.objects)))
}

/// The operation of a job, its description, and the token that makes it idempotent.
pub(super) struct JobDescription {
    pub(super) operation: JobOperation,
    pub(super) description: String,
    pub(super) token: String,
}

/// Creates a job, which waits for confirmation; returns its id.
pub(super) async fn send(
    scope: &RepairScope,
    order: &BatchOptions,
    what: JobDescription,
    objects: impl FnOnce(CreateJobFluentBuilder) -> CreateJobFluentBuilder,
) -> Result<String, ReencryptError> {
    let report = JobReport::builder()
        .bucket(format!("arn:{}:s3:::{}", partition(&scope.region), order.place.bucket))
        .prefix(format!("{}reports", order.place.prefix))
        .format(JobReportFormat::ReportCsv20180820)
        .enabled(true)
        .report_scope(JobReportScope::AllTasks)
        .build();
    let request = scope
        .aws
        .s3control
        .create_job()
        .account_id(&scope.account)
        .confirmation_required(true)
        .operation(what.operation)
        .report(report);
    let request = request
        .client_request_token(what.token)
        .description(what.description)
        .priority(order.priority)
        .role_arn(&order.role);
    let result = objects(request).send().await;
    Ok(text(Lookup::from_call(&aws_calls::CREATE_JOB, &[], result), "the job could not be made")?
        .job_id
        .unwrap_or_default())
}

pub(super) fn operation(
    bucket: &BucketPlan,
    group: &JobGroup,
    target: &str,
) -> Option<JobOperation> {
    let key = bucket.target.key.clone();
    // A job has one setting for all its objects, so the bucket's rule decides.
    let bucket_key =
        (bucket.target.kind == EncryptionKind::SseKms && bucket.target.bucket_key).then_some(true);
    let Some(class) = &group.storage_class else {
        let ssekms = S3UpdateObjectEncryptionSsekms::builder()
            .kms_key_arn(key?)
            .set_bucket_key_enabled(bucket_key)
            .build()
            .ok()?;
        let update = S3UpdateObjectEncryptionOperation::builder()
            .object_encryption(ObjectEncryption::builder().ssekms(ssekms).build())
            .build();
        return Some(JobOperation::builder().s3_update_object_encryption(update).build());
    };
    let algorithm = if bucket.target.kind == EncryptionKind::SseS3 {
        S3SseAlgorithm::Aes256
    } else {
        S3SseAlgorithm::Kms
    };
    // Tags and metadata are copied by default.
    let copy = S3CopyObjectOperation::builder()
        .target_resource(target)
        .storage_class(S3StorageClass::from(class.as_str()))
        .new_object_metadata(S3ObjectMetadata::builder().sse_algorithm(algorithm).build())
        .set_sse_aws_kms_key_id(key)
        .set_bucket_key_enabled(bucket_key)
        .build();
    Some(JobOperation::builder().s3_put_object_copy(copy).build())
}

/// The phase of a job, by S3's status.
pub(super) fn phase(status: Option<&JobStatus>) -> JobPhase {
    match status {
        None | Some(JobStatus::New | JobStatus::Preparing) => JobPhase::Preparing,
        Some(JobStatus::Suspended) => JobPhase::Awaiting,
        Some(JobStatus::Complete | JobStatus::Failed | JobStatus::Cancelled) => JobPhase::Over,
        Some(_) => JobPhase::Running,
    }
}

/// This program's jobs.
pub(super) async fn own(scope: &RepairScope) -> Result<Vec<JobListDescriptor>, ReencryptError> {
    let request = scope.aws.s3control.list_jobs().account_id(&scope.account);
    let pages = whole_list(
        &aws_calls::LIST_JOBS,
        &[],
        |token| request.clone().set_next_token(token).send(),
        ListJobsOutput::next_token,
        |page| Some(page.jobs().iter().filter_map(|job| job.job_id()).collect()),
    );
    let pages = text(pages.await, "the jobs")?;
    let jobs = pages.into_iter().flat_map(|page| page.jobs.unwrap_or_default());
    Ok(jobs
        .filter(|job| job.description.as_deref().is_some_and(|text| text.starts_with(DESCRIPTION)))
        .collect())
}

/// Describes a job with S3's data.
pub(super) async fn describe(
    scope: &RepairScope,
    job: &str,
) -> Result<JobDescriptor, ReencryptError> {
    let result =
        scope.aws.s3control.describe_job().account_id(&scope.account).job_id(job).send().await;
    let answer =
        Lookup::from_call(&aws_calls::DESCRIBE_JOB, &["NoSuchJob", "NotFoundException"], result);
    text(
        answer.and_then(|answer| Lookup::expect_in_answer(&aws_calls::DESCRIBE_JOB, answer.job)),
        &format!("the job {job}"),
    )
}

/// The trust policy and permissions of the jobs' role. `sources`: the keys that encrypt the objects
/// now.
pub(crate) fn role_policy(
    scope: &RepairScope,
    place: Option<&S3Location>,
    generates: bool,
    sources: &BTreeSet<String>,
) -> Value {
    let arn = |rest: &str| format!("arn:{}:s3:::{rest}", partition(&scope.region));
    let objects: Vec<String> =
        scope.plan.buckets.keys().map(|bucket| arn(&format!("{bucket}/*"))).collect();
    let keys: BTreeSet<&String> =
        scope.plan.buckets.values().filter_map(|bucket| bucket.target.key.as_ref()).collect();
    let (manifests, reports) = match place {
        Some(place) => (
            arn(&format!("{}/{}manifests/*", place.bucket, place.prefix)),
            arn(&format!("{}/{}reports/*", place.bucket, place.prefix)),
        ),
        None => (arn("MANIFEST_BUCKET/*"), arn("REPORT_BUCKET/*")),
    };
    let mut statements = vec![
        json!({
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectAnnotation", "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObject", "s3:PutObjectAnnotation", "s3:PutObjectTagging", "s3:UpdateObjectEncryption"],
            "Resource": objects,
        }),
        json!({
            "Sid": "Manifests", "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": [&manifests]
        }),
        json!({
            "Sid": "Reports", "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [reports]
        }),
    ];
    if generates {
        // S3 generates its list as an inventory, and writes it where this run's manifests go.
        // Source: Amazon S3 user guide, Granting permissions for Batch Operations.
        let buckets: Vec<String> = scope.plan.buckets.keys().map(|bucket| arn(bucket)).collect();
        statements.push(json!({
            "Sid": "Lists", "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:PutInventoryConfiguration"], "Resource": buckets
        }));
        statements.push(json!({
            "Sid": "GeneratedManifests", "Effect": "Allow", "Action": ["s3:PutObject"],
            "Resource": [manifests]
        }));
    }
    if !keys.is_empty() {
        let actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt*"];
        statements
            .push(json!({"Sid": "Keys", "Effect": "Allow", "Action": actions, "Resource": keys}));
    }
    // Objects must be decrypted with their current keys before they are encrypted with the new key.
    let sources: BTreeSet<&String> = sources.iter().filter(|key| !keys.contains(key)).collect();
    if !sources.is_empty() {
        let actions = ["kms:Decrypt", "kms:ReEncryptFrom"];
        statements.push(
            json!({"Sid": "SourceKeys", "Effect": "Allow", "Action": actions, "Resource": sources}),
        );
    }
    json!({
        "Trust": {
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": "batchoperations.s3.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": scope.account}},
            }],
        },
        "Permissions": {"Version": "2012-10-17", "Statement": statements},
    })
}

//! Jobs whose list S3 generates itself: no object is looked up beforehand, whatever their number.
//! So only changes in which a job can never lose anything are left to it, which the bucket's
//! properties alone must show.
//!
//! A job takes one filter by encryption, and a copy one storage class. So there is one job for each
//! bucket and class for objects that are not encrypted at all, and one for each bucket that updates
//! SSE-S3 objects in place. Source: Amazon S3 API reference, JobManifestGeneratorFilter.

use aws_sdk_s3control::types::{
    GeneratedManifestEncryption, GeneratedManifestFormat, JobManifestGenerator,
    JobManifestGeneratorFilter, KeyNameConstraint, NotSseFilter, ObjectEncryptionFilter,
    S3JobManifestGenerator, S3ManifestOutputLocation, S3StorageClass, Sses3Encryption, Sses3Filter,
};

use crate::{
    aws::bucket_region::is_code,
    base::{aws_calls, digest::sha256, lookup::Lookup, names::partition},
    facts::stored::StoredEncryption,
    reencrypt::{
        batch::{self, CreatedJobs, DESCRIPTION, JobDescription, JobGroup},
        error::ReencryptError,
        leftover::Leftover,
        machine::{
            choice::LARGEST_COPY,
            job::{HiddenLosses, JobPhase, JobRules},
        },
        options::BatchOptions,
        scope::RepairScope,
    },
    settings::policy::{EncryptionKind, kind_name},
};

/// A job whose list S3 is to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobRequest {
    group: JobGroup,
    prefixes: Vec<String>,
}

impl JobRequest {
    /// The bucket and storage class of the copied objects; none for an update in place.
    pub(crate) fn copied(&self) -> Option<(&str, &str)> {
        let class = self.group.storage_class.as_deref()?;
        Some((&self.group.bucket, class))
    }
}

impl std::fmt::Display for JobRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places: Vec<String> = match self.prefixes.as_slice() {
            [] => vec![format!("s3://{}/", self.group.bucket)],
            prefixes => prefixes
                .iter()
                .map(|prefix| format!("s3://{}/{prefix}", self.group.bucket))
                .collect(),
        };
        match &self.group.storage_class {
            Some(class) => write!(
                f,
                "copy what is unencrypted, in {class} and up to 5 GiB, in {}",
                places.join(", ")
            ),
            None => write!(f, "update what is under SSE-S3 in {}", places.join(", ")),
        }
    }
}

/// The possible jobs for the scope, and the work that cannot be left to a job.
///
/// # Errors
/// [`ReencryptError::Unseen`] where it is unknown whether a bucket is a website.
pub(crate) async fn plan(
    scope: &RepairScope,
    classes: &[String],
) -> Result<(Vec<JobRequest>, Vec<Leftover>), ReencryptError> {
    let (mut wishes, mut left) = (Vec::new(), Vec::new());
    for (bucket, plan) in &scope.plan.buckets {
        let within =
            || scope.wanted.iter().filter(|wanted| wanted.location.bucket.as_str() == bucket);
        let whole = within().any(|wanted| wanted.location.prefix.is_empty());
        let prefixes: Vec<String> = if whole {
            Vec::new()
        } else {
            within().map(|wanted| wanted.location.prefix.clone()).collect()
        };
        let is_website = is_website(&scope.aws.s3, bucket).await?;
        let hidden = HiddenLosses {
            locks: plan.carries.locks,
            acls: plan.carries.acls,
            redirects: is_website,
        };
        match JobRules::default().may_list(batch::job_bucket(plan), hidden) {
            Err(why) => left.push(Leftover::other(format!(
                "s3://{bucket}: {}; run this without --generate-manifest",
                why.of_bucket()
            ))),
            Ok(()) => wishes.extend(classes.iter().map(|class| JobRequest {
                group: JobGroup { bucket: bucket.clone(), storage_class: Some(class.clone()) },
                prefixes: prefixes.clone(),
            })),
        }
        let other = |kind| StoredEncryption::Kind(kind, Some("another key".to_owned()));
        if [EncryptionKind::SseKms, EncryptionKind::DsseKms]
            .iter()
            .any(|kind| scope.plan.criterion.offends(&other(*kind), &plan.target))
        {
            let line = format!(
                "s3://{bucket}: objects under other KMS keys are in no manifest that S3 \
                 generates; run this without --generate-manifest for them"
            );
            left.push(Leftover::other(line));
        }
        let under_s3 = StoredEncryption::Kind(EncryptionKind::SseS3, None);
        if scope.plan.criterion.offends(&under_s3, &plan.target)
            && plan.target.updatable
            && plan.target.kind == EncryptionKind::SseKms
        {
            wishes.push(JobRequest {
                group: JobGroup { bucket: bucket.clone(), storage_class: None },
                prefixes,
            });
        }
    }
    Ok((wishes, left))
}

pub(super) async fn is_website(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
) -> Result<bool, ReencryptError> {
    let result = s3.get_bucket_website().bucket(bucket).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, "NoSuchWebsiteConfiguration")) {
        return Ok(false);
    }
    batch::text(
        Lookup::from_call(&aws_calls::GET_BUCKET_WEBSITE, &["NoSuchBucket"], result).map(|_| true),
        &format!("whether {bucket} is a website"),
    )
}

/// Creates the jobs; they wait for confirmation, at which time their objects are known. An earlier
/// unfinished job is not created again.
pub(crate) async fn make(
    scope: &RepairScope,
    order: &BatchOptions,
    wishes: &[JobRequest],
) -> Result<CreatedJobs, ReencryptError> {
    let mut made = CreatedJobs::default();
    if wishes.is_empty() {
        return Ok(made);
    }
    let earlier = batch::own(scope).await?;
    for wish in wishes {
        let Some(bucket) = scope.plan.buckets.get(&wish.group.bucket) else { continue };
        let description = format!("{DESCRIPTION}: {wish} gets {}", kind_name(bucket.target.kind));
        // S3 accepts 256 characters.
        let description: String = description.chars().take(256).collect();
        let same: Vec<_> = earlier
            .iter()
            .filter(|job| job.description.as_deref() == Some(description.as_str()))
            .collect();
        if let Some(id) = same
            .iter()
            .find(|job| batch::phase(job.status.as_ref()) != JobPhase::Over)
            .and_then(|job| job.job_id.clone())
        {
            made.jobs.push(batch::new_job(id, None));
            continue;
        }
        let arn = format!("arn:{}:s3:::{}", partition(&scope.region), wish.group.bucket);
        let unsaid = || ReencryptError::Usage("the job cannot be put into words".to_owned());
        let operation = batch::operation(bucket, &wish.group, &arn).ok_or_else(unsaid)?;
        let generator = generator(scope, order, wish, &arn).ok_or_else(unsaid)?;
        let token = sha256(format!(
            "{wish:?} {} {:?} {:?} after {} others",
            order.role,
            order.place,
            bucket.target,
            same.len()
        ));
        let what = JobDescription { operation, description, token: token[..64].to_owned() };
        let generator = JobManifestGenerator::S3JobManifestGenerator(generator);
        let id = batch::send(scope, order, what, |request| request.manifest_generator(generator))
            .await?;
        made.cost.job(0);
        made.jobs.push(batch::new_job(id, None));
    }
    Ok(made)
}

fn generator(
    scope: &RepairScope,
    order: &BatchOptions,
    wish: &JobRequest,
    source: &str,
) -> Option<S3JobManifestGenerator> {
    let filter = JobManifestGeneratorFilter::builder().object_size_greater_than_bytes(0);
    let filter = match &wish.group.storage_class {
        Some(class) => filter
            .match_any_object_encryption(ObjectEncryptionFilter::Notsse(
                NotSseFilter::builder().build(),
            ))
            .match_any_storage_class(S3StorageClass::from(class.as_str()))
            .object_size_less_than_bytes(LARGEST_COPY.cast_signed() + 1),
        None => filter.match_any_object_encryption(ObjectEncryptionFilter::Sses3(
            Sses3Filter::builder().build(),
        )),
    };
    let prefixes = (!wish.prefixes.is_empty()).then(|| wish.prefixes.clone());
    let names = prefixes
        .map(|prefixes| KeyNameConstraint::builder().set_match_any_prefix(Some(prefixes)).build());
    let output = S3ManifestOutputLocation::builder()
        .bucket(format!("arn:{}:s3:::{}", partition(&scope.region), order.place.bucket))
        .manifest_prefix(format!("{}manifests/generated", order.place.prefix))
        .manifest_encryption(
            GeneratedManifestEncryption::builder()
                .sses3(Sses3Encryption::builder().build())
                .build(),
        )
        .manifest_format(GeneratedManifestFormat::S3InventoryReportCsv20211130)
        .build()
        .ok()?;
    S3JobManifestGenerator::builder()
        .expected_bucket_owner(&scope.account)
        .source_bucket(source)
        .manifest_output_location(output)
        .filter(filter.set_key_name_constraint(names).build())
        .enable_manifest_output(true)
        .build()
        .ok()
}

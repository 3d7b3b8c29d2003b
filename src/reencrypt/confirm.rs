//! Decides which jobs of S3 Batch Operations may be confirmed: only those whose objects are all
//! within the locations of a run, whose operation is one of this program's, and which cannot
//! overwrite later writes.
//!
//! The objects of a job are read from the data that S3 itself uses: the manifest, by the ETag in
//! the job, or the filter of the list that S3 generates. A description is no evidence.

use std::collections::BTreeSet;

use aws_sdk_s3control::types::{
    JobDescriptor, JobManifestGenerator, JobManifestLocation, S3CopyObjectOperation,
    S3JobManifestGenerator,
};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    base::{aws_calls, lookup::Lookup, names::S3Location},
    facts::s3_configurations,
    reencrypt::{
        batch::{DESCRIPTION, text},
        error::ReencryptError,
        machine::{
            job::{JobObjection, JobOperationKind, JobRules, OutsidePlaces},
            versioning::Versioning,
        },
        place::{ObjectId, shown},
        scope::RepairScope,
        side_effects::{ChangesByPlace, PlannedChanges, SideEffects, side_effects_given},
    },
};

/// The location of a job's objects, relative to the locations of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobExtent {
    /// All are in these locations, given as indexes in the scope.
    Within(BTreeSet<usize>),
    /// At least this object, or objects with this prefix, are in none of them.
    Outside(String),
}

/// Finds the location of a job's objects.
///
/// # Errors
/// [`ReencryptError::Unseen`] where it is unknown.
pub(crate) async fn extent(
    scope: &RepairScope,
    id: &str,
    job: &JobDescriptor,
) -> Result<JobExtent, ReencryptError> {
    let location = job.manifest.as_ref().and_then(|manifest| manifest.location.as_ref());
    let target = copy(job).map(|it| bucket_of(it.target_resource.as_deref().unwrap_or_default()));
    match (location, &job.manifest_generator) {
        (Some(location), _) => of_manifest(scope, id, location, target).await,
        (None, Some(JobManifestGenerator::S3JobManifestGenerator(generator))) => {
            Ok(of_filter(scope, generator, target))
        }
        _ => Err(ReencryptError::Unseen(format!(
            "job {id}: S3 does not say which objects it is about"
        ))),
    }
}

/// The operation of a job.
fn kind(job: &JobDescriptor) -> JobOperationKind {
    let operation = job.operation.as_ref();
    if copy(job).is_some() {
        JobOperationKind::Copy
    } else if operation.is_some_and(|it| it.s3_update_object_encryption.is_some()) {
        JobOperationKind::Update
    } else {
        JobOperationKind::Other
    }
}

fn copy(job: &JobDescriptor) -> Option<&S3CopyObjectOperation> {
    job.operation.as_ref()?.s3_put_object_copy.as_ref()
}

/// The bucket of an ARN.
fn bucket_of(arn: &str) -> &str {
    arn.rsplit(":::").next().unwrap_or(arn)
}

/// Checks every line of a manifest against the locations.
async fn of_manifest(
    scope: &RepairScope,
    id: &str,
    location: &JobManifestLocation,
    target: Option<&str>,
) -> Result<JobExtent, ReencryptError> {
    let what = format!("the manifest of job {id}, {}", location.object_arn);
    let unreadable = |why: &str| ReencryptError::Unseen(format!("{what}: {why}"));
    let (bucket, key) = bucket_of(&location.object_arn)
        .split_once('/')
        .ok_or_else(|| unreadable("this names no object"))?;
    let request = scope
        .aws
        .s3
        .get_object()
        .bucket(bucket)
        .key(key)
        .set_version_id(location.object_version_id.clone())
        .if_match(format!("\"{}\"", location.e_tag.trim_matches('"')));
    let result = request.send().await;
    let answer = text(Lookup::from_call(&aws_calls::GET_OBJECT, &["NoSuchKey"], result), &what)?;
    let mut lines = BufReader::new(answer.body.into_async_read()).lines();
    let mut places = BTreeSet::new();
    while let Some(line) =
        lines.next_line().await.map_err(|error| unreadable(&error.to_string()))?
    {
        if line.is_empty() {
            continue;
        }
        let object = object_of(&line).ok_or_else(|| unreadable("a line of it cannot be read"))?;
        let (bucket, key) = (&object.bucket, &object.key);
        match JobRules::default().place(scope.place_names(), bucket, key, target) {
            Ok(place) => {
                places.insert(place);
            }
            Err(outside) => return Ok(outside_places(outside, &object, target)),
        }
    }
    Ok(JobExtent::Within(places))
}

fn outside_places(outside: OutsidePlaces, what: &ObjectId, target: Option<&str>) -> JobExtent {
    let target = target.unwrap_or_default();
    JobExtent::Outside(match outside {
        OutsidePlaces::Source => what.to_string(),
        OutsidePlaces::Target => format!("a copy of {what} to s3://{}/", shown(target)),
    })
}

/// The object that a line of a manifest names. Source: Amazon S3 user guide, Specifying a manifest
/// (keys are percent-encoded).
fn object_of(line: &str) -> Option<ObjectId> {
    let mut fields = line.split(',').map(|field| field.trim_matches('"'));
    let (bucket, key) = (fields.next()?.to_owned(), fields.next()?);
    let key = percent_decode_str(key).decode_utf8().ok()?.into_owned();
    (!bucket.is_empty() && !key.is_empty()).then_some(ObjectId { bucket, key, version: None })
}

/// Checks the filter of a generated list against the locations.
fn of_filter(
    scope: &RepairScope,
    generator: &S3JobManifestGenerator,
    target: Option<&str>,
) -> JobExtent {
    let bucket = bucket_of(&generator.source_bucket);
    let constraint = generator.filter.as_ref().and_then(|it| it.key_name_constraint.as_ref());
    let named = constraint.and_then(|it| it.match_any_prefix.clone()).unwrap_or_default();
    // Without prefixes, the job covers the whole bucket.
    let prefixes = if named.is_empty() { vec![String::new()] } else { named };
    let mut places = BTreeSet::new();
    for prefix in prefixes {
        match JobRules::default().place(scope.place_names(), bucket, &prefix, target) {
            Ok(place) => {
                places.insert(place);
            }
            Err(outside) => {
                let what = ObjectId { bucket: bucket.to_owned(), key: prefix, version: None };
                return outside_places(outside, &what, target);
            }
        }
    }
    JobExtent::Within(places)
}

/// Whether this program created a job.
pub(crate) fn is_own(job: &JobDescriptor) -> bool {
    job.description.as_deref().is_some_and(|text| text.starts_with(DESCRIPTION))
}

/// Looks up again what can have changed since a job was created. Returns its side effects, and the
/// objections to it. Its objects are in `places`.
///
/// # Errors
/// [`ReencryptError::Unseen`] where it is unknown whether a bucket keeps versions, or which
/// clusters run.
pub(crate) async fn judge(
    scope: &RepairScope,
    id: &str,
    job: &JobDescriptor,
    places: &BTreeSet<usize>,
) -> Result<SideEffects, ReencryptError> {
    let in_use = in_use(scope, id, places).await?;
    let Some(copy) = copy(job) else {
        let refused = refusals(id, job, in_use.as_deref(), &[]);
        return Ok(SideEffects { refused, ..SideEffects::default() });
    };
    let class = copy.storage_class.as_ref().map_or("STANDARD", |class| class.as_str());
    let changes: ChangesByPlace =
        places.iter().map(|place| (*place, PlannedChanges::of_copies(class))).collect();
    let locations: Vec<&S3Location> =
        places.iter().filter_map(|place| scope.wanted.get(*place)).map(|it| &it.location).collect();
    let buckets: BTreeSet<_> = locations.iter().map(|location| &location.bucket).collect();
    let mut reactions = scope.reactions.clone();
    let mut versionings = Vec::new();
    for bucket in buckets {
        let (status, notifications) = tokio::join!(
            s3_configurations::versioning_status(&scope.aws.s3, bucket),
            s3_configurations::notifications(&scope.aws.s3, bucket),
        );
        let status = text(status, &format!("whether the bucket {bucket} keeps versions"))?;
        versionings.push((bucket.as_str(), Versioning::of_status(status.status.as_deref())));
        if let Some(reaction) = reactions.get_mut(bucket.as_str()) {
            reaction.configurations.notifications = notifications;
        }
    }
    let mut effects = side_effects_given(scope, &reactions, &changes);
    effects.refused.extend(refusals(id, job, in_use.as_deref(), &versionings));
    Ok(effects)
}

/// The objections to a job, in words. `in_use`: about running clusters; `buckets`: the current
/// versioning of each.
fn refusals(
    id: &str,
    job: &JobDescriptor,
    in_use: Option<&str>,
    buckets: &[(&str, Versioning)],
) -> Vec<String> {
    let objections =
        JobRules::default().objections(kind(job), in_use.is_some(), buckets.iter().copied());
    let words = |objection| match objection {
        JobObjection::ClustersRun => in_use.unwrap_or_default().to_owned(),
        JobObjection::OtherOperation => format!(
            "job {id} neither copies objects nor updates their encryption, as jobs of \
             emr-etl-guard do"
        ),
        JobObjection::Versions(bucket, versioning) => format!(
            "job {id} copies objects in s3://{bucket}, which keeps versions ({versioning}) by \
             now: it could bring back what was overwritten or deleted since; cancel it, and run \
             this with --apply, without --batch"
        ),
    };
    objections.into_iter().map(words).collect()
}

/// The objection that a cluster of the pipeline is alive.
async fn in_use(
    scope: &RepairScope,
    id: &str,
    places: &BTreeSet<usize>,
) -> Result<Option<String>, ReencryptError> {
    let used: Vec<String> = places
        .iter()
        .filter_map(|place| scope.wanted.get(*place))
        .filter(|wanted| wanted.is_in_use())
        .map(ToString::to_string)
        .collect();
    if used.is_empty() {
        return Ok(None);
    }
    let clusters = scope.clusters().await?;
    Ok((!clusters.is_empty()).then(|| {
        format!(
            "{} of this pipeline runs, and may use {}, which job {id} is about; wait for its end",
            clusters.join(", "),
            used.join(", ")
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_manifest_names_its_object_and_what_names_none_is_no_line() {
        let id = |bucket: &str, key: &str| {
            Some(ObjectId { bucket: bucket.to_owned(), key: key.to_owned(), version: None })
        };
        for (line, object) in [
            ("b,in/a", id("b", "in/a")),
            ("b,in/%C3%BC%2C%22%0A,version", id("b", "in/ü,\"\n")),
            ("\"b\",\"in/a\",\"\"", id("b", "in/a")),
            ("b", None),
            ("b,", None),
            (",a", None),
            ("b,%ff", None),
        ] {
            assert_eq!(object_of(line), object, "{line}");
        }
    }

    #[test]
    fn only_what_says_so_was_made_by_this_program() {
        let of = |description: Option<&str>| {
            is_own(
                &JobDescriptor::builder().set_description(description.map(str::to_owned)).build(),
            )
        };
        assert!(of(Some("emr-etl-guard reencrypt: 3 objects of b (STANDARD) get SSE-S3")));
        assert!(!of(Some("somebody's")) && !of(None));
    }
}

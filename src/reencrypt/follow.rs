//! Follows jobs of S3 Batch Operations: which ones are followed and confirmed, and how they end.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3control::types::{JobDescriptor, JobStatus, RequestedJobStatus};
use serde_json::Value;

use crate::{
    base::{aws_calls, lookup::Lookup},
    reencrypt::{
        batch::{describe, own, phase, text},
        confirm::{self, JobExtent},
        cost::Cost,
        error::ReencryptError,
        job::Job,
        leftover::Leftover,
        machine::job::{FollowStep, JobPhase, JobRules},
        options::FollowOptions,
        scope::RepairScope,
    },
    system::bar::{self, bar},
};

/// The number of finished jobs that are searched for one in these locations.
const LOOKED_BACK: usize = 20;

/// A job that is followed.
#[derive(Clone, Debug)]
pub(crate) struct ChosenJob {
    pub(crate) id: String,
    /// The locations of the scope with its objects; none: not looked up.
    places: Option<BTreeSet<usize>>,
}

/// The jobs that are followed, and why others are not.
#[derive(Debug, Default)]
pub(crate) struct ChosenJobs {
    pub(crate) jobs: Vec<ChosenJob>,
    /// Messages about jobs elsewhere, and about side effects of the jobs to confirm.
    pub(crate) said: Vec<String>,
    /// Jobs whose objects' location is unknown.
    pub(crate) unseen: Vec<Leftover>,
}

/// Chooses the jobs to follow: the job that is named; or this program's unfinished jobs within the
/// scope's locations; or else the last finished one.
///
/// # Errors
/// [`ReencryptError::Usage`] when there is none. When jobs are to be confirmed:
/// [`ReencryptError::Refused`] when one must not be, and [`ReencryptError::Unseen`] when that is
/// unknown.
pub(crate) async fn choose(
    scope: &RepairScope,
    named: Option<&str>,
    options: &FollowOptions,
) -> Result<ChosenJobs, ReencryptError> {
    // The same safety switch as for every other change.
    if JobRules::default().is_switched_off(options.confirm, !scope.refusals.is_empty()) {
        return Err(ReencryptError::Refused(scope.refusals.join("; ")));
    }
    let mut chosen = match named {
        Some(id) => the_named(scope, id, options.confirm).await?,
        None => all_within(scope, options.confirm).await?,
    };
    if options.confirm {
        let mut refused = Vec::new();
        for job in &chosen.jobs {
            let described = describe(scope, &job.id).await?;
            let (Some(places), true) = (&job.places, awaits_confirmation(&described)) else {
                continue;
            };
            let effects = confirm::judge(scope, &job.id, &described, places).await?;
            refused.extend(effects.objections(options.acknowledged));
            chosen.said.extend(effects.said);
        }
        if !refused.is_empty() {
            return Err(ReencryptError::Refused(refused.join("; ")));
        }
    }
    Ok(chosen)
}

/// Whether a job still needs confirmation.
fn awaits_confirmation(job: &JobDescriptor) -> bool {
    phase(job.status.as_ref()).awaits_confirmation()
}

async fn the_named(
    scope: &RepairScope,
    id: &str,
    confirm: bool,
) -> Result<ChosenJobs, ReencryptError> {
    let job = describe(scope, id).await?;
    let mut places = None;
    if confirm && awaits_confirmation(&job) {
        if !confirm::is_own(&job) {
            return Err(ReencryptError::Refused(format!(
                "job {id} was not made by emr-etl-guard; confirm it where it was made"
            )));
        }
        match confirm::extent(scope, id, &job).await? {
            JobExtent::Within(within) => places = Some(within),
            JobExtent::Outside(what) => {
                return Err(ReencryptError::Refused(format!(
                    "job {id} is about {what}, which is in none of the locations of this run; \
                     name its locations, too, or leave it"
                )));
            }
        }
    }
    Ok(ChosenJobs { jobs: vec![ChosenJob { id: id.to_owned(), places }], ..ChosenJobs::default() })
}

/// This program's jobs within the locations. With `confirm` they are to be confirmed, so the
/// location of their objects must be known.
async fn all_within(scope: &RepairScope, confirm: bool) -> Result<ChosenJobs, ReencryptError> {
    let own = own(scope).await?;
    if own.is_empty() {
        return Err(ReencryptError::Usage(
            "there is no job of emr-etl-guard in this account and region".to_owned(),
        ));
    }
    let (over, alive): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|job| phase(job.status.as_ref()) == JobPhase::Over);
    let mut chosen = ChosenJobs::default();
    for id in alive.into_iter().filter_map(|job| job.job_id) {
        chosen.add(scope, id, confirm).await?;
    }
    // Otherwise the last finished one, as far as the manifests still exist.
    let mut over = over;
    over.sort_by_key(|job| std::cmp::Reverse(job.creation_time.map(|time| time.secs())));
    for id in over.into_iter().filter_map(|job| job.job_id).take(LOOKED_BACK) {
        if !chosen.is_empty() {
            break;
        }
        chosen.add(scope, id, confirm).await?;
    }
    if chosen.is_empty() {
        return Err(ReencryptError::Usage(
            "no job of emr-etl-guard in this account and region is within these locations"
                .to_owned(),
        ));
    }
    Ok(chosen)
}

impl ChosenJobs {
    /// Whether no job to follow was found.
    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.unseen.is_empty()
    }

    /// Adds a job, if its objects are in these locations.
    async fn add(
        &mut self,
        scope: &RepairScope,
        id: String,
        confirm: bool,
    ) -> Result<(), ReencryptError> {
        let job = describe(scope, &id).await?;
        match confirm::extent(scope, &id, &job).await {
            Ok(JobExtent::Within(places)) => self.jobs.push(ChosenJob { id, places: Some(places) }),
            Ok(JobExtent::Outside(what)) => self.said.push(format!(
                "job {id} is about {what}, which is in none of these locations; it is left alone"
            )),
            // Without a confirmation, following a job changes nothing.
            Err(ReencryptError::Unseen(_)) if !confirm => {
                self.jobs.push(ChosenJob { id, places: None });
            }
            Err(ReencryptError::Unseen(why)) => self.unseen.push(Leftover::other(format!(
                "job {id}: the locations of its objects are unknown, so it is left alone: {why}"
            ))),
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

/// The state of the followed jobs.
#[derive(Debug, Default)]
pub(crate) struct JobProgress {
    /// The remaining work.
    pub(crate) left: Vec<Leftover>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) waiting: bool,
    /// The cost of the finished ones.
    pub(crate) spent: Cost,
}

/// A job that is finished, or waits for a confirmation that it does not get.
#[derive(Debug)]
pub(crate) struct FollowedJob {
    id: String,
    job: JobDescriptor,
    is_over: bool,
    /// Why it was not confirmed, where it should have been.
    not_confirmed: Option<String>,
}

impl FollowedJob {
    /// A line on how it ended; `None` while it waits.
    pub(crate) fn line(&self) -> Option<String> {
        let (total, succeeded, failed) = progress(&self.job);
        self.is_over.then(|| {
            format!(
                "job {}: {}; {succeeded} of {total} objects done, {failed} failed",
                self.id,
                of_document(&self.job, &self.id).status
            )
        })
    }
}

/// Follows a job until it is finished, or waits for a confirmation that this run does not give.
pub(crate) async fn follow(
    scope: &RepairScope,
    chosen: &ChosenJob,
    options: &FollowOptions,
) -> Result<FollowedJob, ReencryptError> {
    let id = chosen.id.as_str();
    let bar = bar(bar::OF_A_WHOLE, Some(0), options.quiet);
    let mut confirmed = false;
    loop {
        let job = describe(scope, id).await?;
        let (total, succeeded, failed) = progress(&job);
        bar.set_length(total);
        bar.set_position(succeeded + failed);
        let ended = |job, is_over, not_confirmed| {
            Ok(FollowedJob { id: id.to_owned(), job, is_over, not_confirmed })
        };
        match phase(job.status.as_ref()).next_step(options.confirm, confirmed) {
            FollowStep::Ended => {
                bar.finish_and_clear();
                return ended(job, true, None);
            }
            FollowStep::Left => return ended(job, false, None),
            FollowStep::JudgeAndConfirm => {
                // Other jobs may have been followed for hours since this one was chosen.
                if let Some(why) = objection(scope, chosen, &job, options).await? {
                    bar.finish_and_clear();
                    return ended(job, false, Some(why));
                }
                let request =
                    scope.aws.s3control.update_job_status().account_id(&scope.account).job_id(id);
                let result = request.requested_job_status(RequestedJobStatus::Ready).send().await;
                text(
                    Lookup::from_call(&aws_calls::UPDATE_JOB_STATUS, &[], result),
                    &format!("the job {id} could not be confirmed"),
                )?;
                confirmed = true;
            }
            FollowStep::Wait => tokio::time::sleep(options.poll_interval).await,
        }
    }
}

/// Why a job must not be confirmed now; `None` if it may be.
async fn objection(
    scope: &RepairScope,
    chosen: &ChosenJob,
    job: &JobDescriptor,
    options: &FollowOptions,
) -> Result<Option<String>, ReencryptError> {
    let Some(places) = &chosen.places else {
        return Ok(Some("the locations of its objects were not read; run this again".to_owned()));
    };
    let effects = confirm::judge(scope, &chosen.id, job, places).await?;
    let objections = effects.objections(options.acknowledged);
    Ok((!objections.is_empty()).then(|| objections.join("; ")))
}

impl JobProgress {
    /// Adds a job, with the failed objects in its completion report.
    pub(crate) async fn add(
        &mut self,
        scope: &RepairScope,
        followed: FollowedJob,
    ) -> Result<(), ReencryptError> {
        let FollowedJob { id, job, is_over, not_confirmed } = followed;
        let mut shown = of_document(&job, &id);
        let (total, _, failed) = progress(&job);
        if !is_over {
            self.waiting = true;
            self.left.push(Leftover::other(match not_confirmed {
                Some(why) => format!("job {id} was not confirmed ({total} objects): {why}"),
                None => {
                    format!("job {id} waits for its confirmation ({total} objects): add --confirm")
                }
            }));
            self.jobs.push(shown);
            return Ok(());
        }
        for failure in job.failure_reasons.iter().flatten() {
            let (code, reason) = (
                failure.failure_code.as_deref().unwrap_or_default(),
                failure.failure_reason.as_deref().unwrap_or_default(),
            );
            shown.failures.push(format!("{code}: {reason}"));
            self.left.push(Leftover::other(format!("job {id} failed: {code}: {reason}")));
        }
        if job.status != Some(JobStatus::Complete)
            && job.failure_reasons.as_ref().is_none_or(Vec::is_empty)
        {
            self.left.push(Leftover::other(format!("job {id} is {}", shown.status)));
        }
        if failed > 0 {
            for (kind, number, first) in failures(scope, &job, &id).await? {
                shown.failures.push(kind.clone());
                let line = format!("job {id}: {first} and {} more: {kind}", number - 1);
                self.left.push(Leftover::of_objects(line, &kind, number, &first));
            }
        }
        came_to(&job, &mut self.spent);
        self.jobs.push(shown);
        Ok(())
    }
}

/// A job in the form of the report.
fn of_document(job: &JobDescriptor, id: &str) -> Job {
    let (total, succeeded, failed) = progress(job);
    let status = job
        .status
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), |status| status.as_str().to_owned());
    let manifest =
        job.generated_manifest_descriptor.as_ref().and_then(|manifest| manifest.location.as_ref());
    let generated_manifest = manifest
        .and_then(|location| location.object_arn.split_once(":::"))
        .map(|(_, place)| format!("s3://{place}"));
    Job {
        id: id.to_owned(),
        status,
        objects: Some(total),
        succeeded,
        failed,
        failures: Vec::new(),
        generated_manifest,
    }
}

/// The cost of a finished job, as far as it is known: S3's data contain neither KMS calls nor
/// object sizes.
fn came_to(job: &JobDescriptor, spent: &mut Cost) {
    let (total, succeeded, failed) = progress(job);
    spent.job(total);
    if job.generated_manifest_descriptor.is_some() {
        spent.manifest(total);
    }
    let copy = job.operation.as_ref().and_then(|operation| operation.s3_put_object_copy.as_ref());
    let class = copy
        .and_then(|copy| copy.storage_class.as_ref())
        .map_or("STANDARD", |class| class.as_str());
    spent.write(class, succeeded + failed);
}

fn progress(job: &JobDescriptor) -> (u64, u64, u64) {
    let number =
        |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let summary = job.progress_summary.as_ref();
    (
        number(summary.and_then(|it| it.total_number_of_tasks)),
        number(summary.and_then(|it| it.number_of_tasks_succeeded)),
        number(summary.and_then(|it| it.number_of_tasks_failed)),
    )
}

async fn get(scope: &RepairScope, bucket: &str, key: &str) -> Result<Vec<u8>, ReencryptError> {
    let what = format!("the report s3://{bucket}/{key}");
    let result = scope.aws.s3.get_object().bucket(bucket).key(key).send().await;
    let answer = text(Lookup::from_call(&aws_calls::GET_OBJECT, &["NoSuchKey"], result), &what)?;
    let bytes = answer
        .body
        .collect()
        .await
        .map_err(|error| ReencryptError::Unseen(format!("{what}: {error}")))?;
    Ok(bytes.to_vec())
}

/// The failed tasks in the completion report: each kind of failure once, with its count and first
/// object.
async fn failures(
    scope: &RepairScope,
    job: &JobDescriptor,
    id: &str,
) -> Result<Vec<(String, u64, String)>, ReencryptError> {
    let unreadable = |what: &str| ReencryptError::Unseen(format!("the report of job {id} {what}"));
    let report = job.report.as_ref().ok_or_else(|| unreadable("is nowhere"))?;
    let bucket = report
        .bucket
        .as_deref()
        .and_then(|arn| arn.rsplit(":::").next())
        .ok_or_else(|| unreadable("is nowhere"))?;
    let prefix = report
        .prefix
        .as_deref()
        .map_or_else(String::new, |prefix| format!("{}/", prefix.trim_end_matches('/')));
    let manifest = get(scope, bucket, &format!("{prefix}job-{id}/manifest.json")).await?;
    let manifest: Value =
        serde_json::from_slice(&manifest).map_err(|_| unreadable("is no JSON"))?;
    let mut kinds: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for result in manifest["Results"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|it| it["TaskExecutionStatus"] == "failed")
    {
        let key = result["Key"].as_str().ok_or_else(|| unreadable("names no file"))?;
        let bytes = get(scope, result["Bucket"].as_str().unwrap_or(bucket), key).await?;
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(bytes.as_slice());
        for row in rows.records() {
            let row = row.map_err(|_| unreadable("is no CSV"))?;
            let field = |index| row.get(index).unwrap_or_default();
            let kind = kinds
                .entry(format!("{}: {}", field(4), field(6)))
                .or_insert_with(|| (0, format!("s3://{}/{}", field(0), field(1))));
            kind.0 += 1;
        }
    }
    Ok(kinds.into_iter().map(|(kind, (number, first))| (kind, number, first)).collect())
}

//! The final result of a repair: lines for people, the report for machines, and the outcome that
//! both share.

use time::OffsetDateTime;

use crate::{
    base::outcome::Outcome,
    commands::{
        cli::ReencryptArguments,
        error::GuardError,
        reencrypt::{options::acknowledged, work::RepairContext},
    },
    reencrypt::{
        cost::Cost,
        job::Job,
        leftover::Leftover,
        machine::choice::{Choice, LeaveReason, RepairMethod as How},
        scope::RepairScope,
        side_effects::SideEffects,
        survey::{ObjectGroup, RepairSurvey},
        tally::RepairTally,
        uploads::OpenUploads,
    },
    report::{
        caller::LocalCaller,
        reencrypt_document::{
            BucketTarget, Done, Mode, PlannedObjects, ReencryptOptions, ReencryptReport,
            ReencryptedLocation, ReportedMethod, VERSION,
        },
    },
    settings::policy,
};

/// All results at the end.
#[derive(Debug)]
pub(crate) struct RepairSummary {
    pub(crate) started: OffsetDateTime,
    pub(crate) survey: RepairSurvey,
    pub(crate) tally: RepairTally,
    /// The cost of the jobs, in addition to the survey's.
    pub(crate) jobs_cost: Cost,
    /// The actual cost; none if nothing was done.
    pub(crate) spent: Option<Cost>,
    pub(crate) jobs: Vec<Job>,
    /// What is left, in addition to the results of survey and tally.
    pub(crate) left: Vec<Leftover>,
    /// Open multipart uploads.
    pub(crate) open_uploads: Vec<OpenUploads>,
    /// The side effects of the changes.
    pub(crate) side_effects: SideEffects,
}

impl RepairSummary {
    pub(crate) fn new() -> Self {
        Self {
            started: OffsetDateTime::now_utc(),
            survey: RepairSurvey::default(),
            tally: RepairTally::default(),
            jobs_cost: Cost::default(),
            spent: None,
            jobs: Vec::new(),
            left: Vec::new(),
            open_uploads: Vec::new(),
            side_effects: SideEffects::default(),
        }
    }

    /// The estimated cost, including that of reading.
    pub(crate) fn estimate(&self) -> Cost {
        let mut cost = self.survey.cost.clone();
        cost.join(&self.jobs_cost);
        cost
    }

    /// All reasons against a change.
    fn refusals(&self, arguments: &ReencryptArguments, scope: &RepairScope) -> Vec<String> {
        let objections = self.side_effects.objections(acknowledged(arguments));
        scope.refusals.iter().cloned().chain(objections).collect()
    }

    fn leftovers(&self) -> Vec<Leftover> {
        self.left
            .iter()
            .cloned()
            .chain(self.survey.leftovers())
            .chain(self.tally.leftovers())
            .collect()
    }

    /// Reports what is left, and writes the report.
    pub(crate) fn close(
        &self,
        work: RepairContext<'_>,
        outcome: Outcome,
    ) -> Result<Outcome, GuardError> {
        let RepairContext { arguments, settings, scope, report } = work;
        let leftovers = self.leftovers();
        let lines: Vec<String> = leftovers.iter().map(|leftover| leftover.line.clone()).collect();
        // In a dry run the remaining objects are the result, which was reported already.
        if !lines.is_empty() && mode(arguments) != Mode::DryRun {
            report.left(outcome, &lines);
        }
        let prices = work.prices();
        let document = ReencryptReport {
            version: VERSION,
            guard: env!("CARGO_PKG_VERSION").to_owned(),
            command: "reencrypt".to_owned(),
            mode: mode(arguments),
            asked: ReencryptOptions {
                restore: arguments.restore,
                purge_old_versions: arguments.purge_old_versions,
                purge_overwritten_versions: arguments.purge_overwritten_versions,
                generate_manifest: arguments.generate_manifest.is_some(),
            },
            started: self.started,
            ended: OffsetDateTime::now_utc(),
            who: Some(LocalCaller::of_this_process()),
            account: scope.account.clone(),
            region: scope.region.clone(),
            policy: settings.policy.clone(),
            buckets: targets(scope),
            refusals: self.refusals(arguments, scope),
            side_effects: self.side_effects.said.clone(),
            locations: self.locations(scope),
            old_versions_removed: self.tally.purged,
            restores_started: self.tally.restoring,
            jobs: self.jobs.clone(),
            left: leftovers.into_iter().map(|leftover| leftover.left).collect(),
            open_uploads: self.open_uploads.clone(),
            estimate: self.estimate().bill(&prices),
            spent: self.spent.as_ref().map(|spent| spent.bill(&prices)),
            connections: scope.aws.connections(),
            complete: outcome == Outcome::Ended(0),
            outcome,
            exit_code: outcome.exit_code(&settings.exit_codes),
        };
        let text = crate::base::json::pretty(&document).map_err(anyhow::Error::from)?;
        report.write_document(&format!("{text}\n"))?;
        Ok(outcome)
    }

    fn locations(&self, scope: &RepairScope) -> Vec<ReencryptedLocation> {
        let of = |(index, wanted): (usize, &crate::reencrypt::scope::RepairLocation)| {
            let found = self.survey.places.get(index).map(|(_, found)| found);
            let groups = found
                .into_iter()
                .flat_map(|found| &found.groups)
                .map(|(choice, group)| shown(*choice, group))
                .collect();
            let done = self.tally.done.range((index, How::Update)..=(index, How::CopyInParts));
            ReencryptedLocation {
                role: wanted.role.clone(),
                location: wanted.location.to_string(),
                looked_at: found.map_or(0, |found| found.looked_at),
                found: groups,
                done: done
                    .map(|((_, how), (objects, bytes))| Done {
                        method: method(*how),
                        objects: *objects,
                        bytes: *bytes,
                    })
                    .collect(),
                unseen: found.map_or(0, |found| found.unseen),
                obstacle: found.and_then(|found| found.obstacle.clone()),
            }
        };
        // If only unconfirmed jobs were followed, no object was read.
        if self.survey.places.is_empty() && self.tally.done.is_empty() {
            Vec::new()
        } else {
            scope.wanted.iter().enumerate().map(of).collect()
        }
    }
}

pub(crate) fn mode(arguments: &ReencryptArguments) -> Mode {
    match (arguments.batch_status, arguments.apply, arguments.batch) {
        (true, ..) => Mode::BatchStatus,
        (_, true, true) => Mode::Batch,
        (_, true, false) => Mode::Apply,
        _ => Mode::DryRun,
    }
}

fn targets(scope: &RepairScope) -> Vec<BucketTarget> {
    let target = |(bucket, plan): (&String, &crate::reencrypt::plan::BucketPlan)| BucketTarget {
        bucket: bucket.clone(),
        encryption: policy::kind_name(plan.target.kind).to_owned(),
        kms_key: plan.target.key.clone(),
        by: plan.target.by.to_owned(),
        versioned: plan.versioning.has_versions(),
    };
    scope.plan.buckets.iter().map(target).collect()
}

const fn method(how: How) -> ReportedMethod {
    match how {
        How::Update => ReportedMethod::UpdateObjectEncryption,
        How::Copy => ReportedMethod::Copy,
        How::CopyInParts => ReportedMethod::CopyInParts,
    }
}

fn shown(choice: Choice, group: &ObjectGroup) -> PlannedObjects {
    let method = match choice {
        Choice::Do(how) => method(how),
        Choice::Restore => ReportedMethod::Restore,
        Choice::Purge => ReportedMethod::PurgeOldVersion,
        Choice::Leave(_) | Choice::Nothing => ReportedMethod::Leave,
    };
    let why = if let Choice::Leave(reason) = choice {
        Some(LeaveReason::advice(reason).to_owned())
    } else {
        None
    };
    PlannedObjects {
        method,
        why,
        objects: group.objects,
        bytes: group.bytes,
        first: group.first.clone(),
    }
}

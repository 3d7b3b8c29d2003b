//! The command `reencrypt`: gives existing objects the required encryption, in place and without
//! loss.
//!
//! ```text
//! scope ─► targets ─► scan ─► choice ─► ledger ─► repair ─► proof ─► tally
//! ```
//!
//! Without `--apply` it ends with the choice: what would be done, and at what cost.

mod options;
mod summary;
mod work;

use std::collections::BTreeSet;

use crate::{
    aws::{ca_certificates, clients::Aws},
    base::{json::pretty, names::S3Location, outcome::Outcome, printable::printable},
    checks::fix::CommandContext,
    commands::{
        cli::ReencryptArguments,
        error::GuardError,
        read_config::{launch_scope, regions_or_default},
        reencrypt::{
            options::{
                batch_options, config, follow_options, pipeline_config, rate_limits, scope_options,
            },
            summary::RepairSummary,
            work::RepairContext,
        },
        run::guarded_run::commands_of,
    },
    evidence::journal::state_dir,
    facts::sts::{self, NoAccess},
    permissions::policy,
    reencrypt::{
        batch,
        cost::Cost,
        error::ReencryptError,
        follow, generate,
        ledger::Ledger,
        leftover::Leftover,
        options::BatchOptions,
        run::{RepairRun, Resumed},
        scope::{self, RepairScope},
        side_effects::{self, ChangesByPlace, PlannedChanges},
        survey::{PlaceSurvey, RepairSurvey, SurveyLedger},
        tally::RepairTally,
        uploads,
    },
    report::{options::CheckOptions, reporter::Report},
    runners::emr_etl_runner::config::RunnerConfig,
    settings::resolve::Settings,
    system::{
        output::out,
        signals::{self, stop_signal},
    },
};

/// The command.
pub(crate) async fn reencrypt(
    arguments: &ReencryptArguments,
    settings: &Settings,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let report = Report::open(
        &settings.report,
        &CheckOptions { json: arguments.json, ..CheckOptions::default() },
    )
    .map_err(GuardError::Report)?;
    let config = config(arguments, settings, &mut caught).await?;
    if arguments.permissions {
        let cluster = config.as_ref().map(RunnerConfig::cluster_spec);
        let launch = launch_scope(config.as_ref(), cluster.as_ref());
        out(&format!("{}\n", pretty(&policy::reencrypt(launch)).map_err(anyhow::Error::from)?));
        return Ok(Outcome::Ended(0));
    }
    ca_certificates::check_ca_certificates()?;
    // The lock is taken first, so that of two runs with the same scope the second fails before it
    // has read a million objects.
    let ledger = take_ledger(arguments, settings)?;
    tokio::select! {
        outcome = run(arguments, settings, config, ledger.as_ref(), &report) => outcome,
        signal = stop_signal(&mut caught) => Err(ReencryptError::Stopped(signal).into()),
    }
}

/// The ledger, if the run writes to it, or if the results of earlier runs matter.
fn take_ledger(
    arguments: &ReencryptArguments,
    settings: &Settings,
) -> Result<Option<Ledger>, GuardError> {
    let ledger = if arguments.apply {
        Ledger::take(&state_dir(settings.state_dir.as_deref())?).map(Some)
    } else if arguments.purge_old_versions {
        // Earlier replacements decide which old versions a purge removes.
        Ledger::take_existing(&state_dir(settings.state_dir.as_deref())?)
    } else {
        Ok(None)
    };
    Ok(ledger.map_err(ReencryptError::from)?)
}

/// The permissions of the jobs' role. They include the keys under which objects are encrypted now,
/// so each object is read. Generated manifests list only objects that are not under a KMS key.
async fn role_policy(
    scope: &RepairScope,
    place: Option<&S3Location>,
    generates: bool,
) -> Result<serde_json::Value, GuardError> {
    if generates {
        return Ok(batch::role_policy(scope, place, generates, &BTreeSet::new()));
    }
    let survey = RepairSurvey::take(scope, SurveyLedger::None, None, true).await?;
    let mut policy = batch::role_policy(scope, place, generates, &survey.source_keys());
    if survey.unseen() > 0 {
        policy["Unseen"] = serde_json::json!(format!(
            "{} objects or places could not be looked at: the keys that they are encrypted under \
             are not among these; allow kms:Decrypt on those besides",
            survey.unseen()
        ));
    }
    Ok(policy)
}

async fn run(
    arguments: &ReencryptArguments,
    settings: &Settings,
    config: Option<RunnerConfig>,
    ledger: Option<&Ledger>,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let scope = find_scope(arguments, settings, config.as_ref()).await?;
    if arguments.apply && !scope.refusals.is_empty() {
        return Err(ReencryptError::Refused(scope.refusals.join("; ")).into());
    }
    if arguments.role_policy {
        let place =
            arguments.batch_place.as_deref().and_then(|place| S3Location::parse(place).ok());
        let generates = arguments.generate_manifest.is_some();
        let policy = role_policy(&scope, place.as_ref(), generates).await?;
        out(&format!("{}\n", pretty(&policy).map_err(anyhow::Error::from)?));
        return Ok(Outcome::Ended(0));
    }
    for line in scope.lines() {
        report.say(printable!("{line}"));
    }
    let work = RepairContext { arguments, settings, scope: &scope, report };
    if arguments.batch_status {
        return batch_status(work).await;
    }
    let order = if arguments.batch { Some(batch_options(arguments)?) } else { None };
    if let (Some(order), Some(classes)) = (&order, &arguments.generate_manifest) {
        return Box::pin(generated_jobs(work, order, classes)).await;
    }
    Box::pin(survey_and_repair(work, ledger, order.as_ref())).await
}

/// Connects, and determines which buckets may be changed and which encryption their objects get.
async fn find_scope(
    arguments: &ReencryptArguments,
    settings: &Settings,
    config: Option<&RunnerConfig>,
) -> Result<RepairScope, ReencryptError> {
    let pipeline = config.map(|config| pipeline_config(config, settings));
    let options = scope_options(arguments, &settings.policy);
    let wanted = scope::wanted(&options, pipeline.as_ref())?;
    let regions = regions_or_default(config).await;
    let aws = Aws::connect(&regions, config.map(|config| &config.credentials), &settings.aws).await;
    // Refusing a forbidden endpoint is left to the scope.
    if aws.refused_endpoints().next().is_none() {
        sts::probe(&aws, settings.aws.credentials).await?;
    }
    let found =
        RepairScope::find(aws.clone(), regions.s3, wanted, &options, pipeline.as_ref()).await;
    let Err(ReencryptError::Obstructed { what, obstacle }) = &found else { return found };
    // A single call that is denied says what it is for; what more questions share is said once.
    let is_shared =
        obstacle.cause.is_some() || aws.denies_as_a_whole(&obstacle.operation).is_some();
    if is_shared && let Some(cause) = NoAccess::by(obstacle, &aws, settings.aws.credentials).await {
        return Err(cause.unseen(what).into());
    }
    found
}

/// Reads all objects, reports what would be done, and does it if requested.
async fn survey_and_repair(
    work: RepairContext<'_>,
    ledger: Option<&Ledger>,
    order: Option<&BatchOptions>,
) -> Result<Outcome, GuardError> {
    let RepairContext { arguments, scope, report, .. } = work;
    let mut books = RepairSummary::new();
    let run = ledger.filter(|_| arguments.apply).map(|ledger| {
        RepairRun::new(scope, ledger, rate_limits(arguments), work.settings.watch.interval)
    });
    let mut begun = 0;
    if let (Some(run), Some(ledger)) = (&run, ledger) {
        let changes = side_effects::begun(scope, ledger).map_err(ReencryptError::from)?;
        work.check_side_effects(&side_effects::side_effects(scope, &changes), begun)?;
        let resumed = run.resume(&mut books.tally).await?;
        begun = resumed.begun;
        say_resumed(resumed, report);
    }
    let known = match ledger {
        None => SurveyLedger::None,
        Some(ledger) if arguments.apply => SurveyLedger::Planned(ledger),
        Some(ledger) => SurveyLedger::Known(ledger),
    };
    books.survey =
        RepairSurvey::take(scope, known, arguments.list.as_deref(), work.quiet()).await?;
    for line in books.survey.lines() {
        report.say(printable!("{line}"));
    }
    books.side_effects = side_effects::side_effects(scope, &planned(work, &books.survey));
    work.check_side_effects(&books.side_effects, begun)?;
    let cost = &mut books.survey.cost;
    if run.is_none() {
        books.open_uploads =
            uploads::find(scope, ledger, cost).await.map_err(ReencryptError::from)?;
    } else if order.is_none() {
        // The run will search for them at its end.
        scope.wanted.iter().for_each(|_| cost.list());
    }
    let prices = work.prices();
    let what = if arguments.apply { "estimate:" } else { "estimate of what --apply would cost:" };
    report.say(printable!("{what} {}", books.survey.cost.shown(&prices)));
    let (Some(ledger), Some(run)) = (ledger, run) else {
        work.say_refusals(&books.side_effects);
        let to_do = books.survey.to_do();
        say_open_uploads(&books, work);
        report.say(dry_run(to_do, books.survey.unseen()));
        let outcome = outcome(&books.survey, &books.tally, to_do);
        return books.close(work, outcome);
    };
    if let Some(order) = order {
        let made = Box::pin(batch::make(scope, ledger, order)).await?;
        return report_created_jobs(work, books, made);
    }
    run.repair_planned(books.survey.to_do(), work.quiet(), &mut books.tally).await?;
    let mut came_to = books.survey.looking.clone();
    came_to.join(&run.spent());
    books.open_uploads =
        uploads::find(scope, Some(ledger), &mut came_to).await.map_err(ReencryptError::from)?;
    say_open_uploads(&books, work);
    report.say(printable!(
        "done: {} objects are encrypted as they should be, and verified; {} old versions were \
         removed; {} restores were started",
        books.tally.done(),
        books.tally.purged,
        books.tally.restoring
    ));
    report.say(printable!("actual cost: {}", came_to.shown(&prices)));
    books.spent = Some(came_to);
    let outcome = outcome(&books.survey, &books.tally, 0);
    books.close(work, outcome)
}

/// The final line of a dry run. Objects that could not be read may be of any kind.
fn dry_run(to_do: u64, unseen: u64) -> String {
    match (to_do, unseen) {
        (0, 0) => "nothing to do; nothing was changed".to_owned(),
        (_, 0) => "a dry run: nothing was changed; add --apply to do it".to_owned(),
        _ => "a dry run: nothing was changed; not everything could be looked at, so there may be \
            more to do than this says. fix: see above what could not be looked at, and run this \
            again"
            .to_owned(),
    }
}

/// Reports open multipart uploads. They do not make a run incomplete: an open upload is not an
/// object yet and cannot be read, and where other clients write there is always one.
fn say_open_uploads(books: &RepairSummary, work: RepairContext<'_>) {
    let region = &work.scope.region;
    let commands = CommandContext { s3_region: region.clone(), ..commands_of(work.settings) };
    for line in books.open_uploads.iter().flat_map(|uploads| uploads.lines(&commands)) {
        work.report.say(printable!("{line}"));
    }
}

/// The plan of the survey, location by location. Jobs copy only in buckets without versions, and
/// neither restore nor remove anything.
fn planned(work: RepairContext<'_>, survey: &RepairSurvey) -> ChangesByPlace {
    let RepairContext { arguments, scope, .. } = work;
    let of_place = |(index, (_, found)): (usize, &(String, PlaceSurvey))| {
        let bucket = scope.wanted.get(index)?.location.bucket.as_str();
        let versioning = scope.plan.buckets.get(bucket)?.versioning;
        let changes = PlannedChanges::of_survey(found, arguments.purge_old_versions, versioning);
        let changes = if arguments.batch { changes.of_a_job(versioning) } else { changes };
        Some((index, changes))
    };
    survey.places.iter().enumerate().filter_map(of_place).collect()
}

/// Reports what was done about objects that an earlier run had started.
fn say_resumed(resumed: Resumed, report: &Report) {
    let Resumed { begun, elsewhere } = resumed;
    if begun > 0 {
        report.say(printable!("went on with {begun} objects that an earlier run had begun"));
    }
    if elsewhere > 0 {
        report.say(printable!(
            "{elsewhere} objects that an earlier run began are in other \
            locations; run this for those locations, too"
        ));
    }
}

/// Makes S3 list the objects for its jobs. No object is read here.
async fn generated_jobs(
    work: RepairContext<'_>,
    order: &BatchOptions,
    classes: &[String],
) -> Result<Outcome, GuardError> {
    let RepairContext { arguments, scope, report, .. } = work;
    let mut books = RepairSummary::new();
    let (wishes, left) = generate::plan(scope, classes).await?;
    for wish in &wishes {
        report.say(printable!(
            "{}job: {wish}",
            if arguments.apply { "" } else { "a dry run: there would be a " }
        ));
    }
    let mut changes = ChangesByPlace::new();
    for (bucket, class) in wishes.iter().filter_map(generate::JobRequest::copied) {
        let places = scope.wanted.iter().enumerate();
        for (index, _) in places.filter(|(_, it)| it.location.bucket.as_str() == bucket) {
            changes.entry(index).or_default().join(PlannedChanges::of_copies(class));
        }
    }
    books.side_effects = side_effects::side_effects(scope, &changes);
    work.check_side_effects(&books.side_effects, 0)?;
    let nothing = wishes.is_empty();
    let mut made = if arguments.apply {
        generate::make(scope, order, &wishes).await?
    } else {
        batch::CreatedJobs::default()
    };
    if !arguments.apply {
        work.say_refusals(&books.side_effects);
        for _ in &wishes {
            made.cost.job(0);
        }
    }
    made.left.extend(left);
    if nothing {
        made.left.push(Leftover::other(
            "there is nothing that a job with a manifest generated by S3 could do".to_owned(),
        ));
    }
    if !arguments.apply {
        for leftover in &made.left {
            report.say(printable!("{}", leftover.line));
        }
    }
    report_created_jobs(work, books, made)
}

/// Reports the created jobs. The rest, and the work that the jobs will do, counts as left.
fn report_created_jobs(
    work: RepairContext<'_>,
    mut books: RepairSummary,
    made: batch::CreatedJobs,
) -> Result<Outcome, GuardError> {
    for job in &made.jobs {
        let objects = job.objects.map_or_else(
            || "S3 lists its objects".to_owned(),
            |objects| format!("{objects} objects"),
        );
        work.report.say(printable!(
            "job {}: {objects}; it waits for its confirmation: emr-etl-guard reencrypt \
             --batch-status --confirm, with the same places",
            job.id
        ));
    }
    // With such a manifest no object was read.
    let s3_lists = work.arguments.generate_manifest.is_some();
    let what = if s3_lists {
        "without the objects, which S3 is to list"
    } else {
        "besides the estimate above"
    };
    work.report.say(printable!("{what}: {}", made.cost.shown(&work.prices())));
    books.jobs_cost = made.cost;
    books.jobs = made.jobs;
    books.left = made.left;
    // The jobs have not done anything yet.
    let to_do = if s3_lists { 1 } else { books.survey.to_do() };
    let outcome = if made.unseen {
        Outcome::FactsUnknown
    } else {
        outcome(&books.survey, &books.tally, to_do)
    };
    books.close(work, outcome)
}

/// Follows the jobs, then reads all objects again: a job's report is only S3's statement, and
/// reading the objects verifies it.
async fn batch_status(work: RepairContext<'_>) -> Result<Outcome, GuardError> {
    let RepairContext { arguments, settings, scope, report } = work;
    let mut books = RepairSummary::new();
    let options = follow_options(arguments, settings);
    let mut followed = follow::JobProgress::default();
    let chosen = follow::choose(scope, arguments.job.as_deref(), &options).await?;
    for line in &chosen.said {
        report.say(printable!("{line}"));
    }
    for job in &chosen.jobs {
        let job = follow::follow(scope, job, &options).await?;
        if let Some(line) = job.line() {
            report.say(printable!("{line}"));
        }
        followed.add(scope, job).await?;
    }
    if !followed.waiting {
        books.survey =
            RepairSurvey::take(scope, SurveyLedger::None, arguments.list.as_deref(), work.quiet())
                .await?;
    }
    for line in books.survey.lines() {
        report.say(printable!("{line}"));
    }
    let mut came_to = books.survey.looking.clone();
    came_to.join(&followed.spent);
    if followed.spent != Cost::default() {
        report.say(printable!(
            "actual cost, as far as S3 reports it: {}",
            came_to.shown(&work.prices())
        ));
        books.spent = Some(came_to);
    }
    let to_do = books.survey.to_do() + u64::try_from(followed.left.len()).unwrap_or(u64::MAX);
    let outcome = if chosen.unseen.is_empty() {
        outcome(&books.survey, &books.tally, to_do)
    } else {
        Outcome::FactsUnknown
    };
    books.jobs = followed.jobs;
    books.left = chosen.unseen;
    books.left.extend(followed.left);
    books.close(work, outcome)
}

/// Unread objects take precedence over remaining ones, because their state is unknown. Objects that
/// the safety switch stopped count as refused, as they do if it stops the run before the first
/// change.
pub(crate) fn outcome(survey: &RepairSurvey, tally: &RepairTally, to_do: u64) -> Outcome {
    if survey.unseen() > 0 || tally.unseen > 0 {
        Outcome::FactsUnknown
    } else if tally.refused > 0 {
        Outcome::Refused
    } else if survey.left() > 0 || to_do > 0 || tally.restoring > 0 || !tally.left.is_empty() {
        Outcome::Unconfirmed
    } else {
        Outcome::Ended(0)
    }
}

//! The command `reencrypt`: objects that are there already get the encryption that they should
//! have, in place, with nothing lost.
//!
//! ```text
//! scope ─► targets ─► scan ─► choice ─► ledger ─► repair ─► proof ─► tally
//! ```
//!
//! Without `--apply` it ends with the choice: what would be done, and what it would cost.

mod summary;
mod work;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::config::{retry::RetryConfig, timeout::TimeoutConfig};
use futures_util::{StreamExt as _, future::join_all, stream};
use indicatif::ProgressBar;

use crate::{
    aws::ca_certificates,
    base::{names::S3Location, outcome::Outcome},
    commands::{
        cli::ReencryptArguments,
        error::GuardError,
        reencrypt::{summary::Books, work::Work},
    },
    evidence::journal::state_dir,
    permissions::policy,
    reencrypt::{
        batch,
        cost::Cost,
        error::ReencryptError,
        generate,
        ledger::{Ledger, PAGE, State},
        leftover::Leftover,
        method::Choice,
        pace::Pace,
        place::Place,
        repair::Repair,
        scope::{self, Scope},
        survey::Survey,
        tally::Tally,
    },
    report::{options::CheckOptions, reporter::Report},
    settings::resolve::Settings,
    system::{
        bar::{self, bar},
        signals::{self, stop_signal},
    },
};

/// So many objects are repaired at once. S3 takes 3,500 copies a second and prefix; a copy takes
/// about a tenth of a second.
const REPAIRS_AT_ONCE: usize = 64;

/// One copy of 5 GiB takes minutes, for which S3 keeps the connection open.
const LONGEST_COPY: Duration = Duration::from_mins(15);

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
    let config = scope::config(arguments, settings, &mut caught).await?;
    if arguments.permissions {
        println!("{:#}", policy::reencrypt(config.as_ref()));
        return Ok(Outcome::Ended(0));
    }
    ca_certificates::has_trust()?;
    // Taken first, so that two runs that want the same see so before either looks at a million
    // objects.
    let ledger = if arguments.apply {
        Some(
            Ledger::take(&state_dir(settings.state_dir.as_deref())?)
                .map_err(ReencryptError::from)?,
        )
    } else {
        None
    };
    tokio::select! {
        outcome = run(arguments, settings, config, ledger.as_ref(), &report) => outcome,
        signal = stop_signal(&mut caught) => Err(ReencryptError::Stopped(signal).into()),
    }
}

async fn run(
    arguments: &ReencryptArguments,
    settings: &Settings,
    config: Option<crate::runners::emr_etl_runner::config::RunnerConfig>,
    ledger: Option<&Ledger>,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let scope = Scope::find(arguments, settings, config.as_ref()).await?;
    if arguments.apply && !scope.refusals.is_empty() {
        return Err(ReencryptError::Refused(scope.refusals.join("; ")).into());
    }
    if arguments.role_policy {
        let place =
            arguments.batch_place.as_deref().and_then(|place| S3Location::parse(place).ok());
        println!(
            "{:#}",
            batch::role_policy(&scope, place.as_ref(), arguments.generate_manifest.is_some())
        );
        return Ok(Outcome::Ended(0));
    }
    for line in scope.lines() {
        report.say(&line);
    }
    let work = Work { arguments, settings, scope: &scope, report };
    if arguments.batch_status {
        return batch_status(work).await;
    }
    let order = if arguments.batch { Some(batch::Order::of(arguments)?) } else { None };
    if let (Some(order), Some(classes)) = (&order, &arguments.generate_manifest) {
        return generated_jobs(work, order, classes).await;
    }
    Box::pin(survey_and_repair(work, ledger, order.as_ref())).await
}

/// Looks at everything, says what would be done, and does it where that was asked for.
async fn survey_and_repair(
    work: Work<'_>,
    ledger: Option<&Ledger>,
    order: Option<&batch::Order>,
) -> Result<Outcome, GuardError> {
    let Work { arguments, scope, report, .. } = work;
    let mut books = Books::new();
    let spent = Mutex::new(Cost::default());
    let writer = writer(&scope.aws.s3_bulk);
    let pace = Pace::new(arguments.max_rate, arguments.max_bytes);
    let repair = |ledger| Repair {
        s3: &scope.aws.s3_bulk,
        writer: &writer,
        ledger,
        pace: &pace,
        plan: &scope.plan,
        spent: &spent,
    };
    if let Some(ledger) = ledger {
        go_on(&repair(ledger), scope, &mut books.tally, report).await?;
    }
    books.survey = Survey::take(scope, ledger, arguments.list.as_deref(), work.quiet()).await?;
    for line in books.survey.lines() {
        report.say(&line);
    }
    let prices = work.prices();
    let what = if arguments.apply { "estimate:" } else { "estimate of what --apply would cost:" };
    report.say(&format!("{what} {}", books.survey.cost.shown(&prices)));
    let Some(ledger) = ledger else {
        work.say_refusals();
        let to_do = books.survey.to_do();
        report.say(if to_do == 0 {
            "nothing to do; nothing was changed"
        } else {
            "a dry run: nothing was changed; add --apply to do it"
        });
        let outcome = outcome(&books.survey, &books.tally, to_do);
        return books.close(work, outcome);
    };
    if let Some(order) = order {
        let made = Box::pin(batch::make(scope, ledger, order)).await?;
        return jobs_were_made(work, books, made);
    }
    let repair = repair(ledger);
    let bar = bar(bar::OF_A_WHOLE, Some(books.survey.to_do()), work.quiet());
    // What removes old versions comes last: it needs the newer ones.
    all(&repair, scope, &bar, &mut books.tally, |state| {
        matches!(state, State::Planned { choice: Choice::Do(_) | Choice::Restore, .. })
    })
    .await?;
    all(&repair, scope, &bar, &mut books.tally, |state| {
        matches!(state, State::Planned { choice: Choice::Purge, .. })
    })
    .await?;
    bar.finish_and_clear();
    let mut came_to = books.survey.looking.clone();
    came_to.join(&spent.lock().unwrap_or_else(PoisonError::into_inner));
    report.say(&format!(
        "done: {} objects are encrypted as they should be, and proved; {} old versions were removed; {} restores were started",
        books.tally.done(),
        books.tally.purged,
        books.tally.restoring
    ));
    report.say(&format!("it came to: {}", came_to.shown(&prices)));
    books.spent = Some(came_to);
    let outcome = outcome(&books.survey, &books.tally, 0);
    books.close(work, outcome)
}

/// Has S3 list what is left to its jobs; nothing is looked at here.
async fn generated_jobs(
    work: Work<'_>,
    order: &batch::Order,
    classes: &[String],
) -> Result<Outcome, GuardError> {
    let Work { arguments, scope, report, .. } = work;
    let books = Books::new();
    let (wishes, left) = generate::plan(scope, classes).await?;
    for wish in &wishes {
        report.say(&format!(
            "{}job: {wish}",
            if arguments.apply { "" } else { "a dry run: there would be a " }
        ));
    }
    let nothing = wishes.is_empty();
    let mut made = if arguments.apply {
        generate::make(scope, order, &wishes).await?
    } else {
        batch::Made::default()
    };
    if !arguments.apply {
        work.say_refusals();
        for _ in &wishes {
            made.cost.job(0);
        }
    }
    made.left.extend(left);
    if nothing {
        made.left.push(Leftover::other(
            "there is nothing that could be left to a job whose list S3 makes".to_owned(),
        ));
    }
    if !arguments.apply {
        for leftover in &made.left {
            report.say(&leftover.line);
        }
    }
    jobs_were_made(work, books, made)
}

/// Says which jobs there are; the rest, and what they are yet to do, is left.
fn jobs_were_made(
    work: Work<'_>,
    mut books: Books,
    made: batch::Made,
) -> Result<Outcome, GuardError> {
    for job in &made.jobs {
        let objects = job.objects.map_or_else(
            || "S3 lists its objects".to_owned(),
            |objects| format!("{objects} objects"),
        );
        work.report.say(&format!(
            "job {}: {objects}; it waits for its confirmation: emr-etl-guard reencrypt --batch-status --confirm, with the same places",
            job.id
        ));
    }
    // Then nothing was looked at.
    let s3_lists = work.arguments.generate_manifest.is_some();
    let what = if s3_lists {
        "without the objects, which S3 is to list"
    } else {
        "besides the estimate above"
    };
    work.report.say(&format!("{what}: {}", made.cost.shown(&work.prices())));
    books.jobs_cost = made.cost;
    books.jobs = made.jobs;
    books.left = made.left;
    // Nothing of it is done yet.
    let to_do = if s3_lists { 1 } else { books.survey.to_do() };
    let outcome = if made.unseen {
        Outcome::FactsUnknown
    } else {
        outcome(&books.survey, &books.tally, to_do)
    };
    books.close(work, outcome)
}

/// Follows the jobs, then looks at everything again: a report is S3's word, a look is a proof.
async fn batch_status(work: Work<'_>) -> Result<Outcome, GuardError> {
    let Work { arguments, settings, scope, report } = work;
    let mut books = Books::new();
    let followed = batch::follow(scope, arguments, settings, report).await?;
    if !followed.waiting {
        books.survey = Survey::take(scope, None, arguments.list.as_deref(), work.quiet()).await?;
    }
    for line in books.survey.lines() {
        report.say(&line);
    }
    let mut came_to = books.survey.looking.clone();
    came_to.join(&followed.spent);
    if followed.spent != Cost::default() {
        report.say(&format!("it came to, as far as S3 tells: {}", came_to.shown(&work.prices())));
        books.spent = Some(came_to);
    }
    let to_do = books.survey.to_do() + u64::try_from(followed.left.len()).unwrap_or(u64::MAX);
    let outcome = outcome(&books.survey, &books.tally, to_do);
    books.jobs = followed.jobs;
    books.left = followed.left;
    books.close(work, outcome)
}

/// What is not seen beats what is left: nobody knows what that is.
pub(crate) fn outcome(survey: &Survey, tally: &Tally, to_do: u64) -> Outcome {
    if survey.unseen() > 0 || tally.unseen > 0 {
        Outcome::FactsUnknown
    } else if survey.left() > 0 || to_do > 0 || tally.restoring > 0 || !tally.left.is_empty() {
        Outcome::Unconfirmed
    } else {
        Outcome::Ended(0)
    }
}

/// A client for changes: what is not answered is not simply sent again, and may take as long as S3
/// needs for a copy.
fn writer(s3: &aws_sdk_s3::Client) -> aws_sdk_s3::Client {
    let limits =
        s3.config().timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let limits = limits
        .operation_attempt_timeout(LONGEST_COPY)
        .operation_timeout(LONGEST_COPY)
        .read_timeout(LONGEST_COPY);
    let config = s3
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(limits.build());
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Looks after what an earlier run has begun, and forgets what it only planned: the scan plans
/// anew.
async fn go_on(
    repair: &Repair<'_>,
    scope: &Scope,
    tally: &mut Tally,
    report: &Report,
) -> Result<(), ReencryptError> {
    let mut after: Option<Place> = None;
    loop {
        let page = repair
            .ledger
            .page(after.as_ref(), PAGE, |state| matches!(state, State::Planned { .. }))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for forgotten in join_all(page.iter().map(|(place, _)| repair.ledger.forget(place))).await {
            forgotten?;
        }
    }
    let mut elsewhere = 0;
    let mut after: Option<Place> = None;
    let mut begun = 0;
    loop {
        let page = repair
            .ledger
            .page(after.as_ref(), PAGE, |state| matches!(state, State::Begun { .. }))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let (ours, others): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|(place, _)| scope.holds(place));
        elsewhere += others.len();
        begun += ours.len();
        turns(repair, scope, ours, &ProgressBar::hidden(), tally).await?;
    }
    if begun > 0 {
        report.say(&format!("went on with {begun} objects that an earlier run had begun"));
    }
    if elsewhere > 0 {
        report.say(&format!("{elsewhere} objects that an earlier run had begun lie elsewhere; run this for their locations, too"));
    }
    Ok(())
}

/// Gives every object of the ledger of which `wanted` holds its turn.
async fn all(
    repair: &Repair<'_>,
    scope: &Scope,
    bar: &ProgressBar,
    tally: &mut Tally,
    wanted: impl Fn(&State) -> bool,
) -> Result<(), ReencryptError> {
    let mut after: Option<Place> = None;
    loop {
        let page = repair.ledger.page(after.as_ref(), PAGE, &wanted)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        turns(repair, scope, page, bar, tally).await?;
    }
}

async fn turns(
    repair: &Repair<'_>,
    scope: &Scope,
    page: Vec<(Place, State)>,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), ReencryptError> {
    let turns = page.into_iter().map(|(place, state)| async move {
        let size = match &state {
            State::Planned { size, .. } => *size,
            State::Begun { before, .. } => before.size,
            State::Done { .. } | State::Purged { .. } => 0,
        };
        let end = Box::pin(repair.turn(&place, state)).await;
        (place, size, end)
    });
    let mut ends = std::pin::pin!(stream::iter(turns).buffer_unordered(REPAIRS_AT_ONCE));
    while let Some((place, size, end)) = ends.next().await {
        bar.inc(1);
        // What lies in none of the places is begun by nobody.
        let index = scope.place_of(&place).unwrap_or_default();
        tally.count((&place, size, index), end?);
    }
    Ok(())
}

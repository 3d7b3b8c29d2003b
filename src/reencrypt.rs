//! The command `reencrypt`: objects that are there already get the encryption that they should have, in place, with nothing lost.
//!
//! ```text
//! scope ─► targets ─► scan ─► choice ─► ledger ─► repair ─► proof ─► tally
//! ```
//!
//! Without `--apply` it ends with the choice: what would be done, and what it would cost.

mod batch;
mod cost;
mod ledger;
mod method;
mod pace;
mod repair;
mod scope;
mod snapshot;
mod survey;
mod target;

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::config::{retry::RetryConfig, timeout::TimeoutConfig};
use futures_util::{StreamExt as _, future::join_all, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::signal::Signal;

use self::{
    ledger::{Ledger, LedgerError, Place, State},
    method::{Choice, Wish},
    pace::Pace,
    repair::{End, Old, Repair},
    scope::Scope,
    snapshot::Carries,
    survey::Survey,
    target::{Criterion, Target},
};
use crate::{
    GuardError, aws,
    cli::{CheckOptions, ReencryptArguments},
    exit::Outcome,
    names::S3Location,
    permissions,
    report::Report,
    settings::Settings,
    signals, state_dir, stop_signal,
};

/// So many objects are repaired at once. S3 takes 3,500 copies a second and prefix; a copy takes about a tenth of a second.
const REPAIRS_AT_ONCE: usize = 64;
/// So many entries of the ledger are read at once.
const PAGE: usize = 1000;
/// One copy of 5 GiB takes minutes, for which S3 keeps the connection open.
const LONGEST_COPY: Duration = Duration::from_mins(15);

/// Why there was no repair, or no whole one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReencryptError {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The safety switch.
    #[error("refused, nothing was changed: {0}")]
    Refused(String),
    /// Something that must be known before anything is done is not.
    #[error("nothing was changed: {0}")]
    Unseen(String),
    /// The ledger.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// A file that was to be written.
    #[error("{0}")]
    File(String),
    /// A signal.
    #[error("stopped by {0}; the next run goes on where this one was")]
    Stopped(Signal),
}

impl ReencryptError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(_) | Self::File(_) => Outcome::BadUsage,
            Self::Refused(_) => Outcome::Refused,
            Self::Unseen(_) | Self::Ledger(_) => Outcome::FactsUnknown,
            Self::Stopped(signal) => Outcome::Signalled(u8::try_from(*signal as i32).unwrap_or_default()),
        }
    }
}

/// What a bucket's objects get, and how it treats them.
#[derive(Clone, Debug)]
pub(crate) struct BucketPlan {
    pub(crate) target: Target,
    pub(crate) carries: Carries,
    pub(crate) versioned: bool,
}

/// Everything that decides about an object, besides the object.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) buckets: BTreeMap<String, BucketPlan>,
    pub(crate) criterion: Criterion,
    pub(crate) restore: bool,
    pub(crate) restore_days: u16,
    pub(crate) purge: bool,
}

impl Plan {
    pub(crate) fn wish(&self, target: &Target) -> Wish {
        Wish { kind: target.kind, own_key: target.updatable, restore: self.restore, purge: self.purge }
    }
}

/// How the objects' turns ended.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    purged: u64,
    restoring: u64,
    /// What was left, failed, or could not be looked at; the first of each kind by name.
    left: BTreeMap<String, (u64, Place)>,
    failed: u64,
    unseen: u64,
}

impl Tally {
    fn count(&mut self, place: &Place, end: End) {
        let why = match end {
            End::Done(_, old) => {
                self.done += 1;
                match old {
                    Some(Old::Left(reason)) => reason.advice().to_owned(),
                    None | Some(Old::ToPurge) => return,
                }
            }
            End::Purged => {
                self.purged += 1;
                return;
            }
            End::Restoring => {
                self.restoring += 1;
                return;
            }
            End::Nothing => return,
            End::Left(reason) => reason.advice().to_owned(),
            End::Failed(why) => {
                self.failed += 1;
                why
            }
            End::Unseen(obstacle) => {
                self.unseen += 1;
                format!("could not be looked at: {} ({})", obstacle.message, obstacle.operation)
            }
        };
        self.left.entry(why).or_insert_with(|| (0, place.clone())).0 += 1;
    }

    /// One line for each kind of what is not done.
    fn lines(&self) -> Vec<String> {
        let line = |(why, (number, first)): (&String, &(u64, Place))| {
            let others = if *number == 1 { String::new() } else { format!(" and {} more", number - 1) };
            format!("{first}{others}: {why}")
        };
        self.left.iter().map(line).collect()
    }
}

/// The command.
pub(crate) async fn reencrypt(arguments: &ReencryptArguments, settings: &Settings) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let report = Report::open(settings, &CheckOptions::default()).map_err(GuardError::Report)?;
    let config = scope::config(arguments, settings, &mut caught).await?;
    if arguments.permissions {
        println!("{:#}", permissions::reencrypt(config.as_ref()));
        return Ok(Outcome::Ended(0));
    }
    aws::has_trust()?;
    // Taken first, so that two runs that want the same see so before either looks at a million objects.
    let ledger = if arguments.apply { Some(Ledger::take(&state_dir(settings)?).map_err(ReencryptError::from)?) } else { None };
    tokio::select! {
        outcome = run(arguments, settings, config, ledger.as_ref(), &report) => outcome,
        signal = stop_signal(&mut caught) => Err(ReencryptError::Stopped(signal).into()),
    }
}

async fn run(
    arguments: &ReencryptArguments,
    settings: &Settings,
    config: Option<crate::runner_config::RunnerConfig>,
    ledger: Option<&Ledger>,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let scope = Scope::find(arguments, settings, config.as_ref()).await?;
    if !arguments.role_policy {
        for line in scope.lines() {
            report.say(&line);
        }
    }
    if arguments.apply && !scope.refusals.is_empty() {
        return Err(ReencryptError::Refused(scope.refusals.join("; ")).into());
    }
    if arguments.role_policy {
        let place = arguments.batch_place.as_deref().and_then(|place| S3Location::parse(place).ok());
        println!("{:#}", batch::role_policy(&scope, place.as_ref()));
        return Ok(Outcome::Ended(0));
    }
    if arguments.batch_status {
        return batch_status(arguments, settings, &scope, report).await;
    }
    let order = if arguments.batch { Some(batch::Order::of(arguments)?) } else { None };
    let mut tally = Tally::default();
    let writer = writer(&scope.aws.s3_bulk);
    let pace = Pace::new(arguments.max_rate, arguments.max_bytes);
    if let Some(ledger) = ledger {
        let repair = Repair { s3: &scope.aws.s3_bulk, writer: &writer, ledger, pace: &pace, plan: &scope.plan };
        go_on(&repair, &scope, &mut tally, report).await?;
    }
    let survey = Survey::take(&scope, ledger, arguments.list.as_deref()).await?;
    for line in survey.lines() {
        report.say(&line);
    }
    report.say(&format!("{} {}", if arguments.apply { "estimate:" } else { "estimate of what --apply would cost:" }, survey.cost.shown()));
    let Some(ledger) = ledger else {
        for refusal in &scope.refusals {
            report.say(&format!("--apply would be refused: {refusal}"));
        }
        report.say(if survey.to_do() == 0 { "nothing to do; nothing was changed" } else { "a dry run: nothing was changed; add --apply to do it" });
        return Ok(outcome(&survey, &tally, survey.to_do()));
    };
    if let Some(order) = order {
        return make_jobs(&scope, ledger, &order, &survey, &tally, report).await;
    }
    let repair = Repair { s3: &scope.aws.s3_bulk, writer: &writer, ledger, pace: &pace, plan: &scope.plan };
    let bar = bar(survey.to_do());
    // What removes old versions comes last: it needs the newer ones.
    all(&repair, &bar, &mut tally, |state| matches!(state, State::Planned { choice: Choice::Do(_) | Choice::Restore, .. })).await?;
    all(&repair, &bar, &mut tally, |state| matches!(state, State::Planned { choice: Choice::Purge, .. })).await?;
    bar.finish_and_clear();
    report.say(&format!(
        "done: {} objects are encrypted as they should be, and proved; {} old versions were removed; {} restores were started",
        tally.done, tally.purged, tally.restoring
    ));
    let outcome = outcome(&survey, &tally, 0);
    let lines: Vec<String> = survey.left_lines().into_iter().chain(tally.lines()).collect();
    if !lines.is_empty() {
        report.left(outcome, &lines);
    }
    Ok(outcome)
}

/// Makes jobs of what they can do; the rest, and what they are yet to do, is left.
async fn make_jobs(
    scope: &Scope,
    ledger: &Ledger,
    order: &batch::Order,
    survey: &Survey,
    tally: &Tally,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let made = batch::make(scope, ledger, order).await?;
    let mut cost = cost::Cost::default();
    for (job, objects) in &made.jobs {
        cost.job(*objects);
        report.say(&format!(
            "job {job}: {objects} objects; it waits for its confirmation: emr-etl-guard reencrypt --batch-status --confirm, with the same places"
        ));
    }
    report.say(&format!("besides the estimate above: {}", cost.shown()));
    let unfit = made.unfit.iter().map(|(why, (number, first))| format!("{first} and {} more: {why}; run this without --batch", number - 1));
    let unseen =
        made.unseen.iter().map(|(place, obstacle)| format!("{place}: could not be looked at: {} ({})", obstacle.message, obstacle.operation));
    let lines: Vec<String> = survey.left_lines().into_iter().chain(tally.lines()).chain(unfit).chain(unseen).collect();
    // Nothing of it is done yet.
    let outcome = if made.unseen.is_empty() { outcome(survey, tally, survey.to_do()) } else { Outcome::FactsUnknown };
    if !lines.is_empty() {
        report.left(outcome, &lines);
    }
    Ok(outcome)
}

/// Follows the jobs, then looks at everything again: a report is S3's word, a look is a proof.
async fn batch_status(arguments: &ReencryptArguments, settings: &Settings, scope: &Scope, report: &Report) -> Result<Outcome, GuardError> {
    let followed = batch::follow(scope, arguments, settings, report).await?;
    let survey = if followed.waiting { Survey::default() } else { Survey::take(scope, None, arguments.list.as_deref()).await? };
    for line in survey.lines() {
        report.say(&line);
    }
    let to_do = survey.to_do() + u64::try_from(followed.lines.len()).unwrap_or(u64::MAX);
    let outcome = outcome(&survey, &Tally::default(), to_do);
    let lines: Vec<String> = followed.lines.into_iter().chain(survey.left_lines()).collect();
    if !lines.is_empty() {
        report.left(outcome, &lines);
    }
    Ok(outcome)
}

/// What is not seen beats what is left: nobody knows what that is.
fn outcome(survey: &Survey, tally: &Tally, to_do: u64) -> Outcome {
    if survey.unseen() > 0 || tally.unseen > 0 {
        Outcome::FactsUnknown
    } else if survey.left() > 0 || to_do > 0 || tally.restoring > 0 || !tally.left.is_empty() {
        Outcome::Unconfirmed
    } else {
        Outcome::Ended(0)
    }
}

/// A client for changes: what is not answered is not simply sent again, and may take as long as S3 needs for a copy.
fn writer(s3: &aws_sdk_s3::Client) -> aws_sdk_s3::Client {
    let limits = s3.config().timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let limits = limits.operation_attempt_timeout(LONGEST_COPY).operation_timeout(LONGEST_COPY).read_timeout(LONGEST_COPY);
    let config = s3.config().to_builder().retry_config(RetryConfig::disabled()).timeout_config(limits.build());
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Looks after what an earlier run has begun, and forgets what it only planned: the scan plans anew.
async fn go_on(repair: &Repair<'_>, scope: &Scope, tally: &mut Tally, report: &Report) -> Result<(), ReencryptError> {
    let mut after: Option<Place> = None;
    loop {
        let page = repair.ledger.page(after.as_ref(), PAGE, |state| matches!(state, State::Planned { .. }))?;
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
        let page = repair.ledger.page(after.as_ref(), PAGE, |state| matches!(state, State::Begun { .. }))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let (ours, others): (Vec<_>, Vec<_>) = page.into_iter().partition(|(place, _)| scope.holds(place));
        elsewhere += others.len();
        begun += ours.len();
        turns(repair, ours, &ProgressBar::hidden(), tally).await?;
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
async fn all(repair: &Repair<'_>, bar: &ProgressBar, tally: &mut Tally, wanted: impl Fn(&State) -> bool) -> Result<(), ReencryptError> {
    let mut after: Option<Place> = None;
    loop {
        let page = repair.ledger.page(after.as_ref(), PAGE, &wanted)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        turns(repair, page, bar, tally).await?;
    }
}

async fn turns(repair: &Repair<'_>, page: Vec<(Place, State)>, bar: &ProgressBar, tally: &mut Tally) -> Result<(), ReencryptError> {
    let turns = page.into_iter().map(|(place, state)| async move {
        let end = Box::pin(repair.turn(&place, state)).await;
        (place, end)
    });
    let mut ends = std::pin::pin!(stream::iter(turns).buffer_unordered(REPAIRS_AT_ONCE));
    while let Some((place, end)) = ends.next().await {
        bar.inc(1);
        tally.count(&place, end?);
    }
    Ok(())
}

/// A bar on a terminal; elsewhere nothing.
fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} objects, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

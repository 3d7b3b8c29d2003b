//! Repairs everything in the ledger: first the changes that an earlier run started, then those that
//! the scan planned.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::config::{retry::RetryConfig, timeout::TimeoutConfig};
use futures_util::{StreamExt as _, future::join_all, stream};
use indicatif::ProgressBar;

use crate::{
    reencrypt::{
        cluster_gate::ClusterGate,
        cost::Cost,
        error::ReencryptError,
        ledger::{Ledger, PAGE},
        machine::{choice::Choice, state::RepairState},
        options::RateLimits,
        pace::CopyPace,
        place::ObjectId,
        repair::Repair,
        scope::RepairScope,
        tally::RepairTally,
    },
    system::bar::{self, bar},
};

/// The number of objects that are repaired concurrently. S3 accepts 3,500 copies a second and
/// prefix; a copy takes about a tenth of a second.
const REPAIRS_AT_ONCE: usize = 64;

/// One copy of 5 GiB takes minutes, during which S3 keeps the connection open.
const LONGEST_COPY: Duration = Duration::from_mins(15);

/// The number of objects whose change an earlier run started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resumed {
    /// In the locations of this run: they were handled.
    pub(crate) begun: usize,
    /// Elsewhere: they were not touched.
    pub(crate) elsewhere: usize,
}

/// The repairs of one run, with a common pace and cost.
pub(crate) struct RepairRun<'a> {
    scope: &'a RepairScope,
    ledger: &'a Ledger,
    writer: aws_sdk_s3::Client,
    pace: CopyPace,
    gate: ClusterGate<'a>,
    spent: Mutex<Cost>,
}

impl<'a> RepairRun<'a> {
    /// `clusters_every`: the interval at which the pipeline's clusters are listed again.
    pub(crate) fn new(
        scope: &'a RepairScope,
        ledger: &'a Ledger,
        limits: RateLimits,
        clusters_every: Duration,
    ) -> Self {
        Self {
            scope,
            ledger,
            writer: writer(&scope.aws.s3_bulk),
            pace: CopyPace::new(limits.objects, limits.bytes),
            gate: ClusterGate::new(scope, clusters_every),
            spent: Mutex::new(Cost::default()),
        }
    }

    fn repair(&self) -> Repair<'_> {
        Repair {
            s3: &self.scope.aws.s3_bulk,
            writer: &self.writer,
            ledger: self.ledger,
            pace: &self.pace,
            plan: &self.scope.plan,
            gate: &self.gate,
            spent: &self.spent,
        }
    }

    /// Finishes the changes that an earlier run started, and removes its plans: the scan plans
    /// again.
    pub(crate) async fn resume(&self, tally: &mut RepairTally) -> Result<Resumed, ReencryptError> {
        resume(&self.repair(), self.scope, tally).await
    }

    /// Repairs the planned objects, `to_do` in number; `quiet`: no progress is shown.
    pub(crate) async fn repair_planned(
        &self,
        to_do: u64,
        quiet: bool,
        tally: &mut RepairTally,
    ) -> Result<(), ReencryptError> {
        let repair = self.repair();
        let bar = bar(bar::OF_A_WHOLE, Some(to_do), quiet);
        // Removals of old versions come last: they need the newer ones.
        all(&repair, self.scope, &bar, tally, |state| {
            matches!(state, RepairState::Planned { choice: Choice::Do(_) | Choice::Restore, .. })
        })
        .await?;
        all(&repair, self.scope, &bar, tally, |state| {
            matches!(state, RepairState::Planned { choice: Choice::Purge, .. })
        })
        .await?;
        bar.finish_and_clear();
        Ok(())
    }

    /// The cost of the repairs so far.
    pub(crate) fn spent(&self) -> Cost {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A client for changes: it does not retry a call without a response, and allows the time that S3
/// needs for a copy.
pub(super) fn writer(s3: &aws_sdk_s3::Client) -> aws_sdk_s3::Client {
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

/// Finishes the changes that an earlier run started, and removes its plans: the scan plans again.
/// Verified results stay.
async fn resume(
    repair: &Repair<'_>,
    scope: &RepairScope,
    tally: &mut RepairTally,
) -> Result<Resumed, ReencryptError> {
    let mut after: Option<ObjectId> = None;
    loop {
        let page = repair
            .ledger
            .page(after.as_ref(), PAGE, |state| matches!(state, RepairState::Planned { .. }))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let changes = page.iter().map(async |(place, state)| match state.kept_by_next_run() {
            Some(kept) => repair.ledger.write(place, &kept).await,
            None => repair.ledger.forget(place).await,
        });
        for changed in join_all(changes).await {
            changed?;
        }
    }
    let mut elsewhere = 0;
    let mut after: Option<ObjectId> = None;
    let mut begun = 0;
    loop {
        let page = repair.ledger.page(after.as_ref(), PAGE, RepairState::is_unfinished)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let (ours, others): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|(place, _)| scope.holds(place));
        elsewhere += others.len();
        begun += ours.len();
        turns(repair, scope, ours, &ProgressBar::hidden(), tally).await?;
    }
    Ok(Resumed { begun, elsewhere })
}

/// Repairs every object of the ledger for which `wanted` holds.
async fn all(
    repair: &Repair<'_>,
    scope: &RepairScope,
    bar: &ProgressBar,
    tally: &mut RepairTally,
    wanted: impl Fn(&RepairState) -> bool,
) -> Result<(), ReencryptError> {
    let mut after: Option<ObjectId> = None;
    loop {
        let page = repair.ledger.page(after.as_ref(), PAGE, &wanted)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        turns(repair, scope, page, bar, tally).await?;
    }
}

/// Repairs these objects, many concurrently, but one location after the other: when a location
/// starts, its clusters are listed.
async fn turns(
    repair: &Repair<'_>,
    scope: &RepairScope,
    page: Vec<(ObjectId, RepairState)>,
    bar: &ProgressBar,
    tally: &mut RepairTally,
) -> Result<(), ReencryptError> {
    // An object in none of the locations is not touched.
    let index_of = |place: &ObjectId| scope.place_of(place).unwrap_or_default();
    let mut page = page.into_iter().peekable();
    while let Some(index) = page.peek().map(|(place, _)| index_of(place)) {
        let of_one = std::iter::from_fn(|| page.next_if(|(place, _)| index_of(place) == index));
        let turns = of_one.map(|(place, state)| async move {
            let size = match &state {
                RepairState::Planned { size, .. } => *size,
                RepairState::Begun { before, .. } => before.size,
                _ => 0,
            };
            let end = Box::pin(repair.turn(&place, state, index)).await;
            (place, size, end)
        });
        let mut ends = std::pin::pin!(stream::iter(turns).buffer_unordered(REPAIRS_AT_ONCE));
        while let Some((place, size, end)) = ends.next().await {
            bar.inc(1);
            match end? {
                Ok(end) => tally.count((&place, size, index), end),
                Err(closed) => tally.hold(&place, &closed),
            }
        }
    }
    Ok(())
}

//! The result of a watch.

use crate::watch::machine::{ownership::Ownership, state::State};

/// Why a cluster is terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A required check failed.
    Failed,
    /// It could not be evaluated in time.
    Unjudged,
    /// The guard was asked to stop.
    Stopped,
    /// It is orphaned: nobody waits for it.
    Orphaned,
}

/// What prevents the end of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The guard may not terminate it, because of its ownership.
    NotPermitted(Ownership),
    /// The error of EMR, or of the network.
    Said(String),
    /// EMR accepted the request, but the cluster is in this state.
    Accepted(State),
    /// EMR no longer knows it.
    Unknown,
    /// It is terminating, but has not ended yet.
    Terminating,
    /// Its end was not observed: the guard had to stop.
    NotFollowed,
}

/// The result of a required termination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndResult {
    /// EMR reports that it is over.
    Confirmed,
    /// It may still run.
    Unconfirmed(Obstacle),
}

/// The final state of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct ClusterEnd {
    /// Its ownership.
    pub whose: Ownership,
    /// Why it was terminated, or should have been.
    pub cause: Option<Cause>,
    /// How that went.
    pub end: Option<EndResult>,
    /// EMR reports that it has ended.
    pub is_over: bool,
    /// Every required check has passed.
    pub passed: bool,
    /// A required fact was never observed, and nothing else is missing.
    pub unseen: bool,
    /// It continued although nobody waited for it.
    pub orphan: bool,
}

impl ClusterEnd {
    /// Whether it is unsafe, and not only terminated because of a stop or because it is orphaned.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        matches!(self.cause, Some(Cause::Failed | Cause::Unjudged))
    }
}

/// Why a run cannot be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt<I> {
    /// The search for its clusters failed at the end; why.
    Search(String),
    /// A cluster of its name could not be described.
    Undescribed(I),
    /// A required check of a cluster is undecided.
    Unknown(I),
    /// A required fact of a cluster was never observed.
    Unseen(I),
    /// A cluster continues, or has open steps, and should not.
    GoesOn(I),
    /// The runner reports success, but no cluster completed any work.
    NoWork,
}

/// Why a run stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open<I> {
    /// A request of the runner may still start a cluster.
    InFlight,
    /// Orphaned processes of the run are left.
    Survivors,
    /// The last search failed.
    Search,
    /// A cluster could not be described or evaluated.
    Unjudged(I),
    /// A cluster must end, and may still run.
    Living(I),
}

/// The result of the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchConclusion<I> {
    /// The clusters that were watched.
    pub clusters: Vec<(I, ClusterEnd)>,
    /// Why the run is not confirmed.
    pub doubts: Vec<Doubt<I>>,
    /// Why it stays open; empty: it is closed.
    pub open: Vec<Open<I>>,
    /// Why the last search failed, if it did.
    pub search_trouble: Option<String>,
    /// Clusters with the run's name that could not be described.
    pub undecided: Vec<I>,
}

/// The verdict on a run, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchVerdict {
    /// 71: an unsafe cluster may still be running.
    UnsafeAlive,
    /// 76: an unsafe cluster was found, and is over.
    UnsafeEnded,
    /// 75: encryption could not be confirmed.
    Unconfirmed,
    /// The runner's own code.
    Runner,
}

impl<I> Default for WatchConclusion<I> {
    /// Nothing was watched.
    fn default() -> Self {
        Self {
            clusters: Vec::new(),
            doubts: Vec::new(),
            open: Vec::new(),
            search_trouble: None,
            undecided: Vec::new(),
        }
    }
}

impl<I> WatchConclusion<I> {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> WatchVerdict {
        let mut unsafe_ones = self.clusters.iter().filter(|(_, end)| end.is_unsafe()).peekable();
        if unsafe_ones.peek().is_some() {
            if unsafe_ones.any(|(_, end)| end.end != Some(EndResult::Confirmed)) {
                WatchVerdict::UnsafeAlive
            } else {
                WatchVerdict::UnsafeEnded
            }
        } else if self.doubts.is_empty() {
            WatchVerdict::Runner
        } else {
            WatchVerdict::Unconfirmed
        }
    }
}

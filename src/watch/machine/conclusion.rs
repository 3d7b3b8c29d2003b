//! What a watch came to.

use crate::watch::machine::{ownership::Ownership, state::State};

/// Why a cluster is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A required check failed.
    Failed,
    /// It could not be judged in time.
    Unjudged,
    /// The guard was told to stop.
    Stopped,
    /// Nobody waits for it.
    Orphaned,
}

/// What stands in the way of a cluster's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The guard may not end it, for whose it is.
    NotPermitted(Ownership),
    /// What EMR said, or the network.
    Said(String),
    /// EMR accepted the request, but the cluster is in this state.
    Accepted(State),
    /// EMR does not know it any more.
    Unknown,
    /// It terminates, but has not ended yet.
    Terminating,
    /// Its end was not followed to the end: the guard had to stop.
    NotFollowed,
}

/// How the end of a cluster went that had to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndResult {
    /// EMR says that it is over.
    Confirmed,
    /// It may still run.
    Unconfirmed(Obstacle),
}

/// What became of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct ClusterEnd {
    /// Whose it is.
    pub whose: Ownership,
    /// Why it was ended, or should have been.
    pub cause: Option<Cause>,
    /// How that went.
    pub end: Option<EndResult>,
    /// EMR says that it has ended.
    pub is_over: bool,
    /// Every required check has passed.
    pub passed: bool,
    /// Something required was never seen, and nothing else is missing.
    pub unseen: bool,
    /// It went on although nobody waited for it.
    pub orphan: bool,
}

impl ClusterEnd {
    /// It is unsafe, and not only ended for a stop or because nobody waits for it.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        matches!(self.cause, Some(Cause::Failed | Cause::Unjudged))
    }
}

/// Why a run cannot be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt<I> {
    /// Its clusters could not be searched for at the end; why.
    Search(String),
    /// A cluster of its name could not be described.
    Undescribed(I),
    /// A required check of a cluster is undecided.
    Unknown(I),
    /// Something required of a cluster was never seen.
    Unseen(I),
    /// A cluster goes on, or has work left, which it should not.
    GoesOn(I),
    /// The runner says that it has done its work, and no cluster has done any.
    NoWork,
}

/// Why a run stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open<I> {
    /// A request of the runner may still start a cluster.
    InFlight,
    /// Processes of the run are left.
    Survivors,
    /// The last search failed.
    Search,
    /// A cluster could not be described, or judged.
    Unjudged(I),
    /// A cluster must end, and may still run.
    Living(I),
}

/// What the watch came to.
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
    /// Clusters of the run's name that could not be described.
    pub undecided: Vec<I>,
}

/// What a run comes to, the worst first.
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

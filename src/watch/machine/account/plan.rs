//! The inputs of the account watcher at its start.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

#[cfg(feature = "mutants")]
use crate::watch::machine::account::mutants::AccountMutant;
use crate::watch::machine::time::AwsTime;

/// The time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLimits {
    /// The interval between two lists of one region, where clusters live or lived a short time ago;
    /// in a region without clusters it grows up to four times as long.
    pub interval: Duration,
    /// The time limit in which every cluster must be judged.
    pub judge_within: Duration,
    /// How long the end of a cluster is awaited.
    pub termination: Duration,
    /// How long a cluster goes on without its steps, groups and volumes being looked at again.
    pub drift: Duration,
    /// How many clusters may be terminated within an hour, in all places together.
    pub terminations_per_hour: u32,
}

/// What is known of a cluster from before the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownCluster {
    /// It was reported as unsafe, and not reported as cleared since then.
    pub told_unsafe: bool,
    /// It was reported that it could not be judged in time.
    pub told_unjudged: bool,
    /// Its termination was requested, or was about to be.
    pub ending: bool,
}

/// The plan. `P` names a place, which is one region of one account: lists, quotas and ids are per
/// place. `I` names a cluster.
#[derive(Clone, Debug)]
pub struct AccountPlan<P, I> {
    /// The places.
    pub places: BTreeSet<P>,
    /// The time limits.
    pub limits: AccountLimits,
    /// Each cluster is judged once; the watch ends when all are, and unsafe ones that may be
    /// terminated are over.
    pub once: bool,
    /// For each place: clusters created from then on were not seen by an earlier sentinel. Without
    /// a time, only clusters that live are looked at.
    pub seen_until: BTreeMap<P, AwsTime>,
    /// The clusters that an earlier sentinel knew, and that were not over.
    pub known: BTreeMap<(P, I), KnownCluster>,
    /// The clusters that were over when an earlier sentinel saw them last, and when they were
    /// created: at least those that were created since [`Self::seen_until`].
    pub over: BTreeMap<(P, I), AwsTime>,
    /// How long before the start the termination of each cluster was last requested, as far as that
    /// is within the last hour.
    pub terminated: Vec<Duration>,
    /// Makes the jitter of this sentinel differ from that of all others.
    pub seed: u64,
    /// The deliberate fault, in a simulation.
    #[cfg(feature = "mutants")]
    pub mutant: Option<AccountMutant>,
}

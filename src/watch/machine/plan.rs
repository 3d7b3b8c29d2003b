//! The inputs of the watcher at its start.

use std::{collections::BTreeSet, time::Duration};

#[cfg(feature = "mutants")]
use crate::watch::machine::mutants::Mutant;
use crate::watch::machine::time::{AwsTime, Moment};

/// Names a cluster.
pub trait Id: Clone + Ord + std::fmt::Debug {}

impl<T: Clone + Ord + std::fmt::Debug> Id for T {}

/// Which clusters are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// A run whose runner was just started.
    Run,
    /// A run that an earlier guard left open.
    Resume,
    /// Clusters that were named to `watch`.
    Attach,
}

/// The time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first interval between two polls.
    pub interval: Duration,
    /// The time limit in which every cluster must be evaluated and a search must succeed.
    pub judge_within: Duration,
    /// How long the end of a cluster is awaited.
    pub termination: Duration,
    /// How long a runner may take after a request to stop. After a stop of the guard, the limit for
    /// everything together.
    pub stop: Duration,
}

impl Limits {
    /// How long a request of a stopped or killed runner may still take effect: the runner itself
    /// waits two minutes for the response to RunJobFlow.
    #[must_use]
    pub fn in_flight(&self) -> Duration {
        self.interval * 24
    }

    /// How long a request of a runner that ended by itself, with an error, may still take effect
    /// and show in ListClusters: it had a response, or the request timed out.
    #[must_use]
    pub fn in_flight_after_failure(&self) -> Duration {
        self.interval * 6
    }
}

/// What the settings allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Rules {
    /// `on_stop: terminate`.
    pub on_stop: bool,
    /// `on_orphan: terminate`.
    pub on_orphan: bool,
    /// `on_unjudged: terminate`.
    pub on_unjudged: bool,
    /// `terminate_adopted`.
    pub adopted: bool,
    /// `terminate_attached`.
    pub attached: bool,
    /// `terminate_untagged`.
    pub untagged: bool,
    /// `on_unsafe: terminate` of the sentinel's rule that applies to the cluster.
    pub account: bool,
}

/// A cluster's relation to the launch, as known before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It was named to `watch`.
    pub named: bool,
    /// It existed before the launch.
    pub earlier: bool,
    /// It existed before the launch, and the runner would use it.
    pub adoptable: bool,
}

/// The plan.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Plan<I> {
    /// Which clusters are watched.
    pub mode: WatchMode,
    /// The time limits.
    pub limits: Limits,
    /// Which clusters may be terminated.
    pub rules: Rules,
    /// When the runner was launched, by AWS's clock.
    pub launched: Option<AwsTime>,
    /// The latest time, by AWS's clock, at which the run can have started anything; none while its
    /// runner is alive.
    pub until: Option<AwsTime>,
    /// The clusters that existed before the launch.
    pub earlier: BTreeSet<I>,
    /// Those of them that the runner would use.
    pub adoptable: BTreeSet<I>,
    /// The clusters that were named to `watch`.
    pub named: BTreeSet<I>,
    /// Clusters from a journal. They are polled first.
    pub known: BTreeSet<I>,
    /// The runner reuses a persistent cluster.
    pub persistent: bool,
    /// The run adds steps to its cluster.
    pub has_steps: bool,
    /// A watch on named clusters ends once they are idle.
    pub until_idle: bool,
    /// In a resumed run: until when a request of its runner may still take effect.
    pub open_until: Moment,
    /// In a resumed run: the run was asked to stop, and its clusters are to be terminated with it.
    pub stopped_to_end: bool,
    /// Makes the jitter of this guard differ from that of all others.
    pub seed: u64,
    /// The deliberate fault, in a simulation.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl<I: Id> Plan<I> {
    /// A cluster's relation to the launch.
    pub fn standing(&self, id: &I) -> Standing {
        Standing {
            named: self.named.contains(id),
            earlier: self.earlier.contains(id),
            adoptable: self.adoptable.contains(id),
        }
    }
}

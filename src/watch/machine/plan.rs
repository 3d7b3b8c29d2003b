//! What the watcher is told before it begins.

use std::{collections::BTreeSet, time::Duration};

#[cfg(feature = "mutants")]
use crate::watch::machine::mutants::Mutant;
use crate::watch::machine::time::{AwsTime, Moment};

/// Names a cluster.
pub trait Id: Clone + Ord + std::fmt::Debug {}

impl<T: Clone + Ord + std::fmt::Debug> Id for T {}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// A run whose runner was just started.
    Run,
    /// A run that an earlier guard left open.
    Resume,
    /// Clusters that a person named.
    Attach,
}

/// The time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first interval between two looks.
    pub interval: Duration,
    /// Every cluster is judged, and a search has succeeded, within this time.
    pub judge_within: Duration,
    /// The end of a cluster is waited for so long.
    pub termination: Duration,
    /// A runner that was asked to stop may take so long; from a stop of the guard on, everything
    /// together may.
    pub stop: Duration,
}

impl Limits {
    /// How long a request of a runner that was stopped or killed may still take effect: the runner
    /// itself waits two minutes for the answer to RunJobFlow.
    #[must_use]
    pub fn in_flight(&self) -> Duration {
        self.interval * 24
    }

    /// How long a request of a runner that ended by itself, with an error, may still take effect,
    /// and show in ListClusters: it had an answer to it, or none came in time.
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
}

/// How a cluster stands to the launch, by what was known before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// A person named it to `watch`.
    pub named: bool,
    /// It was there before the launch.
    pub earlier: bool,
    /// It was there before the launch, and the runner would use it.
    pub adoptable: bool,
}

/// The plan.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Plan<I> {
    /// What is watched.
    pub mode: WatchMode,
    /// The time limits.
    pub limits: Limits,
    /// What may be ended.
    pub rules: Rules,
    /// When the runner was launched, by AWS's clock.
    pub launched: Option<AwsTime>,
    /// The latest time, by AWS's clock, at which the run can have brought anything about; none
    /// while its runner lives.
    pub until: Option<AwsTime>,
    /// The clusters that were there before the launch.
    pub earlier: BTreeSet<I>,
    /// Those of them that the runner would use.
    pub adoptable: BTreeSet<I>,
    /// The clusters that a person named.
    pub named: BTreeSet<I>,
    /// Clusters that a journal knows. They are looked at first.
    pub known: BTreeSet<I>,
    /// The runner reuses a cluster that stays.
    pub persistent: bool,
    /// The run gives its cluster steps.
    pub has_steps: bool,
    /// A watch on named clusters is over once they are idle.
    pub until_idle: bool,
    /// In a resumed run: until when a request of its runner may still take effect.
    pub open_until: Moment,
    /// In a resumed run: the run was told to stop, and its clusters to end with it.
    pub stopped_to_end: bool,
    /// What makes the pauses of this guard others than those of all others.
    pub seed: u64,
    /// The deliberate fault, in a simulation.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl<I: Id> Plan<I> {
    /// How a cluster stands to the launch.
    pub fn standing(&self, id: &I) -> Standing {
        Standing {
            named: self.named.contains(id),
            earlier: self.earlier.contains(id),
            adoptable: self.adoptable.contains(id),
        }
    }
}

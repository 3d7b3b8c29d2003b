//! Events of the watch for other parts of the guard, and hints that make it poll sooner.

use crate::{
    base::names::ClusterId,
    checks::finding::Finding,
    watch::machine::event::{Force, RunnerEnd},
};

/// What a hint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A line named this cluster.
    Cluster(ClusterId),
    /// Steps are being added.
    Activity,
    /// An EMR event concerned this cluster.
    Event(ClusterId),
}

/// Inputs of the watch from other parts of the guard.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A reason to poll sooner.
    Hint(Hint),
    /// The runner has ended.
    RunnerEnded(RunnerEnd),
    /// Its output has ended.
    OutputEnded,
    /// The guard was asked to stop.
    StopAsked,
}

/// Events that must be reported at once.
#[derive(Clone, Debug)]
pub(crate) enum WatchEvent {
    /// A cluster is unsafe. The flag says whether the guard may terminate it; the termination is
    /// then under way.
    Unsafe(ClusterId, Vec<Finding>, bool),
    /// Only a person can terminate a cluster that must end; whether it is unsafe, and what prevents
    /// the guard.
    Help(ClusterId, bool, String),
    /// The runner must stop.
    StopRunner(Force),
    /// No cluster of the run was evaluated, and no search for clusters has succeeded within the
    /// time limit; why.
    Blind(String),
    /// A cluster could not be evaluated within the time limit, and continues.
    Unjudged(ClusterId, Vec<Finding>),
    /// It is unknown from now on whether this cluster keeps its configuration, or (none) whether
    /// there are other clusters.
    SightLost(Option<ClusterId>),
    /// These clusters of the run ran the same steps.
    Twice(Vec<ClusterId>),
    /// The clusters that were named to `watch` are over, or idle where that is enough.
    Done,
    /// A source of hints has failed; the watch continues by polling.
    Warning(String),
}

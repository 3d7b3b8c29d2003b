//! What the watch tells, and what hastens it.

use crate::{
    base::names::ClusterId,
    checks::finding::Finding,
    watch::machine::event::{Force, RunnerEnd},
};

/// What the runner's log suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A line named this cluster.
    Cluster(ClusterId),
    /// Steps are being added.
    Activity,
    /// An event of EMR's told of this cluster.
    Event(ClusterId),
}

/// What others tell the watch.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Something that hastens a look.
    Hint(Hint),
    /// The runner has ended.
    RunnerEnded(RunnerEnd),
    /// Its output is through.
    OutputEnded,
    /// The guard was told to stop.
    StopAsked,
}

/// What must be known at once.
#[derive(Clone, Debug)]
pub(crate) enum WatchEvent {
    /// A cluster is unsafe; its termination is under way, if the guard may end it (the last word).
    Unsafe(ClusterId, Vec<Finding>, bool),
    /// Only a person can end a cluster that must end; whether it is unsafe, and what stands in the
    /// way.
    Help(ClusterId, bool, String),
    /// The runner must stop.
    StopRunner(Force),
    /// No cluster of the run was judged, and for the time limit no search for them has succeeded; why.
    Blind(String),
    /// A cluster could not be judged within the time limit, and goes on.
    Unjudged(ClusterId, Vec<Finding>),
    /// Nobody can see any more whether this cluster stays what it was, or whether there are others.
    SightLost(Option<ClusterId>),
    /// These clusters of the run ran the same steps.
    Twice(Vec<ClusterId>),
    /// The clusters that were named to `watch` are over, or idle where that is enough.
    Done,
    /// Something that hastens the watch does not; it goes on all the same.
    Warning(String),
}

//! What the watch tells, and what hastens it.

use crate::{base::names::ClusterId, checks::finding::Finding};

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

/// What must be known at once.
#[derive(Clone, Debug)]
pub(crate) enum WatchEvent {
    /// A cluster is unsafe; its termination is under way, if the guard may end it (the last word).
    Unsafe(ClusterId, Vec<Finding>, bool),
    /// Only a person can end a cluster that must end; whether it is unsafe, and what stands in the
    /// way.
    Help(ClusterId, bool, String),
    /// The clusters that were named to `watch` are over, or idle where that is enough.
    Done,
    /// Something that hastens the watch does not; it goes on all the same.
    Warning(String),
}

//! Whose a cluster is.

use crate::{evidence::journal::ClusterSelector, facts::emr::ClusterFacts};

/// Whose a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// This run started it.
    Run,
    /// It was there before, and the runner uses it.
    Adopted,
    /// Somebody named it to `watch`.
    Attached,
}

impl Ownership {
    /// For a sentence about the cluster, behind its id.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Run => "which this run started",
            Self::Adopted => "which was there before this run",
            Self::Attached => "which others started",
        }
    }
}

/// Whether a cluster that was not there before the launch is this run's.
///
/// The tag decides. A cluster of the right name that the runner's log names, and that no other
/// guard's run claims, counts too: a runner that lost the tag must not thereby lose its watch. The
/// log alone decides nothing, because text in a config can forge a line. In persistent mode the
/// runner goes by the name alone, so the guard does too.
pub(super) fn is_ours(pursuit: &ClusterSelector, cluster: &ClusterFacts, hinted: bool) -> bool {
    let right_name = cluster.name == pursuit.job_name;
    match &pursuit.tag {
        None => right_name,
        Some(_) if pursuit.persistent => right_name,
        Some((key, value)) => match cluster.tags.get(key) {
            Some(other) => other == value,
            None => right_name && hinted,
        },
    }
}

/// Whose a cluster of the run is that was not known before the launch. In persistent mode the
/// runner goes by the name, so that one without the run's tag may be others'.
pub(super) fn whose(pursuit: &ClusterSelector, cluster: &ClusterFacts) -> Ownership {
    let tagged =
        pursuit.tag.as_ref().is_none_or(|(key, value)| cluster.tags.get(key) == Some(value));
    if pursuit.persistent && !tagged { Ownership::Adopted } else { Ownership::Run }
}

//! What is asked about a cluster, and how urgently.

use crate::watch::machine::time::Moment;

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A look; with its steps.
    Look { steps: bool },
    /// A look that nothing known may replace.
    SecondLook,
    /// A detailed look.
    Details { groups: bool, volumes: bool },
    /// Lift its termination protection.
    Unprotect,
    /// Terminate it.
    Terminate,
}

/// The next question about a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DueAsk {
    pub(super) ask: Ask,
    pub(super) urgency: Urgency,
    pub(super) due: Moment,
}

/// How urgent a question is; the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// A cluster is new, may be unsafe, or is being terminated.
    Urgent,
    /// An event names a cluster that no list has shown. Events can be forged.
    Named,
    /// A cluster was judged, and may change.
    Routine,
}

//! Decides who owns a cluster: one function of AWS's data. Lines in the runner's log, and entries
//! of a journal, are no evidence: they only decide which cluster is polled first.

use crate::watch::machine::{
    mutants::mutated,
    plan::{Plan, Standing},
    time::AwsTime,
};

/// The ownership of a cluster, by the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ownership {
    /// It has this run's own tag.
    Ours,
    /// It has no run's tag, was created after the launch, and its request is the one this run's
    /// runner would have sent.
    Presumed,
    /// It existed before the launch, and the runner uses it.
    Adopted,
    /// It was named to `watch`.
    Named,
    /// The sentinel watches its account, and somebody launched it.
    Account,
    /// Everything else.
    NotOurs,
}

impl Ownership {
    /// For a sentence about the cluster, after its id.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Ours => "which this run started",
            Self::Presumed => "which this run may have started: it has no run's tag",
            Self::Adopted => "which was there before this run",
            Self::Named | Self::Account | Self::NotOurs => "which others started",
        }
    }
}

/// The run tag of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunTag {
    /// It belongs to this run.
    This,
    /// It belongs to another run.
    Other,
    /// There is none.
    None,
}

/// The evidence of a cluster's ownership, from AWS's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Its tag.
    pub tag: RunTag,
    /// When it was created.
    pub created: AwsTime,
    /// Its request is the one this run's runner would have sent.
    pub matches_request: bool,
    /// It has steps that did not exist before the launch.
    pub has_new_steps: bool,
}

/// The table of ownership.
///
/// | named to `watch` | tag | there before the launch | as requested, in the run's time | whose |
/// |---|---|---|---|---|
/// | yes | any | any | any | named |
/// | no | this run's | any | any | ours |
/// | no | another run's, or none | yes, and the runner uses it | any | adopted |
/// | no | another run's, or none | yes, and the runner does not use it | any | not ours |
/// | no | another run's | no | any | not ours |
/// | no | none | no | yes | presumed |
/// | no | none | no | no | not ours |
pub fn ownership<I>(
    evidence: &Evidence,
    standing: Standing,
    until: Option<AwsTime>,
    plan: &Plan<I>,
) -> Ownership {
    let launched = plan.launched;
    let earlier = standing.earlier || launched.is_some_and(|launched| evidence.created < launched);
    let too_late = until.is_some_and(|until| evidence.created > until)
        && !mutated!(plan, ResumeWithoutUpperBound);
    match evidence.tag {
        _ if standing.named => Ownership::Named,
        RunTag::This => Ownership::Ours,
        _ if standing.adoptable => Ownership::Adopted,
        _ if earlier => Ownership::NotOurs,
        RunTag::Other if mutated!(plan, OtherTagIgnored) => Ownership::Ours,
        RunTag::Other => Ownership::NotOurs,
        RunTag::None if evidence.matches_request && !too_late => {
            if mutated!(plan, PresumedIsOurs) {
                Ownership::Ours
            } else {
                Ownership::Presumed
            }
        }
        RunTag::None => Ownership::NotOurs,
    }
}

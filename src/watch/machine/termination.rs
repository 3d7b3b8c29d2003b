//! Decides which cluster may be terminated: one function of its ownership, the reason, and the
//! settings.

use crate::watch::machine::{ownership::Ownership, plan::Rules};

/// Why a cluster should be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// A fact that was read shows that it is not as verified.
    Unsafe,
    /// It could not be evaluated within the time limit.
    Unjudged,
    /// It wrote objects that are not encrypted as required, which the policy counts as unsafe.
    Wrote,
    /// It is not known to be unsafe, and the guard was stopped.
    Stopped,
    /// It is as verified, and continues although nobody waits for it.
    Orphaned,
}

/// The decision about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// It is terminated.
    End,
    /// A person must terminate it: the guard only polls until it is over.
    Ask,
    /// It goes on.
    Leave,
}

/// The decision table for terminations. `has_new_steps`: this run added steps to it.
pub fn decide(whose: Ownership, why: EndReason, has_new_steps: bool, rules: Rules) -> Decision {
    let end_if = |allowed, otherwise| if allowed { Decision::End } else { otherwise };
    match (whose, why) {
        (Ownership::NotOurs, _) => Decision::Leave,
        (Ownership::Ours, EndReason::Unsafe | EndReason::Wrote) => Decision::End,
        (Ownership::Ours, EndReason::Unjudged) => end_if(rules.on_unjudged, Decision::Leave),
        (Ownership::Ours, EndReason::Stopped) => end_if(rules.on_stop, Decision::Leave),
        (Ownership::Ours, EndReason::Orphaned) => end_if(rules.on_orphan, Decision::Leave),
        (Ownership::Presumed, EndReason::Unsafe | EndReason::Wrote) => {
            end_if(rules.untagged, Decision::Ask)
        }
        (Ownership::Presumed, EndReason::Stopped) => {
            end_if(rules.untagged && rules.on_stop, Decision::Leave)
        }
        (Ownership::Presumed, EndReason::Orphaned) => {
            end_if(rules.untagged && rules.on_orphan, Decision::Leave)
        }
        (Ownership::Adopted, EndReason::Unsafe | EndReason::Wrote) => {
            end_if(rules.adopted && has_new_steps, Decision::Ask)
        }
        (Ownership::Named, EndReason::Unsafe | EndReason::Wrote) => {
            end_if(rules.attached, Decision::Ask)
        }
        (Ownership::Account, EndReason::Unsafe | EndReason::Wrote) => {
            end_if(rules.account, Decision::Ask)
        }
        // A presumed cluster may belong to another run, so an unread fact is no reason to terminate
        // it. Others may use an adopted or a named cluster, or one of the account, so the end of
        // this run does not terminate it.
        (Ownership::Presumed, EndReason::Unjudged)
        | (
            Ownership::Adopted | Ownership::Named | Ownership::Account,
            EndReason::Unjudged | EndReason::Stopped | EndReason::Orphaned,
        ) => Decision::Leave,
    }
}

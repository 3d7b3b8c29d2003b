//! Who may be ended: one function, from whose a cluster is, why it should end, and the settings.

use crate::watch::machine::{ownership::Ownership, plan::Rules};

/// Why a cluster should be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// A fact that was read says that it is not what was verified.
    Unsafe,
    /// It could not be judged within the time limit.
    Unjudged,
    /// It wrote what is not encrypted as required, and by policy that makes it unsafe.
    Wrote,
    /// It is not known to be unsafe, and the guard was stopped.
    Stopped,
    /// It is what was verified, and goes on although nobody waits for it.
    Orphaned,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// It is terminated.
    End,
    /// A person must end it: it is only looked at until it is over.
    Ask,
    /// It goes on.
    Leave,
}

/// The table of who may be ended. `has_new_steps`: this run put steps on it.
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
        // What could not be read is no reason to end what only may be the run's, and others work
        // with the rest: that this run is over does not end it.
        (Ownership::Presumed, EndReason::Unjudged)
        | (
            Ownership::Adopted | Ownership::Named,
            EndReason::Unjudged | EndReason::Stopped | EndReason::Orphaned,
        ) => Decision::Leave,
    }
}

//! Deliberate faults (mutants) of the account watcher that the simulation must detect. One at a
//! time is switched on at run time, only in a build with the feature `mutants`.

/// Whether the fault is switched on; always false without the feature.
#[cfg(feature = "mutants")]
macro_rules! mutated {
    ($plan:expr, $name:ident) => {
        $plan.mutant == Some($crate::watch::machine::account::mutants::AccountMutant::$name)
    };
}

#[cfg(not(feature = "mutants"))]
macro_rules! mutated {
    ($plan:expr, $name:ident) => {
        $crate::watch::machine::mutants::never(&$plan)
    };
}

pub(crate) use mutated;

#[cfg(feature = "mutants")]
crate::watch::machine::mutants::mutants! { AccountMutant:
    /// The first failed look terminates.
    OneLookEnds,
    /// A look that takes known facts for answers counts as a second look.
    KnownFactsAreFresh,
    /// A second look that is undecided terminates.
    UnknownEnds,
    /// A cluster is terminated whatever its rule says.
    RuleForgotten,
    /// The limit of terminations per hour is not kept.
    LimitForgotten,
    /// A restarted sentinel does not count the terminations of the one before.
    LimitForgottenAtStart,
    /// The entry of a termination is written after the request.
    NotedAfterwards,
    /// A cluster that is terminating already is terminated.
    TerminatingIsEnded,
    /// An unsafe cluster is reported, and never terminated.
    UnsafeIsLeft,
    /// Where the limit was reached, the termination is not tried again.
    LimitedOnceIsLeft,
    /// A cluster whose rule is to terminate is not reported.
    UnsafeNotTold,
    /// A failed fact that a late answer shows is ignored.
    LateAnswerIgnored,
    /// Clusters that were over before a list showed them are ignored.
    ShortLivedIgnored,
    /// Every restart reports the clusters as found.
    FoundTwice,
    /// Clusters that are over are forgotten at once, so that a list shows them as new.
    OverForgotten,
    /// A cluster that is over stays in memory.
    OverKept,
    /// Every id of an event is remembered.
    NamesUnbounded,
    /// Every id of an event is described at once.
    NamesUnpaced,
    /// Routine looks take all of EMR's quota.
    RoutineTakesAll,
    /// The buckets are full at every start.
    FreshQuotas,
    /// Calls that were made are taken back.
    MadeCallsGivenBack,
    /// A question without an answer blocks its cluster for ever.
    LostAnswerBlocks,
    /// A request to terminate without an answer blocks the termination for ever.
    LostTerminationBlocks,
    /// A cluster that cannot be judged in time is not reported.
    UnjudgedNotTold,
    /// A cluster that nothing changes about is never looked at again.
    DriftForgotten,
    /// A watch that judges once does not wait for the ends.
    OnceDoesNotWait,
    /// A watch that judges once waits for what cannot be judged, for ever.
    OnceWaitsForEver,
    /// The conclusion leaves out places that could not be seen.
    UnseenIsLeftOut,
    /// A place that cannot be listed is not reported.
    SightLossNotTold,
    /// The time up to which all clusters were seen is the time of the last list, although a list
    /// may lack the newest clusters.
    NoOverlap,
    /// A second look from before a suspension of the machine terminates.
    SuspendedLookEnds,
    /// The termination of an earlier sentinel is not followed.
    EarlierEndForgotten,
    /// A cluster that passes again is not reported.
    ClearedNotTold,
    /// A place that is found is not listed back to the time since when it may have been there.
    FoundSinceForgotten,
    /// A place that is gone is asked all the same.
    GoneIsAsked,
    /// What was known of the clusters of a place that goes is forgotten.
    GoneForgotten,
    /// It is forgotten up to when the clusters of a place that goes were seen.
    GoneSightForgotten,
    /// The buckets of a place that comes back are those of one that was never asked.
    GoneQuotaForgotten,
    /// Terminations in a place that goes are not reported as unconfirmed.
    GoneEndNotTold,
    /// The conclusion leaves out places that are gone.
    GoneIsLeftOut,
}

//! Deliberate faults of the watcher, for the simulation to catch: one at a time is switched on at
//! run time, in a build with the feature `mutants` only.

/// Whether the fault is switched on; never, without the feature.
#[cfg(feature = "mutants")]
macro_rules! mutated {
    ($plan:expr, $name:ident) => {
        $plan.mutant == Some($crate::watch::machine::mutants::Mutant::$name)
    };
}

#[cfg(not(feature = "mutants"))]
macro_rules! mutated {
    ($plan:expr, $name:ident) => {
        $crate::watch::machine::mutants::never(&$plan)
    };
}

pub(crate) use mutated;

/// What a fault that is not compiled is: not a constant to the compiler, so that it takes what
/// depends on it as it takes it in a simulation.
#[cfg(not(feature = "mutants"))]
pub(crate) fn never<P>(_: &P) -> bool {
    false
}

#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

#[cfg(feature = "mutants")]
mutants! {
    /// A line of the runner's log makes a cluster the run's own.
    LogLineGivesOwnership,
    /// Another run's tag does not matter where the name is right.
    OtherTagIgnored,
    /// A resumed run takes an untagged cluster of whatever age for its own.
    ResumeWithoutUpperBound,
    /// A cluster without a tag counts as the run's own, though it was only presumed.
    PresumedIsOurs,
    /// An adopted cluster is ended though the runner put no step on it.
    AdoptedWithoutStepsEnds,
    /// A run is closed while a request of its runner may still take effect.
    InFlightForgotten,
    /// Processes that the runner left behind are not waited for.
    SurvivorsForgotten,
    /// No time limit for the first judgement.
    JudgeWithinForgotten,
    /// The time limit for the first judgement ends clusters that were judged, too.
    LostSightEnds,
    /// No time limit for the first search that succeeds.
    BlindSearchForgotten,
    /// A cluster that could not be judged is ended whatever `on_unjudged` says.
    UnjudgedAlwaysEnds,
    /// A resumed run's clusters pass though their volumes were never seen.
    UnseenPassesOnResume,
    /// A live run's clusters pass though their volumes were never seen.
    UnseenPasses,
    /// Nobody searches quickly for a second cluster once the first is over.
    SlowSearchAfterFailure,
    /// A judgement waits for the search.
    JudgementWaitsForSearch,
    /// Every cluster that the log names is described at once.
    HintsUnbounded,
    /// A guard that starts again asks as if nobody had asked for anything before.
    FreshQuotas,
    /// Untagged clusters may be ended without the setting that says so.
    UntaggedEnds,
    /// A stop ends clusters that could not be judged yet.
    StopEndsUnjudged,
    /// Two clusters that ran the same steps are not told of.
    TwiceNotTold,
    /// Instances are looked at too late.
    SlowStart,
    /// Every run ends in doubt.
    AlwaysDoubts,
    /// No run is ever confirmed: the last looks go on until the limit.
    NeverConfirms,
    /// Each answer that fails is an alarm.
    AlarmsAtEveryError,
    /// An unsafe cluster is told of, but not ended.
    UnsafeIsLeft,
    /// The end of a cluster counts as soon as EMR has accepted the request.
    AcceptedIsOver,
    /// Protection against termination is not lifted.
    ProtectionStays,
    /// A refused termination is not tried again.
    RefusedOnceIsEnough,
    /// The runner goes on though a cluster of it is unsafe.
    RunnerGoesOn,
    /// A run whose search failed to the end is closed.
    BlindRunIsClosed,
    /// A run with an unsafe cluster that may still live is closed.
    LivingUnsafeIsClosed,
    /// The end of the watch passes hints by that came last.
    LastHintsLost,
    /// A second request to stop does not kill the runner.
    SecondStopIgnored,
}

//! Deliberate faults (mutants) of the watcher that the simulation must detect. One at a time is
//! switched on at run time, only in a build with the feature `mutants`.

/// Whether the fault is switched on; always false without the feature.
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

/// Stands in for a fault in a build without the feature. It is a function and not a constant, so
/// that the compiler treats the dependent code as in a simulation.
#[cfg(not(feature = "mutants"))]
pub(crate) fn never<P>(_: &P) -> bool {
    false
}

#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($kind:ident: $($(#[$doc:meta])* $name:ident,)*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($(#[$doc])* $name,)*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

#[cfg(feature = "mutants")]
pub(crate) use mutants;

#[cfg(feature = "mutants")]
mutants! { Mutant:
    /// A line of the runner's log gives the run ownership of a cluster.
    LogLineGivesOwnership,
    /// Another run's tag is ignored if the name is right.
    OtherTagIgnored,
    /// A resumed run presumes any untagged cluster to be its own, whatever its age.
    ResumeWithoutUpperBound,
    /// A cluster without a tag counts as owned by the run, though it was only presumed.
    PresumedIsOurs,
    /// An adopted cluster is terminated though the runner added no step to it.
    AdoptedWithoutStepsEnds,
    /// A run is closed while a request of its runner may still take effect.
    InFlightForgotten,
    /// Orphaned processes of the runner are not waited for.
    SurvivorsForgotten,
    /// The first evaluation has no time limit.
    JudgeWithinForgotten,
    /// The time limit for the first evaluation also terminates clusters that were evaluated.
    LostSightEnds,
    /// The first successful search has no time limit.
    BlindSearchForgotten,
    /// A cluster that could not be evaluated is terminated whatever `on_unjudged` says.
    UnjudgedAlwaysEnds,
    /// A resumed run's clusters pass though their volumes were never observed.
    UnseenPassesOnResume,
    /// A live run's clusters pass though their volumes were never observed.
    UnseenPasses,
    /// After the first cluster is over, the search for a second one is slow.
    SlowSearchAfterFailure,
    /// An evaluation waits for the search.
    JudgementWaitsForSearch,
    /// Every cluster that the log names is described at once, without a limit.
    HintsUnbounded,
    /// A restarted guard assumes full quotas.
    FreshQuotas,
    /// Untagged clusters are terminated without the setting that allows it.
    UntaggedEnds,
    /// A stop terminates clusters that could not be evaluated yet.
    StopEndsUnjudged,
    /// Two clusters that ran the same steps are not reported.
    TwiceNotTold,
    /// Instances are polled too late.
    SlowStart,
    /// Every run ends with doubts.
    AlwaysDoubts,
    /// No run is ever confirmed: the final polls continue until the limit.
    NeverConfirms,
    /// Each failed request raises an alarm.
    AlarmsAtEveryError,
    /// An unsafe cluster is reported, but not terminated.
    UnsafeIsLeft,
    /// A termination counts as soon as EMR has accepted the request.
    AcceptedIsOver,
    /// Termination protection is not lifted.
    ProtectionStays,
    /// A refused termination is not repeated.
    RefusedOnceIsEnough,
    /// The runner continues though one of its clusters is unsafe.
    RunnerGoesOn,
    /// A run whose search failed until the end is closed.
    BlindRunIsClosed,
    /// A run with an unsafe cluster that may be alive is closed.
    LivingUnsafeIsClosed,
    /// The end of the watch ignores the last hints.
    LastHintsLost,
    /// A second request to stop does not kill the runner.
    SecondStopIgnored,
}

//! Deliberate faults (mutants) of the repair of one object that the simulation must detect. One at
//! a time is switched on at run time, only in a build with the feature `mutants`.

/// Whether the fault is switched on; always false without the feature.
#[cfg(feature = "mutants")]
macro_rules! mutated {
    ($plan:expr, $name:ident) => {
        $plan.mutant == Some($crate::reencrypt::machine::mutants::RepairMutant::$name)
    };
}

#[cfg(not(feature = "mutants"))]
macro_rules! mutated {
    ($plan:expr, $name:ident) => {
        $crate::reencrypt::machine::mutants::never(&$plan)
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
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RepairMutant {
            $($(#[$doc])* $name,)*
        }

        impl RepairMutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

#[cfg(feature = "mutants")]
mutants! {
    /// A bucket with suspended versioning is treated as one with versions.
    SuspendedIsEnabled,
    /// A version with the id `null` is purged like any other.
    NullIsPurged,
    /// The state that an earlier run saw is restored, whatever the current state is.
    EarlierSightRestored,
    /// The second look-up immediately before the call is skipped.
    SecondLookSkipped,
    /// The wait for the rate limit is between the look-up and the call.
    WaitsAfterLooking,
    /// The version that was looked up is copied, not the current one.
    SeenVersionCopied,
    /// Versions between the copy and the one that it replaces are ignored.
    BuriedVersionIgnored,
    /// Every old version is purged, whoever overwrote it.
    PurgesUnproved,
    /// An abandoned upload is not aborted.
    GivenUpUploadStays,
    /// An upload whose creation was not answered is not searched for.
    UnansweredUploadForgotten,
    /// The checksums of the parts are not sent.
    PartChecksumsForgotten,
    /// An object that another writer wrote as required counts as this tool's own copy.
    WritersObjectIsOurs,
    /// A deleted object counts as nothing to do, whatever old versions exist.
    DeletedIsNothing,
    /// The machine's own clock, which is a year ahead, decides about retention.
    OwnClock,
    /// An update is not verified by a look-up.
    UpdateUnverified,
    /// A copy is not verified by a look-up.
    CopyUnverified,
    /// The properties that a copy lost are not compared.
    LossesIgnored,
    /// A copy is sent without the precondition on the overwritten object.
    NoPrecondition,
    /// A call without a response is sent again without a look-up.
    RetriedBlindly,
    /// A damaged copy is removed from the ledger.
    DamageForgotten,
    /// A failed look-up counts as nothing to do.
    UnseenIsNothing,
    /// The call is sent before its ledger entry is written.
    LedgerSkipped,
    /// A copy that hides another writer's version is not removed.
    NeverTakenBack,
    /// An old version is purged though the newer one lacks some of its properties.
    PurgesWhatDiffers,
    /// A change that an earlier run started counts as done.
    BegunIsDone,
    /// Jobs copy in buckets with versions.
    JobsWhereVersionsAre,
    /// S3 generates lists for copies in buckets with versions.
    ListsWhereVersionsAre,
    /// Jobs copy objects that others have permissions on.
    JobsLoseRights,
    /// A job is confirmed wherever its objects are.
    OtherPlacesConfirmed,
    /// Only the first line of a job's manifest is checked.
    FirstLineForAll,
    /// The target bucket of a job's copies is ignored.
    CopyTargetIgnored,
    /// The safety switch is ignored before a confirmation.
    SwitchNotAsked,
    /// Running clusters are no objection to a confirmation.
    ClustersIgnored,
    /// Versioning that was enabled since is no objection to a confirmation.
    VersionsSinceIgnored,
    /// A job is confirmed whatever its operation is.
    AnyOperationConfirmed,
    /// A job is evaluated when it is chosen, and not again when it is confirmed.
    JudgedWhenChosen,
    /// A named job is confirmed whoever created it.
    NamedIsOwn,
}

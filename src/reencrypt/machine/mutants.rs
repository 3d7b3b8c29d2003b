//! Deliberate faults of the repair of one object, for the simulation to catch: one at a time is
//! switched on at run time, in a build with the feature `mutants` only.

/// Whether the fault is switched on; never, without the feature.
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
    /// What an earlier run saw is restored, whatever is there now.
    EarlierSightRestored,
    /// No second look immediately before the call.
    SecondLookSkipped,
    /// The pace is waited for between the look and the call.
    WaitsAfterLooking,
    /// The version that was seen is copied, not the current one.
    SeenVersionCopied,
    /// Versions between the copy and the one that it was to replace do not matter.
    BuriedVersionIgnored,
    /// Every old version is purged, whoever overwrote it.
    PurgesUnproved,
    /// An upload that is given up is not aborted.
    GivenUpUploadStays,
    /// An upload whose beginning was not answered is not looked for.
    UnansweredUploadForgotten,
    /// The parts' own checksums are not carried.
    PartChecksumsForgotten,
    /// What another writer wrote as required counts as this tool's own copy.
    WritersObjectIsOurs,
    /// An object that is gone is nothing to do, whatever old versions there are.
    DeletedIsNothing,
    /// The machine's own clock decides about retention: it is a year ahead.
    OwnClock,
    /// An update is believed without a look.
    UpdateUnverified,
    /// A copy is believed without a look.
    CopyUnverified,
    /// What a copy has lost is not compared.
    LossesIgnored,
    /// A copy without the precondition on what it overwrites.
    NoPrecondition,
    /// What was not answered is sent again without a look.
    RetriedBlindly,
    /// A damaged copy is forgotten.
    DamageForgotten,
    /// An object that cannot be looked at is nothing to do.
    UnseenIsNothing,
    /// The call is sent before the ledger has it.
    LedgerSkipped,
    /// A copy that buries a writer's version stays.
    NeverTakenBack,
    /// An old version is purged though it is not all in the newer one.
    PurgesWhatDiffers,
    /// What an earlier run has begun is taken as done.
    BegunIsDone,
    /// Jobs copy in buckets with versions.
    JobsWhereVersionsAre,
    /// S3 lists what jobs copy in buckets with versions.
    ListsWhereVersionsAre,
    /// Jobs copy what others were given rights to.
    JobsLoseRights,
    /// A job is confirmed wherever its objects lie.
    OtherPlacesConfirmed,
    /// The first line of a job's manifest stands for all.
    FirstLineForAll,
    /// Where a job's copies go does not matter.
    CopyTargetIgnored,
    /// The safety switch is not asked before a confirmation.
    SwitchNotAsked,
    /// Clusters that run do not speak against a confirmation.
    ClustersIgnored,
    /// A bucket that got versions since does not speak against a confirmation.
    VersionsSinceIgnored,
    /// A job is confirmed whatever it does.
    AnyOperationConfirmed,
    /// A job is judged when it is chosen, and not again when it is confirmed.
    JudgedWhenChosen,
    /// A job that is named is confirmed whoever has made it.
    NamedIsOwn,
}

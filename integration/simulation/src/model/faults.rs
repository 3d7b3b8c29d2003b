//! Faults of AWS, and the latency of responses.

use crate::{
    random::Random,
    scenario::{Ms, SECOND},
};

/// An operation that the guard calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// ListClusters.
    List,
    /// DescribeCluster.
    Describe,
    /// ListSteps.
    Steps,
    /// DescribeSecurityConfiguration.
    SecurityConfiguration,
    /// ListBootstrapActions.
    BootstrapActions,
    /// ListInstanceGroups.
    Groups,
    /// ListInstances, and DescribeVolumes of EC2.
    Instances,
    /// TerminateJobFlows.
    Terminate,
    /// SetTerminationProtection.
    Protection,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::List,
        Self::Describe,
        Self::Steps,
        Self::SecurityConfiguration,
        Self::BootstrapActions,
        Self::Groups,
        Self::Instances,
        Self::Terminate,
        Self::Protection,
    ];

    /// EMR's quota: burst, and refill per second.
    #[must_use]
    pub fn quota(self) -> (f64, f64) {
        match self {
            Self::Describe | Self::Groups | Self::BootstrapActions => (10.0, 1.0),
            Self::Steps | Self::Instances | Self::Terminate => (10.0, 0.5),
            Self::List => (20.0, 0.5),
            Self::SecurityConfiguration => (5.0, 0.5),
            Self::Protection => (5.0, 0.2),
        }
    }
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// It is denied.
    Denied,
    /// The credentials are those of another account: access is denied everywhere.
    OtherAccount,
    /// EMR throttles; some calls succeed in the end.
    Throttled,
    /// Server errors.
    Outage,
    /// No response comes; the request may have taken effect.
    Lost,
    /// The responses come late.
    Slow,
    /// A termination is accepted, and has no effect.
    NoEffect,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Denied,
        Self::OtherAccount,
        Self::Throttled,
        Self::Outage,
        Self::Lost,
        Self::Slow,
        Self::NoEffect,
    ];
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The affected operation; none: all.
    pub operation: Option<Operation>,
    /// Since when.
    pub from: Ms,
    /// Until when.
    pub until: Ms,
}

impl Fault {
    /// Whether it affects a call then.
    #[must_use]
    pub fn concerns(&self, operation: Operation, now: Ms) -> bool {
        self.from <= now
            && now < self.until
            && self.operation.is_none_or(|only| only == operation)
            && (self.kind != FaultKind::NoEffect || operation == Operation::Terminate)
    }
}

/// The result of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When EMR processes the call; none: it does not.
    pub served: Option<Ms>,
    /// When the response arrives.
    pub answered: Ms,
    /// Why it failed.
    pub failed: Option<FaultKind>,
    /// EMR throttled the call.
    pub throttled: bool,
    /// It was accepted, and has no effect.
    pub no_effect: bool,
}

/// The guard's time limit for one call.
pub const CALL_LIMIT: Ms = 30 * SECOND;

/// Draws the result of a call that is made now.
pub fn fate(faults: &[Fault], operation: Operation, now: Ms, random: &mut Random) -> Fate {
    let quick = if random.chance(5) { random.between(800, 3_000) } else { random.between(40, 350) };
    let fine = Fate {
        served: Some(quick / 2),
        answered: quick,
        failed: None,
        throttled: false,
        no_effect: false,
    };
    let failed = |kind, answered| Fate {
        served: None,
        answered,
        failed: Some(kind),
        throttled: false,
        no_effect: false,
    };
    let Some(fault) = faults.iter().find(|fault| fault.concerns(operation, now)) else {
        return fine;
    };
    match fault.kind {
        FaultKind::Denied | FaultKind::OtherAccount => failed(fault.kind, quick),
        FaultKind::Throttled if random.chance(40) => {
            Fate { answered: quick + random.between(500, 6_000), throttled: true, ..fine }
        }
        FaultKind::Throttled => {
            Fate { throttled: true, ..failed(fault.kind, random.between(2_000, 12_000)) }
        }
        FaultKind::Outage => failed(fault.kind, random.between(1_000, 10_000)),
        FaultKind::Lost => {
            Fate { served: random.chance(50).then_some(quick), ..failed(fault.kind, CALL_LIMIT) }
        }
        FaultKind::Slow => {
            let slow = random.between(3_000, CALL_LIMIT - 1_000);
            Fate { served: Some(slow / 2), answered: slow, ..fine }
        }
        FaultKind::NoEffect => Fate { no_effect: true, ..fine },
    }
}

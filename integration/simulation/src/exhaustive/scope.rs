//! The small scopes.

use crate::watch::machine::{event::RunnerEnd, ownership::RunTag};

/// A cluster of a small scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallCluster {
    /// Its tag.
    pub tag: RunTag,
    /// DescribeCluster shows that it is unsafe.
    pub is_unsafe: bool,
    /// Its volumes show that it is unsafe.
    pub has_bad_volumes: bool,
    /// It has termination protection.
    pub is_protected: bool,
}

/// Events in the world, in this order; responses come in between in every order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A cluster is created.
    Create(usize),
    /// The log names it.
    Hint(usize),
    /// Its instances exist, and it works.
    Work(usize),
    /// It has completed its work, and is over.
    Finish(usize),
    /// The runner and its output end.
    RunnerEnds(RunnerEnd),
}

/// A small scope.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Its name.
    pub name: &'static str,
    /// Its clusters.
    pub clusters: [SmallCluster; 2],
    /// Its events.
    pub steps: &'static [Step],
    /// So many crashes.
    pub crashes: u8,
    /// So many stops.
    pub stops: u8,
    /// The number of responses that fail.
    pub failures: u8,
    /// The number of pauses that end before the next event of the world.
    pub wakes: u8,
    /// A stop terminates the run's clusters.
    pub on_stop: bool,
}

const GOOD: SmallCluster = SmallCluster {
    tag: RunTag::This,
    is_unsafe: false,
    has_bad_volumes: false,
    is_protected: false,
};
const UNSAFE: SmallCluster = SmallCluster { is_unsafe: true, ..GOOD };
const PROTECTED: SmallCluster = SmallCluster { is_protected: true, ..UNSAFE };
const BAD_VOLUMES: SmallCluster = SmallCluster { has_bad_volumes: true, ..GOOD };
const STRANGERS: SmallCluster = SmallCluster { tag: RunTag::Other, ..UNSAFE };

/// One cluster after the other, as after a failed bootstrap.
const ONE_AFTER_THE_OTHER: &[Step] = &[
    Step::Create(0),
    Step::Finish(0),
    Step::Create(1),
    Step::Work(1),
    Step::Hint(1),
    Step::Finish(1),
    Step::RunnerEnds(RunnerEnd::Succeeded),
];

/// The second is created after the runner has ended.
const AFTER_THE_RUNNER: &[Step] = &[
    Step::Create(0),
    Step::Work(0),
    Step::RunnerEnds(RunnerEnd::Killed),
    Step::Create(1),
    Step::Finish(0),
];

/// One cluster only.
const ONE: &[Step] = &[Step::Create(0), Step::Finish(0), Step::RunnerEnds(RunnerEnd::Succeeded)];

/// The second is created after the runner has ended, with few other events.
const IN_FLIGHT: &[Step] = &[Step::Create(0), Step::RunnerEnds(RunnerEnd::Killed), Step::Create(1)];

/// Both are created at once, and the log names them.
const BOTH: &[Step] = &[
    Step::Create(0),
    Step::Hint(0),
    Step::Create(1),
    Step::Hint(1),
    Step::Work(1),
    Step::RunnerEnds(RunnerEnd::Failed),
];

const fn scope(name: &'static str, clusters: [SmallCluster; 2], steps: &'static [Step]) -> Scope {
    Scope { name, clusters, steps, crashes: 0, stops: 0, failures: 0, wakes: 1, on_stop: false }
}

/// All scopes.
pub const SCOPES: &[Scope] = &[
    scope("a good run", [GOOD, GOOD], ONE_AFTER_THE_OTHER),
    Scope {
        failures: 1,
        ..scope("a good run, one answer fails", [GOOD, GOOD], ONE_AFTER_THE_OTHER)
    },
    Scope {
        crashes: 1,
        ..scope("a crash, the second is unsafe", [GOOD, UNSAFE], ONE_AFTER_THE_OTHER)
    },
    Scope { crashes: 1, ..scope("a crash, bad volumes", [GOOD, BAD_VOLUMES], ONE_AFTER_THE_OTHER) },
    Scope { crashes: 1, ..scope("a crash, one is in flight", [GOOD, UNSAFE], AFTER_THE_RUNNER) },
    Scope { stops: 1, ..scope("a stop, one is in flight", [GOOD, UNSAFE], AFTER_THE_RUNNER) },
    Scope {
        stops: 1,
        on_stop: true,
        wakes: 0,
        ..scope("a stop that ends clusters", [GOOD, UNSAFE], IN_FLIGHT)
    },
    Scope { crashes: 1, ..scope("a crash, a stranger's", [PROTECTED, STRANGERS], BOTH) },
    Scope {
        crashes: 1,
        stops: 1,
        wakes: 0,
        ..scope("a stop and a crash, one cluster", [UNSAFE, GOOD], ONE)
    },
];

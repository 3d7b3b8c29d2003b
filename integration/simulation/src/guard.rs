//! The guard around the watcher: its start from a journal, its clock, and its knowledge of the
//! clusters. It performs the watcher's actions, as the guard's driver does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    model::{cluster::Id, emr::aws_time, knowledge::Knowledge},
    run::Options,
    scenario::{MINUTE, Ms, SECOND, Settings},
    watch::machine::{
        event::{Action, Event},
        plan::{Limits, Plan, WatchMode},
        time::Moment,
        watcher::Watcher,
    },
};

/// The state machine that a guard drives: the watcher, or a stand-in.
pub trait Machine: Clone {
    /// One that has not started.
    fn new(plan: Plan<Id>) -> Self;
    /// It begins.
    fn start(&mut self, now: Moment) -> Vec<Action<Id>>;
    /// Something has happened.
    fn handle(&mut self, now: Moment, event: Event<Id>) -> Vec<Action<Id>>;
}

impl Machine for Watcher<Id> {
    fn new(plan: Plan<Id>) -> Self {
        Self::new(plan)
    }

    fn start(&mut self, now: Moment) -> Vec<Action<Id>> {
        self.start(now)
    }

    fn handle(&mut self, now: Moment, event: Event<Id>) -> Vec<Action<Id>> {
        self.handle(now, event)
    }
}

/// The interval of journal heartbeats.
pub const HEARTBEAT: Ms = 10 * MINUTE;

/// The guard's default limits.
pub const INTERVAL: Ms = 5 * SECOND;
/// `judge_within`.
pub const JUDGE_WITHIN: Ms = 15 * MINUTE;
/// `termination_timeout`.
pub const TERMINATION: Ms = 15 * MINUTE;
/// How long a request of a runner that was stopped or killed may still take effect.
pub const IN_FLIGHT: Ms = 24 * INTERVAL;
/// The same for one that failed by itself.
pub const IN_FLIGHT_AFTER_FAILURE: Ms = 6 * INTERVAL;

/// The data for a later guard of the run.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Clusters to poll first.
    pub known: BTreeSet<Id>,
    /// The run was asked to stop, and its clusters are to be terminated with it.
    pub stopped_to_end: bool,
    /// The launch time, by AWS's clock.
    pub launched: Option<Ms>,
    /// The runner reuses a persistent cluster.
    pub persistent: bool,
    /// The clusters that were named to `watch`.
    pub named: BTreeSet<Id>,
    /// The clusters that existed before.
    pub earlier: BTreeSet<Id>,
    /// Those that the runner would use.
    pub adoptable: BTreeSet<Id>,
    /// When the runner had ended at the latest; none while unknown.
    pub bound: Option<Ms>,
}

/// A guard while it lives.
#[derive(Clone, Debug)]
pub struct Guard<M> {
    /// The watcher.
    pub machine: M,
    /// The number of its life.
    pub life: usize,
    /// When it started.
    pub start: Ms,
    /// The time since then that its clock has not counted.
    pub uncounted: Ms,
    /// When it requested to be woken.
    pub wake: Option<Moment>,
    /// Its knowledge of each cluster.
    pub knowledge: BTreeMap<Id, Knowledge>,
    /// The number of its actions.
    pub actions: u32,
}

/// A duration of the simulated world, for the watcher.
#[must_use]
pub fn span(length: Ms) -> Duration {
    Duration::from_millis(u64::try_from(length).unwrap_or_default())
}

impl<M> Guard<M> {
    /// The time by its clock.
    #[must_use]
    pub fn moment(&self, now: Ms) -> Moment {
        Moment(span(now - self.start - self.uncounted))
    }

    /// When its clock shows `moment`.
    #[must_use]
    pub fn world_time(&self, moment: Moment) -> Ms {
        let millis = i64::try_from(moment.0.as_millis()).unwrap_or(Ms::MAX / 4);
        // A part of a millisecond is rounded up.
        let rounded = millis + i64::from(!moment.0.subsec_nanos().is_multiple_of(1_000_000));
        self.start + self.uncounted + rounded
    }
}

/// The plan of a guard that starts at `now`.
#[must_use]
pub fn plan(
    mode: WatchMode,
    journal: &Journal,
    settings: &Settings,
    seed: u64,
    now: Ms,
    options: Options,
) -> Plan<Id> {
    let bound = journal.bound.map(|bound| bound + IN_FLIGHT);
    Plan {
        mode,
        limits: Limits {
            interval: span(INTERVAL),
            judge_within: span(JUDGE_WITHIN),
            termination: span(TERMINATION),
            stop: span(settings.stop),
        },
        rules: settings.rules,
        launched: journal.launched.map(aws_time),
        until: bound.map(aws_time),
        earlier: journal.earlier.clone(),
        adoptable: journal.adoptable.clone(),
        named: journal.named.clone(),
        known: journal.known.clone(),
        persistent: journal.persistent,
        has_steps: true,
        until_idle: settings.until_idle,
        open_until: Moment(span(bound.map_or(0, |bound| (bound - now).max(0)))),
        stopped_to_end: journal.stopped_to_end,
        seed,
        #[cfg(feature = "mutants")]
        mutant: options.mutant,
    }
}

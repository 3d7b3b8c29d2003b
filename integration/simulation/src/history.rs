//! The record of one history: all events in order, with the truth of every cluster.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    model::{
        cluster::{Cluster, Id},
        faults::{FaultKind, Operation},
    },
    scenario::{Ms, Scenario},
    watch::machine::{
        conclusion::WatchConclusion,
        event::{Action, Event, Look, RunnerEnd},
        ownership::RunTag,
        plan::WatchMode,
    },
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The guard got an event.
    Event(Event<Id>),
    /// The guard did.
    Action(Action<Id>),
    /// It happened in the world.
    World(World),
}

/// Something that happened in the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum World {
    /// A guard started.
    GuardStarted(WatchMode),
    /// A guard died, with the machine or alone.
    GuardCrashed {
        /// The machine went down.
        power: bool,
    },
    /// The machine was suspended until now.
    Slept {
        /// The guard's clock counted that time.
        counted: bool,
    },
    /// The runner sent a request.
    Requested(usize),
    /// An orphaned process sent a request.
    SurvivorRequested,
    /// A cluster came into being.
    Created(Id),
    /// The runner added a step to a cluster.
    StepsAdded(Id),
    /// The runner got an error response, or none.
    RequestFailed(usize),
    /// The runner ended.
    RunnerEnded(RunnerEnd),
    /// Somebody terminated a cluster manually.
    EndedByPerson(Id),
    /// Somebody set protection again.
    ProtectedAgain(Id),
    /// A call met a fault.
    Fault(FaultKind, Operation),
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When.
    pub at: Ms,
    /// Which guard; none where there was none.
    pub life: Option<usize>,
    /// The event.
    pub what: What,
}

/// How a guard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifeEnd {
    /// By itself, with this conclusion.
    Finished(WatchConclusion<Id>),
    /// It was killed.
    Crashed,
    /// It did not end within the time of the simulation, or did too many actions.
    Endless,
}

/// The life of one guard.
#[derive(Clone, Debug)]
pub struct Life {
    /// Its mode.
    pub mode: WatchMode,
    /// When it started.
    pub start: Ms,
    /// When it ended, and how.
    pub end: Option<(Ms, LifeEnd)>,
    /// When it was asked to stop.
    pub stops: Vec<Ms>,
    /// The latest time at which a cluster without a tag can be the run's, from the guard's data at
    /// its start.
    pub until: Option<Ms>,
    /// The launch, as the guard knows it.
    pub launched: Option<Ms>,
    /// In a resumed run: from when on no request of the runner can take effect.
    pub open_until: Ms,
    /// The clusters that existed before the launch.
    pub earlier: BTreeSet<Id>,
    /// Those that the runner would use.
    pub adoptable: BTreeSet<Id>,
    /// The clusters that were named to `watch`.
    pub named: BTreeSet<Id>,
    /// The clusters from an earlier guard.
    pub known: BTreeSet<Id>,
    /// It terminates the clusters because an earlier guard was stopped.
    pub stopped_to_end: bool,
    /// When the runner's end was reported, and how it ended.
    pub runner_end: Option<(Ms, RunnerEnd)>,
    /// When the end of its output was reported.
    pub output_end: Option<Ms>,
    /// From when on no orphaned process was alive.
    pub survivors_gone: Option<Ms>,
    /// The times when the machine was suspended.
    pub slept: Vec<(Ms, Ms)>,
}

impl Life {
    /// Whether a poll shows a cluster that is presumed to be the run's by its request alone.
    #[must_use]
    pub fn presumes(&self, id: Id, look: &Look) -> bool {
        let is_untagged =
            look.described.found().is_some_and(|seen| seen.evidence.tag == RunTag::None);
        is_untagged && !self.adoptable.contains(&id) && !self.named.contains(&id)
    }

    /// Its conclusion, if it reached one.
    #[must_use]
    pub fn conclusion(&self) -> Option<&WatchConclusion<Id>> {
        match &self.end {
            Some((_, LifeEnd::Finished(conclusion))) => Some(conclusion),
            Some((_, LifeEnd::Crashed | LifeEnd::Endless)) | None => None,
        }
    }

    /// When it ended; the maximum if it did not.
    #[must_use]
    pub fn ended(&self) -> Ms {
        self.end.as_ref().map_or(Ms::MAX, |(at, _)| *at)
    }
}

/// A history.
#[derive(Clone, Debug)]
pub struct History {
    /// The decisions.
    pub scenario: Scenario,
    /// The truth of every cluster.
    pub clusters: Vec<Cluster>,
    /// The guards, in order.
    pub lives: Vec<Life>,
    /// All that happened.
    pub records: Vec<Record>,
    /// The guards' calls.
    pub calls: Vec<(Ms, Operation)>,
    /// When the run was closed.
    pub closed: Option<Ms>,
    /// When the runner really ended, and how.
    pub runner_ended: Option<(Ms, RunnerEnd)>,
    /// The end of the simulation.
    pub end: Ms,
}

impl History {
    /// The cluster of that id.
    #[must_use]
    pub fn cluster(&self, id: Id) -> Option<&Cluster> {
        self.clusters.get(usize::try_from(id.0).ok()?.checked_sub(1)?)
    }

    /// The number of events that the guards got.
    #[must_use]
    pub fn events(&self) -> usize {
        self.records.iter().filter(|record| matches!(record.what, What::Event(_))).count()
    }

    /// The history as text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "decisions: {:#?}", self.scenario);
        for cluster in &self.clusters {
            let _ = writeln!(
                text,
                "cluster {}: launched by {:?} at {}, tag {:?}, name {}, matches {}, defect {:?}, \
                 masked {}, ready {}, ends {}",
                cluster.id,
                cluster.launcher,
                clock(cluster.created),
                cluster.tag,
                cluster.job_name,
                cluster.matches,
                cluster.traits.defect,
                cluster.traits.masked,
                clock(cluster.ready()),
                cluster.ends().map_or("never".to_owned(), clock),
            );
        }
        for Record { at, life, what } in &self.records {
            let guard = life.map_or(String::from("-"), |life| life.to_string());
            let line = match what {
                What::Event(event) => format!("  told  {event:?}"),
                What::Action(action) => format!("    did {action:?}"),
                What::World(world) => format!("{world:?}"),
            };
            let _ = writeln!(text, "{} guard {guard}: {line}", clock(*at));
        }
        let _ = writeln!(
            text,
            "closed: {}; end of the simulation: {}",
            self.closed.map_or("never".to_owned(), clock),
            clock(self.end)
        );
        text
    }
}

/// A time as hours, minutes and seconds since the launch.
#[must_use]
pub fn clock(at: Ms) -> String {
    let sign = if at < 0 { "-" } else { "" };
    let at = at.unsigned_abs();
    let (hours, minutes) = (at / 3_600_000, at / 60_000 % 60);
    format!("{sign}{hours}:{minutes:02}:{:02}.{:03}", at / 1_000 % 60, at % 1_000)
}

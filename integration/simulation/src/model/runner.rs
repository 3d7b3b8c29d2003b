//! The state of the runner, and of its orphaned processes. Their actions are in the engine, which
//! has the event queue.

use crate::{
    model::cluster::Id,
    scenario::{Ms, SECOND, Survivor},
    watch::machine::event::RunnerEnd,
};

/// How long the runner waits for the response to RunJobFlow.
pub const REQUEST_LIMIT: Ms = 120 * SECOND;

/// The next action of the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerItem {
    /// It has started up.
    Begin,
    /// It sends the next request.
    Send,
    /// It gets the response to a request: whether it succeeded.
    AwsAnswer(usize, bool),
    /// It adds a step to a cluster.
    AddStep {
        /// Which cluster.
        id: Id,
        /// The step's duration.
        length: Ms,
        /// It is not as verified.
        bad: bool,
    },
    /// It polls its cluster.
    Poll,
    /// It ends.
    Die(RunnerEnd),
    /// It ends as decided, unless it waits for a response.
    Crash(RunnerEnd),
    /// Its output ends.
    OutputEnds,
    /// Its orphaned process launches a cluster.
    SurvivorLaunches,
    /// Its orphaned process ends.
    SurvivorEnds,
}

/// The runner.
#[derive(Clone, Debug, Default)]
pub struct RunnerState {
    /// How and when it ended.
    pub ended: Option<(Ms, RunnerEnd)>,
    /// The number of the next request.
    pub next_request: usize,
    /// A request has no response yet.
    pub waits: bool,
    /// The clusters of its requests, as they are created.
    pub clusters: Vec<(usize, Id)>,
    /// The cluster that it works with.
    pub current: Option<Id>,
    /// It was asked to stop.
    pub asked: bool,
    /// The end of its output was reported.
    pub output_ended: bool,
    /// When its orphaned process is gone at the latest.
    pub survivor_gone: Option<Ms>,
}

impl RunnerState {
    /// It runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// The cluster of a request.
    #[must_use]
    pub fn cluster_of(&self, request: usize) -> Option<Id> {
        self.clusters.iter().find(|(number, _)| *number == request).map(|(_, id)| *id)
    }

    /// Whether an orphaned process of it is alive.
    #[must_use]
    pub fn has_survivor(&self, now: Ms) -> bool {
        self.survivor_gone.is_some_and(|gone| now < gone)
    }

    /// Kills its orphaned process; it is gone from then on.
    pub fn end_survivor(&mut self, now: Ms, survivor: Option<&Survivor>) {
        let within = survivor.map_or(0, |survivor| survivor.dies_within);
        self.survivor_gone = self.survivor_gone.map(|gone| gone.min(now + within));
    }
}

//! The runner while it runs, and what it leaves behind. What it does is in the engine, which has
//! the queue of what comes next.

use crate::{
    model::cluster::Id,
    scenario::{Ms, SECOND, Survivor},
    watch::machine::event::RunnerEnd,
};

/// The runner waits so long for the answer to RunJobFlow.
pub const REQUEST_LIMIT: Ms = 120 * SECOND;

/// What the runner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerItem {
    /// It has started up.
    Begin,
    /// It sends the next request.
    Send,
    /// It hears of a request: whether it has worked.
    AwsAnswer(usize, bool),
    /// It puts a step on a cluster.
    AddStep {
        /// Which cluster.
        id: Id,
        /// It takes so long.
        length: Ms,
        /// It is not what was verified.
        bad: bool,
    },
    /// It looks at its cluster.
    Poll,
    /// It ends.
    Die(RunnerEnd),
    /// It ends as whatever was decided, unless it waits for an answer.
    Crash(RunnerEnd),
    /// Its output ends.
    OutputEnds,
    /// What it has left behind launches a cluster.
    SurvivorLaunches,
    /// What it has left behind ends.
    SurvivorEnds,
}

/// The runner.
#[derive(Clone, Debug, Default)]
pub struct RunnerState {
    /// How and when it ended.
    pub ended: Option<(Ms, RunnerEnd)>,
    /// The number of the next request.
    pub next_request: usize,
    /// A request has no answer yet.
    pub waits: bool,
    /// The clusters of its requests, as they come into being.
    pub clusters: Vec<(usize, Id)>,
    /// The cluster that it works with.
    pub current: Option<Id>,
    /// It was asked to stop.
    pub asked: bool,
    /// The end of its output was told.
    pub output_ended: bool,
    /// When what it left behind is gone at the latest.
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

    /// Something that it left behind is alive.
    #[must_use]
    pub fn has_survivor(&self, now: Ms) -> bool {
        self.survivor_gone.is_some_and(|gone| now < gone)
    }

    /// What it left behind is killed; it is gone from then on.
    pub fn end_survivor(&mut self, now: Ms, survivor: Option<&Survivor>) {
        let within = survivor.map_or(0, |survivor| survivor.dies_within);
        self.survivor_gone = self.survivor_gone.map(|gone| gone.min(now + within));
    }
}

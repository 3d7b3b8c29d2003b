//! The watcher's state of the runner, the child process.

use crate::watch::machine::{event::RunnerEnd, time::Moment};

/// The runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runner {
    /// There is none: the run was left open, or clusters were named to `watch`.
    None,
    /// It runs.
    Alive {
        /// It was asked to stop; it is killed at this time.
        kill_at: Option<Moment>,
        /// It was killed.
        killed: bool,
    },
    /// It has ended.
    Ended {
        /// How.
        end: RunnerEnd,
        /// When.
        at: Moment,
        /// It was asked to stop before.
        stopped: bool,
        /// A process still holds its output open.
        output_open: bool,
        /// The orphaned processes of the run.
        survivors: Survivors,
        /// When there were some last, as far as is known.
        left_until: Option<Moment>,
    },
}

/// Processes of the run that are left after its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survivors {
    /// The answer is awaited.
    Asked,
    /// There were some; the next check is at this time.
    Left(Moment),
    /// There are none.
    Gone,
}

impl Runner {
    pub(super) fn is_alive(&self) -> bool {
        matches!(self, Self::Alive { .. })
    }

    /// Whether it was asked to stop, or killed.
    pub(super) fn is_stopping(&self) -> bool {
        match self {
            Self::None => false,
            Self::Alive { kill_at, killed } => *killed || kill_at.is_some(),
            Self::Ended { stopped, .. } => *stopped,
        }
    }

    /// Whether orphaned processes were seen after its end, and may still exist.
    pub(super) fn left_something(&self) -> bool {
        self.has_survivors() && matches!(self, Self::Ended { left_until: Some(_), .. })
    }

    /// Whether processes may be left that could start something.
    pub(super) fn has_survivors(&self) -> bool {
        matches!(self, Self::Ended { survivors: Survivors::Asked | Survivors::Left(_), .. })
    }
}

//! Owns the shared state of the server: the simulation, and the record of its requests.

use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::record::Recorded;
use crate::rounds::RoundsState;
use emr_world::command::{Applied, Command, CommandError};
use emr_world::simulation::Simulation;

/// The simulation, and the server's settings.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) simulation: Simulation,
    pub(crate) rounds: RoundsState,
    pub(crate) latency: Duration,
    pub(crate) requests: Vec<Recorded>,
    pub(crate) next_seq: u64,
    pub(crate) started: Instant,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            simulation: Simulation::new(),
            rounds: RoundsState::default(),
            latency: Duration::ZERO,
            requests: Vec::new(),
            next_seq: 1,
            started: Instant::now(),
        }
    }

    /// Real milliseconds since the start.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn apply(&mut self, command: Command) -> Result<Applied, CommandError> {
        self.simulation.catch_up();
        match command {
            Command::SetLatency(latency) => self.latency = Duration::from_millis(latency.ms),
            Command::Rounds(rounds) => {
                self.rounds.switch(rounds.on, Duration::from_millis(rounds.quiet_ms));
            }
            Command::ClearRequests => self.requests.clear(),
            Command::Reset => {
                let started = self.started;
                *self = Self { started, ..Self::new() };
            }
            other => return self.simulation.apply(other),
        }
        self.simulation.catch_up();
        Ok(Applied::default())
    }
}

/// What the server, the control interface and the library share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// How many connections were opened so far.
    pub(crate) connections: AtomicU64,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            connections: AtomicU64::new(0),
        }
    }

    /// The state. A test that panicked while it read the world did not change it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody who waits for a change.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change, for at most this long in real time.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        at_most: Duration,
    ) -> MutexGuard<'a, State> {
        match self.changed.wait_timeout(state, at_most) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

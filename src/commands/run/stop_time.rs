//! The time limit of a stop: it starts with the first stop signal, and lasts for the setting
//! `stop_timeout` without the share that alerts need.

use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::system::signals::{Caught, stop_signal, wait_for_shutdown};

/// The guard was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// The deadline. Unfinished work resumes on the next start.
    pub(crate) by: Instant,
    /// Whether to terminate the run's own clusters even if they match what was verified.
    pub(crate) terminate: bool,
}

/// The deadline of the remaining work, after a stop signal.
#[derive(Debug)]
pub(crate) struct StopTime {
    limit: Duration,
    /// Whether the run's clusters are terminated with it.
    terminate: bool,
    by: Cell<Option<Instant>>,
}

impl StopTime {
    /// `limit` is the time limit of a stop; `by` is the deadline of one that was requested already.
    pub(crate) fn new(limit: Duration, terminate: bool, by: Option<Instant>) -> Self {
        Self { limit, terminate, by: Cell::new(by) }
    }

    /// The requested stop, if there is one.
    pub(crate) fn asked(&self) -> Option<Stop> {
        self.by.get().map(|by| Stop { by, terminate: self.terminate })
    }

    /// Starts the time, unless an earlier signal has started it.
    pub(crate) fn ask(&self) -> Stop {
        self.ask_at(Instant::now())
    }

    fn ask_at(&self, now: Instant) -> Stop {
        let by = self.by.get().unwrap_or_else(|| now + self.limit);
        self.by.set(Some(by));
        Stop { by, terminate: self.terminate }
    }

    /// Waits for the next stop signal.
    pub(crate) async fn next(&self, caught: &mut Caught) -> Stop {
        stop_signal(caught).await;
        self.ask()
    }

    /// Waits until the report has no more time left: until the deadline of the stop, or if none was
    /// requested, until a stop signal.
    pub(crate) async fn over(&self, caught: &mut Caught) {
        match self.by.get() {
            Some(by) => sleep_until(by).await,
            None => wait_for_shutdown(caught).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_request_does_not_prolong_the_first() {
        let (begin, limit) = (Instant::now(), Duration::from_mins(1));
        let stop = StopTime::new(limit, true, None);
        assert!(stop.asked().is_none());
        for later in [Duration::ZERO, Duration::from_secs(20)] {
            let asked = stop.ask_at(begin + later);
            assert_eq!((asked.by, asked.terminate), (begin + limit, true));
            assert_eq!(stop.asked().map(|stop| stop.by), Some(begin + limit));
        }
    }
}

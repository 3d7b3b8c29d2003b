//! The time that a stop has: from the first signal that asks for one, what is left of the setting
//! `stop_timeout` after the share that alerts need.

use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::system::signals::{Caught, stop_signal, wait_for_shutdown};

/// The guard was told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// When it must be gone. What is not done by then is the next start's.
    pub(crate) by: Instant,
    /// End the run's own clusters even if they are what was verified.
    pub(crate) terminate: bool,
}

/// When the work must be over, once a stop was asked for.
#[derive(Debug)]
pub(crate) struct StopTime {
    limit: Duration,
    /// Whether the clusters of the run end with it.
    terminate: bool,
    by: Cell<Option<Instant>>,
}

impl StopTime {
    /// Each stop may take `limit`; `by` is the end of one that was asked for already.
    pub(crate) fn new(limit: Duration, terminate: bool, by: Option<Instant>) -> Self {
        Self { limit, terminate, by: Cell::new(by) }
    }

    /// The stop that was asked for, if one was.
    pub(crate) fn asked(&self) -> Option<Stop> {
        self.by.get().map(|by| Stop { by, terminate: self.terminate })
    }

    /// Starts the time, unless an earlier signal did.
    pub(crate) fn ask(&self) -> Stop {
        self.ask_at(Instant::now())
    }

    fn ask_at(&self, now: Instant) -> Stop {
        let by = self.by.get().unwrap_or_else(|| now + self.limit);
        self.by.set(Some(by));
        Stop { by, terminate: self.terminate }
    }

    /// Waits for the next signal that asks for a stop.
    pub(crate) async fn next(&self, caught: &mut Caught) -> Stop {
        stop_signal(caught).await;
        self.ask()
    }

    /// Waits until the report has no more time: the end of the stop, or where none was asked for,
    /// the signal that asks for one.
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

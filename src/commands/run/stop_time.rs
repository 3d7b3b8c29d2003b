//! The time limit of a stop: it starts with the first stop signal, and lasts for the setting
//! `stop_timeout` without the share that alerts need.

use std::{cell::Cell, time::Duration};

use nix::sys::signal::Signal;
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
    by: Cell<Option<(Instant, Signal)>>,
}

impl StopTime {
    /// `limit` is the time limit of a stop; `by` is the deadline of one that was requested already,
    /// with its signal.
    pub(crate) fn new(limit: Duration, terminate: bool, by: Option<(Instant, Signal)>) -> Self {
        Self { limit, terminate, by: Cell::new(by) }
    }

    /// The requested stop, if there is one.
    pub(crate) fn asked(&self) -> Option<Stop> {
        self.by.get().map(|(by, _)| Stop { by, terminate: self.terminate })
    }

    /// The first signal that asked for it.
    pub(crate) fn signal(&self) -> Option<Signal> {
        self.by.get().map(|(_, signal)| signal)
    }

    /// Starts the time, unless an earlier signal has started it.
    pub(crate) fn ask(&self, signal: Signal) -> Stop {
        self.ask_at(Instant::now(), signal)
    }

    fn ask_at(&self, now: Instant, signal: Signal) -> Stop {
        let (by, signal) = self.by.get().unwrap_or_else(|| (now + self.limit, signal));
        self.by.set(Some((by, signal)));
        Stop { by, terminate: self.terminate }
    }

    /// Waits for the next stop signal.
    pub(crate) async fn next(&self, caught: &mut Caught) -> Stop {
        let signal = stop_signal(caught).await;
        self.ask(signal)
    }

    /// Waits until the report has no more time left: until the deadline of the stop, or if none was
    /// requested, until a stop signal.
    pub(crate) async fn over(&self, caught: &mut Caught) {
        match self.by.get() {
            Some((by, _)) => sleep_until(by).await,
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
        for (later, signal) in
            [(Duration::ZERO, Signal::SIGTERM), (Duration::from_secs(20), Signal::SIGINT)]
        {
            let asked = stop.ask_at(begin + later, signal);
            assert_eq!((asked.by, asked.terminate), (begin + limit, true));
            assert_eq!(stop.asked().map(|stop| stop.by), Some(begin + limit));
            assert_eq!(stop.signal(), Some(Signal::SIGTERM));
        }
    }
}

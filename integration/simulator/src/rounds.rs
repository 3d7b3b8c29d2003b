//! Owns rounds mode: replies are held until no more requests come, then sent together.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// The state of rounds mode.
#[derive(Debug)]
pub(crate) struct RoundsState {
    on: bool,
    quiet: Duration,
    done: u64,
    last_arrival: Instant,
    held: Vec<oneshot::Sender<()>>,
    watched: bool,
}

impl Default for RoundsState {
    fn default() -> Self {
        Self {
            on: false,
            quiet: Duration::from_millis(100),
            done: 0,
            last_arrival: Instant::now(),
            held: Vec::new(),
            watched: false,
        }
    }
}

impl RoundsState {
    /// Switches it on, counting from zero, or off, releasing all held replies.
    pub(crate) fn switch(&mut self, on: bool, quiet: Duration) {
        self.held.clear();
        self.on = on;
        self.quiet = quiet;
        if on {
            self.done = 0;
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// How many rounds were released since switching on.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Counts a request and returns its round.
    pub(crate) fn arrive(&mut self) -> Option<u64> {
        self.last_arrival = Instant::now();
        self.on.then_some(self.done + 1)
    }

    /// Holds a reply until the receiver resolves. True: the caller must start a watcher.
    pub(crate) fn hold(&mut self) -> Option<(oneshot::Receiver<()>, bool)> {
        if !self.on {
            return None;
        }
        let (release, held) = oneshot::channel();
        self.held.push(release);
        let first = !self.watched;
        self.watched = true;
        Some((held, first))
    }

    /// Ends the round if no requests come any more; otherwise returns how long to wait before the
    /// next try.
    pub(crate) fn try_release(&mut self) -> Option<Duration> {
        let silent = self.last_arrival.elapsed();
        if self.on && silent < self.quiet {
            return Some(self.quiet.saturating_sub(silent));
        }
        self.watched = false;
        if !self.held.is_empty() {
            self.done += 1;
        }
        // Dropping the senders resolves the receivers.
        self.held.clear();
        None
    }
}

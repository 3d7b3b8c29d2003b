//! Signals: all signal streams are merged into one, so that the supervisor handles them in one
//! place.

use std::{
    io,
    sync::{LazyLock, atomic::Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{SigHandler, SigSet, Signal, killpg, raise, signal as set_disposition},
    unistd::{Pid, getpid},
};
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::system::screen::{self, HEARS_STOPS};

/// The signals that the guard forwards to the runner.
const FORWARDED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The signals caught so far, in order.
pub(crate) type Caught = mpsc::UnboundedReceiver<Signal>;

/// The time of the first request to stop this process.
static ASKED: LazyLock<watch::Sender<Option<Instant>>> = LazyLock::new(|| watch::channel(None).0);

/// Waits for a request to stop (earlier or later), and then until `time` has passed since the first
/// request.
pub(crate) async fn wait_for_stop_deadline(time: Duration) {
    let mut asked = ASKED.subscribe();
    let at = asked.wait_for(Option::is_some).await.ok().and_then(|at| *at);
    match at {
        Some(at) => tokio::time::sleep_until((at + time).into()).await,
        None => std::future::pending().await,
    }
}

/// Whether a signal requests termination. SIGQUIT does not: a JVM answers it with a thread dump and
/// continues.
pub(crate) fn asks_to_stop(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP)
}

/// Resets SIGCHLD: default disposition, not blocked. A parent process may have left it ignored, so
/// that no exit status could be read, or blocked, so that orphans would never be reaped.
///
/// Call it first: before the process has a second thread, whose signal mask would not change, and
/// before its first child.
///
/// # Errors
/// When the operating system refuses, which POSIX does not provide for.
#[expect(unsafe_code, reason = "a signal's disposition is the whole process's")]
pub(crate) fn keep_child_status() -> Result<(), Errno> {
    if is_ignored(Signal::SIGCHLD) {
        // SAFETY: SIG_DFL runs no code of this program, and no handler was set before that it could
        // replace.
        unsafe { set_disposition(Signal::SIGCHLD, SigHandler::SigDfl)? };
    }
    SigSet::from_iter([Signal::SIGCHLD]).thread_unblock()
}

/// Starts catching; every signal caught arrives at the receiver.
///
/// # Errors
/// When the operating system refuses a handler.
pub(crate) fn catch() -> io::Result<Caught> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for caught in FORWARDED {
        // A signal that the parent process ignored (nohup) stays ignored, for the guard and, by
        // inheritance, for the runner.
        if is_ignored(caught) {
            continue;
        }
        let mut stream = signal(SignalKind::from_raw(caught as i32))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut echoes = DuplicateSignals::default();
            while stream.recv().await.is_some() {
                let now = Instant::now();
                if echoes.has(caught, now) {
                    continue;
                }
                if asks_to_stop(caught) {
                    ASKED.send_if_modified(|first| {
                        first.is_none().then(|| *first = Some(now)).is_some()
                    });
                }
                // During shutdown nobody receives signals any more, but the time limit for a stop
                // still counts from ASKED.
                let _ = sender.send(caught);
            }
        });
    }
    Ok(receiver)
}

/// Recognises one request to stop that arrives twice: `timeout` sends its signal to its child and
/// then to the whole process group, and so do other tools.
#[derive(Debug, Default)]
struct DuplicateSignals {
    first: Option<Instant>,
}

impl DuplicateSignals {
    /// Shorter than any intended delay before a second request, which kills.
    const WITHIN: Duration = Duration::from_millis(500);

    fn has(&mut self, signal: Signal, now: Instant) -> bool {
        let echo = asks_to_stop(signal)
            && self.first.is_some_and(|first| now.duration_since(first) < Self::WITHIN);
        if !echo {
            self.first = Some(now);
        }
        echo
    }
}

/// Job control: the runner is stopped and continued together with the guard. Its process group is
/// unknown to the terminal and the shell.
///
/// This is separate from the other signals, because it decides nothing. Before the runner exists,
/// the kernel's default action applies.
#[derive(Debug)]
pub(crate) struct JobControl {
    stop: Option<unix::Signal>,
    go_on: unix::Signal,
}

impl JobControl {
    /// Starts catching.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub(crate) fn new() -> io::Result<Self> {
        HEARS_STOPS.store(true, Ordering::Release);
        // Nothing inside a container can stop its PID 1, so nothing would continue the runner
        // either.
        let may_stop = getpid().as_raw() != 1 && !is_ignored(Signal::SIGTSTP);
        let catch = |caught: Signal| signal(SignalKind::from_raw(caught as i32));
        Ok(Self {
            stop: may_stop.then(|| catch(Signal::SIGTSTP)).transpose()?,
            go_on: catch(Signal::SIGCONT)?,
        })
    }

    /// From now on the runner's process `group`, if there is a runner, is stopped before the guard
    /// and continued after it.
    pub(crate) fn share_with(mut self, group: Option<Pid>) {
        tokio::spawn(async move {
            loop {
                let stops = tokio::select! {
                    Some(()) = next(self.stop.as_mut()) => true,
                    Some(()) = self.go_on.recv() => false,
                    else => return,
                };
                if stops {
                    screen::pause();
                }
                if let Some(group) = group {
                    // If the group is gone, there is nothing to signal.
                    let _ = killpg(group, if stops { Signal::SIGTSTP } else { Signal::SIGCONT });
                }
                if stops {
                    // SIGTSTP itself is caught; SIGSTOP cannot be. The whole process stops here.
                    let _ = raise(Signal::SIGSTOP);
                } else {
                    screen::resume();
                }
            }
        });
    }
}

async fn next(signals: Option<&mut unix::Signal>) -> Option<()> {
    match signals {
        Some(signals) => signals.recv().await,
        None => None,
    }
}

/// Whether this process ignores `signal`, as the kernel reports it.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

/// Waits for a signal that requests termination, whichever it is.
pub(crate) async fn wait_for_shutdown(caught: &mut Caught) {
    stop_signal(caught).await;
}

/// The next signal that requests termination.
pub(crate) async fn stop_signal(caught: &mut Caught) -> Signal {
    loop {
        match caught.recv().await {
            Some(signal) if asks_to_stop(signal) => return signal,
            Some(_) => {}
            None => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_comes_twice_at_once_is_one_and_a_later_one_is_the_second() {
        let (mut echoes, start) = (DuplicateSignals::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let seen: Vec<bool> = [0, 1, 499, 500, 501]
            .into_iter()
            .map(|millis| echoes.has(Signal::SIGTERM, at(millis)))
            .collect();
        assert_eq!(seen, [false, true, true, false, true]);
    }

    #[test]
    fn what_asks_for_no_stop_counts_every_time() {
        let (mut echoes, now) = (DuplicateSignals::default(), Instant::now());
        assert!(!echoes.has(Signal::SIGUSR1, now) && !echoes.has(Signal::SIGUSR1, now));
    }
}

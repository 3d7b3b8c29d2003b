//! Signals: all streams become one, so that the supervisor handles them in one place.

use std::io;

use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// The signals that the runner gets when the guard does.
const FORWARDED: [Signal; 7] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];

/// The signals caught so far, in order.
pub(crate) type Caught = mpsc::UnboundedReceiver<Signal>;

/// Whether a signal asks for an end. SIGQUIT does not: a JVM answers it with a thread dump and goes on.
pub(crate) fn asks_to_stop(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP)
}

/// Starts catching; every signal caught arrives at the receiver.
///
/// # Errors
/// When the operating system refuses a handler.
pub(crate) fn catch() -> io::Result<Caught> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for caught in FORWARDED {
        // A signal that our parent made us ignore (nohup) stays ignored, for us and, by inheritance, for the runner.
        if is_ignored(caught) {
            continue;
        }
        let mut stream = signal(SignalKind::from_raw(caught as i32))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(caught).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Whether this process ignores `signal`, by the kernel's own word.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

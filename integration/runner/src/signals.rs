//! Owns how signals end the run: at once, without checking the cluster, as the JVM does.

use std::thread;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::journal::Journal;

/// From now on SIGTERM, SIGINT and SIGHUP end the process with 143, 130 and 129.
///
/// SIGQUIT, which makes a JVM print its threads and continue, and SIGWINCH and SIGCONT, which have
/// no effect, are only recorded. All others have the system's default action, including SIGUSR1 and
/// SIGUSR2, which a JVM does not expect from outside.
///
/// A signal that the parent had ignored stays ignored, as with the JVM: `nohup` and `&` in a script
/// do that.
///
/// # Errors
/// Where the system does not allow a signal handler.
pub fn install(journal: Journal, ignore_sigterm: bool) -> std::io::Result<()> {
    let inherited = inherited_ignores();
    let caught = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT]
        .into_iter()
        .filter(|signal| inherited >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(caught)?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let ignored = matches!(signal, SIGQUIT | SIGWINCH | SIGCONT)
                || ignore_sigterm && signal == SIGTERM;
            journal.signal(signal, ignored);
            if !ignored {
                journal.exit(128 + signal);
                // Not std::process::exit: it could wait for the lock of a blocked standard output.
                signal_hook::low_level::exit(128 + signal);
            }
        }
    });
    Ok(())
}

/// The signals this process ignored at its start: bit n - 1 is signal n. None where /proc does not
/// contain it.
fn inherited_ignores() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .unwrap_or_default()
}

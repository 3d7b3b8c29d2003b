//! Survivors: processes of a run whose guard died. The kernel kills the runner with its guard, but
//! not what the runner itself has started, such as the JVM behind a wrapper script. They are known
//! by a variable in their environment.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};

/// Set for the runner of a run, to the run's id; whatever it starts inherits it.
pub(crate) const VARIABLE: &str = "EMR_ETL_GUARD_RUN";

/// How long processes may take to die of SIGKILL, which is nothing but for one in the middle of a
/// system call that cannot be broken off.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills what is left of `run` on this machine, and waits until it is gone; gives how many
/// processes that were.
///
/// # Errors
/// When /proc cannot be read, or something does not die.
pub(crate) fn end(run: &str) -> io::Result<usize> {
    let (mut found, deadline) = (std::collections::BTreeSet::new(), Instant::now() + PATIENCE);
    loop {
        let left = of_run(run)?;
        if left.is_empty() {
            return Ok(found.len());
        }
        if Instant::now() > deadline {
            let message = format!(
                "process {} of run {run} does not die",
                left.first().map_or(0, |pid| pid.as_raw())
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        for pid in left {
            // Gone meanwhile, or another user's, which the deadline tells.
            let _ = kill(pid, Signal::SIGKILL);
            found.insert(pid);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether anything is left of `run` on this machine.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn are_left(run: &str) -> io::Result<bool> {
    Ok(!of_run(run)?.is_empty())
}

/// The processes of a run. One that has ended has no environment any more, and neither has a kernel
/// thread; another user's cannot be read.
fn of_run(run: &str) -> io::Result<Vec<Pid>> {
    let wanted = format!("{VARIABLE}={run}");
    let is_ours = |pid: Pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        found.extend(pid.filter(|pid| *pid != getpid() && is_ours(*pid)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_processes_of_the_run_are_ended_and_those_that_they_started() {
        crate::system::signals::keep_child_status().unwrap();
        let sleeper = |run: &str| {
            Command::new("/bin/sh")
                .args(["-c", "sleep 600 & wait"])
                .env(VARIABLE, run)
                .spawn()
                .unwrap()
        };
        let (run, other) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::now_v7().to_string());
        let (mut ours, mut others) = (sleeper(&run), sleeper(&other));
        // Once its own child is there, both are to be found.
        while of_run(&run).unwrap().len() < 2 || of_run(&other).unwrap().len() < 2 {
            std::thread::yield_now();
        }
        assert!(end(&run).unwrap() >= 2);
        assert!(ours.wait().unwrap().code().is_none());
        assert!(others.try_wait().unwrap().is_none());
        assert_eq!(end(&run).unwrap(), 0);
        end(&other).unwrap();
        others.wait().unwrap();
    }
}

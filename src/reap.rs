//! Reaping: orphans that the runner leaves behind become the guard's children, as PID 1 and elsewhere, and are collected as an init does.

use std::{io, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        prctl::set_child_subreaper,
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ready to reap, from before the runner is started.
#[derive(Debug)]
pub(crate) struct Reaper {
    ended: Signal,
}

impl Reaper {
    /// Has orphans come to this process from now on, and listens for their ends.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    pub(crate) fn new() -> io::Result<Self> {
        // Without it they go to the next init, as they do when the runner is run bare: nothing is lost.
        if let Err(error) = set_child_subreaper(true) {
            tracing::debug!(%error, "orphans go to another process");
        }
        Ok(Self { ended: signal(SignalKind::child())? })
    }

    /// Reaps in the background every child but `runner`, whose status belongs to the one who waits for it.
    ///
    /// The guard must start no other child from here on: it would lose its status.
    pub(crate) fn reap_all_but(mut self, runner: Pid) {
        tokio::spawn(async move {
            loop {
                while let Some(pid) = first_that_ended() {
                    if pid == runner {
                        // The kernel shows one at a time, and those behind it only once it is collected. That is under way, and raises no signal.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    } else {
                        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                    }
                }
                if self.ended.recv().await.is_none() {
                    return;
                }
            }
        });
    }
}

/// The first child that has ended, which is left as it is.
fn first_that_ended() -> Option<Pid> {
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => return Some(pid),
            Err(Errno::EINTR) => {}
            // None has ended, or there is none.
            Ok(_) | Err(_) => return None,
        }
    }
}

//! Reaping: orphans that the runner leaves behind become the guard's children, as PID 1 and
//! elsewhere, and are collected as an init does.

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        prctl::set_child_subreaper,
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

/// Children, besides the runner, whose status belongs to somebody who waits for them.
static OWN: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<Pid>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a child's status for whoever holds this; afterwards the child is anybody's.
#[derive(Debug)]
pub(crate) struct OwnedChild(Option<Pid>);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        if let Some(pid) = &self.0 {
            own().remove(pid);
        }
    }
}

/// Starts a child of the guard's own, whose status is not lost to the reaper.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(command: &mut Command) -> io::Result<(Child, OwnedChild)> {
    // Nothing is reaped while it is not yet known whose it is.
    let mut own = own();
    let child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    own.extend(pid);
    Ok((child, OwnedChild(pid)))
}

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
        // Without it they go to the next init, as they do when the runner is run bare: nothing is
        // lost.
        if let Err(error) = set_child_subreaper(true) {
            tracing::debug!(%error, "orphans go to another process");
        }
        Ok(Self { ended: signal(SignalKind::child())? })
    }

    /// Reaps in the background every child but `runner` and those from [`start`], whose status
    /// belongs to the one who waits for it.
    ///
    /// The guard must start no child in another way from here on: it would lose its status.
    pub(crate) fn reap_all_but(mut self, runner: Pid) {
        tokio::spawn(async move {
            loop {
                while let Some(is_reaped) = reap_one(runner) {
                    if !is_reaped {
                        // The kernel shows one at a time, and those behind it only once it is
                        // collected. That is under way, and raises no signal.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
                if self.ended.recv().await.is_none() {
                    return;
                }
            }
        });
    }
}

/// Reaps the first child that has ended; none: there is none. Gives whether it did: a child that
/// somebody waits for is left as it is.
fn reap_one(runner: Pid) -> Option<bool> {
    let own = own();
    let pid = first_that_ended()?;
    let is_orphan = pid != runner && !own.contains(&pid);
    if is_orphan {
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
    Some(is_orphan)
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

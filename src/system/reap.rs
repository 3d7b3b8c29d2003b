//! Reaps orphans: processes that the runner leaves behind become children of the guard (as PID 1 or
//! as subreaper), and it collects their exit status as an init does.

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

/// Children, apart from the runner, whose exit status another part of the guard waits for.
static OWN: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<Pid>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reserves a child's exit status for the holder of this value. Once dropped, the reaper may
/// collect the child.
#[derive(Debug)]
pub(crate) struct OwnedChild(Option<Pid>);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        if let Some(pid) = &self.0 {
            own().remove(pid);
        }
    }
}

/// Starts a child of the guard's own whose exit status the reaper does not collect.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(command: &mut Command) -> io::Result<(Child, OwnedChild)> {
    // Nothing may be reaped until the new child is registered.
    let mut own = own();
    let child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    own.extend(pid);
    Ok((child, OwnedChild(pid)))
}

/// The reaper, set up before the runner is started.
#[derive(Debug)]
pub(crate) struct Reaper {
    ended: Signal,
}

impl Reaper {
    /// Makes orphans children of this process from now on, and listens for SIGCHLD.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    pub(crate) fn new() -> io::Result<Self> {
        // Without it orphans go to the next init, as they do without the guard: nothing is lost.
        if let Err(error) = set_child_subreaper(true) {
            tracing::debug!(%error, "orphans go to another process");
        }
        Ok(Self { ended: signal(SignalKind::child())? })
    }

    /// Reaps every child in the background, except `runner` and the children from [`start`]: their
    /// callers wait for them.
    ///
    /// The guard must not start a child in any other way from here on: its exit status would be
    /// lost.
    pub(crate) fn reap_all_but(mut self, runner: Pid) {
        tokio::spawn(async move {
            loop {
                while let Some(is_reaped) = reap_one(runner) {
                    if !is_reaped {
                        // The kernel reports one child at a time, and the ones behind it only once
                        // that child is collected. The owner is about to collect it, which raises
                        // no signal: so poll.
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

/// Reaps the first child that has ended; `None` if there is none. Returns whether it was reaped: a
/// child with an owner is left alone.
fn reap_one(runner: Pid) -> Option<bool> {
    let own = own();
    let pid = first_that_ended()?;
    let is_orphan = pid != runner && !own.contains(&pid);
    if is_orphan {
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
    Some(is_orphan)
}

/// The first child that has ended. Does not collect it.
fn first_that_ended() -> Option<Pid> {
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => return Some(pid),
            Err(Errno::EINTR) => {}
            // No child has ended, or there is no child.
            Ok(_) | Err(_) => return None,
        }
    }
}

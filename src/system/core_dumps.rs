//! Core dumps of the guard: switched off, because its memory holds the runner's keys. The runner's
//! own core dumps stay as they were.

use std::sync::OnceLock;

use nix::{
    errno::Errno,
    sys::{
        prctl::{get_dumpable, set_dumpable},
        resource::{Resource, getrlimit, rlim_t, setrlimit},
    },
};

/// What this process was started with.
#[derive(Clone, Copy, Debug)]
struct Inherited {
    /// Soft and hard limit of a core dump's size, in bytes.
    limit: (rlim_t, rlim_t),
    dumpable: bool,
}

static INHERITED: OnceLock<Inherited> = OnceLock::new();

/// Switches core dumps of this process off. The kernel then also keeps other processes of the same
/// user from reading its memory, its environment and its descriptors (ptrace(2), proc(5)).
///
/// Only the soft limit goes to zero, so that every user may raise it again for the runner.
///
/// # Errors
/// When the kernel refuses; core dumps may then be possible.
pub(crate) fn switch_off() -> nix::Result<()> {
    let limit = getrlimit(Resource::RLIMIT_CORE)?;
    INHERITED.get_or_init(|| Inherited { limit, dumpable: get_dumpable().unwrap_or(false) });
    setrlimit(Resource::RLIMIT_CORE, 0, limit.1)?;
    set_dumpable(false)
}

/// Reverts [`switch_off`], for developers who debug the guard itself.
pub(crate) fn allow() -> nix::Result<()> {
    restore_limit(inherited_limit())?;
    match INHERITED.get() {
        Some(inherited) if inherited.dumpable => set_dumpable(true),
        _ => Ok(()),
    }
}

/// The limit that this process was started with: soft and hard, in bytes.
pub(crate) fn inherited_limit() -> Option<(rlim_t, rlim_t)> {
    INHERITED.get().map(|inherited| inherited.limit)
}

/// Sets the limit of core dumps, if there is a limit to set. Async-signal-safe: one system call.
pub(crate) fn restore_limit(limit: Option<(rlim_t, rlim_t)>) -> Result<(), Errno> {
    limit.map_or(Ok(()), |(soft, hard)| setrlimit(Resource::RLIMIT_CORE, soft, hard))
}

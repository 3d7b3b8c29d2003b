//! The one place where tests start programs: every child begins in the same state, however the
//! tests themselves were started.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Once,
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl::set_pdeathsig,
        signal::{SigHandler, SigSet, Signal, signal},
        stat::{Mode, umask},
    },
    unistd::setsid,
};

/// Where the programs that tests use are found: the shell, coreutils, util-linux, openssl.
pub(crate) const PATH: &str = "/usr/bin:/bin";

/// A command with nothing in its environment but [`PATH`], nothing on its standard input, and the
/// state of [`isolate`].
pub(crate) fn hermetic_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    isolate(&mut command);
    command
}

/// Gives what `command` starts the state that a login gives: every signal's default disposition,
/// none blocked, a umask of 022, a session of its own without a terminal. It is killed when the
/// thread that started it ends, so that no test leaves a process behind.
///
/// `nohup`, `&` in a script, CI runners and supervisors leave signals ignored or blocked, and
/// children inherit that.
#[expect(unsafe_code, reason = "what is set between fork and exec cannot be set any other way")]
pub(crate) fn isolate(command: &mut Command) {
    keep_child_status();
    // SAFETY: the closure runs between fork and exec. It allocates nothing, takes no lock, and
    // calls only system calls that are async-signal-safe.
    unsafe { command.pre_exec(reset) };
}

/// Gives this process the state that [`isolate`] promises; the next program keeps it.
#[expect(unsafe_code, reason = "the disposition of a real-time signal has no safe form")]
pub(crate) fn reset() -> std::io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is no function of ours. The kernel refuses SIGKILL and SIGSTOP, and the
        // C library the two that it keeps for itself.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask()?;
    umask(Mode::from_bits_truncate(0o022));
    set_pdeathsig(Signal::SIGKILL)?;
    match setsid() {
        // It leads a process group already, by `Command::process_group`.
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Has the kernel keep how the children of this process end. A parent that ignores SIGCHLD, which
/// is inherited, would have it forget that at once, and no test could read an exit code.
#[expect(unsafe_code, reason = "a signal's disposition is the whole process's")]
fn keep_child_status() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SIG_DFL is no function of ours, and nothing here relies on another disposition.
        let kept = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
        assert!(kept.is_ok(), "the disposition of SIGCHLD: {kept:?}");
    });
}

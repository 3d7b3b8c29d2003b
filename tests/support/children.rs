//! The one place where tests start programs: every child process starts in the same state, however
//! the tests themselves were started.

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

/// The folders of the programs that tests use: the shell, coreutils, util-linux, openssl.
pub(crate) const PATH: &str = "/usr/bin:/bin";

/// A command with only [`PATH`] in its environment, an empty standard input, and the state of
/// [`isolate`].
pub(crate) fn hermetic_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    isolate(&mut command);
    command
}

/// Gives the child of `command` the state after a login: every signal's default disposition, none
/// blocked, a umask of 022, a session of its own without a terminal. It is killed when the thread
/// that started it ends, so that no test leaves a process behind.
///
/// `nohup`, `&` in a script, CI runners and supervisors leave signals ignored or blocked, and
/// children inherit that.
#[expect(unsafe_code, reason = "what is set between fork and exec cannot be set any other way")]
pub(crate) fn isolate(command: &mut Command) {
    keep_child_status();
    // SAFETY: the closure runs between fork and exec. It allocates nothing, takes no lock, and
    // makes only async-signal-safe system calls.
    unsafe { command.pre_exec(reset) };
}

/// Gives this process the state that [`isolate`] promises. The next program inherits it.
#[expect(unsafe_code, reason = "the disposition of a real-time signal has no safe form")]
pub(crate) fn reset() -> std::io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs no code of this program. The kernel refuses SIGKILL and SIGSTOP, and
        // the C library the two that it reserves.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask()?;
    umask(Mode::from_bits_truncate(0o022));
    set_pdeathsig(Signal::SIGKILL)?;
    match setsid() {
        // It is a process group leader already, because of `Command::process_group`.
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the kernel keep the exit status of this process's children. If SIGCHLD is ignored, which
/// is inherited from a parent, the kernel discards the status, and no test could read an exit code.
#[expect(unsafe_code, reason = "a signal's disposition is the whole process's")]
fn keep_child_status() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SIG_DFL runs no code of this program, and nothing here relies on another
        // disposition.
        let kept = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
        assert!(kept.is_ok(), "the disposition of SIGCHLD: {kept:?}");
    });
}

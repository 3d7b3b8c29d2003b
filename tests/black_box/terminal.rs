//! The guard in a terminal: a real one, with the guard, or the shell that starts it, as session
//! leader.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use emr_simulator::{ClockMode, Command as Set, SetClock, Timings};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc,
    pty::{Winsize, openpty},
    unistd::ttyname,
};

use crate::support::{
    Stage, hermetic_command, programs, runner_pid, signals_in_the_journal, wait_until,
};

/// A terminal, and the program that controls it.
pub(crate) struct Terminal {
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// The program's output.
    screen: File,
    /// The number of marks that were read from it: everything before them is in `shown`.
    marks: Arc<AtomicUsize>,
    /// The terminal's device.
    pub(crate) device: std::path::PathBuf,
    pub(crate) child: Child,
}

/// It is invisible, and no program of the tests writes it.
const MARK: u8 = 0;

impl Terminal {
    /// Starts `command`, prepared for `stage`, as the leader of a new session with this controlling
    /// terminal.
    pub(crate) fn start(stage: &Stage, command: &Command) -> Self {
        Self::start_sized(stage, command, (24, 80))
    }

    /// The same with this number of rows and columns.
    pub(crate) fn start_sized(
        stage: &Stage,
        command: &Command,
        (ws_row, ws_col): (u16, u16),
    ) -> Self {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        for end in [pair.master.as_fd(), pair.slave.as_fd()] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let mut leader = hermetic_command(command.get_program());
        leader.args(command.get_args());
        stage.prepare(&mut leader);
        controlled_by_standard_input(&mut leader);
        let device = ttyname(&pair.slave).unwrap();
        let end = || pair.slave.try_clone().unwrap();
        let child =
            leader.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program starts");
        let (shown, keyboard) = (Arc::new(Mutex::new(Vec::new())), File::from(pair.master));
        let (mut output, to) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        let slave: OwnedFd = pair.slave;
        let screen = File::from(slave.try_clone().unwrap());
        let marks = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&marks);
        std::thread::spawn(move || {
            // Kept open until the program has ended and everything was read, because the last
            // output could be lost.
            let _slave = slave;
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut chunk) {
                let text: Vec<u8> =
                    chunk[..read].iter().copied().filter(|byte| *byte != MARK).collect();
                to.lock().unwrap().extend_from_slice(&text);
                let marks = read - text.len();
                seen.fetch_add(marks, Ordering::Release);
            }
        });
        Self { keyboard, shown, screen, marks, device, child }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let shows = || self.shown().contains(text);
        wait_until(&format!("the terminal shows `{text}`"), shows);
    }

    /// Waits until the program has ended, and what it wrote is in `shown`.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the program has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let before = self.marks.load(Ordering::Acquire);
        self.screen.write_all(&[MARK]).unwrap();
        wait_until("all was read", || self.marks.load(Ordering::Acquire) > before);
        status.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the terminal on standard input the controlling terminal of the child of `command`, which
/// is hermetic.
#[expect(unsafe_code, reason = "what is set between fork and exec cannot be set any other way")]
fn controlled_by_standard_input(command: &mut Command) {
    let take = || {
        // SAFETY: a plain system call on a number, async-signal-safe as every `ioctl` is.
        let taken = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) };
        Errno::result(taken).map(drop).map_err(Into::into)
    };
    // SAFETY: the closure runs between fork and exec; it makes one system call, and builds an error
    // from a number.
    unsafe { command.pre_exec(take) };
}

/// The state letter of a process: `T` for stopped.
fn state(pid: i32) -> Option<char> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("State:\t"))?.chars().next()
}

#[test]
fn ctrl_c_reaches_the_runner_once_and_the_code_is_130() {
    let stage = Stage::acme().misbehave("hang");
    let mut terminal = Terminal::start(&stage, &stage.bare_command("run"));
    wait_until("the runner has launched", || stage.sim.requests_for("RunJobFlow").len() == 1);
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130), "{}", terminal.shown());
    assert_eq!(signals_in_the_journal(&stage), [2]);
}

#[test]
fn ctrl_backslash_is_the_runners_to_answer() {
    let stage = Stage::acme();
    slow(&stage);
    let mut terminal = Terminal::start(&stage, &stage.bare_command("run"));
    wait_until("the runner has launched", || stage.sim.requests_for("RunJobFlow").len() == 1);
    terminal.press("\x1c");
    wait_until("the runner has got it", || signals_in_the_journal(&stage) == [3]);
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(6000.0), at: None }));
    assert_eq!(terminal.exit_code(), Some(0), "{}", terminal.shown());
}

#[test]
fn ctrl_z_stops_both_and_fg_has_both_go_on_to_the_end() {
    let stage = Stage::acme();
    slow(&stage);
    let command = stage.bare_command("run");
    let mut shell = hermetic_command("bash");
    shell.args(["--norc", "--noprofile", "--noediting", "-i"]);
    let mut terminal = Terminal::start(&stage, &shell);
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.display()));
    terminal.press(&format!("{}\n", words.collect::<Vec<_>>().join(" ")));
    wait_until("the runner has launched", || stage.sim.requests_for("RunJobFlow").len() == 1);
    let runner = runner_pid(&stage).as_raw();
    let guard = parent(runner);

    terminal.press("\x1a");
    wait_until("the runner is stopped", || state(runner) == Some('T'));
    wait_until("the guard is stopped", || state(guard) == Some('T'));
    terminal.press("echo \"stopped with $?\"\n");
    terminal.wait_for("stopped with 147");

    terminal.press("fg\n");
    wait_until("both go on", || state(runner) != Some('T') && state(guard) != Some('T'));
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(6000.0), at: None }));
    wait_until("the runner has ended", || state(runner).is_none());
    wait_until("the guard has ended", || state(guard).is_none());
    terminal.press("echo \"ended with $?\"\n");
    terminal.wait_for("ended with 0");
    terminal.press("exit\n");
    assert_eq!(terminal.exit_code(), Some(0));
    assert_eq!(signals_in_the_journal(&stage), [18], "SIGCONT, once");
}

/// A run that cannot end before the clock is accelerated a hundredfold.
fn slow(stage: &Stage) {
    stage.set(Set::SetTimings(Timings::all(600.0)));
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap()
}

#[test]
fn a_new_size_of_the_terminal_reaches_the_runner_once() {
    let stage = Stage::acme().misbehave("hang");
    let mut terminal = Terminal::start(&stage, &stage.bare_command("run"));
    wait_until("the runner has launched", || stage.sim.requests_for("RunJobFlow").len() == 1);
    for (columns, signals) in [("100", vec![28]), ("120", vec![28, 28])] {
        let resized = hermetic_command("stty")
            .arg("-F")
            .arg(&terminal.device)
            .args(["cols", columns])
            .status()
            .unwrap();
        assert!(resized.success());
        wait_until("the runner knows", || signals_in_the_journal(&stage) == signals);
    }
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130));
    assert_eq!(signals_in_the_journal(&stage), [28, 28, 2]);
}

#[test]
fn a_command_that_launches_nothing_gets_ctrl_c_from_the_terminal_alone() {
    let stage = Stage::acme().scripted(
        "trap 'echo interrupted >> signals; exit 130' INT\n: > ready\nwhile :; do sleep 0.05; done",
    );
    stage.command("run");
    let mut command = hermetic_command(&programs().guard);
    command.args(["run", "--", "lint", "resolver", "--resolver", "resolver.json"]);
    let mut terminal = Terminal::start(&stage, &command);
    wait_until("the runner is ready", || stage.path("ready").exists());
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130), "{}", terminal.shown());
    assert_eq!(std::fs::read_to_string(stage.path("signals")).unwrap(), "interrupted\n");
}

//! The guard as an init: orphans are reaped, as PID 1 and elsewhere, the runner's exit status is
//! kept, and the runner never outlives the guard.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::support::{Played, Stage, hermetic_command, runner_pid, wait_until};

/// Leaves orphans behind, waits until the last of them is reaped, and ends with 3. Its parameters
/// are in the environment.
///
/// A zombie still has its name in /proc.
const THOUSAND_ORPHANS: &str = r#"cat > /dev/null
named() { grep -slx "Name:.$ORPHAN" /proc/[0-9]*/status; }
(./$ORPHAN 600 & echo $! > long)
read long < long
until grep -qx "PPid:.$PPID" /proc/$long/status; do :; done
echo "$PPID" > guard
kill $long
i=0
while [ $i -lt 1000 ]; do
    (./$ORPHAN 0.0$((i % 7)) &)
    i=$((i + 1))
done
while [ -n "$(named)" ]; do
    [ -e give-up ] && exit 9
    sleep 0.05
done
exit 3"#;

/// The same command in a pid namespace of its own, as its PID 1.
///
/// Where the system forbids that, `unshare` reports it on standard error, and the test fails with
/// that message.
fn as_pid_1(stage: &Stage, command: &Command) -> Command {
    let mut wrapped = hermetic_command("unshare");
    wrapped.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !geteuid().is_root() {
        wrapped.args(["--user", "--map-root-user"]);
    }
    wrapped.arg("--").arg(command.get_program()).args(command.get_args());
    stage.prepare(&mut wrapped);
    wrapped
}

/// Runs the thousand orphans under `command`; returns the guard's pid as the runner saw it.
fn play_orphans(name: &str, wrap: impl Fn(&Stage, Command) -> Command) -> (Played, String) {
    let stage = Stage::acme().scripted(THOUSAND_ORPHANS).env("ORPHAN", name);
    std::os::unix::fs::symlink("/bin/sleep", stage.path(name)).unwrap();
    let child =
        wrap(&stage, stage.bare_command("run")).spawn().expect("unshare (util-linux) is there");
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let give_up = stage.path("give-up");
    let watchdog = std::thread::spawn(move || {
        if finished.recv_timeout(Duration::from_secs(45)).is_err() {
            let _ = std::fs::write(give_up, "");
        }
    });
    let played = stage.finish(child);
    let _ = done.send(());
    watchdog.join().unwrap();
    let guard = std::fs::read_to_string(stage.path("guard")).unwrap_or_default();
    (played, guard.trim().to_owned())
}

#[test]
fn as_pid_1_a_thousand_orphans_leave_no_zombie_and_the_code_is_the_runners() {
    let (played, guard) = play_orphans("orphan-1", |stage, command| as_pid_1(stage, &command));
    played.expect_code(3);
    assert_eq!(guard, "1");
    assert_eq!(played.stderr, "");
}

#[test]
fn elsewhere_orphans_come_to_the_guard_too_and_leave_no_zombie() {
    let (played, guard) = play_orphans("orphan-n", |_, command| command);
    played.expect_code(3);
    assert_ne!(guard, "1");
    assert_eq!(played.stderr, "");
}

#[test]
fn orphans_that_end_together_with_the_runner_are_reaped_and_its_code_is_kept() {
    // All end at one moment, when the last writer of the pipe is gone; one more holds the output
    // open, so that the guard is still running when it is checked.
    let script = "cat > /dev/null\nmkfifo gate\nexec 9<> gate\ni=0\n\
        while [ $i -lt 50 ]; do ({ echo >> ready; read x; } < gate 9>&- &) ; i=$((i + 1)); done\n\
        (sleep 600 9>&- & echo $! > last)\nwhile [ $(wc -l < ready) -lt 50 ]; do sleep 0.01; \
        done\nexit 3";
    let stage = Stage::acme().scripted(script);
    let child = stage.command("run").spawn().unwrap();
    let last = || std::fs::read_to_string(stage.path("last")).ok()?.trim().parse::<i32>().ok();
    wait_until("the last orphan is the guard's only child", || {
        last().is_some_and(|last| children(child.id()) == [last])
    });
    kill(Pid::from_raw(last().unwrap()), Signal::SIGKILL).unwrap();
    stage.finish(child).expect_code(3);
}

/// The children of a process, zombies included.
fn children(parent: u32) -> Vec<i32> {
    let parent = format!("PPid:\t{parent}");
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let of_parent = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| status.lines().any(|line| line == parent))
    };
    all.filter(of_parent).collect()
}

#[test]
fn as_pid_1_a_stop_reaches_the_runner() {
    let stage = Stage::acme().scripted(
        "cat > /dev/null\ntrap 'exit 143' TERM\nkill -TERM $PPID\nwhile :; do sleep 0.05; done",
    );
    let command = stage.bare_command("run");
    let started = Instant::now();
    stage.play(as_pid_1(&stage, &command)).expect_code(143);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn as_pid_1_a_good_run_ends_with_0() {
    let stage = Stage::acme();
    let command = stage.bare_command("run");
    let played = stage.play(as_pid_1(&stage, &command));
    played.expect_code(0);
    assert_eq!(played.stderr, "");
}

#[test]
fn the_runner_dies_with_a_guard_that_is_killed() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = stage.command("run").spawn().unwrap();
    wait_until("the runner has launched", || stage.sim.requests_for("RunJobFlow").len() == 1);
    let runner = runner_pid(&stage);
    assert!(is_running(runner));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the runner is dead", || !is_running(runner));
}

/// Whether a process runs; a zombie, which waits to be reaped, does not.
fn is_running(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

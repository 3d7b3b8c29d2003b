//! Signals to the guard reach the runner, and a stop works at every moment of a run.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use emr_simulator::{ClusterState, Command as Set, Fault, FaultKind};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Played, Stage, hermetic_command, runner_pid, wait_until};

fn send(child: &std::process::Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn a_stop_reaches_the_runner_whose_code_passes_and_a_verified_cluster_goes_on() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let stage = Stage::acme().misbehave("hang");
        stage.set(Set::SetTimings(emr_simulator::Timings::all(3600.0)));
        let child = stage.command("run").spawn().unwrap();
        let judged = stage.sim.wait_for_request(
            |request| {
                request.operation() == "ListSteps"
                    && request.access_key.as_deref() == Some("AKIAGUARD")
            },
            Duration::from_secs(120),
        );
        assert!(judged.is_some());
        send(&child, signal);
        let played = stage.finish(child);
        played.expect_code(code);
        assert!(played.journal.iter().any(|entry| entry["event"] == "signal"), "the runner got it");
        let id = &played.clusters()[0];
        assert!(
            stage
                .sim
                .with_world(|world| world.cluster(id).unwrap().state == ClusterState::Starting)
        );
    }
}

#[test]
fn a_stop_during_pre_flight_launches_nothing() {
    let stage = Stage::acme();
    stage.set(Set::AddFault(Fault::every("DescribeSecurityConfiguration", FaultKind::Hang)));
    let child = stage.command("run").spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "DescribeSecurityConfiguration",
                Duration::from_secs(120)
            )
            .is_some()
    );
    send(&child, Signal::SIGTERM);
    let played = stage.finish(child);
    played.expect_code(143);
    assert!(!played.runner_started());
    assert_eq!(played.stderr, "emr-etl-guard: stopped by SIGTERM before anything was launched\n");
}

#[test]
fn a_stop_while_the_config_is_awaited_on_standard_input() {
    let stage = Stage::acme().argument("-c").argument("-");
    let mut command = stage.command("run");
    command.stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Kept open: the config never arrives.
    let stdin = child.stdin.take();
    let status = format!("/proc/{}/status", child.id());
    // Once the handler is installed, the kernel shows SIGTERM (15) as caught.
    let catches = || {
        let text = std::fs::read_to_string(&status).unwrap();
        let mask =
            text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&mask, 16).unwrap() >> 14 & 1 == 1
    };
    while !catches() {
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&child, Signal::SIGTERM);
    stage.finish(child).expect_code(143);
    drop(stdin);
}

#[test]
fn a_stop_while_the_launch_is_in_flight_finds_the_cluster_that_nobody_printed() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    // The cluster exists, but the runner never gets the response.
    stage.set(Set::AddFault(Fault::every("RunJobFlow", FaultKind::AppliedThenHang)));
    // A search so rare that only the one after the stop can find it.
    let stage =
        stage.env("EMR_ETL_GUARD_WATCH_INTERVAL", "3s").env("EMR_ETL_GUARD_STOP_TIMEOUT", "15s");
    let child = stage.command("run").spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "RunJobFlow",
                Duration::from_secs(120)
            )
            .is_some()
    );
    send(&child, Signal::SIGTERM);
    let played = stage.finish(child);
    played.expect_code(76);
    assert_eq!(played.clusters().len(), 1);
    assert!(
        played
            .unbroken()
            .contains("cluster-security-configuration: seen no security configuration"),
        "{}",
        played.stderr
    );
}

#[test]
fn a_second_stop_kills_a_runner_that_ignores_the_first() {
    let stage =
        Stage::acme().misbehave("ignore-sigterm,hang").env("EMR_ETL_GUARD_STOP_TIMEOUT", "50s");
    let child = stage.command("run").spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "RunJobFlow",
                Duration::from_secs(120)
            )
            .is_some()
    );
    send(&child, Signal::SIGTERM);
    // The second may only be sent once the runner has received the first: its journal shows when.
    let journal = stage.path("journal.jsonl");
    while !std::fs::read_to_string(&journal).unwrap_or_default().contains("\"signal\"") {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The test does not wait for the 50 s search after the stop; the death of the runner is what
    // counts. A signal directly after the first counts as its duplicate.
    let runner = runner_pid(&stage);
    wait_until("the runner is dead", || {
        send(&child, Signal::SIGTERM);
        kill(runner, None).is_err()
    });
    let mut child = child;
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_stop_is_heard_while_something_the_runner_left_behind_holds_its_output_open() {
    // A runner that only leaves a sleeping process behind, in its own process group.
    let stage = Stage::acme().scripted("cat > /dev/null\nsleep 600 &\necho $$ > left\nexit 3");
    let child = stage.command("run").spawn().unwrap();
    // The runner itself must have ended and been reaped, or the signal would end it.
    let runner = || std::fs::read_to_string(stage.path("left")).ok()?.trim().parse().ok();
    let alive = |pid: i32| kill(Pid::from_raw(pid), None).is_ok();
    while runner().is_none_or(alive) {
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&child, Signal::SIGTERM);
    stage.finish(child).expect_code(3);
}

#[test]
fn a_second_stop_kills_grandchildren_too() {
    // Runner, child and grandchild all ignore the requests to stop.
    let stage = Stage::acme().env("EMR_ETL_GUARD_STOP_TIMEOUT", "50s").scripted(
        "cat > /dev/null\ntrap '' TERM\nsh -c 'sleep 600 & echo $! > grandchild; : > \
            ready; wait' &\nwait\nwait\nexit 3",
    );
    let mut child = stage.command("run").spawn().unwrap();
    wait_until("the grandchild is there", || stage.path("ready").exists());
    let grandchild =
        std::fs::read_to_string(stage.path("grandchild")).unwrap().trim().parse().unwrap();
    wait_until("the grandchild is dead", || {
        send(&child, Signal::SIGTERM);
        kill(Pid::from_raw(grandchild), None).is_err()
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn timeout_which_signals_the_guard_twice_stops_it_once() {
    let script = "cat > /dev/null\ntrap 'echo got >> signals; exit 143' TERM\n: > ready\nwhile :; \
        do sleep 0.05; done";
    let stage = Stage::acme().scripted(script);
    let command = stage.bare_command("run");
    let mut timeout = hermetic_command("timeout");
    // The limit applies only without a signal of its own.
    timeout.args(["--signal=TERM", "60"]).arg(command.get_program()).args(command.get_args());
    stage.prepare(&mut timeout);
    let child = timeout.spawn().unwrap();
    wait_until("the runner is ready", || stage.path("ready").exists());
    // It treats this signal like the end of its time limit.
    send(&child, Signal::SIGTERM);
    stage.finish(child).expect_code(143);
    assert_eq!(std::fs::read_to_string(stage.path("signals")).unwrap(), "got\n");
}

/// The same command under a parent that changed SIGCHLD with `option` of env(1).
fn with_sigchld(stage: &Stage, option: &str, command: &std::process::Command) -> Played {
    let mut wrapped = hermetic_command("env");
    wrapped.arg(option).arg(command.get_program()).args(command.get_args());
    stage.prepare(&mut wrapped);
    stage.play(wrapped)
}

const IGNORED: &str = "--ignore-signal=CHLD";
const BLOCKED: &str = "--block-signal=CHLD";

#[test]
fn a_parent_that_ignores_or_blocks_the_ends_of_its_children_costs_no_exit_code() {
    for option in [IGNORED, BLOCKED] {
        let stage = Stage::acme().scripted("cat > /dev/null\nexit 3");
        with_sigchld(&stage, option, &stage.bare_command("run")).expect_code(3);
    }
}

#[test]
fn a_parent_that_ignores_or_blocks_the_ends_of_its_children_leaves_no_orphan_unreaped() {
    // The runner ends with 3 once its orphan is gone from /proc, which needs the guard's reaping.
    let script = "cat > /dev/null\n(sleep 0 & echo $! > orphan)\nread orphan < orphan\ni=0\n\
        while [ -e /proc/$orphan ]; do [ $i -lt 500 ] || exit 9; i=$((i + 1)); sleep 0.02; \
        done\nexit 3";
    for option in [IGNORED, BLOCKED] {
        let stage = Stage::acme().scripted(script);
        with_sigchld(&stage, option, &stage.bare_command("run")).expect_code(3);
    }
}

#[test]
fn a_parent_that_ignores_or_blocks_the_ends_of_its_children_does_not_keep_ruby_from_rendering() {
    for option in [IGNORED, BLOCKED] {
        let stage = Stage::acme();
        // A Ruby without any ERB to render.
        stage.program(
            "ruby",
            "#!/bin/sh\ncat > text\ncat text\nprintf '\\000rendered %d 0 0' \"$(wc -c < text)\"\n",
        );
        let path = format!("{}:/usr/bin:/bin", stage.folder.path().display());
        let stage = stage.env("PATH", &path).env("EMR_ETL_GUARD_ERB", "ruby");
        let played = with_sigchld(&stage, option, &stage.bare_command("seal"));
        played.expect_code(0);
        let sealed = "\"security_configuration\": \"acme-sc\"";
        assert!(played.stdout.contains(sealed), "{}", played.stdout);
    }
}

//! The ownership of clusters: which ones the guard may terminate, and which ones it must not
//! forget.

use std::time::Duration;

use emr_simulator::{
    Calls, ClusterState, Command as Set, Fault, FaultKind, Hook, Moment, StartCluster, StartState,
    Timings,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Stage, programs, under_way, wait_until};

const THREE_DAYS: f64 = 3.0 * 86_400.0;

fn state(stage: &Stage, id: &str) -> ClusterState {
    stage.sim.with_world(|world| world.cluster(id).unwrap().state)
}

/// A cluster with the run's name and without any encryption.
fn theirs(more: &serde_json::Value, age_seconds: f64) -> StartCluster {
    let mut request = json!({"Name": "Snowplow \
        ETL", "ReleaseLabel": "emr-5.29.0", "Instances": {"KeepJobFlowAliveWhenNoSteps": true, "TerminationProtected": true}});
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    StartCluster {
        id: Some("j-THEIRS".to_owned()),
        state: StartState::Waiting,
        age_seconds,
        request,
        ..StartCluster::default()
    }
}

#[test]
fn a_line_of_the_log_gives_no_right_to_end_an_old_cluster_of_the_same_name() {
    let stage = Stage::acme().misbehave("forge-id=j-THEIRS");
    stage.set(Set::StartCluster(theirs(&json!({}), THREE_DAYS)));
    let played = stage.run();
    played.expect_code(0);
    assert!(played.stdout.contains("EMR jobflow j-THEIRS"), "the line was printed");
    assert_eq!(state(&stage, "j-THEIRS"), ClusterState::Waiting);
    for call in ["TerminateJobFlows", "SetTerminationProtection"] {
        assert_eq!(stage.by_guard(call), 0, "{call}");
    }
}

#[test]
fn a_cluster_of_the_same_name_with_another_runs_tag_is_not_this_runs_even_in_persistent_mode() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    let tag = json!({"Tags": [{"Key": "emr-etl-guard-run", "Value": "another"}]});
    stage.set(Set::AddHook(Hook {
        calls: Calls::Nth(1),
        when: Moment::Reply,
        ..Hook::after_first("RunJobFlow", vec![Set::StartCluster(theirs(&tag, 0.0))])
    }));
    let played = stage.run();
    played.expect_code(0);
    assert!(!played.clusters().contains(&"j-THEIRS".to_owned()));
    assert_eq!(state(&stage, "j-THEIRS"), ClusterState::Waiting);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
}

#[test]
fn a_run_that_was_stopped_in_the_middle_of_its_launch_stays_open_until_that_can_take_no_effect() {
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_WATCH_INTERVAL", "3s")
        .env("EMR_ETL_GUARD_STOP_TIMEOUT", "2s");
    stage.set(Set::AddFault(Fault::every("RunJobFlow", FaultKind::Hang)));
    let child = stage.command("run").spawn().unwrap();
    let asked = stage
        .sim
        .wait_for_request(|request| request.operation() == "RunJobFlow", Duration::from_secs(120));
    assert!(asked.is_some());
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(143);
    let said = played.stderr.replace("\n  ", " ");
    assert!(said.contains("a request of the runner may still start a cluster"), "{said}");
    assert!(said.contains(" the run stays open; the next start continues"), "{said}");

    // It does start one after the guard has ended, and without encryption.
    stage.set(Set::ClearFaults);
    let journals = std::fs::read_dir(stage.path("state/runs")).unwrap().flatten();
    let run = journals.map(|journal| journal.path()).next().expect("the run is open");
    let run = run.file_stem().unwrap().to_str().unwrap().to_owned();
    let tag = json!({"Tags": [{"Key": "emr-etl-guard-run", "Value": run}]});
    stage.set(Set::StartCluster(theirs(&tag, 0.0)));
    let stage = stage.env("EMR_ETL_GUARD_WATCH_INTERVAL", "30ms");
    stage.play(stage.watch_resume()).expect_code(76);
    assert_eq!(state(&stage, "j-THEIRS"), ClusterState::Terminated);
    assert_eq!(std::fs::read_dir(stage.path("state/runs")).unwrap().count(), 0, "it is closed");
}

#[test]
fn a_run_that_is_closed_later_is_not_confirmed_where_its_volumes_were_never_seen() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = under_way(&stage);
    child.kill().unwrap();
    child.wait().unwrap();
    // It ends before the next poll, and so do its instances.
    stage.set(Set::Advance(emr_simulator::Advance { seconds: 500_000.0 }));
    let played = stage.play(stage.watch_resume());
    played.expect_code(75);
    assert!(played.stderr.contains("cluster-volumes"), "{}", played.stderr);
    assert!(!played.stdout.contains("was what was verified;"), "{}", played.stdout);
    assert_eq!(std::fs::read_dir(stage.path("state/runs")).unwrap().count(), 0, "told once");
    stage.play(stage.watch_resume()).expect_code(0);
}

/// A runner that ends as `end` says, and leaves a detached child process: on a signal that launches
/// a cluster without encryption, as a wrapper's forgotten job would.
fn leaving_a_launcher(end: &str) -> Stage {
    let runner = programs().runner.display().to_string();
    let launch = "i=0; while [ ! -e go ] && [ $i -lt 1500 ]; do i=$((i + 1)); sleep 0.02; done; [ \
        -e go ] && exec \"$@\" < sealed";
    let stage = Stage::acme().misbehave("drop-security-configuration").scripted(&format!(
        "cat > sealed\nsetsid sh -c '{launch}' sh '{runner}' \"$@\" > /dev/null 2>&1 &\necho $! > \
         child\necho $$ > left\n{end}"
    ));
    stage.set(Set::SetTimings(Timings { terminating: 6.0, ..Timings::all(3600.0) }));
    stage
}

/// Whether the process with the pid in this file exists.
fn lives(stage: &Stage, file: &str) -> bool {
    let pid =
        std::fs::read_to_string(stage.path(file)).ok().and_then(|pid| pid.trim().parse().ok());
    pid.is_none_or(|pid| kill(Pid::from_raw(pid), None).is_ok())
}

#[test]
fn what_a_detached_child_launches_after_the_runners_end_is_this_runs_however_that_ended() {
    for end in ["exit 1", "exit 0", "kill -9 $$"] {
        let stage = leaving_a_launcher(end).env("EMR_ETL_GUARD_STOP_TIMEOUT", "50s");
        let mut child = stage.command("run").spawn().unwrap();
        wait_until("the runner's end", || !lives(&stage, "left"));
        let before = stage.by_guard("ListClusters");
        // A guard that does not wait for the child would be gone after some polls.
        wait_until("more looks than the last ones", || {
            stage.by_guard("ListClusters") > before + 12 || child.try_wait().unwrap().is_some()
        });
        stage.write("go", "");
        let played = stage.finish(child);
        played.expect_code(76);
        assert_eq!(played.clusters().len(), 1, "{end}");
        assert_eq!(state(&stage, &played.clusters()[0]), ClusterState::Terminated);
        assert!(!lives(&stage, "child"), "{end}: nothing is left that could launch another");
    }
}

#[test]
fn what_a_runner_leaves_behind_is_ended_when_its_time_is_over_and_only_then_the_run_is_closed() {
    let stage = leaving_a_launcher("exit 1");
    let played = stage.run();
    played.expect_code(1);
    assert!(!lives(&stage, "child"));
    assert_eq!(stage.sim.requests_for("RunJobFlow").len(), 0);
    let ended = " processes that the runner had left running";
    assert!(played.stdout.contains(ended), "{}", played.stdout);
    assert_eq!(std::fs::read_dir(stage.path("state/runs")).unwrap().count(), 0, "it is closed");
}

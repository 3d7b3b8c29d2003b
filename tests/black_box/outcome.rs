//! The messages at the end follow from the outcome and from the facts on each cluster: a live
//! unsafe cluster needs action, with a command that works unchanged; after a stop or an unconfirmed
//! end, one line lists the clusters that continue and who owns them.

use std::time::Duration;

use emr_simulator::{
    ClusterState, Command as Set, Fault, FaultKind, Hook, NextCluster, Sse, Termination, Timings,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{
    Played, Stage, hermetic_command, isolated_guard, runner_pid, under_way, under_way_for,
};

const END_IT: &str = "aws emr modify-cluster-attributes --region eu-west-1 --cluster-id j-ID \
    --no-termination-protected; aws emr terminate-clusters --region eu-west-1 --cluster-ids j-ID";
const FORMS: [&str; 6] = ["html", "markdown", "junit", "asff", "sarif", "ocsf"];

/// Each format of the run's report, with the ids of clusters redacted.
fn forms(stage: &Stage, played: &Played) -> Vec<(&'static str, String)> {
    let made = FORMS.map(|form| {
        let output = isolated_guard()
            .args(["report", form, "report.json"])
            .current_dir(stage.folder.path())
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{form}: {}", String::from_utf8_lossy(&output.stderr));
        (form, played.redact(&String::from_utf8(output.stdout).unwrap()))
    });
    made.into()
}

/// The guard's own lines on standard error.
fn said(played: &Played) -> Vec<String> {
    let whole = played.unbroken();
    let own = whole.lines().filter(|line| line.starts_with("emr-etl-guard: "));
    own.map(|line| played.redact(line).replace(IN_FLIGHT, "")).collect()
}

/// A run whose cluster has no security configuration, with this reaction to its termination.
fn unsafe_cluster(termination: Termination) -> Stage {
    let stage =
        Stage::acme().misbehave("drop-security-configuration").option("--termination-timeout=1s");
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    stage.set(Set::SetNextCluster(NextCluster { termination, ..NextCluster::default() }));
    stage
}

#[test]
fn a_live_unsafe_cluster_is_a_call_to_act_in_the_first_line_and_in_every_form_of_the_report() {
    for termination in [Termination::Stuck, Termination::Refused] {
        let stage = unsafe_cluster(termination);
        let played = stage.run();
        played.expect_code(71);
        let call = format!("cluster j-ID is UNSAFE and MAY STILL BE RUNNING: end it now: {END_IT}");
        assert_eq!(
            played.redact(played.stderr.lines().next().unwrap()),
            format!("emr-etl-guard: ACT NOW: {call}")
        );
        let cluster = &played.report["watched"]["clusters"][0];
        assert_eq!(played.redact(cluster["remediation"].as_str().unwrap()), END_IT);
        for (form, text) in forms(&stage, &played) {
            assert!(text.contains(END_IT), "{form}: {text}");
            assert!(!text.contains("is terminated"), "{form}: {text}");
            assert!(!text.contains("terminated by the guard"), "{form}: {text}");
        }
    }
}

#[test]
fn an_unsafe_cluster_that_is_over_needs_no_command_and_its_first_line_says_that_it_is_over() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    let played = stage.run();
    played.expect_code(76);
    let first = played.redact(played.stderr.lines().next().unwrap());
    assert!(
        first.starts_with(
            "emr-etl-guard: UNSAFE: cluster j-ID was unsafe; its end is confirmed; \
             cluster-security-configuration"
        ),
        "{first}"
    );
    let watched = played.report["watched"].to_string();
    assert!(played.report["watched"]["clusters"][0].get("remediation").is_none());
    assert!(!watched.contains("is terminated"), "{watched}");
    for (form, text) in forms(&stage, &played) {
        assert!(!text.contains("--cluster-ids j-"), "{form}: {text}");
    }
}

#[test]
fn the_command_does_as_pasted_into_a_shell_what_ends_the_cluster() {
    let stage = unsafe_cluster(Termination::Stuck);
    let played = stage.run();
    played.expect_code(71);
    let id = &played.clusters()[0];
    let (_, command) = played.stderr.lines().next().unwrap().split_once("end it now: ").unwrap();
    stage.program("aws", "#!/bin/sh\nprintf '%s\\n' \"$*\" >> asked\n");
    let path = format!("{}:/usr/bin:/bin", stage.folder.path().display());
    let status = hermetic_command("sh")
        .args(["-c", command])
        .current_dir(stage.folder.path())
        .env("PATH", path)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        std::fs::read_to_string(stage.path("asked")).unwrap(),
        format!(
            "emr modify-cluster-attributes --region eu-west-1 --cluster-id {id} \
             --no-termination-protected\nemr terminate-clusters --region eu-west-1 --cluster-ids \
             {id}\n"
        )
    );
}

#[test]
fn a_cluster_that_wrote_unencrypted_objects_and_may_live_is_a_call_to_act_too() {
    let stage = Stage::acme()
        .argument("--use-persistent-jobflow")
        .option("--on-unencrypted=unsafe")
        .option("--termination-timeout=1s");
    stage.set(Set::SetNextCluster(NextCluster {
        objects: Some(Sse::None),
        termination: Termination::Stuck,
        ..NextCluster::default()
    }));
    let played = stage.run();
    played.expect_code(71);
    let first = played.redact(played.stderr.lines().next().unwrap());
    assert_eq!(
        first,
        format!(
            "emr-etl-guard: ACT NOW: cluster j-ID is UNSAFE, because the run wrote objects that \
             are not encrypted as required, and MAY STILL BE RUNNING: end it now: {END_IT}"
        )
    );
    for (form, text) in forms(&stage, &played) {
        assert!(text.contains(END_IT), "{form}: {text}");
    }
}

#[test]
fn of_a_cluster_that_the_guard_may_not_end_nobody_reads_that_the_guard_ended_it() {
    let stage = Stage::acme()
        .argument("--use-persistent-jobflow")
        .misbehave("drop-flag=3")
        .option("--terminate-adopted=false")
        .option("--termination-timeout=1s");
    stage.set(crate::good_runs::waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    let played = stage.run();
    played.expect_code(71);
    assert!(played.stderr.lines().next().unwrap().contains("end it now: aws emr "));
    let why = "it was there before the run, and the guard may not end it";
    assert!(played.stderr.contains(why), "{}", played.stderr);
    assert!(!played.stdout.contains("being terminated"), "{}", played.stdout);
    for (form, text) in forms(&stage, &played) {
        assert!(text.contains(END_IT), "{form}: {text}");
        assert!(!text.contains("EMR accepted"), "{form}: {text}");
    }
    let (_, page) = forms(&stage, &played).remove(0);
    assert!(page.contains("the guard did not ask for its end"), "{page}");
    let (_, page) = {
        let stage = unsafe_cluster(Termination::Stuck);
        let played = stage.run();
        forms(&stage, &played).remove(0)
    };
    assert!(page.contains("EMR accepted its termination, but "), "{page}");
}

/// The reasons for which a stopped run stays open. They include that the runner may have requested
/// a cluster just before, unless the time for that is over.
const STAYS_OPEN: &str = " the run stays open; the next start continues from here, or: fix: \
    emr-etl-guard watch --resume";
const IN_FLIGHT: &str = "; a request of the runner may still start a cluster";

/// The guard's own paragraphs on standard error, each joined to one line, because a first line may
/// be broken.
fn paragraphs(played: &Played) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in played.stderr.lines() {
        if line.starts_with("emr-etl-guard: ") {
            all.push(line.to_owned());
        } else if let (Some(rest), Some(last)) = (line.strip_prefix("  "), all.last_mut()) {
            last.push(' ');
            last.push_str(rest);
        }
    }
    all.iter().map(|it| played.redact(it).replace(IN_FLIGHT, "")).collect()
}

fn send(child: &std::process::Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn after_a_stop_by_any_signal_one_line_tells_that_the_runs_cluster_goes_on() {
    // A JVM answers SIGQUIT with a thread dump and continues, and so does the stand-in.
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        for quiet in [false, true] {
            let mut stage = Stage::acme().misbehave("hang");
            if quiet {
                stage = stage.option("--quiet");
            }
            let child = under_way(&stage);
            send(&child, signal);
            let played = stage.finish(child);
            played.expect_code(code);
            assert_eq!(
                paragraphs(&played),
                [format!(
                    "emr-etl-guard: stopped by {signal}: cluster j-ID, which this run started, \
                     goes on (STARTING when last seen){STAYS_OPEN} fix: {END_IT}    # only if \
                     j-ID is not needed"
                )],
                "{signal}"
            );
        }
    }
}

#[test]
fn after_a_stop_a_cluster_that_was_there_before_is_told_as_such() {
    let stage = Stage::acme().argument("--use-persistent-jobflow").misbehave("hang");
    stage.set(crate::good_runs::waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    let child = stage.command("run").spawn().unwrap();
    let at_work = |request: &emr_simulator::Recorded| request.operation() == "AddJobFlowSteps";
    assert!(stage.sim.wait_for_request(at_work, Duration::from_secs(120)).is_some());
    send(&child, Signal::SIGTERM);
    let played = stage.finish(child);
    let said = paragraphs(&played);
    let last = said.last().unwrap();
    assert!(
        last.starts_with(
            "emr-etl-guard: stopped by SIGTERM: cluster j-ID, which was there before this run, \
             goes on ("
        ),
        "{said:?}"
    );
    assert!(!last.contains("terminate-clusters"), "it is not this run's to end: {last}");
}

#[test]
fn after_a_stop_that_ends_the_cluster_one_line_tells_whether_its_end_is_confirmed() {
    let told = |terminating: f64| {
        // A request that was sent just before the stop may take effect for 24 intervals; even a
        // busy machine must finish within them.
        let stage = Stage::acme()
            .misbehave("hang")
            .option("--on-stop=terminate")
            .env("EMR_ETL_GUARD_WATCH_INTERVAL", "1s");
        let child = under_way_for(&stage, Timings { terminating, ..Timings::all(3600.0) });
        send(&child, Signal::SIGTERM);
        let played = stage.finish(child);
        played.expect_code(143);
        let said = paragraphs(&played);
        assert_eq!(said.len(), 1, "{said:?}");
        (said[0].clone(), played.stdout)
    };
    let (line, log) = told(0.1);
    let over = "emr-etl-guard: stopped by SIGTERM: no cluster continues: j-ID, which this run \
        started, is over";
    assert_eq!(line, format!("{over}{STAYS_OPEN}"));
    assert!(log.contains("; it was terminated, because the run was stopped\n"), "{log}");
    let (line, log) = told(3600.0);
    let begin = "emr-etl-guard: stopped by SIGTERM: cluster j-ID, which this run started, was \
        asked to terminate, but its end is not confirmed (";
    assert!(line.starts_with(begin) && line.contains(END_IT), "{line}");
    assert!(!log.contains("it was terminated"), "{log}");
}

#[test]
fn after_a_stop_before_there_is_a_cluster_one_line_tells_that_none_is_known() {
    // After a runner that ends by itself, the watch waits until none of its requests can take
    // effect any more: six intervals. After a stop it is 24; even a busy machine must finish within
    // them.
    for (signal, interval, open) in
        [(Signal::SIGTERM, "1s", STAYS_OPEN), (Signal::SIGQUIT, "30ms", "")]
    {
        let stage = Stage::acme()
            .scripted("cat > /dev/null\necho > ready\nexec sleep 600")
            .env("EMR_ETL_GUARD_WATCH_INTERVAL", interval);
        let child = stage.command("run").spawn().unwrap();
        crate::support::wait_until("the runner is ready", || stage.path("ready").exists());
        send(&child, signal);
        let played = stage.finish(child);
        let cause = match signal {
            Signal::SIGTERM => "stopped by SIGTERM",
            _ => "the runner was ended by SIGQUIT",
        };
        assert_eq!(
            paragraphs(&played),
            [format!("emr-etl-guard: {cause}: no cluster of this run is known{open}")],
            "{signal}"
        );
    }
}

#[test]
fn after_a_stop_while_an_earlier_run_is_being_closed_its_clusters_are_named() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = under_way(&stage);
    let journals = || std::fs::read_dir(stage.path("state/runs")).into_iter().flatten().flatten();
    crate::support::wait_until("the cluster is in the journal", || {
        journals().any(|file| std::fs::read_to_string(file.path()).unwrap().contains("\"j-"))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    stage.set(Set::AddFault(Fault::every("DescribeCluster", FaultKind::Hang)));
    let before = stage.sim.requests().len();
    let closing = stage.watch_resume().spawn().unwrap();
    crate::support::wait_until("the clusters are searched for", || {
        let requests = stage.sim.requests();
        requests[before..].iter().any(|request| request.operation() == "ListClusters")
    });
    send(&closing, Signal::SIGTERM);
    let played = stage.finish(closing);
    played.expect_code(143);
    assert_eq!(
        said(&played),
        [
            "emr-etl-guard: stopped by SIGTERM: run RUN-ID, which was left open, stays open: it \
             knows of j-ID, which may continue",
            "emr-etl-guard: stopped by SIGTERM before anything was launched"
        ]
    );
}

#[test]
fn what_a_refusal_says_of_ending_a_cluster_names_the_region_too() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(crate::good_runs::waiting_cluster(&json!({})));
    let played = stage.run();
    played.expect_code(77);
    let command = "aws emr terminate-clusters --region eu-west-1 --cluster-ids j-WAITING";
    assert!(played.stderr.contains(command), "{}", played.stderr);
}

#[test]
fn a_runner_that_a_signal_ends_is_a_stop_too() {
    // The cluster's instances are awaited for the time limit of an evaluation.
    let stage = Stage::acme().misbehave("hang").env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s");
    let child = under_way(&stage);
    kill(runner_pid(&stage), Signal::SIGKILL).unwrap();
    let played = stage.finish(child);
    let said = paragraphs(&played);
    let last = said.last().unwrap();
    assert!(
        last.starts_with(
            "emr-etl-guard: the runner was ended by SIGKILL: cluster j-ID, which this run \
             started, continues, and nothing waits for it"
        ),
        "{said:?}"
    );
    assert!(
        last.contains("aws emr terminate-clusters --region eu-west-1 --cluster-ids j-ID"),
        "{said:?}"
    );
    assert!(!played.stdout.contains("goes on"), "told once: {}", played.stdout);
}

#[test]
fn an_end_that_is_not_confirmed_tells_what_is_known_of_clusters() {
    let stage = Stage::acme().scripted("cat > /dev/null\nexit 0");
    let played = stage.run();
    played.expect_code(75);
    let last = played.stderr.lines().last().unwrap();
    assert_eq!(last, "  no cluster of this run is known");

    let stage = Stage::acme();
    stage.set(Set::SetNextCluster(NextCluster {
        objects: Some(Sse::None),
        ..NextCluster::default()
    }));
    let played = stage.run();
    played.expect_code(75);
    let last = played.redact(played.stderr.lines().last().unwrap());
    assert!(
        last == "  no cluster continues: j-ID, which this run started, is over"
            || last == "  no cluster continues: j-ID, which this run started, is TERMINATING",
        "{last}"
    );
}

/// A run whose runner is killed during the first step, which has written nothing yet.
fn nothing_written(stage: &Stage) -> Played {
    let long = Timings { starting: 0.0, bootstrapping: 0.0, ..Timings::all(3600.0) };
    stage.set(Set::SetTimings(long));
    let child = stage.command("run").spawn().unwrap();
    let is_running = |cluster: &emr_simulator::Cluster| cluster.state == ClusterState::Running;
    crate::support::wait_until("a step is at work", || {
        stage.sim.with_world(|world| world.clusters.iter().any(is_running))
    });
    kill(runner_pid(stage), Signal::SIGKILL).unwrap();
    stage.finish(child)
}

#[test]
fn where_nothing_was_written_that_is_said_and_not_that_nothing_is_encrypted() {
    let told = |stage: &Stage, begin: &str| {
        let played = nothing_written(stage);
        assert!(!played.stdout.contains("0 objects"), "{}", played.stdout);
        let last = played.stdout.lines().last().unwrap();
        assert!(last.starts_with(&format!("emr-etl-guard: {begin}: ")), "{}", played.transcript());
    };
    told(&Stage::acme().misbehave("hang"), "nothing was written");
    // If access is denied, the sentence is different.
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::AddHook(Hook::after_first(
        "RunJobFlow",
        vec![Set::AddFault(Fault::every("ListObjectsV2", FaultKind::AccessDenied))],
    )));
    told(&stage, "nothing that this run wrote could be looked at");
}

#[test]
fn what_a_stop_leaves_unseen_is_said() {
    let stage = Stage::acme().misbehave("hang");
    let long = Timings { starting: 0.0, bootstrapping: 0.0, ..Timings::all(3600.0) };
    stage.set(Set::SetTimings(long));
    let child = stage.command("run").spawn().unwrap();
    let is_running = |cluster: &emr_simulator::Cluster| cluster.state == ClusterState::Running;
    crate::support::wait_until("a step is at work", || {
        stage.sim.with_world(|world| world.clusters.iter().any(is_running))
    });
    send(&child, Signal::SIGTERM);
    let played = stage.finish(child);
    played.expect_code(143);
    let told = "emr-etl-guard: what this run wrote was not looked at: the guard was stopped";
    assert!(played.stdout.lines().any(|line| line == told), "{}", played.transcript());
}

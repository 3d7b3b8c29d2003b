//! How clusters are found: soon enough, whatever the log says, whatever hangs, and whatever this
//! machine's clock shows.

use std::{collections::BTreeSet, time::Duration};

use emr_simulator::{
    Advance, ClockMode, ClusterState, Command as Set, Fault, FaultKind, NextCluster, Recorded,
    SetClock, Timings,
};

use crate::support::{Stage, programs, under_way, wait_until};

/// The requests of the guard, without the runner's, for this operation.
fn by_guard(stage: &Stage, operation: &str) -> Vec<Recorded> {
    let mut requests = stage.sim.requests_for(operation);
    requests.retain(|request| request.access_key.as_deref() == Some("AKIAGUARD"));
    requests
}

#[test]
fn the_search_goes_back_to_the_launch_however_long_a_run_goes_on() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = under_way(&stage);
    let launch = stage.sim.requests_for("RunJobFlow")[0].clone();
    for _ in 0..2 {
        stage.set(Set::Advance(Advance { seconds: 2.0 * 3600.0 }));
        let before = by_guard(&stage, "ListClusters").len();
        wait_until("another search", || by_guard(&stage, "ListClusters").len() > before);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut searches = by_guard(&stage, "ListClusters");
    let first = searches[0].at;
    searches.retain(|request| request.seq > launch.seq);
    assert!(searches.last().unwrap().at > launch.at + Duration::from_secs(4 * 3600));
    let since: BTreeSet<String> =
        searches.iter().map(|request| request.body["CreatedAfter"].to_string()).collect();
    assert_eq!(since.len(), 1, "{since:?}");
    let since: f64 = since.first().unwrap().parse().unwrap();
    let seconds =
        |at: time::OffsetDateTime| (at - time::OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
    // The launch comes after earlier requests; EMR's clocks may differ by five minutes.
    let window = seconds(first) - 301.0..seconds(launch.at);
    assert!(window.contains(&since), "{since} is not in {window:?}");
}

#[test]
fn after_a_failed_bootstrap_the_next_cluster_is_found_at_the_pace_of_the_search() {
    let interval = 300;
    let stage = Stage::acme()
        .replace("level: DEBUG", "level: INFO")
        .misbehave("no-id")
        .env("EMR_ETL_GUARD_WATCH_INTERVAL", &format!("{interval}ms"));
    stage.set(Set::SetTimings(Timings { terminating: 6.0, ..Timings::all(3600.0) }));
    stage.set(Set::SetNextCluster(NextCluster {
        bootstrap_failure: true,
        timings: Some(Timings { bootstrapping: 240.0, ..Timings::all(6.0) }),
        ..Default::default()
    }));
    stage.set(Set::SetNextCluster(NextCluster {
        security_configuration: Some(String::new()),
        ..Default::default()
    }));
    let played = stage.run();
    played.expect_code(76);
    assert_eq!(played.clusters().len(), 2);
    let launched = stage.sim.requests_for("RunJobFlow")[1].arrived_ms;
    let ended = by_guard(&stage, "TerminateJobFlows")[0].arrived_ms;
    // A search takes at most two intervals; while nothing is expected, the pause is thirty or more.
    let took = ended - launched;
    assert!(took < 15 * interval, "it lived for {took} ms, and the interval is {interval} ms");
}

#[test]
fn a_search_that_hangs_keeps_a_cluster_that_the_log_names_from_nothing() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration,hang")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "5m")
        .held();
    let mut child = stage.start_held();
    stage.set(Set::AddFault(Fault::every("ListClusters", FaultKind::Hang)));
    let hangs = || {
        let asked = by_guard(&stage, "ListClusters").into_iter();
        asked.rev().find(|request| request.fault.is_some())
    };
    wait_until("a search hangs", || hangs().is_some());
    stage.release();
    let terminated = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        Duration::from_secs(30),
    );
    assert!(terminated.is_some(), "the cluster goes on while the search hangs");
    assert_eq!(hangs().unwrap().replied_ms, None, "the search was not answered yet");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn steps_that_are_not_told_keep_no_cluster_alive_that_is_described_as_unsafe() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration,hang")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "5m")
        .held();
    let mut child = stage.start_held();
    stage.set(Set::AddFault(Fault::every("ListSteps", FaultKind::Hang)));
    stage.release();
    let terminated = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        Duration::from_secs(120),
    );
    let asked = by_guard(&stage, "ListSteps");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(terminated.is_some(), "the cluster goes on while its steps are not told");
    assert!(!asked.is_empty() && asked.iter().all(|one| one.replied_ms.is_none()), "{asked:?}");
}

#[test]
fn an_sts_that_hangs_keeps_no_unsafe_cluster_alive_that_is_listed() {
    let stage = Stage::acme()
        .replace("level: DEBUG", "level: INFO")
        .misbehave("drop-security-configuration,hang")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "5m")
        .held();
    let mut child = stage.start_held();
    stage.set(Set::AddFault(Fault::every("GetCallerIdentity", FaultKind::Hang)));
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    let before = by_guard(&stage, "GetCallerIdentity").len();
    stage.release();
    let terminated = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        Duration::from_secs(120),
    );
    let asked = by_guard(&stage, "GetCallerIdentity").split_off(before);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(terminated.is_some(), "the cluster goes on while STS hangs");
    assert!(!asked.is_empty() && asked.iter().all(|one| one.replied_ms.is_none()), "{asked:?}");
}

#[test]
fn ids_that_were_never_started_cost_few_calls_and_keep_no_unsafe_cluster_alive() {
    let runner = programs().runner.display().to_string();
    let stage = Stage::acme().misbehave("drop-security-configuration,hang").scripted(&format!(
        "cat > sealed\ni=1000\nwhile [ $i -lt 2500 ]; do i=$((i + 1)); echo \"D -- : EMR \
             jobflow j-FORGED$i started, waiting\"; done\nexec '{runner}' \"$@\" < sealed"
    ));
    stage.set(Set::SetTimings(Timings { terminating: 6.0, ..Timings::all(3600.0) }));
    let played = stage.run();
    played.expect_code(76);
    assert_eq!(played.stdout.matches("EMR jobflow j-FORGED").count(), 1500, "all were printed");
    let looks = by_guard(&stage, "DescribeCluster");
    let forged =
        looks.iter().filter(|look| look.cluster_id().unwrap_or_default().contains("FORGED"));
    // Sixteen are remembered at a time, and one of all of them is requested in each interval.
    assert!(forged.clone().count() < 150, "{} looks at what is not there", forged.count());
    // One poll of the real one was enough, and those at its end.
    let terminated = by_guard(&stage, "TerminateJobFlows")[0].clone();
    let real = looks.iter().filter(|look| look.cluster_id() == terminated.cluster_id());
    assert_eq!(real.filter(|look| look.seq < terminated.seq).count(), 1);
}

/// A stage on which this machine's clock is this many hours ahead of AWS's.
fn ahead(hours: i64) -> Stage {
    let stage = Stage::acme()
        .replace("level: DEBUG", "level: INFO")
        .misbehave("drop-security-configuration,hang");
    let at = time::OffsetDateTime::now_utc() - time::Duration::hours(hours);
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(60.0), at: Some(at) }));
    stage.set(Set::SetTimings(Timings { terminating: 6.0, ..Timings::all(3600.0) }));
    stage
}

#[test]
fn a_cluster_is_found_and_judged_whatever_this_machines_clock_says() {
    for hours in [2, -2] {
        let stage = ahead(hours);
        let played = stage.run();
        played.expect_code(76);
        assert_eq!(played.clusters().len(), 1, "{hours} hours ahead");
    }
}

#[test]
fn a_restart_finds_what_was_launched_whatever_this_machines_clock_says() {
    for hours in [2, -2] {
        let stage = ahead(hours).held();
        let mut child = stage.start_held();
        // Killed as soon as the cluster exists, before any guard has seen it.
        stage.set(Set::AddFault(Fault::every("ListClusters", FaultKind::Hang)));
        stage.release();
        wait_until("the launch", || !stage.sim.requests_for("RunJobFlow").is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        stage.set(Set::ClearFaults);
        let played = stage.play(stage.watch_resume());
        played.expect_code(76);
        let ended = stage.sim.with_world(|world| world.clusters[0].state);
        assert_eq!(ended, ClusterState::Terminated, "{hours} hours ahead");
    }
}

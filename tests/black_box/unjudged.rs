//! Clusters that cannot be evaluated or seen: that is reported within `judge_within`, and unless
//! everything was seen before, the runner is stopped and the run stays open.

use std::process::Child;

use emr_simulator::{
    Advance, ClusterState, Command as Set, Fault, FaultKind, PutAccessKey, Timings,
};

use crate::{
    alerts::to_command,
    support::{Played, Stage, under_way_for, wait_until},
};

fn open_runs(stage: &Stage) -> usize {
    std::fs::read_dir(stage.path("state/runs")).map_or(0, Iterator::count)
}

fn states(stage: &Stage) -> Vec<ClusterState> {
    stage.sim.with_world(|world| world.clusters.iter().map(|cluster| cluster.state).collect())
}

/// A run whose runner launches a cluster without encryption that takes an hour for everything, and
/// waits forever. The log does not contain its id.
fn unencrypted() -> Stage {
    let stage = Stage::acme()
        .replace("level: DEBUG", "level: INFO")
        .misbehave("drop-security-configuration,hang")
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s")
        .held();
    stage.set(Set::SetTimings(Timings { terminating: 6.0, ..Timings::all(3600.0) }));
    stage
}

/// Runs, with `blind` from the launch on. Checks that an alarm contains `why`, that the runner was
/// stopped, the cluster left running, and the run kept open; and that the next start, which can
/// `see` again, terminates the cluster.
#[track_caller]
fn blind_from_the_launch_on(stage: &Stage, why: &str, blind: Set, see: Set) {
    let child = stage.start_held();
    // Observations from before any cluster existed say nothing about it.
    let before = stage.by_guard("ListClusters");
    wait_until("a search", || stage.by_guard("ListClusters") > before + 1);
    stage.set(blind);
    stage.release();
    let played = stage.finish(child);
    played.expect_code(75);
    assert!(played.unbroken().contains(why), "{}", played.stderr);
    assert!(stopped(&played), "the runner waits for ever, and was stopped");
    assert_eq!(states(stage), [ClusterState::Starting]);
    assert_eq!(open_runs(stage), 1);
    assert!(played.stderr.contains("the run stays open"), "{}", played.stderr);

    stage.set(see);
    stage.play(stage.watch_resume()).expect_code(76);
    assert_eq!((states(stage), open_runs(stage)), (vec![ClusterState::Terminated], 0));
}

fn stopped(played: &Played) -> bool {
    played.journal.iter().any(|entry| entry["event"] == "signal")
}

fn denied(operation: &str) -> Set {
    Set::AddFault(Fault::every(operation, FaultKind::AccessDenied))
}

#[test]
fn a_cluster_that_nobody_may_describe_is_an_alarm_and_the_runner_stops() {
    let why = "could not be judged within the time limit (setting `judge_within`), and goes on; \
        the runner is stopped";
    blind_from_the_launch_on(&unencrypted(), why, denied("DescribeCluster"), Set::ClearFaults);
}

#[test]
fn a_list_that_fails_from_the_launch_on_is_an_alarm_and_the_runner_stops() {
    let outage = Fault::every("ListClusters", FaultKind::ServerError { status: 503 });
    let why = "so it is unknown whether one is unsafe; the runner is stopped: ";
    blind_from_the_launch_on(&unencrypted(), why, Set::AddFault(outage), Set::ClearFaults);
}

#[test]
fn credentials_that_become_another_accounts_are_an_alarm_and_the_runner_stops() {
    let of = |account: &str| {
        Set::PutAccessKey(PutAccessKey {
            id: "AKIAGUARD".to_owned(),
            account: Some(account.to_owned()),
            arn: format!("arn:aws:sts::{account}:assumed-role/emr-etl-guard/emr-etl-guard"),
        })
    };
    let why = "the guard's credentials are of account 999999999999, and the run was launched in \
        account 123456789012";
    blind_from_the_launch_on(&unencrypted(), why, of("999999999999"), of("123456789012"));
}

#[test]
fn where_the_settings_only_want_an_alert_a_cluster_that_cannot_be_judged_goes_on() {
    // For `terminate`, see `a_cluster_that_cannot_be_judged_in_time_counts_as_unsafe`.
    let stage = Stage::acme()
        .misbehave("hang")
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s")
        .option("--on-unjudged=alert");
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    stage.set(denied("ListSteps"));
    let played = stage.run();
    played.expect_code(75);
    assert!(played.stderr.contains("could not be judged within the time limit"));
    assert!(stopped(&played), "the runner waits for ever, and was stopped");
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
    assert_eq!((states(&stage), open_runs(&stage)), (vec![ClusterState::Starting], 1));
}

/// A run whose cluster was evaluated completely, and whose listing then fails: the alarm was
/// raised.
fn out_of_sight() -> (Stage, Child) {
    let stage = to_command(Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "3s"), "");
    let timings = Timings { step: 3600.0, ..Timings::all(6.0) };
    let child = under_way_for(&stage, timings);
    wait_until("its volumes were seen", || {
        let asked = stage.sim.requests_for("DescribeVolumes");
        asked.iter().any(|request| request.status == Some(200))
    });
    stage.set(denied("ListClusters"));
    wait_until("the alarm", || stage.path("alert-0").exists());
    (stage, child)
}

/// The cluster works to its end, and so does the runner, which was not stopped.
fn finished(stage: &Stage, child: Child) -> Played {
    stage.set(Set::Advance(Advance { seconds: 20.0 * 3600.0 }));
    let played = stage.finish(child);
    assert!(!stopped(&played), "the run goes on");
    assert!(played.stdout.contains("Completed successfully"), "{}", played.stdout);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
    let alarm = "EMR does not list clusters any more, so that another cluster of the run would \
        not be seen; the run goes on";
    assert!(played.unbroken().contains(alarm), "{}", played.stderr);
    played
}

#[test]
fn losing_sight_after_a_complete_judgement_is_an_alarm_and_the_run_goes_on_unconfirmed() {
    let (stage, child) = out_of_sight();
    finished(&stage, child).expect_code(75);
    assert_eq!(open_runs(&stage), 1);
}

#[test]
fn a_run_that_is_in_sight_again_before_its_end_is_confirmed() {
    let (stage, child) = out_of_sight();
    stage.set(Set::ClearFaults);
    wait_until("the list is seen again", || {
        let asked = stage.sim.requests_for("ListClusters");
        asked.last().is_some_and(|request| request.status == Some(200))
    });
    finished(&stage, child).expect_code(0);
    assert_eq!(open_runs(&stage), 0);
}

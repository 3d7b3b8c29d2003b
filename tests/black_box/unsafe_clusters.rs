//! Clusters that are not what was verified: found, terminated, the runner stopped, and the exit says how it ended.

use emr_simulator::{Calls, ClusterState, Command as Set, Fault, FaultKind, Hook, Moment, NextCluster, PutSecurityConfiguration, Termination};
use serde_json::json;

use crate::support::{Played, Stage};

/// Runs, and proves that the run ended 76 with every unsafe cluster over.
#[track_caller]
fn unsafe_and_terminated(stage: &Stage) -> Played {
    let played = stage.run();
    played.expect_code(76);
    for cluster in played.report["watched"]["clusters"].as_array().unwrap().iter().filter(|cluster| cluster["is_unsafe"] == true) {
        let id = cluster["id"].as_str().unwrap();
        assert!(stage.sim.with_world(|world| world.cluster(id).unwrap().state.is_over()), "{id} still lives");
        assert_eq!(cluster["end"], "confirmed");
    }
    played
}

fn swapped_configuration() -> Set {
    Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: json!({"EncryptionConfiguration": {"EnableAtRestEncryption": false, "EnableInTransitEncryption": false}}),
        ..Default::default()
    })
}

#[test]
fn a_security_configuration_swapped_between_pre_flight_and_launch() {
    let stage = Stage::acme();
    stage.set(Set::AddHook(Hook::after_first("DescribeSecurityConfiguration", vec![swapped_configuration()])));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(played.findings("cluster-security-configuration").into_values().collect::<Vec<_>>(), ["refuted"]);
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn a_security_configuration_made_anew_with_the_same_content() {
    let stage = Stage::acme();
    let same = stage.sim.with_world(|world| {
        world.security_configuration(emr_simulator::DEFAULT_ACCOUNT, emr_simulator::DEFAULT_REGION, "acme-sc").unwrap().content.clone()
    });
    let again = Set::PutSecurityConfiguration(PutSecurityConfiguration { name: "acme-sc".to_owned(), content: same.into(), ..Default::default() });
    stage.set(Set::AddHook(Hook::after_first("DescribeSecurityConfiguration", vec![again])));
    unsafe_and_terminated(&stage);
}

#[test]
fn a_runner_that_leaves_the_security_configuration_out() {
    let played = unsafe_and_terminated(&Stage::acme().misbehave("drop-security-configuration"));
    assert!(played.stderr.contains("saw no security configuration, wanted `acme-sc` as verified"), "{}", played.stderr);
}

#[test]
fn a_runner_that_drops_the_flag_on_one_step() {
    let played = unsafe_and_terminated(&Stage::acme().misbehave("drop-flag=5"));
    assert!(played.stderr.contains("step-encryption-flag: saw missing on: "), "{}", played.stderr);
}

#[test]
fn a_persistent_cluster_that_gets_a_step_without_the_flag() {
    let stage = Stage::acme().argument("--use-persistent-jobflow").misbehave("drop-flag=3");
    unsafe_and_terminated(&stage);
}

#[test]
fn a_persistent_cluster_that_appears_after_the_pre_flight_and_is_adopted_unseen() {
    let stage = Stage::acme().argument("--use-persistent-jobflow").replace("level: DEBUG", "level: INFO");
    // The pre-flight lists clusters twice (those alive, those of the last hour); whoever lists next, runner or watch, finds it there.
    let appears = crate::good_runs::waiting_cluster(&json!({}));
    stage.set(Set::AddHook(Hook { calls: Calls::Nth(3), when: Moment::Arrival, ..Hook::after_first("ListClusters", vec![appears]) }));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(played.clusters(), ["j-WAITING"]);
}

#[test]
fn of_two_clusters_from_one_run_the_silent_one_is_unsafe() {
    let played = unsafe_and_terminated(&Stage::acme().misbehave("second-cluster-unsafe"));
    assert_eq!(played.clusters().len(), 2, "both are accounted for");
    let verdicts = played.findings("cluster-security-configuration");
    let mut statuses: Vec<&str> = verdicts.values().map(String::as_str).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["proved", "refuted"]);
}

#[test]
fn a_cluster_whose_id_is_never_printed() {
    let stage = Stage::acme().replace("level: DEBUG", "level: INFO").misbehave("drop-security-configuration,no-id");
    unsafe_and_terminated(&stage);
}

#[test]
fn a_cluster_under_termination_protection_loses_it_first() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    stage.set(Set::SetNextCluster(NextCluster { termination_protected: Some(true), ..Default::default() }));
    unsafe_and_terminated(&stage);
    let asked: Vec<String> = stage.sim.requests().iter().map(|request| request.subject.operation.clone()).collect();
    let lifted = asked.iter().position(|operation| operation == "SetTerminationProtection").unwrap();
    let terminated = asked.iter().position(|operation| operation == "TerminateJobFlows").unwrap();
    assert!(lifted < terminated, "protection was known, so it goes first");
}

#[test]
fn a_termination_that_is_refused_for_ever_needs_a_person() {
    let stage = Stage::acme().misbehave("drop-security-configuration").env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "2s");
    // So long a life that it cannot end by itself meanwhile.
    stage.set(Set::SetTimings(emr_simulator::Timings::all(3600.0)));
    stage.set(Set::SetNextCluster(NextCluster { termination: Termination::Refused, ..Default::default() }));
    let played = stage.run();
    played.expect_code(71);
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn a_termination_that_never_ends_needs_a_person_too() {
    let stage = Stage::acme().misbehave("drop-security-configuration").env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "2s");
    stage.set(Set::SetNextCluster(NextCluster { termination: Termination::Stuck, ..Default::default() }));
    stage.run().expect_code(71);
}

#[test]
fn a_runner_that_ignores_sigterm_is_killed() {
    let stage = Stage::acme().misbehave("drop-security-configuration,ignore-sigterm,hang").env("EMR_ETL_GUARD_STOP_TIMEOUT", "500ms");
    let played = unsafe_and_terminated(&stage);
    assert!(played.journal.iter().any(|entry| entry["event"] == "signal" && entry["ignored"] == true), "it got SIGTERM first");
}

#[test]
fn termination_goes_on_through_throttling_and_server_errors() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    for nth in 1..=4 {
        stage.set(Set::AddFault(Fault::nth(
            "TerminateJobFlows",
            nth,
            if nth % 2 == 0 { FaultKind::Throttle } else { FaultKind::ServerError { status: 500 } },
        )));
    }
    unsafe_and_terminated(&stage);
}

#[test]
fn a_second_cluster_that_aws_started_although_it_answered_500_is_found_and_judged() {
    let stage = Stage::acme().replace("level: DEBUG", "level: INFO");
    stage.set(Set::AddFault(Fault::nth("RunJobFlow", 1, FaultKind::AppliedThen5xx { status: 500 })));
    let played = stage.run();
    assert_eq!(played.clusters().len(), 2);
    assert!(played.findings("cluster-security-configuration").values().all(|status| status == "proved"));
}

#[test]
fn a_cluster_that_cannot_be_judged_in_time_counts_as_unsafe() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s").misbehave("hang");
    stage.set(Set::AddFault(Fault::every("ListSteps", FaultKind::AccessDenied)));
    let played = unsafe_and_terminated(&stage);
    assert!(played.stderr.contains("the guard may not look: AccessDeniedException"), "{}", played.stderr);
}

#[test]
fn an_unsafe_cluster_is_terminated_one_look_after_its_id_is_known() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    // So slow a search that only the id in the log can explain what follows.
    let stage = stage.env("EMR_ETL_GUARD_WATCH_INTERVAL", "10m");
    let mut child = stage.command("run").spawn().unwrap();
    let terminate = stage.sim.wait_for_request(|request| request.operation() == "TerminateJobFlows", std::time::Duration::from_secs(50));
    let terminate = terminate.expect("the log line alone starts a look");
    let id = terminate.subject.cluster_id.clone().unwrap();
    let looks = stage
        .sim
        .requests_for("DescribeCluster")
        .into_iter()
        .filter(|look| look.subject.cluster_id.as_ref() == Some(&id) && look.access_key.as_deref() == Some("AKIAGUARD") && look.seq < terminate.seq)
        .count();
    assert_eq!(looks, 1);
    let seen = stage.sim.with_world(|world| world.cluster(&id).unwrap().state);
    assert!(matches!(seen, ClusterState::Starting | ClusterState::Terminating), "nothing of it had run");
    // What it would do next is wait; the runner it has stopped already.
    child.kill().unwrap();
    child.wait().unwrap();
}

//! EMR's events from a queue make the watch poll sooner, and nothing depends on them: they are only
//! reasons to poll and never trusted, those of others stay, and a failing queue is a warning.

use std::time::Duration;

use emr_simulator::{
    Command as Set, Fault, FaultKind, Named, SendMessage, StartCluster, StartState,
};
use serde_json::json;

use crate::support::Stage;

const QUEUE: &str = "acme-events";

/// A stage with a queue of EMR's events, where the watch by itself would poll only every ten
/// minutes.
fn with_queue() -> Stage {
    let stage = Stage::acme();
    stage.set(Set::PutQueue(Named { name: QUEUE.to_owned(), ..Named::default() }));
    let url = format!("{}/123456789012/{QUEUE}", stage.sim.url());
    stage.env("EMR_ETL_GUARD_EVENT_QUEUE", &url).env("EMR_ETL_GUARD_WATCH_INTERVAL", "10m")
}

fn message(cluster: &str, name: &str) -> String {
    json!({"source": "aws.emr", "detail-type": "EMR Cluster State \
        Change", "detail": {"clusterId": cluster, "name": name, "state": "RUNNING"}})
    .to_string()
}

fn send(stage: &Stage, body: &str) {
    stage.set(Set::SendMessage(SendMessage { queue: QUEUE.to_owned(), body: body.to_owned() }));
}

/// The remaining content of the queue.
fn left(stage: &Stage) -> Vec<String> {
    stage.sim.with_world(|world| {
        world.queues[QUEUE].iter().map(|message| message.body.clone()).collect()
    })
}

#[test]
fn an_unsafe_cluster_whose_id_is_never_printed_is_terminated_at_the_event_of_its_start() {
    let stage = with_queue()
        .replace("level: DEBUG", "level: INFO")
        .misbehave("drop-security-configuration,no-id,hang");
    stage.set(Set::SetTimings(emr_simulator::Timings::all(3600.0)));
    send(&stage, "no JSON at all");
    send(&stage, &message("j-THEIRS", "Payroll"));
    let mut child = stage.command("run").spawn().unwrap();
    let terminated = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        Duration::from_secs(120),
    );
    assert!(terminated.is_some(), "the search alone would have begun after ten minutes");
    crate::support::wait_until("its own message is gone", || {
        !left(&stage).iter().any(|body| body.contains("\"STARTING\""))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let left = left(&stage);
    assert!(
        left.contains(&"no JSON at all".to_owned())
            && left.contains(&message("j-THEIRS", "Payroll")),
        "what is others' stays for them: {left:?}"
    );
}

#[test]
fn an_event_is_looked_after_and_never_believed() {
    // The event has the run's name, but EMR's data do not; it is not a cluster of the run.
    let stage = with_queue();
    stage.set(Set::StartCluster(StartCluster {
        id: Some("j-THEIRS".to_owned()),
        state: StartState::Waiting,
        request: json!({"Name": "Payroll"}),
        ..Default::default()
    }));
    send(&stage, &message("j-THEIRS", "Snowplow ETL"));
    send(&stage, &message("j-NOBODYS", "Snowplow ETL"));
    // The search finds it at the end at the latest.
    let played = stage.env("EMR_ETL_GUARD_WATCH_INTERVAL", "30ms").run();
    played.expect_code(0);
    assert_eq!(played.clusters().len(), 1);
    for part in ["watched", "timeline", "actions", "states"] {
        let told = played.report[part].to_string();
        assert!(!told.contains("j-THEIRS"), "{part}: {told}");
    }
}

#[test]
fn guards_that_share_a_queue_leave_each_other_what_is_theirs() {
    let stage = with_queue().env("AWS_REGION", "eu-west-1");
    let request =
        include_str!("../../integration/runner/tests/recorded/a02-encrypted-sc.run-job-flow.json");
    let mut request: serde_json::Value = serde_json::from_str(request).unwrap();
    request["SecurityConfiguration"] = "acme-sc".into();
    stage.set(Set::SetTimings(emr_simulator::Timings {
        starting: 120.0,
        bootstrapping: 120.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    let ids = ["j-ONE", "j-TWO", "j-THREE"];
    for id in ids {
        let start = StartCluster {
            id: Some(id.to_owned()),
            state: StartState::Starting,
            request: request.clone(),
            ..Default::default()
        };
        stage.set(Set::StartCluster(start));
    }
    let guards: Vec<_> =
        ids.iter().map(|id| (id, stage.watch(&[id], false).spawn().unwrap())).collect();
    for (id, guard) in guards {
        // It ends only because of the events about each cluster: the next poll would be hours away.
        let played = stage.finish(guard);
        assert!(matches!(played.code, Some(0 | 75)), "{id}: {}", played.transcript());
        assert!(played.stdout.contains(id), "{}", played.stdout);
    }
}

#[test]
fn whatever_is_wrong_with_the_queue_is_a_line_and_no_judgement() {
    for wrong in ["missing", "denied", "hangs", "garbage"] {
        let stage = with_queue()
            .env("EMR_ETL_GUARD_WATCH_INTERVAL", "30ms")
            .env("EMR_ETL_GUARD_AWS_TIMEOUT", "3s");
        // Long enough for volumes to be checked by polling alone on a busy machine.
        stage.set(Set::SetTimings(emr_simulator::Timings {
            bootstrapping: 240.0,
            ..emr_simulator::Timings::all(6.0)
        }));
        let fault = |kind| stage.set(Set::AddFault(Fault::every("ReceiveMessage", kind)));
        match wrong {
            "denied" => fault(FaultKind::AccessDenied),
            "hangs" => fault(FaultKind::Hang),
            "garbage" => fault(FaultKind::GarbageBody),
            _ => {}
        }
        let url = format!("{}/123456789012/no-such-queue", stage.sim.url());
        let stage =
            if wrong == "missing" { stage.env("EMR_ETL_GUARD_EVENT_QUEUE", &url) } else { stage };
        let played = stage.run();
        played.expect_code(0);
        assert_eq!(played.stderr, "", "{wrong}");
        let warnings = played
            .stdout
            .matches(
                "the event queue (setting `event_queue`) gives no \
            events, so only polling watches: ",
            )
            .count();
        assert_eq!(warnings, usize::from(wrong != "hangs"), "{wrong}\n{}", played.stdout);
    }
}

#[test]
fn a_queue_that_is_not_awss_is_refused_like_any_other_endpoint() {
    let stage = with_queue().env("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9");
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(played.findings("aws-endpoint")["SQS"], "failed");
}

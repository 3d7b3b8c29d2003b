//! `setup --with alert-topic,event-queue` on whole accounts: what it makes works for a guard with
//! the settings that it writes, and is taken back.

use std::time::Duration;

use emr_simulator::{Command as Set, Fault, FaultKind};
use serde_json::json;

use crate::{
    setup::{APPLY, document, empty_account, setup, to_do, writes},
    support::{Stage, wait_until},
};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:emr-etl-alerts";
const QUEUE: &str = "emr-etl-emr-events";
const WITH: &str = "--with=alert-topic,event-queue";

/// An account that was set up, and the guard's settings in `guard.yml`.
fn made(stage: &mut Stage) {
    let options: Vec<&str> =
        APPLY.into_iter().chain([WITH, "--write-settings=guard.yml"]).collect();
    let played = setup(stage, &options);
    played.expect_code(0);
    let advice = "aws sns subscribe --region eu-west-1 --topic-arn";
    assert!(played.stdout.contains(advice), "{}", played.transcript());
}

#[test]
fn a_guard_with_the_settings_that_setup_writes_hears_of_clusters_at_once_and_alerts() {
    let mut stage = empty_account("eu-west-1");
    made(&mut stage);
    let settings = std::fs::read_to_string(stage.path("guard.yml")).unwrap();
    for line in [
        format!("alert_sns: \"{TOPIC}\""),
        format!("event_queue: \"https://sqs.eu-west-1.amazonaws.com/123456789012/{QUEUE}\""),
    ] {
        assert!(settings.contains(&line), "{line}\n{settings}");
    }
    // All of it is in place.
    let before = writes(&stage).len();
    setup(&mut stage, &["--apply", WITH, "--report=again.json"]).expect_code(0);
    assert_eq!((to_do(&stage, "again.json"), writes(&stage).len()), (Vec::new(), before));
    let stage = stage
        .replace("level: DEBUG", "level: INFO")
        .misbehave("drop-security-configuration,no-id,hang")
        .option("--settings=guard.yml")
        .env("EMR_ETL_GUARD_WATCH_INTERVAL", "10m");
    stage.set(Set::SetTimings(emr_simulator::Timings::all(3600.0)));
    crate::setup::events(&stage);
    let mut child = stage.command("run").spawn().unwrap();
    let terminated = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        Duration::from_secs(120),
    );
    assert!(terminated.is_some(), "polling alone would have begun after ten minutes");
    wait_until("the alert is in the topic", || {
        stage.sim.with_world(|world| {
            let published = &world.topics[TOPIC];
            published.iter().any(|it| it.attributes.get("kind").is_some_and(|it| it == "unsafe"))
        })
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_undo_deletes_topic_queue_and_rule_again() {
    let mut stage = empty_account("eu-west-1");
    made(&mut stage);
    let played = setup(&mut stage, &["--undo=setup.json", "--apply", "--report=undo.json"]);
    let undone = document(&stage, "undo.json");
    for kind in ["alert-topic", "event-queue", "event-rule"] {
        let steps = undone["taken_back"].as_array().unwrap();
        let step = steps.iter().find(|step| step["piece"]["kind"] == kind).unwrap();
        assert_eq!(step["result"], json!({"result": "undone"}), "{}", played.transcript());
        assert!(step["calls"][0]["request"].is_string(), "{step}");
    }
    stage.sim.with_world(|world| {
        assert!(!world.topics.contains_key(TOPIC) && !world.queues.contains_key(QUEUE));
        assert!(world.event_rules.is_empty());
    });
}

#[test]
fn a_plan_says_what_it_makes_and_a_missing_permission_is_unknown() {
    let mut stage = empty_account("eu-west-1");
    setup(&mut stage, &APPLY).expect_code(0);
    let before = writes(&stage).len();
    let played = setup(&mut stage, &[WITH]);
    played.expect_code(0);
    assert_eq!(writes(&stage).len(), before);
    let text = played.transcript();
    let start = text.find("create   alert topic").unwrap();
    let end = text.find("by hand").unwrap();
    insta::assert_snapshot!(text[start..end]);
    stage.set(Set::AddFault(Fault::every("GetTopicAttributes", FaultKind::AccessDenied)));
    let played = setup(&mut stage, &[WITH, "--apply"]);
    played.expect_code(69);
    assert!(played.stdout.contains("UNKNOWN  alert topic"), "{}", played.transcript());
    assert_eq!(writes(&stage).len(), before);
}

#[test]
fn an_endpoint_that_is_not_awss_is_not_asked_and_nothing_is_made() {
    for service in ["SNS", "SQS", "EVENTBRIDGE"] {
        let mut stage = empty_account("eu-west-1")
            .env(&format!("AWS_ENDPOINT_URL_{service}"), "http://127.0.0.1:9");
        let played = setup(&mut stage, &[WITH, "--apply"]);
        played.expect_code(69);
        let says = "the endpoint http://127.0.0.1:9 is not AWS's";
        assert!(played.stdout.contains(says), "{service}: {}", played.transcript());
        assert_eq!(writes(&stage), [] as [&str; 0]);
        // Who does not ask for these parts is not asked about their services.
        setup(&mut stage, &APPLY).expect_code(0);
    }
}

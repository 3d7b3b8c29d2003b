//! What the document of a run is evidence of, and what becomes of it.

use emr_simulator::{Command as Set, Fault, FaultKind, NextCluster};
use serde_json::{Value, json};

use crate::support::{Played, Stage, programs, valid_document};

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_document_says_who_ran_what_and_what_came_of_it() {
    let stage = Stage::acme();
    stage.write("guard.yml", "advise: [bucket-tls-only]\n");
    let settings = stage.path("guard.yml").display().to_string();
    let stage = stage.env("EMR_ETL_GUARD_SETTINGS", &settings);
    let played = stage.run();
    played.expect_code(0);
    let report = &played.report;
    assert_eq!(report["who"]["account"], report["facts"]["guard"]["found"]["account"]);
    assert!(text(&report["who"]["principal"]).starts_with("arn:aws:"), "{}", report["who"]);
    assert_eq!(report["who"]["host"], std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());

    let digest_of = |file: &std::path::Path| {
        let output = std::process::Command::new("sha256sum").arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let inputs = &report["inputs"];
    assert_eq!(inputs["config_sha256"], digest_of(&stage.path("config.yml")));
    assert_eq!(inputs["runner"]["sha256"]["found"], digest_of(&programs().runner));
    assert_eq!(inputs["runner"]["version"]["found"], "1.0.4");
    assert_eq!(inputs["settings"]["file_sha256"], digest_of(&stage.path("guard.yml")));
    assert_eq!(report["objects"]["looked_at"], report["objects"]["objects"]);
    let counted: u64 = list(&report["objects"], "kinds").iter().map(|kind| kind["objects"].as_u64().unwrap()).sum();
    assert!(counted > 0 && report["objects"]["looked_at"] == counted, "{}", report["objects"]);

    // The settings are others, so their digest is.
    let other = stage.option("--advise=bucket-owner").check();
    assert_ne!(other.report["inputs"]["settings"]["sha256"], inputs["settings"]["sha256"]);
    assert_ne!(other.report["inputs"]["policy_sha256"], inputs["policy_sha256"]);
    assert_eq!(other.report["inputs"]["settings"]["file_sha256"], inputs["settings"]["file_sha256"]);
}

/// The id that the simulator gave a request.
fn request_id(seq: u64) -> String {
    format!("5e1ec7ed-0000-4000-8000-{seq:012}")
}

#[test]
fn each_request_to_aws_is_in_the_document_under_the_id_that_aws_gave_it() {
    let stage = Stage::acme();
    let played = stage.run();
    played.expect_code(0);
    let requests = stage.sim.requests();
    let by_guard = requests.iter().filter(|request| request.access_key.as_deref() == Some("AKIAGUARD"));
    let mut seen: Vec<String> = by_guard.clone().map(|request| request_id(request.seq)).collect();
    let calls = list(&played.report, "calls");
    let kept = || calls.iter().flat_map(|calls| list(calls, "kept"));
    // The runner's own keys are asked whose they are, too.
    let whose = requests.iter().filter(|request| request.operation() == "GetCallerIdentity" && request.access_key.as_deref() == Some("AKIAFAKE"));
    seen.extend(whose.map(|request| request_id(request.seq)));
    seen.sort();
    let mut told: Vec<String> = kept().map(|request| text(&request["request_id"]).to_owned()).collect();
    told.sort();
    let missing = |id: &String| !told.contains(id) && seen.contains(id);
    let missing: Vec<_> = requests.iter().filter(|request| missing(&request_id(request.seq))).map(emr_simulator::Recorded::operation).collect();
    assert!(missing.is_empty(), "few enough for all to be kept: {missing:?}");
    assert_eq!(told, seen);
    let count: u64 = calls.iter().map(|calls| calls["count"].as_u64().unwrap()).sum();
    assert_eq!(count, told.len() as u64);

    // A fact and its request are joined by the operation and its subject.
    let of = |operation: &str| calls.iter().find(|calls| calls["operation"] == operation).unwrap_or_else(|| panic!("no {operation}"));
    for bucket in played.report["facts"]["buckets"].as_object().unwrap().keys() {
        let asked = list(of("GetBucketEncryption"), "kept").iter().filter(|request| request["subject"] == format!("s3://{bucket}/"));
        assert_eq!(asked.count(), 1, "{bucket}");
    }
    let cluster = played.clusters().remove(0);
    assert!(list(of("DescribeCluster"), "kept").iter().all(|request| text(&request["subject"]) == cluster && request["status"] == 200));
    let key = played.report["facts"]["keys"].as_object().unwrap().keys().next().unwrap();
    assert!(list(of("DescribeKey"), "kept").iter().any(|request| request["subject"] == *key), "{key}");
}

#[test]
fn a_request_that_was_answered_late_or_not_at_all_is_in_the_document_as_well() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", "1500ms");
    stage.set(Set::AddFault(Fault::every("DescribeKey", FaultKind::Hang)));
    let played = stage.check();
    played.expect_code(69);
    let calls = list(&played.report, "calls");
    let keys = calls.iter().find(|calls| calls["operation"] == "DescribeKey").unwrap();
    assert_eq!(keys["failed"], keys["count"]);
    for request in list(keys, "kept") {
        assert_eq!((&request["status"], &request["request_id"], &request["attempts"]), (&Value::Null, &Value::Null, &json!(1)));
    }
}

#[test]
fn what_was_done_to_an_unsafe_cluster_is_told_step_by_step() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    stage.set(Set::SetNextCluster(NextCluster { termination_protected: Some(true), ..NextCluster::default() }));
    let played = stage.run();
    played.expect_code(76);
    let cluster = played.clusters().remove(0);
    let of_cluster = |played: &Played| -> Vec<(String, bool)> {
        let actions = list(&played.report, "actions").iter().filter(|action| action["subject"] == cluster);
        actions.map(|action| (text(&action["action"]).to_owned(), action["error"].is_null())).collect()
    };
    let steps = of_cluster(&played);
    let wanted = [("lift-protection", true), ("terminate", true), ("await-end", true)].map(|(what, good)| (what.to_owned(), good));
    assert_eq!(steps, wanted);
    let all: Vec<&str> = list(&played.report, "actions").iter().map(|action| text(&action["action"])).collect();
    assert!(all.starts_with(&["start-runner"]) && all.contains(&"signal-runner"), "{all:?}");

    let states: Vec<&str> = list(&played.report, "states").iter().map(|change| text(&change["state"])).collect();
    assert_eq!(states.first(), Some(&"STARTING"));
    assert_eq!(states.last(), Some(&"TERMINATED"), "{states:?}");
    let seen: Vec<&str> = list(&played.report, "states").iter().map(|change| text(&change["seen"])).collect();
    assert!(seen.is_sorted(), "{seen:?}");
}

#[test]
fn a_document_with_a_member_too_many_or_of_another_kind_is_not_what_the_schema_says() {
    let played = Stage::acme().check();
    played.expect_code(0);
    let spoilt = |place: &str, value: Value| {
        let mut document = played.report.clone();
        *document.pointer_mut(place).unwrap() = value;
        let bytes = serde_json::to_vec(&document).unwrap();
        std::panic::catch_unwind(|| valid_document(&bytes)).is_err()
    };
    assert!(spoilt("/version", json!(1)));
    assert!(spoilt("/who", json!({"account": null, "principal": null, "runner_principal": null, "host": "x", "more": 1})));
    assert!(spoilt("/started", json!("yesterday")));
    assert!(spoilt("/outcome", json!("splendid")));
    assert!(spoilt("/findings/0/status", json!("fine")));
    assert!(spoilt("/facts/guard", json!({"found": {"account": "1", "arn": "x", "secret": "y"}})));
    assert!(!spoilt("/exit_code", json!(3)));
}

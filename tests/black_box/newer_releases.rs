//! Releases as AWS makes and ends them.

use serde_json::Value;

use crate::support::{Played, Stage};

/// The finding of a check, the only one of its kind.
#[track_caller]
fn finding(played: &Played, check: &str) -> Value {
    let findings = played.report["findings"].as_array().unwrap();
    let mut of_check = findings.iter().filter(|finding| finding["check"] == check);
    let found = of_check.next().unwrap().clone();
    assert!(of_check.next().is_none(), "{check}\n{}", played.transcript());
    found
}

#[test]
fn newer_releases_one_past_its_support_is_named_and_refuses_nothing() {
    let stage = Stage::acme();
    let played = stage.check();
    played.expect_code(0);
    let found = finding(&played, "release-supported");
    assert_eq!((&found["status"], &found["level"]), (&"refuted".into(), &"advised".into()));
    assert_eq!(found["subject"], "emr-5.29.0");
    assert_eq!(
        found["saw"],
        "standard support until 2026-08-31, end of support from 2026-09-01 on, end of life from 2027-09-01 on"
    );
    assert!(
        played.stdout.contains("refuted  release-supported              emr-5.29.0 (advice only)"),
        "{}",
        played.stdout
    );
    let played = stage.run();
    played.expect_code(0);
    assert!(played.runner_started());
    // Who wants it to refuse says so.
    let played = stage.option("--enforce=release-supported").run();
    played.expect_code(77);
    assert!(!played.runner_started());
}

#[test]
fn newer_releases_nothing_is_said_of_one_that_the_table_does_not_have() {
    let played = Stage::acme().replace("5.29.0", "99.0.0").check();
    played.expect_code(0);
    let found = finding(&played, "release-supported");
    assert_eq!(found["status"], "unknown");
    assert_eq!(found["saw"], "AWS's table of September 2026 does not have it");
}

#[test]
fn newer_releases_one_of_spark_alone_is_read_launched_and_known_again() {
    let played = Stage::acme().replace("5.29.0", "spark-8.0.0").run();
    played.expect_code(0);
    assert!(played.runner_started());
    let found = finding(&played, "release-supports-encryption");
    assert_eq!((&found["status"], &found["saw"]), (&"proved".into(), &"emr-spark-8.0.0".into()));
    let of_cluster = &played.findings("cluster-release");
    assert!(of_cluster.values().all(|status| status == "proved"), "{of_cluster:?}");
}

//! Releases as AWS makes and ends them.

use crate::support::Stage;

#[test]
fn newer_releases_one_past_its_support_is_named_and_refuses_nothing() {
    let stage = Stage::acme();
    let played = stage.check();
    played.expect_code(0);
    let found = played.finding("release-supported");
    assert_eq!((&found["status"], &found["level"]), (&"failed".into(), &"advisory".into()));
    assert_eq!(found["subject"], "emr-5.29.0");
    assert_eq!(
        found["seen"],
        "standard support until 2026-08-31, end of support from 2026-09-01 on, end of life from \
         2027-09-01 on"
    );
    assert!(
        played.stdout.contains("failed   release-supported              emr-5.29.0 (advice only)"),
        "{}",
        played.stdout
    );
    let played = stage.run();
    played.expect_code(0);
    assert!(played.runner_started());
    // An operator can make it a required check.
    let played = Stage::acme().option("--enforce=release-supported").run();
    played.expect_code(77);
    assert!(!played.runner_started());
}

#[test]
fn newer_releases_nothing_is_said_of_one_that_the_table_does_not_have() {
    let played = Stage::acme().replace("5.29.0", "99.0.0").check();
    played.expect_code(0);
    let found = played.finding("release-supported");
    assert_eq!(found["status"], "unknown");
    assert_eq!(found["seen"], "AWS's table of September 2026 does not have it");
}

#[test]
fn newer_releases_one_of_spark_alone_is_read_launched_and_known_again() {
    let played = Stage::acme().replace("5.29.0", "spark-8.0.0").run();
    played.expect_code(0);
    assert!(played.runner_started());
    let found = played.finding("release-supports-encryption");
    assert_eq!((&found["status"], &found["seen"]), (&"passed".into(), &"emr-spark-8.0.0".into()));
    let of_cluster = &played.findings("cluster-release");
    assert!(of_cluster.values().all(|status| status == "passed"), "{of_cluster:?}");
}

/// A stage with this release and an additional classification.
fn with(release: &str, classification: &str) -> Stage {
    Stage::acme()
        .replace("5.29.0", release)
        .replace("    configuration:\n", &format!("    configuration:\n      {classification}\n"))
}

#[test]
fn newer_releases_s3as_properties_that_turn_encryption_off_or_to_another_key_are_refused() {
    let other = "arn:aws:kms:eu-west-1:123456789012:key/44444444-4444-4444-4444-444444444444";
    for classification in [
        "core-site: {fs.s3a.encryption.algorithm: \"\"}".to_owned(),
        format!(
            "core-site: {{fs.s3a.encryption.algorithm: SSE-KMS, fs.s3a.encryption.key: \
             \"{other}\"}}"
        ),
        "core-site: {fs.s3a.bucket.acme-out.encryption.algorithm: AES256}".to_owned(),
        "spark-defaults: {spark.hadoop.fs.s3a.encryption.algorithm: AES256}".to_owned(),
    ] {
        let played = with("7.12.0", &classification).run();
        played.expect_code(77);
        assert!(!played.runner_started(), "{classification}");
        let found = played.findings("configuration-weakens-encryption");
        assert!(found.values().all(|status| status == "failed"), "{classification} {found:?}");
        assert!(!played.stderr.contains("44444444"), "a key's name is not shown");
    }
}

#[test]
fn newer_releases_the_connector_decides_whether_it_can_be_told_what_is_written() {
    const EMRFS: &str = "com.amazon.ws.emr.hadoop.fs.EmrFileSystem";
    let played = Stage::acme().replace("5.29.0", "7.12.0").run();
    played.expect_code(0);
    let back = format!("core-site: {{fs.s3.impl: {EMRFS}, fs.s3n.impl: {EMRFS}}}");
    let played = with("7.12.0", &back).run();
    played.expect_code(0);
    for (release, classification) in [
        ("7.12.0", "core-site: {fs.s3a.emrfs.compatibility.enable: \"false\"}".to_owned()),
        ("7.12.0", "core-site: {fs.s3.impl: com.acme.FileSystem}".to_owned()),
        // EMRFS does not exist in it.
        ("spark-8.0.0", back),
    ] {
        let played = with(release, &classification).run();
        played.expect_code(69);
        assert!(!played.runner_started(), "{classification}");
        let found = played.findings("written-encryption");
        assert!(found.values().any(|status| status == "unknown"), "{found:?}");
        assert!(found.values().all(|status| status != "failed"), "{found:?}");
    }
}

//! Fixes of findings: the printed and written commands work unchanged.

use std::{fs, os::unix::fs::PermissionsExt as _};

use emr_simulator::{BucketEncryption, Command as Set, Named, PutBucket, PutSecurityConfiguration};
use serde_json::Value;

use crate::support::{Stage, hermetic_command};

pub(crate) const KEY: &str =
    "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
pub(crate) const ARCHIVE: &str = "s3://acme-etl/certs/emr.zip";

/// A run without security configuration, with a bucket without public access block.
fn unprepared() -> Stage {
    let stage = Stage::acme();
    stage.set(Set::DeleteSecurityConfiguration(Named {
        name: "acme-sc".to_owned(),
        ..Default::default()
    }));
    stage.set(Set::PutBucket(PutBucket {
        name: "acme-out".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        public_access_block: Some(false),
        ..Default::default()
    }));
    stage
}

/// Performs the effect of the fixes' commands.
pub(crate) fn prepare(stage: &Stage, content: Value) {
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content,
        ..Default::default()
    }));
    stage.set(Set::PutBucket(PutBucket {
        name: "acme-out".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        ..Default::default()
    }));
}

/// Runs the script as an operator does; returns each call of `aws`, word by word.
fn run_script(stage: &Stage, set: &[(&str, &str)]) -> (bool, Vec<String>) {
    // Another process writes the stub: a file that is open for writing in this process cannot be
    // executed.
    let stub = r#"rm -f called; mkdir -p bin; printf '#!/bin/sh\nprintf "%%s|" "$@" >> called\necho >> called\n' > bin/aws; chmod 700 bin/aws"#;
    let folder = stage.path("");
    let made = hermetic_command("sh").args(["-c", stub]).current_dir(&folder).status().unwrap();
    assert!(made.success());
    let status = hermetic_command("sh")
        .arg("fix.sh")
        .current_dir(&folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", stage.path("bin").display()))
        .envs(set.iter().copied())
        .status()
        .unwrap();
    let called = fs::read_to_string(stage.path("called")).unwrap_or_default();
    (status.success(), called.lines().map(str::to_owned).collect())
}

#[test]
fn the_fix_script_of_a_check_makes_what_the_check_asked_for() {
    let stage = unprepared().option("--fix-script=fix.sh");
    let played = stage.check();
    played.expect_code(77);
    assert!(
        played.stdout.contains("emr-etl-guard: the fixes are in fix.sh\n"),
        "{}",
        played.stdout
    );
    let script = stage.path("fix.sh");
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(hermetic_command("sh").arg("-n").arg(&script).status().unwrap().success());
    insta::assert_snapshot!(played.redact(&fs::read_to_string(&script).unwrap()));
    // A value that the script cannot know stops it before it uses that value.
    let (done, called) = run_script(&stage, &[]);
    assert!(!done && !called.iter().any(|call| call.contains("security-configuration")));
    let given = [("EMR_KMS_KEY_ARN", KEY), ("EMR_CERTIFICATES_S3_URI", ARCHIVE)];
    let (done, called) = run_script(&stage, &given);
    assert!(done);
    assert_eq!(
        called,
        [
            "s3api|put-public-access-block|--region|eu-west-1|--bucket|acme-out|--public-access-block-configuration|BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true|",
            "emr|create-security-configuration|--region|eu-west-1|--name|acme-sc|--security-configuration|file://emr-security-configuration.json|",
            "ec2|enable-ebs-encryption-by-default|--region|eu-west-1|",
        ]
    );
    // The configuration that these commands create passes the next check.
    let json = fs::read_to_string(stage.path("emr-security-configuration.json")).unwrap();
    let content: Value = serde_json::from_str(&json).unwrap();
    prepare(&stage, content);
    let played = stage.check();
    played.expect_code(0);
    let last = played.stdout.lines().last().unwrap();
    assert!(last.starts_with("emr-etl-guard: would launch"), "{last}");
}

#[test]
fn a_fix_script_is_written_over_no_file_of_others() {
    let stage = Stage::acme().option("--fix-script=own.sh");
    stage.write("own.sh", "#!/bin/sh\necho mine\n");
    let played = stage.check();
    played.expect_code(64);
    assert_eq!(
        played.unbroken(),
        "emr-etl-guard: the report cannot be written: own.sh: it exists, and the guard did not \
         write it; expected: a new name, or an earlier script of the guard; fix: give another \
         name, or remove the file\n"
    );
    assert_eq!(fs::read_to_string(stage.path("own.sh")).unwrap(), "#!/bin/sh\necho mine\n");
    assert!(stage.sim.requests().is_empty());
}

#[test]
fn the_last_line_of_a_check_counts_what_only_advises() {
    let stage = Stage::acme();
    stage.set(Set::PutBucket(PutBucket {
        name: "acme-out".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        public_access_block: Some(false),
        ..Default::default()
    }));
    let count = |played: &crate::support::Played| {
        let findings = played.report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["level"] == "advisory")
            .filter(|finding| ["failed", "unknown"].contains(&finding["status"].as_str().unwrap()))
            .count()
    };
    let played = stage.check();
    played.expect_code(0);
    let findings = match count(&played) {
        1 => "1 advisory finding".to_owned(),
        several => format!("{several} advisory findings"),
    };
    assert!(count(&played) > 0);
    assert_eq!(
        played.stdout.lines().last().unwrap(),
        format!("emr-etl-guard: would launch, {findings}")
    );
}

//! Launches that must be refused: the exit code, the messages, and that no runner was started and
//! no launch was requested of AWS.

use emr_simulator::{
    BucketEncryption, Command as Set, Fault, FaultKind, Named, PutBucket, PutKey, PutRole,
    PutSecurityConfiguration,
};
use serde_json::{Value, json};

use crate::{
    good_runs::waiting_cluster,
    support::{Played, Stage, closed_port},
};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

/// Runs, and checks that it was refused with `code` before anything existed.
#[track_caller]
fn refused(stage: &Stage, code: i32) -> Played {
    let played = stage.run();
    played.expect_code(code);
    assert!(!played.runner_started(), "the runner was started");
    for operation in ["RunJobFlow", "AddJobFlowSteps"] {
        assert!(stage.sim.requests_for(operation).is_empty(), "{operation} was asked");
    }
    assert!(
        played.stderr.starts_with("emr-etl-guard: REFUSED, nothing was launched: "),
        "{}",
        played.stderr
    );
    played
}

fn put_configuration(name: &str, content: Value) -> Set {
    Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: name.to_owned(),
        content,
        ..Default::default()
    })
}

#[test]
fn a_machine_without_ca_certificates_is_told_so_and_nothing_is_asked() {
    let stage = Stage::acme().env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    let played = stage.run();
    played.expect_code(69);
    assert_eq!(
        played.stderr,
        "emr-etl-guard: nothing was launched: AWS cannot be asked, because this machine has no CA \
         certificates;\n  \
         install the package ca-certificates, or name a bundle in SSL_CERT_FILE\n"
    );
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn a_jar_without_java_says_what_is_missing() {
    let stage = Stage::acme().env("PATH", "/nowhere");
    stage.write("runner.jar", "");
    let stage = stage.env("EMR_ETL_GUARD_RUNNER", "./runner.jar");
    let played = stage.run();
    played.expect_code(127);
    assert_eq!(
        played.stderr,
        "emr-etl-guard: EmrEtlRunner was not found: `java`, which runs ./runner.jar, is not on \
         PATH\n"
    );
}

#[test]
fn buckets_encrypted_otherwise_than_the_policy_accepts() {
    let stage = Stage::acme().option("--accept-encryption=SSE-KMS,DSSE-KMS");
    for name in ["acme-log", "acme-raw-in", "acme-raw-in2", "acme-etl", "acme-archive"] {
        stage.set(Set::PutBucket(PutBucket {
            name: name.to_owned(),
            default_encryption: Some(BucketEncryption::kms(KEY)),
            ..Default::default()
        }));
    }
    let played = refused(&stage, 77);
    insta::assert_snapshot!(played.transcript());
}

/// A bucket with a rule on encryption that only blocks one kind.
pub(crate) fn without_default_encryption(bucket: &str) -> Set {
    Set::PutBucket(PutBucket {
        name: bucket.to_owned(),
        default_encryption: Some(BucketEncryption {
            blocked: vec!["SSE-C".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    })
}

#[test]
fn a_bucket_whose_rule_does_not_encrypt() {
    let stage = Stage::acme();
    stage.set(without_default_encryption("acme-out"));
    let played = refused(&stage, 77);
    assert_eq!(played.findings("bucket-default-encryption")["acme-out"], "failed");
}

#[test]
fn a_bucket_that_does_not_exist() {
    let stage = Stage::acme().replace("s3://acme-archive/raw", "s3://acme-archve/raw");
    let played = refused(&stage, 77);
    assert_eq!(played.findings("bucket-exists")["acme-archve"], "failed");
    assert_eq!(played.findings("bucket-exists")["acme-archive"], "passed");
}

#[test]
fn a_bucket_of_another_region() {
    let stage = Stage::acme();
    stage.set(Set::PutBucket(PutBucket {
        name: "acme-far".to_owned(),
        region: Some("us-east-1".to_owned()),
        ..Default::default()
    }));
    let stage = stage.replace("s3://acme-log/emr", "s3://acme-far/emr");
    let played = refused(&stage, 77);
    assert_eq!(played.findings("bucket-region")["acme-far"], "failed");
}

#[test]
fn a_bucket_of_another_account_although_everybody_may_read_it() {
    let stage = Stage::acme();
    stage.set(Set::PutBucket(PutBucket {
        name: "theirs".to_owned(),
        account: Some("999999999999".to_owned()),
        public: true,
        ..Default::default()
    }));
    let stage = stage.replace("s3://acme-log/emr", "s3://theirs/emr");
    let played = refused(&stage, 77);
    assert_eq!(played.findings("bucket-owner")["theirs"], "failed");
    assert_eq!(played.findings("bucket-owner")["snowplow-hosted-assets"], "not-applicable");
}

#[test]
fn no_security_configuration_named_anywhere() {
    let stage = Stage::acme().replace("security_configuration: acme-sc", "security_configuration:");
    let played = refused(&stage, 77);
    insta::assert_snapshot!(played.stderr);
}

#[test]
fn a_security_configuration_that_does_not_exist() {
    let stage = Stage::acme();
    stage.set(Set::DeleteSecurityConfiguration(Named {
        name: "acme-sc".to_owned(),
        ..Default::default()
    }));
    let played = refused(&stage, 77);
    assert_eq!(played.findings("security-configuration-exists")["acme-sc"], "failed");
}

#[test]
fn at_rest_switched_on_but_empty() {
    let stage = Stage::acme();
    stage.set(put_configuration(
        "acme-sc",
        json!({"EncryptionConfiguration": {
            "EnableAtRestEncryption": true, "EnableInTransitEncryption": true
        }}),
    ));
    let played = refused(&stage, 77);
    for check in ["s3-at-rest", "local-disk-at-rest", "in-transit"] {
        assert_eq!(played.findings(check)["acme-sc"], "failed", "{check}");
    }
    assert_eq!(played.findings("security-configuration-exists")["acme-sc"], "passed");
}

#[test]
fn a_disabled_key() {
    let stage = Stage::acme();
    stage.set(Set::PutKey(PutKey {
        id: "11111111-1111-1111-1111-111111111111".to_owned(),
        state: Some("Disabled".to_owned()),
        ..Default::default()
    }));
    let played = refused(&stage, 77);
    assert_eq!(played.findings("kms-key-enabled")[KEY], "failed");
    insta::assert_snapshot!(played.stderr);
}

#[test]
fn an_asymmetric_key_and_one_of_another_region() {
    let stage = Stage::acme();
    stage.set(Set::PutKey(PutKey {
        id: "11111111-1111-1111-1111-111111111111".to_owned(),
        spec: Some("RSA_2048".to_owned()),
        ..Default::default()
    }));
    assert_eq!(refused(&stage, 77).findings("kms-key-symmetric")[KEY], "failed");

    let stage = Stage::acme();
    let far = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111";
    stage.set(put_configuration(
        "acme-sc",
        json!({"EncryptionConfiguration": {
            "EnableAtRestEncryption": true,
            "AtRestEncryptionConfiguration": {"S3EncryptionConfiguration": {
                "EncryptionMode": "SSE-KMS", "AwsKmsKey": far
            }}
        }}),
    ));
    assert_eq!(refused(&stage, 77).findings("kms-key-region")[far], "failed");
}

#[test]
fn a_role_without_generate_data_key() {
    let stage = Stage::acme();
    stage.set(Set::PutRole(PutRole {
        name: "EMR_EC2_DefaultRole".to_owned(),
        policies: vec![json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": ["s3:*", "kms:Decrypt"], "Resource": "*"}]
        })],
        instance_profile: Some("EMR_EC2_DefaultRole".to_owned()),
        ..Default::default()
    }));
    let played = refused(&stage, 77);
    assert_eq!(played.findings("jobflow-role-may-use-key")[KEY], "failed");
}

#[test]
fn a_role_that_does_not_exist() {
    let played = refused(&Stage::acme().replace("EMR_EC2_DefaultRole", "No_Such_Profile"), 77);
    assert_eq!(played.findings("jobflow-role-exists")["No_Such_Profile"], "failed");
    assert_eq!(played.findings("jobflow-role-may-use-key")[KEY], "unknown");
}

#[test]
fn a_release_too_old_for_ebs_encryption_and_no_subnet() {
    let played = refused(
        &Stage::acme()
            .replace("5.29.0", "5.9.0")
            .replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:"),
        77,
    );
    assert_eq!(played.findings("release-supports-encryption")["aws.emr.ami_version"], "failed");
    assert_eq!(played.findings("subnet-set")["aws.emr.ec2_subnet_id"], "failed");
}

#[test]
fn a_runner_that_ignores_both_settings_silently() {
    let played = refused(&Stage::acme().env("STANDIN_VERSION", "0.32.0"), 77);
    assert_eq!(played.findings("runner-version")["the runner"], "failed");
}

#[test]
fn credentials_of_two_accounts() {
    let played = refused(&Stage::acme().env("AWS_SNOWPLOW_ACCESS_KEY", "AKIAOTHER"), 77);
    assert_eq!(played.findings("same-account")["guard and runner"], "failed");
}

#[test]
fn an_endpoint_that_is_not_aws_and_not_allowed_and_it_is_never_asked() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", "http://127.0.0.1:1");
    let played = refused(&stage, 77);
    assert_eq!(stage.sim.requests().len(), 0, "nothing may be asked of a refused endpoint");
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn a_persistent_cluster_that_waits_without_the_security_configuration() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(waiting_cluster(&json!({})));
    let played = refused(&stage, 77);
    assert_eq!(played.findings("persistent-cluster")["j-WAITING"], "failed");
}

#[test]
fn a_persistent_cluster_that_is_still_starting_without_the_security_configuration() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(Set::SetTimings(emr_simulator::Timings::all(3600.0)));
    let Set::StartCluster(cluster) = waiting_cluster(&json!({})) else { unreachable!() };
    stage.set(Set::StartCluster(emr_simulator::StartCluster {
        state: emr_simulator::StartState::Starting,
        ..cluster
    }));
    let played = refused(&stage, 77);
    assert_eq!(played.findings("persistent-cluster")["j-WAITING"], "failed");
}

#[test]
fn s3_that_cannot_be_reached() {
    // A port that was free a moment ago: nothing listens on it.
    let (_held, port) = closed_port();
    let closed = format!("http://127.0.0.1:{port}");
    let stage = Stage::acme();
    let allowed = format!("{},{closed}", stage.sim.url());
    let played = refused(
        &stage.env("AWS_ENDPOINT_URL_S3", &closed).env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &allowed),
        69,
    );
    assert_eq!(played.findings("bucket-exists")["acme-out"], "unknown");
    let first = played.stderr.lines().next().unwrap().replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(first.split(" (and ").next().unwrap(), @"emr-etl-guard: REFUSED, \
        nothing was launched: 127.0.0.1 cannot be reached");
}

#[test]
fn access_denied_on_the_security_configuration() {
    let stage = Stage::acme();
    stage
        .set(Set::AddFault(Fault::every("DescribeSecurityConfiguration", FaultKind::AccessDenied)));
    let played = refused(&stage, 69);
    assert_eq!(played.findings("security-configuration-exists")["acme-sc"], "unknown");
    insta::assert_snapshot!(played.stderr);
}

#[test]
fn what_the_policy_only_advises_is_reported_but_does_not_refuse() {
    let stage = Stage::acme().replace("m4.large", "m5.large").option("--advise=kms-key-enabled");
    stage.set(Set::PutKey(PutKey {
        id: "11111111-1111-1111-1111-111111111111".to_owned(),
        state: Some("Disabled".to_owned()),
        rotation: true,
        ..Default::default()
    }));
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.findings("kms-key-enabled")[KEY], "failed");
    assert!(
        played.stdout.contains("2 failed, 0 unknown (2 of them advice only)"),
        "{}",
        played.stdout
    );
}

#[test]
fn a_bucket_that_is_called_external_but_written_to() {
    let played = refused(&Stage::acme().option("--external-buckets=acme-out"), 77);
    assert_eq!(played.findings("written-encryption")["enriched.good by s3-dist-cp"], "failed");
}

#[test]
fn what_an_exception_covers_is_excepted_with_its_reason_and_nothing_else_is() {
    let exceptions = |expires: &str| {
        format!(
            "exceptions:\n  - {{check: bucket-default-encryption, subject: acme-o*, reason: moved \
             by June, expires: {expires}}}\n  - {{check: subnet-set, subject: x, reason: old, \
             expires: 2999-01-31}}\n"
        )
    };
    let none = BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..Default::default() };
    let unencrypted = |name: &str| {
        Set::PutBucket(PutBucket {
            name: name.to_owned(),
            default_encryption: Some(none.clone()),
            ..Default::default()
        })
    };
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_SETTINGS", "guard.yml")
        .option("--advise=written-encryption,no-silent-downgrade");
    stage.write("guard.yml", &exceptions("2999-01-31"));
    stage.set(unencrypted("acme-out"));
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.findings("bucket-default-encryption")["acme-out"], "excepted");
    assert!(
        played.stdout.contains(
            "excepted: bucket-default-encryption acme-out: moved by June (until 2999-01-31)\n"
        ),
        "{}",
        played.stdout
    );
    assert!(
        played.stdout.contains(
            "the exception for subnet-set x covers nothing; remove it from the settings\n"
        ),
        "{}",
        played.stdout
    );

    stage.set(unencrypted("acme-archive"));
    let played = stage.check();
    played.expect_code(77);
    assert_eq!(played.findings("bucket-default-encryption")["acme-archive"], "failed");

    stage.write("guard.yml", &exceptions("2020-01-31"));
    stage.run().expect_code(64);
    stage.write(
        "guard.yml",
        "exceptions: [{check: cluster-release, subject: x, reason: y, expires: 2999-01-31}]\n",
    );
    stage.run().expect_code(64);
}

#[test]
fn another_exit_code_if_the_settings_say_so() {
    let stage = Stage::acme().option("--exit-codes=77=2");
    stage.set(Set::DeleteSecurityConfiguration(Named {
        name: "acme-sc".to_owned(),
        ..Default::default()
    }));
    refused(&stage, 2);
}

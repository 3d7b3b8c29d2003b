//! The IAM policy that `explain --permissions` prints: it allows exactly the calls that the guard
//! really makes.

use std::collections::BTreeSet;

use emr_etl_guard::{
    base::aws_calls::{Call, Resource},
    checks::catalogue::CATALOGUE,
};
use emr_simulator::{BucketEncryption, Command as Set, PutBucket, Recorded};
use serde_json::{Value, json};

use crate::{
    good_runs::waiting_cluster,
    support::{Played, Stage, hermetic_command},
};

/// The actions of the policy that is printed for a stage's config.
fn allowed(stage: &Stage) -> BTreeSet<String> {
    let policy = printed(stage);
    let actions = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap());
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

/// The policy that is printed for a stage's config.
pub(crate) fn printed(stage: &Stage) -> Value {
    let mut command = stage.bare_command("explain");
    let arguments: Vec<_> = command.get_args().skip(1).map(ToOwned::to_owned).collect();
    let mut asked = hermetic_command(command.get_program());
    asked.arg("explain").arg("--permissions").args(arguments);
    stage.prepare(&mut asked);
    std::mem::swap(&mut asked, &mut command);
    let played = stage.play(command);
    played.expect_code(0);
    serde_json::from_str(&played.stdout).unwrap()
}

/// The permissions for the calls that the guard made on a stage.
fn needed(stage: &Stage) -> BTreeSet<String> {
    stage.requests_of_guard().map(|request| permission_for(&request)).collect()
}

/// The permission for a request.
pub(crate) fn permission_for(request: &Recorded) -> String {
    let (service, operation) = (&request.subject.service, &request.subject.operation);
    // Buckets and accounts have calls with the same name.
    let is_of_bucket =
        |call: &&Call| call.on != Resource::Bucket || request.subject.bucket.is_some();
    let calls = CATALOGUE.iter().flat_map(|check| check.asks.iter().copied());
    let mut known = calls.filter(|call| {
        call.operation == operation && call.permission.starts_with(&format!("{service}:"))
    });
    let known = known.find(is_of_bucket);
    known.map_or_else(|| format!("{service}:{operation}"), |call| call.permission.to_owned())
}

fn with_alerts() -> Stage {
    Stage::acme().env("EMR_ETL_GUARD_ALERT_SNS", "arn:aws:sns:eu-west-1:123456789012:etl-alerts")
}

#[test]
fn the_printed_policy_allows_every_call_that_the_guard_makes_and_no_other() {
    let adopting = Stage::acme().argument("--use-persistent-jobflow");
    adopting.set(waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    adopting.run().expect_code(0);
    let of_fleets = Stage::acme().argument("--use-persistent-jobflow");
    of_fleets.set(waiting_cluster(&json!({
        "SecurityConfiguration": "acme-sc",
        "Instances": crate::shown_by_aws::fleets(|_| {})
    })));
    of_fleets.run().expect_code(0);
    let unsafe_one = with_alerts().misbehave("drop-security-configuration");
    unsafe_one.set(Set::SetNextCluster(emr_simulator::NextCluster {
        termination_protected: Some(true),
        ..Default::default()
    }));
    let open = PutBucket {
        name: "acme-log".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        public_access_block: Some(false),
        ..Default::default()
    };
    unsafe_one.set(Set::PutBucket(open));
    unsafe_one.run().expect_code(76);
    let mut needed: BTreeSet<String> =
        [&adopting, &of_fleets, &unsafe_one].into_iter().flat_map(needed).collect();
    // S3 calls KMS on the guard's behalf if the archive of certificates is encrypted with SSE-KMS.
    needed.insert("kms:Decrypt".to_owned());
    let allowed_then = allowed(&with_alerts());
    assert_eq!(allowed_then, needed);
    // Without an SNS topic, no permission for it is printed.
    assert_eq!(
        allowed(&Stage::acme()),
        allowed_then.into_iter().filter(|action| action != "sns:Publish").collect()
    );
}

/// `explain --scp` with these arguments.
fn service_control(arguments: &[&str]) -> Played {
    let stage = Stage::acme();
    let mut command = hermetic_command(stage.bare_command("explain").get_program());
    command.args(["explain", "--scp"]).args(arguments);
    stage.prepare(&mut command);
    stage.play(command)
}

#[test]
fn the_service_control_policy_is_printed_alone_and_its_limits_beside_it() {
    let launcher = "arn:aws:iam::123456789012:role/etl";
    let admin = "arn:aws:iam::123456789012:role/platform/admin";
    let config = ["--", "run", "-c", "config.yml", "-r", "resolver.json"];
    let named = ["--launcher", launcher, "--admin", admin];
    let played = service_control(&[&named[..], &config].concat());
    played.expect_code(0);
    let policy: Value = serde_json::from_str(&played.stdout).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let statement = |sid: &str| statements.iter().find(|one| one["Sid"] == sid).unwrap();
    let not_by = |arn: &str| json!({"ArnNotLike": {"aws:PrincipalArn": [arn]}});
    assert_eq!(statement("OnlyLaunchersStartClusters")["Condition"], not_by(launcher));
    let configurations = statement("OnlyAdminsChangeSecurityConfigurations");
    assert_eq!(configurations["Condition"], not_by(admin));
    let roles = &statement("OnlyEncryptedVolumes")["Condition"]["ArnLike"]["aws:PrincipalArn"];
    assert_eq!(roles[0], "arn:aws:iam::*:role/EMR_DefaultRole");
    for one in statements {
        let limits = format!("emr-etl-guard: {} does not stop: ", one["Sid"].as_str().unwrap());
        assert!(played.stderr.contains(&limits), "{}", played.stderr);
    }

    // Whoever is left out would be locked out, so both have to be named.
    for (arguments, said) in [
        (&[][..], "--launcher <ARN>"),
        (&["--launcher", launcher], "--admin <ARN>"),
        (
            &["--launcher", "arn:aws:sts::123456789012:assumed-role/etl/i-1", "--admin", admin],
            "arn:aws:iam::123456789012:role/etl (with",
        ),
        (&["--launcher", launcher, "--admin", "arn:aws-cn:iam::*:role/x"], "aws, aws-cn"),
    ] {
        let played = service_control(arguments);
        played.expect_code(64);
        assert!(played.stderr.contains(said), "{}", played.stderr);
        assert_eq!(played.stdout, "");
    }
}

//! `setup` on whole accounts: what it plans, what it makes, and that `check` passes afterwards.

use std::{collections::BTreeSet, path::Path};

use emr_simulator::{
    ANY_WRITE, BucketEncryption, Command as Set, Fault, FaultKind, PutBucket, PutKey, PutObject,
    Seed, Sse,
};
use serde_json::{Value, json};

use crate::support::{Played, Stage, wait_until};

/// Beginnings of the names of calls that change nothing.
const READS: [&str; 5] = ["Get", "List", "Describe", "Head", "Simulate"];
pub(crate) const APPLY: [&str; 3] = ["--apply", "--write-config", "--report=setup.json"];

/// An account of `region` that has nothing of a pipeline but its network, and a config without
/// encryption.
pub(crate) fn empty_account(region: &str) -> Stage {
    let stage = Stage::acme()
        .replace("security_configuration: acme-sc\n", "security_configuration:\n")
        .replace_all("eu-west-1", region);
    stage.set(Set::Reset);
    stage.set(Set::Seed(Seed { scene: "empty".to_owned(), region: Some(region.to_owned()) }));
    stage.timed()
}

/// The calls of the guard that have changed something, in order.
pub(crate) fn writes(stage: &Stage) -> Vec<String> {
    let operations = stage.requests_of_guard().map(|request| request.subject.operation);
    operations.filter(|operation| !READS.iter().any(|read| operation.starts_with(read))).collect()
}

/// What `setup` with these options prints and ends with. The config that it leaves is that of the
/// stage afterwards.
pub(crate) fn setup(stage: &mut Stage, options: &[&str]) -> Played {
    let played = stage.play(stage.with_options("setup", options));
    stage.config = std::fs::read_to_string(stage.path("config.yml")).unwrap();
    played
}

pub(crate) fn document(stage: &Stage, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(stage.path(file)).unwrap()).unwrap()
}

/// The steps of the plan in a report, as `action kind subject`, without those that stay.
pub(crate) fn to_do(stage: &Stage, file: &str) -> Vec<String> {
    let report = document(stage, file);
    let steps = report["plan"].as_array().unwrap().iter();
    steps
        .filter(|step| step["action"] != "keep")
        .map(|step| {
            let text = |name: &str| step[name].as_str().unwrap().to_owned();
            format!("{} {} {}", text("action"), text("kind"), text("subject"))
        })
        .collect()
}

/// The transcript without the digest of new certificates and the time in an archive's name.
fn steady(played: &Played) -> String {
    let digest = regex::Regex::new("SHA-256 [0-9a-f]{64}").unwrap();
    let text = played.transcript();
    digest.replace_all(&text, "SHA-256 DIGEST").into_owned()
}

/// Makes a whole account, from an empty one.
pub(crate) fn made_account() -> Stage {
    let mut stage = empty_account("eu-west-1");
    setup(&mut stage, &APPLY).expect_code(0);
    stage
}

/// Events that the collectors have written, under the bucket's default encryption.
pub(crate) fn events(stage: &Stage) {
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-raw-in".to_owned(),
        key: "logs/2026-11-30-raw.lzo".to_owned(),
        ..PutObject::default()
    }));
}

/// What matters of an account: everything but clusters and what the guard only reads.
pub(crate) fn account(stage: &Stage) -> Value {
    stage.sim.with_world(|world| {
        let world = serde_json::to_value(world).unwrap();
        let parts =
            ["buckets", "keys", "roles", "users", "instance_profiles", "security_configurations"];
        parts.iter().map(|part| ((*part).to_owned(), world[*part].clone())).collect()
    })
}

#[test]
fn a_plan_for_an_empty_account_says_everything_and_changes_nothing() {
    let mut stage = empty_account("eu-west-1");
    let before = account(&stage);
    let played = setup(&mut stage, &[]);
    played.expect_code(0);
    assert_eq!(writes(&stage), [] as [&str; 0]);
    assert_eq!(account(&stage), before);
    insta::assert_snapshot!(played.transcript());
}

#[test]
fn from_an_empty_account_one_command_leads_to_a_check_that_passes_and_to_a_confirmed_run() {
    let mut stage = empty_account("eu-west-1");
    let played = setup(&mut stage, &APPLY);
    played.expect_code(0);
    insta::assert_snapshot!(steady(&played));
    stage.check().expect_code(0);
    // Nothing is left to do, and nothing is done.
    let before = writes(&stage).len();
    setup(&mut stage, &["--apply", "--report=again.json"]).expect_code(0);
    assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0]);
    assert_eq!(writes(&stage).len(), before);
    events(&stage);
    stage.run().expect_code(0);
}

#[test]
fn govcloud_china_and_the_sovereign_cloud_have_their_own_partitions() {
    for (region, partition) in
        [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eusc-de-east-1", "aws-eusc")]
    {
        let mut stage = empty_account(region);
        setup(&mut stage, &APPLY).expect_code(0);
        let text = account(&stage).to_string();
        assert!(text.contains(&format!("arn:{partition}:")), "{region}");
        assert!(!text.contains("arn:aws:"), "{region}: {text}");
        stage.check().expect_code(0);
    }
}

#[test]
fn what_others_wrote_in_policies_stays() {
    let mut stage = empty_account("eu-west-1");
    let statement = json!({
        "Sid": "Auditors", "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-out/*",
    });
    let bucket = |policy: &Value| PutBucket {
        name: "acme-out".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        policy: Some(json!({"Version": "2008-10-17", "Id": "ours", "Statement": policy})),
        ..PutBucket::default()
    };
    stage.set(Set::PutBucket(bucket(&statement)));
    setup(&mut stage, &APPLY).expect_code(0);
    let policy = stage.sim.with_world(|world| world.buckets["acme-out"].policy.clone()).unwrap();
    assert_eq!((&policy["Version"], &policy["Id"]), (&"2008-10-17".into(), &"ours".into()));
    assert_eq!(policy["Statement"][0], statement);
    assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
}

#[test]
fn a_permission_is_asked_for_where_one_was_denied_and_not_where_the_answer_is_no_answer() {
    for (fault, fix) in [
        (FaultKind::AccessDenied, "allow iam:SimulatePrincipalPolicy to the guard's credentials"),
        (FaultKind::GarbageBody, "try again; if it stays so, ask the same by the AWS CLI"),
    ] {
        let mut stage = empty_account("eu-west-1");
        stage.set(Set::AddFault(Fault::every("SimulatePrincipalPolicy", fault)));
        let played = setup(&mut stage, &[]);
        played.expect_code(69);
        let of_launcher = played.stdout.lines().skip_while(|line| !line.starts_with("UNKNOWN"));
        let fixes: Vec<&str> = of_launcher
            .filter_map(|line| line.trim_start().strip_prefix("fix "))
            .map(str::trim_start)
            .collect();
        assert!(fixes[0].starts_with(fix), "{}", played.transcript());
    }
}

#[test]
fn of_two_at_once_one_holds_and_the_other_says_so() {
    let stage = empty_account("eu-west-1");
    stage.set(Set::AddFault(Fault::nth(ANY_WRITE, 1, FaultKind::Hang)));
    let mut first = stage.with_options("setup", &APPLY).spawn().unwrap();
    wait_until("the first is held", || stage.sim.requests().iter().any(|it| it.fault.is_some()));
    let second = stage.play(stage.with_options("setup", &APPLY));
    first.kill().unwrap();
    first.wait().unwrap();
    second.expect_code(69);
    assert!(second.unbroken().contains("another setup with this state directory is under way"));
}

#[test]
fn undo_takes_back_what_a_setup_made_but_the_key_and_what_is_used() {
    let mut stage = made_account();
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-raw-in".to_owned(),
        key: "logs/today".to_owned(),
        body: Some("x".to_owned()),
        sse: Some(Sse::None),
        ..PutObject::default()
    }));
    let planned = setup(&mut stage, &["--undo=setup.json"]);
    planned.expect_code(0);
    // S3 itself blocks public access to a new bucket: setup found that, and has not made it.
    let would = planned.transcript();
    assert!(
        would.contains(": bucket acme-out") && !would.contains("public access block"),
        "{would}"
    );
    let before = writes(&stage).len();
    let played = setup(&mut stage, &["--undo=setup.json", "--apply", "--report=undo.json"]);
    assert!(writes(&stage).len() > before);
    insta::assert_snapshot!(played.transcript());
    // What was in place before the undo is not said to be.
    let undone = document(&stage, "undo.json");
    assert_eq!((&undone["plan"], &undone["left"]), (&json!([]), &json!([])));
    assert_eq!(undone["taken_back"].as_array().unwrap().len(), 28);
    let left: Vec<String> = stage.sim.with_world(|world| world.buckets.keys().cloned().collect());
    assert!(left.contains(&"acme-raw-in".to_owned()), "{left:?}");
    assert!(!left.contains(&"acme-out".to_owned()), "{left:?}");
    stage.sim.with_world(|world| {
        assert!(world.keys.iter().all(|key| key.state == "Enabled"));
        assert!(world.security_configurations.is_empty());
    });
}

#[test]
fn certificates_are_rotated_and_the_old_security_configuration_is_retired_once_nothing_uses_it() {
    let mut stage = made_account();
    let names = |stage: &Stage| -> Vec<String> {
        stage.sim.with_world(|world| {
            world.security_configurations.iter().map(|it| it.name.clone()).collect()
        })
    };
    let old = names(&stage);
    let played = setup(
        &mut stage,
        &["--rotate-certificates", "--apply", "--write-config", "--report=rotation.json"],
    );
    played.expect_code(0);
    assert_eq!(names(&stage).len(), 2);
    stage.check().expect_code(0);
    events(&stage);
    stage.run().expect_code(0);
    // The new one is named by the config.
    let new = names(&stage).into_iter().find(|name| !old.contains(name)).unwrap();
    let refused = setup(&mut stage, &["--apply", &format!("--retire={new}")]);
    refused.expect_code(77);
    let retire = format!("--retire={}", old[0]);
    setup(&mut stage, &["--apply", &retire, "--report=retired.json"]).expect_code(0);
    assert_eq!(names(&stage), [new]);
    let retired = document(&stage, "retired.json");
    let [piece] = retired["taken_back"].as_array().unwrap().as_slice() else {
        panic!("one was retired: {retired}")
    };
    assert_eq!(piece["piece"]["name"], old[0]);
    assert_eq!(piece["calls"][0]["operation"], "DeleteSecurityConfiguration");
    assert!(piece["calls"][0]["request"].is_string(), "{piece}");
}

#[test]
fn code_is_written_for_the_same_plan_and_nobodys_file_is_replaced() {
    let mut stage = empty_account("eu-west-1");
    let options = ["--terraform=terraform", "--cloudformation=setup.yml"];
    for _ in 0..2 {
        setup(&mut stage, &options).expect_code(0);
    }
    assert_eq!(writes(&stage), [] as [&str; 0]);
    let main = std::fs::read_to_string(stage.path("terraform/s3.tf")).unwrap();
    assert!(main.contains("aws_s3_bucket_policy"), "{main}");
    stage.write("setup.yml", "Resources: {}\n");
    setup(&mut stage, &options).expect_code(64);
    let kept = std::fs::read_to_string(stage.path("setup.yml")).unwrap();
    assert_eq!(kept, "Resources: {}\n");
}

#[test]
fn the_policy_that_is_printed_allows_every_call_of_a_whole_setup() {
    let mut stage = empty_account("eu-west-1");
    let printed = setup(&mut stage, &["--permissions"]);
    printed.expect_code(0);
    let policy: Value = serde_json::from_str(&printed.stdout).unwrap();
    let allowed: BTreeSet<String> = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    let everything: Vec<&str> =
        APPLY.into_iter().chain([FOR_THE_GUARD, "--with=alert-topic,event-queue"]).collect();
    setup(&mut stage, &everything).expect_code(0);
    setup(&mut stage, &["--rotate-certificates", "--apply"]).expect_code(0);
    setup(&mut stage, &["--undo=setup.json", "--apply"]);
    let missing: BTreeSet<String> = stage
        .requests_of_guard()
        .map(|request| permission(&request.subject.service, &request.subject.operation))
        .filter(|needed| !allowed.contains(needed))
        .collect();
    assert_eq!(missing, BTreeSet::new());
}

/// The IAM action of a call, where it has another name.
pub(crate) fn permission(service: &str, operation: &str) -> String {
    let action = match operation {
        "HeadBucket" | "ListObjectsV2" => "ListBucket",
        "ListObjectVersions" => "ListBucketVersions",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "HeadObject" => "GetObject",
        "GetBucketEncryption" => "GetEncryptionConfiguration",
        "PutBucketEncryption" | "DeleteBucketEncryption" => "PutEncryptionConfiguration",
        "GetPublicAccessBlock" => "GetBucketPublicAccessBlock",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "PutObjectLockConfiguration" => "PutBucketObjectLockConfiguration",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "PutBucketPublicAccessBlock",
        other => other,
    };
    // CloudWatch is called by another name than its actions have.
    let service = if service == "monitoring" { "cloudwatch" } else { service };
    format!("{service}:{action}")
}

#[test]
fn a_config_that_cannot_be_edited_is_left_alone_and_the_lines_are_printed() {
    let mut stage = empty_account("eu-west-1")
        .replace("      encrypted: false\n", "      encrypted: <%= ENV['NOT_THERE'] || false %>\n");
    let before = stage.config.clone();
    let played = setup(&mut stage, &APPLY);
    assert_eq!(stage.config, before);
    assert_ne!(played.code, Some(0));
    assert!(played.stderr.contains("encrypted: true"), "{}", played.transcript());
    assert!(Path::new(&stage.path("setup.json")).exists());
}

#[test]
fn a_key_of_the_owners_is_used_with_its_policy_kept() {
    let mut stage = empty_account("eu-west-1");
    stage.set(Set::PutKey(PutKey {
        id: "33333333-3333-3333-3333-333333333333".to_owned(),
        aliases: vec!["alias/owners".to_owned()],
        ..PutKey::default()
    }));
    let before = stage.sim.with_world(|world| world.keys[0].policy.clone());
    let options: Vec<&str> = APPLY.into_iter().chain(["--key=alias/owners"]).collect();
    setup(&mut stage, &options).expect_code(0);
    stage.sim.with_world(|world| {
        assert_eq!(world.keys.len(), 1);
        let after = &world.keys[0].policy;
        let statements = |policy: &Value| policy["Statement"].as_array().unwrap().clone();
        assert_eq!(statements(after)[..statements(&before).len()], statements(&before));
        assert!(world.keys[0].rotation);
    });
    stage.check().expect_code(0);
}

const EVIDENCE: &str = "emr-etl-evidence-123456789012-eu-west-1";
const FOR_THE_GUARD: &str = "--with=guard-policy,evidence-bucket";

#[test]
fn what_the_guard_itself_uses_is_made_on_request_and_its_reports_go_there() {
    let mut stage = empty_account("eu-west-1");
    let options: Vec<&str> =
        APPLY.into_iter().chain([FOR_THE_GUARD, "--write-settings=guard.yml"]).collect();
    let played = setup(&mut stage, &options);
    played.expect_code(0);
    let evidence = |stage: &Stage| stage.sim.with_world(|world| json!(world.buckets[EVIDENCE]));
    let bucket = evidence(&stage);
    assert_eq!(bucket["object_lock"], true);
    let year = json!({"mode": "GOVERNANCE", "unit": "Days", "number": 365});
    assert_eq!(bucket["default_retention"], year);
    let settings = std::fs::read_to_string(stage.path("guard.yml")).unwrap();
    assert!(settings.contains(&format!("- \"s3://{EVIDENCE}/\"")), "{settings}");

    // Nothing is left to do.
    let before = writes(&stage).len();
    setup(&mut stage, &["--apply", FOR_THE_GUARD, "--report=again.json"]).expect_code(0);
    assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0]);
    assert_eq!(writes(&stage).len(), before);

    // The settings that were written deliver a run's report, which is kept.
    events(&stage);
    let mut stage = stage.option("--settings=guard.yml");
    stage.run().expect_code(0);
    let objects = evidence(&stage)["objects"].as_object().unwrap().clone();
    assert!(!objects.is_empty());
    for (key, object) in &objects {
        assert_eq!(object["attributes"]["retention"]["mode"], "GOVERNANCE", "{key}");
    }

    // It stays where everything else is taken back.
    let played = setup(&mut stage, &["--undo=setup.json", "--apply"]);
    let text = played.transcript();
    assert!(text.contains(&format!("bucket {EVIDENCE}: stays: it is not empty")), "{text}");
    assert!(text.contains(&format!("default retention {EVIDENCE}: stays: it protects")), "{text}");
    assert_eq!(evidence(&stage)["default_retention"], year);
}

#[test]
fn a_bucket_for_evidence_that_exists_is_strengthened_and_an_empty_one_is_taken_back() {
    let mut stage = made_account();
    let exists = PutBucket { name: EVIDENCE.to_owned(), ..PutBucket::default() };
    stage.set(Set::PutBucket(exists));
    let with = "--with=evidence-bucket";
    setup(&mut stage, &["--apply", with, "--report=evidence.json"]).expect_code(0);
    let bucket = |stage: &Stage| stage.sim.with_world(|world| json!(world.buckets.get(EVIDENCE)));
    assert_eq!(bucket(&stage)["versioning"], "Enabled");
    assert_eq!(bucket(&stage)["default_retention"]["number"], 365);
    setup(&mut stage, &["--undo=evidence.json", "--apply"]).expect_code(0);
    assert_eq!(bucket(&stage)["default_retention"], Value::Null);

    let mut stage = made_account();
    setup(&mut stage, &["--apply", with, "--report=evidence.json"]).expect_code(0);
    assert_eq!(bucket(&stage)["object_lock"], true);
    setup(&mut stage, &["--undo=evidence.json", "--apply"]).expect_code(0);
    assert_eq!(bucket(&stage), Value::Null);
    stage.check().expect_code(0);
}

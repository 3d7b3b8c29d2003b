//! The command `check`: what it checks, and its output formats.

use emr_simulator::{
    AccountBlock, BucketEncryption, Command as Set, Fault, FaultKind, PutBucket, PutObject, Sse,
};
use serde_json::Value;

use crate::support::Stage;

fn without_public_access_block(stage: &Stage) {
    let bucket = PutBucket {
        name: "acme-out".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        public_access_block: Some(false),
        ..Default::default()
    };
    stage.set(Set::PutBucket(bucket));
}

/// The finding on the bucket's public access block, and how often the account's own was requested.
fn public_access(stage: &Stage) -> (String, usize) {
    let played = stage.check();
    let found = played.findings("bucket-public-access-block")["acme-out"].clone();
    let of_account = stage
        .sim
        .requests_for("GetPublicAccessBlock")
        .into_iter()
        .filter(|request| request.subject.bucket.is_none());
    (found, of_account.count())
}

#[test]
fn the_accounts_public_access_block_counts_where_the_buckets_own_is_not_whole_and_is_not_asked_for_elsewhere()
 {
    assert_eq!(public_access(&Stage::acme()), ("passed".to_owned(), 0));
    let stage = Stage::acme();
    without_public_access_block(&stage);
    assert_eq!(public_access(&stage), ("failed".to_owned(), 1));
    let block = |on| {
        Set::SetAccountPublicAccessBlock(AccountBlock { on: Some(on), ..AccountBlock::default() })
    };
    stage.set(block(false));
    assert_eq!(public_access(&stage).0, "failed");
    stage.set(block(true));
    assert_eq!(public_access(&stage), ("passed".to_owned(), 3));
    // An unknown account setting is neither a pass nor a failure.
    stage.set(Set::AddFault(Fault {
        matching: Some("123456789012".to_owned()),
        ..Fault::every("GetPublicAccessBlock", FaultKind::AccessDenied)
    }));
    assert_eq!(public_access(&stage).0, "unknown");
}

#[test]
fn check_needs_no_runner_but_run_does() {
    let stage = Stage::acme().without_env("EMR_ETL_GUARD_RUNNER").env("PATH", "/nowhere");
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(
        played.findings("runner-version").into_values().collect::<Vec<_>>(),
        ["not-applicable"]
    );
    stage.run().expect_code(127);
    // An explicitly named runner must exist.
    Stage::acme().env("EMR_ETL_GUARD_RUNNER", "/nowhere/runner").check().expect_code(127);
}

/// EmrEtlRunner loads its config, then reads the resolver, and stops with exit code 1.
#[test]
fn check_judges_the_runners_arguments_as_run_does() {
    let played = |arguments: &[&str], said: &str| {
        for command in ["check", "run"] {
            let mut stage = Stage::acme();
            stage.arguments = arguments.iter().map(ToString::to_string).collect();
            let played = stage.play(stage.command(command));
            played.expect_code(65);
            assert_eq!(played.unbroken(), format!("emr-etl-guard: {said}\n"), "{command}");
            assert!(!played.runner_started() && stage.sim.requests().is_empty(), "{command}");
        }
    };
    played(
        &["run", "-c", "config.yml"],
        "the runner's arguments: EmrEtlRunner would stop with `Missing option: resolver`; fix: add \
         `-r resolver.json`",
    );
    played(
        &["run", "-c", "config.yml", "-r", "nope.json"],
        "the runner's arguments: the resolver nope.json cannot be read: No such file or directory \
         (os error 2)",
    );
    played(
        &["run", "-c", "config.yml", "-r", "."],
        "the runner's arguments: the resolver . is not a regular file",
    );
    // The config comes first, as with the runner.
    played(
        &["run", "-c", "nope.yml"],
        "nope.yml: cannot be read: No such file or directory (os error 2)",
    );
}

#[test]
fn only_the_checks_named_decide_and_the_others_are_not_spoken_of() {
    let stage = Stage::acme().replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:");
    stage.check().expect_code(77);
    let stage = stage.option("--only=bucket-exists,s3-at-rest");
    let played = stage.play(stage.command("check"));
    played.expect_code(0);
    assert!(!played.stdout.contains("would launch"), "{}", played.stdout);
    insta::assert_snapshot!(played.transcript());
    assert_eq!(played.report["only"], true);
    let stage = stage.option("--only=subnet-set");
    stage.play(stage.command("check")).expect_code(77);
    let stage = Stage::acme().option("--only=cluster-ended");
    let played = stage.check();
    played.expect_code(64);
    assert_eq!(
        played.stderr,
        "emr-etl-guard: settings: --only: there is no check `cluster-ended` before a launch; \
         `emr-etl-guard explain` lists them\n"
    );
}

#[test]
fn a_check_that_was_not_reached_is_not_proved_by_its_silence() {
    let played = Stage::acme()
        .env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", "")
        .option("--only=bucket-exists")
        .check();
    played.expect_code(69);
    assert_eq!(played.findings("bucket-exists").into_values().collect::<Vec<_>>(), ["unknown"]);
}

#[test]
fn with_json_standard_output_is_the_report_and_nothing_else() {
    let played = Stage::acme().option("--json").check();
    played.expect_code(0);
    let printed: Value = serde_json::from_str(&played.stdout).unwrap();
    assert_eq!(printed, played.report);
    assert_eq!(printed["verdict"], "launch");
    let gaps: Vec<&str> = printed["residual_risks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| gap["name"].as_str().unwrap())
        .collect();
    assert_eq!(gaps, ["hdfs-rpc-privacy", "log-key", "luks-unseen"]);
    // A refusal is reported in the same way, and on standard error as always.
    let refused = Stage::acme()
        .replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:")
        .option("--json")
        .check();
    refused.expect_code(77);
    assert_eq!(serde_json::from_str::<Value>(&refused.stdout).unwrap()["exit_code"], 77);
    assert!(refused.stderr.starts_with("emr-etl-guard: REFUSED"), "{}", refused.stderr);
}

#[test]
fn junit_and_markdown_tell_what_is_failed_what_is_unknown_and_what_is_only_advice() {
    let stage = Stage::acme().option("--junit=junit.xml").option("--markdown=summary.md");
    without_public_access_block(&stage);
    let stage = stage.replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:");
    stage.set(Set::AddFault(Fault::every("GetRole", FaultKind::AccessDenied)));
    let played = stage.check();
    played.expect_code(77);
    let read = |name: &str| played.redact(&std::fs::read_to_string(stage.path(name)).unwrap());
    insta::assert_snapshot!("markdown", read("summary.md"));
    let junit = read("junit.xml");
    let cases: Vec<&str> = junit
        .lines()
        .filter(|line| {
            line.contains("<testcase") || line.contains("<failure") || line.contains("<error")
        })
        .collect();
    let about = |name: &str| {
        cases.iter().filter(|line| line.contains(name)).copied().collect::<Vec<_>>().join("\n")
    };
    assert!(junit.contains(r#"failures="1""#) && junit.contains("errors="), "{junit}");
    assert!(about("subnet-set").contains("aws.emr.ec2_subnet_id"), "{junit}");
    assert!(
        junit.contains("advisory: seen not all four settings on, nor are they with the account"),
        "{junit}"
    );
    // If a file cannot be written, nothing is checked.
    let stage = Stage::acme().option("--junit=/nowhere/junit.xml");
    let played = stage.check();
    played.expect_code(64);
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn the_whole_look_has_one_deadline_whatever_each_call_is_allowed() {
    let stage = Stage::acme()
        // Enough for all calls that are answered, on a busy machine.
        .env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", "5s")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "50s");
    stage.set(Set::AddFault(Fault::every("DescribeKey", FaultKind::Hang)));
    stage.set(Set::AddFault(Fault::every("ListObjectsV2", FaultKind::Hang)));
    // The stage gives up after a minute; the limit of each single call is as long.
    let played = stage.run();
    played.expect_code(69);
    assert!(
        played.stderr.contains(
            "no answer within the time limit for the whole look (setting `pre_flight_timeout`)"
        ),
        "{}",
        played.stderr
    );
    assert!(!played.runner_started());
    // Calls that were answered in time still count.
    assert_eq!(
        played.findings("bucket-exists").into_values().filter(|status| status == "passed").count(),
        6
    );
}

#[test]
fn more_objects_than_the_limit_are_sampled_evenly_and_reported_as_sampled() {
    let stage = Stage::acme().option("--data-objects=10");
    for n in 0..35 {
        let object = PutObject {
            bucket: "acme-raw-in".to_owned(),
            key: format!("logs/more-{n:02}"),
            body: Some("x".to_owned()),
            ..Default::default()
        };
        stage.set(Set::PutObject(object));
    }
    let played = stage.check();
    played.expect_code(0);
    let survey = &played.report["facts"]["data"]["raw.in[0]"]["found"];
    assert_eq!(
        (survey["objects"].as_u64(), survey["looked_at"].as_u64()),
        (Some(37), Some(10)),
        "{survey}"
    );
    assert!(
        played
            .stdout
            .contains("of the 37 objects in raw.in[0], an even sample of 10 was looked at"),
        "{}",
        played.stdout
    );
    let heads = stage.sim.requests_for("HeadObject");
    assert_eq!(
        heads
            .iter()
            .filter(|request| request.subject.bucket.as_deref() == Some("acme-raw-in"))
            .count(),
        10
    );
}

#[test]
fn a_head_that_is_refused_without_a_word_is_not_taken_for_sse_c() {
    let stage = Stage::acme();
    // S3's responses to a HEAD and a GET with expired credentials; the HEAD's response has no body.
    for operation in ["HeadObject", "GetObject"] {
        let (code, message) =
            ("ExpiredToken".to_owned(), "The provided token has expired.".to_owned());
        stage.set(Set::AddFault(Fault::every(
            operation,
            FaultKind::Error { status: 400, code, message },
        )));
    }
    let played = stage.check();
    played.expect_code(69);
    let found = played.findings("data-encrypted");
    assert_eq!(found.get("raw.in[0]").map(String::as_str), Some("unknown"), "{found:?}");
    assert!(
        played.stdout.contains("2 objects: ExpiredToken: The provided token has expired."),
        "{}",
        played.stdout
    );
}

#[test]
fn objects_that_are_not_as_they_should_be_are_counted_and_named() {
    let stage = Stage::acme();
    for (key, sse) in
        [("a", Sse::None), ("b", Sse::None), ("c", Sse::Customer), ("empty/", Sse::None)]
    {
        let body = if key == "empty/" { "" } else { "12345" };
        let object = PutObject {
            bucket: "acme-raw-in".to_owned(),
            key: format!("logs/{key}"),
            body: Some(body.to_owned()),
            sse: Some(sse),
            ..Default::default()
        };
        stage.set(Set::PutObject(object));
    }
    let played = stage.run();
    played.expect_code(77);
    let first = played.stderr.lines().next().unwrap();
    assert_eq!(
        first,
        "emr-etl-guard: REFUSED, nothing was launched: data-encrypted raw.in[0]: 2 objects (10 \
         bytes) unencrypted: logs/a ..."
    );
    assert!(
        played.stderr.contains(
            "seen      2 objects (10 bytes) unencrypted: logs/a, logs/b; 1 object (5 bytes) \
             SSE-C, under a key that the run does not have: logs/c, of all 5 objects"
        ),
        "{}",
        played.stderr
    );
    // An operator who accepts it can say so in the policy.
    let stage = stage.option("--advise=data-encrypted");
    stage.play(stage.command("check")).expect_code(0);
    let stage = stage.option("--data-objects=0");
    let played = stage.play(stage.command("check"));
    played.expect_code(0);
    assert_eq!(
        played
            .findings("data-encrypted")
            .into_values()
            .filter(|status| status == "not-applicable")
            .count(),
        5
    );
}

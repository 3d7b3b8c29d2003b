//! Two setups of one account at the same time, with a state directory each: their locks do not know
//! each other. What AWS offers no precondition for is looked at afterwards.

use std::process::{Child, Command};

use emr_simulator::{Command as Set, Fault, FaultKind, Named};
use serde_json::{Value, json};

use crate::{
    setup::{document, empty_account, made_account, setup, writes},
    support::{Played, Stage, wait_until},
};

/// An account in which held calls wait as long as a test needs.
fn patient(stage: Stage) -> Stage {
    stage.env("EMR_ETL_GUARD_AWS_TIMEOUT", "10m")
}

/// The command of an operator with a state directory and a report of this name.
fn operator(stage: &Stage, name: &str, options: &[&str]) -> Command {
    let report = format!("--report={name}.json");
    let mut command = stage.with_options("setup", &[&["--apply", &*report], options].concat());
    command.env("EMR_ETL_GUARD_STATE_DIR", name);
    command
}

/// Starts an operator, and waits until its next call of `operation` is held.
fn held(stage: &Stage, operation: &str, mut command: Command) -> Child {
    let number = |stage: &Stage| {
        let requests = stage.sim.requests().into_iter();
        requests.filter(|it| it.operation() == operation && it.fault.is_some()).count()
    };
    let before = number(stage);
    stage.set(Set::AddFault(Fault::nth(operation, 1, FaultKind::Hold)));
    let child = command.spawn().unwrap();
    wait_until("it is held", || number(stage) > before);
    child
}

fn release(stage: &Stage, operation: &str) {
    stage.set(Set::Release(Named { name: operation.to_owned(), ..Named::default() }));
}

fn key_policy(stage: &Stage) -> Value {
    stage.sim.with_world(|world| world.keys[0].policy.clone())
}

fn expect(played: &Played, code: i32, words: &[&str]) {
    played.expect_code(code);
    let stderr = played.unbroken();
    for words in words {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
}

#[test]
fn of_two_new_keys_one_gets_the_alias_and_the_other_is_reported_with_its_arn() {
    let stage = patient(empty_account("eu-west-1"));
    let first = held(&stage, "CreateAlias", operator(&stage, "first", &[]));
    let second = stage.play(operator(&stage, "second", &[]));
    assert!(second.stdout.contains("KMS key alias/emr-etl: made"), "{}", second.transcript());
    release(&stage, "CreateAlias");
    let first = stage.finish(first);
    let orphan = stage.sim.with_world(|world| {
        assert_eq!(world.keys.len(), 2);
        let orphan = world.keys.iter().find(|key| key.aliases.is_empty()).unwrap();
        format!("arn:aws:kms:eu-west-1:123456789012:key/{}", orphan.id)
    });
    let advice = format!("aws kms schedule-key-deletion --region eu-west-1 --key-id {orphan}");
    expect(&first, 69, &[&format!("the new KMS key {orphan}"), &advice, "AlreadyExistsException"]);
    let report = document(&stage, "first.json");
    let last = report["record"]["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["made"]["arn"], &last["verified"]), (&json!(orphan), &json!(false)));
    // The same command goes on with the key of the alias, and makes no third one.
    let again = stage.play(operator(&stage, "first", &["--write-config"]));
    again.expect_code(0);
    stage.sim.with_world(|world| assert_eq!(world.keys.len(), 2));
}

#[test]
fn a_key_that_was_made_before_its_setup_was_killed_is_reported_when_another_has_its_alias() {
    let stage = patient(empty_account("eu-west-1"));
    let mut first = held(&stage, "CreateAlias", operator(&stage, "first", &[]));
    first.kill().unwrap();
    first.wait().unwrap();
    stage.set(Set::ClearFaults);
    stage.play(operator(&stage, "second", &[]));
    let orphan = stage.sim.with_world(|world| world.keys[0].id.clone());
    let again = stage.play(operator(&stage, "first", &["--write-config"]));
    expect(&again, 69, &[&format!("key/{orphan} could have it"), "it is the alias of arn:"]);
    let last = stage.play(operator(&stage, "first", &["--write-config"]));
    last.expect_code(0);
    stage.sim.with_world(|world| assert_eq!(world.keys.len(), 2));
}

/// Another pipeline with roles and a security configuration of its own, which shares the key of the
/// first one.
fn pipeline(stage: &mut Stage, name: &str) -> Command {
    let first = stage.config.clone();
    let configuration = regex::Regex::new("security_configuration: .*").unwrap();
    stage.config = configuration
        .replace(&first, "security_configuration:")
        .replace("EMR_EC2_DefaultRole", &format!("{name}-instances"))
        .replace("EMR_DefaultRole", &format!("{name}-service"))
        .replace("job_name: Snowplow ETL", &format!("job_name: {name}"));
    let command = operator(stage, name, &[&format!("--name={name}"), "--key=alias/emr-etl"]);
    stage.config = first;
    command
}

/// Whether the role of a pipeline may use the key.
fn has_role(policy: &Value, name: &str) -> bool {
    policy["Statement"].to_string().contains(&format!("role/{name}-instances"))
}

#[test]
fn a_policy_that_changes_between_plan_and_write_is_left_alone() {
    let mut stage = patient(made_account());
    // Both plan from the same policy. The second is done before the first has looked again.
    let first = pipeline(&mut stage, "other");
    let first = held(&stage, "CreateRole", first);
    let second = pipeline(&mut stage, "third");
    stage.play(second).expect_code(0);
    let before = key_policy(&stage);
    assert!(has_role(&before, "third"));
    release(&stage, "CreateRole");
    let first = stage.finish(first);
    let says =
        ["was changed by somebody else since the plan was made", "run the same command again"];
    expect(&first, 69, &says);
    assert_eq!(key_policy(&stage), before);
    // The next plan has both.
    let again = pipeline(&mut stage, "other");
    stage.play(again).expect_code(0);
    assert!(has_role(&key_policy(&stage), "third") && has_role(&key_policy(&stage), "other"));
}

#[test]
fn a_statement_that_another_setup_wrote_over_is_missed_afterwards() {
    let mut stage = patient(made_account());
    // The second has looked at the key policy; its change is on the way.
    let second = pipeline(&mut stage, "third");
    let second = held(&stage, "PutKeyPolicy", second);
    // The first changes the policy, looks at it, and goes on.
    let first = pipeline(&mut stage, "other");
    let first = held(&stage, "PutRolePolicy", first);
    assert!(has_role(&key_policy(&stage), "other"));
    release(&stage, "PutKeyPolicy");
    wait_until("the second has written over it", || !has_role(&key_policy(&stage), "other"));
    release(&stage, "PutRolePolicy");
    let first = stage.finish(first);
    stage.finish(second).expect_code(0);
    expect(
        &first,
        69,
        &["the key policy arn:", "is no longer as planned", "run the same command again"],
    );
    assert!(first.stdout.contains("change   key policy"), "{}", first.transcript());
    assert!(!first.stdout.contains("setup is complete"), "{}", first.transcript());
    // The same command merges again; then both are there.
    let again = pipeline(&mut stage, "other");
    stage.play(again).expect_code(0);
    assert!(has_role(&key_policy(&stage), "third") && has_role(&key_policy(&stage), "other"));
}

#[test]
fn a_bucket_and_a_role_that_another_setup_made_meanwhile_are_not_written_over() {
    for operation in ["CreateBucket", "CreateRole", "CreateSecurityConfiguration"] {
        let stage = patient(empty_account("eu-west-1"));
        let first = held(&stage, operation, operator(&stage, "first", &[]));
        let mut stage = stage;
        setup(&mut stage, &["--apply", "--write-config"]).expect_code(0);
        let writes_of_second = writes(&stage).len();
        release(&stage, operation);
        let first = stage.finish(first);
        expect(&first, 69, &["run the same command again"]);
        assert_eq!(writes(&stage).len(), writes_of_second, "{operation}: it wrote nothing more");
        let again = stage.play(operator(&stage, "first", &[]));
        again.expect_code(0);
        assert_eq!(writes(&stage).len(), writes_of_second, "{operation}: all of it is there");
        stage.check().expect_code(0);
    }
}

//! The settings' section `sentinel`: mistakes are reported with their place before anything starts;
//! `explain --permissions --sentinel` prints what the section needs, and `setup --sentinel` writes
//! it.

use serde_json::Value;

use crate::{
    settings::guard_yml,
    support::{Played, Stage, isolated_guard},
};

const ROLE: &str = "arn:aws:iam::210987654321:role/emr-etl-guard-sentinel";

fn stage(text: &str) -> Stage {
    let stage = Stage::acme().env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    guard_yml(&stage, text);
    stage
}

/// What `explain --permissions --sentinel` does with these settings and further words.
fn explained(text: &str, words: &[&str]) -> Played {
    let stage = stage(text);
    let mut command = isolated_guard();
    command.args(["explain", "--permissions", "--sentinel"]).args(words);
    stage.prepare(&mut command);
    let played = stage.play(command);
    assert!(stage.sim.requests().is_empty(), "it asks AWS nothing");
    played
}

fn policy(text: &str, words: &[&str]) -> Value {
    let played = explained(text, words);
    played.expect_code(0);
    serde_json::from_str(&played.stdout).unwrap()
}

fn accounts(rules: &str) -> String {
    format!("sentinel:\n  accounts: [{{id: '210987654321', role: '{ROLE}'}}]\n{rules}")
}

#[test]
fn a_mistake_in_the_section_stops_every_command_before_it_starts_and_names_its_line() {
    let run =
        stage("quiet: true\nsentinel:\n  rules:\n  - {name: x, match: {roles: EMR*}}\n").run();
    run.expect_code(64);
    assert!(!run.runner_started());
    let unknown = stage("sentinel:\n  rules:\n  - name: x\n    advise: [bucket-ower]\n").run();
    unknown.expect_code(64);
    // A rule that could never apply concerns the sentinel alone: a run goes on.
    let lenient = "sentinel:\n  rules:\n  - name: x\n    match: {name: y}\n    require: []\n";
    stage(lenient).check().expect_code(0);
    let refused = explained(lenient, &[]);
    refused.expect_code(64);
    insta::assert_snapshot!([&run, &unknown, &refused].map(|it| it.stderr.clone()).join("\n"));
}

#[test]
fn the_own_credentials_assume_roles_and_the_roles_terminate_only_by_a_rule() {
    let actions = |policy: &Value| {
        let statements = policy["Statement"].as_array().unwrap().iter();
        let all = statements.flat_map(|statement| statement["Action"].as_array().unwrap().clone());
        all.map(|action| action.as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    let own = policy(&accounts(""), &[]);
    assert_eq!(actions(&own), ["sts:GetCallerIdentity", "sts:AssumeRole"]);
    assert_eq!(own["Statement"][1]["Resource"], serde_json::json!([ROLE]));
    let of_role = |rules: &str| actions(&policy(&accounts(rules), &["--account=210987654321"]));
    let ends = "elasticmapreduce:TerminateJobFlows".to_owned();
    let alerts = of_role("");
    assert!(alerts.contains(&"elasticmapreduce:ListClusters".to_owned()), "{alerts:?}");
    assert!(!alerts.contains(&ends), "{alerts:?}");
    assert!(of_role("  rules: [{name: x, on_unsafe: terminate}]\n").contains(&ends));
    let unknown = explained(&accounts(""), &["--account=123456789012"]);
    unknown.expect_code(64);
    let none = explained("quiet: true\n", &["--account=123456789012"]);
    none.expect_code(64);
    insta::assert_snapshot!([unknown, none].map(|played| played.stderr).join("\n"));
}

#[test]
fn what_a_sentinel_needs_is_written_as_code_without_a_config_and_without_asking_aws() {
    let stage = stage(&accounts("  on_unsafe: terminate\n"));
    let setup = |words: &[&str]| {
        let mut command = isolated_guard();
        command.args(["setup", "--sentinel"]).args(words);
        stage.prepare(&mut command);
        stage.play(command)
    };
    let both = ["--trust=ecs-tasks", "--terraform=code", "--cloudformation=sentinel.yml"];
    // A later call replaces what an earlier one has written.
    for _ in 0..2 {
        setup(&both).expect_code(0);
    }
    let read = |name: &str| std::fs::read_to_string(stage.path(name)).unwrap();
    let (terraform, template) = (read("code/sentinel.tf"), read("sentinel.yml"));
    for text in [&terraform, &template] {
        // The sentinel's own role only assumes the one of the account.
        assert!(text.contains(ROLE) && !text.contains("TerminateJobFlows"), "{text}");
        assert!(text.contains("ecs-tasks.amazonaws.com"), "{text}");
    }
    let sentinel = "--trust=arn:aws:iam::123456789012:role/emr-etl-sentinel";
    setup(&[sentinel, "--account=210987654321", "--terraform=account"]).expect_code(0);
    let account = read("account/sentinel.tf");
    assert!(account.contains("TerminateJobFlows"), "{account}");

    stage.write("mine.yml", "Resources: {}\n");
    let refused = [
        setup(&["--trust=ecs-tasks"]),
        setup(&["--terraform=code"]),
        setup(&["--trust=s3", "--terraform=code"]),
        setup(&["--trust=ec2", "--account=123456789012", "--terraform=code"]),
        setup(&["--trust=ec2", "--apply", "--terraform=code"]),
        setup(&["--trust=ec2", "--cloudformation=mine.yml"]),
    ];
    assert_eq!(read("mine.yml"), "Resources: {}\n");
    assert!(stage.sim.requests().is_empty(), "it asks AWS nothing");
    let said = refused.map(|played| format!("{:?}\n{}", played.code, played.stderr));
    insta::assert_snapshot!(said.join("\n"));
}

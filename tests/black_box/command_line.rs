//! What the command line says: help, explain, seal, check, and errors a user can make.

use std::process::Command;

use emr_simulator::{Command as Set, Named};

use crate::support::{Played, Stage, programs};

fn play(arguments: &[&str]) -> Played {
    let stage = Stage::acme();
    let mut command = Command::new(&programs().guard);
    command.args(arguments);
    stage.prepare(&mut command);
    command.env_clear();
    stage.play(command)
}

#[test]
fn the_help_reads_well() {
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help_run", vec!["run", "--help"]),
        ("help_check", vec!["check", "-h"]),
        ("help_seal", vec!["seal", "-h"]),
        ("help_explain", vec!["explain", "-h"]),
    ] {
        insta::assert_snapshot!(name, play(&arguments).transcript());
    }
}

#[test]
fn explain_lists_and_explains_and_names_what_it_does_not_know() {
    let list = play(&["explain"]);
    list.expect_code(0);
    assert!(list.stdout.contains("bucket-default-encryption"));
    insta::assert_snapshot!("explain_one", play(&["explain", "bucket-default-encryption"]).transcript());
    insta::assert_snapshot!("explain_unknown", play(&["explain", "bucket"]).transcript());
}

#[test]
fn check_shows_the_whole_table_and_launches_nothing() {
    let stage = Stage::acme();
    let played = stage.check();
    played.expect_code(0);
    assert!(!played.runner_started());
    insta::assert_snapshot!(played.transcript());

    stage.set(Set::DeleteSecurityConfiguration(Named { name: "acme-sc".to_owned(), ..Default::default() }));
    let played = stage.check();
    played.expect_code(77);
    insta::assert_snapshot!("check_refused", played.transcript());
}

#[test]
fn seal_shows_what_it_changes_and_asks_aws_nothing() {
    let stage = Stage::acme().option("--diff").option("--security-configuration=other-sc");
    let played = stage.play(stage.command("seal"));
    insta::assert_snapshot!(played.transcript(), @r"
    exit code: 0
    --- stdout
    - aws.emr.security_configuration: acme-sc
    + aws.emr.security_configuration: other-sc
    - aws.s3.buckets.encrypted: false
    + aws.s3.buckets.encrypted: true
    + monitoring.tags.emr-etl-guard-run: the-id-of-the-run
    --- stderr
    ");
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn a_name_in_the_settings_overrides_the_configs_and_says_so() {
    let stage = Stage::acme().replace("acme-sc", "some-other").option("--security-configuration=acme-sc");
    let played = stage.run();
    played.expect_code(0);
    assert!(played.stdout.contains("emr-etl-guard: sealed aws.emr.security_configuration: some-other -> acme-sc\n"), "{}", played.stdout);
}

#[test]
fn mistakes_get_one_clear_line_each_and_nothing_is_started() {
    let mut said = Vec::new();
    let mut mistake = |stage: Stage, code: i32| {
        let played = stage.run();
        played.expect_code(code);
        assert!(!played.runner_started() && stage.sim.requests().is_empty());
        said.push(format!("{code}: {}", played.redact(&played.stderr)));
    };
    mistake(Stage::acme().option("--require=everything"), 64);
    mistake(Stage::acme().option("--advise=no-such-check"), 64);
    mistake(Stage::acme().option("--settings=missing.yml"), 64);
    mistake(Stage::acme().option("--stop-timeout=soon"), 64);
    mistake(Stage::acme().report_to("no/such/folder/report.json"), 64);
    let unknown_key = Stage::acme().option("--settings=guard.yml");
    unknown_key.write("guard.yml", "quiet: true\nrequires: []\n");
    mistake(unknown_key, 64);
    mistake(Stage::acme().argument("--nonsense"), 65);
    mistake(Stage::acme().argument("-c").argument("nope.yml"), 65);
    mistake(Stage::acme().argument("-c").argument("."), 65);
    mistake(Stage::acme().replace("ami_version: 5.29.0", "ami_version: 5.10"), 65);
    mistake(Stage::acme().replace("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "<%= `cat key` %>"), 65);
    mistake(Stage::acme().replace("  tags: {}\n", ""), 65);
    mistake(Stage::acme().env("EMR_ETL_GUARD_RUNNER", "/no/such/runner"), 127);
    mistake(Stage::acme().env("EMR_ETL_GUARD_RUNNER", "/dev/null"), 126);
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn the_readme_names_every_setting() {
    let readme = include_str!("../../README.md");
    let help = play(&["run", "--help"]).stdout;
    let options = regex::Regex::new(r"(?m)^ +--([a-z-]+)").unwrap();
    let mut count = 0;
    for option in options.captures_iter(&help).map(|found| found[1].replace('-', "_")).filter(|option| option != "settings") {
        assert!(readme.contains(&format!("| `{option}` |")), "{option}");
        count += 1;
    }
    assert!(count > 15, "{count}");
}

//! What the command line says: help, explain, seal, check, and errors a user can make.

use emr_simulator::{Command as Set, Named};

use crate::support::{Played, Stage, hermetic_command, programs};

fn play(arguments: &[&str]) -> Played {
    let stage = Stage::acme();
    let mut command = hermetic_command(&programs().guard);
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
    insta::assert_snapshot!(
        "explain_one",
        play(&["explain", "bucket-default-encryption"]).transcript()
    );
    insta::assert_snapshot!("explain_unknown", play(&["explain", "bucket"]).transcript());
}

#[test]
fn check_shows_the_whole_table_and_launches_nothing() {
    let stage = Stage::acme();
    let played = stage.check();
    played.expect_code(0);
    assert!(!played.runner_started());
    insta::assert_snapshot!(played.transcript());

    stage.set(Set::DeleteSecurityConfiguration(Named {
        name: "acme-sc".to_owned(),
        ..Default::default()
    }));
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
    let stage =
        Stage::acme().replace("acme-sc", "some-other").option("--security-configuration=acme-sc");
    let played = stage.run();
    played.expect_code(0);
    assert!(
        played.stdout.contains(
            "emr-etl-guard: sealed aws.emr.security_configuration: some-other -> acme-sc\n"
        ),
        "{}",
        played.stdout
    );
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
    let fifo = Stage::acme().argument("-c").argument("fifo");
    assert!(hermetic_command("mkfifo").arg(fifo.path("fifo")).status().unwrap().success());
    mistake(fifo, 65);
    mistake(Stage::acme().replace("ami_version: 5.29.0", "ami_version: 5.10"), 65);
    mistake(Stage::acme().replace("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "<%= `cat key` %>"), 65);
    mistake(Stage::acme().replace("  tags: {}\n", ""), 65);
    mistake(Stage::acme().env("EMR_ETL_GUARD_RUNNER", "/no/such/runner"), 127);
    mistake(Stage::acme().env("EMR_ETL_GUARD_RUNNER", "/dev/null"), 126);
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn the_docs_name_every_setting() {
    let settings = include_str!("../../docs/settings.md");
    let help = play(&["run", "--help"]).stdout;
    let options = regex::Regex::new(r"(?m)^ +--([a-z-]+)").unwrap();
    let mut count = 0;
    for option in options
        .captures_iter(&help)
        .map(|found| found[1].replace('-', "_"))
        .filter(|option| option != "settings")
    {
        assert!(settings.contains(&format!("| `{option}` |")), "{option}");
        count += 1;
    }
    assert!(count > 15, "{count}");
}

#[test]
fn seal_shows_only_what_it_changes_however_the_config_is_written() {
    // Comments, ENV expressions with defaults, an anchor and a merge: what Ruby would make of them
    // stays, and only the two keys and the tag differ.
    let stage = Stage::acme()
        .replace("aws:\n", "# The pipeline's own settings.\nx-defaults: &defaults\n  region: <%= ENV.fetch('REGION', 'eu-west-1') %>\naws:\n")
        .replace("    region: eu-west-1\n    buckets:", "    <<: *defaults # the buckets' region\n    buckets:")
        .replace("acme-sc", "<%= ENV['NO_SUCH'] || 'acme-sc' %>")
        .option("--diff");
    let played = stage.play(stage.command("seal"));
    insta::assert_snapshot!(played.transcript(), @r"
    exit code: 0
    --- stdout
      aws.emr.security_configuration: acme-sc
    - aws.s3.buckets.encrypted: false
    + aws.s3.buckets.encrypted: true
    + monitoring.tags.emr-etl-guard-run: the-id-of-the-run
    --- stderr
    ");
}

#[test]
fn a_secret_that_an_alias_has_put_elsewhere_is_masked_too() {
    let stage = Stage::acme()
        .replace(
            "secret_access_key: <%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>",
            "secret_access_key: &secret <%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>",
        )
        .replace("collectors:\n", "copies: [*secret]\ncollectors:\n");
    let played = stage.play(stage.command("seal"));
    played.expect_code(0);
    assert!(played.stdout.contains("\"copies\": [\"(masked)\"]"), "{}", played.stdout);
}

#[test]
fn an_ambiguous_config_is_told_and_refused_if_the_policy_says_so() {
    let stage = || {
        Stage::acme()
            .replace("      encrypted: false\n", "      encrypted: true\n      :encrypted: false\n")
    };
    let told = stage().check();
    told.expect_code(0);
    assert_eq!(told.findings("config-ambiguous")["aws.s3.buckets.encrypted"], "failed");
    stage().option("--enforce=config-ambiguous").check().expect_code(77);
}

/// A stage whose config needs a Ruby, and a program that passes for one. It renders the tags of
/// `config`, prints `answer` behind that, and in it `LENGTH` is that of the rendered config. Any
/// program of that name will do here; with a real Ruby the same is played under
/// integration/runner/oracle.
fn with_ruby(answer: &str) -> Stage {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::acme()
        .replace("encrypted: false", "encrypted: <%= 1 + 1 == 2 %>")
        .option("--erb=ruby");
    let rendered = stage.path("rendered").display().to_string();
    let binding = stage.path("binding").display().to_string();
    let answer = answer.replace("LENGTH", "%d");
    let script = format!(
        "#!/bin/sh
[ \"$1 $3\" = '-e --' ] && echo \"$4 $5\" > '{binding}'
sed 's/<%= 1 + 1 == 2 %>/no/; s/<%=[^%]*%>/rendered/' > '{rendered}'
cat '{rendered}'
printf '{answer}' \"$(wc -c < '{rendered}')\"
"
    );
    stage.write("ruby", &script);
    std::fs::set_permissions(stage.path("ruby"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", stage.folder.path().display());
    stage.env("PATH", &path)
}

#[test]
fn a_ruby_that_the_settings_name_renders_what_the_guard_would_refuse() {
    let ruby = |answer: &str| {
        let stage = with_ruby(answer).option("--diff");
        stage.play(stage.command("seal"))
    };
    let rendered = ruby(r"\0rendered LENGTH 0 0");
    rendered.expect_code(0);
    assert!(
        rendered
            .stdout
            .contains("- aws.s3.buckets.encrypted: false\n+ aws.s3.buckets.encrypted: true\n"),
        "{}",
        rendered.stdout
    );

    let raised = ruby(r"\0raised KeyError 3 ROLE");
    raised.expect_code(65);
    assert_eq!(
        raised.stderr,
        "emr-etl-guard: config.yml:3:1: ENV.fetch: the environment variable ROLE is not set; EmrEtlRunner would stop here\n"
    );

    for broken in ["", r"\0rendered LENGTH 0", r"\0rendered LENGTH 0 1"] {
        let ended = ruby(broken);
        ended.expect_code(65);
        assert_eq!(
            ended.stderr,
            "emr-etl-guard: config.yml:1:1: the config's ERB ended Ruby (exit status: 0) before it was rendered\n"
        );
    }
}

/// Row 4 of the corners of Ruby: `config_file` and `$0`; with real Rubies, and with all that a config
/// sees of the runner, integration/runner/oracle/renderers plays it.
#[test]
fn a_ruby_that_renders_is_given_the_binding_of_the_runner() {
    let stage = with_ruby(r"\0rendered LENGTH 0 0");
    stage.play(stage.command("seal")).expect_code(0);
    let binding = std::fs::read_to_string(stage.path("binding")).unwrap();
    assert_eq!(binding, "config.yml snowplow-emr-etl-runner\n");
}

#[test]
fn what_the_config_prints_while_it_is_rendered_is_printed_before_the_runners_output() {
    let played = with_ruby(r"from the configa warning\n\0rendered LENGTH 15 10")
        .replace("<%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>", "AKIAFAKE")
        .replace("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "fake")
        .run();
    played.expect_code(0);
    assert!(played.stdout.contains("from the config"), "{}", played.stdout);
    assert_eq!(played.stderr, "a warning\n");
}

/// The runner would refuse each of these; the guard hands over what it takes, and says so.
#[test]
fn what_the_seal_repairs_is_said_like_every_other_sealed_value() {
    for (from, to, said) in [
        ("encrypted: false", "encrypted: \"true\"", "true (text)"),
        ("encrypted: false", "encrypted: 1", "1"),
        ("      encrypted: false\n", "", "(missing)"),
    ] {
        let played = Stage::acme().replace(from, to).run();
        played.expect_code(0);
        let line = format!("emr-etl-guard: sealed aws.s3.buckets.encrypted: {said} -> true\n");
        assert!(played.stdout.contains(&line), "{to}: {}", played.stdout);
    }
    let diff = Stage::acme().replace("encrypted: false", "encrypted: \"true\"").option("--diff");
    let played = diff.play(diff.command("seal"));
    assert!(
        played.stdout.contains(
            "- aws.s3.buckets.encrypted: true (text)\n+ aws.s3.buckets.encrypted: true\n"
        ),
        "{}",
        played.stdout
    );
}

/// The contract of 0.33.0 does not know the key that those from 0.34.1 on ask for.
#[test]
fn a_config_of_an_older_runner_is_held_to_that_runners_contract() {
    use std::os::unix::fs::PermissionsExt as _;
    let played = |version: &str| {
        let stage = Stage::acme().replace("    consolidate_shredded_output: true\n", "");
        stage.write(
            "older-runner",
            &format!("#!/bin/sh\necho 'snowplow-emr-etl-runner {version}'\n"),
        );
        let path = stage.path("older-runner");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let option = format!("--runner={}", path.display());
        stage.option(&option).check()
    };
    played("0.33.0").expect_code(0);
    let refused = played("0.34.1");
    refused.expect_code(65);
    assert_eq!(
        refused.stderr,
        "emr-etl-guard: config.yml:5:5: aws.s3.consolidate_shredded_output is missing (EmrEtlRunner 0.34.1 and later ask for it)\n"
    );
}

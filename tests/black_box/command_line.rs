//! The output of the command line: help, explain, seal, check, and errors of users.

use emr_simulator::{Command as Set, Named};

use crate::support::{Played, Stage, hermetic_command, isolated_guard, programs};

fn play(arguments: &[&str]) -> Played {
    let stage = Stage::acme();
    let mut command = isolated_guard();
    command.args(arguments);
    stage.prepare(&mut command);
    command.env_clear();
    stage.play(command)
}

/// Each command.
const COMMANDS: [&str; 11] = [
    "run",
    "check",
    "setup",
    "watch",
    "audit",
    "seal",
    "report",
    "reencrypt",
    "explain",
    "completions",
    "man",
];

#[test]
fn the_short_help_of_each_command_begins_with_examples_and_fits_a_screen() {
    insta::assert_snapshot!("help", play(&["-h"]).transcript());
    for command in COMMANDS {
        let played = play(&[command, "-h"]);
        insta::assert_snapshot!(format!("help_{command}"), played.transcript());
        let (_, behind) = played.stdout.split_once("Examples:\n").unwrap();
        let examples = behind.lines().take_while(|line| line.starts_with("  ")).count();
        assert_eq!(examples, 3, "{command}");
        // The lines of a screen that the examples leave.
        let lines = behind.lines().skip(examples + 1).count();
        assert!(lines <= 24, "{command}: {lines} lines");
    }
}

#[test]
fn no_line_of_the_long_help_is_wider_than_100_and_its_options_are_grouped() {
    insta::assert_snapshot!("help_check_long", play(&["check", "--help"]).transcript());
    let nested = [&["report", "verify"][..], &["report", "html"], &["report", "asff"]];
    let all = COMMANDS.iter().map(std::slice::from_ref).chain(nested).chain([&[][..]]);
    for command in all {
        let played = play(&[command, &["--help"]].concat());
        played.expect_code(0);
        for line in played.stdout.lines() {
            assert!(line.chars().count() <= 100, "{command:?}: {line}");
        }
    }
    let long = play(&["run", "--help"]).stdout;
    for heading in ["Policy:", "AWS:", "Watching:", "Reports and evidence:", "Alerts and metrics:"]
    {
        assert!(long.contains(&format!("\n{heading}\n")), "{heading}");
        assert!(!play(&["check", "-h"]).stdout.contains("--alert-sns"));
    }
}

/// The terminal page of `man` is made by troff: here its source is checked.
#[test]
fn completions_and_manual_pages_need_no_package() {
    for shell in ["bash", "zsh", "fish"] {
        let played = play(&["completions", shell]);
        played.expect_code(0);
        assert!(played.stdout.contains("reencrypt") && played.stderr.is_empty(), "{shell}");
    }
    let (program, check) = (play(&["man"]), play(&["man", "check"]));
    program.expect_code(0);
    check.expect_code(0);
    assert!(program.stdout.contains(".TH emr-etl-guard 1"), "{}", program.stdout);
    assert!(check.stdout.contains(".TH emr-etl-guard-check 1"), "{}", check.stdout);
    assert!(play(&["man", "guard.yml"]).stdout.contains(".TH emr-etl-guard.yml 5"));
    let unknown = play(&["man", "chek"]);
    unknown.expect_code(64);
    assert_eq!(
        unknown.stderr,
        "emr-etl-guard: there is no manual page `chek`; did you mean `check`?\n"
    );
    play(&["completions", "tcsh"]).expect_code(64);
}

/// What a run shows on a terminal is in cron's log file with `--verbose`.
#[test]
fn verbose_shows_all_findings_and_each_step() {
    let quiet = Stage::acme().run();
    assert!(!quiet.stdout.contains("bucket-default-encryption"), "{}", quiet.stdout);
    let verbose = Stage::acme().option("-v").run();
    verbose.expect_code(0);
    assert!(verbose.stdout.contains("bucket-default-encryption"), "{}", verbose.stdout);
    for step in ["verdict: Launch", "the runner was started"] {
        assert!(verbose.stderr.contains(step), "{step}: {}", verbose.stderr);
    }
    assert!(!verbose.stderr.contains(crate::support::SECRET));
    let both = Stage::acme().option("-v").option("--quiet").check();
    both.expect_code(64);
    assert_eq!(
        both.stderr,
        "emr-etl-guard: settings: --verbose and --quiet exclude each other; fix: remove one of \
         them\n"
    );
    let over_variable = Stage::acme().env("EMR_ETL_GUARD_QUIET", "true").option("-v").check();
    over_variable.expect_code(0);
    assert!(over_variable.stdout.ends_with("emr-etl-guard: would launch, 2 advisory findings\n"));
}

#[test]
fn report_verify_says_what_it_needs() {
    let played = play(&["report", "verify", "report.json"]);
    insta::assert_snapshot!(played.transcript());
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

/// The guard with these arguments, in a folder with `config.yml` and `resolver.json`.
fn typed(stage: &Stage, words: &[&str]) -> Played {
    drop(stage.command("check"));
    let mut command = isolated_guard();
    command.args(words);
    stage.prepare(&mut command);
    stage.play(command)
}

#[test]
fn a_config_that_is_named_by_itself_means_what_it_seems_to() {
    let stage = Stage::acme();
    let whole = typed(&stage, &["check", "--", "run", "-c", "config.yml", "-r", "resolver.json"]);
    whole.expect_code(0);
    for short in [
        &["check", "config.yml", "-r", "resolver.json"][..],
        &["check", "-c", "config.yml", "-r", "resolver.json"],
        &["check", "--config=config.yml", "--resolver=resolver.json"],
    ] {
        let played = typed(&stage, short);
        played.expect_code(0);
        assert!(
            played.stdout.ends_with("emr-etl-guard: would launch, 2 advisory findings\n"),
            "{}",
            played.stdout
        );
    }
    // Without a resolver no launch is evaluated; everything else is, and the output says so.
    let alone = typed(&stage, &["check", "config.yml"]);
    alone.expect_code(0);
    let last = alone.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "emr-etl-guard: would launch with a resolver, 2 advisory findings: add `-r \
         resolver.json`, as `run` needs it too"
    );
    let missing = typed(&stage, &["check", "config.yml", "-r", "nope.json"]);
    missing.expect_code(65);
    let nothing = typed(&stage, &["check"]);
    nothing.expect_code(65);
    assert_eq!(
        nothing.stderr,
        "emr-etl-guard: the runner's arguments: none were given; fix: emr-etl-guard check \
         config.yml \
         -r resolver.json\n"
    );
    for command in [&["seal", "--diff"][..], &["audit", "--expected-keys=alias/acme-etl"]] {
        let [short, whole] = [&["config.yml"][..], &["--", "run", "-c", "config.yml"]]
            .map(|words| typed(&stage, &[command, words].concat()));
        assert_eq!(short.transcript(), whole.transcript());
    }
}

/// Whether an argument is a file or a location is decided by its spelling alone, whatever files
/// exist.
#[test]
fn an_s3_location_stays_a_location_though_a_file_has_its_name() {
    let stage = Stage::acme();
    std::fs::create_dir_all(stage.path("s3:")).unwrap();
    stage.write("s3:/acme-log", &stage.config);
    stage.write("acme-log", &stage.config);
    let audit = |word: &str| {
        let mut command = isolated_guard();
        command.args(["audit", word]);
        stage.prepare(&mut command);
        command.env("AWS_REGION", "eu-west-1");
        stage.play(command)
    };
    let location = audit("s3://acme-log");
    location.expect_code(0);
    assert!(!location.stdout.contains("acme-raw"), "{}", location.stdout);
    for file in ["./s3:/acme-log", "./acme-log"] {
        let config = audit(file);
        assert!(config.stdout.contains("acme-raw"), "{file}: {}", config.stdout);
    }
    let either = audit("acme-log");
    either.expect_code(64);
    let first: Vec<&str> = either.stderr.lines().take(2).collect();
    assert_eq!(
        first,
        [
            "emr-etl-guard: error: `acme-log` is neither a location nor a file's path;",
            "  fix: write s3://acme-log for a bucket, ./acme-log for a runner config"
        ]
    );
}

#[test]
fn where_the_separator_is_forgotten_the_line_that_is_printed_works_as_pasted() {
    let stage = Stage::acme();
    for words in [
        &["check", "-c", "config.yml", "-r", "resolver.json", "-x", "rdb_load"][..],
        &["check", "run", "-c", "config.yml", "-r", "resolver.json", "--quiet"],
        &["run", "-c", "config.yml", "-r", "resolver.json"],
    ] {
        let played = typed(&stage, words);
        played.expect_code(64);
        let mut lines = played.stderr.lines();
        assert_eq!(
            lines.next(),
            Some("emr-etl-guard: error: the runner's arguments must stand behind `--`")
        );
        let fix = lines.next().and_then(|line| line.strip_prefix("  fix: ")).unwrap();
        assert_eq!(lines.next(), None);
        let folder = programs().guard.parent().unwrap().display().to_string();
        let mut shell = hermetic_command("sh");
        shell.args(["-c", fix]);
        stage.prepare(&mut shell);
        shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
        stage.play(shell).expect_code(0);
    }
}

#[test]
fn a_typo_is_answered_with_its_place_and_the_nearest_name() {
    let said = |stage: Stage| {
        let played = stage.check();
        assert!(stage.sim.requests().is_empty());
        played.redact(&played.stderr)
    };
    let guard_yml = |text: &str| {
        let stage = Stage::acme().option("--settings=guard.yml");
        stage.write("guard.yml", text);
        said(stage)
    };
    let lines = [
        guard_yml("quiet: true\nrequre: [in-transit]\n"),
        guard_yml("quiet: true\n\nadvise:\n  - bucket-exist\n"),
        guard_yml(
            "exceptions:\n  - \
             {check: kms-key-enabeld, subject: x, reason: y, expires: 2999-12-31}\n",
        ),
        guard_yml("quiet: true\nrequire: [in-transt]\n"),
        said(Stage::acme().option("--enforce=bucket-exist")),
        said(Stage::acme().env("EMR_ETL_GUARD_ADVISE", "bucket-exist")),
        said(Stage::acme().option("--only=bucket-exist")),
        said(Stage::acme().argument("--skp").argument("shred")),
        play(&["explain", "bucket-exist"]).stderr,
    ];
    insta::assert_snapshot!(lines.concat());
    let flag = play(&["check", "--requre=in-transit"]);
    flag.expect_code(64);
    assert!(flag.stderr.starts_with("emr-etl-guard: error: unexpected argument '--requre'"));
    assert!(flag.stderr.contains("a similar argument exists: '--require'"), "{}", flag.stderr);
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
fn seal_shows_only_what_it_changes_however_the_config_is_written() {
    // Comments, ENV expressions with defaults, an anchor and a merge: Ruby's values are kept, and
    // only the two keys and the tag differ.
    let stage = Stage::acme()
        .replace(
            "aws:\n",
            "# The pipeline's own settings.\nx-defaults: &defaults\n  region: <%= \
            ENV.fetch('REGION', 'eu-west-1') %>\naws:\n",
        )
        .replace(
            "    region: eu-west-1\n    buckets:",
            "    <<: *defaults # the buckets' \
            region\n    buckets:",
        )
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

/// A stage whose config needs a Ruby, and a program that stands in for it. It renders the tags of
/// `config` and prints `answer` after that, in which `LENGTH` is replaced by the length of the
/// rendered config. Tests with a real Ruby are under integration/runner/oracle.
fn with_ruby(answer: &str) -> Stage {
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
    stage.program("ruby", &script);
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
        "emr-etl-guard: config.yml:3:1: ENV.fetch: the environment variable ROLE is not set; \
         EmrEtlRunner would stop here\n"
    );

    for broken in ["", r"\0rendered LENGTH 0", r"\0rendered LENGTH 0 1"] {
        let ended = ruby(broken);
        ended.expect_code(65);
        assert_eq!(
            ended.stderr,
            "emr-etl-guard: config.yml:1:1: the config's ERB ended Ruby (exit status: 0) before \
             it was rendered\n"
        );
    }
}

/// Row 4 of the Ruby edge cases: `config_file` and `$0`. integration/runner/oracle/renderers tests
/// it with real Rubies, and with all other variables of the runner.
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

/// The runner would reject each of these; the guard passes on valid values, and reports it.
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

/// The contract of 0.33.0 does not contain the key that those from 0.34.1 on require.
#[test]
fn a_config_of_an_older_runner_is_held_to_that_runners_contract() {
    let played = |version: &str| {
        let stage = Stage::acme().replace("    consolidate_shredded_output: true\n", "");
        stage.program(
            "older-runner",
            format!("#!/bin/sh\necho 'snowplow-emr-etl-runner {version}'\n"),
        );
        let path = stage.path("older-runner");
        let option = format!("--runner={}", path.display());
        stage.option(&option).check()
    };
    played("0.33.0").expect_code(0);
    let refused = played("0.34.1");
    refused.expect_code(65);
    assert_eq!(
        refused.stderr,
        "emr-etl-guard: config.yml:5:5: aws.s3.consolidate_shredded_output is missing \
         (EmrEtlRunner 0.34.1 and later ask for it)\n"
    );
}

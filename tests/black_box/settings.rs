//! Settings that must not mislead: exit codes keep their meaning, some keys only the operator's
//! file may set, required checks on clusters that were lowered to advisory are reported, and the
//! report shows all overrides.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Played, Stage, hermetic_command, isolated_guard, programs};

/// Writes `guard.yml` so that nobody else may write it, whatever the umask is.
pub(crate) fn guard_yml(stage: &Stage, text: &str) {
    stage.write("guard.yml", text);
    std::fs::set_permissions(stage.path("guard.yml"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
}

/// The message of a run that must not start, on one line.
#[track_caller]
fn mistake(stage: &Stage) -> String {
    let played = stage.run();
    played.expect_code(64);
    assert!(!played.runner_started() && stage.sim.requests().is_empty());
    played.redact(&played.stderr)
}

#[test]
fn no_code_of_the_guards_becomes_success_or_a_code_that_means_something_else() {
    let by_flag = |codes: &str| mistake(&Stage::acme().option(&format!("--exit-codes={codes}")));
    let mut said: Vec<String> =
        ["76=0", "71=0", "77=1", "69=3", "75=4", "65=17", "64=18", "77=75", "70=126", "77=143"]
            .map(by_flag)
            .to_vec();
    // A code that the guard never uses would have no effect, and with a duplicate only the last one
    // would count.
    said.extend(["3=90", "77=90,77=91", "77=256", "77"].map(by_flag));
    said.push(mistake(&Stage::acme().env("EMR_ETL_GUARD_EXIT_CODES", "76=0")));
    let stage = Stage::acme().env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    for text in ["exit_codes: {76: 0}\n", "quiet: true\nexit_codes:\n  77: 90\n  71: 1\n"] {
        guard_yml(&stage, text);
        said.push(mistake(&stage));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn an_unsafe_cluster_keeps_the_code_that_the_settings_give_it() {
    let stage =
        Stage::acme().misbehave("drop-security-configuration").option("--exit-codes=76=96,71=91");
    stage.run().expect_code(96);
}

#[test]
fn that_evidence_was_not_delivered_may_be_0_but_hides_no_failure_of_the_runner() {
    let stage = |runner: &str| {
        let stage = Stage::acme()
            .option("--evidence=kept")
            .option("--exit-codes=74=0")
            // It removes the folder while the runner works.
            .scripted(&format!("rm -r kept; : > kept\n{runner}"));
        stage.run()
    };
    let failed = stage("cat > /dev/null\nexit 1");
    assert!(failed.stderr.contains("NO EVIDENCE"), "{}", failed.stderr);
    failed.expect_code(1);
    let worked = stage(&format!("exec '{}' \"$@\"", programs().runner.display()));
    assert!(worked.stderr.contains("NO EVIDENCE"), "{}", worked.stderr);
    worked.expect_code(0);
}

#[test]
fn a_locked_setting_is_set_by_the_file_alone() {
    let locks = "accept_encryption: [SSE-S3]\nlocked:\n  - policy\n  - exit_codes\n  - alert_sns\n";
    let stage = || {
        let stage = Stage::acme().env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
        guard_yml(&stage, locks);
        stage
    };
    // Settings without an override are effective, and unlocked ones can be overridden.
    let played = stage().option("--confirm-timeout=5m").run();
    played.expect_code(0);
    assert_eq!(
        played.report["inputs"]["policy"]["accept_encryption"],
        serde_json::json!(["SSE-S3"])
    );

    let mut said = vec![
        mistake(&stage().env("EMR_ETL_GUARD_ADVISE", "cluster-security-configuration")),
        mistake(&stage().option("--advise=cluster-security-configuration")),
        // An empty value also counts: it would remove the file's value.
        mistake(&stage().env("EMR_ETL_GUARD_EXPECTED_KEYS", "")),
        mistake(&stage().option("--exit-codes=77=90").env("EMR_ETL_GUARD_EXIT_CODES", "77=91")),
        mistake(
            &stage()
                .env("EMR_ETL_GUARD_REQUIRE", "in-transit")
                .option("--alert-sns=arn:aws:sns:eu-west-1:123456789012:etl"),
        ),
        // An equal value is rejected, too: the next time it could differ.
        mistake(&stage().env("EMR_ETL_GUARD_ACCEPT_ENCRYPTION", "SSE-S3")),
    ];
    // No variable and no flag affects the lock itself.
    for name in ["EMR_ETL_GUARD_LOCKED", "EMR_ETL_GUARD_UNLOCKED"] {
        let stage = stage().env(name, "").env("EMR_ETL_GUARD_ADVISE", "bucket-owner");
        said.push(mistake(&stage));
    }
    said.push(mistake(&stage().option("--locked=")));
    let all = stage();
    guard_yml(&all, "locked: [all]\n");
    // The stage's own variables are listed in the order of the settings.
    said.push(mistake(&all.env("EMR_ETL_GUARD_EXIT_CODES", "77=90")));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn every_command_that_reads_settings_holds_what_is_locked() {
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_SETTINGS", "guard.yml")
        .env("EMR_ETL_GUARD_ADVISE", "bucket-owner");
    guard_yml(&stage, "locked: [policy]\n");
    let refused = |played: &Played| {
        played.expect_code(64);
        assert!(played.stderr.contains("`advise` is locked"), "{}", played.stderr);
    };
    refused(&stage.check());
    refused(&stage.play(stage.command("seal")));
    refused(&stage.play(stage.watch_resume()));
    refused(&stage.play(stage.watch(&["j-1"], false)));
    for arguments in [
        &["audit", "s3://acme-archive"][..],
        &["reencrypt", "s3://acme-archive"],
        &["explain", "--permissions"],
    ] {
        let mut command = isolated_guard();
        command.args(arguments);
        stage.prepare(&mut command);
        refused(&stage.play(command));
    }
    // Under the runner's own name as well.
    let link = stage.path("snowplow-emr-etl-runner");
    std::os::unix::fs::symlink(&programs().guard, &link).unwrap();
    let mut command = hermetic_command(&link);
    command.args(&stage.arguments);
    stage.prepare(&mut command);
    let played = stage.play(command);
    refused(&played);
    assert!(!played.runner_started() && stage.sim.requests().is_empty());
}

#[test]
fn a_lock_that_locks_nothing_is_an_error() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    let mut said = Vec::new();
    for text in ["locked: [polcy]\n", "locked: policy\n", "quiet: true\nlocked: [policy, locked]\n"]
    {
        guard_yml(&stage, text);
        said.push(mistake(&stage));
    }
    // Anyone who may write the file could remove the lock.
    guard_yml(&stage, "quiet: true\nlocked: [policy]\n");
    std::fs::set_permissions(stage.path("guard.yml"), std::fs::Permissions::from_mode(0o666))
        .unwrap();
    said.push(mistake(&stage));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn whoever_hears_of_an_override_of_a_locked_channel_is_whom_the_file_names() {
    let script = "#!/bin/sh\ncat > \"$0.heard\"\n";
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_SETTINGS", "guard.yml")
        .env("EMR_ETL_GUARD_ALERT_COMMAND", "/bin/true");
    stage.program("page", script);
    let page = stage.path("page").display().to_string();
    guard_yml(&stage, &format!("alert_command: {page}\nlocked: [alert_command]\n"));
    mistake(&stage);
    let heard = std::fs::read_to_string(stage.path("page.heard")).unwrap();
    assert!(heard.contains("`alert_command` is locked"), "{heard}");
}

#[test]
fn the_report_says_what_overrode_what() {
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_SETTINGS", "guard.yml")
        .env("EMR_ETL_GUARD_CONFIRM_TIMEOUT", "6m")
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "16m")
        .option("--confirm-timeout=5m")
        .option("--advise=bucket-owner");
    guard_yml(&stage, "confirm_timeout: 7m\nadvise: []\nlocked: [exit_codes]\n");
    let played = stage.check();
    played.expect_code(0);
    let settings = &played.report["inputs"]["settings"];
    let of = |name: &str| {
        settings["overrides"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["setting"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("nothing of {name} in {settings:#}"))
    };
    let said = ["confirm_timeout", "judge_within", "advise"].map(|name| of(name).to_string());
    insta::assert_snapshot!(said.join("\n"), @r#"
    {"setting":"confirm_timeout","by":"--confirm-timeout","over":["EMR_ETL_GUARD_CONFIRM_TIMEOUT","guard.yml"]}
    {"setting":"judge_within","by":"EMR_ETL_GUARD_JUDGE_WITHIN","over":[]}
    {"setting":"advise","by":"--advise","over":["guard.yml"]}
    "#);
    assert_eq!(
        settings["locks"],
        serde_json::json!([{"setting": "exit_codes", "file": "guard.yml", "line": 3}])
    );
    // It contains no values: some are secrets.
    let overrides = settings["overrides"].to_string();
    assert!(!overrides.contains("5m") && !overrides.contains("127.0.0.1"), "{overrides}");
}

/// All checks on clusters and output that are required by default.
const ON_CLUSTERS: &str = "cluster-security-configuration,cluster-release,cluster-subnet,step-encryption-flag,cluster-configurations,cluster-roles,cluster-ami,cluster-bootstrap-actions,cluster-groups,cluster-volumes,step-arguments";

fn never_called_verified(played: &Played) {
    let all = [&played.stdout, &played.stderr, &played.report["timeline"].to_string()]
        .map(|text| text.replace("as verified", ""));
    for text in all {
        assert!(
            !text.contains("what was verified") && !text.contains("confirmed: cluster"),
            "{text}"
        );
    }
}

#[test]
fn a_run_whose_watch_checks_are_lowered_is_not_enforced_and_never_called_verified() {
    let lowered = ["cluster-security-configuration", "cluster-configurations"];
    let stage = Stage::acme()
        .misbehave("drop-security-configuration")
        .option(&format!("--advise={ON_CLUSTERS}"))
        .env("EMR_ETL_GUARD_METRICS_FILE", "guard.prom");
    let played = stage.run();
    never_called_verified(&played);
    let not_enforced = &played.report["not_enforced"];
    for check in lowered {
        assert!(
            not_enforced.as_array().unwrap().iter().any(|name| name == check),
            "{not_enforced}"
        );
    }
    let metrics = std::fs::read_to_string(stage.path("guard.prom")).unwrap();
    assert!(
        metrics.contains("emr_etl_guard_clusters{command=\"run\",judgement=\"not-enforced\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("emr_etl_guard_clusters{command=\"run\",judgement=\"verified\"} 0"),
        "{metrics}"
    );
    // The missing encryption of the cluster is reported.
    let said = played.unbroken();
    let warning = said.lines().next().unwrap_or_default();
    assert!(
        warning.starts_with("emr-etl-guard: warning: NOT ENFORCED: cluster j-")
            && warning.contains("cluster-security-configuration: seen no security configuration"),
        "{}",
        played.stderr
    );
    let mut pages = isolated_guard();
    pages.args(["report", "markdown", "report.json"]);
    stage.prepare(&mut pages);
    let page = stage.play(pages).stdout;
    assert!(page.contains("- **Verdict**: ❓ Not enforced: "), "{page}");
}

#[test]
fn a_good_run_with_one_lowered_watch_check_is_not_enforced_either() {
    let stage = Stage::acme()
        .option("--advise=cluster-security-configuration")
        .env("EMR_ETL_GUARD_METRICS_FILE", "guard.prom");
    let played = stage.run();
    played.expect_code(0);
    never_called_verified(&played);
    assert_eq!(played.stderr, "", "nothing is known against it");
    assert!(
        played.stdout.contains("not enforced: cluster j-")
            && played
                .stdout
                .contains("the settings lower cluster-security-configuration to advice"),
        "{}",
        played.stdout
    );
    let metrics = std::fs::read_to_string(stage.path("guard.prom")).unwrap();
    assert!(metrics.contains("judgement=\"not-enforced\"} 1"), "{metrics}");
    // A check that is also enforced by name is not lowered.
    let stage = Stage::acme()
        .option("--advise=cluster-security-configuration")
        .option("--enforce=cluster-security-configuration");
    let played = stage.run();
    played.expect_code(0);
    assert!(played.stdout.contains("was what was verified"), "{}", played.stdout);
    assert_eq!(played.report["not_enforced"], serde_json::json!([]));
}

#[test]
fn objects_are_not_called_encrypted_where_that_check_is_lowered() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
    let advisory = "--advise=data-encrypted,written-encryption,bucket-default-encryption,security-configuration-overrides,written-objects";
    let played = Stage::acme().option(&format!("--expected-keys={key}")).option(advisory).run();
    played.expect_code(0);
    assert!(!played.stdout.contains("encrypted as required"), "{}", played.stdout);
    assert!(played.stdout.contains("not enforced: "), "{}", played.stdout);
    assert!(
        played.stderr.contains("warning: NOT ENFORCED: raw.archive: written-objects: seen "),
        "{}",
        played.stderr
    );
    assert_eq!(played.report["not_enforced"], serde_json::json!(["written-objects"]));
}

#[test]
fn a_run_that_is_closed_later_goes_by_the_policy_that_it_began_with() {
    let stage = Stage::acme().misbehave("hang").option("--advise=cluster-ami");
    let mut child = stage.command("run").spawn().unwrap();
    let launched = stage.sim.wait_for_request(
        |request| request.operation() == "RunJobFlow",
        std::time::Duration::from_secs(120),
    );
    assert!(launched.is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let stage = stage.env("EMR_ETL_GUARD_EVIDENCE", "kept");
    let played = stage.play(stage.watch_resume());
    played.expect_code(0);
    assert!(!played.stdout.contains("what was verified"), "{}", played.stdout);
    let kept = std::fs::read_dir(stage.path("kept")).unwrap().next().unwrap().unwrap();
    let document = crate::support::valid_document(&std::fs::read(kept.path()).unwrap());
    assert_eq!(document["not_enforced"], serde_json::json!(["cluster-ami"]));
    assert!(document["inputs"].is_null(), "nothing else says so");
}

//! One cause, one message: where AWS, or a part of it, cannot be called at all, that is reported
//! once, with its own fix, and with the number of checks that it blocks.

use emr_simulator::{ClockMode, Command as Set, Fault, FaultKind, SetClock};
use serde_json::Value;

use crate::{
    attach::started_by_hand,
    resume::murder,
    support::{Played, Stage, closed_port, isolated_guard, under_way, wait_until},
};

/// The longest first line, in characters.
const FIRST_LINE: usize = 120;

fn without_keys(stage: Stage) -> Stage {
    stage.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY")
}

fn error(service: Option<&str>, status: u16, code: &str) -> Set {
    let kind =
        FaultKind::Error { status, code: code.to_owned(), message: "as AWS words it".to_owned() };
    Set::AddFault(Fault { service: service.map(str::to_owned), ..Fault::every("*", kind) })
}

/// The findings of a report that name a cause.
fn causes(played: &Played) -> Vec<&Value> {
    let findings = played.report["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["cause"].is_object()).collect()
}

/// Checks that a run reports one cause, once, on standard error and in its report, and launches
/// nothing; returns standard error.
#[track_caller]
fn named_once(stage: &Stage, name: &str) -> String {
    named_once_by(stage, name, 69)
}

#[track_caller]
fn named_once_by(stage: &Stage, name: &str, code: i32) -> String {
    let played = stage.run();
    played.expect_code(code);
    assert!(!played.runner_started());
    assert_eq!(stage.sim.requests_for("RunJobFlow").len(), 0);
    assert!(played.stderr.lines().next().unwrap().chars().count() < FIRST_LINE);
    let causes = causes(&played);
    assert_eq!(causes.len(), 1, "{}", played.transcript());
    assert_eq!(causes[0]["cause"]["name"], name);
    let check = &causes[0]["check"];
    let findings = played.report["findings"].as_array().unwrap();
    let waiting = findings.iter().filter(|finding| &finding["waits_for"] == check).count();
    assert_eq!(causes[0]["cause"]["blocks"], waiting);
    let open = |text: &str| text.matches("UNKNOWN ").count() + text.matches("FAILED ").count();
    assert_eq!(open(&played.stderr), 1, "{}", played.stderr);
    // `check` reports the same, in its table too.
    let checked = stage.check();
    checked.expect_code(code);
    assert_eq!(open(&checked.stdout), 1, "{}", checked.stdout);
    assert_eq!(checked.stderr.lines().next(), played.stderr.lines().next());
    // The number is in the report, and compared with it above.
    let blocks = regex::Regex::new(r"blocks    \d+").unwrap();
    blocks.replace(&played.redact(&played.stderr), "blocks    N").into_owned()
}

#[test]
fn without_credentials_one_line_says_so_and_nothing_is_asked() {
    let stage = without_keys(Stage::acme());
    insta::assert_snapshot!(named_once(&stage, "no-credentials"));
    // The runner's own credentials are in its config; their identity was requested.
    assert_eq!(stage.sim.requests_for("GetCallerIdentity").len(), stage.sim.requests().len());
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let stage = without_keys(Stage::acme()).env("AWS_PROFILE", "acme-prod");
    insta::assert_snapshot!(named_once(&stage, "no-credentials"));
}

#[test]
fn an_sso_profile_without_a_session_says_how_to_log_in() {
    let stage = without_keys(Stage::acme()).env("AWS_PROFILE", "acme-prod");
    std::fs::create_dir_all(stage.path(".aws")).unwrap();
    stage.write(
        ".aws/config",
        "[profile acme-prod]\nsso_session = acme\nsso_account_id = 123456789012\nsso_role_name = \
         etl\nregion = eu-west-1\n\n[sso-session acme]\nsso_region = eu-west-1\nsso_start_url = \
         https://acme.awsapps.com/start\n",
    );
    insta::assert_snapshot!(named_once(&stage, "credentials-failed"));
}

#[test]
fn an_expired_session_is_one_cause_whatever_each_service_calls_it() {
    let stage = Stage::acme();
    for (service, status, code) in [
        ("sts", 403, "ExpiredToken"),
        ("iam", 403, "ExpiredToken"),
        ("elasticmapreduce", 400, "ExpiredTokenException"),
        ("kms", 400, "ExpiredTokenException"),
        ("s3", 400, "ExpiredToken"),
        ("ec2", 400, "RequestExpired"),
    ] {
        stage.set(error(Some(service), status, code));
    }
    insta::assert_snapshot!(named_once(&stage, "expired-token"));
}

#[test]
fn an_access_key_that_aws_does_not_know_is_one_cause() {
    let stage = Stage::acme().env("AWS_ACCESS_KEY_ID", "AKIANOBODY");
    insta::assert_snapshot!(named_once(&stage, "unknown-key"));
}

#[test]
fn a_clock_that_is_off_is_told_from_a_wrong_secret_by_the_answers_date() {
    let now = time::OffsetDateTime::now_utc();
    let refused_at = |at| {
        let stage = Stage::acme();
        stage.set(Set::SetClock(SetClock { mode: ClockMode::Stepped, at: Some(at) }));
        // The wording of STS and IAM.
        stage.set(error(None, 403, "SignatureDoesNotMatch"));
        stage
    };
    let hours = named_once(&refused_at(now - time::Duration::hours(2)), "clock-skew");
    // The test itself takes some time.
    let hours = hours.replace("121 minutes", "120 minutes");
    insta::assert_snapshot!(hours);
    insta::assert_snapshot!(named_once(&refused_at(now), "wrong-secret"));
}

#[test]
fn a_host_that_cannot_be_reached_is_one_cause() {
    // A port that was free a moment ago: nothing listens on it.
    let (_held, port) = closed_port();
    let closed = format!("http://127.0.0.1:{port}");
    let stage = Stage::acme()
        .env("AWS_ENDPOINT_URL", &closed)
        .env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &closed);
    insta::assert_snapshot!(named_once(&stage, "unreachable"));
}

#[test]
fn a_proxy_that_does_not_answer_is_named() {
    let (_held, port) = closed_port();
    let proxy = format!("http://127.0.0.1:{port}");
    // Without the proxy this request would leave the machine; with it none does.
    let stage = Stage::acme().without_env("AWS_ENDPOINT_URL").env("HTTPS_PROXY", &proxy);
    let said = named_once(&stage, "proxy").replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(said);
}

#[test]
fn a_service_that_denies_every_call_is_one_cause_with_all_its_permissions() {
    let stage = Stage::acme();
    let denied =
        Fault { service: Some("kms".to_owned()), ..Fault::every("*", FaultKind::AccessDenied) };
    stage.set(Set::AddFault(denied));
    insta::assert_snapshot!(named_once(&stage, "kms-denied"));
}

#[test]
fn a_wrong_region_of_the_buckets_is_one_cause_that_names_the_right_one() {
    let stage = Stage::acme().replace("s3:\n    region: eu-west-1", "s3:\n    region: us-west-2");
    insta::assert_snapshot!(named_once_by(&stage, "wrong-region", 77));
}

#[test]
fn the_other_commands_stop_at_the_same_probe_with_the_same_message() {
    let stage =
        without_keys(Stage::acme()).env("AWS_PROFILE", "acme-prod").env("AWS_REGION", "eu-west-1");
    let mut said = String::new();
    for words in [
        &["watch", "j-ABCDEFGHIJKLM"][..],
        &["audit", "s3://acme-archive"][..],
        &["reencrypt", "s3://acme-archive"][..],
    ] {
        let mut command = isolated_guard();
        command.args(words);
        stage.prepare(&mut command);
        let played = stage.play(command);
        played.expect_code(69);
        let first = played.stderr.lines().next().unwrap_or_default();
        assert!(first.chars().count() < FIRST_LINE, "{first}");
        said.extend([words[0], ": ", &played.stderr]);
    }
    insta::assert_snapshot!(said);
    assert_eq!(stage.sim.requests().len(), 0);
}

/// A command that is no `check` and no `run`.
type OtherCommand = fn(&Stage) -> std::process::Command;

/// Proves that a command says one cause, once, with its fix, where AWS cannot be reached, the proxy
/// does not answer, or `service` denies every call; gives what it says.
#[track_caller]
fn each_cause_is_said_once(mut stage: Stage, command: OtherCommand, service: &str) -> String {
    let (_held, port) = closed_port();
    let closed = format!("http://127.0.0.1:{port}");
    let url = stage.sim.url();
    let mut all = String::new();
    for cause in ["unreachable", "proxy", "denied"] {
        stage = stage.without_env("HTTPS_PROXY");
        stage = match cause {
            "unreachable" => {
                stage.env("AWS_ENDPOINT_URL", &closed).env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &closed)
            }
            "proxy" => stage.without_env("AWS_ENDPOINT_URL").env("HTTPS_PROXY", &closed),
            _ => stage.env("AWS_ENDPOINT_URL", &url).env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &url),
        };
        if cause == "denied" {
            let denied = Fault::every("*", FaultKind::AccessDenied);
            stage.set(Set::AddFault(Fault { service: Some(service.to_owned()), ..denied }));
        }
        let played = stage.play(command(&stage));
        played.expect_code(69);
        let said = played.redact(&played.stderr).replace(&port.to_string(), "PORT");
        assert!(said.lines().next().unwrap().chars().count() < FIRST_LINE, "{said}");
        let messages = said.lines().filter(|line| line.starts_with("emr-etl-guard: ")).count();
        assert_eq!(messages, 1, "{said}");
        assert!(said.contains("\n  fix: "), "{said}");
        all.extend(["--- ", cause, "\n", &said]);
    }
    all
}

#[test]
fn an_audit_says_once_why_nothing_could_be_looked_at_and_its_report_says_so_too() {
    let stage = Stage::acme().option("--report=report.json");
    let said = each_cause_is_said_once(stage, |stage| stage.command("audit"), "s3");
    insta::assert_snapshot!(said);
    let stage = Stage::acme().option("--report=report.json");
    stage.set(Set::AddFault(Fault {
        service: Some("s3".to_owned()),
        ..Fault::every("*", FaultKind::AccessDenied)
    }));
    let played = stage.play(stage.command("audit"));
    assert_eq!(
        (&played.report["complete"], &played.report["exit_code"]),
        (&false.into(), &69.into())
    );
    // One place that is denied is not all of S3.
    let stage = Stage::acme();
    stage.set(Set::AddFault(Fault {
        matching: Some("acme-log".to_owned()),
        ..Fault::every("ListObjectsV2", FaultKind::AccessDenied)
    }));
    let played = stage.play(stage.command("audit"));
    assert!(played.stderr.contains("NOT ALL WAS SEEN"), "{}", played.transcript());
}

#[test]
fn a_key_that_an_audit_may_not_look_up_is_said_once_with_what_else_would_do() {
    let stage = Stage::acme();
    stage.write("guard.yml", "expected_keys: [alias/etl]\n");
    let stage = stage.option("--settings=guard.yml");
    let said = each_cause_is_said_once(stage, |stage| stage.command("audit"), "kms");
    insta::assert_snapshot!(said);
}

#[test]
fn a_reencryption_says_once_why_nothing_was_changed() {
    let said = each_cause_is_said_once(Stage::acme(), |stage| stage.command("reencrypt"), "s3");
    insta::assert_snapshot!(said);
}

#[test]
fn a_watch_says_once_why_nothing_was_watched_with_and_without_a_config() {
    let stage = || started_by_hand(|_| {});
    let by_settings = each_cause_is_said_once(
        stage(),
        |stage| stage.watch(&["j-BYHAND"], false),
        "elasticmapreduce",
    );
    let by_config = each_cause_is_said_once(
        stage(),
        |stage| stage.watch(&["j-BYHAND"], true),
        "elasticmapreduce",
    );
    assert_eq!(by_settings, by_config);
    insta::assert_snapshot!(by_settings);
}

#[test]
fn a_watch_on_what_kms_keeps_from_being_judged_names_that_once_and_confirms_nothing() {
    let stage = started_by_hand(|_| {});
    stage.set(Set::AddFault(Fault {
        service: Some("kms".to_owned()),
        ..Fault::every("*", FaultKind::AccessDenied)
    }));
    for by_config in [true, false] {
        let played = stage.play(stage.watch(&["j-BYHAND"], by_config));
        played.expect_code(75);
        let said = played.stderr.matches("access denied to every call of KMS").count();
        assert_eq!(said, 1, "{}", played.transcript());
        assert_eq!(causes(&played).len(), 1, "{}", played.transcript());
    }
}

#[test]
fn closing_an_open_run_says_once_why_that_cannot_be_done_and_the_run_stays_open() {
    let stage = Stage::acme().misbehave("hang").env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s");
    let mut child = under_way(&stage);
    let journals = || std::fs::read_dir(stage.path("state/runs")).into_iter().flatten().flatten();
    wait_until("the cluster is in the journal", || {
        journals().any(|file| std::fs::read_to_string(file.path()).unwrap().contains("\"j-"))
    });
    murder(&stage, &mut child);
    let said = each_cause_is_said_once(stage, Stage::watch_resume, "elasticmapreduce");
    insta::assert_snapshot!(said);
}

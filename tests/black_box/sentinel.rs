//! The sentinel judges every cluster of the account: it tells of unsafe ones once, terminates them
//! only where a rule says so and a second look agrees, and knows after a restart what it has done.

use std::{
    io::{Read as _, Write as _},
    process::Child,
};

use emr_simulator::{
    Command as Set, Fault, FaultKind, Named, PutSecurityConfiguration, SendMessage, Timings,
    UpdateCluster,
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    attach::{drop_flag, start},
    catalogue::OTHER_KEY,
    support::{Played, Stage, wait_until},
};

/// A change of the request for a cluster.
type Change = fn(&mut Value);

/// A stage whose clusters run for hours, with these lines in the section `sentinel`.
pub(crate) fn stage(section: &str) -> Stage {
    let stage = Stage::acme();
    stage.set(Set::SetTimings(Timings {
        starting: 6.0,
        bootstrapping: 6.0,
        terminating: 6.0,
        ..Timings::all(36_000.0)
    }));
    settings(&stage, section, "");
    stage
}

/// Writes the settings: these lines in the section `sentinel`, and others beside it.
pub(crate) fn settings(stage: &Stage, section: &str, others: &str) {
    let base = "sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n  judge_within: 30s\n";
    stage.write("guard.yml", &format!("{others}{base}{section}"));
}

pub(crate) fn once(stage: &Stage) -> Played {
    stage.play(stage.sentinel(&["--once"]))
}

pub(crate) fn without_configuration(request: &mut Value) {
    request.as_object_mut().unwrap().remove("SecurityConfiguration");
}

fn terminations(stage: &Stage) -> usize {
    stage.sim.requests_for("TerminateJobFlows").len()
}

/// How many times this cluster was reported as unsafe.
fn told(played: &Played, id: &str) -> usize {
    let is_told = |line: &&str| line.contains(id) && line.contains("is UNSAFE");
    played.unbroken().lines().filter(is_told).count()
}

/// The lines of the ledger.
fn ledger(stage: &Stage) -> Vec<Value> {
    let files = std::fs::read_dir(stage.path("state/sentinel")).into_iter().flatten();
    let files = files.filter_map(|file| Some(file.ok()?.path()));
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    let text: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    // Another process may be writing the last line.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub(crate) fn is_noted(stage: &Stage, entry: &str, id: &str) -> bool {
    ledger(stage).iter().any(|line| line["entry"] == entry && line["id"] == id)
}

/// Stops a sentinel, as a service manager does.
pub(crate) fn stop(stage: &Stage, child: Child) -> Played {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(0);
    played
}

fn weak_configuration(stage: &Stage) {
    let content = json!({"EncryptionConfiguration": {
        "EnableAtRestEncryption": true, "EnableInTransitEncryption": false,
        "AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}
        },
    }});
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "weak".to_owned(),
        content,
        ..Default::default()
    }));
}

#[test]
fn a_cluster_that_is_as_required_passes_silently() {
    let stage = stage("");
    start(&stage, "j-GOOD", |_| {});
    let played = once(&stage);
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    insta::assert_snapshot!(played.redact(&played.stdout));
    assert_eq!(terminations(&stage), 0);
}

#[test]
fn an_unsafe_cluster_is_told_once_and_only_told() {
    let changes: [(&str, Change); 4] = [
        ("cluster-security-configuration", without_configuration),
        ("cluster-protections", |request| request["SecurityConfiguration"] = "weak".into()),
        ("step-encryption-flag", drop_flag),
        ("cluster-configurations", |request| {
            request["Configurations"] = json!([{"Classification": "hdfs-site",
                "Properties": {"dfs.encrypt.data.transfer": "false"}}]);
        }),
    ];
    for (check, change) in changes {
        let stage = stage("");
        weak_configuration(&stage);
        start(&stage, "j-BAD", change);
        let played = once(&stage);
        played.expect_code(71);
        assert!(played.unbroken().contains(check), "{check}\n{}", played.transcript());
        assert_eq!(told(&played, "j-BAD"), 1, "{}", played.transcript());
        assert_eq!(terminations(&stage), 0);
        if check == "cluster-security-configuration" {
            insta::assert_snapshot!(played.redact(&played.stderr));
        }
    }
}

#[test]
fn a_sentinel_whose_output_nobody_reads_judges_alerts_terminates_and_stops() {
    let topic = "arn:aws:sns:eu-west-1:123456789012:etl-alerts";
    let stage = stage("");
    stage.set(Set::PutTopic(Named { name: "etl-alerts".to_owned(), ..Named::default() }));
    settings(&stage, "  on_unsafe: terminate\n", &format!("alert_sns: {topic}\n"));
    start(&stage, "j-BAD", without_configuration);
    // A pipe that is full: the first message would wait for ever.
    let (mut reader, full) = std::io::pipe().unwrap();
    let wait = |flags| fcntl(&full, FcntlArg::F_SETFL(flags)).unwrap();
    wait(OFlag::O_NONBLOCK);
    while (&full).write(b"x").is_ok() {}
    wait(OFlag::empty());
    let mut sentinel = stage.sentinel(&[]);
    sentinel.stdout(full.try_clone().unwrap()).stderr(full.try_clone().unwrap());
    let mut child = sentinel.spawn().unwrap();
    drop(sentinel);
    wait_until("it is terminated, and an alert is sent", || {
        terminations(&stage) == 1 && !stage.sim.requests_for("Publish").is_empty()
    });
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(full);
    // What it had to say is lost with it, but for what the end waited for.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.trim_start_matches('x'), "");
}

#[test]
fn a_cluster_under_another_key_than_a_rule_expects_is_unsafe() {
    let other = "arn:aws:kms:eu-west-1:123456789012:key/22222222-2222-2222-2222-222222222222";
    let rule = format!(
        "  rules:\n    - name: payroll\n      match: {{}}\n      expected_keys: [\"{other}\"]\n"
    );
    let stage = stage(&rule);
    start(&stage, "j-OTHERKEY", |_| {});
    let played = once(&stage);
    played.expect_code(71);
    assert_eq!(told(&played, "j-OTHERKEY"), 1, "{}", played.transcript());
}

#[test]
fn disks_under_another_key_than_the_expected_one_are_told_alike_before_and_after_the_launch() {
    const CHECK: &str = "local-disk-key";
    let words = |finding: &Value| {
        ["subject", "status", "seen", "expected"]
            .map(|part| finding[part].as_str().unwrap().to_owned())
    };
    let option = format!("--expected-keys={OTHER_KEY}");
    let checked = Stage::acme().option(&option).check();
    checked.expect_code(77);
    let told = words(&checked.finding(CHECK));
    assert_eq!(told[0..2], ["acme-sc", "failed"]);
    assert_eq!(told[3], format!("disks under {OTHER_KEY}"));

    for by_config in [true, false] {
        let by_hand = Stage::acme().env("AWS_REGION", "eu-west-1").option(&option);
        start(&by_hand, "j-OTHERKEY", |_| {});
        let watched = by_hand.play(by_hand.watch(&["j-OTHERKEY"], by_config));
        assert_eq!(words(&watched.finding(CHECK)), told, "{}", watched.transcript());
    }

    // The disks alone are enough.
    let stage = stage("");
    let others =
        format!("expected_keys: [\"{OTHER_KEY}\"]\nadvise: [written-encryption, kms-key-exists]\n");
    settings(&stage, "  on_unsafe: terminate\n", &others);
    start(&stage, "j-OTHERKEY", |_| {});
    let played = once(&stage);
    played.expect_code(76);
    assert_eq!(terminations(&stage), 1);
    let report = reports(&stage).remove(0);
    let open = report["clusters"][0]["open"].as_array().unwrap();
    let ours = open.iter().find(|finding| finding["check"] == CHECK);
    assert_eq!(ours.map(words), Some(told), "{}", played.transcript());
}

#[test]
fn luks_without_encryption_by_ebs_is_what_local_disk_asks_for_until_more_is_enforced() {
    let luks = |stage: &Stage| {
        let content = json!({"EncryptionConfiguration": {
            "EnableAtRestEncryption": true, "EnableInTransitEncryption": true,
            "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": {
                "CertificateProviderType": "PEM", "S3Object": "s3://acme-etl/certs/emr.zip"}},
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
                "LocalDiskEncryptionConfiguration": {
                    "EncryptionKeyProviderType": "AwsKms",
                    "AwsKmsKey": "alias/acme-etl"}},
        }});
        stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
            name: "acme-sc".to_owned(),
            content,
            ..Default::default()
        }));
    };
    for (enforced, code, alone) in [("", 0, 0), ("enforce: [ebs-encryption-by-default]\n", 77, 71)]
    {
        let before = Stage::acme().option("--settings=guard.yml");
        before.write("guard.yml", enforced);
        luks(&before);
        before.check().expect_code(code);

        let stage = stage("");
        settings(&stage, "", enforced);
        luks(&stage);
        start(&stage, "j-LUKS", |_| {});
        let played = once(&stage);
        played.expect_code(alone);
        let is_named = played.unbroken().contains("ebs-encryption-by-default");
        assert_eq!(is_named, alone == 71, "{}", played.transcript());
    }
}

#[test]
fn a_rule_terminates_an_unsafe_cluster_after_a_second_look_and_no_other() {
    let stage = stage("  on_unsafe: terminate\n");
    start(&stage, "j-GOOD", |_| {});
    start(&stage, "j-BAD", without_configuration);
    let played = once(&stage);
    played.expect_code(76);
    let requests = stage.sim.requests();
    let about = |operation: &str| {
        requests.iter().position(|request| {
            request.operation() == operation && request.cluster_id() == Some("j-BAD")
        })
    };
    let terminated = about("TerminateJobFlows").expect("it is terminated");
    let looks = requests[..terminated].iter().filter(|request| {
        request.operation() == "DescribeCluster" && request.cluster_id() == Some("j-BAD")
    });
    assert!(looks.count() >= 2, "two looks come before the termination");
    assert_eq!(terminations(&stage), 1);
    assert!(is_noted(&stage, "ending", "j-BAD"));
    assert!(played.stderr.contains("its end is confirmed"), "{}", played.transcript());
    let causes: Vec<String> = reports(&stage).iter().map(|it| it["cause"].to_string()).collect();
    assert_eq!(causes, ["\"termination\"", "\"end\""]);
    let last = reports(&stage).pop().unwrap();
    assert_eq!((last["once"].as_bool(), last["exit_code"].as_u64()), (Some(true), Some(76)));
    assert_eq!(last["clusters"].as_array().unwrap().len(), 1, "the other one was over before");
}

/// The reports in the state directory, in their order.
fn reports(stage: &Stage) -> Vec<Value> {
    let files = std::fs::read_dir(stage.path("state/sentinel/reports")).into_iter().flatten();
    let files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let mut all: Vec<Value> = files.map(|text| serde_json::from_slice(&text).unwrap()).collect();
    all.sort_by_key(|report| report["sequence"].as_u64());
    all
}

#[test]
fn an_event_of_a_launch_tells_who_launched_and_a_forged_one_does_no_harm() {
    let stage = Stage::acme();
    stage.set(Set::SetTimings(Timings::all(36_000.0)));
    stage.set(Set::PutQueue(Named { name: "events".to_owned(), ..Named::default() }));
    let url = format!("{}/123456789012/events", stage.sim.url());
    settings(&stage, &format!("  queues: [\"{url}\"]\n  terminations_per_hour: 1\n"), "");
    let send = |body: String| {
        stage.set(Set::SendMessage(SendMessage { queue: "events".to_owned(), body }));
    };
    let launcher = "arn:aws:sts::123456789012:assumed-role/airflow/dag";
    let launch = |account: &str| {
        json!({"source": "aws.elasticmapreduce", "detail-type": "AWS API Call via CloudTrail",
            "account": account, "region": "eu-west-1",
            "detail": {"eventSource": "elasticmapreduce.amazonaws.com", "eventName": "RunJobFlow",
                "userIdentity": {"arn": launcher}, "sourceIPAddress": "192.0.2.7",
                "responseElements": {"jobFlowId": "j-BAD"}}})
        .to_string()
    };
    send("no JSON at all".to_owned());
    send(launch("999999999999"));
    send(launch("123456789012"));
    start(&stage, "j-BAD", without_configuration);
    let child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("it is told", || is_noted(&stage, "told-unsafe", "j-BAD"));
    wait_until("the queue is empty", || {
        stage.sim.with_world(|world| world.queues["events"].is_empty())
    });
    let played = stop(&stage, child);
    assert_eq!(told(&played, "j-BAD"), 1, "{}", played.transcript());
    let last = reports(&stage).pop().unwrap();
    assert_eq!(last["clusters"][0]["launcher"]["arn"], launcher);
    assert_eq!(last["clusters"].as_array().unwrap().len(), 1);
}

#[test]
fn a_fact_that_could_not_be_read_terminates_nothing() {
    let stage = stage("");
    start(&stage, "j-GOOD", |_| {});
    let kind = FaultKind::AccessDenied;
    stage.set(Set::AddFault(Fault::every("DescribeSecurityConfiguration", kind)));
    let short = "sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n  judge_within: 2s\n  \
                 on_unsafe: terminate\n";
    stage.write("guard.yml", short);
    let played = once(&stage);
    played.expect_code(75);
    assert_eq!(terminations(&stage), 0);
    assert!(played.stderr.contains("could not be judged"), "{}", played.transcript());
}

#[test]
fn no_more_clusters_are_terminated_in_an_hour_than_the_limit_says_whatever_restarts() {
    let stage = stage("  on_unsafe: terminate\n  terminations_per_hour: 1\n");
    start(&stage, "j-BAD1", without_configuration);
    start(&stage, "j-BAD2", without_configuration);
    let first = once(&stage);
    first.expect_code(71);
    assert_eq!(terminations(&stage), 1);
    let second = once(&stage);
    second.expect_code(71);
    assert_eq!(terminations(&stage), 1, "the limit holds after a restart");
}

#[test]
fn a_sentinel_that_is_killed_neither_tells_nor_terminates_twice() {
    let stage = stage("  on_unsafe: terminate\n");
    stage.set(Set::SetTimings(Timings::all(36_000.0)));
    start(&stage, "j-BAD", without_configuration);
    let mut child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("its termination is requested", || terminations(&stage) == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let looks = || {
        let all = stage.sim.requests_for("DescribeCluster");
        all.iter().filter(|request| request.cluster_id() == Some("j-BAD")).count()
    };
    let before = looks();
    let child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("it is looked at again", || looks() >= before + 3);
    let played = stop(&stage, child);
    assert_eq!(told(&played, "j-BAD"), 0, "{}", played.transcript());
    assert_eq!(terminations(&stage), 1);
}

#[test]
fn a_second_sentinel_with_the_same_state_does_not_start() {
    let stage = stage("");
    let child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("it has listed", || !stage.sim.requests_for("ListClusters").is_empty());
    let second = once(&stage);
    second.expect_code(69);
    assert!(
        second.unbroken().starts_with(
            "emr-etl-guard: nothing is watched: another sentinel uses the state directory state"
        ),
        "{}",
        second.stderr
    );
    stop(&stage, child);
}

#[test]
fn a_cluster_that_lives_and_ends_between_two_lists_is_recorded() {
    let stage = stage("");
    let slow = "sentinel:\n  regions: [eu-west-1]\n  interval: 2s\n";
    stage.write("guard.yml", slow);
    let child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("it has listed", || !stage.sim.requests_for("ListClusters").is_empty());
    stage.set(Set::SetTimings(Timings::all(0.1)));
    start(&stage, "j-BRIEF", |_| {});
    wait_until("it is recorded", || {
        ledger(&stage).iter().any(|line| {
            line["entry"] == "cluster" && line["over"] == true && line["record"]["id"] == "j-BRIEF"
        })
    });
    stop(&stage, child);
}

#[test]
fn a_step_that_is_added_while_a_cluster_lives_is_judged() {
    let stage = stage("");
    start(&stage, "j-DRIFTS", |_| {});
    let child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("it is judged", || !stage.sim.requests_for("ListSteps").is_empty());
    stage.set(Set::UpdateCluster(UpdateCluster {
        id: "j-DRIFTS".to_owned(),
        add_steps: json!([{"Name": "theirs", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": ["spark-submit", "--conf", "spark.authenticate=false", "s3://acme/x.jar"]}}]),
        ..Default::default()
    }));
    wait_until("it is told", || is_noted(&stage, "told-unsafe", "j-DRIFTS"));
    let played = stop(&stage, child);
    assert_eq!(told(&played, "j-DRIFTS"), 1, "{}", played.transcript());
}

#[test]
fn a_place_whose_clusters_cannot_be_listed_is_said_and_no_reason_for_success() {
    let stage = stage("");
    let short = "sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n  judge_within: 6s\n";
    stage.write("guard.yml", short);
    stage.set(Set::AddFault(Fault::every("ListClusters", FaultKind::AccessDenied)));
    let played = once(&stage);
    played.expect_code(75);
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn throttled_requests_are_tried_again() {
    let stage = stage("");
    start(&stage, "j-GOOD", |_| {});
    for nth in [1, 2] {
        let fault = Fault::nth("DescribeCluster", nth, FaultKind::Throttle);
        stage.set(Set::AddFault(fault));
    }
    let played = once(&stage);
    played.expect_code(0);
    assert_eq!(played.stderr, "");
}

#[test]
fn an_exception_of_the_settings_holds_for_what_it_names() {
    let stage = stage("");
    let exception = |check: &str| {
        format!(
            "  - {{check: {check}, subject: j-BAD, reason: by the owner, expires: 2999-12-31}}\n"
        )
    };
    let exceptions = ["cluster-security-configuration", "cluster-protections"].map(exception);
    settings(&stage, "", &format!("exceptions:\n{}", exceptions.concat()));
    start(&stage, "j-BAD", without_configuration);
    once(&stage).expect_code(0);
    start(&stage, "j-OTHER", without_configuration);
    let played = once(&stage);
    played.expect_code(71);
    assert_eq!((told(&played, "j-BAD"), told(&played, "j-OTHER")), (0, 1));
}

#[test]
fn what_the_launcher_writes_on_a_cluster_excuses_nothing() {
    let stage = stage("");
    start(&stage, "j-BAD", |request| {
        without_configuration(request);
        request["Tags"] = json!([{"Key": "emr-etl-guard-exception", "Value": "all"}]);
    });
    once(&stage).expect_code(71);
}

#[test]
fn arguments_of_the_runner_are_no_arguments_of_the_sentinel() {
    let stage = stage("");
    let mut command = stage.sentinel(&["--once"]);
    command.args(["--", "run", "-c", "config.yml"]);
    let played = stage.play(command);
    played.expect_code(65);
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn once_a_cluster_that_does_not_start_in_time_is_not_judged() {
    let stage = stage("");
    stage.set(Set::SetTimings(Timings { starting: 36_000.0, ..Timings::all(36_000.0) }));
    start(&stage, "j-STARTS", |_| {});
    let short = "sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n  judge_within: 2s\n";
    stage.write("guard.yml", short);
    let played = once(&stage);
    played.expect_code(75);
    let text = played.unbroken();
    assert!(text.contains("j-STARTS") && text.contains("could not be judged within 2s"), "{text}");
    assert_eq!(terminations(&stage), 0);
}

#[test]
fn reports_that_take_much_space_are_said_and_nothing_removes_them_but_a_setting() {
    let stage = stage("");
    once(&stage).expect_code(0);
    let reports = stage.path("state/sentinel/reports");
    let large = std::fs::File::create(reports.join("large")).unwrap();
    // It takes no space on the disk, but has this length.
    large.set_len(1 << 30).unwrap();
    let count = || std::fs::read_dir(&reports).unwrap().count();
    let before = count();
    let played = once(&stage);
    played.expect_code(0);
    let text = played.unbroken();
    assert_eq!(text.matches("nothing removes old reports in").count(), 1, "{text}");
    assert_eq!(count(), before + 1);
    settings(&stage, "", "evidence_keep: 1\n");
    let played = once(&stage);
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    assert_eq!(count(), 2, "the last one, and what is not the sentinel's");
}

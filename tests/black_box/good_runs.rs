//! Runs that should succeed, the runner's own exit codes, and its output, byte for byte.

use std::time::{Duration, Instant};

use emr_simulator::{
    Advance, ClusterState, Command as Set, Fault, FaultKind, NextCluster, PutObject, StartCluster,
    StartState, Timings,
};
use serde_json::json;

use crate::{
    catalogue::for_each,
    support::{Played, Stage, hermetic_command, wait_until},
};

#[test]
fn a_good_run_at_debug_ends_0_with_nothing_on_stderr() {
    let stage = terminating();
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    insta::assert_snapshot!(played.transcript());
    assert_eq!(played.report["exit_code"], 0);
    assert_eq!(played.report["verdict"], "launch");
    assert!(played.findings("cluster-ended").values().all(|status| status == "passed"));
}

#[test]
fn the_report_holds_everything_a_reader_needs_in_a_stable_form() {
    let mut report = terminating().run().report;
    // Fields that depend on timing are covered by other tests.
    for varies in ["timeline", "states", "actions", "calls", "objects", "who"] {
        report[varies] = serde_json::Value::Null;
    }
    report["inputs"]["runner"]["path"] = serde_json::Value::Null;
    report["watched"]["clusters"][0]["found_by"] = serde_json::Value::Null;
    report["watched"]["clusters"][0]["cluster"]["found"]["status"] = serde_json::Value::Null;
    report["written"][0]["survey"] = serde_json::Value::Null;
    let text = serde_json::to_string_pretty(&report).unwrap();
    let text = regex::Regex::new(r#""s-[A-Z0-9]+"|"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"|"(?:vol|i)-[0-9a-f]{17}"|"[0-9a-f]{64}"|http://127.0.0.1:\d+"#)
        .unwrap()
        .replace_all(&text, "(varies)")
        .into_owned();
    insta::assert_snapshot!(crate::support::redact_times(&text));
}

/// A stage whose cluster is still terminating when the runner has ended, however slow the machine
/// is: its state and the number of EMR's logs are always the same.
fn terminating() -> Stage {
    let stage = Stage::acme();
    stage.set(Set::SetTimings(Timings {
        bootstrapping: 36.0,
        terminating: 3600.0,
        ..Timings::all(6.0)
    }));
    stage
}

#[test]
fn the_runner_is_asked_for_its_version_once_and_then_remembered() {
    let stage = Stage::acme();
    stage.check().expect_code(0);
    let played = stage.check();
    played.expect_code(0);
    let asked = played.journal.iter().filter(|entry| entry["event"] == "spawned").count();
    assert_eq!(asked, 1, "two checks, one question");
}

/// The start script of the published EmrEtlRunner.
const START_SCRIPT: &str = r#"#!/bin/sh

MYSELF=`which "$0" 2>/dev/null`
[ $? -gt 0 -a -f "$0" ] && MYSELF="./$0"
java=java
if test -n "$JAVA_HOME"; then
    java="$JAVA_HOME/bin/java"
fi
exec "$java" $java_args -jar $MYSELF "$@"
exit 1
"#;

/// A stage whose runner is a jar after this start script, as published; its Java records each
/// start.
fn packaged(start_script: &str) -> Stage {
    use std::io::Write as _;
    let mut jar = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let source = "module Snowplow\n  module EmrEtlRunner\n    NAME    = \
        \"snowplow-emr-etl-runner\"\n    VERSION = \"1.0.4\"\n  end\nend\n";
    for (name, text) in [
        ("JarMain.class", ""),
        ("META-INF/main.rb", "load 'snowplow-emr-etl-runner/bin/snowplow-emr-etl-runner'\n"),
        ("snowplow-emr-etl-runner/lib/snowplow-emr-etl-runner.rb", source),
    ] {
        jar.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        jar.write_all(text.as_bytes()).unwrap();
    }
    let stage = Stage::acme();
    let executable = |name: &str, bytes: &[u8]| {
        stage.program(name, bytes);
        stage.path(name).display().to_string()
    };
    let mut bytes = start_script.as_bytes().to_vec();
    bytes.extend(jar.finish().unwrap().into_inner());
    let runner = executable("snowplow-emr-etl-runner", &bytes);
    let starts = stage.path("starts").display().to_string();
    let java = format!(
        "#!/bin/sh\necho \"$3\" >> '{starts}'\ncase $3 in --version) echo snowplow-emr-etl-runner \
         1.0.3;; *) exit 3;; esac\n"
    );
    executable("java", java.as_bytes());
    let path = format!("{}:/usr/bin:/bin", stage.folder.path().display());
    stage.env("EMR_ETL_GUARD_RUNNER", &runner).env("PATH", &path)
}

/// The runner's version in the report, and the starts of the runner.
fn version_and_starts(stage: &Stage, played: &Played) -> (String, String) {
    let version = played.report["inputs"]["runner"]["version"]["found"].as_str();
    let starts = std::fs::read_to_string(stage.path("starts")).unwrap_or_default();
    (version.unwrap_or_default().to_owned(), starts)
}

#[test]
fn a_runner_as_it_is_published_is_not_started_for_its_version() {
    let stage = packaged(START_SCRIPT);
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(version_and_starts(&stage, &played), ("1.0.4".to_owned(), String::new()));
    let played = stage.run();
    assert_eq!(version_and_starts(&stage, &played), ("1.0.4".to_owned(), "run\n".to_owned()));
}

#[test]
fn a_runner_that_only_looks_as_if_it_were_published_is_asked() {
    let changed = START_SCRIPT.replace("exit 1\n", "exit 2\n");
    let stage = packaged(&changed);
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(version_and_starts(&stage, &played), ("1.0.3".to_owned(), "--version\n".to_owned()));
}

/// Runs to the end; the instances exist until the guard has seen their volumes, however slow the
/// machine is.
fn with_lasting_instances(stage: &Stage) -> Played {
    stage.set(Set::SetTimings(Timings { step: 3600.0, ..Timings::all(6.0) }));
    let child = stage.command("run").spawn().unwrap();
    wait_until("a look at the volumes", || {
        let asked = stage.sim.requests_for("DescribeVolumes");
        asked.iter().any(|request| request.status == Some(200))
    });
    stage.set(Set::Advance(Advance { seconds: 20.0 * 3600.0 }));
    stage.finish(child)
}

#[test]
fn a_good_run_at_info_finds_its_cluster_although_no_id_is_printed() {
    let stage = Stage::acme().replace("level: DEBUG", "level: INFO");
    let played = with_lasting_instances(&stage);
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    let runner_said: Vec<&str> =
        played.stdout.lines().filter(|line| !line.starts_with("emr-etl-guard: ")).collect();
    assert!(!runner_said.join("").contains("j-"), "{runner_said:?}");
    assert_eq!(played.clusters().len(), 1);
    assert_eq!(played.report["watched"]["clusters"][0]["found_by"], "list");
}

#[test]
fn quiet_leaves_only_the_runners_own_output() {
    let stage = Stage::acme().replace("level: DEBUG", "level: INFO").option("--quiet");
    let played = with_lasting_instances(&stage);
    played.expect_code(0);
    insta::assert_snapshot!(played.transcript(), @r"
    exit code: 0
    --- stdout
    I, [TIME #PID]  INFO -- : No RDB Loader logs
    I, [TIME #PID]  INFO -- : Completed successfully
    --- stderr
    ");
}

#[test]
fn without_the_tag_clusters_are_told_apart_by_name_and_time() {
    let stage = Stage::acme().option("--run-tag=false").replace("level: DEBUG", "level: INFO");
    stage.set(Set::StartCluster(StartCluster {
        age_seconds: 600.0,
        request: json!({"Name": "Snowplow ETL"}),
        ..StartCluster::default()
    }));
    let played = with_lasting_instances(&stage);
    played.expect_code(0);
    assert_eq!(
        played.clusters().len(),
        1,
        "the older cluster of the same name is nobody's business"
    );
    assert!(!played.stdout.contains("monitoring.tags"));
}

#[test]
fn a_runner_that_lost_the_tag_is_still_watched_by_what_it_prints() {
    let stage = Stage::acme().misbehave("drop-tags").held();
    let child = stage.start_held();
    // No search finds it before its id is read from the log.
    let outage = FaultKind::ServerError { status: 503 };
    stage.set(Set::AddFault(Fault::every("ListClusters", outage)));
    stage.release();
    let looked_at = stage.sim.wait_for_request(
        |request| {
            request.operation() == "DescribeCluster"
                && request.access_key.as_deref() == Some("AKIAGUARD")
        },
        Duration::from_secs(120),
    );
    assert!(looked_at.is_some(), "the cluster is looked at");
    stage.set(Set::ClearFaults);
    let played = stage.finish(child);
    played.expect_code(0);
    assert_eq!(played.report["watched"]["clusters"][0]["found_by"], "log");
}

#[test]
fn a_forged_log_line_cannot_claim_a_foreign_cluster() {
    let stage = Stage::acme().misbehave("forge-id=j-FOREIGN");
    stage.set(Set::StartCluster(StartCluster {
        id: Some("j-FOREIGN".to_owned()),
        request: json!({"Name": "Payroll"}),
        ..StartCluster::default()
    }));
    let played = stage.run();
    played.expect_code(0);
    assert!(played.stdout.contains("j-FOREIGN"), "the line was printed");
    assert!(!played.clusters().contains(&"j-FOREIGN".to_owned()));
    assert!(
        stage
            .sim
            .with_world(|world| world.cluster("j-FOREIGN").unwrap().state == ClusterState::Waiting)
    );
}

#[test]
fn a_bootstrap_failure_and_its_retry_are_both_accounted_for() {
    let stage = Stage::acme();
    stage.set(Set::SetNextCluster(NextCluster { bootstrap_failure: true, ..Default::default() }));
    let played = stage.run();
    // The first cluster ended with an error, which is unusual for a finished run; but it was safe,
    // and its retry did the work.
    assert_eq!(played.clusters().len(), 2);
    played.expect_code(0);
}

#[test]
fn a_good_run_of_which_three_clusters_ran_the_same_steps_ends_0_and_says_so() {
    let stage = Stage::acme();
    for nth in [1, 2] {
        let lost = FaultKind::AppliedThenReset;
        stage.set(Set::AddFault(Fault::nth("RunJobFlow", nth, lost)));
    }
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.clusters().len(), 3);
    insta::assert_snapshot!(played.redact(&played.stderr));
}

/// Runs to the end; the instances of the last of `clusters` exist for ten of the guard's intervals,
/// from the `looks`th poll on that follows its launch.
///
/// The guard needs less than six, which at the default pace are 30 s; the other four are for other
/// load of the machine.
fn with_brief_instances(stage: &Stage, clusters: usize, looks: usize) -> Played {
    const INTERVAL: Duration = Duration::from_millis(300);
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    let mut command = stage.command("run");
    command.env("EMR_ETL_GUARD_WATCH_INTERVAL", format!("{}ms", INTERVAL.as_millis()));
    let child = command.spawn().unwrap();
    wait_until("the launch", || stage.sim.requests_for("RunJobFlow").len() == clusters);
    let before = stage.by_guard("ListClusters");
    wait_until("looks while it starts", || stage.by_guard("ListClusters") >= before + looks);
    let before = stage.sim.requests_for("DescribeVolumes").len();
    stage.set(Set::Advance(Advance { seconds: 3600.0 }));
    let deadline = Instant::now() + 10 * INTERVAL;
    let seen = || {
        let asked = stage.sim.requests_for("DescribeVolumes");
        asked.iter().skip(before).any(|request| request.status == Some(200))
    };
    while !seen() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.set(Set::Advance(Advance { seconds: 20.0 * 3600.0 }));
    stage.finish(child)
}

#[test]
fn a_good_run_whose_instances_live_briefly_keeps_its_code_at_every_level() {
    for_each(&["DEBUG", "INFO", "WARN"], |level| {
        let stage = Stage::acme().replace("level: DEBUG", &format!("level: {level}"));
        // The latest time at which the guard polls again while a cluster starts.
        let played = with_brief_instances(&stage, 1, 5);
        played.expect_code(0);
        assert_eq!(played.stderr, "", "{level}");
        Ok(())
    });
}

#[test]
fn a_good_run_whose_instances_live_briefly_after_a_bootstrap_retry_keeps_its_code() {
    let stage = Stage::acme().replace("level: DEBUG", "level: INFO");
    stage.set(Set::SetNextCluster(NextCluster {
        bootstrap_failure: true,
        timings: Some(Timings { bootstrapping: 240.0, ..Timings::all(6.0) }),
        ..Default::default()
    }));
    let played = with_brief_instances(&stage, 2, 0);
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    assert_eq!(played.clusters().len(), 2);
}

#[test]
fn a_persistent_run_on_a_new_cluster_is_confirmed_while_the_cluster_stays() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    assert_eq!(stage.sim.requests_for("TerminateJobFlows").len(), 0);
}

#[test]
fn a_persistent_run_adopts_a_cluster_that_is_what_was_verified() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.report["watched"]["clusters"][0]["found_by"], "adopted");
}

pub(crate) fn waiting_cluster(more: &serde_json::Value) -> Set {
    let mut request = json!({"Name": "Snowplow \
        ETL", "ReleaseLabel": "emr-5.29.0", "Instances": {"Ec2SubnetId": "subnet-0123456789abcdef0", "KeepJobFlowAliveWhenNoSteps": true}});
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    Set::StartCluster(StartCluster {
        id: Some("j-WAITING".to_owned()),
        state: StartState::Waiting,
        request,
        ..StartCluster::default()
    })
}

#[test]
fn the_runners_own_codes_pass_through() {
    // 3: nothing to process.
    let stage = Stage::acme();
    stage.set(delete("acme-raw-in", "logs/2020-08-21-raw.lzo"));
    stage.set(delete("acme-raw-in", "logs/_Tomcat_localhost_access_log.2020-08-21.txt.gz"));
    stage.run().expect_code(3);

    // 4: an earlier run is unfinished.
    let stage = Stage::acme();
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-etl".to_owned(),
        key: "processing/left-over".to_owned(),
        ..Default::default()
    }));
    stage.run().expect_code(4);

    // 17: the lock is held.
    let stage = Stage::acme().argument("-l").argument("lock");
    stage.write("lock", "");
    stage.run().expect_code(17);

    // 18: the persistent cluster is busy.
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    let Set::StartCluster(cluster) = waiting_cluster(&json!({
        "SecurityConfiguration": "acme-sc",
        "Steps": [{
            "Name": "long", "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar"}
        }]
    })) else {
        unreachable!()
    };
    stage.set(Set::SetTimings(Timings::all(36_000.0)));
    stage.set(Set::StartCluster(StartCluster { state: StartState::Running, ..cluster }));
    stage.run().expect_code(18);

    // 1: a step fails.
    let stage = Stage::acme();
    stage.set(Set::SetNextCluster(NextCluster { fail_step: Some(3), ..Default::default() }));
    stage.run().expect_code(1);
}

fn delete(bucket: &str, key: &str) -> Set {
    Set::DeleteObject(emr_simulator::ObjectName { bucket: bucket.to_owned(), key: key.to_owned() })
}

#[test]
fn a_success_that_ran_nothing_is_not_confirmed() {
    let played = Stage::acme().misbehave("exit-0-idle").run();
    played.expect_code(75);
    insta::assert_snapshot!(played.stderr);
}

#[test]
fn a_cluster_that_nobody_waits_for_is_not_confirmed() {
    let stage = Stage::acme().misbehave("leave-running");
    // The watch waits for its instances, to check them.
    stage.set(Set::SetTimings(Timings { starting: 6.0, ..Timings::all(3600.0) }));
    let played = stage.run();
    played.expect_code(75);
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn every_byte_of_the_runners_output_passes_even_what_is_no_text() {
    let played = Stage::acme()
        .option("--quiet")
        .misbehave("invalid-utf8,flood=30000000")
        .replace("level: DEBUG", "level: INFO")
        .run();
    played.expect_code(0);
    assert!(played.raw_stdout.len() > 30_000_000);
    assert!(std::str::from_utf8(&played.raw_stdout).is_err());

    // The same run without the guard prints the same bytes, except for times and pids.
    let stage = Stage::acme()
        .misbehave("invalid-utf8,flood=30000000")
        .replace("level: DEBUG", "level: INFO");
    stage.write("config.yml", &stage.config);
    stage.command("run");
    let mut alone = hermetic_command(&crate::support::programs().runner);
    alone.args(&stage.arguments);
    stage.prepare(&mut alone);
    let alone = stage.play(alone);
    alone.expect_code(0);
    let lines = |played: &Played| -> Vec<Vec<u8>> {
        played.raw_stdout.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let same = |line: &[u8]| {
        let text: String = line.iter().map(|byte| char::from(*byte)).collect();
        played.redact(&text)
    };
    let (guarded, alone) = (lines(&played), lines(&alone));
    assert_eq!(guarded.len(), alone.len());
    for (guarded, alone) in guarded.iter().zip(&alone) {
        assert!(
            without_time_and_pid(guarded) == without_time_and_pid(alone)
                || same(guarded) == same(alone),
            "{} and {}",
            same(guarded),
            same(alone)
        );
    }
}

/// A line of the runner's log without its time and its process: the part after the first `#` and
/// its `]`. Other lines are unchanged.
fn without_time_and_pid(line: &[u8]) -> &[u8] {
    let is_log_line = matches!(line, [b'D' | b'I' | b'W' | b'E' | b'F', b',', b' ', b'[', ..]);
    match line.iter().position(|byte| *byte == b']') {
        Some(end) if is_log_line => &line[end..],
        _ => line,
    }
}

#[test]
fn a_run_is_judged_on_what_its_arguments_leave_to_do() {
    // Only the archiving of an earlier run's output: the raw buckets are not accessed, so their
    // settings do not matter.
    let stage = Stage::acme().argument("--resume-from").argument("archive_enriched");
    for name in ["acme-raw-in", "acme-raw-in2"] {
        stage.set(Set::DeleteBucket(emr_simulator::Named {
            name: name.to_owned(),
            ..Default::default()
        }));
    }
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(played.findings("bucket-exists")["acme-raw-in"], "not-applicable");
    assert_eq!(played.findings("bucket-exists")["acme-archive"], "passed");
    assert_eq!(played.report["inputs"]["plan"]["archive_enriched"], "recover");
}

#[test]
fn a_run_whose_arguments_leave_nothing_to_do_is_a_success_all_the_same() {
    let all =
        "staging,enrich,shred,elasticsearch,archive_raw,rdb_load,archive_enriched,archive_shredded";
    let stage = Stage::acme().argument("--skip").argument(all);
    stage.run().expect_code(0);
}

#[test]
fn arguments_that_the_runner_would_stop_at_are_told_at_once() {
    let played = Stage::acme().argument("--resume-from").argument("staging_stream_enrich").run();
    played.expect_code(65);
    assert!(!played.runner_started());
    insta::assert_snapshot!(played.stderr);
}

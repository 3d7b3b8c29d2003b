//! Owns whole runs of the binary against the simulator: exit code, standard output, and the
//! requests to EMR.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

#[path = "../../../tests/support/children.rs"]
mod children;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use children::hermetic_command;
use emr_simulator::{Recorded, Simulator};
use serde_json::{Value, json};
use standin_runner::config::Config;
use support::{ENCRYPTED, config_with, normalised, recorded, recorded_path};
use tempfile::TempDir;

const RUN: &str = "run -c config.yml -r resolver.json";

/// The simulator with its scene, and a folder for runs.
struct Stage {
    simulator: Simulator,
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Stage {
    /// The acme scene with an accelerated clock, on which a whole run takes a fraction of a second.
    fn new() -> Self {
        let stage = Self {
            simulator: Simulator::start().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        };
        stage.set_the_scene();
        stage.write("config.yml", &config_with(&ENCRYPTED));
        stage.write("resolver.json", &recorded("resolver.json"));
        stage
    }

    fn set_the_scene(&self) {
        self.apply(json!({"command": "seed", "scene": "acme"}));
        self.apply(json!({"command": "set_quotas", "on": false}));
        self.apply(json!({
            "command": "set_timings",
            "starting": 0.02, "bootstrapping": 0.02, "step_start": 0.0, "step": 0.01,
            "terminating": 0.02,
        }));
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn misbehaving(self, how: &str) -> Self {
        self.with("STANDIN_MISBEHAVE", how)
    }

    fn apply(&self, command: Value) {
        self.simulator.apply(serde_json::from_value(command).unwrap()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn configure(&self, changes: &[(&str, &str)]) {
        let changes: Vec<_> = ENCRYPTED.iter().chain(changes).copied().collect();
        self.write("config.yml", &config_with(&changes));
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = hermetic_command(env!("CARGO_BIN_EXE_standin-runner"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear()
            .env("AWS_SNOWPLOW_ACCESS_KEY", "AKIAFAKE")
            .env("AWS_SNOWPLOW_SECRET_KEY", "fake")
            .env("STANDIN_ENDPOINT", self.simulator.url())
            .env("STANDIN_POLL_MS", "10")
            .env("STANDIN_RETRY_MS", "10")
            .env("STANDIN_BOOTSTRAP_RETRY_MS", "10")
            .env("STANDIN_JOURNAL", self.path("journal"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs, asserts the exit code and an empty standard error, and returns the normalised standard
    /// output.
    fn printed(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(code), ""), "{stdout}");
        normalised(&stdout)
    }

    fn calls(&self, operation: &str) -> Vec<Recorded> {
        let mut requests = self.simulator.requests();
        requests.retain(|request| request.operation() == operation);
        requests
    }

    /// The operations in their order, with consecutive repetitions merged.
    fn operations(&self) -> Vec<String> {
        let mut operations: Vec<String> = self
            .simulator
            .requests()
            .iter()
            .map(|request| request.operation().to_owned())
            .collect();
        operations.dedup();
        operations
    }

    /// The cluster of each `RunJobFlow` in the journal.
    fn clusters(&self) -> Vec<String> {
        let journal = fs::read_to_string(self.path("journal")).unwrap();
        journal
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter_map(|event| Some(event["job_flow_id"].as_str()?.to_owned()))
            .collect()
    }

    fn waiting_cluster(&self, name: &str, state: &str) {
        self.apply(json!({
            "command": "start_cluster",
            "state": state,
            "request": {
                "Name": name,
                "Instances": {"KeepJobFlowAliveWhenNoSteps": true},
                "Steps": if state == "running" { json!([a_step()]) } else { json!([]) },
            },
        }));
    }
}

fn a_step() -> Value {
    json!({
        "Name": "busy", "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep"]}
    })
}

#[test]
fn a_good_transient_run_prints_and_asks_what_the_real_program_did() {
    let stage = Stage::new();
    assert_eq!(stage.printed(RUN, 0), normalised(&recorded("a02-encrypted-sc.stdout")));
    assert_eq!(
        stage.operations(),
        [
            "ListObjectsV2",
            "RunJobFlow",
            "ListSteps",
            "DescribeCluster",
            "ListSteps",
            "TerminateJobFlows"
        ]
    );
    assert_eq!(stage.calls("ListObjectsV2").len(), 5);
    assert_eq!(
        normalised(&format!("{:#}\n", stage.calls("RunJobFlow")[0].body)),
        recorded("a02-encrypted-sc.run-job-flow.json")
    );
}

#[test]
fn a_configuration_as_json_on_standard_input_does_the_same() {
    let stage = Stage::new();
    let env = |name: &str| name.starts_with("AWS_SNOWPLOW").then(|| "AKIAFAKE".to_owned());
    let config = Config::load(&config_with(&ENCRYPTED), &env).unwrap();
    let mut child =
        stage.command("run --config - -r resolver.json").stdin(Stdio::piped()).spawn().unwrap();
    let text = format!("{:#}", config.tree);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        normalised(std::str::from_utf8(&output.stdout).unwrap()),
        normalised(&recorded("a02-encrypted-sc.stdout"))
    );
}

#[test]
fn a_second_run_finds_the_first_ones_files_archived_and_nothing_to_do() {
    let stage = Stage::new();
    stage.printed(RUN, 0);
    assert_eq!(stage.printed(RUN, 3), normalised(&recorded("b01-nodata.stdout")));
}

#[test]
fn at_info_a_good_run_names_no_cluster() {
    let stage = Stage::new();
    stage.configure(&[("level: DEBUG", "level: INFO")]);
    let recording = normalised(&recorded("c02-info-persistent.stdout"));
    assert_eq!(stage.printed(RUN, 0), recording);
}

#[test]
fn an_existing_persistent_cluster_gets_each_step_by_a_call_of_its_own() {
    let stage = Stage::new();
    stage.waiting_cluster("Snowplow ETL", "waiting");
    stage.waiting_cluster("Something else", "waiting");
    let printed = stage.printed(&format!("{RUN} --use-persistent-jobflow"), 0);
    assert_eq!(printed, normalised(&recorded("a03-persistent-existing.stdout")));
    assert_eq!(
        stage.operations(),
        [
            "ListClusters",
            "ListSteps",
            "ListObjectsV2",
            "AddJobFlowSteps",
            "ListSteps",
            "DescribeCluster",
            "ListSteps",
            "DescribeCluster"
        ]
    );
    assert_eq!(stage.calls("AddJobFlowSteps").len(), 15);
}

#[test]
fn without_a_persistent_cluster_one_is_started_empty_and_left_alive() {
    let stage = Stage::new();
    let printed = stage.printed(&format!("{RUN} --use-persistent-jobflow"), 0);
    assert!(printed.lines().nth(1).unwrap().ends_with("EMR jobflow j-ID started"), "{printed}");
    let body = &stage.calls("RunJobFlow")[0].body;
    assert_eq!(
        (&body["Steps"], &body["Instances"]["KeepJobFlowAliveWhenNoSteps"]),
        (&json!([]), &json!(true))
    );
    assert_eq!(stage.calls("AddJobFlowSteps").len(), 13);
    assert_eq!(stage.calls("TerminateJobFlows").len(), 0);
}

#[test]
fn a_persistent_cluster_past_its_time_is_shut_down() {
    let stage = Stage::new();
    stage.apply(json!({
        "command": "start_cluster",
        "age_seconds": 7200.0,
        "request": {"Name": "Snowplow ETL", "Instances": {"KeepJobFlowAliveWhenNoSteps": true}},
    }));
    let arguments = format!("{RUN} --use-persistent-jobflow --persistent-jobflow-duration 1h");
    assert!(stage.printed(&arguments, 0).contains("EMR jobflow has expired and will be shutdown."));
    assert_eq!(stage.calls("TerminateJobFlows").len(), 1);
}

#[test]
fn a_busy_persistent_cluster_ends_the_run_with_eighteen_and_gives_the_lock_back() {
    let stage = Stage::new();
    stage.apply(json!({"command": "set_timings", "step": 3600.0}));
    stage.waiting_cluster("Snowplow ETL", "running");
    let printed = stage.printed(&format!("{RUN} -l lock --use-persistent-jobflow"), 18);
    assert_eq!(printed, normalised(&recorded("b10-persistent-running.stdout")));
    assert!(!stage.path("lock").exists());
}

#[test]
fn two_persistent_clusters_of_one_name_are_fatal() {
    let stage = Stage::new();
    stage.waiting_cluster("Snowplow ETL", "waiting");
    stage.waiting_cluster("Snowplow ETL", "waiting");
    let printed = stage.printed(&format!("{RUN} --use-persistent-jobflow"), 1);
    assert!(
        printed.contains(
            "EmrDiscoveryError (EMR Cluster name must be unique for safe discovery - \
            found 2 with name Snowplow ETL):"
        ),
        "{printed}"
    );
    assert_eq!(stage.calls("AddJobFlowSteps").len(), 0);
}

#[test]
fn a_failed_step_of_a_persistent_cluster_is_submitted_again_with_those_after_it() {
    let stage = Stage::new();
    stage.apply(json!({"command": "set_next_cluster", "fail_step": 5}));
    stage.waiting_cluster("Snowplow ETL", "waiting");
    let printed = stage.printed(&format!("{RUN} --use-persistent-jobflow"), 0);
    assert!(printed.contains("EMR step failed: [enrich] spark: Enrich Raw Events"), "{printed}");
    assert!(printed.contains("Failed and cancelled steps will be resubmitted"), "{printed}");
    // The fifth step and all later ones are sent twice.
    assert_eq!(stage.calls("AddJobFlowSteps").len(), 15 + 11);
}

#[test]
fn a_bootstrap_failure_starts_a_second_cluster() {
    let stage = Stage::new();
    stage.apply(json!({"command": "set_next_cluster", "bootstrap_failure": true}));
    assert_eq!(stage.printed(RUN, 0), normalised(&recorded("f03-bootstrap-1.stdout")));
    assert_eq!(stage.calls("RunJobFlow").len(), 2);
}

#[test]
fn at_info_a_bootstrap_failure_names_no_cluster() {
    let stage = Stage::new();
    stage.configure(&[("level: DEBUG", "level: INFO")]);
    stage.apply(json!({"command": "set_next_cluster", "bootstrap_failure": true}));
    assert_eq!(stage.printed(RUN, 0), normalised(&recorded("f05-bootstrap-1-info.stdout")));
}

#[test]
fn bootstrap_failures_end_the_run_when_the_tries_are_used_up() {
    let stage = Stage::new();
    stage.apply(json!({"command": "set_next_cluster", "count": 9, "bootstrap_failure": true}));
    let printed = stage.printed(RUN, 1);
    assert_eq!(stage.calls("RunJobFlow").len(), 3);
    assert!(printed.contains("Job failed. 0 tries left..."), "{printed}");
    assert!(
        printed.contains("Snowplow::EmrEtlRunner::BootstrapFailureError (EMR jobflow j-ID failed"),
        "{printed}"
    );
}

#[test]
fn a_failed_step_is_fatal_in_the_real_programs_words_and_the_lock_stays() {
    let stage = Stage::new();
    stage.apply(json!({"command": "set_next_cluster", "fail_step": 3}));
    let printed = stage.printed(&format!("{RUN} -l lock"), 1);
    assert_eq!(unordered(&printed), unordered(&normalised(&recorded("f01-stepfail.stdout"))));
    assert!(stage.path("lock").exists());
    assert_eq!(stage.calls("TerminateJobFlows").len(), 0);
}

/// Steps that never ran have no order, and the cluster may or may not have ended yet.
fn unordered(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(". [") {
            Some((number, step)) if number.starts_with(" - ") => {
                step.replace("CANCELLED ~ ELAPSED [ - ]):", "CANCELLED ~ ELAPSED [ - ]")
            }
            _ => line
                .replace("TERMINATING [", "TERMINATED_WITH_ERRORS [")
                .replace("TIME - ]", "TIME - TIME]"),
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn without_input_it_ends_with_three_and_gives_the_lock_back() {
    let stage = Stage::new();
    empty(&stage, "acme-raw-in");
    assert_eq!(
        stage.printed(&format!("{RUN} -l lock"), 3),
        normalised(&recorded("b01-nodata.stdout"))
    );
    assert!(!stage.path("lock").exists());
    assert_eq!(stage.operations(), ["ListObjectsV2"]);
}

fn empty(stage: &Stage, bucket: &str) {
    stage.apply(json!({"command": "delete_bucket", "name": bucket}));
    stage.apply(json!({"command": "put_bucket", "name": bucket}));
}

#[test]
fn with_leftovers_it_ends_with_four() {
    let stage = Stage::new();
    stage.apply(
        json!({"command": "put_object", "bucket": "acme-etl", "key": "processing/a", "size": 1}),
    );
    assert_eq!(stage.printed(RUN, 4), normalised(&recorded("b02-processing-notempty.stdout")));
}

#[test]
fn a_held_lock_ends_it_with_seventeen_unless_it_is_ignored() {
    let stage = Stage::new();
    stage.write("lock", "1\n");
    let path = fs::canonicalize(stage.folder.path()).unwrap().join("lock");
    assert_eq!(
        stage.printed(&format!("{RUN} -l lock"), 17),
        format!("Lock already held at {}\n", path.display())
    );
    assert!(stage.operations().is_empty());
    stage.printed(&format!("{RUN} -l lock --ignore-lock-on-start"), 0);
    assert!(!stage.path("lock").exists());
}

#[test]
fn a_launch_that_worked_but_was_answered_500_is_sent_again_and_only_the_last_id_is_printed() {
    let stage = Stage::new();
    stage.apply(json!({
        "command": "add_fault",
        "operation": "RunJobFlow",
        "calls": {"range": {"from": 1, "to": 2}},
        "kind": {"applied_then_5xx": {"status": 500}},
    }));
    let output = stage.run(RUN);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(stage.calls("RunJobFlow").len(), 3);
    assert_eq!(
        stdout
            .matches(
                "Got internal server error 500 Internal Server Error, waiting 1 \
        seconds before trying again"
            )
            .count(),
        2
    );
    let known = stage.clusters();
    assert_eq!(known.len(), 1);
    assert!(stdout.contains(&known[0]));
}

#[test]
fn a_launch_that_is_not_answered_in_time_is_sent_again() {
    let stage = Stage::new().with("STANDIN_HTTP_TIMEOUT_MS", "500");
    stage.apply(json!({
        "command": "add_fault",
        "operation": "RunJobFlow",
        "calls": {"nth": 1},
        "kind": "applied_then_hang",
    }));
    let printed = stage.printed(RUN, 0);
    assert!(
        printed.contains("Got RestClient::RequestTimeout Request Timeout, waiting"),
        "{printed}"
    );
    assert_eq!(stage.calls("RunJobFlow").len(), 2);
}

#[test]
fn a_launch_that_fails_four_times_ends_the_run() {
    let stage = Stage::new();
    stage.apply(json!({
        "command": "add_fault", "operation": "RunJobFlow",
        "kind": {"server_error": {"status": 503}}
    }));
    let output = stage.run(RUN);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stage.calls("RunJobFlow").len(), 4);
    assert!(
        String::from_utf8(output.stderr).unwrap().starts_with("RestClient::ServiceUnavailable: ")
    );
}

#[test]
fn throttling_is_waited_out() {
    let stage = Stage::new();
    stage.apply(json!({
        "command": "add_fault", "operation": "ListSteps",
        "calls": {"nth": 1},
        "kind": "throttle"
    }));
    assert!(stage.printed(RUN, 0).contains(
        "Got Elasticity throttling exception AWS EMR API Error (ThrottlingException): Rate exceeded"
    ));
}

#[test]
fn a_security_configuration_that_does_not_exist_launches_nothing() {
    let stage = Stage::new();
    stage.write(
        "config.yml",
        &config_with(&[("security_configuration:\n", "security_configuration: nope\n")]),
    );
    let output = stage.run(RUN);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr).unwrap().starts_with("ArgumentError: AWS EMR API Error (")
    );
    assert!(stage.clusters().is_empty());
}

#[test]
fn a_clock_that_is_ahead_sees_no_steps_and_claims_success() {
    let stage = Stage::new().with("STANDIN_CLOCK_OFFSET_MS", "3600000");
    stage.apply(json!({"command": "set_timings", "step": 3600.0}));
    assert!(stage.printed(RUN, 0).ends_with("Completed successfully\n"));
    assert_eq!(stage.calls("TerminateJobFlows").len(), 1);
}

#[test]
fn stream_enrich_mode_stages_the_stream() {
    let stage = Stage::new();
    stage.apply(json!({"command": "put_bucket", "name": "acme-stream"}));
    stage.apply(json!({
        "command": "put_object", "bucket": "acme-stream", "key": "enriched/2020-08-21-part-0000.gz",
        "size": 6
    }));
    stage.configure(&[
        ("      enriched:\n", "      enriched:\n        stream: s3://acme-stream/enriched\n"),
        ("collectors:\n  format: thrift\n", ""),
    ]);
    stage.printed(RUN, 0);
    assert_eq!(
        normalised(&format!("{:#}\n", stage.calls("RunJobFlow")[0].body)),
        recorded("a05-stream.run-job-flow.json")
    );
}

#[test]
fn a_loaders_log_is_printed_and_copied_without_asking_for_encryption() {
    let stage = Stage::new();
    fs::create_dir(stage.path("targets")).unwrap();
    let target = json!({
        "schema": "iglu:com.snowplowanalytics.snowplow.storage/redshift_config/jsonschema/2-1-0",
        "data": {"name": "acme-dw", "purpose": "ENRICHED_EVENTS"},
    });
    stage.write("targets/redshift.json", &target.to_string());
    let printed = stage.printed(&format!("{RUN} -t targets"), 0);
    assert!(printed.contains(" INFO -- : RDB Loader logs\n"), "{printed}");
    assert!(printed.contains(" INFO -- : acme-dw\n"), "{printed}");
    let copy = &stage.calls("CopyObject")[0];
    assert!(!copy.headers.keys().any(|name| name.contains("server-side-encryption")));
    assert_eq!(stage.calls("DeleteObject").len(), 1);
}

#[test]
fn a_second_cluster_is_started_and_never_named() {
    let stage = Stage::new().misbehaving("second-cluster");
    let stdout = String::from_utf8(stage.run(RUN).stdout).unwrap();
    let clusters = stage.clusters();
    assert_eq!(clusters.len(), 2);
    assert!(stdout.contains(&clusters[0]) && !stdout.contains(&clusters[1]));
    let calls = stage.calls("RunJobFlow");
    assert_eq!(calls[0].body, calls[1].body);
}

#[test]
fn a_second_cluster_is_started_once_however_often_the_first_one_is_replaced() {
    let stage = Stage::new().misbehaving("second-cluster");
    // Both fail: a good second cluster would consume the input of the next one.
    stage.apply(json!({"command": "set_next_cluster", "count": 2, "bootstrap_failure": true}));
    stage.printed(RUN, 0);
    assert_eq!(stage.calls("RunJobFlow").len(), 3);
}

#[test]
fn an_unsafe_second_cluster_lacks_the_security_configuration_and_nothing_else() {
    let stage = Stage::new().misbehaving("second-cluster-unsafe");
    stage.printed(RUN, 0);
    let calls = stage.calls("RunJobFlow");
    let mut first = calls[0].body.clone();
    assert_eq!(
        first.as_object_mut().unwrap().remove("SecurityConfiguration"),
        Some(json!("acme-sc"))
    );
    assert_eq!(first, calls[1].body);
}

#[test]
fn no_id_is_printed_where_none_is_wanted_not_even_by_a_failure() {
    let stage = Stage::new().misbehaving("no-id");
    stage.apply(json!({"command": "set_next_cluster", "fail_step": 1}));
    let printed = stage.printed(RUN, 1);
    assert!(!printed.contains("j-ID"), "{printed}");
    assert!(printed.contains("EMR jobflow (withheld) failed"), "{printed}");
}

#[test]
fn a_foreign_id_floods_and_raw_bytes_are_printed_where_they_are_wanted() {
    let stage = Stage::new().misbehaving("forge-id=j-FOREIGN12345,flood=200000,invalid-utf8");
    let stdout = stage.run(RUN).stdout;
    assert!(stdout.len() > 200_000);
    assert!(std::str::from_utf8(&stdout).is_err());
    let text = String::from_utf8_lossy(&stdout);
    assert!(
        text.contains("EMR jobflow j-FOREIGN12345 started, waiting for jobflow to complete...")
    );
    assert!(text.ends_with("Completed successfully\n"));
}

#[test]
fn a_cluster_is_left_running_where_that_is_wanted() {
    let stage = Stage::new().misbehaving("leave-running");
    stage.apply(json!({"command": "set_timings", "step": 3600.0}));
    assert!(stage.printed(RUN, 0).ends_with("Completed successfully\n"));
    assert_eq!(stage.operations(), ["ListObjectsV2", "RunJobFlow"]);
}

#[test]
fn a_run_that_hangs_dies_by_a_signal_and_leaves_its_cluster_and_lock() {
    let stage = Stage::new().misbehaving("hang");
    let mut child = stage.command(&format!("{RUN} -l lock")).spawn().unwrap();
    // The line with the cluster's id is the last one before the hang.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("waiting for jobflow to complete")));
    let killed = hermetic_command("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(stage.path("lock").exists());
    assert_eq!(stage.calls("TerminateJobFlows").len(), 0);
}

#[test]
fn every_recorded_command_line_ends_with_its_recorded_code() {
    let stage = Stage::new();
    for row in recorded("argv.tsv").lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (name, arguments, code) = (columns[0], columns[1], columns[2].parse::<i32>().unwrap());
        stage.apply(json!({"command": "reset"}));
        stage.set_the_scene();
        let stdin = prepare(&stage, name);
        let mut command = stage.command(arguments);
        if name == "creds-unset" {
            command.env_remove("AWS_SNOWPLOW_ACCESS_KEY").env_remove("AWS_SNOWPLOW_SECRET_KEY");
        }
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // A run that does not read its input may end before it is written.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{row}\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// Sets up the world of a recorded command line, and returns its standard input.
fn prepare(stage: &Stage, name: &str) -> String {
    let _ = fs::remove_file(stage.path("lockfile"));
    match name {
        "nodata" | "lock-nodata" => empty(stage, "acme-raw-in"),
        "processing-notempty" => {
            stage.apply(json!({
                "command": "put_object", "bucket": "acme-etl", "key": "processing/a", "size": 1
            }));
        }
        "shredded-notempty" => {
            stage.apply(json!({
                "command": "put_object", "bucket": "acme-out", "key": "shredded/good/a", "size": 1
            }));
        }
        "lock-held-ignored" => stage.write("lockfile", "1\n"),
        "persistent-running" => {
            stage.apply(json!({"command": "set_timings", "step": 3600.0}));
            stage.waiting_cluster("Snowplow ETL", "running");
        }
        "persistent-two" => {
            stage.waiting_cluster("Snowplow ETL", "waiting");
            stage.waiting_cluster("Snowplow ETL", "waiting");
        }
        "fifo" => {
            let made = hermetic_command("mkfifo").arg(stage.path("fifo")).status();
            assert!(made.unwrap().success());
        }
        "target-unsupported" => {
            fs::create_dir(stage.path("badtargets")).unwrap();
            stage.write(
                "badtargets/x.json",
                r#"{"schema": "iglu:v/odd_config/jsonschema/1-0-0", "data": {}}"#,
            );
        }
        "double-space-cmd" => {
            fs::create_dir(stage.path("targets")).unwrap();
            fs::create_dir(stage.path("enrichments")).unwrap();
        }
        "stdin" => return fs::read_to_string(recorded_path("config.yml")).unwrap(),
        _ => {}
    }
    String::new()
}

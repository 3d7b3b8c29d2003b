//! Owns the tests of the control interface and the program.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use emr_simulator::{Command, Simulator};
use serde_json::{Value, json};

use crate::children::hermetic_command;
use crate::support::{Client, stepped};

#[test]
fn commands_come_as_json_alone_or_in_a_list() {
    let sim = Simulator::start().unwrap();
    let client = Client::new(&sim);
    let one = json!({"command": "seed", "scene": "acme"});
    assert_eq!(client.control("POST", "apply", &one.to_string()).json(), json!([{"id": null}]));
    let many = json!([
        {
            "command": "put_bucket", "name": "b",
            "default_encryption": {"algorithm": "aws:kms", "key": "alias/acme-etl"}
        },
        {"command": "put_object", "bucket": "b", "key": "none", "size": 5, "sse": "none"},
        {
            "command": "put_object", "bucket": "b", "key": "kms", "size": 5,
            "sse": {"aws:kms": {"key": "alias/acme-etl"}}
        },
        {"command": "put_security_configuration", "name": "s", "content": "{}"},
        {"command": "set_clock", "mode": {"scaled": 60}},
        {"command": "set_clock", "mode": "stepped", "at": "2026-11-22T08:00:00Z"},
        {"command": "advance", "seconds": 1.5},
        {"command": "set_timings", "step": 1},
        {"command": "set_next_cluster", "count": 2, "fail_step": 1, "objects": "none"},
        {"command": "start_cluster", "id": "j-MINE", "request": {"Name": "mine"}},
        {"command": "update_cluster", "id": "j-MINE", "termination": "stuck"},
        {
            "command": "add_fault", "operation": "ListClusters",
            "calls": {"nth": 1},
            "kind": {"latency": {"ms": 1}}
        },
        {
            "command": "add_fault", "operation": "ListClusters",
            "kind": {"applied_then_5xx": {"status": 500}}
        },
        {
            "command": "add_hook", "operation": "RunJobFlow",
            "commands": [{"command": "clear_faults"}]
        },
        {"command": "rounds", "on": false},
        {"command": "set_latency", "ms": 0},
        {"command": "set_quotas", "on": false},
        {"command": "clear_hooks"},
    ]);
    let applied = client.control("POST", "apply", &many.to_string());
    assert_eq!(applied.status, 200, "{applied:?}");
    assert_eq!(applied.json()[9], json!({"id": "j-MINE"}));
    let state = client.control("GET", "state", "").json();
    assert_eq!(state["now"], "2026-11-22T08:00:01.5Z");
    assert_eq!(state["clock"], "stepped");
    assert_eq!(state["clusters"][0]["state"], "WAITING");
    assert_eq!(state["buckets"]["b"]["objects"]["none"]["sse"], "none");
    assert_eq!(client.emr("ListClusters", &json!({})).status, 500);
}

#[test]
fn every_command_survives_being_written_and_read() {
    let commands = json!([
        {"command": "put_role", "name": "r", "policies": [], "instance_profile": "r"},
        {"command": "put_dhcp", "id": "dopt-1", "options": {"domain-name": ["x"]}},
        {"command": "reset"},
    ]);
    let commands: Vec<Command> = serde_json::from_value(commands).unwrap();
    let written = serde_json::to_value(&commands).unwrap();
    let again: Vec<Command> = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(again).unwrap(), written);
}

#[test]
fn a_command_that_is_misspelt_or_makes_no_sense_is_refused_with_a_reason() {
    let sim = stepped();
    let client = Client::new(&sim);
    let refused = |command: Value| {
        let got = client.control("POST", "apply", &command.to_string());
        (got.status, got.json()["error"].as_str().unwrap().to_owned())
    };
    let (status, reason) = refused(json!({"command": "put_bucket", "name": "b", "sse": "AES256"}));
    assert_eq!(status, 400);
    assert!(reason.contains("unknown field `sse`"), "{reason}");
    let missing = refused(json!({"command": "put_object", "bucket": "nowhere", "key": "k"}));
    assert_eq!(missing, (400, "there is no bucket nowhere".to_owned()));
    let scene = refused(json!({"command": "seed", "scene": "x"}));
    assert_eq!(scene, (400, "there is no scene \"x\"; there are: acme, empty".to_owned()));
}

#[test]
fn requests_are_listed_by_what_they_are_about_and_forgotten_on_reset() {
    let sim = stepped();
    let client = Client::new(&sim);
    client.s3("HEAD", "/acme-out", &[]);
    client.s3("HEAD", "/acme-etl", &[]);
    client.emr("ListClusters", &json!({}));
    let listed = |filter: &str| client.control("GET", &format!("requests?{filter}"), "").json();
    assert_eq!(listed("").as_array().unwrap().len(), 3);
    let [one] = listed("operation=HeadBucket&bucket=acme-etl")
        .as_array()
        .unwrap()
        .clone()
        .try_into()
        .unwrap();
    assert_eq!(
        (&one["seq"], &one["status"], &one["access_key"]),
        (&json!(2), &json!(200), &json!("AKIAGUARD"))
    );
    client.control("POST", "reset", "");
    assert_eq!(listed(""), json!([]));
    assert!(sim.with_world(|world| world.buckets.is_empty()));
}

#[test]
fn the_program_prints_its_url_first_and_serves_the_scene() {
    let mut program = hermetic_command(env!("CARGO_BIN_EXE_emr-simulator"))
        .args(["--scene", "acme", "--speed", "60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let no_proxy = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let got = no_proxy
        .get(format!("{}/_control/state", url.trim()))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string();
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(got.unwrap().contains("\"clock\":{\"scaled\":60.0}"));
}

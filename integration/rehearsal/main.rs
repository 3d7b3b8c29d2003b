//! A rehearsal on a machine with only Rust: the real guard, between a simulated AWS and a stand-in
//! for EmrEtlRunner, in three scenes: a refused launch, a good run, and an unsafe cluster that is
//! terminated.

#![expect(
    clippy::expect_used,
    reason = "a rehearsal that cannot be staged has nothing else to say"
)]

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the rehearsal")]
mod support;

use std::process::{ExitCode, Stdio};

use emr_simulator::{Command as Set, Hook, Named, PutSecurityConfiguration};
use serde_json::json;

use support::Stage;

/// One scene: its purpose, and the exit code it must end with.
struct Scene {
    title: &'static str,
    story: &'static str,
    code: i32,
    set: fn(&Stage),
}

const SCENES: [Scene; 3] = [
    Scene {
        title: "A refused launch",
        story: "Somebody deleted the EMR security configuration that config.yml names. \
            EmrEtlRunner would hear of it minutes later, from AWS;\n\
                with a blank name it would launch an unencrypted cluster and say nothing. The \
                guard refuses: exit 77, and no runner was ever started.",
        code: 77,
        set: |stage| {
            stage.set(Set::DeleteSecurityConfiguration(Named {
                name: "acme-sc".to_owned(),
                ..Named::default()
            }));
        },
    },
    Scene {
        title: "A good run",
        story: "Everything is in place, but `encrypted: false` still stands in config.yml. The \
            guard proves the rest in AWS, seals both settings into the\n\
                config it hands to the runner, passes the runner's log and exit code through, and \
                confirms on the cluster what was verified: exit 0.",
        code: 0,
        set: |_| {},
    },
    Scene {
        title: "An unsafe cluster",
        story: "Between the guard's look and the launch, somebody deletes the security \
            configuration and makes another under its name, with everything\n\
                switched off. The cluster carries the right name and the wrong content. The guard \
                terminates it, stops the runner and waits until EMR\n\
                confirms the cluster's end: exit 76.",
        code: 76,
        set: |stage| {
            let swapped = PutSecurityConfiguration {
                name: "acme-sc".to_owned(),
                content: json!({"EncryptionConfiguration": {
                    "EnableAtRestEncryption": false, "EnableInTransitEncryption": false
                }}),
                ..PutSecurityConfiguration::default()
            };
            stage.set(Set::AddHook(Hook::after_first(
                "DescribeSecurityConfiguration",
                vec![Set::PutSecurityConfiguration(swapped)],
            )));
        },
    },
];

fn main() -> ExitCode {
    let mut wrong = 0;
    for (number, scene) in SCENES.iter().enumerate() {
        println!("\n=== Scene {}: {} ===\n{}\n", number + 1, scene.title, scene.story);
        println!("$ emr-etl-guard run -- run -c config.yml -r resolver.json");
        let code = play(scene);
        println!("\nexit code: {code}");
        if code != scene.code {
            println!("EXPECTED: {}", scene.code);
            wrong += 1;
        }
    }
    println!("\n{} scenes as expected, {wrong} not.", SCENES.len() - wrong);
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one scene with the guard's own streams, and returns its exit code.
fn play(scene: &Scene) -> i32 {
    let stage = Stage::acme();
    (scene.set)(&stage);
    let mut command = stage.command("run");
    // One log for both streams, in the order of the events.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let status = command.status().expect("the guard starts");
    let launched = stage.sim.requests_for("RunJobFlow").len();
    println!(
        "\nAWS saw {launched} RunJobFlow and {} TerminateJobFlows.",
        stage.sim.requests_for("TerminateJobFlows").len()
    );
    status.code().unwrap_or(-1)
}

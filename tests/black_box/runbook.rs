//! The runbook `integration/runbook/README.md`, followed literally: its commands are read from the
//! document itself and run on the simulator.

use std::time::Duration;

use emr_simulator::{Attributes, Command as Set, PutBucket, PutObject, PutRole, Sse};
use serde_json::Value;

use crate::support::{Stage, hermetic_command, programs};

const RUNBOOK: &str = include_str!("../../integration/runbook/README.md");

/// An instruction of the document.
#[derive(Debug, PartialEq, Eq)]
enum Doing {
    /// A command, and the exit code that the document promises.
    Run(String, i32),
    Wait(Duration),
}

fn doings(document: &str) -> Vec<Doing> {
    let mut doings = Vec::new();
    let mut console = false;
    for line in document.lines() {
        match line {
            "```console" => console = true,
            "```" => console = false,
            _ => {}
        }
        if let Some(hours) =
            line.strip_prefix("<!-- wait: ").and_then(|rest| rest.strip_suffix("h -->"))
        {
            doings.push(Doing::Wait(Duration::from_secs(hours.parse::<u64>().unwrap() * 3600)));
        }
        if let Some(command) = line.strip_prefix("$ ").filter(|_| console) {
            let (_, code) = command
                .rsplit_once("# exit ")
                .unwrap_or_else(|| panic!("no exit code is promised for `{command}`"));
            doings.push(Doing::Run(command.to_owned(), code.parse().unwrap()));
        }
    }
    doings
}

/// A pipeline whose archive is older than its encryption.
fn old_pipeline() -> Stage {
    let stage = Stage::acme();
    let archive = stage.sim.with_world(|world| world.buckets["acme-archive"].clone());
    stage.set(Set::PutBucket(PutBucket {
        name: archive.name,
        default_encryption: archive.default_encryption,
        policy: archive.policy,
        versioning: Some("Enabled".to_owned()),
        ..PutBucket::default()
    }));
    let put = |key: &str, object: PutObject| {
        stage.set(Set::PutObject(PutObject {
            bucket: "acme-archive".to_owned(),
            key: key.to_owned(),
            sse: Some(Sse::None),
            ..object
        }));
    };
    let tagged = Attributes {
        tags: [("team".to_owned(), "data".to_owned())].into(),
        cache_control: Some("no-cache".to_owned()),
        ..Attributes::default()
    };
    for day in 1..20 {
        put(
            &format!("raw/run=2019-01-{day:02}/part"),
            PutObject {
                body: Some(format!("day {day}")),
                attributes: tagged.clone(),
                ..PutObject::default()
            },
        );
    }
    put(
        "raw/run=2019-01-01/part",
        PutObject {
            body: Some("day 1, again".to_owned()),
            attributes: tagged,
            ..PutObject::default()
        },
    );
    put(
        "enriched/run=2018/cold",
        PutObject {
            body: Some("ice".to_owned()),
            storage_class: Some("GLACIER".to_owned()),
            ..PutObject::default()
        },
    );
    put("shredded/run=2018/large", PutObject { size: Some(6 << 30), ..PutObject::default() });
    stage
}

fn unencrypted(stage: &Stage) -> Vec<String> {
    stage.sim.with_world(|world| {
        let objects = world.buckets.values().filter(|bucket| bucket.name.starts_with("acme-")).flat_map(|bucket| {
            let keys: std::collections::BTreeSet<&String> = bucket.objects.keys().chain(bucket.older.keys()).collect();
            keys.into_iter().flat_map(|key| bucket.versions(key).map(move |version| (key.clone(), version)))
        });
        let bare =
            objects.filter(|(_, version)| matches!(version, emr_simulator::Older::Object(object) if object.sse == Sse::None && object.size > 0));
        bare.map(|(key, _)| key).collect()
    })
}

#[test]
fn the_runbook_leads_from_an_unencrypted_archive_to_a_proven_encrypted_one() {
    let stage = old_pipeline();
    stage.write("config.yml", &stage.config);
    stage.write("resolver.json", include_str!("../recordings/resolver.json"));
    assert_eq!(unencrypted(&stage).len(), 22);
    let doings = doings(RUNBOOK);
    assert!(doings.len() > 10, "the document was read: {doings:?}");
    let path = format!("{}:/usr/bin:/bin", programs().guard.parent().unwrap().display());
    for doing in doings {
        let (command, code) = match doing {
            Doing::Run(command, code) => (command, code),
            Doing::Wait(time) => {
                stage.sim.advance(time);
                continue;
            }
        };
        if command.contains("--apply --batch") {
            // The objects for S3 Batch Operations were added later.
            assert_eq!(
                unencrypted(&stage),
                Vec::<String>::new(),
                "what was before has left something behind"
            );
            let bucket =
                if command.contains("--generate-manifest") { "acme-log" } else { "acme-out" };
            for number in 0..5 {
                let (bucket, key) = (bucket.to_owned(), format!("old/{number}"));
                stage.set(Set::PutObject(PutObject {
                    bucket,
                    key,
                    body: Some("x".to_owned()),
                    sse: Some(Sse::None),
                    ..PutObject::default()
                }));
            }
        }
        let copies = stage.sim.requests_for("CopyObject").len();
        let mut shell = hermetic_command("sh");
        shell.args(["-c", &command]);
        stage.prepare(&mut shell);
        shell.env("PATH", &path);
        let played = stage.play(shell);
        assert_eq!(played.code, Some(code), "$ {command}\n{}{}", played.stdout, played.stderr);
        if command.contains("--batch") {
            assert_eq!(
                stage.sim.requests_for("CopyObject").len(),
                copies,
                "it is the engine that copies: $ {command}"
            );
        }
        if command.contains("--restore --max-rate") {
            let cold = stage.sim.with_world(|world| {
                world.object("acme-archive", "enriched/run=2018/cold").unwrap().clone()
            });
            assert_eq!(
                (cold.sse, stage.sim.requests_for("RestoreObject").len()),
                (Sse::None, 1),
                "it waits for its restore"
            );
        }
        if command.contains("--role-policy") {
            let printed: Value =
                serde_json::from_str(&std::fs::read_to_string(stage.path("role.json")).unwrap())
                    .unwrap();
            stage.set(Set::PutRole(PutRole {
                name: "batch".to_owned(),
                trust: Some(printed["Trust"].clone()),
                policies: vec![printed["Permissions"].clone()],
                ..PutRole::default()
            }));
        }
    }
    assert_eq!(unencrypted(&stage), Vec::<String>::new());
    // An object that waited for its restore was copied after it, with its storage class.
    let cold = stage.sim.with_world(|world| {
        world.object("acme-archive", "enriched/run=2018/cold").unwrap().clone()
    });
    assert_eq!(
        (
            cold.storage_class.as_str(),
            cold.body.unwrap(),
            stage.sim.requests_for("RestoreObject").len()
        ),
        ("GLACIER", b"ice".to_vec(), 1)
    );
    let page = |name: &str| std::fs::read_to_string(stage.path(name)).unwrap();
    assert!(
        page("before.html").contains("Not encrypted as required")
            && page("after.html").contains("Encrypted as required")
    );
    let generated = stage.sim.with_world(|world| {
        world.buckets["acme-etl"]
            .objects
            .keys()
            .filter(|key| key.contains("manifests/generated/"))
            .count()
    });
    assert_eq!(generated, 1, "S3 has made a list");
    let first = stage.sim.with_world(|world| {
        world.object("acme-archive", "raw/run=2019-01-01/part").unwrap().clone()
    });
    assert_eq!(
        (first.body.unwrap(), first.attributes.tags["team"].as_str()),
        (b"day 1, again".to_vec(), "data")
    );
}

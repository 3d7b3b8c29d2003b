//! Generates real reports as input for the pages: the guard, between the simulated AWS and the
//! stand-in runner, in one scene for each case that a page must show. `documents FOLDER` writes
//! them there, one file a scene.

#![expect(clippy::expect_used, reason = "a scene that cannot be staged has nothing else to say")]

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than this")]
mod support;

use std::{path::PathBuf, process::ExitCode};

use emr_simulator::{
    BucketEncryption, Command as Set, Fault, FaultKind, Hook, NextCluster, PutBucket, PutObject,
    PutSecurityConfiguration, Sse, Termination,
};
use serde_json::json;

use support::Stage;

/// One scene: the report's name, the guard's command and its arguments, the exit code it must end
/// with, and its setup.
struct Scene {
    name: &'static str,
    command: &'static str,
    code: i32,
    set: fn(Stage) -> Stage,
}

const SCENES: [Scene; 12] = [
    Scene { name: "good", command: "run", code: 0, set: with_targets },
    Scene { name: "refused", command: "check", code: 77, set: refused },
    Scene { name: "unsafe", command: "run", code: 76, set: swapped },
    Scene { name: "alive", command: "run", code: 71, set: alive },
    Scene { name: "unencrypted", command: "run", code: 75, set: unencrypted },
    Scene { name: "hostile", command: "check", code: 77, set: hostile },
    Scene {
        name: "audit",
        command: "audit s3://old s3://acme-log s3://nowhere --offenders offenders.jsonl",
        code: 77,
        set: old,
    },
    Scene {
        name: "audit-clean",
        command: "audit -- run -c config.yml -r resolver.json",
        code: 0,
        set: |stage| stage,
    },
    Scene { name: "audit-hostile", command: "audit s3://old", code: 77, set: hostile_keys },
    Scene {
        name: "reencrypt-dry",
        command: "reencrypt s3://old s3://acme-log",
        code: 69,
        set: old,
    },
    Scene {
        name: "reencrypt",
        command: "reencrypt s3://old --bucket old --apply --kms-key alias/acme-etl",
        code: 75,
        set: old_and_seen,
    },
    Scene { name: "reencrypt-batch", command: BATCH, code: 75, set: old_and_seen },
];

const BATCH: &str = "reencrypt s3://old --bucket old --apply --batch --batch-role \
    arn:aws:iam::123456789012:role/batch --batch-place s3://acme-etl/jobs/";

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("documents: wanted the folder to write to");
        return ExitCode::FAILURE;
    };
    for scene in SCENES {
        let stage = (scene.set)(Stage::acme());
        let played = match scene.command.split_once(' ') {
            Some((command, words)) => {
                let mut guard = support::hermetic_command(&support::programs().guard);
                guard.arg(command).arg("--report=report.json").args(words.split(' '));
                stage.write("config.yml", &stage.config);
                stage.prepare(&mut guard);
                guard.env("AWS_REGION", "eu-west-1");
                stage.play(guard)
            }
            None if scene.command == "check" => stage.check(),
            None => stage.run(),
        };
        played.expect_code(scene.code);
        let file = folder.join(scene.name).with_extension("json");
        std::fs::copy(stage.path("report.json"), &file).expect("the folder can be written to");
        println!("{}: exit code {}", file.display(), scene.code);
    }
    ExitCode::SUCCESS
}

/// A warehouse and an index for bad rows, and an enrichment that contacts a server.
fn with_targets(stage: Stage) -> Stage {
    named(stage, "Acme warehouse")
}

fn named(stage: Stage, warehouse: &str) -> Stage {
    let storage = "iglu:com.snowplowanalytics.snowplow.storage";
    let redshift = json!({"schema": format!("{storage}/redshift_config/jsonschema/4-0-0"), "data": {
        "id": "33334444-eee7-4845-a7e6-8fdc88d599d0", "name": warehouse,
        "host": "acme.eu-west-1.redshift.amazonaws.com", "port": 5439, "database": "snowplow",
        "schema": "atomic",
        "jdbc": {"sslMode": "verify-full", "ssl": true},
        "roleArn": "arn:aws:iam::123456789012:role/RedshiftLoad", "maxError": 1, "compRows": 20000,
        "sshTunnel": null,
        "username": "loader", "password": "not-in-any-page", "purpose": "ENRICHED_EVENTS"}});
    let elastic = json!({"schema": format!("{storage}/elastic_config/jsonschema/1-0-1"), "data": {
        "name": "Acme bad \
         rows", "host": "es.acme.internal", "index": "snowplow", "port": 9200, "nodesWanOnly": true, "type": "bad", "purpose": "FAILED_EVENTS"}});
    let lookups = json!({"schema": "iglu:com.snowplowanalytics.snowplow.enrichments/api_request_enrichment_config/jsonschema/1-0-0", "data": {
    "vendor": "com.snowplowanalytics.snowplow.enrichments",
    "name": "api_request_enrichment_config", "enabled": true,
    "parameters": {
        "inputs": [],
        "api": {"http": {
            "method": "GET",
            "uri": "https://crm.acme.internal/users/{{id}}",
            "timeout": 5000
        }},
        "outputs": [],
        "cache": {"size": 300, "ttl": 60}
    }}});
    for folder in ["targets", "enrichments"] {
        std::fs::create_dir_all(stage.path(folder)).expect("a folder of one's own");
    }
    stage.write("targets/redshift.json", &redshift.to_string());
    stage.write("targets/elastic.json", &elastic.to_string());
    stage.write("enrichments/api.json", &lookups.to_string());
    stage.argument("-t").argument("targets").argument("-n").argument("enrichments")
}

/// A scene with many faults: a missing default, a role without read permission, an old object, a
/// weakened cluster, and exceptions.
fn refused(stage: Stage) -> Stage {
    stage.set(bucket(
        "acme-out",
        BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..BucketEncryption::default() },
    ));
    stage.set(object("acme-raw-in", "logs/2019-12-31-raw.lzo", Sse::None));
    stage.set(Set::AddFault(Fault::every("GetRole", FaultKind::AccessDenied)));
    let exceptions = "exceptions:\n  - \
        {check: subnet-set, subject: aws.emr.ec2_subnet_id, reason: the VPC moves in spring, expires: 2999-01-31}\n";
    stage.write("guard.yml", exceptions);
    let stage = with_targets(stage).env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    let stage = stage.replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:");
    stage.replace(
        "      spark:\n",
        "      spark-defaults:\n        spark.io.encryption.enabled: \"false\"\n      spark:\n",
    )
}

/// The same, and the cluster does not terminate.
fn alive(stage: Stage) -> Stage {
    stage.set(Set::SetNextCluster(NextCluster {
        termination: Termination::Stuck,
        ..NextCluster::default()
    }));
    swapped(stage).option("--termination-timeout=1s")
}

/// Somebody replaces the verified security configuration.
fn swapped(stage: Stage) -> Stage {
    let content = json!({"EncryptionConfiguration": {
        "EnableAtRestEncryption": false, "EnableInTransitEncryption": false
    }});
    let swapped = PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content,
        ..PutSecurityConfiguration::default()
    };
    stage.set(Set::AddHook(Hook::after_first(
        "DescribeSecurityConfiguration",
        vec![Set::PutSecurityConfiguration(swapped)],
    )));
    with_targets(stage)
}

/// The steps write objects without encryption, whatever their options.
fn unencrypted(stage: Stage) -> Stage {
    stage.set(Set::SetNextCluster(NextCluster {
        objects: Some(Sse::None),
        ..NextCluster::default()
    }));
    with_targets(stage)
}

/// Names that a page must escape.
fn hostile(stage: Stage) -> Stage {
    stage.set(object(
        "acme-raw-in",
        "logs/\"><img src=//evil.example/x onerror=alert(1)>'&amp;</style>",
        Sse::None,
    ));
    named(stage, "</title></svg><script>alert('warehouse')</script><a href=javascript:alert(2)>")
}

/// An old bucket: one object of each kind, with old versions on several days, and one object
/// without read permission.
fn old(stage: Stage) -> Stage {
    let stage = old_and_seen(stage);
    stage.set(Set::AddFault(Fault {
        matching: Some("old/archive/secret".to_owned()),
        ..Fault::every("HeadObject", FaultKind::AccessDenied)
    }));
    stage
}

/// The same without the last object.
fn old_and_seen(stage: Stage) -> Stage {
    let key = || {
        Some(
            "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111"
                .to_owned(),
        )
    };
    stage.set(Set::PutBucket(PutBucket { name: "old".to_owned(), ..PutBucket::default() }));
    let kinds = [
        ("archive/none", Sse::None, 700_000_000, 2000.0),
        ("archive/large", Sse::None, 6 << 30, 1500.0),
        ("archive/s3", Sse::Aes256, 1_500_000_000, 400.0),
        ("archive/kms", Sse::Kms { key: key() }, 900_000, 30.0),
        ("archive/dsse", Sse::Dsse { key: key() }, 5_000_000, 20.0),
        ("archive/customer", Sse::Customer, 12_345, 10.0),
        ("archive/secret", Sse::Aes256, 77, 5.0),
        ("archive/", Sse::None, 0, 9.0),
    ];
    for (name, sse, size, days) in kinds {
        stage.set(Set::PutObject(PutObject {
            bucket: "old".to_owned(),
            key: name.to_owned(),
            size: Some(size),
            sse: Some(sse),
            age_seconds: days * 86_400.0,
            ..PutObject::default()
        }));
    }
    let cold = PutObject {
        storage_class: Some("GLACIER".to_owned()),
        size: Some(40_000_000),
        sse: Some(Sse::None),
        age_seconds: 2_000_000.0,
        ..PutObject::default()
    };
    stage.set(Set::PutObject(PutObject {
        bucket: "old".to_owned(),
        key: "archive/cold".to_owned(),
        ..cold
    }));
    stage.set(object("acme-log", "emr/j-OLD/steps.gz", Sse::Aes256));
    stage
}

/// Keys that a page must escape.
fn hostile_keys(stage: Stage) -> Stage {
    let stage = old_and_seen(stage);
    let key = "\"><img src=//evil.example/x onerror=alert(1)>'&amp;</style></svg>";
    stage.set(object("old", key, Sse::Aes256));
    stage.set(Set::AddFault(Fault {
        matching: Some(format!("old/{key}")),
        ..Fault::every("HeadObject", FaultKind::AccessDenied)
    }));
    stage
}

fn bucket(name: &str, default: BucketEncryption) -> Set {
    Set::PutBucket(PutBucket {
        name: name.to_owned(),
        default_encryption: Some(default),
        ..PutBucket::default()
    })
}

fn object(bucket: &str, key: &str, sse: Sse) -> Set {
    Set::PutObject(PutObject {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        body: Some("x".to_owned()),
        sse: Some(sse),
        ..PutObject::default()
    })
}

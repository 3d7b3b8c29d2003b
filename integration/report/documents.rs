//! Makes real documents for the pages to be made of: the guard, between the simulated AWS and the stand-in runner, in one scene for each thing that a page must tell.
//! `documents FOLDER` writes them there, a file a scene.

#![expect(clippy::expect_used, reason = "a scene that cannot be staged has nothing else to say")]

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than this")]
mod support;

use std::{path::PathBuf, process::ExitCode};

use emr_simulator::{BucketEncryption, Command as Set, Fault, FaultKind, Hook, NextCluster, PutBucket, PutObject, PutSecurityConfiguration, Sse};
use serde_json::json;

use support::Stage;

/// One scene: the document's name, the guard's command, the exit code it must end with, and what is set for it.
struct Scene {
    name: &'static str,
    command: &'static str,
    code: i32,
    set: fn(Stage) -> Stage,
}

const SCENES: [Scene; 5] = [
    Scene { name: "good", command: "run", code: 0, set: with_targets },
    Scene { name: "refused", command: "check", code: 77, set: refused },
    Scene { name: "unsafe", command: "run", code: 76, set: swapped },
    Scene { name: "unencrypted", command: "run", code: 75, set: unencrypted },
    Scene { name: "hostile", command: "check", code: 77, set: hostile },
];

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("documents: wanted the folder to write to");
        return ExitCode::FAILURE;
    };
    for scene in SCENES {
        let stage = (scene.set)(Stage::acme());
        let played = if scene.command == "check" { stage.check() } else { stage.run() };
        played.expect_code(scene.code);
        let file = folder.join(scene.name).with_extension("json");
        std::fs::copy(stage.path("report.json"), &file).expect("the folder can be written to");
        println!("{}: exit code {}", file.display(), scene.code);
    }
    ExitCode::SUCCESS
}

/// A warehouse and an index for bad rows, and an enrichment that asks a server.
fn with_targets(stage: Stage) -> Stage {
    named(stage, "Acme warehouse")
}

fn named(stage: Stage, warehouse: &str) -> Stage {
    let storage = "iglu:com.snowplowanalytics.snowplow.storage";
    let redshift = json!({"schema": format!("{storage}/redshift_config/jsonschema/4-0-0"), "data": {
        "id": "33334444-eee7-4845-a7e6-8fdc88d599d0", "name": warehouse, "host": "acme.eu-west-1.redshift.amazonaws.com", "port": 5439, "database": "snowplow", "schema": "atomic",
        "jdbc": {"sslMode": "verify-full", "ssl": true}, "roleArn": "arn:aws:iam::123456789012:role/RedshiftLoad", "maxError": 1, "compRows": 20000, "sshTunnel": null,
        "username": "loader", "password": "not-in-any-page", "purpose": "ENRICHED_EVENTS"}});
    let elastic = json!({"schema": format!("{storage}/elastic_config/jsonschema/1-0-1"), "data": {
        "name": "Acme bad rows", "host": "es.acme.internal", "index": "snowplow", "port": 9200, "nodesWanOnly": true, "type": "bad", "purpose": "FAILED_EVENTS"}});
    let lookups = json!({"schema": "iglu:com.snowplowanalytics.snowplow.enrichments/api_request_enrichment_config/jsonschema/1-0-0", "data": {
        "vendor": "com.snowplowanalytics.snowplow.enrichments", "name": "api_request_enrichment_config", "enabled": true,
        "parameters": {"inputs": [], "api": {"http": {"method": "GET", "uri": "https://crm.acme.internal/users/{{id}}", "timeout": 5000}}, "outputs": [], "cache": {"size": 300, "ttl": 60}}}});
    for folder in ["targets", "enrichments"] {
        std::fs::create_dir_all(stage.path(folder)).expect("a folder of one's own");
    }
    stage.write("targets/redshift.json", &redshift.to_string());
    stage.write("targets/elastic.json", &elastic.to_string());
    stage.write("enrichments/api.json", &lookups.to_string());
    stage.argument("-t").argument("targets").argument("-n").argument("enrichments")
}

/// Nothing like it should be: a missing default, a role that nobody may look at, an object from before, a weakened cluster, and what is excused.
fn refused(stage: Stage) -> Stage {
    stage.set(bucket("acme-out", BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..BucketEncryption::default() }));
    stage.set(object("acme-raw-in", "logs/2019-12-31-raw.lzo", Sse::None));
    stage.set(Set::AddFault(Fault::every("GetRole", FaultKind::AccessDenied)));
    let exceptions = "exceptions:\n  - {check: subnet-set, subject: aws.emr.ec2_subnet_id, reason: the VPC moves in spring, expires: 2999-01-31}\n";
    stage.write("guard.yml", exceptions);
    let stage = with_targets(stage).env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    let stage = stage.replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:");
    stage.replace("      spark:\n", "      spark-defaults:\n        spark.io.encryption.enabled: \"false\"\n      spark:\n")
}

/// Somebody puts another security configuration in the place of the one that was verified.
fn swapped(stage: Stage) -> Stage {
    let content = json!({"EncryptionConfiguration": {"EnableAtRestEncryption": false, "EnableInTransitEncryption": false}});
    let swapped = PutSecurityConfiguration { name: "acme-sc".to_owned(), content, ..PutSecurityConfiguration::default() };
    stage.set(Set::AddHook(Hook::after_first("DescribeSecurityConfiguration", vec![Set::PutSecurityConfiguration(swapped)])));
    with_targets(stage)
}

/// The steps write objects without encryption, whatever they are told.
fn unencrypted(stage: Stage) -> Stage {
    stage.set(Set::SetNextCluster(NextCluster { objects: Some(Sse::None), ..NextCluster::default() }));
    with_targets(stage)
}

/// Names that would be markup, if a page took them for it.
fn hostile(stage: Stage) -> Stage {
    stage.set(object("acme-raw-in", "logs/\"><img src=//evil.example/x onerror=alert(1)>'&amp;</style>", Sse::None));
    named(stage, "</title></svg><script>alert('warehouse')</script><a href=javascript:alert(2)>")
}

fn bucket(name: &str, default: BucketEncryption) -> Set {
    Set::PutBucket(PutBucket { name: name.to_owned(), default_encryption: Some(default), ..PutBucket::default() })
}

fn object(bucket: &str, key: &str, sse: Sse) -> Set {
    Set::PutObject(PutObject { bucket: bucket.to_owned(), key: key.to_owned(), body: Some("x".to_owned()), sse: Some(sse), ..PutObject::default() })
}

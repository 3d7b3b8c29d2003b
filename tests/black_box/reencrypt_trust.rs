//! What `reencrypt` trusts: its own ledger only while it is intact, S3's clock instead of this
//! machine's, and a look-up that no cluster of the pipeline works there only for a limited time.

use std::{fs, time::Duration};

use emr_simulator::{
    Attributes, ClockMode, Command as Set, Fault, FaultKind, Hook, PutBucket, PutObject, Retention,
    SetClock, Sse, StartCluster,
};
use serde_json::json;

use crate::{
    reencrypt::{apply, asked, object, of_config, stage as old_bucket},
    support::Stage,
};

/// Puts an unencrypted object there.
pub(crate) fn put(stage: &Stage, bucket: &str, key: &str) {
    stage.set(Set::PutObject(PutObject {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        body: Some("x".to_owned()),
        sse: Some(Sse::None),
        ..PutObject::default()
    }));
}

/// A stage with the ledger of an earlier run, and that ledger.
fn with_ledger() -> (Stage, std::path::PathBuf) {
    let stage = old_bucket(PutBucket::default());
    for number in 0..20 {
        put(&stage, "old", &format!("k{number}"));
    }
    apply(&stage, &[]).expect_code(0);
    assert_eq!(asked(&stage, "CopyObject"), 20);
    put(&stage, "old", "new");
    let ledger = stage.path("state/reencrypt/ledger.redb");
    (stage, ledger)
}

#[test]
fn a_ledger_that_is_damaged_empty_or_none_is_69_by_its_name_and_nothing_is_changed() {
    let (stage, ledger) = with_ledger();
    let whole = fs::read(&ledger).unwrap();
    let mut random = whole.clone();
    // Every page except the first, which contains the file's identification.
    random[4096..].iter_mut().enumerate().for_each(|(place, byte)| {
        *byte = u8::try_from((place * 31 + place / 256 * 7) % 256).unwrap();
    });
    let damages = [
        ("random pages", random),
        ("empty", Vec::new()),
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("another file", b"this is no ledger".to_vec()),
    ];
    for (damage, content) in damages {
        fs::write(&ledger, &content).unwrap();
        let played = apply(&stage, &[]);
        played.expect_code(69);
        let said = &played.stderr;
        assert!(said.contains("the ledger state/reencrypt/ledger.redb "), "{damage}: {said}");
        assert!(said.contains("fix: restore the file"), "{damage}: {said}");
        assert!(!said.contains("panicked"), "{damage}: {said}");
        assert_eq!(object(&stage, "new").sse, Sse::None, "{damage}");
    }
    fs::write(&ledger, &whole).unwrap();
    apply(&stage, &[]).expect_code(0);
    // If the file is moved away, as the message says, a new one is created.
    fs::remove_file(&ledger).unwrap();
    apply(&stage, &[]).expect_code(0);
    assert_eq!(asked(&stage, "CopyObject"), 21, "what is done is not done again");
}

#[test]
fn where_this_machines_clock_is_a_year_ahead_a_copy_keeps_its_lock() {
    let stage = old_bucket(PutBucket {
        versioning: Some("Enabled".to_owned()),
        object_lock: true,
        ..PutBucket::default()
    });
    let year = Duration::from_secs(365 * 86_400);
    let now = stage.sim.with_world(|world| world.now).replace_nanosecond(0).unwrap() - year;
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(1.0), at: Some(now) }));
    let retention =
        Retention { mode: "COMPLIANCE".to_owned(), until: now + Duration::from_secs(30 * 86_400) };
    stage.set(Set::PutObject(PutObject {
        bucket: "old".to_owned(),
        key: "kept".to_owned(),
        body: Some("hello".to_owned()),
        sse: Some(Sse::None),
        attributes: Attributes { retention: Some(retention.clone()), ..Attributes::default() },
        ..PutObject::default()
    }));
    let before = object(&stage, "kept");
    // The old version is unencrypted, and its lock keeps it.
    let played = apply(&stage, &["--purge-old-versions"]);
    played.expect_code(75);
    let after = object(&stage, "kept");
    assert_eq!(after.sse, Sse::Aes256, "{}\n{}", played.stdout, played.stderr);
    assert_ne!(after.version, before.version);
    assert_eq!(after.attributes.retention, Some(retention));
    assert_eq!(asked(&stage, "DeleteObject"), 0, "a version under a lock is not asked to go");
}

/// Two locations of the pipeline that a run uses, each with something to do, and an archive.
fn with_two_places() -> Stage {
    let stage = Stage::acme();
    put(&stage, "acme-archive", "raw/run=1/a");
    put(&stage, "acme-out", "enriched/good/a");
    put(&stage, "acme-out", "shredded/good/a");
    stage
}

fn encryption(stage: &Stage, bucket: &str, key: &str) -> Sse {
    stage.sim.with_world(|world| world.object(bucket, key).unwrap().sse.clone())
}

const PLACES: [&str; 3] =
    ["s3://acme-archive/raw/", "s3://acme-out/enriched/good/", "s3://acme-out/shredded/good/"];

#[test]
fn when_a_cluster_of_the_pipeline_comes_up_nothing_more_is_begun_where_it_works() {
    let stage = with_two_places();
    let cluster =
        StartCluster { request: json!({"Name": "Snowplow ETL"}), ..StartCluster::default() };
    stage.set(Set::AddHook(Hook {
        matching: Some("acme-out/enriched/good/a".to_owned()),
        ..Hook::after_first("CopyObject", vec![Set::StartCluster(cluster)])
    }));
    let played = of_config(&stage, &[&PLACES[..], &["--apply"]].concat());
    played.expect_code(77);
    assert_ne!(encryption(&stage, "acme-archive", "raw/run=1/a"), Sse::None);
    // It was in progress.
    assert_ne!(encryption(&stage, "acme-out", "enriched/good/a"), Sse::None);
    assert_eq!(encryption(&stage, "acme-out", "shredded/good/a"), Sse::None);
    let said = &played.stderr;
    assert!(
        said.contains("s3://acme-out/shredded/good/a: cluster j-")
            && said.contains("of this pipeline runs, and may use this place"),
        "{said}"
    );
}

#[test]
fn where_the_pipelines_clusters_can_no_longer_be_listed_nothing_more_is_begun_and_it_is_69() {
    let stage = with_two_places();
    stage.set(Set::AddHook(Hook {
        matching: Some("acme-out/enriched/good/a".to_owned()),
        ..Hook::after_first(
            "CopyObject",
            vec![Set::AddFault(Fault::every("ListClusters", FaultKind::AccessDenied))],
        )
    }));
    let played = of_config(&stage, &[&PLACES[..], &["--apply"]].concat());
    played.expect_code(69);
    assert_eq!(encryption(&stage, "acme-out", "shredded/good/a"), Sse::None);
    assert!(played.stderr.contains("which clusters run could not be seen"), "{}", played.stderr);
}

//! Listings whose pages do not fit together: nothing they may hide is called clean, and no listing
//! loops forever.

use emr_simulator::{
    Command as Set, Fault, FaultKind, PutBucket, PutObject, Sse, StartCluster, StartState,
};
use serde_json::{Value, json};

use crate::{
    reencrypt::{apply, asked, command, object, of_config, stage as old_bucket},
    support::{Played, Stage, isolated_guard},
};

fn put(stage: &Stage, key: &str, sse: Sse) {
    stage.set(Set::PutObject(PutObject {
        bucket: "old".to_owned(),
        key: key.to_owned(),
        body: Some("x".to_owned()),
        sse: Some(sse),
        ..PutObject::default()
    }));
}

/// 1,500 objects, of which the second page has the unencrypted ones. The keys have two first
/// letters, which makes two splits, the second of which has two pages.
fn with_two_pages(bucket: PutBucket) -> Stage {
    let stage = old_bucket(bucket);
    put(&stage, "a", Sse::Aes256);
    for number in 0..1500 {
        let sse = if number < 1201 { Sse::Aes256 } else { Sse::None };
        put(&stage, &format!("k{number:04}"), sse);
    }
    stage
}

fn audited(stage: &Stage, words: &[&str]) -> (Played, Value) {
    let mut command = isolated_guard();
    command.args(["audit", "s3://old/", "--json"]).args(words);
    stage.prepare(&mut command);
    let played = stage.play(command);
    let document = serde_json::from_str(&played.stdout)
        .unwrap_or_else(|_| panic!("no document:\n{}\n{}", played.stdout, played.stderr));
    (played, document)
}

const UNSEEN: &str = "whether it has every object is unknown";

fn versioned() -> PutBucket {
    PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() }
}

#[test]
fn a_second_page_that_is_the_first_one_again_leaves_its_range_unseen() {
    for ends in [true, false] {
        for (bucket, operation, words) in [
            (PutBucket::default(), "ListObjectsV2", &[][..]),
            (versioned(), "ListObjectVersions", &["--versions"][..]),
        ] {
            let stage = with_two_pages(bucket);
            stage.set(Set::AddFault(Fault::every(operation, FaultKind::FirstPageAgain { ends })));
            let (played, document) = audited(&stage, words);
            played.expect_code(69);
            assert_eq!(document["totals"]["offenders"], 0, "{document:#}");
            let location = document["locations"][0].to_string();
            assert!(location.contains(UNSEEN), "{operation}, ends: {ends}: {location}");
            let lists = stage.sim.requests_for(operation).len();
            assert!(lists < 50, "{operation} was asked {lists} times");
        }
    }
}

#[test]
fn honest_lists_of_more_than_one_page_show_every_object_and_version() {
    let stage = with_two_pages(PutBucket::default());
    let (played, document) = audited(&stage, &[]);
    played.expect_code(77);
    assert_eq!(document["totals"]["objects"], 1501, "{document:#}");

    // So many versions of one key that they take three pages.
    let stage = old_bucket(versioned());
    put(&stage, "a", Sse::Aes256);
    for _ in 0..2300 {
        put(&stage, "k", Sse::Aes256);
    }
    put(&stage, "z", Sse::None);
    let (played, document) = audited(&stage, &["--versions"]);
    played.expect_code(77);
    assert_eq!(document["totals"]["objects"], 2302, "{document:#}");
}

#[test]
fn a_repair_by_a_list_that_repeats_is_69_and_does_what_it_has_seen() {
    for ends in [true, false] {
        let stage = with_two_pages(PutBucket::default());
        put(&stage, "a", Sse::None);
        stage.set(Set::AddFault(Fault::every("ListObjectsV2", FaultKind::FirstPageAgain { ends })));
        let played = apply(&stage, &[]);
        played.expect_code(69);
        assert!(played.stderr.contains(UNSEEN), "{}", played.stderr);
        assert_eq!(object(&stage, "a").sse, Sse::Aes256);
        assert_eq!(asked(&stage, "CopyObject"), 1);
    }
}

#[test]
fn a_dry_run_that_could_not_list_says_so_and_not_that_there_is_nothing_to_do() {
    let stage = old_bucket(PutBucket::default());
    put(&stage, "a", Sse::Aes256);
    stage.set(Set::AddFault(Fault::every("ListObjectsV2", FaultKind::AccessDenied)));
    let played = stage.play(command(&stage, &["s3://old"]));
    played.expect_code(69);
    assert!(!played.stdout.contains("nothing to do"), "{}", played.stdout);
    insta::assert_snapshot!(played.redact(&format!("{}{}", played.stdout, played.stderr)));
}

#[test]
fn a_list_of_clusters_that_repeats_its_marker_hides_none_of_the_pipeline() {
    let stage = Stage::acme();
    let start = |name: &str, age_seconds: f64| {
        stage.set(Set::StartCluster(StartCluster {
            request: json!({"Name": name}),
            state: StartState::Waiting,
            age_seconds,
            ..StartCluster::default()
        }));
    };
    start("Snowplow ETL", 7200.0);
    for number in 0..70 {
        start(&format!("another {number}"), 3600.0);
    }
    for ends in [false, true] {
        stage.set(Set::ClearFaults);
        stage.set(Set::AddFault(Fault::every("ListClusters", FaultKind::FirstPageAgain { ends })));
        let played = of_config(&stage, &["s3://acme-out/enriched/", "--apply"]);
        played.expect_code(69);
        assert!(
            played.stderr.contains("which clusters run could not be seen"),
            "{}",
            played.stderr
        );
    }
}

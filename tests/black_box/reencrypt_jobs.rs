//! The work that `reencrypt` leaves to S3 Batch Operations, and which of its jobs it confirms: only
//! what a job without preconditions cannot overwrite, and only within the named locations.

use emr_simulator::{
    BucketEncryption, Command as Set, Hook, ObjectName, PutBucket, PutObject, PutRole, Sse,
    StartCluster,
};
use serde_json::json;

use crate::{
    reencrypt::{KEY, command},
    support::{Played, Stage},
};

pub(crate) const BATCH: [&str; 5] = [
    "--batch",
    "--batch-role",
    "arn:aws:iam::123456789012:role/batch",
    "--batch-place",
    "s3://place/jobs",
];

fn reencrypt(stage: &Stage, words: &[&str]) -> Played {
    stage.play(command(stage, words))
}

/// Buckets with these settings, and a role for jobs with all permissions.
pub(crate) fn stage(buckets: &[&str], bucket: &PutBucket) -> Stage {
    let stage = Stage::acme();
    for name in buckets {
        stage.set(Set::PutBucket(PutBucket { name: (*name).to_owned(), ..bucket.clone() }));
    }
    stage.set(Set::PutBucket(PutBucket { name: "place".to_owned(), ..PutBucket::default() }));
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "batchoperations.s3.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }]});
    let may = json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:*", "kms:*"], "Resource": "*"}]
    });
    stage.set(Set::PutRole(PutRole {
        name: "batch".to_owned(),
        trust: Some(trust),
        policies: vec![may],
        ..PutRole::default()
    }));
    stage
}

fn put(stage: &Stage, bucket: &str, key: &str, (body, sse): (&str, Sse)) {
    stage.set(Set::PutObject(PutObject {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        body: Some(body.to_owned()),
        sse: Some(sse),
        ..PutObject::default()
    }));
}

fn sse(stage: &Stage, bucket: &str, key: &str) -> Sse {
    stage.sim.with_world(|world| world.object(bucket, key).unwrap().sse.clone())
}

/// Creates jobs for a location; returns the ids of all existing jobs.
fn jobs_for(stage: &Stage, place: &str, words: &[&str]) -> Vec<String> {
    let bucket = bucket_of(place);
    let words = [&[place, "--bucket", bucket, "--apply"], &BATCH[..], words].concat();
    reencrypt(stage, &words).expect_code(75);
    job_ids(stage)
}

fn bucket_of(place: &str) -> &str {
    place.trim_start_matches("s3://").split('/').next().unwrap()
}

fn job_ids(stage: &Stage) -> Vec<String> {
    stage.sim.with_world(|world| world.jobs.iter().map(|job| job.id.clone()).collect())
}

fn confirm(stage: &Stage, place: &str, words: &[&str]) -> Played {
    let words =
        [&[place, "--bucket", bucket_of(place), "--batch-status", "--confirm"], words].concat();
    reencrypt(stage, &words)
}

fn confirmations(stage: &Stage) -> usize {
    stage.sim.requests_for("UpdateJobStatus").len()
}

#[test]
fn what_a_job_would_copy_in_a_bucket_with_versions_is_left_and_what_it_updates_is_not() {
    for versioning in ["Enabled", "Suspended"] {
        let kind = PutBucket { versioning: Some(versioning.to_owned()), ..PutBucket::default() };
        let stage = stage(&["old"], &kind);
        put(&stage, "old", "bare", ("x", Sse::None));
        put(&stage, "old", "s3", ("y", Sse::Aes256));
        let words = ["s3://old", "--bucket", "old", "--apply", "--kms-key", KEY];
        let made = reencrypt(&stage, &[&words[..], &BATCH].concat());
        made.expect_code(75);
        assert!(
            made.stderr.contains("s3://old/bare"),
            "{versioning}: what is left is named: {}",
            made.stderr
        );
        assert!(
            made.stderr.contains(
                "a job copies without preconditions, so that in a bucket with \
                versions it could bring back what was overwritten or deleted since; run this \
                without --batch"
            ),
            "{versioning}: {}",
            made.stderr
        );
        let requests: Vec<String> = stage
            .sim
            .with_world(|world| world.jobs.iter().map(|job| job.request.clone()).collect());
        assert_eq!(requests.len(), 1, "{versioning}");
        assert!(requests[0].contains("S3UpdateObjectEncryption"), "{}", requests[0]);
        confirm(&stage, "s3://old", &["--kms-key", KEY]).expect_code(75);
        assert_eq!(sse(&stage, "old", "s3"), Sse::Kms { key: Some(KEY.to_owned()) });
        assert_eq!(sse(&stage, "old", "bare"), Sse::None);
        // The alternative that does work.
        reencrypt(&stage, &words);
        assert_eq!(sse(&stage, "old", "bare"), Sse::Kms { key: Some(KEY.to_owned()) });
    }
}

#[test]
fn a_job_that_copies_is_not_confirmed_where_versions_were_switched_on_since() {
    let stage = stage(&["old"], &PutBucket::default());
    put(&stage, "old", "written", ("old", Sse::None));
    put(&stage, "old", "deleted", ("old", Sse::None));
    let jobs = jobs_for(&stage, "s3://old", &[]);
    stage.set(Set::PutBucket(PutBucket {
        name: "old".to_owned(),
        versioning: Some("Enabled".to_owned()),
        ..PutBucket::default()
    }));
    put(&stage, "old", "written", ("new", Sse::Aes256));
    stage
        .set(Set::DeleteObject(ObjectName { bucket: "old".to_owned(), key: "deleted".to_owned() }));
    let refused = confirm(&stage, "s3://old", &[]);
    refused.expect_code(77);
    assert_eq!(
        refused.unbroken(),
        format!(
            "emr-etl-guard: refused, nothing was changed: job {} copies objects in s3://old, \
             which keeps versions (Enabled) by now: it could bring back what was overwritten or \
             deleted since; cancel it, and run this with --apply, without --batch\n",
            jobs[0]
        )
    );
    assert_eq!(confirmations(&stage), 0);
    stage.sim.with_world(|world| {
        let written = world.object("old", "written").unwrap();
        assert_eq!(written.body.as_deref(), Some(&b"new"[..]));
        assert!(world.object("old", "deleted").is_none(), "it stays deleted");
    });
    // Looking is free.
    reencrypt(&stage, &["s3://old", "--bucket", "old", "--batch-status"]).expect_code(75);
}

#[test]
fn only_jobs_whose_objects_lie_within_the_named_places_are_confirmed() {
    let stage = stage(&["old", "other"], &PutBucket::default());
    put(&stage, "old", "a/1", ("x", Sse::None));
    put(&stage, "old", "b/1", ("x", Sse::None));
    put(&stage, "other", "a/1", ("x", Sse::None));
    let whole = jobs_for(&stage, "s3://old", &[])[0].clone();
    let foreign = jobs_for(&stage, "s3://other", &[])[1].clone();
    // Neither a part of the bucket nor another bucket contains all objects of the job.
    let part = confirm(&stage, "s3://old/a/", &[]);
    part.expect_code(64);
    assert_eq!(
        part.stderr,
        "emr-etl-guard: no job of emr-etl-guard in this account and region is within these \
         locations\n"
    );
    let named = confirm(&stage, "s3://old", &["--job", &foreign]);
    named.expect_code(77);
    assert_eq!(
        named.unbroken(),
        format!(
            "emr-etl-guard: refused, nothing was changed: job {foreign} is about s3://other/a/1, \
             which is in none of the locations of this run; name its locations, too, or leave it\n"
        )
    );
    assert_eq!(confirmations(&stage), 0);
    // Its status can be shown without a confirmation.
    let status = reencrypt(&stage, &["s3://old", "--batch-status", "--job", &foreign]);
    status.expect_code(75);
    let confirmed = confirm(&stage, "s3://old", &[]);
    confirmed.expect_code(0);
    assert!(
        confirmed.stdout.contains(&format!(
            "job {foreign} is about s3://other/a/1, which is in none of these locations; it is \
             left alone"
        )),
        "{}",
        confirmed.stdout
    );
    assert!(confirmed.stdout.contains(&format!("job {whole}: Complete")), "{}", confirmed.stdout);
    assert_eq!(confirmations(&stage), 1);
    assert_eq!((sse(&stage, "old", "a/1"), sse(&stage, "old", "b/1")), (Sse::Aes256, Sse::Aes256));
    assert_eq!(sse(&stage, "other", "a/1"), Sse::None, "nobody named its bucket");
}

#[test]
fn a_job_whose_list_s3_makes_is_held_against_the_places_by_its_filter() {
    let stage = stage(&["old"], &PutBucket::default());
    put(&stage, "old", "a/1", ("x", Sse::None));
    put(&stage, "old", "b/1", ("x", Sse::None));
    let jobs = jobs_for(&stage, "s3://old/a/", &["--generate-manifest"]);
    assert_eq!(jobs.len(), 1);
    let named = confirm(&stage, "s3://old/b/", &["--job", &jobs[0]]);
    named.expect_code(77);
    assert!(
        named
            .unbroken()
            .contains(&format!("job {} is about s3://old/a/, which is in none", jobs[0])),
        "{}",
        named.stderr
    );
    confirm(&stage, "s3://old/b/", &[]).expect_code(64);
    assert_eq!(confirmations(&stage), 0);
    confirm(&stage, "s3://old/a/", &[]).expect_code(0);
    assert_eq!((sse(&stage, "old", "a/1"), sse(&stage, "old", "b/1")), (Sse::Aes256, Sse::None));
}

#[test]
fn a_job_whose_list_is_not_the_one_that_was_made_is_not_confirmed() {
    let stage = stage(&["old"], &PutBucket::default());
    put(&stage, "old", "a", ("x", Sse::None));
    let jobs = jobs_for(&stage, "s3://old", &[]);
    let key = stage.sim.with_world(|world| {
        world.buckets["place"]
            .objects
            .keys()
            .find(|key| key.contains("manifests/"))
            .unwrap()
            .clone()
    });
    put(&stage, "place", &key, ("other,b\n", Sse::Aes256));
    let played = confirm(&stage, "s3://old", &["--job", &jobs[0]]);
    played.expect_code(69);
    assert!(played.stderr.contains(&key), "{}", played.stderr);
    let all = confirm(&stage, "s3://old", &[]);
    all.expect_code(69);
    // Its status can be shown without a confirmation: S3 itself reports how it ends.
    let status = reencrypt(&stage, &["s3://old", "--bucket", "old", "--batch-status"]);
    status.expect_code(75);
    assert_eq!(confirmations(&stage), 0);
}

#[test]
fn the_safety_switch_holds_for_confirmations_as_it_does_for_apply() {
    let stage = stage(&["old"], &PutBucket::default());
    put(&stage, "old", "a", ("x", Sse::None));
    jobs_for(&stage, "s3://old", &[]);
    let unnamed = reencrypt(&stage, &["s3://old", "--batch-status", "--confirm"]);
    unnamed.expect_code(77);
    assert_eq!(
        unnamed.stderr,
        "emr-etl-guard: refused, nothing was changed: no runner config names the bucket old; \
         repeat it by --bucket old\n"
    );
    reencrypt(&stage, &["s3://old", "--batch-status"]).expect_code(75);
    assert_eq!(confirmations(&stage), 0);
}

#[test]
fn while_a_cluster_of_the_pipeline_runs_no_job_in_its_places_is_confirmed() {
    let stage = stage(&[], &PutBucket::default());
    put(&stage, "acme-out", "enriched/good/a", ("x", Sse::None));
    stage.write("config.yml", &stage.config);
    let play = |words: &[&str]| {
        let config = ["--", "run", "-c", "config.yml", "-r", "resolver.json"];
        reencrypt(&stage, &[&["s3://acme-out/enriched/"], words, &config].concat())
    };
    let made = [&["--apply"], &BATCH[..]].concat();
    play(&made).expect_code(75);
    assert_eq!(job_ids(&stage).len(), 1);
    stage.set(Set::StartCluster(StartCluster {
        request: json!({"Name": "Snowplow ETL"}),
        ..StartCluster::default()
    }));
    let refused = play(&["--batch-status", "--confirm"]);
    refused.expect_code(77);
    assert!(
        refused.unbroken().contains("of this pipeline runs, and may use "),
        "{}",
        refused.stderr
    );
    assert_eq!(confirmations(&stage), 0);
    play(&["--batch-status"]).expect_code(75);
}

#[test]
fn a_cluster_that_starts_while_one_job_is_followed_keeps_the_next_one_unconfirmed() {
    let stage = stage(&[], &PutBucket::default());
    put(&stage, "acme-out", "enriched/good/a", ("x", Sse::None));
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-out".to_owned(),
        key: "enriched/good/rare".to_owned(),
        body: Some("x".to_owned()),
        sse: Some(Sse::None),
        storage_class: Some("STANDARD_IA".to_owned()),
        ..PutObject::default()
    }));
    stage.write("config.yml", &stage.config);
    let play = |words: &[&str]| {
        let config = ["--", "run", "-c", "config.yml", "-r", "resolver.json"];
        reencrypt(&stage, &[&["s3://acme-out/enriched/"], words, &config].concat())
    };
    play(&[&["--apply"], &BATCH[..]].concat()).expect_code(75);
    assert_eq!(job_ids(&stage).len(), 2);
    let start =
        StartCluster { request: json!({"Name": "Snowplow ETL"}), ..StartCluster::default() };
    let hook = Hook::after_first("UpdateJobStatus", vec![Set::StartCluster(start)]);
    stage.set(Set::AddHook(hook));
    let played = play(&["--batch-status", "--confirm"]);
    played.expect_code(75);
    assert!(
        played.stderr.contains("was not confirmed (1 objects): cluster j-"),
        "{}",
        played.stderr
    );
    assert_eq!(confirmations(&stage), 1);
}

#[test]
fn a_job_over_many_objects_of_odd_names_is_held_against_the_places_line_by_line() {
    let kind =
        PutBucket { default_encryption: Some(BucketEncryption::kms(KEY)), ..PutBucket::default() };
    let stage = stage(&["old"], &kind);
    for number in 0..40 {
        put(&stage, "old", &format!("in/ü,\"{number}\" %2F\n"), ("x", Sse::None));
    }
    put(&stage, "old", "last/one", ("x", Sse::None));
    let within = jobs_for(&stage, "s3://old/in/", &[]);
    confirm(&stage, "s3://old/in/", &["--job", &within[0]]).expect_code(0);
    assert_eq!(sse(&stage, "old", "last/one"), Sse::None);
}

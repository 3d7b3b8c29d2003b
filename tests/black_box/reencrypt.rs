//! The command `reencrypt`: its output without `--apply`, its actions with it, its refusals, and
//! that nothing is lost or done twice.

use std::time::Duration;

use emr_simulator::{
    AclGrant, Attributes, Checksum, ClockMode, Command as Set, Fault, FaultKind, Object, PutBucket,
    PutObject, PutRole, Retention, SetClock, Sse, StartCluster,
};
use serde_json::json;

use crate::support::{Played, Stage, isolated_guard, wait_until};

/// The key of the security configuration in the scene.
pub(crate) const KEY: &str =
    "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
pub(crate) const GIB: u64 = 1024 * 1024 * 1024;

/// A stage with a bucket `old` of its own.
pub(crate) fn stage(bucket: PutBucket) -> Stage {
    let stage = Stage::acme();
    stage.set(Set::PutBucket(PutBucket { name: "old".to_owned(), ..bucket }));
    stage
}

pub(crate) fn put(stage: &Stage, key: &str, object: PutObject) {
    stage.set(Set::PutObject(PutObject {
        bucket: "old".to_owned(),
        key: key.to_owned(),
        ..object
    }));
}

pub(crate) fn unencrypted(body: &str) -> PutObject {
    PutObject { body: Some(body.to_owned()), sse: Some(Sse::None), ..PutObject::default() }
}

/// The command line, without a runner config.
pub(crate) fn command(stage: &Stage, words: &[&str]) -> std::process::Command {
    let mut command = isolated_guard();
    command.arg("reencrypt").args(words);
    stage.prepare(&mut command);
    command.env("AWS_REGION", "eu-west-1");
    command
}

pub(crate) fn reencrypt(stage: &Stage, words: &[&str]) -> Played {
    stage.play(command(stage, words))
}

/// The whole bucket, with `--apply`.
pub(crate) fn apply(stage: &Stage, words: &[&str]) -> Played {
    reencrypt(stage, &[&["s3://old", "--bucket", "old", "--apply"], words].concat())
}

pub(crate) fn object(stage: &Stage, key: &str) -> Object {
    stage.sim.with_world(|world| world.object("old", key).unwrap().clone())
}

/// An object without the properties that a repair changes: what must be preserved, content and all
/// other properties.
pub(crate) fn lasting(object: &Object) -> String {
    let attributes =
        Attributes { checksum: None, grants: object.acl(), ..object.attributes.clone() };
    format!(
        "{:?}",
        (
            &object.body,
            &object.extents,
            object.size,
            &object.storage_class,
            &object.content_type,
            &object.metadata,
            attributes
        )
    )
}

/// How often an operation on the bucket was called.
pub(crate) fn asked(stage: &Stage, operation: &str) -> usize {
    stage
        .sim
        .requests_for(operation)
        .iter()
        .filter(|it| it.subject.bucket.as_deref() == Some("old"))
        .count()
}

#[test]
fn without_apply_it_says_what_it_would_do_and_changes_nothing() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("hello"));
    put(
        &stage,
        "big",
        PutObject {
            size: Some(6 * GIB),
            sse: Some(Sse::None),
            age_seconds: 86_400.0,
            ..PutObject::default()
        },
    );
    put(
        &stage,
        "cold",
        PutObject {
            storage_class: Some("GLACIER".to_owned()),
            age_seconds: 86_400.0 * 30.5,
            ..unencrypted("ice")
        },
    );
    put(
        &stage,
        "fine",
        PutObject { body: Some("x".to_owned()), sse: Some(Sse::Aes256), ..PutObject::default() },
    );
    put(
        &stage,
        "theirs",
        PutObject { body: Some("x".to_owned()), sse: Some(Sse::Customer), ..PutObject::default() },
    );
    let played = reencrypt(&stage, &["s3://old", "--list", "list.jsonl"]);
    played.expect_code(75);
    insta::assert_snapshot!(played.redact(&format!("{}{}", played.stdout, played.stderr)));
    let list = std::fs::read_to_string(stage.path("list.jsonl")).unwrap();
    let keys: Vec<String> = list
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].to_string())
        .collect();
    assert_eq!(keys, ["\"a\"", "\"big\"", "\"cold\"", "\"theirs\""]);
    for operation in
        ["CopyObject", "CreateMultipartUpload", "RestoreObject", "UpdateObjectEncryption"]
    {
        assert_eq!(asked(&stage, operation), 0, "{operation}");
    }
    assert!(!stage.path("state").exists(), "a dry run leaves nothing behind");
}

#[test]
fn with_apply_every_object_that_can_be_is_encrypted_and_the_rest_is_named() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("hello"));
    put(&stage, "ü b+c/%41?x=1", unencrypted("odd"));
    put(
        &stage,
        "cold",
        PutObject { storage_class: Some("GLACIER".to_owned()), ..unencrypted("ice") },
    );
    put(
        &stage,
        "theirs",
        PutObject { body: Some("x".to_owned()), sse: Some(Sse::Customer), ..PutObject::default() },
    );
    let played = apply(&stage, &[]);
    played.expect_code(75);
    insta::assert_snapshot!(played.redact(&format!("{}{}", played.stdout, played.stderr)));
    for key in ["a", "ü b+c/%41?x=1"] {
        assert_eq!(object(&stage, key).sse, Sse::Aes256);
    }
    let again = apply(&stage, &[]);
    again.expect_code(75);
    assert_eq!(asked(&stage, "CopyObject"), 2, "what is done is not done again");
}

#[test]
fn an_archived_object_is_restored_first_and_copied_by_a_later_run() {
    let stage = stage(PutBucket::default());
    put(
        &stage,
        "cold",
        PutObject { storage_class: Some("GLACIER".to_owned()), ..unencrypted("ice") },
    );
    let first = apply(&stage, &["--restore"]);
    first.expect_code(75);
    assert!(first.stdout.contains("1 restores were started"), "{}", first.stdout);
    let meanwhile = apply(&stage, &["--restore"]);
    meanwhile.expect_code(75);
    assert!(
        meanwhile.stderr.contains("its restore is under way: run this again when it is done"),
        "{}",
        meanwhile.stderr
    );
    stage.sim.advance(Duration::from_secs(5 * 3600));
    apply(&stage, &["--restore"]).expect_code(0);
    let after = object(&stage, "cold");
    assert_eq!(
        (after.sse, after.storage_class.as_str(), after.body.unwrap().as_slice()),
        (Sse::Aes256, "GLACIER", &b"ice"[..])
    );
    assert_eq!(asked(&stage, "RestoreObject"), 1);
}

#[test]
fn what_has_a_data_key_is_updated_in_place_without_a_copy() {
    let stage = stage(PutBucket::default());
    put(
        &stage,
        "s3",
        PutObject {
            body: Some("x".to_owned()),
            sse: Some(Sse::Aes256),
            storage_class: Some("GLACIER".to_owned()),
            ..PutObject::default()
        },
    );
    put(&stage, "none", unencrypted("y"));
    let before = object(&stage, "s3");
    apply(&stage, &["--kms-key", "alias/acme-etl"]).expect_code(0);
    for key in ["s3", "none"] {
        assert_eq!(object(&stage, key).sse, Sse::Kms { key: Some(KEY.to_owned()) });
    }
    assert_eq!(
        (object(&stage, "s3").etag, object(&stage, "s3").last_modified),
        (before.etag, before.last_modified)
    );
    assert_eq!((asked(&stage, "UpdateObjectEncryption"), asked(&stage, "CopyObject")), (1, 1));
}

fn laden(stage: &Stage) -> PutObject {
    let until = stage.sim.with_world(|world| world.now).replace_nanosecond(0).unwrap()
        + Duration::from_secs(30 * 86_400);
    let owner = AclGrant {
        grantee: object(stage, "seed").acl()[0].grantee.clone(),
        permission: "FULL_CONTROL".to_owned(),
    };
    let attributes = Attributes {
        tags: [
            ("team".to_owned(), "data & more = all/".to_owned()),
            ("empty".to_owned(), String::new()),
        ]
        .into(),
        cache_control: Some("max-age=60".to_owned()),
        content_disposition: Some("attachment; filename=\"a b.csv\"".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de, en".to_owned()),
        expires: Some("Thu, 01 Dec 2039 16:00:00 GMT".to_owned()),
        website_redirect: Some("/elsewhere.html".to_owned()),
        retention: Some(Retention { mode: "GOVERNANCE".to_owned(), until }),
        legal_hold: true,
        checksum: Some(Checksum {
            algorithm: "CRC64NVME".to_owned(),
            kind: "FULL_OBJECT".to_owned(),
            value: String::new(),
        }),
        grants: vec![
            owner,
            AclGrant {
                grantee: "uri=http://acs.amazonaws.com/groups/global/AuthenticatedUsers".to_owned(),
                permission: "READ".to_owned(),
            },
        ],
        ..Attributes::default()
    };
    PutObject {
        attributes,
        sse: Some(Sse::None),
        metadata: [
            ("who".to_owned(), "me".to_owned()),
            ("note".to_owned(), "=?UTF-8?Q?=C3=BC?=".to_owned()),
        ]
        .into(),
        storage_class: Some("STANDARD_IA".to_owned()),
        content_type: Some("text/csv; charset=utf-8".to_owned()),
        ..PutObject::default()
    }
}

#[test]
fn nothing_is_lost_whether_it_is_copied_whole_or_in_parts() {
    let stage = stage(PutBucket {
        versioning: Some("Enabled".to_owned()),
        object_lock: true,
        ownership: Some("ObjectWriter".to_owned()),
        ..PutBucket::default()
    });
    put(
        &stage,
        "seed",
        PutObject {
            body: Some("x".to_owned()),
            sse: Some(Sse::Kms { key: Some(KEY.to_owned()) }),
            ..PutObject::default()
        },
    );
    put(&stage, "small", PutObject { body: Some("hello".to_owned()), ..laden(&stage) });
    put(&stage, "large", PutObject { size: Some(6 * GIB + 5), ..laden(&stage) });
    let before = ["small", "large"].map(|key| object(&stage, key));
    let played = apply(&stage, &["--kms-key", KEY]);
    // Their old versions are unencrypted, and reported as such.
    played.expect_code(75);
    assert!(
        played.stdout.contains("done: 2 objects are encrypted as they should be"),
        "{}\n{}",
        played.stdout,
        played.stderr
    );
    for before in &before {
        let key = if before.body.is_some() { "small" } else { "large" };
        let after = object(&stage, key);
        assert_eq!(lasting(&after), lasting(before), "{key}");
        assert_eq!(after.attributes.checksum, before.attributes.checksum, "{key}");
        assert_eq!(after.sse, Sse::Kms { key: Some(KEY.to_owned()) });
        assert_ne!(after.version, before.version);
    }
    assert!(stage.sim.with_world(|world| world.uploads.is_empty()));
}

#[test]
fn a_lock_that_may_not_be_seen_is_not_lost_but_69() {
    let stage = stage(PutBucket {
        versioning: Some("Enabled".to_owned()),
        object_lock: true,
        ..PutBucket::default()
    });
    put(&stage, "a", unencrypted("x"));
    stage.set(Set::AddFault(Fault::every("GetObjectRetention", FaultKind::AccessDenied)));
    let played = apply(&stage, &[]);
    played.expect_code(69);
    assert!(played.stderr.contains("(s3:GetObjectRetention)"), "{}", played.stderr);
    assert_eq!(object(&stage, "a").sse, Sse::None);
}

#[test]
fn old_versions_are_named_and_removed_only_when_asked_and_only_behind_a_proved_one() {
    let stage = stage(PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() });
    for text in ["one", "two"] {
        put(&stage, "a", unencrypted(text));
    }
    put(&stage, "gone", unencrypted("x"));
    stage.set(Set::DeleteObject(emr_simulator::ObjectName {
        bucket: "old".to_owned(),
        key: "gone".to_owned(),
    }));
    let versions =
        |key: &str| stage.sim.with_world(|world| world.buckets["old"].versions(key).count());
    let first = apply(&stage, &[]);
    first.expect_code(75);
    assert!(
        first.stderr.contains("an old version: --purge-old-versions removes those"),
        "{}",
        first.stderr
    );
    assert_eq!((versions("a"), versions("gone")), (3, 2));
    let second = apply(&stage, &["--purge-old-versions"]);
    second.expect_code(75);
    // The version that overwrote `one` is not a copy of it.
    assert_eq!((versions("a"), versions("gone")), (2, 2));
    let third = apply(&stage, &["--purge-old-versions", "--purge-overwritten-versions"]);
    third.expect_code(75);
    // Its key is deleted: no newer version is evidence.
    let gone = |line: &str| line.contains("gone (version ") && line.contains(": an old version: ");
    assert!(third.stderr.lines().any(gone), "{}", third.stderr);
    assert_eq!((versions("a"), versions("gone")), (1, 2));
    assert_eq!(object(&stage, "a").body.unwrap(), b"two");
}

#[test]
fn a_dry_run_knows_what_earlier_runs_have_replaced_and_leaves_the_ledger_as_it_is() {
    let stage = stage(PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() });
    put(&stage, "a", unencrypted("one"));
    let ledger = stage.path("state/reencrypt/ledger.redb");
    // Without an earlier run nothing is known, and no ledger is created for that.
    let before = reencrypt(&stage, &["s3://old", "--bucket", "old", "--purge-old-versions"]);
    before.expect_code(75);
    assert!(before.stdout.contains("to copy in place: 1"), "{}", before.stdout);
    assert!(!ledger.exists());
    apply(&stage, &[]).expect_code(75);
    let is_left = "left: old versions";
    let without = reencrypt(&stage, &["s3://old", "--bucket", "old"]);
    without.expect_code(75);
    assert!(without.stdout.contains(is_left), "{}", without.stdout);
    // Twice: the first must not change the result of the second.
    for _ in 0..2 {
        let dry = reencrypt(&stage, &["s3://old", "--bucket", "old", "--purge-old-versions"]);
        dry.expect_code(75);
        assert!(dry.stdout.contains("old versions to remove: 1"), "{}", dry.stdout);
        assert!(!dry.stdout.contains(is_left), "{}", dry.stdout);
    }
    assert_eq!(asked(&stage, "DeleteObject") + asked(&stage, "DeleteObjects"), 0);
    apply(&stage, &["--purge-old-versions"]).expect_code(0);
}

#[test]
fn a_writer_in_between_keeps_what_it_wrote() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("old"));
    let newer = PutObject { bucket: "old".to_owned(), key: "a".to_owned(), ..unencrypted("new!") };
    let hook = emr_simulator::Hook {
        when: emr_simulator::Moment::Arrival,
        ..emr_simulator::Hook::after_first("CopyObject", vec![Set::PutObject(newer)])
    };
    stage.set(Set::AddHook(hook));
    let played = apply(&stage, &[]);
    played.expect_code(75);
    assert!(
        played.stderr.contains("another writer changed it meanwhile; run this again"),
        "{}",
        played.stderr
    );
    assert_eq!(object(&stage, "a").body.unwrap(), b"new!");
    apply(&stage, &[]).expect_code(0);
    let after = object(&stage, "a");
    assert_eq!((after.body.unwrap(), after.sse), (b"new!".to_vec(), Sse::Aes256));
}

#[test]
fn an_error_in_a_200_is_no_success() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("x"));
    let kind = || FaultKind::ErrorIn200 {
        code: "InternalError".to_owned(),
        message: "We encountered an internal error.".to_owned(),
    };
    stage.set(Set::AddFault(Fault::every("CopyObject", kind())));
    let played = apply(&stage, &[]);
    played.expect_code(75);
    assert!(
        played.stderr.contains(
            "s3://old/a: CopyObject: InternalError: We encountered an \
        internal error.; run this again"
        ),
        "{}",
        played.stderr
    );
    stage.set(Set::ClearFaults);
    stage.set(Set::AddFault(Fault::nth("CopyObject", 1, kind())));
    apply(&stage, &[]).expect_code(0);
    assert_eq!(object(&stage, "a").sse, Sse::Aes256);
}

#[test]
fn a_copy_whose_answer_is_lost_is_not_made_again() {
    for fault in [
        FaultKind::AppliedThen5xx { status: 500 },
        // S3's throttling response does not mean that nothing was done.
        FaultKind::AppliedThen5xx { status: 503 },
        FaultKind::AppliedThenReset,
        FaultKind::TruncatedBody,
    ] {
        let stage =
            stage(PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() });
        put(&stage, "a", unencrypted("x"));
        stage.set(Set::AddFault(Fault::nth("CopyObject", 1, fault)));
        let played = apply(&stage, &[]);
        played.expect_code(75);
        assert!(played.stdout.contains("done: 1 objects"), "{}", played.stderr);
        assert_eq!(asked(&stage, "CopyObject"), 1);
        assert_eq!(stage.sim.with_world(|world| world.buckets["old"].versions("a").count()), 2);
    }
}

#[test]
fn s3_asking_to_slow_down_is_obeyed_and_all_is_done_in_the_end() {
    let stage = stage(PutBucket::default());
    for number in 0..20 {
        put(&stage, &format!("k/{number}"), unencrypted("x"));
    }
    stage.set(Set::AddFault(Fault {
        calls: emr_simulator::Calls::Range { from: 1, to: 30 },
        ..Fault::every("CopyObject", FaultKind::Throttle)
    }));
    apply(&stage, &[]).expect_code(0);
    assert_eq!(asked(&stage, "CopyObject"), 50, "each refused one came again, and no other");
}

#[test]
fn a_bucket_that_nobody_named_is_refused() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("x"));
    let played = reencrypt(&stage, &["s3://old", "--apply"]);
    played.expect_code(77);
    assert_eq!(
        played.stderr,
        "emr-etl-guard: refused, nothing was changed: no runner config names the bucket old; \
         repeat it by --bucket old\n"
    );
    assert_eq!(object(&stage, "a").sse, Sse::None);
}

/// The locations of the stage's runner config.
pub(crate) fn of_config(stage: &Stage, words: &[&str]) -> Played {
    stage.write("config.yml", &stage.config);
    reencrypt(stage, &[words, &["--", "run", "-c", "config.yml", "-r", "resolver.json"]].concat())
}

#[test]
fn the_places_of_a_runner_config_get_what_its_security_configuration_says() {
    let stage = Stage::acme();
    for (bucket, key) in [
        ("acme-archive", "raw/run=1/a"),
        ("acme-raw-in", "logs/b"),
        ("acme-out", "enriched/good/c"),
    ] {
        stage.set(Set::PutObject(PutObject {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ..unencrypted("x")
        }));
    }
    let played = of_config(&stage, &["--apply"]);
    played.expect_code(0);
    let sse = |bucket: &str, key: &str| {
        stage.sim.with_world(|world| world.object(bucket, key).unwrap().sse.clone())
    };
    for (bucket, key) in [
        ("acme-archive", "raw/run=1/a"),
        ("acme-raw-in", "logs/b"),
        ("acme-out", "enriched/good/c"),
    ] {
        assert_ne!(sse(bucket, key), Sse::None, "{bucket}/{key}");
    }
    assert!(played.stdout.contains("(the security configuration)"), "{}", played.stdout);
    assert!(
        stage
            .sim
            .requests_for("HeadObject")
            .iter()
            .all(|it| it.subject.bucket.as_deref() != Some("snowplow-hosted-assets"))
    );
}

#[test]
fn while_a_cluster_of_the_pipeline_runs_what_it_uses_is_refused_and_archives_are_not() {
    let stage = Stage::acme();
    for key in ["raw/run=1/a", "enriched/run=1/a"] {
        stage.set(Set::PutObject(PutObject {
            bucket: "acme-archive".to_owned(),
            key: key.to_owned(),
            ..unencrypted("x")
        }));
    }
    stage.set(Set::StartCluster(StartCluster {
        request: json!({"Name": "Snowplow ETL"}),
        ..StartCluster::default()
    }));
    let played = of_config(&stage, &["--apply"]);
    played.expect_code(77);
    assert!(played.unbroken().contains("of this pipeline runs, and may use "), "{}", played.stderr);
    let archive = of_config(&stage, &["s3://acme-archive/raw/", "--apply"]);
    archive.expect_code(0);
    let in_use = of_config(&stage, &["s3://acme-out/enriched/", "--apply"]);
    in_use.expect_code(77);
    let dry = of_config(&stage, &["s3://acme-out/enriched/"]);
    dry.expect_code(0);
    assert!(dry.stdout.contains("--apply would be refused: cluster j-"), "{}", dry.stdout);
}

#[test]
fn what_may_not_be_looked_at_is_counted_and_is_69() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("x"));
    put(&stage, "secret", unencrypted("x"));
    stage.set(Set::AddFault(Fault {
        matching: Some("old/secret".to_owned()),
        ..Fault::every("HeadObject", FaultKind::AccessDenied)
    }));
    let played = apply(&stage, &[]);
    played.expect_code(69);
    assert!(
        played.stderr.starts_with("emr-etl-guard: not everything could be looked at\n"),
        "{}",
        played.stderr
    );
    assert!(played.stderr.contains("1 object could not be looked at: "), "{}", played.stderr);
    assert_eq!(object(&stage, "a").sse, Sse::Aes256, "the rest is done");
}

#[test]
fn a_copy_that_comes_out_different_does_not_count_as_done_until_somebody_fixed_it() {
    let stage = stage(PutBucket::default());
    // The object in the copy's place has the same date: S3 returns only seconds.
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Stepped, at: None }));
    let attributes =
        Attributes { tags: [("a".to_owned(), "b".to_owned())].into(), ..Attributes::default() };
    put(&stage, "a", PutObject { attributes: attributes.clone(), ..unencrypted("x") });
    stage.sim.advance(Duration::from_secs(60));
    let stripped = PutObject {
        bucket: "old".to_owned(),
        key: "a".to_owned(),
        body: Some("x".to_owned()),
        sse: Some(Sse::Aes256),
        ..PutObject::default()
    };
    stage.set(Set::AddHook(emr_simulator::Hook::after_first(
        "CopyObject",
        vec![Set::PutObject(stripped.clone())],
    )));
    let played = apply(&stage, &[]);
    played.expect_code(75);
    assert!(
        played
            .stderr
            .contains("it is encrypted as asked, but no longer the same: tags; fix that by hand"),
        "{}",
        played.stderr
    );
    apply(&stage, &[]).expect_code(75);
    stage.set(Set::PutObject(PutObject { attributes, ..stripped }));
    apply(&stage, &[]).expect_code(0);
}

#[test]
fn killed_in_the_middle_the_next_run_finishes_and_nothing_is_done_twice() {
    let stage = stage(PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() });
    let keys: Vec<String> = (0..200).map(|number| format!("k/{number:03}")).collect();
    for key in &keys {
        put(&stage, key, unencrypted(key));
    }
    put(
        &stage,
        "big",
        PutObject { size: Some(6 * GIB), sse: Some(Sse::None), ..PutObject::default() },
    );
    let mut killed = 0;
    // Killed three times, each time a little later.
    for wanted in [10, 60, 120] {
        let mut child =
            command(&stage, &["s3://old", "--bucket", "old", "--apply", "--max-rate", "200"])
                .spawn()
                .unwrap();
        // Once parts are copied, the upload's id is in the ledger. Another test covers uploads
        // whose creation was not answered: no run continues those.
        wait_until("some copies were made, and parts", || {
            asked(&stage, "CopyObject") >= wanted && asked(&stage, "UploadPartCopy") > 0
        });
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    let played = apply(&stage, &[]);
    played.expect_code(75);
    assert_eq!(killed, 3);
    let versions =
        |key: &str| stage.sim.with_world(|world| world.buckets["old"].versions(key).count());
    for key in keys.iter().map(String::as_str).chain(["big"]) {
        assert_eq!(object(&stage, key).sse, Sse::Aes256, "{key}: {}", played.stderr);
        assert_eq!(versions(key), 2, "{key} was copied once");
    }
    assert!(
        stage.sim.with_world(|world| world.uploads.iter().all(|upload| upload.parts.is_empty())),
        "no parts are left behind"
    );
}

/// Starts a repair of one object of 6 GiB, and kills it when some of its parts are copied; returns
/// the number of calls for parts.
pub(crate) fn killed_among_parts(stage: &Stage, words: &[&str]) -> usize {
    put(
        stage,
        "big",
        PutObject { size: Some(6 * GIB), sse: Some(Sse::None), ..PutObject::default() },
    );
    let later = Fault {
        calls: emr_simulator::Calls::Range { from: 9, to: 20 },
        ..Fault::every("UploadPartCopy", FaultKind::Hang)
    };
    stage.set(Set::AddFault(later));
    let mut child = command(stage, &[&["s3://old", "--bucket", "old", "--apply"], words].concat())
        .spawn()
        .unwrap();
    // The others are in progress by then, so that none is counted only after the kill.
    wait_until("eight of twelve parts were copied", || {
        asked(stage, "UploadPartCopy") == 12
            && stage.sim.with_world(|world| world.uploads.iter().any(|it| it.parts.len() == 8))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    stage.set(Set::ClearFaults);
    asked(stage, "UploadPartCopy")
}

#[test]
fn killed_among_parts_the_next_run_copies_only_those_that_are_missing() {
    let stage = stage(PutBucket::default());
    let asked_before = killed_among_parts(&stage, &[]);
    apply(&stage, &[]).expect_code(0);
    assert_eq!(
        asked(&stage, "UploadPartCopy") - asked_before,
        4,
        "12 parts, 8 of which were there"
    );
    assert_eq!(
        (asked(&stage, "CreateMultipartUpload"), asked(&stage, "CompleteMultipartUpload")),
        (1, 1)
    );
    assert_eq!(object(&stage, "big").sse, Sse::Aes256);
}

#[test]
fn what_was_begun_for_another_target_is_given_up_and_begun_anew() {
    let stage = stage(PutBucket::default());
    killed_among_parts(&stage, &[]);
    apply(&stage, &["--kms-key", KEY]).expect_code(0);
    assert_eq!(
        (asked(&stage, "CreateMultipartUpload"), asked(&stage, "AbortMultipartUpload")),
        (2, 1)
    );
    assert_eq!(object(&stage, "big").sse, Sse::Kms { key: Some(KEY.to_owned()) });
    assert!(stage.sim.with_world(|world| world.uploads.is_empty()));
}

#[test]
fn two_repairs_cannot_share_a_ledger() {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted("x"));
    stage.set(Set::AddFault(Fault::every("CopyObject", FaultKind::Hang)));
    let mut first = command(&stage, &["s3://old", "--bucket", "old", "--apply"]).spawn().unwrap();
    wait_until("the first copies", || asked(&stage, "CopyObject") >= 1);
    let second = apply(&stage, &[]);
    second.expect_code(69);
    assert!(
        second
            .stderr
            .contains(&format!("is held by another emr-etl-guard (process {} on ", first.id())),
        "{}",
        second.stderr
    );
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(first.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(143));
    stage.set(Set::ClearFaults);
    apply(&stage, &[]).expect_code(0);
}

/// Creates the role from the documents that the guard itself prints.
fn make_role(stage: &Stage, words: &[&str], without: &str) {
    let played = reencrypt(
        stage,
        &[&["s3://old", "--role-policy", "--batch-place", "s3://place/jobs"], words].concat(),
    );
    played.expect_code(0);
    let printed: serde_json::Value = serde_json::from_str(&played.stdout).unwrap();
    let policy = printed["Permissions"].to_string().replace(without, "s3:Nothing");
    stage.set(Set::PutRole(PutRole {
        name: "batch".to_owned(),
        trust: Some(printed["Trust"].clone()),
        policies: vec![serde_json::from_str(&policy).unwrap()],
        ..PutRole::default()
    }));
}

const BATCH: [&str; 5] = [
    "--batch",
    "--batch-role",
    "arn:aws:iam::123456789012:role/batch",
    "--batch-place",
    "s3://place/jobs",
];

fn with_jobs() -> Stage {
    let stage = stage(PutBucket::default());
    // The location's default encryption must not produce a manifest that S3 Batch Operations cannot
    // read.
    let default_encryption = Some(emr_simulator::BucketEncryption::kms(KEY));
    stage.set(Set::PutBucket(PutBucket {
        name: "place".to_owned(),
        default_encryption,
        ..PutBucket::default()
    }));
    put(&stage, "a ü,\"b\"", unencrypted("x"));
    put(
        &stage,
        "rare",
        PutObject { storage_class: Some("STANDARD_IA".to_owned()), ..unencrypted("y") },
    );
    put(
        &stage,
        "s3",
        PutObject { body: Some("z".to_owned()), sse: Some(Sse::Aes256), ..PutObject::default() },
    );
    let attributes = Attributes { website_redirect: Some("/".to_owned()), ..Attributes::default() };
    put(&stage, "redirect", PutObject { attributes, ..unencrypted("r") });
    stage
}

#[test]
fn batch_jobs_do_what_loses_nothing_once_they_are_confirmed_and_the_rest_is_named() {
    let stage = with_jobs();
    make_role(&stage, &["--kms-key", KEY], "-");
    let made = apply(&stage, &[&BATCH[..], &["--kms-key", KEY]].concat());
    made.expect_code(75);
    assert!(
        made.stderr.contains(
            "s3://old/redirect and 0 more: a job would lose where it redirects \
            to; run this without --batch"
        ),
        "{}",
        made.stderr
    );
    assert_eq!(
        stage.sim.with_world(|world| world.jobs.len()),
        3,
        "copies in two storage classes, and updates"
    );
    // The same command again gives the same jobs.
    apply(&stage, &[&BATCH[..], &["--kms-key", KEY]].concat()).expect_code(75);
    assert_eq!(stage.sim.with_world(|world| world.jobs.len()), 3);
    let status = |words: &[&str]| {
        reencrypt(
            &stage,
            &[&["s3://old", "--bucket", "old", "--kms-key", KEY, "--batch-status"], words].concat(),
        )
    };
    let waiting = status(&[]);
    waiting.expect_code(75);
    assert_eq!(
        waiting.stderr.matches("waits for its confirmation (1 objects): add --confirm").count(),
        3,
        "{}",
        waiting.stderr
    );
    assert_eq!(object(&stage, "rare").sse, Sse::None);
    let confirmed = status(&["--confirm"]);
    confirmed.expect_code(75);
    assert_eq!(
        confirmed.stdout.matches("Complete; 1 of 1 objects done, 0 failed").count(),
        3,
        "{}{}",
        confirmed.stdout,
        confirmed.stderr
    );
    assert!(
        confirmed.stdout.contains("to copy in place: 1 object (1 byte): redirect"),
        "it is looked at again: {}",
        confirmed.stdout
    );
    let kms = Sse::Kms { key: Some(KEY.to_owned()) };
    for key in ["a ü,\"b\"", "rare", "s3"] {
        assert_eq!(object(&stage, key).sse, kms, "{key}");
    }
    assert_eq!(object(&stage, "rare").storage_class, "STANDARD_IA");
    assert_eq!(asked(&stage, "CopyObject"), 0, "the jobs did it");
    apply(&stage, &["--kms-key", KEY]).expect_code(0);
    assert_eq!(object(&stage, "redirect").attributes.website_redirect.as_deref(), Some("/"));
}

#[test]
fn what_a_batch_job_could_not_do_is_read_from_its_report() {
    let stage = with_jobs();
    make_role(&stage, &[], "s3:PutObjectTagging");
    let jobs = apply(&stage, &BATCH);
    jobs.expect_code(75);
    let status = reencrypt(&stage, &["s3://old", "--bucket", "old", "--batch-status", "--confirm"]);
    status.expect_code(75);
    assert!(
        status
            .stderr
            .contains("s3://old/rare and 0 more: AccessDenied: s3:PutObjectTagging is not allowed"),
        "{}",
        status.stderr
    );
    assert_eq!(object(&stage, "rare").sse, Sse::None);
}

#[test]
fn a_job_whose_role_nobody_can_take_says_why_it_failed() {
    let stage = with_jobs();
    apply(&stage, &BATCH).expect_code(75);
    let status = reencrypt(&stage, &["s3://old", "--bucket", "old", "--batch-status", "--confirm"]);
    status.expect_code(75);
    assert!(
        status.stderr.contains(
            "failed: InvalidRole: The role arn:aws:iam::123456789012:role/batch cannot be assumed"
        ),
        "{}",
        status.stderr
    );
}

#[test]
fn the_printed_policy_allows_every_call_that_a_repair_makes() {
    let played = reencrypt(&stage(PutBucket::default()), &["--permissions"]);
    played.expect_code(0);
    let policy: serde_json::Value = serde_json::from_str(&played.stdout).unwrap();
    let actions: Vec<&str> = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| it["Action"].as_array().unwrap())
        .map(|it| it.as_str().unwrap())
        .collect();
    let stage = stage(PutBucket {
        versioning: Some("Enabled".to_owned()),
        object_lock: true,
        ownership: Some("ObjectWriter".to_owned()),
        ..PutBucket::default()
    });
    stage.set(Set::PutBucket(PutBucket { name: "place".to_owned(), ..PutBucket::default() }));
    put(
        &stage,
        "seed",
        PutObject { body: Some("x".to_owned()), sse: Some(Sse::Aes256), ..PutObject::default() },
    );
    put(&stage, "large", PutObject { size: Some(6 * GIB), ..laden(&stage) });
    put(
        &stage,
        "small",
        PutObject {
            attributes: Attributes {
                tags: [("a".to_owned(), "b".to_owned())].into(),
                ..Attributes::default()
            },
            ..unencrypted("x")
        },
    );
    put(
        &stage,
        "cold",
        PutObject { storage_class: Some("GLACIER".to_owned()), ..unencrypted("x") },
    );
    put(
        &stage,
        "theirs",
        PutObject { body: Some("x".to_owned()), sse: Some(Sse::Customer), ..PutObject::default() },
    );
    make_role(&stage, &["--kms-key", KEY], "-");
    apply(&stage, &[&BATCH[..], &["--kms-key", KEY]].concat()).expect_code(75);
    apply(&stage, &[&BATCH[..], &["--kms-key", KEY, "--generate-manifest"]].concat())
        .expect_code(75);
    let status = ["s3://old", "--bucket", "old", "--kms-key", KEY, "--batch-status", "--confirm"];
    reencrypt(&stage, &status).expect_code(75);
    put(
        &stage,
        "later",
        PutObject { body: Some("x".to_owned()), sse: Some(Sse::Aes256), ..PutObject::default() },
    );
    apply(&stage, &["--kms-key", KEY, "--restore", "--purge-old-versions"]).expect_code(75);
    let mut seen = std::collections::BTreeSet::new();
    for request in stage.sim.requests() {
        let version = request.query.contains_key("versionId");
        let action = match (request.operation(), version) {
            ("HeadBucket" | "ListObjectsV2", _) => "s3:ListBucket",
            ("ListObjectVersions", _) => "s3:ListBucketVersions",
            ("GetBucketEncryption", _) => "s3:GetEncryptionConfiguration",
            ("GetObjectLockConfiguration", _) => "s3:GetBucketObjectLockConfiguration",
            ("GetBucketNotificationConfiguration", _) => "s3:GetBucketNotification",
            ("GetBucketReplication", _) => "s3:GetReplicationConfiguration",
            ("GetBucketLifecycleConfiguration", _) => "s3:GetLifecycleConfiguration",
            ("HeadObject" | "GetObject", true) => "s3:GetObjectVersion",
            ("HeadObject" | "GetObject", false) => "s3:GetObject",
            ("GetObjectTagging", true) => "s3:GetObjectVersionTagging",
            ("GetObjectAcl", true) => "s3:GetObjectVersionAcl",
            ("DeleteObject", true) => "s3:DeleteObjectVersion",
            (
                "CopyObject"
                | "CreateMultipartUpload"
                | "UploadPartCopy"
                | "CompleteMultipartUpload"
                | "PutObject",
                _,
            ) => "s3:PutObject",
            ("ListParts", _) => "s3:ListMultipartUploadParts",
            ("ListMultipartUploads", _) => "s3:ListBucketMultipartUploads",
            (operation, _) => &format!("{}:{operation}", request.subject.service),
        };
        assert!(actions.contains(&action), "{action} is not allowed: {actions:?}");
        seen.insert(action.to_owned());
    }
    for action in [
        "s3:RestoreObject",
        "s3:GetBucketWebsite",
        "s3:GetBucketNotification",
        "s3:GetReplicationConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:DeleteObjectVersion",
        "s3:CreateJob",
        "s3:UpdateJobStatus",
        "s3:ListMultipartUploadParts",
        "s3:ListBucketMultipartUploads",
        "s3:UpdateObjectEncryption",
    ] {
        assert!(seen.contains(action), "{action} was not asked: {seen:?}");
    }
}

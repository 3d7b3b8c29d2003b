//! What a repair must not lose and must not claim: bucket keys, objects that Object Lock excludes
//! from an update, the current keys of objects, and who wrote the current object.

use emr_simulator::{
    Attributes, BucketEncryption, ClockMode, Command as Set, Hook, PutBucket, PutKey, PutObject,
    Retention, SetClock, Sse,
};
use serde_json::{Value, json};

use crate::{
    reencrypt::{KEY, apply, asked, object, put, reencrypt, stage, unencrypted},
    support::Stage,
};

const OTHER_ID: &str = "33333333-3333-3333-3333-333333333333";
const OTHER: &str = "arn:aws:kms:eu-west-1:123456789012:key/33333333-3333-3333-3333-333333333333";

fn with_other_key(bucket: PutBucket) -> Stage {
    let stage = stage(bucket);
    stage.set(Set::PutKey(PutKey { id: OTHER_ID.to_owned(), ..PutKey::default() }));
    stage
}

fn under(sse: Sse, attributes: Attributes) -> PutObject {
    PutObject {
        body: Some("x".to_owned()),
        sse: Some(sse),
        age_seconds: 60.0,
        attributes,
        ..PutObject::default()
    }
}

fn under_other(attributes: Attributes) -> PutObject {
    under(Sse::Kms { key: Some(OTHER.to_owned()) }, attributes)
}

fn locked(stage: &Stage) -> Attributes {
    let until = stage.sim.with_world(|world| world.now) + std::time::Duration::from_secs(86_400);
    Attributes {
        retention: Some(Retention { mode: "GOVERNANCE".to_owned(), until }),
        ..Attributes::default()
    }
}

#[test]
fn bucket_keys_are_kept_and_the_buckets_rule_gives_them() {
    // The rule enables none; one object has one.
    let stage = with_other_key(PutBucket {
        versioning: Some("Enabled".to_owned()),
        object_lock: true,
        ..PutBucket::default()
    });
    let with = |attributes| Attributes { bucket_key: true, ..attributes };
    put(&stage, "updated", under_other(with(Attributes::default())));
    put(&stage, "copied", under_other(with(locked(&stage))));
    put(&stage, "without", under_other(Attributes::default()));
    let played = apply(&stage, &["--kms-key", KEY]);
    assert!(
        played.stdout.contains("done: 3 objects are encrypted as they should be"),
        "{}",
        played.transcript()
    );
    for (key, kept) in [("updated", true), ("copied", true), ("without", false)] {
        let object = object(&stage, key);
        assert_eq!(object.sse, Sse::Kms { key: Some(KEY.to_owned()) }, "{key}");
        assert_eq!(object.attributes.bucket_key, kept, "{key}");
    }
    assert_eq!((asked(&stage, "UpdateObjectEncryption"), asked(&stage, "CopyObject")), (2, 1));
    // The rule enables it for all.
    let rule = BucketEncryption { bucket_key: Some(true), ..BucketEncryption::kms(KEY) };
    let stage =
        with_other_key(PutBucket { default_encryption: Some(rule), ..PutBucket::default() });
    put(&stage, "updated", under_other(Attributes::default()));
    put(&stage, "copied", unencrypted("x"));
    apply(&stage, &["--kms-key", KEY]).expect_code(0);
    for key in ["updated", "copied"] {
        assert!(object(&stage, key).attributes.bucket_key, "{key}");
    }
}

#[test]
fn a_dry_run_knows_what_an_update_refuses_and_says_why_each_is_copied() {
    let stage = with_other_key(PutBucket {
        versioning: Some("Enabled".to_owned()),
        object_lock: true,
        ..PutBucket::default()
    });
    put(&stage, "free", under(Sse::Aes256, Attributes::default()));
    put(&stage, "kept", under(Sse::Aes256, locked(&stage)));
    put(&stage, "plain", unencrypted("x"));
    put(&stage, "twice", under(Sse::Dsse { key: Some(OTHER.to_owned()) }, Attributes::default()));
    let words = ["s3://old", "--bucket", "old", "--kms-key", KEY, "--list", "list.jsonl"];
    let played = reencrypt(&stage, &words);
    for line in [
        "to update in place: 1 object (1 byte): free\n",
        "to copy in place: 3 objects (3 bytes): kept, plain, twice; UpdateObjectEncryption does \
         not take them: 1 not encrypted, 1 under neither SSE-S3 nor SSE-KMS, 1 under Object Lock\n",
    ] {
        assert!(played.stdout.contains(line), "{line}\n{}", played.transcript());
    }
    let list = std::fs::read_to_string(stage.path("list.jsonl")).unwrap();
    let whys: Vec<(String, Value)> = list
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["key"].as_str().unwrap().to_owned(), line["why"].clone()))
        .collect();
    assert_eq!(whys[0], ("free".to_owned(), Value::Null));
    assert_eq!(whys[1], ("kept".to_owned(), json!("not updated in place: under Object Lock")));
    assert_eq!((asked(&stage, "CopyObject"), asked(&stage, "UpdateObjectEncryption")), (0, 0));
    // The plan that it prints is carried out.
    apply(&stage, &["--kms-key", KEY]);
    assert_eq!((asked(&stage, "CopyObject"), asked(&stage, "UpdateObjectEncryption")), (3, 1));
}

#[test]
fn the_role_of_the_jobs_may_read_what_is_under_other_keys_now() {
    let stage = with_other_key(PutBucket::default());
    put(&stage, "a", under_other(Attributes::default()));
    put(&stage, "b", unencrypted("x"));
    let printed = reencrypt(&stage, &["s3://old", "--kms-key", KEY, "--role-policy"]);
    printed.expect_code(0);
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    let statements = printed["Permissions"]["Statement"].as_array().unwrap();
    let of = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).cloned();
    assert_eq!(
        of("SourceKeys").unwrap(),
        json!({
            "Sid": "SourceKeys", "Effect": "Allow", "Action": ["kms:Decrypt", "kms:ReEncryptFrom"],
            "Resource": [OTHER]
        })
    );
    assert_eq!(of("Keys").unwrap()["Resource"], json!([KEY]));
    assert_eq!(printed.get("Unseen"), None);
}

/// A stage whose clock stands still, with an object `a`, which somebody else overwrites with
/// `theirs` when the copy of it has just been answered: all in one second.
fn in_one_second(before: PutObject, theirs: PutObject) -> Stage {
    let stage = stage(PutBucket::default());
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Stepped, at: None }));
    put(&stage, "a", before);
    let theirs = PutObject { bucket: "old".to_owned(), key: "a".to_owned(), ..theirs };
    stage.set(Set::AddHook(Hook::after_first("CopyObject", vec![Set::PutObject(theirs)])));
    stage
}

#[test]
fn a_write_of_somebody_else_in_the_second_of_the_copy_is_not_counted_as_proved() {
    let tagged =
        Attributes { tags: [("a".to_owned(), "b".to_owned())].into(), ..Attributes::default() };
    let encrypted = |body: &str, attributes| PutObject {
        body: Some(body.to_owned()),
        sse: Some(Sse::Aes256),
        attributes,
        ..PutObject::default()
    };
    // The same bytes without the tags: S3 shows no other difference.
    let before = PutObject { attributes: tagged.clone(), ..unencrypted("x") };
    let stage = in_one_second(before.clone(), encrypted("x", Attributes::default()));
    let played = apply(&stage, &[]);
    played.expect_code(75);
    assert!(played.stderr.contains("no longer the same: tags;"), "{}", played.transcript());
    assert!(played.stdout.contains("done: 0 objects"), "{}", played.transcript());
    // Other bytes, with the same tags, and encrypted as requested: nothing is wrong, and nothing is
    // left of the copy that could be verified.
    let theirs = encrypted("y", tagged);
    let stage = in_one_second(before, theirs);
    let played = apply(&stage, &[]);
    played.expect_code(0);
    assert!(played.stdout.contains("done: 0 objects"), "{}", played.transcript());
    assert_eq!(object(&stage, "a").body.as_deref(), Some("y".as_bytes()));
    // Under KMS an ETag says nothing about the bytes, but S3's response contains that of the copy.
    let kms = Sse::Kms { key: Some(KEY.to_owned()) };
    let theirs = PutObject { sse: Some(kms), ..encrypted("y", Attributes::default()) };
    let stage = in_one_second(unencrypted("x"), theirs);
    let played = apply(&stage, &["--kms-key", KEY]);
    played.expect_code(0);
    assert!(played.stdout.contains("done: 0 objects"), "{}", played.transcript());
}

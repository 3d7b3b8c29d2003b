//! The laws of `reencrypt`: no property of an object is lost, and whatever goes wrong in one run,
//! the next one finishes it.

use std::collections::BTreeMap;
use std::time::Duration;

use emr_simulator::{
    AclGrant, Attributes, Calls, Checksum, Command as Set, Fault, FaultKind, Object, ObjectName,
    Older, PutBucket, PutObject, Retention, Sse,
};
use proptest::prelude::*;

use crate::reencrypt::{GIB, KEY, apply, command, lasting, stage};
use crate::support::{Played, Stage, wait_until};

/// The content of one key: versions, the last one current, and possibly a delete marker.
#[derive(Clone, Debug)]
struct Behind {
    key: String,
    versions: Vec<PutObject>,
    deleted: bool,
}

/// A bucket, its objects, and their target.
#[derive(Clone, Debug)]
struct World {
    versioned: bool,
    lock: bool,
    ownership: Option<&'static str>,
    keys: Vec<Behind>,
    target: Sse,
    /// Whether restores are allowed.
    restore: bool,
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[!-~]([ -~]{0,12}[!-~])?")
}

/// Keys as people and programs create them: with spaces, characters that are special in URLs and
/// XML, other alphabets, and characters that XML does not allow.
fn key() -> impl Strategy<Value = String> {
    let odd = vec![
        "plain",
        "a b+c",
        "%41%",
        "a//b/",
        "?versionId=x&y#z",
        "<&>\"'`",
        "\u{fc}\u{4e2d}\u{1f600}",
        "\u{1}\u{7f}",
        "..",
        "a\\b|c^d~",
        "=,;:@$!*()[]{}",
        "tab\tand\nline",
    ];
    prop_oneof![3 => prop::sample::select(odd).prop_map(str::to_owned), 2 => "[ \
        -~]{1,40}", 1 => "\\PC{1,12}"]
}

fn checksum() -> impl Strategy<Value = Option<Checksum>> {
    let kinds = [
        ("CRC32", "FULL_OBJECT"),
        ("CRC32", "COMPOSITE"),
        ("CRC32C", "FULL_OBJECT"),
        ("CRC32C", "COMPOSITE"),
        ("CRC64NVME", "FULL_OBJECT"),
        ("SHA1", "FULL_OBJECT"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "FULL_OBJECT"),
        ("SHA256", "COMPOSITE"),
    ];
    let of = |(algorithm, kind): (&str, &str)| Checksum {
        algorithm: algorithm.to_owned(),
        kind: kind.to_owned(),
        value: String::new(),
    };
    prop::option::of(prop::sample::select(kinds.map(of).to_vec()))
}

/// Retention until a date far in the future, or in the past.
fn retention() -> impl Strategy<Value = Option<Retention>> {
    let until = [
        time::macros::datetime!(2099-01-02 03:04:05 UTC),
        time::macros::datetime!(2020-01-02 03:04:05 UTC),
    ];
    let of = |(mode, until): (&str, _)| Retention { mode: mode.to_owned(), until };
    prop::option::of(
        (
            prop::sample::select(vec!["GOVERNANCE", "COMPLIANCE"]),
            prop::sample::select(until.to_vec()),
        )
            .prop_map(of),
    )
}

fn grants() -> impl Strategy<Value = Vec<AclGrant>> {
    let all = [
        ("id=0123abcd", "FULL_CONTROL"),
        ("id=4567", "READ"),
        ("id=4567", "READ_ACP"),
        ("id=89", "WRITE_ACP"),
        ("uri=http://acs.amazonaws.com/groups/global/AllUsers", "READ"),
        ("uri=http://acs.amazonaws.com/groups/global/AuthenticatedUsers", "READ_ACP"),
    ];
    let grant = |(grantee, permission): (&str, &str)| AclGrant {
        grantee: grantee.to_owned(),
        permission: permission.to_owned(),
    };
    prop_oneof![
        1 => Just(Vec::new()),
        2 => prop::sample::subsequence(all.map(grant).to_vec(), 1..=6),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let tags = prop::collection::btree_map(
        "[a-zA-Z0-9 +=._:/@-]{1,8}",
        "[a-zA-Z0-9 +=._:/@&%ü-]{0,8}",
        0..4,
    );
    let texts = (some_text(), some_text(), some_text(), some_text(), some_text());
    let expires = prop_oneof![4 => Just(None), 4 => Just(Some("Thu, 01 Dec 2039 16:00:00 \
        GMT".to_owned())), 1 => Just(Some("0".to_owned()))];
    let annotations = prop_oneof![4 => Just(Vec::new()), 1 => Just(vec!["note".to_owned()])];
    (tags, texts, expires, (retention(), any::<bool>()), checksum(), grants(), annotations)
        .prop_map(
            |(tags, texts, expires, (retention, legal_hold), checksum, grants, annotations)| {
                let (
                    cache_control,
                    content_disposition,
                    content_encoding,
                    content_language,
                    website_redirect,
                ) = texts;
                let content_encoding = content_encoding.map(|_| "gzip".to_owned());
                Attributes {
                    tags,
                    cache_control,
                    content_disposition,
                    content_encoding,
                    content_language,
                    expires,
                    website_redirect,
                    retention,
                    legal_hold,
                    checksum,
                    grants,
                    annotations,
                    ..Attributes::default()
                }
            },
        )
}

fn sse() -> impl Strategy<Value = Sse> {
    let kms = || Some(KEY.to_owned());
    prop_oneof![
        6 => Just(Sse::None),
        2 => Just(Sse::Aes256),
        1 => Just(Sse::Kms { key: None }),
        2 => Just(Sse::Kms { key: kms() }),
        1 => Just(Sse::Dsse { key: kms() }),
        1 => Just(Sse::Customer),
    ]
}

fn an_object() -> impl Strategy<Value = PutObject> {
    let content = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 1..50).prop_map(|bytes| (Some(bytes), None)),
        2 => (5 * GIB + 1..8 * GIB).prop_map(|size| (None, Some(size))),
        1 => Just((None, Some(5 * GIB))),
        1 => Just((Some(Vec::new()), None)),
    ];
    let metadata =
        prop::collection::btree_map("[a-z][a-z0-9-]{0,6}", "[!-~]([ -~]{0,12}[!-~])?", 0..4);
    let class = prop_oneof![
        3 => Just(("STANDARD", None)),
        4 => prop::sample::select(vec![
            "STANDARD_IA",
            "ONEZONE_IA",
            "GLACIER_IR",
            "INTELLIGENT_TIERING",
            "REDUCED_REDUNDANCY",
        ])
        .prop_map(|class| (class, None)),
        2 => prop::sample::select(vec!["GLACIER", "DEEP_ARCHIVE"]).prop_map(|class| (class, None)),
        1 => prop::sample::select(vec!["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])
            .prop_map(|status| ("INTELLIGENT_TIERING", Some(status))),
    ];
    (content, sse(), class, metadata, attributes(), prop::option::of(2_u32..5)).prop_map(
        |((bytes, size), sse, (class, archive), metadata, mut attributes, parts)| {
            attributes.archive_status = archive.map(str::to_owned);
            // A SHA checksum of the whole cannot be computed from parts.
            let parts = parts.filter(|_| {
                attributes
                    .checksum
                    .as_ref()
                    .is_none_or(|sum| sum.kind == "COMPOSITE" || sum.algorithm.starts_with("CRC"))
            });
            PutObject {
                bytes,
                size,
                sse: Some(sse),
                storage_class: Some(class.to_owned()),
                content_type: Some("text/csv; charset=utf-8".to_owned()),
                metadata,
                attributes,
                parts,
                ..PutObject::default()
            }
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    let target = prop_oneof![
        1 => Just(Sse::Aes256),
        2 => Just(Sse::Kms { key: Some(KEY.to_owned()) }),
        1 => Just(Sse::Dsse { key: Some(KEY.to_owned()) }),
    ];
    let behind = (key(), prop::collection::vec(an_object(), 1..3), prop::bool::weighted(0.1))
        .prop_map(|(key, versions, deleted)| Behind { key, versions, deleted });
    let ownership =
        prop::sample::select(vec![None, Some("ObjectWriter"), Some("BucketOwnerPreferred")]);
    (
        any::<bool>(),
        any::<bool>(),
        ownership,
        prop::collection::vec(behind, 1..5),
        target,
        any::<bool>(),
    )
        .prop_map(|(versioned, lock, ownership, mut keys, target, restore)| {
            let versioned = versioned || lock;
            for (number, behind) in keys.iter_mut().enumerate() {
                // No key twice.
                behind.key = format!("{}{number}", behind.key);
                if !versioned {
                    behind.versions.truncate(1);
                    behind.deleted = false;
                }
                for object in &mut behind.versions {
                    if !lock {
                        object.attributes.retention = None;
                        object.attributes.legal_hold = false;
                    }
                    if ownership.is_none() {
                        object.attributes.grants.clear();
                    }
                }
            }
            World { versioned, lock, ownership, keys, target, restore }
        })
}

/// A fault in the first run.
#[derive(Clone, Debug)]
enum Trouble {
    Fault(Fault),
    /// It is killed after this many requests.
    Killed(usize),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let operations = vec![
        "HeadObject",
        "CopyObject",
        "UpdateObjectEncryption",
        "CreateMultipartUpload",
        "UploadPartCopy",
        "ListParts",
        "ListMultipartUploads",
        "CompleteMultipartUpload",
        "RestoreObject",
        "GetObjectRetention",
        "GetObjectLegalHold",
        "GetObjectTagging",
        "GetObjectAcl",
        "ListObjectsV2",
        "ListObjectVersions",
        "ListObjectAnnotations",
        "GetBucketVersioning",
    ];
    let kinds = vec![
        FaultKind::Throttle,
        FaultKind::ServerError { status: 500 },
        FaultKind::ServerError { status: 503 },
        FaultKind::AccessDenied,
        FaultKind::ErrorIn200 {
            code: "InternalError".to_owned(),
            message: "in the middle".to_owned(),
        },
        FaultKind::ErrorIn200 { code: "SlowDown".to_owned(), message: "in the middle".to_owned() },
        FaultKind::Reset,
        FaultKind::TruncatedBody,
        FaultKind::GarbageBody,
        FaultKind::AppliedThen5xx { status: 500 },
        FaultKind::AppliedThen5xx { status: 503 },
        FaultKind::AppliedThenReset,
    ];
    let of_one = (
        prop::sample::select(operations),
        prop_oneof![2 => Just(Calls::Every), 3 => (1_u64..4).prop_map(Calls::Nth)],
    );
    // Any call, whichever it is.
    let of_any = (1_u64..90).prop_map(|number| ("*", Calls::Nth(number)));
    let fault = (prop_oneof![1 => of_one, 1 => of_any], prop::sample::select(kinds));
    prop_oneof![
        4 => fault.prop_map(|((operation, calls), kind)| {
            Trouble::Fault(Fault { calls, ..Fault::every(operation, kind) })
        }),
        1 => (8_usize..90).prop_map(Trouble::Killed),
    ]
}

/// A stage with that world, and the arguments for its target.
fn staged(world: &World) -> (Stage, Vec<&'static str>) {
    let stage = stage(PutBucket {
        versioning: world.versioned.then(|| "Enabled".to_owned()),
        object_lock: world.lock,
        ownership: world.ownership.map(str::to_owned),
        ..PutBucket::default()
    });
    for behind in &world.keys {
        for object in &behind.versions {
            stage.set(Set::PutObject(PutObject {
                bucket: "old".to_owned(),
                key: behind.key.clone(),
                ..object.clone()
            }));
        }
        if behind.deleted {
            stage.set(Set::DeleteObject(ObjectName {
                bucket: "old".to_owned(),
                key: behind.key.clone(),
            }));
        }
    }
    let mut words = match &world.target {
        Sse::Kms { .. } => vec!["--encryption", "SSE-KMS", "--kms-key", KEY],
        Sse::Dsse { .. } => vec!["--encryption", "DSSE-KMS", "--kms-key", KEY],
        _ => vec!["--encryption", "SSE-S3"],
    };
    if world.restore {
        words.push("--restore");
    }
    (stage, words)
}

/// All versions of each key, newest first.
fn everything(stage: &Stage) -> BTreeMap<String, Vec<Older>> {
    stage.sim.with_world(|world| {
        let bucket = &world.buckets["old"];
        bucket
            .objects
            .keys()
            .chain(bucket.older.keys())
            .map(|key| (key.clone(), bucket.versions(key).collect()))
            .collect()
    })
}

fn is_locked(object: &Object, stage: &Stage) -> bool {
    object.is_locked(stage.sim.with_world(|world| world.now), false)
}

/// Whether S3 can change its key without a copy.
fn can_be_updated(object: &Object, world: &World, stage: &Stage) -> bool {
    matches!(object.sse, Sse::Aes256 | Sse::Kms { .. })
        && matches!(world.target, Sse::Kms { .. })
        && !is_locked(object, stage)
}

/// Whether the current object of a key can reach the target.
fn can_be_done(key: &str, object: &Object, world: &World, stage: &Stage) -> bool {
    let large = object.size > 5 * GIB;
    let archived = matches!(object.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
        || object.attributes.archive_status.is_some();
    let no_date = object.attributes.expires.as_deref() == Some("0");
    // S3's responses are XML, which does not allow control characters; for a multipart copy they
    // contain the key.
    let unnameable = key.chars().any(|letter| letter < ' ' && !"\t\n\r".contains(letter));
    let loses = large && (no_date || unnameable || !object.attributes.annotations.is_empty());
    object.size > 0
        && object.sse != Sse::Customer
        && (object.sse == world.target
            || can_be_updated(object, world, stage)
            || (!loses && (!archived || world.restore)))
}

/// What must be preserved: everything except an expired retention, and Intelligent-Tiering's tier,
/// which a restore changes permanently.
fn kept(object: &Object, stage: &Stage) -> String {
    let mut object = object.clone();
    let now = stage.sim.with_world(|world| world.now);
    object.attributes.retention =
        object.attributes.retention.filter(|retention| retention.until > now);
    object.attributes.archive_status = None;
    lasting(&object)
}

/// Every object is preserved; those that can be are encrypted with the target, and none was copied
/// twice.
fn check(
    stage: &Stage,
    world: &World,
    before: &BTreeMap<String, Vec<Older>>,
) -> Result<(), TestCaseError> {
    let after = everything(stage);
    prop_assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (key, before) in before {
        let after = &after[key];
        prop_assert!(
            after.len() <= before.len() + 1,
            "{key:?} has {} versions, of {}",
            after.len(),
            before.len()
        );
        // If versions are kept, a copy of the current object is in front of it.
        let copied = after.len() > before.len();
        for (index, was) in before.iter().enumerate() {
            let Older::Object(was) = was else { continue };
            let is = after.get(index + usize::from(copied));
            let Some(Older::Object(is)) = is else {
                return Err(TestCaseError::fail(format!(
                    "{key:?}: version {index} is gone: {is:?}"
                )));
            };
            prop_assert_eq!(kept(is, stage), kept(was, stage), "{:?}, version {}", key, index);
            let replaced = index == 0 && !world.versioned;
            let updated =
                can_be_updated(was, world, stage) && was.size > 0 && is.sse == world.target;
            prop_assert!(
                replaced || updated || is.sse == was.sse,
                "{key:?}, version {index}: {:?} became {:?}",
                was.sse,
                is.sse
            );
        }
        let (Some(Older::Object(was)), Some(Older::Object(is))) = (before.first(), after.first())
        else {
            continue;
        };
        prop_assert_eq!(kept(is, stage), kept(was, stage), "{:?}", key);
        let wanted = if can_be_done(key, was, world, stage) { &world.target } else { &was.sse };
        // An upload whose id never arrived cannot be distinguished from another writer's, and a key
        // that was not done before that waits.
        let waits = stage.sim.with_world(|world| world.uploads.iter().any(|it| it.key == *key));
        prop_assert!(
            is.sse == *wanted || waits && is.sse == was.sse,
            "{key:?}: {:?} instead of {wanted:?}: {was:?}",
            is.sse
        );
        if let (Some(sum), true) = (&was.attributes.checksum, was.size > 0) {
            let now = is.attributes.checksum.as_ref().unwrap();
            prop_assert_eq!(&now.algorithm, &sum.algorithm, "{:?}", key);
            // A checksum of parts' checksums depends on the sizes of the parts, of which it shows
            // only the number.
            let parts = |sum: &Checksum| sum.value.split_once('-').map(|(_, it)| it.to_owned());
            prop_assert!(
                sum.kind != now.kind || parts(sum) != parts(now) || now.value == sum.value,
                "{:?}: {:?} {:?}",
                key,
                sum,
                now
            );
        }
    }
    // An upload without parts costs nothing.
    prop_assert!(
        stage.sim.with_world(|world| world.uploads.iter().all(|upload| upload.parts.is_empty())),
        "no parts are left behind"
    );
    Ok(())
}

/// A run that ends, and reports no object as different.
fn ran(played: &Played, codes: &[i32]) -> Result<(), TestCaseError> {
    prop_assert!(
        played.code.is_some_and(|code| codes.contains(&code)),
        "{:?}\n{}{}",
        played.code,
        played.stdout,
        played.stderr
    );
    prop_assert!(!played.stderr.contains("not the same any more"), "{}", played.stderr);
    Ok(())
}

/// Runs until nothing is pending any more: restores take up to half a day.
fn finish(stage: &Stage, world: &World, words: &[&str]) -> Result<(), TestCaseError> {
    ran(&apply(stage, words), &[0, 75])?;
    if world.restore {
        stage.sim.advance(Duration::from_secs(13 * 3600));
        ran(&apply(stage, words), &[0, 75])?;
    }
    Ok(())
}

/// The number of cases; PROPTEST_CASES overrides it.
fn cases(usual: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(usual);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn whatever_an_object_carries_it_is_the_same_afterwards_and_encrypted_as_asked(world in world()) {
        let (stage, words) = staged(&world);
        let before = everything(&stage);
        finish(&stage, &world, &words)?;
        check(&stage, &world, &before)?;
    }

    #[test]
    fn whatever_goes_wrong_in_one_run_the_next_one_finishes_it(world in world(), trouble in trouble()) {
        let (stage, words) = staged(&world);
        let before = everything(&stage);
        // Shorter timeouts than the default: a fault here is permanent.
        let mut first = command(&stage, &[&["s3://old", "--bucket", "old", "--apply", "--aws-timeout", "6s", "--confirm-timeout", "6s"], words.as_slice()].concat());
        first.env("EMR_ETL_GUARD_LOG", "off");
        match &trouble {
            Trouble::Fault(fault) => {
                stage.set(Set::AddFault(fault.clone()));
                // 77: whether others are notified of changes could not be seen.
                ran(&stage.play(first), &[0, 64, 69, 75, 77])?;
                stage.set(Set::ClearFaults);
            }
            Trouble::Killed(requests) => {
                let mut child = first.spawn().unwrap();
                wait_until("it has made its requests, or \
                    ended", || stage.sim.requests().len() >= *requests || child.try_wait().unwrap().is_some());
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
        stage.sim.advance(Duration::from_secs(60));
        finish(&stage, &world, &words)?;
        check(&stage, &world, &before)?;
    }
}

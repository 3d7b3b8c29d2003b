//! The laws of `reencrypt`: whatever an object carries, nothing of it is lost; and whatever goes wrong in one run, the next one finishes it.

use std::collections::BTreeMap;
use std::time::Duration;

use emr_simulator::{AclGrant, Attributes, Calls, Checksum, Command as Set, Fault, FaultKind, Object, PutBucket, PutObject, Retention, Sse};
use proptest::prelude::*;

use crate::reencrypt::{GIB, KEY, apply, lasting, stage};
use crate::support::Stage;

/// A bucket, what lies in it, and what its objects shall become.
#[derive(Clone, Debug)]
struct World {
    versioned: bool,
    lock: bool,
    acls: bool,
    objects: Vec<PutObject>,
    target: Sse,
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[!-~]([ -~]{0,12}[!-~])?")
}

fn checksum() -> impl Strategy<Value = Option<Checksum>> {
    let kinds = [("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "FULL_OBJECT")];
    let of = |(algorithm, kind): (&str, &str)| Checksum { algorithm: algorithm.to_owned(), kind: kind.to_owned(), value: String::new() };
    prop::option::of(prop::sample::select(kinds.map(of).to_vec()))
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let tags = prop::collection::btree_map("[a-zA-Z0-9 +=._:/@-]{1,8}", "[a-zA-Z0-9 +=._:/@&%ü-]{0,8}", 0..3);
    let texts = (some_text(), some_text(), some_text(), some_text(), some_text());
    let lock = (prop::option::of(prop::sample::select(vec!["GOVERNANCE", "COMPLIANCE"])), any::<bool>());
    (tags, texts, prop::bool::ANY, lock, checksum(), prop::bool::ANY).prop_map(|(tags, texts, expires, (mode, legal_hold), checksum, shared)| {
        let (cache_control, content_disposition, content_encoding, content_language, website_redirect) = texts;
        let until = time::macros::datetime!(2099-01-02 03:04:05 UTC);
        let grant = |grantee: &str, permission: &str| AclGrant { grantee: grantee.to_owned(), permission: permission.to_owned() };
        Attributes {
            tags,
            cache_control,
            content_disposition,
            content_encoding: content_encoding.map(|_| "gzip".to_owned()),
            content_language,
            expires: expires.then(|| "Thu, 01 Dec 2039 16:00:00 GMT".to_owned()),
            website_redirect,
            retention: mode.map(|mode| Retention { mode: mode.to_owned(), until }),
            legal_hold,
            checksum,
            grants: if shared {
                vec![
                    grant("id=0123abcd", "FULL_CONTROL"),
                    grant("id=4567", "READ_ACP"),
                    grant("uri=http://acs.amazonaws.com/groups/global/AllUsers", "READ"),
                ]
            } else {
                Vec::new()
            },
            ..Attributes::default()
        }
    })
}

fn sse() -> impl Strategy<Value = Sse> {
    let kms = || Some(KEY.to_owned());
    prop_oneof![4 => Just(Sse::None), 1 => Just(Sse::Aes256), 1 => Just(Sse::Kms { key: None }), 1 => Just(Sse::Kms { key: kms() }), 1 => Just(Sse::Dsse { key: kms() })]
}

fn an_object() -> impl Strategy<Value = PutObject> {
    let content = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..50).prop_map(|bytes| (Some(bytes), None)),
        1 => (5 * GIB + 1..8 * GIB).prop_map(|size| (None, Some(size))),
    ];
    let metadata = prop::collection::btree_map("[a-z][a-z0-9-]{0,6}", "[!-~]([ -~]{0,12}[!-~])?", 0..3);
    let class = prop::sample::select(vec!["STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "INTELLIGENT_TIERING"]);
    (content, sse(), class, metadata, attributes(), prop::option::of(2_u32..5)).prop_map(
        |((bytes, size), sse, class, metadata, attributes, parts)| PutObject {
            bytes,
            size,
            sse: Some(sse),
            storage_class: Some(class.to_owned()),
            content_type: Some("text/csv; charset=utf-8".to_owned()),
            metadata,
            attributes,
            parts,
            ..PutObject::default()
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    let target = prop_oneof![Just(Sse::Aes256), Just(Sse::Kms { key: Some(KEY.to_owned()) }), Just(Sse::Dsse { key: Some(KEY.to_owned()) })];
    (any::<bool>(), any::<bool>(), any::<bool>(), prop::collection::vec(an_object(), 1..6), target).prop_map(
        |(versioned, lock, acls, mut objects, target)| {
            let versioned = versioned || lock;
            for object in &mut objects {
                if !lock {
                    object.attributes.retention = None;
                    object.attributes.legal_hold = false;
                }
                if !acls {
                    object.attributes.grants.clear();
                }
            }
            World { versioned, lock, acls, objects, target }
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    let operations = vec![
        "HeadObject",
        "CopyObject",
        "UpdateObjectEncryption",
        "CreateMultipartUpload",
        "UploadPartCopy",
        "ListParts",
        "CompleteMultipartUpload",
        "GetObjectRetention",
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
        FaultKind::AccessDenied,
        FaultKind::ErrorIn200 { code: "InternalError".to_owned(), message: "in the middle".to_owned() },
        FaultKind::Reset,
        FaultKind::TruncatedBody,
        FaultKind::GarbageBody,
        FaultKind::AppliedThen5xx { status: 503 },
        FaultKind::AppliedThenReset,
    ];
    let calls = prop_oneof![2 => Just(Calls::Every), 3 => (1_u64..4).prop_map(Calls::Nth)];
    (prop::sample::select(operations), prop::sample::select(kinds), calls)
        .prop_map(|(operation, kind, calls)| Fault { calls, ..Fault::every(operation, kind) })
}

/// A stage with that world, and the words that ask for its target.
fn staged(world: &World) -> (Stage, Vec<String>) {
    let stage = stage(PutBucket {
        versioning: world.versioned.then(|| "Enabled".to_owned()),
        object_lock: world.lock,
        ownership: world.acls.then(|| "ObjectWriter".to_owned()),
        ..PutBucket::default()
    });
    for (number, object) in world.objects.iter().enumerate() {
        stage.set(Set::PutObject(PutObject { bucket: "old".to_owned(), key: format!("k/{number}"), ..object.clone() }));
    }
    let words = match &world.target {
        Sse::Kms { .. } => vec!["--encryption", "SSE-KMS", "--kms-key", KEY],
        Sse::Dsse { .. } => vec!["--encryption", "DSSE-KMS", "--kms-key", KEY],
        _ => vec!["--encryption", "SSE-S3"],
    };
    (stage, words.into_iter().map(str::to_owned).collect())
}

fn objects(stage: &Stage) -> BTreeMap<String, Object> {
    stage.sim.with_world(|world| world.buckets["old"].objects.clone())
}

/// Every object is what it was, under the target; and none was copied twice.
fn check(stage: &Stage, world: &World, before: &BTreeMap<String, Object>) -> Result<(), TestCaseError> {
    let after = objects(stage);
    prop_assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (key, before) in before {
        let after = &after[key];
        prop_assert_eq!(&after.sse, &world.target, "{}", key);
        prop_assert_eq!(lasting(after), lasting(before), "{}", key);
        if let Some(sum) = &before.attributes.checksum {
            let kept = after.attributes.checksum.as_ref().unwrap();
            prop_assert_eq!(&kept.algorithm, &sum.algorithm, "{}", key);
            prop_assert!(sum.kind != kept.kind || kept.value == sum.value, "{}: {:?} {:?}", key, sum, kept);
        }
        let versions = stage.sim.with_world(|world| world.buckets["old"].versions(key).count());
        prop_assert!(versions <= 2, "{} has {} versions", key, versions);
    }
    // One whose id never arrived cannot be told from another writer's; without parts it costs nothing.
    prop_assert!(stage.sim.with_world(|world| world.uploads.iter().all(|upload| upload.parts.is_empty())), "no parts are left behind");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_object_carries_it_is_the_same_afterwards_and_encrypted_as_asked(world in world()) {
        let (stage, words) = staged(&world);
        let before = objects(&stage);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let played = apply(&stage, &words);
        prop_assert!(matches!(played.code, Some(0 | 75)), "{:?}\n{}{}", played.code, played.stdout, played.stderr);
        prop_assert!(!played.stderr.contains("not the same any more"), "{}", played.stderr);
        check(&stage, &world, &before)?;
    }

    #[test]
    fn whatever_goes_wrong_in_one_run_the_next_one_finishes_it(world in world(), fault in fault()) {
        let (stage, words) = staged(&world);
        let before = objects(&stage);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        stage.set(Set::AddFault(fault));
        // Less patience than users have: what fails here fails for good.
        let mut first = crate::reencrypt::command(&stage, &[&["s3://old", "--bucket", "old", "--apply", "--aws-timeout", "6s", "--confirm-timeout", "6s"], words.as_slice()].concat());
        first.env("EMR_ETL_GUARD_LOG", "off");
        let first = stage.play(first);
        prop_assert!(matches!(first.code, Some(0 | 69 | 75)), "{:?}\n{}{}", first.code, first.stdout, first.stderr);
        stage.set(Set::ClearFaults);
        stage.sim.advance(Duration::from_secs(60));
        let second = apply(&stage, &words);
        prop_assert!(matches!(second.code, Some(0 | 75)), "{:?}\n{}{}{}{}", second.code, first.stdout, first.stderr, second.stdout, second.stderr);
        check(&stage, &world, &before)?;
    }
}

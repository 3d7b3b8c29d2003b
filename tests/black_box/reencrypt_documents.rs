//! The report of a `reencrypt`, with any options: it contains what was found, done and left, and
//! the cost of S3's real requests, and a page can be rendered from it.

use std::collections::BTreeMap;

use emr_simulator::{Command as Set, Object, PutBucket, PutObject, PutRole, Sse};
use serde_json::{Value, json};

use crate::{
    reencrypt::{GIB, KEY, apply, asked, command, object, stage},
    support::{Played, Stage, isolated_guard, valid_document},
};

fn put(stage: &Stage, key: &str, object: PutObject) {
    stage.set(Set::PutObject(PutObject {
        bucket: "old".to_owned(),
        key: key.to_owned(),
        ..object
    }));
}

fn unencrypted(size: u64, class: &str) -> PutObject {
    PutObject {
        size: Some(size),
        sse: Some(Sse::None),
        storage_class: Some(class.to_owned()),
        age_seconds: 86_400.0 * 10.0,
        ..PutObject::default()
    }
}

fn reencrypt(stage: &Stage, words: &[&str]) -> Played {
    stage.play(command(stage, words))
}

/// The output of `--json`, which is exactly one report.
fn printed(played: &Played) -> Value {
    valid_document(played.stdout.as_bytes())
}

/// The number of objects in a list of a location, by one of its fields.
fn numbers(document: &Value, list: &str) -> BTreeMap<String, u64> {
    let all = document["locations"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|location| location[list].as_array().unwrap());
    all.map(|entry| {
        (entry["method"].as_str().unwrap().to_owned(), entry["objects"].as_u64().unwrap())
    })
    .collect()
}

/// The quantities of a bill by billed item, over all storage classes.
fn bill(bill: &Value) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    for item in bill["items"].as_array().unwrap() {
        *numbers.entry(item["what"].as_str().unwrap().to_owned()).or_default() +=
            item["number"].as_u64().unwrap();
    }
    numbers
}

pub(crate) fn page(stage: &Stage, document: &Value) -> String {
    stage.write("document.json", &document.to_string());
    let mut guard = isolated_guard();
    guard.args(["report", "html", "document.json"]);
    stage.prepare(&mut guard);
    let played = stage.play(guard);
    played.expect_code(0);
    played.stdout
}

fn mixed() -> Stage {
    let stage = stage(PutBucket::default());
    put(&stage, "a", unencrypted(5, "STANDARD"));
    put(&stage, "rare", unencrypted(2 * GIB, "STANDARD_IA"));
    put(&stage, "large", unencrypted(6 * GIB, "STANDARD"));
    put(&stage, "cold", unencrypted(7, "GLACIER"));
    put(&stage, "s3", PutObject { size: Some(9), sse: Some(Sse::Aes256), ..PutObject::default() });
    put(
        &stage,
        "theirs",
        PutObject { size: Some(3), sse: Some(Sse::Customer), ..PutObject::default() },
    );
    stage
}

#[test]
fn a_dry_run_has_a_document_of_what_would_be_done_and_prints_it_alone() {
    let stage = mixed();
    let played = reencrypt(&stage, &["s3://old", "--kms-key", KEY, "--json"]);
    played.expect_code(75);
    assert_eq!(played.stderr, "");
    let document = printed(&played);
    assert_eq!(
        (document["mode"].as_str(), document["exit_code"].as_u64(), document["spent"].is_null()),
        (Some("dry-run"), Some(75), true)
    );
    let found = numbers(&document, "found");
    assert_eq!(
        found,
        [("update-object-encryption", 1), ("copy", 2), ("copy-in-parts", 1), ("leave", 1)]
            .map(|(word, number)| (word.to_owned(), number))
            .into()
    );
    assert_eq!(
        document["refusals"].as_array().unwrap().len(),
        1,
        "the bucket was not repeated: {document:#}"
    );
    assert_eq!(document["buckets"][0]["kms_key"], KEY);
    let page = page(&stage, &document);
    assert!(
        page.contains("Something is to be done") && page.contains("copy in place, in parts"),
        "{page}"
    );
}

#[test]
fn what_it_came_to_is_what_s3_was_asked() {
    let stage = mixed();
    let played = apply(&stage, &["--kms-key", KEY, "--restore", "--report", "report.json"]);
    played.expect_code(75);
    let document = &played.report;
    assert_eq!(document["mode"], "apply");
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    assert_eq!(document["who"]["user"], user.name);
    let done = numbers(document, "done");
    assert_eq!(
        done,
        [("update-object-encryption", 1), ("copy", 2), ("copy-in-parts", 1)]
            .map(|(word, number)| (word.to_owned(), number))
            .into()
    );
    assert_eq!(document["restores_started"], 1);
    let asked = |operations: &[&str]| {
        operations.iter().map(|operation| asked(&stage, operation) as u64).sum::<u64>()
    };
    let spent = bill(&document["spent"]);
    let writes = asked(&[
        "CopyObject",
        "UpdateObjectEncryption",
        "CreateMultipartUpload",
        "UploadPartCopy",
        "CompleteMultipartUpload",
    ]);
    assert_eq!(spent["writes"], writes, "{document:#}");
    assert_eq!(
        spent["reads"],
        asked(&[
            "HeadObject",
            "GetObject",
            "GetObjectTagging",
            "GetObjectAcl",
            "GetObjectRetention",
            "GetObjectLegalHold"
        ]),
        "{document:#}"
    );
    assert_eq!(spent["restores"], asked(&["RestoreObject"]));
    assert_eq!(
        spent["lists"],
        asked(&["ListObjectsV2", "ListParts", "ListMultipartUploads", "ListObjectAnnotations"])
    );
    assert_eq!(spent["bytes-read"], 2 * GIB);
    assert_eq!(spent["bytes-deleted-early"], 2 * GIB, "of 30 days in STANDARD_IA 10 are over");
    assert_eq!(document["spent"]["bytes_copied"], 8 * GIB + 5);
    // Estimate and actual cost have one form, and differ by what was unknown before: whether there
    // are tags.
    let estimate = bill(&document["estimate"]);
    assert_eq!(estimate.keys().collect::<Vec<_>>(), spent.keys().collect::<Vec<_>>());
    assert_eq!(
        (estimate["writes"], estimate["kms-calls"], estimate["bytes-read"]),
        (spent["writes"], spent["kms-calls"], spent["bytes-read"])
    );
    assert!(estimate["reads"] >= spent["reads"], "{estimate:?} {spent:?}");
    assert!(
        played.stdout.contains("actual cost: ") && played.stdout.contains("8.6 GB copied: about $"),
        "{}",
        played.stdout
    );
    let page = page(&stage, document);
    assert!(page.contains("Not everything is done") && page.contains("Came to"), "{page}");
}

#[test]
fn prices_of_the_settings_change_the_sums_and_are_named() {
    let stage = mixed();
    let usd = |words: &[&str]| {
        let document = printed(&reencrypt(
            &stage,
            &[&["s3://old", "--kms-key", KEY, "--json"], words].concat(),
        ));
        (
            document["estimate"]["usd"].as_f64().unwrap(),
            document["estimate"]["changed_prices"].clone(),
        )
    };
    let (plain, none) = usd(&[]);
    let (dear, changed) = usd(&["--prices", "write-STANDARD=1000"]);
    // 1 copy, 12 parts with 2 requests for their upload, and an update, at a dollar each.
    assert!((dear - plain - 16.0).abs() < 0.01, "{plain} {dear}");
    assert_eq!((none, changed), (json!([]), json!(["write-STANDARD"])));
    let wrong = reencrypt(&stage, &["s3://old", "--prices", "write-GOLD=1"]);
    wrong.expect_code(64);
    assert!(wrong.stderr.contains("there is no price `write-GOLD`"), "{}", wrong.stderr);
}

#[test]
fn old_versions_and_what_is_left_are_in_the_document() {
    let stage = stage(PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() });
    for text in ["one", "two"] {
        put(
            &stage,
            "a",
            PutObject { body: Some(text.to_owned()), sse: Some(Sse::None), ..PutObject::default() },
        );
    }
    let first = apply(&stage, &["--json"]);
    first.expect_code(75);
    let document = printed(&first);
    let left = document["left"].as_array().unwrap();
    let old: u64 = left
        .iter()
        .filter(|left| left["why"].as_str().unwrap().contains("--purge-old-versions"))
        .map(|left| left["objects"].as_u64().unwrap())
        .sum();
    assert_eq!(old, 2, "the one that was there, and the one that the copy left: {document:#}");
    let purge = ["--purge-old-versions", "--purge-overwritten-versions", "--json"];
    let second = apply(&stage, &purge);
    second.expect_code(0);
    let document = printed(&second);
    assert_eq!(
        (document["old_versions_removed"].as_u64(), document["complete"].as_bool()),
        (Some(2), Some(true))
    );
    assert!(page(&stage, &document).contains("Encrypted as it should be"));
}

/// A stage with a role for jobs from the printed policy, and a location for their output.
fn with_role(bucket: PutBucket, words: &[&str]) -> Stage {
    let stage = stage(bucket);
    stage.set(Set::PutBucket(PutBucket { name: "place".to_owned(), ..PutBucket::default() }));
    let printed = reencrypt(
        &stage,
        &[&["s3://old", "--role-policy", "--batch-place", "s3://place/jobs"], words].concat(),
    );
    printed.expect_code(0);
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    let (trust, policies) = (Some(printed["Trust"].clone()), vec![printed["Permissions"].clone()]);
    stage.set(Set::PutRole(PutRole {
        name: "batch".to_owned(),
        trust,
        policies,
        ..PutRole::default()
    }));
    stage
}

const BATCH: [&str; 6] = [
    "--batch",
    "--batch-role",
    "arn:aws:iam::123456789012:role/batch",
    "--batch-place",
    "s3://place/jobs",
    "--json",
];
const GENERATE: [&str; 4] =
    ["--batch", "--generate-manifest=STANDARD,STANDARD_IA", "--kms-key", KEY];

fn status(stage: &Stage, words: &[&str]) -> Played {
    reencrypt(
        stage,
        &[&["s3://old", "--bucket", "old", "--kms-key", KEY, "--batch-status", "--json"], words]
            .concat(),
    )
}

#[test]
fn jobs_are_in_the_documents_of_those_who_make_and_follow_them() {
    let stage = with_role(PutBucket::default(), &["--kms-key", KEY]);
    put(&stage, "a", unencrypted(5, "STANDARD"));
    let made = apply(&stage, &[&BATCH[..], &["--kms-key", KEY]].concat());
    made.expect_code(75);
    let document = printed(&made);
    assert_eq!(
        (
            document["mode"].as_str(),
            document["jobs"][0]["objects"].as_u64(),
            document["jobs"][0]["status"].as_str()
        ),
        (Some("batch"), Some(1), Some("New"))
    );
    assert_eq!(
        (bill(&document["estimate"])["batch-jobs"], bill(&document["estimate"])["batch-objects"]),
        (1, 1)
    );
    let waiting = status(&stage, &[]);
    waiting.expect_code(75);
    assert_eq!(printed(&waiting)["left"].as_array().unwrap().len(), 1);
    let done = status(&stage, &["--confirm"]);
    done.expect_code(0);
    let document = printed(&done);
    assert_eq!(
        (document["mode"].as_str(), document["jobs"][0]["succeeded"].as_u64()),
        (Some("batch-status"), Some(1))
    );
    assert_eq!(
        (bill(&document["spent"])["batch-jobs"], bill(&document["spent"])["writes"]),
        (1, 1)
    );
    assert!(page(&stage, &document).contains("Jobs of S3 Batch Operations"));
}

/// The objects of the bucket that are encrypted with the target's key.
fn under_the_key(stage: &Stage) -> Vec<String> {
    let wanted = Sse::Kms { key: Some(KEY.to_owned()) };
    let is = |object: &Object| object.sse == wanted;
    stage.sim.with_world(|world| {
        world.buckets["old"]
            .objects
            .iter()
            .filter(|(_, object)| is(object))
            .map(|(key, _)| key.clone())
            .collect()
    })
}

#[test]
fn s3_can_make_the_list_of_what_is_unencrypted_and_nothing_is_looked_at_beforehand() {
    let stage = with_role(PutBucket::default(), &GENERATE);
    for (key, object) in [
        ("in/a", unencrypted(5, "STANDARD")),
        ("in/rare", unencrypted(6, "STANDARD_IA")),
        ("in/cold", unencrypted(7, "GLACIER")),
        ("in/large", unencrypted(6 * GIB, "STANDARD")),
        ("in/empty", unencrypted(0, "STANDARD")),
        ("in/s3", PutObject { size: Some(9), sse: Some(Sse::Aes256), ..PutObject::default() }),
        (
            "in/theirs",
            PutObject { size: Some(9), sse: Some(Sse::Customer), ..PutObject::default() },
        ),
        ("out/a", unencrypted(5, "STANDARD")),
    ] {
        put(&stage, key, object);
    }
    let jobs_of = |words: &[&str]| {
        reencrypt(
            &stage,
            &[&["s3://old/in/", "--bucket", "old"], &GENERATE[..], &BATCH[1..], words].concat(),
        )
    };
    let dry = jobs_of(&[]);
    dry.expect_code(75);
    assert_eq!(stage.sim.with_world(|world| world.jobs.len()), 0, "a dry run makes none");
    assert!(page(&stage, &printed(&dry)).contains("Jobs would be made"));
    let made = jobs_of(&["--apply"]);
    made.expect_code(75);
    let document = printed(&made);
    assert_eq!(
        (
            document["jobs"].as_array().unwrap().len(),
            document["asked"]["generate_manifest"].as_bool()
        ),
        (3, Some(true)),
        "{document:#}"
    );
    assert_eq!((asked(&stage, "HeadObject"), asked(&stage, "ListObjectsV2")), (0, 0));
    // The same command again gives the same jobs.
    jobs_of(&["--apply"]).expect_code(75);
    assert_eq!(stage.sim.with_world(|world| world.jobs.len()), 3);
    let done = status(&stage, &["--confirm"]);
    done.expect_code(75);
    let document = printed(&done);
    let objects: Vec<u64> = document["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["succeeded"].as_u64().unwrap())
        .collect();
    assert_eq!((objects.len(), objects.iter().sum::<u64>()), (3, 3), "{document:#}");
    assert_eq!(
        under_the_key(&stage),
        ["in/a", "in/rare", "in/s3"],
        "neither what is too large, archived, empty or SSE-C, nor what lies elsewhere"
    );
    assert_eq!(object(&stage, "in/rare").storage_class, "STANDARD_IA");
    // The list that S3 generated is in the requested location, encrypted so that S3 can read it.
    let place = document["jobs"][0]["generated_manifest"]
        .as_str()
        .unwrap()
        .strip_prefix("s3://place/")
        .unwrap()
        .to_owned();
    assert!(place.starts_with("jobs/manifests/generated/"), "{place}");
    assert_eq!(
        stage.sim.with_world(|world| world.object("place", &place).unwrap().sse.clone()),
        Sse::Aes256
    );
    // Later objects make another job, although it has the same description.
    put(&stage, "in/later", unencrypted(5, "STANDARD"));
    jobs_of(&["--apply"]).expect_code(75);
    status(&stage, &["--confirm"]).expect_code(75);
    assert!(under_the_key(&stage).contains(&"in/later".to_owned()));
}

#[test]
fn a_list_of_s3s_own_is_not_asked_for_where_a_job_could_lose_something() {
    let kept = |bucket: PutBucket| {
        let stage = with_role(bucket, &GENERATE);
        put(&stage, "a", unencrypted(5, "STANDARD"));
        let played = reencrypt(
            &stage,
            &[&["s3://old", "--bucket", "old", "--apply"], &GENERATE[..], &BATCH[1..]].concat(),
        );
        played.expect_code(75);
        let jobs = stage.sim.with_world(|world| {
            world.jobs.iter().filter(|job| job.request.contains("S3PutObjectCopy")).count()
        });
        (jobs, played.stderr)
    };
    let cases = [
        (
            PutBucket { versioning: Some("Enabled".to_owned()), ..PutBucket::default() },
            "it keeps versions",
        ),
        (
            PutBucket { ownership: Some("ObjectWriter".to_owned()), ..PutBucket::default() },
            "its objects have ACLs",
        ),
        (PutBucket { website: true, ..PutBucket::default() }, "it is a website"),
    ];
    for (bucket, why) in cases {
        let (jobs, stderr) = kept(bucket);
        assert!(
            jobs == 0
                && stderr.contains(why)
                && stderr.contains("run this without --generate-manifest"),
            "{jobs} {stderr}"
        );
    }
    assert_eq!(kept(PutBucket::default()).0, 2, "elsewhere there is one for each class");
}

#[test]
fn a_role_without_the_right_to_make_lists_says_so() {
    // The policy for written manifests lacks the permissions for lists.
    let stage = with_role(PutBucket::default(), &["--kms-key", KEY]);
    put(&stage, "a", unencrypted(5, "STANDARD"));
    reencrypt(
        &stage,
        &[&["s3://old", "--bucket", "old", "--apply"], &GENERATE[..], &BATCH[1..]].concat(),
    )
    .expect_code(75);
    let failed = status(&stage, &["--confirm"]);
    failed.expect_code(75);
    assert!(
        failed.stderr.contains(
            "failed: AccessDenied: The job's role may not s3:PutInventoryConfiguration on old"
        ),
        "{}",
        failed.stderr
    );
}

//! Audits of existing objects, one by one or by an inventory: problems are named, unseen objects
//! are no pass, and an interrupted audit can be resumed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use emr_simulator::{
    Calls, Command as Set, Fault, FaultKind, ObjectName, PutBucket, PutObject, Sse,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    inventories::{self, FORMS, Form, Line},
    support::{Played, Stage, isolated_guard, wait_until},
};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

fn audit(stage: &Stage, words: &[&str]) -> Command {
    stage.write("config.yml", &stage.config);
    let mut command = isolated_guard();
    command.arg("audit").args(words);
    stage.prepare(&mut command);
    command
}

fn audited(stage: &Stage, words: &[&str]) -> Played {
    stage.play(audit(stage, words))
}

fn put(stage: &Stage, key: &str, sse: Sse) {
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-old".to_owned(),
        key: key.to_owned(),
        size: Some(100),
        sse: Some(sse),
        age_seconds: 86_400.0,
        ..PutObject::default()
    }));
}

/// An empty bucket of its own.
fn old_bucket(versioning: Option<&str>) -> Stage {
    let stage = Stage::acme();
    let versioning = versioning.map(str::to_owned);
    stage.set(Set::PutBucket(PutBucket {
        name: "acme-old".to_owned(),
        versioning,
        ..PutBucket::default()
    }));
    stage
}

/// One object of each kind.
fn one_of_each() -> Stage {
    let stage = old_bucket(None);
    put(&stage, "archive/none", Sse::None);
    put(&stage, "archive/odd key+ü%20\u{1}, \"q\"", Sse::None);
    put(&stage, "archive/s3", Sse::Aes256);
    put(&stage, "archive/kms", Sse::Kms { key: Some(KEY.to_owned()) });
    put(&stage, "archive/dsse", Sse::Dsse { key: Some(KEY.to_owned()) });
    put(&stage, "archive/customer", Sse::Customer);
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-old".to_owned(),
        key: "archive/".to_owned(),
        sse: Some(Sse::None),
        ..PutObject::default()
    }));
    stage
}

fn document(played: &Played) -> Value {
    serde_json::from_str(&played.stdout)
        .unwrap_or_else(|_| panic!("no document:\n{}\n{}", played.stdout, played.stderr))
}

/// Objects by encryption, in all locations.
fn kinds(document: &Value) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for kind in document["locations"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|location| location["kinds"].as_array().unwrap())
    {
        *kinds.entry(kind["encryption"].as_str().unwrap().to_owned()).or_default() +=
            kind["objects"].as_u64().unwrap();
    }
    kinds
}

fn dates_redacted(played: &Played) -> String {
    regex::Regex::new(r"\d{4}-\d\d-\d\d")
        .unwrap()
        .replace_all(&played.transcript(), "DATE")
        .into_owned()
}

#[test]
fn all_locations_of_a_config_are_looked_at_each_in_its_role() {
    let stage = Stage::acme();
    let played = audited(
        &stage,
        &["--report=report.json", "--", "run", "-c", "config.yml", "-r", "resolver.json"],
    );
    played.expect_code(0);
    insta::assert_snapshot!(dates_redacted(&played));
    let report = &played.report;
    assert_eq!(
        (report["command"].as_str(), report["exit_code"].as_u64(), report["complete"].as_bool()),
        (Some("audit"), Some(0), Some(true))
    );
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(report["who"], json!({"user": user.name, "host": host.trim()}));
    let mut html = isolated_guard();
    html.args(["report", "html"]).arg(stage.path("report.json"));
    let page = String::from_utf8(html.output().unwrap().stdout).unwrap();
    let who = format!("<dt>User</dt><dd><code>{}</code></dd>", user.name);
    assert!(page.contains(&who) && page.contains("no signature is beside"), "{page}");
    let roles: Vec<&str> = report["locations"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|location| location["roles"][0].as_str())
        .collect();
    assert!(
        roles.contains(&"raw.in[0]") && roles.contains(&"log") && !roles.contains(&"assets"),
        "{roles:?}: assets are Snowplow's"
    );
    assert!(
        !stage
            .sim
            .requests()
            .iter()
            .any(|request| ["PutObject", "CopyObject", "DeleteObject"]
                .contains(&request.operation()))
    );
}

#[test]
fn what_is_not_encrypted_as_required_is_named_and_counted_by_kind_and_key() {
    // The bucket is in another region than the one that is called first.
    let stage = one_of_each();
    let played = audited(&stage, &["s3://acme-old/archive", "--accept-encryption=SSE-S3,SSE-KMS"]);
    played.expect_code(77);
    insta::assert_snapshot!(dates_redacted(&played));

    let played =
        audited(&stage, &["s3://acme-old/archive", &format!("--expected-keys={KEY}"), "--json"]);
    played.expect_code(77);
    let document = document(&played);
    assert_eq!(document["totals"]["objects"], 6);
    assert_eq!(
        document["totals"]["offenders"], 4,
        "only what is under the expected key is accepted: {document:#}"
    );
    assert_eq!(document["totals"]["empty"], 1);
    assert!(
        stage
            .sim
            .requests_for("HeadObject")
            .iter()
            .any(|request| request.subject.key.as_deref()
                == Some("archive/odd key+ü%20\u{1}, \"q\"")),
        "keys go as they are"
    );
}

#[test]
fn offenders_are_listed_for_programs_for_tables_and_for_batch_operations() {
    let stage = one_of_each();
    for (file, more) in [
        ("list.jsonl", ""),
        ("list.csv", ""),
        ("list.manifest", ""),
        ("list.txt", "--offenders-format=jsonl"),
    ] {
        let words: Vec<&str> = ["s3://acme-old/archive", "--offenders", file, more]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        audited(&stage, &words).expect_code(77);
    }
    let read = |name: &str| fs::read_to_string(stage.path(name)).unwrap();
    assert_eq!(read("list.jsonl"), read("list.txt"));
    let drafts =
        fs::read_dir(stage.folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(drafts.filter(|name| name.to_string_lossy().ends_with(".part")).count(), 0);
    let keys: Vec<String> = read("list.jsonl")
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(keys, ["archive/customer", "archive/none", "archive/odd key+ü%20\u{1}, \"q\""]);
    let mut table = csv::Reader::from_path(stage.path("list.csv")).unwrap();
    let rows: Vec<(String, String)> = table
        .records()
        .map(|row| row.unwrap())
        .map(|row| (row[1].to_owned(), row[8].to_owned()))
        .collect();
    // The table escapes invisible characters.
    let shown: Vec<String> = keys.iter().map(|key| key.replace('\u{1}', r"\u{1}")).collect();
    assert_eq!(rows.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), shown);
    assert_eq!(rows[0].1, "SSE-C");
    assert_eq!(
        read("list.manifest"),
        "acme-old,archive/customer\nacme-old,archive/none\nacme-old,archive/odd%20key%2B%C3%BC%2520%01%2C%20%22q%22\n"
    );

    let played = audited(&stage, &["s3://acme-old/archive", "--offenders=list"]);
    played.expect_code(64);
    assert!(played.stderr.contains("list: which form?"), "{}", played.stderr);
}

#[test]
fn old_versions_are_looked_at_where_that_is_asked_for_and_delete_markers_hold_nothing() {
    let stage = old_bucket(Some("Enabled"));
    put(&stage, "a/1", Sse::None);
    put(&stage, "a/1", Sse::Aes256);
    put(&stage, "a/2", Sse::None);
    stage.set(Set::DeleteObject(ObjectName {
        bucket: "acme-old".to_owned(),
        key: "a/2".to_owned(),
    }));
    audited(&stage, &["s3://acme-old/"]).expect_code(0);
    let played =
        audited(&stage, &["s3://acme-old/", "--versions", "--json", "--offenders=old.manifest"]);
    played.expect_code(77);
    let document = document(&played);
    assert_eq!(
        kinds(&document),
        BTreeMap::from([("none".to_owned(), 2), ("SSE-S3".to_owned(), 1)])
    );
    assert_eq!(document["locations"][0]["delete_markers"], 1);
    let none = document["locations"][0]["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .find(|kind| kind["encryption"] == "none")
        .unwrap();
    assert_eq!(none["noncurrent"], 2);
    let list = fs::read_to_string(stage.path("old.manifest")).unwrap();
    let versions: Vec<Vec<&str>> = list.lines().map(|line| line.split(',').collect()).collect();
    assert!(
        versions.len() == 2
            && versions.iter().all(|fields| fields.len() == 3 && !fields[2].is_empty()),
        "{list}"
    );
}

#[test]
fn what_cannot_be_seen_is_counted_and_named_and_never_clean() {
    let stage = one_of_each();
    let denied = |operation: &str, matching: &str| {
        stage.set(Set::AddFault(Fault {
            matching: Some(matching.to_owned()),
            ..Fault::every(operation, FaultKind::AccessDenied)
        }));
    };
    denied("HeadObject", "acme-old/archive/s3");
    let played = audited(&stage, &["s3://acme-old/archive/s3", "s3://acme-old/archive"]);
    played.expect_code(77);
    assert!(
        played.stderr.contains(
            "; besides, 1 object could not be judged (denied: HTTP 403; allow s3:GetObject)"
        ),
        "{}",
        played.stderr
    );

    let stage = old_bucket(None);
    put(&stage, "a/1", Sse::Aes256);
    put(&stage, "a/2", Sse::Aes256);
    let denied = Fault {
        matching: Some("acme-old/a/2".to_owned()),
        ..Fault::every("HeadObject", FaultKind::AccessDenied)
    };
    stage.set(Set::AddFault(denied));
    let played = audited(&stage, &["s3://acme-old/"]);
    played.expect_code(69);
    insta::assert_snapshot!(dates_redacted(&played));

    let stage = old_bucket(None);
    stage.set(Set::AddFault(Fault::every("ListObjectsV2", FaultKind::AccessDenied)));
    let played = audited(&stage, &["s3://acme-old/"]);
    played.expect_code(69);
    let fix = "allow to the guard's credentials: s3:ListBucket";
    assert!(played.stderr.contains(fix), "{}", played.stderr);

    let played = audited(&Stage::acme(), &["s3://acme-nowhere/"]);
    played.expect_code(69);
    assert!(played.stderr.contains("there is no bucket acme-nowhere"), "{}", played.stderr);
}

#[test]
fn an_endpoint_that_nobody_allowed_proves_nothing() {
    let stage = Stage::acme().without_env("EMR_ETL_GUARD_ALLOW_ENDPOINTS");
    let played = audited(&stage, &["s3://acme-log/"]);
    played.expect_code(69);
    assert!(
        played.unbroken().contains("which is not AWS's; what it says proves nothing"),
        "{}",
        played.stderr
    );
}

#[test]
fn a_command_line_that_names_nothing_or_too_much_is_wrong() {
    let stage = Stage::acme();
    for words in [
        &[][..],
        &["acme-log"],
        &["s3://acme-log", "--", "run", "-c", "config.yml"],
        &["--inventory=x", "--resume"],
    ] {
        let played = audited(&stage, words);
        played.expect_code(64);
        let said = &played.stderr;
        let starts = ["emr-etl-guard: audit: ", "emr-etl-guard: error: "];
        assert!(starts.iter().any(|start| said.starts_with(start)), "{said}");
    }
}

#[test]
fn where_s3_asks_to_slow_down_every_object_is_seen_all_the_same() {
    let stage = old_bucket(None);
    for number in 0..200 {
        put(&stage, &format!("a/{number:04}"), Sse::Aes256);
    }
    stage.set(Set::AddFault(Fault {
        calls: Calls::Range { from: 20, to: 40 },
        ..Fault::every("HeadObject", FaultKind::Throttle)
    }));
    stage.set(Set::AddFault(Fault {
        calls: Calls::Range { from: 1, to: 2 },
        ..Fault::every("ListObjectsV2", FaultKind::Throttle)
    }));
    let played = audited(&stage, &["s3://acme-old/", "--json"]);
    played.expect_code(0);
    let document = document(&played);
    assert_eq!(document["totals"]["objects"], 200);
    assert!(document["source"]["slowed_down"].as_u64().unwrap() >= 21, "{document:#}");
}

#[test]
fn the_policy_that_is_printed_for_audits_allows_what_an_audit_asks_and_no_more() {
    let stage = old_bucket(Some("Enabled")).env("AWS_REGION", "eu-west-1");
    put(&stage, "a/1", Sse::Customer);
    put(&stage, "a/1", Sse::Aes256);
    put(&stage, "a/2", Sse::Customer);
    for words in [
        &["s3://acme-old/", "--expected-keys=alias/acme-etl"][..],
        &["s3://acme-old/", "--versions"],
    ] {
        audited(&stage, words);
    }
    let permission = |request: &emr_simulator::Recorded| match (
        request.operation(),
        request.query.contains_key("versionId"),
    ) {
        ("HeadBucket" | "ListObjectsV2", _) => "s3:ListBucket",
        ("ListObjectVersions", _) => "s3:ListBucketVersions",
        ("HeadObject" | "GetObject", true) => "s3:GetObjectVersion",
        ("HeadObject" | "GetObject", false) => "s3:GetObject",
        ("DescribeKey", _) => "kms:DescribeKey",
        (other, _) => panic!("an audit asks for {other}"),
    };
    let needed: BTreeSet<String> =
        stage.sim.requests().iter().map(|request| permission(request).to_owned()).collect();
    let mut explain = isolated_guard();
    explain.args(["explain", "--permissions", "--audit"]);
    stage.prepare(&mut explain);
    let policy: Value = serde_json::from_str(&stage.play(explain).expect_code(0).stdout).unwrap();
    let statements = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap());
    let allowed: BTreeSet<String> =
        statements.map(|action| action.as_str().unwrap().to_owned()).collect();
    assert_eq!(allowed, needed);
}

/// A bucket with folders that make more than one split, with unencrypted objects among them.
fn with_folders() -> Stage {
    let stage = old_bucket(None);
    for folder in 0..4 {
        for number in 0..400 {
            put(
                &stage,
                &format!("run={folder}/{number:04}"),
                if number % 100 == 7 { Sse::None } else { Sse::Aes256 },
            );
        }
    }
    stage
}

fn headed(stage: &Stage) -> usize {
    stage.sim.requests_for("HeadObject").len()
}

#[test]
fn a_location_without_folders_is_cut_where_its_keys_differ_and_every_object_is_seen_once() {
    let stage = old_bucket(None);
    for number in 0..1200 {
        put(&stage, &format!("log/part-{number:05}"), Sse::Aes256);
    }
    put(&stage, "log/part-0", Sse::None);
    let played = audited(&stage, &["s3://acme-old/log", "--json"]);
    played.expect_code(77);
    assert_eq!(document(&played)["totals"]["objects"], 1201);
    assert_eq!(headed(&stage), 1201);
    let starts: BTreeSet<String> = stage
        .sim
        .requests_for("ListObjectsV2")
        .iter()
        .filter(|request| !request.query.contains_key("max-keys"))
        .filter_map(|request| request.query.get("start-after").cloned())
        .collect();
    assert!(starts.contains("log/part-01"), "{starts:?}");
}

/// The state file of the only scan.
fn kept(stage: &Stage) -> Option<Value> {
    let files = fs::read_dir(stage.path("state/audits")).ok()?.filter_map(Result::ok);
    let file = files
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|it| it == "json"))?;
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn wait_for_three_folders(stage: &Stage) {
    wait_until("three of four folders are done, and that is kept", || {
        let splits = kept(stage)
            .map(|state| state["targets"][0]["splits"].as_array().cloned().unwrap_or_default())
            .unwrap_or_default();
        splits.iter().filter(|split| split["done"] == true).count() == 3
    });
}

#[test]
fn a_look_that_was_killed_goes_on_where_it_stood() {
    let stage = with_folders();
    let words = ["s3://acme-old/", "--resume", "--offenders=list.jsonl", "--report=report.json"];
    let stuck = Fault {
        matching: Some("acme-old/run=2/0200".to_owned()),
        ..Fault::every("HeadObject", FaultKind::Hang)
    };
    stage.set(Set::AddFault(stuck));
    let mut child = audit(&stage, &words).spawn().unwrap();
    wait_for_three_folders(&stage);
    let other = audited(&stage, &words);
    other.expect_code(69);
    assert!(
        other.stderr.contains("another audit of the same scope is under way"),
        "{}",
        other.stderr
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!stage.path("list.jsonl").exists(), "a part is not taken for the whole");

    stage.set(Set::ClearFaults);
    let before = headed(&stage);
    let played = audited(&stage, &words);
    played.expect_code(77);
    assert!(played.stdout.contains("going on with the audit that began at"), "{}", played.stdout);
    assert_eq!(
        headed(&stage) - before,
        400,
        "only the folder that was not done is looked at again"
    );
    assert_eq!(
        (
            played.report["totals"]["objects"].as_u64(),
            played.report["totals"]["offenders"].as_u64()
        ),
        (Some(1600), Some(16))
    );
    let list = fs::read_to_string(stage.path("list.jsonl")).unwrap();
    let mut keys: Vec<String> = list
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!((list.lines().count(), keys.len()), (16, 16), "each once");
    assert!(kept(&stage).is_none(), "what is over is not gone on with");
}

#[test]
fn a_stop_ends_it_at_once_and_keeps_what_it_has_done() {
    let stage = with_folders();
    stage.set(Set::AddFault(Fault {
        matching: Some("acme-old/run=3/0399".to_owned()),
        ..Fault::every("HeadObject", FaultKind::Hang)
    }));
    let child = audit(&stage, &["s3://acme-old/", "--resume"]).spawn().unwrap();
    wait_for_three_folders(&stage);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(143);
    assert!(
        played.stderr.contains(
            "stopped by SIGTERM; its progress is kept, and --resume continues from there"
        ),
        "{}",
        played.stderr
    );
    stage.set(Set::ClearFaults);
    let before = headed(&stage);
    audited(&stage, &["s3://acme-old/", "--resume"]).expect_code(77);
    assert_eq!(headed(&stage) - before, 400);
}

/// The same objects in every form.
fn lines() -> Vec<Line> {
    let mut lines = vec![
        Line::new("archive/none", 100, "NOT-SSE"),
        Line::new("archive/odd key+ü%20/\u{1}", 100, "NOT-SSE"),
        Line::new("archive/s3", 100, "SSE-S3"),
        Line::new("archive/kms", 100, "SSE-KMS"),
        Line::new("archive/dsse", 100, "DSSE-KMS"),
        Line::new("archive/customer", 100, "SSE-C"),
        Line::new("archive/", 0, "NOT-SSE"),
        Line::new("elsewhere/none", 100, "NOT-SSE"),
    ];
    lines.push(Line {
        version: Some("v1".to_owned()),
        latest: false,
        ..Line::new("archive/s3", 50, "NOT-SSE")
    });
    lines.push(Line {
        version: Some("v2".to_owned()),
        marker: true,
        size: None,
        encryption: None,
        ..Line::new("archive/gone", 0, "")
    });
    lines
}

/// An inventory on the stage's disk, without the column `skip`.
fn inventory(stage: &Stage, form: Form, skip: &str, lines: &[Line]) -> String {
    let folder = stage.path(form.name());
    fs::create_dir_all(folder.join("2025-11-25T01-00Z")).unwrap();
    fs::create_dir_all(folder.join("data")).unwrap();
    let (first, second) = lines.split_at(lines.len() / 2);
    let files: Vec<_> = [first, second]
        .iter()
        .enumerate()
        .map(|(number, lines)| {
            let file = folder.join("data").join(format!("part-{number}"));
            inventories::file(&file, form, "acme-old", skip, [lines.to_vec()].into_iter());
            file
        })
        .collect();
    inventories::manifest(
        &folder.join("2025-11-25T01-00Z"),
        form,
        "acme-old",
        skip,
        "inventory/data/",
        &files,
    )
    .display()
    .to_string()
}

#[test]
fn inventories_tell_the_same_in_every_form_and_no_object_is_asked() {
    let stage = Stage::acme();
    for form in FORMS {
        let manifest = inventory(&stage, form, "", &lines());
        let played = audited(
            &stage,
            &[
                "--inventory",
                &manifest,
                "s3://acme-old/archive",
                "--json",
                "--offenders=list.jsonl",
            ],
        );
        played.expect_code(77);
        let document = document(&played);
        let wanted = [("none", 3), ("SSE-S3", 1), ("SSE-KMS", 1), ("DSSE-KMS", 1), ("SSE-C", 1)];
        assert_eq!(
            kinds(&document),
            wanted.map(|(kind, objects)| (kind.to_owned(), objects)).into(),
            "{form:?}"
        );
        let location = &document["locations"][0];
        assert_eq!(
            (location["empty"].as_u64(), location["delete_markers"].as_u64()),
            (Some(1), Some(1)),
            "{form:?}"
        );
        assert_eq!(document["source"]["outside"], 1);
        assert_eq!(document["source"]["inventories"][0]["rows"], 10);
        let none = location["kinds"]
            .as_array()
            .unwrap()
            .iter()
            .find(|kind| kind["encryption"] == "none")
            .unwrap();
        assert_eq!(none["noncurrent"], 1, "{form:?}");
        assert_eq!(none["newest"], "2025-11-25T15:02:00Z", "{form:?}");
        let list = fs::read_to_string(stage.path("list.jsonl")).unwrap();
        assert!(list.contains(r#""key":"archive/odd key+ü%20/\u0001""#), "{form:?}: {list}");
        assert_eq!(list.lines().count(), 4);
    }
    assert!(stage.sim.requests().is_empty(), "all of it was on the disk");
}

#[test]
fn an_inventory_in_s3_is_brought_from_there() {
    let stage = Stage::acme();
    stage.set(Set::PutBucket(PutBucket {
        name: "acme-inventory".to_owned(),
        ..PutBucket::default()
    }));
    let manifest = inventory(&stage, Form::Parquet, "", &lines());
    let upload = |key: &str, file: &std::path::Path| {
        let bytes = Some(fs::read(file).unwrap());
        stage.set(Set::PutObject(PutObject {
            bucket: "acme-inventory".to_owned(),
            key: key.to_owned(),
            bytes,
            ..PutObject::default()
        }));
    };
    upload("inventory/2025-11-25T01-00Z/manifest.json", std::path::Path::new(&manifest));
    for number in 0..2 {
        upload(
            &format!("inventory/data/part-{number}"),
            &stage.path(&format!("Parquet/data/part-{number}")),
        );
    }
    // The first response breaks off in the middle.
    let broken = Fault {
        matching: Some("acme-inventory/inventory/data/part-1".to_owned()),
        ..Fault::nth("GetObject", 1, FaultKind::TruncatedBody)
    };
    stage.set(Set::AddFault(broken));
    let name = "s3://acme-inventory/inventory/2025-11-25T01-00Z/manifest.json";
    let played = audited(&stage, &["--inventory", name, "s3://acme-old/archive"]);
    played.expect_code(77);
    assert!(
        played.stdout.contains("read an inventory of acme-old (Parquet, 10 rows) from TIME")
            || played.stdout.contains("(Parquet, 10 rows)"),
        "{}",
        played.stdout
    );
    assert!(stage.sim.requests_for("HeadObject").is_empty());
}

#[test]
fn an_inventory_that_cannot_tell_is_refused_in_words() {
    let stage = Stage::acme();
    for form in FORMS {
        let manifest = inventory(&stage, form, "encryption_status", &lines());
        let played = audited(&stage, &["--inventory", &manifest]);
        played.expect_code(69);
        assert!(
            played.stderr.contains("the inventory has no field EncryptionStatus, only "),
            "{form:?}: {}",
            played.stderr
        );
    }
    let manifest = inventory(&stage, Form::Csv, "", &lines());
    fs::write(stage.path("CSV/data/part-1"), "changed").unwrap();
    let played = audited(&stage, &["--inventory", &manifest, "--offenders=list.jsonl"]);
    played.expect_code(69);
    assert!(played.stderr.contains("inventory/data/part-1: its MD5 is "), "{}", played.stderr);
    assert!(!stage.path("list.jsonl").exists());
    fs::write(stage.path("CSV/2025-11-25T01-00Z/manifest.json"), "{}").unwrap();
    let played = audited(&stage, &["--inventory", &manifest]);
    played.expect_code(69);
    assert!(
        played.stderr.contains("its MD5 is "),
        "the manifest has a checksum too: {}",
        played.stderr
    );
}

#[test]
fn what_an_inventory_does_not_say_is_not_clean() {
    let stage = Stage::acme();
    let accepted = || vec![Line::new("a", 1, "SSE-S3"), Line::new("b", 1, "SSE-KMS")];
    let manifest = inventory(&stage, Form::Csv, "", &accepted());
    audited(&stage, &["--inventory", &manifest]).expect_code(0);
    let played = audited(
        &stage,
        &[
            "--inventory",
            &manifest,
            "--accept-encryption=SSE-KMS",
            &format!("--expected-keys={KEY}"),
            "s3://acme-old/b",
        ],
    );
    played.expect_code(0);
    let played = audited(&stage, &["--inventory", &manifest, &format!("--expected-keys={KEY}")]);
    played.expect_code(77);
    assert!(
        played.stderr.contains("an inventory has no KMS keys, and the policy expects one"),
        "{}",
        played.stderr
    );

    let played = audited(&stage, &["--inventory", &manifest, "s3://acme-old", "s3://acme-log"]);
    played.expect_code(69);
    assert!(
        played.stderr.contains("no inventory of the bucket acme-log was given (--inventory)"),
        "{}",
        played.stderr
    );

    let untold =
        vec![Line { encryption: None, ..Line::new("a", 1, "") }, Line::new("b", 1, "SSE-S3")];
    let played = audited(&stage, &["--inventory", &inventory(&stage, Form::Orc, "", &untold)]);
    played.expect_code(69);
    assert!(
        played.stderr.contains("the inventory does not say how it is encrypted"),
        "{}",
        played.stderr
    );
}

//! What `report` makes of a sentinel's reports: pages, other forms, and the list of a quarter.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use serde_json::{Value, json};

use crate::{
    attach::start,
    sentinel::{once, settings, stage, without_configuration},
    support::{hermetic_command, isolated_guard},
};

const FIRST: &str = include_str!("../recordings/documents/sentinel-1-v1.json");
const SECOND: &str = include_str!("../recordings/documents/sentinel-2-v1.json");
/// Names as the guard gives them to reports.
const NAMES: [&str; 2] = [
    "emr-etl-guard-20261130T000000Z-01936d2a-0000-7000-8000-000000000001.json",
    "emr-etl-guard-20261130T060000Z-01936d2a-0000-7000-8000-000000000002.json",
];

/// A folder with both reports, as a sentinel leaves them.
fn both() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in NAMES.into_iter().zip([FIRST, SECOND]) {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::write(folder.path().join("notes.json"), "{}").unwrap();
    folder
}

fn report(folder: &Path, words: &[&str]) -> Output {
    let mut guard = isolated_guard();
    guard.arg("report").args(words).current_dir(folder).env_clear().output().unwrap()
}

#[track_caller]
fn made(folder: &Path, words: &[&str]) -> String {
    let output = report(folder, words);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*told), (Some(0), ""), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn openssl(folder: &Path, words: &[&str]) {
    let output = hermetic_command("openssl").args(words).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A key to sign with, and the public one.
fn keys(folder: &Path) {
    openssl(folder, &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    openssl(folder, &["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// The reports in a folder, in their order.
fn reports_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().unwrap())
        .filter(|name| {
            name.starts_with("emr-etl-guard-")
                && Path::new(name).extension() == Some("json".as_ref())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_sentinel_leaves_signed_reports_of_one_chain_of_which_pages_and_lists_are_made() {
    let stage = stage("");
    let rule = "  on_unsafe: terminate\n";
    let folder = stage.folder.path();
    keys(folder);
    fs::create_dir(folder.join("evidence")).unwrap();
    settings(&stage, rule, "sign_key: key.pem\nevidence: [evidence]\n");
    start(&stage, "j-GOOD", |_| {});
    start(&stage, "j-BAD", without_configuration);
    once(&stage).expect_code(76);
    once(&stage).expect_code(0);
    let names = reports_in(&folder.join("evidence"));
    assert_eq!(names, reports_in(&folder.join("state/sentinel/reports")));
    // One at the termination's conclusion, and one at the end of each.
    assert!(names.len() >= 2, "{names:?}");
    let files: Vec<String> = names.iter().map(|name| format!("evidence/{name}")).collect();
    let mut words = vec!["verify", "--key", "public.pem"];
    words.extend(files.iter().map(String::as_str));
    let told = made(folder, &words);
    let of_chain = format!("numbers 1 to {}", names.len());
    assert!(told.contains(&of_chain), "{told}");

    let page = made(folder, &["html", "evidence"]);
    assert!(page.contains("j-BAD") && page.contains("j-GOOD") && page.contains("terminated"));
    let last = format!("evidence/{}", names.last().unwrap());
    let value: Value = serde_json::from_slice(&fs::read(folder.join(&last)).unwrap()).unwrap();
    let schema: Value = serde_json::from_str(&made(folder, &["schema", "sentinel"])).unwrap();
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());

    let year = value["ended"].as_str().unwrap()[..4].to_owned();
    let month: u8 = value["ended"].as_str().unwrap()[5..7].parse().unwrap();
    let quarter = format!("{year}Q{}", (month - 1) / 3 + 1);
    let words = ["quarter", &quarter, "--format=json", "--key=public.pem", "evidence"];
    let quarterly: Value = serde_json::from_str(&made(folder, &words)).unwrap();
    assert!(quarterly["signed_by"].is_string(), "{quarterly}");
    let bad =
        quarterly["clusters"].as_array().unwrap().iter().find(|one| one["id"] == "j-BAD").unwrap();
    assert_eq!((&bad["verdict"], &bad["was_unsafe"]), (&json!("unsafe"), &json!(true)));
    let acts: Vec<&str> =
        bad["acts"].as_array().unwrap().iter().map(|act| act["what"].as_str().unwrap()).collect();
    assert_eq!(acts, ["told-unsafe", "terminated", "end-confirmed"]);

    // A report that was changed after it was signed makes no list.
    let text = fs::read_to_string(folder.join(&last)).unwrap();
    fs::write(folder.join(&last), text.replacen("j-GOOD", "j-GONE", 1)).unwrap();
    let (code, told) = refused(folder, &words);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("does NOT hold: it has been changed"), "{told}");
}

/// The exit code, and standard error.
fn refused(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = report(folder, words);
    assert!(output.stdout.is_empty(), "{words:?} wrote something");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_reports_of_a_folder_make_one_page_over_their_whole_time() {
    let folder = both();
    let page = made(folder.path(), &["html", "."]);
    for part in [
        "Act now",
        "j-1KX2ENDED",
        "j-7ALIVE",
        "j-8UNJUDGED",
        "2 documents",
        "listed afterwards",
        "arn:aws:sts::123456789012:assumed-role/Analyst",
        "aws emr terminate-clusters --region eu-west-1 --cluster-ids j-7ALIVE",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page, made(folder.path(), &["html", NAMES[1], NAMES[0], NAMES[1]]), "in any order");
    let one = made(folder.path(), &["html", NAMES[0]]);
    assert!(one.contains("Unsafe clusters ended") && !one.contains("j-7ALIVE"));
}

#[test]
fn a_report_of_a_sentinel_has_the_forms_of_the_others_but_that_of_security_hub() {
    let folder = both();
    let markdown = made(folder.path(), &["markdown", NAMES[1]]);
    assert!(markdown.contains("j-7ALIVE"), "{markdown}");
    let junit = made(folder.path(), &["junit", NAMES[1]]);
    assert!(junit.contains("cluster-security-configuration") && junit.contains("place-seen"));
    let sarif: Value = serde_json::from_str(&made(folder.path(), &["sarif", NAMES[1]])).unwrap();
    assert_ne!(sarif["runs"][0]["results"].as_array().unwrap().len(), 0);
    let ocsf = made(folder.path(), &["ocsf", NAMES[1]]);
    assert!(
        ocsf.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && !ocsf.is_empty()
    );
    let (code, told) = refused(folder.path(), &["asff", NAMES[1]]);
    assert_eq!(code, Some(65), "{told}");
    assert!(told.contains("the report of a sentinel"), "{told}");
}

#[test]
fn the_list_of_a_quarter_has_each_cluster_once_and_says_what_was_not_seen() {
    let folder = both();
    insta::assert_snapshot!("csv", made(folder.path(), &["quarter", "2026Q4", "."]));
    let quarterly: Value = serde_json::from_str(&made(
        folder.path(),
        &["quarter", "2026Q4", "--format=json", NAMES[0], NAMES[1]],
    ))
    .unwrap();
    assert_eq!(quarterly["complete"], false);
    assert_eq!(quarterly["signed_by"], Value::Null);
    let ids: Vec<&str> = quarterly["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| cluster["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["j-1KX2ENDED", "j-4GUARDED", "j-7ALIVE", "j-8UNJUDGED"]);
    let whys: Vec<&str> = quarterly["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| gap["why"].as_str().unwrap())
        .collect();
    assert_eq!(
        whys,
        [
            "the first of the reports begins later",
            "ListClusters: access denied",
            "the last of the reports ends earlier",
        ]
    );
}

#[test]
fn no_list_is_made_of_reports_that_were_changed_or_of_which_one_is_missing() {
    let folder = both();
    let path = folder.path().join(NAMES[0]);
    fs::write(&path, FIRST.replace("Boto3", "Botox")).unwrap();
    let (code, told) = refused(folder.path(), &["quarter", "2026Q4", "."]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.starts_with(
            "emr-etl-guard: no list of 2026Q4 was made: the reports are not one whole chain\n"
        ) && told.contains("a document was put in another's place")
            && told.contains("fix: give every report of the sentinel"),
        "{told}"
    );
    let third: Value = serde_json::from_str(SECOND).unwrap();
    let mut third = third;
    third["chain"]["sequence"] = 3.into();
    third["chain"]["previous"]["sequence"] = 2.into();
    fs::write(folder.path().join(NAMES[1]), third.to_string()).unwrap();
    fs::write(&path, FIRST).unwrap();
    let (code, told) = refused(folder.path(), &["quarter", "2026Q4", "."]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("number 2") && told.contains("is missing between"), "{told}");
}

#[test]
fn a_signature_that_is_not_there_or_a_file_of_another_kind_is_refused() {
    let folder = both();
    keys(folder.path());
    let (code, told) = refused(folder.path(), &["quarter", "2026Q4", "--key=public.pem", "."]);
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains(".json.dsse cannot be read"), "{told}");
    let setup = include_str!("../recordings/documents/setup-apply-v1.json");
    fs::write(folder.path().join("setup.json"), setup).unwrap();
    let (code, told) = refused(folder.path(), &["quarter", "2026Q4", "setup.json"]);
    assert_eq!(code, Some(65), "{told}");
    let (code, told) = refused(folder.path(), &["html", NAMES[0], "setup.json"]);
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("only reports of one sentinel make one page"), "{told}");
    let (code, told) = refused(folder.path(), &["quarter", "2026Q5", "."]);
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("expected a year and a quarter"), "{told}");
}

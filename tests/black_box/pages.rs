//! The output of `report` for reports that the guard really writes: pages, summaries, findings for
//! other tools.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use emr_simulator::{
    Command as Set, Fault, FaultKind, Hook, NextCluster, PutObject, PutSecurityConfiguration, Sse,
};
use serde_json::{Value, json};

use crate::support::{Stage, isolated_guard};

/// Runs `report` with these arguments in the stage's folder, with an empty environment.
fn report(stage: &Stage, words: &[&str]) -> Output {
    isolated_guard()
        .arg("report")
        .args(words)
        .current_dir(stage.folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn made(stage: &Stage, words: &[&str]) -> String {
    let output = report(stage, words);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All text between tags, as a reader sees it.
fn text_of(page: &str) -> String {
    let body = &page[page.find("<body>").unwrap()..];
    let text = regex::Regex::new("<[^>]*>").unwrap().replace_all(body, " ").into_owned();
    let text = text
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_of_a_good_run_says_what_was_confirmed_and_on_what() {
    let stage = Stage::acme();
    let played = stage.run();
    played.expect_code(0);
    let page = made(&stage, &["html", "report.json"]);
    let text = text_of(&page);
    let objects: u64 = played.report["written"]
        .as_array()
        .unwrap()
        .iter()
        .map(|written| written["survey"]["looked_at"].as_u64().unwrap())
        .sum();
    let sentence = format!(
        "Encryption confirmed The run did its work, and everything that is required has passed: \
         before the launch, on 1 cluster, and on {objects} objects that it wrote. Exit code 0 ."
    );
    assert!(text.contains(&sentence), "{text}");
    let steps = played.report["watched"]["clusters"][0]["steps"]["found"].as_array().unwrap().len();
    assert!(
        text.contains(&played.clusters()[0])
            && text.contains(&format!("{steps} of {steps} steps completed")),
        "{text}"
    );
    let digest = played.report["inputs"]["config_sha256"].as_str().unwrap();
    assert!(page.replace("</span><wbr><span>", "").contains(digest), "the config's digest");
    assert_eq!(page, made(&stage, &["html", "report.json"]), "the same page for the same document");
    assert!(!page.contains(crate::support::SECRET) && !page.contains("GUARDSECRET"));
}

#[test]
fn the_pages_of_runs_that_went_wrong_say_what_went_wrong_and_what_to_do() {
    let refused =
        Stage::acme().replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:");
    refused.set(Set::AddFault(Fault::every("GetRole", FaultKind::AccessDenied)));
    refused.run().expect_code(77);
    let text = text_of(&made(&refused, &["html", "report.json"]));
    assert!(
        text.contains(
            "Refused Nothing was launched, because encryption is not as required: 1 \
            required check failed. Exit code 77 ."
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "failed subnet-set aws.emr.ec2_subnet_id Seen blank Expected a subnet \
        Fix set aws.emr.ec2_subnet_id"
        ),
        "{text}"
    );
    assert!(text.contains("Fix allow iam:GetRole to the guard's credentials"), "{text}");

    let swapped = Stage::acme();
    let content = json!({"EncryptionConfiguration": {
        "EnableAtRestEncryption": false, "EnableInTransitEncryption": false
    }});
    let put =
        PutSecurityConfiguration { name: "acme-sc".to_owned(), content, ..Default::default() };
    swapped.set(Set::AddHook(Hook::after_first(
        "DescribeSecurityConfiguration",
        vec![Set::PutSecurityConfiguration(put)],
    )));
    swapped.run().expect_code(76);
    let text = text_of(&made(&swapped, &["html", "report.json"]));
    assert!(text.contains("Unsafe cluster ended"), "{text}");
    assert!(
        text.contains(
            "EMR cluster Traffic between nodes failed the cluster: acme-sc with \
        other content than at pre-flight"
        ),
        "{text}"
    );

    let unencrypted = Stage::acme();
    unencrypted
        .set(Set::SetNextCluster(NextCluster { objects: Some(Sse::None), ..Default::default() }));
    unencrypted.run().expect_code(75);
    let text = text_of(&made(&unencrypted, &["html", "report.json"]));
    assert!(
        text.contains("Raw archive raw.archive failed 2 objects (12 bytes) unencrypted"),
        "{text}"
    );
    assert!(text.contains("raw.archive unencrypted 2 12 100 %"), "{text}");
}

#[test]
fn a_document_may_come_through_a_pipe_and_what_is_made_of_it_may_go_to_a_file() {
    let stage = Stage::acme().option("--json");
    let played = stage.check();
    played.expect_code(0);
    let mut child = isolated_guard()
        .args(["report", "html", "-", "--out", "page.html"])
        .current_dir(stage.folder.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(played.stdout.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    let page = std::fs::read_to_string(stage.path("page.html")).unwrap();
    // A report from a pipe cannot have a signature beside it.
    let page = page.replace(
        "not known: the report came from standard input",
        "not signed: no signature is beside the report",
    );
    assert_eq!(page, made(&stage, &["html", "report.json"]));
    let files = std::fs::read_dir(stage.folder.path()).unwrap().flatten();
    let is_draft = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().ends_with(".part");
    assert_eq!(files.filter(is_draft).count(), 0);
}

#[test]
fn what_cannot_be_read_or_written_is_said_in_a_line_with_a_code_of_its_own() {
    let stage = Stage::acme();
    stage.write("text.json", "no JSON");
    stage.write("newer.json", r#"{"version": 99}"#);
    stage.write("other.json", r#"{"version": 1, "name": "some package"}"#);
    let said = |words: &[&str]| {
        let output = report(&stage, words);
        assert!(output.stdout.is_empty(), "{words:?}");
        format!(
            "{}: {}",
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let lines = [
        said(&["html", "nowhere.json"]),
        said(&["html", "text.json"]),
        said(&["sarif", "newer.json"]),
        said(&["asff", "other.json"]),
        said(&["junit", "-"]),
    ];
    insta::assert_snapshot!(lines.concat());
    let stage = Stage::acme();
    stage.check().expect_code(0);
    let output = report(&stage, &["html", "report.json", "--out", "/nowhere/page.html"]);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "emr-etl-guard: /nowhere/page.html: cannot be written: No such file or directory (os \
         error 2)\n"
    );
}

#[test]
fn the_summaries_of_check_are_those_of_its_document() {
    let stage = Stage::acme().option("--junit=junit.xml").option("--markdown=summary.md");
    let stage = stage.replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:");
    stage.check().expect_code(77);
    for (form, file) in [("junit", "junit.xml"), ("markdown", "summary.md")] {
        assert_eq!(
            made(&stage, &[form, "report.json"]),
            std::fs::read_to_string(stage.path(file)).unwrap(),
            "{form}"
        );
    }
}

#[test]
fn code_scanning_and_security_hub_get_the_findings_of_clusters_too() {
    let stage = Stage::acme();
    let content = json!({"EncryptionConfiguration": {
        "EnableAtRestEncryption": false, "EnableInTransitEncryption": false
    }});
    let put =
        PutSecurityConfiguration { name: "acme-sc".to_owned(), content, ..Default::default() };
    stage.set(Set::AddHook(Hook::after_first(
        "DescribeSecurityConfiguration",
        vec![Set::PutSecurityConfiguration(put)],
    )));
    let played = stage.run();
    played.expect_code(76);
    let cluster = &played.clusters()[0];
    let sarif: Value = serde_json::from_str(&made(&stage, &["sarif", "report.json"])).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let of_cluster =
        results.iter().find(|result| result["ruleId"] == "cluster-security-configuration").unwrap();
    assert_eq!(of_cluster["locations"][0]["logicalLocations"][0]["name"], *cluster);
    assert_eq!(of_cluster["level"], "error");
    // A finding about the config has the config's position.
    let of_config = results.iter().find(|result| result["ruleId"] == "instance-types").unwrap();
    let line =
        stage.config.lines().position(|line| line.contains("master_instance_type")).unwrap() + 1;
    assert_eq!(of_config["locations"][0]["physicalLocation"]["region"]["startLine"], line);
    assert_eq!(
        of_config["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        "config.yml"
    );

    let asff = made(&stage, &["asff", "report.json"]);
    let first: Value = serde_json::from_str(asff.lines().next().unwrap()).unwrap();
    let worst = &first["Findings"][0];
    assert_eq!(worst["Severity"]["Label"], "HIGH");
    assert_eq!(
        worst["ProductArn"],
        "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default"
    );
    let arns: Vec<&Value> = first["Findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| &finding["Resources"][0]["Id"])
        .collect();
    assert!(arns.contains(&&json!(format!(
        "arn:aws:elasticmapreduce:eu-west-1:123456789012:cluster/{cluster}"
    ))));
    assert!(asff.lines().all(|line| {
        serde_json::from_str::<Value>(line).unwrap()["Findings"].as_array().unwrap().len() <= 100
    }));
}

#[test]
fn of_an_audit_and_of_a_reencrypt_there_is_every_form_but_those_for_findings_services() {
    let stage = Stage::acme();
    let words = ["s3://acme-log", "--report=report.json", "--expected-keys=alias/acme-etl"];
    for (command, code, title, who) in [
        ("audit", 77, "Not encrypted as required", "an audit"),
        ("reencrypt", 75, "Something is to be done", "a reencrypt"),
    ] {
        stage.set(Set::PutObject(PutObject {
            bucket: "acme-log".to_owned(),
            key: "a".to_owned(),
            body: Some("x".to_owned()),
            ..PutObject::default()
        }));
        let mut guard = isolated_guard();
        guard.arg(command).args(words);
        stage.prepare(&mut guard);
        guard.env("AWS_REGION", "eu-west-1");
        stage.play(guard).expect_code(code);
        let page = made(&stage, &["html", "report.json"]);
        assert!(text_of(&page).contains(title) && page.contains("s3://acme-log/"), "{page}");
        let markdown = made(&stage, &["markdown", "report.json"]);
        assert!(markdown.contains("- **Verdict**: ") && markdown.contains(title));
        assert!(markdown.contains("emr-etl-guard reencrypt s3://acme-log/"), "{markdown}");
        let junit = made(&stage, &["junit", "report.json"]);
        assert!(junit.contains(r#"failures="1" errors="0""#), "{junit}");
        assert!(junit.contains("s3://acme-log/"), "{junit}");
        let sarif: Value = serde_json::from_str(&made(&stage, &["sarif", "report.json"])).unwrap();
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "objects-encrypted");
        assert_eq!(result["locations"][0]["logicalLocations"][0]["name"], "s3://acme-log/");
        let ocsf = made(&stage, &["ocsf", "report.json"]);
        let event: Value = serde_json::from_str(ocsf.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&event["class_uid"], &event["compliance"]["status"]),
            (&json!(2003), &json!("Fail"))
        );
        let output = report(&stage, &["asff", "report.json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        let wanted = format!(
            "emr-etl-guard: report.json: the report of {who}; this form is made of the report of a \
             run, check or watch alone;\n  fix: emr-etl-guard report markdown report.json\n"
        );
        assert_eq!((output.status.code(), output.stdout.len(), said), (Some(65), 0, wanted));
        std::fs::write(
            stage.path("public.pem"),
            "-----BEGIN PUBLIC \
             KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END \
             PUBLIC KEY-----\n",
        )
        .unwrap();
        let output = report(&stage, &["verify", "--key", "public.pem", "report.json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(65));
        assert!(
            said.contains(&format!("is the document of {who}, and those are not signed")),
            "{said}"
        );
    }
}

#[test]
fn the_schemas_of_all_documents_are_printed() {
    let stage = Stage::acme();
    for (words, title) in [
        (vec!["schema"], "The document of one run of emr-etl-guard"),
        (vec!["schema", "audit"], "The document of one audit by emr-etl-guard"),
        (vec!["schema", "reencrypt"], "The document of one reencrypt by emr-etl-guard"),
    ] {
        let schema: Value = serde_json::from_str(&made(&stage, &words)).unwrap();
        assert_eq!(schema["title"], title);
    }
    assert_eq!(report(&stage, &["schema", "alert"]).status.code(), Some(64));
}

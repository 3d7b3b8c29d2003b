//! The findings as SARIF 2.1.0, for code scanning: a rule for each check, a result for each finding
//! that is open or excepted.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::{
    base::{json::pretty, names::ClusterId},
    checks::{
        catalogue::{self, CATALOGUE},
        finding::{self, Check},
        fix,
    },
    report::{
        document::{CallToAct, RecordedFinding, RecordedLevel, RecordedStatus},
        summary::{
            CHANGE_ALLOWED, CLUSTER_AS_REQUIRED, OBJECTS_ENCRYPTED, OBJECTS_SEEN, PIECE_IN_PLACE,
            PIECE_TAKEN_BACK, PLACE_SEEN, ReportSummary,
        },
    },
};

/// The whole output.
///
/// # Errors
/// When the JSON cannot be written, which is a bug.
pub(crate) fn sarif(summary: &ReportSummary<'_>) -> anyhow::Result<String> {
    let calls: Vec<RecordedFinding> = summary.calls.iter().map(CallToAct::finding).collect();
    let rules = rules(summary, &calls);
    let results: Vec<Value> = calls
        .iter()
        .chain(&summary.findings)
        .filter(|finding| is_reported(finding))
        .map(|finding| result(summary, finding, &rules))
        .collect();
    let conclusion = &summary.conclusion;
    let started = summary.started.format(&Rfc3339)?;
    let run_id = summary.run.unwrap_or(&started);
    let mut run = json!({
        "tool": {"driver": {
            "name": "emr-etl-guard",
            "version": summary.guard,
            "semanticVersion": summary.guard,
            "rules": rules.iter().map(|name| rule(name)).collect::<Vec<_>>(),
        }},
        "automationDetails": {"id": format!("emr-etl-guard/{}/{run_id}", summary.command)},
        "invocations": [{
            // The guard worked, whatever it found; only a bug in it is a failure of the tool.
            "executionSuccessful": !summary.is_bug,
            "exitCode": summary.exit_code,
            "exitCodeDescription": conclusion.title,
            "startTimeUtc": started,
            "endTimeUtc": summary.ended.format(&Rfc3339)?,
        }],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"conclusion": format!("{}: {}", conclusion.title, conclusion.sentence)},
    });
    if let Some((config, sha256)) = summary.config {
        run["artifacts"] =
            json!([{"location": {"uri": uri(config)}, "hashes": {"sha-256": sha256}}]);
    }
    // A run's id is a UUID of version 7, which is newer than SARIF's pattern for a `guid`.
    if let Some(guid) = summary.run.filter(|run| is_guid(run)) {
        run["automationDetails"]["guid"] = guid.into();
    }
    let log = json!({"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "version": "2.1.0", "runs": [run]});
    Ok(format!("{}\n", pretty(&log)?))
}

/// Whether it is a UUID of a version that SARIF 2.1.0 knows.
fn is_guid(run: &str) -> bool {
    run.len() == 36 && matches!(run.as_bytes()[14], b'1'..=b'5')
}

/// Open and excepted findings are results; excepted ones are marked as suppressed. A finding that
/// only waits for another is no result.
fn is_reported(finding: &RecordedFinding) -> bool {
    (finding.is_open() && finding.waits_for.is_none()) || finding.status == RecordedStatus::Excepted
}

/// The names of the rules: the catalogue's, and those of the report that it does not contain.
fn rules(summary: &ReportSummary<'_>, calls: &[RecordedFinding]) -> Vec<String> {
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|check| check.name).collect();
    let others: BTreeSet<&str> = calls
        .iter()
        .chain(&summary.findings)
        .filter(|finding| is_reported(finding))
        .map(|finding| finding.check.as_str())
        .filter(|name| !known.contains(name))
        .collect();
    CATALOGUE.iter().map(|check| check.name).chain(others).map(str::to_owned).collect()
}

fn rule(name: &str) -> Value {
    let Some(check) = catalogue::find(name) else { return other_rule(name) };
    let fix = fix(check);
    json!({
        "id": name,
        "name": pascal(name),
        "shortDescription": {"text": first_sentence(check.why)},
        "fullDescription": {"text": check.why},
        "help": {
            "text": format!("Why: {}\nLooks at: {}\nTo fix: {fix}\nSource: \
             {}", check.why, check.looks_at, check.source),
            "markdown": format!("**Why** {}\n\n**Looks at** {}\n\n**Fix** {fix}\n\n**Source** \
             {}", check.why, check.looks_at, check.source),
        },
        "defaultConfiguration": {"level": match check.level {
            finding::Level::Required => "error",
            finding::Level::Advisory => "warning",
        }},
        "properties": {"tags": ["security", "encryption"], "stage": check.stage},
    })
}

/// A rule that is not a check of the catalogue.
fn other_rule(name: &str) -> Value {
    let text = match name {
        OBJECTS_ENCRYPTED => "Objects in S3 are encrypted as the policy requires.",
        OBJECTS_SEEN => "Every object of a location could be looked at.",
        CHANGE_ALLOWED => "Nothing prevents a change of objects.",
        PIECE_IN_PLACE => "What a guarded run needs in AWS is there, with the required settings.",
        CLUSTER_AS_REQUIRED => "A cluster of the account is as its rule requires.",
        PLACE_SEEN => "It was known at all times which clusters there were.",
        PIECE_TAKEN_BACK => "What a setup had made was taken back, or stays for a reason.",
        _ => return json!({"id": name}),
    };
    json!({"id": name, "name": pascal(name), "shortDescription": {"text": text}})
}

fn fix(check: &Check) -> String {
    fix::example(check.fix)
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

/// `bucket-exists` as `BucketExists`.
fn pascal(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        })
        .collect()
}

/// The same for the same check and subject in every run; a cluster's id differs in each run, so one
/// value represents any cluster.
fn stable_fingerprint(finding: &RecordedFinding) -> String {
    let subject =
        if finding.subject.parse::<ClusterId>().is_ok() { "cluster" } else { &finding.subject };
    finding.fingerprint(subject)
}

fn result(summary: &ReportSummary<'_>, finding: &RecordedFinding, rules: &[String]) -> Value {
    let fix = finding.fix.as_ref().map_or_else(String::new, |fix| format!(" To do: {fix}"));
    let word = match finding.status {
        RecordedStatus::Unknown => "unknown",
        _ => "failed",
    };
    let level = match (finding.level, finding.status) {
        (RecordedLevel::Required, _) => "error",
        (RecordedLevel::Advisory, RecordedStatus::Unknown) => "note",
        (RecordedLevel::Advisory, _) => "warning",
    };
    let suppressions = match &finding.excepted {
        Some(why) if finding.status == RecordedStatus::Excepted => {
            json!([{"kind": "external", "status": "accepted", "justification": why}])
        }
        _ => json!([]),
    };
    json!({
        "ruleId": finding.check,
        "ruleIndex": rules.iter().position(|name| *name == finding.check),
        // A required unknown result is an error too, because it refuses the launch. SARIF's kind
        // `open` has no level, and few tools show it.
        "kind": "fail",
        "level": level,
        "message": {"text": format!("{}: seen {}, expected \
         {}.{fix}", finding.subject, finding.saw, finding.wanted)},
        "locations": [location(summary, finding)],
        "fingerprints": {"checkAndSubject/v1": finding.fingerprint(&finding.subject)},
        "partialFingerprints": {"checkAndKindOfSubject/v1": stable_fingerprint(finding)},
        "suppressions": suppressions,
        "properties": {"status": word, "required": finding.level == RecordedLevel::Required},
    })
}

/// A position in a file, in the guard's format: `config.yml:16:18`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct FilePosition<'a> {
    file: &'a str,
    line: u32,
    column: Option<u32>,
}

impl<'a> FilePosition<'a> {
    /// Without a line, the whole file is meant, which code scanning shows at its first line.
    fn parse(at: &'a str) -> Self {
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        let parts = || {
            let (rest, column) = at.rsplit_once(':')?;
            let (file, line) = rest.rsplit_once(':')?;
            Some(Self { file, line: number(line)?, column: Some(number(column)?) })
        };
        parts().unwrap_or(Self { file: at, line: 1, column: None })
    }
}

/// The location of a finding: in the runner config, or in its own file, and the resource it
/// concerns.
fn location(summary: &ReportSummary<'_>, finding: &RecordedFinding) -> Value {
    let resource = json!([{"name": finding.subject, "kind": "resource"}]);
    let at = finding.at.as_deref().or_else(|| summary.config.map(|(config, _)| config));
    let Some(place) = at.map(FilePosition::parse) else {
        return json!({"logicalLocations": resource});
    };
    let mut region = json!({"startLine": place.line});
    if let Some(column) = place.column {
        region["startColumn"] = column.into();
    }
    json!({
        "physicalLocation": {"artifactLocation": {"uri": uri(place.file)}, "region": region},
        "logicalLocations": resource
    })
}

/// A file's name as a valid URI reference, whatever characters it contains.
fn uri(file: &str) -> String {
    let mut uri = if file.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            // Including the colon: before the first slash, the part before it would be read as a
            // scheme.
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        document::{
            RunReport,
            tests::{RECORDED, recorded},
        },
        summary::tests::other,
    };

    fn made(report: &RunReport) -> Value {
        serde_json::from_str(&sarif(&ReportSummary::of_run(report)).unwrap()).unwrap()
    }

    #[test]
    fn a_place_is_a_file_a_line_and_a_column_or_the_file_as_a_whole() {
        assert_eq!(
            FilePosition::parse("config.yml:16:18"),
            FilePosition { file: "config.yml", line: 16, column: Some(18) }
        );
        assert_eq!(
            FilePosition::parse("a:b/config.yml:1:2"),
            FilePosition { file: "a:b/config.yml", line: 1, column: Some(2) }
        );
        assert_eq!(
            FilePosition::parse("targets/elastic.json"),
            FilePosition { file: "targets/elastic.json", line: 1, column: None }
        );
        assert_eq!(
            FilePosition::parse("config.yml:0:0"),
            FilePosition { file: "config.yml:0:0", line: 1, column: None }
        );
    }

    #[test]
    fn any_file_name_makes_a_valid_reference() {
        assert_eq!(uri("etc/config.yml"), "etc/config.yml");
        assert_eq!(uri("/etc/snowplow/config.yml"), "file:///etc/snowplow/config.yml");
        assert_eq!(uri("c:a b/ä\"<.yml"), "c%3Aa%20b/%C3%A4%22%3C.yml");
    }

    #[test]
    fn a_rule_s_name_is_its_id_in_one_word() {
        assert_eq!(pascal("bucket-tls-only"), "BucketTlsOnly");
        assert_eq!(first_sentence("One. Two."), "One.");
        assert_eq!(first_sentence("One, by 1.2"), "One, by 1.2");
    }

    /// The subset of SARIF 2.1.0 (OASIS) that is used here, with no additional members allowed.
    fn subset() -> Value {
        let text = json!({"type": "string", "minLength": 1});
        let object = |required: &[&str], properties: Value| {
            json!({
                "type": "object", "additionalProperties": false, "required": required,
                "properties": properties
            })
        };
        let list = |items: Value| json!({"type": "array", "items": items});
        let message = object(&["text"], json!({"text": text, "markdown": text}));
        let bag = json!({"type": "object"});
        let uri = json!({"type": "string", "pattern": "^[A-Za-z0-9%/:._~-]+$"});
        let time = json!({"type": "string", "pattern": "^[0-9-]{10}T[0-9:.]{8,}Z$"});
        let rule = object(
            &["id"],
            json!({"id": text, "name": text, "shortDescription": message, "fullDescription": message, "help": message, "properties": bag,
            "defaultConfiguration": object(&["level"], json!({"level": {"enum": ["none", "note", "warning", "error"]}}))}),
        );
        let place = object(
            &["artifactLocation"],
            json!({"artifactLocation": object(&["uri"], json!({"uri": uri})),
            "region": object(&["startLine"], json!({
                "startLine": {"type": "integer", "minimum": 1},
                "startColumn": {"type": "integer", "minimum": 1}
            }))}),
        );
        let location = object(
            &[],
            json!({
                "physicalLocation": place,
                "logicalLocations": list(object(&[], json!({"name": text, "kind": text})))
            }),
        );
        let suppression = object(
            &["kind"],
            json!({
                "kind": {"enum": ["inSource", "external"]},
                "status": {"enum": ["accepted", "underReview", "rejected"]},
                "justification": text
            }),
        );
        let result = object(
            &[
                "message",
                "ruleId",
                "ruleIndex",
                "locations",
                "fingerprints",
                "partialFingerprints",
                "suppressions",
            ],
            json!({
            "ruleId": text, "ruleIndex": {"type": "integer", "minimum": 0},
            "kind": {"enum": ["fail"]}, "level": {"enum": ["note", "warning", "error"]},
            "message": message,
            "locations": {"type": "array", "items": location, "minItems": 1},
            "fingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
            "partialFingerprints": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "minProperties": 1
            },
            "suppressions": list(suppression), "properties": bag}),
        );
        let driver = object(
            &["name", "rules"],
            json!({
                "name": text, "version": text, "semanticVersion": text,
                "rules": {"type": "array", "items": rule, "uniqueItems": true}
            }),
        );
        let invocation = object(
            &["executionSuccessful"],
            json!({"executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"}, "exitCodeDescription": text,
            "startTimeUtc": time, "endTimeUtc": time}),
        );
        let artifact = object(
            &["location"],
            json!({
                "location": object(&["uri"], json!({"uri": uri})),
                "hashes": {"type": "object", "additionalProperties": {"type": "string"}}
            }),
        );
        let guid = json!({"type": "string", "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"});
        let run = object(
            &["tool", "results"],
            json!({"tool": object(&["driver"], json!({"driver": driver})), "automationDetails": object(&[], json!({"id": text, "guid": guid})),
            "invocations": list(invocation), "columnKind": {"enum": ["unicodeCodePoints"]},
            "artifacts": list(artifact), "results": list(result), "properties": bag}),
        );
        object(
            &["version", "runs"],
            json!({
                "$schema": {"type": "string"},
                "version": {"const": "2.1.0"},
                "runs": list(run)
            }),
        )
    }

    #[test]
    fn what_is_open_is_a_result_at_its_place_and_what_is_excepted_is_suppressed() {
        let validator = jsonschema::validator_for(&subset()).unwrap();
        for (name, _) in RECORDED {
            let document = recorded(name);
            let log = made(&document);
            let errors: Vec<String> = validator
                .iter_errors(&log)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:#?}");
            let run = &log["runs"][0];
            let results = run["results"].as_array().unwrap();
            assert_eq!(
                results.len(),
                document.all_findings().filter(|finding| is_reported(finding)).count()
            );
            for result in results {
                let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
                assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"], "{name}");
            }
        }
        let log = made(&recorded("refused-v2"));
        insta::assert_snapshot!(serde_json::to_string_pretty(&log["runs"][0]["results"]).unwrap());
        // The subset must be able to reject a log.
        let mut wrong = log.clone();
        wrong["runs"][0]["results"][0]["locations"] = json!([]);
        assert!(!validator.is_valid(&wrong));
    }

    #[test]
    fn an_audit_and_a_reencrypt_are_logs_of_the_same_form() {
        let validator = jsonschema::validator_for(&subset()).unwrap();
        for name in ["audit", "reencrypt", "reencrypt-batch"] {
            let report = other(name);
            let summary = ReportSummary::of(&report);
            let log: Value = serde_json::from_str(&sarif(&summary).unwrap()).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(&log).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:#?}");
            let results = log["runs"][0]["results"].as_array().unwrap();
            let open = summary.findings.iter().filter(|it| it.is_open()).count();
            assert!(open > 0 && results.len() == open, "{name}: {results:#?}");
        }
    }

    #[test]
    fn a_finding_has_the_same_partial_fingerprint_in_every_run_also_about_another_cluster() {
        let report = recorded("unsafe-v2");
        let mut later = report.clone();
        later.run = "01a213bd-a332-74e7-8bd3-000000000000".to_owned();
        for cluster in &mut later.watched.as_mut().unwrap().clusters {
            for finding in &mut cluster.findings {
                finding.subject = "j-1NEXTONE23456".to_owned();
                finding.saw.push_str(", seen later");
            }
        }
        let prints = |report: &RunReport, kind: &str| {
            let log = made(report);
            let results = log["runs"][0]["results"].as_array().unwrap();
            results
                .iter()
                .map(|result| {
                    result[kind].as_object().unwrap().values().next().unwrap().to_string()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(prints(&report, "partialFingerprints"), prints(&later, "partialFingerprints"));
        assert_ne!(prints(&report, "fingerprints"), prints(&later, "fingerprints"));
        let mut unique = prints(&report, "partialFingerprints");
        let all = unique.len();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), all, "one for each finding");
    }

    #[test]
    fn a_check_that_this_version_does_not_know_has_a_rule_all_the_same() {
        let mut document = recorded("refused-v2");
        let finding = document
            .findings
            .iter_mut()
            .find(|finding| finding.is_open() && finding.waits_for.is_none())
            .unwrap();
        finding.check = "of-tomorrow".to_owned();
        let log = made(&document);
        let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.last().unwrap(), &json!({"id": "of-tomorrow"}));
        assert!(
            log["runs"][0]["results"]
                .as_array()
                .unwrap()
                .iter()
                .any(|result| result["ruleIndex"] == rules.len() - 1)
        );
    }
}

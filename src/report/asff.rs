//! The findings for AWS Security Hub, in its finding format (ASFF): one line for each request to
//! BatchImportFindings, within its limits.
//!
//! A finding's id is built from its check and its subject, so that each run updates what an earlier
//! one reported. A passed finding is sent as archived, which closes it.

use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use crate::{
    base::{json::compact, names::ClusterId},
    checks::{catalogue, controls},
    report::{
        document::{
            CALL_TO_ACT, CallToAct, RecordedFinding, RecordedLevel, RecordedLookup,
            RecordedOutcome, RecordedStatus, RunReport,
        },
        render::RenderError,
        severity::FindingSeverity,
    },
};

/// The maximum numbers of findings and of bytes in one request.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 6 << 20;
/// The limits of the API reference for AwsSecurityFinding, in characters.
const TITLE: usize = 256;
const DESCRIPTION: usize = 1024;
const RECOMMENDATION: usize = 512;
const IDENTIFIER: usize = 512;
const FIELD: usize = 2048;

/// The product, account and region of the findings.
struct FindingOrigin<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
}

/// The whole output: one request a line. `region` is given by the caller; otherwise the report's is
/// used.
///
/// # Errors
/// When the report does not contain the account or region.
pub(crate) fn asff(document: &RunReport, region: Option<&str>) -> Result<String, RenderError> {
    let account = document.account().ok_or_else(|| {
        RenderError::Lacking(
            "the report does not have the account (sts:GetCallerIdentity was not answered); \
             Security Hub takes no finding without"
                .to_owned(),
        )
    })?;
    let region = region.or_else(|| document.region()).ok_or_else(|| {
        RenderError::Lacking(
            "the report does not have the region; name the region of Security Hub with `--region`"
                .to_owned(),
        )
    })?;
    let partition = document
        .runner_principal()
        .or_else(|| document.principal())
        .and_then(|arn| arn.split(':').nth(1))
        .unwrap_or("aws");
    let place = FindingOrigin { partition, region, account };
    let calls: Vec<RecordedFinding> =
        document.calls_to_act().iter().map(CallToAct::finding).collect();
    let mut findings: Vec<&RecordedFinding> = calls
        .iter()
        .chain(document.all_findings())
        .filter(|finding| {
            finding.status != RecordedStatus::NotApplicable && finding.waits_for.is_none()
        })
        .collect();
    // Open findings go first, in case a later request fails.
    findings.sort_by_key(|finding| (finding.status, finding.level));
    let mut lines = String::new();
    for batch in batches(
        findings.into_iter().map(|finding| crate::report::asff::finding(document, finding, &place)),
    ) {
        lines.push_str(&compact(&json!({"Findings": batch})).map_err(anyhow::Error::from)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// Groups findings into batches for one request each.
fn batches(findings: impl Iterator<Item = Value>) -> Vec<Vec<Value>> {
    let mut batches: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for finding in findings {
        let size = finding.to_string().len() + 1;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes + size <= BATCH_BYTES - 64 => {
                bytes += size;
                batch.push(finding);
            }
            _ => {
                bytes = size;
                batches.push(vec![finding]);
            }
        }
    }
    batches
}

fn finding(document: &RunReport, finding: &RecordedFinding, place: &FindingOrigin<'_>) -> Value {
    let FindingOrigin { partition, region, account } = place;
    let check = catalogue::find(&finding.check);
    let said = format!("Seen: {}. Expected: {}.", finding.saw, finding.wanted);
    let excepted =
        finding.excepted.as_ref().map_or_else(String::new, |why| format!(" Excepted: {why}."));
    let why = check.map_or_else(String::new, |check| format!(" {}", check.why));
    let mut value = json!({
        "SchemaVersion": "2018-10-08",
        "Id": finding.id_in(place.region, place.account),
        "ProductArn": format!("arn:{partition}:securityhub:{region}:{account}:product/{account}/default"),
        "GeneratorId": cut(&format!("emr-etl-guard/{}", finding.check), IDENTIFIER),
        "AwsAccountId": account,
        "Region": region,
        "Types": types(finding),
        "CreatedAt": timestamp(document.started),
        "UpdatedAt": timestamp(document.ended),
        "Severity": {
            "Label": severity(document, finding).name().to_uppercase(),
            "Original": finding.status.word()
        },
        "Title": cut(&format!("{}: {}", finding.check, finding.subject), TITLE),
        "Description": cut(&format!("{said}{excepted}{why}"), DESCRIPTION),
        "ProductFields": {
            "emr-etl-guard/run": document.run,
            "emr-etl-guard/version": document.guard,
            "emr-etl-guard/status": finding.status.word(),
            "emr-etl-guard/required": (finding.level == RecordedLevel::Required).to_string(),
        },
        "Resources": [resource(document, finding, place)],
        "Compliance": {"Status": match finding.status {
            RecordedStatus::Passed | RecordedStatus::NotApplicable => "PASSED",
            RecordedStatus::Failed => "FAILED",
            RecordedStatus::Unknown => "NOT_AVAILABLE",
            RecordedStatus::Excepted => "WARNING",
        }},
        "RecordState": if finding.status == RecordedStatus::Passed { "ARCHIVED" } else { "ACTIVE" },
    });
    if let Some(row) = controls::row(&finding.check) {
        let requirements: Vec<String> =
            row.controls.iter().map(|control| control.requirement()).collect();
        value["Compliance"]["RelatedRequirements"] = json!(requirements);
    }
    if let Some(fix) = &finding.fix {
        value["Remediation"] = json!({"Recommendation": {"Text": cut(fix, RECOMMENDATION)}});
    }
    if let Some(at) = &finding.at {
        value["ProductFields"]["emr-etl-guard/at"] = cut(at, FIELD).into();
    }
    value
}

fn types(finding: &RecordedFinding) -> Vec<&'static str> {
    let exposed =
        finding.status == RecordedStatus::Failed && finding.level == RecordedLevel::Required;
    let mut types =
        vec!["Software and Configuration Checks/AWS Security Best Practices/Encryption"];
    if exposed
        && [
            "data-encrypted",
            "written-objects",
            "cluster-security-configuration",
            "cluster-volumes",
            CALL_TO_ACT,
        ]
        .contains(&finding.check.as_str())
    {
        types.push("Effects/Data Exposure");
    }
    types
}

fn severity(document: &RunReport, finding: &RecordedFinding) -> FindingSeverity {
    let severity = FindingSeverity::of(finding);
    if severity == FindingSeverity::High
        && document.outcome == RecordedOutcome::UnsafeClusterAlive
        && is_cluster(&finding.subject)
        && document.must_act_on(&finding.subject)
    {
        return FindingSeverity::Critical;
    }
    severity
}

/// A cluster's id has capital letters, a bucket's name has not, even if it begins with `j-`.
fn is_cluster(subject: &str) -> bool {
    subject.parse::<ClusterId>().is_ok()
}

/// The resource of a finding, with Security Hub's type for it, if there is one.
fn resource(document: &RunReport, finding: &RecordedFinding, place: &FindingOrigin<'_>) -> Value {
    let FindingOrigin { partition, region, account } = place;
    let subject = finding.subject.as_str();
    let ec2 = |kind: &str| format!("arn:{partition}:ec2:{region}:{account}:{kind}/{subject}");
    let role = |lookup: Option<&Option<RecordedLookup<crate::report::document::RecordedRole>>>| {
        Some(lookup?.as_ref()?.found()?.arn.clone())
    };
    let facts = document.facts.as_ref();
    let (kind, id) = match finding.check.as_str() {
        _ if is_cluster(subject) => (
            "Other",
            format!("arn:{partition}:elasticmapreduce:{region}:{account}:cluster/{subject}"),
        ),
        _ if subject.starts_with("arn:") && subject.contains(":kms:") => {
            ("AwsKmsKey", subject.to_owned())
        }
        check
            if (check.starts_with("bucket-") && check != "bucket-policy-clash")
                || matches!(
                    check,
                    "no-silent-downgrade" | "no-earlier-versions" | "clojure-collector-bucket"
                ) =>
        {
            ("AwsS3Bucket", format!("arn:{partition}:s3:::{subject}"))
        }
        "jobflow-role-exists" => match role(facts.map(|facts| &facts.role)) {
            Some(arn) => ("AwsIamRole", arn),
            None => ("Other", subject.to_owned()),
        },
        "service-role-exists" => match role(facts.map(|facts| &facts.service_role)) {
            Some(arn) => ("AwsIamRole", arn),
            None => ("Other", subject.to_owned()),
        },
        _ if subject.starts_with("subnet-") => ("AwsEc2Subnet", ec2("subnet")),
        _ if subject.starts_with("vpc-") => ("AwsEc2Vpc", ec2("vpc")),
        _ => ("Other", subject.to_owned()),
    };
    json!({"Type": kind, "Id": cut(&id, IDENTIFIER), "Partition": partition, "Region": region})
}

/// Text within a limit, and never blank: the API rejects blank fields.
fn cut(text: &str, limit: usize) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "-".to_owned();
    }
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let head: String = text.chars().take(limit - 1).collect();
    format!("{}…", head.trim_end())
}

fn timestamp(at: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{
        RecordedTermination,
        tests::{RECORDED, recorded},
    };

    #[test]
    fn text_is_cut_by_characters_and_is_never_blank() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut(" \n", 3), "-");
    }

    #[test]
    fn a_batch_holds_a_hundred_findings_and_no_more_bytes_than_a_request_takes() {
        let sizes = |findings: Vec<Value>| {
            batches(findings.into_iter()).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(vec![json!({}); 250]), [100, 100, 50]);
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
        let large = json!({"x": "x".repeat(200_000)});
        let batches = batches(vec![large; 70].into_iter());
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 70);
        for batch in batches {
            assert!(json!({"Findings": batch}).to_string().len() <= BATCH_BYTES);
        }
    }

    fn sent(document: &RunReport) -> Vec<Value> {
        let lines = asff(document, None).unwrap();
        lines
            .lines()
            .flat_map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["Findings"].as_array().unwrap().clone()
            })
            .collect()
    }

    /// Checks every limit of the API reference for AwsSecurityFinding that applies to the fields
    /// sent here.
    #[track_caller]
    fn within_limits(finding: &Value) {
        let text = |name: &str| {
            let value = finding
                .pointer(name)
                .and_then(Value::as_str)
                .unwrap_or_else(|| panic!("{name} is missing"));
            assert!(!value.trim().is_empty(), "{name} is blank");
            value.chars().count()
        };
        for (name, limit) in [
            ("/Id", 512),
            ("/GeneratorId", 512),
            ("/Title", 256),
            ("/Description", 1024),
            ("/Severity/Original", 64),
            ("/Resources/0/Id", 512),
            ("/Resources/0/Type", 256),
        ] {
            assert!(text(name) <= limit, "{name}: {}", text(name));
        }
        assert_eq!(
            (text("/AwsAccountId"), finding["SchemaVersion"].as_str()),
            (12, Some("2018-10-08"))
        );
        for time in ["/CreatedAt", "/UpdatedAt"] {
            assert_eq!(text(time), "2026-11-25T17:25:24.914Z".len());
        }
        if finding.get("Remediation").is_some() {
            assert!(text("/Remediation/Recommendation/Text") <= 512);
        }
        assert!(
            finding["Types"].as_array().unwrap().len() <= 50
                && finding["ProductFields"].as_object().unwrap().len() <= 50
        );
        for (name, value) in finding["ProductFields"].as_object().unwrap() {
            assert!(name.len() <= 128 && value.as_str().unwrap().chars().count() <= 2048, "{name}");
        }
        if let Some(requirements) = finding["Compliance"].get("RelatedRequirements") {
            let requirements = requirements.as_array().unwrap();
            assert!((1..=32).contains(&requirements.len()));
            for requirement in requirements {
                assert!((1..=64).contains(&requirement.as_str().unwrap().len()), "{requirement}");
            }
        }
        assert!(finding.to_string().len() <= 240 << 10, "a finding of at most 240 kB");
    }

    #[test]
    fn every_finding_is_within_the_limits_also_where_names_are_endless() {
        for (name, text) in RECORDED {
            let document = recorded(name);
            let findings = sent(&document);
            assert!(findings.len() > 80, "{name}");
            findings.iter().for_each(within_limits);
            let mut value: Value = serde_json::from_str(text).unwrap();
            for finding in value["findings"].as_array_mut().unwrap() {
                // The wording of the recorded versions.
                for key in ["subject", "saw", "mend", "at"] {
                    finding[key] = format!(
                        "{}{}",
                        finding[key].as_str().unwrap_or_default(),
                        "ä".repeat(5000)
                    )
                    .into();
                }
                finding["wanted"] = " ".into();
            }
            let mut document: RunReport = serde_json::from_value(value).unwrap();
            document.who.account.get_or_insert_with(|| "123456789012".to_owned());
            for line in asff(&document, Some("eu-west-1")).unwrap().lines() {
                serde_json::from_str::<Value>(line).unwrap()["Findings"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .for_each(within_limits);
            }
        }
    }

    #[test]
    fn a_finding_keeps_its_id_from_run_to_run_and_closes_itself_once_it_is_proved() {
        let open = recorded("refused-v2");
        let mut fixed = open.clone();
        fixed.run = "01a213bd-a332-74e7-8bd3-000000000000".to_owned();
        for finding in &mut fixed.findings {
            (finding.status, finding.saw) = (RecordedStatus::Passed, "all is well".to_owned());
        }
        let by_id = |document: &RunReport| {
            let findings = sent(document)
                .into_iter()
                .map(|finding| (finding["Id"].as_str().unwrap().to_owned(), finding));
            findings.collect::<std::collections::BTreeMap<_, _>>()
        };
        let (before, after) = (by_id(&open), by_id(&fixed));
        assert_eq!(before.len(), sent(&open).len(), "ids are there once");
        let mut closed = 0;
        for (id, finding) in &before {
            assert_eq!(after[id]["RecordState"], "ARCHIVED");
            assert_eq!(after[id]["Compliance"]["Status"], "PASSED");
            closed += usize::from(finding["RecordState"] == "ACTIVE");
        }
        assert_eq!(
            closed,
            open.all_findings()
                .filter(|finding| finding.waits_for.is_none()
                    && (finding.is_open() || finding.status == RecordedStatus::Excepted))
                .count()
        );
    }

    #[test]
    fn each_kind_of_answer_has_its_severity_and_its_resource() {
        let told = |finding: &Value| {
            let text = |name: &str| {
                finding.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let names = [
                "/Title",
                "/Severity/Label",
                "/Compliance/Status",
                "/RecordState",
                "/Resources/0/Type",
                "/Resources/0/Id",
                "/Types/1",
            ];
            names.map(text).join(" | ")
        };
        let mut lines: Vec<String> = Vec::new();
        for name in ["refused-v2", "unsafe-v2"] {
            lines.extend(
                sent(&recorded(name))
                    .iter()
                    .filter(|finding| finding["RecordState"] == "ACTIVE")
                    .map(told),
            );
        }
        let mut alive = recorded("unsafe-v2");
        alive.outcome = RecordedOutcome::UnsafeClusterAlive;
        alive.watched.as_mut().unwrap().clusters[0].end =
            Some(RecordedTermination::Unconfirmed("AccessDenied".to_owned()));
        lines.extend(
            sent(&alive)
                .iter()
                .filter(|finding| finding["Severity"]["Label"] == "CRITICAL")
                .map(told),
        );
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_finding_names_the_controls_that_its_check_is_evidence_for() {
        let findings = sent(&recorded("refused-v2"));
        let of = |check: &str| {
            let title = format!("{check}: ");
            let finding = findings
                .iter()
                .find(|it| it["Title"].as_str().unwrap().starts_with(&title))
                .unwrap();
            finding["Compliance"].get("RelatedRequirements").cloned()
        };
        let of_policy = of("bucket-tls-only").unwrap();
        for wanted in ["NIST.800-53.r5 SC-8", "PCI DSS v4.0.1/4.2.1", "AWS Security Hub/S3.5"] {
            assert!(of_policy.as_array().unwrap().contains(&wanted.into()), "{of_policy}");
        }
        assert_eq!(of("bucket-exists"), None);
    }

    #[test]
    fn a_bucket_whose_name_begins_as_a_clusters_id_does_is_a_bucket() {
        let mut document = recorded("refused-v2");
        for finding in &mut document.findings {
            if finding.check == "bucket-default-encryption" {
                finding.subject = "j-data".to_owned();
            }
        }
        let ids: Vec<String> = sent(&document)
            .iter()
            .filter_map(|finding| Some(finding.pointer("/Resources/0/Id")?.as_str()?.to_owned()))
            .filter(|id| id.contains("j-data"))
            .collect();
        assert!(!ids.is_empty());
        assert!(ids.iter().all(|id| id == "arn:aws:s3:::j-data"), "{ids:?}");
    }

    #[test]
    fn what_security_hub_cannot_do_without_is_asked_for() {
        let mut document = recorded("refused-v2");
        document.findings.retain(|finding| {
            !["ebs-encryption-by-default", "bucket-region"].contains(&finding.check.as_str())
        });
        let said = |document: &RunReport| asff(document, None).unwrap_err().to_string();
        assert_eq!(
            said(&document),
            "the report does not have the region; name the region of Security Hub with `--region`"
        );
        let first = asff(&document, Some("us-gov-west-1")).unwrap();
        assert!(
            first.contains(":securityhub:us-gov-west-1:123456789012:product/123456789012/default"),
            "{first}"
        );
        document.who.account = None;
        document.facts = None;
        assert!(
            said(&document).starts_with("the report does not have the account"),
            "{}",
            said(&document)
        );
    }
}

//! The findings as OCSF Compliance Findings (class 2003), one JSON object a line, for data lakes
//! and for products that accept the Open Cybersecurity Schema Framework.
//!
//! A finding's uid is built from its check and its subject, so that each run updates what an
//! earlier one reported. Source: OCSF 1.5.0, class Compliance Finding.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    base::json::compact,
    checks::{catalogue, controls},
    report::{
        document::{CALL_TO_ACT, CallToAct, RecordedFinding, RecordedLevel, RecordedStatus},
        severity::FindingSeverity,
        summary::{ReportSummary, SharedWith},
    },
};

/// The version of the schema that the findings follow.
const SCHEMA: &str = "1.5.0";
/// The class, its category (Findings), and the type of a new finding.
const CLASS: u32 = 2003;
const CATEGORY: u32 = 2;
const CREATE: u32 = 1;
/// OCSF's account type for an AWS account.
const AWS_ACCOUNT: u32 = 10;

/// The whole output. Findings that are not applicable, or that only wait for another, are left out.
///
/// # Errors
/// When the JSON cannot be written, which is a bug.
pub(crate) fn ocsf(summary: &ReportSummary<'_>) -> anyhow::Result<String> {
    let calls: Vec<RecordedFinding> = summary.calls.iter().map(CallToAct::finding).collect();
    let findings = summary.findings.iter().filter(|finding| {
        finding.status != RecordedStatus::NotApplicable
            && !matches!(summary.shared_with(finding), Some(SharedWith::WaitsFor(_)))
    });
    let mut lines = String::new();
    for finding in calls.iter().chain(findings) {
        lines.push_str(&compact(&event(summary, finding))?);
        lines.push('\n');
    }
    Ok(lines)
}

fn event(summary: &ReportSummary<'_>, finding: &RecordedFinding) -> Value {
    let severity = severity(finding);
    let (status_id, status) = match finding.status {
        RecordedStatus::Passed | RecordedStatus::NotApplicable => (4, "Resolved"),
        RecordedStatus::Excepted => (3, "Suppressed"),
        RecordedStatus::Failed | RecordedStatus::Unknown => (1, "New"),
    };
    let seen = format!("Seen {}; expected {}.", finding.saw, finding.wanted);
    let ended = milliseconds(summary.ended);
    let mut event = json!({
        "activity_id": CREATE,
        "activity_name": "Create",
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Compliance Finding",
        "type_uid": CLASS * 100 + CREATE,
        "type_name": "Compliance Finding: Create",
        "time": ended,
        "severity_id": severity as u32,
        "severity": severity.name(),
        "status_id": status_id,
        "status": status,
        "message": format!("{}: {}", finding.check, finding.subject),
        "metadata": {
            "version": SCHEMA,
            "product": {
                "name": "emr-etl-guard",
                "vendor_name": "emr-etl-guard",
                "version": summary.guard,
            },
        },
        "finding_info": {
            "uid": finding.id_in(summary.region.unwrap_or("-"), summary.account.unwrap_or("-")),
            "title": format!("{}: {}", finding.check, finding.subject),
            "desc": seen,
            "created_time": milliseconds(summary.started),
            "modified_time": ended,
            "types": ["Encryption"],
        },
        "compliance": compliance(finding),
        "resources": [resource(summary, finding)],
        "unmapped": {
            "command": summary.command,
            "required": finding.level == RecordedLevel::Required,
            "status": finding.status.word(),
        },
    });
    if let Some(run) = summary.run {
        event["metadata"]["correlation_uid"] = run.into();
    }
    if let Some(at) = &finding.at {
        event["unmapped"]["at"] = at.as_str().into();
    }
    if let Some(why) = &finding.excepted {
        event["status_detail"] = why.as_str().into();
    }
    if let Some(fix) = &finding.fix {
        event["remediation"] = json!({"desc": fix});
    }
    if let Some(cloud) = cloud(summary) {
        event["metadata"]["profiles"] = json!(["cloud"]);
        event["cloud"] = cloud;
    }
    event
}

/// The standards and controls that the finding is evidence for, and what it does not show of them.
fn compliance(finding: &RecordedFinding) -> Value {
    let (status_id, status) = match finding.status {
        RecordedStatus::Passed | RecordedStatus::NotApplicable => (1, "Pass"),
        RecordedStatus::Failed => (3, "Fail"),
        RecordedStatus::Excepted => (2, "Warning"),
        RecordedStatus::Unknown => (0, "Unknown"),
    };
    let mut compliance = json!({
        "control": finding.check,
        "status_id": status_id,
        "status": status,
        "status_details": [finding.saw],
    });
    if let Some(row) = controls::row(&finding.check) {
        let mut standards: Vec<&str> =
            row.controls.iter().map(|control| control.standard.title()).collect();
        standards.dedup();
        let requirements: Vec<String> =
            row.controls.iter().map(|control| control.requirement()).collect();
        compliance["standards"] = json!(standards);
        compliance["requirements"] = json!(requirements);
        compliance["desc"] = format!("Not proved by it: {}", row.limits).into();
    }
    compliance
}

fn cloud(summary: &ReportSummary<'_>) -> Option<Value> {
    let mut cloud = json!({"provider": "AWS"});
    if let Some(account) = summary.account {
        cloud["account"] = json!({"uid": account, "type_id": AWS_ACCOUNT, "type": "AWS Account"});
    }
    if let Some(region) = summary.region {
        cloud["region"] = region.into();
    }
    (summary.account.is_some() || summary.region.is_some()).then_some(cloud)
}

fn resource(summary: &ReportSummary<'_>, finding: &RecordedFinding) -> Value {
    let mut resource = json!({"name": finding.subject, "uid": finding.subject});
    if let Some(region) = summary.region {
        resource["region"] = region.into();
    }
    if let Some(check) = catalogue::find(&finding.check) {
        resource["labels"] = json!([check.name]);
    }
    resource
}

fn severity(finding: &RecordedFinding) -> FindingSeverity {
    if finding.check == CALL_TO_ACT {
        FindingSeverity::Critical
    } else {
        FindingSeverity::of(finding)
    }
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::{
        document::tests::{RECORDED, recorded},
        summary::tests::other,
    };

    fn events(summary: &ReportSummary<'_>) -> Vec<Value> {
        ocsf(summary).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_finding_that_applies_is_an_event_of_class_2003_with_an_id_of_its_own() {
        for (name, _) in RECORDED {
            let report = recorded(name);
            let summary = ReportSummary::of_run(&report);
            let events = events(&summary);
            let waits = |finding: &&RecordedFinding| {
                matches!(summary.shared_with(finding), Some(SharedWith::WaitsFor(_)))
            };
            let left_out = summary
                .findings
                .iter()
                .filter(|it| it.status == RecordedStatus::NotApplicable || waits(it))
                .count();
            assert_eq!(
                events.len(),
                summary.calls.len() + summary.findings.len() - left_out,
                "{name}"
            );
            let ids: BTreeSet<&str> =
                events.iter().map(|event| event["finding_info"]["uid"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), events.len(), "{name}: an id twice");
            for event in &events {
                assert_eq!(
                    (&event["class_uid"], &event["type_uid"]),
                    (&2003.into(), &200_301.into())
                );
                assert_eq!(event["cloud"]["account"]["uid"], "123456789012", "{name}");
            }
        }
    }

    #[test]
    fn a_failed_finding_names_its_controls_what_it_does_not_prove_and_its_fix() {
        let mut report = recorded("refused-v2");
        let finding =
            report.findings.iter_mut().find(|finding| finding.check == "bucket-tls-only").unwrap();
        finding.status = RecordedStatus::Failed;
        finding.level = RecordedLevel::Required;
        finding.fix = Some("add a policy".to_owned());
        let events = events(&ReportSummary::of_run(&report));
        let event = events
            .iter()
            .find(|event| {
                event["compliance"]["control"] == "bucket-tls-only"
                    && event["compliance"]["status"] == "Fail"
            })
            .unwrap();
        assert_eq!((&event["severity"], &event["status"]), (&"High".into(), &"New".into()));
        assert_eq!(event["remediation"]["desc"], "add a policy");
        let requirements = event["compliance"]["requirements"].as_array().unwrap();
        for wanted in ["NIST.800-53.r5 SC-8(1)", "PCI DSS v4.0.1/4.2.1", "AWS Security Hub/S3.5"] {
            assert!(requirements.contains(&wanted.into()), "{requirements:?}");
        }
        let limits = event["compliance"]["desc"].as_str().unwrap();
        assert!(limits.starts_with("Not proved by it: "), "{limits}");
    }

    #[test]
    fn an_audit_has_a_finding_for_each_location_and_names_no_account_that_it_does_not_know() {
        let report = other("audit");
        let events = events(&ReportSummary::of(&report));
        assert!(events.iter().any(|event| event["compliance"]["status"] == "Fail"));
        assert!(events.iter().all(|event| event.get("cloud").is_none()));
    }
}

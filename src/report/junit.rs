//! The findings as JUnit XML, which pipelines show as tests: a suite for each check, a case for
//! each subject.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::report::document::{
    CALL_TO_ACT, CallToAct, RecordedFinding, RecordedLevel, RecordedStatus, RunReport,
};

/// The whole document.
///
/// # Errors
/// When the XML cannot be written, which is a bug.
pub(crate) fn junit(document: &RunReport) -> anyhow::Result<String> {
    let mut report = Report::new("emr-etl-guard");
    let calls: Vec<RecordedFinding> =
        document.calls_to_act().iter().map(CallToAct::finding).collect();
    if !calls.is_empty() {
        let mut suite = TestSuite::new(CALL_TO_ACT);
        suite.add_test_cases(calls.iter().map(case));
        report.add_test_suite(suite);
    }
    for (check, findings) in document.by_check() {
        let mut suite = TestSuite::new(check);
        suite.add_test_cases(findings.into_iter().map(case));
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

fn case(finding: &RecordedFinding) -> TestCase {
    let said = format!("saw {}, wanted {}", finding.saw, finding.wanted);
    let status = match (finding.status, finding.level) {
        (RecordedStatus::Passed, _) => TestCaseStatus::success(),
        (RecordedStatus::NotApplicable, _) => skipped(format!("not applicable: {}", finding.saw)),
        (RecordedStatus::Excepted, _) => skipped(format!(
            "excepted: {}; {said}",
            finding.excepted.as_deref().unwrap_or_default()
        )),
        // What only advises must not fail a pipeline, nor pass for proved.
        (RecordedStatus::Failed | RecordedStatus::Unknown, RecordedLevel::Advisory) => {
            skipped(format!("advice only: {said}"))
        }
        (RecordedStatus::Failed, RecordedLevel::Required) => {
            failed(NonSuccessKind::Failure, "failed", said, finding)
        }
        (RecordedStatus::Unknown, RecordedLevel::Required) => {
            failed(NonSuccessKind::Error, "unknown", said, finding)
        }
    };
    let mut case = TestCase::new(finding.subject.as_str(), status);
    case.set_classname(finding.check.as_str());
    if finding.status == RecordedStatus::Passed {
        case.set_system_out(said_where(
            &format!("saw {}, wanted {}", finding.saw, finding.wanted),
            finding,
        ));
    }
    case
}

fn skipped(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}

fn failed(
    kind: NonSuccessKind,
    what: &str,
    said: String,
    finding: &RecordedFinding,
) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_description(format!(
        "{}\nfix: {}",
        said_where(&said, finding),
        finding.fix.as_deref().unwrap_or("-")
    ));
    status.set_message(said);
    status
}

fn said_where(said: &str, finding: &RecordedFinding) -> String {
    finding.at.as_ref().map_or_else(|| said.to_owned(), |at| format!("{said} ({at})"))
}

//! The findings as JUnit XML, which pipelines show as tests: a suite for each check, a case for
//! each subject.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::report::document::{Document, Finding, Level, Status};

/// The whole document.
///
/// # Errors
/// When the XML cannot be written, which is a bug.
pub(crate) fn junit(document: &Document) -> anyhow::Result<String> {
    let mut report = Report::new("emr-etl-guard");
    for (check, findings) in document.by_check() {
        let mut suite = TestSuite::new(check);
        suite.add_test_cases(findings.into_iter().map(case));
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

fn case(finding: &Finding) -> TestCase {
    let said = format!("saw {}, wanted {}", finding.saw, finding.wanted);
    let status = match (finding.status, finding.level) {
        (Status::Proved, _) => TestCaseStatus::success(),
        (Status::NotApplicable, _) => skipped(format!("not applicable: {}", finding.saw)),
        (Status::Excused, _) => {
            skipped(format!("excused: {}; {said}", finding.excused.as_deref().unwrap_or_default()))
        }
        // What only advises must not fail a pipeline, nor pass for proved.
        (Status::Refuted | Status::Unknown, Level::Advised) => {
            skipped(format!("advice only: {said}"))
        }
        (Status::Refuted, Level::Required) => {
            failed(NonSuccessKind::Failure, "refuted", said, finding)
        }
        (Status::Unknown, Level::Required) => {
            failed(NonSuccessKind::Error, "unknown", said, finding)
        }
    };
    let mut case = TestCase::new(finding.subject.as_str(), status);
    case.set_classname(finding.check.as_str());
    if finding.status == Status::Proved {
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

fn failed(kind: NonSuccessKind, what: &str, said: String, finding: &Finding) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_description(format!(
        "{}\nto do: {}",
        said_where(&said, finding),
        finding.mend.as_deref().unwrap_or("-")
    ));
    status.set_message(said);
    status
}

fn said_where(said: &str, finding: &Finding) -> String {
    finding.at.as_ref().map_or_else(|| said.to_owned(), |at| format!("{said} ({at})"))
}

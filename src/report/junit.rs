//! The findings as JUnit XML, which CI systems show as tests: a suite for each check, a case for
//! each subject. One cause is one failure: findings that share it are skipped, and refer to it.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::report::{
    document::{CALL_TO_ACT, CallToAct, RecordedFinding, RecordedLevel, RecordedStatus},
    summary::ReportSummary,
};

/// The whole output.
///
/// # Errors
/// When the XML cannot be written, which is a bug.
pub(crate) fn junit(summary: &ReportSummary<'_>) -> anyhow::Result<String> {
    let mut report = Report::new("emr-etl-guard");
    let calls: Vec<RecordedFinding> = summary.calls.iter().map(CallToAct::finding).collect();
    if !calls.is_empty() {
        let mut suite = TestSuite::new(CALL_TO_ACT);
        suite.add_test_cases(calls.iter().map(|finding| case(summary, finding)));
        report.add_test_suite(suite);
    }
    for (check, findings) in summary.by_check() {
        let mut suite = TestSuite::new(check);
        suite.add_test_cases(findings.into_iter().map(|finding| case(summary, finding)));
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

fn case(summary: &ReportSummary<'_>, finding: &RecordedFinding) -> TestCase {
    let seen = format!("seen {}, expected {}", finding.saw, finding.wanted);
    let status = match (finding.status, finding.level) {
        (RecordedStatus::Passed, _) => TestCaseStatus::success(),
        (RecordedStatus::NotApplicable, _) => skipped(format!("not applicable: {}", finding.saw)),
        (RecordedStatus::Excepted, _) => {
            let why = finding.excepted.as_deref().unwrap_or_default();
            skipped(format!("excepted: {why}; {seen}"))
        }
        // An advisory finding must neither fail a pipeline nor be shown as passed.
        (RecordedStatus::Failed | RecordedStatus::Unknown, RecordedLevel::Advisory) => {
            skipped(format!("advisory: {seen}"))
        }
        // Its subject does not exist yet, or no longer, so it is no failure.
        (RecordedStatus::Unknown, RecordedLevel::Required) if finding.not_there => {
            skipped(format!("nothing to look at: {seen}"))
        }
        (RecordedStatus::Failed | RecordedStatus::Unknown, RecordedLevel::Required) => {
            match summary.shared_with(finding) {
                Some(cause) => skipped(cause.in_words()),
                None => failed(seen, finding),
            }
        }
    };
    let mut case = TestCase::new(finding.subject.as_str(), status);
    case.set_classname(finding.check.as_str());
    if finding.status == RecordedStatus::Passed {
        case.set_system_out(with_place(
            &format!("seen {}, expected {}", finding.saw, finding.wanted),
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

/// A failure if facts show it, an error if they could not be read.
fn failed(seen: String, finding: &RecordedFinding) -> TestCaseStatus {
    let (kind, word) = match finding.status {
        RecordedStatus::Failed => (NonSuccessKind::Failure, "failed"),
        _ => (NonSuccessKind::Error, "unknown"),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_description(format!(
        "{}\nfix: {}",
        with_place(&seen, finding),
        finding.fix.as_deref().unwrap_or("-")
    ));
    status.set_message(seen);
    status
}

fn with_place(seen: &str, finding: &RecordedFinding) -> String {
    finding.at.as_ref().map_or_else(|| seen.to_owned(), |at| format!("{seen} ({at})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        document::{RecordedStatus, tests::recorded},
        summary::tests::other,
    };

    /// The counts of failures, errors and skipped cases.
    fn numbers(xml: &str) -> [usize; 3] {
        ["<failure", "<error", "<skipped"].map(|element| xml.matches(element).count())
    }

    #[test]
    fn one_denied_call_is_one_error_and_what_it_blocks_is_skipped_and_names_it() {
        let mut report = recorded("refused-v2");
        for finding in &mut report.findings {
            finding.level = RecordedLevel::Required;
            finding.waits_for = None;
            (finding.status, finding.not_there) = (RecordedStatus::Passed, false);
        }
        let all = report.findings.len();
        let blocked = &mut report.findings[..40];
        for (index, finding) in blocked.iter_mut().enumerate() {
            finding.status = RecordedStatus::Unknown;
            finding.check = format!("check-{index}");
            finding.fix = Some("allow `kms:DescribeKey` to the guard's credentials".to_owned());
        }
        for finding in &mut blocked[20..] {
            finding.waits_for = Some("check-0".to_owned());
        }
        let subject = blocked[0].subject.clone();
        let xml = junit(&ReportSummary::of_run(&report)).unwrap();
        assert_eq!(numbers(&xml), [0, 1, 39], "{xml}");
        assert_eq!(xml.matches("<testcase").count(), all);
        let same = format!("skipped: same cause as check-0 ({subject})");
        let waits = format!("skipped: waits for check-0 ({subject}); fix that first");
        assert_eq!([same, waits].map(|text| xml.matches(&text).count()), [19, 20], "{xml}");
    }

    #[test]
    fn an_audit_fails_a_case_for_each_location_with_offenders() {
        let report = other("audit");
        let xml = junit(&ReportSummary::of(&report)).unwrap();
        assert!(xml.contains(r#"<testsuite name="objects-encrypted""#), "{xml}");
        assert!(xml.contains("emr-etl-guard reencrypt s3://"), "{xml}");
        let [failures, errors, _] = numbers(&xml);
        assert!(failures > 0 && errors > 0, "{xml}");
    }
}

//! The findings as a Markdown summary, for a pipeline's summary page or a ticket: run, account,
//! region and verdict on a line each, what to do, then the details, counts of the rest, and the
//! residual risks.

use std::fmt::Write as _;

use time::format_description::well_known::Rfc3339;

use crate::{
    base::markdown::{cell, name},
    report::{
        conclusion::{Tone, counted},
        document::{RecordedFinding, RecordedLevel, RecordedStatus},
        summary::ReportSummary,
    },
};

/// The whole document.
pub(crate) fn markdown(summary: &ReportSummary<'_>) -> String {
    let mut text = head(summary);
    to_do(&mut text, summary);
    seen(&mut text, summary);
    counts(&mut text, summary);
    if !summary.residual_risks.is_empty() {
        text.push_str("\n## Residual risks\n\n");
        for risk in summary.residual_risks {
            let _ = writeln!(text, "- {}: {}", name(&risk.name), cell(&risk.what));
        }
    }
    text
}

/// Run, account, region, verdict.
fn head(summary: &ReportSummary<'_>) -> String {
    let sign = match summary.conclusion.tone {
        Tone::Good => "✅",
        Tone::Bad => "❌",
        Tone::Unsure => "❓",
        Tone::Plain => "ℹ️",
    };
    let known = |value: Option<&str>| value.map_or_else(|| "not in the report".to_owned(), name);
    let started = summary.started.format(&Rfc3339).unwrap_or_default();
    let run = summary.run.map_or_else(String::new, |run| format!("{}, ", name(run)));
    let config =
        summary.config.map_or_else(String::new, |(config, _)| format!(" of {}", name(config)));
    format!(
        "- **Run**: {run}{}{config}, {started}\n- **Account**: {}\n- **Region**: {}\n- \
         **Verdict**: \
         {sign} {}: {} Exit code {}.\n",
        cell(summary.command),
        known(summary.account),
        known(summary.region),
        summary.conclusion.title,
        cell(&summary.conclusion.sentence),
        summary.exit_code
    )
}

fn to_do(text: &mut String, summary: &ReportSummary<'_>) {
    text.push_str("\n## What to do\n\n");
    for call in &summary.calls {
        // Backticks are replaced, so that no text can close the fence.
        let commands = call.commands.replace('`', "'");
        let _ = writeln!(
            text,
            "**{}**: {}. End it now:\n\n```sh\n{commands}\n```\n",
            cell(&call.what),
            cell(call.obstacle)
        );
    }
    let (required, advisory): (Vec<&RecordedFinding>, Vec<&RecordedFinding>) =
        summary.causes().into_iter().partition(|finding| finding.level == RecordedLevel::Required);
    for (number, finding) in required.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", number + 1, fix(finding));
    }
    if required.is_empty() && summary.calls.is_empty() {
        text.push_str("Nothing is required.\n");
    }
    let shared = summary
        .findings
        .iter()
        .filter(|it| it.level == RecordedLevel::Required && summary.shared_with(it).is_some())
        .count();
    if shared > 0 {
        let waits = if shared == 1 { "waits" } else { "wait" };
        let _ = writeln!(text, "\n{} {waits} for these.", counted(shared, "other finding"));
    }
    if !advisory.is_empty() {
        text.push_str("\nAdvisory:\n\n");
        for finding in advisory {
            let _ = writeln!(text, "- {}", fix(finding));
        }
    }
}

/// The fix of a finding, with the finding's name.
fn fix(finding: &RecordedFinding) -> String {
    format!(
        "{} ({}, {})",
        cell(finding.fix.as_deref().unwrap_or("no fix is recorded")),
        name(&finding.check),
        cell(&finding.subject)
    )
}

/// What was seen and expected, for each cause, and what an exception covers.
fn seen(text: &mut String, summary: &ReportSummary<'_>) {
    let causes = summary.causes();
    let excepted =
        || summary.findings.iter().filter(|finding| finding.status == RecordedStatus::Excepted);
    if causes.is_empty() && excepted().next().is_none() {
        return;
    }
    text.push_str("\n## Findings\n");
    if !causes.is_empty() {
        text.push_str("\n| | check | subject | seen | expected |\n|---|---|---|---|---|\n");
    }
    for finding in causes {
        let at = finding.at.as_ref().map_or_else(String::new, |at| format!(" ({at})"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {}{} | {} |",
            word(finding),
            name(&finding.check),
            cell(&finding.subject),
            cell(&finding.saw),
            cell(&at),
            cell(&finding.wanted)
        );
    }
    for finding in excepted() {
        let why = finding.excepted.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n⚠️ excepted: {} {}: {}",
            name(&finding.check),
            cell(&finding.subject),
            cell(why)
        );
    }
}

fn counts(text: &mut String, summary: &ReportSummary<'_>) {
    text.push_str(
        "\n<details><summary>All checks</summary>\n\n| check | passed | not applicable | failed | \
         unknown | excepted |\n|---|---|---|---|---|---|\n",
    );
    for (check, findings) in summary.by_check() {
        let count =
            |status| match findings.iter().filter(|finding| finding.status == status).count() {
                0 => String::new(),
                several => several.to_string(),
            };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            name(check),
            count(RecordedStatus::Passed),
            count(RecordedStatus::NotApplicable),
            count(RecordedStatus::Failed),
            count(RecordedStatus::Unknown),
            count(RecordedStatus::Excepted)
        );
    }
    text.push_str("\n</details>\n");
}

fn word(finding: &RecordedFinding) -> &'static str {
    match (finding.status, finding.level) {
        (RecordedStatus::Failed, RecordedLevel::Required) => "❌ failed",
        (RecordedStatus::Unknown, RecordedLevel::Required) => "❓ unknown",
        (RecordedStatus::Failed, RecordedLevel::Advisory) => "advisory: failed",
        (RecordedStatus::Unknown, RecordedLevel::Advisory) => "advisory: unknown",
        (RecordedStatus::Passed | RecordedStatus::NotApplicable | RecordedStatus::Excepted, _) => {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{document::tests::recorded, summary::tests::other};

    #[test]
    fn run_account_region_and_verdict_come_first_then_what_to_do() {
        let report = recorded("refused-v2");
        let text = markdown(&ReportSummary::of_run(&report));
        let beginnings: Vec<&str> =
            text.lines().take(4).filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(beginnings, ["- **Run**", "- **Account**", "- **Region**", "- **Verdict**"]);
        assert!(text.lines().next().unwrap().contains(&report.run), "{text}");
        assert!(text.contains("- **Account**: `123456789012`\n"), "{text}");
        let sections: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(sections, ["## What to do", "## Findings", "## Residual risks"]);
        assert!(text.contains("\n\n## What to do\n\n1. "), "{text}");
    }

    #[test]
    fn an_audit_and_a_reencrypt_have_a_summary_too() {
        for name in ["audit", "reencrypt", "reencrypt-batch"] {
            let report = other(name);
            insta::assert_snapshot!(name, markdown(&ReportSummary::of(&report)));
        }
    }
}

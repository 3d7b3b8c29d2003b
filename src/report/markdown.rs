//! The findings as a summary in Markdown, for a pipeline's summary page or a ticket: the verdict,
//! what is open, counts of the rest, the gaps.

use std::fmt::Write as _;

use crate::{
    base::markdown::{cell, name},
    report::{
        conclusion::{Conclusion, Tone},
        document::{RecordedFinding, RecordedLevel, RecordedStatus, RunReport},
    },
};

/// The whole document.
pub(crate) fn markdown(document: &RunReport) -> String {
    let conclusion = Conclusion::of(document);
    let sign = match conclusion.tone {
        Tone::Good => "✅",
        Tone::Bad => "❌",
        Tone::Unsure => "❓",
        Tone::Plain => "ℹ️",
    };
    let config = document
        .inputs
        .as_ref()
        .map_or_else(String::new, |inputs| format!("{}, ", name(&inputs.config)));
    let mut text = format!(
        "## emr-etl-guard: {sign} {}\n\n{}\n\n{config}exit code {}\n",
        conclusion.title.to_lowercase(),
        cell(&conclusion.sentence),
        document.exit_code
    );
    for call in document.calls_to_act() {
        // A fence that no text can close.
        let commands = call.commands.replace('`', "'");
        let _ = writeln!(
            text,
            "\n**{}**: {}. End it now:\n\n```sh\n{commands}\n```",
            cell(&call.what),
            cell(call.obstacle)
        );
    }
    let open: Vec<&RecordedFinding> = document
        .all_findings()
        .filter(|finding| finding.is_open() && finding.waits_for.is_none())
        .collect();
    if !open.is_empty() {
        text.push_str(
            "\n| | check | subject | saw | wanted | to do |\n|---|---|---|---|---|---|\n",
        );
        for finding in &open {
            let at = finding.at.as_ref().map_or_else(String::new, |at| format!(" ({at})"));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {}{} | {} | {} |",
                word(finding),
                name(&finding.check),
                cell(&finding.subject),
                cell(&finding.saw),
                cell(&at),
                cell(&finding.wanted),
                cell(finding.fix.as_deref().unwrap_or("-"))
            );
        }
    }
    let excepted =
        document.all_findings().filter(|finding| finding.status == RecordedStatus::Excepted);
    for finding in excepted {
        let why = finding.excepted.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n⚠️ excepted: {} {}: {}",
            name(&finding.check),
            cell(&finding.subject),
            cell(why)
        );
    }
    text.push_str(
        "\n<details><summary>All checks</summary>\n\n| check | proved | not applicable | failed | unknown | excepted |\n|---|---|---|---|---|---|\n",
    );
    for (check, findings) in document.by_check() {
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
    text.push_str("\n</details>\n\nWhat stays open whatever the checks prove:\n\n");
    for residual_risk in &document.residual_risks {
        let _ = writeln!(text, "- {}: {}", name(&residual_risk.name), cell(&residual_risk.what));
    }
    text
}

fn word(finding: &RecordedFinding) -> &'static str {
    match (finding.status, finding.level) {
        (RecordedStatus::Failed, RecordedLevel::Required) => "❌ failed",
        (RecordedStatus::Unknown, RecordedLevel::Required) => "❓ unknown",
        (RecordedStatus::Failed, RecordedLevel::Advisory) => "advice: failed",
        (RecordedStatus::Unknown, RecordedLevel::Advisory) => "advice: unknown",
        (RecordedStatus::Passed | RecordedStatus::NotApplicable | RecordedStatus::Excepted, _) => {
            ""
        }
    }
}

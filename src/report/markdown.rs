//! The findings as a summary in Markdown, for a pipeline's summary page or a ticket: the verdict, what is open, counts of the rest, the gaps.

use std::fmt::Write as _;

use super::Record;
use crate::{
    checks::{CATALOGUE, Finding, Level, Status},
    markdown::cell,
    verdict::Verdict,
};

/// The whole record.
pub(super) fn markdown(record: &Record<'_>) -> String {
    let verdict = match record.verdict {
        Some(Verdict::Launch) if record.only => "✅ what was asked for holds",
        Some(Verdict::Launch) => "✅ would launch",
        Some(Verdict::RefuseRefuted) => "❌ refused: a required check is refuted",
        Some(Verdict::RefuseUnknown) => "❓ refused: facts could not be established",
        None => "an open run was closed",
    };
    let mut text = format!(
        "## emr-etl-guard: {verdict}\n\n`{}`, exit code {}\n",
        cell(record.inputs.as_ref().map_or("", |inputs| inputs.config)),
        record.exit_code
    );
    let open: Vec<&Finding> = record.findings.iter().copied().filter(|finding| finding.is_open() && finding.waits_for.is_none()).collect();
    if !open.is_empty() {
        text.push_str("\n| | check | subject | saw | wanted | to do |\n|---|---|---|---|---|---|\n");
        for finding in &open {
            let at = finding.at.as_ref().map_or_else(String::new, |at| format!(" ({at})"));
            let _ = writeln!(
                text,
                "| {} | `{}` | {} | {}{} | {} | {} |",
                word(finding),
                finding.check.name,
                cell(&finding.subject),
                cell(&finding.saw),
                cell(&at),
                cell(&finding.wanted),
                cell(finding.mend.as_deref().unwrap_or("-"))
            );
        }
    }
    let excused = record.findings.iter().filter(|finding| finding.status == Status::Excused);
    for finding in excused {
        let why = finding.excused.as_deref().unwrap_or_default();
        let _ = writeln!(text, "\n⚠️ excused: `{}` {}: {}", finding.check.name, cell(&finding.subject), cell(why));
    }
    text.push_str(
        "\n<details><summary>All checks</summary>\n\n| check | proved | not applicable | refuted | unknown | excused |\n|---|---|---|---|---|---|\n",
    );
    for check in CATALOGUE {
        let of_check = || record.findings.iter().filter(|finding| finding.check.name == check.name);
        if of_check().next().is_none() {
            continue;
        }
        let count = |status| match of_check().filter(|finding| finding.status == status).count() {
            0 => String::new(),
            several => several.to_string(),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            check.name,
            count(Status::Proved),
            count(Status::NotApplicable),
            count(Status::Refuted),
            count(Status::Unknown),
            count(Status::Excused)
        );
    }
    text.push_str("\n</details>\n\nWhat stays open whatever the checks prove:\n\n");
    for gap in record.gaps {
        let _ = writeln!(text, "- `{}`: {}", gap.name, cell(&gap.what));
    }
    text
}

fn word(finding: &Finding) -> &'static str {
    match (finding.status, finding.level) {
        (Status::Refuted, Level::Required) => "❌ refuted",
        (Status::Unknown, Level::Required) => "❓ unknown",
        (Status::Refuted, Level::Advised) => "advice: refuted",
        (Status::Unknown, Level::Advised) => "advice: unknown",
        (Status::Proved | Status::NotApplicable | Status::Excused, _) => "",
    }
}

//! The findings on the page: open ones first, each with its fix; then excepted ones; then all
//! others, folded by check.

use maud::{Markup, html};

use crate::{
    checks::{catalogue, finding::Stage},
    report::{
        conclusion::counted,
        document::{RecordedFinding, RecordedLevel, RecordedStatus, RunReport},
        html::{
            marks::Mark,
            table::{Column, table},
        },
    },
};

/// Text in which backticks mark code.
pub(super) fn words(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    // Unpaired backticks are not markup.
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (index, part) in parts.into_iter().enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn word(status: RecordedStatus) -> &'static str {
    match status {
        RecordedStatus::NotApplicable => "not applicable",
        other => other.word(),
    }
}

const ORDER: [RecordedStatus; 5] = [
    RecordedStatus::Failed,
    RecordedStatus::Unknown,
    RecordedStatus::Excepted,
    RecordedStatus::Passed,
    RecordedStatus::NotApplicable,
];

/// The number of findings of each kind; advisory ones are counted separately.
pub(super) fn counts(document: &RunReport) -> Markup {
    let number = |status: RecordedStatus, advice: bool| {
        document
            .all_findings()
            .filter(|finding| {
                finding.status == status
                    && (finding.is_open() && finding.level == RecordedLevel::Advisory) == advice
            })
            .count()
    };
    let kinds = ORDER.into_iter().flat_map(|status| [(status, false), (status, true)]);
    html! {
        ul.counts {
            @for (status, advice) in kinds {
                @let number = number(status, advice);
                @if number > 0 {
                    li { (Mark::from(status).with(&format!("{number} \
                        {}", word(status)))) @if advice { " " span.soft { "as advice" } } }
                }
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "sections that may be missing stand beside it")]
pub(super) fn open(document: &RunReport) -> Option<Markup> {
    let of_level = |level: RecordedLevel| {
        let mut open: Vec<&RecordedFinding> = document
            .all_findings()
            .filter(|finding| finding.is_open() && finding.level == level)
            .collect();
        open.sort_by_key(|finding| finding.status);
        open
    };
    let (required, advisory) =
        (of_level(RecordedLevel::Required), of_level(RecordedLevel::Advisory));
    let excepted: Vec<&RecordedFinding> = document
        .all_findings()
        .filter(|finding| finding.status == RecordedStatus::Excepted)
        .collect();
    Some(html! {
        @if required.is_empty() && advisory.is_empty() { p { (Mark::Passed.with("Nothing is \
            open.")) } }
        @if !required.is_empty() { h3 { "Open, and required" } (cards(&required)) }
        @if !advisory.is_empty() { h3 { "Open, as advice" } p.soft { "These refuse nothing, \
            unless the setting " code { "enforce" } " says so." } (cards(&advisory)) }
        @if !excepted.is_empty() { h3 { "Excepted" } (cards(&excepted)) }
    })
}

/// A card for each finding; findings that only wait for another are listed in one line below.
fn cards(findings: &[&RecordedFinding]) -> Markup {
    let (waiting, told): (Vec<&RecordedFinding>, Vec<&RecordedFinding>) =
        findings.iter().copied().partition(|finding| finding.waits_for.is_some());
    html! {
        @if !told.is_empty() { ul.cards { @for finding in told { (card(finding)) } } }
        @if !waiting.is_empty() {
            ul.waiting { @for finding in waiting {
                li { (Mark::Open.with("waits")) " " code { (finding.check) } " \
                    on " span.subject { (finding.subject) } ", \
                    for " code { (finding.waits_for.as_deref().unwrap_or_default()) } }
            } }
        }
    }
}

fn card(finding: &RecordedFinding) -> Markup {
    let mark = Mark::from(finding.status);
    let check = catalogue::find(&finding.check);
    html! {
        li class={ "card " (mark.class()) } {
            h4 {
                (mark.with(word(finding.status))) " " code { (finding.check) }
                " " span.subject { (finding.subject) }
            }
            dl {
                div {
                    dt { "Seen" }
                    dd {
                        (words(&finding.saw)) @if let Some(at) = &finding.at {
                            " " span.soft { "at " code { (at) } }
                        }
                    }
                }
                div { dt { "Expected" } dd { (words(&finding.wanted)) } }
                @if let Some(excepted) = &finding.excepted {
                    div { dt { "Excepted" } dd { (words(excepted)) } }
                }
                @if let Some(fix) = &finding.fix { div { dt { "Fix" } dd.fix { (words(fix)) } } }
                @if let Some(check) = check { div { dt { "Why" } dd.soft { (words(check.why)) } } }
            }
        }
    }
}

/// Findings of one check with the same text for several subjects.
struct FindingGroup<'a> {
    finding: &'a RecordedFinding,
    subjects: Vec<&'a str>,
}

fn folded<'a>(findings: &[&'a RecordedFinding]) -> Vec<FindingGroup<'a>> {
    let mut folded: Vec<FindingGroup<'a>> = Vec::new();
    for finding in findings.iter().copied() {
        let same = folded.iter_mut().find(|same| {
            same.finding.status == finding.status
                && same.finding.saw == finding.saw
                && same.finding.wanted == finding.wanted
        });
        match same {
            Some(same) => same.subjects.push(&finding.subject),
            None => folded.push(FindingGroup { finding, subjects: vec![&finding.subject] }),
        }
    }
    folded
}

/// Every check of the report with its findings, one table for each stage.
pub(super) fn all(document: &RunReport) -> Option<Markup> {
    let stages = [
        (Some(Stage::PreFlight), "Before the launch"),
        (Some(Stage::Watch), "On each cluster of the run"),
        (Some(Stage::Confirm), "After the run"),
        (None, "Checks that this version does not know"),
    ];
    let by_check = document.by_check();
    if by_check.is_empty() {
        return None;
    }
    Some(html! {
        @for (stage, title) in stages {
            @let of_stage: Vec<_> = by_check
                .iter()
                .filter(|(check, _)| catalogue::find(check).map(|check| check.stage) == stage)
                .collect();
            @if !of_stage.is_empty() {
                @let number: usize = of_stage.iter().map(|(_, findings)| findings.len()).sum();
                details open {
                    summary {
                        (title) " " span.soft {
                            (counted(of_stage.len(), "check")) ", " (counted(number, "finding"))
                        }
                    }
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Check" } th scope="col" { "Answer" }
                                th scope="col" { "On" } th scope="col" { "Seen" }
                            }
                        }
                        @for (check, findings) in of_stage {
                            @let rows = folded(findings);
                            tbody id={ "check-" (check) } {
                                @for (index, same) in rows.iter().enumerate() {
                                    tr {
                                        @if index == 0 {
                                            th scope="rowgroup" rowspan=(rows.len()) {
                                                code { (check) }
                                            }
                                        }
                                        td { (Mark::from(same.finding.status).with(word(same.finding.status))) @if same.finding.level == RecordedLevel::Advisory { " " span.soft { "(advice)" } } }
                                        td { span.subject { (same.subjects.join(", ")) } }
                                        td { (words(&same.finding.saw)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}

/// The exceptions of the settings, and the findings that each covers.
pub(super) fn exceptions(document: &RunReport) -> Option<Markup> {
    let exceptions = document
        .inputs
        .as_ref()
        .map(|inputs| &inputs.policy.exceptions)
        .filter(|exceptions| !exceptions.is_empty())?;
    let fits = |pattern: &str, subject: &str| {
        pattern.strip_suffix('*').map_or(pattern == subject, |start| subject.starts_with(start))
    };
    Some(table(
        &[
            Column::Text("Check"),
            Column::Text("On"),
            Column::Text("Reason"),
            Column::Text("Until"),
            Column::Text("Covers"),
        ],
        &html! {
            tbody { @for exception in exceptions {
                @let excepted = document
                    .of_check(&exception.check)
                    .filter(|finding| {
                        finding.status == RecordedStatus::Excepted
                            && fits(&exception.subject, &finding.subject)
                    })
                    .count();
                tr {
                    th scope="row" { code { (exception.check) } }
                    td { (exception.subject) } td { (exception.reason) }
                    td { (exception.expires) }
                    td { @if excepted == 0 { "nothing: remove it from the \
                        settings" } @else { (counted(excepted, "finding")) } }
                }
            } }
        },
    ))
}

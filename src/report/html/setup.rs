//! The HTML page of a `setup`: what was made and changed, with the ids of AWS's requests, what is
//! left, and the plan.

use maud::{Markup, html};

use crate::{
    base::{json::pretty, outcome::Outcome},
    report::{
        html::{
            Frame, Sections, caller, connections, fact, grouped, headline,
            marks::Mark,
            optional, signed,
            times::{lasted, time},
        },
        setup_document::{PlannedAction, PlannedStep, SetupMode, SetupReport},
        signature::ReportSignature,
    },
    setup::{
        record::{AppliedAction, AppliedCall, AppliedStep},
        undo::{UndoResult, UndoneStep},
    },
};

/// The whole page.
pub(crate) fn page(document: &SetupReport, signature: &ReportSignature) -> String {
    let (mark, title, sentence) = conclusion(document);
    let sections = Sections::new([
        ("to-do", "What to do", to_do(document)),
        ("who", "Who, what, when", Some(who(document, signature))),
        ("done", "What was made and changed", done(document)),
        ("taken-back", "What was taken back", taken_back(document)),
        ("plan", "The plan, step by step", plan(document)),
        ("connections", "Who answered as AWS", connections(&document.connections)),
    ]);
    let footer = html! {
        p { "Made from the document of a setup (version " (document.version) ", by emr-etl-guard "
            (document.guard) "). The document is what was planned and done; this page only shows \
            it." }
    };
    let frame = Frame {
        title,
        subject: None,
        kind: "Setup of encryption",
        command: &document.command,
        started: document.started,
        skip: ("who", "Skip to who did what, when"),
        footer: &footer,
    };
    frame.page(&html! {
        (headline(mark, title, &sentence, document.exit_code, &counts(document)))
        (sections.shown())
    })
}

/// How many steps of the plan have this action.
fn planned(document: &SetupReport, action: PlannedAction) -> u64 {
    document.plan.iter().filter(|step| step.action == action).count() as u64
}

/// The steps that were carried out, complete or not.
fn applied(document: &SetupReport) -> &[AppliedStep] {
    document.record.as_ref().map_or(&[], |record| record.steps.as_slice())
}

/// An icon, a title and a sentence.
pub(in crate::report) fn conclusion(document: &SetupReport) -> (Mark, &'static str, String) {
    let is_good = document.outcome == Outcome::Ended(0);
    let changes =
        planned(document, PlannedAction::Create) + planned(document, PlannedAction::Change);
    match (document.mode, is_good) {
        (SetupMode::Plan, true) if changes == 0 => (
            Mark::Passed,
            "Everything is in place",
            "Nothing has to be made or changed.".to_owned(),
        ),
        (SetupMode::Plan, true) => (
            Mark::Open,
            "Something is to be made",
            format!("{changes} steps would be carried out by --apply. Nothing was changed."),
        ),
        (SetupMode::Plan, false) => (
            Mark::Open,
            "The plan is not complete",
            "What is refused, unknown or left to people is named below. Nothing was changed."
                .to_owned(),
        ),
        (SetupMode::Apply, true) => (
            Mark::Passed,
            "Everything is in place",
            "Each step was looked at again before it counted, and every required check passed \
             afterwards."
                .to_owned(),
        ),
        (SetupMode::Apply, false) => (
            Mark::Open,
            "Not everything is in place",
            "What was made is named below, and what is left.".to_owned(),
        ),
        (SetupMode::Undo, true) => (
            Mark::Passed,
            "Taken back",
            "What nothing uses and nobody has changed was taken back; what stays is named below."
                .to_owned(),
        ),
        (SetupMode::Undo, false) => (
            Mark::Open,
            "Not everything could be taken back",
            "What stays, and why, is named below.".to_owned(),
        ),
        (SetupMode::Retire, _) => (
            Mark::Passed,
            "Retired",
            "A security configuration that nothing uses was deleted.".to_owned(),
        ),
    }
}

fn counts(document: &SetupReport) -> Markup {
    let of = |action| {
        applied(document).iter().filter(|step| step.action == action && step.verified).count()
            as u64
    };
    let counts = [
        (Mark::Passed, of(AppliedAction::Create), "made and verified"),
        (Mark::Passed, of(AppliedAction::Change), "changed and verified"),
        (Mark::Failed, planned(document, PlannedAction::Refuse), "refused"),
        (Mark::Open, planned(document, PlannedAction::Unknown), "unknown"),
        (Mark::Nothing, planned(document, PlannedAction::Keep), "in place before"),
    ];
    html! {
        ul.counts {
            @for (mark, number, what) in counts {
                @if number > 0 { li { (mark.with(&format!("{} {what}", grouped(number)))) } }
            }
        }
    }
}

/// What is refused, unknown, not complete, or left to people.
fn to_do(document: &SetupReport) -> Option<Markup> {
    let open: Vec<&PlannedStep> = document
        .plan
        .iter()
        .filter(|step| matches!(step.action, PlannedAction::Refuse | PlannedAction::Unknown))
        .collect();
    let failed: Vec<&AppliedStep> =
        applied(document).iter().filter(|step| step.error.is_some()).collect();
    if open.is_empty() && failed.is_empty() && document.left.is_empty() {
        return None;
    }
    Some(html! {
        ul.plain {
            @for step in open {
                li {
                    (step.kind) " " code { (step.subject) } ": " (step.seen.as_deref().unwrap_or_default())
                    @if let Some(fix) = &step.fix { "; fix: " (fix) }
                    "."
                }
            }
            @for step in failed {
                li {
                    (step.piece.kind()) " " code { (step.piece.subject()) } ": "
                    (step.error.as_deref().unwrap_or_default()) "."
                }
            }
            @for check in &document.left {
                li { "The check " code { (check) } " does not pass: " code { "emr-etl-guard check" }
                    " says why, and what to do." }
            }
        }
    })
}

fn who(document: &SetupReport, signature: &ReportSignature) -> Markup {
    let mode = match document.mode {
        SetupMode::Plan => "a plan",
        SetupMode::Apply => "--apply",
        SetupMode::Undo => "--undo",
        SetupMode::Retire => "--retire",
    };
    html! {
        dl.facts {
            (fact("Asked for", &html! { code { (mode) } }))
            (fact("Started", &html! { (time(document.started)) }))
            (fact("Ended", &html! {
                (time(document.ended)) " "
                span.soft { "after " (lasted(document.started, document.ended)) }
            }))
            (fact("Account", &html! { code { (document.account) } ", region " code { (document.region) } }))
            (optional("Runner config", Some(&document.config)))
            (optional("Security configuration", document.security_configuration.as_deref()))
            (caller(Some(&document.who)))
            (fact("Signature", &signed(signature)))
        }
    }
}

/// The calls of a step, each with AWS's id of the request.
fn calls(calls: &[AppliedCall]) -> Markup {
    html! {
        @for (index, call) in calls.iter().enumerate() {
            @if index > 0 { br; }
            (call.operation) " "
            @match &call.request {
                Some(request) => code { (request) },
                None => span.soft { "(no answer)" },
            }
        }
    }
}

fn done(document: &SetupReport) -> Option<Markup> {
    let steps = applied(document);
    (!steps.is_empty()).then(|| {
        html! {
            div.table {
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Step" } th scope="col" { "Result" }
                            th scope="col" { "Calls, with the ids of AWS's requests" }
                            th scope="col" { "When" }
                        }
                    }
                    tbody {
                        @for step in steps {
                            tr {
                                th scope="row" data-label="Step" {
                                    (step.piece.kind()) " " code { (step.piece.subject()) }
                                }
                                td data-label="Result" { (result(step)) }
                                td data-label="Calls" { (calls(&step.calls)) }
                                td data-label="When" { (time(step.at)) }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn result(step: &AppliedStep) -> Markup {
    match (&step.error, step.action) {
        (Some(_), _) => Mark::Failed.with("not complete"),
        (None, AppliedAction::Create) => Mark::Passed.with("made, and looked at"),
        (None, AppliedAction::Change) => Mark::Passed.with("changed, and looked at"),
        (None, AppliedAction::Found) => Mark::Nothing.with("was there already"),
    }
}

fn taken_back(document: &SetupReport) -> Option<Markup> {
    (!document.taken_back.is_empty()).then(|| {
        html! {
            div.table {
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Piece" } th scope="col" { "Result" }
                            th scope="col" { "Calls, with the ids of AWS's requests" }
                        }
                    }
                    tbody {
                        @for step in &document.taken_back {
                            tr {
                                th scope="row" data-label="Piece" {
                                    (step.piece.kind()) " " code { (step.piece.subject()) }
                                }
                                td data-label="Result" { (came_of(step)) }
                                td data-label="Calls" { (calls(&step.calls)) }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn came_of(step: &UndoneStep) -> Markup {
    match &step.result {
        UndoResult::Undone { stays: None } => Mark::Passed.with("taken back"),
        UndoResult::Undone { stays: Some(why) } => {
            html! { (Mark::Inferred.with("taken back, except:")) " " (why) }
        }
        UndoResult::Gone => Mark::Nothing.with("was gone already"),
        UndoResult::Kept { why } => html! { (Mark::Excepted.with("stays:")) " " (why) },
        UndoResult::Unknown { why } => html! { (Mark::Open.with("stays, unknown:")) " " (why) },
        UndoResult::Failed { why } => html! { (Mark::Failed.with("not taken back:")) " " (why) },
    }
}

fn plan(document: &SetupReport) -> Option<Markup> {
    (!document.plan.is_empty()).then(|| {
        html! {
            div.table {
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Step" } th scope="col" { "Action" }
                            th scope="col" { "Asked by" } th scope="col" { "Settings" }
                        }
                    }
                    tbody {
                        @for step in &document.plan {
                            tr {
                                th scope="row" data-label="Step" {
                                    (step.kind) " " code { (step.subject) }
                                }
                                td data-label="Action" { (action(step.action)) }
                                td data-label="Asked by" {
                                    (step.checks.join(", "))
                                    @for note in &step.notes { p.soft { (note) } }
                                    @if let Some(cost) = &step.cost { p.soft { (cost) } }
                                    p.soft { (step.source) }
                                }
                                td data-label="Settings" { (settings(step)) }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn action(action: PlannedAction) -> Markup {
    match action {
        PlannedAction::Create => Mark::Open.with("create"),
        PlannedAction::Change => Mark::Open.with("change"),
        PlannedAction::Keep => Mark::Passed.with("in place"),
        PlannedAction::Refuse => Mark::Failed.with("refused"),
        PlannedAction::Unknown => Mark::Open.with("unknown"),
    }
}

/// The settings before and as they should be, folded.
fn settings(step: &PlannedStep) -> Markup {
    let before = step.before.as_ref().map(|before| pretty(before).unwrap_or_default());
    html! {
        @if let Some(before) = before {
            details { summary { "before" } pre { (before) } }
        }
        details { summary { "as it should be" } pre { (step.wanted_text()) } }
    }
}

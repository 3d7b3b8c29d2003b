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
            table::{Column, table},
            times::{lasted, time},
        },
        setup_document::{PlannedAction, PlannedStep, SetupMode, SetupReport},
        signature::ReportSignature,
    },
    setup::record::{AppliedAction, AppliedCall, AppliedStep, UndoResult, UndoneStep},
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
        kind: if is_of_sentinel(document) { "Setup for a sentinel" } else { "Setup of encryption" },
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

/// Whether it is of what a sentinel needs, which no runner config asks for.
const fn is_of_sentinel(document: &SetupReport) -> bool {
    document.config.is_empty()
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
            if is_of_sentinel(document) {
                "Each step was looked at again before it counted, and all of it afterwards."
            } else {
                "Each step was looked at again before it counted, and every required check passed \
                 afterwards."
            }
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
            (optional("Runner config", Some(document.config.as_str()).filter(|_| !is_of_sentinel(document))))
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
        table(
            &[
                Column::Text("Step"),
                Column::Text("Result"),
                Column::Text("Calls, with the ids of AWS's requests"),
                Column::Text("When"),
            ],
            &html! {
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
            },
        )
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
        table(
            &[
                Column::Text("Piece"),
                Column::Text("Result"),
                Column::Text("Calls, with the ids of AWS's requests"),
            ],
            &html! {
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
            },
        )
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
        table(
            &[
                Column::Text("Step"),
                Column::Text("Action"),
                Column::Text("Asked by"),
                Column::Text("Settings"),
            ],
            &html! {
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
            },
        )
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::html::tests::{is_one_page, lines, texts_stay_texts, with_texts};

    const APPLIED: &str = include_str!("../../../tests/recordings/documents/setup-apply-v1.json");
    const TAKEN_BACK: &str = include_str!("../../../tests/recordings/documents/setup-undo-v1.json");

    fn page(value: Value) -> String {
        super::page(&serde_json::from_value(value).unwrap(), &ReportSignature::Unsigned)
    }

    fn recorded(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// One that stopped: a step failed, another is refused, another unknown, a check is left.
    fn stopped() -> Value {
        let mut value = recorded(APPLIED);
        value["outcome"] = json!("facts-unknown");
        value["exit_code"] = json!(75);
        value["left"] = json!(["vpc-dhcp-options"]);
        let steps = value["record"]["steps"].as_array_mut().unwrap();
        let last = steps.last_mut().unwrap();
        last["verified"] = json!(false);
        last["error"] = json!("CreateSecurityConfiguration was denied");
        last["calls"][0]["request"] = Value::Null;
        value["plan"][0]["action"] = json!("refuse");
        value["plan"][0]["seen"] = json!("another trusts it");
        value["plan"][0]["remediation"] = json!("choose another role");
        value["plan"][1]["action"] = json!("unknown");
        value["plan"][1]["seen"] = json!("GetInstanceProfile was denied");
        value["plan"][2]["action"] = json!("change");
        value["plan"][2]["before"] = json!({"enabled": false});
        value
    }

    #[test]
    fn the_page_names_each_piece_that_was_made_with_the_ids_of_the_requests() {
        let value = recorded(APPLIED);
        let page = page(value.clone());
        is_one_page(&page);
        assert!(page.contains("Everything is in place"), "{page}");
        assert!(!page.contains(r#"id="to-do""#) && !page.contains(r#"id="taken-back""#));
        for step in value["record"]["steps"].as_array().unwrap() {
            for call in step["calls"].as_array().unwrap() {
                let shown = format!(
                    "{} <code>{}",
                    call["operation"].as_str().unwrap(),
                    call["request"].as_str().unwrap()
                );
                assert!(page.contains(&shown), "{shown}");
            }
        }
        insta::assert_snapshot!(lines(&page));
    }

    #[test]
    fn the_page_of_one_that_stopped_says_first_what_is_left_and_why() {
        let page = page(stopped());
        is_one_page(&page);
        let text = lines(&page);
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place("Not everything is in place") < place(r#"<section id="to-do""#));
        assert!(place(r#"<section id="to-do""#) < place(r#"<section id="who""#));
        for part in [
            "another trusts it; fix: choose another role",
            "GetInstanceProfile was denied",
            "CreateSecurityConfiguration was denied",
            "<code>vpc-dhcp-options</code>",
        ] {
            assert!(place(part) < place(r#"<section id="who""#), "{part}");
        }
        assert!(text.contains("(no answer)") && text.contains("not complete"), "{text}");
    }

    /// What was there before is no more: the page does not show it as being there.
    #[test]
    fn the_page_of_an_undo_says_what_is_gone_and_what_stays_and_nothing_of_a_plan() {
        let page = page(recorded(TAKEN_BACK));
        is_one_page(&page);
        assert!(page.contains("Taken back") && page.contains("stays:"), "{page}");
        assert!(!page.contains("in place") && !page.contains(r#"id="plan""#), "{page}");
        insta::assert_snapshot!(lines(&page));
    }

    #[test]
    fn nothing_that_the_document_says_becomes_markup() {
        let kept = [
            "started", "ended", "finished", "mode", "command", "outcome", "action", "kind",
            "result", "holder", "region", "bucket", "key", "names",
        ];
        for value in [stopped(), recorded(TAKEN_BACK)] {
            texts_stay_texts(|more| {
                let mut value = value.clone();
                with_texts(&mut value, "", &kept, more);
                page(value)
            });
        }
    }
}

//! The plan of `setup` for people: a paragraph for each piece that has to be made or changed, with
//! the findings that ask for it, and a line for each piece that stays.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use crate::{
    base::{
        json::pretty,
        lookup::{LookupError, LookupErrorKind},
        outcome::Outcome,
        printable::{Printable, printable},
    },
    checks::{
        finding::{Finding, Level, fix_of_silence},
        verdict::Verdict,
    },
    setup::{
        piece::MADE_KEY,
        plan::{SetupPlan, Step, StepAction},
    },
};

/// How the ARN of a key that does not exist yet is shown.
const KEY_TO_BE_MADE: &str = "(the ARN of the new key)";
/// The number of unchanged lines around a difference.
const CONTEXT: usize = 1;

/// All steps. `findings` are those of `check` on the account as it is. Steps that follow each other
/// and differ in their subjects alone share their details.
pub(crate) fn steps(plan: &SetupPlan, findings: &[Finding]) -> String {
    let shown: Vec<ShownStep> =
        plan.steps.iter().map(|step| ShownStep::of(step, findings)).collect();
    let groups = shown.chunk_by(|one, next| one.details == next.details);
    let mut text = String::new();
    for group in groups {
        text.extend(group.iter().map(|step| step.heading.as_str()));
        if let Some(first) = group.first() {
            text.push_str(&first.details);
        }
    }
    text
}

/// The word for an action.
const fn word(action: &StepAction) -> &'static str {
    match action {
        StepAction::Create => "create",
        StepAction::Change { .. } => "change",
        StepAction::Keep => "in place",
        StepAction::Refuse { .. } => "REFUSED",
        StepAction::Unknown { .. } => "UNKNOWN",
    }
}

/// A step as lines.
struct ShownStep {
    heading: String,
    /// The lines below it.
    details: String,
}

impl ShownStep {
    fn of(step: &Step, findings: &[Finding]) -> Self {
        let subject = Printable::from(step.piece.subject());
        let word = word(&step.action);
        let heading = format!("{word:<8} {:<22} {subject}\n", step.piece.kind());
        let mut text = String::new();
        for (label, value) in details(step, &subject, findings) {
            let _ = writeln!(text, "         {label:<9} {value}");
        }
        text.push_str(&difference(step));
        Self { heading, details: text }
    }
}

/// The lines below a step's heading, each with its label.
fn details(
    step: &Step,
    subject: &Printable,
    findings: &[Finding],
) -> Vec<(&'static str, Printable)> {
    let mut details = Vec::new();
    if !matches!(step.action, StepAction::Keep) {
        if !step.checks.is_empty() {
            details.push(("asked by", printable!("{}", step.checks.join(", "))));
        }
        if step.checks.is_empty() {
            details.push(("asked by", "other pieces of this plan, which need it".into()));
        }
        details.extend(what_checks_say(step, subject, findings));
    }
    match &step.action {
        StepAction::Refuse { saw, fix } => {
            details.extend([("seen", saw.clone()), ("fix", fix.clone())]);
        }
        StepAction::Unknown { error } => {
            details.extend([("seen", error.to_string().into()), ("fix", fix_of_unknown(error))]);
        }
        StepAction::Create | StepAction::Change { .. } | StepAction::Keep => {}
    }
    details.extend(step.cost.iter().map(|cost| ("cost", cost.into())));
    details.extend(step.notes.iter().map(|note| ("note", note.clone())));
    if !matches!(step.action, StepAction::Keep) {
        details.push(("source", step.source.into()));
    }
    details
}

/// The fix if a piece could not be looked at.
fn fix_of_unknown(error: &LookupError) -> Printable {
    match error.kind {
        LookupErrorKind::Denied if error.cause.is_none() => printable!(
            "allow {} to the guard's credentials, then plan again",
            Printable::from(&error.operation)
        ),
        // The reason says what blocked it.
        LookupErrorKind::NotAsked => "first do what is said about that, then plan again".into(),
        kind => fix_of_silence(kind).into(),
    }
}

/// What the checks of a step say about its subject: what was seen and what was expected, where that
/// differs from an earlier line.
fn what_checks_say(
    step: &Step,
    subject: &Printable,
    findings: &[Finding],
) -> Vec<(&'static str, Printable)> {
    let mut said = Vec::new();
    let of_subject = findings.iter().filter(|finding| {
        step.checks.contains(&finding.check.name)
            && &finding.subject == subject
            && finding.is_open()
            && finding.waits_for.is_none()
    });
    for finding in of_subject {
        for line in [("seen", finding.saw.clone()), ("expected", finding.wanted.clone())] {
            if !said.contains(&line) {
                said.push(line);
            }
        }
    }
    said
}

/// What a change replaces, as the lines of a diff of two JSON documents.
fn difference(step: &Step) -> String {
    let StepAction::Change { before } = &step.action else { return String::new() };
    let Ok(after) = step.piece.settings() else { return String::new() };
    let (Ok(before), Ok(after)) = (pretty(before), pretty(&after)) else { return String::new() };
    let after = after.replace(MADE_KEY, KEY_TO_BE_MADE);
    let diff = TextDiff::from_lines(&before, &after);
    let mut text = String::new();
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            text.push_str("           ...\n");
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let line = change.value().trim_end_matches('\n');
            let _ = writeln!(text, "         {sign} {}", Printable::from(line));
        }
    }
    text
}

/// How many steps there are of each kind.
pub(crate) fn counts(plan: &SetupPlan) -> String {
    let count =
        |is: fn(&StepAction) -> bool| plan.steps.iter().filter(|step| is(&step.action)).count();
    let create = count(|action| matches!(action, StepAction::Create));
    let change = count(|action| matches!(action, StepAction::Change { .. }));
    let keep = count(|action| matches!(action, StepAction::Keep));
    let refused = count(|action| matches!(action, StepAction::Refuse { .. }));
    let unknown = count(|action| matches!(action, StepAction::Unknown { .. }));
    format!(
        "plan: {create} to create, {change} to change, {keep} in place, {refused} refused, \
         {unknown} unknown"
    )
}

/// The open findings that no step of the plan resolves.
fn unresolved<'a>(
    plan: &'a SetupPlan,
    findings: &'a [Finding],
) -> impl Iterator<Item = &'a Finding> {
    findings.iter().filter(|finding| {
        finding.is_open()
            && finding.waits_for.is_none()
            && !finding.counted
            && !plan.steps.iter().any(|step| step.resolves(finding.check.name, &finding.subject))
    })
}

/// What the required findings that are open after the plan mean for a launch; none if there are
/// none.
pub(crate) fn refusal_by_left(plan: &SetupPlan, findings: &[Finding]) -> Option<Outcome> {
    let required = unresolved(plan, findings).filter(|finding| finding.level == Level::Required);
    let left: Vec<Finding> = required.cloned().collect();
    if left.is_empty() { None } else { Verdict::of(&left).refusal() }
}

/// The required checks that are open after the plan, each once.
pub(crate) fn required_left(plan: &SetupPlan, findings: &[Finding]) -> Vec<String> {
    let required = unresolved(plan, findings).filter(|finding| finding.level == Level::Required);
    let mut names: Vec<String> = required.map(|finding| finding.check.name.to_owned()).collect();
    names.dedup();
    names
}

/// The open findings that no step of the plan resolves, and the plan's own advice: what is left to
/// people.
pub(crate) fn left_to_people(plan: &SetupPlan, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in unresolved(plan, findings) {
        let advice = if finding.level == Level::Advisory { " (advice only)" } else { "" };
        let _ = writeln!(text, "by hand  {:<22} {}{advice}", finding.check.name, finding.subject);
        let at = finding.at.as_ref().map(|at| printable!(" ({at})")).unwrap_or_default();
        let _ = writeln!(text, "         {:<9} {}{at}", "seen", finding.saw);
        let _ = writeln!(text, "         {:<9} {}", "expected", finding.wanted);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "         {:<9} {fix}", "fix");
        }
    }
    for advice in &plan.advice {
        let _ = writeln!(text, "by hand  {}", advice.saw);
        let _ = writeln!(text, "         {:<9} {}", "fix", advice.fix);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_asked_for_only_where_one_was_denied() {
        let fix = |kind| {
            let error = LookupError::new("iam:SimulatePrincipalPolicy", kind, "a message");
            fix_of_unknown(&error).to_string()
        };
        assert_eq!(
            fix(LookupErrorKind::Denied),
            "allow iam:SimulatePrincipalPolicy to the guard's credentials, then plan again"
        );
        for kind in [
            LookupErrorKind::Throttled,
            LookupErrorKind::TimedOut,
            LookupErrorKind::Connection,
            LookupErrorKind::ServerError,
            LookupErrorKind::UnreadableAnswer,
            LookupErrorKind::NotAsked,
            LookupErrorKind::Other,
        ] {
            let fix = fix(kind);
            assert!(!fix.contains("allow") && !fix.is_empty(), "{kind:?}: {fix}");
        }
    }
}

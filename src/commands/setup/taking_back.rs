//! `setup --undo`: what a report says was made is taken back.

use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    base::{
        outcome::Outcome,
        printable::{Printable, printable},
        text::shown,
    },
    commands::{
        error::GuardError,
        setup::live::{LiveSetup, SetupEnd},
    },
    report::setup_document::SetupMode,
    setup::{
        error::SetupError,
        journal::{SetupIdentity, SetupJournal},
        record::{AppliedAction, AppliedStep, SetupRecord, UndoResult, UndoneStep},
        undo::{self, UndoneSteps},
    },
};

impl LiveSetup<'_> {
    /// Takes back what a record says was made; without `--apply` it only says what that would be.
    /// Whatever ends it, the report has what was done.
    pub(super) async fn undo(
        &self,
        aws: &Aws,
        identity: SetupIdentity,
        record: &SetupRecord,
    ) -> Result<Outcome, GuardError> {
        if !self.flags.apply {
            undo::is_of(record, &identity).map_err(SetupError::from)?;
            self.show_undo(record);
            return Ok(Outcome::Ended(0));
        }
        let mut journal = self.journal(identity)?;
        let (report, started) = (self.report, self.started);
        let mut taken_back = Vec::new();
        let mut on_undone = |step: &UndoneStep| {
            report.say(printable!(
                "{} {}: {}",
                step.piece.kind(),
                Printable::from(step.piece.subject()),
                said(step, started)
            ));
            taken_back.push(step.clone());
        };
        let undoing = Box::pin(undo::undo(aws, record, &mut journal, &mut on_undone));
        let undone = self.unless_stopped(undoing).await;
        let result = match undone {
            Ok(Ok(UndoneSteps { stopped: None, .. })) => Ok(how_undone(&taken_back)),
            Ok(Ok(UndoneSteps { stopped: Some(error), .. })) => Err(SetupError::from(error)),
            Ok(Err(error)) => return Err(SetupError::from(error).into()),
            Err(signal) => {
                taken_back.extend(under_way(record, &journal));
                Err(self.undo_stopped(signal, &journal, &taken_back))
            }
        };
        let outcome = result.as_ref().map_or_else(SetupError::outcome, |outcome| *outcome);
        if result.is_ok() {
            self.say_end_of_undo(&taken_back);
        }
        let end = SetupEnd {
            mode: SetupMode::Undo,
            account: &journal.identity().account,
            plan: None,
            left: Vec::new(),
            record: None,
            taken_back,
            outcome,
        };
        self.write_report(aws, end)?;
        // What was cut off stays in the journal for the report of the undo that continues it.
        if result.is_ok() && self.settings.report.file.is_some() {
            journal.undo_reported().map_err(SetupError::from)?;
        }
        Ok(result?)
    }

    /// What an undo would try.
    fn show_undo(&self, record: &SetupRecord) {
        let made = record.steps.iter().rev().filter(|step| step.action != AppliedAction::Found);
        let (stays, tried): (Vec<_>, Vec<_>) =
            made.map(|step| (step, undo::always_stays(step))).partition(|(_, why)| why.is_some());
        let line = |step: &AppliedStep| {
            printable!("{} {}", step.piece.kind(), Printable::from(step.piece.subject()))
        };
        let report = self.report;
        if tried.is_empty() {
            report.say("nothing would be taken back: the report has nothing that can be");
        } else {
            report.say(
                "these would be taken back, each if it is still as it was made and nothing uses \
                 it; neither was looked at yet:",
            );
        }
        for (step, _) in tried {
            report.say(line(step));
        }
        for (step, why) in stays {
            report.say(printable!("stays: {}: {}", line(step), why.unwrap_or_default()));
        }
        report.say("nothing was changed; add --apply to do it");
    }

    /// How many pieces were taken back, and what to do about the others.
    fn say_end_of_undo(&self, taken_back: &[UndoneStep]) {
        let count =
            |is: fn(&UndoResult) -> bool| taken_back.iter().filter(|step| is(&step.result)).count();
        let undone = count(|it| matches!(it, UndoResult::Undone { .. }));
        let gone = count(|it| matches!(it, UndoResult::Gone));
        let kept = count(|it| matches!(it, UndoResult::Kept { .. }));
        let open = count(is_open);
        self.report.say(format!(
            "undo: {undone} taken back, {gone} gone already, {kept} left in place, {open} not \
             taken back or not known"
        ));
        if open > 0 {
            self.report.say(
                "run the same command again once what is said above is fixed; what was taken back \
                 stays so",
            );
        }
    }

    /// The end of an undo by `signal`, with what was done until then.
    fn undo_stopped(
        &self,
        signal: Signal,
        journal: &SetupJournal,
        taken_back: &[UndoneStep],
    ) -> SetupError {
        let mut left = match &self.settings.report.file {
            _ if taken_back.is_empty() => "nothing was taken back".to_owned(),
            Some(file) => format!("what was taken back until then is in {}", file.display()),
            None => format!(
                "what was taken back until then is in the journal {}, and the next `--undo \
                 --apply` with --report writes it into a report",
                journal.path().display()
            ),
        };
        left.push_str("; fix: run the same command again, which continues from here");
        SetupError::Stopped { signal, left }
    }
}

/// How an undo that tried every piece ends.
fn how_undone(taken_back: &[UndoneStep]) -> Outcome {
    if taken_back.iter().any(|step| is_open(&step.result)) {
        Outcome::FactsUnknown
    } else {
        Outcome::Ended(0)
    }
}

const fn is_open(result: &UndoResult) -> bool {
    matches!(result, UndoResult::Unknown { .. } | UndoResult::Failed { .. })
}

/// The steps in which an undo was stopped.
fn under_way(record: &SetupRecord, journal: &SetupJournal) -> Vec<UndoneStep> {
    let open = record.steps.iter().rev().filter(|step| journal.is_undoing(&step.piece));
    let unknown = |step: &AppliedStep| UndoneStep {
        piece: step.piece.clone(),
        result: UndoResult::Unknown {
            why: "the undo was stopped before this was looked at".to_owned(),
        },
        calls: Vec::new(),
        at: OffsetDateTime::now_utc(),
    };
    open.map(unknown).collect()
}

/// What came of taking back one piece. What an undo did that ended before `started` is called so.
fn said(step: &UndoneStep, started: OffsetDateTime) -> Printable {
    match &step.result {
        UndoResult::Undone { stays: None } if step.at < started => {
            printable!("was taken back by an earlier undo, at {}", shown(step.at))
        }
        UndoResult::Undone { stays: None } => printable!("taken back"),
        UndoResult::Undone { stays: Some(why) } => {
            printable!("taken back, except: {}", Printable::from(why))
        }
        UndoResult::Gone => printable!("was gone already"),
        UndoResult::Kept { why } => printable!("stays: {}", Printable::from(why)),
        UndoResult::Unknown { why } => {
            printable!("stays, because not everything could be looked at: {}", Printable::from(why))
        }
        UndoResult::Failed { why } => printable!("not taken back: {}", Printable::from(why)),
    }
}

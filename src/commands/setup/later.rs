//! What is done with a setup later: its certificates are rotated, it is taken back, or a security
//! configuration is retired.

use std::{collections::BTreeSet, path::Path};

use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    base::{
        lookup::Lookup,
        outcome::Outcome,
        printable::{Printable, printable},
        text::shown,
    },
    checks::node_names,
    commands::{
        error::GuardError,
        setup::{SetupEnd, SetupWork, look::Survey, nothing_changed, report_file::record_in},
    },
    evidence::journal::state_dir,
    report::setup_document::SetupMode,
    setup::{
        certificates,
        error::SetupError,
        journal::{SetupJournal, made_configuration},
        piece::NamedConfiguration,
        plan::SetupPlan,
        record::{AppliedAction, AppliedStep, SetupRecord, UndoResult, UndoneStep},
        retire::{self, RetireInputs},
        rotation_plan::rotation_plan,
        undo::{self, UndoneSteps},
    },
};

impl SetupWork<'_> {
    /// The plan of a rotation of the certificates that are used now.
    pub(super) fn rotation(&self, survey: &Survey) -> Result<SetupPlan, SetupError> {
        let name = self.configured().ok_or_else(|| {
            SetupError::Refused(
                "neither the runner config nor the settings name a security configuration, so \
                 there are no certificates to rotate; fix: run `setup` without \
                 --rotate-certificates"
                    .to_owned(),
            )
        })?;
        let content = match survey.state.security_configurations.get(name) {
            Some(Lookup::Found(content)) => content.clone(),
            Some(Lookup::Denied(error) | Lookup::Unreachable(error)) => {
                return Err(SetupError::Unseen {
                    what: "the security configuration",
                    error: Box::new(error.clone()),
                });
            }
            Some(Lookup::Absent) | None => {
                return Err(SetupError::Refused(format!(
                    "there is no security configuration {name}; fix: run `setup` without \
                     --rotate-certificates, which makes one"
                )));
            }
        };
        let current = NamedConfiguration { name: name.to_owned(), content };
        let material = survey.facts.certificates.as_ref().and_then(Lookup::found);
        let material = material.and_then(|read| read.as_ref().ok());
        let rotation = certificates::rotation(&self.options.name, &current, material, self.started)
            .map_err(|error| SetupError::Refused(error.to_string()))?;
        let names = [format!("*.{}", node_names::regional_domain(&self.config.emr_region.value))];
        let key = survey.facts.certificates_key.as_ref().map(|key| key.as_str().to_owned());
        Ok(rotation_plan(rotation, &names, key, self.options.certificate_days))
    }

    /// Takes back what a report says was made. Whatever ends it, the report has what was done.
    pub(super) async fn undo(&self, aws: &Aws, file: &Path) -> Result<Outcome, GuardError> {
        let record = record_in(file)?;
        let identity = self.identity(aws).await?;
        if !self.arguments.flags.apply {
            undo::is_of(&record, &identity).map_err(SetupError::from)?;
            self.show_undo(&record);
            return Ok(Outcome::Ended(0));
        }
        let mut journal = self.journal(identity)?;
        let (report, started) = (&self.report, self.started);
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
        let undoing = Box::pin(undo::undo(aws, &record, &mut journal, &mut on_undone));
        let undone = self.unless_stopped(undoing).await;
        let result = match undone {
            Ok(Ok(UndoneSteps { stopped: None, .. })) => Ok(how_undone(&taken_back)),
            Ok(Ok(UndoneSteps { stopped: Some(error), .. })) => Err(SetupError::from(error)),
            Ok(Err(error)) => return Err(SetupError::from(error).into()),
            Err(signal) => {
                taken_back.extend(under_way(&record, &journal));
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
            survey: None,
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
        let report = &self.report;
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

    /// Deletes a security configuration that nothing uses.
    pub(super) async fn retire(&self, aws: &Aws, name: &str) -> Result<Outcome, GuardError> {
        let identity = self.identity(aws).await?;
        let folder = state_dir(self.settings.state_dir.as_deref())?;
        let own = self.settings.security_configuration.as_deref();
        let of_config =
            self.config.security_configuration.as_ref().map(|named| named.value.as_str());
        let configured: BTreeSet<String> =
            own.into_iter().chain(of_config).map(str::to_owned).collect();
        let inputs =
            RetireInputs { name, configured: &configured, state_dir: &folder, record: None };
        if !self.arguments.flags.apply {
            let made = made_configuration(&folder, &identity, name).map_err(SetupError::from)?;
            let look = Box::pin(retire::may_be_retired(aws, made, inputs));
            let looked = self.unless_stopped(look).await.map_err(nothing_changed)?;
            looked.map_err(SetupError::from)?;
            self.report.say(printable!(
                "the security configuration {} would be deleted: setup made it, and no live \
                 cluster, no open run of this state directory, and neither this config nor the \
                 settings use it",
                Printable::from(name)
            ));
            self.report.say(
                "configs of other pipelines and other hosts were not looked at; nothing was \
                 changed; add --apply to do it",
            );
            return Ok(Outcome::Ended(0));
        }
        let mut journal = self.journal(identity)?;
        let retiring = Box::pin(retire::retire(aws, &mut journal, inputs));
        let retired = self.unless_stopped(retiring).await.map_err(|signal| {
            let left = format!(
                "whether the security configuration {name} was deleted is not known; fix: run the \
                 same command again, which looks at it"
            );
            SetupError::Stopped { signal, left }
        })?;
        let retired = retired.map_err(SetupError::from)?;
        self.report.say(printable!(
            "the security configuration {} was deleted, and is gone",
            Printable::from(name)
        ));
        let end = SetupEnd {
            mode: SetupMode::Retire,
            account: &journal.identity().account,
            survey: None,
            record: None,
            taken_back: vec![retired],
            outcome: Outcome::Ended(0),
        };
        self.write_report(aws, end)?;
        Ok(Outcome::Ended(0))
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

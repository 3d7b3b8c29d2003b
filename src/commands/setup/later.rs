//! What is done with a setup later: its certificates are rotated, it is taken back, or a security
//! configuration is retired.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;

use crate::{
    aws::clients::Aws,
    base::{
        lookup::Lookup,
        outcome::Outcome,
        printable::{Printable, printable},
    },
    checks::node_names,
    commands::{
        error::GuardError,
        setup::{SetupEnd, SetupWork, look::Survey},
    },
    evidence::journal::state_dir,
    report::setup_document::SetupMode,
    setup::{
        certificates,
        error::SetupError,
        piece::NamedConfiguration,
        plan::SetupPlan,
        record::{AppliedAction, AppliedStep, SetupRecord},
        retire::{self, RetireInputs},
        rotation_plan::rotation_plan,
        undo::{self, UndoResult, UndoneStep, UndoneSteps},
    },
};

/// What `--undo` needs of a report.
#[derive(Deserialize)]
struct ReportOfSetup {
    command: String,
    record: Option<SetupRecord>,
}

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

    /// Takes back what a report says was made.
    pub(super) async fn undo(&self, aws: &Aws, file: &Path) -> Result<Outcome, GuardError> {
        let record = record_in(file)?;
        let account = self.account(aws).await?;
        if !self.arguments.flags.apply {
            let made = |step: &&AppliedStep| step.action != AppliedAction::Found;
            self.report.say(
                "these would be taken back, each if nothing uses it and nobody has changed it:",
            );
            for step in record.steps.iter().rev().filter(made) {
                self.report.say(printable!(
                    "{} {}",
                    step.piece.kind(),
                    Printable::from(step.piece.subject())
                ));
            }
            self.report.say("nothing was changed; add --apply to do it");
            return Ok(Outcome::Ended(0));
        }
        let mut journal = self.journal(&account)?;
        let report = &self.report;
        let mut on_undone = |step: &UndoneStep| {
            report.say(printable!(
                "{} {}: {}",
                step.piece.kind(),
                Printable::from(step.piece.subject()),
                said(&step.result)
            ));
        };
        let UndoneSteps { steps: taken_back, stopped } =
            undo::undo(aws, &record, &mut journal, &mut on_undone)
                .await
                .map_err(SetupError::from)?;
        let is_open = |step: &UndoneStep| {
            matches!(step.result, UndoResult::Unknown { .. } | UndoResult::Failed { .. })
        };
        let outcome = if stopped.is_some() || taken_back.iter().any(is_open) {
            Outcome::FactsUnknown
        } else {
            Outcome::Ended(0)
        };
        let end = SetupEnd {
            mode: SetupMode::Undo,
            account: &account,
            survey: None,
            record: None,
            taken_back,
            outcome,
        };
        self.write_report(aws, end)?;
        stopped.map_or(Ok(outcome), |error| Err(SetupError::from(error).into()))
    }

    /// Deletes a security configuration that nothing uses.
    pub(super) async fn retire(&self, aws: &Aws, name: &str) -> Result<Outcome, GuardError> {
        let account = self.account(aws).await?;
        if !self.arguments.flags.apply {
            self.report.say(printable!(
                "the security configuration {} would be deleted, if setup made it and nothing uses \
                 it; nothing was changed; add --apply to do it",
                Printable::from(name)
            ));
            return Ok(Outcome::Ended(0));
        }
        let mut journal = self.journal(&account)?;
        let folder = state_dir(self.settings.state_dir.as_deref())?;
        let own = self.settings.security_configuration.as_deref();
        let of_config =
            self.config.security_configuration.as_ref().map(|named| named.value.as_str());
        let configured: BTreeSet<String> =
            own.into_iter().chain(of_config).map(str::to_owned).collect();
        let inputs =
            RetireInputs { name, configured: &configured, state_dir: &folder, record: None };
        let retired = retire::retire(aws, &mut journal, inputs).await.map_err(SetupError::from)?;
        self.report.say(printable!(
            "the security configuration {} was deleted, and is gone",
            Printable::from(name)
        ));
        let end = SetupEnd {
            mode: SetupMode::Retire,
            account: &account,
            survey: None,
            record: None,
            taken_back: vec![retired],
            outcome: Outcome::Ended(0),
        };
        self.write_report(aws, end)?;
        Ok(Outcome::Ended(0))
    }
}

/// What came of taking back one piece.
fn said(result: &UndoResult) -> Printable {
    match result {
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

/// What the report of a `setup --apply` says was made.
fn record_in(file: &Path) -> Result<SetupRecord, SetupError> {
    let wrong = |what: String| {
        SetupError::File(format!(
            "{}: {what}; expected: the report of a `setup --apply` (--report FILE)",
            file.display()
        ))
    };
    let text = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let report: ReportOfSetup = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("is no report of a setup ({error})")))?;
    if report.command != "setup" {
        return Err(wrong(format!("is the report of a `{}`", Printable::from(&report.command))));
    }
    report.record.ok_or_else(|| wrong("is the report of a plan, by which nothing was made".into()))
}

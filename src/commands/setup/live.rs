//! What every `setup` does to an account, whatever it makes: it carries a plan out, takes one back,
//! and writes the report of that.

use std::{fs, path::Path};

use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    base::{
        json::pretty,
        names::AccountId,
        outcome::Outcome,
        printable::{Printable, printable},
        text::shown,
    },
    commands::{error::GuardError, setup::flags::SetupFlags},
    evidence::journal::state_dir,
    report::{
        caller::LocalCaller,
        reporter::Report,
        setup_document::{PlannedStep, SetupMode, SetupReport, VERSION},
    },
    settings::resolve::Settings,
    setup::{
        apply::{self, ApplyError},
        certificates,
        error::SetupError,
        journal::{SetupIdentity, SetupJournal},
        piece::CertificateArchive,
        plan::SetupPlan,
        record::{AppliedAction, AppliedStep, RECORD_VERSION, SetupRecord},
        undo::{self, UndoResult, UndoneStep, UndoneSteps},
    },
};

/// One call of the command that may change an account.
pub(super) struct LiveSetup<'a> {
    pub(super) flags: &'a SetupFlags,
    pub(super) settings: &'a Settings,
    pub(super) report: &'a Report,
    /// The start of the names of everything that is made.
    pub(super) name: &'a str,
    /// The region of what is made, as far as it has one.
    pub(super) region: &'a str,
    /// The runner config that it is for; empty for a sentinel.
    pub(super) config: &'a str,
    pub(super) started: OffsetDateTime,
}

/// How the command ends.
pub(super) struct SetupEnd<'a> {
    pub(super) mode: SetupMode,
    pub(super) account: &'a AccountId,
    /// The plan; none where nothing was planned.
    pub(super) plan: Option<&'a SetupPlan>,
    /// The required checks that are left to people.
    pub(super) left: Vec<String>,
    pub(super) record: Option<SetupRecord>,
    pub(super) taken_back: Vec<UndoneStep>,
    pub(super) outcome: Outcome,
}

impl LiveSetup<'_> {
    pub(super) fn journal(&self, account: &AccountId) -> Result<SetupJournal, GuardError> {
        let folder = state_dir(self.settings.state_dir.as_deref())?;
        let identity = SetupIdentity {
            name: self.name.to_owned(),
            account: account.clone(),
            region: self.region.to_owned(),
        };
        Ok(SetupJournal::open(&folder, identity).map_err(SetupError::from)?)
    }

    /// Completes what an earlier setup was cut off in. The first value is whether that changed what
    /// is there.
    pub(super) async fn recover(
        &self,
        aws: &Aws,
        journal: &mut SetupJournal,
    ) -> (bool, Result<(), SetupError>) {
        let (report, keep) = (self.report, self.flags.keep_ca.as_deref());
        let known = journal.steps().len();
        let mut make = |archive: &CertificateArchive| make_archive(archive, keep, report);
        let mut on_step = |step: &AppliedStep| say_step(step, report);
        let recovered = apply::recover(aws, journal, &mut make, &mut on_step).await;
        (journal.steps().len() > known, recovered.map_err(SetupError::from))
    }

    /// Carries the plan out, unless something prevents it from being complete. `without`: what to
    /// do where a part of it cannot be planned.
    pub(super) async fn carry_out(
        &self,
        aws: &Aws,
        plan: &SetupPlan,
        journal: &mut SetupJournal,
        without: &str,
    ) -> Result<(), GuardError> {
        if let Some(step) = plan.obstacles().next() {
            let number = plan.obstacles().count();
            let others =
                if number == 1 { String::new() } else { format!(" (and {} more)", number - 1) };
            let ends = if plan.is_unknown() { SetupError::NotSeen } else { SetupError::Refused };
            return Err(ends(format!(
                "the {} {}{others} cannot be planned: see REFUSED and UNKNOWN above; fix: do what \
                 is said there{without}",
                step.piece.kind(),
                step.piece.subject()
            ))
            .into());
        }
        let (report, keep) = (self.report, self.flags.keep_ca.as_deref());
        let mut make = |archive: &CertificateArchive| make_archive(archive, keep, report);
        let mut on_step = |step: &AppliedStep| say_step(step, report);
        let applied: Result<(), ApplyError> =
            apply::apply(aws, plan, journal, &mut make, &mut on_step).await;
        Ok(applied.map_err(SetupError::from)?)
    }

    /// What was made, by the journal.
    pub(super) fn record(
        &self,
        account: &AccountId,
        plan: &SetupPlan,
        journal: &SetupJournal,
    ) -> SetupRecord {
        SetupRecord {
            version: RECORD_VERSION,
            name: self.name.to_owned(),
            account: account.to_string(),
            region: self.region.to_owned(),
            started: journal.begun().unwrap_or(self.started),
            finished: OffsetDateTime::now_utc(),
            steps: journal.steps().to_vec(),
            security_configuration: plan.security_configuration.clone(),
        }
    }

    /// Writes the report of what was carried out.
    pub(super) fn report_applied(
        &self,
        aws: &Aws,
        journal: &mut SetupJournal,
        end: SetupEnd<'_>,
    ) -> Result<(), GuardError> {
        self.write_report(aws, end)?;
        // Without a report file, the steps stay in the journal for a later one.
        if self.settings.report.file.is_some() {
            journal.reported().map_err(SetupError::from)?;
        }
        Ok(())
    }

    /// Takes back what a record says was made; without `--apply` it only says what that would be.
    pub(super) async fn undo(
        &self,
        aws: &Aws,
        account: &AccountId,
        record: &SetupRecord,
    ) -> Result<Outcome, GuardError> {
        if !self.flags.apply {
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
        let mut journal = self.journal(account)?;
        let report = self.report;
        let mut on_undone = |step: &UndoneStep| {
            report.say(printable!(
                "{} {}: {}",
                step.piece.kind(),
                Printable::from(step.piece.subject()),
                said(&step.result)
            ));
        };
        let UndoneSteps { steps: taken_back, stopped } =
            undo::undo(aws, record, &mut journal, &mut on_undone)
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
            account,
            plan: None,
            left: Vec::new(),
            record: None,
            taken_back,
            outcome,
        };
        self.write_report(aws, end)?;
        stopped.map_or(Ok(outcome), |error| Err(SetupError::from(error).into()))
    }

    /// The result of a plan, and what to do next. `everything`: what is made.
    pub(super) fn say_end_of_plan(&self, plan: &SetupPlan, outcome: Outcome, everything: &str) {
        let report = self.report;
        if plan.changes().next().is_none() && outcome == Outcome::Ended(0) {
            report.say(printable!(
                "everything that {} is in place; nothing was changed",
                Printable::from(everything)
            ));
            return;
        }
        report.say(match outcome {
            Outcome::Ended(0) => "nothing was changed; add --apply to make it live",
            Outcome::FactsUnknown => {
                "nothing was changed; not everything could be looked at: see UNKNOWN and `by hand` \
                 above"
            }
            _ => {
                "nothing was changed; not everything that is required can be made: see REFUSED and \
                 `by hand` above"
            }
        });
    }

    /// Writes the report.
    pub(super) fn write_report(&self, aws: &Aws, end: SetupEnd<'_>) -> Result<(), GuardError> {
        let plan = end.plan.map_or_else(|| Ok(Vec::new()), PlannedStep::all);
        let document = SetupReport {
            version: VERSION,
            guard: env!("CARGO_PKG_VERSION").to_owned(),
            command: "setup".to_owned(),
            mode: end.mode,
            started: self.started,
            ended: OffsetDateTime::now_utc(),
            who: LocalCaller::of_this_process(),
            config: self.config.to_owned(),
            account: end.account.to_string(),
            region: self.region.to_owned(),
            plan: plan.map_err(anyhow::Error::from)?,
            record: end.record,
            taken_back: end.taken_back,
            security_configuration: end.plan.and_then(|plan| plan.security_configuration.clone()),
            left: end.left,
            connections: aws.connections(),
            outcome: end.outcome,
            exit_code: end.outcome.exit_code(&self.settings.exit_codes),
        };
        let text = pretty(&document).map_err(anyhow::Error::from)?;
        Ok(self.report.write_document(&format!("{text}\n"))?)
    }
}

/// Makes the certificates, and writes the key of their authority to `keep`, if that was asked for.
fn make_archive(
    archive: &CertificateArchive,
    keep: Option<&Path>,
    report: &Report,
) -> Result<Vec<u8>, String> {
    let made = certificates::make(archive, OffsetDateTime::now_utc())
        .map_err(|error| error.to_string())?;
    report.say(printable!(
        "certificates for {}: SHA-256 {}, valid until {}",
        Printable::from(archive.names.join(", ")),
        made.fingerprint,
        shown(made.not_after)
    ));
    if let Some(file) = keep {
        made.keep_authority(file).map_err(|error| format!("{}: {error}", file.display()))?;
        report.say(printable!(
            "the key of the certificates' authority is in {}",
            Printable::from(file.display().to_string())
        ));
    }
    Ok(made.archive.reveal().to_vec())
}

fn say_step(step: &AppliedStep, report: &Report) {
    let done = match (&step.error, step.action) {
        (Some(_), _) => "not complete",
        (None, AppliedAction::Create) => "made and looked at",
        (None, AppliedAction::Change) => "changed and looked at",
        (None, AppliedAction::Found) => "was there already",
    };
    report.say(printable!(
        "{} {}: {done}",
        step.piece.kind(),
        Printable::from(step.piece.subject())
    ));
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

/// What `--undo` needs of a report.
#[derive(Deserialize)]
struct ReportOfSetup {
    command: String,
    record: Option<SetupRecord>,
}

/// What the report of a `setup --apply` says was made.
pub(super) fn record_in(file: &Path) -> Result<SetupRecord, SetupError> {
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

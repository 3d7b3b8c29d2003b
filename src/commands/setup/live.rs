//! What every `setup` does to an account, whatever it makes: it carries a plan out, takes one back,
//! and writes the report of that.

use std::{future::Future, path::Path};

use nix::sys::signal::Signal;
use time::OffsetDateTime;
use tokio::sync::Mutex;

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
        record::{AppliedAction, AppliedStep, RECORD_VERSION, SetupRecord, UndoneStep},
    },
    system::signals::{Caught, stop_signal},
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
    /// The signals that stop it.
    pub(super) caught: &'a Mutex<Caught>,
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

/// The end of a look that is stopped by `signal`.
pub(super) fn nothing_changed(signal: Signal) -> SetupError {
    SetupError::Stopped { signal, left: "nothing was changed".to_owned() }
}

impl LiveSetup<'_> {
    /// The result of `work`, unless a request to stop comes first. What is under way then is
    /// dropped; what was asked of AWS may take effect nevertheless.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Signal> {
        let stopped = async { stop_signal(&mut *self.caught.lock().await).await };
        tokio::select! {
            result = work => Ok(result),
            signal = stopped => Err(signal),
        }
    }

    /// Which setup it is in an account.
    pub(super) fn identity(&self, account: AccountId) -> SetupIdentity {
        SetupIdentity { name: self.name.to_owned(), account, region: self.region.to_owned() }
    }

    pub(super) fn journal(&self, identity: SetupIdentity) -> Result<SetupJournal, GuardError> {
        let folder = state_dir(self.settings.state_dir.as_deref())?;
        Ok(SetupJournal::open(&folder, identity).map_err(SetupError::from)?)
    }

    /// The result of `verify`, once a plan was carried out. A request to stop ends either.
    pub(super) async fn verified(
        &self,
        carried_out: Result<Result<(), GuardError>, Signal>,
        verify: impl Future<Output = Result<Outcome, GuardError>>,
        journal: &SetupJournal,
    ) -> Result<Outcome, GuardError> {
        let verified = match carried_out {
            Ok(Ok(())) => self.unless_stopped(verify).await,
            Ok(Err(error)) => return Err(error),
            Err(signal) => Err(signal),
        };
        verified.map_err(|signal| self.stopped(signal, journal))?
    }

    /// The end by `signal`, with what was done until then.
    fn stopped(&self, signal: Signal, journal: &SetupJournal) -> SetupError {
        let made = journal.steps().iter().any(|step| step.action != AppliedAction::Found);
        let under_way = journal.call_under_way();
        let mut left = match &self.settings.report.file {
            _ if !made && under_way.is_none() => "nothing was changed".to_owned(),
            Some(file) => format!("what was made until then is in {}", file.display()),
            None => format!(
                "what was made until then is in the journal {}, and the next `--apply` with \
                 --report writes it into a report",
                journal.path().display()
            ),
        };
        let no_answer =
            |call| format!("; the answer to {call} had not come, so it is looked at next");
        left.push_str(&under_way.map(no_answer).unwrap_or_default());
        left.push_str("; fix: run the same command again, which continues from here");
        SetupError::Stopped { signal, left }
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

    /// What was made: by this setup, by those that it continues, and by those whose record the
    /// report file has.
    pub(super) fn record(
        &self,
        account: &AccountId,
        plan: &SetupPlan,
        journal: &SetupJournal,
    ) -> SetupRecord {
        let mut steps = self.earlier_steps(journal.identity(), journal.steps());
        steps.extend(journal.steps().iter().cloned());
        steps.extend(journal.step_under_way());
        SetupRecord {
            version: RECORD_VERSION,
            name: self.name.to_owned(),
            account: account.to_string(),
            region: self.region.to_owned(),
            started: journal.begun().unwrap_or(self.started),
            finished: OffsetDateTime::now_utc(),
            steps,
            security_configuration: plan.security_configuration.clone(),
        }
    }

    /// Writes the report of what was carried out, `is_complete` or not.
    pub(super) fn report_applied(
        &self,
        aws: &Aws,
        journal: &mut SetupJournal,
        end: SetupEnd<'_>,
        is_complete: bool,
    ) -> Result<(), GuardError> {
        self.write_report(aws, end)?;
        if !is_complete {
            // The steps stay in the journal for the report of the setup that continues this one.
            return Ok(());
        }
        if self.settings.report.file.is_some() {
            journal.reported().map_err(SetupError::from)?;
        } else if journal.steps().iter().any(|step| step.action != AppliedAction::Found) {
            self.report.say(
                "what was made is in the journal of the state directory alone; `setup --apply \
                 --report FILE` writes the report that --undo needs",
            );
        }
        Ok(())
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
        let has_code = self.flags.terraform.is_some() || self.flags.cloudformation.is_some();
        report.say(match outcome {
            Outcome::Ended(0) if has_code => {
                "nothing was changed; apply the code, or leave it and add --apply and --report FILE \
                 to make the plan live"
            }
            Outcome::Ended(0) => {
                "nothing was changed; add --apply to make it live, and --report FILE, which --undo \
                 needs"
            }
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

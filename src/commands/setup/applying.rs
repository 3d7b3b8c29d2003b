//! `setup --apply`: the plan is made live, and what `check` says afterwards.

use std::path::Path;

use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    base::{
        outcome::Outcome,
        printable::{Printable, printable},
        text::shown,
    },
    checks::verdict::Verdict,
    commands::{
        error::GuardError,
        setup::{SetupEnd, SetupWork, look::Survey, outcome},
    },
    evidence::journal::state_dir,
    report::{reporter::Report, setup_document::SetupMode, setup_text},
    setup::{
        apply::{self, ApplyError},
        certificates,
        error::SetupError,
        journal::{SetupIdentity, SetupJournal},
        piece::CertificateArchive,
        record::{AppliedAction, AppliedStep, RECORD_VERSION, SetupRecord},
    },
};

impl SetupWork<'_> {
    /// Carries the plan of `survey` out. Whatever ends it, the report has what was done.
    pub(super) async fn apply(&self, aws: &Aws, mut survey: Survey) -> Result<Outcome, GuardError> {
        let mut journal = self.journal(self.identity_in(survey.account.clone()))?;
        let plan = Box::pin(self.go_on(aws, &mut survey, &mut journal));
        let carried_out = self.unless_stopped(plan).await;
        let is_complete = matches!(carried_out, Ok(Ok(())));
        let result = match carried_out {
            Ok(Ok(())) => match self.unless_stopped(Box::pin(self.verify(aws, &survey))).await {
                Ok(result) => result,
                Err(signal) => Err(self.stopped(signal, &journal).into()),
            },
            Ok(Err(error)) => Err(error),
            Err(signal) => Err(self.stopped(signal, &journal).into()),
        };
        let outcome = result.as_ref().map_or_else(GuardError::outcome, |outcome| *outcome);
        let end = SetupEnd {
            mode: SetupMode::Apply,
            account: &survey.account,
            survey: Some(&survey),
            record: Some(self.record(&survey, &journal)),
            taken_back: Vec::new(),
            outcome,
        };
        self.write_report(aws, end)?;
        if is_complete {
            self.say_what_follows(&survey, &journal);
        }
        // Without a report file, the steps stay in the journal for a later one; those of a setup
        // that is not complete stay for the report of the one that continues it.
        if is_complete && self.settings.report.file.is_some() {
            journal.reported().map_err(SetupError::from)?;
        }
        result
    }

    /// What to know about what was made, for later.
    fn say_what_follows(&self, survey: &Survey, journal: &SetupJournal) {
        let report = &self.report;
        let made = journal.steps().iter().any(|step| step.action != AppliedAction::Found);
        if made && self.settings.report.file.is_none() {
            report.say(
                "what was made is in the journal of the state directory alone; `setup --apply \
                 --report FILE` writes the report that --undo needs",
            );
        }
        let new = survey.plan.security_configuration.as_deref();
        if let Some(old) = self.configured().filter(|old| new.is_some_and(|new| new != *old))
            && self.arguments.flags.rotate_certificates
        {
            report.say(printable!(
                "the security configuration {} and its certificates stay for the clusters that \
                 live; once nothing uses it: `emr-etl-guard setup --retire={} --apply CONFIG`",
                Printable::from(old),
                Printable::from(old)
            ));
        }
    }

    pub(super) fn journal(&self, identity: SetupIdentity) -> Result<SetupJournal, GuardError> {
        let folder = state_dir(self.settings.state_dir.as_deref())?;
        Ok(SetupJournal::open(&folder, identity).map_err(SetupError::from)?)
    }

    /// Completes what an earlier setup was cut off in, then carries out the plan.
    async fn go_on(
        &self,
        aws: &Aws,
        survey: &mut Survey,
        journal: &mut SetupJournal,
    ) -> Result<(), GuardError> {
        let known = journal.steps().len();
        let recovered = self.recover(aws, journal).await;
        if recovered.is_ok() && journal.steps().len() > known {
            *survey = Box::pin(self.survey(aws, None)).await?;
            if self.arguments.flags.rotate_certificates {
                survey.plan = self.rotation(survey)?;
            }
        }
        self.show(survey);
        self.write_code(survey)?;
        recovered?;
        self.carry_out(aws, survey, journal).await
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

    async fn recover(&self, aws: &Aws, journal: &mut SetupJournal) -> Result<(), SetupError> {
        let (report, keep) = (&self.report, self.arguments.flags.keep_ca.as_deref());
        let mut make = |archive: &CertificateArchive| make_archive(archive, keep, report);
        let mut on_step = |step: &AppliedStep| say_step(step, report);
        Ok(apply::recover(aws, journal, &mut make, &mut on_step).await?)
    }

    async fn carry_out(
        &self,
        aws: &Aws,
        survey: &Survey,
        journal: &mut SetupJournal,
    ) -> Result<(), GuardError> {
        let plan = &survey.plan;
        if let Some(step) = plan.obstacles().next() {
            let number = plan.obstacles().count();
            let others =
                if number == 1 { String::new() } else { format!(" (and {} more)", number - 1) };
            let ends = if plan.is_unknown() { SetupError::NotSeen } else { SetupError::Refused };
            return Err(ends(format!(
                "the {} {}{others} cannot be planned: see REFUSED and UNKNOWN above; fix: do what \
                 is said there, or leave that part out with --without",
                step.piece.kind(),
                step.piece.subject()
            ))
            .into());
        }
        let (report, keep) = (&self.report, self.arguments.flags.keep_ca.as_deref());
        let mut make = |archive: &CertificateArchive| make_archive(archive, keep, report);
        let mut on_step = |step: &AppliedStep| say_step(step, report);
        let applied: Result<(), ApplyError> =
            apply::apply(aws, plan, journal, &mut make, &mut on_step).await;
        Ok(applied.map_err(SetupError::from)?)
    }

    /// What was made: by this setup, by those that it continues, and by those whose record the
    /// report file has.
    fn record(&self, survey: &Survey, journal: &SetupJournal) -> SetupRecord {
        let mut steps = self.earlier_steps(journal.identity(), journal.steps());
        steps.extend(journal.steps().iter().cloned());
        steps.extend(journal.step_under_way());
        SetupRecord {
            version: RECORD_VERSION,
            name: self.options.name.clone(),
            account: survey.account.to_string(),
            region: self.config.emr_region.value.clone(),
            started: journal.begun().unwrap_or(self.started),
            finished: OffsetDateTime::now_utc(),
            steps,
            security_configuration: survey.plan.security_configuration.clone(),
        }
    }

    /// Writes the files, and asks everything again, as `check` with the security configuration of
    /// the plan does.
    async fn verify(&self, aws: &Aws, survey: &Survey) -> Result<Outcome, GuardError> {
        let name = survey.plan.security_configuration.as_deref();
        let flags = &self.arguments.flags;
        if let Some(name) = name {
            if flags.write_config {
                self.write_config(name)?;
            } else if self.configured() != Some(name) {
                self.report.say(printable!(
                    "next: set aws.emr.security_configuration: {name} and \
                     aws.s3.buckets.encrypted: true in the runner config (--write-config does it), \
                     or `security_configuration: {name}` in the guard's settings"
                ));
            }
        }
        let after = Box::pin(self.survey(aws, name)).await?;
        self.write_settings(survey, &after)?;
        let outcome = outcome(&after);
        let left = after.plan.changes().count();
        let verdict = Verdict::of(&after.findings);
        let is_open = after.plan.obstacles().next().is_some();
        if left > 0 || is_open {
            self.report.show(&setup_text::steps(&after.plan, &after.findings));
        }
        let mut lost = after.plan.changes().filter(|step| survey.plan.has(&step.piece));
        if let Some(first) = lost.next() {
            let first = format!("{} {}", first.piece.kind(), first.piece.subject());
            return Err(SetupError::Lost { first, others: lost.count() }.into());
        }
        self.report.show(&setup_text::left_to_people(&after.plan, &after.findings));
        let refused = setup_text::required_left(&after.plan, &after.findings);
        self.report.say(match (verdict.refusal(), refused.is_empty()) {
            _ if left > 0 => format!(
                "the plan was carried out; {left} more to create or change, which it did not have: \
                 see above, and run `emr-etl-guard setup` for a plan of all"
            ),
            _ if is_open => {
                "the plan was carried out; what was looked at afterwards is not all as planned: \
                 see REFUSED and UNKNOWN above"
                    .to_owned()
            }
            (None, _) => "setup is complete: `check` would pass".to_owned(),
            (Some(_), false) => format!(
                "what setup makes is in place; `check` still refuses, because of what is left by \
                 hand: {}",
                refused.join(", ")
            ),
            (Some(_), true) => {
                "what setup makes is in place; `check` does not pass yet: run it for its findings"
                    .to_owned()
            }
        });
        Ok(match verdict.refusal() {
            None => outcome,
            Some(refusal) if outcome == Outcome::Ended(0) => refusal,
            Some(_) => outcome,
        })
    }

    /// The security configuration that settings or config name.
    pub(super) fn configured(&self) -> Option<&str> {
        let own = self.settings.security_configuration.as_deref();
        own.or_else(|| Some(self.config.security_configuration.as_ref()?.value.as_str()))
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

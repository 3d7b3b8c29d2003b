//! `setup --apply`: the plan is made live, and what `check` says afterwards.

use std::path::Path;

use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    base::{
        names::AccountId,
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
    /// Carries the plan of `survey` out.
    pub(super) async fn apply(&self, aws: &Aws, mut survey: Survey) -> Result<Outcome, GuardError> {
        let mut journal = self.journal(&survey.account)?;
        // What an earlier setup was cut off in is looked at before the plan is shown.
        let known = journal.steps().len();
        let recovered = self.recover(aws, &mut journal).await;
        if recovered.is_ok() && journal.steps().len() > known {
            survey = Box::pin(self.survey(aws, None)).await?;
            if self.arguments.flags.rotate_certificates {
                survey.plan = self.rotation(&survey)?;
            }
        }
        self.show(&survey);
        self.write_code(&survey)?;
        let carried_out = match recovered {
            Ok(()) => self.carry_out(aws, &survey, &mut journal).await,
            Err(error) => Err(error.into()),
        };
        let record = self.record(&survey, &journal);
        let (outcome, result) = match carried_out {
            Ok(()) => match Box::pin(self.verify(aws, &survey)).await {
                Ok(outcome) => (outcome, Ok(outcome)),
                Err(error) => (error.outcome(), Err(error)),
            },
            Err(error) => (error.outcome(), Err(error)),
        };
        let end = SetupEnd {
            mode: SetupMode::Apply,
            account: &survey.account,
            survey: Some(&survey),
            record: Some(record),
            taken_back: Vec::new(),
            outcome,
        };
        self.write_report(aws, end)?;
        // Without a report file, the steps stay in the journal for a later one.
        if self.settings.report.file.is_some() {
            journal.reported().map_err(SetupError::from)?;
        }
        result
    }

    pub(super) fn journal(&self, account: &AccountId) -> Result<SetupJournal, GuardError> {
        let folder = state_dir(self.settings.state_dir.as_deref())?;
        let identity = SetupIdentity {
            name: self.options.name.clone(),
            account: account.clone(),
            region: self.config.emr_region.value.clone(),
        };
        Ok(SetupJournal::open(&folder, identity).map_err(SetupError::from)?)
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

    fn record(&self, survey: &Survey, journal: &SetupJournal) -> SetupRecord {
        SetupRecord {
            version: RECORD_VERSION,
            name: self.options.name.clone(),
            account: survey.account.to_string(),
            region: self.config.emr_region.value.clone(),
            started: journal.begun().unwrap_or(self.started),
            finished: OffsetDateTime::now_utc(),
            steps: journal.steps().to_vec(),
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
        if left > 0 {
            self.report.show(&setup_text::steps(&after.plan, &after.findings));
        }
        self.report.show(&setup_text::left_to_people(&after.plan, &after.findings));
        let refused = setup_text::required_left(&after.plan, &after.findings);
        self.report.say(match (verdict.refusal(), refused.is_empty()) {
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
            None => Outcome::Ended(0),
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

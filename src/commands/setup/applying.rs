//! `setup --apply`: the plan is made live, and what `check` says afterwards.

use crate::{
    aws::clients::Aws,
    base::{outcome::Outcome, printable::printable},
    checks::verdict::Verdict,
    commands::{
        error::GuardError,
        setup::{SetupWork, live::SetupEnd, look::Survey, outcome},
    },
    report::{setup_document::SetupMode, setup_text},
};

impl SetupWork<'_> {
    /// Carries the plan of `survey` out.
    pub(super) async fn apply(&self, aws: &Aws, mut survey: Survey) -> Result<Outcome, GuardError> {
        let live = self.live();
        let mut journal = live.journal(&survey.account)?;
        // What an earlier setup was cut off in is looked at before the plan is shown.
        let (is_changed, recovered) = live.recover(aws, &mut journal).await;
        if recovered.is_ok() && is_changed {
            survey = Box::pin(self.survey(aws, None)).await?;
            if self.arguments.flags.rotate_certificates {
                survey.plan = self.rotation(&survey)?;
            }
        }
        self.show(&survey);
        self.write_code(&survey)?;
        let without = ", or leave that part out with --without";
        let carried_out = match recovered {
            Ok(()) => live.carry_out(aws, &survey.plan, &mut journal, without).await,
            Err(error) => Err(error.into()),
        };
        let record = live.record(&survey.account, &survey.plan, &journal);
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
            plan: Some(&survey.plan),
            left: setup_text::required_left(&survey.plan, &survey.findings),
            record: Some(record),
            taken_back: Vec::new(),
            outcome,
        };
        live.report_applied(aws, &mut journal, end)?;
        result
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

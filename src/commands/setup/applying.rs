//! `setup --apply`: the plan is made live, and what `check` says afterwards.

use crate::{
    aws::clients::Aws,
    base::{
        outcome::Outcome,
        printable::{Printable, printable},
    },
    checks::verdict::Verdict,
    commands::{
        error::GuardError,
        setup::{SetupWork, live::SetupEnd, look::Survey, outcome},
    },
    report::{setup_document::SetupMode, setup_text},
    setup::{error::SetupError, journal::SetupJournal},
};

impl SetupWork<'_> {
    /// Carries the plan of `survey` out. Whatever ends it, the report has what was done.
    pub(super) async fn apply(&self, aws: &Aws, mut survey: Survey) -> Result<Outcome, GuardError> {
        let live = self.live();
        let mut journal = live.journal(live.identity(survey.account.clone()))?;
        let work = Box::pin(self.go_on(aws, &mut survey, &mut journal));
        let carried_out = live.unless_stopped(work).await;
        let is_complete = matches!(carried_out, Ok(Ok(())));
        let verify = Box::pin(self.verify(aws, &survey));
        let result = live.verified(carried_out, verify, &journal).await;
        let outcome = result.as_ref().map_or_else(GuardError::outcome, |outcome| *outcome);
        let end = SetupEnd {
            mode: SetupMode::Apply,
            account: &survey.account,
            plan: Some(&survey.plan),
            left: setup_text::required_left(&survey.plan, &survey.findings),
            record: Some(live.record(&survey.account, &survey.plan, &journal)),
            taken_back: Vec::new(),
            outcome,
        };
        live.report_applied(aws, &mut journal, end, is_complete)?;
        if is_complete {
            self.say_what_stays(&survey);
        }
        result
    }

    /// Completes what an earlier setup was cut off in, then carries out the plan.
    async fn go_on(
        &self,
        aws: &Aws,
        survey: &mut Survey,
        journal: &mut SetupJournal,
    ) -> Result<(), GuardError> {
        let live = self.live();
        let (is_changed, recovered) = live.recover(aws, journal).await;
        if recovered.is_ok() && is_changed {
            *survey = Box::pin(self.survey(aws, None)).await?;
            if self.arguments.flags.rotate_certificates {
                survey.plan = self.rotation(survey)?;
            }
        }
        self.show(survey);
        self.write_code(survey)?;
        recovered?;
        let without = ", or leave that part out with --without";
        live.carry_out(aws, &survey.plan, journal, without).await
    }

    /// What a rotation left as it was.
    fn say_what_stays(&self, survey: &Survey) {
        let new = survey.plan.security_configuration.as_deref();
        if let Some(old) = self.configured().filter(|old| new.is_some_and(|new| new != *old))
            && self.arguments.flags.rotate_certificates
        {
            self.report.say(printable!(
                "the security configuration {} and its certificates stay for the clusters that \
                 live; once nothing uses it: `emr-etl-guard setup --retire={} --apply CONFIG`",
                Printable::from(old),
                Printable::from(old)
            ));
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
            _ if after.plan.is_unknown() => {
                "the plan was carried out; not everything could be looked at afterwards: see \
                 UNKNOWN above"
                    .to_owned()
            }
            _ if is_open => {
                "the plan was carried out; what was seen afterwards is not all as planned: see \
                 REFUSED above"
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

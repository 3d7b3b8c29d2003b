//! What is done with a setup later: its certificates are rotated, it is taken back, or a security
//! configuration is retired.

use std::{collections::BTreeSet, path::Path};

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
        setup::{
            SetupWork,
            live::{SetupEnd, nothing_changed},
            look::Survey,
            report_file::record_in,
        },
    },
    evidence::journal::state_dir,
    report::setup_document::SetupMode,
    setup::{
        certificates,
        error::SetupError,
        journal::made_configuration,
        piece::NamedConfiguration,
        plan::SetupPlan,
        retire::{self, RetireInputs},
        rotation_plan::rotation_plan,
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

    /// Takes back what a report says was made.
    pub(super) async fn undo(&self, aws: &Aws, file: &Path) -> Result<Outcome, GuardError> {
        let record = record_in(file)?;
        let identity = self.identity(aws).await?;
        Box::pin(self.live().undo(aws, identity, &record)).await
    }

    /// Deletes a security configuration that nothing uses.
    pub(super) async fn retire(&self, aws: &Aws, name: &str) -> Result<Outcome, GuardError> {
        let live = self.live();
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
            let looked = live.unless_stopped(look).await.map_err(nothing_changed)?;
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
        let mut journal = live.journal(identity)?;
        let retiring = Box::pin(retire::retire(aws, &mut journal, inputs));
        let retired = live.unless_stopped(retiring).await.map_err(|signal| {
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
            plan: None,
            left: Vec::new(),
            record: None,
            taken_back: vec![retired],
            outcome: Outcome::Ended(0),
        };
        live.write_report(aws, end)?;
        Ok(Outcome::Ended(0))
    }
}

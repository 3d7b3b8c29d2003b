//! The files that `setup` writes: infrastructure code, and the two settings in the runner config. A
//! file that somebody else wrote is never replaced.

use std::fs;

use crate::{
    base::{
        lookup::Lookup,
        printable::{Printable, printable},
    },
    commands::setup::{SetupWork, code_file::write_marked, look::Survey},
    runners::emr_etl_runner::{
        config_edit::{self, ConfigEditError, ConfigRendering},
        invocation::ConfigSource,
    },
    setup::{
        cloudformation::cloudformation,
        code::CodeContext,
        error::SetupError,
        guard_settings::{self, GuardSettings},
        network_code::NetworkCode,
        piece::Piece,
        plan::{SetupPlan, StepAction},
        terraform::terraform,
    },
    system::process::Program,
};

impl SetupWork<'_> {
    /// Writes the plan as infrastructure code, if that was asked for.
    ///
    /// # Errors
    /// [`SetupError::File`].
    pub(super) fn write_code(&self, survey: &Survey) -> Result<(), SetupError> {
        let flags = &self.arguments.flags;
        let region = &self.config.emr_region.value;
        let network = flags
            .network
            .then(|| NetworkCode::of(&survey.facts, &survey.findings, &survey.plan, region));
        let context = CodeContext {
            name: &self.options.name,
            account: &survey.account,
            region,
            s3_region: &self.config.s3_region.value,
            network: network.as_ref(),
        };
        if let Some(folder) = &flags.terraform {
            fs::create_dir_all(folder)
                .map_err(|error| SetupError::File(format!("{}: {error}", folder.display())))?;
            for (name, text) in terraform(&survey.plan, &context) {
                write_marked(&folder.join(name), &text)?;
            }
            self.report.say(printable!(
                "the plan as Terraform code is in {}",
                Printable::from(folder.display().to_string())
            ));
        }
        if let Some(file) = &flags.cloudformation {
            write_marked(file, &cloudformation(&survey.plan, &context))?;
            self.report.say(printable!(
                "the plan as a CloudFormation template is in {}",
                Printable::from(file.display().to_string())
            ));
        }
        let warnings = network.map(|network| network.warnings(flags.terraform.is_some()));
        for line in warnings.into_iter().flatten() {
            self.report.say(line);
        }
        Ok(())
    }

    /// Writes the runner config and the guard's settings, if that was asked for and everything that
    /// they name exists.
    ///
    /// # Errors
    /// As for each.
    pub(super) fn write_files_of_plan(&self, survey: &Survey) -> Result<(), SetupError> {
        let flags = &self.arguments.flags;
        if !flags.write_config && flags.write_settings.is_none() {
            return Ok(());
        }
        if survey.plan.changes().next().is_some() {
            self.report.say(
                "the runner config and the guard's settings were not written: they would name what \
                 does not exist yet; --apply makes it, and writes them",
            );
            return Ok(());
        }
        if let Some(name) = survey.plan.security_configuration.as_deref()
            && flags.write_config
        {
            self.write_config(name)?;
        }
        self.write_settings(survey, survey)
    }

    /// Sets the two settings in the runner config, once the security configuration `name` exists.
    ///
    /// # Errors
    /// [`SetupError::File`] with the lines to change by hand, where they cannot be set.
    pub(super) fn write_config(&self, name: &str) -> Result<(), SetupError> {
        let ConfigSource::File(path) = &self.invocation.config else {
            let by_hand = config_edit::by_hand_for_stdin(&self.config, name);
            return Err(by_hand_error(&by_hand.lines()));
        };
        let ruby = Program::ruby(self.settings.erb, self.settings.runner.as_deref())
            .map_err(|error| SetupError::File(error.to_string()))?;
        let rendering =
            ConfigRendering { ruby: ruby.as_ref(), env: &|name| std::env::var_os(name) };
        let edited =
            config_edit::edit_file(path, name, rendering).map_err(|error| match error {
                ConfigEditError::ByHand(by_hand) => by_hand_error(&by_hand.lines()),
                error @ ConfigEditError::Config(_) => SetupError::File(error.to_string()),
            })?;
        if edited.digest_before() != self.config.digest {
            return Err(SetupError::File(format!(
                "{}: was changed since setup read it, and was left alone; fix: run the same command \
                 again",
                path.display()
            )));
        }
        edited.write(path).map_err(|error| SetupError::File(error.to_string()))?;
        for change in &edited.changes {
            self.report.say(printable!(
                "{}: line {} is now `{}`",
                Printable::from(path.display().to_string()),
                change.line,
                Printable::from(change.after.trim())
            ));
        }
        Ok(())
    }

    /// Writes the guard's settings for what was decided, if that was asked for. `now` is what
    /// exists by now.
    ///
    /// # Errors
    /// [`SetupError::File`].
    pub(super) fn write_settings(&self, survey: &Survey, now: &Survey) -> Result<(), SetupError> {
        let Some(file) = &self.arguments.flags.write_settings else { return Ok(()) };
        let notifications = &now.state.notifications;
        let queue = notifications.queue.as_ref().and_then(Lookup::found);
        let topic = notifications.topic.as_ref().and_then(Lookup::found);
        let topic_arn = now.plan.steps.iter().find_map(|step| match &step.piece {
            Piece::AlertTopic(topic) => Some(topic.arn.clone()),
            _ => None,
        });
        let settings = GuardSettings {
            security_configuration: survey.plan.security_configuration.clone(),
            evidence: self.evidence(&survey.plan),
            // What the settings name already stays where this setup does not make it.
            event_queue: queue
                .map(|queue| queue.url.clone())
                .or_else(|| self.settings.aws.event_queue.clone()),
            alert_sns: topic
                .and(topic_arn)
                .or_else(|| self.settings.alerts.topic().map(str::to_owned)),
            sentinel_queues: self.settings.sentinel.queues().to_vec(),
            ..GuardSettings::of_policy(&self.settings.policy)
        };
        let written = guard_settings::write(file, &settings)
            .map_err(|error| SetupError::File(error.to_string()))?;
        for line in written.lines(file) {
            self.report.say(line);
        }
        Ok(())
    }

    /// Where reports go: as in the settings, and to the bucket that the plan has for them.
    fn evidence(&self, plan: &SetupPlan) -> Vec<String> {
        let known = self.settings.evidence.destinations.iter().map(ToString::to_string);
        let mut all: Vec<String> = known.collect();
        let made = plan.steps.iter().find_map(|step| match (&step.piece, &step.action) {
            (_, StepAction::Refuse { .. } | StepAction::Unknown { .. }) => None,
            (Piece::ObjectLock(lock), _) => Some(format!("s3://{}/", lock.bucket)),
            _ => None,
        });
        let is_new = |made: &String| !all.iter().any(|known| known.starts_with(made.as_str()));
        all.extend(made.filter(is_new));
        all
    }
}

/// An error of several lines, each of which is printable.
fn by_hand_error(lines: &[Printable]) -> SetupError {
    let lines: Vec<&str> = lines.iter().map(Printable::as_str).collect();
    SetupError::ByHand(lines.join("\n"))
}

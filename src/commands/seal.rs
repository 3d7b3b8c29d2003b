//! The command `seal`: prints the sealed config, or what sealing changes. It makes no AWS call.

use crate::{
    base::{outcome::Outcome, printable::Printable},
    commands::{cli::SealArguments, error::GuardError, run::guarded_run::seal_of},
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError},
    },
    settings::resolve::Settings,
    system::{output::out, process::Program},
};

/// A placeholder for the run's id, which only a real run has.
const RUN: &str = "the-id-of-the-run";

pub(crate) fn seal(arguments: &SealArguments, settings: &Settings) -> Result<Outcome, GuardError> {
    let Invocation::Run(invocation) = Invocation::parse(&arguments.launch.arguments)? else {
        let why = if arguments.launch.arguments.is_empty() {
            "none were given; fix: emr-etl-guard seal config.yml"
        } else {
            "these launch no cluster, so there is nothing to seal; expected `run -c config.yml …`"
        };
        return Err(InvocationError::Rejected(why.to_owned()).into());
    };
    let ruby = Program::ruby(settings.erb, settings.runner.as_deref())?;
    let config = RunnerConfig::read(&invocation.config, ruby.as_ref())?;
    let Some(seal) = seal_of(&config, settings, RUN) else {
        return Err(InvocationError::Rejected(format!(
            "{}: aws.emr.security_configuration is blank, and no setting names one; set either",
            config.origin
        ))
        .into());
    };
    let sealed =
        if arguments.show_secrets { config.seal(&seal)? } else { config.seal_masked(&seal)? };
    if arguments.diff {
        let line = |text: &str| out(&format!("{}\n", Printable::from(text)));
        for change in &sealed.changes {
            match &change.before {
                Some(before) if !change.replaced() => line(&format!("  {}: {before}", change.key)),
                Some(before) => {
                    line(&format!("- {}: {before}", change.key));
                    line(&format!("+ {}: {}", change.key, change.after));
                }
                None => line(&format!("+ {}: {}", change.key, change.after)),
            }
        }
    } else {
        out(sealed.text.reveal());
    }
    Ok(Outcome::Ended(0))
}

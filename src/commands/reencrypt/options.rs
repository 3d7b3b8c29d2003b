//! The runner config and the engine's options from the arguments of `reencrypt`.

use crate::{
    base::names::S3Location,
    commands::{
        cli::{Acknowledgement, ReencryptArguments},
        error::GuardError,
        read_config::read_config,
    },
    reencrypt::{
        error::ReencryptError,
        options::{BatchOptions, FollowOptions, PipelineConfig, RateLimits, ScopeOptions},
        target::RequestedTarget,
    },
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError},
    },
    settings::{policy::Policy, resolve::Settings},
    system::signals::Caught,
};

/// The runner config in the arguments, if there is one.
pub(crate) async fn config(
    arguments: &ReencryptArguments,
    settings: &Settings,
    caught: &mut Caught,
) -> Result<Option<RunnerConfig>, GuardError> {
    let config = match arguments.launch.arguments.as_slice() {
        [] => None,
        arguments => match Invocation::parse(arguments)? {
            Invocation::Run(invocation) => Some(read_config(&invocation, settings, caught).await?),
            Invocation::NoLaunch => {
                return Err(InvocationError::Rejected(
                    "these name no runner config; expected `run -c config.yml …`".to_owned(),
                )
                .into());
            }
        },
    };
    if config.is_none() && arguments.locations.is_empty() && !arguments.permissions {
        let message = "nothing to look at: name a runner config (`-- run -c config.yml …`), or \
            places (s3://bucket/prefix)";
        return Err(ReencryptError::Usage(message.to_owned()).into());
    }
    Ok(config)
}

/// The config's part about the pipeline. The settings may name another security configuration.
pub(super) fn pipeline_config<'a>(
    config: &'a RunnerConfig,
    settings: &'a Settings,
) -> PipelineConfig<'a> {
    let in_config = config
        .security_configuration
        .as_ref()
        .map(|it| &it.value)
        .filter(|name| !name.trim().is_empty());
    PipelineConfig {
        locations: &config.locations,
        job_name: &config.job_name,
        security_configuration: settings
            .security_configuration
            .as_ref()
            .or(in_config)
            .map(String::as_str),
    }
}

pub(super) fn scope_options<'a>(
    arguments: &'a ReencryptArguments,
    policy: &'a Policy,
) -> ScopeOptions<'a> {
    ScopeOptions {
        locations: &arguments.locations,
        buckets: &arguments.buckets,
        asked: RequestedTarget { kind: arguments.encryption, key: arguments.kms_key.clone() },
        restore: arguments.restore,
        restore_days: arguments.restore_days,
        purge_old_versions: arguments.purge_old_versions,
        purge_overwritten_versions: arguments.purge_overwritten_versions,
        policy,
    }
}

pub(super) const fn rate_limits(arguments: &ReencryptArguments) -> RateLimits {
    RateLimits { objects: arguments.max_rate, bytes: arguments.max_bytes }
}

/// The options for jobs.
///
/// # Errors
/// [`ReencryptError::Usage`] when something is missing.
pub(super) fn batch_options(
    arguments: &ReencryptArguments,
) -> Result<BatchOptions, ReencryptError> {
    let missing = |what: &str| ReencryptError::Usage(format!("--batch needs {what}"));
    let role = arguments.batch_role.clone().ok_or_else(|| {
        missing(
            "--batch-role, the ARN of the role that the job runs under \
            (--role-policy prints what it needs)",
        )
    })?;
    let place = arguments.batch_place.as_deref().ok_or_else(|| {
        missing("--batch-place, where manifests and reports go: s3://bucket/prefix")
    })?;
    let place = S3Location::parse(place)
        .map_err(|error| ReencryptError::Usage(format!("--batch-place: {place}: {error}")))?;
    Ok(BatchOptions { role, place, priority: arguments.batch_priority })
}

/// Whether the user acknowledged that other systems are notified of changes.
pub(super) fn acknowledged(arguments: &ReencryptArguments) -> bool {
    arguments.despite.contains(&Acknowledgement::Notifications)
}

pub(super) fn follow_options(arguments: &ReencryptArguments, settings: &Settings) -> FollowOptions {
    FollowOptions {
        confirm: arguments.confirm,
        poll_interval: settings.watch.interval,
        quiet: settings.report.quiet || arguments.json,
        acknowledged: acknowledged(arguments),
    }
}

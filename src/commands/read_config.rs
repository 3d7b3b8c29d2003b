//! Reads the runner config in a way that a stop signal can interrupt.

use crate::{
    aws::region::Regions,
    commands::error::GuardError,
    permissions::policy::LaunchScope,
    runners::emr_etl_runner::{config::RunnerConfig, invocation::RunInvocation},
    settings::resolve::Settings,
    spec::cluster_spec::ClusterSpec,
    system::{
        process::Program,
        signals::{Caught, stop_signal},
    },
};

/// Reads the config on a separate thread: standard input may come late or never, and a stop must
/// not wait for it.
pub(crate) async fn read_config(
    invocation: &RunInvocation,
    settings: &Settings,
    caught: &mut Caught,
) -> Result<RunnerConfig, GuardError> {
    let (source, ruby) =
        (invocation.config.clone(), Program::ruby(settings.erb, settings.runner.as_deref())?);
    tokio::select! {
        config = tokio::task::spawn_blocking(move || RunnerConfig::read(&source, ruby.as_ref())) => Ok(config.map_err(anyhow::Error::from)??),
        signal = stop_signal(caught) => Err(GuardError::Stopped(signal)),
    }
}

/// The scope of a launch by a runner config, for a policy that allows nothing else. `cluster` is
/// the one that the config describes.
pub(crate) fn launch_scope<'a>(
    config: Option<&'a RunnerConfig>,
    cluster: Option<&'a ClusterSpec>,
) -> Option<LaunchScope<'a>> {
    let (config, cluster) = config.zip(cluster)?;
    Some(LaunchScope { cluster, locations: &config.locations })
}

/// The regions that a runner config names.
pub(crate) fn regions(config: &RunnerConfig) -> Regions {
    Regions { emr: config.emr_region.value.clone(), s3: config.s3_region.value.clone() }
}

/// The same; without a config those of the environment.
pub(crate) async fn regions_or_default(config: Option<&RunnerConfig>) -> Regions {
    match config {
        Some(config) => regions(config),
        None => Regions::of_environment().await,
    }
}

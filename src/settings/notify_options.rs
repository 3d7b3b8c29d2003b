//! Who is notified of a run, besides its terminal or log.

use std::time::Duration;

use crate::{
    base::outcome::ExitCodes,
    settings::{
        alert_channels::Channels, aws_options::AwsOptions, metrics_targets::Targets,
        resolve::Settings,
    },
};

/// The settings for alerts and metrics.
#[derive(Clone, Debug)]
pub(crate) struct NotifyOptions {
    pub(crate) alerts: Channels,
    /// The options of the SNS client.
    pub(crate) aws: AwsOptions,
    pub(crate) metrics: Targets,
    pub(crate) exit_codes: ExitCodes,
    /// The time limit of a stop, alerts included.
    pub(crate) stop_timeout: Duration,
}

impl From<&Settings> for NotifyOptions {
    fn from(settings: &Settings) -> Self {
        Self {
            alerts: settings.alerts.clone(),
            aws: settings.aws.clone(),
            metrics: settings.metrics.clone(),
            exit_codes: settings.exit_codes.clone(),
            stop_timeout: settings.stop_timeout,
        }
    }
}

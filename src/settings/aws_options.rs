//! How AWS is asked: whose credentials, which endpoints, how long.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Whose credentials the guard looks with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialSource {
    /// The default chain of the AWS SDKs: environment, profile, SSO, web identity, container,
    /// instance.
    #[default]
    Chain,
    /// The static keys in the runner config.
    RunnerConfig,
}

/// What the clients for AWS need of the settings.
#[derive(Clone, Debug)]
pub struct AwsOptions {
    /// Origins that may stand in for AWS.
    pub allow_endpoints: Vec<String>,
    /// Whose credentials the guard looks with.
    pub credentials: CredentialSource,
    /// Limit for one AWS call with its retries.
    pub timeout: Duration,
    /// Limit for looking at what the run wrote.
    pub confirm_timeout: Duration,
    /// A queue of EMR's events, by its URL.
    pub event_queue: Option<String>,
}

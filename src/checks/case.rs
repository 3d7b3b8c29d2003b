//! The input of the checks before a launch.

use crate::{
    checks::fix::CommandContext,
    facts::gather::Facts,
    settings::policy::Policy,
    spec::{cluster_spec::ClusterSpec, data_paths::DataPaths, observations::Observations},
};

/// The input of the pre-flight checks.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The cluster that will be started.
    pub cluster: &'a ClusterSpec,
    /// The S3 locations that the run will use.
    pub paths: &'a DataPaths,
    /// Other observations about the launcher.
    pub observed: &'a Observations,
    /// The security configuration that will be sealed.
    pub security_configuration: Option<&'a str>,
    /// The requirements.
    pub policy: &'a Policy,
    /// The answers of AWS and the runner.
    pub facts: &'a Facts,
    /// The values that complete the commands of fixes.
    pub commands: &'a CommandContext,
}

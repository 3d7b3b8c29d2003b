//! What the checks before a launch look at.

use crate::{
    checks::fix::CommandContext,
    facts::gather::Facts,
    settings::policy::Policy,
    spec::{cluster_spec::ClusterSpec, data_paths::DataPaths, observations::Observations},
};

/// What the pre-flight checks look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The cluster that will be started.
    pub cluster: &'a ClusterSpec,
    /// The S3 locations that the run will touch.
    pub paths: &'a DataPaths,
    /// What else was seen of the launcher.
    pub observed: &'a Observations,
    /// The security configuration that will be sealed.
    pub security_configuration: Option<&'a str>,
    /// What is required.
    pub policy: &'a Policy,
    /// What AWS and the runner said.
    pub facts: &'a Facts,
    /// What makes the commands of fixes complete.
    pub commands: &'a CommandContext,
}

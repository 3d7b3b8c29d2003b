//! What the checks before a launch look at.

use crate::{
    facts::gather::Facts,
    runners::emr_etl_runner::config::RunnerConfig,
    settings::policy::Policy,
    spec::{data_paths::Plan, observations::Documents},
};

/// What the pre-flight checks look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The runner config.
    pub config: &'a RunnerConfig,
    /// What the run will touch.
    pub plan: &'a Plan,
    /// The storage targets and enrichments that the run is given.
    pub documents: &'a Documents,
    /// The security configuration that will be sealed.
    pub security_configuration: Option<&'a str>,
    /// What is required.
    pub policy: &'a Policy,
    /// What AWS and the runner said.
    pub facts: &'a Facts,
}

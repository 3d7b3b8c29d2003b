//! A cluster that runs already, whoever started it, as the subject of the checks that are made
//! before a launch.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    base::names::KeyReference,
    checks::{case::Case, fix::CommandContext},
    facts::gather::{Facts, FactsQuery},
    settings::policy::Policy,
    spec::{cluster_spec::ClusterSpec, data_paths::DataPaths, observations::Observations},
};

/// A running cluster. Nothing is known of a launcher, nor of what it reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct RunningCluster {
    cluster: ClusterSpec,
    paths: DataPaths,
    observed: Observations,
}

impl RunningCluster {
    /// The cluster that was started as `cluster` describes.
    pub(crate) fn of(cluster: ClusterSpec) -> Self {
        let paths = DataPaths::of_running(&cluster);
        Self { cluster, paths, observed: Observations::default() }
    }

    /// How it was started.
    pub(crate) fn spec(&self) -> &ClusterSpec {
        &self.cluster
    }

    /// Its security configuration's name.
    fn security_configuration(&self) -> Option<&str> {
        self.cluster.security_configuration.as_ref().map(|located| located.value.as_str())
    }

    /// The question for what it depends on; all calls together take at most `time_limit`.
    pub(crate) fn question(&self, policy: &Policy, time_limit: Duration) -> FactsQuery {
        FactsQuery {
            buckets: BTreeSet::new(),
            data: Vec::new(),
            data_objects: 0,
            security_configuration: self.security_configuration().map(str::to_owned),
            region: self.cluster.region.value.clone(),
            instance_profile: self.cluster.instance_profile.value.clone(),
            service_role: self.cluster.service_role.value.clone(),
            subnet: self.cluster.named_subnet(),
            expected_keys: policy.expected_keys.iter().map(|key| KeyReference::new(key)).collect(),
            adopt: None,
            earlier_clusters: false,
            guard_rights: None,
            time_limit,
            environment: Vec::new(),
            launcher_routes: Vec::new(),
        }
    }

    /// The input of the checks.
    pub(crate) fn case<'a>(
        &'a self,
        policy: &'a Policy,
        facts: &'a Facts,
        commands: &'a CommandContext,
    ) -> Case<'a> {
        Case {
            cluster: &self.cluster,
            paths: &self.paths,
            observed: &self.observed,
            security_configuration: self.security_configuration(),
            policy,
            facts,
            commands,
        }
    }
}

//! A described cluster as a `ClusterSpec`: how it was started, whoever launched it.

use crate::{
    base::{digest::sha256, names::NameError},
    facts::emr::ClusterFacts,
    spec::{
        cluster_spec::{ClusterSpec, LauncherAdditions},
        located::Located,
    },
};

/// How `cluster`, which runs in `region`, was started, by EMR's description.
///
/// # Errors
/// When its release label is not one that EMR gives.
pub(crate) fn of(cluster: &ClusterFacts, region: &str) -> Result<ClusterSpec, NameError> {
    let origin = format!("the cluster {}", cluster.id);
    let at = |value: &str| Located { value: value.to_owned(), at: origin.clone() };
    let role = |role: &Option<String>| at(role.as_deref().unwrap_or_default());
    // While a cluster starts, EMR may not show yet which of the requested subnets it has chosen.
    // All subnets of one cluster are in one VPC, which is what is judged.
    let subnet = cluster.subnet.as_ref().or_else(|| cluster.requested_subnets.first());
    let release = cluster.release.as_deref().unwrap_or("none").parse()?;
    Ok(ClusterSpec {
        digest: sha256(serde_json::to_vec(cluster).unwrap_or_default()),
        name: cluster.name.clone(),
        region: at(region),
        release: Located { value: release, at: origin.clone() },
        service_role: role(&cluster.service_role),
        instance_profile: role(&cluster.instance_profile),
        subnet: subnet.map(|subnet| at(subnet)),
        security_configuration: cluster.security_configuration.as_deref().map(at),
        // The other properties are judged on the cluster itself.
        instance_types: Vec::new(),
        properties: Vec::new(),
        bootstrap_actions: Vec::new(),
        tags: Vec::new(),
        additional_info: None,
        additions: LauncherAdditions::default(),
        origin,
    })
}

//! The description of a cluster, planned or running, with the fields that the checks read.

use crate::{
    base::names::ReleaseLabel,
    spec::{located::Located, s3_connector::S3Connector},
};

/// The tag key that identifies the clusters of a run; the value is the run's id.
pub(crate) const RUN_TAG: &str = "emr-etl-guard-run";

/// A cluster as the launcher's config describes it, or as EMR describes a running one.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// The source of this description: the name of the launcher's config, or the cluster itself.
    pub origin: String,
    /// SHA-256 of that description, in hexadecimal.
    pub digest: String,
    /// Its name.
    pub name: String,
    /// The region it runs in.
    pub region: Located<String>,
    /// Its release.
    pub release: Located<ReleaseLabel>,
    /// The role that the EMR service acts as.
    pub service_role: Located<String>,
    /// The instance profile of its nodes.
    pub instance_profile: Located<String>,
    /// Its subnet; none: EMR chooses.
    pub subnet: Option<Located<String>>,
    /// Its security configuration, as the description names it (before a seal sets another).
    pub security_configuration: Option<Located<String>>,
    /// The instance types of its groups.
    pub instance_types: Vec<Located<String>>,
    /// The properties of its software (`Configurations` of RunJobFlow).
    pub properties: Vec<Property>,
    /// Scripts that every node runs first.
    pub bootstrap_actions: Vec<Located<String>>,
    /// `Tags` of RunJobFlow, as key and value, without the run's own.
    pub tags: Vec<(String, String)>,
    /// `AdditionalInfo` of RunJobFlow.
    pub additional_info: Option<Located<String>>,
    /// What the launcher may add to this by itself.
    pub additions: LauncherAdditions,
}

impl ClusterSpec {
    /// The id of its subnet, if the description names one.
    pub(crate) fn named_subnet(&self) -> Option<String> {
        let subnet = self.subnet.as_ref().map(|subnet| subnet.value.clone());
        subnet.filter(|subnet| !subnet.trim().is_empty())
    }

    /// The connector that the cluster's programs use to reach S3.
    pub(crate) fn s3_connector(&self) -> S3Connector {
        let properties = self.properties.iter().map(|property| {
            (property.classification.as_str(), property.name.as_str(), property.value.as_str())
        });
        S3Connector::of(&self.release.value, properties)
    }
}

/// A property of the cluster's software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// `core-site`, `spark-defaults`, ….
    pub classification: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `file:line:column` of the value.
    pub at: String,
}

/// What a launcher may add to a request without being asked. Neither its presence nor its absence
/// is evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LauncherAdditions {
    /// Properties: classification, name and value.
    pub properties: Vec<(&'static str, &'static str, &'static str)>,
    /// Bootstrap scripts; `*` matches any version.
    pub bootstrap_actions: Vec<String>,
}

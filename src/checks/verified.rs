//! The verified configuration, with which a cluster is compared.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    base::{
        aws_calls,
        digest::sha256,
        lookup::Lookup,
        names::{KeyReference, ReleaseLabel},
    },
    facts::{
        ec2::Volume,
        emr::{
            BootstrapAction, ClusterFacts, ClusterInstance, ClusterProperty, ClusterStep,
            GroupFacts, SecurityConfiguration,
        },
        gather::Facts,
        weakening,
    },
    spec::cluster_spec::ClusterSpec,
};

/// The runner's request to EMR for a new cluster, by its config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RequestedCluster {
    pub(crate) service_role: String,
    pub(crate) instance_profile: String,
    /// `aws.emr.configuration`: classification and name, and the digest of the value, since values
    /// may be secrets. Names are in the form that EMR shows, and blanks at the ends of values are
    /// removed.
    pub(crate) properties: BTreeSet<(String, String)>,
    /// Properties that the runner may add by itself.
    pub(crate) added_properties: BTreeSet<(String, String)>,
    /// `aws.emr.bootstrap`.
    pub(crate) bootstrap: Vec<String>,
    /// Scripts that the runner may add by itself; `*` matches their versions.
    pub(crate) added_bootstrap: Vec<String>,
}

impl RequestedCluster {
    pub(crate) fn of(cluster: &ClusterSpec) -> Self {
        Self {
            service_role: cluster.service_role.value.clone(),
            instance_profile: cluster.instance_profile.value.clone(),
            properties: cluster
                .properties
                .iter()
                .map(|property| {
                    let name = weakening::shown_name(&property.name);
                    entry(&property.classification, name, property.value.trim())
                })
                .collect(),
            bootstrap: cluster
                .bootstrap_actions
                .iter()
                .map(|script| script.value.clone())
                .collect(),
            added_bootstrap: cluster.additions.bootstrap_actions.clone(),
            added_properties: cluster
                .additions
                .properties
                .iter()
                .map(|(classification, name, value)| entry(classification, name, value))
                .collect(),
        }
    }
}

pub(super) fn entry(classification: &str, name: &str, value: &str) -> (String, String) {
    (format!("{classification} {name}"), sha256(value))
}

/// What was verified before the launch. A cluster is compared with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VerifiedConfiguration {
    /// The security configuration's name.
    pub name: String,
    /// When that was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// SHA-256 of its content.
    pub digest: String,
    /// The release; none if it is not known.
    pub release: Option<ReleaseLabel>,
    /// The subnet, when the config names one.
    pub subnet: Option<String>,
    /// The runner's request to EMR; an older guard's journal does not have it.
    #[serde(default)]
    pub asked: Option<RequestedCluster>,
    /// EBS encryption, if the security configuration enables it.
    #[serde(default)]
    pub ebs: Option<Ebs>,
}

/// In place of a configuration's name: the requirement for it.
const UNNAMED: &str = "a security configuration that protects as required";

impl VerifiedConfiguration {
    /// No security configuration was found that a cluster could be compared with. The cluster must
    /// have one nevertheless.
    pub(crate) fn nothing() -> Self {
        Self {
            name: UNNAMED.to_owned(),
            created: OffsetDateTime::UNIX_EPOCH,
            digest: String::new(),
            release: None,
            subnet: None,
            asked: None,
            ebs: None,
        }
    }

    /// What a cluster must keep that was not started by a run: its security configuration as it was
    /// first seen. Its original request is unknown, so it is not compared with one.
    pub(crate) fn of_running(facts: &Facts, cluster: &ClusterSpec) -> Self {
        let found = facts.security_configuration.as_ref().and_then(Lookup::found);
        Self {
            asked: None,
            release: None,
            subnet: None,
            ..found.map_or_else(Self::nothing, |found| Self::of(found, cluster, facts))
        }
    }

    pub(crate) fn in_words(&self) -> String {
        if self.name == UNNAMED {
            UNNAMED.to_owned()
        } else {
            format!("`{}` as verified", self.name)
        }
    }

    /// What a cluster with this security configuration must be, if it is started as `cluster`
    /// describes.
    pub(crate) fn of(found: &SecurityConfiguration, cluster: &ClusterSpec, facts: &Facts) -> Self {
        Self {
            name: found.name.clone(),
            created: found.created,
            digest: found.digest.clone(),
            release: Some(cluster.release.value.clone()),
            subnet: cluster.subnet.as_ref().map(|subnet| subnet.value.clone()),
            asked: Some(RequestedCluster::of(cluster)),
            ebs: Ebs::of(found, facts),
        }
    }
}

/// How a cluster became one of the run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The run started it.
    Run,
    /// It existed before, and the runner reuses it.
    Adopted,
    /// The user named it to `watch`: nothing was verified before its start.
    Attached,
}

/// The facts from one observation of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterObservation {
    /// The cluster itself.
    pub(crate) cluster: Lookup<ClusterFacts>,
    /// Its steps.
    pub(crate) steps: Lookup<Vec<ClusterStep>>,
    /// The security configuration as it is now.
    pub(crate) security_configuration: Lookup<SecurityConfiguration>,
    /// Facts that are updated less often.
    pub(crate) closer: ClusterDetails,
}

/// Details of a cluster so far. The other facts are judged without waiting for them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Closer")]
pub(crate) struct ClusterDetails {
    /// Its bootstrap actions, which cannot change.
    pub(crate) bootstrap_actions: Lookup<Vec<BootstrapAction>>,
    /// The properties of its instance groups.
    #[schemars(with = "Lookup<Vec<ClusterProperty>>")]
    pub(crate) group_properties: Lookup<GroupFacts>,
    /// Its instances that have not ended.
    #[serde(skip)]
    pub(crate) nodes: Lookup<Vec<ClusterInstance>>,
    /// Whether EC2 answered about their volumes.
    #[serde(skip)]
    pub(crate) volumes_asked: Lookup<()>,
    /// Every volume that was ever seen, by its id.
    #[serde(serialize_with = "by_place")]
    #[schemars(with = "Vec<Volume>")]
    pub(crate) volumes: BTreeMap<String, Volume>,
}

/// Serialises volumes as a list, grouped by instance.
fn by_place<S: Serializer>(
    volumes: &BTreeMap<String, Volume>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut all: Vec<&Volume> = volumes.values().collect();
    all.sort_by_key(|volume| (&volume.instance, &volume.device));
    serializer.collect_seq(all)
}

impl Default for ClusterDetails {
    fn default() -> Self {
        const NOT_YET: &str = "not asked yet";
        Self {
            bootstrap_actions: Lookup::not_asked(&aws_calls::LIST_BOOTSTRAP_ACTIONS, NOT_YET),
            group_properties: Lookup::not_asked(&aws_calls::LIST_INSTANCE_GROUPS, NOT_YET),
            nodes: Lookup::not_asked(&aws_calls::LIST_INSTANCES, NOT_YET),
            volumes_asked: Lookup::not_asked(&aws_calls::DESCRIBE_VOLUMES, NOT_YET),
            volumes: BTreeMap::new(),
        }
    }
}

/// The EBS encryption that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ebs {
    /// The ARN of the key, if KMS gave it.
    pub(crate) key: Option<String>,
    /// The keys that the policy expects, where KMS did not say which key the configuration's alias
    /// names: then the volumes are compared with these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) expected: Vec<String>,
}

impl Ebs {
    /// The EBS encryption in `configuration`; `None` if it is not enabled.
    pub(crate) fn of(configuration: &SecurityConfiguration, facts: &Facts) -> Option<Self> {
        let content = &configuration.content;
        let disk =
            content.local_disk.as_ref().filter(|disk| content.at_rest_enabled && disk.ebs)?;
        let key = disk
            .key
            .as_ref()
            .map(|key| facts.resolved(key).map_or_else(|| key.to_string(), str::to_owned));
        let is_known = key.as_deref().is_none_or(can_be_compared);
        let resolved = |key: &KeyReference| facts.resolved(key).unwrap_or(key.as_str()).to_owned();
        let expected = facts.expected_keys.iter().filter(|_| !is_known).map(resolved).collect();
        Some(Self { key, expected })
    }

    /// What is wrong with a volume, if anything.
    pub(crate) fn against(&self, volume: &Volume) -> Option<String> {
        let place = format!("{} ({} of {})", volume.id, volume.device, volume.instance);
        if !volume.encrypted {
            return Some(format!("{place} is not encrypted"));
        }
        let seen = volume.key.as_deref().unwrap_or_default();
        let is_right = self.key.as_deref().is_none_or(|key| is_key(seen, key))
            && (self.expected.is_empty() || self.expected.iter().any(|key| is_key(seen, key)));
        (!is_right).then(|| {
            format!(
                "{place} is encrypted by {}",
                volume.key.as_deref().unwrap_or("a key that EC2 does not show")
            )
        })
    }
}

/// Whether `seen`, always an ARN from EC2, is the key that `wanted` names. An alias that KMS did
/// not resolve cannot be compared.
pub(super) fn is_key(seen: &str, wanted: &str) -> bool {
    !can_be_compared(wanted)
        || seen == wanted
        || (!wanted.starts_with("arn:") && seen.ends_with(&format!(":key/{wanted}")))
}

/// Whether a key's text names one key: an alias names whatever key it is given to.
fn can_be_compared(key: &str) -> bool {
    !key.contains("alias/")
}

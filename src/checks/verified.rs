//! What was verified before the launch, for a cluster to be compared with.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    base::{aws_calls, digest::sha256, lookup::Lookup, names::ReleaseLabel},
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

/// What the runner asks EMR for, by its config, when it starts a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RequestedCluster {
    pub(crate) service_role: String,
    pub(crate) instance_profile: String,
    /// `aws.emr.configuration`: classification and name, and the digest of the value, since values
    /// can be secrets. Names are those that EMR shows, and blanks at the ends of values do not count.
    pub(crate) properties: BTreeSet<(String, String)>,
    /// What the runner adds by itself, perhaps.
    pub(crate) added_properties: BTreeSet<(String, String)>,
    /// `aws.emr.bootstrap`.
    pub(crate) bootstrap: Vec<String>,
    /// The scripts that the runner adds by itself, perhaps; `*` stands for their versions.
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

/// What was verified before the launch, for a cluster to be compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VerifiedConfiguration {
    /// The security configuration's name.
    pub name: String,
    /// When that was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// SHA-256 of its content.
    pub digest: String,
    /// The release; none where nobody says which it should be.
    pub release: Option<ReleaseLabel>,
    /// The subnet, when the config names one.
    pub subnet: Option<String>,
    /// What the runner asks EMR for; the journal of an older guard does not say.
    #[serde(default)]
    pub asked: Option<RequestedCluster>,
    /// EBS encryption, if the security configuration asks for it.
    #[serde(default)]
    pub ebs: Option<Ebs>,
}

/// No name of a security configuration, but what it must be.
const UNNAMED: &str = "a security configuration that protects as required";

impl VerifiedConfiguration {
    /// Where no security configuration was found that a cluster could be compared with: it must
    /// have one all the same.
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

    pub(crate) fn in_words(&self) -> String {
        if self.name == UNNAMED {
            UNNAMED.to_owned()
        } else {
            format!("`{}` as verified", self.name)
        }
    }

    /// What a cluster of this security configuration must be that is started as `cluster` says.
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

/// How a cluster came to be the run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The run started it.
    Run,
    /// It was there before.
    Adopted,
    /// Somebody named it to `watch`: nobody has judged before what it was to be started with.
    Attached,
}

/// Everything one look at a cluster learnt.
#[derive(Clone, Debug)]
pub(crate) struct ClusterObservation {
    /// The cluster itself.
    pub(crate) cluster: Lookup<ClusterFacts>,
    /// Its steps.
    pub(crate) steps: Lookup<Vec<ClusterStep>>,
    /// The security configuration as it is now.
    pub(crate) security_configuration: Lookup<SecurityConfiguration>,
    /// What is asked less often than these.
    pub(crate) closer: ClusterDetails,
}

/// What closer looks at a cluster have learnt so far: no judgement of the rest waits for it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Closer")]
pub(crate) struct ClusterDetails {
    /// The scripts that its nodes run first; they cannot change.
    pub(crate) bootstrap_actions: Lookup<Vec<BootstrapAction>>,
    /// What its instance groups are configured with.
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

/// Volumes as a list, those of one instance together.
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

/// EBS encryption as it was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ebs {
    /// The key: by its ARN, if KMS has told.
    pub(crate) key: Option<String>,
}

impl Ebs {
    /// What `configuration` promises; `None` when that is not EBS encryption.
    pub(crate) fn of(configuration: &SecurityConfiguration, facts: &Facts) -> Option<Self> {
        let content = &configuration.content;
        let disk =
            content.local_disk.as_ref().filter(|disk| content.at_rest_enabled && disk.ebs)?;
        let key = disk
            .key
            .as_ref()
            .map(|key| facts.resolved(key).map_or_else(|| key.to_string(), str::to_owned));
        Some(Self { key })
    }

    /// What is wrong with a volume.
    pub(crate) fn against(&self, volume: &Volume) -> Option<String> {
        let place = format!("{} ({} of {})", volume.id, volume.device, volume.instance);
        if !volume.encrypted {
            return Some(format!("{place} is not encrypted"));
        }
        let wrong = self
            .key
            .as_deref()
            .is_some_and(|key| !is_key(volume.key.as_deref().unwrap_or_default(), key));
        wrong.then(|| {
            format!(
                "{place} is encrypted by {}",
                volume.key.as_deref().unwrap_or("a key that EC2 does not show")
            )
        })
    }
}

/// Whether EC2's `seen`, always an ARN, is the key that `wanted` names. An alias that KMS did not
/// resolve names none that could be compared.
pub(super) fn is_key(seen: &str, wanted: &str) -> bool {
    wanted.contains("alias/")
        || seen == wanted
        || (!wanted.starts_with("arn:") && seen.ends_with(&format!(":key/{wanted}")))
}

//! What EMR says of security configurations, clusters and their steps.
//!
//! Step arguments carry storage targets with passwords, so a [`ClusterStep`] keeps only what is
//! judged.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_emr::{
    operation::{
        list_bootstrap_actions::ListBootstrapActionsOutput, list_clusters::ListClustersOutput,
        list_instance_fleets::ListInstanceFleetsOutput,
        list_instance_groups::ListInstanceGroupsOutput, list_instances::ListInstancesOutput,
        list_steps::ListStepsOutput,
    },
    primitives::DateTime,
    types::{
        self, Cluster, ClusterState as SdkClusterState, ClusterStatus as SdkClusterStatus,
        Configuration, InstanceCollectionType, StepSummary,
    },
};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    aws::{clients::Aws, whole_list::whole_list},
    base::{
        aws_calls,
        digest::sha256,
        lookup::Lookup,
        names::{ClusterId, KeyReference, ReleaseLabel, S3Location},
    },
    facts::step_arguments::{self, WeakeningArgument},
    spec::s3_connector::S3Connector,
};

/// A security configuration, identified as the design asks: by name, content and creation time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SecurityConfiguration {
    /// Its name.
    pub name: String,
    /// When it was created; there is no way to change one, only to delete it and create another of
    /// that name.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub created: OffsetDateTime,
    /// SHA-256 of its content with sorted keys, in hexadecimal.
    pub digest: String,
    /// What it protects.
    pub content: Content,
}

/// What a security configuration says, part by part; a part that is switched off or absent is
/// `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Content {
    /// `EnableAtRestEncryption`.
    pub at_rest_enabled: bool,
    /// `AtRestEncryptionConfiguration.S3EncryptionConfiguration`.
    pub s3: Option<S3AtRest>,
    /// `AtRestEncryptionConfiguration.LocalDiskEncryptionConfiguration`.
    pub local_disk: Option<LocalDisk>,
    /// `EnableInTransitEncryption`.
    pub in_transit_enabled: bool,
    /// `InTransitEncryptionConfiguration.TLSCertificateConfiguration`.
    pub tls: Option<Tls>,
    /// Roles that EMRFS takes on for some users:
    /// `AuthorizationConfiguration.EmrFsConfiguration.RoleMappings`.
    pub mapped_roles: BTreeSet<String>,
    /// Whether there is an `AuthenticationConfiguration.KerberosConfiguration`.
    pub kerberos: bool,
    /// `InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion`.
    pub metadata_service: Option<u64>,
}

/// How EMRFS encrypts what it writes to S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct S3AtRest {
    /// `SSE-S3`, `SSE-KMS`, `CSE-KMS`, `CSE-Custom`.
    pub mode: String,
    /// `AwsKmsKey`.
    pub key: Option<KeyReference>,
    /// `EncryptionKeyProviderClass`, of `CSE-Custom`.
    pub provider_class: Option<String>,
    /// `S3Object`, of `CSE-Custom`.
    pub s3_object: Option<String>,
    /// `Overrides`: other modes for single buckets.
    pub overrides: Vec<Override>,
}

/// Another mode for one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Override {
    /// `BucketName`.
    pub bucket: String,
    /// `EncryptionMode`.
    pub mode: String,
    /// `AwsKmsKey`.
    pub key: Option<KeyReference>,
}

/// How the cluster's disks are encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LocalDisk {
    /// `AwsKms` or `Custom`.
    pub provider: String,
    /// `AwsKmsKey`.
    pub key: Option<KeyReference>,
    /// `S3Object` and `EncryptionKeyProviderClass`, of `Custom`, both given.
    pub custom_complete: bool,
    /// `S3Object`, of `Custom`: the provider's jar.
    pub s3_object: Option<String>,
    /// `EnableEbsEncryption`: root volumes too, and visible to EC2.
    pub ebs: bool,
}

/// Where the certificates for traffic between nodes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tls {
    /// `PEM`, `Custom` or `EMR`.
    pub provider: String,
    /// `S3Object`.
    pub s3_object: Option<String>,
    /// `CertificateProviderClass`, of `Custom`.
    pub provider_class: Option<String>,
    /// `WildcardDnsSuffix`, of `EMR`: a domain that the certificates cover besides the region's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard_dns_suffix: Option<String>,
    /// `ValidityInDays`, of `EMR`, as it stands there; none: 20 years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validity_in_days: Option<String>,
    /// `AwsKmsKey`, of `EMR`: the key of the secret with the certificate of EMR's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<KeyReference>,
    /// `CACertificateSecretARN`, of `EMR`: that secret, which EMR has made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The keys of `SecretTags`, of `EMR`: what the secret was to be tagged with.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secret_tags: BTreeSet<String>,
}

impl Tls {
    /// Whether EMR makes the certificates.
    pub(crate) fn is_by_emr(&self) -> bool {
        self.provider == "EMR"
    }

    /// One by this provider.
    #[cfg(test)]
    pub(crate) fn for_tests(provider: &str) -> Self {
        let tls = serde_json::json!({"CertificateProviderType": provider});
        Self::read(&tls).unwrap()
    }

    fn read(tls: &Value) -> Option<Self> {
        let text = |key: &str| text(tls, key);
        let number = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.trim().to_owned()),
            other => Some(other.to_string()),
        };
        let tags = tls["SecretTags"].as_array().into_iter().flatten();
        Some(Self {
            provider: text("CertificateProviderType")?,
            s3_object: text("S3Object"),
            provider_class: text("CertificateProviderClass"),
            wildcard_dns_suffix: text("WildcardDnsSuffix"),
            validity_in_days: number(&tls["ValidityInDays"]),
            secret_key: text("AwsKmsKey").map(|key| KeyReference::new(&key)),
            secret: text("CACertificateSecretARN"),
            secret_tags: tags.filter_map(|tag| self::text(tag, "Key")).collect(),
        })
    }
}

/// A text that says something.
fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

impl SecurityConfiguration {
    /// Reads the JSON text that EMR keeps; `None` when it is no JSON object.
    fn read(name: &str, created: OffsetDateTime, text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok().filter(Value::is_object)?;
        let digest = sha256(canonical(&json));
        Some(Self { name: name.to_owned(), created, digest, content: Content::read(&json) })
    }

    /// One of this content.
    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self::read("sc", OffsetDateTime::UNIX_EPOCH, text).unwrap()
    }

    /// Every key it names.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<KeyReference> {
        let s3 = self.content.s3.iter().flat_map(S3AtRest::keys);
        let disk = self.content.local_disk.iter().filter_map(|disk| disk.key.as_ref());
        s3.chain(disk).chain(self.content.secret_key()).cloned().collect()
    }
}

impl S3AtRest {
    /// Its keys, the overrides' too.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyReference> {
        self.key.iter().chain(self.overrides.iter().filter_map(|other| other.key.as_ref()))
    }
}

impl Content {
    fn read(json: &Value) -> Self {
        let encryption = &json["EncryptionConfiguration"];
        let at_rest = &encryption["AtRestEncryptionConfiguration"];
        let key = |value: &Value| text(value, "AwsKmsKey").map(|key| KeyReference::new(&key));
        let s3 = &at_rest["S3EncryptionConfiguration"];
        let disk = &at_rest["LocalDiskEncryptionConfiguration"];
        let tls = &encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"];
        Self {
            at_rest_enabled: truth(&encryption["EnableAtRestEncryption"]),
            s3: text(s3, "EncryptionMode").map(|mode| S3AtRest {
                mode,
                key: key(s3),
                provider_class: text(s3, "EncryptionKeyProviderClass"),
                s3_object: text(s3, "S3Object"),
                overrides: s3["Overrides"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|other| Override {
                        bucket: text(other, "BucketName").unwrap_or_default(),
                        mode: text(other, "EncryptionMode").unwrap_or_default(),
                        key: key(other),
                    })
                    .collect(),
            }),
            local_disk: text(disk, "EncryptionKeyProviderType").map(|provider| LocalDisk {
                provider,
                key: key(disk),
                custom_complete: text(disk, "S3Object").is_some() && text(disk, "EncryptionKeyProviderClass").is_some(),
                s3_object: text(disk, "S3Object"),
                ebs: truth(&disk["EnableEbsEncryption"]),
            }),
            in_transit_enabled: truth(&encryption["EnableInTransitEncryption"]),
            tls: Tls::read(tls),
            mapped_roles: json["AuthorizationConfiguration"]["EmrFsConfiguration"]["RoleMappings"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|mapping| text(mapping, "Role").unwrap_or_default())
                .collect(),
            kerberos: !json["AuthenticationConfiguration"]["KerberosConfiguration"].is_null(),
            metadata_service: json["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"].as_u64(),
        }
    }
}

/// An object in S3 that every node fetches while it starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeFetch {
    /// As the security configuration names it.
    pub(crate) uri: String,
    /// Whether it is the jar of a custom provider, and no archive of certificates.
    pub(crate) custom_provider: bool,
}

impl Content {
    /// The key of the secret with the certificate of EMR's authority, where EMR makes certificates.
    pub(crate) fn secret_key(&self) -> Option<&KeyReference> {
        self.tls.as_ref().filter(|tls| tls.is_by_emr())?.secret_key.as_ref()
    }

    /// What nodes fetch, of the parts that are switched on.
    pub(crate) fn node_fetches(&self) -> BTreeSet<NodeFetch> {
        let fetch = |uri: &Option<String>, custom_provider| {
            uri.clone().map(|uri| NodeFetch { uri, custom_provider })
        };
        let s3 = self.s3.as_ref().filter(|s3| self.at_rest_enabled && s3.mode == "CSE-Custom");
        let disk = self
            .local_disk
            .as_ref()
            .filter(|disk| self.at_rest_enabled && disk.provider == "Custom");
        let tls = self.tls.as_ref().filter(|tls| {
            self.in_transit_enabled && matches!(tls.provider.as_str(), "PEM" | "Custom")
        });
        let all = [
            s3.and_then(|s3| fetch(&s3.s3_object, true)),
            disk.and_then(|disk| fetch(&disk.s3_object, true)),
            tls.and_then(|tls| fetch(&tls.s3_object, tls.provider == "Custom")),
        ];
        all.into_iter().flatten().collect()
    }
}

/// A boolean as AWS accepts it: its own examples also write the text "true".
fn truth(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// JSON text with sorted keys and no blanks, so that equal contents have equal digests.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let entries: Vec<String> = sorted
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// Where a cluster is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterState {
    /// Nothing of it has touched data yet.
    Starting,
    /// Bootstrap actions run; they already can touch data.
    Bootstrapping,
    /// A step runs.
    Running,
    /// Alive without a step.
    Waiting,
    /// On its way out.
    Terminating,
    /// Ended as asked.
    Terminated,
    /// Ended by a failure.
    TerminatedWithErrors,
    /// A state that this program does not know.
    Unknown,
}

impl ClusterState {
    /// Whether it has ended for good.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::TerminatedWithErrors)
    }
}

impl std::fmt::Display for ClusterState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "STARTING",
            Self::Bootstrapping => "BOOTSTRAPPING",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Terminating => "TERMINATING",
            Self::Terminated => "TERMINATED",
            Self::TerminatedWithErrors => "TERMINATED_WITH_ERRORS",
            Self::Unknown => "unknown",
        })
    }
}

/// A cluster's state, why, and since when it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClusterStatus {
    /// The state.
    pub state: ClusterState,
    /// EMR's reason for the last change, when it gives one.
    pub reason: Option<String>,
    /// When it was created, by EMR's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub created: OffsetDateTime,
}

/// A cluster as `ListClusters` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterListing {
    /// Its id.
    pub id: ClusterId,
    /// Its name, which is `aws.emr.jobflow.job_name` for the runner's.
    pub name: String,
    /// Its state.
    pub status: ClusterStatus,
}

/// A cluster as `DescribeCluster` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClusterFacts {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: ClusterStatus,
    /// `emr-…`.
    pub release: Option<String>,
    /// The subnet.
    pub subnet: Option<String>,
    /// The subnets that were asked for, of which EMR chooses one; while the cluster starts, that
    /// need not show.
    #[serde(skip)]
    pub requested_subnets: BTreeSet<String>,
    /// The security configuration's name, which is all that EMR says about it.
    pub security_configuration: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether termination is refused at present.
    pub termination_protected: bool,
    /// Where EMR puts its logs.
    pub log_location: Option<String>,
    /// `Configurations`, nested ones too.
    pub properties: Vec<ClusterProperty>,
    /// The role of the EMR service, as name or ARN.
    pub service_role: Option<String>,
    /// The instance profile, as name or ARN.
    pub instance_profile: Option<String>,
    /// Whether it ever got so far that it could run steps.
    pub was_ready: bool,
    /// A machine image of somebody's own.
    pub custom_ami: Option<String>,
    /// Whether its instances are in fleets, and not in groups.
    #[serde(skip)]
    pub has_fleets: bool,
}

impl ClusterFacts {
    /// What its programs reach S3 by. A release whose label cannot be read is one of a later time.
    pub(crate) fn s3_connector(&self) -> S3Connector {
        let properties = self.properties.iter().map(|property| {
            (property.classification.as_str(), property.name.as_str(), property.value.as_str())
        });
        let label = self.release.as_deref().unwrap_or_default().parse();
        S3Connector::of(&label.unwrap_or(ReleaseLabel::new(8, 0, 0)), properties)
    }

    /// Whether it surely got so far that it had instances.
    pub(crate) fn has_started(&self) -> bool {
        use ClusterState::{Bootstrapping, Running, Waiting};
        self.was_ready || matches!(self.status.state, Bootstrapping | Running | Waiting)
    }
}

/// A property of a cluster's or an instance group's `Configurations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClusterProperty {
    /// `core-site`, ….
    pub classification: String,
    /// Its name.
    pub name: String,
    /// Its value; it may be a secret, so no record holds it.
    #[serde(skip)]
    pub value: String,
}

/// An instance of a cluster that is there, or on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterInstance {
    /// EC2's id, once there is one.
    pub(crate) instance: Option<String>,
    /// `PROVISIONING`, `BOOTSTRAPPING`, `RUNNING`, ….
    pub(crate) state: String,
}

/// A script that every node runs before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BootstrapAction {
    /// Where it lies.
    pub path: String,
    /// What it is told; that may be a secret, so no record holds it.
    #[serde(skip)]
    pub arguments: Vec<String>,
}

/// A step, reduced to what is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Step")]
pub struct ClusterStep {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `PENDING`, `RUNNING`, `COMPLETED`, ….
    pub state: String,
    /// Whether it runs s3-dist-cp, however it is called.
    pub is_s3_dist_cp: bool,
    /// Whether `--s3ServerSideEncryption` is among its arguments.
    pub has_encryption_flag: bool,
    /// What its arguments say against encryption.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argued: Vec<WeakeningArgument>,
    /// The places in S3 that its arguments name.
    #[serde(skip)]
    pub places: Vec<S3Location>,
}

impl ClusterStep {
    /// Whether it is still to be done.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "PENDING" | "RUNNING" | "CANCEL_PENDING")
    }
}

/// EMR gives times as seconds with a fraction; below the millisecond there is only the noise of
/// floating point.
fn moment(time: DateTime) -> Option<OffsetDateTime> {
    const MILLISECOND: i128 = 1_000_000;
    let nanos = (time.as_nanos() + MILLISECOND / 2).div_euclid(MILLISECOND) * MILLISECOND;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

fn status(status: Option<&SdkClusterStatus>) -> Option<ClusterStatus> {
    let status = status?;
    let state = match status.state()? {
        SdkClusterState::Starting => ClusterState::Starting,
        SdkClusterState::Bootstrapping => ClusterState::Bootstrapping,
        SdkClusterState::Running => ClusterState::Running,
        SdkClusterState::Waiting => ClusterState::Waiting,
        SdkClusterState::Terminating => ClusterState::Terminating,
        SdkClusterState::Terminated => ClusterState::Terminated,
        SdkClusterState::TerminatedWithErrors => ClusterState::TerminatedWithErrors,
        _ => ClusterState::Unknown,
    };
    let reason = status.state_change_reason().and_then(|reason| {
        let parts: Vec<&str> = reason
            .code()
            .map(types::ClusterStateChangeReasonCode::as_str)
            .into_iter()
            .chain(reason.message())
            .collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    });
    let created = moment(*status.timeline()?.creation_date_time()?)?;
    Some(ClusterStatus { state, reason, created })
}

/// The security configuration `name`.
pub(crate) async fn security_configuration(
    emr: &aws_sdk_emr::Client,
    name: &str,
) -> Lookup<SecurityConfiguration> {
    let result = emr.describe_security_configuration().name(name).send().await;
    if let Err(error) = &result
        && let Some(service) = error.as_service_error()
        && says_that_no_configuration_has_the_name(service)
    {
        return Lookup::Absent;
    }
    Lookup::from_call(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &[], result).and_then(|answer| {
        let call = &aws_calls::DESCRIBE_SECURITY_CONFIGURATION;
        let Some(text) = answer.security_configuration else {
            return Lookup::unusable(call, "it holds no security configuration");
        };
        let Some(created) = answer.creation_date_time.and_then(moment) else {
            return Lookup::unusable(
                call,
                "it does not say when the security configuration was created",
            );
        };
        let found = answer.name.as_deref().unwrap_or(name);
        if found != name {
            return Lookup::unusable(
                call,
                &format!("it is about another security configuration: {found}"),
            );
        }
        let no_json = || {
            let came = format!("its text, {} characters, is no JSON object", text.chars().count());
            Lookup::unusable(call, &came)
        };
        SecurityConfiguration::read(name, created, &text).map_or_else(no_json, Lookup::Found)
    })
}

/// Reads EMR's message, the only place here that does: DescribeSecurityConfiguration answers
/// `InvalidRequestException` both to a name that no configuration has and to a request that is
/// wrong otherwise, and there is no error code that tells the two apart. Terraform's AWS provider
/// goes by the same words, "does not exist".
fn says_that_no_configuration_has_the_name(
    error: &impl aws_sdk_emr::error::ProvideErrorMetadata,
) -> bool {
    matches!(error.code(), Some("InvalidRequestException" | "ValidationException"))
        && error.message().is_some_and(|message| {
            let message = message.to_ascii_lowercase();
            message.contains("does not exist")
                || message.contains("not found")
                || message.contains("no security configuration")
        })
}

/// The cluster `id`.
pub(crate) async fn cluster(emr: &aws_sdk_emr::Client, id: &ClusterId) -> Lookup<ClusterFacts> {
    let result = emr.describe_cluster().cluster_id(id.as_str()).send().await;
    Lookup::from_call(&aws_calls::DESCRIBE_CLUSTER, &[], result).and_then(|answer| {
        let call = &aws_calls::DESCRIBE_CLUSTER;
        let Some(cluster) = answer.cluster else {
            return Lookup::unusable(call, "it holds no cluster");
        };
        // An answer about another cluster is no answer about this one.
        if cluster.id.as_deref() != Some(id.as_str()) {
            let other = cluster.id.as_deref().unwrap_or("one without an id");
            return Lookup::unusable(call, &format!("it is about another cluster: {other}"));
        }
        let none =
            || Lookup::unusable(call, "the cluster in it has no name, state or creation time");
        cluster_facts(id, cluster).map_or_else(none, Lookup::Found)
    })
}

fn cluster_facts(id: &ClusterId, cluster: Cluster) -> Option<ClusterFacts> {
    let attributes = cluster.ec2_instance_attributes;
    let timeline = cluster.status.as_ref().and_then(|status| status.timeline.as_ref());
    let was_ready = timeline.is_some_and(|timeline| timeline.ready_date_time.is_some());
    Some(ClusterFacts {
        id: id.clone(),
        status: status(cluster.status.as_ref())?,
        name: cluster.name?,
        release: cluster.release_label,
        subnet: attributes
            .as_ref()
            .and_then(|attributes| attributes.ec2_subnet_id.clone())
            .filter(|subnet| !subnet.is_empty()),
        requested_subnets: attributes
            .iter()
            .flat_map(|attributes| attributes.requested_ec2_subnet_ids().iter().cloned())
            .collect(),
        security_configuration: cluster.security_configuration.filter(|name| !name.is_empty()),
        tags: cluster
            .tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(|tag| tag.key.zip(tag.value))
            .collect(),
        termination_protected: cluster.termination_protected.unwrap_or(false),
        log_location: cluster.log_uri,
        properties: properties(cluster.configurations.unwrap_or_default()),
        service_role: cluster.service_role.filter(|role| !role.is_empty()),
        instance_profile: attributes
            .and_then(|attributes| attributes.iam_instance_profile)
            .filter(|profile| !profile.is_empty()),
        was_ready,
        custom_ami: cluster.custom_ami_id.filter(|image| !image.is_empty()),
        has_fleets: cluster.instance_collection_type == Some(InstanceCollectionType::InstanceFleet),
    })
}

/// The properties of `configurations`, with those nested in them.
fn properties(configurations: Vec<Configuration>) -> Vec<ClusterProperty> {
    let of_one = |configuration: Configuration| {
        let classification = configuration.classification.unwrap_or_default();
        let own = configuration.properties.unwrap_or_default().into_iter();
        let own = own.map(|(name, value)| ClusterProperty {
            classification: classification.clone(),
            name,
            value,
        });
        let mut all: Vec<ClusterProperty> = own.collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.extend(properties(configuration.configurations.unwrap_or_default()));
        all
    };
    configurations.into_iter().flat_map(of_one).collect()
}

/// What the instance groups of a cluster are made with, or each type of its instance fleets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct GroupFacts {
    /// Their `Configurations`, nested ones too.
    pub properties: Vec<ClusterProperty>,
    /// Machine images of somebody's own.
    #[serde(skip)]
    pub custom_amis: BTreeSet<String>,
}

impl GroupFacts {
    fn add(&mut self, configurations: Option<Vec<Configuration>>, custom_ami: Option<String>) {
        self.properties.extend(properties(configurations.unwrap_or_default()));
        self.custom_amis.extend(custom_ami.filter(|image| !image.is_empty()));
    }
}

/// What the items of a page's list are named by; none where it holds no list.
fn named<T>(items: Option<&Vec<T>>, name: impl Fn(&T) -> Option<&str>) -> Option<Vec<&str>> {
    items.map(|items| items.iter().filter_map(name).collect())
}

/// What the cluster's instance groups, or fleets, have of their own, by reconfiguration or from the
/// start, all pages.
pub(crate) async fn groups(
    emr: &aws_sdk_emr::Client,
    id: &ClusterId,
    has_fleets: bool,
) -> Lookup<GroupFacts> {
    if has_fleets {
        return fleets(emr, id).await;
    }
    let pages = whole_list(
        &aws_calls::LIST_INSTANCE_GROUPS,
        &[],
        |marker| emr.list_instance_groups().cluster_id(id.as_str()).set_marker(marker).send(),
        ListInstanceGroupsOutput::marker,
        |page| named(page.instance_groups.as_ref(), types::InstanceGroup::id),
    );
    pages.await.map(|pages| {
        let mut facts = GroupFacts::default();
        for group in pages.into_iter().flat_map(|page| page.instance_groups.unwrap_or_default()) {
            facts.add(group.configurations, group.custom_ami_id);
        }
        facts
    })
}

async fn fleets(emr: &aws_sdk_emr::Client, id: &ClusterId) -> Lookup<GroupFacts> {
    let pages = whole_list(
        &aws_calls::LIST_INSTANCE_FLEETS,
        &[],
        |marker| emr.list_instance_fleets().cluster_id(id.as_str()).set_marker(marker).send(),
        ListInstanceFleetsOutput::marker,
        |page| named(page.instance_fleets.as_ref(), types::InstanceFleet::id),
    );
    pages.await.map(|pages| {
        let fleets = pages.into_iter().flat_map(|page| page.instance_fleets.unwrap_or_default());
        let types = fleets.flat_map(|fleet| fleet.instance_type_specifications.unwrap_or_default());
        let mut facts = GroupFacts::default();
        for kind in types {
            facts.add(kind.configurations, kind.custom_ami_id);
        }
        facts
    })
}

/// The scripts that the cluster's nodes run first, in their order, all pages.
pub(crate) async fn bootstrap_actions(
    emr: &aws_sdk_emr::Client,
    id: &ClusterId,
) -> Lookup<Vec<BootstrapAction>> {
    let pages = whole_list(
        &aws_calls::LIST_BOOTSTRAP_ACTIONS,
        &[],
        |marker| emr.list_bootstrap_actions().cluster_id(id.as_str()).set_marker(marker).send(),
        ListBootstrapActionsOutput::marker,
        // The same one may be there twice.
        |page| named(page.bootstrap_actions.as_ref(), |_| None),
    );
    pages.await.and_then(|pages| {
        let actions = pages.into_iter().flat_map(|page| page.bootstrap_actions.unwrap_or_default());
        let actions = actions.map(|action| {
            Some(BootstrapAction {
                path: action.script_path?,
                arguments: action.args.unwrap_or_default(),
            })
        });
        Lookup::expect_in_answer(&aws_calls::LIST_BOOTSTRAP_ACTIONS, actions.collect())
    })
}

/// The instances of the cluster that have not ended, all pages.
pub(crate) async fn nodes(
    emr: &aws_sdk_emr::Client,
    id: &ClusterId,
) -> Lookup<Vec<ClusterInstance>> {
    use aws_sdk_emr::types::InstanceState::{
        AwaitingFulfillment, Bootstrapping, Provisioning, Running,
    };
    let alive = vec![AwaitingFulfillment, Provisioning, Bootstrapping, Running];
    let request = emr.list_instances().cluster_id(id.as_str()).set_instance_states(Some(alive));
    let pages = whole_list(
        &aws_calls::LIST_INSTANCES,
        &[],
        |marker| request.clone().set_marker(marker).send(),
        ListInstancesOutput::marker,
        |page| named(page.instances.as_ref(), types::Instance::id),
    );
    pages.await.and_then(|pages| {
        let instances = pages.into_iter().flat_map(|page| page.instances.unwrap_or_default());
        let nodes = instances.map(|instance| {
            let state = instance.status?.state?.as_str().to_owned();
            Some(ClusterInstance {
                instance: instance.ec2_instance_id.filter(|id| !id.is_empty()),
                state,
            })
        });
        Lookup::expect_in_answer(&aws_calls::LIST_INSTANCES, nodes.collect())
    })
}

/// Every step of the cluster, newest first, all pages.
pub(crate) async fn steps(emr: &aws_sdk_emr::Client, id: &ClusterId) -> Lookup<Vec<ClusterStep>> {
    let pages = whole_list(
        &aws_calls::LIST_STEPS,
        &[],
        |marker| emr.list_steps().cluster_id(id.as_str()).set_marker(marker).send(),
        ListStepsOutput::marker,
        |page| named(page.steps.as_ref(), StepSummary::id),
    );
    pages.await.and_then(|pages| {
        let steps = pages.into_iter().flat_map(|page| page.steps.unwrap_or_default());
        Lookup::expect_in_answer(
            &aws_calls::LIST_STEPS,
            steps.map(step).collect::<Option<Vec<_>>>(),
        )
    })
}

fn step(summary: StepSummary) -> Option<ClusterStep> {
    let config = summary.config?;
    let jar = config.jar.unwrap_or_default();
    let arguments = config.args.unwrap_or_default();
    // The runner names the jar's file; people also write `command-runner.jar s3-dist-cp …`.
    let is_s3_dist_cp = jar.contains("s3-dist-cp")
        || jar.contains("s3distcp")
        || arguments.first().is_some_and(|word| word.ends_with("s3-dist-cp"));
    let status = summary.status?;
    Some(ClusterStep {
        id: summary.id?,
        name: summary.name?,
        state: status.state?.as_str().to_owned(),
        is_s3_dist_cp,
        places: arguments.iter().filter_map(|argument| place(argument)).collect(),
        has_encryption_flag: arguments
            .iter()
            .any(|argument| argument == "--s3ServerSideEncryption"),
        argued: step_arguments::judge(&arguments, config.properties.iter().flatten()),
    })
}

/// The place in S3 that an argument names, by itself or after `--option=`.
fn place(argument: &str) -> Option<S3Location> {
    let value = argument
        .split_once('=')
        .filter(|(option, _)| option.starts_with("--"))
        .map_or(argument, |(_, value)| value);
    S3Location::parse(value).ok()
}

/// The clusters created after `since` that are in one of `states` (all, when empty), newest first,
/// all pages.
pub(crate) async fn list(
    emr: &aws_sdk_emr::Client,
    since: Option<OffsetDateTime>,
    states: &[SdkClusterState],
) -> Lookup<Vec<ClusterListing>> {
    let request = emr
        .list_clusters()
        .set_created_after(since.map(|since| DateTime::from_secs(since.unix_timestamp())))
        .set_cluster_states((!states.is_empty()).then(|| states.to_vec()));
    let pages = whole_list(
        &aws_calls::LIST_CLUSTERS,
        &[],
        |marker| request.clone().set_marker(marker).send(),
        ListClustersOutput::marker,
        |page| named(page.clusters.as_ref(), types::ClusterSummary::id),
    );
    pages.await.and_then(|pages| {
        let summaries = pages.into_iter().flat_map(|page| page.clusters.unwrap_or_default());
        let listings = summaries.map(|summary| {
            Some(ClusterListing {
                id: summary.id?.parse().ok()?,
                name: summary.name?,
                status: status(summary.status.as_ref())?,
            })
        });
        Lookup::expect_in_answer(&aws_calls::LIST_CLUSTERS, listings.collect::<Option<Vec<_>>>())
    })
}

/// A live cluster that the runner would adopt, with the steps that are not this run's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Adoptable {
    /// The cluster.
    pub cluster: ClusterFacts,
    /// The ids of the steps it had before the launch.
    pub earlier_steps: BTreeSet<String>,
    /// What its instance groups are configured with besides the cluster.
    #[schemars(with = "Lookup<Vec<ClusterProperty>>")]
    pub group_properties: Lookup<GroupFacts>,
    /// The scripts that its nodes have run, and that nodes which join it will.
    pub bootstrap_actions: Lookup<Vec<BootstrapAction>>,
}

/// What a persistent run will meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Persistent {
    /// The clusters of its name.
    pub clusters: Vec<Adoptable>,
    /// How many clusters of any name the runner will list: those WAITING or RUNNING.
    pub live: usize,
}

/// The clusters that the runner could adopt for `name`: it looks for WAITING and RUNNING ones, by
/// name only, when its JVM is up; until then those that are still starting may have become such.
pub(super) async fn adoptable(emr: &aws_sdk_emr::Client, name: &str) -> Lookup<Persistent> {
    let alive = [
        SdkClusterState::Starting,
        SdkClusterState::Bootstrapping,
        SdkClusterState::Waiting,
        SdkClusterState::Running,
    ];
    let none = Persistent { clusters: Vec::new(), live: 0 };
    let listings = match list(emr, None, &alive).await {
        Lookup::Found(listings) => listings,
        other => return other.map(|_| none),
    };
    let live = listings
        .iter()
        .filter(|listing| {
            matches!(listing.status.state, ClusterState::Waiting | ClusterState::Running)
        })
        .count();
    let named = listings.into_iter().filter(|listing| listing.name == name);
    let described = join_all(named.map(|listing| async move {
        let id = &listing.id;
        let described = async {
            let cluster = cluster(emr, id).await;
            // Which call tells of its groups, the cluster says.
            let groups = match cluster.found() {
                Some(cluster) => groups(emr, id, cluster.has_fleets).await,
                None => {
                    let why = "the cluster could not be described";
                    Lookup::not_asked(&aws_calls::LIST_INSTANCE_GROUPS, why)
                }
            };
            (cluster, groups)
        };
        let ((cluster, group_properties), steps, bootstrap_actions) =
            tokio::join!(described, steps(emr, id), bootstrap_actions(emr, id));
        cluster.and_then(|cluster| {
            steps.map(|steps| Adoptable {
                cluster,
                earlier_steps: steps.into_iter().map(|step| step.id).collect(),
                group_properties,
                bootstrap_actions,
            })
        })
    }));
    let mut clusters = Vec::new();
    for answer in described.await {
        match answer {
            Lookup::Found(adoptable) => clusters.push(adoptable),
            other => return other.map(|_| none),
        }
    }
    Lookup::Found(Persistent { clusters, live })
}

/// The clusters that exist already, as far back as one that counts as this run's could reach.
pub(super) async fn recent(aws: &Aws) -> Lookup<BTreeSet<ClusterId>> {
    list(&aws.emr, Some(recently(aws)), &[])
        .await
        .map(|listings| listings.into_iter().map(|listing| listing.id).collect())
}

/// An hour ago by AWS's own clock, by which clusters are dated: no cluster of a run starting now is
/// older.
pub(crate) fn recently(aws: &Aws) -> OffsetDateTime {
    aws.emr_clock.now_or_own() - time::Duration::hours(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(json: &Value) -> Content {
        Content::read(json)
    }

    #[test]
    fn a_part_that_is_switched_on_but_empty_is_not_there() {
        let read = content(
            &json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "EnableInTransitEncryption": "true", "AtRestEncryptionConfiguration": {"S3EncryptionConfiguration": {}}}}),
        );
        assert!(read.at_rest_enabled && read.in_transit_enabled);
        assert_eq!((read.s3, read.local_disk, read.tls), (None, None, None));
    }

    #[test]
    fn emr_certificates_are_read_with_their_key_secret_and_end() {
        let tls = |more: Value| {
            let mut tls = json!({"CertificateProviderType": "EMR", "AwsKmsKey": "k"});
            tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let json = json!({"EncryptionConfiguration": {"EnableInTransitEncryption": true,
                "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": tls}}});
            SecurityConfiguration::for_tests(&json.to_string())
        };
        let all = tls(json!({"ValidityInDays": 30, "CACertificateSecretARN": "arn:x",
            "WildcardDnsSuffix": "acme.internal",
            "SecretTags": [{"Key": "team", "Value": "etl"}, {"Key": "cost", "Value": "1"}]}));
        let read = all.content.tls.as_ref().unwrap();
        assert_eq!(read.validity_in_days.as_deref(), Some("30"));
        assert_eq!(read.secret.as_deref(), Some("arn:x"));
        assert_eq!(read.wildcard_dns_suffix.as_deref(), Some("acme.internal"));
        assert_eq!(read.secret_tags.iter().collect::<Vec<_>>(), ["cost", "team"]);
        assert_eq!(all.keys().iter().map(ToString::to_string).collect::<Vec<_>>(), ["k"]);
        let none = tls(json!({})).content.tls.unwrap();
        assert_eq!((none.validity_in_days, none.secret), (None, None));
        // A key of another provider is nobody's.
        assert!(tls(json!({"CertificateProviderType": "PEM"})).keys().is_empty());
    }

    #[test]
    fn every_key_is_collected_once() {
        let json = json!({"EncryptionConfiguration": {"AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": "a", "Overrides": [{"BucketName": "x", "EncryptionMode": "SSE-KMS", "AwsKmsKey": "b"}, {"BucketName": "y", "EncryptionMode": "SSE-S3"}]},
            "LocalDiskEncryptionConfiguration": {"EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": "a"}}}});
        let configuration =
            SecurityConfiguration::read("sc", OffsetDateTime::UNIX_EPOCH, &json.to_string())
                .unwrap();
        let keys: Vec<String> = configuration.keys().iter().map(ToString::to_string).collect();
        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn the_digest_does_not_see_the_order_of_keys_but_sees_every_value() {
        let digest = |text| {
            SecurityConfiguration::read("sc", OffsetDateTime::UNIX_EPOCH, text).unwrap().digest
        };
        assert_eq!(digest(r#"{"a": 1, "b": [true, "x"]}"#), digest(r#"{"b":[true,"x"],"a":1}"#));
        assert_ne!(digest(r#"{"a": 1}"#), digest(r#"{"a": "1"}"#));
        assert_ne!(digest(r#"{"b": [1, 2]}"#), digest(r#"{"b": [2, 1]}"#));
    }

    #[test]
    fn a_security_configuration_that_is_no_json_object_is_not_read() {
        for text in ["", "[]", "{", "\"x\""] {
            assert_eq!(SecurityConfiguration::read("sc", OffsetDateTime::UNIX_EPOCH, text), None);
        }
    }
}

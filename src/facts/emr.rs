//! EMR's answers about security configurations, clusters and their steps.
//!
//! Step arguments may contain passwords of storage targets, so a [`ClusterStep`] keeps only what is
//! judged.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_emr::{
    operation::{
        list_bootstrap_actions::ListBootstrapActionsOutput, list_clusters::ListClustersOutput,
        list_instance_fleets::ListInstanceFleetsOutput,
        list_instance_groups::ListInstanceGroupsOutput, list_instances::ListInstancesOutput,
        list_security_configurations::ListSecurityConfigurationsOutput,
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

/// A security configuration, identified by name, content and creation time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SecurityConfiguration {
    /// Its name.
    pub name: String,
    /// When it was created. A configuration cannot be changed, only deleted and created again with
    /// the same name.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub created: OffsetDateTime,
    /// SHA-256 of its content with sorted keys, in hexadecimal.
    pub digest: String,
    /// The content.
    pub content: Content,
}

/// The content of a security configuration, part by part. A part that is off or absent is `None`.
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
    /// Roles that EMRFS assumes for some users:
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

/// A different mode for one bucket.
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

/// The source of the certificates for traffic between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tls {
    /// `PEM`, `Custom` or `EMR`.
    pub provider: String,
    /// `S3Object`.
    pub s3_object: Option<String>,
    /// `CertificateProviderClass`, of `Custom`.
    pub provider_class: Option<String>,
    /// `WildcardDnsSuffix`, of `EMR`: a domain that the certificates cover in addition to the
    /// region's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard_dns_suffix: Option<String>,
    /// `ValidityInDays`, of `EMR`, as text; none means 20 years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validity_in_days: Option<String>,
    /// `AwsKmsKey`, of `EMR`: the key of the secret that holds the certificate of EMR's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<KeyReference>,
    /// `CACertificateSecretARN`, of `EMR`: that secret, which EMR has created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The keys of `SecretTags`, of `EMR`: the requested tags of that secret.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secret_tags: BTreeSet<String>,
}

impl Tls {
    /// Whether EMR creates the certificates.
    pub(crate) fn is_by_emr(&self) -> bool {
        self.provider == "EMR"
    }

    /// A configuration with this provider.
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

/// A text that is not empty.
fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

impl SecurityConfiguration {
    /// Takes the JSON object that EMR stores.
    fn read(name: &str, created: OffsetDateTime, json: &Value) -> Self {
        let digest = sha256(canonical(json));
        Self { name: name.to_owned(), created, digest, content: Content::read(json) }
    }

    /// A configuration with this content.
    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self::read("sc", OffsetDateTime::UNIX_EPOCH, &json_object(text).unwrap())
    }

    /// Every key that it names.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<KeyReference> {
        let s3 = self.content.s3.iter().flat_map(S3AtRest::keys);
        let disk = self.content.local_disk.iter().filter_map(|disk| disk.key.as_ref());
        s3.chain(disk).chain(self.content.secret_key()).cloned().collect()
    }
}

impl S3AtRest {
    /// Its keys, including the overrides' keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyReference> {
        self.key.iter().chain(self.overrides.iter().filter_map(|other| other.key.as_ref()))
    }
}

impl Content {
    /// Reads the JSON that EMR stores.
    pub(crate) fn read(json: &Value) -> Self {
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
    /// Whether it is the jar of a custom provider, and not a certificate archive.
    pub(crate) custom_provider: bool,
}

impl Content {
    /// The key of the secret that holds the certificate of EMR's authority, if EMR creates the
    /// certificates.
    pub(crate) fn secret_key(&self) -> Option<&KeyReference> {
        self.tls.as_ref().filter(|tls| tls.is_by_emr())?.secret_key.as_ref()
    }

    /// The objects that nodes fetch, for the parts that are on.
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

/// A boolean as AWS accepts it: AWS's own examples also use the text "true".
fn truth(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// JSON text with sorted keys and no blanks, so that equal contents have equal digests.
pub(crate) fn canonical(value: &Value) -> String {
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

/// The state of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterState {
    /// It has not accessed data yet.
    Starting,
    /// Bootstrap actions run; they can already access data.
    Bootstrapping,
    /// A step runs.
    Running,
    /// It is alive and runs no step.
    Waiting,
    /// It is being terminated.
    Terminating,
    /// It ended normally.
    Terminated,
    /// It ended by a failure.
    TerminatedWithErrors,
    /// A state that this program does not know.
    Unknown,
}

impl ClusterState {
    /// Whether it has ended.
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

/// A cluster's state, the reason, and the creation time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClusterStatus {
    /// The state.
    pub state: ClusterState,
    /// EMR's reason for the last change of state, if it gives one.
    pub reason: Option<String>,
    /// When it was created, by EMR's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub created: OffsetDateTime,
}

/// A cluster as `ListClusters` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterListing {
    /// Its id.
    pub id: ClusterId,
    /// Its name, which is `aws.emr.jobflow.job_name` for the runner's.
    pub name: String,
    /// Its state.
    pub status: ClusterStatus,
}

/// A cluster as `DescribeCluster` describes it.
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
    /// The requested subnets, of which EMR chooses one. EMR may not show them while the cluster
    /// starts.
    #[serde(skip)]
    pub requested_subnets: BTreeSet<String>,
    /// The security configuration's name; EMR gives nothing else about it.
    pub security_configuration: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether termination protection is on at present.
    pub termination_protected: bool,
    /// Where EMR writes its logs.
    pub log_location: Option<String>,
    /// `Configurations`, including nested ones.
    pub properties: Vec<ClusterProperty>,
    /// The role of the EMR service, as name or ARN.
    pub service_role: Option<String>,
    /// The instance profile, as name or ARN.
    pub instance_profile: Option<String>,
    /// Whether it was ever ready to run steps.
    pub was_ready: bool,
    /// The id of a custom machine image.
    pub custom_ami: Option<String>,
    /// Whether it has instance fleets rather than instance groups.
    #[serde(skip)]
    pub has_fleets: bool,
}

impl ClusterFacts {
    /// The connector by which its programs access S3. A release whose label cannot be parsed counts
    /// as newer than all known ones.
    pub(crate) fn s3_connector(&self) -> S3Connector {
        let properties = self.properties.iter().map(|property| {
            (property.classification.as_str(), property.name.as_str(), property.value.as_str())
        });
        let label = self.release.as_deref().unwrap_or_default().parse();
        S3Connector::of(&label.unwrap_or(ReleaseLabel::new(8, 0, 0)), properties)
    }

    /// Whether it certainly had instances.
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
    /// Its value. It may be a secret, so it is not recorded.
    #[serde(skip)]
    pub value: String,
}

/// An instance of a cluster that exists or is being created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterInstance {
    /// EC2's id, if it has one yet.
    pub(crate) instance: Option<String>,
    /// `PROVISIONING`, `BOOTSTRAPPING`, `RUNNING`, ….
    pub(crate) state: String,
}

/// A script that every node runs before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BootstrapAction {
    /// The location of the script.
    pub path: String,
    /// Its arguments. They may contain a secret, so they are not recorded.
    #[serde(skip)]
    pub arguments: Vec<String>,
}

/// A step, with only the fields that are judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Step")]
pub struct ClusterStep {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `PENDING`, `RUNNING`, `COMPLETED`, ….
    pub state: String,
    /// Whether it runs s3-dist-cp, by whatever name.
    pub is_s3_dist_cp: bool,
    /// Whether `--s3ServerSideEncryption` is among its arguments.
    pub has_encryption_flag: bool,
    /// Arguments that weaken encryption.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argued: Vec<WeakeningArgument>,
    /// The S3 locations in its arguments.
    #[serde(skip)]
    pub places: Vec<S3Location>,
}

impl ClusterStep {
    /// Whether it is not finished yet.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "PENDING" | "RUNNING" | "CANCEL_PENDING")
    }
}

/// EMR gives times as seconds with a fraction. Digits below a millisecond are only floating-point
/// noise.
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
    let described = described_configuration(emr, name).await;
    described.map(|(created, json)| SecurityConfiguration::read(name, created, &json))
}

/// The content of the security configuration `name`, as EMR stores it.
pub(crate) async fn security_configuration_content(
    emr: &aws_sdk_emr::Client,
    name: &str,
) -> Lookup<Value> {
    described_configuration(emr, name).await.map(|(_, json)| json)
}

/// When the security configuration `name` was created, and its content.
async fn described_configuration(
    emr: &aws_sdk_emr::Client,
    name: &str,
) -> Lookup<(OffsetDateTime, Value)> {
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
        json_object(&text).map_or_else(no_json, |json| Lookup::Found((created, json)))
    })
}

/// Parses the JSON text that EMR stores; `None` if it is not a JSON object.
fn json_object(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_object)
}

/// Parses EMR's message, which is done nowhere else in this module. DescribeSecurityConfiguration
/// answers `InvalidRequestException` both if no configuration has the name and if the request is
/// invalid, so the error code does not distinguish these. Terraform's AWS provider depends on the
/// same words, "does not exist".
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
        // An answer about another cluster cannot be used.
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

/// The properties of `configurations`, including nested ones.
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

/// The properties of a cluster's instance groups, or of each instance type of its fleets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct GroupFacts {
    /// Their `Configurations`, including nested ones.
    pub properties: Vec<ClusterProperty>,
    /// The ids of custom machine images.
    #[serde(skip)]
    pub custom_amis: BTreeSet<String>,
}

impl GroupFacts {
    fn add(&mut self, configurations: Option<Vec<Configuration>>, custom_ami: Option<String>) {
        self.properties.extend(properties(configurations.unwrap_or_default()));
        self.custom_amis.extend(custom_ami.filter(|image| !image.is_empty()));
    }
}

/// The names of the items on a page; none if it holds no list.
fn named<T>(items: Option<&Vec<T>>, name: impl Fn(&T) -> Option<&str>) -> Option<Vec<&str>> {
    items.map(|items| items.iter().filter_map(name).collect())
}

/// The own properties of the cluster's instance groups or fleets, set at the start or by
/// reconfiguration; from all pages.
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

/// The bootstrap actions of the cluster in their order, from all pages.
pub(crate) async fn bootstrap_actions(
    emr: &aws_sdk_emr::Client,
    id: &ClusterId,
) -> Lookup<Vec<BootstrapAction>> {
    let pages = whole_list(
        &aws_calls::LIST_BOOTSTRAP_ACTIONS,
        &[],
        |marker| emr.list_bootstrap_actions().cluster_id(id.as_str()).set_marker(marker).send(),
        ListBootstrapActionsOutput::marker,
        // The same script may be listed twice, so names are not compared.
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

/// The instances of the cluster that have not ended, from all pages.
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

/// Every step of the cluster, newest first, from all pages.
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
    // The runner names the jar's file; users also write `command-runner.jar s3-dist-cp …`.
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

/// The S3 location in an argument, by itself or after `--option=`.
fn place(argument: &str) -> Option<S3Location> {
    let value = argument
        .split_once('=')
        .filter(|(option, _)| option.starts_with("--"))
        .map_or(argument, |(_, value)| value);
    S3Location::parse(value).ok()
}

/// The clusters created after `since` that are in one of `states` (in any state if that is empty),
/// newest first, from all pages.
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

/// The clusters that have not ended, from all pages.
pub(crate) async fn living(emr: &aws_sdk_emr::Client) -> Lookup<Vec<ClusterListing>> {
    let states = [
        SdkClusterState::Starting,
        SdkClusterState::Bootstrapping,
        SdkClusterState::Running,
        SdkClusterState::Waiting,
        SdkClusterState::Terminating,
    ];
    list(emr, None, &states).await
}

/// What each live cluster uses, as `DescribeCluster` describes it; also of those that are about to
/// end.
pub(crate) async fn live(emr: &aws_sdk_emr::Client) -> Lookup<Vec<ClusterFacts>> {
    let listings = match living(emr).await {
        Lookup::Found(listings) => listings,
        other => return other.map(|_| Vec::new()),
    };
    let mut clusters = Vec::new();
    // One after another: EMR's quota for this call is small, and the guards of runs share it.
    for listing in listings {
        match cluster(emr, &listing.id).await {
            Lookup::Found(cluster) => clusters.push(cluster),
            other => return other.map(|_| Vec::new()),
        }
    }
    Lookup::Found(clusters)
}

/// The names of all security configurations.
pub(crate) async fn security_configuration_names(emr: &aws_sdk_emr::Client) -> Lookup<Vec<String>> {
    let request = emr.list_security_configurations();
    let pages = whole_list(
        &aws_calls::LIST_SECURITY_CONFIGURATIONS,
        &[],
        |marker| request.clone().set_marker(marker).send(),
        ListSecurityConfigurationsOutput::marker,
        |page| {
            named(page.security_configurations.as_ref(), types::SecurityConfigurationSummary::name)
        },
    );
    pages.await.map(|pages| {
        let summaries =
            pages.into_iter().flat_map(|page| page.security_configurations.unwrap_or_default());
        summaries.filter_map(|summary| summary.name).collect()
    })
}

/// A live cluster that the runner could reuse, with the steps that are not this run's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Adoptable {
    /// The cluster.
    pub cluster: ClusterFacts,
    /// The ids of the steps it had before the launch.
    pub earlier_steps: BTreeSet<String>,
    /// The properties that its instance groups have in addition to the cluster's.
    #[schemars(with = "Lookup<Vec<ClusterProperty>>")]
    pub group_properties: Lookup<GroupFacts>,
    /// The scripts that its nodes have run, and that new nodes will run.
    pub bootstrap_actions: Lookup<Vec<BootstrapAction>>,
}

/// The clusters that a run in persistent mode will find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Persistent {
    /// The clusters with the run's name.
    pub clusters: Vec<Adoptable>,
    /// How many clusters of any name the runner will list: those WAITING or RUNNING.
    pub live: usize,
}

/// The clusters that the runner could reuse for `name`. The runner looks for WAITING and RUNNING
/// ones by name only, after its JVM has started. Clusters that are still starting may have reached
/// these states by then, so they are included.
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
            // The kind of cluster decides which call lists its groups.
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

/// The existing clusters, as far back as a cluster of this run could have been created.
pub(super) async fn recent(aws: &Aws) -> Lookup<BTreeSet<ClusterId>> {
    list(&aws.emr, Some(recently(aws)), &[])
        .await
        .map(|listings| listings.into_iter().map(|listing| listing.id).collect())
}

/// One hour ago by AWS's clock, which also dates clusters: no cluster of a run that starts now is
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
        // A key of another provider is not used.
        assert!(tls(json!({"CertificateProviderType": "PEM"})).keys().is_empty());
    }

    #[test]
    fn every_key_is_collected_once() {
        let json = json!({"EncryptionConfiguration": {"AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": "a", "Overrides": [{"BucketName": "x", "EncryptionMode": "SSE-KMS", "AwsKmsKey": "b"}, {"BucketName": "y", "EncryptionMode": "SSE-S3"}]},
            "LocalDiskEncryptionConfiguration": {"EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": "a"}}}});
        let configuration = SecurityConfiguration::read("sc", OffsetDateTime::UNIX_EPOCH, &json);
        let keys: Vec<String> = configuration.keys().iter().map(ToString::to_string).collect();
        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn the_digest_does_not_see_the_order_of_keys_but_sees_every_value() {
        let digest = |text| SecurityConfiguration::for_tests(text).digest;
        assert_eq!(digest(r#"{"a": 1, "b": [true, "x"]}"#), digest(r#"{"b":[true,"x"],"a":1}"#));
        assert_ne!(digest(r#"{"a": 1}"#), digest(r#"{"a": "1"}"#));
        assert_ne!(digest(r#"{"b": [1, 2]}"#), digest(r#"{"b": [2, 1]}"#));
    }

    #[test]
    fn a_security_configuration_that_is_no_json_object_is_not_read() {
        for text in ["", "[]", "{", "\"x\""] {
            assert_eq!(json_object(text), None);
        }
    }
}

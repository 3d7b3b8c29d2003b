//! The pieces that `setup` can make, each with the settings that it should have. One piece is what
//! one write of AWS changes as a whole, so it can be compared, changed, verified and taken back by
//! itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    aws::cloudwatch::alarm::AlarmDefinition,
    base::names::{BucketName, S3Object, endpoint_domain},
    facts::{
        account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
        object_lock::{DefaultRetention, VERSIONING_ON},
    },
};

/// The ARN of the key that `setup` makes, in documents that are written before the key exists. It
/// is replaced when the key is known; infrastructure code refers to the key's resource.
pub(crate) const MADE_KEY: &str = "${emr-etl-guard:key-arn}";

/// The description of the key that `setup` makes.
pub(crate) const KEY_DESCRIPTION: &str =
    "End-to-end encryption of EMR, made by emr-etl-guard setup";
/// The description of the rule that `setup` makes.
pub(crate) const RULE_DESCRIPTION: &str = "Events of EMR, made by emr-etl-guard setup";

/// One piece. The order of the variants is the order in which pieces are made: each refers only to
/// earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Piece {
    /// An IAM role with its trust policy.
    Role(Role),
    /// An instance profile with its role.
    InstanceProfile(InstanceProfile),
    /// A KMS key with its policy, rotation and alias.
    Key(Key),
    /// The key policy of a key that exists.
    KeyPolicy(KeyPolicy),
    /// The yearly rotation of a key that exists.
    KeyRotation(KeyRotation),
    /// An inline policy of a role or user.
    InlinePolicy(InlinePolicy),
    /// A bucket.
    Bucket(Bucket),
    /// The default encryption of a bucket.
    BucketEncryption(BucketEncryption),
    /// The public access block of a bucket.
    PublicAccessBlock(PublicAccessBlock),
    /// The policy of a bucket.
    BucketPolicy(BucketPolicy),
    /// The archive with the certificates of the nodes.
    Certificates(CertificateArchive),
    /// An EMR security configuration.
    SecurityConfiguration(NamedConfiguration),
    /// The versioning of a bucket.
    BucketVersioning(BucketVersioning),
    /// Object Lock of a bucket, with the retention that every new object gets.
    ObjectLock(BucketObjectLock),
    /// An SNS topic for alerts.
    AlertTopic(AlertTopic),
    /// An SQS queue for the events of EMR.
    EventQueue(EventQueue),
    /// The rule of EventBridge that sends the events of EMR to the queue.
    EventRule(EventRule),
    /// An alarm of CloudWatch on a queue.
    Alarm(AlarmPiece),
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: String,
    /// Its path, `/` or `/…/`.
    #[serde(default = "root_path", skip_serializing_if = "is_root_path")]
    pub(crate) path: String,
    /// Its trust policy.
    pub(crate) trust: Value,
    /// The ARNs of AWS's managed policies to attach.
    pub(crate) attached: Vec<String>,
}

impl Role {
    /// The path of a role without one.
    pub(crate) const NO_PATH: &str = "/";

    /// The path in the ARN of a role.
    pub(crate) fn path_in(arn: &str) -> String {
        let path = arn.split_once(":role/").and_then(|(_, named)| named.rsplit_once('/'));
        path.map_or_else(root_path, |(path, _)| format!("/{path}/"))
    }
}

fn root_path() -> String {
    Role::NO_PATH.to_owned()
}

fn is_root_path(path: &str) -> bool {
    path == Role::NO_PATH
}

/// An instance profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InstanceProfile {
    /// Its name.
    pub(crate) name: String,
    /// The name of its role.
    pub(crate) role: String,
}

/// A new key: symmetric, rotated every year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Key {
    /// Its alias, with `alias/`.
    pub(crate) alias: String,
    /// Its key policy.
    pub(crate) policy: Value,
}

/// The key policy of a key that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeyPolicy {
    /// The key's ARN.
    pub(crate) key: String,
    /// The whole policy.
    pub(crate) policy: Value,
}

/// The rotation of a key that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeyRotation {
    /// The key's ARN.
    pub(crate) key: String,
}

/// An inline policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InlinePolicy {
    /// Its holder.
    pub(crate) holder: PolicyHolder,
    /// Its name.
    pub(crate) name: String,
    /// Its document.
    pub(crate) policy: Value,
}

/// A new bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Bucket {
    /// Its name.
    pub(crate) bucket: BucketName,
    /// Its region.
    pub(crate) region: String,
    /// Whether it is made with Object Lock, and so with versioning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) object_lock: bool,
}

/// The default encryption of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketEncryption {
    /// The bucket.
    pub(crate) bucket: BucketName,
    /// The rule. Its key is an ARN or [`MADE_KEY`].
    pub(crate) settings: BucketEncryptionSettings,
}

/// The public access block of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PublicAccessBlock {
    /// The bucket.
    pub(crate) bucket: BucketName,
    /// The four settings.
    pub(crate) settings: PublicAccessBlockSettings,
}

/// The policy of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketPolicy {
    /// The bucket.
    pub(crate) bucket: BucketName,
    /// The whole policy.
    pub(crate) policy: Value,
}

/// The certificate archive: a zip with `privateKey.pem`, `certificateChain.pem` and
/// `trustedCertificates.pem`. Its content is made when it is written, and is never part of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CertificateArchive {
    /// Where it is put.
    pub(crate) object: S3Object,
    /// The DNS names of the leaf certificate.
    pub(crate) names: Vec<String>,
    /// The days for which the certificates are valid.
    pub(crate) days: u16,
    /// The key under which S3 encrypts it: an ARN or [`MADE_KEY`]; none: the bucket's default.
    pub(crate) key: Option<String>,
}

/// A security configuration. EMR cannot change one, so it is named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NamedConfiguration {
    /// Its name.
    pub(crate) name: String,
    /// Its content.
    pub(crate) content: Value,
}

/// The versioning of a bucket: it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketVersioning {
    /// The bucket.
    pub(crate) bucket: BucketName,
}

/// Object Lock of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketObjectLock {
    /// The bucket.
    pub(crate) bucket: BucketName,
    /// The retention of every new object.
    pub(crate) retention: DefaultRetention,
}

/// An SNS topic, encrypted, with its policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlertTopic {
    /// Its ARN.
    pub(crate) arn: String,
    /// The KMS key: an ARN, an id or an alias.
    pub(crate) key: String,
    /// The whole policy.
    pub(crate) policy: Value,
}

/// An SQS queue, encrypted, with its policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct EventQueue {
    /// Its ARN.
    pub(crate) arn: String,
    /// The KMS key of a queue that exists; none: SQS's own.
    pub(crate) key: Option<String>,
    /// The whole policy.
    pub(crate) policy: Value,
    /// How long it keeps a message, in seconds.
    #[serde(default = "shortest_retention")]
    pub(crate) retention: u32,
}

fn shortest_retention() -> u32 {
    EventQueue::RETENTION
}

/// A rule of EventBridge on the default bus, enabled, with its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct EventRule {
    /// Its ARN.
    pub(crate) arn: String,
    /// The pattern of its events.
    pub(crate) pattern: Value,
    /// The ARN of the queue that gets them.
    pub(crate) queue: String,
    /// The description of a new one.
    #[serde(default = "rule_description")]
    pub(crate) description: String,
}

fn rule_description() -> String {
    RULE_DESCRIPTION.to_owned()
}

/// An alarm of CloudWatch, with its actions on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlarmPiece {
    /// Its ARN.
    pub(crate) arn: String,
    /// What it watches, and the topics that it publishes to.
    pub(crate) definition: AlarmDefinition,
}

impl AlarmPiece {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        last_of_arn(&self.arn)
    }
}

impl AlertTopic {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        last_of_arn(&self.arn)
    }
}

impl EventQueue {
    /// How long a queue keeps events that only hasten what polling finds anyway, in seconds.
    pub(crate) const RETENTION: u32 = 300;

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        last_of_arn(&self.arn)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        queue_url(&self.arn)
    }
}

impl EventRule {
    /// The id of the target that `setup` adds.
    pub(crate) const TARGET: &str = "emr-etl-guard";

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }
}

/// The URL of the queue with this ARN. Source: Amazon SQS developer guide, Amazon SQS queue and
/// message identifiers.
pub(crate) fn queue_url(arn: &str) -> String {
    let part = |number: usize| arn.split(':').nth(number).unwrap_or_default();
    let (partition, region, account) = (part(1), part(3), part(4));
    let domain = endpoint_domain(partition);
    format!("https://sqs.{region}.{domain}/{account}/{}", last_of_arn(arn))
}

fn last_of_arn(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or_default()
}

impl Piece {
    /// What kind of piece it is, in words: "bucket policy".
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Role(_) => "role",
            Self::InstanceProfile(_) => "instance profile",
            Self::Key(_) => "KMS key",
            Self::KeyPolicy(_) => "key policy",
            Self::KeyRotation(_) => "key rotation",
            Self::InlinePolicy(_) => "inline policy",
            Self::Bucket(_) => "bucket",
            Self::BucketEncryption(_) => "default encryption",
            Self::PublicAccessBlock(_) => "public access block",
            Self::BucketPolicy(_) => "bucket policy",
            Self::Certificates(_) => "certificates",
            Self::SecurityConfiguration(_) => "security configuration",
            Self::BucketVersioning(_) => "versioning",
            Self::ObjectLock(_) => "default retention",
            Self::AlertTopic(_) => "alert topic",
            Self::EventQueue(_) => "event queue",
            Self::EventRule(_) => "event rule",
            Self::Alarm(_) => "alarm",
        }
    }

    /// What it is of: a bucket's name, a key's ARN, ….
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Role(role) => role.name.clone(),
            Self::InstanceProfile(profile) => profile.name.clone(),
            Self::Key(key) => key.alias.clone(),
            Self::KeyPolicy(KeyPolicy { key, .. }) | Self::KeyRotation(KeyRotation { key }) => {
                key.clone()
            }
            Self::InlinePolicy(policy) => format!("{} of {}", policy.name, policy.holder.name()),
            Self::Bucket(Bucket { bucket, .. })
            | Self::BucketEncryption(BucketEncryption { bucket, .. })
            | Self::PublicAccessBlock(PublicAccessBlock { bucket, .. })
            | Self::BucketPolicy(BucketPolicy { bucket, .. })
            | Self::BucketVersioning(BucketVersioning { bucket })
            | Self::ObjectLock(BucketObjectLock { bucket, .. }) => bucket.to_string(),
            Self::Certificates(archive) => {
                format!("s3://{}/{}", archive.object.bucket, archive.object.key)
            }
            Self::SecurityConfiguration(configuration) => configuration.name.clone(),
            Self::AlertTopic(topic) => topic.name().to_owned(),
            Self::EventQueue(queue) => queue.name().to_owned(),
            Self::EventRule(rule) => rule.name().to_owned(),
            Self::Alarm(alarm) => alarm.name().to_owned(),
        }
    }

    /// The settings that [`StepAction::Change`](crate::setup::plan::StepAction::Change) compares.
    ///
    /// # Errors
    /// When they have no JSON form, which would be a bug.
    pub(crate) fn settings(&self) -> serde_json::Result<Value> {
        Ok(match self {
            Self::Role(role) => role.trust.clone(),
            Self::InstanceProfile(profile) => profile.role.clone().into(),
            Self::Key(Key { policy, .. })
            | Self::KeyPolicy(KeyPolicy { policy, .. })
            | Self::InlinePolicy(InlinePolicy { policy, .. })
            | Self::BucketPolicy(BucketPolicy { policy, .. }) => policy.clone(),
            Self::KeyRotation(_) => true.into(),
            Self::Bucket(bucket) => bucket.region.clone().into(),
            Self::BucketEncryption(BucketEncryption { settings, .. }) => {
                serde_json::to_value(settings)?
            }
            Self::PublicAccessBlock(PublicAccessBlock { settings, .. }) => {
                serde_json::to_value(settings)?
            }
            Self::Certificates(archive) => serde_json::to_value(archive)?,
            Self::SecurityConfiguration(configuration) => configuration.content.clone(),
            Self::BucketVersioning(_) => VERSIONING_ON.into(),
            Self::ObjectLock(BucketObjectLock { retention, .. }) => {
                serde_json::to_value(retention)?
            }
            Self::AlertTopic(topic) => json!({"key": topic.key, "policy": topic.policy}),
            Self::EventQueue(queue) => json!({
                "key": queue.key, "by_sqs": queue.key.is_none(), "policy": queue.policy,
                "retention": queue.retention,
            }),
            Self::EventRule(rule) => json!({"pattern": rule.pattern, "target": rule.queue}),
            Self::Alarm(alarm) => serde_json::to_value(&alarm.definition)?,
        })
    }

    /// The bucket that it is, or that it is in.
    pub(crate) const fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Bucket(Bucket { bucket, .. })
            | Self::BucketEncryption(BucketEncryption { bucket, .. })
            | Self::PublicAccessBlock(PublicAccessBlock { bucket, .. })
            | Self::BucketPolicy(BucketPolicy { bucket, .. })
            | Self::BucketVersioning(BucketVersioning { bucket })
            | Self::ObjectLock(BucketObjectLock { bucket, .. }) => Some(bucket),
            Self::Certificates(archive) => Some(&archive.object.bucket),
            Self::Role(_)
            | Self::InstanceProfile(_)
            | Self::Key(_)
            | Self::KeyPolicy(_)
            | Self::KeyRotation(_)
            | Self::InlinePolicy(_)
            | Self::SecurityConfiguration(_)
            | Self::AlertTopic(_)
            | Self::EventQueue(_)
            | Self::EventRule(_)
            | Self::Alarm(_) => None,
        }
    }

    /// The same piece with `arn` in place of [`MADE_KEY`].
    ///
    /// # Errors
    /// When the piece does not survive its own JSON form, which would be a bug.
    pub(crate) fn with_key(&self, arn: &str) -> serde_json::Result<Self> {
        let mut json = serde_json::to_value(self)?;
        replace(&mut json, arn);
        serde_json::from_value(json)
    }
}

/// Replaces [`MADE_KEY`] within every text of `value`.
fn replace(value: &mut Value, arn: &str) {
    match value {
        Value::String(text) if text.contains(MADE_KEY) => *text = text.replace(MADE_KEY, arn),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, arn)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, arn)),
        _ => {}
    }
}

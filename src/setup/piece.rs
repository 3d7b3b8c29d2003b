//! The pieces that `setup` can make, each with the settings that it should have. One piece is what
//! one write of AWS changes as a whole, so it can be compared, changed, verified and taken back by
//! itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    base::names::{BucketName, S3Object},
    facts::account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
};

/// The ARN of the key that `setup` makes, in documents that are written before the key exists. It
/// is replaced when the key is known; infrastructure code refers to the key's resource.
pub(crate) const MADE_KEY: &str = "${emr-etl-guard:key-arn}";

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
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: String,
    /// Its trust policy.
    pub(crate) trust: Value,
    /// The ARNs of AWS's managed policies to attach.
    pub(crate) attached: Vec<String>,
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
            | Self::BucketPolicy(BucketPolicy { bucket, .. }) => bucket.to_string(),
            Self::Certificates(archive) => {
                format!("s3://{}/{}", archive.object.bucket, archive.object.key)
            }
            Self::SecurityConfiguration(configuration) => configuration.name.clone(),
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
        })
    }

    /// The bucket that it is, or that it is in.
    pub(crate) const fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Bucket(Bucket { bucket, .. })
            | Self::BucketEncryption(BucketEncryption { bucket, .. })
            | Self::PublicAccessBlock(PublicAccessBlock { bucket, .. })
            | Self::BucketPolicy(BucketPolicy { bucket, .. }) => Some(bucket),
            Self::Certificates(archive) => Some(&archive.object.bucket),
            Self::Role(_)
            | Self::InstanceProfile(_)
            | Self::Key(_)
            | Self::KeyPolicy(_)
            | Self::KeyRotation(_)
            | Self::InlinePolicy(_)
            | Self::SecurityConfiguration(_) => None,
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

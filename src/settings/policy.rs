//! The policy: what the settings require, accept and except.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::Date;

/// One of the three protections that a security configuration can enable.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ValueEnum,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// What EMRFS writes to S3.
    S3AtRest,
    /// HDFS, LUKS or EBS on the cluster's disks.
    LocalDisk,
    /// Traffic between the cluster's nodes.
    InTransit,
}

impl Protection {
    /// Its name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S3AtRest => "s3-at-rest",
            Self::LocalDisk => "local-disk",
            Self::InTransit => "in-transit",
        }
    }
}

/// A kind of server-side encryption, as in a bucket's default.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ValueEnum,
    JsonSchema,
)]
pub enum EncryptionKind {
    /// `AES256`: keys that S3 manages.
    #[serde(rename = "SSE-S3")]
    #[value(name = "SSE-S3")]
    SseS3,
    /// `aws:kms`: a KMS key.
    #[serde(rename = "SSE-KMS")]
    #[value(name = "SSE-KMS")]
    SseKms,
    /// `aws:kms:dsse`: two layers under a KMS key.
    #[serde(rename = "DSSE-KMS")]
    #[value(name = "DSSE-KMS")]
    DsseKms,
}

/// The consequence if a run wrote an object that is not encrypted as required.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnencrypted {
    /// The run is not confirmed: exit code 75.
    #[default]
    Unconfirmed,
    /// Its clusters were unsafe: those that still live end, and the exit code is 76 (71 where an
    /// end cannot be confirmed).
    Unsafe,
}

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// An exception: one check is not enforced for one subject, for a reason, until a date.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename = "Exception")]
pub struct PolicyException {
    /// The check's name.
    pub check: String,
    /// Its subject, as the report names it; a trailing `*` matches any ending.
    pub subject: String,
    /// The reason for the exception.
    pub reason: String,
    /// Its last day, in UTC: `2027-01-31`.
    #[serde(with = "day")]
    #[schemars(with = "String")]
    pub expires: Date,
}

impl PolicyException {
    /// Whether it covers this check and subject.
    #[must_use]
    pub fn covers(&self, check: &str, subject: &str) -> bool {
        self.check == check && fits(&self.subject, subject)
    }
}

/// Whether `pattern`, which may end in `*`, matches `text`.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

/// The requirements of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Protections that must be verified.
    pub require: Vec<Protection>,
    /// Accepted default encryption of buckets.
    pub accept_encryption: Vec<EncryptionKind>,
    /// Keys that must encrypt what is written; none: any key is accepted.
    pub expected_keys: Vec<String>,
    /// Buckets of other owners, as patterns.
    pub external_buckets: Vec<String>,
    /// Checks lowered to advisory.
    pub advise: Vec<String>,
    /// Checks raised to required.
    pub enforce: Vec<String>,
    /// The number of days for which certificates must still be valid.
    pub certificate_days: u16,
    /// The number of objects that are looked up in each location that the run reads data from.
    pub data_objects: usize,
    /// The number of objects that are looked up in each location that the run wrote to; none: all
    /// of them.
    #[serde(default)]
    pub confirm_objects: Option<usize>,
    /// The consequence if one is not encrypted as required.
    #[serde(default)]
    pub on_unencrypted: OnUnencrypted,
    /// The exceptions.
    pub exceptions: Vec<PolicyException>,
}

impl Policy {
    /// Whether `bucket` has another owner and is only read.
    #[must_use]
    pub fn is_external(&self, bucket: &str) -> bool {
        self.external_buckets.iter().any(|pattern| fits(pattern, bucket))
    }

    /// Whether `protection` must be verified.
    #[must_use]
    pub fn requires(&self, protection: Protection) -> bool {
        self.require.contains(&protection)
    }
}

/// Snowplow's public buckets: `snowplow-hosted-assets` in eu-west-1; elsewhere the region is
/// appended.
pub(crate) const HOSTED_ASSETS: [&str; 2] = ["snowplow-hosted-assets", "snowplow-hosted-assets-*"];

pub(crate) fn kind_name(kind: EncryptionKind) -> &'static str {
    match kind {
        EncryptionKind::SseS3 => "SSE-S3",
        EncryptionKind::SseKms => "SSE-KMS",
        EncryptionKind::DsseKms => "DSSE-KMS",
    }
}

pub(crate) fn accepted(kinds: &[EncryptionKind]) -> String {
    kinds.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(" or ")
}

//! Owns the encryption of objects at rest, and buckets' defaults.

use serde::{Deserialize, Serialize};

/// How an object is encrypted at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sse {
    /// Not at all: written before S3 encrypted by default.
    #[serde(rename = "none")]
    None,
    /// SSE-S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// SSE-KMS.
    #[serde(rename = "aws:kms")]
    Kms {
        /// Key id, ARN or alias; the AWS-managed key when absent. Stored objects hold the ARN.
        #[serde(default)]
        key: Option<String>,
    },
    /// DSSE-KMS.
    #[serde(rename = "aws:kms:dsse")]
    Dsse {
        /// As for SSE-KMS.
        #[serde(default)]
        key: Option<String>,
    },
    /// SSE-C: reading its head without the key is an error.
    #[serde(rename = "customer")]
    Customer,
}

/// A bucket's default encryption, as one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketEncryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`; none: the rule has no algorithm, and objects get
    /// AES256.
    #[serde(default)]
    pub algorithm: Option<String>,
    /// Key id, ARN or alias, returned as it is.
    #[serde(default)]
    pub key: Option<String>,
    /// `BucketKeyEnabled`.
    #[serde(default)]
    pub bucket_key: Option<bool>,
    /// `BlockedEncryptionTypes`.
    #[serde(default)]
    pub blocked: Vec<String>,
}

impl BucketEncryption {
    /// SSE-S3.
    #[must_use]
    pub fn aes256() -> Self {
        Self { algorithm: Some("AES256".to_owned()), bucket_key: Some(false), ..Self::default() }
    }

    /// SSE-KMS with a key.
    #[must_use]
    pub fn kms(key: &str) -> Self {
        Self {
            algorithm: Some("aws:kms".to_owned()),
            key: Some(key.to_owned()),
            bucket_key: Some(false),
            ..Self::default()
        }
    }
}

/// The algorithm and key id headers that ask for a protection.
pub fn header_of(sse: &Sse) -> (&'static str, Option<&str>) {
    match sse {
        Sse::None | Sse::Customer => ("", None),
        Sse::Aes256 => ("AES256", None),
        Sse::Kms { key } => ("aws:kms", key.as_deref()),
        Sse::Dsse { key } => ("aws:kms:dsse", key.as_deref()),
    }
}

/// The protection an algorithm's name and a key's name ask for.
pub fn sse_named(algorithm: &str, key: Option<&str>) -> Option<Sse> {
    let key = key.map(str::to_owned);
    match algorithm {
        "AES256" => Some(Sse::Aes256),
        "aws:kms" => Some(Sse::Kms { key }),
        "aws:kms:dsse" => Some(Sse::Dsse { key }),
        _ => None,
    }
}

//! How an object is stored: the encryption that S3 reports.

use aws_sdk_s3::types::ServerSideEncryption;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::policy::EncryptionKind;

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Stored")]
pub enum StoredEncryption {
    /// Not at all.
    Unencrypted,
    /// By S3, under this key's ARN where it is KMS's.
    Kind(EncryptionKind, Option<String>),
    /// SSE-C: under a key that only its writer has.
    CustomerKey,
    /// In a way that this program does not know.
    Other(String),
}

/// S3's word for a kind of encryption.
pub(crate) fn encryption_kind(kind: &ServerSideEncryption) -> Option<EncryptionKind> {
    match kind {
        ServerSideEncryption::Aes256 => Some(EncryptionKind::SseS3),
        ServerSideEncryption::AwsKms => Some(EncryptionKind::SseKms),
        ServerSideEncryption::AwsKmsDsse => Some(EncryptionKind::DsseKms),
        _ => None,
    }
}

/// The other way round.
pub(crate) fn server_side_encryption(kind: EncryptionKind) -> ServerSideEncryption {
    match kind {
        EncryptionKind::SseS3 => ServerSideEncryption::Aes256,
        EncryptionKind::SseKms => ServerSideEncryption::AwsKms,
        EncryptionKind::DsseKms => ServerSideEncryption::AwsKmsDsse,
    }
}

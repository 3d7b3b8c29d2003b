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
    /// Not encrypted.
    Unencrypted,
    /// Encrypted by S3; with the key's ARN if it is under a KMS key.
    Kind(EncryptionKind, Option<String>),
    /// SSE-C: under a key that only the writer has.
    CustomerKey,
    /// Encrypted in a way that this program does not know.
    Other(String),
}

/// The kind of encryption for S3's name.
pub(crate) fn encryption_kind(kind: &ServerSideEncryption) -> Option<EncryptionKind> {
    match kind {
        ServerSideEncryption::Aes256 => Some(EncryptionKind::SseS3),
        ServerSideEncryption::AwsKms => Some(EncryptionKind::SseKms),
        ServerSideEncryption::AwsKmsDsse => Some(EncryptionKind::DsseKms),
        _ => None,
    }
}

/// S3's name for a kind of encryption.
pub(crate) fn server_side_encryption(kind: EncryptionKind) -> ServerSideEncryption {
    match kind {
        EncryptionKind::SseS3 => ServerSideEncryption::Aes256,
        EncryptionKind::SseKms => ServerSideEncryption::AwsKms,
        EncryptionKind::DsseKms => ServerSideEncryption::AwsKmsDsse,
    }
}

//! The name of the key that signs reports.

use std::path::PathBuf;

/// The signing key, as the setting `sign_key` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// A file: PKCS#8 PEM, Ed25519.
    File(PathBuf),
    /// A KMS key: its ARN, or an alias (`alias/…`, or an alias' ARN).
    Kms(String),
}

impl std::str::FromStr for KeyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            text if text.trim().is_empty() => {
                Err("is blank; name a file, or a KMS key by its ARN or alias".to_owned())
            }
            text if text.starts_with("alias/") || text.starts_with("arn:") => {
                Ok(Self::Kms(text.to_owned()))
            }
            text => Ok(Self::File(text.into())),
        }
    }
}

impl<'de> serde::Deserialize<'de> for KeyName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Kms(key) => f.write_str(key),
        }
    }
}

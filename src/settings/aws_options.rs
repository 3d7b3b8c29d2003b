//! How AWS is called: credentials, endpoints, time limits.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Whose credentials the guard looks with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialSource {
    /// The default chain of the AWS SDKs: environment, profile, SSO, web identity, container,
    /// instance.
    #[default]
    Chain,
    /// The static keys in the runner config.
    RunnerConfig,
}

/// A certificate authority, by the SHA-256 digest of its certificate in lower-case hexadecimal.
///
/// It is written as 64 hexadecimal digits, with or without the colons and the prefix that
/// `openssl x509 -fingerprint -sha256` prints; a blank one names nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RootDigest(String);

impl RootDigest {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for RootDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.rsplit('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        let digits = digits.strip_prefix("sha256:").unwrap_or(&digits).replace(':', "");
        if digits.is_empty()
            || (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Ok(Self(digits));
        }
        Err(format!(
            "`{text}` is no SHA-256 digest of a certificate; give its 64 hexadecimal digits, as \
             `openssl x509 -in CA.pem -noout -fingerprint -sha256` prints them"
        ))
    }
}

impl<'de> Deserialize<'de> for RootDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The settings for the AWS clients.
#[derive(Clone, Debug)]
pub struct AwsOptions {
    /// Endpoints that may replace AWS's own.
    pub allow_endpoints: Vec<String>,
    /// Certificate authorities outside the public set that are trusted for AWS.
    pub allow_roots: Vec<RootDigest>,
    /// Whose credentials the guard looks with.
    pub credentials: CredentialSource,
    /// Limit for one AWS call with its retries.
    pub timeout: Duration,
    /// Limit for checking the objects that the run wrote.
    pub confirm_timeout: Duration,
    /// The URL of a queue with EMR's events.
    pub event_queue: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::RootDigest;

    #[test]
    fn an_authority_is_named_by_the_digest_that_openssl_prints() {
        let digits = "0ab1".repeat(16);
        let colons = "0A:B1:".repeat(16);
        let colons = colons.trim_end_matches(':');
        for text in [
            digits.clone(),
            digits.to_uppercase(),
            colons.to_owned(),
            format!("sha256 Fingerprint={colons}"),
            format!("SHA256 Fingerprint={colons}"),
            format!("sha256:{digits}"),
        ] {
            assert_eq!(text.parse::<RootDigest>().unwrap().as_str(), digits, "{text}");
        }
        assert_eq!(" ".parse::<RootDigest>().unwrap().as_str(), "");
        for text in ["0ab1", "corp-ca.pem", &digits[1..], &format!("{digits}0")] {
            let why = text.parse::<RootDigest>().unwrap_err();
            assert!(why.starts_with(&format!("`{text}` is no SHA-256 digest")), "{why}");
        }
    }
}

//! What KMS says of a key, and what the cluster's role may do with it.

use std::fmt;

use aws_sdk_kms::types::{KeyManagerType, KeySpec, KeyState, KeyUsageType};
use serde::Serialize;

use super::iam;
use crate::{
    aws::{Lookup, calls},
    key_policy::{self, KeyPolicyDecision},
    names::{KeyArn, KeyReference},
};

/// The answers about one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyFacts {
    /// The key itself.
    pub description: Lookup<Key>,
    /// What decides whether the role may use it for `kms:GenerateDataKey`.
    pub role_use: Lookup<KeyUse>,
}

/// An answer of `kms:DescribeKey`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its ARN.
    pub arn: KeyArn,
    /// `Enabled`, `Disabled`, `PendingDeletion`, ….
    pub state: String,
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, ….
    pub spec: String,
    /// `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, ….
    pub usage: String,
    /// Whether AWS manages it (its policy cannot be edited then).
    pub aws_managed: bool,
}

impl Key {
    /// Whether it can be used now.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state == KeyState::Enabled.as_str()
    }

    /// Whether it is a key EMR can use: symmetric, for encryption.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault.as_str() && self.usage == KeyUsageType::EncryptDecrypt.as_str()
    }
}

/// The two policies that decide about a use of a key, each with its word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// By the role's own policies, boundaries and the organisation's, as IAM's simulator says.
    pub identity: Decision,
    /// By the key's policy, for this role.
    pub key_policy: KeyPolicyDecision,
}

/// A decision of IAM's policy simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// A policy allows it.
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// A policy denies it.
    Denied,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::NotAllowed => "not allowed",
            Self::Denied => "denied",
        })
    }
}

/// Asks about the key that `reference` names, and what `role` may do with it.
pub(super) async fn key(kms: &aws_sdk_kms::Client, iam: &aws_sdk_iam::Client, reference: &KeyReference, role: Option<&str>) -> KeyFacts {
    let description = describe(kms, reference).await;
    let role_use = match (&description, role) {
        (Lookup::Found(key), Some(role)) => role_use(kms, iam, key, role).await,
        (Lookup::Found(_), None) => Lookup::not_asked(&calls::SIMULATE_PRINCIPAL_POLICY, "the role is not known"),
        (_, _) => Lookup::not_asked(&calls::SIMULATE_PRINCIPAL_POLICY, "the key is not known"),
    };
    KeyFacts { description, role_use }
}

async fn describe(kms: &aws_sdk_kms::Client, reference: &KeyReference) -> Lookup<Key> {
    let result = kms.describe_key().key_id(reference.as_str()).send().await;
    Lookup::from_call(&calls::DESCRIBE_KEY, &["NotFoundException"], result).and_then(|answer| {
        let key = answer.key_metadata.and_then(|metadata| {
            Some(Key {
                arn: KeyArn::new(&metadata.arn?),
                state: metadata.key_state?.as_str().to_owned(),
                spec: metadata.key_spec?.as_str().to_owned(),
                usage: metadata.key_usage?.as_str().to_owned(),
                aws_managed: metadata.key_manager? == KeyManagerType::Aws,
            })
        });
        Lookup::expect_in_answer(&calls::DESCRIBE_KEY, key)
    })
}

async fn role_use(kms: &aws_sdk_kms::Client, iam: &aws_sdk_iam::Client, key: &Key, role: &str) -> Lookup<KeyUse> {
    const ACTION: &str = "kms:GenerateDataKey";
    let (identity, key_policy) = tokio::join!(iam::simulate(iam, role, ACTION, key.arn.as_str()), key_policy(kms, &key.arn));
    identity.and_then(|identity| key_policy.map(|policy| KeyUse { identity, key_policy: key_policy::decide(&policy, role, ACTION) }))
}

async fn key_policy(kms: &aws_sdk_kms::Client, key: &KeyArn) -> Lookup<String> {
    let result = kms.get_key_policy().key_id(key.as_str()).policy_name("default").send().await;
    Lookup::from_call(&calls::GET_KEY_POLICY, &["NotFoundException"], result)
        .and_then(|answer| Lookup::expect_in_answer(&calls::GET_KEY_POLICY, answer.policy))
}

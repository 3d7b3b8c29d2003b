//! What KMS says of a key, and what decides whether a role may use it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kms::operation::list_grants::ListGrantsOutput;
use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeySpec, KeyState, KeyUsageType};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::whole_list::whole_list,
    base::{
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{KeyArn, KeyReference},
    },
    facts::iam::{self, SimulationDecision},
};

/// The answers about one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyFacts {
    /// The key itself.
    pub description: Lookup<KmsKey>,
    /// Whether its material is rotated every year; `Absent` for a kind of key that knows no
    /// rotation.
    pub rotation: Lookup<bool>,
    /// Its policy, as JSON text.
    #[serde(skip)]
    pub policy: Lookup<String>,
    /// Its grants.
    pub grants: Lookup<Vec<Grant>>,
    /// What the roles' own policies say of each action they need.
    #[schemars(with = "BTreeMap<String, Lookup<BTreeMap<String, SimulationDecision>>>")]
    pub identity: BTreeMap<RoleKind, Lookup<BTreeMap<String, SimulationDecision>>>,
}

impl KeyFacts {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            description: Lookup::not_asked(&aws_calls::DESCRIBE_KEY, why),
            rotation: Lookup::not_asked(&aws_calls::GET_KEY_ROTATION_STATUS, why),
            policy: Lookup::not_asked(&aws_calls::GET_KEY_POLICY, why),
            grants: Lookup::not_asked(&aws_calls::LIST_GRANTS, why),
            identity: BTreeMap::new(),
        }
    }
}

/// The roles that need keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleKind {
    /// `aws.emr.jobflow_role`: the cluster's instances act as it.
    Jobflow,
    /// `aws.emr.service_role`: the EMR service acts as it; it has EC2 make encrypted volumes.
    Service,
    /// A role, by its ARN, that EMRFS takes on for some users in the instances' place.
    Mapped(String),
}

impl Serialize for RoleKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Jobflow => "jobflow",
            Self::Service => "service",
            Self::Mapped(arn) => arn,
        })
    }
}

impl RoleKind {
    /// What it does with a key. Source: Amazon EMR management guide, "Create keys and certificates
    /// for data encryption" and "Turn on EBS encryption".
    #[must_use]
    pub const fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::Jobflow | Self::Mapped(_) => &["kms:GenerateDataKey", "kms:Decrypt"],
            Self::Service => &[
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
                "kms:CreateGrant",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:DescribeKey",
            ],
        }
    }
}

/// What a key is used for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// EMRFS writes to S3 under it, by the security configuration.
    S3,
    /// It is a bucket's default.
    BucketDefault(String),
    /// LUKS on local disks asks for it directly.
    LocalDisk,
    /// EBS volumes are encrypted under it.
    Ebs,
    /// The policy expects it.
    Expected,
}

impl KeyUse {
    /// Whether it is S3 that asks KMS for it, on behalf of whoever writes or reads.
    #[must_use]
    pub fn is_by_s3(&self) -> bool {
        matches!(self, Self::S3 | Self::BucketDefault(_))
    }
}

/// An answer of `kms:DescribeKey`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub struct KmsKey {
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
    /// When it will be gone, in seconds since 1970, if its deletion is pending.
    pub deletion: Option<i64>,
}

impl KmsKey {
    /// Whether it can be used now.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state == KeyState::Enabled.as_str()
    }

    /// Whether it is a key EMR can use: symmetric, for encryption.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault.as_str()
            && self.usage == KeyUsageType::EncryptDecrypt.as_str()
    }
}

/// A grant on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Grant {
    /// Whom it allows something.
    pub grantee: String,
    /// `Decrypt`, `GenerateDataKey`, ….
    pub operations: BTreeSet<String>,
    /// Whether it holds for some encryption contexts only.
    pub constrained: bool,
}

/// Asks about the key that `reference` names, and what each of `roles` (by ARN) may do with it.
pub(super) async fn key(
    kms: &aws_sdk_kms::Client,
    iam: &aws_sdk_iam::Client,
    reference: &KeyReference,
    roles: &[(RoleKind, Option<&str>)],
) -> KeyFacts {
    let description = describe(kms, reference).await;
    let Some(key) = description.found() else {
        return KeyFacts { description, ..KeyFacts::not_asked("the key is not known") };
    };
    let simulations =
        futures_util::future::join_all(roles.iter().map(async |(kind, role)| match role {
            Some(role) => {
                (kind.clone(), iam::simulate(iam, role, kind.actions(), key.arn.as_str()).await)
            }
            None => (
                kind.clone(),
                Lookup::not_asked(&aws_calls::SIMULATE_PRINCIPAL_POLICY, "the role is not known"),
            ),
        }));
    let (rotation, policy, grants, identity) = tokio::join!(
        rotation(kms, &key.arn),
        policy(kms, &key.arn),
        grants(kms, &key.arn),
        simulations
    );
    KeyFacts { rotation, policy, grants, identity: identity.into_iter().collect(), description }
}

pub(crate) async fn describe(
    kms: &aws_sdk_kms::Client,
    reference: &KeyReference,
) -> Lookup<KmsKey> {
    let result = kms.describe_key().key_id(reference.as_str()).send().await;
    Lookup::from_call(&aws_calls::DESCRIBE_KEY, &["NotFoundException"], result).and_then(|answer| {
        match answer.key_metadata.map(understood) {
            Some(Ok(key)) => Lookup::Found(key),
            Some(Err(missing)) => Lookup::Unreachable(LookupError::new(
                aws_calls::DESCRIBE_KEY.permission,
                LookupErrorKind::UnreadableAnswer,
                format!("the answer holds no {missing}"),
            )),
            None => Lookup::expect_in_answer(&aws_calls::DESCRIBE_KEY, None),
        }
    })
}

/// The key, or the name of the field that the answer lacks.
fn understood(metadata: KeyMetadata) -> Result<KmsKey, &'static str> {
    Ok(KmsKey {
        arn: KeyArn::new(&metadata.arn.ok_or("Arn")?),
        state: metadata.key_state.ok_or("KeyState")?.as_str().to_owned(),
        spec: metadata.key_spec.ok_or("KeySpec")?.as_str().to_owned(),
        usage: metadata.key_usage.ok_or("KeyUsage")?.as_str().to_owned(),
        aws_managed: metadata.key_manager.ok_or("KeyManager")? == KeyManagerType::Aws,
        deletion: metadata.deletion_date.map(|date| date.secs()),
    })
}

async fn rotation(kms: &aws_sdk_kms::Client, key: &KeyArn) -> Lookup<bool> {
    let result = kms.get_key_rotation_status().key_id(key.as_str()).send().await;
    Lookup::from_call(
        &aws_calls::GET_KEY_ROTATION_STATUS,
        &["UnsupportedOperationException"],
        result,
    )
    .map(|answer| answer.key_rotation_enabled)
}

async fn policy(kms: &aws_sdk_kms::Client, key: &KeyArn) -> Lookup<String> {
    let result = kms.get_key_policy().key_id(key.as_str()).policy_name("default").send().await;
    Lookup::from_call(&aws_calls::GET_KEY_POLICY, &["NotFoundException"], result)
        .and_then(|answer| Lookup::expect_in_answer(&aws_calls::GET_KEY_POLICY, answer.policy))
}

async fn grants(kms: &aws_sdk_kms::Client, key: &KeyArn) -> Lookup<Vec<Grant>> {
    let pages = whole_list(
        &aws_calls::LIST_GRANTS,
        &["NotFoundException"],
        |marker| kms.list_grants().key_id(key.as_str()).set_marker(marker).send(),
        ListGrantsOutput::next_marker,
        |page| page.grants().iter().filter_map(|grant| grant.grant_id()).collect(),
    );
    pages.await.map(|pages| {
        let grants = pages.into_iter().flat_map(|page| page.grants.unwrap_or_default());
        let grant = |grant: aws_sdk_kms::types::GrantListEntry| {
            Some(Grant {
                grantee: grant.grantee_principal?,
                operations: grant
                    .operations
                    .unwrap_or_default()
                    .iter()
                    .map(|operation| operation.as_str().to_owned())
                    .collect(),
                constrained: grant.constraints.is_some(),
            })
        };
        grants.filter_map(grant).collect()
    })
}

//! KMS's answers about a key, and the policies and grants that decide whether a role may use it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kms::operation::list_grants::ListGrantsOutput;
use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeySpec, KeyState, KeyUsageType};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::{iam_query::simulation::ContextValue, whole_list::whole_list},
    base::{
        aws_calls,
        lookup::Lookup,
        names::{KeyArn, KeyReference},
    },
    facts::simulation::{Simulated, SimulationDecision, every_request},
};

/// The facts about one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyFacts {
    /// The key itself.
    pub description: Lookup<KmsKey>,
    /// Whether its material is rotated every year; `Absent` for a kind of key that cannot be
    /// rotated.
    pub rotation: Lookup<bool>,
    /// Its policy as JSON text.
    #[serde(skip)]
    pub policy: Lookup<String>,
    /// Its grants.
    pub grants: Lookup<Vec<Grant>>,
    /// The result of simulating the roles' own policies for each action that they need.
    #[schemars(with = "BTreeMap<String, Lookup<BTreeMap<String, SimulationDecision>>>")]
    pub identity: BTreeMap<RoleKind, Lookup<KeyUserSimulation>>,
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
    /// `aws.emr.service_role`: the EMR service acts as it, and makes EC2 create encrypted volumes.
    Service,
    /// A role, by its ARN, that EMRFS assumes for some users instead of the instances' role.
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
    /// Its actions on a key. Source: Amazon EMR management guide, "Create keys and certificates for
    /// data encryption" and "Turn on EBS encryption".
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

    /// The actions that it needs on a key with these uses through a service. A key that only
    /// encrypts the certificate archive needs only the permission to decrypt.
    #[must_use]
    pub fn needed(&self, uses: &BTreeSet<KeyUse>, via: ViaService) -> &'static [&'static str] {
        let writes = via != ViaService::S3 || uses.iter().any(KeyUse::is_by_s3);
        if writes { self.actions() } else { &["kms:Decrypt"] }
    }

    /// Its name in messages.
    #[must_use]
    pub fn in_words(&self) -> &str {
        match self {
            Self::Jobflow => "the jobflow role",
            Self::Service => "the service role",
            Self::Mapped(arn) => arn,
        }
    }

    /// The services through which it uses a key with these uses.
    #[must_use]
    pub fn services(&self, uses: &BTreeSet<KeyUse>) -> BTreeSet<ViaService> {
        let through = |used: &KeyUse| match (self, used) {
            (Self::Jobflow | Self::Mapped(_), KeyUse::S3 | KeyUse::BucketDefault(_)) => {
                Some(ViaService::S3)
            }
            (Self::Jobflow, KeyUse::Certificates) => Some(ViaService::S3),
            (Self::Jobflow, KeyUse::LocalDisk) => Some(ViaService::Itself),
            (Self::Service, KeyUse::Ebs) => Some(ViaService::Ec2),
            _ => None,
        };
        uses.iter().filter_map(through).collect()
    }
}

/// The service that calls KMS on behalf of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViaService {
    /// None: the role calls KMS itself.
    Itself,
    /// S3, for its objects.
    S3,
    /// EC2, for its volumes.
    Ec2,
}

impl ViaService {
    /// The value of `kms:ViaService`; none if the role calls KMS itself. It ends with
    /// `.amazonaws.com` in all partitions. Source: AWS KMS developer guide, kms:ViaService.
    #[must_use]
    pub fn endpoint(self, region: &str) -> Option<String> {
        let service = match self {
            Self::Itself => return None,
            Self::S3 => "s3",
            Self::Ec2 => "ec2",
        };
        Some(format!("{service}.{region}.amazonaws.com"))
    }

    /// The condition keys that such a request lacks.
    pub(super) fn absent(self) -> &'static [&'static str] {
        match self {
            Self::Itself => {
                &["kms:ViaService", "aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast"]
            }
            Self::S3 | Self::Ec2 => &[],
        }
    }

    /// The condition keys of a request of the role `role`. Source: AWS KMS developer guide, "AWS
    /// KMS condition keys".
    pub(super) fn context(self, role: &str, region: &str) -> Vec<ContextValue> {
        let mut context = every_request(role, region);
        // EC2 requests grants on behalf of the role; policies often have a condition on that.
        context.push(ContextValue::truth("kms:GrantIsForAWSResource", self == Self::Ec2));
        context.push(ContextValue::truth("aws:ViaAWSService", self != Self::Itself));
        let account = role.split(':').nth(4);
        context.extend(account.map(|account| ContextValue::text("kms:CallerAccount", account)));
        let endpoint = self.endpoint(region);
        context.extend(endpoint.map(|endpoint| ContextValue::text("kms:ViaService", endpoint)));
        context
    }
}

/// The simulated decisions about a role's use of a key, by service and action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUserSimulation(pub BTreeMap<(ViaService, String), Simulated>);

impl Serialize for KeyUserSimulation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The worst decision for each action.
        let mut worst: BTreeMap<&str, SimulationDecision> = BTreeMap::new();
        for ((_, action), simulated) in &self.0 {
            let decision = worst.entry(action).or_insert(simulated.decision);
            *decision = simulated.decision.max(*decision);
        }
        serializer.collect_map(worst)
    }
}

/// A use of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// EMRFS writes to S3 under it, by the security configuration.
    S3,
    /// It is a bucket's default.
    BucketDefault(String),
    /// LUKS on local disks; the node calls KMS itself.
    LocalDisk,
    /// EBS volumes are encrypted under it.
    Ebs,
    /// Secrets Manager encrypts the certificate of EMR's own authority with it. It is used only
    /// when the security configuration is created or that secret is read, never by a node.
    CertificateSecret,
    /// The certificate archive, which every node fetches, is encrypted under it.
    Certificates,
    /// The policy requires it.
    Expected,
}

impl KeyUse {
    /// Whether S3 calls KMS for it, on behalf of the writer or reader.
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
    /// Whether AWS manages it. Then its policy cannot be edited.
    pub aws_managed: bool,
    /// When it will be deleted, in seconds since 1970, if its deletion is pending.
    pub deletion: Option<i64>,
}

impl KmsKey {
    /// Whether it can be used now.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state == KeyState::Enabled.as_str()
    }

    /// Whether EMR can use it: symmetric, for encryption.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault.as_str()
            && self.usage == KeyUsageType::EncryptDecrypt.as_str()
    }
}

/// A grant on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Grant {
    /// The grantee.
    pub grantee: String,
    /// `Decrypt`, `GenerateDataKey`, ….
    pub operations: BTreeSet<String>,
    /// Whether it applies only to some encryption contexts.
    pub constrained: bool,
}

/// Looks up what decides about the use of a described key, except its users' own policies. `roles`
/// are the users' ARNs. The policy of a key in another account than `own` is not looked up, since
/// it can be read only there.
pub(super) async fn key(
    kms: &aws_sdk_kms::Client,
    description: Lookup<KmsKey>,
    roles: &BTreeSet<&str>,
    own: Option<&str>,
) -> KeyFacts {
    let Some(key) = description.found() else {
        return KeyFacts { description, ..KeyFacts::not_asked("the key is not known") };
    };
    let policy = async {
        match key.arn.account() {
            Some(account) if own.is_some_and(|own| own != account) => Lookup::not_asked(
                &aws_calls::GET_KEY_POLICY,
                &format!(
                    "the key is one of account {account}, and only there its policy can be read"
                ),
            ),
            _ => policy(kms, &key.arn).await,
        }
    };
    let (rotation, policy, grants) =
        tokio::join!(rotation(kms, &key.arn), policy, grants(kms, &key.arn, roles));
    KeyFacts { rotation, policy, grants, identity: BTreeMap::new(), description }
}

pub(crate) async fn describe(
    kms: &aws_sdk_kms::Client,
    reference: &KeyReference,
) -> Lookup<KmsKey> {
    let result = kms.describe_key().key_id(reference.as_str()).send().await;
    Lookup::from_call(&aws_calls::DESCRIBE_KEY, &["NotFoundException"], result).and_then(|answer| {
        match answer.key_metadata.map(understood) {
            Some(Ok(key)) => Lookup::Found(key),
            Some(Err(missing)) => Lookup::unusable(
                &aws_calls::DESCRIBE_KEY,
                &format!("the key in it has no {missing}"),
            ),
            None => Lookup::unusable(&aws_calls::DESCRIBE_KEY, "it holds no key"),
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

pub(super) async fn rotation(kms: &aws_sdk_kms::Client, key: &KeyArn) -> Lookup<bool> {
    let result = kms.get_key_rotation_status().key_id(key.as_str()).send().await;
    Lookup::from_call(
        &aws_calls::GET_KEY_ROTATION_STATUS,
        &["UnsupportedOperationException"],
        result,
    )
    .map(|answer| answer.key_rotation_enabled)
}

pub(super) async fn policy(kms: &aws_sdk_kms::Client, key: &KeyArn) -> Lookup<String> {
    let result = kms.get_key_policy().key_id(key.as_str()).policy_name("default").send().await;
    Lookup::from_call(&aws_calls::GET_KEY_POLICY, &["NotFoundException"], result).and_then(
        |answer| {
            let none = || Lookup::unusable(&aws_calls::GET_KEY_POLICY, "it holds no policy");
            answer.policy.map_or_else(none, Lookup::Found)
        },
    )
}

/// The grants of a key to each of `roles`. Others are not looked up: a key of EBS volumes has
/// thousands of them.
async fn grants(
    kms: &aws_sdk_kms::Client,
    key: &KeyArn,
    roles: &BTreeSet<&str>,
) -> Lookup<Vec<Grant>> {
    let of_roles = roles.iter().map(|role| grants_to(kms, key, role));
    let mut all = Vec::new();
    for grants in futures_util::future::join_all(of_roles).await {
        match grants {
            Lookup::Found(grants) => all.extend(grants),
            other => return other,
        }
    }
    Lookup::Found(all)
}

/// The maximum number of grants on one page. Source: AWS KMS API reference, ListGrants.
const PAGE_OF_GRANTS: i32 = 100;

async fn grants_to(kms: &aws_sdk_kms::Client, key: &KeyArn, role: &str) -> Lookup<Vec<Grant>> {
    let request =
        kms.list_grants().key_id(key.as_str()).grantee_principal(role).limit(PAGE_OF_GRANTS);
    let pages = whole_list(
        &aws_calls::LIST_GRANTS,
        &["NotFoundException"],
        |marker| request.clone().set_marker(marker).send(),
        ListGrantsOutput::next_marker,
        |page| Some(page.grants.as_ref()?.iter().filter_map(|grant| grant.grant_id()).collect()),
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

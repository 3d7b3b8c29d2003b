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
        lookup::Lookup,
        names::{KeyArn, KeyReference},
    },
    facts::simulation::{ContextValue, Simulated, SimulationDecision, every_request},
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

    /// What it must be allowed of a key that is used so, through a service: of one that only the
    /// archive of certificates is encrypted under, nothing but reading.
    #[must_use]
    pub fn needed(&self, uses: &BTreeSet<KeyUse>, via: ViaService) -> &'static [&'static str] {
        let writes = via != ViaService::S3 || uses.iter().any(KeyUse::is_by_s3);
        if writes { self.actions() } else { &["kms:Decrypt"] }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn in_words(&self) -> &str {
        match self {
            Self::Jobflow => "the jobflow role",
            Self::Service => "the service role",
            Self::Mapped(arn) => arn,
        }
    }

    /// Through which services it asks for a key that is used so.
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

/// The service that asks KMS for a key on behalf of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViaService {
    /// None: the role asks itself.
    Itself,
    /// S3, for its objects.
    S3,
    /// EC2, for its volumes.
    Ec2,
}

impl ViaService {
    /// The value of `kms:ViaService`; none where the role itself asks.
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

    /// What KMS is told of a request of the role `role`. Source: AWS KMS developer guide, "AWS KMS
    /// condition keys".
    pub(super) fn context(self, role: &str, region: &str) -> Vec<ContextValue> {
        let mut context = every_request(role, region);
        // EC2 asks for grants on behalf of the role, which policies often make a condition.
        context.push(ContextValue::truth("kms:GrantIsForAWSResource", self == Self::Ec2));
        context.push(ContextValue::truth("aws:ViaAWSService", self != Self::Itself));
        let account = role.split(':').nth(4);
        context.extend(account.map(|account| ContextValue::text("kms:CallerAccount", account)));
        let endpoint = self.endpoint(region);
        context.extend(endpoint.map(|endpoint| ContextValue::text("kms:ViaService", endpoint)));
        context
    }
}

/// What the simulator says of a role's use of a key, by the service that asks and the action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUserSimulation(pub BTreeMap<(ViaService, String), Simulated>);

impl Serialize for KeyUserSimulation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Of each action the worst of what was decided.
        let mut worst: BTreeMap<&str, SimulationDecision> = BTreeMap::new();
        for ((_, action), simulated) in &self.0 {
            let decision = worst.entry(action).or_insert(simulated.decision);
            *decision = simulated.decision.max(*decision);
        }
        serializer.collect_map(worst)
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
    /// Secrets Manager keeps the certificate of EMR's own authority under it. Only who makes the
    /// security configuration, or reads that secret, uses it: no node does.
    CertificateSecret,
    /// The archive of certificates, which every node fetches, is encrypted under it.
    Certificates,
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

/// Asks what decides about the use of a key that was described, besides the policies of those who
/// use it: `roles` are the ARNs of these. The policy of a key of another account than `own` is not
/// asked for: only there it can be read.
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
    Lookup::from_call(&aws_calls::GET_KEY_POLICY, &["NotFoundException"], result).and_then(
        |answer| {
            let none = || Lookup::unusable(&aws_calls::GET_KEY_POLICY, "it holds no policy");
            answer.policy.map_or_else(none, Lookup::Found)
        },
    )
}

/// The grants of a key to each of `roles`: those of others, of which a key of EBS volumes has
/// thousands, are not asked for.
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

/// As many grants come on one page at most. Source: AWS KMS API reference, ListGrants.
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

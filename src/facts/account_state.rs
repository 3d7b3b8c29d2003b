//! What exists in an account of the pieces that `setup` can make: plain structs with whole
//! documents, because a change must keep everything that is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    aws::{
        bucket_region::is_code,
        clients::Aws,
        iam_query::{Iam, NO_ENTITY, simulation::ContextValue, whole_iam_list},
        patience::Patience,
    },
    base::{
        aws_calls::{self, Call},
        lookup::Lookup,
        names::{AccountId, BucketName, KeyArn, KeyReference, S3Object},
    },
    facts::{
        emr,
        gather::ENDPOINT_REFUSED,
        kms,
        notification_state::{self, NotificationQuery, NotificationState},
        object_lock::{LockState, lock_state},
        s3::{self, DefaultEncryption},
        simulation::{SimulationDecision, SimulationQuery, every_request, simulate},
        stored::encryption_kind,
    },
    settings::policy::EncryptionKind,
};

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountStateQuery {
    /// The account that everything must belong to.
    pub(crate) account: AccountId,
    /// The region of clusters, keys and security configurations.
    pub(crate) region: String,
    /// The buckets.
    pub(crate) buckets: BTreeSet<BucketName>,
    /// The KMS key: as the user named it, or by the alias that `setup` gives to the one it makes.
    pub(crate) key: KeyReference,
    /// The instance profile's name, without a path.
    pub(crate) instance_profile: String,
    /// The service role's name, without a path.
    pub(crate) service_role: String,
    /// Security configurations, by name.
    pub(crate) security_configurations: BTreeSet<String>,
    /// The certificate archive, if one is planned.
    pub(crate) certificates: Option<S3Object>,
    /// The inline policies that `setup` makes, by holder and name.
    pub(crate) inline_policies: BTreeSet<(PolicyHolder, String)>,
    /// What roles and users need, to find out what they lack.
    pub(crate) needs: Vec<AccessNeed>,
    /// The buckets to look at for Object Lock.
    pub(crate) locks: BTreeSet<BucketName>,
    /// The topic, the queue and the rule that `setup` makes if they are asked for.
    pub(crate) notifications: NotificationQuery,
}

/// The answers. Every map has an entry for each thing that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountState {
    /// The buckets.
    pub(crate) buckets: BTreeMap<BucketName, BucketState>,
    /// The public access block of the account.
    pub(crate) account_block: Lookup<PublicAccessBlockSettings>,
    /// The KMS key.
    pub(crate) key: Lookup<KeyState>,
    /// The instance profile.
    pub(crate) instance_profile: Lookup<InstanceProfileState>,
    /// The roles, by name: the service role, and the one that the instance profile holds or would
    /// hold.
    pub(crate) roles: BTreeMap<String, Lookup<RoleState>>,
    /// The inline policies that `setup` has made, by holder and name; `Absent` if there is none.
    pub(crate) inline_policies: BTreeMap<(PolicyHolder, String), Lookup<Value>>,
    /// What each holder lacks of what was asked: the pairs of action and resource that IAM's
    /// simulation does not allow. `Absent` if the holder does not exist.
    pub(crate) lacks: BTreeMap<PolicyHolder, Lookup<BTreeSet<(String, String)>>>,
    /// The security configurations, by name: their content.
    pub(crate) security_configurations: BTreeMap<String, Lookup<Value>>,
    /// The certificate archive: the ETag of the object.
    pub(crate) certificates: Option<Lookup<String>>,
    /// Object Lock of buckets.
    pub(crate) locks: BTreeMap<BucketName, LockState>,
    /// The topic, the queue and the rule that were asked for.
    pub(crate) notifications: NotificationState,
}

/// A bucket of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketState {
    /// Whether it belongs to the account; `Absent` if the bucket does not exist.
    pub(crate) ours: Lookup<bool>,
    /// Its region.
    pub(crate) region: Lookup<String>,
    /// Its encryption rule as it is configured.
    pub(crate) encryption: Lookup<BucketEncryptionSettings>,
    /// Its policy document; `Absent` if it has none.
    pub(crate) policy: Lookup<Value>,
    /// Its own public access block; `Absent` if it has none.
    pub(crate) public_access_block: Lookup<PublicAccessBlockSettings>,
    /// Whether S3 calls its policy public (`GetBucketPolicyStatus`); `Absent` if it has none.
    pub(crate) policy_is_public: Lookup<bool>,
    /// Whether it serves a website.
    pub(crate) website: Lookup<bool>,
}

/// A bucket's rule on encryption (`PutBucketEncryption`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketEncryptionSettings {
    /// The kind.
    pub(crate) kind: EncryptionKind,
    /// The KMS key as the bucket names it; none for SSE-S3, or for the AWS-managed key.
    pub(crate) key: Option<String>,
    /// `BucketKeyEnabled`.
    pub(crate) bucket_key: bool,
    /// `BlockedEncryptionTypes`: whether requests with SSE-C are rejected.
    pub(crate) blocks_sse_c: bool,
}

/// A public access block (`PutPublicAccessBlock`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "S3 has these four settings")]
pub(crate) struct PublicAccessBlockSettings {
    pub(crate) block_public_acls: bool,
    pub(crate) ignore_public_acls: bool,
    pub(crate) block_public_policy: bool,
    pub(crate) restrict_public_buckets: bool,
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyState {
    /// Its ARN.
    pub(crate) arn: KeyArn,
    /// Whether it is enabled.
    pub(crate) enabled: bool,
    /// Whether it is symmetric and for encryption.
    pub(crate) symmetric: bool,
    /// Whether AWS manages it; then its policy cannot be changed.
    pub(crate) aws_managed: bool,
    /// Its key policy.
    pub(crate) policy: Lookup<Value>,
    /// Whether it is rotated; `Absent` for a kind of key that cannot be.
    pub(crate) rotation: Lookup<bool>,
}

/// An instance profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceProfileState {
    /// Its ARN.
    pub(crate) arn: String,
    /// The name and ARN of the role that it holds; none if it holds none.
    pub(crate) role: Option<(String, String)>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleState {
    /// Its ARN.
    pub(crate) arn: String,
    /// Its trust policy.
    pub(crate) trust: Value,
    /// The ARNs of the managed policies that are attached to it.
    pub(crate) attached: Lookup<BTreeSet<String>>,
}

/// The holder of an inline policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyHolder {
    /// A role, by name.
    Role(String),
    /// A user, by name.
    User(String),
}

impl PolicyHolder {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Role(name) | Self::User(name) => name,
        }
    }
}

/// What a role or user needs: each of these actions on each of these resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessNeed {
    /// Who needs it.
    pub(crate) holder: PolicyHolder,
    /// The holder's ARN.
    pub(crate) arn: String,
    /// The actions.
    pub(crate) actions: Vec<String>,
    /// The resources, as a policy would name them.
    pub(crate) resources: Vec<String>,
    /// Further condition keys of such a request, with their values.
    pub(crate) context: Vec<(String, String)>,
}

/// The time for which throttled questions are asked again. IAM throttles simulations early.
const PATIENCE: Duration = Duration::from_mins(2);

/// Looks at everything in `query`, concurrently. Nothing is changed.
pub(crate) async fn look(aws: &Aws, query: &AccountStateQuery) -> AccountState {
    let aws = &aws.patient(&Patience::until(Instant::now() + PATIENCE));
    let refused = aws.refused_endpoints().next().is_some();
    if refused {
        return query.not_asked(ENDPOINT_REFUSED);
    }
    let buckets = query.buckets.iter().map(async |bucket| {
        let state = Box::pin(bucket_state(aws, &query.account, bucket)).await;
        (bucket.clone(), state)
    });
    let inline_policies = query.inline_policies.iter().map(async |(holder, name)| {
        let policy = inline_policy(&aws.iam, holder, name).await;
        ((holder.clone(), name.clone()), policy)
    });
    let configurations = query.security_configurations.iter().map(async |name| {
        (name.clone(), emr::security_configuration_content(&aws.emr, name).await)
    });
    let object_locks = query.locks.iter().map(async |bucket| {
        let state = match bucket_place(&aws.s3, &query.account, bucket).await {
            Lookup::Found((true, region)) => {
                let s3 = in_region(&aws.s3, Some(&region));
                lock_state(&s3, &query.account, bucket).await
            }
            Lookup::Found((false, _)) => {
                LockState::not_asked("the bucket belongs to another account")
            }
            Lookup::Absent => LockState { versioning: Lookup::Absent, lock: Lookup::Absent },
            Lookup::Denied(_) | Lookup::Unreachable(_) => {
                LockState::not_asked("it is not known whether the bucket belongs to the account")
            }
        };
        (bucket.clone(), state)
    });
    let certificates = async {
        match &query.certificates {
            Some(object) => {
                let found = stored_object(&aws.s3, &query.account, object).await;
                Some(found.map(|object| object.etag))
            }
            None => None,
        }
    };
    let (
        buckets,
        account_block,
        key,
        (instance_profile, roles),
        inline_policies,
        lacks,
        configurations,
        certificates,
        object_locks,
        notifications,
    ) = tokio::join!(
        join_all(buckets).boxed(),
        account_block(aws, &query.account).boxed(),
        key_state(&aws.kms, &query.key, &query.account).boxed(),
        roles(&aws.iam, query).boxed(),
        join_all(inline_policies).boxed(),
        lacks(&aws.iam, query).boxed(),
        join_all(configurations).boxed(),
        certificates.boxed(),
        join_all(object_locks).boxed(),
        notification_state::look(aws, &query.notifications).boxed(),
    );
    AccountState {
        buckets: buckets.into_iter().collect(),
        account_block,
        key,
        instance_profile,
        roles,
        inline_policies: inline_policies.into_iter().collect(),
        lacks,
        security_configurations: configurations.into_iter().collect(),
        certificates,
        locks: object_locks.into_iter().collect(),
        notifications,
    }
}

impl AccountStateQuery {
    /// The answers if nothing can be asked.
    fn not_asked(&self, why: &str) -> AccountState {
        AccountState {
            buckets: self
                .buckets
                .iter()
                .map(|bucket| (bucket.clone(), BucketState::not_asked(why)))
                .collect(),
            account_block: Lookup::not_asked(&aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK, why),
            key: Lookup::not_asked(&aws_calls::DESCRIBE_KEY, why),
            instance_profile: Lookup::not_asked(&aws_calls::GET_INSTANCE_PROFILE, why),
            roles: [&self.service_role, &self.instance_profile]
                .into_iter()
                .map(|name| (name.clone(), Lookup::not_asked(&aws_calls::GET_ROLE, why)))
                .collect(),
            inline_policies: self
                .inline_policies
                .iter()
                .map(|of| (of.clone(), Lookup::not_asked(&aws_calls::GET_ROLE_POLICY, why)))
                .collect(),
            lacks: self
                .needs
                .iter()
                .map(|need| {
                    let call = &aws_calls::SIMULATE_PRINCIPAL_POLICY;
                    (need.holder.clone(), Lookup::not_asked(call, why))
                })
                .collect(),
            security_configurations: self
                .security_configurations
                .iter()
                .map(|name| {
                    let call = &aws_calls::DESCRIBE_SECURITY_CONFIGURATION;
                    (name.clone(), Lookup::not_asked(call, why))
                })
                .collect(),
            certificates: self
                .certificates
                .as_ref()
                .map(|_| Lookup::not_asked(&aws_calls::HEAD_OBJECT, why)),
            locks: self
                .locks
                .iter()
                .map(|bucket| (bucket.clone(), LockState::not_asked(why)))
                .collect(),
            notifications: self.notifications.not_asked(why),
        }
    }
}

impl BucketState {
    fn not_asked(why: &str) -> Self {
        Self {
            ours: Lookup::not_asked(&aws_calls::HEAD_BUCKET, why),
            region: Lookup::not_asked(&aws_calls::HEAD_BUCKET, why),
            encryption: Lookup::not_asked(&aws_calls::GET_BUCKET_ENCRYPTION, why),
            policy: Lookup::not_asked(&aws_calls::GET_BUCKET_POLICY, why),
            public_access_block: Lookup::not_asked(&aws_calls::GET_PUBLIC_ACCESS_BLOCK, why),
            policy_is_public: Lookup::not_asked(&aws_calls::GET_BUCKET_POLICY_STATUS, why),
            website: Lookup::not_asked(&aws_calls::GET_BUCKET_WEBSITE, why),
        }
    }
}

/// A bucket. Only one of this account is looked at further: settings of others are theirs.
async fn bucket_state(aws: &Aws, account: &AccountId, bucket: &BucketName) -> BucketState {
    let (region, ours) = s3::place(&aws.s3, bucket, Some(account)).await;
    let rest = match &ours {
        Lookup::Found(true) => None,
        Lookup::Found(false) => Some("the bucket belongs to another account"),
        Lookup::Absent => {
            return BucketState {
                ours,
                region,
                encryption: Lookup::Absent,
                policy: Lookup::Absent,
                public_access_block: Lookup::Absent,
                policy_is_public: Lookup::Absent,
                website: Lookup::Absent,
            };
        }
        Lookup::Denied(_) | Lookup::Unreachable(_) => {
            Some("it is not known whether the bucket belongs to the account")
        }
    };
    if let Some(why) = rest {
        return BucketState { ours, region, ..BucketState::not_asked(why) };
    }
    let s3 = &in_region(&aws.s3, region.found());
    // S3 has just said whose it is. Without the owner, these are the requests of `check`.
    let (encryption, policy, public_access_block, policy_is_public, website) = tokio::join!(
        bucket_encryption(s3, None, bucket),
        bucket_policy(s3, None, bucket),
        public_access_block(s3, None, bucket),
        policy_is_public(s3, account, bucket),
        website(s3, account, bucket),
    );
    BucketState { ours, region, encryption, policy, public_access_block, policy_is_public, website }
}

/// Whether a bucket belongs to the account, and its region; `Absent` if it does not exist.
pub(crate) async fn bucket_place(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    bucket: &BucketName,
) -> Lookup<(bool, String)> {
    let (region, ours) = s3::place(s3, bucket, Some(account)).await;
    ours.and_then(|ours| region.map(|region| (ours, region)))
}

/// The client for buckets of `region`.
pub(crate) fn in_region(s3: &aws_sdk_s3::Client, region: Option<&String>) -> aws_sdk_s3::Client {
    let own = s3.config().region().map(AsRef::as_ref);
    match region {
        Some(region) if own != Some(region.as_str()) => {
            let region = aws_sdk_s3::config::Region::new(region.clone());
            aws_sdk_s3::Client::from_conf(s3.config().to_builder().region(region).build())
        }
        _ => s3.clone(),
    }
}

/// The encryption rule of a bucket, which belongs to `owner` if one is given; `Absent` if it has
/// none, as only stand-ins of AWS do.
pub(crate) async fn bucket_encryption(
    s3: &aws_sdk_s3::Client,
    owner: Option<&AccountId>,
    bucket: &BucketName,
) -> Lookup<BucketEncryptionSettings> {
    let rule = s3::encryption_rule_of(s3, bucket, owner).await;
    rule.and_then(|rule| match rule.default {
        DefaultEncryption::Kind { kind, key } => Lookup::Found(BucketEncryptionSettings {
            kind,
            key,
            bucket_key: rule.bucket_key,
            blocks_sse_c: rule.blocks_sse_c,
        }),
        DefaultEncryption::None => Lookup::Absent,
        DefaultEncryption::Other(kind) => Lookup::unusable(
            &aws_calls::GET_BUCKET_ENCRYPTION,
            &format!("its rule is {kind}, which this version does not know"),
        ),
    })
}

/// The policy of a bucket, which belongs to `owner` if one is given; `Absent` if it has none.
pub(crate) async fn bucket_policy(
    s3: &aws_sdk_s3::Client,
    owner: Option<&AccountId>,
    bucket: &BucketName,
) -> Lookup<Value> {
    let policy = s3::policy_of(s3, bucket, owner).await;
    policy.and_then(|policy| match policy {
        Some(text) => document(&aws_calls::GET_BUCKET_POLICY, &text),
        None => Lookup::Absent,
    })
}

/// The public access block of a bucket, which belongs to `owner` if one is given; `Absent` if it
/// has none.
pub(crate) async fn public_access_block(
    s3: &aws_sdk_s3::Client,
    owner: Option<&AccountId>,
    bucket: &BucketName,
) -> Lookup<PublicAccessBlockSettings> {
    let block = s3::block_of(s3, bucket, owner).await;
    block.and_then(|block| block.map_or(Lookup::Absent, |block| Lookup::Found(settings(block))))
}

fn settings(block: s3::Block) -> PublicAccessBlockSettings {
    let [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets] =
        block;
    PublicAccessBlockSettings {
        block_public_acls,
        ignore_public_acls,
        block_public_policy,
        restrict_public_buckets,
    }
}

async fn policy_is_public(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    bucket: &BucketName,
) -> Lookup<bool> {
    let request = s3.get_bucket_policy_status().bucket(bucket.as_str());
    let result = request.expected_bucket_owner(account.as_str()).send().await;
    let call = &aws_calls::GET_BUCKET_POLICY_STATUS;
    Lookup::from_call(call, &["NoSuchBucketPolicy", "NoSuchBucket"], result).and_then(|answer| {
        let status = answer.policy_status.and_then(|status| status.is_public);
        Lookup::expect_in_answer(call, status)
    })
}

async fn website(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    bucket: &BucketName,
) -> Lookup<bool> {
    let request = s3.get_bucket_website().bucket(bucket.as_str());
    let result = request.expected_bucket_owner(account.as_str()).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, "NoSuchWebsiteConfiguration")) {
        return Lookup::Found(false);
    }
    Lookup::from_call(&aws_calls::GET_BUCKET_WEBSITE, &["NoSuchBucket"], result).map(|_| true)
}

async fn account_block(aws: &Aws, account: &AccountId) -> Lookup<PublicAccessBlockSettings> {
    if let Some(refused) = aws.control_endpoint.as_ref().filter(|endpoint| !endpoint.accepted) {
        let call = &aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK;
        return Lookup::not_asked(call, &refused.refusal());
    }
    s3::account_block(&aws.s3control, account).await.map(settings)
}

/// The name of the tag of a key, and of the metadata of an object, that `setup` makes. By its
/// value, the thing is found again if the call that made it got no answer.
pub(crate) const SETUP_MARK: &str = "emr-etl-guard-setup";

/// An object as S3 stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveObject {
    /// Its ETag.
    pub(crate) etag: String,
    /// Its version, in a bucket that keeps versions.
    pub(crate) version: Option<String>,
    /// Which setup has put it there: its metadata [`SETUP_MARK`].
    pub(crate) mark: Option<String>,
    /// How it is encrypted, and the key's ARN if it is under a KMS key.
    pub(crate) encryption: Option<(EncryptionKind, Option<String>)>,
}

/// An object in a bucket of the account; `Absent` if there is none.
pub(crate) async fn stored_object(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    object: &S3Object,
) -> Lookup<ArchiveObject> {
    let request = s3
        .head_object()
        .bucket(object.bucket.as_str())
        .key(&object.key)
        .expected_bucket_owner(account.as_str());
    let call = &aws_calls::HEAD_OBJECT;
    Lookup::from_call(call, &["NotFound", "NoSuchKey", "404"], request.send().await).and_then(
        |answer| {
            let mark = answer.metadata().and_then(|metadata| metadata.get(SETUP_MARK)).cloned();
            let kind = answer.server_side_encryption.as_ref().and_then(encryption_kind);
            let encryption = kind.map(|kind| (kind, answer.ssekms_key_id));
            let version = answer.version_id;
            let object = answer.e_tag.map(|etag| ArchiveObject { etag, version, mark, encryption });
            Lookup::expect_in_answer(call, object)
        },
    )
}

/// A key; `Absent` if no key or alias has this name.
pub(crate) async fn key_state(
    kms: &aws_sdk_kms::Client,
    reference: &KeyReference,
    account: &AccountId,
) -> Lookup<KeyState> {
    let key = match kms::describe(kms, reference).await {
        Lookup::Found(key) => key,
        Lookup::Absent => return Lookup::Absent,
        Lookup::Denied(error) => return Lookup::Denied(error),
        Lookup::Unreachable(error) => return Lookup::Unreachable(error),
    };
    let policy = async {
        match key.arn.account() {
            Some(other) if other != account.as_str() => Lookup::not_asked(
                &aws_calls::GET_KEY_POLICY,
                &format!(
                    "the key is one of account {other}, and only there its policy can be read"
                ),
            ),
            _ => {
                let text = kms::policy(kms, &key.arn).await;
                text.and_then(|text| document(&aws_calls::GET_KEY_POLICY, &text))
            }
        }
    };
    let (policy, rotation) = tokio::join!(policy, kms::rotation(kms, &key.arn));
    Lookup::Found(KeyState {
        enabled: key.is_enabled(),
        symmetric: key.is_symmetric(),
        aws_managed: key.aws_managed,
        arn: key.arn,
        policy,
        rotation,
    })
}

/// The instance profile and the roles.
async fn roles(
    iam: &Iam,
    query: &AccountStateQuery,
) -> (Lookup<InstanceProfileState>, BTreeMap<String, Lookup<RoleState>>) {
    let of_instances = async {
        let profile = instance_profile(iam, &query.instance_profile).await;
        // A new instance profile gets a role of the same name, as EMR's own default has.
        let (name, role) = match &profile {
            Lookup::Found(InstanceProfileState { role: Some((name, _)), .. }) => {
                (name.clone(), role(iam, name).await)
            }
            Lookup::Found(_) | Lookup::Absent => {
                (query.instance_profile.clone(), role(iam, &query.instance_profile).await)
            }
            Lookup::Denied(_) | Lookup::Unreachable(_) => {
                let why = "the instance profile, which names its role, is not known";
                let role = Lookup::not_asked(&aws_calls::GET_ROLE, why);
                (query.instance_profile.clone(), role)
            }
        };
        (profile, name, role)
    };
    let ((profile, name, of_instances), service) =
        tokio::join!(of_instances, role(iam, &query.service_role));
    let roles = [(name, of_instances), (query.service_role.clone(), service)];
    (profile, BTreeMap::from(roles))
}

/// The instance profile `name`.
pub(crate) async fn instance_profile(iam: &Iam, name: &str) -> Lookup<InstanceProfileState> {
    let result = iam.instance_profile(name).await;
    Lookup::from_call(&aws_calls::GET_INSTANCE_PROFILE, NO_ENTITY, result).map(|profile| {
        InstanceProfileState {
            arn: profile.arn,
            role: profile.roles.into_iter().next().map(|role| (role.name, role.arn)),
        }
    })
}

/// The role `name`.
pub(crate) async fn role(iam: &Iam, name: &str) -> Lookup<RoleState> {
    let call = &aws_calls::GET_ROLE;
    let role = Lookup::from_call(call, NO_ENTITY, iam.role(name).await).and_then(|role| {
        let trust = Lookup::expect_in_answer(call, role.trust);
        trust.and_then(|trust| decoded(call, &trust)).map(|trust| (role.arn, trust))
    });
    let attached = match &role {
        Lookup::Found(_) => attached_policies(iam, name).await,
        _ => Lookup::Absent,
    };
    role.map(|(arn, trust)| RoleState { arn, trust, attached })
}

async fn attached_policies(iam: &Iam, role: &str) -> Lookup<BTreeSet<String>> {
    let call = &aws_calls::LIST_ATTACHED_ROLE_POLICIES;
    let policies = whole_iam_list(call, |marker| iam.attached_policies(role, marker));
    policies.await.map(BTreeSet::from_iter)
}

/// The inline policy `name`; `Absent` if its holder or the policy does not exist.
pub(crate) async fn inline_policy(iam: &Iam, holder: &PolicyHolder, name: &str) -> Lookup<Value> {
    let (call, result) = match holder {
        PolicyHolder::Role(role) => {
            (&aws_calls::GET_ROLE_POLICY, iam.role_policy(role, name).await)
        }
        PolicyHolder::User(user) => {
            (&aws_calls::GET_USER_POLICY, iam.user_policy(user, name).await)
        }
    };
    Lookup::from_call(call, NO_ENTITY, result).and_then(|document| decoded(call, &document))
}

/// A policy document as IAM gives it: JSON, encoded as a part of a URL.
fn decoded(call: &Call, text: &str) -> Lookup<Value> {
    match percent_encoding::percent_decode_str(text).decode_utf8() {
        Ok(text) => document(call, &text),
        Err(_) => Lookup::unusable(call, "the policy in it is not UTF-8"),
    }
}

fn document(call: &Call, text: &str) -> Lookup<Value> {
    let document: Option<Value> = serde_json::from_str(text).ok();
    match document.filter(Value::is_object) {
        Some(document) => Lookup::Found(document),
        None => Lookup::unusable(call, "the policy in it is no JSON object"),
    }
}

/// The needs that one call to IAM's simulation answers: those of one holder with the same actions
/// and context.
type Batch<'a> = (&'a PolicyHolder, &'a str, &'a [String], &'a [(String, String)]);

/// What each holder lacks. One call covers all resources on which a holder needs the same actions,
/// because IAM throttles these calls early.
async fn lacks(
    iam: &Iam,
    query: &AccountStateQuery,
) -> BTreeMap<PolicyHolder, Lookup<BTreeSet<(String, String)>>> {
    let mut batches: BTreeMap<Batch<'_>, BTreeSet<&str>> = BTreeMap::new();
    for need in &query.needs {
        let batch: Batch<'_> =
            (&need.holder, need.arn.as_str(), need.actions.as_slice(), need.context.as_slice());
        let resources = batches.entry(batch).or_default();
        resources.extend(need.resources.iter().map(String::as_str));
    }
    let answers = batches.into_iter().map(async |((holder, arn, actions, extra), resources)| {
        let mut context = every_request(arn, &query.region);
        context.extend(context_values(extra));
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        let resources: Vec<&str> = resources.into_iter().collect();
        let simulated = simulate(
            iam,
            SimulationQuery {
                principal: arn,
                actions: &actions,
                resources: &resources,
                context,
                absent: &[],
            },
        );
        let lacking = simulated.await.map(|decisions| {
            let decisions = decisions.into_iter();
            let lacking = decisions.filter(|(_, it)| it.decision != SimulationDecision::Allowed);
            lacking.map(|(pair, _)| pair).collect::<BTreeSet<_>>()
        });
        (holder.clone(), lacking)
    });
    let mut all: BTreeMap<PolicyHolder, Lookup<BTreeSet<(String, String)>>> = BTreeMap::new();
    for (holder, lacking) in join_all(answers).await {
        let before = all.remove(&holder).unwrap_or(Lookup::Found(BTreeSet::new()));
        let together = match (before, lacking) {
            (Lookup::Found(mut before), Lookup::Found(lacking)) => {
                before.extend(lacking);
                Lookup::Found(before)
            }
            (Lookup::Found(_), unknown) => unknown,
            (unknown, _) => unknown,
        };
        all.insert(holder, together);
    }
    all
}

/// The condition keys in the types that IAM gives them: a key that comes several times, and
/// `aws:TagKeys`, is a list.
fn context_values(pairs: &[(String, String)]) -> impl Iterator<Item = ContextValue> {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, value) in pairs {
        values.entry(key).or_default().push(value.clone());
    }
    values.into_iter().map(|(key, values)| match values.as_slice() {
        [value] if !key.eq_ignore_ascii_case("aws:TagKeys") => match value.as_str() {
            "true" => ContextValue::truth(key, true),
            "false" => ContextValue::truth(key, false),
            value => ContextValue::text(key, value),
        },
        _ => ContextValue::texts(key, values),
    })
}

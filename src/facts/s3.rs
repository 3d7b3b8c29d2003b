//! S3's answers about a bucket: whether it exists, its region, its owner, and its default
//! encryption.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::types::{EncryptionType, ServerSideEncryptionRule};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::bucket_region::{NO_BUCKET, is_code, named_region, region, region_of_redirect},
    base::{
        aws_calls,
        lookup::Lookup,
        names::{AccountId, BucketName},
    },
    facts::{stored::encryption_kind, sts::CallerIdentity},
    settings::policy::EncryptionKind,
};

/// The facts about one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BucketFacts {
    /// Its region; `Absent` if the bucket does not exist.
    pub region: Lookup<String>,
    /// Whether it belongs to the expected account.
    pub ours: Lookup<bool>,
    /// Its default encryption.
    pub default_encryption: Lookup<DefaultEncryption>,
    /// Its policy as JSON text, if it has one.
    #[serde(skip)]
    pub policy: Lookup<Option<String>>,
    /// `Enabled` or `Suspended`; none if it was never enabled.
    pub versioning: Lookup<Option<String>>,
    /// Its own public access block: whether all four settings are on.
    pub public_access_block: Lookup<bool>,
    /// If its own block is incomplete: whether each of the four settings is on here or in the
    /// account's block. S3 applies the stricter of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_access_block_with_account: Option<Lookup<bool>>,
}

/// A bucket's default encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultEncryption {
    /// New objects are encrypted this way.
    Kind {
        /// The kind.
        kind: EncryptionKind,
        /// The KMS key, as the bucket names it; without one, SSE-KMS uses the AWS-managed key.
        key: Option<String>,
    },
    /// The bucket has no rule with encryption.
    None,
    /// A kind that this program does not know.
    Other(String),
}

impl BucketFacts {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            region: Lookup::not_asked(&aws_calls::HEAD_BUCKET, why),
            ours: Lookup::not_asked(&aws_calls::HEAD_BUCKET, why),
            default_encryption: Lookup::not_asked(&aws_calls::GET_BUCKET_ENCRYPTION, why),
            policy: Lookup::not_asked(&aws_calls::GET_BUCKET_POLICY, why),
            versioning: Lookup::not_asked(&aws_calls::GET_BUCKET_VERSIONING, why),
            public_access_block: Lookup::not_asked(&aws_calls::GET_PUBLIC_ACCESS_BLOCK, why),
            public_access_block_with_account: None,
        }
    }
}

/// The four settings of a public access block: block ACLs, ignore ACLs, block policies, restrict
/// public buckets.
pub(super) type Block = [bool; 4];

/// Looks up `bucket`. `runner` gives the account that should own it. `default_encryption` is a
/// shared look-up, because keys wait for it. `account_block` is used only if the bucket's own block
/// is incomplete.
pub(crate) async fn bucket(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    runner: impl Future<Output = Lookup<CallerIdentity>>,
    default_encryption: impl Future<Output = Lookup<DefaultEncryption>>,
    account_block: impl Future<Output = Lookup<Block>>,
) -> BucketFacts {
    // Two calls at a time, on two connections. Each additional one would need its own connection,
    // and the handshake takes as long as the call that it would save.
    let standing = async {
        let versioning = versioning(s3, bucket).await;
        (
            versioning,
            place(s3, bucket, runner.await.found().map(|identity| &identity.account)).await,
        )
    };
    let block = async {
        let own = public_access_block(s3, bucket).await;
        let together = match &own {
            Lookup::Absent => None,
            Lookup::Found(own) if is_whole(*own) => None,
            // If all four settings are on for the account, they apply to the bucket, even if its
            // own block is unknown.
            other => Some(
                account_block
                    .await
                    .map(|account| is_whole(stricter(other.found().copied(), account))),
            ),
        };
        (own.map(is_whole), together)
    };
    let protection = async { (default_encryption.await, policy(s3, bucket).await, block.await) };
    let (
        (versioning, (region, ours)),
        (default_encryption, policy, (public_access_block, together)),
    ) = tokio::join!(standing, protection);
    // The block of this account does not apply to another account's bucket.
    let public_access_block_with_account = match &ours {
        Lookup::Found(true) => together,
        Lookup::Found(false) | Lookup::Absent => None,
        _ => together.map(|_| {
            Lookup::not_asked(
                &aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK,
                "the bucket's owner is not known",
            )
        }),
    };
    BucketFacts {
        region,
        ours,
        default_encryption,
        policy,
        versioning,
        public_access_block,
        public_access_block_with_account,
    }
}

fn is_whole(block: Block) -> bool {
    block.iter().all(|on| *on)
}

/// The settings that apply if both a bucket and its account have a block. Source: Amazon S3 user
/// guide, Blocking public access (the most restrictive combination).
fn stricter(own: Option<Block>, account: Block) -> Block {
    let own = own.unwrap_or_default();
    std::array::from_fn(|index| own[index] || account[index])
}

/// The block of a whole account.
pub(super) async fn account_block(
    s3control: &aws_sdk_s3control::Client,
    account: &AccountId,
) -> Lookup<Block> {
    let result = s3control.get_public_access_block().account_id(account.as_str()).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, NO_BLOCK)) {
        return Lookup::Found(Block::default());
    }
    Lookup::from_call(&aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK, &[], result).and_then(|answer| {
        let settings = answer.public_access_block_configuration.map(|block| {
            [
                block.block_public_acls,
                block.ignore_public_acls,
                block.block_public_policy,
                block.restrict_public_buckets,
            ]
            .map(|on| on == Some(true))
        });
        Lookup::expect_in_answer(&aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK, settings)
    })
}

/// S3's error code if there is no block.
const NO_BLOCK: &str = "NoSuchPublicAccessBlockConfiguration";

/// The settings of a bucket that affect how objects are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteDefaults {
    pub(crate) default_encryption: Lookup<DefaultEncryption>,
    pub(crate) policy: Lookup<Option<String>>,
}

/// Looks up again the settings of `buckets` that may change at any time.
pub(crate) async fn fetch_write_defaults(
    s3: &aws_sdk_s3::Client,
    buckets: &BTreeSet<BucketName>,
) -> BTreeMap<BucketName, WriteDefaults> {
    let looks = buckets.iter().map(async |bucket| {
        let (default_encryption, policy) =
            tokio::join!(default_encryption(s3, bucket), policy(s3, bucket));
        (bucket.clone(), WriteDefaults { default_encryption, policy })
    });
    join_all(looks).await.into_iter().collect()
}

/// The region of `bucket`, and whether it belongs to `account`.
///
/// One call gives both. But its answer is 403 both if another account owns the bucket and if access
/// is denied. If the same call without the account is allowed, the owner must be the reason.
pub(super) async fn place(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    account: Option<&AccountId>,
) -> (Lookup<String>, Lookup<bool>) {
    let Some(account) = account else {
        return (
            region(s3, bucket).await,
            Lookup::not_asked(&aws_calls::HEAD_BUCKET, "the account of the runner is not known"),
        );
    };
    let answer = s3
        .head_bucket()
        .bucket(bucket.as_str())
        .expected_bucket_owner(account.as_str())
        .send()
        .await;
    let redirect = region_of_redirect(&answer);
    match Lookup::from_call(&aws_calls::HEAD_BUCKET, NO_BUCKET, answer) {
        Lookup::Denied(obstacle) => {
            let here = region(s3, bucket).await;
            let ours = if here.found().is_some() {
                Lookup::Found(false)
            } else {
                Lookup::Denied(obstacle)
            };
            (here, ours)
        }
        owned => (
            redirect.map_or_else(|| owned.clone().and_then(named_region), Lookup::Found),
            owned.map(|_| true),
        ),
    }
}

/// Whether `bucket` belongs to `account`.
pub(crate) async fn ours(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    account: Option<&AccountId>,
) -> Lookup<bool> {
    place(s3, bucket, account).await.1
}

pub(super) async fn policy(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Option<String>> {
    policy_of(s3, bucket, None).await
}

/// The policy of `bucket`. If an `owner` is given, S3 denies access to another owner's bucket.
pub(super) async fn policy_of(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    owner: Option<&AccountId>,
) -> Lookup<Option<String>> {
    let request = s3.get_bucket_policy().bucket(bucket.as_str());
    let result = request.set_expected_bucket_owner(owner.map(AccountId::to_string)).send().await;
    // The SDK does not model these codes for this call. Here they are valid answers.
    if result.as_ref().is_err_and(|error| is_code(error, "NoSuchBucketPolicy")) {
        return Lookup::Found(None);
    }
    let call = &aws_calls::GET_BUCKET_POLICY;
    // If there is no policy, S3 answers with the code above.
    Lookup::from_call(call, &["NoSuchBucket"], result).and_then(|answer| match answer.policy {
        Some(policy) => Lookup::Found(Some(policy)),
        None => Lookup::unusable(call, "it holds no policy"),
    })
}

async fn versioning(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Option<String>> {
    let result = s3.get_bucket_versioning().bucket(bucket.as_str()).send().await;
    Lookup::from_call(&aws_calls::GET_BUCKET_VERSIONING, &["NoSuchBucket"], result)
        .map(|answer| answer.status.map(|status| status.as_str().to_owned()))
}

async fn public_access_block(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Block> {
    block_of(s3, bucket, None).await.map(Option::unwrap_or_default)
}

/// The public access block of `bucket`, if it has one. If an `owner` is given, S3 denies access to
/// another owner's bucket.
pub(super) async fn block_of(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    owner: Option<&AccountId>,
) -> Lookup<Option<Block>> {
    let request = s3.get_public_access_block().bucket(bucket.as_str());
    let result = request.set_expected_bucket_owner(owner.map(AccountId::to_string)).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, NO_BLOCK)) {
        return Lookup::Found(None);
    }
    Lookup::from_call(&aws_calls::GET_PUBLIC_ACCESS_BLOCK, &["NoSuchBucket"], result).and_then(
        |answer| {
            let settings = answer.public_access_block_configuration.map(|block| {
                [
                    block.block_public_acls,
                    block.ignore_public_acls,
                    block.block_public_policy,
                    block.restrict_public_buckets,
                ]
                .map(|on| on == Some(true))
            });
            Lookup::expect_in_answer(&aws_calls::GET_PUBLIC_ACCESS_BLOCK, settings).map(Some)
        },
    )
}

/// The default encryption of `bucket`. Its owner is a separate fact.
pub(crate) async fn default_encryption(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
) -> Lookup<DefaultEncryption> {
    encryption_rule(s3, bucket).await.map(|rule| rule.default)
}

/// A bucket's encryption rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncryptionRule {
    pub(crate) default: DefaultEncryption,
    /// `BucketKeyEnabled`: objects under SSE-KMS use a bucket key if their writer does not choose
    /// otherwise.
    pub(crate) bucket_key: bool,
    /// `BlockedEncryptionTypes`: whether requests with SSE-C are rejected.
    pub(crate) blocks_sse_c: bool,
}

impl EncryptionRule {
    const NONE: Self =
        Self { default: DefaultEncryption::None, bucket_key: false, blocks_sse_c: false };
}

/// The complete encryption rule.
pub(crate) async fn encryption_rule(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
) -> Lookup<EncryptionRule> {
    encryption_rule_of(s3, bucket, None).await
}

/// The complete encryption rule. If an `owner` is given, S3 denies access to another owner's
/// bucket.
pub(super) async fn encryption_rule_of(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    owner: Option<&AccountId>,
) -> Lookup<EncryptionRule> {
    let request = s3.get_bucket_encryption().bucket(bucket.as_str());
    let result = request.set_expected_bucket_owner(owner.map(AccountId::to_string)).send().await;
    // AWS answers AES256 for a bucket without a configured rule. Older simulators answer with this
    // error, which the SDK does not model.
    if result
        .as_ref()
        .is_err_and(|error| is_code(error, "ServerSideEncryptionConfigurationNotFoundError"))
    {
        return Lookup::Found(EncryptionRule::NONE);
    }
    Lookup::from_call(&aws_calls::GET_BUCKET_ENCRYPTION, &["NoSuchBucket"], result).and_then(
        |answer| {
            let configuration = answer.server_side_encryption_configuration;
            let call = &aws_calls::GET_BUCKET_ENCRYPTION;
            let none = || {
                Lookup::unusable(
                    call,
                    "it holds no rule on encryption, which S3 has for every bucket",
                )
            };
            let configuration =
                configuration.filter(|configuration| !configuration.rules.is_empty());
            configuration.map_or_else(none, Lookup::Found).map(|configuration| {
                let blocked = |rule: &ServerSideEncryptionRule| {
                    let types = rule.blocked_encryption_types.as_ref();
                    types.is_some_and(|types| {
                        types.encryption_type().contains(&EncryptionType::SseC)
                    })
                };
                let blocks_sse_c = configuration.rules.iter().any(blocked);
                let none = EncryptionRule { blocks_sse_c, ..EncryptionRule::NONE };
                let mut rules = configuration.rules.into_iter();
                let applied = rules.find_map(|rule| {
                    let bucket_key = rule.bucket_key_enabled == Some(true);
                    Some((rule.apply_server_side_encryption_by_default?, bucket_key))
                });
                applied.map_or(none, |(default, bucket_key)| {
                    let default = match encryption_kind(&default.sse_algorithm) {
                        Some(kind) => {
                            DefaultEncryption::Kind { kind, key: default.kms_master_key_id }
                        }
                        None => DefaultEncryption::Other(default.sse_algorithm.as_str().to_owned()),
                    };
                    EncryptionRule { default, bucket_key, blocks_sse_c }
                })
            })
        },
    )
}

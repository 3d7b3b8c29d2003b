//! What S3 says of a bucket: whether it is there, where, whose, and how it encrypts by default.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::{Lookup, calls},
    facts::{objects::encryption_kind, sts::Identity},
    names::{AccountId, BucketName},
    settings::EncryptionKind,
};

/// The answers about one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BucketFacts {
    /// Its region; `Absent` when there is no such bucket.
    pub region: Lookup<String>,
    /// Whether it belongs to the account asked about.
    pub ours: Lookup<bool>,
    /// Its default encryption.
    pub default_encryption: Lookup<DefaultEncryption>,
    /// Its policy as JSON text, if it has one.
    #[serde(skip)]
    pub policy: Lookup<Option<String>>,
    /// `Enabled` or `Suspended`; none where it was never switched on.
    pub versioning: Lookup<Option<String>>,
    /// Its own public access block: whether all four settings are on.
    pub public_access_block: Lookup<bool>,
    /// Where they are not: whether each of the four is on here or in its account's block; S3 goes by whichever is stricter.
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
    /// The bucket has no rule that encrypts.
    None,
    /// A kind that this program does not know.
    Other(String),
}

impl BucketFacts {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            region: Lookup::not_asked(&calls::HEAD_BUCKET, why),
            ours: Lookup::not_asked(&calls::HEAD_BUCKET, why),
            default_encryption: Lookup::not_asked(&calls::GET_BUCKET_ENCRYPTION, why),
            policy: Lookup::not_asked(&calls::GET_BUCKET_POLICY, why),
            versioning: Lookup::not_asked(&calls::GET_BUCKET_VERSIONING, why),
            public_access_block: Lookup::not_asked(&calls::GET_PUBLIC_ACCESS_BLOCK, why),
            public_access_block_with_account: None,
        }
    }
}

/// The four settings of a public access block: ACLs are blocked, and ignored, policies are blocked, and public buckets restricted.
pub(super) type Block = [bool; 4];

/// Asks about `bucket`; `runner` tells whose it should be, and `default_encryption` is being asked already, because keys wait for it. `account_block` is asked only
/// where the bucket's own block is not whole.
pub(super) async fn bucket(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    runner: impl Future<Output = Lookup<Identity>>,
    default_encryption: impl Future<Output = Lookup<DefaultEncryption>>,
    account_block: impl Future<Output = Lookup<Block>>,
) -> BucketFacts {
    let owned = async {
        let runner = runner.await;
        owned_by(s3, bucket, runner.found().map(|identity| &identity.account)).await
    };
    let block = async {
        let own = public_access_block(s3, bucket).await;
        let together = match &own {
            Lookup::Absent => None,
            Lookup::Found(own) if is_whole(*own) => None,
            // Whatever the bucket's own says, where all four hold for the account, they hold for it.
            other => Some(account_block.await.map(|account| is_whole(stricter(other.found().copied(), account)))),
        };
        (own.map(is_whole), together)
    };
    let (region, owned, default_encryption, policy, versioning, (public_access_block, together)) =
        tokio::join!(region(s3, bucket), owned, default_encryption, policy(s3, bucket), versioning(s3, bucket), block);
    let ours = whose(&region, owned);
    // The block of this account says nothing of another's bucket.
    let public_access_block_with_account = match &ours {
        Lookup::Found(true) => together,
        Lookup::Found(false) | Lookup::Absent => None,
        _ => together.map(|_| Lookup::not_asked(&calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK, "whose bucket it is is not known")),
    };
    BucketFacts { region, ours, default_encryption, policy, versioning, public_access_block, public_access_block_with_account }
}

fn is_whole(block: Block) -> bool {
    block.iter().all(|on| *on)
}

/// What holds where a bucket and its account each have a block. Source: Amazon S3 user guide, Blocking public access (the most restrictive combination).
fn stricter(own: Option<Block>, account: Block) -> Block {
    let own = own.unwrap_or_default();
    std::array::from_fn(|index| own[index] || account[index])
}

/// The block of a whole account.
pub(super) async fn account_block(s3control: &aws_sdk_s3control::Client, account: &AccountId) -> Lookup<Block> {
    let result = s3control.get_public_access_block().account_id(account.as_str()).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, NO_BLOCK)) {
        return Lookup::Found(Block::default());
    }
    Lookup::from_call(&calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK, &[], result).and_then(|answer| {
        let settings = answer.public_access_block_configuration.map(|block| {
            [block.block_public_acls, block.ignore_public_acls, block.block_public_policy, block.restrict_public_buckets].map(|on| on == Some(true))
        });
        Lookup::expect_in_answer(&calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK, settings)
    })
}

/// How S3 says that there is no block.
const NO_BLOCK: &str = "NoSuchPublicAccessBlockConfiguration";

/// What decides how a bucket treats those who write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WritersMeet {
    pub(crate) default_encryption: Lookup<DefaultEncryption>,
    pub(crate) policy: Lookup<Option<String>>,
}

/// Asks `buckets` again for what can change at any time.
pub(crate) async fn what_writers_meet(s3: &aws_sdk_s3::Client, buckets: &BTreeSet<BucketName>) -> BTreeMap<BucketName, WritersMeet> {
    let looks = buckets.iter().map(async |bucket| {
        let (default_encryption, policy) = tokio::join!(default_encryption(s3, bucket), policy(s3, bucket));
        (bucket.clone(), WritersMeet { default_encryption, policy })
    });
    join_all(looks).await.into_iter().collect()
}

/// HeadBucket answers 403 both to "not yours" and to "you may not look". When the same call without the owner is allowed, only the owner can be the reason.
fn whose(region: &Lookup<String>, owned: Lookup<bool>) -> Lookup<bool> {
    match owned {
        Lookup::Denied(_) if region.found().is_some() => Lookup::Found(false),
        other => other,
    }
}

/// Whether `bucket` belongs to `account`.
pub(crate) async fn ours(s3: &aws_sdk_s3::Client, bucket: &BucketName, account: Option<&AccountId>) -> Lookup<bool> {
    let (region, owned) = tokio::join!(region(s3, bucket), owned_by(s3, bucket, account));
    whose(&region, owned)
}

pub(super) async fn policy(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Option<String>> {
    let result = s3.get_bucket_policy().bucket(bucket.as_str()).send().await;
    // Codes that this call does not model: here they are answers.
    if result.as_ref().is_err_and(|error| is_code(error, "NoSuchBucketPolicy")) {
        return Lookup::Found(None);
    }
    Lookup::from_call(&calls::GET_BUCKET_POLICY, &["NoSuchBucket"], result).map(|answer| answer.policy)
}

pub(crate) async fn versioning(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Option<String>> {
    let result = s3.get_bucket_versioning().bucket(bucket.as_str()).send().await;
    Lookup::from_call(&calls::GET_BUCKET_VERSIONING, &["NoSuchBucket"], result).map(|answer| answer.status.map(|status| status.as_str().to_owned()))
}

async fn public_access_block(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Block> {
    let result = s3.get_public_access_block().bucket(bucket.as_str()).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, NO_BLOCK)) {
        return Lookup::Found(Block::default());
    }
    Lookup::from_call(&calls::GET_PUBLIC_ACCESS_BLOCK, &["NoSuchBucket"], result).and_then(|answer| {
        let settings = answer.public_access_block_configuration.map(|block| {
            [block.block_public_acls, block.ignore_public_acls, block.block_public_policy, block.restrict_public_buckets].map(|on| on == Some(true))
        });
        Lookup::expect_in_answer(&calls::GET_PUBLIC_ACCESS_BLOCK, settings)
    })
}

pub(crate) fn is_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}

pub(crate) async fn region(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<String> {
    let result = s3.head_bucket().bucket(bucket.as_str()).send().await;
    // A bucket of another region answers with a redirect that names the region: a fact, not a failure.
    if let Err(error) = &result
        && let Some(response) = error.raw_response()
        && matches!(response.status().as_u16(), 301 | 307 | 400)
        && let Some(region) = response.headers().get("x-amz-bucket-region")
    {
        return Lookup::Found(region.to_owned());
    }
    Lookup::from_call(&calls::HEAD_BUCKET, &["NotFound", "NoSuchBucket", "404"], result)
        .and_then(|answer| Lookup::expect_in_answer(&calls::HEAD_BUCKET, answer.bucket_region))
}

async fn owned_by(s3: &aws_sdk_s3::Client, bucket: &BucketName, account: Option<&AccountId>) -> Lookup<bool> {
    let Some(account) = account else {
        return Lookup::not_asked(&calls::HEAD_BUCKET, "the account of the runner is not known");
    };
    let result = s3.head_bucket().bucket(bucket.as_str()).expected_bucket_owner(account.as_str()).send().await;
    Lookup::from_call(&calls::HEAD_BUCKET, &["NotFound", "NoSuchBucket", "404"], result).map(|_| true)
}

/// The default encryption of `bucket`, whoever owns it: that is a question of its own.
pub(crate) async fn default_encryption(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<DefaultEncryption> {
    let result = s3.get_bucket_encryption().bucket(bucket.as_str()).send().await;
    // AWS answers AES256 for a bucket nobody configured; older stand-ins answer with this error, which the SDK does not model.
    if result.as_ref().is_err_and(|error| is_code(error, "ServerSideEncryptionConfigurationNotFoundError")) {
        return Lookup::Found(DefaultEncryption::None);
    }
    Lookup::from_call(&calls::GET_BUCKET_ENCRYPTION, &["NoSuchBucket"], result).and_then(|answer| {
        let configuration = answer.server_side_encryption_configuration;
        Lookup::expect_in_answer(&calls::GET_BUCKET_ENCRYPTION, configuration).map(|configuration| {
            configuration.rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default).map_or(DefaultEncryption::None, |default| {
                match encryption_kind(&default.sse_algorithm) {
                    Some(kind) => DefaultEncryption::Kind { kind, key: default.kms_master_key_id },
                    None => DefaultEncryption::Other(default.sse_algorithm.as_str().to_owned()),
                }
            })
        })
    })
}

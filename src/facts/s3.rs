//! What S3 says of a bucket: whether it is there, where, whose, and how it encrypts by default.

use aws_sdk_s3::types::ServerSideEncryption;
use serde::Serialize;

use crate::{
    aws::{Lookup, calls},
    facts::sts::Identity,
    names::{AccountId, BucketName},
    settings::EncryptionKind,
};

/// The answers about one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketFacts {
    /// Its region; `Absent` when there is no such bucket.
    pub region: Lookup<String>,
    /// Whether it belongs to the account asked about.
    pub ours: Lookup<bool>,
    /// Its default encryption.
    pub default_encryption: Lookup<DefaultEncryption>,
}

/// A bucket's default encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
        }
    }
}

/// Asks about `bucket` all but its default encryption; `runner` tells whose it should be.
pub(super) async fn bucket(s3: &aws_sdk_s3::Client, bucket: &BucketName, runner: impl Future<Output = Lookup<Identity>>) -> BucketFacts {
    let owned = async {
        let runner = runner.await;
        owned_by(s3, bucket, runner.found().map(|identity| &identity.account)).await
    };
    let (region, owned) = tokio::join!(region(s3, bucket), owned);
    // HeadBucket answers 403 both to "not yours" and to "you may not look". When the same call without the owner is allowed, only the owner can be the reason.
    let ours = match owned {
        Lookup::Denied(_) if region.found().is_some() => Lookup::Found(false),
        other => other,
    };
    BucketFacts { region, ours, ..BucketFacts::not_asked("asked apart") }
}

async fn region(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<String> {
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
pub(super) async fn default_encryption(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<DefaultEncryption> {
    let result = s3.get_bucket_encryption().bucket(bucket.as_str()).send().await;
    // AWS answers AES256 for a bucket nobody configured; older stand-ins answer with this error, which the SDK does not model.
    if let Err(error) = &result
        && let Some(service) = error.as_service_error()
        && aws_sdk_s3::error::ProvideErrorMetadata::code(service) == Some("ServerSideEncryptionConfigurationNotFoundError")
    {
        return Lookup::Found(DefaultEncryption::None);
    }
    Lookup::from_call(&calls::GET_BUCKET_ENCRYPTION, &["NoSuchBucket"], result).and_then(|answer| {
        let configuration = answer.server_side_encryption_configuration;
        Lookup::expect_in_answer(&calls::GET_BUCKET_ENCRYPTION, configuration).map(|configuration| {
            configuration.rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default).map_or(DefaultEncryption::None, |default| {
                let kind = match default.sse_algorithm {
                    ServerSideEncryption::Aes256 => EncryptionKind::SseS3,
                    ServerSideEncryption::AwsKms => EncryptionKind::SseKms,
                    ServerSideEncryption::AwsKmsDsse => EncryptionKind::DsseKms,
                    other => return DefaultEncryption::Other(other.as_str().to_owned()),
                };
                DefaultEncryption::Kind { kind, key: default.kms_master_key_id }
            })
        })
    })
}

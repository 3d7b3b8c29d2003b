//! The region of a bucket.

use aws_sdk_s3::{error::ProvideErrorMetadata, operation::head_bucket::HeadBucketOutput};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};

use crate::base::{aws_calls, lookup::Lookup, names::BucketName};

pub(crate) fn is_code<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
    code: &str,
) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}

/// The region of `bucket`.
pub(crate) async fn region(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<String> {
    let answer = s3.head_bucket().bucket(bucket.as_str()).send().await;
    match region_of_redirect(&answer) {
        Some(region) => Lookup::Found(region),
        None => {
            Lookup::from_call(&aws_calls::HEAD_BUCKET, NO_BUCKET, answer).and_then(named_region)
        }
    }
}

/// HeadBucket's error codes for a bucket that does not exist.
pub(crate) const NO_BUCKET: &[&str] = &["NotFound", "NoSuchBucket", "404"];

/// The region in a redirect. S3 answers for a bucket of another region with a redirect that names
/// the region, which is a fact and not a failure.
pub(crate) fn region_of_redirect<E>(
    answer: &Result<HeadBucketOutput, SdkError<E, HttpResponse>>,
) -> Option<String> {
    let response = answer.as_ref().err()?.raw_response()?;
    let is_redirect = matches!(response.status().as_u16(), 301 | 307 | 400);
    response.headers().get("x-amz-bucket-region").filter(|_| is_redirect).map(str::to_owned)
}

pub(crate) fn named_region(answer: HeadBucketOutput) -> Lookup<String> {
    Lookup::expect_in_answer(&aws_calls::HEAD_BUCKET, answer.bucket_region)
}

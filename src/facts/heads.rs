//! The encryption of one object, from a HEAD request, since lists do not contain it.
//!
//! HEAD requests use the fast client (`aws::fast_s3`) as long as the answers are usual ones. If S3
//! refuses, redirects or gives an error without a body, the request is repeated with the SDK, which
//! handles regions, clocks and credentials. The SDK's answer counts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_s3::types::ServerSideEncryption;

use crate::{
    aws::{
        bucket_region::is_code,
        fast_s3::{Answer, FastS3Client, FastS3Session, Learner, SendError},
    },
    base::{
        aws_calls::{self, Call},
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::BucketName,
    },
    facts::{
        scan::pace::Permit,
        stored::{StoredEncryption, encryption_kind},
    },
};

/// How many times a HEAD is tried if the network or S3 fails.
const ATTEMPTS: u32 = 10;
/// The first wait between two attempts. It doubles each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-algorithm";

/// Looks up the encryption of objects in one bucket.
#[derive(Debug)]
pub(crate) struct Heads {
    s3: aws_sdk_s3::Client,
    bucket: BucketName,
    wire: Arc<FastS3Client>,
}

impl Heads {
    /// `is_logged`: whether HEAD requests are recorded in the log of requests, which a run's report
    /// contains.
    pub(crate) fn new(s3: aws_sdk_s3::Client, bucket: BucketName, is_logged: bool) -> Self {
        Self { s3, bucket, wire: Arc::new(FastS3Client::new(is_logged)) }
    }

    /// The interceptor that learns the route to the bucket from a list of it.
    pub(super) fn learn(&self) -> Learner {
        self.wire.learn()
    }

    /// The answer to a list request that is made without the SDK; none if it is unusual.
    /// `parameters` are sorted by name.
    pub(super) async fn list(
        &self,
        call: &'static Call,
        parameters: &[(&str, Option<&str>)],
    ) -> Option<String> {
        self.wire.list(call.operation, self.bucket.as_str(), parameters).await
    }

    /// A session for requests about one object after the other.
    pub(super) fn line(&self) -> FastS3Session<'_> {
        self.wire.line()
    }

    /// An object's encryption; `Absent` if the object does not exist (any more).
    pub(super) async fn head(
        &self,
        line: &mut FastS3Session<'_>,
        key: &str,
        version: Option<&str>,
        turn: &mut Permit<'_>,
    ) -> Lookup<StoredEncryption> {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            let Some(sent) = line.head(self.bucket.as_str(), key, version).await else {
                return self.by_sdk(key, version).await;
            };
            let (kind, trouble) = match sent {
                // The answer comes from another server than S3, such as a proxy: the SDK describes
                // it.
                Ok(answer)
                    if !answer.has_request_id() && matches!(answer.status, 200 | 403 | 404) =>
                {
                    return self.by_sdk(key, version).await;
                }
                Ok(answer) => match answer.status {
                    200 => {
                        turn.on_success();
                        return Lookup::Found(stored(&answer));
                    }
                    404 => return Lookup::Absent,
                    403 if self.wire.learns_the_time(&answer) => (
                        LookupErrorKind::Other,
                        "HTTP 403 (this machine's clock is off)".to_owned(),
                    ),
                    403 => {
                        return Lookup::Denied(lookup_error(
                            version,
                            LookupErrorKind::Denied,
                            "HTTP 403",
                        ));
                    }
                    status @ (429 | 503) => {
                        turn.slow_down().await;
                        (
                            LookupErrorKind::Throttled,
                            format!("S3 asks to slow down (HTTP {status})"),
                        )
                    }
                    status @ (408 | 500 | 502 | 504) => {
                        (LookupErrorKind::ServerError, format!("HTTP {status}"))
                    }
                    _ => return self.by_sdk(key, version).await,
                },
                Err(SendError::Trouble(why)) => (LookupErrorKind::Connection, why),
                // A repeated request would have the same result.
                Err(SendError::Unasked(why)) => {
                    return Lookup::Unreachable(lookup_error(
                        version,
                        LookupErrorKind::UnreadableAnswer,
                        why,
                    ));
                }
            };
            // Before a launch the limit is that of one call. Bulk scans have minutes, because S3
            // may ask to slow down.
            let is_over =
                self.wire.time_limit().is_some_and(|limit| started.elapsed() + wait > limit);
            if attempt == ATTEMPTS || is_over {
                return Lookup::Unreachable(lookup_error(version, kind, trouble));
            }
            attempt += 1;
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn by_sdk(&self, key: &str, version: Option<&str>) -> Lookup<StoredEncryption> {
        let request = self
            .s3
            .head_object()
            .bucket(self.bucket.as_str())
            .key(key)
            .set_version_id(version.map(str::to_owned));
        let result = request.send().await;
        // S3 answers 400 without a body to a HEAD of an SSE-C object without its key, and to a HEAD
        // with expired credentials.
        if result.as_ref().is_err_and(|error| {
            error.raw_response().is_some_and(|response| response.status().as_u16() == 400)
        }) {
            return self.refused(key, version).await;
        }
        Lookup::from_call(head_call(version), &["NotFound", "NoSuchKey", "404"], result).map(
            |answer| {
                kind_of(
                    answer.server_side_encryption().map(ServerSideEncryption::as_str),
                    answer.ssekms_key_id(),
                    answer.sse_customer_algorithm(),
                )
            },
        )
    }

    /// Why S3 refuses an object: the error of a GET for one byte has a body with the reason.
    async fn refused(&self, key: &str, version: Option<&str>) -> Lookup<StoredEncryption> {
        let request = self
            .s3
            .get_object()
            .bucket(self.bucket.as_str())
            .key(key)
            .set_version_id(version.map(str::to_owned));
        let result = request.range("bytes=0-0").send().await;
        if result.as_ref().is_err_and(|error| is_code(error, "InvalidRequest")) {
            return Lookup::Found(StoredEncryption::CustomerKey);
        }
        let call = if version.is_some() { &aws_calls::GET_VERSION } else { &aws_calls::GET_OBJECT };
        Lookup::from_call(call, &["NoSuchKey", "NoSuchVersion"], result).and_then(|_| {
            Lookup::not_asked(head_call(version), "S3 refuses a HEAD of it, but no GET")
        })
    }
}

fn lookup_error(
    version: Option<&str>,
    kind: LookupErrorKind,
    message: impl Into<String>,
) -> LookupError {
    LookupError::new(head_call(version).permission, kind, message)
}

fn head_call(version: Option<&str>) -> &'static Call {
    if version.is_some() { &aws_calls::HEAD_VERSION } else { &aws_calls::HEAD_OBJECT }
}

fn stored(answer: &Answer<'_>) -> StoredEncryption {
    kind_of(answer.header(ENCRYPTION), answer.header(KEY), answer.header(CUSTOMER))
}

/// The encryption that S3's three headers describe.
fn kind_of(kind: Option<&str>, key: Option<&str>, customer: Option<&str>) -> StoredEncryption {
    match kind {
        _ if customer.is_some() => StoredEncryption::CustomerKey,
        None => StoredEncryption::Unencrypted,
        Some(kind) => match encryption_kind(&ServerSideEncryption::from(kind)) {
            Some(known) => StoredEncryption::Kind(known, key.map(str::to_owned)),
            None => StoredEncryption::Other(kind.to_owned()),
        },
    }
}

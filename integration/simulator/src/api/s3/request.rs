//! Owns what the operations of S3 share: the request, its errors, and headers of replies.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::call::Call;
use crate::reply::{Failure, Reply};
use emr_world::object::Object;
use emr_world::s3write;
use emr_world::sse::{Sse, header_of, sse_named};
use emr_world::world::{Bucket, Caller};

pub(super) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The maximum size of a copy in one request.
pub(super) const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;

/// The characters that `encoding-type=url` does not encode.
pub(super) const LISTED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// A request about a bucket, or about an object in it.
pub(super) struct Request<'a> {
    pub(super) call: &'a Call,
    pub(super) caller: Option<&'a Caller>,
    pub(super) bucket: String,
    pub(super) key: String,
}

impl Request<'_> {
    /// The payload as text.
    pub(super) fn body(&self) -> String {
        String::from_utf8_lossy(&self.call.body).into_owned()
    }

    /// The protection the request's own headers ask for.
    pub(super) fn header_sse(&self) -> Result<Option<Sse>, Failure> {
        if self.call.header("x-amz-server-side-encryption-customer-algorithm").is_some() {
            return Ok(Some(Sse::Customer));
        }
        let Some(algorithm) = self.call.header("x-amz-server-side-encryption") else {
            return Ok(None);
        };
        let key = self.call.header("x-amz-server-side-encryption-aws-kms-key-id");
        sse_named(algorithm, key).map(Some).ok_or_else(|| {
            Failure::new(400, "InvalidArgument", "The encryption method specified is not supported")
        })
    }
}

pub(super) fn denied() -> Failure {
    Failure::new(403, "AccessDenied", "Access Denied")
}

pub(super) fn no_such_bucket(bucket: &str) -> Failure {
    Failure::new(404, "NoSuchBucket", "The specified bucket does not exist")
        .with("BucketName", bucket)
}

pub(super) fn no_such_key(key: &str) -> Failure {
    Failure::new(404, "NoSuchKey", "The specified key does not exist.").with("Key", key)
}

pub(super) fn precondition(condition: &str) -> Failure {
    Failure::new(
        412,
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
    )
    .with("Condition", condition)
}

/// Another change of the key happened during the request.
pub(super) fn conflict(key: &str) -> Failure {
    let message = "The conditional request cannot succeed due to a conflicting operation against \
        this resource.";
    Failure::new(409, "ConditionalRequestConflict", message)
        .with("Condition", "If-Match")
        .with("Key", key)
}

pub(super) fn refused((status, code, message): s3write::Refusal) -> Failure {
    Failure::new(status, code, message)
}

/// The version id of a looked-up object, or of a copy: the null version has the id `null`, if the
/// bucket ever had versioning. Source: Amazon S3 user guide, Working with objects in a
/// versioning-suspended bucket; Amazon S3 API reference, CopyObject: with suspended versioning, the
/// id of a copy is always `null`.
pub(super) fn with_shown_version(reply: Reply, bucket: &Bucket, object: &Object) -> Reply {
    match (&object.version, &bucket.versioning) {
        (Some(version), _) => reply.header("x-amz-version-id", version.as_str()),
        (None, Some(_)) => reply.header("x-amz-version-id", "null"),
        (None, None) => reply,
    }
}

/// The version id of a PUT; none for the null version, unlike in responses to look-ups, copies and
/// deletes (recorded from AWS in LocalStack's `test_put_object_on_suspended_bucket`).
pub(super) fn with_version(reply: Reply, object: &Object) -> Reply {
    match &object.version {
        Some(version) => reply.header("x-amz-version-id", version.as_str()),
        None => reply,
    }
}

/// The id of the copied version; none for the null version, as in LocalStack for CopyObject (which
/// returns it for UploadPartCopy). Source: Amazon S3 API reference, CopyObject,
/// `x-amz-copy-source-version-id`.
pub(super) fn with_source_version(reply: Reply, source: &Object) -> Reply {
    match &source.version {
        Some(version) => reply.header("x-amz-copy-source-version-id", version.as_str()),
        None => reply,
    }
}

/// Whether the written object uses an S3 Bucket Key.
pub(super) fn with_bucket_key(reply: Reply, object: &Object) -> Reply {
    if object.attributes.bucket_key && matches!(object.sse, Sse::Kms { .. }) {
        return reply.header("x-amz-server-side-encryption-bucket-key-enabled", "true");
    }
    reply
}

pub(super) fn with_sse(reply: Reply, sse: &Sse) -> Reply {
    match header_of(sse) {
        ("", _) => reply,
        (algorithm, None) => reply.header("x-amz-server-side-encryption", algorithm),
        (algorithm, Some(key)) => reply
            .header("x-amz-server-side-encryption", algorithm)
            .header("x-amz-server-side-encryption-aws-kms-key-id", key),
    }
}

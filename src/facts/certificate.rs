//! The archive of certificates that the security configuration names, fetched and looked at in
//! memory.

use aws_sdk_s3::primitives::ByteStream;
use zeroize::Zeroizing;

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::S3Object,
    },
    facts::certificate_archive::{self, LARGEST, Material},
};

/// The archive, and under which KMS key S3 says that it is encrypted; none: under none.
pub(super) type Archive = (Result<Material, String>, Option<String>);

/// Fetches and reads the archive at `object`; `Absent` when there is none. The inner error is what
/// is wrong with it.
pub(super) async fn certificates(s3: &aws_sdk_s3::Client, object: &S3Object) -> Lookup<Archive> {
    let result = s3.get_object().bucket(object.bucket.as_str()).key(&object.key).send().await;
    match Lookup::from_call(&aws_calls::GET_OBJECT, &["NoSuchKey", "NoSuchBucket"], result) {
        Lookup::Found(answer) => {
            let key = answer.ssekms_key_id;
            read(answer.body, answer.content_length).await.map(|archive| (archive, key))
        }
        Lookup::Absent => Lookup::Absent,
        Lookup::Denied(obstacle) => Lookup::Denied(obstacle),
        Lookup::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
    }
}

async fn read(mut body: ByteStream, length: Option<i64>) -> Lookup<Result<Material, String>> {
    // It holds a private key: what it was read into is wiped, and HTTP holds an answer to its
    // length, so that it is never moved to a larger place.
    let length = length
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= LARGEST)
        .unwrap_or(LARGEST);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    loop {
        match body.next().await {
            None => return Lookup::Found(certificate_archive::read(&bytes)),
            Some(Ok(more)) if bytes.len() + more.len() > LARGEST => {
                return Lookup::Found(Err(format!("larger than {LARGEST} bytes")));
            }
            Some(Ok(more)) => bytes.extend_from_slice(&more),
            Some(Err(error)) => {
                return Lookup::Unreachable(LookupError::new(
                    aws_calls::GET_OBJECT.permission,
                    LookupErrorKind::Connection,
                    format!("the answer broke off: {error}"),
                ));
            }
        }
    }
}

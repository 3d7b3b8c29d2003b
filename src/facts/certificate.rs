//! The certificate archive that the security configuration names, fetched and read in memory.

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

/// The archive, and the ARN of the KMS key under which S3 has encrypted it; none if it is under no
/// KMS key.
pub(super) type Archive = (Result<Material, String>, Option<String>);

/// Fetches and reads the archive at `object`; `Absent` if it does not exist. The inner error is
/// what is wrong with the archive.
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
    // The archive holds a private key, so the buffer is wiped after use. HTTP limits the answer to
    // its declared length, so the buffer never grows and leaves no copy in memory.
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

//! Owns writes to S3: policy, encryption, stored object. Used by the API and by clusters' steps.

use std::collections::BTreeMap;

use crate::object::{self, Attributes, Extent, Object};
use crate::partition::partition_of;
use crate::policy::{self, Ask, Decision};
use crate::sse::{Sse, header_of, sse_named};
use crate::world::World;

/// The content and the writer.
pub struct Write<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a str,
    /// The request's own `x-amz-server-side-encryption` headers.
    pub header: Option<Sse>,
    /// Bytes.
    pub size: u64,
    /// The content, where it is kept.
    pub body: Option<Vec<u8>>,
    /// The identity of content that is not stored; none: it is new.
    pub extents: Option<Vec<Extent>>,
    /// Its properties.
    pub attributes: Attributes,
    /// The number of its parts.
    pub parts: Option<u32>,
    /// The `Content-Type`.
    pub content_type: String,
    /// `x-amz-meta-…` without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// `STANDARD`, …
    pub storage_class: String,
    /// The ARN of the caller.
    pub principal: &'a str,
    /// Its account.
    pub account: &'a str,
    /// `api`, or a cluster and step id, or a job.
    pub written_by: String,
}

/// Why a write was refused: status, code, message.
pub type Refusal = (u16, &'static str, String);

/// Whether this principal may write there with this header, and the encryption of the object.
///
/// # Errors
/// When the bucket, its policy or the key denies it.
pub fn permit(
    world: &mut World,
    (bucket_name, key): (&str, &str),
    header: Option<Sse>,
    (principal, account): (&str, &str),
) -> Result<Sse, Refusal> {
    let Some(bucket) = world.buckets.get(bucket_name) else {
        return Err((404, "NoSuchBucket", "The specified bucket does not exist".to_owned()));
    };
    let mut context = world.context_of(principal, account);
    if let Some(sse) = &header {
        let (algorithm, key) = header_of(sse);
        context.insert("s3:x-amz-server-side-encryption".to_owned(), vec![algorithm.to_owned()]);
        if let Some(key) = key {
            context.insert(
                "s3:x-amz-server-side-encryption-aws-kms-key-id".to_owned(),
                vec![key.to_owned()],
            );
        }
    }
    let ask = Ask {
        action: "s3:PutObject",
        resource: &format!("arn:{}:s3:::{bucket_name}/{key}", partition_of(&bucket.region)),
        context: &context,
    };
    let decision = bucket.policy.as_ref().map_or(Decision::ImplicitDeny, |document| {
        policy::evaluate_resource(document, &ask, principal, account)
    });
    let own = bucket.account == account;
    if decision == Decision::ExplicitDeny || (!own && decision != Decision::Allowed) {
        return Err((403, "AccessDenied", "Access Denied".to_owned()));
    }
    let blocked = bucket.default_encryption.as_ref().map(|rule| rule.blocked.as_slice());
    let is_blocked = blocked.unwrap_or_default().iter().any(|it| it == "SSE-C");
    if header == Some(Sse::Customer) && is_blocked {
        return Err((403, "AccessDenied", "Access Denied".to_owned()));
    }
    resolve(world, bucket_name, account, header)
}

/// Writes an object as S3 would and returns the stored object.
///
/// # Errors
/// As [`permit`].
pub fn write(world: &mut World, write: Write<'_>) -> Result<Object, Refusal> {
    let sse =
        permit(world, (write.bucket, write.key), write.header, (write.principal, write.account))?;
    let extents = write.extents.unwrap_or_else(|| {
        object::extents(write.bucket, write.key, write.size, write.body.is_none())
    });
    let mut attributes = write.attributes;
    if let Some(checksum) = &mut attributes.checksum {
        let content = (write.body.as_deref(), extents.as_slice());
        checksum.value = object::stored_checksum(checksum, content, write.size, write.parts);
    }
    let object = Object {
        size: write.size,
        etag: object::etag(write.body.as_deref(), &extents, &sse, write.parts),
        sse,
        last_modified: world.now,
        storage_class: write.storage_class,
        content_type: write.content_type,
        metadata: write.metadata,
        written_by: write.written_by,
        body: write.body,
        extents,
        version: None,
        owner: write.account.to_owned(),
        attributes,
        restore: None,
    };
    Ok(world.store_object(write.bucket, write.key, object))
}

/// The bucket's default encryption, with the key as configured.
pub fn default_of(world: &World, bucket: &str) -> Sse {
    let rule = world.buckets.get(bucket).and_then(|bucket| bucket.default_encryption.as_ref());
    rule.and_then(|rule| sse_named(rule.algorithm.as_deref()?, rule.key.as_deref()))
        .unwrap_or(Sse::Aes256)
}

/// The encryption of an object: from the request or the bucket's default, with its key as an ARN.
fn resolve(
    world: &mut World,
    bucket: &str,
    caller: &str,
    header: Option<Sse>,
) -> Result<Sse, Refusal> {
    let default = default_of(world, bucket);
    let (owner, region) = world
        .buckets
        .get(bucket)
        .map(|bucket| (bucket.account.clone(), bucket.region.clone()))
        .unwrap_or_default();
    // A key that the bucket's default names belongs to the bucket's owner; one that a request
    // names, to the caller.
    let (wish, account) = match header {
        Some(header) => (header, caller.to_owned()),
        None => (default, owner),
    };
    Ok(match wish {
        Sse::Kms { key } => Sse::Kms { key: Some(kms_arn(world, &account, &region, key)?) },
        Sse::Dsse { key } => Sse::Dsse { key: Some(kms_arn(world, &account, &region, key)?) },
        other => other,
    })
}

/// The ARN of the key with this name for this account; without a name, the AWS managed key.
///
/// # Errors
/// When the key does not exist, or cannot be used.
pub fn kms_arn(
    world: &mut World,
    account: &str,
    region: &str,
    key: Option<String>,
) -> Result<String, Refusal> {
    let Some(name) = key else {
        return Ok(world.managed_s3_key(account, region));
    };
    let Some(key) = world.key(account, region, &name) else {
        return Err((400, "KMS.NotFoundException", format!("Key '{name}' does not exist")));
    };
    match key.state.as_str() {
        "Enabled" => Ok(key.arn()),
        "Disabled" => Err((400, "KMS.DisabledException", format!("{} is disabled.", key.arn()))),
        "PendingDeletion" => Err((
            400,
            "KMS.KMSInvalidStateException",
            format!("{} is pending deletion.", key.arn()),
        )),
        state => Err((
            400,
            "KMS.KMSInvalidStateException",
            format!("{} is in state {state}.", key.arn()),
        )),
    }
}

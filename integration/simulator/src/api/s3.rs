//! Owns S3's operations.

mod admission;
mod attributes;
mod bucket_policies;
mod bucket_settings;
mod buckets;
mod multipart;
mod objects;
mod request;
mod uploads;
mod versions;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::partition::partition_of;
use emr_world::world::{Caller, World};

use admission::{admit, check_region, context_of};
use bucket_policies::{bucket_policy, policy_status, public_access_block};
use bucket_settings::create_bucket;
use buckets::{
    encryption_xml, lifecycle, list, location_xml, notification, replication, request_payment,
    versioning_xml, website,
};
use objects::read;
use request::{Request, denied, no_such_bucket, with_shown_version};

pub(super) fn answer(world: &mut World, call: &Call, caller: Option<&Caller>) -> Answer {
    let operation = call.subject.operation.as_str();
    let Some(bucket) = call.subject.bucket.as_deref() else {
        return Err(Failure::not_modelled(Service::S3, operation));
    };
    if operation == "CreateBucket" {
        return create_bucket(world, call, caller.ok_or_else(denied)?, bucket);
    }
    let action = action_of(operation, call.query.contains_key("versionId"))
        .ok_or_else(|| Failure::not_modelled(Service::S3, operation))?;
    let found = world.buckets.get(bucket).ok_or_else(|| no_such_bucket(bucket))?;
    let location = found.region.clone();
    check_region(call, operation, found, caller.is_some())?;
    let context = context_of(world, caller);
    let admitted = admit(found, call, (caller, &context), action);
    admitted.map_err(|failure| failure.header("x-amz-bucket-region", location.as_str()))?;
    // A request that compares ETags needs the permission to read the object. Source: Amazon S3 user
    // guide, How to perform conditional deletes.
    if operation == "DeleteObject" && call.header("if-match").is_some_and(|it| it != "*") {
        admit(found, call, (caller, &context), "GetObject")?;
    }
    let s3 = Request {
        call,
        caller,
        bucket: bucket.to_owned(),
        key: call.subject.key.clone().unwrap_or_default(),
    };
    let now = world.now;
    let answer = match operation {
        "HeadBucket" => Ok(Reply::empty(200)
            .header("content-type", "application/xml")
            .header(
                "x-amz-bucket-arn",
                format!("arn:{}:s3:::{}", partition_of(&found.region), found.name),
            )
            .header("x-amz-access-point-alias", "false")),
        "GetBucketLocation" => Ok(location_xml(found)),
        "GetBucketEncryption" => Ok(encryption_xml(found)),
        "GetBucketPolicy" => bucket_policy(found),
        "GetBucketPolicyStatus" => policy_status(found),
        "GetPublicAccessBlock" => public_access_block(found),
        "GetBucketTagging" => bucket_settings::get_tags(found),
        "DeleteBucket" => s3.delete_bucket(world),
        "DeleteBucketEncryption" => Ok(s3.delete_encryption(world)),
        "DeleteBucketPolicy" => Ok(s3.delete_policy(world)),
        "PutPublicAccessBlock" => s3.put_public_access_block(world),
        "DeletePublicAccessBlock" => Ok(s3.delete_public_access_block(world)),
        "PutBucketVersioning" => s3.put_versioning(world),
        "PutObjectLockConfiguration" => s3.put_object_lock(world),
        "PutBucketTagging" => s3.put_bucket_tags(world),
        "DeleteBucketTagging" => Ok(s3.delete_bucket_tags(world)),
        "GetBucketWebsite" => website(found),
        "GetBucketVersioning" => Ok(versioning_xml(found)),
        "GetBucketNotificationConfiguration" => Ok(notification(found)),
        "GetBucketReplication" => replication(found),
        "GetBucketLifecycleConfiguration" => lifecycle(found).map(|reply| {
            reply.header("x-amz-transition-default-minimum-object-size", "all_storage_classes_128K")
        }),
        "GetBucketRequestPayment" => Ok(request_payment(found)),
        "ListObjectsV2" => list(found, call),
        "GetBucketOwnershipControls" => Ok(attributes::ownership(found)),
        "GetObjectLockConfiguration" => attributes::lock_configuration(found),
        "GetObjectRetention" => s3.get_retention(world),
        "GetObjectLegalHold" => s3.get_legal_hold(world),
        "ListObjectVersions" => versions::list(found, call),
        "HeadObject" | "GetObject" => s3.object(world).and_then(|object| {
            let reply = read(&object, call, now, operation == "HeadObject")?;
            Ok(with_shown_version(reply, found, &object))
        }),
        "GetObjectTagging" => s3.get_tags(world),
        "PutObjectTagging" => s3.put_tags(world),
        "GetObjectAcl" => s3.get_acl(world),
        "ListObjectAnnotations" => s3.list_annotations(world),
        "UpdateObjectEncryption" => s3.update_encryption(world),
        "RestoreObject" => s3.restore(world),
        "ListMultipartUploads" => uploads::list(world, call, bucket),
        "CreateMultipartUpload" => s3.create_upload(world),
        "UploadPartCopy" => s3.copy_part(world),
        "ListParts" => s3.list_parts(world),
        "CompleteMultipartUpload" => s3.complete_upload(world),
        "AbortMultipartUpload" => s3.abort_upload(world),
        "PutBucketEncryption" => s3.put_encryption(world),
        "PutBucketPolicy" => s3.put_policy(world),
        "PutObject" => s3.put(world),
        "CopyObject" => s3.copy(world),
        "DeleteObject" => s3.delete(world),
        other => Err(Failure::not_modelled(Service::S3, other)),
    };
    answer.map(|reply| match operation {
        "HeadBucket" | "ListObjectsV2" => reply.header("x-amz-bucket-region", location),
        _ => reply,
    })
}

/// The IAM action behind an operation, without its prefix.
fn action_of(operation: &str, of_version: bool) -> Option<&'static str> {
    Some(match operation {
        "HeadObject" | "GetObject" if of_version => "GetObjectVersion",
        "GetObjectTagging" if of_version => "GetObjectVersionTagging",
        "PutObjectTagging" if of_version => "PutObjectVersionTagging",
        "GetObjectAcl" if of_version => "GetObjectVersionAcl",
        "DeleteObject" if of_version => "DeleteObjectVersion",
        "ListObjectVersions" => "ListBucketVersions",
        "GetBucketOwnershipControls" => "GetBucketOwnershipControls",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "PutObjectLockConfiguration" => "PutBucketObjectLockConfiguration",
        "GetObjectRetention" => "GetObjectRetention",
        "GetObjectLegalHold" => "GetObjectLegalHold",
        "GetObjectTagging" => "GetObjectTagging",
        "PutObjectTagging" => "PutObjectTagging",
        "GetObjectAcl" => "GetObjectAcl",
        "ListObjectAnnotations" => "ListObjectAnnotations",
        "UpdateObjectEncryption" => "UpdateObjectEncryption",
        "RestoreObject" => "RestoreObject",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "ListParts" => "ListMultipartUploadParts",
        "AbortMultipartUpload" => "AbortMultipartUpload",
        "CreateMultipartUpload" | "UploadPartCopy" | "CompleteMultipartUpload" => "PutObject",
        "HeadBucket" | "ListObjectsV2" => "ListBucket",
        "GetBucketLocation" => "GetBucketLocation",
        "GetBucketEncryption" => "GetEncryptionConfiguration",
        "PutBucketEncryption" | "DeleteBucketEncryption" => "PutEncryptionConfiguration",
        "GetBucketPolicy" => "GetBucketPolicy",
        "PutBucketPolicy" => "PutBucketPolicy",
        "DeleteBucketPolicy" => "DeleteBucketPolicy",
        "GetBucketPolicyStatus" => "GetBucketPolicyStatus",
        "GetPublicAccessBlock" => "GetBucketPublicAccessBlock",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "PutBucketPublicAccessBlock",
        "DeleteBucket" => "DeleteBucket",
        "GetBucketVersioning" => "GetBucketVersioning",
        "PutBucketVersioning" => "PutBucketVersioning",
        "GetBucketTagging" => "GetBucketTagging",
        "PutBucketTagging" | "DeleteBucketTagging" => "PutBucketTagging",
        "GetBucketWebsite" => "GetBucketWebsite",
        "GetBucketNotificationConfiguration" => "GetBucketNotification",
        "GetBucketReplication" => "GetReplicationConfiguration",
        "GetBucketLifecycleConfiguration" => "GetLifecycleConfiguration",
        "GetBucketRequestPayment" => "GetBucketRequestPayment",
        "HeadObject" | "GetObject" => "GetObject",
        "PutObject" | "CopyObject" => "PutObject",
        "DeleteObject" => "DeleteObject",
        _ => return None,
    })
}

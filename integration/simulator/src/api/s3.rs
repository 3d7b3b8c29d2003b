//! Owns S3's operations.

mod attributes;
mod multipart;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use time::OffsetDateTime;

use super::Answer;
use crate::call::{Call, Service};
use crate::clock::{http_date, iso};
use crate::command::BucketEncryption;
use crate::object::{self, Attributes, Object, Older};
use crate::policy::{self, Ask, Decision};
use crate::reply::{Failure, Reply};
use crate::s3write::{self, Write, header_of, sse_named};
use crate::world::{Bucket, Caller, Sse, World};
use crate::xml::{self, Xml};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;
/// Objects of which only a size is known read as zeros, up to this size.
const LARGEST_READ: u64 = 64 * 1024 * 1024;

/// What `encoding-type=url` leaves as it is.
const LISTED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

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
    let admitted = admit(found, call, caller, action);
    admitted.map_err(|failure| failure.header("x-amz-bucket-region", location.as_str()))?;
    let s3 = Request {
        call,
        caller,
        bucket: bucket.to_owned(),
        key: call.subject.key.clone().unwrap_or_default(),
    };
    let now = world.now;
    let answer = match operation {
        "HeadBucket" => Ok(Reply::empty(200).header("content-type", "application/xml")),
        "GetBucketLocation" => Ok(location_xml(found)),
        "GetBucketEncryption" => Ok(encryption_xml(found)),
        "GetBucketPolicy" => bucket_policy(found),
        "GetPublicAccessBlock" => public_access_block(found),
        "GetBucketWebsite" => website(found),
        "GetBucketVersioning" => Ok(versioning_xml(found)),
        "ListObjectsV2" => list(found, call),
        "GetBucketOwnershipControls" => Ok(attributes::ownership(found)),
        "GetObjectLockConfiguration" => attributes::lock_configuration(found),
        "GetObjectRetention" => s3.get_retention(world),
        "GetObjectLegalHold" => s3.get_legal_hold(world),
        "ListObjectVersions" => versions::list(found, call),
        "HeadObject" => s3.object(world).and_then(|object| read(&object, call, now, true)),
        "GetObject" => s3.object(world).and_then(|object| read(&object, call, now, false)),
        "GetObjectTagging" => s3.get_tags(world),
        "PutObjectTagging" => s3.put_tags(world),
        "GetObjectAcl" => s3.get_acl(world),
        "ListObjectAnnotations" => s3.list_annotations(world),
        "UpdateObjectEncryption" => s3.update_encryption(world),
        "RestoreObject" => s3.restore(world),
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
        "GetObjectRetention" => "GetObjectRetention",
        "GetObjectLegalHold" => "GetObjectLegalHold",
        "GetObjectTagging" => "GetObjectTagging",
        "PutObjectTagging" => "PutObjectTagging",
        "GetObjectAcl" => "GetObjectAcl",
        "ListObjectAnnotations" => "ListObjectAnnotations",
        "UpdateObjectEncryption" => "UpdateObjectEncryption",
        "RestoreObject" => "RestoreObject",
        "ListParts" => "ListMultipartUploadParts",
        "AbortMultipartUpload" => "AbortMultipartUpload",
        "CreateMultipartUpload" | "UploadPartCopy" | "CompleteMultipartUpload" => "PutObject",
        "HeadBucket" | "ListObjectsV2" => "ListBucket",
        "GetBucketLocation" => "GetBucketLocation",
        "GetBucketEncryption" => "GetEncryptionConfiguration",
        "PutBucketEncryption" => "PutEncryptionConfiguration",
        "GetBucketPolicy" => "GetBucketPolicy",
        "PutBucketPolicy" => "PutBucketPolicy",
        "GetPublicAccessBlock" => "GetBucketPublicAccessBlock",
        "GetBucketVersioning" => "GetBucketVersioning",
        "GetBucketWebsite" => "GetBucketWebsite",
        "HeadObject" | "GetObject" => "GetObject",
        "PutObject" | "CopyObject" => "PutObject",
        "DeleteObject" => "DeleteObject",
        _ => return None,
    })
}

fn denied() -> Failure {
    Failure::new(403, "AccessDenied", "Access Denied")
}

fn no_such_bucket(bucket: &str) -> Failure {
    Failure::new(404, "NoSuchBucket", "The specified bucket does not exist")
        .with("BucketName", bucket)
}

/// Real S3 answers for a bucket only in its own region, and says which that is. Its location can be
/// asked from us-east-1 as well; unsigned requests name no region.
fn check_region(
    call: &Call,
    operation: &str,
    bucket: &Bucket,
    signed: bool,
) -> Result<(), Failure> {
    let location_anywhere = operation == "GetBucketLocation" && call.region == "us-east-1";
    if !signed || call.region == bucket.region || location_anywhere {
        return Ok(());
    }
    let endpoint = format!("s3.{}.amazonaws.com", bucket.region);
    let message = "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.";
    Err(Failure::new(301, "PermanentRedirect", message)
        .with("Endpoint", endpoint)
        .with("Bucket", bucket.name.as_str())
        .header("x-amz-bucket-region", bucket.region.as_str()))
}

/// Owner expectation, ownership, publicity and bucket policy: may this caller do this? Writes of
/// objects ask the policy again with their headers.
fn admit(
    bucket: &Bucket,
    call: &Call,
    caller: Option<&Caller>,
    action: &str,
) -> Result<(), Failure> {
    if call.header("x-amz-expected-bucket-owner").is_some_and(|owner| owner != bucket.account) {
        return Err(denied());
    }
    let (arn, account) =
        caller.map_or(("anonymous", ""), |caller| (caller.arn.as_str(), caller.account.as_str()));
    let mut context = policy::base_context(arn, account);
    if let Some(prefix) = call.query.get("prefix") {
        context.insert("s3:prefix".to_owned(), vec![prefix.clone()]);
    }
    let resource = match &call.subject.key {
        Some(key) => format!("arn:aws:s3:::{}/{key}", bucket.name),
        None => format!("arn:aws:s3:::{}", bucket.name),
    };
    let action_name = format!("s3:{action}");
    let ask = Ask { action: &action_name, resource: &resource, context: &context };
    let opinion = bucket.policy.as_ref().map_or(Decision::ImplicitDeny, |document| {
        policy::evaluate_resource(document, &ask, arn, account)
    });
    let writes_object = action == "PutObject";
    if writes_object {
        // The write itself decides; nobody unsigned writes.
        return caller.map(|_| ()).ok_or_else(denied);
    }
    let own = caller.is_some_and(|caller| caller.account == bucket.account);
    let public =
        bucket.public && matches!(action, "GetObject" | "ListBucket" | "GetBucketLocation");
    match opinion {
        Decision::Allowed => Ok(()),
        Decision::ImplicitDeny if own || public => Ok(()),
        Decision::ImplicitDeny | Decision::ExplicitDeny => Err(denied()),
    }
}

fn create_bucket(world: &mut World, call: &Call, caller: &Caller, name: &str) -> Answer {
    if let Some(existing) = world.buckets.get(name) {
        return Err(if existing.account == caller.account {
            Failure::new(
                409,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            )
        } else {
            Failure::new(
                409,
                "BucketAlreadyExists",
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
            )
        });
    }
    let body = String::from_utf8_lossy(&call.body);
    let region = xml::text(&body, "LocationConstraint").unwrap_or_else(|| call.region.clone());
    let bucket = Bucket {
        name: name.to_owned(),
        region,
        account: caller.account.clone(),
        default_encryption: None,
        policy: None,
        public: false,
        versioning: None,
        public_access_block: Some(true),
        object_lock_days: None,
        created: world.now,
        ownership: "BucketOwnerEnforced".to_owned(),
        object_lock: false,
        website: false,
        objects: BTreeMap::new(),
        older: BTreeMap::new(),
    };
    world.buckets.insert(name.to_owned(), bucket);
    Ok(Reply::empty(200).header("location", format!("/{name}")))
}

fn location_xml(bucket: &Bucket) -> Reply {
    let mut xml = Xml::new();
    xml.root("LocationConstraint", NAMESPACE, |_| ());
    let mut text = xml.finish();
    if bucket.region != "us-east-1" {
        text = text.replace("</Loc", &format!("{}</Loc", bucket.region));
    }
    Reply { body: text.into_bytes(), ..Reply::empty(200).header("content-type", "application/xml") }
}

fn encryption_xml(bucket: &Bucket) -> Reply {
    let never_configured = BucketEncryption::aes256();
    let rule = bucket.default_encryption.as_ref().unwrap_or(&never_configured);
    let mut xml = Xml::new();
    xml.root("ServerSideEncryptionConfiguration", NAMESPACE, |xml| {
        xml.element("Rule", |xml| {
            if let Some(algorithm) = &rule.algorithm {
                xml.element("ApplyServerSideEncryptionByDefault", |xml| {
                    xml.text("SSEAlgorithm", algorithm)
                        .optional("KMSMasterKeyID", rule.key.as_deref());
                });
            }
            xml.optional("BucketKeyEnabled", rule.bucket_key.map(|it| it.to_string()));
            if !rule.blocked.is_empty() {
                xml.element("BlockedEncryptionTypes", |xml| {
                    for kind in &rule.blocked {
                        xml.text("EncryptionType", kind);
                    }
                });
            }
        });
    });
    Reply::xml(xml)
}

fn bucket_policy(bucket: &Bucket) -> Answer {
    let Some(policy) = &bucket.policy else {
        return Err(Failure::new(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
            .with("BucketName", bucket.name.as_str()));
    };
    let body = policy.to_string().into_bytes();
    Ok(Reply { body, ..Reply::empty(200).header("content-type", "application/json") })
}

fn public_access_block(bucket: &Bucket) -> Answer {
    let Some(on) = bucket.public_access_block else {
        return Err(Failure::new(
            404,
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
        .with("BucketName", bucket.name.as_str()));
    };
    let mut xml = Xml::new();
    xml.root("PublicAccessBlockConfiguration", NAMESPACE, |xml| {
        for setting in
            ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
        {
            xml.text(setting, on.to_string());
        }
    });
    Ok(Reply::xml(xml))
}

fn website(bucket: &Bucket) -> Answer {
    if !bucket.website {
        return Err(Failure::new(
            404,
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
        )
        .with("BucketName", bucket.name.as_str()));
    }
    let mut xml = Xml::new();
    xml.root("WebsiteConfiguration", NAMESPACE, |xml| {
        xml.element("IndexDocument", |xml| {
            xml.text("Suffix", "index.html");
        });
    });
    Ok(Reply::xml(xml))
}

fn versioning_xml(bucket: &Bucket) -> Reply {
    let mut xml = Xml::new();
    xml.root("VersioningConfiguration", NAMESPACE, |xml| {
        xml.optional("Status", bucket.versioning.as_deref());
    });
    Reply::xml(xml)
}

fn list(bucket: &Bucket, call: &Call) -> Answer {
    let parameter =
        |name: &str| call.query.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let prefix = parameter("prefix").unwrap_or_default();
    let delimiter = parameter("delimiter");
    let largest = parameter("max-keys").map(str::parse::<usize>).transpose().map_err(|_| {
        Failure::new(
            400,
            "InvalidArgument",
            "Provided max-keys not an integer or within integer range",
        )
    })?;
    let largest = largest.unwrap_or(1000).min(1000);
    let token = parameter("continuation-token").map(decode_token).transpose()?;
    let after = token.as_deref().or_else(|| parameter("start-after")).unwrap_or_default();
    let start = if after >= prefix && !after.is_empty() {
        Bound::Excluded(after.to_owned())
    } else {
        Bound::Included(prefix.to_owned())
    };
    let mut contents: Vec<(&String, &Object)> = Vec::new();
    let mut folders: BTreeSet<String> = BTreeSet::new();
    let mut next = None;
    let mut last = String::new();
    for (key, object) in bucket.objects.range((start, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        let folder = delimiter
            .and_then(|it| rest.split_once(it).map(|(head, _)| format!("{prefix}{head}{it}")));
        // A token may stand for a whole folder, all of which comes before what follows.
        let seen = folder.as_ref().is_some_and(|it| folders.contains(it) || *it == after);
        if seen {
            continue;
        }
        if contents.len() + folders.len() == largest {
            next = Some(last);
            break;
        }
        if let Some(folder) = folder {
            last.clone_from(&folder);
            folders.insert(folder);
        } else {
            last.clone_from(key);
            contents.push((key, object));
        }
    }
    let encode = |text: &str| match parameter("encoding-type") {
        Some("url") => utf8_percent_encode(text, LISTED).to_string(),
        _ => text.to_owned(),
    };
    let mut xml = Xml::new();
    xml.root("ListBucketResult", NAMESPACE, |xml| {
        xml.text("Name", &bucket.name)
            .text("Prefix", encode(prefix))
            .text("KeyCount", (contents.len() + folders.len()).to_string())
            .text("MaxKeys", largest.to_string())
            .optional("Delimiter", delimiter.map(encode))
            .optional("EncodingType", parameter("encoding-type"))
            .optional("StartAfter", parameter("start-after").map(encode))
            .optional("ContinuationToken", parameter("continuation-token"))
            .text("IsTruncated", next.is_some().to_string())
            .optional("NextContinuationToken", next.as_deref().map(encode_token));
        for (key, object) in contents {
            xml.element("Contents", |xml| {
                xml.text("Key", encode(key))
                    .text("LastModified", iso(object.last_modified))
                    .text("ETag", format!("\"{}\"", object.etag))
                    .text("Size", object.size.to_string())
                    .text("StorageClass", &object.storage_class);
            });
        }
        for folder in folders {
            xml.element("CommonPrefixes", |xml| {
                xml.text("Prefix", encode(&folder));
            });
        }
    });
    Ok(Reply::xml(xml))
}

/// Continuation tokens are opaque: hexadecimal keeps clients from guessing.
fn encode_token(key: &str) -> String {
    s3write::hex(key.as_bytes())
}

fn decode_token(token: &str) -> Result<String, Failure> {
    let bytes: Option<Vec<u8>> = token
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()))
        .collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Failure::new(400, "InvalidArgument", "The continuation token provided is incorrect")
    })
}

/// HEAD or GET of an object, ranges included.
fn read(object: &Object, call: &Call, now: OffsetDateTime, head: bool) -> Answer {
    if object.sse == Sse::Customer
        && call.header("x-amz-server-side-encryption-customer-key").is_none()
    {
        let message = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.";
        return Err(Failure::new(400, "InvalidRequest", message));
    }
    let etag = format!("\"{}\"", object.etag);
    if call.header("if-match").is_some_and(|it| it != etag && it != object.etag && it != "*") {
        let message = "At least one of the pre-conditions you specified did not hold";
        return Err(Failure::new(412, "PreconditionFailed", message).with("Condition", "If-Match"));
    }
    let mut reply = Reply::empty(200)
        .header("accept-ranges", "bytes")
        .header("last-modified", http_date(object.last_modified))
        .header("etag", etag)
        .header("content-type", object.content_type.as_str());
    if object.storage_class != "STANDARD" {
        reply = reply.header("x-amz-storage-class", object.storage_class.as_str());
    }
    reply = with_sse(reply, &object.sse);
    for (name, value) in &object.metadata {
        reply = reply.header(format!("x-amz-meta-{name}"), value.as_str());
    }
    reply = attributes::show(reply, object, call, now, head);
    if !head && object.is_archived(now) {
        return Err(Failure::new(
            403,
            "InvalidObjectState",
            "The operation is not valid for the object's storage class",
        )
        .with("StorageClass", object.storage_class.as_str()));
    }
    if head {
        reply.length = Some(object.size);
        return Ok(reply);
    }
    if object.size > LARGEST_READ {
        return Err(Failure::new(
            501,
            "NotModelled",
            "emr-simulator keeps no content of objects this large",
        ));
    }
    let body =
        object.body.clone().unwrap_or_else(|| vec![0; usize::try_from(object.size).unwrap_or(0)]);
    match Range::of(call.header("range"), body.len()) {
        Range::Whole => reply.body = body,
        Range::Outside => {
            return Err(Failure::new(
                416,
                "InvalidRange",
                "The requested range is not satisfiable",
            ));
        }
        Range::Part(from, to) => {
            reply.status = 206;
            reply = reply.header("content-range", format!("bytes {from}-{to}/{}", body.len()));
            reply.body = body[from..=to].to_vec();
        }
    }
    Ok(reply)
}

/// The part of a body that a request wants.
enum Range {
    Whole,
    /// First and last byte.
    Part(usize, usize),
    Outside,
}

impl Range {
    /// What is no single range of bytes is ignored, as HTTP has it.
    fn of(header: Option<&str>, length: usize) -> Self {
        let Some((from, to)) =
            header.and_then(|it| it.strip_prefix("bytes=")).and_then(|it| it.split_once('-'))
        else {
            return Self::Whole;
        };
        let end = length.saturating_sub(1);
        let (from, to) = match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) => (from, to.min(end)),
            (Ok(from), Err(_)) => (from, end),
            (Err(_), Ok(last)) => (length.saturating_sub(last), end),
            (Err(_), Err(_)) => return Self::Whole,
        };
        if from < length && from <= to { Self::Part(from, to) } else { Self::Outside }
    }
}

fn with_sse(reply: Reply, sse: &Sse) -> Reply {
    match header_of(sse) {
        ("", _) => reply,
        (algorithm, None) => reply.header("x-amz-server-side-encryption", algorithm),
        (algorithm, Some(key)) => reply
            .header("x-amz-server-side-encryption", algorithm)
            .header("x-amz-server-side-encryption-aws-kms-key-id", key),
    }
}

struct Request<'a> {
    call: &'a Call,
    caller: Option<&'a Caller>,
    bucket: String,
    key: String,
}

impl Request<'_> {
    /// The object that is asked for: by its version, or the current one.
    fn object(&self, world: &World) -> Result<Object, Failure> {
        let bucket = world.buckets.get(&self.bucket).ok_or_else(|| no_such_bucket(&self.bucket))?;
        versions::find(bucket, &self.key, self.call.query.get("versionId").map(String::as_str))
    }

    fn body(&self) -> String {
        String::from_utf8_lossy(&self.call.body).into_owned()
    }

    fn put_encryption(&self, world: &mut World) -> Answer {
        let body = self.body();
        let rule = BucketEncryption {
            algorithm: xml::text(&body, "SSEAlgorithm"),
            key: xml::text(&body, "KMSMasterKeyID"),
            bucket_key: Some(xml::text(&body, "BucketKeyEnabled").is_some_and(|it| it == "true")),
            blocked: xml::texts(&body, "EncryptionType"),
        };
        if !body.contains("<Rule") {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            return Err(Failure::new(400, "MalformedXML", message));
        }
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.default_encryption = Some(rule);
        }
        Ok(Reply::empty(200))
    }

    fn put_policy(&self, world: &mut World) -> Answer {
        let document: Value = serde_json::from_slice(&self.call.body).unwrap_or_default();
        if let Some(problem) = policy::unsupported(&document) {
            return Err(Failure::new(400, "MalformedPolicy", problem));
        }
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.policy = Some(document);
        }
        Ok(Reply::empty(204))
    }

    /// The protection the request's own headers ask for.
    fn header_sse(&self) -> Result<Option<Sse>, Failure> {
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

    fn put(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let body = self.call.body.to_vec();
        self.put_conditions(world, &body)?;
        let write = Write {
            bucket: &self.bucket,
            key: &self.key,
            header: self.header_sse()?,
            size: body.len() as u64,
            body: Some(body),
            extents: None,
            attributes: self.header_attributes(world)?,
            parts: None,
            content_type: self.header_type(),
            metadata: self.header_metadata(),
            storage_class: self.call.header("x-amz-storage-class").unwrap_or("STANDARD").to_owned(),
            principal: &caller.arn,
            account: &caller.account,
            written_by: "api".to_owned(),
        };
        let object = s3write::write(world, write).map_err(refused)?;
        let reply =
            with_sse(Reply::empty(200).header("etag", format!("\"{}\"", object.etag)), &object.sse);
        Ok(with_version(reply, &object))
    }

    /// The source of a copy, with what S3 asks of it first.
    fn copy_source(&self, world: &World) -> Result<(String, String, Object), Failure> {
        // Only what is not encoded asks for a version: a key may hold the same words.
        let header = self.call.header("x-amz-copy-source").unwrap_or_default();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (source, version) = match header.rsplit_once("?versionId=") {
            Some((source, version)) => (decoded(source), Some(decoded(version))),
            None => (decoded(header), None),
        };
        let (bucket, key) = source.trim_start_matches('/').split_once('/').ok_or_else(|| {
            Failure::new(400, "InvalidArgument", "Invalid copy source object key")
        })?;
        let from = world.buckets.get(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        admit_source(from, key, self.caller)?;
        let object = versions::find(from, key, version.as_deref())?;
        if object.sse == Sse::Customer
            && self.call.header("x-amz-copy-source-server-side-encryption-customer-key").is_none()
        {
            let message = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.";
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        let expected = self.call.header("x-amz-copy-source-if-match");
        if expected.is_some_and(|it| it.trim_matches('"') != object.etag) {
            return Err(precondition("x-amz-copy-source-If-Match"));
        }
        if object.is_archived(world.now) {
            let message = "Operation is not valid for the source object's storage class";
            return Err(Failure::new(403, "InvalidObjectState", message)
                .with("StorageClass", object.storage_class.as_str()));
        }
        Ok((bucket.to_owned(), key.to_owned(), object))
    }

    /// `If-Match` on what is written: another object came in between.
    fn check_target(&self, world: &World) -> Result<(), Failure> {
        let Some(expected) = self.call.header("if-match") else { return Ok(()) };
        let current =
            world.object(&self.bucket, &self.key).ok_or_else(|| no_such_key(&self.key))?;
        if expected.trim_matches('"') == current.etag {
            Ok(())
        } else {
            Err(precondition("If-Match"))
        }
    }

    /// What a PUT asks for besides being stored, and what Object Lock asks of it.
    fn put_conditions(&self, world: &World, body: &[u8]) -> Result<(), Failure> {
        let bucket = world.buckets.get(&self.bucket).ok_or_else(|| no_such_bucket(&self.bucket))?;
        if self.call.header("if-none-match") == Some("*") && bucket.objects.contains_key(&self.key)
        {
            let message = "At least one of the pre-conditions you specified did not hold";
            return Err(
                Failure::new(412, "PreconditionFailed", message).with("Condition", "If-None-Match")
            );
        }
        let digest = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body));
        if self.call.header("x-amz-checksum-sha256").is_some_and(|given| given != digest) {
            return Err(Failure::new(
                400,
                "BadDigest",
                "The SHA256 you specified did not match the calculated checksum.",
            ));
        }
        let checked = |name: &str| {
            name == "content-md5" || name.starts_with("x-amz-checksum-") || name == "x-amz-trailer"
        };
        if bucket.object_lock_days.is_some()
            && !self.call.headers.keys().any(|name| checked(name.as_str()))
        {
            let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters";
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        Ok(())
    }

    fn copy(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let (bucket, key, object) = self.copy_source(world)?;
        if object.size > LARGEST_COPY {
            let message = format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_COPY}"
            );
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        self.check_target(world)?;
        let replaces = self.call.header("x-amz-metadata-directive") == Some("REPLACE");
        let changes = replaces
            || self.header_sse()?.is_some()
            || ["x-amz-storage-class", "x-amz-website-redirect-location"]
                .iter()
                .any(|name| self.call.headers.contains_key(*name));
        if bucket == self.bucket && key == self.key && !changes {
            let message = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        let write = Write {
            bucket: &self.bucket,
            key: &self.key,
            header: self.header_sse()?,
            size: object.size,
            body: object.body.clone(),
            extents: Some(object.extents.clone()),
            attributes: attributes::of_copy(
                self.header_attributes(world)?,
                &object,
                replaces,
                self.call,
            ),
            parts: None,
            content_type: if replaces { self.header_type() } else { object.content_type.clone() },
            metadata: if replaces { self.header_metadata() } else { object.metadata.clone() },
            storage_class: self.call.header("x-amz-storage-class").unwrap_or("STANDARD").to_owned(),
            principal: &caller.arn,
            account: &caller.account,
            written_by: "api".to_owned(),
        };
        let copied = s3write::write(world, write).map_err(refused)?;
        let mut xml = Xml::new();
        xml.root("CopyObjectResult", NAMESPACE, |xml| {
            xml.text("LastModified", iso(copied.last_modified))
                .text("ETag", format!("\"{}\"", copied.etag));
        });
        Ok(with_version(with_sse(Reply::xml(xml), &copied.sse), &copied))
    }

    fn delete(&self, world: &mut World) -> Answer {
        let now = world.now;
        let Some(version) = self.call.query.get("versionId") else {
            let marker = world.delete_object(&self.bucket, &self.key);
            let reply = Reply::empty(204);
            return Ok(match marker {
                Some(version) => {
                    reply.header("x-amz-delete-marker", "true").header("x-amz-version-id", version)
                }
                None => reply,
            });
        };
        let bypass = self.call.header("x-amz-bypass-governance-retention") == Some("true");
        let bucket =
            world.buckets.get_mut(&self.bucket).ok_or_else(|| no_such_bucket(&self.bucket))?;
        if let Some(Older::Object(object)) = bucket.version(&self.key, version)
            && object.is_locked(now, bypass)
        {
            return Err(Failure::new(
                403,
                "AccessDenied",
                "Access Denied because object protected by object lock.",
            ));
        }
        bucket.remove_version(&self.key, version);
        Ok(Reply::empty(204).header("x-amz-version-id", version.as_str()))
    }
}

fn refused((status, code, message): s3write::Refusal) -> Failure {
    Failure::new(status, code, message)
}

fn no_such_key(key: &str) -> Failure {
    Failure::new(404, "NoSuchKey", "The specified key does not exist.").with("Key", key)
}

fn precondition(condition: &str) -> Failure {
    Failure::new(
        412,
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
    )
    .with("Condition", condition)
}

fn with_version(reply: Reply, object: &Object) -> Reply {
    match &object.version {
        Some(version) => reply.header("x-amz-version-id", version.as_str()),
        None => reply,
    }
}

/// May the caller read the source of a copy?
fn admit_source(bucket: &Bucket, key: &str, caller: Option<&Caller>) -> Result<(), Failure> {
    let caller = caller.ok_or_else(denied)?;
    let context = policy::base_context(&caller.arn, &caller.account);
    let ask = Ask {
        action: "s3:GetObject",
        resource: &format!("arn:aws:s3:::{}/{key}", bucket.name),
        context: &context,
    };
    let opinion = bucket.policy.as_ref().map_or(Decision::ImplicitDeny, |document| {
        policy::evaluate_resource(document, &ask, &caller.arn, &caller.account)
    });
    let open = bucket.public || bucket.account == caller.account || opinion == Decision::Allowed;
    if opinion == Decision::ExplicitDeny || !open { Err(denied()) } else { Ok(()) }
}

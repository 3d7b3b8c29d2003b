//! Owns reading, writing, copying and deleting objects.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;

use super::admission::admit_source;
use super::request::{
    LARGEST_COPY, NAMESPACE, Request, conflict, denied, no_such_bucket, no_such_key, precondition,
    refused, with_bucket_key, with_shown_version, with_source_version, with_sse, with_version,
};
use super::{attributes, versions};
use crate::call::Call;
use crate::http_date::http_date;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso;
use emr_world::object::{Object, Older};
use emr_world::s3write::{self, Write};
use emr_world::sse::Sse;
use emr_world::world::World;

/// Objects of which only the size is known read as zeros, up to this size.
const LARGEST_READ: u64 = 64 * 1024 * 1024;

/// HEAD or GET of an object, ranges included.
pub(super) fn read(object: &Object, call: &Call, now: OffsetDateTime, head: bool) -> Answer {
    if object.sse == Sse::Customer
        && call.header("x-amz-server-side-encryption-customer-key").is_none()
    {
        let message = "The object was stored using a form of Server Side Encryption. The correct \
            parameters must be provided to retrieve the object.";
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
    /// A header that is not a single byte range is ignored, as in HTTP.
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

impl Request<'_> {
    /// The requested object: by its version, or the current one.
    pub(super) fn object(&self, world: &World) -> Result<Object, Failure> {
        let bucket = world.buckets.get(&self.bucket).ok_or_else(|| no_such_bucket(&self.bucket))?;
        versions::find(bucket, &self.key, self.call.query.get("versionId").map(String::as_str))
    }

    pub(super) fn put(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let body = self.call.body.to_vec();
        self.put_conditions(world, &body)?;
        self.check_target(world, None)?;
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
        // The checksum that came with it, which S3 has compared.
        let reply = match self.call.header("x-amz-checksum-sha256") {
            Some(checksum) => reply
                .header("x-amz-checksum-sha256", checksum)
                .header("x-amz-checksum-type", "FULL_OBJECT"),
            None => reply,
        };
        Ok(with_version(with_bucket_key(reply, &object), &object))
    }

    /// The source of a copy, after S3's checks of it.
    pub(super) fn copy_source(&self, world: &World) -> Result<(String, String, Object), Failure> {
        // Only an unencoded part is a version: a key may contain the same words.
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
            let message = "The object was stored using a form of Server Side Encryption. The \
                correct parameters must be provided to retrieve the object.";
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

    /// `If-Match` on a write: another object was written meanwhile. A delete marker on top is not
    /// an object. `begun`: the creation time of the upload that is to be completed; a later write
    /// conflicts with it, whatever its `ETag`. Source: Amazon S3 user guide, How to prevent object
    /// overwrites with conditional writes; the conflict is recorded from AWS in LocalStack's
    /// `test_multipart_if_match_with_put_identical`.
    pub(super) fn check_target(
        &self,
        world: &World,
        begun: Option<OffsetDateTime>,
    ) -> Result<(), Failure> {
        let Some(expected) = self.call.header("if-match") else { return Ok(()) };
        let current =
            world.object(&self.bucket, &self.key).ok_or_else(|| no_such_key(&self.key))?;
        if expected.trim_matches('"') != current.etag {
            return Err(precondition("If-Match"));
        }
        if begun.is_some_and(|begun| begun < current.last_modified) {
            return Err(conflict(&self.key));
        }
        Ok(())
    }

    /// `If-Match` on a delete: only the current version counts, even where another is to be
    /// deleted. Source: Amazon S3 user guide, How to perform conditional deletes.
    fn check_deleted(&self, world: &World) -> Result<(), Failure> {
        let Some(expected) = self.call.header("if-match") else { return Ok(()) };
        match world.object(&self.bucket, &self.key) {
            Some(_) if expected == "*" => Ok(()),
            Some(current) if expected.trim_matches('"') == current.etag => Ok(()),
            Some(_) => Err(precondition("If-Match")),
            // After a delete marker there are versions, but no object.
            None if world
                .buckets
                .get(&self.bucket)
                .is_some_and(|bucket| bucket.older.contains_key(&self.key)) =>
            {
                Err(precondition("If-Match"))
            }
            None => Err(no_such_key(&self.key)),
        }
    }

    /// Adds the id of the version that a copy has created.
    pub(super) fn with_made_version(&self, world: &World, reply: Reply, made: &Object) -> Answer {
        let bucket = world.buckets.get(&self.bucket).ok_or_else(|| no_such_bucket(&self.bucket))?;
        Ok(with_shown_version(reply, bucket, made))
    }

    /// The conditions of a PUT, and those of Object Lock.
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
        if bucket.default_retention.is_some()
            && !self.call.headers.keys().any(|name| checked(name.as_str()))
        {
            let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object \
                requests with Object Lock parameters";
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        Ok(())
    }

    pub(super) fn copy(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let (bucket, key, object) = self.copy_source(world)?;
        if object.size > LARGEST_COPY {
            let message = format!(
                "The specified copy source is larger than the maximum allowable size for a copy \
                 source: {LARGEST_COPY}"
            );
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        self.check_target(world, None)?;
        let replaces = self.call.header("x-amz-metadata-directive") == Some("REPLACE");
        let changes = replaces
            || self.header_sse()?.is_some()
            || ["x-amz-storage-class", "x-amz-website-redirect-location"]
                .iter()
                .any(|name| self.call.headers.contains_key(*name));
        if bucket == self.bucket && key == self.key && !changes {
            let message = "This copy request is illegal because it is trying to copy an object to \
                itself without changing the object's metadata, storage class, website redirect \
                location or encryption attributes.";
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
            if let Some(checksum) = &copied.attributes.checksum {
                xml.text("ChecksumType", &checksum.kind)
                    .text(&format!("Checksum{}", checksum.algorithm), &checksum.value);
            }
        });
        let reply = with_source_version(with_bucket_key(Reply::xml(xml), &copied), &object);
        self.with_made_version(world, with_sse(reply, &copied.sse), &copied)
    }

    pub(super) fn delete(&self, world: &mut World) -> Answer {
        self.check_deleted(world)?;
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
        let removed = bucket.version(&self.key, version);
        if let Some(Older::Object(object)) = &removed
            && object.is_locked(now, bypass)
        {
            return Err(Failure::new(
                403,
                "AccessDenied",
                "Access Denied because object protected by object lock.",
            ));
        }
        bucket.remove_version(&self.key, version);
        let reply = Reply::empty(204).header("x-amz-version-id", version.as_str());
        Ok(if matches!(removed, Some(Older::DeleteMarker { .. })) {
            reply.header("x-amz-delete-marker", "true")
        } else {
            reply
        })
    }
}

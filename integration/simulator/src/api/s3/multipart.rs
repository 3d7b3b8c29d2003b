//! Owns multipart uploads with copied parts.

use md5::{Digest, Md5};

use super::request::{
    LARGEST_COPY, NAMESPACE, Request, denied, refused, with_bucket_key, with_source_version,
    with_sse,
};
use super::uploads::initiated_by;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::{self, Xml};
use emr_world::clock::iso;
use emr_world::object::{self, Checksum, Object, Upload};
use emr_world::s3write;
use emr_world::values::hex;
use emr_world::world::World;

/// The minimum size of every part except the last.
const SMALLEST_PART: u64 = 5 * 1024 * 1024;

/// The algorithms with a checksum of the whole for multipart objects.
const FULL_OBJECT: [&str; 3] = ["CRC32", "CRC32C", "CRC64NVME"];

fn no_such_upload(id: &str) -> Failure {
    let message = "The specified upload does not exist. The upload ID may be invalid, or the \
        upload may have been aborted or completed.";
    Failure::new(404, "NoSuchUpload", message).with("UploadId", id)
}

fn invalid_part(upload: &Upload, number: u32) -> Failure {
    let message = "One or more of the specified parts could not be found.  The part may not have \
        been uploaded, or the specified entity tag may not match the part's entity tag.";
    Failure::new(400, "InvalidPart", message)
        .with("UploadId", upload.id.as_str())
        .with("PartNumber", number.to_string())
}

/// Checks a part's checksum in the request: a COMPOSITE one is computed from the parts' checksums,
/// so the request must contain all of them, and correctly. The errors are recorded from AWS in
/// LocalStack's `test_complete_multipart_parts_checksum_composite` and
/// `…_checksum_exceptions_composite`. Source: Amazon S3 API reference, CompletedPart.
fn check_named_checksum(
    upload: &Upload,
    number: u32,
    part: &Object,
    named: &str,
) -> Result<(), Failure> {
    let Some(checksum) = &part.attributes.checksum else { return Ok(()) };
    let given = |algorithm: &str| xml::text(named, &format!("Checksum{algorithm}"));
    match given(&checksum.algorithm) {
        Some(value) if value == checksum.value => Ok(()),
        Some(_) => Err(invalid_part(upload, number)),
        None if checksum.kind != "COMPOSITE" => Ok(()),
        None => {
            let algorithms = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
            if let Some(other) = algorithms.into_iter().find(|it| given(it).is_some()) {
                let message = format!(
                    "The {} you specified for part {number} did not match what we received.",
                    other.to_lowercase()
                );
                return Err(Failure::new(400, "BadDigest", message));
            }
            let message = format!(
                "The upload was created using a {} checksum. The complete request must include \
                 the checksum for each part. It was missing for part {number} in the request.",
                checksum.algorithm.to_lowercase()
            );
            Err(Failure::new(400, "InvalidRequest", message))
        }
    }
}

fn show_checksum(xml: &mut Xml, part: &Object) {
    if let Some(checksum) = &part.attributes.checksum {
        xml.text(&format!("Checksum{}", checksum.algorithm), &checksum.value);
    }
}

impl Request<'_> {
    pub(super) fn create_upload(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let wish = self.header_sse()?;
        let sse = s3write::permit(
            world,
            (&self.bucket, &self.key),
            wish.clone(),
            (&caller.arn, &caller.account),
        )
        .map_err(refused)?;
        let mut attributes = self.header_attributes(world)?;
        let kind = self.call.header("x-amz-checksum-type");
        // S3's own checksum, if none is requested.
        let algorithm =
            attributes.checksum.map_or_else(|| "CRC64NVME".to_owned(), |it| it.algorithm);
        let kind = kind
            .unwrap_or(if algorithm == "CRC64NVME" { "FULL_OBJECT" } else { "COMPOSITE" })
            .to_owned();
        if kind == "FULL_OBJECT" && !FULL_OBJECT.contains(&algorithm.as_str()) {
            let message = format!(
                "The FULL_OBJECT checksum type cannot be used with the {} checksum algorithm.",
                algorithm.to_lowercase()
            );
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        let checksum = Checksum { algorithm, kind, value: String::new() };
        attributes.checksum = Some(checksum.clone());
        let id = format!("upload-{:032x}", world.random.u128(..));
        let object = Object {
            size: 0,
            etag: String::new(),
            sse: sse.clone(),
            last_modified: world.now,
            storage_class: self.call.header("x-amz-storage-class").unwrap_or("STANDARD").to_owned(),
            content_type: self.header_type(),
            metadata: self.header_metadata(),
            written_by: "api".to_owned(),
            body: None,
            extents: Vec::new(),
            version: None,
            owner: caller.account.clone(),
            attributes,
            restore: None,
        };
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let protected = object.clone();
        world.uploads.push(Upload {
            id: id.clone(),
            bucket,
            key,
            initiator: caller.arn.clone(),
            object,
            wish,
            parts: std::collections::BTreeMap::new(),
        });
        let mut xml = Xml::new();
        xml.root("InitiateMultipartUploadResult", NAMESPACE, |xml| {
            xml.text("Bucket", &self.bucket).text("Key", &self.key).text("UploadId", &id);
        });
        let reply = Reply::xml(xml)
            .header("x-amz-checksum-algorithm", checksum.algorithm.as_str())
            .header("x-amz-checksum-type", checksum.kind.as_str());
        Ok(with_sse(with_bucket_key(reply, &protected), &sse))
    }

    fn upload(&self, world: &World) -> Result<usize, Failure> {
        let id = self.call.query.get("uploadId").map(String::as_str).unwrap_or_default();
        let found = world
            .uploads
            .iter()
            .position(|it| it.id == id && it.bucket == self.bucket && it.key == self.key);
        found.ok_or_else(|| no_such_upload(id))
    }

    pub(super) fn copy_part(&self, world: &mut World) -> Answer {
        let index = self.upload(world)?;
        let (_, _, source) = self.copy_source(world)?;
        let (from, to) = match self.call.header("x-amz-copy-source-range") {
            None => (0, source.size),
            Some(range) => {
                let ends = range.strip_prefix("bytes=").and_then(|it| it.split_once('-'));
                let ends = ends.and_then(|(from, to)| {
                    Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()? + 1))
                });
                let message = "The x-amz-copy-source-range value must be of the form \
                    bytes=first-last where first and last are the zero-based offsets of the first \
                    and last bytes to copy";
                ends.filter(|(from, to)| from < to && *to <= source.size)
                    .ok_or_else(|| Failure::new(400, "InvalidArgument", message))?
            }
        };
        if to - from > LARGEST_COPY {
            let message = format!(
                "The specified copy source is larger than the maximum allowable size for a copy \
                 source: {LARGEST_COPY}"
            );
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        let number = self
            .call
            .query
            .get("partNumber")
            .and_then(|it| it.parse::<u32>().ok())
            .filter(|it| (1..=10_000).contains(it));
        let number = number.ok_or_else(|| {
            Failure::new(
                400,
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })?;
        let (body, extents) = source.part(from, to);
        let sse = world.uploads[index].object.sse.clone();
        let mut part = Object {
            size: to - from,
            etag: object::etag(body.as_deref(), &extents, &sse, None),
            last_modified: world.now,
            body,
            extents,
            ..world.uploads[index].object.clone()
        };
        // S3 computes each part's checksum itself, with the upload's algorithm, and returns it
        // (recorded from AWS in LocalStack's `test_multipart_upload_part_copy_checksum`).
        if let Some(checksum) = &mut part.attributes.checksum {
            checksum.value =
                object::checksum(&checksum.algorithm, part.body.as_deref(), &part.extents);
        }
        let mut xml = Xml::new();
        xml.root("CopyPartResult", NAMESPACE, |xml| {
            xml.text("LastModified", iso(part.last_modified))
                .text("ETag", format!("\"{}\"", part.etag));
            show_checksum(xml, &part);
        });
        world.uploads[index].parts.insert(number, part);
        Ok(with_source_version(with_sse(Reply::xml(xml), &sse), &source))
    }

    pub(super) fn list_parts(&self, world: &World) -> Answer {
        let upload = &world.uploads[self.upload(world)?];
        let after = self
            .call
            .query
            .get("part-number-marker")
            .and_then(|it| it.parse::<u32>().ok())
            .unwrap_or(0);
        let page: Vec<_> = upload.parts.range(after + 1..).take(1000).collect();
        let truncated = upload.parts.range(after + 1..).count() > page.len();
        let mut xml = Xml::new();
        xml.root("ListPartsResult", NAMESPACE, |xml| {
            xml.text("Bucket", &upload.bucket)
                .text("Key", &upload.key)
                .text("UploadId", &upload.id);
            initiated_by(xml, upload);
            if let Some(checksum) = &upload.object.attributes.checksum {
                xml.text("ChecksumAlgorithm", &checksum.algorithm)
                    .text("ChecksumType", &checksum.kind);
            }
            let next = page.last().map_or(0, |(number, _)| **number);
            xml.text("StorageClass", &upload.object.storage_class)
                .text("PartNumberMarker", after.to_string())
                .text("NextPartNumberMarker", next.to_string())
                .text("MaxParts", "1000")
                .text("IsTruncated", truncated.to_string());
            for (number, part) in page {
                xml.element("Part", |xml| {
                    xml.text("PartNumber", number.to_string())
                        .text("LastModified", iso(part.last_modified))
                        .text("ETag", format!("\"{}\"", part.etag))
                        .text("Size", part.size.to_string());
                    show_checksum(xml, part);
                });
            }
        });
        Ok(Reply::xml(xml))
    }

    /// The uploaded parts that the request names.
    fn named_parts<'a>(&self, upload: &'a Upload) -> Result<Vec<&'a Object>, Failure> {
        let body = self.body();
        let named = xml::texts(&body, "Part");
        let numbers: Vec<u32> = named
            .iter()
            .filter_map(|it| xml::text(it, "PartNumber").and_then(|it| it.parse().ok()))
            .collect();
        if numbers.is_empty() || numbers.len() != named.len() {
            let message = "The XML you provided was not well-formed or did not validate against \
                our published schema";
            return Err(Failure::new(400, "MalformedXML", message));
        }
        if !numbers.is_sorted_by(|a, b| a < b) {
            return Err(Failure::new(
                400,
                "InvalidPartOrder",
                "The list of parts was not in ascending order.",
            ));
        }
        let mut parts = Vec::new();
        for (number, named) in numbers.into_iter().zip(&named) {
            let etag = xml::text(named, "ETag").unwrap_or_default();
            let part = upload
                .parts
                .get(&number)
                .filter(|part| part.etag == etag.trim_matches('"'))
                .ok_or_else(|| invalid_part(upload, number))?;
            check_named_checksum(upload, number, part, named)?;
            parts.push(part);
        }
        if parts[..parts.len() - 1].iter().any(|part| part.size < SMALLEST_PART) {
            return Err(Failure::new(
                400,
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
            ));
        }
        Ok(parts)
    }

    /// The checksum of the whole from its parts, and the one in the request.
    fn joined_checksum(&self, whole: &Object, parts: &[&Object]) -> Result<String, Failure> {
        let Some(checksum) = &whole.attributes.checksum else { return Ok(String::new()) };
        let Checksum { algorithm, kind, .. } = checksum;
        if self.call.header("x-amz-checksum-type").is_some_and(|wanted| wanted != kind) {
            let message = format!(
                "The upload was created using the {kind} checksum mode. The complete request must \
                 use the same checksum mode."
            );
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        let value = if kind == "COMPOSITE" {
            let sums: Vec<String> = parts
                .iter()
                .filter_map(|part| part.attributes.checksum.as_ref())
                .map(|checksum| checksum.value.clone())
                .collect();
            object::composite_checksum(algorithm, &sums)
        } else {
            object::checksum(algorithm, whole.body.as_deref(), &whole.extents)
        };
        let name = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        if self.call.header(&name).is_some_and(|wanted| wanted != value) {
            let message =
                format!("The {algorithm} you specified did not match the calculated checksum.");
            return Err(Failure::new(400, "BadDigest", message));
        }
        Ok(value)
    }

    pub(super) fn complete_upload(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let index = self.upload(world)?;
        self.check_target(world, Some(world.uploads[index].object.last_modified))?;
        let upload = world.uploads[index].clone();
        let parts = self.named_parts(&upload)?;
        let (content, extents) = object::join(parts.iter().copied());
        let together = parts.iter().fold(String::new(), |all, part| all + &part.etag);
        let mut whole = Object {
            size: parts.iter().map(|part| part.size).sum(),
            etag: format!("{}-{}", hex(&Md5::digest(together)), parts.len()),
            last_modified: world.now,
            extents: if content.is_some() { Vec::new() } else { extents },
            body: content,
            ..upload.object.clone()
        };
        let value = self.joined_checksum(&whole, &parts)?;
        if let Some(checksum) = &mut whole.attributes.checksum {
            checksum.value = value;
        }
        // Permissions may have changed since it was created.
        let writer = (caller.arn.as_str(), caller.account.as_str());
        whole.sse = s3write::permit(world, (&self.bucket, &self.key), upload.wish, writer)
            .map_err(refused)?;
        world.uploads.remove(index);
        let stored = world.store_object(&self.bucket, &self.key, whole);
        let mut xml = Xml::new();
        xml.root("CompleteMultipartUploadResult", NAMESPACE, |xml| {
            let region = world.buckets.get(&self.bucket).map_or("", |it| it.region.as_str());
            let host = format!("https://{}.s3.{region}.amazonaws.com", self.bucket);
            xml.text("Location", format!("{host}/{}", self.key))
                .text("Bucket", &self.bucket)
                .text("Key", &self.key)
                .text("ETag", format!("\"{}\"", stored.etag));
            show_checksum(xml, &stored);
            xml.optional(
                "ChecksumType",
                stored.attributes.checksum.as_ref().map(|checksum| checksum.kind.as_str()),
            );
        });
        self.with_made_version(world, with_sse(Reply::xml(xml), &stored.sse), &stored)
    }

    pub(super) fn abort_upload(&self, world: &mut World) -> Answer {
        let index = self.upload(world)?;
        world.uploads.remove(index);
        Ok(Reply::empty(204))
    }
}

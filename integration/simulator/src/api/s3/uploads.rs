//! Owns the list of multipart uploads in progress.

use percent_encoding::utf8_percent_encode;

use super::request::{LISTED, NAMESPACE};
use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso;
use emr_world::ids::canonical_id;
use emr_world::object::Upload;
use emr_world::world::World;

/// The uploads of a bucket by key and creation time. Source: Amazon S3 API reference,
/// ListMultipartUploads; common prefixes are not modelled.
pub(super) fn list(world: &World, call: &Call, bucket: &str) -> Answer {
    let parameter =
        |name: &str| call.query.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let prefix = parameter("prefix").unwrap_or_default();
    if parameter("delimiter").is_some() {
        let message = "emr-simulator lists no common prefixes of uploads";
        return Err(Failure::new(501, "NotModelled", message));
    }
    let largest = parameter("max-uploads").map_or(Ok(1000), str::parse::<usize>).map_err(|_| {
        let message = "Provided max-uploads not an integer or within integer range";
        Failure::new(400, "InvalidArgument", message)
    })?;
    let largest = largest.min(1000);
    let (key_marker, id_marker) = (parameter("key-marker"), parameter("upload-id-marker"));
    let mut all: Vec<&Upload> = world
        .uploads
        .iter()
        .filter(|it| it.bucket == bucket && it.key.starts_with(prefix))
        .collect();
    all.sort_by(|a, b| (&a.key, a.object.last_modified).cmp(&(&b.key, b.object.last_modified)));
    // The marker may no longer exist; uploads created later come after it all the same.
    let reached = id_marker
        .and_then(|id| all.iter().find(|it| it.id == id))
        .map(|it| it.object.last_modified);
    let behind = |upload: &&Upload| match key_marker {
        None => true,
        Some(key) if upload.key == key && id_marker.is_some() => {
            Some(upload.id.as_str()) != id_marker
                && reached.is_none_or(|reached| upload.object.last_modified >= reached)
        }
        Some(key) => upload.key.as_str() > key,
    };
    let all: Vec<&Upload> = all.into_iter().filter(behind).collect();
    let page = &all[..largest.min(all.len())];
    let encode = |text: &str| match parameter("encoding-type") {
        Some("url") => utf8_percent_encode(text, LISTED).to_string(),
        _ => text.to_owned(),
    };
    let mut xml = Xml::new();
    xml.root("ListMultipartUploadsResult", NAMESPACE, |xml| {
        xml.text("Bucket", bucket)
            .text("Prefix", encode(prefix))
            .text("KeyMarker", encode(key_marker.unwrap_or_default()))
            .text("UploadIdMarker", id_marker.unwrap_or_default())
            .text("NextKeyMarker", page.last().map_or_else(String::new, |it| encode(&it.key)))
            .text("NextUploadIdMarker", page.last().map_or("", |it| it.id.as_str()))
            .optional("EncodingType", parameter("encoding-type"))
            .text("MaxUploads", largest.to_string())
            .text("IsTruncated", (page.len() < all.len()).to_string());
        for upload in page {
            xml.element("Upload", |xml| {
                xml.text("Key", encode(&upload.key)).text("UploadId", &upload.id);
                initiated_by(xml, upload);
                xml.text("StorageClass", &upload.object.storage_class)
                    .text("Initiated", iso(upload.object.last_modified));
                if let Some(checksum) = &upload.object.attributes.checksum {
                    xml.text("ChecksumAlgorithm", &checksum.algorithm)
                        .text("ChecksumType", &checksum.kind);
                }
            });
        }
    });
    Ok(Reply::xml(xml))
}

/// The initiator of an upload, by ARN and name, and the owner of its future object. Source: Amazon
/// S3 API reference, Initiator: "If the principal is an IAM User, it provides a user ARN value".
pub(super) fn initiated_by(xml: &mut Xml, upload: &Upload) {
    xml.element("Initiator", |xml| {
        let name = upload.initiator.rsplit('/').next().unwrap_or_default();
        xml.text("ID", &upload.initiator).text("DisplayName", name);
    });
    xml.element("Owner", |xml| {
        xml.text("ID", canonical_id(&upload.object.owner));
    });
}

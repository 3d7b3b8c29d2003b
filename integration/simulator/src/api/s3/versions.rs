//! Owns versions: finding one, and listing them.

use std::collections::BTreeSet;

use percent_encoding::utf8_percent_encode;

use super::buckets::list_checksum;
use super::request::{LISTED, NAMESPACE, no_such_key};
use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso;
use emr_world::ids::canonical_id;
use emr_world::object::{Object, Older};
use emr_world::world::Bucket;

/// A version of a key, or its current object.
pub(super) fn find(bucket: &Bucket, key: &str, version: Option<&str>) -> Result<Object, Failure> {
    let Some(version) = version else {
        return bucket.objects.get(key).cloned().ok_or_else(|| {
            let failure = no_such_key(key);
            if bucket.older.contains_key(key) {
                failure.header("x-amz-delete-marker", "true")
            } else {
                failure
            }
        });
    };
    match bucket.version(key, version) {
        Some(Older::Object(object)) => Ok(*object),
        Some(Older::DeleteMarker { .. }) => {
            let message = "The specified method is not allowed against this resource.";
            Err(Failure::new(405, "MethodNotAllowed", message)
                .header("x-amz-delete-marker", "true"))
        }
        None => Err(Failure::new(404, "NoSuchVersion", "The specified version does not exist.")
            .with("Key", key)
            .with("VersionId", version)),
    }
}

/// One line of the list.
enum Line {
    Version { key: String, version: Older, latest: bool },
    Folder(String),
}

pub(super) fn list(bucket: &Bucket, call: &Call) -> Answer {
    let parameter =
        |name: &str| call.query.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let prefix = parameter("prefix").unwrap_or_default();
    let delimiter = parameter("delimiter");
    let largest = parameter("max-keys").map_or(Ok(1000), str::parse::<usize>);
    let largest = largest
        .map_err(|_| {
            Failure::new(
                400,
                "InvalidArgument",
                "Provided max-keys not an integer or within integer range",
            )
        })?
        .min(1000);
    let (key_marker, version_marker) =
        (parameter("key-marker").unwrap_or_default(), parameter("version-id-marker"));
    if version_marker.is_some() && key_marker.is_empty() {
        return Err(Failure::new(
            400,
            "InvalidArgument",
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let keys: BTreeSet<&String> = bucket
        .objects
        .keys()
        .chain(bucket.older.keys())
        .filter(|key| key.starts_with(prefix))
        .collect();
    let mut lines = Vec::new();
    let mut next = None;
    let mut folders = BTreeSet::new();
    'keys: for key in keys {
        if key.as_str() < key_marker || (key == key_marker && version_marker.is_none()) {
            continue;
        }
        let rest = &key[prefix.len()..];
        if let Some(folder) = delimiter
            .and_then(|it| rest.split_once(it).map(|(head, _)| format!("{prefix}{head}{it}")))
        {
            if folder == key_marker || folders.contains(&folder) {
                continue;
            }
            if lines.len() == largest {
                next = lines.last().map(marker);
                break;
            }
            folders.insert(folder.clone());
            lines.push(Line::Folder(folder));
            continue;
        }
        let mut skipping = key == key_marker;
        for (number, version) in bucket.versions(key).enumerate() {
            if skipping {
                skipping =
                    version.version().unwrap_or("null") != version_marker.unwrap_or_default();
                continue;
            }
            if lines.len() == largest {
                next = lines.last().map(marker);
                break 'keys;
            }
            lines.push(Line::Version { key: key.clone(), version, latest: number == 0 });
        }
    }
    Ok(Reply::xml(document(bucket, call, largest, next, &lines)))
}

fn write_owner(xml: &mut Xml, account: &str) {
    xml.element("Owner", |xml| {
        xml.text("ID", canonical_id(account));
    });
}

/// The marker of the next page.
fn marker(line: &Line) -> (String, Option<String>) {
    match line {
        Line::Version { key, version, .. } => {
            (key.clone(), Some(version.version().unwrap_or("null").to_owned()))
        }
        Line::Folder(folder) => (folder.clone(), None),
    }
}

fn document(
    bucket: &Bucket,
    call: &Call,
    largest: usize,
    next: Option<(String, Option<String>)>,
    lines: &[Line],
) -> Xml {
    let parameter =
        |name: &str| call.query.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let encode = |text: &str| match parameter("encoding-type") {
        Some("url") => utf8_percent_encode(text, LISTED).to_string(),
        _ => text.to_owned(),
    };
    let (next_key, next_version) = next.map_or((None, None), |(key, version)| (Some(key), version));
    let mut xml = Xml::new();
    xml.root("ListVersionsResult", NAMESPACE, |xml| {
        xml.text("Name", &bucket.name)
            .text("Prefix", encode(parameter("prefix").unwrap_or_default()))
            .text("KeyMarker", encode(parameter("key-marker").unwrap_or_default()))
            .text("VersionIdMarker", parameter("version-id-marker").unwrap_or_default())
            .text("MaxKeys", largest.to_string())
            .optional("Delimiter", parameter("delimiter").map(encode))
            .optional("EncodingType", parameter("encoding-type"))
            .text("IsTruncated", next_key.is_some().to_string())
            .optional("NextKeyMarker", next_key.as_deref().map(encode))
            .optional("NextVersionIdMarker", next_version);
        for line in lines {
            match line {
                Line::Version { key, version, latest } => {
                    let id = version.version().unwrap_or("null").to_owned();
                    let element = if matches!(version, Older::Object(_)) {
                        "Version"
                    } else {
                        "DeleteMarker"
                    };
                    xml.element(element, |xml| {
                        xml.text("Key", encode(key))
                            .text("VersionId", id)
                            .text("IsLatest", latest.to_string());
                        match version {
                            Older::Object(object) => {
                                xml.text("LastModified", iso(object.last_modified))
                                    .text("ETag", format!("\"{}\"", object.etag));
                                list_checksum(xml, object);
                                xml.text("Size", object.size.to_string())
                                    .text("StorageClass", &object.storage_class);
                                write_owner(xml, &object.owner);
                            }
                            Older::DeleteMarker { last_modified, .. } => {
                                xml.text("LastModified", iso(*last_modified));
                                write_owner(xml, &bucket.account);
                            }
                        }
                    });
                }
                Line::Folder(folder) => {
                    xml.element("CommonPrefixes", |xml| {
                        xml.text("Prefix", encode(folder));
                    });
                }
            }
        }
    });
    xml
}

//! Owns the requests about buckets, and the list of their objects.

use std::collections::BTreeSet;
use std::ops::Bound;

use percent_encoding::utf8_percent_encode;

use super::request::{LISTED, NAMESPACE};
use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso;
use emr_world::object::Object;
use emr_world::sse::BucketEncryption;
use emr_world::values::hex;
use emr_world::world::Bucket;

pub(super) fn location_xml(bucket: &Bucket) -> Reply {
    let mut xml = Xml::new();
    xml.root("LocationConstraint", NAMESPACE, |_| ());
    let mut text = xml.finish();
    if bucket.region != "us-east-1" {
        text = text.replace("</Loc", &format!("{}</Loc", bucket.region));
    }
    Reply { body: text.into_bytes(), ..Reply::empty(200).header("content-type", "application/xml") }
}

pub(super) fn encryption_xml(bucket: &Bucket) -> Reply {
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

pub(super) fn website(bucket: &Bucket) -> Answer {
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

pub(super) fn versioning_xml(bucket: &Bucket) -> Reply {
    let mut xml = Xml::new();
    xml.root("VersioningConfiguration", NAMESPACE, |xml| {
        xml.optional("Status", bucket.versioning.as_deref());
        if bucket.configurations.mfa_delete {
            xml.text("MfaDelete", "Enabled");
        }
    });
    Reply::xml(xml)
}

/// A bucket without notifications answers with an empty document.
pub(super) fn notification(bucket: &Bucket) -> Reply {
    let document = bucket.configurations.notification.as_deref().unwrap_or_default();
    stored("NotificationConfiguration", document)
}

pub(super) fn replication(bucket: &Bucket) -> Answer {
    let document = bucket.configurations.replication.as_deref().ok_or_else(|| {
        Failure::new(
            404,
            "ReplicationConfigurationNotFoundError",
            "The replication configuration was not found",
        )
        .with("BucketName", bucket.name.as_str())
    })?;
    Ok(stored("ReplicationConfiguration", document))
}

pub(super) fn lifecycle(bucket: &Bucket) -> Answer {
    let document = bucket.configurations.lifecycle.as_deref().ok_or_else(|| {
        Failure::new(
            404,
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist",
        )
        .with("BucketName", bucket.name.as_str())
    })?;
    Ok(stored("LifecycleConfiguration", document))
}

fn stored(root: &str, document: &str) -> Reply {
    let mut xml = Xml::new();
    xml.root(root, NAMESPACE, |xml| {
        xml.raw(document);
    });
    Reply::xml(xml)
}

pub(super) fn request_payment(bucket: &Bucket) -> Reply {
    let payer = if bucket.configurations.requester_pays { "Requester" } else { "BucketOwner" };
    let mut xml = Xml::new();
    xml.root("RequestPaymentConfiguration", NAMESPACE, |xml| {
        xml.text("Payer", payer);
    });
    Reply::xml(xml)
}

pub(super) fn list(bucket: &Bucket, call: &Call) -> Answer {
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
        // A token may represent a whole folder, all of which comes before the following keys.
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
                    .text("ETag", format!("\"{}\"", object.etag));
                list_checksum(xml, object);
                xml.text("Size", object.size.to_string())
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

/// The checksum algorithm of an object; listings do not contain the value.
pub(super) fn list_checksum(xml: &mut Xml, object: &Object) {
    if let Some(checksum) = &object.attributes.checksum {
        xml.text("ChecksumAlgorithm", &checksum.algorithm).text("ChecksumType", &checksum.kind);
    }
}

/// Continuation tokens are opaque: hexadecimal keeps clients from guessing.
fn encode_token(key: &str) -> String {
    hex(key.as_bytes())
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

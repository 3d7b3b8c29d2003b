//! Owns objects as in S3: content, properties, versions, locks, restores, multipart uploads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::ids::canonical_id;
use crate::sse::Sse;
use crate::values::hex;

/// An object.
#[derive(Debug, Clone, Serialize)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// Without quotes. The MD5 of the content only where the object is not encrypted by KMS and was
    /// not written in parts.
    pub etag: String,
    /// Its protection.
    pub sse: Sse,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub last_modified: OffsetDateTime,
    /// `STANDARD`, `GLACIER`, …
    pub storage_class: String,
    /// The `Content-Type` it was written with.
    pub content_type: String,
    /// `x-amz-meta-…` without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// Who wrote it: `api`, `command`, or a cluster and step id.
    pub written_by: String,
    /// Its bytes, if stored; otherwise they read as zeros.
    #[serde(skip)]
    pub body: Option<Vec<u8>>,
    /// If its bytes are not stored: their identity, so that copies can be distinguished from other
    /// content.
    pub extents: Vec<Extent>,
    /// Its version; `None` is the null version.
    pub version: Option<String>,
    /// The account that owns it.
    pub owner: String,
    /// All else that it carries.
    pub attributes: Attributes,
    /// For an archived object: from when until when a restored copy can be read.
    #[serde(skip)]
    pub restore: Option<(OffsetDateTime, OffsetDateTime)>,
}

/// A piece of content of which only the origin is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Names the content that was first written.
    pub origin: String,
    /// Its first byte in there.
    pub from: u64,
    /// Bytes.
    pub length: u64,
}

/// The properties of an object apart from content, type, metadata and encryption.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attributes {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Expires`, unchanged.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
    /// Until when it may not be deleted.
    pub retention: Option<Retention>,
    /// It may not be deleted until this is lifted.
    pub legal_hold: bool,
    /// A checksum besides the `ETag`.
    pub checksum: Option<Checksum>,
    /// Its ACL; empty: its owner's full control.
    pub grants: Vec<AclGrant>,
    /// Whether an S3 Bucket Key protects it.
    pub bucket_key: bool,
    /// Names of its annotations; multipart copies lose them.
    pub annotations: Vec<String>,
    /// `ARCHIVE_ACCESS` or `DEEP_ARCHIVE_ACCESS`, for `INTELLIGENT_TIERING`.
    pub archive_status: Option<String>,
}

/// Object Lock's retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: String,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

/// The retention of every new object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: String,
    /// The unit, as S3 names it: `Days` or `Years`.
    pub unit: String,
    /// How many of them.
    pub number: u32,
}

impl DefaultRetention {
    /// What an object gets that is written now. A year has 365 days.
    #[must_use]
    pub fn from(&self, now: OffsetDateTime) -> Retention {
        let days_of_unit = if self.unit == "Years" { 365 } else { 1 };
        let period = time::Duration::days(days_of_unit * i64::from(self.number));
        Retention { mode: self.mode.clone(), until: now + period }
    }
}

/// A checksum. Its value is not computed as in AWS, but depends on the content alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    pub algorithm: String,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub kind: String,
    /// Filled in when the object is stored.
    #[serde(default)]
    pub value: String,
}

/// One entry of an ACL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AclGrant {
    /// `id=…` or `uri=…`.
    pub grantee: String,
    /// `FULL_CONTROL`, `READ`, `READ_ACP` or `WRITE_ACP`.
    pub permission: String,
}

/// A version that is not the current object of its key.
#[derive(Debug, Clone, Serialize)]
pub enum Older {
    /// An object.
    Object(Box<Object>),
    /// A delete marker.
    DeleteMarker {
        /// Its version; `None` is the null version.
        version: Option<String>,
        /// When it was made.
        #[serde(with = "time::serde::rfc3339")]
        last_modified: OffsetDateTime,
    },
}

impl Older {
    /// Its version; `None` is the null version.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Object(object) => object.version.as_deref(),
            Self::DeleteMarker { version, .. } => version.as_deref(),
        }
    }
}

/// An upload in parts, under way.
#[derive(Debug, Clone, Serialize)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The ARN of its initiator.
    pub initiator: String,
    /// The parts so far; its content and `ETag` are not valid yet, and its date is the upload's
    /// creation.
    pub object: Object,
    /// The requested encryption.
    pub wish: Option<Sse>,
    /// Parts by number.
    pub parts: BTreeMap<u32, Object>,
}

impl Object {
    /// Whether it is archived, and cannot be copied or read before it is restored.
    #[must_use]
    pub fn is_archived(&self, now: OffsetDateTime) -> bool {
        let archived = matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
            || self.attributes.archive_status.is_some();
        archived && !self.restore.is_some_and(|(from, until)| from <= now && now < until)
    }

    /// Whether Object Lock keeps this version from being deleted.
    #[must_use]
    pub fn is_locked(&self, now: OffsetDateTime, bypass: bool) -> bool {
        let retained = self
            .attributes
            .retention
            .as_ref()
            .is_some_and(|it| it.until > now && !(bypass && it.mode == "GOVERNANCE"));
        self.attributes.legal_hold || retained
    }

    /// Its ACL, as `GetObjectAcl` shows it.
    #[must_use]
    pub fn acl(&self) -> Vec<AclGrant> {
        let mut grants = match self.attributes.grants.as_slice() {
            [] => vec![AclGrant {
                grantee: format!("id={}", canonical_id(&self.owner)),
                permission: "FULL_CONTROL".to_owned(),
            }],
            grants => grants.to_vec(),
        };
        grants.sort();
        grants.dedup();
        grants
    }

    /// Bytes `from` to `to` (excluded) of its content.
    pub fn part(&self, from: u64, to: u64) -> (Option<Vec<u8>>, Vec<Extent>) {
        piece(self.body.as_deref(), &self.extents, (from, to))
    }
}

/// Bytes `from` to `to` (excluded) of a content.
fn piece(
    body: Option<&[u8]>,
    extents: &[Extent],
    (from, to): (u64, u64),
) -> (Option<Vec<u8>>, Vec<Extent>) {
    if let Some(body) = body {
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
        return (Some(body[index(from)..index(to)].to_vec()), Vec::new());
    }
    let mut part = Vec::new();
    let mut at = 0;
    for extent in extents {
        let (first, last) = (from.max(at), to.min(at + extent.length));
        if first < last {
            part.push(Extent {
                origin: extent.origin.clone(),
                from: extent.from + first - at,
                length: last - first,
            });
        }
        at += extent.length;
    }
    (None, part)
}

/// The identity of new content that is not stored.
pub fn extents(bucket: &str, key: &str, size: u64, unknown: bool) -> Vec<Extent> {
    let one = || Extent { origin: format!("{bucket}/{key}:{size}"), from: 0, length: size };
    if unknown && size > 0 { vec![one()] } else { Vec::new() }
}

/// Concatenates contents; adjacent pieces of one origin are merged.
pub fn join<'a>(parts: impl Iterator<Item = &'a Object>) -> (Option<Vec<u8>>, Vec<Extent>) {
    let mut body = Some(Vec::new());
    let mut extents: Vec<Extent> = Vec::new();
    for part in parts {
        body = body.take().zip(part.body.as_ref()).map(|(mut all, part)| {
            all.extend_from_slice(part);
            all
        });
        for extent in &part.extents {
            match extents.last_mut() {
                Some(last)
                    if last.origin == extent.origin && last.from + last.length == extent.from =>
                {
                    last.length += extent.length;
                }
                _ => extents.push(extent.clone()),
            }
        }
    }
    (body, extents)
}

fn digest(body: Option<&[u8]>, extents: &[Extent]) -> Vec<u8> {
    match body {
        Some(body) => Md5::digest(body).to_vec(),
        None => Md5::digest(extents.iter().fold(String::new(), |mut text, it| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}+{}:{};", it.origin, it.from, it.length);
            text
        }))
        .to_vec(),
    }
}

/// MD5 of the content, or of its identity. Under KMS it is the MD5 of something else; for multipart
/// objects, that of the parts' MD5s, with their number.
pub fn etag(body: Option<&[u8]>, extents: &[Extent], sse: &Sse, parts: Option<u32>) -> String {
    let mut bytes = digest(body, extents);
    if let Sse::Kms { key } | Sse::Dsse { key } = sse {
        bytes =
            Md5::digest(format!("{} under {}", hex(&bytes), key.as_deref().unwrap_or_default()))
                .to_vec();
    }
    match parts {
        Some(parts) => {
            format!("{}-{parts}", hex(&Md5::digest(format!("parts of {}", hex(&bytes)))))
        }
        None => hex(&bytes),
    }
}

/// Looks like a checksum of the content: of an object as a whole, or of one part.
pub fn checksum(algorithm: &str, body: Option<&[u8]>, extents: &[Extent]) -> String {
    looks_like_one(algorithm, &hex(&digest(body, extents)))
}

/// Looks like the COMPOSITE checksum of an object that was written in parts: of their checksums,
/// and with their number behind it. Source: Amazon S3 user guide, Checking object integrity,
/// "Composite checksums".
pub fn composite_checksum(algorithm: &str, parts: &[String]) -> String {
    format!("{}-{}", looks_like_one(algorithm, &parts.join(" ")), parts.len())
}

/// The checksum that an object of this content has if it was written in so many parts of one length
/// (the last may be shorter), where its kind depends on them.
pub fn stored_checksum(
    wanted: &Checksum,
    (body, extents): (Option<&[u8]>, &[Extent]),
    size: u64,
    parts: Option<u32>,
) -> String {
    if wanted.kind != "COMPOSITE" {
        return checksum(&wanted.algorithm, body, extents);
    }
    let length = size.div_ceil(u64::from(parts.unwrap_or(1).max(1))).max(1);
    let sums: Vec<String> = (0..size.div_ceil(length).max(1))
        .map(|number| {
            let ends = (number * length, ((number + 1) * length).min(size));
            let (body, extents) = piece(body, extents, ends);
            checksum(&wanted.algorithm, body.as_deref(), &extents)
        })
        .collect();
    composite_checksum(&wanted.algorithm, &sums)
}

fn looks_like_one(algorithm: &str, of: &str) -> String {
    let digest = hex(&Md5::digest(format!("{algorithm} {of}")));
    let length = match algorithm {
        "SHA256" => 43,
        "SHA1" => 27,
        "CRC64NVME" => 11,
        _ => 6,
    };
    let padding = match length {
        6 => "==",
        _ => "=",
    };
    // Its last digit has zero bits after the last byte, as Base64 requires.
    let text: String = digest.chars().cycle().take(length - 1).collect();
    format!("{text}A{padding}")
}

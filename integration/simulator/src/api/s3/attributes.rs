//! Owns the properties of objects: headers in and out, tags, ACLs, locks, updates in place,
//! restores.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::request::{NAMESPACE, Request, denied, no_such_bucket, refused};
use crate::call::Call;
use crate::http_date::http_date;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::{self, Xml};
use emr_world::clock::iso;
use emr_world::ids::canonical_id;
use emr_world::object::{AclGrant, Attributes, Checksum, Object, Retention};
use emr_world::s3write;
use emr_world::sse::Sse;
use emr_world::world::{Bucket, World};

/// How long a restore takes: the standard tier's three to five hours.
const RESTORE: Duration = Duration::hours(4);

/// The headers by which requests grant, and what they grant.
const GRANTS: [(&str, &str); 4] = [
    ("x-amz-grant-full-control", "FULL_CONTROL"),
    ("x-amz-grant-read", "READ"),
    ("x-amz-grant-read-acp", "READ_ACP"),
    ("x-amz-grant-write-acp", "WRITE_ACP"),
];

const ALL_USERS: &str = "uri=http://acs.amazonaws.com/groups/global/AllUsers";

/// Adds the object's properties to the response of a HEAD or GET.
pub(super) fn show(
    mut reply: Reply,
    object: &Object,
    call: &Call,
    now: OffsetDateTime,
    head: bool,
) -> Reply {
    let it = &object.attributes;
    let texts = [
        ("cache-control", &it.cache_control),
        ("content-disposition", &it.content_disposition),
        ("content-encoding", &it.content_encoding),
        ("content-language", &it.content_language),
        ("expires", &it.expires),
        ("x-amz-website-redirect-location", &it.website_redirect),
        ("x-amz-archive-status", &it.archive_status),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            reply = reply.header(name, value.as_str());
        }
    }
    if let Some(retention) = &it.retention {
        let until = iso(retention.until);
        reply = reply
            .header("x-amz-object-lock-mode", retention.mode.as_str())
            .header("x-amz-object-lock-retain-until-date", until);
    }
    if it.legal_hold {
        reply = reply.header("x-amz-object-lock-legal-hold", "ON");
    }
    if it.bucket_key {
        reply = reply.header("x-amz-server-side-encryption-bucket-key-enabled", "true");
    }
    if !it.tags.is_empty() {
        reply = reply.header("x-amz-tagging-count", it.tags.len().to_string());
    }
    if let Some((from, until)) = object.restore {
        let ongoing = from > now;
        let expiry =
            if ongoing { String::new() } else { format!(", expiry-date=\"{}\"", http_date(until)) };
        reply = reply.header("x-amz-restore", format!("ongoing-request=\"{ongoing}\"{expiry}"));
    }
    // On a GET, clients would compare the content with a value that is not computed as AWS does.
    if head
        && call
            .header("x-amz-checksum-mode")
            .is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"))
        && let Some(checksum) = &it.checksum
    {
        let name = format!("x-amz-checksum-{}", checksum.algorithm.to_lowercase());
        reply = reply
            .header(name, checksum.value.as_str())
            .header("x-amz-checksum-type", checksum.kind.as_str());
    }
    reply
}

/// The properties of a copy: from its request, and those that S3 copies by itself.
pub(super) fn of_copy(own: Attributes, source: &Object, replaces: bool, call: &Call) -> Attributes {
    let from = source.attributes.clone();
    let tags = if call.header("x-amz-tagging-directive") == Some("REPLACE") {
        own.tags
    } else {
        from.tags
    };
    // A copy is a single part, whatever its source was; without a checksum it gets S3's own.
    let algorithm = call
        .header("x-amz-checksum-algorithm")
        .map(str::to_owned)
        .or(from.checksum.map(|it| it.algorithm));
    let checksum = Checksum {
        algorithm: algorithm.unwrap_or_else(|| "CRC64NVME".to_owned()),
        kind: "FULL_OBJECT".to_owned(),
        value: String::new(),
    };
    let own = Attributes {
        tags,
        checksum: Some(checksum),
        annotations: from.annotations,
        archive_status: None,
        ..own
    };
    if replaces {
        return own;
    }
    Attributes {
        cache_control: from.cache_control,
        content_disposition: from.content_disposition,
        content_encoding: from.content_encoding,
        content_language: from.content_language,
        expires: from.expires,
        ..own
    }
}

pub(super) fn ownership(bucket: &Bucket) -> Reply {
    let mut xml = Xml::new();
    xml.root("OwnershipControls", NAMESPACE, |xml| {
        xml.element("Rule", |xml| {
            xml.text("ObjectOwnership", &bucket.ownership);
        });
    });
    Reply::xml(xml)
}

pub(super) fn lock_configuration(bucket: &Bucket) -> Answer {
    if !bucket.object_lock {
        let message = "Object Lock configuration does not exist for this bucket";
        return Err(Failure::new(404, "ObjectLockConfigurationNotFoundError", message)
            .with("BucketName", bucket.name.as_str()));
    }
    let mut xml = Xml::new();
    xml.root("ObjectLockConfiguration", NAMESPACE, |xml| {
        xml.text("ObjectLockEnabled", "Enabled");
        if let Some(retention) = &bucket.default_retention {
            xml.element("Rule", |xml| {
                xml.element("DefaultRetention", |xml| {
                    xml.text("Mode", &retention.mode)
                        .text(&retention.unit, retention.number.to_string());
                });
            });
        }
    });
    Ok(Reply::xml(xml))
}

fn tags_of_query(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

impl Request<'_> {
    pub(super) fn header_type(&self) -> String {
        self.call.header("content-type").unwrap_or("binary/octet-stream").to_owned()
    }

    pub(super) fn header_metadata(&self) -> BTreeMap<String, String> {
        let own = |(name, value): (&hyper::http::HeaderName, &hyper::http::HeaderValue)| {
            let name = name.as_str().strip_prefix("x-amz-meta-")?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        };
        self.call.headers.iter().filter_map(own).collect()
    }

    /// The properties that the request's headers give to the written object.
    pub(super) fn header_attributes(&self, world: &World) -> Result<Attributes, Failure> {
        let bucket = world.buckets.get(&self.bucket).ok_or_else(|| no_such_bucket(&self.bucket))?;
        let text = |name: &str| self.call.header(name).map(str::to_owned);
        let retention =
            match (text("x-amz-object-lock-mode"), text("x-amz-object-lock-retain-until-date")) {
                (Some(mode), Some(until)) => {
                    let until = OffsetDateTime::parse(&until, &Rfc3339).map_err(|_| {
                        Failure::new(
                            400,
                            "InvalidArgument",
                            "The retain until date must be provided in ISO 8601 format",
                        )
                    })?;
                    if until <= world.now {
                        return Err(Failure::new(
                            400,
                            "InvalidArgument",
                            "The retain until date must be in the future!",
                        ));
                    }
                    Some(Retention { mode, until })
                }
                // Source: Amazon S3 user guide, Object Lock considerations (default retention).
                (None, None) => bucket.default_retention.as_ref().map(|it| it.from(world.now)),
                _ => {
                    let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode \
                    must both be supplied";
                    return Err(Failure::new(400, "InvalidArgument", message));
                }
            };
        let legal_hold = self.call.header("x-amz-object-lock-legal-hold") == Some("ON");
        if (retention.is_some() || legal_hold) && !bucket.object_lock {
            return Err(Failure::new(
                400,
                "InvalidRequest",
                "Bucket is missing Object Lock Configuration",
            ));
        }
        let default_key =
            bucket.default_encryption.as_ref().and_then(|rule| rule.bucket_key).unwrap_or(false);
        let wish = text("x-amz-server-side-encryption-bucket-key-enabled").map(|it| it == "true");
        let algorithm = text("x-amz-checksum-algorithm");
        Ok(Attributes {
            tags: text("x-amz-tagging").map(|it| tags_of_query(&it)).unwrap_or_default(),
            cache_control: text("cache-control"),
            content_disposition: text("content-disposition"),
            // The transfer encoding of the payload is not a property of the object.
            content_encoding: text("content-encoding").filter(|it| it != "aws-chunked"),
            content_language: text("content-language"),
            expires: text("expires"),
            website_redirect: text("x-amz-website-redirect-location"),
            retention,
            legal_hold,
            checksum: algorithm.map(|algorithm| Checksum {
                algorithm,
                kind: "FULL_OBJECT".to_owned(),
                value: String::new(),
            }),
            grants: self.header_grants(bucket)?,
            bucket_key: wish.unwrap_or(default_key),
            annotations: Vec::new(),
            archive_status: None,
        })
    }

    fn header_grants(&self, bucket: &Bucket) -> Result<Vec<AclGrant>, Failure> {
        let mut grants = Vec::new();
        for (header, permission) in GRANTS {
            let grantees = self
                .call
                .header(header)
                .into_iter()
                .flat_map(|it| it.split(','))
                .map(|it| it.trim().replace('"', ""));
            grants.extend(
                grantees.map(|grantee| AclGrant { grantee, permission: permission.to_owned() }),
            );
        }
        let canned = self.call.header("x-amz-acl");
        if bucket.ownership == "BucketOwnerEnforced" {
            return match (grants.is_empty(), canned) {
                (true, None | Some("bucket-owner-full-control")) => Ok(grants),
                _ => Err(Failure::new(
                    400,
                    "AccessControlListNotSupported",
                    "The bucket does not allow ACLs",
                )),
            };
        }
        if !grants.is_empty() && canned.is_some() {
            let message = "Specifying both Canned ACLs and Header Grants is not allowed";
            return Err(Failure::new(400, "InvalidRequest", message));
        }
        let owner = self.caller.map(|caller| caller.account.clone()).unwrap_or_default();
        let to = |grantee: String, permission: &str| AclGrant {
            grantee,
            permission: permission.to_owned(),
        };
        if canned == Some("public-read") {
            grants.push(to(format!("id={}", canonical_id(&owner)), "FULL_CONTROL"));
            grants.push(to(ALL_USERS.to_owned(), "READ"));
        }
        grants.sort();
        Ok(grants)
    }

    pub(super) fn get_tags(&self, world: &World) -> Answer {
        let object = self.object(world)?;
        let mut xml = Xml::new();
        xml.root("Tagging", NAMESPACE, |xml| {
            xml.element("TagSet", |xml| {
                for (key, value) in &object.attributes.tags {
                    xml.element("Tag", |xml| {
                        xml.text("Key", key).text("Value", value);
                    });
                }
            });
        });
        Ok(Reply::xml(xml))
    }

    pub(super) fn put_tags(&self, world: &mut World) -> Answer {
        self.object(world)?;
        let body = self.body();
        let tags = xml::texts(&body, "Key").into_iter().zip(xml::texts(&body, "Value")).collect();
        self.change(world, |object| object.attributes.tags = tags);
        Ok(Reply::empty(200))
    }

    fn change(&self, world: &mut World, change: impl FnOnce(&mut Object)) {
        let version = self.call.query.get("versionId").map(String::as_str);
        if let Some(object) = world
            .buckets
            .get_mut(&self.bucket)
            .and_then(|bucket| bucket.object_mut(&self.key, version))
        {
            change(object);
        }
    }

    pub(super) fn get_acl(&self, world: &World) -> Answer {
        let object = self.object(world)?;
        let mut xml = Xml::new();
        xml.root("AccessControlPolicy", NAMESPACE, |xml| {
            xml.element("Owner", |xml| {
                xml.text("ID", canonical_id(&object.owner));
            });
            xml.element("AccessControlList", |xml| {
                for grant in object.acl() {
                    xml.element("Grant", |xml| {
                        let (kind, name, value) = match grant.grantee.split_once('=') {
                            Some(("uri", uri)) => ("Group", "URI", uri),
                            Some((_, id)) => ("CanonicalUser", "ID", id),
                            None => ("CanonicalUser", "ID", grant.grantee.as_str()),
                        };
                        xml.open(&format!(
                            "Grantee \
                            xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                            xsi:type=\"{kind}\""
                        ));
                        xml.text(name, value)
                            .close("Grantee")
                            .text("Permission", &grant.permission);
                    });
                }
            });
        });
        Ok(Reply::xml(xml))
    }

    /// The object, in a bucket with Object Lock; an error if it has no lock of the requested kind.
    fn lockable(&self, world: &World, locked: impl Fn(&Object) -> bool) -> Result<Object, Failure> {
        if !world.buckets.get(&self.bucket).is_some_and(|bucket| bucket.object_lock) {
            return Err(Failure::new(
                400,
                "InvalidRequest",
                "Bucket is missing Object Lock Configuration",
            ));
        }
        let object = self.object(world)?;
        let message = "The specified object does not have a ObjectLock configuration";
        if locked(&object) {
            Ok(object)
        } else {
            Err(Failure::new(404, "NoSuchObjectLockConfiguration", message))
        }
    }

    pub(super) fn get_retention(&self, world: &World) -> Answer {
        let object = self.lockable(world, |object| object.attributes.retention.is_some())?;
        let mut xml = Xml::new();
        xml.root("Retention", NAMESPACE, |xml| {
            if let Some(retention) = &object.attributes.retention {
                xml.text("Mode", &retention.mode).text("RetainUntilDate", iso(retention.until));
            }
        });
        Ok(Reply::xml(xml))
    }

    pub(super) fn get_legal_hold(&self, world: &World) -> Answer {
        self.lockable(world, |object| object.attributes.legal_hold)?;
        let mut xml = Xml::new();
        xml.root("LegalHold", NAMESPACE, |xml| {
            xml.text("Status", "ON");
        });
        Ok(Reply::xml(xml))
    }

    pub(super) fn list_annotations(&self, world: &World) -> Answer {
        let object = self.object(world)?;
        let mut xml = Xml::new();
        xml.root("ListObjectAnnotationsOutput", NAMESPACE, |xml| {
            xml.text("AnnotationCount", object.attributes.annotations.len().to_string());
        });
        Ok(Reply::xml(xml))
    }

    /// Updates the encryption in place: neither content nor dates change.
    pub(super) fn update_encryption(&self, world: &mut World) -> Answer {
        let caller = self.caller.ok_or_else(denied)?;
        let object = self.object(world)?;
        let invalid = |message: &str| Err(Failure::new(400, "InvalidRequest", message));
        match object.sse {
            Sse::None => {
                return invalid(
                    "The UpdateObjectEncryption operation doesn't supported unencrypted source \
                     objects. Only source objects encrypted with SSE-S3 or SSE-KMS are supported.",
                );
            }
            Sse::Dsse { .. } | Sse::Customer => {
                return invalid(
                    "The UpdateObjectEncryption operation doesn't support source objects with the \
                     encryption type DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 \
                     or SSE-KMS are supported.",
                );
            }
            Sse::Aes256 | Sse::Kms { .. } => {}
        }
        if object.is_locked(world.now, false) {
            let message = "The encryption type for the specified object can't be updated because \
                that object is protected by S3 Object Lock.";
            return Err(Failure::new(403, "AccessDenied", message));
        }
        let body = self.body();
        let Some(key) = xml::text(&body, "KMSKeyArn")
            .filter(|key| key.starts_with("arn:") && key.contains(":key/"))
        else {
            return invalid(
                "Requests that modify an object's encryption type to SSE-KMS require an Amazon \
                 Web Services KMS key Amazon Resource Name (ARN).",
            );
        };
        let (owner, region) = world
            .buckets
            .get(&self.bucket)
            .map(|bucket| (bucket.account.clone(), bucket.region.clone()))
            .unwrap_or_default();
        if !key.contains(&format!(":{owner}:")) {
            let message = "The Amazon Web Services KMS key in the request must be owned by the \
                same account as the bucket.";
            return Err(Failure::new(403, "AccessDenied", message));
        }
        let arn = s3write::kms_arn(world, &caller.account, &region, Some(key)).map_err(refused)?;
        let bucket_key = xml::text(&body, "BucketKeyEnabled").is_some_and(|it| it == "true");
        self.change(world, |object| {
            object.sse = Sse::Kms { key: Some(arn) };
            object.attributes.bucket_key = bucket_key;
        });
        Ok(Reply::empty(200))
    }

    pub(super) fn restore(&self, world: &mut World) -> Answer {
        let object = self.object(world)?;
        let now = world.now;
        let archived = matches!(object.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
            || object.attributes.archive_status.is_some();
        if !archived {
            return Err(Failure::new(
                403,
                "InvalidObjectState",
                "Restore is not allowed for the object's current storage class",
            ));
        }
        if object.restore.is_some_and(|(from, _)| from > now) {
            return Err(Failure::new(
                409,
                "RestoreAlreadyInProgress",
                "Object restore is already in progress",
            ));
        }
        let days = xml::text(&self.body(), "Days").and_then(|days| days.parse::<i64>().ok());
        if object.storage_class == "INTELLIGENT_TIERING" && days.is_some() {
            return Err(Failure::new(
                400,
                "InvalidRequest",
                "Days must not be given for objects in INTELLIGENT_TIERING",
            ));
        }
        let already = object.restore.is_some_and(|(_, until)| until > now);
        let from = if already { now } else { now + RESTORE };
        let until = from + Duration::days(days.unwrap_or(36_500));
        self.change(world, |object| object.restore = Some((from, until)));
        Ok(Reply::empty(if already { 200 } else { 202 }))
    }
}

//! Owns the creation and deletion of buckets, and the changes of their encryption, versioning and
//! tags.

use std::collections::BTreeMap;

use super::request::{NAMESPACE, Request};
use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::{self, Xml};
use emr_world::access_block::PublicAccessBlock;
use emr_world::object::DefaultRetention;
use emr_world::partition::{is_region, partition_of};
use emr_world::sse::BucketEncryption;
use emr_world::world::{Bucket, BucketConfigurations, Caller, World};

/// Where SSE-C is not blocked by default. Source: Amazon S3 user guide, Default SSE-C setting for
/// new buckets.
const WITHOUT_BLOCK: [&str; 2] = ["me-central-1", "me-south-1"];

pub(super) fn create_bucket(world: &mut World, call: &Call, caller: &Caller, name: &str) -> Answer {
    check_name(name)?;
    let region = region_of(call)?;
    // Recorded from AWS: tests/contracts/s3-CreateBucket.json.
    let location = match region.as_str() {
        "us-east-1" => format!("/{name}"),
        _ => format!("http://{name}.s3.amazonaws.com/"),
    };
    let arn = format!("arn:{}:s3:::{name}", partition_of(&region));
    let created =
        || Ok(Reply::empty(200).header("location", location).header("x-amz-bucket-arn", arn));
    if let Some(existing) = world.buckets.get(name) {
        let is_own = existing.account == caller.account;
        // In us-east-1, this has always succeeded. Source: Amazon S3 API reference, CreateBucket.
        if is_own && call.region == "us-east-1" && existing.region == "us-east-1" {
            return created();
        }
        let (code, message) = if is_own {
            (
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own \
                 it.",
            )
        } else {
            (
                "BucketAlreadyExists",
                "The requested bucket name is not available. The bucket namespace is shared by \
                 all users of the system. Please select a different name and try again.",
            )
        };
        return Err(Failure::new(409, code, message).with("BucketName", name));
    }
    let ownership = call.header("x-amz-object-ownership").unwrap_or("BucketOwnerEnforced");
    if !["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"].contains(&ownership) {
        let message = format!("Invalid x-amz-object-ownership header: {ownership}");
        return Err(Failure::new(400, "InvalidArgument", message)
            .with("ArgumentName", "x-amz-object-ownership"));
    }
    let object_lock = call
        .header("x-amz-bucket-object-lock-enabled")
        .is_some_and(|on| on.eq_ignore_ascii_case("true"));
    let blocks = !WITHOUT_BLOCK.contains(&region.as_str());
    let encryption = BucketEncryption {
        blocked: if blocks { vec!["SSE-C".to_owned()] } else { Vec::new() },
        ..BucketEncryption::aes256()
    };
    let bucket = Bucket {
        name: name.to_owned(),
        region,
        account: caller.account.clone(),
        default_encryption: Some(encryption),
        policy: None,
        public: false,
        versioning: object_lock.then(|| "Enabled".to_owned()),
        public_access_block: Some(PublicAccessBlock::all(true)),
        default_retention: None,
        created: world.now,
        ownership: ownership.to_owned(),
        object_lock,
        website: false,
        configurations: BucketConfigurations::default(),
        tags: tags(&String::from_utf8_lossy(&call.body))?,
        objects: BTreeMap::new(),
        older: BTreeMap::new(),
    };
    world.buckets.insert(name.to_owned(), bucket);
    created()
}

fn check_name(name: &str) -> Result<(), Failure> {
    let is_edge = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let is_valid = (3..=63).contains(&name.len())
        && name.chars().all(|it| is_edge(it) || it == '-' || it == '.')
        && name.starts_with(is_edge)
        && name.ends_with(is_edge)
        && !name.contains("..")
        && !name.starts_with("xn--")
        && !name.ends_with("-s3alias")
        && name.parse::<std::net::Ipv4Addr>().is_err();
    if is_valid {
        return Ok(());
    }
    Err(Failure::new(400, "InvalidBucketName", "The specified bucket is not valid.")
        .with("BucketName", name))
}

/// The region of a new bucket. us-east-1 needs no constraint, does not accept its own name, and can
/// name any region of its partition; other regions accept only their own. Source: recorded from AWS
/// in LocalStack's `test_different_location_constraint`.
fn region_of(call: &Call) -> Result<String, Failure> {
    let body = String::from_utf8_lossy(&call.body);
    let constraint = xml::text(&body, "LocationConstraint").filter(|it| !it.is_empty());
    let incompatible = |what: &str| {
        let message = format!(
            "The {what} location constraint is incompatible for the region specific endpoint this \
             request was sent to."
        );
        Failure::new(400, "IllegalLocationConstraintException", message)
    };
    match constraint {
        None if call.region == "us-east-1" => Ok(call.region.clone()),
        None => Err(incompatible("unspecified")),
        Some(region) if call.region == "us-east-1" => {
            let is_valid = is_region(&region)
                && region != "us-east-1"
                && partition_of(&region) == partition_of(&call.region);
            if is_valid {
                return Ok(region);
            }
            let message = "The specified location-constraint is not valid";
            Err(Failure::new(400, "InvalidLocationConstraint", message)
                .with("LocationConstraint", region))
        }
        Some(region) if region == call.region => Ok(region),
        Some(region) => Err(incompatible(&region)),
    }
}

pub(super) fn get_tags(bucket: &Bucket) -> Answer {
    if bucket.tags.is_empty() {
        return Err(Failure::new(404, "NoSuchTagSet", "The TagSet does not exist")
            .with("BucketName", bucket.name.as_str()));
    }
    let mut xml = Xml::new();
    xml.root("Tagging", NAMESPACE, |xml| {
        xml.element("TagSet", |xml| {
            for (key, value) in &bucket.tags {
                xml.element("Tag", |xml| {
                    xml.text("Key", key).text("Value", value);
                });
            }
        });
    });
    Ok(Reply::xml(xml))
}

/// The tags in a request's body.
fn tags(body: &str) -> Result<Vec<(String, String)>, Failure> {
    let (keys, values) = (xml::texts(body, "Key"), xml::texts(body, "Value"));
    if keys.len() != values.len() {
        return Err(malformed_xml());
    }
    let mut tags: Vec<(String, String)> = Vec::new();
    for (key, value) in keys.into_iter().zip(values) {
        let problem = if key.starts_with("aws:") {
            Some("System tags cannot be added/updated by requester")
        } else if tags.iter().any(|(it, _)| *it == key) {
            Some("Cannot provide multiple Tags with the same key")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Failure::new(400, "InvalidTag", problem).with("TagKey", key));
        }
        tags.push((key, value));
    }
    Ok(tags)
}

/// The retention in a rule: a mode, and days or years.
fn default_retention(body: &str) -> Result<DefaultRetention, Failure> {
    let mode = xml::text(body, "Mode").filter(|it| ["GOVERNANCE", "COMPLIANCE"].contains(&&**it));
    let mode = mode.ok_or_else(malformed_xml)?;
    let number = |unit: &str| xml::text(body, unit).map(|number| number.parse::<i64>());
    let (unit, number, most) = match (number("Days"), number("Years")) {
        (Some(Ok(days)), None) => ("Days", days, 36_500),
        (None, Some(Ok(years))) => ("Years", years, 100),
        _ => return Err(malformed_xml()),
    };
    let invalid = |message: String| Failure::new(400, "InvalidArgument", message);
    if number <= 0 {
        return Err(invalid(
            "Default retention period must be a positive integer value.".to_owned(),
        ));
    }
    match u32::try_from(number) {
        Ok(number) if number <= most => {
            Ok(DefaultRetention { mode, unit: unit.to_owned(), number })
        }
        _ => Err(invalid(format!(
            "Default retention period too large. Maximum is {most} {}.",
            unit.to_lowercase()
        ))),
    }
}

fn malformed_xml() -> Failure {
    let message = "The XML you provided was not well-formed or did not validate against our \
        published schema";
    Failure::new(400, "MalformedXML", message)
}

impl Request<'_> {
    /// Unfinished uploads do not keep a bucket, and go with it.
    pub(super) fn delete_bucket(&self, world: &mut World) -> Answer {
        let Some(bucket) = world.buckets.get(&self.bucket) else { return Ok(Reply::empty(204)) };
        if !bucket.objects.is_empty() || !bucket.older.is_empty() {
            let message = match bucket.versioning {
                Some(_) => {
                    "The bucket you tried to delete is not empty. You must delete all versions in \
                     the bucket."
                }
                None => "The bucket you tried to delete is not empty",
            };
            return Err(Failure::new(409, "BucketNotEmpty", message)
                .with("BucketName", self.bucket.as_str()));
        }
        world.buckets.remove(&self.bucket);
        world.uploads.retain(|upload| upload.bucket != self.bucket);
        Ok(Reply::empty(204))
    }

    /// S3 does not look whether the key exists.
    pub(super) fn put_encryption(&self, world: &mut World) -> Answer {
        let body = self.body();
        let algorithms = ["AES256", "aws:kms", "aws:kms:dsse"];
        let rule = BucketEncryption {
            algorithm: xml::text(&body, "SSEAlgorithm"),
            key: xml::text(&body, "KMSMasterKeyID"),
            bucket_key: Some(xml::text(&body, "BucketKeyEnabled").is_some_and(|it| it == "true")),
            blocked: xml::texts(&body, "EncryptionType"),
        };
        let is_valid = body.matches("<Rule>").count() + body.matches("<Rule ").count() == 1
            && rule.algorithm.as_ref().is_none_or(|it| algorithms.contains(&it.as_str()))
            && (rule.algorithm.is_some() || rule.key.is_none())
            && rule.blocked.iter().all(|it| it == "NONE" || it == "SSE-C");
        if !is_valid {
            return Err(malformed_xml());
        }
        if rule.key.is_some() && rule.algorithm.as_deref() == Some("AES256") {
            let message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not \
                aws:kms or aws:kms:dsse";
            return Err(Failure::new(400, "InvalidArgument", message)
                .with("ArgumentName", "ApplyServerSideEncryptionByDefault"));
        }
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.default_encryption = Some(rule);
        }
        Ok(Reply::empty(200))
    }

    /// The bucket has SSE-S3 afterwards.
    pub(super) fn delete_encryption(&self, world: &mut World) -> Reply {
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.default_encryption = None;
        }
        Reply::empty(204)
    }

    pub(super) fn put_versioning(&self, world: &mut World) -> Answer {
        let body = self.body();
        let Some(status) = xml::text(&body, "Status") else {
            let message = "The Versioning element must be specified";
            return Err(Failure::new(400, "IllegalVersioningConfigurationException", message));
        };
        if status != "Enabled" && status != "Suspended" {
            return Err(malformed_xml());
        }
        let Some(bucket) = world.buckets.get_mut(&self.bucket) else {
            return Ok(Reply::empty(200));
        };
        if bucket.object_lock && status == "Suspended" {
            let message = "An Object Lock configuration is present on this bucket, so the \
                versioning state cannot be changed.";
            return Err(Failure::new(409, "InvalidBucketState", message));
        }
        bucket.versioning = Some(status);
        Ok(Reply::empty(200))
    }

    /// Switches Object Lock on, with or without a retention of new objects. A bucket that exists
    /// needs versioning for it. Sources: Amazon S3 API reference, PutObjectLockConfiguration,
    /// DefaultRetention; recorded from AWS in LocalStack's
    /// `test_put_object_lock_configuration_on_existing_bucket` and
    /// `test_put_object_lock_configuration_exc`.
    pub(super) fn put_object_lock(&self, world: &mut World) -> Answer {
        let body = self.body();
        if xml::text(&body, "ObjectLockEnabled").as_deref() != Some("Enabled") {
            return Err(malformed_xml());
        }
        let retention = xml::has(&body, "Rule").then(|| default_retention(&body)).transpose()?;
        let Some(bucket) = world.buckets.get_mut(&self.bucket) else {
            return Ok(Reply::empty(200));
        };
        if bucket.versioning.as_deref() != Some("Enabled") {
            let message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock \
                configuration";
            return Err(Failure::new(409, "InvalidBucketState", message));
        }
        bucket.object_lock = true;
        bucket.default_retention = retention;
        Ok(Reply::empty(200))
    }

    /// Replaces all tags.
    pub(super) fn put_bucket_tags(&self, world: &mut World) -> Answer {
        let tags = tags(&self.body())?;
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.tags = tags;
        }
        Ok(Reply::empty(204))
    }

    pub(super) fn delete_bucket_tags(&self, world: &mut World) -> Reply {
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.tags.clear();
        }
        Reply::empty(204)
    }
}

//! Owns what EMR rejects in a new security configuration.
//!
//! EMR checks the JSON against a schema, and answers with the schema validator's words: "Invalid
//! security configuration; object has invalid properties: [LocalDiskEncryptionKeyProvider]." (seen
//! in awsdocs/amazon-emr-management-guide #23). The words for the other problems are unknown; they
//! are built alike here. EMR looks neither for the keys nor for the objects that are named.

use serde_json::Value;

use emr_world::values::{text, truthy};

type Check = Result<(), String>;

/// Checks the text of a security configuration.
pub(super) fn check(content: &str) -> Check {
    let json: Value = serde_json::from_str(content)
        .map_err(|_| "Failed to parse the security configuration: it is not valid JSON.")?;
    check_members(&json).map_err(|problem| format!("Invalid security configuration; {problem}"))
}

fn check_members(json: &Value) -> Check {
    members(
        json,
        &[
            "AuthenticationConfiguration",
            "AuthorizationConfiguration",
            "EncryptionConfiguration",
            "InstanceMetadataServiceConfiguration",
        ],
    )?;
    if let Some(encryption) = json.get("EncryptionConfiguration") {
        check_encryption(encryption)?;
    }
    match json.get("InstanceMetadataServiceConfiguration") {
        Some(metadata) => check_metadata_service(metadata),
        None => Ok(()),
    }
}

fn check_encryption(encryption: &Value) -> Check {
    members(
        encryption,
        &[
            "AtRestEncryptionConfiguration",
            "EMRWALEncryptionConfiguration",
            "EnableAtRestEncryption",
            "EnableInTransitEncryption",
            "InTransitEncryptionConfiguration",
        ],
    )?;
    let (in_transit, at_rest) =
        ("InTransitEncryptionConfiguration", "AtRestEncryptionConfiguration");
    for (switch, part) in
        [("EnableInTransitEncryption", in_transit), ("EnableAtRestEncryption", at_rest)]
    {
        let is_on = match encryption.get(switch) {
            None => false,
            Some(Value::Bool(on)) => *on,
            // AWS' own examples write these texts.
            Some(Value::String(on)) if on == "true" || on == "false" => {
                truthy(encryption.get(switch))
            }
            Some(_) => return Err(format!("{switch} must be a boolean")),
        };
        if is_on && encryption.get(part).is_none() {
            return Err(missing(part));
        }
    }
    if let Some(part) = encryption.get(in_transit) {
        members(part, &["TLSCertificateConfiguration"])?;
        let tls = part.get("TLSCertificateConfiguration");
        check_certificates(tls.ok_or_else(|| missing("TLSCertificateConfiguration"))?)?;
    }
    match encryption.get(at_rest) {
        Some(part) => check_at_rest(part),
        None => Ok(()),
    }
}

fn check_certificates(tls: &Value) -> Check {
    let provider = required(tls, "CertificateProviderType")?;
    match provider {
        "PEM" => {
            members(tls, &["CertificateProviderType", "S3Object"])?;
            check_object(required(tls, "S3Object")?)
        }
        "Custom" => {
            members(tls, &["CertificateProviderClass", "CertificateProviderType", "S3Object"])?;
            required(tls, "CertificateProviderClass")?;
            check_object(required(tls, "S3Object")?)
        }
        "EMR" => members(
            tls,
            &[
                "AwsKmsKey",
                "CACertificateSecretARN",
                "CertificateProviderType",
                "SecretTags",
                "ValidityInDays",
                "WildcardDnsSuffix",
            ],
        ),
        other => Err(not_one_of("CertificateProviderType", other, &["PEM", "Custom", "EMR"])),
    }
}

fn check_object(location: &str) -> Check {
    let is_location = location
        .strip_prefix("s3://")
        .or_else(|| location.split_once(":s3:::").map(|(_, rest)| rest))
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty());
    if is_location { Ok(()) } else { Err(format!("S3Object '{location}' is not valid")) }
}

fn check_at_rest(part: &Value) -> Check {
    let (s3, disks) = ("S3EncryptionConfiguration", "LocalDiskEncryptionConfiguration");
    members(part, &[disks, s3])?;
    if part.get(s3).is_none() && part.get(disks).is_none() {
        return Err(missing(s3));
    }
    if let Some(s3) = part.get(s3) {
        check_s3_mode(s3, &["EncryptionKeyProviderClass", "Overrides", "S3Object"])?;
        for exception in s3["Overrides"].as_array().into_iter().flatten() {
            required(exception, "BucketName")?;
            check_s3_mode(exception, &["BucketName", "EncryptionKeyProviderClass", "S3Object"])?;
        }
    }
    match part.get(disks) {
        Some(disks) => check_disks(disks),
        None => Ok(()),
    }
}

fn check_s3_mode(s3: &Value, others: &[&str]) -> Check {
    members(s3, &[others, &["AwsKmsKey", "EncryptionMode"]].concat())?;
    match required(s3, "EncryptionMode")? {
        "SSE-S3" => Ok(()),
        "SSE-KMS" | "CSE-KMS" => required(s3, "AwsKmsKey").map(|_| ()),
        "CSE-Custom" => {
            required(s3, "EncryptionKeyProviderClass")?;
            check_object(required(s3, "S3Object")?)
        }
        other => Err(not_one_of(
            "EncryptionMode",
            other,
            &["SSE-S3", "SSE-KMS", "CSE-KMS", "CSE-Custom"],
        )),
    }
}

fn check_disks(disks: &Value) -> Check {
    members(
        disks,
        &[
            "AwsKmsKey",
            "EnableEbsEncryption",
            "EncryptionKeyProviderClass",
            "EncryptionKeyProviderType",
            "S3Object",
        ],
    )?;
    match required(disks, "EncryptionKeyProviderType")? {
        "AwsKms" => required(disks, "AwsKmsKey").map(|_| ()),
        "Custom" if truthy(disks.get("EnableEbsEncryption")) => {
            Err("EnableEbsEncryption requires EncryptionKeyProviderType AwsKms".to_owned())
        }
        "Custom" => {
            required(disks, "EncryptionKeyProviderClass")?;
            check_object(required(disks, "S3Object")?)
        }
        other => Err(not_one_of("EncryptionKeyProviderType", other, &["AwsKms", "Custom"])),
    }
}

fn check_metadata_service(part: &Value) -> Check {
    members(part, &["HttpPutResponseHopLimit", "MinimumInstanceMetadataServiceVersion"])?;
    let number = |name: &str| part.get(name).and_then(Value::as_u64);
    match number("MinimumInstanceMetadataServiceVersion") {
        Some(1 | 2) => {}
        _ => return Err("MinimumInstanceMetadataServiceVersion must be 1 or 2".to_owned()),
    }
    match number("HttpPutResponseHopLimit") {
        Some(1..=64) => Ok(()),
        _ => Err("HttpPutResponseHopLimit must be between 1 and 64".to_owned()),
    }
}

/// An object, and nothing in it that is unknown.
fn members(value: &Value, known: &[&str]) -> Check {
    let Some(object) = value.as_object() else {
        return Err("an object is required".to_owned());
    };
    let unknown: Vec<&str> =
        object.keys().map(String::as_str).filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(format!("object has invalid properties: [{}].", unknown.join(", ")))
}

fn required<'v>(value: &'v Value, member: &str) -> Result<&'v str, String> {
    text(value, member).filter(|it| !it.is_empty()).ok_or_else(|| missing(member))
}

fn missing(member: &str) -> String {
    format!("object has missing required properties: [{member}].")
}

fn not_one_of(member: &str, value: &str, allowed: &[&str]) -> String {
    format!("{member} '{value}' is not one of [{}].", allowed.join(", "))
}

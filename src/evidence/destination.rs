//! Where reports are delivered: a folder, a location in S3, or standard output. A destination takes
//! a report and its signature completely or not at all, and overwrites nothing.

use std::{
    io::{self, Read as _},
    path::Path,
};

use aws_config::Region;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    operation::put_object::PutObjectOutput,
    primitives::ByteStream,
    types::{ObjectLockRetentionMode, ServerSideEncryption},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    aws::{answer::describe, bucket_region, clients::Aws},
    base::{aws_calls, lookup::Lookup, names::S3Location},
    evidence::signed_report::SignedReport,
    facts::{
        gather::Facts,
        stored::{encryption_kind, server_side_encryption},
    },
    settings::{
        destination::Destination,
        policy::{EncryptionKind, Policy},
    },
    system::output,
};

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

/// How reports must be encrypted in S3, by the policy.
#[derive(Clone, Debug)]
pub(crate) struct RequiredEncryption {
    /// The encryption that the request asks for; if none, the bucket's default applies.
    ask: Option<(ServerSideEncryption, Option<String>)>,
    accept: Vec<EncryptionKind>,
    /// The ARNs of the keys that must be used, if KMS gave them. If empty, any key may be used.
    keys: Vec<String>,
}

impl RequiredEncryption {
    pub(crate) fn of(policy: &Policy, facts: Option<&Facts>) -> Self {
        let accepts = |kind| policy.accept_encryption.contains(&kind);
        let kms = if accepts(EncryptionKind::SseKms) {
            EncryptionKind::SseKms
        } else {
            EncryptionKind::DsseKms
        };
        let key = policy.expected_keys.first().cloned();
        let ask = (key.is_some() || !accepts(EncryptionKind::SseS3))
            .then_some((server_side_encryption(kms), key));
        let arn = |key: &String| {
            let known = facts
                .into_iter()
                .flat_map(|facts| &facts.keys)
                .find(|(reference, _)| reference.as_str() == key);
            known
                .and_then(|(_, facts)| facts.description.found())
                .map_or_else(|| key.clone(), |key| key.arn.as_str().to_owned())
        };
        Self {
            ask,
            accept: policy.accept_encryption.clone(),
            keys: policy.expected_keys.iter().map(arn).collect(),
        }
    }

    /// Compares the encryption that S3 reports with the required one. Returns the difference, if
    /// there is one.
    fn missed(&self, seen: Option<&ServerSideEncryption>, key: Option<&str>) -> Option<String> {
        let kind = match seen {
            None => return Some("S3 stored it, and does not say that it is encrypted".to_owned()),
            Some(word) => match encryption_kind(word) {
                Some(kind) => kind,
                None => return Some(format!("S3 stored it under {word}, which is not known here")),
            },
        };
        let expected = |key: &str| {
            self.keys
                .iter()
                .any(|expected| key == expected || key.ends_with(&format!("/{expected}")))
        };
        if !self.accept.contains(&kind) || (!self.keys.is_empty() && !key.is_some_and(expected)) {
            let under = key.map_or_else(String::new, |key| format!(" under {key}"));
            return Some(format!(
                "S3 stored it as {}{under}, which the policy does not accept",
                seen.map_or("", ServerSideEncryption::as_str)
            ));
        }
        None
    }
}

/// The access to AWS for destinations in S3; none if AWS must not be called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DestinationAccess<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) protection: &'a RequiredEncryption,
}

const NO_WAY: &str = "AWS is not asked, because an endpoint is refused";

impl Destination {
    /// Whether the destination can be written to, as far as that can be known without AWS.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn probe_here(&self) -> Result<(), String> {
        let Self::Folder(folder) = self else { return Ok(()) };
        let tried = std::fs::create_dir_all(folder)
            .and_then(|()| output::probe(&folder.join("emr-etl-guard")));
        tried.map_err(|error| format!("{}: {error}", folder.display()))
    }

    /// Delivers a report with its signature. A file that already exists must be the same.
    ///
    /// # Errors
    /// Why it cannot be delivered.
    pub(crate) async fn deliver(
        &self,
        parcel: &SignedReport,
        way: Option<DestinationAccess<'_>>,
    ) -> Result<(), String> {
        match self {
            Self::Stdout => {
                output::out(&parcel.document);
                output::out(parcel.envelope.as_deref().unwrap_or_default());
                Ok(())
            }
            Self::Folder(folder) => {
                // The signature is delivered first, so that a report is never there without it.
                for (name, content) in parcel.files() {
                    let file = folder.join(name);
                    let written = std::fs::create_dir_all(folder)
                        .and_then(|()| write_once(&file, content.as_bytes()));
                    written.map_err(|error| format!("{}: {error}", file.display()))?;
                }
                Ok(())
            }
            Self::S3(location) => {
                let bucket = Bucket::find(location, way.ok_or(NO_WAY)?).await?;
                for (name, content) in parcel.files() {
                    bucket.put(&name, content).await?;
                }
                Ok(())
            }
        }
    }

    /// Writes a note to S3 in the way that a report will be written. Returns how long Object Lock
    /// keeps objects there, in words.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub(crate) async fn probe_there(
        &self,
        name: &str,
        note: &str,
        way: Option<DestinationAccess<'_>>,
    ) -> Result<Option<String>, String> {
        let Self::S3(location) = self else { return Ok(None) };
        let bucket = Bucket::find(location, way.ok_or(NO_WAY)?).await?;
        bucket.put(name, note).await?;
        Ok(bucket.retention().await)
    }
}

/// Writes a file that does not exist yet. An existing one must be the same.
fn write_once(file: &Path, bytes: &[u8]) -> io::Result<()> {
    match output::write_new(file, bytes) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        written => return written,
    }
    let mut there = Vec::new();
    output::open_regular(file)?.read_to_end(&mut there)?;
    if there == bytes {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "another file of that name is there; it stays as it is",
    ))
}

/// A bucket to write to, with a client for its region.
struct Bucket<'a> {
    client: aws_sdk_s3::Client,
    location: &'a S3Location,
    protection: &'a RequiredEncryption,
}

impl<'a> Bucket<'a> {
    async fn find(location: &'a S3Location, way: DestinationAccess<'a>) -> Result<Self, String> {
        let region = match bucket_region::region(&way.aws.s3, &location.bucket).await {
            Lookup::Found(region) => region,
            Lookup::Absent => return Err(format!("there is no bucket {}", location.bucket)),
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                return Err(obstacle.to_string());
            }
        };
        let config = way.aws.s3.config().to_builder().region(Region::new(region)).build();
        Ok(Self {
            client: aws_sdk_s3::Client::from_conf(config),
            location,
            protection: way.protection,
        })
    }

    async fn put(&self, name: &str, content: &str) -> Result<(), String> {
        let key = format!("{}{name}", self.location.prefix);
        let (ask, key_id) = self.protection.ask.clone().unzip();
        let checksum = STANDARD.encode(digest(&SHA256, content.as_bytes()));
        let request = self
            .client
            .put_object()
            .bucket(self.location.bucket.as_str())
            .key(&key)
            .content_type("application/json");
        // Object Lock requires a checksum.
        let request = request
            .if_none_match("*")
            .checksum_sha256(checksum)
            .body(ByteStream::from(content.as_bytes().to_vec()));
        let result = request
            .set_server_side_encryption(ask)
            .set_ssekms_key_id(key_id.flatten())
            .send()
            .await;
        let output = match result {
            Ok(output) => output,
            // An earlier request may have succeeded while its answer was lost. Then the object is
            // the same.
            Err(error)
                if error.as_service_error().and_then(|error| error.code())
                    == Some("PreconditionFailed") =>
            {
                return self.is_there(&key, content).await;
            }
            Err(error) => {
                return Err(format!("{}: {}", aws_calls::PUT_OBJECT.permission, describe(&error)));
            }
        };
        let PutObjectOutput { server_side_encryption, ssekms_key_id, .. } = output;
        match self.protection.missed(server_side_encryption.as_ref(), ssekms_key_id.as_deref()) {
            Some(missed) => Err(missed),
            None => Ok(()),
        }
    }

    async fn is_there(&self, key: &str, content: &str) -> Result<(), String> {
        let answer =
            self.client.get_object().bucket(self.location.bucket.as_str()).key(key).send().await;
        let answer = answer.map_err(|error| {
            format!("{}: {}", aws_calls::GET_OBJECT.permission, describe(&error))
        })?;
        let missed = self
            .protection
            .missed(answer.server_side_encryption.as_ref(), answer.ssekms_key_id.as_deref());
        let there = answer
            .body
            .collect()
            .await
            .map_err(|error| format!("{}: {error}", aws_calls::GET_OBJECT.permission))?;
        match missed {
            Some(missed) => Err(missed),
            None if there.into_bytes() == content.as_bytes() => Ok(()),
            None => Err(format!("another object is at {key}; it is not replaced")),
        }
    }

    /// How long Object Lock keeps objects that are written here, in words; none if the bucket has
    /// no default retention.
    async fn retention(&self) -> Option<String> {
        let answer = self
            .client
            .get_object_lock_configuration()
            .bucket(self.location.bucket.as_str())
            .send()
            .await;
        let answer = match Lookup::from_call(
            &aws_calls::GET_OBJECT_LOCK_CONFIGURATION,
            &["ObjectLockConfigurationNotFoundError"],
            answer,
        ) {
            Lookup::Found(answer) => answer,
            Lookup::Absent => return None,
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                return Some(format!(
                    "its retention is unknown: {}: {}",
                    obstacle.operation, obstacle.message
                ));
            }
        };
        let retention = answer.object_lock_configuration?.rule?.default_retention?;
        let mode = retention.mode.as_ref().map_or("no mode", ObjectLockRetentionMode::as_str);
        let time = match (retention.days, retention.years) {
            (Some(days), _) => format!("{days} days"),
            (None, Some(years)) => format!("{years} years"),
            (None, None) => return None,
        };
        Some(format!("Object Lock keeps it for {time} ({mode})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_known_by_its_form() {
        let parsed =
            |text: &str| text.parse::<Destination>().map(|destination| destination.to_string());
        assert_eq!(parsed("s3://bucket/evidence"), Ok("s3://bucket/evidence/".to_owned()));
        assert_eq!(parsed("stdout"), Ok("stdout".to_owned()));
        assert_eq!(parsed("/var/lib/evidence"), Ok("/var/lib/evidence".to_owned()));
        assert!(parsed("https://example.com/x").unwrap_err().contains("expected an S3 location"));
        assert!(parsed(" ").unwrap_err().starts_with("is blank"));
    }

    #[test]
    fn what_s3_says_it_did_is_held_against_the_policy() {
        let protection = |accept: &[EncryptionKind], keys: &[&str]| RequiredEncryption {
            ask: None,
            accept: accept.to_vec(),
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        let any = protection(&[EncryptionKind::SseS3, EncryptionKind::SseKms], &[]);
        assert_eq!(any.missed(Some(&ServerSideEncryption::Aes256), None), None);
        assert_eq!(any.missed(Some(&ServerSideEncryption::AwsKms), Some("arn:x")), None);
        assert!(any.missed(None, None).is_some());
        assert!(any.missed(Some(&ServerSideEncryption::AwsKmsDsse), Some("arn:x")).is_some());
        let one = protection(&[EncryptionKind::SseKms], &["arn:aws:kms:r:1:key/a", "b"]);
        assert_eq!(
            one.missed(Some(&ServerSideEncryption::AwsKms), Some("arn:aws:kms:r:1:key/a")),
            None
        );
        assert_eq!(
            one.missed(Some(&ServerSideEncryption::AwsKms), Some("arn:aws:kms:r:1:key/b")),
            None
        );
        assert!(
            one.missed(Some(&ServerSideEncryption::AwsKms), Some("arn:aws:kms:r:1:key/c"))
                .is_some()
        );
        assert!(one.missed(Some(&ServerSideEncryption::AwsKms), None).is_some());
        assert!(one.missed(Some(&ServerSideEncryption::Aes256), None).is_some());
    }

    #[test]
    fn a_file_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.json");
        write_once(&file, b"one").unwrap();
        write_once(&file, b"one").unwrap();
        assert!(write_once(&file, b"two").is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
    }
}

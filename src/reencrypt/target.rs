//! The target encryption of a bucket's objects, where it comes from, and which objects do not meet
//! it.

use crate::{
    base::names::KeyReference,
    checks::stored::Standard,
    facts::{
        emr::SecurityConfiguration,
        s3::DefaultEncryption,
        stored::{self, StoredEncryption},
    },
    reencrypt::machine::state::TargetEncryption,
    settings::policy::EncryptionKind,
};

/// The encryption that a bucket's objects get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepairTarget {
    pub(crate) kind: EncryptionKind,
    /// The key's ARN; none for SSE-S3, and for an AWS managed key that does not exist yet.
    pub(crate) key: Option<String>,
    /// The key is a customer managed key in the bucket's own account: `UpdateObjectEncryption`
    /// accepts no other.
    pub(crate) updatable: bool,
    /// The bucket's rule makes its objects use a bucket key.
    pub(crate) bucket_key: bool,
    /// Where the target comes from.
    pub(crate) by: &'static str,
}

impl RepairTarget {
    /// Whether an object has this encryption.
    pub(crate) fn is_met(&self, stored: &StoredEncryption) -> bool {
        matches!(
            stored,
            StoredEncryption::Kind(kind, key) if *kind == self.kind
                && self.key.as_ref().is_none_or(|wanted| key.as_ref() == Some(wanted))
        )
    }
}

impl RepairTarget {
    /// The same in S3's terms.
    pub(crate) fn encryption(&self) -> TargetEncryption {
        TargetEncryption {
            algorithm: stored::server_side_encryption(self.kind).as_str().to_owned(),
            key: self.key.clone(),
            bucket_key: self.bucket_key,
        }
    }
}

impl std::fmt::Display for RepairTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(crate::settings::policy::kind_name(self.kind))?;
        match (&self.key, self.kind) {
            (Some(key), _) => write!(f, " under {key}")?,
            (None, EncryptionKind::SseS3) => {}
            (None, _) => f.write_str(" under the key that AWS manages for S3")?,
        }
        write!(f, " ({})", self.by)
    }
}

/// A target before its key is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnresolvedTarget {
    pub(crate) kind: EncryptionKind,
    pub(crate) key: Option<KeyReference>,
    pub(crate) by: &'static str,
}

/// The target from the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestedTarget {
    pub(crate) kind: Option<EncryptionKind>,
    pub(crate) key: Option<String>,
}

impl RequestedTarget {
    /// Whether anything was.
    pub(crate) fn is_explicit(&self) -> bool {
        self.kind.is_some() || self.key.is_some()
    }
}

/// The target of `bucket`: from the command line, or else the policy's only key, or else the
/// security configuration's S3 part, or else the bucket's own default.
///
/// # Errors
/// What to do where none of them contains a target that S3 supports.
pub(crate) fn decide(
    bucket: &str,
    asked: &RequestedTarget,
    expected_keys: &[String],
    configuration: Option<&SecurityConfiguration>,
    default: &DefaultEncryption,
) -> Result<UnresolvedTarget, String> {
    let named = |kind, key: Option<&str>, by| UnresolvedTarget {
        kind,
        key: key.map(KeyReference::new),
        by,
    };
    match (asked.kind, asked.key.as_deref()) {
        (Some(EncryptionKind::SseS3), Some(_)) => {
            return Err("--kms-key: SSE-S3 takes no key; leave one of the two out".to_owned());
        }
        (Some(kind), key) => {
            return Ok(named(kind, key.or_else(|| sole_key(kind, expected_keys)), "as asked"));
        }
        (None, Some(key)) => return Ok(named(EncryptionKind::SseKms, Some(key), "as asked")),
        (None, None) => {}
    }
    if let [key] = expected_keys {
        return Ok(named(EncryptionKind::SseKms, Some(key), "the setting expected_keys"));
    }
    if let Some(s3) =
        configuration.filter(|it| it.content.at_rest_enabled).and_then(|it| it.content.s3.as_ref())
    {
        let own = s3.overrides.iter().find(|it| it.bucket == bucket);
        let (mode, key) = own.map_or((&s3.mode, &s3.key), |it| (&it.mode, &it.key));
        let by = "the security configuration";
        match mode.as_str() {
            "SSE-S3" => return Ok(named(EncryptionKind::SseS3, None, by)),
            "SSE-KMS" => {
                return Ok(UnresolvedTarget { kind: EncryptionKind::SseKms, key: key.clone(), by });
            }
            // With client-side encryption, S3 also encrypts, by the bucket's default.
            _ => {}
        }
    }
    match default {
        DefaultEncryption::Kind { kind, key } => {
            Ok(named(*kind, key.as_deref(), "the bucket's default"))
        }
        DefaultEncryption::None | DefaultEncryption::Other(_) => Err(format!(
            "{bucket} has no default encryption that is known; say what its objects shall get by \
             --encryption, and --kms-key"
        )),
    }
}

/// The policy's key, where the requested kind needs one and none was given.
fn sole_key(kind: EncryptionKind, expected_keys: &[String]) -> Option<&str> {
    match expected_keys {
        [key] if kind != EncryptionKind::SseS3 => Some(key),
        _ => None,
    }
}

/// Decides which objects are not encrypted as required.
#[derive(Clone, Debug)]
pub(crate) struct Criterion {
    /// The target was given explicitly: every other encryption fails. Otherwise, every encryption
    /// fails that the policy does not accept.
    pub(crate) explicit: bool,
    pub(crate) standard: Standard,
}

impl Criterion {
    /// Whether an object must be repaired.
    pub(crate) fn offends(&self, stored: &StoredEncryption, target: &RepairTarget) -> bool {
        match stored {
            StoredEncryption::Unencrypted
            | StoredEncryption::CustomerKey
            | StoredEncryption::Other(_) => true,
            StoredEncryption::Kind(..) if self.explicit => !target.is_met(stored),
            StoredEncryption::Kind(kind, key) => !self.standard.accepts(*kind, key.as_deref()),
        }
    }

    /// Whether the policy accepts the target.
    pub(crate) fn accepts_target(&self, target: &RepairTarget) -> bool {
        self.standard.accepts(target.kind, target.key.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::policy::EncryptionKind::{DsseKms, SseKms, SseS3};

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1";

    fn default() -> DefaultEncryption {
        DefaultEncryption::Kind { kind: SseS3, key: None }
    }

    fn configuration(json: &str) -> SecurityConfiguration {
        SecurityConfiguration::for_tests(json)
    }

    #[test]
    fn the_target_is_what_was_asked_else_the_policys_key_else_the_configurations_else_the_buckets()
    {
        let s3 = r#"{"EncryptionConfiguration": {"EnableAtRestEncryption": true, "AtRestEncryptionConfiguration": {"S3EncryptionConfiguration":
            {"EncryptionMode": "SSE-KMS", "AwsKmsKey": "k", "Overrides": [{"BucketName": "other", "EncryptionMode": "SSE-S3"}, {"BucketName": "client", "EncryptionMode": "CSE-KMS", "AwsKmsKey": "c"}]}}}}"#;
        let configuration = configuration(s3);
        let none = RequestedTarget::default();
        let asked = RequestedTarget { kind: Some(DsseKms), key: Some(KEY.to_owned()) };
        let target = |bucket: &str, asked: &RequestedTarget, keys: &[String], configured| {
            let named = decide(
                bucket,
                asked,
                keys,
                if configured { Some(&configuration) } else { None },
                &default(),
            )
            .unwrap();
            (named.kind, named.key.map(|key| key.to_string()), named.by)
        };
        let key = |key: &str| Some(key.to_owned());
        assert_eq!(target("b", &asked, &["x".to_owned()], true), (DsseKms, key(KEY), "as asked"));
        assert_eq!(
            target("b", &none, &["x".to_owned()], true),
            (SseKms, key("x"), "the setting expected_keys")
        );
        assert_eq!(target("b", &none, &[], true), (SseKms, key("k"), "the security configuration"));
        assert_eq!(target("other", &none, &[], true), (SseS3, None, "the security configuration"));
        assert_eq!(target("client", &none, &[], true), (SseS3, None, "the bucket's default"));
        assert_eq!(
            target("b", &none, &["x".to_owned(), "y".to_owned()], false),
            (SseS3, None, "the bucket's default")
        );
        let only_kind = RequestedTarget { kind: Some(SseKms), key: None };
        assert_eq!(target("b", &only_kind, &["x".to_owned()], true).1, key("x"));
        let both = RequestedTarget { kind: Some(SseS3), key: key("x") };
        assert!(decide("b", &both, &[], None, &default()).is_err());
        assert!(
            decide("b", &none, &[], None, &DefaultEncryption::None)
                .unwrap_err()
                .contains("--encryption")
        );
    }

    #[test]
    fn without_being_asked_only_what_the_policy_refuses_offends() {
        let target = RepairTarget {
            kind: SseKms,
            key: Some(KEY.to_owned()),
            updatable: true,
            bucket_key: false,
            by: "as asked",
        };
        let of = |explicit, accepted: &[EncryptionKind], keys: &[&str]| Criterion {
            explicit,
            standard: Standard::for_tests(accepted, keys),
        };
        let s3 = StoredEncryption::Kind(SseS3, None);
        let ours = StoredEncryption::Kind(SseKms, Some(KEY.to_owned()));
        let theirs = StoredEncryption::Kind(SseKms, Some("other".to_owned()));
        let table = [
            (of(false, &[SseS3, SseKms], &[]), [false, false, false]),
            (of(false, &[SseKms], &[]), [true, false, false]),
            (of(false, &[SseS3, SseKms], &[KEY]), [true, false, true]),
            (of(true, &[SseS3, SseKms], &[]), [true, false, true]),
        ];
        for (criterion, wanted) in table {
            assert_eq!(
                [&s3, &ours, &theirs].map(|stored| criterion.offends(stored, &target)),
                wanted,
                "{criterion:?}"
            );
            assert!(
                criterion.offends(&StoredEncryption::Unencrypted, &target)
                    && criterion.offends(&StoredEncryption::CustomerKey, &target)
            );
            assert!(criterion.accepts_target(&target));
        }
        assert!(!of(false, &[SseS3], &[]).accepts_target(&target));
    }
}

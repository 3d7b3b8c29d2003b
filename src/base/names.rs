//! The names of AWS resources as types. They are parsed once at the boundary, so that no raw string
//! is used as a name inside the program.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a valid name. The message continues after the key's name:
/// "`aws.emr.ami_version` is not …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

macro_rules! text_newtype {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// An S3 bucket's name.
    BucketName
);
text_newtype!(
    /// An EMR cluster's id, `j-…`.
    ClusterId
);
text_newtype!(
    /// A KMS key as the user wrote it: an id, an ARN, an alias, or an alias' ARN.
    KeyReference
);
text_newtype!(
    /// A KMS key's own ARN, never an alias.
    KeyArn
);
text_newtype!(
    /// An AWS account's twelve digits.
    AccountId
);
text_newtype!(
    /// The ARN of a role.
    RoleArn
);
text_newtype!(
    /// The ARN of a role or user as policies compare it with `aws:PrincipalArn`; its account and
    /// name can have the wildcards `*` and `?`.
    PrincipalPattern
);

/// The partitions besides `aws`: how the names of their regions begin, their name in ARNs, and the
/// domain of their endpoints. Source: AWS SDKs, partitions.json.
const PARTITIONS: [(&str, &str, &str); 7] = [
    ("cn-", "aws-cn", "amazonaws.com.cn"),
    ("eusc-", "aws-eusc", "amazonaws.eu"),
    ("us-gov-", "aws-us-gov", COMMERCIAL_DOMAIN),
    ("us-iso-", "aws-iso", "c2s.ic.gov"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
];
const COMMERCIAL_DOMAIN: &str = "amazonaws.com";

/// The partition of a region, as ARNs contain it.
#[must_use]
pub fn partition(region: &str) -> &'static str {
    let of_region = PARTITIONS.iter().find(|(start, _, _)| region.starts_with(start));
    of_region.map_or("aws", |(_, partition, _)| partition)
}

/// The domain of the endpoints in a partition, such as `amazonaws.com`. Service principals and
/// `kms:ViaService` do not follow it.
#[must_use]
pub fn endpoint_domain(partition: &str) -> &'static str {
    let known = PARTITIONS.iter().find(|(_, name, _)| *name == partition);
    known.map_or(COMMERCIAL_DOMAIN, |(_, _, domain)| domain)
}

impl FromStr for BucketName {
    type Err = NameError;

    /// Accepts the union of today's and the old us-east-1 rules (3 to 255 of letters, digits, `.`,
    /// `-`, `_`).
    fn from_str(text: &str) -> Result<Self, NameError> {
        let legal = |character: char| {
            character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_')
        };
        if (3..=255).contains(&text.len()) && text.chars().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(format!("holds `{text}`, which is not a bucket name")))
        }
    }
}

impl FromStr for ClusterId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rest = text.strip_prefix("j-").unwrap_or_default();
        if (1..=64).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(format!(
                "`{text}` is not a cluster id (`j-` and capital letters and digits)"
            )))
        }
    }
}

impl PrincipalPattern {
    /// The partition in the ARN.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }
}

impl FromStr for PrincipalPattern {
    type Err = NameError;

    /// Accepts `arn:PARTITION:iam::ACCOUNT:role/NAME` and `…:user/NAME`, with paths. A session has
    /// no ARN of its own there: `aws:PrincipalArn` is that of its role.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let is_account = |account: &str| {
            account == "*" || (account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
        };
        let is_name = |resource: &str| {
            let name = resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/"));
            name.is_some_and(|name| {
                let allowed =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/*?".contains(&byte);
                !name.is_empty() && name.bytes().all(allowed)
            })
        };
        match parts[..] {
            ["arn", partition, "iam", "", account, resource]
                if partition.starts_with("aws") && is_account(account) && is_name(resource) =>
            {
                Ok(Self(text.to_owned()))
            }
            ["arn", partition, "sts", "", account, session]
                if session.starts_with("assumed-role/") =>
            {
                let role = session.split('/').nth(1).unwrap_or_default();
                Err(NameError(format!(
                    "is the ARN of a session; policies compare that of its role: \
                     arn:{partition}:iam::{account}:role/{role} (with the role's path, if it has \
                     one)"
                )))
            }
            _ => Err(NameError(
                "is not the ARN of a role or user, such as arn:aws:iam::123456789012:role/etl"
                    .to_owned(),
            )),
        }
    }
}

impl KeyReference {
    /// Any text that names a key. Only KMS can say whether it is valid.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it is the ARN of a key itself, which no other key has, and no other ARN names.
    #[must_use]
    pub fn is_arn_of_key(&self) -> bool {
        self.0.starts_with("arn:")
            && self.0.split(':').nth(5).is_some_and(|resource| resource.starts_with("key/"))
    }

    /// The region and account, if the reference is an ARN.
    #[must_use]
    pub fn region_and_account(&self) -> Option<(&str, &str)> {
        arn_parts(&self.0)
    }
}

impl KeyArn {
    /// Takes a key's ARN from a KMS answer.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The region in the ARN.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        arn_parts(&self.0).map(|(region, _)| region)
    }

    /// The account in the ARN, which owns the key.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        arn_parts(&self.0).map(|(_, account)| account)
    }
}

fn arn_parts(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split(':');
    (parts.next() == Some("arn")).then_some(())?;
    let region = parts.nth(2)?;
    Some((region, parts.next()?))
}

impl AccountId {
    /// Takes an account's id from an STS answer.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for AccountId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError(format!("holds `{text}`; expected the twelve digits of an account's id")))
    }
}

impl RoleArn {
    /// The partition in the ARN.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The account in the ARN.
    #[must_use]
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }
}

impl FromStr for RoleArn {
    type Err = NameError;

    /// Accepts `arn:PARTITION:iam::ACCOUNT:role/NAME`, with a path.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_role = |resource: &str| {
            let name = resource.strip_prefix("role/").unwrap_or_default();
            let is_legal = |byte: u8| byte.is_ascii_graphic() && !b"*?:".contains(&byte);
            !name.is_empty() && !name.ends_with('/') && name.bytes().all(is_legal)
        };
        match text.splitn(6, ':').collect::<Vec<_>>()[..] {
            ["arn", partition, "iam", "", account, resource]
                if partition.starts_with("aws")
                    && account.parse::<AccountId>().is_ok()
                    && is_role(resource) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NameError(format!(
                "holds `{text}`; expected the ARN of a role, such as \
                 arn:aws:iam::123456789012:role/emr-etl-guard-sentinel"
            ))),
        }
    }
}

/// A location in S3: bucket and key prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct S3Location {
    /// The bucket.
    pub bucket: BucketName,
    /// The prefix of the keys. It is empty, or ends in `/` as the runner makes it.
    pub prefix: String,
}

impl S3Location {
    /// Parses `s3://bucket/prefix`; also with `s3n` and `s3a`, as the runner's users write it.
    ///
    /// # Errors
    /// [`NameError`] when it is not such a URI.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let rest =
            ["s3://", "s3n://", "s3a://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| {
            NameError(format!("holds `{text}`; expected an S3 location such as s3://bucket/folder"))
        })?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = if prefix.is_empty() || prefix.ends_with('/') {
            prefix.to_owned()
        } else {
            format!("{prefix}/")
        };
        Ok(Self { bucket: bucket.parse()?, prefix })
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// An object in S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct S3Object {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: String,
}

impl S3Object {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self, partition: &str) -> String {
        format!("arn:{partition}:s3:::{}/{}", self.bucket, self.key)
    }

    /// Parses `s3://bucket/key`, or the object's ARN; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = match text.strip_prefix("s3://") {
            Some(rest) => rest,
            None => text
                .strip_prefix("arn:")
                .and_then(|arn| arn.split_once(":s3:::"))
                .map(|(_, rest)| rest)?,
        };
        let (bucket, key) = rest.split_once('/').filter(|(_, key)| !key.is_empty())?;
        Some(Self { bucket: bucket.parse().ok()?, key: key.to_owned() })
    }
}

/// An EMR release such as `emr-5.29.0`, `emr-5.29.0-latest`, or `emr-spark-8.0.0` (AWS's runtime
/// for Apache Spark only, from 8.0.0 on). Releases compare by version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct ReleaseLabel {
    version: (u32, u32, u32),
    /// Whether this is a release of the runtime for Apache Spark only.
    spark: bool,
    /// The text after the version, with its hyphen; usually empty.
    suffix: String,
}

impl ReleaseLabel {
    /// The release `emr-<major>.<minor>.<patch>`.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { version: (major, minor, patch), spark: false, suffix: String::new() }
    }

    /// Major, minor and patch number.
    #[must_use]
    pub const fn version(&self) -> (u32, u32, u32) {
        self.version
    }

    /// Whether this is a release of the runtime for Apache Spark only, `emr-spark-…`.
    #[must_use]
    pub const fn is_spark(&self) -> bool {
        self.spark
    }

    /// Whether AWS may describe a cluster by `label` that was requested with this label. A suffix
    /// such as `-latest` selects among builds of one version, and AWS may omit it.
    #[must_use]
    pub fn may_be_shown_as(&self, label: &str) -> bool {
        let same_version = || {
            label
                .parse::<Self>()
                .is_ok_and(|shown| shown.version == self.version && shown.spark == self.spark)
        };
        label == self.to_string() || (!self.suffix.is_empty() && same_version())
    }

    /// The release for `aws.emr.ami_version`, before which the runner puts `emr-`.
    ///
    /// # Errors
    /// [`NameError`] when it is not three numbers with an optional suffix, or is below 4 (which
    /// this runner cannot start).
    pub fn from_ami_version(text: &str) -> Result<Self, NameError> {
        if text.starts_with("emr-") {
            return Err(NameError(format!(
                "is `{text}`; the runner puts `emr-` before it by itself, so leave it out"
            )));
        }
        let label: Self = format!("emr-{text}").parse()?;
        if label.version.0 < 4 {
            return Err(NameError(format!(
                "is `{text}`; EmrEtlRunner cannot start releases below 4 any more"
            )));
        }
        Ok(label)
    }
}

impl FromStr for ReleaseLabel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let label = text.strip_prefix("emr-").unwrap_or_default();
        let (spark, label) = match label.strip_prefix("spark-") {
            Some(label) => (true, label),
            None => (false, label),
        };
        let (version, suffix) = label.split_at(label.find('-').unwrap_or(label.len()));
        let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
        let is_suffix = |suffix: &str| {
            let part = |part: &str| {
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            suffix.strip_prefix('-').is_none_or(|parts| parts.split(['-', '.']).all(part))
        };
        match numbers.as_deref().filter(|_| is_suffix(suffix)) {
            Some(&[major, minor, patch]) => {
                Ok(Self { spark, suffix: suffix.to_owned(), ..Self::new(major, minor, patch) })
            }
            _ => Err(NameError(format!(
                "is `{}`; expected a release such as 5.29.0",
                text.trim_start_matches("emr-")
            ))),
        }
    }
}

impl fmt::Display for ReleaseLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        let line = if self.spark { "spark-" } else { "" };
        write!(f, "emr-{line}{major}.{minor}.{patch}{}", self.suffix)
    }
}

impl TryFrom<String> for ReleaseLabel {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for BucketName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<ReleaseLabel> for String {
    fn from(label: ReleaseLabel) -> Self {
        label.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_one_partition_and_a_partition_one_domain() {
        for (region, name, domain) in [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("eu-south-2", "aws", "amazonaws.com"),
            ("cn-northwest-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-east-1", "aws-us-gov", "amazonaws.com"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
            ("us-iso-west-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
            ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
        ] {
            assert_eq!((partition(region), endpoint_domain(partition(region))), (name, domain));
        }
    }

    #[test]
    fn releases_compare_by_number_not_by_text() {
        let label = |text| ReleaseLabel::from_ami_version(text).unwrap();
        assert!(label("5.9.0") < label("5.29.0"));
        assert_eq!(label("5.29.0").to_string(), "emr-5.29.0");
        assert_eq!(label("5.29.0-latest").to_string(), "emr-5.29.0-latest");
        assert!(label("5.29.0-latest") >= label("5.29.0"));
        assert!(label("5.29.0-latest") < label("5.30.0"));
    }

    #[test]
    fn newer_releases_those_of_spark_alone_are_read_and_compare_by_version() {
        let label = |text| ReleaseLabel::from_ami_version(text).unwrap();
        let spark = label("spark-8.0.0");
        assert_eq!(spark.to_string(), "emr-spark-8.0.0");
        assert_eq!(spark, "emr-spark-8.0.0".parse().unwrap());
        assert!(spark.is_spark() && !label("7.13.0").is_spark());
        assert!(label("7.13.0") < spark && label("7.11.0") < spark);
        assert!(spark < label("spark-8.1.0") && spark < label("spark-8.0.1"));
        assert_ne!(spark, label("8.0.0"));
        assert!(label("spark-8.0.0-latest").may_be_shown_as("emr-spark-8.0.0"));
        assert!(!label("8.0.0-latest").may_be_shown_as("emr-spark-8.0.0"));
        assert!(!spark.may_be_shown_as("emr-8.0.0"));
        for text in ["spark-", "spark-8", "spark-8.0", "spark-spark-8.0.0", "flink-8.0.0"] {
            assert!(ReleaseLabel::from_ami_version(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_suffix_need_not_come_back_in_a_clusters_description() {
        let label = |text| ReleaseLabel::from_ami_version(text).unwrap();
        for shown in ["emr-5.29.0-latest", "emr-5.29.0", "emr-5.29.0-20260101"] {
            assert!(label("5.29.0-latest").may_be_shown_as(shown), "{shown}");
        }
        for shown in ["emr-5.29.1", "emr-5.30.0-latest", "latest", ""] {
            assert!(!label("5.29.0-latest").may_be_shown_as(shown), "{shown}");
        }
        assert!(!label("5.29.0").may_be_shown_as("emr-5.29.0-latest"));
    }

    #[test]
    fn what_is_no_release_is_named() {
        let refusal = |text| ReleaseLabel::from_ami_version(text).unwrap_err().to_string();
        assert_eq!(
            refusal("emr-5.29.0"),
            "is `emr-5.29.0`; the runner puts `emr-` before it by itself, so leave it out"
        );
        assert_eq!(refusal("5.29"), "is `5.29`; expected a release such as 5.29.0");
        for text in ["5.29.0-", "5.29.0-a b", "5.29.0-a--b", "5.29.0 -latest", "-latest"] {
            assert!(refusal(text).contains("expected a release such as"), "{text}");
        }
        assert_eq!(
            refusal("3.11.0"),
            "is `3.11.0`; EmrEtlRunner cannot start releases below 4 any more"
        );
    }

    #[test]
    fn an_s3_location_is_a_bucket_and_a_folder() {
        let parsed = |text| {
            S3Location::parse(text)
                .map(|location| location.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(parsed("s3://acme-out/a/b").unwrap(), "s3://acme-out/a/b/");
        assert_eq!(parsed("s3n://acme-out").unwrap(), "s3://acme-out/");
        assert_eq!(
            parsed("acme-out").unwrap_err(),
            "holds `acme-out`; expected an S3 location such as s3://bucket/folder"
        );
        assert_eq!(parsed("s3:///x").unwrap_err(), "holds ``, which is not a bucket name");
    }

    #[test]
    fn a_cluster_id_is_not_just_any_text() {
        assert!("j-I74A0YS9V8WSO".parse::<ClusterId>().is_ok());
        for text in ["j-", "J-ABC", "j-abc", "x", "j-A B"] {
            assert!(text.parse::<ClusterId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_principal_is_a_role_or_user_and_no_session() {
        for arn in [
            "arn:aws:iam::123456789012:role/etl",
            "arn:aws-us-gov:iam::*:role/platform/*",
            "arn:aws-cn:iam::123456789012:user/people/ann@example.com",
        ] {
            assert_eq!(arn.parse::<PrincipalPattern>().unwrap().as_str(), arn);
        }
        for text in [
            "",
            "etl",
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:group/x",
            "arn:aws:iam::1234:role/etl",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:other:iam::123456789012:role/etl",
        ] {
            let error = text.parse::<PrincipalPattern>().unwrap_err().to_string();
            assert!(error.starts_with("is not the ARN of a role or user"), "{text}: {error}");
        }
        let session = "arn:aws:sts::123456789012:assumed-role/etl/i-1".parse::<PrincipalPattern>();
        let error = session.unwrap_err().to_string();
        assert!(error.contains("arn:aws:iam::123456789012:role/etl "), "{error}");
    }
}

//! Software settings of the cluster that weaken or disable encryption. For encryption in transit,
//! the cluster's own `Configurations` override the settings that EMR makes for the security
//! configuration, so a property can disable it silently.
//!
//! Sources: Amazon EMR management guide, "Encryption options"; Amazon EMR release guide, "Configure
//! applications"; Spark's security page; Hadoop's core-default, hdfs-default and mapred-default. If
//! no source documents the effect under EMR, it is [`WeakeningSeverity::Review`]: it should be
//! reviewed, but never refuses a launch.

use crate::{
    facts::weakening::{
        Unsafe::{Any, NotFalse, NotOneOf, NotTrue, OneOf, PlainHttp},
        WeakeningSeverity::{Review, Weakens},
    },
    spec::s3_connector::S3Connector,
};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeakeningSeverity {
    /// Documented to weaken encryption.
    Weakens,
    /// May weaken it.
    Review,
}

/// What is wrong with a property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weakening {
    pub(crate) weight: WeakeningSeverity,
    /// Whether AWS masks the value, so that its effect is unknown.
    pub(crate) hidden: bool,
    /// Its effect.
    pub(crate) effect: &'static str,
    /// The safe value.
    pub(crate) safe: &'static str,
    /// Whether it is one of S3A's own encryption settings.
    pub(crate) is_of_s3a: bool,
}

impl Weakening {
    /// The severity with this connector: if S3A writes to S3, settings for S3A through Spark are
    /// known to take effect. Source: Amazon EMR release guide, "Setup CSE-KMS" (job or application
    /// specific configuration).
    pub(crate) fn on(self, connector: S3Connector) -> Self {
        let weight = if self.is_of_s3a && connector.is_s3a() { Weakens } else { self.weight };
        Self { weight, ..self }
    }
}

/// Values that are unsafe.
enum Unsafe {
    /// A boolean that is not true.
    NotTrue,
    /// A boolean that is not false.
    NotFalse,
    /// Any value except these.
    NotOneOf(&'static [&'static str]),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A URL that is not https.
    PlainHttp,
    /// Any value.
    Any,
}

/// Classification, property (`*` matches any suffix or middle part), unsafe values, severity,
/// effect, safe value.
type WeakeningRule =
    (&'static str, &'static str, Unsafe, WeakeningSeverity, &'static str, &'static str);

const TABLE: &[WeakeningRule] = &[
    (
        "emrfs-site",
        "fs.s3.enableServerSideEncryption",
        NotTrue,
        Weakens,
        "EMRFS asks for no encryption",
        "true",
    ),
    (
        "emrfs-site",
        "fs.s3.serverSideEncryptionAlgorithm",
        OneOf(&["AES256"]),
        Review,
        "EMRFS asks for SSE-S3, whatever the key should be",
        "not set",
    ),
    (
        "emrfs-site",
        "fs.s3.serverSideEncryption.kms.keyId",
        Any,
        Review,
        "EMRFS uses another key than the security configuration's",
        "not set",
    ),
    (
        "emrfs-site",
        "fs.s3.bucket.*.serverSideEncryption.kms.keyId",
        Any,
        Review,
        "EMRFS uses another key for a bucket",
        "not set",
    ),
    (
        "emrfs-site",
        "fs.s3.cse.enabled",
        NotTrue,
        Weakens,
        "client-side encryption is switched off",
        "true",
    ),
    (
        "emrfs-site",
        "fs.s3n.ssl.enabled",
        NotTrue,
        Weakens,
        "EMRFS talks to S3 over plain http",
        "true",
    ),
    (
        "emrfs-site",
        "fs.s3n.endpoint",
        Any,
        Review,
        "EMRFS talks to another endpoint than S3's",
        "not set",
    ),
    (
        "core-site",
        "hadoop.rpc.protection",
        NotOneOf(&["privacy"]),
        Weakens,
        "Hadoop RPC is not encrypted",
        "privacy",
    ),
    (
        "core-site",
        "hadoop.ssl.hostname.verifier",
        NotOneOf(&["DEFAULT", "STRICT", "STRICT_IE6", "DEFAULT_AND_LOCALHOST"]),
        Weakens,
        "nodes accept any host's certificate",
        "DEFAULT",
    ),
    (
        "core-site",
        "fs.s3a.connection.ssl.enabled",
        NotTrue,
        Review,
        "S3A talks to S3 over plain http",
        "true",
    ),
    (
        "core-site",
        "fs.s3a.endpoint",
        PlainHttp,
        Review,
        "S3A talks to an endpoint over plain http",
        "not set",
    ),
    (
        "core-site",
        "fs.s3a.encryption.*",
        Any,
        Weakens,
        "S3A encrypts otherwise than the security configuration says",
        "not set",
    ),
    (
        "core-site",
        "fs.s3a.server-side-encryption*",
        Any,
        Weakens,
        "S3A encrypts otherwise than the security configuration says",
        "not set",
    ),
    (
        "core-site",
        "fs.s3a.bucket.*.encryption.*",
        Any,
        Weakens,
        "S3A encrypts otherwise than the security configuration says, in one bucket",
        "not set",
    ),
    (
        "core-site",
        "fs.s3a.bucket.*.server-side-encryption*",
        Any,
        Weakens,
        "S3A encrypts otherwise than the security configuration says, in one bucket",
        "not set",
    ),
    (
        "hdfs-site",
        "dfs.encrypt.data.transfer",
        NotTrue,
        Weakens,
        "HDFS blocks travel in clear",
        "true",
    ),
    (
        "hdfs-site",
        "dfs.encrypt.data.transfer.algorithm",
        OneOf(&["3des", "rc4"]),
        Weakens,
        "HDFS blocks travel under an obsolete cipher",
        "not set",
    ),
    (
        "hdfs-site",
        "dfs.data.transfer.protection",
        NotOneOf(&["privacy"]),
        Weakens,
        "HDFS data transfer is not encrypted",
        "privacy",
    ),
    (
        "hdfs-site",
        "dfs.http.policy",
        NotOneOf(&["HTTPS_ONLY"]),
        Review,
        "HDFS answers over plain http",
        "HTTPS_ONLY",
    ),
    (
        "mapred-site",
        "mapreduce.shuffle.ssl.enabled",
        NotTrue,
        Weakens,
        "the MapReduce shuffle travels in clear",
        "true",
    ),
    (
        "mapred-site",
        "mapreduce.jobhistory.http.policy",
        NotOneOf(&["HTTPS_ONLY"]),
        Review,
        "the job history answers over plain http",
        "HTTPS_ONLY",
    ),
    (
        "yarn-site",
        "yarn.http.policy",
        NotOneOf(&["HTTPS_ONLY"]),
        Weakens,
        "YARN answers over plain http",
        "HTTPS_ONLY",
    ),
    (
        "yarn-site",
        "yarn.nodemanager.remote-app-log-dir",
        Any,
        Review,
        "container logs go to a location that is not checked",
        "not set",
    ),
    (
        "tez-site",
        "tez.runtime.shuffle.ssl.enable",
        NotTrue,
        Weakens,
        "the Tez shuffle travels in clear",
        "true",
    ),
    (
        "tez-site",
        "tez.runtime.ssl.enable",
        NotTrue,
        Weakens,
        "the Tez shuffle travels in clear",
        "true",
    ),
    (
        "spark-defaults",
        "spark.authenticate",
        NotTrue,
        Weakens,
        "Spark RPC is not authenticated, and so not encrypted",
        "true",
    ),
    (
        "spark-defaults",
        "spark.network.crypto.enabled",
        NotTrue,
        Weakens,
        "Spark RPC is not encrypted by AES",
        "true",
    ),
    (
        "spark-defaults",
        "spark.authenticate.enableSaslEncryption",
        NotTrue,
        Weakens,
        "Spark RPC is not encrypted by SASL",
        "true",
    ),
    (
        "spark-defaults",
        "spark.network.sasl.serverAlwaysEncrypt",
        NotTrue,
        Weakens,
        "Spark accepts connections without encryption",
        "true",
    ),
    (
        "spark-defaults",
        "spark.network.crypto.saslFallback",
        NotFalse,
        Review,
        "Spark falls back to SASL, a weaker encryption",
        "false",
    ),
    (
        "spark-defaults",
        "spark.ssl.enabled",
        NotTrue,
        Weakens,
        "Spark's web interfaces answer over plain http",
        "true",
    ),
    (
        "spark-defaults",
        "spark.ssl.*.enabled",
        NotTrue,
        Weakens,
        "one of Spark's web interfaces answers over plain http",
        "true",
    ),
    ("spark-defaults", "spark.ssl.*", Any, Review, "Spark's TLS is configured by hand", "not set"),
    (
        "spark-defaults",
        "spark.io.encryption.enabled",
        NotTrue,
        Review,
        "Spark's spills are not encrypted by Spark",
        "true",
    ),
    (
        "hadoop-ssl-server",
        "*",
        Any,
        Review,
        "certificates or ciphers of Hadoop's servers are configured by hand",
        "not set",
    ),
    (
        "hadoop-ssl-client",
        "*",
        Any,
        Review,
        "certificates of Hadoop's clients are configured by hand",
        "not set",
    ),
    (
        "hive-site",
        "hive.metastore.use.SSL",
        NotTrue,
        Weakens,
        "the Hive metastore is spoken to in clear",
        "true",
    ),
    (
        "hbase-site",
        "hbase.ssl.enabled",
        NotTrue,
        Weakens,
        "HBase's web interface answers over plain http",
        "true",
    ),
    (
        "hbase-site",
        "hbase.*.netty.tls.enabled",
        NotTrue,
        Weakens,
        "HBase RPC is not encrypted by TLS",
        "true",
    ),
    (
        "hbase-site",
        "hbase.rpc.protection",
        NotOneOf(&["privacy"]),
        Weakens,
        "HBase RPC is not encrypted",
        "privacy",
    ),
];

/// The value of a property as it may be shown: one that may be a secret is masked.
pub(crate) fn shown<'a>(property: &str, value: &'a str) -> &'a str {
    let name = property.to_ascii_lowercase();
    let is_secret = ["password", "secret", "token"].iter().any(|word| name.contains(word))
        || name.ends_with("encryption.key");
    if is_secret { "(not shown)" } else { value }
}

/// Spark's configuration can hold Hadoop properties with this prefix.
const THROUGH_SPARK: &str = "spark.hadoop.";

/// With this prefix of its name, a property's value is the ARN of a secret, and EMR uses the
/// content of the secret. EMR shows the name without the prefix. Source: Amazon EMR release guide,
/// "Store sensitive configuration data in AWS Secrets Manager".
const SECRET: &str = "EMR.secret@";

/// A property's name as EMR shows it.
pub(crate) fn shown_name(property: &str) -> &str {
    property.strip_prefix(SECRET).unwrap_or(property)
}

/// Whether AWS has masked this value: it shows asterisks for values that look like secrets.
pub(crate) fn is_masked(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && value.chars().all(|it| it == '*')
}

/// Whether a value refers to a secret, and is not the value that the cluster gets.
fn is_secret(value: &str) -> bool {
    let mut parts = value.trim().split(':');
    parts.next() == Some("arn") && parts.nth(1) == Some("secretsmanager")
}

/// The weakness of a property in a request; `None` if none is known.
pub(crate) fn judge(classification: &str, property: &str, value: &str) -> Option<Weakening> {
    let value = if property.starts_with(SECRET) { None } else { Some(value) };
    judge_value(classification, shown_name(property), value)
}

/// The same for a property as AWS shows it.
pub(crate) fn judge_shown(classification: &str, property: &str, value: &str) -> Option<Weakening> {
    let value = Some(value).filter(|value| !is_masked(value) && !is_secret(value));
    judge_value(classification, shown_name(property), value)
}

/// The weakness of a property with this value, or with an unknown value.
fn judge_value(classification: &str, property: &str, value: Option<&str>) -> Option<Weakening> {
    let spark = matches!(classification, "spark-defaults" | "spark");
    if let Some(hadoop) = property.strip_prefix(THROUGH_SPARK).filter(|_| spark) {
        // Spark passes it to whichever part of Hadoop uses it. The same effect there is an
        // inference.
        let rows = TABLE.iter().filter(|row| row.0 != "spark-defaults" && row.1 != "*");
        return first(rows, hadoop, value).map(|found| Weakening { weight: Review, ..found });
    }
    let classification = if spark { "spark-defaults" } else { classification };
    first(TABLE.iter().filter(|row| row.0 == classification), property, value)
}

/// The weakness of a property on a program's command line, where its classification is unknown.
pub(crate) fn judge_by_name(property: &str, value: &str) -> Option<Weakening> {
    if property.starts_with("spark.") {
        return judge("spark-defaults", property, value);
    }
    let rows = TABLE.iter().filter(|row| row.0 != "spark-defaults" && row.1 != "*");
    first(rows, property, Some(value))
}

fn first<'a>(
    rows: impl Iterator<Item = &'a WeakeningRule>,
    property: &str,
    value: Option<&str>,
) -> Option<Weakening> {
    // A rule without a wildcard comes before one with a wildcard, and ends the search even if it
    // finds nothing wrong. Otherwise `spark.ssl.*` would apply to `spark.ssl.enabled`.
    let mut fitting: Vec<&WeakeningRule> =
        rows.filter(|row| crate::base::wildcard::fits(row.1, property)).collect();
    fitting.sort_by_key(|row| (row.1.contains('*'), std::cmp::Reverse(row.1.len())));
    let (_, pattern, bad, weight, effect, safe) = fitting.first()?;
    let is_of_s3a = pattern.starts_with("fs.s3a.") && pattern.contains("encryption");
    let hidden = value.is_none() && !matches!(bad, Any);
    let holds = value.is_none_or(|value| bad.holds(value.trim()));
    holds.then_some(Weakening { weight: *weight, hidden, effect, safe, is_of_s3a })
}

impl Unsafe {
    fn holds(&self, value: &str) -> bool {
        let is_one_of =
            |values: &[&str]| values.iter().any(|known| value.eq_ignore_ascii_case(known));
        match self {
            Self::NotTrue => !value.eq_ignore_ascii_case("true"),
            Self::NotFalse => !value.eq_ignore_ascii_case("false"),
            Self::NotOneOf(values) => !is_one_of(values),
            Self::OneOf(values) => is_one_of(values),
            Self::PlainHttp => value.to_ascii_lowercase().starts_with("http://"),
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_properties_weaken_and_inferred_ones_are_for_review() {
        for (classification, property, value, weight) in [
            ("hdfs-site", "dfs.encrypt.data.transfer", "false", Some(Weakens)),
            ("hdfs-site", "dfs.encrypt.data.transfer", " TRUE ", None),
            ("core-site", "hadoop.rpc.protection", "authentication", Some(Weakens)),
            ("core-site", "hadoop.rpc.protection", "authentication,privacy", Some(Weakens)),
            ("core-site", "hadoop.ssl.hostname.verifier", "ALLOW_ALL", Some(Weakens)),
            ("spark-defaults", "spark.authenticate", "no", Some(Weakens)),
            ("spark-defaults", "spark.ssl.ui.enabled", "false", Some(Weakens)),
            ("spark-defaults", "spark.ssl.ui.enabled", "true", None),
            ("spark-defaults", "spark.ssl.keyStore", "/x", Some(Review)),
            ("spark-defaults", "spark.hadoop.dfs.encrypt.data.transfer", "false", Some(Review)),
            ("spark-defaults", "spark.hadoop.dfs.encrypt.data.transfer", "true", None),
            ("spark-defaults", "spark.executor.memory", "8G", None),
            ("core-site", "Io.file.buffer.size", "65536", None),
            ("emrfs-site", "fs.s3.bucket.acme.serverSideEncryption.kms.keyId", "k", Some(Review)),
            ("hadoop-ssl-server", "ssl.server.keystore.location", "/x", Some(Review)),
            ("hbase-site", "hbase.server.netty.tls.enabled", "false", Some(Weakens)),
            ("mapred-site", "dfs.encrypt.data.transfer", "false", None),
        ] {
            assert_eq!(
                judge(classification, property, value).map(|found| found.weight),
                weight,
                "{classification} {property}={value}"
            );
        }
    }

    #[test]
    fn newer_releases_what_s3a_is_told_through_spark_weighs_where_s3a_writes() {
        let s3a = S3Connector::S3a { maps_emrfs: true };
        for (name, on_emrfs, on_s3a) in [
            ("spark.hadoop.fs.s3a.encryption.algorithm", Review, Weakens),
            ("spark.hadoop.fs.s3a.encryption.key", Review, Weakens),
            ("spark.hadoop.fs.s3a.server-side-encryption-algorithm", Review, Weakens),
            ("spark.hadoop.fs.s3a.bucket.acme-out.encryption.algorithm", Review, Weakens),
            ("spark.hadoop.fs.s3a.endpoint", Review, Review),
            ("spark.hadoop.hadoop.rpc.protection", Review, Review),
        ] {
            let value = "http://none";
            let judged = || judge("spark-defaults", name, value).unwrap();
            assert_eq!(judged().on(S3Connector::Emrfs).weight, on_emrfs, "{name}");
            assert_eq!(judged().on(s3a).weight, on_s3a, "{name}");
            assert_eq!(judge_by_name(name, value).unwrap().on(s3a).weight, on_s3a, "{name}");
        }
        let of_bucket = judge("core-site", "fs.s3a.bucket.acme-out.encryption.key", "k").unwrap();
        assert_eq!(of_bucket.weight, Weakens);
    }

    #[test]
    fn a_value_that_is_not_shown_is_neither_safe_nor_unsafe() {
        const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf";
        let hidden = |found: Option<Weakening>| found.map(|found| (found.weight, found.hidden));
        for (property, hides) in [
            ("hadoop.rpc.protection", Some((Weakens, true))),
            // For any value.
            ("fs.s3a.encryption.key", Some((Weakens, false))),
            ("hadoop.tmp.dir", None),
        ] {
            for value in ["********", SECRET] {
                assert_eq!(hidden(judge_shown("core-site", property, value)), hides, "{property}");
            }
            let annotated = format!("EMR.secret@{property}");
            assert_eq!(hidden(judge("core-site", &annotated, SECRET)), hides, "{property}");
        }
        // In a config, these values are literal.
        for value in ["*", SECRET] {
            let found = judge("core-site", "hadoop.rpc.protection", value);
            assert_eq!(hidden(found), Some((Weakens, false)));
        }
        assert_eq!(judge_shown("core-site", "hadoop.rpc.protection", "privacy"), None);
    }

    #[test]
    fn every_row_finds_its_unsafe_value_and_accepts_its_safe_one() {
        for (classification, pattern, bad, weight, _, safe) in TABLE {
            let property = pattern.replace('*', "x");
            let value = match bad {
                NotTrue => "false",
                NotFalse => "true",
                NotOneOf(_) | Any => "other",
                OneOf(values) => values[0],
                PlainHttp => "http://x",
            };
            assert_eq!(
                judge(classification, &property, value).map(|found| found.weight),
                Some(*weight),
                "{property}"
            );
            if *safe != "not set" {
                assert_eq!(judge(classification, &property, safe), None, "{property}");
            }
        }
    }
}

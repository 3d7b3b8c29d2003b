//! What was observed about a launcher: its version, environment, storage targets and enrichments.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{base::printable::Printable, spec::located::Located};

/// What was observed about a launch, apart from its cluster and its data paths.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// Places of the config that a person is likely to read differently than the launcher does.
    pub ambiguities: Vec<ConfigAmbiguity>,
    /// Where the launcher reports its jobs to.
    pub tracking: Option<Tracking>,
    /// The storage targets and enrichments that the run gets.
    pub documents: RunnerDocuments,
}

/// A misleading place in the config: Ruby's parser has one definite result, but it differs from
/// what a reader would expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAmbiguity {
    /// The key's path, or `the document`.
    pub key: String,
    /// What the parser does there.
    pub what: &'static str,
    /// `file:line:column` of the value that Ruby uses.
    pub wins: String,
    /// `file:line:column` of the value that Ruby drops.
    pub loses: String,
}

/// `monitoring.snowplow`: the runner reports its jobs to a Snowplow collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// The collector's host.
    pub collector: Located<String>,
    /// `protocol`; the runner's default is `http`.
    pub protocol: Option<Located<String>>,
}

/// The files that the runner's arguments name, besides its config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Documents")]
pub struct RunnerDocuments {
    /// `--targets`.
    pub targets: Vec<StorageTarget>,
    /// `--enrichments`.
    pub enrichments: Vec<Enrichment>,
}

impl RunnerDocuments {
    /// Whether a target has this purpose.
    #[must_use]
    pub fn has(&self, purpose: Purpose) -> bool {
        self.targets.iter().any(|target| target.purpose == purpose)
    }
}

/// A version of EmrEtlRunner: three numbers.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
pub struct RunnerVersion(pub u32, pub u32, pub u32);

impl TryFrom<String> for RunnerVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or(text)
    }
}

impl std::fmt::Display for RunnerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl RunnerVersion {
    /// The first version that knows both encryption settings (R108).
    pub const FIRST_ENCRYPTING: Self = Self(0, 33, 0);

    /// Parses `1.0.4`.
    pub(crate) fn parse(version: &str) -> Option<Self> {
        let numbers: Vec<u32> =
            version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        match numbers.as_slice() {
            &[major, minor, patch] => Some(Self(major, minor, patch)),
            _ => None,
        }
    }
}

/// One enrichment's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Enrichment {
    /// The file's path.
    pub file: String,
    /// Its schema.
    pub schema: SchemaKey,
    /// `data.name`.
    pub name: Option<String>,
    /// `data.vendor`.
    pub vendor: Option<String>,
    /// `data.enabled`; a disabled enrichment contacts nothing.
    pub enabled: Option<bool>,
    /// Every value of a key `uri` in its parameters.
    pub sources: BTreeSet<EnrichmentSource>,
}

/// Where an enrichment gets its data from while it runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Source")]
pub enum EnrichmentSource {
    /// An S3 location, as written.
    S3(String),
    /// A server, by scheme, host and port: `http://api.acme.com:8080`.
    Server(String),
    /// A `uri` that is neither; it is not kept.
    Other,
}

/// One storage target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Target")]
pub struct StorageTarget {
    /// The file's path.
    pub file: String,
    /// Its schema.
    pub schema: SchemaKey,
    /// `data.name`: for people.
    pub name: Option<String>,
    /// `data.id`: a UUID. No two targets may have the same.
    pub id: Option<String>,
    /// `data.purpose`.
    pub purpose: Purpose,
    /// Where it is.
    pub store: Store,
}

/// What a target receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Purpose {
    /// Shredded events, by RDB Loader.
    #[serde(rename = "ENRICHED_EVENTS")]
    EnrichedEvents,
    /// Bad rows, by the Elasticsearch step.
    #[serde(rename = "FAILED_EVENTS")]
    FailedEvents,
    /// The shredder's records of events seen before. If there are several such targets, the runner
    /// uses the first one that the directory listing returns.
    #[serde(rename = "DUPLICATE_TRACKING")]
    DuplicateTracking,
    /// The same, in newer schemas. This runner does not use it.
    #[serde(rename = "EVENTS_MANIFEST")]
    EventsManifest,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// `redshift_config`.
    Redshift(Database),
    /// `postgresql_config`.
    Postgres(Database),
    /// `elastic_config`. It has no setting for TLS.
    Elasticsearch {
        /// The host's name.
        host: String,
        /// Its port.
        port: u16,
        /// Whether the client connects only to the named host.
        nodes_wan_only: bool,
    },
    /// `amazon_dynamodb_config`; connections to DynamoDB always use TLS.
    DynamoDb {
        /// The table's region.
        region: String,
        /// The table's name.
        table: String,
    },
}

/// A database that RDB Loader loads into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Database {
    /// `host`; `localhost` when a tunnel is used.
    pub host: String,
    /// `port`.
    pub port: u16,
    /// `database`.
    pub database: String,
    /// `jdbc.ssl` (Redshift since 3-0-0).
    pub ssl: Option<bool>,
    /// `jdbc.sslMode` (Redshift since 3-0-0) or `sslMode`, as written: `verify-ca`, `verify-full`,
    /// or `DISABLE`, `REQUIRE`, `VERIFY_CA`, `VERIFY_FULL`.
    pub ssl_mode: Option<String>,
    /// `sshTunnel.bastion.host`, when there is a tunnel.
    pub bastion: Option<String>,
    /// `roleArn`: the role with which Redshift reads from S3.
    pub role_arn: Option<String>,
    /// `processingManifest.amazonDynamoDb.tableName`.
    pub manifest_table: Option<String>,
}

/// A schema's name, such as `iglu:com.acme/redshift_config/jsonschema/4-0-0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SchemaKey {
    /// Who owns it: `com.acme`.
    pub vendor: String,
    /// `redshift_config`.
    pub name: String,
    /// Model, revision and addition: `4-0-0`.
    pub version: (u32, u32, u32),
}

impl SchemaKey {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("iglu:")?.split('/');
        let (vendor, name, format, version) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let legal = |text: &str, also: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
        };
        if parts.next().is_some()
            || !legal(vendor, "_-.")
            || !legal(name, "_-")
            || !legal(format, "_-")
        {
            return None;
        }
        let numbers: Vec<u32> =
            version.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let &[model, revision, addition] = numbers.as_slice() else { return None };
        Some(Self {
            vendor: vendor.to_owned(),
            name: name.to_owned(),
            version: (model, revision, addition),
        })
    }
}

impl std::fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (model, revision, addition) = self.version;
        write!(f, "iglu:{}/{}/jsonschema/{model}-{revision}-{addition}", self.vendor, self.name)
    }
}

/// One value that the seal set, and the value before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Change")]
pub struct SealChange {
    /// The key's path, with dots.
    pub key: String,
    /// The value before, as YAML shows it; `None` where the key was missing.
    pub before: Option<String>,
    /// The value now.
    pub after: String,
}

impl SealChange {
    /// Whether the key had a value that differs from the sealed one.
    #[must_use]
    pub fn replaced(&self) -> bool {
        self.before.as_deref() != Some(&self.after)
    }
}

/// An environment variable that is set and can load code or options into a Ruby or Java program.
/// Its value is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether its value makes the runner load code. Heap sizes and proxies, the common uses of
    /// these variables, do not.
    pub loads_code: bool,
    /// Whether its value makes another program run instead of the runner, or lets every user put
    /// one there.
    pub replaces_runner: bool,
    /// The documentation of its effect.
    pub source: &'static str,
}

/// A connection setting towards AWS that the launcher uses and the guard does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LauncherRoute {
    /// The variable that sets it.
    pub name: String,
    /// Its kind.
    pub kind: RouteKind,
    /// Its effect on the launcher; credentials are not kept.
    pub what: Printable,
    /// The documentation of its effect.
    pub source: &'static str,
}

/// The kind of a connection setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// A proxy that the guard does not use; or no proxy where the guard uses one.
    Proxy,
    /// Other certificate authorities to trust.
    Authorities,
}

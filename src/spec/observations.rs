//! What was seen of a launcher: its version, its environment, its storage targets and enrichments.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{base::printable::Printable, spec::located::Located};

/// What was seen of a launch besides its cluster and its data paths.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// Where the launcher's reading of its config is definite, but not what a person sees.
    pub ambiguities: Vec<ConfigAmbiguity>,
    /// Where the launcher reports its jobs to.
    pub tracking: Option<Tracking>,
    /// The storage targets and enrichments that the run is given.
    pub documents: RunnerDocuments,
}

/// A place that misleads people: Ruby's reading is definite, but not what stands there at first
/// sight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAmbiguity {
    /// The key's path, or `the document`.
    pub key: String,
    /// What happens there.
    pub what: &'static str,
    /// `file:line:column` of what Ruby takes.
    pub wins: String,
    /// `file:line:column` of what it drops.
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
    /// The first that knows both encryption settings (R108).
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
    /// What it is.
    pub schema: SchemaKey,
    /// `data.name`.
    pub name: Option<String>,
    /// `data.vendor`.
    pub vendor: Option<String>,
    /// `data.enabled`; what is disabled reaches out to nothing.
    pub enabled: Option<bool>,
    /// Everything called `uri` in its parameters.
    pub sources: BTreeSet<EnrichmentSource>,
}

/// Where an enrichment gets data from while it runs.
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
    /// What it is.
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

/// What a target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Purpose {
    /// Shredded events, by RDB Loader.
    #[serde(rename = "ENRICHED_EVENTS")]
    EnrichedEvents,
    /// Bad rows, by the Elasticsearch step.
    #[serde(rename = "FAILED_EVENTS")]
    FailedEvents,
    /// The shredder's notes on events seen before. Of several such targets the runner uses the one
    /// its folder lists first.
    #[serde(rename = "DUPLICATE_TRACKING")]
    DuplicateTracking,
    /// The same, in newer schemas; this runner does not use it.
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
        /// Whether only the named host is spoken to.
        nodes_wan_only: bool,
    },
    /// `amazon_dynamodb_config`; DynamoDB is spoken to with TLS.
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

/// One value that the seal set, and what stood there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Change")]
pub struct SealChange {
    /// The key's path, with dots.
    pub key: String,
    /// What stood there, as YAML shows it; `None` where the key was missing.
    pub before: Option<String>,
    /// What stands there now.
    pub after: String,
}

impl SealChange {
    /// Whether something else than the sealed value stood there.
    #[must_use]
    pub fn replaced(&self) -> bool {
        self.before.as_deref() != Some(&self.after)
    }
}

/// A variable by which code or options can get into a Ruby or a Java program, and that is set. Its
/// value is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether its value makes the runner load code; heap sizes and proxies, for which these are
    /// common, do not.
    pub loads_code: bool,
    /// Whether its value has another program run in the runner's place, or lets everybody put one
    /// there.
    pub replaces_runner: bool,
    /// Where it is written what it does.
    pub source: &'static str,
}

/// A way to AWS that the launcher takes and the guard does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LauncherRoute {
    /// The variable that it is from.
    pub name: String,
    /// What it is.
    pub kind: RouteKind,
    /// What the launcher does by it; credentials are not kept.
    pub what: Printable,
    /// Where it is written what it does.
    pub source: &'static str,
}

/// Of what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// A proxy, or none where the guard goes through one.
    Proxy,
    /// Other certificate authorities to believe.
    Authorities,
}

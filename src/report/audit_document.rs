//! The document of an audit: what was found in S3, location by location. The command `audit` writes
//! it, and its page is made of it, long afterwards and elsewhere too. `schema-audit.json` beside
//! this file says what is in it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    audit::{
        source::FactSource,
        tally::{ObjectCounts, ObjectJudgement, UncheckedObjects},
    },
    aws::trust::AwsConnections,
    base::outcome::Outcome,
    settings::policy::Policy,
};

/// The version of the form below; it grows when a field changes its meaning or goes away.
pub(crate) const VERSION: u32 = 1;

/// The schema of the version.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

/// What one audit by emr-etl-guard found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The document of one audit by emr-etl-guard")]
#[schemars(rename = "AuditDocument")]
pub(crate) struct AuditReport {
    /// The version of this form.
    #[schemars(schema_with = "version_schema")]
    pub(crate) version: u32,
    /// The version of the program that wrote it.
    pub(crate) guard: String,
    /// `audit`.
    pub(crate) command: String,
    /// When it began; with `--resume`, when its first part did.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When this was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// Where the facts came from.
    pub(crate) source: FactSource,
    /// The policy that objects were held against.
    pub(crate) policy: Policy,
    /// What was found, location by location.
    pub(crate) locations: Vec<AuditedLocation>,
    /// The same, in all.
    pub(crate) totals: Totals,
    /// The file in which every offender is listed, where one was asked for.
    pub(crate) offenders_file: Option<String>,
    /// Who vouched for the servers of AWS, and through which proxies they were asked; not of what a
    /// resumed run had asked before.
    #[serde(default)]
    pub(crate) connections: AwsConnections,
    /// Whether everything there is was seen.
    pub(crate) complete: bool,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The exit code, after remapping.
    pub(crate) exit_code: u8,
}

/// What was found in one location.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Location")]
pub(crate) struct AuditedLocation {
    /// The keys below `aws.s3.buckets` that name it; none for one that was named on the command
    /// line.
    pub(crate) roles: Vec<String>,
    /// `s3://…`.
    pub(crate) location: String,
    /// Objects by how they are encrypted.
    pub(crate) kinds: Vec<AuditedEncryption>,
    /// Empty objects: nothing in them to encrypt.
    pub(crate) empty: u64,
    /// Delete markers.
    pub(crate) delete_markers: u64,
    /// Objects that were listed, and gone when they were asked.
    pub(crate) vanished: u64,
    /// Objects that could not be looked at, by what stood in the way.
    pub(crate) unseen: Vec<UncheckedObjects>,
    /// Parts of the location that could not be listed.
    pub(crate) unlisted: Vec<UncheckedObjects>,
    /// There is no such bucket.
    pub(crate) no_bucket: bool,
}

/// Objects that are encrypted in one way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Kind")]
pub(crate) struct AuditedEncryption {
    /// `none`, `SSE-S3`, `SSE-KMS`, `DSSE-KMS`, `SSE-C`, or what S3 calls it.
    pub(crate) encryption: String,
    /// The KMS key, where there is one and the source tells it.
    pub(crate) kms_key: Option<String>,
    /// What the policy says of them.
    pub(crate) judgement: ObjectJudgement,
    /// How many they are, how large, and from when.
    #[serde(flatten)]
    pub(crate) counts: ObjectCounts,
}

/// The sums that decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Totals {
    /// Objects whose encryption was seen.
    pub(crate) objects: u64,
    /// Together, in bytes.
    pub(crate) bytes: u64,
    /// Those that are not encrypted as required.
    pub(crate) offenders: u64,
    /// Together, in bytes.
    pub(crate) offending_bytes: u64,
    /// Objects that could not be looked at, or not be judged.
    pub(crate) unseen: u64,
    /// Empty objects.
    pub(crate) empty: u64,
    /// Delete markers.
    pub(crate) delete_markers: u64,
}

//! The report of an audit: the objects in S3, location by location. The command `audit` writes it,
//! and its HTML page is rendered from it, later and on other machines too. `schema-audit.json`
//! beside this file describes it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    audit::{
        source::FactSource,
        tally::{ObjectCounts, ObjectJudgement, UncheckedObjects},
    },
    aws::trust::AwsConnections,
    base::{outcome::Outcome, text::shell_word},
    report::caller::LocalCaller,
    settings::policy::Policy,
};

/// The version of this format; it increases when a field changes its meaning or is removed.
pub(crate) const VERSION: u32 = 1;

/// The schema of the field `version`.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

/// The result of one audit by emr-etl-guard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The document of one audit by emr-etl-guard")]
#[schemars(rename = "AuditDocument")]
pub(crate) struct AuditReport {
    /// The version of this format.
    #[schemars(schema_with = "version_schema")]
    pub(crate) version: u32,
    /// The version of the program that wrote it.
    pub(crate) guard: String,
    /// `audit`.
    pub(crate) command: String,
    /// When it started; with `--resume`, when its first part started.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When this report was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// Who ran it; with `--resume`, its last part. Reports of older guards leave it out.
    #[serde(default)]
    pub(crate) who: Option<LocalCaller>,
    /// The source of the facts.
    pub(crate) source: FactSource,
    /// The policy that the objects were checked against.
    pub(crate) policy: Policy,
    /// The results, location by location.
    pub(crate) locations: Vec<AuditedLocation>,
    /// The totals over all locations.
    pub(crate) totals: Totals,
    /// The file that lists every failing object, if one was requested.
    pub(crate) offenders_file: Option<String>,
    /// The certificate authorities that verified the AWS servers, and the proxies that were used.
    /// Requests of earlier parts of a resumed audit are not included.
    #[serde(default)]
    pub(crate) connections: AwsConnections,
    /// Whether all objects were seen.
    pub(crate) complete: bool,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The exit code, after remapping.
    pub(crate) exit_code: u8,
}

/// The result for one location.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Location")]
pub(crate) struct AuditedLocation {
    /// The keys below `aws.s3.buckets` that name it; none for one from the command line.
    pub(crate) roles: Vec<String>,
    /// `s3://…`.
    pub(crate) location: String,
    /// Objects by encryption.
    pub(crate) kinds: Vec<AuditedEncryption>,
    /// Empty objects, which have no content to encrypt.
    pub(crate) empty: u64,
    /// Delete markers.
    pub(crate) delete_markers: u64,
    /// Objects that were listed, and deleted before they were looked up.
    pub(crate) vanished: u64,
    /// Objects that could not be looked up, by reason.
    pub(crate) unseen: Vec<UncheckedObjects>,
    /// Parts of the location that could not be listed.
    pub(crate) unlisted: Vec<UncheckedObjects>,
    /// The bucket does not exist.
    pub(crate) no_bucket: bool,
}

impl AuditedLocation {
    /// Whether it has objects that are not encrypted as required.
    pub(crate) fn offends(&self) -> bool {
        self.kinds.iter().any(|kind| kind.judgement == ObjectJudgement::Offender)
    }

    /// The command that shows how its objects would be encrypted; with `--apply` it changes them.
    pub(crate) fn repair_command(&self) -> String {
        format!("emr-etl-guard reencrypt {}", shell_word(&self.location))
    }
}

/// Objects with the same encryption.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Kind")]
pub(crate) struct AuditedEncryption {
    /// `none`, `SSE-S3`, `SSE-KMS`, `DSSE-KMS`, `SSE-C`, or S3's name for it.
    pub(crate) encryption: String,
    /// The KMS key, if there is one and the source contains it.
    pub(crate) kms_key: Option<String>,
    /// The policy's verdict on them.
    pub(crate) judgement: ObjectJudgement,
    /// Their number, size and dates.
    #[serde(flatten)]
    pub(crate) counts: ObjectCounts,
}

/// The totals that decide the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Totals {
    /// Objects whose encryption was seen.
    pub(crate) objects: u64,
    /// Together, in bytes.
    pub(crate) bytes: u64,
    /// Objects that are not encrypted as required.
    pub(crate) offenders: u64,
    /// Together, in bytes.
    pub(crate) offending_bytes: u64,
    /// Objects that could not be looked up or evaluated.
    pub(crate) unseen: u64,
    /// Empty objects.
    pub(crate) empty: u64,
    /// Delete markers.
    pub(crate) delete_markers: u64,
}

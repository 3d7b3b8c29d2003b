//! The document of a `reencrypt`: what was found, what was done about it, what is left, and what it
//! costs. The command writes it, and its page is made of it. `schema-reencrypt.json` beside this
//! file says what is in it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    aws::trust::AwsConnections,
    base::{lookup::LookupError, outcome::Outcome},
    reencrypt::{cost::CostEstimate, job::Job, leftover::SkippedObjects, uploads::OpenUploads},
    settings::policy::Policy,
};

/// The version of the form below; it grows when a field changes its meaning or goes away.
pub(crate) const VERSION: u32 = 1;

/// The schema of the version.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

/// What one `reencrypt` by emr-etl-guard found and did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The document of one reencrypt by emr-etl-guard")]
#[schemars(rename = "ReencryptDocument")]
pub(crate) struct ReencryptReport {
    /// The version of this form.
    #[schemars(schema_with = "version_schema")]
    pub(crate) version: u32,
    /// The version of the program that wrote it.
    pub(crate) guard: String,
    /// `reencrypt`.
    pub(crate) command: String,
    /// How far it was to go.
    pub(crate) mode: Mode,
    /// What else was asked for.
    pub(crate) asked: ReencryptOptions,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When this was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// The account whose credentials did it.
    pub(crate) account: String,
    /// The buckets' region.
    pub(crate) region: String,
    /// The policy that objects were held against.
    pub(crate) policy: Policy,
    /// What the objects of each bucket get.
    pub(crate) buckets: Vec<BucketTarget>,
    /// Why the safety switch would refuse to change anything.
    pub(crate) refusals: Vec<String>,
    /// What the changes set off besides: notifications, replication, lifecycle rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) side_effects: Vec<String>,
    /// What was found and done, location by location; empty where nothing was looked at.
    pub(crate) locations: Vec<ReencryptedLocation>,
    /// Old versions that were removed.
    pub(crate) old_versions_removed: u64,
    /// Restores that were asked for.
    pub(crate) restores_started: u64,
    /// Jobs of S3 Batch Operations, made or followed.
    pub(crate) jobs: Vec<Job>,
    /// What is not done, by why.
    pub(crate) left: Vec<SkippedObjects>,
    /// Uploads in parts that are open in the locations, and that were not looked at: they are no
    /// objects yet. Only locations that have some, or where that could not be seen.
    #[serde(default)]
    pub(crate) open_uploads: Vec<OpenUploads>,
    /// What it would cost, looking included.
    pub(crate) estimate: CostEstimate,
    /// What it came to; none where nothing was done.
    pub(crate) spent: Option<CostEstimate>,
    /// Who vouched for the servers of AWS, and through which proxies they were asked; not of what a
    /// resumed run had asked before.
    #[serde(default)]
    pub(crate) connections: AwsConnections,
    /// Whether every object that was looked at is as it should be, and all could be looked at.
    pub(crate) complete: bool,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The exit code, after remapping.
    pub(crate) exit_code: u8,
}

/// How far it was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Nothing was to be changed.
    DryRun,
    /// Objects were changed.
    Apply,
    /// Jobs of S3 Batch Operations were made.
    Batch,
    /// They were followed, and everything was looked at again.
    BatchStatus,
}

/// What else was asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Asked")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct ReencryptOptions {
    /// `--restore`.
    pub(crate) restore: bool,
    /// `--purge-old-versions`.
    pub(crate) purge_old_versions: bool,
    /// `--purge-overwritten-versions`.
    #[serde(default)]
    pub(crate) purge_overwritten_versions: bool,
    /// `--generate-manifest`.
    pub(crate) generate_manifest: bool,
}

/// What the objects of a bucket get.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketTarget {
    /// The bucket.
    pub(crate) bucket: String,
    /// `SSE-S3`, `SSE-KMS` or `DSSE-KMS`.
    pub(crate) encryption: String,
    /// The KMS key's ARN; none for SSE-S3, and for a key that AWS is yet to make.
    pub(crate) kms_key: Option<String>,
    /// Who says so.
    pub(crate) by: String,
    /// Whether it keeps versions.
    pub(crate) versioned: bool,
}

/// What was found and done in one location.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Location")]
pub(crate) struct ReencryptedLocation {
    /// The key below `aws.s3.buckets`; none for one that was named on the command line.
    pub(crate) role: Option<String>,
    /// `s3://…`.
    pub(crate) location: String,
    /// Objects that were looked at.
    pub(crate) looked_at: u64,
    /// Those that are not as they should be, by what is to be done about them.
    pub(crate) found: Vec<PlannedObjects>,
    /// Those that were changed, and proved to be as they should, by how.
    pub(crate) done: Vec<Done>,
    /// Objects, or the whole place, that could not be looked at.
    pub(crate) unseen: u64,
    /// What stood in the way of the first of them.
    pub(crate) obstacle: Option<LookupError>,
}

/// Objects of which the same is to be done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Found")]
pub(crate) struct PlannedObjects {
    /// What.
    pub(crate) method: ReportedMethod,
    /// Why they stay as they are, for `leave`; with what to do about it.
    pub(crate) why: Option<String>,
    /// How many.
    pub(crate) objects: u64,
    /// Together, in bytes.
    pub(crate) bytes: u64,
    /// The keys of the first of them.
    pub(crate) first: Vec<String>,
}

/// What is done about an object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Method")]
pub(crate) enum ReportedMethod {
    /// `UpdateObjectEncryption`: no data moves.
    UpdateObjectEncryption,
    /// `CopyObject` onto itself.
    Copy,
    /// A copy in parts onto itself.
    CopyInParts,
    /// Its restore is asked for; a later run goes on.
    Restore,
    /// An old version, which is removed.
    PurgeOldVersion,
    /// It stays as it is.
    Leave,
}

/// Objects that were changed in the same way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Done {
    /// How.
    pub(crate) method: ReportedMethod,
    /// How many.
    pub(crate) objects: u64,
    /// Together, in bytes.
    pub(crate) bytes: u64,
}

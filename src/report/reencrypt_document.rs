//! The report of a `reencrypt`: what was found, what was changed, what is left, and the cost. The
//! command writes it, and its HTML page is rendered from it. `schema-reencrypt.json` beside this
//! file describes it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    aws::trust::AwsConnections,
    base::{lookup::LookupError, outcome::Outcome, text::shell_word},
    reencrypt::{cost::CostEstimate, job::Job, leftover::SkippedObjects, uploads::OpenUploads},
    report::caller::LocalCaller,
    settings::policy::Policy,
};

/// The version of this format; it increases when a field changes its meaning or is removed.
pub(crate) const VERSION: u32 = 1;

/// The schema of the field `version`.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

/// The result of one `reencrypt` by emr-etl-guard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The document of one reencrypt by emr-etl-guard")]
#[schemars(rename = "ReencryptDocument")]
pub(crate) struct ReencryptReport {
    /// The version of this format.
    #[schemars(schema_with = "version_schema")]
    pub(crate) version: u32,
    /// The version of the program that wrote it.
    pub(crate) guard: String,
    /// `reencrypt`.
    pub(crate) command: String,
    /// The mode of the command.
    pub(crate) mode: Mode,
    /// Its other options.
    pub(crate) asked: ReencryptOptions,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When this report was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// Who ran it. Reports of older guards leave it out.
    #[serde(default)]
    pub(crate) who: Option<LocalCaller>,
    /// The account of the credentials.
    pub(crate) account: String,
    /// The buckets' region.
    pub(crate) region: String,
    /// The policy that the objects were checked against.
    pub(crate) policy: Policy,
    /// The target encryption of the objects in each bucket.
    pub(crate) buckets: Vec<BucketTarget>,
    /// The reasons for which the safety switch refuses changes.
    pub(crate) refusals: Vec<String>,
    /// The side effects of the changes: notifications, replication, lifecycle rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) side_effects: Vec<String>,
    /// What was found and changed, location by location; empty if nothing was looked up.
    pub(crate) locations: Vec<ReencryptedLocation>,
    /// Old versions that were removed.
    pub(crate) old_versions_removed: u64,
    /// Restores that were requested.
    pub(crate) restores_started: u64,
    /// Jobs of S3 Batch Operations, created or followed.
    pub(crate) jobs: Vec<Job>,
    /// Work that was not done, by reason.
    pub(crate) left: Vec<SkippedObjects>,
    /// Open multipart uploads in the locations. They were not checked, because they are no objects
    /// yet. Only locations that have some, or that could not be searched.
    #[serde(default)]
    pub(crate) open_uploads: Vec<OpenUploads>,
    /// The estimated cost, including the scan.
    pub(crate) estimate: CostEstimate,
    /// The actual cost; none if nothing was done.
    pub(crate) spent: Option<CostEstimate>,
    /// The certificate authorities that verified the AWS servers, and the proxies that were used.
    /// Requests of earlier parts of a resumed run are not included.
    #[serde(default)]
    pub(crate) connections: AwsConnections,
    /// Whether all objects could be looked up, and every one is encrypted as required.
    pub(crate) complete: bool,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The exit code, after remapping.
    pub(crate) exit_code: u8,
}

impl ReencryptReport {
    /// The number of objects of the location that are not encrypted as required after the changes.
    /// Removed old versions are counted only over all locations together.
    pub(crate) fn left_in(&self, location: &ReencryptedLocation) -> u64 {
        let planned = |location: &ReencryptedLocation, purged: bool| {
            let found = location.found.iter();
            let of_kind =
                found.filter(|found| (found.method == ReportedMethod::PurgeOldVersion) == purged);
            of_kind.map(|found| found.objects).sum::<u64>()
        };
        let to_purge: u64 = self.locations.iter().map(|location| planned(location, true)).sum();
        let purged = self.old_versions_removed >= to_purge;
        let done: u64 = location.done.iter().map(|done| done.objects).sum();
        let still_old = if purged { 0 } else { planned(location, true) };
        planned(location, false).saturating_sub(done) + still_old
    }
}

impl ReencryptedLocation {
    /// The command that continues with this location after `mode`; none if no command can do more.
    pub(crate) fn command(&self, mode: Mode) -> Option<String> {
        self.found.iter().any(|found| found.method != ReportedMethod::Leave).then(|| {
            let place = shell_word(&self.location);
            let bucket = self.location.strip_prefix("s3://").unwrap_or_default();
            let bucket = shell_word(bucket.split('/').next().unwrap_or_default());
            let how = match mode {
                Mode::DryRun | Mode::Apply => "--apply",
                Mode::Batch => "--batch-status --confirm",
                Mode::BatchStatus => "--batch-status",
            };
            format!("emr-etl-guard reencrypt {place} --bucket {bucket} {how}")
        })
    }
}

/// The mode of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// No changes were allowed.
    DryRun,
    /// Objects were changed.
    Apply,
    /// Jobs of S3 Batch Operations were created.
    Batch,
    /// They were followed, and everything was looked up again.
    BatchStatus,
}

/// The other options of the command.
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

/// The target encryption of a bucket's objects.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BucketTarget {
    /// The bucket.
    pub(crate) bucket: String,
    /// `SSE-S3`, `SSE-KMS` or `DSSE-KMS`.
    pub(crate) encryption: String,
    /// The KMS key's ARN; none for SSE-S3, and for a key that AWS has not created yet.
    pub(crate) kms_key: Option<String>,
    /// Where the target comes from.
    pub(crate) by: String,
    /// Whether it keeps versions.
    pub(crate) versioned: bool,
}

/// What was found and changed in one location.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Location")]
pub(crate) struct ReencryptedLocation {
    /// The key below `aws.s3.buckets`; none for one from the command line.
    pub(crate) role: Option<String>,
    /// `s3://…`.
    pub(crate) location: String,
    /// Objects that were looked up.
    pub(crate) looked_at: u64,
    /// Objects that are not encrypted as required, by planned action.
    pub(crate) found: Vec<PlannedObjects>,
    /// Objects that were changed and verified, by method.
    pub(crate) done: Vec<Done>,
    /// Objects that could not be looked up, or the whole location.
    pub(crate) unseen: u64,
    /// The reason for the first of them.
    pub(crate) obstacle: Option<LookupError>,
}

/// Objects with the same planned action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Found")]
pub(crate) struct PlannedObjects {
    /// The method.
    pub(crate) method: ReportedMethod,
    /// Why they remain unchanged, for `leave`; with what to do about it.
    pub(crate) why: Option<String>,
    /// How many.
    pub(crate) objects: u64,
    /// Together, in bytes.
    pub(crate) bytes: u64,
    /// The keys of the first of them.
    pub(crate) first: Vec<String>,
}

/// The action for an object.
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
    /// A multipart copy onto itself.
    CopyInParts,
    /// Its restore is requested; a later run continues.
    Restore,
    /// An old version, which is removed.
    PurgeOldVersion,
    /// It remains unchanged.
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

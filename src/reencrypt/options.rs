//! The options of the parts of a repair, as plain fields.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    base::names::S3Location, reencrypt::target::RequestedTarget, settings::policy::Policy,
    spec::data_paths::DataLocation,
};

/// The pipeline, from its launcher's config.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipelineConfig<'a> {
    pub(crate) locations: &'a [DataLocation],
    /// The name of its clusters.
    pub(crate) job_name: &'a str,
    /// The security configuration of its clusters, where config or settings contain one.
    pub(crate) security_configuration: Option<&'a str>,
}

/// Where a repair may work, and its target.
#[derive(Clone, Debug)]
pub(crate) struct ScopeOptions<'a> {
    /// The S3 URIs to work in; none: the locations of the pipeline.
    pub(crate) locations: &'a [String],
    /// Buckets outside of the pipeline in which objects may be changed.
    pub(crate) buckets: &'a [String],
    pub(crate) asked: RequestedTarget,
    /// Archived objects are restored.
    pub(crate) restore: bool,
    pub(crate) restore_days: u16,
    /// Old versions that were replaced by this program's own verified copies are removed.
    pub(crate) purge_old_versions: bool,
    /// Old versions that other writers overwrote are removed.
    pub(crate) purge_overwritten_versions: bool,
    pub(crate) policy: &'a Policy,
}

/// How fast objects may be changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateLimits {
    /// Objects in a second.
    pub(crate) objects: Option<NonZeroU32>,
    /// Bytes in a second.
    pub(crate) bytes: Option<u64>,
}

/// The parameters of a job of S3 Batch Operations, apart from its objects.
#[derive(Clone, Debug)]
pub(crate) struct BatchOptions {
    /// The ARN of its role.
    pub(crate) role: String,
    /// Where manifests and reports go.
    pub(crate) place: S3Location,
    pub(crate) priority: i32,
}

/// How a job is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowOptions {
    /// A job that waits for its confirmation is confirmed.
    pub(crate) confirm: bool,
    /// The interval of requests to S3.
    pub(crate) poll_interval: Duration,
    /// No progress is shown.
    pub(crate) quiet: bool,
    /// The side effects of copies were acknowledged.
    pub(crate) acknowledged: bool,
}

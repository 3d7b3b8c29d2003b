//! What the parts of a repair are asked to do, as plain fields.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    base::names::S3Location, reencrypt::target::RequestedTarget, settings::policy::Policy,
    spec::data_paths::DataLocation,
};

/// What the config of a pipeline's launcher says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipelineConfig<'a> {
    pub(crate) locations: &'a [DataLocation],
    /// The name of its clusters.
    pub(crate) job_name: &'a str,
    /// The security configuration of its clusters, where config or settings name one.
    pub(crate) security_configuration: Option<&'a str>,
}

/// Where a repair may work, and what objects get there.
#[derive(Clone, Debug)]
pub(crate) struct ScopeOptions<'a> {
    /// S3 URIs to work in; none: the locations of the pipeline.
    pub(crate) locations: &'a [String],
    /// Buckets outside the pipeline in which objects may be changed.
    pub(crate) buckets: &'a [String],
    pub(crate) asked: RequestedTarget,
    /// Archived objects are restored.
    pub(crate) restore: bool,
    pub(crate) restore_days: u16,
    /// Old versions that this program's own proved copies replaced are removed.
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

/// What a job of S3 Batch Operations needs besides its objects.
#[derive(Clone, Debug)]
pub(crate) struct BatchOptions {
    /// The ARN of the role that it runs under.
    pub(crate) role: String,
    /// Where manifests and reports go.
    pub(crate) place: S3Location,
    pub(crate) priority: i32,
}

/// How a job is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowOptions {
    /// A job that waits for its confirmation gets it.
    pub(crate) confirm: bool,
    /// How often S3 is asked.
    pub(crate) poll_interval: Duration,
    /// No progress is shown.
    pub(crate) quiet: bool,
    /// What copies set off was acknowledged.
    pub(crate) acknowledged: bool,
}

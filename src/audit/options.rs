//! What an audit is asked to do, besides its locations and what it accepts.

use std::path::PathBuf;

use crate::audit::offenders::OffendersFormat;

/// The options that the engine needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditScanOptions {
    /// Old versions too.
    pub(crate) versions: bool,
    /// The manifests of inventories to read; none: S3 itself is asked.
    pub(crate) inventories: Vec<String>,
    /// Where the list of offenders goes.
    pub(crate) offenders: Option<PathBuf>,
    pub(crate) offenders_format: Option<OffendersFormat>,
    /// No progress is shown.
    pub(crate) quiet: bool,
}

//! The options of an audit, except its locations and the accepted encryption.

use std::path::PathBuf;

use crate::audit::offenders::OffendersFormat;

/// The options that the engine needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditScanOptions {
    /// Whether old versions are audited, too.
    pub(crate) versions: bool,
    /// The manifests of inventories to read. If there are none, S3 itself is scanned.
    pub(crate) inventories: Vec<String>,
    /// The path of the list of offenders.
    pub(crate) offenders: Option<PathBuf>,
    pub(crate) offenders_format: Option<OffendersFormat>,
    /// Whether progress is hidden.
    pub(crate) quiet: bool,
}

//! What an audit needs before it starts: clients, locations, the accepted encryption, options.

use time::OffsetDateTime;

use crate::{
    audit::{
        error::AuditError, offenders::Offenders, options::AuditScanOptions, scope::AuditTarget,
    },
    aws::clients::Aws,
    base::digest::sha256,
    checks::stored::Standard,
};

/// What is audited, with which clients, and against which standard.
pub(crate) struct AuditInputs {
    pub(crate) aws: Aws,
    /// The encryption that the policy accepts.
    pub(crate) wanted: Standard,
    pub(crate) targets: Vec<AuditTarget>,
    pub(crate) options: AuditScanOptions,
    pub(crate) started: OffsetDateTime,
}

impl AuditInputs {
    /// Opens the list of offenders, if one is requested. `kept`: continue the draft of this name,
    /// which has this length in bytes.
    pub(super) fn open_list(
        &self,
        kept: Option<(u64, Option<&str>)>,
    ) -> Result<Option<Offenders>, AuditError> {
        let options = &self.options;
        let versions = options.versions || !options.inventories.is_empty();
        options
            .offenders
            .as_deref()
            .map(|path| Offenders::open(path, options.offenders_format, versions, kept))
            .transpose()
            .map_err(AuditError::Offenders)
    }

    /// A digest of the scope and the options. An audit continues only a state of the same digest.
    pub(super) fn digest(&self) -> String {
        let Self { options, wanted, targets, .. } = self;
        sha256(format!(
            "{targets:?} {} {wanted:?} {:?} {:?}",
            options.versions, options.offenders, options.offenders_format
        ))
    }
}

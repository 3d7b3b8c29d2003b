//! The result of an audit.

use time::OffsetDateTime;

use crate::audit::{
    offenders::Offenders, scope::AuditTarget, source::FactSource, tally::AuditTally,
};

/// The counts of each location.
#[derive(Debug)]
pub(crate) struct AuditResult {
    pub(crate) started: OffsetDateTime,
    pub(crate) source: FactSource,
    pub(crate) targets: Vec<AuditTarget>,
    /// In the order of `targets`.
    pub(crate) tallies: Vec<AuditTally>,
    /// The list of offenders, still to be completed; none if it would be incomplete.
    pub(crate) offenders: Option<Offenders>,
}

//! What an audit has found.

use time::OffsetDateTime;

use crate::audit::{
    offenders::Offenders, scope::AuditTarget, source::FactSource, tally::AuditTally,
};

/// What was counted, location by location.
#[derive(Debug)]
pub(crate) struct AuditResult {
    pub(crate) started: OffsetDateTime,
    pub(crate) source: FactSource,
    pub(crate) targets: Vec<AuditTarget>,
    /// In the order of `targets`.
    pub(crate) tallies: Vec<AuditTally>,
    /// The list of offenders, which is yet to be finished; none where it would not be whole.
    pub(crate) offenders: Option<Offenders>,
}

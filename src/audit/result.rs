//! What an audit has found.

use time::OffsetDateTime;

use crate::audit::{offenders::Offenders, scope::Target, source::Source, tally::Tally};

/// What was counted, location by location.
#[derive(Debug)]
pub(crate) struct AuditResult {
    pub(crate) started: OffsetDateTime,
    pub(crate) source: Source,
    pub(crate) targets: Vec<Target>,
    /// In the order of `targets`.
    pub(crate) tallies: Vec<Tally>,
    /// The list of offenders, which is yet to be finished; none where it would not be whole.
    pub(crate) offenders: Option<Offenders>,
}

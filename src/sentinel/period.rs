//! What a report of the sentinel tells of: a period of its work.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::sentinel::{places::AccountRegion, record::SentinelCluster};

/// Why a period ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeriodEnd {
    /// A termination has concluded.
    Termination,
    /// The time of the setting `report_every` has passed.
    Schedule,
    /// The sentinel ended.
    End,
}

/// A period.
#[derive(Clone, Debug)]
pub(crate) struct WatchedPeriod {
    /// When it began: when the one before ended, or when the sentinel started.
    pub(crate) began: OffsetDateTime,
    /// When it ended.
    pub(crate) ended: OffsetDateTime,
    /// Why it ended.
    pub(crate) cause: PeriodEnd,
    /// Whether each place could be seen.
    pub(crate) places: BTreeMap<AccountRegion, PlaceSight>,
    /// Every cluster that lived in it, as far as it was seen.
    pub(crate) clusters: Vec<SentinelCluster>,
    /// The calls to EMR in it, by operation.
    pub(crate) emr_calls: BTreeMap<String, u64>,
    /// How many of EMR's answers in it asked to slow down.
    pub(crate) throttled: u64,
}

/// Whether the clusters of a place could be seen in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceSight {
    /// The last complete list of its clusters; none: there was none in the period.
    pub(crate) last_list: Option<OffsetDateTime>,
    /// The times at which it was not known which clusters there were, in order.
    pub(crate) lost: Vec<LostSight>,
}

/// A time at which it was not known which clusters a place had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostSight {
    /// When it began, at the earliest when the period did.
    pub(crate) from: OffsetDateTime,
    /// When it ended; none: it went on.
    pub(crate) until: Option<OffsetDateTime>,
    /// Why.
    pub(crate) why: String,
}

impl PlaceSight {
    /// The clusters were listed.
    pub(crate) fn listed(&mut self, now: OffsetDateTime) {
        self.last_list = Some(now);
    }

    /// It is unknown from now on which clusters there are.
    pub(crate) fn lose(&mut self, now: OffsetDateTime, why: String) {
        self.lost.push(LostSight { from: now, until: None, why });
    }

    /// It is known again.
    pub(crate) fn regain(&mut self, now: OffsetDateTime) {
        if let Some(lost) = self.lost.last_mut() {
            lost.until.get_or_insert(now);
        }
    }

    /// The sight in the next period, which begins now.
    pub(crate) fn next(&self, now: OffsetDateTime) -> Self {
        let open = self.lost.last().filter(|lost| lost.until.is_none());
        let lost = open.map(|lost| LostSight { from: now, ..lost.clone() });
        Self { last_list: None, lost: lost.into_iter().collect() }
    }
}

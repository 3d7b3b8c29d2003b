//! One place: one region of one account.

use std::collections::BTreeMap;

use crate::watch::machine::{
    account::{
        listing::PlaceListing, names::Names, plan::AccountLimits, quota::PlaceQuota,
        tracked::Tracked,
    },
    plan::Id,
    time::{AwsTime, Moment},
};

/// How many clusters that are over are remembered. Beyond that the oldest are forgotten, and not
/// asked for any more.
const OVER_REMEMBERED: usize = 10_000;

/// A cluster that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    created: Option<AwsTime>,
    forgotten: Moment,
}

/// What is known of a place.
#[derive(Clone, Debug)]
pub(super) struct Place<I> {
    pub(super) listing: PlaceListing,
    pub(super) quota: PlaceQuota,
    pub(super) names: Names<I>,
    pub(super) clusters: BTreeMap<I, Tracked>,
    /// Clusters that are over, and that a list or an event may still name.
    over: BTreeMap<I, Past>,
}

impl<I: Id> Place<I> {
    /// A place of which nothing is known.
    pub(super) fn new(listing: PlaceListing, quota: PlaceQuota) -> Self {
        Self {
            listing,
            quota,
            names: Names::new(),
            clusters: BTreeMap::new(),
            over: BTreeMap::new(),
        }
    }

    /// Whether this cluster is over, and was reported.
    pub(super) fn is_past(&self, id: &I) -> bool {
        self.over.contains_key(id)
    }

    /// A cluster is over, and was reported.
    pub(super) fn remember(&mut self, now: Moment, id: I, created: Option<AwsTime>) {
        self.over.insert(id, Past { created, forgotten: now });
    }

    /// The clusters that are over and were reported, as far as it is known when they were created.
    pub(super) fn past(&self) -> impl Iterator<Item = (&I, AwsTime)> {
        self.over.iter().filter_map(|(id, past)| Some((id, past.created?)))
    }

    /// Whether a cluster that is over was created before the time from which on clusters are seen:
    /// it was reported, or is from before the first sentinel's time.
    pub(super) fn is_history(&self, created: AwsTime) -> bool {
        self.listing.since.is_none_or(|since| created < since)
    }

    /// Forgets clusters that are over and that no list will show any more. A list that is old shows
    /// them as alive, so all are remembered for some time.
    pub(super) fn forget_past(&mut self, now: Moment, limits: &AccountLimits) {
        let since = self.listing.since;
        let shown = limits.interval * 20;
        self.over.retain(|_, past| {
            let is_listed = past.created >= since && past.created.is_some();
            is_listed || now.since(past.forgotten) < shown
        });
        while self.over.len() > OVER_REMEMBERED {
            let oldest = self.over.iter().min_by_key(|(_, past)| past.created);
            let Some((id, past)) = oldest.map(|(id, past)| (id.clone(), *past)) else { return };
            self.over.remove(&id);
            let after = past.created.map(|created| AwsTime(created.0.saturating_add(1)));
            self.listing.since = self.listing.since.max(after);
        }
    }

    /// How many things are remembered beside the clusters that live.
    #[cfg(any(test, feature = "mutants"))]
    pub(super) fn remembered(&self) -> usize {
        self.over.len() + self.names.due().count() + self.names.asked().count()
    }
}

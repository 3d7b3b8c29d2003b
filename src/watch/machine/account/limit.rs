//! The limit of terminations per hour, over all places together.

use std::{collections::BTreeMap, time::Duration};

use crate::watch::machine::time::Moment;

/// The time that the limit is stated for.
const HOUR: Duration = Duration::from_hours(1);

/// The clusters whose termination was requested within the last hour. There are never more of them
/// than the limit allows.
#[derive(Clone, Debug)]
pub(super) struct TerminationLimit<K> {
    per_hour: usize,
    /// When each termination was requested for the last time.
    requested: BTreeMap<K, Moment>,
    /// When terminations that an earlier sentinel requested are an hour ago.
    earlier: Vec<Moment>,
}

impl<K: Ord> TerminationLimit<K> {
    /// The limit, and how long before the start each earlier termination was requested.
    pub(super) fn new(per_hour: u32, earlier: &[Duration]) -> Self {
        Self {
            per_hour: usize::try_from(per_hour).unwrap_or(usize::MAX),
            requested: BTreeMap::new(),
            earlier: earlier
                .iter()
                .filter_map(|ago| HOUR.checked_sub(*ago))
                .map(|left| Moment::START.after(left))
                .collect(),
        }
    }

    /// Forgets what is more than an hour ago.
    pub(super) fn pass(&mut self, now: Moment) {
        self.requested.retain(|_, requested| now.since(*requested) < HOUR);
        self.earlier.retain(|until| *until > now);
    }

    /// How many further clusters may be terminated now.
    pub(super) fn room(&self) -> usize {
        self.per_hour.saturating_sub(self.requested.len() + self.earlier.len())
    }

    /// Counts a request. A request that is repeated for the same cluster counts from then on.
    pub(super) fn count(&mut self, now: Moment, cluster: K) {
        self.requested.insert(cluster, now);
    }

    /// When there is room for another one.
    pub(super) fn next_room(&self) -> Option<Moment> {
        let requested = self.requested.values().map(|requested| requested.after(HOUR));
        requested.chain(self.earlier.iter().copied()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Moment {
        Moment(Duration::from_mins(minutes))
    }

    #[test]
    fn the_limit_counts_clusters_of_the_last_hour_also_of_an_earlier_sentinel() {
        let earlier = [Duration::from_mins(50), Duration::from_mins(70)];
        let mut limit = TerminationLimit::new(3, &earlier);
        assert_eq!(limit.room(), 2, "the one of 70 minutes ago does not count");
        limit.count(at(1), "j-1");
        limit.count(at(2), "j-1");
        assert_eq!(limit.room(), 1, "a cluster counts once");
        limit.count(at(3), "j-2");
        assert_eq!((limit.room(), limit.next_room()), (0, Some(at(10))));
        limit.pass(at(10));
        assert_eq!((limit.room(), limit.next_room()), (1, Some(at(62))));
        limit.pass(at(61));
        assert_eq!(limit.room(), 1, "j-1 was requested again after two minutes");
        limit.pass(at(63));
        assert_eq!((limit.room(), limit.next_room()), (3, None));
    }

    #[test]
    fn a_limit_of_none_has_never_room() {
        let limit = TerminationLimit::<u32>::new(0, &[]);
        assert_eq!((limit.room(), limit.next_room()), (0, None));
    }
}

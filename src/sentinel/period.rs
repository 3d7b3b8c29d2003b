//! What a report of the sentinel tells of: a period of its work.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::sentinel::{
    ledger::key_of,
    places::{AccountRegion, ClusterKey},
    record::SentinelCluster,
};

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
    /// When it began: when the one before ended, or when the sentinel started; where no report says
    /// what an earlier sentinel saw last, when that began.
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

impl WatchedPeriod {
    /// This period and the one before it as one, because no report of that one could be written.
    pub(crate) fn with_earlier(self, earlier: Self) -> Self {
        let mut places = earlier.places;
        for (place, sight) in self.places {
            let sight = match places.remove(&place) {
                Some(before) => before.followed_by(sight, self.began),
                None => sight,
            };
            places.insert(place, sight);
        }
        let clusters = earlier.clusters.into_iter().chain(self.clusters);
        let clusters: BTreeMap<ClusterKey, SentinelCluster> =
            clusters.map(|cluster| (key_of(&cluster), cluster)).collect();
        let mut emr_calls = earlier.emr_calls;
        for (operation, count) in self.emr_calls {
            *emr_calls.entry(operation).or_default() += count;
        }
        Self {
            began: earlier.began,
            ended: self.ended,
            cause: self.cause,
            places,
            clusters: clusters.into_values().collect(),
            emr_calls,
            throttled: earlier.throttled + self.throttled,
        }
    }
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
    /// The first list after it also shows what was created meanwhile and is over.
    pub(crate) is_relisted: bool,
}

impl PlaceSight {
    /// The sight of a place that is not seen from this time on.
    pub(crate) fn unseen(from: OffsetDateTime, why: &str, is_relisted: bool) -> Self {
        let lost = LostSight { from, until: None, why: why.to_owned(), is_relisted };
        Self { last_list: None, lost: vec![lost] }
    }

    /// The sight in this period and the next one, which began then.
    fn followed_by(mut self, next: Self, began: OffsetDateTime) -> Self {
        let mut lost = next.lost.into_iter().peekable();
        if let Some(open) = self.lost.last_mut().filter(|lost| lost.until.is_none())
            && let Some(rest) = lost.next_if(|lost| lost.from == began)
        {
            open.until = rest.until;
        }
        self.lost.extend(lost);
        Self { last_list: next.last_list.or(self.last_list), lost: self.lost }
    }

    /// The clusters were listed: it is known which there are.
    pub(crate) fn listed(&mut self, now: OffsetDateTime) {
        self.last_list = Some(now);
        self.regain(now);
    }

    /// It is unknown from now on which clusters there are. Nothing changes where it was unknown
    /// before.
    pub(crate) fn lose(&mut self, now: OffsetDateTime, why: String, is_relisted: bool) {
        if self.lost.last().is_none_or(|lost| lost.until.is_some()) {
            self.lost.push(LostSight { from: now, until: None, why, is_relisted });
        }
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

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;
    use crate::sentinel::{record::SentinelVerdict, watched::WatchedCluster};

    const START: OffsetDateTime = datetime!(2026-11-30 08:00 UTC);

    fn at(hours: i64) -> OffsetDateTime {
        START + Duration::hours(hours)
    }

    fn place(region: &str) -> AccountRegion {
        AccountRegion { account: "123456789012".to_owned(), region: region.to_owned() }
    }

    fn cluster(id: &str, verdict: SentinelVerdict) -> SentinelCluster {
        let record = WatchedCluster::new(&place("eu-west-1"), &id.parse().unwrap(), START).record;
        SentinelCluster { verdict, ..record }
    }

    fn period(from: i64, places: &[(&str, PlaceSight)], ids: &[&str]) -> WatchedPeriod {
        let verdict = if from == 0 { SentinelVerdict::Unjudged } else { SentinelVerdict::Unsafe };
        WatchedPeriod {
            began: at(from),
            ended: at(from + 2),
            cause: PeriodEnd::Schedule,
            places: places.iter().map(|(name, sight)| (place(name), sight.clone())).collect(),
            clusters: ids.iter().map(|id| cluster(id, verdict)).collect(),
            emr_calls: BTreeMap::from([("ListClusters".to_owned(), 3)]),
            throttled: 1,
        }
    }

    #[test]
    fn two_periods_together_have_what_each_has_and_the_time_of_both() {
        let mut lost = PlaceSight::default();
        lost.listed(at(0));
        lost.lose(at(1), "denied".to_owned(), true);
        let mut back = lost.next(at(2));
        back.listed(at(3));
        let places = [("eu-west-1", lost), ("us-east-1", PlaceSight::unseen(at(0), "gone", false))];
        let earlier = period(0, &places, &["j-1", "j-2"]);
        let later =
            period(2, &[("eu-west-1", back), ("eu-west-2", PlaceSight::default())], &["j-2"]);
        let both = later.with_earlier(earlier);
        assert_eq!((both.began, both.ended), (at(0), at(4)));
        assert_eq!((both.emr_calls["ListClusters"], both.throttled), (6, 2));
        let verdicts: Vec<(&str, SentinelVerdict)> =
            both.clusters.iter().map(|one| (one.id.as_str(), one.verdict)).collect();
        assert_eq!(
            verdicts,
            [("j-1", SentinelVerdict::Unjudged), ("j-2", SentinelVerdict::Unsafe)],
            "the later record counts"
        );
        // One time without sight is one, although a period ended in it.
        let sight = &both.places[&place("eu-west-1")];
        assert_eq!(sight.last_list, Some(at(3)));
        let times: Vec<_> = sight.lost.iter().map(|lost| (lost.from, lost.until)).collect();
        assert_eq!(times, [(at(1), Some(at(3)))]);
        // A place that only one of them has stays as it is.
        assert_eq!(both.places[&place("us-east-1")].lost[0].until, None);
        assert_eq!(both.places.len(), 3);
    }

    #[test]
    fn what_is_not_seen_is_lost_once_until_it_is_listed() {
        let mut sight = PlaceSight::unseen(at(0), "it was not listed yet", false);
        sight.lose(at(1), "denied".to_owned(), true);
        assert_eq!(sight.lost.len(), 1);
        sight.listed(at(2));
        sight.listed(at(3));
        assert_eq!(sight.lost[0].until, Some(at(2)));
        sight.lose(at(4), "denied".to_owned(), true);
        assert_eq!((sight.lost.len(), sight.next(at(5)).lost[0].from), (2, at(5)));
    }
}

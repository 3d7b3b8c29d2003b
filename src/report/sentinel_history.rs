//! The reports of one sentinel put together: each cluster once, with all that was done about it,
//! and every time at which it was not known which clusters there were.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::{
    base::names::ClusterId,
    report::sentinel_document::{SentinelCounts, SentinelReport, UnseenTime},
    sentinel::{places::ALL_REGIONS, record::SentinelCluster},
};

/// Two periods of one sentinel follow each other at once; clocks are compared this loosely.
const AT_ONCE: Duration = Duration::seconds(1);

/// What one or several reports of a sentinel say together.
#[derive(Clone, Debug)]
pub(crate) struct SentinelHistory {
    /// The reports, by period, each once; at least one.
    reports: Vec<SentinelReport>,
    /// Each cluster once, as the last report about it has it, by creation.
    pub(crate) clusters: Vec<SentinelCluster>,
    /// The times at which it was not known which clusters there were, by place.
    pub(crate) gaps: Vec<SightGap>,
}

/// A time at which it was not known which clusters a place had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SightGap {
    /// The account; none: this is said of all accounts.
    pub(crate) account: Option<String>,
    /// The region; none: this is said of all regions.
    pub(crate) region: Option<String>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) from: OffsetDateTime,
    /// When it ended, or the last report did.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) until: OffsetDateTime,
    /// Why.
    pub(crate) why: String,
    /// The clusters that were created meanwhile were listed afterwards.
    pub(crate) listed_afterwards: bool,
}

/// Why reports cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HistoryError {
    /// There is none.
    #[error("no report of a sentinel was given")]
    Nothing,
    /// They are not of one chain.
    #[error(
        "the reports are of several sentinels ({}); expected those of one; fix: give those of each \
         on their own",
        .0.join(", ")
    )]
    SeveralChains(Vec<String>),
}

const NOT_COVERED: &str = "no report covers this time: the sentinel did not run, or died before it \
    could write one";
const NOT_YET_WATCHED: &str = "it was not watched yet";
const NO_LONGER_WATCHED: &str = "it was not watched any more";

impl SentinelHistory {
    /// Puts reports of one sentinel together, which may be in any order and there several times.
    ///
    /// # Errors
    /// [`HistoryError`] if there is none, or if they are of several sentinels.
    pub(crate) fn of(
        reports: impl IntoIterator<Item = SentinelReport>,
    ) -> Result<Self, HistoryError> {
        let mut reports: Vec<SentinelReport> = reports.into_iter().collect();
        let sequence =
            |report: &SentinelReport| report.chain.as_ref().map_or(0, |chain| chain.sequence);
        reports.sort_by(|one, other| {
            (sequence(one), one.started, &one.run).cmp(&(
                sequence(other),
                other.started,
                &other.run,
            ))
        });
        reports.dedup_by(|one, other| one.run == other.run);
        // Reports without a chain are those of a sentinel without a state directory: it has a new
        // id at each start.
        let names: BTreeSet<String> = reports
            .iter()
            .map(|report| {
                report.chain.as_ref().map_or_else(
                    || format!("sentinel {}", report.sentinel),
                    |chain| format!("chain {}", chain.id),
                )
            })
            .collect();
        match names.len() {
            0 => return Err(HistoryError::Nothing),
            1 => {}
            _ => return Err(HistoryError::SeveralChains(names.into_iter().collect())),
        }
        Ok(Self { clusters: merged(&reports), gaps: gaps(&reports), reports })
    }

    /// The reports, by period.
    pub(crate) fn reports(&self) -> &[SentinelReport] {
        &self.reports
    }

    /// The last report; of several it says which settings are in force, and how it ended.
    pub(crate) fn last(&self) -> Option<&SentinelReport> {
        self.reports.last()
    }

    /// When the first period began.
    pub(crate) fn from(&self) -> OffsetDateTime {
        let begun = self.reports.iter().map(|report| report.started);
        begun.min().unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// When the last period ended.
    pub(crate) fn until(&self) -> OffsetDateTime {
        let ended = self.reports.iter().map(|report| report.ended);
        ended.max().unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The counts of all clusters.
    pub(crate) fn counts(&self) -> SentinelCounts {
        SentinelCounts::of(&self.clusters)
    }

    /// Each place that a report names, by account and region.
    pub(crate) fn places(&self) -> BTreeSet<(&str, &str)> {
        let places = self.reports.iter().flat_map(|report| &report.places);
        places.map(|place| (place.account.as_str(), place.region.as_str())).collect()
    }

    /// The calls to EMR in all periods, by operation.
    pub(crate) fn emr_calls(&self) -> BTreeMap<&str, u64> {
        let mut calls = BTreeMap::new();
        for (operation, count) in self.reports.iter().flat_map(|report| &report.emr_calls) {
            *calls.entry(operation.as_str()).or_default() += count;
        }
        calls
    }
}

/// Each cluster of `reports` once: as the last report has it, with the acts of all of them.
fn merged(reports: &[SentinelReport]) -> Vec<SentinelCluster> {
    let mut clusters: BTreeMap<(String, String, ClusterId), SentinelCluster> = BTreeMap::new();
    for cluster in reports.iter().flat_map(|report| &report.clusters) {
        let key = (cluster.account.clone(), cluster.region.clone(), cluster.id.clone());
        let mut cluster = cluster.clone();
        if let Some(earlier) = clusters.remove(&key) {
            cluster.first_seen = cluster.first_seen.min(earlier.first_seen);
            cluster.launcher = cluster.launcher.or(earlier.launcher);
            cluster.judged = [earlier.judged, cluster.judged].into_iter().flatten().min();
            let mut acts = earlier.acts;
            acts.extend(std::mem::take(&mut cluster.acts));
            acts.sort_by_key(|act| (act.at, act.what));
            acts.dedup();
            cluster.acts = acts;
        }
        clusters.insert(key, cluster);
    }
    let mut clusters: Vec<SentinelCluster> = clusters.into_values().collect();
    clusters.sort_by_key(|cluster| cluster.created);
    clusters
}

/// The times of each place that no report covers, and those at which it was not seen.
fn gaps(reports: &[SentinelReport]) -> Vec<SightGap> {
    let [first, ..] = reports else { return Vec::new() };
    let last = reports.iter().map(|report| report.ended).max().unwrap_or(first.ended);
    let places: BTreeSet<(&str, &str)> = reports
        .iter()
        .flat_map(|report| &report.places)
        .map(|place| (place.account.as_str(), place.region.as_str()))
        .collect();
    let mut gaps = Vec::new();
    for (account, region) in places {
        let gap = |unseen: UnseenTime| SightGap {
            account: Some(account.to_owned()),
            region: Some(region.to_owned()),
            from: unseen.from,
            until: unseen.until.unwrap_or(last),
            why: unseen.why,
            listed_afterwards: unseen.listed_afterwards,
        };
        gaps.extend(without_parts(gaps_of_place(reports, account, region, last)).map(gap));
    }
    gaps
}

fn gaps_of_place(
    reports: &[SentinelReport],
    account: &str,
    region: &str,
    last: OffsetDateTime,
) -> Vec<UnseenTime> {
    let not_covered = |from, until, why: &str| UnseenTime {
        from,
        until: Some(until),
        why: why.to_owned(),
        listed_afterwards: false,
    };
    let mut gaps = Vec::new();
    // An account whose regions were unknown is no place that is watched, but for this.
    let is_place = region != ALL_REGIONS;
    let mut covered = reports.first().map_or(last, |report| report.started);
    let mut why = NOT_YET_WATCHED;
    for report in reports {
        let place =
            report.places.iter().find(|place| place.account == account && place.region == region);
        let Some(place) = place else {
            // The first report without it says whether it never was, or no longer is, watched.
            if why == NOT_COVERED {
                why = NO_LONGER_WATCHED;
            }
            continue;
        };
        if is_place && report.started > covered + AT_ONCE {
            gaps.push(not_covered(covered, report.started, why));
        }
        gaps.extend(place.unseen.iter().map(|unseen| UnseenTime {
            until: Some(unseen.until.unwrap_or(report.ended)),
            ..unseen.clone()
        }));
        (covered, why) = (covered.max(report.ended), NOT_COVERED);
    }
    if is_place && last > covered + AT_ONCE {
        gaps.push(not_covered(covered, last, NO_LONGER_WATCHED));
    }
    gaps.sort_by_key(|gap| (gap.from, gap.until));
    gaps
}

/// `gaps` without those that lie within another: a later report says more of a gap that goes on, or
/// of the time before its sentinel started.
fn without_parts(gaps: Vec<UnseenTime>) -> impl Iterator<Item = UnseenTime> {
    fn lies_within(part: &UnseenTime, whole: &UnseenTime) -> bool {
        let (part_until, whole_until) = (part.until, whole.until.map(|until| until + AT_ONCE));
        whole.from <= part.from && whole_until >= part_until
    }
    let all = gaps.clone();
    gaps.into_iter().enumerate().filter_map(move |(index, gap)| {
        let is_part = all.iter().enumerate().any(|(other, whole)| {
            other != index
                && lies_within(&gap, whole)
                && (!lies_within(whole, &gap) || other > index)
        });
        (!is_part).then_some(gap)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::chain::ChainLink,
        report::sentinel_document::tests::{
            ACCOUNT, act, cluster, eventful, hours, period, report, terminated,
        },
        sentinel::record::{SentinelActKind, SentinelVerdict},
    };

    fn place(region: &str) -> (String, String) {
        (ACCOUNT.to_owned(), region.to_owned())
    }

    fn unseen(from: i64, until: Option<i64>) -> UnseenTime {
        UnseenTime {
            from: hours(from),
            until: until.map(hours),
            why: "denied".to_owned(),
            listed_afterwards: until.is_some(),
        }
    }

    /// Each gap: its region, its hours, and why.
    fn gaps_of(history: &SentinelHistory) -> Vec<(&str, i64, i64, &str)> {
        let hour = |at: OffsetDateTime| (at - hours(0)).whole_hours();
        let gap = |gap: &'_ SightGap| (hour(gap.from), hour(gap.until));
        history
            .gaps
            .iter()
            .map(|one| {
                let (from, until) = gap(one);
                (one.region.as_deref().unwrap_or("all"), from, until, &*one.why)
            })
            .collect()
    }

    #[test]
    fn periods_that_follow_each_other_leave_no_gap_and_the_time_between_others_is_one() {
        let whole = SentinelHistory::of([report(period(2)), report(period(1))]).unwrap();
        assert_eq!(gaps_of(&whole), []);
        assert_eq!((whole.from(), whole.until()), (hours(0), hours(12)));
        let broken = SentinelHistory::of([report(period(1)), report(period(4))]).unwrap();
        assert_eq!(
            gaps_of(&broken),
            [("eu-west-1", 6, 18, NOT_COVERED), ("us-east-1", 6, 18, NOT_COVERED)]
        );
        assert!(broken.gaps.iter().all(|gap| !gap.listed_afterwards));
    }

    #[test]
    fn a_place_is_not_seen_before_it_is_watched_and_after_it_was() {
        let (mut first, mut third) = (period(1), period(3));
        first.places.remove(&place("us-east-1"));
        third.places.remove(&place("us-east-1"));
        let all = [report(first), report(period(2)), report(third)];
        assert_eq!(
            gaps_of(&SentinelHistory::of(all).unwrap()),
            [("us-east-1", 0, 6, NOT_YET_WATCHED), ("us-east-1", 12, 18, NO_LONGER_WATCHED)]
        );
    }

    #[test]
    fn an_account_whose_regions_were_unknown_is_not_seen_until_they_are_known_and_no_longer() {
        let (mut first, mut second) = (period(1), period(2));
        let seen = (None, vec![unseen(6, Some(7))]);
        first.places = BTreeMap::from([(place("*"), (None, vec![unseen(0, None)]))]);
        second.places = BTreeMap::from([(place("eu-west-1"), seen)]);
        let history = SentinelHistory::of([report(first), report(second), report(period(3))]);
        let gaps = history.unwrap().gaps;
        let of_all: Vec<&SightGap> =
            gaps.iter().filter(|gap| gap.region.as_deref() == Some("*")).collect();
        let [gap] = of_all.as_slice() else { panic!("{gaps:?}") };
        assert_eq!((gap.from, gap.until), (hours(0), hours(6)));
    }

    #[test]
    fn a_gap_that_goes_on_is_as_long_as_the_later_report_says() {
        let (mut first, mut second) = (period(1), period(2));
        first.places.insert(place("eu-west-1"), (None, vec![unseen(4, None)]));
        second.places.insert(place("eu-west-1"), (None, vec![unseen(4, Some(7))]));
        let history = SentinelHistory::of([report(first.clone()), report(second)]).unwrap();
        assert_eq!(gaps_of(&history), [("eu-west-1", 4, 7, "denied")]);
        assert!(history.gaps[0].listed_afterwards);
        // The last report does not say when it ends.
        let open = SentinelHistory::of([report(first)]).unwrap();
        assert_eq!(gaps_of(&open), [("eu-west-1", 4, 6, "denied")]);
        assert!(!open.gaps[0].listed_afterwards);
    }

    #[test]
    fn each_cluster_is_there_once_as_last_seen_with_all_that_was_done() {
        let (mut first, mut second) = (period(1), period(2));
        let mut early = cluster("j-1ENDED", SentinelVerdict::Unsafe);
        early.acts = vec![act(SentinelActKind::ToldUnsafe, hours(1))];
        early.launcher = terminated("j-1ENDED").launcher;
        let mut late = terminated("j-1ENDED");
        late.acts = vec![act(SentinelActKind::Terminated, hours(7))];
        late.launcher = None;
        first.clusters = vec![early.clone()];
        second.clusters = vec![late];
        let history = SentinelHistory::of([report(second), report(first)]).unwrap();
        let [merged] = history.clusters.as_slice() else { panic!("{:?}", history.clusters) };
        let acts: Vec<SentinelActKind> = merged.acts.iter().map(|act| act.what).collect();
        assert_eq!(acts, [SentinelActKind::ToldUnsafe, SentinelActKind::Terminated]);
        assert_eq!((merged.state.as_str(), &merged.launcher), ("TERMINATED", &early.launcher));
        // The same id in another region is another cluster.
        let mut other = period(1);
        let mut elsewhere = early.clone();
        elsewhere.region = "us-east-1".to_owned();
        other.clusters = vec![early, elsewhere];
        assert_eq!(SentinelHistory::of([report(other)]).unwrap().clusters.len(), 2);
    }

    #[test]
    fn reports_of_two_sentinels_are_not_one_history() {
        let of_chain = |id: &str| {
            let mut report = report(eventful());
            report.run = format!("run of {id}");
            report.chain = Some(ChainLink {
                id: id.to_owned(),
                sequence: 1,
                previous: None,
                unrecorded: Vec::new(),
            });
            report
        };
        let error = SentinelHistory::of([of_chain("a"), of_chain("b")]).unwrap_err();
        assert_eq!(
            error,
            HistoryError::SeveralChains(vec!["chain a".to_owned(), "chain b".to_owned()])
        );
        assert_eq!(SentinelHistory::of([]).unwrap_err(), HistoryError::Nothing);
        assert_eq!(SentinelHistory::of([of_chain("a"), of_chain("a")]).unwrap().reports.len(), 1);
    }
}

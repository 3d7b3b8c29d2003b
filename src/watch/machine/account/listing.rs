//! When the clusters of one place are listed, and up to when all of them have been seen.

use std::{collections::BTreeMap, time::Duration};

use crate::watch::machine::{
    account::{plan::AccountLimits, tracked::shortest},
    pace::{Jitter, Slowdown},
    time::{AwsTime, Moment},
};

/// ListClusters may not show a cluster yet that was created this long ago, in milliseconds: so the
/// time that is asked for is this far back. EMR states no limit; some seconds were observed.
const OVERLAP: i64 = 10 * 60 * 1_000;
/// The time up to which all clusters were seen is noted whenever it has moved by this much, in
/// milliseconds.
const NOTED_EVERY: i64 = 10 * 60 * 1_000;
/// So many lists without an answer are remembered.
const UNDER_WAY: usize = 4;
/// The largest factor of the interval while EMR throttles.
const SLOWEST: f64 = 4.0;

/// The lists of one place.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct PlaceListing {
    /// When the next one is due.
    pub(super) next: Moment,
    /// When each list without an answer was requested.
    under_way: BTreeMap<u64, Moment>,
    /// The number of the last list that was answered.
    answered: u64,
    /// An event came since the last list.
    soon: bool,
    /// How many lists in a row have shown nothing that lives.
    quiet: u32,
    /// EMR has throttled since the last list.
    pub(super) throttled: bool,
    slowdown: Slowdown,
    jitter: Jitter,
    /// All clusters that were created before then were seen.
    pub(super) since: Option<AwsTime>,
    noted: Option<AwsTime>,
    /// One was answered.
    pub(super) has_succeeded: bool,
    /// Why the last one failed, and since when nothing was seen.
    pub(super) trouble: Option<(String, Moment)>,
    /// It was reported that nothing is seen.
    pub(super) told_lost: bool,
}

impl PlaceListing {
    /// The lists of a place whose clusters an earlier sentinel has seen up to `since`.
    pub(super) fn new(now: Moment, since: Option<AwsTime>, seed: u64) -> Self {
        Self {
            next: now,
            under_way: BTreeMap::new(),
            answered: 0,
            soon: false,
            quiet: 0,
            throttled: false,
            slowdown: Slowdown::NONE,
            jitter: Jitter::new(seed),
            since,
            noted: since,
            has_succeeded: false,
            trouble: None,
            told_lost: false,
        }
    }

    /// Whether an answer is awaited.
    pub(super) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// A list is sent. Without an answer, another one follows after `patience`.
    pub(super) fn sent(&mut self, now: Moment, number: u64, patience: Duration) {
        if let Some(first) = self.under_way.values().next() {
            let why = "EMR has not answered ListClusters".to_owned();
            self.trouble.get_or_insert((why, *first));
        }
        self.under_way.insert(number, now);
        if self.under_way.len() > UNDER_WAY {
            self.under_way.pop_first();
        }
        self.soon = false;
        self.next = now.after(patience);
    }

    /// A list was answered: returns when it was requested, unless a later one was answered before.
    pub(super) fn take(&mut self, number: u64) -> Option<Moment> {
        let asked = self.under_way.remove(&number).filter(|_| number > self.answered)?;
        self.under_way.retain(|other, _| *other > number);
        self.answered = number;
        Some(asked)
    }

    /// An event came: the next list is due soon.
    pub(super) fn look_soon(&mut self, now: Moment, limits: &AccountLimits) {
        self.soon = true;
        self.quiet = 0;
        if !self.is_under_way() {
            self.next = self.next.min(now.after(shortest(limits)));
        }
    }

    /// Sets when the next list is due; `lives`: something lives here, or lived a short time ago.
    pub(super) fn rest(&mut self, now: Moment, limits: &AccountLimits, lives: bool) {
        self.quiet = if lives { 0 } else { self.quiet.saturating_add(1) };
        let throttled = std::mem::take(&mut self.throttled);
        let slower = self.slowdown.next(throttled, SLOWEST);
        let idle = 1 << self.quiet.saturating_sub(1).min(2);
        let pause = self.jitter.around((limits.interval * idle).mul_f64(slower));
        let pause = if self.soon { shortest(limits).mul_f64(slower) } else { pause };
        if !self.is_under_way() {
            self.next = now.after(pause);
        }
    }

    /// A list that EMR made at this time was read. Returns the time up to which all clusters were
    /// seen, if it is to be noted.
    pub(super) fn seen(&mut self, made: Option<AwsTime>, overlap: bool) -> Option<AwsTime> {
        let overlap = if overlap { OVERLAP } else { 0 };
        let until = made.map(|made| AwsTime(made.0.saturating_sub(overlap)));
        self.since = self.since.max(until);
        let moved = match (self.since, self.noted) {
            (Some(since), Some(noted)) => since.0.saturating_sub(noted.0) >= NOTED_EVERY,
            (since, _) => since.is_some(),
        };
        if moved {
            self.noted = self.since;
        }
        self.since.filter(|_| moved)
    }
}

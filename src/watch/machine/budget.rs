//! Rate limits for requests to EMR. EMR has a token bucket for each operation that refills over
//! time, shared by all guards and runners of an account. A request that would exceed a limit waits
//! until the bucket has a token.

use std::{collections::VecDeque, time::Duration};

use crate::watch::machine::{event::Action, plan::WatchMode, time::Moment};

/// The quotas are stated for this poll interval; a longer interval does not lower them.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many calls are remembered that may be taken back: more than are under way at once.
const REMEMBERED: usize = 16;

/// An operation with a quota of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    List,
    Describe,
    Steps,
    SecurityConfiguration,
    BootstrapActions,
    Groups,
    Instances,
    Terminate,
    Protection,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::List,
        Self::Describe,
        Self::Steps,
        Self::SecurityConfiguration,
        Self::BootstrapActions,
        Self::Groups,
        Self::Instances,
        Self::Terminate,
        Self::Protection,
    ];

    /// The bucket's size in calls, and its refill time per call in tenths of five seconds, within
    /// EMR's quota. With a poll interval below five seconds, which only tests choose, all times
    /// shrink in proportion.
    fn quota(self) -> (u32, u32) {
        match self {
            Self::Describe | Self::Groups | Self::BootstrapActions => (10, 2),
            // The driver itself requests the steps of a cluster that is over: some calls are
            // reserved for that.
            Self::Steps => (8, 4),
            Self::Instances | Self::Terminate => (10, 4),
            Self::List => (20, 4),
            Self::SecurityConfiguration => (5, 4),
            Self::Protection => (5, 10),
        }
    }
}

/// One bucket, stored as the time at which it is full again. It is empty while that time is at
/// least one full refill away. Each call moves the time later by the refill time of one call.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full: Moment,
}

/// The buckets of all operations.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    interval: Duration,
    /// They refill so many times slower than EMR's.
    slower: u32,
    buckets: [Bucket; Operation::ALL.len()],
    /// The last calls of DescribeSecurityConfiguration: when, and when its bucket was full before.
    configurations: VecDeque<(Moment, Moment)>,
}

impl Buckets {
    /// Full buckets.
    pub(super) fn full(interval: Duration, slower: u32) -> Self {
        let buckets = [Bucket { full: Moment::START }; Operation::ALL.len()];
        Self { interval, slower, buckets, configurations: VecDeque::new() }
    }

    /// Empty buckets.
    pub(super) fn empty(interval: Duration, slower: u32) -> Self {
        let mut empty = Self::full(interval, slower);
        for operation in Operation::ALL {
            let (burst, _) = operation.quota();
            let refilled = Moment::START.after(empty.refill(operation) * burst);
            empty.buckets[operation as usize] = Bucket { full: refilled };
        }
        empty
    }

    /// Accounts for a call that is made.
    pub(super) fn spend(&mut self, now: Moment, operation: Operation) {
        let one = self.refill(operation);
        let bucket = &mut self.buckets[operation as usize];
        if operation == Operation::SecurityConfiguration {
            if self.configurations.len() == REMEMBERED {
                self.configurations.pop_front();
            }
            self.configurations.push_back((now, bucket.full));
        }
        bucket.full = bucket.full.max(now).after(one);
    }

    /// Takes back a DescribeSecurityConfiguration that was accounted for at that time and not made.
    /// What was accounted for since then is computed again: a bucket that was full in between has
    /// lost what would have refilled it. One that is too old to be remembered stays spent.
    pub(super) fn give_back(&mut self, spent: Moment) {
        let one = self.refill(Operation::SecurityConfiguration);
        let Some(index) = self.configurations.iter().position(|(at, _)| *at == spent) else {
            return;
        };
        let Some((_, mut full)) = self.configurations.remove(index) else { return };
        for (at, before) in self.configurations.range_mut(index..) {
            *before = full;
            full = full.max(*at).after(one);
        }
        self.buckets[Operation::SecurityConfiguration as usize].full = full;
    }

    /// When a call may be made after which `reserve` others may be made at once. More than the
    /// bucket holds is never reserved.
    pub(super) fn allowed_from(&self, operation: Operation, reserve: u32) -> Moment {
        let (burst, _) = operation.quota();
        let room = self.refill(operation) * burst.saturating_sub(reserve.saturating_add(1));
        Moment(self.buckets[operation as usize].full.0.saturating_sub(room))
    }

    /// The time that one call takes to refill.
    fn refill(&self, operation: Operation) -> Duration {
        let (_, tenths) = operation.quota();
        self.interval.min(INTERVAL) * (tenths * self.slower) / 10
    }
}

/// The remaining quota, and the actions that wait for it.
#[derive(Clone, Debug)]
pub(super) struct Budget<I> {
    buckets: Buckets,
    held: Vec<(Action<I>, Vec<Operation>)>,
}

impl<I> Budget<I> {
    /// The budget of a guard that starts. When a run is resumed, or a named cluster is watched
    /// again, an earlier guard may have used up the quota a moment ago, possibly as one of many in
    /// a crash loop. So these begin with empty buckets.
    pub(super) fn new(mode: WatchMode, interval: Duration) -> Self {
        let buckets = match mode {
            WatchMode::Run => Buckets::full(interval, 1),
            WatchMode::Resume | WatchMode::Attach => Buckets::empty(interval, 1),
        };
        Self { buckets, held: Vec::new() }
    }

    /// Accounts for a call that is made.
    pub(super) fn spend(&mut self, now: Moment, operation: Operation) {
        self.buckets.spend(now, operation);
    }

    /// When a call may be made.
    fn allowed_from(&self, operation: Operation) -> Moment {
        self.buckets.allowed_from(operation, 0)
    }

    /// Returns the actions that may run now, in order, and keeps the rest. `calls` gives the
    /// operations of an action; earlier waiting actions go first.
    pub(super) fn pass(
        &mut self,
        now: Moment,
        actions: Vec<Action<I>>,
        calls: impl Fn(&Action<I>) -> Vec<Operation>,
    ) -> Vec<Action<I>> {
        let mut passed = Vec::with_capacity(actions.len());
        // An action that waits for one operation also holds back later actions that need the same
        // operation.
        let mut blocked = [false; Operation::ALL.len()];
        let waiting = std::mem::take(&mut self.held);
        let new = actions.into_iter().map(|action| {
            let calls = calls(&action);
            (action, calls)
        });
        for (action, calls) in waiting.into_iter().chain(new) {
            let may = calls.iter().all(|operation| {
                !blocked[*operation as usize] && self.allowed_from(*operation) <= now
            });
            if may {
                calls.iter().for_each(|operation| self.spend(now, *operation));
                passed.push(action);
            } else {
                calls.iter().for_each(|operation| blocked[*operation as usize] = true);
                self.held.push((action, calls));
            }
        }
        passed
    }

    /// When the next waiting action may run; an action that could run now waits for those before
    /// it.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        let from = |calls: &[Operation]| calls.iter().map(|call| self.allowed_from(*call)).max();
        let due = self.held.iter().filter_map(|(_, calls)| from(calls));
        due.filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::machine::event::Question;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn search(_: &Action<u32>) -> Vec<Operation> {
        vec![Operation::List]
    }

    fn passed(budget: &mut Budget<u32>, millis: u64, count: usize) -> usize {
        let searches = vec![Action::Ask(Question::Search); count];
        budget.pass(at(millis), searches, search).len()
    }

    #[test]
    fn a_new_run_may_ask_as_much_at_once_as_emr_allows_and_the_rest_when_it_has_refilled() {
        let mut budget = Budget::new(WatchMode::Run, Duration::from_secs(5));
        assert_eq!(passed(&mut budget, 0, 25), 20);
        assert_eq!(budget.due(at(0)), Some(at(2_000)));
        assert_eq!(passed(&mut budget, 1_999, 0), 0);
        assert_eq!(passed(&mut budget, 2_000, 0), 1);
        assert_eq!(passed(&mut budget, 8_000, 0), 3);
        assert_eq!(passed(&mut budget, 60_000, 0), 1, "no more waits");
        assert_eq!(budget.due(at(60_000)), None);
        assert_eq!(passed(&mut budget, 60_000, 25), 19, "it holds no more than EMR allows");
    }

    #[test]
    fn a_guard_that_looks_seldom_may_ask_as_often_as_emr_allows() {
        let mut budget = Budget::new(WatchMode::Attach, Duration::from_secs(3600));
        assert_eq!(passed(&mut budget, 0, 1), 0);
        assert_eq!(passed(&mut budget, 2_000, 0), 1);
    }

    #[test]
    fn a_resumed_run_may_ask_as_much_as_has_refilled_since_its_start() {
        let mut budget = Budget::new(WatchMode::Resume, Duration::from_secs(5));
        assert_eq!(passed(&mut budget, 0, 2), 0);
        assert_eq!(budget.due(at(0)), Some(at(2_000)));
        assert_eq!(passed(&mut budget, 2_000, 0), 1);
        assert_eq!(passed(&mut budget, 4_000, 0), 1);
    }
}

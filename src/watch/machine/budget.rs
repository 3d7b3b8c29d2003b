//! What may be asked of EMR: its quotas are buckets, one for each operation, which refill with the
//! time, and all guards and runners of an account draw from them. A question that would take too much
//! waits until there is room for it.

use std::time::Duration;

use crate::watch::machine::{event::Action, plan::WatchMode, time::Moment};

/// The interval for which the quotas are given; a longer one makes them no smaller.
const INTERVAL: Duration = Duration::from_secs(5);

/// An operation that has a quota of its own.
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

    /// So many calls at once, and so many tenths of five seconds from one to the next: that is EMR's
    /// quota. Where the guard looks more often than every five seconds all times are shorter: that is
    /// chosen for tests.
    fn quota(self) -> (u32, u32) {
        match self {
            Self::Describe | Self::Groups | Self::BootstrapActions => (10, 2),
            // The driver asks for the steps of a cluster that is over by itself: some are left for
            // that.
            Self::Steps => (8, 4),
            Self::Instances | Self::Terminate => (10, 4),
            Self::List => (20, 4),
            Self::SecurityConfiguration => (5, 4),
            Self::Protection => (5, 10),
        }
    }
}

/// One bucket: the time at which it is full again. It is empty while that is further away than what
/// it holds takes to refill, and one call makes it later by what one call takes.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full: Moment,
}

/// What may be asked, and what waits for it.
#[derive(Clone, Debug)]
pub(super) struct Budget<I> {
    interval: Duration,
    buckets: [Bucket; Operation::ALL.len()],
    held: Vec<(Action<I>, Vec<Operation>)>,
}

impl<I> Budget<I> {
    /// The budget of a guard that starts. Whoever resumes a run, or is started again to watch what a
    /// person named, does not know what the guard before it has used up, perhaps a moment ago, and
    /// perhaps as one of many that died one after the other: it begins with empty buckets.
    pub(super) fn new(mode: WatchMode, interval: Duration) -> Self {
        let buckets = Operation::ALL.map(|operation| Bucket {
            full: match mode {
                WatchMode::Run => Moment::START,
                WatchMode::Resume | WatchMode::Attach => {
                    let (burst, _) = operation.quota();
                    Moment::START.after(refill(operation, interval) * burst)
                }
            },
        });
        Self { interval, buckets, held: Vec::new() }
    }

    /// A call that is made.
    pub(super) fn spend(&mut self, now: Moment, operation: Operation) {
        let one = refill(operation, self.interval);
        let bucket = &mut self.buckets[operation as usize];
        bucket.full = bucket.full.max(now).after(one);
    }

    /// When a call may be made.
    fn allowed_from(&self, operation: Operation) -> Moment {
        let (burst, _) = operation.quota();
        let room = refill(operation, self.interval) * burst.saturating_sub(1);
        Moment(self.buckets[operation as usize].full.0.saturating_sub(room))
    }

    /// Lets through what may be done now, in its order, and keeps the rest. `calls` says what an
    /// action costs; what has waited goes first.
    pub(super) fn pass(
        &mut self,
        now: Moment,
        actions: Vec<Action<I>>,
        calls: impl Fn(&Action<I>) -> Vec<Operation>,
    ) -> Vec<Action<I>> {
        let mut passed = Vec::with_capacity(actions.len());
        // What waits for one operation keeps those behind it waiting that need the same.
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

    /// When the next of what waits may be done; what could go now waits for what is before it.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        let from = |calls: &[Operation]| calls.iter().map(|call| self.allowed_from(*call)).max();
        let due = self.held.iter().filter_map(|(_, calls)| from(calls));
        due.filter(|due| *due > now).min()
    }
}

/// The time that one call takes to refill.
fn refill(operation: Operation, interval: Duration) -> Duration {
    let (_, tenths) = operation.quota();
    interval.min(INTERVAL) * tenths / 10
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

//! The quota of one place. EMR's buckets are shared with the runners of the account, and every
//! question takes from them by its urgency.

use std::time::Duration;

use crate::watch::machine::{
    account::ask::{Ask, Urgency},
    budget::{Buckets, Operation},
    time::Moment,
};

/// So many calls of each operation are left to urgent questions: as many launches at once can be
/// described at once.
const RESERVE: u32 = 5;

/// What EMR's quotas leave.
#[derive(Clone, Debug)]
pub(super) struct PlaceQuota {
    /// EMR's own buckets.
    all: Buckets,
    /// The share of clusters that only events name.
    named: Buckets,
    /// The share of routine looks: half of EMR's refill.
    routine: Buckets,
}

impl PlaceQuota {
    /// The quota at the start. An earlier sentinel, perhaps one of many in a crash loop, may have
    /// used it up a moment ago: so the buckets are empty, and `full` only in a mutant.
    pub(super) fn new(interval: Duration, full: bool) -> Self {
        let buckets = if full { Buckets::full } else { Buckets::empty };
        Self {
            all: buckets(interval, 1),
            named: Buckets::full(interval, 2),
            routine: Buckets::full(interval, 2),
        }
    }

    /// The share of an urgency, if it has one of its own, and what it leaves to others.
    fn share(&self, urgency: Urgency) -> (Option<&Buckets>, u32) {
        match urgency {
            Urgency::Urgent => (None, 0),
            Urgency::Named => (Some(&self.named), RESERVE),
            Urgency::Routine => (Some(&self.routine), RESERVE),
        }
    }

    /// When these calls may be made.
    pub(super) fn allowed_from(&self, urgency: Urgency, calls: &[Operation]) -> Moment {
        let (share, reserve) = self.share(urgency);
        let from = |call: &Operation| {
            let own = share.map_or(Moment::START, |share| share.allowed_from(*call, 0));
            own.max(self.all.allowed_from(*call, reserve))
        };
        calls.iter().map(from).max().unwrap_or(Moment::START)
    }

    /// Takes back a DescribeSecurityConfiguration that was accounted for at that time, with this
    /// urgency, and not made.
    pub(super) fn give_back(&mut self, spent: Moment, urgency: Urgency) {
        self.all.give_back(spent);
        match urgency {
            Urgency::Urgent => {}
            Urgency::Named => self.named.give_back(spent),
            Urgency::Routine => self.routine.give_back(spent),
        }
    }

    /// Accounts for calls that are made.
    pub(super) fn spend(&mut self, now: Moment, urgency: Urgency, calls: &[Operation]) {
        for call in calls {
            self.all.spend(now, *call);
            match urgency {
                Urgency::Urgent => {}
                Urgency::Named => self.named.spend(now, *call),
                Urgency::Routine => self.routine.spend(now, *call),
            }
        }
    }
}

/// The EMR calls of a question about a cluster. `is_known`: its security configuration and its
/// bootstrap actions were read.
pub(super) fn calls_of(ask: Ask, is_known: bool) -> Vec<Operation> {
    let mut calls = Vec::new();
    match ask {
        Ask::Unprotect => calls.push(Operation::Protection),
        Ask::Terminate => calls.push(Operation::Terminate),
        Ask::Look { steps } => {
            calls.push(Operation::Describe);
            calls.extend((!is_known).then_some(Operation::SecurityConfiguration));
            calls.extend(steps.then_some(Operation::Steps));
        }
        Ask::SecondLook => calls.extend([
            Operation::Describe,
            Operation::SecurityConfiguration,
            Operation::Steps,
            Operation::BootstrapActions,
            Operation::Groups,
            Operation::Instances,
        ]),
        Ask::Details { groups, volumes } => {
            calls.extend((!is_known).then_some(Operation::BootstrapActions));
            calls.extend(groups.then_some(Operation::Groups));
            calls.extend(volumes.then_some(Operation::Instances));
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// How many descriptions of this urgency are allowed at once.
    fn at_once(quota: &mut PlaceQuota, now: Moment, urgency: Urgency) -> usize {
        let calls = [Operation::Describe];
        (0..100)
            .take_while(|_| {
                let may = quota.allowed_from(urgency, &calls) <= now;
                if may {
                    quota.spend(now, urgency, &calls);
                }
                may
            })
            .count()
    }

    #[test]
    fn routine_looks_and_names_of_events_always_leave_five_launches_to_be_described_at_once() {
        let mut quota = PlaceQuota::new(Duration::from_secs(30), false);
        assert_eq!(at_once(&mut quota, at(0), Urgency::Urgent), 0, "it starts empty");
        assert_eq!(at_once(&mut quota, at(60), Urgency::Routine), 5);
        assert_eq!(at_once(&mut quota, at(60), Urgency::Named), 0);
        assert_eq!(at_once(&mut quota, at(60), Urgency::Urgent), 5);
    }

    #[test]
    fn what_is_given_back_can_be_spent_again_and_no_more() {
        const CALL: [Operation; 1] = [Operation::SecurityConfiguration];
        let left = |quota: &PlaceQuota, now: Moment| {
            let mut quota = quota.clone();
            let may = |_: &usize| {
                let may = quota.allowed_from(Urgency::Urgent, &CALL) <= now;
                if may {
                    quota.spend(now, Urgency::Urgent, &CALL);
                }
                may
            };
            (0..100).take_while(may).count()
        };
        let full = || PlaceQuota::new(Duration::from_secs(30), false);
        let mut quota = full();
        for second in 100..103 {
            quota.spend(at(second), Urgency::Urgent, &CALL);
        }
        assert_eq!(left(&quota, at(103)), 3);
        quota.give_back(at(101), Urgency::Urgent);
        assert_eq!(left(&quota, at(103)), 4);
        quota.give_back(at(101), Urgency::Urgent);
        assert_eq!(left(&quota, at(103)), 4, "only once");
        // Whatever comes in between, it is as if the call had never been accounted for.
        for urgency in [Urgency::Urgent, Urgency::Named, Urgency::Routine] {
            for others in [&[][..], &[100, 101, 101], &[102, 110, 111], &[130, 130, 130, 130]] {
                let (mut with, mut without) = (full(), full());
                with.spend(at(100), urgency, &CALL);
                for other in others {
                    with.spend(at(*other), Urgency::Urgent, &CALL);
                    without.spend(at(*other), Urgency::Urgent, &CALL);
                }
                with.give_back(at(100), urgency);
                for now in 130..145 {
                    assert_eq!(left(&with, at(now)), left(&without, at(now)), "{others:?}");
                }
            }
        }
    }

    #[test]
    fn routine_looks_take_half_of_what_refills() {
        let mut quota = PlaceQuota::new(Duration::from_secs(30), false);
        let hour = (0..3_600).map(|second| at_once(&mut quota, at(second), Urgency::Routine));
        let routine: usize = hour.sum();
        assert!((1_790..=1_810).contains(&routine), "{routine} of 3600 calls that EMR refills");
        assert!(at_once(&mut quota, at(3_600), Urgency::Urgent) >= 5);
    }
}

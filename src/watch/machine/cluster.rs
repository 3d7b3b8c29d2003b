//! The watcher's state of one cluster.

use std::time::Duration;

use crate::watch::machine::{
    conclusion::{Cause, EndResult},
    ending::Ending,
    event::{Described, Judgement},
    mutants::mutated,
    ownership::Ownership,
    plan::{Plan, Rules},
    state::State,
    termination::{Decision, EndReason, decide},
    time::Moment,
};

/// A cluster's steps and groups are requested again after this many intervals.
const STEPS: u32 = 72;
const GROUPS: u32 = 180;

/// The state of the detailed polls, which are less frequent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Details {
    pub(super) under_way: bool,
    /// When the last one was sent, and the cluster's state at that time.
    began: Option<(Moment, State)>,
    /// When its groups were last requested.
    groups: Option<Moment>,
}

/// A cluster that is watched.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Cluster {
    pub(super) whose: Ownership,
    /// The last response of DescribeCluster.
    pub(super) described: Option<Described>,
    /// It reached a state in which it could run steps.
    pub(super) has_run: bool,
    /// The last DescribeCluster failed.
    pub(super) describe_failed: bool,
    pub(super) judgement: Judgement,
    /// When it was found.
    pub(super) found: Moment,
    /// It was evaluated completely at least once.
    pub(super) was_judged: bool,
    /// Since when it cannot be evaluated.
    pub(super) unknown_since: Option<Moment>,
    /// When its steps were last received; none: they are due.
    pub(super) steps_told: Option<Moment>,
    /// When they were last requested.
    pub(super) steps_asked: Option<Moment>,
    /// The running poll requests them.
    pub(super) look_has_steps: bool,
    /// All checks that can be decided were decided once, so immutable facts are not requested
    /// again.
    pub(super) was_decided: bool,
    pub(super) details: Details,
    /// Why it is being terminated, or should be.
    pub(super) cause: Option<Cause>,
    pub(super) ending: Option<Ending>,
    pub(super) end: Option<EndResult>,
    pub(super) is_orphan: bool,
    /// It was reported as verified, with this flag.
    pub(super) told_passed: bool,
    pub(super) told_unjudged: bool,
    pub(super) told_lost: bool,
}

/// What a poll of a cluster requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) cluster: bool,
    pub(super) steps: bool,
}

impl Wanted {
    pub(super) const ALL: Self = Self { cluster: true, steps: true };
}

impl Cluster {
    /// A cluster without any facts yet.
    pub(super) fn new(whose: Ownership, now: Moment) -> Self {
        Self {
            whose,
            described: None,
            has_run: false,
            describe_failed: false,
            judgement: Judgement::NOTHING,
            found: now,
            was_judged: false,
            unknown_since: None,
            steps_told: None,
            steps_asked: None,
            look_has_steps: true,
            was_decided: false,
            details: Details::default(),
            cause: None,
            ending: None,
            end: None,
            is_orphan: false,
            told_passed: false,
            told_unjudged: false,
            told_lost: false,
        }
    }

    /// The time from which the limit for its evaluation counts.
    pub(super) fn late_since(&self) -> Moment {
        self.unknown_since.unwrap_or(self.found)
    }

    /// Records a state that EMR reported.
    pub(super) fn saw(&mut self, state: State) {
        self.has_run |= matches!(state, State::Running | State::Waiting);
        if let Some(described) = &mut self.described {
            described.state = state;
        }
    }

    /// Stores a description from EMR.
    pub(super) fn take_description(&mut self, described: Described) {
        self.has_run |= described.was_ready;
        self.saw(described.state);
        self.described = Some(described);
    }

    pub(super) fn state(&self) -> Option<State> {
        self.described.as_ref().map(|described| described.state)
    }

    /// Whether it has ended, as far as is known.
    pub(super) fn is_over(&self) -> bool {
        self.state() == Some(State::Over)
    }

    /// Whether it is unsafe, and not only terminated because of a stop or because it is orphaned.
    pub(super) fn is_unsafe(&self) -> bool {
        matches!(self.cause, Some(Cause::Failed | Cause::Unjudged))
    }

    pub(super) fn has_new_steps(&self) -> bool {
        self.described.as_ref().is_some_and(|described| described.evidence.has_new_steps)
    }

    /// Whether its termination is under way, or awaited.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| !ending.is_over())
    }

    /// Whether nothing more can be learnt: it is over, or its termination was requested.
    pub(super) fn is_settled(&self) -> bool {
        self.is_unsafe() || (self.is_over() && !self.judgement.unknown)
    }

    /// Whether it may be alive and is not verified.
    pub(super) fn is_unverified(&self) -> bool {
        !self.is_over() && self.cause.is_none() && self.judgement.unknown
    }

    /// Whether its instances are starting: it does not run yet, or some of them have not been seen
    /// yet.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state(), Some(State::Starting | State::Bootstrapping))
            || (!self.is_over() && self.judgement.unseen)
    }

    /// Whether a named cluster needs no more watching: it is over, its end was awaited for the
    /// limit, or it is idle where that is enough.
    pub(super) fn is_done(&self, idle_is_enough: bool) -> bool {
        if self.is_unsafe() {
            return self.end.is_some();
        }
        let is_idle = self.state() == Some(State::Waiting)
            && self.judgement.steps_known
            && !self.judgement.work.open;
        self.is_settled() || (idle_is_enough && is_idle && self.judgement.passed_so_far())
    }

    /// What a poll must request about it, if ListClusters reports the state `listed`.
    pub(super) fn wanted<I>(
        &self,
        listed: Option<State>,
        pushed: bool,
        now: Moment,
        plan: &Plan<I>,
    ) -> Wanted {
        let changed = listed != self.state();
        // Only DescribeCluster shows why it ended; before that, ListClusters shows as much. Failed
        // requests are repeated.
        let unknown = self.described.is_none() || self.describe_failed;
        // A poll also requests the security configuration until it is known.
        let undecided =
            self.judgement.unknown && self.judgement.details_known && self.judgement.steps_known;
        let cluster = listed.is_none_or(|state| state == State::Over) || unknown || undecided;
        let works =
            listed.is_some_and(|state| !matches!(state, State::Starting | State::Bootstrapping));
        let due = self
            .steps_told
            .filter(|_| self.judgement.steps_known)
            .is_none_or(|told| now.since(told) >= plan.limits.interval * STEPS);
        // While the requests fail, several clusters must not use up the quota.
        let again = plan.limits.interval * 2;
        let may = self.steps_asked.is_none_or(|asked| now.since(asked) >= again);
        Wanted {
            cluster,
            steps: !self.describe_failed && ((due && may) || (changed && works) || pushed),
        }
    }

    /// Whether a detailed poll is due; with its groups, and with its instances. It is due if the
    /// last one failed, the state has changed, instances are starting, or enough time has passed.
    pub(super) fn wanted_details<I>(
        &mut self,
        everything: bool,
        now: Moment,
        plan: &Plan<I>,
    ) -> Option<(bool, bool)> {
        let pace: Duration = plan.limits.interval * GROUPS;
        let state = self.state().filter(|_| !self.is_unsafe() && !self.details.under_way)?;
        let known = self.judgement.details_known;
        let due = match self.details.began {
            None => true,
            Some((at, before)) => {
                let rested = now.since(at) >= plan.limits.interval;
                let waits = state != State::Starting && self.judgement.awaits_instances;
                let lives = state != State::Over;
                (!known && (rested || before != state))
                    || lives
                        && (everything
                            || before != state
                            || (waits && rested)
                            || now.since(at) >= pace)
            }
        };
        if !due {
            return None;
        }
        let groups = everything
            || !self.judgement.groups_known
            || self.details.groups.is_none_or(|asked| now.since(asked) >= pace);
        // While it is STARTING there are no instances yet, and once it is over there are none left.
        let volumes = !matches!(state, State::Starting | State::Over);
        self.details = Details {
            under_way: true,
            began: Some((now, state)),
            groups: if groups { Some(now) } else { self.details.groups },
        };
        Some((groups, volumes))
    }

    /// The decision about it, if it should be terminated for this reason.
    pub(super) fn decision<I>(&self, why: EndReason, plan: &Plan<I>) -> Decision {
        self.decision_by(plan.rules, why, plan)
    }

    /// The same, under other rules than the plan's.
    pub(super) fn decision_by<I>(
        &self,
        mut rules: Rules,
        why: EndReason,
        plan: &Plan<I>,
    ) -> Decision {
        rules.untagged |= mutated!(plan, UntaggedEnds);
        rules.on_unjudged |= mutated!(plan, UnjudgedAlwaysEnds);
        let used = self.has_new_steps() || mutated!(plan, AdoptedWithoutStepsEnds);
        let decision = decide(self.whose, why, used, rules);
        if decision == Decision::End && why == EndReason::Unsafe && mutated!(plan, UnsafeIsLeft) {
            Decision::Ask
        } else {
            decision
        }
    }
}

//! What the watcher knows of one cluster.

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

/// A cluster's steps are asked for again after so many intervals, and its groups.
const STEPS: u32 = 72;
const GROUPS: u32 = 180;

/// What is asked less often.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Details {
    pub(super) under_way: bool,
    /// When it was asked last, and in which state the cluster was then.
    began: Option<(Moment, State)>,
    /// When its groups were asked for last.
    groups: Option<Moment>,
}

/// A cluster that is watched.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Cluster {
    pub(super) whose: Ownership,
    /// The last answer of DescribeCluster.
    pub(super) described: Option<Described>,
    /// It got so far that it could run steps.
    pub(super) has_run: bool,
    /// The last DescribeCluster was not answered.
    pub(super) describe_failed: bool,
    pub(super) judgement: Judgement,
    /// Since when it is known.
    pub(super) found: Moment,
    /// It was judged once, completely.
    pub(super) was_judged: bool,
    /// Since when a judgement is not possible.
    pub(super) unknown_since: Option<Moment>,
    /// When its steps were told; none: they are due.
    pub(super) steps_told: Option<Moment>,
    /// When they were asked for.
    pub(super) steps_asked: Option<Moment>,
    /// The look that is under way asks for them.
    pub(super) look_has_steps: bool,
    /// All that can be decided was decided once: what does not change is not asked for again.
    pub(super) was_decided: bool,
    pub(super) details: Details,
    /// Why it is ended, or should be.
    pub(super) cause: Option<Cause>,
    pub(super) ending: Option<Ending>,
    pub(super) end: Option<EndResult>,
    pub(super) is_orphan: bool,
    /// What was told of it.
    pub(super) told_passed: bool,
    pub(super) told_unjudged: bool,
    pub(super) told_lost: bool,
}

/// What is asked of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) cluster: bool,
    pub(super) steps: bool,
}

impl Wanted {
    pub(super) const ALL: Self = Self { cluster: true, steps: true };
}

impl Cluster {
    /// A cluster that nothing is known of yet.
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

    /// Since when the time limit for its judgement runs.
    pub(super) fn late_since(&self) -> Moment {
        self.unknown_since.unwrap_or(self.found)
    }

    /// Notes a state that EMR has told.
    pub(super) fn saw(&mut self, state: State) {
        self.has_run |= matches!(state, State::Running | State::Waiting);
        if let Some(described) = &mut self.described {
            described.state = state;
        }
    }

    /// Takes what EMR has told of it.
    pub(super) fn take_description(&mut self, described: Described) {
        self.has_run |= described.was_ready;
        self.saw(described.state);
        self.described = Some(described);
    }

    pub(super) fn state(&self) -> Option<State> {
        self.described.as_ref().map(|described| described.state)
    }

    /// Whether it has ended, for all that is known.
    pub(super) fn is_over(&self) -> bool {
        self.state() == Some(State::Over)
    }

    /// It is unsafe, and not only ended for a stop or because nobody waits for it.
    pub(super) fn is_unsafe(&self) -> bool {
        matches!(self.cause, Some(Cause::Failed | Cause::Unjudged))
    }

    pub(super) fn has_new_steps(&self) -> bool {
        self.described.as_ref().is_some_and(|described| described.evidence.has_new_steps)
    }

    /// Its end is being brought about, or waited for.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| !ending.is_over())
    }

    /// Nothing more can be learnt: it is over, or its termination was begun.
    pub(super) fn is_settled(&self) -> bool {
        self.is_unsafe() || (self.is_over() && !self.judgement.unknown)
    }

    /// It may live, and is not judged.
    pub(super) fn is_unverified(&self) -> bool {
        !self.is_over() && self.cause.is_none() && self.judgement.unknown
    }

    /// Its instances are on their way: it does not run yet, or some of them have not shown what
    /// they are.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state(), Some(State::Starting | State::Bootstrapping))
            || (!self.is_over() && self.judgement.unseen)
    }

    /// Nothing is left to watch of a cluster that was named: it is over, or its end was waited for
    /// long enough, or it is idle where that is enough.
    pub(super) fn is_done(&self, idle_is_enough: bool) -> bool {
        if self.is_unsafe() {
            return self.end.is_some();
        }
        let is_idle = self.state() == Some(State::Waiting)
            && self.judgement.steps_known
            && !self.judgement.work.open;
        self.is_settled() || (idle_is_enough && is_idle && self.judgement.passed_so_far())
    }

    /// What must be asked of it, where a list says that it is in `listed`.
    pub(super) fn wanted<I>(
        &self,
        listed: Option<State>,
        pushed: bool,
        now: Moment,
        plan: &Plan<I>,
    ) -> Wanted {
        let changed = listed != self.state();
        // Its end is told by itself alone; of all that comes before, the list knows as much.
        // What could not be told is asked for again.
        let unknown = self.described.is_none() || self.describe_failed;
        // A look asks for the security configuration, too, as long as that was not told.
        let undecided =
            self.judgement.unknown && self.judgement.details_known && self.judgement.steps_known;
        let cluster = listed.is_none_or(|state| state == State::Over) || unknown || undecided;
        let works =
            listed.is_some_and(|state| !matches!(state, State::Starting | State::Bootstrapping));
        let due = self
            .steps_told
            .filter(|_| self.judgement.steps_known)
            .is_none_or(|told| now.since(told) >= plan.limits.interval * STEPS);
        // Where they are not told, several clusters must not use up what may be asked.
        let again = plan.limits.interval * 2;
        let may = self.steps_asked.is_none_or(|asked| now.since(asked) >= again);
        Wanted {
            cluster,
            steps: !self.describe_failed && ((due && may) || (changed && works) || pushed),
        }
    }

    /// Whether there is reason to ask what changes less often than its state; with its groups, and
    /// with its instances: it was not answered, the state has changed, instances are on their way,
    /// or the time has come.
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
        // While it is STARTING there are no instances, and once it is over none are left.
        let volumes = !matches!(state, State::Starting | State::Over);
        self.details = Details {
            under_way: true,
            began: Some((now, state)),
            groups: if groups { Some(now) } else { self.details.groups },
        };
        Some((groups, volumes))
    }

    /// What is done about it, if it should be over for this reason.
    pub(super) fn decision<I>(&self, why: EndReason, plan: &Plan<I>) -> Decision {
        self.decision_by(plan.rules, why, plan)
    }

    /// The same, where other rules hold than the plan's.
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

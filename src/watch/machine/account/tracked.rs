//! One cluster that is watched: what is known of it, and what is asked about it next.

use std::time::Duration;

use crate::watch::machine::{
    account::{
        ask::{Ask, DueAsk, Urgency},
        event::{AccountDescribed, AccountVerdict},
        plan::{AccountLimits, KnownCluster},
    },
    ending::Ending,
    event::Judgement,
    ownership::Ownership,
    plan::Rules,
    state::State,
    termination::{Decision, EndReason, decide},
    time::{AwsTime, Moment},
};

/// After so many attempts without a decision, further ones are no longer urgent: a permission that
/// is missing must not use up the quota.
const URGENT_TRIES: u32 = 4;
/// So many questions are asked about a cluster that is over and was not judged.
const LAST_LOOKS: u32 = 4;
/// How long a termination that failed is left alone.
const RETRY: Duration = Duration::from_hours(1);

/// A question without an answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    pub(super) number: u64,
    pub(super) ask: Ask,
    pub(super) asked: Moment,
    /// With which urgency the call for the security configuration was accounted for, if it was.
    pub(super) configuration: Option<Urgency>,
}

/// A cluster that is watched.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Tracked {
    pub(super) created: Option<AwsTime>,
    /// When it was found.
    pub(super) found: Moment,
    /// The last state that EMR reported.
    pub(super) state: Option<State>,
    /// When that was requested.
    pub(super) state_asked: Moment,
    /// A list has shown it.
    pub(super) was_listed: bool,
    /// A list that should show it does not.
    pub(super) is_missing: bool,
    /// The last description.
    pub(super) described: Option<AccountDescribed>,
    /// The last attempt to describe it failed.
    pub(super) describe_failed: bool,
    pub(super) judgement: Judgement,
    /// All checks that can be decided were decided once: immutable facts are not requested again.
    pub(super) was_decided: bool,
    /// Since when it cannot be judged.
    pub(super) unknown_since: Option<Moment>,
    pub(super) under_way: Option<UnderWay>,
    /// So many questions in a row left it undecided.
    pub(super) tries: u32,
    /// The next question waits until then.
    pub(super) rests_until: Moment,
    /// So many questions were asked since it is over.
    pub(super) last_looks: u32,
    /// An event names it, or its state has changed: the next look is due.
    pub(super) has_changed: bool,
    /// When it was last looked at, and in detail; in that state.
    looked: Moment,
    detailed: Option<(Moment, Option<State>)>,
    pub(super) told_unsafe: bool,
    pub(super) told_unjudged: bool,
    pub(super) told_passed: bool,
    pub(super) told_limited: bool,
    /// A second look has failed.
    pub(super) is_confirmed: bool,
    /// Its termination was requested, by this sentinel or an earlier one.
    pub(super) was_requested: bool,
    /// The termination under way.
    pub(super) ending: Option<Ending>,
    /// A request of it that is to be sent.
    pub(super) request: Option<Ask>,
    /// When the last request was sent, if it has no answer yet.
    pub(super) requested: Option<Moment>,
    /// When EMR accepted the last request to terminate it.
    pub(super) accepted: Option<Moment>,
    /// The termination waits for a look with at least this number.
    pub(super) ending_look: Option<u64>,
    /// Its end could not be confirmed: it is left alone until then.
    pub(super) retry_from: Option<Moment>,
}

impl Tracked {
    /// A cluster of which nothing is known but what an earlier sentinel noted.
    pub(super) fn new(now: Moment, known: KnownCluster) -> Self {
        Self {
            created: None,
            found: now,
            state: None,
            state_asked: Moment::START,
            was_listed: false,
            is_missing: false,
            described: None,
            describe_failed: false,
            judgement: Judgement::NOTHING,
            was_decided: false,
            unknown_since: Some(now),
            under_way: None,
            tries: 0,
            rests_until: now,
            last_looks: 0,
            has_changed: false,
            looked: now,
            detailed: None,
            told_unsafe: known.told_unsafe,
            told_unjudged: known.told_unjudged,
            told_passed: false,
            told_limited: false,
            is_confirmed: false,
            was_requested: known.ending,
            ending: None,
            request: None,
            requested: None,
            accepted: None,
            ending_look: None,
            retry_from: None,
        }
    }

    /// Whether EMR reports that it is over.
    pub(super) fn is_over(&self) -> bool {
        self.state == Some(State::Over)
    }

    /// Whether it is over, or seems to be.
    pub(super) fn is_gone(&self) -> bool {
        self.is_over() || self.is_missing
    }

    /// Whether every check that can be decided now is decided by the last look.
    pub(super) fn is_decided(&self) -> bool {
        self.described.is_some() && !self.describe_failed && !self.judgement.unknown
    }

    /// Whether nothing about it is awaited any more, its instances included.
    pub(super) fn is_judged(&self) -> bool {
        self.is_decided() && !self.judgement.unseen && self.detailed.is_some()
    }

    /// Whether it is over and nothing more can be learnt of it.
    pub(super) fn is_finished(&self) -> bool {
        self.is_gone()
            && ((self.is_over() && (self.told_unsafe || self.is_decided()))
                || self.last_looks >= LAST_LOOKS)
    }

    /// The verdict on it.
    pub(super) fn verdict(&self) -> AccountVerdict {
        if self.told_unsafe {
            AccountVerdict::Unsafe
        } else if self.described.is_some() && self.judgement.passed() {
            AccountVerdict::Passed
        } else {
            AccountVerdict::Unjudged
        }
    }

    /// Whether it would be terminated if a second look failed.
    pub(super) fn may_end(&self) -> bool {
        let described = self.described.filter(|_| self.told_unsafe && self.ending.is_none());
        let alive = !matches!(self.state, Some(State::Terminating | State::Over));
        alive && described.is_some_and(|described| may_end(&described))
    }

    /// What must be asked about it next, whatever the quotas say.
    /// `has_room`: the limit of terminations has room for one that waits for it.
    pub(super) fn need(
        &self,
        now: Moment,
        limits: &AccountLimits,
        (once, has_room): (bool, bool),
    ) -> Option<DueAsk> {
        let urgent = |ask, due| Some(DueAsk { ask, urgency: Urgency::Urgent, due });
        if let Some(request) = self.request {
            return urgent(request, Moment::START);
        }
        if self.under_way.is_some() {
            return None;
        }
        if self.ending.is_some() {
            let look = self.ending_look.map(|_| Ask::Look { steps: false });
            return look.and_then(|look| urgent(look, Moment::START));
        }
        if self.is_gone() {
            return urgent(self.last_look(), self.rests_until);
        }
        let waits = (self.told_limited && !has_room) || self.retry_from.is_some_and(|at| at > now);
        if self.may_end() && !waits {
            return urgent(Ask::SecondLook, self.rests_until);
        }
        self.first_need().or_else(|| self.routine_need(limits, once))
    }

    /// What must be asked until it is judged.
    fn first_need(&self) -> Option<DueAsk> {
        let urgency = if self.tries < URGENT_TRIES { Urgency::Urgent } else { Urgency::Routine };
        let need = |ask, due| Some(DueAsk { ask, urgency, due });
        let look = Ask::Look { steps: true };
        if self.described.is_none() || self.describe_failed {
            return need(look, self.rests_until);
        }
        let details = self.details();
        match self.detailed {
            None => need(details, Moment::START),
            // In a new state, instances may be there that were not there before.
            Some((_, state)) if self.judgement.unseen && state != self.state => {
                Some(DueAsk { ask: details, urgency: Urgency::Urgent, due: Moment::START })
            }
            Some(_) if !self.judgement.unknown => None,
            Some(_) if !self.judgement.details_known || self.tries % 2 == 1 => {
                need(details, self.rests_until)
            }
            Some(_) => need(look, self.rests_until),
        }
    }

    /// What must be asked again and again.
    fn routine_need(&self, limits: &AccountLimits, once: bool) -> Option<DueAsk> {
        let (detailed, _) = self.detailed?;
        let routine = |ask, due| DueAsk { ask, urgency: Urgency::Routine, due };
        let has_instances = !matches!(self.state, Some(State::Starting | State::Over));
        let awaits = self.judgement.unseen && has_instances;
        let pause = if awaits { limits.interval } else { limits.drift };
        let details = routine(self.details(), detailed.after(pause));
        let pause = if self.has_changed { shortest(limits) } else { limits.drift };
        let look = routine(Ask::Look { steps: true }, self.looked.after(pause));
        if once {
            // The checks judge its instances by its state, which a list does not tell them.
            return awaits.then_some(if self.has_changed { look } else { details });
        }
        // Instances that never appear must not keep the steps from being looked at.
        Some(if details.due < look.due { details } else { look })
    }

    fn details(&self) -> Ask {
        Ask::Details {
            groups: true,
            volumes: !matches!(self.state, Some(State::Starting | State::Over)),
        }
    }

    fn last_look(&self) -> Ask {
        if self.described.is_some() && self.last_looks % 2 == 1 {
            Ask::Details { groups: true, volumes: false }
        } else {
            Ask::Look { steps: true }
        }
    }

    /// A question is sent.
    pub(super) fn sent(&mut self, way: UnderWay) {
        let UnderWay { asked: now, ask, .. } = way;
        match ask {
            Ask::Unprotect | Ask::Terminate => {
                self.request = None;
                self.requested = Some(now);
                self.was_requested |= ask == Ask::Terminate;
                return;
            }
            Ask::Look { .. } => {
                self.looked = now;
                self.has_changed = false;
            }
            Ask::SecondLook => {
                self.looked = now;
                self.detailed = Some((now, self.state));
            }
            Ask::Details { .. } => self.detailed = Some((now, self.state)),
        }
        self.under_way = Some(way);
    }

    /// A question was answered, or its answer is not awaited any longer. While it left the cluster
    /// undecided, the next one waits, longer each time.
    pub(super) fn answered(&mut self, now: Moment, limits: &AccountLimits, decided: bool) {
        self.under_way = None;
        self.last_looks += u32::from(self.is_gone());
        if decided {
            self.tries = 0;
            self.rests_until = now;
        } else {
            let tries = if self.is_gone() { self.last_looks } else { self.tries };
            self.rests_until = now.after(rest(limits, tries));
            self.tries = self.tries.saturating_add(1);
        }
    }

    /// Records a state that EMR reported to a request of that time, unless a later one is known.
    pub(super) fn saw(&mut self, asked: Moment, state: State) {
        // What is over stays over, and what is terminating gets nothing but over: a list can be
        // older than a description.
        let ends = self.state == Some(State::Terminating);
        if self.is_over() || ((ends || asked < self.state_asked) && state != State::Over) {
            return;
        }
        self.has_changed |= self.state.is_some_and(|before| before != state);
        if state == State::Over {
            // The last looks do not wait as long as those before.
            self.rests_until = asked;
        }
        self.state = Some(state);
        self.state_asked = asked;
    }

    /// Records a judgement, and since when there is none.
    pub(super) fn take_judgement(&mut self, now: Moment, judgement: Judgement) {
        self.judgement = judgement;
        self.was_decided |= !judgement.unknown;
        if self.is_decided() {
            self.unknown_since = None;
        } else {
            self.unknown_since.get_or_insert(now);
        }
    }

    /// Its termination is over, or given up: nothing of it is under way.
    pub(super) fn forget_ending(&mut self) {
        self.ending = None;
        self.request = None;
        self.requested = None;
        self.accepted = None;
        self.ending_look = None;
        self.is_confirmed = false;
    }

    /// Its termination could not be confirmed: it is tried again later.
    pub(super) fn leave_alone(&mut self, now: Moment) {
        self.forget_ending();
        self.retry_from = Some(now.after(RETRY));
    }
}

/// Whether the rule that applies to a cluster says that an unsafe one is terminated.
pub(super) fn may_end(described: &AccountDescribed) -> bool {
    let rules = Rules {
        on_stop: false,
        on_orphan: false,
        on_unjudged: false,
        adopted: false,
        attached: false,
        untagged: false,
        account: described.may_end,
    };
    decide(Ownership::Account, EndReason::Unsafe, false, rules) == Decision::End
}

/// The shortest pause between two questions about the same thing.
pub(super) fn shortest(limits: &AccountLimits) -> Duration {
    limits.interval / 6
}

/// The pause after so many attempts in a row that left something undecided.
pub(super) fn rest(limits: &AccountLimits, tries: u32) -> Duration {
    (shortest(limits) * (1 << tries.min(6))).min(limits.interval * 10)
}

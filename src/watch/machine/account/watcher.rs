//! The account watcher: events in, actions out. It lists every place, has new clusters judged
//! first, has unsafe ones reported at once, and terminates those that a rule says it should.

mod agenda;
mod answers;
mod endings;
mod lists;
mod once;
mod overdue;
mod places;

use std::{collections::BTreeMap, time::Duration};

use crate::watch::machine::{
    account::{
        event::{AccountAction, AccountEntry, AccountEvent, AccountNotice, AccountVerdict},
        limit::TerminationLimit,
        mutants::mutated,
        place::Place,
        plan::{AccountPlan, KnownCluster},
        quota::PlaceQuota,
        tracked::Tracked,
    },
    conclusion::Obstacle,
    ending::Ending,
    plan::Id,
    state::State,
    time::{AwsTime, Moment},
};

/// The watcher. `P` names a place, `I` a cluster in it.
#[derive(Clone, Debug)]
pub struct AccountWatcher<P, I> {
    plan: AccountPlan<P, I>,
    places: BTreeMap<P, Place<I>>,
    /// The places that were watched and cannot be used any more, with what their quotas left.
    gone: BTreeMap<P, PlaceQuota>,
    limit: TerminationLimit<(P, I)>,
    /// The number of the next question.
    next_number: u64,
    /// A second look with a smaller number does not count: the machine was suspended since.
    counts_from: u64,
    began: Moment,
    wake: Option<Moment>,
    /// When the machine was last found to have been suspended.
    slept_until: Moment,
    /// The time of the current event.
    now: Moment,
    /// In a watch that judges once: the clusters that are over.
    finished: Vec<((P, I), AccountVerdict)>,
    is_finished: bool,
    actions: Vec<AccountAction<P, I>>,
}

impl<P: Id, I: Id> AccountWatcher<P, I> {
    /// A watcher that has not started.
    #[must_use]
    pub fn new(plan: AccountPlan<P, I>) -> Self {
        let forgotten = mutated!(plan, LimitForgottenAtStart);
        let terminated = if forgotten { &[][..] } else { &plan.terminated };
        Self {
            limit: TerminationLimit::new(plan.limits.terminations_per_hour, terminated),
            places: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_number: 1,
            counts_from: 0,
            began: Moment::START,
            wake: None,
            slept_until: Moment::START,
            now: Moment::START,
            finished: Vec::new(),
            is_finished: false,
            actions: Vec::new(),
            plan,
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Moment) -> Vec<AccountAction<P, I>> {
        self.now = now;
        self.began = now;
        for place in std::mem::take(&mut self.plan.places) {
            self.place_found(place, None);
        }
        self.after_event()
    }

    /// Handles an event and returns the actions.
    pub fn handle(&mut self, now: Moment, event: AccountEvent<P, I>) -> Vec<AccountAction<P, I>> {
        if self.is_finished {
            return Vec::new();
        }
        self.now = now;
        if self.wake.is_some_and(|wake| now.since(wake) >= self.patience()) {
            self.was_suspended();
        }
        match event {
            AccountEvent::Woke => {}
            AccountEvent::Pushed(place, id) => self.pushed(&place, id),
            AccountEvent::Listed(place, number, answer) => self.listed(&place, number, answer),
            AccountEvent::Looked(place, id, look) => self.looked(&place, &id, &look),
            AccountEvent::Detailed(place, id, judgement) => {
                self.detailed(&place, &id, judgement);
            }
            AccountEvent::TerminationAnswered(place, id, answer) => {
                if let Some(tracked) = self.tracked_mut(&place, &id) {
                    tracked.accepted = answer.is_ok().then_some(now);
                }
                self.request_answered(&place, &id, |ending| ending.termination_answered(answer));
            }
            AccountEvent::ProtectionAnswered(place, id, answer) => {
                self.request_answered(&place, &id, |ending| ending.protection_answered(answer));
            }
            AccountEvent::Throttled(place) => {
                if let Some(place) = self.places.get_mut(&place) {
                    place.listing.throttled = true;
                }
            }
            AccountEvent::PlaceFound(place, since) => self.place_found(place, since),
            AccountEvent::PlaceGone(place) => self.place_gone(&place),
            AccountEvent::StopAsked => self.conclude(),
        }
        self.after_event()
    }

    /// Does what is due by time, or because of the latest change; sets the next wake-up.
    fn after_event(&mut self) -> Vec<AccountAction<P, I>> {
        if !self.is_finished {
            self.limit.pass(self.now);
            self.give_up_answers();
            self.wake_endings();
            self.finish_clusters();
            self.tell_overdue();
            let next = self.ask_what_is_due();
            self.conclude_if_done();
            if !self.is_finished {
                self.set_wake(next);
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// How long an answer is awaited, and how late a wake-up may be: a later one means that the
    /// machine was suspended, and that all facts are old.
    fn patience(&self) -> Duration {
        self.plan.limits.interval * 12
    }

    /// The machine was suspended: nothing that was seen before decides a termination.
    fn was_suspended(&mut self) {
        if mutated!(self.plan, SuspendedLookEnds) {
            return;
        }
        self.slept_until = self.now;
        self.counts_from = self.next_number;
        for place in self.places.values_mut() {
            for tracked in place.clusters.values_mut() {
                tracked.has_changed = true;
                let is_accepted = tracked.ending.as_ref().is_some_and(Ending::is_accepted);
                if !is_accepted {
                    tracked.forget_ending();
                }
            }
        }
    }

    /// An event of EMR or CloudTrail names a cluster.
    fn pushed(&mut self, at: &P, id: I) {
        let Some(place) = self.places.get_mut(at) else { return };
        if let Some(tracked) = place.clusters.get_mut(&id) {
            tracked.has_changed = true;
        } else if !place.is_past(&id) {
            place.names.add(self.now, id, !mutated!(self.plan, NamesUnbounded));
            place.listing.look_soon(self.now, &self.plan.limits);
        }
    }

    /// Watches a cluster that was found.
    fn add(&mut self, at: &P, id: &I, created: AwsTime, state: State) {
        let Some(place) = self.places.get_mut(at) else { return };
        let mut tracked = Tracked::new(self.now, KnownCluster::default());
        tracked.created = Some(created);
        tracked.state = Some(state);
        tracked.state_asked = self.now;
        // A question that an event caused may have no answer yet.
        tracked.under_way = place.names.remove(id);
        place.clusters.insert(id.clone(), tracked);
        self.tell(AccountNotice::Found(at.clone(), id.clone()));
    }

    /// Reports the clusters that are over, and forgets them.
    fn finish_clusters(&mut self) {
        let mut finished = Vec::new();
        for (at, place) in &mut self.places {
            let over = place.clusters.iter().filter(|(_, tracked)| tracked.is_finished());
            let over: Vec<I> = over.map(|(id, _)| id.clone()).collect();
            for id in over {
                let Some(tracked) = place.clusters.remove(&id) else { continue };
                if !mutated!(self.plan, OverForgotten) {
                    place.remember(self.now, id.clone(), tracked.created);
                }
                finished.push(((at.clone(), id), tracked));
            }
        }
        for ((at, id), tracked) in finished {
            if tracked.was_requested {
                self.tell(if tracked.is_over() {
                    AccountNotice::EndConfirmed(at.clone(), id.clone())
                } else {
                    AccountNotice::EndUnconfirmed(at.clone(), id.clone(), Obstacle::Unknown)
                });
            }
            let verdict = tracked.verdict();
            self.tell(AccountNotice::Over(at.clone(), id.clone(), verdict));
            if self.plan.once {
                self.finished.push(((at, id), verdict));
            }
        }
    }

    /// How many clusters and ids are remembered, also in places that are not watched.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn remembered(&self) -> usize {
        let of = |place: &Place<I>| place.clusters.len() + place.remembered();
        let elsewhere = self.plan.known.len() + self.plan.over.len();
        elsewhere + self.places.values().map(of).sum::<usize>()
    }

    fn tracked_mut(&mut self, at: &P, id: &I) -> Option<&mut Tracked> {
        self.places.get_mut(at)?.clusters.get_mut(id)
    }

    fn tell(&mut self, notice: AccountNotice<P, I>) {
        self.actions.push(AccountAction::Tell(notice));
    }

    fn note(&mut self, entry: AccountEntry<P, I>) {
        self.actions.push(AccountAction::Note(entry));
    }
}

#[cfg(test)]
mod tests;

//! Handles the answers about one cluster.

use crate::watch::machine::{
    account::{
        ask::Ask,
        event::{AccountEntry, AccountLook, AccountNotice},
        mutants::mutated,
        tracked::UnderWay,
        watcher::AccountWatcher,
    },
    event::{AwsAnswer, Judgement},
    plan::Id,
    state::State,
};

impl<P: Id, I: Id> AccountWatcher<P, I> {
    pub(super) fn looked(&mut self, at: &P, id: &I, look: &AccountLook) {
        self.give_back(at, id, look);
        if !self.is_tracked(at, id) && !self.described_first(at, id, look) {
            return;
        }
        let (now, limits, counts_from) = (self.now, self.plan.limits, self.counts_from);
        let rule_forgotten = mutated!(self.plan, RuleForgotten);
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        let way = tracked.under_way.filter(|way| way.number == look.number);
        let Some(UnderWay { ask, asked, .. }) = way else {
            self.looked_late(at, id, look);
            return;
        };
        tracked.describe_failed = look.described.found().is_none();
        if let AwsAnswer::Found(mut described) = look.described {
            described.may_end |= rule_forgotten;
            tracked.created = Some(described.created);
            tracked.described = Some(described);
            tracked.is_missing &= described.state == State::Over;
            tracked.saw(asked, described.state);
        }
        tracked.take_judgement(now, look.judgement);
        let decided = tracked.is_decided();
        tracked.answered(now, &limits, decided);
        self.ending_looked(at, id, asked, look);
        self.judged(at, id, look.judgement);
        let is_fresh = look.fresh || mutated!(self.plan, KnownFactsAreFresh);
        let is_second = ask == Ask::SecondLook || mutated!(self.plan, OneLookEnds);
        let counts = is_second && (is_fresh || mutated!(self.plan, OneLookEnds));
        let fails =
            look.judgement.failed || (look.judgement.unknown && mutated!(self.plan, UnknownEnds));
        // Unknown is not failed; and what was seen before a suspension is old.
        if counts && look.number >= counts_from && look.described.found().is_some() && fails {
            self.looked_again(at, id);
        }
    }

    /// Takes the call for the security configuration back if it was not made.
    fn give_back(&mut self, at: &P, id: &I, look: &AccountLook) {
        if look.asked_configuration && !mutated!(self.plan, MadeCallsGivenBack) {
            return;
        }
        let Some(place) = self.places.get_mut(at) else { return };
        let of_cluster = place.clusters.get(id).and_then(|tracked| tracked.under_way);
        let way = of_cluster.or_else(|| place.names.under_way(id));
        let way = way.filter(|way| way.number == look.number);
        if let Some((spent, urgency)) = way.and_then(|way| Some((way.asked, way.configuration?))) {
            place.quota.give_back(spent, urgency);
        }
    }

    fn is_tracked(&self, at: &P, id: &I) -> bool {
        self.places.get(at).is_some_and(|place| place.clusters.contains_key(id))
    }

    /// A cluster that only an event named was described. Returns whether it is watched from now
    /// on.
    fn described_first(&mut self, at: &P, id: &I, look: &AccountLook) -> bool {
        let limits = self.plan.limits;
        let Some(place) = self.places.get_mut(at) else { return false };
        match look.described {
            AwsAnswer::Failed(_) => place.names.failed(self.now, id, &limits),
            AwsAnswer::Absent => {
                place.names.remove(id);
            }
            AwsAnswer::Found(described) => {
                let is_history =
                    described.state == State::Over && place.is_history(described.created);
                if is_history || place.is_past(id) {
                    place.names.remove(id);
                } else {
                    self.add(at, id, described.created, described.state);
                    return true;
                }
            }
        }
        false
    }

    /// An answer that was not awaited any longer: only a failed fact, and the end, count.
    fn looked_late(&mut self, at: &P, id: &I, look: &AccountLook) {
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        if look.described.found().is_some_and(|described| described.state == State::Over) {
            tracked.state = Some(State::Over);
        }
        if look.judgement.failed && !mutated!(self.plan, LateAnswerIgnored) {
            self.tell_unsafe(at, id);
        }
    }

    pub(super) fn detailed(&mut self, at: &P, id: &I, judgement: Judgement) {
        let (now, limits) = (self.now, self.plan.limits);
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        tracked.take_judgement(now, judgement);
        let decided = tracked.is_decided();
        if tracked.under_way.is_some_and(|way| matches!(way.ask, Ask::Details { .. })) {
            tracked.answered(now, &limits, decided);
        }
        self.judged(at, id, judgement);
    }

    /// Acts on the current judgement of a cluster.
    fn judged(&mut self, at: &P, id: &I, judgement: Judgement) {
        if judgement.failed {
            self.tell_unsafe(at, id);
        }
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        let passes = tracked.is_decided() && !judgement.failed;
        // A fact that is not there any more does not show that nothing fails.
        let clears = passes && !judgement.unseen;
        if let Some(ending) = &mut tracked.ending {
            ending.withdraw(clears);
            return;
        }
        let is_new = passes && !std::mem::replace(&mut tracked.told_passed, passes);
        if clears && tracked.told_unsafe && !tracked.is_over() {
            tracked.told_unsafe = false;
            tracked.told_limited = false;
            tracked.is_confirmed = false;
            self.tell_cleared(at, id);
        }
        if is_new {
            self.tell(AccountNotice::Passed(at.clone(), id.clone()));
        }
    }

    pub(super) fn tell_cleared(&mut self, at: &P, id: &I) {
        if !mutated!(self.plan, ClearedNotTold) {
            self.tell(AccountNotice::Cleared(at.clone(), id.clone()));
        }
    }

    fn tell_unsafe(&mut self, at: &P, id: &I) {
        let now = self.now;
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        if !std::mem::replace(&mut tracked.told_unsafe, true) {
            tracked.told_passed = false;
            // A second look follows at once.
            tracked.tries = 0;
            tracked.rests_until = now;
            let ends = tracked.described.is_some_and(|described| described.may_end);
            // To report it twice after a crash in between is better than never.
            if !(ends && mutated!(self.plan, UnsafeNotTold)) {
                self.tell(AccountNotice::Unsafe(at.clone(), id.clone()));
            }
            self.note(AccountEntry::ToldUnsafe(at.clone(), id.clone()));
        }
    }
}

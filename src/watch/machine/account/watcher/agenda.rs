//! Decides what is asked next in every place, within its quotas.

use crate::watch::machine::{
    account::{
        ask::{Ask, DueAsk, Urgency},
        event::{AccountAction, AccountEntry, AccountQuestion},
        mutants::mutated,
        place::Place,
        quota::{PlaceQuota, calls_of},
        tracked::UnderWay,
        watcher::AccountWatcher,
    },
    budget::Operation,
    plan::Id,
    time::Moment,
};

/// A question that is due, or will be.
struct Item<I> {
    need: DueAsk,
    /// About this cluster; none: a list.
    cluster: Option<I>,
    /// Its immutable facts are known.
    is_known: bool,
    /// The cluster was never looked at.
    is_first: bool,
}

impl<I> Item<I> {
    /// The calls that it takes.
    fn calls(&self) -> Vec<Operation> {
        match self.cluster {
            None => vec![Operation::List],
            Some(_) => calls_of(self.need.ask, self.is_known),
        }
    }
}

impl<I: Id> Item<I> {
    /// The question as it can be asked soonest, with its calls, and from when on. The first look
    /// at a cluster does not wait for the quota of ListSteps: what it shows may suffice to report
    /// the cluster, and the steps are looked at later.
    fn soonest(self, now: Moment, quota: &PlaceQuota) -> (Self, Vec<Operation>, Moment) {
        let with_calls = |item: Self| {
            let calls = item.calls();
            let from = quota.allowed_from(item.need.urgency, &calls);
            (item, calls, from)
        };
        let is_first = self.is_first && self.need.ask == (Ask::Look { steps: true });
        let bare = is_first.then(|| {
            let need = DueAsk { ask: Ask::Look { steps: false }, ..self.need };
            with_calls(Self { need, cluster: self.cluster.clone(), ..self })
        });
        let whole = with_calls(self);
        bare.filter(|bare| whole.2 > now && bare.2 < whole.2).unwrap_or(whole)
    }
}

impl<P: Id, I: Id> AccountWatcher<P, I> {
    /// Sends every question that is due and that the quotas allow, the most urgent ones first.
    /// Returns when the next one can be sent.
    pub(super) fn ask_what_is_due(&mut self) -> Option<Moment> {
        let places: Vec<P> = self.places.keys().cloned().collect();
        let mut second_looks = self.second_looks_left();
        places.iter().filter_map(|at| self.ask_in(at, &mut second_looks)).min()
    }

    /// How many clusters whose termination waits for the limit may be looked at again.
    fn second_looks_left(&self) -> usize {
        let clusters = self.places.values().flat_map(|place| place.clusters.values());
        let waiting = clusters.filter(|tracked| {
            let second = tracked.under_way.is_some_and(|way| way.ask == Ask::SecondLook);
            second && tracked.told_limited
        });
        self.limit.room().saturating_sub(waiting.count())
    }

    fn ask_in(&mut self, at: &P, second_looks: &mut usize) -> Option<Moment> {
        let now = self.now;
        let mut next = Vec::new();
        let mut blocked: Vec<Operation> = Vec::new();
        for item in self.items(at) {
            if item.need.due > now {
                next.push(item.need.due);
                continue;
            }
            let place = self.places.get(at)?;
            let (item, calls, from) = item.soonest(now, &place.quota);
            let ask = item.need.ask;
            // A question that waits holds back less urgent ones with the same calls.
            if from > now || calls.iter().any(|call| blocked.contains(call)) {
                next.extend(Some(from).filter(|from| *from > now));
                blocked.extend(calls);
                continue;
            }
            let waits_for_limit = item.cluster.as_ref().is_some_and(|id| {
                let tracked = place.clusters.get(id);
                ask == Ask::SecondLook && tracked.is_some_and(|tracked| tracked.told_limited)
            });
            if waits_for_limit {
                if mutated!(self.plan, LimitedOnceIsLeft) {
                    continue;
                }
                if *second_looks == 0 {
                    continue;
                }
                *second_looks -= 1;
            }
            self.send(at, item, &calls);
        }
        // A list that was just sent may get no answer.
        let list = self.places.get(at).map(|place| place.listing.next);
        next.into_iter().chain(list.filter(|due| *due > now)).min()
    }

    /// Everything that is to be asked in a place, the most urgent first.
    fn items(&self, at: &P) -> Vec<Item<I>> {
        let Some(place) = self.places.get(at) else { return Vec::new() };
        let has_room = self.limit.room() > 0;
        let list = DueAsk {
            ask: Ask::Look { steps: false },
            urgency: Urgency::Urgent,
            due: place.listing.next,
        };
        let list = Item { need: list, cluster: None, is_known: true, is_first: false };
        let mut items = vec![list];
        for (id, tracked) in &place.clusters {
            let once = self.plan.once || mutated!(self.plan, DriftForgotten);
            if let Some(mut need) = tracked.need(self.now, &self.plan.limits, (once, has_room)) {
                if mutated!(self.plan, RoutineTakesAll) {
                    need.urgency = Urgency::Urgent;
                }
                let is_known = tracked.was_decided;
                let is_first = tracked.described.is_none() && tracked.tries == 0;
                items.push(Item { need, cluster: Some(id.clone()), is_known, is_first });
            }
        }
        for (id, due) in place.names.due() {
            let unpaced = mutated!(self.plan, NamesUnpaced);
            let urgency = if unpaced { Urgency::Urgent } else { Urgency::Named };
            let need = DueAsk { ask: Ask::Look { steps: true }, urgency, due };
            let cluster = Some(id.clone());
            items.push(Item { need, cluster, is_known: false, is_first: true });
        }
        items.sort_by_key(|item| (item.need.urgency, item.need.due));
        items
    }

    /// Sends a question or a request.
    fn send(&mut self, at: &P, item: Item<I>, calls: &[Operation]) {
        let (now, number, patience) = (self.now, self.next_number, self.patience());
        let Some(place) = self.places.get_mut(at) else { return };
        let DueAsk { ask, urgency, .. } = item.need;
        place.quota.spend(now, urgency, calls);
        let configuration = calls.contains(&Operation::SecurityConfiguration).then_some(urgency);
        self.next_number += 1;
        match item.cluster {
            None => {
                let since = place.listing.since;
                place.listing.sent(now, number, patience);
                let question = AccountQuestion::List { place: at.clone(), since, number };
                self.actions.push(AccountAction::Ask(question));
            }
            Some(id) => {
                sent(place, &id, UnderWay { number, ask, asked: now, configuration });
                self.send_about(at, id, number, ask);
            }
        }
    }

    fn send_about(&mut self, at: &P, id: I, number: u64, ask: Ask) {
        let place = at.clone();
        let question = match ask {
            Ask::Unprotect => {
                self.actions.push(AccountAction::Unprotect(place, id));
                return;
            }
            Ask::Terminate => {
                self.limit.count(self.now, (place.clone(), id.clone()));
                let request = AccountAction::Terminate(place.clone(), id.clone());
                self.note(AccountEntry::Ending(place, id));
                self.actions.push(request);
                if mutated!(self.plan, NotedAfterwards) {
                    let last = self.actions.len() - 1;
                    self.actions.swap(last - 1, last);
                }
                return;
            }
            Ask::Look { steps } => AccountQuestion::Look { place, id, steps, fresh: false, number },
            Ask::SecondLook => {
                let fresh = !mutated!(self.plan, KnownFactsAreFresh);
                AccountQuestion::Look { place, id, steps: true, fresh, number }
            }
            Ask::Details { groups, volumes } => {
                AccountQuestion::Details { place, id, groups, volumes }
            }
        };
        self.actions.push(AccountAction::Ask(question));
    }
}

/// Records that a question about a cluster is sent.
fn sent<I: Id>(place: &mut Place<I>, id: &I, way: UnderWay) {
    match place.clusters.get_mut(id) {
        Some(tracked) => tracked.sent(way),
        None => place.names.sent(id, way),
    }
}

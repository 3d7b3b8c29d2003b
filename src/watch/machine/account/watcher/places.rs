//! Places that are found, and places that cannot be used any more.

use std::collections::BTreeMap;

use crate::watch::machine::{
    account::{
        event::{AccountAction, AccountEntry, AccountNotice},
        listing::PlaceListing,
        mutants::mutated,
        place::Place,
        plan::KnownCluster,
        quota::PlaceQuota,
        tracked::Tracked,
        watcher::AccountWatcher,
    },
    conclusion::Obstacle,
    plan::Id,
    time::AwsTime,
};

impl<P: Id, I: Id> AccountWatcher<P, I> {
    /// Watches a place from now on, with what is known of it already.
    pub(super) fn place_found(&mut self, at: P, since: Option<AwsTime>) {
        if self.places.contains_key(&at) {
            return;
        }
        let now = self.now;
        let quota = self.gone.remove(&at).filter(|_| !mutated!(self.plan, GoneQuotaForgotten));
        let seen = self.plan.seen_until.get(&at).copied();
        let since = since.filter(|_| !mutated!(self.plan, FoundSinceForgotten));
        if let Some(since) = since.filter(|_| seen.is_none()) {
            // A later sentinel that finds the place at its start would not know it, and clusters
            // that were over by then would stay unseen.
            self.note(AccountEntry::SeenUntil(at.clone(), since));
        }
        let since = seen.or(since);
        let index = u64::try_from(self.places.len()).unwrap_or_default();
        let listing = PlaceListing::new(now, since, self.plan.seed.wrapping_add(index));
        // One that comes back has no more left than when it went.
        let interval = self.plan.limits.interval;
        let quota =
            quota.unwrap_or_else(|| PlaceQuota::new(interval, mutated!(self.plan, FreshQuotas)));
        let mut place = Place::new(listing, quota);
        for (id, created) in taken(&mut self.plan.over, &at) {
            place.remember(now, id, Some(created));
        }
        for (id, known) in taken(&mut self.plan.known, &at) {
            let mut tracked = Tracked::new(now, known);
            tracked.was_requested &= !mutated!(self.plan, EarlierEndForgotten);
            place.clusters.insert(id.clone(), tracked);
            if mutated!(self.plan, FoundTwice) {
                self.actions.push(AccountAction::Tell(AccountNotice::Found(at.clone(), id)));
            }
        }
        self.places.insert(at, place);
    }

    /// Forgets a place, but for what counts if it is found again. The end of a cluster whose
    /// termination was requested cannot be confirmed.
    pub(super) fn place_gone(&mut self, at: &P) {
        if mutated!(self.plan, GoneIsAsked) {
            return;
        }
        let Some(place) = self.places.remove(at) else { return };
        let is_kept = !mutated!(self.plan, GoneSightForgotten);
        if let Some(since) = place.listing.since.filter(|_| is_kept) {
            self.plan.seen_until.insert(at.clone(), since);
        }
        for (id, created) in place.past() {
            self.plan.over.insert((at.clone(), id.clone()), created);
        }
        self.gone.insert(at.clone(), place.quota);
        for (id, tracked) in place.clusters {
            let is_told = !mutated!(self.plan, GoneEndNotTold);
            if tracked.was_requested && !tracked.is_over() && is_told {
                let (at, id) = (at.clone(), id.clone());
                self.tell(AccountNotice::EndUnconfirmed(at, id, Obstacle::Unknown));
            }
            let known = KnownCluster {
                told_unsafe: tracked.told_unsafe,
                told_unjudged: tracked.told_unjudged,
                ending: tracked.was_requested,
            };
            if !mutated!(self.plan, GoneForgotten) {
                self.plan.known.insert((at.clone(), id), known);
            }
        }
    }
}

/// Takes what is of one place.
fn taken<P: Id, I: Id, T>(all: &mut BTreeMap<(P, I), T>, at: &P) -> Vec<(I, T)> {
    let (here, elsewhere): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(all).into_iter().partition(|((place, _), _)| place == at);
    *all = elsewhere;
    here.into_iter().map(|((_, id), value)| (id, value)).collect()
}

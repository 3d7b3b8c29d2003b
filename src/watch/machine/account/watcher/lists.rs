//! Handles the answers to lists.

use std::collections::BTreeSet;

use crate::watch::machine::{
    account::{
        ask::Urgency,
        event::{AccountEntry, AccountList, AccountListed, AccountNotice},
        mutants::mutated,
        watcher::AccountWatcher,
    },
    budget::Operation,
    event::AwsAnswer,
    plan::Id,
    state::State,
    time::Moment,
};

impl<P: Id, I: Id> AccountWatcher<P, I> {
    pub(super) fn listed(&mut self, at: &P, number: u64, answer: AwsAnswer<AccountList<I>>) {
        let now = self.now;
        let Some(place) = self.places.get_mut(at) else { return };
        let Some(asked) = place.listing.take(number) else { return };
        let why = match answer {
            AwsAnswer::Found(list) => {
                self.list_seen(at, asked, list);
                return;
            }
            AwsAnswer::Absent => "EMR does not know ListClusters here".to_owned(),
            AwsAnswer::Failed(why) => why,
        };
        let since = place.listing.trouble.take().map_or(asked, |(_, since)| since);
        place.listing.trouble = Some((why, since));
        let lives = !place.clusters.is_empty();
        place.listing.rest(now, &self.plan.limits, lives);
    }

    fn list_seen(&mut self, at: &P, asked: Moment, list: AccountList<I>) {
        let now = self.now;
        let limits = self.plan.limits;
        let overlap = !mutated!(self.plan, NoOverlap);
        let newest = list.clusters.iter().map(|listed| listed.created).max();
        let listed: BTreeSet<I> = list.clusters.iter().map(|listed| listed.id.clone()).collect();
        for cluster in list.clusters {
            self.listed_one(at, asked, &cluster);
        }
        let Some(place) = self.places.get_mut(at) else { return };
        for _ in 1..list.calls {
            place.quota.spend(now, Urgency::Urgent, &[Operation::List]);
        }
        for (id, tracked) in &mut place.clusters {
            let shows = tracked.was_listed && tracked.found < asked && tracked.state_asked < asked;
            if shows && !listed.contains(id) && !std::mem::replace(&mut tracked.is_missing, true) {
                tracked.rests_until = now;
            }
        }
        let noted = place.listing.seen(list.at.or(newest), overlap);
        if !mutated!(self.plan, OverKept) {
            place.forget_past(now, &limits);
        }
        place.listing.trouble = None;
        place.listing.has_succeeded = true;
        let lives = !place.clusters.is_empty();
        place.listing.rest(now, &limits, lives);
        if std::mem::take(&mut place.listing.told_lost) {
            self.tell(AccountNotice::SightBack(at.clone()));
        }
        if let Some(until) = noted {
            self.note(AccountEntry::SeenUntil(at.clone(), until));
        }
    }

    fn listed_one(&mut self, at: &P, asked: Moment, listed: &AccountListed<I>) {
        let Some(place) = self.places.get_mut(at) else { return };
        if place.is_past(&listed.id) {
            return;
        }
        if !place.clusters.contains_key(&listed.id) {
            let ignored = mutated!(self.plan, ShortLivedIgnored);
            if listed.state == State::Over && (place.is_history(listed.created) || ignored) {
                return;
            }
            self.add(at, &listed.id, listed.created, listed.state);
        }
        let Some(tracked) = self.tracked_mut(at, &listed.id) else { return };
        tracked.created = Some(listed.created);
        tracked.was_listed = true;
        tracked.is_missing = false;
        tracked.saw(asked, listed.state);
    }
}

//! What is overdue: answers, judgements, and the sight of a place; and when that is next.

use crate::watch::machine::{
    account::{
        event::{AccountAction, AccountEntry, AccountNotice},
        mutants::mutated,
        tracked::Tracked,
        watcher::AccountWatcher,
    },
    ending::Ending,
    plan::Id,
    time::Moment,
};

impl<P: Id, I: Id> AccountWatcher<P, I> {
    /// Gives up answers that have not come: whatever they block goes on.
    pub(super) fn give_up_answers(&mut self) {
        let (now, limits, patience) = (self.now, self.plan.limits, self.patience());
        let is_late = |asked: Moment| now.since(asked) >= patience;
        let mut lost = Vec::new();
        for (at, place) in &mut self.places {
            for (id, tracked) in &mut place.clusters {
                let blocks = mutated!(self.plan, LostAnswerBlocks);
                if tracked.under_way.is_some_and(|way| is_late(way.asked)) && !blocks {
                    tracked.unknown_since.get_or_insert(now);
                    tracked.answered(now, &limits, false);
                }
                let blocks = mutated!(self.plan, LostTerminationBlocks);
                if tracked.requested.is_some_and(is_late) && !blocks {
                    lost.push((at.clone(), id.clone()));
                }
            }
            for id in place.names.unanswered(is_late) {
                place.names.failed(now, &id, &limits);
            }
        }
        for (at, id) in lost {
            self.request_lost(&at, &id);
        }
    }

    /// Tells people of clusters that were not judged in time, and of places that cannot be listed.
    pub(super) fn tell_overdue(&mut self) {
        if self.now.since(self.slept_until) < self.patience() && self.slept_until > Moment::START {
            return;
        }
        let (now, limit) = (self.now, self.plan.limits.judge_within);
        let mut notices = Vec::new();
        for (at, place) in &mut self.places {
            let listing = &mut place.listing;
            if let Some((why, since)) = &listing.trouble
                && now.since(*since) >= limit
                && !std::mem::replace(&mut listing.told_lost, true)
            {
                notices.push(AccountNotice::SightLost(at.clone(), why.clone()));
            }
            for (id, tracked) in &mut place.clusters {
                let due = unjudged_from(tracked).is_some_and(|since| now.since(since) >= limit);
                if due {
                    tracked.told_unjudged = true;
                    notices.push(AccountNotice::Unjudged(at.clone(), id.clone()));
                }
            }
        }
        for notice in notices {
            let is_sight = matches!(notice, AccountNotice::SightLost(..));
            if (is_sight && mutated!(self.plan, SightLossNotTold))
                || (!is_sight && mutated!(self.plan, UnjudgedNotTold))
            {
                continue;
            }
            self.tell(notice.clone());
            if let AccountNotice::Unjudged(at, id) = notice {
                self.note(AccountEntry::ToldUnjudged(at, id));
            }
        }
    }

    /// Sets the next wake-up; `next`: when the next question can be sent.
    pub(super) fn set_wake(&mut self, next: Option<Moment>) {
        let limits = &self.plan.limits;
        let mut times: Vec<Moment> = next.into_iter().collect();
        for place in self.places.values() {
            let trouble = place.listing.trouble.as_ref().filter(|_| !place.listing.told_lost);
            times.extend(trouble.map(|(_, since)| since.after(limits.judge_within)));
            times.extend(place.names.asked().map(|asked| asked.after(self.patience())));
            for tracked in place.clusters.values() {
                let asked = tracked.under_way.map(|way| way.asked);
                let answers = asked.into_iter().chain(tracked.requested);
                times.extend(answers.map(|asked| asked.after(self.patience())));
                times.extend(unjudged_from(tracked).map(|at| at.after(limits.judge_within)));
                times.extend(tracked.ending.as_ref().and_then(Ending::due));
                times.extend(tracked.retry_from);
                times.extend(self.limit.next_room().filter(|_| tracked.told_limited));
            }
        }
        if self.slept_until > Moment::START {
            times.push(self.slept_until.after(self.patience()));
        }
        if self.plan.once {
            times.push(self.began.after(limits.judge_within));
        }
        let next = times.into_iter().filter(|time| *time > self.now).min();
        if self.wake != next {
            self.wake = next;
            self.actions.extend(next.map(AccountAction::Wake));
        }
    }
}

/// Since when a cluster is not judged, if that was not reported.
fn unjudged_from(tracked: &Tracked) -> Option<Moment> {
    let told = tracked.told_unjudged || tracked.told_unsafe;
    tracked.unknown_since.filter(|_| !told && !tracked.is_gone())
}

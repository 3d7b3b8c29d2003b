//! The end of a watch: of one that judges once, or that was stopped.

use crate::watch::machine::{
    account::{
        event::{AccountAction, AccountConclusion, AccountVerdict},
        mutants::mutated,
        tracked::Tracked,
        watcher::AccountWatcher,
    },
    plan::Id,
    state::State,
};

impl<P: Id, I: Id> AccountWatcher<P, I> {
    /// Ends a watch that judges once, if nothing is awaited any more.
    pub(super) fn conclude_if_done(&mut self) {
        if !self.plan.once {
            return;
        }
        let is_late = self.now.since(self.began) >= self.plan.limits.judge_within
            && !mutated!(self.plan, OnceWaitsForEver);
        let waits_for_ends = !mutated!(self.plan, OnceDoesNotWait);
        let is_done = self.places.values().all(|place| {
            let is_seen = place.listing.has_succeeded && place.names.is_empty();
            let mut clusters = place.clusters.values();
            (is_late || is_seen)
                && clusters.all(|tracked| {
                    let awaits_end = tracked.ending.is_some() && waits_for_ends;
                    !awaits_end && is_settled(tracked, is_late)
                })
        });
        if is_done {
            self.conclude();
        }
    }

    /// Ends the watch.
    pub(super) fn conclude(&mut self) {
        let mut clusters: Vec<_> = std::mem::take(&mut self.finished)
            .into_iter()
            .map(|(cluster, verdict)| (cluster, verdict, true))
            .collect();
        let mut unseen = Vec::new();
        let mut unconfirmed = Vec::new();
        for (at, place) in &self.places {
            let listing = &place.listing;
            match &listing.trouble {
                Some((why, _)) => unseen.push((at.clone(), why.clone())),
                None if !listing.has_succeeded => {
                    unseen.push((at.clone(), "its clusters were not listed yet".to_owned()));
                }
                None => {}
            }
            for (id, tracked) in &place.clusters {
                let cluster = (at.clone(), id.clone());
                if tracked.was_requested && !tracked.is_over() {
                    unconfirmed.push(cluster.clone());
                }
                clusters.push((cluster, tracked.verdict(), tracked.is_over()));
            }
        }
        if !mutated!(self.plan, GoneIsLeftOut) {
            self.conclude_elsewhere(&mut clusters, &mut unseen);
        }
        // These are of places that are not watched.
        let known = self.plan.known.iter().filter(|(_, known)| known.ending);
        unconfirmed.extend(known.map(|(cluster, _)| cluster.clone()));
        if mutated!(self.plan, UnseenIsLeftOut) {
            unseen.clear();
        }
        self.is_finished = true;
        self.actions.push(AccountAction::Finish(AccountConclusion {
            clusters,
            unseen,
            unconfirmed,
        }));
    }

    /// Names the places that are gone, and what was reported of the clusters there: nothing else of
    /// them is known any more.
    fn conclude_elsewhere(
        &self,
        clusters: &mut Vec<((P, I), AccountVerdict, bool)>,
        unseen: &mut Vec<(P, String)>,
    ) {
        let why = "it could not be used any more";
        unseen.extend(self.gone.keys().map(|at| (at.clone(), why.to_owned())));
        let known = self.plan.known.iter().filter(|((at, _), _)| self.gone.contains_key(at));
        clusters.extend(known.map(|(cluster, known)| {
            let verdict =
                if known.told_unsafe { AccountVerdict::Unsafe } else { AccountVerdict::Unjudged };
            (cluster.clone(), verdict, false)
        }));
    }
}

/// Whether a watch that judges once waits for nothing of this cluster; `is_late`: nothing but an
/// end is awaited any more.
fn is_settled(tracked: &Tracked, is_late: bool) -> bool {
    let awaits_second_look =
        tracked.may_end() && !tracked.told_limited && tracked.retry_from.is_none();
    let awaits_end = tracked.told_unsafe
        && tracked.ending.is_none()
        && tracked.state == Some(State::Terminating);
    let is_judged = tracked.told_unsafe || tracked.is_judged();
    is_late || (is_judged && !tracked.is_gone() && !awaits_second_look && !awaits_end)
}

//! Time limits: every cluster is evaluated in time, and observations stay up to date.

use crate::watch::machine::{
    conclusion::Cause,
    event::{Action, WatchNotice},
    mutants::mutated,
    plan::{Id, WatchMode},
    termination::{Decision, EndReason},
    time::Moment,
    watcher::Watcher,
};

impl<I: Id> Watcher<I> {
    /// Checks that every cluster is evaluated and a search has succeeded within the time limit, and
    /// that later observations do not fail for longer than it.
    pub(super) fn check_limits(&mut self, now: Moment) {
        let limit = self.plan.limits.judge_within;
        let is_late = |since: Moment| now.since(since) >= limit;
        let why = self.search.trouble.as_ref().map(|(why, _)| why.clone());
        let was_lost = self.search.trouble.as_ref().is_some_and(|(_, since)| is_late(*since));
        let is_blind = match self.search.succeeded {
            None => is_late(Moment::START),
            // A list from before the cluster's creation says nothing about it.
            Some(_) => was_lost && !self.clusters.values().any(|cluster| cluster.was_judged),
        };
        if self.plan.mode == WatchMode::Run
            && is_blind
            && !self.told_blind
            && !mutated!(self.plan, BlindSearchForgotten)
        {
            self.told_blind = true;
            self.actions.push(Action::Tell(WatchNotice::Blind(why.unwrap_or_default())));
            self.stop_runner(now);
        }
        let is_told = self.told_lost || self.told_blind;
        if was_lost && self.search.succeeded.is_some() && !is_told {
            self.told_lost = true;
            self.actions.push(Action::Tell(WatchNotice::SightLost(None)));
        }
        if mutated!(self.plan, JudgeWithinForgotten) {
            return;
        }
        // A request that is under way may bring the answer.
        let patience = self.wake_up_time();
        let undecided: Vec<I> = self
            .undecided
            .iter()
            .filter(|(id, since)| is_late(**since) && !self.told_undecided.contains(*id))
            .filter(|(id, since)| !self.looking.contains(*id) || is_late(since.after(patience)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in undecided {
            self.told_undecided.insert(id.clone());
            self.actions.push(Action::Tell(WatchNotice::Unjudged(id)));
            self.stop_runner(now);
        }
        let late: Vec<(I, bool)> = self
            .clusters
            .iter()
            .filter(|(id, cluster)| {
                let asked = self.looking.contains(*id) || cluster.details.under_way;
                let late = is_late(cluster.late_since().after(patience))
                    && now.since(cluster.found) >= patience;
                // After a suspend of the machine there was no time to poll.
                let awake = now.since(self.slept_until) >= patience;
                cluster.cause.is_none() && !cluster.is_over() && awake && (!asked || late)
            })
            .filter(|(_, cluster)| {
                (cluster.unknown_since.is_some() || cluster.described.is_none())
                    && is_late(cluster.late_since())
            })
            .map(|(id, cluster)| (id.clone(), cluster.was_judged))
            .collect();
        for (id, was_judged) in late {
            self.judged_too_late(now, &id, was_judged);
        }
    }

    pub(super) fn judged_too_late(&mut self, now: Moment, id: &I, was_judged: bool) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        if was_judged && !mutated!(self.plan, LostSightEnds) {
            if !std::mem::replace(&mut cluster.told_lost, true) {
                self.actions.push(Action::Tell(WatchNotice::SightLost(Some(id.clone()))));
            }
            return;
        }
        let decision = cluster.decision(EndReason::Unjudged, &self.plan);
        if decision == Decision::End {
            self.must_end(now, id, Cause::Unjudged);
        } else if !std::mem::replace(&mut cluster.told_unjudged, true) {
            self.actions.push(Action::Tell(WatchNotice::Unjudged(id.clone())));
            self.stop_runner(now);
        }
    }

    /// Reports once that nothing is left to watch, if clusters were named to `watch`.
    pub(super) fn check_done(&mut self, now: Moment) {
        let idle = self.plan.until_idle;
        if self.plan.mode == WatchMode::Attach
            && self.clusters.values().all(|cluster| cluster.is_done(idle))
            && !std::mem::replace(&mut self.told_done, true)
        {
            self.actions.push(Action::Tell(WatchNotice::Done));
            self.begin_last_looks(now);
        }
    }
}

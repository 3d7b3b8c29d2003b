//! The final polls, after the runner has ended, and the conclusion.

use std::time::Duration;

use crate::watch::machine::{
    cluster::{Cluster, Wanted},
    conclusion::{Cause, ClusterEnd, Doubt, EndResult, Obstacle, Open, WatchConclusion},
    event::{Action, RunnerEnd, WatchNotice},
    mutants::mutated,
    ownership::Ownership,
    plan::{Id, Rules, WatchMode},
    runner::{Runner, Survivors},
    state::State,
    termination::{Decision, EndReason},
    time::Moment,
    watcher::{ExpectedEnd, LAST_LOOKS, LastLooks, Watcher, short_of},
};

impl<I: Id> Watcher<I> {
    pub(super) fn begin_last_looks(&mut self, now: Moment) {
        // If several could not be described, the quota is nearly used up.
        let failing = self.clusters.values().filter(|cluster| cluster.described.is_none()).count();
        let rest = self.plan.limits.interval / 2;
        self.last = Some(LastLooks {
            began: now,
            looks: 0,
            under_way: false,
            next: if failing > 2 { now.after(rest) } else { now },
            pause: self.plan.limits.interval / 10,
            orphans_decided: false,
        });
    }

    /// The time from which no request of the runner can take effect any more.
    pub(super) fn closable_from(&self) -> Moment {
        if mutated!(self.plan, InFlightForgotten) {
            return Moment::START;
        }
        let limits = self.plan.limits;
        match self.runner {
            Runner::None if self.plan.mode == WatchMode::Resume => self.plan.open_until,
            Runner::None => Moment::START,
            Runner::Alive { .. } => Moment(Duration::MAX),
            Runner::Ended { survivors: Survivors::Asked | Survivors::Left(_), .. } => {
                Moment(Duration::MAX)
            }
            Runner::Ended { end, at, stopped, left_until, .. } => {
                let own = match end {
                    _ if stopped => at.after(limits.in_flight()),
                    RunnerEnd::Killed => at.after(limits.in_flight()),
                    RunnerEnd::Failed => at.after(limits.in_flight_after_failure()),
                    RunnerEnd::Succeeded | RunnerEnd::StartedNothing => at,
                };
                // An orphaned process may have sent a request until it was gone.
                own.max(left_until.map_or(own, |left| left.after(limits.in_flight())))
            }
        }
    }

    /// The minimum time of the search after a stop.
    pub(super) fn settle(&self) -> Duration {
        self.plan.limits.stop / 3
    }

    pub(super) fn expected(&self) -> ExpectedEnd {
        match (self.plan.mode, self.runner) {
            _ if self.stop.is_some() => ExpectedEnd::Known,
            (WatchMode::Run, Runner::Ended { end: RunnerEnd::Succeeded, .. }) => {
                if self.plan.persistent { ExpectedEnd::Persistent } else { ExpectedEnd::Finished }
            }
            (WatchMode::Attach, _) => {
                if self.plan.until_idle {
                    ExpectedEnd::Persistent
                } else {
                    ExpectedEnd::Finished
                }
            }
            (WatchMode::Run | WatchMode::Resume, _) => ExpectedEnd::Known,
        }
    }

    /// Whether a cluster is in its expected final state.
    pub(super) fn ends_as_expected(&self, cluster: &Cluster) -> bool {
        let Some(state) = cluster.state() else { return false };
        match self.expected() {
            ExpectedEnd::Finished => matches!(state, State::Over | State::Terminating),
            ExpectedEnd::Persistent => {
                state == State::Over
                    || (cluster.judgement.steps_known && !cluster.judgement.work.open)
            }
            ExpectedEnd::Known => true,
        }
    }

    /// Whether all facts that can be known of a cluster are known.
    pub(super) fn is_decided(&self, cluster: &Cluster) -> bool {
        if cluster.cause.is_some() {
            return !cluster.is_ending();
        }
        // Facts that AWS does not show count as decided: they will not appear later.
        let seen = (cluster.judgement.passed_so_far() && !cluster.judgement.unseen)
            || (cluster.judgement.passed_so_far()
                && (cluster.is_over() || cluster.state() == Some(State::Terminating)));
        seen && (self.ends_as_expected(cluster) || cluster.whose == Ownership::Presumed)
    }

    pub(super) fn is_look_under_way(&self) -> bool {
        self.search.under_way
            || !self.looking.is_empty()
            || self.clusters.values().any(|cluster| cluster.details.under_way)
    }

    pub(super) fn last_looks(&mut self, now: Moment) {
        let Some(mut last) = self.last else { return };
        if let Some(stop) = self.stop
            && now >= stop.by
        {
            return self.finish(now);
        }
        let is_short = self.stop.is_some_and(|stop| now >= short_of(stop));
        let looked = last.under_way && !self.is_look_under_way();
        if looked {
            last.under_way = false;
            // A failed request is not repeated so soon.
            if self.search.trouble.is_some()
                || !self.undecided.is_empty()
                || self.clusters.values().any(|cluster| cluster.describe_failed)
            {
                last.pause = last.pause.max(self.plan.limits.interval);
            }
            // Several clusters share the quota for security configurations.
            let unknown = self.clusters.values().filter(|cluster| {
                cluster.cause.is_none() && cluster.judgement.unknown && !cluster.is_settled()
            });
            let unknown = u32::try_from(unknown.count()).unwrap_or(u32::MAX);
            last.pause = last.pause.max(self.plan.limits.interval * unknown.div_ceil(2));
            last.next = now.after(last.pause);
            let slower = if std::mem::take(&mut self.throttled) { 4 } else { 2 };
            last.pause = (last.pause * slower).min(self.plan.limits.interval * (slower / 2));
        }
        self.last = Some(last);
        if is_short || (last.looks > 0 && !last.under_way) {
            self.end_with_the_stop(now, is_short);
        }
        let endings = self.clusters.values().any(Cluster::is_ending);
        if !last.under_way && last.looks > 0 && !endings && self.conclude_if_decided(now, is_short)
        {
            return;
        }
        let Some(last) = &mut self.last else { return };
        if !last.under_way && !is_short && last.next <= now && !self.is_finished {
            last.under_way = true;
            let first = last.looks == 0;
            last.looks += 1;
            if first {
                // An earlier request shows an earlier state, also for a cluster that was not
                // described yet.
                self.look_again.extend(self.looking.iter().cloned());
            }
            self.search.again = self.search.under_way;
            self.ask_search();
            let open: Vec<I> = self
                .clusters
                .iter()
                .filter(|(_, cluster)| {
                    // If everything is known of it, the first poll is its last one. While it
                    // continues and should not, its state may have changed.
                    let is_known = self.is_decided(cluster) && self.ends_as_expected(cluster);
                    let due = first || (!is_known && cluster.cause.is_none());
                    due && !cluster.is_settled() && !cluster.is_ending()
                })
                .map(|(id, _)| id.clone())
                .collect();
            let rest =
                self.plan.limits.interval * u32::try_from(open.len()).unwrap_or(u32::MAX).max(1);
            for id in open {
                // An earlier request shows an earlier state.
                if self.looking.contains(&id) {
                    self.look_again.insert(id);
                    continue;
                }
                // Several clusters share the quota for steps.
                let steps = self.clusters.get(&id).is_some_and(|cluster| {
                    let rested = cluster.steps_asked.is_none_or(|at| now.since(at) >= rest);
                    first || (rested && !cluster.describe_failed)
                });
                self.ask_look(&id, Wanted { cluster: true, steps });
            }
            self.ask_details(now, first);
            // A poll without requests also counts.
            if !self.is_look_under_way() {
                self.last_looks(now);
            }
        }
    }

    /// Terminates the clusters that end with the run, if it was asked to stop and the settings say
    /// so.
    pub(super) fn end_with_the_stop(&mut self, now: Moment, is_short: bool) {
        let ends = (self.stop.is_some() && self.plan.rules.on_stop) || self.plan.stopped_to_end;
        let unjudged_ends = is_short && mutated!(self.plan, StopEndsUnjudged);
        if !ends && !unjudged_ends {
            return;
        }
        let rules = Rules { on_stop: true, ..self.plan.rules };
        let ending: Vec<I> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| {
                cluster.cause.is_none()
                    && !cluster.is_over()
                    && (ends || cluster.judgement.unknown)
                    && cluster.decision_by(rules, EndReason::Stopped, &self.plan) == Decision::End
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in ending {
            self.begin_ending(now, &id, Decision::End, Cause::Stopped);
        }
    }

    /// Concludes, if everything is known or will not be known in time.
    pub(super) fn conclude_if_decided(&mut self, now: Moment, is_short: bool) -> bool {
        let Some(last) = self.last else { return false };
        let is_closable = now >= self.closable_from() && !self.runner.has_survivors();
        let has_settled =
            is_closable || (self.stop.is_some() && now.since(last.began) >= self.settle());
        let all_known = self.search.trouble.is_none() && self.undecided.is_empty();
        let facts_known = all_known && !self.clusters.values().any(Cluster::is_unverified);
        let decided = all_known && self.clusters.values().all(|cluster| self.is_decided(cluster));
        // EMR's state counts after some polls. Unknown facts are requested until the time limit,
        // and missing instances are awaited as long.
        let awaited = self.clusters.values().any(|cluster| {
            cluster.cause.is_none() && !cluster.is_over() && cluster.judgement.unseen
        });
        let shows = last.looks >= LAST_LOOKS
            && facts_known
            && (!awaited || self.stop.is_some() || self.plan.mode == WatchMode::Attach);
        // After a suspend of the machine the facts are old.
        let is_awake =
            self.slept_until == Moment::START || now.since(self.slept_until) >= self.wake_up_time();
        let is_late = now.since(last.began) >= self.plan.limits.judge_within && is_awake;
        let enough = if mutated!(self.plan, NeverConfirms) {
            is_late
        } else {
            has_settled && (decided || shows || is_late)
        };
        // Whoever stops the guard waits for it.
        let enough = enough || is_short;
        if !enough || (self.runner.is_alive() && !is_short) {
            return false;
        }
        if self.find_orphans(now) {
            return false;
        }
        self.finish(now);
        true
    }

    /// Reports the clusters that continue although nobody waits for them, and terminates them if
    /// the settings say so. Returns whether that is under way.
    pub(super) fn find_orphans(&mut self, now: Moment) -> bool {
        let Some(last) = &mut self.last else { return false };
        if self.plan.mode == WatchMode::Attach || self.stop.is_some() || self.plan.stopped_to_end {
            return false;
        }
        if std::mem::replace(&mut last.orphans_decided, true) {
            return false;
        }
        let persistent = self.plan.persistent;
        let orphans: Vec<(I, Decision)> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| {
                let works =
                    !persistent || !cluster.judgement.steps_known || cluster.judgement.work.open;
                let goes_on =
                    !cluster.is_over() && cluster.state() != Some(State::Terminating) && works;
                cluster.whose == Ownership::Ours && cluster.cause.is_none() && goes_on
            })
            .map(|(id, cluster)| {
                let known = cluster.judgement.passed_so_far();
                let why = EndReason::Orphaned;
                let decision = cluster.decision(why, &self.plan);
                (id.clone(), if known { decision } else { Decision::Leave })
            })
            .collect();
        let mut ends = false;
        for (id, decision) in orphans {
            if let Some(cluster) = self.clusters.get_mut(&id) {
                cluster.is_orphan = true;
            }
            self.actions.push(Action::Tell(WatchNotice::Orphan(id.clone())));
            if decision == Decision::End {
                ends = true;
                self.begin_ending(now, &id, Decision::End, Cause::Orphaned);
            }
        }
        ends
    }

    pub(super) fn finish(&mut self, now: Moment) {
        let worked: Vec<I> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.whose == Ownership::Ours && cluster.judgement.work.begun)
            .map(|(id, _)| id.clone())
            .collect();
        if worked.len() > 1 && !self.plan.persistent && !mutated!(self.plan, TwiceNotTold) {
            self.actions.push(Action::Tell(WatchNotice::Twice(worked)));
        }
        let conclusion = WatchConclusion {
            clusters: self
                .clusters
                .iter()
                .map(|(id, cluster)| (id.clone(), Self::cluster_end(cluster)))
                .collect(),
            doubts: self.doubts(),
            open: self.open(now),
            search_trouble: self.search.trouble.as_ref().map(|(why, _)| why.clone()),
            undecided: self.undecided.keys().cloned().collect(),
        };
        self.is_finished = true;
        self.actions.push(Action::Finish(conclusion));
    }

    pub(super) fn cluster_end(cluster: &Cluster) -> ClusterEnd {
        let end = match (&cluster.end, cluster.cause) {
            (Some(end), _) => Some(end.clone()),
            (None, Some(_)) => Some(EndResult::Unconfirmed(Obstacle::NotFollowed)),
            (None, None) => None,
        };
        ClusterEnd {
            whose: cluster.whose,
            cause: cluster.cause,
            end,
            is_over: cluster.is_over(),
            passed: cluster.judgement.passed() && cluster.described.is_some(),
            unseen: cluster.judgement.passed_so_far() && cluster.judgement.unseen,
            orphan: cluster.is_orphan,
        }
    }

    /// Whether a cluster's result counts for the run. A presumed cluster does not count if a
    /// cluster with the run's tag has done the work.
    pub(super) fn counts(&self, cluster: &Cluster) -> bool {
        cluster.whose != Ownership::Presumed
            || !self
                .clusters
                .values()
                .any(|other| other.whose == Ownership::Ours && other.judgement.work.done)
    }

    pub(super) fn doubts(&self) -> Vec<Doubt<I>> {
        let mut doubts = Vec::new();
        if let Some((why, _)) = &self.search.trouble {
            doubts.push(Doubt::Search(why.clone()));
        } else if self.searches() && self.search.succeeded.is_none() {
            doubts.push(Doubt::Search(String::new()));
        }
        doubts.extend(self.undecided.keys().cloned().map(Doubt::Undescribed));
        let end = match self.runner {
            Runner::Ended { end, .. } => Some(end),
            Runner::None | Runner::Alive { .. } => None,
        };
        let did_work = |cluster: &Cluster| {
            !matches!(cluster.whose, Ownership::NotOurs) && cluster.judgement.work.done
        };
        // Without an observation, encryption cannot be confirmed. A runner that failed claims
        // nothing.
        let failed =
            self.stop.is_some() || matches!(end, Some(RunnerEnd::Failed | RunnerEnd::Killed));
        for (id, cluster) in &self.clusters {
            if cluster.is_unsafe() || !self.counts(cluster) {
                continue;
            }
            if cluster.described.is_none() || cluster.judgement.unknown {
                doubts.push(Doubt::Unknown(id.clone()));
            } else if (cluster.judgement.unseen || cluster.judgement.hidden)
                && !failed
                && !ended_unused(cluster)
            {
                doubts.push(Doubt::Unseen(id.clone()));
            } else if cluster.cause.is_none() && !self.ends_as_expected(cluster) {
                doubts.push(Doubt::GoesOn(id.clone()));
            }
        }
        if end == Some(RunnerEnd::Succeeded)
            && self.stop.is_none()
            && self.plan.has_steps
            && !self.clusters.values().any(did_work)
        {
            doubts.push(Doubt::NoWork);
        }
        if mutated!(self.plan, AlwaysDoubts) {
            doubts.push(Doubt::NoWork);
        }
        doubts
    }

    /// The reasons to keep the run open.
    pub(super) fn open(&self, now: Moment) -> Vec<Open<I>> {
        if self.plan.mode == WatchMode::Attach {
            return Vec::new();
        }
        let mut open = Vec::new();
        if self.runner.has_survivors() {
            open.push(Open::Survivors);
        } else if now < self.closable_from() {
            open.push(Open::InFlight);
        }
        let never = self.search.succeeded.is_none();
        // After a suspend of the machine, a stop can leave no time for a poll.
        let looked = self.last.is_some_and(|last| last.looks > u32::from(last.under_way));
        if (self.search.trouble.is_some() || never || !looked)
            && !mutated!(self.plan, BlindRunIsClosed)
        {
            open.push(Open::Search);
        }
        open.extend(self.undecided.keys().cloned().map(Open::Unjudged));
        for (id, cluster) in &self.clusters {
            let must_end = cluster.cause.is_some() && cluster.end != Some(EndResult::Confirmed);
            if must_end && !mutated!(self.plan, LivingUnsafeIsClosed) {
                open.push(Open::Living(id.clone()));
            }
            let is_known = cluster.described.is_some()
                && !cluster.judgement.unknown
                && (cluster.is_over() || !cluster.judgement.unseen);
            // An earlier guard may have observed facts that AWS no longer shows.
            let was_left = self.plan.known.contains(id) && !cluster.is_over();
            if cluster.cause.is_none() && !is_known && (self.counts(cluster) || was_left) {
                open.push(Open::Unjudged(id.clone()));
            }
        }
        open
    }
}

/// Whether the guard itself terminated it, because of a stop or as an orphan, before it could work:
/// then there was nothing to observe.
fn ended_unused(cluster: &Cluster) -> bool {
    matches!(cluster.cause, Some(Cause::Stopped | Cause::Orphaned))
        && cluster.end == Some(EndResult::Confirmed)
        && !cluster.has_run
        && !cluster.judgement.work.begun
}

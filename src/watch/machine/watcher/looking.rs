//! Decides which request is sent when, and for which cluster.

use std::time::Duration;

use crate::watch::machine::{
    cluster::{Cluster, Wanted},
    event::{Action, Question},
    mutants::mutated,
    ownership::Ownership,
    pace::PollReason,
    plan::{Id, WatchMode},
    state::State,
    time::Moment,
    watcher::{FIRST_LOOKS, FIRST_LOOKS_OF_LISTED, HINTS_DATED, HINTS_REMEMBERED, Watcher},
};

impl<I: Id> Watcher<I> {
    pub(super) fn searches(&self) -> bool {
        self.plan.mode != WatchMode::Attach
    }

    pub(super) fn ask_search(&mut self) {
        if self.searches() && !self.search.under_way {
            self.search.under_way = true;
            self.search.asked = self.now;
            self.actions.push(Action::Ask(Question::Search));
        }
    }

    pub(super) fn ask_look(&mut self, id: &I, wanted: Wanted) {
        if self.looking.insert(id.clone()) {
            let Wanted { cluster, steps } = wanted;
            if let Some(known) = self.clusters.get_mut(id) {
                known.look_has_steps = steps;
                if steps {
                    known.steps_asked = Some(self.now);
                }
            }
            self.actions.push(Action::Ask(Question::Look { id: id.clone(), cluster, steps }));
        }
    }

    pub(super) fn look_soon(&mut self, now: Moment) {
        self.next_look = self.next_look.min(now.after(self.plan.limits.interval));
        if let Some(last) = &mut self.last {
            last.next = last.next.min(now.after(self.plan.limits.interval));
        }
    }

    /// A cluster was named by the log, or by an EMR event, which means that its state has changed.
    pub(super) fn hinted(&mut self, now: Moment, id: I, has_changed: bool) {
        if let Some(cluster) = self.clusters.get(&id) {
            if has_changed && !cluster.is_settled() {
                self.ask_look(&id, Wanted::ALL);
            }
            return;
        }
        let known = self.strangers.contains(&id)
            || self.plan.earlier.contains(&id)
            || self.hints.iter().any(|(hinted, _)| *hinted == id)
            || self.hint_looks.contains_key(&id);
        if known || (self.last.is_some() && mutated!(self.plan, LastHintsLost)) {
            return;
        }
        if self.hints.len() < HINTS_REMEMBERED || mutated!(self.plan, HintsUnbounded) {
            self.hints.push_back((id, 0));
        }
        self.look_soon(now);
    }

    /// Polls a cluster that is listed and was not described yet.
    pub(super) fn look_at_new(&mut self, now: Moment, id: &I) {
        let is_first = !self.undecided.contains_key(id);
        // Earlier requests may have failed before it was listed.
        let since = self.hinted_since.get(id).copied().unwrap_or(now);
        self.undecided.entry(id.clone()).or_insert(since);
        let waiting = self.hints.len();
        self.hints.retain(|(hinted, _)| hinted != id);
        let waited = self.hints.len() < waiting;
        if (is_first || waited) && !self.hint_looks.contains_key(id) {
            self.hints.push_front((id.clone(), 0));
            self.look_at_hints(now);
        } else {
            self.ask_look(id, Wanted { cluster: true, steps: false });
        }
    }

    /// Describes clusters that only the log or the list names: a few at once, and then one by one,
    /// so that the quota is not used up. Log lines are easy to forge, so part of the quota is
    /// reserved for listed clusters.
    pub(super) fn look_at_hints(&mut self, now: Moment) {
        let unbounded = mutated!(self.plan, HintsUnbounded);
        let rest = self.plan.limits.interval;
        while self.first_looks < FIRST_LOOKS && self.first_looks_next <= now {
            self.first_looks += 1;
            self.first_looks_next = self.first_looks_next.after(rest);
        }
        while let Some((id, _)) = self.hints.front() {
            let kept = if self.undecided.contains_key(id) { 0 } else { FIRST_LOOKS_OF_LISTED };
            if self.first_looks <= kept && !unbounded {
                return;
            }
            let Some((id, tries)) = self.hints.pop_front() else { return };
            if self.clusters.contains_key(&id)
                || self.strangers.contains(&id)
                || self.looking.contains(&id)
            {
                continue;
            }
            if self.first_looks == FIRST_LOOKS {
                self.first_looks_next = now.after(rest);
            }
            self.first_looks = self.first_looks.saturating_sub(1);
            if self.hinted_since.len() < HINTS_DATED {
                self.hinted_since.entry(id.clone()).or_insert(now);
            }
            self.hint_looks.insert(id.clone(), tries + 1);
            self.ask_look(&id, Wanted::ALL);
        }
    }

    /// Polls sooner if there is more reason to than when the pause began.
    pub(super) fn look_sooner(&mut self, now: Moment) {
        if self.need() < self.pace.need() {
            let pause = self.pause();
            self.next_look = self.next_look.min(now.after(pause));
        }
    }

    /// Polls if due, while the runner runs or a named cluster continues.
    pub(super) fn look_if_due(&mut self, now: Moment) {
        if self.next_look > now {
            return;
        }
        // A search that hangs must not delay anything else.
        let patience = self.plan.limits.interval * 3;
        let search_waits = self.search.under_way && now.since(self.search.asked) >= patience;
        self.ask_search();
        self.look_at_unlisted(now, search_waits);
        self.ask_details(now, false);
        let pause = self.pause();
        self.next_look = now.after(pause);
    }

    /// Polls the clusters that the list says nothing about: in parallel with the search, not after
    /// it.
    pub(super) fn look_at_unlisted(&mut self, now: Moment, all: bool) {
        let searches = self.searches();
        let due: Vec<(I, Wanted)> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| {
                !cluster.is_settled() && (all || !searches || cluster.described.is_none())
            })
            .map(|(id, cluster)| (id.clone(), cluster.wanted(None, false, now, &self.plan)))
            .collect();
        for (id, wanted) in due {
            self.ask_look(&id, wanted);
        }
    }

    pub(super) fn ask_details(&mut self, now: Moment, everything: bool) {
        let Self { clusters, plan, actions, .. } = self;
        for (id, cluster) in clusters {
            if let Some((groups, volumes)) = cluster.wanted_details(everything, now, plan) {
                let id = id.clone();
                actions.push(Action::Ask(Question::Details { id, groups, volumes }));
            }
        }
    }

    pub(super) fn pause(&mut self) -> Duration {
        let throttled = std::mem::take(&mut self.throttled);
        let need = self.need();
        self.pace.pause(need, throttled)
    }

    pub(super) fn need(&self) -> PollReason {
        // A runner starts another cluster if the first did not reach a running state, or if it got
        // no response to the request.
        let in_flight = self.plan.limits.in_flight();
        let none_ran = if mutated!(self.plan, SlowSearchAfterFailure) {
            self.clusters.is_empty()
        } else {
            let ends = |cluster: &Cluster| {
                matches!(cluster.state(), Some(State::Over | State::Terminating))
            };
            let latest = self.clusters.values().max_by_key(|cluster| cluster.found);
            let may_follow = latest.is_none_or(|cluster| {
                !cluster.has_run || self.now.since(cluster.found) < in_flight
            });
            may_follow && self.clusters.values().all(ends)
        };
        // A runner without a response to its request sends it again after its two-minute timeout,
        // while the cluster of the first request may already work. The second cluster may also be
        // short-lived.
        let may_resend = self.runner.is_alive()
            && self.clusters.values().any(|cluster| {
                let is_requested = matches!(cluster.whose, Ownership::Ours | Ownership::Presumed);
                is_requested && self.now.since(cluster.found) < in_flight * 2
            });
        if !self.undecided.is_empty()
            || self.search.trouble.is_some()
            || self.clusters.values().any(Cluster::is_unverified)
        {
            PollReason::Judgement
        } else if none_ran || self.runner.left_something() {
            PollReason::Search
        } else if (may_resend
            || self.clusters.values().any(|cluster| cluster.is_starting() && !cluster.is_settled()))
            && !mutated!(self.plan, SlowStart)
        {
            PollReason::Start
        } else {
            PollReason::Nothing
        }
    }
}

//! The watcher: a state machine with events as input and actions as output. It finds every cluster
//! of a run, has each one compared with the verified configuration, has unsafe ones terminated,
//! stops the runner when needed, and concludes at the end. It has no clock, sends no requests and
//! uses no randomness: the same events at the same times give the same actions.

mod answers;
mod ending;
mod last_looks;
mod limits;
mod looking;
mod supervision;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::watch::machine::{
    budget::{Budget, Operation},
    cluster::Cluster,
    ending::Ending,
    event::{Action, Event, Question},
    mutants::mutated,
    ownership::Ownership,
    pace::PollPace,
    plan::{Id, Plan, WatchMode},
    runner::{Runner, Survivors},
    time::{AwsTime, Moment},
};

/// How many clusters may be described for the first time at once, within EMR's quotas; and how many
/// of these are reserved for clusters from ListClusters.
const FIRST_LOOKS: usize = 5;
const FIRST_LOOKS_OF_LISTED: usize = 2;
/// How many clusters that only the log names are remembered; the search finds any real ones beyond
/// that.
const HINTS_REMEMBERED: usize = 16;
/// For how many of them the time of the first request is remembered: the time limit for an
/// evaluation counts from it.
const HINTS_DATED: usize = 1024;
/// How often a cluster that the log names is requested if EMR does not describe it.
const HINT_TRIES: u32 = 3;
/// After this many final polls EMR's state counts, even where it is not the expected one.
const LAST_LOOKS: u32 = 6;

/// The search for clusters.
#[derive(Clone, Debug, Default)]
struct Search {
    under_way: bool,
    /// Search again after the response: a search sent earlier shows an earlier state.
    again: bool,
    /// When the last one was sent.
    asked: Moment,
    succeeded: Option<Moment>,
    /// Why the last one failed, and since when they fail.
    trouble: Option<(String, Moment)>,
}

/// The final polls, after the runner has ended.
#[derive(Clone, Copy, Debug)]
struct LastLooks {
    began: Moment,
    /// How many were started.
    looks: u32,
    /// One is under way.
    under_way: bool,
    next: Moment,
    pause: Duration,
    /// The orphaned clusters have been handled.
    orphans_decided: bool,
}

/// A request to stop the guard.
#[derive(Clone, Copy, Debug)]
struct Stop {
    asked: Moment,
    by: Moment,
}

/// The expected final state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpectedEnd {
    /// Its clusters are over, or terminating.
    Finished,
    /// Its cluster may continue, but idle.
    Persistent,
    /// The state of the clusters is known.
    Known,
}

/// The watcher.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Watcher<I> {
    plan: Plan<I>,
    pace: PollPace,
    runner: Runner,
    clusters: BTreeMap<I, Cluster>,
    /// Clusters that do not belong to the run.
    strangers: BTreeSet<I>,
    /// Clusters with the run's name that could not be described, and since when.
    undecided: BTreeMap<I, Moment>,
    told_undecided: BTreeSet<I>,
    /// Clusters that the log, an event or a journal names, and how often they were requested.
    hints: VecDeque<(I, u32)>,
    hint_looks: BTreeMap<I, u32>,
    /// When they were first requested.
    hinted_since: BTreeMap<I, Moment>,
    /// How many clusters may be described for the first time now, and when there is one more.
    first_looks: usize,
    first_looks_next: Moment,
    /// Looks under way.
    looking: BTreeSet<I>,
    /// Those of them that must be polled once more after that.
    look_again: BTreeSet<I>,
    search: Search,
    throttled: bool,
    budget: Budget<I>,
    next_look: Moment,
    last: Option<LastLooks>,
    stop: Option<Stop>,
    told_blind: bool,
    told_lost: bool,
    told_done: bool,
    /// The latest time, by AWS's clock, at which the run can have started anything.
    until: Option<AwsTime>,
    /// In a mutant: evaluations that wait for a search.
    #[cfg(feature = "mutants")]
    deferred: Vec<(I, crate::watch::machine::event::Look)>,
    wake: Option<Moment>,
    /// When the machine was last found to have been suspended.
    slept_until: Moment,
    /// The time of the current event.
    now: Moment,
    is_finished: bool,
    actions: Vec<Action<I>>,
}

impl<I: Id> Watcher<I> {
    /// A watcher that has not started.
    #[must_use]
    pub fn new(plan: Plan<I>) -> Self {
        let runner = match plan.mode {
            WatchMode::Run => Runner::Alive { kill_at: None, killed: false },
            WatchMode::Resume | WatchMode::Attach => Runner::None,
        };
        let fresh = if mutated!(plan, FreshQuotas) { WatchMode::Run } else { plan.mode };
        Self {
            pace: PollPace::new(plan.limits.interval, plan.seed),
            runner,
            clusters: BTreeMap::new(),
            strangers: BTreeSet::new(),
            undecided: BTreeMap::new(),
            told_undecided: BTreeSet::new(),
            hints: plan.known.iter().map(|id| (id.clone(), 0)).collect(),
            hint_looks: BTreeMap::new(),
            hinted_since: BTreeMap::new(),
            first_looks: FIRST_LOOKS,
            first_looks_next: Moment::START,
            looking: BTreeSet::new(),
            look_again: BTreeSet::new(),
            search: Search::default(),
            throttled: false,
            budget: Budget::new(fresh, plan.limits.interval),
            next_look: Moment::START,
            last: None,
            stop: None,
            told_blind: false,
            told_lost: false,
            told_done: false,
            until: plan.until,
            #[cfg(feature = "mutants")]
            deferred: Vec::new(),
            wake: None,
            slept_until: Moment::START,
            now: Moment::START,
            is_finished: false,
            actions: Vec::new(),
            plan,
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Moment) -> Vec<Action<I>> {
        self.now = now;
        for id in self.plan.adoptable.clone() {
            self.add(now, &id, Ownership::Adopted);
        }
        for id in self.plan.named.clone() {
            self.add(now, &id, Ownership::Named);
        }
        self.next_look =
            if self.clusters.is_empty() { now.after(self.plan.limits.interval) } else { now };
        if self.plan.mode == WatchMode::Resume {
            self.begin_last_looks(now);
            self.last_looks(now);
        }
        self.after_event(now)
    }

    /// Handles an event and returns the actions.
    pub fn handle(&mut self, now: Moment, event: Event<I>) -> Vec<Action<I>> {
        if self.is_finished {
            return Vec::new();
        }
        self.now = now;
        if self.wake.is_some_and(|wake| now.since(wake) >= self.wake_up_time()) {
            self.slept_until = now;
            if let Some(last) = &mut self.last {
                // All facts are old: the final polls start again.
                last.looks = 0;
                last.next = now;
            }
        }
        match event {
            Event::Woke => {}
            Event::Hint(id) => self.hinted(now, id, false),
            Event::Pushed(id) => self.hinted(now, id, true),
            Event::Activity => {
                self.clusters.values_mut().for_each(|cluster| cluster.steps_told = None);
                self.look_soon(now);
            }
            Event::Listed(answer) => self.listed(now, answer),
            Event::DescribedFirst(id, look) => self.described_first(now, &id, look),
            Event::Looked(id, look) => self.looked(now, id, look),
            Event::Detailed(id, judgement) => {
                if let Some(cluster) = self.clusters.get_mut(&id) {
                    cluster.details.under_way = false;
                    self.judge(now, &id, judgement);
                }
            }
            Event::TerminationAnswered(id, answer) => self.termination_answered(now, &id, answer),
            Event::ProtectionAnswered(id, answer) => {
                let answered = |ending: &mut Ending| ending.protection_answered(answer);
                self.advance_ending(now, &id, answered);
            }
            Event::Throttled => self.throttled = true,
            Event::RunnerEnded(end, at) => self.runner_ended(now, end, at),
            Event::OutputEnded => {
                if let Runner::Ended { output_open, .. } = &mut self.runner {
                    *output_open = false;
                }
            }
            Event::Survivors(left) => self.survivors(now, left),
            Event::StopAsked => self.stop_asked(now),
        }
        self.after_event(now)
    }

    /// Does what is due by time, or because of the latest change; sets the next wake-up.
    fn after_event(&mut self, now: Moment) -> Vec<Action<I>> {
        if !self.is_finished {
            self.check_limits(now);
            self.look_after_runner(now);
            self.wake_endings(now);
            if self.last.is_none() {
                self.look_sooner(now);
                self.look_if_due(now);
                self.check_done(now);
            }
            self.look_at_hints(now);
            if self.last.is_some() {
                self.last_looks(now);
            }
        }
        let mut actions = std::mem::take(&mut self.actions);
        if !mutated!(self.plan, HintsUnbounded) {
            let clusters = &self.clusters;
            actions = self.budget.pass(now, actions, |action| calls(action, clusters));
        }
        if !self.is_finished {
            // Everything due was done; what is still due waits for a response.
            let next = self.next_wake(now);
            if self.wake != next {
                self.wake = next;
                actions.extend(next.map(Action::Wake));
            }
        }
        actions
    }

    /// A wake-up that is later than this means that the machine was suspended. The facts are then
    /// old, and the watcher has this long to poll again.
    fn wake_up_time(&self) -> Duration {
        self.plan.limits.interval * 12
    }

    fn next_wake(&self, now: Moment) -> Option<Moment> {
        let limit = self.plan.limits.judge_within;
        let mut times: Vec<Moment> = Vec::new();
        match &self.last {
            None => times.push(self.next_look),
            Some(last) => {
                times.push(last.began.after(limit));
                times.push(self.closable_from());
                times.push(last.began.after(self.settle()));
                times.push(self.slept_until.after(self.wake_up_time()));
                if !last.under_way {
                    times.push(last.next);
                }
            }
        }
        if self.search.succeeded.is_none() && !self.told_blind {
            times.push(Moment::START.after(limit));
        }
        times.extend(self.search.trouble.as_ref().map(|(_, since)| since.after(limit)));
        times.extend(self.undecided.values().map(|since| since.after(limit)));
        for cluster in self.clusters.values() {
            times.extend(cluster.unknown_since.map(|since| since.after(limit)));
            times.extend(cluster.ending.as_ref().and_then(Ending::due));
        }
        match self.runner {
            Runner::Alive { kill_at: Some(at), killed: false } => times.push(at),
            Runner::Ended { survivors: Survivors::Left(next), .. } => times.push(next),
            _ => {}
        }
        if let Some(stop) = self.stop {
            times.push(short_of(stop));
            times.push(stop.by);
        }
        if !self.hints.is_empty() {
            times.push(self.first_looks_next);
        }
        times.extend(self.budget.due(now));
        times.into_iter().filter(|time| *time > now).min()
    }
}

/// The EMR calls of an action. As long as any check is undecided, a poll is counted with the
/// security configuration, although known facts may make that request unnecessary.
fn calls<I: Id>(action: &Action<I>, clusters: &BTreeMap<I, Cluster>) -> Vec<Operation> {
    let mut calls = Vec::new();
    match action {
        Action::Ask(Question::Search) => calls.push(Operation::List),
        Action::Ask(Question::Look { id, cluster, steps }) => {
            let is_known = clusters.get(id).is_some_and(|known| known.was_decided);
            calls.extend(cluster.then_some(Operation::Describe));
            calls.extend(steps.then_some(Operation::Steps));
            let security = (*cluster || *steps) && !is_known;
            calls.extend(security.then_some(Operation::SecurityConfiguration));
        }
        Action::Ask(Question::Details { id, groups, volumes }) => {
            let is_known = clusters.get(id).is_some_and(|known| known.judgement.details_known);
            calls.extend((!is_known).then_some(Operation::BootstrapActions));
            calls.extend(groups.then_some(Operation::Groups));
            calls.extend(volumes.then_some(Operation::Instances));
        }
        Action::Terminate(_) => calls.push(Operation::Terminate),
        Action::Unprotect(_) => calls.push(Operation::Protection),
        _ => {}
    }
    calls
}

/// The start of the last third of a stop's time limit. That third is reserved for requesting
/// terminations and following some of them.
fn short_of(stop: Stop) -> Moment {
    let span = stop.by.since(stop.asked);
    stop.asked.after(span * 2 / 3)
}

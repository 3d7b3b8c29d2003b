//! A small world and the watcher in it, as one state.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    fmt::Write as _,
    hash::Hasher as _,
    rc::Rc,
};

use crate::{
    exhaustive::scope::{Scope, Step},
    guard::{self, IN_FLIGHT, Journal, Machine},
    model::{
        cluster::Id,
        emr::aws_time,
        knowledge::{Knowledge, RawDetails, RawLook, Shown, StepsTold},
    },
    run::Options,
    scenario::{MINUTE, Ms, SECOND, Settings},
    watch::machine::{
        conclusion::{EndResult, WatchConclusion, WatchVerdict},
        event::{
            Action, AwsAnswer, Described, Entry, Event, Force, ListedCluster, Question, Refusal,
            RefusalKind, RunnerEnd, WatchNotice, Work,
        },
        ownership::{Evidence, RunTag},
        plan::{Rules, WatchMode},
        state::State,
        time::Moment,
        watcher::Watcher,
    },
};

/// The maximum number of consecutive guards.
const MOST_GUARDS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Absent,
    Starting,
    Running,
    Terminating,
    Over,
}

#[derive(Clone, Debug)]
struct SmallCluster {
    phase: Phase,
    worked: bool,
    done: bool,
    is_protected: bool,
}

/// A call without a response yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Question(Question<Id>),
    Terminate(Id),
    Unprotect(Id),
}

/// A possible next event.
#[derive(Clone, Debug)]
enum Choice {
    AwsAnswer(usize),
    Failure(usize),
    World,
    Wake,
    Stop,
    Crash,
    Restart,
}

/// A text of which only the hash is kept.
struct Hash(DefaultHasher);

impl std::fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The whole.
#[derive(Clone, Debug)]
pub(super) struct Small {
    scope: Scope,
    options: Options,
    watcher: Option<Watcher<Id>>,
    now: Ms,
    started: Ms,
    wake: Option<Moment>,
    clusters: [SmallCluster; 2],
    knowledge: BTreeMap<Id, Knowledge>,
    pending: Vec<Pending>,
    next_step: usize,
    runner: Option<RunnerEnd>,
    is_closed: bool,
    journal: Journal,
    crashes: u8,
    stops: u8,
    failures: u8,
    guards: u8,
    /// The number of pauses that may end before the next event of the world.
    wakes: u8,
    was_stopped: bool,
    warned: BTreeSet<Id>,
    wrong: Option<String>,
    /// The path to this state; not part of the state.
    way: Option<Rc<Way>>,
}

/// A choice, and the choices before it.
#[derive(Debug)]
struct Way {
    at: Ms,
    choice: String,
    before: Option<Rc<Way>>,
}

fn settings(scope: &Scope) -> Settings {
    Settings {
        rules: Rules {
            on_stop: scope.on_stop,
            on_orphan: false,
            on_unjudged: true,
            adopted: false,
            attached: false,
            untagged: false,
            account: false,
        },
        stop: 8 * SECOND,
        volumes: true,
        until_idle: false,
    }
}

/// The journal's time of a crash is inexact, and the next guard starts later. Whole minutes make
/// most places of a crash lead to the same state.
fn next_minute(now: Ms) -> Ms {
    (now / MINUTE + 1) * MINUTE
}

fn id_of(index: usize) -> Id {
    Id(u32::try_from(index + 1).unwrap_or(u32::MAX))
}

fn index_of(id: Id) -> usize {
    usize::try_from(id.0).unwrap_or(1).saturating_sub(1).min(1)
}

impl Small {
    pub(super) fn new(scope: &Scope, options: Options) -> Self {
        let clusters = scope.clusters.map(|cluster| SmallCluster {
            phase: Phase::Absent,
            worked: false,
            done: false,
            is_protected: cluster.is_protected,
        });
        let mut small = Self {
            scope: *scope,
            options,
            watcher: None,
            now: 0,
            started: 0,
            wake: None,
            clusters,
            knowledge: BTreeMap::new(),
            pending: Vec::new(),
            next_step: 0,
            runner: None,
            is_closed: false,
            journal: Journal { launched: Some(0), ..Journal::default() },
            crashes: scope.crashes,
            stops: scope.stops,
            failures: scope.failures,
            guards: 0,
            was_stopped: false,
            warned: BTreeSet::new(),
            wrong: None,
            way: None,
            wakes: scope.wakes,
        };
        small.start(WatchMode::Run);
        small
    }

    fn start(&mut self, mode: WatchMode) {
        let plan =
            guard::plan(mode, &self.journal, &settings(&self.scope), 1, self.now, self.options);
        let mut watcher = <Watcher<Id> as Machine>::new(plan);
        self.started = self.now;
        self.guards += 1;
        self.knowledge.clear();
        self.pending.clear();
        let actions = watcher.start(Moment::START);
        self.watcher = Some(watcher);
        self.perform(actions);
    }

    /// Identifies this state.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hash = Hash(DefaultHasher::new());
        let _ = write!(
            hash,
            "{:?}|{}|{:?}|{:?}|{:?}|{:?}|{}|{:?}|{:?}|{}{}{}{}{}{}{}",
            self.watcher,
            self.now,
            self.wake,
            self.clusters,
            self.knowledge,
            self.pending,
            self.next_step,
            self.runner,
            self.warned,
            self.is_closed,
            self.crashes,
            self.stops,
            self.failures,
            self.guards,
            self.wakes,
            self.was_stopped,
        );
        hash.0.finish()
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.wrong.as_ref().map(|wrong| self.tell_way(wrong))
    }

    /// Nothing more can happen: the violation, if there is one.
    pub(super) fn end(&self) -> Option<String> {
        let wrong = if !self.is_closed && self.guards < MOST_GUARDS {
            "the run is not closed, and nothing more happens"
        } else {
            return None;
        };
        Some(self.tell_way(wrong))
    }

    fn tell_way(&self, wrong: &str) -> String {
        let mut lines = Vec::new();
        let mut way = self.way.as_ref();
        while let Some(node) = way {
            lines.push(format!("  {} ms: {}", node.at, node.choice));
            way = node.before.as_ref();
        }
        lines.push(format!("{}: {wrong}", self.scope.name));
        lines.reverse();
        lines.join("\n")
    }

    pub(super) fn successors(&self) -> Vec<Self> {
        let mut choices = Vec::new();
        let alive = self.watcher.is_some();
        if self.next_step < self.scope.steps.len() {
            choices.push(Choice::World);
        }
        if alive {
            // When only responses remain, they come in one order.
            let is_quiet = self.next_step >= self.scope.steps.len()
                && self.crashes + self.stops + self.failures == 0;
            let orders = if is_quiet { self.pending.len().min(1) } else { self.pending.len() };
            choices.extend((0..orders).map(Choice::AwsAnswer));
            if self.failures > 0 {
                choices.extend((0..self.pending.len()).map(Choice::Failure));
            }
            // The world is faster than a pause, except for events that may not happen at all.
            let may_wait = self.next_step >= self.scope.steps.len();
            if self.pending.is_empty() && self.wake.is_some() && (may_wait || self.wakes > 0) {
                choices.push(Choice::Wake);
            }
            choices.extend((self.stops > 0).then_some(Choice::Stop));
            choices.extend((self.crashes > 0).then_some(Choice::Crash));
        } else if !self.is_closed && self.guards < MOST_GUARDS {
            choices.push(Choice::Restart);
        }
        choices.into_iter().map(|choice| self.after(&choice)).collect()
    }

    fn after(&self, choice: &Choice) -> Self {
        let mut next = self.clone();
        let named = match choice {
            Choice::AwsAnswer(index) | Choice::Failure(index) => {
                format!("{choice:?}: {:?}", self.pending[*index])
            }
            Choice::World => format!("{:?}", self.scope.steps[self.next_step]),
            _ => format!("{choice:?}"),
        };
        next.way = Some(Rc::new(Way { at: self.now, choice: named, before: self.way.clone() }));
        match *choice {
            Choice::AwsAnswer(index) => {
                let pending = next.pending.remove(index);
                next.answer(&pending, false);
            }
            Choice::Failure(index) => {
                next.failures -= 1;
                let pending = next.pending.remove(index);
                next.answer(&pending, true);
            }
            Choice::World => next.step(),
            Choice::Wake => {
                if next.next_step < next.scope.steps.len() {
                    next.wakes -= 1;
                }
                // A terminating cluster is over with the next pause.
                for cluster in &mut next.clusters {
                    if cluster.phase == Phase::Terminating {
                        cluster.phase = Phase::Over;
                    }
                }
                let wake = next.wake.take().unwrap_or_default();
                let at = i64::try_from(wake.0.as_millis()).unwrap_or_default() + 1;
                next.now = next.now.max(next.started + at);
                next.tell(Event::Woke);
            }
            Choice::Stop => {
                next.stops -= 1;
                next.was_stopped = true;
                next.tell(Event::StopAsked);
            }
            Choice::Crash => next.crash(),
            Choice::Restart => {
                next.now = next_minute(next.now);
                next.start(WatchMode::Resume);
            }
        }
        next
    }

    fn moment(&self) -> Moment {
        Moment(guard::span(self.now - self.started))
    }

    fn tell(&mut self, event: Event<Id>) {
        let now = self.moment();
        if let Some(watcher) = &mut self.watcher {
            let actions = watcher.handle(now, event);
            self.perform(actions);
        }
    }

    /// The next event in the world.
    fn step(&mut self) {
        let step = self.scope.steps[self.next_step];
        self.next_step += 1;
        match step {
            Step::Create(index) => self.clusters[index].phase = Phase::Starting,
            Step::Hint(index) => {
                if self.runner.is_none() {
                    self.tell(Event::Hint(id_of(index)));
                }
            }
            Step::Work(index) => {
                if self.clusters[index].phase == Phase::Starting {
                    self.clusters[index].phase = Phase::Running;
                    self.clusters[index].worked = true;
                }
            }
            Step::Finish(index) => {
                if self.clusters[index].phase == Phase::Terminating {
                    self.clusters[index].phase = Phase::Over;
                } else if self.clusters[index].phase != Phase::Over {
                    self.clusters[index].done = self.clusters[index].worked;
                    self.clusters[index].phase = Phase::Over;
                }
            }
            Step::RunnerEnds(end) => self.runner_ends(end),
        }
    }

    fn runner_ends(&mut self, end: RunnerEnd) {
        if self.runner.is_some() {
            return;
        }
        self.runner = Some(end);
        self.tell(Event::RunnerEnded(end, Some(aws_time(self.now))));
        self.tell(Event::OutputEnded);
    }

    fn crash(&mut self) {
        self.crashes -= 1;
        // The following guard is not stopped, to limit the scope.
        self.stops = 0;
        self.watcher = None;
        self.wake = None;
        // Sent requests take effect.
        for pending in std::mem::take(&mut self.pending) {
            if let Pending::Terminate(id) = pending {
                self.terminate(id);
            }
        }
        self.runner.get_or_insert(RunnerEnd::Killed);
        self.journal.bound.get_or_insert(next_minute(self.now));
    }

    fn terminate(&mut self, id: Id) -> bool {
        let cluster = &mut self.clusters[index_of(id)];
        if cluster.is_protected {
            return false;
        }
        if cluster.phase != Phase::Over {
            cluster.phase = Phase::Terminating;
        }
        true
    }

    fn perform(&mut self, actions: Vec<Action<Id>>) {
        for action in actions {
            match action {
                Action::Ask(question) => self.ask(Pending::Question(question)),
                Action::Terminate(id) => {
                    self.check_termination(id);
                    self.ask(Pending::Terminate(id));
                }
                Action::Unprotect(id) => {
                    self.check_termination(id);
                    self.ask(Pending::Unprotect(id));
                }
                Action::Wake(moment) => self.wake = Some(moment),
                Action::StopRunner(Force::Ask | Force::Kill) => {
                    self.runner_ends(RunnerEnd::Killed);
                }
                Action::EndSurvivors => {}
                Action::Note(Entry::Cluster(id)) => {
                    self.journal.known.insert(id);
                }
                Action::Note(Entry::Stopped { terminate }) => {
                    self.journal.stopped_to_end |= terminate;
                }
                Action::Tell(notice) => self.told(&notice),
                Action::Finish(conclusion) => self.finish(&conclusion),
            }
        }
    }

    /// The order of two equal responses does not matter.
    fn ask(&mut self, pending: Pending) {
        self.pending.push(pending);
        self.pending.sort();
    }

    fn told(&mut self, notice: &WatchNotice<Id>) {
        match notice {
            WatchNotice::Unsafe(id, ..) | WatchNotice::Help(id, _) | WatchNotice::Unjudged(id) => {
                self.warned.insert(*id);
            }
            WatchNotice::EndConfirmed(id) if self.clusters[index_of(*id)].phase != Phase::Over => {
                self.wrong = Some(format!("the end of {id} is confirmed, and it lives"));
            }
            _ => {}
        }
    }

    fn is_bad(&self, index: usize) -> bool {
        let cluster = &self.scope.clusters[index];
        cluster.is_unsafe || cluster.has_bad_volumes
    }

    /// Laws (a) and (j).
    fn check_termination(&mut self, id: Id) {
        let index = index_of(id);
        let cluster = &self.scope.clusters[index];
        let judged_bad = self.knowledge.get(&id).is_some_and(|known| known.judge(true).failed);
        let for_stop = self.scope.on_stop && (self.was_stopped || self.journal.stopped_to_end);
        if cluster.tag != RunTag::This || !(judged_bad || for_stop) {
            self.wrong = Some(format!("{id} is terminated, and nothing allows it"));
        }
    }

    /// Laws (b), (c) and (h).
    fn finish(&mut self, conclusion: &WatchConclusion<Id>) {
        self.watcher = None;
        self.wake = None;
        self.runner.get_or_insert(RunnerEnd::Killed);
        self.journal.bound.get_or_insert(self.now - IN_FLIGHT.min(self.now));
        self.is_closed = conclusion.open.is_empty();
        for (id, end) in &conclusion.clusters {
            let is_over = self.clusters[index_of(*id)].phase == Phase::Over;
            if (end.is_over || end.end == Some(EndResult::Confirmed)) && !is_over {
                self.wrong = Some(format!("{id} is said to be over, and lives"));
            }
            let is_seen = self.knowledge.get(id).is_some_and(|known| known.judge(true).passed());
            if end.passed && !is_seen {
                self.wrong = Some(format!("{id} is said to have passed, and was not seen"));
            }
        }
        let succeeded = self.runner == Some(RunnerEnd::Succeeded) && !self.was_stopped;
        for index in 0..self.clusters.len() {
            let (id, phase) = (id_of(index), self.clusters[index].phase);
            if self.scope.clusters[index].tag != RunTag::This || phase == Phase::Absent {
                continue;
            }
            let lives = phase != Phase::Over;
            if self.is_closed && lives && self.is_bad(index) && !self.warned.contains(&id) {
                self.wrong = Some(format!("the run is closed, {id} is unsafe, lives, is unknown"));
            }
            let passed = conclusion.clusters.iter().any(|(of, end)| *of == id && end.passed);
            if conclusion.verdict() == WatchVerdict::Runner && succeeded && !passed {
                self.wrong = Some(format!("the run is confirmed, and {id} has not passed"));
            }
        }
    }

    fn state(&self, index: usize) -> State {
        match self.clusters[index].phase {
            Phase::Absent | Phase::Starting => State::Starting,
            Phase::Running => State::Running,
            Phase::Terminating => State::Terminating,
            Phase::Over => State::Over,
        }
    }

    fn exists(&self, index: usize) -> bool {
        self.clusters[index].phase != Phase::Absent
    }

    fn answer(&mut self, pending: &Pending, fails: bool) {
        let failed = || "no answer".to_owned();
        let refusal = || Refusal { kind: RefusalKind::Other, text: "no answer".to_owned() };
        let event = match *pending {
            Pending::Terminate(id) => {
                let done = !fails && self.terminate(id);
                Event::TerminationAnswered(id, if done { Ok(()) } else { Err(refusal()) })
            }
            Pending::Unprotect(id) => {
                if !fails {
                    self.clusters[index_of(id)].is_protected = false;
                }
                Event::ProtectionAnswered(id, if fails { Err(refusal()) } else { Ok(()) })
            }
            Pending::Question(Question::Survivors) => Event::Survivors(false),
            Pending::Question(Question::Search) => Event::Listed(if fails {
                AwsAnswer::Failed(failed())
            } else {
                AwsAnswer::Found(self.list())
            }),
            Pending::Question(Question::Look { id, cluster, steps }) => {
                let raw = self.look(id, cluster, steps, fails);
                Event::Looked(id, self.knowledge.entry(id).or_default().look(raw, true))
            }
            Pending::Question(Question::Details { id, groups, volumes }) => {
                let index = index_of(id);
                let shows = self.state(index) == State::Running;
                let bad = shows && self.scope.clusters[index].has_bad_volumes;
                let raw = RawDetails {
                    bootstrap: Some(!fails),
                    groups: groups.then_some(!fails),
                    volumes: volumes.then_some((!fails).then_some((shows, bad))),
                };
                Event::Detailed(id, self.knowledge.entry(id).or_default().details(raw, true))
            }
        };
        if let Event::Listed(AwsAnswer::Found(listings)) = &event {
            for listing in listings {
                if let Some(known) = self.knowledge.get_mut(&listing.id) {
                    known.listed(listing.state);
                }
            }
        }
        self.tell(event);
    }

    fn list(&self) -> Vec<ListedCluster<Id>> {
        (0..self.clusters.len())
            .filter(|index| self.exists(*index))
            .map(|index| ListedCluster {
                id: id_of(index),
                has_job_name: true,
                state: self.state(index),
            })
            .collect()
    }

    fn look(&self, id: Id, cluster: bool, steps: bool, fails: bool) -> RawLook {
        let index = index_of(id);
        let (exists, truth) = (self.exists(index), &self.clusters[index]);
        let describe = || {
            if fails {
                return Err("no answer".to_owned());
            }
            let described = Described {
                state: self.state(index),
                evidence: Evidence {
                    tag: self.scope.clusters[index].tag,
                    created: aws_time(1),
                    matches_request: true,
                    has_new_steps: true,
                },
                protected: truth.is_protected,
                was_ready: truth.worked,
            };
            let shown = Shown { bad: self.scope.clusters[index].is_unsafe, masked: false };
            Ok(exists.then_some((described, shown)))
        };
        let work = Work { begun: truth.worked, open: truth.phase != Phase::Over, done: truth.done };
        let told = StepsTold { work, bad: false, of_run: true };
        RawLook {
            describe: cluster.then(describe),
            steps: steps.then_some((exists && !fails).then_some(told)),
            security: (cluster || steps).then_some((!fails).then_some(false)),
        }
    }
}

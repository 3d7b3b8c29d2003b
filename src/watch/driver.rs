//! Drives the watcher: performs the state machine's actions (AWS requests, terminations, journal
//! entries, alerts) and passes their results back to it. The facts on each cluster are stored and
//! evaluated here; the state machine decides what follows from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{
    aws::clients::Aws,
    base::{
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::ClusterId,
    },
    checks::{
        catalogue::not_enforced,
        clusters::{self, ExpectedEnd},
        finding::{Level, Stage, Status, apply_policy},
        verified::{ClusterDetails, Origin, VerifiedConfiguration},
    },
    evidence::{
        journal::{ClusterSelector, Journal, JournalEntry, UnfinishedRun},
        timeline::Timeline,
    },
    facts::{
        ec2,
        emr::{
            self, ClusterFacts, ClusterListing, ClusterStatus, ClusterStep, SecurityConfiguration,
        },
        sts,
    },
    settings::{
        policy::Policy,
        watch_options::{TerminationRules, WatchLimits},
    },
    spec::cluster_spec::RUN_TAG,
    system::orphaned_processes,
    watch::{
        events::{Hint, Input, WatchEvent},
        machine::{
            conclusion::{Cause, EndResult, WatchConclusion},
            event::{
                Action, AwsAnswer, Described, Entry, Event, Judgement, ListedCluster, Look,
                Question, RunnerEnd, WatchNotice,
            },
            ownership::{Evidence, Ownership, RunTag},
            plan::{Limits, Plan, WatchMode},
            time::Moment,
            watcher::Watcher,
        },
        queue,
        records::{ClusterRecord, ClusterSummary, Orphan, WatchResult},
        terminate::{self, TerminationResult},
    },
};

/// The largest accepted difference between EMR's clock and the clock that gave the launch time.
const CLOCKS: time::Duration = time::Duration::minutes(5);
/// How long STS may take to return the account of the guard's credentials.
const IDENTITY_PATIENCE: Duration = Duration::from_secs(5);
/// How often the journal gets an entry that the guard is alive.
const HEARTBEAT: Duration = Duration::from_mins(10);

/// The inputs of the watch from the run.
#[derive(Clone, Debug)]
pub(crate) struct WatchPlan {
    pub(crate) selector: ClusterSelector,
    /// The account in which the run was launched, if known.
    pub(crate) account: Option<String>,
    /// The run's id, which identifies its orphaned processes; none if there is no run.
    pub(crate) run: Option<String>,
    /// The clusters to watch.
    pub(crate) mode: WatchMode,
    /// Clusters of this run that an earlier guard recorded.
    pub(crate) known: BTreeSet<ClusterId>,
    /// In a resumed run: the latest time, by AWS's clock, at which the run can have started
    /// anything.
    pub(crate) until: Option<OffsetDateTime>,
    /// In a resumed run: how long a request of its runner may still take effect.
    pub(crate) open_for: Duration,
    /// In a resumed run: it was asked to stop, and its clusters are to be terminated with it.
    pub(crate) stopped_to_end: bool,
    /// Whether the run adds steps to its cluster.
    pub(crate) has_steps: bool,
    pub(crate) limits: WatchLimits,
    /// How long a stop may take.
    pub(crate) stop_limit: Duration,
    /// Which clusters may be terminated.
    pub(crate) rules: TerminationRules,
    /// The clusters that were named to `watch`, with the expected configuration of each. If there
    /// are any, no others are searched for.
    pub(crate) attached: BTreeMap<ClusterId, VerifiedConfiguration>,
    /// The URL of an SQS queue that delivers EMR's EventBridge events.
    pub(crate) queue: Option<String>,
    /// Whether a watch on named clusters ends once they are idle.
    pub(crate) until_idle: bool,
}

impl WatchPlan {
    /// The plan for a run that an earlier guard left open; `now` is the time by AWS's clock.
    pub(crate) fn resumed(
        run: &UnfinishedRun,
        now: Option<OffsetDateTime>,
        limits: WatchLimits,
        stop_limit: Duration,
        rules: TerminationRules,
    ) -> Self {
        let prepared = run.prepared.clone();
        // The guard died before its next heartbeat was due. A request that its runner had sent by
        // then takes effect within the time for which the runner itself would have waited.
        let in_flight = machine_limits(limits, stop_limit).in_flight();
        let until = run.alive.or(prepared.selector.launched).map(|at| at + HEARTBEAT + in_flight);
        let open_for = until.zip(now).map_or(in_flight, |(until, now)| {
            Duration::try_from(until - now).unwrap_or_default().min(in_flight)
        });
        Self {
            selector: prepared.selector,
            account: prepared.account,
            run: Some(prepared.run),
            mode: WatchMode::Resume,
            known: run.clusters.clone(),
            // The journal of an older guard does not contain the time: then no cluster is presumed
            // to be the run's.
            until: until.or(Some(OffsetDateTime::UNIX_EPOCH)),
            open_for,
            stopped_to_end: run.terminate,
            has_steps: false,
            limits,
            stop_limit,
            rules,
            attached: BTreeMap::new(),
            // Nobody waits for what the clusters of an open run do next, so polling is enough.
            queue: None,
            until_idle: false,
        }
    }

    /// The same plan, for the state machine.
    fn machine(&self) -> Plan<ClusterId> {
        Plan {
            mode: self.mode,
            limits: machine_limits(self.limits, self.stop_limit),
            rules: terminate::rules(self.rules),
            launched: self.selector.launched.map(terminate::aws_time),
            until: self.until.map(terminate::aws_time),
            earlier: self.selector.earlier_clusters.clone(),
            adoptable: self.selector.adopted.keys().cloned().collect(),
            named: self.attached.keys().cloned().collect(),
            known: self.known.clone(),
            persistent: self.selector.persistent,
            has_steps: self.has_steps,
            until_idle: self.until_idle,
            open_until: Moment(self.open_for),
            stopped_to_end: self.stopped_to_end,
            seed: fastrand::u64(..),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

fn machine_limits(limits: WatchLimits, stop: Duration) -> Limits {
    Limits {
        interval: limits.interval,
        judge_within: limits.judge_within,
        termination: limits.termination,
        stop,
    }
}

/// A running watch.
pub(crate) struct ActiveWatch {
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    pub(crate) events: mpsc::UnboundedReceiver<WatchEvent>,
    /// The latest summaries of the clusters, for the live view.
    pub(crate) seen: watch::Receiver<Vec<ClusterSummary>>,
    /// Returns the whole result when it ends.
    pub(crate) task: JoinHandle<WatchResult>,
}

/// Starts watching.
pub(crate) fn start(
    aws: Aws,
    plan: WatchPlan,
    journal: Option<Journal>,
    timeline: Timeline,
) -> ActiveWatch {
    let (inputs, inputs_received) = mpsc::unbounded_channel();
    let (events_sent, events) = mpsc::unbounded_channel();
    let (summaries, seen) = watch::channel(Vec::new());
    let listening = plan.queue.clone().map(|queue| {
        let job_name = plan.attached.is_empty().then(|| plan.selector.job_name.clone());
        let clusters = plan.attached.keys().chain(plan.selector.adopted.keys()).cloned().collect();
        let interest = queue::EventFilter { job_name, clusters };
        tokio::spawn(queue::listen(
            aws.clone(),
            queue,
            interest,
            plan.limits.interval,
            inputs.clone(),
            events_sent.clone(),
        ))
    });
    let driver = Driver {
        listening: listening.map(|task| task.abort_handle()),
        machine: Watcher::new(plan.machine()),
        began: Instant::now(),
        throttled: aws.emr_throttled.count(),
        aws,
        expected: ExpectedEnd::Failed,
        plan,
        journal,
        heartbeat: None,
        timeline,
        events: events_sent,
        summaries,
        records: BTreeMap::new(),
        watched: BTreeSet::new(),
        hinted: BTreeMap::new(),
        listed: BTreeMap::new(),
        search_obstacle: None,
        asked: JoinSet::new(),
        first: mpsc::unbounded_channel(),
        wake: None,
        concluded: None,
    };
    ActiveWatch { inputs, events, seen, task: tokio::spawn(driver.run(inputs_received)) }
}

/// The result of an action that the state machine requested.
enum Answered {
    Listed(Lookup<Vec<ClusterListing>>),
    /// DescribeCluster was answered; the other requests of this poll are still running.
    DescribedFirst(ClusterId, Box<Lookup<ClusterFacts>>),
    Looked(ClusterId, Box<RawLook>),
    Detailed(ClusterId, Box<ClusterDetails>),
    Terminated(ClusterId, Lookup<()>),
    Unprotected(ClusterId, Lookup<()>),
    Survivors(bool),
}

/// The responses of one poll of a cluster; `None`: not requested.
struct RawLook {
    cluster: Option<Lookup<ClusterFacts>>,
    steps: Option<Lookup<Vec<ClusterStep>>>,
    security_configuration: Option<Lookup<SecurityConfiguration>>,
}

struct Driver {
    aws: Aws,
    plan: WatchPlan,
    machine: Watcher<ClusterId>,
    began: Instant,
    /// None if the clusters belong to no run of this guard.
    journal: Option<Journal>,
    /// When the last heartbeat was written to the journal.
    heartbeat: Option<Instant>,
    /// The number of throttled EMR requests at the last poll.
    throttled: u64,
    timeline: Timeline,
    /// The task that listens to the queue.
    listening: Option<AbortHandle>,
    events: mpsc::UnboundedSender<WatchEvent>,
    summaries: watch::Sender<Vec<ClusterSummary>>,
    records: BTreeMap<ClusterId, ClusterRecord>,
    /// The clusters that the state machine watches. Others get a record only to find out who owns
    /// them.
    watched: BTreeSet<ClusterId>,
    /// The source that named a cluster first, other than ListClusters.
    hinted: BTreeMap<ClusterId, &'static str>,
    /// Their states in the last ListClusters response.
    listed: BTreeMap<ClusterId, ClusterStatus>,
    /// Why the last search for clusters failed, when it did.
    search_obstacle: Option<LookupError>,
    asked: JoinSet<Answered>,
    /// Channel for results that arrive before the rest of a poll.
    first: (mpsc::UnboundedSender<Answered>, mpsc::UnboundedReceiver<Answered>),
    wake: Option<Instant>,
    /// The expected final state of the clusters.
    expected: ExpectedEnd,
    concluded: Option<WatchConclusion<ClusterId>>,
}

impl Driver {
    async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) -> WatchResult {
        let actions = self.machine.start(self.now());
        self.perform(actions);
        while self.concluded.is_none() {
            let event = tokio::select! {
                biased;
                Some(input) = inputs.recv() => Some(self.of_input(input)),
                Some(answered) = self.first.1.recv() => self.of_answer(answered),
                Some(answered) = self.asked.join_next() => match answered {
                    Ok(answered) => self.of_answer(answered),
                    Err(error) => {
                        // Without a response, the cluster keeps its last known state.
                        tracing::error!(%error, "a question to AWS died");
                        None
                    }
                },
                () = until(self.wake) => {
                    self.wake = None;
                    Some(Event::Woke)
                }
            };
            if let Some(event) = event {
                self.tell(event);
            }
        }
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        self.result()
    }

    fn now(&self) -> Moment {
        Moment(self.began.elapsed())
    }

    /// Passes an event to the state machine, and performs the actions that it returns.
    fn tell(&mut self, event: Event<ClusterId>) {
        let about = match &event {
            Event::Looked(id, _) => Some(id.clone()),
            _ => None,
        };
        let count = self.aws.emr_throttled.count();
        if count > std::mem::replace(&mut self.throttled, count) {
            let actions = self.machine.handle(self.now(), Event::Throttled);
            self.perform(actions);
        }
        let actions = self.machine.handle(self.now(), event);
        self.perform(actions);
        if let Some(id) = about.filter(|id| !self.watched.contains(id)) {
            self.records.remove(&id);
        }
        self.publish();
    }

    fn of_input(&mut self, input: Input) -> Event<ClusterId> {
        match input {
            Input::Hint(Hint::Cluster(id)) => {
                self.hinted.entry(id.clone()).or_insert("log");
                Event::Hint(id)
            }
            Input::Hint(Hint::Event(id)) => {
                self.hinted.entry(id.clone()).or_insert("event");
                Event::Pushed(id)
            }
            Input::Hint(Hint::Activity) => Event::Activity,
            Input::RunnerEnded(end) => {
                self.expected = match (end, self.plan.selector.persistent) {
                    (RunnerEnd::Succeeded, true) => ExpectedEnd::Persistent,
                    (RunnerEnd::Succeeded, false) => ExpectedEnd::Finished,
                    _ => ExpectedEnd::Failed,
                };
                Event::RunnerEnded(end, self.aws.emr_clock.now().map(terminate::aws_time))
            }
            Input::OutputEnded => Event::OutputEnded,
            Input::StopAsked => {
                self.expected = ExpectedEnd::Failed;
                Event::StopAsked
            }
        }
    }

    /// The event for a result; `None` if the result decides nothing.
    fn of_answer(&mut self, answered: Answered) -> Option<Event<ClusterId>> {
        Some(match answered {
            Answered::Listed(listed) => {
                if listed.found().is_some() {
                    self.heartbeat();
                }
                self.search_obstacle = match &listed {
                    Lookup::Denied(error) | Lookup::Unreachable(error) => Some(error.clone()),
                    Lookup::Found(_) | Lookup::Absent => None,
                };
                let of_one = |listing: &ClusterListing| ListedCluster {
                    id: listing.id.clone(),
                    has_job_name: listing.name == self.plan.selector.job_name,
                    state: terminate::state(listing.status.state),
                };
                let answer = terminate::answer(&listed, |all| all.iter().map(of_one).collect());
                for listing in listed.found().into_iter().flatten() {
                    self.listed.insert(listing.id.clone(), listing.status.clone());
                }
                Event::Listed(answer)
            }
            Answered::DescribedFirst(id, cluster) => {
                let raw =
                    RawLook { cluster: Some(*cluster), steps: None, security_configuration: None };
                let look = self.take_look(&id, raw);
                // A passed or undecided result waits for the rest of the poll.
                if !look.judgement.failed {
                    return None;
                }
                Event::DescribedFirst(id, look)
            }
            Answered::Looked(id, raw) => {
                let look = self.take_look(&id, *raw);
                Event::Looked(id, look)
            }
            Answered::Detailed(id, details) => {
                if let Some(record) = self.records.get_mut(&id) {
                    record.closer = *details;
                }
                let judgement = self.judge(&id);
                Event::Detailed(id, judgement.unwrap_or_default())
            }
            Answered::Terminated(id, answer) => {
                Event::TerminationAnswered(id, terminate::refusal(&answer))
            }
            Answered::Unprotected(id, answer) => {
                Event::ProtectionAnswered(id, terminate::refusal(&answer))
            }
            Answered::Survivors(left) => Event::Survivors(left),
        })
    }

    /// Writes a heartbeat to the journal when it is due.
    fn heartbeat(&mut self) {
        // In a resumed run a heartbeat would extend the run's own time window with each start.
        if self.plan.mode != WatchMode::Run {
            return;
        }
        let is_due = self.heartbeat.is_none_or(|last| last.elapsed() >= HEARTBEAT);
        if let (Some(journal), Some(at), true) = (&self.journal, self.aws.emr_clock.last(), is_due)
        {
            journal.note(&JournalEntry::Alive { at });
            self.heartbeat = Some(Instant::now());
        }
    }

    /// Stores the responses of a poll, and evaluates the cluster.
    fn take_look(&mut self, id: &ClusterId, raw: RawLook) -> Look {
        let found_by = self.found_by(id);
        let record = self
            .records
            .entry(id.clone())
            .or_insert_with(|| ClusterRecord::new(id.clone(), found_by, Ownership::NotOurs));
        if let Some(cluster) = raw.cluster {
            if let Some(facts) = cluster.found().filter(|_| self.watched.contains(id)) {
                self.timeline.saw(id, &facts.status);
            }
            // The facts on an ended cluster are kept: they cannot change any more.
            let is_over = record.cluster.found().is_some_and(|facts| facts.status.state.is_over());
            if cluster.found().is_some() || !is_over {
                record.cluster = cluster;
            }
        } else if let (Lookup::Found(facts), Some(status)) =
            (&mut record.cluster, self.listed.get(id))
        {
            facts.status = status.clone();
            self.timeline.saw(id, status);
        }
        if let Some(found) = raw.security_configuration {
            record.security_configuration = found;
        }
        let steps_told = raw.steps.as_ref().is_some_and(|steps| steps.found().is_some());
        if let Some(steps) = raw.steps {
            // Steps that an adopted cluster had before the launch do not belong to this run.
            let earlier = self.plan.selector.adopted.get(id);
            record.steps = steps.map(|steps| {
                steps
                    .into_iter()
                    .filter(|step| !earlier.is_some_and(|earlier| earlier.contains(&step.id)))
                    .collect()
            });
        }
        let judgement = self.judge(id).unwrap_or_default();
        let described = self.records.get(id).map(|record| {
            terminate::answer(&record.cluster, |facts| self.described(record, facts))
        });
        Look { described: described.unwrap_or(AwsAnswer::Absent), judgement, steps_told }
    }

    fn found_by(&self, id: &ClusterId) -> &'static str {
        if self.plan.attached.contains_key(id) {
            "attached"
        } else if self.plan.selector.adopted.contains_key(id) {
            "adopted"
        } else {
            self.hinted.get(id).copied().unwrap_or("list")
        }
    }

    /// The part of DescribeCluster's response that the state machine needs.
    fn described(&self, record: &ClusterRecord, facts: &ClusterFacts) -> Described {
        Described {
            state: terminate::state(facts.status.state),
            evidence: evidence(&self.plan.selector, record, facts),
            protected: facts.termination_protected,
            was_ready: facts.was_ready,
        }
    }

    /// The configuration that a cluster must have.
    fn verified(&self, id: &ClusterId) -> &VerifiedConfiguration {
        self.plan.attached.get(id).unwrap_or(&self.plan.selector.verified)
    }

    /// Evaluates a cluster by all facts that are known.
    fn judge(&mut self, id: &ClusterId) -> Option<Judgement> {
        let origin = match (
            self.plan.attached.contains_key(id),
            self.plan.selector.adopted.contains_key(id),
        ) {
            (true, _) => Origin::Attached,
            (false, true) => Origin::Adopted,
            (false, false) => Origin::Run,
        };
        let verified = self.plan.attached.get(id).unwrap_or(&self.plan.selector.verified);
        let record = self.records.get_mut(id)?;
        let persistent = self.plan.selector.persistent || self.plan.until_idle;
        // The reason of its termination is kept: once it is over, not all facts can be read again.
        let ends = record
            .state()
            .is_some_and(|state| state.is_over() || state == emr::ClusterState::Terminating);
        if record.is_unsafe && ends {
            return Some(record.judgement(persistent));
        }
        let policy = &self.plan.selector.policy;
        let mut findings =
            clusters::judge(id.as_str(), &record.look(), verified, origin, &policy.require);
        apply_policy(&mut findings, policy);
        record.findings = findings;
        Some(record.judgement(persistent))
    }

    /// Summaries are built only if the live view reads them.
    fn publish(&self) {
        if self.summaries.is_closed() {
            return;
        }
        let watched = self.records.values().filter(|record| self.watched.contains(&record.id));
        self.summaries.send_replace(watched.map(ClusterSummary::of).collect());
    }

    fn perform(&mut self, actions: Vec<Action<ClusterId>>) {
        for action in actions {
            match action {
                Action::Ask(question) => self.ask(question),
                Action::Terminate(id) => {
                    let (aws, timeline) = (self.aws.clone(), self.timeline.clone());
                    self.asked.spawn(async move {
                        let answer = terminate::request(&aws, &id, &timeline).await;
                        Answered::Terminated(id, answer)
                    });
                }
                Action::Unprotect(id) => {
                    let (aws, timeline) = (self.aws.clone(), self.timeline.clone());
                    self.asked.spawn(async move {
                        let answer = terminate::lift_protection(&aws, &id, &timeline).await;
                        Answered::Unprotected(id, answer)
                    });
                }
                Action::Wake(at) => self.wake = self.began.checked_add(at.0),
                Action::StopRunner(force) => {
                    let _ = self.events.send(WatchEvent::StopRunner(force));
                }
                Action::EndSurvivors => {
                    if let Some(run) = self.plan.run.clone() {
                        let events = self.events.clone();
                        tokio::task::spawn_blocking(move || end_survivors(&run, &events));
                    }
                }
                Action::Note(entry) => {
                    if let Some(journal) = &self.journal {
                        journal.note(&match entry {
                            Entry::Cluster(id) => JournalEntry::Cluster { id },
                            Entry::Stopped { terminate } => JournalEntry::Stopped { terminate },
                        });
                    }
                }
                Action::Tell(notice) => self.tell_people(notice),
                Action::Finish(conclusion) => self.concluded = Some(conclusion),
            }
        }
    }

    fn ask(&mut self, question: Question<ClusterId>) {
        let aws = self.aws.clone();
        match question {
            Question::Search => {
                let since = self.plan.selector.launched.map(|launched| launched - CLOCKS);
                let (watched, account) = (self.watched.clone(), self.plan.account.clone());
                self.asked.spawn(async move {
                    let since = since.unwrap_or_else(|| emr::recently(&aws));
                    Answered::Listed(search(&aws, since, &watched, account.as_deref()).await)
                });
            }
            Question::Look { id, cluster, steps } => {
                // A security configuration in use cannot be deleted, so one response about a live
                // cluster is enough.
                let configuration = self
                    .records
                    .get(&id)
                    .is_none_or(|record| record.security_configuration.found().is_none())
                    .then(|| self.verified(&id).name.clone());
                let first = self.first.0.clone();
                self.asked.spawn(async move {
                    let described = |cluster: &Lookup<ClusterFacts>| {
                        // Fails only if nobody receives any more: the watch is over.
                        let cluster = Box::new(cluster.clone());
                        let _ = first.send(Answered::DescribedFirst(id.clone(), cluster));
                    };
                    let raw = look_at(&aws, &id, (cluster, steps), configuration, described).await;
                    Answered::Looked(id, Box::new(raw))
                });
            }
            Question::Details { id, groups, volumes } => {
                let record = self.records.get(&id);
                let known = record.map(|record| record.closer.clone());
                let has_fleets = record
                    .and_then(|record| record.cluster.found())
                    .is_some_and(|facts| facts.has_fleets);
                let volumes = volumes && self.verified(&id).ebs.is_some();
                self.asked.spawn(async move {
                    let known = known.unwrap_or_default();
                    let groups = groups.then_some(has_fleets);
                    let details = Box::pin(poll_details(&aws, &id, known, groups, volumes)).await;
                    Answered::Detailed(id, Box::new(details))
                });
            }
            Question::Survivors => {
                let run = self.plan.run.clone();
                self.asked.spawn(async move {
                    let left = tokio::task::spawn_blocking(move || has_survivors(run.as_deref()));
                    Answered::Survivors(left.await.unwrap_or(false))
                });
            }
        }
    }

    /// Logs a notice of the state machine, and passes on what people must know.
    fn tell_people(&mut self, notice: WatchNotice<ClusterId>) {
        let event = match notice {
            WatchNotice::Found(id, whose) => {
                let found_by = self.found_by(&id);
                self.timeline.note(format!("{id}: found ({found_by})"));
                let record = self
                    .records
                    .entry(id.clone())
                    .or_insert_with(|| ClusterRecord::new(id.clone(), found_by, whose));
                record.whose = whose;
                if let Some(facts) = record.cluster.found() {
                    self.timeline.saw(&id, &facts.status);
                }
                self.watched.insert(id);
                return;
            }
            WatchNotice::Passed(id, waits) => {
                let waiting = if waits { ", as far as it is there yet" } else { "" };
                let lowered = not_enforced(&self.plan.selector.policy);
                let verified = if lowered.iter().any(|check| check.stage == Stage::Watch) {
                    "no required check contradicts it"
                } else {
                    "is what was verified"
                };
                self.timeline.note(format!("{id}: {verified}{waiting}"));
                return;
            }
            WatchNotice::Unsafe(id, cause, ends) => {
                self.timeline.note(match cause {
                    Cause::Unjudged => format!("{id}: could not be judged in time"),
                    _ => format!("{id}: is UNSAFE"),
                });
                let record = self.records.get_mut(&id);
                let findings = record.map(|record| {
                    record.is_unsafe = true;
                    record.findings.clone()
                });
                WatchEvent::Unsafe(id, findings.unwrap_or_default(), ends)
            }
            WatchNotice::Ending(id, cause) => {
                self.timeline.note(match cause {
                    Cause::Stopped => {
                        format!("{id}: terminating it, because the run was stopped")
                    }
                    Cause::Failed | Cause::Unjudged | Cause::Orphaned => {
                        format!("{id}: terminating it")
                    }
                });
                return;
            }
            WatchNotice::Help(id, obstacle) => {
                let said = terminate::said(&obstacle);
                self.timeline.note(format!("{id}: waiting for a person to terminate it; {said}"));
                let is_unsafe = self.records.get(&id).is_some_and(|record| record.is_unsafe);
                WatchEvent::Help(id, is_unsafe, said)
            }
            WatchNotice::EndConfirmed(id) => {
                self.timeline.note(format!("{id}: its end is confirmed"));
                self.note_end(&id, TerminationResult::Confirmed);
                return;
            }
            WatchNotice::EndUnconfirmed(id, obstacle) => {
                let end = EndResult::Unconfirmed(obstacle);
                let end = TerminationResult::of(&end, self.plan.limits.termination);
                if let TerminationResult::Unconfirmed(why) = &end {
                    self.timeline.note(format!("{id}: its end is NOT confirmed: {why}"));
                }
                self.note_end(&id, end);
                return;
            }
            WatchNotice::Blind(why) => WatchEvent::Blind(why),
            WatchNotice::Unjudged(id) => {
                self.timeline.note(format!("{id}: could not be judged in time"));
                let record = self.records.get(&id);
                let findings = record.map(|record| record.findings.clone());
                WatchEvent::Unjudged(id, findings.unwrap_or_default())
            }
            WatchNotice::SightLost(id) => WatchEvent::SightLost(id),
            WatchNotice::SightBack(id) => {
                let what = id.as_ref().map_or("the list of clusters", ClusterId::as_str);
                self.timeline.note(format!("{what}: can be seen again"));
                return;
            }
            WatchNotice::Orphan(id) => {
                self.timeline.note(format!("{id}: continues, and nothing waits for it"));
                return;
            }
            WatchNotice::Twice(ids) => WatchEvent::Twice(ids),
            WatchNotice::Done => WatchEvent::Done,
        };
        let _ = self.events.send(event);
    }

    fn note_end(&mut self, id: &ClusterId, end: TerminationResult) {
        terminate::note_end(&self.timeline, id, &end);
        if let Some(record) = self.records.get_mut(id) {
            record.end = Some(end);
        }
    }

    /// The whole result, including how each cluster ended.
    fn result(self) -> WatchResult {
        let Self { mut records, watched, plan, expected, concluded, search_obstacle, .. } = self;
        records.retain(|id, _| watched.contains(id));
        let expected = match (plan.mode, plan.until_idle) {
            (WatchMode::Attach, true) if expected != ExpectedEnd::Failed => ExpectedEnd::Persistent,
            _ => expected,
        };
        let conclusion = concluded.unwrap_or_default();
        for (id, end) in &conclusion.clusters {
            let Some(record) = records.get_mut(id) else { continue };
            record.whose = end.whose;
            record.is_unsafe = end.is_unsafe();
            record.ended_by_stop = end.cause == Some(Cause::Stopped);
            record.end =
                end.end.as_ref().map(|end| TerminationResult::of(end, plan.limits.termination));
            record.orphan = match (end.cause, end.orphan) {
                (Some(Cause::Orphaned), _) => Some(Orphan::Ended),
                (_, true) => Some(Orphan::Left),
                _ => None,
            };
            judge_end(record, expected, plan.mode, &plan.selector.policy);
        }
        WatchResult {
            clusters: records.into_values().collect(),
            search_obstacle: search_obstacle.filter(|_| conclusion.search_trouble.is_some()),
            search_trouble: conclusion.search_trouble.clone(),
            undecided: conclusion.undecided.clone(),
            conclusion,
            not_enforced: not_enforced(&plan.selector.policy),
        }
    }
}

/// Adds the findings on how a cluster ended.
fn judge_end(record: &mut ClusterRecord, expected: ExpectedEnd, mode: WatchMode, policy: &Policy) {
    if record.is_unsafe {
        return;
    }
    if record.whose == Ownership::Ours && mode != WatchMode::Attach {
        let mut orphaned =
            [clusters::judge_orphan(record.id.as_str(), &record.cluster, record.orphan.is_some())];
        apply_policy(&mut orphaned, policy);
        record.findings.extend(orphaned);
    }
    record.findings.push(clusters::judge_end(record.id.as_str(), &record.look(), expected));
    // A run that did not start anything has no cluster to check; a run that succeeded must have
    // one.
    if mode == WatchMode::Run && expected == ExpectedEnd::Failed {
        for finding in record.findings.iter_mut().filter(|finding| finding.not_there) {
            if finding.level == Level::Required && finding.status == Status::Unknown {
                finding.status = Status::NotApplicable;
                finding.fix = None;
            }
        }
    }
}

/// What AWS's data say about who owns a cluster.
fn evidence(selector: &ClusterSelector, record: &ClusterRecord, facts: &ClusterFacts) -> Evidence {
    let tag = match &selector.tag {
        Some((key, value)) => match facts.tags.get(key) {
            Some(tag) if tag == value => RunTag::This,
            Some(_) => RunTag::Other,
            None => RunTag::None,
        },
        // No tag was sealed, so no cluster has this run's tag; any run tag is another guard's.
        None if facts.tags.contains_key(RUN_TAG) => RunTag::Other,
        None => RunTag::None,
    };
    let has_new_steps = selector.adopted.contains_key(&record.id)
        && record.steps.found().is_some_and(|steps| !steps.is_empty());
    Evidence {
        tag,
        created: terminate::aws_time(facts.status.created),
        matches_request: facts.name == selector.job_name
            && clusters::matches_request(facts, &selector.verified)
            && selector.log_location.as_ref().is_none_or(|wanted| {
                let same = |text: &str| text.trim_end_matches('/').replacen("s3n://", "s3://", 1);
                facts.log_location.as_deref().is_some_and(|seen| same(seen) == same(wanted))
            }),
        has_new_steps,
    }
}

/// Whether orphaned processes of the run are left. If that is unknown, the answer is no: the kernel
/// has killed the runner itself.
fn has_survivors(run: Option<&str>) -> bool {
    let Some(run) = run else { return false };
    orphaned_processes::are_left(run).unwrap_or_else(|error| {
        tracing::warn!(%error, "what is left of the runner cannot be seen");
        false
    })
}

fn end_survivors(run: &str, events: &mpsc::UnboundedSender<WatchEvent>) {
    let said = match orphaned_processes::end(run) {
        Ok(0) => return,
        Ok(several) => format!("ended {several} processes that the runner had left running"),
        Err(error) => format!("what the runner left running cannot be ended: {error}"),
    };
    let _ = events.send(WatchEvent::Warning(said));
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Lists the clusters since then. With credentials of another account, an empty list would look as
/// if the run had no cluster. So a list without a `watched` cluster counts only if the credentials
/// still belong to the run's account.
async fn search(
    aws: &Aws,
    since: OffsetDateTime,
    watched: &BTreeSet<ClusterId>,
    account: Option<&str>,
) -> Lookup<Vec<ClusterListing>> {
    let listed = emr::list(&aws.emr, Some(since), &[]).await;
    let Some(account) = account else { return listed };
    let in_doubt = |all: &Vec<ClusterListing>| !all.iter().any(|one| watched.contains(&one.id));
    if !listed.found().is_some_and(in_doubt) {
        return listed;
    }
    // If STS does not answer in time, the account is unknown. Clusters that EMR has listed must not
    // wait long for another service.
    match tokio::time::timeout(IDENTITY_PATIENCE, sts::identity(&aws.sts)).await {
        Ok(Lookup::Found(identity)) if identity.account.as_str() != account => {
            Lookup::Denied(LookupError::new(
                aws_calls::LIST_CLUSTERS.permission,
                LookupErrorKind::Denied,
                format!(
                    "the guard's credentials are of account {}, and the run was launched in \
                     account {account}",
                    identity.account
                ),
            ))
        }
        _ => listed,
    }
}

/// One poll of one cluster: all requested calls run concurrently. The response of DescribeCluster
/// goes to `described` without waiting for the steps.
async fn look_at(
    aws: &Aws,
    id: &ClusterId,
    (wants_cluster, wants_steps): (bool, bool),
    configuration: Option<String>,
    described: impl Fn(&Lookup<ClusterFacts>),
) -> RawLook {
    // A poll that only evaluates known facts again sends no request.
    if !wants_cluster && !wants_steps {
        return RawLook { cluster: None, steps: None, security_configuration: None };
    }
    let configuration = async {
        match &configuration {
            Some(name) => Some(emr::security_configuration(&aws.emr, name).await),
            None => None,
        }
    };
    let cluster = async {
        if !wants_cluster {
            return None;
        }
        let cluster = emr::cluster(&aws.emr, id).await;
        if wants_steps && cluster.found().is_some() {
            described(&cluster);
        }
        Some(cluster)
    };
    let steps = async { if wants_steps { Some(emr::steps(&aws.emr, id).await) } else { None } };
    let (cluster, mut steps, security_configuration) = tokio::join!(cluster, steps, configuration);
    // The steps' final states count, too, and this is the last request for them.
    let is_over =
        cluster.as_ref().and_then(Lookup::found).is_some_and(|facts| facts.status.state.is_over());
    if steps.is_none() && is_over {
        steps = Some(emr::steps(&aws.emr, id).await);
    }
    RawLook { cluster, steps, security_configuration }
}

/// One detailed poll of a cluster whose facts so far are `known`; if requested, with its groups
/// (and whether they are fleets) and its volumes.
pub(crate) async fn poll_details(
    aws: &Aws,
    id: &ClusterId,
    known: ClusterDetails,
    groups: Option<bool>,
    volumes: bool,
) -> ClusterDetails {
    let bootstrap_actions = async {
        match known.bootstrap_actions {
            // They are part of the launch request, which cannot change.
            found @ Lookup::Found(_) => found,
            _ => emr::bootstrap_actions(&aws.emr, id).await,
        }
    };
    let group_properties = async {
        match groups {
            Some(has_fleets) => emr::groups(&aws.emr, id, has_fleets).await,
            None => known.group_properties,
        }
    };
    let nodes = async { if volumes { Some(fetch_volumes(aws, id).await) } else { None } };
    let (bootstrap_actions, group_properties, nodes) =
        tokio::join!(bootstrap_actions, group_properties, nodes);
    let mut closer = ClusterDetails {
        bootstrap_actions,
        group_properties,
        nodes: known.nodes,
        volumes_asked: known.volumes_asked,
        volumes: known.volumes,
    };
    if let Some((nodes, volumes)) = nodes {
        closer.nodes = nodes;
        closer.volumes.extend(
            volumes.found().into_iter().flatten().map(|volume| (volume.id.clone(), volume.clone())),
        );
        closer.volumes_asked = volumes.map(|_| ());
    }
    closer
}

/// The cluster's current instances, and their volumes.
async fn fetch_volumes(
    aws: &Aws,
    id: &ClusterId,
) -> (Lookup<Vec<emr::ClusterInstance>>, Lookup<Vec<ec2::Volume>>) {
    let nodes = emr::nodes(&aws.emr, id).await;
    let instances: Vec<String> =
        nodes.found().into_iter().flatten().filter_map(|node| node.instance.clone()).collect();
    // EC2 rejects a filter without values.
    let volumes = if instances.is_empty() {
        Lookup::Found(Vec::new())
    } else {
        ec2::volumes(&aws.ec2, &instances).await
    };
    (nodes, volumes)
}

/// A plan of a resumed run that was launched at millisecond 1000 by AWS's clock, and over by 2000.
#[cfg(test)]
pub(super) fn plan_for_tests() -> Plan<ClusterId> {
    use crate::watch::machine::{plan::Rules, time::AwsTime};
    let span = Duration::from_secs(5);
    Plan {
        mode: WatchMode::Resume,
        limits: Limits { interval: span, judge_within: span, termination: span, stop: span },
        rules: Rules {
            on_stop: false,
            on_orphan: false,
            on_unjudged: true,
            adopted: true,
            attached: false,
            untagged: false,
            account: false,
        },
        launched: Some(AwsTime(1000)),
        until: Some(AwsTime(2000)),
        earlier: BTreeSet::new(),
        adoptable: BTreeSet::new(),
        named: BTreeSet::new(),
        known: BTreeSet::new(),
        persistent: false,
        has_steps: true,
        until_idle: false,
        open_until: Moment::START,
        stopped_to_end: false,
        seed: 0,
        #[cfg(feature = "mutants")]
        mutant: None,
    }
}

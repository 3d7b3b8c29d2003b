//! The watch: finds every cluster of the run, compares each with what was verified, and has an unsafe one terminated at once.
//!
//! Clusters are found through ListClusters and told apart by the run's tag; the runner's log is a hint that speeds a look up and is
//! never trusted alone. Looks start `interval` apart and slow down while nothing changes, so that the runner keeps its share of EMR's quotas.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    aws::{Aws, Lookup, calls},
    checks::{
        Finding, Level, Stage, Status, apply_policy,
        clusters::{self, Closer, ExpectedEnd, Look, Origin, Verified},
    },
    facts::{ClusterFacts, SecurityConfiguration, Step, ec2, emr},
    journal::{Entry, Journal, Unfinished},
    names::ClusterId,
    progress::Glance,
    settings::{Policy, Settings},
    terminate::{End, terminate},
    timeline::Timeline,
};

/// By what a run's clusters are known, and what they must be: all that it takes to judge them, now or by a later guard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pursuit {
    pub(crate) verified: Verified,
    pub(crate) policy: Policy,
    /// The clusters' name.
    pub(crate) job_name: String,
    /// The runner may use any live cluster of that name.
    pub(crate) persistent: bool,
    /// The tag that the seal set, as key and value.
    pub(crate) tag: Option<(String, String)>,
    /// Clusters that were there before the launch: never this run's.
    pub(crate) earlier_clusters: BTreeSet<ClusterId>,
    /// Clusters that the runner adopts, with the steps they had before.
    pub(crate) adopted: BTreeMap<ClusterId, BTreeSet<String>>,
}

/// What the watch needs to know of the run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) pursuit: Pursuit,
    /// Clusters of this run that an earlier guard knew.
    pub(crate) known: BTreeSet<ClusterId>,
    /// Since when clusters are searched for, where that is longer ago than the last hour.
    pub(crate) since: Option<OffsetDateTime>,
    pub(crate) limits: Limits,
}

impl Plan {
    /// The plan of a run that an earlier guard left open. Nobody will look at its clusters again, so what cannot be judged soon counts as unsafe.
    pub(crate) fn resumed(run: &Unfinished, settings: &Settings) -> Self {
        let prepared = run.prepared.clone();
        let limits = Limits::from(settings);
        Self {
            pursuit: prepared.pursuit,
            known: run.clusters.clone(),
            since: Some(prepared.started - time::Duration::hours(1)),
            limits: Limits { judge_within: limits.judge_within.min(limits.interval * 4), ..limits },
        }
    }
}

/// Time limits of the watch, from the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    interval: Duration,
    judge_within: Duration,
    termination: Duration,
}

impl From<&Settings> for Limits {
    fn from(settings: &Settings) -> Self {
        Self { interval: settings.watch_interval, judge_within: settings.judge_within, termination: settings.termination_timeout }
    }
}

/// What the runner's log suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A line named this cluster.
    Cluster(ClusterId),
    /// Steps are being added.
    Activity,
}

/// What the supervisor must know at once.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A cluster is unsafe; its termination is under way.
    Unsafe(ClusterId, Vec<Finding>),
}

/// What is known of one cluster of the run.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterRecord {
    /// Its id.
    pub id: ClusterId,
    /// How it was found: `log`, `list` or `adopted`.
    pub found_by: &'static str,
    /// The last answer of DescribeCluster.
    pub cluster: Lookup<ClusterFacts>,
    /// This run's steps in the last answer of ListSteps.
    pub steps: Lookup<Vec<Step>>,
    /// The findings of the last look.
    pub findings: Vec<Finding>,
    /// Whether it was found unsafe.
    pub is_unsafe: bool,
    /// Whether it was ended although it is what was verified, because the run was stopped.
    pub ended_by_stop: bool,
    /// How its termination went, when the guard asked for it.
    pub end: Option<End>,
    #[serde(skip)]
    security_configuration: Lookup<SecurityConfiguration>,
    #[serde(flatten)]
    closer: Closer,
    #[serde(skip)]
    closer_look: CloserLook,
    /// Since when something required is Unknown that could be known.
    #[serde(skip)]
    unknown_since: Option<Instant>,
    /// Whether the timeline says already that it is what was verified.
    #[serde(skip)]
    was_proved: bool,
}

/// The last closer look at a cluster.
#[derive(Clone, Copy, Debug, Default)]
struct CloserLook {
    /// When it began, and in which state the cluster was then.
    began: Option<(Instant, Option<emr::ClusterState>)>,
    under_way: bool,
}

/// Everything the watch learnt.
#[derive(Clone, Debug, Serialize)]
pub struct Watched {
    /// The run's clusters.
    pub clusters: Vec<ClusterRecord>,
    /// Why the last search for clusters failed, when it did.
    pub search_trouble: Option<String>,
    /// Clusters of the run's name that could not be told to be the run's or not.
    pub undecided: Vec<ClusterId>,
}

impl Watched {
    /// Whether nothing is left to do about the run's clusters: each one is over at the guard's wish, or is what was verified, and there can be no others.
    pub(crate) fn is_closed(&self) -> bool {
        let closed = |record: &ClusterRecord| if record.must_end() { record.end == Some(End::Confirmed) } else { record.is_proved() };
        self.search_trouble.is_none() && self.undecided.is_empty() && self.clusters.iter().all(closed)
    }
}

/// A watch under way.
pub(crate) struct Watching {
    pub(crate) hints: mpsc::UnboundedSender<Hint>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// The clusters as they were last seen, for whoever shows them.
    pub(crate) seen: watch::Receiver<Vec<Glance>>,
    /// Set once the guard was told to stop.
    pub(crate) stop: watch::Sender<Option<Stop>>,
    finish: oneshot::Sender<Finish>,
    task: JoinHandle<Watched>,
}

/// How the run ended, for the last looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    pub(crate) expected: ExpectedEnd,
    /// A cluster may still be in the making: look again after this time.
    pub(crate) settle: Option<Duration>,
    /// End the run's own clusters even if they are what was verified.
    pub(crate) terminate: bool,
}

/// The guard was told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// When it must be gone. What is not done by then is the next start's; and since nobody watches until then, what cannot be judged by then must end.
    pub(crate) by: Instant,
    /// As in [`Finish`].
    pub(crate) terminate: bool,
}

/// Starts watching.
pub(crate) fn start(aws: Aws, plan: Plan, journal: Journal, timeline: Timeline) -> Watching {
    let (hints, hints_received) = mpsc::unbounded_channel();
    let (events_sent, events) = mpsc::unbounded_channel();
    let (finish, finish_received) = oneshot::channel();
    let (stop, stop_seen) = watch::channel(None);
    let (glances, seen) = watch::channel(Vec::new());
    let watch = Watch {
        aws,
        hinted: plan.known.clone(),
        plan,
        journal,
        timeline,
        events: events_sent,
        glances,
        clusters: BTreeMap::new(),
        strangers: BTreeSet::new(),
        undecided: BTreeSet::new(),
        closer_looks: JoinSet::new(),
        terminations: JoinSet::new(),
        search_trouble: None,
    };
    Watching { hints, events, seen, stop, finish, task: tokio::spawn(watch.run(hints_received, finish_received, stop_seen)) }
}

impl Watching {
    /// Makes the last looks, waits for terminations, and gives the record. `stopped` gives the stops that are asked for meanwhile.
    ///
    /// # Errors
    /// When the watch itself died, which is a bug.
    pub(crate) async fn finish(self, finish: Finish, mut stopped: impl AsyncFnMut() -> Stop) -> anyhow::Result<Watched> {
        // The watch ends only by this message, so a send can fail only if it died; the join says how.
        let _ = self.finish.send(finish);
        drop(self.hints);
        let mut task = self.task;
        loop {
            tokio::select! {
                watched = &mut task => return Ok(watched?),
                stop = stopped() => {
                    // The first one counts: a second must not give more time.
                    self.stop.send_if_modified(|known| known.is_none().then(|| *known = Some(stop)).is_some());
                }
            }
        }
    }
}

struct Watch {
    aws: Aws,
    plan: Plan,
    journal: Journal,
    timeline: Timeline,
    events: mpsc::UnboundedSender<Event>,
    glances: watch::Sender<Vec<Glance>>,
    clusters: BTreeMap<ClusterId, ClusterRecord>,
    /// Clusters of the same name that belong to somebody else.
    strangers: BTreeSet<ClusterId>,
    hinted: BTreeSet<ClusterId>,
    undecided: BTreeSet<ClusterId>,
    /// Looks at what is asked less often; they run beside the others, so that no judgement waits for them.
    closer_looks: JoinSet<(ClusterId, Closer)>,
    terminations: JoinSet<(ClusterId, End)>,
    search_trouble: Option<String>,
}

impl Watch {
    async fn run(
        mut self,
        mut hints: mpsc::UnboundedReceiver<Hint>,
        mut finish: oneshot::Receiver<Finish>,
        mut stop: watch::Receiver<Option<Stop>>,
    ) -> Watched {
        for id in self.plan.pursuit.adopted.keys().cloned().collect::<Vec<_>>() {
            self.add(id, ADOPTED);
        }
        let mut quiet = 0;
        let mut next = Instant::now() + self.plan.limits.interval;
        let finish = loop {
            tokio::select! {
                biased;
                end = &mut finish => break end,
                Some(hint) = hints.recv() => {
                    self.take(hint);
                    // A burst of hints is one look: whatever else has already arrived belongs to it.
                    while let Ok(more) = hints.try_recv() {
                        self.take(more);
                    }
                    quiet = 0;
                    next = next.min(Instant::now() + self.pause_after_hint());
                }
                () = sleep_until(next) => {
                    let changed = self.look().await;
                    quiet = if changed { 0 } else { quiet + 1 };
                    next = Instant::now() + interval(self.plan.limits.interval, quiet, !self.clusters.is_empty());
                }
                Some(looked) = self.closer_looks.join_next() => self.take_closer_look(looked),
                Some(ended) = self.terminations.join_next() => self.record_end(ended),
            }
        };
        // A dropped sender means that the guard is going down; then the most careful end is meant.
        let finish = finish.unwrap_or(Finish { expected: ExpectedEnd::Failed, settle: None, terminate: false });
        tokio::select! {
            () = self.last_looks(finish) => {}
            () = time_is_short(&mut stop) => {
                self.judge_ends(finish.expected);
                self.condemn_unjudged();
            }
        }
        let stop = *stop.borrow();
        if finish.terminate || stop.is_some_and(|stop| stop.terminate) {
            self.end_verified();
        }
        match stop {
            None => self.follow_ends().await,
            Some(stop) if timeout_at(stop.by, self.follow_ends()).await.is_ok() => {}
            Some(_) => self.timeline.note("no time is left; the next start goes on from here"),
        }
        Watched {
            clusters: self.clusters.into_values().collect(),
            search_trouble: self.search_trouble,
            undecided: self.undecided.into_iter().collect(),
        }
    }

    fn take(&mut self, hint: Hint) {
        if let Hint::Cluster(id) = hint {
            self.hinted.insert(id);
        }
    }

    /// A cluster just named is looked at at once; steps being added one by one are looked at together.
    fn pause_after_hint(&self) -> Duration {
        if self.hinted.iter().any(|id| self.is_new(id)) { Duration::ZERO } else { self.plan.limits.interval }
    }

    async fn last_looks(&mut self, finish: Finish) {
        self.look_at_everything().await;
        if let Some(settle) = finish.settle {
            sleep(settle).await;
            self.look_at_everything().await;
        }
        self.follow_ends().await;
        self.look_until_proved(finish.expected).await;
    }

    /// Searches, describes and judges once, the closer looks included.
    async fn look_at_everything(&mut self) {
        self.look().await;
        while let Some(looked) = self.closer_looks.join_next().await {
            self.take_closer_look(looked);
        }
    }

    /// Waits for the terminations under way.
    async fn follow_ends(&mut self) {
        while let Some(ended) = self.terminations.join_next().await {
            self.record_end(ended);
        }
    }

    async fn look_until_proved(&mut self, expected: ExpectedEnd) {
        // EMR takes a moment to show what the runner has just asked for; and no cluster that lives is left before it is judged, or overdue and so unsafe.
        for look in 0.. {
            self.judge_ends(expected);
            if self
                .clusters
                .values()
                .filter(|record| !record.is_unsafe)
                .all(|record| record.is_proved() || (!record.may_live() && record.is_proved_so_far()))
                || look >= 6 && !self.clusters.values().any(ClusterRecord::is_unjudged)
            {
                break;
            }
            sleep(self.plan.limits.interval).await;
            self.look_at_everything().await;
            self.follow_ends().await;
        }
        self.judge_ends(expected);
    }

    /// Ends, as unsafe, the clusters that live and could not be judged.
    fn condemn_unjudged(&mut self) {
        let condemned: Vec<ClusterId> = self.clusters.values().filter(|record| record.is_unjudged()).map(|record| record.id.clone()).collect();
        for id in condemned {
            self.timeline.note(format!("{id}: cannot be judged, and nobody will watch it; terminating it"));
            self.end_unsafe(&id);
        }
    }

    /// Ends the clusters that are what was verified, except those that were there before the run.
    fn end_verified(&mut self) {
        let verified: Vec<ClusterId> = self
            .clusters
            .values()
            .filter(|record| record.may_live() && !record.is_unsafe && record.found_by != ADOPTED)
            .map(|record| record.id.clone())
            .collect();
        for id in verified {
            self.timeline.note(format!("{id}: terminating it, because the run was stopped"));
            if let Some(record) = self.clusters.get_mut(&id) {
                record.ended_by_stop = true;
            }
            self.spawn_termination(&id);
        }
    }

    fn judge_ends(&mut self, expected: ExpectedEnd) {
        for record in self.clusters.values_mut().filter(|record| !record.is_unsafe) {
            let end = clusters::judge_end(record.id.as_str(), &record.look(), expected);
            record.findings.retain(|finding| finding.check.name != end.check.name);
            record.findings.push(end);
            // A run that came to nothing can leave nothing behind to look at; one that succeeded cannot.
            if expected == ExpectedEnd::Failed {
                for finding in record.findings.iter_mut().filter(|finding| finding.not_there) {
                    finding.status = Status::NotApplicable;
                    finding.mend = None;
                }
            }
        }
    }

    fn record_end(&mut self, ended: Result<(ClusterId, End), tokio::task::JoinError>) {
        match ended {
            Ok((id, end)) => {
                self.timeline.note(match &end {
                    End::Confirmed => format!("{id}: its end is confirmed"),
                    End::Unconfirmed(obstacle) => format!("{id}: its end is NOT confirmed: {obstacle}"),
                });
                if let Some(record) = self.clusters.get_mut(&id) {
                    record.end = Some(end);
                }
                self.publish();
            }
            // Without an end recorded, the cluster counts as alive.
            Err(error) => tracing::error!(%error, "a termination task died"),
        }
    }

    /// Searches, describes and judges once. Gives whether anything is new.
    ///
    /// What is known by id is looked at beside the search, not after it: a cluster that the log named is judged one round trip later.
    async fn look(&mut self) -> bool {
        let before: Vec<_> = self.clusters.values().map(ClusterRecord::shape).collect();
        let open = self.clusters.values().filter(|record| !record.is_settled()).map(|record| record.id.clone());
        let due: Vec<ClusterId> = open.chain(self.hinted.iter().filter(|id| self.is_new(id)).cloned()).collect();
        let (listed, looks) =
            tokio::join!(emr::list(&self.aws.emr, Some(self.plan.since.unwrap_or_else(emr::recently)), &[]), self.look_at_all(&due));
        for (id, look) in due.into_iter().zip(looks) {
            self.take_look(&id, look);
        }
        let new = self.new_of(&listed);
        let looks = self.look_at_all(&new).await;
        for (id, look) in new.into_iter().zip(looks) {
            self.take_look(&id, look);
        }
        self.start_closer_looks();
        before != self.clusters.values().map(ClusterRecord::shape).collect::<Vec<_>>()
    }

    /// Whether nothing is known of `id` yet.
    fn is_new(&self, id: &ClusterId) -> bool {
        !self.clusters.contains_key(id) && !self.strangers.contains(id) && !self.plan.pursuit.earlier_clusters.contains(id)
    }

    /// The clusters of the right name in `listed` that are new.
    fn new_of(&mut self, listed: &Lookup<Vec<emr::ClusterListing>>) -> Vec<ClusterId> {
        self.search_trouble = match listed {
            Lookup::Found(_) | Lookup::Absent => None,
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => Some(format!("{}: {}", obstacle.operation, obstacle.message)),
        };
        let listings = listed.found().into_iter().flatten();
        listings.filter(|listing| listing.name == self.plan.pursuit.job_name && self.is_new(&listing.id)).map(|listing| listing.id.clone()).collect()
    }

    async fn look_at_all(&self, ids: &[ClusterId]) -> Vec<Look> {
        join_all(ids.iter().map(|id| self.look_at(id))).await
    }

    /// Judges a look at a cluster of the run; of one that is new, decides first whether it is.
    fn take_look(&mut self, id: &ClusterId, look: Look) {
        if !self.clusters.contains_key(id) {
            let hinted = self.hinted.contains(id);
            match &look.cluster {
                Lookup::Found(facts) if is_ours(&self.plan.pursuit, facts, hinted) => self.add(id.clone(), if hinted { "log" } else { "list" }),
                Lookup::Found(_) | Lookup::Absent => {
                    self.undecided.remove(id);
                    self.strangers.insert(id.clone());
                    return;
                }
                // Asked again at the next look.
                Lookup::Denied(_) | Lookup::Unreachable(_) => {
                    self.undecided.insert(id.clone());
                    return;
                }
            }
            self.undecided.remove(id);
        }
        self.judge(id, look);
    }

    fn add(&mut self, id: ClusterId, found_by: &'static str) {
        self.timeline.note(format!("{id}: found ({found_by})"));
        if !self.plan.known.contains(&id) {
            self.journal.note(&Entry::Cluster { id: id.clone() });
        }
        self.clusters.insert(id.clone(), ClusterRecord::new(id, found_by));
    }

    /// One look at one cluster: everything at once.
    async fn look_at(&self, id: &ClusterId) -> Look {
        let known = self.clusters.get(id).and_then(|record| record.security_configuration.found().cloned());
        let security_configuration = async {
            match known {
                // A configuration in use cannot be deleted, so one answer about a living cluster is enough.
                Some(found) => Lookup::Found(found),
                None => emr::security_configuration(&self.aws.emr, &self.plan.pursuit.verified.name).await,
            }
        };
        let (cluster, steps, security_configuration) =
            tokio::join!(emr::cluster(&self.aws.emr, id), emr::steps(&self.aws.emr, id), security_configuration);
        // Steps that an adopted cluster had before are not this run's.
        let earlier = self.plan.pursuit.adopted.get(id);
        let steps = steps.map(|steps| steps.into_iter().filter(|step| !earlier.is_some_and(|earlier| earlier.contains(&step.id))).collect());
        let closer = self.clusters.get(id).map(|record| record.closer.clone()).unwrap_or_default();
        Look { cluster, steps, security_configuration, closer }
    }

    /// Starts a closer look at each cluster for which one is due.
    fn start_closer_looks(&mut self) {
        let pace = self.plan.limits.interval * 12;
        let wants_volumes = self.plan.pursuit.verified.ebs.is_some();
        for record in self.clusters.values_mut().filter(|record| record.needs_closer_look(pace)) {
            let state = record.state();
            record.closer_look = CloserLook { began: Some((Instant::now(), state)), under_way: true };
            let (aws, id, known) = (self.aws.clone(), record.id.clone(), record.closer.clone());
            // While it is STARTING there are none, and once it is over none are left.
            let volumes = wants_volumes && state.is_some_and(|state| state != emr::ClusterState::Starting && !state.is_over());
            self.closer_looks.spawn(async move {
                let closer = look_closer(&aws, &id, known, volumes).await;
                (id, closer)
            });
        }
    }

    fn take_closer_look(&mut self, looked: Result<(ClusterId, Closer), tokio::task::JoinError>) {
        match looked {
            Ok((id, closer)) => {
                let Some(record) = self.clusters.get_mut(&id) else { return };
                record.closer_look.under_way = false;
                record.closer = closer;
                let look = record.look();
                self.judge(&id, look);
            }
            Err(error) => tracing::error!(%error, "a closer look died"),
        }
    }

    fn judge(&mut self, id: &ClusterId, look: Look) {
        let Some(record) = self.clusters.get_mut(id) else { return };
        let origin = if self.plan.pursuit.adopted.contains_key(id) { Origin::Adopted } else { Origin::Run };
        let mut findings = clusters::judge(id.as_str(), &look, &self.plan.pursuit.verified, origin);
        apply_policy(&mut findings, &self.plan.pursuit.policy);
        let required = || findings.iter().filter(|finding| finding.level == Level::Required);
        let refuted = required().any(|finding| finding.status == Status::Refuted);
        record.unknown_since = required()
            .any(|finding| finding.status == Status::Unknown && !finding.not_there)
            .then(|| record.unknown_since.unwrap_or_else(Instant::now));
        let overdue = record.unknown_since.is_some_and(|since| since.elapsed() > self.plan.limits.judge_within);
        record.findings = findings;
        record.cluster = look.cluster;
        record.steps = look.steps;
        record.security_configuration = look.security_configuration;
        if record.is_proved_so_far() && !std::mem::replace(&mut record.was_proved, true) {
            let waiting = if record.is_proved() { "" } else { ", as far as it is there yet" };
            self.timeline.note(format!("{id}: is what was verified{waiting}"));
        }
        if (refuted || overdue) && !record.is_unsafe {
            self.timeline.note(format!("{id}: is UNSAFE; terminating it"));
            self.end_unsafe(id);
        }
        self.publish();
    }

    fn publish(&self) {
        self.glances.send_replace(self.clusters.values().map(Glance::of).collect());
    }

    fn end_unsafe(&mut self, id: &ClusterId) {
        let Some(record) = self.clusters.get_mut(id) else { return };
        record.is_unsafe = true;
        let _ = self.events.send(Event::Unsafe(id.clone(), record.findings.clone()));
        if record.may_live() {
            self.spawn_termination(id);
        } else {
            record.end = Some(End::Confirmed);
        }
    }

    fn spawn_termination(&mut self, id: &ClusterId) {
        let protected = self.clusters.get(id).and_then(|record| record.cluster.found()).is_some_and(|facts| facts.termination_protected);
        let (aws, id, limits) = (self.aws.clone(), id.clone(), self.plan.limits);
        self.terminations.spawn(async move {
            let end = terminate(&aws, &id, protected, limits.interval, limits.termination).await;
            (id, end)
        });
    }
}

/// Waits for a stop, and then for the last third of its time: what it takes to ask for terminations and to see some of them through.
async fn time_is_short(stop: &mut watch::Receiver<Option<Stop>>) {
    let Some(by) = stop.wait_for(Option::is_some).await.ok().and_then(|stop| stop.map(|stop| stop.by)) else {
        return std::future::pending().await;
    };
    let left = by.saturating_duration_since(Instant::now());
    sleep_until(by - left / 3).await;
}

/// How a cluster was found that was there before the run.
const ADOPTED: &str = "adopted";

impl ClusterRecord {
    /// A cluster that nothing is known of yet.
    pub(crate) fn new(id: ClusterId, found_by: &'static str) -> Self {
        const NOT_YET: &str = "not asked yet";
        Self {
            id,
            found_by,
            cluster: Lookup::not_asked(&calls::DESCRIBE_CLUSTER, NOT_YET),
            steps: Lookup::not_asked(&calls::LIST_STEPS, NOT_YET),
            findings: Vec::new(),
            is_unsafe: false,
            ended_by_stop: false,
            end: None,
            security_configuration: Lookup::not_asked(&calls::DESCRIBE_SECURITY_CONFIGURATION, NOT_YET),
            closer: Closer::default(),
            closer_look: CloserLook::default(),
            unknown_since: None,
            was_proved: false,
        }
    }

    /// Nothing more can be learnt: it is over, or its termination is in other hands.
    fn is_settled(&self) -> bool {
        self.is_unsafe
            || (self.cluster.found().is_some_and(|facts| facts.status.state.is_over())
                && self.findings.iter().all(|finding| finding.status != Status::Unknown || finding.not_there))
    }

    fn state(&self) -> Option<emr::ClusterState> {
        self.cluster.found().map(|facts| facts.status.state)
    }

    /// Whether there is reason to ask again what changes less often than a cluster's state: it was not answered, the state has changed, instances are on their way,
    /// or `pace` is over.
    fn needs_closer_look(&self, pace: Duration) -> bool {
        let Some(state) = self.state().filter(|_| !self.is_unsafe && !self.closer_look.under_way) else { return false };
        let answered = self.closer.bootstrap_actions.found().is_some() && self.closer.group_properties.found().is_some();
        let Some((at, before)) = self.closer_look.began.filter(|_| answered) else { return true };
        let waits_for_instances = state != emr::ClusterState::Starting
            && self.findings.iter().any(|finding| finding.not_there || finding.check.name == "cluster-volumes" && finding.status == Status::Unknown);
        !state.is_over() && (before != Some(state) || waits_for_instances || at.elapsed() >= pace)
    }

    /// Whether it may be alive, for all that is known.
    fn may_live(&self) -> bool {
        !self.cluster.found().is_some_and(|facts| facts.status.state.is_over())
    }

    /// Its id and whether it is protected against termination, unless it is over.
    pub(crate) fn living(&self) -> Option<(ClusterId, bool)> {
        self.may_live().then(|| (self.id.clone(), self.cluster.found().is_some_and(|facts| facts.termination_protected)))
    }

    /// Whether the guard has asked for its end.
    pub(crate) fn must_end(&self) -> bool {
        self.is_unsafe || self.ended_by_stop
    }

    /// What makes a look worth a quick next one.
    fn shape(&self) -> (ClusterId, Option<emr::ClusterState>, usize) {
        (self.id.clone(), self.cluster.found().map(|facts| facts.status.state), self.steps.found().map_or(0, Vec::len))
    }

    fn look(&self) -> Look {
        Look {
            cluster: self.cluster.clone(),
            steps: self.steps.clone(),
            security_configuration: self.security_configuration.clone(),
            closer: self.closer.clone(),
        }
    }

    /// Whether it may be alive, and nobody knows whether it is what was verified. How it ends is another question.
    fn is_unjudged(&self) -> bool {
        let counts = |finding: &Finding| finding.check.stage == Stage::Watch && finding.level == Level::Required && !finding.not_there;
        let is_open = |finding: &Finding| counts(finding) && finding.status == Status::Unknown;
        self.may_live() && !self.is_unsafe && (self.findings.is_empty() || self.findings.iter().any(is_open))
    }

    /// Whether every required finding is proved.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        let mut required = self.findings.iter().filter(|finding| finding.level == Level::Required).peekable();
        required.peek().is_some() && required.all(|finding| matches!(finding.status, Status::Proved | Status::NotApplicable))
    }

    /// Whether every required finding is proved of which there is anything to see.
    fn is_proved_so_far(&self) -> bool {
        let mut required = self.findings.iter().filter(|finding| finding.level == Level::Required).peekable();
        required.peek().is_some() && required.all(|finding| matches!(finding.status, Status::Proved | Status::NotApplicable) || finding.not_there)
    }
}

/// One closer look at a cluster of which `known` is known already; with a look at its volumes, if so wanted.
async fn look_closer(aws: &Aws, id: &ClusterId, known: Closer, volumes: bool) -> Closer {
    let bootstrap_actions = async {
        match known.bootstrap_actions {
            // They belong to the request, which nobody can change.
            found @ Lookup::Found(_) => found,
            _ => emr::bootstrap_actions(&aws.emr, id).await,
        }
    };
    let nodes = async { if volumes { Some(look_at_volumes(aws, id).await) } else { None } };
    let (bootstrap_actions, group_properties, nodes) = tokio::join!(bootstrap_actions, emr::group_properties(&aws.emr, id), nodes);
    let mut closer = Closer { bootstrap_actions, group_properties, nodes: known.nodes, volumes_asked: known.volumes_asked, volumes: known.volumes };
    if let Some((nodes, volumes)) = nodes {
        closer.nodes = nodes;
        closer.volumes.extend(volumes.found().into_iter().flatten().map(|volume| (volume.id.clone(), volume.clone())));
        closer.volumes_asked = volumes.map(|_| ());
    }
    closer
}

/// The instances that a cluster has now, and their volumes.
async fn look_at_volumes(aws: &Aws, id: &ClusterId) -> (Lookup<Vec<emr::Node>>, Lookup<Vec<ec2::Volume>>) {
    let nodes = emr::nodes(&aws.emr, id).await;
    let instances: Vec<String> = nodes.found().into_iter().flatten().filter_map(|node| node.instance.clone()).collect();
    // A filter without values is refused.
    let volumes = if instances.is_empty() { Lookup::Found(Vec::new()) } else { ec2::volumes(&aws.ec2, &instances).await };
    (nodes, volumes)
}

/// Whether a cluster that was not there before the launch is this run's.
///
/// The tag decides. A cluster of the right name that the runner's log names, and that no other guard's run claims, counts too: a runner that lost the tag must
/// not thereby lose its watch. The log alone decides nothing, because text in a config can forge a line. In persistent mode the runner goes by
/// the name alone, so the guard does too.
fn is_ours(pursuit: &Pursuit, cluster: &ClusterFacts, hinted: bool) -> bool {
    let right_name = cluster.name == pursuit.job_name;
    match &pursuit.tag {
        None => right_name,
        Some(_) if pursuit.persistent => right_name,
        Some((key, value)) => match cluster.tags.get(key) {
            Some(other) => other == value,
            None => right_name && hinted,
        },
    }
}

/// The time until the next look: it grows by half with each look that shows nothing new, up to 36 times the first; while no cluster is
/// known yet, only up to three times, because an unsafe one must not run long unseen.
fn interval(first: Duration, quiet: u32, found_any: bool) -> Duration {
    let most = if found_any { 36.0 } else { 3.0 };
    first.mul_f64(1.5_f64.powf(f64::from(quiet.min(32))).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{ClusterState, ClusterStatus};

    fn pursuit(tag: bool) -> Pursuit {
        Pursuit {
            verified: Verified {
                name: "sc".to_owned(),
                created: OffsetDateTime::UNIX_EPOCH,
                digest: String::new(),
                release: crate::names::ReleaseLabel::new(5, 29, 0),
                subnet: None,
                asked: None,
                ebs: None,
            },
            policy: Policy {
                require: vec![],
                accept_encryption: vec![],
                expected_keys: vec![],
                external_buckets: vec![],
                advise: vec![],
                enforce: vec![],
                certificate_days: 30,
                data_objects: 0,
                confirm_objects: None,
                on_unencrypted: crate::settings::OnUnencrypted::default(),
                exceptions: vec![],
            },
            job_name: "Snowplow ETL".to_owned(),
            persistent: false,
            tag: tag.then(|| ("run".to_owned(), "this".to_owned())),
            earlier_clusters: BTreeSet::new(),
            adopted: BTreeMap::new(),
        }
    }

    fn cluster(name: &str, tag: Option<&str>) -> ClusterFacts {
        ClusterFacts {
            id: "j-1".parse().unwrap(),
            name: name.to_owned(),
            status: ClusterStatus { state: ClusterState::Starting, reason: None, created: OffsetDateTime::UNIX_EPOCH },
            release: None,
            subnet: None,
            security_configuration: None,
            tags: tag.map(|tag| ("run".to_owned(), tag.to_owned())).into_iter().collect(),
            termination_protected: false,
            log_location: None,
            properties: Vec::new(),
            service_role: None,
            instance_profile: None,
            was_ready: false,
            custom_ami: None,
        }
    }

    #[test]
    fn the_tag_decides_whose_a_cluster_is_and_the_log_alone_never_does() {
        let with_tag = pursuit(true);
        assert!(is_ours(&with_tag, &cluster("Snowplow ETL", Some("this")), false));
        assert!(!is_ours(&with_tag, &cluster("Snowplow ETL", Some("other")), true), "another guard's run");
        assert!(!is_ours(&with_tag, &cluster("Snowplow ETL", None), false), "somebody else's of the same name");
        assert!(is_ours(&with_tag, &cluster("Snowplow ETL", None), true), "named by the log, tag lost");
        assert!(!is_ours(&with_tag, &cluster("Payroll", None), true), "a forged line");
        let persistent = Pursuit { persistent: true, ..pursuit(true) };
        assert!(is_ours(&persistent, &cluster("Snowplow ETL", Some("other")), false), "the runner would use it");
        assert!(!is_ours(&persistent, &cluster("Payroll", None), true));
        assert!(is_ours(&pursuit(false), &cluster("Snowplow ETL", None), false));
        assert!(!is_ours(&pursuit(false), &cluster("Payroll", None), true));
    }

    #[test]
    fn looks_slow_down_while_nothing_changes_but_not_before_a_cluster_is_known() {
        let first = Duration::from_secs(5);
        assert_eq!(interval(first, 0, true), first);
        assert_eq!(interval(first, 1, true), Duration::from_millis(7500));
        assert_eq!(interval(first, 100, true), Duration::from_secs(180));
        assert_eq!(interval(first, 100, false), Duration::from_secs(15));
    }
}

//! The watch: finds every cluster of the run, compares each with what was verified, and has an
//! unsafe one terminated at once.
//!
//! Clusters are found through ListClusters and told apart by the run's tag; the runner's log, and
//! events that EMR sends, are hints that speed a look up and are never trusted alone. One list
//! tells the states of all of the run's clusters, so that what is known of one is asked again only
//! when there is reason to, and the runner keeps its share of EMR's quotas. Clusters that somebody
//! names to `watch` are watched the same way, but not searched for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    aws::clients::Aws,
    base::{lookup::Lookup, names::ClusterId},
    checks::{
        clusters::{self, ExpectedEnd},
        finding::{Level, Status, apply_policy},
        verified::{ClusterDetails, ClusterObservation, Origin, VerifiedConfiguration},
    },
    evidence::{
        journal::{ClusterSelector, Journal, JournalEntry, UnfinishedRun},
        timeline::Timeline,
    },
    facts::{
        ec2,
        emr::{self, ClusterFacts, ClusterStatus},
    },
    settings::watch_options::{OnStop, TerminationRules, WatchLimits},
    watch::{
        events::{Hint, WatchEvent},
        ownership::{Ownership, is_ours, whose},
        pace::{GROUPS, PollPace, PollReason, STEPS},
        queue,
        records::{ClusterRecord, ClusterSummary, Depth, DetailPoll, Orphan, WatchResult},
        terminate::{
            self, ClusterTermination, TerminationDecision, TerminationReason, TerminationResult,
            decide,
        },
    },
};

/// What the watch needs to know of the run.
#[derive(Clone, Debug)]
pub(crate) struct WatchPlan {
    pub(crate) pursuit: ClusterSelector,
    /// Clusters of this run that an earlier guard knew.
    pub(crate) known: BTreeSet<ClusterId>,
    /// Since when clusters are searched for, where that is longer ago than the last hour.
    pub(crate) since: Option<OffsetDateTime>,
    pub(crate) limits: WatchLimits,
    /// What may be ended.
    pub(crate) rules: TerminationRules,
    /// The clusters that somebody named to `watch`, with what each must be; where there are any, no
    /// others are searched for.
    pub(crate) attached: BTreeMap<ClusterId, VerifiedConfiguration>,
    /// A queue that brings what EMR tells EventBridge, by its URL.
    pub(crate) queue: Option<String>,
    /// Whether a watch on these is over once they are idle.
    pub(crate) until_idle: bool,
}

impl WatchPlan {
    /// The plan of a run that an earlier guard left open. Nobody will look at its clusters again,
    /// so what cannot be judged soon counts as unsafe.
    pub(crate) fn resumed(
        run: &UnfinishedRun,
        limits: WatchLimits,
        rules: TerminationRules,
    ) -> Self {
        let prepared = run.prepared.clone();
        Self {
            pursuit: prepared.pursuit,
            known: run.clusters.clone(),
            since: Some(prepared.started - time::Duration::hours(1)),
            limits: WatchLimits {
                judge_within: limits.judge_within.min(limits.interval * 4),
                ..limits
            },
            rules,
            attached: BTreeMap::new(),
            // Nobody waits for what an open run's clusters do next.
            queue: None,
            until_idle: false,
        }
    }
}

/// A watch under way.
pub(crate) struct ActiveWatch {
    pub(crate) hints: mpsc::UnboundedSender<Hint>,
    pub(crate) events: mpsc::UnboundedReceiver<WatchEvent>,
    /// The clusters as they were last seen, for whoever shows them.
    pub(crate) seen: watch::Receiver<Vec<ClusterSummary>>,
    /// Set once the guard was told to stop.
    pub(crate) stop: watch::Sender<Option<Stop>>,
    finish: oneshot::Sender<Finish>,
    task: JoinHandle<WatchResult>,
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
    /// When it must be gone. What is not done by then is the next start's; and since nobody watches
    /// until then, what cannot be judged by then must end.
    pub(crate) by: Instant,
    /// As in [`Finish`].
    pub(crate) terminate: bool,
}

/// Starts watching.
pub(crate) fn start(
    aws: Aws,
    plan: WatchPlan,
    journal: Option<Journal>,
    timeline: Timeline,
) -> ActiveWatch {
    let (hints, hints_received) = mpsc::unbounded_channel();
    let (events_sent, events) = mpsc::unbounded_channel();
    let (finish, finish_received) = oneshot::channel();
    let (stop, stop_seen) = watch::channel(None);
    let (glances, seen) = watch::channel(Vec::new());
    let listening = plan.queue.clone().map(|queue| {
        let job_name = plan.attached.is_empty().then(|| plan.pursuit.job_name.clone());
        let clusters = plan.attached.keys().chain(plan.pursuit.adopted.keys()).cloned().collect();
        let interest = queue::EventFilter { job_name, clusters };
        tokio::spawn(queue::listen(
            aws.clone(),
            queue,
            interest,
            plan.limits.interval,
            hints.clone(),
            events_sent.clone(),
        ))
    });
    let watch = Watch {
        listening: listening.map(|task| task.abort_handle()),
        pace: PollPace::new(plan.limits.interval),
        throttled: aws.emr_throttled.count(),
        aws,
        hinted: plan.known.clone(),
        pushed: BTreeSet::new(),
        plan,
        journal,
        timeline,
        is_done: false,
        events: events_sent,
        glances,
        clusters: BTreeMap::new(),
        unrelated_clusters: BTreeSet::new(),
        undecided: BTreeSet::new(),
        closer_looks: JoinSet::new(),
        terminations: JoinSet::new(),
        search_trouble: None,
    };
    ActiveWatch {
        hints,
        events,
        seen,
        stop,
        finish,
        task: tokio::spawn(watch.run(hints_received, finish_received, stop_seen)),
    }
}

impl ActiveWatch {
    /// Makes the last looks, waits for terminations, and gives the record. `stopped` gives the
    /// stops that are asked for meanwhile; what must be known at once goes to `tell`.
    ///
    /// # Errors
    /// When the watch itself died, which is a bug.
    pub(crate) async fn finish(
        self,
        finish: Finish,
        mut stopped: impl AsyncFnMut() -> Stop,
        tell: impl Fn(&WatchEvent),
    ) -> anyhow::Result<WatchResult> {
        // The watch ends only by this message, so a send can fail only if it died; the join says
        // how.
        let _ = self.finish.send(finish);
        drop(self.hints);
        let (mut task, mut events) = (self.task, self.events);
        loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => tell(&event),
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
    plan: WatchPlan,
    /// None where the clusters are no run's of this guard.
    journal: Option<Journal>,
    pace: PollPace,
    /// How often EMR had asked to slow down by the last look.
    throttled: u64,
    timeline: Timeline,
    /// Who listens to the queue.
    listening: Option<AbortHandle>,
    /// Whether the end of all that was named to `watch` has been told.
    is_done: bool,
    events: mpsc::UnboundedSender<WatchEvent>,
    glances: watch::Sender<Vec<ClusterSummary>>,
    clusters: BTreeMap<ClusterId, ClusterRecord>,
    /// Clusters of the same name that belong to somebody else.
    unrelated_clusters: BTreeSet<ClusterId>,
    hinted: BTreeSet<ClusterId>,
    /// Clusters that events of EMR named.
    pushed: BTreeSet<ClusterId>,
    undecided: BTreeSet<ClusterId>,
    /// Looks at what is asked less often; they run beside the others, so that no judgement waits
    /// for them.
    closer_looks: JoinSet<(ClusterId, ClusterDetails)>,
    terminations: JoinSet<(ClusterId, TerminationResult)>,
    search_trouble: Option<String>,
}

impl Watch {
    async fn run(
        mut self,
        mut hints: mpsc::UnboundedReceiver<Hint>,
        mut finish: oneshot::Receiver<Finish>,
        stop: watch::Receiver<Option<Stop>>,
    ) -> WatchResult {
        for id in self.plan.pursuit.adopted.keys().cloned().collect::<Vec<_>>() {
            self.add(id, ADOPTED, Ownership::Adopted);
        }
        for id in self.plan.attached.keys().cloned().collect::<Vec<_>>() {
            self.add(id, "attached", Ownership::Attached);
        }
        let first =
            if self.clusters.is_empty() { self.plan.limits.interval } else { Duration::ZERO };
        let mut next = Instant::now() + first;
        let finish = loop {
            tokio::select! {
                biased;
                end = &mut finish => break end,
                Some(hint) = hints.recv() => {
                    self.take(hint);
                    // A burst of hints is one look: whatever else has already arrived belongs to
                    // it.
                    while let Ok(more) = hints.try_recv() {
                        self.take(more);
                    }
                    next = next.min(Instant::now() + self.pause_after_hint());
                }
                () = sleep_until(next) => {
                    self.look(Depth::Due).await;
                    next = Instant::now() + self.pause();
                }
                Some(looked) = self.closer_looks.join_next() => {
                    self.record_details(looked);
                    // What it has told is reason for another pace.
                    next = Instant::now() + self.pause();
                }
                Some(ended) = self.terminations.join_next() => self.record_end(ended),
            }
            self.notify_done();
        };
        // The last lines of a short run may have come while a look was under way: the end must not
        // pass them by.
        while let Ok(hint) = hints.try_recv() {
            self.take(hint);
        }
        // A dropped sender means that the guard is going down; then the most careful end is meant.
        let finish = finish.unwrap_or(Finish {
            expected: ExpectedEnd::Failed,
            settle: None,
            terminate: false,
        });
        let mut stop_asked = stop.clone();
        // The last looks are made anyway.
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        tokio::select! {
            () = async {
                self.final_polls(finish).await;
                if stop.borrow().is_none() {
                    self.find_orphans(finish).await;
                }
            } => {}
            () = wait_until_time_is_short(&mut stop_asked) => {
                self.judge_ends(finish.expected);
                self.mark_unverified_unsafe();
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
        WatchResult {
            clusters: self.clusters.into_values().collect(),
            search_trouble: self.search_trouble,
            undecided: self.undecided.into_iter().collect(),
        }
    }

    fn take(&mut self, hint: Hint) {
        match hint {
            Hint::Cluster(id) => {
                // Without the log's word it may have been taken for somebody else's.
                self.unrelated_clusters.remove(&id);
                self.hinted.insert(id);
            }
            Hint::Activity => {
                self.clusters.values_mut().for_each(|record| record.steps_told = None);
            }
            Hint::Event(id) => {
                self.pushed.insert(id);
            }
        }
    }

    /// A cluster just named is looked at at once, as is one of which EMR has just told; steps being
    /// added one by one are looked at together.
    fn pause_after_hint(&self) -> Duration {
        let tells = |id: &ClusterId| {
            self.clusters.get(id).map_or_else(|| self.is_new(id), |record| !record.is_settled())
        };
        let named = self.hinted.iter().any(|id| self.is_new(id)) || self.pushed.iter().any(tells);
        if named { Duration::ZERO } else { self.plan.limits.interval }
    }

    /// The pause until the next look.
    fn pause(&mut self) -> Duration {
        let count = self.aws.emr_throttled.count();
        let throttled = count > std::mem::replace(&mut self.throttled, count);
        let need = self.need();
        self.pace.pause(need, throttled)
    }

    fn need(&self) -> PollReason {
        let mut open = self.clusters.values().filter(|record| !record.is_settled()).peekable();
        if !self.undecided.is_empty()
            || self.search_trouble.is_some()
            || self.clusters.values().any(ClusterRecord::is_unverified)
        {
            PollReason::Judgement
        } else if self.clusters.is_empty() {
            PollReason::Search
        } else if open.peek().is_some() && open.any(ClusterRecord::is_starting) {
            PollReason::Start
        } else {
            PollReason::Nothing
        }
    }

    /// Says once that nothing is left to watch, where somebody named what is watched.
    fn notify_done(&mut self) {
        let idle = self.plan.until_idle;
        let done = !self.plan.attached.is_empty()
            && self.clusters.values().all(|record| record.is_done(idle));
        if done && !std::mem::replace(&mut self.is_done, true) {
            let _ = self.events.send(WatchEvent::Done);
        }
    }

    async fn final_polls(&mut self, finish: Finish) {
        self.look_at_everything().await;
        if let Some(settle) = finish.settle {
            sleep(settle).await;
            self.look_at_everything().await;
        }
        self.follow_ends().await;
        self.poll_until_passed(finish.expected).await;
    }

    /// Searches, describes and judges once, the closer looks included.
    async fn look_at_everything(&mut self) {
        self.look(Depth::Everything).await;
        while let Some(looked) = self.closer_looks.join_next().await {
            self.record_details(looked);
        }
    }

    /// Waits for the terminations under way.
    async fn follow_ends(&mut self) {
        while let Some(ended) = self.terminations.join_next().await {
            self.record_end(ended);
        }
    }

    async fn poll_until_passed(&mut self, expected: ExpectedEnd) {
        // EMR takes a moment to show what the runner has just asked for; and no cluster that lives
        // is left before it is judged, or overdue and so unsafe.
        let mut pause = self.plan.limits.interval;
        for look in 0.. {
            self.judge_ends(expected);
            let is_reported = self.search_trouble.is_none() && self.undecided.is_empty();
            let mut safe = self.clusters.values().filter(|record| !record.is_unsafe);
            let has_passed = safe.all(|record| {
                record.has_passed() || (!record.may_be_alive() && record.has_passed_so_far())
            });
            if (is_reported && has_passed)
                || look >= 6 && !self.clusters.values().any(ClusterRecord::is_unverified)
            {
                break;
            }
            // Many runs can end at one hour: what EMR does not tell for that is asked for ever more
            // slowly.
            let count = self.aws.emr_throttled.count();
            let throttled = count > std::mem::replace(&mut self.throttled, count);
            pause = if throttled { pause * 2 } else { self.plan.limits.interval };
            sleep(pause).await;
            self.look_at_everything().await;
            self.follow_ends().await;
        }
        self.judge_ends(expected);
    }

    /// Ends, as unsafe, the clusters that live and could not be judged.
    fn mark_unverified_unsafe(&mut self) {
        let condemned: Vec<ClusterId> = self
            .clusters
            .values()
            .filter(|record| record.is_unverified())
            .map(|record| record.id.clone())
            .collect();
        for id in condemned {
            self.timeline.note(format!("{id}: cannot be judged, and nobody will watch it"));
            self.end_unsafe(&id, TerminationReason::Unjudged);
        }
    }

    /// Notes the clusters that go on although nobody waits for them, and ends them where the
    /// settings say so.
    async fn find_orphans(&mut self, finish: Finish) {
        let persistent = self.plan.pursuit.persistent;
        let orphans: Vec<ClusterId> = self
            .clusters
            .values_mut()
            .filter_map(|record| record.becomes_orphan(persistent).then(|| record.id.clone()))
            .collect();
        let rules = self.plan.rules;
        for id in &orphans {
            self.timeline.note(format!("{id}: goes on, and nobody waits for it"));
            if decide(Ownership::Run, TerminationReason::Orphaned, rules)
                == TerminationDecision::End
            {
                if let Some(record) = self.clusters.get_mut(id) {
                    record.orphan = Some(Orphan::Ended);
                }
                self.spawn_ending(id, TerminationDecision::End);
            }
        }
        if !orphans.is_empty() {
            self.follow_ends().await;
            self.look_at_everything().await;
        }
        self.judge_ends(finish.expected);
        for record in self
            .clusters
            .values_mut()
            .filter(|record| record.whose == Ownership::Run && !record.is_unsafe)
        {
            let mut orphaned = [clusters::judge_orphan(
                record.id.as_str(),
                &record.cluster,
                record.orphan.is_some(),
            )];
            apply_policy(&mut orphaned, &self.plan.pursuit.policy);
            // The finding on its end stays the last one.
            let at = record.findings.len().saturating_sub(1);
            record.findings.splice(at..at, orphaned);
        }
    }

    /// Ends the clusters that are what was verified and may be ended for a stop.
    fn end_verified(&mut self) {
        let rules = TerminationRules { on_stop: OnStop::Terminate, ..self.plan.rules };
        let ends = |record: &&ClusterRecord| {
            record.may_be_alive()
                && !record.must_end()
                && decide(record.whose, TerminationReason::Stopped, rules)
                    == TerminationDecision::End
        };
        let verified: Vec<ClusterId> =
            self.clusters.values().filter(ends).map(|record| record.id.clone()).collect();
        for id in verified {
            self.timeline.note(format!("{id}: terminating it, because the run was stopped"));
            if let Some(record) = self.clusters.get_mut(&id) {
                record.ended_by_stop = true;
            }
            self.spawn_ending(&id, TerminationDecision::End);
        }
    }

    fn judge_ends(&mut self, expected: ExpectedEnd) {
        for record in self.clusters.values_mut().filter(|record| !record.is_unsafe) {
            let end = clusters::judge_end(record.id.as_str(), &record.look(), expected);
            record.findings.retain(|finding| finding.check.name != end.check.name);
            record.findings.push(end);
            // A run that came to nothing can leave nothing behind to look at; one that succeeded
            // cannot.
            if expected == ExpectedEnd::Failed {
                for finding in record.findings.iter_mut().filter(|finding| finding.not_there) {
                    finding.status = Status::NotApplicable;
                    finding.fix = None;
                }
            }
        }
    }

    fn record_end(
        &mut self,
        ended: Result<(ClusterId, TerminationResult), tokio::task::JoinError>,
    ) {
        match ended {
            Ok((id, end)) => {
                self.timeline.note(match &end {
                    TerminationResult::Confirmed => format!("{id}: its end is confirmed"),
                    TerminationResult::Unconfirmed(obstacle) => {
                        format!("{id}: its end is NOT confirmed: {obstacle}")
                    }
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

    /// Searches, and looks at what there is reason to look at; judges it.
    ///
    /// What only asking can tell is looked at beside the search, not after it: a cluster that the
    /// log named is judged one round trip later.
    async fn look(&mut self, depth: Depth) {
        let unlisted = |record: &&ClusterRecord| {
            !record.is_settled()
                && (depth == Depth::Everything
                    || record.cluster.found().is_none()
                    || !self.plan.attached.is_empty())
        };
        let open = self
            .clusters
            .values()
            .filter(unlisted)
            .map(|record| (record.id.clone(), self.wants(record, None, depth)));
        let named = self
            .hinted
            .iter()
            .chain(&self.pushed)
            .filter(|id| self.is_new(id))
            .collect::<BTreeSet<_>>();
        let due: Vec<(ClusterId, PollRequest)> =
            open.chain(named.into_iter().map(|id| (id.clone(), PollRequest::ALL))).collect();
        let (listed, looks) = tokio::join!(self.search(), self.look_at_all(&due));
        let looked: BTreeSet<ClusterId> = due.iter().map(|(id, _)| id.clone()).collect();
        for ((id, _), look) in due.into_iter().zip(looks) {
            self.record_observation(&id, look);
        }
        if let Some(listed) = listed {
            let again = self.due_by(&listed, &looked, depth);
            let looks = self.look_at_all(&again).await;
            for ((id, _), look) in again.into_iter().zip(looks) {
                self.record_observation(&id, look);
            }
        }
        self.pushed.clear();
        self.start_detail_polls(depth);
    }

    /// All clusters of the time in question; none where nobody searches.
    async fn search(&self) -> Option<Lookup<Vec<emr::ClusterListing>>> {
        let searches = self.plan.attached.is_empty();
        if searches {
            Some(
                emr::list(&self.aws.emr, Some(self.plan.since.unwrap_or_else(emr::recently)), &[])
                    .await,
            )
        } else {
            None
        }
    }

    /// What is to be looked at by what the list says: clusters that are new, and those known of
    /// which it tells something else than was known, or nothing.
    fn due_by(
        &mut self,
        listed: &Lookup<Vec<emr::ClusterListing>>,
        looked: &BTreeSet<ClusterId>,
        depth: Depth,
    ) -> Vec<(ClusterId, PollRequest)> {
        let mut due: Vec<(ClusterId, PollRequest)> =
            self.new_of(listed).into_iter().map(|id| (id, PollRequest::ALL)).collect();
        let status = |id: &ClusterId| {
            listed
                .found()
                .into_iter()
                .flatten()
                .find(|listing| listing.id == *id)
                .map(|listing| listing.status.clone())
        };
        let open: Vec<ClusterId> = self
            .clusters
            .values()
            .filter(|record| !record.is_settled() && !looked.contains(&record.id))
            .map(|record| record.id.clone())
            .collect();
        for id in open {
            let Some(record) = self.clusters.get(&id) else { continue };
            let status = status(&id);
            let wants = self.wants(record, status.as_ref(), depth);
            if let Some(status) = status.filter(|_| !wants.cluster) {
                let mut look = record.look();
                look.cluster = look.cluster.map(|facts| ClusterFacts { status, ..facts });
                self.judge(&id, look);
            }
            if wants.cluster || wants.steps {
                due.push((id, wants));
            }
        }
        due
    }

    /// What must be asked about a known cluster, of which the list says `status`.
    fn wants(
        &self,
        record: &ClusterRecord,
        status: Option<&ClusterStatus>,
        depth: Depth,
    ) -> PollRequest {
        let state = status.map(|status| status.state);
        let pushed = self.pushed.contains(&record.id);
        let changed = state != record.state();
        // Its end is told by itself alone; of all that comes before, the list knows as much.
        let cluster =
            state.is_none_or(emr::ClusterState::is_over) || record.cluster.found().is_none();
        let works = state.is_none_or(|state| {
            !matches!(state, emr::ClusterState::Starting | emr::ClusterState::Bootstrapping)
        });
        let told = record.steps.found().and(record.steps_told);
        let steps = told.is_none_or(|told| told.elapsed() >= self.plan.limits.interval * STEPS)
            || (changed && works && status.is_some())
            || pushed;
        match depth {
            Depth::Everything => PollRequest::ALL,
            Depth::Due => PollRequest { cluster, steps },
        }
    }

    /// Whether nothing is known of `id` yet.
    fn is_new(&self, id: &ClusterId) -> bool {
        !self.clusters.contains_key(id)
            && !self.unrelated_clusters.contains(id)
            && !self.plan.pursuit.earlier_clusters.contains(id)
    }

    /// The clusters of the right name in `listed` that are new.
    fn new_of(&mut self, listed: &Lookup<Vec<emr::ClusterListing>>) -> Vec<ClusterId> {
        self.search_trouble = match listed {
            Lookup::Found(_) | Lookup::Absent => None,
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => Some(obstacle.to_string()),
        };
        let listings = listed.found().into_iter().flatten();
        listings
            .filter(|listing| {
                listing.name == self.plan.pursuit.job_name && self.is_new(&listing.id)
            })
            .map(|listing| listing.id.clone())
            .collect()
    }

    async fn look_at_all(&self, due: &[(ClusterId, PollRequest)]) -> Vec<ClusterObservation> {
        join_all(due.iter().map(|(id, wants)| self.look_at(id, *wants))).await
    }

    /// Judges a look at a cluster of the run; of one that is new, decides first whether it is.
    fn record_observation(&mut self, id: &ClusterId, look: ClusterObservation) {
        if !self.clusters.contains_key(id) {
            let hinted = self.hinted.contains(id);
            match &look.cluster {
                Lookup::Found(facts) if is_ours(&self.plan.pursuit, facts, hinted) => {
                    let pushed = self.pushed.contains(id);
                    let found_by = if hinted {
                        "log"
                    } else if pushed {
                        "event"
                    } else {
                        "list"
                    };
                    let whose = whose(&self.plan.pursuit, facts);
                    self.add(id.clone(), found_by, whose);
                }
                Lookup::Found(_) | Lookup::Absent => {
                    self.undecided.remove(id);
                    self.unrelated_clusters.insert(id.clone());
                    return;
                }
                // An event is nobody's word: where the cluster is there, the search finds it.
                Lookup::Denied(_) | Lookup::Unreachable(_)
                    if self.pushed.contains(id) && !hinted =>
                {
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
        let told = look.steps_asked.then(Instant::now);
        if let Some(record) = self.clusters.get_mut(id) {
            record.steps_told = told.or(record.steps_told);
        }
        self.judge(id, look);
    }

    fn add(&mut self, id: ClusterId, found_by: &'static str, whose: Ownership) {
        self.timeline.note(format!("{id}: found ({found_by})"));
        if let Some(journal) = self.journal.as_ref().filter(|_| !self.plan.known.contains(&id)) {
            journal.note(&JournalEntry::Cluster { id: id.clone() });
        }
        self.clusters.insert(id.clone(), ClusterRecord::new(id, found_by, whose));
    }

    /// What a cluster must be.
    fn verified(&self, id: &ClusterId) -> &VerifiedConfiguration {
        self.plan.attached.get(id).unwrap_or(&self.plan.pursuit.verified)
    }

    /// One look at one cluster: everything that is wanted at once.
    async fn look_at(&self, id: &ClusterId, wants: PollRequest) -> ClusterObservation {
        let known = self.clusters.get(id);
        let security_configuration = async {
            match known.and_then(|record| record.security_configuration.found()) {
                // A configuration in use cannot be deleted, so one answer about a living cluster is
                // enough.
                Some(found) => Lookup::Found(found.clone()),
                None => emr::security_configuration(&self.aws.emr, &self.verified(id).name).await,
            }
        };
        let cluster = async {
            match known.filter(|_| !wants.cluster) {
                Some(record) => record.cluster.clone(),
                None => emr::cluster(&self.aws.emr, id).await,
            }
        };
        let steps = async {
            match known.filter(|_| !wants.steps) {
                Some(record) => record.steps.clone(),
                None => emr::steps(&self.aws.emr, id).await,
            }
        };
        let (cluster, mut steps, security_configuration) =
            tokio::join!(cluster, steps, security_configuration);
        let mut steps_asked = wants.steps;
        // How its steps ended counts, too, and nobody asks again after this.
        if !steps_asked && cluster.found().is_some_and(|facts| facts.status.state.is_over()) {
            steps = emr::steps(&self.aws.emr, id).await;
            steps_asked = true;
        }
        // Steps that an adopted cluster had before are not this run's.
        let earlier = self.plan.pursuit.adopted.get(id);
        let steps = steps.map(|steps| {
            steps
                .into_iter()
                .filter(|step| !earlier.is_some_and(|earlier| earlier.contains(&step.id)))
                .collect()
        });
        let closer = known.map(|record| record.closer.clone()).unwrap_or_default();
        ClusterObservation { cluster, steps, security_configuration, closer, steps_asked }
    }

    /// Starts a closer look at each cluster for which one is due.
    fn start_detail_polls(&mut self, depth: Depth) {
        let pace = self.plan.limits.interval * GROUPS;
        let Self { clusters, plan, .. } = self;
        let due = |record: &&mut ClusterRecord| record.needs_detail_poll(pace, depth);
        for record in clusters.values_mut().filter(due) {
            let state = record.state();
            let groups = depth == Depth::Everything
                || record.closer.group_properties.found().is_none()
                || record.closer_look.groups.is_none_or(|asked| asked.elapsed() >= pace);
            let now = Instant::now();
            let last = if groups { Some(now) } else { record.closer_look.groups };
            record.closer_look =
                DetailPoll { began: Some((now, state)), under_way: true, groups: last };
            let (aws, id, known) = (self.aws.clone(), record.id.clone(), record.closer.clone());
            let wants_volumes =
                plan.attached.get(&id).unwrap_or(&plan.pursuit.verified).ebs.is_some();
            // While it is STARTING there are none, and once it is over none are left.
            let volumes = wants_volumes
                && state
                    .is_some_and(|state| state != emr::ClusterState::Starting && !state.is_over());
            self.closer_looks.spawn(async move {
                let closer = poll_details(&aws, &id, known, groups, volumes).await;
                (id, closer)
            });
        }
    }

    fn record_details(
        &mut self,
        looked: Result<(ClusterId, ClusterDetails), tokio::task::JoinError>,
    ) {
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

    fn judge(&mut self, id: &ClusterId, look: ClusterObservation) {
        let Some(record) = self.clusters.get_mut(id) else { return };
        let origin =
            match (self.plan.attached.contains_key(id), self.plan.pursuit.adopted.contains_key(id))
            {
                (true, _) => Origin::Attached,
                (false, true) => Origin::Adopted,
                (false, false) => Origin::Run,
            };
        let verified = self.plan.attached.get(id).unwrap_or(&self.plan.pursuit.verified);
        let mut findings = clusters::judge(
            id.as_str(),
            &look,
            verified,
            origin,
            &self.plan.pursuit.policy.require,
        );
        apply_policy(&mut findings, &self.plan.pursuit.policy);
        let required = || findings.iter().filter(|finding| finding.level == Level::Required);
        let failed = required().any(|finding| finding.status == Status::Failed);
        record.unknown_since = required()
            .any(|finding| finding.status == Status::Unknown && !finding.not_there)
            .then(|| record.unknown_since.unwrap_or_else(Instant::now));
        let overdue = record
            .unknown_since
            .is_some_and(|since| since.elapsed() > self.plan.limits.judge_within);
        record.findings = findings;
        if let Some(facts) = look.cluster.found() {
            self.timeline.saw(id, &facts.status);
        }
        record.cluster = look.cluster;
        record.steps = look.steps;
        record.security_configuration = look.security_configuration;
        if record.has_passed_so_far() && !std::mem::replace(&mut record.was_proved, true) {
            let waiting = if record.has_passed() { "" } else { ", as far as it is there yet" };
            self.timeline.note(format!("{id}: is what was verified{waiting}"));
        }
        if (failed || overdue) && !record.is_unsafe {
            self.timeline.note(format!("{id}: is UNSAFE"));
            self.end_unsafe(id, TerminationReason::Unsafe);
        }
        self.publish();
    }

    fn publish(&self) {
        self.glances.send_replace(self.clusters.values().map(ClusterSummary::of).collect());
    }

    fn end_unsafe(&mut self, id: &ClusterId, why: TerminationReason) {
        let Some(record) = self.clusters.get_mut(id) else { return };
        let decision = decide(record.whose, why, self.plan.rules);
        if decision == TerminationDecision::Leave {
            return;
        }
        record.is_unsafe = true;
        let _ = self.events.send(WatchEvent::Unsafe(
            id.clone(),
            record.findings.clone(),
            decision == TerminationDecision::End,
        ));
        if record.may_be_alive() {
            self.spawn_ending(id, decision);
        } else {
            record.end = Some(TerminationResult::Confirmed);
        }
    }

    /// Has a cluster ended, or has its end waited for where only a person may bring it about.
    fn spawn_ending(&mut self, id: &ClusterId, decision: TerminationDecision) {
        let Some(record) = self.clusters.get(id) else { return };
        let protected = record.cluster.found().is_some_and(|facts| facts.termination_protected);
        let (whose, is_unsafe) = (record.whose, record.is_unsafe);
        let (aws, id, WatchLimits { interval, termination, .. }, timeline) =
            (self.aws.clone(), id.clone(), self.plan.limits, self.timeline.clone());
        self.timeline.note(match decision {
            TerminationDecision::End => format!("{id}: terminating it"),
            TerminationDecision::Ask | TerminationDecision::Leave => {
                format!(
                    "{id}: waiting for somebody to end it; {}",
                    terminate::not_permitted_reason(whose)
                )
            }
        });
        let (events, asked) = (self.events.clone(), id.clone());
        let help = move |obstacle: &str| {
            let _ = events.send(WatchEvent::Help(asked.clone(), is_unsafe, obstacle.to_owned()));
        };
        self.terminations.spawn(async move {
            let ending = ClusterTermination {
                aws: &aws,
                cluster: &id,
                whose,
                protected,
                pace: interval,
                limit: termination,
                timeline: &timeline,
            };
            let end = ending.follow(decision, &help).await;
            (id, end)
        });
    }
}

/// What one look at a cluster asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PollRequest {
    cluster: bool,
    steps: bool,
}

impl PollRequest {
    const ALL: Self = Self { cluster: true, steps: true };
}

/// Waits for a stop, and then for the last third of its time: what it takes to ask for terminations
/// and to see some of them through.
async fn wait_until_time_is_short(stop: &mut watch::Receiver<Option<Stop>>) {
    let Some(by) =
        stop.wait_for(Option::is_some).await.ok().and_then(|stop| stop.map(|stop| stop.by))
    else {
        return std::future::pending().await;
    };
    let left = by.saturating_duration_since(Instant::now());
    sleep_until(by - left / 3).await;
}

/// How a cluster was found that was there before the run.
const ADOPTED: &str = "adopted";

/// One closer look at a cluster of which `known` is known already; with a look at its groups and
/// its volumes, if so wanted.
async fn poll_details(
    aws: &Aws,
    id: &ClusterId,
    known: ClusterDetails,
    groups: bool,
    volumes: bool,
) -> ClusterDetails {
    let bootstrap_actions = async {
        match known.bootstrap_actions {
            // They belong to the request, which nobody can change.
            found @ Lookup::Found(_) => found,
            _ => emr::bootstrap_actions(&aws.emr, id).await,
        }
    };
    let group_properties = async {
        if groups { emr::group_properties(&aws.emr, id).await } else { known.group_properties }
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

/// The instances that a cluster has now, and their volumes.
async fn fetch_volumes(
    aws: &Aws,
    id: &ClusterId,
) -> (Lookup<Vec<emr::ClusterInstance>>, Lookup<Vec<ec2::Volume>>) {
    let nodes = emr::nodes(&aws.emr, id).await;
    let instances: Vec<String> =
        nodes.found().into_iter().flatten().filter_map(|node| node.instance.clone()).collect();
    // A filter without values is refused.
    let volumes = if instances.is_empty() {
        Lookup::Found(Vec::new())
    } else {
        ec2::volumes(&aws.ec2, &instances).await
    };
    (nodes, volumes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::emr::{ClusterState, ClusterStatus};
    use crate::settings::policy::Policy;

    fn pursuit(tag: bool) -> ClusterSelector {
        ClusterSelector {
            verified: VerifiedConfiguration {
                name: "sc".to_owned(),
                created: OffsetDateTime::UNIX_EPOCH,
                digest: String::new(),
                release: Some(crate::base::names::ReleaseLabel::new(5, 29, 0)),
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
                on_unencrypted: crate::settings::policy::OnUnencrypted::default(),
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
            status: ClusterStatus {
                state: ClusterState::Starting,
                reason: None,
                created: OffsetDateTime::UNIX_EPOCH,
            },
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
        assert!(
            !is_ours(&with_tag, &cluster("Snowplow ETL", Some("other")), true),
            "another guard's run"
        );
        assert!(
            !is_ours(&with_tag, &cluster("Snowplow ETL", None), false),
            "somebody else's of the same name"
        );
        assert!(
            is_ours(&with_tag, &cluster("Snowplow ETL", None), true),
            "named by the log, tag lost"
        );
        assert!(!is_ours(&with_tag, &cluster("Payroll", None), true), "a forged line");
        let persistent = ClusterSelector { persistent: true, ..pursuit(true) };
        assert!(
            is_ours(&persistent, &cluster("Snowplow ETL", Some("other")), false),
            "the runner would use it"
        );
        assert!(!is_ours(&persistent, &cluster("Payroll", None), true));
        assert!(is_ours(&pursuit(false), &cluster("Snowplow ETL", None), false));
        assert!(!is_ours(&pursuit(false), &cluster("Payroll", None), true));
    }
}

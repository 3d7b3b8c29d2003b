//! Drives the account watcher: performs the state machine's actions in all places (requests,
//! terminations, entries of the ledger, notices) and passes their results back to it. What is known
//! of the clusters is stored and judged here; the state machine decides what follows from it.
//! Regions that are found or disabled meanwhile are in `driver/found.rs`.

mod found;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{
    aws::clients::Aws,
    base::{lookup::Lookup, names::ClusterId},
    checks::verified::ClusterDetails,
    evidence::timeline::Timeline,
    facts::emr::{self, ClusterListing},
    sentinel::{
        accounts::{AskedAccounts, all_regions},
        judge::{DetailKind, JudgeOptions, LookAnswers, LookKind, PlaceAccess, may_end},
        ledger::{SentinelLedger, SentinelLedgerError, key_of},
        numbers::{PlaceNumbers, SentinelNumbers},
        period::{PeriodEnd, PlaceSight, WatchedPeriod},
        places::{AccountRegion, ClusterKey, UnseenAccount, WatchedPlaces},
        pulse::Pulse,
        queue::{self, QueueEvent, SentinelQueue},
        record::{Launcher, SentinelActKind, SentinelCluster, SentinelVerdict},
        watched::WatchedCluster,
    },
    watch::{
        machine::{
            account::{
                event::{
                    AccountAction, AccountConclusion, AccountDescribed, AccountEntry, AccountEvent,
                    AccountList, AccountListed, AccountLook, AccountNotice, AccountQuestion,
                },
                plan::{AccountLimits, AccountPlan},
                watcher::AccountWatcher,
            },
            conclusion::Obstacle,
            event::{AwsAnswer, Judgement, Refusal, RefusalKind},
            time::{AwsTime, Moment},
        },
        terminate,
    },
};

/// How many questions are asked at once, in all places together. The state machine's budgets, which
/// are per place, come before that.
const AT_ONCE: usize = 64;
/// The time in which terminations are limited.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How many clusters' launchers are remembered that no list has shown yet.
const LAUNCHERS_REMEMBERED: usize = 1024;
/// Why a place counts as not seen in a time of which an earlier sentinel has written no report.
const NOT_REPORTED: &str = "a sentinel ran in this time, at least in part, and ended before it \
    could write a report";
/// The clusters on a page of ListClusters. Source: Amazon EMR API reference, ListClusters.
const LIST_PAGE: usize = 50;

/// What a sentinel is to do.
#[derive(Debug)]
pub(crate) struct SentinelPlan {
    /// The places, with their clients, and the accounts whose regions are asked again.
    pub(crate) places: WatchedPlaces,
    /// The queues with events.
    pub(crate) queues: Vec<SentinelQueue>,
    /// How clusters are judged.
    pub(crate) judge: JudgeOptions,
    /// The time limits.
    pub(crate) limits: AccountLimits,
    /// Each cluster is judged once.
    pub(crate) once: bool,
    /// How long a period lasts at most.
    pub(crate) report_every: Duration,
    /// The state of earlier sentinels.
    pub(crate) ledger: SentinelLedger,
    /// What was seen since then is in no report, since an earlier sentinel ended before it could
    /// write one.
    pub(crate) unreported_since: Option<OffsetDateTime>,
    /// Where the loop reports that it turns.
    pub(crate) pulse: Pulse,
}

/// What others must know at once.
#[derive(Debug)]
pub(crate) enum SentinelNotice {
    /// A cluster is as required, as far as that can be decided.
    Passed(Box<SentinelCluster>),
    /// A cluster is unsafe.
    Unsafe(Box<UnsafeNotice>),
    /// A cluster that was unsafe is not any more.
    Cleared(Box<SentinelCluster>),
    /// A cluster could not be judged in time.
    Unjudged(Box<UnsafeNotice>),
    /// A cluster would be terminated, but the limit per hour is reached.
    Limited(Box<SentinelCluster>),
    /// A cluster's termination is requested.
    Ending(Box<SentinelCluster>),
    /// Only a person can terminate it; why.
    Help(Box<SentinelCluster>, String),
    /// Its end is confirmed.
    EndConfirmed(Box<SentinelCluster>),
    /// Its end is not confirmed; why.
    EndUnconfirmed(Box<SentinelCluster>, String),
    /// It is over.
    Over(Box<SentinelCluster>),
    /// It is unknown from now on which clusters there are; why.
    SightLost(AccountRegion, String),
    /// It is known again.
    SightBack(AccountRegion),
    /// The regions of an account are known now, and watched: of one that could not be seen before,
    /// or regions that were enabled since.
    RegionsFound(String, Vec<AccountRegion>),
    /// A region cannot be used any more; how many clusters lived there.
    RegionGone(AccountRegion, usize),
    /// It is unknown whether an account has other regions by now; why.
    RegionsUnknown(UnseenAccount),
    /// A queue gives no events; why.
    QueueFailed(String, String),
    /// The ledger cannot be written; nothing is terminated until it can.
    LedgerFailed(SentinelLedgerError),
    /// A period has ended.
    Period(Box<WatchedPeriod>),
}

/// A cluster that is unsafe, or could not be judged.
#[derive(Debug)]
pub(crate) struct UnsafeNotice {
    /// The cluster.
    pub(crate) cluster: SentinelCluster,
    /// The rule says that an unsafe one is terminated.
    pub(crate) may_end: bool,
}

/// How a sentinel ended.
#[derive(Debug)]
pub(crate) struct SentinelEnd {
    /// The state machine's conclusion.
    pub(crate) conclusion: AccountConclusion<AccountRegion, ClusterId>,
    /// The last period.
    pub(crate) period: WatchedPeriod,
    /// The places of which it was reported that their clusters cannot be listed.
    told_lost: BTreeSet<AccountRegion>,
}

impl SentinelEnd {
    /// Whether it was reported that this cluster could not be judged.
    pub(crate) fn is_told(&self, key: &ClusterKey) -> bool {
        let told = |record: &SentinelCluster| {
            record.acts.iter().any(|act| act.what == SentinelActKind::ToldUnjudged)
        };
        self.record(key).is_some_and(told)
    }

    /// Whether it was reported that the clusters of this place cannot be listed.
    pub(crate) fn is_told_lost(&self, place: &AccountRegion) -> bool {
        self.told_lost.contains(place)
    }

    /// What can be reported about a cluster that could not be judged.
    pub(crate) fn unjudged_notice(&self, key: &ClusterKey) -> Option<UnsafeNotice> {
        let cluster = self.record(key)?.clone();
        Some(UnsafeNotice { cluster, may_end: false })
    }

    fn record(&self, key: &ClusterKey) -> Option<&SentinelCluster> {
        self.period.clusters.iter().find(|record| key_of(record) == *key)
    }
}

/// A running sentinel.
pub(crate) struct ActiveSentinel {
    /// Asks it to stop.
    pub(crate) stop: Option<oneshot::Sender<()>>,
    /// Its notices, in order.
    pub(crate) notices: mpsc::UnboundedReceiver<SentinelNotice>,
    /// Returns when it has ended.
    pub(crate) task: JoinHandle<SentinelEnd>,
}

type Event = AccountEvent<AccountRegion, ClusterId>;
type Action = AccountAction<AccountRegion, ClusterId>;

/// Starts a sentinel.
pub(crate) fn start(plan: SentinelPlan) -> ActiveSentinel {
    let (stop, stopped) = oneshot::channel();
    let (sender, notices) = mpsc::unbounded_channel();
    let driver = SentinelDriver::new(plan, sender);
    let task = tokio::spawn(driver.run(stopped));
    ActiveSentinel { stop: Some(stop), notices, task }
}

/// The result of an action.
enum Answered {
    Listed(AccountRegion, u64, ListAnswer),
    Looked(ClusterKey, Box<LookAnswers>, LookKind, u64),
    Detailed(ClusterKey, Box<ClusterDetails>),
    Terminated(ClusterKey, Lookup<()>),
    Unprotected(ClusterKey, Lookup<()>),
}

impl Answered {
    /// The place that it is about.
    fn place(&self) -> &AccountRegion {
        match self {
            Self::Listed(place, ..) => place,
            Self::Looked((place, _), ..)
            | Self::Detailed((place, _), _)
            | Self::Terminated((place, _), _)
            | Self::Unprotected((place, _), _) => place,
        }
    }
}

/// The answers to a list.
struct ListAnswer {
    clusters: Lookup<Vec<ClusterListing>>,
    at: Option<OffsetDateTime>,
    calls: usize,
}

struct SentinelDriver {
    machine: AccountWatcher<AccountRegion, ClusterId>,
    began: Instant,
    judge: Arc<JudgeOptions>,
    places: BTreeMap<AccountRegion, Arc<PlaceAccess>>,
    /// The accounts whose regions are asked again.
    accounts: AskedAccounts,
    queues: Vec<SentinelQueue>,
    /// How many of EMR's answers asked to slow down, as of the last event.
    throttled: BTreeMap<AccountRegion, u64>,
    ledger: SentinelLedger,
    ledger_failed: bool,
    pulse: Pulse,
    /// The numbers that count from the start on.
    counted: SentinelNumbers,
    /// Clusters whose termination could not be noted: it must not be requested.
    unnoted: Vec<ClusterKey>,
    clusters: BTreeMap<ClusterKey, WatchedCluster>,
    /// Clusters that are over, and whose last record could not be written to the ledger.
    unwritten: Vec<SentinelCluster>,
    /// The launchers of clusters that are not known yet.
    launchers: VecDeque<(ClusterKey, Launcher)>,
    /// What the list of the current event showed.
    listing: HashMap<ClusterId, ClusterListing>,
    notices: mpsc::UnboundedSender<SentinelNotice>,
    asked: JoinSet<Answered>,
    permits: Arc<Semaphore>,
    /// Events that need no answer of AWS.
    immediate: VecDeque<Event>,
    wake: Option<Instant>,
    sight: BTreeMap<AccountRegion, PlaceSight>,
    /// The places of which it was reported that their clusters cannot be listed.
    told_lost: BTreeSet<AccountRegion>,
    period_began: OffsetDateTime,
    /// The calls to EMR before the period, by operation, and how many answers asked to slow down.
    calls_before: (BTreeMap<String, u64>, u64),
    report_every: Duration,
    report_at: Instant,
    /// A termination has concluded since the last report.
    has_concluded: bool,
    concluded: Option<AccountConclusion<AccountRegion, ClusterId>>,
}

impl SentinelDriver {
    fn new(plan: SentinelPlan, notices: mpsc::UnboundedSender<SentinelNotice>) -> Self {
        let SentinelPlan { places, queues, judge, limits, once, report_every, ledger, .. } = plan;
        let (pulse, unreported_since) = (plan.pulse, plan.unreported_since);
        let WatchedPlaces { watched: places, unseen, discovered } = places;
        let now = OffsetDateTime::now_utc();
        let began = unreported_since.unwrap_or(now);
        let unseen_places = unseen.iter().map(|account| {
            let sight = PlaceSight::unseen(began, account.why.as_str(), false);
            (all_regions(account.account.as_str()), sight)
        });
        let seen_until = ledger.seen_until();
        let sight_of = |place: &AccountRegion| match unreported_since {
            Some(since) => PlaceSight::unseen(since, NOT_REPORTED, seen_until.contains_key(place)),
            None => PlaceSight::default(),
        };
        let sight = places.keys().map(|place| (place.clone(), sight_of(place)));
        let sight = sight.chain(unseen_places).collect();
        let machine = AccountWatcher::new(AccountPlan {
            places: places.keys().cloned().collect(),
            limits,
            once,
            seen_until: ledger.seen_until(),
            known: ledger.known(),
            over: ledger.over(),
            terminated: ledger.terminations(now),
            seed: fastrand::u64(..),
            #[cfg(feature = "mutants")]
            mutant: None,
        });
        let (clusters, elsewhere): (BTreeMap<_, _>, BTreeMap<_, _>) = recorded(&ledger, now)
            .into_iter()
            .partition(|((place, _), _)| places.contains_key(place));
        // One that judges once asks once.
        let discovered = if once { Vec::new() } else { discovered };
        let accounts = AskedAccounts::new(&unseen, discovered, limits.interval, now, elsewhere);
        Self {
            machine,
            began: Instant::now(),
            judge: Arc::new(judge),
            throttled: BTreeMap::new(),
            clusters,
            sight,
            told_lost: BTreeSet::new(),
            accounts,
            places: places
                .into_iter()
                .map(|(place, aws)| (place.clone(), Arc::new(PlaceAccess::new(aws, place))))
                .collect(),
            queues,
            ledger,
            ledger_failed: false,
            pulse,
            counted: SentinelNumbers::at_start(now, limits.terminations_per_hour),
            unnoted: Vec::new(),
            unwritten: Vec::new(),
            launchers: VecDeque::new(),
            listing: HashMap::new(),
            notices,
            asked: JoinSet::new(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            immediate: VecDeque::new(),
            wake: None,
            period_began: began,
            calls_before: (BTreeMap::new(), 0),
            report_every,
            report_at: Instant::now() + report_every,
            has_concluded: false,
            concluded: None,
        }
    }

    async fn run(mut self, mut stop: oneshot::Receiver<()>) -> SentinelEnd {
        let mut events = queue::listen(std::mem::take(&mut self.queues));
        let mut has_queues = true;
        let mut regions = self.accounts.ask();
        let mut can_stop = true;
        let actions = self.machine.start(self.now());
        self.perform(actions);
        while self.concluded.is_none() {
            self.turned();
            if let Some(event) = self.immediate.pop_front() {
                self.tell(event);
                continue;
            }
            tokio::select! {
                biased;
                _ = &mut stop, if can_stop => {
                    can_stop = false;
                    self.pulse.stopping();
                    self.tell(AccountEvent::StopAsked);
                }
                Some(answered) = self.asked.join_next() => match answered {
                    Ok(answered) => self.take(answered),
                    Err(error) => tracing::error!(%error, "a question to AWS died"),
                },
                event = events.recv(), if has_queues => match event {
                    Some(event) => self.hear(event),
                    None => has_queues = false,
                },
                Some(event) = regions.recv() => self.regions_answered(event),
                () = until(self.wake) => {
                    self.wake = None;
                    self.tell(AccountEvent::Woke);
                }
                () = self.pulse.beat() => {}
                () = sleep_until(self.report_at) => self.end_period(PeriodEnd::Schedule),
            }
        }
        self.end()
    }

    /// Reports that the loop turns, and how far it has come.
    fn turned(&mut self) {
        if self.pulse.turned() {
            let numbers = self.numbers();
            self.pulse.show(numbers);
        }
    }

    fn numbers(&self) -> SentinelNumbers {
        let mut numbers = self.counted.clone();
        numbers.places = self.places.keys().map(|place| self.place_numbers(place)).collect();
        let seen = self.places.keys().map(|place| (place.account.clone(), false));
        let unseen = self.accounts.unseen().map(|account| (account.to_owned(), true));
        numbers.accounts = seen.chain(unseen).collect();
        let living = self.clusters.values().filter(|cluster| cluster.is_found);
        for SentinelCluster { account, region, verdict, acts, .. } in
            living.map(|cluster| &cluster.record)
        {
            let place = numbers.places.entry((account.clone(), region.clone())).or_default();
            *place.living.entry(*verdict).or_default() += 1;
            let last = acts.iter().rev().map(|act| act.what);
            numbers.limited += u64::from(
                last.take_while(|act| *act != SentinelActKind::Terminated)
                    .any(|act| act == SentinelActKind::Limited),
            );
        }
        let now = OffsetDateTime::now_utc();
        let within_hour = self.ledger.terminations(now).into_iter().filter(|ago| *ago < HOUR);
        numbers.terminations_last_hour = u64::try_from(within_hour.count()).unwrap_or(u64::MAX);
        numbers.emr_calls = self.emr_calls();
        numbers.throttled = self.emr_throttled();
        numbers
    }

    /// A place without clusters. The age of its list is known to the health.
    fn place_numbers(&self, place: &AccountRegion) -> ((String, String), PlaceNumbers) {
        let is_unseen = self
            .sight
            .get(place)
            .and_then(|sight| sight.lost.last())
            .is_some_and(|lost| lost.until.is_none());
        let key = (place.account.clone(), place.region.clone());
        (key, PlaceNumbers { is_unseen, ..PlaceNumbers::default() })
    }

    fn now(&self) -> Moment {
        Moment(self.began.elapsed())
    }

    /// Passes an event to the state machine, and performs the actions that it returns.
    fn tell(&mut self, event: Event) {
        if let Some(place) = place_of(&event) {
            self.tell_throttled(&place);
        }
        let actions = self.machine.handle(self.now(), event);
        self.perform(actions);
        if std::mem::take(&mut self.has_concluded) {
            self.end_period(PeriodEnd::Termination);
        }
    }

    /// Tells the state machine that EMR has throttled requests in a place since its last event.
    fn tell_throttled(&mut self, place: &AccountRegion) {
        let Some(access) = self.places.get(place) else { return };
        let count = access.aws.emr_throttled.count();
        let before = self.throttled.insert(place.clone(), count).unwrap_or_default();
        if count > before {
            let event = AccountEvent::Throttled(place.clone());
            let actions = self.machine.handle(self.now(), event);
            self.perform(actions);
        }
    }

    /// Handles a message of a queue. Events about other places change nothing.
    fn hear(&mut self, event: QueueEvent) {
        match event {
            QueueEvent::Cluster(place, id, launcher) => {
                if !self.places.contains_key(&place) {
                    return;
                }
                let key = (place, id);
                if let Some(launcher) = launcher {
                    self.launched_by(&key, launcher);
                }
                self.tell(AccountEvent::Pushed(key.0, key.1));
            }
            QueueEvent::Failed(url, why) => self.say(SentinelNotice::QueueFailed(url, why)),
            QueueEvent::Works(url) => tracing::info!(url, "the queue gives events again"),
        }
    }

    fn launched_by(&mut self, key: &ClusterKey, launcher: Launcher) {
        if let Some(cluster) = self.clusters.get_mut(key) {
            cluster.launched_by(launcher);
            return;
        }
        if self.launchers.len() == LAUNCHERS_REMEMBERED {
            self.launchers.pop_front();
        }
        self.launchers.push_back((key.clone(), launcher));
    }

    /// Stores an answer, and passes it to the state machine.
    fn take(&mut self, answered: Answered) {
        if !self.places.contains_key(answered.place()) {
            // Its region was disabled meanwhile.
            return;
        }
        match answered {
            Answered::Listed(place, number, answer) => self.take_list(place, number, answer),
            Answered::Looked(key, answers, kind, number) => {
                let look = self.take_look(&key, *answers, kind, number);
                self.tell(AccountEvent::Looked(key.0.clone(), key.1.clone(), look));
                self.looked_at(&key);
            }
            Answered::Detailed(key, details) => {
                let cluster = self.cluster(&key);
                cluster.knowledge.take_details(*details);
                let judgement = self.judge(&key);
                self.tell(AccountEvent::Detailed(key.0.clone(), key.1.clone(), judgement));
                self.looked_at(&key);
            }
            Answered::Terminated(key, answer) => {
                let answer = terminate::refusal(&answer);
                self.tell(AccountEvent::TerminationAnswered(key.0, key.1, answer));
            }
            Answered::Unprotected(key, answer) => {
                let answer = terminate::refusal(&answer);
                self.tell(AccountEvent::ProtectionAnswered(key.0, key.1, answer));
            }
        }
    }

    /// Counts the verdict on a cluster that was looked at. One that the state machine does not
    /// watch is forgotten.
    fn looked_at(&mut self, key: &ClusterKey) {
        let Some(cluster) = self.clusters.get(key) else { return };
        if !cluster.is_found {
            self.clusters.remove(key);
        } else if let Some(verdict) = cluster.decided() {
            self.count(key, verdict);
        }
    }

    /// Counts a cluster under a verdict, once.
    fn count(&mut self, key: &ClusterKey, verdict: SentinelVerdict) {
        if self.clusters.get_mut(key).is_some_and(|cluster| cluster.count(verdict)) {
            *self.counted.judged.entry(verdict).or_default() += 1;
        }
    }

    fn take_list(&mut self, place: AccountRegion, number: u64, answer: ListAnswer) {
        let now = OffsetDateTime::now_utc();
        let ListAnswer { clusters, at, calls } = answer;
        self.pulse.listed(&place, &clusters);
        let answer = terminate::answer(&clusters, |listings| AccountList {
            clusters: listings.iter().map(account_listed).collect(),
            at: at.map(terminate::aws_time),
            calls: u32::try_from(calls).unwrap_or(u32::MAX),
        });
        if let Lookup::Found(listings) = clusters {
            self.sight.entry(place.clone()).or_default().listed(now);
            for listing in listings {
                let key = (place.clone(), listing.id.clone());
                if let Some(cluster) = self.clusters.get_mut(&key) {
                    cluster.listed(&listing, now);
                }
                self.listing.insert(key.1, listing);
            }
        }
        self.tell(AccountEvent::Listed(place, number, answer));
        self.listing = HashMap::new();
    }

    /// Stores the answers of a look, and judges the cluster.
    fn take_look(
        &mut self,
        key: &ClusterKey,
        answers: LookAnswers,
        kind: LookKind,
        number: u64,
    ) -> AccountLook {
        let now = OffsetDateTime::now_utc();
        let asked_configuration = answers.asked_configuration;
        let cluster = self.cluster(key);
        cluster.knowledge.take(answers);
        cluster.described(now);
        let judgement = self.judge(key);
        let cluster = self.cluster(key);
        let may_end = cluster.may_end;
        let described = cluster.knowledge.cluster.as_ref().map(|looked| {
            terminate::answer(looked, |facts| AccountDescribed {
                state: terminate::state(facts.status.state),
                created: terminate::aws_time(facts.status.created),
                protected: facts.termination_protected,
                may_end,
            })
        });
        let described = described.unwrap_or(AwsAnswer::Absent);
        AccountLook { described, judgement, fresh: kind.fresh, number, asked_configuration }
    }

    /// Judges a cluster by all that is known of it.
    fn judge(&mut self, key: &ClusterKey) -> Judgement {
        let now = OffsetDateTime::now_utc();
        let options = Arc::clone(&self.judge);
        let cluster = self.cluster(key);
        let judged = cluster.knowledge.judge(key, &options, now.date());
        cluster.judged(&judged, now);
        cluster.may_end = may_end(judged.applied.as_ref());
        judged.judgement
    }

    /// The entry of a cluster, which is made if there is none.
    fn cluster(&mut self, key: &ClusterKey) -> &mut WatchedCluster {
        let now = OffsetDateTime::now_utc();
        self.clusters.entry(key.clone()).or_insert_with(|| WatchedCluster::new(&key.0, &key.1, now))
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                AccountAction::Ask(question) => self.ask(question),
                AccountAction::Terminate(place, id) => self.terminate((place, id)),
                AccountAction::Unprotect(place, id) => {
                    let key = (place, id);
                    self.spawn(&key.0.clone(), async move |access| {
                        let timeline = Timeline::default();
                        let answer =
                            terminate::lift_protection(&access.aws, &key.1, &timeline).await;
                        Answered::Unprotected(key, answer)
                    });
                }
                AccountAction::Wake(at) => self.wake = self.began.checked_add(at.0),
                AccountAction::Note(entry) => self.note(entry),
                AccountAction::Tell(notice) => self.tell_people(notice),
                AccountAction::Finish(conclusion) => self.concluded = Some(conclusion),
            }
        }
    }

    /// Asks for a cluster's termination, unless that could not be noted: a later sentinel would not
    /// know it, and might exceed the limit.
    fn terminate(&mut self, key: ClusterKey) {
        if let Some(index) = self.unnoted.iter().position(|unnoted| *unnoted == key) {
            self.unnoted.swap_remove(index);
            let text = "the sentinel's state cannot be written, so nothing is terminated";
            let refusal = Refusal { kind: RefusalKind::Other, text: text.to_owned() };
            let (place, id) = key;
            self.immediate.push_back(AccountEvent::TerminationAnswered(place, id, Err(refusal)));
            return;
        }
        self.spawn(&key.0.clone(), async move |access| {
            let answer = terminate::request(&access.aws, &key.1, &Timeline::default()).await;
            Answered::Terminated(key, answer)
        });
    }

    fn ask(&mut self, question: AccountQuestion<AccountRegion, ClusterId>) {
        match question {
            AccountQuestion::List { place, since, number } => {
                self.spawn(&place.clone(), async move |access| {
                    let answer = list(&access.aws, since).await;
                    Answered::Listed(place, number, answer)
                });
            }
            AccountQuestion::Look { place, id, steps, fresh, number } => {
                let key = (place, id);
                let kind = LookKind { steps, fresh };
                let known = self.clusters.get(&key).map(|cluster| cluster.knowledge.clone());
                let (known, options) = (known.unwrap_or_default(), Arc::clone(&self.judge));
                self.spawn(&key.0.clone(), async move |access| {
                    let answers = Box::pin(access.look(&key.1, &known, &options, kind)).await;
                    Answered::Looked(key, Box::new(answers), kind, number)
                });
            }
            AccountQuestion::Details { place, id, groups, volumes } => {
                let key = (place, id);
                let known = self.clusters.get(&key).map(|cluster| cluster.knowledge.clone());
                let known = known.unwrap_or_default();
                let kind = DetailKind { groups, volumes };
                self.spawn(&key.0.clone(), async move |access| {
                    let details = Box::pin(access.details(&key.1, &known, kind)).await;
                    Answered::Detailed(key, Box::new(details))
                });
            }
        }
    }

    /// Starts a request in a place, once enough others have ended.
    fn spawn<F>(
        &mut self,
        place: &AccountRegion,
        request: impl FnOnce(Arc<PlaceAccess>) -> F + Send + 'static,
    ) where
        F: Future<Output = Answered> + Send + 'static,
    {
        // The state machine knows only places of its plan.
        let Some(access) = self.places.get(place).map(Arc::clone) else { return };
        let permits = Arc::clone(&self.permits);
        self.asked.spawn(async move {
            // The semaphore is never closed.
            let _permit = permits.acquire().await;
            request(access).await
        });
    }

    fn note(&mut self, entry: AccountEntry<AccountRegion, ClusterId>) {
        let ending = match &entry {
            AccountEntry::Ending(place, id) => Some((place.clone(), id.clone())),
            _ => None,
        };
        let noted = self.ledger.note(entry, OffsetDateTime::now_utc());
        if noted.is_err() {
            self.unnoted.extend(ending);
        }
        self.written(noted);
    }

    /// Tells once that the ledger cannot be written.
    fn written(&mut self, result: Result<(), SentinelLedgerError>) {
        match result {
            Ok(()) => self.ledger_failed = false,
            Err(error) => {
                tracing::error!(%error, "the ledger cannot be written");
                if !std::mem::replace(&mut self.ledger_failed, true) {
                    self.say(SentinelNotice::LedgerFailed(error));
                }
            }
        }
    }

    fn say(&self, notice: SentinelNotice) {
        // Fails only if nobody receives any more: the process ends.
        let _ = self.notices.send(notice);
    }

    /// Records a notice of the state machine, and passes on what people must know.
    fn tell_people(&mut self, notice: AccountNotice<AccountRegion, ClusterId>) {
        use SentinelActKind as Act;
        match notice {
            AccountNotice::Found(place, id) => self.found(&(place, id)),
            AccountNotice::Passed(place, id) => {
                let record = self.cluster(&(place, id)).record.clone();
                self.say(SentinelNotice::Passed(Box::new(record)));
            }
            AccountNotice::Unsafe(place, id) => {
                let notice = self.unsafe_notice(&(place, id), Act::ToldUnsafe);
                self.say(SentinelNotice::Unsafe(notice));
            }
            AccountNotice::Unjudged(place, id) => {
                let key = (place, id);
                self.count(&key, SentinelVerdict::Unjudged);
                let notice = self.unsafe_notice(&key, Act::ToldUnjudged);
                self.say(SentinelNotice::Unjudged(notice));
            }
            AccountNotice::Cleared(place, id) => {
                let key = (place, id);
                let cleared = self.ledger.cleared(key.clone(), OffsetDateTime::now_utc());
                self.written(cleared);
                let record = self.did(&key, Act::Cleared, "");
                self.say(SentinelNotice::Cleared(record));
            }
            AccountNotice::Limited(place, id) => {
                let record = self.did(&(place, id), Act::Limited, "");
                self.say(SentinelNotice::Limited(record));
            }
            AccountNotice::Ending(place, id) => {
                self.counted.terminations += 1;
                let record = self.did(&(place, id), Act::Terminated, "");
                self.say(SentinelNotice::Ending(record));
            }
            AccountNotice::Help(place, id, obstacle) => {
                let record = self.cluster(&(place, id)).record.clone();
                self.say(SentinelNotice::Help(Box::new(record), said(&obstacle)));
            }
            AccountNotice::EndConfirmed(place, id) => {
                let record = self.did(&(place, id), Act::EndConfirmed, "");
                self.has_concluded = true;
                self.say(SentinelNotice::EndConfirmed(record));
            }
            AccountNotice::EndUnconfirmed(place, id, obstacle) => {
                let why = said(&obstacle);
                let record = self.did(&(place, id), Act::EndUnconfirmed, &why);
                self.has_concluded = true;
                self.say(SentinelNotice::EndUnconfirmed(record, why));
            }
            AccountNotice::Over(place, id, verdict) => {
                let key = (place, id);
                let cluster = self.cluster(&key);
                cluster.conclude(verdict);
                let verdict = cluster.record.verdict;
                self.count(&key, verdict);
                if let Some(cluster) = self.clusters.remove(&key) {
                    self.unwritten.push(cluster.record.clone());
                    self.write_ended();
                    self.say(SentinelNotice::Over(Box::new(cluster.record)));
                }
            }
            AccountNotice::SightLost(place, why) => {
                let is_relisted = self.is_relisted(&place);
                let began = self.period_began;
                let sight = self.sight.entry(place.clone()).or_default();
                sight.lose(sight.last_list.unwrap_or(began), why.clone(), is_relisted);
                self.told_lost.insert(place.clone());
                self.say(SentinelNotice::SightLost(place, why));
            }
            AccountNotice::SightBack(place) => {
                self.sight.entry(place.clone()).or_default().regain(OffsetDateTime::now_utc());
                self.told_lost.remove(&place);
                self.say(SentinelNotice::SightBack(place));
            }
        }
    }

    /// Whether the next list of a place also shows clusters that are over by then.
    fn is_relisted(&self, place: &AccountRegion) -> bool {
        self.ledger.seen_until().contains_key(place)
    }

    /// Writes the last records of clusters that are over to the ledger, also those that could not
    /// be written before.
    fn write_ended(&mut self) {
        let now = OffsetDateTime::now_utc();
        while let Some(record) = self.unwritten.first() {
            let written = self.ledger.record(record, true, now);
            let is_written = written.is_ok();
            self.written(written);
            if !is_written {
                return;
            }
            self.unwritten.remove(0);
        }
    }

    /// A cluster is watched from now on.
    fn found(&mut self, key: &ClusterKey) {
        let now = OffsetDateTime::now_utc();
        let listing = self.listing.get(&key.1).cloned();
        let launcher = self.launchers.iter().position(|(of, _)| of == key);
        let launcher = launcher.and_then(|index| self.launchers.remove(index));
        self.counted.seen += 1;
        let cluster = self.cluster(key);
        cluster.is_found = true;
        if let Some(listing) = listing {
            cluster.listed(&listing, now);
        }
        if let Some((_, launcher)) = launcher {
            cluster.launched_by(launcher);
        }
        self.save(key);
    }

    /// Records something that the sentinel did.
    fn did(
        &mut self,
        key: &ClusterKey,
        act: SentinelActKind,
        detail: &str,
    ) -> Box<SentinelCluster> {
        self.cluster(key).did(act, detail, OffsetDateTime::now_utc());
        self.save(key);
        Box::new(self.cluster(key).record.clone())
    }

    /// Writes what is known of a cluster to the ledger.
    fn save(&mut self, key: &ClusterKey) {
        if let Some(cluster) = self.clusters.get(key) {
            let written = self.ledger.record(&cluster.record, false, OffsetDateTime::now_utc());
            self.written(written);
        }
    }

    fn unsafe_notice(&mut self, key: &ClusterKey, act: SentinelActKind) -> Box<UnsafeNotice> {
        let cluster = *self.did(key, act, "");
        let may_end = self.cluster(key).may_end;
        Box::new(UnsafeNotice { cluster, may_end })
    }

    /// Ends the period, and begins the next one.
    fn end_period(&mut self, cause: PeriodEnd) {
        self.report_at = Instant::now() + self.report_every;
        let period = self.period(cause);
        self.say(SentinelNotice::Period(Box::new(period)));
    }

    /// The period until now; the next one begins.
    fn period(&mut self, cause: PeriodEnd) -> WatchedPeriod {
        let now = OffsetDateTime::now_utc();
        let began = std::mem::replace(&mut self.period_began, now);
        self.write_ended();
        // Those that cannot be written are in no later period otherwise.
        let mut clusters = self.unwritten.clone();
        if let Err(error) = self.ledger.ended_since(began, |record| clusters.push(record)) {
            self.written(Err(error));
        }
        let living = self.clusters.values().filter(|cluster| cluster.is_found);
        clusters.extend(living.map(|cluster| cluster.record.clone()));
        clusters.extend(self.accounts.last_seen_in(began));
        let goes_on = |place: &AccountRegion| {
            self.places.contains_key(place) || self.accounts.is_unseen(&place.account)
        };
        let next = self.sight.iter().filter(|(place, _)| goes_on(place));
        let next = next.map(|(place, sight)| (place.clone(), sight.next(now))).collect();
        let (emr_calls, throttled) = self.calls_of_period();
        WatchedPeriod {
            began,
            ended: now,
            cause,
            places: std::mem::replace(&mut self.sight, next),
            clusters,
            emr_calls,
            throttled,
        }
    }

    /// The calls to EMR since the last period, by operation, and how many of its answers asked to
    /// slow down.
    fn calls_of_period(&mut self) -> (BTreeMap<String, u64>, u64) {
        let now = (self.emr_calls(), self.emr_throttled());
        let (before, throttled) = std::mem::replace(&mut self.calls_before, now.clone());
        let since = |(operation, count): (String, u64)| {
            let earlier = before.get(&operation).copied().unwrap_or_default();
            (operation, count.saturating_sub(earlier))
        };
        let calls = now.0.into_iter().map(since).filter(|(_, count)| *count > 0);
        (calls.collect(), now.1.saturating_sub(throttled))
    }

    /// The access to each place, also to those that are gone.
    fn all_access(&self) -> impl Iterator<Item = &Arc<PlaceAccess>> {
        self.places.values().chain(&self.accounts.gone)
    }

    /// How many of EMR's answers so far asked to slow down.
    fn emr_throttled(&self) -> u64 {
        self.all_access().map(|access| access.aws.emr_throttled.count()).sum()
    }

    /// The calls to EMR so far, by operation.
    fn emr_calls(&self) -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        let calls = self.all_access().flat_map(|access| access.aws.calls.calls());
        for calls in calls.filter(|calls| calls.service == "EMR") {
            *all.entry(calls.operation).or_default() += calls.count;
        }
        all
    }

    fn end(mut self) -> SentinelEnd {
        let closed = self.ledger.close(OffsetDateTime::now_utc());
        self.written(closed);
        let period = self.period(PeriodEnd::End);
        let nothing =
            AccountConclusion { clusters: Vec::new(), unseen: Vec::new(), unconfirmed: Vec::new() };
        let (conclusion, told_lost) = (self.concluded.unwrap_or(nothing), self.told_lost);
        SentinelEnd { conclusion, period, told_lost }
    }
}

/// The clusters that an earlier sentinel has recorded and that are not over.
fn recorded(ledger: &SentinelLedger, now: OffsetDateTime) -> BTreeMap<ClusterKey, WatchedCluster> {
    let records = ledger.records();
    let mut clusters: BTreeMap<ClusterKey, WatchedCluster> = records
        .map(|(key, record)| (key.clone(), WatchedCluster::from_record(record.clone())))
        .collect();
    // The machine watches those of which the ledger has only what was noted, too.
    for key in ledger.known().into_keys() {
        let unrecorded = || WatchedCluster::new(&key.0, &key.1, now);
        clusters.entry(key.clone()).or_insert_with(unrecorded).is_found = true;
    }
    clusters
}

/// The place that an event is about.
fn place_of(event: &Event) -> Option<AccountRegion> {
    match event {
        AccountEvent::Listed(place, ..)
        | AccountEvent::Looked(place, ..)
        | AccountEvent::Detailed(place, ..)
        | AccountEvent::TerminationAnswered(place, ..)
        | AccountEvent::ProtectionAnswered(place, ..) => Some(place.clone()),
        AccountEvent::Woke
        | AccountEvent::Pushed(..)
        | AccountEvent::Throttled(_)
        | AccountEvent::PlaceFound(..)
        | AccountEvent::PlaceGone(_)
        | AccountEvent::StopAsked => None,
    }
}

/// An obstacle, in words.
fn said(obstacle: &Obstacle) -> String {
    terminate::said(obstacle)
}

fn account_listed(listing: &ClusterListing) -> AccountListed<ClusterId> {
    AccountListed {
        id: listing.id.clone(),
        state: terminate::state(listing.status.state),
        created: terminate::aws_time(listing.status.created),
    }
}

/// All clusters that live, and with a time also all that were created since.
async fn list(aws: &Aws, since: Option<AwsTime>) -> ListAnswer {
    // The clock of the answer before is earlier than that of these, which does no harm: more is
    // listed again.
    let before = aws.emr_clock.last();
    let since = since.and_then(|since| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(since.0) * 1_000_000).ok()
    });
    let living = emr::living(&aws.emr).await;
    let at = before.or_else(|| aws.emr_clock.last());
    let mut calls = pages(&living);
    let clusters = match (living, since) {
        (Lookup::Found(living), Some(since)) => {
            let recent = emr::list(&aws.emr, Some(since), &[]).await;
            calls += pages(&recent);
            recent.map(|recent| merged(living, recent))
        }
        (living, _) => living,
    };
    ListAnswer { clusters, at, calls }
}

/// How many pages a list had.
fn pages(listed: &Lookup<Vec<ClusterListing>>) -> usize {
    listed.found().map_or(1, |all| all.len().div_ceil(LIST_PAGE).max(1))
}

/// Both lists, each cluster once, as the later list shows it.
fn merged(earlier: Vec<ClusterListing>, later: Vec<ClusterListing>) -> Vec<ClusterListing> {
    let all = earlier.into_iter().chain(later).map(|listing| (listing.id.clone(), listing));
    all.collect::<BTreeMap<_, _>>().into_values().collect()
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

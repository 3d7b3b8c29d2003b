//! An account on a simulated clock: its clusters, EMR's quotas, and the answers to the watcher's
//! questions, each after a delay. Whatever it assumes of AWS is in the constants.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use crate::watch::machine::{
    account::{
        event::{
            AccountAction, AccountDescribed, AccountEvent, AccountList, AccountListed, AccountLook,
            AccountNotice, AccountQuestion,
        },
        plan::{AccountLimits, AccountPlan},
        watcher::AccountWatcher,
    },
    event::{AwsAnswer, Judgement},
    state::State,
    time::{AwsTime, Moment},
};

/// From a change of a cluster's state to its event in the queue, in seconds: the shortest and the
/// longest. AWS documents no limit; half a second at most was measured from EventBridge to a target
/// (bitesizedserverless.com, "Serverless Messaging: Latency Compared", update of February 2023).
const EVENT: (f64, f64) = (0.5, 2.0);
/// ListClusters shows a cluster this many seconds after RunJobFlow; some seconds were observed.
const LISTED_AFTER: f64 = 5.0;
/// One call, in seconds.
const CALL: f64 = 0.1;
/// One look at a cluster and at what it depends on, in seconds: six calls one after the other.
const LOOK: f64 = 0.6;
/// A second look, which reads everything again, in seconds.
const SECOND_LOOK: f64 = 1.0;
/// From TerminateJobFlows to the end, in seconds.
const TERMINATING: f64 = 60.0;
/// Clusters on one page. Source: Amazon EMR API reference, ListClusters.
const PAGE: usize = 50;
/// The time of the start by AWS's clock, in milliseconds since 1970.
const START: i64 = 1_795_000_000_000;

type Place = usize;
type Event = AccountEvent<Place, usize>;

/// A call of EMR with a quota of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    ListClusters,
    DescribeCluster,
    DescribeSecurityConfiguration,
    ListSteps,
    ListBootstrapActions,
    ListInstanceGroups,
    ListInstances,
    TerminateJobFlows,
}

impl Call {
    pub(crate) const ALL: [Self; 8] = [
        Self::ListClusters,
        Self::DescribeCluster,
        Self::DescribeSecurityConfiguration,
        Self::ListSteps,
        Self::ListBootstrapActions,
        Self::ListInstanceGroups,
        Self::ListInstances,
        Self::TerminateJobFlows,
    ];

    /// Burst, and refill in a second. Source: Amazon EMR documentation, API quotas.
    fn quota(self) -> (f64, f64) {
        match self {
            Self::ListClusters => (20.0, 0.5),
            Self::DescribeCluster | Self::ListBootstrapActions | Self::ListInstanceGroups => {
                (10.0, 1.0)
            }
            Self::DescribeSecurityConfiguration => (5.0, 0.5),
            Self::ListSteps | Self::ListInstances | Self::TerminateJobFlows => (10.0, 0.5),
        }
    }

    /// What EMR refills in a second.
    pub(crate) fn refill(self) -> f64 {
        self.quota().1
    }
}

/// A cluster; times in seconds, `ready` after `launched`. It lives until it is terminated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelCluster {
    pub(crate) place: Place,
    pub(crate) launched: f64,
    pub(crate) ready: f64,
    pub is_unsafe: bool,
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How many regions.
    pub(crate) places: usize,
    /// EMR's events come.
    pub(crate) events: bool,
    /// Clusters that are alike have one security configuration; else each has its own.
    pub(crate) one_configuration: bool,
}

/// A security configuration that was read so many seconds after a cluster's creation is the
/// cluster's. Source: `src/sentinel/judge.rs`.
const CLOCKS_DIFFER: f64 = 2.0;

/// What was asked about a cluster so far, and what happened to it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    steps: bool,
    details: bool,
    read_once: bool,
    alert: Option<f64>,
    terminated: Option<f64>,
}

/// The account and the watcher in it.
pub(crate) struct Account {
    clusters: Vec<ModelCluster>,
    known: Vec<Known>,
    watcher: AccountWatcher<Place, usize>,
    now: f64,
    wake: f64,
    under_way: BinaryHeap<Reverse<(Duration, usize)>>,
    events: Vec<Option<Event>>,
    /// When the configuration of the safe and of the unsafe clusters was read last.
    read: BTreeMap<(Place, bool), f64>,
    one_configuration: bool,
    buckets: BTreeMap<(Place, Call), (f64, f64)>,
    /// The calls so far.
    pub(crate) calls: BTreeMap<(Place, Call), u64>,
    /// The calls that EMR would have refused.
    pub(crate) throttled: u64,
}

impl Account {
    pub(crate) fn new(settings: Settings, clusters: Vec<ModelCluster>) -> Self {
        let seconds = Duration::from_secs;
        let plan = AccountPlan {
            places: (0..settings.places).collect(),
            // The defaults of the settings, but for the limit, which is not what is measured; the
            // drift as in `src/commands/sentinel.rs`.
            limits: AccountLimits {
                interval: seconds(30),
                judge_within: seconds(900),
                termination: seconds(900),
                drift: seconds(300),
                terminations_per_hour: 1_000,
            },
            once: false,
            seen_until: BTreeMap::new(),
            known: BTreeMap::new(),
            over: BTreeMap::new(),
            terminated: Vec::new(),
            seed: 21,
        };
        let mut account = Self {
            known: vec![Known::default(); clusters.len()],
            watcher: AccountWatcher::new(plan),
            now: 0.0,
            wake: f64::INFINITY,
            under_way: BinaryHeap::new(),
            events: Vec::new(),
            read: BTreeMap::new(),
            one_configuration: settings.one_configuration,
            buckets: BTreeMap::new(),
            calls: BTreeMap::new(),
            throttled: 0,
            clusters,
        };
        if settings.events {
            let mut random = fastrand::Rng::with_seed(21);
            for (id, cluster) in account.clusters.clone().into_iter().enumerate() {
                for changed in [cluster.launched, cluster.launched + cluster.ready] {
                    let late = EVENT.0 + random.f64() * (EVENT.1 - EVENT.0);
                    account.send(changed + late, AccountEvent::Pushed(cluster.place, id));
                }
            }
        }
        let actions = account.watcher.start(Moment::START);
        account.perform(actions);
        account
    }

    /// Each unsafe cluster that was reported and terminated, and when.
    pub(crate) fn unsafe_clusters(&self) -> impl Iterator<Item = (ModelCluster, f64, f64)> {
        self.clusters.iter().zip(&self.known).filter_map(|(cluster, known)| {
            Some((*cluster, known.alert?, known.terminated?)).filter(|_| cluster.is_unsafe)
        })
    }

    /// Lets time pass.
    pub(crate) fn run_until(&mut self, end: f64) {
        loop {
            let next =
                self.under_way.peek().map_or(f64::INFINITY, |Reverse((at, _))| at.as_secs_f64());
            if next.min(self.wake) > end {
                self.now = end;
                return;
            }
            let event = if next <= self.wake {
                let number = self.under_way.pop().map(|Reverse((_, number))| number);
                self.now = self.now.max(next);
                number.and_then(|number| self.events[number].take())
            } else {
                self.now = self.now.max(self.wake);
                self.wake = f64::INFINITY;
                Some(AccountEvent::Woke)
            };
            if let Some(event) = event {
                let event = self.answered(event);
                let actions = self.watcher.handle(Moment(duration(self.now)), event);
                self.perform(actions);
            }
        }
    }

    fn send(&mut self, at: f64, event: Event) {
        self.under_way.push(Reverse((duration(at), self.events.len())));
        self.events.push(Some(event));
    }

    fn perform(&mut self, actions: Vec<AccountAction<Place, usize>>) {
        for action in actions {
            match action {
                AccountAction::Ask(question) => self.ask(&question),
                AccountAction::Terminate(place, id) => {
                    self.call(place, Call::TerminateJobFlows);
                    self.known[id].terminated.get_or_insert(self.now);
                    self.send(
                        self.now + CALL,
                        AccountEvent::TerminationAnswered(place, id, Ok(())),
                    );
                }
                AccountAction::Wake(at) => self.wake = at.0.as_secs_f64(),
                AccountAction::Tell(AccountNotice::Unsafe(_, id)) => {
                    self.known[id].alert.get_or_insert(self.now);
                }
                AccountAction::Unprotect(..)
                | AccountAction::Tell(_)
                | AccountAction::Note(_)
                | AccountAction::Finish(_) => {}
            }
        }
    }

    fn ask(&mut self, question: &AccountQuestion<Place, usize>) {
        match *question {
            AccountQuestion::List { place, since, number } => {
                let clusters = self.listed(place, since);
                let living = clusters.iter().filter(|it| it.state != State::Over).count();
                let since =
                    since.map(|since| clusters.iter().filter(|it| it.created >= since).count());
                let pages = |count: usize| count.div_ceil(PAGE).max(1) as u32;
                let calls = pages(living) + since.map_or(0, pages);
                (0..calls).for_each(|_| self.call(place, Call::ListClusters));
                let at = Some(Self::aws_time(self.now));
                let list = AccountList { clusters, at, calls };
                let answer = AccountEvent::Listed(place, number, AwsAnswer::Found(list));
                self.send(self.now + CALL * f64::from(calls), answer);
            }
            AccountQuestion::Look { place, id, steps, fresh, number } => {
                self.call(place, Call::DescribeCluster);
                let asked_configuration =
                    fresh || !(self.known[id].read_once || self.is_shared(place, id));
                if asked_configuration {
                    self.call(place, Call::DescribeSecurityConfiguration);
                    self.read.insert((place, self.clusters[id].is_unsafe), self.now);
                }
                if steps {
                    self.call(place, Call::ListSteps);
                }
                if fresh {
                    self.call(place, Call::ListBootstrapActions);
                    self.call(place, Call::ListInstanceGroups);
                    self.call(place, Call::ListInstances);
                }
                self.known[id].steps |= steps || fresh;
                self.known[id].details |= fresh;
                self.known[id].read_once = true;
                let described = self.described(id);
                // The judgement is filled in when the answer comes.
                let look = AccountLook {
                    described,
                    judgement: Judgement::NOTHING,
                    fresh,
                    number,
                    asked_configuration,
                };
                let takes = if fresh { SECOND_LOOK } else { LOOK };
                self.send(self.now + takes, AccountEvent::Looked(place, id, look));
            }
            AccountQuestion::Details { place, id, groups, volumes } => {
                if !self.known[id].details {
                    self.call(place, Call::ListBootstrapActions);
                }
                if groups {
                    self.call(place, Call::ListInstanceGroups);
                }
                if volumes {
                    self.call(place, Call::ListInstances);
                }
                self.known[id].details = true;
                self.send(self.now + LOOK, AccountEvent::Detailed(place, id, Judgement::NOTHING));
            }
        }
    }

    /// The event with what is known by now.
    fn answered(&self, event: Event) -> Event {
        match event {
            AccountEvent::Looked(place, id, look) => {
                let judgement = self.judgement(id);
                AccountEvent::Looked(place, id, AccountLook { judgement, ..look })
            }
            AccountEvent::Detailed(place, id, _) => {
                AccountEvent::Detailed(place, id, self.judgement(id))
            }
            other => other,
        }
    }

    fn judgement(&self, id: usize) -> Judgement {
        let (cluster, known) = (self.clusters[id], self.known[id]);
        Judgement {
            failed: cluster.is_unsafe,
            unknown: !known.steps,
            details_known: known.details,
            groups_known: known.details,
            steps_known: known.steps,
            ..Judgement::NOTHING
        }
    }

    /// Whether a look at another cluster has shown the security configuration of this one.
    fn is_shared(&self, place: Place, id: usize) -> bool {
        let cluster = self.clusters[id];
        let read = self.read.get(&(place, cluster.is_unsafe)).filter(|_| self.one_configuration);
        read.is_some_and(|read| *read >= cluster.launched + CLOCKS_DIFFER)
    }

    fn state(&self, id: usize) -> State {
        let cluster = self.clusters[id];
        let age = self.now - cluster.launched;
        match self.known[id].terminated {
            Some(at) if self.now >= at + TERMINATING => State::Over,
            Some(_) => State::Terminating,
            // Most of the time until a cluster is ready goes by before its instances run.
            None if age < cluster.ready * 0.6 => State::Starting,
            None if age < cluster.ready => State::Bootstrapping,
            None => State::Waiting,
        }
    }

    fn aws_time(seconds: f64) -> AwsTime {
        AwsTime(START + (seconds * 1_000.0) as i64)
    }

    fn described(&self, id: usize) -> AwsAnswer<AccountDescribed> {
        AwsAnswer::Found(AccountDescribed {
            state: self.state(id),
            created: Self::aws_time(self.clusters[id].launched),
            protected: false,
            may_end: true,
        })
    }

    /// What ListClusters shows: what lives, and what was created since.
    fn listed(&self, place: Place, since: Option<AwsTime>) -> Vec<AccountListed<usize>> {
        let mut listed = Vec::new();
        for (id, cluster) in self.clusters.iter().enumerate() {
            let is_shown = cluster.place == place && cluster.launched + LISTED_AFTER <= self.now;
            let created = Self::aws_time(cluster.launched);
            let state = self.state(id);
            let is_wanted = state != State::Over || since.is_some_and(|since| created >= since);
            if is_shown && is_wanted {
                listed.push(AccountListed { id, state, created });
            }
        }
        listed
    }

    /// Counts a call, and takes it from EMR's quota.
    fn call(&mut self, place: Place, call: Call) {
        *self.calls.entry((place, call)).or_default() += 1;
        let (burst, refill) = call.quota();
        let (tokens, since) = self.buckets.entry((place, call)).or_insert((burst, self.now));
        *tokens = (*tokens + (self.now - *since) * refill).min(burst);
        *since = self.now;
        // Sums of fractions may be slightly less than a whole token.
        if *tokens < 1.0 - 1e-6 {
            self.throttled += 1;
        } else {
            *tokens -= 1.0;
        }
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

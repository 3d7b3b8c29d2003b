//! Runs one history of an account: the event queue, EMR, and the sentinels.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    accounts::{
        cluster::{Cluster, Fact, Id, Launch, Place, Volumes},
        history::{AccountHistory, Answer, Call, Record, What},
        scenario::{Absence, AccountScenario, Target, Trouble, draw},
        sentinel::{AccountOptions, Knowledge, Sentinel, aws_time, world_time},
    },
    model::faults::Operation,
    random::Random,
    scenario::{MINUTE, Ms, SECOND},
    watch::machine::{
        account::{
            event::{
                AccountAction, AccountDescribed, AccountEvent, AccountList, AccountListed,
                AccountLook, AccountNotice, AccountQuestion,
            },
            watcher::AccountWatcher,
        },
        event::{AwsAnswer, Judgement, Refusal, RefusalKind},
        state::State,
    },
};

/// Ids from here on do not exist.
const NO_CLUSTER: Id = 1_000_000;
/// How long a fact that was read replaces an answer, except in a second look.
const CACHED: Ms = 2 * MINUTE;
/// A security configuration that was read this long after a cluster's creation is the cluster's.
const CLOCKS_DIFFER: Ms = 2 * SECOND;
/// The limit of a history's events, to detect endless ones.
const MOST_EVENTS: u32 = 200_000;

type Action = AccountAction<Place, Id>;
type Event = AccountEvent<Place, Id>;
type Question = AccountQuestion<Place, Id>;

/// What AWS has shown of a cluster.
#[derive(Clone, Debug)]
struct Shown {
    place: Place,
    id: Id,
    described: AwsAnswer<AccountDescribed>,
    settings: Option<Fact>,
    volumes: Option<Volumes>,
    fresh: bool,
    steps: bool,
    asked_configuration: bool,
    number: Option<u64>,
    served: Ms,
}

/// An answer on its way.
#[derive(Clone, Debug)]
enum Reply {
    Event(Event),
    List(Place, u64, Ms, AwsAnswer<AccountList<Id>>),
    Shown(Shown),
}

/// What the queue holds.
#[derive(Clone, Debug)]
enum Item {
    Start(usize),
    Crash(usize),
    Stop,
    Create(usize),
    Person(usize),
    Push(Place, Id),
    Forge(usize),
    Gone(usize),
    Found(usize),
    Serve(usize, u32, Action),
    Deliver(usize, u32, Reply),
    Wake(usize, u32),
}

impl Item {
    /// Whether it waits while the machine is suspended.
    fn is_local(&self) -> bool {
        !matches!(self, Self::Create(_) | Self::Person(_) | Self::Serve(..))
    }
}

/// An item of the queue, in the order of time.
#[derive(Clone, Debug)]
struct Due(Ms, u64, Item);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Engine {
    scenario: AccountScenario,
    options: AccountOptions,
    random: Random,
    now: Ms,
    queue: BinaryHeap<Reverse<Due>>,
    pushed: u64,
    clusters: Vec<Cluster>,
    /// The id of each launch.
    ids: Vec<Option<Id>>,
    sentinels: Vec<Sentinel>,
    records: Vec<Record>,
    calls: Vec<Call>,
    /// The machine's clock has stopped for its suspension.
    has_slept: bool,
    /// The most that a sentinel remembered immediately after forged events.
    peak: usize,
}

/// The history of a seed.
#[must_use]
pub fn run(seed: u64, options: AccountOptions) -> AccountHistory {
    live_through(draw(seed), options)
}

/// The history of these decisions.
#[must_use]
pub fn live_through(scenario: AccountScenario, options: AccountOptions) -> AccountHistory {
    let mut engine = Engine {
        options,
        random: Random::new(scenario.noise),
        now: 0,
        queue: BinaryHeap::new(),
        pushed: 0,
        clusters: Vec::new(),
        ids: vec![None; scenario.launches.len()],
        sentinels: vec![Sentinel::default(); scenario.sentinels],
        records: Vec::new(),
        calls: Vec::new(),
        has_slept: false,
        peak: 0,
        scenario,
    };
    engine.prepare();
    engine.live();
    let remembered = engine
        .sentinels
        .iter()
        .filter(|sentinel| !sentinel.is_finished)
        .filter_map(|sentinel| sentinel.watcher.as_ref())
        .map(AccountWatcher::remembered)
        .collect();
    AccountHistory {
        scenario: engine.scenario,
        clusters: engine.clusters,
        records: engine.records,
        calls: engine.calls,
        remembered,
        peak: engine.peak,
    }
}

impl Engine {
    fn push(&mut self, at: Ms, item: Item) {
        self.pushed += 1;
        self.queue.push(Reverse(Due(at, self.pushed, item)));
    }

    fn prepare(&mut self) {
        for index in 0..self.scenario.launches.len() {
            let launch = self.scenario.launches[index];
            self.push(launch.created, Item::Create(index));
            if let Some(at) = launch.person {
                self.push(at.max(launch.created + SECOND), Item::Person(index));
            }
        }
        for index in 0..self.scenario.forged.len() {
            self.push(self.scenario.forged[index].at, Item::Forge(index));
        }
        for index in 0..self.scenario.absences.len() {
            let absence = self.scenario.absences[index];
            if absence.from >= 0 {
                self.push(absence.from + absence.noticed, Item::Gone(index));
            }
            if let Some(until) = absence.until {
                self.push(until + absence.noticed, Item::Found(index));
            }
        }
        for sentinel in 0..self.scenario.sentinels {
            self.push(0, Item::Start(sentinel));
        }
        for index in 0..self.scenario.crashes.len() {
            self.push(self.scenario.crashes[index].at, Item::Crash(index));
        }
        if let Some(at) = self.scenario.stop {
            self.push(at, Item::Stop);
        }
    }

    fn live(&mut self) {
        let end = self.scenario.end();
        let mut events = 0;
        while let Some(Reverse(Due(at, _, item))) = self.queue.pop() {
            if at > end || events > MOST_EVENTS {
                break;
            }
            if let Some(sleep) = self.scenario.sleep {
                if item.is_local() && (sleep.from..sleep.until).contains(&at) {
                    self.push(sleep.until, item);
                    continue;
                }
                if at >= sleep.until && !std::mem::replace(&mut self.has_slept, true) {
                    self.awake(sleep.until - sleep.from, sleep.counted);
                }
            }
            self.now = self.now.max(at);
            events += 1;
            self.happen(item);
        }
    }

    fn awake(&mut self, slept: Ms, counted: bool) {
        for index in 0..self.sentinels.len() {
            let sentinel = &mut self.sentinels[index];
            if sentinel.life == 0 || counted {
                continue;
            }
            sentinel.stood_still(slept);
            // What it waits for comes later by as much.
            if let Some(wake) = sentinel.wake {
                sentinel.wake = Some(wake + slept);
                let life = sentinel.life;
                self.push(wake + slept, Item::Wake(index, life));
            }
        }
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Start(sentinel) => self.start(sentinel),
            Item::Crash(index) => {
                let crash = self.scenario.crashes[index];
                let dying = (crash.cut, crash.down);
                self.sentinels[crash.sentinel].dies.get_or_insert(dying);
            }
            Item::Stop => {
                for sentinel in 0..self.sentinels.len() {
                    self.tell(sentinel, AccountEvent::StopAsked);
                }
            }
            Item::Create(index) => self.create(index),
            Item::Person(index) => {
                let now = self.now;
                let id = self.ids[index];
                let cluster = self.clusters.iter_mut().find(|cluster| Some(cluster.id) == id);
                if let Some(cluster) = cluster {
                    cluster.terminated.get_or_insert(now);
                }
            }
            Item::Push(place, id) => {
                for sentinel in 0..self.sentinels.len() {
                    self.tell(sentinel, AccountEvent::Pushed(place, id));
                }
            }
            Item::Forge(index) => self.forge(index),
            Item::Gone(index) => self.gone(index),
            Item::Found(index) => self.found(index),
            Item::Serve(sentinel, life, action) => self.serve(sentinel, life, &action),
            Item::Deliver(sentinel, life, reply) => self.deliver(sentinel, life, reply),
            Item::Wake(sentinel, life) => {
                let known = &self.sentinels[sentinel];
                if known.life == life && known.wake.is_some_and(|wake| wake <= self.now) {
                    self.sentinels[sentinel].wake = None;
                    self.tell(sentinel, AccountEvent::Woke);
                }
            }
        }
    }

    fn record(&mut self, sentinel: usize, what: What) {
        self.records.push(Record { at: self.now, sentinel, what });
    }

    fn start(&mut self, index: usize) {
        let sentinel = &mut self.sentinels[index];
        sentinel.begin(self.now, &self.scenario, self.options);
        let moment = sentinel.moment(self.now);
        let actions = sentinel.watcher.as_mut().map(|watcher| watcher.start(moment));
        let places = self.sentinels[index].places.clone();
        self.record(index, What::Started(places));
        self.perform(index, actions.unwrap_or_default());
    }

    fn create(&mut self, index: usize) {
        let launch = self.scenario.launches[index];
        let id = Id::try_from(self.clusters.len() + 1).unwrap_or(NO_CLUSTER);
        self.ids[index] = Some(id);
        let cluster = Cluster { id, launch, protected: launch.protected, terminated: None };
        if let Some(percent) = self.scenario.events {
            let starts = launch.created + launch.starting;
            let changes =
                [Some(launch.created), Some(starts), Some(cluster.ready()), cluster.over()];
            for at in changes.into_iter().flatten() {
                if self.random.chance(percent) {
                    let late = self.random.between(SECOND / 2, 20 * SECOND);
                    self.push(at + late, Item::Push(launch.place, id));
                }
            }
        }
        self.clusters.push(cluster);
    }

    fn forge(&mut self, index: usize) {
        let forged = self.scenario.forged[index];
        let real = forged.real.and_then(|launch| self.ids[launch]);
        for number in 0..forged.count {
            let id = real.unwrap_or(NO_CLUSTER + number);
            for sentinel in 0..self.sentinels.len() {
                self.tell(sentinel, AccountEvent::Pushed(forged.place, id));
            }
        }
        let watchers = self.sentinels.iter().filter_map(|sentinel| sentinel.watcher.as_ref());
        let most = watchers.map(AccountWatcher::remembered).max();
        self.peak = self.peak.max(most.unwrap_or(0));
    }

    /// The sentinels notice that a place cannot be used, if that is still so.
    fn gone(&mut self, index: usize) {
        let place = self.scenario.absences[index].place;
        if !self.scenario.is_absent(place, self.now) {
            return;
        }
        for index in self.watching() {
            if self.sentinels[index].loses(place, &self.clusters) {
                self.record(index, What::PlaceGone(place));
                self.tell(index, AccountEvent::PlaceGone(place));
            }
        }
    }

    /// The sentinels find a place that can be used again, if that is still so.
    fn found(&mut self, index: usize) {
        let Absence { place, until, looked, .. } = self.scenario.absences[index];
        if self.scenario.is_absent(place, self.now) {
            return;
        }
        let looked = until.unwrap_or_default() - looked;
        for index in self.watching() {
            if let Some(since) = self.sentinels[index].finds(place, looked) {
                self.record(index, What::PlaceFound(place, since));
                self.tell(index, AccountEvent::PlaceFound(place, Some(aws_time(since))));
            }
        }
    }

    /// The sentinels that live, and whose watch has not ended.
    fn watching(&self) -> Vec<usize> {
        let lives = |index: &usize| {
            let sentinel = &self.sentinels[*index];
            sentinel.watcher.is_some() && !sentinel.is_finished
        };
        (0..self.sentinels.len()).filter(lives).collect()
    }

    /// Hands an event to a sentinel that lives, and performs its actions.
    fn tell(&mut self, index: usize, event: Event) {
        let sentinel = &mut self.sentinels[index];
        let moment = sentinel.moment(self.now);
        let Some(watcher) = &mut sentinel.watcher else { return };
        if sentinel.is_finished {
            return;
        }
        let actions = watcher.handle(moment, event);
        self.perform(index, actions);
    }

    fn perform(&mut self, index: usize, actions: Vec<Action>) {
        let dies = self.sentinels[index].dies.take();
        let cut = dies.map_or(actions.len(), |(cut, _)| cut.min(actions.len()));
        for action in actions.into_iter().take(cut) {
            self.perform_one(index, action);
        }
        if let Some((_, down)) = dies.filter(|_| !self.sentinels[index].is_finished) {
            let sentinel = &mut self.sentinels[index];
            sentinel.watcher = None;
            sentinel.wake = None;
            self.record(index, What::Killed);
            self.push(self.now + down, Item::Start(index));
        } else {
            let last = self.records.last().map(|record| &record.what);
            // Only an answer, and what follows from it, are of interest.
            if !matches!(last, None | Some(What::Done | What::Listed(..))) {
                self.record(index, What::Done);
            }
        }
    }

    fn perform_one(&mut self, index: usize, action: Action) {
        let now = self.now;
        let life = self.sentinels[index].life;
        match action {
            AccountAction::Wake(moment) => {
                let at = self.sentinels[index].world_time(moment).max(now);
                self.sentinels[index].wake = Some(at);
                self.push(at, Item::Wake(index, life));
            }
            AccountAction::Note(entry) => {
                self.sentinels[index].ledger.note(now, &entry);
                self.record(index, What::Noted(entry));
            }
            AccountAction::Tell(notice) => {
                let clusters = &self.clusters;
                let created = |id| {
                    let cluster = clusters.iter().find(|cluster| cluster.id == id);
                    cluster.map(|cluster| cluster.launch.created)
                };
                let sentinel = &mut self.sentinels[index];
                sentinel.ledger.told(&notice, created);
                match notice {
                    AccountNotice::Passed(_, id) => {
                        sentinel.passed.insert(id);
                    }
                    AccountNotice::Unsafe(_, id) => {
                        sentinel.passed.remove(&id);
                    }
                    _ => {}
                }
                self.record(index, What::Told(notice));
            }
            AccountAction::Finish(conclusion) => {
                self.sentinels[index].is_finished = true;
                self.record(index, What::Finished(conclusion));
            }
            request => {
                self.count_calls(index, &request);
                match &request {
                    AccountAction::Terminate(_, id) => self.record(index, What::Terminate(*id)),
                    AccountAction::Ask(Question::Look { id, number, .. }) => {
                        self.record(index, What::Asked { id: *id, number: *number });
                    }
                    _ => {}
                }
                let after = self.random.between(10, 400);
                self.push(now + after, Item::Serve(index, life, request));
            }
        }
    }

    fn count_calls(&mut self, index: usize, action: &Action) {
        let mut operations = Vec::new();
        let (place, id) = match action {
            AccountAction::Ask(Question::List { place, .. }) => {
                operations.push(Operation::List);
                (*place, None)
            }
            AccountAction::Ask(Question::Look { place, id, steps, fresh, number }) => {
                let known = self.sentinels[index].knowledge.get(id);
                let is_known = known.is_some_and(|known| known.settings.is_some());
                operations.push(Operation::Describe);
                if *fresh || !(is_known || self.is_shared(index, *place, *id)) {
                    operations.push(Operation::SecurityConfiguration);
                    self.sentinels[index].asked.insert(*number);
                }
                if *fresh || *steps {
                    operations.push(Operation::Steps);
                }
                if *fresh {
                    operations.extend([Operation::Groups, Operation::Instances]);
                }
                (*place, Some(*id))
            }
            AccountAction::Ask(Question::Details { place, id, groups, volumes }) => {
                operations.extend(groups.then_some(Operation::Groups));
                operations.extend(volumes.then_some(Operation::Instances));
                (*place, Some(*id))
            }
            AccountAction::Terminate(place, id) => {
                operations.push(Operation::Terminate);
                (*place, Some(*id))
            }
            AccountAction::Unprotect(place, id) => {
                operations.push(Operation::Protection);
                (*place, Some(*id))
            }
            _ => return,
        };
        let now = self.now;
        let routine = id.is_some_and(|id| {
            let judged = self.sentinels[index].knowledge.get(&id);
            let volumes = judged.is_some_and(|known| known.volumes.is_some());
            let lives = self.clusters.iter().any(|cluster| {
                // What has just changed may be looked at at once.
                let changed = now - cluster.ready() < MINUTE
                    || cluster.ends().is_some_and(|ends| ends <= now);
                cluster.id == id && !changed
            });
            volumes
                && lives
                && self.sentinels[index].passed.contains(&id)
                && judged
                    .is_some_and(|known| !known.judgement().unknown && !known.judgement().unseen)
        });
        let forged = id.is_some_and(|id| id >= NO_CLUSTER);
        self.calls.extend(operations.into_iter().map(|operation| Call {
            at: now,
            sentinel: index,
            place,
            operation,
            routine,
            forged,
        }));
    }

    /// Whether a look at another cluster has shown the security configuration of this one, while
    /// this one used it.
    fn is_shared(&self, index: usize, place: Place, id: Id) -> bool {
        self.cluster(place, id).is_some_and(|cluster| {
            let Launch { configuration, created, .. } = cluster.launch;
            let read = self.sentinels[index].read.get(&(place, configuration));
            read.is_some_and(|read| *read >= created + CLOCKS_DIFFER && self.now - *read < CACHED)
        })
    }

    /// What happens to a request now.
    fn trouble(&self, place: Place, action: &Action) -> Option<Trouble> {
        if self.scenario.is_absent(place, self.now) {
            return Some(Trouble::Denied);
        }
        let target = match action {
            AccountAction::Ask(Question::List { .. }) => Target::Lists,
            AccountAction::Ask(_) => Target::Looks,
            _ => Target::Requests,
        };
        let fault = self.scenario.faults.iter().find(|fault| {
            fault.place == place
                && (fault.from..fault.until).contains(&self.now)
                && (fault.target == target || fault.target == Target::All)
        });
        fault.map(|fault| fault.trouble)
    }

    /// AWS handles a request.
    fn serve(&mut self, index: usize, life: u32, action: &Action) {
        let place = match action {
            AccountAction::Ask(
                Question::List { place, .. }
                | Question::Look { place, .. }
                | Question::Details { place, .. },
            )
            | AccountAction::Terminate(place, _)
            | AccountAction::Unprotect(place, _) => *place,
            _ => return,
        };
        let trouble = self.trouble(place, action);
        let refused = matches!(trouble, Some(Trouble::Denied | Trouble::Throttled));
        // A request without a response may have taken effect.
        let is_lost = trouble == Some(Trouble::Lost);
        if is_lost && self.random.chance(50) {
            return;
        }
        let reply = match action {
            AccountAction::Ask(Question::List { since, number, .. }) => {
                let list = self.list(place, since.map(world_time), refused);
                Reply::List(place, *number, self.now, list)
            }
            AccountAction::Ask(Question::Look { id, steps, fresh, number, .. }) => {
                let kind = (*steps, *fresh);
                Reply::Shown(self.show(index, place, *id, *number, kind, refused))
            }
            AccountAction::Ask(Question::Details { id, volumes, .. }) => {
                Reply::Shown(self.show_details(place, *id, *volumes, refused))
            }
            AccountAction::Terminate(_, id) => {
                let answer = self.terminate(*id, trouble);
                Reply::Event(AccountEvent::TerminationAnswered(place, *id, answer))
            }
            AccountAction::Unprotect(_, id) => {
                let answer = self.unprotect(*id, trouble);
                Reply::Event(AccountEvent::ProtectionAnswered(place, *id, answer))
            }
            _ => return,
        };
        if is_lost {
            return;
        }
        if trouble == Some(Trouble::Throttled) {
            let throttled = Reply::Event(AccountEvent::Throttled(place));
            self.push(self.now, Item::Deliver(index, life, throttled));
        }
        let late = if trouble == Some(Trouble::Late) {
            self.random.between(3 * MINUTE, 10 * MINUTE)
        } else {
            self.random.between(10, 400)
        };
        self.push(self.now + late, Item::Deliver(index, life, reply));
    }

    fn list(&self, place: Place, since: Option<Ms>, refused: bool) -> AwsAnswer<AccountList<Id>> {
        if refused {
            return AwsAnswer::Failed("refused".to_owned());
        }
        let shown = |cluster: &&Cluster| {
            let launch = &cluster.launch;
            let at = self.now - launch.list_lag;
            let asked = since.is_some_and(|since| launch.created >= since);
            launch.place == place && launch.created <= at && (asked || cluster.lives(at))
        };
        let clusters = self.clusters.iter().filter(shown);
        let clusters = clusters.map(|cluster| AccountListed {
            id: cluster.id,
            state: cluster.state(self.now - cluster.launch.list_lag),
            created: aws_time(cluster.launch.created),
        });
        let clusters = clusters.collect();
        AwsAnswer::Found(AccountList { clusters, at: Some(aws_time(self.now)), calls: 2 })
    }

    fn cluster(&self, place: Place, id: Id) -> Option<&Cluster> {
        let mut clusters = self.clusters.iter();
        clusters.find(|cluster| cluster.id == id && cluster.launch.place == place)
    }

    fn show(
        &mut self,
        index: usize,
        place: Place,
        id: Id,
        number: u64,
        (steps, fresh): (bool, bool),
        refused: bool,
    ) -> Shown {
        // What was read a short time ago may replace an answer, and a state may be old.
        let old =
            if !fresh && self.random.chance(10) { self.random.between(0, 8 * SECOND) } else { 0 };
        let now = self.now;
        let known = self.sentinels[index].knowledge.get(&id).copied().unwrap_or_default();
        let reads = fresh
            || matches!(known.settings, None | Some(Fact::Unreadable))
            || now - known.read > CACHED;
        let mut shown = Shown {
            place,
            id,
            described: AwsAnswer::Failed("refused".to_owned()),
            settings: None,
            volumes: None,
            fresh,
            steps: false,
            asked_configuration: self.sentinels[index].asked.contains(&number),
            number: Some(number),
            served: now,
        };
        if refused {
            return shown;
        }
        let Some(cluster) = self.cluster(place, id) else {
            return Shown { described: AwsAnswer::Absent, ..shown };
        };
        shown.described = AwsAnswer::Found(AccountDescribed {
            state: cluster.state((now - old).max(cluster.launch.created)),
            created: aws_time(cluster.launch.created),
            protected: cluster.protected,
            may_end: cluster.launch.ends,
        });
        shown.settings = reads.then(|| cluster.settings(now));
        shown.volumes = fresh.then(|| cluster.volumes(now));
        shown.steps = steps || fresh || cluster.state(now) == State::Over;
        if shown.asked_configuration && shown.settings.is_some_and(|it| it != Fact::Unreadable) {
            let configuration = cluster.launch.configuration;
            self.sentinels[index].read.insert((place, configuration), now);
        }
        shown
    }

    fn show_details(&self, place: Place, id: Id, volumes: bool, refused: bool) -> Shown {
        let cluster = self.cluster(place, id).filter(|_| !refused);
        let seen =
            cluster.map(|cluster| if volumes { cluster.volumes(self.now) } else { Volumes::None });
        Shown {
            place,
            id,
            described: AwsAnswer::Absent,
            settings: None,
            volumes: seen,
            fresh: false,
            steps: false,
            asked_configuration: false,
            number: None,
            served: self.now,
        }
    }

    fn terminate(&mut self, id: Id, trouble: Option<Trouble>) -> Result<(), Refusal> {
        refused(trouble)?;
        let now = self.now;
        let Some(cluster) = self.clusters.iter_mut().find(|cluster| cluster.id == id) else {
            return Ok(());
        };
        if cluster.protected {
            let text = "it is protected".to_owned();
            return Err(Refusal { kind: RefusalKind::Other, text });
        }
        cluster.terminated.get_or_insert(now);
        Ok(())
    }

    fn unprotect(&mut self, id: Id, trouble: Option<Trouble>) -> Result<(), Refusal> {
        refused(trouble)?;
        if let Some(cluster) = self.clusters.iter_mut().find(|cluster| cluster.id == id) {
            cluster.protected = false;
        }
        Ok(())
    }

    /// An answer reaches the sentinel that asked, if it still lives.
    fn deliver(&mut self, index: usize, life: u32, reply: Reply) {
        if self.sentinels[index].life != life || self.sentinels[index].watcher.is_none() {
            return;
        }
        match reply {
            Reply::Event(event) => {
                if let AccountEvent::TerminationAnswered(_, id, Ok(())) = &event {
                    self.record(index, What::Accepted(*id));
                }
                self.tell(index, event);
            }
            Reply::List(place, number, served, answer) => {
                if matches!(answer, AwsAnswer::Found(_)) {
                    self.record(index, What::Listed(place, served));
                }
                self.tell(index, AccountEvent::Listed(place, number, answer));
            }
            Reply::Shown(shown) => self.deliver_shown(index, shown),
        }
    }

    fn deliver_shown(&mut self, index: usize, shown: Shown) {
        let knowledge = self.sentinels[index].knowledge.entry(shown.id).or_default();
        knowledge.learn(shown.served, shown.settings, shown.volumes);
        knowledge.steps |= shown.steps;
        let judgement = if shown.fresh {
            // Nothing known replaces an answer.
            let (settings, volumes, read) = (shown.settings, shown.volumes, shown.served);
            let read = Knowledge { settings, volumes, read, steps: shown.steps };
            if shown.settings.is_some() { read.judgement() } else { Judgement::NOTHING }
        } else {
            knowledge.judgement()
        };
        let (place, id) = (shown.place, shown.id);
        let described = shown.described.found();
        self.record(
            index,
            What::Answered(Answer {
                id,
                number: shown.number,
                failed: judgement.failed,
                unknown: judgement.unknown,
                described: described.map(|described| (described.state, described.may_end)),
                fresh: shown.fresh,
                served: shown.served,
            }),
        );
        let event = match shown.number {
            None => AccountEvent::Detailed(place, id, judgement),
            Some(number) => {
                let Shown { described, fresh, asked_configuration, .. } = shown;
                let look = AccountLook { described, judgement, fresh, number, asked_configuration };
                AccountEvent::Looked(place, id, look)
            }
        };
        self.tell(index, event);
    }
}

/// The refusal of a request, if there is trouble.
fn refused(trouble: Option<Trouble>) -> Result<(), Refusal> {
    let kind = match trouble {
        Some(Trouble::Denied) => RefusalKind::Denied,
        Some(Trouble::Throttled) => RefusalKind::Throttled,
        _ => return Ok(()),
    };
    Err(Refusal { kind, text: "refused".to_owned() })
}

/// Whether a state is one of a cluster that ends.
#[must_use]
pub fn ends(state: State) -> bool {
    matches!(state, State::Terminating | State::Over)
}

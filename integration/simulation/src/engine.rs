//! One history: the event queue, and all actors.

mod acts;
mod calls;
mod life;
mod queue;
mod runner;

use crate::{
    engine::queue::{Item, Queue},
    guard::{Guard, Journal, Machine},
    history::{History, Life, LifeEnd, Record, What, World},
    model::{
        cluster::{Cluster, Id, Launcher},
        emr::{Emr, NO_CLUSTER, Origin},
        faults::Operation,
        runner::{RunnerItem, RunnerState},
    },
    random::Random,
    run::Options,
    scenario::{HOUR, Ms, Scenario, Traits},
    watch::machine::{
        event::{Event, RunnerEnd},
        ownership::RunTag,
    },
};

/// The limit of a guard's life, to detect endless ones.
const LONGEST_LIFE: Ms = 40 * HOUR;
/// The limit of a guard's events, to detect endless ones.
const MOST_EVENTS: u32 = 30_000;
/// The maximum number of consecutive guards.
pub const MOST_LIVES: usize = 10;

/// A running history.
pub struct Engine<M> {
    scenario: Scenario,
    options: Options,
    random: Random,
    now: Ms,
    queue: Queue,
    emr: Emr,
    runner: RunnerState,
    journal: Journal,
    guard: Option<Guard<M>>,
    /// The machine is suspended until then.
    asleep: Option<Ms>,
    lives: Vec<Life>,
    records: Vec<Record>,
    calls: Vec<(Ms, Operation)>,
    closed: Option<Ms>,
    events: u32,
    /// The clusters that a person was already asked to terminate.
    helped: Vec<Id>,
    /// The clusters of others, as they are created.
    other_ids: Vec<(usize, Id)>,
}

impl<M: Machine> Engine<M> {
    /// The beginning.
    #[must_use]
    pub fn new(scenario: Scenario, options: Options) -> Self {
        Self {
            random: Random::new(scenario.noise),
            options,
            now: scenario.others.iter().map(|other| other.at).min().unwrap_or(0).min(0),
            queue: Queue::default(),
            emr: Emr::default(),
            runner: RunnerState::default(),
            journal: Journal::default(),
            guard: None,
            asleep: None,
            lives: Vec::new(),
            records: Vec::new(),
            calls: Vec::new(),
            closed: None,
            events: 0,
            helped: Vec::new(),
            other_ids: Vec::new(),
            scenario,
        }
    }

    /// Lives through it.
    #[must_use]
    pub fn run(mut self) -> History {
        self.prepare();
        while let Some((at, item)) = self.queue.pop() {
            if let Some(until) = self.asleep.filter(|until| at < *until && item.is_local()) {
                self.queue.push(until, item);
                continue;
            }
            self.now = self.now.max(at);
            self.happen(item);
            if self.is_endless() {
                self.end_life(LifeEnd::Endless);
                break;
            }
        }
        History {
            scenario: self.scenario,
            clusters: self.emr.clusters,
            lives: self.lives,
            records: self.records,
            calls: self.calls,
            closed: self.closed,
            runner_ended: self.runner.ended,
            end: self.now,
        }
    }

    fn is_endless(&self) -> bool {
        self.guard
            .as_ref()
            .is_some_and(|guard| self.now - guard.start > LONGEST_LIFE || self.events > MOST_EVENTS)
    }

    /// Creates the existing clusters of others, and schedules the independent events.
    fn prepare(&mut self) {
        let mut others: Vec<usize> = (0..self.scenario.others.len()).collect();
        others.sort_by_key(|index| self.scenario.others[*index].at);
        for index in others {
            self.queue.push(self.scenario.others[index].at, Item::Other(index));
        }
        for index in 0..self.scenario.forged.len() {
            self.queue.push(self.scenario.forged[index].at, Item::Forged(index));
        }
        self.queue.push(0, Item::StartGuard);
        if let Some(runner) = &self.scenario.runner {
            self.queue.push(runner.start, Item::Runner(RunnerItem::Begin));
            if let Some((at, end)) = runner.crash {
                self.queue.push(at, Item::Runner(RunnerItem::Crash(end)));
            }
        } else {
            self.runner.ended = Some((0, RunnerEnd::Succeeded));
        }
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::StartGuard => self.start_guard(),
            Item::Other(index) => self.create_other(index),
            Item::Create { request, survivor } => self.create_requested(request, survivor),
            Item::Forged(index) => self.forge(index),
            // Only the guard that started the runner gets its output, and no later guard.
            Item::Log(event) if self.is_life(0) => self.tell(event),
            Item::Log(_) => {}
            Item::Runner(item) => self.runner_does(item),
            Item::Serve(call) => self.serve(*call),
            Item::Deliver { life, answer } => self.deliver_answer(life, *answer),
            Item::Wake { life } => self.wake(life),
            Item::Stop { life } => {
                if self.is_life(life) {
                    self.lives[life].stops.push(self.now);
                    self.tell(Event::StopAsked);
                }
            }
            Item::Crash { life, power } => {
                if self.is_life(life) {
                    self.crash(power);
                }
            }
            Item::Sleep { life, length, counted } => self.sleep(life, length, counted),
            Item::Awake { from, counted } => self.awake(from, counted),
            Item::Push(id) => self.tell(Event::Pushed(id)),
            Item::Person(id) => self.person_ends(id),
        }
    }

    fn is_life(&self, life: usize) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.life == life)
    }

    fn record(&mut self, what: What) {
        let life = self.guard.as_ref().map(|guard| guard.life);
        self.records.push(Record { at: self.now, life, what });
    }

    fn world(&mut self, world: World) {
        self.record(What::World(world));
    }

    fn create_other(&mut self, index: usize) {
        let other = self.scenario.others[index].clone();
        let origin = Origin {
            launcher: Launcher::Other,
            tag: if other.tagged { RunTag::Other } else { RunTag::None },
            job_name: other.job_name,
            matches: other.matches,
        };
        let id = self.create(origin, other.traits);
        self.other_ids.push((index, id));
    }

    fn create_requested(&mut self, number: usize, survivor: bool) {
        let request = match (&self.scenario.runner, &self.scenario.survivor) {
            (_, Some(left)) if survivor => left.launch.as_ref().map(|(_, request)| request.clone()),
            (Some(runner), _) => runner.requests.get(number).cloned(),
            (None, _) => None,
        };
        let Some(request) = request else { return };
        let origin = Origin {
            launcher: if survivor { Launcher::Survivor } else { Launcher::Runner },
            tag: if request.tagged { RunTag::This } else { RunTag::None },
            job_name: true,
            matches: request.matches,
        };
        let id = self.create(origin, request.traits);
        if !survivor {
            self.runner.clusters.push((number, id));
        }
    }

    fn create(&mut self, origin: Origin, traits: Traits) -> Id {
        let id = self.emr.create(self.now, origin, traits);
        self.world(World::Created(id));
        if self.scenario.pushes && origin.job_name {
            let times = self.emr.cluster(id).map(push_times).unwrap_or_default();
            for at in times {
                let late = self.random.between(300, 4_000);
                self.queue.push(at + late, Item::Push(id));
            }
        }
        id
    }

    fn person_ends(&mut self, id: Id) {
        let now = self.now;
        let Some(cluster) = self.emr.cluster_mut(id) else { return };
        if cluster.ends().is_none_or(|ends| now < ends) {
            cluster.protected = false;
            cluster.terminated = Some(now);
            self.world(World::EndedByPerson(id));
        }
    }

    fn forge(&mut self, index: usize) {
        if !self.runner.is_alive() {
            return;
        }
        let forged = self.scenario.forged[index];
        let real = forged.other.and_then(|other| {
            self.other_ids.iter().find(|(index, _)| *index == other).map(|(_, id)| *id)
        });
        for line in 0..forged.lines {
            self.tell(Event::Hint(real.unwrap_or(Id(NO_CLUSTER + line))));
        }
    }
}

/// When EMR sends events about a cluster.
fn push_times(cluster: &Cluster) -> Vec<Ms> {
    let starts = cluster.created + cluster.traits.starting;
    let mut times = vec![cluster.created, starts, cluster.ready()];
    times.extend(cluster.over().filter(|over| *over < cluster.created + 24 * HOUR));
    times
}

//! The guard's life: it starts, gets events, sleeps, dies.

use crate::{
    engine::{
        Engine, MOST_LIVES,
        queue::{Item, Reply},
    },
    guard::{self, Guard, HEARTBEAT, Journal, Machine},
    history::{Life, LifeEnd, What, World},
    model::emr::LAUNCH,
    scenario::{CrashTime, GuardLife, HOUR, Ms, SECOND},
    watch::machine::{
        conclusion::WatchConclusion,
        event::{Action, Event, RunnerEnd},
        plan::WatchMode,
    },
};

impl<M: Machine> Engine<M> {
    fn plan_of_life(&self, life: usize) -> GuardLife {
        self.scenario.lives.get(life).cloned().unwrap_or(GuardLife::QUIET)
    }

    pub(super) fn start_guard(&mut self) {
        let life = self.lives.len();
        let mode = match (&self.scenario.runner, life) {
            (None, _) => WatchMode::Attach,
            (Some(_), 0) => WatchMode::Run,
            (Some(_), _) => WatchMode::Resume,
        };
        if life == 0 {
            self.journal = self.first_journal();
        } else if mode == WatchMode::Resume && self.runner.has_survivor(self.now) {
            // The driver kills the orphans of an earlier runner before it resumes.
            self.runner.end_survivor(self.now, self.scenario.survivor.as_ref());
            let gone = self.runner.survivor_gone.unwrap_or(self.now);
            self.journal.bound = self.journal.bound.max(Some(gone));
            if gone > self.now {
                return self.queue.push(gone, Item::StartGuard);
            }
        }
        let seed = self.random.bits();
        let plan =
            guard::plan(mode, &self.journal, &self.scenario.settings, seed, self.now, self.options);
        self.lives.push(self.life(mode));
        let mut machine = M::new(plan);
        let actions = machine.start(crate::watch::machine::time::Moment::START);
        self.guard = Some(Guard {
            machine,
            life,
            start: self.now,
            uncounted: 0,
            wake: None,
            knowledge: std::collections::BTreeMap::new(),
            actions: 0,
        });
        self.world(World::GuardStarted(mode));
        self.events = 0;
        let plan = self.plan_of_life(life);
        let mut stops = plan.stops;
        if mode == WatchMode::Attach && stops.is_empty() {
            // Somebody stops it in the end.
            stops.push(HOUR);
        }
        for stop in stops {
            self.queue.push(self.now + stop, Item::Stop { life });
        }
        if let Some(crash) = plan.crash
            && let CrashTime::After(after) = crash.when
        {
            self.queue.push(self.now + after, Item::Crash { life, power: crash.power });
        }
        if let Some((at, length, counted)) = plan.sleep {
            self.queue.push(self.now + at, Item::Sleep { life, length, counted });
        }
        self.perform(actions);
    }

    fn first_journal(&mut self) -> Journal {
        let Some(runner) = &self.scenario.runner else {
            let named = self
                .other_ids
                .iter()
                .filter(|(index, _)| self.scenario.others[*index].named)
                .map(|(_, id)| *id)
                .collect();
            return Journal { named, ..Journal::default() };
        };
        let persistent = runner.persistent;
        let now = self.now;
        let there =
            self.emr.clusters.iter().filter(|cluster| cluster.job_name && cluster.lives(now));
        let earlier = there.clone().map(|cluster| cluster.id).collect();
        let adoptable = there
            .filter(|cluster| persistent && cluster.traits.stays)
            .map(|cluster| cluster.id)
            .collect();
        // AWS's Date has whole seconds, and arrives with a delay.
        let late = self.random.between(0, SECOND - 1);
        let launched = (LAUNCH + now + late).div_euclid(SECOND) * SECOND - LAUNCH;
        Journal { launched: Some(launched), persistent, earlier, adoptable, ..Journal::default() }
    }

    fn life(&self, mode: WatchMode) -> Life {
        let journal = &self.journal;
        let until = journal.bound.map(|bound| bound + guard::IN_FLIGHT);
        Life {
            mode,
            start: self.now,
            end: None,
            stops: Vec::new(),
            until,
            launched: journal.launched,
            open_until: until.unwrap_or(self.now).max(self.now),
            earlier: journal.earlier.clone(),
            adoptable: journal.adoptable.clone(),
            named: journal.named.clone(),
            known: journal.known.clone(),
            stopped_to_end: journal.stopped_to_end,
            runner_end: None,
            output_end: None,
            survivors_gone: None,
            slept: Vec::new(),
        }
    }

    /// Passes an event to the guard, if there is one.
    pub(super) fn tell(&mut self, event: Event<crate::model::cluster::Id>) {
        let Some(guard) = &mut self.guard else { return };
        self.events += 1;
        let now = guard.moment(self.now);
        let actions = guard.machine.handle(now, event.clone());
        self.record(What::Event(event));
        self.perform(actions);
    }

    pub(super) fn deliver_answer(&mut self, life: usize, reply: Reply) {
        let volumes = self.scenario.settings.volumes;
        let Some(guard) = self.guard.as_mut().filter(|guard| guard.life == life) else { return };
        let event = match reply {
            Reply::Event(event) => event,
            Reply::DescribedFirst(id, raw) => {
                let look = guard.knowledge.entry(id).or_default().look(raw, volumes);
                if !look.judgement.failed {
                    return;
                }
                Event::DescribedFirst(id, look)
            }
            Reply::Look(id, raw) => {
                let look = guard.knowledge.entry(id).or_default().look(raw, volumes);
                Event::Looked(id, look)
            }
            Reply::Details(id, raw) => {
                let judgement = guard.knowledge.entry(id).or_default().details(raw, volumes);
                Event::Detailed(id, judgement)
            }
        };
        if let Event::Listed(crate::watch::machine::event::AwsAnswer::Found(listings)) = &event {
            for listing in listings {
                if let Some(known) = guard.knowledge.get_mut(&listing.id) {
                    known.listed(listing.state);
                }
            }
        }
        self.tell(event);
    }

    pub(super) fn wake(&mut self, life: usize) {
        let Some(guard) = self.guard.as_mut().filter(|guard| guard.life == life) else { return };
        let Some(wanted) = guard.wake else { return };
        let due = guard.world_time(wanted);
        if due <= self.now {
            guard.wake = None;
            self.tell(Event::Woke);
        } else if self.asleep.is_none() && guard.uncounted > 0 {
            // Its clock did not advance meanwhile.
            self.queue.push(due, Item::Wake { life });
        }
    }

    pub(super) fn sleep(&mut self, life: usize, length: Ms, counted: bool) {
        if self.is_life(life) {
            self.asleep = Some(self.now + length);
            self.queue.push(self.now + length, Item::Awake { from: self.now, counted });
        }
    }

    pub(super) fn awake(&mut self, from: Ms, counted: bool) {
        self.asleep = None;
        let now = self.now;
        let Some(guard) = &mut self.guard else { return };
        self.lives[guard.life].slept.push((from, now));
        if !counted {
            guard.uncounted += now - from;
        }
        let life = guard.life;
        if guard.wake.is_some() {
            self.queue.push(now, Item::Wake { life });
        }
        self.world(World::Slept { counted });
    }

    /// The guard dies without notice.
    pub(super) fn crash(&mut self, power: bool) {
        let Some(guard) = &self.guard else { return };
        let (life, mode) = (guard.life, self.lives[guard.life].mode);
        if mode == WatchMode::Run {
            let beats = (self.now - guard.start) / HEARTBEAT;
            self.journal.bound = Some(guard.start + (beats + 1) * HEARTBEAT);
        }
        self.world(World::GuardCrashed { power });
        self.kill_with_guard();
        if power {
            self.runner.survivor_gone = self.runner.survivor_gone.map(|gone| gone.min(self.now));
        }
        self.end_life(LifeEnd::Crashed);
        self.start_next(life);
    }

    /// The kernel kills the runner whose guard is gone.
    fn kill_with_guard(&mut self) {
        if self.runner.is_alive() {
            self.runner_ends(RunnerEnd::Killed);
        }
    }

    fn start_next(&mut self, life: usize) {
        if self.lives.len() < MOST_LIVES {
            let next = self.now + self.plan_of_life(life).next;
            if self.lives[life].mode == WatchMode::Run {
                // When the next guard starts, it is only known that the runner was gone by then.
                self.journal.bound = self.journal.bound.map(|bound| bound.min(next));
            }
            self.queue.push(next, Item::StartGuard);
        }
    }

    pub(super) fn end_life(&mut self, end: LifeEnd) {
        if let Some(guard) = self.guard.take() {
            self.lives[guard.life].end = Some((self.now, end));
        }
    }

    pub(super) fn finish(&mut self, conclusion: WatchConclusion<crate::model::cluster::Id>) {
        let Some(life) = self.guard.as_ref().map(|guard| guard.life) else { return };
        self.kill_with_guard();
        let is_closed = conclusion.open.is_empty();
        let mode = self.lives[life].mode;
        if mode == WatchMode::Run {
            self.journal.bound = Some(self.now);
        }
        self.end_life(LifeEnd::Finished(conclusion));
        if is_closed || mode == WatchMode::Attach {
            self.closed = Some(self.now);
        } else {
            self.start_next(life);
        }
    }

    /// Performs the watcher's actions in order; a crash may come between any two.
    fn perform(&mut self, actions: Vec<Action<crate::model::cluster::Id>>) {
        for action in actions {
            let Some(guard) = &mut self.guard else { return };
            guard.actions += 1;
            let (life, done) = (guard.life, guard.actions);
            self.act(action);
            let crash = self.scenario.lives.get(life).and_then(|life| life.crash);
            if let Some(crash) = crash
                && crash.when == CrashTime::Actions(done)
            {
                return self.crash(crash.power);
            }
        }
    }
}

//! The actions of the runner, and of its orphaned processes.

use crate::{
    engine::{Engine, queue::Item},
    guard::Machine,
    history::World,
    model::{
        cluster::Id,
        emr::aws_time,
        runner::{REQUEST_LIMIT, RunnerItem},
    },
    random::Random,
    scenario::{Ms, RequestAnswer, SECOND},
    watch::machine::{
        event::{Event, RunnerEnd},
        state::State,
    },
};

impl<M: Machine> Engine<M> {
    pub(super) fn runner_does(&mut self, item: RunnerItem) {
        match item {
            RunnerItem::OutputEnds => return self.output_ends(),
            RunnerItem::SurvivorLaunches => return self.survivor_launches(),
            RunnerItem::SurvivorEnds => return self.survivor_ends(),
            _ => {}
        }
        if !self.runner.is_alive() {
            return;
        }
        match item {
            RunnerItem::Begin => self.runner_begins(),
            RunnerItem::Send => self.send_request(),
            RunnerItem::AwsAnswer(request, worked) => self.request_answered(request, worked),
            RunnerItem::Poll => self.poll(),
            RunnerItem::Die(end) => self.runner_ends(end),
            RunnerItem::Crash(end) => {
                // A runner that waits for a response does not fail by itself.
                let end = if self.runner.waits { RunnerEnd::Killed } else { end };
                self.runner_ends(end);
            }
            RunnerItem::AddStep { id, length, bad } => {
                let now = self.now;
                if let Some(cluster) = self.emr.cluster_mut(id) {
                    cluster.add_step(now, length, true, bad);
                }
                self.world(World::StepsAdded(id));
                let runner = self.scenario.runner.as_ref();
                if let Some(runner) = runner.filter(|runner| runner.debug_log) {
                    self.queue.push(self.now + runner.log, Item::Log(Event::Activity));
                }
            }
            RunnerItem::OutputEnds | RunnerItem::SurvivorLaunches | RunnerItem::SurvivorEnds => {}
        }
    }

    fn later(&mut self, after: Ms, item: RunnerItem) {
        self.queue.push(self.now + after, Item::Runner(item));
    }

    fn runner_begins(&mut self) {
        let Some(runner) = &self.scenario.runner else { return };
        if let Some(end) = runner.nothing {
            return self.runner_ends(end);
        }
        if !runner.persistent {
            return self.send_request();
        }
        // It uses the one WAITING cluster of its name, whoever owns it.
        let now = self.now;
        let mut there = self.emr.clusters.iter().filter(|cluster| {
            cluster.job_name && matches!(cluster.listed(now), Some(State::Waiting | State::Running))
        });
        match (there.next().map(|cluster| (cluster.id, cluster.state(now))), there.next()) {
            (None, _) => self.send_request(),
            (Some((id, State::Waiting)), None) => {
                self.runner.current = Some(id);
                self.hint(id);
                self.add_steps(id);
            }
            (Some(_), None) => self.runner_ends(RunnerEnd::StartedNothing),
            (Some(_), Some(_)) => self.runner_ends(RunnerEnd::Failed),
        }
    }

    fn hint(&mut self, id: Id) {
        if let Some(runner) = self.scenario.runner.as_ref().filter(|runner| runner.debug_log) {
            self.queue.push(self.now + runner.log, Item::Log(Event::Hint(id)));
        }
    }

    fn add_steps(&mut self, id: Id) {
        let Some(runner) = self.scenario.runner.clone() else { return };
        let mut at = self.now;
        for (index, length) in runner.steps.iter().enumerate() {
            at += self.random.between(300, 2_000);
            let bad = runner.bad_step && index == 0;
            let length = *length;
            self.queue.push(at, Item::Runner(RunnerItem::AddStep { id, length, bad }));
        }
        self.later(runner.poll, RunnerItem::Poll);
    }

    fn send_request(&mut self) {
        let Some(runner) = &self.scenario.runner else { return };
        let number = self.runner.next_request;
        let Some(request) = runner.requests.get(number) else {
            return self.runner_ends(RunnerEnd::Failed);
        };
        let (effect, answer) = (request.effect, request.answer);
        self.runner.next_request += 1;
        self.runner.waits = true;
        self.world(World::Requested(number));
        if let Some(effect) = effect {
            self.queue.push(self.now + effect, Item::Create { request: number, survivor: false });
        }
        let (after, worked) = match answer {
            RequestAnswer::Id(after) => (after, effect.is_some_and(|effect| effect <= after)),
            RequestAnswer::ServerError(after) => (after, false),
            RequestAnswer::Nothing => (REQUEST_LIMIT, false),
        };
        self.later(after, RunnerItem::AwsAnswer(number, worked));
    }

    fn request_answered(&mut self, number: usize, worked: bool) {
        self.runner.waits = false;
        let id = self.runner.cluster_of(number).filter(|_| worked);
        let Some(id) = id else {
            self.world(World::RequestFailed(number));
            return self.send_request();
        };
        self.runner.current = Some(id);
        self.hint(id);
        let Some(runner) = &self.scenario.runner else { return };
        let (persistent, poll) = (runner.persistent, runner.poll);
        if persistent && runner.requests.get(number).is_some_and(|it| it.traits.stays) {
            self.add_steps(id);
        } else {
            self.later(poll, RunnerItem::Poll);
        }
    }

    fn poll(&mut self) {
        let Some(runner) = &self.scenario.runner else { return };
        let (now, poll, retry) = (self.now, runner.poll, runner.retry);
        let has_more = self.runner.next_request < runner.requests.len();
        let false_success = runner.false_success;
        let Some(id) = self.runner.current else { return };
        let Some(cluster) = self.emr.cluster(id) else { return };
        let state = cluster.state(now);
        let is_ending = matches!(state, State::Terminating | State::Over);
        let failed_to_bootstrap = is_ending
            && cluster.traits.bootstrap_fails
            && cluster.terminated.is_none_or(|at| cluster.ready() < at);
        let adopted = self.journal.adoptable.contains(&id);
        let work = cluster.work(now, adopted);
        if false_success && !adopted {
            if let Some(cluster) = self.emr.cluster_mut(id)
                && !cluster.traits.stays
                && cluster.ends().is_none_or(|ends| now < ends)
            {
                cluster.terminated = Some(now);
            }
            return self.later(500, RunnerItem::Die(RunnerEnd::Succeeded));
        }
        if failed_to_bootstrap && has_more {
            return self.later(retry, RunnerItem::Send);
        }
        let stays = cluster.traits.stays;
        if work.done && (is_ending || stays) {
            self.later(1_500, RunnerItem::Die(RunnerEnd::Succeeded));
        } else if is_ending || (stays && work.begun && !work.open) {
            self.later(1_500, RunnerItem::Die(RunnerEnd::Failed));
        } else {
            self.later(poll, RunnerItem::Poll);
        }
    }

    /// The runner has ended. Its orphaned processes continue.
    pub(super) fn runner_ends(&mut self, end: RunnerEnd) {
        self.runner.ended = Some((self.now, end));
        self.world(World::RunnerEnded(end));
        // Its last lines come first.
        let output = self.scenario.runner.as_ref().map_or(0, |runner| runner.log + runner.output);
        let mut output_open = false;
        if let Some(survivor) = &self.scenario.survivor {
            let gone = self.now + survivor.ends;
            self.runner.survivor_gone = Some(gone);
            output_open = survivor.holds_output;
            self.queue.push(gone, Item::Runner(RunnerItem::SurvivorEnds));
            if let Some((after, _)) = survivor.launch {
                self.queue.push(self.now + after, Item::Runner(RunnerItem::SurvivorLaunches));
            }
        }
        let date = date(self.now, &mut self.random);
        if let Some(life) = self.guard.as_ref().map(|guard| guard.life) {
            self.lives[life].runner_end = Some((self.now, end));
        }
        self.tell(Event::RunnerEnded(end, Some(aws_time(date))));
        if !output_open {
            self.later(output, RunnerItem::OutputEnds);
        }
    }

    fn output_ends(&mut self) {
        if std::mem::replace(&mut self.runner.output_ended, true) || !self.is_life(0) {
            return;
        }
        if let Some(life) = self.guard.as_ref().map(|guard| guard.life) {
            self.lives[life].output_end = Some(self.now);
        }
        self.tell(Event::OutputEnded);
    }

    fn survivor_ends(&mut self) {
        if self.runner.survivor_gone.is_some_and(|gone| gone <= self.now)
            && self.scenario.survivor.as_ref().is_some_and(|survivor| survivor.holds_output)
        {
            self.output_ends();
        }
    }

    fn survivor_launches(&mut self) {
        if !self.runner.has_survivor(self.now) {
            return;
        }
        let launch = self.scenario.survivor.as_ref().and_then(|survivor| survivor.launch.as_ref());
        let Some(effect) = launch.and_then(|(_, request)| request.effect) else { return };
        self.world(World::SurvivorRequested);
        self.queue.push(self.now + effect, Item::Create { request: 0, survivor: true });
    }
}

/// The time in AWS's Date header: whole seconds, with a delay.
fn date(now: Ms, random: &mut Random) -> Ms {
    now.div_euclid(SECOND) * SECOND + random.between(0, SECOND)
}

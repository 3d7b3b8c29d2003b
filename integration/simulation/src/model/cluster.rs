//! One cluster: its truth, and its life. Its state at any time is computed, not stepped.

use crate::{
    scenario::{Defect, MINUTE, Ms, SECOND, Traits},
    watch::machine::{event::Work, ownership::RunTag, state::State},
};

/// Names a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u32);

impl std::fmt::Display for Id {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "j-{}", self.0)
    }
}

/// The creator of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Launcher {
    /// The run's runner.
    Runner,
    /// An orphaned process of the runner.
    Survivor,
    /// Somebody else.
    Other,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// This run's runner added it.
    pub of_run: bool,
    /// When it was added.
    pub added: Ms,
    /// When it starts, if nothing comes between.
    pub begin: Ms,
    /// When it ends.
    pub end: Ms,
    /// It is not as verified.
    pub bad: bool,
}

/// A cluster.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Cluster {
    /// Its id.
    pub id: Id,
    /// Its creator.
    pub launcher: Launcher,
    /// Its tag.
    pub tag: RunTag,
    /// It has the name of the run's clusters.
    pub job_name: bool,
    /// Its request is the one this run's runner would send.
    pub matches: bool,
    /// When it was created.
    pub created: Ms,
    /// How it lives.
    pub traits: Traits,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Termination is refused.
    pub protected: bool,
    /// When EMR accepted its termination.
    pub terminated: Option<Ms>,
    /// The guard terminated it, or a person at its request.
    pub terminated_by_guard: bool,
}

/// From the end of one step to the start of the next.
const BETWEEN_STEPS: Ms = 5 * SECOND;
/// The time from ready until instances are added.
const ADDED_AFTER: Ms = 4 * MINUTE;
/// How long instances exist once it is TERMINATING.
const INSTANCES_LINGER: Ms = 5 * SECOND;

impl Cluster {
    /// When it could first run steps.
    #[must_use]
    pub fn ready(&self) -> Ms {
        self.created + self.traits.starting + self.traits.bootstrapping
    }

    /// Adds a step at its time.
    pub fn add_step(&mut self, at: Ms, length: Ms, of_run: bool, bad: bool) {
        let free = self.steps.last().map_or(self.ready(), |step| step.end).max(at);
        let begin = free + BETWEEN_STEPS;
        self.steps.push(Step { of_run, added: at, begin, end: begin + length, bad });
    }

    /// When it starts to terminate by itself.
    fn natural_end(&self) -> Option<Ms> {
        if self.traits.bootstrap_fails {
            return Some(self.ready());
        }
        let failed = self.traits.failing_step.and_then(|failing| self.steps.get(failing));
        match failed {
            Some(step) => Some(step.end),
            None if self.traits.stays => None,
            None => Some(self.steps.last().map_or(self.ready(), |step| step.end)),
        }
    }

    /// When it starts to terminate.
    #[must_use]
    pub fn ends(&self) -> Option<Ms> {
        self.natural_end().into_iter().chain(self.terminated).min()
    }

    /// When it is over.
    #[must_use]
    pub fn over(&self) -> Option<Ms> {
        self.ends().map(|ends| ends + self.traits.terminating)
    }

    /// Whether it is alive then.
    #[must_use]
    pub fn lives(&self, now: Ms) -> bool {
        self.created <= now && self.over().is_none_or(|over| now < over)
    }

    /// Its state then.
    #[must_use]
    pub fn state(&self, now: Ms) -> State {
        if let Some(ends) = self.ends().filter(|ends| *ends <= now) {
            return if now < ends + self.traits.terminating {
                State::Terminating
            } else {
                State::Over
            };
        }
        let age = now - self.created;
        if age < self.traits.starting {
            State::Starting
        } else if now < self.ready() {
            State::Bootstrapping
        } else if self.steps.iter().any(|step| step.added <= now && now < step.end) {
            State::Running
        } else {
            State::Waiting
        }
    }

    /// Its state in ListClusters; none: not in the list yet.
    #[must_use]
    pub fn listed(&self, now: Ms) -> Option<State> {
        let shown = now - self.traits.list_lag;
        (self.created <= shown).then(|| self.state(shown))
    }

    /// Whether it reached a state in which it could run steps.
    #[must_use]
    pub fn was_ready(&self, now: Ms) -> bool {
        self.ready() <= now && self.ends().is_none_or(|ends| self.ready() < ends)
    }

    /// The state of its steps then; for an existing cluster only of this run's steps.
    #[must_use]
    pub fn work(&self, now: Ms, of_run_only: bool) -> Work {
        let ends = self.ends().unwrap_or(Ms::MAX);
        let failing = self.traits.failing_step;
        let mut work = Work::default();
        let mut all_done = true;
        let mut some_done = false;
        for (index, step) in self.steps.iter().enumerate() {
            if step.added > now || (of_run_only && !step.of_run) {
                continue;
            }
            let begun = step.begin <= now && step.begin < ends;
            let done = step.end <= now && step.end <= ends && failing != Some(index);
            let failed = failing == Some(index) && step.end <= now;
            work.begun |= begun;
            work.open |= !done && !failed && now < ends;
            all_done &= done;
            some_done |= done;
        }
        work.done = some_done && if self.traits.stays { !work.open } else { all_done };
        work
    }

    /// Whether it has steps of this run then.
    #[must_use]
    pub fn has_steps_of_run(&self, now: Ms) -> bool {
        self.steps.iter().any(|step| step.of_run && step.added <= now)
    }

    /// When its instances and their volumes are visible.
    #[must_use]
    pub fn instances(&self) -> Option<(Ms, Ms)> {
        let from = self.created + self.traits.starting + self.traits.instances;
        let until = match self.ends() {
            Some(ends) => ends + self.traits.terminating.min(INSTANCES_LINGER),
            None => Ms::MAX,
        };
        (from < until).then_some((from, until))
    }

    /// Whether its instances are visible then.
    #[must_use]
    pub fn shows_instances(&self, now: Ms) -> bool {
        self.instances().is_some_and(|(from, until)| (from..until).contains(&now))
    }

    /// Whether one of its volumes is visible and unencrypted.
    #[must_use]
    pub fn shows_bad_volume(&self, now: Ms) -> bool {
        let added = now >= self.ready() + ADDED_AFTER;
        self.shows_instances(now)
            && (self.traits.defect == Some(Defect::Volumes)
                || (self.traits.defect == Some(Defect::AddedVolumes) && added))
    }

    /// The time in which its defect can be seen; none: it has no defect, or it cannot be seen.
    #[must_use]
    pub fn shows_defect(&self, volumes_required: bool) -> Option<(Ms, Ms)> {
        let step = self.bad_step().map(|added| (added, Ms::MAX));
        let other = match self.traits.defect {
            Some(Defect::NoSecurityConfiguration | Defect::Replaced) => {
                Some((self.created, Ms::MAX))
            }
            Some(Defect::Volumes) if volumes_required => self.instances(),
            Some(Defect::AddedVolumes) if volumes_required => self
                .instances()
                .map(|(from, until)| (from.max(self.ready() + ADDED_AFTER), until))
                .filter(|(from, until)| from < until),
            Some(Defect::Volumes | Defect::AddedVolumes | Defect::Step) | None => None,
        };
        step.into_iter().chain(other).min()
    }

    /// When a step was added that is not as verified.
    #[must_use]
    pub fn bad_step(&self) -> Option<Ms> {
        self.steps.iter().filter(|step| step.bad).map(|step| step.added).min()
    }

    /// The longest relevant life of a persistent cluster.
    pub const LONGEST: Ms = 24 * 60 * MINUTE;
}

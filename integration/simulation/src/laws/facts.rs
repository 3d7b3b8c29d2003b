//! The facts of a history that the laws use, collected in one pass.

use std::collections::BTreeMap;

use crate::{
    history::{History, Life, What, World},
    model::{
        cluster::{Cluster, Id, Launcher},
        faults::{Fault, Operation},
    },
    scenario::{Defect, Ms, SECOND},
    watch::machine::{
        event::{Action, AwsAnswer, Event, Force, Judgement, Question, WatchNotice},
        ownership::{Ownership, RunTag},
        plan::WatchMode,
    },
};

/// The content of one response about a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// When.
    pub at: Ms,
    /// The checks' result since then.
    pub judgement: Judgement,
    /// It was in a DescribeCluster response by then.
    pub described: bool,
}

/// The facts of a history that the laws use.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The notices to people, with the number of the guard.
    pub notices: Vec<(Ms, usize, WatchNotice<Id>)>,
    /// Requests to terminate.
    pub terminations: Vec<(Ms, usize, Id)>,
    /// When EMR accepted a cluster's termination, the first time for each guard.
    pub accepted: BTreeMap<(usize, Id), Ms>,
    /// Requests to lift protection.
    pub protections: Vec<(Ms, usize, Id)>,
    /// The runner was stopped.
    pub stops: Vec<(Ms, usize, Force)>,
    /// The responses about each cluster to each guard.
    pub told: BTreeMap<(usize, Id), Vec<Told>>,
    /// When the log first named a cluster, for each guard.
    pub hints: BTreeMap<(usize, Id), Ms>,
    /// When the log, or an event, named a cluster.
    pub named: Vec<(Ms, usize, Id)>,
    /// When a guard first requested a cluster.
    pub asked: BTreeMap<(usize, Id), Ms>,
    /// When the last successful search was requested, by each guard.
    pub searched: BTreeMap<usize, Ms>,
    /// When a search without a response yet was requested.
    searching: BTreeMap<usize, Ms>,
    /// When calls failed.
    pub faults: Vec<(Ms, usize, Operation)>,
}

impl Facts {
    /// Finds it.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut facts = Self::default();
        for record in &history.records {
            let Some(life) = record.life else { continue };
            match &record.what {
                What::Event(event) => facts.event(record.at, life, event, &history.lives),
                What::Action(action) => facts.action(record.at, life, action),
                What::World(World::Fault(_, operation)) => {
                    facts.faults.push((record.at, life, *operation));
                }
                What::World(_) => {}
            }
        }
        facts
    }

    fn event(&mut self, at: Ms, life: usize, event: &Event<Id>, lives: &[Life]) {
        match event {
            // Its steps also decide whether it is the run's.
            Event::DescribedFirst(id, look) if lives[life].presumes(*id, look) => {}
            Event::DescribedFirst(id, look) | Event::Looked(id, look) => {
                let known = self.told.entry((life, *id)).or_default();
                let before = known.last().is_some_and(|told| told.described);
                let described = before || matches!(look.described, AwsAnswer::Found(_));
                known.push(Told { at, judgement: look.judgement, described });
            }
            Event::Detailed(id, judgement) => {
                let known = self.told.entry((life, *id)).or_default();
                let described = known.last().is_some_and(|told| told.described);
                known.push(Told { at, judgement: *judgement, described });
            }
            Event::TerminationAnswered(id, Ok(())) => {
                self.accepted.entry((life, *id)).or_insert(at);
            }
            Event::Listed(AwsAnswer::Found(_)) => {
                self.searched.extend(self.searching.remove(&life).map(|asked| (life, asked)));
            }
            Event::Pushed(id) => self.named.push((at, life, *id)),
            Event::Hint(id) => {
                self.named.push((at, life, *id));
                self.hints.entry((life, *id)).or_insert(at);
            }
            _ => {}
        }
    }

    fn action(&mut self, at: Ms, life: usize, action: &Action<Id>) {
        match action {
            Action::Tell(notice) => self.notices.push((at, life, notice.clone())),
            Action::Terminate(id) => self.terminations.push((at, life, *id)),
            Action::Unprotect(id) => self.protections.push((at, life, *id)),
            Action::Ask(Question::Search) => {
                self.searching.insert(life, at);
            }
            Action::Ask(Question::Look { id, .. }) => {
                self.asked.entry((life, *id)).or_insert(at);
            }
            Action::StopRunner(force) => self.stops.push((at, life, *force)),
            _ => {}
        }
    }

    /// The responses about a cluster to a guard until then.
    pub fn told_until(&self, life: usize, id: Id, at: Ms) -> impl Iterator<Item = &Told> {
        self.told.get(&(life, id)).into_iter().flatten().take_while(move |told| told.at <= at)
    }

    /// The last of it.
    #[must_use]
    pub fn last_told(&self, life: usize, id: Id, at: Ms) -> Option<&Told> {
        self.told_until(life, id, at).last()
    }

    /// Whether a guard received a fact that makes a cluster unsafe.
    #[must_use]
    pub fn is_known_unsafe(&self, life: usize, id: Id, at: Ms) -> bool {
        self.told_until(life, id, at).any(|told| told.judgement.failed)
    }

    /// Whether a cluster was evaluated once, as far as it existed.
    #[must_use]
    pub fn was_judged(&self, life: usize, id: Id, at: Ms) -> bool {
        self.told_until(life, id, at).any(|told| told.described && !told.judgement.unknown)
    }

    /// Whether a cluster was evaluated once, completely, with its volumes.
    #[must_use]
    pub fn was_judged_wholly(&self, life: usize, id: Id, at: Ms) -> bool {
        self.told_until(life, id, at)
            .any(|told| told.described && !told.judgement.unknown && !told.judgement.unseen)
    }

    /// When a guard found a cluster.
    #[must_use]
    pub fn found(&self, life: usize, id: Id) -> Option<Ms> {
        self.notices
            .iter()
            .find(|(_, of, notice)| {
                *of == life && matches!(notice, WatchNotice::Found(found, _) if *found == id)
            })
            .map(|(at, ..)| *at)
    }
}

/// The maximum error of the guard's estimate of AWS's time.
const DATE_ERROR: Ms = 2 * SECOND;

/// The latest time at which a cluster without a tag can be the run's, as the guard knew it at its
/// end; none: unlimited.
#[must_use]
pub fn until(life: &Life) -> Option<Ms> {
    match (life.mode, life.runner_end) {
        (WatchMode::Run, Some((at, _))) => Some(at + crate::guard::IN_FLIGHT),
        _ => life.until,
    }
}

/// The possible owners of a cluster, by the truth and the table of ownership; two at the edge of
/// the run's time, which is not known to the second.
#[must_use]
pub fn owners(life: &Life, cluster: &Cluster) -> [Option<Ownership>; 2] {
    let one = |whose| [Some(whose), None];
    if life.named.contains(&cluster.id) {
        return one(Ownership::Named);
    }
    if cluster.tag == RunTag::This {
        return one(Ownership::Ours);
    }
    if life.adoptable.contains(&cluster.id) {
        return one(Ownership::Adopted);
    }
    let before = life.launched.is_some_and(|launched| cluster.created < launched);
    if before
        || life.mode == WatchMode::Attach
        || life.earlier.contains(&cluster.id)
        || cluster.tag == RunTag::Other
        || !(cluster.matches && cluster.job_name)
    {
        return one(Ownership::NotOurs);
    }
    match until(life) {
        None => one(Ownership::Presumed),
        Some(until) if cluster.created <= until - DATE_ERROR => one(Ownership::Presumed),
        Some(until) if cluster.created > until + DATE_ERROR && life.mode == WatchMode::Resume => {
            one(Ownership::NotOurs)
        }
        Some(_) => [Some(Ownership::Presumed), Some(Ownership::NotOurs)],
    }
}

/// Whether the guard must treat a cluster as the run's.
#[must_use]
pub fn is_of_run(life: &Life, cluster: &Cluster) -> bool {
    let owners = owners(life, cluster);
    !owners.contains(&Some(Ownership::NotOurs))
}

/// Whether the settings let the guard terminate a cluster when it is unsafe.
#[must_use]
pub fn ends_if_unsafe(history: &History, life: &Life, cluster: &Cluster, at: Ms) -> bool {
    let rules = history.scenario.settings.rules;
    match owners(life, cluster) {
        [Some(Ownership::Ours), None] => true,
        [Some(Ownership::Presumed), None] => rules.untagged,
        [Some(Ownership::Adopted), None] => rules.adopted && cluster.has_steps_of_run(at),
        [Some(Ownership::Named), None] => rules.attached,
        _ => false,
    }
}

/// The time in which a guard can see a cluster's defect.
#[must_use]
pub fn shows_defect(history: &History, life: &Life, cluster: &Cluster) -> Option<(Ms, Ms)> {
    let shown = cluster.shows_defect(history.scenario.settings.volumes)?;
    // For an existing cluster, only this run's steps are evaluated.
    let only_steps = matches!(cluster.traits.defect, None | Some(Defect::Step));
    if only_steps && life.adoptable.contains(&cluster.id) {
        let added = cluster.steps.iter().filter(|step| step.bad && step.of_run);
        return added.map(|step| step.added).min().map(|added| (added, Ms::MAX));
    }
    Some(shown)
}

/// Whether no fault affects one of these calls then, and the machine is not suspended.
#[must_use]
pub fn is_clear(history: &History, operations: &[Operation], from: Ms, until: Ms) -> bool {
    let touches = |fault: &Fault| {
        fault.from < until
            && from < fault.until
            && operations.iter().any(|operation| fault.concerns(*operation, fault.from))
    };
    let slept = history
        .lives
        .iter()
        .flat_map(|life| &life.slept)
        .any(|(began, ended)| *began < until && from < *ended);
    !slept && !history.scenario.faults.iter().any(touches)
}

/// Whether the run really created a cluster.
#[must_use]
pub fn is_launched_by_run(cluster: &Cluster) -> bool {
    matches!(cluster.launcher, Launcher::Runner | Launcher::Survivor)
}

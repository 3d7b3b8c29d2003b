//! How the decisions of an account's history can be simpler.

use crate::{
    accounts::{
        cluster::{Fact, Launch, Timeline},
        scenario::AccountScenario,
    },
    scenario::{MINUTE, Ms, SECOND},
    shrink::Decisions,
};

/// Nothing that is drawn is over before.
const SHORTEST: Ms = 2 * MINUTE;
/// How long a simple cluster is in each state that is not its work.
const BRIEF: Ms = 10 * SECOND;
const GOOD: Timeline = Timeline { first: Fact::Good, change: None };

impl Decisions for AccountScenario {
    fn simpler(&self) -> Vec<Self> {
        let mut all = vec![
            self.with(|it| keep_launches(it, |index| index < self.launches.len() / 2)),
            self.with(|it| keep_launches(it, |index| index >= self.launches.len() / 2)),
            self.with(|it| it.faults.clear()),
            self.with(|it| it.absences.clear()),
            self.with(|it| it.crashes.clear()),
            self.with(|it| it.forged.clear()),
            self.with(|it| it.sleep = None),
            self.with(|it| it.events = None),
            self.with(|it| it.stop = None),
            // Fewer clusters reach it.
            self.with(|it| it.limit = 1),
            self.with(one_sentinel),
            self.with(one_place),
        ];
        for index in 0..self.launches.len() {
            all.push(self.with(|it| keep_launches(it, |other| other != index)));
        }
        for index in 0..self.faults.len() {
            all.push(self.with(|it| {
                it.faults.remove(index);
            }));
        }
        for index in 0..self.absences.len() {
            all.push(self.with(|it| {
                it.absences.remove(index);
            }));
        }
        for index in 0..self.crashes.len() {
            all.push(self.with(|it| {
                it.crashes.remove(index);
            }));
        }
        for index in 0..self.forged.len() {
            all.push(self.with(|it| {
                it.forged.remove(index);
            }));
        }
        all.push(self.with(|it| it.busy_until = busy_until(it)));
        all.extend(simpler_launches(self));
        all.extend(simpler_troubles(self));
        all.push(self.with(|it| it.once = false));
        all.push(self.with(|it| it.noise = 0));
        all
    }
}

/// Keeps these launches. What refers to one of them goes on referring to it.
fn keep_launches(scenario: &mut AccountScenario, keeps: impl Fn(usize) -> bool) {
    let count = scenario.launches.len();
    let kept: Vec<usize> = (0..count).filter(|index| keeps(*index)).collect();
    scenario.launches = kept.iter().map(|index| scenario.launches[*index]).collect();
    scenario.forged.retain_mut(|forged| {
        let Some(real) = forged.real else { return true };
        forged.real = kept.iter().position(|index| *index == real);
        forged.real.is_some()
    });
}

fn one_sentinel(scenario: &mut AccountScenario) {
    scenario.sentinels = 1;
    scenario.crashes.retain(|crash| crash.sentinel == 0);
}

fn one_place(scenario: &mut AccountScenario) {
    scenario.places = 1;
    scenario.launches.iter_mut().for_each(|launch| launch.place = 0);
    scenario.faults.iter_mut().for_each(|fault| fault.place = 0);
    scenario.forged.iter_mut().for_each(|forged| forged.place = 0);
    // They are all of one place.
    scenario.absences.iter_mut().for_each(|absence| absence.place = 0);
}

/// The end of the last of the decisions, which are all made before the quiet time begins.
fn busy_until(scenario: &AccountScenario) -> Ms {
    let of_launch = |launch: &Launch| [launch.created, launch.person.unwrap_or_default()];
    let launches = scenario.launches.iter().flat_map(of_launch);
    let faults = scenario.faults.iter().map(|fault| fault.until);
    let absences = scenario
        .absences
        .iter()
        .map(|absence| absence.until.unwrap_or(absence.from) + absence.noticed);
    let crashes = scenario.crashes.iter().map(|crash| crash.at);
    let forged = scenario.forged.iter().map(|forged| forged.at);
    let sleep = scenario.sleep.iter().map(|sleep| sleep.until);
    let others = scenario.stop.iter().copied().chain(sleep).chain([SHORTEST]);
    launches
        .chain(faults)
        .chain(absences)
        .chain(crashes)
        .chain(forged)
        .chain(others)
        .max()
        .unwrap_or(SHORTEST)
}

fn simpler_launches(scenario: &AccountScenario) -> Vec<AccountScenario> {
    let changes: [fn(&mut Launch); 14] = [
        |it| it.settings = GOOD,
        |it| it.volumes = GOOD,
        |it| it.settings.change = None,
        |it| it.volumes.change = None,
        |it| it.lasts = None,
        |it| it.protected = false,
        |it| it.person = None,
        |it| it.list_lag = 0,
        |it| it.ends = false,
        |it| it.configuration = 0,
        |it| it.created = 0,
        |it| it.starting = BRIEF,
        |it| it.bootstrapping = BRIEF,
        |it| it.terminating = BRIEF,
    ];
    let of_launch =
        |index: usize| changes.map(|change| scenario.with(|it| change(&mut it.launches[index])));
    (0..scenario.launches.len()).flat_map(of_launch).collect()
}

fn simpler_troubles(scenario: &AccountScenario) -> Vec<AccountScenario> {
    let mut all = Vec::new();
    for index in 0..scenario.faults.len() {
        all.push(scenario.with(|it| {
            let fault = &mut it.faults[index];
            fault.until = fault.from + (fault.until - fault.from) / 2;
        }));
    }
    for index in 0..scenario.absences.len() {
        all.push(scenario.with(|it| {
            let absence = &mut it.absences[index];
            let from = absence.from.max(0);
            let halved = |until: Ms| from + ((until - from) / 2).max(SECOND);
            absence.until = absence.until.map(|until| halved(until).min(until));
        }));
        all.push(scenario.with(|it| it.absences[index].noticed = 0));
        all.push(scenario.with(|it| it.absences[index].looked = 0));
    }
    for index in 0..scenario.crashes.len() {
        all.push(scenario.with(|it| it.crashes[index].cut = 0));
        all.push(scenario.with(|it| it.crashes[index].down = SECOND));
    }
    for index in 0..scenario.forged.len() {
        all.push(scenario.with(|it| it.forged[index].count = 1));
        all.push(scenario.with(|it| it.forged[index].real = None));
    }
    all.push(scenario.with(|it| {
        if let Some(sleep) = &mut it.sleep {
            sleep.until = sleep.from + (sleep.until - sleep.from) / 2;
        }
    }));
    all
}

//! Makes a failing history of repairs simpler: removes decisions, one by one, while the same law
//! still fails.

use crate::objects::{
    engine::{RepairOptions, live_through},
    job_scenario::JobAct,
    laws,
    scenario::{RepairScenario, RunPlan, Stored},
};

/// The maximum number of rounds.
const MOST_ROUNDS: u32 = 200;

/// The simplest decisions that still break `law`, and the violation.
#[must_use]
pub fn shrink(
    scenario: RepairScenario,
    law: &str,
    options: RepairOptions,
) -> (RepairScenario, String) {
    let options = RepairOptions { traced: false, ..options };
    let fails = |scenario: &RepairScenario| {
        laws::check(&live_through(scenario.clone(), options))
            .into_iter()
            .find(|(broken, _)| *broken == law)
            .map(|(_, why)| why)
    };
    let mut best = scenario;
    let mut why = fails(&best).unwrap_or_default();
    for _ in 0..MOST_ROUNDS {
        let simplest = simpler(&best)
            .into_iter()
            .filter(|candidate| *candidate != best)
            .find_map(|candidate| fails(&candidate).map(|why| (candidate, why)));
        let Some((candidate, still)) = simplest else { break };
        best = candidate;
        why = still;
    }
    (best, why)
}

fn with(scenario: &RepairScenario, change: impl FnOnce(&mut RepairScenario)) -> RepairScenario {
    let mut simpler = scenario.clone();
    change(&mut simpler);
    simpler
}

/// All that are simpler by one decision, the largest changes first.
fn simpler(scenario: &RepairScenario) -> Vec<RepairScenario> {
    let mut all =
        vec![with(scenario, |it| it.jobs.stages.clear()), with(scenario, |it| it.acts.clear())];
    for number in 0..scenario.jobs.stages.len() {
        all.push(with(scenario, |it| {
            it.jobs.stages.remove(number);
        }));
        for act in 0..scenario.jobs.stages[number].acts.len() {
            all.push(with(scenario, |it| {
                it.jobs.stages[number].acts.remove(act);
            }));
        }
    }
    if scenario.keys.len() > 1 {
        for number in 0..scenario.keys.len() {
            all.push(with(scenario, |it| {
                it.keys.remove(number);
                it.acts.retain(|act| act.key != number);
                for act in &mut it.acts {
                    act.key -= usize::from(act.key > number);
                }
                for stage in &mut it.jobs.stages {
                    let is_of =
                        |act: &JobAct| matches!(act, JobAct::Object(key, _) if *key == number);
                    stage.acts.retain(|(_, act)| !is_of(act));
                    for (_, act) in &mut stage.acts {
                        if let JobAct::Object(key, _) = act {
                            *key -= usize::from(*key > number);
                        }
                    }
                }
            }));
        }
    }
    for number in 0..scenario.acts.len() {
        all.push(with(scenario, |it| {
            it.acts.remove(number);
        }));
    }
    for number in 0..scenario.waves.len() {
        if scenario.waves.len() > 1 {
            all.push(with(scenario, |it| drop(it.waves.remove(number))));
        }
        all.push(with(scenario, |it| it.waves[number].runs[1] = None));
        all.push(with(scenario, |it| it.waves[number].versioning = None));
        all.push(with(scenario, |it| it.waves[number].pause = 0));
        for host in 0..2 {
            let Some(run) = &scenario.waves[number].runs[host] else { continue };
            let with_run = |change: &dyn Fn(&mut RunPlan)| {
                with(scenario, |it| {
                    it.waves[number].runs[host].iter_mut().for_each(change);
                })
            };
            all.push(with_run(&|it| it.faults.clear()));
            for fault in 0..run.faults.len() {
                all.push(with_run(&|it| {
                    it.faults.remove(fault);
                }));
            }
            all.push(with_run(&|it| it.kill = None));
            all.push(with_run(&|it| it.loses_ledger = false));
            all.push(with_run(&|it| it.purge = false));
            all.push(with_run(&|it| it.overwritten = false));
        }
    }
    for (key, versions) in scenario.keys.iter().enumerate() {
        for number in 0..versions.len() {
            if versions.len() > 1 {
                all.push(with(scenario, |it| {
                    it.keys[key].remove(number);
                }));
            }
            all.push(with(scenario, |it| it.keys[key][number].large = false));
            all.push(with(scenario, |it| it.keys[key][number].public = false));
            all.push(with(scenario, |it| it.keys[key][number].labels = false));
            all.push(with(scenario, |it| it.keys[key][number].redirect = false));
            all.push(with(scenario, |it| it.keys[key][number].class = false));
            all.push(with(scenario, |it| it.keys[key][number].lock = None));
            all.push(with(scenario, |it| it.keys[key][number].checksum = None));
            all.push(with(scenario, |it| it.keys[key][number].early = false));
            all.push(with(scenario, |it| it.keys[key][number].deleted = false));
            all.push(with(scenario, |it| it.keys[key][number].stored = Stored::Plain));
        }
    }
    all.push(with(scenario, |it| it.kms = false));
    all
}

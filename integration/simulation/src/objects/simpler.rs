//! How the decisions of a history of repairs can be simpler.

use crate::{
    objects::{
        job_scenario::JobAct,
        scenario::{RepairScenario, RunPlan, Stored},
    },
    shrink::Decisions,
};

impl Decisions for RepairScenario {
    fn simpler(&self) -> Vec<Self> {
        simpler(self)
    }
}

fn simpler(scenario: &RepairScenario) -> Vec<RepairScenario> {
    let mut all =
        vec![scenario.with(|it| it.jobs.stages.clear()), scenario.with(|it| it.acts.clear())];
    for number in 0..scenario.jobs.stages.len() {
        all.push(scenario.with(|it| {
            it.jobs.stages.remove(number);
        }));
        for act in 0..scenario.jobs.stages[number].acts.len() {
            all.push(scenario.with(|it| {
                it.jobs.stages[number].acts.remove(act);
            }));
        }
    }
    if scenario.keys.len() > 1 {
        for number in 0..scenario.keys.len() {
            all.push(scenario.with(|it| {
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
        all.push(scenario.with(|it| {
            it.acts.remove(number);
        }));
    }
    for number in 0..scenario.waves.len() {
        if scenario.waves.len() > 1 {
            all.push(scenario.with(|it| drop(it.waves.remove(number))));
        }
        all.push(scenario.with(|it| it.waves[number].runs[1] = None));
        all.push(scenario.with(|it| it.waves[number].versioning = None));
        all.push(scenario.with(|it| it.waves[number].pause = 0));
        for host in 0..2 {
            let Some(run) = &scenario.waves[number].runs[host] else { continue };
            let with_run = |change: &dyn Fn(&mut RunPlan)| {
                scenario.with(|it| {
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
                all.push(scenario.with(|it| {
                    it.keys[key].remove(number);
                }));
            }
            all.push(scenario.with(|it| it.keys[key][number].large = false));
            all.push(scenario.with(|it| it.keys[key][number].public = false));
            all.push(scenario.with(|it| it.keys[key][number].labels = false));
            all.push(scenario.with(|it| it.keys[key][number].redirect = false));
            all.push(scenario.with(|it| it.keys[key][number].class = false));
            all.push(scenario.with(|it| it.keys[key][number].lock = None));
            all.push(scenario.with(|it| it.keys[key][number].checksum = None));
            all.push(scenario.with(|it| it.keys[key][number].early = false));
            all.push(scenario.with(|it| it.keys[key][number].deleted = false));
            all.push(scenario.with(|it| it.keys[key][number].stored = Stored::Plain));
        }
    }
    all.push(scenario.with(|it| it.kms = false));
    all
}

//! How the decisions of a run's history can be simpler.

use crate::{
    scenario::{Request, RequestAnswer, Runner, SECOND, Scenario, Traits},
    shrink::Decisions,
};

impl Decisions for Scenario {
    fn simpler(&self) -> Vec<Self> {
        simpler(self)
    }
}

fn simpler(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = vec![
        scenario.with(|it| it.lives.clear()),
        scenario.with(|it| it.others.clear()),
        scenario.with(|it| it.faults.clear()),
        scenario.with(|it| it.forged.clear()),
        scenario.with(|it| it.survivor = None),
        scenario.with(|it| it.pushes = false),
        scenario.with(|it| it.person = None),
    ];
    for index in 0..scenario.faults.len() {
        all.push(scenario.with(|it| {
            it.faults.remove(index);
        }));
        all.push(scenario.with(|it| {
            let fault = &mut it.faults[index];
            fault.until = fault.from + (fault.until - fault.from) / 2;
        }));
    }
    // Only the last one, because forged lines refer to others by their numbers.
    all.push(scenario.with(|it| drop(it.others.pop())));
    for index in 0..scenario.others.len() {
        all.push(scenario.with(|it| plain(&mut it.others[index].traits)));
    }
    for index in 0..scenario.forged.len() {
        all.push(scenario.with(|it| it.forged[index].lines = it.forged[index].lines.div_ceil(2)));
    }
    for index in 0..scenario.lives.len() {
        all.push(scenario.with(|it| it.lives.truncate(index)));
        all.push(scenario.with(|it| it.lives[index].crash = None));
        all.push(scenario.with(|it| it.lives[index].stops.clear()));
        all.push(scenario.with(|it| {
            it.lives[index].stops.pop();
        }));
        all.push(scenario.with(|it| it.lives[index].sleep = None));
    }
    all.extend(simpler_settings(scenario));
    if let Some(runner) = &scenario.runner {
        all.extend(simpler_runner(scenario, runner));
    }
    all
}

fn simpler_settings(scenario: &Scenario) -> Vec<Scenario> {
    vec![
        scenario.with(|it| it.settings.rules.on_stop = false),
        scenario.with(|it| it.settings.rules.on_orphan = false),
        scenario.with(|it| it.settings.rules.on_unjudged = false),
        scenario.with(|it| it.settings.rules.adopted = false),
        scenario.with(|it| it.settings.rules.attached = false),
        scenario.with(|it| it.settings.rules.untagged = false),
        scenario.with(|it| it.settings.stop = 8 * SECOND),
        scenario.with(|it| it.settings.volumes = false),
        scenario.with(|it| it.settings.until_idle = false),
    ]
}

fn simpler_runner(scenario: &Scenario, runner: &Runner) -> Vec<Scenario> {
    let with_runner = |change: &dyn Fn(&mut Runner)| {
        scenario.with(|it| {
            if let Some(runner) = &mut it.runner {
                change(runner);
            }
        })
    };
    let mut all = vec![
        with_runner(&|it| it.crash = None),
        with_runner(&|it| it.nothing = None),
        with_runner(&|it| it.false_success = false),
        with_runner(&|it| it.bad_step = false),
        with_runner(&|it| it.debug_log = false),
        with_runner(&|it| it.persistent = false),
        with_runner(&|it| it.on_ask = Some(200)),
        with_runner(&|it| it.steps.truncate(1)),
        with_runner(&|it| it.retry = SECOND),
    ];
    for index in 0..runner.requests.len() {
        let with_request =
            |change: fn(&mut Request)| with_runner(&|it| change(&mut it.requests[index]));
        all.push(with_runner(&|it| it.requests.truncate(index)));
        all.push(with_request(|it| plain(&mut it.traits)));
        all.push(with_request(|it| it.traits.bootstrap_fails = false));
        all.push(with_request(|it| it.traits.defect = None));
        all.push(with_request(|it| it.traits.masked = false));
        all.push(with_request(|it| it.traits.protected = false));
        all.push(with_request(|it| it.traits.list_lag = 0));
        all.push(with_request(|it| it.traits.steps.truncate(1)));
        all.push(with_request(|it| it.tagged = true));
        all.push(with_request(|it| it.matches = true));
        all.push(with_request(|it| {
            it.effect = Some(SECOND);
            it.answer = RequestAnswer::Id(4 * SECOND);
        }));
    }
    all
}

/// An ordinary cluster.
fn plain(traits: &mut Traits) {
    traits.bootstrap_fails = false;
    traits.failing_step = None;
    traits.protected = false;
    traits.protected_again = false;
    traits.list_lag = 0;
    traits.instances = 0;
    traits.steps.truncate(1);
}

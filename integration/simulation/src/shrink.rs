//! Makes a failing history simpler: removes decisions, one by one, while the same law still fails.

use crate::{
    laws::{self, Violation},
    run::{Options, live_through},
    scenario::{Request, RequestAnswer, Runner, SECOND, Scenario, Traits},
};

/// The maximum number of rounds.
const MOST_ROUNDS: u32 = 40;

/// The simplest decisions that still break `law`, and the violation.
#[must_use]
pub fn shrink(scenario: Scenario, law: &str, options: Options) -> (Scenario, Option<Violation>) {
    let fails = |scenario: &Scenario| {
        laws::check(&live_through(scenario.clone(), options))
            .into_iter()
            .find(|violation| violation.law == law)
    };
    let mut best = scenario;
    let mut why = fails(&best);
    for _ in 0..MOST_ROUNDS {
        let mut has_changed = false;
        for candidate in simpler(&best) {
            // Each is a change of the decisions at the start of the round; accepted changes may
            // have made it ineffective.
            if candidate == best {
                continue;
            }
            if let Some(violation) = fails(&candidate) {
                best = candidate;
                why = Some(violation);
                has_changed = true;
                break;
            }
        }
        if !has_changed {
            break;
        }
    }
    (best, why)
}

fn with(scenario: &Scenario, change: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut simpler = scenario.clone();
    change(&mut simpler);
    simpler
}

/// All that are simpler by one decision, the largest changes first.
fn simpler(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = vec![
        with(scenario, |it| it.lives.clear()),
        with(scenario, |it| it.others.clear()),
        with(scenario, |it| it.faults.clear()),
        with(scenario, |it| it.forged.clear()),
        with(scenario, |it| it.survivor = None),
        with(scenario, |it| it.pushes = false),
        with(scenario, |it| it.person = None),
    ];
    for index in 0..scenario.faults.len() {
        all.push(with(scenario, |it| {
            it.faults.remove(index);
        }));
        all.push(with(scenario, |it| {
            let fault = &mut it.faults[index];
            fault.until = fault.from + (fault.until - fault.from) / 2;
        }));
    }
    // Only the last one, because forged lines refer to others by their numbers.
    all.push(with(scenario, |it| drop(it.others.pop())));
    for index in 0..scenario.others.len() {
        all.push(with(scenario, |it| plain(&mut it.others[index].traits)));
    }
    for index in 0..scenario.forged.len() {
        all.push(with(scenario, |it| it.forged[index].lines = it.forged[index].lines.div_ceil(2)));
    }
    for index in 0..scenario.lives.len() {
        all.push(with(scenario, |it| it.lives.truncate(index)));
        all.push(with(scenario, |it| it.lives[index].crash = None));
        all.push(with(scenario, |it| it.lives[index].stops.clear()));
        all.push(with(scenario, |it| {
            it.lives[index].stops.pop();
        }));
        all.push(with(scenario, |it| it.lives[index].sleep = None));
    }
    all.extend(simpler_settings(scenario));
    if let Some(runner) = &scenario.runner {
        all.extend(simpler_runner(scenario, runner));
    }
    all
}

fn simpler_settings(scenario: &Scenario) -> Vec<Scenario> {
    vec![
        with(scenario, |it| it.settings.rules.on_stop = false),
        with(scenario, |it| it.settings.rules.on_orphan = false),
        with(scenario, |it| it.settings.rules.on_unjudged = false),
        with(scenario, |it| it.settings.rules.adopted = false),
        with(scenario, |it| it.settings.rules.attached = false),
        with(scenario, |it| it.settings.rules.untagged = false),
        with(scenario, |it| it.settings.stop = 8 * SECOND),
        with(scenario, |it| it.settings.volumes = false),
        with(scenario, |it| it.settings.until_idle = false),
    ]
}

fn simpler_runner(scenario: &Scenario, runner: &Runner) -> Vec<Scenario> {
    let with_runner = |change: &dyn Fn(&mut Runner)| {
        with(scenario, |it| {
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

//! Derives the decisions of a history from a seed.

use crate::{
    model::faults::{Fault, FaultKind, Operation},
    random::Random,
    scenario::{
        Crash, CrashTime, Defect, Forged, GuardLife, HOUR, MINUTE, Ms, Other, Request,
        RequestAnswer, Runner, SECOND, Scenario, Settings, Survivor, Traits,
    },
    watch::machine::{event::RunnerEnd, plan::Rules},
};

/// ListClusters shows a new cluster within this time.
const LONGEST_LAG: Ms = 12 * SECOND;
/// A request in flight when its runner is killed takes effect, and shows in ListClusters, within
/// the two minutes for which a runner waits for the response.
const LONGEST_EFFECT: Ms = 104 * SECOND;

/// Makes the random sequence of crash loops differ from all others.
const LOOPS: u64 = 0x4C6F_6F70;

/// Draws the decisions.
#[must_use]
pub fn draw(seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let random = &mut random;
    let attach = random.chance(4);
    let runner = (!attach).then(|| runner(random));
    let persistent = runner.as_ref().is_some_and(|runner| runner.persistent);
    let survivor = (!attach && random.chance(10)).then(|| survivor(random, persistent));
    let others = others(random, attach, persistent);
    let heard = runner.as_ref().map_or(MINUTE, heard);
    let forged = if attach { Vec::new() } else { forged(random, others.len()) };
    let mut loops = Random::new(seed ^ LOOPS);
    Scenario {
        noise: random.bits(),
        settings: settings(random),
        survivor,
        faults: faults(random),
        lives: crash_loop(&mut loops, lives(random, attach, heard)),
        forged,
        person: random.chance(70).then(|| random.between(2 * MINUTE, 6 * HOUR)),
        pushes: random.chance(30),
        runner,
        others,
    }
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        rules: Rules {
            on_stop: random.chance(30),
            on_orphan: random.chance(30),
            on_unjudged: random.chance(60),
            adopted: random.chance(50),
            attached: random.chance(50),
            untagged: random.chance(50),
            account: false,
        },
        stop: random.pick(&[8 * SECOND, 8 * SECOND, 60 * SECOND, 10 * MINUTE]),
        volumes: random.chance(90),
        until_idle: random.chance(50),
    }
}

fn defect(random: &mut Random, percent: u64) -> Option<Defect> {
    random.chance(percent).then(|| {
        random.pick(&[
            Defect::NoSecurityConfiguration,
            Defect::Replaced,
            Defect::Step,
            Defect::Volumes,
            Defect::Volumes,
            Defect::AddedVolumes,
        ])
    })
}

fn traits(random: &mut Random, unsafe_percent: u64) -> Traits {
    let brief = random.chance(8);
    let starting = if brief {
        random.between(SECOND, 20 * SECOND)
    } else {
        random.between(30 * SECOND, 5 * MINUTE)
    };
    let bootstrapping = if brief {
        random.between(SECOND, 15 * SECOND)
    } else {
        random.between(20 * SECOND, 3 * MINUTE)
    };
    let count = random.between(1, 6);
    let longest = if brief { 10 * SECOND } else { 10 * MINUTE };
    let steps: Vec<Ms> = (0..count).map(|_| random.between(5 * SECOND, longest)).collect();
    let late = random.chance(15);
    Traits {
        starting,
        bootstrapping,
        bootstrap_fails: random.chance(7),
        failing_step: random.chance(8).then(|| random.pick(&[0, 1])),
        steps,
        terminating: if random.chance(3) {
            random.between(10 * MINUTE, 40 * MINUTE)
        } else {
            random.between(5 * SECOND, 2 * MINUTE)
        },
        instances: if late {
            random.between(0, bootstrapping + 2 * MINUTE)
        } else {
            random.between(0, 15 * SECOND)
        },
        defect: defect(random, unsafe_percent),
        protected: random.chance(10),
        protected_again: random.chance(30),
        list_lag: if random.chance(70) {
            random.between(0, 2 * SECOND)
        } else {
            random.between(0, LONGEST_LAG)
        },
        stays: false,
        // A sequence of its own, so that the other decisions of a seed do not change.
        masked: Random::new(random.clone().bits()).chance(6),
    }
}

fn request(random: &mut Random, persistent: bool) -> Request {
    let mut traits = traits(random, 18);
    if persistent {
        traits.stays = true;
        traits.steps.clear();
        traits.failing_step = None;
        if traits.defect == Some(Defect::Step) {
            traits.defect = None;
        }
    }
    let answered = random.between(4 * SECOND, 20 * SECOND);
    let effect = random.between(SECOND, answered - SECOND);
    let (effect, answer) = match random.below(20) {
        0 => (None, RequestAnswer::ServerError(answered)),
        1 => (Some(effect), RequestAnswer::ServerError(answered)),
        2 => (Some(random.between(SECOND, LONGEST_EFFECT)), RequestAnswer::Nothing),
        _ => (Some(effect), RequestAnswer::Id(answered)),
    };
    Request { effect, answer, tagged: !random.chance(10), matches: !random.chance(5), traits }
}

fn runner(random: &mut Random) -> Runner {
    let persistent = random.chance(18);
    let mut requests: Vec<Request> = Vec::new();
    for _ in 0..3 {
        let next = request(random, persistent);
        requests.push(next);
    }
    let count = random.between(1, 5);
    let start = random.between(SECOND, 20 * SECOND);
    let crash = random.chance(12).then(|| {
        let at = if random.chance(50) {
            start + random.between(0, 30 * SECOND)
        } else {
            random.between(SECOND, 40 * MINUTE)
        };
        (at, random.pick(&[RunnerEnd::Failed, RunnerEnd::Killed]))
    });
    Runner {
        persistent,
        start,
        nothing: random
            .chance(5)
            .then(|| random.pick(&[RunnerEnd::StartedNothing, RunnerEnd::Failed])),
        requests,
        retry: if random.chance(70) {
            random.between(SECOND, 30 * SECOND)
        } else {
            random.between(SECOND, 10 * MINUTE)
        },
        steps: (0..count).map(|_| random.between(5 * SECOND, 5 * MINUTE)).collect(),
        bad_step: persistent && random.chance(15),
        debug_log: random.chance(50),
        crash,
        false_success: random.chance(3),
        on_ask: match random.below(10) {
            0 => None,
            1 | 2 => Some(random.between(2 * SECOND, MINUTE)),
            _ => Some(random.between(100, 300)),
        },
        poll: random.between(20 * SECOND, MINUTE),
        log: if random.chance(80) { random.between(0, 50) } else { random.between(0, 4 * SECOND) },
        output: random.between(0, 200),
    }
}

/// When the runner gets the response to its first request.
fn heard(runner: &Runner) -> Ms {
    let answer = runner.requests.first().map(|request| request.answer);
    runner.start
        + match answer {
            Some(RequestAnswer::Id(after) | RequestAnswer::ServerError(after)) => after,
            Some(RequestAnswer::Nothing) | None => MINUTE,
        }
}

fn survivor(random: &mut Random, persistent: bool) -> Survivor {
    let after = random.between(SECOND, 3 * MINUTE);
    let mut launched = request(random, persistent);
    launched.effect.get_or_insert(5 * SECOND);
    Survivor {
        holds_output: random.chance(40),
        launch: random.chance(75).then_some((after, launched)),
        ends: if random.chance(70) {
            random.between(SECOND, 2 * MINUTE)
        } else {
            random.between(SECOND, HOUR)
        },
        dies_within: if random.chance(80) { 0 } else { random.between(0, 20 * SECOND) },
    }
}

fn other(random: &mut Random, at: Ms) -> Other {
    let mut traits = traits(random, 40);
    if random.chance(30) {
        traits.stays = true;
        traits.failing_step = None;
    }
    Other {
        at,
        job_name: random.chance(85),
        tagged: random.chance(40),
        matches: random.chance(50),
        named: false,
        traits,
    }
}

fn others(random: &mut Random, attach: bool, persistent: bool) -> Vec<Other> {
    let mut others = Vec::new();
    if attach {
        for _ in 0..=random.below(2) {
            let at = -random.between(SECOND, 10 * MINUTE);
            others.push(Other { named: true, ..other(random, at) });
        }
        return others;
    }
    if persistent && random.chance(60) {
        // The existing cluster that the runner finds.
        let at = -random.between(20 * MINUTE, 5 * 24 * HOUR);
        let mut waiting = other(random, at);
        waiting.job_name = true;
        waiting.traits.stays = true;
        waiting.traits.failing_step = None;
        waiting.traits.bootstrap_fails = false;
        waiting.traits.steps = vec![MINUTE];
        waiting.traits.defect = defect(random, 30);
        others.push(waiting);
    }
    if random.chance(30) {
        for _ in 0..=random.below(3) {
            let at = match random.below(4) {
                0 => -random.between(MINUTE, 3 * 24 * HOUR),
                1 | 2 => random.between(SECOND, HOUR),
                _ => random.between(HOUR, 4 * 24 * HOUR),
            };
            others.push(other(random, at));
        }
    }
    others
}

fn forged(random: &mut Random, others: usize) -> Vec<Forged> {
    let mut forged = Vec::new();
    if random.chance(12) {
        let lines = if random.chance(8) { 1_500 } else { 30 };
        let lines = u32::try_from(random.between(1, lines)).unwrap_or(1);
        let other = (others > 0 && random.chance(60))
            .then(|| usize::try_from(random.below(others as u64)).unwrap_or_default());
        let lines = if other.is_some() { lines.min(20) } else { lines };
        forged.push(Forged { at: random.between(SECOND, 20 * MINUTE), lines, other });
    }
    forged
}

fn faults(random: &mut Random) -> Vec<Fault> {
    let count = match random.below(10) {
        0..5 => 0,
        5..8 => 1,
        8 => 2,
        _ => 3,
    };
    // Only the search fails, from the beginning: clusters that the log names are evaluated all the
    // same.
    let search = random.chance(4).then(|| Fault {
        kind: random.pick(&[
            FaultKind::Lost,
            FaultKind::Slow,
            FaultKind::Outage,
            FaultKind::Denied,
        ]),
        operation: Some(Operation::List),
        from: 0,
        until: random.between(MINUTE, 20 * MINUTE),
    });
    let others = (0..count).map(|_| {
        let from = match random.below(10) {
            0 => 0,
            1..5 => random.between(0, 3 * MINUTE),
            _ => random.between(0, 50 * MINUTE),
        };
        let length = match random.below(10) {
            0..6 => random.between(5 * SECOND, 4 * MINUTE),
            6..8 => random.between(4 * MINUTE, 20 * MINUTE),
            _ => random.between(20 * MINUTE, 2 * HOUR),
        };
        let kind = random.pick(&FaultKind::ALL);
        let operation = match kind {
            FaultKind::OtherAccount => None,
            FaultKind::NoEffect => Some(Operation::Terminate),
            _ => random.chance(70).then(|| random.pick(&Operation::ALL)),
        };
        Fault { kind, operation, from, until: from + length }
    });
    search.into_iter().chain(others).collect()
}

/// Sometimes a guard dies soon after its start, again and again, and is restarted at once.
fn crash_loop(random: &mut Random, mut lives: Vec<GuardLife>) -> Vec<GuardLife> {
    if !random.chance(6) {
        return lives;
    }
    let count = random.between(2, 7);
    let deaths = (0..count).map(|_| {
        let when = if random.chance(50) {
            CrashTime::Actions(u32::try_from(random.between(1, 20)).unwrap_or(1))
        } else {
            CrashTime::After(random.between(500, 8 * SECOND))
        };
        let next = random.between(200, 2 * SECOND);
        GuardLife { crash: Some(Crash { when, power: false }), next, ..GuardLife::QUIET }
    });
    // The first guard lives long enough to find something.
    lives.splice(1..1, deaths);
    if let Some(first) = lives.first_mut() {
        let after = random.between(20 * SECOND, 10 * MINUTE);
        first.crash = Some(Crash { when: CrashTime::After(after), power: false });
        first.next = random.between(200, 5 * SECOND);
    }
    lives
}

fn lives(random: &mut Random, attach: bool, heard: Ms) -> Vec<GuardLife> {
    let count = random.between(1, 3);
    let mut lives = Vec::new();
    for number in 0..count {
        let crash = random.chance(if number == 0 { 12 } else { 20 }).then(|| Crash {
            when: if random.chance(60) {
                CrashTime::Actions(u32::try_from(random.between(1, 60)).unwrap_or(1))
            } else {
                CrashTime::After(random.between(SECOND, 40 * MINUTE))
            },
            power: random.chance(30),
        });
        let stops = attach || random.chance(if number == 0 { 15 } else { 8 });
        let longest = if random.chance(50) { 2 * MINUTE } else { HOUR };
        // Often while the first request is in flight, or has just been answered.
        let first = if number == 0 && random.chance(30) {
            heard + random.between(-4 * SECOND, 4 * SECOND)
        } else {
            random.between(100, longest)
        };
        let second = random.chance(30).then(|| first + random.between(50, 20 * SECOND));
        lives.push(GuardLife {
            crash,
            stops: if stops { [first].into_iter().chain(second).collect() } else { Vec::new() },
            sleep: random.chance(4).then(|| {
                let length = random.between(10 * SECOND, 2 * HOUR);
                (random.between(SECOND, 30 * MINUTE), length, random.chance(50))
            }),
            next: match random.below(4) {
                0 => random.between(SECOND, MINUTE),
                1 | 2 => random.between(MINUTE, HOUR),
                _ => random.between(HOUR, 3 * 24 * HOUR),
            },
        });
    }
    lives
}

//! Measures the way from an empty account to a passing check: `setup --apply --write-config`, then
//! `check`; and `setup` once more, with nothing left to do. Its time with and without latency, its
//! calls by service, and the longest chain of dependent calls, on a clock that is real, with AWS's
//! default quotas of EMR. The account holds nothing of the pipeline but users and a network; the
//! config names six buckets.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "support/authorities.rs"]
mod authorities;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the benchmark")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use emr_simulator::{ClockMode, Command as Set, Rounds, Seed, SetClock, SetLatency};

use support::Stage;

const LATENCY: Duration = Duration::from_millis(50);
/// Without a new request for this long, a round is over.
const QUIET_MS: u64 = 300;
const RUNS: usize = 3;
/// The steps of a journey, as they are printed.
const STEPS: [&str; 3] = ["setup", "check", "setup again"];

/// One step of a journey.
#[derive(Clone, Debug, Default)]
struct Walked {
    /// Wall time in seconds.
    seconds: f64,
    /// Calls by service.
    calls: BTreeMap<String, usize>,
    /// Rounds of calls, none of which needs the answer of another one of its round; 0 where they
    /// were not counted.
    chain: u64,
}

/// An account that has nothing of a pipeline, and a config without encryption.
fn newcomer() -> Stage {
    let stage = authorities::with_the_machines(Stage::acme())
        .replace("security_configuration: acme-sc\n", "security_configuration:\n");
    stage.set(Set::Reset);
    stage.set(Set::Seed(Seed { scene: "empty".to_owned(), region: None }));
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Real, at: None }));
    stage
}

/// Walks one step; what it writes into the runner config is kept.
fn walk(stage: &mut Stage, step: &str, counts_rounds: bool) -> Walked {
    stage.set(Set::ClearRequests);
    if counts_rounds {
        stage.set(Set::Rounds(Rounds { on: true, quiet_ms: QUIET_MS }));
    }
    let start = Instant::now();
    let played = match step {
        "check" => stage.check(),
        _ => stage.play(stage.with_options("setup", &["--apply", "--write-config"])),
    };
    let seconds = start.elapsed().as_secs_f64();
    played.expect_code(0);
    stage.config = std::fs::read_to_string(stage.path("config.yml")).expect("it is there");
    let mut calls = BTreeMap::new();
    for request in stage.sim.requests() {
        *calls.entry(request.subject.service).or_default() += 1;
    }
    Walked { seconds, calls, chain: stage.sim.rounds() }
}

/// The whole way, in an account of its own.
fn journey(latency: Duration, counts_rounds: bool) -> [Walked; 3] {
    let mut stage = newcomer();
    let ms = u64::try_from(latency.as_millis()).expect("a short time");
    stage.set(Set::SetLatency(SetLatency { ms }));
    STEPS.map(|step| walk(&mut stage, step, counts_rounds))
}

/// The median time of each step, in seconds.
fn times(latency: Duration) -> [f64; 3] {
    let journeys: Vec<[Walked; 3]> = (0..RUNS).map(|_| journey(latency, false)).collect();
    [0, 1, 2].map(|step| {
        let mut times: Vec<f64> = journeys.iter().map(|walked| walked[step].seconds).collect();
        times.sort_by(f64::total_cmp);
        times[RUNS / 2]
    })
}

fn main() {
    let (without, with) = (times(Duration::ZERO), times(LATENCY));
    let counted = journey(Duration::ZERO, true);

    println!("from an empty account to a passing check, median of {RUNS} runs");
    let row = |name: &str, of: [String; 3], unit: &str| {
        println!("  {name:<26}{:>12}{:>12}{:>12} {unit}", of[0], of[1], of[2]);
    };
    row("", STEPS.map(str::to_owned), "");
    let services: BTreeSet<&String> =
        counted.iter().flat_map(|walked| walked.calls.keys()).collect();
    for service in services {
        let of = |step: usize| counted[step].calls.get(service).copied().unwrap_or(0).to_string();
        row(&format!("calls of {service}"), [0, 1, 2].map(of), "");
    }
    let all = |step: usize| counted[step].calls.values().sum::<usize>().to_string();
    row("calls", [0, 1, 2].map(all), "");
    row("longest chain", [0, 1, 2].map(|step| counted[step].chain.to_string()), "round trips");
    row("time with no latency", without.map(|time| format!("{time:.2}")), "s");
    let ms = LATENCY.as_millis();
    row(&format!("time with {ms} ms a reply"), with.map(|time| format!("{time:.2}")), "s");
    println!(
        "  from nothing to a passing check: {:.2} s; with {ms} ms on each reply: {:.2} s",
        without[0] + without[1],
        with[0] + with[1]
    );
}

//! Measures the cost of the pre-flight, with 50 ms on each reply and 12 buckets: its time in round
//! trips, compared with the longest chain of dependent calls and the number of all calls; over
//! plain HTTP, and over TLS as with AWS. Ratios are taken within one run, since machines differ.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "support/authorities.rs"]
mod authorities;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the benchmark")]
mod support;

use std::time::{Duration, Instant};

use emr_simulator::{Command as Set, Rounds, SetLatency};

use support::Stage;

const LATENCY: Duration = Duration::from_millis(50);
const RUNS: usize = 5;

/// The time of one `check`, in seconds, with `latency` on each reply.
fn check(stage: &Stage, latency: Duration) -> f64 {
    stage.set(Set::SetLatency(SetLatency {
        ms: u64::try_from(latency.as_millis()).expect("a short time"),
    }));
    let start = Instant::now();
    stage.check().expect_code(0);
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The cost of the pre-flight on a stage.
struct Cost {
    /// Calls and connections of one `check`.
    calls: usize,
    connections: u64,
    /// The longest chain of dependent calls.
    chain: u64,
    /// Its time in seconds, without latency and with it.
    without: f64,
    with: f64,
}

impl Cost {
    fn of(stage: &Stage) -> Self {
        // The runner's version is cached after this, as in every run but the first.
        check(stage, Duration::ZERO);
        stage.set(Set::ClearRequests);
        let opened = stage.sim.connections();
        let without = median((0..RUNS).map(|_| check(stage, Duration::ZERO)).collect());
        let calls = stage.sim.requests().len() / RUNS;
        let opened = stage.sim.connections() - opened;
        let with = median((0..RUNS).map(|_| check(stage, LATENCY)).collect());
        stage.set(Set::Rounds(Rounds { on: true, quiet_ms: 300 }));
        stage.check().expect_code(0);
        Self {
            calls,
            connections: opened / u64::try_from(RUNS).expect("a few"),
            chain: stage.sim.rounds(),
            without,
            with,
        }
    }

    /// The cost of latency, in seconds.
    fn latency(&self) -> f64 {
        self.with - self.without
    }
}

fn main() {
    let plain = authorities::with_the_machines(Stage::with_twelve_buckets());
    let tls = authorities::with_the_machines(Stage::with_twelve_buckets()).over_tls();
    let (plain, tls) = (Cost::of(&plain), Cost::of(&tls));

    println!(
        "pre-flight of 12 buckets, {} ms on each reply, median of {RUNS} runs",
        LATENCY.as_millis()
    );
    let row = |name: &str, of: &dyn Fn(&Cost) -> String, unit: &str| {
        println!("  {name:<24}{:>10}{:>10} {unit}", of(&plain), of(&tls));
    };
    println!("  {:<24}{:>10}{:>10}", "", "plain HTTP", "TLS");
    row("calls", &|cost| cost.calls.to_string(), "");
    row("connections", &|cost| cost.connections.to_string(), "");
    row("longest chain", &|cost| cost.chain.to_string(), "round trips");
    row("time with no latency", &|cost| format!("{:.0}", cost.without * 1000.0), "ms");
    row("time with latency", &|cost| format!("{:.0}", cost.with * 1000.0), "ms");
    row(
        "cost of latency",
        &|cost| format!("{:.1}", cost.latency() / LATENCY.as_secs_f64()),
        "round trips",
    );
    row(
        "one call after another",
        &|cost| format!("{:.1}", cost.calls as f64 * LATENCY.as_secs_f64() / cost.latency()),
        "times that",
    );
}

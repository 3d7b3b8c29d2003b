//! What the pre-flight costs, with 50 ms on each reply and 12 buckets: its time in round trips,
//! beside the longest chain of dependent calls and the number of all calls. The ratio is taken
//! within one run, since machines differ.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

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

fn main() {
    let stage = Stage::with_twelve_buckets().without_env("SSL_CERT_FILE");
    // The runner's version is remembered after this, as in every run but the first.
    check(&stage, Duration::ZERO);
    stage.set(Set::ClearRequests);
    let without = median((0..RUNS).map(|_| check(&stage, Duration::ZERO)).collect());
    let calls = stage.sim.requests().len() / RUNS;
    let with = median((0..RUNS).map(|_| check(&stage, LATENCY)).collect());
    stage.set(Set::Rounds(Rounds { on: true, quiet_ms: 300 }));
    stage.check().expect_code(0);

    println!(
        "pre-flight of 12 buckets, {} ms on each reply, median of {RUNS} runs",
        LATENCY.as_millis()
    );
    println!("  calls                    {calls:>6}");
    println!("  longest chain            {:>6} round trips", stage.sim.rounds());
    println!("  time with no latency     {:>6.0} ms", without * 1000.0);
    println!("  time with latency        {:>6.0} ms", with * 1000.0);
    println!(
        "  cost of latency          {:>6.1} round trips",
        (with - without) / LATENCY.as_secs_f64()
    );
    println!(
        "  one call after another   {:>6.1} times that",
        calls as f64 * LATENCY.as_secs_f64() / (with - without)
    );
}

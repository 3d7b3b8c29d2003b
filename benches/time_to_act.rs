//! How soon an unsafe cluster is being terminated, by the simulator's own record: from the reply to
//! RunJobFlow to the arrival of the first TerminateJobFlows, with 50 ms on each reply, in real time
//! and with the settings' own pace; when the runner prints the cluster's id, and when it does not.
//! The number of runs can be given.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the benchmark")]
mod support;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use emr_simulator::{ClockMode, Command as Set, SetClock, SetLatency, Timings};

use support::Stage;

const LATENCY_MS: u64 = 50;
const RUNS: usize = 200;

/// The time of one run; `startup` is what the runner takes before it does anything, so that the
/// guard's search meets its request at any moment.
fn act(is_printed: bool, startup: Duration) -> Duration {
    let misbehaviour = if is_printed {
        "drop-security-configuration"
    } else {
        "drop-security-configuration,no-id"
    };
    let level = if is_printed { "level: DEBUG" } else { "level: INFO" };
    let stage = Stage::acme()
        .without_env("SSL_CERT_FILE")
        .replace("level: DEBUG", level)
        .misbehave(misbehaviour)
        .env("EMR_ETL_GUARD_WATCH_INTERVAL", "5s")
        .env("STANDIN_STARTUP_MS", &startup.as_millis().to_string());
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Real, at: None }));
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    stage.set(Set::SetLatency(SetLatency { ms: LATENCY_MS }));
    let mut child = stage.command("run").spawn().expect("the guard starts");
    let terminate = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        Duration::from_secs(120),
    );
    let _ = child.kill();
    let _ = child.wait();
    let terminate = terminate.expect("it is terminated");
    let launched = stage
        .sim
        .requests_for("RunJobFlow")
        .first()
        .and_then(|request| request.replied_ms)
        .expect("it was launched");
    Duration::from_millis(terminate.arrived_ms.saturating_sub(launched))
}

/// The times of all runs, so many at once, in order.
fn times(runs: usize, at_once: usize, is_printed: bool) -> Vec<Duration> {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < runs {
                    let startup = Duration::from_millis(fastrand::u64(0..10_000));
                    let time = act(is_printed, if is_printed { Duration::ZERO } else { startup });
                    times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    times
}

fn main() {
    let runs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(RUNS);
    println!(
        "from RunJobFlow's reply to the first TerminateJobFlows, {LATENCY_MS} ms on each reply, {runs} runs each"
    );
    for (what, at_once, is_printed, limit) in
        [("the id is printed", 2, true, 2), ("no id is printed", 12, false, 10)]
    {
        let times = times(runs, at_once, is_printed);
        let at = |percent: usize| {
            times[(times.len() * percent).div_ceil(100).saturating_sub(1)].as_secs_f64()
        };
        println!(
            "  {what:<18} p50 {:>6.2} s   p99 {:>6.2} s   max {:>6.2} s   (wanted: p99 under {limit} s)",
            at(50),
            at(99),
            at(100)
        );
    }
}

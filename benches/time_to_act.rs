//! Measures how soon the termination of an unsafe cluster starts, by the simulator's own record:
//! from the reply to RunJobFlow to the arrival of the first TerminateJobFlows, with 50 ms on each
//! reply, in real time and with the default pace; both when the runner prints the cluster's id, and
//! when it does not. The number of runs can be given.

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

/// One run.
struct Run {
    time: Duration,
    /// The calls of guard and runner from RunJobFlow on: when each arrived and was answered, in
    /// milliseconds after RunJobFlow's reply, and the number of its attempt.
    calls: Vec<String>,
}

/// One run and its time; `startup` is the delay of the runner's start, so that its request meets
/// the guard's search at any moment.
fn act(is_printed: bool, startup: Duration) -> Run {
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
    let requests = stage.sim.requests();
    let mut since = requests.iter().skip_while(|request| request.operation() != "RunJobFlow");
    let launched =
        since.next().and_then(|request| request.replied_ms).expect("the launch was answered");
    let after = |ms: u64| i128::from(ms) - i128::from(launched);
    let calls = since.map(|request| {
        let attempt = request.headers.get("amz-sdk-request").map_or("", String::as_str);
        let replied = request.replied_ms.map_or("never".to_owned(), |ms| after(ms).to_string());
        format!(
            "{:>6} to {replied:>6} ms  {} {attempt}",
            after(request.arrived_ms),
            request.operation()
        )
    });
    Run {
        time: Duration::from_millis(terminate.arrived_ms.saturating_sub(launched)),
        calls: calls.collect(),
    }
}

/// All runs, this many concurrently, the fastest first.
fn all(runs: usize, at_once: usize, is_printed: bool) -> Vec<Run> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < runs {
                    let startup = Duration::from_millis(fastrand::u64(0..10_000));
                    let run = act(is_printed, if is_printed { Duration::ZERO } else { startup });
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|run| run.time);
    done
}

fn main() {
    let runs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(RUNS);
    println!(
        "from RunJobFlow's reply to the first TerminateJobFlows, {LATENCY_MS} ms on each reply, \
         {runs} runs each"
    );
    for (what, at_once, is_printed, limit) in
        [("the id is printed", 2, true, 2), ("no id is printed", 12, false, 10)]
    {
        let done = all(runs, at_once, is_printed);
        let at = |percent: usize| {
            done[(done.len() * percent).div_ceil(100).saturating_sub(1)].time.as_secs_f64()
        };
        println!(
            "  {what:<18} p50 {:>6.2} s   p99 {:>6.2} s   max {:>6.2} s   (wanted: p99 under \
             {limit} s)",
            at(50),
            at(99),
            at(100)
        );
        // Where the slowest one spent its time: in a pause, in a call, or in an attempt that
        // failed.
        done.last().into_iter().flat_map(|run| &run.calls).for_each(|call| println!("    {call}"));
    }
}

//! Measures pipelines of one account that start in the same second: how many guards launch within
//! `pre_flight_timeout`, and after which time, with AWS's default quotas of EMR and in real time.
//! The guards that have launched watch their clusters meanwhile, with the runners' and their own
//! calls. Numbers of guards can be given.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the benchmark")]
mod support;

use std::{
    process::Child,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use emr_simulator::{ClockMode, Command as Set, SetClock, Timings};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use support::{Stage, hermetic_command, programs};

/// The label of a limit, and how long the benchmark waits for it.
const LIMITS: [(&str, Duration); 2] =
    [("2m", Duration::from_secs(120)), ("10m", Duration::from_secs(600))];

fn stage(limit: &str) -> Stage {
    let runner = programs().runner.display();
    let stage = Stage::acme()
        .scripted(&format!("date +%s%N >> launched; exec '{runner}' \"$@\""))
        .env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", limit)
        .env("EMR_ETL_GUARD_WATCH_INTERVAL", "5s")
        .env("STANDIN_POLL_MS", "60000")
        .env("STANDIN_RETRY_MS", "46000");
    // The runner's version is cached after this, as in every run but the first.
    stage.check().expect_code(0);
    stage.set(Set::SetTimings(Timings {
        starting: 240.0,
        bootstrapping: 180.0,
        ..Timings::all(600.0)
    }));
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Real, at: None }));
    stage
}

/// When runners were launched, in seconds since `start`.
fn launched(stage: &Stage, start: Duration) -> Vec<f64> {
    let text = std::fs::read_to_string(stage.path("launched")).unwrap_or_default();
    let times = text.lines().filter_map(|line| line.parse().ok()).map(Duration::from_nanos);
    let mut times: Vec<f64> = times.map(|at| at.saturating_sub(start).as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn start(stage: &Stage, number: usize) -> Child {
    let own = format!("p{number}");
    let file = format!("{own}.yml");
    let config =
        stage.config.replace("job_name: Snowplow ETL", &format!("job_name: Snowplow {own}"));
    stage.write(&file, &config);
    let mut command = hermetic_command(&programs().guard);
    command.args(["run", "--quiet", "--state-dir", &format!("state-{own}"), "--"]);
    command.args(["run", "-c", &file, "-r", "resolver.json"]);
    stage.prepare(&mut command);
    command.stdout(std::fs::File::create(stage.path(&format!("{own}.out"))).expect("a file"));
    command.stderr(std::fs::File::create(stage.path(&format!("{own}.err"))).expect("a file"));
    command.spawn().expect("it starts")
}

fn play(guards: usize, limit: &str, longest: Duration) {
    let stage = stage(limit);
    stage.set(Set::ClearRequests);
    let start_of_all = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let deadline = Instant::now() + longest + Duration::from_secs(30);
    let mut children: Vec<Child> = (0..guards).map(|number| start(&stage, number)).collect();
    let mut ended = vec![false; guards];
    loop {
        for (child, ended) in children.iter_mut().zip(&mut ended) {
            *ended |= matches!(child.try_wait(), Ok(Some(_)));
        }
        let decided = launched(&stage, start_of_all).len() + ended.iter().filter(|it| **it).count();
        if decided >= guards || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let times = launched(&stage, start_of_all);
    let throttled = |operation: &str| {
        stage
            .sim
            .requests_for(operation)
            .iter()
            .filter(|request| request.error_code.as_deref() == Some("ThrottlingException"))
            .count()
    };
    let asked = ["DescribeSecurityConfiguration", "ListClusters"].map(throttled);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among a few dozen"
        )]
        let rank = (times.len() as f64 * share).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    println!(
        "  {limit:>4} {guards:>8} {:>9} {:>8.1} {:>8.1} {:>22} {:>14}",
        times.len(),
        at(0.5),
        at(0.99),
        asked[0],
        asked[1]
    );
    for child in &children {
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
    for mut child in children {
        drop(child.wait());
    }
}

fn main() {
    let given: Vec<usize> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let numbers = if given.is_empty() { vec![12, 20, 50] } else { given };
    println!("guards of one account that start together, AWS's default quotas, in real time");
    println!(
        "  {:>4} {:>8} {:>9} {:>8} {:>8} {:>22} {:>14}",
        "time", "guards", "launched", "p50 s", "p99 s", "throttled: describe SC", "list clusters"
    );
    for (limit, longest) in LIMITS {
        for &guards in &numbers {
            play(guards, limit, longest);
        }
    }
}

//! Measures the watch's share of EMR's quotas: calls a minute by operation for 1, 10 and 50 guards
//! in one account, compared with those of their runners and with AWS's quotas; and the throttled
//! calls of the runners, with guards and without. Time is scaled: twenty simulated seconds to a
//! real one. The numbers of guards can be given.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the benchmark")]
mod support;

use std::{collections::BTreeMap, time::Duration};

use emr_simulator::{ClockMode, Command as Set, PutObject, Recorded, SetClock, Timings};

use support::{Stage, hermetic_command, programs};

const SPEED: f64 = 20.0;
/// The time between the starts of runs, in simulated seconds: at most two or three pipelines of one
/// account share a minute of a crontab.
const APART: f64 = 20.0;

/// Burst and refill a second. Source: Amazon EMR documentation, API quotas.
const QUOTAS: [(&str, f64); 9] = [
    ("DescribeSecurityConfiguration", 0.5),
    ("ListClusters", 0.5),
    ("DescribeCluster", 1.0),
    ("ListSteps", 0.5),
    ("ListBootstrapActions", 1.0),
    ("ListInstanceGroups", 1.0),
    ("ListInstances", 0.5),
    ("RunJobFlow", 0.5),
    ("TerminateJobFlows", 0.5),
];

/// In milliseconds of real time.
fn scaled(seconds: f64) -> String {
    format!("{:.0}", seconds * 1000.0 / SPEED)
}

/// Runs `pipelines`, each with its own folders, all in one account; returns the calls and the
/// number of successful runs.
fn play(pipelines: usize, is_guarded: bool) -> (Vec<Recorded>, usize) {
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_WATCH_INTERVAL", &format!("{}ms", scaled(5.0)))
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", &format!("{}ms", scaled(300.0)))
        .env("STANDIN_POLL_MS", &scaled(60.0))
        .env("STANDIN_RETRY_MS", &scaled(46.0));
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(SPEED), at: None }));
    let steps = BTreeMap::from([("spark".to_owned(), 600.0)]);
    stage.set(Set::SetTimings(Timings {
        starting: 240.0,
        bootstrapping: 180.0,
        step_start: 5.0,
        step: 150.0,
        steps,
        terminating: 90.0,
    }));
    // Also writes the resolver, which all of them share.
    drop(stage.command("check"));
    let mut children = Vec::new();
    for number in 0..pipelines {
        let own = format!("p{number}");
        stage.set(Set::PutObject(PutObject {
            bucket: "acme-raw-in".to_owned(),
            key: format!("{own}/a.lzo"),
            body: Some("x".to_owned()),
            ..Default::default()
        }));
        let mut config =
            stage.config.replace("job_name: Snowplow ETL", &format!("job_name: Snowplow {own}"));
        config = config
            .replace("          - s3://acme-raw-in2/sub\n", "")
            .replace("s3://acme-raw-in", &format!("s3://acme-raw-in/{own}"));
        for place in [
            "acme-etl/processing",
            "acme-archive/raw",
            "acme-out/enriched",
            "acme-archive/enriched",
            "acme-out/shredded",
            "acme-archive/shredded",
        ] {
            let (bucket, folder) = place.split_once('/').expect("a place");
            config =
                config.replace(&format!("s3://{place}"), &format!("s3://{bucket}/{own}/{folder}"));
        }
        let file = format!("{own}.yml");
        stage.write(&file, &config);
        let mut command = if is_guarded {
            let mut command = hermetic_command(&programs().guard);
            command.args([
                "run",
                "--state-dir",
                &format!("state-{own}"),
                "--data-objects=10",
                "--",
            ]);
            command
        } else {
            hermetic_command(&programs().runner)
        };
        command.args(["run", "-c", &file, "-r", "resolver.json"]);
        stage.prepare(&mut command);
        command.stdout(std::fs::File::create(stage.path(&format!("{own}.out"))).expect("a file"));
        command.stderr(std::fs::File::create(stage.path(&format!("{own}.err"))).expect("a file"));
        children.push((own, command.spawn().expect("it starts")));
        std::thread::sleep(Duration::from_secs_f64(APART / SPEED));
    }
    let mut well = 0;
    for (own, mut child) in children {
        let status = child.wait().expect("it ends");
        if status.success() {
            well += 1;
        } else {
            let said =
                std::fs::read_to_string(stage.path(&format!("{own}.err"))).unwrap_or_default();
            let last =
                std::fs::read_to_string(stage.path(&format!("{own}.out"))).unwrap_or_default();
            println!(
                "  {own}: {status}: {} {}",
                said.trim(),
                last.lines().last().unwrap_or_default()
            );
        }
    }
    (
        stage
            .sim
            .requests()
            .into_iter()
            .filter(|request| request.subject.service == "elasticmapreduce")
            .collect(),
        well,
    )
}

fn is_guards(request: &Recorded) -> bool {
    request.access_key.as_deref() == Some("AKIAGUARD")
}

fn throttled<'a>(requests: impl Iterator<Item = &'a Recorded>) -> usize {
    requests.filter(|request| request.error_code.as_deref() == Some("ThrottlingException")).count()
}

fn show(pipelines: usize, requests: &[Recorded], well: usize) {
    let (first, last) = (requests.first().expect("calls").at, requests.last().expect("calls").at);
    let minutes = (last - first).as_seconds_f64() / 60.0;
    println!("{pipelines} guards over {minutes:.0} minutes; {well} runs ended well");
    println!(
        "  {:<31} {:>14} {:>14} {:>14} {:>10} {:>10}",
        "calls a minute", "guards", "runners", "both", "quota", "used"
    );
    for (operation, refill) in QUOTAS {
        let count = |guards: bool| {
            requests
                .iter()
                .filter(|request| request.operation() == operation && is_guards(request) == guards)
                .count() as f64
        };
        let (guards, runners, quota) =
            (count(true) / minutes, count(false) / minutes, refill * 60.0);
        let used = (guards + runners) / quota * 100.0;
        println!(
            "  {operation:<31} {guards:>14.2} {runners:>14.2} {:>14.2} {quota:>10.0} {used:>9.0}%",
            guards + runners
        );
    }
    let of = |guards: bool| requests.iter().filter(move |request| is_guards(request) == guards);
    let each = |guards: bool| of(guards).count() as f64 / pipelines as f64;
    println!(
        "  calls for each cluster           guard {:>8.1}, runner {:>8.1}: {:.2} of it",
        each(true),
        each(false),
        each(true) / each(false)
    );
    println!(
        "  throttled                        guards {:>7}, runners {:>7} of {}",
        throttled(of(true)),
        throttled(of(false)),
        of(false).count()
    );
}

fn main() {
    let given: Vec<usize> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let numbers = if given.is_empty() { vec![1, 10, 50] } else { given };
    for pipelines in numbers {
        let (requests, well) = play(pipelines, true);
        show(pipelines, &requests, well);
        let (bare, well) = play(pipelines, false);
        println!(
            "  the same runners without guards: {} of {} calls throttled; {well} ended well\n",
            throttled(bare.iter()),
            bare.len()
        );
    }
}

//! Measures the resident memory of `sentinel`: with 1,000 clusters that live, and again and again
//! while as many clusters come and go as in a month. The interval is short, and so is everything
//! that the sentinel derives from it, and after each day's clusters EMR's clock is advanced by a
//! day, so that a month passes in minutes; no figure is a time. The number of clusters that come
//! and go can be given.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of the stage than the benchmark")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    time::Duration,
};

use emr_simulator::{
    Advance, ClockMode, Command as Set, SetClock, StartCluster, StartState, Switch, Timings,
};
use serde_json::json;

use support::Stage;

/// The clusters that live all the time.
const LIVING: usize = 1_000;
/// The clusters that come and go: a hundred a day.
const MONTH: usize = 3_000;
/// The clusters of a day, which live at once.
const DAY: usize = 100;
/// A day, in seconds.
const DAY_SECONDS: f64 = 86_400.0;
/// How long anything may take, in real time.
const PATIENCE: Duration = Duration::from_mins(10);

/// Starts an encrypted cluster, which ends by itself unless it is waiting.
fn start(stage: &Stage, id: String, first: StartState) {
    let request = json!({
        "SecurityConfiguration": "acme-sc",
        "ReleaseLabel": "emr-6.15.0",
        "Instances": {
            "KeepJobFlowAliveWhenNoSteps": false,
            "Ec2SubnetId": "subnet-0123456789abcdef0",
        },
    });
    let start = StartCluster { id: Some(id), state: first, request, ..StartCluster::default() };
    stage.set(Set::StartCluster(start));
}

/// Waits until the sentinel has made each of these calls for all clusters whose ids have this
/// prefix.
fn wait_for_looks(stage: &Stage, prefix: &str, count: usize, operations: &[&'static str]) {
    let mut seen: BTreeMap<&str, BTreeSet<String>> =
        operations.iter().map(|operation| (*operation, BTreeSet::new())).collect();
    let found = stage.sim.wait_for_request(
        |request| {
            if let Some(id) = request.cluster_id().filter(|id| id.starts_with(prefix))
                && let Some(seen) = seen.get_mut(request.operation())
            {
                seen.insert(id.to_owned());
            }
            seen.values().all(|seen| seen.len() == count)
        },
        PATIENCE,
    );
    let seen: Vec<(&str, usize)> = seen.iter().map(|(name, seen)| (*name, seen.len())).collect();
    assert!(found.is_some(), "of {count} clusters: {seen:?}");
    stage.set(Set::ClearRequests);
}

/// Resident memory, and the part of it that is not backed by a file (an unoptimised program is
/// large), in MB.
fn print_memory(child: &Child, what: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        let kilobytes = line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number");
        kilobytes / 1024.0
    };
    println!("  {what:<40} {:>6.1} MB   of it anonymous {:>6.1} MB", of("VmRSS:"), of("RssAnon:"));
}

fn main() {
    let passing =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(MONTH);
    let stage = Stage::acme().without_env("SSL_CERT_FILE");
    stage.write("guard.yml", "sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n");
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Real, at: None }));
    stage.set(Set::SetQuotas(Switch { on: false }));
    stage.set(Set::SetTimings(Timings::all(36_000.0)));
    (0..LIVING)
        .for_each(|number| start(&stage, format!("j-LIVES{number:04}"), StartState::Waiting));
    let log = std::fs::File::create(stage.path("log")).expect("a log");
    let both = log.try_clone().expect("the same log");
    let mut sentinel = stage.sentinel(&[]);
    let mut child = sentinel.stdout(log).stderr(both).spawn().expect("the guard starts");
    println!("resident memory of `sentinel`, {LIVING} clusters that live");
    wait_for_looks(&stage, "j-LIVES", LIVING, &["DescribeCluster", "ListInstances"]);
    print_memory(&child, "all are judged, in detail too");
    stage.set(Set::SetTimings(Timings::all(3.0)));
    for round in 1..=passing / DAY {
        let prefix = format!("j-R{round:04}");
        for number in 0..DAY {
            start(&stage, format!("{prefix}N{number:04}"), StartState::Starting);
        }
        wait_for_looks(&stage, &prefix, DAY, &["DescribeCluster"]);
        let are_over = stage.sim.wait_until(
            |world| {
                let mut own = world.clusters.iter().filter(|it| it.id.starts_with(&prefix));
                own.all(|it| it.state.is_over())
            },
            PATIENCE,
        );
        assert!(are_over, "clusters without steps end by themselves");
        // What a list shows again, because EMR shows some clusters late, is of the last minutes.
        stage.set(Set::Advance(Advance { seconds: DAY_SECONDS }));
        if round % 5 == 0 {
            print_memory(&child, &format!("{} more have come and gone", round * DAY));
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

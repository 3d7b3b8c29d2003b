//! Measures how soon the sentinel reports and terminates unsafe clusters, and how many calls it
//! makes, on a simulated clock: nothing here depends on this machine's speed.
//!
//! The watcher is the sentinel's own, as it decides; the account around it is a model. Every
//! assumption about AWS is in the constants below, with its source. Beside it: Cloud Custodian and
//! a function of AWS Lambda behind CloudTrail, by their documented delays.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts and seconds of a benchmark are small"
)]

/// The sentinel's watcher, included by its source files, as `integration/simulation` does.
#[path = "../src/watch"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the watcher of runs, and what only the program uses, is not measured here"
)]
mod watch {
    pub mod machine {
        pub mod account;
        mod budget;
        mod cluster;
        pub mod conclusion;
        pub mod ending;
        pub mod event;
        mod mutants;
        pub mod ownership;
        mod pace;
        pub mod plan;
        mod runner;
        pub mod state;
        pub mod termination;
        pub mod time;
        pub mod watcher;
    }
}

#[path = "support/account.rs"]
mod account;

use std::collections::BTreeMap;

use account::{Account, Call, ModelCluster, Settings};

/// The launches of the first table.
const LAUNCHES: usize = 500;

/// How long a cluster takes from RunJobFlow to the end of its bootstrap, in seconds: the shortest
/// and the longest of the three clusters in the AWS CLI command reference, describe-cluster
/// (`CreationDateTime` to `ReadyDateTime`).
const READY: (f64, f64) = (296.0, 419.0);

/// From an API call to CloudTrail's event, in seconds: "an average of about 5 minutes", not
/// guaranteed. Source: AWS CloudTrail user guide, Getting and viewing your CloudTrail log files.
/// The distribution is not documented: every time up to twice the average counts as equally likely.
const TRAIL: (f64, f64) = (0.0, 600.0);
/// The same as Cloud Custodian documents it: "within seconds of delay at P99". Source:
/// cloud-custodian/cloud-custodian, docs/source/aws/lambda.rst, CloudTrail API Calls.
const TRAIL_FAST: (f64, f64) = (1.0, 10.0);
/// A start of a function and its calls, in seconds.
const FUNCTION: f64 = 2.0;
/// Custodian's action `terminate` with `force` sleeps between lifting the termination protection
/// and its request, in seconds. Source: c7n/resources/emr.py, `Terminate.delay`.
const CUSTODIAN_TERMINATES: f64 = 5.0;

/// SQS, in US dollars for a million requests, after the first million of a month. Source:
/// aws.amazon.com/sqs/pricing, us-east-1, standard queues.
const SQS_MILLION: f64 = 0.40;
/// The requests to SQS that are free in a month. Source: as above.
const SQS_FREE: f64 = 1_000_000.0;
/// KMS, in US dollars for ten thousand requests. Source: `src/base/prices.rs`.
const KMS_TEN_THOUSAND: f64 = 0.03;
/// The longest that one request waits for messages, in seconds. Source: Amazon SQS developer guide,
/// Amazon SQS short and long polling.
const LONG_POLL: f64 = 20.0;
/// How long what a cluster depends on counts for other clusters, in seconds. Source:
/// `src/sentinel/judge.rs`.
const SURROUNDINGS: f64 = 600.0;
/// The requests to KMS about one key: DescribeKey, GetKeyPolicy, ListGrants.
const KMS_CALLS: f64 = 3.0;

/// From RunJobFlow to the alert and to TerminateJobFlows, in seconds, and to the end of the
/// bootstrap.
struct Times {
    alert: f64,
    terminate: f64,
    ready: f64,
}

/// The launches of this table: alone, or up to five at once, with five to twenty-five minutes in
/// between.
fn launches(random: &mut fastrand::Rng, bursts: &[usize], count: usize) -> Vec<ModelCluster> {
    let (mut clusters, mut at) = (Vec::new(), 3_600.0);
    for size in bursts.iter().cycle() {
        if clusters.len() >= count {
            break;
        }
        for _ in 0..(*size).min(count - clusters.len()) {
            let ready = between(random, READY);
            clusters.push(ModelCluster { place: 0, launched: at, ready, is_unsafe: true });
        }
        at += between(random, (300.0, 1_500.0));
    }
    clusters
}

fn between(random: &mut fastrand::Rng, (from, to): (f64, f64)) -> f64 {
    from + random.f64() * (to - from)
}

/// Watches these launches, beside ten encrypted clusters that live all the time.
fn sentinel(
    clusters: &[ModelCluster],
    events: bool,
    one_configuration: bool,
) -> (Vec<Times>, Account) {
    let living = ModelCluster { place: 0, launched: 0.0, ready: READY.1, is_unsafe: false };
    let mut all = vec![living; 10];
    all.extend_from_slice(clusters);
    let last = all.iter().map(|it| it.launched).fold(0.0, f64::max);
    let mut account = Account::new(Settings { places: 1, events, one_configuration }, all);
    account.run_until(last + 7_200.0);
    let times = account.unsafe_clusters().map(|(cluster, alert, terminate)| Times {
        alert: alert - cluster.launched,
        terminate: terminate - cluster.launched,
        ready: cluster.ready,
    });
    let times: Vec<Times> = times.collect();
    assert_eq!(times.len(), clusters.len(), "every unsafe cluster is reported and terminated");
    (times, account)
}

/// A way that reports and terminates by one delay.
fn other(
    random: &mut fastrand::Rng,
    clusters: &[ModelCluster],
    wait: (f64, f64),
    acts: f64,
) -> Vec<Times> {
    let mut times = Vec::new();
    for cluster in clusters {
        let alert = between(random, wait) + FUNCTION;
        times.push(Times { alert, terminate: alert + acts, ready: cluster.ready });
    }
    times
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(index).copied().unwrap_or(f64::NAN)
}

fn print_times(what: &str, times: &[Times]) {
    let mut alert: Vec<f64> = times.iter().map(|it| it.alert).collect();
    let mut terminate: Vec<f64> = times.iter().map(|it| it.terminate).collect();
    let early = times.iter().filter(|it| it.terminate < it.ready).count();
    let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&mut alert, percent));
    let [end50, end99, end_max] = [50, 99, 100].map(|percent| percentile(&mut terminate, percent));
    println!(
        "| {what} | {p50:.0} s | {p99:.0} s | {max:.0} s | {end50:.0} s | {end99:.0} s | \
         {end_max:.0} s | {:.0} % |",
        100.0 * early as f64 / times.len() as f64
    );
}

fn print_speed() {
    let mut random = fastrand::Rng::with_seed(21);
    let clusters = launches(&mut random, &[1, 1, 1, 2, 5], LAUNCHES);
    println!(
        "From RunJobFlow to the alert and to TerminateJobFlows, {LAUNCHES} unsafe launches, alone \
         or up to five at once; last column: terminated before the bootstrap ended.\n"
    );
    println!("| | alert p50 | p99 | max | request p50 | p99 | max | in time |");
    println!("|---|---|---|---|---|---|---|---|");
    for (what, events) in [("sentinel, with events", true), ("sentinel, without events", false)] {
        let (times, account) = sentinel(&clusters, events, false);
        print_times(what, &times);
        assert_eq!(account.throttled, 0, "EMR throttled the sentinel");
    }
    let day = (0.0, 86_400.0);
    for (what, wait, acts) in [
        ("Custodian, `cloudtrail`, as CloudTrail documents it", TRAIL, CUSTODIAN_TERMINATES),
        ("Custodian, `cloudtrail`, as Custodian documents it", TRAIL_FAST, CUSTODIAN_TERMINATES),
        ("Custodian, `periodic`, every 10 minutes", (0.0, 600.0), CUSTODIAN_TERMINATES),
        ("Custodian, `periodic`, `rate(1 day)`, its example", day, CUSTODIAN_TERMINATES),
        ("CloudTrail and a Lambda function", TRAIL, 0.0),
    ] {
        print_times(what, &other(&mut random, &clusters, wait, acts));
    }
}

fn print_bursts() {
    println!(
        "\nMany launches at once in one region, with events: the slowest of them. Left: all have one \
         security configuration; right: each has its own.\n"
    );
    println!("| at once | alert | TerminateJobFlows | alert | TerminateJobFlows |");
    println!("|---|---|---|---|---|");
    for size in [1, 5, 10, 20, 50, 100] {
        let mut random = fastrand::Rng::with_seed(21);
        let clusters = launches(&mut random, &[size], size);
        let cells = [true, false].map(|one_configuration| {
            let (times, account) = sentinel(&clusters, true, one_configuration);
            assert_eq!(account.throttled, 0, "EMR throttled the sentinel");
            let slowest = |of: fn(&Times) -> f64| times.iter().map(of).fold(0.0, f64::max);
            format!("{:.0} s | {:.0} s", slowest(|it| it.alert), slowest(|it| it.terminate))
        });
        println!("| {size} | {} |", cells.join(" | "));
    }
}

/// The calls of one hour, after the first two hours.
fn calls_of_an_hour(living: usize) -> BTreeMap<(usize, Call), u64> {
    let places = 20;
    let cluster = |number: usize| ModelCluster {
        place: number % places,
        launched: 0.0,
        ready: READY.1,
        is_unsafe: false,
    };
    let clusters = (0..living).map(cluster).collect();
    let mut account =
        Account::new(Settings { places, events: true, one_configuration: false }, clusters);
    account.run_until(7_200.0);
    account.calls.clear();
    account.run_until(10_800.0);
    assert_eq!(account.throttled, 0, "EMR throttled the sentinel");
    account.calls
}

fn print_calls() {
    println!(
        "\nEMR calls in an hour for clusters that live in 20 regions, all regions together; in \
         brackets the share of EMR's quota (what it refills) in the busiest region.\n"
    );
    println!("| call | 0 clusters | 10 clusters | 1,000 clusters |");
    println!("|---|---|---|---|");
    let hours = [0, 10, 1_000].map(calls_of_an_hour);
    for call in Call::ALL {
        let cells = hours.each_ref().map(|calls| {
            let of_place = |place| calls.get(&(place, call)).copied().unwrap_or(0);
            let sum: u64 = (0..20).map(of_place).sum();
            let most = (0..20).map(of_place).max().unwrap_or(0) as f64;
            format!("{sum} ({:.0} %)", 100.0 * most / (call.refill() * 3_600.0))
        });
        println!("| {call:?} | {} |", cells.join(" | "));
    }
    println!(
        "\nCosts in a month of thirty days, 20 regions; calls of EMR, EC2, IAM and STS are free.\n"
    );
    println!("| | requests | US dollars |");
    println!("|---|---|---|");
    let month = 30.0 * 86_400.0;
    let one = month / LONG_POLL;
    for (what, requests) in [("SQS, one queue", one), ("SQS, a queue in each region", one * 20.0)] {
        let dollars = (requests - SQS_FREE).max(0.0) / 1e6 * SQS_MILLION;
        println!("| {what} | {requests:.0} | {dollars:.2} |");
    }
    let keys = month / SURROUNDINGS * KMS_CALLS * 20.0;
    let dollars = keys / 10_000.0 * KMS_TEN_THOUSAND;
    println!(
        "| KMS, at most: one key in each region, in use all the time | {keys:.0} | {dollars:.2} |"
    );
}

fn main() {
    print_speed();
    print_bursts();
    print_calls();
}

//! Measures the cost of the guard as the runner's replacement: bytes per second of pass-through
//! compared with `cat` in the same run, processor time from the guard's exec to the runner's (over
//! plain HTTP, and over TLS as with AWS), and resident memory while it watches.

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

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::Stage;

const BYTES: u64 = 2_000_000_000;
const RUNS: usize = 5;

/// Log lines, as fast as a program can write them.
fn producer() -> String {
    format!(
        "yes 'D, [2026-11-22T08:34:18.016163 #13595] DEBUG -- : {}' | head -c {BYTES}",
        "flood ".repeat(12)
    )
}

/// Bytes per second that `child` passes on, counted from its first byte.
fn rate(mut child: Child, code: i32) -> f64 {
    let mut stdout = child.stdout.take().expect("the stream is piped");
    let mut chunk = vec![0; 1 << 20];
    stdout.read_exact(&mut chunk[..1]).expect("there is output");
    let start = Instant::now();
    let mut length: u64 = 1;
    loop {
        match stdout.read(&mut chunk).expect("a pipe can be read") {
            0 => break,
            read => length += read as u64,
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert_eq!((length, child.wait().expect("a child").code()), (BYTES, Some(code)));
    length as f64 / elapsed
}

fn through_cat() -> f64 {
    rate(
        Command::new("sh")
            .args(["-c", &format!("{} | cat", producer())])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell"),
        0,
    )
}

fn through_the_guard() -> f64 {
    let stage = Stage::acme()
        .without_env("SSL_CERT_FILE")
        .option("--quiet")
        .scripted(&format!("cat > /dev/null\n{}\nexit 3", producer()));
    rate(stage.command("run").spawn().expect("the guard starts"), 3)
}

/// Processor time in milliseconds that all threads of the guard had used when the runner started.
struct UntilTheRunner(Stage);

impl UntilTheRunner {
    fn of(stage: Stage) -> Self {
        // From the kernel's clock in nanoseconds; ticks are too coarse.
        let stage = authorities::with_the_machines(stage)
            .scripted("cat /proc/$PPID/task/*/schedstat > used\ncat > /dev/null\nexit 3");
        stage.check().expect_code(0);
        Self(stage)
    }

    fn milliseconds(&self) -> f64 {
        self.0.run().expect_code(3);
        let used = std::fs::read_to_string(self.0.path("used")).expect("the runner told");
        used.lines().filter_map(|thread| thread.split(' ').next()?.parse::<u64>().ok()).sum::<u64>()
            as f64
            / 1e6
    }
}

/// Resident memory of a watching guard, and the part of it that is not backed by a file (an
/// unoptimised program is large), in MB.
fn while_watching() -> (f64, f64) {
    let stage = Stage::acme().without_env("SSL_CERT_FILE").misbehave("hang").option("--quiet");
    let mut child = stage.command("run").spawn().expect("the guard starts");
    let steps =
        |request: &str, key: Option<&str>| request == "ListSteps" && key == Some("AKIAGUARD");
    let judged = stage.sim.wait_for_request(
        |request| steps(request.operation(), request.access_key.as_deref()),
        Duration::from_secs(30),
    );
    assert!(judged.is_some(), "the cluster is watched");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let _ = child.kill();
    let _ = child.wait();
    let of = |name: &str| {
        status.lines().find_map(|line| {
            line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        })
    };
    (of("VmRSS:").expect("a number") / 1024.0, of("RssAnon:").expect("a number") / 1024.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // Alternating, so that other load of the machine affects both alike.
    let (cat, guard): (Vec<f64>, Vec<f64>) =
        (0..RUNS).map(|_| (through_cat(), through_the_guard())).unzip();
    let (cat, guard) = (median(cat), median(guard));
    let plain = UntilTheRunner::of(Stage::with_twelve_buckets());
    let tls = UntilTheRunner::of(Stage::with_twelve_buckets().over_tls());
    let (plain, tls): (Vec<f64>, Vec<f64>) =
        (0..RUNS).map(|_| (plain.milliseconds(), tls.milliseconds())).unzip();
    let (plain, tls) = (median(plain), median(tls));
    let (resident, own) = while_watching();

    println!(
        "in the runner's place, median of {RUNS} runs{}",
        if cfg!(debug_assertions) { ", with an unoptimised guard" } else { "" }
    );
    println!("  pass-through by cat      {:>6.0} MB/s", cat / 1e6);
    println!("  pass-through             {:>6.0} MB/s", guard / 1e6);
    println!("  the guard beside cat     {:>6.2}", guard / cat);
    println!("  CPU before the launch    {plain:>6.0} ms, 12 buckets over plain HTTP");
    println!("  CPU before the launch    {tls:>6.0} ms, 12 buckets over TLS");
    println!(
        "  resident while watching  {resident:>6.1} MB, {own:.1} MB of it not the program's file"
    );
}

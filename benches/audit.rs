//! Measures how fast an audit is, compared with a bare HTTP client that sends as many HEADs to the
//! same responder; its memory use; and how fast inventories are read.
//!
//! Ratios are taken within one run, since machines differ. With `AUDIT_BENCH_SMALL` set it takes
//! seconds instead of minutes.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "../tests/support/inventories.rs"]
mod inventories;
#[path = "../integration/bench/responder.rs"]
mod responder;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use inventories::{FORMS, Form, Line};

/// The connections of the bare client; the audit also sends this many requests concurrently.
const CONNECTIONS: u64 = 128;
/// The time that S3 takes for a HEAD, in its own region.
const LATENCY: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    if let (Some("bare"), Some(port), Some(objects)) =
        (arguments.get(1).map(String::as_str), number(2), number(3))
    {
        runtime.block_on(responder::bare(
            u16::try_from(port).expect("a port"),
            objects,
            CONNECTIONS,
        ));
        return;
    }
    let is_small = std::env::var_os("AUDIT_BENCH_SMALL").is_some();
    runtime.block_on(live(is_small));
    by_inventory(is_small);
}

async fn live(is_small: bool) {
    let objects = if is_small { 5_000 } else { 100_000 };
    println!("objects audited, of {objects}");
    for delay in [Duration::ZERO, LATENCY] {
        let port = responder::respond(objects, delay).await;
        let guard = guard_on(port).await;
        let bare = of_itself(&["bare", &port.to_string(), &objects.to_string()]).await;
        println!("  {} ms on each reply", delay.as_millis());
        for (name, came) in [("the guard", &guard), ("a bare client", &bare)] {
            println!(
                "    {name:<14} {:>8.0} a second, {:>8.0} a second of processor time",
                came.rate(objects),
                came.by_processor(objects)
            );
        }
        println!(
            "    the guard's part of the bare client's: {:.2}, and {:.2} by processor time",
            guard.rate(objects) / bare.rate(objects),
            guard.by_processor(objects) / bare.by_processor(objects)
        );
    }
    println!("resident memory at its highest");
    for objects in if is_small { vec![1_000, 10_000] } else { vec![10_000, 100_000, 1_000_000] } {
        let port = responder::respond(objects, Duration::ZERO).await;
        let guard = guard_on(port).await;
        println!(
            "  {objects:>9} objects: {:.1} MB ({:.0} a second)",
            guard.kilobytes as f64 / 1024.0,
            guard.rate(objects)
        );
    }
}

/// An audit of all objects of the responder on this port.
async fn guard_on(port: u16) -> Came {
    let mut command = guard();
    command
        .args(["audit", &format!("s3://{}/data", responder::BUCKET), "--quiet"])
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    command.env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", format!("http://127.0.0.1:{port}"));
    tokio::task::spawn_blocking(move || run(command, Some(77))).await.expect("it ends")
}

async fn of_itself(arguments: &[&str]) -> Came {
    let mut command = Command::new(std::env::current_exe().expect("it runs"));
    command.args(arguments);
    tokio::task::spawn_blocking(move || run(command, Some(0))).await.expect("it ends")
}

fn guard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emr-etl-guard"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_ACCESS_KEY_ID", "AKIAGUARD")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    command
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", "/nonexistent");
    command
}

fn by_inventory(is_small: bool) {
    let (rows, files): (u64, u64) = if is_small { (100_000, 2) } else { (10_000_000, 10) };
    println!("rows of inventories read, of {rows} in {files} files");
    for form in FORMS {
        let folder = tempfile::tempdir().expect("room on the disk");
        let made = Instant::now();
        let manifest = make(folder.path(), form, rows, files);
        let made = made.elapsed();
        let mut command = guard();
        command.args(["audit", "--quiet", "--inventory"]).arg(manifest);
        let came = run(command, Some(77));
        println!(
            "  {:<8} {:>10.0} a second, {:>10.0} a second of processor time, {:.1} MB resident at \
             the highest (made in {:.0} s)",
            form.name(),
            came.rate(rows),
            came.by_processor(rows),
            came.kilobytes as f64 / 1024.0,
            made.as_secs_f64()
        );
    }
}

fn make(folder: &std::path::Path, form: Form, rows: u64, files: u64) -> std::path::PathBuf {
    let of_file = rows / files;
    let chunk = |first: u64, last: u64| -> Vec<Line> {
        let kinds = ["SSE-S3", "SSE-KMS", "SSE-S3", "NOT-SSE"];
        let line = |row: u64| {
            let key = format!(
                "enriched/archive/run=2026-11-{:02}-04-00-00/part-{row:010}",
                1 + row / 400_000 % 28
            );
            Line::new(&key, 4096, kinds[usize::try_from(row % 4).expect("one of four")])
        };
        (first..last).map(line).collect()
    };
    let files: Vec<_> = (0..files)
        .map(|number| {
            let path = folder.join(format!("part-{number}"));
            let (first, last) = (number * of_file, (number + 1) * of_file);
            let starts = (first..last).step_by(10_000);
            inventories::file(
                &path,
                form,
                "acme-archive",
                "",
                starts.map(|start| chunk(start, (start + 10_000).min(last))),
            );
            path
        })
        .collect();
    inventories::manifest(folder, form, "acme-archive", "", "", &files)
}

/// The result of a process.
struct Came {
    wall: Duration,
    processor: Duration,
    kilobytes: u64,
}

impl Came {
    fn rate(&self, number: u64) -> f64 {
        number as f64 / self.wall.as_secs_f64()
    }

    fn by_processor(&self, number: u64) -> f64 {
        number as f64 / self.processor.as_secs_f64()
    }
}

/// Runs a process to its end, which must be this code.
fn run(mut command: Command, code: Option<i32>) -> Came {
    let before = children();
    let start = Instant::now();
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut kilobytes = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        kilobytes = kilobytes.max(highest(child.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    };
    let wall = start.elapsed();
    let mut said = String::new();
    let _ =
        std::io::Read::read_to_string(&mut child.stderr.take().expect("it is piped"), &mut said);
    assert_eq!(status.code(), code, "{said}");
    Came { wall, processor: children().saturating_sub(before), kilobytes }
}

/// The highest resident memory of a process so far.
fn highest(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Processor time of all children that have ended, in hundredths of a second.
fn children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    Duration::from_millis(10 * (ticks(13) + ticks(14)))
}

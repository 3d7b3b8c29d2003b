//! Measures the time and memory for configs that are built to exhaust resources, until they are
//! sealed or rejected: each in a process of its own, whose peak counts. The goal is 2 seconds and
//! 100 MB for each; a larger value is marked, and the benchmark then ends with 1.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

#[path = "../integration/fuzz/bombs.rs"]
mod bombs;

use bombs::{bombs, explode};

const LONGEST: Duration = Duration::from_secs(2);
/// In kilobytes, as the kernel counts them.
const MOST: u64 = 100_000;
/// The number of the bomb for a child process.
const NUMBER: &str = "CONFIG_BOMB";

fn main() -> ExitCode {
    let bombs = bombs();
    if let Ok(number) = std::env::var(NUMBER) {
        let bomb = &bombs[number.parse::<usize>().expect("a number")];
        let started = Instant::now();
        let (end, said) = explode(bomb);
        assert_eq!(end, bomb.end, "{said}");
        let took = started.elapsed();
        let said: String = said.chars().take(100).collect();
        println!("{} {} {end:?}: {said}", took.as_micros(), peak());
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for (number, bomb) in bombs.iter().enumerate() {
        let own = std::env::current_exe().expect("this program");
        let output = Command::new(own).env(NUMBER, number.to_string()).output().expect("it runs");
        let line = String::from_utf8_lossy(&output.stdout);
        let mut parts = line.trim_end().splitn(3, ' ');
        let mut next = || parts.next().unwrap_or_default();
        let took = next().parse().map(Duration::from_micros);
        let (peak, said) = (next().parse::<u64>(), next());
        let (Ok(took), Ok(peak)) = (took, peak) else {
            println!("{}: ended with {}", bomb.name, output.status);
            code = ExitCode::FAILURE;
            continue;
        };
        let is_over = took > LONGEST || peak > MOST;
        if is_over {
            code = ExitCode::FAILURE;
        }
        println!(
            "{:>7.3} s {:>7} kB  {}{} ({} bytes): {said}",
            took.as_secs_f64(),
            peak,
            if is_over { "TOO MUCH: " } else { "" },
            bomb.name,
            bomb.text.len(),
        );
    }
    code
}

/// The peak resident memory of this process, in kilobytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

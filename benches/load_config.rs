//! Measures the time for a config of 200 lines, from its bytes to the sealed and verified text,
//! compared with parsing alone. Ratios are taken within one run.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::format_push_string,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

use std::{ffi::OsString, time::Instant};

use emr_etl_guard::runners::emr_etl_runner::{config::RunnerConfig, seal::Seal};

const RUNS: u32 = 500;

/// The recorded config with extra settings until it has 200 lines.
fn config() -> String {
    let mut text = include_str!("../tests/recordings/config.yml").to_owned();
    text.push_str("extra:\n");
    while text.lines().count() < 200 {
        let line = text.lines().count();
        text += &format!(
            "  key-{line}: {{number: {line}, text: \"a longer value, number {line}\", env: <%= \
             ENV['HOME'] %>}}\n"
        );
    }
    text
}

fn median_microseconds(mut run: impl FnMut()) -> u128 {
    let mut times: Vec<u128> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let text = config();
    let env = |_: &str| Some(OsString::from("value"));
    let seal = Seal {
        security_configuration: "acme-sc".to_owned(),
        tag: Some(("run".to_owned(), "1".to_owned())),
    };
    let load =
        || RunnerConfig::parse("config.yml", text.as_bytes(), &env).expect("it keeps the contract");
    let loaded = median_microseconds(|| drop(load()));
    let sealed = median_microseconds(|| {
        drop(load().seal(&seal).expect("it can be sealed"));
    });
    println!(
        "a config of {} lines, {} bytes, median of {RUNS} runs",
        text.lines().count(),
        text.len()
    );
    println!("  rendered, loaded, judged by the contract {loaded:>6} µs");
    println!(
        "  sealed, and the seal proved, too         {sealed:>6} µs ({:.1} times that)",
        sealed as f64 / loaded as f64
    );
}

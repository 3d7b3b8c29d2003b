//! Measures how fast objects are looked up, compared with a bare HTTP client that sends the same
//! number of HEADs over as many connections to the same responder, and the memory use. Ratios are
//! taken within one run, since machines differ; each client is a process of its own, so that its
//! memory is its own. The guard is the library in this program.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

#[path = "../integration/bench/responder.rs"]
mod responder;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use emr_etl_guard::{
    aws::{clients::Aws, region::Regions},
    base::names::S3Location,
    facts::written::{OutputLocation, look},
    settings::resolve::{Options, Settings},
};

/// The number of objects for a comparison, and for the memory.
const COMPARED: u64 = 5_000;
const MANY: u64 = 100_000;
/// The time that S3 takes for a HEAD, in its own region.
const LATENCY: Duration = Duration::from_millis(20);
/// The guard's concurrent requests in one location.
const CONNECTIONS: u64 = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    match (arguments.get(1).map(String::as_str), number(2), number(3)) {
        (Some("guard"), Some(_), Some(objects)) => runtime.block_on(guard(objects)),
        (Some("bare"), Some(port), Some(objects)) => runtime.block_on(bare(port, objects)),
        _ => runtime.block_on(compare()),
    }
}

async fn compare() {
    println!("objects per second, {CONNECTIONS} HEADs at once, {COMPARED} objects");
    for delay in [Duration::ZERO, LATENCY] {
        let port = responder::respond(COMPARED, delay).await;
        let (guard, bare) =
            (client("guard", port, COMPARED).await, client("bare", port, COMPARED).await);
        println!(
            "  {:>2} ms on each reply:   the guard {:>6.0}, a bare client {:>6.0}, which is {:.2} \
             of it",
            delay.as_millis(),
            guard.rate,
            bare.rate,
            guard.rate / bare.rate
        );
    }
    println!("resident memory at its highest");
    for objects in [COMPARED, MANY] {
        let port = responder::respond(objects, Duration::ZERO).await;
        let guard = client("guard", port, objects).await;
        println!(
            "  {objects:>6} objects: {:.1} MB ({:.0} a second)",
            guard.kilobytes as f64 / 1024.0,
            guard.rate
        );
    }
}

/// The result of a client.
struct Came {
    rate: f64,
    kilobytes: u64,
}

/// Runs a client in a process of its own.
async fn client(which: &'static str, port: u16, objects: u64) -> Came {
    let run = move || {
        let output = Command::new(std::env::current_exe().expect("it runs"))
            .args([which, &port.to_string(), &objects.to_string()])
            .env_clear()
            .envs(
                std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "LD_LIBRARY_PATH"),
            )
            .env("AWS_ACCESS_KEY_ID", "AKIAGUARD")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stderr(Stdio::inherit())
            .output()
            .expect("it starts");
        String::from_utf8(output.stdout).expect("text")
    };
    let text = tokio::task::spawn_blocking(run).await.expect("it ends");
    let mut words = text.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("the client said `{text}`"));
    Came {
        rate: objects as f64 / next().parse::<f64>().expect("seconds"),
        kilobytes: next().parse().expect("kilobytes"),
    }
}

/// Prints the elapsed time, and the process' peak memory.
fn came(start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    println!("{seconds} {}", line.split_whitespace().next().expect("a number"));
}

async fn guard(objects: u64) {
    let settings = Settings::resolve(Options::default(), None).expect("the defaults");
    let regions = Regions { emr: "eu-west-1".to_owned(), s3: "eu-west-1".to_owned() };
    let aws = Aws::connect(&regions, None, &settings.aws).await;
    let place = OutputLocation {
        role: "enriched.archive".to_owned(),
        folders: vec![
            S3Location::parse(&format!("s3://{}/data/", responder::BUCKET)).expect("a location"),
        ],
    };
    let start = Instant::now();
    let written = look(&aws, vec![place], None, None, |_, _| (), std::future::pending()).await;
    let survey = &written[0].survey;
    // The responder has encrypted and unencrypted objects.
    assert_eq!(
        (survey.objects, survey.looked_at, survey.kinds.len()),
        (objects, objects, 2),
        "{written:?}"
    );
    came(start);
}

async fn bare(port: u64, objects: u64) {
    let start = Instant::now();
    responder::bare(u16::try_from(port).expect("a port"), objects, CONNECTIONS).await;
    came(start);
}

//! How fast objects are looked at, beside a bare HTTP client that sends the same number of HEADs over as many connections to the same responder, and how much memory
//! that takes. Ratios are taken within one run, since machines differ; each client is a process of its own, so that its memory is its own.

#![expect(clippy::expect_used, clippy::cast_precision_loss, reason = "a benchmark that cannot be staged has nothing else to say")]

use std::{
    convert::Infallible,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use emr_etl_guard::{
    aws::{Aws, Regions},
    facts::written::{Place, look},
    names::S3Location,
    settings::{Options, Settings},
};
use http_body_util::Empty;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// So many objects for a comparison, and for the memory.
const COMPARED: u64 = 5_000;
const MANY: u64 = 100_000;
/// The time that S3 takes for a HEAD, in its own region.
const LATENCY: Duration = Duration::from_millis(20);
/// As the guard has under way in one location.
const CONNECTIONS: u64 = 32;
const PAGE: u64 = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match (arguments.get(1).map(String::as_str), number(2), number(3)) {
        (Some("guard"), Some(_), Some(objects)) => runtime.block_on(guard(objects)),
        (Some("bare"), Some(port), Some(objects)) => runtime.block_on(bare(port, objects)),
        _ => runtime.block_on(compare()),
    }
}

async fn compare() {
    println!("objects per second, {CONNECTIONS} HEADs at once, {COMPARED} objects");
    for delay in [Duration::ZERO, LATENCY] {
        let port = respond(COMPARED, delay).await;
        let (guard, bare) = (client("guard", port, COMPARED).await, client("bare", port, COMPARED).await);
        println!(
            "  {:>2} ms on each reply:   the guard {:>6.0}, a bare client {:>6.0}, which is {:.2} of it",
            delay.as_millis(),
            guard.rate,
            bare.rate,
            guard.rate / bare.rate
        );
    }
    println!("resident memory at its highest");
    for objects in [COMPARED, MANY] {
        let port = respond(objects, Duration::ZERO).await;
        let guard = client("guard", port, objects).await;
        println!("  {objects:>6} objects: {:.1} MB ({:.0} a second)", guard.kilobytes as f64 / 1024.0, guard.rate);
    }
}

/// What a client came to.
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
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "LD_LIBRARY_PATH"))
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
    Came { rate: objects as f64 / next().parse::<f64>().expect("seconds"), kilobytes: next().parse().expect("kilobytes") }
}

/// Says how long it took, and the process' memory at its highest.
fn came(start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    println!("{seconds} {}", line.split_whitespace().next().expect("a number"));
}

async fn guard(objects: u64) {
    let settings = Settings::resolve(Options::default(), None).expect("the defaults");
    let regions = Regions { emr: "eu-west-1".to_owned(), s3: "eu-west-1".to_owned() };
    let aws = Aws::connect(&regions, None, &settings).await;
    let place =
        Place { role: "enriched.archive".to_owned(), folders: vec![S3Location::parse("s3://acme-archive/enriched/run=1/").expect("a location")] };
    let start = Instant::now();
    let written = look(&aws, vec![place], None, None, |_, _| (), std::future::pending()).await;
    let survey = &written[0].survey;
    assert_eq!((survey.objects, survey.looked_at, survey.kinds.len()), (objects, objects, 1), "{written:?}");
    came(start);
}

async fn bare(port: u64, objects: u64) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            tokio::spawn(async move {
                let stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).expect("a port"))).await.expect("the responder listens");
                let (mut sender, connected) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
                tokio::spawn(connected);
                for object in (connection..objects).step_by(usize::try_from(CONNECTIONS).expect("a few")) {
                    let request = Request::head(format!("/acme-archive/enriched/run%3D1/part-{object:06}")).header("host", "127.0.0.1");
                    let request = request.body(Empty::<Bytes>::new()).expect("a request");
                    let response = sender.send_request(request).await.expect("a response");
                    assert_eq!(response.headers()["x-amz-server-side-encryption"], "AES256");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("all of them were answered");
    }
    came(start);
}

/// Answers as S3 does, for so many objects, in the fewest steps: what is measured are the clients.
async fn respond(objects: u64, delay: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port on loopback");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, objects, delay));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, objects: u64, delay: Duration) -> Option<Infallible> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        buffer.clear();
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if buffer.starts_with(b"HEAD ") {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 4096\r\nlast-modified: Wed, 25 Nov 2026 15:02:00 GMT\r\netag: \"1\"\r\nx-amz-server-side-encryption: AES256\r\ndate: Wed, 25 Nov 2026 15:03:00 GMT\r\n\r\n";
            stream.write_all(head).await.ok()?;
        } else {
            let body = page(&String::from_utf8_lossy(&buffer), objects);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(body.as_bytes()).await.ok()?;
        }
    }
}

/// The page of the list that `request` asks for; its token is the number of the first object.
fn page(request: &str, objects: u64) -> String {
    let token = request.split(['?', '&', ' ']).find_map(|parameter| parameter.strip_prefix("continuation-token="));
    let first: u64 = token.and_then(|token| token.parse().ok()).unwrap_or_default();
    let last = (first + PAGE).min(objects);
    let entry = |object| {
        format!(
            "<Contents><Key>enriched/run=1/part-{object:06}</Key><LastModified>2026-11-25T15:02:00.000Z</LastModified><Size>4096</Size></Contents>"
        )
    };
    let entries: String = (first..last).map(entry).collect();
    let more =
        if last < objects { format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>") } else { String::new() };
    format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{more}{entries}</ListBucketResult>")
}

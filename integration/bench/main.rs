//! The responder and the bare client as separate programs, for comparisons with other programs:
//! `respond OBJECTS [MILLISECONDS]`, `bare PORT OBJECTS CONNECTIONS`.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be staged has nothing else to say"
)]

mod responder;

use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    match (arguments.get(1).map(String::as_str), number(2), number(3), number(4)) {
        (Some("respond"), Some(objects), delay, _) => runtime.block_on(async {
            let port =
                responder::respond(objects, Duration::from_millis(delay.unwrap_or_default())).await;
            println!("{port}");
            std::future::pending::<()>().await;
        }),
        (Some("bare"), Some(port), Some(objects), Some(connections)) => {
            let encrypted = runtime.block_on(responder::bare(
                u16::try_from(port).expect("a port"),
                objects,
                connections,
            ));
            println!("{encrypted} of {objects} are encrypted");
        }
        _ => {
            eprintln!(
                "bench-responder respond OBJECTS [MILLISECONDS] | bare PORT OBJECTS CONNECTIONS"
            );
            std::process::exit(64);
        }
    }
}

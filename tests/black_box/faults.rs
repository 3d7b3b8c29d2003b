//! No fault of AWS leads to a launch: whatever goes wrong with whatever call, the answer is a refusal, and it never hangs.

use std::collections::BTreeSet;

use emr_etl_guard::checks::{CATALOGUE, Level, Stage as When};
use emr_simulator::{Command as Set, Fault, FaultKind};

use crate::support::Stage;

/// Every call that decides whether to launch, by the catalogue.
fn operations() -> BTreeSet<&'static str> {
    let required = CATALOGUE.iter().filter(|check| check.stage == When::PreFlight && check.level == Level::Required);
    required.flat_map(|check| check.asks.iter().map(|call| call.operation)).collect()
}

fn kinds() -> Vec<FaultKind> {
    vec![
        FaultKind::AccessDenied,
        FaultKind::Throttle,
        FaultKind::ServerError { status: 503 },
        FaultKind::Reset,
        FaultKind::Hang,
        FaultKind::TruncatedBody,
        FaultKind::GarbageBody,
    ]
}

#[test]
fn whatever_goes_wrong_with_whatever_call_refuses() {
    let cases: Vec<(&str, FaultKind)> =
        operations().into_iter().flat_map(|operation| kinds().into_iter().map(move |kind| (operation, kind))).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let judge = || {
        let mut wrong = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some((operation, kind)) = cases.get(index) else { return wrong };
            // A HEAD's answer has no body to spoil.
            if matches!(*operation, "HeadBucket" | "HeadObject") && matches!(kind, FaultKind::TruncatedBody | FaultKind::GarbageBody) {
                continue;
            }
            let stage = Stage::acme().argument("--use-persistent-jobflow").env("EMR_ETL_GUARD_AWS_TIMEOUT", "600ms");
            stage.set(crate::good_runs::waiting_cluster(&serde_json::json!({"SecurityConfiguration": "acme-sc"})));
            stage.set(Set::AddFault(Fault::every(operation, kind.clone())));
            let played = stage.run();
            if !matches!(played.code, Some(69 | 77)) || played.runner_started() {
                wrong.push(format!("{operation} with {kind:?}: {}", played.transcript()));
            }
        }
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(judge)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_single_lost_call_is_tried_again_and_refuses_nothing() {
    let stage = Stage::acme();
    for operation in operations() {
        stage.set(Set::AddFault(Fault::nth(operation, 1, FaultKind::ServerError { status: 503 })));
    }
    stage.check().expect_code(0);
}

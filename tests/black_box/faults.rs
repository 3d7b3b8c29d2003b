//! No fault of AWS leads to a launch: whatever goes wrong with whatever call, the answer is a
//! refusal, and it never hangs.

use std::collections::BTreeSet;

use emr_etl_guard::checks::{
    catalogue::CATALOGUE,
    finding::{Level, Stage as When},
};
use emr_simulator::{Command as Set, Fault, FaultKind};

use crate::{
    catalogue::{cannot_be_refuted, for_each, pre_flight, refuting},
    support::Stage,
};

/// Throttling is waited out as long as this.
const WAITED: &str = "5s";

/// Every call that decides whether to launch, by the catalogue.
fn operations() -> BTreeSet<&'static str> {
    let required = CATALOGUE
        .iter()
        .filter(|check| check.stage == When::PreFlight && check.level == Level::Required);
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
    let mut cases: Vec<(&str, FaultKind)> = operations()
        .into_iter()
        .flat_map(|operation| kinds().into_iter().map(move |kind| (operation, kind)))
        .collect();
    // A HEAD's answer has no body to spoil.
    cases.retain(|(operation, kind)| {
        !(operation.starts_with("Head")
            && matches!(kind, FaultKind::TruncatedBody | FaultKind::GarbageBody))
    });
    for_each(&cases, |(operation, kind)| {
        let stage = Stage::acme()
            .argument("--use-persistent-jobflow")
            .env("EMR_ETL_GUARD_AWS_TIMEOUT", "600ms")
            .env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", WAITED);
        let mut request = serde_json::json!({"SecurityConfiguration": "acme-sc"});
        if *operation == "ListInstanceFleets" {
            request["Instances"] = crate::shown_by_aws::fleets(|_| {});
        }
        stage.set(crate::good_runs::waiting_cluster(&request));
        stage.set(Set::AddFault(Fault::every(operation, kind.clone())));
        let played = stage.run();
        let refused = matches!(played.code, Some(69 | 77)) && !played.runner_started();
        if refused {
            Ok(())
        } else {
            Err(format!("{operation} with {kind:?}: {}", played.transcript()))
        }
    });
}

/// Faults that hit a call once, a few times, or always.
fn any_faults(random: &mut fastrand::Rng) -> Vec<Fault> {
    let (operations, kinds): (Vec<_>, _) = (operations().into_iter().collect(), kinds());
    let fault = |random: &mut fastrand::Rng| {
        let (operation, kind) = (
            operations[random.usize(..operations.len())],
            kinds[random.usize(..kinds.len())].clone(),
        );
        if random.bool() {
            Fault::every(operation, kind)
        } else {
            Fault::nth(operation, random.u64(1..4), kind)
        }
    };
    (0..random.usize(1..5)).map(|_| fault(random)).collect()
}

#[test]
fn no_set_of_faults_turns_a_refusal_into_a_launch() {
    let mut random = fastrand::Rng::with_seed(4);
    let checks: Vec<&str> = pre_flight()
        .iter()
        .map(|check| check.name)
        .filter(|name| !cannot_be_refuted(name))
        .collect();
    let cases: Vec<(&str, Vec<Fault>)> =
        checks.into_iter().map(|check| (check, any_faults(&mut random))).collect();
    for_each(&cases, |(check, faults)| {
        let stage = refuting(check)
            .option(&format!("--enforce={check}"))
            .env("EMR_ETL_GUARD_AWS_TIMEOUT", "600ms")
            .env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", WAITED);
        for fault in faults {
            stage.set(Set::AddFault(fault.clone()));
        }
        let played = stage.run();
        let refused = matches!(played.code, Some(69 | 77))
            && !played.runner_started()
            && stage.sim.requests_for("RunJobFlow").is_empty();
        if refused {
            Ok(())
        } else {
            Err(format!("{check} with {faults:?}: {}", played.transcript()))
        }
    });
}

#[test]
fn a_single_lost_call_is_tried_again_and_refuses_nothing() {
    let stage = Stage::acme();
    for operation in operations() {
        stage.set(Set::AddFault(Fault::nth(operation, 1, FaultKind::ServerError { status: 503 })));
    }
    stage.check().expect_code(0);
}

#[test]
fn an_answer_that_is_empty_is_told_as_such_and_not_as_a_want_of_network_or_rights() {
    let cases = [
        ("GetCallerIdentity", "sts:GetCallerIdentity: an answer came (HTTP 200, "),
        ("DescribeSecurityConfiguration", "came, but it holds no security configuration"),
        ("GetInstanceProfile", "iam:GetInstanceProfile: an answer came (HTTP 200, "),
        ("GetRole", "iam:GetRole: an answer came (HTTP 200, "),
        ("SimulatePrincipalPolicy", "iam:SimulatePrincipalPolicy: an answer came (HTTP 200, "),
        ("DescribeKey", "came, but it holds no key"),
        ("GetKeyPolicy", "came, but it holds no policy"),
        (
            "GetBucketEncryption",
            "came, but it holds no rule on encryption, which S3 has for every bucket",
        ),
        ("DescribeCluster", "came, but it holds no cluster"),
    ];
    for_each(&cases, |(operation, came)| {
        let stage = Stage::acme().argument("--use-persistent-jobflow");
        stage.set(crate::good_runs::waiting_cluster(
            &serde_json::json!({"SecurityConfiguration": "acme-sc"}),
        ));
        stage.set(Set::AddFault(Fault::every(operation, FaultKind::EmptyAnswer)));
        let played = stage.run();
        let blocks = played.stderr.split("UNKNOWN  ").skip(1).filter(|block| block.contains(came));
        let blocks: Vec<&str> = blocks.collect();
        let told = !blocks.is_empty()
            && blocks.iter().all(|block| block.contains("ask the same by the AWS CLI"));
        if played.code == Some(69) && told && !played.runner_started() {
            Ok(())
        } else {
            Err(format!("{operation}: exit {:?}\n{}", played.code, played.stderr))
        }
    });
}

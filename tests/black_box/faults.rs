//! No AWS fault leads to a launch: whatever goes wrong with any call, the guard refuses, and never
//! hangs.

use std::collections::BTreeSet;

use emr_etl_guard::checks::{
    catalogue::CATALOGUE,
    finding::{Level, Stage as When},
};
use emr_simulator::{Command as Set, Fault, FaultKind};

use crate::{
    catalogue::{cannot_be_failed, for_each, pre_flight, refuting},
    support::Stage,
};

/// The time for which throttled calls are repeated.
const WAITED: &str = "5s";

/// Every call that decides a launch, from the catalogue.
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
        FaultKind::EmptyAnswer,
        FaultKind::NoBody,
        FaultKind::ProxyPage { status: 200 },
        FaultKind::ProxyPage { status: 403 },
        FaultKind::ProxyPage { status: 404 },
    ]
}

#[test]
fn whatever_goes_wrong_with_whatever_call_refuses() {
    let mut cases: Vec<(&str, FaultKind)> = operations()
        .into_iter()
        .flat_map(|operation| kinds().into_iter().map(move |kind| (operation, kind)))
        .collect();
    // A HEAD's response has no body that could be broken.
    cases.retain(|(operation, kind)| {
        !(operation.starts_with("Head")
            && matches!(
                kind,
                FaultKind::TruncatedBody
                    | FaultKind::GarbageBody
                    | FaultKind::EmptyAnswer
                    | FaultKind::NoBody
            ))
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
        .filter(|name| !cannot_be_failed(name))
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

/// A stage on which one operation fails in this way, and the lines of the refusal about it.
fn told_of(operation: &str, kind: FaultKind) -> Vec<String> {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(crate::good_runs::waiting_cluster(
        &serde_json::json!({"SecurityConfiguration": "acme-sc"}),
    ));
    stage.set(Set::AddFault(Fault::every(operation, kind)));
    let played = stage.run();
    assert_eq!(played.code, Some(69), "{operation}: {}", played.stderr);
    assert!(!played.runner_started(), "{operation}");
    played.stderr.split("UNKNOWN  ").skip(1).map(str::to_owned).collect()
}

/// One operation per response format: JSON, the XML of query APIs, of S3 and of EC2, and HEAD.
const PROTOCOLS: [(&str, &str); 8] = [
    ("DescribeKey", "AWS answers DescribeKey in JSON"),
    ("DescribeSecurityConfiguration", "AWS answers DescribeSecurityConfiguration in JSON"),
    (
        "GetCallerIdentity",
        "AWS answers GetCallerIdentity in XML, with a <GetCallerIdentityResponse>",
    ),
    ("GetRole", "AWS answers GetRole in XML, with a <GetRoleResponse>"),
    ("GetBucketEncryption", "AWS answers GetBucketEncryption in XML"),
    ("GetBucketPolicy", "AWS answers GetBucketPolicy in JSON"),
    ("DescribeSubnets", "AWS answers DescribeSubnets in XML, with a <DescribeSubnetsResponse>"),
    ("HeadBucket", "AWS answers HeadBucket with headers, a request id among them"),
];

#[test]
fn an_answer_without_a_body_says_what_came_and_what_was_expected_in_each_protocol() {
    let cases: Vec<_> =
        PROTOCOLS.iter().filter(|(operation, _)| !operation.starts_with("Head")).collect();
    for_each(&cases, |(operation, expected)| {
        let blocks = told_of(operation, FaultKind::NoBody);
        let is_told = |block: &String| {
            block.contains("an answer came (HTTP 200, ")
                && block.contains(", 0 bytes), but it does not answer such a request")
                && block.contains(expected)
                && block.contains("ask the same by the AWS CLI")
        };
        if blocks.iter().any(is_told) { Ok(()) } else { Err(format!("{operation}: {blocks:#?}")) }
    });
}

#[test]
fn a_proxys_page_is_no_denial_and_no_want_of_network_in_any_protocol() {
    let cases: Vec<_> = PROTOCOLS
        .iter()
        .flat_map(|protocol| [200, 403, 404, 502].map(|status| (*protocol, status)))
        .collect();
    for_each(&cases, |((operation, expected), status)| {
        let blocks = told_of(operation, FaultKind::ProxyPage { status: *status });
        let came = if operation.starts_with("Head") {
            format!(
                "an answer came (HTTP {status}, text/html, 0 bytes), but it does not answer such \
                 a request"
            )
        } else {
            format!(
                "an answer came (HTTP {status}, text/html, 74 bytes: `<!DOCTYPE html> \
                 <html><head><title>Blocked by policy</title></head></html>`), but it does not \
                 answer such a request"
            )
        };
        let is_told = |block: &String| {
            block.contains(&came)
                && block.contains(expected)
                && block.contains("ask the same by the AWS CLI")
        };
        if blocks.iter().any(is_told) && !blocks.iter().any(|it| it.contains("access denied")) {
            Ok(())
        } else {
            Err(format!("{operation} {status}: {blocks:#?}"))
        }
    });
}

#[test]
fn a_list_that_an_answer_leaves_out_is_no_empty_list() {
    let cases = ["ListClusters", "ListSteps", "ListInstanceGroups", "ListBootstrapActions"];
    for_each(&cases, |operation| {
        let blocks = told_of(operation, FaultKind::EmptyAnswer);
        let came =
            format!("an answer to {operation} came, but it holds no list, be it an empty one");
        let is_told = blocks.iter().any(|block| block.contains(&came));
        if is_told { Ok(()) } else { Err(format!("{operation}: {blocks:#?}")) }
    });
}

//! Owns the tests of faults, latency, rounds and hooks.

use std::time::{Duration, Instant};

use emr_simulator::{
    Calls, Command, Fault, FaultKind, Hook, Moment, Named, PutSecurityConfiguration, Recorded,
    Rounds, SetLatency, Simulator,
};
use serde_json::json;

use crate::support::{Client, RUN_JOB_FLOW, SOON, run_job_flow, stepped};

fn add(sim: &Simulator, fault: Fault) {
    sim.apply(Command::AddFault(fault)).unwrap();
}

fn clusters(sim: &Simulator) -> usize {
    sim.with_world(|world| world.clusters.len())
}

#[test]
fn latency_delays_the_reply_but_not_the_effect() {
    let sim = stepped();
    add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::Latency { ms: 300 }));
    let hasty = Client::new(&sim).patient_for(Duration::from_millis(100));
    assert!(hasty.try_emr("RunJobFlow", RUN_JOB_FLOW).is_err());
    assert_eq!(clusters(&sim), 1);
    let begun = Instant::now();
    sim.apply(Command::SetLatency(SetLatency { ms: 60 })).unwrap();
    run_job_flow(&Client::new(&sim));
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[test]
fn throttling_server_errors_and_denials_look_like_each_services_own_and_have_no_effect() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let kinds =
        [FaultKind::Throttle, FaultKind::ServerError { status: 503 }, FaultKind::AccessDenied];
    let mut seen = Vec::new();
    for kind in kinds {
        sim.apply(Command::ClearFaults).unwrap();
        add(&sim, Fault::every("*", kind));
        seen.push([
            guard.try_emr("RunJobFlow", RUN_JOB_FLOW).unwrap().error(),
            guard.kms("DescribeKey", &json!({"KeyId": "alias/acme-etl"})).error(),
            guard.form("iam", "Action=GetRole&RoleName=x").error(),
            guard.form("sts", "Action=GetCallerIdentity").error(),
            guard.form("ec2", "Action=DescribeVpcs").error(),
            guard.s3("GET", "/acme-out?encryption", &[]).error(),
            guard.s3("HEAD", "/acme-out", &[]).error(),
        ]);
    }
    let expected = [
        [
            (400, "ThrottlingException"),
            (400, "ThrottlingException"),
            (400, "Throttling"),
            (400, "Throttling"),
            (503, "RequestLimitExceeded"),
            (503, "SlowDown"),
            (503, ""),
        ],
        [
            (503, "ServiceUnavailable"),
            (503, "ServiceUnavailable"),
            (503, "ServiceUnavailable"),
            (503, "ServiceUnavailable"),
            (503, "Unavailable"),
            (503, "ServiceUnavailable"),
            (503, ""),
        ],
        [
            (400, "AccessDeniedException"),
            (400, "AccessDeniedException"),
            (403, "AccessDenied"),
            (403, "AccessDenied"),
            (403, "UnauthorizedOperation"),
            (403, "AccessDenied"),
            (403, ""),
        ],
    ];
    assert_eq!(seen, expected.map(|row| row.map(|(status, code)| (status, code.to_owned()))));
    assert_eq!(clusters(&sim), 0);
}

#[test]
fn any_other_error_can_be_asked_for() {
    let sim = stepped();
    let kind = FaultKind::Error {
        status: 404,
        code: "ServerSideEncryptionConfigurationNotFoundError".to_owned(),
        message: "The server side encryption configuration was not found".to_owned(),
    };
    add(
        &sim,
        Fault {
            matching: Some("acme-out".to_owned()),
            ..Fault::every("GetBucketEncryption", kind)
        },
    );
    let guard = Client::new(&sim);
    let code = "ServerSideEncryptionConfigurationNotFoundError".to_owned();
    assert_eq!(guard.s3("GET", "/acme-out?encryption", &[]).error(), (404, code));
    assert_eq!(guard.s3("GET", "/acme-etl?encryption", &[]).status, 200);
}

#[test]
fn a_reset_breaks_the_connection_and_has_no_effect_unless_applied() {
    let sim = stepped();
    add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::Reset));
    add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::AppliedThenReset));
    let guard = Client::new(&sim);
    let broken = |client: &Client| match client.try_emr("RunJobFlow", RUN_JOB_FLOW) {
        Err(ureq::Error::Io(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(broken(&guard), std::io::ErrorKind::ConnectionReset);
    assert_eq!(clusters(&sim), 0);
    sim.apply(Command::ClearFaults).unwrap();
    add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::AppliedThenReset));
    assert_eq!(broken(&guard), std::io::ErrorKind::ConnectionReset);
    assert_eq!(clusters(&sim), 1);
    let recorded = sim.requests_for("RunJobFlow");
    assert_eq!(
        (recorded[1].status, recorded[1].fault.clone()),
        (None, Some(json!("applied_then_reset")))
    );
}

#[test]
fn a_hanging_call_never_answers_and_does_not_keep_the_simulator_from_stopping() {
    let sim = stepped();
    add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::Hang));
    add(&sim, Fault::nth("RunJobFlow", 2, FaultKind::AppliedThenHang));
    let hasty = Client::new(&sim).patient_for(Duration::from_millis(150));
    assert!(hasty.try_emr("RunJobFlow", RUN_JOB_FLOW).is_err());
    assert_eq!(clusters(&sim), 0);
    assert!(hasty.try_emr("RunJobFlow", RUN_JOB_FLOW).is_err());
    assert_eq!(clusters(&sim), 1);
    let begun = Instant::now();
    drop(sim);
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_held_call_has_its_effect_when_it_is_released_and_not_before() {
    let sim = stepped();
    for (name, commands) in [
        ("released", Command::Release(Named { name: "RunJobFlow".to_owned(), ..Named::default() })),
        ("cleared", Command::ClearFaults),
    ] {
        let before = clusters(&sim);
        add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::Hold));
        std::thread::scope(|scope| {
            let held = scope.spawn(|| run_job_flow(&Client::new(&sim)));
            let is_held = |request: &Recorded| {
                request.operation() == "RunJobFlow" && request.status.is_none()
            };
            assert!(sim.wait_for_request(is_held, SOON).is_some(), "{name}");
            assert_eq!(clusters(&sim), before, "{name}");
            // Others are not held.
            run_job_flow(&Client::new(&sim));
            assert_eq!(clusters(&sim), before + 1, "{name}");
            sim.apply(commands).unwrap();
            held.join().unwrap();
        });
        assert_eq!(clusters(&sim), before + 2, "{name}");
        assert!(sim.requests().iter().all(|request| request.status.is_some()), "{name}");
    }
}

#[test]
fn a_truncated_body_ends_early_and_a_garbage_body_is_no_json() {
    let sim = stepped();
    add(&sim, Fault::nth("ListClusters", 1, FaultKind::TruncatedBody));
    add(&sim, Fault::nth("ListClusters", 2, FaultKind::GarbageBody));
    let guard = Client::new(&sim);
    assert!(guard.try_emr("ListClusters", "{}").is_err());
    let garbage = guard.emr("ListClusters", &json!({}));
    assert_eq!(garbage.status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&garbage.body).is_err());
}

#[test]
fn a_call_can_work_and_still_answer_with_a_server_error() {
    let sim = stepped();
    add(&sim, Fault::nth("RunJobFlow", 1, FaultKind::AppliedThen5xx { status: 500 }));
    let guard = Client::new(&sim);
    assert_eq!(
        guard.try_emr("RunJobFlow", RUN_JOB_FLOW).unwrap().error(),
        (500, "InternalServerException".to_owned())
    );
    assert_eq!(clusters(&sim), 1);
}

#[test]
fn a_rule_counts_only_calls_about_its_subject_and_strikes_in_its_range() {
    let sim = stepped();
    let fault = Fault {
        calls: Calls::Range { from: 2, to: 3 },
        matching: Some("acme-out/x".to_owned()),
        ..Fault::every("HeadObject", FaultKind::ServerError { status: 500 })
    };
    add(&sim, fault);
    let guard = Client::new(&sim);
    let head = |key: &str| guard.s3("HEAD", &format!("/acme-out/{key}"), &[]).status;
    let seen: Vec<u16> = ["x", "y", "x", "y", "x", "x"].into_iter().map(head).collect();
    assert_eq!(seen, [404, 404, 500, 404, 500, 404]);
}

#[test]
fn chance_is_the_same_with_the_same_seed() {
    let strikes = |seed| {
        let sim = stepped();
        let calls = Calls::Probability { p: 0.5, seed };
        add(&sim, Fault { calls, ..Fault::every("ListClusters", FaultKind::Throttle) });
        let guard = Client::new(&sim);
        (0..30).map(|_| guard.emr("ListClusters", &json!({})).status).collect::<Vec<_>>()
    };
    assert_eq!(strikes(7), strikes(7));
    assert_ne!(strikes(7), strikes(8));
    assert!(strikes(7).contains(&200) && strikes(7).contains(&400));
}

#[test]
fn rounds_count_the_longest_chain_of_dependent_calls_not_the_calls() {
    let sim = stepped();
    sim.apply(Command::Rounds(Rounds { on: true, quiet_ms: 300 })).unwrap();
    let guard = Client::new(&sim);
    // Three independent chains of two, two and one calls.
    std::thread::scope(|scope| {
        for length in [2, 2, 1] {
            let guard = guard.clone();
            scope.spawn(move || {
                for _ in 0..length {
                    guard.emr("ListClusters", &json!({}));
                }
            });
        }
    });
    assert_eq!(sim.rounds(), 2);
    let rounds: Vec<_> = sim.requests().iter().filter_map(|it| it.round).collect();
    assert_eq!(rounds, [1, 1, 1, 2, 2]);
    sim.apply(Command::Rounds(Rounds { on: false, quiet_ms: 300 })).unwrap();
    guard.emr("ListClusters", &json!({}));
    assert_eq!(sim.requests().last().unwrap().round, None);
}

#[test]
fn a_hook_swaps_the_security_configuration_right_after_it_was_described() {
    let sim = stepped();
    let swap = PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: json!({}),
        ..Default::default()
    };
    let hook = Hook::after_first(
        "DescribeSecurityConfiguration",
        vec![Command::PutSecurityConfiguration(swap)],
    );
    sim.apply(Command::AddHook(hook)).unwrap();
    let guard = Client::new(&sim);
    let look = || guard.emr("DescribeSecurityConfiguration", &json!({"Name": "acme-sc"})).json();
    let (first, second) = (look(), look());
    assert!(first["SecurityConfiguration"].as_str().unwrap().contains("SSE-S3"));
    assert_eq!(second["SecurityConfiguration"], "{}");
}

#[test]
fn a_hook_on_arrival_acts_before_the_call_does() {
    let sim = stepped();
    let named = Named { name: "acme-sc".to_owned(), ..Default::default() };
    let hook = Hook {
        when: Moment::Arrival,
        calls: Calls::Nth(2),
        ..Hook::after_first("RunJobFlow", vec![Command::DeleteSecurityConfiguration(named)])
    };
    sim.apply(Command::AddHook(hook)).unwrap();
    let guard = Client::new(&sim);
    run_job_flow(&guard);
    let second = guard.try_emr("RunJobFlow", RUN_JOB_FLOW).unwrap();
    assert_eq!(second.error(), (400, "ValidationException".to_owned()));
}

#[test]
fn somebody_can_wait_for_a_request_to_come() {
    let sim = stepped();
    let guard = Client::new(&sim);
    std::thread::scope(|scope| {
        scope.spawn(|| guard.emr("ListClusters", &json!({})));
        let found = sim.wait_for_request(|it| it.operation() == "ListClusters", SOON);
        assert_eq!(found.map(|it| it.seq), Some(1));
    });
    assert!(sim.wait_for_request(|it| it.operation() == "RunJobFlow", Duration::ZERO).is_none());
}

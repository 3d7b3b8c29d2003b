//! Owns the tests of EMR's request quotas.

use std::time::Duration;

use emr_simulator::{Command, Switch};
use serde_json::json;

use crate::support::{Client, stepped};

fn limited() -> emr_simulator::Simulator {
    let sim = stepped();
    sim.apply(Command::SetQuotas(Switch { on: true })).unwrap();
    sim
}

#[test]
fn each_call_has_its_burst_and_is_throttled_after_it() {
    let sim = limited();
    let guard = Client::new(&sim);
    let bursts = [
        ("DescribeCluster", 10),
        ("ListInstanceGroups", 10),
        ("ListBootstrapActions", 10),
        ("ListSteps", 10),
        ("DescribeStep", 10),
        ("ListInstances", 10),
        ("RunJobFlow", 10),
        ("TerminateJobFlows", 10),
        ("ListClusters", 20),
        ("DescribeSecurityConfiguration", 5),
        ("SetTerminationProtection", 5),
    ];
    for (operation, burst) in bursts {
        let answered = (0..40)
            .map(|_| guard.emr(operation, &json!({})).error())
            .take_while(|(_, code)| code != "ThrottlingException")
            .count();
        assert_eq!(answered, burst, "{operation}");
    }
    let got = guard.emr("DescribeCluster", &json!({}));
    assert_eq!(
        (got.status, got.json()),
        (400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}))
    );
}

#[test]
fn tokens_come_back_with_simulated_time() {
    let sim = limited();
    let guard = Client::new(&sim);
    let throttled =
        || guard.emr("DescribeSecurityConfiguration", &json!({"Name": "acme-sc"})).status == 400;
    let used_up = (0..6).map(|_| throttled()).collect::<Vec<_>>();
    assert_eq!(used_up, [false, false, false, false, false, true]);
    sim.advance(Duration::from_secs(2));
    assert_eq!((throttled(), throttled()), (false, true));
    sim.advance(Duration::from_hours(1));
    assert_eq!((0..6).filter(|_| throttled()).count(), 1);
}

#[test]
fn the_runner_and_the_guard_share_an_accounts_quota_but_regions_and_accounts_do_not() {
    let sim = limited();
    let guard = Client::new(&sim);
    let look = |client: &Client| client.emr("ListSteps", &json!({"ClusterId": "j-X"})).error().1;
    let runner = guard.as_key("AKIAFAKE");
    for _ in 0..10 {
        assert_eq!(look(&runner), "InvalidRequestException");
    }
    assert_eq!(look(&guard), "ThrottlingException");
    assert_eq!(look(&guard.in_region("us-east-1")), "InvalidRequestException");
    assert_eq!(look(&guard.as_key("AKIAOTHER")), "InvalidRequestException");
}

#[test]
fn quotas_can_be_switched_off() {
    let sim = limited();
    sim.apply(Command::SetQuotas(Switch { on: false })).unwrap();
    let guard = Client::new(&sim);
    let fine = (0..30).all(|_| guard.emr("ListClusters", &json!({})).status == 200);
    assert!(fine);
}

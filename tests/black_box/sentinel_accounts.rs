//! The sentinel in other accounts, by roles that it assumes, and in the regions that it finds.

use emr_simulator::{
    Command as Set, Fault, FaultKind, PutRole, SetRegion, StartCluster, StartState,
};
use serde_json::{Value, json};

use crate::{
    attach::{like_the_runners, start},
    sentinel::{once, stage, without_configuration},
    support::Stage,
};

const OTHER: &str = "210987654321";
const ROLE: &str = "arn:aws:iam::210987654321:role/sentinel";

/// The role in the other account; the guard may assume it with an external id.
pub(crate) fn put_role(stage: &Stage) {
    let anything = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "*", "Resource": "*",
    }]});
    put_role_with(stage, OTHER, anything);
}

/// The role in an account, with this policy.
pub(crate) fn put_role_with(stage: &Stage, account: &str, policy: Value) {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/etl/emr-etl-guard"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "acme"}},
    }]});
    stage.set(Set::PutRole(PutRole {
        name: "sentinel".to_owned(),
        account: Some(account.to_owned()),
        trust: Some(trust),
        policies: vec![policy],
        ..PutRole::default()
    }));
}

/// Starts a cluster without a security configuration.
pub(crate) fn start_unsafe(stage: &Stage, id: &str, account: Option<&str>, region: &str) {
    let mut request = like_the_runners();
    without_configuration(&mut request);
    stage.set(Set::StartCluster(StartCluster {
        id: Some(id.to_owned()),
        account: account.map(str::to_owned),
        region: Some(region.to_owned()),
        state: StartState::Running,
        request,
        ..StartCluster::default()
    }));
}

/// Writes the settings, with the other account as the only one.
fn watch_other(stage: &Stage, external_id: &str, judge_within: &str, more: &str) {
    stage.write(
        "guard.yml",
        &format!(
            "sentinel:\n  interval: 100ms\n  judge_within: {judge_within}\n  accounts:\n    - id: '{OTHER}'\n      \
             role: {ROLE}\n      external_id: {external_id}\n{more}"
        ),
    );
}

#[test]
fn clusters_of_another_account_are_judged_and_terminated_in_it_by_its_role() {
    let stage = stage("");
    put_role(&stage);
    start_unsafe(&stage, "j-THEIRS", Some(OTHER), "eu-west-1");
    start_unsafe(&stage, "j-MINE", None, "eu-west-1");
    watch_other(&stage, "acme", "30s", "      regions: [eu-west-1]\n  on_unsafe: terminate\n");
    let played = once(&stage);
    played.expect_code(76);
    let text = played.transcript();
    assert!(text.contains(&format!("account {OTHER}")), "{text}");
    let ended: Vec<String> = stage
        .sim
        .requests_for("TerminateJobFlows")
        .iter()
        .filter_map(|request| request.cluster_id().map(str::to_owned))
        .collect();
    assert_eq!(ended, ["j-THEIRS"], "the own account is not in the list");
}

#[test]
fn an_account_whose_role_cannot_be_assumed_is_said_and_no_reason_for_success() {
    let stage = stage("");
    put_role(&stage);
    start(&stage, "j-GOOD", |_| {});
    watch_other(&stage, "another", "2s", "      regions: [eu-west-1]\n");
    let played = once(&stage);
    played.expect_code(75);
    let text = played.unbroken();
    assert!(text.contains(OTHER) && text.contains("cannot be listed"), "{text}");
}

#[test]
fn without_regions_all_that_are_enabled_are_watched_and_no_other() {
    let stage = stage("");
    stage.set(Set::SetRegion(SetRegion {
        name: "af-south-1".to_owned(),
        account: None,
        opted_in: true,
    }));
    start_unsafe(&stage, "j-AFRICA", None, "af-south-1");
    stage.write(
        "guard.yml",
        "sentinel:\n  interval: 100ms\n  judge_within: 30s\n  on_unsafe: terminate\n",
    );
    let played = once(&stage);
    played.expect_code(76);
    let text = played.unbroken();
    assert!(text.contains("j-AFRICA") && text.contains("af-south-1"), "{text}");
    // Cape Town needs to be switched on; so does Hong Kong, and it was not.
    let whole = played.transcript();
    assert!(whole.contains("watching af-south-1"), "{whole}");
    assert!(whole.contains("eu-west-1") && !whole.contains("ap-east-1"), "{whole}");
}

#[test]
fn once_an_account_whose_regions_are_unknown_is_said_and_the_others_are_judged() {
    const THIRD: &str = "345678901234";
    let stage = stage("");
    put_role(&stage);
    let anything = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "*", "Resource": "*",
    }]});
    put_role_with(&stage, THIRD, anything);
    let third = format!(
        "    - id: '{THIRD}'\n      role: arn:aws:iam::{THIRD}:role/sentinel\n      \
         external_id: acme\n      regions: [eu-west-1]\n"
    );
    watch_other(&stage, "acme", "2s", &third);
    let denied = Fault::every("DescribeRegions", FaultKind::AccessDenied);
    stage.set(Set::AddFault(denied));
    let played = once(&stage);
    played.expect_code(75);
    let text = played.transcript();
    assert!(text.contains(&format!("account {OTHER} is NOT watched")), "{text}");
    assert!(text.contains(&format!("watching eu-west-1 of account {THIRD}")), "{text}");
    assert_eq!(stage.sim.requests_for("DescribeRegions").len(), 1, "it is asked once");
    // Its report says so, too.
    let folder = std::fs::read_dir(stage.path("state/sentinel/reports")).unwrap();
    let file = folder.map(|file| file.unwrap().path()).next().unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(report["places"][0]["account"], OTHER);
    assert_eq!((&report["places"][0]["region"], &report["exit_code"]), (&json!("*"), &json!(75)));
    // Where no other account is watched, nothing is.
    watch_other(&stage, "acme", "2s", "");
    once(&stage).expect_code(69);
}

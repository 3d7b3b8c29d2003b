//! The guard's own permissions: a launch whose clusters it could not watch or terminate is refused,
//! and an unknown result of IAM refuses nothing.

use emr_simulator::{Command as Set, Fault, FaultKind, PutRole};
use serde_json::{Value, json};

use crate::{
    catalogue::with_s3_part,
    good_runs::waiting_cluster,
    permissions::printed,
    support::{Played, Stage},
};

const CHECK: &str = "guard-may-end-clusters";
const WATCH: [&str; 7] = [
    "elasticmapreduce:DescribeCluster",
    "elasticmapreduce:ListBootstrapActions",
    "elasticmapreduce:ListInstanceGroups",
    "elasticmapreduce:ListInstances",
    "elasticmapreduce:ListSteps",
    "elasticmapreduce:SetTerminationProtection",
    "elasticmapreduce:TerminateJobFlows",
];

/// Gives the guard's role these policies and no others.
pub(crate) fn with_policies(stage: &Stage, policies: Vec<Value>) {
    stage.set(Set::PutRole(PutRole {
        name: "emr-etl-guard".to_owned(),
        path: Some("/etl/".to_owned()),
        policies,
        ..Default::default()
    }));
}

/// Allows the guard's role these actions and no others.
pub(crate) fn allow(stage: &Stage, actions: &Value) {
    with_policies(
        stage,
        vec![json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
        })],
    );
}

fn statuses(played: &Played) -> Vec<String> {
    played.findings(CHECK).into_values().collect()
}

#[test]
fn a_guard_that_may_not_terminate_launches_nothing_and_says_which_statement_is_missing() {
    let stage = Stage::acme();
    allow(&stage, &json!(WATCH[..5]));
    let played = stage.run();
    played.expect_code(77);
    assert!(!played.runner_started());
    let (first, details) = played.stderr.split_once('\n').unwrap();
    assert!(
        first.starts_with(
            "emr-etl-guard: REFUSED, nothing was launched: guard-may-end-clusters the guard: "
        ),
        "{first}"
    );
    assert_eq!(
        details,
        "FAILED   guard-may-end-clusters the guard\n           \
         seen      no policy allows elasticmapreduce:SetTerminationProtection, \
         elasticmapreduce:TerminateJobFlows to \
         arn:aws:iam::123456789012:role/etl/emr-etl-guard\n           \
         expected  every call that watching and ending a cluster takes\n           \
         fix       add this statement to a policy of \
         arn:aws:iam::123456789012:role/etl/emr-etl-guard: \
         {\"Effect\":\"Allow\",\"Action\":[\"elasticmapreduce:SetTerminationProtection\",\"elasticmapreduce:TerminateJobFlows\"],\"Resource\":\"arn:aws:elasticmapreduce:eu-west-1:123456789012:cluster/*\"}\n"
    );
}

#[test]
fn a_denial_of_what_another_policy_allows_refuses_too() {
    let stage = Stage::acme();
    let statements = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "elasticmapreduce:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "elasticmapreduce:TerminateJobFlows", "Resource": "*"}]});
    with_policies(&stage, vec![statements]);
    let played = stage.run();
    played.expect_code(77);
    assert!(
        played.stderr.contains(
            "fix       take the denial of elasticmapreduce:TerminateJobFlows for \
             arn:aws:iam::123456789012:role/etl/emr-etl-guard away\n"
        ),
        "{}",
        played.stderr
    );
}

#[test]
fn the_policy_that_explain_prints_is_enough_to_watch_and_to_end() {
    let stage = Stage::acme();
    let policy = printed(&stage);
    with_policies(&stage, vec![policy]);
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(statuses(&played), ["passed"]);
}

#[test]
fn a_policy_for_clusters_of_the_runs_tag_is_enough_and_a_denied_look_at_another_cluster_proves_nothing()
 {
    let stage = Stage::acme();
    with_policies(
        &stage,
        vec![json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": WATCH,
            "Resource": "arn:aws:elasticmapreduce:*:*:cluster/*",
            "Condition": {
                "StringLike": {"elasticmapreduce:ResourceTag/emr-etl-guard-run": "*"}
            }
        }]})],
    );
    stage.set(waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    stage.set(Set::AddFault(Fault::every("DescribeCluster", FaultKind::AccessDenied)));
    let played = stage.check();
    played.expect_code(0);
    let found = played.findings(CHECK);
    assert_eq!(found["the guard"], "passed");
    assert_eq!(found["DescribeCluster on j-WAITING"], "unknown");
    assert_eq!(stage.sim.requests_for("DescribeCluster").len(), 1);
}

#[test]
fn what_iam_cannot_tell_is_reported_and_refuses_nothing() {
    // No other check calls the policy simulator here.
    let stage = with_s3_part(Stage::acme(), &json!({}));
    stage.set(Set::AddFault(Fault::every("SimulatePrincipalPolicy", FaultKind::AccessDenied)));
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(statuses(&played), ["unknown"]);
    // A condition on a key that the simulation does not know.
    let stage = Stage::acme();
    with_policies(
        &stage,
        vec![json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": WATCH, "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}
        }]})],
    );
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(statuses(&played), ["unknown"]);
    // A role that does not exist in IAM.
    let stage = Stage::acme();
    stage.set(Set::PutAccessKey(emr_simulator::PutAccessKey {
        id: "AKIAGUARD".to_owned(),
        account: Some("123456789012".to_owned()),
        arn: "arn:aws:sts::123456789012:assumed-role/gone/session".to_owned(),
    }));
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(statuses(&played), ["unknown"]);
}

//! Good clusters and launches as AWS shows them, which differs from how they were requested: they
//! are neither terminated nor refused. The cases are surprising behaviour of real AWS.

use emr_simulator::{
    Command as Set, Hook, NextCluster, PutRole, StartCluster, StartState, Timings, UpdateCluster,
};
use serde_json::{Value, json};

use crate::{
    good_runs::waiting_cluster,
    support::{Played, Stage},
};

const PASSWORD: &str = "javax.jdo.option.ConnectionPassword";

/// A stage whose runner config also has this classification.
fn with_classification(stage: Stage, classification: &str) -> Stage {
    stage.replace("    configuration:\n", &format!("    configuration:\n      {classification}\n"))
}

/// Nothing was terminated, nothing was refused.
#[track_caller]
fn left_alone(stage: &Stage, played: &Played) {
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0, "{}", played.transcript());
    assert!(played.runner_started(), "{}", played.transcript());
    assert!(!played.clusters().is_empty());
}

/// The only status of a check.
#[track_caller]
fn status(played: &Played, check: &str) -> String {
    let statuses: Vec<String> = played.findings(check).into_values().collect();
    assert_eq!(statuses.len(), 1, "{check}: {statuses:?}");
    statuses[0].clone()
}

/// What the finding of a check on the run's cluster saw.
fn saw(played: &Played, check: &str) -> String {
    let findings = played.report["watched"]["clusters"][0]["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
    finding["seen"].as_str().unwrap().to_owned()
}

/// A cluster that cannot be evaluated in a second would be terminated.
fn impatient(stage: Stage) -> Stage {
    stage.env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s")
}

#[test]
fn a_secret_that_emr_shows_without_its_annotation_is_no_difference() {
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hive-AbCdEf";
    let stage = with_classification(
        Stage::acme(),
        &format!("hive-site: {{\"EMR.secret@{PASSWORD}\": \"{arn}\"}}"),
    );
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "cluster-configurations"), "passed");
}

#[test]
fn another_secret_than_the_config_names_is_a_difference() {
    let stage = with_classification(
        Stage::acme(),
        &format!(
            "hive-site: {{\"EMR.secret@{PASSWORD}\": \
             \"arn:aws:secretsmanager:eu-west-1:123456789012:secret:a\"}}"
        ),
    );
    let other = json!([
        {
            "Classification": "yarn-site",
            "Properties": {"yarn.resourcemanager.am.max-attempts": "1"}
        },
        {"Classification": "spark", "Properties": {"maximizeResourceAllocation": "true"}},
        {"Classification": "hive-site", "Properties": {format!("EMR.secret@{PASSWORD}"): "arn:aws:secretsmanager:eu-west-1:123456789012:secret:b"}}]);
    stage.set(Set::AddHook(Hook::after_first(
        "RunJobFlow",
        vec![Set::UpdateCluster(UpdateCluster {
            configurations: Some(other),
            ..Default::default()
        })],
    )));
    let played = stage.run();
    played.expect_code(76);
    assert!(
        saw(&played, "cluster-configurations").contains(&format!("{PASSWORD}: another value")),
        "{}",
        played.transcript()
    );
}

/// A run whose cluster's properties with this name are shown as asterisks.
fn masked(classification: &str, property: &str) -> Stage {
    let stage = with_classification(impatient(Stage::acme()), classification);
    stage.set(Set::SetNextCluster(NextCluster {
        masked: vec![property.to_owned()],
        ..Default::default()
    }));
    // Its life takes longer than the time limit for an evaluation.
    stage.set(Set::SetTimings(Timings { bootstrapping: 150.0, ..Timings::all(6.0) }));
    stage
}

#[test]
fn a_value_that_is_shown_as_asterisks_is_neither_equal_nor_different() {
    let hive = format!("hive-site: {{{PASSWORD}: hunter2}}");
    let stage = masked(&hive, PASSWORD);
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "cluster-configurations"), "unknown");
    assert_eq!(
        saw(&played, "cluster-configurations"),
        format!(
            "what the runner asks for, but AWS does not show the values of: hive-site {PASSWORD}"
        )
    );
    assert!(
        played.stdout.contains("was what was verified, but for values that AWS does not show"),
        "{}",
        played.stdout
    );
    // An operator who requires the check learns that it did not pass; but the cluster is not
    // terminated for it, either.
    let stage = masked(&hive, PASSWORD).option("--enforce=cluster-configurations");
    let played = stage.run();
    played.expect_code(75);
    left_alone(&stage, &played);
}

#[test]
fn a_value_shown_as_asterisks_that_could_weaken_encryption_is_not_confirmed_and_ends_nothing() {
    let stage = masked("core-site: {hadoop.rpc.protection: privacy}", "hadoop.rpc.protection");
    let played = stage.run();
    played.expect_code(75);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "cluster-configurations"), "unknown");
    assert!(
        saw(&played, "cluster-configurations").contains("core-site hadoop.rpc.protection"),
        "{}",
        played.transcript()
    );
}

#[test]
fn a_secret_in_the_place_of_a_value_that_could_weaken_encryption_is_unknown_before_the_launch() {
    let stage = with_classification(
        Stage::acme(),
        "core-site: \
         {\"EMR.secret@hadoop.rpc.protection\": \"arn:aws:secretsmanager:eu-west-1:123456789012:secret:x\"}",
    );
    let played = stage.run();
    played.expect_code(69);
    assert!(!played.runner_started());
    assert_eq!(status(&played, "configuration-weakens-encryption"), "unknown");
}

#[test]
fn a_security_configuration_whose_keys_come_in_another_order_is_the_same() {
    let stage = Stage::acme();
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "cluster-security-configuration"), "passed");
    assert_eq!(status(&played, "cluster-configurations"), "passed");
}

#[test]
fn a_subnet_that_does_not_show_while_the_cluster_starts_is_no_difference() {
    let stage = impatient(Stage::acme());
    stage.set(Set::SetTimings(Timings {
        starting: 150.0,
        bootstrapping: 36.0,
        ..Timings::all(6.0)
    }));
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "cluster-subnet"), "passed");
}

/// A hook that changes the request of the next cluster.
fn requested_in(subnets: &[&str]) -> Set {
    Set::AddHook(Hook::after_first(
        "RunJobFlow",
        vec![Set::UpdateCluster(UpdateCluster {
            request: json!({"Instances": {"Ec2SubnetIds": subnets, "InstanceCount": 3}}),
            ..Default::default()
        })],
    ))
}

#[test]
fn of_several_subnets_that_were_asked_for_the_one_that_emr_chooses_is_waited_for() {
    let stage = impatient(Stage::acme());
    stage.set(Set::SetTimings(Timings {
        starting: 150.0,
        bootstrapping: 36.0,
        ..Timings::all(6.0)
    }));
    stage.set(requested_in(&["subnet-0123456789abcdef0", "subnet-2"]));
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "cluster-subnet"), "passed");

    let stage = impatient(Stage::acme());
    stage.set(Set::SetTimings(Timings { starting: 3600.0, ..Timings::all(6.0) }));
    stage.set(requested_in(&["subnet-1", "subnet-2"]));
    let played = stage.run();
    played.expect_code(76);
    assert_eq!(saw(&played, "cluster-subnet"), "one of subnet-1, subnet-2");
}

#[test]
fn a_cluster_to_adopt_whose_subnet_does_not_show_yet_is_unknown_and_not_another_one() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(Set::SetTimings(Timings::all(36_000.0)));
    let Set::StartCluster(cluster) = waiting_cluster(&json!({
        "SecurityConfiguration": "acme-sc",
        "Instances": {"Ec2SubnetIds": ["subnet-0123456789abcdef0", "subnet-2"]},
    })) else {
        unreachable!()
    };
    stage.set(Set::StartCluster(StartCluster { state: StartState::Starting, ..cluster }));
    let played = stage.run();
    played.expect_code(69);
    assert_eq!(status(&played, "persistent-cluster"), "unknown");
}

/// The roles of the scene with paths, and an instance profile with another path.
fn with_paths(stage: &Stage) {
    let roles = stage.sim.with_world(|world| world.roles.clone());
    for (name, path) in [("EMR_EC2_DefaultRole", "/team/"), ("EMR_DefaultRole", "/service-role/")] {
        let role = roles.iter().find(|role| role.name == name).unwrap();
        stage.set(Set::PutRole(PutRole {
            name: name.to_owned(),
            path: Some(path.to_owned()),
            policies: role.policies.iter().map(|(_, document)| document.clone()).collect(),
            trust: Some(role.trust.clone()),
            instance_profile: (path == "/team/").then(|| name.to_owned()),
            ..Default::default()
        }));
    }
}

#[test]
fn roles_and_instance_profiles_can_be_named_by_arn_and_have_a_path() {
    let profile = "arn:aws:iam::123456789012:instance-profile/team/EMR_EC2_DefaultRole";
    let service = "arn:aws:iam::123456789012:role/service-role/EMR_DefaultRole";
    let stage = Stage::acme()
        .replace("jobflow_role: EMR_EC2_DefaultRole", &format!("jobflow_role: {profile}"))
        .replace("service_role: EMR_DefaultRole", &format!("service_role: {service}"));
    with_paths(&stage);
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(status(&played, "jobflow-role-exists"), "passed");
    assert_eq!(status(&played, "cluster-roles"), "passed");
}

#[test]
fn an_arn_of_another_accounts_profile_or_of_another_path_names_no_profile() {
    for wrong in [
        "arn:aws:iam::999999999999:instance-profile/team/EMR_EC2_DefaultRole",
        "arn:aws:iam::123456789012:instance-profile/other/EMR_EC2_DefaultRole",
    ] {
        let stage = Stage::acme()
            .replace("jobflow_role: EMR_EC2_DefaultRole", &format!("jobflow_role: {wrong}"));
        with_paths(&stage);
        let played = stage.run();
        played.expect_code(77);
        assert_eq!(status(&played, "jobflow-role-exists"), "failed");
    }
}

/// Instance fleets instead of the request's groups; `change` is applied to the second type of the
/// core fleet.
pub(crate) fn fleets(change: impl FnOnce(&mut Value)) -> Value {
    let mut instances = json!({
        "KeepJobFlowAliveWhenNoSteps": true,
        "Ec2SubnetIds": ["subnet-0123456789abcdef0", "subnet-2"],
        "InstanceFleets": [
            {
                "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1,
                "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}]
            },
            {"InstanceFleetType": "CORE", "TargetSpotCapacity": 4, "InstanceTypeConfigs": [
                {
                    "InstanceType": "r5.xlarge", "WeightedCapacity": 2,
                    "Configurations": [{"Classification": "yarn-site", "Properties": {"x": "y"}}]
                },
                {"InstanceType": "r5.2xlarge", "WeightedCapacity": 4}]}]});
    change(&mut instances["InstanceFleets"][1]["InstanceTypeConfigs"][1]);
    instances
}

const FLEETS: &str = "j-FLEETS";

/// Watches a cluster of fleets that was started by hand, until it is idle.
fn watched(change: impl FnOnce(&mut Value)) -> (Stage, Played) {
    let stage = Stage::acme().env("AWS_REGION", "eu-west-1").option("--terminate-attached");
    let request = json!({"SecurityConfiguration": "acme-sc", "Instances": fleets(change)});
    stage.set(Set::StartCluster(StartCluster {
        id: Some(FLEETS.to_owned()),
        state: StartState::Starting,
        request,
        ..Default::default()
    }));
    let mut command = stage.watch(&[FLEETS], false);
    command.arg("--until-idle");
    let played = stage.play(command);
    (stage, played)
}

#[test]
fn a_good_cluster_of_instance_fleets_is_judged_by_its_fleets() {
    let (stage, played) = watched(|_| {});
    played.expect_code(0);
    assert_eq!(played.findings("cluster-groups")[FLEETS], "passed");
    assert_eq!(played.findings("cluster-volumes")[FLEETS], "passed");
    assert_eq!(saw(&played, "cluster-groups"), "1 properties of groups, none against it");
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
    assert_eq!(stage.by_guard("ListInstanceGroups"), 0, "EMR would not answer");
}

#[test]
fn every_type_of_a_fleet_is_looked_at() {
    let weak = json!([{
        "Classification": "core-site",
        "Properties": {"hadoop.rpc.protection": "authentication"}
    }]);
    let (_, played) = watched(|kind| kind["Configurations"] = weak);
    played.expect_code(76);
    assert_eq!(played.findings("cluster-groups")[FLEETS], "failed");
    let (_, played) = watched(|kind| kind["CustomAmiId"] = "ami-0123456789abcdef0".into());
    played.expect_code(76);
    assert_eq!(played.findings("cluster-ami")[FLEETS], "failed");
}

#[test]
fn a_machine_image_of_one_instance_group_is_seen() {
    let stage = Stage::acme();
    stage.set(Set::AddHook(Hook::after_first(
        "RunJobFlow",
        vec![Set::UpdateCluster(UpdateCluster {
            add_groups: json!([{
                "InstanceRole": "TASK", "InstanceType": "m4.large", "InstanceCount": 1,
                "CustomAmiId": "ami-2"
            }]),
            ..Default::default()
        })],
    )));
    let played = stage.run();
    played.expect_code(76);
    assert_eq!(status(&played, "cluster-ami"), "failed");
    assert_eq!(saw(&played, "cluster-ami"), "ami-2");
}

#[test]
fn a_persistent_run_adopts_a_cluster_of_instance_fleets_that_is_what_was_verified() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(waiting_cluster(
        &json!({"SecurityConfiguration": "acme-sc", "Instances": fleets(|_| {})}),
    ));
    let played = stage.run();
    played.expect_code(0);
    left_alone(&stage, &played);
    assert_eq!(played.findings("persistent-cluster-configuration")["j-WAITING"], "passed");

    for (name, value) in [
        (
            "Configurations",
            json!([{
                "Classification": "hdfs-site",
                "Properties": {"dfs.encrypt.data.transfer": "false"}
            }]),
        ),
        ("CustomAmiId", json!("ami-3")),
    ] {
        let stage = Stage::acme().argument("--use-persistent-jobflow");
        let instances = fleets(|kind| kind[name] = value);
        stage.set(waiting_cluster(
            &json!({"SecurityConfiguration": "acme-sc", "Instances": instances}),
        ));
        let played = stage.run();
        played.expect_code(77);
        assert!(!played.runner_started());
        assert_eq!(played.findings("persistent-cluster-configuration")["j-WAITING"], "failed");
    }
}

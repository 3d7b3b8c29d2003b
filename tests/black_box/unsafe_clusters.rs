//! Clusters that are not as verified: found, terminated, the runner stopped, and the exit code
//! shows how it ended.

use emr_simulator::{
    Calls, ClusterState, Command as Set, Fault, FaultKind, Hook, Moment, NextCluster,
    PutSecurityConfiguration, Termination, UpdateCluster,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Played, Stage};

/// Runs, and checks that the run ended with 76 and every unsafe cluster is over.
#[track_caller]
fn unsafe_and_terminated(stage: &Stage) -> Played {
    let played = stage.run();
    played.expect_code(76);
    for cluster in played.report["watched"]["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cluster| cluster["is_unsafe"] == true)
    {
        let id = cluster["id"].as_str().unwrap();
        assert!(
            stage.sim.with_world(|world| world.cluster(id).unwrap().state.is_over()),
            "{id} still lives"
        );
        assert_eq!(cluster["end"], "confirmed");
    }
    played
}

fn swapped_configuration() -> Set {
    Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: json!({"EncryptionConfiguration": {
            "EnableAtRestEncryption": false, "EnableInTransitEncryption": false
        }}),
        ..Default::default()
    })
}

#[test]
fn a_security_configuration_swapped_between_pre_flight_and_launch() {
    let stage = Stage::acme();
    stage.set(Set::AddHook(Hook::after_first(
        "DescribeSecurityConfiguration",
        vec![swapped_configuration()],
    )));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(
        played.findings("cluster-security-configuration").into_values().collect::<Vec<_>>(),
        ["failed"]
    );
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn a_security_configuration_made_anew_with_the_same_content() {
    let stage = Stage::acme();
    let same = stage.sim.with_world(|world| {
        world
            .security_configuration(
                emr_simulator::DEFAULT_ACCOUNT,
                emr_simulator::DEFAULT_REGION,
                "acme-sc",
            )
            .unwrap()
            .content
            .clone()
    });
    let again = Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: same.into(),
        ..Default::default()
    });
    stage.set(Set::AddHook(Hook::after_first("DescribeSecurityConfiguration", vec![again])));
    unsafe_and_terminated(&stage);
}

/// Changes the cluster of `RunJobFlow` before it can be polled.
fn changed_at_launch(stage: &Stage, update: UpdateCluster) {
    stage.set(Set::AddHook(Hook::after_first("RunJobFlow", vec![Set::UpdateCluster(update)])));
}

/// A stage on which no second poll begins while a busy machine handles the first.
fn one_look() -> Stage {
    Stage::acme().env("EMR_ETL_GUARD_WATCH_INTERVAL", "1s")
}

/// Runs, and checks that only `check` failed, and that the cluster's termination started before it
/// left STARTING.
#[track_caller]
fn failed_while_starting(stage: &Stage, check: &str) -> Played {
    stage.set(Set::SetTimings(emr_simulator::Timings {
        starting: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    let played = unsafe_and_terminated(stage);
    assert_eq!(played.findings(check).into_values().collect::<Vec<_>>(), ["failed"]);
    let findings = played.report["watched"]["clusters"][0]["findings"].as_array().unwrap();
    let failed: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["status"] == "failed")
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    assert_eq!(failed, [check]);
    let by_guard = |operation: &str| {
        let requests = stage.sim.requests_for(operation).into_iter();
        requests
            .filter(|request| request.access_key.as_deref() == Some("AKIAGUARD"))
            .map(|request| request.seq)
            .collect::<Vec<_>>()
    };
    let (looks, terminations) = (by_guard("DescribeCluster"), by_guard("TerminateJobFlows"));
    assert_eq!(
        looks.iter().filter(|look| **look < terminations[0]).count(),
        1,
        "one look was enough"
    );
    assert_eq!(stage.sim.with_world(|world| world.clusters[0].ready), None, "no step could run");
    played
}

#[test]
fn a_cluster_with_a_property_that_weakens_encryption() {
    let stage = one_look();
    let weak = json!([{"Classification": "hdfs-site", "Properties": {}, "Configurations": [
        {"Classification": "hdfs-site", "Properties": {"dfs.encrypt.data.transfer": "false"}}]}]);
    changed_at_launch(&stage, UpdateCluster { configurations: Some(weak), ..Default::default() });
    let played = failed_while_starting(&stage, "cluster-configurations");
    assert!(
        played.stderr.contains(
            "seen hdfs-site dfs.encrypt.data.transfer=false: HDFS blocks travel in clear"
        ),
        "{}",
        played.stderr
    );
}

#[test]
fn a_cluster_with_a_property_that_the_runner_config_does_not_hold() {
    let stage = one_look();
    let other = json!([{
        "Classification": "hive-site",
        "Properties": {"javax.jdo.option.ConnectionPassword": "hunter2"}
    }]);
    changed_at_launch(&stage, UpdateCluster { configurations: Some(other), ..Default::default() });
    let played = failed_while_starting(&stage, "cluster-configurations");
    let said = "seen hive-site javax.jdo.option.ConnectionPassword: not asked for; spark \
        maximizeResourceAllocation: missing; yarn-site";
    assert!(played.stderr.contains(said), "{}", played.stderr);
    assert!(!played.report.to_string().contains("hunter2"), "its value may be a secret");
}

#[test]
fn a_cluster_with_other_roles() {
    for request in [
        json!({"ServiceRole": "arn:aws:iam::123456789012:role/Other"}),
        json!({"JobFlowRole": "Other"}),
    ] {
        let stage = one_look();
        changed_at_launch(&stage, UpdateCluster { request, ..Default::default() });
        failed_while_starting(&stage, "cluster-roles");
    }
}

#[test]
fn a_cluster_on_a_machine_image_of_somebodys_own() {
    let stage = one_look();
    changed_at_launch(
        &stage,
        UpdateCluster {
            request: json!({"CustomAmiId": "ami-0123456789abcdef0"}),
            ..Default::default()
        },
    );
    failed_while_starting(&stage, "cluster-ami");
}

/// A step with arguments for Spark.
fn spark_step(arguments: &[&str]) -> serde_json::Value {
    let arguments: Vec<&str> = ["spark-submit"].iter().chain(arguments).copied().collect();
    json!([{
        "Name": "theirs", "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": arguments}
    }])
}

#[test]
fn a_step_that_switches_encryption_off_for_itself() {
    let stage = one_look();
    let add_steps = spark_step(&[
        "--conf",
        "spark.authenticate=false",
        "--conf",
        "spark.ssl.keyPassword=hunter2",
        "s3://acme/x.jar",
    ]);
    changed_at_launch(&stage, UpdateCluster { add_steps, ..Default::default() });
    let played = failed_while_starting(&stage, "step-arguments");
    let said = "step-arguments: seen theirs: spark.authenticate=false: Spark RPC is not \
        authenticated, and so not encrypted";
    assert!(played.unbroken().contains(said), "{}", played.stderr);
    assert!(
        !played.report.to_string().contains("hunter2"),
        "what is judged is kept, and nothing else"
    );
}

/// S3A's own settings decide the encryption where S3A writes, and only there.
#[test]
fn newer_releases_a_step_that_has_s3a_encrypt_otherwise() {
    let told = |stage: &Stage| {
        let setting = "spark.hadoop.fs.s3a.encryption.algorithm=AES256";
        let add_steps = spark_step(&["--conf", setting, "s3://acme/x.jar"]);
        changed_at_launch(stage, UpdateCluster { add_steps, ..Default::default() });
    };
    let stage = one_look().replace("5.29.0", "7.12.0");
    told(&stage);
    let played = failed_while_starting(&stage, "step-arguments");
    let said = "step-arguments: seen theirs: spark.hadoop.fs.s3a.encryption.algorithm=AES256";
    assert!(played.unbroken().contains(said), "{}", played.stderr);

    let stage = Stage::acme();
    told(&stage);
    let played = stage.run();
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0, "{}", played.transcript());
    assert_eq!(played.findings("step-arguments").into_values().collect::<Vec<_>>(), ["passed"]);
}

#[test]
fn a_step_that_somebody_adds_to_a_cluster_that_was_judged() {
    let stage = Stage::acme();
    stage.set(Set::SetTimings(emr_simulator::Timings::all(60.0)));
    let add = Set::UpdateCluster(UpdateCluster {
        add_steps: spark_step(&["--properties-file", "s3://acme/spark.conf"]),
        ..Default::default()
    });
    stage.set(Set::AddHook(Hook {
        calls: Calls::Nth(4),
        ..Hook::after_first("ListSteps", vec![add])
    }));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(played.findings("step-arguments").into_values().collect::<Vec<_>>(), ["failed"]);
}

#[test]
fn a_step_that_somebody_adds_to_an_adopted_cluster_while_the_runs_own_are_at_work() {
    let stage = Stage::acme().argument("--use-persistent-jobflow").misbehave("hang");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        step: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    stage.set(crate::good_runs::waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    let child = stage.command("run").spawn().unwrap();
    let looks = || stage.by_guard("ListSteps");
    crate::support::wait_until("the runner's steps are at work", || {
        stage.sim.with_world(|world| world.clusters[0].state == ClusterState::Running)
    });
    let before = looks();
    crate::support::wait_until("a look at them", || looks() > before);
    let add_steps =
        spark_step(&["--conf", "spark.network.crypto.enabled=false", "s3://acme/x.jar"]);
    stage.set(Set::UpdateCluster(UpdateCluster { add_steps, ..Default::default() }));
    let played = stage.finish(child);
    played.expect_code(76);
    assert_eq!(played.findings("step-arguments").into_values().collect::<Vec<_>>(), ["failed"]);
}

#[test]
fn a_first_judgement_that_emr_throttles_is_made_all_the_same() {
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        terminating: 6.0,
        ..emr_simulator::Timings::all(3600.0)
    }));
    // Only the configuration's content shows that it was replaced, and EMR does not return it for
    // longer than the SDK retries.
    stage.set(Set::AddHook(Hook::after_first(
        "DescribeSecurityConfiguration",
        vec![swapped_configuration()],
    )));
    stage.set(Set::AddFault(Fault {
        calls: Calls::Range { from: 2, to: 8 },
        ..Fault::every("DescribeSecurityConfiguration", FaultKind::Throttle)
    }));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(
        played.findings("cluster-security-configuration").into_values().collect::<Vec<_>>(),
        ["failed"]
    );
    assert!(stage.by_guard("DescribeSecurityConfiguration") >= 9);
}

#[test]
fn a_cluster_with_a_bootstrap_action_that_nobody_asked_for() {
    let stage = one_look();
    let script = json!({
        "Name": "theirs",
        "ScriptBootstrapAction": {"Path": "s3://evil/x.sh", "Args": ["--password=hunter2"]}
    });
    changed_at_launch(
        &stage,
        UpdateCluster { request: json!({"BootstrapActions": [script]}), ..Default::default() },
    );
    let played = failed_while_starting(&stage, "cluster-bootstrap-actions");
    assert!(
        played.stderr.contains("seen s3://evil/x.sh, which was not requested"),
        "{}",
        played.stderr
    );
    assert!(!played.report.to_string().contains("hunter2"), "its arguments may be secrets");
}

fn weak_groups() -> UpdateCluster {
    let weak = json!([{
        "Classification": "core-site",
        "Properties": {"hadoop.rpc.protection": "authentication"}
    }]);
    UpdateCluster { group_configurations: Some(weak), ..Default::default() }
}

#[test]
fn a_cluster_whose_groups_weaken_encryption() {
    let stage = one_look();
    changed_at_launch(&stage, weak_groups());
    failed_while_starting(&stage, "cluster-groups");
}

#[test]
fn a_cluster_whose_groups_are_reconfigured_while_it_runs() {
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        step: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    let running = |world: &emr_simulator::World| {
        world.clusters.first().is_some_and(|cluster| cluster.state == ClusterState::Running)
    };
    let child = stage.command("run").spawn().unwrap();
    crate::support::wait_until("the cluster runs", || stage.sim.with_world(running));
    // Once nothing changes any more, the groups are polled at a pace of their own.
    let looks = || stage.sim.requests_for("ListInstanceGroups").len();
    let before = looks();
    crate::support::wait_until("a look at its groups", || looks() > before);
    stage.set(Set::UpdateCluster(weak_groups()));
    let played = stage.finish(child);
    played.expect_code(76);
    assert_eq!(played.findings("cluster-groups").into_values().collect::<Vec<_>>(), ["failed"]);
}

#[test]
fn what_is_asked_less_often_keeps_no_unsafe_cluster_waiting() {
    let stage = Stage::acme().misbehave("second-cluster-unsafe");
    stage.set(Set::AddFault(Fault::every("ListInstanceGroups", FaultKind::Hang)));
    let mut child = stage.command("run").spawn().unwrap();
    let terminated = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        std::time::Duration::from_secs(15),
    );
    assert!(
        terminated.is_some(),
        "the first one's groups are never told, and the second one dies all the same"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_answer_that_fails_once_in_the_middle_of_a_run_condemns_nobody() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "1500ms");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        step: 6.0,
        ..emr_simulator::Timings::all(60.0)
    }));
    // STARTING, BOOTSTRAPPING, RUNNING: by now the cluster exists for longer than it may stay
    // unevaluated.
    stage.set(Set::AddFault(Fault::nth("ListInstanceGroups", 3, FaultKind::AccessDenied)));
    stage.run().expect_code(0);
}

#[test]
fn groups_that_nobody_may_look_at_count_as_unsafe() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s").misbehave("hang");
    stage.set(Set::AddFault(Fault::every("ListInstanceGroups", FaultKind::AccessDenied)));
    let played = unsafe_and_terminated(&stage);
    assert!(
        played.stderr.contains("cluster-groups: seen access denied: AccessDeniedException"),
        "{}",
        played.stderr
    );
}

#[test]
fn what_cannot_change_is_asked_once_and_the_rest_no_more_often_than_the_state() {
    let stage = Stage::acme();
    stage.run().expect_code(0);
    assert_eq!(stage.by_guard("ListBootstrapActions"), 1);
    // One list contains the states of all clusters; each one is described only at its beginning and
    // its end.
    let states = stage.by_guard("ListClusters");
    for operation in
        ["DescribeCluster", "ListSteps", "ListInstanceGroups", "ListInstances", "DescribeVolumes"]
    {
        let asked = stage.by_guard(operation);
        assert!(
            (1..states).contains(&asked),
            "{asked} times {operation}, {states} looks at the state"
        );
    }
}

#[test]
fn a_persistent_cluster_with_a_bootstrap_action_over_http_is_not_adopted() {
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    let script =
        json!([{"Name": "x", "ScriptBootstrapAction": {"Path": "http://evil.example/x.sh"}}]);
    stage.set(crate::good_runs::waiting_cluster(
        &json!({"SecurityConfiguration": "acme-sc", "BootstrapActions": script}),
    ));
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(
        played.findings("persistent-cluster-configuration").into_values().collect::<Vec<_>>(),
        ["failed"]
    );
}

#[test]
fn a_cluster_whose_root_volumes_are_not_encrypted() {
    let stage = Stage::acme();
    stage.set(Set::SetNextCluster(NextCluster {
        ebs_root_encrypted: Some(false),
        ..Default::default()
    }));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(played.findings("cluster-volumes").into_values().collect::<Vec<_>>(), ["failed"]);
    assert_eq!(
        played.unbroken().lines().next().unwrap().matches(" is not encrypted").count(),
        3,
        "one root volume of each instance\n{}",
        played.stderr
    );
    let volumes = played.report["watched"]["clusters"][0]["volumes"].as_array().unwrap();
    assert_eq!(
        (volumes.len(), volumes.iter().filter(|volume| volume["encrypted"] == false).count()),
        (6, 3)
    );
}

#[test]
fn a_cluster_whose_volumes_are_under_another_key() {
    let stage = Stage::acme();
    let other = "22222222-2222-2222-2222-222222222222";
    stage.set(Set::PutKey(emr_simulator::PutKey { id: other.to_owned(), ..Default::default() }));
    stage.set(Set::SetNextCluster(NextCluster {
        ebs_key: Some(other.to_owned()),
        ..Default::default()
    }));
    let played = unsafe_and_terminated(&stage);
    let said = format!(" is encrypted by arn:aws:kms:eu-west-1:123456789012:key/{other}");
    assert!(played.stderr.contains(&said), "{}", played.stderr);
}

#[test]
fn instances_that_join_a_cluster_later_with_bare_volumes() {
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        step: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    let task = json!([{
        "InstanceRole": "TASK", "InstanceType": "m4.large", "InstanceCount": 1,
        "Market": "ON_DEMAND"
    }]);
    let join = Set::UpdateCluster(UpdateCluster {
        ebs_encrypted: Some(false),
        add_groups: task,
        ..Default::default()
    });
    stage.set(Set::AddHook(Hook {
        calls: Calls::Nth(2),
        ..Hook::after_first("DescribeVolumes", vec![join])
    }));
    let played = unsafe_and_terminated(&stage);
    assert_eq!(played.findings("cluster-volumes").into_values().collect::<Vec<_>>(), ["failed"]);
    let volumes = played.report["watched"]["clusters"][0]["volumes"].as_array().unwrap();
    assert_eq!(
        (volumes.len(), volumes.iter().filter(|volume| volume["encrypted"] == false).count()),
        (8, 2)
    );
}

#[test]
fn a_group_that_is_made_larger_later_brings_volumes_that_count() {
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        step: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    let larger = Set::UpdateCluster(UpdateCluster {
        ebs_encrypted: Some(false),
        resize: Some(4),
        ..Default::default()
    });
    stage.set(Set::AddHook(Hook {
        calls: Calls::Nth(2),
        ..Hook::after_first("DescribeVolumes", vec![larger])
    }));
    let played = unsafe_and_terminated(&stage);
    let volumes = played.report["watched"]["clusters"][0]["volumes"].as_array().unwrap();
    assert_eq!(
        (volumes.len(), volumes.iter().filter(|volume| volume["encrypted"] == false).count()),
        (10, 4)
    );
}

#[test]
fn volumes_that_ec2_does_not_tell_of_count_as_unsafe_in_the_end() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s").misbehave("hang");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        step: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    stage.set(Set::AddFault(Fault::every("DescribeVolumes", FaultKind::AccessDenied)));
    let played = unsafe_and_terminated(&stage);
    assert!(
        played.unbroken().contains("cluster-volumes: seen access denied: UnauthorizedOperation"),
        "{}",
        played.stderr
    );
}

#[test]
fn of_hundreds_of_instances_every_volume_is_looked_at() {
    // More than one filter accepts, and more than one page of either list.
    let large = |bare| {
        let stage = Stage::acme()
            .replace("core_instance_count: 2", "core_instance_count: 250")
            .misbehave("hang");
        stage.set(Set::SetTimings(emr_simulator::Timings {
            step: 3600.0,
            ..emr_simulator::Timings::all(6.0)
        }));
        if bare {
            // One of the last instances: after the first page, and after the first filter.
            let task = json!([{
                "InstanceRole": "TASK", "InstanceType": "m4.large", "InstanceCount": 1,
                "Market": "ON_DEMAND"
            }]);
            let join = Set::UpdateCluster(UpdateCluster {
                ebs_encrypted: Some(false),
                add_groups: task,
                ..Default::default()
            });
            stage.set(Set::AddHook(Hook {
                calls: Calls::Nth(1),
                when: Moment::Arrival,
                ..Hook::after_first("ListInstances", vec![join])
            }));
        }
        stage
    };
    let played = unsafe_and_terminated(&large(true));
    assert_eq!(
        played.unbroken().lines().next().unwrap().matches(" is not encrypted").count(),
        2,
        "{}",
        played.stderr
    );

    let stage = large(false);
    let child = stage.command("run").spawn().unwrap();
    crate::support::wait_until("every instance has been told of", || {
        let asked = stage.sim.requests_for("DescribeVolumes");
        asked.iter().filter(|request| request.status == Some(200)).count() >= 3
    });
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(143);
    let volumes = played.report["watched"]["clusters"][0]["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 2 * 251);
    assert_eq!(played.findings("cluster-volumes").into_values().collect::<Vec<_>>(), ["passed"]);
}

#[test]
fn a_cluster_without_instances_yet_is_neither_overdue_nor_asked_for_them() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s");
    // Three seconds without instances.
    stage.set(Set::SetTimings(emr_simulator::Timings {
        starting: 180.0,
        ..emr_simulator::Timings::all(30.0)
    }));
    let child = stage.command("run").spawn().unwrap();
    let judged = |request: &emr_simulator::Recorded| request.operation() == "ListInstanceGroups";
    assert!(stage.sim.wait_for_request(judged, std::time::Duration::from_secs(120)).is_some());
    let starting = |world: &emr_simulator::World| world.clusters[0].state == ClusterState::Starting;
    while stage.sim.with_world(starting) {
        let asked = stage.by_guard("ListInstances");
        assert!(
            asked == 0 || !stage.sim.with_world(starting),
            "no instance was there to be listed"
        );
        std::thread::yield_now();
    }
    let played = stage.finish(child);
    played.expect_code(0);
    assert_eq!(played.findings("cluster-volumes").into_values().collect::<Vec<_>>(), ["passed"]);
}

#[test]
fn volumes_that_nobody_has_seen_leave_a_success_unconfirmed() {
    let stage = Stage::acme();
    stage.set(Set::AddFault(Fault::every("ListInstances", FaultKind::AccessDenied)));
    let played = stage.run();
    played.expect_code(75);
    assert!(
        played.unbroken().contains(
            "cluster-volumes: seen instances were gone before anybody could look at their volumes"
        ),
        "{}",
        played.stderr
    );
}

#[test]
fn disks_under_luks_alone_are_inferred_and_ec2_is_not_asked() {
    let stage = Stage::acme();
    let key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
            "LocalDiskEncryptionConfiguration": {
                "EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": key
            }}}}),
        ..Default::default()
    }));
    let stage = stage.option("--require=s3-at-rest,local-disk");
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(
        played.findings("cluster-volumes").into_values().collect::<Vec<_>>(),
        ["not-applicable"]
    );
    assert_eq!((stage.by_guard("ListInstances"), stage.by_guard("DescribeVolumes")), (0, 0));
}

#[test]
fn a_persistent_cluster_with_roles_or_an_image_of_its_own_is_not_adopted() {
    for request in [
        json!({"ServiceRole": "Other"}),
        json!({"JobFlowRole": "Other"}),
        json!({"CustomAmiId": "ami-0123456789abcdef0"}),
    ] {
        let stage = Stage::acme().argument("--use-persistent-jobflow");
        let mut request = request;
        request["SecurityConfiguration"] = "acme-sc".into();
        stage.set(crate::good_runs::waiting_cluster(&request));
        let played = stage.run();
        played.expect_code(77);
        assert_eq!(
            played.findings("persistent-cluster").into_values().collect::<Vec<_>>(),
            ["failed"]
        );
    }
}

#[test]
fn a_runner_that_leaves_the_security_configuration_out() {
    let played = unsafe_and_terminated(&Stage::acme().misbehave("drop-security-configuration"));
    assert!(
        played.stderr.contains("seen no security configuration, expected `acme-sc` as verified"),
        "{}",
        played.stderr
    );
}

#[test]
fn a_runner_that_drops_the_flag_on_one_step() {
    let played = unsafe_and_terminated(&Stage::acme().misbehave("drop-flag=5"));
    assert!(
        played.unbroken().contains("step-encryption-flag: seen missing on: "),
        "{}",
        played.stderr
    );
}

#[test]
fn a_persistent_cluster_that_gets_a_step_without_the_flag() {
    let stage = Stage::acme().argument("--use-persistent-jobflow").misbehave("drop-flag=3");
    unsafe_and_terminated(&stage);
}

#[test]
fn a_persistent_cluster_that_others_start_between_the_pre_flight_and_the_launch_is_not_touched() {
    let stage =
        Stage::acme().argument("--use-persistent-jobflow").replace("level: DEBUG", "level: INFO");
    // The pre-flight lists clusters twice (the live ones, and those of the last hour); the next
    // listing, of runner or watch, contains it. It is unsafe, and the runner adds its steps to it;
    // but AWS's data do not show its owner.
    let appears = crate::good_runs::waiting_cluster(&json!({}));
    stage.set(Set::AddHook(Hook {
        calls: Calls::Nth(3),
        when: Moment::Arrival,
        ..Hook::after_first("ListClusters", vec![appears])
    }));
    let played = stage.run();
    played.expect_code(75);
    assert!(
        played.stderr.contains("run-did-its-work: seen no cluster of this run"),
        "what ran elsewhere is not confirmed: {}",
        played.stderr
    );
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
}

#[test]
fn of_two_clusters_from_one_run_the_silent_one_is_unsafe() {
    let played = unsafe_and_terminated(&Stage::acme().misbehave("second-cluster-unsafe"));
    assert_eq!(played.clusters().len(), 2, "both are accounted for");
    let verdicts = played.findings("cluster-security-configuration");
    let mut statuses: Vec<&str> = verdicts.values().map(String::as_str).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["failed", "passed"]);
}

#[test]
fn a_cluster_whose_id_is_never_printed() {
    let stage = Stage::acme()
        .replace("level: DEBUG", "level: INFO")
        .misbehave("drop-security-configuration,no-id");
    unsafe_and_terminated(&stage);
}

#[test]
fn a_cluster_under_termination_protection_loses_it_first() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    stage.set(Set::SetNextCluster(NextCluster {
        termination_protected: Some(true),
        ..Default::default()
    }));
    unsafe_and_terminated(&stage);
    let asked: Vec<String> =
        stage.sim.requests().iter().map(|request| request.subject.operation.clone()).collect();
    let lifted =
        asked.iter().position(|operation| operation == "SetTerminationProtection").unwrap();
    let terminated = asked.iter().position(|operation| operation == "TerminateJobFlows").unwrap();
    assert!(lifted < terminated, "protection was known, so it goes first");
}

#[test]
fn a_termination_that_is_refused_for_ever_needs_a_person() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration")
        .env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "2s");
    // Its life is so long that it cannot end by itself meanwhile.
    stage.set(Set::SetTimings(emr_simulator::Timings::all(3600.0)));
    stage.set(Set::SetNextCluster(NextCluster {
        termination: Termination::Refused,
        ..Default::default()
    }));
    let played = stage.run();
    played.expect_code(71);
    insta::assert_snapshot!(played.redact(&played.stderr));
}

#[test]
fn a_termination_that_never_ends_needs_a_person_too() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration")
        .env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "2s");
    stage.set(Set::SetNextCluster(NextCluster {
        termination: Termination::Stuck,
        ..Default::default()
    }));
    stage.run().expect_code(71);
}

#[test]
fn a_runner_that_ignores_sigterm_is_killed() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration,ignore-sigterm,hang")
        .env("EMR_ETL_GUARD_STOP_TIMEOUT", "500ms");
    let played = unsafe_and_terminated(&stage);
    assert!(
        played.journal.iter().any(|entry| entry["event"] == "signal" && entry["ignored"] == true),
        "it got SIGTERM first"
    );
}

#[test]
fn termination_goes_on_through_throttling_and_server_errors() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    for nth in 1..=4 {
        stage.set(Set::AddFault(Fault::nth(
            "TerminateJobFlows",
            nth,
            if nth % 2 == 0 { FaultKind::Throttle } else { FaultKind::ServerError { status: 500 } },
        )));
    }
    unsafe_and_terminated(&stage);
}

/// A run whose first RunJobFlow was answered with 500, and sent again, although it had started a
/// cluster: one that takes an hour for everything.
fn sent_twice() -> Stage {
    // The second one's instances are awaited for the time limit of an evaluation.
    let stage = Stage::acme()
        .replace("level: DEBUG", "level: INFO")
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s");
    stage.set(Set::AddFault(Fault::nth(
        "RunJobFlow",
        1,
        FaultKind::AppliedThen5xx { status: 500 },
    )));
    stage.set(Set::SetNextCluster(NextCluster {
        timings: Some(emr_simulator::Timings {
            terminating: 6.0,
            ..emr_simulator::Timings::all(3600.0)
        }),
        ..Default::default()
    }));
    stage
}

#[test]
fn a_cluster_that_was_started_twice_is_told_where_it_goes_on_alone() {
    let stage = sent_twice();
    let played = stage.run();
    played.expect_code(75);
    let mut orphans: Vec<String> = played.findings("no-orphan").into_values().collect();
    orphans.sort_unstable();
    assert_eq!(orphans, ["failed", "passed"]);
    assert!(
        played.redact(&played.stderr).contains(
            "cluster j-ID, which this run started, continues, and nothing waits for it: \
                terminate it if it is not needed (aws emr modify-cluster-attributes --region \
                eu-west-1 "
        ),
        "{}",
        played.stderr
    );
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
}

#[test]
fn by_policy_a_cluster_that_goes_on_alone_ends_and_the_one_that_worked_is_confirmed() {
    let stage = sent_twice().option("--on-orphan=terminate");
    let played = stage.run();
    played.expect_code(0);
    assert!(
        played.redact(&played.stdout).contains(
            "cluster j-ID continued, and nothing waited for \
            it: it was terminated, and its end is confirmed"
        ),
        "{}",
        played.stdout
    );
    assert_eq!(stage.by_guard("TerminateJobFlows"), 1);
    assert!(
        stage.sim.with_world(|world| world.clusters.iter().all(|cluster| cluster.state.is_over()))
    );
}

/// A run whose runner is killed from outside, with its cluster running.
fn runner_killed(stage: &Stage) -> Played {
    stage.set(Set::SetTimings(emr_simulator::Timings {
        terminating: 6.0,
        ..emr_simulator::Timings::all(3600.0)
    }));
    let child = stage.command("run").spawn().unwrap();
    let judged = stage.sim.wait_for_request(
        |request| {
            request.operation() == "ListInstanceGroups"
                && request.access_key.as_deref() == Some("AKIAGUARD")
        },
        std::time::Duration::from_secs(120),
    );
    assert!(judged.is_some());
    kill(crate::support::runner_pid(stage), Signal::SIGKILL).unwrap();
    stage.finish(child)
}

#[test]
fn the_cluster_of_a_runner_that_was_killed_is_told_and_by_policy_ended() {
    let stage = Stage::acme().misbehave("hang").env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s");
    let played = runner_killed(&stage);
    played.expect_code(137);
    assert_eq!(played.findings("no-orphan").into_values().collect::<Vec<_>>(), ["failed"]);
    assert!(played.unbroken().contains("continues, and nothing waits for it"), "{}", played.stderr);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);

    let stage = Stage::acme()
        .misbehave("hang")
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s")
        .option("--on-orphan=terminate");
    let played = runner_killed(&stage);
    played.expect_code(137);
    assert_eq!(played.report["watched"]["clusters"][0]["orphan"], "ended");
    assert_eq!(stage.by_guard("TerminateJobFlows"), 1);

    // A cluster that somebody else also uses is not an orphan.
    let stage = Stage::acme()
        .misbehave("hang")
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s")
        .option("--on-orphan=terminate")
        .argument("--use-persistent-jobflow");
    stage.set(crate::good_runs::waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    let played = runner_killed(&stage);
    played.expect_code(137);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
}

#[test]
fn a_termination_that_is_not_allowed_is_told_at_once_and_asked_for_until_it_is() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration,hang")
        .env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "50s");
    stage.set(Set::SetTimings(emr_simulator::Timings {
        terminating: 6.0,
        ..emr_simulator::Timings::all(3600.0)
    }));
    // Somebody grants the permission when asked for it.
    let calls = Calls::Range { from: 1, to: 3 };
    stage.set(Set::AddFault(Fault {
        calls,
        ..Fault::every("TerminateJobFlows", FaultKind::AccessDenied)
    }));
    let played = unsafe_and_terminated(&stage);
    let said = "emr-etl-guard: ACT NOW: cluster j-ID is UNSAFE and MAY STILL BE RUNNING: end it \
        now: aws emr modify-cluster-attributes --region eu-west-1 ";
    let told: Vec<String> = played.stderr.lines().map(|line| played.redact(line)).collect();
    assert_eq!(told.iter().filter(|line| line.starts_with(said)).count(), 1, "{}", played.stderr);
    assert!(
        told.iter().any(|line| line
            .starts_with("  elasticmapreduce:TerminateJobFlows: AccessDeniedException: ")),
        "{}",
        played.stderr
    );
}

#[test]
fn an_adopted_cluster_that_may_not_be_ended_needs_a_person() {
    let stage = Stage::acme()
        .argument("--use-persistent-jobflow")
        .misbehave("drop-flag=3")
        .option("--terminate-adopted=false");
    stage.set(crate::good_runs::waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
    let stage = stage.env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "1s");
    let played = stage.run();
    played.expect_code(71);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
    assert!(
        played.stderr.contains("the guard may not end it (setting `terminate_adopted`)"),
        "{}",
        played.stderr
    );
}

#[test]
fn over_a_long_run_emr_is_asked_less_often_by_the_guard_than_by_the_runner() {
    // An hour at 120 times the pace, with the runner's minute and the watch's five seconds in
    // proportion.
    let stage =
        Stage::acme().env("EMR_ETL_GUARD_WATCH_INTERVAL", "42ms").env("STANDIN_POLL_MS", "500");
    stage.set(Set::SetClock(emr_simulator::SetClock {
        mode: emr_simulator::ClockMode::Scaled(120.0),
        at: None,
    }));
    stage.set(Set::SetTimings(emr_simulator::Timings {
        starting: 240.0,
        bootstrapping: 180.0,
        ..emr_simulator::Timings::all(240.0)
    }));
    stage.run().expect_code(0);
    let requests = stage.sim.requests();
    // From the launch on: the time that a busy machine takes to start the runner does not matter.
    let launch = requests.iter().position(|request| request.operation() == "RunJobFlow").unwrap();
    let of = |key: &str| {
        let mut calls: std::collections::BTreeMap<String, usize> =
            std::collections::BTreeMap::new();
        let since = requests.iter().skip(launch);
        for request in since.filter(|request| {
            request.subject.service == "elasticmapreduce"
                && request.access_key.as_deref() == Some(key)
        }) {
            *calls.entry(request.subject.operation.clone()).or_default() += 1;
        }
        calls
    };
    let (guard, runner) = (of("AKIAGUARD"), of("AKIAFAKE"));
    assert!(
        guard.values().sum::<usize>() < runner.values().sum(),
        "the guard asked {guard:?}, the runner {runner:?}"
    );
}

#[test]
fn a_second_cluster_that_aws_started_although_it_answered_500_is_found_and_judged() {
    let stage = Stage::acme().replace("level: DEBUG", "level: INFO");
    stage.set(Set::AddFault(Fault::nth(
        "RunJobFlow",
        1,
        FaultKind::AppliedThen5xx { status: 500 },
    )));
    let played = stage.run();
    assert_eq!(played.clusters().len(), 2);
    assert!(
        played.findings("cluster-security-configuration").values().all(|status| status == "passed")
    );
}

#[test]
fn a_cluster_that_cannot_be_judged_in_time_counts_as_unsafe() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s").misbehave("hang");
    stage.set(Set::AddFault(Fault::every("ListSteps", FaultKind::AccessDenied)));
    let played = unsafe_and_terminated(&stage);
    assert!(played.stderr.contains("access denied: AccessDeniedException"), "{}", played.stderr);
}

#[test]
fn an_unsafe_cluster_is_terminated_one_look_after_its_id_is_known() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    // The search is so slow that only the id in the log can explain the result.
    let stage = stage.env("EMR_ETL_GUARD_WATCH_INTERVAL", "10m");
    let mut child = stage.command("run").spawn().unwrap();
    let terminate = stage.sim.wait_for_request(
        |request| request.operation() == "TerminateJobFlows",
        std::time::Duration::from_secs(50),
    );
    let terminate = terminate.expect("the log line alone starts a look");
    let id = terminate.subject.cluster_id.clone().unwrap();
    let looks = stage
        .sim
        .requests_for("DescribeCluster")
        .into_iter()
        .filter(|look| {
            look.subject.cluster_id.as_ref() == Some(&id)
                && look.access_key.as_deref() == Some("AKIAGUARD")
                && look.seq < terminate.seq
        })
        .count();
    assert_eq!(looks, 1);
    let seen = stage.sim.with_world(|world| world.cluster(&id).unwrap().state);
    assert!(
        matches!(seen, ClusterState::Starting | ClusterState::Terminating),
        "nothing of it had run"
    );
    // It would only wait; it has already stopped the runner.
    child.kill().unwrap();
    child.wait().unwrap();
}

//! Clusters that are already running, started with or without the runner: named to `watch`, they
//! are evaluated like a run's, followed to their end, and terminated only where that is allowed.

use std::time::Duration;

use emr_simulator::{
    Command as Set, Fault, FaultKind, NextCluster, PutSecurityConfiguration, Sse, StartCluster,
    StartState, Timings, UpdateCluster,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{Played, Stage};

/// A change of the runner's request for a cluster.
type Change = fn(&mut Value);

const ID: &str = "j-BYHAND";

/// The recorded runner's request, with the security configuration of the scene: for a similar
/// cluster, started by hand.
pub(crate) fn like_the_runners() -> Value {
    let request =
        include_str!("../../integration/runner/tests/recorded/a02-encrypted-sc.run-job-flow.json");
    let mut request: Value = serde_json::from_str(request).unwrap();
    request["SecurityConfiguration"] = "acme-sc".into();
    request
}

/// A stage on which `request` was sent by hand, after an hour without events; the guard knows the
/// region from its environment alone.
pub(crate) fn started_by_hand(change: impl FnOnce(&mut Value)) -> Stage {
    let stage = Stage::acme().env("AWS_REGION", "eu-west-1");
    start(&stage, ID, change);
    stage
}

pub(crate) fn start(stage: &Stage, id: &str, change: impl FnOnce(&mut Value)) {
    let mut request = like_the_runners();
    change(&mut request);
    stage.set(Set::StartCluster(StartCluster {
        id: Some(id.to_owned()),
        state: StartState::Starting,
        request,
        ..Default::default()
    }));
}

fn by_config(stage: &Stage) -> Played {
    stage.play(stage.watch(&[ID], true))
}

fn by_settings(stage: &Stage) -> Played {
    stage.play(stage.watch(&[ID], false))
}

fn terminations(stage: &Stage) -> usize {
    stage.sim.requests_for("TerminateJobFlows").len()
}

#[test]
fn a_watch_whose_checks_are_lowered_to_advice_is_not_enforced_and_says_so() {
    let advisory = "--advise=cluster-protections,cluster-security-configuration,cluster-volumes";
    for judged in [by_config, by_settings] {
        let played = judged(&started_by_hand(|_| {}).option(advisory));
        played.expect_code(0);
        assert!(
            played.stdout.contains("not enforced: cluster j-BYHAND: the settings lower ")
                && !played.stdout.contains("what was verified"),
            "{}",
            played.stdout
        );
        assert_eq!(
            played.report["not_enforced"],
            json!(["cluster-security-configuration", "cluster-protections", "cluster-volumes"])
        );
        assert_eq!(played.stderr, "");
    }
    let stage = started_by_hand(|request| {
        request.as_object_mut().unwrap().remove("SecurityConfiguration");
    });
    let played = by_config(&stage.option(advisory));
    assert!(
        played.stderr.contains(
            "warning: NOT ENFORCED: cluster j-BYHAND: \
            cluster-security-configuration: seen no security configuration"
        ),
        "{}",
        played.transcript()
    );
    assert!(!played.stdout.contains("what was verified"), "{}", played.stdout);
}

#[test]
fn a_cluster_started_by_hand_as_it_should_be_is_followed_to_its_end_and_confirmed() {
    for judged in [by_config, by_settings] {
        let stage = started_by_hand(|_| {});
        let played = judged(&stage);
        played.expect_code(0);
        assert_eq!(played.clusters(), [ID]);
        for check in [
            "cluster-security-configuration",
            "cluster-protections",
            "cluster-volumes",
            "step-encryption-flag",
            "cluster-ended",
        ] {
            assert_eq!(
                played.findings(check).get(ID).map(String::as_str),
                Some("passed"),
                "{check}\n{}",
                played.transcript()
            );
        }
        assert!(
            played.stdout.contains("confirmed: cluster j-BYHAND was what was verified; TERMINATED"),
            "{}",
            played.stdout
        );
        assert!(
            played.stdout.contains(" locations are encrypted as required"),
            "{}",
            played.stdout
        );
        assert_eq!(
            (played.report["command"].as_str(), played.report["exit_code"].as_u64()),
            (Some("watch"), Some(0))
        );
        assert_eq!(terminations(&stage), 0);
        assert!(
            stage.sim.requests_for("ListClusters").len() <= 1,
            "nobody searches for what was named"
        );
        assert!(
            !stage.path("state").exists(),
            "it is no run of this guard, and keeps none from starting"
        );
    }
}

#[test]
fn the_same_judgement_as_of_a_cluster_that_a_run_has_started() {
    let weak_step = json!([{"Name": "theirs", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar",
        "Args": ["spark-submit", "--conf", "spark.authenticate=false", "s3://acme/x.jar"]}}]);
    let cases: [(&str, Change, bool); 6] = [
        (
            "cluster-security-configuration",
            |request| request["SecurityConfiguration"] = Value::Null,
            true,
        ),
        (
            "cluster-configurations",
            |request| {
                request["Configurations"] = json!([{
                    "Classification": "hdfs-site",
                    "Properties": {"dfs.encrypt.data.transfer": "false"}
                }]);
            },
            true,
        ),
        ("cluster-ami", |request| request["CustomAmiId"] = "ami-0123456789abcdef0".into(), true),
        ("step-encryption-flag", |request| drop_flag(request), true),
        // Only a config contains the intended roles and subnet.
        ("cluster-roles", |request| request["JobFlowRole"] = "Other".into(), false),
        ("cluster-release", |request| request["ReleaseLabel"] = "emr-5.30.0".into(), false),
    ];
    for (check, change, also_without) in cases {
        for (judged, knows) in
            [(by_config as fn(&Stage) -> Played, true), (by_settings, also_without)]
        {
            if !knows {
                continue;
            }
            let stage = started_by_hand(change).option("--terminate-attached");
            // It does not end by itself before it is polled, however busy the machine is.
            stage.set(Set::SetTimings(Timings { terminating: 6.0, ..Timings::all(3600.0) }));
            let played = judged(&stage);
            played.expect_code(76);
            assert_eq!(
                played.findings(check).get(ID).map(String::as_str),
                Some("failed"),
                "{check}\n{}",
                played.transcript()
            );
            assert_eq!(terminations(&stage), 1, "{check}");
        }
    }
    for judged in [by_config, by_settings] {
        let stage = started_by_hand(|_| {}).option("--terminate-attached=true");
        stage.set(Set::UpdateCluster(UpdateCluster {
            id: ID.to_owned(),
            add_steps: weak_step.clone(),
            ..Default::default()
        }));
        let played = judged(&stage);
        played.expect_code(76);
        assert_eq!(played.findings("step-arguments")[ID], "failed");
    }
}

pub(crate) fn drop_flag(request: &mut Value) {
    let steps = request["Steps"].as_array_mut().unwrap();
    let arguments = steps.iter_mut().find_map(|step| {
        let arguments = step["HadoopJarStep"]["Args"].as_array_mut()?;
        arguments.iter().any(|argument| argument == "--s3ServerSideEncryption").then_some(arguments)
    });
    arguments.unwrap().retain(|argument| argument != "--s3ServerSideEncryption");
}

#[test]
fn what_a_security_configuration_protects_is_judged_by_the_settings() {
    let weak = |stage: &Stage| {
        let content = json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "EnableInTransitEncryption": false,
            "AtRestEncryptionConfiguration": {"S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}}}});
        stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
            name: "weak".to_owned(),
            content,
            ..Default::default()
        }));
    };
    let stage = Stage::acme().env("AWS_REGION", "eu-west-1").option("--terminate-attached");
    weak(&stage);
    start(&stage, ID, |request| request["SecurityConfiguration"] = "weak".into());
    let played = by_settings(&stage);
    played.expect_code(76);
    assert_eq!(played.findings("cluster-protections")[ID], "failed");
    assert!(
        played.unbroken().contains(
            "cluster-protections: seen local-disk: at-rest encryption is switched on, \
                but its local-disk part is empty; in-transit: "
        ),
        "{}",
        played.stderr
    );

    let stage = Stage::acme().env("AWS_REGION", "eu-west-1").option("--require=s3-at-rest");
    weak(&stage);
    start(&stage, ID, |request| request["SecurityConfiguration"] = "weak".into());
    let played = by_settings(&stage);
    played.expect_code(0);
    assert_eq!(played.findings("cluster-protections")[ID], "passed");
}

#[test]
fn an_unsafe_cluster_is_told_at_once_but_not_ended_unless_that_is_allowed() {
    let stage = started_by_hand(|request| request["SecurityConfiguration"] = Value::Null)
        .env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "1s");
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    start(&stage, "j-STAYS", |request| request["SecurityConfiguration"] = Value::Null);
    let played = stage.play(stage.watch(&["j-STAYS"], false));
    played.expect_code(71);
    assert_eq!(terminations(&stage), 0);
    insta::assert_snapshot!(played.redact(&played.stderr));
    // A cluster that ends by itself meanwhile needs no person any more.
    let played = by_settings(&stage.env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "50s"));
    played.expect_code(76);
}

#[test]
fn what_a_cluster_started_by_hand_wrote_unencrypted_is_found() {
    for judged in [by_config, by_settings] {
        let stage = Stage::acme().env("AWS_REGION", "eu-west-1");
        stage.set(Set::SetNextCluster(NextCluster {
            objects: Some(Sse::None),
            ..Default::default()
        }));
        start(&stage, ID, |_| {});
        let played = judged(&stage);
        played.expect_code(75);
        assert!(
            played.findings("written-objects").values().any(|status| status == "failed"),
            "{}",
            played.transcript()
        );
    }
}

#[test]
fn a_failed_cluster_is_what_the_runner_calls_a_failure() {
    let stage = Stage::acme().env("AWS_REGION", "eu-west-1");
    stage.set(Set::SetNextCluster(NextCluster { fail_step: Some(11), ..Default::default() }));
    start(&stage, ID, |_| {});
    by_settings(&stage).expect_code(1);
}

#[test]
fn a_stop_ends_the_watch_and_leaves_the_cluster_alone_whatever_is_known_of_it() {
    let stage =
        started_by_hand(|_| {}).option("--terminate-attached").option("--on-stop=terminate");
    stage.set(Set::SetTimings(Timings::all(3600.0)));
    start(&stage, "j-STAYS", |_| {});
    stage.set(Set::AddFault(Fault::every("ListSteps", FaultKind::AccessDenied)));
    let child = stage.watch(&["j-STAYS"], false).spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "ListSteps",
                Duration::from_secs(120)
            )
            .is_some()
    );
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(75);
    assert_eq!(terminations(&stage), 0);
}

#[test]
fn several_clusters_are_watched_at_once_and_the_worst_decides() {
    let stage = started_by_hand(|_| {}).option("--terminate-attached");
    start(&stage, "j-BARE", |request| request["SecurityConfiguration"] = Value::Null);
    let played = stage.play(stage.watch(&[ID, "j-BARE"], false));
    played.expect_code(76);
    let statuses = played.findings("cluster-security-configuration");
    assert_eq!((statuses[ID].as_str(), statuses["j-BARE"].as_str()), ("passed", "failed"));
    let terminated = stage.sim.requests_for("TerminateJobFlows");
    assert!(
        terminated.iter().all(|request| request.cluster_id() == Some("j-BARE"))
            && !terminated.is_empty()
    );
}

#[test]
fn a_persistent_cluster_is_watched_until_it_is_idle_where_that_is_asked_for() {
    let stage = started_by_hand(|request| {
        request["Instances"]["KeepJobFlowAliveWhenNoSteps"] = true.into();
    });
    let mut command = stage.watch(&[ID], false);
    command.arg("--until-idle");
    let played = stage.play(command);
    played.expect_code(0);
    assert!(played.stdout.contains("was what was verified; WAITING, "), "{}", played.stdout);
}

#[test]
fn what_cannot_be_watched_says_why() {
    let stage = started_by_hand(|_| {});
    let nobody = stage.play(stage.watch(&["j-NOBODY"], false));
    nobody.expect_code(69);
    assert!(nobody.stderr.contains("j-NOBODY"), "{}", nobody.stderr);
    let stage = stage.without_env("AWS_REGION");
    let nowhere = by_settings(&stage);
    nowhere.expect_code(64);
    insta::assert_snapshot!(nowhere.stderr);
    let stage = stage.env("AWS_REGION", "eu-west-1");
    stage
        .set(Set::AddFault(Fault::every("DescribeSecurityConfiguration", FaultKind::AccessDenied)));
    let denied = by_settings(&stage);
    denied.expect_code(69);
    insta::assert_snapshot!(denied.redact(&denied.stderr));
}

//! Owns the tests of clusters' lives on the clock, and of their steps' output in S3.

use std::time::Duration;

use emr_simulator::{
    BucketEncryption, ClockMode, Cluster, ClusterState, Command, NextCluster, PutBucket,
    PutSecurityConfiguration, SetClock, Simulator, Sse, StartCluster, StartState, StepState,
    Timings,
};
use serde_json::{Value, json};

use crate::support::{Client, RUN_JOB_FLOW, SOON, run_job_flow, stepped};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

fn cluster<R>(sim: &Simulator, id: &str, look: impl FnOnce(&Cluster) -> R) -> R {
    sim.with_world(|world| look(world.cluster(id).unwrap()))
}

fn timings(sim: &Simulator, timings: Timings) {
    sim.apply(Command::SetTimings(timings)).unwrap();
}

/// Starts a cluster whose steps are these and lets an hour pass.
fn run_steps(sim: &Simulator, steps: &Value, keep_alive: bool) -> String {
    let body = json!({
        "Name": "x",
        "Instances": {"KeepJobFlowAliveWhenNoSteps": keep_alive},
        "Steps": steps,
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "SecurityConfiguration": "acme-sc",
    });
    let got = Client::new(sim).emr("RunJobFlow", &body).json();
    sim.advance(Duration::from_hours(1));
    got["JobFlowId"].as_str().unwrap().to_owned()
}

fn dist_cp(src: &str, dest: &str, more: &[&str]) -> Value {
    let mut args = vec!["--src", src, "--dest", dest];
    args.extend(more);
    json!({
        "Name": "copy",
        "ActionOnFailure": "TERMINATE_JOB_FLOW",
        "HadoopJarStep": {"Jar": "/usr/share/aws/emr/s3-dist-cp/lib/s3-dist-cp.jar", "Args": args},
    })
}

fn sse(sim: &Simulator, bucket: &str, key: &str) -> Option<Sse> {
    sim.with_world(|world| world.object(bucket, key).map(|object| object.sse.clone()))
}

fn kms() -> Sse {
    Sse::Kms { key: Some(KEY.to_owned()) }
}

fn put_security_configuration(sim: &Simulator, at_rest: &Value) {
    let content = json!({"EncryptionConfiguration": {
        "EnableAtRestEncryption": true, "EnableInTransitEncryption": false,
        "AtRestEncryptionConfiguration": at_rest,
    }});
    let put =
        PutSecurityConfiguration { name: "acme-sc".to_owned(), content, ..Default::default() };
    sim.apply(Command::PutSecurityConfiguration(put)).unwrap();
}

fn put_bucket(
    sim: &Simulator,
    name: &str,
    encryption: Option<BucketEncryption>,
    policy: Option<Value>,
) {
    let put = PutBucket {
        name: name.to_owned(),
        default_encryption: encryption,
        policy,
        ..Default::default()
    };
    sim.apply(Command::PutBucket(put)).unwrap();
}

#[test]
fn a_cluster_goes_through_its_states_at_the_times_that_were_set() {
    use ClusterState::{Bootstrapping, Running, Starting, Terminated, Terminating};

    let sim = stepped();
    timings(
        &sim,
        Timings {
            starting: 10.0,
            bootstrapping: 20.0,
            step_start: 1.0,
            step: 30.0,
            terminating: 5.0,
            ..Timings::default()
        },
    );
    let guard = Client::new(&sim);
    let id = run_job_flow(&guard);
    let state = || cluster(&sim, &id, |it| (it.state, it.instances.len()));
    let mut seen = vec![state()];
    // 13 steps of 31 seconds follow the first 30 seconds.
    for seconds in [9, 1, 19, 1, 13 * 31 - 1, 1, 4, 1] {
        sim.advance(Duration::from_secs(seconds));
        seen.push(state());
    }
    let expected = [
        (Starting, 0),
        (Starting, 0),
        (Bootstrapping, 3),
        (Bootstrapping, 3),
        (Running, 3),
        (Running, 3),
        (Terminating, 3),
        (Terminating, 3),
        (Terminated, 3),
    ];
    assert_eq!(seen, expected);
    let described =
        guard.emr("DescribeCluster", &json!({"ClusterId": id})).json()["Cluster"]["Status"].clone();
    let timeline = |name: &str| described["Timeline"][name].as_f64().unwrap();
    assert_eq!(described["StateChangeReason"]["Code"], "ALL_STEPS_COMPLETED");
    assert!((timeline("ReadyDateTime") - timeline("CreationDateTime") - 30.0).abs() < 0.01);
    assert!((timeline("EndDateTime") - timeline("ReadyDateTime") - 408.0).abs() < 0.01);
}

#[test]
fn one_long_step_forward_is_the_same_as_many_short_ones() {
    let end = |pace: &[u64]| {
        let sim = stepped();
        let at = time_of("2026-11-22T08:00:00Z");
        sim.apply(Command::SetClock(SetClock { mode: ClockMode::Stepped, at: Some(at) })).unwrap();
        run_job_flow(&Client::new(&sim));
        for seconds in pace {
            sim.advance(Duration::from_secs(*seconds));
        }
        sim.with_world(|world| serde_json::to_value(&world.clusters).unwrap())
    };
    assert_eq!(end(&[10_000]), end(&[7; 1428].into_iter().chain([4]).collect::<Vec<_>>()));
}

fn time_of(text: &str) -> time::OffsetDateTime {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
}

#[test]
fn a_scaled_clock_lets_a_run_of_half_an_hour_pass_while_somebody_waits() {
    let sim = Simulator::acme().unwrap();
    sim.apply(Command::SetClock(SetClock { mode: ClockMode::Scaled(20_000.0), at: None })).unwrap();
    let id = run_job_flow(&Client::new(&sim));
    let over = |world: &emr_simulator::World| {
        world.cluster(&id).is_some_and(|it| it.state == ClusterState::Terminated)
    };
    assert!(sim.wait_until(over, SOON));
}

#[test]
fn a_kept_alive_cluster_waits_after_its_steps() {
    let sim = stepped();
    let id = run_steps(&sim, &json!([]), true);
    assert_eq!(cluster(&sim, &id, |it| it.state), ClusterState::Waiting);
}

#[test]
fn a_bootstrap_failure_ends_with_errors_and_says_so() {
    let sim = stepped();
    sim.apply(Command::SetNextCluster(NextCluster {
        bootstrap_failure: true,
        ..Default::default()
    }))
    .unwrap();
    let failed =
        run_steps(&sim, &json!([dist_cp("s3://acme-raw-in/", "s3://acme-out/x/", &[])]), false);
    let (state, code, ready, step) = cluster(&sim, &failed, |it| {
        (it.state, it.reason.clone().unwrap().0, it.ready, it.steps[0].state)
    });
    assert_eq!((state, code.as_str()), (ClusterState::TerminatedWithErrors, "BOOTSTRAP_FAILURE"));
    assert_eq!((ready, step), (None, StepState::Cancelled));
    let next = run_steps(&sim, &json!([]), false);
    assert_eq!(cluster(&sim, &next, |it| it.state), ClusterState::Terminated);
}

/// States of cluster and steps after the first of three steps failed.
fn after_failure(action: &str, keep_alive: bool) -> (ClusterState, Vec<StepState>) {
    let sim = stepped();
    sim.apply(Command::SetNextCluster(NextCluster { fail_step: Some(1), ..Default::default() }))
        .unwrap();
    let step = json!({"Name": "s", "ActionOnFailure": action, "HadoopJarStep": {"Jar": "x.jar"}});
    let id = run_steps(&sim, &json!([step, step, step]), keep_alive);
    cluster(&sim, &id, |it| (it.state, it.steps.iter().map(|step| step.state).collect()))
}

#[test]
fn a_failed_steps_action_decides_over_the_cluster_and_the_other_steps() {
    use StepState::{Cancelled, Completed, Failed};
    let cancelled = vec![Failed, Cancelled, Cancelled];
    assert_eq!(
        after_failure("TERMINATE_JOB_FLOW", true),
        (ClusterState::TerminatedWithErrors, cancelled.clone())
    );
    assert_eq!(after_failure("CANCEL_AND_WAIT", true), (ClusterState::Waiting, cancelled));
    assert_eq!(
        after_failure("CONTINUE", false),
        (ClusterState::Terminated, vec![Failed, Completed, Completed])
    );
}

#[test]
fn volumes_appear_with_the_instances_and_are_encrypted_only_by_ebs_encryption() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let volumes = || {
        let id = run_job_flow(&guard);
        assert_eq!(
            guard.emr("ListInstances", &json!({"ClusterId": id})).json(),
            json!({"Instances": []})
        );
        sim.advance(Duration::from_secs(181));
        let listed = guard.emr("ListInstances", &json!({"ClusterId": id})).json();
        let instance = listed["Instances"][0]["Ec2InstanceId"].as_str().unwrap().to_owned();
        let filter = format!(
            "Action=DescribeVolumes&Filter.1.Name=attachment.instance-id&Filter.1.Value.1={instance}"
        );
        let got = guard.form("ec2", &filter);
        let count = |text: &str| got.body.matches(text).count();
        let key = got.xml("kmsKeyId").map(str::to_owned);
        (count("<encrypted>true"), count("<encrypted>false"), count("/dev/xvda"), key)
    };
    assert_eq!(volumes(), (2, 0, 1, Some(KEY.to_owned())));
    let luks = json!({"LocalDiskEncryptionConfiguration": {
        "EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": KEY
    }});
    put_security_configuration(&sim, &luks);
    assert_eq!(volumes(), (0, 2, 1, None));
}

#[test]
fn the_real_runners_steps_move_the_input_through_to_the_archives() {
    let sim = stepped();
    let id = run_job_flow(&Client::new(&sim));
    sim.advance(Duration::from_hours(2));
    let keys = |bucket: &str| -> Vec<String> {
        sim.with_world(|world| world.buckets[bucket].objects.keys().cloned().collect())
    };
    let run = "run=2026-11-22-08-34-15";
    assert_eq!(keys("acme-raw-in"), Vec::<String>::new());
    assert_eq!(keys("acme-etl"), ["certs/emr.zip"]);
    assert_eq!(
        keys("acme-out"),
        [
            format!("enriched/bad/{run}/_SUCCESS"),
            format!("enriched/bad/{run}/part-00000-5cf2b1f2.txt"),
            format!("shredded/bad/{run}/_SUCCESS"),
            format!("shredded/bad/{run}/part-00000-5cf2b1f2.txt"),
        ]
    );
    let archived = keys("acme-archive");
    assert!(archived.contains(&format!("enriched/{run}/_SUCCESS")), "{archived:?}");
    assert!(archived.contains(&format!("raw/{run}/logs/2020-08-21-raw.lzo")), "{archived:?}");
    assert!(keys("acme-log").iter().all(|key| key.starts_with(&format!("emr/{id}/"))));
}

#[test]
fn a_copy_with_the_flag_sends_sse_s3_even_into_a_kms_bucket() {
    let sim = stepped();
    put_bucket(&sim, "acme-out", Some(BucketEncryption::kms("alias/acme-etl")), None);
    let flag = ["--s3ServerSideEncryption"];
    run_steps(&sim, &json!([dist_cp("hdfs:///x/", "s3://acme-out/good/", &flag)]), false);
    assert_eq!(sse(&sim, "acme-out", "good/part-00000-8b2c.txt.gz"), Some(Sse::Aes256));
}

#[test]
fn a_copy_without_the_flag_gets_the_buckets_default() {
    let sim = stepped();
    put_bucket(&sim, "acme-out", Some(BucketEncryption::kms("alias/acme-etl")), None);
    run_steps(&sim, &json!([dist_cp("hdfs:///x/", "s3://acme-out/good/", &[])]), false);
    assert_eq!(sse(&sim, "acme-out", "good/part-00000-8b2c.txt.gz"), Some(kms()));
}

#[test]
fn a_copy_with_the_flag_sends_kms_when_that_is_the_mode_for_the_bucket() {
    let sim = stepped();
    put_security_configuration(
        &sim,
        &json!({"S3EncryptionConfiguration": {
            "EncryptionMode": "SSE-KMS", "AwsKmsKey": KEY,
            "Overrides": [{"BucketName": "acme-archive", "EncryptionMode": "SSE-S3"}],
        }}),
    );
    let copy = |to: &str| dist_cp("hdfs:///x/", to, &["--s3ServerSideEncryption"]);
    run_steps(&sim, &json!([copy("s3://acme-out/good/"), copy("s3://acme-archive/good/")]), false);
    assert_eq!(sse(&sim, "acme-out", "good/part-00000-8b2c.txt.gz"), Some(kms()));
    assert_eq!(sse(&sim, "acme-archive", "good/part-00000-8b2c.txt.gz"), Some(Sse::Aes256));
}

#[test]
fn spark_writes_by_the_security_configurations_mode_and_logs_by_the_buckets_default() {
    let sim = stepped();
    put_bucket(&sim, "acme-log", Some(BucketEncryption::kms("alias/acme-etl")), None);
    put_bucket(&sim, "acme-out", Some(BucketEncryption::kms("alias/acme-etl")), None);
    let id = run_job_flow(&Client::new(&sim));
    sim.advance(Duration::from_hours(2));
    let bad = "enriched/bad/run=2026-11-22-08-34-15/part-00000-5cf2b1f2.txt";
    assert_eq!(sse(&sim, "acme-out", bad), Some(Sse::Aes256));
    let log = cluster(&sim, &id, |it| format!("emr/{id}/steps/{}/controller.gz", it.steps[0].id));
    assert_eq!(sse(&sim, "acme-log", &log), Some(kms()));
}

#[test]
fn without_an_s3_part_spark_writes_by_the_buckets_default_or_emrfs_site() {
    let sim = stepped();
    put_security_configuration(&sim, &json!({}));
    put_bucket(&sim, "acme-out", Some(BucketEncryption::kms("alias/acme-etl")), None);
    let bad = "enriched/bad/run=2026-11-22-08-34-15/_SUCCESS";
    let guard = Client::new(&sim);
    run_job_flow(&guard);
    sim.advance(Duration::from_hours(2));
    assert_eq!(sse(&sim, "acme-out", bad), Some(kms()));
    let mut body: Value = serde_json::from_str(RUN_JOB_FLOW).unwrap();
    let site = json!({
        "Classification": "emrfs-site",
        "Properties": {"fs.s3.enableServerSideEncryption": "true"}
    });
    body["Configurations"] = json!([site]);
    guard.emr("RunJobFlow", &body);
    sim.advance(Duration::from_hours(2));
    assert_eq!(sse(&sim, "acme-out", bad), Some(Sse::Aes256));
}

#[test]
fn rdb_loaders_log_gets_only_the_buckets_default() {
    let sim = stepped();
    put_bucket(&sim, "acme-log", Some(BucketEncryption::kms("alias/acme-etl")), None);
    let step = json!({"Name": "[rdb_load]", "HadoopJarStep": {
        "Jar": "s3://snowplow-hosted-assets/4-storage/rdb-loader/snowplow-rdb-loader-0.17.0.jar",
        "Args": ["--logkey", "s3://acme-log/emr/rdb-loader/run/log"],
    }});
    run_steps(&sim, &json!([step]), false);
    assert_eq!(sse(&sim, "acme-log", "emr/rdb-loader/run/log"), Some(kms()));
}

#[test]
fn a_step_whose_write_the_bucket_policy_denies_fails_and_deletes_nothing() {
    let sim = stepped();
    let policy = json!({"Statement": {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::acme-out/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}},
    }});
    put_bucket(&sim, "acme-out", None, Some(policy));
    let flags = ["--deleteOnSuccess", "--s3ServerSideEncryption"];
    let id =
        run_steps(&sim, &json!([dist_cp("s3://acme-raw-in/", "s3://acme-out/x/", &flags)]), false);
    assert_eq!(cluster(&sim, &id, |it| it.steps[0].state), StepState::Failed);
    assert!(cluster(&sim, &id, |it| it.steps[0].failure.clone()).unwrap().contains("AccessDenied"));
    assert_eq!(sim.with_world(|world| world.buckets["acme-raw-in"].objects.len()), 2);
}

#[test]
fn a_source_pattern_selects_what_is_copied() {
    let sim = stepped();
    let pattern = ["--srcPattern", r".*\.lzo", "--deleteOnSuccess"];
    run_steps(&sim, &json!([dist_cp("s3://acme-raw-in/", "s3://acme-out/x/", &pattern)]), false);
    let keys = |bucket: &str| -> Vec<String> {
        sim.with_world(|world| world.buckets[bucket].objects.keys().cloned().collect())
    };
    assert_eq!(keys("acme-out"), ["x/logs/2020-08-21-raw.lzo"]);
    assert_eq!(keys("acme-raw-in"), ["logs/_Tomcat_localhost_access_log.2020-08-21.txt.gz"]);
}

#[test]
fn a_cluster_can_be_made_to_write_unprotected_objects() {
    let sim = stepped();
    sim.apply(Command::SetNextCluster(NextCluster {
        objects: Some(Sse::None),
        ..Default::default()
    }))
    .unwrap();
    let flag = ["--s3ServerSideEncryption"];
    run_steps(&sim, &json!([dist_cp("hdfs:///x/", "s3://acme-out/good/", &flag)]), false);
    let head = Client::new(&sim).s3("HEAD", "/acme-out/good/part-00000-8b2c.txt.gz", &[]);
    assert_eq!((head.status, head.header("x-amz-server-side-encryption")), (200, None));
}

#[test]
fn a_cluster_nobody_asked_for_can_be_in_any_living_state() {
    let sim = stepped();
    let states = [
        (StartState::Starting, ClusterState::Starting),
        (StartState::Bootstrapping, ClusterState::Bootstrapping),
        (StartState::Running, ClusterState::Running),
        (StartState::Waiting, ClusterState::Waiting),
    ];
    for (state, expected) in states {
        let step = json!({"Name": "s", "HadoopJarStep": {"Jar": "x.jar"}});
        let steps = if state == StartState::Running { json!([step]) } else { json!([]) };
        let start = StartCluster {
            state,
            age_seconds: 7200.0,
            request: json!({"Steps": steps}),
            ..Default::default()
        };
        let id = sim.apply(Command::StartCluster(start)).unwrap().id.unwrap();
        assert_eq!(cluster(&sim, &id, |it| it.state), expected);
        assert_eq!(cluster(&sim, &id, |it| it.instances.is_empty()), state == StartState::Starting);
    }
}

#[test]
fn a_protected_cluster_that_is_kept_alive_waits_after_a_failed_step() {
    let sim = stepped();
    let fate =
        NextCluster { fail_step: Some(1), termination_protected: Some(true), ..Default::default() };
    sim.apply(Command::SetNextCluster(fate)).unwrap();
    let step = json!({
        "Name": "s", "ActionOnFailure": "TERMINATE_JOB_FLOW",
        "HadoopJarStep": {"Jar": "x.jar"}
    });
    let id = run_steps(&sim, &json!([step, step]), true);
    assert_eq!(
        cluster(&sim, &id, |it| (it.state, it.steps[1].state)),
        (ClusterState::Waiting, StepState::Cancelled)
    );
}

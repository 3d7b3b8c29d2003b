//! A run's output is checked, object by object: problems are reported, unseen objects are no pass,
//! and objects of others do not count.

use std::{collections::BTreeSet, time::Duration};

use emr_simulator::{
    BucketEncryption, Calls, Command as Set, Fault, FaultKind, Hook, NextCluster, PutBucket,
    PutObject, Simulator, Sse, Termination,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Played, Stage};

const CHECK: &str = "written-objects";

fn put(bucket: &str, key: &str, sse: Sse) -> Set {
    Set::PutObject(PutObject {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        body: Some("x".to_owned()),
        sse: Some(sse),
        ..Default::default()
    })
}

/// A fault for the HEAD requests of objects in a bucket.
fn heads(bucket: &str, kind: FaultKind) -> Set {
    Set::AddFault(Fault { matching: Some(bucket.to_owned()), ..Fault::every("HeadObject", kind) })
}

/// A stage on which the cluster's steps write objects without encryption, whatever their options.
fn writing_unencrypted() -> Stage {
    let stage = Stage::acme();
    stage.set(Set::SetNextCluster(NextCluster { objects: Some(Sse::None), ..Default::default() }));
    stage
}

fn gaps(played: &Played) -> BTreeSet<String> {
    let gaps = played.report["residual_risks"].as_array().into_iter().flatten();
    gaps.map(|gap| gap["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn headed(sim: &Simulator, bucket: &str) -> usize {
    sim.requests_for("HeadObject").iter().filter(|request| request.path.contains(bucket)).count()
}

#[test]
fn what_earlier_runs_left_is_not_this_runs_business() {
    let stage = Stage::acme();
    for key in [
        "enriched/run=2020-01-01-00-00-00/part-1",
        "raw/run=2020-01-01-00-00-00/part-1",
        "shredded/run=2020-01-01-00-00-00/part-1",
    ] {
        stage.set(put("acme-archive", key, Sse::None));
    }
    stage.set(put("acme-log", "emr/j-EARLIER/steps/s-1/stderr.gz", Sse::None));
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(headed(&stage.sim, "run=2020"), 0);
    let locations = played.findings(CHECK);
    assert_eq!(locations["raw.archive"], "passed");
    assert_eq!(locations["enriched.bad"], "passed");
    assert_eq!(locations["enriched.good"], "not-applicable", "moved on into the archive");
    assert!(gaps(&played).contains("later-logs"));
}

#[test]
fn in_a_folder_that_runs_share_only_what_is_not_from_before_the_launch_counts() {
    // A persistent cluster's logs of earlier runs are beside those of this one.
    let stage = Stage::acme().argument("--use-persistent-jobflow");
    stage.set(crate::good_runs::waiting_cluster(
        &serde_json::json!({"SecurityConfiguration": "acme-sc", "LogUri": "s3n://acme-log/emr/"}),
    ));
    stage.set(put("acme-log", "emr/j-WAITING/steps/s-EARLIER/stderr.gz", Sse::None));
    let played = stage.run();
    played.expect_code(0);
    let log = played.report["written"]
        .as_array()
        .unwrap()
        .iter()
        .find(|written| written["role"] == "log")
        .unwrap();
    assert_eq!(log["survey"]["earlier"], 1);
    assert!(log["survey"]["looked_at"].as_u64().unwrap() > 0);
}

/// Standard error; whether the cluster's final state was seen depends on milliseconds.
fn ended(played: &Played) -> String {
    played.redact(&played.stderr).replace("is TERMINATING", "is over")
}

#[test]
fn objects_written_without_encryption_are_named_with_the_command_that_fixes_them() {
    let stage = writing_unencrypted();
    let played = stage.run();
    played.expect_code(75);
    insta::assert_snapshot!(ended(&played));
    assert_eq!(played.findings(CHECK)["log"], "passed");
    assert_eq!(played.findings(CHECK)["enriched.archive"], "failed");
}

#[test]
fn one_object_among_the_bad_rows_is_enough() {
    let stage = Stage::acme();
    let child = stage.command("run").spawn().unwrap();
    let launch = stage
        .sim
        .wait_for_request(|request| request.operation() == "RunJobFlow", Duration::from_secs(120))
        .unwrap();
    // Another writer writes into the run's folder, in parallel to its steps.
    let folder = regex::Regex::new(r"s3://acme-out/(enriched/bad/run=[0-9-]+/)").unwrap();
    let body = serde_json::to_string(&launch.body).unwrap();
    let folder = folder.captures(&body).unwrap()[1].to_owned();
    stage.set(put("acme-out", &format!("{folder}stray"), Sse::None));
    let played = stage.finish(child);
    played.expect_code(75);
    let failed: Vec<_> =
        played.findings(CHECK).into_iter().filter(|(_, status)| status == "failed").collect();
    assert_eq!(failed, [("enriched.bad".to_owned(), "failed".to_owned())]);
    assert!(
        played
            .unbroken()
            .contains(&format!("1 object (1 byte) unencrypted: {folder}stray, of all 2 objects")),
        "{}",
        played.stderr
    );
    assert!(
        played.stderr.contains(&format!(
            "`emr-etl-guard reencrypt --apply s3://acme-out/{folder} -- run -c config.yml -r \
             resolver.json`"
        )),
        "{}",
        played.stderr
    );
}

#[test]
fn objects_under_another_key_than_the_expected_one() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
    // The existing problem would refuse the launch; here it is only advisory.
    let advisory = "--advise=data-encrypted,written-encryption,bucket-default-encryption,security-configuration-overrides";
    let played = Stage::acme().option(&format!("--expected-keys={key}")).option(advisory).run();
    played.expect_code(75);
    assert_eq!(played.findings(CHECK)["raw.archive"], "failed");
    assert!(played.stderr.contains("SSE-S3: raw/run="), "{}", played.stderr);
    assert!(
        played.stderr.contains(&format!(
            "reencrypt --apply --kms-key {key} s3://acme-archive/enriched/run="
        )),
        "{}",
        played.stderr
    );
}

#[test]
fn a_default_that_was_changed_while_the_run_was_on_shows_in_the_logs() {
    let stage = Stage::acme().option("--accept-encryption=SSE-S3");
    let kms =
        BucketEncryption { algorithm: Some("aws:kms".to_owned()), ..BucketEncryption::aes256() };
    let change = Set::PutBucket(PutBucket {
        name: "acme-log".to_owned(),
        default_encryption: Some(kms),
        ..PutBucket::default()
    });
    stage.set(Set::AddHook(Hook::after_first("RunJobFlow", vec![change])));
    let played = stage.run();
    played.expect_code(75);
    assert_eq!(played.findings(CHECK)["log"], "failed");
    assert_eq!(played.findings(CHECK)["raw.archive"], "passed");
}

#[test]
fn what_may_not_be_looked_at_is_not_confirmed_and_the_permission_is_named() {
    let stage = Stage::acme();
    stage.set(heads("acme-archive", FaultKind::AccessDenied));
    let played = stage.run();
    played.expect_code(75);
    insta::assert_snapshot!(ended(&played));
    assert_eq!(played.findings(CHECK)["raw.archive"], "unknown");
}

#[test]
fn what_does_not_answer_in_time_is_not_confirmed() {
    let stage = Stage::acme().option("--confirm-timeout=1s");
    stage.set(heads("acme-archive", FaultKind::Hang));
    let played = stage.run();
    played.expect_code(75);
    assert_eq!(played.findings(CHECK)["raw.archive"], "unknown");
    assert_eq!(played.findings(CHECK)["enriched.bad"], "passed", "what was done by then counts");
    assert!(
        played.stderr.contains(
            "seen 0 of the 2 objects found so far: the time limit was over \
        (setting `confirm_timeout`)"
        ),
        "{}",
        played.stderr
    );
}

#[test]
fn s3_asking_to_slow_down_is_obeyed_and_every_object_is_seen_all_the_same() {
    let stage = Stage::acme();
    let calls = Calls::Range { from: 1, to: 2 };
    stage.set(Set::AddFault(Fault {
        calls,
        matching: Some("acme-log".to_owned()),
        ..Fault::every("HeadObject", FaultKind::Throttle)
    }));
    let played = stage.run();
    played.expect_code(0);
    let log = played.report["written"]
        .as_array()
        .unwrap()
        .iter()
        .find(|written| written["role"] == "log")
        .unwrap();
    let objects = usize::try_from(log["survey"]["looked_at"].as_u64().unwrap()).unwrap();
    assert_eq!(log["survey"]["objects"], log["survey"]["looked_at"]);
    assert_eq!(
        headed(&stage.sim, "acme-log"),
        objects + 2,
        "those refused were asked again, and no others"
    );
    // 32 requests are in progress when the first are throttled. Without a pause, the others would
    // follow within milliseconds.
    let mut times: Vec<u64> = stage
        .sim
        .requests_for("HeadObject")
        .iter()
        .filter(|request| request.path.contains("acme-log"))
        .map(|request| request.arrived_ms)
        .collect();
    times.sort_unstable();
    assert!(times[36] - times[0] > 1000, "{times:?}");
}

#[test]
fn a_sample_is_said_to_be_one() {
    let stage = Stage::acme().option("--confirm-objects=5");
    let played = stage.run();
    played.expect_code(0);
    assert!(played.stdout.contains(" locations, an even sample of "), "{}", played.stdout);
    assert!(gaps(&played).contains("written-sampled"));
    assert!(headed(&stage.sim, "acme-log") <= 5);
}

#[test]
fn a_limit_of_nothing_looks_at_nothing_and_says_so() {
    let stage = Stage::acme().option("--confirm-objects=0");
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(headed(&stage.sim, "acme-archive"), 0);
    assert_eq!(played.findings(CHECK)["locations"], "not-applicable");
    assert!(gaps(&played).contains("written-not-looked-at"));
    assert!(!played.stdout.contains("objects in"));
}

#[test]
fn a_stop_breaks_the_look_off_and_the_run_is_not_confirmed() {
    let stage = Stage::acme();
    stage.set(heads("acme-archive", FaultKind::Hang));
    let child = stage.command("run").spawn().unwrap();
    let looking = |request: &emr_simulator::Recorded| {
        request.operation() == "HeadObject" && request.path.contains("acme-archive")
    };
    assert!(stage.sim.wait_for_request(looking, Duration::from_secs(120)).is_some());
    let started = std::time::Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    assert!(started.elapsed() < Duration::from_secs(2), "within `stop_timeout`");
    played.expect_code(75);
    assert!(
        played.stderr.contains("objects found so far: the guard was stopped"),
        "{}",
        played.stderr
    );
}

#[test]
fn a_failed_runs_objects_are_looked_at_too_but_only_what_is_wrong_beats_its_code() {
    // The tenth step comes after the archiving of raw data.
    let failing = |objects| {
        let stage = Stage::acme();
        stage.set(Set::SetNextCluster(NextCluster {
            fail_step: Some(11),
            objects,
            ..Default::default()
        }));
        stage
    };
    let stage = failing(None);
    let played = stage.run();
    played.expect_code(1);
    assert_eq!(played.findings(CHECK)["enriched.bad"], "passed");

    let stage = failing(None);
    stage.set(heads("acme-out", FaultKind::AccessDenied));
    let played = stage.run();
    played.expect_code(1);
    assert_eq!(played.findings(CHECK)["enriched.bad"], "unknown");

    let played = failing(Some(Sse::None)).run();
    played.expect_code(75);
    assert_eq!(played.findings(CHECK)["enriched.bad"], "failed");
}

#[test]
fn by_policy_a_run_that_wrote_unencrypted_objects_is_unsafe() {
    let played = writing_unencrypted().option("--on-unencrypted=unsafe").run();
    played.expect_code(76);
    assert!(
        played.stderr.starts_with(
            "emr-etl-guard: UNSAFE: the run wrote objects that are not \
            encrypted as required; its clusters are over\n"
        ),
        "{}",
        played.stderr
    );
}

#[test]
fn by_policy_a_persistent_cluster_that_wrote_unencrypted_objects_ends() {
    let stage = writing_unencrypted()
        .argument("--use-persistent-jobflow")
        .option("--on-unencrypted=unsafe");
    let played = stage.run();
    played.expect_code(76);
    let id = &played.clusters()[0];
    assert!(stage.sim.with_world(|world| world.cluster(id).unwrap().ended.is_some()));

    // A cluster that cannot be terminated needs a person, and stays open for the next guard.
    let stage = Stage::acme()
        .argument("--use-persistent-jobflow")
        .option("--on-unencrypted=unsafe")
        .option("--termination-timeout=1s");
    stage.set(Set::SetNextCluster(NextCluster {
        objects: Some(Sse::None),
        termination: Termination::Stuck,
        ..Default::default()
    }));
    let played = stage.run();
    played.expect_code(71);
    assert!(played.stderr.contains("MAY STILL BE RUNNING"), "{}", played.stderr);
    assert!(played.stdout.contains("the run stays open"), "{}", played.stdout);
}

/// The status of the check on the buckets that were written to, in a run with `change` after the
/// cluster was requested.
fn changed_while_it_ran(stage: &Stage, change: PutBucket) -> Played {
    stage.set(Set::AddHook(Hook::after_first("RunJobFlow", vec![Set::PutBucket(change)])));
    stage.run()
}

#[test]
fn an_output_bucket_whose_default_was_taken_away_meanwhile_is_not_confirmed_although_every_object_is_well()
 {
    // No objects are looked up, so only the bucket's setting can show it.
    let stage = Stage::acme().option("--confirm-objects=0");
    let none = BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..Default::default() };
    let played = changed_while_it_ran(
        &stage,
        PutBucket {
            name: "acme-out".to_owned(),
            default_encryption: Some(none),
            ..Default::default()
        },
    );
    played.expect_code(75);
    let buckets = played.findings("output-buckets-at-the-end");
    assert_eq!(
        (buckets["acme-out"].as_str(), buckets["acme-archive"].as_str()),
        ("failed", "passed")
    );
    let said = "acme-out: output-buckets-at-the-end: seen changed meanwhile: \
        bucket-default-encryption: seen no default encryption";
    assert!(played.unbroken().contains(said), "{}", played.stderr);
}

#[test]
fn an_output_bucket_that_was_changed_but_is_still_as_required_is_said_to_be_so() {
    let stage = Stage::acme().option("--confirm-objects=0");
    let kms =
        BucketEncryption { algorithm: Some("aws:kms".to_owned()), ..BucketEncryption::aes256() };
    let played = changed_while_it_ran(
        &stage,
        PutBucket {
            name: "acme-log".to_owned(),
            default_encryption: Some(kms),
            ..Default::default()
        },
    );
    played.expect_code(0);
    let findings = played.report["findings"].as_array().unwrap();
    let log = findings
        .iter()
        .find(|finding| {
            finding["check"] == "output-buckets-at-the-end" && finding["subject"] == "acme-log"
        })
        .unwrap();
    assert_eq!(log["seen"], "changed meanwhile, and still as required");
}

#[test]
fn an_output_bucket_that_may_not_be_looked_at_again_counts_where_the_runner_says_that_all_is_well()
{
    for (fail_step, code) in [(None, 75), (Some(11), 1)] {
        let stage = Stage::acme();
        stage.set(Set::SetNextCluster(NextCluster { fail_step, ..Default::default() }));
        let denied = Set::AddFault(Fault {
            matching: Some("acme-out".to_owned()),
            ..Fault::every("GetBucketPolicy", FaultKind::AccessDenied)
        });
        stage.set(Set::AddHook(Hook::after_first("RunJobFlow", vec![denied])));
        let played = stage.run();
        played.expect_code(code);
        assert_eq!(played.findings("output-buckets-at-the-end")["acme-out"], "unknown");
    }
}

//! The calls of `setup`: no read is sent twice for one plan, and what only takes back or deletes
//! asks only what decides that.

use std::collections::{BTreeMap, BTreeSet};

use emr_simulator::{Command as Set, StartCluster};
use serde_json::json;

use crate::{
    setup::{APPLY, document, empty_account, made_account, setup},
    support::Stage,
};

/// The calls of the guard since the records were cleared, each once, with the first subject that it
/// names.
fn calls(stage: &Stage) -> BTreeSet<String> {
    stage.requests_of_guard().map(|request| request.subject.operation).collect()
}

/// What a request asks: equal requests have equal answers.
fn question(request: &emr_simulator::Recorded) -> String {
    let subject = &request.subject;
    let who = request.access_key.as_deref().unwrap_or_default();
    json!([
        who,
        subject.service,
        subject.operation,
        request.method,
        request.path,
        request.query,
        request.body,
    ])
    .to_string()
}

/// The reads that were sent more than once, and how often, in one line each.
fn repeated(stage: &Stage) -> Vec<String> {
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for request in stage.sim.requests() {
        *asked.entry(question(&request)).or_default() += 1;
    }
    asked
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(question, times)| format!("{times} times: {question}"))
        .collect()
}

#[test]
fn no_read_is_sent_twice_for_one_plan() {
    let with = "--with=guard-policy,evidence-bucket,alert-topic,event-queue";
    let nothing: Vec<String> = Vec::new();
    let mut stage = empty_account("eu-west-1");
    for options in [&[][..], &[with]] {
        stage.set(Set::ClearRequests);
        setup(&mut stage, options).expect_code(0);
        assert!(stage.sim.requests().len() > 40, "it looks at the account");
        assert_eq!(repeated(&stage), nothing, "an empty account, {options:?}");
    }
    setup(&mut stage, &[&APPLY[..], &[with]].concat()).expect_code(0);
    for options in [&[][..], &[with], &["--rotate-certificates"]] {
        stage.set(Set::ClearRequests);
        setup(&mut stage, options).expect_code(0);
        assert!(stage.sim.requests().len() > 40, "it looks at the account");
        assert_eq!(repeated(&stage), nothing, "a whole account, {options:?}");
    }
}

#[test]
fn an_undo_that_is_only_shown_asks_who_it_is_and_nothing_else() {
    let mut stage = made_account();
    stage.set(Set::ClearRequests);
    setup(&mut stage, &["--undo=setup.json"]).expect_code(0);
    let mut asked: Vec<(String, Option<String>)> = stage
        .sim
        .requests()
        .into_iter()
        .map(|request| (request.subject.operation, request.access_key))
        .collect();
    asked.sort();
    let identity = |key: &str| ("GetCallerIdentity".to_owned(), Some(key.to_owned()));
    assert_eq!(asked, [identity("AKIAFAKE"), identity("AKIAGUARD")]);
}

#[test]
fn a_retirement_asks_for_the_configuration_and_the_clusters_that_live() {
    let mut stage = made_account();
    let old = stage.sim.with_world(|world| world.security_configurations[0].name.clone());
    setup(&mut stage, &["--rotate-certificates", "--apply", "--write-config"]).expect_code(0);
    stage.set(Set::StartCluster(StartCluster::default()));
    let retire = format!("--retire={old}");
    let looks =
        ["DescribeCluster", "DescribeSecurityConfiguration", "GetCallerIdentity", "ListClusters"];
    for (options, deletes) in [(&[&*retire][..], false), (&["--apply", &*retire], true)] {
        stage.set(Set::ClearRequests);
        let played = setup(&mut stage, options);
        played.expect_code(0);
        let expected: BTreeSet<String> = looks
            .into_iter()
            .chain(deletes.then_some("DeleteSecurityConfiguration"))
            .map(str::to_owned)
            .collect();
        assert_eq!(calls(&stage), expected, "{}", played.transcript());
    }
}

#[test]
fn an_undo_lists_clusters_only_if_they_can_use_a_piece_of_it() {
    let mut stage = empty_account("eu-west-1");
    let plain = [
        "--apply",
        "--report=setup.json",
        "--without=roles,role-policies,launcher,key,\
                 certificates,security-configuration,bucket-encryption",
    ];
    setup(&mut stage, &plain);
    let report = document(&stage, "setup.json");
    let steps = report["record"]["steps"].as_array().unwrap().iter();
    let kinds: BTreeSet<&str> = steps
        .filter(|step| step["action"] != "found")
        .map(|step| step["piece"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["bucket", "bucket-policy"].into());
    stage.set(Set::ClearRequests);
    setup(&mut stage, &["--undo=setup.json", "--apply"]).expect_code(0);
    let expected = [
        "DeleteBucket",
        "DeleteBucketPolicy",
        "GetBucketPolicy",
        "GetCallerIdentity",
        "HeadBucket",
        "ListMultipartUploads",
        "ListObjectVersions",
    ];
    assert_eq!(calls(&stage), expected.map(str::to_owned).into());
}

//! Owns the tests about callers: access keys, accounts, regions, and unsupported operations.

use emr_simulator::Simulator;
use serde_json::json;

use crate::support::{Client, stepped};

fn all_services(client: &Client) -> Vec<(u16, String)> {
    [
        client.emr("ListClusters", &json!({})),
        client.kms("DescribeKey", &json!({"KeyId": "alias/acme-etl"})),
        client.form("iam", "Action=GetRole&RoleName=EMR_DefaultRole"),
        client.form("sts", "Action=GetCallerIdentity"),
        client.form("ec2", "Action=DescribeVpcs"),
        client.s3("GET", "/acme-out?policy", &[]),
    ]
    .iter()
    .map(super::support::Got::error)
    .collect()
}

fn errors(pairs: [(u16, &str); 6]) -> Vec<(u16, String)> {
    pairs.into_iter().map(|(status, code)| (status, code.to_owned())).collect()
}

#[test]
fn an_unknown_access_key_gets_each_services_own_error() {
    let sim = stepped();
    let expected = errors([
        (400, "UnrecognizedClientException"),
        (400, "UnrecognizedClientException"),
        (403, "InvalidClientTokenId"),
        (403, "InvalidClientTokenId"),
        (401, "AuthFailure"),
        (403, "InvalidAccessKeyId"),
    ]);
    assert_eq!(all_services(&Client::new(&sim).as_key("AKIANOBODY")), expected);
}

#[test]
fn an_unsigned_request_is_refused_by_every_service() {
    let sim = stepped();
    let expected = errors([
        (400, "MissingAuthenticationTokenException"),
        (400, "MissingAuthenticationTokenException"),
        (403, "MissingAuthenticationToken"),
        (403, "MissingAuthenticationToken"),
        (401, "AuthFailure"),
        (403, "AccessDenied"),
    ]);
    assert_eq!(all_services(&Client::new(&sim).unsigned()), expected);
}

#[test]
fn a_public_bucket_can_be_read_unsigned_but_not_written() {
    let sim = stepped();
    let nobody = Client::new(&sim).unsigned();
    let object = "/snowplow-hosted-assets/common/emr/snowplow-ami5-bootstrap-0.1.0.sh";
    assert_eq!(nobody.s3("GET", object, &[]).body, "hello\n");
    assert_eq!(nobody.s3("GET", "/snowplow-hosted-assets?list-type=2", &[]).status, 200);
    assert_eq!(
        nobody.put("/snowplow-hosted-assets/x", &[], "x").error(),
        (403, "AccessDenied".to_owned())
    );
    assert_eq!(nobody.s3("GET", "/snowplow-hosted-assets?encryption", &[]).status, 403);
}

#[test]
fn the_access_key_names_the_caller() {
    let sim = stepped();
    let got = Client::new(&sim).as_key("AKIAFAKE").form("sts", "Action=GetCallerIdentity");
    assert_eq!(got.xml("Arn"), Some("arn:aws:iam::123456789012:user/snowplow"));
    assert_eq!(got.xml("Account"), Some("123456789012"));
}

#[test]
fn another_account_sees_none_of_the_clusters_and_no_private_bucket() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = crate::support::run_job_flow(&guard);
    let other = guard.as_key("AKIAOTHER");
    assert_eq!(other.emr("ListClusters", &json!({})).json(), json!({"Clusters": []}));
    let described = other.emr("DescribeCluster", &json!({"ClusterId": id}));
    assert_eq!(described.error(), (400, "InvalidRequestException".to_owned()));
    let head = other.s3("HEAD", "/acme-out", &[]);
    assert_eq!((head.status, head.body.as_str()), (403, ""));
    assert_eq!(head.header("x-amz-bucket-region"), Some("eu-west-1"));
}

#[test]
fn a_cluster_is_unknown_in_another_region() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = crate::support::run_job_flow(&guard);
    let elsewhere = guard.in_region("us-east-1").emr("DescribeCluster", &json!({"ClusterId": id}));
    assert_eq!(elsewhere.json()["Message"], format!("Cluster id '{id}' is not valid."));
}

#[test]
fn a_bucket_asked_for_in_the_wrong_region_redirects_and_names_its_own() {
    let sim = stepped();
    let wrong = Client::new(&sim).in_region("us-east-1");
    let got = wrong.s3("GET", "/acme-out?encryption", &[]);
    assert_eq!(got.error(), (301, "PermanentRedirect".to_owned()));
    assert_eq!(got.header("x-amz-bucket-region"), Some("eu-west-1"));
    let head = wrong.s3("HEAD", "/acme-out", &[]);
    assert_eq!((head.status, head.body.as_str()), (301, ""));
    assert_eq!(head.header("x-amz-bucket-region"), Some("eu-west-1"));
}

#[test]
fn an_operation_that_is_not_modelled_answers_501_names_itself_and_is_recorded() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let got = guard.emr("CreateStudio", &json!({}));
    assert_eq!(got.status, 501);
    assert_eq!(got.json()["message"], "emr-simulator does not model elasticmapreduce:CreateStudio");
    assert_eq!(guard.form("ec2", "Action=DescribeImages").error(), (501, "NotModelled".to_owned()));
    assert_eq!(guard.s3("GET", "/acme-out?acl", &[]).error(), (501, "NotModelled".to_owned()));
    assert_eq!(guard.form("iam", "Action=ListUsers").status, 501);
    assert_eq!(guard.kms("Encrypt", &json!({"KeyId": "x"})).status, 501);
    let codes: Vec<_> = sim.requests().into_iter().map(|it| (it.status, it.error_code)).collect();
    assert_eq!(codes, vec![(Some(501), Some("NotModelled".to_owned())); 5]);
}

#[test]
fn a_request_is_recorded_with_caller_region_subject_and_answer() {
    let sim = stepped();
    Client::new(&sim).as_key("AKIAFAKE").emr("DescribeCluster", &json!({"ClusterId": "j-NONE"}));
    let [recorded] = sim.requests().try_into().unwrap();
    assert_eq!(recorded.operation(), "DescribeCluster");
    assert_eq!(recorded.cluster_id(), Some("j-NONE"));
    assert_eq!(recorded.subject.service, "elasticmapreduce");
    assert_eq!(recorded.access_key.as_deref(), Some("AKIAFAKE"));
    assert_eq!(recorded.account.as_deref(), Some("123456789012"));
    assert_eq!(recorded.region, "eu-west-1");
    assert_eq!(recorded.body, json!({"ClusterId": "j-NONE"}));
    assert_eq!(
        (recorded.status, recorded.error_code.as_deref()),
        (Some(400), Some("InvalidRequestException"))
    );
    assert!(!recorded.headers["authorization"].contains("Signature"));
}

#[test]
fn two_simulators_share_nothing_and_stop_when_dropped() {
    let (one, two) = (Simulator::start().unwrap(), Simulator::acme().unwrap());
    assert!(one.with_world(|world| world.buckets.is_empty()));
    assert!(two.with_world(|world| world.buckets.contains_key("acme-out")));
    let client = Client::new(&one);
    drop(one);
    assert!(client.try_emr("ListClusters", "{}").is_err());
}

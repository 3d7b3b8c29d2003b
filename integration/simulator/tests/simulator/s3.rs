//! Owns the tests of S3.

use emr_simulator::{
    BucketEncryption, Command, Fault, FaultKind, PutBucket, PutKey, PutObject, Simulator, Sse,
};
use serde_json::{Value, json};

use crate::support::{Client, Got, stepped};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
const SSE: &str = "x-amz-server-side-encryption";
const SSE_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";

fn protection(got: &Got) -> (u16, Option<&str>, Option<&str>) {
    (got.status, got.header(SSE), got.header(SSE_KEY))
}

fn put_bucket(sim: &Simulator, put: PutBucket) {
    sim.apply(Command::PutBucket(put)).unwrap();
}

fn put_object(sim: &Simulator, key: &str, sse: Option<Sse>) {
    let put = PutObject {
        bucket: "acme-out".to_owned(),
        key: key.to_owned(),
        size: Some(3),
        sse,
        ..Default::default()
    };
    sim.apply(Command::PutObject(put)).unwrap();
}

fn with_policy(condition: &Value) -> (Simulator, Client) {
    let sim = stepped();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::acme-out/*",
        "Condition": condition,
    }]});
    put_bucket(
        &sim,
        PutBucket { name: "acme-out".to_owned(), policy: Some(policy), ..Default::default() },
    );
    let guard = Client::new(&sim);
    (sim, guard)
}

#[test]
fn a_bucket_nobody_configured_answers_aes256() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let constraint = "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(guard.put("/fresh", &[], constraint).status, 200);
    assert_eq!(guard.s3("GET", "/fresh?encryption", &[]).xml("SSEAlgorithm"), Some("AES256"));
    assert_eq!(guard.s3("HEAD", "/fresh", &[]).header("x-amz-bucket-region"), Some("eu-west-1"));
}

#[test]
fn a_rule_may_carry_only_blocked_encryption_types() {
    let sim = stepped();
    let rule = BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..Default::default() };
    put_bucket(
        &sim,
        PutBucket { name: "b".to_owned(), default_encryption: Some(rule), ..Default::default() },
    );
    let got = Client::new(&sim).s3("GET", "/b?encryption", &[]);
    assert_eq!((got.xml("SSEAlgorithm"), got.xml("EncryptionType")), (None, Some("SSE-C")));
}

#[test]
fn default_encryption_is_stored_as_it_was_put() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let body = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>alias/acme-etl</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>";
    assert_eq!(guard.put("/acme-out?encryption", &[], body).status, 200);
    let got = guard.s3("GET", "/acme-out?encryption", &[]);
    assert_eq!(got.xml("KMSMasterKeyID"), Some("alias/acme-etl"));
    let put = guard.put("/acme-out/x", &[], "x");
    assert_eq!(protection(&put), (200, Some("aws:kms"), Some(KEY)));
}

#[test]
fn a_requests_own_header_beats_the_buckets_default() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let encryption = Some(BucketEncryption::kms(KEY));
    put_bucket(
        &sim,
        PutBucket {
            name: "acme-out".to_owned(),
            default_encryption: encryption,
            ..Default::default()
        },
    );
    guard.put("/acme-out/own", &[(SSE, "AES256")], "x");
    guard.put("/acme-out/default", &[], "x");
    assert_eq!(protection(&guard.s3("HEAD", "/acme-out/own", &[])), (200, Some("AES256"), None));
    assert_eq!(
        protection(&guard.s3("HEAD", "/acme-out/default", &[])),
        (200, Some("aws:kms"), Some(KEY))
    );
}

#[test]
fn kms_without_a_key_means_the_aws_managed_key() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let put = guard.put("/acme-out/x", &[(SSE, "aws:kms")], "x");
    let key = put.header(SSE_KEY).unwrap().to_owned();
    let described = guard.kms("DescribeKey", &json!({"KeyId": key})).json();
    assert_eq!(described["KeyMetadata"]["KeyManager"], "AWS");
    let by_alias = guard.kms("DescribeKey", &json!({"KeyId": "alias/aws/s3"})).json();
    assert_eq!(by_alias["KeyMetadata"]["Arn"], key);
}

#[test]
fn a_write_under_a_missing_or_disabled_key_fails() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let put =
        |key: &str| guard.put("/acme-out/x", &[(SSE, "aws:kms"), (SSE_KEY, key)], "x").error();
    assert_eq!(put("alias/none"), (400, "KMS.NotFoundException".to_owned()));
    let off =
        PutKey { id: "off".to_owned(), state: Some("Disabled".to_owned()), ..Default::default() };
    sim.apply(Command::PutKey(off)).unwrap();
    assert_eq!(put("off"), (400, "KMS.DisabledException".to_owned()));
}

#[test]
fn an_object_from_before_default_encryption_has_no_header_and_one_under_sse_c_no_answer() {
    let sim = stepped();
    let guard = Client::new(&sim);
    put_object(&sim, "old", Some(Sse::None));
    put_object(&sim, "customer", Some(Sse::Customer));
    put_object(&sim, "dual", Some(Sse::Dsse { key: Some(KEY.to_owned()) }));
    put_object(&sim, "plain", None);
    assert_eq!(protection(&guard.s3("HEAD", "/acme-out/old", &[])), (200, None, None));
    let customer = guard.s3("HEAD", "/acme-out/customer", &[]);
    assert_eq!((customer.status, customer.body.as_str()), (400, ""));
    assert_eq!(
        protection(&guard.s3("HEAD", "/acme-out/dual", &[])),
        (200, Some("aws:kms:dsse"), Some(KEY))
    );
    assert_eq!(protection(&guard.s3("HEAD", "/acme-out/plain", &[])), (200, Some("AES256"), None));
}

#[test]
fn a_missing_bucket_or_object_is_404_and_without_a_body_on_head() {
    let sim = stepped();
    let guard = Client::new(&sim);
    for path in ["/nowhere", "/acme-out/nothing"] {
        let got = guard.s3("HEAD", path, &[]);
        assert_eq!((got.status, got.body.as_str()), (404, ""));
    }
    assert_eq!(
        guard.s3("GET", "/nowhere?encryption", &[]).error(),
        (404, "NoSuchBucket".to_owned())
    );
    assert_eq!(guard.s3("GET", "/acme-out/nothing", &[]).error(), (404, "NoSuchKey".to_owned()));
    sim.apply(Command::PutBucket(PutBucket {
        name: "acme-out".to_owned(),
        ..PutBucket::default()
    }))
    .unwrap();
    assert_eq!(
        guard.s3("GET", "/acme-out?policy", &[]).error(),
        (404, "NoSuchBucketPolicy".to_owned())
    );
}

#[test]
fn a_wrong_expected_owner_is_denied_on_any_call() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let wrong = [("x-amz-expected-bucket-owner", "999999999999")];
    let right = [("x-amz-expected-bucket-owner", "123456789012")];
    for (method, path) in
        [("HEAD", "/acme-out"), ("GET", "/acme-out?encryption"), ("GET", "/acme-out?list-type=2")]
    {
        assert_eq!(guard.s3(method, path, &wrong).status, 403);
        assert_eq!(guard.s3(method, path, &right).status, 200);
    }
    assert_eq!(guard.put("/acme-out/x", &wrong, "x").error(), (403, "AccessDenied".to_owned()));
}

#[test]
fn a_policy_that_demands_kms_denies_other_headers_and_none_at_all() {
    let (_sim, guard) =
        with_policy(&json!({"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}));
    let put = |headers: &[(&str, &str)]| guard.put("/acme-out/x", headers, "x").status;
    assert_eq!((put(&[]), put(&[(SSE, "AES256")]), put(&[(SSE, "aws:kms")])), (403, 403, 200));
}

#[test]
fn a_policy_on_a_missing_header_is_about_the_request_not_the_default() {
    let (_sim, guard) = with_policy(&json!({"Null": {"s3:x-amz-server-side-encryption": "true"}}));
    let put = |headers: &[(&str, &str)]| guard.put("/acme-out/x", headers, "x").status;
    assert_eq!((put(&[]), put(&[(SSE, "AES256")])), (403, 200));
}

#[test]
fn a_policy_can_demand_one_key() {
    let (_sim, guard) =
        with_policy(&json!({"StringNotEquals": {SSE_KEY.replace("x-", "s3:x-"): KEY}}));
    let put = |headers: &[(&str, &str)]| guard.put("/acme-out/x", headers, "x").status;
    assert_eq!((put(&[(SSE, "aws:kms")]), put(&[(SSE, "aws:kms"), (SSE_KEY, KEY)])), (403, 200));
}

#[test]
fn a_tls_only_policy_lets_the_simulators_requests_through() {
    let (_sim, guard) = with_policy(&json!({"Bool": {"aws:SecureTransport": "false"}}));
    assert_eq!(guard.put("/acme-out/x", &[], "x").status, 200);
}

#[test]
fn a_policy_the_simulator_cannot_evaluate_is_refused() {
    let sim = stepped();
    let policy = json!({"Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    }]});
    let put = Client::new(&sim).put("/acme-out?policy", &[], &policy.to_string());
    assert_eq!(put.error(), (501, "NotModelled".to_owned()));
    let command =
        PutBucket { name: "acme-out".to_owned(), policy: Some(policy), ..Default::default() };
    assert!(sim.apply(Command::PutBucket(command)).is_err());
}

#[test]
fn a_policy_can_open_a_bucket_to_another_account() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let other = guard.as_key("AKIAOTHER");
    put_object(&sim, "x", None);
    assert_eq!(other.s3("HEAD", "/acme-out/x", &[]).status, 403);
    let policy = json!({"Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::acme-out/*",
    }]});
    assert_eq!(guard.put("/acme-out?policy", &[], &policy.to_string()).status, 204);
    assert_eq!(other.s3("HEAD", "/acme-out/x", &[]).status, 200);
    assert_eq!(guard.s3("GET", "/acme-out?policy", &[]).json(), policy);
}

#[test]
fn lists_come_in_pages_with_folders_counted_once() {
    let sim = stepped();
    let guard = Client::new(&sim);
    for key in ["a/1", "a/2", "b", "c/1", "c/2", "d"] {
        put_object(&sim, key, None);
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let got =
            guard.s3("GET", &format!("/acme-out?list-type=2&delimiter=%2F&max-keys=1{token}"), &[]);
        assert_eq!(got.xml("KeyCount"), Some("1"));
        seen.push(got.xml("Key").or_else(|| got.xml("CommonPrefixes")).unwrap().to_owned());
        match got.xml("NextContinuationToken") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["<Prefix>a/</Prefix>", "b", "<Prefix>c/</Prefix>", "d"]);
    let some = guard.s3("GET", "/acme-out?list-type=2&max-keys=50&prefix=c%2F", &[]);
    assert_eq!((some.xml("KeyCount"), some.xml("IsTruncated")), (Some("2"), Some("false")));
    let none = guard.s3("GET", "/acme-out?list-type=2&prefix=zzz", &[]);
    assert_eq!(none.xml("KeyCount"), Some("0"));
}

#[test]
fn a_later_page_can_be_the_first_one_again_and_end_the_list_or_go_on_for_ever() {
    let sim = stepped();
    let guard = Client::new(&sim);
    for key in ["a", "b", "c"] {
        put_object(&sim, key, None);
    }
    for ends in [true, false] {
        sim.apply(Command::ClearFaults).unwrap();
        let kind = FaultKind::FirstPageAgain { ends };
        sim.apply(Command::AddFault(Fault::every("ListObjectsV2", kind))).unwrap();
        let page = |more: &str| {
            let got = guard.s3("GET", &format!("/acme-out?list-type=2&max-keys=1{more}"), &[]);
            let next = got.xml("NextContinuationToken").map(str::to_owned);
            (got.xml("Key").unwrap().to_owned(), next, got.xml("IsTruncated").unwrap().to_owned())
        };
        let first = page("");
        assert_eq!((first.0.as_str(), first.2.as_str()), ("a", "true"), "the first page is true");
        let next = first.1.clone().unwrap();
        let second = page(&format!("&continuation-token={next}"));
        if ends {
            assert_eq!(second, ("a".to_owned(), None, "false".to_owned()));
        } else {
            assert_eq!(second, first);
        }
    }
}

#[test]
fn a_copy_in_place_needs_a_change_and_takes_the_new_protection() {
    let sim = stepped();
    let guard = Client::new(&sim);
    put_object(&sim, "old", Some(Sse::None));
    let source = ("x-amz-copy-source", "/acme-out/old");
    let unchanged = guard.put("/acme-out/old", &[source], "");
    assert_eq!(unchanged.error(), (400, "InvalidRequest".to_owned()));
    let changed = guard.put("/acme-out/old", &[source, (SSE, "aws:kms"), (SSE_KEY, KEY)], "");
    assert_eq!(protection(&changed), (200, Some("aws:kms"), Some(KEY)));
    let stale = guard.put(
        "/acme-out/old",
        &[source, (SSE, "AES256"), ("x-amz-copy-source-if-match", "\"x\"")],
        "",
    );
    assert_eq!(stale.error(), (412, "PreconditionFailed".to_owned()));
}

#[test]
fn a_payload_in_signed_chunks_is_stored_without_its_framing() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let body =
        "5\r\nhello\r\n6;chunk-signature=0\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let streaming = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("content-encoding", "aws-chunked"),
    ];
    guard.put("/acme-out/x", &streaming, body);
    assert_eq!(guard.s3("GET", "/acme-out/x", &[]).body, "hello world");
    assert_eq!(guard.s3("GET", "/acme-out/x", &[("range", "bytes=-5")]).body, "world");
    assert_eq!(guard.s3("DELETE", "/acme-out/x", &[]).status, 204);
    assert_eq!(guard.s3("HEAD", "/acme-out/x", &[]).status, 404);
}

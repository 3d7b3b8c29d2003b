//! Owns the tests of an account in which nothing is set up, in every partition, and of stops at its
//! writes.

use std::time::Duration;

use emr_simulator::{ANY_WRITE, Command, Fault, FaultKind, SetClock, Simulator};
use serde_json::json;

use crate::iam_writes::{create_role, iam};
use crate::support::{Client, SOON};

/// The scene `empty` with a stepped clock.
fn empty(region: &'static str) -> (Simulator, Client) {
    let sim = Simulator::empty_account(region).unwrap();
    let mode = emr_simulator::ClockMode::Stepped;
    sim.apply(Command::SetClock(SetClock { mode, at: None })).unwrap();
    let guard = Client::new(&sim).in_region(region);
    (sim, guard)
}

#[test]
fn an_empty_account_has_callers_a_network_and_snowplows_buckets_only() {
    let (sim, guard) = empty("eu-west-1");
    sim.with_world(|world| {
        assert!(world.buckets.values().all(|it| it.account != "123456789012"));
        assert!(world.buckets.contains_key("eu-west-1.elasticmapreduce"));
        assert!(world.keys.is_empty() && world.instance_profiles.is_empty());
        assert!(world.security_configurations.is_empty() && world.clusters.is_empty());
        let names: Vec<&str> = world.roles.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["emr-etl-guard"]);
        assert_eq!(world.subnets.len(), 1);
    });
    let arn = "arn:aws:sts::123456789012:assumed-role/emr-etl-guard/emr-etl-guard";
    assert_eq!(guard.form("sts", "Action=GetCallerIdentity").xml("Arn"), Some(arn));
    let asset = "/snowplow-hosted-assets/common/emr/snowplow-ami5-bootstrap-0.1.0.sh";
    assert_eq!(guard.s3("GET", asset, &[]).status, 200);
    assert_eq!(iam(&guard, "GetUser", &[("UserName", "snowplow")]).status, 200);
}

#[test]
fn what_is_made_in_an_empty_account_carries_its_partition() {
    for (region, partition) in
        [("eu-west-1", "aws"), ("cn-northwest-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
    {
        let (sim, guard) = empty(region);
        let caller = guard.form("sts", "Action=GetCallerIdentity");
        assert!(caller.xml("Arn").unwrap().starts_with(&format!("arn:{partition}:sts::")));
        let role = create_role(&guard, "r").xml("Arn").unwrap().to_owned();
        assert_eq!(role, format!("arn:{partition}:iam::123456789012:role/r"));
        let profile = iam(&guard, "CreateInstanceProfile", &[("InstanceProfileName", "r")]);
        let arn = format!("arn:{partition}:iam::123456789012:instance-profile/r");
        assert_eq!(profile.xml("Arn"), Some(arn.as_str()));
        let managed =
            format!("arn:{partition}:iam::aws:policy/service-role/AmazonElasticMapReduceRole");
        let attach = iam(&guard, "AttachRolePolicy", &[("RoleName", "r"), ("PolicyArn", &managed)]);
        assert_eq!(attach.status, 200, "{attach:?}");
        let root = format!("arn:{partition}:iam::123456789012:root");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": [root, role]}, "Action": "kms:*",
            "Resource": "*",
        }]});
        let key = guard.kms("CreateKey", &json!({"Policy": policy.to_string()})).json();
        let arn = key["KeyMetadata"]["Arn"].as_str().unwrap();
        assert!(arn.starts_with(&format!("arn:{partition}:kms:{region}:")), "{arn}");
        let constraint = format!("<LocationConstraint>{region}</LocationConstraint>");
        assert_eq!(guard.put("/new-bucket", &[], &constraint).status, 200);
        let deny = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Deny", "Principal": {"AWS": role}, "Action": "s3:PutObject",
            "Resource": format!("arn:{partition}:s3:::new-bucket/*"),
        }]});
        assert_eq!(guard.put("/new-bucket?policy", &[], &deny.to_string()).status, 204);
        let head = guard.s3("HEAD", "/new-bucket", &[]);
        let bucket = format!("arn:{partition}:s3:::new-bucket");
        assert_eq!(head.header("x-amz-bucket-arn"), Some(bucket.as_str()));
        let network = sim.with_world(|world| world.dhcp_options[0].options["domain-name"].clone());
        assert_eq!(network, [format!("{region}.compute.internal")]);
    }
}

/// Sends three writes and two reads, and stops at the first one without an answer.
fn three_writes(guard: &Client) {
    let patient = guard.patient_for(Duration::from_millis(300));
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    for name in ["a", "b", "c"] {
        let read = format!("Action=GetInstanceProfile&InstanceProfileName={name}");
        let write = format!("Action=CreateInstanceProfile&InstanceProfileName={name}");
        for body in [read, write] {
            if patient
                .send("iam", "POST", "/", &form, &format!("{body}&Version=2010-05-08"))
                .is_err()
            {
                return;
            }
        }
    }
}

#[test]
fn a_fault_can_stop_a_caller_right_before_or_right_after_its_nth_write() {
    for (kind, made) in [(FaultKind::Hang, 1), (FaultKind::AppliedThenHang, 2)] {
        let (sim, guard) = empty("eu-west-1");
        sim.apply(Command::AddFault(Fault::nth(ANY_WRITE, 2, kind))).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| three_writes(&guard));
            // Here a test kills its process.
            let stopped = sim.wait_for_request(|it| it.fault.is_some(), SOON).unwrap();
            assert_eq!(stopped.operation(), "CreateInstanceProfile");
            assert_eq!(stopped.subject.name.as_deref(), Some("b"));
        });
        assert_eq!(sim.with_world(|world| world.instance_profiles.len()), made);
        assert_eq!(sim.requests_for("CreateInstanceProfile").len(), 2);
    }
}

#[test]
fn every_write_of_setup_can_be_denied_by_its_name() {
    let (sim, guard) = empty("eu-west-1");
    let denied = |operation: &str| {
        sim.apply(Command::ClearFaults).unwrap();
        sim.apply(Command::AddFault(Fault::every(operation, FaultKind::AccessDenied))).unwrap();
    };
    for operation in [
        "CreateRole",
        "DeleteRole",
        "AttachRolePolicy",
        "DetachRolePolicy",
        "PutRolePolicy",
        "DeleteRolePolicy",
        "PutUserPolicy",
        "DeleteUserPolicy",
        "CreateInstanceProfile",
        "AddRoleToInstanceProfile",
        "RemoveRoleFromInstanceProfile",
        "DeleteInstanceProfile",
    ] {
        denied(operation);
        assert_eq!(iam(&guard, operation, &[]).error(), (403, "AccessDenied".to_owned()));
    }
    for operation in [
        "CreateKey",
        "PutKeyPolicy",
        "CreateAlias",
        "DeleteAlias",
        "ListAliases",
        "EnableKeyRotation",
        "DisableKeyRotation",
        "ScheduleKeyDeletion",
        "CancelKeyDeletion",
    ] {
        denied(operation);
        let got = guard.kms(operation, &json!({}));
        assert_eq!(got.error(), (400, "AccessDeniedException".to_owned()));
    }
    for operation in ["CreateSecurityConfiguration", "DeleteSecurityConfiguration"] {
        denied(operation);
        let got = guard.emr(operation, &json!({}));
        assert_eq!(got.error(), (400, "AccessDeniedException".to_owned()));
    }
    for (operation, method, what) in [
        ("CreateBucket", "PUT", ""),
        ("DeleteBucket", "DELETE", ""),
        ("PutBucketEncryption", "PUT", "?encryption"),
        ("DeleteBucketEncryption", "DELETE", "?encryption"),
        ("PutBucketPolicy", "PUT", "?policy"),
        ("DeleteBucketPolicy", "DELETE", "?policy"),
        ("GetBucketPolicyStatus", "GET", "?policyStatus"),
        ("PutPublicAccessBlock", "PUT", "?publicAccessBlock"),
        ("DeletePublicAccessBlock", "DELETE", "?publicAccessBlock"),
        ("PutBucketVersioning", "PUT", "?versioning"),
        ("PutBucketTagging", "PUT", "?tagging"),
        ("GetBucketTagging", "GET", "?tagging"),
        ("DeleteBucketTagging", "DELETE", "?tagging"),
    ] {
        denied(operation);
        let got = guard.s3(method, &format!("/snowplow-hosted-assets{what}"), &[]);
        assert_eq!(got.error(), (403, "AccessDenied".to_owned()));
        let last = sim.requests().pop().unwrap();
        assert_eq!((last.operation(), last.fault.is_some()), (operation, true));
    }
}

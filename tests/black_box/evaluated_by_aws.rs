//! Permissions as AWS evaluates them: a good launch is not refused because IAM's simulation lacks
//! the context of a real request, because an organisation's policies prevent the simulation, or
//! because a key is in another account.

use emr_simulator::{
    Command as Set, Grant, PutAccessKey, PutKey, PutObject, PutRole, PutSecurityConfiguration,
    PutUser, SetOrganization, Sse,
};
use serde_json::{Value, json};

use crate::support::{Played, Stage};

const KEY_ID: &str = "11111111-1111-1111-1111-111111111111";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
const NODES: &str = "EMR_EC2_DefaultRole";
const SERVICE: &str = "EMR_DefaultRole";

fn statement(effect: &str, action: &Value, resource: &str, condition: &Value) -> Value {
    let mut statement = json!({"Effect": effect, "Action": action, "Resource": resource});
    if !condition.is_null() {
        statement["Condition"] = condition.clone();
    }
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

/// Adds policies to a role that it needs in addition to S3 and EC2.
fn with_policies(stage: &Stage, role: &str, mut policies: Vec<Value>, boundary: Option<Value>) {
    policies.push(statement("Allow", &json!(["s3:*", "ec2:*"]), "*", &Value::Null));
    stage.set(Set::PutRole(PutRole {
        name: role.to_owned(),
        policies,
        boundary,
        instance_profile: (role == NODES).then(|| role.to_owned()),
        ..Default::default()
    }));
}

/// The status of a check on its only subject.
#[track_caller]
fn status(played: &Played, check: &str) -> String {
    let statuses: Vec<String> = played.findings(check).into_values().collect();
    assert_eq!(statuses.len(), 1, "{check}: {statuses:?}\n{}", played.transcript());
    statuses[0].clone()
}

/// The finding of a check, the first of its kind.
fn finding(played: &Played, check: &str) -> Value {
    let findings = played.report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap().clone()
}

#[track_caller]
fn launched(played: &Played) {
    played.expect_code(0);
    assert!(played.runner_started());
}

fn has_risk(played: &Played, name: &str) -> bool {
    let key =
        ["residual_risks", "residual_risks"].into_iter().find(|key| played.report[key].is_array());
    played.report[key.unwrap()].as_array().unwrap().iter().any(|risk| risk["name"] == name)
}

#[test]
fn conditions_on_what_every_real_call_tells_are_met_in_the_simulation_too() {
    let stage = Stage::acme();
    let kms = json!("kms:*");
    let always = json!({
        "StringEquals": {
            "aws:RequestedRegion": "eu-west-1", "kms:CallerAccount": "123456789012",
            "aws:PrincipalAccount": "123456789012"
        },
        "Bool": {"aws:SecureTransport": "true"},
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/EMR_*"}});
    let mut through_ec2 = always.clone();
    through_ec2["StringEquals"]["kms:ViaService"] = "ec2.eu-west-1.amazonaws.com".into();
    with_policies(&stage, NODES, vec![statement("Allow", &kms, KEY, &always)], None);
    with_policies(&stage, SERVICE, vec![statement("Allow", &kms, KEY, &through_ec2)], None);
    let played = stage.run();
    launched(&played);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "passed");
    assert_eq!(status(&played, "service-role-may-use-key"), "passed");
}

#[test]
fn each_use_of_a_key_is_simulated_through_the_service_that_asks_for_it() {
    // S3 and LUKS both use the key; the role may use it only through S3.
    let stage = Stage::acme();
    let content = json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "EnableInTransitEncryption": false,
    "AtRestEncryptionConfiguration": {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": KEY},
        "LocalDiskEncryptionConfiguration": {
            "EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": KEY
        }}}});
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content,
        ..Default::default()
    }));
    let through_s3 = json!({"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}});
    let policies = vec![statement("Allow", &json!("kms:*"), KEY, &through_s3)];
    with_policies(&stage, NODES, policies, None);
    let stage = stage.option("--require=s3-at-rest,local-disk");
    let played = stage.check();
    played.expect_code(77);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "failed");
}

#[test]
fn a_denial_that_rests_on_what_the_simulation_lacks_is_unknown() {
    let stage = Stage::acme();
    let condition = json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}});
    with_policies(&stage, NODES, vec![statement("Allow", &json!("kms:*"), KEY, &condition)], None);
    let played = stage.run();
    played.expect_code(69);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "unknown");
    let saw = finding(&played, "jobflow-role-may-use-key")["seen"].to_string();
    assert!(saw.contains("which lacks aws:SourceVpce"), "{saw}");
    // A key policy that names the role is sufficient.
    let policy = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"},
    {
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::123456789012:role/{NODES}")},
        "Action": "kms:*", "Resource": "*"
    }]});
    stage.set(Set::PutKey(PutKey {
        id: KEY_ID.to_owned(),
        policy: Some(policy),
        ..Default::default()
    }));
    launched(&stage.run());
}

#[test]
fn a_permissions_boundary_that_does_not_allow_a_key_is_told_by_its_name() {
    let stage = Stage::acme();
    let boundary = statement("Allow", &json!(["s3:*", "ec2:*"]), "*", &Value::Null);
    let policies = vec![statement("Allow", &json!("kms:*"), "*", &Value::Null)];
    with_policies(&stage, NODES, policies, Some(boundary));
    let played = stage.run();
    played.expect_code(77);
    let saw = finding(&played, "jobflow-role-may-use-key")["seen"].to_string();
    assert!(saw.contains("the role's permissions boundary does not allow it"), "{saw}");
}

/// An organisation that allows one region only.
fn region_policy() -> Set {
    let deny = json!({"Statement": [{"Effect": "Deny", "NotAction": ["iam:*", "sts:*"], "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["eu-west-1"]}}},
        {"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    Set::SetOrganization(SetOrganization { policies: vec![deny], ..Default::default() })
}

#[test]
fn a_good_launch_under_an_organisations_region_policy_is_not_refused() {
    let stage = Stage::acme();
    stage.set(region_policy());
    let played = stage.run();
    launched(&played);
    for check in
        ["jobflow-role-may-use-key", "service-role-may-use-key", "jobflow-role-may-read-object"]
    {
        assert_eq!(status(&played, check), "unknown");
    }
    assert!(played.findings("organization-allows").values().any(|status| status == "unknown"));
    assert!(has_risk(&played, "organization-policies"));
    // If the key's policy allows the roles, only the organisation's policies matter.
    let policy = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": [
        format!("arn:aws:iam::123456789012:role/{NODES}"), format!("arn:aws:iam::123456789012:role/{SERVICE}")]}, "Action": "kms:*", "Resource": "*"}]});
    stage.set(Set::PutKey(PutKey {
        id: KEY_ID.to_owned(),
        policy: Some(policy),
        ..Default::default()
    }));
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "passed");
    assert!(played.findings("organization-allows").values().any(|status| status == "unknown"));
}

#[test]
fn in_an_organisation_that_is_not_in_the_way_the_roles_policies_decide() {
    let stage = Stage::acme();
    let policies = vec![statement("Allow", &json!("*"), "*", &Value::Null)];
    stage.set(Set::SetOrganization(SetOrganization { policies, ..Default::default() }));
    let played = stage.check();
    played.expect_code(0);
    let allows = played.findings("organization-allows");
    assert!(allows.len() == 2 && allows.values().all(|status| status == "passed"), "{allows:?}");
    with_policies(&stage, NODES, vec![], None);
    let played = stage.run();
    played.expect_code(77);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "failed");
}

const CENTRAL: &str = "arn:aws:kms:eu-west-1:999999999999:key/22222222-2222-2222-2222-222222222222";

/// A security configuration whose key is in a central account, which allows it to the launching
/// account; the roles have the permission if `allowed`.
fn central(grants: Vec<Grant>, allowed: bool) -> Stage {
    let stage = Stage::acme();
    let policy = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:CreateGrant", "kms:ListGrants", "kms:GetKeyRotationStatus"],
        "Resource": "*"}]});
    stage.set(Set::PutKey(PutKey {
        id: "22222222-2222-2222-2222-222222222222".to_owned(),
        account: Some("999999999999".to_owned()),
        rotation: true,
        policy: Some(policy),
        grants,
        ..Default::default()
    }));
    let content = stage.sim.with_world(|world| {
        let found = world.security_configuration("123456789012", "eu-west-1", "acme-sc").unwrap();
        found.content.replace(KEY, CENTRAL)
    });
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: content.into(),
        ..Default::default()
    }));
    let policies =
        || allowed.then(|| statement("Allow", &json!("kms:*"), CENTRAL, &Value::Null)).into_iter();
    with_policies(&stage, NODES, policies().collect(), None);
    with_policies(&stage, SERVICE, policies().collect(), None);
    stage
}

#[test]
fn a_good_launch_with_a_key_of_a_central_account_is_neither_refused_nor_ended() {
    let stage = central(Vec::new(), true);
    let played = stage.run();
    launched(&played);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
    assert_eq!(stage.by_guard("GetKeyPolicy"), 0, "another account's key policy cannot be read");
    for check in ["jobflow-role-may-use-key", "service-role-may-use-key"] {
        assert_eq!(status(&played, check), "unknown");
        let saw = finding(&played, check)["seen"].to_string();
        assert!(
            saw.contains(
                "the role's policies allow it; the key is one of account \
            999999999999, and only there its policy can be read"
            ),
            "{saw}"
        );
    }
    assert_eq!(status(&played, "kms-key-exists"), "passed");
    assert!(has_risk(&played, "key-policies-of-other-accounts"));
    assert_eq!(status(&played, "cluster-volumes"), "passed");
}

#[test]
fn a_key_of_a_central_account_needs_the_roles_own_policies_and_a_grant_proves_the_other_side() {
    let stage = central(Vec::new(), false);
    let played = stage.run();
    played.expect_code(77);
    let saw = finding(&played, "jobflow-role-may-use-key")["seen"].to_string();
    assert!(
        saw.contains(
            "no policy of the role allows it, which a key of another account \
        (999999999999) needs besides the key's own policy"
        ),
        "{saw}"
    );

    let grant = |role: &str, operations: &[&str]| Grant {
        grantee: format!("arn:aws:iam::123456789012:role/{role}"),
        operations: operations.iter().map(|it| (*it).to_owned()).collect(),
        constraints: None,
    };
    let stage = central(
        vec![
            grant(NODES, &["GenerateDataKey", "Decrypt"]),
            grant(
                SERVICE,
                &[
                    "Encrypt",
                    "Decrypt",
                    "ReEncryptFrom",
                    "ReEncryptTo",
                    "CreateGrant",
                    "GenerateDataKeyWithoutPlaintext",
                    "DescribeKey",
                ],
            ),
        ],
        true,
    );
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "passed");
    assert_eq!(status(&played, "service-role-may-use-key"), "passed");
}

#[test]
fn of_a_key_with_thousands_of_grants_only_the_roles_own_are_read() {
    let stage = Stage::acme();
    with_policies(&stage, NODES, vec![], None);
    let of = |number: u32, grantee: String| Grant {
        grantee,
        operations: vec!["GenerateDataKey".to_owned(), "Decrypt".to_owned()],
        constraints: Some(
            json!({"EncryptionContextSubset": {"aws:ebs:id": format!("vol-{number}")}}),
        ),
    };
    let mut grants: Vec<Grant> =
        (0..4000).map(|number| of(number, "ec2.amazonaws.com".to_owned())).collect();
    grants.push(Grant {
        constraints: None,
        ..of(0, format!("arn:aws:iam::123456789012:role/{NODES}"))
    });
    stage.set(Set::PutKey(PutKey {
        id: KEY_ID.to_owned(),
        rotation: true,
        grants,
        ..Default::default()
    }));
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(status(&played, "jobflow-role-may-use-key"), "passed");
    assert_eq!(stage.by_guard("ListGrants"), 2, "one for each of the two roles");
}

#[test]
fn simulations_of_several_keys_are_one_call() {
    let stage = Stage::acme();
    let keys: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|id| {
            let put = PutKey { id: (*id).to_owned(), rotation: true, ..Default::default() };
            stage.sim.apply(Set::PutKey(put)).unwrap().id.unwrap()
        })
        .collect();
    let overrides: Vec<Value> = [("acme-out", 1), ("acme-archive", 2)]
        .map(|(bucket, key)| {
            json!({
                "BucketName": bucket, "EncryptionMode": "SSE-KMS", "AwsKmsKey": keys[key]
            })
        })
        .into();
    let content = json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "EnableInTransitEncryption": false,
    "AtRestEncryptionConfiguration": {"S3EncryptionConfiguration": {
        "EncryptionMode": "SSE-KMS", "AwsKmsKey": keys[0], "Overrides": overrides
    }}}});
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content,
        ..Default::default()
    }));
    with_policies(
        &stage,
        NODES,
        vec![statement("Allow", &json!("kms:*"), &keys[1], &Value::Null)],
        None,
    );
    let stage = stage.option("--require=s3-at-rest");
    let played = stage.check();
    let found = played.findings("jobflow-role-may-use-key");
    assert_eq!(found[&keys[1]], "passed", "each key by itself\n{}", played.transcript());
    assert_eq!((found[&keys[0]].as_str(), found[&keys[2]].as_str()), ("failed", "failed"));
    let of_keys = stage.sim.requests_for("SimulatePrincipalPolicy");
    let of_keys =
        of_keys.iter().filter(|request| request.access_key.as_deref() == Some("AKIAGUARD"));
    assert_eq!(of_keys.count(), 3, "the keys; the guard's own rights; the runner's");
}

fn runner_may(stage: &Stage, statements: &Value) {
    stage.set(Set::PutUser(PutUser {
        name: "snowplow".to_owned(),
        policies: vec![json!({"Version": "2012-10-17", "Statement": statements})],
        ..Default::default()
    }));
}

#[test]
fn a_runner_that_may_not_tag_clusters_is_told_before_emr_refuses_its_request() {
    let stage = Stage::acme();
    runner_may(
        &stage,
        &json!([{
            "Effect": "Allow", "Action": ["elasticmapreduce:RunJobFlow", "iam:PassRole"],
            "Resource": "*"
        }]),
    );
    let played = stage.run();
    played.expect_code(77);
    assert!(!played.runner_started());
    let found = finding(&played, "runner-may-tag-clusters");
    assert_eq!(found["status"], "failed");
    assert!(
        found["seen"].to_string().contains(
            "no policy allows elasticmapreduce:AddTags to arn:aws:iam::123456789012:user/snowplow"
        ),
        "{found}"
    );
    assert!(found["remediation"].to_string().contains("`run_tag: false`"), "{found}");
    // Without a tag no permission is needed.
    let stage = stage.option("--run-tag=false");
    let played = stage.run();
    launched(&played);
    assert_eq!(status(&played, "runner-may-tag-clusters"), "not-applicable");
}

#[test]
fn a_condition_on_the_tags_keys_can_refuse_the_runs_tag() {
    let tag = |keys: Value| {
        let stage = Stage::acme();
        let condition = json!({"ForAllValues:StringEquals": {"aws:TagKeys": keys}});
        runner_may(
            &stage,
            &json!([{"Effect": "Allow", "Action": "elasticmapreduce:RunJobFlow", "Resource": "*"},
            {
                "Effect": "Allow", "Action": "elasticmapreduce:AddTags", "Resource": "*",
                "Condition": condition
            }]),
        );
        status(&stage.check(), "runner-may-tag-clusters")
    };
    assert_eq!(tag(json!(["team"])), "failed");
    assert_eq!(tag(json!(["emr-etl-guard-run"])), "passed");
}

#[test]
fn what_cannot_be_told_of_the_runners_rights_refuses_nothing() {
    // A federated user, whose policies IAM does not simulate.
    let stage = Stage::acme();
    stage.set(Set::PutAccessKey(PutAccessKey {
        id: "AKIAFAKE".to_owned(),
        arn: "arn:aws:sts::123456789012:federated-user/etl".to_owned(),
        ..Default::default()
    }));
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(status(&played, "runner-may-tag-clusters"), "unknown");
    let stage = Stage::acme();
    stage.set(region_policy());
    let played = stage.check();
    played.expect_code(0);
    assert_eq!(status(&played, "runner-may-tag-clusters"), "unknown");
}

#[test]
fn the_jobflow_role_needs_to_decrypt_under_the_key_of_the_archive_of_certificates() {
    const ARCHIVES: &str =
        "arn:aws:kms:eu-west-1:123456789012:key/44444444-4444-4444-4444-444444444444";
    let with_archive = |policies: Vec<Value>| {
        let stage = Stage::acme();
        stage.set(Set::PutKey(PutKey {
            id: "44444444-4444-4444-4444-444444444444".to_owned(),
            ..Default::default()
        }));
        let archive = stage
            .sim
            .with_world(|world| world.object("acme-etl", "certs/emr.zip").unwrap().body.clone());
        stage.set(Set::PutObject(PutObject {
            bucket: "acme-etl".to_owned(),
            key: "certs/emr.zip".to_owned(),
            bytes: archive,
            sse: Some(Sse::Kms { key: Some(ARCHIVES.to_owned()) }),
            ..Default::default()
        }));
        let always = statement("Allow", &json!("kms:*"), KEY, &Value::Null);
        with_policies(&stage, NODES, [vec![always], policies].concat(), None);
        let played = stage.check();
        let found = played.findings("jobflow-role-may-use-key")[ARCHIVES].clone();
        (found, finding_of(&played, "jobflow-role-may-use-key", ARCHIVES), played.code)
    };
    let (status, finding, code) = with_archive(Vec::new());
    assert_eq!((status.as_str(), code), ("failed", Some(77)), "{finding}");
    assert!(finding["seen"].as_str().unwrap().starts_with("kms:Decrypt: "), "{finding}");
    assert!(finding["expected"].as_str().unwrap().starts_with("kms:Decrypt allowed"), "{finding}");
    // Permission to decrypt is sufficient: nothing is written with it.
    let decrypts = statement("Allow", &json!("kms:Decrypt"), ARCHIVES, &Value::Null);
    let (status, finding, code) = with_archive(vec![decrypts]);
    assert_eq!((status.as_str(), code), ("passed", Some(0)), "{finding}");
}

/// The finding of a check on this subject.
fn finding_of(played: &Played, check: &str, subject: &str) -> Value {
    let findings = played.report["findings"].as_array().unwrap();
    let is_it = |it: &&Value| it["check"] == check && it["subject"] == subject;
    findings.iter().find(is_it).unwrap().clone()
}

#[test]
fn the_tags_of_the_runner_config_are_part_of_the_request_that_is_simulated() {
    let tag = |keys: Value| {
        let stage = Stage::acme().replace("tags: {}", "tags: {team: etl}");
        let condition = json!({
            "ForAllValues:StringEquals": {"aws:TagKeys": keys},
            "StringEquals": {
                "aws:RequestTag/team": "etl", "elasticmapreduce:RequestTag/team": "etl"
            },
        });
        runner_may(
            &stage,
            &json!([{"Effect": "Allow", "Action": "elasticmapreduce:RunJobFlow", "Resource": "*"},
            {
                "Effect": "Allow", "Action": "elasticmapreduce:AddTags", "Resource": "*",
                "Condition": condition
            }]),
        );
        let played = stage.check();
        let found = finding(&played, "runner-may-tag-clusters");
        (status(&played, "runner-may-tag-clusters"), found)
    };
    let (found, _) = tag(json!(["emr-etl-guard-run", "team"]));
    assert_eq!(found, "passed");
    let (found, finding) = tag(json!(["emr-etl-guard-run"]));
    assert_eq!(found, "failed");
    let saw = finding["seen"].as_str().unwrap();
    assert!(saw.ends_with("with the tags' keys team, emr-etl-guard-run"), "{saw}");
    assert!(finding["remediation"].as_str().unwrap().contains("no monitoring.tags"), "{finding}");
}

#[test]
fn tags_of_the_runner_config_alone_need_the_same_permission() {
    let stage = Stage::acme().replace("tags: {}", "tags: {team: etl}").option("--run-tag=false");
    runner_may(
        &stage,
        &json!([{"Effect": "Allow", "Action": "elasticmapreduce:RunJobFlow", "Resource": "*"}]),
    );
    let played = stage.check();
    assert_eq!(status(&played, "runner-may-tag-clusters"), "failed");
}

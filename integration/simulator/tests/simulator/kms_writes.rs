//! Owns the tests of KMS' writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Got, stepped};

fn policy(principal: &Value, action: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": "*"
    }]})
    .to_string()
}

fn create(client: &Client) -> String {
    let made = client.kms("CreateKey", &json!({}));
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn is(got: &Got, code: &str, message: &str) {
    let said = got.json()["message"].clone();
    assert_eq!((got.error(), said), ((400, code.to_owned()), json!(message)));
}

#[test]
fn a_key_is_created_with_tags_and_the_accounts_own_policy() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let tags = json!([{"TagKey": "made-by", "TagValue": "emr-etl-guard"}]);
    let made = guard.kms("CreateKey", &json!({"Description": "etl", "Tags": tags})).json();
    let metadata = &made["KeyMetadata"];
    let arn = metadata["Arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:kms:eu-west-1:123456789012:key/"), "{arn}");
    assert_eq!(
        [&metadata["KeyState"], &metadata["KeySpec"], &metadata["Description"]],
        [&json!("Enabled"), &json!("SYMMETRIC_DEFAULT"), &json!("etl")]
    );
    assert_eq!(guard.kms("ListResourceTags", &json!({"KeyId": arn})).json()["Tags"], tags);
    let policy = guard.kms("GetKeyPolicy", &json!({"KeyId": arn})).json();
    assert!(policy["Policy"].as_str().unwrap().contains("arn:aws:iam::123456789012:root"));
    let status = guard.kms("GetKeyRotationStatus", &json!({"KeyId": arn})).json();
    assert_eq!(status["KeyRotationEnabled"], false);
    let reserved = json!([{"TagKey": "aws:x", "TagValue": "y"}]);
    let got = guard.kms("CreateKey", &json!({"Tags": reserved}));
    is(&got, "TagException", "Tags beginning with aws: are reserved");
}

#[test]
fn a_key_policy_names_existing_principals_and_lets_the_caller_change_it() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let create = |policy: &str| guard.kms("CreateKey", &json!({"Policy": policy}));
    let root = json!("arn:aws:iam::123456789012:root");
    let code = "MalformedPolicyDocumentException";
    let unknown = json!([root, "arn:aws:iam::123456789012:role/nobody"]);
    let message = "Policy contains a statement with one or more invalid principals.";
    is(&create(&policy(&unknown, "kms:*")), code, message);
    let elsewhere = json!("arn:aws-cn:iam::123456789012:root");
    is(&create(&policy(&elsewhere, "kms:*")), code, message);
    // The role's path is part of its ARN.
    let pathless = json!("arn:aws:iam::123456789012:role/emr-etl-guard");
    is(&create(&policy(&pathless, "kms:*")), code, message);
    let locked = policy(&root, "kms:Decrypt");
    let message = "The new key policy will not allow you to update the key policy in the future.";
    is(&create(&locked), code, message);
    let other = policy(&json!("arn:aws:iam::123456789012:user/snowplow"), "kms:*");
    is(&create(&other), code, message);
    let own = policy(&json!("arn:aws:iam::123456789012:role/etl/emr-etl-guard"), "kms:*");
    assert_eq!(create(&own).status, 200, "a session is its role, whose path its ARN lacks");
    let bypass = json!({"Policy": locked, "BypassPolicyLockoutSafetyCheck": true});
    assert_eq!(guard.kms("CreateKey", &bypass).status, 200);
    let nobody = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "kms:*", "Resource": "*"
    }]});
    let message = "Policy contains a statement with no principal.";
    is(&create(&nobody.to_string()), code, message);
    is(&create("{"), code, "Invalid JSON");
    let mut long: Value = serde_json::from_str(&policy(&root, "kms:*")).unwrap();
    long["Id"] = json!("a".repeat(32_768));
    let message = "Key policy is larger than 32768 bytes";
    is(&create(&long.to_string()), "LimitExceededException", message);
    // Statements without actions or resources have no effect, but are accepted.
    let mut vague: Value = serde_json::from_str(&policy(&root, "kms:*")).unwrap();
    vague["Statement"][0].as_object_mut().unwrap().remove("Resource");
    let message = "The new key policy will not allow you to update the key policy in the future.";
    is(&create(&vague.to_string()), code, message);
    let mut idle: Value = serde_json::from_str(&policy(&root, "kms:*")).unwrap();
    let extra = json!({"Sid": "No effect", "Effect": "Allow", "Principal": {"AWS": root}});
    idle["Statement"].as_array_mut().unwrap().push(extra);
    assert_eq!(create(&idle.to_string()).status, 200);
}

#[test]
fn a_key_policy_is_replaced_only_by_one_that_a_new_key_could_have() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = create(&guard);
    let put = |policy: &str| guard.kms("PutKeyPolicy", &json!({"KeyId": id, "Policy": policy}));
    let read = || {
        let got = guard.kms("GetKeyPolicy", &json!({"KeyId": id})).json();
        serde_json::from_str::<Value>(got["Policy"].as_str().unwrap()).unwrap()
    };
    let before = read();
    let nobody = json!("arn:aws:iam::123456789012:user/nobody");
    assert_eq!(put(&policy(&nobody, "kms:*")).error().1, "MalformedPolicyDocumentException");
    assert_eq!(read(), before);
    let got = put(&policy(&json!(["123456789012"]), "kms:*"));
    assert_eq!((got.status, got.body.as_str()), (200, ""));
    let principal = &read()["Statement"][0]["Principal"];
    assert_eq!(principal, &json!({"AWS": "arn:aws:iam::123456789012:root"}));
    let other = guard.as_key("AKIAOTHER");
    let arn = format!("arn:aws:kms:eu-west-1:123456789012:key/{id}");
    let got = other.kms("PutKeyPolicy", &json!({"KeyId": arn, "Policy": policy(&nobody, "*")}));
    assert_eq!(got.error().1, "AccessDeniedException");
}

#[test]
fn a_key_is_changed_only_by_those_whom_its_policy_allows_to() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let own = policy(&json!("arn:aws:iam::123456789012:role/etl/emr-etl-guard"), "kms:*");
    let made = guard.kms("CreateKey", &json!({"Policy": own})).json();
    let key = json!({"KeyId": made["KeyMetadata"]["KeyId"]});
    let runner = guard.as_key("AKIAFAKE");
    for operation in ["EnableKeyRotation", "ScheduleKeyDeletion", "DisableKey", "PutKeyPolicy"] {
        let denied = runner.kms(operation, &key);
        assert_eq!(denied.error(), (400, "AccessDeniedException".to_owned()), "{operation}");
    }
    let alias = json!({"AliasName": "alias/x", "TargetKeyId": key["KeyId"]});
    assert_eq!(runner.kms("CreateAlias", &alias).error().1, "AccessDeniedException");
    assert_eq!(guard.kms("CreateAlias", &alias).status, 200);
    assert_eq!(guard.kms("EnableKeyRotation", &key).status, 200);
}

#[test]
fn an_alias_leads_to_its_key_and_is_taken_only_once() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = create(&guard);
    let alias = |name: &str, target: &str| {
        guard.kms("CreateAlias", &json!({"AliasName": name, "TargetKeyId": target}))
    };
    assert_eq!(alias("alias/etl/new", &id).status, 200);
    let found = guard.kms("DescribeKey", &json!({"KeyId": "alias/etl/new"})).json();
    assert_eq!(found["KeyMetadata"]["KeyId"], id.as_str());
    let message = "An alias with the name \
        arn:aws:kms:eu-west-1:123456789012:alias/acme-etl already exists";
    is(&alias("alias/acme-etl", &id), "AlreadyExistsException", message);
    assert_eq!(alias("alias/aws/etl", &id).error().1, "NotAuthorizedException");
    assert_eq!(alias("etl", &id).error().1, "ValidationException");
    let message = "alias/e.t.l contains invalid characters for an alias";
    is(&alias("alias/e.t.l", &id), "ValidationException", message);
    let message = "Aliases must refer to keys. Not aliases";
    is(&alias("alias/x", "alias/etl/new"), "ValidationException", message);
    assert_eq!(alias("alias/x", "nothing").error().1, "NotFoundException");
    let delete = || guard.kms("DeleteAlias", &json!({"AliasName": "alias/etl/new"}));
    assert_eq!(delete().status, 200);
    let message = "Alias arn:aws:kms:eu-west-1:123456789012:alias/etl/new is not found.";
    is(&delete(), "NotFoundException", message);
}

#[test]
fn aliases_are_listed_in_pages_with_those_of_aws_that_have_no_key() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = create(&guard);
    for number in 0..3 {
        let name = format!("alias/many-{number}");
        guard.kms("CreateAlias", &json!({"AliasName": name, "TargetKeyId": id}));
    }
    let mut names = Vec::new();
    let mut body = json!({"Limit": 2});
    loop {
        let page = guard.kms("ListAliases", &body).json();
        let listed = page["Aliases"].as_array().unwrap();
        assert!(listed.len() <= 2);
        names.extend(listed.iter().map(|it| it["AliasName"].as_str().unwrap().to_owned()));
        if page["Truncated"] == false {
            break;
        }
        body["Marker"] = page["NextMarker"].clone();
    }
    let aws = ["alias/aws/ebs", "alias/aws/s3"];
    assert_eq!(names[1..3], aws);
    assert_eq!(names.len(), 6);
    let all = guard.kms("ListAliases", &json!({})).json();
    assert_eq!(all["Aliases"][1]["TargetKeyId"], Value::Null);
    let own = guard.kms("ListAliases", &json!({"KeyId": id})).json();
    assert_eq!(own["Aliases"].as_array().unwrap().len(), 3);
    assert_eq!(own["Aliases"][0]["TargetKeyId"], id.as_str());
}

#[test]
fn rotation_is_switched_on_and_off_but_not_of_keys_that_are_off() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = create(&guard);
    let key = json!({"KeyId": id});
    let call = |operation: &str| guard.kms(operation, &key);
    let rotates = || call("GetKeyRotationStatus").json()["KeyRotationEnabled"] == true;
    assert_eq!((call("EnableKeyRotation").status, rotates()), (200, true));
    assert_eq!((call("DisableKeyRotation").status, rotates()), (200, false));
    assert_eq!(call("DisableKey").status, 200);
    assert_eq!(call("EnableKeyRotation").error().1, "DisabledException");
    assert_eq!((call("EnableKey").status, call("EnableKeyRotation").status), (200, 200));
    let by_alias = guard.kms("EnableKeyRotation", &json!({"KeyId": "alias/acme-etl"}));
    assert_eq!(by_alias.error().1, "NotFoundException");
}

#[test]
fn a_scheduled_deletion_can_be_cancelled_until_it_happens() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = create(&guard);
    let key = json!({"KeyId": id});
    let call = |operation: &str| guard.kms(operation, &key);
    let schedule = |days: u32| {
        let body = json!({"KeyId": id, "PendingWindowInDays": days});
        guard.kms("ScheduleKeyDeletion", &body)
    };
    let state = || call("DescribeKey").json()["KeyMetadata"]["KeyState"].clone();
    assert_eq!(schedule(6).error().1, "ValidationException");
    assert_eq!(schedule(31).error().1, "ValidationException");
    assert_eq!(schedule(7).json()["KeyState"], "PendingDeletion");
    assert!(call("DescribeKey").json()["KeyMetadata"]["DeletionDate"].is_f64());
    let message = format!("arn:aws:kms:eu-west-1:123456789012:key/{id} is pending deletion.");
    for operation in ["ScheduleKeyDeletion", "EnableKeyRotation", "EnableKey", "DisableKey"] {
        is(&call(operation), "KMSInvalidStateException", &message);
    }
    let alias = json!({"AliasName": "alias/late", "TargetKeyId": id});
    is(&guard.kms("CreateAlias", &alias), "KMSInvalidStateException", &message);
    assert_eq!((call("CancelKeyDeletion").status, state()), (200, json!("Disabled")));
    assert_eq!(call("CancelKeyDeletion").error().1, "KMSInvalidStateException");
    assert_eq!(schedule(7).status, 200);
    sim.advance(Duration::from_hours(7 * 24));
    assert_eq!(call("DescribeKey").error().1, "NotFoundException");
}

#[test]
fn a_key_that_aws_manages_cannot_be_changed() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let sse = [("x-amz-server-side-encryption", "aws:kms")];
    guard.put("/acme-out/x", &sse, "x");
    let found = guard.kms("DescribeKey", &json!({"KeyId": "alias/aws/s3"})).json();
    let key = json!({"KeyId": found["KeyMetadata"]["KeyId"]});
    for operation in ["ScheduleKeyDeletion", "DisableKeyRotation", "DisableKey"] {
        assert_eq!(guard.kms(operation, &key).error().1, "AccessDeniedException");
    }
}

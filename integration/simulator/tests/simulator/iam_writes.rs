//! Owns the tests of IAM's writes.

use emr_simulator::{Command, PrincipalDelay, Simulator};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::{Client, Got, stepped};

/// An `AssumeRolePolicyDocument` for a service.
fn trust(service: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"
    }]})
}

fn allow(action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": action, "Resource": "*"
    }]})
}

/// A call with parameters. Their values are encoded here.
pub(crate) fn iam(client: &Client, action: &str, parameters: &[(&str, &str)]) -> Got {
    let encode = |value| utf8_percent_encode(value, NON_ALPHANUMERIC);
    let mut form = vec![format!("Action={action}")];
    form.extend(parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))));
    client.form("iam", &form.join("&"))
}

pub(crate) fn create_role(client: &Client, name: &str) -> Got {
    let trust = trust("ec2.amazonaws.com").to_string();
    iam(client, "CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", &trust)])
}

fn error(got: &Got) -> (u16, String, String) {
    let (status, code) = got.error();
    (status, code, got.xml("Message").unwrap_or_default().replace("&quot;", "\""))
}

fn is(got: &Got, status: u16, code: &str, message: &str) {
    assert_eq!(error(got), (status, code.to_owned(), message.to_owned()));
}

fn here() -> (Simulator, Client) {
    let sim = stepped();
    let guard = Client::new(&sim);
    (sim, guard)
}

#[test]
fn a_role_is_created_with_path_tags_and_an_id_of_its_own_and_only_once() {
    let (_sim, guard) = here();
    let trust = trust("elasticmapreduce.amazonaws.com").to_string();
    let parameters = [
        ("RoleName", "etl"),
        ("Path", "/etl/"),
        ("AssumeRolePolicyDocument", trust.as_str()),
        ("Tags.member.1.Key", "made-by"),
        ("Tags.member.1.Value", "emr-etl-guard"),
    ];
    let made = iam(&guard, "CreateRole", &parameters);
    assert_eq!(made.xml("Arn"), Some("arn:aws:iam::123456789012:role/etl/etl"));
    let read = iam(&guard, "GetRole", &[("RoleName", "etl")]);
    assert_eq!(read.xml("RoleId"), made.xml("RoleId"));
    assert_eq!((read.xml("Key"), read.xml("Value")), (Some("made-by"), Some("emr-etl-guard")));
    assert!(read.xml("AssumeRolePolicyDocument").unwrap().contains("elasticmapreduce"));
    let again = iam(&guard, "CreateRole", &parameters);
    is(&again, 409, "EntityAlreadyExists", "Role with name etl already exists.");
    let other_case = create_role(&guard, "ETL");
    is(&other_case, 409, "EntityAlreadyExists", "Role with name ETL already exists.");
    let first = made.xml("RoleId").map(str::to_owned);
    assert_eq!(iam(&guard, "DeleteRole", &[("RoleName", "etl")]).status, 200);
    let again = iam(&guard, "CreateRole", &parameters);
    assert_ne!(again.xml("RoleId").map(str::to_owned), first);
}

#[test]
fn a_trust_policy_that_aws_would_not_store_is_refused() {
    let (_sim, guard) = here();
    let create = |document: &str| {
        iam(&guard, "CreateRole", &[("RoleName", "r"), ("AssumeRolePolicyDocument", document)])
    };
    let malformed = "MalformedPolicyDocument";
    is(&create("{"), 400, malformed, "This policy contains invalid Json");
    let with = |member: &str, value: Value| {
        let mut document = trust("ec2.amazonaws.com");
        document["Statement"][0][member] = value;
        create(&document.to_string())
    };
    is(&with("Resource", json!("*")), 400, malformed, "Has prohibited field Resource");
    let nobody = json!({"AWS": "arn:aws:iam::123456789012:role/nobody"});
    let message = "Invalid principal in policy: \"AWS\":\"arn:aws:iam::123456789012:role/nobody\"";
    is(&with("Principal", nobody), 400, malformed, message);
    let service = json!({"Service": "ec2.example.com"});
    let message = "Invalid principal in policy: \"SERVICE\":\"ec2.example.com\"";
    is(&with("Principal", service), 400, malformed, message);
    let message = "AssumeRole policy may only specify STS AssumeRole actions.";
    is(&with("Action", json!("s3:GetObject")), 400, malformed, message);
    let long = with("Sid", json!("a".repeat(2048)));
    is(&long, 409, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048");
    assert_eq!(iam(&guard, "GetRole", &[("RoleName", "r")]).status, 404);
}

#[test]
fn a_role_is_deleted_only_when_nothing_is_left_of_it() {
    let (_sim, guard) = here();
    let conflict = |message: &str| {
        let got = iam(&guard, "DeleteRole", &[("RoleName", "r")]);
        is(&got, 409, "DeleteConflict", message);
    };
    create_role(&guard, "r");
    let policy = allow("s3:GetObject").to_string();
    let arn = "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole";
    let inline = [("RoleName", "r"), ("PolicyName", "p"), ("PolicyDocument", policy.as_str())];
    assert_eq!(iam(&guard, "PutRolePolicy", &inline).status, 200);
    let attached = [("RoleName", "r"), ("PolicyArn", arn)];
    assert_eq!(iam(&guard, "AttachRolePolicy", &attached).status, 200);
    iam(&guard, "CreateInstanceProfile", &[("InstanceProfileName", "p")]);
    let member = [("InstanceProfileName", "p"), ("RoleName", "r")];
    assert_eq!(iam(&guard, "AddRoleToInstanceProfile", &member).status, 200);
    conflict("Cannot delete entity, must remove roles from instance profile first.");
    assert_eq!(iam(&guard, "RemoveRoleFromInstanceProfile", &member).status, 200);
    conflict("Cannot delete entity, must detach all policies first.");
    assert_eq!(iam(&guard, "DetachRolePolicy", &attached).status, 200);
    conflict("Cannot delete entity, must delete policies first.");
    assert_eq!(iam(&guard, "DeleteRolePolicy", &inline[..2]).status, 200);
    assert_eq!(iam(&guard, "DeleteRole", &[("RoleName", "r")]).status, 200);
    let gone = iam(&guard, "DeleteRole", &[("RoleName", "r")]);
    is(&gone, 404, "NoSuchEntity", "The role with name r cannot be found.");
}

#[test]
fn a_deleted_role_is_named_by_its_id_in_the_policies_that_named_it() {
    let (_sim, guard) = here();
    let made = create_role(&guard, "r");
    let (arn, id) = (made.xml("Arn").unwrap(), made.xml("RoleId").unwrap());
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::acme-out/*",
    }]});
    assert_eq!(guard.put("/acme-out?policy", &[], &policy.to_string()).status, 204);
    assert_eq!(iam(&guard, "DeleteRole", &[("RoleName", "r")]).status, 200);
    create_role(&guard, "r");
    let read = guard.s3("GET", "/acme-out?policy", &[]).body;
    assert!(read.contains(id) && !read.contains(arn), "{read}");
    // This id belongs to no role any more.
    let put = guard.put("/acme-out?policy", &[], &read);
    assert_eq!(put.error(), (400, "MalformedPolicy".to_owned()));
}

#[test]
fn an_inline_policy_is_put_read_listed_replaced_and_deleted() {
    let (_sim, guard) = here();
    for (kind, holder, name) in
        [("Role", "RoleName", "emr-etl-guard"), ("User", "UserName", "snowplow")]
    {
        let call = |verb: &str, more: &[(&str, &str)]| {
            let all = [&[(holder, name)], more].concat();
            let operation = match verb {
                "List" => format!("List{kind}Policies"),
                verb => format!("{verb}{kind}Policy"),
            };
            iam(&guard, &operation, &all)
        };
        let named = ("PolicyName", "setup");
        let put =
            |document: &Value| call("Put", &[named, ("PolicyDocument", &document.to_string())]);
        assert_eq!(put(&allow("kms:Decrypt")).status, 200);
        assert_eq!(put(&allow("kms:Encrypt")).status, 200);
        let read = call("Get", &[named]);
        assert_eq!((read.xml(holder), read.xml("PolicyName")), (Some(name), Some("setup")));
        assert!(read.xml("PolicyDocument").unwrap().contains("kms%3AEncrypt"));
        assert_eq!(call("List", &[]).body.matches("<member>").count(), 2);
        assert_eq!(call("List", &[("MaxItems", "1")]).xml("Marker"), Some("1"));
        assert_eq!(call("Delete", &[named]).status, 200);
        let word = kind.to_ascii_lowercase();
        let message = format!("The {word} policy with name setup cannot be found.");
        is(&call("Get", &[named]), 404, "NoSuchEntity", &message);
        is(&call("Delete", &[named]), 404, "NoSuchEntity", &message);
    }
}

#[test]
fn inline_policies_have_a_grammar_and_a_size_together() {
    let (_sim, guard) = here();
    let put = |user: &str, name: &str, document: &str| {
        let parameters = [("UserName", user), ("PolicyName", name), ("PolicyDocument", document)];
        iam(&guard, "PutUserPolicy", &parameters)
    };
    let malformed = "MalformedPolicyDocument";
    is(&put("snowplow", "p", "[]"), 400, malformed, "Syntax errors in policy.");
    let mut named = allow("s3:*");
    named["Statement"][0]["Principal"] = json!("*");
    let message = "Policy document should not specify a principal.";
    is(&put("snowplow", "p", &named.to_string()), 400, malformed, message);
    let mut sid = allow("s3:*");
    sid["Statement"][0]["Sid"] = json!("emr-etl-guard");
    let message = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the \
        regular expression [0-9A-Za-z]*";
    is(&put("snowplow", "p", &sid.to_string()), 400, malformed, message);
    let half = allow(&format!("s3:{}", "a".repeat(1000)));
    // White space does not count.
    let spaced = serde_json::to_string_pretty(&half).unwrap() + &" ".repeat(2000);
    assert_eq!(put("snowplow", "one", &spaced).status, 200);
    let message = "Maximum policy size of 2048 bytes exceeded for user snowplow";
    is(&put("snowplow", "two", &half.to_string()), 409, "LimitExceeded", message);
    assert_eq!(put("snowplow", "one", &half.to_string()).status, 200, "it replaces itself");
    let message = "The user with name nobody cannot be found.";
    is(&put("nobody", "p", &half.to_string()), 404, "NoSuchEntity", message);
    let large = allow(&format!("s3:{}", "a".repeat(10_240))).to_string();
    let parameters =
        [("RoleName", "emr-etl-guard"), ("PolicyName", "p"), ("PolicyDocument", large.as_str())];
    let message = "Maximum policy size of 10240 bytes exceeded for role emr-etl-guard";
    is(&iam(&guard, "PutRolePolicy", &parameters), 409, "LimitExceeded", message);
}

#[test]
fn a_simulation_sees_what_was_put_and_attached() {
    let (_sim, guard) = here();
    let made = create_role(&guard, "r");
    let arn = made.xml("Arn").unwrap();
    let decision = |action: &str| {
        let parameters = [("PolicySourceArn", arn), ("ActionNames.member.1", action)];
        let got = iam(&guard, "SimulatePrincipalPolicy", &parameters);
        got.xml("EvalDecision").unwrap().to_owned()
    };
    assert_eq!(decision("kms:Decrypt"), "implicitDeny");
    let policy = allow("kms:Decrypt").to_string();
    let parameters = [("RoleName", "r"), ("PolicyName", "p"), ("PolicyDocument", policy.as_str())];
    iam(&guard, "PutRolePolicy", &parameters);
    assert_eq!(decision("kms:Decrypt"), "allowed");
    assert_eq!(decision("s3:GetObject"), "implicitDeny");
    let managed = "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceforEC2Role";
    iam(&guard, "AttachRolePolicy", &[("RoleName", "r"), ("PolicyArn", managed)]);
    assert_eq!(decision("s3:GetObject"), "allowed");
}

#[test]
fn only_managed_policies_that_exist_are_attached_and_attaching_twice_changes_nothing() {
    let (_sim, guard) = here();
    create_role(&guard, "r");
    let attach =
        |arn: &str| iam(&guard, "AttachRolePolicy", &[("RoleName", "r"), ("PolicyArn", arn)]);
    let arn = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2";
    assert_eq!((attach(arn).status, attach(arn).status), (200, 200));
    let listed = iam(&guard, "ListAttachedRolePolicies", &[("RoleName", "r")]);
    assert_eq!(listed.body.matches("<PolicyArn>").count(), 1);
    assert_eq!(listed.xml("PolicyName"), Some("AmazonEMRServicePolicy_v2"));
    let read = iam(&guard, "GetPolicyVersion", &[("PolicyArn", arn), ("VersionId", "v1")]);
    assert!(read.xml("Document").unwrap().contains("RunInstances"));
    let unknown = "arn:aws:iam::aws:policy/Nothing";
    let message = format!("Policy {unknown} does not exist or is not attachable.");
    is(&attach(unknown), 404, "NoSuchEntity", &message);
    let elsewhere = arn.replace("arn:aws:", "arn:aws-cn:");
    let message = format!("Policy {elsewhere} does not exist or is not attachable.");
    is(&attach(&elsewhere), 404, "NoSuchEntity", &message);
    is(&attach("Nothing"), 400, "ValidationError", "Invalid ARN:  Could not be parsed!");
    let detach = iam(&guard, "DetachRolePolicy", &[("RoleName", "r"), ("PolicyArn", unknown)]);
    is(&detach, 404, "NoSuchEntity", &format!("Policy {unknown} was not found."));
}

#[test]
fn an_instance_profile_holds_one_role_and_is_deleted_empty() {
    let (_sim, guard) = here();
    create_role(&guard, "r");
    create_role(&guard, "s");
    let create = || iam(&guard, "CreateInstanceProfile", &[("InstanceProfileName", "p")]);
    assert_eq!(create().xml("Arn"), Some("arn:aws:iam::123456789012:instance-profile/p"));
    is(&create(), 409, "EntityAlreadyExists", "Instance Profile p already exists.");
    let with = |action: &str, role: &str| {
        iam(&guard, action, &[("InstanceProfileName", "p"), ("RoleName", role)])
    };
    assert_eq!(with("AddRoleToInstanceProfile", "r").status, 200);
    let message = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1";
    is(&with("AddRoleToInstanceProfile", "s"), 409, "LimitExceeded", message);
    let read = iam(&guard, "GetInstanceProfile", &[("InstanceProfileName", "p")]);
    assert_eq!(read.xml("RoleName"), Some("r"));
    let delete = || iam(&guard, "DeleteInstanceProfile", &[("InstanceProfileName", "p")]);
    let message = "Cannot delete entity, must remove roles from instance profile first.";
    is(&delete(), 409, "DeleteConflict", message);
    assert_eq!(with("RemoveRoleFromInstanceProfile", "r").status, 200);
    assert_eq!(delete().status, 200);
    is(&delete(), 404, "NoSuchEntity", "Instance Profile p cannot be found.");
}

#[test]
fn a_user_is_read_by_name_or_as_the_caller() {
    let (_sim, guard) = here();
    let arn = Some("arn:aws:iam::123456789012:user/snowplow");
    assert_eq!(iam(&guard, "GetUser", &[("UserName", "snowplow")]).xml("Arn"), arn);
    assert_eq!(iam(&guard.as_key("AKIAFAKE"), "GetUser", &[]).xml("Arn"), arn);
    let message = "Must specify userName when calling with non-User credentials";
    is(&iam(&guard, "GetUser", &[]), 400, "ValidationError", message);
}

#[test]
fn a_new_role_is_unknown_to_other_services_for_a_while_if_the_test_asks_for_it() {
    let (sim, guard) = here();
    sim.apply(Command::SetPrincipalDelay(PrincipalDelay { seconds: 10.0 })).unwrap();
    let arn = create_role(&guard, "r").xml("Arn").unwrap().to_owned();
    iam(&guard, "CreateInstanceProfile", &[("InstanceProfileName", "r")]);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "kms:*",
            "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "kms:Decrypt", "Resource": "*"},
    ]});
    let key = || guard.kms("CreateKey", &json!({"Policy": policy.to_string()}));
    let bucket_policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::acme-out/*",
    }]});
    let bucket = || guard.put("/acme-out?policy", &[], &bucket_policy.to_string());
    let cluster = || {
        let body = json!({"Name": "x", "Instances": {}, "JobFlowRole": "r", "ServiceRole": "r"});
        guard.emr("RunJobFlow", &body)
    };
    assert_eq!(iam(&guard, "GetRole", &[("RoleName", "r")]).status, 200, "IAM knows it at once");
    assert_eq!(key().error(), (400, "MalformedPolicyDocumentException".to_owned()));
    assert_eq!(bucket().error(), (400, "MalformedPolicy".to_owned()));
    assert_eq!(cluster().json()["message"], "Invalid InstanceProfile: r.");
    sim.advance(std::time::Duration::from_secs(10));
    assert_eq!((key().status, bucket().status, cluster().status), (200, 204, 200));
}

//! Owns the tests of KMS, IAM and EC2.

use emr_simulator::{AttachedPolicy, Command, Grant, PutKey, PutRole, SetOrganization};
use serde_json::{Value, json};

use crate::support::{Client, Got, stepped};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

fn allow(action: &str, resource: &str) -> Value {
    json!({"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})
}

/// The decisions of a simulation, in its order.
fn decisions(got: &Got) -> Vec<&str> {
    got.body.split("<EvalDecision>").skip(1).filter_map(|it| it.split('<').next()).collect()
}

#[test]
fn a_key_is_found_by_id_arn_alias_and_alias_arn() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let names = [
        "11111111-1111-1111-1111-111111111111",
        KEY,
        "alias/acme-etl",
        "arn:aws:kms:eu-west-1:123456789012:alias/acme-etl",
    ];
    for name in names {
        let metadata =
            guard.kms("DescribeKey", &json!({"KeyId": name})).json()["KeyMetadata"].clone();
        assert_eq!(metadata["Arn"], KEY);
        assert_eq!(
            (&metadata["KeyState"], &metadata["KeySpec"]),
            (&json!("Enabled"), &json!("SYMMETRIC_DEFAULT"))
        );
    }
    for name in [
        "alias/none",
        "22222222-1111-1111-1111-111111111111",
        &KEY.replace("eu-west-1", "us-east-1"),
    ] {
        let got = guard.kms("DescribeKey", &json!({"KeyId": name}));
        assert_eq!(got.error(), (400, "NotFoundException".to_owned()), "{name}");
    }
}

#[test]
fn only_describe_key_takes_an_alias() {
    let sim = stepped();
    let guard = Client::new(&sim);
    for operation in ["GetKeyPolicy", "ListGrants", "GetKeyRotationStatus"] {
        assert_eq!(
            guard.kms(operation, &json!({"KeyId": "alias/acme-etl"})).error().1,
            "NotFoundException"
        );
        assert_eq!(guard.kms(operation, &json!({"KeyId": KEY})).status, 200);
    }
}

#[test]
fn a_keys_state_policy_and_grants_are_what_was_put() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let grant = Grant {
        grantee: "arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole".to_owned(),
        operations: vec!["GenerateDataKey".to_owned()],
        constraints: None,
    };
    let put = PutKey {
        id: "k".to_owned(),
        state: Some("PendingDeletion".to_owned()),
        multi_region: true,
        policy: Some(allow("kms:*", "*")),
        grants: vec![grant],
        ..Default::default()
    };
    sim.apply(Command::PutKey(put)).unwrap();
    let metadata = guard.kms("DescribeKey", &json!({"KeyId": "k"})).json()["KeyMetadata"].clone();
    assert_eq!(
        (&metadata["KeyState"], &metadata["MultiRegion"]),
        (&json!("PendingDeletion"), &json!(true))
    );
    let policy = guard.kms("GetKeyPolicy", &json!({"KeyId": "k"})).json()["Policy"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(serde_json::from_str::<Value>(&policy).unwrap(), allow("kms:*", "*"));
    let grants = guard.kms("ListGrants", &json!({"KeyId": "k"})).json();
    assert_eq!(grants["Grants"][0]["Operations"], json!(["GenerateDataKey"]));
}

#[test]
fn another_accounts_key_shows_itself_only_to_those_its_policy_allows() {
    let sim = stepped();
    let other = Client::new(&sim).as_key("AKIAOTHER");
    let describe = || other.kms("DescribeKey", &json!({"KeyId": KEY}));
    assert_eq!(describe().error(), (400, "AccessDeniedException".to_owned()));
    let policy = json!({"Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
        "Action": "kms:DescribeKey",
        "Resource": "*",
    }]});
    let id = "11111111-1111-1111-1111-111111111111".to_owned();
    sim.apply(Command::PutKey(PutKey { id, policy: Some(policy), ..Default::default() })).unwrap();
    assert_eq!(describe().status, 200);
    assert_eq!(
        other.kms("GetKeyPolicy", &json!({"KeyId": KEY})).error().1,
        "AccessDeniedException"
    );
}

#[test]
fn an_instance_profile_leads_to_its_role_and_the_roles_policies() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let profile =
        guard.form("iam", "Action=GetInstanceProfile&InstanceProfileName=EMR_EC2_DefaultRole");
    assert_eq!(profile.xml("RoleName"), Some("EMR_EC2_DefaultRole"));
    let names = guard.form("iam", "Action=ListRolePolicies&RoleName=EMR_EC2_DefaultRole");
    assert_eq!(names.xml("member"), Some("inline-1"));
    let policy =
        guard.form("iam", "Action=GetRolePolicy&RoleName=EMR_EC2_DefaultRole&PolicyName=inline-1");
    assert!(policy.xml("PolicyDocument").unwrap().contains("kms%3AGenerateDataKey"));
    let nobody = guard.form("iam", "Action=GetInstanceProfile&InstanceProfileName=nobody");
    assert_eq!(nobody.error(), (404, "NoSuchEntity".to_owned()));
}

#[test]
fn an_attached_policy_is_read_by_its_default_version() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let arn = "arn:aws:iam::123456789012:policy/emr-kms";
    let attached =
        vec![AttachedPolicy { arn: arn.to_owned(), document: allow("kms:Decrypt", "*") }];
    sim.apply(Command::PutRole(PutRole { name: "r".to_owned(), attached, ..Default::default() }))
        .unwrap();
    let listed = guard.form("iam", "Action=ListAttachedRolePolicies&RoleName=r");
    assert_eq!(listed.xml("PolicyArn"), Some(arn));
    let policy = guard.form("iam", &format!("Action=GetPolicy&PolicyArn={arn}"));
    assert_eq!(policy.xml("DefaultVersionId"), Some("v1"));
    let version =
        guard.form("iam", &format!("Action=GetPolicyVersion&PolicyArn={arn}&VersionId=v1"));
    assert!(version.xml("Document").unwrap().contains("kms%3ADecrypt"));
}

#[test]
fn a_simulation_allows_denies_and_says_nothing_as_the_roles_policies_do() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let policies = vec![
        allow("kms:Generate*", KEY),
        json!({"Statement": {
            "Effect": "Deny", "Action": "kms:GenerateDataKeyPair", "Resource": "*"
        }}),
    ];
    let boundary = Some(allow("kms:*", "*"));
    let put = PutRole { name: "r".to_owned(), policies, boundary, ..Default::default() };
    sim.apply(Command::PutRole(put)).unwrap();
    let ask = |role: &str| {
        guard.form(
            "iam",
            &format!(
                "Action=SimulatePrincipalPolicy&PolicySourceArn=arn:aws:iam::123456789012:role/{role}&ActionNames.member.1=kms:GenerateDataKey&ActionNames.member.2=kms:GenerateDataKeyPair&ActionNames.member.3=kms:Decrypt&ResourceArns.member.1={KEY}"
            ),
        )
    };
    assert_eq!(decisions(&ask("r")), ["allowed", "explicitDeny", "implicitDeny"]);
    assert_eq!(ask("nobody").error(), (404, "NoSuchEntity".to_owned()));
    let bounded = PutRole {
        name: "r".to_owned(),
        policies: vec![allow("*", "*")],
        boundary: Some(allow("s3:*", "*")),
        ..Default::default()
    };
    sim.apply(Command::PutRole(bounded)).unwrap();
    assert_eq!(decisions(&ask("r")), ["implicitDeny"; 3]);
}

#[test]
fn a_simulation_knows_what_it_is_told_and_says_of_each_resource_what_it_lacks() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let condition = json!({"Statement": [
    {
        "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
        "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}
    },
    {
        "Effect": "Allow", "Action": "s3:*", "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "true"}}
    }]});
    let put = PutRole { name: "r".to_owned(), policies: vec![condition], ..Default::default() };
    sim.apply(Command::PutRole(put)).unwrap();
    let ask = |more: &str| {
        let query = "Action=SimulatePrincipalPolicy&PolicySourceArn=arn:aws:iam::123456789012:role/r&ActionNames.member.1=kms:Decrypt";
        guard.form("iam", &format!("{query}{more}"))
    };
    let resources = "&ResourceArns.member.1=arn:a&ResourceArns.member.2=arn:b";
    let got = ask(resources);
    assert_eq!(decisions(&got), ["implicitDeny"], "one result for an action");
    let (above, specific) = got.body.split_once("<ResourceSpecificResults>").unwrap();
    assert!(!above.contains("aws:RequestedRegion"));
    assert_eq!(specific.matches("<member>aws:RequestedRegion</member>").count(), 2);
    assert!(!got.body.contains("aws:SecureTransport"), "no statement about the action asks for it");
    let any = ask("");
    assert!(any.body.contains("<member>aws:RequestedRegion</member>"));
    assert!(!any.body.contains("ResourceSpecificResults"));
    let told = "&ContextEntries.member.1.ContextKeyName=aws:RequestedRegion&ContextEntries.member.1.ContextKeyType=string&ContextEntries.member.1.ContextKeyValues.member.1=eu-west-1";
    let got = ask(&format!("{resources}{told}"));
    assert_eq!(decisions(&got), ["allowed"]);
    assert!(!got.body.contains("OrganizationsDecisionDetail"), "the account is part of none");
    // The simulation cannot evaluate conditions of an organisation's policies on global keys.
    let policies = vec![
        allow("*", "*"),
        json!({"Statement": [{"Effect": "Deny", "NotAction": "iam:*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}},
            {"Effect": "Allow", "Action": "*", "Resource": "*"}]}),
    ];
    sim.apply(Command::SetOrganization(SetOrganization { policies, ..Default::default() }))
        .unwrap();
    let got = ask(&format!("{resources}{told}"));
    assert_eq!(decisions(&got), ["implicitDeny"]);
    assert!(got.body.contains("<AllowedByOrganizations>false</AllowedByOrganizations>"));
}

#[test]
fn grants_come_in_pages_and_can_be_those_of_one_grantee() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let grant = |number: u32, grantee: &str| Grant {
        grantee: grantee.to_owned(),
        operations: vec![format!("Operation{number}")],
        constraints: None,
    };
    let mut grants: Vec<Grant> = (0..120).map(|number| grant(number, "ec2")).collect();
    grants.push(grant(121, "role"));
    sim.apply(Command::PutKey(PutKey { id: "k".to_owned(), grants, ..Default::default() }))
        .unwrap();
    let list = |more: Value| {
        let mut asked = json!({"KeyId": "k"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        guard.kms("ListGrants", &asked)
    };
    let page = list(json!({})).json();
    assert_eq!((page["Grants"].as_array().unwrap().len(), &page["Truncated"]), (50, &json!(true)));
    let end = list(json!({"Limit": 100, "Marker": "marker-100"})).json();
    assert_eq!((end["Grants"].as_array().unwrap().len(), &end["Truncated"]), (21, &json!(false)));
    let own = list(json!({"GranteePrincipal": "role"})).json();
    assert_eq!(own["Grants"].as_array().unwrap().len(), 1);
    assert_eq!(list(json!({"Limit": 101})).error().1, "ValidationException");
}

#[test]
fn the_scenes_roles_have_the_rights_that_encryption_needs() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let ask = |role: &str, action: &str| {
        let got = guard.form(
            "iam",
            &format!(
                "Action=SimulatePrincipalPolicy&PolicySourceArn=arn:aws:iam::123456789012:role/{role}&ActionNames.member.1={action}&ResourceArns.member.1={KEY}"
            ),
        );
        decisions(&got).join(" ")
    };
    assert_eq!(ask("EMR_EC2_DefaultRole", "kms:GenerateDataKey"), "allowed");
    assert_eq!(ask("EMR_EC2_DefaultRole", "kms:Decrypt"), "allowed");
    assert_eq!(ask("EMR_DefaultRole", "kms:CreateGrant"), "allowed");
    assert_eq!(ask("EMR_DefaultRole", "kms:ScheduleKeyDeletion"), "implicitDeny");
}

#[test]
fn a_subnet_leads_to_its_vpc_dns_and_dhcp_options() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let subnet = guard.form("ec2", "Action=DescribeSubnets&SubnetId.1=subnet-0123456789abcdef0");
    let vpc = subnet.xml("vpcId").unwrap();
    for attribute in ["enableDnsSupport", "enableDnsHostnames"] {
        let got = guard
            .form("ec2", &format!("Action=DescribeVpcAttribute&VpcId={vpc}&Attribute={attribute}"));
        assert_eq!(got.xml(attribute), Some("<value>true</value>"));
    }
    let found = guard.form("ec2", &format!("Action=DescribeVpcs&VpcId.1={vpc}"));
    let options = found.xml("dhcpOptionsId").unwrap();
    let options =
        guard.form("ec2", &format!("Action=DescribeDhcpOptions&DhcpOptionsId.1={options}"));
    assert!(options.body.contains("<value>eu-west-1.compute.internal</value>"));
    assert!(options.body.contains("<value>AmazonProvidedDNS</value>"));
    let missing = guard.form("ec2", "Action=DescribeSubnets&SubnetId.1=subnet-1");
    assert_eq!(missing.error(), (400, "InvalidSubnetID.NotFound".to_owned()));
}

//! The calls that the guard makes, and those for which no recording exists.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::contracts::fixture::Fixture;

/// A call: its name in AWS, and the permission that allows it.
pub(super) type Name = (String, String);

/// Every call in `base::aws_calls`, parsed from the source text so that none is missed.
pub(super) fn made() -> BTreeSet<Name> {
    let text = include_str!("../base/aws_calls.rs");
    let call = Regex::new(r#"call\(\s*"(\w+)",\s*"([a-z0-9]+:\w+)",\s*Resource::"#).unwrap();
    let statics = text.matches(": Call =").count();
    let made: BTreeSet<Name> =
        call.captures_iter(text).map(|it| (it[1].to_owned(), it[2].to_owned())).collect();
    assert_eq!(made.len(), statics, "a call is written in another form, or twice");
    made
}

/// The calls for which no published answer was found, and why.
pub(super) const NOT_RECORDED: &[(&str, &str, &str)] = &[
    ("CreateJob", "s3:CreateJob", NO_BATCH),
    ("DescribeJob", "s3:DescribeJob", NO_BATCH),
    ("ListJobs", "s3:ListJobs", NO_BATCH),
    ("UpdateJobStatus", "s3:UpdateJobStatus", NO_BATCH),
    ("UpdateObjectEncryption", "s3:UpdateObjectEncryption", TOO_NEW),
    ("ListObjectAnnotations", "s3:ListObjectAnnotations", TOO_NEW),
    (
        "SetTerminationProtection",
        "elasticmapreduce:SetTerminationProtection",
        "No public suite records it; its answer holds nothing.",
    ),
    (
        "ListSteps",
        "elasticmapreduce:ListSteps",
        "Public suites record no cluster with steps; AWS's examples show DescribeStep alone.",
    ),
    (
        "DeleteMessage",
        "sqs:DeleteMessage",
        "Its answer holds nothing that is read: a message that stays does no harm.",
    ),
    ("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", SETUP_READS),
    ("PutRolePolicy", "iam:PutRolePolicy", SETUP_WRITES),
    ("PutUserPolicy", "iam:PutUserPolicy", SETUP_WRITES),
    ("DeleteUserPolicy", "iam:DeleteUserPolicy", SETUP_WRITES),
    ("DisableKeyRotation", "kms:DisableKeyRotation", SETUP_WRITES),
    ("PutBucketVersioning", "s3:PutBucketVersioning", SETUP_WRITES),
    ("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", SETUP_WRITES),
    ("CreateTopic", "sns:CreateTopic", SETUP_WRITES),
    ("GetTopicAttributes", "sns:GetTopicAttributes", SETUP_READS),
    ("SetTopicAttributes", "sns:SetTopicAttributes", SETUP_WRITES),
    ("DeleteTopic", "sns:DeleteTopic", SETUP_WRITES),
    ("CreateQueue", "sqs:CreateQueue", SETUP_WRITES),
    ("GetQueueUrl", "sqs:GetQueueUrl", SETUP_READS),
    ("GetQueueAttributes", "sqs:GetQueueAttributes", SETUP_READS),
    ("SetQueueAttributes", "sqs:SetQueueAttributes", SETUP_WRITES),
    ("DeleteQueue", "sqs:DeleteQueue", SETUP_WRITES),
    ("PutRule", "events:PutRule", SETUP_WRITES),
    ("DescribeRule", "events:DescribeRule", SETUP_READS),
    ("PutTargets", "events:PutTargets", SETUP_WRITES),
    ("ListTargetsByRule", "events:ListTargetsByRule", SETUP_READS),
    ("RemoveTargets", "events:RemoveTargets", SETUP_WRITES),
    ("DeleteRule", "events:DeleteRule", SETUP_WRITES),
    ("DescribeRegions", "ec2:DescribeRegions", NO_REGIONS),
];

const SETUP_WRITES: &str =
    "What it changed is looked at again afterwards, whatever its own answer says.";
const SETUP_READS: &str =
    "No public suite that was looked at records it; its form is that of the SDK's model.";

const NO_REGIONS: &str = "No public suite that was looked at records it; its form is that of the \
    example in the EC2 API reference.";
const NO_BATCH: &str =
    "No public suite makes jobs of S3 Batch Operations: LocalStack has none, and they cost money.";
const TOO_NEW: &str = "The call is newer than the public suites.";

pub(super) fn recorded(fixtures: &[Fixture]) -> BTreeMap<Name, Vec<&Fixture>> {
    let mut recorded: BTreeMap<Name, Vec<&Fixture>> = BTreeMap::new();
    for fixture in fixtures {
        let name = (fixture.operation.clone(), fixture.permission.clone());
        recorded.entry(name).or_default().push(fixture);
    }
    recorded
}

#[test]
fn each_call_has_an_answer_that_aws_gave_or_a_reason_why_none_is_known() {
    let (made, fixtures) = (made(), Fixture::all());
    let recorded = recorded(&fixtures);
    let excepted: BTreeSet<Name> = NOT_RECORDED
        .iter()
        .map(|(operation, permission, _)| ((*operation).to_owned(), (*permission).to_owned()))
        .collect();
    assert_eq!(excepted.len(), NOT_RECORDED.len(), "a call is named twice");
    let mut wrong = Vec::new();
    for call in &made {
        match (recorded.contains_key(call), excepted.contains(call)) {
            (false, false) => wrong.push(format!("{call:?} has no fixture and no reason")),
            (true, true) => wrong.push(format!("{call:?} has a fixture and a reason for none")),
            _ => {}
        }
    }
    for call in recorded.keys().chain(&excepted) {
        if !made.contains(call) {
            wrong.push(format!("{call:?} is no call that the guard makes"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

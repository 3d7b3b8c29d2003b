//! The IAM policy of `setup`: what a plan looks at, and what carrying it out, taking it back and
//! rotating certificates change.

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls::{self, Call, Resource},
        names::partition,
    },
    permissions::policy::{LaunchScope, document, pre_flight_calls},
};

/// The calls of `setup` in addition to those of `check`.
static SETUP: [&Call; 43] = [
    &aws_calls::GET_BUCKET_POLICY_STATUS,
    &aws_calls::GET_BUCKET_WEBSITE,
    &aws_calls::GET_BUCKET_VERSIONING,
    &aws_calls::GET_OBJECT_LOCK_CONFIGURATION,
    &aws_calls::GET_ROLE_POLICY,
    &aws_calls::GET_USER_POLICY,
    &aws_calls::LIST_ATTACHED_ROLE_POLICIES,
    &aws_calls::LIST_ROLE_POLICIES,
    &aws_calls::LIST_INSTANCE_PROFILES_FOR_ROLE,
    &aws_calls::LIST_KEYS,
    &aws_calls::LIST_RESOURCE_TAGS,
    &aws_calls::LIST_SECURITY_CONFIGURATIONS,
    &aws_calls::LIST_OBJECT_VERSIONS,
    &aws_calls::LIST_MULTIPART_UPLOADS,
    &aws_calls::HEAD_VERSION,
    &aws_calls::CREATE_ROLE,
    &aws_calls::ATTACH_ROLE_POLICY,
    &aws_calls::DETACH_ROLE_POLICY,
    &aws_calls::DELETE_ROLE,
    &aws_calls::PUT_ROLE_POLICY,
    &aws_calls::DELETE_ROLE_POLICY,
    &aws_calls::PUT_USER_POLICY,
    &aws_calls::DELETE_USER_POLICY,
    &aws_calls::CREATE_INSTANCE_PROFILE,
    &aws_calls::ADD_ROLE_TO_INSTANCE_PROFILE,
    &aws_calls::REMOVE_ROLE_FROM_INSTANCE_PROFILE,
    &aws_calls::DELETE_INSTANCE_PROFILE,
    &aws_calls::CREATE_KEY,
    &aws_calls::CREATE_ALIAS,
    &aws_calls::ENABLE_KEY_ROTATION,
    &aws_calls::DISABLE_KEY_ROTATION,
    &aws_calls::PUT_KEY_POLICY,
    &aws_calls::CREATE_BUCKET,
    &aws_calls::PUT_BUCKET_VERSIONING,
    &aws_calls::PUT_OBJECT_LOCK_CONFIGURATION,
    &aws_calls::DELETE_BUCKET,
    &aws_calls::PUT_BUCKET_ENCRYPTION,
    &aws_calls::PUT_PUBLIC_ACCESS_BLOCK,
    &aws_calls::PUT_BUCKET_POLICY,
    &aws_calls::DELETE_BUCKET_POLICY,
    &aws_calls::PUT_OBJECT,
    &aws_calls::CREATE_SECURITY_CONFIGURATION,
    &aws_calls::DELETE_SECURITY_CONFIGURATION,
];

/// The calls on the topic for alerts, on the queue with the events of EMR, and on its rule.
static NOTIFICATIONS: [&Call; 15] = [
    &aws_calls::CREATE_TOPIC,
    &aws_calls::GET_TOPIC_ATTRIBUTES,
    &aws_calls::SET_TOPIC_ATTRIBUTES,
    &aws_calls::DELETE_TOPIC,
    &aws_calls::CREATE_QUEUE,
    &aws_calls::GET_QUEUE_URL,
    &aws_calls::GET_QUEUE_ATTRIBUTES,
    &aws_calls::SET_QUEUE_ATTRIBUTES,
    &aws_calls::DELETE_QUEUE,
    &aws_calls::PUT_RULE,
    &aws_calls::DESCRIBE_RULE,
    &aws_calls::PUT_TARGETS,
    &aws_calls::LIST_TARGETS_BY_RULE,
    &aws_calls::REMOVE_TARGETS,
    &aws_calls::DELETE_RULE,
];

/// Permissions that those calls also need: the tag of a new key, the role of an instance profile,
/// and the key of the certificate archive.
static ALONG: [(&str, Resource); 5] = [
    ("kms:TagResource", Resource::Key),
    ("iam:PassRole", Resource::Role),
    ("kms:GenerateDataKey", Resource::Key),
    ("kms:Decrypt", Resource::Key),
    ("s3:DeleteObject", Resource::Object),
];

/// The policy document of `setup` with all of its options, for pieces whose names start with
/// `name`.
pub(crate) fn policy(launch: Option<LaunchScope<'_>>, name: &str) -> Value {
    let calls = pre_flight_calls().chain(SETUP.iter().chain(&NOTIFICATIONS).copied());
    let needed = calls.map(|call| (call.permission, call.on)).chain(ALONG.iter().copied());
    let mut document = document(needed, launch, None);
    let region = launch.map_or("*", |launch| launch.cluster.region.value.as_str());
    let partition = launch.map_or("aws", |launch| partition(&launch.cluster.region.value));
    let own = [
        ("S3Bucket", format!("arn:{partition}:s3:::{name}-certificates-*")),
        ("S3Bucket", format!("arn:{partition}:s3:::{name}-evidence-*")),
        ("KmsKey", format!("arn:{partition}:kms:{region}:*:alias/{name}")),
    ];
    for statement in document["Statement"].as_array_mut().into_iter().flatten() {
        for (sid, resource) in &own {
            if statement["Sid"] == *sid
                && let Some(resources) = statement["Resource"].as_array_mut()
            {
                resources.push(json!(resource));
            }
        }
        // Of these, only the own ones are touched.
        for (sid, resource) in [
            ("SnsTopic", format!("arn:{partition}:sns:{region}:*:{name}-alerts")),
            ("SqsQueue", format!("arn:{partition}:sqs:{region}:*:{name}-emr-events")),
            (
                "EventsEventRule",
                format!("arn:{partition}:events:{region}:*:rule/{name}-emr-events"),
            ),
        ] {
            if statement["Sid"] == sid {
                statement["Resource"] = json!([resource]);
            }
        }
    }
    document
}

/// The calls of `setup --sentinel`. Those on clusters say whether anything uses the role that is
/// taken back.
static SENTINEL: [&Call; 14] = [
    &aws_calls::GET_CALLER_IDENTITY,
    &aws_calls::GET_ROLE,
    &aws_calls::LIST_ATTACHED_ROLE_POLICIES,
    &aws_calls::GET_ROLE_POLICY,
    &aws_calls::LIST_ROLE_POLICIES,
    &aws_calls::LIST_INSTANCE_PROFILES_FOR_ROLE,
    &aws_calls::CREATE_ROLE,
    &aws_calls::DELETE_ROLE,
    &aws_calls::PUT_ROLE_POLICY,
    &aws_calls::DELETE_ROLE_POLICY,
    &aws_calls::GET_TOPIC_ATTRIBUTES,
    &aws_calls::DESCRIBE_ALARMS,
    &aws_calls::PUT_METRIC_ALARM,
    &aws_calls::DELETE_ALARMS,
];

/// The calls by which an undo sees whether a live cluster uses a role.
static CLUSTERS: [&Call; 3] =
    [&aws_calls::LIST_CLUSTERS, &aws_calls::DESCRIBE_CLUSTER, &aws_calls::GET_INSTANCE_PROFILE];

/// The policy document of `setup --sentinel` in an account and a region of a partition, each of
/// which may be `*`: for a role with this path and name, and a queue with this name.
pub(crate) fn of_sentinel(
    (partition, region, account): (&str, &str, &str),
    name: &str,
    role: &str,
) -> Value {
    let of_queue = |call: &&&Call| matches!(call.on, Resource::Queue | Resource::EventRule);
    let calls = SENTINEL.iter().chain(&CLUSTERS).chain(NOTIFICATIONS.iter().filter(of_queue));
    let mut document = document(calls.map(|call| (call.permission, call.on)), None, None);
    let arn = |service: &str, resource: &str| {
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    };
    let own = [
        ("IamRole", format!("arn:{partition}:iam::{account}:role/{role}")),
        ("IamInstanceProfile", format!("arn:{partition}:iam::{account}:instance-profile/*")),
        ("SnsTopic", format!("arn:{partition}:sns:{region}:*:*")),
        ("SqsQueue", arn("sqs", name)),
        ("EventsEventRule", arn("events", &format!("rule/{name}"))),
        ("CloudWatchAlarm", arn("cloudwatch", &format!("alarm:{name}-*"))),
        ("EmrCluster", arn("elasticmapreduce", "cluster/*")),
    ];
    for statement in document["Statement"].as_array_mut().into_iter().flatten() {
        for (sid, resource) in &own {
            if statement["Sid"] == *sid {
                statement["Resource"] = json!([resource]);
            }
        }
    }
    document
}

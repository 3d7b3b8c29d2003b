//! The IAM policies that the guard's credentials need: every call that decides a check, and the
//! calls that terminate an unsafe cluster, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls::{self, Call, Resource},
        names::{S3Location, partition},
    },
    checks::{catalogue::CATALOGUE, finding::Stage},
    settings::{destination::Destination, evidence_options::EvidenceOptions, sign_key::KeyName},
    spec::{cluster_spec::ClusterSpec, data_paths::DataLocation},
};

/// What a policy is scoped to: one launch's cluster and S3 locations.
#[derive(Clone, Copy)]
pub(crate) struct LaunchScope<'a> {
    pub(crate) cluster: &'a ClusterSpec,
    pub(crate) locations: &'a [DataLocation],
}

/// The settings on which a policy depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermissionOptions<'a> {
    /// The topic to which alerts are published.
    pub(crate) topic: Option<&'a str>,
    /// The URL of the queue with the events of EMR.
    pub(crate) queue: Option<&'a str>,
    pub(crate) evidence: &'a EvidenceOptions,
    /// The keys that the encryption policy requires.
    pub(crate) expected_keys: &'a [String],
}

/// Every call that the guard can make, with any settings.
fn calls() -> impl Iterator<Item = &'static Call> {
    let of_checks = CATALOGUE.iter().flat_map(|check| check.asks.iter().copied());
    of_checks.chain([&aws_calls::TERMINATE_JOB_FLOWS, &aws_calls::SET_TERMINATION_PROTECTION])
}

/// Every call that decides a check before a launch.
pub(super) fn pre_flight_calls() -> impl Iterator<Item = &'static Call> {
    let pre_flight = CATALOGUE.iter().filter(|check| check.stage == Stage::PreFlight);
    pre_flight.flat_map(|check| check.asks.iter().copied())
}

/// Every call of the command `audit`.
static AUDIT: [&Call; 7] = [
    &aws_calls::HEAD_BUCKET,
    &aws_calls::LIST_OBJECTS,
    &aws_calls::LIST_OBJECT_VERSIONS,
    &aws_calls::HEAD_OBJECT,
    &aws_calls::HEAD_VERSION,
    &aws_calls::GET_OBJECT,
    &aws_calls::DESCRIBE_KEY,
];

/// The policy document for checks and runs. It is limited to the buckets, roles and regions of
/// `launch`, if there is one. It includes what signing and delivering documents needs by `options`.
pub(crate) fn policy(
    launch: Option<LaunchScope<'_>>,
    options: Option<PermissionOptions<'_>>,
) -> Value {
    let topic = options.and_then(|options| options.topic).map(|_| &aws_calls::PUBLISH);
    let queue = options.and_then(|options| options.queue);
    let events = queue.map(|_| [&aws_calls::RECEIVE_MESSAGE, &aws_calls::DELETE_MESSAGE]);
    let calls = calls().chain(topic).chain(events.into_iter().flatten());
    let mut document = document(calls.map(|call| (call.permission, call.on)), launch, options);
    if let Some(statements) = document["Statement"].as_array_mut() {
        let region = launch.map_or("*", |launch| launch.cluster.region.value.as_str());
        let partition = launch.map_or("aws", |launch| partition(&launch.cluster.region.value));
        statements.extend([certificate_bucket(partition), certificate_key(&[region], partition)]);
    }
    document
}

/// The statement for the bucket of the certificate archive that a security configuration names.
/// Only AWS knows its location, and the runner config need not name its bucket. The settings can
/// name a security configuration if the runner config does not.
fn certificate_bucket(partition: &str) -> Value {
    let actions = [aws_calls::HEAD_BUCKET.permission, aws_calls::GET_BUCKET_POLICY.permission];
    json!({"Sid": "CertificateBucket", "Effect": "Allow", "Action": actions, "Resource": [format!("arn:{partition}:s3:::*")]})
}

/// The statement for the key of that archive, if it is under SSE-KMS. Reading the archive itself is
/// allowed with other objects. S3 calls KMS with the reader's identity.
pub(super) fn certificate_key(regions: &[&str], partition: &str) -> Value {
    let keys: Vec<String> =
        regions.iter().map(|region| format!("arn:{partition}:kms:{region}:*:key/*")).collect();
    json!({
        "Sid": "CertificateKey",
        "Effect": "Allow",
        "Action": ["kms:Decrypt"],
        "Resource": keys,
        // It is `.amazonaws.com` in all partitions. Source: AWS KMS developer guide,
        // kms:ViaService.
        "Condition": {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}},
    })
}

/// The policy document for the command `audit` alone, which needs fewer permissions.
pub(crate) fn audit_policy(launch: Option<LaunchScope<'_>>) -> Value {
    document(AUDIT.iter().map(|call| (call.permission, call.on)), launch, None)
}

/// The policy document of the command `reencrypt` with all of its options.
pub(crate) fn reencrypt(launch: Option<LaunchScope<'_>>) -> Value {
    document(
        REENCRYPT.iter().map(|call| (call.permission, call.on)).chain(ALONG.iter().copied()),
        launch,
        None,
    )
}

/// The calls of `reencrypt`.
static REENCRYPT: [&Call; 38] = [
    &aws_calls::GET_CALLER_IDENTITY,
    &aws_calls::LIST_CLUSTERS,
    &aws_calls::DESCRIBE_SECURITY_CONFIGURATION,
    &aws_calls::DESCRIBE_KEY,
    &aws_calls::HEAD_BUCKET,
    &aws_calls::GET_BUCKET_ENCRYPTION,
    &aws_calls::GET_BUCKET_VERSIONING,
    &aws_calls::GET_BUCKET_OWNERSHIP_CONTROLS,
    &aws_calls::GET_BUCKET_WEBSITE,
    &aws_calls::GET_BUCKET_NOTIFICATION_CONFIGURATION,
    &aws_calls::GET_BUCKET_REPLICATION,
    &aws_calls::GET_BUCKET_LIFECYCLE_CONFIGURATION,
    &aws_calls::GET_BUCKET_REQUEST_PAYMENT,
    &aws_calls::GET_OBJECT_LOCK_CONFIGURATION,
    &aws_calls::LIST_OBJECTS,
    &aws_calls::LIST_OBJECT_VERSIONS,
    &aws_calls::HEAD_OBJECT,
    &aws_calls::GET_OBJECT,
    &aws_calls::GET_OBJECT_TAGGING,
    &aws_calls::GET_OBJECT_ACL,
    &aws_calls::GET_OBJECT_RETENTION,
    &aws_calls::GET_OBJECT_LEGAL_HOLD,
    &aws_calls::LIST_OBJECT_ANNOTATIONS,
    &aws_calls::COPY_OBJECT,
    &aws_calls::UPDATE_OBJECT_ENCRYPTION,
    &aws_calls::CREATE_MULTIPART_UPLOAD,
    &aws_calls::UPLOAD_PART_COPY,
    &aws_calls::LIST_PARTS,
    &aws_calls::LIST_MULTIPART_UPLOADS,
    &aws_calls::COMPLETE_MULTIPART_UPLOAD,
    &aws_calls::ABORT_MULTIPART_UPLOAD,
    &aws_calls::RESTORE_OBJECT,
    &aws_calls::DELETE_OBJECT_VERSION,
    &aws_calls::PUT_OBJECT,
    &aws_calls::CREATE_JOB,
    &aws_calls::DESCRIBE_JOB,
    &aws_calls::LIST_JOBS,
    &aws_calls::UPDATE_JOB_STATUS,
];

/// Permissions that those calls also need, for tags and retention of objects, for versions, and for
/// keys.
static ALONG: [(&str, Resource); 15] = [
    ("s3:GetObjectVersion", Resource::Object),
    ("s3:GetObjectVersionTagging", Resource::Object),
    ("s3:GetObjectVersionAcl", Resource::Object),
    ("s3:PutObjectTagging", Resource::Object),
    ("s3:PutObjectAcl", Resource::Object),
    ("s3:PutObjectRetention", Resource::Object),
    ("s3:PutObjectLegalHold", Resource::Object),
    ("s3:GetObjectAnnotation", Resource::Object),
    ("s3:PutObjectAnnotation", Resource::Object),
    ("kms:Decrypt", Resource::Key),
    ("kms:Encrypt", Resource::Key),
    ("kms:GenerateDataKey", Resource::Key),
    ("kms:ReEncryptFrom", Resource::Key),
    ("kms:ReEncryptTo", Resource::Key),
    // `reencrypt` passes the role of the batch jobs to S3.
    ("iam:PassRole", Resource::Role),
];

pub(super) fn document(
    needed: impl Iterator<Item = (&'static str, Resource)>,
    launch: Option<LaunchScope<'_>>,
    options: Option<PermissionOptions<'_>>,
) -> Value {
    let mut actions: BTreeMap<(&str, Resource), BTreeSet<&str>> = BTreeMap::new();
    for (permission, on) in needed {
        let service = permission.split(':').next().unwrap_or_default();
        actions.entry((service, on)).or_default().insert(permission);
    }
    let statements = actions
        .into_iter()
        .map(|((service, on), actions)| json!({"Sid": sid(service, on), "Effect": "Allow", "Action": actions, "Resource": resources(on, launch, options)}))
        .chain(options.into_iter().flat_map(|options| evidence(launch, options)));
    json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<Value>>()})
}

/// The statements that evidence needs: a key to sign with, and locations in S3.
fn evidence(launch: Option<LaunchScope<'_>>, options: PermissionOptions<'_>) -> Vec<Value> {
    let partition = launch.map_or("aws", |launch| partition(&launch.cluster.region.value));
    let key = |name: &str| {
        if name.starts_with("arn:") && name.contains(":key/") {
            name.to_owned()
        } else {
            format!("arn:{partition}:kms:*:*:key/*")
        }
    };
    let mut statements = Vec::new();
    if let Some(KeyName::Kms(name)) = &options.evidence.sign_key {
        let actions = [aws_calls::GET_PUBLIC_KEY.permission, aws_calls::SIGN.permission];
        statements.push(json!({"Sid": "EvidenceSign", "Effect": "Allow", "Action": actions, "Resource": [key(name)]}));
    }
    let places: Vec<&S3Location> =
        options.evidence.destinations.iter().filter_map(Destination::in_s3).collect();
    if places.is_empty() {
        return statements;
    }
    let buckets: BTreeSet<String> =
        places.iter().map(|place| format!("arn:{partition}:s3:::{}", place.bucket)).collect();
    let objects: BTreeSet<String> = places
        .iter()
        .map(|place| format!("arn:{partition}:s3:::{}/{}*", place.bucket, place.prefix))
        .collect();
    let actions =
        [aws_calls::HEAD_BUCKET.permission, aws_calls::GET_OBJECT_LOCK_CONFIGURATION.permission];
    statements.push(
        json!({"Sid": "EvidenceBucket", "Effect": "Allow", "Action": actions, "Resource": buckets}),
    );
    let actions = [aws_calls::PUT_OBJECT.permission, aws_calls::GET_OBJECT.permission];
    statements.push(
        json!({"Sid": "EvidenceObject", "Effect": "Allow", "Action": actions, "Resource": objects}),
    );
    // S3 calls KMS for these with the identity of the writer or reader.
    let keys: BTreeSet<String> =
        options.expected_keys.iter().take(1).map(|name| key(name)).collect();
    if !keys.is_empty() {
        let actions = ["kms:GenerateDataKey", "kms:Decrypt"];
        statements.push(
            json!({"Sid": "EvidenceKey", "Effect": "Allow", "Action": actions, "Resource": keys}),
        );
    }
    statements
}

fn sid(service: &str, on: Resource) -> String {
    let service = match service {
        "elasticmapreduce" => "Emr",
        "s3" => "S3",
        "kms" => "Kms",
        "iam" => "Iam",
        "ec2" => "Ec2",
        "sts" => "Sts",
        "sns" => "Sns",
        "sqs" => "Sqs",
        "events" => "Events",
        "cloudwatch" => "CloudWatch",
        _ => "Other",
    };
    format!("{service}{on:?}")
}

/// The ARN of a queue by its URL, `https://sqs.REGION.DOMAIN/ACCOUNT/NAME`. An endpoint of another
/// form does not show the region.
pub(super) fn queue_arn(url: &str, partition: &str) -> Option<String> {
    let (host, path) = url.split_once("://")?.1.split_once('/')?;
    let (account, name) = path.split_once('/')?;
    let region = host.strip_prefix("sqs.").and_then(|rest| rest.split('.').next());
    Some(format!("arn:{partition}:sqs:{}:{account}:{name}", region.unwrap_or("*")))
}

fn resources(
    on: Resource,
    launch: Option<LaunchScope<'_>>,
    options: Option<PermissionOptions<'_>>,
) -> Vec<String> {
    let region = launch.map_or("*", |launch| launch.cluster.region.value.as_str());
    let partition = launch.map_or("aws", |launch| partition(&launch.cluster.region.value));
    let buckets: BTreeSet<&str> = launch.map_or_else(
        || BTreeSet::from(["*"]),
        |launch| launch.locations.iter().map(|location| location.bucket().as_str()).collect(),
    );
    match on {
        Resource::Any => vec!["*".to_owned()],
        Resource::Bucket => {
            buckets.iter().map(|bucket| format!("arn:{partition}:s3:::{bucket}")).collect()
        }
        // The certificate archive may be in a bucket that the config does not name.
        Resource::Object => vec![format!("arn:{partition}:s3:::*/*")],
        Resource::Key => vec![format!("arn:{partition}:kms:{region}:*:key/*")],
        Resource::InstanceProfile => {
            let any = format!("arn:{partition}:iam::*:instance-profile/");
            match launch.map(|launch| launch.cluster.instance_profile.value.as_str()) {
                None => vec![format!("{any}*")],
                Some(arn) if arn.starts_with("arn:") => vec![arn.to_owned()],
                // The name does not show the path that the profile may have.
                Some(name) => {
                    let name = name.rsplit('/').next().unwrap_or(name);
                    vec![format!("{any}{name}"), format!("{any}*/{name}")]
                }
            }
        }
        // Only IAM knows the role behind the instance profile.
        Resource::Role => vec![format!("arn:{partition}:iam::*:role/*")],
        // The roles of the cluster, and the identity of the guard's credentials.
        Resource::Principal => {
            ["role", "user"].map(|kind| format!("arn:{partition}:iam::*:{kind}/*")).to_vec()
        }
        Resource::Topic => {
            vec![options.and_then(|options| options.topic).unwrap_or("*").to_owned()]
        }
        Resource::Queue => {
            let url = options.and_then(|options| options.queue);
            let arn = url.and_then(|url| queue_arn(url, partition));
            vec![arn.unwrap_or_else(|| format!("arn:{partition}:sqs:{region}:*:*"))]
        }
        Resource::EventRule => vec![format!("arn:{partition}:events:{region}:*:rule/*")],
        Resource::Alarm => vec![format!("arn:{partition}:cloudwatch:{region}:*:alarm:*")],
        Resource::Cluster => vec![format!("arn:{partition}:elasticmapreduce:{region}:*:cluster/*")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::emr_etl_runner::config::RunnerConfig;

    #[test]
    fn the_policy_of_the_recorded_config_is_scoped_to_it() {
        let env = |name: &str| name.starts_with("AWS_").then(|| "AKIAFAKE".into());
        let config = RunnerConfig::parse(
            "config.yml",
            include_bytes!("../../tests/recordings/config.yml"),
            &env,
        )
        .unwrap();
        let cluster = config.cluster_spec();
        let launch = LaunchScope { cluster: &cluster, locations: &config.locations };
        insta::assert_snapshot!(serde_json::to_string_pretty(&policy(Some(launch), None)).unwrap());
        assert!(policy(None, None).to_string().contains("arn:aws:s3:::*"));
        let statement = |launch, sid: &str| {
            let policy = policy(launch, None);
            let all = policy["Statement"].as_array().unwrap().clone();
            all.into_iter().find(|statement| statement["Sid"] == sid)
        };
        let bucket = statement(Some(launch), "CertificateBucket").unwrap();
        assert_eq!(bucket["Action"], json!(["s3:ListBucket", "s3:GetBucketPolicy"]));
        let key = statement(Some(launch), "CertificateKey").unwrap();
        assert_eq!(key["Resource"], json!(["arn:aws:kms:eu-west-1:*:key/*"]));
        assert_eq!(key["Action"], json!(["kms:Decrypt"]));
        assert_eq!(
            key["Condition"],
            json!({"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}})
        );
    }

    #[test]
    fn the_policy_allows_the_queue_that_the_settings_name() {
        let evidence = EvidenceOptions::default();
        let of = |queue| PermissionOptions {
            topic: None,
            queue,
            evidence: &evidence,
            expected_keys: &[],
        };
        let statement = |queue| {
            let policy = policy(None, Some(of(queue)));
            let all = policy["Statement"].as_array().unwrap().clone();
            all.into_iter().find(|statement| statement["Sid"] == "SqsQueue")
        };
        assert_eq!(statement(None), None);
        for (url, arn) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/123456789012/emr",
                "arn:aws:sqs:eu-west-1:123456789012:emr",
            ),
            ("https://queue.example/123456789012/emr", "arn:aws:sqs:*:123456789012:emr"),
            ("no URL", "arn:aws:sqs:*:*:*"),
        ] {
            let statement = statement(Some(url)).unwrap();
            assert_eq!(statement["Action"], json!(["sqs:DeleteMessage", "sqs:ReceiveMessage"]));
            assert_eq!(statement["Resource"], json!([arn]));
        }
    }
}

//! What the guard's credentials must be allowed, as an IAM policy: every call that decides a check,
//! and those that end an unsafe cluster. No more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls::{self, Call, Resource},
        names::{S3Location, partition},
    },
    checks::catalogue::CATALOGUE,
    settings::{destination::Destination, evidence_options::EvidenceOptions, sign_key::KeyName},
    spec::{cluster_spec::ClusterSpec, data_paths::DataLocation},
};

/// What a policy is scoped to: one launch's cluster and S3 locations.
#[derive(Clone, Copy)]
pub(crate) struct LaunchScope<'a> {
    pub(crate) cluster: &'a ClusterSpec,
    pub(crate) locations: &'a [DataLocation],
}

/// What a policy needs to know of the settings.
#[derive(Clone, Copy)]
pub(crate) struct PermissionOptions<'a> {
    /// The topic that alerts go to.
    pub(crate) topic: Option<&'a str>,
    pub(crate) evidence: &'a EvidenceOptions,
    /// The keys that the policy on encryption expects.
    pub(crate) expected_keys: &'a [String],
}

/// Every call that the guard makes, whatever its settings are.
fn calls() -> impl Iterator<Item = &'static Call> {
    let of_checks = CATALOGUE.iter().flat_map(|check| check.asks.iter().copied());
    of_checks.chain([&aws_calls::TERMINATE_JOB_FLOWS, &aws_calls::SET_TERMINATION_PROTECTION])
}

/// Every call that the command `audit` makes.
static AUDIT: [&Call; 7] = [
    &aws_calls::HEAD_BUCKET,
    &aws_calls::LIST_OBJECTS,
    &aws_calls::LIST_OBJECT_VERSIONS,
    &aws_calls::HEAD_OBJECT,
    &aws_calls::HEAD_VERSION,
    &aws_calls::GET_OBJECT,
    &aws_calls::DESCRIBE_KEY,
];

/// The policy document for checks and runs; scoped to the buckets, roles and regions of `launch`,
/// where there is one, and with what signing and delivering documents needs by `options`.
pub(crate) fn policy(
    launch: Option<LaunchScope<'_>>,
    options: Option<PermissionOptions<'_>>,
) -> Value {
    let topic = options.and_then(|options| options.topic);
    let calls = calls().chain(topic.map(|_| &aws_calls::PUBLISH));
    let mut document = document(calls.map(|call| (call.permission, call.on)), launch, options);
    if let Some(statements) = document["Statement"].as_array_mut() {
        statements.extend(certificates(launch));
    }
    document
}

/// What the archive of certificates needs that the security configuration names, and that only AWS
/// knows the place of: what is asked about its bucket, which the runner config need not name, and
/// its key where it lies under SSE-KMS. The settings can name a security configuration where the
/// runner config does not.
fn certificates(launch: Option<LaunchScope<'_>>) -> Vec<Value> {
    let region = launch.map_or("*", |launch| launch.cluster.region.value.as_str());
    let partition = launch.map_or("aws", |launch| partition(&launch.cluster.region.value));
    let bucket = [aws_calls::HEAD_BUCKET.permission, aws_calls::GET_BUCKET_POLICY.permission];
    let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    vec![
        json!({"Sid": "CertificateBucket", "Effect": "Allow", "Action": bucket, "Resource": [format!("arn:{partition}:s3:::*")]}),
        // The archive itself is among the objects above; S3 asks KMS in the name of whoever reads.
        json!({
            "Sid": "CertificateKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": [format!("arn:{partition}:kms:{region}:*:key/*")],
            "Condition": {"StringLike": {"kms:ViaService": format!("s3.*.{domain}")}},
        }),
    ]
}

/// The same for the command `audit` alone: whoever only audits needs less.
pub(crate) fn audit_policy(launch: Option<LaunchScope<'_>>) -> Value {
    document(AUDIT.iter().map(|call| (call.permission, call.on)), launch, None)
}

/// The policy document of the command `reencrypt`, all of its options used.
pub(crate) fn reencrypt(launch: Option<LaunchScope<'_>>) -> Value {
    document(
        REENCRYPT.iter().map(|call| (call.permission, call.on)).chain(ALONG.iter().copied()),
        launch,
        None,
    )
}

/// What `reencrypt` asks of AWS.
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

/// What those calls need along, because of what objects carry, which versions are meant, and which
/// key is theirs.
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
    // The role that the jobs run under is handed to S3.
    ("iam:PassRole", Resource::Role),
];

fn document(
    needed: impl Iterator<Item = (&'static str, Resource)>,
    launch: Option<LaunchScope<'_>>,
    options: Option<PermissionOptions<'_>>,
) -> Value {
    let topic = options.and_then(|options| options.topic);
    let mut actions: BTreeMap<(&str, Resource), BTreeSet<&str>> = BTreeMap::new();
    for (permission, on) in needed {
        let service = permission.split(':').next().unwrap_or_default();
        actions.entry((service, on)).or_default().insert(permission);
    }
    let statements = actions
        .into_iter()
        .map(|((service, on), actions)| json!({"Sid": sid(service, on), "Effect": "Allow", "Action": actions, "Resource": resources(on, launch, topic)}))
        .chain(options.into_iter().flat_map(|options| evidence(launch, options)));
    json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<Value>>()})
}

/// What documents need: a key to sign with, and places in S3.
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
    // S3 asks KMS for these in the name of whoever writes and reads.
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
        _ => "Other",
    };
    format!("{service}{on:?}")
}

fn resources(on: Resource, launch: Option<LaunchScope<'_>>, topic: Option<&str>) -> Vec<String> {
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
        // The archive of certificates may lie in a bucket that the config does not name.
        Resource::Object => vec![format!("arn:{partition}:s3:::*/*")],
        Resource::Key => vec![format!("arn:{partition}:kms:{region}:*:key/*")],
        Resource::InstanceProfile => {
            let any = format!("arn:{partition}:iam::*:instance-profile/");
            match launch.map(|launch| launch.cluster.instance_profile.value.as_str()) {
                None => vec![format!("{any}*")],
                Some(arn) if arn.starts_with("arn:") => vec![arn.to_owned()],
                // A name says nothing of the path that the profile may have.
                Some(name) => {
                    let name = name.rsplit('/').next().unwrap_or(name);
                    vec![format!("{any}{name}"), format!("{any}*/{name}")]
                }
            }
        }
        // Which role is behind the instance profile is known only to IAM.
        Resource::Role => vec![format!("arn:{partition}:iam::*:role/*")],
        // The roles of the cluster, and whose credentials the guard has.
        Resource::Principal => {
            ["role", "user"].map(|kind| format!("arn:{partition}:iam::*:{kind}/*")).to_vec()
        }
        Resource::Topic => vec![topic.unwrap_or("*").to_owned()],
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
}

//! Owns the predefined scenes.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write as _},
};

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::apply::trusting;
use crate::command::{
    Command, Named, PutAccessKey, PutBucket, PutDhcp, PutKey, PutObject, PutRole,
    PutSecurityConfiguration, PutSubnet, PutUser, PutVpc, Seed, SetRegion,
};
use crate::ids::DEFAULT_REGION;
use crate::partition::{internal_domain, partition_of};
use crate::regions::needs_opt_in;
use crate::sse::{BucketEncryption, Sse};

/// Snowplow's account, which owns the public buckets.
const SNOWPLOW: &str = "719197435995";
/// The key of the security configuration.
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

/// The commands that make a scene.
pub(crate) fn commands(seed: &Seed) -> Option<Vec<Command>> {
    match seed.scene.as_str() {
        "acme" => Some(acme()),
        "empty" => Some(empty(seed.region.as_deref().unwrap_or(DEFAULT_REGION))),
        _ => None,
    }
}

/// The account of a Snowplow user before anything is set up: the runner's user, the guard's role, a
/// network, and Snowplow's public buckets.
fn empty(region: &str) -> Vec<Command> {
    let partition = partition_of(region);
    let mut commands = callers(partition);
    if needs_opt_in(region) {
        let name = region.to_owned();
        commands.push(Command::SetRegion(SetRegion { name, account: None, opted_in: true }));
    }
    let objects = objects()
        .into_iter()
        .filter(|it| matches!(it, Command::PutObject(put) if put.bucket.starts_with("snowplow-")));
    commands.extend(public_buckets(region));
    commands.extend(objects);
    commands.extend([runner(partition), guard(region)]);
    commands.extend(network(region));
    commands
}

/// A Snowplow user of eu-west-1 whose encryption is complete.
fn acme() -> Vec<Command> {
    let mut commands = callers(partition_of(DEFAULT_REGION));
    commands.extend(buckets());
    commands.extend(public_buckets(DEFAULT_REGION));
    commands.extend(objects());
    commands.push(Command::PutKey(PutKey {
        id: "11111111-1111-1111-1111-111111111111".to_owned(),
        aliases: vec!["alias/acme-etl".to_owned()],
        rotation: true,
        ..PutKey::default()
    }));
    commands.push(Command::PutTopic(Named { name: "etl-alerts".to_owned(), ..Named::default() }));
    commands.extend(roles());
    commands.extend(network(DEFAULT_REGION));
    commands.push(Command::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: security_configuration(),
        ..PutSecurityConfiguration::default()
    }));
    commands
}

fn security_configuration() -> Value {
    json!({
        "EncryptionConfiguration": {
            "EnableInTransitEncryption": true,
            "EnableAtRestEncryption": true,
            "InTransitEncryptionConfiguration": {
                "TLSCertificateConfiguration": {
                    "CertificateProviderType": "PEM",
                    "S3Object": "s3://acme-etl/certs/emr.zip",
                },
            },
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
                "LocalDiskEncryptionConfiguration": {
                    "EncryptionKeyProviderType": "AwsKms",
                    "AwsKmsKey": KEY,
                    "EnableEbsEncryption": true,
                },
            },
        },
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2, "HttpPutResponseHopLimit": 1
        },
    })
}

fn callers(partition: &str) -> Vec<Command> {
    let session = "assumed-role/emr-etl-guard/emr-etl-guard";
    let known = [
        ("AKIAFAKE", "123456789012", "iam", "user/snowplow"),
        ("AKIAGUARD", "123456789012", "sts", session),
        ("AKIAOTHER", "999999999999", "iam", "user/other"),
    ];
    known
        .into_iter()
        .map(|(id, account, service, name)| {
            Command::PutAccessKey(PutAccessKey {
                id: id.to_owned(),
                account: Some(account.to_owned()),
                arn: format!("arn:{partition}:{service}::{account}:{name}"),
            })
        })
        .collect()
}

fn buckets() -> Vec<Command> {
    let own = [
        "acme-log",
        "acme-raw-in",
        "acme-raw-in2",
        "acme-stream",
        "acme-etl",
        "acme-out",
        "acme-archive",
    ];
    let own = own.into_iter().map(|name| PutBucket {
        name: name.to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        policy: Some(tls_only(name)),
        ..PutBucket::default()
    });
    own.map(Command::PutBucket).collect()
}

/// Snowplow's buckets, and EMR's own of a region.
fn public_buckets(region: &str) -> Vec<Command> {
    let emr = format!("{region}.elasticmapreduce");
    let public = [
        ("snowplow-hosted-assets", "eu-west-1"),
        ("snowplow-hosted-assets-us-east-1", "us-east-1"),
        ("snowplow-hosted-assets-us-west-2", "us-west-2"),
        ("snowplow-hosted-assets-eu-central-1", "eu-central-1"),
        (emr.as_str(), region),
    ];
    let public = public.into_iter().map(|(name, region)| PutBucket {
        name: name.to_owned(),
        region: Some(region.to_owned()),
        account: Some(SNOWPLOW.to_owned()),
        public: true,
        ..PutBucket::default()
    });
    public.map(Command::PutBucket).collect()
}

/// The policy that the S3 user guide recommends against plain http.
fn tls_only(bucket: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "DenyPlainHttp",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }],
    })
}

fn objects() -> Vec<Command> {
    let small = [
        ("acme-raw-in", "logs/2020-08-21-raw.lzo"),
        ("acme-raw-in", "logs/_Tomcat_localhost_access_log.2020-08-21.txt.gz"),
        ("acme-etl", "certs/emr.zip"),
        ("snowplow-hosted-assets", "common/emr/snowplow-ami5-bootstrap-0.1.0.sh"),
        ("snowplow-hosted-assets", "common/emr/snowplow-hadoop-fs-rmr-0.2.0.sh"),
        ("snowplow-hosted-assets", "3-enrich/spark-enrich/snowplow-spark-enrich-1.18.0.jar"),
        ("snowplow-hosted-assets", "4-storage/rdb-shredder/snowplow-rdb-shredder-0.16.0.jar"),
    ];
    small
        .into_iter()
        .map(|(bucket, key)| {
            Command::PutObject(PutObject {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                body: Some("hello\n".to_owned()),
                bytes: (key == "certs/emr.zip")
                    .then(|| certificates("*.eu-west-1.compute.internal")),
                sse: Some(Sse::Aes256),
                ..PutObject::default()
            })
        })
        .collect()
}

/// The archive with EMR's certificates: a key without passphrase, and a self-signed certificate,
/// for the names of a region's instances.
///
/// # Panics
/// When a name is not a DNS name, or the system has no randomness.
#[must_use]
#[expect(clippy::expect_used, reason = "a scene that cannot be made is a test that cannot be run")]
pub fn certificates(name: &str) -> Vec<u8> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("randomness");
    let certificate = params.self_signed(&key).expect("a certificate");
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (member, text) in
        [("privateKey.pem", key.serialize_pem()), ("certificateChain.pem", certificate.pem())]
    {
        archive.start_file(member, SimpleFileOptions::default()).expect("memory");
        archive.write_all(text.as_bytes()).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}

fn roles() -> Vec<Command> {
    let nodes = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:*", "elasticmapreduce:Describe*", "ec2:Describe*", "cloudwatch:*", "sdb:*", "sqs:*"],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": [
                    "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey", "kms:GenerateDataKey*",
                    "kms:DescribeKey",
                ],
                "Resource": KEY,
            },
        ],
    });
    let service = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow", "Action": ["ec2:*", "iam:PassRole", "s3:Get*", "s3:List*"],
                "Resource": "*"
            },
            {
                "Effect": "Allow",
                "Action": [
                    "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:CreateGrant",
                    "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey",
                ],
                "Resource": KEY,
            },
        ],
    });
    vec![
        runner(partition_of(DEFAULT_REGION)),
        guard(DEFAULT_REGION),
        Command::PutRole(PutRole {
            name: "EMR_EC2_DefaultRole".to_owned(),
            policies: vec![nodes],
            instance_profile: Some("EMR_EC2_DefaultRole".to_owned()),
            ..PutRole::default()
        }),
        Command::PutRole(PutRole {
            name: "EMR_DefaultRole".to_owned(),
            policies: vec![service],
            trust: Some(trusting("elasticmapreduce.amazonaws.com")),
            ..PutRole::default()
        }),
    ]
}

/// The user of the runner.
fn runner(partition: &str) -> Command {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["elasticmapreduce:*", "iam:PassRole", "s3:*"],
            "Resource": "*",
        }],
    });
    Command::PutUser(PutUser {
        name: "snowplow".to_owned(),
        partition: Some(partition.to_owned()),
        policies: vec![policy],
        ..PutUser::default()
    })
}

/// The role of the guard. Its path is not in the ARN of the guard's session.
fn guard(region: &str) -> Command {
    let partition = partition_of(region);
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": [
                "elasticmapreduce:DescribeCluster", "elasticmapreduce:ListBootstrapActions",
                "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances",
                "elasticmapreduce:ListSteps", "elasticmapreduce:SetTerminationProtection",
                "elasticmapreduce:TerminateJobFlows",
            ],
            "Resource": format!("arn:{partition}:elasticmapreduce:{region}:123456789012:cluster/*"),
        }],
    });
    Command::PutRole(PutRole {
        name: "emr-etl-guard".to_owned(),
        path: Some("/etl/".to_owned()),
        partition: Some(partition.to_owned()),
        policies: vec![policy],
        ..PutRole::default()
    })
}

fn network(region: &str) -> Vec<Command> {
    let options = BTreeMap::from([
        ("domain-name".to_owned(), vec![internal_domain(region)]),
        ("domain-name-servers".to_owned(), vec!["AmazonProvidedDNS".to_owned()]),
    ]);
    vec![
        Command::PutDhcp(PutDhcp {
            id: "dopt-0123456789abcdef0".to_owned(),
            options,
            region: Some(region.to_owned()),
            ..PutDhcp::default()
        }),
        Command::PutVpc(PutVpc {
            id: "vpc-0123456789abcdef0".to_owned(),
            dhcp_options: "dopt-0123456789abcdef0".to_owned(),
            region: Some(region.to_owned()),
            ..PutVpc::default()
        }),
        Command::PutSubnet(PutSubnet {
            id: "subnet-0123456789abcdef0".to_owned(),
            vpc: "vpc-0123456789abcdef0".to_owned(),
            region: Some(region.to_owned()),
            ..PutSubnet::default()
        }),
    ]
}

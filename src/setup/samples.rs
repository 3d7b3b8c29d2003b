//! Plans for tests of the infrastructure code: a few by hand, and any number at random.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    base::{
        lookup::{LookupError, LookupErrorKind},
        names::{AccountId, BucketName, S3Object},
        printable::{Printable, printable},
    },
    facts::{
        account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
        object_lock::{DefaultRetention, RetentionMode, RetentionPeriod},
    },
    settings::policy::EncryptionKind,
    setup::{
        code::{CodeContext, certificate_uri},
        network_code::NetworkCode,
        piece::{
            AlertTopic, Bucket, BucketEncryption, BucketObjectLock, BucketPolicy, BucketVersioning,
            CertificateArchive, EventQueue, EventRule, InlinePolicy, InstanceProfile, Key,
            KeyPolicy, KeyRotation, MADE_KEY, NamedConfiguration, Piece, PublicAccessBlock, Role,
        },
        plan::{Advice, SetupPlan, Step, StepAction},
    },
};

/// A plan with what the code says of the account.
#[derive(Clone, Debug)]
pub(super) struct SamplePlan {
    pub(super) name: &'static str,
    pub(super) plan: SetupPlan,
    pub(super) account: AccountId,
    pub(super) region: &'static str,
    pub(super) s3_region: &'static str,
    pub(super) network: Option<NetworkCode>,
}

impl SamplePlan {
    pub(super) fn context(&self) -> CodeContext<'_> {
        CodeContext {
            name: "acme-etl",
            account: &self.account,
            region: self.region,
            s3_region: self.s3_region,
            network: self.network.as_ref(),
        }
    }
}

const ACCOUNT: &str = "123456789012";
/// A key that exists.
pub(super) const KEY: &str =
    "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000001";
const ALL_BLOCKED: PublicAccessBlockSettings = PublicAccessBlockSettings {
    block_public_acls: true,
    ignore_public_acls: true,
    block_public_policy: true,
    restrict_public_buckets: true,
};

/// The plans with committed code, which other programs check.
pub(super) fn samples() -> Vec<SamplePlan> {
    vec![
        sample("empty", empty_account(), "eu-west-1", "eu-west-1"),
        sample("existing", existing(), "eu-west-1", "eu-west-1"),
        sample("hostile", hostile(), "us-gov-west-1", "us-gov-west-1"),
        sample("two-regions", two_regions(), "eu-west-1", "eu-central-1"),
        sample("nothing", nothing(), "eu-west-1", "eu-west-1"),
        sample("for-the-guard", for_the_guard(), "eu-west-1", "eu-west-1"),
        SamplePlan {
            network: Some(NetworkCode::sample()),
            ..sample("network", nothing(), "eu-west-1", "eu-west-1")
        },
    ]
}

/// The pieces of all these plans: at least one of each kind.
pub(crate) fn pieces() -> Vec<Piece> {
    let steps = samples().into_iter().flat_map(|sample| sample.plan.steps);
    let pieces: Vec<Piece> = steps.map(|step| step.piece).collect();
    let kind = |piece: &Piece| match piece {
        Piece::Role(_) => 0,
        Piece::InstanceProfile(_) => 1,
        Piece::Key(_) => 2,
        Piece::KeyPolicy(_) => 3,
        Piece::KeyRotation(_) => 4,
        Piece::InlinePolicy(_) => 5,
        Piece::Bucket(_) => 6,
        Piece::BucketEncryption(_) => 7,
        Piece::PublicAccessBlock(_) => 8,
        Piece::BucketPolicy(_) => 9,
        Piece::Certificates(_) => 10,
        Piece::SecurityConfiguration(_) => 11,
        Piece::BucketVersioning(_) => 12,
        Piece::ObjectLock(_) => 13,
        Piece::AlertTopic(_) => 14,
        Piece::EventQueue(_) => 15,
        Piece::EventRule(_) => 16,
    };
    let there: BTreeSet<usize> = pieces.iter().map(kind).collect();
    assert_eq!(there, (0..17).collect(), "no sample has a piece of some kind");
    pieces
}

fn sample(
    name: &'static str,
    plan: SetupPlan,
    region: &'static str,
    s3_region: &'static str,
) -> SamplePlan {
    SamplePlan { name, plan, account: AccountId::new(ACCOUNT), region, s3_region, network: None }
}

fn bucket_name(name: &str) -> BucketName {
    name.parse().unwrap()
}

fn new_bucket(name: &str, region: &str) -> Bucket {
    Bucket { bucket: bucket_name(name), region: region.to_owned(), object_lock: false }
}

fn step(piece: Piece, action: StepAction, checks: &[&'static str]) -> Step {
    let cost = matches!((&piece, &action), (Piece::Key(_), StepAction::Create))
        .then(|| "$1.00 a month for the key, and $0.03 for 10,000 requests".to_owned());
    Step {
        piece,
        action,
        checks: checks.to_vec(),
        source: "aws-facts.md, section 10",
        cost,
        notes: vec![],
    }
}

fn changed(before: Value) -> StepAction {
    StepAction::Change { before }
}

fn plan(steps: Vec<Step>, configuration: Option<&str>) -> SetupPlan {
    SetupPlan { steps, security_configuration: configuration.map(str::to_owned), advice: vec![] }
}

fn trust(service: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": service },
            "Action": "sts:AssumeRole",
        }],
    })
}

fn role(name: &str, service: &str, managed: &str) -> Piece {
    Piece::Role(Role {
        name: name.to_owned(),
        trust: trust(service),
        attached: vec![format!("arn:aws:iam::aws:policy/{managed}")],
    })
}

fn role_arn(partition: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{ACCOUNT}:role/{name}")
}

/// A key policy, as `setup` makes it.
fn key_policy(partition: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Account",
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:{partition}:iam::{ACCOUNT}:root") },
                "Action": "kms:*",
                "Resource": "*",
            },
            {
                "Sid": "EmrEtlGuardUse",
                "Effect": "Allow",
                "Principal": { "AWS": [
                    role_arn(partition, "acme-etl-ec2"),
                    role_arn(partition, "acme-etl-service"),
                ] },
                "Action": [
                    "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*",
                    "kms:DescribeKey",
                ],
                "Resource": "*",
            },
            {
                "Sid": "EmrEtlGuardGrants",
                "Effect": "Allow",
                "Principal": { "AWS": role_arn(partition, "acme-etl-service") },
                "Action": "kms:CreateGrant",
                "Resource": "*",
                "Condition": { "Bool": { "kms:GrantIsForAWSResource": "true" } },
            },
        ],
    })
}

fn tls_statement(partition: &str, bucket: &str) -> Value {
    json!({
        "Sid": "EmrEtlGuardTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [
            format!("arn:{partition}:s3:::{bucket}"),
            format!("arn:{partition}:s3:::{bucket}/*"),
        ],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })
}

fn sse_kms(bucket: &str, key: &str) -> Piece {
    Piece::BucketEncryption(BucketEncryption {
        bucket: bucket_name(bucket),
        settings: BucketEncryptionSettings {
            kind: EncryptionKind::SseKms,
            key: Some(key.to_owned()),
            bucket_key: true,
            blocks_sse_c: true,
        },
    })
}

fn block(bucket: &str) -> Piece {
    Piece::PublicAccessBlock(PublicAccessBlock {
        bucket: bucket_name(bucket),
        settings: ALL_BLOCKED,
    })
}

fn bucket_policy(bucket: &str, statements: &[Value]) -> Piece {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    Piece::BucketPolicy(BucketPolicy { bucket: bucket_name(bucket), policy })
}

fn archive(bucket: &str, key: Option<&str>) -> CertificateArchive {
    CertificateArchive {
        object: S3Object { bucket: bucket_name(bucket), key: "emr/nodes.zip".to_owned() },
        names: vec!["*.eu-west-1.compute.internal".to_owned()],
        days: 397,
        key: key.map(str::to_owned),
    }
}

fn configuration(name: &str, key: &str, certificates: &CertificateArchive) -> Piece {
    Piece::SecurityConfiguration(NamedConfiguration {
        name: name.to_owned(),
        content: json!({
            "EncryptionConfiguration": {
                "EnableInTransitEncryption": true,
                "EnableAtRestEncryption": true,
                "InTransitEncryptionConfiguration": {
                    "TLSCertificateConfiguration": {
                        "CertificateProviderType": "PEM",
                        "S3Object": certificate_uri(certificates),
                    },
                },
                "AtRestEncryptionConfiguration": {
                    "S3EncryptionConfiguration": { "EncryptionMode": "SSE-KMS", "AwsKmsKey": key },
                    "LocalDiskEncryptionConfiguration": {
                        "EncryptionKeyProviderType": "AwsKms",
                        "AwsKmsKey": key,
                        "EnableEbsEncryption": true,
                    },
                },
            },
        }),
    })
}

fn inline_policy(holder: PolicyHolder, statements: &Value) -> Piece {
    Piece::InlinePolicy(InlinePolicy {
        holder,
        name: "acme-etl".to_owned(),
        policy: json!({ "Version": "2012-10-17", "Statement": statements }),
    })
}

fn use_of_data(partition: &str, key: &str, bucket: &str) -> Value {
    json!([
        {
            "Sid": "EmrEtlGuardKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"],
            "Resource": key,
        },
        {
            "Sid": "EmrEtlGuardObjects",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": format!("arn:{partition}:s3:::{bucket}/raw/*"),
        },
    ])
}

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:acme-etl-alerts";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:acme-etl-emr-events";
const RULE: &str = "arn:aws:events:eu-west-1:123456789012:rule/acme-etl-emr-events";

/// A statement that denies what is not sent over TLS.
fn tls_of(actions: &str, resource: &str) -> Value {
    json!({
        "Sid": "EmrEtlGuardTlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions,
        "Resource": resource,
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })
}

fn alert_topic(key: &str, statements: &[Value]) -> Piece {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    Piece::AlertTopic(AlertTopic { arn: TOPIC.to_owned(), key: key.to_owned(), policy })
}

fn event_queue(key: Option<&str>, statements: &[Value]) -> Piece {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    Piece::EventQueue(EventQueue { arn: QUEUE.to_owned(), key: key.map(str::to_owned), policy })
}

fn event_rule() -> Piece {
    Piece::EventRule(EventRule {
        arn: RULE.to_owned(),
        pattern: json!({ "source": ["aws.emr"], "detail-type": ["EMR Cluster State Change"] }),
        queue: QUEUE.to_owned(),
    })
}

/// The statement that lets the account use its topic.
fn owner_of_topic() -> Value {
    json!({
        "Sid": "EmrEtlGuardOwner",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        "Action": ["sns:Publish", "sns:Subscribe"],
        "Resource": TOPIC,
    })
}

/// The statement that lets the rule send.
fn from_rule() -> Value {
    json!({
        "Sid": "EmrEtlGuardEvents",
        "Effect": "Allow",
        "Principal": { "Service": "events.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": QUEUE,
        "Condition": { "ArnEquals": { "aws:SourceArn": RULE } },
    })
}

/// Nothing exists but the launcher's user.
fn empty_account() -> SetupPlan {
    let made = archive("acme-etl-certificates", Some(MADE_KEY));
    let launcher = json!([
        {
            "Sid": "EmrEtlGuardPassRole",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": [role_arn("aws", "acme-etl-ec2"), role_arn("aws", "acme-etl-service")],
        },
        {
            "Sid": "EmrEtlGuardTags",
            "Effect": "Allow",
            "Action": "elasticmapreduce:AddTags",
            "Resource": format!("arn:aws:elasticmapreduce:eu-west-1:{ACCOUNT}:cluster/*"),
        },
    ]);
    let create = |piece, checks: &[&'static str]| step(piece, StepAction::Create, checks);
    let mut steps = vec![
        create(
            role("acme-etl-ec2", "ec2.amazonaws.com", "AmazonSSMManagedInstanceCore"),
            &["instance-profile"],
        ),
        create(
            role(
                "acme-etl-service",
                "elasticmapreduce.amazonaws.com",
                "service-role/AmazonEMRServicePolicy_v2",
            ),
            &["service-role"],
        ),
        create(
            Piece::InstanceProfile(InstanceProfile {
                name: "acme-etl-ec2".to_owned(),
                role: "acme-etl-ec2".to_owned(),
            }),
            &["instance-profile"],
        ),
        create(
            Piece::Key(Key { alias: "alias/acme-etl".to_owned(), policy: key_policy("aws") }),
            &["local-disk", "s3-encryption"],
        ),
        create(
            inline_policy(
                PolicyHolder::Role("acme-etl-ec2".to_owned()),
                &use_of_data("aws", MADE_KEY, "acme-log"),
            ),
            &["instance-profile"],
        ),
        create(
            inline_policy(PolicyHolder::User("etl-runner".to_owned()), &launcher),
            &["launcher"],
        ),
    ];
    for bucket in ["acme-log", "acme-etl-certificates"] {
        let made = new_bucket(bucket, "eu-west-1");
        steps.push(create(Piece::Bucket(made), &["buckets"]));
        steps.push(create(sse_kms(bucket, MADE_KEY), &["buckets"]));
        steps.push(create(block(bucket), &[]));
        steps.push(create(bucket_policy(bucket, &[tls_statement("aws", bucket)]), &["buckets"]));
    }
    steps.push(create(Piece::Certificates(made.clone()), &["certificates"]));
    steps.push(create(
        configuration("acme-etl-0a1b2c3d", MADE_KEY, &made),
        &["security-configuration"],
    ));
    steps.push(create(
        alert_topic("alias/aws/sns", &[owner_of_topic(), tls_of("sns:Publish", TOPIC)]),
        &[],
    ));
    steps.push(create(event_queue(None, &[from_rule(), tls_of("sqs:*", QUEUE)]), &[]));
    steps.push(create(event_rule(), &[]));
    SetupPlan {
        advice: vec![Advice {
            check: Some("network"),
            saw: printable!("subnet-1 resolves names by a server of its own"),
            fix: printable!("use AmazonProvidedDNS in the VPC's DHCP options"),
        }],
        ..plan(steps, Some("acme-etl-0a1b2c3d"))
    }
}

/// Everything exists, and much of it has to be changed.
fn existing() -> SetupPlan {
    let made = archive("acme-log", Some(KEY));
    let kept = Statements::foreign();
    let present = json!({ "Version": "2012-10-17", "Statement": [kept] });
    let mut merged = key_policy("aws");
    merged["Id"] = json!("made in the console");
    let rotation = Piece::KeyRotation(KeyRotation { key: KEY.to_owned() });
    let role_before = json!({
        "trust": trust("ec2.amazonaws.com"),
        "attached": ["arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole"],
    });
    let service = Piece::Role(Role {
        name: "EMR_DefaultRole".to_owned(),
        trust: trust("elasticmapreduce.amazonaws.com"),
        attached: vec![
            "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole".to_owned(),
            "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2".to_owned(),
        ],
    });
    let profile = Piece::InstanceProfile(InstanceProfile {
        name: "EMR_EC2_DefaultRole".to_owned(),
        role: "EMR_EC2_DefaultRole".to_owned(),
    });
    let policy = Piece::KeyPolicy(KeyPolicy { key: KEY.to_owned(), policy: merged });
    let uses = use_of_data("aws", KEY, "acme-log");
    let narrower = json!({ "Version": "2012-10-17", "Statement": [uses[0]] });
    let ec2 = || PolicyHolder::Role("EMR_EC2_DefaultRole".to_owned());
    let raw_bucket = new_bucket("acme-raw", "eu-west-1");
    let weaker = BucketEncryptionSettings {
        kind: EncryptionKind::SseS3,
        key: None,
        bucket_key: false,
        blocks_sse_c: false,
    };
    let denied = LookupError::new("s3:GetBucketPolicy", LookupErrorKind::Denied, "Access Denied");
    let refused = StepAction::Refuse {
        saw: printable!("a statement that allows every principal"),
        fix: printable!("remove the statement `Open`"),
    };
    let mut steps = vec![
        step(service, changed(role_before), &["service-role"]),
        step(profile, changed(json!({ "role": null })), &["instance-profile"]),
        step(policy, changed(present.clone()), &["local-disk"]),
        step(rotation, changed(json!(false)), &["key-rotation"]),
        step(inline_policy(ec2(), &uses), changed(narrower), &["instance-profile"]),
        step(Piece::Bucket(raw_bucket), StepAction::Keep, &["buckets"]),
        step(
            sse_kms("acme-log", KEY),
            changed(serde_json::to_value(weaker).unwrap()),
            &["buckets"],
        ),
        step(sse_kms("acme-raw", KEY), StepAction::Keep, &["buckets"]),
        step(block("acme-log"), StepAction::Create, &["buckets"]),
        step(
            block("acme-raw"),
            changed(serde_json::to_value(PublicAccessBlockSettings::default()).unwrap()),
            &["buckets"],
        ),
        step(
            bucket_policy("acme-log", &[kept, tls_statement("aws", "acme-log")]),
            changed(present),
            &["buckets"],
        ),
        step(
            bucket_policy("acme-raw", &[tls_statement("aws", "acme-raw")]),
            StepAction::Create,
            &["buckets"],
        ),
        step(
            bucket_policy("acme-open", &[tls_statement("aws", "acme-open")]),
            refused,
            &["buckets"],
        ),
        step(
            bucket_policy("acme-dark", &[tls_statement("aws", "acme-dark")]),
            StepAction::Unknown { error: denied },
            &["buckets"],
        ),
        step(Piece::Certificates(made.clone()), StepAction::Keep, &["certificates"]),
        step(
            configuration("acme-etl-4e5f6a7b", KEY, &made),
            StepAction::Create,
            &["security-configuration"],
        ),
        step(
            alert_topic("alias/aws/sns", &[owner_of_topic(), tls_of("sns:Publish", TOPIC)]),
            changed(json!({ "key": null, "policy": {
                "Version": "2012-10-17", "Statement": [owner_of_topic()],
            } })),
            &[],
        ),
        step(
            event_queue(Some(KEY), &[from_rule(), tls_of("sqs:*", QUEUE)]),
            changed(json!({ "key": KEY, "by_sqs": false, "policy": null })),
            &[],
        ),
        step(
            event_rule(),
            changed(json!({
                "pattern": {
                    "source": ["aws.emr"], "detail-type": ["EMR Cluster State Change"],
                },
                "target": null,
            })),
            &[],
        ),
    ];
    steps[2].notes.push(printable!("Every statement of the present policy is kept."));
    plan(steps, Some("acme-etl-4e5f6a7b"))
}

/// Statements of other people.
struct Statements;

impl Statements {
    fn foreign() -> Value {
        json!({
            "Sid": "ReadByOthers",
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::210987654321:root" },
            "Action": ["s3:GetObject"],
            "Resource": "arn:aws:s3:::acme-log/shared/${aws:username}/*",
        })
    }
}

/// Text that means something to Terraform, CloudFormation, YAML or a terminal.
fn hostile() -> SetupPlan {
    let statement = json!({
        "Sid": "",
        "Effect": "Deny",
        "Principal": { "AWS": "*" },
        "Action": ["s3:*"],
        "Resource": [
            "arn:aws-us-gov:s3:::acme-odd/${aws:username}/*",
            "arn:aws-us-gov:s3:::acme-odd/$${x}/%{if}/%%{y}/$$$",
            "arn:aws-us-gov:s3:::acme-odd-other/*",
        ],
        "Condition": {
            "StringNotLike": { "aws:PrincipalTag/for \"x\"\n": ["yes", "0x1", "1e3", "~", "", "- a", "a: b # c"] },
            "StringEquals": { "aws:RequestTag/é\u{202e}": format!("$%{MADE_KEY}${{x}}{MADE_KEY}%") },
            "NumericLessThan": { "s3:max-keys": 10 },
            "Bool": { "aws:SecureTransport": false },
        },
    });
    let made = new_bucket("acme-odd", "us-gov-west-1");
    let mut odd = step(bucket_policy("acme-odd", &[statement]), StepAction::Create, &[]);
    odd.notes.push(Printable::from("# \u{1b}[31mred\nresource \"x\" \"y\" {}"));
    let key = Key { alias: "alias/acme-etl".to_owned(), policy: key_policy("aws-us-gov") };
    let secret = inline_policy(
        PolicyHolder::Role("reader".to_owned()),
        &json!([{
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "arn:aws-us-gov:s3:::{{resolve:ssm:name}}/*",
        }]),
    );
    let steps = vec![
        step(Piece::Key(key), StepAction::Create, &["local-disk"]),
        step(secret, StepAction::Create, &[]),
        step(Piece::Bucket(made), StepAction::Create, &["buckets"]),
        odd,
    ];
    plan(steps, None)
}

/// The buckets are in another region than the clusters.
fn two_regions() -> SetupPlan {
    let made = new_bucket("acme-far", "eu-central-1");
    let sse_s3 = BucketEncryptionSettings {
        kind: EncryptionKind::SseS3,
        key: None,
        bucket_key: false,
        blocks_sse_c: true,
    };
    let encryption = |bucket: &str| {
        Piece::BucketEncryption(BucketEncryption {
            bucket: bucket_name(bucket),
            settings: sse_s3.clone(),
        })
    };
    let before =
        serde_json::to_value(BucketEncryptionSettings { blocks_sse_c: false, ..sse_s3.clone() });
    let key = Key { alias: "alias/acme-etl".to_owned(), policy: key_policy("aws") };
    let steps = vec![
        step(Piece::Key(key), StepAction::Create, &["local-disk"]),
        step(Piece::Bucket(made), StepAction::Create, &["buckets"]),
        step(encryption("acme-far"), StepAction::Create, &["buckets"]),
        step(encryption("acme-farther"), changed(before.unwrap()), &["buckets"]),
        step(block("acme-far"), StepAction::Create, &["buckets"]),
        step(
            bucket_policy("acme-far", &[tls_statement("aws", "acme-far")]),
            StepAction::Create,
            &["buckets"],
        ),
        step(
            Piece::BucketVersioning(BucketVersioning { bucket: bucket_name("acme-farther") }),
            StepAction::Create,
            &["--with evidence-bucket"],
        ),
        step(
            Piece::ObjectLock(BucketObjectLock {
                bucket: bucket_name("acme-farther"),
                retention: DefaultRetention {
                    mode: RetentionMode::Governance,
                    period: RetentionPeriod::Days(365),
                },
            }),
            StepAction::Create,
            &["--with evidence-bucket"],
        ),
    ];
    plan(steps, None)
}

/// Everything is as required.
fn nothing() -> SetupPlan {
    let mut plan = existing();
    plan.steps.retain(|step| {
        !matches!(step.action, StepAction::Refuse { .. } | StepAction::Unknown { .. })
    });
    plan.steps.iter_mut().for_each(|step| step.action = StepAction::Keep);
    plan
}

/// What the guard itself uses: its own policy, and a bucket for evidence. Two others exist, one
/// without Object Lock and one with a shorter retention.
fn for_the_guard() -> SetupPlan {
    let evidence = "acme-etl-evidence";
    let bucket = Bucket { object_lock: true, ..new_bucket(evidence, "eu-west-1") };
    let lock = |name: &str, mode, period| {
        let retention = DefaultRetention { mode, period };
        Piece::ObjectLock(BucketObjectLock { bucket: bucket_name(name), retention })
    };
    let versioning =
        |name: &str| Piece::BucketVersioning(BucketVersioning { bucket: bucket_name(name) });
    let year = RetentionPeriod::Days(365);
    let governance = RetentionMode::Governance;
    let checks = json!([{
        "Sid": "EmrEtlGuardChecksEmrAny",
        "Effect": "Allow",
        "Action": ["elasticmapreduce:DescribeSecurityConfiguration"],
        "Resource": ["*"],
    }]);
    let asked = |piece, action| step(piece, action, &["--with evidence-bucket"]);
    let create = |piece| asked(piece, StepAction::Create);
    let steps = vec![
        step(
            inline_policy(PolicyHolder::Role("guard".to_owned()), &checks),
            StepAction::Create,
            &["--with guard-policy"],
        ),
        create(Piece::Bucket(bucket)),
        create(sse_kms(evidence, KEY)),
        create(block(evidence)),
        create(bucket_policy(evidence, &[tls_statement("aws", evidence)])),
        create(versioning(evidence)),
        create(lock(evidence, governance, year)),
        asked(versioning("acme-plain"), changed(json!("Suspended"))),
        create(lock("acme-plain", governance, year)),
        asked(versioning("acme-short"), StepAction::Keep),
        asked(
            lock("acme-short", RetentionMode::Compliance, RetentionPeriod::Years(1)),
            changed(json!({"mode": "COMPLIANCE", "days": 30})),
        ),
    ];
    plan(steps, None)
}

/// Text for documents: any characters, and what has a meaning somewhere.
fn any_text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "${",
        "$${",
        "%{",
        "%%{",
        "$",
        "%",
        "{",
        "}",
        "\"",
        "\\",
        "\n",
        "\t",
        "\u{202e}",
        "é",
        "😀",
        "${aws:username}",
        MADE_KEY,
        "arn:aws:s3:::bucket-0",
        "arn:aws:s3:::bucket-0/x",
        "arn:aws:s3:::bucket-00",
        "arn:aws:iam::123456789012:role/role-0",
        "true",
        "null",
        "~",
        "- ",
        ": ",
        " #",
        "0x1",
        "1_0",
        "2012-10-17",
        "<<EOF",
        "!Sub x",
        "&a",
        "*a",
        "'",
        "---",
        " ",
        "s3://bucket-0/emr/nodes.zip",
    ]);
    prop_oneof![
        3 => known.clone().prop_map(str::to_owned),
        2 => prop::collection::vec(known, 0..5).prop_map(|parts| parts.concat()),
        1 => "\\PC{0,12}",
        1 => any::<String>(),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => any_text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![any_text(), "[a-zA-Z:]{1,20}", Just("for".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A document, and another one.
fn any_documents() -> impl Strategy<Value = (Value, Value)> {
    let document = |of: Value| json!({ "Version": "2012-10-17", "Statement": of });
    (any_json(), any_json())
        .prop_filter("two that differ", |(one, other)| one != other)
        .prop_map(move |(one, other)| (document(one), document(other)))
}

/// What happens to a piece: it is made, changed from what `before` says, or kept.
fn any_action(before: Value) -> impl Strategy<Value = StepAction> {
    prop_oneof![
        Just(StepAction::Create),
        Just(StepAction::Change { before }),
        Just(StepAction::Keep)
    ]
}

fn with_action(piece: Piece, before: Value) -> impl Strategy<Value = Step> {
    any_action(before).prop_map(move |action| step(piece.clone(), action, &["buckets"]))
}

fn any_encryption() -> impl Strategy<Value = BucketEncryptionSettings> {
    let kinds = vec![EncryptionKind::SseS3, EncryptionKind::SseKms, EncryptionKind::DsseKms];
    (prop::sample::select(kinds), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(kind, known_key, bucket_key, blocks_sse_c)| BucketEncryptionSettings {
            kind,
            key: (kind != EncryptionKind::SseS3)
                .then(|| if known_key { KEY.to_owned() } else { MADE_KEY.to_owned() }),
            bucket_key,
            blocks_sse_c,
        },
    )
}

fn any_block() -> impl Strategy<Value = PublicAccessBlockSettings> {
    any::<[bool; 4]>().prop_map(|[acls, ignore, policy, restrict]| PublicAccessBlockSettings {
        block_public_acls: acls,
        ignore_public_acls: ignore,
        block_public_policy: policy,
        restrict_public_buckets: restrict,
    })
}

/// The steps of one bucket: it is made with its settings, or exists and some of them are changed.
fn any_bucket(name: &'static str) -> impl Strategy<Value = Vec<Step>> {
    let settings = (any_encryption(), any_encryption(), any_block(), any_block(), any_documents());
    (any::<bool>(), settings, any::<[u8; 3]>()).prop_map(move |(made, settings, how)| {
        let (encryption, weaker, wanted_block, other_block, (policy, other_policy)) = settings;
        let bucket = bucket_name(name);
        let action = |how: u8, before: Value, differs: bool| match how % 3 {
            _ if made => StepAction::Create,
            0 => StepAction::Keep,
            1 => StepAction::Create,
            _ if differs => StepAction::Change { before },
            _ => StepAction::Keep,
        };
        // S3 knows a present key by its ARN.
        let weaker = BucketEncryptionSettings { key: weaker.key.map(|_| KEY.to_owned()), ..weaker };
        let differs = [weaker != encryption, other_block != wanted_block, true];
        let before = [
            serde_json::to_value(&weaker).unwrap(),
            serde_json::to_value(other_block).unwrap(),
            other_policy,
        ];
        let [first, second, third] = before;
        vec![
            step(
                Piece::Bucket(new_bucket(name, "eu-west-1")),
                if made { StepAction::Create } else { StepAction::Keep },
                &[],
            ),
            step(
                Piece::BucketEncryption(BucketEncryption {
                    bucket: bucket.clone(),
                    settings: encryption,
                }),
                action(how[0], first, differs[0]),
                &["buckets"],
            ),
            step(
                Piece::PublicAccessBlock(PublicAccessBlock {
                    bucket: bucket.clone(),
                    settings: wanted_block,
                }),
                action(how[1], second, differs[1]),
                &[],
            ),
            step(
                Piece::BucketPolicy(BucketPolicy { bucket, policy }),
                action(how[2], third, differs[2]),
                &["buckets"],
            ),
        ]
    })
}

fn any_role(name: &'static str) -> impl Strategy<Value = Step> {
    let arns = vec!["arn:aws:iam::aws:policy/One", "arn:aws:iam::aws:policy/path/Two"];
    (any_documents(), prop::sample::subsequence(arns, 0..=2)).prop_flat_map(
        move |((trust, other), attached)| {
            let attached: Vec<String> = attached.into_iter().map(str::to_owned).collect();
            let before = json!({ "trust": other, "attached": attached.first().into_iter().collect::<Vec<_>>() });
            let role = Role { name: name.to_owned(), trust, attached };
            with_action(Piece::Role(role), before)
        },
    )
}

fn any_inline_policy(holder: PolicyHolder, name: &'static str) -> impl Strategy<Value = Step> {
    any_documents().prop_flat_map(move |(policy, before)| {
        let piece = InlinePolicy { holder: holder.clone(), name: name.to_owned(), policy };
        with_action(Piece::InlinePolicy(piece), before)
    })
}

/// The key is made, or exists and its policy, its rotation, both or neither are changed.
fn any_key() -> impl Strategy<Value = Vec<Step>> {
    (any_documents(), 0..5_u8).prop_map(|((policy, before), how)| {
        if how == 0 {
            let key = Key { alias: "alias/acme-etl".to_owned(), policy };
            return vec![step(Piece::Key(key), StepAction::Create, &[])];
        }
        let change =
            |differs: bool, before| if differs { changed(before) } else { StepAction::Keep };
        vec![
            step(
                Piece::KeyPolicy(KeyPolicy { key: KEY.to_owned(), policy }),
                change(how == 1 || how == 2, before),
                &["local-disk"],
            ),
            step(
                Piece::KeyRotation(KeyRotation { key: KEY.to_owned() }),
                change(how == 1 || how == 3, json!(false)),
                &[],
            ),
        ]
    })
}

/// Any plan that the code has to be able to express.
pub(super) fn any_plan() -> impl Strategy<Value = SamplePlan> {
    let roles = (any_role("role-0"), any_role("role_0"), any_role("EMR_EC2_DefaultRole"));
    let policies = (
        any_inline_policy(PolicyHolder::Role("role-0".to_owned()), "acme-etl"),
        any_inline_policy(PolicyHolder::User("role-0".to_owned()), "acme.etl"),
        any_inline_policy(PolicyHolder::User("runner".to_owned()), "acme-etl"),
    );
    let buckets = (any_bucket("bucket-0"), any_bucket("bucket.0"), any_bucket("name-of-bucket"));
    let configuration = (any_json(), any::<bool>());
    (roles, any::<bool>(), any_key(), policies, buckets, configuration).prop_map(
        |(roles, profile, key, policies, buckets, (content, makes_configuration))| {
            let made = archive("bucket-0", None);
            let profile = profile.then(|| {
                let profile =
                    InstanceProfile { name: "role-0".to_owned(), role: "role-0".to_owned() };
                step(Piece::InstanceProfile(profile), StepAction::Create, &[])
            });
            let configuration = makes_configuration.then(|| {
                let content = json!({ "EncryptionConfiguration": content });
                let piece = NamedConfiguration { name: "acme-etl-1".to_owned(), content };
                step(Piece::SecurityConfiguration(piece), StepAction::Create, &[])
            });
            let steps = [roles.0, roles.1, roles.2]
                .into_iter()
                .chain(profile)
                .chain(key)
                .chain([policies.0, policies.1, policies.2])
                .chain(buckets.0)
                .chain(buckets.1)
                .chain(buckets.2)
                .chain([step(Piece::Certificates(made), StepAction::Create, &[])])
                .chain(configuration)
                .collect();
            sample("any", plan(steps, None), "eu-west-1", "eu-west-1")
        },
    )
}

/// A piece as text, for sets of pieces.
pub(super) fn as_text(piece: &Piece) -> String {
    // Maps are compared without their order.
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Object(fields) => {
                let mut fields: Vec<_> =
                    fields.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
                fields.sort_by(|one, other| one.0.cmp(&other.0));
                Value::Object(fields.into_iter().collect())
            }
            other => other.clone(),
        }
    }
    sorted(&serde_json::to_value(piece).unwrap()).to_string()
}

/// The pieces that code has to make or change, as text: all but the certificates.
pub(super) fn wanted(plan: &SetupPlan) -> BTreeSet<String> {
    plan.changes()
        .filter(|step| !matches!(step.piece, Piece::Certificates(_)))
        .map(|step| as_text(&step.piece))
        .collect()
}

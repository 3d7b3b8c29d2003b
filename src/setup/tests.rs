//! Plans carried out against the simulator, cut off, continued and taken back.

mod applied;
mod cut_off;
mod notifications;
mod object_lock;
mod refused;
mod retired;
mod sentinel;
mod taken_back;

use std::collections::BTreeSet;

use emr_simulator::{Command, Fault, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    aws::clients::Aws,
    base::names::{AccountId, S3Object},
    facts::account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
    settings::policy::EncryptionKind,
    setup::{
        apply::{ApplyError, SettlingTime, apply_at},
        journal::{SetupIdentity, SetupJournal},
        piece::{
            Bucket, BucketEncryption, BucketPolicy, CertificateArchive, InlinePolicy,
            InstanceProfile, Key, MADE_KEY, NamedConfiguration, Piece, PublicAccessBlock, Role,
        },
        plan::{SetupPlan, Step, StepAction},
        record::{AppliedStep, RECORD_VERSION, SetupRecord, UndoneStep},
        undo::undo_at,
    },
};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";
const BUCKET: &str = "acme-new";
const SERVICE_POLICY: &str = "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole";

/// An account with nothing in it but users, a network and Snowplow's buckets, and the state
/// directory of its setups.
struct Account {
    simulator: Simulator,
    aws: Aws,
    state_dir: TempDir,
}

impl Account {
    fn empty() -> Self {
        let simulator = Simulator::start().unwrap();
        let account = Self {
            aws: Aws::for_tests(&simulator.url()),
            simulator,
            state_dir: tempfile::tempdir().unwrap(),
        };
        account.command(json!({"seed": {"scene": "empty"}}));
        account.command(json!({"set_quotas": {"on": false}}));
        account
    }

    /// Applies a command: its name, and an object with its parts.
    fn command(&self, command: Value) {
        let (name, mut command) = match command {
            Value::Object(command) => command.into_iter().next().unwrap(),
            name => (name.as_str().unwrap().to_owned(), json!({})),
        };
        command["command"] = name.into();
        let command: Command = serde_json::from_value(command).unwrap();
        self.simulator.apply(command).unwrap();
    }

    fn fault(&self, fault: Fault) {
        self.simulator.apply(Command::AddFault(fault)).unwrap();
    }

    fn journal(&self) -> SetupJournal {
        let identity = SetupIdentity {
            name: "acme".to_owned(),
            account: AccountId::new(ACCOUNT),
            region: REGION.to_owned(),
        };
        SetupJournal::open(self.state_dir.path(), identity).unwrap()
    }

    /// Carries out a plan. The journal's steps are then in a report.
    async fn apply(&self, plan: &SetupPlan) -> (Result<(), ApplyError>, Vec<AppliedStep>) {
        let mut journal = self.journal();
        let (result, told) = self.apply_with(plan, &mut journal).await;
        assert_eq!(journal.steps(), told);
        (result, told)
    }

    async fn apply_with(
        &self,
        plan: &SetupPlan,
        journal: &mut SetupJournal,
    ) -> (Result<(), ApplyError>, Vec<AppliedStep>) {
        let mut told = journal.steps().to_vec();
        let mut tell = |step: &AppliedStep| told.push(step.clone());
        let mut archive = |_: &CertificateArchive| Ok(b"an archive".to_vec());
        let time = SettlingTime::NONE;
        let applied = apply_at(&self.aws, plan, journal, &mut archive, &mut tell, time);
        let result = Box::pin(applied).await;
        (result, told)
    }

    /// Takes a record back. What was done is then in a report.
    async fn undo(&self, record: &SetupRecord) -> Vec<UndoneStep> {
        let mut journal = self.journal();
        let mut told = Vec::new();
        let mut tell = |step: &UndoneStep| told.push(step.clone());
        let undone = undo_at(&self.aws, record, &mut journal, &mut tell, SettlingTime::NONE);
        let undone = Box::pin(undone).await.unwrap();
        assert!(undone.stopped.is_none());
        assert_eq!(undone.steps, told);
        journal.undo_reported().unwrap();
        undone.steps
    }

    /// What the account has of the kinds that setup makes, without keys.
    fn state(&self) -> Value {
        self.simulator.with_world(|world| {
            let mut state = json!(world);
            let kinds =
                ["buckets", "roles", "users", "instance_profiles", "security_configurations"];
            let kinds: BTreeSet<&str> = kinds.into();
            state.as_object_mut().unwrap().retain(|kind, _| kinds.contains(kind.as_str()));
            state
        })
    }

    /// The names of the calls that can change something, in order.
    fn writes(&self) -> Vec<String> {
        let requests = self.simulator.requests();
        let writes = requests.into_iter().filter(|request| request.subject.writes);
        writes.map(|request| request.subject.operation).collect()
    }

    fn keys(&self) -> usize {
        self.simulator.with_world(|world| world.keys.len())
    }
}

fn record(steps: Vec<AppliedStep>) -> SetupRecord {
    let now = time::OffsetDateTime::now_utc();
    let record = SetupRecord {
        version: RECORD_VERSION,
        name: "acme".to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        started: now,
        finished: now,
        steps,
        security_configuration: Some("acme-0a1b2c3d".to_owned()),
    };
    // As it is read from a report.
    let text = serde_json::to_string(&record).unwrap();
    let read: SetupRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(read, record);
    read
}

fn step(piece: Piece, action: StepAction) -> Step {
    Step { piece, action, checks: Vec::new(), source: "", cost: None, notes: Vec::new() }
}

fn plan(steps: Vec<Step>) -> SetupPlan {
    SetupPlan { steps, security_configuration: None, advice: Vec::new() }
}

fn trust(service: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole",
    }]})
}

fn tls_only() -> Value {
    json!({"Sid": "EmrEtlGuardTls", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}})
}

fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn service_role() -> Piece {
    Piece::Role(Role {
        name: "acme-service".to_owned(),
        path: Role::NO_PATH.to_owned(),
        trust: trust("elasticmapreduce.amazonaws.com"),
        attached: vec![SERVICE_POLICY.to_owned()],
    })
}

fn instance_role() -> Piece {
    Piece::Role(Role {
        name: "acme-instances".to_owned(),
        path: Role::NO_PATH.to_owned(),
        trust: trust("ec2.amazonaws.com"),
        attached: Vec::new(),
    })
}

fn instance_profile() -> Piece {
    Piece::InstanceProfile(InstanceProfile {
        name: "acme-instances".to_owned(),
        role: "acme-instances".to_owned(),
    })
}

fn key() -> Piece {
    let role = format!("arn:aws:iam::{ACCOUNT}:role/acme-instances");
    Piece::Key(Key {
        alias: "alias/acme".to_owned(),
        policy: document(&[
            json!({"Sid": "Account", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
                "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}}),
            json!({"Sid": "Instances", "Effect": "Allow", "Principal": {"AWS": role},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"}),
        ]),
    })
}

fn inline_policy() -> Piece {
    Piece::InlinePolicy(InlinePolicy {
        holder: PolicyHolder::Role("acme-instances".to_owned()),
        name: "acme-emr-etl-guard".to_owned(),
        policy: document(&[json!({"Sid": "EmrEtlGuardKey", "Effect": "Allow",
            "Action": ["kms:Decrypt"], "Resource": [MADE_KEY]})]),
    })
}

fn bucket() -> Piece {
    Piece::Bucket(Bucket {
        bucket: BUCKET.parse().unwrap(),
        region: REGION.to_owned(),
        object_lock: false,
    })
}

fn encryption() -> Piece {
    Piece::BucketEncryption(BucketEncryption {
        bucket: BUCKET.parse().unwrap(),
        settings: BucketEncryptionSettings {
            kind: EncryptionKind::SseKms,
            key: Some(MADE_KEY.to_owned()),
            bucket_key: true,
            blocks_sse_c: true,
        },
    })
}

fn access_block() -> Piece {
    Piece::PublicAccessBlock(PublicAccessBlock {
        bucket: BUCKET.parse().unwrap(),
        settings: PublicAccessBlockSettings {
            block_public_acls: true,
            ignore_public_acls: true,
            block_public_policy: true,
            restrict_public_buckets: true,
        },
    })
}

fn bucket_policy() -> Piece {
    let policy = document(&[tls_only()]);
    Piece::BucketPolicy(BucketPolicy { bucket: BUCKET.parse().unwrap(), policy })
}

fn certificates() -> Piece {
    Piece::Certificates(CertificateArchive {
        object: S3Object::parse(&format!("s3://{BUCKET}/certificates.zip")).unwrap(),
        names: vec!["*.eu-west-1.compute.internal".to_owned()],
        days: 365,
        key: Some(MADE_KEY.to_owned()),
    })
}

fn configuration() -> Piece {
    Piece::SecurityConfiguration(NamedConfiguration {
        name: "acme-0a1b2c3d".to_owned(),
        content: json!({"EncryptionConfiguration": {
            "EnableAtRestEncryption": true, "EnableInTransitEncryption": true,
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration":
                    {"EncryptionMode": "SSE-KMS", "AwsKmsKey": MADE_KEY},
                "LocalDiskEncryptionConfiguration":
                    {"EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": MADE_KEY,
                     "EnableEbsEncryption": true},
            },
            "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": {
                "CertificateProviderType": "PEM",
                "S3Object": format!("s3://{BUCKET}/certificates.zip"),
            }},
        }}),
    })
}

/// Everything, in an account that has nothing of it.
fn everything() -> SetupPlan {
    let pieces = [
        service_role(),
        instance_role(),
        instance_profile(),
        key(),
        inline_policy(),
        bucket(),
        encryption(),
        access_block(),
        bucket_policy(),
        certificates(),
        configuration(),
    ];
    plan(pieces.into_iter().map(|piece| step(piece, StepAction::Create)).collect())
}

/// The state without what differs between two accounts: random ids and times.
fn without_ids(mut state: Value) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields
                    .retain(|name, _| !["id", "created", "visible_from"].contains(&name.as_str()));
                fields.values_mut().for_each(clean);
            }
            Value::Array(items) => items.iter_mut().for_each(clean),
            _ => {}
        }
    }
    clean(&mut state);
    state
}

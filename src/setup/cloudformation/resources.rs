//! Pieces as CloudFormation resources. Settings of one bucket, and of one key, are one resource.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    base::names::BucketName,
    facts::{
        account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
        object_lock::{DefaultRetention, VERSIONING_ON},
    },
    setup::{
        code::{inline_policy_name, is_of_existing_key, key_id, reasons, sse_algorithm},
        piece::{
            EventRule, InlinePolicy, InstanceProfile, KEY_DESCRIPTION, Key, KeyPolicy, Piece, Role,
        },
        plan::{Step, StepAction},
    },
};

use super::{
    CHANGING, CloudFormationCode,
    yaml::{TemplateEntry, TemplateNode},
};

/// A resource that has to be imported: its logical id, its type and what identifies it.
type ImportEntry = (String, &'static str, Map<String, Value>);

impl CloudFormationCode<'_> {
    /// The resources.
    pub(super) fn resources(&self) -> Vec<TemplateEntry> {
        let mut resources: Vec<TemplateEntry> = Vec::new();
        for step in &self.steps {
            let id = self.resource_id(&step.piece);
            if resources.iter().any(|resource| resource.key == id) {
                continue;
            }
            // A bucket's settings are a part of it, and so are a key's.
            let steps: Vec<&Step> = self
                .steps
                .iter()
                .copied()
                .filter(|other| self.resource_id(&other.piece) == id)
                .collect();
            resources.push(self.resource(id, &steps));
            match &step.piece {
                Piece::Key(key) => resources.push(self.alias(key)),
                Piece::AlertTopic(topic) => {
                    let topics = TemplateNode::List(vec![TemplateNode::reference("AlertTopic")]);
                    let of = ("AWS::SNS::TopicPolicy", "Topics", topics);
                    resources.push(self.resource_policy("AlertTopicPolicy", of, &topic.policy));
                }
                Piece::EventQueue(queue) => {
                    let queues = TemplateNode::List(vec![TemplateNode::reference("EventQueue")]);
                    let of = ("AWS::SQS::QueuePolicy", "Queues", queues);
                    resources.push(self.resource_policy("EventQueuePolicy", of, &queue.policy));
                }
                _ => {}
            }
        }
        resources
    }

    /// One resource of one or more steps.
    fn resource(&self, id: String, steps: &[&Step]) -> TemplateEntry {
        let made = !exists(steps);
        let properties = steps.first().map_or_else(Vec::new, |step| self.properties(step, steps));
        let kind = steps.first().map_or("", |step| resource_type(&step.piece));
        let checks: BTreeSet<&str> =
            steps.iter().flat_map(|step| step.checks.iter().copied()).collect();
        let sources: BTreeSet<&str> = steps.iter().map(|step| step.source).collect();
        let reasons_of =
            |step: &&Step| reasons(step).iter().map(ToString::to_string).collect::<Vec<String>>();
        let comment = steps.iter().flat_map(reasons_of).collect();
        let metadata = json!({ "EmrEtlGuard": { "Checks": checks, "Sources": sources } });
        self.entry(id, kind, made, comment, Some(&metadata), properties)
    }

    /// The policy of a topic or queue: the type of its resource, and the property that names what
    /// it is of.
    fn resource_policy(
        &self,
        id: &str,
        (kind, property, of): (&str, &str, TemplateNode),
        policy: &Value,
    ) -> TemplateEntry {
        let properties = vec![
            TemplateEntry::new(property, of),
            TemplateEntry::new("PolicyDocument", self.json(policy)),
        ];
        self.entry(id.to_owned(), kind, true, vec!["Its policy.".to_owned()], None, properties)
    }

    fn alias(&self, key: &Key) -> TemplateEntry {
        let comment = vec![format!("The key's alias, {}.", key.alias)];
        let properties = vec![
            TemplateEntry::new("AliasName", TemplateNode::reference("KeyAliasName")),
            TemplateEntry::new("TargetKeyId", TemplateNode::reference("Key")),
        ];
        self.entry("KeyAlias".to_owned(), "AWS::KMS::Alias", true, comment, None, properties)
    }

    pub(super) fn entry(
        &self,
        key: String,
        kind: &str,
        made: bool,
        comment: Vec<String>,
        metadata: Option<&Value>,
        properties: Vec<TemplateEntry>,
    ) -> TemplateEntry {
        let mut fields = vec![TemplateEntry::new("Type", TemplateNode::text(kind))];
        if made && self.imports {
            fields.push(TemplateEntry::new("Condition", TemplateNode::text(CHANGING)));
        }
        // What a later template no longer names is kept.
        fields.push(TemplateEntry::new("DeletionPolicy", TemplateNode::text("Retain")));
        fields.push(TemplateEntry::new("UpdateReplacePolicy", TemplateNode::text("Retain")));
        if let Some(metadata) = metadata {
            fields.push(TemplateEntry::new(
                "Metadata",
                TemplateNode::of_json(metadata, &|text| TemplateNode::text(text)),
            ));
        }
        fields.push(TemplateEntry::new("Properties", TemplateNode::Map(properties)));
        TemplateEntry { comment, key, value: TemplateNode::Map(fields) }
    }

    fn properties(&self, step: &Step, steps: &[&Step]) -> Vec<TemplateEntry> {
        match &step.piece {
            Piece::Role(role) => self.role(role, step),
            Piece::InstanceProfile(profile) => self.instance_profile(profile, step),
            Piece::Key(key) => vec![
                TemplateEntry::new("Description", TemplateNode::text(KEY_DESCRIPTION)),
                TemplateEntry::new("EnableKeyRotation", TemplateNode::Raw("true".to_owned())),
                TemplateEntry::new("KeyPolicy", self.json(&key.policy)),
                TemplateEntry::new("PendingWindowInDays", TemplateNode::Raw("30".to_owned())),
            ],
            Piece::KeyPolicy(KeyPolicy { key, .. }) => self.existing_key(key, steps),
            Piece::KeyRotation(rotation) => self.existing_key(&rotation.key, steps),
            Piece::InlinePolicy(policy) => self.inline_policy(policy, step),
            Piece::Bucket(made) => self.bucket(&made.bucket, steps),
            Piece::BucketEncryption(encryption) => self.bucket(&encryption.bucket, steps),
            Piece::PublicAccessBlock(block) => self.bucket(&block.bucket, steps),
            Piece::BucketPolicy(policy) => {
                let document = self.stepwise(step, before_document(step), &policy.policy);
                vec![
                    TemplateEntry::new("Bucket", self.bucket_name(&policy.bucket)),
                    TemplateEntry::new("PolicyDocument", document),
                ]
            }
            Piece::SecurityConfiguration(configuration) => vec![
                TemplateEntry::new("Name", TemplateNode::reference("SecurityConfigurationName")),
                TemplateEntry::new("SecurityConfiguration", self.json(&configuration.content)),
            ],
            Piece::Certificates(_) | Piece::Alarm(_) => vec![],
            Piece::BucketVersioning(of) => self.bucket(&of.bucket, steps),
            Piece::ObjectLock(lock) => self.bucket(&lock.bucket, steps),
            Piece::AlertTopic(topic) => vec![
                TemplateEntry::new("KmsMasterKeyId", TemplateNode::text(&topic.key)),
                TemplateEntry::new("TopicName", TemplateNode::text(topic.name())),
            ],
            Piece::EventQueue(queue) => vec![
                TemplateEntry::new(
                    "MessageRetentionPeriod",
                    TemplateNode::Raw(queue.retention.to_string()),
                ),
                TemplateEntry::new("QueueName", TemplateNode::text(queue.name())),
                TemplateEntry::new("SqsManagedSseEnabled", TemplateNode::Raw("true".to_owned())),
            ],
            Piece::EventRule(rule) => self.event_rule(rule),
        }
    }

    fn event_rule(&self, rule: &EventRule) -> Vec<TemplateEntry> {
        let makes_queue = self
            .steps
            .iter()
            .any(|step| matches!(&step.piece, Piece::EventQueue(queue) if queue.arn == rule.queue));
        let queue = if makes_queue {
            TemplateNode::attribute("EventQueue", "Arn")
        } else {
            TemplateNode::text(&rule.queue)
        };
        let target =
            TemplateNode::map([("Arn", queue), ("Id", TemplateNode::text(EventRule::TARGET))]);
        vec![
            TemplateEntry::new("Description", TemplateNode::text(&rule.description)),
            TemplateEntry::new("EventPattern", self.json(&rule.pattern)),
            TemplateEntry::new("Name", TemplateNode::text(rule.name())),
            TemplateEntry::new("State", TemplateNode::text("ENABLED")),
            TemplateEntry::new("Targets", TemplateNode::List(vec![target])),
        ]
    }

    fn role(&self, role: &Role, step: &Step) -> Vec<TemplateEntry> {
        let piece = &step.piece;
        let name = self.name(piece, step, &role.name);
        let trust = before(step).map(|before| before.get("trust").unwrap_or(before));
        let trust = trust.filter(|trust| trust.get("Statement").is_some());
        let trust = self.stepwise(step, trust.cloned(), &role.trust);
        let mut properties = vec![
            TemplateEntry::new("RoleName", name),
            TemplateEntry::new("AssumeRolePolicyDocument", trust),
        ];
        let mut attached: Vec<Value> = before(step)
            .and_then(|before| before.get("attached").and_then(Value::as_array))
            .cloned()
            .unwrap_or_default();
        let present = Value::Array(attached.clone());
        for arn in &role.attached {
            if !attached.iter().any(|other| other == arn) {
                attached.push(json!(arn));
            }
        }
        if !attached.is_empty() {
            let arns = self.stepwise(step, Some(present), &Value::Array(attached));
            properties.push(TemplateEntry::new("ManagedPolicyArns", arns));
        }
        properties
    }

    fn instance_profile(&self, profile: &InstanceProfile, step: &Step) -> Vec<TemplateEntry> {
        let role = if self.references.makes_role(&profile.role) {
            TemplateNode::reference(format!("Role{}", self.id(&profile.role)))
        } else {
            TemplateNode::text(&profile.role)
        };
        let present = before(step).map(|before| before.get("role").unwrap_or(before));
        let present = present.map(|role| match role.as_str() {
            Some(role) => TemplateNode::List(vec![TemplateNode::text(role)]),
            None => TemplateNode::List(vec![]),
        });
        let roles = TemplateNode::List(vec![role]);
        vec![
            TemplateEntry::new("InstanceProfileName", self.name(&step.piece, step, &profile.name)),
            TemplateEntry::new("Roles", choice(present, roles)),
        ]
    }

    fn inline_policy(&self, policy: &InlinePolicy, step: &Step) -> Vec<TemplateEntry> {
        let (property, holder) = match &policy.holder {
            PolicyHolder::Role(name) if self.references.makes_role(name) => {
                ("RoleName", TemplateNode::reference(format!("Role{}", self.id(name))))
            }
            PolicyHolder::Role(name) => ("RoleName", TemplateNode::text(name)),
            PolicyHolder::User(name) => ("UserName", TemplateNode::text(name)),
        };
        let document = self.stepwise(step, before_document(step), &policy.policy);
        vec![
            TemplateEntry::new("PolicyName", TemplateNode::text(&policy.name)),
            TemplateEntry::new(property, holder),
            TemplateEntry::new("PolicyDocument", document),
        ]
    }

    /// A key that exists. CloudFormation always sets its policy, so this one is given even where
    /// only the rotation changes.
    fn existing_key(&self, arn: &str, steps: &[&Step]) -> Vec<TemplateEntry> {
        let of_key = |piece: &Piece| match piece {
            Piece::KeyPolicy(policy) => policy.key == arn,
            Piece::KeyRotation(rotation) => rotation.key == arn,
            _ => false,
        };
        let mut properties = Vec::new();
        for step in self.plan.steps.iter().filter(|step| of_key(&step.piece)) {
            let changes = steps.contains(&step);
            if !changes && step.action != StepAction::Keep {
                continue;
            }
            match &step.piece {
                Piece::KeyPolicy(policy) if changes => {
                    let document = self.stepwise(step, before_document(step), &policy.policy);
                    properties.push(TemplateEntry::new("KeyPolicy", document));
                }
                Piece::KeyPolicy(policy) => {
                    properties.push(TemplateEntry::new("KeyPolicy", literal(&policy.policy)));
                }
                _ if changes => {
                    let (rotated, now) =
                        (TemplateNode::Raw("true".into()), TemplateNode::Raw("false".into()));
                    properties
                        .push(TemplateEntry::new("EnableKeyRotation", choice(Some(now), rotated)));
                }
                _ => properties.push(TemplateEntry::new(
                    "EnableKeyRotation",
                    TemplateNode::Raw("true".into()),
                )),
            }
        }
        properties
    }

    fn bucket(&self, bucket: &BucketName, steps: &[&Step]) -> Vec<TemplateEntry> {
        let exists = exists(steps);
        let mut properties = vec![TemplateEntry::new("BucketName", self.bucket_name(bucket))];
        for step in steps {
            // An existing bucket without a setting has it only once it is changed.
            let choose = |now: Option<TemplateNode>, wanted: TemplateNode| {
                let absent = TemplateNode::reference("AWS::NoValue");
                choice(exists.then(|| now.unwrap_or(absent)), wanted)
            };
            match &step.piece {
                Piece::BucketEncryption(encryption) => {
                    let now = before_settings(step).map(|now| self.encryption(&now, false));
                    let wanted = self.encryption(&encryption.settings, true);
                    properties.push(TemplateEntry::new("BucketEncryption", choose(now, wanted)));
                }
                Piece::PublicAccessBlock(block) => {
                    let now = before_settings(step).map(public_access_block);
                    let wanted = public_access_block(block.settings);
                    properties.push(TemplateEntry::new(
                        "PublicAccessBlockConfiguration",
                        choose(now, wanted),
                    ));
                }
                Piece::BucketVersioning(_) => {
                    let status =
                        |status: &str| TemplateNode::map([("Status", TemplateNode::text(status))]);
                    let now = before(step).and_then(Value::as_str).map(status);
                    properties.push(TemplateEntry::new(
                        "VersioningConfiguration",
                        choose(now, status(VERSIONING_ON)),
                    ));
                }
                Piece::ObjectLock(lock) => {
                    let now = before_settings(step);
                    let has_lock = || TemplateNode::Raw("true".to_owned());
                    properties.push(TemplateEntry::new(
                        "ObjectLockEnabled",
                        choose(now.map(|_| has_lock()), has_lock()),
                    ));
                    properties.push(TemplateEntry::new(
                        "ObjectLockConfiguration",
                        choose(now.map(object_lock), object_lock(lock.retention)),
                    ));
                }
                _ => {}
            }
        }
        properties
    }

    /// The default encryption; with references where it is `wanted`, and as it is where it exists.
    fn encryption(&self, settings: &BucketEncryptionSettings, wanted: bool) -> TemplateNode {
        let algorithm = TemplateNode::text(sse_algorithm(settings.kind));
        let mut by_default = vec![("SSEAlgorithm", algorithm)];
        if let Some(key) = &settings.key {
            let key = if wanted { self.text(key) } else { TemplateNode::text(key) };
            by_default.push(("KMSMasterKeyID", key));
        }
        let mut rule = vec![
            ("BucketKeyEnabled", TemplateNode::Raw(settings.bucket_key.to_string())),
            ("ServerSideEncryptionByDefault", TemplateNode::map(by_default)),
        ];
        if settings.blocks_sse_c {
            let kinds = TemplateNode::List(vec![TemplateNode::text("SSE-C")]);
            rule.push(("BlockedEncryptionTypes", TemplateNode::map([("EncryptionType", kinds)])));
        }
        TemplateNode::map([(
            "ServerSideEncryptionConfiguration",
            TemplateNode::List(vec![TemplateNode::map(rule)]),
        )])
    }

    /// A document with references.
    fn json(&self, document: &Value) -> TemplateNode {
        TemplateNode::of_json(document, &|text| self.text(text))
    }

    /// A document of a step: the one that exists while it is imported, and the wanted one.
    fn stepwise(&self, step: &Step, now: Option<Value>, wanted: &Value) -> TemplateNode {
        let exists = step.action != StepAction::Create;
        // Without a present document the wanted one is used; then nothing else is known.
        let now = now.filter(|_| exists).map(|now| literal(&now));
        choice(now, self.json(wanted))
    }

    /// The logical id of a piece's resource.
    pub(super) fn resource_id(&self, piece: &Piece) -> String {
        match piece {
            Piece::Role(role) => format!("Role{}", self.id(&role.name)),
            Piece::InstanceProfile(profile) => format!("Profile{}", self.id(&profile.name)),
            Piece::Key(_) => "Key".to_owned(),
            Piece::KeyPolicy(KeyPolicy { key, .. }) => format!("ExistingKey{}", self.id(key)),
            Piece::KeyRotation(rotation) => format!("ExistingKey{}", self.id(&rotation.key)),
            Piece::InlinePolicy(policy) => {
                let name = inline_policy_name(&policy.holder, &policy.name);
                format!("InlinePolicy{}", self.id(&name))
            }
            Piece::Bucket(made) => format!("Bucket{}", self.id(made.bucket.as_str())),
            Piece::BucketEncryption(encryption) => {
                format!("Bucket{}", self.id(encryption.bucket.as_str()))
            }
            Piece::PublicAccessBlock(block) => format!("Bucket{}", self.id(block.bucket.as_str())),
            Piece::BucketPolicy(policy) => {
                format!("PolicyOfBucket{}", self.id(policy.bucket.as_str()))
            }
            Piece::Certificates(_) => "Certificates".to_owned(),
            Piece::SecurityConfiguration(_) => "SecurityConfiguration".to_owned(),
            Piece::BucketVersioning(of) => format!("Bucket{}", self.id(of.bucket.as_str())),
            Piece::ObjectLock(lock) => format!("Bucket{}", self.id(lock.bucket.as_str())),
            Piece::AlertTopic(_) => "AlertTopic".to_owned(),
            Piece::EventQueue(_) => "EventQueue".to_owned(),
            Piece::EventRule(_) => "EventRule".to_owned(),
            Piece::Alarm(_) => "Alarm".to_owned(),
        }
    }

    /// The parameter with the name of something that is made, and its default.
    pub(super) fn name_parameter(&self, piece: &Piece) -> Option<(String, String)> {
        match piece {
            Piece::Role(role) => {
                Some((format!("NameOfRole{}", self.id(&role.name)), role.name.clone()))
            }
            Piece::InstanceProfile(profile) => {
                Some((format!("NameOfProfile{}", self.id(&profile.name)), profile.name.clone()))
            }
            Piece::Key(key) => Some(("KeyAliasName".to_owned(), key.alias.clone())),
            Piece::Bucket(made) => {
                let name = made.bucket.as_str();
                Some((format!("NameOfBucket{}", self.id(name)), name.to_owned()))
            }
            Piece::SecurityConfiguration(configuration) => {
                Some(("SecurityConfigurationName".to_owned(), configuration.name.clone()))
            }
            _ => None,
        }
    }

    /// The name of a piece: a parameter for what is made.
    fn name(&self, piece: &Piece, step: &Step, name: &str) -> TemplateNode {
        match self.name_parameter(piece) {
            Some((parameter, _)) if step.action == StepAction::Create => {
                TemplateNode::reference(parameter)
            }
            _ => TemplateNode::text(name),
        }
    }

    /// What has to be imported.
    pub(super) fn import_entries(&self) -> Vec<ImportEntry> {
        let mut entries: Vec<ImportEntry> = Vec::new();
        for step in &self.steps {
            let id = self.resource_id(&step.piece);
            let of_resource = |other: &&&Step| self.resource_id(&other.piece) == id;
            let steps: Vec<&Step> = self.steps.iter().filter(of_resource).copied().collect();
            if !exists(&steps) || entries.iter().any(|(other, ..)| *other == id) {
                continue;
            }
            if let Value::Object(identifier) = identifier(&step.piece) {
                entries.push((id, resource_type(&step.piece), identifier));
            }
        }
        entries
    }
}

/// A document as it is.
fn literal(document: &Value) -> TemplateNode {
    TemplateNode::of_json(document, &|text| TemplateNode::text(text))
}

/// What exists, while it is imported, and what is wanted; only the latter, if nothing exists.
fn choice(now: Option<TemplateNode>, wanted: TemplateNode) -> TemplateNode {
    match now {
        Some(now) if now != wanted => {
            let choice = vec![TemplateNode::text(CHANGING), wanted, now];
            TemplateNode::Tagged("!If", Box::new(TemplateNode::List(choice)))
        }
        _ => wanted,
    }
}

/// Whether the resource of these steps exists.
fn exists(steps: &[&Step]) -> bool {
    steps.iter().all(|step| match &step.piece {
        // A setting of a bucket that is made is made with it.
        Piece::Bucket(_) => step.action != StepAction::Create,
        Piece::BucketEncryption(_)
        | Piece::PublicAccessBlock(_)
        | Piece::BucketVersioning(_)
        | Piece::ObjectLock(_) => true,
        piece => is_of_existing_key(piece) || step.action != StepAction::Create,
    })
}

/// The type of a piece's resource.
const fn resource_type(piece: &Piece) -> &'static str {
    match piece {
        Piece::Role(_) => "AWS::IAM::Role",
        Piece::InstanceProfile(_) => "AWS::IAM::InstanceProfile",
        Piece::Key(_) | Piece::KeyPolicy(_) | Piece::KeyRotation(_) => "AWS::KMS::Key",
        Piece::InlinePolicy(InlinePolicy { holder: PolicyHolder::Role(_), .. }) => {
            "AWS::IAM::RolePolicy"
        }
        Piece::InlinePolicy(_) => "AWS::IAM::UserPolicy",
        Piece::Bucket(_)
        | Piece::BucketEncryption(_)
        | Piece::PublicAccessBlock(_)
        | Piece::BucketVersioning(_)
        | Piece::ObjectLock(_) => "AWS::S3::Bucket",
        Piece::BucketPolicy(_) => "AWS::S3::BucketPolicy",
        Piece::Certificates(_) => "",
        Piece::SecurityConfiguration(_) => "AWS::EMR::SecurityConfiguration",
        Piece::AlertTopic(_) => "AWS::SNS::Topic",
        Piece::EventQueue(_) => "AWS::SQS::Queue",
        Piece::EventRule(_) => "AWS::Events::Rule",
        Piece::Alarm(_) => "AWS::CloudWatch::Alarm",
    }
}

/// What identifies an existing resource when it is imported: the primary identifier of its type.
fn identifier(piece: &Piece) -> Value {
    match piece {
        Piece::Role(role) => json!({ "RoleName": role.name }),
        Piece::InstanceProfile(profile) => json!({ "InstanceProfileName": profile.name }),
        Piece::KeyPolicy(KeyPolicy { key, .. }) => json!({ "KeyId": key_id(key) }),
        Piece::KeyRotation(rotation) => json!({ "KeyId": key_id(&rotation.key) }),
        Piece::InlinePolicy(policy) => match &policy.holder {
            PolicyHolder::Role(name) => json!({ "PolicyName": policy.name, "RoleName": name }),
            PolicyHolder::User(name) => json!({ "PolicyName": policy.name, "UserName": name }),
        },
        Piece::Bucket(made) => json!({ "BucketName": made.bucket }),
        Piece::BucketEncryption(encryption) => json!({ "BucketName": encryption.bucket }),
        Piece::PublicAccessBlock(block) => json!({ "BucketName": block.bucket }),
        Piece::BucketPolicy(policy) => json!({ "Bucket": policy.bucket }),
        Piece::SecurityConfiguration(configuration) => json!({ "Name": configuration.name }),
        Piece::BucketVersioning(of) => json!({ "BucketName": of.bucket }),
        Piece::ObjectLock(lock) => json!({ "BucketName": lock.bucket }),
        // Of these, what exists is not changed by a template.
        Piece::Key(_)
        | Piece::Certificates(_)
        | Piece::AlertTopic(_)
        | Piece::EventQueue(_)
        | Piece::EventRule(_)
        | Piece::Alarm(_) => Value::Null,
    }
}

/// The present settings of what a step changes.
const fn before(step: &Step) -> Option<&Value> {
    match &step.action {
        StepAction::Change { before } => Some(before),
        _ => None,
    }
}

/// The present document of what a step changes.
fn before_document(step: &Step) -> Option<Value> {
    let before = before(step)?;
    before.get("policy").or(Some(before)).filter(|document| document.is_object()).cloned()
}

/// The present settings of a bucket that a step changes.
fn before_settings<T: serde::de::DeserializeOwned>(step: &Step) -> Option<T> {
    let before = before(step)?;
    let settings = before.get("settings").unwrap_or(before);
    serde_json::from_value(settings.clone()).ok()
}

fn public_access_block(settings: PublicAccessBlockSettings) -> TemplateNode {
    let flag = |value: bool| TemplateNode::Raw(value.to_string());
    TemplateNode::map([
        ("BlockPublicAcls", flag(settings.block_public_acls)),
        ("BlockPublicPolicy", flag(settings.block_public_policy)),
        ("IgnorePublicAcls", flag(settings.ignore_public_acls)),
        ("RestrictPublicBuckets", flag(settings.restrict_public_buckets)),
    ])
}

/// Object Lock with a retention of new objects.
fn object_lock(retention: DefaultRetention) -> TemplateNode {
    let (unit, number) = retention.period.parts();
    let retention = TemplateNode::map([
        (unit, TemplateNode::Raw(number.to_string())),
        ("Mode", TemplateNode::text(retention.mode.as_str())),
    ]);
    TemplateNode::map([
        ("ObjectLockEnabled", TemplateNode::text("Enabled")),
        ("Rule", TemplateNode::map([("DefaultRetention", retention)])),
    ])
}

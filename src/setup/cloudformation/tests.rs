//! The templates of plans, read back under both values of `Step`: what differs is what a plan makes
//! or changes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use serde_yaml::Value as Yaml;

use super::*;
use crate::{
    facts::account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
    setup::{
        piece::{
            AlertTopic, Bucket, BucketEncryption, BucketObjectLock, BucketPolicy, BucketVersioning,
            EventQueue, EventRule, InlinePolicy, InstanceProfile, Key, KeyPolicy, KeyRotation,
            MADE_KEY, NamedConfiguration, PublicAccessBlock, Role,
        },
        samples::{KEY, SamplePlan, any_plan, as_text, samples, wanted},
    },
};

/// A template with the parameters of a stack.
struct ReadTemplate<'a> {
    sample: &'a SamplePlan,
    template: Yaml,
    step: &'static str,
}

impl<'a> ReadTemplate<'a> {
    fn of(sample: &'a SamplePlan, step: &'static str) -> Self {
        let text = cloudformation(&sample.plan, &sample.context());
        let template = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        Self { sample, template, step }
    }

    fn parameter(&self, name: &str) -> Option<Value> {
        if name == "Step" {
            return Some(json!(self.step));
        }
        let parameter = self.template.get("Parameters")?.get(name)?;
        Some(match parameter.get("Default") {
            Some(value) => plain(value),
            // The key that another plan makes.
            None if name == "KmsKeyArn" => json!(MADE_KEY),
            None => panic!("{name}"),
        })
    }

    /// Whether a condition holds.
    fn holds(&self, name: &str) -> bool {
        let condition = self.template.get("Conditions").and_then(|all| all.get(name));
        let Some(Yaml::Tagged(tagged)) = condition else { panic!("{name}: {condition:?}") };
        assert_eq!(tagged.tag, "!Equals");
        let sides = tagged.value.as_sequence().unwrap();
        self.value(&sides[0]) == self.value(&sides[1])
    }

    /// A value; none for `AWS::NoValue`.
    fn value(&self, node: &Yaml) -> Option<Value> {
        Some(match node {
            Yaml::Sequence(items) => items.iter().filter_map(|item| self.value(item)).collect(),
            Yaml::Mapping(fields) => Value::Object(
                fields
                    .iter()
                    .filter_map(|(key, value)| {
                        Some((key.as_str().unwrap().to_owned(), self.value(value)?))
                    })
                    .collect(),
            ),
            Yaml::Tagged(tagged) => {
                let value = &tagged.value;
                match tagged.tag.to_string().as_str() {
                    "!Ref" if value.as_str() == Some("AWS::NoValue") => return None,
                    "!Ref" => self.reference(value.as_str().unwrap()),
                    "!GetAtt" => self.attribute(value.as_str().unwrap()),
                    "!Sub" => json!(self.substituted(value.as_str().unwrap())),
                    "!Join" => {
                        let parts = self.value(&value.as_sequence().unwrap()[1]).unwrap();
                        let parts = parts.as_array().unwrap().clone();
                        json!(parts.iter().map(|p| p.as_str().unwrap()).collect::<String>())
                    }
                    "!If" => {
                        let choice = value.as_sequence().unwrap();
                        let holds = self.holds(choice[0].as_str().unwrap());
                        return self.value(&choice[if holds { 1 } else { 2 }]);
                    }
                    other => panic!("{other}"),
                }
            }
            other => plain(other),
        })
    }

    fn reference(&self, name: &str) -> Value {
        if let Some(value) = self.parameter(name) {
            return value;
        }
        match self.property(name, "RoleName") {
            Some(role) => role,
            None if name == "Key" => json!("made"),
            None if name == "SecurityConfiguration" => json!("<configuration>"),
            None if ["AlertTopic", "EventQueue"].contains(&name) => json!(name),
            None if name == "DhcpOptions" => json!("<options>"),
            None => panic!("{name}"),
        }
    }

    fn attribute(&self, path: &str) -> Value {
        let (id, attribute) = path.split_once('.').unwrap();
        assert_eq!(attribute, "Arn");
        if id == "Key" {
            return json!(MADE_KEY);
        }
        if id == "EventQueue" {
            return json!(self.arn("sqs", self.property(id, "QueueName")));
        }
        let role = self.property(id, "RoleName").unwrap();
        let (partition, account) =
            (crate::base::names::partition(self.sample.region), &self.sample.account);
        json!(format!("arn:{partition}:iam::{account}:role/{}", role.as_str().unwrap()))
    }

    /// The ARN of a topic, queue or rule by its name.
    fn arn(&self, service: &str, name: Option<Value>) -> String {
        let (region, account) = (self.sample.region, &self.sample.account);
        let partition = crate::base::names::partition(region);
        let name = name.unwrap();
        let kind = if service == "events" { "rule/" } else { "" };
        format!("arn:{partition}:{service}:{region}:{account}:{kind}{}", name.as_str().unwrap())
    }

    /// A text with its `${…}` replaced, as CloudFormation does it.
    fn substituted(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((fixed, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').unwrap();
            let value =
                if name.contains('.') { self.attribute(name) } else { self.reference(name) };
            out.push_str(fixed);
            out.push_str(value.as_str().unwrap());
            rest = after;
        }
        out + rest
    }

    fn property(&self, id: &str, name: &str) -> Option<Value> {
        self.value(self.template.get("Resources")?.get(id)?.get("Properties")?.get(name)?)
    }

    /// The pieces that the stack has.
    fn pieces(&self) -> BTreeSet<String> {
        let mut pieces = BTreeSet::new();
        for (id, resource) in self.template.get("Resources").unwrap().as_mapping().unwrap() {
            if resource.get("Condition").is_some_and(|name| !self.holds(name.as_str().unwrap())) {
                continue;
            }
            let kind = resource.get("Type").unwrap().as_str().unwrap();
            if kind == "AWS::CloudFormation::WaitConditionHandle" {
                continue;
            }
            let properties = self.value(resource.get("Properties").unwrap()).unwrap();
            let properties = properties.as_object().unwrap();
            for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
                assert_eq!(resource.get(policy).unwrap().as_str(), Some("Retain"), "{id:?}");
            }
            pieces.extend(self.of_resource(id.as_str().unwrap(), kind, properties));
        }
        pieces
    }

    fn of_resource(&self, id: &str, kind: &str, properties: &Map<String, Value>) -> Vec<String> {
        let get = |name: &str| properties.get(name).cloned().unwrap_or(Value::Null);
        let text = |name: &str| get(name).as_str().unwrap_or_default().to_owned();
        let texts = |name: &str| -> Vec<String> {
            let items = get(name).as_array().cloned().unwrap_or_default();
            items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let pieces = match kind {
            "AWS::IAM::Role" => vec![Piece::Role(Role {
                name: text("RoleName"),
                path: Role::NO_PATH.to_owned(),
                trust: get("AssumeRolePolicyDocument"),
                attached: texts("ManagedPolicyArns"),
            })],
            "AWS::IAM::InstanceProfile" => texts("Roles")
                .into_iter()
                .map(|role| {
                    let name = text("InstanceProfileName");
                    Piece::InstanceProfile(InstanceProfile { name, role })
                })
                .collect(),
            "AWS::IAM::RolePolicy" | "AWS::IAM::UserPolicy" => {
                let holder = match kind {
                    "AWS::IAM::RolePolicy" => PolicyHolder::Role(text("RoleName")),
                    _ => PolicyHolder::User(text("UserName")),
                };
                let policy = get("PolicyDocument");
                vec![Piece::InlinePolicy(InlinePolicy { holder, name: text("PolicyName"), policy })]
            }
            "AWS::KMS::Key" if id == "Key" => {
                assert_eq!(get("EnableKeyRotation"), json!(true));
                let alias = self.property("KeyAlias", "AliasName").unwrap();
                assert_eq!(self.property("KeyAlias", "TargetKeyId"), Some(json!("made")));
                let alias = alias.as_str().unwrap().to_owned();
                vec![Piece::Key(Key { alias, policy: get("KeyPolicy") })]
            }
            "AWS::KMS::Key" => {
                let key = self.imported_key(id);
                let policy = KeyPolicy { key: key.clone(), policy: get("KeyPolicy") };
                let mut pieces = vec![Piece::KeyPolicy(policy)];
                if get("EnableKeyRotation") == json!(true) {
                    pieces.push(Piece::KeyRotation(KeyRotation { key }));
                }
                pieces
            }
            "AWS::KMS::Alias" => vec![],
            // Of no piece: src/setup/network_code.rs.
            "AWS::EC2::DHCPOptions" | "AWS::EC2::VPCDHCPOptionsAssociation" => vec![],
            "AWS::S3::Bucket" => self.of_bucket(properties),
            "AWS::S3::BucketPolicy" => vec![Piece::BucketPolicy(BucketPolicy {
                bucket: text("Bucket").parse().unwrap(),
                policy: get("PolicyDocument"),
            })],
            "AWS::EMR::SecurityConfiguration" => {
                vec![Piece::SecurityConfiguration(NamedConfiguration {
                    name: text("Name"),
                    content: get("SecurityConfiguration"),
                })]
            }
            // What is one piece with its policy.
            "AWS::SNS::Topic" | "AWS::SQS::Queue" => vec![],
            "AWS::SNS::TopicPolicy" => {
                assert_eq!(get("Topics"), json!(["AlertTopic"]));
                let key = self.property("AlertTopic", "KmsMasterKeyId").unwrap();
                vec![Piece::AlertTopic(AlertTopic {
                    arn: self.arn("sns", self.property("AlertTopic", "TopicName")),
                    key: key.as_str().unwrap().to_owned(),
                    policy: get("PolicyDocument"),
                })]
            }
            "AWS::SQS::QueuePolicy" => {
                assert_eq!(get("Queues"), json!(["EventQueue"]));
                let by_sqs = self.property("EventQueue", "SqsManagedSseEnabled");
                assert_eq!(by_sqs, Some(json!(true)));
                vec![Piece::EventQueue(EventQueue {
                    arn: self.arn("sqs", self.property("EventQueue", "QueueName")),
                    key: None,
                    policy: get("PolicyDocument"),
                    retention: self
                        .property("EventQueue", "MessageRetentionPeriod")
                        .unwrap()
                        .as_u64()
                        .unwrap()
                        .try_into()
                        .unwrap(),
                })]
            }
            "AWS::Events::Rule" => {
                let targets = get("Targets");
                assert_eq!(
                    (&targets[0]["Id"], &get("State")),
                    (&json!(EventRule::TARGET), &json!("ENABLED"))
                );
                vec![Piece::EventRule(EventRule {
                    arn: self.arn("events", Some(get("Name"))),
                    pattern: get("EventPattern"),
                    queue: targets[0]["Arn"].as_str().unwrap().to_owned(),
                    description: text("Description"),
                })]
            }
            other => panic!("{other}"),
        };
        pieces.iter().map(as_text).collect()
    }

    fn of_bucket(&self, properties: &Map<String, Value>) -> Vec<Piece> {
        let bucket = || properties["BucketName"].as_str().unwrap().parse::<BucketName>().unwrap();
        let region = self.sample.region.to_owned();
        let has_lock = properties.get("ObjectLockEnabled") == Some(&json!(true));
        let is_made = self
            .sample
            .plan
            .changes()
            .any(|step| matches!(&step.piece, Piece::Bucket(made) if made.bucket == bucket()));
        let object_lock = has_lock && is_made;
        let mut pieces = vec![Piece::Bucket(Bucket { bucket: bucket(), region, object_lock })];
        if let Some(versioning) = properties.get("VersioningConfiguration")
            && versioning["Status"] == "Enabled"
        {
            pieces.push(Piece::BucketVersioning(BucketVersioning { bucket: bucket() }));
        }
        if let Some(lock) = properties.get("ObjectLockConfiguration") {
            assert!(has_lock);
            assert_eq!(lock["ObjectLockEnabled"], "Enabled");
            let written = lock["Rule"]["DefaultRetention"].as_object().unwrap();
            let lower = |(name, value): (&String, &Value)| (name.to_lowercase(), value.clone());
            let retention: Map<String, Value> = written.iter().map(lower).collect();
            let retention = serde_json::from_value(Value::Object(retention)).unwrap();
            pieces.push(Piece::ObjectLock(BucketObjectLock { bucket: bucket(), retention }));
        }
        if let Some(encryption) = properties.get("BucketEncryption") {
            let rule = &encryption["ServerSideEncryptionConfiguration"][0];
            let by_default = &rule["ServerSideEncryptionByDefault"];
            let kind = match by_default["SSEAlgorithm"].as_str().unwrap() {
                "AES256" => json!("SSE-S3"),
                "aws:kms" => json!("SSE-KMS"),
                "aws:kms:dsse" => json!("DSSE-KMS"),
                other => panic!("{other}"),
            };
            let blocked = rule.get("BlockedEncryptionTypes").map(|of| of["EncryptionType"].clone());
            let settings = BucketEncryptionSettings {
                kind: serde_json::from_value(kind).unwrap(),
                key: by_default.get("KMSMasterKeyID").map(|key| key.as_str().unwrap().to_owned()),
                bucket_key: rule["BucketKeyEnabled"].as_bool().unwrap(),
                blocks_sse_c: blocked.is_some_and(|kinds| kinds == json!(["SSE-C"])),
            };
            pieces.push(Piece::BucketEncryption(BucketEncryption { bucket: bucket(), settings }));
        }
        if let Some(block) = properties.get("PublicAccessBlockConfiguration") {
            let settings = PublicAccessBlockSettings {
                block_public_acls: block["BlockPublicAcls"].as_bool().unwrap(),
                ignore_public_acls: block["IgnorePublicAcls"].as_bool().unwrap(),
                block_public_policy: block["BlockPublicPolicy"].as_bool().unwrap(),
                restrict_public_buckets: block["RestrictPublicBuckets"].as_bool().unwrap(),
            };
            pieces.push(Piece::PublicAccessBlock(PublicAccessBlock { bucket: bucket(), settings }));
        }
        pieces
    }

    /// What the template says has to be imported.
    fn imports(&self) -> Vec<Value> {
        let list = self.template.get("Metadata").and_then(|all| all.get("EmrEtlGuardImport"));
        list.map_or(vec![], |list| plain(list).as_array().unwrap().clone())
    }

    fn imported_key(&self, id: &str) -> String {
        let imports = self.imports();
        let import = imports.iter().find(|import| import["LogicalResourceId"] == id).unwrap();
        let key = import["ResourceIdentifier"]["KeyId"].as_str().unwrap();
        format!("{}/{key}", KEY.rsplit_once('/').unwrap().0)
    }
}

/// A value without tags.
fn plain(node: &Yaml) -> Value {
    serde_json::to_value(node).unwrap()
}

/// That what a stack makes and changes is what the plan says; without what the template leaves out.
fn hold(sample: &SamplePlan) {
    let context = sample.context();
    let (before, after) = (ReadTemplate::of(sample, "import"), ReadTemplate::of(sample, "change"));
    let (exists, required) = (before.pieces(), after.pieces());
    let imports = after.imports();
    let made: BTreeSet<String> = if imports.is_empty() {
        required.clone()
    } else {
        required.difference(&exists).cloned().collect()
    };
    let impossible = |step: &&Step| why_impossible(step, &sample.plan, &context).is_some();
    let left_out: BTreeSet<String> =
        sample.plan.changes().filter(impossible).map(|step| as_text(&step.piece)).collect();
    let wanted: BTreeSet<String> = wanted(&sample.plan).difference(&left_out).cloned().collect();
    assert_eq!(made, wanted);
    hold_imports(&before, &imports);
}

/// While it imports, a stack has exactly what is imported.
fn hold_imports(before: &ReadTemplate<'_>, imports: &[Value]) {
    if imports.is_empty() {
        return;
    }
    let present: BTreeSet<String> = before
        .template
        .get("Resources")
        .unwrap()
        .as_mapping()
        .unwrap()
        .iter()
        .filter(|(_, resource)| resource.get("Condition").is_none())
        .map(|(id, resource)| {
            format!("{} {}", id.as_str().unwrap(), resource.get("Type").unwrap().as_str().unwrap())
        })
        .collect();
    let text = |import: &Value, name: &str| import[name].as_str().unwrap().to_owned();
    let listed: BTreeSet<String> = imports
        .iter()
        .map(|i| format!("{} {}", text(i, "LogicalResourceId"), text(i, "ResourceType")))
        .collect();
    assert_eq!(present, listed);
    for import in imports {
        let id = text(import, "LogicalResourceId");
        for (name, value) in import["ResourceIdentifier"].as_object().unwrap() {
            // A key has no property with its id.
            if name != "KeyId" {
                assert_eq!(before.property(&id, name).as_ref(), Some(value), "{id}");
            }
        }
    }
}

#[test]
fn the_template_of_each_sample_is_what_is_committed_and_says_what_its_plan_says() {
    for sample in samples() {
        hold(&sample);
        let text = cloudformation(&sample.plan, &sample.context());
        insta::assert_snapshot!(format!("cloudformation-{}", sample.name), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_template_of_any_plan_says_what_the_plan_says(sample in any_plan()) {
        hold(&sample);
    }
}

#[test]
fn text_that_cloudformation_would_read_as_a_secret_is_left_out_and_named() {
    let sample = samples().into_iter().find(|sample| sample.name == "hostile").unwrap();
    let text = cloudformation(&sample.plan, &sample.context());
    assert!(!text.contains("{{resolve:"));
    assert!(text.contains("inline policy acme-etl of reader: NOT IN THIS TEMPLATE"), "{text}");
}

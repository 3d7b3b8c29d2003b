//! The settings of an account, and what they become when the resources of a template are deployed
//! in it.

use std::collections::{BTreeMap, BTreeSet};

use emr_simulator::{Role, World, partition_of};
use serde_json::{Map, Value, json};

/// The id of the key that a template, or a setup, makes.
pub(crate) const NEW_KEY: &str = "the-new-key";
/// The tag by which a setup recognises a key of its own. A template's stack, or its state, knows it
/// without.
const SETUP_MARK: &str = "emr-etl-guard-setup";

/// A resource of a template, with its references resolved.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Its logical id or address.
    pub(crate) id: String,
    /// Its type.
    pub(crate) kind: String,
    /// What identifies the existing resource that is imported, by argument; none: it is made.
    pub(crate) imported: Option<Map<String, Value>>,
    /// Its arguments. Documents in JSON are read.
    pub(crate) arguments: Map<String, Value>,
}

/// The settings of roles, users, instance profiles, keys, buckets, security configurations, topics,
/// queues and rules of EventBridge, each by its kind and name.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The region of what is made.
    region: String,
    settings: BTreeMap<String, Value>,
}

/// AWS shows a list of one text in a policy as that text.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => match items.as_slice() {
            [one @ Value::String(_)] => one.clone(),
            items => items.iter().map(canonical).collect(),
        },
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), canonical(value))).collect(),
        ),
        other => other.clone(),
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }
}

impl Account {
    /// Everything in the simulated AWS. A key that `before` does not have is the new one.
    pub(crate) fn of(world: &World, region: &str, before: Option<&Self>) -> Self {
        let mut settings = BTreeMap::new();
        for (kind, principals) in [("role", &world.roles), ("user", &world.users)] {
            let of = |role: &Role| (format!("{kind} {}", role.name), principal(role));
            settings.extend(principals.iter().map(of));
        }
        for profile in &world.instance_profiles {
            let value = json!({
                "path": profile.path, "roles": profile.roles, "tags": profile.tags,
            });
            settings.insert(format!("instance profile {}", profile.name), value);
        }
        for bucket in world.buckets.values() {
            let mut value = serde_json::to_value(bucket).unwrap();
            value.as_object_mut().unwrap().retain(|field, _| field != "created");
            value["objects"] = bucket.objects.keys().cloned().collect();
            // What S3 says of a bucket without it.
            let default = &mut value["default_encryption"];
            *default = json!({
                "algorithm": default["algorithm"].as_str().unwrap_or("AES256"),
                "key": default["key"],
                "bucket_key": default["bucket_key"].as_bool().unwrap_or_default(),
                "blocked": default["blocked"].as_array().cloned().unwrap_or_default(),
            });
            settings.insert(format!("bucket {}", bucket.name), value);
        }
        for configuration in &world.security_configurations {
            let content: Value = serde_json::from_str(&configuration.content).unwrap();
            settings.insert(format!("security configuration {}", configuration.name), content);
        }
        for (arn, topic) in &world.topic_settings {
            settings.insert(format!("topic {arn}"), serde_json::to_value(topic).unwrap());
        }
        for queue in world.queue_settings.values() {
            let attributes = &queue.attributes;
            let policy = attributes.get("Policy").filter(|policy| !policy.is_empty());
            let policy: Option<Value> = policy.map(|text| serde_json::from_str(text).unwrap());
            let mut value = json!({
                "account": queue.account, "region": queue.region, "attributes": attributes,
                "policy": policy,
            });
            value["attributes"].as_object_mut().unwrap().remove("Policy");
            settings.insert(format!("queue {}", queue.name), value);
        }
        for rule in &world.event_rules {
            let mut value = serde_json::to_value(rule).unwrap();
            value["pattern"] = serde_json::from_str(&rule.pattern).unwrap();
            settings.insert(format!("rule {}", rule.name), value);
        }
        for of in &world.alarms {
            let mut value = of_form(&of.settings);
            value["AlarmName"] = json!(of.name);
            settings.insert(format!("alarm {}", of.name), alarm(value));
        }
        let mut new = None;
        for key in &world.keys {
            let mut value = serde_json::to_value(key).unwrap();
            let fields = value.as_object_mut().unwrap();
            fields.retain(|field, _| !["created", "id"].contains(&field.as_str()));
            let tags = key.tags.iter().filter(|(name, _)| name != SETUP_MARK);
            value["tags"] = json!(tags.collect::<Vec<_>>());
            let name = format!("key {}", key.id);
            if before.is_some_and(|before| !before.settings.contains_key(&name)) {
                assert_eq!(new.replace(key.id.clone()), None, "one new key");
            }
            settings.insert(name, value);
        }
        let Some(id) = new else { return Self { region: region.to_owned(), settings } };
        let named = |text: &str| text.replace(&id, NEW_KEY);
        let settings = settings.into_iter().map(|(name, value)| {
            (named(&name), serde_json::from_str(&named(&value.to_string())).unwrap())
        });
        Self { region: region.to_owned(), settings: settings.collect() }
    }

    /// Whether an object of this URI exists.
    pub(crate) fn has_object(&self, uri: &str) -> bool {
        let (bucket, key) = uri.strip_prefix("s3://").unwrap().split_once('/').unwrap();
        let bucket = self.settings.get(&format!("bucket {bucket}"));
        bucket.is_some_and(|bucket| {
            bucket["objects"].as_array().unwrap().iter().any(|object| object == key)
        })
    }

    /// The same without these objects. None of them is missing.
    pub(crate) fn without_objects(mut self, uris: &[String]) -> Self {
        for uri in uris {
            let (bucket, key) = uri.strip_prefix("s3://").unwrap().split_once('/').unwrap();
            let value = self.settings.get_mut(&format!("bucket {bucket}")).unwrap();
            let objects = value["objects"].as_array_mut().unwrap();
            let before = objects.len();
            objects.retain(|object| object != key);
            assert_eq!(objects.len(), before - 1, "{uri}");
        }
        self
    }

    /// Where it differs from another account, for people.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.settings.keys().chain(other.settings.keys()).collect();
        let shown = |value: Option<Value>| value.map_or("none".to_owned(), |it| it.to_string());
        let differ = |name: &String| {
            let of = |account: &Self| account.settings.get(name).map(canonical);
            let (one, two) = (of(self), of(other));
            (one != two).then(|| format!("{name}: {} AND {}", shown(one), shown(two)))
        };
        names.into_iter().filter_map(differ).collect()
    }

    /// What it becomes when these resources are deployed.
    ///
    /// # Errors
    /// When a resource has an unknown type or argument, when one that is made exists already, or
    /// when one that is imported does not exist.
    pub(crate) fn deployed(&self, resources: &[Resource]) -> Result<Self, String> {
        let mut account = self.clone();
        let is_main = |resource: &&Resource| {
            [
                "AWS::IAM::Role",
                "AWS::IAM::InstanceProfile",
                "AWS::KMS::Key",
                "AWS::S3::Bucket",
                "AWS::SNS::Topic",
                "AWS::SQS::Queue",
                "aws_cloudwatch_event_rule",
                "aws_iam_role",
                "aws_iam_instance_profile",
                "aws_kms_key",
                "aws_s3_bucket",
                "aws_sns_topic",
                "aws_sqs_queue",
            ]
            .contains(&resource.kind.as_str())
        };
        let (first, then): (Vec<_>, Vec<_>) = resources.iter().partition(is_main);
        for resource in first.into_iter().chain(then) {
            let mut arguments = Arguments::of(resource)?;
            account
                .deploy(resource, &mut arguments)
                .map_err(|why| format!("{}: {why}", resource.id))?;
            if let Some(name) = arguments.rest.keys().next() {
                return Err(format!("{}: {name} is compared with nothing", resource.id));
            }
        }
        Ok(account)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each type of resource")]
    fn deploy(&mut self, resource: &Resource, given: &mut Arguments) -> Result<(), String> {
        let exists = resource.imported.is_some();
        match resource.kind.as_str() {
            "AWS::IAM::Role" => {
                let role =
                    self.made(&format!("role {}", given.text("RoleName")?), exists, new_principal)?;
                role["trust"] = given.take("AssumeRolePolicyDocument")?;
                given.put("Path", &mut role["path"]);
                let inline = given.rest.remove("Policies").unwrap_or(json!([]));
                for policy in inline.as_array().ok_or("no policies")? {
                    let name = policy["PolicyName"].as_str().ok_or("no name")?;
                    let document = policy["PolicyDocument"].clone();
                    put_new(&mut role["policies"], name, document, exists)?;
                }
                if let Some(arns) = given.rest.remove("ManagedPolicyArns") {
                    role["attached"] = sorted(&arns)?;
                }
            }
            "aws_iam_role" => {
                let name = format!("role {}", given.text("name")?);
                let role = self.made(&name, exists, new_principal)?;
                role["trust"] = given.take("assume_role_policy")?;
                given.put("path", &mut role["path"]);
                given.is_one_resource()?;
            }
            "aws_iam_role_policy_attachment" => {
                let role = self.there(&format!("role {}", given.text("role")?))?;
                let attached = role["attached"].as_array_mut().ok_or("no list")?;
                let arn = given.take("policy_arn")?;
                if attached.contains(&arn) != exists {
                    return Err(format!("{arn}: imported {exists}"));
                }
                if !exists {
                    attached.push(arn);
                }
                role["attached"] = sorted(&role["attached"])?;
            }
            "AWS::IAM::InstanceProfile" => {
                let name = format!("instance profile {}", given.text("InstanceProfileName")?);
                self.made(&name, exists, new_profile)?["roles"] = given.take("Roles")?;
            }
            "aws_iam_instance_profile" => {
                let name = format!("instance profile {}", given.text("name")?);
                self.made(&name, exists, new_profile)?["roles"] = json!([given.take("role")?]);
            }
            "AWS::IAM::RolePolicy" | "AWS::IAM::UserPolicy" => {
                let holder = if given.rest.contains_key("RoleName") {
                    format!("role {}", given.text("RoleName")?)
                } else {
                    format!("user {}", given.text("UserName")?)
                };
                let (name, policy) = (given.text("PolicyName")?, given.take("PolicyDocument")?);
                let holder = self.there(&holder)?;
                put_new(&mut holder["policies"], &name, policy, exists)?;
            }
            "aws_iam_role_policy" | "aws_iam_user_policy" => {
                let kind = if given.rest.contains_key("role") { "role" } else { "user" };
                let holder = format!("{kind} {}", given.text(kind)?);
                let (name, policy) = (given.text("name")?, given.take("policy")?);
                given.is_one_resource()?;
                let holder = self.there(&holder)?;
                put_new(&mut holder["policies"], &name, policy, exists)?;
            }
            "AWS::KMS::Key" => {
                let region = self.region.clone();
                let id = given.key_id();
                let key = self.made(&format!("key {id}"), exists, || new_key(&region))?;
                given.put("Description", &mut key["description"]);
                given.put("EnableKeyRotation", &mut key["rotation"]);
                key["policy"] = given.take("KeyPolicy")?;
                given.is_a_waiting_period("PendingWindowInDays")?;
            }
            "aws_kms_key" => {
                let region = self.region.clone();
                let id = given.key_id();
                let key = self.made(&format!("key {id}"), exists, || new_key(&region))?;
                given.put("description", &mut key["description"]);
                given.put("enable_key_rotation", &mut key["rotation"]);
                given.put("policy", &mut key["policy"]);
                given.is_a_waiting_period("deletion_window_in_days")?;
            }
            "aws_kms_key_policy" => {
                let key = self.there(&format!("key {}", given.text("key_id")?))?;
                key["policy"] = given.take("policy")?;
            }
            "AWS::KMS::Alias" | "aws_kms_alias" => {
                let (key, alias) = if resource.kind.starts_with("aws_") {
                    (given.text("target_key_id")?, given.take("name")?)
                } else {
                    (given.text("TargetKeyId")?, given.take("AliasName")?)
                };
                let is_taken =
                    |value: &Value| value["aliases"].to_string().contains(&alias.to_string());
                if self.settings.values().any(is_taken) {
                    return Err(format!("{alias} exists"));
                }
                let key = self.there(&format!("key {key}"))?;
                key["aliases"].as_array_mut().ok_or("no list")?.push(alias);
            }
            "AWS::S3::Bucket" => {
                let (name, region) = (given.text("BucketName")?, self.region.clone());
                let bucket =
                    self.made(&format!("bucket {name}"), exists, || new_bucket(&name, &region))?;
                if let Some(mut settings) = given.rest.remove("BucketEncryption") {
                    bucket["default_encryption"] = encryption_of_cloudformation(&mut settings)?;
                }
                if let Some(block) = given.rest.remove("PublicAccessBlockConfiguration") {
                    let mut block = Arguments::within(block)?;
                    bucket["public_access_block"] = json!({
                        "block_public_acls": block.take("BlockPublicAcls")?,
                        "ignore_public_acls": block.take("IgnorePublicAcls")?,
                        "block_public_policy": block.take("BlockPublicPolicy")?,
                        "restrict_public_buckets": block.take("RestrictPublicBuckets")?,
                    });
                    block.is_read()?;
                }
                if let Some(versioning) = given.rest.remove("VersioningConfiguration") {
                    let mut versioning = Arguments::within(versioning)?;
                    bucket["versioning"] = versioning.take("Status")?;
                    versioning.is_read()?;
                }
                given.put("ObjectLockEnabled", &mut bucket["object_lock"]);
                if let Some(lock) = given.rest.remove("ObjectLockConfiguration") {
                    let names = ["ObjectLockEnabled", "Rule", "DefaultRetention"];
                    bucket["default_retention"] = retention(lock, names, ["Mode", "Days"])?;
                }
            }
            "aws_s3_bucket" => {
                let name = given.text("bucket")?;
                let region = given.region(&self.region);
                let bucket =
                    self.made(&format!("bucket {name}"), exists, || new_bucket(&name, &region))?;
                given.put("object_lock_enabled", &mut bucket["object_lock"]);
                // S3 turns it on in a bucket with Object Lock.
                if bucket["object_lock"] == true {
                    bucket["versioning"] = json!("Enabled");
                }
            }
            "aws_s3_bucket_versioning" => {
                let bucket = self.bucket(given)?;
                let mut versioning = Arguments::within(given.take("versioning_configuration")?)?;
                bucket["versioning"] = versioning.take("status")?;
                versioning.is_read()?;
            }
            "aws_s3_bucket_object_lock_configuration" => {
                let bucket = self.bucket(given)?;
                if bucket["object_lock"] != true {
                    return Err("the bucket has no Object Lock".to_owned());
                }
                let lock = Value::Object(std::mem::take(&mut given.rest));
                let names = ["object_lock_enabled", "rule", "default_retention"];
                bucket["default_retention"] = retention(lock, names, ["mode", "days"])?;
            }
            "AWS::SNS::Topic" | "aws_sns_topic" => {
                let [name, key] = match resource.kind.as_str() {
                    "aws_sns_topic" => ["name", "kms_master_key_id"],
                    _ => ["TopicName", "KmsMasterKeyId"],
                };
                let arn = self.arn("sns", &given.text(name)?);
                let topic = self.made(&format!("topic {arn}"), exists, new_topic)?;
                given.put(key, &mut topic["kms_key"]);
            }
            "AWS::SNS::TopicPolicy" => {
                let topics = given.take("Topics")?;
                let arn = only_text(&topics)?;
                let topic = self.there(&format!("topic {arn}"))?;
                put(&mut topic["policy"], given.take("PolicyDocument")?, exists)?;
            }
            "aws_sns_topic_policy" => {
                let topic = self.there(&format!("topic {}", given.text("arn")?))?;
                put(&mut topic["policy"], given.take("policy")?, exists)?;
            }
            "AWS::SQS::Queue" | "aws_sqs_queue" => {
                let [name, retention, managed] = match resource.kind.as_str() {
                    "aws_sqs_queue" => {
                        ["name", "message_retention_seconds", "sqs_managed_sse_enabled"]
                    }
                    _ => ["QueueName", "MessageRetentionPeriod", "SqsManagedSseEnabled"],
                };
                let (place, region) = (given.text(name)?, self.region.clone());
                let queue = self.made(&format!("queue {place}"), exists, || new_queue(&region))?;
                let attributes = &mut queue["attributes"];
                for (argument, name) in
                    [(retention, "MessageRetentionPeriod"), (managed, "SqsManagedSseEnabled")]
                {
                    // The API has texts.
                    if let Some(value) = given.rest.remove(argument) {
                        attributes[name] = json!(value.to_string());
                    }
                }
            }
            "AWS::SQS::QueuePolicy" => {
                let queues = given.take("Queues")?;
                let queue = self.there(&queue_of(only_text(&queues)?))?;
                put(&mut queue["policy"], given.take("PolicyDocument")?, exists)?;
            }
            "aws_sqs_queue_policy" => {
                let queue = self.there(&queue_of(&given.text("queue_url")?))?;
                put(&mut queue["policy"], given.take("policy")?, exists)?;
            }
            "AWS::CloudWatch::Alarm" => {
                let name = format!("alarm {}", given.rest["AlarmName"].as_str().ok_or("no name")?);
                let made = Value::Object(std::mem::take(&mut given.rest));
                *self.made(&name, exists, || Value::Null)? = alarm(made);
            }
            "aws_cloudwatch_metric_alarm" => {
                let made = alarm_of_terraform(std::mem::take(&mut given.rest));
                let name = format!("alarm {}", made["AlarmName"].as_str().ok_or("no name")?);
                *self.made(&name, exists, || Value::Null)? = alarm(made);
            }
            "AWS::Events::Rule" => {
                let (name, region) = (given.text("Name")?, self.region.clone());
                let rule =
                    self.made(&format!("rule {name}"), exists, || new_rule(&name, &region))?;
                rule["pattern"] = given.take("EventPattern")?;
                rule["enabled"] = json!(given.text("State")? == "ENABLED");
                given.put("Description", &mut rule["description"]);
                for target in given.take("Targets")?.as_array().ok_or("no targets")? {
                    let id = target["Id"].as_str().ok_or("no id")?;
                    put_new(&mut rule["targets"], id, target.clone(), false)?;
                }
            }
            "aws_cloudwatch_event_rule" => {
                let (name, region) = (given.text("name")?, self.region.clone());
                let rule =
                    self.made(&format!("rule {name}"), exists, || new_rule(&name, &region))?;
                rule["pattern"] = given.take("event_pattern")?;
                given.put("description", &mut rule["description"]);
            }
            "aws_cloudwatch_event_target" => {
                let rule = self.there(&format!("rule {}", given.text("rule")?))?;
                let id = given.text("target_id")?;
                let target = json!({ "Arn": given.take("arn")?, "Id": id });
                put_new(&mut rule["targets"], &id, target, exists)?;
            }
            "AWS::S3::BucketPolicy" => {
                let bucket = self.there(&format!("bucket {}", given.text("Bucket")?))?;
                put(&mut bucket["policy"], given.take("PolicyDocument")?, exists)?;
            }
            "aws_s3_bucket_policy" => {
                let bucket = self.bucket(given)?;
                put(&mut bucket["policy"], given.take("policy")?, exists)?;
            }
            "aws_s3_bucket_server_side_encryption_configuration" => {
                let bucket = self.bucket(given)?;
                let mut rule = Arguments::within(given.take("rule")?)?;
                let by_default = rule.take("apply_server_side_encryption_by_default")?;
                let mut by_default = Arguments::within(by_default)?;
                bucket["default_encryption"] = json!({
                    "algorithm": by_default.take("sse_algorithm")?,
                    "key": by_default.rest.remove("kms_master_key_id"),
                    "bucket_key": rule.take("bucket_key_enabled")?,
                    "blocked": rule.rest.remove("blocked_encryption_types").unwrap_or(json!([])),
                });
                by_default.is_read()?;
                rule.is_read()?;
            }
            "aws_s3_bucket_public_access_block" => {
                let bucket = self.bucket(given)?;
                bucket["public_access_block"] = json!({
                    "block_public_acls": given.take("block_public_acls")?,
                    "ignore_public_acls": given.take("ignore_public_acls")?,
                    "block_public_policy": given.take("block_public_policy")?,
                    "restrict_public_buckets": given.take("restrict_public_buckets")?,
                });
            }
            "AWS::EMR::SecurityConfiguration" => {
                let name = format!("security configuration {}", given.text("Name")?);
                let content = given.take("SecurityConfiguration")?;
                *self.made(&name, exists, || Value::Null)? = content;
            }
            "aws_emr_security_configuration" => {
                let name = format!("security configuration {}", given.text("name")?);
                let content = given.take("configuration")?;
                *self.made(&name, exists, || Value::Null)? = content;
            }
            other => return Err(format!("{other} is compared with nothing")),
        }
        Ok(())
    }

    /// Something new, or, if it `exists`, what exists.
    fn made(
        &mut self,
        name: &str,
        exists: bool,
        new: impl FnOnce() -> Value,
    ) -> Result<&mut Value, String> {
        if exists != self.settings.contains_key(name) {
            return Err(format!("{name}: imported {exists}"));
        }
        Ok(self.settings.entry(name.to_owned()).or_insert_with(new))
    }

    /// The ARN of something in the region of what is made.
    fn arn(&self, service: &str, name: &str) -> String {
        let region = &self.region;
        format!("arn:{}:{service}:{region}:123456789012:{name}", partition_of(region))
    }

    fn there(&mut self, name: &str) -> Result<&mut Value, String> {
        self.settings.get_mut(name).ok_or_else(|| format!("{name} does not exist"))
    }

    /// The bucket of a resource of Terraform's, which is where the resource says.
    fn bucket(&mut self, given: &mut Arguments) -> Result<&mut Value, String> {
        let region = given.region(&self.region);
        let name = given.text("bucket")?;
        let bucket = self.there(&format!("bucket {name}"))?;
        let is_there = bucket["region"] == region.as_str();
        is_there.then_some(bucket).ok_or_else(|| format!("{name} is not in {region}"))
    }
}

/// The arguments that nothing has read yet.
struct Arguments {
    rest: Map<String, Value>,
    imported_key: Option<String>,
}

impl Arguments {
    /// Those of a resource. What identifies an imported one is what its arguments say.
    fn of(resource: &Resource) -> Result<Self, String> {
        let rest = resource.arguments.clone();
        for (name, value) in resource.imported.iter().flatten() {
            if rest.get(name).is_some_and(|argument| argument != value) {
                return Err(format!("{}: {name} is not that of the import", resource.id));
            }
        }
        let key = resource.imported.as_ref().and_then(|imported| imported.get("KeyId"));
        Ok(Self { rest, imported_key: key.and_then(Value::as_str).map(str::to_owned) })
    }

    fn within(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(rest) => Ok(Self { rest, imported_key: None }),
            other => Err(format!("{other} has no arguments")),
        }
    }

    fn take(&mut self, name: &str) -> Result<Value, String> {
        self.rest.remove(name).ok_or_else(|| format!("no {name}"))
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        let value = self.take(name)?;
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{name} is {value}"))
    }

    /// Sets what is given.
    fn put(&mut self, name: &str, setting: &mut Value) {
        if let Some(value) = self.rest.remove(name) {
            *setting = value;
        }
    }

    fn key_id(&self) -> String {
        self.imported_key.clone().unwrap_or_else(|| NEW_KEY.to_owned())
    }

    fn region(&mut self, of_provider: &str) -> String {
        let given = self.rest.remove("region");
        given.as_ref().and_then(Value::as_str).unwrap_or(of_provider).to_owned()
    }

    /// The days before a key is deleted, which matter to nothing before.
    fn is_a_waiting_period(&mut self, name: &str) -> Result<(), String> {
        match self.rest.remove(name) {
            None => Ok(()),
            Some(days) if days.as_u64() == Some(30) => Ok(()),
            Some(other) => Err(format!("{name}: {other}")),
        }
    }

    /// A resource that is made once, where its code says how many there are.
    fn is_one_resource(&mut self) -> Result<(), String> {
        match self.rest.remove("count") {
            None => Ok(()),
            Some(count) if count == 1 => Ok(()),
            Some(other) => Err(format!("count: {other}")),
        }
    }

    fn is_read(&self) -> Result<(), String> {
        let unread = self.rest.keys().next();
        unread.map_or(Ok(()), |name| Err(format!("{name} is compared with nothing")))
    }
}

fn principal(role: &Role) -> Value {
    let attached: Value = role.attached.iter().map(|(arn, _)| arn.clone()).collect();
    json!({
        "path": role.path,
        "trust": role.trust,
        "policies": role.policies.iter().cloned().collect::<Map<String, Value>>(),
        "attached": sorted(&attached).unwrap(),
        "boundary": role.boundary,
        "description": role.description,
        "tags": role.tags,
    })
}

fn new_principal() -> Value {
    json!({
        "path": "/", "trust": null, "policies": {}, "attached": [], "boundary": null,
        "description": null, "tags": [],
    })
}

fn new_profile() -> Value {
    json!({ "path": "/", "roles": [], "tags": [] })
}

/// A key with what KMS gives one by itself.
fn new_key(region: &str) -> Value {
    json!({
        "account": "123456789012", "region": region, "aliases": [], "state": "Enabled",
        "spec": "SYMMETRIC_DEFAULT", "usage": "ENCRYPT_DECRYPT", "manager": "CUSTOMER",
        "multi_region": false, "rotation": false, "description": "", "policy": null, "grants": [],
        "tags": [], "deletion": null,
    })
}

/// A bucket with what S3 gives one by itself.
fn new_bucket(name: &str, region: &str) -> Value {
    json!({
        "name": name, "region": region, "account": "123456789012",
        "default_encryption": {
            "algorithm": "AES256", "key": null, "bucket_key": false, "blocked": ["SSE-C"],
        },
        "policy": null, "public": false, "versioning": null,
        "public_access_block": {
            "block_public_acls": true, "ignore_public_acls": true, "block_public_policy": true,
            "restrict_public_buckets": true,
        },
        "default_retention": null, "ownership": "BucketOwnerEnforced", "object_lock": false,
        "website": false,
        "configurations": {
            "notification": null, "replication": null, "lifecycle": null, "mfa_delete": false,
            "requester_pays": false, "no_public_access_block": false,
        },
        "tags": [], "objects": [], "older": {},
    })
}

fn new_topic() -> Value {
    json!({ "policy": null, "kms_key": null, "display_name": "", "pending_subscriptions": 0 })
}

/// A queue with what SQS gives one by itself.
fn new_queue(region: &str) -> Value {
    json!({
        "account": "123456789012", "region": region, "policy": null,
        "attributes": {
            "DelaySeconds": "0", "MaximumMessageSize": "1048576",
            "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0",
            "SqsManagedSseEnabled": "true", "VisibilityTimeout": "30",
        },
    })
}

/// An enabled rule without a pattern or targets.
fn new_rule(name: &str, region: &str) -> Value {
    json!({
        "account": "123456789012", "region": region, "name": name, "pattern": null,
        "enabled": true, "description": null, "targets": {},
    })
}

/// The setting that a queue's URL names.
fn queue_of(url: &str) -> String {
    format!("queue {}", url.rsplit('/').next().unwrap_or_default())
}

fn only_text(list: &Value) -> Result<&str, String> {
    match list.as_array().map(Vec::as_slice) {
        Some([Value::String(text)]) => Ok(text),
        _ => Err(format!("{list} is not one text")),
    }
}

/// The default retention in a lock configuration. `names` are the arguments for whether there is
/// any, for the rule and for what it holds; `of` those for mode and days.
fn retention(lock: Value, names: [&str; 3], of: [&str; 2]) -> Result<Value, String> {
    let mut lock = Arguments::within(lock)?;
    // The provider has it as a default.
    if lock.rest.remove(names[0]).is_some_and(|enabled| enabled != "Enabled") {
        return Err(format!("{} is not Enabled", names[0]));
    }
    let mut rule = Arguments::within(lock.take(names[1])?)?;
    let mut held = Arguments::within(rule.take(names[2])?)?;
    let retention =
        json!({ "mode": held.take(of[0])?, "unit": "Days", "number": held.take(of[1])? });
    [lock, rule, held].iter().try_for_each(Arguments::is_read)?;
    Ok(retention)
}

fn encryption_of_cloudformation(settings: &mut Value) -> Result<Value, String> {
    let mut settings = Arguments::within(settings.take())?;
    let rules = settings.take("ServerSideEncryptionConfiguration")?;
    settings.is_read()?;
    let [rule] = rules.as_array().ok_or("no rules")?.as_slice() else {
        return Err("not one rule".to_owned());
    };
    let mut rule = Arguments::within(rule.clone())?;
    let mut by_default = Arguments::within(rule.take("ServerSideEncryptionByDefault")?)?;
    let blocked = match rule.rest.remove("BlockedEncryptionTypes") {
        Some(types) => {
            let mut types = Arguments::within(types)?;
            let kinds = types.take("EncryptionType")?;
            types.is_read()?;
            kinds
        }
        None => json!([]),
    };
    let settings = json!({
        "algorithm": by_default.take("SSEAlgorithm")?,
        "key": by_default.rest.remove("KMSMasterKeyID"),
        "bucket_key": rule.take("BucketKeyEnabled")?,
        "blocked": blocked,
    });
    by_default.is_read()?;
    rule.is_read()?;
    Ok(settings)
}

fn sorted(list: &Value) -> Result<Value, String> {
    let mut texts: Vec<&str> =
        list.as_array().ok_or("no list")?.iter().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    Ok(json!(texts))
}

/// Sets a document that exists or not.
fn put(setting: &mut Value, document: Value, exists: bool) -> Result<(), String> {
    if setting.is_null() == exists {
        return Err(format!("a document: imported {exists}"));
    }
    *setting = document;
    Ok(())
}

/// Sets a document by its name, which exists or not.
fn put_new(all: &mut Value, name: &str, document: Value, exists: bool) -> Result<(), String> {
    let all = all.as_object_mut().ok_or("no policies")?;
    if all.insert(name.to_owned(), document).is_some() == exists {
        Ok(())
    } else {
        Err(format!("{name}: imported {exists}"))
    }
}

/// An alarm by the names of PutMetricAlarm, with numbers and truth values as texts, and with what
/// CloudWatch adds by itself.
fn alarm(given: Value) -> Value {
    fn texts(value: Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields.into_iter().map(|(name, value)| (name, texts(value))).collect(),
            ),
            Value::Array(items) => items.into_iter().map(texts).collect(),
            Value::String(text) => json!(text),
            other => json!(other.to_string()),
        }
    }
    let mut alarm = texts(given);
    let fields = alarm.as_object_mut().unwrap();
    // No action is none at all.
    fields.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
    let periods = fields.get("EvaluationPeriods").cloned().unwrap_or_default();
    fields.entry("DatapointsToAlarm").or_insert(periods);
    fields.entry("ActionsEnabled").or_insert_with(|| json!("true"));
    let threshold = fields.get("Threshold").and_then(Value::as_str).unwrap_or_default();
    let threshold: Option<f64> = threshold.parse().ok();
    fields.insert("Threshold".to_owned(), json!(threshold));
    alarm
}

/// The settings of an alarm, which are the names of a form with their values, as one value.
fn of_form(settings: &BTreeMap<String, String>) -> Value {
    fn lists(value: Value) -> Value {
        let Value::Object(mut fields) = value else { return value };
        match fields.remove("member") {
            Some(Value::Object(members)) => members.into_values().map(lists).collect(),
            _ => Value::Object(fields.into_iter().map(|(name, it)| (name, lists(it))).collect()),
        }
    }
    let mut whole = json!({});
    for (name, value) in settings {
        let mut place = &mut whole;
        for part in name.split('.') {
            place = &mut place[part];
        }
        *place = json!(value);
    }
    lists(whole)
}

/// The arguments of an alarm of Terraform's, by the names of PutMetricAlarm.
fn alarm_of_terraform(arguments: Map<String, Value>) -> Value {
    let metric = |metric: &Map<String, Value>| {
        let dimensions = metric["dimensions"].as_object().unwrap().iter();
        let dimensions: Value =
            dimensions.map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
        json!({
            "Namespace": metric["namespace"], "MetricName": metric["metric_name"],
            "Dimensions": dimensions,
        })
    };
    let mut alarm = json!({});
    if arguments.contains_key("metric_name") {
        alarm = metric(&arguments);
    }
    for (name, value) in arguments {
        let new = match name.as_str() {
            "alarm_name" => "AlarmName",
            "alarm_description" => "AlarmDescription",
            "alarm_actions" => "AlarmActions",
            "ok_actions" => "OKActions",
            "comparison_operator" => "ComparisonOperator",
            "threshold" => "Threshold",
            "evaluation_periods" => "EvaluationPeriods",
            "treat_missing_data" => "TreatMissingData",
            "statistic" => "Statistic",
            "period" => "Period",
            "namespace" | "metric_name" | "dimensions" => continue,
            "metric_query" => {
                let queries = value.as_array().unwrap().iter().map(|query| {
                    let mut new = json!({
                        "Id": query["id"],
                        "ReturnData": query["return_data"].as_bool().unwrap_or_default(),
                    });
                    if let Some(of) = query["metric"].as_object() {
                        new["MetricStat"] = json!({
                            "Metric": metric(of), "Period": of["period"], "Stat": of["stat"],
                        });
                    }
                    if query["expression"].is_string() {
                        new["Expression"] = query["expression"].clone();
                    }
                    new
                });
                alarm["Metrics"] = queries.collect();
                continue;
            }
            other => panic!("{other}"),
        };
        alarm[new] = value;
    }
    alarm
}

//! Pieces as Terraform resources.

use serde_json::Value;

use crate::{
    base::names::BucketName,
    facts::{account_state::PolicyHolder, object_lock::VERSIONING_ON},
    setup::{
        code::{inline_policy_name, is_of_existing_key, key_id, reasons, sse_algorithm},
        piece::{
            AlertTopic, BucketEncryption, BucketObjectLock, EventQueue, EventRule, InlinePolicy,
            InstanceProfile, KEY_DESCRIPTION, Key, KeyPolicy, KeyRotation, NamedConfiguration,
            Piece, PublicAccessBlock, Role,
        },
        plan::{Step, StepAction},
    },
};

use super::{
    ALERTS_LABEL, CONFIGURATION_LABEL, EVENTS_LABEL, KEY_LABEL, TerraformCode,
    printer::{HclBody, HclExpression},
};

impl TerraformCode<'_> {
    /// Adds a step's resources to a file.
    pub(super) fn resource(&self, step: &Step, file: &mut HclBody) {
        file.blank();
        reasons(step).iter().for_each(|line| {
            file.comment(line);
        });
        let exists = step.action != StepAction::Create;
        match &step.piece {
            Piece::Role(role) => self.role(role, exists, file),
            Piece::InstanceProfile(profile) => self.instance_profile(profile, exists, file),
            Piece::Key(key) => self.key(key, file),
            Piece::KeyPolicy(policy) => self.key_policy(policy, file),
            Piece::KeyRotation(rotation) => self.key_rotation(rotation, file),
            Piece::InlinePolicy(policy) => self.inline_policy(policy, exists, file),
            Piece::Bucket(made) => {
                let mut body = HclBody::default();
                let variable = self.name_variable(&step.piece).unwrap_or_default().0;
                body.attribute("bucket", HclExpression::raw(format!("var.{variable}")));
                if made.region != self.context.region {
                    body.attribute("region", self.s3_region(&made.region));
                }
                if made.object_lock {
                    body.attribute("object_lock_enabled", HclExpression::raw("true"));
                }
                self.add(&step.piece, with_lifecycle(body, &[], true), file);
            }
            Piece::BucketEncryption(encryption) => {
                self.bucket_encryption(encryption, exists, file);
            }
            Piece::PublicAccessBlock(block) => self.public_access_block(block, exists, file),
            Piece::BucketPolicy(policy) => {
                let mut body = self.of_bucket(&policy.bucket);
                body.attribute("policy", self.document(&policy.policy));
                self.add(&step.piece, with_lifecycle(body, &[], exists), file);
            }
            Piece::Certificates(_) => {
                file.comment(
                    "The archive is put by `emr-etl-guard setup --apply`, and never by Terraform: \
                     its private key would be in the state in clear.",
                );
            }
            Piece::SecurityConfiguration(configuration) => {
                self.security_configuration(configuration, file);
            }
            Piece::BucketVersioning(of) => {
                let mut on = HclBody::default();
                on.attribute("status", HclExpression::text(VERSIONING_ON));
                let mut body = self.of_bucket(&of.bucket);
                body.blank().block("versioning_configuration", on);
                // S3 does not switch it off in a bucket with Object Lock.
                self.add(&step.piece, with_lifecycle(body, &[], true), file);
            }
            Piece::ObjectLock(lock) => self.object_lock(lock, file),
            Piece::AlertTopic(topic) => self.alert_topic(topic, exists, file),
            Piece::EventQueue(queue) => self.event_queue(queue, exists, file),
            Piece::EventRule(rule) => self.event_rule(rule, exists, file),
            // Only a sentinel has alarms, and code of its own.
            Piece::Alarm(_) => {}
        }
    }

    fn alert_topic(&self, topic: &AlertTopic, exists: bool, file: &mut HclBody) {
        let piece = Piece::AlertTopic(topic.clone());
        let mut body = HclBody::default();
        body.attribute("name", HclExpression::text(topic.name()));
        body.attribute("kms_master_key_id", HclExpression::text(&topic.key));
        let ignored: &[&str] = if exists {
            &["delivery_policy", "display_name", "policy", "tags", "tags_all"]
        } else {
            &[]
        };
        self.add(&piece, with_lifecycle(body, ignored, exists), file);
        let mut policy = HclBody::default();
        policy.attribute("arn", self.of_first(&piece, "arn"));
        policy.attribute("policy", self.document(&topic.policy));
        self.add_second(&piece, with_lifecycle(policy, &[], exists), file);
    }

    fn event_queue(&self, queue: &EventQueue, exists: bool, file: &mut HclBody) {
        let piece = Piece::EventQueue(queue.clone());
        let mut body = HclBody::default();
        body.attribute("name", HclExpression::text(queue.name()));
        if !exists {
            let retention = HclExpression::raw(queue.retention.to_string());
            body.attribute("message_retention_seconds", retention);
        }
        match &queue.key {
            Some(key) => body.attribute("kms_master_key_id", HclExpression::text(key)),
            None => body.attribute("sqs_managed_sse_enabled", HclExpression::raw("true")),
        };
        let ignored: &[&str] = if exists {
            &[
                "delay_seconds",
                "kms_data_key_reuse_period_seconds",
                "max_message_size",
                "message_retention_seconds",
                "policy",
                "receive_wait_time_seconds",
                "redrive_allow_policy",
                "redrive_policy",
                "tags",
                "tags_all",
                "visibility_timeout_seconds",
            ]
        } else {
            &[]
        };
        self.add(&piece, with_lifecycle(body, ignored, exists), file);
        let mut policy = HclBody::default();
        policy.attribute("queue_url", self.of_first(&piece, "url"));
        policy.attribute("policy", self.document(&queue.policy));
        self.add_second(&piece, with_lifecycle(policy, &[], exists), file);
    }

    fn event_rule(&self, rule: &EventRule, exists: bool, file: &mut HclBody) {
        let piece = Piece::EventRule(rule.clone());
        let mut body = HclBody::default();
        body.attribute("name", HclExpression::text(rule.name()));
        if !exists {
            body.attribute("description", HclExpression::text(&rule.description));
        }
        body.attribute("event_pattern", self.document(&rule.pattern));
        let ignored: &[&str] =
            if exists { &["description", "role_arn", "state", "tags", "tags_all"] } else { &[] };
        self.add(&piece, with_lifecycle(body, ignored, exists), file);
        let mut target = HclBody::default();
        target.attribute("rule", self.of_first(&piece, "name"));
        target.attribute("target_id", HclExpression::text(EventRule::TARGET));
        let queue = self.plan.changes().find(
            |step| matches!(&step.piece, Piece::EventQueue(queue) if queue.arn == rule.queue),
        );
        target.attribute(
            "arn",
            match queue {
                Some(step) => self.of_first(&step.piece, "arn"),
                None => HclExpression::text(&rule.queue),
            },
        );
        self.add_second(&piece, target, file);
    }

    /// An attribute of a piece's first resource.
    fn of_first(&self, piece: &Piece, attribute: &str) -> HclExpression {
        let address = self.addresses(piece).into_iter().next().unwrap_or_default();
        HclExpression::raw(format!("{address}.{attribute}"))
    }

    /// Adds a piece's second resource.
    fn add_second(&self, piece: &Piece, body: HclBody, file: &mut HclBody) {
        let addresses = self.addresses(piece);
        if let Some((kind, label)) = addresses.get(1).and_then(|second| second.split_once('.')) {
            file.blank().block(format!("resource \"{kind}\" \"{label}\""), body);
        }
    }

    fn object_lock(&self, lock: &BucketObjectLock, file: &mut HclBody) {
        let (unit, number) = lock.retention.period.parts();
        let mut retention = HclBody::default();
        retention.attribute("mode", HclExpression::text(lock.retention.mode.as_str()));
        retention.attribute(&unit.to_ascii_lowercase(), HclExpression::raw(number.to_string()));
        let mut rule = HclBody::default();
        rule.block("default_retention", retention);
        let mut body = self.of_bucket(&lock.bucket);
        body.blank().block("rule", rule);
        let piece = Piece::ObjectLock(lock.clone());
        // Without the other resource, S3 refuses Object Lock for a bucket that exists.
        let versioning = self.versioning_address(&lock.bucket);
        if self.plan.changes().any(
            |step| matches!(&step.piece, Piece::BucketVersioning(of) if of.bucket == lock.bucket),
        ) {
            let first = HclExpression::List(vec![HclExpression::raw(versioning)]);
            body.blank().attribute("depends_on", first);
        }
        self.add(&piece, with_lifecycle(body, &[], true), file);
    }

    fn versioning_address(&self, bucket: &BucketName) -> String {
        format!("aws_s3_bucket_versioning.{}", self.label(bucket.as_str()))
    }

    fn role(&self, role: &Role, exists: bool, file: &mut HclBody) {
        let piece = Piece::Role(role.clone());
        let mut body = HclBody::default();
        body.attribute("name", self.name(&piece, exists, &role.name));
        body.attribute("assume_role_policy", self.document(&role.trust));
        let ignored: &[&str] = if exists {
            &[
                "description",
                "max_session_duration",
                "path",
                "permissions_boundary",
                "tags",
                "tags_all",
            ]
        } else {
            &[]
        };
        self.add(&piece, with_lifecycle(body, ignored, exists), file);
        for arn in &role.attached {
            let mut body = HclBody::default();
            body.attribute("role", self.role_name(&role.name));
            body.attribute("policy_arn", HclExpression::text(arn));
            let label = self.attachment_label(&role.name, arn);
            file.blank()
                .block(format!("resource \"aws_iam_role_policy_attachment\" \"{label}\""), body);
        }
    }

    fn instance_profile(&self, profile: &InstanceProfile, exists: bool, file: &mut HclBody) {
        let piece = Piece::InstanceProfile(profile.clone());
        let mut body = HclBody::default();
        body.attribute("name", self.name(&piece, exists, &profile.name));
        body.attribute("role", self.role_name(&profile.role));
        let ignored: &[&str] = if exists { &["path", "tags", "tags_all"] } else { &[] };
        self.add(&piece, with_lifecycle(body, ignored, exists), file);
    }

    fn key(&self, key: &Key, file: &mut HclBody) {
        let mut body = HclBody::default();
        body.attribute("description", HclExpression::text(KEY_DESCRIPTION));
        body.attribute("enable_key_rotation", HclExpression::raw("true"));
        body.attribute("deletion_window_in_days", HclExpression::raw("30"));
        body.attribute("policy", self.document(&key.policy));
        file.block(
            format!("resource \"aws_kms_key\" \"{KEY_LABEL}\""),
            with_lifecycle(body, &[], true),
        );
        let mut alias = HclBody::default();
        alias.attribute("name", HclExpression::raw("var.key_alias"));
        alias.attribute(
            "target_key_id",
            HclExpression::raw(format!("aws_kms_key.{KEY_LABEL}.key_id")),
        );
        file.blank().block(format!("resource \"aws_kms_alias\" \"{KEY_LABEL}\""), alias);
    }

    fn key_policy(&self, policy: &KeyPolicy, file: &mut HclBody) {
        let mut body = HclBody::default();
        body.attribute("key_id", HclExpression::text(key_id(&policy.key)));
        body.attribute("policy", self.document(&policy.policy));
        // Without the resource, the key would get AWS's default policy.
        self.add(&Piece::KeyPolicy(policy.clone()), with_lifecycle(body, &[], true), file);
    }

    fn key_rotation(&self, rotation: &KeyRotation, file: &mut HclBody) {
        let mut body = HclBody::default();
        body.attribute("enable_key_rotation", HclExpression::raw("true"));
        // Everything else of the key stays as it is, and its policy is a resource of its own.
        let ignored = [
            "bypass_policy_lockout_safety_check",
            "custom_key_store_id",
            "deletion_window_in_days",
            "description",
            "is_enabled",
            "multi_region",
            "policy",
            "rotation_period_in_days",
            "tags",
            "tags_all",
            "xks_key_id",
        ];
        let body = with_lifecycle(body, &ignored, true);
        self.add(&Piece::KeyRotation(rotation.clone()), body, file);
    }

    fn inline_policy(&self, policy: &InlinePolicy, exists: bool, file: &mut HclBody) {
        let mut body = HclBody::default();
        body.attribute("name", HclExpression::text(&policy.name));
        match &policy.holder {
            PolicyHolder::Role(name) => body.attribute("role", self.role_name(name)),
            PolicyHolder::User(name) => body.attribute("user", HclExpression::text(name)),
        };
        body.attribute("policy", self.document(&policy.policy));
        let body = with_lifecycle(body, &[], exists);
        self.add(&Piece::InlinePolicy(policy.clone()), body, file);
    }

    fn bucket_encryption(&self, encryption: &BucketEncryption, exists: bool, file: &mut HclBody) {
        let settings = &encryption.settings;
        let mut by_default = HclBody::default();
        by_default.attribute("sse_algorithm", HclExpression::text(sse_algorithm(settings.kind)));
        if let Some(key) = &settings.key {
            by_default.attribute("kms_master_key_id", self.text(key));
        }
        let mut rule = HclBody::default();
        rule.attribute("bucket_key_enabled", HclExpression::raw(settings.bucket_key.to_string()));
        if settings.blocks_sse_c {
            let kinds = HclExpression::List(vec![HclExpression::text("SSE-C")]);
            rule.attribute("blocked_encryption_types", kinds);
        }
        rule.blank().block("apply_server_side_encryption_by_default", by_default);
        let mut body = self.of_bucket(&encryption.bucket);
        body.blank().block("rule", rule);
        let body = with_lifecycle(body, &[], exists);
        self.add(&Piece::BucketEncryption(encryption.clone()), body, file);
    }

    fn public_access_block(&self, block: &PublicAccessBlock, exists: bool, file: &mut HclBody) {
        let mut body = self.of_bucket(&block.bucket);
        let settings = &block.settings;
        body.blank();
        for (name, value) in [
            ("block_public_acls", settings.block_public_acls),
            ("block_public_policy", settings.block_public_policy),
            ("ignore_public_acls", settings.ignore_public_acls),
            ("restrict_public_buckets", settings.restrict_public_buckets),
        ] {
            body.attribute(name, HclExpression::raw(value.to_string()));
        }
        let body = with_lifecycle(body, &[], exists);
        self.add(&Piece::PublicAccessBlock(block.clone()), body, file);
    }

    fn security_configuration(&self, configuration: &NamedConfiguration, file: &mut HclBody) {
        file.comment(
            "EMR cannot change a security configuration: a new one takes its place, and Terraform \
             does not destroy the old one, which clusters may still use. Where it says so, run \
             first: terraform state rm aws_emr_security_configuration.emr",
        );
        let mut body = HclBody::default();
        body.attribute("name", HclExpression::raw("var.security_configuration"));
        body.attribute("configuration", self.document(&configuration.content));
        let mut lifecycle = HclBody::default();
        lifecycle.attribute("create_before_destroy", HclExpression::raw("true"));
        lifecycle.attribute("prevent_destroy", HclExpression::raw("true"));
        body.blank().block("lifecycle", lifecycle);
        self.add(&Piece::SecurityConfiguration(configuration.clone()), body, file);
    }

    /// Adds a piece's first resource.
    fn add(&self, piece: &Piece, body: HclBody, file: &mut HclBody) {
        let addresses = self.addresses(piece);
        if let Some((kind, label)) = addresses.first().and_then(|first| first.split_once('.')) {
            file.block(format!("resource \"{kind}\" \"{label}\""), body);
        }
    }

    /// A document, by `jsonencode`.
    fn document(&self, document: &Value) -> HclExpression {
        HclExpression::Json(Box::new(HclExpression::of_json(document, &|text| self.text(text))))
    }

    /// The start of a resource of a bucket.
    fn of_bucket(&self, bucket: &BucketName) -> HclBody {
        let mut body = HclBody::default();
        body.attribute(
            "bucket",
            if self.references.makes_bucket(bucket) {
                HclExpression::raw(format!("aws_s3_bucket.{}.bucket", self.label(bucket.as_str())))
            } else {
                HclExpression::text(bucket.as_str())
            },
        );
        if self.context.s3_region != self.context.region {
            body.attribute("region", self.s3_region(self.context.s3_region));
        }
        body
    }

    fn s3_region(&self, region: &str) -> HclExpression {
        if region == self.context.s3_region {
            HclExpression::raw("var.s3_region")
        } else {
            HclExpression::text(region)
        }
    }

    fn role_name(&self, name: &str) -> HclExpression {
        if self.references.makes_role(name) {
            HclExpression::raw(format!("aws_iam_role.{}.name", self.label(name)))
        } else {
            HclExpression::text(name)
        }
    }

    /// The name of a piece: a variable for what is made.
    fn name(&self, piece: &Piece, exists: bool, name: &str) -> HclExpression {
        match self.name_variable(piece) {
            Some((variable, _)) if !exists => HclExpression::raw(format!("var.{variable}")),
            _ => HclExpression::text(name),
        }
    }

    /// The variable with the name of something that is made, and its default.
    pub(super) fn name_variable(&self, piece: &Piece) -> Option<(String, String)> {
        let (variable, name) = match piece {
            Piece::Role(role) => (format!("role_{}", self.label(&role.name)), &role.name),
            Piece::InstanceProfile(profile) => {
                (format!("instance_profile_{}", self.label(&profile.name)), &profile.name)
            }
            Piece::Key(key) => ("key_alias".to_owned(), &key.alias),
            Piece::Bucket(made) => {
                let name = made.bucket.as_str();
                return Some((format!("bucket_{}", self.label(name)), name.to_owned()));
            }
            Piece::SecurityConfiguration(configuration) => {
                ("security_configuration".to_owned(), &configuration.name)
            }
            _ => return None,
        };
        Some((variable, name.clone()))
    }

    /// The label of a managed policy's attachment.
    fn attachment_label(&self, role: &str, arn: &str) -> String {
        let policy = arn.rsplit('/').next().unwrap_or(arn);
        format!("{}_{}", self.label(role), super::label(policy))
    }

    /// The addresses of a piece's resources.
    pub(super) fn addresses(&self, piece: &Piece) -> Vec<String> {
        let of = |kind: &str, name: &str| vec![format!("{kind}.{}", self.label(name))];
        match piece {
            Piece::Role(role) => {
                let mut addresses = of("aws_iam_role", &role.name);
                addresses.extend(role.attached.iter().map(|arn| {
                    let label = self.attachment_label(&role.name, arn);
                    format!("aws_iam_role_policy_attachment.{label}")
                }));
                addresses
            }
            Piece::InstanceProfile(profile) => of("aws_iam_instance_profile", &profile.name),
            Piece::Key(_) => {
                vec![format!("aws_kms_key.{KEY_LABEL}"), format!("aws_kms_alias.{KEY_LABEL}")]
            }
            Piece::KeyPolicy(policy) => of("aws_kms_key_policy", &policy.key),
            Piece::KeyRotation(rotation) => of("aws_kms_key", &rotation.key),
            Piece::InlinePolicy(policy) => {
                let kind = match policy.holder {
                    PolicyHolder::Role(_) => "aws_iam_role_policy",
                    PolicyHolder::User(_) => "aws_iam_user_policy",
                };
                of(kind, &inline_policy_name(&policy.holder, &policy.name))
            }
            Piece::Bucket(made) => of("aws_s3_bucket", made.bucket.as_str()),
            Piece::BucketEncryption(encryption) => {
                of("aws_s3_bucket_server_side_encryption_configuration", encryption.bucket.as_str())
            }
            Piece::PublicAccessBlock(block) => {
                of("aws_s3_bucket_public_access_block", block.bucket.as_str())
            }
            Piece::BucketPolicy(policy) => of("aws_s3_bucket_policy", policy.bucket.as_str()),
            Piece::Certificates(_) => vec![],
            Piece::SecurityConfiguration(_) => {
                vec![format!("aws_emr_security_configuration.{CONFIGURATION_LABEL}")]
            }
            Piece::BucketVersioning(of) => vec![self.versioning_address(&of.bucket)],
            Piece::ObjectLock(lock) => {
                of("aws_s3_bucket_object_lock_configuration", lock.bucket.as_str())
            }
            Piece::AlertTopic(_) => ["aws_sns_topic", "aws_sns_topic_policy"]
                .map(|kind| format!("{kind}.{ALERTS_LABEL}"))
                .to_vec(),
            Piece::EventQueue(_) => ["aws_sqs_queue", "aws_sqs_queue_policy"]
                .map(|kind| format!("{kind}.{EVENTS_LABEL}"))
                .to_vec(),
            Piece::EventRule(_) => ["aws_cloudwatch_event_rule", "aws_cloudwatch_event_target"]
                .map(|kind| format!("{kind}.{EVENTS_LABEL}"))
                .to_vec(),
            Piece::Alarm(_) => vec![],
        }
    }

    /// The address that the bucket of a piece has where a plan makes it.
    pub(super) fn bucket_address(&self, piece: &Piece) -> Option<String> {
        let bucket = match piece {
            Piece::BucketEncryption(encryption) => &encryption.bucket,
            Piece::PublicAccessBlock(block) => &block.bucket,
            Piece::BucketPolicy(policy) => &policy.bucket,
            Piece::BucketVersioning(of) => &of.bucket,
            Piece::ObjectLock(lock) => &lock.bucket,
            _ => return None,
        };
        Some(format!("aws_s3_bucket.{}", self.label(bucket.as_str())))
    }

    /// The addresses of what a step changes, with the ids by which the provider imports it.
    pub(super) fn import_ids(&self, step: &Step) -> Vec<(String, String)> {
        let before = match &step.action {
            StepAction::Change { before } => before,
            // These belong to a key that exists.
            StepAction::Create if is_of_existing_key(&step.piece) => &Value::Null,
            _ => return vec![],
        };
        let addresses = self.addresses(&step.piece);
        let id = match &step.piece {
            Piece::Role(role) => {
                // Attachments that exist, by role and ARN; the others are made.
                let exists = |arn: &str| {
                    let attached = before.get("attached").and_then(Value::as_array);
                    attached.is_some_and(|all| all.iter().any(|item| item == arn))
                };
                let mut ids = vec![];
                for (nth, address) in addresses.into_iter().enumerate() {
                    match nth.checked_sub(1).and_then(|nth| role.attached.get(nth)) {
                        None => ids.push((address, role.name.clone())),
                        Some(arn) if exists(arn) => {
                            ids.push((address, format!("{}/{arn}", role.name)));
                        }
                        Some(_) => {}
                    }
                }
                return ids;
            }
            Piece::InstanceProfile(profile) => profile.name.clone(),
            Piece::KeyPolicy(policy) => key_id(&policy.key).to_owned(),
            Piece::KeyRotation(rotation) => key_id(&rotation.key).to_owned(),
            Piece::InlinePolicy(policy) => format!("{}:{}", policy.holder.name(), policy.name),
            Piece::BucketEncryption(BucketEncryption { bucket, .. })
            | Piece::PublicAccessBlock(PublicAccessBlock { bucket, .. }) => self.bucket_id(bucket),
            Piece::Bucket(made) => self.bucket_id(&made.bucket),
            Piece::BucketPolicy(policy) => self.bucket_id(&policy.bucket),
            Piece::BucketVersioning(of) => self.bucket_id(&of.bucket),
            Piece::ObjectLock(lock) => self.bucket_id(&lock.bucket),
            Piece::SecurityConfiguration(configuration) => configuration.name.clone(),
            Piece::AlertTopic(topic) => topic.arn.clone(),
            Piece::EventQueue(queue) => {
                // A queue without a policy has none that could be imported.
                let is_there =
                    |(nth, _): &(usize, String)| *nth == 0 || !before["policy"].is_null();
                let there = addresses.into_iter().enumerate().filter(is_there);
                return there.map(|(_, address)| (address, queue.url())).collect();
            }
            Piece::EventRule(rule) => {
                // Its target is made.
                let first = addresses.into_iter().take(1);
                return first
                    .map(|rule_of| (rule_of, format!("default/{}", rule.name())))
                    .collect();
            }
            Piece::Key(_) | Piece::Certificates(_) | Piece::Alarm(_) => return vec![],
        };
        addresses.into_iter().map(|address| (address, id.clone())).collect()
    }

    /// The id of a resource of a bucket. One in another region than the provider's has the region
    /// after an `@` (the provider's guide on enhanced region support).
    fn bucket_id(&self, bucket: &BucketName) -> String {
        if self.context.s3_region == self.context.region {
            bucket.to_string()
        } else {
            format!("{bucket}@{}", self.context.s3_region)
        }
    }
}

/// Adds what Terraform must not do to a resource. What existed before is `kept`: destroying it
/// would also lose what is not the guard's.
pub(super) fn with_lifecycle(mut body: HclBody, ignored: &[&str], kept: bool) -> HclBody {
    let mut lifecycle = HclBody::default();
    if kept {
        lifecycle.attribute("prevent_destroy", HclExpression::raw("true"));
    }
    if !ignored.is_empty() {
        let names = ignored.iter().map(|name| HclExpression::raw(*name)).collect();
        lifecycle.attribute("ignore_changes", HclExpression::List(names));
    }
    if kept || !ignored.is_empty() {
        body.blank().block("lifecycle", lifecycle);
    }
    body
}

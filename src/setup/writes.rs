//! The calls of AWS by which `setup` changes something. Each is sent once and returns its result;
//! `apply` and `undo` decide what follows.

use std::collections::BTreeMap;

use aws_sdk_eventbridge::types::{RuleState, Target};
use aws_sdk_kms::types::{KeySpec, KeyUsageType, Tag};
use aws_sdk_s3::{
    config::retry::RetryConfig,
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{
        self, BlockedEncryptionTypes, BucketLocationConstraint, BucketVersioningStatus,
        CreateBucketConfiguration, EncryptionType, ObjectLockConfiguration, ObjectLockEnabled,
        ObjectLockRetentionMode, ObjectLockRule, PublicAccessBlockConfiguration,
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule, VersioningConfiguration,
    },
};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_types::request_id::RequestId;
use serde_json::Value;

use crate::{
    aws::{
        answer::{describe, kind},
        clients::Aws,
        cloudwatch::{CloudWatch, alarm::AlarmDefinition},
        iam_query::Iam,
        patience::is_throttling,
        sns_query::Sns,
    },
    base::{
        aws_calls::{self, Call},
        lookup::LookupErrorKind,
        names::{AccountId, BucketName, S3Object},
    },
    facts::{
        account_state::{
            BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings, SETUP_MARK,
            in_region,
        },
        object_lock::{DefaultRetention, RetentionMode, RetentionPeriod},
        stored::server_side_encryption,
    },
    setup::{
        piece::{
            AlertTopic, CertificateArchive, EventQueue, EventRule, KEY_DESCRIPTION,
            NamedConfiguration, Role,
        },
        record::MadeIds,
    },
};

/// A call that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WriteDone {
    /// AWS's id of the request.
    pub(super) request: Option<String>,
    /// How AWS identifies what was made.
    pub(super) made: MadeIds,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message} ({permission})")]
pub(super) struct WriteFailure {
    /// The API's name of the call.
    pub(super) operation: &'static str,
    /// The permission that allows it.
    pub(super) permission: &'static str,
    /// AWS's error code, if an answer had one.
    pub(super) code: String,
    /// The message of AWS or the network.
    pub(super) message: String,
    /// Whether it may have taken effect nevertheless.
    pub(super) unclear: bool,
    /// AWS's id of the request.
    pub(super) request: Option<String>,
}

type WriteAnswer = Result<WriteDone, WriteFailure>;

/// What is changed of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueChange<'a> {
    /// Its policy; none: it is removed.
    pub(super) policy: Option<&'a Value>,
    /// Whether its messages are encrypted under a key of SQS; none: as now.
    pub(super) by_sqs: Option<bool>,
    /// How long it keeps a message, in seconds; none: as now.
    pub(super) retention: Option<u32>,
}

/// Sorts a call's result. `made` reads what was made from a successful answer.
fn sorted<T: RequestId, E>(
    call: &'static Call,
    result: Result<T, SdkError<E, HttpResponse>>,
    made: impl FnOnce(&T) -> MadeIds,
) -> WriteAnswer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let error = match result {
        Ok(answer) => {
            let request = answer.request_id().map(str::to_owned);
            return Ok(WriteDone { request, made: made(&answer) });
        }
        Err(error) => error,
    };
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let unclear = match kind(&error) {
        LookupErrorKind::TimedOut
        | LookupErrorKind::Connection
        | LookupErrorKind::ServerError
        | LookupErrorKind::UnreadableAnswer => !is_throttling(code),
        LookupErrorKind::Denied
        | LookupErrorKind::Throttled
        | LookupErrorKind::NotAsked
        | LookupErrorKind::Other => code == "InternalError",
    };
    Err(WriteFailure {
        operation: call.operation,
        permission: call.permission,
        code: code.to_owned(),
        message: describe(&error),
        unclear,
        request: error.request_id().map(str::to_owned),
    })
}

fn nothing<T>(_: &T) -> MadeIds {
    MadeIds::default()
}

fn of_arn(arn: &str) -> MadeIds {
    MadeIds { arn: Some(arn.to_owned()), ..MadeIds::default() }
}

/// The clients for changes. None of them sends a call again by itself: whether a call without an
/// answer took effect is looked at first.
#[derive(Clone, Debug)]
pub(super) struct SetupWriter {
    s3: aws_sdk_s3::Client,
    kms: aws_sdk_kms::Client,
    iam: Iam,
    emr: aws_sdk_emr::Client,
    topics: Sns,
    queues: aws_sdk_sqs::Client,
    event_rules: aws_sdk_eventbridge::Client,
    alarms: CloudWatch,
    account: AccountId,
    /// The regions of buckets, where they are known.
    regions: BTreeMap<BucketName, String>,
}

macro_rules! sent_once {
    ($client:expr, $service:ident) => {
        $service::Client::from_conf(
            $client.config().to_builder().retry_config(RetryConfig::disabled()).build(),
        )
    };
}

impl SetupWriter {
    pub(super) fn new(aws: &Aws, account: &AccountId) -> Self {
        Self {
            s3: sent_once!(aws.s3, aws_sdk_s3),
            kms: sent_once!(aws.kms, aws_sdk_kms),
            iam: aws.iam.without_retries(),
            emr: sent_once!(aws.emr, aws_sdk_emr),
            topics: aws.topics.without_retries(),
            queues: sent_once!(aws.queues, aws_sdk_sqs),
            event_rules: sent_once!(aws.event_rules, aws_sdk_eventbridge),
            alarms: aws.cloudwatch.without_retries(),
            account: account.clone(),
            regions: BTreeMap::new(),
        }
    }

    /// Remembers the region of a bucket.
    pub(super) fn bucket_is_in(&mut self, bucket: &BucketName, region: &str) {
        self.regions.insert(bucket.clone(), region.to_owned());
    }

    fn s3_of(&self, bucket: &BucketName) -> aws_sdk_s3::Client {
        in_region(&self.s3, self.regions.get(bucket))
    }

    pub(super) async fn create_role(&self, role: &Role) -> WriteAnswer {
        let path = Some(role.path.as_str()).filter(|path| *path != Role::NO_PATH);
        let result = self.iam.create_role(&role.name, path, &role.trust.to_string()).await;
        sorted(&aws_calls::CREATE_ROLE, result, |created| of_arn(&created.arn))
    }

    pub(super) async fn attach_role_policy(&self, role: &str, policy: &str) -> WriteAnswer {
        let result = self.iam.attach_role_policy(role, policy).await;
        sorted(&aws_calls::ATTACH_ROLE_POLICY, result, nothing)
    }

    pub(super) async fn detach_role_policy(&self, role: &str, policy: &str) -> WriteAnswer {
        let result = self.iam.detach_role_policy(role, policy).await;
        sorted(&aws_calls::DETACH_ROLE_POLICY, result, nothing)
    }

    pub(super) async fn delete_role(&self, role: &str) -> WriteAnswer {
        sorted(&aws_calls::DELETE_ROLE, self.iam.delete_role(role).await, nothing)
    }

    pub(super) async fn create_instance_profile(&self, name: &str) -> WriteAnswer {
        let result = self.iam.create_instance_profile(name).await;
        sorted(&aws_calls::CREATE_INSTANCE_PROFILE, result, |created| of_arn(&created.arn))
    }

    pub(super) async fn add_role(&self, profile: &str, role: &str) -> WriteAnswer {
        let result = self.iam.add_role(profile, role).await;
        sorted(&aws_calls::ADD_ROLE_TO_INSTANCE_PROFILE, result, nothing)
    }

    pub(super) async fn remove_role(&self, profile: &str, role: &str) -> WriteAnswer {
        let result = self.iam.remove_role(profile, role).await;
        sorted(&aws_calls::REMOVE_ROLE_FROM_INSTANCE_PROFILE, result, nothing)
    }

    pub(super) async fn delete_instance_profile(&self, name: &str) -> WriteAnswer {
        let result = self.iam.delete_instance_profile(name).await;
        sorted(&aws_calls::DELETE_INSTANCE_PROFILE, result, nothing)
    }

    pub(super) async fn put_inline_policy(
        &self,
        holder: &PolicyHolder,
        name: &str,
        policy: &Value,
    ) -> WriteAnswer {
        let policy = policy.to_string();
        match holder {
            PolicyHolder::Role(role) => {
                let result = self.iam.put_role_policy(role, name, &policy).await;
                sorted(&aws_calls::PUT_ROLE_POLICY, result, nothing)
            }
            PolicyHolder::User(user) => {
                let result = self.iam.put_user_policy(user, name, &policy).await;
                sorted(&aws_calls::PUT_USER_POLICY, result, nothing)
            }
        }
    }

    pub(super) async fn delete_inline_policy(
        &self,
        holder: &PolicyHolder,
        name: &str,
    ) -> WriteAnswer {
        match holder {
            PolicyHolder::Role(role) => {
                let result = self.iam.delete_role_policy(role, name).await;
                sorted(&aws_calls::DELETE_ROLE_POLICY, result, nothing)
            }
            PolicyHolder::User(user) => {
                let result = self.iam.delete_user_policy(user, name).await;
                sorted(&aws_calls::DELETE_USER_POLICY, result, nothing)
            }
        }
    }

    /// A symmetric key for encryption, with `mark` as the value of its tag.
    pub(super) async fn create_key(&self, policy: &Value, mark: &str) -> WriteAnswer {
        let request = self
            .kms
            .create_key()
            .key_spec(KeySpec::SymmetricDefault)
            .key_usage(KeyUsageType::EncryptDecrypt)
            .description(KEY_DESCRIPTION)
            .policy(policy.to_string());
        let tag = Tag::builder().tag_key(SETUP_MARK).tag_value(mark).build();
        let result = request.set_tags(tag.ok().map(|tag| vec![tag])).send().await;
        sorted(&aws_calls::CREATE_KEY, result, |answer| MadeIds {
            arn: answer.key_metadata().and_then(|key| key.arn()).map(str::to_owned),
            ..MadeIds::default()
        })
    }

    pub(super) async fn create_alias(&self, alias: &str, key: &str) -> WriteAnswer {
        // This call takes only the id or the ARN of a key.
        let result = self.kms.create_alias().alias_name(alias).target_key_id(key).send().await;
        sorted(&aws_calls::CREATE_ALIAS, result, nothing)
    }

    pub(super) async fn enable_rotation(&self, key: &str) -> WriteAnswer {
        let result = self.kms.enable_key_rotation().key_id(key).send().await;
        sorted(&aws_calls::ENABLE_KEY_ROTATION, result, nothing)
    }

    pub(super) async fn disable_rotation(&self, key: &str) -> WriteAnswer {
        let result = self.kms.disable_key_rotation().key_id(key).send().await;
        sorted(&aws_calls::DISABLE_KEY_ROTATION, result, nothing)
    }

    pub(super) async fn put_key_policy(&self, key: &str, policy: &Value) -> WriteAnswer {
        let request = self.kms.put_key_policy().key_id(key).policy_name("default");
        // KMS refuses a policy under which the caller could not change it again.
        let result = request.policy(policy.to_string()).send().await;
        sorted(&aws_calls::PUT_KEY_POLICY, result, nothing)
    }

    pub(super) async fn create_bucket(
        &self,
        bucket: &BucketName,
        object_lock: bool,
    ) -> WriteAnswer {
        let region = self.regions.get(bucket).filter(|region| *region != "us-east-1");
        let place = region.map(|region| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region.as_str()))
                .build()
        });
        let request = self.s3_of(bucket).create_bucket().bucket(bucket.as_str());
        let request = request.set_create_bucket_configuration(place);
        let lock = object_lock.then_some(true);
        let result = request.set_object_lock_enabled_for_bucket(lock).send().await;
        sorted(&aws_calls::CREATE_BUCKET, result, nothing)
    }

    pub(super) async fn enable_versioning(&self, bucket: &BucketName) -> WriteAnswer {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.s3_of(bucket).put_bucket_versioning().bucket(bucket.as_str());
        let request = request.versioning_configuration(on);
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::PUT_BUCKET_VERSIONING, result, nothing)
    }

    /// Switches Object Lock on, with this retention of new objects. Objects that are there already
    /// stay as they are.
    pub(super) async fn put_object_lock(
        &self,
        bucket: &BucketName,
        retention: Option<DefaultRetention>,
    ) -> WriteAnswer {
        let call = &aws_calls::PUT_OBJECT_LOCK_CONFIGURATION;
        let rule = match retention.map(retention_of) {
            None => None,
            Some(Some(retention)) => {
                Some(ObjectLockRule::builder().default_retention(retention).build())
            }
            Some(None) => return Err(not_sent(call)),
        };
        let lock = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .set_rule(rule)
            .build();
        let request = self.s3_of(bucket).put_object_lock_configuration().bucket(bucket.as_str());
        let request = request.object_lock_configuration(lock);
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(call, result, nothing)
    }

    pub(super) async fn delete_bucket(&self, bucket: &BucketName) -> WriteAnswer {
        let request = self.s3_of(bucket).delete_bucket().bucket(bucket.as_str());
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::DELETE_BUCKET, result, nothing)
    }

    pub(super) async fn put_bucket_encryption(
        &self,
        bucket: &BucketName,
        settings: &BucketEncryptionSettings,
    ) -> WriteAnswer {
        let call = &aws_calls::PUT_BUCKET_ENCRYPTION;
        let default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(server_side_encryption(settings.kind))
            .set_kms_master_key_id(settings.key.clone())
            .build();
        let blocked =
            if settings.blocks_sse_c { EncryptionType::SseC } else { EncryptionType::None };
        let built = default.ok().and_then(|default| {
            let rule = ServerSideEncryptionRule::builder()
                .apply_server_side_encryption_by_default(default)
                .bucket_key_enabled(settings.bucket_key)
                .blocked_encryption_types(
                    BlockedEncryptionTypes::builder().encryption_type(blocked).build(),
                )
                .build();
            ServerSideEncryptionConfiguration::builder().rules(rule).build().ok()
        });
        let Some(configuration) = built else { return Err(not_sent(call)) };
        let request = self.s3_of(bucket).put_bucket_encryption().bucket(bucket.as_str());
        let request = request.server_side_encryption_configuration(configuration);
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(call, result, nothing)
    }

    /// Makes SSE-S3 the default again.
    pub(super) async fn delete_bucket_encryption(&self, bucket: &BucketName) -> WriteAnswer {
        let request = self.s3_of(bucket).delete_bucket_encryption().bucket(bucket.as_str());
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::DELETE_BUCKET_ENCRYPTION, result, nothing)
    }

    pub(super) async fn put_public_access_block(
        &self,
        bucket: &BucketName,
        settings: PublicAccessBlockSettings,
    ) -> WriteAnswer {
        let configuration = PublicAccessBlockConfiguration::builder()
            .block_public_acls(settings.block_public_acls)
            .ignore_public_acls(settings.ignore_public_acls)
            .block_public_policy(settings.block_public_policy)
            .restrict_public_buckets(settings.restrict_public_buckets)
            .build();
        let request = self.s3_of(bucket).put_public_access_block().bucket(bucket.as_str());
        let request = request.public_access_block_configuration(configuration);
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::PUT_PUBLIC_ACCESS_BLOCK, result, nothing)
    }

    pub(super) async fn delete_public_access_block(&self, bucket: &BucketName) -> WriteAnswer {
        let request = self.s3_of(bucket).delete_public_access_block().bucket(bucket.as_str());
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::DELETE_PUBLIC_ACCESS_BLOCK, result, nothing)
    }

    pub(super) async fn put_bucket_policy(
        &self,
        bucket: &BucketName,
        policy: &Value,
    ) -> WriteAnswer {
        let request = self.s3_of(bucket).put_bucket_policy().bucket(bucket.as_str());
        // S3 refuses a policy under which the caller could not change it again.
        let request = request.policy(policy.to_string());
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::PUT_BUCKET_POLICY, result, nothing)
    }

    pub(super) async fn delete_bucket_policy(&self, bucket: &BucketName) -> WriteAnswer {
        let request = self.s3_of(bucket).delete_bucket_policy().bucket(bucket.as_str());
        let result = request.expected_bucket_owner(self.account.as_str()).send().await;
        sorted(&aws_calls::DELETE_BUCKET_POLICY, result, nothing)
    }

    /// Puts the archive where no object is yet, with `mark` in its metadata. The answer says how S3
    /// has encrypted it.
    pub(super) async fn put_archive(
        &self,
        archive: &CertificateArchive,
        bytes: Vec<u8>,
        mark: &str,
    ) -> WriteAnswer {
        let call = &aws_calls::PUT_OBJECT;
        let object = &archive.object;
        let request = self
            .s3_of(&object.bucket)
            .put_object()
            .bucket(object.bucket.as_str())
            .key(&object.key)
            .if_none_match("*")
            .content_type("application/zip")
            .metadata(SETUP_MARK, mark)
            .body(ByteStream::from(bytes))
            .expected_bucket_owner(self.account.as_str());
        let request = match &archive.key {
            Some(key) => {
                request.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(key)
            }
            None => request,
        };
        let result = request.send().await;
        let encryption = result.as_ref().ok().map(|answer| {
            (answer.server_side_encryption().cloned(), answer.ssekms_key_id().map(str::to_owned))
        });
        let done = sorted(call, result, |answer| MadeIds {
            arn: None,
            etag: answer.e_tag().map(str::to_owned),
            version: answer.version_id().map(str::to_owned),
        })?;
        let under_key = encryption.is_some_and(|(kind, key)| {
            archive.key.is_none()
                || (kind == Some(ServerSideEncryption::AwsKms) && key == archive.key)
        });
        if under_key {
            return Ok(done);
        }
        Err(WriteFailure {
            operation: call.operation,
            permission: call.permission,
            code: String::new(),
            message: format!(
                "S3 took the archive, but its answer does not say that it is encrypted under {}",
                archive.key.as_deref().unwrap_or("a key")
            ),
            unclear: true,
            request: done.request,
        })
    }

    /// Deletes exactly this object: its version in a bucket that keeps versions, else the object
    /// with this ETag.
    pub(super) async fn delete_object(&self, object: &S3Object, made: &MadeIds) -> WriteAnswer {
        let request = self.s3_of(&object.bucket).delete_object().bucket(object.bucket.as_str());
        let request = request.key(&object.key).expected_bucket_owner(self.account.as_str());
        match &made.version {
            Some(version) => {
                let result = request.version_id(version).send().await;
                sorted(&aws_calls::DELETE_OBJECT_VERSION, result, nothing)
            }
            None => {
                let result = request.set_if_match(made.etag.clone()).send().await;
                sorted(&aws_calls::DELETE_OBJECT, result, nothing)
            }
        }
    }

    pub(super) async fn create_configuration(
        &self,
        configuration: &NamedConfiguration,
    ) -> WriteAnswer {
        let request = self.emr.create_security_configuration().name(&configuration.name);
        let content = configuration.content.to_string();
        let result = request.security_configuration(content).send().await;
        sorted(&aws_calls::CREATE_SECURITY_CONFIGURATION, result, nothing)
    }

    pub(super) async fn delete_configuration(&self, name: &str) -> WriteAnswer {
        let result = self.emr.delete_security_configuration().name(name).send().await;
        sorted(&aws_calls::DELETE_SECURITY_CONFIGURATION, result, nothing)
    }

    pub(super) async fn create_topic(&self, topic: &AlertTopic) -> WriteAnswer {
        let policy = topic.policy.to_string();
        let attributes = [("KmsMasterKeyId", topic.key.as_str()), ("Policy", policy.as_str())];
        let result = self.topics.create_topic(topic.name(), &attributes).await;
        sorted(&aws_calls::CREATE_TOPIC, result, |created| of_arn(&created.arn))
    }

    pub(super) async fn set_topic_policy(&self, topic: &str, policy: &Value) -> WriteAnswer {
        let policy = policy.to_string();
        let result = self.topics.set_topic_attribute(topic, "Policy", &policy).await;
        sorted(&aws_calls::SET_TOPIC_ATTRIBUTES, result, nothing)
    }

    /// Encrypts a topic's messages under `key`, or, if that is empty, not any more.
    pub(super) async fn set_topic_key(&self, topic: &str, key: &str) -> WriteAnswer {
        let result = self.topics.set_topic_attribute(topic, "KmsMasterKeyId", key).await;
        sorted(&aws_calls::SET_TOPIC_ATTRIBUTES, result, nothing)
    }

    pub(super) async fn delete_topic(&self, topic: &str) -> WriteAnswer {
        sorted(&aws_calls::DELETE_TOPIC, self.topics.delete_topic(topic).await, nothing)
    }

    pub(super) async fn create_queue(&self, queue: &EventQueue) -> WriteAnswer {
        let retention = queue.retention.to_string();
        let request = self.queues.create_queue().queue_name(queue.name());
        let request = request.attributes(QueueAttributeName::MessageRetentionPeriod, retention);
        let request = request.attributes(QueueAttributeName::SqsManagedSseEnabled, "true");
        let request = request.attributes(QueueAttributeName::Policy, queue.policy.to_string());
        sorted(&aws_calls::CREATE_QUEUE, request.send().await, nothing)
    }

    /// Changes the queue at `url`.
    pub(super) async fn set_queue(&self, url: &str, change: &QueueChange<'_>) -> WriteAnswer {
        let request = self.queues.set_queue_attributes().queue_url(url);
        let policy = change.policy.map(ToString::to_string).unwrap_or_default();
        let mut request = request.attributes(QueueAttributeName::Policy, policy);
        if let Some(by_sqs) = change.by_sqs {
            let name = QueueAttributeName::SqsManagedSseEnabled;
            request = request.attributes(name, by_sqs.to_string());
        }
        if let Some(retention) = change.retention {
            let name = QueueAttributeName::MessageRetentionPeriod;
            request = request.attributes(name, retention.to_string());
        }
        sorted(&aws_calls::SET_QUEUE_ATTRIBUTES, request.send().await, nothing)
    }

    pub(super) async fn delete_queue(&self, url: &str) -> WriteAnswer {
        let result = self.queues.delete_queue().queue_url(url).send().await;
        sorted(&aws_calls::DELETE_QUEUE, result, nothing)
    }

    pub(super) async fn put_rule(&self, rule: &EventRule) -> WriteAnswer {
        let request = self.event_rules.put_rule().name(rule.name());
        let request = request.event_pattern(rule.pattern.to_string()).state(RuleState::Enabled);
        let request = request.description(&rule.description);
        sorted(&aws_calls::PUT_RULE, request.send().await, |answer| MadeIds {
            arn: answer.rule_arn().map(str::to_owned),
            ..MadeIds::default()
        })
    }

    pub(super) async fn put_target(&self, rule: &EventRule) -> WriteAnswer {
        let call = &aws_calls::PUT_TARGETS;
        let target = Target::builder().id(EventRule::TARGET).arn(&rule.queue).build();
        let Ok(target) = target else { return Err(not_sent(call)) };
        let result = self.event_rules.put_targets().rule(rule.name()).targets(target).send().await;
        let failed = result.as_ref().ok().and_then(|answer| {
            let entry = answer.failed_entries().first();
            let message = entry.map(|entry| entry.error_message().unwrap_or_default());
            refused_entry(message, answer.failed_entry_count())
        });
        entries_done(call, sorted(call, result, nothing), failed)
    }

    /// Removes the target that `setup` has added.
    pub(super) async fn remove_target(&self, rule: &EventRule) -> WriteAnswer {
        let call = &aws_calls::REMOVE_TARGETS;
        let request = self.event_rules.remove_targets().rule(rule.name()).ids(EventRule::TARGET);
        let result = request.send().await;
        let failed = result.as_ref().ok().and_then(|answer| {
            let entry = answer.failed_entries().first();
            let message = entry.map(|entry| entry.error_message().unwrap_or_default());
            refused_entry(message, answer.failed_entry_count())
        });
        entries_done(call, sorted(call, result, nothing), failed)
    }

    pub(super) async fn delete_rule(&self, rule: &EventRule) -> WriteAnswer {
        let result = self.event_rules.delete_rule().name(rule.name()).send().await;
        sorted(&aws_calls::DELETE_RULE, result, nothing)
    }

    /// Makes an alarm, or overwrites the one with its name.
    pub(super) async fn put_alarm(&self, alarm: &AlarmDefinition) -> WriteAnswer {
        let result = self.alarms.put_alarm(alarm, &BTreeMap::new()).await;
        sorted(&aws_calls::PUT_METRIC_ALARM, result, nothing)
    }

    pub(super) async fn delete_alarm(&self, name: &str) -> WriteAnswer {
        sorted(&aws_calls::DELETE_ALARMS, self.alarms.delete_alarm(name).await, nothing)
    }
}

/// Why EventBridge refused an entry, by the message of the first refused one and their number; none
/// if it refused none.
fn refused_entry(message: Option<&str>, count: i32) -> Option<String> {
    message.map(str::to_owned).or_else(|| (count > 0).then(String::new))
}

/// The result of a call whose answer may say that a part of it failed, and why.
fn entries_done(call: &'static Call, answer: WriteAnswer, failed: Option<String>) -> WriteAnswer {
    let done = answer?;
    match failed {
        None => Ok(done),
        Some(why) => Err(WriteFailure {
            operation: call.operation,
            permission: call.permission,
            code: String::new(),
            message: format!("EventBridge refused the target: {why}"),
            unclear: false,
            request: done.request,
        }),
    }
}

/// A retention as S3 takes it; none if its number is too large.
fn retention_of(retention: DefaultRetention) -> Option<types::DefaultRetention> {
    let mode = match retention.mode {
        RetentionMode::Governance => ObjectLockRetentionMode::Governance,
        RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
    };
    let builder = types::DefaultRetention::builder().mode(mode);
    Some(match retention.period {
        RetentionPeriod::Days(days) => builder.days(i32::try_from(days).ok()?).build(),
        RetentionPeriod::Years(years) => builder.years(i32::try_from(years).ok()?).build(),
    })
}

fn not_sent(call: &'static Call) -> WriteFailure {
    WriteFailure {
        operation: call.operation,
        permission: call.permission,
        code: String::new(),
        message: "the request could not be made".to_owned(),
        unclear: false,
        request: None,
    }
}

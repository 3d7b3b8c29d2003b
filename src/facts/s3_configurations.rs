//! A bucket's automatic actions when its objects change (notifications, replication, lifecycle),
//! and its requirements for changes.

use aws_sdk_s3::types::{
    Event, ExpirationStatus, LifecycleRule, MfaDeleteStatus, NotificationConfigurationFilter,
    Payer, ReplicationRule, ReplicationRuleStatus,
};

use crate::{
    aws::bucket_region::is_code,
    base::{aws_calls, lookup::Lookup, names::BucketName},
};

/// The facts about one bucket. Each is independent of the others.
#[derive(Clone, Debug)]
pub(crate) struct BucketConfigurations {
    pub(crate) notifications: Lookup<BucketNotifications>,
    /// The rules that are enabled.
    pub(crate) replication: Lookup<Vec<ReplicationRoute>>,
    /// The rules that are enabled.
    pub(crate) lifecycle: Lookup<Vec<LifecycleSchedule>>,
}

/// The receivers of events about objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketNotifications {
    pub(crate) rules: Vec<NotificationRule>,
    /// EventBridge gets every event of the bucket.
    pub(crate) event_bridge: bool,
}

/// One rule of a notification configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotificationRule {
    pub(crate) receiver: NotificationReceiver,
    pub(crate) arn: String,
    /// The events, such as `s3:ObjectCreated:*`.
    pub(crate) events: Vec<String>,
    /// The prefix that keys must have; empty matches all keys.
    pub(crate) prefix: String,
    /// The suffix that keys must have; empty matches all keys.
    pub(crate) suffix: String,
}

/// The receiver of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotificationReceiver {
    Lambda,
    Queue,
    Topic,
}

/// A replication rule that is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicationRoute {
    pub(crate) id: String,
    pub(crate) prefix: String,
    /// The ARN of the destination bucket.
    pub(crate) destination: String,
}

/// A lifecycle rule that is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LifecycleSchedule {
    pub(crate) id: String,
    pub(crate) prefix: String,
    /// Whether current objects change their storage class some days after they were written.
    pub(crate) transitions: bool,
    /// Whether current objects expire some days after they were written.
    pub(crate) expires: bool,
    /// The number of days after which replaced versions are removed.
    pub(crate) noncurrent_days: Option<i32>,
}

/// The status of a bucket's versioning, and whether deleting versions requires an MFA code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersioningStatus {
    /// `Enabled` or `Suspended`; none if it was never enabled.
    pub(crate) status: Option<String>,
    pub(crate) mfa_delete: bool,
}

/// Looks up all automatic actions of a bucket.
pub(crate) async fn configurations(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
) -> BucketConfigurations {
    let (notifications, replication, lifecycle) =
        tokio::join!(notifications(s3, bucket), replication(s3, bucket), lifecycle(s3, bucket));
    BucketConfigurations { notifications, replication, lifecycle }
}

/// Looks up whether a bucket keeps versions.
pub(crate) async fn versioning_status(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
) -> Lookup<VersioningStatus> {
    let result = s3.get_bucket_versioning().bucket(bucket.as_str()).send().await;
    Lookup::from_call(&aws_calls::GET_BUCKET_VERSIONING, &["NoSuchBucket"], result).map(|answer| {
        VersioningStatus {
            status: answer.status.map(|status| status.as_str().to_owned()),
            mfa_delete: answer.mfa_delete == Some(MfaDeleteStatus::Enabled),
        }
    })
}

/// Looks up whether requesters pay for their requests, and must confirm that in each request.
pub(crate) async fn requester_pays(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<bool> {
    let result = s3.get_bucket_request_payment().bucket(bucket.as_str()).send().await;
    Lookup::from_call(&aws_calls::GET_BUCKET_REQUEST_PAYMENT, &["NoSuchBucket"], result)
        .map(|answer| answer.payer == Some(Payer::Requester))
}

/// Looks up the notification rules.
pub(crate) async fn notifications(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
) -> Lookup<BucketNotifications> {
    let result = s3.get_bucket_notification_configuration().bucket(bucket.as_str()).send().await;
    let answer = Lookup::from_call(
        &aws_calls::GET_BUCKET_NOTIFICATION_CONFIGURATION,
        &["NoSuchBucket"],
        result,
    );
    answer.map(|answer| {
        use NotificationReceiver::{Lambda, Queue, Topic};
        let functions = answer.lambda_function_configurations.unwrap_or_default();
        let queues = answer.queue_configurations.unwrap_or_default();
        let topics = answer.topic_configurations.unwrap_or_default();
        let functions = functions
            .iter()
            .map(|it| rule(Lambda, &it.lambda_function_arn, &it.events, it.filter.as_ref()));
        let queues =
            queues.iter().map(|it| rule(Queue, &it.queue_arn, &it.events, it.filter.as_ref()));
        let topics =
            topics.iter().map(|it| rule(Topic, &it.topic_arn, &it.events, it.filter.as_ref()));
        BucketNotifications {
            rules: functions.chain(queues).chain(topics).collect(),
            event_bridge: answer.event_bridge_configuration.is_some(),
        }
    })
}

fn rule(
    receiver: NotificationReceiver,
    arn: &str,
    events: &[Event],
    filter: Option<&NotificationConfigurationFilter>,
) -> NotificationRule {
    let rules = filter
        .and_then(|filter| filter.key.as_ref())
        .and_then(|key| key.filter_rules.as_deref())
        .unwrap_or_default();
    // S3 returns `Prefix` for a rule that was sent as `prefix`.
    let value = |name: &str| {
        let of_name = |it: &&aws_sdk_s3::types::FilterRule| {
            it.name.as_ref().is_some_and(|it| it.as_str().eq_ignore_ascii_case(name))
        };
        rules.iter().find(of_name).and_then(|it| it.value.clone()).unwrap_or_default()
    };
    NotificationRule {
        receiver,
        arn: arn.to_owned(),
        events: events.iter().map(|event| event.as_str().to_owned()).collect(),
        prefix: value("prefix"),
        suffix: value("suffix"),
    }
}

async fn replication(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
) -> Lookup<Vec<ReplicationRoute>> {
    let result = s3.get_bucket_replication().bucket(bucket.as_str()).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, "ReplicationConfigurationNotFoundError")) {
        return Lookup::Found(Vec::new());
    }
    let answer = Lookup::from_call(&aws_calls::GET_BUCKET_REPLICATION, &["NoSuchBucket"], result);
    answer.map(|answer| {
        let rules = answer.replication_configuration.map(|it| it.rules).unwrap_or_default();
        let is_on = |rule: &&ReplicationRule| rule.status != ReplicationRuleStatus::Disabled;
        rules.iter().filter(is_on).map(route).collect()
    })
}

#[expect(deprecated, reason = "rules of the first version have their prefix nowhere else")]
fn route(rule: &ReplicationRule) -> ReplicationRoute {
    let filter = rule.filter.as_ref();
    let prefix = filter
        .and_then(|it| it.prefix.as_ref().or_else(|| it.and.as_ref()?.prefix.as_ref()))
        .or(rule.prefix.as_ref());
    ReplicationRoute {
        id: rule.id.clone().unwrap_or_default(),
        prefix: prefix.cloned().unwrap_or_default(),
        destination: rule.destination.as_ref().map_or_else(String::new, |it| it.bucket.clone()),
    }
}

async fn lifecycle(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<Vec<LifecycleSchedule>> {
    let result = s3.get_bucket_lifecycle_configuration().bucket(bucket.as_str()).send().await;
    if result.as_ref().is_err_and(|error| is_code(error, "NoSuchLifecycleConfiguration")) {
        return Lookup::Found(Vec::new());
    }
    let answer = Lookup::from_call(
        &aws_calls::GET_BUCKET_LIFECYCLE_CONFIGURATION,
        &["NoSuchBucket"],
        result,
    );
    answer.map(|answer| {
        let is_on = |rule: &&LifecycleRule| rule.status != ExpirationStatus::Disabled;
        answer.rules.unwrap_or_default().iter().filter(is_on).map(schedule).collect()
    })
}

#[expect(deprecated, reason = "rules of the first version have their prefix nowhere else")]
fn schedule(rule: &LifecycleRule) -> LifecycleSchedule {
    let filter = rule.filter.as_ref();
    let prefix = filter
        .and_then(|it| it.prefix.as_ref().or_else(|| it.and.as_ref()?.prefix.as_ref()))
        .or(rule.prefix.as_ref());
    LifecycleSchedule {
        id: rule.id.clone().unwrap_or_default(),
        prefix: prefix.cloned().unwrap_or_default(),
        transitions: rule
            .transitions
            .iter()
            .flatten()
            .any(|it| it.days.is_some() || it.date.is_none()),
        expires: rule.expiration.as_ref().is_some_and(|it| it.days.is_some()),
        noncurrent_days: rule
            .noncurrent_version_expiration
            .as_ref()
            .map(|it| it.noncurrent_days.unwrap_or_default()),
    }
}

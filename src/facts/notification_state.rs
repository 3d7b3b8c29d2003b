//! What exists of the topic for alerts, of the queue with the events of EMR, and of the rule that
//! fills it.

use std::collections::HashMap;

use aws_sdk_eventbridge::{
    operation::list_targets_by_rule::ListTargetsByRuleOutput,
    types::{RuleState as AwsRuleState, Target},
};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use crate::{
    aws::{clients::Aws, whole_list::whole_list},
    base::{
        aws_calls::{self, Call},
        lookup::Lookup,
    },
};

/// What to look at. None: it is not planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotificationQuery {
    /// The topic's ARN.
    pub(crate) topic: Option<String>,
    /// The queue's name.
    pub(crate) queue: Option<String>,
    /// The rule's name.
    pub(crate) rule: Option<String>,
}

/// The answers to what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotificationState {
    /// The topic.
    pub(crate) topic: Option<Lookup<TopicState>>,
    /// The queue.
    pub(crate) queue: Option<Lookup<QueueState>>,
    /// The rule.
    pub(crate) rule: Option<Lookup<RuleState>>,
}

/// An SNS topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicState {
    /// Its policy. Every topic has one.
    pub(crate) policy: Value,
    /// The KMS key under which its messages are encrypted, as it was named.
    pub(crate) key: Option<String>,
    /// How many subscriptions it has, with those that are not confirmed yet.
    pub(crate) subscriptions: u64,
}

/// An SQS queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Its URL.
    pub(crate) url: String,
    /// Its policy, if it has one.
    pub(crate) policy: Option<Value>,
    /// The KMS key under which its messages are encrypted, as it was named.
    pub(crate) key: Option<String>,
    /// Whether they are encrypted under a key of SQS.
    pub(crate) by_sqs: bool,
    /// How long it keeps a message, in seconds, if it says so.
    pub(crate) retention: Option<u32>,
}

/// A rule of EventBridge on the default bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleState {
    /// The pattern of its events; none for a schedule.
    pub(crate) pattern: Option<Value>,
    /// Whether it is enabled.
    pub(crate) enabled: bool,
    /// Its targets: ids, ARNs, and whether they get events as they are.
    pub(crate) targets: Vec<RuleTarget>,
}

/// A target of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleTarget {
    /// Its id in the rule.
    pub(crate) id: String,
    /// The ARN of what gets the events.
    pub(crate) arn: String,
    /// Whether it gets events as they are.
    pub(crate) whole_events: bool,
}

/// Looks at everything in `query`, concurrently. Nothing is changed.
pub(crate) async fn look(aws: &Aws, query: &NotificationQuery) -> NotificationState {
    let topic = async {
        match &query.topic {
            Some(arn) => Some(topic(aws, arn).await),
            None => None,
        }
    };
    let queue = async {
        match &query.queue {
            Some(name) => Some(queue(aws, name).await),
            None => None,
        }
    };
    let rule = async {
        match &query.rule {
            Some(name) => Some(rule(aws, name).await),
            None => None,
        }
    };
    let (topic, queue, rule) = tokio::join!(topic, queue, rule);
    NotificationState { topic, queue, rule }
}

impl NotificationQuery {
    /// The answers if nothing can be asked.
    pub(crate) fn not_asked(&self, why: &str) -> NotificationState {
        let asks = |asked: &Option<String>| asked.is_some();
        NotificationState {
            topic: asks(&self.topic)
                .then(|| Lookup::not_asked(&aws_calls::GET_TOPIC_ATTRIBUTES, why)),
            queue: asks(&self.queue).then(|| Lookup::not_asked(&aws_calls::GET_QUEUE_URL, why)),
            rule: asks(&self.rule).then(|| Lookup::not_asked(&aws_calls::DESCRIBE_RULE, why)),
        }
    }
}

/// The topic with this ARN; `Absent` if there is none.
pub(crate) async fn topic(aws: &Aws, arn: &str) -> Lookup<TopicState> {
    let call = &aws_calls::GET_TOPIC_ATTRIBUTES;
    if let Some(why) = aws.notification_refusal("SNS") {
        return Lookup::not_asked(call, &why);
    }
    let result = aws.topics.topic_attributes(arn).await;
    Lookup::from_call(call, &["NotFound", "NotFoundException"], result).and_then(|attributes| {
        let text = |name: &str| attributes.get(name).filter(|text| !text.is_empty());
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        let (Some(policy), Some(confirmed), Some(pending)) =
            (text("Policy"), number("SubscriptionsConfirmed"), number("SubscriptionsPending"))
        else {
            return Lookup::expect_in_answer(call, None);
        };
        document(call, policy).map(|policy| TopicState {
            policy,
            key: text("KmsMasterKeyId").cloned(),
            subscriptions: confirmed + pending,
        })
    })
}

/// SQS's error codes for a queue that does not exist.
const NO_QUEUE: &[&str] = &["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"];

/// The queue of this name; `Absent` if there is none.
pub(crate) async fn queue(aws: &Aws, name: &str) -> Lookup<QueueState> {
    let call = &aws_calls::GET_QUEUE_URL;
    if let Some(why) = aws.notification_refusal("SQS") {
        return Lookup::not_asked(call, &why);
    }
    let result = aws.queues.get_queue_url().queue_name(name).send().await;
    let url = Lookup::from_call(call, NO_QUEUE, result)
        .and_then(|answer| Lookup::expect_in_answer(call, answer.queue_url));
    let url = match url {
        Lookup::Found(url) => url,
        Lookup::Absent => return Lookup::Absent,
        Lookup::Denied(error) => return Lookup::Denied(error),
        Lookup::Unreachable(error) => return Lookup::Unreachable(error),
    };
    let call = &aws_calls::GET_QUEUE_ATTRIBUTES;
    let request = aws.queues.get_queue_attributes().queue_url(&url);
    let result = request.attribute_names(QueueAttributeName::All).send().await;
    Lookup::from_call(call, NO_QUEUE, result).and_then(|answer| {
        let Some(attributes) = answer.attributes else {
            return Lookup::expect_in_answer(call, None);
        };
        queue_state(url, &attributes)
    })
}

fn queue_state(
    url: String,
    attributes: &HashMap<QueueAttributeName, String>,
) -> Lookup<QueueState> {
    let text = |name: &QueueAttributeName| attributes.get(name).filter(|text| !text.is_empty());
    let key = text(&QueueAttributeName::KmsMasterKeyId).cloned();
    let by_sqs = text(&QueueAttributeName::SqsManagedSseEnabled).is_some_and(|text| text == "true");
    let retention = text(&QueueAttributeName::MessageRetentionPeriod);
    let retention = retention.and_then(|text| text.parse().ok());
    match text(&QueueAttributeName::Policy) {
        None => Lookup::Found(QueueState { url, policy: None, key, by_sqs, retention }),
        Some(policy) => document(&aws_calls::GET_QUEUE_ATTRIBUTES, policy)
            .map(|policy| QueueState { url, policy: Some(policy), key, by_sqs, retention }),
    }
}

/// EventBridge's error code for a rule that does not exist.
const NO_RULE: &[&str] = &["ResourceNotFoundException"];

/// The rule of this name on the default bus; `Absent` if there is none.
pub(crate) async fn rule(aws: &Aws, name: &str) -> Lookup<RuleState> {
    let call = &aws_calls::DESCRIBE_RULE;
    if let Some(why) = aws.notification_refusal("EVENTBRIDGE") {
        return Lookup::not_asked(call, &why);
    }
    let result = aws.event_rules.describe_rule().name(name).send().await;
    let described = Lookup::from_call(call, NO_RULE, result).and_then(|answer| {
        let enabled = answer.state.map(|state| state != AwsRuleState::Disabled);
        let Some(enabled) = enabled else { return Lookup::expect_in_answer(call, None) };
        match answer.event_pattern {
            None => Lookup::Found((None, enabled)),
            Some(pattern) => document(call, &pattern).map(|pattern| (Some(pattern), enabled)),
        }
    });
    let (pattern, enabled) = match described {
        Lookup::Found(described) => described,
        Lookup::Absent => return Lookup::Absent,
        Lookup::Denied(error) => return Lookup::Denied(error),
        Lookup::Unreachable(error) => return Lookup::Unreachable(error),
    };
    let request = aws.event_rules.list_targets_by_rule().rule(name);
    let pages = whole_list(
        &aws_calls::LIST_TARGETS_BY_RULE,
        NO_RULE,
        |marker| request.clone().set_next_token(marker).send(),
        ListTargetsByRuleOutput::next_token,
        |page| Some(page.targets.as_ref()?.iter().map(Target::id).collect()),
    );
    pages.await.map(|pages| {
        let targets = pages.into_iter().flat_map(|page| page.targets.unwrap_or_default());
        let targets = targets.map(|target| RuleTarget {
            whole_events: target.input.is_none()
                && target.input_path.is_none()
                && target.input_transformer.is_none(),
            id: target.id,
            arn: target.arn,
        });
        RuleState { pattern, enabled, targets: targets.collect() }
    })
}

fn document(call: &Call, text: &str) -> Lookup<Value> {
    let document: Option<Value> = serde_json::from_str(text).ok();
    match document.filter(Value::is_object) {
        Some(document) => Lookup::Found(document),
        None => Lookup::unusable(call, "a document in it is no JSON object"),
    }
}

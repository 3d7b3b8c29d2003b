//! The steps for what the guard itself can use: a topic for alerts, and a queue that EventBridge
//! fills with the events of EMR.
//!
//! The topic is encrypted under the key that AWS manages for SNS: everybody of the account who may
//! publish may use it. Under a key of one's own, each publisher would need rights on that key, and
//! a publisher without them would fail only when there is something to alert. The queue is
//! encrypted under a key of SQS for the same reason: EventBridge would need rights on any other.

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls,
        lookup::Lookup,
        prices,
        printable::{Printable, printable},
    },
    facts::notification_state::{NotificationQuery, NotificationState, TopicState},
    setup::{
        desired::SetupInputs,
        documents,
        event_steps::{self, EventSource, denied_to, denies_plain_http, merged, tls_only},
        merge::{self, DocumentKind, SID_START},
        options::SetupExtra,
        piece::{AlertTopic, EventQueue, EventRule, Piece, RULE_DESCRIPTION, queue_url},
        plan::{Advice, Step, StepAction},
        planning::{Availability, not_asked, refuse, step, unknown},
    },
};

/// The key that AWS manages for SNS.
pub(super) const SNS_KEY: &str = "alias/aws/sns";
const TOPIC_ASKED_BY: [&str; 1] = ["--with alert-topic"];
const QUEUE_ASKED_BY: [&str; 1] = ["--with event-queue"];

/// What has to be looked at for what is asked for.
pub(super) fn query(inputs: &SetupInputs<'_>) -> NotificationQuery {
    let topic = inputs.makes_extra(SetupExtra::AlertTopic);
    let queue = inputs.makes_extra(SetupExtra::EventQueue);
    NotificationQuery {
        topic: topic.then(|| arn(inputs, "sns", &topic_name(inputs))),
        queue: queue.then(|| events_name(inputs)),
        rule: queue.then(|| events_name(inputs)),
    }
}

/// The ARN of the topic and the URL of the queue that are asked for.
pub(super) fn made(inputs: &SetupInputs<'_>) -> (Option<String>, Option<String>) {
    let NotificationQuery { topic, queue, .. } = query(inputs);
    (topic, queue.map(|name| queue_url(&arn(inputs, "sqs", &name))))
}

fn topic_name(inputs: &SetupInputs<'_>) -> String {
    format!("{}-alerts", inputs.options.name)
}

/// The name of the queue, and of its rule.
fn events_name(inputs: &SetupInputs<'_>) -> String {
    format!("{}-emr-events", inputs.options.name)
}

fn arn(inputs: &SetupInputs<'_>, service: &str, resource: &str) -> String {
    event_steps::arn((inputs.partition(), inputs.region(), inputs.account), service, resource)
}

/// The topic for alerts, the queue and its rule, as far as they are asked for, and advice.
pub(super) fn plan(
    inputs: &SetupInputs<'_>,
    state: &NotificationState,
) -> (Vec<Step>, Option<Advice>) {
    let (mut steps, mut advice) = (Vec::new(), None);
    if inputs.makes_extra(SetupExtra::AlertTopic) {
        let (topic, about_it) = alert_topic(inputs, state);
        steps.push(topic);
        advice = about_it;
    }
    if inputs.makes_extra(SetupExtra::EventQueue) {
        steps.extend(queue_and_rule(inputs, state));
    }
    (steps, advice)
}

fn alert_topic(inputs: &SetupInputs<'_>, state: &NotificationState) -> (Step, Option<Advice>) {
    let name = topic_name(inputs);
    let arn = arn(inputs, "sns", &name);
    let lookup = state.topic.clone().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(
            &aws_calls::GET_TOPIC_ATTRIBUTES,
            &format!("the topic {name}"),
        ))
    });
    let fresh = documents::of(&[owner_of_topic(inputs, &arn), tls_only("sns:Publish", &arn)]);
    let (key, policy, action) = match &lookup {
        Lookup::Absent => (SNS_KEY.to_owned(), fresh, StepAction::Create),
        Lookup::Denied(error) | Lookup::Unreachable(error) => {
            (SNS_KEY.to_owned(), fresh, unknown(error))
        }
        Lookup::Found(topic) => {
            let (policy, action) = wanted_topic(inputs, &arn, topic);
            (topic.key.clone().unwrap_or_else(|| SNS_KEY.to_owned()), policy, action)
        }
    };
    let will_be = Availability::of(&action, ()).there().is_some();
    let subscriptions = lookup.found().map_or(0, |topic| topic.subscriptions);
    let advice = (will_be && subscriptions == 0).then(|| {
        let (name, arn) = (Printable::from(&name), Printable::from(&arn));
        Advice {
            check: None,
            saw: printable!(
                "nobody is subscribed to the topic {name}, so no alert reaches anybody"
            ),
            fix: printable!(
                "`aws sns subscribe --region {} --topic-arn {arn} --protocol email \
                 --notification-endpoint ADDRESS`, then confirm it by the link in the mail",
                Printable::from(inputs.region())
            ),
        }
    });
    let mut notes = Vec::new();
    if action == StepAction::Create {
        notes.push(printable!(
            "the guard publishes to it once the setting `alert_sns` names it (--write-settings \
             does that), and needs sns:Publish on it"
        ));
    }
    if key.ends_with(SNS_KEY) && matches!(action, StepAction::Create | StepAction::Change { .. }) {
        notes.push(printable!(
            "it is under {SNS_KEY}, which the account's roles and users need no rights on; services \
             of AWS, such as alarms of CloudWatch, cannot publish under it"
        ));
    } else if !key.ends_with(SNS_KEY) {
        notes.push(printable!(
            "the guard needs kms:GenerateDataKey and kms:Decrypt on its key {}, which is not \
             looked at here",
            Printable::from(&key)
        ));
    }
    let made = step(
        Piece::AlertTopic(AlertTopic { arn, key, policy }),
        action,
        &TOPIC_ASKED_BY,
        "Amazon SNS developer guide, Amazon SNS security best practices (server-side encryption; \
         encryption of data in transit), and Amazon SNS key management",
    );
    (made.costing(prices::topic(inputs.partition())).noting_any(notes), advice)
}

/// What a topic that exists needs.
fn wanted_topic(inputs: &SetupInputs<'_>, arn: &str, topic: &TopicState) -> (Value, StepAction) {
    let present = &topic.policy;
    let guard = inputs.guard.map(|guard| ("the guard", guard));
    if let Some(denied) = guard.and_then(|guard| denied_to(guard, present, &["sns:Publish"], arn)) {
        return (present.clone(), denied);
    }
    let lacks_tls = !denies_plain_http(present, "sns:Publish", arn);
    let statements: Vec<Value> =
        lacks_tls.then(|| tls_only("sns:Publish", arn)).into_iter().collect();
    let policy = match merged(DocumentKind::Topic, present, &statements) {
        Ok(policy) => policy,
        Err(refused) => return (present.clone(), refused),
    };
    if topic.key.is_some() && policy == *present {
        return (policy, StepAction::Keep);
    }
    if topic.key.is_none()
        && let Some(service) = publishing_service(present)
    {
        let refused = refuse(
            printable!(
                "messages are not encrypted, and {}, which publishes to it by its policy, cannot \
                 publish under {SNS_KEY}",
                Printable::from(&service)
            ),
            printable!(
                "encrypt it under a key whose policy lets that service use it: `aws sns \
                 set-topic-attributes --region {} --topic-arn {} --attribute-name KmsMasterKeyId \
                 --attribute-value KEY`; or let setup use another name (`--name`)",
                Printable::from(inputs.region()),
                Printable::from(arn)
            ),
        );
        return (present.clone(), refused);
    }
    (policy, StepAction::Change { before: json!({"key": topic.key, "policy": present}) })
}

/// The first service of AWS that a policy allows something.
fn publishing_service(policy: &Value) -> Option<String> {
    let statements = merge::statements(policy).ok()?;
    let allowing = statements.into_iter().filter(|statement| statement["Effect"] == "Allow");
    let services = allowing.map(|statement| &statement["Principal"]["Service"]);
    services
        .flat_map(|services| match services {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        })
        .next()
}

/// The queue and its rule, as they should be.
fn event_source<'a>(inputs: &SetupInputs<'a>) -> EventSource<'a> {
    let name = events_name(inputs);
    let (queue, rule) = (arn(inputs, "sqs", &name), arn(inputs, "events", &format!("rule/{name}")));
    let sends = event_steps::from_rule(&queue, &rule);
    EventSource {
        partition: inputs.partition(),
        region: inputs.region(),
        account: inputs.account,
        retention: EventQueue::RETENTION,
        extends_retention: false,
        statements: vec![documents::statement(&inputs.options.name, "Events", sends)],
        reader: inputs.guard.map(|guard| ("the guard", guard)),
        rule: EventRule {
            arn: rule,
            pattern: pattern(),
            queue: queue.clone(),
            description: RULE_DESCRIPTION.to_owned(),
        },
        queue,
        asked_by: &QUEUE_ASKED_BY,
        rule_source: "Amazon EMR management guide, Monitoring Amazon EMR events with CloudWatch",
    }
}

fn queue_and_rule(inputs: &SetupInputs<'_>, state: &NotificationState) -> [Step; 2] {
    let source = event_source(inputs);
    let name = events_name(inputs);
    let queue = state.queue.clone().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::GET_QUEUE_URL, &format!("the queue {name}")))
    });
    let queue = source.queue_step(
        &queue,
        "it keeps events for five minutes: they only hasten what the guard finds by polling. The \
         guard reads it once the setting `event_queue` has its URL (--write-settings does that), \
         and needs sqs:ReceiveMessage and sqs:DeleteMessage on it"
            .into(),
    );
    let rule = state.rule.clone().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::DESCRIBE_RULE, &format!("the rule {name}")))
    });
    let rule = source.rule_step(&rule, &Availability::of(&queue.action, ()));
    [queue, rule]
}

/// The events by which the guard polls sooner. Source: Amazon EMR management guide, Monitoring
/// Amazon EMR events with CloudWatch.
fn pattern() -> Value {
    json!({
        "source": ["aws.emr"],
        "detail-type": [
            "EMR Cluster State Change", "EMR Step Status Change", "EMR Instance Group State Change",
        ],
    })
}

/// The statement that lets the account do what a topic's default policy lets its owner do.
fn owner_of_topic(inputs: &SetupInputs<'_>, topic: &str) -> Value {
    json!({
        "Sid": format!("{SID_START}Owner"),
        "Effect": "Allow",
        "Principal": {"AWS": inputs.root()},
        "Action": [
            "sns:AddPermission", "sns:DeleteTopic", "sns:GetTopicAttributes",
            "sns:ListSubscriptionsByTopic", "sns:Publish", "sns:RemovePermission",
            "sns:SetTopicAttributes", "sns:Subscribe",
        ],
        "Resource": topic,
    })
}

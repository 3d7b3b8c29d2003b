//! The steps for what the guard itself can use: a topic for alerts, and a queue that EventBridge
//! fills with the events of EMR.
//!
//! The topic is encrypted under the key that AWS manages for SNS: everybody of the account who may
//! publish may use it. Under a key of one's own, each publisher would need rights on that key, and
//! a publisher without them would fail only when there is something to alert. The queue is
//! encrypted under a key of SQS for the same reason: EventBridge would need rights on any other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls,
        lookup::Lookup,
        prices,
        printable::{Printable, printable},
    },
    facts::{
        iam_policy::{AccessRequest, PolicyDecision, decide},
        notification_state::{
            NotificationQuery, NotificationState, QueueState, RuleState, TopicState,
        },
    },
    setup::{
        compare::says_the_same,
        desired::SetupInputs,
        documents,
        merge::{self, DocumentKind, MergeError, SID_START},
        options::SetupExtra,
        piece::{AlertTopic, EventQueue, EventRule, Piece, queue_url},
        plan::{Advice, Step, StepAction},
        planning::{Availability, not_asked, refuse, refuse_gone, step, unknown},
    },
};

/// The key that AWS manages for SNS.
const SNS_KEY: &str = "alias/aws/sns";
/// The key that AWS manages for SQS, which no other service can use.
const SQS_KEY: &str = "alias/aws/sqs";

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
    let (partition, region) = (inputs.partition(), inputs.region());
    format!("arn:{partition}:{service}:{region}:{}:{resource}", inputs.account)
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
        let queue = event_queue(inputs, state);
        let rule = event_rule(inputs, state, &Availability::of(&queue.action, ()));
        steps.extend([queue, rule]);
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
        &[],
        "Amazon SNS developer guide, Amazon SNS security best practices (server-side encryption; \
         encryption of data in transit), and Amazon SNS key management",
    );
    (made.costing(prices::topic(inputs.partition())).noting_any(notes), advice)
}

/// What a topic that exists needs.
fn wanted_topic(inputs: &SetupInputs<'_>, arn: &str, topic: &TopicState) -> (Value, StepAction) {
    let present = &topic.policy;
    if let Some(denied) = denied_to_guard(inputs, present, &["sns:Publish"], arn) {
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

fn event_queue(inputs: &SetupInputs<'_>, state: &NotificationState) -> Step {
    let name = events_name(inputs);
    let arn = arn(inputs, "sqs", &name);
    let lookup = state.queue.clone().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::GET_QUEUE_URL, &format!("the queue {name}")))
    });
    let own = [from_rule(inputs, &arn), tls_only("sqs:*", &arn)];
    let (policy, action) = match &lookup {
        Lookup::Absent => (documents::of(&own), StepAction::Create),
        Lookup::Denied(error) | Lookup::Unreachable(error) => (documents::of(&own), unknown(error)),
        Lookup::Found(queue) => wanted_queue(inputs, &arn, queue),
    };
    let key = lookup.found().and_then(|queue| queue.key.clone());
    let mut notes = Vec::new();
    if action == StepAction::Create {
        notes.push(printable!(
            "it keeps events for five minutes: they only hasten what the guard finds by polling. \
             The guard reads it once the setting `event_queue` has its URL (--write-settings does \
             that), and needs sqs:ReceiveMessage and sqs:DeleteMessage on it"
        ));
    }
    if let Some(key) = &key
        && !matches!(action, StepAction::Refuse { .. })
    {
        notes.push(printable!(
            "it is under the key {}, and gets events only if that key's policy lets \
             events.amazonaws.com use kms:Decrypt and kms:GenerateDataKey, which is not looked at \
             here",
            Printable::from(key)
        ));
    }
    step(
        Piece::EventQueue(EventQueue { arn, key, policy }),
        action,
        &[],
        "Amazon EventBridge user guide, Using resource-based policies for Amazon EventBridge \
         (Amazon SQS permissions); Amazon SQS developer guide, Amazon SQS security best practices",
    )
    .costing(prices::queue(inputs.partition()))
    .noting_any(notes)
}

/// What a queue that exists needs.
fn wanted_queue(inputs: &SetupInputs<'_>, arn: &str, queue: &QueueState) -> (Value, StepAction) {
    let present = queue.policy.clone().unwrap_or_default();
    if queue.key.as_ref().is_some_and(|key| key.ends_with(SQS_KEY)) {
        let refused = refuse(
            printable!("it is encrypted under {SQS_KEY}, which EventBridge cannot use"),
            printable!(
                "`aws sqs set-queue-attributes --region {} --queue-url {} --attributes \
                 SqsManagedSseEnabled=true`, or let setup use another name (`--name`)",
                Printable::from(inputs.region()),
                Printable::from(&queue.url)
            ),
        );
        return (present, refused);
    }
    let own = from_rule(inputs, arn);
    let policy = if present.is_null() {
        Ok(documents::of(&[own, tls_only("sqs:*", arn)]))
    } else {
        let denied = denied_to_rule(inputs, &present, arn).or_else(|| {
            let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage"];
            denied_to_guard(inputs, &present, &actions, arn)
        });
        if let Some(denied) = denied {
            return (present, denied);
        }
        let has_tls = ["sqs:SendMessage", "sqs:ReceiveMessage"]
            .iter()
            .all(|action| denies_plain_http(&present, action, arn));
        let tls = (!has_tls).then(|| tls_only("sqs:*", arn));
        let statements: Vec<Value> = [own].into_iter().chain(tls).collect();
        merged(DocumentKind::Queue, &present, &statements)
    };
    let policy = match policy {
        Ok(policy) => policy,
        Err(refused) => return (present, refused),
    };
    let is_encrypted = queue.by_sqs || queue.key.is_some();
    if is_encrypted && policy == present {
        return (policy, StepAction::Keep);
    }
    let before = json!({"key": queue.key, "by_sqs": queue.by_sqs, "policy": queue.policy});
    (policy, StepAction::Change { before })
}

fn event_rule(
    inputs: &SetupInputs<'_>,
    state: &NotificationState,
    queue: &Availability<()>,
) -> Step {
    let name = events_name(inputs);
    let lookup = state.rule.clone().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::DESCRIBE_RULE, &format!("the rule {name}")))
    });
    let piece =
        EventRule { arn: rule_arn(inputs), pattern: pattern(), queue: arn(inputs, "sqs", &name) };
    let action = match (queue.obstacle(&format!("the queue {name}")), &lookup) {
        (Some(obstacle), _) => obstacle,
        (None, Lookup::Absent) => StepAction::Create,
        (None, Lookup::Denied(error) | Lookup::Unreachable(error)) => unknown(error),
        (None, Lookup::Found(rule)) => wanted_rule(inputs, &piece, rule),
    };
    step(
        Piece::EventRule(piece),
        action,
        &[],
        "Amazon EMR management guide, Monitoring Amazon EMR events with CloudWatch",
    )
}

/// What a rule that exists needs. Its pattern is never replaced: whoever narrowed it had a reason.
fn wanted_rule(inputs: &SetupInputs<'_>, wanted: &EventRule, rule: &RuleState) -> StepAction {
    let name = Printable::from(wanted.name());
    let same = rule.pattern.as_ref().is_some_and(|pattern| says_the_same(pattern, &wanted.pattern));
    if !same {
        return refuse(
            printable!("there is a rule {name} with another pattern of events"),
            "let setup use another name (`--name`), or delete that rule, if nobody needs it",
        );
    }
    if !rule.enabled {
        return refuse(
            printable!("the rule {name} is switched off"),
            printable!(
                "if nobody needs it off: `aws events enable-rule --region {} --name {name}`",
                Printable::from(inputs.region())
            ),
        );
    }
    let own = rule.targets.iter().find(|target| target.arn == wanted.queue);
    let taken = rule.targets.iter().find(|target| target.id == EventRule::TARGET);
    match (own, taken) {
        (Some(own), _) if own.whole_events => StepAction::Keep,
        (Some(own), _) => refuse(
            printable!("the rule sends the queue another text than the event"),
            printable!(
                "remove that target: `aws events remove-targets --region {} --rule {name} --ids {}`",
                Printable::from(inputs.region()),
                Printable::from(&own.id)
            ),
        ),
        (None, Some(other)) => refuse(
            printable!(
                "the id {} of the rule's target belongs to {}",
                EventRule::TARGET,
                Printable::from(&other.arn)
            ),
            "let setup use another name (`--name`)",
        ),
        (None, None) => {
            StepAction::Change { before: json!({"pattern": rule.pattern, "target": null}) }
        }
    }
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

fn rule_arn(inputs: &SetupInputs<'_>) -> String {
    arn(inputs, "events", &format!("rule/{}", events_name(inputs)))
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

/// The statement that lets the rule, and nothing else, send to the queue.
fn from_rule(inputs: &SetupInputs<'_>, queue: &str) -> Value {
    let sends = json!({
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn(inputs)}},
    });
    documents::statement(&inputs.options.name, "Events", sends)
}

/// The statement that denies requests without TLS.
fn tls_only(actions: &str, resource: &str) -> Value {
    json!({
        "Sid": format!("{SID_START}TlsOnly"),
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

/// The policy with further statements, or why it gets none.
fn merged(kind: DocumentKind, present: &Value, statements: &[Value]) -> Result<Value, StepAction> {
    if let Err(error) = merge::statements(present) {
        return Err(cannot_merge(&error));
    }
    let merged = merge::merge(kind, present, statements).map_err(|error| cannot_merge(&error))?;
    match merge::gone_principal(present) {
        Some(principal) if merged != *present => Err(refuse_gone(&principal)),
        _ => Ok(merged),
    }
}

fn cannot_merge(error: &MergeError) -> StepAction {
    let fix = match error {
        MergeError::TooLarge { .. } => "remove statements that nobody needs any more",
        MergeError::NotUnderstood(_) => "rewrite it as a list of statements that allow or deny",
    };
    refuse(Printable::from(error.to_string()), fix)
}

/// Whether a policy denies everybody an action without TLS.
fn denies_plain_http(policy: &Value, action: &str, resource: &str) -> bool {
    let context = BTreeMap::from([("aws:securetransport", Some("false"))]);
    // What denies a caller without any known property denies all.
    let caller = "arn:aws:iam::000000000000:user/anybody";
    let request = AccessRequest { caller, action, resource: Some(resource), context };
    matches!(decide(&policy.to_string(), &request), PolicyDecision::Denies(_))
}

/// The refusal if a policy denies an action to the guard.
fn denied_to_guard(
    inputs: &SetupInputs<'_>,
    policy: &Value,
    actions: &[&str],
    resource: &str,
) -> Option<StepAction> {
    let caller = inputs.guard?;
    let context = || {
        BTreeMap::from([
            ("aws:securetransport", Some("true")),
            ("aws:principalarn", Some(caller)),
            ("aws:principalaccount", Some(inputs.account.as_str())),
        ])
    };
    actions.iter().find_map(|action| {
        let request =
            AccessRequest { caller, action, resource: Some(resource), context: context() };
        refused_by(policy, &request, "the guard")
    })
}

/// The refusal if a policy denies the rule to send.
fn denied_to_rule(inputs: &SetupInputs<'_>, policy: &Value, queue: &str) -> Option<StepAction> {
    let rule = rule_arn(inputs);
    let context = BTreeMap::from([
        ("aws:securetransport", Some("true")),
        ("aws:sourcearn", Some(rule.as_str())),
        ("aws:sourceaccount", Some(inputs.account.as_str())),
    ]);
    let request = AccessRequest {
        caller: "events.amazonaws.com",
        action: "sqs:SendMessage",
        resource: Some(queue),
        context,
    };
    refused_by(policy, &request, "EventBridge")
}

fn refused_by(policy: &Value, request: &AccessRequest<'_>, who: &str) -> Option<StepAction> {
    let PolicyDecision::Denies(statement) = decide(&policy.to_string(), request) else {
        return None;
    };
    let (statement, action) = (Printable::from(&statement), Printable::from(request.action));
    let who = Printable::from(who);
    Some(refuse(
        printable!("its policy denies {action} to {who} ({statement})"),
        printable!("except {who} from `{statement}`"),
    ))
}

//! The topic for alerts, the queue with the events of EMR and its rule: planned for what exists,
//! carried out against the simulator, and taken back.

use emr_simulator::{Fault, FaultKind};

use super::*;
use crate::{
    base::lookup::{Lookup, LookupError, LookupErrorKind},
    facts::notification_state::{
        NotificationState, QueueState, RuleState, RuleTarget, TopicState, look,
    },
    setup::{
        compare::statements,
        notification_steps::{self, plan as planned},
        options::SetupExtra,
        piece::{AlertTopic, EventQueue, EventRule},
        plan_tests::Setup,
        record::{AppliedAction, UndoResult},
    },
};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:acme-alerts";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:acme-emr-events";
const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/acme-emr-events";

/// The input of a plan that is asked for these parts.
fn asked(extras: &[SetupExtra]) -> Setup {
    let mut setup = Setup::new("emr-5.29.0", "eu-west-1");
    setup.options.with = extras.iter().copied().collect();
    setup
}

fn both() -> Setup {
    asked(&[SetupExtra::AlertTopic, SetupExtra::EventQueue])
}

impl Setup {
    fn notification_steps(&self, state: &NotificationState) -> Vec<Step> {
        planned(&self.inputs(), state).0
    }

    /// The plan for what the simulator has.
    async fn notification_plan(&self, account: &Account) -> SetupPlan {
        let query = notification_steps::query(&self.inputs());
        plan(self.notification_steps(&look(&account.aws, &query).await))
    }
}

fn absent() -> NotificationState {
    NotificationState {
        topic: Some(Lookup::Absent),
        queue: Some(Lookup::Absent),
        rule: Some(Lookup::Absent),
    }
}

/// Everything as the plan for an empty account makes it.
fn in_place() -> NotificationState {
    let steps = both().notification_steps(&absent());
    let [topic, queue, rule] = steps.as_slice() else { panic!("{steps:#?}") };
    let (Piece::AlertTopic(topic), Piece::EventQueue(queue), Piece::EventRule(rule)) =
        (&topic.piece, &queue.piece, &rule.piece)
    else {
        panic!("{steps:#?}")
    };
    NotificationState {
        topic: Some(Lookup::Found(TopicState {
            policy: topic.policy.clone(),
            key: Some(topic.key.clone()),
            subscriptions: 1,
        })),
        queue: Some(Lookup::Found(QueueState {
            url: URL.to_owned(),
            policy: Some(queue.policy.clone()),
            key: None,
            by_sqs: true,
            retention: Some(300),
        })),
        rule: Some(Lookup::Found(RuleState {
            pattern: Some(rule.pattern.clone()),
            enabled: true,
            targets: vec![target(EventRule::TARGET, QUEUE)],
        })),
    }
}

fn target(id: &str, arn: &str) -> RuleTarget {
    RuleTarget { id: id.to_owned(), arn: arn.to_owned(), whole_events: true }
}

fn topic(change: impl FnOnce(&mut TopicState)) -> NotificationState {
    let mut state = in_place();
    let Some(Lookup::Found(topic)) = &mut state.topic else { panic!() };
    change(topic);
    state
}

fn queue(change: impl FnOnce(&mut QueueState)) -> NotificationState {
    let mut state = in_place();
    let Some(Lookup::Found(queue)) = &mut state.queue else { panic!() };
    change(queue);
    state
}

fn rule(change: impl FnOnce(&mut RuleState)) -> NotificationState {
    let mut state = in_place();
    let Some(Lookup::Found(rule)) = &mut state.rule else { panic!() };
    change(rule);
    state
}

/// The word for each step's action: of the topic, the queue and the rule.
fn actions(state: &NotificationState) -> [&'static str; 3] {
    let steps = both().notification_steps(state);
    let words: Vec<&str> = steps
        .iter()
        .map(|step| match step.action {
            StepAction::Create => "create",
            StepAction::Change { .. } => "change",
            StepAction::Keep => "keep",
            StepAction::Refuse { .. } => "refuse",
            StepAction::Unknown { .. } => "unknown",
        })
        .collect();
    words.try_into().unwrap()
}

fn theirs(resource: &str, action: &str) -> Value {
    json!({"Sid": "Theirs", "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::210987654321:root"}, "Action": action,
        "Resource": resource})
}

fn denies_all(resource: &str, action: &str) -> Value {
    json!({"Sid": "Nobody", "Effect": "Deny", "Principal": "*", "Action": action,
        "Resource": resource})
}

#[test]
fn only_what_is_asked_for_is_planned() {
    let steps = |extras: &[SetupExtra]| -> Vec<&'static str> {
        let asked = asked(extras);
        let query = notification_steps::query(&asked.inputs());
        let steps = asked.notification_steps(&absent());
        assert_eq!(query.topic.is_some(), extras.contains(&SetupExtra::AlertTopic));
        assert_eq!(query.rule.is_some(), extras.contains(&SetupExtra::EventQueue));
        steps.iter().map(|step| step.piece.kind()).collect()
    };
    assert_eq!(steps(&[]), [""; 0]);
    assert_eq!(steps(&[SetupExtra::AlertTopic]), ["alert topic"]);
    assert_eq!(steps(&[SetupExtra::EventQueue]), ["event queue", "event rule"]);
}

#[test]
fn what_is_absent_is_made_and_what_is_in_place_stays() {
    assert_eq!(actions(&absent()), ["create"; 3]);
    assert_eq!(actions(&in_place()), ["keep"; 3]);
    let steps = serde_json::to_string_pretty(&both().notification_steps(&absent())).unwrap();
    insta::assert_snapshot!("notifications", steps);
    let advice = |state: &NotificationState| planned(&both().inputs(), state).1;
    assert!(advice(&in_place()).is_none());
    for state in [absent(), topic(|topic| topic.subscriptions = 0)] {
        let advice = advice(&state).unwrap();
        assert!(advice.fix.starts_with("`aws sns subscribe --region eu-west-1"), "{advice:?}");
    }
}

#[test]
fn what_is_weaker_becomes_stronger_and_statements_of_others_stay() {
    let own = theirs(TOPIC, "sns:Publish");
    let foreign = document(std::slice::from_ref(&own));
    let plain = |topic: &mut TopicState| (topic.key, topic.policy) = (None, foreign.clone());
    let steps = both().notification_steps(&topic(plain));
    let Piece::AlertTopic(AlertTopic { key, policy, .. }) = &steps[0].piece else { panic!() };
    assert_eq!((key.as_str(), &policy["Statement"][0]), ("alias/aws/sns", &own));
    assert_eq!(statements(policy).len(), 2);
    let before = json!({"key": null, "policy": foreign});
    assert_eq!(steps[0].action, StepAction::Change { before });
    // A key of the owner's stays, and so does a policy that denies plain http in its own words.
    let customer = |topic: &mut TopicState| topic.key = Some("alias/ours".to_owned());
    assert_eq!(actions(&topic(customer)), ["keep"; 3]);
    let steps = both().notification_steps(&topic(customer));
    assert!(steps[0].notes.iter().any(|note| note.contains("its key alias/ours")));
    let mut tls = denies_all(TOPIC, "SNS:Publish");
    tls["Condition"] = json!({"Bool": {"aws:SecureTransport": "false"}});
    assert_eq!(actions(&topic(|topic| topic.policy = document(&[tls]))), ["keep"; 3]);

    let own = theirs(QUEUE, "sqs:SendMessage");
    let foreign = document(std::slice::from_ref(&own));
    let plain = |queue: &mut QueueState| {
        (queue.by_sqs, queue.policy) = (false, Some(foreign.clone()));
    };
    let steps = both().notification_steps(&queue(plain));
    let Piece::EventQueue(EventQueue { policy, .. }) = &steps[1].piece else { panic!() };
    assert_eq!((statements(policy).len(), &policy["Statement"][0]), (3, &own));
    let before = json!({"key": null, "by_sqs": false, "policy": foreign, "retention": 300});
    assert_eq!(steps[1].action, StepAction::Change { before });
    assert_eq!(actions(&queue(|queue| queue.policy = None)), ["keep", "change", "keep"]);
    let customer = |queue: &mut QueueState| {
        (queue.by_sqs, queue.key) = (false, Some("alias/ours".to_owned()));
    };
    assert_eq!(actions(&queue(customer)), ["keep"; 3]);
    let steps = both().notification_steps(&queue(customer));
    assert!(steps[1].notes.iter().any(|note| note.contains("events.amazonaws.com")));

    let others = vec![target("theirs", "arn:aws:lambda:eu-west-1:123456789012:function:x")];
    assert_eq!(actions(&rule(|rule| rule.targets = others)), ["keep", "keep", "change"]);
    // Whatever its id, the queue is a target.
    let renamed = vec![target("mine", QUEUE)];
    assert_eq!(actions(&rule(|rule| rule.targets = renamed)), ["keep"; 3]);
}

#[test]
fn what_contradicts_or_somebody_decided_is_refused() {
    let service = json!({"Effect": "Allow", "Principal": {"Service": ["cloudwatch.amazonaws.com"]},
        "Action": "sns:Publish", "Resource": TOPIC});
    let refused = [
        topic(|topic| (topic.key, topic.policy) = (None, document(&[service]))),
        topic(|topic| topic.policy = document(&[denies_all(TOPIC, "sns:Publish")])),
        topic(|topic| topic.policy = json!({"Statement": "x"})),
    ];
    for state in refused {
        assert_eq!(actions(&state), ["refuse", "keep", "keep"], "{state:#?}");
    }
    let refused = [
        queue(|queue| {
            (queue.by_sqs, queue.key) = (false, Some("alias/aws/sqs".to_owned()));
        }),
        queue(|queue| queue.policy = Some(document(&[denies_all(QUEUE, "sqs:SendMessage")]))),
        queue(|queue| queue.policy = Some(document(&[denies_all(QUEUE, "sqs:ReceiveMessage")]))),
    ];
    for state in refused {
        // A rule sends nothing to a queue that is not as it should be.
        assert_eq!(actions(&state), ["keep", "refuse", "refuse"], "{state:#?}");
    }
    let whole = in_place();
    let narrowed = whole.rule.as_ref().unwrap().found().unwrap().pattern.clone().unwrap();
    let mut narrowed = narrowed;
    narrowed["detail"] = json!({"name": ["Snowplow ETL"]});
    let mut altered = target(EventRule::TARGET, QUEUE);
    altered.whole_events = false;
    let refused = [
        rule(|rule| rule.pattern = Some(narrowed)),
        rule(|rule| rule.pattern = None),
        rule(|rule| rule.enabled = false),
        rule(|rule| rule.targets = vec![altered]),
        rule(|rule| rule.targets = vec![target(EventRule::TARGET, "arn:aws:sqs:eu-west-1:1:x")]),
    ];
    for state in refused {
        assert_eq!(actions(&state), ["keep", "keep", "refuse"], "{state:#?}");
    }
}

#[test]
fn what_cannot_be_read_is_unknown() {
    fn denied<T>() -> Lookup<T> {
        Lookup::Denied(LookupError::new("x:Y", LookupErrorKind::Denied, "denied"))
    }
    let of = |change: fn(&mut NotificationState)| {
        let mut state = in_place();
        change(&mut state);
        actions(&state)
    };
    assert_eq!(of(|state| state.topic = Some(denied())), ["unknown", "keep", "keep"]);
    assert_eq!(of(|state| state.queue = Some(denied())), ["keep", "unknown", "unknown"]);
    assert_eq!(of(|state| state.rule = Some(denied())), ["keep", "keep", "unknown"]);
    // So is what was not asked for.
    assert_eq!(actions(&NotificationState::default()), ["unknown"; 3]);
}

/// The calls that make everything, in order.
const CALLS: &[&str] = &["CreateTopic", "CreateQueue", "PutRule", "PutTargets"];

fn kept(plan: &SetupPlan) -> bool {
    plan.steps.iter().all(|step| step.action == StepAction::Keep)
}

/// Topics, queues and rules of the simulator, with their settings.
fn notifications(account: &Account) -> Value {
    account.simulator.with_world(|world| {
        json!({
            "topics": world.topic_settings, "queues": world.queue_settings,
            "rules": world.event_rules,
        })
    })
}

#[tokio::test]
async fn an_empty_account_gets_everything_and_all_of_it_is_taken_back() {
    let account = Account::empty();
    let before = notifications(&account);
    let made = both().notification_plan(&account).await;
    let (result, steps) = account.apply(&made).await;
    result.unwrap();
    assert!(steps.iter().all(|step| step.verified && step.error.is_none()), "{steps:#?}");
    assert!(steps.iter().flat_map(|step| &step.calls).all(|call| call.request.is_some()));
    assert_eq!(account.writes(), CALLS);
    assert!(kept(&both().notification_plan(&account).await));
    account.journal().reported().unwrap();
    let undone = account.undo(&record(steps)).await;
    let results: Vec<&UndoResult> = undone.iter().map(|step| &step.result).collect();
    assert_eq!(results, [&UndoResult::Undone { stays: None }; 3]);
    assert_eq!(
        account.writes()[CALLS.len()..],
        ["RemoveTargets", "DeleteRule", "DeleteQueue", "DeleteTopic"]
    );
    assert_eq!(notifications(&account), before);
}

#[tokio::test]
async fn a_refused_call_stops_there_and_one_without_an_answer_is_not_made_again() {
    for (index, call) in CALLS.iter().enumerate() {
        let account = Account::empty();
        account.fault(Fault::nth(call, 1, FaultKind::AccessDenied));
        let plan = both().notification_plan(&account).await;
        let error = account.apply(&plan).await.0.unwrap_err().to_string();
        assert!(error.contains(call) && error.contains("run the same command again"), "{error}");
        account.command(json!("clear_faults"));
        account.apply(&plan).await.0.unwrap();
        assert_eq!(account.writes()[index + 1..], CALLS[index..], "{call}");
        for kind in [FaultKind::AppliedThen5xx { status: 500 }, FaultKind::AppliedThenReset] {
            let account = Account::empty();
            account.fault(Fault::nth(call, 1, kind.clone()));
            let plan = both().notification_plan(&account).await;
            let (result, _) = account.apply(&plan).await;
            result.unwrap_or_else(|error| panic!("{call}, {kind:?}: {error}"));
            assert_eq!(account.writes(), CALLS, "{call}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_left_alone() {
    let account = Account::empty();
    let made = plan(both().notification_steps(&absent()));
    account.apply(&made).await.0.unwrap();
    for read in ["GetTopicAttributes", "GetQueueUrl", "GetQueueAttributes", "DescribeRule"] {
        account.command(json!("clear_faults"));
        account.fault(Fault::every(read, FaultKind::AccessDenied));
        let unknown = both().notification_plan(&account).await;
        assert!(unknown.is_unknown(), "{read}");
        let writes = account.writes().len();
        let (result, _) = account.apply(&made).await;
        assert!(matches!(result, Err(ApplyError::Unknown { .. })), "{read}: {result:?}");
        assert_eq!(account.writes().len(), writes, "{read}");
    }
}

/// A topic, a queue and a rule of somebody else under the names of the setup.
async fn existing(account: &Account) {
    let aws = &account.aws;
    aws.topics.create_topic("acme-alerts", &[]).await.unwrap();
    let queue = aws.queues.create_queue().queue_name("acme-emr-events");
    let name = aws_sdk_sqs::types::QueueAttributeName::SqsManagedSseEnabled;
    let policy = document(&[theirs(QUEUE, "sqs:SendMessage")]).to_string();
    let queue = queue.attributes(name, "false");
    queue.attributes(aws_sdk_sqs::types::QueueAttributeName::Policy, policy).send().await.unwrap();
    let steps = both().notification_steps(&absent());
    let Piece::EventRule(rule) = &steps[2].piece else { panic!() };
    let put = aws.event_rules.put_rule().name("acme-emr-events");
    put.event_pattern(rule.pattern.to_string()).description("theirs").send().await.unwrap();
}

#[tokio::test]
async fn what_exists_is_changed_and_what_is_taken_back_is_as_it_was() {
    let account = Account::empty();
    existing(&account).await;
    let before = notifications(&account);
    let writes = account.writes().len();
    let changed = both().notification_plan(&account).await;
    assert!(changed.changes().all(|step| matches!(step.action, StepAction::Change { .. })));
    let (result, steps) = account.apply(&changed).await;
    result.unwrap();
    assert_eq!(
        account.writes()[writes..],
        ["SetTopicAttributes", "SetTopicAttributes", "SetQueueAttributes", "PutTargets"]
    );
    assert!(steps.iter().all(|step| step.action == AppliedAction::Change));
    assert!(kept(&both().notification_plan(&account).await));
    account.journal().reported().unwrap();
    let undone = account.undo(&record(steps)).await;
    assert!(undone.iter().all(|step| step.result == UndoResult::Undone { stays: None }));
    let after = notifications(&account);
    let (queues, rules) = (&after["queues"], &after["rules"]);
    assert_eq!((queues, rules), (&before["queues"], &before["rules"]));
    let topic = &after["topics"][TOPIC];
    assert!(topic["kms_key"].is_null());
    assert_eq!(statements(&topic["policy"]).len(), 1);
}

#[tokio::test]
async fn what_somebody_uses_or_changed_since_stays() {
    let account = Account::empty();
    let made = both().notification_plan(&account).await;
    let (result, steps) = account.apply(&made).await;
    result.unwrap();
    account.journal().reported().unwrap();
    let aws = &account.aws;
    account.simulator.change_world(|world| {
        world.topic_settings.get_mut(TOPIC).unwrap().pending_subscriptions += 1;
    });
    let found = crate::facts::notification_state::queue(aws, "acme-emr-events").await;
    let policy = found.into_found().unwrap().policy.unwrap();
    let theirs = theirs(QUEUE, "sqs:SendMessage");
    let more: Vec<Value> = statements(&policy).into_iter().chain([theirs]).collect();
    let name = aws_sdk_sqs::types::QueueAttributeName::Policy;
    let set = aws.queues.set_queue_attributes().queue_url(URL);
    set.attributes(name, document(&more).to_string()).send().await.unwrap();
    let other = aws_sdk_eventbridge::types::Target::builder()
        .id("theirs")
        .arn("arn:aws:sqs:eu-west-1:123456789012:x")
        .build()
        .unwrap();
    let put = aws.event_rules.put_targets().rule("acme-emr-events");
    put.targets(other).send().await.unwrap();
    let writes = account.writes().len();
    let undone = account.undo(&record(steps)).await;
    let why: Vec<String> = undone
        .iter()
        .map(|step| match &step.result {
            UndoResult::Kept { why } => why.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        why,
        [
            "somebody added a target to it: theirs",
            "somebody changed its policy, its encryption or its retention since",
            "subscriptions to it would be lost; it has 1",
        ]
    );
    assert_eq!(account.writes().len(), writes);
    // A new plan finds them in place.
    assert!(kept(&both().notification_plan(&account).await));
}

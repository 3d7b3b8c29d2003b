//! The steps for a queue of SQS and for the rule of EventBridge that fills it with events, whoever
//! reads them.
//!
//! The queue is encrypted under a key of SQS: under any other, EventBridge would need rights on
//! that key, and would drop events without a word where it has none.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    base::lookup::Lookup,
    base::{
        names::AccountId,
        prices,
        printable::{Printable, printable},
    },
    facts::{
        iam_policy::{AccessRequest, PolicyDecision, decide},
        notification_state::{QueueState, RuleState},
    },
    setup::{
        compare::{has, says_the_same, statements},
        documents,
        merge::{self, DocumentKind, MergeError, SID_START},
        piece::{EventQueue, EventRule, Piece},
        plan::{Step, StepAction},
        planning::{Availability, refuse, refuse_gone, step, unknown},
    },
};

/// The key that AWS manages for SQS, which no other service can use.
const SQS_KEY: &str = "alias/aws/sqs";
const QUEUE_SOURCE: &str = "Amazon EventBridge user guide, Using resource-based policies for \
    Amazon EventBridge (Amazon SQS permissions); Amazon SQS developer guide, Amazon SQS security \
    best practices";

/// A queue with its rule, as they should be.
#[derive(Clone, Debug)]
pub(super) struct EventSource<'a> {
    pub(super) partition: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a AccountId,
    /// The ARN of the queue.
    pub(super) queue: String,
    /// How long the queue keeps a message, in seconds.
    pub(super) retention: u32,
    /// Whether a queue that exists has to keep its messages for that long, too.
    pub(super) extends_retention: bool,
    /// The statement that lets the rule send, and others but the one on TLS.
    pub(super) statements: Vec<Value>,
    /// Who reads the queue, in words and by the ARN of a role or user, if that is known.
    pub(super) reader: Option<(&'static str, &'a str)>,
    /// The rule.
    pub(super) rule: EventRule,
    /// What asks for both.
    pub(super) asked_by: &'a [&'static str],
    /// Where the pattern of the rule is from.
    pub(super) rule_source: &'static str,
}

/// The ARN of something in a region.
pub(super) fn arn(
    (partition, region, account): (&str, &str, &AccountId),
    service: &str,
    resource: &str,
) -> String {
    format!("arn:{partition}:{service}:{region}:{account}:{resource}")
}

/// The statement that lets the rule, and nothing else, send to the queue, without an id.
pub(super) fn from_rule(queue: &str, rule: &str) -> Value {
    json!({
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    })
}

/// The statement that denies requests without TLS.
pub(super) fn tls_only(actions: &str, resource: &str) -> Value {
    json!({
        "Sid": format!("{SID_START}TlsOnly"),
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

impl EventSource<'_> {
    fn queue_name(&self) -> &str {
        self.queue.rsplit(':').next().unwrap_or_default()
    }

    /// The step for the queue. The note is for one that is made.
    pub(super) fn queue_step(&self, lookup: &Lookup<QueueState>, note: Printable) -> Step {
        let fresh = || {
            let tls = tls_only("sqs:*", &self.queue);
            let all: Vec<Value> = self.statements.iter().cloned().chain([tls]).collect();
            documents::of(&all)
        };
        let (policy, retention, action) = match lookup {
            Lookup::Absent => (fresh(), self.retention, StepAction::Create),
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                (fresh(), self.retention, unknown(error))
            }
            Lookup::Found(queue) => self.wanted_queue(queue),
        };
        let key = lookup.found().and_then(|queue| queue.key.clone());
        let mut notes = Vec::new();
        if action == StepAction::Create {
            notes.push(note);
        }
        if let Some(key) = &key
            && !matches!(action, StepAction::Refuse { .. })
        {
            notes.push(printable!(
                "it is under the key {}, and gets events only if that key's policy lets \
                 events.amazonaws.com use kms:Decrypt and kms:GenerateDataKey, which is not looked \
                 at here",
                Printable::from(key)
            ));
        }
        let piece = EventQueue { arn: self.queue.clone(), key, policy, retention };
        step(Piece::EventQueue(piece), action, self.asked_by, QUEUE_SOURCE)
            .costing(prices::queue(self.partition))
            .noting_any(notes)
    }

    /// What a queue that exists needs: its policy, its retention, and what to do.
    fn wanted_queue(&self, queue: &QueueState) -> (Value, u32, StepAction) {
        let present = queue.policy.clone().unwrap_or_default();
        let has_retention = queue.retention.unwrap_or(self.retention);
        let retention =
            if self.extends_retention { has_retention.max(self.retention) } else { has_retention };
        let policy = match self.wanted_policy(queue, &present) {
            Ok(policy) => policy,
            Err(refused) => return (present, has_retention, refused),
        };
        let is_encrypted = queue.by_sqs || queue.key.is_some();
        if is_encrypted && policy == present && retention == has_retention {
            return (policy, retention, StepAction::Keep);
        }
        let before = json!({
            "key": queue.key, "by_sqs": queue.by_sqs, "policy": queue.policy,
            "retention": has_retention,
        });
        (policy, retention, StepAction::Change { before })
    }

    fn wanted_policy(&self, queue: &QueueState, present: &Value) -> Result<Value, StepAction> {
        if queue.key.as_ref().is_some_and(|key| key.ends_with(SQS_KEY)) {
            return Err(refuse(
                printable!("it is encrypted under {SQS_KEY}, which EventBridge cannot use"),
                printable!(
                    "`aws sqs set-queue-attributes --region {} --queue-url {} --attributes \
                     SqsManagedSseEnabled=true`, or let setup use another name (`--name`)",
                    Printable::from(self.region),
                    Printable::from(&queue.url)
                ),
            ));
        }
        let arn = &self.queue;
        let tls = tls_only("sqs:*", arn);
        if present.is_null() {
            let all: Vec<Value> = self.statements.iter().cloned().chain([tls]).collect();
            return Ok(documents::of(&all));
        }
        if let Some(denied) =
            self.denied_to_rule(present).or_else(|| self.denied_to_reader(present))
        {
            return Err(denied);
        }
        let has_tls = ["sqs:SendMessage", "sqs:ReceiveMessage"]
            .iter()
            .all(|action| denies_plain_http(present, action, arn));
        let there = statements(present);
        let lacking = self.statements.iter().filter(|statement| !has(&there, statement)).cloned();
        let all: Vec<Value> = lacking.chain((!has_tls).then_some(tls)).collect();
        merged(DocumentKind::Queue, present, &all)
    }

    /// The refusal if a policy denies the rule to send.
    fn denied_to_rule(&self, policy: &Value) -> Option<StepAction> {
        let context = BTreeMap::from([
            ("aws:securetransport", Some("true")),
            ("aws:sourcearn", Some(self.rule.arn.as_str())),
            ("aws:sourceaccount", Some(self.account.as_str())),
        ]);
        let request = AccessRequest {
            caller: "events.amazonaws.com",
            action: "sqs:SendMessage",
            resource: Some(&self.queue),
            context,
        };
        refused_by(policy, &request, "EventBridge")
    }

    fn denied_to_reader(&self, policy: &Value) -> Option<StepAction> {
        let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage"];
        denied_to(self.reader?, policy, &actions, &self.queue)
    }

    /// The step for the rule. `queue` is what happens to the queue.
    pub(super) fn rule_step(&self, lookup: &Lookup<RuleState>, queue: &Availability<()>) -> Step {
        let obstacle = queue.obstacle(&format!("the queue {}", self.queue_name()));
        let action = match (obstacle, lookup) {
            (Some(obstacle), _) => obstacle,
            (None, Lookup::Absent) => StepAction::Create,
            (None, Lookup::Denied(error) | Lookup::Unreachable(error)) => unknown(error),
            (None, Lookup::Found(rule)) => self.wanted_rule(rule),
        };
        step(Piece::EventRule(self.rule.clone()), action, self.asked_by, self.rule_source)
    }

    /// What a rule that exists needs. Its pattern is never replaced: whoever narrowed it had a
    /// reason.
    fn wanted_rule(&self, rule: &RuleState) -> StepAction {
        let wanted = &self.rule;
        let name = Printable::from(wanted.name());
        let region = Printable::from(self.region);
        let same =
            rule.pattern.as_ref().is_some_and(|pattern| says_the_same(pattern, &wanted.pattern));
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
                    "if nobody needs it off: `aws events enable-rule --region {region} --name \
                     {name}`"
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
                    "remove that target: `aws events remove-targets --region {region} --rule {name} \
                     --ids {}`",
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
}

/// The policy with further statements, or why it gets none.
pub(super) fn merged(
    kind: DocumentKind,
    present: &Value,
    statements: &[Value],
) -> Result<Value, StepAction> {
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
pub(super) fn denies_plain_http(policy: &Value, action: &str, resource: &str) -> bool {
    let context = BTreeMap::from([("aws:securetransport", Some("false"))]);
    // What denies a caller without any known property denies all.
    let caller = "arn:aws:iam::000000000000:user/anybody";
    let request = AccessRequest { caller, action, resource: Some(resource), context };
    matches!(decide(&policy.to_string(), &request), PolicyDecision::Denies(_))
}

/// The refusal if a policy denies actions to somebody, who is given in words and by the ARN.
pub(super) fn denied_to(
    (who, caller): (&str, &str),
    policy: &Value,
    actions: &[&str],
    resource: &str,
) -> Option<StepAction> {
    let account = caller.split(':').nth(4).unwrap_or_default();
    let context = || {
        BTreeMap::from([
            ("aws:securetransport", Some("true")),
            ("aws:principalarn", Some(caller)),
            ("aws:principalaccount", Some(account)),
        ])
    };
    actions.iter().find_map(|action| {
        let request =
            AccessRequest { caller, action, resource: Some(resource), context: context() };
        refused_by(policy, &request, who)
    })
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

//! The plan of what a sentinel needs in AWS: its role with a policy, a queue with the rule that
//! fills it, and alarms on the queue. It needs no runner config.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    aws::{
        clients::Aws,
        cloudwatch::alarm::{AlarmDefinition, MetricAlarm},
    },
    base::{
        aws_calls,
        lookup::Lookup,
        names::{AccountId, partition},
        prices,
        printable::{Printable, printable},
    },
    facts::{
        account_state::{self, PolicyHolder, RoleState},
        alarm_state::{self, AlarmStates},
        notification_state::{self, QueueState, RuleState, TopicState},
    },
    setup::{
        compare::{has, says_the_same, statements, with_statements},
        event_steps::{self, EventSource, denied_to, merged},
        merge::{self, DocumentKind},
        notification_steps::SNS_KEY,
        piece::{AlarmPiece, EventRule, InlinePolicy, Piece, Role, queue_url},
        plan::{Advice, SetupPlan, Step, StepAction},
        planning::{Availability, not_asked, refuse, step, unknown},
        sentinel_parts::{
            ALARMS, KEPT, QueueAlarm, RULE_DESCRIPTION_OF_SENTINEL, SentinelParts, pattern,
        },
    },
};

/// What asks for all of it.
const ASKED_BY: [&str; 1] = ["--sentinel"];
/// The principal by which alarms publish to a topic.
const CLOUDWATCH: &str = "cloudwatch.amazonaws.com";

/// The input of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentinelInputs<'a> {
    /// What is made.
    pub(crate) parts: &'a SentinelParts,
    /// The account that everything must belong to.
    pub(crate) account: &'a AccountId,
    /// The region of queue, rule and alarms.
    pub(crate) region: &'a str,
    /// The ARN of the topic for the alarms, if there is one.
    pub(crate) topic: Option<&'a str>,
}

/// What exists of it.
#[derive(Clone, Debug)]
pub(crate) struct SentinelState {
    /// The role.
    pub(crate) role: Lookup<RoleState>,
    /// Its inline policy.
    pub(crate) policy: Lookup<Value>,
    /// The queue.
    pub(crate) queue: Lookup<QueueState>,
    /// The rule.
    pub(crate) rule: Lookup<RuleState>,
    /// The alarms, by name.
    pub(crate) alarms: AlarmStates,
    /// The topic for the alarms; none if there is none in the region.
    pub(crate) topic: Option<Lookup<TopicState>>,
}

impl SentinelState {
    /// Looks at everything, concurrently. Nothing is changed.
    pub(crate) async fn look(aws: &Aws, inputs: &SentinelInputs<'_>) -> Self {
        let parts = inputs.parts;
        let holder = PolicyHolder::Role(parts.role.clone());
        let names: BTreeSet<String> = ALARMS.iter().map(|it| it.name(&parts.name)).collect();
        let topic = async {
            match inputs.topic_of_region() {
                Some(arn) => Some(notification_state::topic(aws, arn).await),
                None => None,
            }
        };
        let (role, policy, queue, event_rule, alarms, topic) = tokio::join!(
            account_state::role(&aws.iam, &parts.role),
            account_state::inline_policy(&aws.iam, &holder, &parts.name),
            notification_state::queue(aws, &parts.name),
            notification_state::rule(aws, &parts.name),
            alarm_state::alarms(aws, &names),
            topic
        );
        Self { role, policy, queue, rule: event_rule, alarms, topic }
    }
}

impl<'a> SentinelInputs<'a> {
    fn partition(&self) -> &'static str {
        partition(self.region)
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        event_steps::arn((self.partition(), self.region, self.account), service, resource)
    }

    /// The ARN of the role.
    pub(crate) fn role_arn(&self) -> String {
        let SentinelParts { path, role, .. } = self.parts;
        format!("arn:{}:iam::{}:role{path}{role}", self.partition(), self.account)
    }

    /// The URL of the queue.
    pub(crate) fn queue_url(&self) -> String {
        queue_url(&self.arn("sqs", &self.parts.name))
    }

    /// The topic, if alarms of the region can publish to it.
    fn topic_of_region(&self) -> Option<&'a str> {
        self.topic.filter(|arn| arn.split(':').nth(3) == Some(self.region))
    }

    /// The plan for what exists.
    pub(crate) fn plan(&self, state: &SentinelState) -> SetupPlan {
        let role = self.role(&state.role);
        let policy = self.policy(state, &Availability::of(&role.action, ()));
        let arn = self.role_arn();
        let source = self.events(&arn);
        let url = Printable::from(self.queue_url());
        let queue = source.queue_step(
            &state.queue,
            printable!(
                "the sentinel reads it once `sentinel.queues` of guard.yml has its URL, {url} \
                 (--write-settings does that)"
            ),
        );
        let of_queue = Availability::of(&queue.action, ());
        let event_rule = source.rule_step(&state.rule, &of_queue).noting(
            "events of CloudTrail, which tell who launched a cluster, need a trail that logs \
             management events",
        );
        let mut steps = vec![role, policy, queue, event_rule];
        steps.extend(ALARMS.iter().map(|alarm| self.alarm_step(alarm, state, &of_queue)));
        let advice = self.about_topic(state.topic.as_ref());
        SetupPlan { steps, security_configuration: None, advice }
    }

    fn role(&self, lookup: &Lookup<RoleState>) -> Step {
        let parts = self.parts;
        let new = Role {
            name: parts.role.clone(),
            path: parts.path.clone(),
            trust: parts.trust.clone(),
            attached: Vec::new(),
        };
        let (piece, action) = match lookup {
            Lookup::Absent => (new, StepAction::Create),
            Lookup::Denied(error) | Lookup::Unreachable(error) => (new, unknown(error)),
            Lookup::Found(role) => {
                let action = self.wanted_role(&new, role);
                let attached = role.attached.found().into_iter().flatten().cloned().collect();
                let (path, trust) = (Role::path_in(&role.arn), role.trust.clone());
                (Role { name: new.name, path, trust, attached }, action)
            }
        };
        let others = piece.attached.join(", ");
        let notes = (!others.is_empty()).then(|| {
            printable!(
                "it has managed policies that are not looked at: {}",
                Printable::from(others)
            )
        });
        step(
            Piece::Role(piece),
            action,
            &ASKED_BY,
            "IAM user guide, Creating IAM roles; Amazon ECS, EKS and EC2 guides (roles for tasks, \
             pods and instances)",
        )
        .noting_any(notes)
    }

    /// What a role that exists needs. Its trust policy is never changed.
    fn wanted_role(&self, wanted: &Role, role: &RoleState) -> StepAction {
        let (name, arn) = (Printable::from(&wanted.name), self.role_arn());
        if role.arn != arn {
            return refuse(
                printable!(
                    "there is a role {name} with another path: {}; expected {}",
                    Printable::from(&role.arn),
                    Printable::from(&arn)
                ),
                "let setup use another name (`--name`), or correct the role's ARN in \
                 `sentinel.accounts` of guard.yml",
            );
        }
        if !says_the_same(&wanted.trust, &role.trust) {
            return refuse(
                printable!(
                    "there is a role {name} that trusts others: {}",
                    Printable::from(role.trust.to_string())
                ),
                printable!(
                    "let setup use another name (`--name`); or, if nobody else needs the role, \
                     `aws iam update-assume-role-policy --role-name {name} --policy-document \
                     file://trust.json` with {}",
                    Printable::from(wanted.trust.to_string())
                ),
            );
        }
        StepAction::Keep
    }

    fn policy(&self, state: &SentinelState, role: &Availability<()>) -> Step {
        let parts = self.parts;
        let fresh = parts.policy.clone();
        let (policy, action) =
            match (role.obstacle(&format!("the role {}", parts.role)), &state.policy) {
                (Some(obstacle), _) => (fresh, obstacle),
                (None, Lookup::Absent) => {
                    match merge::fresh(DocumentKind::RoleInline, &statements(&fresh)) {
                        Ok(_) => (fresh, StepAction::Create),
                        Err(error) => (fresh, too_large(&Printable::from(error.to_string()))),
                    }
                }
                (None, Lookup::Denied(error) | Lookup::Unreachable(error)) => {
                    (fresh, unknown(error))
                }
                (None, Lookup::Found(present)) => self.wanted_policy(present),
            };
        let holder = PolicyHolder::Role(parts.role.clone());
        let piece = InlinePolicy { holder, name: parts.name.clone(), policy };
        step(
            Piece::InlinePolicy(piece),
            action,
            &ASKED_BY,
            "emr-etl-guard explain --permissions --sentinel; IAM user guide, Security best \
             practices (Apply least-privilege permissions)",
        )
        .noting("the role's other policies are not touched")
    }

    fn wanted_policy(&self, present: &Value) -> (Value, StepAction) {
        let own = statements(&self.parts.policy);
        let there = match merge::statements(present) {
            Ok(_) => statements(present),
            Err(error) => {
                let fix = "rewrite it as a list of statements that allow or deny";
                return (present.clone(), refuse(Printable::from(error.to_string()), fix));
            }
        };
        let role = self.role_arn();
        let texts = |value: &Value| match value {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        // A policy of a role is about its holder.
        let of_everybody = |mut statement: Value| {
            statement["Principal"] = json!("*");
            statement
        };
        let asked = there.iter().cloned().map(of_everybody).collect();
        let asked = with_statements(present, asked);
        for statement in &own {
            let actions = texts(&statement["Action"]);
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            for resource in texts(&statement["Resource"]) {
                let sentinel = ("the sentinel", role.as_str());
                if let Some(denied) = denied_to(sentinel, &asked, &actions, &resource) {
                    return (present.clone(), denied);
                }
            }
        }
        let lacking: Vec<Value> =
            own.into_iter().filter(|statement| !has(&there, statement)).collect();
        match merged(DocumentKind::RoleInline, present, &lacking) {
            Ok(policy) if policy == *present => (policy, StepAction::Keep),
            Ok(policy) => (policy, StepAction::Change { before: present.clone() }),
            Err(refused) => (present.clone(), refused),
        }
    }

    /// The queue and its rule; `role` is the ARN of the role.
    fn events<'b>(&'b self, role: &'b str) -> EventSource<'b> {
        let parts = self.parts;
        let queue = self.arn("sqs", &parts.name);
        let event_rule = self.arn("events", &format!("rule/{}", parts.name));
        EventSource {
            partition: self.partition(),
            region: self.region,
            account: self.account,
            retention: KEPT,
            // Else no message would become old enough for an alarm.
            extends_retention: true,
            statements: parts.queue_statements(&queue, &event_rule),
            reader: Some(("the sentinel", parts.reader.as_deref().unwrap_or(role))),
            rule: EventRule {
                arn: event_rule,
                pattern: pattern(),
                queue: queue.clone(),
                description: RULE_DESCRIPTION_OF_SENTINEL.to_owned(),
            },
            queue,
            asked_by: &ASKED_BY,
            rule_source: "Amazon EMR management guide, Monitoring Amazon EMR events with \
                          CloudWatch; Amazon EventBridge user guide, AWS service events delivered \
                          via AWS CloudTrail",
        }
    }

    fn alarm_step(&self, of: &QueueAlarm, state: &SentinelState, queue: &Availability<()>) -> Step {
        let wanted = of.definition(&self.parts.name, self.topic_of_region());
        let name = wanted.name.clone();
        let not_known = || {
            let what = format!("the alarm {name}");
            Lookup::Unreachable(not_asked(&aws_calls::DESCRIBE_ALARMS, &what))
        };
        let lookup = state.alarms.get(&name).cloned().unwrap_or_else(not_known);
        let what = format!("the queue {}", self.parts.name);
        let obstacle = queue.obstacle(&what).or_else(|| self.no_topic(state.topic.as_ref()));
        let (definition, action) = match (obstacle, &lookup) {
            (Some(obstacle), _) => (wanted, obstacle),
            (None, Lookup::Absent) => (wanted, StepAction::Create),
            (None, Lookup::Denied(error) | Lookup::Unreachable(error)) => (wanted, unknown(error)),
            (None, Lookup::Found(alarm)) => self.wanted_alarm(wanted, alarm),
        };
        let piece =
            AlarmPiece { arn: self.arn("cloudwatch", &format!("alarm:{name}")), definition };
        step(
            Piece::Alarm(piece),
            action,
            &ASKED_BY,
            "Amazon SQS developer guide, Available CloudWatch metrics for Amazon SQS; Amazon \
             CloudWatch user guide, Using Amazon CloudWatch alarms",
        )
        .costing(prices::alarm(of.measure.metrics(), self.partition()))
        .noting(of.description)
    }

    /// What an alarm that exists needs. Only topics are ever added to it.
    fn wanted_alarm(
        &self,
        wanted: AlarmDefinition,
        alarm: &MetricAlarm,
    ) -> (AlarmDefinition, StepAction) {
        let name = Printable::from(&alarm.name);
        let (region, account) = (Printable::from(self.region), self.account);
        let Some(present) = &alarm.definition else {
            let action = refuse(
                printable!("there is an alarm {name} of another kind"),
                "let setup use another name (`--name`), or delete that alarm, if nobody needs it",
            );
            return (wanted, action);
        };
        let alike = AlarmDefinition {
            description: present.description.clone(),
            actions_enabled: present.actions_enabled,
            alarm_actions: present.alarm_actions.clone(),
            ok_actions: present.ok_actions.clone(),
            insufficient_data_actions: present.insufficient_data_actions.clone(),
            ..wanted.clone()
        };
        if alike != *present {
            let action = refuse(
                printable!(
                    "there is an alarm {name} that watches something else: another {}",
                    Printable::from(differences(&alike, present))
                ),
                printable!(
                    "let setup use another name (`--name`), or, if nobody needs that alarm: `aws \
                     cloudwatch delete-alarms --region {region} --alarm-names {name}`"
                ),
            );
            return (present.clone(), action);
        }
        if !present.actions_enabled {
            let action = refuse(
                printable!("the actions of the alarm {name} are switched off"),
                printable!(
                    "if nobody needs them off: `aws cloudwatch enable-alarm-actions --region \
                     {region} --alarm-names {name}` in account {}",
                    Printable::from(account.as_str())
                ),
            );
            return (present.clone(), action);
        }
        let mut told = present.clone();
        told.alarm_actions.extend(wanted.alarm_actions);
        told.ok_actions.extend(wanted.ok_actions);
        if told == *present {
            return (told, StepAction::Keep);
        }
        (told, StepAction::Change { before: json!(present) })
    }

    /// The refusal of alarms that would tell a topic that does not exist.
    fn no_topic(&self, topic: Option<&Lookup<TopicState>>) -> Option<StepAction> {
        let arn = Printable::from(self.topic_of_region()?);
        matches!(topic, Some(Lookup::Absent)).then(|| {
            refuse(
                printable!("the topic {arn}, which it would tell, does not exist"),
                "make it, or name another one in the setting `alert_sns` or by --alarm-topic",
            )
        })
    }

    /// What keeps the alarms from reaching anybody, as far as it can be seen.
    fn about_topic(&self, lookup: Option<&Lookup<TopicState>>) -> Vec<Advice> {
        let advice = |saw: Printable, fix: Printable| Advice { check: None, saw, fix };
        let region = Printable::from(self.region);
        let Some(arn) = self.topic else {
            return vec![advice(
                "nobody hears the alarms: neither --alarm-topic nor the setting `alert_sns` names \
                 a topic"
                    .into(),
                printable!(
                    "make a topic in {region} that CloudWatch may publish to, and name it by \
                     --alarm-topic"
                ),
            )];
        };
        let named = Printable::from(arn);
        if self.topic_of_region().is_none() {
            return vec![advice(
                printable!(
                    "nobody hears the alarms: those of {region} cannot publish to {named}, which \
                     is in another region"
                ),
                printable!("name a topic in {region} by --alarm-topic"),
            )];
        }
        let topic = match lookup {
            Some(Lookup::Found(topic)) => topic,
            // The steps of the alarms say so.
            Some(Lookup::Absent) => return Vec::new(),
            Some(Lookup::Denied(error) | Lookup::Unreachable(error)) => {
                return vec![advice(
                    printable!(
                        "whether the alarms reach anybody by {named} is not known: {}",
                        Printable::from(error.to_string())
                    ),
                    printable!(
                        "see that its policy lets {CLOUDWATCH} publish, that it is not under \
                         {SNS_KEY}, and that somebody is subscribed"
                    ),
                )];
            }
            None => return Vec::new(),
        };
        let mut all = Vec::new();
        match &topic.key {
            Some(key) if key.ends_with(SNS_KEY) => all.push(advice(
                printable!(
                    "nobody hears the alarms: {named} is under {SNS_KEY}, and CloudWatch cannot \
                     publish under it"
                ),
                printable!(
                    "encrypt it under a key whose policy lets {CLOUDWATCH} use kms:Decrypt and \
                     kms:GenerateDataKey*: `aws sns set-topic-attributes --region {region} \
                     --topic-arn {named} --attribute-name KmsMasterKeyId --attribute-value KEY`; \
                     or name another topic by --alarm-topic"
                ),
            )),
            Some(key) => all.push(advice(
                printable!(
                    "the alarms are heard only if the policy of {}, the key of {named}, lets \
                     {CLOUDWATCH} use it, which is not looked at here",
                    Printable::from(key)
                ),
                "allow kms:Decrypt and kms:GenerateDataKey* to it in the key policy".into(),
            )),
            None => {}
        }
        if !lets_alarms_publish(&topic.policy) {
            all.push(advice(
                printable!(
                    "nobody hears the alarms: the policy of {named} does not let {CLOUDWATCH} \
                     publish"
                ),
                printable!(
                    "allow sns:Publish to the service {CLOUDWATCH} in it, with the condition \
                     aws:SourceAccount {}",
                    Printable::from(self.account.as_str())
                ),
            ));
        }
        if topic.subscriptions == 0 {
            all.push(advice(
                printable!(
                    "nobody is subscribed to the topic {named}, so no alarm reaches anybody"
                ),
                printable!(
                    "`aws sns subscribe --region {region} --topic-arn {named} --protocol email \
                     --notification-endpoint ADDRESS`, then confirm it by the link in the mail"
                ),
            ));
        }
        all
    }
}

fn too_large(saw: &Printable) -> StepAction {
    refuse(
        saw.clone(),
        "name fewer regions and queues in `sentinel` of guard.yml, or give the role a managed \
         policy, which may be larger: `emr-etl-guard explain --permissions --sentinel` prints it",
    )
}

/// Whether a topic's policy has a statement that lets alarms publish. Conditions are not looked at:
/// those of the policy that SNS gives a new topic hold for alarms of its account.
fn lets_alarms_publish(policy: &Value) -> bool {
    let one_of = |value: &Value, wanted: &dyn Fn(&str) -> bool| match value {
        Value::String(one) => wanted(one),
        Value::Array(all) => all.iter().filter_map(Value::as_str).any(wanted),
        _ => false,
    };
    let is_everybody = |text: &str| text == "*";
    let publishes =
        |text: &str| ["*", "sns:*", "sns:publish"].contains(&text.to_ascii_lowercase().as_str());
    statements(policy).iter().any(|statement| {
        let principal = &statement["Principal"];
        let is_for_alarms = one_of(principal, &is_everybody)
            || one_of(&principal["AWS"], &is_everybody)
            || one_of(&principal["Service"], &|service| service == CLOUDWATCH);
        statement["Effect"] == "Allow" && is_for_alarms && one_of(&statement["Action"], &publishes)
    })
}

/// The names of the settings in which two alarms differ.
fn differences(one: &AlarmDefinition, other: &AlarmDefinition) -> String {
    let (one, other) = (json!(one), json!(other));
    let fields = one.as_object().into_iter().flatten();
    let differing = fields.filter(|(name, value)| other.get(name.as_str()) != Some(*value));
    let names: Vec<String> = differing.map(|(name, _)| name.replace('_', " ")).collect();
    names.join(", ")
}

//! The step for the guard's own permissions: what its role or user lacks of the policy that
//! `emr-etl-guard explain --permissions` prints for this config and these settings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{
    base::{
        names::{S3Location, partition},
        printable::{Printable, printable},
    },
    facts::account_state::{AccessNeed, AccountState, PolicyHolder},
    permissions::policy::{self, LaunchScope, PermissionOptions},
    settings::destination::Destination,
    setup::{
        desired::SetupInputs,
        documents, notification_steps,
        options::SetupExtra,
        plan::{Advice, Step},
        role_steps::{Lacks, PolicyNeeds, inline_policy},
    },
};

const ASKED_BY: [&str; 1] = ["--with guard-policy"];
const SOURCE: &str = "emr-etl-guard explain --permissions; IAM user guide, Security best practices \
    (Apply least-privilege permissions)";
/// What to do where the guard runs elsewhere than `setup`.
const ELSEWHERE: &str = "where `run` has other credentials than this setup, start setup once with \
    those, or give them the policy that `emr-etl-guard explain --permissions` prints";

/// Whether the policy is asked for.
pub(super) fn is_on(inputs: &SetupInputs<'_>) -> bool {
    inputs.makes_extra(SetupExtra::GuardPolicy)
}

/// A statement of the guard's policy.
struct GuardStatement {
    sid: String,
    actions: Vec<String>,
    /// As the policy names them.
    resources: Vec<String>,
    /// Its condition, or null.
    condition: Value,
}

impl GuardStatement {
    fn read(statement: &Value) -> Self {
        let texts = |value: &Value| {
            let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        Self {
            sid: statement["Sid"].as_str().unwrap_or_default().to_owned(),
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            condition: statement["Condition"].clone(),
        }
    }

    /// The condition keys of a request that the condition allows.
    fn context(&self, inputs: &SetupInputs<'_>) -> Vec<(String, String)> {
        let keys = self.condition.as_object().into_iter().flat_map(Map::values);
        let keys = keys.filter_map(Value::as_object).flatten();
        let value = |text: &str| text.replace('*', inputs.s3_region());
        keys.filter_map(|(key, text)| Some((key.clone(), value(text.as_str()?)))).collect()
    }
}

/// A resource as a request names it: IAM's simulation needs an account.
fn asked_resource(inputs: &SetupInputs<'_>, resource: &str) -> String {
    let mut parts: Vec<&str> = resource.splitn(6, ':').collect();
    if let Some(account) = parts.get_mut(4).filter(|account| **account == "*") {
        *account = inputs.account.as_str();
    }
    parts.join(":")
}

/// The statements of the policy, with the bucket, the topic and the queue that setup makes.
fn statements(inputs: &SetupInputs<'_>) -> Vec<GuardStatement> {
    let mut evidence = inputs.permissions.evidence.clone();
    if let Some(bucket) = inputs.evidence_bucket() {
        let place = S3Location { bucket, prefix: String::new() };
        let place = Destination::S3(place);
        if !evidence.destinations.contains(&place) {
            evidence.destinations.push(place);
        }
    }
    let launch = LaunchScope { cluster: inputs.cluster, locations: &inputs.paths.locations };
    let (topic, queue) = notification_steps::made(inputs);
    let options = PermissionOptions {
        topic: topic.as_deref().or(inputs.permissions.topic),
        queue: queue.as_deref().or(inputs.permissions.queue),
        evidence: &evidence,
        ..inputs.permissions
    };
    let policy = policy::policy(Some(launch), Some(options));
    let all = policy["Statement"].as_array();
    all.into_iter().flatten().map(GuardStatement::read).collect()
}

/// The questions about what the guard's role or user lacks.
pub(super) fn asked(inputs: &SetupInputs<'_>, holder: &PolicyHolder, arn: &str) -> Vec<AccessNeed> {
    let need = |statement: GuardStatement| AccessNeed {
        holder: holder.clone(),
        arn: arn.to_owned(),
        context: statement.context(inputs),
        resources: statement.resources.iter().map(|it| asked_resource(inputs, it)).collect(),
        actions: statement.actions,
    };
    statements(inputs).into_iter().map(need).collect()
}

/// The statements as far as the guard lacks them.
fn lacking(inputs: &SetupInputs<'_>, lacks: Lacks<'_>) -> Vec<Value> {
    let mut made = Vec::new();
    for of in statements(inputs) {
        let mut grouped: BTreeMap<BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
        for resource in &of.resources {
            let asked = asked_resource(inputs, resource);
            let actions = of.actions.iter().map(String::as_str);
            let actions: BTreeSet<&str> = actions.filter(|action| lacks(action, &asked)).collect();
            if !actions.is_empty() {
                grouped.entry(actions).or_default().insert(resource);
            }
        }
        for (actions, resources) in grouped {
            let mut allows = json!({"Effect": "Allow", "Action": actions, "Resource": resources});
            if !of.condition.is_null() {
                allows["Condition"] = of.condition.clone();
            }
            let purpose = format!("Checks{}", of.sid);
            made.push(documents::statement(&inputs.options.name, &purpose, allows));
        }
    }
    made
}

/// Plans the inline policy of the guard's own role or user.
pub(super) fn guard_policy(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    advice: &mut Vec<Advice>,
) -> Option<Step> {
    if !is_on(inputs) {
        return None;
    }
    let Some((holder, arn)) = inputs.guard_holder() else {
        advice.push(Advice {
            check: None,
            saw: match inputs.guard {
                None => "the guard's credentials are those of no role or user, so that there is \
                         nothing that a policy can be given to"
                    .into(),
                Some(arn) => printable!(
                    "the guard's credentials are those of {}, which is no role or user of this \
                     account",
                    Printable::from(arn)
                ),
            },
            fix: "start setup with the credentials of the role or user with which the guard runs; \
                  `emr-etl-guard explain --permissions` prints what it needs"
                .into(),
        });
        return None;
    };
    let of = PolicyNeeds {
        too_large: too_large(inputs, &holder),
        holder,
        name: inputs.guard_policy(),
        statements: &|lacks| lacking(inputs, lacks),
        is_new: false,
        checks: &ASKED_BY,
        source: SOURCE,
    };
    let step = inline_policy(state, &of);
    if step.is_none() {
        advice.push(Advice {
            check: None,
            saw: printable!(
                "{} may do already what the guard needs, and gets no policy",
                Printable::from(arn)
            ),
            fix: ELSEWHERE.into(),
        });
    }
    step.map(|step| step.noting(ELSEWHERE))
}

/// What to do where the policy is larger than an inline policy of the holder can be.
fn too_large(inputs: &SetupInputs<'_>, holder: &PolicyHolder) -> Printable {
    let kind = match holder {
        PolicyHolder::Role(_) => "role",
        PolicyHolder::User(_) => "user",
    };
    let name = inputs.guard_policy();
    printable!(
        "a managed policy may be larger: `emr-etl-guard explain --permissions -- run -c config.yml \
         > guard-policy.json && aws iam create-policy --policy-name {name} --policy-document \
         file://guard-policy.json && aws iam attach-{kind}-policy --{kind}-name {} --policy-arn \
         arn:{}:iam::{}:policy/{name}`",
        Printable::from(holder.name()),
        partition(inputs.region()),
        Printable::from(inputs.account.as_str())
    )
}

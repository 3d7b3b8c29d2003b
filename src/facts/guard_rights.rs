//! What IAM says the guard itself may do with clusters: to look at those of its run, and to end
//! them. It is asked before a launch, when nothing runs yet that could not be ended.

use std::collections::BTreeMap;

use aws_smithy_types::retry::RetryConfig;

use crate::{
    base::{
        aws_calls::{self, Call},
        lookup::Lookup,
        names::ClusterId,
    },
    facts::{
        iam,
        simulation::{self, ContextValue, Simulated, SimulationQuery, SimulationVerdict},
        sts::CallerIdentity,
    },
};

/// Every call that the watch makes about a cluster.
pub(crate) static WATCH_CALLS: [&Call; 7] = [
    &aws_calls::DESCRIBE_CLUSTER,
    &aws_calls::LIST_BOOTSTRAP_ACTIONS,
    &aws_calls::LIST_INSTANCE_GROUPS,
    &aws_calls::LIST_INSTANCES,
    &aws_calls::LIST_STEPS,
    &aws_calls::SET_TERMINATION_PROTECTION,
    &aws_calls::TERMINATE_JOB_FLOWS,
];

/// An id that no cluster has, in the form that all have.
const ANY_CLUSTER: &str = "j-0000000000000";

/// What to ask about the guard's own rights.
#[derive(Clone, Debug)]
pub struct GuardRightsQuery {
    /// The tag that the run's clusters will have: policies make it a condition.
    pub tag: Option<(String, String)>,
    /// The tags that the runner's request bears besides, by its own config.
    pub runner_tags: Vec<(String, String)>,
}

impl GuardRightsQuery {
    /// All tags that the runner's request for a cluster will bear. The run's own takes the place of
    /// one with the same key.
    pub(super) fn sent(&self) -> Vec<(String, String)> {
        let is_other =
            |(key, _): &&(String, String)| self.tag.as_ref().is_none_or(|(own, _)| own != key);
        self.runner_tags.iter().filter(is_other).chain(&self.tag).cloned().collect()
    }
}

/// The guard's rights, as far as AWS tells.
#[derive(Clone, Debug)]
pub struct GuardRights {
    /// Whose policies decide.
    pub principal: Lookup<Principal>,
    /// What the simulator of IAM says of each call of the watch, by its permission.
    pub decisions: Lookup<BTreeMap<&'static str, RightDecision>>,
    /// The cluster that the decisions are about, as an ARN.
    pub cluster: Option<String>,
    /// Whether the runner may give its cluster the run's tag, where it will.
    pub tagging: Option<TagRight>,
    /// A cluster that is listed, and how EMR answers when the guard asks about it.
    pub described: Option<(ClusterId, Lookup<()>)>,
}

/// Whether the runner may tag a cluster.
#[derive(Clone, Debug)]
pub struct TagRight {
    /// The keys of the tags that its request bears: the config's own, and the run's.
    pub keys: Vec<String>,
    /// Whose policies decide.
    pub principal: Lookup<Principal>,
    /// What the simulator of IAM says.
    pub decision: Lookup<RightDecision>,
}

/// Whose policies decide what a caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account itself, which may do all.
    Root,
    /// A user or role, whose policies IAM can simulate.
    Simulated(String),
    /// Anything else, by its ARN, of which IAM cannot tell.
    Other(String),
}

/// What the simulator says of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightDecision {
    /// A policy allows it.
    Allowed,
    /// No policy allows it.
    NotAllowed,
    /// A policy, or the permissions boundary, denies it.
    Denied,
    /// It is not allowed in the simulation, which does not know all that a real request tells.
    Unclear,
}

impl GuardRights {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            principal: Lookup::not_asked(&aws_calls::GET_CALLER_IDENTITY, why),
            decisions: Lookup::not_asked(&aws_calls::SIMULATE_PRINCIPAL_POLICY, why),
            cluster: None,
            tagging: None,
            described: None,
        }
    }
}

/// Whose policies decide for `identity`. The ARN of a session lacks the path of its role, which the
/// role's own has.
pub(super) async fn principal(
    iam: &aws_sdk_iam::Client,
    identity: Lookup<CallerIdentity>,
) -> Lookup<Principal> {
    let arn = match identity {
        Lookup::Found(identity) => identity.arn,
        other => return other.map(|identity| Principal::Other(identity.arn)),
    };
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default().to_owned();
    let mut parts = resource.split('/');
    match (parts.next(), parts.next()) {
        (Some("root"), None) => Lookup::Found(Principal::Root),
        (Some("user"), Some(_)) => Lookup::Found(Principal::Simulated(arn)),
        (Some("assumed-role"), Some(role)) => {
            iam::role(iam, role).await.map(|role| Principal::Simulated(role.arn))
        }
        _ => Lookup::Found(Principal::Other(arn)),
    }
}

/// The ARN that stands for a cluster of the run.
pub(super) fn cluster_arn(identity: &CallerIdentity, region: &str) -> String {
    let partition = identity.arn.split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:elasticmapreduce:{region}:{}:cluster/{ANY_CLUSTER}", identity.account)
}

/// What the simulator says of `principal` making each call of the watch about `cluster`.
pub(super) async fn simulate(
    iam: &aws_sdk_iam::Client,
    principal: &str,
    cluster: &str,
    region: &str,
    query: &GuardRightsQuery,
) -> Lookup<BTreeMap<&'static str, RightDecision>> {
    // What every such call tells; the simulator knows only what it is told.
    let mut context = simulation::every_request(principal, region);
    if let Some((name, value)) = &query.tag {
        context.extend(
            ["elasticmapreduce:ResourceTag", "aws:ResourceTag"]
                .map(|key| ContextValue::text(format!("{key}/{name}"), value.as_str())),
        );
    }
    let actions = WATCH_CALLS.map(|call| call.permission);
    let simulated = SimulationQuery {
        principal,
        actions: &actions,
        resources: &[cluster],
        context,
        absent: &[],
    };
    simulation::simulate(iam, simulated).await.map(|simulations| {
        let of_call = |call: &'static Call| {
            let key = (call.permission.to_owned(), cluster.to_owned());
            Some((call.permission, right(simulations.get(&key)?)))
        };
        WATCH_CALLS.into_iter().filter_map(of_call).collect()
    })
}

/// The permission that a request for a cluster with tags needs besides its own. EMR asks for it since
/// 24 April 2023.
pub(crate) const ADD_TAGS: &str = "elasticmapreduce:AddTags";

/// What the simulator says of `principal` giving a new cluster these tags: the request bears all of
/// them, and conditions can be about each.
pub(super) async fn may_tag(
    iam: &aws_sdk_iam::Client,
    principal: &str,
    cluster: &str,
    region: &str,
    tags: &[(String, String)],
) -> Lookup<RightDecision> {
    let mut context = simulation::every_request(principal, region);
    let keys = tags.iter().map(|(key, _)| key.clone()).collect();
    context.push(ContextValue::texts("aws:TagKeys", keys));
    for (name, value) in tags {
        context.extend(
            ["elasticmapreduce:RequestTag", "aws:RequestTag"]
                .map(|key| ContextValue::text(format!("{key}/{name}"), value.as_str())),
        );
    }
    let query = SimulationQuery {
        principal,
        actions: &[ADD_TAGS],
        resources: &[cluster],
        context,
        absent: &[],
    };
    simulation::simulate(iam, query).await.and_then(|simulations| {
        let decision = simulations.values().next().map(right);
        Lookup::expect_in_answer(&aws_calls::SIMULATE_PRINCIPAL_POLICY, decision)
    })
}

/// A denial that rests on what the simulation was not told, or on the organisation's policies,
/// whose conditions it does not know either, need not be one.
fn right(simulated: &Simulated) -> RightDecision {
    match simulated.verdict() {
        SimulationVerdict::Allowed => RightDecision::Allowed,
        SimulationVerdict::NotAllowed => RightDecision::NotAllowed,
        SimulationVerdict::Denied | SimulationVerdict::BoundedOut => RightDecision::Denied,
        SimulationVerdict::Organization { .. } | SimulationVerdict::Unclear { .. } => {
            RightDecision::Unclear
        }
    }
}

/// Whether EMR answers when it is asked about `id`. It is asked once: nothing depends on it, and
/// the quota is shared with those who watch.
pub(super) async fn describes(emr: &aws_sdk_emr::Client, id: &ClusterId) -> Lookup<()> {
    let once = aws_sdk_emr::config::Builder::new().retry_config(RetryConfig::disabled());
    let request = emr.describe_cluster().cluster_id(id.as_str()).customize().config_override(once);
    Lookup::from_call(&aws_calls::DESCRIBE_CLUSTER, &[], request.send().await).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::names::AccountId;

    #[test]
    fn the_tags_of_the_runners_request_are_its_configs_and_the_runs_own() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let sent = |own: Option<(String, String)>| {
            let runner_tags = vec![tag("team", "etl"), tag("run", "theirs")];
            GuardRightsQuery { tag: own, runner_tags }.sent()
        };
        assert_eq!(sent(Some(tag("run", "1"))), [tag("team", "etl"), tag("run", "1")]);
        assert_eq!(sent(None), [tag("team", "etl"), tag("run", "theirs")]);
    }

    #[test]
    fn the_cluster_is_one_of_the_callers_account_and_partition() {
        let identity = CallerIdentity {
            account: AccountId::new("123456789012"),
            arn: "arn:aws-cn:iam::123456789012:user/x".to_owned(),
        };
        assert_eq!(
            cluster_arn(&identity, "cn-north-1"),
            "arn:aws-cn:elasticmapreduce:cn-north-1:123456789012:cluster/j-0000000000000"
        );
    }
}

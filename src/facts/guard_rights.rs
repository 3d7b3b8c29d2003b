//! The guard's own rights on clusters by IAM: to describe and to terminate those of its run. They
//! are looked up before a launch, while there is nothing yet that would have to be terminated.

use std::collections::BTreeMap;

use aws_smithy_types::retry::RetryConfig;

use crate::{
    aws::iam_query::{Iam, simulation::ContextValue},
    base::{
        aws_calls::{self, Call},
        lookup::Lookup,
        names::ClusterId,
    },
    facts::{
        iam,
        simulation::{self, Simulated, SimulationQuery, SimulationVerdict},
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

/// A cluster id in the valid form that no cluster has.
const ANY_CLUSTER: &str = "j-0000000000000";

/// The query for the guard's own rights.
#[derive(Clone, Debug)]
pub struct GuardRightsQuery {
    /// The tag that the run's clusters will have. Policies may have a condition on it.
    pub tag: Option<(String, String)>,
    /// The other tags of the runner's request, from its own config.
    pub runner_tags: Vec<(String, String)>,
}

impl GuardRightsQuery {
    /// All tags of the runner's request for a cluster. The run's own tag replaces one with the same
    /// key.
    pub(super) fn sent(&self) -> Vec<(String, String)> {
        let is_other =
            |(key, _): &&(String, String)| self.tag.as_ref().is_none_or(|(own, _)| own != key);
        self.runner_tags.iter().filter(is_other).chain(&self.tag).cloned().collect()
    }
}

/// The guard's rights, as far as AWS gives them.
#[derive(Clone, Debug)]
pub struct GuardRights {
    /// The principal whose policies decide.
    pub principal: Lookup<Principal>,
    /// The result of IAM's simulator for each call of the watch, by its permission.
    pub decisions: Lookup<BTreeMap<&'static str, RightDecision>>,
    /// The ARN of the cluster in the simulation.
    pub cluster: Option<String>,
    /// Whether the runner may set the run's tag on its cluster, if it will.
    pub tagging: Option<TagRight>,
    /// A listed cluster, and the result of describing it.
    pub described: Option<(ClusterId, Lookup<()>)>,
}

/// Whether the runner may tag a cluster.
#[derive(Clone, Debug)]
pub struct TagRight {
    /// The keys of the tags in its request: the config's own, and the run's.
    pub keys: Vec<String>,
    /// The principal whose policies decide.
    pub principal: Lookup<Principal>,
    /// The result of IAM's simulator.
    pub decision: Lookup<RightDecision>,
}

/// The principal whose policies decide about a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account itself, which may do everything.
    Root,
    /// A user or role, whose policies IAM can simulate.
    Simulated(String),
    /// Another principal, by its ARN; IAM cannot simulate it.
    Other(String),
}

/// The simulator's result for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightDecision {
    /// A policy allows it.
    Allowed,
    /// No policy allows it.
    NotAllowed,
    /// A policy, or the permissions boundary, denies it.
    Denied,
    /// The simulation does not allow it, but it lacks some information that a real request has.
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

/// The principal of `identity`. A session's ARN lacks the path of its role; the role's own ARN has
/// it.
pub(crate) async fn principal(iam: &Iam, identity: Lookup<CallerIdentity>) -> Lookup<Principal> {
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

/// The ARN that represents a cluster of the run.
pub(super) fn cluster_arn(identity: &CallerIdentity, region: &str) -> String {
    let partition = identity.arn.split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:elasticmapreduce:{region}:{}:cluster/{ANY_CLUSTER}", identity.account)
}

/// Simulates each call of the watch by `principal` on `cluster`.
pub(super) async fn simulate(
    iam: &Iam,
    principal: &str,
    cluster: &str,
    region: &str,
    query: &GuardRightsQuery,
) -> Lookup<BTreeMap<&'static str, RightDecision>> {
    // Context keys of every such call. The simulator knows no others than the given ones.
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

/// The permission that a request for a cluster with tags needs in addition to its own. EMR requires
/// it since 24 April 2023.
pub(crate) const ADD_TAGS: &str = "elasticmapreduce:AddTags";

/// Simulates whether `principal` may set these tags on a new cluster. The request has all tags, and
/// conditions may apply to each.
pub(super) async fn may_tag(
    iam: &Iam,
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

/// A denial is not certain if it depends on missing context, or on the organisation's policies,
/// whose conditions the simulation does not know either.
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

/// Whether EMR lets the guard describe `id`. The call is made once: nothing depends on it, and the
/// quota is shared with other watchers.
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

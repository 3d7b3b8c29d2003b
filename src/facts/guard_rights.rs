//! What IAM says the guard itself may do with clusters: to look at those of its run, and to end
//! them. It is asked before a launch, when nothing runs yet that could not be ended.

use std::collections::BTreeMap;

use aws_sdk_iam::types::{
    ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType,
};
use aws_smithy_types::retry::RetryConfig;

use crate::{
    base::{
        aws_calls::{self, Call},
        lookup::Lookup,
        names::ClusterId,
    },
    facts::{iam, sts::CallerIdentity},
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
    /// A cluster that is listed, and how EMR answers when the guard asks about it.
    pub described: Option<(ClusterId, Lookup<()>)>,
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
    let entry = |name: &str, value: &str, kind| {
        ContextEntry::builder()
            .context_key_name(name)
            .context_key_values(value)
            .context_key_type(kind)
            .build()
    };
    // What every such call tells; the simulator knows only what it is told.
    let mut context = vec![
        entry("aws:RequestedRegion", region, ContextKeyTypeEnum::String),
        entry("aws:SecureTransport", "true", ContextKeyTypeEnum::Boolean),
    ];
    if let Some((name, value)) = &query.tag {
        context.extend(
            ["elasticmapreduce:ResourceTag", "aws:ResourceTag"]
                .map(|key| entry(&format!("{key}/{name}"), value, ContextKeyTypeEnum::String)),
        );
    }
    let result = iam
        .simulate_principal_policy()
        .policy_source_arn(principal)
        .set_action_names(Some(WATCH_CALLS.iter().map(|call| call.permission.to_owned()).collect()))
        .resource_arns(cluster)
        .set_context_entries(Some(context))
        .send()
        .await;
    let call = &aws_calls::SIMULATE_PRINCIPAL_POLICY;
    Lookup::from_call(call, &["NoSuchEntity", "NoSuchEntityException"], result).and_then(|answer| {
        let results = answer.evaluation_results.unwrap_or_default();
        let decisions: BTreeMap<&'static str, RightDecision> = WATCH_CALLS
            .iter()
            .filter_map(|call| {
                let result =
                    results.iter().find(|result| result.eval_action_name == call.permission)?;
                Some((call.permission, decision(result)))
            })
            .collect();
        let complete = decisions.len() == WATCH_CALLS.len();
        Lookup::expect_in_answer(call, complete.then_some(decisions))
    })
}

/// A denial that rests on what the simulation was not told, or on the organisation's policies,
/// whose conditions it does not know either, need not be one.
fn decision(result: &EvaluationResult) -> RightDecision {
    let by_organisation = result
        .organizations_decision_detail()
        .is_some_and(|detail| !detail.allowed_by_organizations());
    let is_blind = by_organisation || !result.missing_context_values().is_empty();
    match &result.eval_decision {
        PolicyEvaluationDecisionType::Allowed => RightDecision::Allowed,
        _ if is_blind => RightDecision::Unclear,
        PolicyEvaluationDecisionType::ImplicitDeny => RightDecision::NotAllowed,
        PolicyEvaluationDecisionType::ExplicitDeny => RightDecision::Denied,
        _ => RightDecision::Unclear,
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
    use aws_sdk_iam::types::OrganizationsDecisionDetail;

    use super::*;
    use crate::base::names::AccountId;

    #[test]
    fn a_denial_counts_only_where_the_simulation_knew_all_that_it_rests_on() {
        use PolicyEvaluationDecisionType::{Allowed, ExplicitDeny, ImplicitDeny};
        let result = |decision: &PolicyEvaluationDecisionType| {
            EvaluationResult::builder().eval_action_name("x").eval_decision(decision.clone())
        };
        for (of_iam, known, blind) in [
            (Allowed, RightDecision::Allowed, RightDecision::Allowed),
            (ImplicitDeny, RightDecision::NotAllowed, RightDecision::Unclear),
            (ExplicitDeny, RightDecision::Denied, RightDecision::Unclear),
        ] {
            assert_eq!(decision(&result(&of_iam).build().unwrap()), known);
            let missing = result(&of_iam).missing_context_values("aws:SourceIp");
            assert_eq!(decision(&missing.build().unwrap()), blind);
            let organisation = |allowed| {
                let detail =
                    OrganizationsDecisionDetail::builder().allowed_by_organizations(allowed);
                result(&of_iam).organizations_decision_detail(detail.build())
            };
            assert_eq!(decision(&organisation(false).build().unwrap()), blind);
            assert_eq!(decision(&organisation(true).build().unwrap()), known);
        }
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

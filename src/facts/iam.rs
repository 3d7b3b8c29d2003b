//! What IAM says of the cluster's roles.

use std::collections::BTreeMap;

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};
use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{aws_calls, lookup::Lookup};

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoleFacts {
    /// The role's ARN.
    pub arn: String,
}

/// A decision of IAM's policy simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Identity")]
pub enum SimulationDecision {
    /// A policy allows it.
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// A policy denies it.
    Denied,
}

/// The last part of an ARN, or of a name under a path, as people copy it from an ARN: IAM takes
/// names alone.
fn name_alone(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}

/// Whether what IAM has found is what was `named`: a name is one of this account, and an ARN says
/// itself which it means.
fn is_named(named: &str, found: &str) -> bool {
    !named.starts_with("arn:") || named == found
}

/// The role behind an instance profile, `named` as in `aws.emr.jobflow_role`: by its name, which is
/// often its role's name too, or by its ARN.
pub(super) async fn instance_role(iam: &aws_sdk_iam::Client, named: &str) -> Lookup<RoleFacts> {
    let name = name_alone(named);
    let result = iam.get_instance_profile().instance_profile_name(name).send().await;
    Lookup::from_call(
        &aws_calls::GET_INSTANCE_PROFILE,
        &["NoSuchEntity", "NoSuchEntityException"],
        result,
    )
    .and_then(|answer| {
        Lookup::expect_in_answer(&aws_calls::GET_INSTANCE_PROFILE, answer.instance_profile)
            .and_then(|profile| {
                if !is_named(named, &profile.arn) {
                    return Lookup::Absent;
                }
                // A profile can stand without a role in it; then there is no role.
                profile
                    .roles
                    .into_iter()
                    .next()
                    .map_or(Lookup::Absent, |role| Lookup::Found(RoleFacts { arn: role.arn }))
            })
    })
}

/// The role that is `named` by its name or its ARN.
pub(super) async fn role(iam: &aws_sdk_iam::Client, named: &str) -> Lookup<RoleFacts> {
    let result = iam.get_role().role_name(name_alone(named)).send().await;
    Lookup::from_call(&aws_calls::GET_ROLE, &["NoSuchEntity", "NoSuchEntityException"], result)
        .and_then(|answer| {
            Lookup::expect_in_answer(&aws_calls::GET_ROLE, answer.role).and_then(|role| {
                if is_named(named, &role.arn) {
                    Lookup::Found(RoleFacts { arn: role.arn })
                } else {
                    Lookup::Absent
                }
            })
        })
}

/// What IAM's simulator says of `role` doing each of `actions` to `resource`.
pub(super) async fn simulate(
    iam: &aws_sdk_iam::Client,
    role: &str,
    actions: &[&str],
    resource: &str,
) -> Lookup<BTreeMap<String, SimulationDecision>> {
    // EC2 asks for grants on behalf of the role, which policies often make a condition.
    let grant = ContextEntry::builder()
        .context_key_name("kms:GrantIsForAWSResource")
        .context_key_values("true")
        .context_key_type(ContextKeyTypeEnum::Boolean)
        .build();
    let result = iam
        .simulate_principal_policy()
        .policy_source_arn(role)
        .set_action_names(Some(actions.iter().map(ToString::to_string).collect()))
        .resource_arns(resource)
        .context_entries(grant)
        .send()
        .await;
    Lookup::from_call(&aws_calls::SIMULATE_PRINCIPAL_POLICY, &["NoSuchEntity"], result).and_then(
        |answer| {
            let decisions: BTreeMap<String, SimulationDecision> = answer
                .evaluation_results
                .unwrap_or_default()
                .into_iter()
                .filter_map(|result| {
                    let decision = match result.eval_decision {
                        PolicyEvaluationDecisionType::Allowed => SimulationDecision::Allowed,
                        PolicyEvaluationDecisionType::ImplicitDeny => {
                            SimulationDecision::NotAllowed
                        }
                        PolicyEvaluationDecisionType::ExplicitDeny => SimulationDecision::Denied,
                        _ => return None,
                    };
                    Some((result.eval_action_name, decision))
                })
                .collect();
            let complete = actions.iter().all(|action| decisions.contains_key(*action));
            Lookup::expect_in_answer(
                &aws_calls::SIMULATE_PRINCIPAL_POLICY,
                complete.then_some(decisions),
            )
        },
    )
}

//! What IAM says of the cluster's role.

use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use serde::Serialize;

use super::kms::Decision;
use crate::aws::{Lookup, calls};

/// The role that a cluster's instances act as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleFacts {
    /// The role's ARN.
    pub arn: String,
}

/// The role behind the instance profile `name` (`aws.emr.jobflow_role` names the profile, which often has its role's name).
pub(super) async fn role(iam: &aws_sdk_iam::Client, name: &str) -> Lookup<RoleFacts> {
    let result = iam.get_instance_profile().instance_profile_name(name).send().await;
    Lookup::from_call(&calls::GET_INSTANCE_PROFILE, &["NoSuchEntity", "NoSuchEntityException"], result).and_then(|answer| {
        Lookup::expect_in_answer(&calls::GET_INSTANCE_PROFILE, answer.instance_profile).and_then(|profile| {
            // A profile can stand without a role in it; then there is no role.
            profile.roles.into_iter().next().map_or(Lookup::Absent, |role| Lookup::Found(RoleFacts { arn: role.arn }))
        })
    })
}

/// What IAM's simulator says of `role` doing `action` to `resource`.
pub(super) async fn simulate(iam: &aws_sdk_iam::Client, role: &str, action: &str, resource: &str) -> Lookup<Decision> {
    let result = iam.simulate_principal_policy().policy_source_arn(role).action_names(action).resource_arns(resource).send().await;
    Lookup::from_call(&calls::SIMULATE_PRINCIPAL_POLICY, &["NoSuchEntity"], result).and_then(|answer| {
        let decision = answer.evaluation_results.unwrap_or_default().into_iter().next().and_then(|result| match result.eval_decision {
            PolicyEvaluationDecisionType::Allowed => Some(Decision::Allowed),
            PolicyEvaluationDecisionType::ImplicitDeny => Some(Decision::NotAllowed),
            PolicyEvaluationDecisionType::ExplicitDeny => Some(Decision::Denied),
            _ => None,
        });
        Lookup::expect_in_answer(&calls::SIMULATE_PRINCIPAL_POLICY, decision)
    })
}

//! IAM's answers about the cluster's roles.

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{aws_calls, lookup::Lookup};

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoleFacts {
    /// The role's ARN.
    pub arn: String,
}

/// The last part of an ARN, or of a name with a path as copied from an ARN: IAM takes only names.
fn name_alone(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}

/// Whether the object that IAM found is the `named` one: a plain name means this account, an ARN
/// contains its account.
fn is_named(named: &str, found: &str) -> bool {
    !named.starts_with("arn:") || named == found
}

/// The role behind an instance profile, `named` in `aws.emr.jobflow_role` by its ARN, or by its
/// name, which is often also the role's name.
pub(super) async fn instance_role(iam: &aws_sdk_iam::Client, named: &str) -> Lookup<RoleFacts> {
    let name = name_alone(named);
    let result = iam.get_instance_profile().instance_profile_name(name).send().await;
    Lookup::from_call(
        &aws_calls::GET_INSTANCE_PROFILE,
        &["NoSuchEntity", "NoSuchEntityException"],
        result,
    )
    .and_then(|answer| {
        let call = &aws_calls::GET_INSTANCE_PROFILE;
        let none = || Lookup::unusable(call, "it holds no instance profile");
        answer.instance_profile.map_or_else(none, Lookup::Found).and_then(|profile| {
            if !is_named(named, &profile.arn) {
                return Lookup::Absent;
            }
            // A profile may contain no role.
            profile
                .roles
                .into_iter()
                .next()
                .map_or(Lookup::Absent, |role| Lookup::Found(RoleFacts { arn: role.arn }))
        })
    })
}

/// The role `named` by its name or its ARN.
pub(super) async fn role(iam: &aws_sdk_iam::Client, named: &str) -> Lookup<RoleFacts> {
    let result = iam.get_role().role_name(name_alone(named)).send().await;
    Lookup::from_call(&aws_calls::GET_ROLE, &["NoSuchEntity", "NoSuchEntityException"], result)
        .and_then(|answer| {
            let none = || Lookup::unusable(&aws_calls::GET_ROLE, "it holds no role");
            answer.role.map_or_else(none, Lookup::Found).and_then(|role| {
                if is_named(named, &role.arn) {
                    Lookup::Found(RoleFacts { arn: role.arn })
                } else {
                    Lookup::Absent
                }
            })
        })
}

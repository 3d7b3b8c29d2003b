//! IAM's answers about the cluster's roles.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::iam_query::{Iam, NO_ENTITY},
    base::{aws_calls, lookup::Lookup},
};

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
pub(super) async fn instance_role(iam: &Iam, named: &str) -> Lookup<RoleFacts> {
    let result = iam.instance_profile(name_alone(named)).await;
    Lookup::from_call(&aws_calls::GET_INSTANCE_PROFILE, NO_ENTITY, result).and_then(|profile| {
        if !is_named(named, &profile.arn) {
            return Lookup::Absent;
        }
        // A profile may contain no role.
        let role = profile.roles.into_iter().next();
        role.map_or(Lookup::Absent, |role| Lookup::Found(RoleFacts { arn: role.arn }))
    })
}

/// The role `named` by its name or its ARN.
pub(super) async fn role(iam: &Iam, named: &str) -> Lookup<RoleFacts> {
    let result = iam.role(name_alone(named)).await;
    Lookup::from_call(&aws_calls::GET_ROLE, NO_ENTITY, result).and_then(|role| {
        if is_named(named, &role.arn) {
            Lookup::Found(RoleFacts { arn: role.arn })
        } else {
            Lookup::Absent
        }
    })
}

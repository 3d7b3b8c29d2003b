//! The parts of IAM's answers that the guard reads. Those of the policy simulator are in
//! `simulation`.

use crate::aws::query_protocol::xml::{AnswerError, Element};

/// The name of the items of lists.
pub(super) const MEMBER: &str = "member";

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct IamPage<T> {
    pub(crate) items: Vec<T>,
    /// The marker of the next page; none, or an empty one, on the last page.
    pub(crate) marker: Option<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct IamRole {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// Its trust policy: JSON, encoded as a part of a URL.
    pub(crate) trust: Option<String>,
}

/// An instance profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct IamInstanceProfile {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// One role at most.
    pub(crate) roles: Vec<IamRole>,
}

pub(super) fn instance_profile(answer: &Element) -> Result<IamInstanceProfile, AnswerError> {
    let profile = answer.required("GetInstanceProfileResult")?.required("InstanceProfile")?;
    Ok(IamInstanceProfile {
        name: profile.required_text("InstanceProfileName")?,
        arn: profile.required_text("Arn")?,
        roles: profile.list("Roles", MEMBER, role_of)?,
    })
}

pub(super) fn role(answer: &Element) -> Result<IamRole, AnswerError> {
    role_of(answer.required("GetRoleResult")?.required("Role")?)
}

fn role_of(item: &Element) -> Result<IamRole, AnswerError> {
    Ok(IamRole {
        name: item.required_text("RoleName")?,
        arn: item.required_text("Arn")?,
        trust: item.text("AssumeRolePolicyDocument")?,
    })
}

pub(super) fn attached_policies(answer: &Element) -> Result<IamPage<String>, AnswerError> {
    let result = answer.required("ListAttachedRolePoliciesResult")?;
    page(result, "AttachedPolicies", |item| item.required_text("PolicyArn"))
}

pub(super) fn role_policies(answer: &Element) -> Result<IamPage<String>, AnswerError> {
    let result = answer.required("ListRolePoliciesResult")?;
    page(result, "PolicyNames", |item| item.leaf(MEMBER))
}

pub(super) fn instance_profiles(answer: &Element) -> Result<IamPage<String>, AnswerError> {
    let result = answer.required("ListInstanceProfilesForRoleResult")?;
    page(result, "InstanceProfiles", |item| item.required_text("InstanceProfileName"))
}

/// The page in a result.
///
/// # Errors
/// Also when there is a next page, of which the marker is missing.
pub(super) fn page<T>(
    result: &Element,
    list: &'static str,
    read: impl Fn(&Element) -> Result<T, AnswerError>,
) -> Result<IamPage<T>, AnswerError> {
    let marker = result.text("Marker")?;
    if marker.as_ref().is_none_or(String::is_empty) && result.flag("IsTruncated")? == Some(true) {
        return Err(AnswerError::Missing("Marker"));
    }
    Ok(IamPage { items: result.list(list, MEMBER, read)?, marker })
}

/// The document of an inline policy, in a result of this name.
pub(super) fn policy(answer: &Element, result: &'static str) -> Result<String, AnswerError> {
    answer.required(result)?.required_text("PolicyDocument")
}

pub(super) fn created_role(answer: &Element) -> Result<String, AnswerError> {
    answer.required("CreateRoleResult")?.required("Role")?.required_text("Arn")
}

pub(super) fn created_instance_profile(answer: &Element) -> Result<String, AnswerError> {
    let result = answer.required("CreateInstanceProfileResult")?;
    result.required("InstanceProfile")?.required_text("Arn")
}

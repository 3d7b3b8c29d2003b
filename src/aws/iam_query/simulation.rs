//! IAM's policy simulator: what SimulatePrincipalPolicy takes and returns.

use crate::aws::{
    iam_query::answers::{IamPage, MEMBER, page},
    query_protocol::{
        Form,
        xml::{AnswerError, Element},
    },
};

/// Which actions of a role or user are simulated, and on what.
#[derive(Clone, Debug)]
pub(crate) struct SimulationRequest<'a> {
    /// The ARN of the role or user.
    pub(crate) principal: &'a str,
    pub(crate) actions: &'a [&'a str],
    /// The resources' ARNs.
    pub(crate) resources: &'a [&'a str],
    pub(crate) context: &'a [ContextValue],
}

/// One condition key of a request, with its values.
#[derive(Clone, Debug)]
pub(crate) struct ContextValue {
    key: String,
    values: Vec<String>,
    /// Its type, as IAM names it.
    kind: &'static str,
}

impl ContextValue {
    pub(crate) fn text(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), values: vec![value.into()], kind: "string" }
    }

    pub(crate) fn texts(key: &str, values: Vec<String>) -> Self {
        Self { key: key.to_owned(), values, kind: "stringList" }
    }

    pub(crate) fn truth(key: &str, value: bool) -> Self {
        Self { key: key.to_owned(), values: vec![value.to_string()], kind: "boolean" }
    }
}

/// The simulator's result for one action.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct EvaluationResult {
    pub(crate) action: String,
    /// The resource, or `*` for several ones.
    pub(crate) resource: Option<String>,
    pub(crate) decision: EvaluationDecision,
    /// The condition keys that policies use and the request lacked.
    pub(crate) missing: Vec<String>,
    /// Whether the permissions boundary allows it, if there is one.
    pub(crate) boundary: Option<bool>,
    /// Whether the organisation's policies allow it, if there are any.
    pub(crate) organization: Option<bool>,
    /// The results for each resource, where resources were named.
    pub(crate) specific: Vec<ResourceResult>,
}

/// The simulator's result for one action on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct ResourceResult {
    pub(crate) resource: String,
    pub(crate) decision: EvaluationDecision,
    pub(crate) missing: Vec<String>,
    pub(crate) boundary: Option<bool>,
}

/// A decision of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize), serde(rename_all = "camelCase"))]
pub(crate) enum EvaluationDecision {
    Allowed,
    /// No policy allows it.
    ImplicitDeny,
    /// A policy denies it.
    ExplicitDeny,
}

pub(super) fn add_request(form: &mut Form, request: &SimulationRequest<'_>) {
    form.add("PolicySourceArn", request.principal);
    form.add_list("ActionNames", request.actions);
    form.add_list("ResourceArns", request.resources);
    for (index, value) in request.context.iter().enumerate() {
        let entry = format!("ContextEntries.member.{}", index + 1);
        form.add(&format!("{entry}.ContextKeyName"), &value.key);
        form.add_list(&format!("{entry}.ContextKeyValues"), &value.values);
        form.add(&format!("{entry}.ContextKeyType"), value.kind);
    }
}

pub(super) fn results(answer: &Element) -> Result<IamPage<EvaluationResult>, AnswerError> {
    page(answer.required("SimulatePrincipalPolicyResult")?, "EvaluationResults", result)
}

fn result(item: &Element) -> Result<EvaluationResult, AnswerError> {
    Ok(EvaluationResult {
        action: item.required_text("EvalActionName")?,
        resource: item.text("EvalResourceName")?,
        decision: decision(item, "EvalDecision")?,
        missing: missing(item)?,
        boundary: boundary(item)?,
        organization: detail(item, "OrganizationsDecisionDetail", "AllowedByOrganizations")?,
        specific: item.inner_list("ResourceSpecificResults", MEMBER, resource_result)?,
    })
}

fn resource_result(item: &Element) -> Result<ResourceResult, AnswerError> {
    Ok(ResourceResult {
        resource: item.required_text("EvalResourceName")?,
        decision: decision(item, "EvalResourceDecision")?,
        missing: missing(item)?,
        boundary: boundary(item)?,
    })
}

fn decision(item: &Element, name: &'static str) -> Result<EvaluationDecision, AnswerError> {
    match item.required_text(name)?.as_str() {
        "allowed" => Ok(EvaluationDecision::Allowed),
        "implicitDeny" => Ok(EvaluationDecision::ImplicitDeny),
        "explicitDeny" => Ok(EvaluationDecision::ExplicitDeny),
        _ => Err(AnswerError::Unexpected(name)),
    }
}

fn missing(item: &Element) -> Result<Vec<String>, AnswerError> {
    item.inner_list("MissingContextValues", MEMBER, |key| key.leaf(MEMBER))
}

fn boundary(item: &Element) -> Result<Option<bool>, AnswerError> {
    detail(item, "PermissionsBoundaryDecisionDetail", "AllowedByPermissionsBoundary")
}

/// The boolean in a detail of a decision; none without the detail.
fn detail(
    item: &Element,
    name: &'static str,
    flag: &'static str,
) -> Result<Option<bool>, AnswerError> {
    let Some(detail) = item.child(name)? else { return Ok(None) };
    detail.flag(flag)?.map(Some).ok_or(AnswerError::Missing(flag))
}

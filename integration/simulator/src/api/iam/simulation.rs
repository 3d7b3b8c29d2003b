//! Owns IAM's simulation of policies.

use std::collections::BTreeSet;

use serde_json::Value;

use super::request::{IamRequest, last_part, no_such};
use crate::reply::Failure;
use crate::xml::Xml;
use emr_world::policy::{self, Ask, Context, Decision};
use emr_world::world::{Role, World};

impl IamRequest<'_> {
    pub(super) fn simulate(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let source = self.parameter("PolicySourceArn")?;
        let is_source = |it: &&Role| {
            it.account == self.account && (it.arn() == source || it.user_arn() == source)
        };
        let kind = if source.contains(":user/") { &world.users } else { &world.roles };
        let role = kind
            .iter()
            .find(is_source)
            .ok_or_else(|| no_such(format!("The entity {source} cannot be found.")))?;
        let actions = self.call.list("ActionNames");
        if actions.is_empty() {
            return Err(Failure::new(
                400,
                "ValidationError",
                "ActionNames must have at least one member",
            ));
        }
        let mut resources = self.call.list("ResourceArns");
        if resources.is_empty() {
            resources.push("*".to_owned());
        }
        let context = self.context();
        let organization = world.organizations.get(self.account).map(Vec::as_slice);
        xml.element("EvaluationResults", |xml| {
            for action in &actions {
                let of = |resource| {
                    evaluation(role, organization, &Ask { action, resource, context: &context })
                };
                let all: Vec<(&str, Evaluation)> =
                    resources.iter().map(|resource| (resource.as_str(), of(resource))).collect();
                xml.element("member", |xml| write_evaluations(xml, action, &all));
            }
        });
        xml.text("IsTruncated", "false");
        Ok(())
    }

    /// The request's `ContextEntries`, the whole context of the simulation.
    fn context(&self) -> Context {
        let names = (1..).map_while(|number| {
            let prefix = format!("ContextEntries.member.{number}");
            let name = self.call.form.get(&format!("{prefix}.ContextKeyName"))?;
            Some((name.clone(), self.call.list(&format!("{prefix}.ContextKeyValues"))))
        });
        names.collect()
    }
}

/// The simulation's result for one action on one resource.
struct Evaluation {
    decision: Decision,
    /// The names of the policies that decide.
    matched: Vec<String>,
    missing: BTreeSet<String>,
    boundary: Option<bool>,
    organization: Option<bool>,
}

fn evaluation(role: &Role, organization: Option<&[Value]>, ask: &Ask<'_>) -> Evaluation {
    let all = || role.policies.iter().chain(&role.attached);
    let identity = all()
        .map(|(_, document)| policy::evaluate_identity(document, ask))
        .fold(Decision::ImplicitDeny, Decision::and);
    let boundary = role.boundary.as_ref().map(|document| policy::evaluate_identity(document, ask));
    let decision = match boundary {
        Some(Decision::ExplicitDeny) => Decision::ExplicitDeny,
        Some(Decision::ImplicitDeny) if identity == Decision::Allowed => Decision::ImplicitDeny,
        _ => identity,
    };
    let organization = organization.map(|documents| policy::organization_allows(documents, ask));
    let decision = match organization {
        Some(false) if decision == Decision::Allowed => Decision::ImplicitDeny,
        _ => decision,
    };
    let decides = |document: &Value| {
        let opinion = policy::evaluate_identity(document, ask);
        opinion == identity && opinion != Decision::ImplicitDeny
    };
    let keys = all().flat_map(|(_, document)| policy::condition_keys(document, ask));
    Evaluation {
        decision,
        matched: all()
            .filter(|(_, document)| organization != Some(false) && decides(document))
            .map(|(name, _)| last_part(name).to_owned())
            .collect(),
        missing: keys.filter(|key| !policy::is_told(ask.context, key)).collect(),
        boundary: boundary.map(|boundary| boundary == Decision::Allowed),
        organization,
    }
}

/// One result for an action. Results of each resource are in `ResourceSpecificResults`; missing
/// context keys are only there, or only on the upper level where no resource is given.
fn write_evaluations(xml: &mut Xml, action: &str, all: &[(&str, Evaluation)]) {
    let Some((first, of_first)) = all.first() else { return };
    let is_any = *first == "*";
    let decision =
        all.iter().map(|(_, it)| it.decision).fold(Decision::Allowed, |worst, it| {
            match (worst, it) {
                (Decision::ExplicitDeny, _) | (_, Decision::ExplicitDeny) => Decision::ExplicitDeny,
                (Decision::Allowed, Decision::Allowed) => Decision::Allowed,
                _ => Decision::ImplicitDeny,
            }
        });
    xml.text("EvalActionName", action)
        .text("EvalResourceName", first)
        .text("EvalDecision", decision.name());
    write_matched(xml, of_first);
    write_missing(xml, is_any.then_some(&of_first.missing));
    if let Some(allows) = of_first.organization {
        let allows = allows && all.iter().all(|(_, it)| it.organization == Some(true));
        xml.element("OrganizationsDecisionDetail", |xml| {
            xml.text("AllowedByOrganizations", allows.to_string());
        });
    }
    write_boundary(xml, of_first.boundary);
    xml.text("EvalDecisionDetails", "");
    if is_any {
        return;
    }
    xml.element("ResourceSpecificResults", |xml| {
        for (resource, it) in all {
            xml.element("member", |xml| {
                xml.text("EvalResourceName", resource)
                    .text("EvalResourceDecision", it.decision.name());
                write_matched(xml, it);
                write_missing(xml, Some(&it.missing));
                write_boundary(xml, it.boundary);
            });
        }
    });
}

fn write_matched(xml: &mut Xml, evaluation: &Evaluation) {
    xml.element("MatchedStatements", |xml| {
        // For inline and managed policies alike, as recorded from AWS in LocalStack's
        // `test_simulate_principle_policy`.
        for name in &evaluation.matched {
            xml.element("member", |xml| {
                xml.text("SourcePolicyId", name).text("SourcePolicyType", "IAM Policy");
            });
        }
    });
}

fn write_missing(xml: &mut Xml, missing: Option<&BTreeSet<String>>) {
    xml.element("MissingContextValues", |xml| {
        for key in missing.into_iter().flatten() {
            xml.text("member", key);
        }
    });
}

fn write_boundary(xml: &mut Xml, boundary: Option<bool>) {
    if let Some(allows) = boundary {
        xml.element("PermissionsBoundaryDecisionDetail", |xml| {
            xml.text("AllowedByPermissionsBoundary", allows.to_string());
        });
    }
}

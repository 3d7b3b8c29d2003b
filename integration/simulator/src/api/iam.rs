//! Owns IAM's operations.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso_seconds;
use emr_world::policy::{self, Ask, Context, Decision};
use emr_world::world::{Caller, Role, World};

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

pub(super) fn answer(world: &World, call: &Call, caller: &Caller) -> Answer {
    let iam = Iam { world, call, account: &caller.account };
    let operation = &call.subject.operation;
    let mut outcome = Ok(());
    let mut document = Xml::new();
    document.root(&format!("{operation}Response"), NAMESPACE, |xml| {
        xml.element(&format!("{operation}Result"), |xml| outcome = iam.write_result(xml));
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
        });
    });
    outcome?;
    Ok(Reply::xml(document))
}

struct Iam<'a> {
    world: &'a World,
    call: &'a Call,
    account: &'a str,
}

impl Iam<'_> {
    fn write_result(&self, xml: &mut Xml) -> Result<(), Failure> {
        match self.call.subject.operation.as_str() {
            "GetInstanceProfile" => self.instance_profile(xml)?,
            "GetRole" => {
                let role = self.role()?;
                xml.element("Role", |xml| {
                    write_role(xml, role);
                    xml.text("MaxSessionDuration", "3600").text("RoleLastUsed", "");
                });
            }
            "ListRolePolicies" => {
                let role = self.role()?;
                xml.element("PolicyNames", |xml| {
                    for (name, _) in &role.policies {
                        xml.text("member", name);
                    }
                });
                xml.text("IsTruncated", "false");
            }
            "GetRolePolicy" => self.role_policy(xml)?,
            "ListAttachedRolePolicies" => {
                let role = self.role()?;
                xml.element("AttachedPolicies", |xml| {
                    for (arn, _) in &role.attached {
                        xml.element("member", |xml| {
                            xml.text("PolicyName", last_part(arn)).text("PolicyArn", arn);
                        });
                    }
                });
                xml.text("IsTruncated", "false");
            }
            "GetPolicy" => {
                let (arn, _) = self.managed_policy()?;
                xml.element("Policy", |xml| {
                    xml.text("PolicyName", last_part(arn))
                        .text("PolicyId", "ANPASIMULATEDPOLICY00")
                        .text("Arn", arn)
                        .text("Path", "/")
                        .text("DefaultVersionId", "v1")
                        .text("AttachmentCount", "1")
                        .text("PermissionsBoundaryUsageCount", "0")
                        .text("IsAttachable", "true")
                        .text("CreateDate", iso_seconds(self.world.now))
                        .text("UpdateDate", iso_seconds(self.world.now));
                });
            }
            "GetPolicyVersion" => {
                let (arn, document) = self.managed_policy()?;
                if self.parameter("VersionId")? != "v1" {
                    return Err(no_such(format!(
                        "Policy {arn} version does not exist or is not attachable."
                    )));
                }
                xml.element("PolicyVersion", |xml| {
                    xml.text("Document", encoded(document))
                        .text("VersionId", "v1")
                        .text("IsDefaultVersion", "true")
                        .text("CreateDate", iso_seconds(self.world.now));
                });
            }
            "SimulatePrincipalPolicy" => self.simulate(xml)?,
            other => return Err(Failure::not_modelled(Service::Iam, other)),
        }
        Ok(())
    }

    fn parameter(&self, name: &str) -> Result<&str, Failure> {
        self.call.form.get(name).map(String::as_str).filter(|it| !it.is_empty()).ok_or_else(|| {
            let message = format!(
                "1 validation error detected: Value null at '{name}' failed to \
                satisfy constraint: Member must not be null"
            );
            Failure::new(400, "ValidationError", message)
        })
    }

    /// A parameter that must be a plain name: no path, and no ARN.
    fn name(&self, parameter: &str) -> Result<&str, Failure> {
        let name = self.parameter(parameter)?;
        if name.chars().all(|it| it.is_ascii_alphanumeric() || "+=,.@_-".contains(it)) {
            return Ok(name);
        }
        let message = format!(
            "The specified value for {parameter} is invalid. It must contain only alphanumeric \
             characters and/or the following: +=,.@_-"
        );
        Err(Failure::new(400, "ValidationError", message))
    }

    fn role(&self) -> Result<&Role, Failure> {
        let name = self.name("RoleName")?;
        self.world
            .role(self.account, name)
            .ok_or_else(|| no_such(format!("The role with name {name} cannot be found.")))
    }

    fn role_policy(&self, xml: &mut Xml) -> Result<(), Failure> {
        let role = self.role()?;
        let name = self.parameter("PolicyName")?;
        let (_, document) =
            role.policies.iter().find(|(it, _)| it == name).ok_or_else(|| {
                no_such(format!("The role policy with name {name} cannot be found."))
            })?;
        xml.text("RoleName", &role.name)
            .text("PolicyName", name)
            .text("PolicyDocument", encoded(document));
        Ok(())
    }

    fn instance_profile(&self, xml: &mut Xml) -> Result<(), Failure> {
        let name = self.name("InstanceProfileName")?;
        let profile = self
            .world
            .instance_profiles
            .iter()
            .find(|it| it.account == self.account && it.name == name)
            .ok_or_else(|| no_such(format!("Instance Profile {name} cannot be found.")))?;
        xml.element("InstanceProfile", |xml| {
            xml.text("Path", &profile.path)
                .text("InstanceProfileName", name)
                .text("InstanceProfileId", "AIPASIMULATEDPROFILE0")
                .text(
                    "Arn",
                    format!("arn:aws:iam::{}:instance-profile{}{name}", self.account, profile.path),
                )
                .text("CreateDate", iso_seconds(self.world.now));
            xml.element("Roles", |xml| {
                let roles =
                    profile.roles.iter().filter_map(|name| self.world.role(self.account, name));
                for role in roles {
                    xml.element("member", |xml| write_role(xml, role));
                }
            });
        });
        Ok(())
    }

    /// ARN and document of a managed policy; only policies attached to a role exist.
    fn managed_policy(&self) -> Result<&(String, Value), Failure> {
        let arn = self.parameter("PolicyArn")?;
        self.world
            .roles
            .iter()
            .flat_map(|role| &role.attached)
            .find(|(it, _)| it == arn)
            .ok_or_else(|| no_such(format!("Policy {arn} does not exist or is not attachable.")))
    }

    fn simulate(&self, xml: &mut Xml) -> Result<(), Failure> {
        let source = self.parameter("PolicySourceArn")?;
        let is_source = |it: &&Role| {
            it.account == self.account
                && (it.arn() == source || it.arn().replace(":role/", ":user/") == source)
        };
        let kind = if source.contains(":user/") { &self.world.users } else { &self.world.roles };
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
        let organization = self.world.organizations.get(self.account).map(Vec::as_slice);
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

fn no_such(message: String) -> Failure {
    Failure::new(404, "NoSuchEntity", message)
}

fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// IAM returns policy documents percent-encoded.
fn encoded(document: &Value) -> String {
    utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string()
}

fn write_role(xml: &mut Xml, role: &Role) {
    xml.text("Path", &role.path)
        .text("RoleName", &role.name)
        .text("RoleId", "AROASIMULATEDROLE0000")
        .text("Arn", role.arn())
        .text("CreateDate", iso_seconds(role.created))
        .text("AssumeRolePolicyDocument", encoded(&role.trust));
    if role.boundary.is_some() {
        xml.element("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "Policy").text(
                "PermissionsBoundaryArn",
                format!("arn:aws:iam::{}:policy/boundary", role.account),
            );
        });
    }
}

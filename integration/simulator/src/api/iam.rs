//! Owns IAM's operations.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso;
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
                xml.element("Role", |xml| write_role(xml, role));
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
                        .text("CreateDate", iso(self.world.now))
                        .text("UpdateDate", iso(self.world.now));
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
                        .text("CreateDate", iso(self.world.now));
                });
            }
            "SimulatePrincipalPolicy" => self.simulate(xml)?,
            other => return Err(Failure::not_modelled(Service::Iam, other)),
        }
        Ok(())
    }

    fn parameter(&self, name: &str) -> Result<&str, Failure> {
        self.call.form.get(name).map(String::as_str).filter(|it| !it.is_empty()).ok_or_else(|| {
            let message = format!("1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null");
            Failure::new(400, "ValidationError", message)
        })
    }

    /// A parameter that takes a name alone: no path, and no ARN.
    fn name(&self, parameter: &str) -> Result<&str, Failure> {
        let name = self.parameter(parameter)?;
        if name.chars().all(|it| it.is_ascii_alphanumeric() || "+=,.@_-".contains(it)) {
            return Ok(name);
        }
        let message = format!(
            "The specified value for {parameter} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
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
                .text("CreateDate", iso(self.world.now));
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

    /// ARN and document of a managed policy: those attached to a role are all there are.
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
        let role = self
            .world
            .roles
            .iter()
            .find(|role| role.account == self.account && role.arn() == source)
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
        let context = self.context(source);
        xml.element("EvaluationResults", |xml| {
            for action in &actions {
                for resource in &resources {
                    let ask = Ask { action, resource, context: &context };
                    xml.element("member", |xml| write_evaluation(xml, role, &ask));
                }
            }
        });
        xml.text("IsTruncated", "false");
        Ok(())
    }

    /// The request's `ContextEntries`.
    fn context(&self, principal: &str) -> Context {
        let mut context = policy::base_context(principal, self.account);
        let names = (1..).map_while(|number| {
            let prefix = format!("ContextEntries.member.{number}");
            let name = self.call.form.get(&format!("{prefix}.ContextKeyName"))?;
            Some((name.clone(), self.call.list(&format!("{prefix}.ContextKeyValues"))))
        });
        context.extend(names);
        context
    }
}

fn write_evaluation(xml: &mut Xml, role: &Role, ask: &Ask<'_>) {
    let all = || {
        role.policies
            .iter()
            .map(|it| (it, "role"))
            .chain(role.attached.iter().map(|it| (it, "user-managed")))
    };
    let identity = all()
        .map(|((_, document), _)| policy::evaluate_identity(document, ask))
        .fold(Decision::ImplicitDeny, Decision::and);
    let boundary = role.boundary.as_ref().map(|document| policy::evaluate_identity(document, ask));
    let decision = match boundary {
        Some(Decision::ExplicitDeny) => Decision::ExplicitDeny,
        Some(Decision::ImplicitDeny) if identity == Decision::Allowed => Decision::ImplicitDeny,
        _ => identity,
    };
    xml.text("EvalActionName", ask.action)
        .text("EvalResourceName", ask.resource)
        .text("EvalDecision", decision.name());
    xml.element("MatchedStatements", |xml| {
        let matched = all().filter(|((_, document), _)| {
            let opinion = policy::evaluate_identity(document, ask);
            opinion == identity && opinion != Decision::ImplicitDeny
        });
        for ((name, _), kind) in matched {
            xml.element("member", |xml| {
                xml.text("SourcePolicyId", last_part(name)).text("SourcePolicyType", kind);
            });
        }
    });
    xml.element("MissingContextValues", |xml| {
        let keys = all().flat_map(|((_, document), _)| policy::condition_keys(document));
        let missing: BTreeSet<String> =
            keys.filter(|key| !policy::is_told(ask.context, key)).collect();
        for key in missing {
            xml.text("member", key);
        }
    });
    if let Some(boundary) = boundary {
        xml.element("PermissionsBoundaryDecisionDetail", |xml| {
            xml.text("AllowedByPermissionsBoundary", (boundary == Decision::Allowed).to_string());
        });
    }
}

fn no_such(message: String) -> Failure {
    Failure::new(404, "NoSuchEntity", message)
}

fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// IAM gives policy documents percent-encoded.
fn encoded(document: &Value) -> String {
    utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string()
}

fn write_role(xml: &mut Xml, role: &Role) {
    xml.text("Path", &role.path)
        .text("RoleName", &role.name)
        .text("RoleId", "AROASIMULATEDROLE0000")
        .text("Arn", role.arn())
        .text("CreateDate", iso(role.created))
        .text("AssumeRolePolicyDocument", encoded(&role.trust))
        .text("MaxSessionDuration", "3600");
    if role.boundary.is_some() {
        xml.element("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "Policy").text(
                "PermissionsBoundaryArn",
                format!("arn:aws:iam::{}:policy/boundary", role.account),
            );
        });
    }
}

//! Owns IAM's refusals of policy documents.

use serde_json::Value;

use super::request::limit_exceeded;
use crate::call::Service;
use crate::reply::Failure;
use emr_world::policy;
use emr_world::policy_document::{
    DocumentKind, GrammarError, canonical, check_grammar, counted_length, principals,
};
use emr_world::world::World;

/// The document of an inline policy.
pub(super) fn identity(text: &str) -> Result<Value, Failure> {
    let document = parse(text, "Syntax errors in policy.")?;
    check_grammar(&document, DocumentKind::Identity)
        .map_err(|error| malformed(describe(&error, "Syntax errors in policy.")))?;
    evaluable(&document)?;
    Ok(document)
}

/// The document of a trust policy, as IAM stores it.
pub(super) fn trust(world: &World, partition: &str, text: &str) -> Result<Value, Failure> {
    let document = parse(text, "This policy contains invalid Json")?;
    check_grammar(&document, DocumentKind::Trust)
        .map_err(|error| malformed(describe(&error, "This policy contains invalid Json")))?;
    let actions = policy::statements(&document).iter().flat_map(|it| policy::texts(&it["Action"]));
    if actions.into_iter().any(|it| !it.starts_with("sts:") && it != "*") {
        return Err(malformed("AssumeRole policy may only specify STS AssumeRole actions."));
    }
    let names = principals(&document);
    if let Some((kind, name)) =
        names.iter().find(|(kind, name)| !world.knows_principal(kind, name, partition))
    {
        let kind = if kind == "Service" { "SERVICE" } else { kind };
        return Err(malformed(format!("Invalid principal in policy: \"{kind}\":\"{name}\"")));
    }
    evaluable(&document)?;
    let length = counted_length(&document);
    if length > 2048 {
        return Err(limit_exceeded("Cannot exceed quota for ACLSizePerRole: 2048"));
    }
    Ok(canonical(document, partition))
}

fn parse(text: &str, problem: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| malformed(problem))
}

/// What the simulator could not evaluate later is refused at once.
fn evaluable(document: &Value) -> Result<(), Failure> {
    match policy::unsupported(document) {
        Some(problem) => Err(Failure::not_modelled(Service::Iam, &format!("policy: {problem}"))),
        None => Ok(()),
    }
}

fn describe(error: &GrammarError, syntax: &str) -> String {
    match error {
        GrammarError::Syntax | GrammarError::NoStatement => syntax.to_owned(),
        GrammarError::Version => {
            "Policy document must be version 2012-10-17 or greater.".to_owned()
        }
        GrammarError::RepeatedSid(_) => {
            "Statement IDs (SID) in a single policy must be unique.".to_owned()
        }
        GrammarError::Sid(_) => "Statement IDs (SID) must be alpha-numeric. Check that your input \
                                 satisfies the regular expression [0-9A-Za-z]*"
            .to_owned(),
        GrammarError::Missing("Action") => "Policy statement must contain actions.".to_owned(),
        GrammarError::Missing("Resource") => "Policy statement must contain resources.".to_owned(),
        GrammarError::Missing(element) => format!("Missing required field {element}"),
        GrammarError::Prohibited("Principal") => {
            "Policy document should not specify a principal.".to_owned()
        }
        GrammarError::Prohibited(element) => format!("Has prohibited field {element}"),
        GrammarError::Action(_) => "Actions/Conditions must be prefaced by a vendor, e.g., iam, \
                                    sdb, ec2, etc."
            .to_owned(),
        GrammarError::Resource(name) => {
            format!("Resource {name} must be in ARN format or \"*\".")
        }
    }
}

fn malformed(message: impl Into<String>) -> Failure {
    Failure::new(400, "MalformedPolicyDocument", message)
}

//! Owns what the operations of IAM share: the request, its parameters and its errors.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::call::Call;
use crate::reply::Failure;
use crate::xml::Xml;
use emr_world::world::{Caller, Role, World};

/// A request to IAM.
pub(super) struct IamRequest<'a> {
    pub(super) call: &'a Call,
    pub(super) caller: &'a Caller,
    pub(super) account: &'a str,
    pub(super) partition: String,
}

impl IamRequest<'_> {
    pub(super) fn parameter(&self, name: &str) -> Result<&str, Failure> {
        self.optional(name).ok_or_else(|| {
            invalid(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy \
                 constraint: Member must not be null"
            ))
        })
    }

    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.call.form.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    /// A parameter that must be a plain name: no path, and no ARN.
    pub(super) fn name(&self, parameter: &str) -> Result<&str, Failure> {
        let name = self.parameter(parameter)?;
        if name.chars().all(|it| it.is_ascii_alphanumeric() || "+=,.@_-".contains(it)) {
            return Ok(name);
        }
        Err(invalid(format!(
            "The specified value for {parameter} is invalid. It must contain only alphanumeric \
             characters and/or the following: +=,.@_-"
        )))
    }

    /// The name of something new, which also has a maximum length.
    pub(super) fn new_name(&self, parameter: &str, longest: usize) -> Result<String, Failure> {
        let name = self.name(parameter)?;
        if name.len() <= longest {
            return Ok(name.to_owned());
        }
        let mut member = parameter.to_owned();
        member[..1].make_ascii_lowercase();
        Err(invalid(format!(
            "1 validation error detected: Value at '{member}' failed to satisfy constraint: \
             Member must have length less than or equal to {longest}"
        )))
    }

    /// The path of something new.
    pub(super) fn path(&self) -> Result<String, Failure> {
        let path = self.optional("Path").unwrap_or("/");
        if path.starts_with('/') && path.ends_with('/') && !path.contains("//") {
            return Ok(path.to_owned());
        }
        Err(invalid(
            "The specified value for path is invalid. It must begin and end with / and contain \
             only alphanumeric characters and/or / characters.",
        ))
    }

    /// The request's `Tags`.
    pub(super) fn tags(&self) -> Vec<(String, String)> {
        (1..)
            .map_while(|number| {
                let part = |name: &str| self.call.form.get(&format!("Tags.member.{number}.{name}"));
                Some((part("Key")?.clone(), part("Value").cloned().unwrap_or_default()))
            })
            .collect()
    }

    pub(super) fn role<'w>(&self, world: &'w World) -> Result<&'w Role, Failure> {
        let name = self.name("RoleName")?;
        world.role(self.account, name).ok_or_else(|| no_such_role(name))
    }

    pub(super) fn role_mut<'w>(&self, world: &'w mut World) -> Result<&'w mut Role, Failure> {
        let name = self.name("RoleName")?;
        let found = world.roles.iter_mut().find(|it| it.account == self.account && it.name == name);
        found.ok_or_else(|| no_such_role(name))
    }

    /// One page of a list, by `MaxItems` and `Marker`, and the marker of the next one.
    pub(super) fn page<'t, T>(&self, all: &'t [T]) -> (&'t [T], Option<String>) {
        let number = |name: &str| self.optional(name).and_then(|it| it.parse::<usize>().ok());
        let start = number("Marker").unwrap_or(0).min(all.len());
        let end = start.saturating_add(number("MaxItems").unwrap_or(100).max(1)).min(all.len());
        (&all[start..end], (end < all.len()).then(|| end.to_string()))
    }
}

/// The end of a list's page.
pub(super) fn write_page_end(xml: &mut Xml, marker: Option<String>) {
    xml.text("IsTruncated", marker.is_some().to_string()).optional("Marker", marker);
}

pub(super) fn write_tags(xml: &mut Xml, tags: &[(String, String)]) {
    if tags.is_empty() {
        return;
    }
    xml.element("Tags", |xml| {
        for (key, value) in tags {
            xml.element("member", |xml| {
                xml.text("Key", key).text("Value", value);
            });
        }
    });
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, "ValidationError", message)
}

pub(super) fn no_such(message: impl Into<String>) -> Failure {
    Failure::new(404, "NoSuchEntity", message)
}

pub(super) fn exists(message: impl Into<String>) -> Failure {
    Failure::new(409, "EntityAlreadyExists", message)
}

pub(super) fn delete_conflict(message: &str) -> Failure {
    Failure::new(409, "DeleteConflict", message)
}

pub(super) fn limit_exceeded(message: impl Into<String>) -> Failure {
    Failure::new(409, "LimitExceeded", message)
}

fn no_such_role(name: &str) -> Failure {
    no_such(format!("The role with name {name} cannot be found."))
}

pub(super) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// IAM returns policy documents percent-encoded. Source: IAM API reference, `PolicyDocument` of
/// `GetRolePolicy` (RFC 3986).
pub(super) fn encoded(document: &Value) -> String {
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(&document.to_string(), RESERVED).to_string()
}

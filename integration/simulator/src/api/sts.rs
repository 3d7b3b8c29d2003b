//! Owns STS' operations. Source of every rule and message: AWS STS API reference, and the service's
//! own answers.

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso_seconds;
use emr_world::policy::role_of_session;
use emr_world::sessions::{AssumeRole, GivenSession};
use emr_world::world::{Caller, World};

/// The longest session of a role, in seconds: IAM's default, which is the limit of a role that a
/// role assumes, too.
const LONGEST: u32 = 3600;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    match call.subject.operation.as_str() {
        "GetCallerIdentity" => Ok(result("GetCallerIdentity", |xml| {
            xml.text("Arn", &caller.arn)
                .text("UserId", &caller.user_id)
                .text("Account", &caller.account);
        })),
        "AssumeRole" => assume_role(world, call, caller),
        other => Err(Failure::not_modelled(Service::Sts, other)),
    }
}

fn assume_role(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let form = |name: &str| call.form.get(name).map(String::as_str);
    for unknown in ["Policy", "PolicyArns.member.1.arn", "SerialNumber", "Tags.member.1.Key"] {
        if form(unknown).is_some() {
            return Err(Failure::not_modelled(Service::Sts, &format!("AssumeRole with {unknown}")));
        }
    }
    let role = form("RoleArn").filter(|it| it.len() >= 20).ok_or_else(|| {
        validation(
            "1 validation error detected: Value at 'roleArn' failed to satisfy constraint: \
                    Member must have length greater than or equal to 20",
        )
    })?;
    let name = form("RoleSessionName").filter(|it| is_session_name(it)).ok_or_else(|| {
        validation(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy \
                    constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*",
        )
    })?;
    let duration = form("DurationSeconds").map_or(Ok(LONGEST), str::parse);
    let duration = duration.ok().filter(|it| (900..=43_200).contains(it)).ok_or_else(|| {
        validation(
            "1 validation error detected: Value at 'durationSeconds' failed to satisfy \
                    constraint: Member must have value greater than or equal to 900",
        )
    })?;
    if duration > LONGEST {
        // A session of a role that assumes another role has its own limit.
        let is_chained = role_of_session(&caller.arn) != caller.arn;
        return Err(validation(if is_chained {
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
             role chaining"
        } else {
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        }));
    }
    let asked = AssumeRole { role, name, external_id: form("ExternalId"), duration };
    let given = world.assume_role(caller, &asked).ok_or_else(|| {
        let arn = &caller.arn;
        let message =
            format!("User: {arn} is not authorized to perform: sts:AssumeRole on resource: {role}");
        Failure::new(403, "AccessDenied", message)
    })?;
    let GivenSession { access_key, session, caller } = given;
    Ok(result("AssumeRole", |xml| {
        xml.element("AssumedRoleUser", |xml| {
            xml.text("AssumedRoleId", &caller.user_id).text("Arn", &caller.arn);
        });
        xml.element("Credentials", |xml| {
            xml.text("AccessKeyId", &access_key)
                .text("SecretAccessKey", "simulated/secret/access/key")
                .text("SessionToken", &session.token)
                .text("Expiration", iso_seconds(session.expires));
        });
    }))
}

fn is_session_name(name: &str) -> bool {
    let legal = |it: char| it.is_ascii_alphanumeric() || "_+=,.@-".contains(it);
    (2..=64).contains(&name.len()) && name.chars().all(legal)
}

fn validation(message: &str) -> Failure {
    Failure::new(400, "ValidationError", message)
}

/// The answer of an operation, with this content of its result.
fn result(operation: &str, content: impl FnOnce(&mut Xml)) -> Reply {
    let mut xml = Xml::new();
    xml.root(&format!("{operation}Response"), "https://sts.amazonaws.com/doc/2011-06-15/", |xml| {
        xml.element(&format!("{operation}Result"), content);
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
        });
    });
    Reply::xml(xml)
}

//! Owns which key a request to KMS is about, and the errors that its operations share.

use serde_json::Value;

use crate::call::{Call, Service};
use crate::reply::Failure;
use emr_world::ids::parse_kms_arn;
use emr_world::partition::partition_of;
use emr_world::policy::{self, Ask, Decision};
use emr_world::world::{Caller, Key, World};

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, "ValidationException", message)
}

/// Index of the key of a request that changes it. Only the key's own account may, as far as the key
/// policy allows it; AWS' own keys cannot be changed by anybody.
pub(super) fn find_own(world: &World, call: &Call, caller: &Caller) -> Result<usize, Failure> {
    changeable(world, call, caller, find(world, call, caller, false)?)
}

/// Index of a key, if the caller may change it.
pub(super) fn changeable(
    world: &World,
    call: &Call,
    caller: &Caller,
    key: &Key,
) -> Result<usize, Failure> {
    let is_own = key.account == caller.account && key.manager != "AWS";
    if !is_own || !policy_allows(world, key, call, caller) {
        return Err(denied(call, caller));
    }
    let index = world.keys.iter().position(|it| std::ptr::eq(it, key));
    index.ok_or_else(|| denied(call, caller))
}

pub(super) fn pending_deletion(key: &Key) -> Failure {
    Failure::new(400, "KMSInvalidStateException", format!("{} is pending deletion.", key.arn()))
}

/// One page of a list, by the request's `Limit` and `Marker`, and the marker of the next one.
pub(super) fn page<'t, T>(call: &Call, all: &'t [T]) -> Result<(&'t [T], Option<String>), Failure> {
    let limit = call.json["Limit"].as_u64().unwrap_or(50);
    let limit = usize::try_from(limit).ok().filter(|it| (1..=100).contains(it));
    let limit = limit.ok_or_else(|| {
        invalid(
            "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member \
             must have value less than or equal to 100",
        )
    })?;
    let start = match &call.json["Marker"] {
        Value::String(marker) => marker
            .strip_prefix("marker-")
            .and_then(|it| it.parse::<usize>().ok())
            .ok_or_else(|| Failure::new(400, "InvalidMarkerException", "Invalid marker"))?,
        _ => 0,
    };
    let start = start.min(all.len());
    let end = (start + limit).min(all.len());
    Ok((&all[start..end], (end < all.len()).then(|| format!("marker-{end}"))))
}

/// The usable key of a request, which may also name an alias.
pub(super) fn usable<'a>(
    world: &'a World,
    call: &Call,
    caller: &Caller,
) -> Result<&'a Key, Failure> {
    let key = find(world, call, caller, true)?;
    match key.state.as_str() {
        "Enabled" => Ok(key),
        "Disabled" => {
            Err(Failure::new(400, "DisabledException", format!("{} is disabled.", key.arn())))
        }
        state => Err(Failure::new(
            400,
            "KMSInvalidStateException",
            format!("{} is pending {state}.", key.arn()),
        )),
    }
}

/// The key of a request. `DescribeKey` and operations that use a key accept aliases.
pub(super) fn find<'a>(
    world: &'a World,
    call: &Call,
    caller: &Caller,
    aliases: bool,
) -> Result<&'a Key, Failure> {
    let name = call.json["KeyId"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member \
             must have length greater than or equal to 1",
        ));
    }
    find_named(world, call, caller, (name, aliases))
}

/// The key of this name, which may be an alias where the operation accepts one.
pub(super) fn find_named<'a>(
    world: &'a World,
    call: &Call,
    caller: &Caller,
    (name, aliases): (&str, bool),
) -> Result<&'a Key, Failure> {
    let (account, region, short) = match parse_kms_arn(name) {
        Some(parts) => parts,
        None if name.starts_with("arn:") => {
            return Err(Failure::new(400, "InvalidArnException", format!("Invalid arn {name}")));
        }
        None => (caller.account.as_str(), call.region.as_str(), name),
    };
    let not_found = |message: String| Failure::new(400, "NotFoundException", message);
    if region != call.region {
        return Err(not_found(format!("Invalid arn {region}")));
    }
    let is_alias = short.starts_with("alias/");
    if is_alias && !aliases {
        return Err(not_found(format!("Invalid keyId '{name}'")));
    }
    let found = world.key(account, region, short);
    if account != caller.account {
        // Another account's key is visible only to principals that its policy allows.
        return found
            .filter(|key| policy_allows(world, key, call, caller))
            .ok_or_else(|| denied(call, caller));
    }
    found.ok_or_else(|| {
        let partition = partition_of(region);
        not_found(if is_alias {
            format!("Alias arn:{partition}:kms:{region}:{account}:{short} is not found.")
        } else {
            format!("Key 'arn:{partition}:kms:{region}:{account}:key/{short}' does not exist")
        })
    })
}

fn policy_allows(world: &World, key: &Key, call: &Call, caller: &Caller) -> bool {
    let context = world.context_of(&caller.arn, &caller.account);
    let ask = Ask {
        action: &format!("kms:{}", call.subject.operation),
        resource: &key.arn(),
        context: &context,
    };
    policy::evaluate_resource(&key.policy, &ask, &caller.arn, &caller.account) == Decision::Allowed
}

pub(super) fn denied(call: &Call, caller: &Caller) -> Failure {
    Failure::access_denied(Service::Kms, &call.subject.operation, &caller.arn)
}

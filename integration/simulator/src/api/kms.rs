//! Owns KMS' operations.

mod aliases;
mod grants;
mod keys;
mod metadata;
mod request;
mod signatures;

use serde_json::Value;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::world::{Caller, World};

use request::{find, usable};

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let output = match call.subject.operation.as_str() {
        "DescribeKey" => metadata::metadata(find(world, call, caller, true)?),
        "CreateKey" => keys::create(world, call, caller)?,
        "GetKeyPolicy" => keys::get_policy(world, call, caller)?,
        "PutKeyPolicy" => keys::put_policy(world, call, caller)?,
        "GetKeyRotationStatus" => keys::rotation_status(world, call, caller)?,
        "EnableKeyRotation" => keys::rotate(world, call, caller, true)?,
        "DisableKeyRotation" => keys::rotate(world, call, caller, false)?,
        "EnableKey" => keys::enable(world, call, caller, true)?,
        "DisableKey" => keys::enable(world, call, caller, false)?,
        "ScheduleKeyDeletion" => keys::schedule_deletion(world, call, caller)?,
        "CancelKeyDeletion" => keys::cancel_deletion(world, call, caller)?,
        "ListKeys" => keys::list(world, call, caller),
        "ListResourceTags" => keys::list_tags(world, call, caller)?,
        "CreateAlias" => aliases::create(world, call, caller)?,
        "UpdateAlias" => aliases::update(world, call, caller)?,
        "DeleteAlias" => aliases::delete(world, call, caller)?,
        "ListAliases" => aliases::list(world, call, caller)?,
        "ListGrants" => grants::list_grants(find(world, call, caller, false)?, call)?,
        "GetPublicKey" => signatures::public_key(usable(world, call, caller)?)?,
        "Sign" => signatures::sign(usable(world, call, caller)?, call)?,
        other => return Err(Failure::not_modelled(Service::Kms, other)),
    };
    Ok(match output {
        // These operations have no output.
        Value::Null => Reply { body: Vec::new(), ..Reply::json(&Value::Null) },
        output => Reply::json(&output),
    })
}

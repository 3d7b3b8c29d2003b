//! Owns the aliases of keys.

use serde_json::{Value, json};

use super::request::{changeable, find, find_named, invalid, page, pending_deletion};
use crate::call::Call;
use crate::reply::Failure;
use emr_world::clock::epoch_seconds;
use emr_world::partition::partition_of;
use emr_world::world::{Caller, Key, World};

/// Aliases that AWS has made before there is a key; they are listed without one.
const WITHOUT_KEY: [&str; 2] = ["alias/aws/ebs", "alias/aws/s3"];

/// How many aliases a key can have.
const PER_KEY: usize = 50;

pub(super) fn create(world: &mut World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let name = checked_name(call)?;
    if world.key(&caller.account, &call.region, name).is_some() {
        let arn = alias_arn(&caller.account, &call.region, name);
        let message = format!("An alias with the name {arn} already exists");
        return Err(Failure::new(400, "AlreadyExistsException", message));
    }
    let index = target(world, call, caller)?;
    let key = &mut world.keys[index];
    if key.aliases.len() == PER_KEY {
        let message = format!("Too many aliases on key {}", key.arn());
        return Err(Failure::new(400, "LimitExceededException", message));
    }
    key.aliases.push(name.to_owned());
    Ok(Value::Null)
}

pub(super) fn update(world: &mut World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let name = checked_name(call)?;
    if world.key(&caller.account, &call.region, name).is_none() {
        return Err(not_found(call, caller, name));
    }
    let index = target(world, call, caller)?;
    remove(world, call, caller, name);
    world.keys[index].aliases.push(name.to_owned());
    Ok(Value::Null)
}

pub(super) fn delete(world: &mut World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let name = checked_name(call)?;
    if world.key(&caller.account, &call.region, name).is_none() {
        return Err(not_found(call, caller, name));
    }
    remove(world, call, caller, name);
    Ok(Value::Null)
}

/// All aliases of the account and region, or those of one key, by their names.
pub(super) fn list(world: &World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let only = match call.json["KeyId"].as_str() {
        Some(_) => Some(find(world, call, caller, false)?.arn()),
        None => None,
    };
    let own = world
        .keys
        .iter()
        .filter(|key| key.account == caller.account && key.region == call.region)
        .filter(|key| only.as_ref().is_none_or(|arn| *arn == key.arn()));
    let mut all: Vec<(&str, Option<&Key>)> =
        own.flat_map(|key| key.aliases.iter().map(move |it| (it.as_str(), Some(key)))).collect();
    if only.is_none() {
        let has_key = |name: &str| world.key(&caller.account, &call.region, name).is_some();
        all.extend(WITHOUT_KEY.into_iter().filter(|it| !has_key(it)).map(|it| (it, None)));
    }
    all.sort_by_key(|(name, _)| *name);
    let (page, marker) = page(call, &all)?;
    let page: Vec<Value> = page.iter().map(|(name, key)| entry(call, caller, name, *key)).collect();
    let mut listed = json!({"Aliases": page, "Truncated": marker.is_some()});
    if let Some(marker) = marker {
        listed["NextMarker"] = marker.into();
    }
    Ok(listed)
}

fn entry(call: &Call, caller: &Caller, name: &str, key: Option<&Key>) -> Value {
    let mut entry = json!({
        "AliasName": name,
        "AliasArn": alias_arn(&caller.account, &call.region, name),
    });
    if let Some(key) = key {
        entry["TargetKeyId"] = key.id.as_str().into();
        entry["CreationDate"] = Value::Number(epoch_seconds(key.created));
        entry["LastUpdatedDate"] = Value::Number(epoch_seconds(key.created));
    }
    entry
}

/// Messages recorded from AWS in LocalStack's `test_create_alias`, and quoted in
/// terraform-provider-aws #12891.
fn checked_name(call: &Call) -> Result<&str, Failure> {
    let name = call.json["AliasName"].as_str().unwrap_or_default();
    let Some(short) = name.strip_prefix("alias/").filter(|it| !it.is_empty()) else {
        return Err(invalid(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ));
    };
    if !short.chars().all(|it| it.is_ascii_alphanumeric() || "/_-".contains(it)) {
        return Err(invalid(format!("{name} contains invalid characters for an alias")));
    }
    if name.len() > 256 {
        return Err(invalid(
            "1 validation error detected: Value at 'aliasName' failed to satisfy constraint: \
             Member must have length less than or equal to 256",
        ));
    }
    if short.starts_with("aws/") {
        return Err(Failure::new(400, "NotAuthorizedException", ""));
    }
    Ok(name)
}

/// Index of the key that an alias is to have.
fn target(world: &World, call: &Call, caller: &Caller) -> Result<usize, Failure> {
    let name = call.json["TargetKeyId"].as_str().unwrap_or_default();
    if name.contains("alias/") {
        return Err(invalid("Aliases must refer to keys. Not aliases"));
    }
    let key = find_named(world, call, caller, (name, false))?;
    let index = changeable(world, call, caller, key)?;
    if key.deletion.is_some() { Err(pending_deletion(key)) } else { Ok(index) }
}

fn remove(world: &mut World, call: &Call, caller: &Caller, name: &str) {
    for key in &mut world.keys {
        if key.account == caller.account && key.region == call.region {
            key.aliases.retain(|it| it != name);
        }
    }
}

fn alias_arn(account: &str, region: &str, name: &str) -> String {
    format!("arn:{}:kms:{region}:{account}:{name}", partition_of(region))
}

fn not_found(call: &Call, caller: &Caller, name: &str) -> Failure {
    let arn = alias_arn(&caller.account, &call.region, name);
    Failure::new(400, "NotFoundException", format!("Alias {arn} is not found."))
}

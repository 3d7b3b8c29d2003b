//! Owns the creation, the policies, the rotation and the deletion of keys.

use std::time::Duration;

use serde_json::{Value, json};

use super::metadata::metadata;
use super::request::{denied, find, find_own, invalid, pending_deletion};
use crate::call::{Call, Service};
use crate::reply::Failure;
use emr_world::apply::delegating;
use emr_world::clock::epoch_seconds;
use emr_world::ids::uuid;
use emr_world::partition::partition_of;
use emr_world::policy;
use emr_world::policy_document::{
    DocumentKind, GrammarError, canonical, check_grammar, counted_length, principals,
};
use emr_world::world::{Caller, Key, World};

/// The most bytes of a key policy.
const LARGEST_POLICY: usize = 32_768;

const DAY: Duration = Duration::from_hours(24);

pub(super) fn create(world: &mut World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let asked = |member: &str, only: &str| match call.json[member].as_str() {
        Some(other) if other != only => {
            Err(Failure::not_modelled(Service::Kms, &format!("CreateKey with {member} {other}")))
        }
        _ => Ok(only.to_owned()),
    };
    asked("Origin", "AWS_KMS")?;
    let tags = tags(&call.json["Tags"])?;
    let id = match call.json["MultiRegion"].as_bool() {
        Some(true) => format!("mrk-{}", uuid(&mut world.random).replace('-', "")),
        _ => uuid(&mut world.random),
    };
    let partition = partition_of(&call.region);
    let mut key = Key {
        id,
        account: caller.account.clone(),
        region: call.region.clone(),
        aliases: Vec::new(),
        state: "Enabled".to_owned(),
        spec: asked("KeySpec", "SYMMETRIC_DEFAULT")?,
        usage: asked("KeyUsage", "ENCRYPT_DECRYPT")?,
        manager: "CUSTOMER".to_owned(),
        multi_region: call.json["MultiRegion"] == true,
        rotation: false,
        description: call.json["Description"].as_str().unwrap_or_default().to_owned(),
        policy: delegating(&caller.account, partition),
        grants: Vec::new(),
        tags,
        deletion: None,
        material: None,
        created: world.now,
    };
    if call.json["Policy"].is_string() {
        key.policy = checked_policy(world, call, caller, &key.arn())?;
    }
    let described = metadata(&key);
    world.keys.push(key);
    Ok(described)
}

pub(super) fn get_policy(world: &World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let key = find(world, call, caller, false)?;
    if key.account != caller.account {
        return Err(denied(call, caller));
    }
    Ok(json!({"Policy": key.policy.to_string(), "PolicyName": "default"}))
}

/// A key's policy can be changed in every state of the key.
pub(super) fn put_policy(
    world: &mut World,
    call: &Call,
    caller: &Caller,
) -> Result<Value, Failure> {
    let index = find_own(world, call, caller)?;
    if call.json["PolicyName"].as_str().is_some_and(|it| it != "default") {
        let message = "The policy name must be default.";
        return Err(Failure::new(400, "NotFoundException", message));
    }
    let arn = world.keys[index].arn();
    world.keys[index].policy = checked_policy(world, call, caller, &arn)?;
    Ok(Value::Null)
}

/// The policy of a request. Source: AWS KMS API reference, CreateKey and PutKeyPolicy: all
/// principals must exist, and the caller must be allowed to change the policy again.
fn checked_policy(
    world: &World,
    call: &Call,
    caller: &Caller,
    key: &str,
) -> Result<Value, Failure> {
    let malformed = |message: &str| Failure::new(400, "MalformedPolicyDocumentException", message);
    let text = call.json["Policy"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member \
             must have length greater than or equal to 1",
        ));
    }
    let document: Value = serde_json::from_str(text).map_err(|_| malformed("Invalid JSON"))?;
    if counted_length(&document) > LARGEST_POLICY {
        let message = format!("Key policy is larger than {LARGEST_POLICY} bytes");
        return Err(Failure::new(400, "LimitExceededException", message));
    }
    check_grammar(&document, DocumentKind::Key).map_err(|error| match error {
        GrammarError::Missing("Principal") => {
            malformed("Policy contains a statement with no principal.")
        }
        _ => malformed(
            "The request was rejected because the specified policy is not syntactically or \
             semantically correct.",
        ),
    })?;
    let partition = partition_of(&call.region);
    let names = principals(&document);
    if !names.iter().all(|(kind, name)| world.knows_principal(kind, name, partition)) {
        return Err(malformed("Policy contains a statement with one or more invalid principals."));
    }
    if let Some(problem) = policy::unsupported(&document) {
        return Err(Failure::not_modelled(Service::Kms, &format!("policy: {problem}")));
    }
    let bypasses = call.json["BypassPolicyLockoutSafetyCheck"] == true;
    if !bypasses && !world.may_change_policy(&document, key, caller) {
        return Err(malformed(
            "The new key policy will not allow you to update the key policy in the future.",
        ));
    }
    Ok(canonical(document, partition))
}

/// Errors recorded from AWS in LocalStack's tests of KMS.
fn tags(value: &Value) -> Result<Vec<(String, String)>, Failure> {
    let refused = |message: &str| Failure::new(400, "TagException", message);
    let mut tags: Vec<(String, String)> = Vec::new();
    for tag in value.as_array().into_iter().flatten() {
        let text = |member: &str| tag[member].as_str().unwrap_or_default().to_owned();
        let (key, value) = (text("TagKey"), text("TagValue"));
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(refused("Tags beginning with aws: are reserved"));
        }
        if tags.iter().any(|(it, _)| *it == key) {
            return Err(refused("Duplicate tag keys"));
        }
        tags.push((key, value));
    }
    if tags.len() > 50 {
        return Err(refused("Too many tags"));
    }
    Ok(tags)
}

/// All keys of the account and region, on one page.
pub(super) fn list(world: &World, call: &Call, caller: &Caller) -> Value {
    let own = |key: &&Key| key.account == caller.account && key.region == call.region;
    let keys: Vec<Value> = world
        .keys
        .iter()
        .filter(own)
        .map(|key| json!({"KeyId": key.id, "KeyArn": key.arn()}))
        .collect();
    json!({"Keys": keys, "Truncated": false})
}

pub(super) fn list_tags(world: &World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let key = find(world, call, caller, false)?;
    let tags: Vec<Value> =
        key.tags.iter().map(|(key, value)| json!({"TagKey": key, "TagValue": value})).collect();
    Ok(json!({"Tags": tags, "Truncated": false}))
}

pub(super) fn rotation_status(
    world: &World,
    call: &Call,
    caller: &Caller,
) -> Result<Value, Failure> {
    let key = find(world, call, caller, false)?;
    if key.spec != "SYMMETRIC_DEFAULT" {
        return Err(Failure::new(400, "UnsupportedOperationException", ""));
    }
    let mut status = json!({"KeyRotationEnabled": key.rotation, "KeyId": key.arn()});
    if key.rotation {
        status["NextRotationDate"] = Value::Number(epoch_seconds(key.created + 365 * DAY));
        status["RotationPeriodInDays"] = 365.into();
    }
    Ok(status)
}

/// Switches rotation on or off.
pub(super) fn rotate(
    world: &mut World,
    call: &Call,
    caller: &Caller,
    on: bool,
) -> Result<Value, Failure> {
    let index = find_own(world, call, caller)?;
    let key = &mut world.keys[index];
    if key.spec != "SYMMETRIC_DEFAULT" {
        return Err(Failure::new(400, "UnsupportedOperationException", ""));
    }
    if key.deletion.is_some() {
        return Err(pending_deletion(key));
    }
    if key.state == "Disabled" {
        let message = format!("{} is disabled.", key.arn());
        return Err(Failure::new(400, "DisabledException", message));
    }
    let period = call.json["RotationPeriodInDays"].as_u64();
    if period.is_some_and(|days| !(90..=2560).contains(&days)) {
        return Err(invalid(
            "1 validation error detected: Value at 'rotationPeriodInDays' failed to satisfy \
             constraint: Member must have value between 90 and 2560",
        ));
    }
    key.rotation = on;
    Ok(Value::Null)
}

/// Enables or disables a key.
pub(super) fn enable(
    world: &mut World,
    call: &Call,
    caller: &Caller,
    on: bool,
) -> Result<Value, Failure> {
    let index = find_own(world, call, caller)?;
    let key = &mut world.keys[index];
    if key.deletion.is_some() {
        return Err(pending_deletion(key));
    }
    key.state = if on { "Enabled" } else { "Disabled" }.to_owned();
    Ok(Value::Null)
}

pub(super) fn schedule_deletion(
    world: &mut World,
    call: &Call,
    caller: &Caller,
) -> Result<Value, Failure> {
    let days = call.json["PendingWindowInDays"].as_u64().unwrap_or(30);
    let days = u32::try_from(days).ok().filter(|days| (7..=30).contains(days));
    let days = days.ok_or_else(|| {
        invalid(
            "1 validation error detected: Value at 'pendingWindowInDays' failed to satisfy \
             constraint: Member must have value between 7 and 30",
        )
    })?;
    let index = find_own(world, call, caller)?;
    let at = world.now + days * DAY;
    let key = &mut world.keys[index];
    if key.deletion.is_some() {
        return Err(pending_deletion(key));
    }
    key.state = "PendingDeletion".to_owned();
    key.deletion = Some(at);
    Ok(json!({
        "KeyId": key.arn(),
        "DeletionDate": epoch_seconds(at),
        "KeyState": key.state,
        "PendingWindowInDays": days,
    }))
}

/// The key is disabled afterwards.
pub(super) fn cancel_deletion(
    world: &mut World,
    call: &Call,
    caller: &Caller,
) -> Result<Value, Failure> {
    let index = find_own(world, call, caller)?;
    let key = &mut world.keys[index];
    if key.deletion.take().is_none() {
        let message = format!("{} is not pending deletion.", key.arn());
        return Err(Failure::new(400, "KMSInvalidStateException", message));
    }
    key.state = "Disabled".to_owned();
    Ok(json!({"KeyId": key.arn()}))
}

//! Owns KMS' operations.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::clock::epoch_seconds;
use emr_world::ids::parse_kms_arn;
use emr_world::policy::{self, Ask, Decision};
use emr_world::signing::{self, MessageToSign};
use emr_world::world::{Caller, Grant, Key, World};

pub(super) fn answer(world: &World, call: &Call, caller: &Caller) -> Answer {
    let output = match call.subject.operation.as_str() {
        "DescribeKey" => metadata(find(world, call, caller, true)?),
        "GetKeyPolicy" => {
            let key = find(world, call, caller, false)?;
            if key.account != caller.account {
                return Err(denied(call, caller));
            }
            json!({"Policy": key.policy.to_string(), "PolicyName": "default"})
        }
        "ListGrants" => {
            let key = find(world, call, caller, false)?;
            list_grants(key, call)?
        }
        "GetKeyRotationStatus" => {
            let key = find(world, call, caller, false)?;
            if key.spec != "SYMMETRIC_DEFAULT" {
                return Err(Failure::new(400, "UnsupportedOperationException", ""));
            }
            let mut status = json!({"KeyRotationEnabled": key.rotation, "KeyId": key.arn()});
            if key.rotation {
                let next = key.created + std::time::Duration::from_hours(365 * 24);
                status["NextRotationDate"] = Value::Number(epoch_seconds(next));
                status["RotationPeriodInDays"] = 365.into();
            }
            status
        }
        "GetPublicKey" => {
            let key = usable(world, call, caller)?;
            let public =
                key.material.as_deref().and_then(|material| signing::public(&key.spec, material));
            let public =
                public.ok_or_else(|| Failure::new(400, "UnsupportedOperationException", ""))?;
            json!({
                "KeyId": key.arn(),
                "PublicKey": STANDARD.encode(public),
                "CustomerMasterKeySpec": key.spec,
                "KeySpec": key.spec,
                "KeyUsage": key.usage,
                "SigningAlgorithms": signing::algorithms(&key.spec),
            })
        }
        "Sign" => sign(usable(world, call, caller)?, call)?,
        other => return Err(Failure::not_modelled(Service::Kms, other)),
    };
    Ok(Reply::json(&output))
}

/// One page of a key's grants, only those of the grantee if one is given.
fn list_grants(key: &Key, call: &Call) -> Result<Value, Failure> {
    let grantee = call.json["GranteePrincipal"].as_str();
    let limit = call.json["Limit"].as_u64().unwrap_or(50);
    let limit = usize::try_from(limit).ok().filter(|it| (1..=100).contains(it));
    let limit = limit.ok_or_else(|| {
        Failure::new(
            400,
            "ValidationException",
            "1 validation error detected: Value at 'limit' \
            failed to satisfy constraint: Member must have value less than or equal to 100",
        )
    })?;
    let start = call.json["Marker"].as_str().and_then(|it| it.strip_prefix("marker-"));
    let start = start.and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
    let all: Vec<&Grant> =
        key.grants.iter().filter(|it| grantee.is_none_or(|name| it.grantee == name)).collect();
    let page: Vec<Value> = all.iter().skip(start).take(limit).map(|it| grant(key, it)).collect();
    let end = start + page.len();
    let mut listed = json!({"Grants": page, "Truncated": end < all.len()});
    if end < all.len() {
        listed["NextMarker"] = format!("marker-{end}").into();
    }
    Ok(listed)
}

/// The usable key of a request, which may also name an alias.
fn usable<'a>(world: &'a World, call: &Call, caller: &Caller) -> Result<&'a Key, Failure> {
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

fn sign(key: &Key, call: &Call) -> Result<Value, Failure> {
    let invalid = |message: String| Failure::new(400, "ValidationException", message);
    let usage = |message: String| Failure::new(400, "InvalidKeyUsageException", message);
    let material = key.material.as_deref().filter(|_| key.usage == "SIGN_VERIFY");
    let material = material.ok_or_else(|| {
        usage(format!("{} key usage is {} which is not valid for Sign.", key.arn(), key.usage))
    })?;
    let algorithm = call.json["SigningAlgorithm"].as_str().unwrap_or_default();
    if !signing::algorithms(&key.spec).contains(&algorithm) {
        return Err(usage(format!(
            "Algorithm {algorithm} is incompatible with key spec {}.",
            key.spec
        )));
    }
    let bytes = STANDARD
        .decode(call.json["Message"].as_str().unwrap_or_default())
        .map_err(|error| invalid(error.to_string()))?;
    let message = match call.json["MessageType"].as_str() {
        Some("DIGEST") => MessageToSign::Digest(&bytes),
        None | Some("RAW") => MessageToSign::Raw(&bytes),
        Some(other) => return Err(invalid(format!("MessageType {other} is not modelled"))),
    };
    let signature = signing::sign(&key.spec, material, &message).map_err(invalid)?;
    Ok(json!({
        "KeyId": key.arn(), "Signature": STANDARD.encode(signature),
        "SigningAlgorithm": algorithm
    }))
}

/// The key of a request. `DescribeKey` and operations that use a key accept aliases.
fn find<'a>(
    world: &'a World,
    call: &Call,
    caller: &Caller,
    aliases: bool,
) -> Result<&'a Key, Failure> {
    let name = call.json["KeyId"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(Failure::new(
            400,
            "ValidationException",
            "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member \
             must have length greater than or equal to 1",
        ));
    }
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
            .filter(|key| policy_allows(key, call, caller))
            .ok_or_else(|| denied(call, caller));
    }
    found.ok_or_else(|| {
        not_found(if is_alias {
            format!("Alias arn:aws:kms:{region}:{account}:{short} is not found.")
        } else {
            format!("Key 'arn:aws:kms:{region}:{account}:key/{short}' does not exist")
        })
    })
}

fn policy_allows(key: &Key, call: &Call, caller: &Caller) -> bool {
    let context = policy::base_context(&caller.arn, &caller.account);
    let ask = Ask {
        action: &format!("kms:{}", call.subject.operation),
        resource: &key.arn(),
        context: &context,
    };
    policy::evaluate_resource(&key.policy, &ask, &caller.arn, &caller.account) == Decision::Allowed
}

fn denied(call: &Call, caller: &Caller) -> Failure {
    Failure::access_denied(Service::Kms, &call.subject.operation, &caller.arn)
}

fn metadata(key: &Key) -> Value {
    let symmetric = key.spec == "SYMMETRIC_DEFAULT";
    let mut metadata = json!({
        "AWSAccountId": key.account,
        "KeyId": key.id,
        "Arn": key.arn(),
        "CreationDate": epoch_seconds(key.created),
        "Enabled": key.state == "Enabled",
        "Description": key.description,
        "KeyUsage": key.usage,
        "KeyState": key.state,
        "Origin": "AWS_KMS",
        "KeyManager": key.manager,
        "CustomerMasterKeySpec": key.spec,
        "KeySpec": key.spec,
        "MultiRegion": key.multi_region,
    });
    if symmetric {
        metadata["EncryptionAlgorithms"] = json!(["SYMMETRIC_DEFAULT"]);
        metadata["CurrentKeyMaterialId"] = digest(&key.arn()).into();
    }
    if key.state == "PendingDeletion" {
        let deletion = key.created + std::time::Duration::from_hours(30 * 24);
        metadata["DeletionDate"] = Value::Number(epoch_seconds(deletion));
    }
    if key.multi_region {
        metadata["MultiRegionConfiguration"] = json!({
            "MultiRegionKeyType": "PRIMARY",
            "PrimaryKey": {"Arn": key.arn(), "Region": key.region},
            "ReplicaKeys": [],
        });
    }
    json!({"KeyMetadata": metadata})
}

/// 64 hexadecimal digits, the same for the same text.
fn digest(text: &str) -> String {
    let half = |part: &str| {
        let text = format!("{part} {text}");
        emr_world::object::etag(Some(text.as_bytes()), &[], &emr_world::sse::Sse::None, None)
    };
    half("first") + &half("second")
}

fn grant(key: &Key, grant: &Grant) -> Value {
    let mut listed = json!({
        "KeyId": key.arn(),
        "GrantId": digest(&format!("{grant:?}")),
        "Name": "",
        "CreationDate": epoch_seconds(key.created),
        "GranteePrincipal": grant.grantee,
        "IssuingAccount": format!("arn:aws:iam::{}:root", key.account),
        "Operations": grant.operations,
    });
    if let Some(constraints) = &grant.constraints {
        listed["Constraints"] = constraints.clone();
    }
    listed
}

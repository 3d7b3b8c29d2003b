//! Owns the list of a key's grants.

use serde_json::{Value, json};

use super::metadata::digest;
use super::request::page;
use crate::call::Call;
use crate::reply::Failure;
use emr_world::clock::epoch_seconds;
use emr_world::partition::partition_of;
use emr_world::world::{Grant, Key};

/// One page of a key's grants, only those of the grantee if one is given.
pub(super) fn list_grants(key: &Key, call: &Call) -> Result<Value, Failure> {
    let grantee = call.json["GranteePrincipal"].as_str();
    let all: Vec<&Grant> =
        key.grants.iter().filter(|it| grantee.is_none_or(|name| it.grantee == name)).collect();
    let (page, marker) = page(call, &all)?;
    let page: Vec<Value> = page.iter().map(|it| grant(key, it)).collect();
    let mut listed = json!({"Grants": page, "Truncated": marker.is_some()});
    if let Some(marker) = marker {
        listed["NextMarker"] = marker.into();
    }
    Ok(listed)
}

fn grant(key: &Key, grant: &Grant) -> Value {
    let mut listed = json!({
        "KeyId": key.arn(),
        "GrantId": digest(&format!("{grant:?}")),
        "Name": "",
        "CreationDate": epoch_seconds(key.created),
        "GranteePrincipal": grant.grantee,
        "IssuingAccount": format!("arn:{}:iam::{}:root", partition_of(&key.region), key.account),
        "Operations": grant.operations,
    });
    if let Some(constraints) = &grant.constraints {
        listed["Constraints"] = constraints.clone();
    }
    listed
}

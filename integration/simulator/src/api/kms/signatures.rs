//! Owns signatures with asymmetric keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::request::invalid;
use crate::call::Call;
use crate::reply::Failure;
use emr_world::signing::{self, MessageToSign};
use emr_world::world::Key;

pub(super) fn public_key(key: &Key) -> Result<Value, Failure> {
    let public = key.material.as_deref().and_then(|material| signing::public(&key.spec, material));
    let public = public.ok_or_else(|| Failure::new(400, "UnsupportedOperationException", ""))?;
    Ok(json!({
        "KeyId": key.arn(),
        "PublicKey": STANDARD.encode(public),
        "CustomerMasterKeySpec": key.spec,
        "KeySpec": key.spec,
        "KeyUsage": key.usage,
        "SigningAlgorithms": signing::algorithms(&key.spec),
    }))
}

pub(super) fn sign(key: &Key, call: &Call) -> Result<Value, Failure> {
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

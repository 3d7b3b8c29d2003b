//! Owns the description of a key.

use serde_json::{Value, json};

use emr_world::clock::epoch_seconds;
use emr_world::world::Key;

pub(super) fn metadata(key: &Key) -> Value {
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
    if let Some(deletion) = key.deletion {
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
pub(super) fn digest(text: &str) -> String {
    let half = |part: &str| {
        let text = format!("{part} {text}");
        emr_world::object::etag(Some(text.as_bytes()), &[], &emr_world::sse::Sse::None, None)
    };
    half("first") + &half("second")
}

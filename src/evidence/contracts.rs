//! Makes one of this module's AWS calls, by the call's name in AWS, for the contract tests.

use serde_json::{Value, json};

use crate::{
    aws::clients::Aws,
    base::digest::sha256,
    contracts::about::About,
    evidence::{
        destination::{DestinationAccess, RequiredEncryption},
        keys::Signer,
        signed_report::SignedReport,
    },
    settings::destination::Destination,
};

/// The message to sign.
const MESSAGE: &[u8] = b"a message";

/// The result of the call; none if this module does not make it.
pub(crate) async fn ask(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    match operation {
        "GetPublicKey" | "Sign" => {
            let signer = match Signer::kms(&aws.kms, about.text("key")).await {
                Ok(signer) => signer,
                Err(error) => return Some(error.to_string().into()),
            };
            if operation == "GetPublicKey" {
                return Some(json!({"key_id": signer.public().id()}));
            }
            Some(match signer.sign(MESSAGE).await {
                Ok(_) => json!({"signature": "verified"}),
                Err(error) => error.to_string().into(),
            })
        }
        // An existing object is read and compared.
        "PutObject" | "GetObject" => {
            let place = format!("s3://{}/evidence", about.text("bucket"));
            let place: Destination = place.parse().unwrap();
            let policy = json!({
                "require": [], "accept_encryption": ["SSE-S3", "SSE-KMS"], "expected_keys": [],
                "external_buckets": [], "advise": [], "enforce": [], "certificate_days": 0,
                "data_objects": 0, "exceptions": [],
            });
            let policy = serde_json::from_value(policy).unwrap();
            let required = RequiredEncryption::of(&policy, None);
            let way = DestinationAccess { aws, protection: &required };
            let document = about.text("document").to_owned();
            let started = time::macros::datetime!(2026-11-25 15:02:07 UTC);
            let report = SignedReport::new("run", started, 0, None, document);
            Some(match place.deliver(&report, Some(way)).await {
                Ok(()) => json!({"delivered": sha256(about.text("document"))}),
                Err(why) => why.into(),
            })
        }
        _ => None,
    }
}

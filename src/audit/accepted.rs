//! The encryption that an audit accepts, with the policy's keys resolved by KMS.

use crate::{
    audit::error::AuditError,
    aws::clients::Aws,
    base::{lookup::Lookup, names::KeyReference},
    checks::stored::Standard,
    facts::kms,
    settings::policy::Policy,
};

/// The encryption that the policy accepts. Its keys are given by their ARNs, as objects name them.
pub(crate) async fn accepted_encryption(
    aws: &Aws,
    policy: &Policy,
) -> Result<Standard, AuditError> {
    let mut keys = Vec::new();
    for expected in &policy.expected_keys {
        let described = kms::describe(&aws.kms, &KeyReference::new(expected)).await;
        keys.push(match described {
            Lookup::Found(key) => key.arn.to_string(),
            _ if expected.starts_with("arn:") && expected.contains(":key/") => expected.clone(),
            Lookup::Absent => {
                let region = aws
                    .kms
                    .config()
                    .region()
                    .map_or_else(String::new, |region| format!(" in {region}"));
                let why = format!(
                    "there is no KMS key {expected}{region}, and the policy expects it (setting \
                     `expected_keys`); name it by its ARN, or its region in AWS_REGION"
                );
                return Err(AuditError::Unusable(why));
            }
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                let why = format!(
                    "which key {expected} is (setting `expected_keys`) is unknown: \
                    {}; {}",
                    obstacle.message, obstacle.operation
                );
                return Err(AuditError::Unusable(why));
            }
        });
    }
    Ok(Standard::with_arns(policy, keys))
}

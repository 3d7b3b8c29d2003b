//! The encryption that an audit accepts, with the policy's keys resolved by KMS.

use crate::{
    audit::error::AuditError,
    aws::clients::Aws,
    base::{
        lookup::{Lookup, LookupErrorKind},
        names::KeyReference,
    },
    checks::stored::Standard,
    facts::{kms, sts::NoAccess},
    settings::{aws_options::CredentialSource, policy::Policy},
};

/// The encryption that the policy accepts. Its keys are given by their ARNs, as objects name them.
pub(crate) async fn accepted_encryption(
    aws: &Aws,
    policy: &Policy,
    source: CredentialSource,
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
                let what = format!("which key {expected} is (setting `expected_keys`)");
                return Err(match NoAccess::by(&obstacle, aws, source).await {
                    Some(error) if obstacle.kind == LookupErrorKind::Denied => {
                        error.unseen(&what).or("or name the key by its ARN").into()
                    }
                    Some(error) => error.unseen(&what).into(),
                    None => AuditError::Unusable(format!(
                        "{what} is unknown: {}; {}",
                        obstacle.message, obstacle.operation
                    )),
                });
            }
        });
    }
    Ok(Standard::with_arns(policy, keys))
}

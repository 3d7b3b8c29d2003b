//! Owns S3's public access blocks, and which policies are public.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::{statements, texts};

/// A public access block. A setting that a request does not name is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "S3 has these four settings")]
pub struct PublicAccessBlock {
    /// `BlockPublicAcls`
    pub block_public_acls: bool,
    /// `IgnorePublicAcls`
    pub ignore_public_acls: bool,
    /// `BlockPublicPolicy`
    pub block_public_policy: bool,
    /// `RestrictPublicBuckets`
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// All four settings on, or off.
    #[must_use]
    pub fn all(on: bool) -> Self {
        Self {
            block_public_acls: on,
            ignore_public_acls: on,
            block_public_policy: on,
            restrict_public_buckets: on,
        }
    }

    /// Each setting with the name of its XML element.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, bool); 4] {
        [
            ("BlockPublicAcls", self.block_public_acls),
            ("IgnorePublicAcls", self.ignore_public_acls),
            ("BlockPublicPolicy", self.block_public_policy),
            ("RestrictPublicBuckets", self.restrict_public_buckets),
        ]
    }
}

/// Whether S3 calls a bucket policy public: a statement allows something to everybody, without a
/// condition that limits the callers to fixed values. Source: Amazon S3 user guide, Blocking public
/// access to your Amazon S3 storage, The meaning of "public".
#[must_use]
pub fn is_public(policy: &Value) -> bool {
    statements(policy).iter().any(|statement| {
        statement["Effect"] == "Allow" && is_for_everybody(statement) && !is_limited(statement)
    })
}

fn is_for_everybody(statement: &Value) -> bool {
    let everybody = |names: &Value| match names {
        Value::String(name) => name == "*",
        names => texts(&names["AWS"]).iter().any(|name| name == "*"),
    };
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(names), _) => everybody(names),
        (None, not) => not.is_some(),
    }
}

/// Conditions are all required, so one limit is enough.
fn is_limited(statement: &Value) -> bool {
    const LIMITING: [&str; 16] = [
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceip",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "aws:vpcsourceip",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "aws:sourceorgid",
    ];
    // A negated test excludes some callers, and admits all others; so does one that a missing key
    // passes.
    let is_fixed = |operator: &str| {
        let plain = operator.strip_prefix("ForAnyValue:").unwrap_or(operator);
        matches!(plain, "StringEquals" | "StringLike" | "ArnEquals" | "ArnLike" | "IpAddress")
            || plain == "StringEqualsIgnoreCase"
    };
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.filter(|(operator, _)| is_fixed(operator)).any(|(_, tests)| {
        tests.as_object().into_iter().flatten().any(|(key, values)| {
            let values = texts(values);
            LIMITING.contains(&key.to_ascii_lowercase().as_str())
                && !values.is_empty()
                && values.iter().all(|value| is_fixed_value(value))
        })
    })
}

/// A value with a wildcard or a variable in it is not fixed; an address range is, unless it is
/// large.
fn is_fixed_value(value: &str) -> bool {
    if let Some((_, bits)) = value.split_once('/')
        && let Ok(bits) = bits.parse::<u8>()
    {
        return bits >= if value.contains(':') { 32 } else { 8 };
    }
    // A pattern for an ARN may leave its last part open.
    let owner = match value.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, _, _, account, _] if !account.is_empty() => (*account).to_owned(),
        _ => value.to_owned(),
    };
    !owner.contains(['*', '?']) && !owner.contains("${")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::is_public;

    fn to(principal: &Value, condition: &Value) -> Value {
        json!({"Statement": {
            "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "*",
            "Condition": condition,
        }})
    }

    #[test]
    fn a_policy_is_public_where_nothing_fixed_limits_who_may() {
        assert!(is_public(&to(&json!("*"), &json!({}))));
        assert!(is_public(&to(&json!({"AWS": ["*"]}), &json!({}))));
        let bool_only = json!({"Bool": {"aws:SecureTransport": "true"}});
        assert!(is_public(&to(&json!("*"), &bool_only)));
        let anywhere = json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}});
        assert!(is_public(&to(&json!("*"), &anywhere)));
        let pattern = json!({"StringLike": {"aws:SourceVpc": "vpc-91237329*"}});
        assert!(is_public(&to(&json!("*"), &pattern)));
        let others = json!({"StringNotEquals": {"aws:SourceVpc": "vpc-1"}});
        assert!(is_public(&to(&json!("*"), &others)));
        let denies = json!({"Statement": [{
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"
        }]});
        assert!(!is_public(&denies));
    }

    #[test]
    fn a_policy_for_named_callers_is_not_public() {
        assert!(!is_public(&to(&json!({"AWS": "arn:aws:iam::123456789012:root"}), &json!({}))));
        assert!(!is_public(&to(&json!({"Service": "cloudtrail.amazonaws.com"}), &json!({}))));
        let vpc = json!({"StringEquals": {"aws:SourceVpc": "vpc-91237329"}});
        assert!(!is_public(&to(&json!("*"), &vpc)));
        let organisation = json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}});
        assert!(!is_public(&to(&json!("*"), &organisation)));
        let role = json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/*"}});
        assert!(!is_public(&to(&json!("*"), &role)));
    }
}

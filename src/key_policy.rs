//! What a KMS key policy says of one role: a small, cautious reading. What it does not evaluate it calls `Unclear`, never allowed.
//!
//! Rules: an explicit deny wins; a statement may name the role, its account (which leaves the decision to IAM), or everyone.
//! Source: AWS KMS developer guide, "Key policies in AWS KMS" and "Default key policy".

use serde::Serialize;
use serde_json::Value;

/// What a key's policy says of one role and action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPolicyDecision {
    /// It allows the role itself.
    AllowsRole,
    /// It leaves the decision to the account's IAM policies.
    DelegatesToAccount,
    /// Nothing in it allows the role.
    Silent,
    /// It denies the role.
    Denies,
    /// A statement that could apply has conditions or forms that this program does not evaluate.
    Unclear,
}

/// Decides for `role` (an IAM role's ARN) and `action`, from the policy's JSON text.
pub(crate) fn decide(policy: &str, role: &str, action: &str) -> KeyPolicyDecision {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return KeyPolicyDecision::Unclear };
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return KeyPolicyDecision::Unclear,
    };
    let account = role.split(':').nth(4).unwrap_or_default();
    let mut decision = KeyPolicyDecision::Silent;
    let mut unclear_deny = false;
    for statement in statements {
        let applies = applies(statement, role, account, action);
        match (statement.get("Effect").and_then(Value::as_str), applies) {
            (_, Applies::No) => {}
            (Some("Deny"), Applies::ToRole | Applies::ToAccount) => return KeyPolicyDecision::Denies,
            (Some("Deny"), Applies::Perhaps) => unclear_deny = true,
            (Some("Allow"), Applies::ToRole) => decision = KeyPolicyDecision::AllowsRole,
            (Some("Allow"), Applies::ToAccount) if decision != KeyPolicyDecision::AllowsRole => {
                decision = KeyPolicyDecision::DelegatesToAccount;
            }
            (Some("Allow"), Applies::Perhaps) if decision == KeyPolicyDecision::Silent => decision = KeyPolicyDecision::Unclear,
            (Some("Allow"), _) => {}
            _ => return KeyPolicyDecision::Unclear,
        }
    }
    if unclear_deny { KeyPolicyDecision::Unclear } else { decision }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applies {
    No,
    ToRole,
    ToAccount,
    Perhaps,
}

fn applies(statement: &Value, role: &str, account: &str, action: &str) -> Applies {
    if statement.get("NotAction").is_some() || statement.get("NotPrincipal").is_some() {
        return Applies::Perhaps;
    }
    if !texts(statement.get("Action")).iter().any(|pattern| fits(pattern, action)) {
        return Applies::No;
    }
    let principals = match statement.get("Principal") {
        Some(Value::String(everyone)) => vec![everyone.as_str()],
        Some(Value::Object(kinds)) => kinds.get("AWS").map(|aws| texts(Some(aws))).unwrap_or_default(),
        _ => return Applies::Perhaps,
    };
    let is_account = |principal: &str| principal == account || (principal.ends_with(&format!(":{account}:root")) && principal.starts_with("arn:"));
    let applies = if principals.iter().any(|principal| *principal == "*" || *principal == role) {
        Applies::ToRole
    } else if principals.iter().any(|principal| is_account(principal)) {
        Applies::ToAccount
    } else {
        Applies::No
    };
    // Conditions (kms:ViaService, encryption context, …) depend on the request; they are not evaluated here.
    let conditional = statement.get("Condition").is_some_and(|condition| condition.as_object().is_none_or(|map| !map.is_empty()));
    if conditional && applies != Applies::No { Applies::Perhaps } else { applies }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether an action pattern with `*` and `?` fits `action`; IAM actions ignore case.
fn fits(pattern: &str, action: &str) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => matches(&pattern[1..], text) || (!text.is_empty() && matches(pattern, &text[1..])),
            (Some(b'?'), Some(_)) => matches(&pattern[1..], &text[1..]),
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b) && matches(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    matches(pattern.as_bytes(), action.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROLE: &str = "arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole";

    #[expect(clippy::needless_pass_by_value, reason = "reads better with json! in place")]
    fn decide(statements: Value) -> KeyPolicyDecision {
        super::decide(&json!({ "Statement": statements }).to_string(), ROLE, "kms:GenerateDataKey")
    }

    #[test]
    fn the_default_key_policy_leaves_the_decision_to_iam() {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"});
        assert_eq!(decide(json!([statement])), KeyPolicyDecision::DelegatesToAccount);
        assert_eq!(decide(statement), KeyPolicyDecision::DelegatesToAccount);
    }

    #[test]
    fn a_role_named_by_the_policy_is_allowed_by_it() {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": [ROLE]}, "Action": ["kms:Decrypt", "kms:generatedatakey*"]});
        assert_eq!(decide(json!([statement])), KeyPolicyDecision::AllowsRole);
    }

    #[test]
    fn a_deny_wins_wherever_it_stands() {
        let allow = json!({"Effect": "Allow", "Principal": "*", "Action": "kms:*"});
        let deny = json!({"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:Generate*"});
        assert_eq!(decide(json!([allow, deny])), KeyPolicyDecision::Denies);
        assert_eq!(decide(json!([deny, allow])), KeyPolicyDecision::Denies);
    }

    #[test]
    fn other_roles_accounts_and_actions_do_not_count() {
        for statement in [
            json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "kms:*"}),
            json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:role/Other"}, "Action": "kms:*"}),
            json!({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt"}),
            json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "kms:*"}),
        ] {
            assert_eq!(decide(json!([statement])), KeyPolicyDecision::Silent);
        }
    }

    #[test]
    fn what_is_not_evaluated_is_unclear_and_never_allowed() {
        let conditional = json!({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*", "Condition": {"StringEquals": {"kms:ViaService": "ec2.eu-west-1.amazonaws.com"}}});
        assert_eq!(decide(json!([conditional])), KeyPolicyDecision::Unclear);
        let allow = json!({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*"});
        let deny = json!({"Effect": "Deny", "Principal": "*", "NotAction": "kms:Describe*"});
        assert_eq!(decide(json!([allow, deny])), KeyPolicyDecision::Unclear);
        assert_eq!(super::decide("not json", ROLE, "kms:GenerateDataKey"), KeyPolicyDecision::Unclear);
    }
}

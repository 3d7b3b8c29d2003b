//! Decides a request by a resource policy (of a bucket or a key), with caution: what cannot be
//! decided is `Unclear`, never allowed.
//!
//! Rules: an explicit deny wins; a statement applies if principal, action, resource and every
//! condition match. A negated condition matches if the request lacks the key, which is how policies
//! deny uploads without an encryption header. Source: AWS IAM user guide, "Policy evaluation
//! logic", "IAM JSON policy elements"; AWS KMS developer guide, "Key policies in AWS KMS".

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::wildcard::fits;

/// A request, as far as it is known before it is made.
#[derive(Clone, Debug)]
pub(crate) struct AccessRequest<'a> {
    /// The ARN of the role or user that makes it.
    pub(crate) caller: &'a str,
    /// `s3:PutObject`.
    pub(crate) action: &'a str,
    /// The ARN of the resource; `None` for key policies, which apply to their own key.
    pub(crate) resource: Option<&'a str>,
    /// Condition keys in lower case with their values; `None` if the request certainly lacks the
    /// key. A key that is not in the map is unknown.
    pub(crate) context: BTreeMap<&'a str, Option<&'a str>>,
}

/// The decision of a policy about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyDecision {
    /// A statement denies it: its `Sid`, or its number.
    Denies(String),
    /// A statement allows it for the caller itself, or for everyone.
    AllowsCaller,
    /// A statement allows it for the caller's account, so IAM policies decide.
    DelegatesToAccount,
    /// No statement applies.
    Silent,
    /// This statement may apply, but has parts that are not evaluated.
    Unclear(String),
}

/// Whether a condition or statement applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ConditionResult {
    No,
    Maybe,
    Yes,
}

impl ConditionResult {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}

/// Decides `request` by the policy in JSON.
pub(crate) fn decide(policy: &str, request: &AccessRequest<'_>) -> PolicyDecision {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else {
        return PolicyDecision::Unclear("the policy is not JSON".to_owned());
    };
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return PolicyDecision::Unclear("the policy has no statements".to_owned()),
    };
    let mut decision = PolicyDecision::Silent;
    let mut unclear = None;
    for (index, statement) in statements.into_iter().enumerate() {
        let name = || {
            statement["Sid"]
                .as_str()
                .filter(|sid| !sid.is_empty())
                .map_or_else(|| format!("statement {}", index + 1), str::to_owned)
        };
        let (who, applies) = applies(statement, request);
        match (statement["Effect"].as_str(), applies) {
            (_, ConditionResult::No) => {}
            (Some("Deny"), ConditionResult::Yes) => return PolicyDecision::Denies(name()),
            (Some("Allow"), ConditionResult::Yes) => match (who, &decision) {
                (PrincipalMatch::Account, PolicyDecision::AllowsCaller) => {}
                (PrincipalMatch::Account, _) => decision = PolicyDecision::DelegatesToAccount,
                (PrincipalMatch::Caller, _) => decision = PolicyDecision::AllowsCaller,
            },
            // An undecided allow changes nothing if another statement allows the request. An
            // undecided deny does.
            (Some("Allow"), ConditionResult::Maybe) if decision != PolicyDecision::Silent => {}
            (Some("Allow"), ConditionResult::Maybe) => decision = PolicyDecision::Unclear(name()),
            (_, _) => unclear = Some(PolicyDecision::Unclear(name())),
        }
    }
    unclear.unwrap_or(decision)
}

/// How a statement's principal matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PrincipalMatch {
    Caller,
    Account,
}

fn applies(statement: &Value, request: &AccessRequest<'_>) -> (PrincipalMatch, ConditionResult) {
    let (who, principal) = principal(statement, request.caller);
    let action = either(statement, "Action", "NotAction", |pattern| {
        ConditionResult::of(fits(
            &pattern.to_ascii_lowercase(),
            &request.action.to_ascii_lowercase(),
        ))
    });
    let resource = match request.resource {
        None => ConditionResult::Yes,
        Some(resource) => either(statement, "Resource", "NotResource", |pattern| {
            if pattern.contains("${") {
                ConditionResult::Maybe
            } else {
                ConditionResult::of(fits(pattern, resource))
            }
        }),
    };
    let condition = condition(&statement["Condition"], &request.context);
    (who, principal.min(action).min(resource).min(condition))
}

/// Evaluates an element or its negation, whichever the statement has. If it has neither, the result
/// is undecided.
fn either(
    statement: &Value,
    element: &str,
    negated: &str,
    fits: impl Fn(&str) -> ConditionResult,
) -> ConditionResult {
    let any = |value: &Value| {
        texts(value).map_or(ConditionResult::Maybe, |patterns| {
            patterns.into_iter().map(&fits).max().unwrap_or(ConditionResult::No)
        })
    };
    match (statement.get(element), statement.get(negated)) {
        (Some(patterns), None) => any(patterns),
        (None, Some(patterns)) => any(patterns).not(),
        _ => ConditionResult::Maybe,
    }
}

fn principal(statement: &Value, caller: &str) -> (PrincipalMatch, ConditionResult) {
    if let Some(excepted) = statement.get("NotPrincipal") {
        let named = excepted
            .get("AWS")
            .and_then(texts)
            .is_some_and(|principals| principals.contains(&caller));
        return (
            PrincipalMatch::Caller,
            if named { ConditionResult::No } else { ConditionResult::Maybe },
        );
    }
    let account = caller.split(':').nth(4).unwrap_or_default();
    let principals = match statement.get("Principal") {
        Some(Value::String(everyone)) => vec![everyone.as_str()],
        Some(Value::Object(kinds)) => match kinds.get("AWS").map(texts) {
            None if kinds.contains_key("CanonicalUser") => {
                return (PrincipalMatch::Caller, ConditionResult::Maybe);
            }
            None => Vec::new(),
            Some(Some(principals)) => principals,
            Some(None) => return (PrincipalMatch::Caller, ConditionResult::Maybe),
        },
        _ => return (PrincipalMatch::Caller, ConditionResult::Maybe),
    };
    let is_account = |principal: &&str| {
        *principal == account
            || (principal.starts_with("arn:") && principal.ends_with(&format!(":{account}:root")))
    };
    if principals.iter().any(|principal| *principal == "*" || *principal == caller) {
        (PrincipalMatch::Caller, ConditionResult::Yes)
    } else if principals.iter().any(|principal| is_session_of(principal, caller)) {
        // The name of the caller's session is unknown.
        (PrincipalMatch::Caller, ConditionResult::Maybe)
    } else {
        (PrincipalMatch::Account, ConditionResult::of(principals.iter().any(is_account)))
    }
}

/// Whether `principal` is a session of the role `caller`.
fn is_session_of(principal: &str, caller: &str) -> bool {
    let role = caller.rsplit('/').next().unwrap_or_default();
    let account = caller.split(':').nth(4).unwrap_or_default();
    caller.contains(":role/") && principal.contains(&format!("::{account}:assumed-role/{role}/"))
}

fn condition(condition: &Value, context: &BTreeMap<&str, Option<&str>>) -> ConditionResult {
    match condition {
        Value::Null => ConditionResult::Yes,
        Value::Object(operators) => operators
            .iter()
            .flat_map(|(operator, keys)| match keys.as_object() {
                Some(keys) => {
                    keys.iter().map(|(key, wanted)| test(operator, key, wanted, context)).collect()
                }
                None => vec![ConditionResult::Maybe],
            })
            .min()
            .unwrap_or(ConditionResult::Yes),
        _ => ConditionResult::Maybe,
    }
}

fn test(
    operator: &str,
    key: &str,
    wanted: &Value,
    context: &BTreeMap<&str, Option<&str>>,
) -> ConditionResult {
    let Some(found) = context.get(key.to_ascii_lowercase().as_str()) else {
        return ConditionResult::Maybe;
    };
    let Some(wanted) =
        texts(wanted).filter(|wanted| !wanted.iter().any(|value| value.contains("${")))
    else {
        return ConditionResult::Maybe;
    };
    let (every, plain) = match operator.split_once(':') {
        Some(("ForAllValues", plain)) => (true, plain),
        Some(("ForAnyValue", plain)) => (false, plain),
        Some(_) => return ConditionResult::Maybe,
        None => (false, operator),
    };
    if plain == "Null" {
        return ConditionResult::of(wanted.iter().any(|value| {
            value.eq_ignore_ascii_case(if found.is_none() { "true" } else { "false" })
        }));
    }
    let (plain, if_exists) =
        plain.strip_suffix("IfExists").map_or((plain, false), |plain| (plain, true));
    let (compare, negated): (fn(&str, &str) -> bool, bool) = match plain {
        "StringEquals" => (|wanted, found| wanted == found, false),
        "StringNotEquals" => (|wanted, found| wanted == found, true),
        "StringEqualsIgnoreCase" => (|wanted, found| wanted.eq_ignore_ascii_case(found), false),
        "StringNotEqualsIgnoreCase" => (|wanted, found| wanted.eq_ignore_ascii_case(found), true),
        "StringLike" | "ArnLike" | "ArnEquals" => (fits, false),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (fits, true),
        "Bool" => (|wanted, found| wanted.eq_ignore_ascii_case(found), false),
        _ => return ConditionResult::Maybe,
    };
    match found {
        None => ConditionResult::of(if_exists || every || negated),
        Some(found) => {
            ConditionResult::of(wanted.iter().any(|wanted| compare(wanted, found)) != negated)
        }
    }
}

/// One text or a list of texts (booleans count as texts); `None` for anything else.
fn texts(value: &Value) -> Option<Vec<&str>> {
    let text = |value: &'_ Value| match value {
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        _ => None,
    };
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().or_else(|| text(item))).collect()
        }
        other => text(other).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ROLE: &str = "arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole";

    #[expect(clippy::needless_pass_by_value, reason = "reads better with json! in place")]
    fn key(statements: Value) -> PolicyDecision {
        let context = BTreeMap::from([("kms:viaservice", Some("s3.eu-west-1.amazonaws.com"))]);
        decide(
            &json!({ "Statement": statements }).to_string(),
            &AccessRequest { caller: ROLE, action: "kms:GenerateDataKey", resource: None, context },
        )
    }

    /// A `PutObject` with this encryption header.
    #[expect(clippy::needless_pass_by_value, reason = "reads better with json! in place")]
    fn put(statements: Value, header: Option<&str>) -> PolicyDecision {
        let context = BTreeMap::from([
            ("s3:x-amz-server-side-encryption", header),
            ("s3:x-amz-server-side-encryption-aws-kms-key-id", None),
            ("aws:securetransport", Some("true")),
        ]);
        let request = AccessRequest {
            caller: ROLE,
            action: "s3:PutObject",
            resource: Some("arn:aws:s3:::acme-out/enriched/good/part-1"),
            context,
        };
        decide(&json!({ "Statement": statements }).to_string(), &request)
    }

    fn denies(sid: &str) -> PolicyDecision {
        PolicyDecision::Denies(sid.to_owned())
    }

    #[test]
    fn the_default_key_policy_leaves_the_decision_to_iam() {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"});
        assert_eq!(key(json!([statement])), PolicyDecision::DelegatesToAccount);
        assert_eq!(key(statement), PolicyDecision::DelegatesToAccount);
    }

    #[test]
    fn a_role_named_by_the_policy_is_allowed_by_it() {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": [ROLE]}, "Action": ["kms:Decrypt", "kms:generatedatakey*"]});
        assert_eq!(key(json!([statement])), PolicyDecision::AllowsCaller);
    }

    #[test]
    fn a_deny_wins_wherever_it_stands() {
        let allow = json!({"Effect": "Allow", "Principal": "*", "Action": "kms:*"});
        let deny = json!({"Sid": "No", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:Generate*"});
        assert_eq!(key(json!([allow, deny])), denies("No"));
        assert_eq!(key(json!([deny, allow])), denies("No"));
    }

    #[test]
    fn other_roles_accounts_and_actions_do_not_count() {
        for statement in [
            json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "kms:*"}),
            json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:role/Other"}, "Action": "kms:*"}),
            json!({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt"}),
            json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "kms:*"}),
        ] {
            assert_eq!(key(json!([statement])), PolicyDecision::Silent);
        }
    }

    #[test]
    fn a_condition_on_what_is_known_is_decided_and_one_on_what_is_not_is_unclear() {
        let with = |condition: Value| {
            key(
                json!([{"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*", "Condition": condition}]),
            )
        };
        assert_eq!(
            with(json!({"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}})),
            PolicyDecision::AllowsCaller
        );
        assert_eq!(
            with(json!({"StringEquals": {"kms:ViaService": "ec2.eu-west-1.amazonaws.com"}})),
            PolicyDecision::Silent
        );
        for unclear in [
            json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            json!({"NumericLessThan": {"kms:ViaService": "1"}}),
            json!("x"),
        ] {
            assert!(matches!(with(unclear), PolicyDecision::Unclear(_)));
        }
        let allow = json!({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*"});
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}});
        assert_eq!(key(json!([allow, deny])), PolicyDecision::Unclear("statement 2".to_owned()));
        let excepted = json!({"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "kms:*"});
        assert_eq!(key(json!([allow, excepted])), PolicyDecision::AllowsCaller);
        let request = AccessRequest {
            caller: ROLE,
            action: "kms:Decrypt",
            resource: None,
            context: BTreeMap::new(),
        };
        assert!(matches!(decide("not json", &request), PolicyDecision::Unclear(_)));
    }

    #[test]
    fn policies_that_demand_encryption_headers_deny_what_does_not_send_them() {
        // As in the Amazon S3 user guide and AWS's security blog.
        let demands_kms = json!([{"Sid": "DenyIncorrectEncryptionHeader", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::acme-out/*", "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}}]);
        assert_eq!(
            put(demands_kms.clone(), Some("AES256")),
            denies("DenyIncorrectEncryptionHeader")
        );
        assert_eq!(put(demands_kms.clone(), None), denies("DenyIncorrectEncryptionHeader"));
        assert_eq!(put(demands_kms, Some("aws:kms")), PolicyDecision::Silent);
        let demands_any = json!([{"Sid": "DenyUnencryptedObjectUploads", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::acme-out/*", "Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}}}]);
        assert_eq!(put(demands_any.clone(), None), denies("DenyUnencryptedObjectUploads"));
        assert_eq!(put(demands_any, Some("AES256")), PolicyDecision::Silent);
        let if_exists = json!([{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*",
            "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "aws:kms"}}}]);
        assert_eq!(put(if_exists, Some("AES256")), denies("statement 1"));
        let elsewhere = json!([{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::acme-out/raw/*"}]);
        assert_eq!(put(elsewhere, None), PolicyDecision::Silent);
        let tls = json!([{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::acme-out", "arn:aws:s3:::acme-out/*"], "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]);
        assert_eq!(put(tls, None), PolicyDecision::Silent);
    }

    #[test]
    fn patterns_fit_as_iam_fits_them() {
        for (pattern, text, holds) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*", "b", false),
            ("", "a", false),
            ("a**", "a", true),
        ] {
            assert_eq!(fits(pattern, text), holds, "{pattern} {text}");
        }
    }

    fn any_statement() -> impl Strategy<Value = Value> {
        let principal = prop::sample::select(vec![
            json!("*"),
            json!({"AWS": ROLE}),
            json!({"AWS": "123456789012"}),
            json!({"Service": "x"}),
            json!(1),
        ]);
        let action = prop::sample::select(vec!["kms:*", "kms:Decrypt", "kms:Generate*"]);
        let condition = prop::sample::select(vec![
            json!({}),
            json!({"Bool": {"x": true}}),
            json!({"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}),
        ]);
        (prop::sample::select(vec!["Allow", "Deny"]), principal, action, condition).prop_map(
            |(effect, principal, action, condition)| json!({"Effect": effect, "Principal": principal, "Action": action, "Condition": condition}),
        )
    }

    proptest! {
        #[test]
        fn one_more_denial_never_makes_a_policy_more_permissive(statements in prop::collection::vec(any_statement(), 0..5), denial in any_statement()) {
            let allows = |decision: &PolicyDecision| matches!(decision, PolicyDecision::AllowsCaller | PolicyDecision::DelegatesToAccount);
            let before = key(json!(statements));
            let mut more = statements;
            let mut denial = denial;
            denial["Effect"] = json!("Deny");
            more.push(denial);
            prop_assert!(!allows(&key(json!(more))) || allows(&before));
        }
    }
}

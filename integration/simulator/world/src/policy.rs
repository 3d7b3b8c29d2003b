//! Owns the evaluation of IAM and bucket policies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::partition::partition_of_arn;

/// Condition keys and the values a request has for them.
pub type Context = BTreeMap<String, Vec<String>>;

/// The request that a policy is evaluated for.
pub struct Ask<'a> {
    /// `s3:GetObject`, …
    pub action: &'a str,
    /// The ARN.
    pub resource: &'a str,
    /// The context for conditions.
    pub context: &'a Context,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// No statement applies.
    ImplicitDeny,
    /// A statement denies it.
    ExplicitDeny,
}

impl Decision {
    /// The name in the policy simulator of IAM.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::ImplicitDeny => "implicitDeny",
            Self::ExplicitDeny => "explicitDeny",
        }
    }

    /// Combines two decisions on one request: a deny has precedence, then an allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::ExplicitDeny || other == Self::ExplicitDeny {
            Self::ExplicitDeny
        } else if self == Self::Allowed || other == Self::Allowed {
            Self::Allowed
        } else {
            Self::ImplicitDeny
        }
    }
}

/// The context of every request: requests to the simulator count as sent over TLS.
pub fn base_context(principal: &str, account: &str) -> Context {
    let one = |key: &str, value: &str| (key.to_owned(), vec![value.to_owned()]);
    BTreeMap::from([
        one("aws:SecureTransport", "true"),
        one("aws:PrincipalArn", &role_of_session(principal)),
        one("aws:PrincipalAccount", account),
    ])
}

/// Evaluates one identity policy (statements without principals).
pub fn evaluate_identity(document: &Value, ask: &Ask<'_>) -> Decision {
    evaluate(document, ask, |_| true)
}

/// Evaluates a bucket or key policy for this principal.
pub fn evaluate_resource(
    document: &Value,
    ask: &Ask<'_>,
    principal: &str,
    account: &str,
) -> Decision {
    // A role's ARN has the role's path, which the ARN of its session does not have.
    let role = match lookup(ask.context, "aws:PrincipalArn") {
        Some([role, ..]) => role.clone(),
        _ => role_of_session(principal),
    };
    evaluate(document, ask, |statement| principal_matches(statement, principal, &role, account))
}

/// Evaluates a role's trust policy for this principal. Its statements have no resource, which is
/// the role itself.
pub fn evaluate_trust(document: &Value, ask: &Ask<'_>, principal: &str, account: &str) -> Decision {
    let mut document = document.clone();
    let statements = match &mut document["Statement"] {
        Value::Array(list) => list.iter_mut().collect(),
        one => vec![one],
    };
    for statement in statements {
        statement["Resource"] = ask.resource.into();
    }
    evaluate_resource(&document, ask, principal, account)
}

/// Evaluates the policy of a resource for a service of AWS, by its principal's name.
pub fn evaluate_service(document: &Value, ask: &Ask<'_>, service: &str) -> Decision {
    let is_it = |value: &Value| match value {
        Value::String(all) => all == "*",
        Value::Object(kinds) => {
            let has = |kind: &str, name: &str| {
                kinds.get(kind).is_some_and(|names| texts(names).iter().any(|it| it == name))
            };
            has("Service", service) || has("AWS", "*")
        }
        _ => false,
    };
    evaluate(document, ask, |statement| {
        match (statement.get("Principal"), statement.get("NotPrincipal")) {
            (Some(names), _) => is_it(names),
            (None, Some(names)) => !is_it(names),
            (None, None) => false,
        }
    })
}

fn evaluate(document: &Value, ask: &Ask<'_>, for_principal: impl Fn(&Value) -> bool) -> Decision {
    let mut decision = Decision::ImplicitDeny;
    for statement in statements(document) {
        let applies = for_principal(statement)
            && is_about(statement, ask)
            && conditions_hold(statement, ask.context);
        if !applies {
            continue;
        }
        if statement["Effect"] == "Deny" {
            return Decision::ExplicitDeny;
        }
        decision = Decision::Allowed;
    }
    decision
}

/// The result of IAM's simulator for an organisation's policies, which must all allow a request. It
/// does not evaluate a statement with a condition on a global key, such as `aws:RequestedRegion`,
/// and returns a denial then.
pub fn organization_allows(documents: &[Value], ask: &Ask<'_>) -> bool {
    let is_global = |it: &Value| {
        let tests = it["Condition"].as_object().into_iter().flat_map(|it| it.values());
        let keys = tests.filter_map(Value::as_object).flat_map(|test| test.keys());
        keys.into_iter().any(|key| key.to_ascii_lowercase().starts_with("aws:"))
    };
    documents.iter().all(|document| {
        let is_blind = statements(document).iter().any(|it| is_global(it) && is_about(it, ask));
        !is_blind && evaluate_identity(document, ask) == Decision::Allowed
    })
}

/// Whether a statement applies to an action on a resource, ignoring its conditions.
fn is_about(statement: &Value, ask: &Ask<'_>) -> bool {
    one_of(statement, "Action", "NotAction", |pattern| wildcard_no_case(pattern, ask.action))
        && one_of(statement, "Resource", "NotResource", |pattern| wildcard(pattern, ask.resource))
}

/// The condition keys of a policy's statements about a request, as it writes them.
pub fn condition_keys(document: &Value, ask: &Ask<'_>) -> BTreeSet<String> {
    let about = statements(document).iter().filter(|it| is_about(it, ask));
    let conditions = about.filter_map(|it| it["Condition"].as_object());
    let tests = conditions.flat_map(|operators| operators.values());
    tests.filter_map(Value::as_object).flat_map(|test| test.keys().cloned()).collect()
}

/// Whether a request has a condition key.
pub fn is_told(context: &Context, key: &str) -> bool {
    lookup(context, key).is_some()
}

/// A policy's statements, also where there is only one outside of a list.
pub fn statements(document: &Value) -> &[Value] {
    match &document["Statement"] {
        Value::Array(list) => list,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

fn one_of(
    statement: &Value,
    positive: &str,
    negative: &str,
    matches: impl Fn(&str) -> bool,
) -> bool {
    let any = |value: &Value| texts(value).iter().any(|pattern| matches(pattern));
    match (statement.get(positive), statement.get(negative)) {
        (Some(patterns), _) => any(patterns),
        (None, Some(patterns)) => !any(patterns),
        // A key policy may omit both; the statement has no effect then. Source: AWS KMS API
        // reference, CreateKey.
        (None, None) => false,
    }
}

fn principal_matches(statement: &Value, principal: &str, role: &str, account: &str) -> bool {
    let is_me = |value: &Value| match value {
        Value::String(all) => all == "*",
        Value::Object(kinds) => kinds.get("AWS").is_some_and(|names| {
            texts(names).iter().any(|name| {
                name == "*"
                    || name == account
                    || is_root(name, account)
                    || name == principal
                    || name == role
            })
        }),
        _ => false,
    };
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(names), _) => is_me(names),
        (None, Some(names)) => !is_me(names),
        (None, None) => false,
    }
}

/// Whether this is the ARN of an account itself, in any partition.
fn is_root(name: &str, account: &str) -> bool {
    partition_of_arn(name)
        .is_some_and(|partition| *name == format!("arn:{partition}:iam::{account}:root"))
}

/// The role behind a role session's ARN; other ARNs as they are.
pub fn role_of_session(arn: &str) -> String {
    let parts: Vec<&str> = arn.split(':').collect();
    if let ["arn", partition, "sts", _, account, resource] = parts.as_slice()
        && let Some(rest) = resource.strip_prefix("assumed-role/")
        && let Some((role, _)) = rest.split_once('/')
    {
        return format!("arn:{partition}:iam::{account}:role/{role}");
    }
    arn.to_owned()
}

fn conditions_hold(statement: &Value, context: &Context) -> bool {
    let Some(operators) = statement.get("Condition").and_then(Value::as_object) else {
        return true;
    };
    operators.iter().all(|(operator, tests)| {
        tests
            .as_object()
            .into_iter()
            .flatten()
            .all(|(key, wanted)| holds(operator, lookup(context, key), &texts(wanted)))
    })
}

/// Condition keys are the same in any case.
fn lookup<'a>(context: &'a Context, key: &str) -> Option<&'a [String]> {
    context
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, values)| values.as_slice())
}

fn holds(operator: &str, present: Option<&[String]>, wanted: &[String]) -> bool {
    let (operator, of_all) = match operator.strip_prefix("ForAllValues:") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    // A missing key fails it, also where the test is negated.
    if let Some(operator) = operator.strip_prefix("ForAnyValue:") {
        let fits = |value: &String| holds(operator, Some(std::slice::from_ref(value)), wanted);
        return present.is_some_and(|values| values.iter().any(fits));
    }
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    if operator == "Null" {
        return wanted.iter().any(|it| it == if present.is_none() { "true" } else { "false" });
    }
    let (operator, negated) = match operator {
        "StringNotEquals" => ("StringEquals", true),
        "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => ("StringLike", true),
        "ArnLike" | "ArnEquals" => ("StringLike", false),
        other => (other, false),
    };
    // A missing key fails every positive test and passes every negated one.
    let Some(present) = present else {
        return negated || if_exists || of_all;
    };
    if of_all {
        let fits = |value: &String| holds(operator, Some(std::slice::from_ref(value)), wanted);
        return present.iter().all(|value| fits(value) != negated);
    }
    let matched = present.iter().any(|value| {
        wanted.iter().any(|pattern| match operator {
            "StringEquals" => value == pattern,
            "StringEqualsIgnoreCase" | "Bool" => value.eq_ignore_ascii_case(pattern),
            "StringLike" => wildcard(pattern, value),
            _ => false,
        })
    });
    matched != negated
}

/// The part of a policy document that the simulator cannot evaluate, or that is invalid.
pub fn unsupported(document: &Value) -> Option<String> {
    const OPERATORS: [&str; 12] = [
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "ArnLike",
        "ArnNotLike",
        "ArnEquals",
        "ArnNotEquals",
        "Bool",
        "Null",
    ];
    if !document.is_object() || statements(document).is_empty() {
        return Some("the document has no Statement".to_owned());
    }
    for statement in statements(document) {
        if statement["Effect"] != "Allow" && statement["Effect"] != "Deny" {
            return Some("a statement's Effect is neither Allow nor Deny".to_owned());
        }
        for operator in
            statement["Condition"].as_object().into_iter().flatten().map(|(operator, _)| operator)
        {
            let plain = operator
                .strip_prefix("ForAllValues:")
                .or_else(|| operator.strip_prefix("ForAnyValue:"))
                .unwrap_or(operator);
            if !OPERATORS.contains(&plain.strip_suffix("IfExists").unwrap_or(plain)) {
                return Some(format!("condition operator {operator} is not modelled"));
            }
        }
    }
    None
}

/// A string, or all strings of an array; booleans as text.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Bool(on) => vec![on.to_string()],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn wildcard_no_case(pattern: &str, text: &str) -> bool {
    wildcard(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// `*` matches anything, `?` one character.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn stars_and_question_marks_match_as_in_iam() {
        assert!(wildcard("arn:aws:s3:::acme-*/a?c", "arn:aws:s3:::acme-out/x/abc"));
        assert!(wildcard("*", ""));
        assert!(!wildcard("a?", "a"));
        assert!(wildcard("a*b*c", "a--b--b-c"));
        assert!(!wildcard("a*b", "a-c"));
    }
}

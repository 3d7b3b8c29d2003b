//! Owns the grammar of policy documents, and the form in which resources store them.

use serde_json::Value;

use crate::policy::{statements, texts};

/// What is wrong with a document, before anybody looks at the things it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrammarError {
    /// It has an unknown element, or one of the wrong kind.
    Syntax,
    /// It has no statement.
    NoStatement,
    /// Its `Version` is unknown.
    Version,
    /// Two statements have this id.
    RepeatedSid(String),
    /// A statement's id has other characters than letters and digits.
    Sid(String),
    /// A statement has no such element: `Action`, `Effect`, `Principal`, `Resource`.
    Missing(&'static str),
    /// A statement has an element that a policy of this kind has not.
    Prohibited(&'static str),
    /// This is no action.
    Action(String),
    /// This is no resource.
    Resource(String),
}

/// The kind of policy; their grammars differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// Of a user or role.
    Identity,
    /// Who may assume a role.
    Trust,
    /// Of a bucket.
    Bucket,
    /// Of a KMS key, which may leave out actions and resources: the statement has no effect then.
    Key,
}

/// Checks a document.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_grammar(document: &Value, kind: DocumentKind) -> Result<(), GrammarError> {
    let Some(members) = document.as_object() else { return Err(GrammarError::Syntax) };
    if members.keys().any(|name| !["Version", "Id", "Statement"].contains(&name.as_str())) {
        return Err(GrammarError::Syntax);
    }
    let version = members.get("Version");
    if version.is_some_and(|it| it != "2012-10-17" && it != "2008-10-17") {
        return Err(GrammarError::Version);
    }
    let all = statements(document);
    if all.is_empty() {
        return Err(GrammarError::NoStatement);
    }
    if kind == DocumentKind::Identity && version.is_none_or(|it| it != "2012-10-17") {
        return Err(GrammarError::Version);
    }
    let mut ids: Vec<&str> = Vec::new();
    for statement in all {
        check_statement(statement, kind)?;
        let Some(id) = statement["Sid"].as_str().filter(|id| !id.is_empty()) else { continue };
        if ids.contains(&id) {
            return Err(GrammarError::RepeatedSid(id.to_owned()));
        }
        ids.push(id);
    }
    Ok(())
}

fn check_statement(statement: &Value, kind: DocumentKind) -> Result<(), GrammarError> {
    const ELEMENTS: [&str; 9] = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let Some(members) = statement.as_object() else { return Err(GrammarError::Syntax) };
    if members.keys().any(|name| !ELEMENTS.contains(&name.as_str())) {
        return Err(GrammarError::Syntax);
    }
    let both = |one: &str, other: &str| members.contains_key(one) && members.contains_key(other);
    if both("Action", "NotAction")
        || both("Resource", "NotResource")
        || both("Principal", "NotPrincipal")
        || members.get("Condition").is_some_and(|it| !is_condition(it))
    {
        return Err(GrammarError::Syntax);
    }
    match members.get("Effect") {
        None => return Err(GrammarError::Missing("Effect")),
        Some(effect) if effect != "Allow" && effect != "Deny" => return Err(GrammarError::Syntax),
        Some(_) => {}
    }
    check_sid(statement, kind)?;
    let either = |one: &str, other: &str| members.get(one).or_else(|| members.get(other));
    let principal = either("Principal", "NotPrincipal");
    match (kind, principal) {
        (DocumentKind::Identity, Some(_)) => return Err(GrammarError::Prohibited("Principal")),
        (DocumentKind::Identity, None) => {}
        (_, None) => return Err(GrammarError::Missing("Principal")),
        (_, Some(names)) if !is_principal(names) => return Err(GrammarError::Syntax),
        (_, Some(_)) => {}
    }
    match either("Action", "NotAction") {
        None if kind == DocumentKind::Key => {}
        None => return Err(GrammarError::Missing("Action")),
        Some(actions) => check_actions(actions)?,
    }
    match (kind, either("Resource", "NotResource")) {
        (DocumentKind::Trust, Some(_)) => Err(GrammarError::Prohibited("Resource")),
        (DocumentKind::Trust | DocumentKind::Key, None) => Ok(()),
        (_, None) => Err(GrammarError::Missing("Resource")),
        (_, Some(resources)) => check_resources(resources),
    }
}

fn check_sid(statement: &Value, kind: DocumentKind) -> Result<(), GrammarError> {
    match statement.get("Sid") {
        None => Ok(()),
        Some(Value::String(id)) => {
            let is_plain = id.chars().all(|it| it.is_ascii_alphanumeric());
            // S3 and KMS also accept spaces and more.
            let is_iams = matches!(kind, DocumentKind::Identity | DocumentKind::Trust);
            if is_iams && !is_plain { Err(GrammarError::Sid(id.clone())) } else { Ok(()) }
        }
        Some(_) => Err(GrammarError::Syntax),
    }
}

/// A text, or a list of texts that is not empty.
fn is_list(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_string),
        _ => false,
    }
}

fn is_principal(value: &Value) -> bool {
    const KINDS: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];
    match value {
        Value::String(name) => name == "*",
        Value::Object(kinds) => {
            !kinds.is_empty()
                && kinds
                    .iter()
                    .all(|(kind, names)| KINDS.contains(&kind.as_str()) && is_list(names))
        }
        _ => false,
    }
}

fn is_condition(value: &Value) -> bool {
    value.as_object().is_some_and(|operators| {
        operators.iter().all(|(operator, tests)| {
            is_operator(operator)
                && tests
                    .as_object()
                    .is_some_and(|tests| tests.values().all(|it| !it.is_object() && !it.is_null()))
        })
    })
}

fn is_operator(operator: &str) -> bool {
    const OPERATORS: [&str; 27] = [
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "NumericEquals",
        "NumericNotEquals",
        "NumericLessThan",
        "NumericLessThanEquals",
        "NumericGreaterThan",
        "NumericGreaterThanEquals",
        "DateEquals",
        "DateNotEquals",
        "DateLessThan",
        "DateLessThanEquals",
        "DateGreaterThan",
        "DateGreaterThanEquals",
        "Bool",
        "BinaryEquals",
        "IpAddress",
        "NotIpAddress",
        "ArnEquals",
        "ArnLike",
        "ArnNotEquals",
        "ArnNotLike",
        "Null",
    ];
    let plain = operator
        .strip_prefix("ForAllValues:")
        .or_else(|| operator.strip_prefix("ForAnyValue:"))
        .unwrap_or(operator);
    OPERATORS.contains(&plain.strip_suffix("IfExists").unwrap_or(plain))
}

fn check_actions(actions: &Value) -> Result<(), GrammarError> {
    if !is_list(actions) {
        return Err(GrammarError::Syntax);
    }
    let is_action = |action: &str| {
        action == "*"
            || action.split_once(':').is_some_and(|(service, name)| {
                !name.is_empty()
                    && !service.is_empty()
                    && !name.contains(':')
                    && service.chars().all(|it| it.is_ascii_alphanumeric() || "-.*".contains(it))
            })
    };
    match texts(actions).into_iter().find(|action| !is_action(action)) {
        Some(action) => Err(GrammarError::Action(action)),
        None => Ok(()),
    }
}

fn check_resources(resources: &Value) -> Result<(), GrammarError> {
    if !is_list(resources) {
        return Err(GrammarError::Syntax);
    }
    let is_resource = |name: &str| {
        name == "*"
            || (name.starts_with("arn:") && name.split(':').count() >= 6)
            || (name.starts_with("arn:") && name.contains('*'))
    };
    match texts(resources).into_iter().find(|name| !is_resource(name)) {
        Some(name) => Err(GrammarError::Resource(name)),
        None => Ok(()),
    }
}

/// The kind and name of each principal that a document's statements name: `("AWS", "arn:…")`.
#[must_use]
pub fn principals(document: &Value) -> Vec<(String, String)> {
    let elements = statements(document).iter().flat_map(|statement| {
        ["Principal", "NotPrincipal"].into_iter().filter_map(|element| statement.get(element))
    });
    let kinds = elements.flat_map(|value| match value {
        Value::Object(kinds) => kinds.iter().map(|(kind, names)| (kind.as_str(), names)).collect(),
        names => vec![("AWS", names)],
    });
    kinds
        .flat_map(|(kind, names)| texts(names).into_iter().map(|name| (kind.to_owned(), name)))
        .collect()
}

/// The document as S3, KMS and trust policies return it: an account's number as principal becomes
/// the ARN of the account, and a list of one text becomes the text.
#[must_use]
pub fn canonical(mut document: Value, partition: &str) -> Value {
    for statement in statements_mut(&mut document) {
        for element in ["Principal", "NotPrincipal"] {
            let kinds = statement.get_mut(element).and_then(Value::as_object_mut);
            for (kind, names) in kinds.into_iter().flatten() {
                if kind == "AWS" {
                    each_text(names, &mut |name| root_of_account(name, partition));
                }
                collapse(names);
            }
        }
        for element in ["Action", "NotAction", "Resource", "NotResource"] {
            if let Some(value) = statement.get_mut(element) {
                collapse(value);
            }
        }
    }
    document
}

/// The statements of a document, which may have a single one without a list.
fn statements_mut(document: &mut Value) -> &mut [Value] {
    match document.get_mut("Statement") {
        Some(Value::Array(list)) => list.as_mut_slice(),
        Some(one) => std::slice::from_mut(one),
        None => &mut [],
    }
}

/// A principal's name elsewhere in a document becomes another one.
pub(crate) fn rename_principal(document: &mut Value, from: &str, to: &str) {
    for statement in statements_mut(document) {
        for element in ["Principal", "NotPrincipal"] {
            if let Some(names) = statement.get_mut(element).and_then(|it| it.get_mut("AWS")) {
                each_text(names, &mut |name| (name == from).then(|| to.to_owned()));
            }
        }
    }
}

fn each_text(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = change(text) {
                *text = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        _ => {}
    }
}

fn root_of_account(name: &str, partition: &str) -> Option<String> {
    let is_account = name.len() == 12 && name.chars().all(|it| it.is_ascii_digit());
    is_account.then(|| format!("arn:{partition}:iam::{name}:root"))
}

fn collapse(value: &mut Value) {
    if let Value::Array(items) = value
        && let [one] = items.as_mut_slice()
    {
        *value = one.take();
    }
}

/// A policy's length without white space outside of its texts, as AWS counts it.
#[must_use]
pub fn counted_length(document: &Value) -> usize {
    document.to_string().len()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DocumentKind, GrammarError, canonical, check_grammar, principals};

    fn identity(statement: &Value) -> Result<(), GrammarError> {
        let document = json!({"Version": "2012-10-17", "Statement": statement});
        check_grammar(&document, DocumentKind::Identity)
    }

    #[test]
    fn an_identity_policy_has_actions_and_resources_and_no_principal() {
        let good = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
        assert_eq!(identity(&good), Ok(()));
        let with = |name: &str, value: Value| {
            let mut statement = good.clone();
            statement[name] = value;
            identity(&statement)
        };
        assert_eq!(with("Principal", json!("*")), Err(GrammarError::Prohibited("Principal")));
        assert_eq!(with("Sid", json!("a b")), Err(GrammarError::Sid("a b".to_owned())));
        assert_eq!(with("Action", json!("s3")), Err(GrammarError::Action("s3".to_owned())));
        assert_eq!(
            with("Resource", json!(["bucket"])),
            Err(GrammarError::Resource("bucket".to_owned()))
        );
        assert_eq!(with("Effect", json!("allow")), Err(GrammarError::Syntax));
        assert_eq!(with("Condition", json!({"Like": {"a": "b"}})), Err(GrammarError::Syntax));
        assert_eq!(with("Actions", json!("s3:*")), Err(GrammarError::Syntax));
        let no_resource = json!({"Effect": "Allow", "Action": "s3:*"});
        assert_eq!(identity(&no_resource), Err(GrammarError::Missing("Resource")));
        let twice = json!([
            {"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Sid": "A", "Effect": "Deny", "Action": "s3:*", "Resource": "*"},
        ]);
        assert_eq!(identity(&twice), Err(GrammarError::RepeatedSid("A".to_owned())));
        let undated = json!({"Statement": good});
        assert_eq!(check_grammar(&undated, DocumentKind::Identity), Err(GrammarError::Version));
        assert_eq!(check_grammar(&json!({}), DocumentKind::Bucket), Err(GrammarError::NoStatement));
    }

    #[test]
    fn a_trust_policy_has_a_principal_and_no_resource() {
        let trust = |statement: Value| {
            check_grammar(&json!({"Statement": [statement]}), DocumentKind::Trust)
        };
        let service = json!({"Service": "ec2.amazonaws.com"});
        let good = json!({"Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole"});
        assert_eq!(trust(good.clone()), Ok(()));
        let mut with = good.clone();
        with["Resource"] = json!("*");
        assert_eq!(trust(with), Err(GrammarError::Prohibited("Resource")));
        let nobody = json!({"Effect": "Allow", "Action": "sts:AssumeRole"});
        assert_eq!(trust(nobody), Err(GrammarError::Missing("Principal")));
    }

    #[test]
    fn a_stored_policy_names_accounts_by_their_arn_and_single_texts_without_a_list() {
        let document = json!({"Statement": [{
            "Effect": "Allow", "Principal": {"AWS": ["123456789012"]},
            "Action": ["s3:GetObject"], "Resource": ["a", "b"],
        }]});
        let stored = canonical(document, "aws-cn");
        assert_eq!(
            stored["Statement"][0],
            json!({
                "Effect": "Allow", "Principal": {"AWS": "arn:aws-cn:iam::123456789012:root"},
                "Action": "s3:GetObject", "Resource": ["a", "b"],
            })
        );
        let root = "arn:aws-cn:iam::123456789012:root".to_owned();
        assert_eq!(principals(&stored), [("AWS".to_owned(), root)]);
    }
}

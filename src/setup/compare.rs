//! Whether two policy documents say the same. AWS does not give back every document as it was
//! written: a list of one comes as its only member, members in another order, an account as its
//! root's ARN. Sources: Amazon S3 and IAM user guides, "Grammar of the IAM JSON policy language";
//! "AWS JSON policy elements: Principal".

use serde_json::{Map, Value, json};

/// Whether two policy documents, or two statements, say the same.
pub(super) fn says_the_same(one: &Value, other: &Value) -> bool {
    one == other || canonical(one, false) == canonical(other, false)
}

/// The statements of a document, in order.
pub(super) fn statements(document: &Value) -> Vec<Value> {
    match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// The document with other statements.
pub(super) fn with_statements(document: &Value, statements: Vec<Value>) -> Value {
    let mut document = document.clone();
    document["Statement"] = Value::Array(statements);
    document
}

/// Whether `statements` has one that says the same as `statement`.
pub(super) fn has(statements: &[Value], statement: &Value) -> bool {
    statements.iter().any(|other| says_the_same(other, statement))
}

/// One form for all documents that say the same. `is_principal`: whether the value names accounts
/// and identities.
fn canonical(value: &Value, is_principal: bool) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, Value)> = fields
                .iter()
                .map(|(name, value)| {
                    let value = match (name.as_str(), value) {
                        ("Principal" | "NotPrincipal", Value::String(all)) => json!({"AWS": all}),
                        _ => value.clone(),
                    };
                    (name, canonical(&value, name == "AWS"))
                })
                .collect();
            sorted.sort_by_key(|(name, _)| *name);
            let fields = sorted.into_iter().map(|(name, value)| (name.clone(), value));
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        Value::Array(members) => {
            let mut members: Vec<Value> =
                members.iter().map(|member| canonical(member, is_principal)).collect();
            members.sort_by_key(Value::to_string);
            members.dedup();
            if members.len() == 1 { members.remove(0) } else { Value::Array(members) }
        }
        Value::String(text) if is_principal => root_account(text).unwrap_or(text).into(),
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        Value::String(_) | Value::Null => value.clone(),
    }
}

/// The account, if this is the ARN of an account's root.
fn root_account(arn: &str) -> Option<&str> {
    let mut parts = arn.strip_prefix("arn:")?.splitn(5, ':').skip(1);
    let is_iam = parts.next() == Some("iam") && parts.next() == Some("");
    let account = parts.next()?;
    (is_iam && parts.next() == Some("root")).then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(statement: &Value) -> Value {
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }

    #[test]
    fn what_aws_writes_in_another_way_says_the_same() {
        let one = json!({
            "Sid": "A", "Effect": "Deny", "Principal": "*", "Action": ["s3:*"],
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
            "Condition": {"Bool": {"aws:SecureTransport": false}},
        });
        let other = json!({
            "Action": "s3:*", "Principal": {"AWS": "*"}, "Effect": "Deny", "Sid": "A",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            "Resource": ["arn:aws:s3:::b/*", "arn:aws:s3:::b"],
        });
        assert!(says_the_same(&document(&one), &document(&other)));
        assert!(says_the_same(
            &document(&one),
            &json!({"Statement": one, "Version": "2012-10-17"})
        ));
        let account = json!({"Principal": {"AWS": "123456789012"}});
        let root = json!({"Principal": {"AWS": ["arn:aws:iam::123456789012:root"]}});
        assert!(says_the_same(&account, &root));
    }

    #[test]
    fn what_is_another_principal_condition_or_resource_does_not_say_the_same() {
        let base = json!({
            "Sid": "A", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:role/x"},
            "Action": "s3:*", "Resource": "arn:aws:s3:::b",
        });
        for (pointer, value) in [
            ("/Effect", json!("Deny")),
            ("/Sid", json!("B")),
            ("/Principal", json!("*")),
            ("/Principal/AWS", json!("arn:aws:iam::123456789012:root")),
            ("/Action", json!(["s3:*", "s3:Get*"])),
            ("/Resource", json!("arn:aws:s3:::b/*")),
        ] {
            let mut other = base.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!says_the_same(&base, &other), "{pointer}");
        }
        let mut other = base.clone();
        other["Condition"] = json!({"Bool": {"aws:SecureTransport": "true"}});
        assert!(!says_the_same(&base, &other));
        // Only a principal may be written in two ways.
        let resource = |text: &str| json!({"Resource": text});
        assert!(!says_the_same(
            &resource("123456789012"),
            &resource("arn:aws:iam::123456789012:root")
        ));
    }
}

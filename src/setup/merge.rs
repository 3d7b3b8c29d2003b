//! Merging of statements into a policy document. A statement that is not of `setup` stays as it is,
//! at its place.

use serde_json::{Value, json};

/// The start of the statement ids of `setup`. The rest says what a statement is for, and which one
/// it is.
pub(crate) const SID_START: &str = "EmrEtlGuard";

/// The kinds of policy documents, each with its size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// The policy of a bucket: 20 KB.
    Bucket,
    /// A key policy: 32 KB.
    Key,
    /// An inline policy of a role: 10,240 characters without white space.
    RoleInline,
    /// An inline policy of a user: 2,048 characters without white space.
    UserInline,
    /// The policy of an SNS topic: 30 KB.
    Topic,
    /// The policy of an SQS queue: 8 KB.
    Queue,
}

impl DocumentKind {
    /// The largest size. Source: Amazon S3 user guide, Bucket policies; AWS KMS developer guide,
    /// Resource quotas (key policy document size); IAM user guide, IAM and AWS STS quotas; AWS
    /// general reference, Amazon SNS endpoints and quotas; Amazon SQS developer guide, Amazon SQS
    /// policy quotas.
    const fn largest(self) -> usize {
        match self {
            Self::Bucket => 20 * 1024,
            Self::Key => 32 * 1024,
            Self::RoleInline => 10_240,
            Self::UserInline => 2_048,
            Self::Topic => 30 * 1024,
            Self::Queue => 8 * 1024,
        }
    }

    /// The size that AWS counts.
    fn size(self, document: &Value) -> usize {
        let text = document.to_string();
        match self {
            Self::Bucket | Self::Key | Self::Topic | Self::Queue => text.len(),
            Self::RoleInline | Self::UserInline => {
                text.chars().filter(|letter| !letter.is_whitespace()).count()
            }
        }
    }
}

/// Why statements cannot be merged into a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeError {
    /// The document is not understood.
    #[error("the policy has {0}, which is not understood")]
    NotUnderstood(&'static str),
    /// The document would be too large.
    #[error("with the statements of setup the policy would have {size} characters, of {largest}")]
    TooLarge {
        /// The size that it would have.
        size: usize,
        /// The largest size.
        largest: usize,
    },
}

/// A document of these statements alone.
///
/// # Errors
/// When it is too large.
pub(crate) fn fresh(kind: DocumentKind, statements: &[Value]) -> Result<Value, MergeError> {
    sized(kind, unsized_document(statements))
}

/// The same of any size, to be shown.
pub(crate) fn unsized_document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// `document` with each of `statements`: in place of the one with the same id, else at the end. If
/// nothing changes, the document stays as it is, in every respect.
///
/// # Errors
/// When the document is not understood, or would be too large.
pub(crate) fn merge(
    kind: DocumentKind,
    document: &Value,
    statements: &[Value],
) -> Result<Value, MergeError> {
    let mut merged = self::statements(document)?.into_iter().cloned().collect::<Vec<_>>();
    let before = merged.len();
    let mut changed = false;
    for ours in statements {
        let has_same_id = |other: &Value| !ours["Sid"].is_null() && other["Sid"] == ours["Sid"];
        match merged.iter().position(has_same_id) {
            Some(place) if merged[place] == *ours => {}
            Some(place) => {
                merged[place] = ours.clone();
                changed = true;
            }
            None => merged.push(ours.clone()),
        }
    }
    if !changed && merged.len() == before {
        return Ok(document.clone());
    }
    let mut whole = document.clone();
    whole["Statement"] = Value::Array(merged);
    sized(kind, whole)
}

/// The statements of a document.
///
/// # Errors
/// When it is not understood.
pub(crate) fn statements(document: &Value) -> Result<Vec<&Value>, MergeError> {
    if !document.is_object() {
        return Err(MergeError::NotUnderstood("no JSON object"));
    }
    let statements = match document.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err(MergeError::NotUnderstood("no statements")),
    };
    let effect = |statement: &&Value| {
        statement.is_object() && matches!(statement["Effect"].as_str(), Some("Allow" | "Deny"))
    };
    if statements.iter().all(effect) {
        Ok(statements)
    } else {
        Err(MergeError::NotUnderstood("a statement that neither allows nor denies"))
    }
}

/// A principal of a statement that is gone: where a role or user was deleted, AWS shows its unique
/// id in place of its ARN, and takes no document that has one. Source: AWS IAM user guide, AWS JSON
/// policy elements: Principal.
pub(crate) fn gone_principal(document: &Value) -> Option<String> {
    let statements = statements(document).ok()?;
    let principals =
        statements.into_iter().flat_map(|statement| match &statement["Principal"]["AWS"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        });
    let is_id = |text: &&str| {
        text.len() > 12
            && text.starts_with('A')
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    principals.into_iter().find(is_id).map(str::to_owned)
}

fn sized(kind: DocumentKind, document: Value) -> Result<Value, MergeError> {
    let (size, largest) = (kind.size(&document), kind.largest());
    if size > largest { Err(MergeError::TooLarge { size, largest }) } else { Ok(document) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::facts::iam_policy::{AccessRequest, PolicyDecision, decide};

    const OURS: &str = "arn:aws:iam::123456789012:role/ours";
    const OTHER: &str = "arn:aws:iam::123456789012:role/other";

    /// A statement as people write them, with or without an id.
    fn foreign() -> impl Strategy<Value = Value> {
        let principals = prop::sample::select(vec![
            json!("*"),
            json!({"AWS": OTHER}),
            json!({"AWS": [OTHER, OURS]}),
            json!({"AWS": "arn:aws:iam::123456789012:root"}),
            json!({"Service": "s3.amazonaws.com"}),
        ]);
        let actions = prop::sample::select(vec![
            json!("s3:*"),
            json!(["s3:GetObject", "s3:PutObject"]),
            json!("s3:PutObject"),
        ]);
        let conditions = prop::sample::select(vec![
            Value::Null,
            json!({"Bool": {"aws:SecureTransport": "false"}}),
            json!({"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}),
            json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        ]);
        let ids = prop::option::of("[A-Za-z0-9 ]{0,6}");
        let effects = prop::sample::select(vec!["Allow", "Deny"]);
        (ids, effects, principals, actions, conditions).prop_map(
            |(id, effect, principal, action, condition)| {
                let mut statement = json!({"Effect": effect, "Principal": principal, "Action": action, "Resource": "arn:aws:s3:::b/*"});
                if let Some(id) = id {
                    statement["Sid"] = json!(id);
                }
                if !condition.is_null() {
                    statement["Condition"] = condition;
                }
                statement
            },
        )
    }

    fn ours() -> impl Strategy<Value = Vec<Value>> {
        let purposes = vec!["TlsOnly", "Guard0a1b2c3d", "InstanceRole01234567"];
        let chosen = prop::sample::subsequence(purposes, 0..=3);
        (chosen, any::<bool>()).prop_map(|(purposes, wide)| {
            let statement = |purpose: &str| match purpose {
                "TlsOnly" => json!({"Sid": "EmrEtlGuardTlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
                other => {
                    let action = if wide { "s3:*" } else { "s3:GetObject" };
                    json!({"Sid": format!("EmrEtlGuard{other}"), "Effect": "Allow", "Principal": {"AWS": OURS}, "Action": action, "Resource": "*"})
                }
            };
            purposes.into_iter().map(statement).collect()
        })
    }

    fn document() -> impl Strategy<Value = Value> {
        let versions = prop::sample::select(vec![None, Some("2008-10-17"), Some("2012-10-17")]);
        (versions, prop::collection::vec(foreign(), 1..5), any::<bool>(), any::<bool>()).prop_map(
            |(version, statements, single, has_id)| {
                let mut document = serde_json::Map::new();
                if has_id {
                    document.insert("Id".to_owned(), json!("somebody's"));
                }
                if let Some(version) = version {
                    document.insert("Version".to_owned(), json!(version));
                }
                let statement = if single { statements[0].clone() } else { json!(statements) };
                document.insert("Statement".to_owned(), statement);
                Value::Object(document)
            },
        )
    }

    fn decision(document: &Value, caller: &str, action: &str) -> PolicyDecision {
        let context = BTreeMap::from([
            ("aws:securetransport", Some("true")),
            ("s3:x-amz-server-side-encryption", Some("aws:kms")),
        ]);
        let resource = Some("arn:aws:s3:::b/k");
        decide(&document.to_string(), &AccessRequest { caller, action, resource, context })
    }

    proptest! {
        #[test]
        fn merging_loses_and_alters_nothing_of_others(document in document(), ours in ours()) {
            let merged = merge(DocumentKind::Bucket, &document, &ours).unwrap();
            let all = statements(&merged).unwrap();
            let before = statements(&document).unwrap();
            // Those of others come first, in their order, then those of setup.
            prop_assert_eq!(&all[..before.len()], &before[..]);
            prop_assert_eq!(all[before.len()..].iter().copied().cloned().collect::<Vec<_>>(), ours);
            // So does everything beside the statements.
            for (key, value) in document.as_object().unwrap().iter().filter(|(key, _)| *key != "Statement") {
                prop_assert_eq!(&merged[key], value);
            }
            prop_assert_eq!(merged.as_object().unwrap().len(), document.as_object().unwrap().len());
        }

        #[test]
        fn merging_twice_is_merging_once(document in document(), first in ours(), second in ours()) {
            let kind = DocumentKind::Bucket;
            let once = merge(kind, &document, &first).unwrap();
            prop_assert_eq!(&merge(kind, &once, &first).unwrap(), &once);
            // A later statement of the same id stays at the place of the earlier one.
            let later = merge(kind, &once, &second).unwrap();
            prop_assert_eq!(&merge(kind, &later, &second).unwrap(), &later);
            let foreign = statements(&document).unwrap().len();
            prop_assert_eq!(
                &statements(&later).unwrap()[..foreign],
                &statements(&document).unwrap()[..]
            );
            let ids: Vec<_> = statements(&later).unwrap()[foreign..]
                .iter()
                .map(|statement| statement["Sid"].clone())
                .collect();
            let unique: std::collections::BTreeSet<String> =
                ids.iter().map(ToString::to_string).collect();
            prop_assert_eq!(unique.len(), ids.len());
        }

        #[test]
        fn what_was_denied_stays_denied_and_others_are_allowed_nothing_new(
            document in document(),
            ours in ours(),
            action in prop::sample::select(vec!["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]),
        ) {
            let merged = merge(DocumentKind::Bucket, &document, &ours).unwrap();
            for caller in [OURS, OTHER] {
                let before = decision(&document, caller, action);
                let after = decision(&merged, caller, action);
                if let PolicyDecision::Denies(_) = &before {
                    prop_assert_eq!(&after, &before);
                }
            }
            prop_assert_eq!(decision(&merged, OTHER, action), decision(&document, OTHER, action));
        }
    }

    #[test]
    fn a_document_that_already_has_the_statements_keeps_its_form() {
        let ours = json!({"Sid": "EmrEtlGuardTlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"});
        let single = json!({"Version": "2008-10-17", "Statement": ours});
        assert_eq!(merge(DocumentKind::Bucket, &single, &[ours]).unwrap(), single);
    }

    #[test]
    fn a_document_that_is_not_understood_is_not_merged() {
        for document in [
            json!("text"),
            json!([]),
            json!({}),
            json!({"Statement": "x"}),
            json!({"Statement": ["x"]}),
            json!({"Statement": [{"Effect": "Audit"}]}),
        ] {
            let merged = merge(DocumentKind::Key, &document, &[]);
            assert!(matches!(merged, Err(MergeError::NotUnderstood(_))), "{document}");
        }
    }

    #[test]
    fn sizes_are_counted_as_aws_counts_them() {
        let statement = |text: &str| json!({"Sid": text, "Effect": "Allow"});
        let base = fresh(DocumentKind::UserInline, &[statement("")]).unwrap().to_string().len();
        let of = |size: usize| [statement(&"x".repeat(size - base))];
        for (kind, largest) in [
            (DocumentKind::Bucket, 20_480),
            (DocumentKind::Key, 32_768),
            (DocumentKind::RoleInline, 10_240),
            (DocumentKind::UserInline, 2_048),
            (DocumentKind::Topic, 30_720),
            (DocumentKind::Queue, 8_192),
        ] {
            assert!(fresh(kind, &of(largest)).is_ok(), "{kind:?}");
            let error = fresh(kind, &of(largest + 1)).unwrap_err();
            assert_eq!(error, MergeError::TooLarge { size: largest + 1, largest });
        }
        let blank = [statement(&" ".repeat(20_000))];
        assert!(fresh(DocumentKind::UserInline, &blank).is_ok());
    }
}

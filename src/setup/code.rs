//! What a plan's infrastructure code has in common, in whatever language it is written: where a
//! document refers to what the same code makes, and the comments that give reasons.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    base::{
        digest,
        names::{AccountId, BucketName, partition},
        printable::{Printable, printable},
    },
    facts::account_state::PolicyHolder,
    settings::policy::EncryptionKind,
    setup::{
        network_code::NetworkCode,
        piece::{CertificateArchive, MADE_KEY, Piece},
        plan::{SetupPlan, Step, StepAction},
    },
};

/// The longest line of a comment, in characters, with its indentation.
const WIDTH: usize = 100;

/// What the code says of the account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeContext<'a> {
    /// The start of the names of everything that is made.
    pub(crate) name: &'a str,
    /// The account.
    pub(crate) account: &'a AccountId,
    /// The region of clusters, keys and security configurations.
    pub(crate) region: &'a str,
    /// The region of buckets.
    pub(crate) s3_region: &'a str,
    /// What is added to the network, if that was asked for.
    pub(crate) network: Option<&'a NetworkCode>,
}

/// Something that code can refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CodeReference {
    /// The ARN of the key that is made.
    Key,
    /// The ARN of a role that is made, by the role's name.
    RoleArn(String),
    /// The ARN of a bucket that is made.
    BucketArn(BucketName),
    /// The URI of the certificate archive.
    Certificates,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextPart {
    /// Text as it is.
    Text(String),
    /// A reference in place of the text that is known only when the code runs.
    Reference(CodeReference),
}

/// What the code makes, and so what it can refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeReferences {
    /// Whether the key is made by the same code.
    pub(crate) makes_key: bool,
    /// The roles that are made: their ARNs and names.
    pub(crate) roles: BTreeMap<String, String>,
    /// The buckets that are made: their ARNs and names.
    pub(crate) buckets: BTreeMap<String, BucketName>,
    /// The URI of the certificate archive.
    pub(crate) certificates: Option<String>,
}

impl CodeReferences {
    /// What `steps` make.
    pub(crate) fn of<'a>(
        steps: impl IntoIterator<Item = &'a Step>,
        plan: &SetupPlan,
        context: &CodeContext<'_>,
    ) -> Self {
        let partition = partition(context.region);
        let mut references =
            Self { certificates: certificates(plan).map(certificate_uri), ..Self::default() };
        for step in steps.into_iter().filter(|step| step.action == StepAction::Create) {
            match &step.piece {
                Piece::Key(_) => references.makes_key = true,
                Piece::Role(role) => {
                    let arn =
                        format!("arn:{partition}:iam::{}:role/{}", context.account, role.name);
                    references.roles.insert(arn, role.name.clone());
                }
                Piece::Bucket(made) => {
                    let arn = format!("arn:{partition}:s3:::{}", made.bucket);
                    references.buckets.insert(arn, made.bucket.clone());
                }
                _ => {}
            }
        }
        references
    }

    /// Whether the role of this name is made.
    pub(crate) fn makes_role(&self, name: &str) -> bool {
        self.roles.values().any(|made| made == name)
    }

    /// Whether the bucket is made.
    pub(crate) fn makes_bucket(&self, bucket: &BucketName) -> bool {
        self.buckets.values().any(|made| made == bucket)
    }

    /// Splits a text of a document into what is fixed and what is referred to. ARNs are only found
    /// where they are the whole text, or, those of buckets, where the text goes on with `/`.
    pub(crate) fn parts(&self, text: &str) -> Vec<TextPart> {
        let reference = |reference| vec![TextPart::Reference(reference)];
        if self.certificates.as_deref() == Some(text) {
            return reference(CodeReference::Certificates);
        }
        if let Some(name) = self.roles.get(text) {
            return reference(CodeReference::RoleArn(name.clone()));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        let arn = text.split('/').next().unwrap_or_default();
        if let Some(bucket) = self.buckets.get(arn) {
            parts.push(TextPart::Reference(CodeReference::BucketArn(bucket.clone())));
            rest = &text[arn.len()..];
        }
        for (nth, fixed) in rest.split(MADE_KEY).enumerate() {
            if nth > 0 {
                parts.push(TextPart::Reference(CodeReference::Key));
            }
            if !fixed.is_empty() {
                parts.push(TextPart::Text(fixed.to_owned()));
            }
        }
        parts
    }
}

/// The certificate archive of a plan, whatever has to be done about it.
fn certificates(plan: &SetupPlan) -> Option<&CertificateArchive> {
    plan.steps.iter().find_map(|step| match &step.piece {
        Piece::Certificates(archive) => Some(archive),
        _ => None,
    })
}

/// The certificate archive, if it has to be made or renewed.
pub(crate) fn missing_certificates(plan: &SetupPlan) -> Option<&CertificateArchive> {
    plan.changes().find_map(|step| match &step.piece {
        Piece::Certificates(archive) => Some(archive),
        _ => None,
    })
}

/// An archive's URI.
pub(crate) fn certificate_uri(archive: &CertificateArchive) -> String {
    format!("s3://{}/{}", archive.object.bucket, archive.object.key)
}

/// Whether a step's piece refers to the key that `setup` makes.
pub(crate) fn uses_made_key(step: &Step) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains(MADE_KEY),
            Value::Array(items) => items.iter().any(within),
            Value::Object(fields) => fields.values().any(within),
            _ => false,
        }
    }
    serde_json::to_value(&step.piece).is_ok_and(|piece| within(&piece))
}

/// The identifiers of things by their names, made by `identifier`. Where two names make the same
/// one, each gets a digest of its name, so that an identifier never depends on the order.
pub(crate) fn identifiers<'a>(
    names: impl IntoIterator<Item = &'a str>,
    identifier: fn(&str) -> String,
    digest_separator: &str,
) -> BTreeMap<String, String> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for name in &names {
        *count.entry(identifier(name)).or_default() += 1;
    }
    let of = |name: &str| {
        let short = identifier(name);
        if count.get(&short).is_some_and(|count| *count > 1) {
            let digest = digest::sha256(name);
            return format!("{short}{digest_separator}{}", &digest[..8]);
        }
        short
    };
    names.into_iter().map(|name| (name.to_owned(), of(name))).collect()
}

/// The name that identifies an inline policy among all.
pub(crate) fn inline_policy_name(holder: &PolicyHolder, name: &str) -> String {
    match holder {
        PolicyHolder::Role(role) => format!("{role} {name}"),
        PolicyHolder::User(user) => format!("user {user} {name}"),
    }
}

/// An existing key's id, from its ARN.
pub(crate) fn key_id(arn: &str) -> &str {
    arn.rsplit_once(":key/").map_or(arn, |(_, id)| id)
}

/// What the variable with a piece's name is.
pub(crate) fn name_description(piece: &Piece) -> String {
    let what = if matches!(piece, Piece::Key(_)) { "alias" } else { "name" };
    format!("The {what} of the {}.", piece.kind())
}

/// Whether a piece is a setting of a key that exists in any case.
pub(crate) const fn is_of_existing_key(piece: &Piece) -> bool {
    matches!(piece, Piece::KeyPolicy(_) | Piece::KeyRotation(_))
}

/// S3's name of a kind of encryption.
pub(crate) const fn sse_algorithm(kind: EncryptionKind) -> &'static str {
    match kind {
        EncryptionKind::SseS3 => "AES256",
        EncryptionKind::SseKms => "aws:kms",
        EncryptionKind::DsseKms => "aws:kms:dsse",
    }
}

/// Why a step is there, in lines of a comment without its mark.
pub(crate) fn reasons(step: &Step) -> Vec<Printable> {
    let piece = &step.piece;
    let verb = match step.action {
        StepAction::Create => "made",
        _ => "changed",
    };
    let mut lines =
        vec![printable!("{} {}: {verb}.", piece.kind(), Printable::from(piece.subject()))];
    lines.push(match step.checks.as_slice() {
        [] => printable!("Needed by other pieces. Source: {}.", step.source),
        checks => printable!("Asked for by {}. Source: {}.", checks.join(", "), step.source),
    });
    if let Some(cost) = &step.cost {
        lines.push(printable!("Cost: {}.", Printable::from(cost.as_str())));
    }
    lines.extend(step.notes.iter().cloned());
    lines
}

/// Lines of a comment, wrapped at words; `indent` is in characters, with the comment's mark.
pub(crate) fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let width = WIDTH.saturating_sub(indent).max(40);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// What the code leaves alone, in lines of a comment: what is kept, what is refused, and what is
/// not known.
pub(crate) fn left_alone(plan: &SetupPlan) -> Vec<Printable> {
    let mut lines = Vec::new();
    for step in &plan.steps {
        let (kind, subject) = (step.piece.kind(), Printable::from(step.piece.subject()));
        lines.push(match &step.action {
            StepAction::Create | StepAction::Change { .. } => continue,
            StepAction::Keep => printable!("{kind} {subject}: as required, and not managed here."),
            StepAction::Refuse { saw, fix } => {
                printable!("{kind} {subject}: NOT IN THIS CODE. Seen: {saw}. Fix: {fix}.")
            }
            StepAction::Unknown { error } => printable!(
                "{kind} {subject}: NOT IN THIS CODE, because it is not known what exists: {}.",
                Printable::from(error.to_string())
            ),
        });
    }
    lines
}

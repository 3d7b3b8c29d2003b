//! Judges objects in S3, before and after a run, by the kinds of encryption and the keys that the
//! policy accepts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        names::{KeyReference, S3Location},
        text::{counted, shell_word},
    },
    checks::{
        finding::{Check, CheckSubject, Finding},
        fix::FixTemplate,
    },
    facts::{
        gather::Facts,
        objects::{EncryptionTally, LocationSurvey},
        stored::StoredEncryption,
    },
    settings::policy::{self, EncryptionKind, Policy},
};

/// The encryption that the policy accepts for objects, with its keys as KMS resolved them. A later
/// guard can judge objects by this alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standard {
    kinds: Vec<EncryptionKind>,
    /// The keys as the policy names them; if empty, any key is accepted.
    keys: Vec<String>,
    /// The ARNs of these keys, if KMS gave them.
    arns: Vec<String>,
}

impl Standard {
    pub(crate) fn of(policy: &Policy, facts: &Facts) -> Self {
        let keys = policy.expected_keys.clone();
        let arns = keys
            .iter()
            .map(|key| facts.resolved(&KeyReference::new(key)).unwrap_or(key).to_owned())
            .collect();
        Self { kinds: policy.accept_encryption.clone(), keys, arns }
    }

    /// The same, with ARNs of the keys that were resolved elsewhere.
    pub(crate) fn with_arns(policy: &Policy, arns: Vec<String>) -> Self {
        Self { kinds: policy.accept_encryption.clone(), keys: policy.expected_keys.clone(), arns }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(kinds: &[EncryptionKind], keys: &[&str]) -> Self {
        let arns: Vec<String> = keys.iter().map(ToString::to_string).collect();
        Self { kinds: kinds.to_vec(), keys: arns.clone(), arns }
    }

    /// In words: the kinds, and the keys if any are required.
    pub(crate) fn in_words(&self) -> String {
        let under = if self.keys.is_empty() {
            String::new()
        } else {
            format!(", under {}", self.keys.join(" or "))
        };
        format!("{}{under}", policy::accepted(&self.kinds))
    }

    /// Whether it accepts this kind with the key of this ARN.
    pub(crate) fn accepts(&self, kind: EncryptionKind, key: Option<&str>) -> bool {
        self.accepts_kind(kind) && self.expects(key)
    }

    /// Whether it accepts this kind with some key.
    pub(crate) fn accepts_kind(&self, kind: EncryptionKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether it accepts the key of this ARN. If no key is required, any key or none is accepted.
    pub(super) fn expects(&self, key: Option<&str>) -> bool {
        self.arns.is_empty() || key.is_some_and(|key| self.arns.iter().any(|arn| arn == key))
    }
}

/// The fix of a check on objects: one command that encrypts the objects in all of `places` in
/// place, as `standard` requires.
pub(super) fn reencrypt(check: &Check, standard: &Standard, places: &[&S3Location]) -> FixTemplate {
    let words = |all: BTreeSet<String>, option: &str| {
        let words = all.iter().map(|word| format!("{option}{}", shell_word(word)));
        words.collect::<Vec<_>>().join(" ")
    };
    // A key that a flag requires is not in the settings file that the command reads, so the command
    // must name it.
    let key = match standard.keys.as_slice() {
        [key] if standard.accepts_kind(EncryptionKind::SseKms) => {
            format!("--kms-key {} ", shell_word(key))
        }
        _ => String::new(),
    };
    let locations: BTreeSet<String> = places.iter().map(ToString::to_string).collect();
    let buckets = places.iter().map(|place| place.bucket.to_string()).collect();
    FixTemplate::new(check.fix)
        .words("locations", format!("{key}{}", words(locations, "")))
        .words("buckets", words(buckets, "--bucket "))
}

/// The required encryption of every object, in words.
pub(super) fn wanted(standard: &Standard) -> String {
    format!("every object {}", standard.in_words())
}

/// Judges the counts; `none` is the text if there were no objects.
pub(super) fn judge(
    standard: &Standard,
    subject: CheckSubject,
    survey: &LocationSurvey,
    none: impl FnOnce(CheckSubject) -> Finding,
) -> Finding {
    let wrong: Vec<String> = survey
        .kinds
        .iter()
        .filter(|tally| !is_accepted(standard, &tally.stored))
        .map(offenders)
        .collect();
    let seen = if survey.looked_at < survey.objects {
        format!("an even sample of {} of {} objects", survey.looked_at, survey.objects)
    } else if survey.objects == 1 {
        "the only object".to_owned()
    } else {
        format!("all {} objects", survey.objects)
    };
    if !wrong.is_empty() {
        return subject.failed(format!("{}, of {seen}", wrong.join("; ")));
    }
    match survey.unseen.as_ref().map(|unseen| (unseen.objects, unseen.obstacle())) {
        Some((objects, Some((obstacle, denied)))) => {
            let obstacle = crate::base::lookup::LookupError {
                message: format!("{objects} objects: {}", obstacle.message),
                ..obstacle.clone()
            };
            if denied { subject.denied(&obstacle) } else { subject.unreachable(&obstacle) }
        }
        Some((objects, None)) => {
            subject.unknown(format!("{objects} objects could not be looked at"), "try again")
        }
        None if survey.objects == 0 => none(subject),
        None => {
            let kinds: Vec<String> =
                survey.kinds.iter().map(|tally| shown(&tally.stored)).collect();
            subject.passed(format!("{seen}: {}", kinds.join(", ")))
        }
    }
}

fn is_accepted(standard: &Standard, stored: &StoredEncryption) -> bool {
    match stored {
        StoredEncryption::Kind(kind, key) => standard.accepts(*kind, key.as_deref()),
        StoredEncryption::Unencrypted
        | StoredEncryption::CustomerKey
        | StoredEncryption::Other(_) => false,
    }
}

/// A text such as `2 objects (1024 bytes) unencrypted: logs/a, logs/b`.
fn offenders(tally: &EncryptionTally) -> String {
    let more = if tally.objects > tally.first.len() as u64 { ", …" } else { "" };
    format!(
        "{} ({}) {}: {}{more}",
        counted(tally.objects, "object"),
        counted(tally.bytes, "byte"),
        shown(&tally.stored),
        tally.first.join(", ")
    )
}

fn shown(stored: &StoredEncryption) -> String {
    match stored {
        StoredEncryption::Unencrypted => "unencrypted".to_owned(),
        StoredEncryption::Kind(kind, None) => policy::kind_name(*kind).to_owned(),
        StoredEncryption::Kind(kind, Some(key)) => {
            format!("{} under {key}", policy::kind_name(*kind))
        }
        StoredEncryption::CustomerKey => "SSE-C, under a key that the run does not have".to_owned(),
        StoredEncryption::Other(kind) => format!("of the unknown kind `{kind}`"),
    }
}

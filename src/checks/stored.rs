//! How objects that lie in S3 are judged, before a run and after it: by the kinds and keys that the policy accepts.

use super::{Case, Finding, Subject, buckets};
use crate::{
    facts::{Stored, Survey, Tally},
    names::KeyReference,
};

/// What every object should be, in words.
pub(super) fn wanted(case: &Case<'_>) -> String {
    format!("every object {}", buckets::wanted(case))
}

/// Judges what was counted; `none` is said where nothing was.
pub(super) fn judge(case: &Case<'_>, subject: Subject, survey: &Survey, none: impl FnOnce(Subject) -> Finding) -> Finding {
    let wrong: Vec<String> = survey.kinds.iter().filter(|tally| !is_accepted(case, &tally.stored)).map(offenders).collect();
    let seen = if survey.looked_at < survey.objects {
        format!("an even sample of {} of {} objects", survey.looked_at, survey.objects)
    } else if survey.objects == 1 {
        "the only object".to_owned()
    } else {
        format!("all {} objects", survey.objects)
    };
    if !wrong.is_empty() {
        return subject.refuted(format!("{}, of {seen}", wrong.join("; ")));
    }
    match survey.unseen.as_ref().map(|unseen| (unseen.objects, unseen.obstacle())) {
        Some((objects, Some((obstacle, denied)))) => {
            let obstacle = crate::aws::Obstacle { message: format!("{objects} objects: {}", obstacle.message), ..obstacle.clone() };
            if denied { subject.denied(&obstacle) } else { subject.unreachable(&obstacle) }
        }
        Some((objects, None)) => subject.unknown(format!("{objects} objects could not be looked at"), "try again"),
        None if survey.objects == 0 => none(subject),
        None => {
            let kinds: Vec<String> = survey.kinds.iter().map(|tally| shown(&tally.stored)).collect();
            subject.proved(format!("{seen}: {}", kinds.join(", ")))
        }
    }
}

fn is_accepted(case: &Case<'_>, stored: &Stored) -> bool {
    match stored {
        Stored::Kind(kind, key) => {
            let key = key.as_deref().map(KeyReference::new);
            buckets::is_accepted(case, *kind, key.as_ref())
        }
        Stored::Unencrypted | Stored::CustomerKey | Stored::Other(_) => false,
    }
}

/// `2 objects (1024 bytes) unencrypted: logs/a, logs/b`.
fn offenders(tally: &Tally) -> String {
    let more = if tally.objects > tally.first.len() as u64 { ", …" } else { "" };
    let objects = if tally.objects == 1 { "object" } else { "objects" };
    format!("{} {objects} ({} bytes) {}: {}{more}", tally.objects, tally.bytes, shown(&tally.stored), tally.first.join(", "))
}

fn shown(stored: &Stored) -> String {
    match stored {
        Stored::Unencrypted => "unencrypted".to_owned(),
        Stored::Kind(kind, None) => buckets::kind_name(*kind).to_owned(),
        Stored::Kind(kind, Some(key)) => format!("{} under {key}", buckets::kind_name(*kind)),
        Stored::CustomerKey => "SSE-C, under a key that the run does not have".to_owned(),
        Stored::Other(kind) => format!("of the unknown kind `{kind}`"),
    }
}

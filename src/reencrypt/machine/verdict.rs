//! Whether a copy that is a version of its own is all that it was made of.

use std::collections::VecDeque;

use crate::reencrypt::machine::{
    choice::RepairMethod,
    event::{MadeObject, ObservedObject},
    snapshot::{NULL, Snapshot, losses},
    state::TargetEncryption,
};

/// The looks that are compared: at the copy, and at what lies below it down to the planned version.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// S3 said which version the copy is; else it is the one above the planned version.
    pub(super) is_known: bool,
    /// A delete marker is directly below the copy.
    pub(super) over_marker: bool,
    /// Still to be looked at.
    pub(super) queue: VecDeque<String>,
    /// Seen: the copy first, then what is below it.
    pub(super) seen: Vec<ObservedObject>,
}

/// What the looks are compared with.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct CopyQuestion<'a> {
    pub(super) before: &'a Snapshot,
    pub(super) target: &'a TargetEncryption,
    pub(super) method: RepairMethod,
    /// The planned version's id.
    pub(super) planned: &'a str,
    pub(super) answer: Option<&'a MadeObject>,
    /// This tool has sent a call that may have made it.
    pub(super) may_be_ours: bool,
    pub(super) ignores_buried: bool,
    pub(super) ignores_losses: bool,
    pub(super) foreign_is_ours: bool,
}

/// What a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CopyVerdict {
    /// It is all that is below it.
    Done {
        /// It is all that the planned version is, too, and so is what is between them.
        is_proof: bool,
        /// A version below it is not as it should be; true: Object Lock keeps it.
        old: Option<bool>,
    },
    /// It is this tool's copy, and hides or lacks what others did: it must go.
    TakeBack(Vec<String>),
    /// It lacks something, and must not, or cannot, be taken back.
    Damaged(Vec<String>),
    /// It is another writer's.
    Foreign,
}

/// The checksum that a copy in parts keeps, and whether it is one of the whole: else of the parts'
/// checksums, each of which S3 wants at the completion.
pub fn checksum_of_parts(before: &Snapshot) -> (&str, bool) {
    match before.checksum.as_ref().map(|it| (it.algorithm.as_str(), it.full)) {
        Some((algorithm @ ("CRC32" | "CRC32C"), false)) => (algorithm, false),
        Some((algorithm @ ("CRC32" | "CRC32C" | "CRC64NVME"), _)) => (algorithm, true),
        Some((algorithm, _)) => (algorithm, false),
        None => ("CRC64NVME", true),
    }
}

/// Whether S3 makes such a checksum of an upload in parts, as far as that is documented. Source:
/// Amazon S3 user guide, Checking object integrity, the table of algorithms and their types.
pub fn keeps_checksum_in_parts(before: &Snapshot) -> bool {
    before.checksum.as_ref().is_none_or(|it| {
        matches!(it.algorithm.as_str(), "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256")
    })
}

/// What a copy of `source` is that restates what was seen `before`: S3 takes metadata and tags from
/// the source, and the rest from the request.
fn expected(source: &Snapshot, before: &Snapshot, method: RepairMethod) -> Snapshot {
    if method == RepairMethod::CopyInParts {
        return before.clone();
    }
    let mut expected = source.clone();
    expected.grants = before.grants.clone();
    expected.lock = before.lock.clone();
    expected.storage_class = before.storage_class.clone();
    match before.headers.get("website-redirect") {
        Some(to) => expected.headers.insert("website-redirect".to_owned(), to.clone()),
        None => expected.headers.remove("website-redirect"),
    };
    expected
}

/// Judges a copy by what it is made of **as that is now**: its owner may have changed it meanwhile.
pub(super) fn judge(comparison: &Comparison, question: &CopyQuestion<'_>) -> CopyVerdict {
    let CopyQuestion { before, target, method, planned, .. } = *question;
    let Some((made, below)) = comparison.seen.split_first() else { return CopyVerdict::Foreign };
    let now = made.now;
    let lost = |from: &Snapshot, to: &Snapshot| losses(from, to, method, now);
    let meets = target.is_met(&made.snapshot);
    // The id `null` is no proof: another write may have taken it over.
    let is_taken_over = made.snapshot.id() == NULL
        && question.answer.is_some_and(|answer| {
            answer.etag.as_ref().is_some_and(|etag| *etag != made.snapshot.etag)
                || answer.modified.is_some_and(|at| at / 1000 != made.snapshot.modified / 1000)
        });
    if is_taken_over {
        return CopyVerdict::Foreign;
    }
    // The planned version was removed meanwhile, and what is below the copy is older than that: it
    // is not what the copy was made of, unless S3 has said so.
    let source = question.answer.and_then(|answer| answer.source.as_deref());
    let is_older = |below: &ObservedObject| {
        below.snapshot.modified < before.modified && source != Some(below.snapshot.id())
    };
    let is_gone = !below.iter().any(|it| it.snapshot.id() == planned);
    let is_gone = is_gone && below.first().is_some_and(is_older);
    // Of a copy in parts S3 says nothing: the planned version may have been removed just before.
    let is_uncertain = is_gone && method == RepairMethod::CopyInParts;
    let below = if is_gone && !is_uncertain { &[] } else { below };
    let source = below.first().map_or(before, |source| &source.snapshot);
    let mut missing = lost(source, &made.snapshot);
    if question.ignores_buried {
        missing.clear();
    }
    if question.ignores_losses {
        missing.clear();
    }
    if comparison.over_marker {
        missing.push("a deletion".to_owned());
    }
    // Where S3 has not said which version it made, nothing but the bytes tells a copy from what a
    // writer wrote, encrypted as asked and with the same of all else.
    let is_ours = comparison.is_known
        || question.may_be_ours && source.has_same_content(&made.snapshot)
        || question.foreign_is_ours;
    if meets && missing.is_empty() && !is_ours {
        return CopyVerdict::Foreign;
    }
    if meets && missing.is_empty() {
        let planned = below.iter().find(|it| it.snapshot.id() == planned);
        // What lies between can only be this tool's own where it is encrypted as asked; and where S3
        // has not said which version it made, nothing but the bytes tells a copy from a writer's.
        let is_copy = |from: &Snapshot, it: &ObservedObject| {
            let is_known = comparison.is_known && it.snapshot.id() == made.snapshot.id();
            target.is_met(&it.snapshot)
                && lost(from, &it.snapshot).is_empty()
                && (is_known || from.has_same_content(&it.snapshot))
        };
        let is_proof = question.ignores_buried
            || question.may_be_ours
                && planned.is_some_and(|planned| {
                    comparison
                        .seen
                        .iter()
                        .filter(|it| it.snapshot.id() != planned.snapshot.id())
                        .all(|it| is_copy(&planned.snapshot, it))
                });
        let mut offenders = below.iter().filter(|it| it.offends).peekable();
        let old = offenders
            .peek()
            .is_some()
            .then(|| offenders.any(|it| it.snapshot.lock.protects(it.now)));
        return CopyVerdict::Done { is_proof, old };
    }
    if !meets {
        missing.push(target.difference(&made.snapshot));
    }
    // Somebody has changed it since: that must not be lost with it.
    let is_as_made = lost(&expected(source, before, method), &made.snapshot).is_empty();
    match (comparison.is_known, is_as_made) {
        (true, true) if made.snapshot.id() != NULL && !is_uncertain => {
            CopyVerdict::TakeBack(missing)
        }
        (true, _) => CopyVerdict::Damaged(missing),
        (false, true) if meets => CopyVerdict::Damaged(missing),
        (false, _) if meets && question.foreign_is_ours => CopyVerdict::Damaged(missing),
        (false, _) => CopyVerdict::Foreign,
    }
}

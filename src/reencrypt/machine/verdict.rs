//! Evaluates whether a copy that is a version of its own has all properties of its source.

use std::collections::VecDeque;

use crate::reencrypt::machine::{
    choice::RepairMethod,
    event::{MadeObject, ObservedObject},
    snapshot::{NULL, Snapshot, losses},
    state::TargetEncryption,
};

/// The look-ups that are compared: the copy, and the versions below it down to the planned one.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// S3 returned which version the copy is; otherwise it is the one above the planned version.
    pub(super) is_known: bool,
    /// A delete marker is directly below the copy.
    pub(super) over_marker: bool,
    /// Versions that still must be looked up.
    pub(super) queue: VecDeque<String>,
    /// Looked-up versions: the copy first, then those below it.
    pub(super) seen: Vec<ObservedObject>,
}

/// The data that the look-ups are compared with.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct CopyQuestion<'a> {
    pub(super) before: &'a Snapshot,
    pub(super) target: &'a TargetEncryption,
    pub(super) method: RepairMethod,
    /// The planned version's id.
    pub(super) planned: &'a str,
    pub(super) answer: Option<&'a MadeObject>,
    /// This tool has sent a call that may have created it.
    pub(super) may_be_ours: bool,
    pub(super) ignores_buried: bool,
    pub(super) ignores_losses: bool,
    pub(super) foreign_is_ours: bool,
}

/// The verdict on a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CopyVerdict {
    /// It has all properties of the version below it.
    Done {
        /// It also has all properties of the planned version, and so have the versions between
        /// them.
        is_proof: bool,
        /// A version below it is not encrypted as required; true: it is under Object Lock.
        old: Option<bool>,
    },
    /// It is this tool's copy, and hides or lacks changes of others: it must be removed.
    TakeBack(Vec<String>),
    /// It lacks something, and must not or cannot be removed.
    Damaged(Vec<String>),
    /// It is another writer's.
    Foreign,
}

/// The checksum that a multipart copy keeps, and whether it covers the whole content. Otherwise it
/// covers the parts' checksums, which S3 needs at the completion.
pub fn checksum_of_parts(before: &Snapshot) -> (&str, bool) {
    match before.checksum.as_ref().map(|it| (it.algorithm.as_str(), it.full)) {
        Some((algorithm @ ("CRC32" | "CRC32C"), false)) => (algorithm, false),
        Some((algorithm @ ("CRC32" | "CRC32C" | "CRC64NVME"), _)) => (algorithm, true),
        Some((algorithm, _)) => (algorithm, false),
        None => ("CRC64NVME", true),
    }
}

/// Whether S3 computes this kind of checksum for a multipart upload, as far as that is documented.
/// Source: Amazon S3 user guide, Checking object integrity, the table of algorithms and their
/// types.
pub fn keeps_checksum_in_parts(before: &Snapshot) -> bool {
    before.checksum.as_ref().is_none_or(|it| {
        matches!(it.algorithm.as_str(), "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256")
    })
}

/// The expected copy of `source` by a request that sets the properties of `before` again: S3 takes
/// metadata and tags from the source, and the rest from the request.
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

/// Evaluates a copy by the **current** state of its source: its owner may have changed it
/// meanwhile.
pub(super) fn judge(comparison: &Comparison, question: &CopyQuestion<'_>) -> CopyVerdict {
    let CopyQuestion { before, target, method, planned, .. } = *question;
    let Some((made, below)) = comparison.seen.split_first() else { return CopyVerdict::Foreign };
    let now = made.now;
    let lost = |from: &Snapshot, to: &Snapshot| losses(from, to, method, now);
    let meets = target.is_met(&made.snapshot);
    // The id `null` is no evidence: another write may have taken it over.
    let is_taken_over = made.snapshot.id() == NULL
        && question.answer.is_some_and(|answer| {
            answer.etag.as_ref().is_some_and(|etag| *etag != made.snapshot.etag)
                || answer.modified.is_some_and(|at| at / 1000 != made.snapshot.modified / 1000)
        });
    if is_taken_over {
        return CopyVerdict::Foreign;
    }
    // The planned version was removed meanwhile, and the version below the copy is older: it is not
    // the copy's source, unless S3's response says so.
    let source = question.answer.and_then(|answer| answer.source.as_deref());
    let is_older = |below: &ObservedObject| {
        below.snapshot.modified < before.modified && source != Some(below.snapshot.id())
    };
    let is_gone = !below.iter().any(|it| it.snapshot.id() == planned);
    let is_gone = is_gone && below.first().is_some_and(is_older);
    // S3 returns no source for a multipart copy: the planned version may have been removed just
    // before.
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
    // Without S3's response, only the bytes distinguish a copy from another writer's object with
    // the same encryption and properties.
    let is_ours = comparison.is_known
        || question.may_be_ours && source.has_same_content(&made.snapshot)
        || question.foreign_is_ours;
    if meets && missing.is_empty() && !is_ours {
        return CopyVerdict::Foreign;
    }
    if meets && missing.is_empty() {
        let planned = below.iter().find(|it| it.snapshot.id() == planned);
        // A version in between can only be this tool's own if it is encrypted as requested. Without
        // S3's response, only the bytes distinguish a copy from another writer's object.
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
    // Somebody has changed it since; that change must not be lost by removing it.
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

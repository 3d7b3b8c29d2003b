//! Decides what to do about one object: a pure function of the object's state, its target and the
//! options.

use serde::{Deserialize, Serialize};

/// Whether an object is archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArchiveState {
    /// It can be read.
    #[default]
    No,
    /// It must be restored before it can be read.
    Archived,
    /// A restore is in progress.
    Restoring,
    /// A restored copy can be read.
    Restored,
}

/// The largest object for a single copy. Source: Amazon S3 API reference, CopyObject.
pub const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;

/// How the encryption of an object is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairMethod {
    /// `UpdateObjectEncryption`: encrypts its data key again, and leaves its content untouched.
    Update,
    /// `CopyObject` onto itself.
    Copy,
    /// `UploadPartCopy` onto itself, for objects too large for a single copy.
    CopyInParts,
}

/// The decision about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// It is as required.
    Nothing,
    /// Its encryption is changed.
    Do(RepairMethod),
    /// Its restore is requested; a later run continues.
    Restore,
    /// It is an old version, and is removed once a newer one is verified.
    Purge,
    /// It remains unchanged.
    Leave(LeaveReason),
}

/// Why an object remains unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// SSE-C.
    CustomerKey,
    /// Archived, and restores are not requested.
    Archived,
    /// Its restore is in progress.
    Restoring,
    /// An old version. A copy of it would become the current one.
    OldVersion,
    /// An old version under Object Lock.
    LockedVersion,
    /// An old version with the id `null`: S3 cannot remove exactly this one and not a later one
    /// with the same id.
    NullVersion,
    /// A copy would overwrite another version: versioning is suspended.
    WouldReplaceVersion,
    /// There is a multipart upload to its key whose owner is unknown.
    UnknownUpload,
    /// Some of its metadata cannot be read, so a multipart copy would lose it.
    UnreadableMetadata,
    /// It has annotations, which a multipart copy loses.
    Annotated,
    /// It is unknown whether a multipart copy keeps its checksum's algorithm.
    UnknownChecksum,
    /// Its key contains characters that are invalid in XML, the format of S3's responses about
    /// multipart copies.
    KeyNotInXml,
}

impl LeaveReason {
    /// The meaning, and what to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::CustomerKey => {
                "SSE-C: only the writer has the key; have the writer copy it onto itself with \
                 that key as the source's, under the target encryption"
            }
            Self::Archived => {
                "archived: add --restore, and run this again when the restores are done"
            }
            Self::Restoring => "its restore is under way: run this again when it is done",
            Self::OldVersion => {
                "an old version: --purge-old-versions removes those that this program's own \
                 verified copies replaced, --purge-overwritten-versions those that others \
                 overwrote; or let a lifecycle rule for noncurrent versions do so"
            }
            Self::LockedVersion => {
                "an old version that Object Lock protects: it can be removed when its retention \
                 or legal hold has ended"
            }
            Self::NullVersion => {
                "an old version with the id null, which another write could take over while it is \
                 removed: a lifecycle rule for noncurrent versions removes it"
            }
            Self::WouldReplaceVersion => {
                "versioning is suspended, and a copy would overwrite the version with the id \
                 null: enable versioning, or remove that version (--purge-overwritten-versions \
                 lets the copy take its place where it is not encrypted as required), then run \
                 this again"
            }
            Self::UnknownUpload => {
                "a multipart upload to its key is not finished, and this program does not know \
                 whether it began it: abort it if no writer is at work, then run this again"
            }
            Self::UnreadableMetadata => {
                "its metadata cannot all be read over HTTP, and it is too large for one copy: \
                 download it, and upload it with its metadata"
            }
            Self::UnknownChecksum => {
                "its checksum is of an algorithm that S3 does not document for uploads in parts, \
                 and it is too large for one copy: have its writer upload it again, under the \
                 target encryption"
            }
            Self::KeyNotInXml => {
                "its key has control characters, which S3's answers about copies in parts cannot \
                 hold, and it is too large for one copy: download it, and upload it under another \
                 key"
            }
            Self::Annotated => {
                "it has annotations, and is too large for one copy: copy it with a tool that \
                 writes the annotations again"
            }
        }
    }
}

/// Whether a key is valid in XML. Source: Extensible Markup Language (XML) 1.0, production Char.
pub fn fits_in_xml(key: &str) -> bool {
    !key.chars().any(|letter| {
        matches!(
            letter,
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'
        )
    })
}

/// The state of an object.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct ObjectState {
    /// SSE-C: only its writer can read it.
    pub customer_key: bool,
    /// UpdateObjectEncryption can re-encrypt its data key.
    pub has_data_key: bool,
    /// In bytes.
    pub size: u64,
    /// It is the current version.
    pub is_latest: bool,
    /// Whether it is archived.
    pub archive: ArchiveState,
    /// Object Lock protects it now.
    pub locked: bool,
    /// What a multipart copy would lose.
    pub loss: Option<LeaveReason>,
    /// The ledger contains a copy, made and verified by this tool, that replaced it.
    pub replaced: bool,
    /// Its id is `null`, which another write can take over at any time.
    pub null: bool,
}

/// The target of an object, and the options.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct RequestedEncryption {
    /// The target is SSE-KMS with a key whose ARN is known and that is in the bucket's own account:
    /// UpdateObjectEncryption accepts no other.
    pub updatable: bool,
    /// Archived objects are restored first.
    pub restore: bool,
    /// Old versions that were replaced by this tool's own verified copies are removed.
    pub purge: bool,
    /// Old versions that other writers overwrote are removed, too.
    pub purge_overwritten: bool,
}

/// Decides. `offends`: the object is not encrypted as required.
pub fn choose(seen: &ObjectState, offends: bool, wish: RequestedEncryption) -> Choice {
    if !offends {
        return Choice::Nothing;
    }
    if seen.customer_key {
        return Choice::Leave(LeaveReason::CustomerKey);
    }
    if seen.has_data_key && wish.updatable && !seen.locked {
        return Choice::Do(RepairMethod::Update);
    }
    if !seen.is_latest {
        let may = if seen.replaced { wish.purge } else { wish.purge_overwritten };
        return Choice::Leave(if !may {
            LeaveReason::OldVersion
        } else if seen.null {
            LeaveReason::NullVersion
        } else if seen.locked {
            LeaveReason::LockedVersion
        } else {
            return Choice::Purge;
        });
    }
    match seen.archive {
        ArchiveState::No | ArchiveState::Restored => {}
        ArchiveState::Restoring => return Choice::Leave(LeaveReason::Restoring),
        ArchiveState::Archived if wish.restore => return Choice::Restore,
        ArchiveState::Archived => return Choice::Leave(LeaveReason::Archived),
    }
    if seen.size <= LARGEST_COPY {
        return Choice::Do(RepairMethod::Copy);
    }
    seen.loss.map_or(Choice::Do(RepairMethod::CopyInParts), Choice::Leave)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reencrypt::machine::snapshot::has_data_key;

    fn seen(algorithm: Option<&str>) -> ObjectState {
        ObjectState {
            customer_key: false,
            has_data_key: has_data_key(algorithm),
            size: 1,
            is_latest: true,
            archive: ArchiveState::No,
            locked: false,
            loss: None,
            replaced: true,
            null: false,
        }
    }

    fn to(kind: &str) -> RequestedEncryption {
        RequestedEncryption {
            updatable: kind == KMS,
            restore: false,
            purge: false,
            purge_overwritten: false,
        }
    }

    const S3: &str = "AES256";
    const KMS: &str = "aws:kms";
    const DSSE: &str = "aws:kms:dsse";

    #[test]
    fn the_method_by_what_there_is_and_what_it_shall_become() {
        let (update, copy) = (Choice::Do(RepairMethod::Update), Choice::Do(RepairMethod::Copy));
        let table = [
            (None, S3, copy),
            (None, KMS, copy),
            (None, DSSE, copy),
            (Some(S3), KMS, update),
            (Some(S3), DSSE, copy),
            (Some(KMS), KMS, update),
            (Some(KMS), S3, copy),
            (Some(KMS), DSSE, copy),
            (Some(DSSE), KMS, copy),
            (Some(DSSE), DSSE, copy),
            (Some("aws:fsx"), KMS, copy),
        ];
        for (stored, kind, wanted) in table {
            assert_eq!(choose(&seen(stored), true, to(kind)), wanted, "{stored:?} to {kind:?}");
            assert_eq!(choose(&seen(stored), false, to(kind)), Choice::Nothing);
        }
        let with_customer_key = ObjectState { customer_key: true, ..seen(None) };
        assert_eq!(
            choose(&with_customer_key, true, to(KMS)),
            Choice::Leave(LeaveReason::CustomerKey)
        );
    }

    #[test]
    fn an_update_needs_a_key_of_the_buckets_account_and_no_lock() {
        let stored = Some(S3);
        assert_eq!(
            choose(&seen(stored), true, RequestedEncryption { updatable: false, ..to(KMS) }),
            Choice::Do(RepairMethod::Copy)
        );
        assert_eq!(
            choose(&ObjectState { locked: true, ..seen(stored) }, true, to(KMS)),
            Choice::Do(RepairMethod::Copy)
        );
    }

    #[test]
    fn what_is_archived_is_updated_without_a_restore_and_copied_only_after_one() {
        let unencrypted = None;
        let in_archive = |archive, restore| {
            choose(
                &ObjectState { archive, ..seen(unencrypted) },
                true,
                RequestedEncryption { restore, ..to(S3) },
            )
        };
        assert_eq!(in_archive(ArchiveState::Archived, false), Choice::Leave(LeaveReason::Archived));
        assert_eq!(in_archive(ArchiveState::Archived, true), Choice::Restore);
        assert_eq!(
            in_archive(ArchiveState::Restoring, true),
            Choice::Leave(LeaveReason::Restoring)
        );
        assert_eq!(in_archive(ArchiveState::Restored, false), Choice::Do(RepairMethod::Copy));
        let stored = Some(S3);
        assert_eq!(
            choose(&ObjectState { archive: ArchiveState::Archived, ..seen(stored) }, true, to(KMS)),
            Choice::Do(RepairMethod::Update)
        );
    }

    #[test]
    fn an_old_version_is_updated_in_place_or_removed_when_asked_and_never_copied() {
        let (unencrypted, stored) = (None, Some(S3));
        let old = |stored, locked, purge| {
            choose(
                &ObjectState { is_latest: false, locked, ..seen(stored) },
                true,
                RequestedEncryption { purge, ..to(KMS) },
            )
        };
        assert_eq!(old(unencrypted, false, false), Choice::Leave(LeaveReason::OldVersion));
        assert_eq!(old(unencrypted, false, true), Choice::Purge);
        assert_eq!(old(unencrypted, true, true), Choice::Leave(LeaveReason::LockedVersion));
        assert_eq!(old(stored, false, true), Choice::Do(RepairMethod::Update));
    }

    #[test]
    fn a_purge_takes_what_own_copies_replaced_and_overwritten_versions_only_where_asked_for() {
        let old = |replaced, purge_overwritten, null| {
            let old = ObjectState { is_latest: false, replaced, null, ..seen(None) };
            choose(&old, true, RequestedEncryption { purge: true, purge_overwritten, ..to(S3) })
        };
        assert_eq!(old(true, false, false), Choice::Purge);
        assert_eq!(old(false, false, false), Choice::Leave(LeaveReason::OldVersion));
        assert_eq!(old(false, true, false), Choice::Purge);
        assert_eq!(old(true, true, true), Choice::Leave(LeaveReason::NullVersion));
    }

    #[test]
    fn beyond_five_gibibytes_it_is_copied_in_parts_unless_that_would_lose_something() {
        let unencrypted = None;
        let large = |size| ObjectState { size, ..seen(unencrypted) };
        assert_eq!(choose(&large(LARGEST_COPY), true, to(S3)), Choice::Do(RepairMethod::Copy));
        assert_eq!(
            choose(&large(LARGEST_COPY + 1), true, to(S3)),
            Choice::Do(RepairMethod::CopyInParts)
        );
        for reason in [
            LeaveReason::UnreadableMetadata,
            LeaveReason::Annotated,
            LeaveReason::UnknownChecksum,
            LeaveReason::KeyNotInXml,
        ] {
            let losing = ObjectState { loss: Some(reason), ..large(LARGEST_COPY + 1) };
            assert_eq!(choose(&losing, true, to(S3)), Choice::Leave(reason));
            assert_eq!(
                choose(&ObjectState { size: 1, ..losing }, true, to(S3)),
                Choice::Do(RepairMethod::Copy)
            );
        }
    }
}

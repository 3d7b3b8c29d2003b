//! What is to be done about one object: a plain function of what is known of it, of what it shall
//! become, and of what was allowed.

use serde::{Deserialize, Serialize};

use crate::{facts::stored::StoredEncryption, settings::policy::EncryptionKind};

/// Whether an object lies in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ArchiveState {
    /// It can be read.
    #[default]
    No,
    /// It must be restored first.
    Archived,
    /// A restore is under way.
    Restoring,
    /// A restored copy can be read.
    Restored,
}

/// The largest object that one copy takes. Source: Amazon S3 API reference, CopyObject.
pub(crate) const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;

/// How an object gets another encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RepairMethod {
    /// `UpdateObjectEncryption`: its data key is encrypted anew, its content is not touched.
    Update,
    /// `CopyObject` onto itself.
    Copy,
    /// `UploadPartCopy` onto itself, for what is larger than one copy takes.
    CopyInParts,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Choice {
    /// It is as it should be.
    Nothing,
    /// It gets another encryption.
    Do(RepairMethod),
    /// Its restore is asked for; a later run goes on.
    Restore,
    /// It is an old version, and it is removed once a newer one is proved.
    Purge,
    /// It stays as it is.
    Leave(LeaveReason),
}

/// Why an object stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LeaveReason {
    /// SSE-C.
    CustomerKey,
    /// Archived, and nobody asked for restores.
    Archived,
    /// Its restore is under way.
    Restoring,
    /// An old version, which a copy would make the current one.
    OldVersion,
    /// An old version that Object Lock keeps.
    LockedVersion,
    /// Some of its metadata cannot be read, so that a copy in parts would lose it.
    UnreadableMetadata,
    /// It is annotated, and copies in parts lose annotations.
    Annotated,
    /// Its key holds characters that S3's answers about copies in parts, which are XML, cannot
    /// hold.
    KeyNotInXml,
}

impl LeaveReason {
    /// What it means, and what to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::CustomerKey => {
                "SSE-C: only the writer has the key; have the writer copy it onto itself with that key as the source's, under the target encryption"
            }
            Self::Archived => {
                "archived: add --restore, and run this again when the restores are done"
            }
            Self::Restoring => "its restore is under way: run this again when it is done",
            Self::OldVersion => {
                "an old version: add --purge-old-versions to remove it, or let a lifecycle rule for noncurrent versions do so"
            }
            Self::LockedVersion => {
                "an old version that Object Lock keeps: it can be removed when its retention or legal hold is over"
            }
            Self::UnreadableMetadata => {
                "its metadata cannot all be read over HTTP, and it is too large for one copy: download it, and upload it with its metadata"
            }
            Self::KeyNotInXml => {
                "its key has control characters, which S3's answers about copies in parts cannot hold, and it is too large for one copy: download it, and upload it under another key"
            }
            Self::Annotated => {
                "it has annotations, and is too large for one copy: copy it with a tool that writes annotations anew"
            }
        }
    }
}

/// Whether XML can hold a key. Source: Extensible Markup Language (XML) 1.0, production Char.
pub(crate) fn fits_in_xml(key: &str) -> bool {
    !key.chars().any(|letter| matches!(letter, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectState<'a> {
    pub(crate) stored: &'a StoredEncryption,
    pub(crate) size: u64,
    pub(crate) is_latest: bool,
    pub(crate) archive: ArchiveState,
    /// Object Lock protects it now.
    pub(crate) locked: bool,
    /// What a copy in parts would lose.
    pub(crate) loss: Option<LeaveReason>,
}

/// What it shall become, and what was allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestedEncryption {
    pub(crate) kind: EncryptionKind,
    /// The key is known by its ARN, and is of the bucket's own account: `UpdateObjectEncryption`
    /// takes no other.
    pub(crate) own_key: bool,
    pub(crate) restore: bool,
    pub(crate) purge: bool,
}

/// Decides. `offends`: it is not encrypted as it should be.
pub(crate) fn choose(seen: &ObjectState<'_>, offends: bool, wish: RequestedEncryption) -> Choice {
    if !offends {
        return Choice::Nothing;
    }
    if *seen.stored == StoredEncryption::CustomerKey {
        return Choice::Leave(LeaveReason::CustomerKey);
    }
    let has_data_key = matches!(
        seen.stored,
        StoredEncryption::Kind(EncryptionKind::SseS3 | EncryptionKind::SseKms, _)
    );
    if has_data_key && wish.kind == EncryptionKind::SseKms && wish.own_key && !seen.locked {
        return Choice::Do(RepairMethod::Update);
    }
    if !seen.is_latest {
        return Choice::Leave(if !wish.purge {
            LeaveReason::OldVersion
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

    const S3: EncryptionKind = EncryptionKind::SseS3;
    const KMS: EncryptionKind = EncryptionKind::SseKms;
    const DSSE: EncryptionKind = EncryptionKind::DsseKms;

    fn seen(stored: &StoredEncryption) -> ObjectState<'_> {
        ObjectState {
            stored,
            size: 1,
            is_latest: true,
            archive: ArchiveState::No,
            locked: false,
            loss: None,
        }
    }

    fn to(kind: EncryptionKind) -> RequestedEncryption {
        RequestedEncryption { kind, own_key: true, restore: false, purge: false }
    }

    #[test]
    fn the_method_by_what_there_is_and_what_it_shall_become() {
        let key = || Some("arn:aws:kms:x".to_owned());
        let (update, copy) = (Choice::Do(RepairMethod::Update), Choice::Do(RepairMethod::Copy));
        let table = [
            (StoredEncryption::Unencrypted, S3, copy),
            (StoredEncryption::Unencrypted, KMS, copy),
            (StoredEncryption::Unencrypted, DSSE, copy),
            (StoredEncryption::Kind(S3, None), KMS, update),
            (StoredEncryption::Kind(S3, None), DSSE, copy),
            (StoredEncryption::Kind(KMS, key()), KMS, update),
            (StoredEncryption::Kind(KMS, key()), S3, copy),
            (StoredEncryption::Kind(KMS, key()), DSSE, copy),
            (StoredEncryption::Kind(DSSE, key()), KMS, copy),
            (StoredEncryption::Kind(DSSE, key()), DSSE, copy),
            (StoredEncryption::Other("aws:fsx".to_owned()), KMS, copy),
            (StoredEncryption::CustomerKey, KMS, Choice::Leave(LeaveReason::CustomerKey)),
        ];
        for (stored, kind, wanted) in table {
            assert_eq!(choose(&seen(&stored), true, to(kind)), wanted, "{stored:?} to {kind:?}");
            assert_eq!(choose(&seen(&stored), false, to(kind)), Choice::Nothing);
        }
    }

    #[test]
    fn an_update_needs_a_key_of_the_buckets_account_and_no_lock() {
        let stored = StoredEncryption::Kind(S3, None);
        assert_eq!(
            choose(&seen(&stored), true, RequestedEncryption { own_key: false, ..to(KMS) }),
            Choice::Do(RepairMethod::Copy)
        );
        assert_eq!(
            choose(&ObjectState { locked: true, ..seen(&stored) }, true, to(KMS)),
            Choice::Do(RepairMethod::Copy)
        );
    }

    #[test]
    fn what_is_archived_is_updated_without_a_restore_and_copied_only_after_one() {
        let unencrypted = StoredEncryption::Unencrypted;
        let in_archive = |archive, restore| {
            choose(
                &ObjectState { archive, ..seen(&unencrypted) },
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
        let stored = StoredEncryption::Kind(S3, None);
        assert_eq!(
            choose(
                &ObjectState { archive: ArchiveState::Archived, ..seen(&stored) },
                true,
                to(KMS)
            ),
            Choice::Do(RepairMethod::Update)
        );
    }

    #[test]
    fn an_old_version_is_updated_in_place_or_removed_when_asked_and_never_copied() {
        let (unencrypted, stored) =
            (StoredEncryption::Unencrypted, StoredEncryption::Kind(S3, None));
        let old = |stored, locked, purge| {
            choose(
                &ObjectState { is_latest: false, locked, ..seen(stored) },
                true,
                RequestedEncryption { purge, ..to(KMS) },
            )
        };
        assert_eq!(old(&unencrypted, false, false), Choice::Leave(LeaveReason::OldVersion));
        assert_eq!(old(&unencrypted, false, true), Choice::Purge);
        assert_eq!(old(&unencrypted, true, true), Choice::Leave(LeaveReason::LockedVersion));
        assert_eq!(old(&stored, false, true), Choice::Do(RepairMethod::Update));
    }

    #[test]
    fn beyond_five_gibibytes_it_is_copied_in_parts_unless_that_would_lose_something() {
        let unencrypted = StoredEncryption::Unencrypted;
        let large = |size| ObjectState { size, ..seen(&unencrypted) };
        assert_eq!(choose(&large(LARGEST_COPY), true, to(S3)), Choice::Do(RepairMethod::Copy));
        assert_eq!(
            choose(&large(LARGEST_COPY + 1), true, to(S3)),
            Choice::Do(RepairMethod::CopyInParts)
        );
        for reason in
            [LeaveReason::UnreadableMetadata, LeaveReason::Annotated, LeaveReason::KeyNotInXml]
        {
            let losing = ObjectState { loss: Some(reason), ..large(LARGEST_COPY + 1) };
            assert_eq!(choose(&losing, true, to(S3)), Choice::Leave(reason));
            assert_eq!(
                choose(&ObjectState { size: 1, ..losing }, true, to(S3)),
                Choice::Do(RepairMethod::Copy)
            );
        }
    }
}

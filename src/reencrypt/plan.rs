//! What decides about an object, besides the object.

use std::collections::BTreeMap;

use crate::{
    reencrypt::{
        machine::choice::RequestedEncryption,
        snapshot::HiddenMetadata,
        target::{Criterion, RepairTarget},
    },
    settings::policy::EncryptionKind,
};

/// What a bucket's objects get, and how it treats them.
#[derive(Clone, Debug)]
pub(crate) struct BucketPlan {
    pub(crate) target: RepairTarget,
    pub(crate) carries: HiddenMetadata,
    pub(crate) versioned: bool,
}

/// Everything that decides about an object, besides the object.
#[derive(Clone, Debug)]
pub(crate) struct RepairPlan {
    pub(crate) buckets: BTreeMap<String, BucketPlan>,
    pub(crate) criterion: Criterion,
    pub(crate) restore: bool,
    pub(crate) restore_days: u16,
    pub(crate) purge: bool,
}

impl RepairPlan {
    pub(crate) fn wish(&self, target: &RepairTarget) -> RequestedEncryption {
        RequestedEncryption {
            updatable: target.kind == EncryptionKind::SseKms && target.updatable,
            restore: self.restore,
            purge: self.purge,
            purge_overwritten: false,
        }
    }
}

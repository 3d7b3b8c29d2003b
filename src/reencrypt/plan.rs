//! What decides about an object, besides the object.

use std::collections::BTreeMap;

use crate::reencrypt::{
    method::RequestedEncryption,
    snapshot::HiddenMetadata,
    target::{Criterion, RepairTarget},
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
            kind: target.kind,
            own_key: target.updatable,
            restore: self.restore,
            purge: self.purge,
        }
    }
}

//! What decides about an object, besides the object.

use std::collections::BTreeMap;

use crate::{
    facts::s3_configurations::BucketConfigurations,
    reencrypt::{
        method::RequestedEncryption,
        snapshot::HiddenMetadata,
        target::{Criterion, RepairTarget},
        versioning::Versioning,
    },
};

/// What a bucket's objects get, and how it treats them.
#[derive(Clone, Debug)]
pub(crate) struct BucketPlan {
    pub(crate) target: RepairTarget,
    pub(crate) carries: HiddenMetadata,
    pub(crate) versioning: Versioning,
}

/// What a bucket does by itself when its objects change.
#[derive(Clone, Debug)]
pub(crate) struct BucketReactions {
    /// It belongs to the account whose credentials these are.
    pub(crate) ours: bool,
    pub(crate) configurations: BucketConfigurations,
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

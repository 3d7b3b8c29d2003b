//! The inputs of the decision about an object, apart from the object.

use std::collections::BTreeMap;

use crate::{
    facts::s3_configurations::BucketConfigurations,
    reencrypt::{
        machine::choice::RequestedEncryption,
        machine::versioning::Versioning,
        snapshot::HiddenMetadata,
        target::{Criterion, RepairTarget},
    },
    settings::policy::EncryptionKind,
};

/// The target of a bucket's objects, and the bucket's properties.
#[derive(Clone, Debug)]
pub(crate) struct BucketPlan {
    pub(crate) target: RepairTarget,
    pub(crate) carries: HiddenMetadata,
    pub(crate) versioning: Versioning,
}

/// What a bucket does by itself when its objects change.
#[derive(Clone, Debug)]
pub(crate) struct BucketReactions {
    /// It belongs to the account of these credentials.
    pub(crate) ours: bool,
    pub(crate) configurations: BucketConfigurations,
}

/// All inputs of the decision about an object, apart from the object.
#[derive(Clone, Debug)]
pub(crate) struct RepairPlan {
    pub(crate) buckets: BTreeMap<String, BucketPlan>,
    pub(crate) criterion: Criterion,
    pub(crate) restore: bool,
    pub(crate) restore_days: u16,
    /// Old versions that were replaced by this program's own verified copies are removed.
    pub(crate) purge: bool,
    /// Old versions that other writers overwrote are removed, too.
    pub(crate) purge_overwritten: bool,
}

impl RepairPlan {
    pub(crate) fn wish(&self, target: &RepairTarget) -> RequestedEncryption {
        RequestedEncryption {
            updatable: target.kind == EncryptionKind::SseKms && target.updatable,
            restore: self.restore,
            purge: self.purge,
            purge_overwritten: self.purge_overwritten,
        }
    }
}

//! What decides about an object, besides the object.

use std::collections::BTreeMap;

use crate::reencrypt::{
    method::Wish,
    snapshot::Carries,
    target::{Criterion, Target},
};

/// What a bucket's objects get, and how it treats them.
#[derive(Clone, Debug)]
pub(crate) struct BucketPlan {
    pub(crate) target: Target,
    pub(crate) carries: Carries,
    pub(crate) versioned: bool,
}

/// Everything that decides about an object, besides the object.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) buckets: BTreeMap<String, BucketPlan>,
    pub(crate) criterion: Criterion,
    pub(crate) restore: bool,
    pub(crate) restore_days: u16,
    pub(crate) purge: bool,
}

impl Plan {
    pub(crate) fn wish(&self, target: &Target) -> Wish {
        Wish {
            kind: target.kind,
            own_key: target.updatable,
            restore: self.restore,
            purge: self.purge,
        }
    }
}

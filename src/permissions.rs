//! The IAM actions that the guard needs.

pub(crate) mod policy;
pub(crate) mod setup;

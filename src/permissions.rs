//! The IAM actions that the guard needs.

pub(crate) mod policy;
pub(crate) mod sentinel;
pub(crate) mod service_control;
pub(crate) mod setup;

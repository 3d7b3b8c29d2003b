//! The guard's settings: resolved once from flags, environment and `guard.yml`.

pub(crate) mod alert_channels;
pub mod destination;
pub mod metrics_targets;
pub mod policy;
pub mod resolve;
pub mod sign_key;

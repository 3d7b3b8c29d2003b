//! The guard's settings: resolved once from flags, environment and `guard.yml`, and stored as small
//! option structs. Only `commands/` uses the whole [`resolve::Settings`]; every other module gets
//! the options that it needs.

pub(crate) mod alert_channels;
pub mod aws_options;
pub mod destination;
pub(crate) mod digest;
pub mod evidence_options;
pub mod locks;
pub mod metrics_targets;
pub(crate) mod notify_options;
pub mod policy;
pub mod report_options;
pub mod resolve;
mod section_lines;
pub mod sentinel_options;
pub mod sentinel_rules;
#[cfg(test)]
mod sentinel_tests;
pub mod sign_key;
pub mod watch_options;

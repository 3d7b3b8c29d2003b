//! The engine of the command `setup`: what the setup guide asks for, as a plan, as infrastructure
//! code, or made live.

pub(crate) mod apply;
mod bucket_steps;
pub(crate) mod certificates;
pub(crate) mod cloudformation;
pub(crate) mod code;
mod compare;
mod configuration_steps;
#[cfg(test)]
pub(crate) mod contracts;
pub(crate) mod desired;
mod documents;
pub(crate) mod error;
mod event_steps;
pub(crate) mod guard_settings;
mod guard_steps;
pub(crate) mod journal;
mod key_steps;
pub(crate) mod merge;
mod needs;
pub(crate) mod network_code;
mod notification_steps;
mod notification_undo;
mod object_lock_steps;
pub(crate) mod options;
pub(crate) mod piece;
pub(crate) mod plan;
#[cfg(test)]
mod plan_tests;
mod planner;
mod planning;
mod present;
pub(crate) mod record;
pub(crate) mod retire;
mod role_steps;
pub(crate) mod rotation_plan;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod sentinel_parts;
pub(crate) mod sentinel_steps;
pub(crate) mod terraform;
#[cfg(test)]
mod tests;
pub(crate) mod undo;
mod uses;
mod writes;

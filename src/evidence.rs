//! The evidence of a run: journal, timeline, signed reports, delivery and retention.

pub mod chain;
#[cfg(test)]
pub(crate) mod contracts;
pub(crate) mod delivery;
mod destination;
pub(crate) mod dsse;
pub(crate) mod journal;
mod keys;
mod outbox;
pub(crate) mod retention;
pub(crate) mod signed_report;
pub mod timeline;
pub mod verify;

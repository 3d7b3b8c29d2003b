//! Watches the clusters of a run, terminates what is unsafe, confirms what was written.

pub(crate) mod confirm;
pub(crate) mod events;
pub(crate) mod ownership;
mod pace;
mod queue;
pub mod records;
pub mod terminate;
pub(crate) mod watcher;

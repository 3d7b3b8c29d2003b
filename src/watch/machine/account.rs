//! The watcher of whole accounts as a pure state machine: it has every cluster judged, whoever
//! launched it, and terminates an unsafe one only where a rule says so, after a failed fact and a
//! second look, and within a limit per hour. Like the watcher of a run it reads no clock, sends no
//! requests and uses no randomness.

mod ask;
pub mod event;
mod limit;
mod listing;
pub mod mutants;
mod names;
mod place;
pub mod plan;
mod quota;
mod tracked;
pub mod watcher;

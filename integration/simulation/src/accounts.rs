//! Histories of the account watcher: many clusters in several places, launched by anybody, with
//! faults of AWS, of the machine and of the sentinel itself. The very watcher of the sentinel is
//! run, and laws are checked against the truth of each history.

pub mod cluster;
pub mod engine;
pub mod history;
pub mod laws;
pub mod scenario;
pub mod sentinel;
pub mod simpler;
pub mod sweep;

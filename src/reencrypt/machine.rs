//! How one object is repaired, as a pure state machine: answers of S3 in, one action out; and what
//! is left to jobs of S3 Batch Operations. Nothing
//! here reads a clock, asks AWS or depends on chance, and nothing outside this folder is used but
//! the standard library and serde: the simulation in `integration/simulation` compiles the very
//! same files.

pub(crate) mod choice;
pub(crate) mod event;
pub(crate) mod job;
mod mutants;
pub(crate) mod plan;
pub(crate) mod repair;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod verdict;
pub(crate) mod versioning;

//! The repair of one object as a pure state machine: S3's responses in, one action out; and the
//! rules for jobs of S3 Batch Operations. It reads no clock, calls no AWS API and uses no
//! randomness. It uses nothing outside this folder except the standard library and serde: the
//! simulation in `integration/simulation` compiles the very same files.

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

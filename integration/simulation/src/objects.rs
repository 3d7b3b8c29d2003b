//! Histories of repairs: the state machine that repairs one object, and jobs of S3 Batch
//! Operations, on a bucket of every kind, with writers, deleters, owners and a lifecycle acting
//! between any two calls.

pub mod bucket;
pub mod coverage;
pub mod engine;
pub mod job_scenario;
pub mod laws;
pub mod process;
pub mod scenario;
pub mod simpler;
pub mod sweep;

//! The engine of the command `reencrypt`: gives objects in S3 the required encryption.

pub(crate) mod batch;
pub(crate) mod cluster_gate;
pub(crate) mod confirm;
#[cfg(test)]
pub(crate) mod contracts;
pub(crate) mod cost;
pub(crate) mod error;
pub(crate) mod follow;
pub(crate) mod generate;
pub(crate) mod job;
pub(crate) mod ledger;
pub(crate) mod leftover;
#[expect(unreachable_pub, reason = "the simulation compiles these files, too")]
pub(crate) mod machine;
mod object_calls;
pub(crate) mod options;
pub(crate) mod pace;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod repair;
pub(crate) mod run;
pub(crate) mod scope;
pub(crate) mod side_effects;
mod snapshot;
pub(crate) mod survey;
pub(crate) mod tally;
pub(crate) mod target;
pub(crate) mod uploads;

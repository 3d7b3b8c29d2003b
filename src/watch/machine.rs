//! The watcher as a pure state machine: events in, actions out. It reads no clock, calls no AWS API
//! and uses no randomness. It uses nothing outside this folder except the standard library: the
//! simulation in `integration/simulation` compiles the very same files.

pub(crate) mod account;
mod budget;
mod cluster;
pub(crate) mod conclusion;
pub(crate) mod ending;
pub(crate) mod event;
mod mutants;
pub(crate) mod ownership;
mod pace;
pub(crate) mod plan;
mod runner;
pub(crate) mod state;
pub(crate) mod termination;
pub(crate) mod time;
pub(crate) mod watcher;

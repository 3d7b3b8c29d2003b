//! Evidence: what becomes of a run's document. It has its place in the chain, is signed, and is delivered.

pub(crate) mod chain;

pub(crate) use chain::Chain;

//! Watches the clusters of a run, terminates unsafe ones, and confirms the encryption of what was
//! written.

pub(crate) mod confirm;
#[cfg(test)]
pub(crate) mod contracts;
pub(crate) mod driver;
pub(crate) mod events;
#[expect(unreachable_pub, reason = "the simulation compiles these files as its own")]
pub(crate) mod machine;
pub(crate) mod queue;
pub mod records;
pub mod terminate;

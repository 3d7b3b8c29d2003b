//! The engine of the command `audit`: scans what is in S3 and counts how it is encrypted.

pub(crate) mod accepted;
pub(crate) mod by_inventory;
pub(crate) mod error;
pub(crate) mod inputs;
pub mod inventory;
pub(crate) mod object_row;
pub mod offenders;
pub(crate) mod options;
pub(crate) mod progress;
pub(crate) mod result;
pub(crate) mod scan;
pub(crate) mod scope;
pub(crate) mod source;
pub(crate) mod state;
pub(crate) mod tally;

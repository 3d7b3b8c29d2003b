//! What every module may use: names, lookups, outcomes, text and time.

pub mod access;
pub mod aws_calls;
pub(crate) mod digest;
pub(crate) mod errors;
pub(crate) mod json;
pub mod lookup;
pub(crate) mod markdown;
pub mod names;
pub mod outcome;
pub mod prices;
pub mod printable;
pub mod reason;
pub mod report_kind;
pub mod secret;
pub(crate) mod text;
pub(crate) mod time_format;
pub(crate) mod wildcard;

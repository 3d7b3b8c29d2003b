//! Snowplow's EmrEtlRunner: its arguments, its config as it loads it, the seal, and the plan of a
//! run.

pub mod config;
pub(crate) mod config_edit;
pub mod config_error;
mod contract;
pub mod documents;
mod enrichments;
pub mod environment;
mod erb;
mod erb_expression;
pub mod invocation;
mod mistakes;
pub mod option_parser;
mod packaged_version;
pub mod plan;
mod portable;
mod psych;
mod reader;
pub mod routes;
pub mod ruby;
mod scalar;
pub mod seal;
mod secrets;
mod targets;
pub(crate) mod version;
mod yaml_layout;
mod yaml_value;

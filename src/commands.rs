//! One file or folder for each command. No other module knows all commands.

mod audit;
pub mod cli;
mod controls_page;
pub(crate) mod dispatch;
#[cfg(test)]
mod documented;
pub(crate) mod error;
mod explain;
mod help;
pub mod manual;
pub(crate) mod read_config;
pub(crate) mod reencrypt;
mod report;
pub(crate) mod run;
mod seal;
mod sentinel;
mod sentinel_policy;
mod settings_page;
pub(crate) mod setup;
pub(crate) mod short_forms;

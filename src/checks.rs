//! The catalogue of checks, and their findings. Pure functions of facts.

pub mod blocked;
pub(crate) mod buckets;
mod built;
pub mod case;
pub mod catalogue;
pub(crate) mod certificates;
pub(crate) mod clusters;
mod config;
pub(crate) mod controls;
mod data;
pub mod finding;
pub mod fix;
mod guard_rights;
mod keys;
mod launch;
mod network;
pub(crate) mod node_names;
mod node_objects;
mod organization;
pub(crate) mod outputs;
mod overrides;
mod persistent;
#[cfg(test)]
pub(crate) mod properties;
mod release_lifecycle;
pub(crate) mod release_support;
pub mod residual_risks;
mod roles;
pub(crate) mod sample_configuration;
pub(crate) mod security_configuration;
pub(crate) mod stored;
mod traffic;
pub mod verdict;
pub(crate) mod verified;
mod volumes;
mod writes;
pub(crate) mod written;

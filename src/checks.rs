//! The catalogue of checks, and their findings. Pure functions of facts.

pub mod blocked;
mod buckets;
mod built;
pub mod case;
pub mod catalogue;
mod certificates;
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
mod node_names;
mod node_objects;
mod organization;
pub(crate) mod outputs;
mod overrides;
mod persistent;
#[cfg(test)]
mod properties;
mod release_lifecycle;
mod release_support;
pub mod residual_risks;
mod roles;
mod sample_configuration;
mod security_configuration;
pub(crate) mod stored;
mod traffic;
pub mod verdict;
pub(crate) mod verified;
mod volumes;
mod writes;
pub(crate) mod written;

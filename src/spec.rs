//! What will run on EMR, whoever launches it, and plain observations about the launcher.

pub mod cluster_spec;
pub mod data_paths;
pub mod located;
pub mod observations;
pub mod part;
pub(crate) mod s3_connector;

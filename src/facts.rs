//! Calls to AWS, and their answers as plain structs. AWS SDK types are not used outside this
//! module.

pub(crate) mod account_state;
pub(crate) mod alarm_state;
mod certificate;
pub mod certificate_archive;
pub(crate) mod cluster_spec;
#[cfg(test)]
pub(crate) mod contracts;
pub mod ec2;
pub mod emr;
pub mod gather;
pub mod guard_rights;
mod heads;
pub mod iam;
pub(crate) mod iam_policy;
pub mod kms;
pub mod node_objects;
pub(crate) mod notification_state;
pub(crate) mod object_lock;
pub mod objects;
pub mod s3;
pub(crate) mod s3_configurations;
pub(crate) mod scan;
pub mod simulation;
pub mod step_arguments;
pub mod stored;
pub mod sts;
pub(crate) mod weakening;
pub mod written;

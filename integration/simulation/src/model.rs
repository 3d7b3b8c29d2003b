//! The world around the guard.

pub mod cluster;
pub mod emr;
pub mod faults;
pub mod knowledge;
pub mod runner;

//! The launchers that can be guarded. Only `commands` imports them.

pub mod emr_etl_runner;

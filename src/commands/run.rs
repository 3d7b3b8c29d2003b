//! The command `run`, and what shares its line: `check`, `watch`, resuming.

pub(crate) mod attach;
pub(crate) mod guarded_run;
pub(crate) mod line;
mod output_verification;
mod resume;
mod stop_time;
mod supervise;

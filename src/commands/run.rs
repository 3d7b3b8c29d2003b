//! The command `run`, and the commands that share its steps: `check`, `watch` and `watch --resume`.

pub(crate) mod attach;
pub(crate) mod guarded_run;
pub(crate) mod line;
mod output_verification;
mod resume;
mod stop_time;
mod supervise;

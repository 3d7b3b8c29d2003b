//! This process and this machine: child processes, signals, the terminal, standard
//! streams, and files of this process's own.

pub(crate) mod background_output;
pub(crate) mod bar;
pub(crate) mod core_dumps;
pub(crate) mod file_owner;
pub(crate) mod heap;
pub(crate) mod held_file;
pub(crate) mod http;
pub(crate) mod http_endpoint;
pub(crate) mod locale;
pub(crate) mod marked_file;
pub(crate) mod orphaned_processes;
pub(crate) mod output;
pub(crate) mod private_dir;
pub mod process;
pub(crate) mod quietly;
pub(crate) mod reap;
pub(crate) mod replace_file;
pub(crate) mod runner_environment;
pub(crate) mod screen;
pub(crate) mod service_manager;
pub(crate) mod signals;
pub(crate) mod writers;

//! Owns the lock file that prevents concurrent runs.

use std::fs;
use std::path::PathBuf;

use crate::argv::Options;
use crate::stop::Stop;

/// The path of a lock file.
#[derive(Debug)]
pub struct Lock(PathBuf);

impl Lock {
    /// The lock of the options, not yet taken.
    ///
    /// # Errors
    /// A Consul lock, which the stand-in does not support; a path that cannot be made absolute.
    pub fn from_options(options: &Options) -> Result<Option<Self>, Stop> {
        let Some(path) = &options.lock else {
            return Ok(None);
        };
        if options.consul.is_some() {
            return Err(Stop::Refused("standin-runner: --consul is not played\n".to_owned()));
        }
        std::path::absolute(path)
            .map(|path| Some(Self(path)))
            .map_err(|error| Stop::crash("ArgumentError", error.to_string()))
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// It is held already, or the file cannot be written.
    pub fn take(&self) -> Result<(), Stop> {
        if self.0.exists() {
            return Err(Stop::LockHeld(format!("Lock already held at {}", self.0.display())));
        }
        fs::write(&self.0, format!("{}\n", std::process::id())).map_err(|error| self.crash(&error))
    }

    /// Releases the lock. If the file is gone, the real program crashes after all its work, and so
    /// does this one.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn release(&self) -> Result<(), Stop> {
        fs::remove_file(&self.0).map_err(|error| self.crash(&error))
    }

    fn crash(&self, error: &std::io::Error) -> Stop {
        let class = match error.kind() {
            std::io::ErrorKind::NotFound => "Errno::ENOENT",
            _ => "Errno::EACCES",
        };
        Stop::crash(class, format!("{error} - {}", self.0.display()))
    }
}

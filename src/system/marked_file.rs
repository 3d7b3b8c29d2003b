//! Files for people that a later call may replace: one line says that this program wrote them. A
//! file of somebody else is never replaced.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::system::output::{draft, open_regular};

/// A kind of such files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkedFile {
    /// The line that says who wrote it.
    pub(crate) mark: &'static str,
    /// Its number, from 0.
    pub(crate) line: usize,
    /// The mode of a new file, before the umask.
    pub(crate) mode: u32,
    /// The error for a file of somebody else.
    pub(crate) others: fn() -> io::Error,
}

impl MarkedFile {
    /// Writes `text`, which has the mark in its place, to `file`.
    ///
    /// # Errors
    /// When it cannot be written, or when a file of somebody else exists.
    pub(crate) fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        let mut draft = draft(file, self.mode)?;
        draft.as_file_mut().write_all(text.as_bytes())?;
        if self.exists(file)? {
            draft.persist(file)?;
        } else {
            draft.persist_noclobber(file)?;
        }
        Ok(())
    }

    /// Whether `file` exists as one of this kind.
    ///
    /// # Errors
    /// When it cannot be read, or when it is a file of somebody else.
    pub(crate) fn exists(&self, file: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
            Ok(seen) if !seen.is_file() => return Err((self.others)()),
            Ok(_) => {}
        }
        let mut start = Vec::new();
        open_regular(file)?.take(200).read_to_end(&mut start)?;
        let start = String::from_utf8_lossy(&start);
        if start.lines().nth(self.line) == Some(self.mark) {
            Ok(true)
        } else {
            Err((self.others)())
        }
    }
}

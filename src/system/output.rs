//! Standard output and standard error, and files that are written whole or not at all.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::system::screen::{self, Stream};

/// A paragraph on standard error, in the form all of the guard's own have.
pub(crate) fn complain(text: &str) {
    err(&format!("emr-etl-guard: {text}\n"));
}

/// Output must not be able to stop a run: a reader that has gone is no reason to fail.
pub(crate) fn out(text: &str) {
    let _ = screen::above(Stream::Out, text.as_bytes(), || {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
}

pub(crate) fn err(text: &str) {
    let _ = screen::above(Stream::Err, text.as_bytes(), || {
        std::io::stderr().lock().write_all(text.as_bytes())
    });
}

/// Writes a file so that whoever looks finds the old content or the new one, and never half of it.
pub(crate) fn write_whole(file: &Path, text: &str) -> std::io::Result<()> {
    let draft = draft(file);
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file)
}

pub(crate) fn draft(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

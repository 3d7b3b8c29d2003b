//! Standard output and standard error, and files that are written whole or not at all.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    base::printable::{Printable, neutralised_lines},
    system::screen::{self, Stream},
};

/// A line on standard output, in the form that all of the guard's own have.
pub(crate) fn say(line: &Printable) {
    out(&format!("emr-etl-guard: {line}\n"));
}

/// The same on standard error.
pub(crate) fn complain(line: &Printable) {
    err(&format!("emr-etl-guard: {line}\n"));
}

/// Lines on standard output. No character in them steers a terminal; whoever makes several of them
/// keeps text of others to one each (`Printable`).
pub(crate) fn out(text: &str) {
    out_bytes(neutralised_lines(text).as_bytes());
}

/// The same with the colours that `terminal::table` gives: its text is made of printable parts.
pub(crate) fn out_coloured(text: &str) {
    out_bytes(text.as_bytes());
}

/// Output must not be able to stop a run: a reader that has gone is no reason to fail.
fn out_bytes(bytes: &[u8]) {
    let _ = screen::above(Stream::Out, bytes, || {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    });
}

/// Lines on standard error, as `out` has them.
pub(crate) fn err(text: &str) {
    let text = neutralised_lines(text);
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

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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Files below `folder`, as they are named below `src`, and what they hold up to their tests.
    fn sources(folder: &Path, all: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                let name = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
                all.push((name.display().to_string(), code));
            }
        }
    }

    #[test]
    fn nothing_goes_to_a_stream_past_this_module_and_no_json_past_its_own() {
        let mut all = Vec::new();
        sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut all);
        let users = |words: &[&str], within: &str| {
            let uses = |code: &str| words.iter().any(|word| code.contains(word));
            let mut files: Vec<&str> = all
                .iter()
                .filter(|(name, code)| name.starts_with(within) && uses(code))
                .map(|(name, _)| name.as_str())
                .collect();
            files.sort_unstable();
            files
        };
        // Each with its reason: the runner's own output is passed on as it is (`supervise`), a form
        // of a report is made of neutralised text (`render`), and whether it is a terminal is asked
        // (`reporter`).
        assert_eq!(
            users(&["io::stdout()", "io::stderr()", "println!", "print!("], ""),
            [
                "build.rs",
                "commands/run/supervise.rs",
                "report/render.rs",
                "report/reporter.rs",
                "system/output.rs",
                "system/screen.rs"
            ]
        );
        // The schema is this program's own text.
        assert_eq!(
            users(
                &["serde_json::to_string", "serde_json::to_vec", "serde_json::to_writer"],
                "report"
            ),
            ["report/schema.rs"]
        );
        assert!(users(&["serde_json::to_"], "audit/offenders").is_empty());
    }
}

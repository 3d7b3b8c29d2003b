//! Standard output, standard error, and files that are written completely or not at all.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::{fcntl::OFlag, sys::stat::fstat};

use crate::{
    base::printable::{Printable, neutralised_lines, with_bounded_lines},
    system::{
        background_output::{self, Stream},
        file_owner::{FileUser, OwnedPath},
        screen,
    },
};

/// What each message of the guard's own begins with.
const PREFIX: &str = "emr-etl-guard: ";

/// Prints a line on standard output, in the format of all the guard's own lines.
pub(crate) fn say(line: &Printable) {
    out(&format!("{PREFIX}{line}\n"));
}

/// The same on standard error.
pub(crate) fn complain(line: &Printable) {
    err(&format!("{PREFIX}{line}\n"));
}

/// Prints lines on standard output. Control characters are neutralised. A caller that prints
/// several lines must keep text from other sources to one line each (`Printable`).
pub(crate) fn out(text: &str) {
    out_bytes(neutralised_lines(text).as_bytes());
}

/// The same with the colours that `terminal::table` adds; its text consists of printable parts.
pub(crate) fn out_coloured(text: &str) {
    out_bytes(text.as_bytes());
}

fn out_bytes(bytes: &[u8]) {
    write(Stream::Out, bytes);
}

/// From now on, printing does not block when the output is not read.
pub(crate) fn write_in_background() {
    if let Err(error) = background_output::start(write_now) {
        tracing::error!(%error, "the output is not written in the background");
    }
}

fn write(to: Stream, bytes: &[u8]) {
    if !background_output::take(to, bytes) {
        write_now(to, bytes);
    }
}

/// A failed write must not stop a run: a closed pipe is not a reason to fail.
fn write_now(to: Stream, bytes: &[u8]) {
    let _ = screen::above(to, bytes, || match to {
        Stream::Out => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Err => io::stderr().lock().write_all(bytes),
    });
}

/// Prints lines on standard error, as `out` does. A line that begins a message and would be longer
/// than [`FIRST_LINE`](crate::base::printable::FIRST_LINE) continues on the next line.
pub(crate) fn err(text: &str) {
    err_unbroken(&with_bounded_lines(text, PREFIX));
}

/// The same with each line as long as it is: for a command that must be in the first line, because
/// nothing else may be read.
pub(crate) fn err_unbroken(text: &str) {
    write(Stream::Err, neutralised_lines(text).as_bytes());
}

/// Copies the output of another program to the two streams, byte for byte.
pub(crate) fn pass_on(stdout: &[u8], stderr: &[u8]) {
    if !stdout.is_empty() {
        out_bytes(stdout);
    }
    if !stderr.is_empty() {
        write(Stream::Err, stderr);
    }
}

/// Writes a file atomically: a reader finds the old content or the new one, never a part. A
/// symbolic link at this path is replaced, not followed.
pub(crate) fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = draft(file, OTHERS_MAY_READ)?;
    draft.as_file_mut().write_all(text.as_bytes())?;
    draft.persist(file)?;
    Ok(())
}

/// Creates a file for its owner alone, complete and synced to disk. Never replaces another file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when the name is taken; any other error when the file cannot be
/// written.
pub(crate) fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    write_new_with(file, bytes, 0o600)
}

/// The same for a file that other users may read, as far as the umask allows it.
///
/// # Errors
/// As [`write_new`].
pub(crate) fn write_new_readable(file: &Path, bytes: &[u8]) -> io::Result<()> {
    write_new_with(file, bytes, OTHERS_MAY_READ)
}

fn write_new_with(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut draft = draft(file, mode)?;
    draft.as_file_mut().write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(file)?;
    File::open(folder(file))?.sync_all()
}

/// Checks that a file can be created beside `file`.
pub(crate) fn probe(file: &Path) -> io::Result<()> {
    draft(file, 0o600).map(drop)
}

/// The mode of a file that other users may read, before the umask.
pub(crate) const OTHERS_MAY_READ: u32 = 0o666;

/// Creates a temporary file beside `file`, with an unpredictable name that ends in `.part`. It is
/// removed when dropped.
pub(crate) fn draft(file: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let name = file.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(format!(".{}", uuid::Uuid::now_v7().simple()));
    let mut make = File::options();
    make.read(true).write(true).create_new(true).mode(mode).custom_flags(OFlag::O_NOFOLLOW.bits());
    // tempfile's own file creation adds its generated path to each error, which would confuse the
    // reader.
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        .make_in(folder(file), |path| make.open(path))
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file for reading. Does not follow a symbolic link, and does not block on a pipe.
pub(crate) fn open_regular(file: &Path) -> io::Result<File> {
    open_with(file, File::options().read(true))
}

/// Opens a file that only this process's user, or root, can have written.
pub(crate) fn open_own(file: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let opened = open_with(file, how)?;
    let status = fstat(&opened)?;
    FileUser::this().check(OwnedPath::File, &status, file).map_err(io::Error::other)?;
    Ok(opened)
}

fn open_with(file: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let opened = how.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    #[test]
    fn a_file_is_replaced_as_a_whole_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, victim) = (folder.path().join("x.json"), folder.path().join("victim"));
        fs::write(&victim, "victim").unwrap();
        for link in ["x.json", "x.json.part", ".x.json.part"] {
            symlink(&victim, folder.path().join(link)).unwrap();
        }
        for text in ["one", "two"] {
            write_whole(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "victim");
        probe(&file).unwrap();
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_whole(&folder.path().join("taken"), "x").is_err());
        assert!(write_whole(&folder.path().join("none/x"), "x").is_err());
        let error = probe(&folder.path().join("none/x")).unwrap_err().to_string();
        assert_eq!(error, "No such file or directory (os error 2)");
        // The failed attempts left no file.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn what_has_the_name_already_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.json");
        write_new(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let error = write_new(&file, b"two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let link = folder.path().join("link.json");
        symlink(folder.path().join("nowhere"), &link).unwrap();
        assert!(write_new(&link, b"two").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_a_regular_file_is_opened_and_only_ones_own_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_regular(&at("file")).is_ok());
        assert!(open_regular(&at("link")).is_err());
        assert_eq!(open_regular(&at("pipe")).unwrap_err().to_string(), "it is no regular file");
        let own = || open_own(&at("file"), File::options().read(true));
        assert!(own().is_ok());
        fs::set_permissions(at("file"), Permissions::from_mode(0o666)).unwrap();
        let error = own().unwrap_err().to_string();
        assert!(error.contains("file may be written by every user"), "{error}");
    }

    /// Collects the files below `folder`: their paths below `src`, and their code without the
    /// tests.
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
        // The allowed places: `supervise` passes on the runner's own output, `render` builds a
        // report from neutralised text, and `reporter` asks whether the stream is a terminal.
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
        // The schema is text of this program.
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

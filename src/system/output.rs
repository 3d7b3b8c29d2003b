//! Standard output and standard error, and files that are written whole or not at all.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::{fcntl::OFlag, sys::stat::fstat};

use crate::system::{
    file_owner::{FileUser, OwnedPath},
    screen::{self, Stream},
};

/// A paragraph on standard error, in the form all of the guard's own have.
pub(crate) fn complain(text: &str) {
    err(&format!("emr-etl-guard: {text}\n"));
}

/// Output must not be able to stop a run: a reader that has gone is no reason to fail.
pub(crate) fn out(text: &str) {
    let _ = screen::above(Stream::Out, text.as_bytes(), || {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
}

pub(crate) fn err(text: &str) {
    let _ = screen::above(Stream::Err, text.as_bytes(), || {
        io::stderr().lock().write_all(text.as_bytes())
    });
}

/// Writes a file so that whoever looks finds the old content or the new one, and never half of it.
/// A link in its place is replaced, not followed.
pub(crate) fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = draft(file, OTHERS_MAY_READ)?;
    draft.as_file_mut().write_all(text.as_bytes())?;
    draft.persist(file)?;
    Ok(())
}

/// Writes a file that is not there yet, for its owner alone, on the disk and whole, and never in
/// place of another.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when something has its name; and when it cannot be written.
pub(crate) fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = draft(file, 0o600)?;
    draft.as_file_mut().write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(file)?;
    File::open(folder(file))?.sync_all()
}

/// Makes sure that a file can be made beside `file`.
pub(crate) fn probe(file: &Path) -> io::Result<()> {
    draft(file, 0o600).map(drop)
}

/// The mode of a file that others may read, before the umask.
const OTHERS_MAY_READ: u32 = 0o666;

/// A new file beside `file`, by a name that nobody can foresee, which is removed when it is dropped.
/// Its name ends in `.part`.
pub(crate) fn draft(file: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let name = file.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(format!(".{}", uuid::Uuid::now_v7().simple()));
    let mut make = File::options();
    make.read(true).write(true).create_new(true).mode(mode).custom_flags(OFlag::O_NOFOLLOW.bits());
    // Its own way of making files tells the path, which nobody has chosen, with each error.
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        .make_in(folder(file), |path| make.open(path))
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file to read it. A link is not followed, and a pipe is not waited for.
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
        // Nothing is left of what was tried.
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
}

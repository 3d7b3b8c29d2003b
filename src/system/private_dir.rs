//! A private directory of this process, with its files. It is opened component by component from
//! the root, each relative to the descriptor of its parent, and every name in it is resolved
//! relative to its own descriptor. A rename or a link made meanwhile cannot redirect a read or a
//! write.
//!
//! A component that another user owns or may write to is an error (see [`FileUser`]); it is neither
//! read nor written.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat, renameat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use serde::{Serialize, de::DeserializeOwned};
use time::OffsetDateTime;

use crate::system::file_owner::{FileUser, NotOwnError, OwnedPath};

/// The number of symbolic links that are followed, the same as in the kernel. Source:
/// path_resolution(7).
const LINKS: usize = 40;

/// The longest time that a child takes between its fork and its exec, on a busy machine.
const INHERITED_AT_MOST: Duration = Duration::from_secs(2);

/// Why a private directory, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivateDirError {
    /// Another user could have written it.
    #[error("{0}")]
    NotOwn(#[from] NotOwnError),
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The directory, or the file in it.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a lock could not be taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it; the text is that process's description of itself.
    Held(String),
    Dir(PrivateDirError),
}

/// A directory of this process's own, held open.
#[derive(Debug)]
pub(crate) struct PrivateDir {
    handle: OwnedFd,
    /// The path as the caller gave it, for messages.
    path: PathBuf,
    user: FileUser,
}

impl PrivateDir {
    /// The directory at `path`; creates it if it does not exist.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be opened or created, or does not belong to this process
    /// alone.
    pub(crate) fn create(path: &Path) -> Result<Self, PrivateDirError> {
        let missing = || io_error(path, Errno::ENOENT);
        walk(path, true)?.ok_or_else(missing)
    }

    /// The directory at `path`, if it exists.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be opened, or does not belong to this process alone.
    pub(crate) fn existing(path: &Path) -> Result<Option<Self>, PrivateDirError> {
        walk(path, false)
    }

    /// The directory `name` in this one; creates it if it does not exist.
    ///
    /// # Errors
    /// [`PrivateDirError`], as [`Self::create`].
    pub(crate) fn create_below(&self, name: &str) -> Result<Self, PrivateDirError> {
        self.is_name(name)?;
        match mkdirat(&self.handle, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(self.error(name, error)),
        }
        self.existing_below(name)?.ok_or_else(|| self.error(name, Errno::ENOENT))
    }

    /// The directory `name` in this one, if it exists.
    ///
    /// # Errors
    /// [`PrivateDirError`], as [`Self::existing`].
    pub(crate) fn existing_below(&self, name: &str) -> Result<Option<Self>, PrivateDirError> {
        let path = self.path_of(name);
        self.is_name(name)?;
        match openat(&self.handle, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(handle) => {
                let status = fstat(&handle).map_err(|error| self.error(name, error))?;
                self.user.check(OwnedPath::Directory, &status, &path)?;
                Ok(Some(Self { handle, path, user: self.user.clone() }))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(self.open_error(name, error, "a directory")),
        }
    }

    /// Its path, as the caller gave it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names in it, sorted. Names that are not UTF-8 are left out: this process creates none.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be read.
    pub(crate) fn names(&self) -> Result<Vec<String>, PrivateDirError> {
        let read = || {
            let mut names = Vec::new();
            for entry in Dir::openat(&self.handle, ".", DIRECTORY, Mode::empty())?.iter() {
                names.extend(entry?.file_name().to_str().map(str::to_owned));
            }
            names.retain(|name| name != "." && name != "..");
            names.sort();
            Ok(names)
        };
        read().map_err(|error: Errno| io_error(&self.path, error))
    }

    /// The content of the file `name`, if it exists.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be read, or others could have written it.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PrivateDirError> {
        let Some(mut file) = self.open_with(name, OFlag::O_RDONLY)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| self.error(name, error))?;
        Ok(Some(bytes))
    }

    /// The value in the JSON file `name`, if it exists.
    ///
    /// # Errors
    /// As [`Self::read`]; and when the content is not such a value.
    pub(crate) fn read_json<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, PrivateDirError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.error(name, error))
    }

    /// Opens the file `name` for reading and writing, if it exists.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>, PrivateDirError> {
        self.open_with(name, OFlag::O_RDWR)
    }

    /// Creates the file `name` for reading and writing.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be created, or exists already.
    pub(crate) fn create_new(&self, name: &str) -> Result<File, PrivateDirError> {
        let made = self.open_with(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL)?;
        made.ok_or_else(|| self.error(name, Errno::ENOENT))
    }

    /// Writes the file `name` atomically: a reader finds the complete old content or the complete
    /// new one, also after a crash.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be written.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateDirError> {
        self.is_name(name)?;
        let draft = draft_name(name);
        let mut file = self.create_new(&draft)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|error| self.error(name, error))
            .and_then(|()| self.rename(&draft, name));
        written.inspect_err(|_| drop(self.remove(&draft)))
    }

    /// Writes the file `name` with a value as JSON, as [`Self::replace`] does.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub(crate) fn replace_json(
        &self,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), PrivateDirError> {
        let bytes = serde_json::to_vec(value).map_err(|error| self.error(name, error))?;
        self.replace(name, &bytes)
    }

    /// Checks that no other user can have written the file `name`, if it exists.
    ///
    /// # Errors
    /// [`PrivateDirError`] when another user could have, or when that is unknown.
    pub(crate) fn check(&self, name: &str) -> Result<(), PrivateDirError> {
        self.is_name(name)?;
        match fstatat(&self.handle, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(self.user.check(OwnedPath::File, &status, &self.path_of(name))?),
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.error(name, error)),
        }
    }

    /// Renames the file `from` to `to`, synced to disk. Replaces an existing `to`.
    ///
    /// # Errors
    /// [`PrivateDirError`] when that fails.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), PrivateDirError> {
        self.is_name(from).and_then(|()| self.is_name(to))?;
        renameat(&self.handle, from, &self.handle, to).map_err(|error| self.error(to, error))?;
        self.sync()
    }

    /// Removes the file `name`, if there is one.
    ///
    /// # Errors
    /// [`PrivateDirError`] when it cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), PrivateDirError> {
        self.is_name(name)?;
        match unlinkat(&self.handle, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.error(name, error)),
        }
    }

    /// Syncs the directory's entries to disk.
    ///
    /// # Errors
    /// [`PrivateDirError`] when that fails.
    pub(crate) fn sync(&self) -> Result<(), PrivateDirError> {
        nix::unistd::fsync(&self.handle).map_err(|error| io_error(&self.path, error))
    }

    /// Takes the lock `name`. The kernel releases it when its holder dies, for whatever reason. The
    /// file's content names the holder, for people only.
    ///
    /// A lock that this process has released is free a moment later only: a child between its fork
    /// and its exec has inherited it. So one that names this process is tried for
    /// [`INHERITED_AT_MOST`].
    ///
    /// # Errors
    /// [`LockError`] when another process holds it, or the file cannot be used.
    pub(crate) fn lock(&self, name: &str) -> Result<File, LockError> {
        let mut lock = self.lock_file(name).map_err(LockError::Dir)?;
        let host = nix::unistd::gethostname().unwrap_or_default();
        let own = format!("process {} on {}, since ", std::process::id(), host.display());
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut holder));
                    if !holder.starts_with(&own) || start.elapsed() > INHERITED_AT_MOST {
                        return Err(LockError::Held(holder.trim().to_owned()));
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(LockError::Dir(self.error(name, error)));
                }
            }
        }
        let now = crate::base::text::shown(OffsetDateTime::now_utc());
        let holder = format!("{own}{now}\n");
        // A full disk must not prevent a lock, which needs no space. So errors are ignored here.
        let _ = lock
            .rewind()
            .and_then(|()| lock.set_len(0))
            .and_then(|()| lock.write_all(holder.as_bytes()));
        Ok(lock)
    }

    /// Takes the lock `name` for a short time; waits for another short-time holder.
    ///
    /// # Errors
    /// [`PrivateDirError`] when the file cannot be used.
    pub(crate) fn lock_briefly(&self, name: &str) -> Result<File, PrivateDirError> {
        let lock = self.lock_file(name)?;
        lock.lock().map_err(|error| self.error(name, error))?;
        Ok(lock)
    }

    fn lock_file(&self, name: &str) -> Result<File, PrivateDirError> {
        let file = self.open_with(name, OFlag::O_RDWR | OFlag::O_CREAT)?;
        file.ok_or_else(|| self.error(name, Errno::ENOENT))
    }

    fn open_with(&self, name: &str, how: OFlag) -> Result<Option<File>, PrivateDirError> {
        self.is_name(name)?;
        // If the path is not a regular file (a pipe), the open must not block.
        let how = how | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let handle = match openat(&self.handle, name, how, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(handle) => handle,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(self.open_error(name, error, "a regular file")),
        };
        let status = fstat(&handle).map_err(|error| self.error(name, error))?;
        self.user.check(OwnedPath::File, &status, &self.path_of(name))?;
        Ok(Some(File::from(handle)))
    }

    /// Checks that a name stays within this directory.
    fn is_name(&self, name: &str) -> Result<(), PrivateDirError> {
        let is_one = Path::new(name).file_name() == Some(OsStr::new(name));
        if is_one { Ok(()) } else { Err(self.error(name, Errno::EINVAL)) }
    }

    fn error(&self, name: &str, error: impl Into<io::Error>) -> PrivateDirError {
        io_error(&self.path_of(name), error)
    }

    /// Why something could not be opened without following links.
    fn open_error(&self, name: &str, error: Errno, expected: &str) -> PrivateDirError {
        let path = self.path_of(name);
        // The kernel reports a symbolic link with either of two errors.
        let is_link = matches!(error, Errno::ELOOP | Errno::ENOTDIR)
            && path.symlink_metadata().is_ok_and(|data| data.is_symlink());
        if is_link {
            return NotOwnError::link(&path, expected).into();
        }
        io_error(&path, error)
    }
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn io_error(path: &Path, error: impl Into<io::Error>) -> PrivateDirError {
    PrivateDirError::Io { path: path.display().to_string(), source: error.into() }
}

/// An unpredictable temporary name for the later file `name`.
fn draft_name(name: &str) -> String {
    format!(".{name}.{}.part", uuid::Uuid::now_v7().simple())
}

/// Walks from the root to `path` and checks each directory and link on the way. Creates missing
/// directories if `create`.
fn walk(path: &Path, create: bool) -> Result<Option<PrivateDir>, PrivateDirError> {
    let user = FileUser::this();
    let absolute = std::path::absolute(path).map_err(|error| io_error(path, error))?;
    let root = || {
        openat(nix::fcntl::AT_FDCWD, "/", OFlag::O_PATH | DIRECTORY, Mode::empty())
            .map_err(|error| io_error(Path::new("/"), error))
    };
    let mut left = components(&absolute);
    let (mut here, mut at, mut links) = (root()?, PathBuf::from("/"), 0);
    while let Some(name) = left.pop() {
        user.check(OwnedPath::Ancestor, &status(&here, &at)?, &at)?;
        let next = at.join(&name);
        let Some(found) = step(&here, &name, create).map_err(|error| io_error(&next, error))?
        else {
            return Ok(None);
        };
        let kind = status(&found, &next)?;
        match SFlag::from_bits_truncate(kind.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFLNK => {
                user.check(OwnedPath::Link, &kind, &next)?;
                links += 1;
                let target = if links > LINKS { Err(Errno::ELOOP) } else { readlinkat(&found, "") };
                let target = PathBuf::from(target.map_err(|error| io_error(&next, error))?);
                if target.is_absolute() {
                    (here, at) = (root()?, PathBuf::from("/"));
                }
                left.extend(components(&target));
            }
            SFlag::S_IFDIR if name == ".." => {
                at.pop();
                here = found;
            }
            SFlag::S_IFDIR => (here, at) = (found, next),
            _ => return Err(io_error(&next, Errno::ENOTDIR)),
        }
    }
    user.check(OwnedPath::Directory, &status(&here, &at)?, path)?;
    let handle = openat(&here, ".", DIRECTORY, Mode::empty());
    let handle = handle.map_err(|error| io_error(path, error))?;
    Ok(Some(PrivateDir { handle, path: path.to_owned(), user }))
}

/// The components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut steps: Vec<OsString> = steps.collect();
    steps.reverse();
    steps
}

/// Opens the entry `name` of a directory; creates a missing one if `create`.
fn step(here: &OwnedFd, name: &OsStr, create: bool) -> Result<Option<OwnedFd>, Errno> {
    let open =
        || openat(here, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
    match open() {
        Err(Errno::ENOENT) if create => match mkdirat(here.as_fd(), name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => open().map(Some),
            Err(error) => Err(error),
        },
        Err(Errno::ENOENT) => Ok(None),
        found => found.map(Some),
    }
}

fn status(handle: &OwnedFd, path: &Path) -> Result<FileStat, PrivateDirError> {
    fstat(handle).map_err(|error| io_error(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn it_is_made_with_all_that_leads_to_it_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/../c");
        assert!(PrivateDir::existing(&path).unwrap().is_none());
        let made = PrivateDir::create(&path).unwrap();
        made.replace("x", b"1").unwrap();
        for name in ["a", "a/b", "a/c"] {
            let bits = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(bits & 0o777, 0o700, "{name}");
        }
        let below = made.create_below("below").unwrap();
        below.create_new("y").unwrap();
        assert!(matches!(below.create_new("y"), Err(PrivateDirError::Io { .. })));
        assert_eq!(made.names().unwrap(), ["below", "x"]);
        assert_eq!(made.read("x").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(made.read("z").unwrap(), None);
        made.remove("x").unwrap();
        made.remove("x").unwrap();
        assert_eq!(PrivateDir::existing(&path).unwrap().unwrap().names().unwrap(), ["below"]);
    }

    #[test]
    fn links_of_ones_own_on_the_way_are_followed_and_none_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("real/inner")).unwrap();
        mode(&at("real/inner"), 0o700);
        fs::write(at("real/victim"), "victim").unwrap();
        symlink(at("real"), at("absolute")).unwrap();
        symlink("real/../real", at("relative")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for name in ["absolute/inner", "relative/inner", "relative/inner/../../real/inner"] {
            let opened = PrivateDir::existing(&at(name)).unwrap().unwrap();
            opened.replace("x", name.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(at("real/inner/x")).unwrap(), name);
        }
        let error = PrivateDir::existing(&at("loop")).unwrap_err().to_string();
        assert!(error.contains("loop: Too many levels"), "{error}");
        let error = PrivateDir::existing(&at("real/victim/x")).unwrap_err().to_string();
        assert!(error.ends_with("real/victim: Not a directory (os error 20)"), "{error}");

        let opened = PrivateDir::create(&at("real/inner")).unwrap();
        symlink(at("real/victim"), at("real/inner/link")).unwrap();
        symlink(at("real"), at("real/inner/down")).unwrap();
        let expect_link = |error: PrivateDirError| {
            assert!(error.to_string().contains(" is a symbolic link; expected a "), "{error}");
        };
        expect_link(opened.read("link").unwrap_err());
        expect_link(opened.open("link").unwrap_err());
        expect_link(opened.lock_briefly("link").unwrap_err());
        expect_link(opened.create_below("down").unwrap_err());
        assert!(matches!(opened.lock("link"), Err(LockError::Dir(PrivateDirError::NotOwn(_)))));
        opened.replace("link", b"new").unwrap();
        assert_eq!(fs::read_to_string(at("real/victim")).unwrap(), "victim");
        assert!(at("real/inner/link").symlink_metadata().unwrap().is_file(), "the link has gone");
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("victim"), "victim").unwrap();
        let inner = PrivateDir::create(&folder.path().join("inner")).unwrap();
        for name in ["../victim", "x/../../victim", "..", ".", "", "/etc/passwd"] {
            for result in [
                inner.read(name).map(drop),
                inner.open(name).map(drop),
                inner.create_new(name).map(drop),
                inner.replace(name, b"x"),
                inner.rename("x", name),
                inner.remove(name),
                inner.check(name),
                inner.create_below(name).map(drop),
                inner.existing_below(name).map(drop),
            ] {
                let error = result.unwrap_err().to_string();
                assert!(error.contains("Invalid argument"), "{name}: {error}");
            }
        }
        assert_eq!(fs::read_to_string(folder.path().join("victim")).unwrap(), "victim");
    }

    #[test]
    fn what_others_could_have_written_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner");
        let inner = PrivateDir::create(&path).unwrap();
        inner.replace("x", b"1").unwrap();
        mode(&path.join("x"), 0o666);
        for error in [
            inner.read("x").map(drop).unwrap_err(),
            inner.open("x").map(drop).unwrap_err(),
            inner.lock_briefly("x").map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, PrivateDirError::NotOwn(_)), "{error}");
        }
        assert!(matches!(inner.lock("x"), Err(LockError::Dir(PrivateDirError::NotOwn(_)))));
        assert_eq!(fs::read(path.join("x")).unwrap(), b"1");
        // A pipe without a writer must not block.
        nix::unistd::mkfifo(&path.join("pipe"), Mode::S_IRWXU).unwrap();
        let error = inner.read("pipe").unwrap_err().to_string();
        assert!(error.contains("pipe is no regular file; expected"), "{error}");
        for name in ["", "inner"] {
            mode(&folder.path().join(name), 0o777);
            let error = PrivateDir::existing(&path).unwrap_err();
            assert!(matches!(error, PrivateDirError::NotOwn(_)), "{error}");
            mode(&folder.path().join(name), 0o700);
        }
        assert!(PrivateDir::existing(&path).unwrap().is_some());
    }

    #[test]
    fn one_holds_a_lock_and_the_next_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let inner = PrivateDir::create(&folder.path().join("inner")).unwrap();
        let held = inner.lock("lock").unwrap();
        let Err(LockError::Held(holder)) = inner.lock("lock") else { panic!("it is held") };
        assert!(holder.starts_with(&format!("process {} on ", std::process::id())), "{holder}");
        drop(held);
        assert!(inner.lock("lock").is_ok());
    }

    /// As a child between its fork and its exec releases what it inherited.
    #[test]
    fn a_lock_of_this_process_that_is_released_in_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let inner = PrivateDir::create(&folder.path().join("inner")).unwrap();
        let held = inner.lock("lock").unwrap();
        let inherited = held.try_clone().unwrap();
        drop(held);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                drop(inherited);
            });
            assert!(inner.lock("lock").is_ok());
        });
    }

    #[test]
    fn what_cannot_be_written_leaves_no_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = PrivateDir::create(&folder.path().join("inner")).unwrap();
        inner.create_below("taken").unwrap();
        assert!(inner.replace("taken", b"x").is_err());
        assert_eq!(inner.names().unwrap(), ["taken"]);
    }
}

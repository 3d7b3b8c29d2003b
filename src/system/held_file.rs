//! A file that is held open from the first check on. Later reads return the same file, and its path
//! can be compared with it.

use std::{
    ffi::CString,
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    libc,
    sys::stat::{FileStat, stat},
};
use serde::{Deserialize, Serialize};

use crate::base::digest;

/// Identifies a file and its state: where it is, and that nobody has written to it since.
///
/// The kernel sets `changed` at every write, and no program can set it. A write within the same
/// tick of the kernel's clock (a few milliseconds) can leave it unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    /// In bytes.
    size: u64,
    /// Seconds and nanoseconds since 1970, as in `changed`.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for FileIdentity {
    fn from(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

impl FileIdentity {
    /// The file that `path` leads to now, symbolic links followed.
    ///
    /// # Errors
    /// When there is none, or it cannot be accessed.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }

    /// Whether both are the same file, regardless of writes.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    fn is(&self, data: &FileStat) -> bool {
        self.device == data.st_dev
            && self.inode == data.st_ino
            && i64::try_from(self.size) == Ok(data.st_size)
            && self.modified == (data.st_mtime, data.st_mtime_nsec)
            && self.changed == (data.st_ctime, data.st_ctime_nsec)
    }
}

/// A file, held open where it can be read.
#[derive(Debug)]
pub(crate) struct HeldFile {
    /// An error for a program that may be executed but not read.
    content: io::Result<File>,
    identity: FileIdentity,
}

impl HeldFile {
    /// Opens `path`, which must not be a pipe or a device.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // If the path is a pipe by now, the open must not block until a writer comes.
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let content = options.open(path);
        let identity = match &content {
            Ok(file) => FileIdentity::from(&file.metadata()?),
            Err(_) => FileIdentity::of(path)?,
        };
        Ok(Self { content, identity })
    }

    /// Its identity when it was opened.
    pub(crate) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Reads it from its beginning; any number of readers may do so at once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn reader(&self) -> io::Result<HeldReader<'_>> {
        match &self.content {
            Ok(file) => Ok(HeldReader { file, position: 0 }),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// SHA-256 of its content, in lower-case hexadecimal.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sha256(&self) -> io::Result<String> {
        digest::sha256_of_reader(self.reader()?)
    }
}

/// Reads a held file with a position of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldReader<'a> {
    file: &'a File,
    position: u64,
}

impl Read for HeldReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for HeldReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Compares a path with a file between fork and exec, where no memory may be allocated.
#[derive(Debug)]
pub(crate) struct PathCheck {
    path: CString,
    identity: FileIdentity,
}

impl PathCheck {
    /// A check that `path` still leads to the file of `identity`.
    ///
    /// # Errors
    /// When the path contains a zero byte, which no valid path does.
    pub(crate) fn new(path: &Path, identity: FileIdentity) -> io::Result<Self> {
        Ok(Self { path: CString::new(path.as_os_str().as_bytes())?, identity })
    }

    /// Async-signal-safe: one system call, and comparisons.
    ///
    /// # Errors
    /// [`PathCheck::CHANGED`] when the path leads to another file, or the file was written to.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        match stat(self.path.as_c_str()) {
            Ok(data) if self.identity.is(&data) => Ok(()),
            Ok(_) | Err(_) => Err(Self::CHANGED),
        }
    }

    /// The child can pass only a number to its parent. The kernel uses this one for the same
    /// situation on network file systems.
    pub(crate) const CHANGED: Errno = Errno::ESTALE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_read_although_its_path_leads_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner");
        std::fs::write(&path, "one").unwrap();
        let held = HeldFile::open(&path).unwrap();
        std::fs::write(folder.path().join("other"), "two").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert_eq!(held.sha256().unwrap(), digest::sha256("one"));
        let (mut first, mut second) = (held.reader().unwrap(), held.reader().unwrap());
        second.seek(SeekFrom::End(-1)).unwrap();
        let mut text = String::new();
        first.read_to_string(&mut text).unwrap();
        second.read_to_string(&mut text).unwrap();
        assert_eq!(text, "onee");
        assert!(second.seek(SeekFrom::Current(-9)).is_err());
    }

    #[test]
    fn a_path_that_leads_to_another_file_or_one_that_was_written_to_fails_the_check() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("runner"), folder.path().join("other"));
        let checked = || PathCheck::new(&path, FileIdentity::of(&path).unwrap()).unwrap();
        let changed = Err(PathCheck::CHANGED);

        std::fs::write(&path, "one").unwrap();
        let replaced = checked();
        assert_eq!(replaced.check(), Ok(()));
        std::fs::write(&other, "one").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(replaced.check(), changed, "equal bytes in another file");

        let written = checked();
        std::fs::write(&path, "two, longer").unwrap();
        assert_eq!(written.check(), changed);

        let gone = checked();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(gone.check(), changed);
    }
}

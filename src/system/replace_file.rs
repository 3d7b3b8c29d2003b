//! Replaces the content of a file that somebody else owns or edits, too: atomically, with the same
//! mode and owner, and only if nobody has changed it since it was read.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, fchown};

use crate::system::output::{draft, open_regular};

/// Why a file is not replaced. It is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceFileError {
    /// It cannot be read, or the new content cannot be written beside it.
    #[error("{}: cannot be replaced: {source}", file.display())]
    Io {
        /// The file, links followed.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content is no longer what was read.
    #[error("{}: has changed since it was read; fix: run this again", file.display())]
    Changed {
        /// The file, links followed.
        file: PathBuf,
    },
    /// It has other names, which would keep the old content.
    #[error(
        "{}: the file has {} names (hard links), and the others would keep the old content; fix: \
         change it by hand, or remove the other names",
        file.display(),
        names
    )]
    HardLinks {
        /// The file, links followed.
        file: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// A new file cannot be given to its owner.
    #[error(
        "{}: belongs to user {} and group {}, which a new file cannot be given to ({source}); fix: \
         run this as that user",
        file.display(),
        user,
        group
    )]
    Owner {
        /// The file, links followed.
        file: PathBuf,
        /// Its user.
        user: u32,
        /// Its group.
        group: u32,
        /// Why.
        source: io::Error,
    },
}

/// Replaces the content `before` of `file` by `after`. A symbolic link is followed and stays. The
/// new content is on disk when this returns.
///
/// Between the last look and the replacement a few microseconds remain in which a change by
/// somebody else would be lost. Access control lists and extended attributes are not copied.
///
/// # Errors
/// [`ReplaceFileError`]; nothing is changed then.
pub(crate) fn replace_file(
    file: &Path,
    before: &[u8],
    after: &[u8],
) -> Result<(), ReplaceFileError> {
    let real = file
        .canonicalize()
        .map_err(|source| ReplaceFileError::Io { file: file.to_owned(), source })?;
    let failed = |source: io::Error| ReplaceFileError::Io { file: real.clone(), source };
    let status = unchanged(&real, before)?;
    let mut new = draft(&real, 0o600).map_err(failed)?;
    let (user, group) = (status.uid(), status.gid());
    let own = new.as_file().metadata().map_err(failed)?;
    if (own.uid(), own.gid()) != (user, group) {
        let given = fchown(new.as_file(), Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        given.map_err(|error| ReplaceFileError::Owner {
            file: real.clone(),
            user,
            group,
            source: error.into(),
        })?;
    }
    // After the change of owner, which clears set-user-ID.
    let mode = std::fs::Permissions::from_mode(status.mode() & 0o7777);
    new.as_file().set_permissions(mode).map_err(failed)?;
    new.as_file_mut().write_all(after).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    let again = unchanged(&real, before)?;
    if (again.dev(), again.ino()) != (status.dev(), status.ino()) {
        return Err(ReplaceFileError::Changed { file: real });
    }
    new.persist(&real).map_err(|error| failed(error.error))?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// The status of `file`, if its content is `before` and it has one name.
fn unchanged(file: &Path, before: &[u8]) -> Result<Metadata, ReplaceFileError> {
    let read = || -> io::Result<(Metadata, Vec<u8>)> {
        let opened = open_regular(file)?;
        let status = opened.metadata()?;
        let mut content = Vec::new();
        opened.take(before.len() as u64 + 1).read_to_end(&mut content)?;
        Ok((status, content))
    };
    let (status, content) =
        read().map_err(|source| ReplaceFileError::Io { file: file.to_owned(), source })?;
    if content != before {
        return Err(ReplaceFileError::Changed { file: file.to_owned() });
    }
    if status.nlink() > 1 {
        return Err(ReplaceFileError::HardLinks { file: file.to_owned(), names: status.nlink() });
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn only(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_content_is_replaced_and_the_mode_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        for mode in [0o600, 0o640, 0o644, 0o444] {
            drop(fs::remove_file(&file));
            fs::write(&file, "old").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            replace_file(&file, b"old", b"newer").unwrap();
            assert_eq!(fs::read(&file).unwrap(), b"newer");
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, mode);
        }
        assert_eq!(only(folder.path()), ["config.yml"]);
    }

    #[test]
    fn a_symbolic_link_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink("real", &link).unwrap();
        replace_file(&link, b"old", b"new").unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("real"));
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(only(folder.path()), ["link", "real"]);
    }

    #[test]
    fn what_somebody_else_has_changed_or_what_has_two_names_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        fs::write(&file, "theirs").unwrap();
        for before in ["old", "their", "theirs "] {
            let refused = replace_file(&file, before.as_bytes(), b"new").unwrap_err();
            assert!(matches!(refused, ReplaceFileError::Changed { .. }), "{refused}");
        }
        fs::hard_link(&file, folder.path().join("other")).unwrap();
        let refused = replace_file(&file, b"theirs", b"new").unwrap_err();
        assert!(matches!(refused, ReplaceFileError::HardLinks { names: 2, .. }), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), b"theirs");
        let gone = replace_file(&folder.path().join("none"), b"", b"new").unwrap_err();
        assert!(matches!(gone, ReplaceFileError::Io { .. }), "{gone}");
        let a_folder = replace_file(folder.path(), b"", b"new").unwrap_err();
        assert!(matches!(a_folder, ReplaceFileError::Io { .. }), "{a_folder}");
        assert_eq!(only(folder.path()), ["config.yml", "other"]);
    }
}

//! Reads the Rust files of a folder.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why the sources could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not Rust.
    #[error("cannot parse {} (line {}): {source}", path.display(), source.span().start().line)]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: syn::Error,
    },
    /// The file's name does not match the module.
    #[error("{}:{line}: a module with #[path] is not supported", path.display())]
    PathAttribute {
        /// The file with the `mod` line.
        path: PathBuf,
        /// The line.
        line: usize,
    },
}

/// A parsed file.
pub(crate) struct SourceFile {
    /// Below the source folder.
    pub(crate) path: PathBuf,
    pub(crate) syntax: syn::File,
}

impl SourceFile {
    /// The parts of the module's path, from the file's name; none for `lib.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self
            .path
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] {
            parts.pop();
        }
        parts
    }
}

/// All files `*.rs` of a folder and of the folders in it, in the order of their paths.
pub(crate) fn read(folder: &Path) -> Result<Vec<SourceFile>, Error> {
    let mut paths = Vec::new();
    list(folder, &mut paths)?;
    paths.sort();
    paths.iter().map(|path| parse(folder, path)).collect()
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unreadable = |source| Error::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

fn parse(folder: &Path, path: &Path) -> Result<SourceFile, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let syntax =
        syn::parse_file(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })?;
    let path = path.strip_prefix(folder).unwrap_or(path).to_owned();
    Ok(SourceFile { path, syntax })
}

//! The files with infrastructure code that `setup` writes. A file that somebody else wrote is never
//! replaced.

use std::{io, path::Path};

use crate::{
    setup::error::SetupError,
    system::{marked_file::MarkedFile, output::OTHERS_MAY_READ},
};

/// The first line of every file that `setup` writes; a file that begins with it may be replaced.
const MARK: &str = "# Written by `emr-etl-guard setup`; a later `setup` replaces this file.";
const CODE: MarkedFile = MarkedFile { mark: MARK, line: 0, mode: OTHERS_MAY_READ, others: not_own };

/// The error for a file that `setup` has not written.
fn not_own() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "it exists, and `setup` did not write it; expected: a new name, or a file of an \
        earlier `setup`; fix: give another name, or remove the file",
    )
}

/// Writes `text` below [`MARK`] to `file`.
///
/// # Errors
/// When it cannot be written, or when a file exists that `setup` has not written.
pub(super) fn write_marked(file: &Path, text: &str) -> Result<(), SetupError> {
    CODE.write(file, &format!("{MARK}\n{text}"))
        .map_err(|error| SetupError::File(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_file_of_setup_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("main.tf");
        for text in ["one\n", "two\n"] {
            write_marked(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{MARK}\n{text}"));
        }
        for text in ["", "resource \"aws_s3_bucket\" \"mine\" {}\n"] {
            fs::write(&file, text).unwrap();
            let error = write_marked(&file, "three\n").unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: it exists", file.display())), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let link = folder.path().join("link.tf");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(write_marked(&link, "four\n").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

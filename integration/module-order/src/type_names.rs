//! Finds public types that share a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::collect;
use crate::sources::{self, Error};

/// A name that several types declared with any `pub` have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedType {
    /// The name.
    pub name: String,
    /// File and line of each declaration.
    pub places: Vec<(PathBuf, usize)>,
}

/// The names that types share within these source folders, without test code.
///
/// # Errors
/// When a file cannot be read or is not Rust.
pub fn repeated_types(folders: &[&Path]) -> Result<Vec<RepeatedType>, Error> {
    let mut places: BTreeMap<String, Vec<(PathBuf, usize)>> = BTreeMap::new();
    for folder in folders {
        let files = sources::read(folder)?;
        let collected: Vec<_> = files
            .iter()
            .map(|file| (file, collect::collect(&file.module(), &file.syntax)))
            .collect();
        let of_tests: Vec<Vec<String>> = collected
            .iter()
            .flat_map(|(_, found)| &found.modules)
            .filter(|it| it.test_only)
            .map(|it| it.path.clone())
            .collect();
        for (file, found) in collected {
            if of_tests.iter().any(|test| file.module().starts_with(test)) {
                continue;
            }
            for declared in found.types {
                let place = (folder.join(&file.path), declared.line);
                places.entry(declared.name).or_default().push(place);
            }
        }
    }
    let repeated = places.into_iter().filter(|(_, places)| places.len() > 1);
    Ok(repeated.map(|(name, places)| RepeatedType { name, places }).collect())
}

//! The chain: each document names the one before it in its state directory, by number, run and
//! digest, so that a missing one shows.
//!
//! A number is taken, on the disk, before its run begins. A run that dies without a document leaves
//! a gap, and the next document says whose it is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A document's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Chain")]
pub struct ChainLink {
    /// The chain's id, made with its first document; a new state directory begins a new chain.
    pub id: String,
    /// The document's number, from 1.
    pub sequence: u64,
    /// The last document before this one.
    pub previous: Option<PreviousReport>,
    /// Runs that have begun since, and left no document: their guard died.
    pub unrecorded: Vec<BegunRun>,
}

/// A document of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Previous")]
pub struct PreviousReport {
    /// Its run.
    pub run: String,
    /// Its number.
    pub sequence: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A run that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Begun")]
pub struct BegunRun {
    /// Its id.
    pub run: String,
    /// Its number.
    pub sequence: u64,
}

/// What the state directory knows of its chain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainState {
    id: String,
    /// The last number that was taken.
    sequence: u64,
    last: Option<PreviousReport>,
    begun: Vec<BegunRun>,
}

const FILE: &str = "chain.json";
/// So many runs without a document are named at most: the last ones.
const NAMED: usize = 16;

impl ChainState {
    fn read(state_dir: &Path) -> io::Result<Self> {
        match fs::read(state_dir.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let why = format!(
                    "{FILE} cannot be understood ({error}); where it is lost, remove it: a new chain begins, and its first document shows that"
                );
                io::Error::new(io::ErrorKind::InvalidData, why)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { id: uuid::Uuid::now_v7().to_string(), sequence: 0, last: None, begun: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, state_dir: &Path) -> io::Result<()> {
        write_atomically(&state_dir.join(FILE), &serde_json::to_vec(self)?)
    }
}

/// Takes the next number of the chain in `state_dir` for `run`. `digest_of` gives the digest of a
/// run's document, where one is kept although the chain does not know of it: its guard died between
/// the two.
///
/// # Errors
/// When the state directory cannot be read or written.
pub(crate) fn begin(
    state_dir: &Path,
    run: &str,
    digest_of: impl Fn(&BegunRun) -> Option<String>,
) -> io::Result<ChainLink> {
    let mut state = ChainState::read(state_dir)?;
    let mut unrecorded = Vec::new();
    for begun in std::mem::take(&mut state.begun) {
        match digest_of(&begun) {
            Some(sha256) => {
                state.last =
                    Some(PreviousReport { run: begun.run, sequence: begun.sequence, sha256 });
            }
            None => unrecorded.push(begun),
        }
    }
    // A signature takes only so much, and what is left out shows in the numbers all the same.
    unrecorded.drain(..unrecorded.len().saturating_sub(NAMED));
    state.sequence += 1;
    let chain = ChainLink {
        id: state.id.clone(),
        sequence: state.sequence,
        previous: state.last.clone(),
        unrecorded: unrecorded.clone(),
    };
    // Those without a document stay named until there is one that names them.
    state.begun = unrecorded;
    state.begun.push(BegunRun { run: run.to_owned(), sequence: state.sequence });
    state.write(state_dir)?;
    Ok(chain)
}

/// Notes that the document of `run` has its place in the chain, now that it is on the disk.
///
/// # Errors
/// When the state directory cannot be read or written.
pub(crate) fn record(
    state_dir: &Path,
    chain: &ChainLink,
    run: &str,
    sha256: &str,
) -> io::Result<()> {
    let mut state = ChainState::read(state_dir)?;
    state.begun.clear();
    state.last = Some(PreviousReport {
        run: run.to_owned(),
        sequence: chain.sequence,
        sha256: sha256.to_owned(),
    });
    state.write(state_dir)
}

/// Writes a file so that whoever looks, also after a crash, finds the old content or the new one
/// whole.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    let written = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_kept(_: &BegunRun) -> Option<String> {
        None
    }

    #[test]
    fn each_document_names_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = begin(folder.path(), "one", nothing_kept).unwrap();
        assert_eq!((first.sequence, &first.previous, first.unrecorded.len()), (1, &None, 0));
        record(folder.path(), &first, "one", "aa").unwrap();
        let second = begin(folder.path(), "two", nothing_kept).unwrap();
        assert_eq!((second.sequence, &second.id), (2, &first.id));
        assert_eq!(
            second.previous,
            Some(PreviousReport { run: "one".to_owned(), sequence: 1, sha256: "aa".to_owned() })
        );
    }

    #[test]
    fn a_run_that_left_no_document_is_named_by_the_next_one_that_does() {
        let folder = tempfile::tempdir().unwrap();
        begin(folder.path(), "one", nothing_kept).unwrap();
        begin(folder.path(), "two", nothing_kept).unwrap();
        let third = begin(folder.path(), "three", nothing_kept).unwrap();
        let lost: Vec<(&str, u64)> =
            third.unrecorded.iter().map(|begun| (begun.run.as_str(), begun.sequence)).collect();
        assert_eq!((third.sequence, lost), (3, vec![("one", 1), ("two", 2)]));
        record(folder.path(), &third, "three", "cc").unwrap();
        assert_eq!(begin(folder.path(), "four", nothing_kept).unwrap().unrecorded, []);
    }

    #[test]
    fn of_very_many_runs_without_a_document_the_last_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let chains: Vec<ChainLink> = (0..40)
            .map(|run| begin(folder.path(), &run.to_string(), nothing_kept).unwrap())
            .collect();
        let last = chains.last().unwrap();
        let named: Vec<u64> = last.unrecorded.iter().map(|begun| begun.sequence).collect();
        assert_eq!((last.sequence, named), (40, (24..40).collect()));
    }

    #[test]
    fn a_document_that_was_kept_before_its_guard_died_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        begin(folder.path(), "one", nothing_kept).unwrap();
        let second =
            begin(folder.path(), "two", |begun| (begun.run == "one").then(|| "aa".to_owned()))
                .unwrap();
        assert_eq!(
            second.previous,
            Some(PreviousReport { run: "one".to_owned(), sequence: 1, sha256: "aa".to_owned() })
        );
        assert_eq!(second.unrecorded, []);
    }

    #[test]
    fn a_chain_that_cannot_be_read_is_no_new_chain() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let error = begin(folder.path(), "one", nothing_kept).unwrap_err().to_string();
        assert!(error.starts_with("chain.json cannot be understood (EOF"), "{error}");
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"{", "it stays as it is");
    }

    #[test]
    fn what_cannot_be_written_leaves_no_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_atomically(&folder.path().join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

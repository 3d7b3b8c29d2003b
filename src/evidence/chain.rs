//! The chain of reports: each report names the previous one in its state directory by number, run
//! and digest, so that a missing report is detected.
//!
//! A run's number is saved on the disk before the run begins. A run that dies without a report
//! leaves a gap, and the next report names that run.

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::system::private_dir::{PrivateDir, PrivateDirError};

/// A report's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Chain")]
pub struct ChainLink {
    /// The chain's id, created with its first report. A new state directory begins a new chain.
    pub id: String,
    /// The report's number, from 1.
    pub sequence: u64,
    /// The last report before this one.
    pub previous: Option<PreviousReport>,
    /// Runs that have begun since then and left no report, because their guard died.
    pub unrecorded: Vec<BegunRun>,
}

/// A report of the chain.
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

/// A run that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Begun")]
pub struct BegunRun {
    /// Its id.
    pub run: String,
    /// Its number.
    pub sequence: u64,
}

/// The state of the chain, kept in the state directory.
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
/// How many runs without a report are named at most; the latest are kept.
const NAMED: usize = 16;

impl ChainState {
    fn read(state_dir: &PrivateDir) -> Result<Option<Self>, PrivateDirError> {
        let Some(bytes) = state_dir.read(FILE)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let why = format!(
                "it cannot be understood ({error}); where it is lost, remove it: a new chain \
                 begins, and its first document shows that"
            );
            let source = io::Error::new(io::ErrorKind::InvalidData, why);
            PrivateDirError::Io { path: state_dir.path_of(FILE).display().to_string(), source }
        })
    }

    fn read_or_begin(state_dir: &PrivateDir) -> Result<Self, PrivateDirError> {
        Ok(Self::read(state_dir)?.unwrap_or_else(|| Self {
            id: uuid::Uuid::now_v7().to_string(),
            sequence: 0,
            last: None,
            begun: Vec::new(),
        }))
    }

    fn write(&self, state_dir: &PrivateDir) -> Result<(), PrivateDirError> {
        state_dir.replace_json(FILE, self)
    }
}

/// Whether the chain in `state_dir` has given this place to a report.
///
/// # Errors
/// When the state directory cannot be read.
pub(crate) fn gave(state_dir: &PrivateDir, place: &ChainLink) -> Result<bool, PrivateDirError> {
    let chain = ChainState::read(state_dir)?;
    Ok(chain.is_some_and(|chain| chain.id == place.id && place.sequence <= chain.sequence))
}

/// Takes the next number of the chain in `state_dir` for `run`. `digest_of` gives the digest of a
/// run's report if that report was saved but is not in the chain, because its guard died between
/// the two steps.
///
/// # Errors
/// When the state directory cannot be read or written.
pub(crate) fn begin(
    state_dir: &PrivateDir,
    run: &str,
    digest_of: impl Fn(&BegunRun) -> Option<String>,
) -> Result<ChainLink, PrivateDirError> {
    let mut state = ChainState::read_or_begin(state_dir)?;
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
    // A signed statement has a size limit. Runs that are left out still show as missing numbers.
    unrecorded.drain(..unrecorded.len().saturating_sub(NAMED));
    state.sequence += 1;
    let chain = ChainLink {
        id: state.id.clone(),
        sequence: state.sequence,
        previous: state.last.clone(),
        unrecorded: unrecorded.clone(),
    };
    // Runs without a report stay in the state until a report has named them.
    state.begun = unrecorded;
    state.begun.push(BegunRun { run: run.to_owned(), sequence: state.sequence });
    state.write(state_dir)?;
    Ok(chain)
}

/// Records that the report of `run` has its place in the chain, after it was written to the disk.
///
/// # Errors
/// When the state directory cannot be read or written.
pub(crate) fn record(
    state_dir: &PrivateDir,
    chain: &ChainLink,
    run: &str,
    sha256: &str,
) -> Result<(), PrivateDirError> {
    let mut state = ChainState::read_or_begin(state_dir)?;
    state.begun.clear();
    state.last = Some(PreviousReport {
        run: run.to_owned(),
        sequence: chain.sequence,
        sha256: sha256.to_owned(),
    });
    state.write(state_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A state directory for one test, and the guard object that removes it.
    fn state_dir() -> (tempfile::TempDir, PrivateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = PrivateDir::create(folder.path()).unwrap();
        (folder, state_dir)
    }

    fn nothing_kept(_: &BegunRun) -> Option<String> {
        None
    }

    #[test]
    fn each_document_names_the_one_before_it() {
        let (_folder, state) = state_dir();
        let first = begin(&state, "one", nothing_kept).unwrap();
        assert_eq!((first.sequence, &first.previous, first.unrecorded.len()), (1, &None, 0));
        record(&state, &first, "one", "aa").unwrap();
        let second = begin(&state, "two", nothing_kept).unwrap();
        assert_eq!((second.sequence, &second.id), (2, &first.id));
        assert_eq!(
            second.previous,
            Some(PreviousReport { run: "one".to_owned(), sequence: 1, sha256: "aa".to_owned() })
        );
    }

    #[test]
    fn a_run_that_left_no_document_is_named_by_the_next_one_that_does() {
        let (_folder, state) = state_dir();
        begin(&state, "one", nothing_kept).unwrap();
        begin(&state, "two", nothing_kept).unwrap();
        let third = begin(&state, "three", nothing_kept).unwrap();
        let lost: Vec<(&str, u64)> =
            third.unrecorded.iter().map(|begun| (begun.run.as_str(), begun.sequence)).collect();
        assert_eq!((third.sequence, lost), (3, vec![("one", 1), ("two", 2)]));
        record(&state, &third, "three", "cc").unwrap();
        assert_eq!(begin(&state, "four", nothing_kept).unwrap().unrecorded, []);
    }

    #[test]
    fn of_very_many_runs_without_a_document_the_last_are_named() {
        let (_folder, state) = state_dir();
        let chains: Vec<ChainLink> =
            (0..40).map(|run| begin(&state, &run.to_string(), nothing_kept).unwrap()).collect();
        let last = chains.last().unwrap();
        let named: Vec<u64> = last.unrecorded.iter().map(|begun| begun.sequence).collect();
        assert_eq!((last.sequence, named), (40, (24..40).collect()));
    }

    #[test]
    fn a_document_that_was_kept_before_its_guard_died_has_its_place() {
        let (_folder, state) = state_dir();
        begin(&state, "one", nothing_kept).unwrap();
        let second =
            begin(&state, "two", |begun| (begun.run == "one").then(|| "aa".to_owned())).unwrap();
        assert_eq!(
            second.previous,
            Some(PreviousReport { run: "one".to_owned(), sequence: 1, sha256: "aa".to_owned() })
        );
        assert_eq!(second.unrecorded, []);
    }

    #[test]
    fn a_chain_that_cannot_be_read_is_no_new_chain() {
        let (folder, state) = state_dir();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let error = begin(&state, "one", nothing_kept).unwrap_err().to_string();
        assert!(error.contains("chain.json: it cannot be understood (EOF"), "{error}");
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"{", "it stays as it is");
    }
}

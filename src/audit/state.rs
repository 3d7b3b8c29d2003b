//! The saved state of a scan, so that an interrupted scan can be continued. It holds no secret, and
//! no keys except those at which splits begin, end or continue.
//!
//! The state is written to a temporary file beside its path, which is then renamed: after a crash,
//! either the old or the new state is there. Counts and positions are saved together, so they
//! always match.

use std::{fs::File, io, path::Path};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    audit::tally::AuditTally,
    facts::scan::scope::{ListPosition, Split},
    system::{
        file_owner::NotOwnError,
        private_dir::{LockError, PrivateDir, PrivateDirError},
    },
};

/// The version of the file's format. A file of another version is not continued.
const VERSION: u32 = 1;

/// Why the state cannot be read or saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditStateError {
    #[error(
        "the state of the audit cannot be kept: {0}: {1}; free or fix the disk, name another \
         place in the setting `state_dir`, or leave --resume out"
    )]
    Unusable(String, io::Error),
    #[error("nothing was looked at: the state directory cannot be trusted: {0}")]
    NotOwn(#[from] NotOwnError),
    #[error("another audit of the same scope is under way ({0} is held); wait for its end")]
    Held(String),
}

impl From<PrivateDirError> for AuditStateError {
    fn from(error: PrivateDirError) -> Self {
        match error {
            PrivateDirError::NotOwn(error) => Self::NotOwn(error),
            PrivateDirError::Io { path, source } => Self::Unusable(path, source),
        }
    }
}

/// The state of a scan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScanState {
    version: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) started: OffsetDateTime,
    pub(crate) targets: Vec<TargetState>,
    /// The length of the list of offenders in bytes.
    pub(crate) offenders: u64,
    /// The name of the list's draft file. Older versions had a fixed name.
    #[serde(default)]
    pub(crate) draft: Option<String>,
}

/// The state of one target's scan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TargetState {
    /// None until the location is cut into splits.
    pub(crate) splits: Option<Vec<SplitState>>,
    pub(crate) tally: AuditTally,
}

/// The state of one split.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SplitState {
    pub(crate) split: Split,
    /// Whether it is complete.
    pub(crate) done: bool,
}

impl SplitState {
    pub(crate) fn new(split: Split) -> Self {
        Self { split, done: false }
    }

    pub(crate) fn reach(&mut self, position: ListPosition) {
        self.split.after = Some(position);
    }
}

impl ScanState {
    pub(crate) fn new(started: OffsetDateTime, targets: usize) -> Self {
        Self {
            version: VERSION,
            started,
            targets: (0..targets).map(|_| TargetState::default()).collect(),
            offenders: 0,
            draft: None,
        }
    }

    /// The number of splits, and how many are complete.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let splits = || self.targets.iter().flat_map(|target| target.splits.iter().flatten());
        (splits().count(), splits().filter(|split| split.done).count())
    }
}

/// The state file of one scope, locked by one audit at a time.
#[derive(Debug)]
pub(crate) struct StateFile {
    folder: PrivateDir,
    name: String,
    _lock: File,
}

impl StateFile {
    /// Locks the file of the scope with this `digest`, in the state directory.
    pub(crate) fn take(state_dir: &Path, digest: &str) -> Result<Self, AuditStateError> {
        let folder = PrivateDir::create(state_dir)?.create_below("audits")?;
        let name = digest.get(..16).unwrap_or(digest);
        let lock_name = format!("{name}.lock");
        match folder.lock(&lock_name) {
            Ok(lock) => Ok(Self { name: format!("{name}.json"), folder, _lock: lock }),
            Err(LockError::Held(_)) => {
                Err(AuditStateError::Held(folder.path_of(&lock_name).display().to_string()))
            }
            Err(LockError::Dir(error)) => Err(error.into()),
        }
    }

    /// The state of an earlier scan of `targets` targets, if there is one that this version can
    /// continue.
    pub(crate) fn read(&self, targets: usize) -> Result<Option<ScanState>, AuditStateError> {
        let bytes = self.folder.read(&self.name)?;
        let state: Option<ScanState> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(state.filter(|state| state.version == VERSION && state.targets.len() == targets))
    }

    pub(crate) fn write(&self, state: &ScanState) -> Result<(), AuditStateError> {
        Ok(self.folder.replace_json(&self.name, state)?)
    }

    /// Removes the file, when the scan is complete.
    pub(crate) fn remove(&self) {
        let _ = self.folder.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_one_scope_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::take(folder.path(), "0123456789abcdef0123").unwrap();
        assert!(
            matches!(
                StateFile::take(folder.path(), "0123456789abcdef9999"),
                Err(AuditStateError::Held(_))
            ),
            "the name is the digest's start"
        );
        assert!(file.read(1).unwrap().is_none());
        let mut state = ScanState::new(OffsetDateTime::UNIX_EPOCH, 1);
        let mut split = SplitState::new(Split { after: None, until: Some("b/".to_owned()) });
        split.reach(ListPosition { key: "a/1".to_owned(), version: Some("v".to_owned()) });
        state.targets[0].splits = Some(vec![split.clone(), SplitState { done: true, ..split }]);
        state.offenders = 7;
        file.write(&state).unwrap();
        let read = file.read(1).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&state).unwrap());
        assert_eq!(read.progress(), (2, 1));
        assert!(file.read(2).unwrap().is_none(), "of another scope");
        let path = folder.path().join("audits/0123456789abcdef.json");
        std::fs::write(&path, "{\"version\": 1").unwrap();
        assert!(file.read(1).unwrap().is_none(), "a part is nothing");
        // A file that other users can write is not a state to continue from.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, mode).unwrap();
        assert!(matches!(file.read(1), Err(AuditStateError::NotOwn(_))));
    }
}

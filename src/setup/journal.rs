//! The journal of `setup`: what it is about to change, and what came of it. Each entry is on the
//! disk before the call that it announces, so that a setup that dies at any point can be continued
//! by the next one. It stays after a setup has ended, because it proves what `setup` has made.
//!
//! A journal holds no secret: the certificates of an archive are never part of a piece.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    base::{digest::sha256, names::AccountId},
    setup::{
        piece::Piece,
        record::{AppliedAction, AppliedCall, AppliedStep, MadeIds, UndoResult, UndoneStep},
    },
    system::private_dir::{LockError, PrivateDir, PrivateDirError},
};

/// The folder in the state directory.
const FOLDER: &str = "setups";
/// The version of the entries' form.
const VERSION: u32 = 1;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupJournalError {
    /// Another setup is under way.
    #[error(
        "another setup with this state directory is under way ({holder}); nothing was changed; \
         fix: wait for its end, then run the same command again"
    )]
    Held {
        /// The other setup, as its lock file describes it.
        holder: String,
    },
    /// It cannot be read or written.
    #[error(
        "the journal of setup cannot be used: {0}; fix: free or fix the disk, or name another \
         directory in the setting `state_dir`, then run the same command again"
    )]
    Dir(#[from] PrivateDirError),
    /// It was not written by this version.
    #[error(
        "{path} is no journal of setup that this version can read ({reason}); fix: look at what \
         that setup made, then move the file away"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// Why it cannot be read.
        reason: String,
    },
}

/// Which setup it is: setups with another name, account or region have journals of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetupIdentity {
    /// The start of the names of everything that is made.
    pub(crate) name: String,
    /// The account that everything must belong to.
    pub(crate) account: AccountId,
    /// The region of clusters, keys and security configurations.
    pub(crate) region: String,
}

impl SetupIdentity {
    /// The name of its journal.
    fn file_name(&self) -> String {
        let key = format!("{}\n{}\n{}", self.account, self.region, self.name);
        format!("{}.journal", &sha256(key)[..32])
    }
}

/// A call that is about to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IntendedWrite {
    /// The API's name of the call.
    pub(super) operation: String,
    /// The piece that it belongs to.
    pub(super) piece: Piece,
    /// Whether the piece is made or changed.
    pub(super) action: AppliedAction,
    /// The settings before.
    pub(super) before: Option<Value>,
    /// The value of the tag or metadata by which a key or an archive is recognised.
    pub(super) mark: Option<String>,
}

/// What a later setup found out about a write without a known result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WriteResult {
    /// It took effect.
    Done,
    /// It did not.
    NotDone,
    /// That cannot be seen: the piece is neither as it was nor as it should be, or cannot be read.
    Unknown,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
enum SetupEntry {
    /// A setup began.
    Begun {
        version: u32,
        id: String,
        name: String,
        account: String,
        region: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// A call is about to be made.
    Intended(Box<IntendedWrite>),
    /// It succeeded.
    Answered { request: Option<String>, made: MadeIds },
    /// It failed. `unclear`: it may have taken effect nevertheless.
    Failed { request: Option<String>, unclear: bool, error: String },
    /// A later setup has looked at the piece.
    Closed { result: WriteResult, saw: String },
    /// The step has ended.
    Step(Box<AppliedStep>),
    /// What had been made was taken back.
    Undone { kind: String, subject: String },
    /// An undo is about to take a piece back.
    Undoing { kind: String, subject: String },
    /// An undo has tried to take a piece back.
    TakenBack(Box<UndoneStep>),
    /// The steps so far are in a report.
    Reported,
    /// What was taken back so far is in a report.
    UndoReported,
}

/// A piece that may be written in part.
#[derive(Clone, Debug)]
pub(super) struct OpenPiece {
    /// The last call.
    pub(super) last: IntendedWrite,
    /// All of its calls.
    pub(super) calls: Vec<AppliedCall>,
    /// The settings before the first.
    pub(super) before: Option<Value>,
    /// How AWS identifies what was made.
    pub(super) made: MadeIds,
    /// Whether the last call has an answer.
    pub(super) is_answered: bool,
}

/// What is known of a piece that `setup` tried to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownPiece {
    /// How AWS identifies it.
    pub(super) made: MadeIds,
    /// The tag of a key, if no answer gave its ARN; the metadata of an archive.
    pub(super) mark: Option<String>,
}

/// What earlier setups began and did not complete, where the account alone does not show that: what
/// they left could be somebody's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftUndone {
    /// The buckets that a setup made without the default encryption that it planned for them.
    pub(crate) buckets: BTreeSet<String>,
    /// The roles that a setup made, perhaps without their managed policies.
    pub(crate) roles: BTreeSet<String>,
}

impl LeftUndone {
    /// What the journal of this setup in the state directory at `state_dir` says; nothing if there
    /// is none. It is only read, also while a setup is under way.
    ///
    /// # Errors
    /// [`SetupJournalError`] when it cannot be read.
    pub(crate) fn read(
        state_dir: &Path,
        identity: &SetupIdentity,
    ) -> Result<Self, SetupJournalError> {
        Ok(JournalState::existing(state_dir, identity)?.left_undone())
    }
}

/// Whether a setup with the journal of `identity` made the security configuration `name`, and it
/// was not taken back. The journal is only read.
///
/// # Errors
/// [`SetupJournalError`] when it cannot be read.
pub(crate) fn made_configuration(
    state_dir: &Path,
    identity: &SetupIdentity,
    name: &str,
) -> Result<bool, SetupJournalError> {
    Ok(JournalState::existing(state_dir, identity)?.made_configuration(name))
}

/// What the entries say.
#[derive(Debug, Default)]
struct JournalState {
    open: Option<OpenPiece>,
    /// The steps that no report has.
    steps: Vec<AppliedStep>,
    /// By kind and subject.
    known: BTreeMap<(String, String), KnownPiece>,
    /// The pieces whose last step found them as they should be, by kind and subject.
    verified: BTreeSet<(String, String)>,
    /// When the first setup that no report has began.
    begun: Option<OffsetDateTime>,
    /// What undos did that no report has: of each piece, the last attempt.
    taken_back: Vec<UndoneStep>,
    /// The pieces that undos were cut off in, by kind and subject.
    undoing: BTreeSet<(String, String)>,
}

/// The journal of one setup, locked by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct SetupJournal {
    folder: PrivateDir,
    name: String,
    file: File,
    identity: SetupIdentity,
    /// The id of this setup, a UUID.
    id: String,
    state: JournalState,
    /// The kernel releases the lock when its process ends, however it ends.
    _lock: File,
}

impl SetupJournal {
    /// Opens the journal of a setup in the state directory at `state_dir`, and creates both if they
    /// do not exist.
    ///
    /// # Errors
    /// [`SetupJournalError`] when another setup holds it, or it cannot be used.
    pub(crate) fn open(
        state_dir: &Path,
        identity: SetupIdentity,
    ) -> Result<Self, SetupJournalError> {
        let folder = PrivateDir::create(state_dir)?.create_below(FOLDER)?;
        let lock = folder.lock("lock").map_err(|error| match error {
            LockError::Held(holder) => SetupJournalError::Held { holder },
            LockError::Dir(error) => SetupJournalError::Dir(error),
        })?;
        let name = identity.file_name();
        let (mut file, state) = match folder.open(&name)? {
            Some(mut file) => {
                let state = read(&mut file).map_err(|error| error.of(&folder, &name))?;
                (file, state)
            }
            None => {
                let file = folder.create_new(&name)?;
                folder.sync()?;
                (file, JournalState::default())
            }
        };
        file.seek(SeekFrom::End(0)).map_err(|error| io_error(&folder, &name, error))?;
        let id = uuid::Uuid::now_v7().to_string();
        let begun = SetupEntry::Begun {
            version: VERSION,
            id: id.clone(),
            name: identity.name.clone(),
            account: identity.account.to_string(),
            region: identity.region.clone(),
            at: OffsetDateTime::now_utc(),
        };
        let mut journal = Self { folder, name, file, identity, id, state, _lock: lock };
        journal.write(begun)?;
        Ok(journal)
    }

    /// Which setup it is.
    pub(crate) fn identity(&self) -> &SetupIdentity {
        &self.identity
    }

    /// The steps that no report has yet, in order: those of this setup, and of earlier ones that
    /// were cut off.
    pub(crate) fn steps(&self) -> &[AppliedStep] {
        &self.state.steps
    }

    /// When the first of the setups began that no report has yet.
    pub(crate) fn begun(&self) -> Option<OffsetDateTime> {
        self.state.begun
    }

    /// Records that a report has all steps so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn reported(&mut self) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::Reported)
    }

    /// The value of a tag for a new key, and of metadata for an archive: by it they are recognised
    /// if no answer comes.
    pub(super) fn mark(&self) -> String {
        // Allowed in values of tags: letters, digits, spaces and + - = . _ : / @.
        format!("{}/{}", self.identity.name, self.id)
    }

    /// The piece that may be written in part.
    pub(super) fn open_piece(&self) -> Option<&OpenPiece> {
        self.state.open.as_ref()
    }

    /// What is known of a piece that a setup with this journal tried to make; none if no such call
    /// succeeded or may have succeeded, or if what was made has been taken back.
    pub(super) fn known(&self, piece: &Piece) -> Option<&KnownPiece> {
        self.state.known.get(&key(piece))
    }

    /// Whether a setup with this journal made the security configuration `name`, and it was not
    /// taken back.
    pub(crate) fn made_configuration(&self, name: &str) -> bool {
        self.state.made_configuration(name)
    }

    /// The last call, where its result is not known, as `CreateKey (KMS key alias/emr-etl)`.
    pub(crate) fn call_under_way(&self) -> Option<String> {
        let open = self.state.open.as_ref()?;
        let piece = &open.last.piece;
        Some(format!("{} ({} {})", open.last.operation, piece.kind(), piece.subject()))
    }

    /// The step that is under way, as a report has it that cannot say how it ended.
    pub(crate) fn step_under_way(&self) -> Option<AppliedStep> {
        let open = self.state.open.as_ref()?;
        Some(AppliedStep {
            piece: open.last.piece.clone(),
            action: open.last.action,
            before: open.before.clone(),
            made: open.made.clone(),
            calls: open.calls.clone(),
            at: OffsetDateTime::now_utc(),
            verified: false,
            error: Some("it was stopped before this was looked at".to_owned()),
        })
    }

    /// What came of the last attempt to take a piece back that no report has.
    pub(super) fn taken_back(&self, piece: &Piece) -> Option<&UndoneStep> {
        let key = key(piece);
        self.state.taken_back.iter().find(|step| self::key(&step.piece) == key)
    }

    /// Whether an undo was cut off while it took this piece back.
    pub(crate) fn is_undoing(&self, piece: &Piece) -> bool {
        self.state.undoing.contains(&key(piece))
    }

    /// Records that a piece is about to be taken back.
    pub(super) fn undoing(&mut self, piece: &Piece) -> Result<(), SetupJournalError> {
        let (kind, subject) = key(piece);
        self.write(SetupEntry::Undoing { kind, subject })
    }

    /// Records what came of taking a piece back.
    pub(super) fn tried_to_undo(&mut self, step: UndoneStep) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::TakenBack(Box::new(step)))
    }

    /// Records that a report has everything that was taken back so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn undo_reported(&mut self) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::UndoReported)
    }

    /// Its file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }

    pub(super) fn intend(&mut self, write: IntendedWrite) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::Intended(Box::new(write)))
    }

    pub(super) fn answered(
        &mut self,
        request: Option<String>,
        made: MadeIds,
    ) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::Answered { request, made })
    }

    pub(super) fn failed(
        &mut self,
        request: Option<String>,
        unclear: bool,
        error: String,
    ) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::Failed { request, unclear, error })
    }

    pub(super) fn closed(
        &mut self,
        result: WriteResult,
        saw: impl Into<String>,
    ) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::Closed { result, saw: saw.into() })
    }

    pub(super) fn step(&mut self, step: AppliedStep) -> Result<(), SetupJournalError> {
        self.write(SetupEntry::Step(Box::new(step)))
    }

    pub(super) fn undone(&mut self, piece: &Piece) -> Result<(), SetupJournalError> {
        let (kind, subject) = key(piece);
        self.write(SetupEntry::Undone { kind, subject })
    }

    /// No further entry can be written.
    #[cfg(test)]
    pub(super) fn fill_the_disk(&mut self) {
        self.file = File::options().append(true).open("/dev/full").unwrap();
    }

    fn write(&mut self, entry: SetupEntry) -> Result<(), SetupJournalError> {
        let mut written = || {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_data()
        };
        written().map_err(|error: io::Error| io_error(&self.folder, &self.name, error))?;
        self.state.take(entry);
        Ok(())
    }
}

impl JournalState {
    /// What the journal of a setup says; nothing if there is none. It is only read.
    fn existing(state_dir: &Path, identity: &SetupIdentity) -> Result<Self, SetupJournalError> {
        let Some(folder) = PrivateDir::existing(state_dir)? else { return Ok(Self::default()) };
        let Some(folder) = folder.existing_below(FOLDER)? else { return Ok(Self::default()) };
        let name = identity.file_name();
        let Some(bytes) = folder.read(&name)? else { return Ok(Self::default()) };
        entries(&bytes[..whole_lines(&bytes)]).map_err(|error| error.of(&folder, &name))
    }

    fn made_configuration(&self, name: &str) -> bool {
        let is_it = |(kind, subject): &(String, String)| {
            kind == "security configuration" && subject == name
        };
        self.known.keys().any(is_it)
    }

    /// Takes the next entry.
    fn take(&mut self, entry: SetupEntry) {
        match entry {
            SetupEntry::Begun { at, .. } => {
                self.begun.get_or_insert(at);
            }
            SetupEntry::Intended(write) => {
                if write.action == AppliedAction::Create {
                    let known = self.known.entry(key(&write.piece)).or_default();
                    if write.mark.is_some() && known.made.arn.is_none() {
                        known.mark.clone_from(&write.mark);
                    }
                }
                let call = AppliedCall { operation: write.operation.clone(), request: None };
                match &mut self.open {
                    Some(open) if key(&open.last.piece) == key(&write.piece) => {
                        open.last = *write;
                        open.calls.push(call);
                        open.is_answered = false;
                    }
                    _ => {
                        self.open = Some(OpenPiece {
                            calls: vec![call],
                            before: write.before.clone(),
                            made: MadeIds::default(),
                            is_answered: false,
                            last: *write,
                        });
                    }
                }
            }
            SetupEntry::Answered { request, made } => self.answer(request, made),
            SetupEntry::Failed { request, unclear, .. } => {
                let is_first = self.open.as_ref().is_some_and(|open| open.calls.len() == 1);
                if is_first && !unclear {
                    self.forget_attempt();
                }
                if let Some(open) = &mut self.open {
                    open.is_answered = !unclear;
                    if let Some(call) = open.calls.last_mut() {
                        call.request = request;
                    }
                }
            }
            SetupEntry::Closed { result, .. } => {
                let is_first = self.open.as_ref().is_some_and(|open| open.calls.len() == 1);
                if is_first && result == WriteResult::NotDone {
                    self.forget_attempt();
                }
                self.open = None;
            }
            SetupEntry::Step(step) => {
                let key_of_step = key(&step.piece);
                if step.verified {
                    self.verified.insert(key_of_step.clone());
                } else {
                    self.verified.remove(&key_of_step);
                }
                if step.action != AppliedAction::Found {
                    self.taken_back.retain(|undone| key(&undone.piece) != key_of_step);
                    self.undoing.remove(&key_of_step);
                }
                self.steps.push(*step);
                self.open = None;
            }
            SetupEntry::Undone { kind, subject } => self.forget(&(kind, subject)),
            SetupEntry::Undoing { kind, subject } => {
                self.undoing.insert((kind, subject));
            }
            SetupEntry::TakenBack(step) => {
                let key = key(&step.piece);
                if matches!(step.result, UndoResult::Undone { .. } | UndoResult::Gone) {
                    self.forget(&key);
                    self.steps.retain(|made| self::key(&made.piece) != key);
                }
                self.taken_back.retain(|undone| self::key(&undone.piece) != key);
                self.taken_back.push(*step);
                self.undoing.remove(&key);
            }
            SetupEntry::Reported => {
                self.steps.clear();
                self.begun = None;
            }
            SetupEntry::UndoReported => self.taken_back.clear(),
        }
    }

    /// A piece is no longer one that `setup` made.
    fn forget(&mut self, key: &(String, String)) {
        self.known.remove(key);
        self.verified.remove(key);
    }

    fn answer(&mut self, request: Option<String>, made: MadeIds) {
        let Some(open) = &mut self.open else { return };
        open.is_answered = true;
        open.made = open.made.clone().and(made.clone());
        if let Some(call) = open.calls.last_mut() {
            call.request = request;
        }
        if open.last.action == AppliedAction::Create {
            let known = self.known.entry(key(&open.last.piece)).or_default();
            known.made = known.made.clone().and(made);
            if known.made.arn.is_some() {
                known.mark = None;
            }
        }
    }

    fn left_undone(&self) -> LeftUndone {
        let made = |kind: &'static str| {
            let subjects = self.known.keys().filter(move |(of, _)| of == kind);
            subjects.map(|(_, subject)| subject.clone())
        };
        let is_verified =
            |kind: &str, subject: &str| self.verified.contains(&(kind.to_owned(), subject.into()));
        let encrypted: BTreeSet<String> = made("default encryption").collect();
        LeftUndone {
            buckets: made("bucket")
                .filter(|bucket| !encrypted.contains(bucket))
                .filter(|bucket| !is_verified("default encryption", bucket))
                .collect(),
            roles: made("role").filter(|role| !is_verified("role", role)).collect(),
        }
    }

    /// The open piece was not made, unless an earlier setup made it.
    fn forget_attempt(&mut self) {
        let Some(open) = &self.open else { return };
        let key = key(&open.last.piece);
        if self.known.get(&key).is_some_and(|known| known.made == MadeIds::default()) {
            self.known.remove(&key);
        }
    }
}

fn key(piece: &Piece) -> (String, String) {
    (piece.kind().to_owned(), piece.subject())
}

/// Why a journal's content cannot be used.
enum ReadError {
    Io(io::Error),
    Entry(String),
}

impl ReadError {
    fn of(self, folder: &PrivateDir, name: &str) -> SetupJournalError {
        match self {
            Self::Io(error) => io_error(folder, name, error).into(),
            Self::Entry(reason) => SetupJournalError::Unreadable {
                path: folder.path_of(name).display().to_string(),
                reason,
            },
        }
    }
}

fn io_error(folder: &PrivateDir, name: &str, source: io::Error) -> PrivateDirError {
    PrivateDirError::Io { path: folder.path_of(name).display().to_string(), source }
}

/// Reads the entries. A last line without an end is cut off: its writer died before it was on the
/// disk, and so before the call that it announces.
fn read(file: &mut File) -> Result<JournalState, ReadError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(ReadError::Io)?;
    let whole = whole_lines(&bytes);
    if whole < bytes.len() {
        file.set_len(whole as u64).and_then(|()| file.sync_data()).map_err(ReadError::Io)?;
    }
    entries(&bytes[..whole])
}

/// The length of the lines that have an end, in bytes.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The state after these lines.
fn entries(lines: &[u8]) -> Result<JournalState, ReadError> {
    let mut state = JournalState::default();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry: SetupEntry =
            serde_json::from_slice(line).map_err(|error| ReadError::Entry(error.to_string()))?;
        if let SetupEntry::Begun { version, .. } = &entry
            && *version > VERSION
        {
            return Err(ReadError::Entry(format!("its version is {version}")));
        }
        state.take(entry);
    }
    Ok(state)
}

//! The ledger: which changes a repair has started and finished, on disk. A killed repair continues
//! where it was: no object is done twice, and none is forgotten.
//!
//! A change is written to the ledger, with everything that must be preserved, before it is made. So
//! the next run can find out its result, whatever happened to the call. Many objects share one disk
//! write.
//!
//! A file that is damaged, truncated, or not a ledger of this version is an error that names it. It
//! is never replaced by a new one, and no part of it is skipped: the content of a skipped part
//! would be unknown.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use redb::{
    Database, MultimapTableHandle as _, ReadableDatabase as _, TableDefinition, TableHandle as _,
    backends::FileBackend,
};
use tokio::sync::oneshot;

use crate::{
    base::digest::sha256,
    reencrypt::{machine::state::RepairState, place::ObjectId},
    system::{
        file_owner::NotOwnError,
        private_dir::{LockError, PrivateDir, PrivateDirError},
        quietly::quietly,
    },
};

/// The number of ledger entries that are read at once.
pub(crate) const PAGE: usize = 1000;

/// Maps the bytes of an object's name to its state, followed by a checksum. The number is the
/// format version: another version may not understand the content.
const OBJECTS: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new("objects-2");
/// The number of hexadecimal digits of SHA-256 at the end of an entry.
const CHECKSUM: usize = 16;
/// The number of changes that share one disk write.
const TOGETHER: usize = 4096;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// It cannot be read or written.
    #[error(
        "nothing was changed: the ledger {path} cannot be used: {why}; free or fix the disk, or \
         name another place in the setting `state_dir`"
    )]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Another user owns the state directory or the ledger, or may write to them.
    #[error("nothing was changed: the state directory cannot be trusted: {0}")]
    NotOwn(#[from] NotOwnError),
    /// It exists, and its content cannot be trusted.
    #[error(
        "the ledger {path} is damaged, or is not a ledger: {why}; without it, the work that \
         earlier runs began is unknown, so nothing (more) is changed. fix: restore the file from \
         a backup, or, when no earlier run was cut off, move it away: the next run makes a new \
         one, and looks at every object again"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What was seen.
        why: String,
    },
    /// It is intact, but has another version's format.
    #[error(
        "the ledger {path} has content that this version does not understand: {what}; nothing \
         (more) is changed. fix: let the version that wrote it finish its work, or, when no \
         earlier run was cut off, move the file away: the next run makes a new one, and looks at \
         every object again"
    )]
    Foreign {
        /// The file.
        path: String,
        /// What was seen.
        what: String,
    },
    /// Another repair uses it.
    #[error(
        "nothing was changed: the ledger {path} is held by another emr-etl-guard ({holder}); wait \
         for its end, or give this one a `state_dir` of its own"
    )]
    Held {
        /// The file.
        path: String,
        /// The holder, as it describes itself.
        holder: String,
    },
    /// It became unusable during the repair.
    #[error(
        "the ledger {path} can no longer be written: {why}; what is under way is finished by the \
         next run"
    )]
    Lost {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl From<PrivateDirError> for LedgerError {
    fn from(error: PrivateDirError) -> Self {
        match error {
            PrivateDirError::NotOwn(error) => Self::NotOwn(error),
            PrivateDirError::Io { path, source } => {
                Self::Unusable { path, why: source.to_string() }
            }
        }
    }
}

/// The ledger, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// None only while it is dropped.
    changes: Option<mpsc::Sender<LedgerChange>>,
    writer: Option<JoinHandle<()>>,
    /// None only while it is dropped.
    file: Option<Arc<LedgerFile>>,
    path: String,
    /// The kernel releases it when its holder dies, for whatever reason.
    _lock: File,
}

struct LedgerChange {
    name: Vec<u8>,
    /// None: the entry is removed.
    state: Option<Vec<u8>>,
    written: oneshot::Sender<Result<(), String>>,
}

/// The file. Any access can find that it is damaged, in some places by a panic of the database.
/// After a panic nothing more of it is trusted.
#[derive(Debug)]
struct LedgerFile {
    database: Database,
    is_broken: AtomicBool,
}

/// Why an access failed.
enum AccessError {
    Database(redb::Error),
    /// The database panicked on its own file.
    Panicked,
}

impl<E: Into<redb::Error>> From<E> for AccessError {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl std::fmt::Display for AccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Panicked => f.write_str("its pages contradict each other"),
        }
    }
}

impl AccessError {
    /// Converts this to the error of a ledger read: an I/O error, or damage.
    fn read(self, path: String) -> LedgerError {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        match self {
            Self::Database(redb::Error::Io(error))
                if !matches!(error.kind(), InvalidData | UnexpectedEof) =>
            {
                LedgerError::Unusable { path, why: error.to_string() }
            }
            damage => LedgerError::Damaged { path, why: damage.to_string() },
        }
    }
}

/// Accesses a database; converts its panics to errors.
fn access<T>(work: impl FnOnce() -> Result<T, AccessError>) -> Result<T, AccessError> {
    quietly(work).unwrap_or(Err(AccessError::Panicked))
}

impl LedgerFile {
    /// Opens an existing ledger. Every page is checked, which takes a moment for each million
    /// objects, and which detects damage.
    fn open(file: File) -> Result<Self, AccessError> {
        // The database would initialise an empty file as a new one.
        if file.metadata().map_err(redb::Error::Io)?.len() == 0 {
            let empty = io::Error::new(io::ErrorKind::InvalidData, "it is empty");
            return Err(redb::Error::Io(empty).into());
        }
        let database = access(|| {
            let mut builder = Database::builder();
            let builder = builder.set_check_integrity_on_open(true);
            Ok(builder.create_with_backend(FileBackend::new(file)?)?)
        })?;
        Ok(Self { database, is_broken: AtomicBool::new(false) })
    }

    fn access<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        if self.is_broken.load(Ordering::Acquire) {
            return Err(AccessError::Panicked);
        }
        let done = access(|| work(&self.database));
        if matches!(done, Err(AccessError::Panicked)) {
            self.is_broken.store(true, Ordering::Release);
        }
        done
    }

    /// The names of its tables.
    fn tables(&self) -> Result<Vec<String>, AccessError> {
        self.access(|database| {
            let read = database.begin_read()?;
            let tables = read.list_tables()?.map(|table| table.name().to_owned());
            let several = read.list_multimap_tables()?.map(|table| table.name().to_owned());
            Ok(tables.chain(several).collect())
        })
    }
}

/// Creates a new ledger. It gets its name only when it is completely on disk, so that an
/// interrupted creation is not taken for a damaged ledger.
fn make(folder: &PrivateDir) -> Result<(), LedgerError> {
    folder.remove(DRAFT)?;
    let draft = folder.create_new(DRAFT)?;
    let unusable = |why: String| LedgerError::Unusable {
        path: folder.path_of(DRAFT).display().to_string(),
        why,
    };
    let to_sync = draft.try_clone().map_err(|error| unusable(error.to_string()))?;
    access(|| {
        let database = Database::builder().create_with_backend(FileBackend::new(draft)?)?;
        let write = database.begin_write()?;
        write.open_table(OBJECTS)?;
        write.commit()?;
        Ok(())
    })
    .map_err(|error| unusable(error.to_string()))?;
    to_sync.sync_all().map_err(|error| unusable(error.to_string()))?;
    Ok(folder.rename(DRAFT, FILE)?)
}

const FILE: &str = "ledger.redb";
const DRAFT: &str = "ledger.redb.new";

/// The checksum over an object's name and state, stored after the state. The database verifies its
/// own checksums when the ledger is opened; this one is verified whenever an entry is read.
fn checksum(name: &[u8], state: &[u8]) -> String {
    let mut sum = sha256([&(name.len() as u64).to_le_bytes(), name, state].concat());
    sum.truncate(CHECKSUM);
    sum
}

/// Parses an entry; the error says what is wrong with it.
fn entry(name: &[u8], value: &[u8]) -> Result<(ObjectId, RepairState), EntryError> {
    let split = value.len().checked_sub(CHECKSUM).ok_or(EntryError::Damaged)?;
    let (state, sum) = value.split_at(split);
    if checksum(name, state).as_bytes() != sum {
        return Err(EntryError::Damaged);
    }
    let unknown = || EntryError::Unknown(String::from_utf8_lossy(name).replace('\0', " "));
    let place = ObjectId::parse(name).ok_or_else(unknown)?;
    let state = serde_json::from_slice(state).map_err(|_| unknown())?;
    Ok((place, state))
}

enum EntryError {
    Damaged,
    /// It is intact, and was written by another version.
    Unknown(String),
}

impl Ledger {
    /// Takes the ledger below the state directory `path`, if it exists.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn take_existing(path: &Path) -> Result<Option<Self>, LedgerError> {
        let folder = match PrivateDir::existing(path)? {
            Some(state) => state.existing_below("reencrypt")?,
            None => None,
        };
        match folder {
            Some(folder) if folder.open(FILE)?.is_some() => Self::take(path).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes the ledger below the state directory `path`; creates it if it does not exist.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be used, or another repair holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, LedgerError> {
        let folder = PrivateDir::create(path)?.create_below("reencrypt")?;
        let lock = folder.lock("lock").map_err(|error| match error {
            LockError::Held(holder) => {
                LedgerError::Held { path: folder.path().display().to_string(), holder }
            }
            LockError::Dir(error) => error.into(),
        })?;
        let shown = folder.path_of(FILE).display().to_string();
        let unusable = |error: io::Error| LedgerError::Unusable {
            path: shown.clone(),
            why: error.to_string(),
        };
        let file = match folder.open(FILE)? {
            Some(file) => file,
            None => {
                make(&folder)?;
                folder.open(FILE)?.ok_or_else(|| unusable(io::ErrorKind::NotFound.into()))?
            }
        };
        let file = LedgerFile::open(file).map_err(|error| error.read(shown.clone()))?;
        let tables = file.tables().map_err(|error| error.read(shown.clone()))?;
        if tables != [OBJECTS.name()] {
            let what = format!("the tables {tables:?} instead of {:?}", OBJECTS.name());
            return Err(LedgerError::Foreign { path: shown, what });
        }
        let file = Arc::new(file);
        let (changes, inbox) = mpsc::channel();
        let for_writer = Arc::clone(&file);
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write_all(&for_writer, &inbox));
        let writer = writer.map_err(unusable)?;
        Ok(Self {
            changes: Some(changes),
            writer: Some(writer),
            file: Some(file),
            path: shown,
            _lock: lock,
        })
    }

    /// Writes the state of an object; when this returns, it is on disk.
    ///
    /// # Errors
    /// [`LedgerError::Lost`]: no more changes may be made then.
    pub(crate) async fn write(
        &self,
        place: &ObjectId,
        state: &RepairState,
    ) -> Result<(), LedgerError> {
        let mut state = serde_json::to_vec(state).map_err(|error| self.lost(error.to_string()))?;
        let sum = checksum(&place.name(), &state);
        state.extend_from_slice(sum.as_bytes());
        self.change(place, Some(state)).await
    }

    /// Removes an object's entry.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) async fn forget(&self, place: &ObjectId) -> Result<(), LedgerError> {
        self.change(place, None).await
    }

    async fn change(&self, place: &ObjectId, state: Option<Vec<u8>>) -> Result<(), LedgerError> {
        let gone = || self.lost("its writer has ended".to_owned());
        let (written, answer) = oneshot::channel();
        let changes = self.changes.as_ref().ok_or_else(gone)?;
        changes.send(LedgerChange { name: place.name(), state, written }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(|why| self.lost(why))
    }

    fn lost(&self, why: String) -> LedgerError {
        LedgerError::Lost { path: self.path.clone(), why }
    }

    /// Up to `limit` objects after `after` for which `wanted` holds, in the order of their names.
    ///
    /// # Errors
    /// [`LedgerError::Unusable`]; and [`LedgerError::Damaged`] or [`LedgerError::Foreign`] where
    /// any entry on the way, wanted or not, was not written by this version.
    pub(crate) fn page(
        &self,
        after: Option<&ObjectId>,
        limit: usize,
        wanted: impl Fn(&RepairState) -> bool,
    ) -> Result<Vec<(ObjectId, RepairState)>, LedgerError> {
        self.range(after, None, limit, wanted)
    }

    /// The state of one object.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub(crate) fn get(&self, place: &ObjectId) -> Result<Option<RepairState>, LedgerError> {
        let found = self.range(None, Some(place), 1, |_| true)?;
        Ok(found.into_iter().next().map(|(_, state)| state))
    }

    /// Objects after `after`, or exactly `only`.
    fn range(
        &self,
        after: Option<&ObjectId>,
        only: Option<&ObjectId>,
        limit: usize,
        wanted: impl Fn(&RepairState) -> bool,
    ) -> Result<Vec<(ObjectId, RepairState)>, LedgerError> {
        let start = only.or(after).map(ObjectId::name).unwrap_or_default();
        let read = |database: &Database| {
            let table = database.begin_read()?.open_table(OBJECTS)?;
            let mut page = Vec::new();
            for found in table.range(start.as_slice()..)? {
                let (name, state) = found?;
                let is_start = name.value() == start.as_slice();
                if only.is_some() && !is_start {
                    break;
                }
                if only.is_none() && after.is_some() && is_start {
                    continue;
                }
                let (place, state) = match entry(name.value(), state.value()) {
                    Ok(entry) => entry,
                    Err(error) => return Ok(Err(error)),
                };
                if wanted(&state) {
                    page.push((place, state));
                    if page.len() == limit {
                        break;
                    }
                }
            }
            Ok(Ok(page))
        };
        let path = || self.path.clone();
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        match file.access(read) {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(EntryError::Damaged)) => {
                let why = "an entry is not what was written".to_owned();
                Err(LedgerError::Damaged { path: path(), why })
            }
            Ok(Err(EntryError::Unknown(name))) => {
                Err(LedgerError::Foreign { path: path(), what: format!("the entry of {name:?}") })
            }
            Err(error) => Err(error.read(path())),
        }
    }

    /// The number of objects in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        use redb::ReadableTableMetadata as _;
        let database = &self.file.as_ref().unwrap().database;
        database.begin_read().unwrap().open_table(OBJECTS).unwrap().len().unwrap()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(writer) = self.writer.take() {
            // The writer ends because the channel is closed.
            drop(writer.join());
        }
        // Closing a damaged database may panic, too.
        let file = self.file.take();
        let _ = quietly(move || drop(file));
    }
}

/// Writes the changes from the channel, as many as are available at once, until it is closed.
fn write_all(file: &LedgerFile, inbox: &mpsc::Receiver<LedgerChange>) {
    while let Ok(first) = inbox.recv() {
        let mut together = vec![first];
        together.extend(inbox.try_iter().take(TOGETHER - 1));
        let written = file
            .access(|database| write_together(database, &together))
            .map_err(|error| error.to_string());
        for change in together {
            // The requester may have been cancelled.
            let _ = change.written.send(written.clone());
        }
    }
}

fn write_together(database: &Database, changes: &[LedgerChange]) -> Result<(), AccessError> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(OBJECTS)?;
        for change in changes {
            match &change.state {
                Some(state) => drop(table.insert(change.name.as_slice(), state.as_slice())?),
                None => drop(table.remove(change.name.as_slice())?),
            }
        }
    }
    write.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reencrypt::machine::choice::{Choice, RepairMethod};
    use std::fs::{self, OpenOptions};

    fn place(key: &str, version: Option<&str>) -> ObjectId {
        ObjectId {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            version: version.map(str::to_owned),
        }
    }

    fn done() -> RepairState {
        RepairState::Done { method: RepairMethod::Copy, at: 1, made: None }
    }

    #[tokio::test]
    async fn what_was_written_is_there_again_and_pages_leave_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::take(folder.path()).unwrap();
        let places: Vec<ObjectId> =
            (0..10).map(|n| place(&format!("k/{n}"), (n % 2 == 0).then_some("v"))).collect();
        for place in &places {
            ledger.write(place, &done()).await.unwrap();
        }
        ledger.write(&places[3], &RepairState::Purged { at: 2 }).await.unwrap();
        ledger.forget(&places[4]).await.unwrap();
        drop(ledger);
        let ledger = Ledger::take(folder.path()).unwrap();
        assert_eq!(ledger.len(), 9);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = ledger
                .page(after.as_ref(), 2, |state| matches!(state, RepairState::Done { .. }))
                .unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page.into_iter().map(|(place, _)| place));
        }
        let wanted: Vec<ObjectId> = places
            .iter()
            .enumerate()
            .filter(|(n, _)| !matches!(n, 3 | 4))
            .map(|(_, place)| place.clone())
            .collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_key_makes_no_line_of_its_own() {
        assert_eq!(
            place("a\nb\u{1b}[2J\u{fc}", Some("v")).to_string(),
            "s3://b/a\\u{a}b\\u{1b}[2J\u{fc} (version v)"
        );
    }

    #[tokio::test]
    async fn many_writes_at_once_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::take(folder.path()).unwrap();
        let places: Vec<ObjectId> = (0..500).map(|n| place(&n.to_string(), None)).collect();
        let written = futures_util::future::join_all(
            places.iter().map(|place| async { ledger.write(place, &done()).await.is_ok() }),
        )
        .await;
        assert!(written.into_iter().all(|it| it));
        assert_eq!(ledger.len(), 500);
    }

    #[test]
    fn two_cannot_share_one_and_who_holds_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let held = Ledger::take(folder.path()).unwrap();
        let error = Ledger::take(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                "is held by another emr-etl-guard (process {} on ",
                std::process::id()
            )),
            "{error}"
        );
        drop(held);
        assert!(Ledger::take(folder.path()).is_ok());
    }

    fn file(folder: &Path) -> std::path::PathBuf {
        folder.join("reencrypt/ledger.redb")
    }

    type Entries = Vec<(ObjectId, RepairState)>;

    /// Opens a ledger with this content, and reads it to its end.
    fn all(content: &[u8]) -> Result<Entries, LedgerError> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("reencrypt")).unwrap();
        fs::write(file(folder.path()), content).unwrap();
        Ledger::take(folder.path())?.page(None, usize::MAX, |_| true)
    }

    #[test]
    fn what_is_no_ledger_is_not_taken_as_a_new_one() {
        for content in [&b""[..], b"no database", &[0; 4096], b"redb\x1a\x0a\xa9\x0d\x0a"] {
            let error = all(content).unwrap_err();
            assert!(matches!(error, LedgerError::Damaged { .. }), "{error:?}");
            assert!(error.to_string().contains("reencrypt/ledger.redb is damaged"), "{error}");
        }
    }

    #[test]
    fn one_that_was_cut_off_while_it_was_made_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("reencrypt")).unwrap();
        fs::write(folder.path().join("reencrypt/ledger.redb.new"), "half").unwrap();
        assert_eq!(Ledger::take(folder.path()).unwrap().len(), 0);
        assert_eq!(fs::read_dir(folder.path().join("reencrypt")).unwrap().count(), 2);
    }

    #[test]
    fn one_that_others_could_have_written_is_not_believed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        drop(Ledger::take(folder.path()).unwrap());
        let refused = |why: &str| {
            let error = Ledger::take(folder.path()).unwrap_err();
            assert!(matches!(error, LedgerError::NotOwn(_)), "{error:?}");
            assert!(error.to_string().contains(why), "{error}");
        };
        let mode =
            |bits| fs::set_permissions(file(folder.path()), fs::Permissions::from_mode(bits));
        mode(0o666).unwrap();
        refused("ledger.redb may be written by every user");
        mode(0o600).unwrap();
        let elsewhere = folder.path().join("elsewhere.redb");
        fs::rename(file(folder.path()), &elsewhere).unwrap();
        symlink(&elsewhere, file(folder.path())).unwrap();
        refused("ledger.redb is a symbolic link");
        fs::remove_file(file(folder.path())).unwrap();
        fs::rename(&elsewhere, file(folder.path())).unwrap();
        assert!(Ledger::take(folder.path()).is_ok());
    }

    #[tokio::test]
    async fn what_another_version_wrote_is_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::take(folder.path()).unwrap();
        ledger.write(&place("a", None), &done()).await.unwrap();
        let state = br#"{"state":"stirred"}"#.to_vec();
        let sum = checksum(&place("b", None).name(), &state);
        let state = [state, sum.into_bytes()].concat();
        ledger.change(&place("b", None), Some(state.clone())).await.unwrap();
        let error = ledger.page(None, PAGE, |_| false).unwrap_err();
        assert!(matches!(error, LedgerError::Foreign { .. }), "{error:?}");
        // A valid entry under another name must not be accepted.
        ledger.change(&place("b", None), None).await.unwrap();
        ledger.change(&place("c", None), Some(state)).await.unwrap();
        let error = ledger.page(None, PAGE, |_| false).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error:?}");
        drop(ledger);

        let database = Database::create(file(folder.path())).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(TableDefinition::<'_, &[u8], &[u8]>::new("objects-3")).unwrap();
        write.commit().unwrap();
        drop(database);
        let error = Ledger::take(folder.path()).unwrap_err();
        assert!(matches!(error, LedgerError::Foreign { .. }), "{error:?}");
    }

    /// A real ledger: its file, and its content after each write.
    fn real() -> &'static (Vec<u8>, Vec<Entries>) {
        static REAL: std::sync::OnceLock<(Vec<u8>, Vec<Entries>)> = std::sync::OnceLock::new();
        REAL.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let ledger = Ledger::take(folder.path()).unwrap();
            let mut held = vec![Vec::new()];
            for n in 0..120_i64 {
                let state = match n % 3 {
                    0 => RepairState::Done { method: RepairMethod::Copy, at: n, made: None },
                    1 => RepairState::Purged { at: n },
                    _ => RepairState::Planned {
                        choice: Choice::Restore,
                        size: 9,
                        is_latest: true,
                        made: None,
                    },
                };
                let key = format!("{}/{}", "k".repeat(60), n % 90);
                runtime.block_on(ledger.write(&place(&key, Some("v")), &state)).unwrap();
                held.push(ledger.page(None, usize::MAX, |_| true).unwrap());
            }
            drop(ledger);
            (fs::read(file(folder.path())).unwrap(), held)
        })
    }

    /// An offset in the file of [`real`] with data, or any offset.
    fn offset(choice: proptest::sample::Index, used: bool) -> usize {
        static USED: std::sync::LazyLock<Vec<usize>> = std::sync::LazyLock::new(|| {
            let bytes = real().0.iter().enumerate();
            bytes.filter(|(_, byte)| **byte != 0).map(|(place, _)| place).collect()
        });
        if used { *choice.get(&USED) } else { choice.index(real().0.len()) }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]

        #[test]
        fn a_damaged_ledger_is_an_error_that_names_it_or_what_it_was_and_never_a_panic(
            flips in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 1_u8.., proptest::prelude::any::<bool>(), 0_usize..3), 1..6),
            cut in proptest::option::weighted(0.1, proptest::prelude::any::<proptest::sample::Index>()),
        ) {
            let (whole, held) = real();
            let mut content = whole.clone();
            for (place, flip, used, size) in flips {
                let place = offset(place, used);
                let end = content.len().min(place + [1, 8, 4096][size]);
                content[place..end].iter_mut().for_each(|byte| *byte ^= flip);
            }
            if let Some(cut) = cut {
                content.truncate(cut.index(content.len()));
            }
            match all(&content) {
                // The damaged bytes were not in use, or belonged only to the last write, and the
                // content is that before it.
                Ok(entries) => proptest::prop_assert!(
                    held[held.len() - 2..].contains(&entries), "it holds what it never held: \
                        {entries:?}"
                ),
                Err(error) => proptest::prop_assert!(
                    matches!(error, LedgerError::Damaged { .. } | LedgerError::Foreign { .. })
                        && error.to_string().contains("ledger.redb"),
                    "{error:?}"
                ),
            }
        }
    }

    #[test]
    fn damage_that_comes_while_it_is_held_is_an_error_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("reencrypt")).unwrap();
        fs::write(file(folder.path()), &real().0).unwrap();
        let ledger = Ledger::take(folder.path()).unwrap();
        let length = fs::metadata(file(folder.path())).unwrap().len();
        let garbage: Vec<u8> =
            (0..length).map(|it| u8::try_from(it * 7 % 251).unwrap() | 1).collect();
        let held = OpenOptions::new().write(true).open(file(folder.path())).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&held, &garbage, 0).unwrap();
        // The database's cache may still be right; what it reads from disk is not trusted.
        let read = ledger.page(None, usize::MAX, |_| true);
        let (_, states) = real();
        assert!(read.is_err() || read.unwrap() == states[states.len() - 1]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(ledger.write(&place("a", None), &done()));
        drop(ledger);
        let error = Ledger::take(folder.path()).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error:?}");
    }
}

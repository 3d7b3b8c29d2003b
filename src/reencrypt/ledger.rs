//! The ledger: what a repair has begun and finished, on disk, so that one that is killed goes on
//! where it was: no object is done twice, none is forgotten.
//!
//! What is about to be done to an object is on the disk before it is done, with all that must be
//! kept; so the next run can tell, whatever became of the call. Many objects share one write to the
//! disk.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::mpsc,
    thread::JoinHandle,
};

use redb::{Database, ReadableDatabase as _, TableDefinition};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::reencrypt::{machine::state::RepairState, place::ObjectId};

/// So many entries of the ledger are read at once.
pub(crate) const PAGE: usize = 1000;

/// Where an object's bytes of name lead to what is known of it.
const OBJECTS: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new("objects-1");
/// So many changes share one write to the disk.
const TOGETHER: usize = 4096;

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// It cannot be read or written.
    #[error(
        "nothing was changed: the ledger {path} cannot be used: {why}; free or mend the disk, or name another place in the setting `state_dir`"
    )]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Another repair works with it.
    #[error(
        "nothing was changed: the ledger {path} is held by another emr-etl-guard ({holder}); wait for its end, or give this one a `state_dir` of its own"
    )]
    Held {
        /// The file.
        path: String,
        /// Who, by its own words.
        holder: String,
    },
    /// It was lost while the repair was on.
    #[error(
        "the ledger can no longer be written: {0}; what is under way is finished by the next run"
    )]
    Lost(String),
}

/// The ledger, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// None only while it is dropped.
    changes: Option<mpsc::Sender<LedgerChange>>,
    writer: Option<JoinHandle<()>>,
    database: std::sync::Arc<Database>,
    path: String,
    /// The kernel lets go of it when its holder dies, however that is.
    _lock: File,
}

struct LedgerChange {
    name: Vec<u8>,
    /// None: it is forgotten.
    state: Option<Vec<u8>>,
    written: oneshot::Sender<Result<(), String>>,
}

impl Ledger {
    /// Takes the ledger below the state directory `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be used, or another repair holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, LedgerError> {
        let folder = path.join("reencrypt");
        let unusable = |path: &Path| {
            let path = path.display().to_string();
            move |why: String| LedgerError::Unusable { path, why }
        };
        let io = |path: &Path, error: &io::Error| unusable(path)(error.to_string());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| io(&folder, &error))?;
        let lock = hold(&folder)?;
        let file = folder.join("ledger.redb");
        let database =
            Database::create(&file).map_err(|error| unusable(&file)(error.to_string()))?;
        // Reading wants the table to be there.
        let made = || -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            write.open_table(OBJECTS)?;
            write.commit()?;
            Ok(())
        };
        made().map_err(|error| unusable(&file)(error.to_string()))?;
        let database = std::sync::Arc::new(database);
        let (changes, inbox) = mpsc::channel();
        let for_writer = std::sync::Arc::clone(&database);
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write_all(&for_writer, &inbox));
        let writer = writer.map_err(|error| io(&file, &error))?;
        Ok(Self {
            changes: Some(changes),
            writer: Some(writer),
            database,
            path: file.display().to_string(),
            _lock: lock,
        })
    }

    /// Writes how far an object has come; when this is over, it is on the disk.
    ///
    /// # Errors
    /// [`LedgerError::Lost`]: then nothing more may be done.
    pub(crate) async fn write(
        &self,
        place: &ObjectId,
        state: &RepairState,
    ) -> Result<(), LedgerError> {
        let state =
            serde_json::to_vec(state).map_err(|error| LedgerError::Lost(error.to_string()))?;
        self.change(place, Some(state)).await
    }

    /// Forgets an object.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) async fn forget(&self, place: &ObjectId) -> Result<(), LedgerError> {
        self.change(place, None).await
    }

    async fn change(&self, place: &ObjectId, state: Option<Vec<u8>>) -> Result<(), LedgerError> {
        let gone = || LedgerError::Lost("its writer has ended".to_owned());
        let (written, answer) = oneshot::channel();
        let changes = self.changes.as_ref().ok_or_else(gone)?;
        changes.send(LedgerChange { name: place.name(), state, written }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(LedgerError::Lost)
    }

    /// Up to `limit` objects behind `after` of which `wanted` holds, in the order of their names.
    ///
    /// # Errors
    /// [`LedgerError::Unusable`].
    pub(crate) fn page(
        &self,
        after: Option<&ObjectId>,
        limit: usize,
        wanted: impl Fn(&RepairState) -> bool,
    ) -> Result<Vec<(ObjectId, RepairState)>, LedgerError> {
        let read = || -> Result<Vec<(ObjectId, RepairState)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(OBJECTS)?;
            let start = after.map(ObjectId::name).unwrap_or_default();
            let mut page = Vec::new();
            for entry in table.range(start.as_slice()..)? {
                let (name, state) = entry?;
                if after.is_some() && name.value() == start.as_slice() {
                    continue;
                }
                // What this version does not understand is of another, and no plan of this run's.
                let Some(place) = ObjectId::parse(name.value()) else { continue };
                let Ok(state) = serde_json::from_slice::<RepairState>(state.value()) else {
                    continue;
                };
                if wanted(&state) {
                    page.push((place, state));
                    if page.len() == limit {
                        break;
                    }
                }
            }
            Ok(page)
        };
        read().map_err(|error| LedgerError::Unusable {
            path: self.path.clone(),
            why: error.to_string(),
        })
    }

    /// How many objects it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        use redb::ReadableTableMetadata as _;
        self.database.begin_read().unwrap().open_table(OBJECTS).unwrap().len().unwrap()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(writer) = self.writer.take() {
            // It ends by itself, now that nobody sends any more.
            drop(writer.join());
        }
    }
}

/// Writes what comes, as much as there is at once, until nobody sends any more.
fn write_all(database: &Database, inbox: &mpsc::Receiver<LedgerChange>) {
    while let Ok(first) = inbox.recv() {
        let mut together = vec![first];
        together.extend(inbox.try_iter().take(TOGETHER - 1));
        let written = write_together(database, &together).map_err(|error| error.to_string());
        for change in together {
            // Who asked may have been stopped.
            let _ = change.written.send(written.clone());
        }
    }
}

fn write_together(database: &Database, changes: &[LedgerChange]) -> Result<(), redb::Error> {
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

/// Holds the folder, so that two repairs cannot share one ledger; the database's own lock does not
/// say who.
fn hold(folder: &Path) -> Result<File, LedgerError> {
    let path = folder.join("lock");
    let shown = || path.display().to_string();
    let unusable =
        |error: io::Error| LedgerError::Unusable { path: shown(), why: error.to_string() };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            return Err(LedgerError::Held {
                path: folder.display().to_string(),
                holder: holder.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    // For eyes only: what counts is the kernel's lock.
    let now = crate::base::text::shown(OffsetDateTime::now_utc());
    let host = nix::unistd::gethostname().unwrap_or_default();
    let holder = format!("process {} on {}, since {now}\n", std::process::id(), host.display());
    lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes())).map_err(unusable)?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reencrypt::machine::choice::RepairMethod;

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
            "s3://b/a\\nb\\u{1b}[2J\u{fc} (version v)"
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

    #[test]
    fn a_ledger_that_cannot_be_read_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        drop(Ledger::take(folder.path()).unwrap());
        std::fs::write(folder.path().join("reencrypt/ledger.redb"), "no database").unwrap();
        let error = Ledger::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("ledger.redb cannot be used"), "{error}");
    }
}

//! The journal: the facts that a later guard needs about a run if the guard dies before the run
//! ends. Each unfinished run has one file in the state directory, which one guard locks at a time.
//!
//! A journal can be trusted because no other user can have written it: the state directory and
//! everything in it belong to this user alone, or nothing is launched. No entry gives the right to
//! terminate a cluster.
//!
//! Each entry is on the disk before the event that it describes. The disk space for all entries is
//! allocated when the run begins: a full disk then refuses the next launch and does not harm a run
//! that is under way. A journal holds no secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    base::names::ClusterId,
    checks::{stored::Standard, verified::VerifiedConfiguration},
    evidence::{
        chain::{self, BegunRun, ChainLink},
        outbox::Outbox,
    },
    facts::written::WriteLocations,
    settings::policy::Policy,
    system::{
        file_owner::NotOwnError,
        private_dir::{LockError, PrivateDir, PrivateDirError},
    },
};

/// Disk space for a run's entries, in bytes. The first entry takes a few KiB, each of the others
/// less than 200 bytes.
const ROOM: i64 = 256 << 10;
/// The extension of a journal's file.
const ENDING: &str = "journal";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// It cannot be read or written.
    #[error(
        "nothing was launched: the state directory cannot be used: {path}: {source}; free or fix \
         the disk, or name another in the setting `state_dir`"
    )]
    Unusable {
        /// The directory, or a file in it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another user owns it or something in it, or can write to it.
    #[error("nothing was launched: the state directory cannot be trusted: {0}")]
    NotOwn(#[from] NotOwnError),
    /// Another guard uses it.
    #[error(
        "nothing was launched: the state directory {path} is held by another emr-etl-guard \
         ({holder}); wait for its end, or give each pipeline a `state_dir` of its own"
    )]
    Held {
        /// The directory.
        path: String,
        /// The other guard, as its lock file describes it.
        holder: String,
    },
    /// Its location is unknown.
    #[error(
        "nothing was launched: there is no place for the state directory: neither root nor HOME; \
         name one in the setting `state_dir`"
    )]
    Nowhere,
    /// A journal that this version cannot read.
    #[error(
        "nothing was launched: {path} is no journal that this version can read ({reason}); look \
         at the clusters of that run, then remove the file"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// Why it cannot be read.
        reason: String,
    },
}

impl From<PrivateDirError> for StateError {
    fn from(error: PrivateDirError) -> Self {
        match error {
            PrivateDirError::NotOwn(error) => Self::NotOwn(error),
            PrivateDirError::Io { path, source } => Self::Unusable { path, source },
        }
    }
}

/// The state directory, locked by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct StateDir {
    root: PrivateDir,
    runs: Arc<PrivateDir>,
    /// The kernel releases the lock when its process ends, however it ends.
    _lock: File,
}

/// The facts about a run before its launch: everything needed to judge its clusters later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// The run's id.
    pub(crate) run: String,
    /// When the guard started.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// The account of the launch, if it was known.
    pub(crate) account: Option<String>,
    /// The cluster's region.
    pub(crate) region: String,
    /// The runner config's name.
    pub(crate) config: String,
    /// How its clusters are recognised, and what they must be.
    #[serde(flatten)]
    pub(crate) selector: ClusterSelector,
    /// Where it writes, and how that must be encrypted; an older guard's journal does not have it.
    #[serde(default)]
    pub(crate) output: Option<Output>,
}

/// What a run writes, to be verified by a later guard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Output {
    /// The buckets' region.
    pub(crate) region: String,
    pub(crate) writes: WriteLocations,
    pub(crate) standard: Standard,
    /// When it was launched, by S3's clock.
    #[serde(with = "time::serde::rfc3339::option")]
    pub(crate) since: Option<OffsetDateTime>,
}

/// One line of a journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub(crate) enum JournalEntry {
    /// The run is about to be launched.
    Prepared(Box<Prepared>),
    /// A cluster was recognised as the run's.
    Cluster {
        /// Its id.
        id: ClusterId,
    },
    /// The guard was still alive.
    Alive {
        /// When, by AWS's clock.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// The run received a stop signal.
    Stopped {
        /// Whether its clusters must be terminated, too.
        terminate: bool,
    },
}

/// The journal of a run under way. Clones write to the same file.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<OpenJournal>);

#[derive(Debug)]
struct OpenJournal {
    runs: Arc<PrivateDir>,
    name: String,
    file: Mutex<File>,
}

/// A run that was not closed.
#[derive(Clone, Debug)]
pub(crate) struct UnfinishedRun {
    runs: Arc<PrivateDir>,
    /// The name of its journal's file in `runs`.
    name: String,
    pub(crate) prepared: Prepared,
    /// The clusters that were recognised as its own.
    pub(crate) clusters: BTreeSet<ClusterId>,
    /// Whether they must be terminated even if they match what was verified.
    pub(crate) terminate: bool,
    /// The last known time at which its guard was alive, by AWS's clock.
    pub(crate) alive: Option<OffsetDateTime>,
}

/// The default location of the state directory: in /var/lib for root, else in the user's XDG state
/// directory.
///
/// # Errors
/// [`StateError::Nowhere`] when neither is known.
pub(crate) fn default_place(
    is_root: bool,
    env: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<PathBuf, StateError> {
    const NAME: &str = "emr-etl-guard";
    if is_root {
        return Ok(Path::new("/var/lib").join(NAME));
    }
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|place| place.join(NAME))
        .ok_or(StateError::Nowhere)
}

/// The runs in the state directory at `path` that were not closed. Nothing is locked or changed, so
/// that they can be looked at while a guard is at work.
///
/// # Errors
/// [`StateError`] for the first journal that cannot be read.
pub(crate) fn open_runs(path: &Path) -> Result<Vec<UnfinishedRun>, StateError> {
    let Some(root) = PrivateDir::existing(path)? else { return Ok(Vec::new()) };
    let Some(runs) = root.existing_below("runs")? else { return Ok(Vec::new()) };
    let runs = Arc::new(runs);
    let mut open = Vec::new();
    for name in runs.names()? {
        if Path::new(&name).extension().is_some_and(|ending| ending == ENDING) {
            open.extend(read(&runs, &name)?);
        }
    }
    Ok(open)
}

impl StateDir {
    /// Locks the state directory at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be used, does not belong to this user alone, or is locked by
    /// another guard.
    pub(crate) fn take(path: &Path) -> Result<Self, StateError> {
        let root = PrivateDir::create(path)?;
        let runs = Arc::new(root.create_below("runs")?);
        let lock = root.lock("lock").map_err(|error| match error {
            LockError::Held(holder) => {
                StateError::Held { path: path.display().to_string(), holder }
            }
            LockError::Dir(error) => error.into(),
        })?;
        Outbox::of(path).check()?;
        Ok(Self { root, runs, _lock: lock })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Records that a run's report has its place in the chain.
    ///
    /// # Errors
    /// [`StateError`] when that cannot be saved.
    pub(crate) fn recorded(
        &self,
        chain: &ChainLink,
        run: &str,
        sha256: &str,
    ) -> Result<(), StateError> {
        Ok(chain::record(&self.root, chain, run, sha256)?)
    }

    /// Takes the next number in the chain of reports for `run`.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be saved.
    pub(crate) fn next_in_chain(
        &self,
        run: &str,
        digest_of: impl Fn(&BegunRun) -> Option<String>,
    ) -> Result<ChainLink, StateError> {
        Ok(chain::begin(&self.root, run, digest_of)?)
    }

    /// The runs that were not closed, oldest first. A journal without entries is removed: its run
    /// was never launched.
    ///
    /// # Errors
    /// [`StateError`] for the first journal that cannot be read.
    pub(crate) fn unfinished(&self) -> Result<Vec<UnfinishedRun>, StateError> {
        let mut runs = Vec::new();
        // Run ids sort by time.
        for name in self.runs.names()? {
            if Path::new(&name).extension().is_some_and(|ending| ending == ENDING) {
                match read(&self.runs, &name)? {
                    Some(run) => runs.push(run),
                    None => remove(&self.runs, &name),
                }
            }
        }
        Ok(runs)
    }

    /// Creates the journal of a run before its launch, and writes its first entry.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be written, or the disk space for later entries cannot be
    /// allocated.
    pub(crate) fn begin(&self, prepared: Prepared) -> Result<Journal, StateError> {
        let name = format!("{}.{ENDING}", prepared.run);
        let path = self.runs.path_of(&name).display().to_string();
        let file = self.runs.create_new(&name)?;
        let written = || {
            nix::fcntl::posix_fallocate(&file, 0, ROOM)?;
            let journal = Journal(Arc::new(OpenJournal {
                runs: Arc::clone(&self.runs),
                name: name.clone(),
                file: Mutex::new(file),
            }));
            journal.write(&JournalEntry::Prepared(Box::new(prepared)))?;
            io::Result::Ok(journal)
        };
        let journal = written().map_err(|source| StateError::Unusable { path, source });
        // The file's name must be synced to the disk, too.
        journal.and_then(|journal| Ok(self.runs.sync().map(|()| journal)?)).inspect_err(|_| {
            remove(&self.runs, &name);
        })
    }
}

impl Journal {
    fn write(&self, entry: &JournalEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)?;
        file.sync_data()
    }

    /// Adds an entry. A disk error does not harm a run under way: only information for resuming it
    /// is lost.
    pub(crate) fn note(&self, entry: &JournalEntry) {
        if let Err(error) = self.write(entry) {
            let path = self.0.runs.path_of(&self.0.name);
            tracing::error!(path = %path.display(), %error, "the journal cannot be written");
        }
    }

    /// Closes the run: no later guard needs to look at it.
    pub(crate) fn close(self) {
        remove(&self.0.runs, &self.0.name);
    }
}

impl UnfinishedRun {
    /// A message for a run that stays open without supervision, with the clusters that it knows.
    pub(crate) fn what_stays_open(&self) -> String {
        let clusters: Vec<&str> = self.clusters.iter().map(ClusterId::as_str).collect();
        let known = if clusters.is_empty() {
            "it knows of no cluster yet".to_owned()
        } else {
            format!("it knows of {}, which may continue", clusters.join(", "))
        };
        format!("run {}, which was left open, stays open: {known}", self.prepared.run)
    }

    /// The path of its journal, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.runs.path_of(&self.name)
    }

    /// Closes the run.
    pub(crate) fn close(&self) {
        remove(&self.runs, &self.name);
    }

    /// Opens its journal to continue it.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be opened.
    pub(crate) fn reopen(&self) -> Result<Journal, StateError> {
        let path = || self.path().display().to_string();
        let gone = || StateError::Unusable { path: path(), source: io::ErrorKind::NotFound.into() };
        let mut file = self.runs.open(&self.name)?.ok_or_else(gone)?;
        let mut at_end = || {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let end = entries(&bytes).map(<[u8]>::len).sum::<usize>();
            file.seek(SeekFrom::Start(end as u64))
        };
        at_end().map_err(|source| StateError::Unusable { path: path(), source })?;
        Ok(Journal(Arc::new(OpenJournal {
            runs: Arc::clone(&self.runs),
            name: self.name.clone(),
            file: Mutex::new(file),
        })))
    }
}

fn remove(runs: &PrivateDir, name: &str) {
    if let Err(error) = runs.remove(name) {
        tracing::error!(%error, "the journal cannot be removed");
    }
}

/// The complete lines of a journal, each with its line end. After them come allocated but unused
/// bytes, or a line whose writer died.
fn entries(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').take_while(|line| line.ends_with(b"\n"))
}

/// Reads a journal; `None` if it has no entries, because its run was never launched.
fn read(runs: &Arc<PrivateDir>, name: &str) -> Result<Option<UnfinishedRun>, StateError> {
    let path = || runs.path_of(name).display().to_string();
    let unreadable = |reason: String| StateError::Unreadable { path: path(), reason };
    let id = name.strip_suffix(&format!(".{ENDING}")).unwrap_or(name);
    if !is_run_id(id) {
        return Err(unreadable("its name is not one that emr-etl-guard gives".to_owned()));
    }
    // It may have been closed since it was listed.
    let Some(bytes) = runs.read(name)? else { return Ok(None) };
    let mut run: Option<UnfinishedRun> = None;
    for line in entries(&bytes) {
        let entry: JournalEntry =
            serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
        match (entry, &mut run) {
            (JournalEntry::Prepared(prepared), None) => {
                if prepared.run != id {
                    return Err(unreadable(format!("it is of run {}", prepared.run)));
                }
                run = Some(UnfinishedRun {
                    runs: Arc::clone(runs),
                    name: name.to_owned(),
                    prepared: *prepared,
                    clusters: BTreeSet::new(),
                    terminate: false,
                    alive: None,
                });
            }
            (JournalEntry::Cluster { id }, Some(run)) => {
                run.clusters.insert(id);
            }
            (JournalEntry::Stopped { terminate }, Some(run)) => run.terminate = terminate,
            (JournalEntry::Alive { at }, Some(run)) => run.alive = run.alive.max(Some(at)),
            _ => return Err(unreadable("its entries are out of order".to_owned())),
        }
    }
    Ok(run)
}

/// Whether a text has the form of a run's id.
fn is_run_id(text: &str) -> bool {
    text.parse::<uuid::Uuid>().is_ok_and(|id| id.hyphenated().to_string() == text)
}

/// The path of the state directory: `named`, from the setting `state_dir`, else the user's default.
pub(crate) fn state_dir(named: Option<&Path>) -> Result<PathBuf, StateError> {
    match named {
        Some(named) => Ok(named.to_owned()),
        None => default_place(nix::unistd::geteuid().is_root(), |name| std::env::var_os(name)),
    }
}

/// How a run's clusters are recognised, and what they must be. A later guard can judge them by this
/// alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClusterSelector {
    pub(crate) verified: VerifiedConfiguration,
    pub(crate) policy: Policy,
    /// The clusters' name.
    pub(crate) job_name: String,
    /// Whether the runner may use any live cluster with that name.
    pub(crate) persistent: bool,
    /// The tag that the seal added, as key and value.
    pub(crate) tag: Option<(String, String)>,
    /// Clusters that existed before the launch. They are never this run's.
    pub(crate) earlier_clusters: BTreeSet<ClusterId>,
    /// Clusters that the runner reuses, each with the steps that it already had.
    pub(crate) adopted: BTreeMap<ClusterId, BTreeSet<String>>,
    /// Where the runner makes clusters write their logs; an older guard's journal does not have it.
    #[serde(default)]
    pub(crate) log_location: Option<String>,
    /// When the runner was launched, by AWS's clock, or some seconds before that.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(crate) launched: Option<OffsetDateTime>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::verified::VerifiedConfiguration,
        settings::resolve::{Options, Settings},
    };
    use std::{collections::BTreeMap, fs};

    /// The id of run `n`.
    fn id(n: u32) -> String {
        format!("00000000-0000-7000-8000-{n:012}")
    }

    fn prepared(run: u32) -> Prepared {
        let file = tempfile::NamedTempFile::new().unwrap();
        Prepared {
            run: id(run),
            started: OffsetDateTime::UNIX_EPOCH,
            account: Some("123456789012".to_owned()),
            region: "eu-west-1".to_owned(),
            config: "config.yml".to_owned(),
            selector: ClusterSelector {
                verified: VerifiedConfiguration {
                    name: "sc".to_owned(),
                    created: OffsetDateTime::UNIX_EPOCH,
                    digest: "00".to_owned(),
                    release: Some(crate::base::names::ReleaseLabel::new(5, 29, 0)),
                    subnet: None,
                    asked: None,
                    ebs: None,
                },
                policy: Settings::resolve(Options::default(), Some(file.path())).unwrap().policy,
                job_name: "Snowplow ETL".to_owned(),
                persistent: false,
                tag: Some(("k".to_owned(), "v".to_owned())),
                earlier_clusters: BTreeSet::new(),
                log_location: None,
                launched: None,
                adopted: BTreeMap::from([(
                    "j-2".parse().unwrap(),
                    BTreeSet::from(["s-1".to_owned()]),
                )]),
            },
            output: Some(Output {
                region: "eu-west-1".to_owned(),
                writes: WriteLocations::Planned {
                    locations: vec![(
                        "log".to_owned(),
                        crate::base::names::S3Location::parse("s3://acme-log/emr").unwrap(),
                    )],
                    written: BTreeSet::from(["log".to_owned()]),
                    loads: false,
                },
                standard: Standard::default(),
                since: Some(OffsetDateTime::UNIX_EPOCH),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_again_in_the_order_of_the_runs() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        assert!(state.unfinished().unwrap().is_empty());
        let second = state.begin(prepared(2)).unwrap();
        let first = state.begin(prepared(1)).unwrap();
        first.note(&JournalEntry::Cluster { id: "j-1".parse().unwrap() });
        first.note(&JournalEntry::Stopped { terminate: true });
        let runs = state.unfinished().unwrap();
        assert_eq!(
            runs.iter().map(|run| run.prepared.run.clone()).collect::<Vec<_>>(),
            [id(1), id(2)]
        );
        assert_eq!(runs[0].clusters.iter().map(ToString::to_string).collect::<Vec<_>>(), ["j-1"]);
        assert!(runs[0].terminate && !runs[1].terminate);
        let output = |run: &Prepared| serde_json::to_value(&run.output).unwrap();
        assert_eq!(output(&runs[0].prepared), output(&prepared(1)));
        runs[0].reopen().unwrap().note(&JournalEntry::Cluster { id: "j-3".parse().unwrap() });
        assert_eq!(state.unfinished().unwrap()[0].clusters.len(), 2);
        second.close();
        runs[0].close();
        assert!(state.unfinished().unwrap().is_empty());
    }

    #[test]
    fn a_line_that_broke_off_is_no_entry_wherever_it_broke() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        let journal = state.begin(prepared(1)).unwrap();
        journal.note(&JournalEntry::Cluster { id: "j-1".parse().unwrap() });
        let name = format!("{}.journal", id(1));
        let path = folder.path().join("runs").join(&name);
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), usize::try_from(ROOM).unwrap());
        let lines: Vec<usize> = entries(&whole).map(<[u8]>::len).collect();
        let all: usize = lines.iter().sum();
        for cut in 0..all {
            let mut torn = vec![0; whole.len()];
            torn[..cut].copy_from_slice(&whole[..cut]);
            fs::write(&path, &torn).unwrap();
            let found = read(&state.runs, &name).unwrap().map(|run| run.clusters.len());
            assert_eq!(found, (cut >= lines[0]).then_some(0), "cut at {cut}");
        }
    }

    #[test]
    fn one_guard_holds_the_directory_and_a_dead_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateDir::take(folder.path()).unwrap();
        let error = StateDir::take(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                "held by another emr-etl-guard (process {} on ",
                std::process::id()
            )),
            "{error}"
        );
        drop(held);
        assert!(StateDir::take(folder.path()).is_ok());
    }

    #[test]
    fn what_cannot_be_read_or_written_names_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = StateDir::take(&folder.path().join("file")).unwrap_err().to_string();
        assert!(error.contains("file: Not a directory"), "{error}");
        let state = StateDir::take(folder.path()).unwrap();
        let refused = |name: &str, content: &str, why: &str| {
            let path = folder.path().join("runs").join(name);
            fs::write(&path, content).unwrap();
            let error = state.unfinished().unwrap_err().to_string();
            let said = format!("{name} is no journal that this version can read ({why}");
            assert!(error.contains(&said), "{error}");
            assert!(path.exists());
            fs::remove_file(path).unwrap();
        };
        let unknown = "{\"entry\": \"unheard-of\"}\n";
        refused(&format!("{}.journal", id(9)), unknown, "unknown variant `unheard-of`");
        refused("9.journal", unknown, "its name is not one that emr-etl-guard gives");
        let of_another = serde_json::to_string(&JournalEntry::Prepared(Box::new(prepared(1))));
        let why = format!("it is of run {}", id(1));
        refused(&format!("{}.journal", id(9)), &(of_another.unwrap() + "\n"), &why);
        // Files that are not journals are ignored.
        fs::write(folder.path().join("runs/notes.txt"), "x").unwrap();
        assert!(state.unfinished().unwrap().is_empty());
    }

    #[test]
    fn the_default_place_is_roots_or_the_users_own() {
        let place = |root, env: &[(&str, &str)]| {
            let env: BTreeMap<&str, &str> = env.iter().copied().collect();
            default_place(root, |name| env.get(name).map(Into::into))
                .map(|path| path.display().to_string())
                .ok()
        };
        assert_eq!(place(true, &[]).as_deref(), Some("/var/lib/emr-etl-guard"));
        assert_eq!(
            place(false, &[("HOME", "/home/etl")]).as_deref(),
            Some("/home/etl/.local/state/emr-etl-guard")
        );
        assert_eq!(
            place(false, &[("HOME", "/home/etl"), ("XDG_STATE_HOME", "/s")]).as_deref(),
            Some("/s/emr-etl-guard")
        );
        assert_eq!(place(false, &[("HOME", "relative")]), None);
    }
}

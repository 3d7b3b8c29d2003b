//! The journal: what must be known of a run if the guard dies in the middle of it. One file for
//! each run that is not closed, in the state directory, which one guard holds at a time.
//!
//! Each entry is on the disk before what it speaks of happens. The room for them is taken when the
//! run begins, so that a disk that fills up later refuses the next launch and harms no run under
//! way. No secret is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    base::names::ClusterId,
    checks::{stored::Standard, verified::VerifiedConfiguration},
    evidence::chain::{self, BegunRun, ChainLink},
    facts::written::WriteLocations,
    settings::policy::Policy,
};

/// Room for a run's entries, in bytes: the first takes a few KiB, the rest less than 200 bytes
/// each.
const ROOM: i64 = 256 << 10;
/// What a journal's file name ends in.
const ENDING: &str = "journal";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// It cannot be read or written.
    #[error(
        "nothing was launched: the state directory cannot be used: {path}: {source}; free or mend the disk, or name another in the setting `state_dir`"
    )]
    Unusable {
        /// The directory, or a file in it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another guard works with it.
    #[error(
        "nothing was launched: the state directory {path} is held by another emr-etl-guard ({holder}); wait for its end, or give each pipeline a `state_dir` of its own"
    )]
    Held {
        /// The directory.
        path: String,
        /// Who, by its own words.
        holder: String,
    },
    /// Nobody says where it is.
    #[error(
        "nothing was launched: there is no place for the state directory: neither root nor HOME; name one in the setting `state_dir`"
    )]
    Nowhere,
    /// A journal that this version cannot read.
    #[error(
        "nothing was launched: {path} is no journal that this version can read ({reason}); look at the clusters of that run, then remove the file"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// The state directory, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct StateDir {
    root: PathBuf,
    runs: PathBuf,
    /// The kernel lets go of it when its holder dies, however that is.
    _lock: File,
}

/// What is known of a run before it is launched, and all that is needed to judge its clusters
/// later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// The run's id.
    pub(crate) run: String,
    /// When the guard started.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// The account that was launched in, if it was known.
    pub(crate) account: Option<String>,
    /// The cluster's region.
    pub(crate) region: String,
    /// The runner config's name.
    pub(crate) config: String,
    /// By what its clusters are known, and what they must be.
    #[serde(flatten)]
    pub(crate) selector: ClusterSelector,
    /// Where it writes, and what that must be; the journal of an older guard does not say.
    #[serde(default)]
    pub(crate) output: Option<Output>,
}

/// What a run writes, for a later guard to look at.
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
    /// A cluster counts as the run's.
    Cluster {
        /// Its id.
        id: ClusterId,
    },
    /// The guard still lived.
    Alive {
        /// When, by AWS's clock.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// The run was told to stop.
    Stopped {
        /// Whether its clusters are to be terminated, too.
        terminate: bool,
    },
}

/// The journal of a run under way. Clones write to one file.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<OpenJournal>);

#[derive(Debug)]
struct OpenJournal {
    path: PathBuf,
    file: Mutex<File>,
}

/// A run that was not closed.
#[derive(Clone, Debug)]
pub(crate) struct UnfinishedRun {
    /// Its journal's file.
    pub(crate) path: PathBuf,
    pub(crate) prepared: Prepared,
    /// The clusters that counted as its own.
    pub(crate) clusters: BTreeSet<ClusterId>,
    /// Whether they were to be terminated even if they are what was verified.
    pub(crate) terminate: bool,
    /// When its guard was alive for the last time that is known, by AWS's clock.
    pub(crate) alive: Option<OffsetDateTime>,
}

/// Where the state directory is when no setting says: root's in /var/lib, else the user's by XDG.
///
/// # Errors
/// [`StateError::Nowhere`] when there is neither.
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

impl StateDir {
    /// Takes the state directory at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be used, or another guard holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, StateError> {
        let unusable = |path: &Path| {
            let path = path.display().to_string();
            move |source| StateError::Unusable { path, source }
        };
        let runs = path.join("runs");
        DirBuilder::new().recursive(true).mode(0o700).create(&runs).map_err(unusable(&runs))?;
        let lock_file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_file)
            .map_err(unusable(&lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(StateError::Held {
                    path: path.display().to_string(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(&lock_file)(source)),
        }
        // For eyes only: what counts is the kernel's lock, so that a dead holder's words harm
        // nobody.
        let now = crate::base::text::shown(OffsetDateTime::now_utc());
        let host = nix::unistd::gethostname().unwrap_or_default();
        let holder = format!("process {} on {}, since {now}\n", std::process::id(), host.display());
        // A disk that is full must not keep an open run from being closed; `begin` finds that out
        // before anything is launched.
        let _ = lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes()));
        Ok(Self { root: path.to_owned(), runs, _lock: lock })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Notes that a run's document has its place in the chain.
    ///
    /// # Errors
    /// [`StateError`] when that cannot be kept.
    pub(crate) fn recorded(
        &self,
        chain: &ChainLink,
        run: &str,
        sha256: &str,
    ) -> Result<(), StateError> {
        chain::record(&self.root, chain, run, sha256).map_err(|source| StateError::Unusable {
            path: self.root.display().to_string(),
            source,
        })
    }

    /// Takes the next number in the chain of documents for `run`.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be kept.
    pub(crate) fn next_in_chain(
        &self,
        run: &str,
        digest_of: impl Fn(&BegunRun) -> Option<String>,
    ) -> Result<ChainLink, StateError> {
        chain::begin(&self.root, run, digest_of).map_err(|source| StateError::Unusable {
            path: self.root.display().to_string(),
            source,
        })
    }

    /// The runs that were not closed, oldest first. A journal whose run was never about to be
    /// launched is removed.
    ///
    /// # Errors
    /// [`StateError`] for the first journal that cannot be read.
    pub(crate) fn unfinished(&self) -> Result<Vec<UnfinishedRun>, StateError> {
        let unusable =
            |source| StateError::Unusable { path: self.runs.display().to_string(), source };
        let mut files: Vec<PathBuf> = fs::read_dir(&self.runs)
            .map_err(unusable)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(unusable)?;
        files.retain(|file| file.extension().is_some_and(|ending| ending == ENDING));
        // Run ids grow with time.
        files.sort();
        let mut runs = Vec::new();
        for file in files {
            match read(&file)? {
                Some(run) => runs.push(run),
                None => remove(&file),
            }
        }
        Ok(runs)
    }

    /// Opens the journal of a run that is about to be launched, and writes its first entry.
    ///
    /// # Errors
    /// [`StateError`] when that, or the room for the entries to come, is not to be had.
    pub(crate) fn begin(&self, prepared: Prepared) -> Result<Journal, StateError> {
        let path = self.runs.join(format!("{}.{ENDING}", prepared.run));
        let written = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            nix::fcntl::posix_fallocate(&file, 0, ROOM)?;
            let journal =
                Journal(Arc::new(OpenJournal { path: path.clone(), file: Mutex::new(file) }));
            journal.write(&JournalEntry::Prepared(Box::new(prepared)))?;
            // The file's name must be on the disk as well.
            File::open(&self.runs)?.sync_all()?;
            Ok(journal)
        };
        written().map_err(|source| {
            remove(&path);
            StateError::Unusable { path: path.display().to_string(), source }
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

    /// Adds an entry. A run under way is not harmed by a disk that fails: what is lost is what a
    /// resume would know.
    pub(crate) fn note(&self, entry: &JournalEntry) {
        if let Err(error) = self.write(entry) {
            tracing::error!(path = %self.0.path.display(), %error, "the journal cannot be written");
        }
    }

    /// Closes the run: nothing of it is left to be looked at.
    pub(crate) fn close(self) {
        remove(&self.0.path);
    }
}

impl UnfinishedRun {
    /// That it stays open, and which clusters it knows of, where nobody looks after it any more.
    pub(crate) fn what_stays_open(&self) -> String {
        let clusters: Vec<&str> = self.clusters.iter().map(ClusterId::as_str).collect();
        let known = if clusters.is_empty() {
            "it knows of no cluster yet".to_owned()
        } else {
            format!("it knows of {}, which may go on", clusters.join(", "))
        };
        format!("run {}, which was left open, stays open: {known}", self.prepared.run)
    }

    /// Closes the run.
    pub(crate) fn close(&self) {
        remove(&self.path);
    }

    /// Its journal, to go on with.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be opened.
    pub(crate) fn reopen(&self) -> Result<Journal, StateError> {
        let open = || {
            let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let end = entries(&fs::read(&self.path)?).map(<[u8]>::len).sum::<usize>();
            file.seek(SeekFrom::Start(end as u64))?;
            Ok(file)
        };
        let file = open().map_err(|source| StateError::Unusable {
            path: self.path.display().to_string(),
            source,
        })?;
        Ok(Journal(Arc::new(OpenJournal { path: self.path.clone(), file: Mutex::new(file) })))
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::error!(path = %path.display(), %error, "the journal cannot be removed");
    }
}

/// The whole lines of a journal, each with its end. What follows is room that nothing was written
/// to, or a line that broke off with its writer.
fn entries(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').take_while(|line| line.ends_with(b"\n"))
}

/// Reads a journal; `None` where its run was never about to be launched.
fn read(path: &Path) -> Result<Option<UnfinishedRun>, StateError> {
    let bytes = fs::read(path)
        .map_err(|source| StateError::Unusable { path: path.display().to_string(), source })?;
    let unreadable =
        |reason: String| StateError::Unreadable { path: path.display().to_string(), reason };
    let mut run: Option<UnfinishedRun> = None;
    for line in entries(&bytes) {
        let entry: JournalEntry =
            serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
        match (entry, &mut run) {
            (JournalEntry::Prepared(prepared), None) => {
                run = Some(UnfinishedRun {
                    path: path.to_owned(),
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

/// Where the journal is kept: in `named`, the setting `state_dir`, else in the user's own place.
pub(crate) fn state_dir(named: Option<&Path>) -> Result<PathBuf, StateError> {
    match named {
        Some(named) => Ok(named.to_owned()),
        None => default_place(nix::unistd::geteuid().is_root(), |name| std::env::var_os(name)),
    }
}

/// By what a run's clusters are known, and what they must be: all that it takes to judge them, now
/// or by a later guard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClusterSelector {
    pub(crate) verified: VerifiedConfiguration,
    pub(crate) policy: Policy,
    /// The clusters' name.
    pub(crate) job_name: String,
    /// The runner may use any live cluster of that name.
    pub(crate) persistent: bool,
    /// The tag that the seal set, as key and value.
    pub(crate) tag: Option<(String, String)>,
    /// Clusters that were there before the launch: never this run's.
    pub(crate) earlier_clusters: BTreeSet<ClusterId>,
    /// Clusters that the runner adopts, with the steps they had before.
    pub(crate) adopted: BTreeMap<ClusterId, BTreeSet<String>>,
    /// Where the runner has clusters write their logs; the journal of an older guard does not say.
    #[serde(default)]
    pub(crate) log_location: Option<String>,
    /// When the runner was launched, by AWS's clock, or some seconds earlier.
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
    use std::collections::BTreeMap;

    fn prepared(run: &str) -> Prepared {
        let file = tempfile::NamedTempFile::new().unwrap();
        Prepared {
            run: run.to_owned(),
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
        let second = state.begin(prepared("2")).unwrap();
        let first = state.begin(prepared("1")).unwrap();
        first.note(&JournalEntry::Cluster { id: "j-1".parse().unwrap() });
        first.note(&JournalEntry::Stopped { terminate: true });
        let runs = state.unfinished().unwrap();
        assert_eq!(
            runs.iter().map(|run| run.prepared.run.as_str()).collect::<Vec<_>>(),
            ["1", "2"]
        );
        assert_eq!(runs[0].clusters.iter().map(ToString::to_string).collect::<Vec<_>>(), ["j-1"]);
        assert!(runs[0].terminate && !runs[1].terminate);
        let output = |run: &Prepared| serde_json::to_value(&run.output).unwrap();
        assert_eq!(output(&runs[0].prepared), output(&prepared("1")));
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
        let journal = state.begin(prepared("1")).unwrap();
        journal.note(&JournalEntry::Cluster { id: "j-1".parse().unwrap() });
        let path = folder.path().join("runs/1.journal");
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), usize::try_from(ROOM).unwrap());
        let lines: Vec<usize> = entries(&whole).map(<[u8]>::len).collect();
        let all: usize = lines.iter().sum();
        for cut in 0..all {
            let mut torn = whole[..cut].to_vec();
            torn.resize(whole.len(), 0);
            fs::write(&path, &torn).unwrap();
            let found = read(&path).unwrap().map(|run| run.clusters.len());
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
        assert!(error.contains("file/runs: Not a directory"), "{error}");
        let state = StateDir::take(folder.path()).unwrap();
        fs::write(folder.path().join("runs/9.journal"), "{\"entry\": \"unheard-of\"}\n").unwrap();
        let error = state.unfinished().unwrap_err().to_string();
        assert!(
            error.contains(
                "9.journal is no journal that this version can read (unknown variant `unheard-of`"
            ),
            "{error}"
        );
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

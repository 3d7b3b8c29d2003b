//! The ledger: what a later sentinel must know about clusters, terminations and lists, on disk.
//!
//! One file a quarter, `2026Q4.jsonl`, to which whole lines are only added. The files together are
//! the record of every cluster that was seen. A new quarter's file begins with what is still open,
//! so that a start reads the newest file alone, line by line: clusters of the past cost no memory.
//!
//! A line that was cut off by the end of its writer is dropped. Any other line that cannot be read
//! is an error: without it, it would be unknown what was reported and terminated.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::{
    base::names::ClusterId,
    sentinel::{
        places::{AccountRegion, ClusterKey},
        record::SentinelCluster,
    },
    system::{
        file_owner::NotOwnError,
        private_dir::{LockError, PrivateDir, PrivateDirError},
    },
    watch::{
        machine::{
            account::{event::AccountEntry, plan::KnownCluster},
            time::AwsTime,
        },
        terminate::aws_time,
    },
};

/// The extension of the ledger's files.
const ENDING: &str = ".jsonl";
/// The file with the times until which the places were seen.
const SEEN: &str = "seen.json";
/// The lock against another sentinel. The chain of the reports has one of its own beside it.
const LOCK: &str = "sentinel.lock";
/// How long terminations count.
const TERMINATIONS_COUNT_FOR: Duration = Duration::HOUR;
/// How often the times until which the places were seen are written. They only decide how much of
/// the past a later sentinel lists again; a place's first one, without which it would list nothing
/// of the past, is written at once.
const SEEN_EVERY: Duration = Duration::MINUTE;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SentinelLedgerError {
    /// It cannot be read or written.
    #[error(
        "the sentinel's state {path} cannot be used: {source}; free or fix the disk, or name \
         another place in the setting `state_dir`"
    )]
    Unusable {
        /// The directory, or a file in it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another user owns it, or can write to it.
    #[error("the sentinel's state cannot be trusted: {0}")]
    NotOwn(#[from] NotOwnError),
    /// Another sentinel uses it.
    #[error(
        "another sentinel uses the state directory {path} ({holder}); wait for its end, or give \
         this one a `state_dir` of its own"
    )]
    Held {
        /// The directory.
        path: String,
        /// The other sentinel, as its lock file describes it.
        holder: String,
    },
    /// A file that this version cannot read.
    #[error(
        "line {line} of {path} is no entry that this version can read ({reason}); restore the file \
         from a backup, or move it away: clusters that live may then be reported once more"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// The line's number, from 1.
        line: usize,
        /// Why it cannot be read.
        reason: String,
    },
}

impl From<PrivateDirError> for SentinelLedgerError {
    fn from(error: PrivateDirError) -> Self {
        match error {
            PrivateDirError::NotOwn(error) => Self::NotOwn(error),
            PrivateDirError::Io { path, source } => Self::Unusable { path, source },
        }
    }
}

/// One line of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
enum LedgerLine {
    /// What is known of a cluster; the last line of a cluster counts.
    Cluster {
        /// It is over, and will not change any more.
        over: bool,
        record: Box<SentinelCluster>,
    },
    /// Its termination is about to be requested.
    Ending {
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        place: AccountRegion,
        id: ClusterId,
    },
    /// It is about to be reported as unsafe.
    ToldUnsafe { place: AccountRegion, id: ClusterId },
    /// It is about to be reported that it could not be judged in time.
    ToldUnjudged { place: AccountRegion, id: ClusterId },
    /// It was reported that it is not unsafe any more.
    Cleared { place: AccountRegion, id: ClusterId },
    /// At the beginning of a file: a cluster of the file before is over. When it was created, in
    /// milliseconds since 1970.
    Over { place: AccountRegion, id: ClusterId, created: i64 },
    /// At the beginning of a file: what was noted about a cluster that is not over.
    Open {
        place: AccountRegion,
        id: ClusterId,
        told_unsafe: bool,
        told_unjudged: bool,
        ending: bool,
    },
    /// At the beginning of a file: a termination was requested.
    Terminated {
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
}

/// What is open of a cluster that is not over.
#[derive(Clone, Debug, Default)]
struct OpenCluster {
    known: KnownCluster,
    record: Option<Box<SentinelCluster>>,
}

/// What a sentinel knows about the time before its start.
#[derive(Debug, Default)]
struct LedgerState {
    open: BTreeMap<ClusterKey, OpenCluster>,
    /// The clusters that are over and may be listed again, and when they were created.
    over: BTreeMap<ClusterKey, AwsTime>,
    seen_until: BTreeMap<AccountRegion, AwsTime>,
    /// When the terminations of the last hour were requested.
    terminations: VecDeque<OffsetDateTime>,
}

/// The ledger, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct SentinelLedger {
    dir: PrivateDir,
    /// The quarter's file.
    name: String,
    file: File,
    /// Where its complete lines end.
    end: u64,
    state: LedgerState,
    /// When the times until which the places were seen were written.
    seen_written: OffsetDateTime,
    /// The kernel releases the lock when its process ends, however it ends.
    _lock: File,
}

/// The times until which places were seen, as they are stored.
#[derive(Debug, Serialize, Deserialize)]
struct SeenUntil {
    place: AccountRegion,
    until: i64,
}

/// The name of the file of a time's quarter.
fn file_of(at: OffsetDateTime) -> String {
    let quarter = (u8::from(at.month()) - 1) / 3 + 1;
    format!("{}Q{quarter}{ENDING}", at.year())
}

/// Whether a name is that of a quarter's file.
fn is_quarter(name: &str) -> bool {
    let Some((year, quarter)) =
        name.strip_suffix(ENDING).and_then(|quarter| quarter.split_once('Q'))
    else {
        return false;
    };
    year.len() == 4
        && year.bytes().all(|digit| digit.is_ascii_digit())
        && matches!(quarter, "1" | "2" | "3" | "4")
}

impl SentinelLedger {
    /// Opens the ledger in the state directory at `path`, and reads what is open at this time.
    ///
    /// # Errors
    /// [`SentinelLedgerError`] when it cannot be read, does not belong to this user alone, or is
    /// held by another sentinel.
    pub(crate) fn open(path: &Path, now: OffsetDateTime) -> Result<Self, SentinelLedgerError> {
        let dir = PrivateDir::create(path)?.create_below("sentinel")?;
        let lock = dir.lock(LOCK).map_err(|error| match error {
            LockError::Held(holder) => {
                SentinelLedgerError::Held { path: path.display().to_string(), holder }
            }
            LockError::Dir(error) => error.into(),
        })?;
        let seen: Vec<SeenUntil> = dir.read_json(SEEN)?.unwrap_or_default();
        let mut state = LedgerState {
            seen_until: seen.into_iter().map(|seen| (seen.place, AwsTime(seen.until))).collect(),
            ..LedgerState::default()
        };
        let newest = dir.names()?.into_iter().filter(|name| is_quarter(name)).max();
        let (name, file, end) = match newest {
            Some(name) => {
                let file = dir.open(&name)?.ok_or_else(|| missing(&dir, &name))?;
                let end = read_lines(&dir, &name, &file, |line| {
                    state.take(line, now);
                })?;
                (name, file, end)
            }
            None => {
                let name = file_of(now);
                let file = dir.create_new(&name)?;
                dir.sync()?;
                (name, file, 0)
            }
        };
        state.prune();
        let seen_written = now - SEEN_EVERY;
        let mut ledger = Self { dir, name, file, end, state, seen_written, _lock: lock };
        ledger.drop_torn_line()?;
        Ok(ledger)
    }

    /// The clusters that are not over.
    pub(crate) fn known(&self) -> BTreeMap<ClusterKey, KnownCluster> {
        let open = self.state.open.iter();
        open.map(|(key, cluster)| (key.clone(), cluster.known)).collect()
    }

    /// What is known of those clusters.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&ClusterKey, &SentinelCluster)> {
        let open = self.state.open.iter();
        open.filter_map(|(key, cluster)| Some((key, cluster.record.as_deref()?)))
    }

    /// The clusters that are over and may be listed again, and when they were created.
    pub(crate) fn over(&self) -> BTreeMap<ClusterKey, AwsTime> {
        self.state.over.clone()
    }

    /// For each place: clusters that were created from then on are looked for, see
    /// [`AccountEntry::SeenUntil`].
    pub(crate) fn seen_until(&self) -> BTreeMap<AccountRegion, AwsTime> {
        self.state.seen_until.clone()
    }

    /// How long before `now` each termination of the last hour was requested.
    pub(crate) fn terminations(&self, now: OffsetDateTime) -> Vec<std::time::Duration> {
        let ago =
            |at: &OffsetDateTime| std::time::Duration::try_from(now - *at).unwrap_or_default();
        self.state.terminations.iter().map(ago).collect()
    }

    /// Writes an entry of the watcher. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn note(
        &mut self,
        entry: AccountEntry<AccountRegion, ClusterId>,
        now: OffsetDateTime,
    ) -> Result<(), SentinelLedgerError> {
        let line = match entry {
            AccountEntry::Ending(place, id) => LedgerLine::Ending { at: now, place, id },
            AccountEntry::ToldUnsafe(place, id) => LedgerLine::ToldUnsafe { place, id },
            AccountEntry::ToldUnjudged(place, id) => LedgerLine::ToldUnjudged { place, id },
            AccountEntry::SeenUntil(place, until) => {
                let is_first = self.state.seen_until.insert(place, until).is_none();
                return self.write_seen(now, is_first);
            }
        };
        self.add(line, now)?;
        self.sync()
    }

    /// Writes that it was reported that a cluster is not unsafe any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn cleared(
        &mut self,
        (place, id): ClusterKey,
        now: OffsetDateTime,
    ) -> Result<(), SentinelLedgerError> {
        self.add(LedgerLine::Cleared { place, id }, now)?;
        self.sync()
    }

    /// Writes what is known of a cluster; if it is over, it will not change any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn record(
        &mut self,
        record: &SentinelCluster,
        over: bool,
        now: OffsetDateTime,
    ) -> Result<(), SentinelLedgerError> {
        let record = Box::new(record.clone());
        self.add(LedgerLine::Cluster { over, record }, now)?;
        if over { self.sync() } else { Ok(()) }
    }

    /// Writes what has not been written yet, before the sentinel ends.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn close(&mut self, now: OffsetDateTime) -> Result<(), SentinelLedgerError> {
        self.write_seen(now, true)?;
        self.sync()
    }

    /// Calls `each` with the last record of every cluster that was seen since a time, and is over.
    /// Those that live are not among them.
    ///
    /// # Errors
    /// When a file of a quarter since then cannot be read.
    pub(crate) fn ended_since(
        &self,
        since: OffsetDateTime,
        mut each: impl FnMut(SentinelCluster),
    ) -> Result<(), SentinelLedgerError> {
        let first = file_of(since);
        let names = self.dir.names()?.into_iter();
        for name in names.filter(|name| is_quarter(name) && *name >= first) {
            let Some(file) = self.dir.open(&name)? else { continue };
            read_lines(&self.dir, &name, &file, |line| {
                if let LedgerLine::Cluster { over: true, record } = line
                    && record.last_seen >= since
                {
                    each(*record);
                }
            })?;
        }
        Ok(())
    }

    /// Adds a line; in a new quarter, to a new file.
    fn add(&mut self, line: LedgerLine, now: OffsetDateTime) -> Result<(), SentinelLedgerError> {
        let name = file_of(now);
        // A clock that was set back does not reopen an old file.
        if name > self.name {
            self.begin(name)?;
        }
        self.write(&line)?;
        self.state.take(line, now);
        Ok(())
    }

    /// Begins the file of a new quarter, with what is still open. It appears as a whole.
    fn begin(&mut self, name: String) -> Result<(), SentinelLedgerError> {
        let mut bytes = Vec::new();
        for line in self.state.lines() {
            push_line(&mut bytes, &line).map_err(|source| self.unusable(source))?;
        }
        self.dir.replace(&name, &bytes)?;
        let mut file = self.dir.open(&name)?.ok_or_else(|| missing(&self.dir, &name))?;
        self.end = file.seek(SeekFrom::End(0)).map_err(|source| self.unusable(source))?;
        (self.name, self.file) = (name, file);
        Ok(())
    }

    fn write(&mut self, line: &LedgerLine) -> Result<(), SentinelLedgerError> {
        let mut bytes = Vec::new();
        let written = push_line(&mut bytes, line).and_then(|()| self.file.write_all(&bytes));
        match written {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(source) => {
                let error = self.unusable(source);
                // On a full disk, part of the line may have been written.
                self.drop_torn_line()?;
                Err(error)
            }
        }
    }

    /// Drops what follows the last complete line, and continues there.
    fn drop_torn_line(&mut self) -> Result<(), SentinelLedgerError> {
        let end = self.end;
        let dropped = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        dropped.map(drop).map_err(|source| self.unusable(source))
    }

    fn sync(&self) -> Result<(), SentinelLedgerError> {
        self.file.sync_data().map_err(|source| self.unusable(source))
    }

    fn write_seen(&mut self, now: OffsetDateTime, always: bool) -> Result<(), SentinelLedgerError> {
        let is_due = (now - self.seen_written).abs() >= SEEN_EVERY;
        if !is_due && !always {
            return Ok(());
        }
        self.seen_written = now;
        self.state.prune();
        let seen = self.state.seen_until.iter();
        let seen: Vec<SeenUntil> =
            seen.map(|(place, until)| SeenUntil { place: place.clone(), until: until.0 }).collect();
        Ok(self.dir.replace_json(SEEN, &seen)?)
    }

    fn unusable(&self, source: io::Error) -> SentinelLedgerError {
        let path = self.dir.path_of(&self.name).display().to_string();
        SentinelLedgerError::Unusable { path, source }
    }
}

impl LedgerState {
    /// Applies a line.
    fn take(&mut self, line: LedgerLine, now: OffsetDateTime) {
        match line {
            LedgerLine::Cluster { over, record } => {
                let key = key_of(&record);
                if over {
                    self.open.remove(&key);
                    self.over.insert(key, aws_time(record.created));
                } else {
                    self.open.entry(key).or_default().record = Some(record);
                }
            }
            LedgerLine::Ending { at, place, id } => {
                self.known(&(place, id)).ending = true;
                self.terminated(at, now);
            }
            LedgerLine::ToldUnsafe { place, id } => self.known(&(place, id)).told_unsafe = true,
            LedgerLine::ToldUnjudged { place, id } => {
                self.known(&(place, id)).told_unjudged = true;
            }
            LedgerLine::Cleared { place, id } => self.known(&(place, id)).told_unsafe = false,
            LedgerLine::Over { place, id, created } => {
                self.open.remove(&(place.clone(), id.clone()));
                self.over.insert((place, id), AwsTime(created));
            }
            LedgerLine::Open { place, id, told_unsafe, told_unjudged, ending } => {
                *self.known(&(place, id)) = KnownCluster { told_unsafe, told_unjudged, ending };
            }
            LedgerLine::Terminated { at } => self.terminated(at, now),
        }
    }

    fn terminated(&mut self, at: OffsetDateTime, now: OffsetDateTime) {
        self.terminations.push_back(at);
        self.terminations.retain(|at| now - *at < TERMINATIONS_COUNT_FOR);
    }

    fn known(&mut self, key: &ClusterKey) -> &mut KnownCluster {
        &mut self.open.entry(key.clone()).or_default().known
    }

    /// The lines that a new file begins with.
    fn lines(&self) -> Vec<LedgerLine> {
        let mut lines = Vec::new();
        for ((place, id), created) in &self.over {
            let (place, id, created) = (place.clone(), id.clone(), created.0);
            lines.push(LedgerLine::Over { place, id, created });
        }
        for ((place, id), OpenCluster { known, record }) in &self.open {
            let record = record.clone();
            lines.extend(record.map(|record| LedgerLine::Cluster { over: false, record }));
            let KnownCluster { told_unsafe, told_unjudged, ending } = *known;
            let (place, id) = (place.clone(), id.clone());
            lines.push(LedgerLine::Open { place, id, told_unsafe, told_unjudged, ending });
        }
        lines.extend(self.terminations.iter().map(|at| LedgerLine::Terminated { at: *at }));
        lines
    }

    /// Forgets clusters that are over and are not listed any more.
    fn prune(&mut self) {
        let seen_until = &self.seen_until;
        self.over.retain(|(place, _), created| {
            seen_until.get(place).is_none_or(|until| created.0 >= until.0)
        });
    }
}

/// The cluster that a record is about.
pub(crate) fn key_of(record: &SentinelCluster) -> ClusterKey {
    let (account, region) = (record.account.clone(), record.region.clone());
    (AccountRegion { account, region }, record.id.clone())
}

fn missing(dir: &PrivateDir, name: &str) -> SentinelLedgerError {
    let path = dir.path_of(name).display().to_string();
    SentinelLedgerError::Unusable { path, source: io::ErrorKind::NotFound.into() }
}

fn push_line(bytes: &mut Vec<u8>, line: &LedgerLine) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, line)?;
    bytes.push(b'\n');
    Ok(())
}

/// Reads the complete lines of a file, and returns where they end.
fn read_lines(
    dir: &PrivateDir,
    name: &str,
    file: &File,
    mut each: impl FnMut(LedgerLine),
) -> Result<u64, SentinelLedgerError> {
    let path = || dir.path_of(name).display().to_string();
    let (mut reader, mut bytes, mut end, mut number) = (BufReader::new(file), Vec::new(), 0, 0);
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        read.map_err(|source| SentinelLedgerError::Unusable { path: path(), source })?;
        if bytes.last() != Some(&b'\n') {
            return Ok(end);
        }
        number += 1;
        each(serde_json::from_slice(&bytes).map_err(|error| SentinelLedgerError::Unreadable {
            path: path(),
            line: number,
            reason: error.to_string(),
        })?);
        end += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::sentinel::watched::WatchedCluster;

    const NOW: OffsetDateTime = datetime!(2026-12-31 23:50 UTC);

    fn place() -> AccountRegion {
        AccountRegion { account: "123456789012".to_owned(), region: "eu-west-1".to_owned() }
    }

    fn id(id: &str) -> ClusterId {
        id.parse().unwrap()
    }

    fn record(of: &str) -> SentinelCluster {
        WatchedCluster::new(&place(), &id(of), NOW).record
    }

    /// A folder that belongs to this user alone.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn newest(folder: &tempfile::TempDir, name: &str) -> std::path::PathBuf {
        folder.path().join("sentinel").join(name)
    }

    #[test]
    fn a_later_sentinel_knows_what_was_told_and_terminated() {
        let folder = folder();
        let mut ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        ledger.record(&record("j-LIVES"), false, NOW).unwrap();
        ledger.record(&record("j-OVER"), false, NOW).unwrap();
        ledger.note(AccountEntry::ToldUnsafe(place(), id("j-LIVES")), NOW).unwrap();
        ledger.note(AccountEntry::Ending(place(), id("j-LIVES")), NOW).unwrap();
        ledger.note(AccountEntry::SeenUntil(place(), AwsTime(7)), NOW).unwrap();
        ledger.record(&record("j-OVER"), true, NOW).unwrap();
        drop(ledger);
        let later = NOW + Duration::minutes(5);
        let ledger = SentinelLedger::open(folder.path(), later).unwrap();
        let ended = KnownCluster { told_unsafe: true, told_unjudged: false, ending: true };
        assert_eq!(ledger.known(), BTreeMap::from([((place(), id("j-LIVES")), ended)]));
        assert_eq!(ledger.over().keys().collect::<Vec<_>>(), [&(place(), id("j-OVER"))]);
        assert_eq!(ledger.seen_until(), BTreeMap::from([(place(), AwsTime(7))]));
        assert_eq!(ledger.terminations(later), [std::time::Duration::from_mins(5)]);
        assert_eq!(ledger.records().count(), 1);
    }

    #[test]
    fn a_sentinel_that_is_killed_has_written_since_when_each_place_was_seen() {
        let folder = folder();
        let place = |region: &str| AccountRegion { region: region.to_owned(), ..place() };
        let mut ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        let regions = ["eu-west-1", "eu-west-2", "us-east-1"];
        for (region, until) in regions.into_iter().zip(1..) {
            ledger.note(AccountEntry::SeenUntil(place(region), AwsTime(until)), NOW).unwrap();
        }
        drop(ledger);
        let ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        let seen = regions.into_iter().zip(1..).map(|(region, at)| (place(region), AwsTime(at)));
        assert_eq!(ledger.seen_until(), seen.collect());
    }

    #[test]
    fn a_new_quarter_begins_with_what_is_open_and_the_old_file_stays() {
        let folder = folder();
        let mut ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        ledger.record(&record("j-LIVES"), false, NOW).unwrap();
        ledger.note(AccountEntry::ToldUnsafe(place(), id("j-LIVES")), NOW).unwrap();
        ledger.note(AccountEntry::Ending(place(), id("j-ENDS")), NOW).unwrap();
        ledger.record(&record("j-ENDS"), true, NOW).unwrap();
        let later = NOW + Duration::minutes(20);
        ledger.record(&record("j-NEW"), false, later).unwrap();
        assert!(newest(&folder, "2026Q4.jsonl").exists());
        let known = ledger.known();
        drop(ledger);
        let ledger = SentinelLedger::open(folder.path(), later).unwrap();
        assert_eq!(ledger.name, "2027Q1.jsonl");
        assert_eq!(ledger.known(), known);
        assert!(known[&(place(), id("j-LIVES"))].told_unsafe);
        assert_eq!(ledger.terminations(later), [std::time::Duration::from_mins(20)]);
        assert!(ledger.over().contains_key(&(place(), id("j-ENDS"))));
        // An hour after it, a termination does not count any more.
        drop(ledger);
        let much_later = NOW + Duration::minutes(61);
        let ledger = SentinelLedger::open(folder.path(), much_later).unwrap();
        assert!(ledger.terminations(much_later).is_empty());
    }

    #[test]
    fn a_line_that_was_cut_off_is_dropped_and_any_other_that_is_unreadable_is_an_error() {
        let folder = folder();
        let mut ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        ledger.record(&record("j-LIVES"), false, NOW).unwrap();
        drop(ledger);
        let path = newest(&folder, "2026Q4.jsonl");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"entry\":\"end"].concat()).unwrap();
        let mut ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        assert_eq!(ledger.known().len(), 1);
        ledger.record(&record("j-NEXT"), false, NOW).unwrap();
        drop(ledger);
        let ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        assert_eq!(ledger.known().len(), 2);
        drop(ledger);
        std::fs::write(&path, [b"{\"entry\":\"end\n", &whole[..]].concat()).unwrap();
        let error = SentinelLedger::open(folder.path(), NOW).unwrap_err();
        let SentinelLedgerError::Unreadable { line, .. } = error else { panic!("{error}") };
        assert_eq!(line, 1);
    }

    #[test]
    fn the_clusters_of_a_period_are_those_that_ended_in_it() {
        let folder = folder();
        let mut ledger = SentinelLedger::open(folder.path(), NOW).unwrap();
        let before = SentinelCluster { last_seen: NOW - Duration::HOUR, ..record("j-BEFORE") };
        ledger.record(&before, true, NOW).unwrap();
        ledger.record(&record("j-ENDED"), true, NOW).unwrap();
        ledger.record(&record("j-LIVES"), false, NOW).unwrap();
        let mut ended = Vec::new();
        ledger.ended_since(NOW - Duration::MINUTE, |record| ended.push(record.id)).unwrap();
        assert_eq!(ended, [id("j-ENDED")]);
        // Also where a new quarter has begun in the period.
        let later = NOW + Duration::minutes(20);
        let next = SentinelCluster { last_seen: later, ..record("j-NEXT") };
        ledger.record(&next, true, later).unwrap();
        ended.clear();
        ledger.ended_since(NOW - Duration::MINUTE, |record| ended.push(record.id)).unwrap();
        assert_eq!(ended, [id("j-ENDED"), id("j-NEXT")]);
        ended.clear();
        ledger.ended_since(later, |record| ended.push(record.id)).unwrap();
        assert_eq!(ended, [id("j-NEXT")]);
    }
}

//! A history of repairs: runs take turns, others act between any two of their calls, and calls fail
//! or take effect late.
//!
//! Others never act in the following moments, each of which is one round trip for which S3 has no
//! precondition. What they would do then, they do one call later:
//!
//! - In a bucket without versions (or on the version `null` while versioning is suspended): from
//!   the second look-up to the copy, nobody changes ACL, redirect, class or lock of the current
//!   object, nor uploads equal bytes with other values of these (with a multipart copy: nor with
//!   other metadata or tags), nor removes it permanently where an older version would become
//!   current. The same holds in every bucket while a copy without a response may still take effect,
//!   and before one whose result the run will never learn.
//! - From the look-up of a version (and of the newer one that contains all of it) to the removal of
//!   that version by its id: nobody removes the newer one, or changes this one. (The old version is
//!   looked up one call before the newer one, so nobody changes it for two.)
//! - Of two hosts, neither purges versions of a key while the other works on it: the other could
//!   remove the copy that this one relies on.
//! - Versioning is switched only between runs, and when no call is in progress any more.
//! - While a run compares a copy with its source, after its first look-up, others remove neither
//!   permanently.
//! - A version that its owner has changed in the round trip of its copy is not removed by others
//!   before the run has looked it up again: afterwards it would be unknown what the copy lacks.

mod jobs;

use std::collections::BTreeMap;

#[cfg(feature = "mutants")]
use crate::reencrypt::machine::mutants::RepairMutant;
use crate::{
    objects::{
        bucket::{
            Author, Broken, Bucket, Copied, Defect, LARGE, Time, Version, checksum, template,
        },
        engine::jobs::Jobs,
        process::{Ledger, Next, Process},
        scenario::{Act, ActAt, CallFault, First, Put, RepairScenario, RunPlan, Stored, Wave},
    },
    reencrypt::machine::{
        event::{
            CallAnswer, ListedVersion, LookAnswer, MadeObject, ObservedObject, RepairAction,
            RepairEnd, RepairEvent, UnfinishedUpload,
        },
        snapshot::{NULL, ObjectLock, Snapshot},
        versioning::Versioning,
    },
};

/// The options of histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairOptions {
    /// The deliberate fault of the state machine.
    #[cfg(feature = "mutants")]
    pub mutant: Option<RepairMutant>,
    /// All events are recorded.
    pub traced: bool,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number.
    pub number: usize,
    /// Its host.
    pub host: usize,
    /// None: it was killed.
    pub exit: Option<u8>,
    /// What it reported.
    pub named: std::collections::BTreeSet<(usize, String)>,
    /// The writes that it listed.
    pub listed: std::collections::BTreeSet<u64>,
    /// How its repairs ended.
    pub ends: Vec<(usize, RepairEnd<()>)>,
    /// One of the last runs, without faults or acts of others.
    pub quiet: bool,
    /// The objects that it listed or made that exist at its end and are not as required.
    pub offending: Vec<(usize, String)>,
    /// Uploads of its host that existed at its end.
    pub uploads: Vec<(usize, String)>,
    /// The number of its copies of each write.
    pub copies: usize,
}

/// All that happened.
#[derive(Clone, Debug)]
pub struct RepairHistory {
    /// The decisions.
    pub scenario: RepairScenario,
    /// The final bucket.
    pub bucket: Bucket,
    /// The runs.
    pub runs: Vec<Ended>,
    /// The hosts' final ledgers.
    pub ledgers: [Ledger; 2],
    /// The laws that calls broke at once.
    pub broken: Vec<Broken>,
    /// How often each event occurred.
    pub occurred: BTreeMap<&'static str, u64>,
    /// The number of calls.
    pub ticks: u32,
    /// A line for every event, if requested.
    pub trace: Vec<String>,
    /// How often each write was copied.
    pub copies: BTreeMap<u64, u32>,
    /// Keys that somebody else has changed after the start.
    pub disturbed: Vec<bool>,
}

/// A call that takes effect later.
#[derive(Clone, Debug)]
struct Late {
    at: u32,
    key: usize,
    action: RepairAction<()>,
    run: usize,
    host: usize,
    overwrites: bool,
    purge: bool,
}

/// The number of quiet runs of each host at the end.
const QUIET: usize = 3;
/// The maximum number of calls.
const MOST: u32 = 6000;

struct Engine {
    history: RepairHistory,
    acts: Vec<ActAt>,
    late: Vec<Late>,
    options: RepairOptions,
    turn: u64,
    next_content: u32,
    /// Keys whose current version was changed while it was copied, and which the run has not looked
    /// up yet.
    changed: Vec<bool>,
    number: usize,
    jobs: Jobs,
}

/// The history of a seed.
#[must_use]
pub fn run(seed: u64, options: RepairOptions) -> RepairHistory {
    live_through(crate::objects::scenario::draw(seed), options)
}

/// The history of these decisions.
#[must_use]
pub fn live_through(scenario: RepairScenario, options: RepairOptions) -> RepairHistory {
    let mut bucket = Bucket::new(scenario.versioning, scenario.keys.len(), scenario.kms);
    for early in [true, false] {
        bucket.versioning = if early { Versioning::Unversioned } else { scenario.versioning };
        for (key, versions) in scenario.keys.iter().enumerate() {
            fill(&mut bucket, key, versions, early, scenario.versioning);
        }
    }
    bucket.versioning = scenario.versioning;
    let mut acts = scenario.acts.clone();
    acts.sort_by_key(|act| act.tick);
    acts.reverse();
    let keys = scenario.keys.len();
    let turn = scenario.turns;
    let jobs = Jobs::new(scenario.jobs.turns);
    let history = RepairHistory {
        scenario,
        bucket,
        runs: Vec::new(),
        ledgers: [Ledger::new(), Ledger::new()],
        broken: Vec::new(),
        occurred: BTreeMap::new(),
        ticks: 0,
        trace: Vec::new(),
        copies: BTreeMap::new(),
        disturbed: vec![false; keys],
    };
    let mut engine = Engine {
        history,
        acts,
        late: Vec::new(),
        options,
        turn,
        next_content: 100,
        number: 0,
        changed: vec![false; keys],
        jobs,
    };
    engine.live();
    engine.history
}

fn fill(bucket: &mut Bucket, key: usize, versions: &[First], early: bool, versioning: Versioning) {
    let is_early = |first: &First| versioning == Versioning::Unversioned || first.early;
    // Objects from before the bucket had versions are the oldest.
    let until = versions.iter().take_while(|first| is_early(first)).count();
    let chosen = if early { &versions[..until] } else { &versions[until..] };
    // Before it was suspended, versioning was enabled: each write except the last made a version.
    for (index, first) in chosen.iter().enumerate() {
        if !early && versioning == Versioning::Suspended {
            let is_last = index + 1 == chosen.len() && first.content == 0;
            bucket.versioning = if is_last { Versioning::Suspended } else { Versioning::Enabled };
        }
        let snapshot = snapshot(first, bucket.now, early);
        bucket.write(key, first.content, &snapshot);
        if first.deleted && !early {
            bucket.delete(key);
        }
    }
}

fn algorithm(stored: Stored) -> Option<&'static str> {
    match stored {
        Stored::Plain => None,
        Stored::Aes => Some("AES256"),
        Stored::Kms => Some("aws:kms"),
    }
}

fn snapshot(first: &First, now: Time, early: bool) -> Snapshot {
    let mut snapshot = template(if first.large { LARGE } else { 5 }, algorithm(first.stored));
    if first.public {
        snapshot.grants.push(("uri=AllUsers".to_owned(), "READ".to_owned()));
    }
    if first.labels {
        snapshot.metadata.insert("m".to_owned(), "1".to_owned());
        snapshot.tags.insert("t".to_owned(), "1".to_owned());
    }
    if first.redirect {
        snapshot.headers.insert("website-redirect".to_owned(), "/".to_owned());
    }
    if first.class {
        snapshot.storage_class = "STANDARD_IA".to_owned();
    }
    if let Some(lock) = first.lock.filter(|_| !early) {
        snapshot.lock = ObjectLock {
            mode: Some("COMPLIANCE".to_owned()),
            until: Some(now + lock),
            ..ObjectLock::default()
        };
    }
    snapshot.checksum = first.checksum.map(|full| checksum(first.content, full || !first.large));
    snapshot
}

impl Engine {
    fn live(&mut self) {
        let waves = self.history.scenario.waves.clone();
        for (number, wave) in waves.iter().enumerate() {
            self.jobs_before(number);
            self.wave(wave, false);
        }
        self.jobs_before(usize::MAX);
        self.finish_jobs();
        self.flush(true);
        let has_second = waves.iter().any(|wave| wave.runs[1].is_some());
        let last = waves.last().and_then(|wave| wave.runs[0].clone());
        let (purge, overwritten) =
            last.map_or((false, false), |last| (last.purge, last.overwritten));
        let quiet =
            RunPlan { faults: Vec::new(), kill: None, purge, overwritten, loses_ledger: false };
        self.history.bucket.now += 200_000;
        for _ in 0..QUIET {
            for host in 0..=usize::from(has_second) {
                let mut runs = [None, None];
                runs[host] = Some(quiet.clone());
                self.wave(&Wave { runs, versioning: None, pause: 0 }, true);
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.history.occurred.entry(what).or_default() += 1;
    }

    fn trace(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.options.traced {
            let line = format!("[{:>3}] {}", self.history.ticks, line(self));
            self.history.trace.push(line);
        }
    }

    /// Performs all pending acts and calls at once.
    fn flush(&mut self, acts_too: bool) {
        while let Some(late) = self.late.pop() {
            self.land(&late);
        }
        if acts_too {
            while let Some(act) = self.acts.pop() {
                self.act(&act);
            }
        }
    }

    fn wave(&mut self, wave: &Wave, quiet: bool) {
        self.history.bucket.now += wave.pause;
        let is_versioned = self.history.bucket.versioning != Versioning::Unversioned
            || wave.versioning == Some(Versioning::Enabled);
        if let Some(versioning) = wave.versioning.filter(|_| is_versioned) {
            self.flush(false);
            self.finish_jobs();
            self.history.bucket.versioning = versioning;
            self.count("owner: switches versioning");
            self.trace(|_| format!("the owner switches versioning: {versioning:?}"));
        }
        let updatable = self.history.scenario.updatable;
        let mut processes = Vec::new();
        for (host, plan) in wave.runs.iter().enumerate() {
            let Some(plan) = plan else { continue };
            if plan.loses_ledger && !self.history.ledgers[host].is_empty() {
                self.history.ledgers[host].clear();
                self.count("guard: loses its ledger");
                self.trace(|_| format!("host {host} loses its ledger"));
            }
            let number = self.number;
            self.number += 1;
            self.trace(|it| {
                format!("run {number} begins on host {host}\n{}", it.history.bucket.text())
            });
            processes.push(Process::new(
                (number, host),
                plan.clone(),
                &self.history.bucket,
                updatable,
                &mut self.history.ledgers[host],
                #[cfg(feature = "mutants")]
                self.options.mutant,
            ));
        }
        if processes.len() == 2 {
            self.count("guard: two hosts at once");
        }
        while !processes.is_empty() {
            let which = usize::try_from(self.turn % processes.len() as u64).unwrap_or_default();
            self.turn = self.turn.rotate_right(1);
            let over = self.step(&mut processes, which);
            if let Some(exit) = over {
                let process = processes.remove(which);
                self.end(process, exit, quiet);
            }
        }
        // The run that created an upload sees its result at the next start.
        let (uploads, rest): (Vec<Late>, Vec<Late>) = self
            .late
            .drain(..)
            .partition(|late| matches!(late.action, RepairAction::CreateUpload(_)));
        self.late = rest;
        for late in uploads {
            self.land(&late);
        }
    }

    fn end(&mut self, process: Process, exit: Option<u8>, quiet: bool) {
        let bucket = &self.history.bucket;
        let mut offending = Vec::new();
        for (key, versions) in bucket.keys.iter().enumerate() {
            for version in versions {
                let is_its =
                    process.listed.contains(&version.serial) || version.author == process.author();
                if is_its && !version.marker && bucket.offends(&version.snapshot) {
                    offending.push((key, version.text()));
                }
            }
        }
        let uploads = bucket
            .uploads
            .iter()
            .filter(|it| it.host == process.host && it.author != Author::Other)
            .map(|it| (it.key, it.id.clone()))
            .collect();
        match exit {
            None => self.count("guard: kill -9"),
            Some(0) => self.count("exit: 0"),
            Some(69) => self.count("exit: 69"),
            Some(_) => self.count("exit: 75"),
        }
        for (_, end) in &process.ends {
            self.count(end_name(end));
        }
        for (_, why) in &process.named {
            self.count(named_name(why));
        }
        let number = process.number;
        let named = process.named.clone();
        self.trace(|it| {
            let exit = exit.map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
            format!("run {number} is over: {exit}, named {named:?}\n{}", it.history.bucket.text())
        });
        let by = process.author();
        let copies = self.history.bucket.keys.iter().flatten().filter(|it| it.author == by).count();
        self.history.runs.push(Ended {
            number,
            host: process.host,
            exit,
            named: process.named,
            listed: process.listed,
            ends: process.ends,
            quiet,
            offending,
            uploads,
            copies,
        });
    }

    /// One action of a run. Some: it has ended, with its exit code if it was not killed.
    #[expect(clippy::option_option, reason = "whether it is over, and whether it came to an end")]
    fn step(&mut self, processes: &mut [Process], which: usize) -> Option<Option<u8>> {
        self.history.ticks += 1;
        let process = &processes[which];
        if process.next == Next::Over || self.history.ticks > MOST {
            if self.history.ticks > MOST {
                self.history.broken.push((D, "a run does not end".to_owned()));
            }
            return Some(Some(process.exit()));
        }
        let purges = process.purging();
        let others = processes.iter().enumerate().filter(|(number, _)| *number != which);
        let mut others = others.map(|(_, other)| other);
        if purges.is_some()
            && others.any(|it| it.purging().is_none() && it.entry().map(|(key, _)| key) == purges)
        {
            return None;
        }
        if process.is_killed() {
            self.trace(|_| format!("kill -9 of run {}", process.number));
            return Some(None);
        }
        while let Some(index) = self.late.iter().position(|late| late.at <= self.history.ticks) {
            let late = self.late.remove(index);
            self.land(&late);
        }
        self.due(processes);
        self.jobs_go_on(processes);
        let process = &mut processes[which];
        let fault = process.fault();
        process.actions += 1;
        match process.next.clone() {
            Next::List => {
                let seen = !matches!(fault, Some(CallFault::Denied));
                self.trace(|_| format!("run {} lists the bucket: {seen}", process.number));
                process.list(&self.history.bucket, seen, &self.history.ledgers[process.host]);
            }
            Next::Scan(entry, is_latest) => {
                let answer = self.look(entry.0, entry.1.as_deref(), fault);
                self.trace(|_| {
                    format!("run {} scans {entry:?}: {}", process.number, look_text(&answer))
                });
                let host = process.host;
                process.scanned(entry, is_latest, answer, &mut self.history.ledgers[host]);
            }
            Next::Machine(key, action) => {
                let event = self.perform(process, key, &action, fault);
                let number = process.number;
                self.trace(|_| {
                    format!(
                        "run {number}, key {key}: {}: {}",
                        action_text(&action),
                        event_text(&event)
                    )
                });
                let host = process.host;
                process.told(event, &mut self.history.ledgers[host]);
            }
            Next::Over => {}
        }
        None
    }

    // ---- Acts of others ------------------------------------------------------------------------

    /// Performs the acts that are due and allowed now.
    fn due(&mut self, processes: &[Process]) {
        for (key, changed) in self.changed.iter_mut().enumerate() {
            let is_at_work = |process: &Process| process.entry().is_some_and(|(at, _)| at == key);
            *changed &= processes.iter().any(is_at_work);
        }
        let mut kept = Vec::new();
        while let Some(act) = self.acts.pop() {
            if act.tick > self.history.ticks {
                self.acts.push(act);
                break;
            }
            if self.may_act(&act, processes) {
                self.changed[act.key] |=
                    processes.iter().any(|process| is_write(&process.next, act.key))
                        && matches!(
                            act.act,
                            Act::Acl(..) | Act::Hold(..) | Act::Tags(_) | Act::Put(..)
                        );
                self.act(&act);
            } else {
                self.count("owner: waits for a round trip");
                kept.push(act);
            }
        }
        kept.reverse();
        self.acts.extend(kept);
    }

    fn may_act(&self, act: &ActAt, processes: &[Process]) -> bool {
        let bucket = &self.history.bucket;
        let versions = &bucket.keys[act.key];
        let of_key = |key: usize| key == act.key;
        let pending_write = |action: &RepairAction<()>| {
            matches!(action, RepairAction::Copy(_) | RepairAction::Complete(..))
        };
        let mut late = self.late.iter().any(|it| of_key(it.key) && pending_write(&it.action));
        let in_parts = self
            .late
            .iter()
            .any(|it| of_key(it.key) && matches!(it.action, RepairAction::Complete(..)));
        let mut gap = late;
        let mut gap_in_parts = in_parts;
        let mut removes = self
            .late
            .iter()
            .any(|it| of_key(it.key) && matches!(it.action, RepairAction::Delete(_)));
        // The properties of an old version are looked up two calls before it is removed.
        let purges = processes.iter().any(|process| process.purging() == Some(act.key));
        for process in processes {
            let Next::Machine(key, action) = &process.next else { continue };
            if !of_key(*key) {
                continue;
            }
            removes |= matches!(action, RepairAction::Delete(_));
            if pending_write(action) {
                let in_place = bucket.versioning == Versioning::Unversioned
                    || bucket.versioning == Versioning::Suspended;
                let dies = process.plan.kill.is_some_and(|kill| kill <= process.actions + 14);
                let unlearnt = process.fault().is_some()
                    || dies
                    || self
                        .history
                        .scenario
                        .waves
                        .iter()
                        .any(|wave| wave.runs.iter().flatten().any(|run| run.loses_ledger));
                gap |= in_place || unlearnt;
                late |= unlearnt;
                gap_in_parts |=
                    (in_place || unlearnt) && matches!(action, RepairAction::Complete(..));
            }
        }
        match act.act {
            Act::Acl(index, _) | Act::Hold(index, _) => {
                !(removes || purges || late || gap && index == 0) && index < versions.len()
            }
            Act::Tags(index) => !(removes || purges || late || gap_in_parts && index == 0),
            Act::Remove(_) | Act::Lifecycle => {
                let of_key = |process: &Process| matches!(process.next, Next::Machine(key, _) if key == act.key);
                let compares = processes.iter().any(|it| it.compares && of_key(it));
                let shows_older = gap && matches!(act.act, Act::Remove(0));
                !removes && !compares && !shows_older && !self.changed[act.key]
            }
            Act::Delete => !removes,
            Act::Put(put, stored) => {
                let Some(current) = versions.first().filter(|it| !it.marker) else {
                    return !gap || put == Put::New;
                };
                let written = self.written(act.key, put, stored).1;
                let same = put == Put::Same
                    || put == Put::NewMetadata
                        && !gap_in_parts
                        && written.grants == current.snapshot.grants
                        && written.headers == current.snapshot.headers
                        && written.storage_class == current.snapshot.storage_class
                        && written.lock == current.snapshot.lock;
                !removes && (!gap || put == Put::New || same)
            }
            Act::BeginUpload | Act::EndUploads => true,
        }
    }

    /// The object that a writer writes: bytes and properties.
    fn written(&self, key: usize, put: Put, stored: Stored) -> (u32, Snapshot) {
        let versions = &self.history.bucket.keys[key];
        let current = versions.iter().find(|version| !version.marker);
        let (content, mut snapshot) = match (put, current) {
            (Put::Same, Some(current)) => (current.content, current.snapshot.clone()),
            (Put::NewMetadata, Some(current)) => {
                let mut snapshot = template(current.snapshot.size, None);
                snapshot.metadata.insert("m".to_owned(), "new".to_owned());
                snapshot.tags.insert("t".to_owned(), "new".to_owned());
                (current.content, snapshot)
            }
            _ => (self.next_content, template(5, None)),
        };
        let of = template(0, algorithm(stored));
        snapshot.algorithm = of.algorithm;
        snapshot.key = of.key;
        (content, snapshot)
    }

    fn act(&mut self, act: &ActAt) {
        let key = act.key;
        self.count(act_name(act.act));
        self.history.disturbed[key] = true;
        match act.act {
            Act::Put(put, stored) => {
                let (content, snapshot) = self.written(key, put, stored);
                self.next_content += 1;
                let bucket = &mut self.history.bucket;
                bucket.write(key, content, &snapshot);
                let equal = match bucket.keys[key].as_slice() {
                    [written, below, ..] => {
                        bucket.defect(Some(below), written) == Defect::default()
                    }
                    _ => put == Put::Same,
                };
                if let Some(written) = bucket.keys[key].first_mut() {
                    written.equal = equal || put == Put::Same;
                }
            }
            Act::Delete => self.history.bucket.delete(key),
            Act::Remove(index) => {
                let bucket = &mut self.history.bucket;
                let locked = bucket.keys[key].get(index).is_some_and(|it| bucket.is_locked(it));
                if index < bucket.keys[key].len() && !locked {
                    bucket.keys[key].remove(index);
                }
            }
            Act::Acl(index, public) => self.change(key, index, |snapshot| {
                snapshot.grants.truncate(1);
                if public {
                    snapshot.grants.push(("uri=AllUsers".to_owned(), "READ".to_owned()));
                }
            }),
            Act::Tags(index) => self.change(key, index, |snapshot| {
                snapshot.tags.insert("t".to_owned(), "owner".to_owned());
            }),
            Act::Hold(index, hold) => {
                if self.history.bucket.versioning != Versioning::Unversioned {
                    self.change(key, index, |snapshot| snapshot.lock.legal_hold = hold);
                }
            }
            Act::Lifecycle => {
                let bucket = &mut self.history.bucket;
                let now = bucket.now;
                let mut index = 0;
                bucket.keys[key].retain(|version| {
                    index += 1;
                    index == 1 || version.snapshot.lock.protects(now)
                });
            }
            Act::BeginUpload => self.history.bucket.begin_foreign_upload(key),
            Act::EndUploads => {
                self.history.bucket.uploads.retain(|it| it.author != Author::Other);
            }
        }
        self.trace(|it| {
            let versions: Vec<String> =
                it.history.bucket.keys[key].iter().map(Version::text).collect();
            format!("somebody else, key {key}: {:?} → {versions:?}", act.act)
        });
    }

    fn change(&mut self, key: usize, index: usize, change: impl FnOnce(&mut Snapshot)) {
        if let Some(version) = self.history.bucket.keys[key].get_mut(index)
            && !version.marker
        {
            let before = version.snapshot.clone();
            change(&mut version.snapshot);
            version.touched |= version.snapshot != before;
        }
        // A copy no longer lacks a property once its owner has made both alike.
        let bucket = &mut self.history.bucket;
        let Some(changed) = bucket.keys[key].get(index).cloned() else { return };
        for number in 0..bucket.keys[key].len() {
            let copy = &bucket.keys[key][number];
            if copy.source == Some(changed.serial)
                && bucket.defect(Some(&changed), copy) == Defect::default()
            {
                bucket.keys[key][number].defect = Defect::default();
            }
        }
    }

    // ---- S3 ------------------------------------------------------------------------------------

    fn look(&mut self, key: usize, id: Option<&str>, fault: Option<CallFault>) -> LookAnswer<()> {
        // The client retries a look-up; only denied access fails permanently.
        if matches!(fault, Some(CallFault::Denied)) {
            self.count("fault: a look is denied");
            return LookAnswer::Failed(());
        }
        let bucket = &self.history.bucket;
        match bucket.find(key, id) {
            None => LookAnswer::Absent,
            Some(version) => LookAnswer::Seen(Box::new(ObservedObject {
                snapshot: version.snapshot.clone(),
                offends: bucket.offends(&version.snapshot),
                loss: None,
                now: bucket.now,
            })),
        }
    }

    fn perform(
        &mut self,
        process: &Process,
        key: usize,
        action: &RepairAction<()>,
        fault: Option<CallFault>,
    ) -> RepairEvent<()> {
        self.history.bucket.now += 20;
        let denied = matches!(fault, Some(CallFault::Denied));
        self.count(action_name(action));
        match action {
            RepairAction::Wait(_) | RepairAction::BackOff(_) => {
                self.history.bucket.now += 300;
                RepairEvent::Over
            }
            RepairAction::Look(id) => RepairEvent::Looked(self.look(key, id.as_deref(), fault)),
            RepairAction::List if denied => RepairEvent::Listed(Err(())),
            RepairAction::List => {
                let list = |version: &Version| ListedVersion {
                    id: version.id().to_owned(),
                    is_marker: version.marker,
                };
                RepairEvent::Listed(Ok(self.history.bucket.keys[key].iter().map(list).collect()))
            }
            RepairAction::ListUploads if denied => RepairEvent::Uploads(Err(())),
            RepairAction::ListUploads => {
                let of_key = self.history.bucket.uploads.iter().filter(|it| it.key == key);
                RepairEvent::Uploads(Ok(of_key
                    .map(|it| UnfinishedUpload { id: it.id.clone(), initiated: it.initiated })
                    .collect()))
            }
            RepairAction::Write(state) => {
                if let Some(entry) = process.entry() {
                    self.history.ledgers[process.host].insert(entry, state.clone());
                }
                RepairEvent::Over
            }
            RepairAction::Forget => {
                if let Some(entry) = process.entry() {
                    self.history.ledgers[process.host].remove(&entry);
                }
                RepairEvent::Over
            }
            RepairAction::Restore(_) => {
                RepairEvent::Answered(CallAnswer::Done(MadeObject::default()))
            }
            RepairAction::End(_) => RepairEvent::Over,
            call => RepairEvent::Answered(self.called(process, key, call, fault)),
        }
    }

    /// A call that changes something, with its possible fault.
    fn called(
        &mut self,
        process: &Process,
        key: usize,
        action: &RepairAction<()>,
        fault: Option<CallFault>,
    ) -> CallAnswer {
        let late = |at| Late {
            at,
            key,
            action: action.clone(),
            run: process.number,
            host: process.host,
            overwrites: process.plan.overwritten,
            purge: process.plan.purge,
        };
        let unclear = || CallAnswer::Unclear("no answer".to_owned());
        let Some(fault) = fault else { return self.land(&late(0)) };
        match fault {
            CallFault::Lost => {
                self.count("fault: the answer is lost");
                self.land(&late(0));
                unclear()
            }
            CallFault::Late(after) => {
                self.count("fault: done late");
                self.late.push(late(self.history.ticks + after));
                unclear()
            }
            CallFault::Error => {
                self.count("fault: not done");
                unclear()
            }
            CallFault::SlowDown(done) => {
                self.count(if done { "fault: slow down, but done" } else { "fault: slow down" });
                if done {
                    self.land(&late(0));
                }
                CallAnswer::SlowDown
            }
            CallFault::Hollow => match action {
                RepairAction::Update(_) | RepairAction::Copy(_) | RepairAction::Delete(_) => {
                    self.count("fault: said to be done, but is not");
                    CallAnswer::Done(MadeObject::default())
                }
                _ => self.land(&late(0)),
            },
            CallFault::Denied => {
                self.count("fault: denied");
                CallAnswer::Refused("AccessDenied".to_owned())
            }
        }
    }

    /// A call takes effect.
    fn land(&mut self, late: &Late) -> CallAnswer {
        let Late { key, run, host, overwrites, purge, .. } = *late;
        let bucket = &mut self.history.bucket;
        let mut upload = None;
        let (copied, broken) = match &late.action {
            RepairAction::Copy(order) => bucket.copy(key, order, run, overwrites),
            RepairAction::Update(id) => (bucket.update(key, id.as_deref()), Vec::new()),
            RepairAction::CreateUpload(order) => {
                upload = Some(bucket.create_upload(key, order, run, host));
                (Copied::Made(0), Vec::new())
            }
            RepairAction::CopyParts(id, order) => (bucket.copy_parts(id, order), Vec::new()),
            RepairAction::Complete(id, order, parts) => {
                bucket.complete(id, order, *parts, run, overwrites)
            }
            RepairAction::Abort(id) => {
                let before = bucket.uploads.len();
                bucket.uploads.retain(|it| it.id != *id);
                let is_gone = bucket.uploads.len() < before;
                (if is_gone { Copied::Made(0) } else { Copied::NoUpload }, Vec::new())
            }
            RepairAction::Delete(id) => bucket.remove(key, id, (purge, overwrites)),
            _ => (Copied::Made(0), Vec::new()),
        };
        self.history.broken.extend(broken);
        let is_write = matches!(late.action, RepairAction::Copy(_) | RepairAction::Complete(..));
        if late.at > 0 {
            self.trace(|it| {
                let versions: Vec<String> =
                    it.history.bucket.keys[key].iter().map(Version::text).collect();
                format!(
                    "a call of run {run} takes effect late: {}: {copied:?} → {versions:?}",
                    action_text(&late.action)
                )
            });
        }
        match copied {
            Copied::Made(_) if is_write => self.made(key),
            Copied::Made(_) => CallAnswer::Done(MadeObject { upload, ..MadeObject::default() }),
            Copied::Precondition => CallAnswer::Changed,
            Copied::NoUpload => CallAnswer::NoUpload,
            Copied::Refused(why) => CallAnswer::Refused(why.to_owned()),
        }
    }

    fn made(&mut self, key: usize) -> CallAnswer {
        let Some(version) = self.history.bucket.keys[key].first() else {
            return CallAnswer::Changed;
        };
        if let Some(source) = version.source {
            *self.history.copies.entry(source).or_default() += 1;
        }
        let defect = version.defect.clone();
        let is_null = version.id() == NULL && version.snapshot.version.is_some();
        let made = MadeObject {
            version: version.snapshot.version.clone(),
            etag: Some(version.snapshot.etag.clone()),
            modified: Some(version.snapshot.modified),
            source: self.history.bucket.copied.clone(),
            upload: None,
        };
        if !defect.lost.is_empty() {
            self.count("copy: not all that it was made over");
        }
        if is_null {
            self.count("copy: writes the version null");
        }
        CallAnswer::Done(made)
    }
}

/// Whether a run is about to write to a key.
fn is_write(next: &Next, of: usize) -> bool {
    matches!(
        next,
        Next::Machine(key, RepairAction::Copy(_) | RepairAction::Complete(..)) if *key == of
    )
}

/// Law (d).
pub const D: &str = "(d) runs converge, with one copy of each object";

fn look_text(answer: &LookAnswer<()>) -> String {
    match answer {
        LookAnswer::Seen(seen) => format!(
            "{} {} modified {}",
            seen.snapshot.id(),
            if seen.offends { "offends" } else { "as required" },
            seen.snapshot.modified % 10_000_000
        ),
        LookAnswer::Absent => "absent".to_owned(),
        LookAnswer::Failed(()) => "not seen".to_owned(),
    }
}

fn action_text(action: &RepairAction<()>) -> String {
    match action {
        RepairAction::Copy(_) => "copy".to_owned(),
        RepairAction::CreateUpload(_) => "create an upload".to_owned(),
        RepairAction::CopyParts(upload, _) => format!("copy the parts of {upload}"),
        RepairAction::Complete(upload, ..) => format!("complete {upload}"),
        RepairAction::Write(state) => {
            let text = format!("{state:?}");
            format!("ledger: {}", text.split('{').next().unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

fn event_text(event: &RepairEvent<()>) -> String {
    match event {
        RepairEvent::Looked(answer) => look_text(answer),
        RepairEvent::Listed(Ok(versions)) => {
            let ids: Vec<&str> = versions.iter().map(|it| it.id.as_str()).collect();
            format!("{ids:?}")
        }
        RepairEvent::Answered(CallAnswer::Done(made)) => {
            format!("done {:?}{:?}", made.version, made.upload)
        }
        other => format!("{other:?}"),
    }
}

fn act_name(act: Act) -> &'static str {
    match act {
        Act::Put(Put::New, _) => "writer: other bytes",
        Act::Put(Put::NewMetadata, _) => "writer: equal bytes, other metadata",
        Act::Put(Put::Same, _) => "writer: all equal",
        Act::Delete => "deleter: deletes the key",
        Act::Remove(_) => "deleter: removes a version",
        Act::Acl(_, true) => "owner: makes public",
        Act::Acl(_, false) => "owner: makes private",
        Act::Tags(_) => "owner: tags",
        Act::Hold(..) => "owner: legal hold",
        Act::Lifecycle => "lifecycle",
        Act::BeginUpload => "writer: begins an upload",
        Act::EndUploads => "writer: ends uploads",
    }
}

fn action_name(action: &RepairAction<()>) -> &'static str {
    match action {
        RepairAction::Wait(_) => "action: wait",
        RepairAction::Look(_) => "action: look",
        RepairAction::List => "action: list versions",
        RepairAction::ListUploads => "action: list uploads",
        RepairAction::Write(_) => "action: write the ledger",
        RepairAction::Forget => "action: forget",
        RepairAction::Copy(_) => "action: copy",
        RepairAction::Update(_) => "action: update",
        RepairAction::CreateUpload(_) => "action: create an upload",
        RepairAction::CopyParts(..) => "action: copy parts",
        RepairAction::Complete(_, _, true) => "action: complete with the parts' checksums",
        RepairAction::Complete(_, _, false) => "action: complete",
        RepairAction::Abort(_) => "action: abort",
        RepairAction::Delete(_) => "action: delete a version",
        RepairAction::Restore(_) => "action: restore",
        RepairAction::BackOff(_) => "action: back off",
        RepairAction::End(_) => "action: end",
    }
}

fn end_name(end: &RepairEnd<()>) -> &'static str {
    match end {
        RepairEnd::Done(..) => "end: done",
        RepairEnd::Purged => "end: purged",
        RepairEnd::Restoring => "end: restoring",
        RepairEnd::Nothing => "end: nothing",
        RepairEnd::Left(_) => "end: left",
        RepairEnd::Changed => "end: changed",
        RepairEnd::Damaged { .. } => "end: damaged",
        RepairEnd::Failed(_) => "end: failed",
        RepairEnd::UploadLeft(_) => "end: upload left",
        RepairEnd::Unseen(()) => "end: unseen",
    }
}

fn named_name(why: &str) -> &'static str {
    match why {
        "left: OldVersion" => "left: old version",
        "left: LockedVersion" => "left: locked version",
        "left: NullVersion" => "left: null version",
        "left: WouldReplaceVersion" => "left: would replace a version",
        "left: UnknownUpload" => "left: unknown upload",
        _ => "left: another reason",
    }
}

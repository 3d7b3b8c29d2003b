//! One run of `reencrypt`: it finishes what an earlier run started, lists and looks up the bucket's
//! objects, repairs the planned ones, and purges old versions. It performs the state machine's
//! actions as the guard's driver does, one at a time.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "mutants")]
use crate::reencrypt::machine::mutants::RepairMutant;
use crate::{
    objects::{
        bucket::{Author, Bucket},
        scenario::{CallFault, RunPlan},
    },
    reencrypt::machine::{
        choice::{Choice, LeaveReason, ObjectState, RequestedEncryption, choose},
        event::{
            LookAnswer, ObservedObject, RepairAction, RepairEnd, RepairEvent, ReplacedVersion,
        },
        plan::ObjectPlan,
        repair::ObjectRepair,
        snapshot::NULL,
        state::{RepairState, TargetEncryption},
        versioning::Versioning,
    },
};

/// An entry's name: the key's number, and the version.
pub type Entry = (usize, Option<String>);

/// A host's ledger.
pub type Ledger = BTreeMap<Entry, RepairState>;

/// The current phase.
#[derive(Debug)]
enum Phase {
    Resume,
    List,
    Scan,
    Repair,
    Purge,
    Over,
}

/// The next action, of the state machine or of the scan.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The state machine's action, on this key.
    Machine(usize, RepairAction<()>),
    /// The bucket is listed.
    List,
    /// A version is looked at.
    Scan(Entry, bool),
    /// It is over.
    Over,
}

/// One run.
#[derive(Debug)]
pub struct Process {
    /// Its number among all runs.
    pub number: usize,
    /// Its host's.
    pub host: usize,
    /// Its decisions.
    pub plan: RunPlan,
    /// The number of its actions.
    pub actions: u32,
    /// Its next action.
    pub next: Next,
    /// The writes that it has listed.
    pub listed: BTreeSet<u64>,
    /// It is comparing versions.
    pub compares: bool,
    /// What it reports: the key, and why.
    pub named: BTreeSet<(usize, String)>,
    /// A look-up failed.
    pub unseen: bool,
    /// How its repairs ended.
    pub ends: Vec<(usize, RepairEnd<()>)>,
    versioning: Versioning,
    wish: RequestedEncryption,
    target: TargetEncryption,
    phase: Phase,
    queue: Vec<(Entry, bool)>,
    entries: Vec<Entry>,
    machine: Option<(Entry, ObjectRepair<()>)>,
    #[cfg(feature = "mutants")]
    mutant: Option<RepairMutant>,
}

impl Process {
    /// A run that starts now.
    #[must_use]
    pub fn new(
        (number, host): (usize, usize),
        plan: RunPlan,
        bucket: &Bucket,
        updatable: bool,
        ledger: &mut Ledger,
        #[cfg(feature = "mutants")] mutant: Option<RepairMutant>,
    ) -> Self {
        // Plans are made again; verified results stay.
        let kept: Ledger = ledger
            .iter()
            .filter_map(|(entry, state)| Some((entry.clone(), state.kept_by_next_run()?)))
            .collect();
        *ledger = kept;
        let wish = RequestedEncryption {
            updatable: bucket.kms && updatable,
            restore: false,
            purge: plan.purge,
            purge_overwritten: plan.overwritten,
        };
        let mut process = Self {
            number,
            host,
            actions: 0,
            next: Next::List,
            listed: BTreeSet::new(),
            compares: false,
            named: BTreeSet::new(),
            unseen: false,
            ends: Vec::new(),
            versioning: bucket.versioning,
            wish,
            target: TargetEncryption {
                algorithm: bucket.target().to_owned(),
                key: bucket.kms.then(|| crate::objects::bucket::KEY.to_owned()),
                bucket_key: false,
            },
            phase: Phase::Resume,
            queue: Vec::new(),
            entries: ledger.keys().cloned().rev().collect(),
            machine: None,
            plan,
            #[cfg(feature = "mutants")]
            mutant,
        };
        process.go_on(ledger);
        process
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match (self.unseen, self.named.is_empty()) {
            (true, _) => 69,
            (false, false) => 75,
            (false, true) => 0,
        }
    }

    /// The fault of the next action.
    #[must_use]
    pub fn fault(&self) -> Option<CallFault> {
        let found = self.plan.faults.iter().find(|(number, _)| *number == self.actions);
        found.map(|(_, fault)| *fault)
    }

    /// Whether the run is killed before its next action.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.plan.kill == Some(self.actions)
    }

    /// Passes an event to its state machine.
    pub fn told(&mut self, event: RepairEvent<()>, ledger: &mut Ledger) {
        let Some((entry, machine)) = &mut self.machine else { return };
        let key = entry.0;
        let is_look = |next: &Next| matches!(next, Next::Machine(_, RepairAction::Look(Some(_))));
        let had_looked = is_look(&self.next);
        self.compares = false;
        match machine.next(event) {
            RepairAction::End(end) => {
                self.ended(key, end);
                self.machine = None;
                self.go_on(ledger);
            }
            action => {
                self.next = Next::Machine(key, action);
                self.compares = had_looked && is_look(&self.next);
            }
        }
    }

    /// The entry that the state machine works on.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        self.machine.as_ref().map(|(entry, _)| entry.clone())
    }

    fn ended(&mut self, key: usize, end: RepairEnd<()>) {
        let why = match &end {
            RepairEnd::Done(_, Some(ReplacedVersion::Left(reason))) | RepairEnd::Left(reason) => {
                Some(format!("left: {reason:?}"))
            }
            RepairEnd::Done(..) | RepairEnd::Purged | RepairEnd::Nothing => None,
            RepairEnd::Restoring => Some("restoring".to_owned()),
            RepairEnd::Changed => Some("changed".to_owned()),
            RepairEnd::Damaged { .. } => Some("damaged".to_owned()),
            RepairEnd::Failed(_) => Some("failed".to_owned()),
            RepairEnd::UploadLeft(upload) => Some(format!("upload {upload}")),
            RepairEnd::Unseen(()) => {
                self.unseen = true;
                Some("unseen".to_owned())
            }
        };
        self.named.extend(why.map(|why| (key, why)));
        self.ends.push((key, end));
    }

    fn start(&mut self, entry: Entry, state: RepairState) {
        let plan = ObjectPlan {
            target: self.target.clone(),
            wish: self.wish,
            versioning: self.versioning,
            #[cfg(feature = "mutants")]
            mutant: self.mutant,
        };
        let mut machine = ObjectRepair::new(plan, entry.1.clone(), state);
        let action = machine.next(RepairEvent::Started);
        self.next = Next::Machine(entry.0, action);
        self.machine = Some((entry, machine));
    }

    /// Continues after a finished phase.
    fn go_on(&mut self, ledger: &Ledger) {
        loop {
            if let Next::Machine(key, RepairAction::End(end)) = self.next.clone()
                && self.machine.take().is_some()
            {
                self.ended(key, end);
            }
            match self.phase {
                Phase::Resume | Phase::Repair | Phase::Purge => {
                    let Some(entry) = self.entries.pop() else {
                        self.next_phase(ledger);
                        if matches!(self.phase, Phase::List | Phase::Over) {
                            return;
                        }
                        continue;
                    };
                    let Some(state) = ledger.get(&entry).cloned() else { continue };
                    if self.is_turn(&state) {
                        self.start(entry, state);
                        if !matches!(self.next, Next::Machine(_, RepairAction::End(_))) {
                            return;
                        }
                    }
                }
                Phase::List => return,
                Phase::Scan => match self.queue.pop() {
                    Some((entry, is_latest)) => {
                        self.next = Next::Scan(entry, is_latest);
                        return;
                    }
                    None => self.next_phase(ledger),
                },
                Phase::Over => return,
            }
        }
    }

    fn is_turn(&self, state: &RepairState) -> bool {
        match self.phase {
            Phase::Resume => state.is_unfinished(),
            Phase::Repair => matches!(
                state,
                RepairState::Planned { choice: Choice::Do(_) | Choice::Restore, .. }
            ),
            _ => matches!(state, RepairState::Planned { choice: Choice::Purge, .. }),
        }
    }

    fn next_phase(&mut self, ledger: &Ledger) {
        self.entries = ledger.keys().cloned().rev().collect();
        self.phase = match self.phase {
            Phase::Resume => {
                self.next = Next::List;
                Phase::List
            }
            Phase::List | Phase::Scan => Phase::Repair,
            Phase::Repair => Phase::Purge,
            Phase::Purge | Phase::Over => {
                self.next = Next::Over;
                Phase::Over
            }
        };
    }

    /// Handles the listing of the bucket; false: it failed.
    pub fn list(&mut self, bucket: &Bucket, seen: bool, ledger: &Ledger) {
        self.phase = Phase::Scan;
        self.unseen |= !seen;
        if seen {
            for (key, versions) in bucket.keys.iter().enumerate() {
                let is_versioned = self.versioning != Versioning::Unversioned;
                let count = if is_versioned { versions.len() } else { versions.len().min(1) };
                for (index, version) in versions.iter().take(count).enumerate() {
                    if version.marker {
                        continue;
                    }
                    self.listed.insert(version.serial);
                    let id = is_versioned.then(|| version.id().to_owned());
                    self.queue.push(((key, id), index == 0));
                }
            }
            self.queue.reverse();
        }
        self.go_on(ledger);
    }

    /// Handles the look-up of a listed version.
    pub fn scanned(
        &mut self,
        entry: Entry,
        is_latest: bool,
        answer: LookAnswer<()>,
        ledger: &mut Ledger,
    ) {
        match answer {
            LookAnswer::Failed(()) => self.unseen = true,
            LookAnswer::Absent => {}
            LookAnswer::Seen(seen) => self.judge(entry, is_latest, &seen, ledger),
        }
        self.go_on(ledger);
    }

    fn judge(&mut self, entry: Entry, is_latest: bool, seen: &ObservedObject, ledger: &mut Ledger) {
        let known = ledger.get(&entry);
        let made = known.and_then(|state| state.made().map(str::to_owned));
        let state = ObjectState {
            customer_key: false,
            has_data_key: seen.snapshot.has_data_key(),
            size: seen.snapshot.size,
            is_latest,
            archive: seen.snapshot.archive,
            locked: seen.snapshot.lock.protects(seen.now),
            loss: None,
            replaced: made.is_some(),
            null: seen.snapshot.id() == NULL,
        };
        let mut choice = choose(&state, seen.offends, self.wish);
        #[cfg(feature = "mutants")]
        {
            let purges = match self.mutant {
                Some(RepairMutant::PurgesUnproved) => self.wish.purge,
                Some(RepairMutant::NullIsPurged) => self.wish.purge && made.is_some(),
                _ => false,
            };
            let is_old =
                matches!(choice, Choice::Leave(LeaveReason::OldVersion | LeaveReason::NullVersion));
            if purges && is_old {
                choice = Choice::Purge;
            }
        }
        match choice {
            Choice::Nothing => {}
            Choice::Leave(reason) => {
                self.named.insert((entry.0, format!("left: {reason:?}")));
            }
            choice => {
                let other = known.and_then(|it| it.belongs_to(entry.1.as_deref()));
                if let (Some(other), Some(state)) = (other, known) {
                    // A `null` id that another write has taken over.
                    let (place, state) = ((entry.0, Some(other.to_owned())), state.clone());
                    ledger.insert(place, state);
                    ledger.remove(&entry);
                }
                let known = ledger.get(&entry);
                // An entry that could not be finished was reported, and its data stay.
                if known.is_none_or(RepairState::gives_way) {
                    let size = seen.snapshot.size;
                    ledger.insert(entry, RepairState::Planned { choice, size, is_latest, made });
                }
            }
        }
    }

    /// The key whose version it purges.
    #[must_use]
    pub fn purging(&self) -> Option<usize> {
        let is_purge = matches!(self.phase, Phase::Purge);
        self.machine.as_ref().filter(|_| is_purge).map(|(entry, _)| entry.0)
    }

    /// The writes of this run.
    #[must_use]
    pub fn author(&self) -> Author {
        Author::Guard(self.number)
    }
}

//! The repair of one object. The object is looked up, the change is written to the ledger, the
//! object is looked up again immediately before the call, and verified by another look-up before
//! the change counts.
//!
//! One action at a time is outstanding. An object without versions is overwritten by its copy. One
//! with versions gets a new version, which is compared with the current state of the one that it
//! replaces, and removed if it would hide another writer's version.

use std::{collections::VecDeque, mem};

use crate::reencrypt::machine::{
    choice::{self, Choice, LeaveReason, ObjectState, RepairMethod},
    event::{
        CallAnswer, CopyOrder, ListedVersion, LookAnswer, MadeObject, ObservedObject, RepairAction,
        RepairEnd, RepairEvent, ReplacedVersion, UnfinishedUpload,
    },
    mutants::mutated,
    plan::ObjectPlan,
    snapshot::{NULL, Snapshot, losses},
    state::{RepairState, TargetEncryption},
    verdict::{self, Comparison, CopyVerdict},
    versioning::Versioning,
};

/// How often a call without a response is sent.
const ATTEMPTS: u32 = 6;
/// How often a repair starts again because the object was changed meanwhile.
const ROUNDS: u32 = 5;
/// How often an abort or a removal without a response is sent.
const CLEAN_UPS: u32 = 3;
/// How many versions between a copy and the planned one are looked up.
const MOST_BETWEEN: usize = 4;
/// S3 returns some times in whole seconds.
const SECOND: i64 = 1000;

/// What the ledger keeps at the end.
#[derive(Clone, Debug)]
enum LedgerChange {
    Keep,
    Forget,
    Write(RepairState),
}

/// The next step after an upload is aborted.
#[derive(Clone, Debug)]
enum AfterAbort<O> {
    Begin(Box<ObservedObject>),
    Close(LedgerChange, RepairEnd<O>),
}

/// The response that is awaited.
#[derive(Debug)]
enum Step<O> {
    Start,
    Paced,
    First,
    NullLook,
    NullList(Box<ObservedObject>),
    Noted,
    Second,
    PacedLate,
    Called,
    Creating,
    NewUploads(String),
    ResumedUploads,
    Uploading,
    Parts,
    BackedOff,
    After,
    Versions,
    Comparing(Comparison),
    TakingBack(Box<Snapshot>, Vec<String>, u32),
    TakenBack(Box<Snapshot>, Vec<String>, u32),
    StillThere(Box<Snapshot>, Vec<String>, u32),
    ChangedVersions,
    ChangedOld,
    ChangedNew,
    Aborting(AfterAbort<O>, u32),
    Closing(RepairEnd<O>),
    DamageLook(Box<Snapshot>, Vec<String>, bool),
    RestoreCall,
    PurgeVersions,
    PurgeOld(Option<String>),
    PurgeNewer(Box<ObservedObject>),
    PurgeCall,
    PurgeGone(u32),
    Ended,
}

/// The repair of one object.
#[derive(Debug)]
pub struct ObjectRepair<O> {
    plan: ObjectPlan,
    /// The planned version; none: the current object in a bucket without versions.
    version: Option<String>,
    is_latest: bool,
    state: RepairState,
    step: Step<O>,
    method: RepairMethod,
    before: Option<Box<Snapshot>>,
    /// S3's time when it was started, and its latest one.
    since: i64,
    now: i64,
    upload: Option<String>,
    /// What S3 returned about the copy.
    made: Option<MadeObject>,
    tries: u32,
    rounds: u32,
    /// A call had no response: it may have taken effect, or may do so later.
    is_unclear: bool,
    /// The result of an earlier run's change is being looked up.
    is_resuming: bool,
    trouble: String,
}

impl<O> ObjectRepair<O> {
    /// A repair that has not started: of this version, or of the current object if none, with this
    /// earlier state.
    pub fn new(plan: ObjectPlan, version: Option<String>, state: RepairState) -> Self {
        let version = match plan.versioning {
            Versioning::Unversioned => None,
            _ => Some(version.unwrap_or_else(|| NULL.to_owned())),
        };
        let is_latest = match &state {
            RepairState::Planned { is_latest, .. } | RepairState::Begun { is_latest, .. } => {
                *is_latest
            }
            _ => true,
        };
        Self {
            plan,
            version,
            is_latest,
            state,
            step: Step::Start,
            method: RepairMethod::Copy,
            before: None,
            since: 0,
            now: 0,
            upload: None,
            made: None,
            tries: 0,
            rounds: 0,
            is_unclear: false,
            is_resuming: false,
            trouble: String::new(),
        }
    }

    /// Handles an event and returns the next action. After [`RepairAction::End`] the repair is
    /// finished.
    pub fn next(&mut self, event: RepairEvent<O>) -> RepairAction<O> {
        let step = mem::replace(&mut self.step, Step::Ended);
        match event {
            RepairEvent::Started => self.start(),
            RepairEvent::Over => self.over(step),
            RepairEvent::Looked(LookAnswer::Failed(obstacle)) => self.unseen(obstacle),
            RepairEvent::Looked(LookAnswer::Absent) => self.absent(step),
            RepairEvent::Looked(LookAnswer::Seen(seen)) => self.seen(step, seen),
            RepairEvent::Listed(Err(obstacle)) | RepairEvent::Uploads(Err(obstacle)) => {
                self.unseen(obstacle)
            }
            RepairEvent::Listed(Ok(versions)) => self.listed(step, &versions),
            RepairEvent::Uploads(Ok(uploads)) => self.uploads(step, &uploads),
            RepairEvent::Answered(answer) => self.answered(step, answer),
        }
    }

    // ---- Start ---------------------------------------------------------------------------------

    fn start(&mut self) -> RepairAction<O> {
        let bytes = match self.state.clone() {
            RepairState::Planned { choice: Choice::Do(RepairMethod::Copy), size, .. } => size,
            RepairState::Planned { .. }
            | RepairState::Damaged { .. }
            | RepairState::Stray { .. } => 0,
            RepairState::Begun { method, before, upload, since, made, .. } => {
                self.method = method;
                self.upload = upload;
                self.since = since;
                self.made =
                    made.map(|made| MadeObject { version: Some(made), ..MadeObject::default() });
                self.is_resuming = true;
                let bytes = if method == RepairMethod::Copy { before.size } else { 0 };
                self.before = Some(before);
                bytes
            }
            RepairState::Done { .. } | RepairState::Purged { .. } => {
                return self.end(RepairEnd::Nothing);
            }
        };
        if mutated!(self.plan, WaitsAfterLooking) {
            return self.paced();
        }
        // The wait comes before the look-up, so that the observed state is recent.
        self.step = Step::Paced;
        RepairAction::Wait(bytes)
    }

    fn paced(&mut self) -> RepairAction<O> {
        match self.state.clone() {
            RepairState::Planned { choice: Choice::Purge, made, .. } => self.purge(made),
            RepairState::Planned { .. } => self.look_first(),
            RepairState::Begun { method, before, .. } => {
                if mutated!(self.plan, BegunIsDone) {
                    return self.done(None, None);
                }
                if mutated!(self.plan, EarlierSightRestored) {
                    self.is_resuming = false;
                    self.before = Some(before);
                    return self.prepare();
                }
                if method == RepairMethod::CopyInParts && self.upload.is_none() {
                    self.step = Step::ResumedUploads;
                    return RepairAction::ListUploads;
                }
                self.verify()
            }
            RepairState::Damaged { left, losses, encryption_differs } => {
                let version = self.version.as_ref().map(|_| left.id().to_owned());
                self.look(version, Step::DamageLook(left, losses, encryption_differs))
            }
            RepairState::Stray { upload } => {
                self.upload = Some(upload);
                self.close(LedgerChange::Forget, RepairEnd::Nothing)
            }
            RepairState::Done { .. } | RepairState::Purged { .. } => self.end(RepairEnd::Nothing),
        }
    }

    /// The version that a look-up of the planned object requests: an old one by its id, the latest
    /// as the current object.
    fn planned(&self) -> Option<String> {
        if self.is_latest { None } else { self.version.clone() }
    }

    fn look_first(&mut self) -> RepairAction<O> {
        let planned = self.planned();
        self.look(planned, Step::First)
    }

    /// Handles the first look-up: decides what to do.
    fn first(&mut self, seen: Box<ObservedObject>) -> RepairAction<O> {
        if self.is_other_version(&seen.snapshot) {
            return self.changed();
        }
        if self.upload.is_some() {
            // Versioning may have been suspended since: then the versions are listed first.
            let is_ours = matches!(&self.state, RepairState::Begun { target, .. }
                if *target == self.plan.target)
                && !self.may_replace();
            if is_ours && self.before.as_ref().is_some_and(|before| before.is_same(&seen.snapshot))
            {
                self.is_resuming = false;
                return self.prepare();
            }
            return self.abort(AfterAbort::Begin(seen));
        }
        self.begin(seen)
    }

    fn is_other_version(&self, seen: &Snapshot) -> bool {
        self.version.as_deref().is_some_and(|planned| seen.id() != planned)
    }

    fn begin(&mut self, seen: Box<ObservedObject>) -> RepairAction<O> {
        self.is_resuming = false;
        let state = ObjectState {
            customer_key: false,
            has_data_key: seen.snapshot.has_data_key(),
            size: seen.snapshot.size,
            is_latest: self.is_latest,
            archive: seen.snapshot.archive,
            locked: seen.snapshot.lock.protects(seen.now),
            loss: seen.loss,
            replaced: false,
            null: seen.snapshot.id() == NULL,
        };
        match choice::choose(&state, seen.offends, self.plan.wish) {
            Choice::Do(method) => {
                self.method = method;
                if method != RepairMethod::Update && self.may_replace() {
                    self.step = Step::NullList(seen);
                    return RepairAction::List;
                }
                self.note(seen)
            }
            Choice::Nothing => self.close(LedgerChange::Forget, RepairEnd::Nothing),
            Choice::Restore => {
                self.step = Step::RestoreCall;
                RepairAction::Restore(self.version.clone())
            }
            Choice::Purge => {
                self.close(LedgerChange::Forget, RepairEnd::Left(LeaveReason::OldVersion))
            }
            Choice::Leave(reason) => self.close(LedgerChange::Forget, RepairEnd::Left(reason)),
        }
    }

    /// Whether a copy would write the version `null` while another version is planned.
    fn may_replace(&self) -> bool {
        self.plan.versioning == Versioning::Suspended
            && self.version.as_deref() != Some(NULL)
            && !mutated!(self.plan, SuspendedIsEnabled)
    }

    /// Handles the listing in a bucket with suspended versioning: a copy writes the version `null`,
    /// and one may exist.
    fn other_null(
        &mut self,
        seen: Box<ObservedObject>,
        versions: &[ListedVersion],
    ) -> RepairAction<O> {
        match versions.iter().find(|version| version.id == NULL) {
            None => self.note(seen),
            Some(_) if !self.plan.wish.purge_overwritten => self.would_replace(),
            Some(null) if null.is_marker => self.note(seen),
            Some(_) => {
                self.before = Some(Box::new(seen.snapshot));
                self.look(Some(NULL.to_owned()), Step::NullLook)
            }
        }
    }

    fn would_replace(&mut self) -> RepairAction<O> {
        self.close(LedgerChange::Forget, RepairEnd::Left(LeaveReason::WouldReplaceVersion))
    }

    /// Writes the started change to the ledger, with everything that must be preserved.
    fn note(&mut self, seen: Box<ObservedObject>) -> RepairAction<O> {
        self.since = seen.now;
        self.now = seen.now;
        self.made = None;
        self.before = Some(Box::new(seen.snapshot));
        self.write_begun(Step::Noted)
    }

    fn write_begun(&mut self, step: Step<O>) -> RepairAction<O> {
        let Some(before) = self.before.clone() else { return self.lost() };
        if mutated!(self.plan, LedgerSkipped) {
            return self.over(step);
        }
        self.step = step;
        RepairAction::Write(RepairState::Begun {
            method: self.method,
            target: self.plan.target.clone(),
            before,
            upload: self.upload.clone(),
            is_latest: self.is_latest,
            since: self.since,
            made: self.made.as_ref().and_then(|made| made.version.clone()),
        })
    }

    // ---- Change --------------------------------------------------------------------------------

    /// The steps before the second look-up.
    fn prepare(&mut self) -> RepairAction<O> {
        if self.method != RepairMethod::CopyInParts {
            return self.look_again();
        }
        let Some(order) = self.order() else { return self.lost() };
        match self.upload.clone() {
            None => {
                self.step = Step::Creating;
                RepairAction::CreateUpload(order)
            }
            Some(upload) => {
                self.step = Step::Parts;
                RepairAction::CopyParts(upload, order)
            }
        }
    }

    fn look_again(&mut self) -> RepairAction<O> {
        if mutated!(self.plan, SecondLookSkipped) || mutated!(self.plan, EarlierSightRestored) {
            return self.call();
        }
        let planned = self.planned();
        self.look(planned, Step::Second)
    }

    /// Handles the second look-up, immediately before the call: nothing may differ from the first.
    fn second(&mut self, seen: Box<ObservedObject>) -> RepairAction<O> {
        if self.is_other_version(&seen.snapshot) {
            return self.changed();
        }
        if self.before.as_ref().is_some_and(|before| before.is_same(&seen.snapshot)) {
            self.now = seen.now;
            if mutated!(self.plan, WaitsAfterLooking) {
                self.step = Step::PacedLate;
                return RepairAction::Wait(seen.snapshot.size);
            }
            return self.call();
        }
        self.begin_anew(seen)
    }

    fn begin_anew(&mut self, seen: Box<ObservedObject>) -> RepairAction<O> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return self.changed();
        }
        if self.upload.is_some() {
            return self.abort(AfterAbort::Begin(seen));
        }
        self.begin(seen)
    }

    fn order(&self) -> Option<CopyOrder> {
        let before = self.before.clone()?;
        // A year ahead, for the simulation.
        let ahead = if mutated!(self.plan, OwnClock) { 31_536_000_000 } else { 0 };
        let lock = before.lock.in_force(self.now + ahead);
        let source = mutated!(self.plan, SeenVersionCopied).then(|| before.id().to_owned());
        Some(CopyOrder { if_match: !mutated!(self.plan, NoPrecondition), lock, source, before })
    }

    fn call(&mut self) -> RepairAction<O> {
        let Some(order) = self.order() else { return self.lost() };
        self.step = Step::Called;
        match (self.method, self.upload.clone()) {
            (RepairMethod::Copy, _) => RepairAction::Copy(order),
            (RepairMethod::Update, _) => RepairAction::Update(self.version.clone()),
            (RepairMethod::CopyInParts, Some(upload)) => {
                let with_parts = !verdict::checksum_of_parts(&order.before).1
                    && !mutated!(self.plan, PartChecksumsForgotten);
                RepairAction::Complete(upload, order, with_parts)
            }
            (RepairMethod::CopyInParts, None) => self.prepare(),
        }
    }

    fn answered(&mut self, step: Step<O>, answer: CallAnswer) -> RepairAction<O> {
        match (step, answer) {
            (Step::Aborting(after, tries), answer) => self.aborted(after, tries, &answer),
            (Step::TakingBack(made, lost, _), CallAnswer::Refused(_)) => self.damaged(*made, lost),
            (Step::TakingBack(made, lost, tries), _) => {
                self.step = Step::TakenBack(made, lost, tries + 1);
                RepairAction::List
            }
            (Step::RestoreCall, CallAnswer::Done(_)) => {
                self.close(LedgerChange::Forget, RepairEnd::Restoring)
            }
            (Step::RestoreCall, CallAnswer::Changed) => self.changed(),
            (Step::RestoreCall, answer) => self.end(RepairEnd::Failed(said(&answer))),
            (Step::PurgeCall, CallAnswer::Refused(why)) => self.end(RepairEnd::Failed(why)),
            (Step::PurgeCall, _) => {
                let version = self.version.clone();
                self.look(version, Step::PurgeGone(1))
            }
            (Step::Creating, answer) => self.upload_created(answer),
            (Step::Parts, CallAnswer::Done(_)) => self.look_again(),
            (Step::Called, CallAnswer::Done(made)) => self.call_done(made),
            (_, CallAnswer::Done(_) | CallAnswer::Changed) => {
                "another writer changed it meanwhile".clone_into(&mut self.trouble);
                self.verify()
            }
            (_, CallAnswer::NoUpload) => {
                self.upload = None;
                self.verify()
            }
            (_, CallAnswer::Refused(why)) => {
                // An unanswered call may still take effect: the next run checks it.
                let change =
                    if self.is_unclear { LedgerChange::Keep } else { LedgerChange::Forget };
                self.refused(change, RepairEnd::Failed(why))
            }
            (_, answer) => {
                self.trouble = said(&answer);
                self.is_unclear = true;
                self.step = Step::BackedOff;
                RepairAction::BackOff(self.tries)
            }
        }
    }

    fn call_done(&mut self, made: MadeObject) -> RepairAction<O> {
        if self.method == RepairMethod::CopyInParts {
            self.upload = None;
        }
        let unverified = match self.method {
            RepairMethod::Update => mutated!(self.plan, UpdateUnverified),
            _ => mutated!(self.plan, CopyUnverified),
        };
        if unverified {
            let version = made.version.clone().filter(|_| self.makes_versions());
            let old = version.is_some().then_some(ReplacedVersion::Left(LeaveReason::OldVersion));
            return self.done(version, old);
        }
        self.made = Some(made);
        self.verify()
    }

    fn upload_created(&mut self, answer: CallAnswer) -> RepairAction<O> {
        match answer {
            CallAnswer::Done(MadeObject { upload: Some(upload), .. }) => {
                self.upload = Some(upload);
                self.write_begun(Step::Uploading)
            }
            CallAnswer::Refused(why) => self.close(LedgerChange::Forget, RepairEnd::Failed(why)),
            CallAnswer::Changed => self.changed(),
            // The upload may exist all the same, or appear later, and costs money until it is
            // aborted.
            answer => {
                if mutated!(self.plan, UnansweredUploadForgotten) {
                    return self.close(LedgerChange::Forget, RepairEnd::Changed);
                }
                self.step = Step::NewUploads(said(&answer));
                RepairAction::ListUploads
            }
        }
    }

    fn uploads(&mut self, step: Step<O>, uploads: &[UnfinishedUpload]) -> RepairAction<O> {
        let is_unknown = uploads.iter().any(|upload| upload.initiated >= self.since - SECOND)
            && !mutated!(self.plan, UnansweredUploadForgotten);
        match step {
            // Its owner is unknown, and another writer's upload must not be aborted.
            Step::NewUploads(_) | Step::ResumedUploads if is_unknown => {
                self.end(RepairEnd::Left(LeaveReason::UnknownUpload))
            }
            Step::NewUploads(why) => self.end(RepairEnd::Failed(why)),
            Step::ResumedUploads => self.verify(),
            _ => self.lost(),
        }
    }

    // ---- Verification --------------------------------------------------------------------------

    /// Whether copies create versions of their own.
    fn makes_versions(&self) -> bool {
        match self.plan.versioning {
            Versioning::Unversioned => false,
            Versioning::Enabled => true,
            Versioning::Suspended => self.version.as_deref() != Some(NULL),
        }
    }

    fn verify(&mut self) -> RepairAction<O> {
        if self.method == RepairMethod::Update {
            let version = self.version.clone();
            return self.look(version, Step::After);
        }
        if self.makes_versions() {
            self.step = Step::Versions;
            return RepairAction::List;
        }
        self.look(None, Step::After)
    }

    /// The call had no effect: try again.
    fn untouched(&mut self, seen: Option<Box<ObservedObject>>) -> RepairAction<O> {
        if self.is_resuming {
            return match seen {
                Some(seen) => self.first(seen),
                None => self.look_first(),
            };
        }
        if let (Some(seen), true) = (&seen, self.made.is_some()) {
            let difference = self.plan.target.difference(&seen.snapshot);
            self.trouble = format!("S3 said that it is done, but {difference}");
        }
        self.tries += 1;
        if self.tries >= ATTEMPTS {
            if self.trouble.is_empty() {
                "S3 said that it is done, but it is not".clone_into(&mut self.trouble);
            }
            return self.end(RepairEnd::Failed(format!("{}; run this again", self.trouble)));
        }
        self.made = None;
        self.prepare()
    }

    /// Handles the look-up of an object that was updated, or overwritten by its copy.
    fn after(&mut self, seen: Box<ObservedObject>) -> RepairAction<O> {
        self.now = seen.now;
        let Some(before) = self.before.clone() else { return self.lost() };
        let meets = self.target().is_met(&seen.snapshot);
        let is_same_write = before.is_same_write(&seen.snapshot);
        if self.method == RepairMethod::Update {
            return match (is_same_write, meets) {
                (true, true) => self.done(None, None),
                (true, false) if self.made.is_some() && !before.is_same(&seen.snapshot) => {
                    self.is_otherwise(&seen)
                }
                (true, false) => self.untouched(Some(seen)),
                (false, _) => self.foreign(&seen),
            };
        }
        let mut lost = losses(&before, &seen.snapshot, self.method, seen.now);
        if mutated!(self.plan, LossesIgnored) {
            lost.clear();
        }
        // The current object counts as the copy only if S3's response says so, or, without a
        // response, if its bytes do. Dates are no evidence: S3 returns seconds, within which others
        // can write, too.
        let answer =
            self.made.as_ref().filter(|made| made.etag.is_some() || made.modified.is_some());
        let is_answered = answer.is_some_and(|made| is_made(made, &seen.snapshot));
        let is_own = match answer {
            Some(_) => is_answered,
            None => before.has_same_content(&seen.snapshot),
        };
        match (is_same_write, meets) {
            (true, false) => self.untouched(Some(seen)),
            (_, true) if lost.is_empty() && is_own => self.done(None, None),
            (_, true) if is_answered => self.damaged(seen.snapshot, lost),
            (false, false) if is_answered => {
                lost.insert(0, self.target().difference(&seen.snapshot));
                self.damaged(seen.snapshot, lost)
            }
            (_, true) if mutated!(self.plan, WritersObjectIsOurs) => {
                self.damaged(seen.snapshot, lost)
            }
            (_, true) | (false, false) => self.foreign(&seen),
        }
    }

    /// S3 reported success, but the object is neither as before nor as requested: another try would
    /// not help.
    fn is_otherwise(&mut self, seen: &ObservedObject) -> RepairAction<O> {
        let difference = self.target().difference(&seen.snapshot);
        let why = format!("S3 said that it is done, but {difference}; run this again");
        self.close(LedgerChange::Forget, RepairEnd::Failed(why))
    }

    /// The object is another writer's: it is evaluated like any other.
    fn foreign(&mut self, seen: &ObservedObject) -> RepairAction<O> {
        let end =
            if seen.offends && !self.is_resuming { RepairEnd::Changed } else { RepairEnd::Nothing };
        self.close(LedgerChange::Forget, end)
    }

    /// Handles the versions after a call: which one is the copy, and which ones are between it and
    /// the planned one.
    fn versions(&mut self, versions: &[ListedVersion]) -> RepairAction<O> {
        let planned =
            versions.iter().position(|it| Some(it.id.as_str()) == self.version.as_deref());
        let made = self.made.as_ref().and_then(|made| made.version.clone());
        let is_known = made.is_some();
        let made = match (made, planned) {
            (Some(made), _) => versions.iter().position(|it| it.id == made),
            (None, Some(0)) => return self.untouched(None),
            (None, Some(planned)) => Some(planned - 1),
            (None, None) => None,
        };
        let Some(made) = made.filter(|made| !versions[*made].is_marker) else {
            return self.changed();
        };
        let below = &versions[made + 1..];
        let until = planned.filter(|planned| *planned > made).map_or(1, |planned| planned - made);
        let until = if until > MOST_BETWEEN { 1 } else { until };
        let data = |it: &&ListedVersion| !it.is_marker;
        let mut queue: VecDeque<String> =
            below.iter().take(until).filter(data).map(|it| it.id.clone()).collect();
        // The copy is looked up last: if it must be removed, that happens at once.
        queue.push_back(versions[made].id.clone());
        let Some(first) = queue.pop_front() else { return self.changed() };
        let comparison = Comparison {
            is_known,
            over_marker: planned.is_some() && below.first().is_some_and(|it| it.is_marker),
            queue,
            seen: Vec::new(),
        };
        self.look(Some(first), Step::Comparing(comparison))
    }

    fn compare(
        &mut self,
        mut comparison: Comparison,
        seen: Box<ObservedObject>,
    ) -> RepairAction<O> {
        self.now = seen.now;
        comparison.seen.push(*seen);
        if let Some(next) = comparison.queue.pop_front() {
            return self.look(Some(next), Step::Comparing(comparison));
        }
        comparison.seen.rotate_right(1);
        let Some(before) = self.before.clone() else { return self.lost() };
        let target = self.target().clone();
        let planned = self.version.clone().unwrap_or_default();
        let question = verdict::CopyQuestion {
            before: &before,
            target: &target,
            method: self.method,
            planned: &planned,
            answer: self.made.as_ref(),
            may_be_ours: comparison.is_known || self.is_unclear || self.is_resuming,
            ignores_buried: mutated!(self.plan, BuriedVersionIgnored),
            ignores_losses: mutated!(self.plan, LossesIgnored),
            foreign_is_ours: mutated!(self.plan, WritersObjectIsOurs),
        };
        let made = comparison.seen.first().map(|made| made.snapshot.clone());
        match (verdict::judge(&comparison, &question), made) {
            (CopyVerdict::Done { is_proof, old }, Some(made)) => {
                // Another write can take over the id `null` at any time; then nothing of the old
                // version would be left.
                let is_proof = is_proof && made.id() != NULL;
                let old = old.map(|locked| self.replaced(is_proof, locked));
                self.done(is_proof.then(|| made.id().to_owned()), old)
            }
            (CopyVerdict::TakeBack(lost), Some(made)) if !mutated!(self.plan, NeverTakenBack) => {
                self.take_back(Box::new(made), lost, 0)
            }
            (CopyVerdict::TakeBack(_), Some(_)) => self.done(None, None),
            (CopyVerdict::Damaged(lost), Some(made)) => self.damaged(made, lost),
            (CopyVerdict::Foreign, _) | (_, None) => self.changed(),
        }
    }

    /// What happens to the version that the copy replaced.
    fn replaced(&self, is_proof: bool, locked: bool) -> ReplacedVersion {
        ReplacedVersion::Left(match (self.plan.wish.purge, locked) {
            (true, true) => LeaveReason::LockedVersion,
            (true, false) if is_proof && self.may_be_purged() => {
                return ReplacedVersion::ToPurge;
            }
            (true, false) if is_proof => LeaveReason::NullVersion,
            _ => LeaveReason::OldVersion,
        })
    }

    fn may_be_purged(&self) -> bool {
        self.version.as_deref() != Some(NULL) || mutated!(self.plan, NullIsPurged)
    }

    fn take_back(&mut self, made: Box<Snapshot>, lost: Vec<String>, tries: u32) -> RepairAction<O> {
        if tries >= CLEAN_UPS {
            return self.damaged(*made, lost);
        }
        let version = made.id().to_owned();
        self.step = Step::TakingBack(made, lost, tries);
        RepairAction::Delete(version)
    }

    fn taken_back(
        &mut self,
        made: Box<Snapshot>,
        lost: Vec<String>,
        tries: u32,
        versions: &[ListedVersion],
    ) -> RepairAction<O> {
        if versions.iter().any(|it| it.id == made.id()) {
            // Its owner may have changed it meanwhile.
            let version = made.id().to_owned();
            return self.look(Some(version), Step::StillThere(made, lost, tries));
        }
        self.made = None;
        self.rounds += 1;
        let is_top = versions.first().map(|it| it.id.as_str()) == self.version.as_deref();
        if is_top && self.rounds <= ROUNDS {
            // Its owner changed it at the moment of the copy: try again with its current state.
            return self.look_first();
        }
        self.changed()
    }

    /// The object has changed.
    fn changed(&mut self) -> RepairAction<O> {
        if self.is_resuming {
            // The following scan evaluates the current state.
            return self.close(LedgerChange::Forget, RepairEnd::Nothing);
        }
        if self.version.is_none() || mutated!(self.plan, DeletedIsNothing) {
            return self.look(None, Step::ChangedNew);
        }
        self.step = Step::ChangedVersions;
        RepairAction::List
    }

    fn changed_versions(&mut self, versions: &[ListedVersion]) -> RepairAction<O> {
        let planned =
            versions.iter().position(|it| Some(it.id.as_str()) == self.version.as_deref());
        match planned {
            Some(0) => self.close(LedgerChange::Forget, RepairEnd::Changed),
            Some(_) => {
                let version = self.version.clone();
                self.look(version, Step::ChangedOld)
            }
            None => self.look(None, Step::ChangedNew),
        }
    }

    fn done(&mut self, made: Option<String>, old: Option<ReplacedVersion>) -> RepairAction<O> {
        let state = match (&old, &self.before) {
            (Some(ReplacedVersion::ToPurge), Some(before)) => RepairState::Planned {
                choice: Choice::Purge,
                size: before.size,
                is_latest: false,
                made,
            },
            _ => RepairState::Done { method: self.method, at: self.now, made },
        };
        self.close(LedgerChange::Write(state), RepairEnd::Done(self.method, old))
    }

    fn damaged(&mut self, left: Snapshot, losses: Vec<String>) -> RepairAction<O> {
        let encryption_differs = !self.target().is_met(&left);
        let change = if mutated!(self.plan, DamageForgotten) {
            LedgerChange::Forget
        } else {
            let (left, losses) = (Box::new(left), losses.clone());
            LedgerChange::Write(RepairState::Damaged { left, losses, encryption_differs })
        };
        self.close(change, RepairEnd::Damaged { losses, encryption_differs })
    }

    /// The target of the started change: an earlier run may have had another one.
    fn target(&self) -> &TargetEncryption {
        match &self.state {
            RepairState::Begun { target, .. } if self.is_resuming => target,
            _ => &self.plan.target,
        }
    }

    // ---- Old versions --------------------------------------------------------------------------

    fn purge(&mut self, made: Option<String>) -> RepairAction<O> {
        if !self.may_be_purged() {
            return self.close(LedgerChange::Forget, RepairEnd::Left(LeaveReason::NullVersion));
        }
        match made {
            Some(made) => {
                let version = self.version.clone();
                self.look(version, Step::PurgeOld(Some(made)))
            }
            // Another writer overwrote it, and its removal was explicitly requested.
            None => {
                self.step = Step::PurgeVersions;
                RepairAction::List
            }
        }
    }

    fn purge_versions(&mut self, versions: &[ListedVersion]) -> RepairAction<O> {
        let planned =
            versions.iter().position(|it| Some(it.id.as_str()) == self.version.as_deref());
        match (planned, versions.first()) {
            (None, _) => self.close(LedgerChange::Forget, RepairEnd::Nothing),
            (Some(1..), Some(newest)) if !newest.is_marker => {
                let newest = newest.id.clone();
                let version = self.version.clone();
                self.look(version, Step::PurgeOld(Some(newest)))
            }
            _ => self.not_purged(),
        }
    }

    fn not_purged(&mut self) -> RepairAction<O> {
        let change = self.state.kept_by_next_run();
        let change = change.map_or(LedgerChange::Forget, LedgerChange::Write);
        self.close(change, RepairEnd::Left(LeaveReason::OldVersion))
    }

    fn purge_old(&mut self, newer: Option<String>, old: Box<ObservedObject>) -> RepairAction<O> {
        self.now = old.now;
        if !old.offends {
            return self.close(LedgerChange::Forget, RepairEnd::Nothing);
        }
        if old.snapshot.lock.protects(old.now) {
            return self.close(LedgerChange::Keep, RepairEnd::Left(LeaveReason::LockedVersion));
        }
        if mutated!(self.plan, PurgesUnproved) {
            return self.remove_old();
        }
        // The newer one is looked up last: it must exist when the old one is removed.
        self.look(newer, Step::PurgeNewer(old))
    }

    fn purge_newer(&mut self, old: &ObservedObject, newer: &ObservedObject) -> RepairAction<O> {
        let (from, to) = (&old.snapshot, &newer.snapshot);
        let is_all_kept = self.state.made().is_none()
            || losses(from, to, RepairMethod::CopyInParts, newer.now).is_empty()
            || mutated!(self.plan, PurgesWhatDiffers);
        if newer.offends || !is_all_kept {
            return self.not_purged();
        }
        self.remove_old()
    }

    fn remove_old(&mut self) -> RepairAction<O> {
        let Some(version) = self.version.clone() else { return self.lost() };
        self.step = Step::PurgeCall;
        RepairAction::Delete(version)
    }

    fn purge_gone(&mut self) -> RepairAction<O> {
        let at = self.now;
        self.close(LedgerChange::Write(RepairState::Purged { at }), RepairEnd::Purged)
    }

    // ---- Steps ---------------------------------------------------------------------------------

    fn over(&mut self, step: Step<O>) -> RepairAction<O> {
        match step {
            Step::Paced => self.paced(),
            Step::Noted | Step::Uploading => self.prepare(),
            Step::PacedLate => self.call(),
            Step::BackedOff if mutated!(self.plan, RetriedBlindly) => {
                self.tries += 1;
                if self.tries >= ATTEMPTS {
                    return self.end(RepairEnd::Failed(self.trouble.clone()));
                }
                self.call()
            }
            Step::BackedOff => self.verify(),
            Step::Closing(end) => self.end(end),
            _ => self.lost(),
        }
    }

    fn absent(&mut self, step: Step<O>) -> RepairAction<O> {
        match step {
            Step::First | Step::Second if self.version.is_none() => {
                self.close(LedgerChange::Forget, RepairEnd::Nothing)
            }
            Step::Comparing(_) => self.relist(),
            Step::StillThere(made, lost, tries) => {
                self.step = Step::TakenBack(made, lost, tries);
                RepairAction::List
            }
            Step::NullLook => match self.before.take() {
                // It was removed meanwhile: start again.
                Some(_) => self.look_first(),
                None => self.lost(),
            },
            Step::After if self.version.is_some() => self.changed(),
            Step::ChangedOld => self.look(None, Step::ChangedNew),
            Step::After | Step::ChangedNew | Step::DamageLook(..) | Step::PurgeOld(_) => {
                self.close(LedgerChange::Forget, RepairEnd::Nothing)
            }
            Step::PurgeNewer(_) => self.not_purged(),
            Step::PurgeGone(_) => self.purge_gone(),
            _ => self.changed(),
        }
    }

    /// A version was removed between the listing and the look-up.
    fn relist(&mut self) -> RepairAction<O> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return self.changed();
        }
        self.verify()
    }

    fn seen(&mut self, step: Step<O>, seen: Box<ObservedObject>) -> RepairAction<O> {
        match step {
            Step::First => self.first(seen),
            Step::Second => self.second(seen),
            Step::NullLook => {
                // Only a version that is to be removed anyway may be overwritten.
                if !seen.offends || seen.snapshot.lock.protects(seen.now) {
                    return self.would_replace();
                }
                self.since = seen.now;
                self.now = seen.now;
                self.write_begun(Step::Noted)
            }
            Step::After => self.after(seen),
            Step::Comparing(comparison) => self.compare(comparison, seen),
            Step::StillThere(made, lost, tries) if made.is_same(&seen.snapshot) => {
                self.take_back(made, lost, tries)
            }
            Step::StillThere(_, lost, _) => self.damaged(seen.snapshot, lost),
            Step::ChangedOld if seen.offends => {
                self.close(LedgerChange::Forget, RepairEnd::Left(LeaveReason::OldVersion))
            }
            Step::ChangedOld => self.look(None, Step::ChangedNew),
            Step::ChangedNew => self.foreign(&seen),
            Step::DamageLook(left, losses, encryption_differs) if left.is_same(&seen.snapshot) => {
                let end = RepairEnd::Damaged { losses, encryption_differs };
                self.close(LedgerChange::Keep, end)
            }
            Step::DamageLook(..) => self.close(LedgerChange::Forget, RepairEnd::Nothing),
            Step::PurgeOld(newer) => self.purge_old(newer, seen),
            Step::PurgeNewer(old) => self.purge_newer(&old, &seen),
            Step::PurgeGone(tries) => {
                if tries >= CLEAN_UPS {
                    return self.end(RepairEnd::Failed(
                        "S3 said that it is removed, but it is still there".to_owned(),
                    ));
                }
                let version = self.version.clone();
                self.look(version, Step::PurgeGone(tries + 1))
            }
            _ => self.lost(),
        }
    }

    fn listed(&mut self, step: Step<O>, versions: &[ListedVersion]) -> RepairAction<O> {
        match step {
            Step::NullList(seen) => self.other_null(seen, versions),
            Step::Versions => self.versions(versions),
            Step::TakenBack(made, lost, tries) => self.taken_back(made, lost, tries, versions),
            Step::ChangedVersions => self.changed_versions(versions),
            Step::PurgeVersions => self.purge_versions(versions),
            _ => self.lost(),
        }
    }

    fn look(&mut self, version: Option<String>, step: Step<O>) -> RepairAction<O> {
        self.step = step;
        RepairAction::Look(version)
    }

    fn unseen(&mut self, obstacle: O) -> RepairAction<O> {
        if mutated!(self.plan, UnseenIsNothing) {
            return self.close(LedgerChange::Forget, RepairEnd::Nothing);
        }
        let made = self.made.as_ref().and_then(|made| made.version.as_deref());
        let is_copied = self.makes_versions() && made.is_some_and(|made| made != NULL);
        if is_copied && self.before.is_some() {
            // Only this run knows which version is the copy; the ledger entry lets the next run
            // look at it.
            return self.write_begun(Step::Closing(RepairEnd::Unseen(obstacle)));
        }
        self.end(RepairEnd::Unseen(obstacle))
    }

    fn abort(&mut self, after: AfterAbort<O>) -> RepairAction<O> {
        match self.upload.clone() {
            Some(upload) if !mutated!(self.plan, GivenUpUploadStays) => {
                self.step = Step::Aborting(after, 0);
                RepairAction::Abort(upload)
            }
            _ => {
                self.upload = None;
                self.after_abort(after)
            }
        }
    }

    fn after_abort(&mut self, after: AfterAbort<O>) -> RepairAction<O> {
        match after {
            AfterAbort::Begin(seen) => self.begin(seen),
            AfterAbort::Close(change, end) => self.settle(change, end),
        }
    }

    fn aborted(
        &mut self,
        after: AfterAbort<O>,
        tries: u32,
        answer: &CallAnswer,
    ) -> RepairAction<O> {
        let is_over =
            matches!(answer, CallAnswer::Done(_) | CallAnswer::NoUpload | CallAnswer::Changed);
        let Some(upload) = self.upload.clone() else { return self.after_abort(after) };
        if is_over {
            self.upload = None;
            return self.after_abort(after);
        }
        if tries + 1 < CLEAN_UPS && !matches!(answer, CallAnswer::Refused(_)) {
            self.step = Step::Aborting(after, tries + 1);
            return RepairAction::Abort(upload);
        }
        self.upload = None;
        let end = RepairEnd::UploadLeft(upload.clone());
        self.settle(LedgerChange::Write(RepairState::Stray { upload }), end)
    }

    /// Ends after a refusal by S3; a kept ledger entry also keeps its upload.
    fn refused(&mut self, change: LedgerChange, end: RepairEnd<O>) -> RepairAction<O> {
        if matches!(change, LedgerChange::Keep) { self.end(end) } else { self.close(change, end) }
    }

    /// Ends; an unfinished upload is aborted first.
    fn close(&mut self, change: LedgerChange, end: RepairEnd<O>) -> RepairAction<O> {
        self.abort(AfterAbort::Close(change, end))
    }

    fn settle(&mut self, change: LedgerChange, end: RepairEnd<O>) -> RepairAction<O> {
        match change {
            LedgerChange::Keep => self.end(end),
            LedgerChange::Forget => {
                self.step = Step::Closing(end);
                RepairAction::Forget
            }
            LedgerChange::Write(state) => {
                self.step = Step::Closing(end);
                RepairAction::Write(state)
            }
        }
    }

    fn end(&mut self, end: RepairEnd<O>) -> RepairAction<O> {
        self.step = Step::Ended;
        RepairAction::End(end)
    }

    /// An event that does not match the awaited one: a fault of the driver.
    fn lost(&mut self) -> RepairAction<O> {
        self.end(RepairEnd::Failed("an answer arrived that was not asked for".to_owned()))
    }
}

fn said(answer: &CallAnswer) -> String {
    match answer {
        CallAnswer::Unclear(why) | CallAnswer::Refused(why) => why.clone(),
        CallAnswer::SlowDown => "S3 asked to slow down".to_owned(),
        CallAnswer::Done(_) => "the answer lacks what S3 promises".to_owned(),
        CallAnswer::Changed => "another writer changed it meanwhile".to_owned(),
        CallAnswer::NoUpload => "its multipart upload has ended".to_owned(),
    }
}

/// Whether this is the object that S3 returned for the call.
fn is_made(made: &MadeObject, seen: &Snapshot) -> bool {
    made.etag.as_ref().is_none_or(|etag| *etag == seen.etag)
        && made.modified.is_none_or(|at| at / SECOND == seen.modified / SECOND)
        && (made.etag.is_some() || made.modified.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reencrypt::machine::{choice::RequestedEncryption, snapshot::tests::plain};

    fn key(number: u32) -> String {
        format!("arn:aws:kms:eu-west-1:123456789012:key/{number}")
    }

    fn seen(algorithm: Option<&str>, key: Option<String>, etag: &str) -> ObservedObject {
        let snapshot = Snapshot {
            etag: etag.to_owned(),
            algorithm: algorithm.map(str::to_owned),
            key,
            ..plain()
        };
        ObservedObject { snapshot, offends: true, loss: None, now: 1 }
    }

    /// The result of a repair to SSE-KMS with the first key. The object is `before`, and `after`
    /// once S3 has reported success.
    fn end(method: RepairMethod, before: &ObservedObject, after: &ObservedObject) -> RepairEnd<()> {
        let plan = ObjectPlan {
            target: TargetEncryption {
                algorithm: "aws:kms".to_owned(),
                key: Some(key(1)),
                bucket_key: false,
            },
            wish: RequestedEncryption {
                updatable: true,
                restore: false,
                purge: false,
                purge_overwritten: false,
            },
            versioning: Versioning::Unversioned,
            #[cfg(feature = "mutants")]
            mutant: None,
        };
        let choice = Choice::Do(method);
        let state = RepairState::Planned { choice, size: 5, is_latest: true, made: None };
        let mut machine = ObjectRepair::new(plan, None, state);
        let (mut event, mut is_called) = (RepairEvent::Started, false);
        loop {
            event = match machine.next(event) {
                RepairAction::Look(_) => {
                    let it = if is_called { after } else { before };
                    RepairEvent::Looked(LookAnswer::Seen(Box::new(it.clone())))
                }
                RepairAction::Update(_) | RepairAction::Copy(_) => {
                    is_called = true;
                    RepairEvent::Answered(CallAnswer::Done(MadeObject {
                        etag: Some(after.snapshot.etag.clone()),
                        modified: Some(after.snapshot.modified),
                        ..MadeObject::default()
                    }))
                }
                RepairAction::Wait(_)
                | RepairAction::Write(_)
                | RepairAction::Forget
                | RepairAction::BackOff(_) => RepairEvent::Over,
                RepairAction::End(end) => return end,
                other => panic!("{other:?}"),
            };
        }
    }

    #[test]
    fn where_s3_reports_another_key_or_algorithm_than_was_asked_for_both_are_said() {
        let asked = format!("where aws:kms under {} was asked for", key(1));
        let said = |algorithm: &str, key: Option<String>| {
            let before = seen(Some("AES256"), None, "\"a\"");
            match end(RepairMethod::Update, &before, &seen(Some(algorithm), key, "\"a\"")) {
                RepairEnd::Failed(why) => why,
                other => panic!("{other:?}"),
            }
        };
        let reported = format!("S3 reports aws:kms under {}, {asked}", key(2));
        assert_eq!(
            said("aws:kms", Some(key(2))),
            format!("S3 said that it is done, but {reported}; run this again")
        );
        // The object stays the same, however often the change is requested.
        assert_eq!(
            said("AES256", None),
            format!("S3 said that it is done, but S3 reports AES256, {asked}; run this again")
        );
        let before = seen(None, None, "\"a\"");
        let copy = |algorithm: &str, key| match end(
            RepairMethod::Copy,
            &before,
            &seen(Some(algorithm), key, "\"b\""),
        ) {
            RepairEnd::Damaged { losses, encryption_differs: true } => losses,
            other => panic!("{other:?}"),
        };
        assert_eq!(copy("aws:kms", Some(key(2))), [reported]);
        let lost = copy("AES256", None);
        assert_eq!(lost[0], format!("S3 reports AES256, {asked}"));
    }
}

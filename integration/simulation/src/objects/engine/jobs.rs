//! Jobs of S3 Batch Operations in a history: runs create and confirm them as the guard does, with
//! the guard's own rules; S3 works on them later, without preconditions.
//!
//! S3 reads and writes one object in one step here: an act of a writer between the two is a limit
//! that the threat model states. So are these, and nobody does them here:
//!
//! - Versioning is not suspended while a job is evaluated, or is confirmed and not finished.
//! - No cluster starts between the listing of clusters and the confirmation.
//! - In the console a job is confirmed while the bucket has the versioning of the job's creation.
//!
//! If an owner or writer has changed an object since S3 or this program looked it up, a job may
//! lose the new ACL, redirect, class and encryption, but neither bytes, metadata nor tags.

use crate::{
    objects::{
        bucket::{A, B, BUCKET, Bucket, LARGE, Tolerance},
        engine::{Engine, Late},
        job_scenario::{ForeignJob, JobAct, JobStage, JobStep, NAMES, PREFIXES},
        laws::{E, F},
        process::{Entry, Next, Process},
        scenario::ActAt,
    },
    reencrypt::machine::{
        choice::{Choice, ObjectState, RequestedEncryption, choose},
        event::RepairAction,
        job::{
            FollowStep, HiddenLosses, JobBucket, JobObjection, JobOperationKind, JobPhase,
            JobRules, NotForJob,
        },
        mutants::mutated,
        snapshot::{NULL, Snapshot},
        state::RepairState,
        versioning::Versioning,
    },
};

/// Another bucket.
const OTHER: &str = "other";
/// How often a run requests the phase of a job, before somebody stops the run.
const ASKED: u32 = 12;

/// A line of a manifest.
#[derive(Clone, Debug)]
struct Task {
    bucket: &'static str,
    key: usize,
    version: Option<String>,
    /// The object at that time.
    seen: Option<(u64, Snapshot)>,
}

/// The source of a job's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// It is written with the job.
    Manifest,
    /// S3 generates it, from objects with this prefix and class.
    Generated(usize, &'static str),
}

/// A job.
#[derive(Clone, Debug)]
struct Job {
    /// This program has created it.
    is_own: bool,
    /// It has the description of this program's jobs.
    is_described: bool,
    kind: JobOperationKind,
    list: List,
    tasks: Vec<Task>,
    /// The target of its copies, and their class.
    target: &'static str,
    class: &'static str,
    phase: JobPhase,
    done: usize,
    /// The bucket's versioning when the job was created.
    versioning: Versioning,
}

/// All jobs, and the data that decide about them.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    all: Vec<Job>,
    turns: u64,
    /// A cluster of the pipeline runs.
    cluster: bool,
    /// A run is about to confirm.
    judging: bool,
    next: usize,
}

impl Jobs {
    pub(super) fn new(turns: u64) -> Self {
        Self { turns, ..Self::default() }
    }
}

/// A run of a job command.
struct JobRun<'a> {
    stage: &'a JobStage,
    calls: u32,
}

fn class_of(name: &str) -> &'static str {
    if name == "STANDARD" { "STANDARD" } else { "STANDARD_IA" }
}

impl Engine {
    /// The job commands before the runs of this number.
    pub(super) fn jobs_before(&mut self, wave: usize) {
        while let Some(stage) = self.history.scenario.jobs.stages.get(self.jobs.next).cloned() {
            if stage.before > wave {
                return;
            }
            self.jobs.next += 1;
            let mut run = JobRun { stage: &stage, calls: 0 };
            self.trace(|it| format!("{:?}\n{}", stage.step, it.history.bucket.text()));
            match stage.step {
                JobStep::Make(place, false) => self.make_by_manifest(&mut run, place),
                JobStep::Make(place, true) => self.make_by_list(&mut run, place),
                JobStep::Status { .. } => self.job_status(&mut run, stage.step),
                JobStep::Foreign(job) => self.make_foreign(job),
            }
            // The acts of others after it.
            while run.calls < 14 {
                self.moment(&mut run);
            }
        }
    }

    /// S3 finishes the confirmed jobs.
    pub(super) fn finish_jobs(&mut self) {
        for id in 0..self.jobs.all.len() {
            while self.jobs.all[id].phase == JobPhase::Running {
                self.s3_works_on(id);
            }
        }
    }

    /// S3 does one task, if it may between these calls of runs.
    pub(super) fn jobs_go_on(&mut self, processes: &[Process]) {
        let Some(id) = self.jobs.all.iter().position(|job| job.phase == JobPhase::Running) else {
            return;
        };
        let job = &self.jobs.all[id];
        let is_held = job.tasks.get(job.done).is_some_and(|task| {
            let is_late = |late: &Late| late.key == task.key;
            let writes = |process: &Process| {
                matches!(&process.next,
                Next::Machine(key, RepairAction::Copy(_) | RepairAction::Complete(..) | RepairAction::Delete(_))
                    if *key == task.key)
            };
            self.late.iter().any(is_late) || processes.iter().any(writes)
        });
        if !is_held {
            self.count("job: goes on while a run is at work");
            self.s3_works_on(id);
        }
    }

    fn rules(&self) -> JobRules {
        JobRules {
            #[cfg(feature = "mutants")]
            mutant: self.options.mutant,
        }
    }

    /// Between two calls of a run.
    fn moment(&mut self, run: &mut JobRun<'_>) {
        let due = run.stage.acts.iter().filter(|(at, _)| *at == run.calls);
        for (_, act) in due {
            self.job_act(*act);
        }
        run.calls += 1;
        self.history.ticks += 1;
        self.history.bucket.now += 20;
        self.jobs.turns = self.jobs.turns.rotate_right(1);
        if self.jobs.turns & 1 == 1 {
            self.s3_works();
        }
    }

    fn s3_works(&mut self) {
        let is_busy = |job: &Job| matches!(job.phase, JobPhase::Preparing | JobPhase::Running);
        if let Some(id) = self.jobs.all.iter().position(is_busy) {
            self.s3_works_on(id);
        }
    }

    fn job_act(&mut self, act: JobAct) {
        match act {
            JobAct::Object(key, act) => {
                let act = ActAt { tick: 0, key, act };
                if self.may_act(&act, &[]) {
                    self.act(&act);
                }
            }
            JobAct::Versioning(versioning) => self.switch_for_jobs(versioning),
            JobAct::Cluster(starts) => {
                if !(starts && self.jobs.judging) {
                    self.count(if starts { "cluster: starts" } else { "cluster: ends" });
                    self.trace(|_| format!("a cluster starts: {starts}"));
                    self.jobs.cluster = starts;
                }
            }
            JobAct::Console(id) => {
                let now = self.history.bucket.versioning;
                let Some(job) = self.jobs.all.get_mut(id) else { return };
                if job.is_own && job.phase == JobPhase::Awaiting && job.versioning == now {
                    job.phase = JobPhase::Running;
                    self.count("job: confirmed in the console");
                    self.trace(|_| format!("job {id} is confirmed in the console"));
                }
            }
        }
    }

    fn switch_for_jobs(&mut self, versioning: Versioning) {
        let is_running = self.jobs.all.iter().any(|job| job.phase == JobPhase::Running);
        let from = self.history.bucket.versioning;
        let is_held = self.jobs.judging || is_running;
        let may = match versioning {
            Versioning::Enabled => true,
            Versioning::Suspended => from != Versioning::Unversioned && !is_held,
            Versioning::Unversioned => false,
        };
        if !may || from == versioning {
            return;
        }
        self.flush(false);
        self.history.bucket.versioning = versioning;
        self.trace(|_| format!("the owner switches versioning: {versioning:?}"));
        self.count(match (from, self.jobs.all.is_empty(), is_running) {
            (Versioning::Unversioned, _, true) => "job: versioning is enabled while it runs",
            (Versioning::Unversioned, false, _) => "job: versioning is enabled after it was made",
            _ => "owner: switches versioning",
        });
    }

    // ---- Runs that create jobs -----------------------------------------------------------------

    /// `--batch --apply`: lists and looks up objects, looks up the planned ones again, and creates
    /// a job for each class and method.
    fn make_by_manifest(&mut self, run: &mut JobRun<'_>, place: usize) {
        let versioning = self.history.bucket.versioning;
        if self.is_switched_off(place, false) {
            return self.count("job: not made: the safety switch");
        }
        self.moment(run);
        let mut planned = Vec::new();
        for (entry, is_latest) in listed(&self.history.bucket, place, versioning) {
            self.moment(run);
            let known = self.history.ledgers[0].get(&entry);
            let gives_way = known.is_none_or(RepairState::gives_way);
            let Some(seen) = self.history.bucket.find(entry.0, entry.1.as_deref()) else {
                continue;
            };
            let choice = self.choose_for_job(&seen.snapshot.clone(), is_latest);
            if let Choice::Do(method) = choice
                && gives_way
            {
                planned.push((entry, method));
            }
        }
        let bucket = JobBucket { versioning, dsse: false };
        let mut groups: Vec<(JobOperationKind, &'static str, Vec<Task>)> = Vec::new();
        for ((key, version), method) in planned {
            self.moment(run);
            let now = self.history.bucket.now;
            let Some(seen) = self.history.bucket.find(key, version.as_deref()).cloned() else {
                continue;
            };
            match self.rules().fit(&seen.snapshot, method, bucket, now) {
                Err(why) => self.count(not_made(why)),
                Ok(method) => {
                    let is_update =
                        method == crate::reencrypt::machine::choice::RepairMethod::Update;
                    let kind =
                        if is_update { JobOperationKind::Update } else { JobOperationKind::Copy };
                    let class = if is_update { "" } else { class_of(&seen.snapshot.storage_class) };
                    let seen = Some((seen.serial, seen.snapshot));
                    let task = Task { bucket: BUCKET, key, version, seen };
                    match groups.iter_mut().find(|it| it.0 == kind && it.1 == class) {
                        Some((_, _, tasks)) => tasks.push(task),
                        None => groups.push((kind, class, vec![task])),
                    }
                }
            }
        }
        for (kind, class, tasks) in groups {
            self.moment(run);
            let name = match kind {
                JobOperationKind::Copy => "job: made of a manifest, copies",
                _ => "job: made of a manifest, updates",
            };
            self.count(name);
            self.add(Job { tasks, ..own(kind, List::Manifest, class, versioning) });
        }
    }

    fn choose_for_job(&self, seen: &Snapshot, is_latest: bool) -> Choice {
        let bucket = &self.history.bucket;
        let state = ObjectState {
            customer_key: false,
            has_data_key: seen.has_data_key(),
            size: seen.size,
            is_latest,
            archive: seen.archive,
            locked: seen.lock.protects(bucket.now),
            loss: None,
            replaced: false,
            null: seen.id() == NULL,
        };
        let wish = RequestedEncryption {
            updatable: bucket.kms && self.history.scenario.updatable,
            restore: false,
            purge: false,
            purge_overwritten: false,
        };
        choose(&state, bucket.offends(seen), wish)
    }

    /// `--batch --generate-manifest --apply`.
    fn make_by_list(&mut self, run: &mut JobRun<'_>, place: usize) {
        let versioning = self.history.bucket.versioning;
        if self.is_switched_off(place, false) {
            return self.count("job: not made: the safety switch");
        }
        self.moment(run);
        let bucket = JobBucket { versioning, dsse: false };
        match self.rules().may_list(bucket, self.hidden()) {
            Err(why) => self.count(not_made(why)),
            Ok(()) => {
                for class in ["STANDARD", "STANDARD_IA"] {
                    self.moment(run);
                    self.count("job: made of a list by S3, copies");
                    let list = List::Generated(place, class);
                    self.add(own(JobOperationKind::Copy, list, class, versioning));
                }
            }
        }
        if self.history.bucket.kms && self.history.scenario.updatable {
            self.moment(run);
            self.count("job: made of a list by S3, updates");
            let list = List::Generated(place, "");
            self.add(own(JobOperationKind::Update, list, "", versioning));
        }
    }

    /// The properties that the bucket's objects may have in this history.
    fn hidden(&self) -> HiddenLosses {
        use crate::objects::scenario::Act;
        let scenario = &self.history.scenario;
        let of_jobs = scenario.jobs.stages.iter().flat_map(|stage| &stage.acts);
        let of_jobs = of_jobs.filter_map(|(_, act)| match act {
            JobAct::Object(_, act) => Some(*act),
            _ => None,
        });
        let mut acts = scenario.acts.iter().map(|act| act.act).chain(of_jobs);
        let mut first = scenario.keys.iter().flatten();
        HiddenLosses {
            locks: false,
            acls: acts.any(|act| matches!(act, Act::Acl(_, true)))
                || scenario.keys.iter().flatten().any(|it| it.public),
            redirects: first.any(|it| it.redirect),
        }
    }

    fn make_foreign(&mut self, foreign: ForeignJob) {
        let task = |bucket, (key, version): Entry| Task { bucket, key, version, seen: None };
        let versioning = self.history.bucket.versioning;
        let all = listed(&self.history.bucket, 0, versioning);
        let here: Vec<Task> = all.into_iter().map(|(entry, _)| task(BUCKET, entry)).collect();
        let there = || vec![task(OTHER, (0, None))];
        let copy = own(JobOperationKind::Copy, List::Manifest, "STANDARD", versioning);
        let copy = Job { is_own: false, ..copy };
        self.count("job: somebody else's");
        self.add(match foreign {
            ForeignJob::OtherBucket => Job { tasks: there(), target: OTHER, ..copy },
            ForeignJob::OtherBucketLast => {
                Job { tasks: here.into_iter().chain(there()).collect(), ..copy }
            }
            ForeignJob::OtherTarget => Job { tasks: here, target: OTHER, ..copy },
            ForeignJob::Everything => Job { tasks: here, ..copy },
            ForeignJob::OtherOperation => {
                Job { tasks: here, kind: JobOperationKind::Other, ..copy }
            }
            ForeignJob::OtherDescription => Job { tasks: here, is_described: false, ..copy },
        });
    }

    fn add(&mut self, job: Job) {
        let id = self.jobs.all.len();
        self.trace(|_| format!("job {id} is made: {job:?}"));
        self.jobs.all.push(job);
    }

    // ---- Runs that confirm jobs ----------------------------------------------------------------

    /// Whether the safety switch refuses changes in this location.
    fn is_switched_off(&self, place: usize, unnamed: bool) -> bool {
        let in_use = self.history.scenario.jobs.used[place] && self.jobs.cluster;
        self.rules().is_switched_off(true, unnamed || in_use)
    }

    /// `--batch-status`
    fn job_status(&mut self, run: &mut JobRun<'_>, step: JobStep) {
        let JobStep::Status { place, confirm, named, unnamed } = step else { return };
        if confirm && self.is_switched_off(place, unnamed) {
            return self.count("job: not confirmed: the safety switch");
        }
        self.moment(run);
        let named = named.and_then(|back| self.jobs.all.len().checked_sub(back + 1));
        let Some(chosen) = (match named {
            Some(id) => self.choose_named(id, place, confirm),
            None => Some(self.choose_within(run, place)),
        }) else {
            return;
        };
        if confirm {
            let mut is_refused = false;
            for (id, is_within) in &chosen {
                self.moment(run);
                if *is_within && self.jobs.all[*id].phase.awaits_confirmation() {
                    is_refused |= !self.may_confirm(run, *id, place);
                }
            }
            if is_refused {
                return;
            }
        }
        for (id, is_within) in chosen {
            self.follow(run, (id, is_within), (place, confirm, unnamed));
        }
    }

    /// The named job; true: its objects were checked against the location.
    fn choose_named(
        &mut self,
        id: usize,
        place: usize,
        confirm: bool,
    ) -> Option<Vec<(usize, bool)>> {
        let job = &self.jobs.all[id];
        if !(confirm && job.phase.awaits_confirmation()) {
            return Some(vec![(id, false)]);
        }
        if !job.is_described && !mutated!(self.rules(), NamedIsOwn) {
            self.count("job: not confirmed: somebody else's");
            return None;
        }
        if !self.is_within(id, place) {
            self.count("job: not confirmed: outside the places");
            return None;
        }
        Some(vec![(id, true)])
    }

    /// This program's unfinished jobs within the location.
    fn choose_within(&mut self, run: &mut JobRun<'_>, place: usize) -> Vec<(usize, bool)> {
        let mut chosen = Vec::new();
        let count = self.jobs.all.len();
        let is_own = |job: &Job| job.is_described && job.phase != JobPhase::Over;
        let own: Vec<usize> = (0..count).filter(|id| is_own(&self.jobs.all[*id])).collect();
        for id in own {
            self.moment(run);
            if self.is_within(id, place) {
                chosen.push((id, true));
            } else {
                self.count("job: left alone: outside the places");
                if self.jobs.all[id].is_own && self.jobs.all[id].is_truly_within(place) {
                    let what = format!("job {id} is in {}, and is not named", PREFIXES[place]);
                    self.history.broken.push((E, what));
                }
            }
        }
        chosen
    }

    /// Checks a job's objects against the location, line by line.
    fn is_within(&self, id: usize, place: usize) -> bool {
        let (job, rules) = (&self.jobs.all[id], self.rules());
        let target = (job.kind == JobOperationKind::Copy).then_some(job.target);
        let holds =
            |bucket, name| rules.place([(BUCKET, PREFIXES[place])], bucket, name, target).is_ok();
        match job.list {
            List::Generated(prefix, _) => holds(BUCKET, PREFIXES[prefix]),
            List::Manifest => {
                let lines = if mutated!(rules, FirstLineForAll) { 1 } else { job.tasks.len() };
                job.tasks.iter().take(lines).all(|task| holds(task.bucket, NAMES[task.key]))
            }
        }
    }

    /// Looks up what can have changed since a job was created.
    fn may_confirm(&mut self, run: &mut JobRun<'_>, id: usize, place: usize) -> bool {
        self.jobs.judging = true;
        let in_use = self.history.scenario.jobs.used[place] && self.jobs.cluster;
        self.moment(run);
        let versioning = self.history.bucket.versioning;
        self.moment(run);
        self.jobs.judging = false;
        let kind = self.jobs.all[id].kind;
        let objections = self.rules().objections(kind, in_use, [(BUCKET, versioning)]);
        for objection in &objections {
            self.count(match objection {
                JobObjection::ClustersRun => "job: not confirmed: clusters run",
                JobObjection::OtherOperation => "job: not confirmed: another operation",
                JobObjection::Versions(..) => "job: not confirmed: versions since",
            });
        }
        self.trace(|_| format!("job {id} is judged: {objections:?}"));
        objections.is_empty()
    }

    fn follow(
        &mut self,
        run: &mut JobRun<'_>,
        (id, is_within): (usize, bool),
        (place, confirm, unnamed): (usize, bool, bool),
    ) {
        let mut is_confirmed = false;
        for _ in 0..ASKED {
            self.moment(run);
            match self.jobs.all[id].phase.next_step(confirm, is_confirmed) {
                FollowStep::Ended => return self.count("job: followed until it is over"),
                FollowStep::Left => return self.count("job: left unconfirmed"),
                FollowStep::Wait => self.s3_works(),
                FollowStep::JudgeAndConfirm => {
                    let judged = mutated!(self.rules(), JudgedWhenChosen)
                        || is_within && self.may_confirm(run, id, place);
                    if !judged {
                        return;
                    }
                    self.confirm(id, place, unnamed);
                    is_confirmed = true;
                }
            }
        }
    }

    /// `UpdateJobStatus`, checked against the truth.
    fn confirm(&mut self, id: usize, place: usize, unnamed: bool) {
        let job = &self.jobs.all[id];
        let in_use = self.history.scenario.jobs.used[place] && self.jobs.cluster;
        let broken = [
            (!job.is_truly_within(place), "is not all within the place"),
            (!job.is_described, "is described as somebody else's"),
            (job.kind == JobOperationKind::Other, "neither copies nor updates"),
            (in_use, "is in a place that a cluster uses"),
            (unnamed, "is in a bucket that nobody has named"),
        ];
        for (_, what) in broken.iter().filter(|(is_broken, _)| *is_broken) {
            self.history.broken.push((F, format!("job {id} was confirmed, and {what}")));
        }
        self.jobs.all[id].phase = JobPhase::Running;
        self.count("job: confirmed");
        self.trace(|_| format!("job {id} is confirmed"));
    }

    // ---- S3 ------------------------------------------------------------------------------------

    /// One step of S3 on a job.
    fn s3_works_on(&mut self, id: usize) {
        match self.jobs.all[id].phase {
            JobPhase::Preparing => {
                if let List::Generated(place, class) = self.jobs.all[id].list {
                    let tasks = self.generated(place, class);
                    self.trace(|_| format!("S3 lists for job {id}: {tasks:?}"));
                    self.jobs.all[id].tasks = tasks;
                }
                self.jobs.all[id].phase = JobPhase::Awaiting;
            }
            JobPhase::Running => {
                let job = &self.jobs.all[id];
                let Some(task) = job.tasks.get(job.done).cloned() else {
                    self.count("job: over");
                    self.jobs.all[id].phase = JobPhase::Over;
                    return;
                };
                let (kind, class) = (job.kind, job.class);
                self.jobs.all[id].done += 1;
                if task.bucket == BUCKET && self.jobs.all[id].target == BUCKET {
                    self.task(id, kind, class, &task);
                }
            }
            JobPhase::Awaiting | JobPhase::Over => {}
        }
    }

    /// The list that S3 generates: for a bucket with versions it contains all of them.
    fn generated(&self, place: usize, class: &str) -> Vec<Task> {
        let bucket = &self.history.bucket;
        let all = listed(bucket, place, bucket.versioning);
        let task = |((key, version), _): (Entry, bool)| {
            let found = bucket.find(key, version.as_deref())?;
            let seen = &found.snapshot;
            let wanted = match class {
                "" => seen.algorithm.as_deref() == Some("AES256"),
                class => {
                    seen.algorithm.is_none() && seen.storage_class == class && seen.size < LARGE
                }
            };
            let seen = Some((found.serial, seen.clone()));
            wanted.then_some(Task { bucket: BUCKET, key, version, seen })
        };
        all.into_iter().filter_map(task).collect()
    }

    /// S3's operation on one object.
    fn task(&mut self, id: usize, kind: JobOperationKind, class: &str, task: &Task) {
        let Task { key, version, seen, .. } = task;
        let (key, version) = (*key, version.as_deref());
        let bucket = &mut self.history.bucket;
        let found = bucket.find(key, version).filter(|it| it.snapshot.size < LARGE);
        let Some(found) = found.cloned().filter(|_| kind != JobOperationKind::Other) else {
            return self.count("job: a task fails");
        };
        self.history.disturbed[key] = true;
        if kind == JobOperationKind::Update {
            bucket.update(key, version);
            self.count("job: a task updates");
            return;
        }
        let is_as_seen = seen.as_ref().is_some_and(|(serial, seen)| {
            *serial == found.serial
                && seen.grants == found.snapshot.grants
                && seen.headers == found.snapshot.headers
                && seen.storage_class == found.snapshot.storage_class
        });
        let was_encrypted = found.snapshot.algorithm.clone();
        let tolerance =
            if is_as_seen { Tolerance::Nothing } else { Tolerance::AttributesChangedSince };
        let broken = bucket.copy_by_job(key, &found, class, tolerance);
        let is_weaker = was_encrypted.as_deref() == Some("aws:kms") && !bucket.kms;
        self.count("job: a task copies");
        if !is_as_seen {
            self.count("job: a task copies what was changed since");
        }
        if is_weaker {
            self.count("job: a task takes a writer's encryption");
        }
        debug_assert!(broken.iter().all(|(law, _)| [A, B].contains(law)));
        self.history.broken.extend(broken);
        self.trace(|it| {
            let versions: Vec<String> = it.history.bucket.keys[key]
                .iter()
                .map(crate::objects::bucket::Version::text)
                .collect();
            format!("job {id} copies key {key} {version:?} → {versions:?}")
        });
    }
}

impl Job {
    /// Whether all objects that it changes are in this location. S3 fails a job without objects.
    fn is_truly_within(&self, place: usize) -> bool {
        let holds = |name: &str| name.starts_with(PREFIXES[place]);
        let is_held = match self.list {
            List::Generated(prefix, _) => holds(PREFIXES[prefix]),
            List::Manifest => true,
        };
        is_held
            && (self.target == BUCKET || self.list == List::Manifest && self.tasks.is_empty())
            && self.tasks.iter().all(|it| it.bucket == BUCKET && holds(NAMES[it.key]))
    }
}

/// A new job of this program.
fn own(kind: JobOperationKind, list: List, class: &'static str, versioning: Versioning) -> Job {
    Job {
        is_own: true,
        is_described: true,
        kind,
        list,
        tasks: Vec::new(),
        target: BUCKET,
        class,
        phase: JobPhase::Preparing,
        done: 0,
        versioning,
    }
}

/// The listing of this location; true: it is current.
fn listed(bucket: &Bucket, place: usize, versioning: Versioning) -> Vec<(Entry, bool)> {
    let is_versioned = versioning != Versioning::Unversioned;
    let mut all = Vec::new();
    for (key, versions) in bucket.keys.iter().enumerate() {
        if !NAMES[key].starts_with(PREFIXES[place]) {
            continue;
        }
        let count = if is_versioned { versions.len() } else { versions.len().min(1) };
        for (index, version) in versions.iter().take(count).enumerate() {
            if !version.marker {
                let id = is_versioned.then(|| version.id().to_owned());
                all.push(((key, id), index == 0));
            }
        }
    }
    all
}

fn not_made(why: NotForJob) -> &'static str {
    match why {
        NotForJob::Versions => "job: not made: versions",
        NotForJob::TooLarge => "job: not made: too large",
        NotForJob::Acl => "job: not made: ACL",
        NotForJob::Redirect => "job: not made: redirect",
        NotForJob::Dsse | NotForJob::Lock => "job: not made: another reason",
    }
}

//! The audit of S3 itself: every location is listed and every object is read by HeadObject. If the
//! state of an earlier audit of the same scope was kept, the scan continues from it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    audit::{
        error::AuditError,
        inputs::AuditInputs,
        offenders::Offenders,
        progress::Progress,
        result::AuditResult,
        source::FactSource,
        state::{ScanState, SplitState, StateFile},
        tally::ObjectJudgement,
    },
    base::lookup::Lookup,
    facts::scan::{
        Scan,
        pace::ConcurrencyLimit,
        pages,
        scope::{Batch, ScanScope, Split, SplitProgress},
    },
    system::signals::{self, Caught},
};

/// How many objects are read at once, in all and in one split. S3 also limits the rate by itself.
const HEADS_AT_ONCE: usize = 128;
const HEADS_IN_A_SPLIT: usize = 64;
/// How many locations are scanned at once.
const TARGETS_AT_ONCE: usize = 4;
/// How often the state of a scan is saved.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// What the scan of a location reports.
enum ScanEvent {
    /// The location was cut into these splits.
    Cut(usize, Vec<Split>),
    /// A page of one split of the location is done.
    Batch(usize, Batch),
    /// The location cannot be listed at all.
    Stopped(usize, Lookup<()>),
}

/// How the work on all targets ended.
enum WorkEnd {
    Finished,
    Stopped(Signal),
}

/// How an audit of S3 itself ended.
pub(crate) enum ScanEnd {
    Finished {
        result: AuditResult,
        /// Whether some of it could not be listed and the state is saved, so that a later audit can
        /// retry.
        can_resume: bool,
    },
    Stopped {
        signal: Signal,
        /// Whether the state is saved, so that a later audit continues from there.
        can_resume: bool,
    },
}

/// An audit of S3 itself. It locks its state file, if there is one, as long as it lives.
pub(crate) struct LiveScan<'a> {
    inputs: &'a AuditInputs,
    file: Option<StateFile>,
    state: ScanState,
    /// Whether the state comes from an earlier audit.
    is_resumed: bool,
}

impl<'a> LiveScan<'a> {
    /// Takes the state file in `state_dir`, and continues from the state of an earlier audit.
    /// Without a directory no state is saved.
    ///
    /// # Errors
    /// [`AuditError::State`] when the file cannot be used.
    pub(crate) fn open(
        inputs: &'a AuditInputs,
        state_dir: Option<&Path>,
    ) -> Result<Self, AuditError> {
        let number = inputs.targets.len();
        let file = state_dir.map(|folder| StateFile::take(folder, &inputs.digest())).transpose()?;
        let earlier = file.as_ref().map(|file| file.read(number)).transpose()?.flatten();
        let is_resumed = earlier.is_some();
        let mut state = earlier.unwrap_or_else(|| ScanState::new(inputs.started, number));
        if is_resumed {
            // Retry the parts that could not be listed then.
            for target in &mut state.targets {
                target.tally.unlisted.clear();
                target.tally.no_bucket = false;
            }
        }
        Ok(Self { inputs, file, state, is_resumed })
    }

    /// When the audit that this one continues was started.
    pub(crate) fn resumed_from(&self) -> Option<OffsetDateTime> {
        self.is_resumed.then_some(self.state.started)
    }

    /// Scans everything that is not done, until the end or a stop signal.
    ///
    /// # Errors
    /// [`AuditError`] when the list of offenders or the state cannot be written.
    pub(crate) async fn run(&mut self, caught: &mut Caught) -> Result<ScanEnd, AuditError> {
        let mut list = self.inputs.open_list(
            self.is_resumed.then_some((self.state.offenders, self.state.draft.as_deref())),
        )?;
        let crew = ConcurrencyLimit::new(HEADS_AT_ONCE, HEADS_IN_A_SPLIT);
        let end = self.scan(&crew, list.as_mut(), caught).await?;
        if let WorkEnd::Stopped(signal) = end {
            if let (Some(list), None) = (list, &self.file) {
                list.abandon();
            }
            return Ok(ScanEnd::Stopped { signal, can_resume: self.file.is_some() });
        }
        let (splits, done) = self.state.progress();
        let is_whole =
            splits == done && self.state.targets.iter().all(|target| target.splits.is_some());
        let can_resume = self.file.is_some() && !is_whole;
        if is_whole && let Some(file) = &self.file {
            file.remove();
        }
        let options = &self.inputs.options;
        let targets = std::mem::take(&mut self.state.targets);
        let result = AuditResult {
            started: self.state.started,
            source: FactSource::Live { versions: options.versions, slowed_down: crew.slowed() },
            targets: self.inputs.targets.clone(),
            tallies: targets.into_iter().map(|target| target.tally).collect(),
            offenders: list.filter(|_| !can_resume),
        };
        Ok(ScanEnd::Finished { result, can_resume })
    }

    /// Scans all targets, starting from the state.
    async fn scan(
        &mut self,
        crew: &Arc<ConcurrencyLimit>,
        mut list: Option<&mut Offenders>,
        caught: &mut Caught,
    ) -> Result<WorkEnd, AuditError> {
        let (sender, mut events) = mpsc::channel(TARGETS_AT_ONCE);
        let mut scans = tokio::task::JoinSet::new();
        self.start(crew, &sender, &mut scans);
        drop(sender);
        let mut progress = Progress::new(self.inputs.options.quiet);
        let mut due = tokio::time::interval(KEEP_EVERY);
        due.tick().await;
        let end = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        let objects = self.count(event, list.as_deref_mut())?;
                        let (splits, done) = self.state.progress();
                        progress.advance(objects, splits as u64, done as u64);
                    }
                    None => break WorkEnd::Finished,
                },
                _ = due.tick() => self.keep(list.as_deref_mut())?,
                signal = signals::stop_signal(caught) => break WorkEnd::Stopped(signal),
            }
        };
        progress.finish();
        self.keep(list)?;
        if matches!(end, WorkEnd::Stopped(_)) {
            scans.abort_all();
            return Ok(end);
        }
        // A scan that panicked has not seen everything. That is a bug, and must not look like a
        // clean audit.
        while let Some(ended) = scans.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        Ok(end)
    }

    /// Starts a scan of each target that is not done.
    fn start(
        &self,
        crew: &Arc<ConcurrencyLimit>,
        sender: &mpsc::Sender<ScanEvent>,
        scans: &mut tokio::task::JoinSet<()>,
    ) {
        let gate = Arc::new(Semaphore::new(TARGETS_AT_ONCE));
        let has_answered = Arc::new(AtomicBool::new(false));
        for (index, (target, known)) in
            self.inputs.targets.iter().zip(&self.state.targets).enumerate()
        {
            let scope = ScanScope {
                location: target.location.clone(),
                versions: self.inputs.options.versions,
                since: None,
                except: target.except.iter().map(|inner| inner.prefix.clone()).collect(),
            };
            let splits = known.splits.as_ref().map(|splits| {
                let open = splits.iter().enumerate().filter(|(_, split)| !split.done);
                open.map(|(number, split)| (number, split.split.clone()))
                    .unzip::<_, _, Vec<usize>, Vec<Split>>()
            });
            let (aws, crew, sender, gate) =
                (self.inputs.aws.clone(), Arc::clone(crew), sender.clone(), Arc::clone(&gate));
            let has_answered = Arc::clone(&has_answered);
            scans.spawn(async move {
                // The semaphore is never closed, so a permit always comes.
                let _permit = gate.acquire().await;
                let (s3, region) = aws.s3_of(&scope.location.bucket).await;
                if let Some(why) = never_reached(&region, &has_answered) {
                    let _ = sender.send(ScanEvent::Stopped(index, why)).await;
                    return;
                }
                // An error means that the receiver is gone, and no work is left to do.
                let _ = scan_one(&s3, &scope, splits, index, &crew, &sender).await;
            });
        }
    }

    /// Counts the objects of an event. Returns their number.
    fn count(
        &mut self,
        event: ScanEvent,
        mut list: Option<&mut Offenders>,
    ) -> Result<u64, AuditError> {
        let (inputs, state) = (self.inputs, &mut self.state);
        match event {
            ScanEvent::Cut(index, splits) => {
                state.targets[index].splits =
                    Some(splits.into_iter().map(SplitState::new).collect());
            }
            ScanEvent::Stopped(index, why) => state.targets[index].tally.stopped(&why),
            ScanEvent::Batch(index, batch) => {
                let target = &mut state.targets[index];
                for object in &batch.objects {
                    if let Some(seen) = target.tally.scanned(object)
                        && ObjectJudgement::of(&inputs.wanted, seen.stored, true)
                            == ObjectJudgement::Offender
                        && let Some(list) = list.as_deref_mut()
                    {
                        list.add(&seen, &inputs.targets[index].roles.join(" "))
                            .map_err(|error| AuditError::Offenders(error.to_string()))?;
                    }
                }
                let split = target.splits.as_mut().and_then(|splits| splits.get_mut(batch.split));
                match (batch.reached, split) {
                    (SplitProgress::Position(position), Some(split)) => split.reach(position),
                    (SplitProgress::End, Some(split)) => split.done = true,
                    (SplitProgress::Stopped(why), _) => target.tally.stopped(&why),
                    (SplitProgress::Position(_) | SplitProgress::End, None) => {}
                }
                return Ok(batch.objects.len() as u64);
            }
        }
        Ok(0)
    }

    /// Flushes the list of offenders to the disk first, then saves the scan's state.
    fn keep(&mut self, list: Option<&mut Offenders>) -> Result<(), AuditError> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(list) = list {
            self.state.offenders =
                list.sync().map_err(|error| AuditError::Offenders(error.to_string()))?;
            self.state.draft = list.draft_name();
        }
        Ok(file.write(&self.state)?)
    }
}

/// Why S3 is not asked for lists, if it has never answered: no network, no credentials. The client
/// for lists retries for a minute, which is meant for interruptions of a scan under way.
fn never_reached(region: &Lookup<String>, has_answered: &AtomicBool) -> Option<Lookup<()>> {
    let Some(error) = region.never_reached() else {
        has_answered.store(true, Ordering::Relaxed);
        return None;
    };
    (!has_answered.load(Ordering::Relaxed)).then(|| Lookup::Unreachable(error.clone()))
}

/// Scans one target; none when the receiver is gone.
async fn scan_one(
    s3: &aws_sdk_s3::Client,
    scope: &ScanScope,
    splits: Option<(Vec<usize>, Vec<Split>)>,
    index: usize,
    crew: &Arc<ConcurrencyLimit>,
    sender: &mpsc::Sender<ScanEvent>,
) -> Option<()> {
    let (numbers, splits) = match splits {
        Some(known) => known,
        None => match pages::cut(s3, &scope.location).await {
            Lookup::Found(splits) => {
                sender.send(ScanEvent::Cut(index, splits.clone())).await.ok()?;
                ((0..splits.len()).collect(), splits)
            }
            other => return sender.send(ScanEvent::Stopped(index, other.map(drop))).await.ok(),
        },
    };
    let mut scan = Scan::start(s3, scope, splits, crew);
    while let Some(mut batch) = scan.next().await {
        batch.split = numbers[batch.split];
        sender.send(ScanEvent::Batch(index, batch)).await.ok()?;
    }
    Some(())
}

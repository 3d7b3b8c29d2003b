//! The command `audit`: what lies in S3 already, location by location, and how it is encrypted.
//!
//! One line: scope, then objects (from S3 itself or from an inventory of it), then tallies and the
//! list of offenders, then the report. Nothing is changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    audit::{
        error::AuditError,
        inventory::Inventory,
        object_row,
        offenders::Offenders,
        progress::Progress,
        scope::{self, ScopeError, Target},
        source::Source,
        state::{SplitState, State, StateFile},
        tally::{Judgement, Tally},
    },
    aws::{ca_certificates, clients::Aws, region::Regions},
    base::{
        digest::sha256,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::KeyReference,
        outcome::Outcome,
        text,
    },
    checks::stored::Standard,
    commands::{
        cli::{AuditArguments, AuditOptions},
        error::GuardError,
    },
    facts::{
        kms,
        scan::{
            Scan,
            pace::Crew,
            pages,
            scope::{Batch, Reached, Scope, Split},
        },
    },
    report::{audited::Audited, options::CheckOptions, reporter::Report},
    runners::emr_etl_runner::{config::RunnerConfig, invocation::Invocation},
    settings::{policy::Policy, resolve::Settings},
    system::signals::{self, Caught},
};

/// So many objects are asked at once, in all and in one split, which S3 limits by itself.
const HEADS_AT_ONCE: usize = 128;
const HEADS_IN_A_SPLIT: usize = 64;
/// So many locations are scanned at once.
const TARGETS_AT_ONCE: usize = 4;
/// How often the state of a scan is kept.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// What is audited, by whose eyes, and by which policy.
struct Audit<'a> {
    options: &'a AuditOptions,
    settings: &'a Settings,
    aws: Aws,
    wanted: Standard,
    targets: Vec<Target>,
    started: OffsetDateTime,
}

/// The command.
pub(crate) async fn audit(
    arguments: &AuditArguments,
    settings: &Settings,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let options = &arguments.audit;
    let report =
        Report::open(settings, &CheckOptions { json: options.json, ..CheckOptions::default() })
            .map_err(GuardError::Report)?;
    let config = match arguments.launch.arguments.as_slice() {
        [] => None,
        words => match Invocation::parse(words)? {
            Invocation::Run(invocation) => Some(
                crate::commands::read_config::read_config(&invocation, settings, &mut caught)
                    .await?,
            ),
            Invocation::NoLaunch => None,
        },
    };
    let targets = targets(arguments, config.as_ref(), &settings.policy)?;
    ca_certificates::has_trust()?;
    let gathered = async {
        let aws = connect(config.as_ref(), settings).await?;
        let wanted = wanted(&aws, &settings.policy).await?;
        Ok::<_, AuditError>((aws, wanted))
    };
    let (aws, wanted) = tokio::select! {
        gathered = gathered => gathered?,
        signal = signals::stop_signal(&mut caught) => return Ok(stopped(&report, signal, " before it began")),
    };
    let audit =
        Audit { options, settings, aws, wanted, targets, started: OffsetDateTime::now_utc() };
    if options.inventory.is_empty() {
        audit.live(&report, &mut caught).await
    } else {
        audit.by_inventory(&report, &mut caught).await
    }
}

/// Says that a stop ended it.
fn stopped(report: &Report, signal: Signal, how_far: &str) -> Outcome {
    let outcome = Outcome::Signalled(u8::try_from(signal as i32).unwrap_or_default());
    report.trouble(outcome, &[format!("the audit was stopped by {signal}{how_far}").into()]);
    outcome
}

fn targets(
    arguments: &AuditArguments,
    config: Option<&RunnerConfig>,
    policy: &Policy,
) -> Result<Vec<Target>, AuditError> {
    match (config, arguments.locations.as_slice()) {
        (Some(_), [_, ..]) => Err(AuditError::Usage(
            "give either locations or the runner's arguments, not both".to_owned(),
        )),
        (Some(config), []) => Ok(scope::of_config(config, policy)?),
        (None, []) if !arguments.audit.inventory.is_empty() => Ok(Vec::new()),
        (None, []) => Err(ScopeError::Nothing.into()),
        (None, locations) => Ok(scope::named(locations)?),
    }
}

async fn connect(config: Option<&RunnerConfig>, settings: &Settings) -> Result<Aws, AuditError> {
    let regions = Regions::of_config_or_default(config).await;
    let aws = Aws::connect(&regions, config.map(|config| &config.credentials), settings).await;
    if let Some(endpoint) = aws.refused_endpoints().next() {
        return Err(AuditError::Unusable(format!(
            "the endpoint of {} is {}, which is not AWS's; what it says proves nothing (allow it by name in the setting `allow_endpoints`)",
            endpoint.service, endpoint.url
        )));
    }
    Ok(aws)
}

/// What the policy accepts, its keys by their ARNs, as objects name them.
async fn wanted(aws: &Aws, policy: &Policy) -> Result<Standard, AuditError> {
    let mut keys = Vec::new();
    for expected in &policy.expected_keys {
        let described = kms::describe(&aws.kms, &KeyReference::new(expected)).await;
        keys.push(match described {
            Lookup::Found(key) => key.arn.to_string(),
            _ if expected.starts_with("arn:") && expected.contains(":key/") => expected.clone(),
            Lookup::Absent => {
                let region = aws.kms.config().region().map_or_else(String::new, |region| format!(" in {region}"));
                let why = format!(
                    "there is no KMS key {expected}{region}, and the policy expects it (setting `expected_keys`); name it by its ARN, or its region in AWS_REGION"
                );
                return Err(AuditError::Unusable(why));
            }
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                let why = format!("which key {expected} is (setting `expected_keys`) cannot be told: {}; {}", obstacle.message, obstacle.operation);
                return Err(AuditError::Unusable(why));
            }
        });
    }
    Ok(Standard::with_arns(policy, keys))
}

/// What the scans of all locations tell.
enum Event {
    /// A location was cut into these splits.
    Cut(usize, Vec<Split>),
    /// A page of a split of a location is done.
    Batch(usize, Batch),
    /// A location cannot be listed at all.
    Stopped(usize, Lookup<()>),
}

/// What inventories came to.
struct Read {
    source: Source,
    targets: Vec<Target>,
    tallies: Vec<Tally>,
    list: Option<Offenders>,
}

/// How a scan ended.
enum End {
    Finished,
    Stopped(Signal),
}

impl Audit<'_> {
    /// Asks S3 itself.
    async fn live(&self, report: &Report, caught: &mut Caught) -> Result<Outcome, GuardError> {
        let file = if self.options.resume {
            Some(
                StateFile::take(
                    &crate::evidence::journal::state_dir(self.settings)?,
                    &self.digest(),
                )
                .map_err(AuditError::from)?,
            )
        } else {
            None
        };
        let earlier = file.as_ref().and_then(|file| file.read(self.targets.len()));
        let mut state =
            earlier.clone().unwrap_or_else(|| State::new(self.started, self.targets.len()));
        if earlier.is_some() {
            report.say(&format!(
                "going on with the audit that began at {}",
                text::shown(state.started)
            ));
            // What could not be listed then is tried again.
            for target in &mut state.targets {
                target.tally.unlisted.clear();
                target.tally.no_bucket = false;
            }
        }
        let mut list = self.list(earlier.map(|state| state.offenders))?;
        let crew = Crew::new(HEADS_AT_ONCE, HEADS_IN_A_SPLIT);
        let end = self.scan(&mut state, &crew, list.as_mut(), file.as_ref(), caught).await?;
        if let End::Stopped(signal) = end {
            let how_far = if file.is_some() {
                "; what it has done is kept, and --resume goes on from there"
            } else {
                "; --resume would have kept what it has done"
            };
            if let (Some(list), None) = (list, &file) {
                list.abandon();
            }
            return Ok(stopped(report, signal, how_far));
        }
        let (splits, done) = state.progress();
        let is_whole = splits == done && state.targets.iter().all(|target| target.splits.is_some());
        match &file {
            Some(file) if is_whole => file.remove(),
            Some(_) => report.say("some of it could not be listed; --resume tries that part again"),
            None => {}
        }
        let audited = Audited {
            started: state.started,
            ended: OffsetDateTime::now_utc(),
            source: Source::Live { versions: self.options.versions, slowed_down: crew.slowed() },
            targets: &self.targets,
            tallies: state.targets.into_iter().map(|target| target.tally).collect(),
            wanted: &self.wanted,
        };
        self.end(report, &audited, list.filter(|_| is_whole || file.is_none()))
    }

    /// Scans all targets, from where `state` stands.
    async fn scan(
        &self,
        state: &mut State,
        crew: &Arc<Crew>,
        mut list: Option<&mut Offenders>,
        file: Option<&StateFile>,
        caught: &mut Caught,
    ) -> Result<End, AuditError> {
        let (sender, mut events) = mpsc::channel(TARGETS_AT_ONCE);
        let mut scans = tokio::task::JoinSet::new();
        self.start(state, crew, &sender, &mut scans);
        drop(sender);
        let mut progress = Progress::new(self.settings.quiet || self.options.json);
        let mut due = tokio::time::interval(KEEP_EVERY);
        due.tick().await;
        let end = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        let objects = self.take(event, state, list.as_deref_mut())?;
                        let (splits, done) = state.progress();
                        progress.advance(objects, splits as u64, done as u64);
                    }
                    None => break End::Finished,
                },
                _ = due.tick() => keep(state, list.as_deref_mut(), file)?,
                signal = signals::stop_signal(caught) => break End::Stopped(signal),
            }
        };
        progress.finish();
        keep(state, list, file)?;
        if matches!(end, End::Stopped(_)) {
            scans.abort_all();
            return Ok(end);
        }
        // A scan that panicked has not seen everything: that is a bug, never a clean audit.
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
        state: &State,
        crew: &Arc<Crew>,
        sender: &mpsc::Sender<Event>,
        scans: &mut tokio::task::JoinSet<()>,
    ) {
        let gate = Arc::new(Semaphore::new(TARGETS_AT_ONCE));
        for (index, (target, known)) in self.targets.iter().zip(&state.targets).enumerate() {
            let scope = Scope {
                location: target.location.clone(),
                versions: self.options.versions,
                since: None,
                except: target.except.iter().map(|inner| inner.prefix.clone()).collect(),
            };
            let splits = known.splits.as_ref().map(|splits| {
                let open = splits.iter().enumerate().filter(|(_, split)| !split.done);
                open.map(|(number, split)| (number, split.split.clone()))
                    .unzip::<_, _, Vec<usize>, Vec<Split>>()
            });
            let (aws, crew, sender, gate) =
                (self.aws.clone(), Arc::clone(crew), sender.clone(), Arc::clone(&gate));
            scans.spawn(async move {
                // Nobody closes the gate, so it always opens.
                let _permit = gate.acquire().await;
                let s3 = aws.s3_of(&scope.location.bucket).await;
                // When nobody listens any more, there is nothing left to do.
                let _ = scan_one(&s3, &scope, splits, index, &crew, &sender).await;
            });
        }
    }

    /// Counts what an event tells; gives how many objects.
    fn take(
        &self,
        event: Event,
        state: &mut State,
        mut list: Option<&mut Offenders>,
    ) -> Result<u64, AuditError> {
        match event {
            Event::Cut(index, splits) => {
                state.targets[index].splits =
                    Some(splits.into_iter().map(SplitState::new).collect())
            }
            Event::Stopped(index, why) => state.targets[index].tally.stopped(&why),
            Event::Batch(index, batch) => {
                let target = &mut state.targets[index];
                for object in &batch.objects {
                    if let Some(seen) = target.tally.scanned(object)
                        && Judgement::of(&self.wanted, seen.stored, true) == Judgement::Offender
                        && let Some(list) = list.as_deref_mut()
                    {
                        list.add(&seen, &self.targets[index].roles.join(" "))
                            .map_err(|error| AuditError::Offenders(error.to_string()))?;
                    }
                }
                let split = target.splits.as_mut().and_then(|splits| splits.get_mut(batch.split));
                match (batch.reached, split) {
                    (Reached::Position(position), Some(split)) => split.reach(position),
                    (Reached::End, Some(split)) => split.done = true,
                    (Reached::Stopped(why), _) => target.tally.stopped(&why),
                    (Reached::Position(_) | Reached::End, None) => {}
                }
                return Ok(batch.objects.len() as u64);
            }
        }
        Ok(0)
    }

    /// Reads inventories.
    async fn by_inventory(
        &self,
        report: &Report,
        caught: &mut Caught,
    ) -> Result<Outcome, GuardError> {
        if self.options.resume || self.options.versions {
            let resume = "--resume is for what is asked of S3 itself; an inventory is read anew";
            let what = if self.options.resume {
                resume
            } else {
                "an inventory has the versions that it has; leave --versions out"
            };
            return Err(AuditError::Usage(what.to_owned()).into());
        }
        let done = tokio::select! {
            done = self.read_inventories() => done?,
            signal = signals::stop_signal(caught) => return Ok(stopped(report, signal, " before the inventory was read to its end")),
        };
        let Read { source, targets, tallies, list } = done;
        let audited = Audited {
            started: self.started,
            ended: OffsetDateTime::now_utc(),
            source,
            targets: &targets,
            tallies,
            wanted: &self.wanted,
        };
        self.end(report, &audited, list)
    }

    async fn read_inventories(&self) -> Result<Read, AuditError> {
        let mut inventories = Vec::new();
        for manifest in &self.options.inventory {
            inventories.push(Inventory::open(&self.aws, manifest).await?);
        }
        let targets = if self.targets.is_empty() {
            scope::buckets(inventories.iter().map(Inventory::bucket))
        } else {
            self.targets.clone()
        };
        let mut tallies: Vec<Tally> = targets.iter().map(|_| Tally::default()).collect();
        for (target, tally) in targets.iter().zip(&mut tallies) {
            if !inventories.iter().any(|inventory| *inventory.bucket() == target.location.bucket) {
                let message = format!(
                    "no inventory of the bucket {} was given (--inventory)",
                    target.location.bucket
                );
                tally.stopped(&Lookup::Unreachable(LookupError::new(
                    "s3:GetObject",
                    LookupErrorKind::NotAsked,
                    message,
                )));
            }
        }
        let mut list = self.list(None)?;
        let mut progress = Progress::new(self.settings.quiet || self.options.json);
        let (mut sources, mut outside, mut trouble) = (Vec::new(), 0, None);
        let (files, mut files_done) =
            (inventories.iter().map(Inventory::files).sum::<usize>() as u64, 0);
        for inventory in &inventories {
            let mut rows = 0;
            let seen = |row: &object_row::Row<'_>| {
                rows += 1;
                let Some(index) = scope::target_of(&targets, row.bucket, row.key) else {
                    outside += 1;
                    return;
                };
                if let Some(seen) = tallies[index].listed(row)
                    && Judgement::of(&self.wanted, seen.stored, false) == Judgement::Offender
                    && let Some(list) = list.as_mut()
                    && let Err(error) = list.add(&seen, &targets[index].roles.join(" "))
                {
                    trouble.get_or_insert(error);
                }
            };
            let done = |rows, is_file| {
                files_done += u64::from(is_file);
                progress.advance(rows, files, files_done);
            };
            inventory.read(&self.aws, seen, done).await?;
            sources.push(inventory.source(OffsetDateTime::now_utc(), rows));
        }
        progress.finish();
        match trouble {
            Some(error) => Err(AuditError::Offenders(error.to_string())),
            None => Ok(Read {
                source: Source::Inventory { inventories: sources, outside },
                targets,
                tallies,
                list,
            }),
        }
    }

    fn list(&self, kept: Option<u64>) -> Result<Option<Offenders>, AuditError> {
        let place = self.options.offenders.as_deref();
        let versions = self.options.versions || !self.options.inventory.is_empty();
        place
            .map(|place| Offenders::open(place, self.options.offenders_format, versions, kept))
            .transpose()
            .map_err(AuditError::Offenders)
    }

    /// What makes this audit another one than that of another scope.
    fn digest(&self) -> String {
        let Self { options, wanted, targets, .. } = self;
        sha256(format!(
            "{targets:?} {} {wanted:?} {:?} {:?}",
            options.versions, options.offenders, options.offenders_format
        ))
    }

    /// Says what was found.
    fn end(
        &self,
        report: &Report,
        audited: &Audited<'_>,
        list: Option<Offenders>,
    ) -> Result<Outcome, GuardError> {
        let outcome = audited.outcome();
        let list: Option<PathBuf> = list
            .map(Offenders::finish)
            .transpose()
            .map_err(|error| AuditError::Offenders(error.to_string()))?;
        report.show(&audited.table());
        report.say(&audited.source_line());
        let listed = list
            .as_deref()
            .map_or_else(String::new, |list| format!("; they are listed in {}", list.display()));
        let verdict = audited.verdict(&self.wanted.in_words());
        match outcome {
            Outcome::Ended(_) => report.say(&verdict),
            Outcome::Refused => crate::system::output::complain(&format!(
                "{verdict}{listed}\n  to do: {}",
                mend(list.as_deref())
            )),
            _ => crate::system::output::complain(&verdict),
        }
        let code = outcome.exit_code(&self.settings.exit_codes);
        report.write_document(&audited.document(
            &self.settings.policy,
            list.as_deref(),
            outcome,
            code,
        )?)?;
        Ok(outcome)
    }
}

/// Scans one target; none when nobody listens any more.
async fn scan_one(
    s3: &aws_sdk_s3::Client,
    scope: &Scope,
    splits: Option<(Vec<usize>, Vec<Split>)>,
    index: usize,
    crew: &Arc<Crew>,
    sender: &mpsc::Sender<Event>,
) -> Option<()> {
    let (numbers, splits) = match splits {
        Some(known) => known,
        None => match pages::cut(s3, &scope.location).await {
            Lookup::Found(splits) => {
                sender.send(Event::Cut(index, splits.clone())).await.ok()?;
                ((0..splits.len()).collect(), splits)
            }
            other => return sender.send(Event::Stopped(index, other.map(drop))).await.ok(),
        },
    };
    let mut scan = Scan::start(s3, scope, splits, crew);
    while let Some(mut batch) = scan.next().await {
        batch.split = numbers[batch.split];
        sender.send(Event::Batch(index, batch)).await.ok()?;
    }
    Some(())
}

/// Has the list of offenders on the disk, then where the scan stands.
fn keep(
    state: &mut State,
    list: Option<&mut Offenders>,
    file: Option<&StateFile>,
) -> Result<(), AuditError> {
    let Some(file) = file else { return Ok(()) };
    if let Some(list) = list {
        state.offenders = list.sync().map_err(|error| AuditError::Offenders(error.to_string()))?;
    }
    Ok(file.write(state)?)
}

/// What is to be done about offenders.
fn mend(list: Option<&Path>) -> String {
    let list = if list.is_some() { "" } else { "name them with --offenders FILE; " };
    format!(
        "{list}encrypt them where they lie with `emr-etl-guard reencrypt` (a dry run first); SSE-C objects only their writer can rewrite"
    )
}

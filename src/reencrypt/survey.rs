//! The scan of a repair: every object is looked up, and the decision about it is counted, listed,
//! and written to the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use indicatif::ProgressBar;
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    base::{
        lookup::{Lookup, LookupError, LookupErrorKind},
        text::counted,
    },
    facts::{
        objects,
        scan::{self, pages, scope},
        stored::StoredEncryption,
    },
    reencrypt::{
        cost::{Cost, CostInputs},
        error::ReencryptError,
        ledger::{Ledger, LedgerError},
        leftover::{Leftover, unseen},
        machine::{
            choice::{self, ArchiveState, Choice, LeaveReason, ObjectState, RepairMethod},
            snapshot::NULL,
            state::RepairState,
        },
        place::{ObjectId, shown},
        plan::BucketPlan,
        scope::{RepairLocation, RepairScope},
        snapshot::{self, HiddenMetadata},
        target::RepairTarget,
    },
    settings::policy::EncryptionKind,
    system::bar::{self, bar},
};

/// The number of archived objects that are looked up again concurrently.
const LOOKS_AT_ONCE: usize = 32;
/// The number of keys of each kind that are listed.
const NAMED: usize = 3;

/// A group of objects: their number, size, and the first of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectGroup {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) first: Vec<String>,
    /// The storage classes of all of them.
    pub(crate) classes: BTreeSet<String>,
    /// Why the copied ones are not updated in place, where the target is SSE-KMS.
    copied_because: BTreeMap<WhyCopied, u64>,
}

/// Why an object with target SSE-KMS is copied: UpdateObjectEncryption, which keeps its content,
/// date and version, refuses it. Source: Amazon S3 API reference, UpdateObjectEncryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WhyCopied {
    /// It is unencrypted.
    Unencrypted,
    /// It has DSSE-KMS, or an encryption that this program does not know.
    OtherEncryption,
    /// UpdateObjectEncryption does not accept the target's key.
    Key,
    /// Object Lock protects it.
    Locked,
}

impl WhyCopied {
    /// Why an object, under Object Lock or not, is not updated; none where the target is not
    /// SSE-KMS.
    fn of(stored: &StoredEncryption, locked: bool, target: &RepairTarget) -> Option<Self> {
        if target.kind != EncryptionKind::SseKms {
            return None;
        }
        match stored {
            StoredEncryption::Unencrypted => Some(Self::Unencrypted),
            StoredEncryption::Kind(EncryptionKind::SseS3 | EncryptionKind::SseKms, _) => {
                if !target.updatable {
                    Some(Self::Key)
                } else if locked {
                    Some(Self::Locked)
                } else {
                    None
                }
            }
            StoredEncryption::Kind(EncryptionKind::DsseKms, _)
            | StoredEncryption::CustomerKey
            | StoredEncryption::Other(_) => Some(Self::OtherEncryption),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Unencrypted => "not encrypted",
            Self::OtherEncryption => "under neither SSE-S3 nor SSE-KMS",
            Self::Key => {
                "because the target's key is not a customer managed key of the bucket's own \
                 account that is known by its ARN"
            }
            Self::Locked => "under Object Lock",
        }
    }
}

/// The result of the scan of one location.
#[derive(Debug, Default)]
pub(crate) struct PlaceSurvey {
    bucket: String,
    pub(crate) looked_at: u64,
    pub(crate) groups: BTreeMap<Choice, ObjectGroup>,
    pub(crate) unseen: u64,
    pub(crate) obstacle: Option<LookupError>,
    /// The KMS keys that now encrypt the objects to be changed.
    source_keys: BTreeSet<String>,
}

/// The result of the scan.
#[derive(Debug, Default)]
pub(crate) struct RepairSurvey {
    /// In the order of the scope's places.
    pub(crate) places: Vec<(String, PlaceSurvey)>,
    /// The cost of the scan, plus that of the planned changes.
    pub(crate) cost: Cost,
    /// The cost of the scan alone.
    pub(crate) looking: Cost,
}

/// An object that is not encrypted as required.
struct Offender {
    place: ObjectId,
    object: scope::Object,
    stored: StoredEncryption,
    choice: Choice,
    /// Why it is copied and not updated.
    why: Option<WhyCopied>,
    /// The number of requests for the decision, in addition to the scan's.
    requests: u64,
    /// The version that this program made of it and verified.
    made: Option<String>,
}

/// The survey's access to earlier runs' ledger, and whether it plans a run.
#[derive(Clone, Copy)]
pub(crate) enum SurveyLedger<'a> {
    /// A dry run without a ledger of earlier runs.
    None,
    /// A dry run: it is only read.
    Known(&'a Ledger),
    /// The decisions are written to it.
    Planned(&'a Ledger),
}

impl<'a> SurveyLedger<'a> {
    fn known(self) -> Option<&'a Ledger> {
        match self {
            Self::None => None,
            Self::Known(ledger) | Self::Planned(ledger) => Some(ledger),
        }
    }
}

impl RepairSurvey {
    /// Scans everything. The decisions go to `ledger`, where a run is planned, and to the file
    /// `list`.
    pub(crate) async fn take(
        scope: &RepairScope,
        ledger: SurveyLedger<'_>,
        list: Option<&Path>,
        quiet: bool,
    ) -> Result<Self, ReencryptError> {
        let file = |error: std::io::Error| {
            ReencryptError::File(format!("{}: {error}", list.unwrap_or(Path::new("")).display()))
        };
        let mut list = list.map(File::create).transpose().map_err(file)?.map(BufWriter::new);
        let mut survey = Self::default();
        let spinner = bar(bar::SO_FAR, None, quiet);
        for wanted in &scope.wanted {
            let mut found = PlaceSurvey {
                bucket: wanted.location.bucket.as_str().to_owned(),
                ..PlaceSurvey::default()
            };
            survey
                .scan(
                    scope,
                    wanted,
                    ledger,
                    &mut found,
                    &spinner,
                    &mut |offender| match &mut list {
                        Some(list) => writeln!(list, "{}", line(offender)).map_err(file),
                        None => Ok(()),
                    },
                )
                .await?;
            survey.places.push((wanted.to_string(), found));
        }
        spinner.finish_and_clear();
        if let Some(mut list) = list {
            list.flush().map_err(file)?;
        }
        survey.cost.join(&survey.looking);
        Ok(survey)
    }

    async fn scan(
        &mut self,
        scope: &RepairScope,
        wanted: &RepairLocation,
        ledger: SurveyLedger<'_>,
        found: &mut PlaceSurvey,
        spinner: &ProgressBar,
        list: &mut impl FnMut(&Offender) -> Result<(), ReencryptError>,
    ) -> Result<(), ReencryptError> {
        let Some(bucket) = scope.plan.buckets.get(wanted.location.bucket.as_str()) else {
            return Ok(());
        };
        let question = scope::ScanScope {
            location: wanted.location.clone(),
            versions: bucket.versioning.has_versions(),
            since: None,
            except: Vec::new(),
        };
        // At least one listing is needed to split the location.
        self.looking.list();
        let splits = match pages::cut(&scope.aws.s3_bulk, &wanted.location).await {
            Lookup::Found(splits) => splits,
            other => {
                found.stopped(other.map(drop));
                return Ok(());
            }
        };
        let mut scan = scan::Scan::start(&scope.aws.s3_bulk, &question, splits, &objects::crew());
        while let Some(batch) = scan.next().await {
            let mut offenders = Vec::new();
            self.looking.list();
            for object in batch.objects {
                if !object.holds_data() {
                    continue;
                }
                spinner.inc(1);
                // S3 answers 400 for SSE-C, which takes two more requests to distinguish from other
                // reasons.
                let requests =
                    if matches!(object.stored, Lookup::Found(StoredEncryption::CustomerKey)) {
                        3
                    } else {
                        1
                    };
                self.looking.read(object.storage_class.as_deref().unwrap_or("STANDARD"), requests);
                match object.stored.clone() {
                    Lookup::Found(stored) => {
                        found.looked_at += 1;
                        if scope.plan.criterion.offends(&stored, &bucket.target) {
                            offenders.push((object, stored));
                        }
                    }
                    // Deleted since it was listed.
                    Lookup::Absent => {}
                    Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                        found.unseen(obstacle);
                    }
                }
            }
            let judged = stream::iter(offenders).map(async |(object, stored)| {
                judge((scope, bucket), ledger.known(), object, stored).await
            });
            let judged: Vec<Result<Result<Offender, LookupError>, LedgerError>> =
                judged.buffered(LOOKS_AT_ONCE).collect().await;
            let mut planned = Vec::new();
            for offender in judged {
                let offender = offender?;
                if let Ok(offender) = &offender {
                    self.looking.read(
                        offender.object.storage_class.as_deref().unwrap_or("STANDARD"),
                        offender.requests,
                    );
                }
                match offender {
                    Ok(offender) if offender.choice == Choice::Nothing => {}
                    Ok(offender) => {
                        found.count(&offender);
                        let now = scope.aws.s3_clock.now_or_own();
                        self.cost.add(offender.choice, costs(&offender, bucket, now));
                        list(&offender)?;
                        if !matches!(offender.choice, Choice::Leave(_)) {
                            let state = RepairState::Planned {
                                choice: offender.choice,
                                size: offender.object.size,
                                is_latest: offender.object.is_latest,
                                made: offender.made,
                            };
                            planned.push((offender.place, state));
                        }
                    }
                    Err(obstacle) => found.unseen(obstacle),
                }
            }
            if let SurveyLedger::Planned(ledger) = ledger {
                let writes = planned.iter().map(|(place, state)| plan(ledger, place, state));
                for written in join_all(writes).await {
                    written?;
                }
            }
            if let scope::SplitProgress::Stopped(why) = batch.reached {
                found.stopped(why);
            }
        }
        Ok(())
    }

    fn groups(&self) -> impl Iterator<Item = (&Choice, &ObjectGroup)> {
        self.places.iter().flat_map(|(_, found)| &found.groups)
    }

    /// The number of objects that need a change.
    pub(crate) fn to_do(&self) -> u64 {
        self.groups()
            .filter(|(choice, _)| !matches!(choice, Choice::Leave(_)))
            .map(|(_, group)| group.objects)
            .sum()
    }

    /// The number of objects that must remain unchanged.
    pub(crate) fn left(&self) -> u64 {
        self.groups()
            .filter(|(choice, _)| matches!(choice, Choice::Leave(_)))
            .map(|(_, group)| group.objects)
            .sum()
    }

    /// The number of objects or whole locations whose look-up failed.
    pub(crate) fn unseen(&self) -> u64 {
        self.places.iter().map(|(_, found)| found.unseen).sum()
    }

    /// The KMS keys that now encrypt the objects to be changed.
    pub(crate) fn source_keys(&self) -> BTreeSet<String> {
        self.places.iter().flat_map(|(_, found)| found.source_keys.iter().cloned()).collect()
    }

    /// One line for each location and kind of change.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (place, found) in &self.places {
            let wrong: u64 = found.groups.values().map(|group| group.objects).sum();
            lines.push(format!(
                "{place}: {} looked at, {wrong} not as they should be",
                counted(found.looked_at, "object")
            ));
            for (choice, group) in &found.groups {
                lines.push(format!("  {}: {}{}", said(*choice), group.shown(), group.why_copied()));
            }
            if let Some(obstacle) = &found.obstacle {
                lines.push(format!(
                    "  could not be looked at: {}: {} ({})",
                    counted(found.unseen, "object"),
                    obstacle.message,
                    obstacle.operation
                ));
            }
        }
        lines
    }

    /// The objects that remain unchanged, by reason, and the locations that could not be read.
    pub(crate) fn leftovers(&self) -> Vec<Leftover> {
        let mut leftovers = Vec::new();
        for (place, found) in &self.places {
            for (choice, group) in &found.groups {
                if let Choice::Leave(reason) = choice {
                    let line = format!("{place}: {}: {}", group.shown(), reason.advice());
                    let first = group.first.first().map_or_else(
                        || place.clone(),
                        |key| format!("s3://{}/{key}", found.bucket),
                    );
                    leftovers.push(Leftover::of_objects(
                        line,
                        reason.advice(),
                        group.objects,
                        &first,
                    ));
                }
            }
            if let Some(obstacle) = &found.obstacle {
                let why = unseen(obstacle);
                let line = format!("{place}: {} {why}", counted(found.unseen, "object"));
                leftovers.push(Leftover::of_objects(line, &why, found.unseen, place));
            }
        }
        leftovers
    }
}

/// Writes a plan to the ledger. An entry that an earlier run could not finish stays there, and is
/// reported already.
async fn plan(ledger: &Ledger, place: &ObjectId, planned: &RepairState) -> Result<(), LedgerError> {
    let mut known = ledger.get(place)?;
    if let Some(other) = known.as_ref().and_then(|it| it.belongs_to(place.version.as_deref())) {
        // A `null` id that another write has taken over.
        let elsewhere = ObjectId { version: Some(other.to_owned()), ..place.clone() };
        if let Some(state) = &known {
            ledger.write(&elsewhere, state).await?;
        }
        ledger.forget(place).await?;
        known = None;
    }
    if known.is_none_or(|state| state.gives_way()) {
        ledger.write(place, planned).await?;
    }
    Ok(())
}

/// Decides about an object. An archived one is looked up again: only a HEAD shows whether it was
/// restored.
async fn judge(
    (scope, bucket): (&RepairScope, &BucketPlan),
    ledger: Option<&Ledger>,
    object: scope::Object,
    stored: StoredEncryption,
) -> Result<Result<Offender, LookupError>, LedgerError> {
    let place = ObjectId {
        bucket: object.bucket.as_str().to_owned(),
        key: object.key.clone(),
        version: object.version_id.clone(),
    };
    let (mut archive, mut locked, mut requests) = (ArchiveState::No, false, 0);
    let class = object.storage_class.as_deref().unwrap_or("STANDARD");
    let has_data_key =
        matches!(stored, StoredEncryption::Kind(EncryptionKind::SseS3 | EncryptionKind::SseKms, _));
    let wish = scope.plan.wish(&bucket.target);
    // S3 refuses updates of objects under Object Lock.
    let may_be_locked = bucket.carries.locks && has_data_key && wish.updatable;
    let may_be_archived = matches!(class, "GLACIER" | "DEEP_ARCHIVE" | "INTELLIGENT_TIERING");
    if stored != StoredEncryption::CustomerKey
        && (may_be_archived
            || may_be_locked
            || (!object.is_latest && (scope.plan.purge || scope.plan.purge_overwritten)))
    {
        let carries = HiddenMetadata { acls: false, ..bucket.carries };
        match snapshot::look(&scope.aws.s3_bulk, &place, place.version.as_deref(), carries).await {
            Lookup::Found(seen) => {
                requests = carries.requests(&seen);
                archive = seen.archive;
                locked = seen.lock.protects(scope.aws.s3_clock.now_or_own_millis());
            }
            Lookup::Absent => {
                return Ok(Ok(Offender {
                    place,
                    object,
                    stored,
                    choice: Choice::Nothing,
                    why: None,
                    requests: 1,
                    made: None,
                }));
            }
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => return Ok(Err(obstacle)),
        }
    }
    let known = match ledger {
        Some(ledger) if !object.is_latest => ledger.get(&place)?,
        _ => None,
    };
    let made = known.and_then(|state| state.made().map(str::to_owned));
    let seen = ObjectState {
        customer_key: stored == StoredEncryption::CustomerKey,
        has_data_key,
        size: object.size,
        is_latest: object.is_latest,
        archive,
        locked,
        loss: None,
        replaced: made.is_some(),
        null: place.version.as_deref() == Some(NULL),
    };
    let choice = choice::choose(&seen, true, wish);
    let is_copied = matches!(
        choice,
        Choice::Restore | Choice::Do(RepairMethod::Copy | RepairMethod::CopyInParts)
    );
    let why = WhyCopied::of(&stored, locked, &bucket.target).filter(|_| is_copied);
    Ok(Ok(Offender { place, object, stored, choice, why, requests, made }))
}

fn costs<'a>(offender: &'a Offender, bucket: &BucketPlan, now: OffsetDateTime) -> CostInputs<'a> {
    let age = offender.object.modified.map_or(0, |modified| (now - modified).whole_days());
    CostInputs {
        size: offender.object.size,
        storage_class: offender.object.storage_class.as_deref().unwrap_or("STANDARD"),
        age_days: u64::try_from(age).unwrap_or(0),
        from_kms: matches!(
            offender.stored,
            StoredEncryption::Kind(EncryptionKind::SseKms | EncryptionKind::DsseKms, _)
        ),
        to_kms: bucket.target.kind != EncryptionKind::SseS3,
        versioned: bucket.versioning.has_versions(),
        // It is unknown yet whether it has tags.
        look: bucket.carries.a_look() + 1,
    }
}

fn line(offender: &Offender) -> serde_json::Value {
    let (choice, why) = match offender.choice {
        Choice::Leave(reason) => ("leave", Some(reason.advice())),
        Choice::Do(RepairMethod::Update) => ("update-object-encryption", None),
        Choice::Do(RepairMethod::Copy) => ("copy", None),
        Choice::Do(RepairMethod::CopyInParts) => ("copy-in-parts", None),
        Choice::Restore => ("restore", None),
        Choice::Purge => ("purge-old-version", None),
        Choice::Nothing => ("nothing", None),
    };
    let not_updated = offender.why.map(|why| format!("not updated in place: {}", why.in_words()));
    let why = why.map(str::to_owned).or(not_updated);
    json!({
        "bucket": offender.place.bucket,
        "key": offender.place.key,
        "version": offender.place.version,
        "latest": offender.object.is_latest,
        "size": offender.object.size,
        "storage_class": offender.object.storage_class,
        "stored": offender.stored,
        "choice": choice,
        "why": why,
    })
}

impl PlaceSurvey {
    fn count(&mut self, offender: &Offender) {
        let group = self.groups.entry(offender.choice).or_default();
        group.objects += 1;
        group.bytes += offender.object.size;
        let class = offender.object.storage_class.as_deref().unwrap_or("STANDARD");
        if !group.classes.contains(class) {
            group.classes.insert(class.to_owned());
        }
        if let Some(why) = offender.why {
            *group.copied_because.entry(why).or_default() += 1;
        }
        if !matches!(offender.choice, Choice::Leave(_) | Choice::Purge)
            && let StoredEncryption::Kind(_, Some(key)) = &offender.stored
            && !self.source_keys.contains(key)
        {
            self.source_keys.insert(key.clone());
        }
        if group.first.len() < NAMED {
            group.first.push(match (&offender.place.version, offender.object.is_latest) {
                (Some(version), false) => {
                    format!("{} (version {version})", shown(&offender.place.key))
                }
                _ => shown(&offender.place.key).into(),
            });
        }
    }

    fn unseen(&mut self, obstacle: LookupError) {
        self.unseen += 1;
        self.obstacle.get_or_insert(obstacle);
    }

    fn stopped(&mut self, why: Lookup<()>) {
        match why {
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => self.unseen(obstacle),
            Lookup::Absent => self.unseen(LookupError::new(
                "s3:ListBucket",
                LookupErrorKind::Other,
                "there is no such bucket",
            )),
            Lookup::Found(()) => {}
        }
    }
}

impl ObjectGroup {
    /// Why the copied ones are not updated in place, as the end of a line.
    fn why_copied(&self) -> String {
        let reasons: Vec<String> = self
            .copied_because
            .iter()
            .map(|(why, objects)| format!("{objects} {}", why.in_words()))
            .collect();
        if reasons.is_empty() {
            return String::new();
        }
        format!("; UpdateObjectEncryption does not take them: {}", reasons.join(", "))
    }

    fn shown(&self) -> String {
        let more = if self.objects > self.first.len() as u64 { ", …" } else { "" };
        format!(
            "{} ({}): {}{more}",
            counted(self.objects, "object"),
            counted(self.bytes, "byte"),
            self.first.join(", ")
        )
    }
}

fn said(choice: Choice) -> &'static str {
    match choice {
        Choice::Nothing => "nothing",
        Choice::Do(RepairMethod::Update) => "to update in place",
        Choice::Do(RepairMethod::Copy) => "to copy in place",
        Choice::Do(RepairMethod::CopyInParts) => "to copy in place, in parts",
        Choice::Restore => "to restore first",
        Choice::Purge => "old versions to remove",
        Choice::Leave(LeaveReason::CustomerKey) => "left: SSE-C",
        Choice::Leave(LeaveReason::Archived) => "left: archived",
        Choice::Leave(LeaveReason::Restoring) => "left: a restore is under way",
        Choice::Leave(LeaveReason::OldVersion) => "left: old versions",
        Choice::Leave(LeaveReason::LockedVersion) => "left: old versions that Object Lock keeps",
        Choice::Leave(LeaveReason::NullVersion) => "left: old versions with the id null",
        Choice::Leave(LeaveReason::WouldReplaceVersion) => {
            "left: a copy would overwrite another version"
        }
        Choice::Leave(LeaveReason::UnknownUpload) => "left: an upload in parts of unknown origin",
        Choice::Leave(LeaveReason::UnreadableMetadata) => "left: metadata that cannot be read",
        Choice::Leave(LeaveReason::Annotated) => "left: annotated",
        Choice::Leave(LeaveReason::UnknownChecksum) => "left: a checksum that parts cannot keep",
        Choice::Leave(LeaveReason::KeyNotInXml) => "left: a key that XML cannot hold",
    }
}

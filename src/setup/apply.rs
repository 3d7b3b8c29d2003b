//! Carries out a plan, step by step. Before a piece is written, it is looked at again: if it is no
//! longer what the plan saw, nothing is written. After each call the piece is read again until it
//! shows the change. Each call is in the journal before it is made.
//!
//! IAM, S3 and KMS need some seconds until all of their servers have a change, so reading again
//! and what depends on a new role or key are tried several times. Sources: IAM user guide,
//! "Changes that I make are not always immediately visible"; AWS KMS developer guide, "AWS KMS
//! eventual consistency"; Amazon S3 user guide, "Amazon S3 data consistency model" (bucket
//! configurations).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::{
    aws::{clients::Aws, patience::Patience},
    base::{
        aws_calls::{self, Call},
        lookup::{Lookup, LookupError},
        names::AccountId,
    },
    facts::account_state::PolicyHolder,
    setup::{
        compare::says_the_same,
        journal::{
            IntendedWrite, KnownPiece, OpenPiece, SetupJournal, SetupJournalError, WriteResult,
        },
        piece::{CertificateArchive, MADE_KEY, Piece},
        plan::{SetupPlan, StepAction},
        present::{PieceReader, is_as_before, is_as_wanted, is_default, missing},
        record::{AppliedAction, AppliedCall, AppliedStep, MadeIds},
        writes::{QueueChange, SetupWriter, WriteDone, WriteFailure},
    },
};

/// The time for which throttled calls are tried again.
const PATIENCE: Duration = Duration::from_mins(10);
/// What every error ends with.
const AGAIN: &str = "what was done before stays; fix that, then run the same command again";

/// Makes the content of the certificate archive, or says why it cannot be made.
pub(crate) type MakeArchive<'a> =
    &'a mut (dyn FnMut(&CertificateArchive) -> Result<Vec<u8>, String> + Send);

/// Receives each step when it has ended.
pub(crate) type OnStep<'a> = &'a mut (dyn FnMut(&AppliedStep) + Send);

/// Why a plan was not carried out to its end. Everything before stays as it is, and the same
/// command continues.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// An endpoint must not be called.
    #[error("nothing was changed: {0}")]
    Endpoint(String),
    /// The piece is not what the plan saw.
    #[error(
        "the {kind} {subject} was changed by somebody else since the plan was made, and was left \
         alone; seen: {saw}; expected: {expected}; {AGAIN}: it makes a new plan"
    )]
    Changed {
        /// The kind of piece.
        kind: &'static str,
        /// What it is of.
        subject: String,
        /// What was seen.
        saw: String,
        /// What the plan saw.
        expected: String,
    },
    /// Something was made meanwhile that is not as the plan has it.
    #[error(
        "there is a {kind} {subject} by now, which is not as the plan has it, and was left alone; \
         seen: {saw}; {AGAIN}: it makes a new plan"
    )]
    Exists {
        /// The kind of piece.
        kind: &'static str,
        /// What it is of.
        subject: String,
        /// What was seen.
        saw: String,
    },
    /// The piece cannot be looked at before it is changed.
    #[error(
        "the {kind} {subject} was left alone, because it cannot be looked at: {error}; {AGAIN}"
    )]
    Unknown {
        /// The kind of piece.
        kind: &'static str,
        /// What it is of.
        subject: String,
        /// Why.
        error: Box<LookupError>,
    },
    /// AWS refused the change.
    #[error("the {kind} {subject} is not complete: {failure}; {AGAIN}")]
    Refused {
        /// The kind of piece.
        kind: &'static str,
        /// What it is of.
        subject: String,
        /// AWS's answer.
        failure: String,
    },
    /// A new key cannot have its alias, because another key has it by now.
    #[error(
        "the alias {alias} was taken before the new KMS key {key} could have it: somebody else, \
         such as another setup, gave it to another key meanwhile; seen: {saw}; no step of this setup \
         uses the new key, and it is paid for until it is deleted; fix: `aws kms schedule-key-deletion --region \
         {region} --key-id {key} --pending-window-in-days 7`, then run the same command again: it \
         looks at the key with the alias"
    )]
    OrphanedKey {
        /// The alias.
        alias: String,
        /// The ARN of the new key.
        key: String,
        /// Its region.
        region: String,
        /// What was seen of the alias.
        saw: String,
    },
    /// The change was made, and cannot be seen.
    #[error(
        "the {kind} {subject} does not show its change yet: {saw}; wait a minute, then run the \
         same command again: it looks at it first"
    )]
    NotVerified {
        /// The kind of piece.
        kind: &'static str,
        /// What it is of.
        subject: String,
        /// What is seen.
        saw: String,
    },
    /// A piece needs the key, and there is none.
    #[error("the {kind} {subject} needs the KMS key, which does not exist; {AGAIN}")]
    NoKey {
        /// The kind of piece.
        kind: &'static str,
        /// What it is of.
        subject: String,
    },
    /// No certificates could be made.
    #[error("no certificates were made for {subject}: {why}; {AGAIN}")]
    Certificates {
        /// The object.
        subject: String,
        /// Why not.
        why: String,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] SetupJournalError),
}

/// The pauses between two looks, or two attempts. They are counted and not timed, so that a slow
/// machine makes as many attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct SettlingTime {
    /// The first pause. Each is twice as long as the one before, up to the longest.
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) attempts: u32,
}

impl SettlingTime {
    /// About 75 seconds in all.
    pub(super) const REAL: Self =
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(8), attempts: 15 };
    #[cfg(test)]
    pub(super) const NONE: Self =
        Self { first: Duration::ZERO, longest: Duration::ZERO, attempts: 4 };

    /// Waits before attempt `number`, which counts from 0; false if there is no such attempt.
    pub(super) async fn pause(self, number: u32) -> bool {
        if number == 0 {
            return true;
        }
        if number >= self.attempts {
            return false;
        }
        sleep(self.first.saturating_mul(1 << (number - 1).min(16)).min(self.longest)).await;
        true
    }
}

/// Carries out the changes of `plan` in order. `make_archive` makes the certificates when they are
/// written. `on_step` gets each step when it has ended, also those that an earlier setup was cut
/// off in.
///
/// # Errors
/// [`ApplyError`] for the first step that cannot be completed.
pub(crate) async fn apply(
    aws: &Aws,
    plan: &SetupPlan,
    journal: &mut SetupJournal,
    make_archive: MakeArchive<'_>,
    on_step: OnStep<'_>,
) -> Result<(), ApplyError> {
    apply_at(aws, plan, journal, make_archive, on_step, SettlingTime::REAL).await
}

/// Completes the piece that an earlier setup was cut off in, if there is one, and records what is
/// seen of it. [`apply`] does it, too; done before the plan is made, the plan has it.
///
/// # Errors
/// As [`apply`].
pub(crate) async fn recover(
    aws: &Aws,
    journal: &mut SetupJournal,
    make_archive: MakeArchive<'_>,
    on_step: OnStep<'_>,
) -> Result<(), ApplyError> {
    let patient = aws.patient(&Patience::until(Instant::now() + PATIENCE));
    let account = journal.identity().account.clone();
    let time = SettlingTime::REAL;
    let mut applying = Applying::new(&patient, &account, journal, make_archive, on_step, time)?;
    Box::pin(applying.recover()).await
}

pub(super) async fn apply_at(
    aws: &Aws,
    plan: &SetupPlan,
    journal: &mut SetupJournal,
    make_archive: MakeArchive<'_>,
    on_step: OnStep<'_>,
    time: SettlingTime,
) -> Result<(), ApplyError> {
    let patient = aws.patient(&Patience::until(Instant::now() + PATIENCE));
    let account = journal.identity().account.clone();
    let mut applying = Applying::new(&patient, &account, journal, make_archive, on_step, time)?;
    Box::pin(applying.recover()).await?;
    for step in plan.changes() {
        let (action, before) = match &step.action {
            StepAction::Create => (AppliedAction::Create, None),
            StepAction::Change { before } => (AppliedAction::Change, Some(before)),
            StepAction::Keep | StepAction::Refuse { .. } | StepAction::Unknown { .. } => continue,
        };
        Box::pin(applying.carry_out(&step.piece, action, before)).await?;
    }
    Ok(())
}

/// One call of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PieceWrite {
    CreateRole,
    AttachPolicy(String),
    CreateInstanceProfile,
    AddRole,
    CreateKey,
    CreateAlias {
        key: String,
    },
    EnableRotation {
        key: String,
    },
    SetTopicPolicy,
    SetTopicKey,
    SetQueue {
        url: String,
        /// How long it has to keep a message, in seconds, if that changes.
        retention: Option<u32>,
    },
    PutTarget,
    /// All others: the one call that writes the piece as a whole.
    Whole,
}

/// The next call that brings the present state nearer to the piece; none if it is as it should be.
fn next_write(piece: &Piece, present: Option<&Value>) -> Option<PieceWrite> {
    if present.is_some_and(|present| is_as_wanted(piece, present)) {
        return None;
    }
    let key = |present: &Value| present["arn"].as_str().unwrap_or_default().to_owned();
    Some(match (piece, present) {
        (Piece::Role(_), None) => PieceWrite::CreateRole,
        (Piece::Role(role), Some(present)) => {
            PieceWrite::AttachPolicy(missing(role, present)?.clone())
        }
        (Piece::InstanceProfile(_), None) => PieceWrite::CreateInstanceProfile,
        (Piece::InstanceProfile(_), Some(_)) => PieceWrite::AddRole,
        (Piece::Key(_), None) => PieceWrite::CreateKey,
        (Piece::Key(_), Some(present)) if present["has_alias"] == false => {
            PieceWrite::CreateAlias { key: key(present) }
        }
        (Piece::Key(_), Some(present)) => PieceWrite::EnableRotation { key: key(present) },
        (Piece::KeyRotation(of), _) => PieceWrite::EnableRotation { key: of.key.clone() },
        (Piece::AlertTopic(of), Some(present))
            if !says_the_same(&of.policy, &present["policy"]) =>
        {
            PieceWrite::SetTopicPolicy
        }
        (Piece::AlertTopic(_), Some(_)) => PieceWrite::SetTopicKey,
        (Piece::EventQueue(of), Some(present)) => {
            let has = present["retention"].as_u64();
            PieceWrite::SetQueue {
                url: present["url"].as_str().unwrap_or_default().to_owned(),
                retention: has
                    .is_some_and(|it| it != u64::from(of.retention))
                    .then_some(of.retention),
            }
        }
        (Piece::EventRule(_), Some(_)) => PieceWrite::PutTarget,
        _ => PieceWrite::Whole,
    })
}

/// What to do about a piece.
enum Decision {
    /// It is as it should be.
    IsThere,
    Write,
    Stop(ApplyError),
}

struct Applying<'a> {
    reader: PieceReader<'a>,
    writer: SetupWriter,
    journal: &'a mut SetupJournal,
    make_archive: MakeArchive<'a>,
    on_step: OnStep<'a>,
    time: SettlingTime,
    /// The ARN of the key that `setup` has made.
    key: Option<String>,
    /// The names of the roles that were made a short time ago.
    new_roles: BTreeSet<String>,
    /// Whether the key was made a short time ago.
    is_key_new: bool,
    /// The content of the archive, from the moment it is made.
    archive: Option<Vec<u8>>,
}

impl<'a> Applying<'a> {
    fn new(
        aws: &'a Aws,
        account: &'a AccountId,
        journal: &'a mut SetupJournal,
        make_archive: MakeArchive<'a>,
        on_step: OnStep<'a>,
        time: SettlingTime,
    ) -> Result<Self, ApplyError> {
        if let Some(refused) = aws.refused_endpoints().next() {
            return Err(ApplyError::Endpoint(refused.refusal()));
        }
        Ok(Self {
            reader: PieceReader { aws, account },
            writer: SetupWriter::new(aws, account),
            journal,
            make_archive,
            on_step,
            time,
            key: None,
            new_roles: BTreeSet::new(),
            is_key_new: false,
            archive: None,
        })
    }

    /// Looks at the piece in which an earlier setup was cut off, completes it if a part of it was
    /// made, and records it.
    async fn recover(&mut self) -> Result<(), ApplyError> {
        let Some(open) = self.journal.open_piece().cloned() else { return Ok(()) };
        let piece = open.last.piece.clone();
        let mut attempt = 0;
        while self.key.is_none() && self.time.pause(attempt).await {
            attempt += 1;
            self.find_key(&piece).await?;
            // A list of keys may not have the newest one yet.
            let is_marked = |known: &KnownPiece| known.mark.is_some();
            if !matches!(piece, Piece::Key(_)) || !self.journal.known(&piece).is_some_and(is_marked)
            {
                break;
            }
        }
        let present = self.present(&piece).await;
        let as_before = match (&open.before, &present) {
            (None, Lookup::Absent) => true,
            (None, Lookup::Found(present)) => is_default(&piece, present),
            (Some(before), Lookup::Found(present)) => is_as_before(&piece, before, present),
            _ => false,
        };
        match &present {
            Lookup::Found(state) if self.alias_is_taken(&piece, state).is_some() => {
                self.lost_alias(open, state)
            }
            Lookup::Found(present)
                if is_as_wanted(&piece, present) || self.is_own_archive(&piece, present) =>
            {
                self.journal.closed(WriteResult::Done, "it is as it should be")?;
                if let Piece::Role(role) = &piece {
                    self.new_roles.insert(role.name.clone());
                }
                self.remember(&piece, present);
                self.end(ended(&open, &piece, present))
            }
            _ if as_before => {
                Ok(self.journal.closed(WriteResult::NotDone, "it is as it was before")?)
            }
            Lookup::Found(state) if self.is_own_part(&piece, state) => {
                self.journal.closed(WriteResult::Done, "a part of it is there")?;
                let mut earlier = open.calls.clone();
                let present = Some(state.clone());
                self.write(&piece, open.last.action, open.before.clone(), present, &mut earlier)
                    .await
            }
            Lookup::Found(state) => Ok(self.journal.closed(WriteResult::Unknown, short(state))?),
            Lookup::Absent => Ok(self.journal.closed(WriteResult::Unknown, "it does not exist")?),
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                // It is looked at again by the step of the plan, if it still has one.
                Ok(self.journal.closed(WriteResult::Unknown, error.to_string())?)
            }
        }
    }

    /// Records the key that an earlier setup made and that another setup took the alias of.
    fn lost_alias(&mut self, open: OpenPiece, state: &Value) -> Result<(), ApplyError> {
        let Some(orphaned) = self.alias_is_taken(&open.last.piece, state) else { return Ok(()) };
        let saw = orphaned.to_string();
        self.journal.closed(WriteResult::Done, &*saw)?;
        self.end(AppliedStep {
            piece: open.last.piece,
            action: open.last.action,
            before: open.before,
            made: MadeIds { arn: self.key.clone(), ..MadeIds::default() },
            calls: open.calls,
            at: OffsetDateTime::now_utc(),
            verified: false,
            error: Some(saw),
        })?;
        Err(orphaned)
    }

    /// Makes or changes one piece.
    async fn carry_out(
        &mut self,
        piece: &Piece,
        action: AppliedAction,
        before: Option<&Value>,
    ) -> Result<(), ApplyError> {
        self.find_key(piece).await?;
        let piece = self.with_key(piece)?;
        self.know_region(&piece).await;
        let present = self.present(&piece).await;
        match self.decide(&piece, before, &present) {
            Decision::Stop(error) => Err(error),
            Decision::IsThere => {
                if let Lookup::Found(present) = &present {
                    self.remember(&piece, present);
                }
                self.end(AppliedStep {
                    piece,
                    action: AppliedAction::Found,
                    before: None,
                    made: MadeIds::default(),
                    calls: Vec::new(),
                    at: OffsetDateTime::now_utc(),
                    verified: true,
                    error: None,
                })
            }
            Decision::Write => {
                let mut calls = Vec::new();
                let present = present.into_found();
                self.write(&piece, action, before.cloned(), present, &mut calls).await
            }
        }
    }

    /// Compares the present state of a piece with what the plan saw.
    fn decide(&self, piece: &Piece, before: Option<&Value>, present: &Lookup<Value>) -> Decision {
        let (kind, subject) = (piece.kind(), piece.subject());
        match (before, present) {
            (_, Lookup::Denied(error) | Lookup::Unreachable(error)) => {
                Decision::Stop(ApplyError::Unknown {
                    kind,
                    subject,
                    error: Box::new(error.clone()),
                })
            }
            (_, Lookup::Found(present)) if is_as_wanted(piece, present) => Decision::IsThere,
            (_, Lookup::Found(present)) if self.is_own_archive(piece, present) => Decision::IsThere,
            (None, Lookup::Absent) => Decision::Write,
            (None, Lookup::Found(present))
                if is_default(piece, present) || self.is_own_part(piece, present) =>
            {
                Decision::Write
            }
            (None, Lookup::Found(present)) => {
                Decision::Stop(ApplyError::Exists { kind, subject, saw: short(present) })
            }
            (Some(before), Lookup::Found(present)) if is_as_before(piece, before, present) => {
                Decision::Write
            }
            (Some(before), present) => Decision::Stop(ApplyError::Changed {
                kind,
                subject,
                saw: present.found().map_or_else(|| "it does not exist".to_owned(), short),
                expected: short(before),
            }),
        }
    }

    /// Whether a piece is only in part as it should be because an earlier setup, which has made it,
    /// was cut off.
    fn is_own_part(&self, piece: &Piece, present: &Value) -> bool {
        let is_known = self.journal.known(piece).is_some();
        let mut whole = present.clone();
        match piece {
            Piece::Role(role) => {
                whole["attached"] = role.attached.clone().into();
                is_known && is_as_wanted(piece, &whole)
            }
            Piece::InstanceProfile(_) => is_known && present.is_null(),
            Piece::Key(_) => {
                for part in ["rotation", "has_alias"] {
                    whole[part] = true.into();
                }
                self.key.is_some()
                    && present["arn"].as_str() == self.key.as_deref()
                    && is_as_wanted(piece, &whole)
            }
            Piece::EventRule(of) => {
                whole["target"] = of.queue.clone().into();
                is_known && present["target"].is_null() && is_as_wanted(piece, &whole)
            }
            _ => false,
        }
    }

    /// Whether an object is the archive that an earlier setup, which got no answer, has put there.
    fn is_own_archive(&self, piece: &Piece, present: &Value) -> bool {
        let Piece::Certificates(archive) = piece else { return false };
        let own = self.journal.known(piece).and_then(|known| known.mark.as_deref());
        own.is_some()
            && present["mark"].as_str() == own
            && archive.key.as_deref().is_none_or(|key| present["key"] == key)
    }

    /// Writes a piece, call by call, and records the step. `present` is its state, if it exists;
    /// `calls` are those of an earlier setup.
    async fn write(
        &mut self,
        piece: &Piece,
        action: AppliedAction,
        before: Option<Value>,
        mut present: Option<Value>,
        calls: &mut Vec<AppliedCall>,
    ) -> Result<(), ApplyError> {
        let known = self.journal.known(piece).map(|known| known.made.clone());
        let mut made = known.unwrap_or_default();
        let result = loop {
            let Some(write) = next_write(piece, present.as_ref()) else { break Ok(()) };
            let is_archive = matches!(piece, Piece::Certificates(_));
            let sent = self.send(piece, action, &write, before.as_ref(), present.as_ref(), calls);
            let unclear = match sent.await {
                Ok(Ok(done)) => {
                    made = made.and(done.made);
                    None
                }
                Ok(Err(failure)) if failure.unclear => Some(failure),
                Ok(Err(failure)) => break Err(self.refused(piece, &write, &failure)),
                Err(error) => break Err(error),
            };
            self.note_new(piece, &write, &made);
            match self.settled(piece, &write, unclear.as_ref()).await {
                Ok(state) if is_archive => {
                    made = ids(piece, &state).and(made);
                    break Ok(());
                }
                Ok(state) => present = Some(state),
                Err(error) => break Err(error),
            }
        };
        if let Some(present) = &present {
            made = ids(piece, present).and(made);
        }
        let tried = !calls.is_empty();
        let step = AppliedStep {
            piece: piece.clone(),
            action,
            before,
            made,
            calls: std::mem::take(calls),
            at: OffsetDateTime::now_utc(),
            verified: result.is_ok(),
            error: result.as_ref().err().map(ToString::to_string),
        };
        match result {
            Ok(()) => self.end(step),
            Err(error) => {
                // What stopped before the first call has changed nothing.
                if tried {
                    self.end(step)?;
                }
                Err(error)
            }
        }
    }

    /// Why a piece is not complete after AWS refused a call.
    fn refused(&self, piece: &Piece, write: &PieceWrite, failure: &WriteFailure) -> ApplyError {
        let (kind, subject) = (piece.kind(), piece.subject());
        match write {
            PieceWrite::CreateAlias { key } if failure.code == "AlreadyExistsException" => {
                self.orphan(subject, key, failure.to_string())
            }
            _ => ApplyError::Refused { kind, subject, failure: failure.to_string() },
        }
    }

    fn orphan(&self, alias: String, key: &str, saw: String) -> ApplyError {
        let region = self.journal.identity().region.clone();
        ApplyError::OrphanedKey { alias, key: key.to_owned(), region, saw }
    }

    /// The error where another key has the alias of the key that was made.
    fn alias_is_taken(&self, piece: &Piece, present: &Value) -> Option<ApplyError> {
        let (Piece::Key(of), Some(own)) = (piece, &self.key) else { return None };
        let other = present["arn"].as_str().filter(|arn| *arn != own.as_str())?;
        Some(self.orphan(of.alias.clone(), own, format!("it is the alias of {other}")))
    }

    /// Makes one call, again where AWS does not know yet what was made before. The outer error
    /// stops everything; the inner one is AWS's answer.
    async fn send(
        &mut self,
        piece: &Piece,
        action: AppliedAction,
        write: &PieceWrite,
        before: Option<&Value>,
        seen: Option<&Value>,
        calls: &mut Vec<AppliedCall>,
    ) -> Result<Result<WriteDone, WriteFailure>, ApplyError> {
        let mut attempt = 0;
        loop {
            self.prepare_archive(piece)?;
            let is_archive = matches!(piece, Piece::Certificates(_));
            let is_marked = is_archive || *write == PieceWrite::CreateKey;
            let mark = is_marked.then(|| self.journal.mark());
            self.journal.intend(IntendedWrite {
                operation: call_of(piece, write).operation.to_owned(),
                piece: piece.clone(),
                action,
                before: before.cloned(),
                mark: mark.clone(),
            })?;
            calls.push(AppliedCall {
                operation: call_of(piece, write).operation.to_owned(),
                request: None,
            });
            let answer = self.call(piece, write, mark.as_deref()).await;
            let request = match &answer {
                Ok(done) => done.request.clone(),
                Err(failure) => failure.request.clone(),
            };
            if let Some(call) = calls.last_mut() {
                call.request.clone_from(&request);
            }
            let failure = match answer {
                Ok(done) => {
                    self.journal.answered(request, done.made.clone())?;
                    return Ok(Ok(done));
                }
                Err(failure) => failure,
            };
            self.journal.failed(request, failure.unclear, failure.to_string())?;
            attempt += 1;
            if !self.settles(piece, &failure) || !self.time.pause(attempt).await {
                return Ok(Err(failure));
            }
            // Time has passed: somebody else may have changed the piece.
            match self.present(piece).await {
                Lookup::Absent if seen.is_none() => {}
                Lookup::Found(present) if Some(&present) == seen => {}
                Lookup::Found(present) if seen.is_none() && is_default(piece, &present) => {}
                Lookup::Denied(error) | Lookup::Unreachable(error) => {
                    let (kind, subject) = (piece.kind(), piece.subject());
                    return Err(ApplyError::Unknown { kind, subject, error: Box::new(error) });
                }
                other => {
                    return Err(ApplyError::Changed {
                        kind: piece.kind(),
                        subject: piece.subject(),
                        saw: other.found().map_or_else(|| "it does not exist".to_owned(), short),
                        expected: seen.map_or_else(|| "it does not exist".to_owned(), short),
                    });
                }
            }
        }
    }

    /// Whether AWS refused only because it does not know yet what was made a short time ago, or
    /// because another change of the same thing is under way.
    fn settles(&self, piece: &Piece, failure: &WriteFailure) -> bool {
        let text = || serde_json::to_string(piece).unwrap_or_default();
        let names_new_role = || {
            let text = text();
            self.new_roles.iter().any(|role| {
                text.contains(&format!(":role/{role}\"")) || text.contains(&format!("\"{role}\""))
            })
        };
        let uses_new_key =
            || self.is_key_new && self.key.as_ref().is_some_and(|key| text().contains(key));
        match failure.code.as_str() {
            "OperationAborted"
            | "ConcurrentModification"
            | "ConcurrentModificationException"
            | "ConditionalRequestConflict" => true,
            "MalformedPolicy"
            | "MalformedPolicyDocument"
            | "MalformedPolicyDocumentException"
            | "InvalidPrincipal" => names_new_role(),
            "NoSuchEntity" | "NoSuchEntityException" => {
                names_new_role() || matches!(piece, Piece::InstanceProfile(_))
            }
            // The versioning of a bucket needs up to 15 minutes until all servers know it.
            "InvalidBucketState" => matches!(piece, Piece::ObjectLock(_)),
            // The name of a queue is free a minute after its deletion.
            "NoSuchBucket"
            | "QueueDeletedRecently"
            | "AWS.SimpleQueueService.QueueDeletedRecently" => true,
            "NotFoundException" => matches!(piece, Piece::Key(_)) || uses_new_key(),
            "KMS.NotFoundException" | "KMS.KMSInvalidStateException" => uses_new_key(),
            _ => false,
        }
    }

    async fn call(
        &self,
        piece: &Piece,
        write: &PieceWrite,
        mark: Option<&str>,
    ) -> Result<WriteDone, WriteFailure> {
        let writer = &self.writer;
        match (piece, write) {
            (Piece::Role(role), PieceWrite::AttachPolicy(policy)) => {
                writer.attach_role_policy(&role.name, policy).await
            }
            (Piece::Role(role), _) => writer.create_role(role).await,
            (Piece::InstanceProfile(profile), PieceWrite::AddRole) => {
                writer.add_role(&profile.name, &profile.role).await
            }
            (Piece::InstanceProfile(profile), _) => {
                writer.create_instance_profile(&profile.name).await
            }
            (Piece::Key(key), PieceWrite::CreateAlias { key: arn }) => {
                writer.create_alias(&key.alias, arn).await
            }
            (_, PieceWrite::EnableRotation { key }) => writer.enable_rotation(key).await,
            (Piece::Key(key), _) => writer.create_key(&key.policy, mark.unwrap_or_default()).await,
            (Piece::KeyPolicy(of), _) => writer.put_key_policy(&of.key, &of.policy).await,
            (Piece::KeyRotation(of), _) => writer.enable_rotation(&of.key).await,
            (Piece::InlinePolicy(of), _) => {
                writer.put_inline_policy(&of.holder, &of.name, &of.policy).await
            }
            (Piece::Bucket(of), _) => writer.create_bucket(&of.bucket, of.object_lock).await,
            (Piece::BucketEncryption(of), _) => {
                writer.put_bucket_encryption(&of.bucket, &of.settings).await
            }
            (Piece::PublicAccessBlock(of), _) => {
                writer.put_public_access_block(&of.bucket, of.settings).await
            }
            (Piece::BucketPolicy(of), _) => writer.put_bucket_policy(&of.bucket, &of.policy).await,
            (Piece::Certificates(archive), _) => {
                let bytes = self.archive.clone().unwrap_or_default();
                writer.put_archive(archive, bytes, mark.unwrap_or_default()).await
            }
            (Piece::SecurityConfiguration(configuration), _) => {
                writer.create_configuration(configuration).await
            }
            (Piece::BucketVersioning(of), _) => writer.enable_versioning(&of.bucket).await,
            (Piece::ObjectLock(of), _) => {
                writer.put_object_lock(&of.bucket, Some(of.retention)).await
            }
            (Piece::AlertTopic(of), PieceWrite::SetTopicPolicy) => {
                writer.set_topic_policy(&of.arn, &of.policy).await
            }
            (Piece::AlertTopic(of), PieceWrite::SetTopicKey) => {
                writer.set_topic_key(&of.arn, &of.key).await
            }
            (Piece::AlertTopic(of), _) => writer.create_topic(of).await,
            (Piece::EventQueue(of), PieceWrite::SetQueue { url, retention }) => {
                // A key that a queue has stays.
                let settings = QueueChange {
                    policy: Some(&of.policy),
                    by_sqs: of.key.is_none().then_some(true),
                    retention: *retention,
                };
                writer.set_queue(url, &settings).await
            }
            (Piece::EventQueue(of), _) => writer.create_queue(of).await,
            (Piece::EventRule(of), PieceWrite::PutTarget) => writer.put_target(of).await,
            (Piece::EventRule(of), _) => writer.put_rule(of).await,
            (Piece::Alarm(of), _) => writer.put_alarm(&of.definition).await,
        }
    }

    /// Reads the piece until it shows the effect of a call. `unclear` is the call's failure if it
    /// may have taken effect nevertheless.
    async fn settled(
        &mut self,
        piece: &Piece,
        write: &PieceWrite,
        unclear: Option<&WriteFailure>,
    ) -> Result<Value, ApplyError> {
        let (kind, subject) = (piece.kind(), piece.subject());
        let mut attempt = 0;
        let mut saw = String::new();
        while self.time.pause(attempt).await {
            attempt += 1;
            if unclear.is_some() && *write == PieceWrite::CreateKey {
                self.find_key(piece).await?;
            }
            let present = self.present(piece).await;
            match present {
                Lookup::Found(present) => {
                    self.alias_is_taken(piece, &present).map_or(Ok(()), Err)?;
                    let is_done = match piece {
                        Piece::Certificates(_) => self.is_own_archive(piece, &present),
                        _ => next_write(piece, Some(&present)).as_ref() != Some(write),
                    };
                    if is_done {
                        return Ok(present);
                    }
                    saw = short(&present);
                }
                Lookup::Absent => saw = "it does not exist".to_owned(),
                Lookup::Denied(error) => {
                    return Err(ApplyError::Unknown { kind, subject, error: Box::new(error) });
                }
                Lookup::Unreachable(error) => saw = error.to_string(),
            }
        }
        match unclear {
            Some(failure) => {
                Err(ApplyError::Refused { kind, subject, failure: failure.to_string() })
            }
            None => Err(ApplyError::NotVerified { kind, subject, saw }),
        }
    }

    /// The present state of a piece.
    async fn present(&self, piece: &Piece) -> Lookup<Value> {
        self.reader.present(piece, self.key.as_deref()).await
    }

    /// Finds the key that an earlier setup has made for this piece and that may have no alias: by
    /// its ARN in the journal, or by its tag.
    async fn find_key(&mut self, piece: &Piece) -> Result<(), ApplyError> {
        if !matches!(piece, Piece::Key(_)) || self.key.is_some() {
            return Ok(());
        }
        let Some(known) = self.journal.known(piece).cloned() else { return Ok(()) };
        if known.made.arn.is_some() {
            self.key = known.made.arn;
            return Ok(());
        }
        let Some(mark) = known.mark else { return Ok(()) };
        match self.reader.marked_key(&mark).await {
            Lookup::Found(arn) => {
                self.key = Some(arn);
                Ok(())
            }
            Lookup::Absent => Ok(()),
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let (kind, subject) = (piece.kind(), piece.subject());
                Err(ApplyError::Unknown { kind, subject, error: Box::new(error) })
            }
        }
    }

    /// The piece with the ARN of the key in place of its placeholder.
    fn with_key(&self, piece: &Piece) -> Result<Piece, ApplyError> {
        let (kind, subject) = (piece.kind(), piece.subject());
        let none = || ApplyError::NoKey { kind, subject: subject.clone() };
        let needs_key = serde_json::to_string(piece).is_ok_and(|text| text.contains(MADE_KEY));
        if !needs_key {
            return Ok(piece.clone());
        }
        let arn = self.key.clone().ok_or_else(none)?;
        piece.with_key(&arn).map_err(|_| none())
    }

    /// Looks up the region of the bucket that a piece is of. A new one gets its own.
    async fn know_region(&mut self, piece: &Piece) {
        if let Piece::Bucket(of) = piece {
            self.writer.bucket_is_in(&of.bucket, &of.region);
            return;
        }
        let Some(bucket) = piece.bucket() else { return };
        if let Lookup::Found(region) = self.reader.bucket_region(bucket).await {
            self.writer.bucket_is_in(bucket, &region);
        }
    }

    /// Makes the archive, if it is not made yet.
    fn prepare_archive(&mut self, piece: &Piece) -> Result<(), ApplyError> {
        let Piece::Certificates(wanted) = piece else { return Ok(()) };
        if self.archive.is_none() {
            let bytes = (self.make_archive)(wanted)
                .map_err(|why| ApplyError::Certificates { subject: piece.subject(), why })?;
            self.archive = Some(bytes);
        }
        Ok(())
    }

    /// Remembers what was just made, because AWS may not know it everywhere yet.
    fn note_new(&mut self, piece: &Piece, write: &PieceWrite, made: &MadeIds) {
        match (piece, write) {
            (Piece::Role(role), PieceWrite::CreateRole) => {
                self.new_roles.insert(role.name.clone());
            }
            (Piece::Key(_), PieceWrite::CreateKey) => {
                self.is_key_new = true;
                if made.arn.is_some() {
                    self.key.clone_from(&made.arn);
                }
            }
            _ => {}
        }
    }

    /// Remembers the key that later pieces refer to.
    fn remember(&mut self, piece: &Piece, present: &Value) {
        if matches!(piece, Piece::Key(_)) {
            self.key = present["arn"].as_str().map(str::to_owned);
        }
    }

    fn end(&mut self, step: AppliedStep) -> Result<(), ApplyError> {
        (self.on_step)(&step);
        Ok(self.journal.step(step)?)
    }
}

/// The step of a piece that an earlier setup was cut off in.
fn ended(open: &OpenPiece, piece: &Piece, present: &Value) -> AppliedStep {
    let mut made = open.made.clone().and(ids(piece, present));
    if open.last.action == AppliedAction::Change {
        made = MadeIds::default();
    }
    AppliedStep {
        piece: piece.clone(),
        action: open.last.action,
        before: open.before.clone(),
        made,
        calls: open.calls.clone(),
        at: OffsetDateTime::now_utc(),
        verified: true,
        error: None,
    }
}

/// How AWS identifies a piece, by its present state.
fn ids(piece: &Piece, present: &Value) -> MadeIds {
    let text = |name: &str| present[name].as_str().map(str::to_owned);
    match piece {
        Piece::Role(_) | Piece::Key(_) => MadeIds { arn: text("arn"), ..MadeIds::default() },
        Piece::Certificates(_) => {
            MadeIds { arn: None, etag: text("etag"), version: text("version") }
        }
        _ => MadeIds::default(),
    }
}

/// The call that a write makes.
fn call_of(piece: &Piece, write: &PieceWrite) -> &'static Call {
    match (piece, write) {
        (_, PieceWrite::AttachPolicy(_)) => &aws_calls::ATTACH_ROLE_POLICY,
        (_, PieceWrite::AddRole) => &aws_calls::ADD_ROLE_TO_INSTANCE_PROFILE,
        (_, PieceWrite::CreateAlias { .. }) => &aws_calls::CREATE_ALIAS,
        (_, PieceWrite::EnableRotation { .. }) => &aws_calls::ENABLE_KEY_ROTATION,
        (Piece::Role(_), _) => &aws_calls::CREATE_ROLE,
        (Piece::InstanceProfile(_), _) => &aws_calls::CREATE_INSTANCE_PROFILE,
        (Piece::Key(_), _) => &aws_calls::CREATE_KEY,
        (Piece::KeyPolicy(_), _) => &aws_calls::PUT_KEY_POLICY,
        (Piece::KeyRotation(_), _) => &aws_calls::ENABLE_KEY_ROTATION,
        (Piece::InlinePolicy(of), _) => match &of.holder {
            PolicyHolder::Role(_) => &aws_calls::PUT_ROLE_POLICY,
            PolicyHolder::User(_) => &aws_calls::PUT_USER_POLICY,
        },
        (Piece::Bucket(_), _) => &aws_calls::CREATE_BUCKET,
        (Piece::BucketEncryption(_), _) => &aws_calls::PUT_BUCKET_ENCRYPTION,
        (Piece::PublicAccessBlock(_), _) => &aws_calls::PUT_PUBLIC_ACCESS_BLOCK,
        (Piece::BucketPolicy(_), _) => &aws_calls::PUT_BUCKET_POLICY,
        (Piece::Certificates(_), _) => &aws_calls::PUT_OBJECT,
        (Piece::SecurityConfiguration(_), _) => &aws_calls::CREATE_SECURITY_CONFIGURATION,
        (Piece::BucketVersioning(_), _) => &aws_calls::PUT_BUCKET_VERSIONING,
        (Piece::ObjectLock(_), _) => &aws_calls::PUT_OBJECT_LOCK_CONFIGURATION,
        (Piece::AlertTopic(_), PieceWrite::SetTopicPolicy | PieceWrite::SetTopicKey) => {
            &aws_calls::SET_TOPIC_ATTRIBUTES
        }
        (Piece::AlertTopic(_), _) => &aws_calls::CREATE_TOPIC,
        (Piece::EventQueue(_), PieceWrite::SetQueue { .. }) => &aws_calls::SET_QUEUE_ATTRIBUTES,
        (Piece::EventQueue(_), _) => &aws_calls::CREATE_QUEUE,
        (Piece::EventRule(_), PieceWrite::PutTarget) => &aws_calls::PUT_TARGETS,
        (Piece::EventRule(_), _) => &aws_calls::PUT_RULE,
        (Piece::Alarm(_), _) => &aws_calls::PUT_METRIC_ALARM,
    }
}

/// A state for messages: as JSON, not longer than a line.
fn short(state: &Value) -> String {
    const MOST: usize = 300;
    let text = state.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    format!("{}…", text.chars().take(MOST).collect::<String>())
}

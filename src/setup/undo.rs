//! Takes back what one `setup --apply` made, in reverse order, as far as nothing uses it and it is
//! still as it was made. What somebody has changed meanwhile stays, and so do keys: whatever is
//! encrypted under a deleted key is lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    aws::{
        clients::Aws,
        iam_query::{Iam, whole_iam_list},
        patience::Patience,
    },
    base::{
        aws_calls,
        lookup::{Lookup, LookupError},
        names::{BucketName, S3Object},
    },
    facts::{
        account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
        object_lock::DefaultRetention,
    },
    setup::{
        apply::SettlingTime,
        compare::{has, says_the_same, statements, with_statements},
        journal::{SetupIdentity, SetupJournal, SetupJournalError},
        piece::{Bucket, BucketObjectLock, Piece, Role},
        present::{PieceReader, is_as_wanted, is_default},
        record::{AppliedAction, AppliedCall, AppliedStep, SetupRecord, UndoResult, UndoneStep},
        uses::{InUse, Uses, UsesQuery, of_archive},
        writes::{SetupWriter, WriteDone, WriteFailure},
    },
};

/// The time for which throttled calls are tried again.
const PATIENCE: Duration = Duration::from_mins(10);

const VERSIONING_STAYS: &str =
    "Object Lock needs it, and S3 switches neither off again while the bucket exists";

/// Why nothing is taken back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UndoError {
    /// An endpoint must not be called.
    #[error("nothing was taken back: {0}")]
    Endpoint(String),
    /// The report is of another setup.
    #[error(
        "nothing was taken back: the report is of setup {name} in account {account}, {region}; \
         expected: setup {expected}; fix: use the credentials and the config of that setup"
    )]
    Another {
        /// The setup's name.
        name: String,
        /// Its account.
        account: String,
        /// Its region.
        region: String,
        /// The present one.
        expected: String,
    },
}

/// Receives each step when it has been tried.
pub(crate) type OnUndone<'a> = &'a mut (dyn FnMut(&UndoneStep) + Send);

/// What came of taking back the steps of a record.
pub(crate) struct UndoneSteps {
    /// The steps that were tried, in order.
    pub(crate) steps: Vec<UndoneStep>,
    /// Why the rest was not tried.
    pub(crate) stopped: Option<SetupJournalError>,
}

/// Takes back the steps of `record`, the last one first. What cannot be taken back stays, and the
/// rest is tried nevertheless: whether something is still needed is looked at for each. It ends
/// early when the journal cannot be written.
///
/// # Errors
/// [`UndoError`] when nothing can be taken back.
pub(crate) async fn undo(
    aws: &Aws,
    record: &SetupRecord,
    journal: &mut SetupJournal,
    on_undone: OnUndone<'_>,
) -> Result<UndoneSteps, UndoError> {
    undo_at(aws, record, journal, on_undone, SettlingTime::REAL).await
}

pub(super) async fn undo_at(
    aws: &Aws,
    record: &SetupRecord,
    journal: &mut SetupJournal,
    on_undone: OnUndone<'_>,
    time: SettlingTime,
) -> Result<UndoneSteps, UndoError> {
    if let Some(refused) = aws.refused_endpoints().next() {
        return Err(UndoError::Endpoint(refused.refusal()));
    }
    let identity = journal.identity().clone();
    is_of(record, &identity)?;
    let made = record.steps.iter().rev().filter(|step| step.action != AppliedAction::Found);
    let patient = aws.patient(&Patience::until(Instant::now() + PATIENCE));
    let mut undoing = Undoing {
        reader: PieceReader { aws: &patient, account: &identity.account },
        writer: SetupWriter::new(&patient, &identity.account),
        uses: Uses::look(&patient, UsesQuery::of(made.clone().map(|step| &step.piece))).await,
        time,
        calls: Vec::new(),
        archives: BTreeMap::new(),
    };
    let mut all = UndoneSteps { steps: Vec::new(), stopped: None };
    for step in made {
        let earlier = journal.taken_back(&step.piece).cloned();
        let was_cut_off = journal.is_undoing(&step.piece);
        all.stopped = journal.undoing(&step.piece).err();
        if all.stopped.is_some() {
            break;
        }
        let result = Box::pin(undoing.step(step)).await;
        let undone = UndoneStep {
            piece: step.piece.clone(),
            result,
            calls: std::mem::take(&mut undoing.calls),
            at: OffsetDateTime::now_utc(),
        };
        let undone = after(earlier, was_cut_off, undone);
        let is_gone = matches!(undone.result, UndoResult::Undone { .. } | UndoResult::Gone);
        if let Piece::Certificates(archive) = &step.piece
            && !is_gone
        {
            let S3Object { bucket, key } = &archive.object;
            undoing.archives.insert(bucket.clone(), format!("s3://{bucket}/{key}"));
        }
        all.stopped = journal.tried_to_undo(undone.clone()).err();
        on_undone(&undone);
        all.steps.push(undone);
        if all.stopped.is_some() {
            break;
        }
    }
    Ok(all)
}

/// What came of a step, with what an earlier undo did that no report has. `was_cut_off`: that undo
/// was cut off in this step.
fn after(earlier: Option<UndoneStep>, was_cut_off: bool, now: UndoneStep) -> UndoneStep {
    let Some(earlier) = earlier else {
        return match now.result {
            UndoResult::Gone if was_cut_off => {
                UndoneStep { result: UndoResult::Undone { stays: None }, ..now }
            }
            _ => now,
        };
    };
    let was_undone = matches!(earlier.result, UndoResult::Undone { .. });
    match &now.result {
        UndoResult::Gone if was_undone => earlier,
        UndoResult::Gone if was_cut_off => UndoneStep {
            result: UndoResult::Undone { stays: None },
            calls: [earlier.calls, now.calls].concat(),
            ..now
        },
        UndoResult::Kept { why } if was_undone => UndoneStep {
            result: UndoResult::Undone { stays: Some(why.clone()) },
            calls: [earlier.calls, now.calls].concat(),
            ..earlier
        },
        _ => UndoneStep { calls: [earlier.calls, now.calls].concat(), ..now },
    }
}

/// Why a step is never taken back, whatever is seen of its piece; none if that depends.
pub(crate) fn always_stays(step: &AppliedStep) -> Option<&'static str> {
    match &step.piece {
        Piece::Key(_) => Some("data under a deleted key are lost"),
        Piece::BucketVersioning(_) => Some(VERSIONING_STAYS),
        Piece::Role(_) | Piece::Bucket(_) if step.action != AppliedAction::Create => {
            Some("setup did not make it")
        }
        _ => None,
    }
}

/// Whether a record is of this setup.
///
/// # Errors
/// [`UndoError::Another`] if it is not.
pub(crate) fn is_of(record: &SetupRecord, identity: &SetupIdentity) -> Result<(), UndoError> {
    let is_same = record.name == identity.name
        && record.account == identity.account.as_str()
        && record.region == identity.region;
    if is_same {
        return Ok(());
    }
    Err(UndoError::Another {
        name: record.name.clone(),
        account: record.account.clone(),
        region: record.region.clone(),
        expected: format!("{} in account {}, {}", identity.name, identity.account, identity.region),
    })
}

pub(super) struct Undoing<'a> {
    reader: PieceReader<'a>,
    pub(super) writer: SetupWriter,
    uses: Uses,
    time: SettlingTime,
    /// The calls of the present step.
    calls: Vec<AppliedCall>,
    /// The certificate archives that stay, by bucket.
    archives: BTreeMap<BucketName, String>,
}

/// Why a step ends early.
pub(super) type Early = UndoResult;

pub(super) fn kept<T>(why: impl Into<String>) -> Result<T, Early> {
    Err(UndoResult::Kept { why: why.into() })
}

fn unless_used(used: InUse) -> Result<(), Early> {
    match used {
        InUse::No => Ok(()),
        InUse::By(what) => kept(format!("{what} uses it")),
        InUse::Unknown(why) => Err(UndoResult::Unknown { why }),
    }
}

fn known<T>(lookup: Lookup<T>) -> Result<Option<T>, Early> {
    match lookup {
        Lookup::Found(fact) => Ok(Some(fact)),
        Lookup::Absent => Ok(None),
        Lookup::Denied(error) | Lookup::Unreachable(error) => Err(unknown(&error)),
    }
}

fn unknown(error: &LookupError) -> UndoResult {
    UndoResult::Unknown { why: format!("it cannot be looked at: {error}") }
}

impl Undoing<'_> {
    async fn step(&mut self, step: &AppliedStep) -> UndoResult {
        match Box::pin(self.undo(step)).await {
            Ok(()) => UndoResult::Undone { stays: None },
            Err(result) => result,
        }
    }

    async fn undo(&mut self, step: &AppliedStep) -> Result<(), Early> {
        let piece = &step.piece;
        // The private key of the nodes is in the archive.
        if let Piece::BucketEncryption(_) | Piece::PublicAccessBlock(_) | Piece::BucketPolicy(_) =
            piece
            && let Some(archive) = piece.bucket().and_then(|bucket| self.archives.get(bucket))
        {
            return kept(format!("it protects the certificates {archive}, which stay"));
        }
        self.know_region(piece).await?;
        let known_key = step.made.arn.as_deref();
        let present = known(self.reader.present(piece, known_key).await)?;
        let Some(present) = present else { return Err(UndoResult::Gone) };
        let is_new = step.action == AppliedAction::Create;
        match piece {
            Piece::SecurityConfiguration(of) => {
                if present != of.content {
                    return kept("its content is not the one that setup gave it");
                }
                unless_used(self.uses.of_configuration(&of.name))?;
                let answer = self.writer.delete_configuration(&of.name).await;
                self.done("DeleteSecurityConfiguration", answer)?;
                self.is_gone(piece).await
            }
            Piece::Certificates(of) => {
                if step.made.etag.is_none() || present["etag"].as_str() != step.made.etag.as_deref()
                {
                    return kept("the object is not the one that setup put there");
                }
                let uri = format!("s3://{}/{}", of.object.bucket, of.object.key);
                unless_used(of_archive(self.reader.aws, &uri).await)?;
                let answer = self.writer.delete_object(&of.object, &step.made).await;
                self.done("DeleteObject", answer)?;
                self.is_gone(piece).await
            }
            Piece::BucketPolicy(of) => self.document(step, &of.policy, &present).await,
            Piece::KeyPolicy(of) => {
                unless_used(self.uses.of_key(&of.key))?;
                self.document(step, &of.policy, &present).await
            }
            Piece::InlinePolicy(of) => {
                if let PolicyHolder::Role(role) = &of.holder {
                    unless_used(self.uses.of_role(role))?;
                }
                self.document(step, &of.policy, &present).await
            }
            Piece::BucketEncryption(_) | Piece::PublicAccessBlock(_) => {
                self.settings(step, &present).await
            }
            Piece::Bucket(of) if is_new => self.bucket(piece, of).await,
            Piece::BucketVersioning(_) => kept(VERSIONING_STAYS),
            Piece::ObjectLock(of) => self.object_lock(step, of, &present).await,
            Piece::KeyRotation(of) => {
                if present != true {
                    return Err(UndoResult::Gone);
                }
                let answer = self.writer.disable_rotation(&of.key).await;
                self.done("DisableKeyRotation", answer)?;
                self.becomes(piece, |present| present.is_some_and(|present| *present == false))
                    .await
            }
            Piece::Key(_) => {
                let key = step.made.arn.as_deref().or(present["arn"].as_str()).unwrap_or_default();
                kept(format!(
                    "all data under a deleted key are lost, and which objects are under it cannot \
                     be seen; if you know that there are none: `aws kms schedule-key-deletion \
                     --key-id {key} --pending-window-in-days 30`"
                ))
            }
            Piece::InstanceProfile(of) => {
                unless_used(self.uses.of_instance_profile(&of.name))?;
                if !present.is_null() && present != of.role.as_str() {
                    return kept(format!("it holds another role by now: {present}"));
                }
                if !present.is_null() {
                    let answer = self.writer.remove_role(&of.name, &of.role).await;
                    self.done("RemoveRoleFromInstanceProfile", answer)?;
                    let is_empty = |present: Option<&Value>| present.is_none_or(Value::is_null);
                    self.becomes(piece, is_empty).await?;
                }
                if !is_new {
                    return Ok(());
                }
                let answer = self.writer.delete_instance_profile(&of.name).await;
                self.done("DeleteInstanceProfile", answer)?;
                self.is_gone(piece).await
            }
            Piece::Role(of) if is_new => self.role(piece, of, &present).await,
            Piece::Role(_) | Piece::Bucket(_) => kept("setup did not make it"),
            Piece::AlertTopic(of) => Box::pin(self.topic(step, of, &present)).await,
            Piece::EventQueue(of) => Box::pin(self.queue(step, of, &present)).await,
            Piece::EventRule(of) => Box::pin(self.event_rule(step, of, &present)).await,
            Piece::Alarm(of) => Box::pin(self.alarm(step, of, &present)).await,
        }
    }

    /// Takes the statements that setup wrote out of a document.
    async fn document(
        &mut self,
        step: &AppliedStep,
        written: &Value,
        present: &Value,
    ) -> Result<(), Early> {
        let reverted = reverted(written, step.before.as_ref(), present);
        let stays = (!reverted.changed.is_empty()).then(|| {
            let all = reverted.changed.join(", ");
            format!("statements that somebody changed since: {all}")
        });
        let document = match reverted.document {
            Reverted::Nothing => {
                return match stays {
                    Some(why) => kept(why),
                    None => Err(UndoResult::Gone),
                };
            }
            Reverted::Delete => None,
            Reverted::Document(document) => Some(document),
        };
        let piece = &step.piece;
        let answer = match (piece, &document) {
            (Piece::BucketPolicy(of), Some(policy)) => {
                ("PutBucketPolicy", self.writer.put_bucket_policy(&of.bucket, policy).await)
            }
            (Piece::BucketPolicy(of), None) => {
                ("DeleteBucketPolicy", self.writer.delete_bucket_policy(&of.bucket).await)
            }
            (Piece::KeyPolicy(of), Some(policy)) => {
                ("PutKeyPolicy", self.writer.put_key_policy(&of.key, policy).await)
            }
            (Piece::InlinePolicy(of), Some(policy)) => {
                let answer = self.writer.put_inline_policy(&of.holder, &of.name, policy).await;
                let call = match of.holder {
                    PolicyHolder::Role(_) => "PutRolePolicy",
                    PolicyHolder::User(_) => "PutUserPolicy",
                };
                (call, answer)
            }
            (Piece::InlinePolicy(of), None) => {
                let answer = self.writer.delete_inline_policy(&of.holder, &of.name).await;
                let call = match of.holder {
                    PolicyHolder::Role(_) => "DeleteRolePolicy",
                    PolicyHolder::User(_) => "DeleteUserPolicy",
                };
                (call, answer)
            }
            _ => return kept("without its statements it would be empty"),
        };
        self.done(answer.0, answer.1)?;
        self.becomes(piece, |present| match (&document, present) {
            (Some(document), Some(present)) => says_the_same(document, present),
            (None, None) => true,
            _ => false,
        })
        .await?;
        match stays {
            Some(_) => Err(UndoResult::Undone { stays }),
            None => Ok(()),
        }
    }

    /// Gives a bucket the settings back that it had.
    async fn settings(&mut self, step: &AppliedStep, present: &Value) -> Result<(), Early> {
        let piece = &step.piece;
        if is_back(step, present) {
            return Err(UndoResult::Gone);
        }
        if !is_as_wanted(piece, present) {
            return kept(format!("somebody changed it since: {present}"));
        }
        let unreadable = || UndoResult::Failed {
            why: "the report's settings from before cannot be read".to_owned(),
        };
        let answer = match (piece, &step.before) {
            (Piece::BucketEncryption(of), None) => {
                let answer = self.writer.delete_bucket_encryption(&of.bucket).await;
                ("DeleteBucketEncryption", answer)
            }
            (Piece::BucketEncryption(of), Some(before)) => {
                let before: BucketEncryptionSettings =
                    serde_json::from_value(before.clone()).map_err(|_| unreadable())?;
                let answer = self.writer.put_bucket_encryption(&of.bucket, &before).await;
                ("PutBucketEncryption", answer)
            }
            (Piece::PublicAccessBlock(of), None) => {
                let answer = self.writer.delete_public_access_block(&of.bucket).await;
                ("DeletePublicAccessBlock", answer)
            }
            (Piece::PublicAccessBlock(of), Some(before)) => {
                let before: PublicAccessBlockSettings =
                    serde_json::from_value(before.clone()).map_err(|_| unreadable())?;
                let answer = self.writer.put_public_access_block(&of.bucket, before).await;
                ("PutPublicAccessBlock", answer)
            }
            _ => return kept("it has no settings"),
        };
        self.done(answer.0, answer.1)?;
        let before = step.before.clone();
        self.becomes(piece, |present| match (&before, present) {
            (Some(before), Some(present)) => before == present,
            // A bucket without a rule of its own has S3's.
            (None, Some(present)) => is_default(piece, present) || !is_as_wanted(piece, present),
            (None, None) => true,
            (Some(_), None) => false,
        })
        .await
    }

    async fn bucket(&mut self, piece: &Piece, of: &Bucket) -> Result<(), Early> {
        if let Some(what) = self.content(&of.bucket).await? {
            return kept(format!("it is not empty: it has {what}"));
        }
        let answer = self.writer.delete_bucket(&of.bucket).await;
        self.done("DeleteBucket", answer)?;
        self.is_gone(piece).await
    }

    /// Gives a bucket the retention back that it had for new objects. What setup gave to a bucket
    /// with none stays as long as it protects something.
    async fn object_lock(
        &mut self,
        step: &AppliedStep,
        of: &BucketObjectLock,
        present: &Value,
    ) -> Result<(), Early> {
        let piece = &step.piece;
        if present.is_null() || is_back(step, present) {
            return Err(UndoResult::Gone);
        }
        if !is_as_wanted(piece, present) {
            return kept(format!("somebody changed it since: {present}"));
        }
        let before: Option<DefaultRetention> = match &step.before {
            None => None,
            Some(before) => {
                let why = "the report's settings from before cannot be read".to_owned();
                Some(
                    serde_json::from_value(before.clone())
                        .map_err(|_| UndoResult::Failed { why })?,
                )
            }
        };
        if before.is_none()
            && let Some(what) = self.content(&of.bucket).await?
        {
            return kept(format!(
                "it protects what is in the bucket, which has {what}; where no new object needs \
                 it: `aws s3api put-object-lock-configuration --bucket {} \
                 --object-lock-configuration ObjectLockEnabled=Enabled`",
                of.bucket
            ));
        }
        let answer = self.writer.put_object_lock(&of.bucket, before).await;
        self.done("PutObjectLockConfiguration", answer)?;
        let wanted = serde_json::json!(before);
        self.becomes(piece, |present| present.is_none_or(|present| *present == wanted)).await?;
        match before {
            Some(_) => Ok(()),
            None => Err(UndoResult::Undone {
                stays: Some(
                    "Object Lock itself, which S3 switches off only with the bucket".to_owned(),
                ),
            }),
        }
    }

    /// What a bucket holds, if it is not empty: also versions, delete markers and unfinished
    /// uploads.
    async fn content(&self, bucket: &BucketName) -> Result<Option<String>, Early> {
        let Some(s3) = known(self.reader.s3_of(bucket).await)? else { return Ok(None) };
        let owner = self.reader.account.as_str();
        let request = s3.list_object_versions().bucket(bucket.as_str()).max_keys(1);
        let result = request.expected_bucket_owner(owner).send().await;
        let page = known(Lookup::from_call(&aws_calls::LIST_OBJECT_VERSIONS, &[], result))?;
        if let Some(page) = page {
            if let Some(version) = page.versions().first() {
                return Ok(Some(format!("the object {}", version.key().unwrap_or_default())));
            }
            if let Some(marker) = page.delete_markers().first() {
                let key = marker.key().unwrap_or_default();
                return Ok(Some(format!("a delete marker of {key}")));
            }
        }
        let request = s3.list_multipart_uploads().bucket(bucket.as_str()).max_uploads(1);
        let result = request.expected_bucket_owner(owner).send().await;
        let page = known(Lookup::from_call(&aws_calls::LIST_MULTIPART_UPLOADS, &[], result))?;
        let upload = page.as_ref().and_then(|page| page.uploads().first());
        Ok(upload
            .map(|upload| format!("an unfinished upload of {}", upload.key().unwrap_or_default())))
    }

    async fn role(&mut self, piece: &Piece, of: &Role, present: &Value) -> Result<(), Early> {
        unless_used(self.uses.of_role(&of.name))?;
        if !says_the_same(&of.trust, &present["trust"]) {
            return kept("somebody changed its trust policy since");
        }
        let attached: Vec<&str> = present["attached"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if let Some(other) = attached.iter().find(|it| !of.attached.iter().any(|own| own == *it)) {
            return kept(format!("somebody attached a policy to it: {other}"));
        }
        let (inline, profiles) = self.holds(&of.name).await?;
        if let Some(policy) = inline.first() {
            return kept(format!("it has an inline policy: {policy}"));
        }
        if let Some(profile) = profiles.first() {
            return kept(format!("the instance profile {profile} holds it"));
        }
        for policy in attached {
            let answer = self.writer.detach_role_policy(&of.name, policy).await;
            self.done("DetachRolePolicy", answer)?;
        }
        let answer = self.writer.delete_role(&of.name).await;
        self.done("DeleteRole", answer)?;
        self.is_gone(piece).await
    }

    /// The inline policies of a role, and the instance profiles that hold it.
    async fn holds(&self, role: &str) -> Result<(Vec<String>, Vec<String>), Early> {
        let iam = &self.reader.aws.iam;
        let (inline, profiles) =
            tokio::join!(role_policies(iam, role), instance_profiles(iam, role));
        let inline = known(inline)?.unwrap_or_default();
        Ok((inline, known(profiles)?.unwrap_or_default()))
    }

    /// Counts a call, and ends the step if it failed.
    pub(super) fn done(
        &mut self,
        operation: &str,
        answer: Result<WriteDone, WriteFailure>,
    ) -> Result<(), Early> {
        let request = match &answer {
            Ok(done) => done.request.clone(),
            Err(failure) => failure.request.clone(),
        };
        self.calls.push(AppliedCall { operation: operation.to_owned(), request });
        match answer {
            Ok(_) => Ok(()),
            // Whether it took effect is looked at.
            Err(failure) if failure.unclear => Ok(()),
            Err(failure) => match failure.code.as_str() {
                "DeleteConflict" | "DeleteConflictException" => {
                    kept(format!("IAM says that something is still attached to it ({failure})"))
                }
                "BucketNotEmpty" => kept("it is not empty any more"),
                _ => Err(UndoResult::Failed { why: failure.to_string() }),
            },
        }
    }

    pub(super) async fn is_gone(&self, piece: &Piece) -> Result<(), Early> {
        self.becomes(piece, |present| present.is_none()).await
    }

    /// Reads the piece until it is as it should be.
    pub(super) async fn becomes(
        &self,
        piece: &Piece,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(), Early> {
        let mut saw = String::new();
        let mut attempt = 0;
        while self.time.pause(attempt).await {
            attempt += 1;
            match self.reader.present(piece, None).await {
                Lookup::Found(present) if wanted(Some(&present)) => return Ok(()),
                Lookup::Found(present) => saw = present.to_string(),
                Lookup::Absent if wanted(None) => return Ok(()),
                Lookup::Absent => saw = "it does not exist".to_owned(),
                Lookup::Denied(error) => return Err(unknown(&error)),
                Lookup::Unreachable(error) => saw = error.to_string(),
            }
        }
        Err(UndoResult::Failed { why: format!("it does not show the change: {saw}") })
    }

    /// Looks up the region of the bucket that a piece is of.
    async fn know_region(&mut self, piece: &Piece) -> Result<(), Early> {
        let Some(bucket) = piece.bucket() else { return Ok(()) };
        match known(self.reader.bucket_region(bucket).await)? {
            Some(region) => self.writer.bucket_is_in(bucket, &region),
            None => return Err(UndoResult::Gone),
        }
        Ok(())
    }
}

/// Whether settings are as they were before setup changed them.
fn is_back(step: &AppliedStep, present: &Value) -> bool {
    let piece = &step.piece;
    match &step.before {
        Some(before) => before == present,
        None => is_default(piece, present) && !is_as_wanted(piece, present),
    }
}

/// The names of a role's inline policies.
pub(super) async fn role_policies(iam: &Iam, role: &str) -> Lookup<Vec<String>> {
    let call = &aws_calls::LIST_ROLE_POLICIES;
    whole_iam_list(call, |marker| iam.role_policies(role, marker)).await
}

/// The names of the instance profiles that hold a role.
pub(super) async fn instance_profiles(iam: &Iam, role: &str) -> Lookup<Vec<String>> {
    let call = &aws_calls::LIST_INSTANCE_PROFILES_FOR_ROLE;
    whole_iam_list(call, |marker| iam.instance_profiles_of(role, marker)).await
}

/// What a document is without the statements of setup.
#[derive(Debug, PartialEq)]
pub(super) struct RevertedDocument {
    pub(super) document: Reverted,
    /// The ids of statements of setup that somebody changed. They stay.
    pub(super) changed: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Reverted {
    /// It has none of them.
    Nothing,
    /// It has no others.
    Delete,
    Document(Value),
}

/// Takes out of `present` what `written` added to `before`, and puts back what it replaced. All
/// other statements stay as they are.
pub(super) fn reverted(
    written: &Value,
    before: Option<&Value>,
    present: &Value,
) -> RevertedDocument {
    if says_the_same(written, present) {
        let document = match before {
            Some(before) => Reverted::Document(before.clone()),
            None => Reverted::Delete,
        };
        return RevertedDocument { document, changed: Vec::new() };
    }
    let earlier = before.map(statements).unwrap_or_default();
    let of_setup = statements(written);
    let mut left = statements(present);
    let (mut taken, mut changed) = (false, Vec::new());
    for own in of_setup.iter().filter(|own| !has(&earlier, own)) {
        let replaced = earlier.iter().find(|old| is_same_id(old, own));
        match left.iter().position(|other| says_the_same(other, own)) {
            Some(place) => {
                taken = true;
                match replaced {
                    Some(old) => left[place] = old.clone(),
                    None => drop(left.remove(place)),
                }
            }
            None if left.iter().any(|other| is_same_id(other, own)) => {
                changed.push(own["Sid"].as_str().unwrap_or_default().to_owned());
            }
            None => {}
        }
    }
    let document = if !taken {
        Reverted::Nothing
    } else if left.is_empty() {
        Reverted::Delete
    } else {
        Reverted::Document(with_statements(present, left))
    };
    RevertedDocument { document, changed }
}

fn is_same_id(one: &Value, other: &Value) -> bool {
    one["Sid"].is_string() && one["Sid"] == other["Sid"]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(id: &str, action: &str) -> Value {
        json!({"Sid": id, "Effect": "Allow", "Action": action, "Resource": "*"})
    }

    fn document(statements: &[Value]) -> Value {
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    #[test]
    fn only_the_statements_of_setup_leave_a_document_and_only_as_they_were_written() {
        let (theirs, ours, more) =
            (statement("T", "s3:Get*"), statement("O", "s3:Put*"), statement("M", "s3:List*"));
        let changed = statement("O", "s3:*");
        let before = document(std::slice::from_ref(&theirs));
        let written = document(&[theirs.clone(), ours.clone()]);
        let of = |before: Option<&Value>, present: &[Value]| {
            let reverted = reverted(&written, before, &document(present));
            (reverted.document, reverted.changed)
        };
        let none = Vec::<String>::new();
        assert_eq!(
            of(Some(&before), &[theirs.clone(), ours.clone()]),
            (Reverted::Document(before.clone()), none.clone())
        );
        assert_eq!(of(None, &[theirs.clone(), ours.clone()]), (Reverted::Delete, none.clone()));
        assert_eq!(
            of(Some(&before), &[more.clone(), ours.clone()]),
            (Reverted::Document(document(std::slice::from_ref(&more))), none.clone())
        );
        assert_eq!(
            of(Some(&before), &[theirs.clone(), changed]),
            (Reverted::Nothing, vec!["O".to_owned()])
        );
        assert_eq!(of(Some(&before), &[theirs, more]), (Reverted::Nothing, none.clone()));
        assert_eq!(of(Some(&before), &[ours]), (Reverted::Delete, none));
    }

    #[test]
    fn a_statement_that_setup_replaced_comes_back() {
        let (old, new, more) =
            (statement("O", "s3:Put*"), statement("O", "s3:*"), statement("M", "s3:List*"));
        let reverted = reverted(
            &document(std::slice::from_ref(&new)),
            Some(&document(std::slice::from_ref(&old))),
            &document(&[more.clone(), new.clone()]),
        );
        assert_eq!(reverted.document, Reverted::Document(document(&[more, old])));
        assert_eq!(reverted.changed, Vec::<String>::new());
    }
}

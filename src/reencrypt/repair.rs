//! Repairs one object: performs the actions of its state machine.

use std::sync::{Mutex, PoisonError};

use aws_sdk_s3::types::CompletedPart;

use crate::{
    aws::observers::ServiceClock,
    base::lookup::{Lookup, LookupError},
    reencrypt::{
        cluster_gate::{ClusterGate, GateClosed},
        cost::{Cost, CostInputs},
        ledger::{Ledger, LedgerError},
        machine::{
            choice::{self, LARGEST_COPY, LeaveReason},
            event::{CallAnswer, LookAnswer, ObservedObject, RepairAction, RepairEnd, RepairEvent},
            plan::ObjectPlan,
            repair::ObjectRepair,
            snapshot::Snapshot,
            state::RepairState,
            verdict,
        },
        object_calls::{FIRST_WAIT, ObjectCalls},
        pace::CopyPace,
        place::ObjectId,
        plan::{BucketPlan, RepairPlan},
        snapshot,
    },
};

/// The result of one object's repair.
pub(crate) type TurnEnd = Result<RepairEnd<LookupError>, GateClosed>;

/// Repairs one object.
pub(crate) struct Repair<'a> {
    /// For reads: retries by itself.
    pub(crate) s3: &'a aws_sdk_s3::Client,
    /// For changes: a call without a response is checked before it is sent again.
    pub(crate) writer: &'a aws_sdk_s3::Client,
    pub(crate) ledger: &'a Ledger,
    pub(crate) pace: &'a CopyPace,
    pub(crate) plan: &'a RepairPlan,
    /// Decides whether a change may start.
    pub(crate) gate: &'a ClusterGate<'a>,
    /// The cost so far.
    pub(crate) spent: &'a Mutex<Cost>,
}

/// One object's turn.
struct Turn<'a> {
    repair: &'a Repair<'a>,
    bucket: &'a BucketPlan,
    place: &'a ObjectId,
    calls: ObjectCalls<'a>,
    /// Its state before the change, from the last look-up.
    before: Option<Snapshot>,
    /// The parts of the current upload.
    parts: Vec<CompletedPart>,
    /// S3 throttled a call of this repair; the pause is in effect.
    slowed_down: bool,
}

impl Repair<'_> {
    /// Repairs an object in the scope's location `index`: starts once the pace and the gate allow
    /// it.
    ///
    /// # Errors
    /// [`LedgerError`]: no more changes may be made then.
    pub(crate) async fn turn(
        &self,
        place: &ObjectId,
        state: RepairState,
        index: usize,
    ) -> Result<TurnEnd, LedgerError> {
        let Some(bucket) = self.plan.buckets.get(&place.bucket) else {
            let why = "its bucket is not among those of this run".to_owned();
            return Ok(Ok(RepairEnd::Failed(why)));
        };
        let target = bucket.target.encryption();
        let plan = ObjectPlan {
            target: target.clone(),
            wish: self.plan.wish(&bucket.target),
            versioning: bucket.versioning,
            #[cfg(feature = "mutants")]
            mutant: None,
        };
        let calls = ObjectCalls {
            s3: self.s3,
            writer: self.writer,
            pace: self.pace,
            spent: self.spent,
            place,
            target: &target,
        };
        let mut turn = Turn {
            repair: self,
            bucket,
            place,
            calls,
            before: None,
            parts: Vec::new(),
            slowed_down: false,
        };
        let mut machine = ObjectRepair::new(plan, place.version.clone(), state);
        let mut event = RepairEvent::Started;
        loop {
            let action = match machine.next(event) {
                RepairAction::End(end) => {
                    turn.count(&end);
                    return Ok(Ok(end));
                }
                action => action,
            };
            let begins = matches!(action, RepairAction::Wait(_));
            event = Box::pin(turn.perform(action)).await?;
            // A waiting object has not started: a cluster may have started meanwhile.
            if begins && let Err(closed) = self.gate.admit(index).await {
                return Ok(Err(closed));
            }
        }
    }

    /// Adds to the cost.
    fn spend(&self, count: impl FnOnce(&mut Cost)) {
        count(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Turn<'_> {
    async fn perform(
        &mut self,
        action: RepairAction<LookupError>,
    ) -> Result<RepairEvent<LookupError>, LedgerError> {
        let Repair { pace, ledger, .. } = self.repair;
        Ok(match action {
            RepairAction::Wait(bytes) => {
                pace.object().await;
                pace.bytes(bytes).await;
                RepairEvent::Over
            }
            RepairAction::BackOff(tries) => {
                if std::mem::take(&mut self.slowed_down) {
                    pace.bytes(0).await;
                } else {
                    let jitter = 0.5 + fastrand::f64() / 2.0;
                    tokio::time::sleep((FIRST_WAIT * 2_u32.pow(tries)).mul_f64(jitter)).await;
                }
                RepairEvent::Over
            }
            RepairAction::Write(state) => {
                ledger.write(self.place, &state).await?;
                if let RepairState::Begun { before, .. } = state {
                    self.before = Some(*before);
                }
                RepairEvent::Over
            }
            RepairAction::Forget => {
                ledger.forget(self.place).await?;
                RepairEvent::Over
            }
            RepairAction::Look(version) => RepairEvent::Looked(self.look(version).await),
            RepairAction::List => RepairEvent::Listed(self.calls.versions().await),
            RepairAction::ListUploads => RepairEvent::Uploads(self.calls.uploads().await),
            call => RepairEvent::Answered(self.call(call).await),
        })
    }

    /// Makes a call that changes something.
    async fn call(&mut self, action: RepairAction<LookupError>) -> CallAnswer {
        let answer = match action {
            RepairAction::Copy(order) => self.calls.copy(&order).await,
            RepairAction::Update(version) => match &self.before {
                Some(before) => self.calls.update(version, before).await,
                None => CallAnswer::Refused("it was not looked at".to_owned()),
            },
            RepairAction::CreateUpload(order) => self.calls.create_upload(&order).await,
            RepairAction::CopyParts(upload, order) => {
                self.calls.copy_parts(&upload, &order, &mut self.parts).await
            }
            RepairAction::Complete(upload, order, with_checksums) => {
                let parts = std::mem::take(&mut self.parts);
                self.calls.complete(&upload, &order, parts, with_checksums).await
            }
            RepairAction::Abort(upload) => {
                let answer = self.calls.abort(&upload).await;
                if let CallAnswer::Refused(why) = &answer {
                    tracing::error!(place = %self.place, upload, why, "an upload could not be \
                        aborted");
                }
                answer
            }
            RepairAction::Delete(version) => {
                let is_old = self.place.version.as_ref() == Some(&version);
                let answer = self.calls.delete(version).await;
                if is_old && matches!(answer, CallAnswer::Done(_)) {
                    self.deleted_early();
                }
                answer
            }
            RepairAction::Restore(version) => {
                let class = self.before.as_ref().map(|seen| seen.storage_class.as_str());
                let days = (class != Some("INTELLIGENT_TIERING"))
                    .then_some(i32::from(self.repair.plan.restore_days));
                self.calls.restore(version, days).await
            }
            _ => CallAnswer::Refused("this is no call".to_owned()),
        };
        match &answer {
            CallAnswer::Done(_) => self.repair.pace.on_success(),
            CallAnswer::SlowDown => {
                self.slowed_down = true;
                self.repair.pace.slow_down();
            }
            _ => {}
        }
        answer
    }

    /// Looks up an object, and counts the requests.
    async fn look(&mut self, version: Option<String>) -> LookAnswer<LookupError> {
        let carries = self.bucket.carries;
        let seen = snapshot::look(self.repair.s3, self.place, version.as_deref(), carries).await;
        let (class, requests) = seen
            .found()
            .map_or(("STANDARD", 1), |seen| (seen.storage_class.as_str(), carries.requests(seen)));
        self.repair.spend(|spent| spent.read(class, requests));
        let loss = match &seen {
            Lookup::Found(seen) => self.loss(version, seen).await,
            _ => Lookup::Found(None),
        };
        match (seen, loss) {
            (Lookup::Found(snapshot), Lookup::Found(loss)) => {
                // It is an old version, or the first look-up.
                let is_old = self.place.version.is_some() && snapshot.version == self.place.version;
                if self.before.is_none() || is_old {
                    self.before = Some(snapshot.clone());
                }
                let criterion = &self.repair.plan.criterion;
                LookAnswer::Seen(Box::new(ObservedObject {
                    offends: criterion.offends(&snapshot.stored(), &self.bucket.target),
                    snapshot,
                    loss,
                    now: now(),
                }))
            }
            (Lookup::Absent, _) | (_, Lookup::Absent) => LookAnswer::Absent,
            (Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle), _)
            | (_, Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle)) => {
                LookAnswer::Failed(obstacle)
            }
        }
    }

    /// What a multipart copy would lose of an object that needs one.
    async fn loss(&self, version: Option<String>, seen: &Snapshot) -> Lookup<Option<LeaveReason>> {
        if seen.size <= LARGEST_COPY {
            return Lookup::Found(None);
        }
        if seen.missing_metadata > 0 {
            return Lookup::Found(Some(LeaveReason::UnreadableMetadata));
        }
        if !verdict::keeps_checksum_in_parts(seen) {
            return Lookup::Found(Some(LeaveReason::UnknownChecksum));
        }
        if !choice::fits_in_xml(&self.place.key) {
            return Lookup::Found(Some(LeaveReason::KeyNotInXml));
        }
        let annotated = self.calls.has_annotations(version).await;
        annotated.map(|annotated| annotated.then_some(LeaveReason::Annotated))
    }

    /// Adds the cost of its result, apart from the requests.
    fn count(&self, end: &RepairEnd<LookupError>) {
        let Some(seen) = &self.before else { return };
        match end {
            RepairEnd::Done(method, _) => {
                let to_kms =
                    self.bucket.target.kind != crate::settings::policy::EncryptionKind::SseS3;
                let costs = CostInputs { to_kms, ..self.costs(seen) };
                self.repair.spend(|spent| spent.came_with(*method, costs));
            }
            RepairEnd::Restoring => {
                self.repair.spend(|spent| spent.restore(&seen.storage_class, seen.size));
            }
            _ => {}
        }
    }

    fn deleted_early(&self) {
        if let Some(seen) = &self.before {
            let costs = CostInputs { from_kms: false, versioned: true, ..self.costs(seen) };
            self.repair.spend(|spent| spent.delete_early(costs));
        }
    }

    fn costs<'s>(&self, seen: &'s Snapshot) -> CostInputs<'s> {
        CostInputs {
            size: seen.size,
            storage_class: &seen.storage_class,
            age_days: u64::try_from((now() - seen.modified) / 86_400_000).unwrap_or(0),
            from_kms: seen.key.is_some(),
            to_kms: false,
            versioned: self.bucket.versioning.has_versions(),
            look: 0,
        }
    }
}

fn now() -> i64 {
    ServiceClock::of_s3().now_or_own_millis()
}

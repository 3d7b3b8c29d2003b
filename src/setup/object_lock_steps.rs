//! The steps for Object Lock of the bucket for evidence: its versioning, and the retention of every
//! new report.
//!
//! S3 switches Object Lock on for a bucket that exists as well, once that keeps versions. It never
//! switches it off again. Source: Amazon S3 user guide, "Configuring S3 Object Lock", "Enable
//! Object Lock on an existing S3 bucket".

use serde_json::json;

use crate::{
    base::{
        aws_calls,
        lookup::Lookup,
        names::BucketName,
        printable::{Printable, printable},
    },
    facts::{
        account_state::AccountState,
        object_lock::{DefaultRetention, LockState, RetentionMode, RetentionPeriod, VERSIONING_ON},
    },
    setup::{
        bucket_steps::PlannedBucket,
        desired::SetupInputs,
        piece::{BucketObjectLock, BucketVersioning, Piece},
        plan::{Step, StepAction},
        planning::{not_asked, step, unknown},
    },
};

/// The option that asks for the bucket.
pub(super) const ASKED_BY: [&str; 1] = ["--with evidence-bucket"];
/// The days for which S3 keeps a report, unless the settings say how long folders keep them.
const DAYS: u32 = 365;
/// The longest retention in days: 100 years. Source: Amazon S3 user guide, Object Lock
/// considerations.
const MOST_DAYS: u32 = 36_500;
const SOURCE: &str = "Amazon S3 user guide, Locking objects with Object Lock; Configuring S3 Object \
    Lock";

/// The retention of reports, where nobody has chosen a stronger one. In governance mode a mistake
/// can be corrected; nobody is led into compliance mode, which is final.
fn wanted(inputs: &SetupInputs<'_>) -> DefaultRetention {
    let days = inputs.permissions.evidence.retention.days.unwrap_or(DAYS);
    let period = RetentionPeriod::Days(days.clamp(1, MOST_DAYS));
    DefaultRetention { mode: RetentionMode::Governance, period }
}

/// Plans the versioning of the bucket, and its retention.
pub(super) fn object_lock(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    bucket: &PlannedBucket,
) -> Vec<Step> {
    let name = &bucket.bucket;
    let wanted = wanted(inputs);
    let (versioning, (lock, retention)) =
        match bucket.availability.obstacle(&format!("the bucket {name}")) {
            // What is refused about the bucket is said there.
            Some(StepAction::Refuse { .. }) => return Vec::new(),
            Some(obstacle) => (obstacle.clone(), (obstacle, wanted)),
            None if bucket.is_new => (StepAction::Create, (StepAction::Create, wanted)),
            None => match state.locks.get(name) {
                Some(of_bucket) => (versioning(of_bucket), retention(of_bucket, wanted)),
                None => {
                    let what = format!("Object Lock of {name}");
                    let error = not_asked(&aws_calls::GET_OBJECT_LOCK_CONFIGURATION, &what);
                    (unknown(&error), (unknown(&error), wanted))
                }
            },
        };
    let versions = Piece::BucketVersioning(BucketVersioning { bucket: name.clone() });
    let mut versions = step(versions, versioning, &ASKED_BY, SOURCE);
    if !bucket.is_new && is_change(&versions.action) {
        versions = versions.noting(
            "the bucket keeps every version of an object from now on, and its storage is paid",
        );
    }
    let piece = Piece::ObjectLock(BucketObjectLock { bucket: name.clone(), retention });
    let mut locked = step(piece, lock, &ASKED_BY, SOURCE);
    if is_change(&locked.action) {
        let period = retention.period;
        locked = locked
            .costing(format!("the storage of every report for at least {period}"))
            .noting_any(notes(name, retention));
        if !bucket.is_new {
            locked = locked.noting("objects that are there already get no retention by it");
        }
    }
    vec![versions, locked]
}

const fn is_change(action: &StepAction) -> bool {
    matches!(action, StepAction::Create | StepAction::Change { .. })
}

fn versioning(of_bucket: &LockState) -> StepAction {
    match &of_bucket.versioning {
        Lookup::Found(status) if status == VERSIONING_ON => StepAction::Keep,
        Lookup::Found(status) => StepAction::Change { before: json!(status) },
        Lookup::Absent => StepAction::Create,
        Lookup::Denied(error) | Lookup::Unreachable(error) => unknown(error),
    }
}

/// What has to be done about the retention, and the retention that it will be: never a shorter one
/// than the present one, nor one that more people can end.
fn retention(of_bucket: &LockState, wanted: DefaultRetention) -> (StepAction, DefaultRetention) {
    match &of_bucket.lock {
        Lookup::Found(Some(present)) => match present.and(wanted) {
            stronger if stronger == *present => (StepAction::Keep, *present),
            stronger => (StepAction::Change { before: json!(present) }, stronger),
        },
        Lookup::Found(None) | Lookup::Absent => (StepAction::Create, wanted),
        Lookup::Denied(error) | Lookup::Unreachable(error) => (unknown(error), wanted),
    }
}

fn notes(bucket: &BucketName, retention: DefaultRetention) -> Vec<Printable> {
    let (unit, number) = retention.period.parts();
    let compliance = "in COMPLIANCE mode nobody can delete a report or shorten its retention before \
        it ends, not even the root user";
    let mode = match retention.mode {
        RetentionMode::Governance => printable!(
            "in GOVERNANCE mode whoever has s3:BypassGovernanceRetention can still delete a report; \
             {compliance}; to choose it once this is made, for new reports: `aws s3api \
             put-object-lock-configuration --bucket {} --object-lock-configuration \
             'ObjectLockEnabled=Enabled,Rule={{DefaultRetention={{Mode=COMPLIANCE,\
             {unit}={number}}}}}'`; setup keeps it",
            Printable::from(bucket.as_str())
        ),
        RetentionMode::Compliance => printable!("{compliance}; the bucket has this mode already"),
    };
    vec![mode, "S3 never switches Object Lock of a bucket off again".into()]
}

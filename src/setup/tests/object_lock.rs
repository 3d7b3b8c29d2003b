//! Object Lock of a bucket, made, strengthened and taken back.

use super::*;
use crate::{
    base::{lookup::Lookup, names::BucketName},
    facts::object_lock::{DefaultRetention, LockState, RetentionMode, RetentionPeriod, lock_state},
    setup::{
        piece::{BucketObjectLock, BucketVersioning},
        record::{AppliedAction, UndoResult},
    },
};

fn name() -> BucketName {
    BUCKET.parse().unwrap()
}

fn governance(days: u32) -> DefaultRetention {
    let period = RetentionPeriod::Days(days);
    DefaultRetention { mode: RetentionMode::Governance, period }
}

fn versioning() -> Piece {
    Piece::BucketVersioning(BucketVersioning { bucket: name() })
}

fn lock(days: u32) -> Piece {
    Piece::ObjectLock(BucketObjectLock { bucket: name(), retention: governance(days) })
}

fn locked_bucket() -> Piece {
    Piece::Bucket(Bucket { bucket: name(), region: REGION.to_owned(), object_lock: true })
}

fn created(pieces: impl IntoIterator<Item = Piece>) -> SetupPlan {
    plan(pieces.into_iter().map(|piece| step(piece, StepAction::Create)).collect())
}

impl Account {
    async fn lock_state(&self) -> LockState {
        lock_state(&self.aws.s3, &AccountId::new(ACCOUNT), &name()).await
    }

    fn object(&self) {
        self.command(json!({"put_object": {"bucket": BUCKET, "key": "report.json"}}));
    }
}

fn results(undone: &[UndoneStep]) -> Vec<(&'static str, &UndoResult)> {
    undone.iter().map(|step| (step.piece.kind(), &step.result)).collect()
}

const STAYS_ON: &str = "Object Lock itself, which S3 switches off only with the bucket";

#[tokio::test]
async fn a_new_bucket_is_made_with_object_lock_and_goes_with_it_as_long_as_it_is_empty() {
    let account = Account::empty();
    let plan = created([locked_bucket(), versioning(), lock(365)]);
    let (result, steps) = account.apply(&plan).await;
    result.unwrap();
    assert_eq!(account.writes(), ["CreateBucket", "PutObjectLockConfiguration"]);
    let actions: Vec<AppliedAction> = steps.iter().map(|step| step.action).collect();
    let (create, found) = (AppliedAction::Create, AppliedAction::Found);
    assert_eq!(actions, [create, found, create]);
    let state = account.lock_state().await;
    assert_eq!(state.versioning, Lookup::Found("Enabled".to_owned()));
    assert_eq!(state.lock, Lookup::Found(Some(governance(365))));

    let undone = account.undo(&record(steps)).await;
    let without_rule = UndoResult::Undone { stays: Some(STAYS_ON.to_owned()) };
    let gone = UndoResult::Undone { stays: None };
    assert_eq!(results(&undone), [("default retention", &without_rule), ("bucket", &gone)]);
    assert!(account.simulator.with_world(|world| !world.buckets.contains_key(BUCKET)));
}

#[tokio::test]
async fn what_protects_a_report_stays() {
    let account = Account::empty();
    let (result, steps) = account.apply(&created([locked_bucket(), lock(365)])).await;
    result.unwrap();
    account.object();
    let writes = account.writes().len();
    let undone = account.undo(&record(steps)).await;
    let why: Vec<&str> = undone
        .iter()
        .map(|step| match &step.result {
            UndoResult::Kept { why } => why.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(why[0].starts_with("it protects what is in the bucket, which has the object report"));
    assert_eq!(why[1], "it is not empty: it has the object report.json");
    assert_eq!(account.writes().len(), writes);
}

#[tokio::test]
async fn a_bucket_that_exists_gets_versioning_first() {
    let account = Account::empty();
    account.command(json!({"put_bucket": {"name": BUCKET}}));
    let state = account.lock_state().await;
    assert_eq!((state.versioning, state.lock), (Lookup::Absent, Lookup::Absent));
    // Without versioning, S3 refuses.
    let (result, _) = account.apply(&created([lock(30)])).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("InvalidBucketState"), "{error}");
    account.journal().reported().unwrap();

    let writes = account.writes().len();
    let (result, steps) = account.apply(&created([versioning(), lock(30)])).await;
    result.unwrap();
    let new = &account.writes()[writes..];
    assert_eq!(new, ["PutBucketVersioning", "PutObjectLockConfiguration"]);
    let undone = account.undo(&record(steps)).await;
    let without_rule = UndoResult::Undone { stays: Some(STAYS_ON.to_owned()) };
    assert_eq!(undone[0].result, without_rule);
    assert!(matches!(undone[1].result, UndoResult::Kept { .. }), "{undone:?}");
    let state = account.lock_state().await;
    assert_eq!(state.versioning, Lookup::Found("Enabled".to_owned()));
    assert_eq!(state.lock, Lookup::Found(None));
}

#[tokio::test]
async fn a_shorter_retention_comes_back_and_one_that_somebody_changed_stays() {
    let account = Account::empty();
    account.apply(&created([locked_bucket(), lock(30)])).await.0.unwrap();
    account.journal().reported().unwrap();
    let before = json!(governance(30));
    let longer = plan(vec![step(lock(365), StepAction::Change { before })]);
    let (result, steps) = account.apply(&longer).await;
    result.unwrap();
    account.object();
    let undone = account.undo(&record(steps.clone())).await;
    assert_eq!(undone[0].result, UndoResult::Undone { stays: None });
    assert_eq!(account.lock_state().await.lock, Lookup::Found(Some(governance(30))));
    // It is as it was before setup.
    let undone = account.undo(&record(steps.clone())).await;
    assert_eq!(undone[0].result, UndoResult::Gone);
    // It is neither that nor what setup made.
    let other = step(lock(90), StepAction::Change { before: json!(governance(30)) });
    account.apply(&plan(vec![other])).await.0.unwrap();
    let undone = account.undo(&record(steps)).await;
    let UndoResult::Kept { why } = &undone[0].result else { panic!("{undone:?}") };
    assert!(why.starts_with("somebody changed it since"), "{why}");
}

#[tokio::test]
async fn a_retention_that_somebody_set_meanwhile_is_left_alone() {
    let account = Account::empty();
    account.apply(&created([locked_bucket(), lock(30)])).await.0.unwrap();
    account.journal().reported().unwrap();
    let writes = account.writes().len();
    let (result, _) = account.apply(&created([lock(365)])).await;
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("there is a default retention acme-new by now"), "{error}");
    assert_eq!(account.writes().len(), writes);
}

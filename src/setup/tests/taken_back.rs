//! Undo.

use super::*;
use crate::setup::{journal::SetupJournalError, record::UndoResult};

async fn applied(account: &Account, plan: &SetupPlan) -> SetupRecord {
    let (result, steps) = account.apply(plan).await;
    result.unwrap();
    account.journal().reported().unwrap();
    record(steps)
}

fn result_of<'a>(undone: &'a [UndoneStep], kind: &str) -> &'a UndoResult {
    &undone.iter().find(|step| step.piece.kind() == kind).unwrap().result
}

#[tokio::test]
async fn undo_returns_the_account_to_what_it_was_except_for_the_key() {
    let account = Account::empty();
    let before = account.state();
    let record = applied(&account, &everything()).await;
    let undone = account.undo(&record).await;
    assert_eq!(without_ids(account.state()), without_ids(before));
    assert!(matches!(result_of(&undone, "KMS key"), UndoResult::Kept { .. }));
    for step in undone.iter().filter(|step| step.piece.kind() != "KMS key") {
        assert!(matches!(step.result, UndoResult::Undone { .. }), "{step:?}");
        assert!(step.calls.iter().all(|call| call.request.is_some()));
    }
    // Again: there is nothing left.
    let writes = account.writes().len();
    let again = account.undo(&record).await;
    assert_eq!(account.writes().len(), writes);
    let rest = again.iter().filter(|step| step.piece.kind() != "KMS key");
    assert!(rest.map(|step| &step.result).all(|result| *result == UndoResult::Gone), "{again:#?}");
}

#[tokio::test]
async fn nothing_is_taken_back_that_cannot_be_written_down_before() {
    let account = Account::empty();
    let record = applied(&account, &everything()).await;
    let (before, writes) = (account.state(), account.writes().len());
    let mut journal = account.journal();
    journal.fill_the_disk();
    let mut tell = |step: &UndoneStep| panic!("{step:?}");
    let undone = undo_at(&account.aws, &record, &mut journal, &mut tell, SettlingTime::NONE);
    let undone = Box::pin(undone).await.unwrap();
    assert!(matches!(undone.stopped, Some(SetupJournalError::Dir(_))));
    assert_eq!((undone.steps.len(), account.writes().len()), (0, writes));
    assert_eq!(account.state(), before);
    drop(journal);
    // The same command goes on.
    let again = account.undo(&record).await;
    let done = |step: &&UndoneStep| matches!(step.result, UndoResult::Undone { .. });
    assert_eq!(again.iter().filter(done).count(), again.len() - 1, "{again:#?}");
}

#[tokio::test]
async fn changed_settings_and_documents_become_what_they_were() {
    let account = Account::empty();
    let theirs = json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*",
        "Action": "s3:DeleteBucket", "Resource": format!("arn:aws:s3:::{BUCKET}")});
    let policy = document(std::slice::from_ref(&theirs));
    account.command(json!({"put_bucket": {"name": BUCKET, "policy": policy,
        "public_access_block": false}}));
    let before = account.state();
    let merged = Piece::BucketPolicy(BucketPolicy {
        bucket: BUCKET.parse().unwrap(),
        policy: document(&[theirs, tls_only()]),
    });
    let off = PublicAccessBlockSettings::default();
    let record = applied(
        &account,
        &plan(vec![
            step(access_block(), StepAction::Change { before: json!(off) }),
            step(merged, StepAction::Change { before: policy }),
        ]),
    )
    .await;
    assert_ne!(account.state(), before);
    account.undo(&record).await;
    assert_eq!(account.state(), before);
}

#[tokio::test]
async fn what_somebody_changed_since_stays() {
    let account = Account::empty();
    let record = applied(&account, &everything()).await;
    // A statement of theirs beside ours, a policy attached to a role, an object in the bucket, and
    // another block.
    let theirs = json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*",
        "Action": "s3:DeleteBucket", "Resource": format!("arn:aws:s3:::{BUCKET}")});
    let s3 = &account.aws.s3;
    let policy = document(&[tls_only(), theirs.clone()]).to_string();
    s3.put_bucket_policy().bucket(BUCKET).policy(policy).send().await.unwrap();
    s3.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
    account.command(json!({"put_object": {"bucket": BUCKET, "key": "theirs"}}));
    let iam = &account.aws.iam;
    let other = "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceforEC2Role";
    iam.attach_role_policy("acme-service", other).await.unwrap();
    let undone = account.undo(&record).await;
    assert!(matches!(result_of(&undone, "bucket policy"), UndoResult::Undone { .. }));
    assert!(matches!(result_of(&undone, "bucket"), UndoResult::Kept { .. }), "{undone:#?}");
    account.simulator.with_world(|world| {
        let bucket = &world.buckets[BUCKET];
        assert_eq!(bucket.policy, Some(document(&[theirs])));
        assert!(bucket.public_access_block.is_none());
        assert!(world.roles.iter().any(|role| role.name == "acme-service"));
    });
}

#[tokio::test]
async fn what_a_live_cluster_uses_stays() {
    let account = Account::empty();
    let record = applied(&account, &everything()).await;
    account.command(json!({"start_cluster": {"request": {
        "SecurityConfiguration": "acme-0a1b2c3d", "ServiceRole": "acme-service",
        "JobFlowRole": "acme-instances",
    }}}));
    let before = account.state();
    let undone = account.undo(&record).await;
    for kind in
        ["security configuration", "certificates", "inline policy", "role", "instance profile"]
    {
        assert!(matches!(result_of(&undone, kind), UndoResult::Kept { .. }), "{kind}: {undone:#?}");
    }
    let after = account.state();
    // The bucket of the certificates keeps what protects them.
    for kind in ["buckets", "roles", "instance_profiles", "security_configurations"] {
        assert_eq!(after[kind], before[kind], "{kind}");
    }
}

#[tokio::test]
async fn what_clusters_use_is_not_known_where_they_cannot_be_listed() {
    let account = Account::empty();
    let record = applied(&account, &everything()).await;
    account.fault(Fault::every("ListClusters", emr_simulator::FaultKind::AccessDenied));
    let undone = account.undo(&record).await;
    for kind in ["security configuration", "inline policy", "role", "instance profile"] {
        let result = result_of(&undone, kind);
        assert!(matches!(result, UndoResult::Unknown { .. }), "{kind}: {result:?}");
    }
}

#[tokio::test]
async fn the_bucket_of_certificates_that_stay_keeps_what_protects_them() {
    let account = Account::empty();
    let record = applied(&account, &everything()).await;
    let before = account.state()["buckets"].clone();
    account
        .fault(Fault::every("ListSecurityConfigurations", emr_simulator::FaultKind::AccessDenied));
    let undone = account.undo(&record).await;
    assert!(matches!(result_of(&undone, "certificates"), UndoResult::Unknown { .. }));
    // S3 itself blocks public access to a new bucket: that is no step of setup.
    for kind in ["bucket policy", "default encryption"] {
        let result = result_of(&undone, kind);
        let why =
            format!("it protects the certificates s3://{BUCKET}/certificates.zip, which stay");
        assert_eq!(*result, UndoResult::Kept { why }, "{kind}");
    }
    assert_eq!(account.state()["buckets"], before);
    // With the permission, the rest is taken back.
    account.command(json!("clear_faults"));
    let undone = account.undo(&record).await;
    for kind in ["certificates", "bucket policy", "default encryption", "bucket"] {
        let result = result_of(&undone, kind);
        assert!(matches!(result, UndoResult::Undone { .. }), "{kind}: {result:?}");
    }
}

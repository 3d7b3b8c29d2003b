//! Setups that die at any point, and two at once.

use std::time::Duration;

use emr_simulator::{Fault, FaultKind};

use super::*;
use crate::setup::journal::{LeftUndone, SetupJournalError};

/// Lets a setup die while its nth write is under way: before it takes effect, or after.
pub(super) async fn dies_at(account: &Account, plan: &SetupPlan, nth: usize, kind: FaultKind) {
    let number = nth.try_into().unwrap();
    account.fault(Fault::nth("any write", number, kind));
    let mut journal = account.journal();
    let mut tell = |_: &AppliedStep| ();
    let mut archive = |_: &CertificateArchive| Ok(b"an archive".to_vec());
    let time = SettlingTime::NONE;
    let applied = apply_at(&account.aws, plan, &mut journal, &mut archive, &mut tell, time);
    let arrived = async {
        while account.writes().len() < nth {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // What is dropped here goes no further, as if the process had been killed.
    tokio::select! {
        result = Box::pin(applied) => panic!("it ended before write {nth}: {result:?}"),
        () = arrived => {}
    }
    drop(journal);
    account.command(json!("clear_faults"));
}

#[tokio::test]
async fn a_setup_that_is_killed_at_any_write_is_continued_without_making_anything_twice() {
    let whole = Account::empty();
    whole.apply(&everything()).await.0.unwrap();
    for nth in 1..=whole.writes().len() {
        for kind in [FaultKind::Hang, FaultKind::AppliedThenHang] {
            let account = Account::empty();
            let before = account.state();
            dies_at(&account, &everything(), nth, kind.clone()).await;
            let (result, steps) = account.apply(&everything()).await;
            result.unwrap_or_else(|error| panic!("{nth}, {kind:?}: {error}"));
            assert_eq!(account.keys(), whole.keys(), "{nth}, {kind:?}: a key was made twice");
            assert!(steps.iter().all(|step| step.verified), "{nth}, {kind:?}: {steps:#?}");
            // Everything is in the one record, so that it can be taken back.
            account.undo(&record(steps)).await;
            assert_eq!(without_ids(account.state()), without_ids(before), "{nth}, {kind:?}");
        }
    }
}

#[test]
fn of_two_setups_at_once_the_second_says_so() {
    let account = Account::empty();
    let first = account.journal();
    let second = SetupJournal::open(account.state_dir.path(), first.identity().clone());
    let error = second.unwrap_err();
    assert!(matches!(error, SetupJournalError::Held { .. }), "{error}");
    drop(first);
    account.journal();
}

#[tokio::test]
async fn a_line_that_was_cut_off_is_not_counted() {
    let account = Account::empty();
    account.apply(&everything()).await.0.unwrap();
    let folder = account.state_dir.path().join("setups");
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "journal"))
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let whole = bytes.len();
    bytes.extend(br#"{"entry":"intended","operat"#);
    std::fs::write(&file, &bytes).unwrap();
    let steps = account.journal().steps().len();
    assert_eq!(steps, everything().steps.len());
    assert!(std::fs::read(&file).unwrap()[whole..].starts_with(br#"{"entry":"begun""#));
    bytes.truncate(whole);
    bytes.extend(b"{\"entry\":\"another\"}\n");
    std::fs::write(&file, &bytes).unwrap();
    let identity = SetupIdentity {
        name: "acme".to_owned(),
        account: AccountId::new(ACCOUNT),
        region: REGION.to_owned(),
    };
    let error = SetupJournal::open(account.state_dir.path(), identity).unwrap_err();
    assert!(matches!(error, SetupJournalError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn what_a_refused_call_left_in_part_is_known_until_it_is_whole() {
    let role = |name: &str| LeftUndone {
        roles: BTreeSet::from([name.to_owned()]),
        ..LeftUndone::default()
    };
    let bucket =
        LeftUndone { buckets: BTreeSet::from([BUCKET.to_owned()]), ..LeftUndone::default() };
    for (call, expected) in [
        ("CreateRole", LeftUndone::default()),
        ("AttachRolePolicy", role("acme-service")),
        ("CreateBucket", LeftUndone::default()),
        ("PutBucketEncryption", bucket.clone()),
        ("PutBucketPolicy", LeftUndone::default()),
    ] {
        let account = Account::empty();
        let identity = || account.journal().identity().clone();
        let left = || LeftUndone::read(account.state_dir.path(), &identity()).unwrap();
        assert_eq!(left(), LeftUndone::default(), "nothing was begun");
        account.fault(Fault::every(call, FaultKind::AccessDenied));
        account.apply(&everything()).await.0.unwrap_err();
        assert_eq!(left(), expected, "{call}");
        // A report changes nothing about that.
        account.journal().reported().unwrap();
        assert_eq!(left(), expected, "{call}");
        account.command(json!("clear_faults"));
        account.apply(&everything()).await.0.unwrap();
        assert_eq!(left(), LeftUndone::default(), "{call}");
    }
    // So does a setup that dies between a bucket and its encryption.
    let account = Account::empty();
    let nth = applied_before(&account, "PutBucketEncryption").await;
    let account = Account::empty();
    dies_at(&account, &everything(), nth, FaultKind::Hang).await;
    let mut journal = account.journal();
    let identity = journal.identity().clone();
    let left = |_: &SetupJournal| LeftUndone::read(account.state_dir.path(), &identity).unwrap();
    // The encryption may have been put: the next setup looks before it plans.
    assert_eq!(left(&journal), LeftUndone::default());
    let nothing = plan(Vec::new());
    account.apply_with(&nothing, &mut journal).await.0.unwrap();
    assert_eq!(left(&journal), bucket);
}

/// The number of the first write of this kind in [`everything`].
async fn applied_before(account: &Account, call: &str) -> usize {
    account.apply(&everything()).await.0.unwrap();
    account.writes().iter().position(|write| write == call).unwrap() + 1
}

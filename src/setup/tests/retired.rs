//! `retire`.

use super::*;
use crate::setup::retire::{RetireError, RetireInputs, retire_at};

async fn retire(
    account: &Account,
    name: &str,
    configured: &[&str],
    record: Option<&SetupRecord>,
) -> Result<(), RetireError> {
    let configured = configured.iter().map(ToString::to_string).collect();
    let state_dir = account.state_dir.path();
    let inputs = RetireInputs { name, configured: &configured, state_dir, record };
    let mut journal = account.journal();
    let retired = retire_at(&account.aws, &mut journal, inputs, SettlingTime::NONE);
    Box::pin(retired).await.map(drop)
}

fn exists(account: &Account, name: &str) -> bool {
    account
        .simulator
        .with_world(|world| world.security_configurations.iter().any(|it| it.name == name))
}

#[tokio::test]
async fn only_what_setup_made_and_nothing_uses_is_retired() {
    let account = Account::empty();
    account.apply(&everything()).await.0.unwrap();
    let name = "acme-0a1b2c3d";
    let used = retire(&account, name, &[name], None).await;
    assert!(matches!(used, Err(RetireError::InUse { .. })), "{used:?}");
    let cluster = json!({"start_cluster": {"request": {"SecurityConfiguration": name}}});
    account.command(cluster);
    let used = retire(&account, name, &[], None).await;
    assert!(matches!(used, Err(RetireError::InUse { .. })), "{used:?}");
    assert!(exists(&account, name));
    let account = Account::empty();
    account.apply(&everything()).await.0.unwrap();
    retire(&account, name, &["another"], None).await.unwrap();
    assert!(!exists(&account, name));
    let gone = retire(&account, name, &[], None).await;
    assert!(matches!(gone, Err(RetireError::Absent(_))), "{gone:?}");
}

#[tokio::test]
async fn without_a_journal_its_name_or_a_report_must_show_that_setup_made_it() {
    let account = Account::empty();
    let (result, steps) = account.apply(&everything()).await;
    result.unwrap();
    let record = record(steps);
    let account = Account { state_dir: tempfile::tempdir().unwrap(), ..account };
    let name = "acme-0a1b2c3d";
    let other = retire(&account, name, &[], None).await;
    assert!(matches!(other, Err(RetireError::NotMade(_))), "{other:?}");
    // Named by the content, as it was before the key existed.
    let Piece::SecurityConfiguration(planned) = configuration() else { unreachable!() };
    let digest = crate::base::digest::sha256(crate::facts::emr::canonical(&planned.content));
    let made = record.steps.last().unwrap();
    let Piece::SecurityConfiguration(made) = &made.piece else { panic!("{made:?}") };
    let named = format!("acme-{}", &digest[..8]);
    account.command(json!({"put_security_configuration":
        {"name": named, "content": made.content}}));
    retire(&account, &named, &[], None).await.unwrap();
    assert!(!exists(&account, &named));
    retire(&account, name, &[], Some(&record)).await.unwrap();
    assert!(!exists(&account, name));
}

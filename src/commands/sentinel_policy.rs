//! `explain --permissions --sentinel`: the IAM policy of a sentinel by its settings.

use crate::{
    base::{json, names::AccountId, outcome::Outcome},
    commands::error::GuardError,
    permissions::{policy::PermissionOptions, sentinel},
    settings::{
        resolve::{Settings, SettingsError},
        sentinel_options::{SentinelOptions, WatchedAccount},
    },
    system::output::out,
};

/// Prints the policy of the sentinel's own credentials, or of the role in `account`.
///
/// # Errors
/// Wrong settings, or an account that they do not name.
pub(crate) fn print(
    settings: &Settings,
    account: Option<&AccountId>,
) -> Result<Outcome, GuardError> {
    let options = settings.sentinel_options()?;
    let policy = match account {
        None => {
            let partition = sentinel::partition_of(&options);
            sentinel::own(&options, delivery(settings), partition)
        }
        Some(id) => sentinel::of_account(&options, watched(settings, &options, id)?),
    };
    out(&format!("{}\n", json::pretty(&policy).map_err(anyhow::Error::from)?));
    Ok(Outcome::Ended(0))
}

/// The settings by which alerts and reports are delivered.
pub(crate) fn delivery(settings: &Settings) -> PermissionOptions<'_> {
    PermissionOptions {
        topic: settings.alerts.topic(),
        queue: None,
        evidence: &settings.evidence,
        expected_keys: &settings.policy.expected_keys,
    }
}

/// The account with this id among those that are watched.
///
/// # Errors
/// It is not among them.
pub(crate) fn watched<'a>(
    settings: &Settings,
    options: &'a SentinelOptions,
    id: &AccountId,
) -> Result<&'a WatchedAccount, SettingsError> {
    options.accounts.iter().find(|account| account.id == *id).ok_or_else(|| {
        let known: Vec<&str> = options.accounts.iter().map(|account| account.id.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let source = settings.provenance.source("sentinel.accounts");
        SettingsError::Value(format!(
            "--account: {id} is not watched; expected one of {source} ({known}); fix: name one of \
             them, or leave --account out for the sentinel's own role"
        ))
    })
}

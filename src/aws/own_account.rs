//! Keeps the guard's own credentials to one account: where their source gives those of another one
//! (a profile that was changed, another role), nothing is signed with them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_config::identity::IdentityCache;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{Result as ProviderResult, future};
use aws_sdk_sts::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use tokio::sync::watch;

use crate::{aws::answer::describe, base::names::AccountId};

/// The account that the guard's own credentials must belong to. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct OwnAccountPin {
    account: Arc<OnceLock<AccountId>>,
    other: watch::Sender<Option<AccountId>>,
}

/// The credentials are of another account than at the start.
#[derive(Debug, thiserror::Error)]
#[error("the credentials are of account {found}, and those of account {expected} are expected")]
struct OtherAccountError {
    found: AccountId,
    expected: AccountId,
}

/// It is unknown which account the credentials are of.
#[derive(Debug, thiserror::Error)]
#[error("it is unknown which account the new credentials are of: {0}")]
struct UnknownAccountError(String);

impl OwnAccountPin {
    /// Any account.
    pub(super) fn none() -> Self {
        Self { account: Arc::default(), other: watch::Sender::new(None) }
    }

    /// Only `account` from now on. The receiver has the account that the credentials belong to
    /// instead, where it is another one.
    pub(super) fn set(&self, account: &AccountId) -> watch::Receiver<Option<AccountId>> {
        // Set once, at the start.
        let _ = self.account.set(account.clone());
        self.other.subscribe()
    }

    /// The credentials are of this other account; none: they are of the expected one.
    fn tell(&self, other: Option<&AccountId>) {
        self.other.send_if_modified(|known| {
            let is_new = known.as_ref() != other;
            *known = other.cloned();
            is_new
        });
    }
}

/// Gives the credentials of `source` as long as they are of the account of `pin`. STS is asked once
/// for each access key, because the account of a key never changes.
#[derive(Debug)]
pub(super) struct PinnedCredentials {
    source: SharedCredentialsProvider,
    /// The access to STS, but for the credentials.
    config: SdkConfig,
    pin: OwnAccountPin,
    /// The last access key that is of the account.
    verified: Mutex<Option<String>>,
    /// The access keys that were given before the account was set. If there is only one, STS has
    /// named the account by it.
    early: Mutex<Vec<String>>,
}

impl PinnedCredentials {
    pub(super) fn new(
        source: SharedCredentialsProvider,
        config: SdkConfig,
        pin: OwnAccountPin,
    ) -> Self {
        Self { source, config, pin, verified: Mutex::default(), early: Mutex::default() }
    }

    async fn load(&self) -> ProviderResult {
        let credentials = self.source.provide_credentials().await?;
        let key = credentials.access_key_id();
        let Some(expected) = self.pin.account.get() else {
            self.given_early(key);
            return Ok(credentials);
        };
        if !self.is_verified(key) {
            let found = self.account_of(&credentials).await;
            let found = found.map_err(CredentialsError::provider_error)?;
            if found != *expected {
                self.pin.tell(Some(&found));
                let error = OtherAccountError { found, expected: expected.clone() };
                return Err(CredentialsError::provider_error(error));
            }
            *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.to_owned());
        }
        self.pin.tell(None);
        Ok(credentials)
    }

    fn given_early(&self, key: &str) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if !early.iter().any(|known| known == key) {
            early.push(key.to_owned());
        }
    }

    fn is_verified(&self, key: &str) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        match verified.as_deref() {
            Some(verified) => verified == key,
            None => {
                let early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
                matches!(early.as_slice(), [only] if only == key)
            }
        }
    }

    async fn account_of(
        &self,
        credentials: &Credentials,
    ) -> Result<AccountId, UnknownAccountError> {
        let config = aws_sdk_sts::config::Builder::from(&self.config)
            .credentials_provider(credentials.clone())
            .identity_cache(IdentityCache::no_cache());
        let sts = aws_sdk_sts::Client::from_conf(config.build());
        let answer = sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| UnknownAccountError(describe(&error)))?;
        let account = answer.account().and_then(|account| account.parse().ok());
        account.ok_or_else(|| UnknownAccountError("STS names no account".to_owned()))
    }
}

impl ProvideCredentials for PinnedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

//! The data of one call of the command.

use std::{
    future::pending,
    sync::{Arc, atomic::AtomicU64},
};

use tokio::sync::watch;

use crate::{
    base::names::AccountId,
    facts::sts::CallerIdentity,
    report::{notify::Notify, reporter::Report, sentinel_alerts::SentinelAlerts},
    sentinel::health::SentinelHealth,
    settings::{resolve::Settings, sentinel_options::SentinelOptions},
};

/// The data of one call of the command.
pub(super) struct SentinelCommand<'a> {
    pub(super) settings: &'a Settings,
    pub(super) options: SentinelOptions,
    pub(super) report: Report,
    pub(super) notify: &'a Notify,
    pub(super) alerts: SentinelAlerts,
    /// The numbers of its reports, for the metrics.
    pub(super) delivery: Arc<DeliveryNumbers>,
    pub(super) once: bool,
}

/// The numbers of the reports.
#[derive(Debug, Default)]
pub(super) struct DeliveryNumbers {
    /// Those that wait to be delivered.
    pub(super) undelivered: AtomicU64,
    /// How many times in a row one could not be written.
    pub(super) unwritten: AtomicU64,
    /// The bytes that they and the files of the quarters take.
    pub(super) stored_bytes: AtomicU64,
}

/// The account of the sentinel's own credentials.
pub(super) struct OwnAccount {
    /// Their identity at the start, if STS named it.
    pub(super) identity: Option<CallerIdentity>,
    /// The account that they belong to now, where it is another one.
    pub(super) other: Option<watch::Receiver<Option<AccountId>>>,
    /// The health, which depends on it.
    pub(super) health: watch::Sender<SentinelHealth>,
}

impl OwnAccount {
    /// Returns when they belong to another account than before: which one, if it is not that of the
    /// start. It may be dropped before that.
    pub(super) async fn changed(&mut self) -> Option<AccountId> {
        if let Some(other) = &mut self.other
            && other.changed().await.is_ok()
        {
            return other.borrow_and_update().clone();
        }
        pending().await
    }
}

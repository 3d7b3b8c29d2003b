//! The data of one call of the command.

use std::sync::{Arc, atomic::AtomicU64};

use crate::{
    report::{notify::Notify, reporter::Report, sentinel_alerts::SentinelAlerts},
    settings::{resolve::Settings, sentinel_options::SentinelOptions},
};

/// The data of one call of the command.
pub(super) struct SentinelCommand<'a> {
    pub(super) settings: &'a Settings,
    pub(super) options: SentinelOptions,
    pub(super) report: Report,
    pub(super) notify: &'a Notify,
    pub(super) alerts: SentinelAlerts,
    /// The number of reports that wait to be delivered, for the metrics.
    pub(super) undelivered: Arc<AtomicU64>,
    pub(super) once: bool,
}

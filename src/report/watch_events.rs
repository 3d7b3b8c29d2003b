//! Tells people what the watch found.

use crate::{report::reporter::Report, watch::events::WatchEvent};

impl WatchEvent {
    /// Says what a person must know.
    pub(crate) fn tell(&self, report: &Report) {
        match self {
            Self::Unsafe(id, findings, ends) => report.unsafe_cluster(id, findings, *ends),
            Self::Help(id, is_unsafe, obstacle) => report.help_needed(id, *is_unsafe, obstacle),
            Self::Done => {}
            Self::Warning(what) => report.say(what),
        }
    }
}

//! Tells people what the watch found.

use crate::{
    base::outcome::Outcome,
    report::reporter::Report,
    watch::{events::WatchEvent, terminate},
};

impl WatchEvent {
    /// Says what a person must know.
    pub(crate) fn tell(&self, report: &Report) {
        match self {
            Self::Unsafe(id, findings, ends) => report.unsafe_cluster(id, findings, *ends),
            Self::Help(id, obstacle) => report.trouble(
                Outcome::UnsafeClusterAlive,
                &[terminate::operator_instructions(id, obstacle)],
            ),
            Self::Done => {}
            Self::Warning(what) => report.say(what),
        }
    }
}

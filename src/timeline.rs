//! The timeline of a run: what happened when, for its evidence.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use time::OffsetDateTime;

/// What happened when, in order. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Arc<Mutex<Vec<Moment>>>);

/// One entry of the timeline.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// When, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    pub what: String,
}

impl Timeline {
    /// Adds an entry.
    pub fn note(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::info!("{what}");
        let mut moments = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        moments.push(Moment { at: OffsetDateTime::now_utc(), what });
    }

    /// The entries so far.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

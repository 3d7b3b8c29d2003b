//! Starts no change in a location that a cluster of the pipeline uses. Clusters can start while
//! objects are changed, so they are listed again before each location, and every few minutes within
//! one.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

use crate::reencrypt::scope::{RepairLocation, RepairScope};

/// The longest time for which an observation is valid.
const LONGEST: Duration = Duration::from_mins(5);

/// Why no more changes are started where clusters work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GateClosed {
    /// These clusters run.
    InUse(String),
    /// The running clusters could not be listed.
    Unseen(String),
}

impl std::fmt::Display for GateClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(clusters) => write!(
                f,
                "{clusters} of this pipeline runs, and may use this place, in which nothing more \
                 was begun. fix: run this again when it has ended"
            ),
            Self::Unseen(why) => write!(
                f,
                "nothing more was begun where a cluster of this pipeline may work: {why}. fix: \
                 run this again"
            ),
        }
    }
}

/// Decides whether a change of an object may start.
pub(crate) struct ClusterGate<'a> {
    scope: &'a RepairScope,
    every: Duration,
    known: Mutex<KnownClusters>,
}

/// The result of the last listing, its time, and the scope's location it was for.
#[derive(Debug, Default)]
struct KnownClusters {
    looked: Option<(usize, Instant)>,
    closed: Option<GateClosed>,
}

impl KnownClusters {
    fn is_due(&self, place: usize, now: Instant, every: Duration) -> bool {
        self.closed.is_none()
            && self.looked.is_none_or(|(of, at)| of != place || now.duration_since(at) >= every)
    }

    /// Stores the result of a listing that was started at `asked`.
    fn take(&mut self, place: usize, asked: Instant, clusters: Result<Vec<String>, String>) {
        self.looked = Some((place, asked));
        self.closed = match clusters {
            Ok(clusters) if clusters.is_empty() => None,
            Ok(clusters) => Some(GateClosed::InUse(clusters.join(", "))),
            Err(why) => Some(GateClosed::Unseen(why)),
        };
    }
}

impl<'a> ClusterGate<'a> {
    /// A gate that lists the clusters again every `every`, and at least every five minutes.
    pub(crate) fn new(scope: &'a RepairScope, every: Duration) -> Self {
        Self { scope, every: every.min(LONGEST), known: Mutex::default() }
    }

    /// Checks whether the change of an object in the scope's location `place` may start now.
    ///
    /// # Errors
    /// [`GateClosed`], from then on for every location that clusters use: started changes are
    /// finished, and the rest is left to another run.
    pub(crate) async fn admit(&self, place: usize) -> Result<(), GateClosed> {
        if !self.scope.wanted.get(place).is_some_and(RepairLocation::is_in_use) {
            return Ok(());
        }
        // Concurrent callers wait here for the result of the listing under way.
        let mut known = self.known.lock().await;
        let asked = Instant::now();
        if known.is_due(place, asked, self.every) {
            let clusters = self.scope.clusters().await.map_err(|error| error.to_string());
            known.take(place, asked, clusters);
        }
        known.closed.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_mins(3);

    #[test]
    fn clusters_are_looked_at_before_each_place_and_again_in_time() {
        let start = Instant::now();
        let mut known = KnownClusters::default();
        assert!(known.is_due(0, start, EVERY), "nobody has looked yet");
        known.take(0, start, Ok(Vec::new()));
        assert!(!known.is_due(0, start + EVERY - Duration::from_millis(1), EVERY));
        assert!(known.is_due(0, start + EVERY, EVERY));
        assert!(known.is_due(1, start, EVERY), "another place");
        assert_eq!(known.closed, None);
    }

    #[test]
    fn a_gate_that_is_closed_stays_closed_and_says_why() {
        let start = Instant::now();
        for answer in [Ok(vec!["cluster j-1".to_owned()]), Err("denied".to_owned())] {
            let mut known = KnownClusters::default();
            known.take(0, start, answer.clone());
            assert!(!known.is_due(1, start + EVERY * 2, EVERY));
            let said = known.closed.map(|closed| closed.to_string()).unwrap_or_default();
            assert!(said.contains(if answer.is_ok() { "cluster j-1" } else { "denied" }), "{said}");
        }
    }
}

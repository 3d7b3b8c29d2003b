//! The timeline of a run, for its evidence: what happened when, what the guard did, and in which
//! states it saw clusters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    base::{names::ClusterId, printable::Printable},
    facts::emr::{ClusterState, ClusterStatus},
};

/// What happened when, in order. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Arc<Mutex<Lists>>);

#[derive(Debug, Default)]
struct Lists {
    moments: Vec<TimelineEntry>,
    actions: Vec<ActionRecord>,
    states: Vec<StateChange>,
}

/// One entry of the timeline.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Moment")]
pub struct TimelineEntry {
    /// When, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub at: OffsetDateTime,
    /// What happened.
    pub what: Printable,
}

/// An action of the guard that affects other systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Deed")]
pub enum GuardAction {
    /// It started the runner; the subject is its program.
    StartRunner,
    /// It sent the runner's process group a signal; the subject is the signal.
    SignalRunner,
    /// It removed a cluster's termination protection by `SetTerminationProtection`.
    LiftProtection,
    /// It asked EMR to terminate a cluster, by `TerminateJobFlows`.
    Terminate,
    /// It waited for the end of a cluster whose termination it had requested.
    AwaitEnd,
    /// It signed something or wrote to a destination before the launch, to test that it can; the
    /// subject is the key or the destination.
    Probe,
    /// It sent an earlier run's report that could not be delivered then; the subject is the
    /// report's name and destination.
    DeliverEarlier,
}

/// An action of the guard, and how it ended.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Action")]
pub struct ActionRecord {
    /// When, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub at: OffsetDateTime,
    /// The action.
    pub action: GuardAction,
    /// The subject: a cluster's id, ….
    pub subject: Printable,
    /// The error, if it failed.
    pub error: Option<Printable>,
}

/// A cluster was seen in a new state.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StateChange {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its state.
    pub state: ClusterState,
    /// The reason that EMR gives.
    pub reason: Option<Printable>,
    /// When the guard first saw this state, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub seen: OffsetDateTime,
}

impl Timeline {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry.
    pub fn note(&self, what: impl Into<Printable>) {
        let what = what.into();
        tracing::info!("{what}");
        self.lists().moments.push(TimelineEntry { at: OffsetDateTime::now_utc(), what });
    }

    /// Adds an action of the guard, and its result.
    pub fn did(&self, action: GuardAction, subject: &impl ToString, result: &Result<(), String>) {
        let subject = Printable::from(subject.to_string());
        let error = result.as_ref().err().map(Printable::from);
        tracing::debug!(?action, %subject, error = error.as_deref());
        self.lists().actions.push(ActionRecord {
            at: OffsetDateTime::now_utc(),
            action,
            subject,
            error,
        });
    }

    /// Adds a cluster's state, if it differs from the last one that was seen.
    pub fn saw(&self, cluster: &ClusterId, status: &ClusterStatus) {
        let mut lists = self.lists();
        let last = lists.states.iter().rev().find(|change| change.cluster == *cluster);
        let (state, reason) = (status.state, status.reason.as_ref().map(Printable::from));
        if last.is_none_or(|last| last.state != state || last.reason != reason) {
            lists.states.push(StateChange {
                cluster: cluster.clone(),
                state,
                reason,
                seen: OffsetDateTime::now_utc(),
            });
        }
    }

    /// The entries so far.
    #[must_use]
    pub fn moments(&self) -> Vec<TimelineEntry> {
        self.lists().moments.clone()
    }

    /// The entries so far, which it then has no more: a process without an end keeps none that a
    /// report has.
    pub(crate) fn take_moments(&self) -> Vec<TimelineEntry> {
        std::mem::take(&mut self.lists().moments)
    }

    /// What the guard has done so far.
    #[must_use]
    pub fn actions(&self) -> Vec<ActionRecord> {
        self.lists().actions.clone()
    }

    /// The states of clusters that were seen so far.
    #[must_use]
    pub fn states(&self) -> Vec<StateChange> {
        self.lists().states.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_counts_once_until_it_changes() {
        let timeline = Timeline::default();
        let (one, other): (ClusterId, ClusterId) = ("j-1".parse().unwrap(), "j-2".parse().unwrap());
        let status =
            |state| ClusterStatus { state, reason: None, created: OffsetDateTime::UNIX_EPOCH };
        for (cluster, state) in [
            (&one, ClusterState::Starting),
            (&other, ClusterState::Starting),
            (&one, ClusterState::Starting),
            (&one, ClusterState::Running),
            (&one, ClusterState::Starting),
        ] {
            timeline.saw(cluster, &status(state));
        }
        let seen: Vec<(String, ClusterState)> = timeline
            .states()
            .into_iter()
            .map(|change| (change.cluster.to_string(), change.state))
            .collect();
        let wanted = [
            ("j-1", ClusterState::Starting),
            ("j-2", ClusterState::Starting),
            ("j-1", ClusterState::Running),
            ("j-1", ClusterState::Starting),
        ];
        assert_eq!(seen, wanted.map(|(cluster, state)| (cluster.to_owned(), state)));
    }
}

//! Owns the durations of clusters' stages, and their special behaviours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sse::Sse;

/// The states in which a cluster can be added to the world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartState {
    /// At its beginning, as after `RunJobFlow`.
    Starting,
    /// Its instances are there.
    Bootstrapping,
    /// Its first step runs.
    Running,
    /// Idle and kept alive.
    #[default]
    Waiting,
}

/// How long things take, in simulated seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timings {
    /// STARTING.
    pub starting: f64,
    /// BOOTSTRAPPING.
    pub bootstrapping: f64,
    /// From the end of one step, or its arrival, to the beginning of the next.
    pub step_start: f64,
    /// One step.
    pub step: f64,
    /// Steps whose name contains this text.
    pub steps: BTreeMap<String, f64>,
    /// TERMINATING.
    pub terminating: f64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            starting: 180.0,
            bootstrapping: 120.0,
            step_start: 5.0,
            step: 120.0,
            steps: BTreeMap::new(),
            terminating: 60.0,
        }
    }
}

impl Timings {
    /// Every stage takes this many simulated seconds, and steps follow each other at once.
    #[must_use]
    pub fn all(seconds: f64) -> Self {
        Self {
            starting: seconds,
            bootstrapping: seconds,
            step_start: 0.0,
            step: seconds,
            steps: BTreeMap::new(),
            terminating: seconds,
        }
    }
}

/// How events come from EMR and from CloudTrail through EventBridge into queues. Times are
/// simulated seconds; a share is from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventDelivery {
    /// From a change of a cluster's state to its event.
    pub delay: f64,
    /// There is a trail. Without one, EventBridge gets no API calls. Source: Amazon EventBridge
    /// user guide, AWS service events delivered via AWS CloudTrail.
    pub trail: bool,
    /// From an API call to its event; five minutes on average. Source: AWS CloudTrail user guide,
    /// How CloudTrail works.
    pub trail_delay: f64,
    /// Each event comes up to so much later, so that some overtake others.
    pub jitter: f64,
    /// The share of events that never come.
    pub lost: f64,
    /// The share of events that come twice.
    pub doubled: f64,
}

impl Default for EventDelivery {
    fn default() -> Self {
        Self { delay: 0.0, trail: false, trail_delay: 300.0, jitter: 0.0, lost: 0.0, doubled: 0.0 }
    }
}

/// The reaction to a termination request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Termination {
    /// It ends after its time.
    #[default]
    Normal,
    /// Every such call is refused, protected or not.
    Refused,
    /// The call succeeds and the cluster stays TERMINATING forever.
    Stuck,
}

/// The properties of the next clusters started by `RunJobFlow` or by the command `StartCluster`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NextCluster {
    /// For how many clusters.
    pub count: u32,
    /// Ends with `BOOTSTRAP_FAILURE`.
    pub bootstrap_failure: bool,
    /// This step (1-based) fails.
    pub fail_step: Option<usize>,
    /// Its end.
    pub termination: Termination,
    /// Termination protection from the start, whatever the request says.
    pub termination_protected: Option<bool>,
    /// Durations of its own.
    pub timings: Option<Timings>,
    /// The security configuration it gets instead of the requested one; empty: none.
    pub security_configuration: Option<String>,
    /// Whether its volumes are encrypted, whatever the security configuration says.
    pub ebs_encrypted: Option<bool>,
    /// The same for root volumes alone.
    pub ebs_root_encrypted: Option<bool>,
    /// By which key, whatever the security configuration says.
    pub ebs_key: Option<String>,
    /// The properties of its configurations whose values EMR shows as asterisks, by their names.
    pub masked: Vec<String>,
    /// The encryption of the objects that its steps write, whatever the flags say.
    pub objects: Option<Sse>,
}

impl Default for NextCluster {
    fn default() -> Self {
        Self {
            count: 1,
            bootstrap_failure: false,
            fail_step: None,
            termination: Termination::Normal,
            termination_protected: None,
            timings: None,
            security_configuration: None,
            ebs_encrypted: None,
            ebs_root_encrypted: None,
            ebs_key: None,
            masked: Vec::new(),
            objects: None,
        }
    }
}

//! How clusters are watched, and which of them may be terminated.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The effect of a stop on verified clusters; an unsafe one, or one that could not be evaluated, is
/// always terminated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// They keep running, as they do when only the runner is stopped.
    #[default]
    Leave,
    /// They are terminated; a cluster that existed before the run keeps running.
    Terminate,
}

/// The action for a verified cluster that continues although nobody waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnOrphan {
    /// It is reported, and keeps running.
    #[default]
    Leave,
    /// It is terminated; one that existed before the run keeps running.
    Terminate,
}

/// The action for the run's own cluster that could not be evaluated within `judge_within`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnjudged {
    /// It is terminated, as unsafe.
    #[default]
    Terminate,
    /// It keeps running; an alarm is raised and the runner is stopped.
    Alert,
}

/// Time limits of the watch.
#[derive(Clone, Copy, Debug)]
pub struct WatchLimits {
    /// First interval of the watch.
    pub interval: Duration,
    /// The time limit in which every cluster must be evaluated and a search for clusters must
    /// succeed.
    pub judge_within: Duration,
    /// How long the end of an unsafe cluster is awaited.
    pub termination: Duration,
}

/// Which clusters may be terminated.
#[derive(Clone, Copy, Debug)]
pub struct TerminationRules {
    /// The effect of a stop on verified clusters.
    pub on_stop: OnStop,
    /// The action for verified clusters that nobody waits for.
    pub on_orphan: OnOrphan,
    /// The action for the run's own clusters that could not be evaluated in time.
    pub on_unjudged: OnUnjudged,
    /// Whether unsafe clusters that existed before the run may be terminated.
    pub adopted: bool,
    /// Whether unsafe clusters without any run's tag, which are only presumed to be the run's, may
    /// be terminated.
    pub untagged: bool,
    /// Whether unsafe clusters that were named to `watch` may be terminated.
    pub attached: bool,
}

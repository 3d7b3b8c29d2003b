//! How clusters are watched, and which of them may be terminated.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a stop means for clusters that are what was verified; one that is not, or that nobody could
/// judge, always ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// They keep running, as they do when only the runner is stopped.
    #[default]
    Leave,
    /// They are terminated; a cluster that existed before the run keeps running.
    Terminate,
}

/// What is done about a cluster that is what was verified, and goes on although nobody waits for
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnOrphan {
    /// It is reported, and keeps running.
    #[default]
    Leave,
    /// It is terminated; one that existed before the run keeps running.
    Terminate,
}

/// What is done about a cluster of the run's own that could not be judged within `judge_within`.
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
    /// Every cluster is judged, and a search for clusters has succeeded, within this time.
    pub judge_within: Duration,
    /// How long to wait for an unsafe cluster's end.
    pub termination: Duration,
}

/// Which clusters may be terminated.
#[derive(Clone, Copy, Debug)]
pub struct TerminationRules {
    /// What a stop means for clusters that are what was verified.
    pub on_stop: OnStop,
    /// What is done about verified clusters that nobody waits for.
    pub on_orphan: OnOrphan,
    /// What is done about clusters of the run's own that could not be judged in time.
    pub on_unjudged: OnUnjudged,
    /// Whether unsafe clusters that were there before the run may be terminated.
    pub adopted: bool,
    /// Whether unsafe clusters without any run's tag, which are only presumed to be the run's, may
    /// be terminated.
    pub untagged: bool,
    /// Whether unsafe clusters that were named to `watch` may be terminated.
    pub attached: bool,
}

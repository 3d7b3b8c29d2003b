//! What is known of the clusters that are watched.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::{aws_calls, lookup::Lookup, names::ClusterId},
    checks::{
        finding::{Finding, Level, Stage, Status},
        verified::{ClusterDetails, ClusterObservation},
    },
    facts::emr::{ClusterFacts, ClusterStep, SecurityConfiguration},
    watch::{
        machine::{
            conclusion::Conclusion,
            event::{Judgement, Work},
            ownership::Ownership,
        },
        terminate::TerminationResult,
    },
};

/// A cluster, at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterSummary {
    pub(crate) id: String,
    /// As EMR names it; none before its first answer.
    pub(crate) state: Option<String>,
    /// How many are over, of how many.
    pub(crate) steps: Option<(usize, usize)>,
    pub(crate) passed: usize,
    pub(crate) required: usize,
    /// Checks that are not decided yet.
    pub(crate) awaited: Vec<&'static str>,
    /// Checks that are refuted.
    pub(crate) failed: Vec<&'static str>,
    pub(crate) is_unsafe: bool,
    /// How its end went, where the guard asked for it.
    pub(crate) end: Option<&'static str>,
}

impl ClusterSummary {
    pub(crate) fn of(record: &ClusterRecord) -> Self {
        let required = || record.findings.iter().filter(|finding| finding.level == Level::Required);
        let names = |status: Status| {
            let mut names: Vec<&'static str> = required()
                .filter(|finding| finding.status == status)
                .map(|finding| finding.check.name)
                .collect();
            names.dedup();
            names
        };
        let is_over = |state: &str| !matches!(state, "PENDING" | "RUNNING" | "CANCEL_PENDING");
        Self {
            id: record.id.to_string(),
            state: record.cluster.found().map(|facts| facts.status.state.to_string()),
            steps: record.steps.found().map(|steps| {
                (steps.iter().filter(|step| is_over(&step.state)).count(), steps.len())
            }),
            passed: required()
                .filter(|finding| matches!(finding.status, Status::Passed | Status::NotApplicable))
                .count(),
            required: required().count(),
            awaited: names(Status::Unknown),
            failed: names(Status::Failed),
            is_unsafe: record.is_unsafe,
            end: record.end.as_ref().map(|end| match end {
                TerminationResult::Confirmed => "its end is confirmed",
                TerminationResult::Unconfirmed(_) => "its end is NOT confirmed",
            }),
        }
    }

    /// In one line, what matters most first: the terminal may cut it.
    pub(crate) fn line(&self) -> String {
        let state = self.state.as_deref().unwrap_or("not described yet");
        let steps =
            self.steps.map(|(over, all)| format!("  steps {over} of {all}")).unwrap_or_default();
        if self.is_unsafe {
            let end = self.end.unwrap_or("being terminated");
            return format!("  {}  UNSAFE, {end}  {state}  {}", self.id, self.failed.join(", "));
        }
        let passed = if self.required == 0 {
            String::new()
        } else {
            format!("  {} of {} proved", self.passed, self.required)
        };
        let awaited = if self.awaited.is_empty() {
            String::new()
        } else {
            format!("  awaits {}", self.awaited.join(", "))
        };
        format!("  {}  {state}{steps}{passed}{awaited}", self.id)
    }
}

/// What is known of one cluster of the run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClusterRecord {
    /// Its id.
    pub id: ClusterId,
    /// How it was found: `log`, `event`, `list`, `adopted` or `attached`.
    pub found_by: &'static str,
    /// The last answer of DescribeCluster.
    pub cluster: Lookup<ClusterFacts>,
    /// This run's steps in the last answer of ListSteps.
    pub steps: Lookup<Vec<ClusterStep>>,
    /// The findings of the last look.
    pub findings: Vec<Finding>,
    /// Whether it was found unsafe.
    pub is_unsafe: bool,
    /// Whether it was ended although it is what was verified, because the run was stopped.
    pub ended_by_stop: bool,
    /// Whether it went on although nobody waited for it, as what was verified.
    pub orphan: Option<Orphan>,
    /// How its termination went, when the guard asked for it.
    pub end: Option<TerminationResult>,
    #[serde(skip)]
    pub(crate) whose: Ownership,
    #[serde(skip)]
    pub(crate) security_configuration: Lookup<SecurityConfiguration>,
    #[serde(flatten)]
    pub(crate) closer: ClusterDetails,
}

/// What was done about a cluster that went on although nobody waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Orphan {
    /// It went on.
    Left,
    /// It was terminated.
    Ended,
}

/// Everything the watch learnt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Watched")]
pub struct WatchResult {
    /// The run's clusters.
    pub clusters: Vec<ClusterRecord>,
    /// Why the last search for clusters failed, when it did.
    pub search_trouble: Option<String>,
    /// Clusters of the run's name that could not be told to be the run's or not.
    pub undecided: Vec<ClusterId>,
    /// What the watch came to.
    #[serde(skip)]
    pub(crate) conclusion: Conclusion<ClusterId>,
}

impl WatchResult {
    /// Whether nothing is left to do about the run's clusters.
    pub(crate) fn is_closed(&self) -> bool {
        self.conclusion.open.is_empty()
    }

    /// What is known of a cluster.
    pub(crate) fn record(&self, id: &ClusterId) -> Option<&ClusterRecord> {
        self.clusters.iter().find(|record| record.id == *id)
    }
}

impl ClusterRecord {
    /// A cluster that nothing is known of yet.
    pub(crate) fn new(id: ClusterId, found_by: &'static str, whose: Ownership) -> Self {
        const NOT_YET: &str = "not asked yet";
        Self {
            id,
            found_by,
            cluster: Lookup::not_asked(&aws_calls::DESCRIBE_CLUSTER, NOT_YET),
            steps: Lookup::not_asked(&aws_calls::LIST_STEPS, NOT_YET),
            findings: Vec::new(),
            is_unsafe: false,
            ended_by_stop: false,
            orphan: None,
            end: None,
            whose,
            security_configuration: Lookup::not_asked(
                &aws_calls::DESCRIBE_SECURITY_CONFIGURATION,
                NOT_YET,
            ),
            closer: ClusterDetails::default(),
        }
    }

    /// What is to be said of it, if it is an orphan.
    pub(crate) fn orphan_line(&self) -> Option<String> {
        let id = &self.id;
        Some(match (self.orphan?, &self.end) {
            (Orphan::Left, _) => format!(
                "cluster {id} goes on, and nobody waits for it: end it if it is not needed (aws emr terminate-clusters --cluster-ids {id}), or set `on_orphan: terminate`"
            ),
            (Orphan::Ended, Some(TerminationResult::Confirmed)) => {
                format!(
                    "cluster {id} went on, and nobody waited for it: it was terminated, and its end is confirmed"
                )
            }
            (Orphan::Ended, _) => format!(
                "cluster {id} went on, and nobody waited for it: it was told to terminate, but its end is not confirmed"
            ),
        })
    }

    /// Whether it may be alive, for all that is known.
    pub(crate) fn may_be_alive(&self) -> bool {
        !self.cluster.found().is_some_and(|facts| facts.status.state.is_over())
    }

    /// Its id, whether it is protected against termination, and whose it is, unless it is over.
    pub(crate) fn living(&self) -> Option<(ClusterId, bool, Ownership)> {
        self.may_be_alive().then(|| {
            (
                self.id.clone(),
                self.cluster.found().is_some_and(|facts| facts.termination_protected),
                self.whose,
            )
        })
    }

    /// Whether the guard has asked for its end.
    pub(crate) fn must_end(&self) -> bool {
        self.is_unsafe || self.ended_by_stop || self.orphan == Some(Orphan::Ended)
    }

    pub(crate) fn look(&self) -> ClusterObservation {
        ClusterObservation {
            cluster: self.cluster.clone(),
            steps: self.steps.clone(),
            security_configuration: self.security_configuration.clone(),
            closer: self.closer.clone(),
        }
    }

    /// Whether every required finding is proved.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        let mut required =
            self.findings.iter().filter(|finding| finding.level == Level::Required).peekable();
        required.peek().is_some()
            && required
                .all(|finding| matches!(finding.status, Status::Passed | Status::NotApplicable))
    }

    /// What the findings say, for the watcher. `persistent`: the cluster is one that stays.
    pub(crate) fn judgement(&self, persistent: bool) -> Judgement {
        let required = || {
            self.findings.iter().filter(|finding| {
                finding.level == Level::Required && finding.check.stage == Stage::Watch
            })
        };
        let is_unknown = |finding: &Finding| finding.status == Status::Unknown;
        Judgement {
            failed: required().any(|finding| finding.status == Status::Failed),
            unknown: self.findings.is_empty()
                || required().any(|finding| is_unknown(finding) && !finding.not_there),
            unseen: required().any(|finding| is_unknown(finding) && finding.not_there),
            awaits_instances: self.findings.iter().any(|finding| {
                finding.not_there || finding.check.name == "cluster-volumes" && is_unknown(finding)
            }),
            details_known: self.closer.bootstrap_actions.found().is_some()
                && self.closer.group_properties.found().is_some(),
            groups_known: self.closer.group_properties.found().is_some(),
            steps_known: self.steps.found().is_some(),
            work: self.steps.found().map(|steps| work(steps, persistent)).unwrap_or_default(),
        }
    }
}

/// What became of a cluster's steps.
fn work(steps: &[ClusterStep], persistent: bool) -> Work {
    let completed = steps.iter().filter(|step| step.state == "COMPLETED").count();
    let open = steps.iter().any(ClusterStep::is_open);
    Work {
        begun: steps.iter().any(|step| !matches!(step.state.as_str(), "PENDING" | "CANCELLED")),
        open,
        done: if persistent {
            completed > 0 && !open
        } else {
            completed > 0 && completed == steps.len()
        },
    }
}

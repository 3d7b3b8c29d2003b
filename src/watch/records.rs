//! The facts on the watched clusters.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupError},
        names::ClusterId,
        printable::{Printable, printable},
        reason::Reason,
    },
    checks::{
        finding::{Check, Finding, Level, Stage, Status},
        fix::CommandContext,
        verified::{ClusterDetails, ClusterObservation},
        written::OBJECTS,
    },
    facts::emr::{ClusterFacts, ClusterState, ClusterStep, SecurityConfiguration},
    watch::{
        machine::{
            conclusion::{Open, WatchConclusion},
            event::{Judgement, Work},
            ownership::Ownership,
        },
        terminate::{TerminationResult, UNSAFE, manual_termination_commands},
    },
};

/// A short summary of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterSummary {
    pub(crate) id: String,
    /// Its state, as EMR names it; none before the first response.
    pub(crate) state: Option<String>,
    /// The number of ended steps, and of all steps.
    pub(crate) steps: Option<(usize, usize)>,
    pub(crate) passed: usize,
    pub(crate) required: usize,
    /// Checks that are not decided yet.
    pub(crate) awaited: Vec<&'static str>,
    /// Checks that failed.
    pub(crate) failed: Vec<&'static str>,
    pub(crate) is_unsafe: bool,
    /// The progress of its termination, if the guard requested it.
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

    /// On one line, the most important first: the terminal may cut it.
    pub(crate) fn line(&self) -> String {
        let state = self.state.as_deref().unwrap_or("not described yet");
        let steps =
            self.steps.map(|(over, all)| format!("  steps {over} of {all}")).unwrap_or_default();
        if self.is_unsafe {
            let end = self.end.unwrap_or("its end is awaited");
            return format!("  {}  UNSAFE, {end}  {state}  {}", self.id, self.failed.join(", "));
        }
        let passed = if self.required == 0 {
            String::new()
        } else {
            format!("  {} of {} passed", self.passed, self.required)
        };
        let awaited = if self.awaited.is_empty() {
            String::new()
        } else {
            format!("  awaits {}", self.awaited.join(", "))
        };
        format!("  {}  {state}{steps}{passed}{awaited}", self.id)
    }
}

/// The facts on one cluster of the run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClusterRecord {
    /// Its id.
    pub id: ClusterId,
    /// How it was found: `log`, `event`, `list`, `adopted` or `attached`.
    pub found_by: &'static str,
    /// The last response of DescribeCluster.
    pub cluster: Lookup<ClusterFacts>,
    /// This run's steps in the last response of ListSteps.
    pub steps: Lookup<Vec<ClusterStep>>,
    /// The findings of the last poll.
    pub findings: Vec<Finding>,
    /// Whether it was found unsafe.
    pub is_unsafe: bool,
    /// Whether it was terminated although it was as verified, because the run was stopped.
    pub ended_by_stop: bool,
    /// Whether it was as verified and continued although nobody waited for it.
    pub orphan: Option<Orphan>,
    /// The result of its termination, if the guard requested it.
    pub end: Option<TerminationResult>,
    /// Shell commands that terminate it, if its end was not observed and it must end, or continues
    /// although nobody waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    #[serde(skip)]
    pub(crate) whose: Ownership,
    #[serde(skip)]
    pub(crate) security_configuration: Lookup<SecurityConfiguration>,
    #[serde(flatten)]
    pub(crate) closer: ClusterDetails,
}

/// What was done about a cluster that continued although nobody waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Orphan {
    /// It went on.
    Left,
    /// It was terminated.
    Ended,
}

/// The whole result of the watch.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Watched")]
pub struct WatchResult {
    /// The run's clusters.
    pub clusters: Vec<ClusterRecord>,
    /// Why the last search for clusters failed, when it did.
    pub search_trouble: Option<String>,
    /// The same as an error of AWS or of the network.
    #[serde(skip)]
    pub(crate) search_obstacle: Option<LookupError>,
    /// Clusters with the run's name whose ownership is unknown.
    pub undecided: Vec<ClusterId>,
    /// The conclusion of the watch.
    #[serde(skip)]
    pub(crate) conclusion: WatchConclusion<ClusterId>,
    /// The required checks on the run that its policy lowers to advisory.
    #[serde(skip)]
    pub(crate) not_enforced: Vec<&'static Check>,
}

/// The verdict on a cluster without a failed required check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterVerdict {
    /// It is as verified, as far as this text says.
    Verified(String),
    /// Required checks on it are lowered to advisory.
    NotEnforced(String),
}

impl WatchResult {
    /// Whether nothing is left to do about the run's clusters.
    pub(crate) fn is_closed(&self) -> bool {
        self.conclusion.open.is_empty()
    }

    /// Adds the remediation for a person; the commands contain the region of the clusters, and the
    /// guard's own profile.
    pub(crate) fn with_remediation(mut self, commands: &CommandContext) -> Self {
        for record in &mut self.clusters {
            record.findings.iter_mut().for_each(|finding| finding.complete_fix(commands));
            let is_left = record.orphan == Some(Orphan::Left) && record.goes_on();
            if is_left || (record.must_end() && record.end != Some(TerminationResult::Confirmed)) {
                record.remediation = Some(manual_termination_commands(&record.id, commands));
            }
        }
        self
    }

    /// Adds the terminations of clusters because of what they wrote: `ends` holds their results.
    pub(crate) fn with_ends(
        mut self,
        ends: &[(ClusterId, TerminationResult)],
        commands: &CommandContext,
    ) -> Self {
        for record in &mut self.clusters {
            let Some((_, end)) = ends.iter().find(|(id, _)| *id == record.id) else { continue };
            record.remediation = (*end != TerminationResult::Confirmed)
                .then(|| manual_termination_commands(&record.id, commands));
            record.end = Some(end.clone());
        }
        self
    }

    /// Lists the clusters that continue, with their ownership, on one line, and what to do next:
    /// the first questions after a stop.
    pub(crate) fn what_goes_on(&self, commands: &CommandContext) -> Reason {
        let mut reason = Reason::new(self.state_in_words());
        // The line itself contains the remediation of the others.
        let goes_on = |record: &&ClusterRecord| record.goes_on() && record.remediation.is_none();
        let going = || self.clusters.iter().filter(goes_on);
        // A cluster that existed before the run is not watched to its end, and not terminated.
        let followed: Vec<&ClusterId> = going()
            .filter(|record| record.whose != Ownership::Adopted)
            .map(|record| &record.id)
            .collect();
        if !self.is_closed() {
            reason = reason.detail("the run stays open; the next start continues from here, or:");
            reason = reason.fix(commands.resume());
        } else if !followed.is_empty() {
            reason = reason.fix(printable!("{}    # to the end", commands.watch(followed)));
        }
        let ours = going().filter(|record| record.whose == Ownership::Ours);
        ours.map(|record| &record.id).fold(reason, |reason, id| {
            let end = manual_termination_commands(id, commands);
            reason.fix(printable!("{end}    # only if {id} is not needed")).about(id)
        })
    }

    fn state_in_words(&self) -> String {
        let (alive, over): (Vec<&ClusterRecord>, Vec<&ClusterRecord>) =
            self.clusters.iter().partition(|record| record.goes_on());
        let undecided = self.undecided.iter().map(|id| {
            format!("cluster {id} has the run's name, but its owner and its state are unknown")
        });
        let mut parts: Vec<String> =
            alive.into_iter().map(ClusterRecord::how_it_goes_on).chain(undecided).collect();
        if parts.is_empty() && over.is_empty() {
            parts.push("no cluster of this run is known".to_owned());
        } else if parts.is_empty() {
            let over: Vec<String> = over.into_iter().map(ClusterRecord::how_it_ended).collect();
            parts.push(format!("no cluster continues: {}", over.join(", ")));
        }
        if let Some(trouble) = &self.search_trouble {
            let what = if self.clusters.is_empty() { "one" } else { "others" };
            parts.push(format!(
                "there may be {what}, because the search for clusters failed: {trouble}"
            ));
        }
        for open in &self.conclusion.open {
            match open {
                Open::InFlight => {
                    parts.push("a request of the runner may still start a cluster".to_owned());
                }
                Open::Survivors => parts.push(
                    "processes that the runner has left running may still start a cluster"
                        .to_owned(),
                ),
                // These are reported already.
                Open::Search | Open::Unjudged(_) | Open::Living(_) => {}
            }
        }
        parts.join("; ")
    }

    /// States that a cluster is as verified. It states no more than was observed, and nothing that
    /// a check decides which is not enforced.
    pub(crate) fn verified_in_words(&self, id: &ClusterId) -> ClusterVerdict {
        let lowered = self.lowered_on_clusters();
        if !lowered.is_empty() {
            return ClusterVerdict::NotEnforced(format!(
                "cluster {id}: the settings lower {} to advice",
                lowered.join(", ")
            ));
        }
        let end = self.conclusion.clusters.iter().find(|(of, _)| of == id).map(|(_, end)| end);
        let findings = || self.record(id).into_iter().flat_map(|record| &record.findings);
        let sees_all_but_volumes = findings()
            .filter(|finding| finding.not_there && finding.status == Status::Unknown)
            .all(|finding| finding.check.name == "cluster-volumes");
        let verified = match end {
            Some(end) if end.unseen && end.is_over && sees_all_but_volumes => {
                "was what was verified, except its volumes, which could not be read"
            }
            Some(end) if end.unseen && end.is_over => {
                "was what was verified, except what it never showed"
            }
            Some(end) if end.unseen => "is what was verified, as far as it is there yet",
            _ if findings().any(|finding| finding.hidden) => {
                "was what was verified, but for values that AWS does not show"
            }
            _ => "was what was verified",
        };
        ClusterVerdict::Verified(format!("cluster {id} {verified}"))
    }

    /// The names of the checks on clusters that are not enforced.
    pub(crate) fn lowered_on_clusters(&self) -> Vec<&'static str> {
        let on_clusters = self.not_enforced.iter().filter(|check| check.stage == Stage::Watch);
        on_clusters.map(|check| check.name).collect()
    }

    /// Whether the check on the objects that a run wrote is enforced.
    pub(crate) fn enforces_objects(&self) -> bool {
        self.not_enforced.iter().all(|check| check.name != OBJECTS.name)
    }

    /// Failed checks that are not enforced, on the clusters and in `findings`. They change no
    /// outcome, but every report of the run must mention them.
    pub(crate) fn failed_advice(&self, findings: &[Finding]) -> Vec<Printable> {
        let is_told = |finding: &&Finding| {
            finding.status == Status::Failed
                && finding.level == Level::Advisory
                && self.not_enforced.iter().any(|check| check.name == finding.check.name)
        };
        let of_clusters = self.clusters.iter().filter_map(|record| {
            let told: Vec<Printable> =
                record.findings.iter().filter(is_told).map(Finding::in_brief).collect();
            let joined = Printable::joined(&told, "; ");
            (!told.is_empty()).then(|| printable!("cluster {}: {joined}", record.id))
        });
        let of_run = findings
            .iter()
            .filter(is_told)
            .map(|finding| printable!("{}: {}", finding.subject, finding.in_brief()));
        of_clusters.chain(of_run).collect()
    }

    /// The record of a cluster.
    pub(crate) fn record(&self, id: &ClusterId) -> Option<&ClusterRecord> {
        self.clusters.iter().find(|record| record.id == *id)
    }
}

impl ClusterRecord {
    /// A cluster without any facts yet.
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
            remediation: None,
            whose,
            security_configuration: Lookup::not_asked(
                &aws_calls::DESCRIBE_SECURITY_CONFIGURATION,
                NOT_YET,
            ),
            closer: ClusterDetails::default(),
        }
    }

    pub(crate) fn state(&self) -> Option<ClusterState> {
        self.cluster.found().map(|facts| facts.status.state)
    }

    /// The line to report about it, if it is an orphan.
    pub(crate) fn orphan_line(&self) -> Option<String> {
        self.orphan_line_of(self.id.as_str())
    }

    fn orphan_line_of(&self, cluster: &str) -> Option<String> {
        let id = &self.id;
        let commands = || {
            self.remediation
                .clone()
                .unwrap_or_else(|| manual_termination_commands(id, &CommandContext::default()))
        };
        Some(match (self.orphan?, &self.end) {
            (Orphan::Left, _) => format!(
                "cluster {cluster} continues, and nothing waits for it: terminate it if it is not \
                 needed ({}), or set `on_orphan: terminate`",
                commands()
            ),
            (Orphan::Ended, Some(TerminationResult::Confirmed)) => {
                format!(
                    "cluster {cluster} continued, and nothing waited for it: it was terminated, \
                     and its end is confirmed"
                )
            }
            (Orphan::Ended, _) => format!(
                "cluster {cluster} continued, and nothing waited for it: its termination was \
                 requested, but its end is not confirmed: {}",
                commands()
            ),
        })
    }

    /// Whether it may be alive, and the guard's termination of it was not confirmed.
    pub(super) fn goes_on(&self) -> bool {
        self.end != Some(TerminationResult::Confirmed)
            && self.may_be_alive()
            && (self.must_end() || self.state() != Some(ClusterState::Terminating))
    }

    /// Why it must end, for the text that it may still be running.
    pub(crate) fn why_it_must_end(&self) -> &'static str {
        if self.is_unsafe {
            UNSAFE
        } else if self.ended_by_stop {
            "must end, because the run was stopped,"
        } else if self.orphan == Some(Orphan::Ended) {
            "must end, because nothing waits for it,"
        } else {
            "must end"
        }
    }

    /// That it continues, and who owns it.
    fn how_it_goes_on(&self) -> String {
        let (id, whose) = (&self.id, self.whose.in_words());
        // It was terminated by a stop since.
        let orphan = (!self.ended_by_stop).then(|| self.orphan_line_of(&format!("{id}, {whose},")));
        if let Some(line) = orphan.flatten() {
            return line;
        }
        let (goes_on, seen) = match self.state() {
            Some(state) => ("goes on", format!("{state} when last seen")),
            None => ("may go on", "it could not be described".to_owned()),
        };
        match &self.remediation {
            // The request to terminate it already printed the commands.
            Some(_) if self.is_unsafe => {
                format!("cluster {id}, {whose}, is unsafe and may go on ({seen})")
            }
            Some(commands) => format!(
                "cluster {id}, {whose}, was asked to terminate, but its end is not confirmed \
                 ({seen}): {commands}"
            ),
            None => format!("cluster {id}, {whose}, {goes_on} ({seen})"),
        }
    }

    fn how_it_ended(&self) -> String {
        let is_ending = self.end != Some(TerminationResult::Confirmed)
            && self.state() == Some(ClusterState::Terminating);
        let end = if is_ending { "is TERMINATING" } else { "is over" };
        format!("{}, {}, {end}", self.id, self.whose.in_words())
    }

    /// Whether it may be alive, as far as is known.
    pub(crate) fn may_be_alive(&self) -> bool {
        !self.cluster.found().is_some_and(|facts| facts.status.state.is_over())
    }

    /// Its id, whether it has termination protection, and its ownership; `None` if it is over.
    pub(crate) fn living(&self) -> Option<(ClusterId, bool, Ownership)> {
        self.may_be_alive().then(|| {
            (
                self.id.clone(),
                self.cluster.found().is_some_and(|facts| facts.termination_protected),
                self.whose,
            )
        })
    }

    /// Whether the guard has requested its termination.
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

    /// Whether every required finding has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        let mut required =
            self.findings.iter().filter(|finding| finding.level == Level::Required).peekable();
        required.peek().is_some()
            && required
                .all(|finding| matches!(finding.status, Status::Passed | Status::NotApplicable))
    }

    /// The findings, summarised for the watcher. `persistent`: the cluster is a persistent one.
    pub(crate) fn judgement(&self, persistent: bool) -> Judgement {
        let watched = |finding: &Finding| finding.check.stage == Stage::Watch;
        judgement(&self.findings, watched, (&self.steps, &self.closer), persistent)
    }
}

/// The findings on a cluster, summarised for a watcher. Required ones count where `decides` says
/// so.
pub(crate) fn judgement(
    findings: &[Finding],
    decides: impl Fn(&Finding) -> bool,
    (steps, closer): (&Lookup<Vec<ClusterStep>>, &ClusterDetails),
    persistent: bool,
) -> Judgement {
    let required =
        || findings.iter().filter(|finding| finding.level == Level::Required && decides(finding));
    let is_unknown = |finding: &Finding| finding.status == Status::Unknown;
    Judgement {
        failed: required().any(|finding| finding.status == Status::Failed),
        unknown: findings.is_empty()
            || required()
                .any(|finding| is_unknown(finding) && !finding.not_there && !finding.hidden),
        unseen: required().any(|finding| is_unknown(finding) && finding.not_there),
        hidden: required().any(|finding| is_unknown(finding) && finding.hidden),
        awaits_instances: findings.iter().any(|finding| {
            finding.not_there || finding.check.name == "cluster-volumes" && is_unknown(finding)
        }),
        details_known: closer.bootstrap_actions.found().is_some()
            && closer.group_properties.found().is_some(),
        groups_known: closer.group_properties.found().is_some(),
        steps_known: steps.found().is_some(),
        work: steps.found().map(|steps| work(steps, persistent)).unwrap_or_default(),
    }
}

/// The state of a cluster's steps.
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

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::facts::emr::{ClusterState, ClusterStatus};

    fn record(id: &str, whose: Ownership, state: Option<ClusterState>) -> ClusterRecord {
        let id: ClusterId = id.parse().unwrap();
        let mut record = ClusterRecord::new(id.clone(), "list", whose);
        if let Some(state) = state {
            record.cluster = Lookup::Found(ClusterFacts {
                id,
                name: "etl".to_owned(),
                status: ClusterStatus { state, reason: None, created: OffsetDateTime::UNIX_EPOCH },
                release: None,
                subnet: None,
                requested_subnets: std::collections::BTreeSet::default(),
                security_configuration: None,
                tags: std::collections::BTreeMap::default(),
                termination_protected: false,
                log_location: None,
                properties: Vec::new(),
                service_role: None,
                instance_profile: None,
                was_ready: false,
                custom_ami: None,
                has_fleets: false,
            });
        }
        record
    }

    fn told(clusters: Vec<ClusterRecord>) -> String {
        WatchResult { clusters, ..WatchResult::default() }
            .with_remediation(&commands())
            .state_in_words()
    }

    fn commands() -> CommandContext {
        CommandContext {
            profile: Some("nightly".to_owned()),
            ..CommandContext::in_region("eu-west-1")
        }
    }

    #[test]
    fn which_clusters_go_on_and_whose_they_are_is_told_by_what_is_known_of_each() {
        let (running, over) = (Some(ClusterState::Running), Some(ClusterState::Terminated));
        let stuck = Some(TerminationResult::Unconfirmed("denied".to_owned()));
        let ours = |id| record(id, Ownership::Ours, running);
        let lines = [
            told(vec![]),
            told(vec![ours("j-1")]),
            told(vec![record("j-1", Ownership::Ours, None)]),
            told(vec![record("j-1", Ownership::Adopted, Some(ClusterState::Waiting)), ours("j-2")]),
            told(vec![record("j-1", Ownership::Named, running)]),
            told(vec![
                record("j-1", Ownership::Ours, over),
                record("j-2", Ownership::Adopted, over),
            ]),
            told(vec![record("j-1", Ownership::Ours, Some(ClusterState::Terminating))]),
            told(vec![record("j-1", Ownership::Ours, over), ours("j-2")]),
            told(vec![ClusterRecord { ended_by_stop: true, end: stuck.clone(), ..ours("j-1") }]),
            told(vec![ClusterRecord {
                ended_by_stop: true,
                end: Some(TerminationResult::Confirmed),
                ..ours("j-1")
            }]),
            told(vec![ClusterRecord { is_unsafe: true, end: stuck.clone(), ..ours("j-1") }]),
            told(vec![ClusterRecord { orphan: Some(Orphan::Left), ..ours("j-1") }]),
            told(vec![ClusterRecord {
                orphan: Some(Orphan::Ended),
                end: stuck.clone(),
                ..ours("j-1")
            }]),
            told(vec![ClusterRecord {
                orphan: Some(Orphan::Left),
                ended_by_stop: true,
                end: stuck,
                ..ours("j-1")
            }]),
            WatchResult {
                clusters: vec![],
                search_trouble: Some("denied".to_owned()),
                search_obstacle: None,
                undecided: vec!["j-9".parse().unwrap()],
                conclusion: WatchConclusion::default(),
                not_enforced: Vec::new(),
            }
            .state_in_words(),
            WatchResult {
                clusters: vec![],
                search_trouble: Some("denied".to_owned()),
                search_obstacle: None,
                undecided: vec![],
                conclusion: WatchConclusion::default(),
                not_enforced: Vec::new(),
            }
            .state_in_words(),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_to_do_next_after_a_stop_ends_no_cluster_that_is_not_the_runs() {
        let running = Some(ClusterState::Running);
        let next = |clusters: Vec<ClusterRecord>, open: Vec<Open<ClusterId>>| {
            let conclusion = WatchConclusion { open, ..WatchConclusion::default() };
            let watched = WatchResult { clusters, conclusion, ..WatchResult::default() };
            let reason = watched.with_remediation(&commands()).what_goes_on(&commands());
            reason.fixes().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let of = |id, whose| record(id, whose, running);
        let end = |id: &str| {
            let commands = manual_termination_commands(&id.parse().unwrap(), &commands());
            assert_eq!(commands.matches(" --profile nightly ").count(), 2, "{commands}");
            format!("{commands}    # only if {id} is not needed")
        };
        let resume = "emr-etl-guard watch --resume".to_owned();
        let watch = |id: &str| format!("emr-etl-guard watch {id}    # to the end");
        assert_eq!(next(vec![], vec![]), Vec::<String>::new());
        assert_eq!(
            next(vec![of("j-1", Ownership::Ours)], vec![Open::InFlight]),
            [resume, end("j-1")]
        );
        assert_eq!(next(vec![of("j-1", Ownership::Ours)], vec![]), [watch("j-1"), end("j-1")]);
        assert_eq!(next(vec![of("j-1", Ownership::Named)], vec![]), [watch("j-1")]);
        assert_eq!(next(vec![of("j-1", Ownership::Presumed)], vec![]), [watch("j-1")]);
        assert_eq!(next(vec![of("j-1", Ownership::Adopted)], vec![]), Vec::<String>::new());
        let left = ClusterRecord { orphan: Some(Orphan::Left), ..of("j-1", Ownership::Ours) };
        assert_eq!(next(vec![left], vec![]), Vec::<String>::new(), "its line has the commands");
    }

    #[test]
    fn a_cluster_has_commands_where_a_person_must_or_may_end_it_and_nowhere_else() {
        let running = Some(ClusterState::Running);
        let stuck = || Some(TerminationResult::Unconfirmed("denied".to_owned()));
        let ours = |id| record(id, Ownership::Ours, running);
        let watched = WatchResult {
            clusters: vec![
                ours("j-1"),
                ClusterRecord { is_unsafe: true, end: stuck(), ..ours("j-2") },
                ClusterRecord {
                    is_unsafe: true,
                    end: Some(TerminationResult::Confirmed),
                    ..ours("j-3")
                },
                ClusterRecord { ended_by_stop: true, ..ours("j-4") },
                ClusterRecord { orphan: Some(Orphan::Left), ..ours("j-5") },
            ],
            search_trouble: None,
            search_obstacle: None,
            undecided: Vec::new(),
            conclusion: WatchConclusion::default(),
            not_enforced: Vec::new(),
        }
        .with_remediation(&CommandContext::in_region("eu-west-1"));
        let with: Vec<&str> = watched
            .clusters
            .iter()
            .filter(|record| record.remediation.is_some())
            .map(|record| record.id.as_str())
            .collect();
        assert_eq!(with, ["j-2", "j-4", "j-5"]);
        let ended = watched.with_ends(
            &[
                ("j-1".parse().unwrap(), TerminationResult::Unconfirmed("denied".to_owned())),
                ("j-5".parse().unwrap(), TerminationResult::Confirmed),
            ],
            &CommandContext::in_region("eu-west-1"),
        );
        assert!(ended.clusters[0].remediation.is_some() && ended.clusters[4].remediation.is_none());
    }
}

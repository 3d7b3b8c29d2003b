//! Confirmation: computes the outcome of a run from the runner's exit, the watch of its clusters,
//! and the check of the objects they wrote. Pure functions.

use crate::{
    base::{names::ClusterId, outcome::Outcome, printable::printable, reason::Reason},
    checks::{
        clusters::{ExpectedEnd, judge_work},
        finding::{Finding, Level, Status},
        fix::CommandContext,
        written::{OBJECTS, OutputCheck},
    },
    settings::policy::Policy,
    watch::{
        machine::{
            conclusion::{Doubt, WatchVerdict},
            event::RunnerEnd,
        },
        records::{ClusterRecord, WatchResult},
        terminate::{TerminationResult, WROTE, manual_termination_commands, may_be_running},
    },
};

/// The exit codes with which the runner reports that it started nothing: no data, earlier run
/// unfinished, lock held, cluster busy.
const STARTED_NOTHING: [u8; 4] = [3, 4, 17, 18];

/// The expected final state of the clusters after the runner ended with `outcome`.
pub(crate) fn expected_end(outcome: Outcome, persistent: bool) -> ExpectedEnd {
    match outcome {
        Outcome::Ended(0) if persistent => ExpectedEnd::Persistent,
        Outcome::Ended(0) => ExpectedEnd::Finished,
        _ => ExpectedEnd::Failed,
    }
}

/// How the runner ended, for the watch.
pub(crate) fn runner_end(outcome: Outcome) -> RunnerEnd {
    match outcome {
        Outcome::Ended(0) => RunnerEnd::Succeeded,
        Outcome::Ended(code) if STARTED_NOTHING.contains(&code) => RunnerEnd::StartedNothing,
        Outcome::Signalled(_) => RunnerEnd::Killed,
        _ => RunnerEnd::Failed,
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub(crate) struct Confirmation {
    pub(crate) outcome: Outcome,
    /// Why the outcome differs from the runner's own.
    pub(crate) reasons: Vec<Reason>,
    /// Findings about the run as a whole.
    pub(crate) findings: Vec<Finding>,
}

/// Computes the result. Precedence: an unsafe cluster that may be alive; an unsafe cluster that is
/// over; anything unconfirmed; the runner's exit code.
pub(crate) fn confirm(
    runner: Outcome,
    expected: ExpectedEnd,
    has_steps: bool,
    watched: &WatchResult,
) -> Confirmation {
    if let Some((outcome, reasons)) = of_unsafe(watched, false, "", "") {
        return Confirmation { outcome, reasons, findings: Vec::new() };
    }
    let (reasons, findings) = unconfirmed(runner, expected, has_steps, watched);
    let is_confirmed = watched.conclusion.verdict() == WatchVerdict::Runner && reasons.is_empty();
    let outcome = if is_confirmed { runner } else { Outcome::Unconfirmed };
    Confirmation { outcome, reasons, findings }
}

/// The outcome for the unsafe clusters of a run, if there are any; those that may be alive take
/// precedence over those that are over. `after_stop`: clusters that were terminated for another
/// reason must be over, too. `of_run` is put after each id, and `over` after each confirmed end.
pub(crate) fn of_unsafe(
    watched: &WatchResult,
    after_stop: bool,
    of_run: &str,
    over: &str,
) -> Option<(Outcome, Vec<Reason>)> {
    let must_end = |record: &&ClusterRecord| record.is_unsafe || (after_stop && record.must_end());
    let mut alive: Vec<Reason> = watched
        .clusters
        .iter()
        .filter(must_end)
        .filter_map(|record| still_running(record, of_run))
        .collect();
    let ended = |record: &ClusterRecord| {
        Reason::new(printable!(
            "cluster {}{of_run} was unsafe; its end is confirmed{over}; {}",
            record.id,
            Finding::open_in_brief(&record.findings)
        ))
        .about(&record.id)
    };
    let is_over = |record: &&ClusterRecord| {
        record.end == Some(TerminationResult::Confirmed) && record.is_unsafe
    };
    let ended: Vec<Reason> = watched.clusters.iter().filter(is_over).map(ended).collect();
    if !alive.is_empty() {
        // Clusters that are over come last: they need no action.
        alive.extend(ended);
        return Some((Outcome::UnsafeClusterAlive, alive));
    }
    (!ended.is_empty()).then_some((Outcome::UnsafeClusterTerminated, ended))
}

/// The reason why a check was skipped or broken off after a request to stop.
pub(crate) const STOPPED: &str = "the guard was stopped";

/// Decides whether to check the objects that were written.
///
/// They are also checked after a failed run, because they remain. They are not checked if a cluster
/// was unsafe: that is reported first, and everything it wrote is suspect. They are not checked
/// once the guard was stopped: time is short, and the clusters may still write.
pub(crate) fn objects(
    runner: Outcome,
    confirmation: &Confirmation,
    watched: &WatchResult,
    policy: &Policy,
    stopped: bool,
) -> OutputCheck {
    let began = |record: &ClusterRecord| {
        record.steps.found().is_none_or(|steps| steps.iter().any(|step| step.state != "PENDING"))
    };
    let wrote = watched.clusters.iter().any(|record| runner == Outcome::Ended(0) || began(record));
    match confirmation.outcome {
        _ if !wrote => OutputCheck::None,
        _ if policy.confirm_objects == Some(0) => OutputCheck::SwitchedOff,
        Outcome::UnsafeClusterAlive | Outcome::UnsafeClusterTerminated => {
            OutputCheck::Leave("a cluster was unsafe, so that everything it wrote is suspect")
        }
        _ if stopped => OutputCheck::Leave(STOPPED),
        _ => OutputCheck::Look,
    }
}

/// Whether an object is encrypted otherwise than the policy requires.
pub(crate) fn wrote_unencrypted(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.level == Level::Required && finding.status == Status::Failed)
}

impl Confirmation {
    /// Adds the findings on the objects. A failed check counts however the runner ended. An
    /// undecided check counts only if the runner reports success, because the run would be taken
    /// for verified.
    pub(crate) fn with_objects(mut self, runner: Outcome, findings: Vec<Finding>) -> Self {
        let is_unsafe =
            matches!(self.outcome, Outcome::UnsafeClusterAlive | Outcome::UnsafeClusterTerminated);
        let counts = |finding: &&Finding| match finding.status {
            Status::Failed => true,
            Status::Unknown => runner == Outcome::Ended(0) && !is_unsafe,
            Status::Passed | Status::NotApplicable | Status::Excepted => false,
        };
        let against: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.level == Level::Required)
            .filter(counts)
            // The finding that they wait for names their cause, and counts itself.
            .filter(|finding| !finding.counted)
            .collect();
        // Unencrypted objects in several locations have one cause and one fix, so they are one
        // reason.
        let (objects, others): (Vec<&Finding>, Vec<&Finding>) =
            against.into_iter().partition(|finding| {
                finding.check.name == OBJECTS.name && finding.status == Status::Failed
            });
        let in_brief =
            |finding: &Finding| printable!("{}: {}", finding.subject, finding.in_brief());
        if let [first, _, ..] = objects.as_slice() {
            let headline = format!(
                "{} locations hold objects that are not encrypted as required",
                objects.len()
            );
            let reason = objects
                .iter()
                .fold(Reason::new(headline), |reason, finding| reason.detail(in_brief(finding)));
            self.reasons.push(reason.fix(first.fix.clone().unwrap_or_default()));
        } else {
            let only = objects.into_iter();
            self.reasons.extend(only.map(|finding| {
                Reason::new(in_brief(finding)).fix(finding.fix.clone().unwrap_or_default())
            }));
        }
        self.reasons.extend(others.into_iter().map(|finding| {
            Reason::new(in_brief(finding)).fix(finding.fix.clone().unwrap_or_default())
        }));
        self.findings.extend(findings);
        if !self.reasons.is_empty() && !is_unsafe {
            self.outcome = Outcome::Unconfirmed;
        }
        self
    }

    /// Treats a run that wrote unencrypted objects as unsafe, if the policy says so. `ends` lists
    /// the clusters that were still alive, and how they ended.
    pub(crate) fn by_policy_unsafe(
        mut self,
        ends: &[(ClusterId, TerminationResult)],
        commands: &CommandContext,
    ) -> Self {
        let alive: Vec<Reason> = ends
            .iter()
            .filter_map(|(id, end)| match end {
                TerminationResult::Confirmed => None,
                TerminationResult::Unconfirmed(obstacle) => Some(
                    Reason::new(may_be_running(id.as_str(), WROTE))
                        .end_now(manual_termination_commands(id, commands))
                        .detail(obstacle)
                        .about(id),
                ),
            })
            .collect();
        if alive.is_empty() {
            self.outcome = Outcome::UnsafeClusterTerminated;
            self.reasons.insert(
                0,
                Reason::new(
                    "the run wrote objects that are not encrypted as required; its clusters are \
                     over",
                ),
            );
        } else {
            self.outcome = Outcome::UnsafeClusterAlive;
            self.reasons.splice(0..0, alive);
        }
        self
    }
}

/// What to do about a cluster that should be over and is not.
fn still_running(record: &ClusterRecord, of_run: &str) -> Option<Reason> {
    let obstacle = match &record.end {
        Some(TerminationResult::Confirmed) => return None,
        Some(TerminationResult::Unconfirmed(obstacle)) => obstacle,
        None => "its termination was not followed to the end",
    };
    let (id, why) = (&record.id, Finding::open_in_brief(&record.findings));
    let commands = record
        .remediation
        .clone()
        .unwrap_or_else(|| manual_termination_commands(id, &CommandContext::default()));
    let reason = Reason::new(may_be_running(&format!("{id}{of_run}"), record.why_it_must_end()))
        .end_now(commands)
        .detail(obstacle)
        .about(id);
    Some(if why.is_empty() { reason } else { reason.detail(why) })
}

/// Whether the clusters that continue are listed. They are listed after a stop (by any signal, to
/// the guard or to the runner alone), when the run stays open, and when the end cannot be
/// confirmed. For an unsafe run the reasons already list the unsafe clusters, so only other
/// clusters count.
pub(crate) fn tells_what_goes_on(
    runner: Outcome,
    outcome: Outcome,
    stopped: bool,
    watched: &WatchResult,
) -> bool {
    // A shell and the JVM convert the signal that ends them into an exit code.
    let by_signal = matches!(runner, Outcome::Signalled(_) | Outcome::Ended(129..=192));
    match outcome {
        _ if stopped => true,
        Outcome::UnsafeClusterAlive | Outcome::UnsafeClusterTerminated => {
            watched.clusters.iter().any(|record| !record.is_unsafe && record.goes_on())
        }
        outcome => by_signal || !watched.is_closed() || outcome == Outcome::Unconfirmed,
    }
}

/// A doubt in words; `None` for [`Doubt::NoWork`], which has its own finding.
fn reason(doubt: &Doubt<ClusterId>, watched: &WatchResult) -> Option<Reason> {
    let of_cluster = |id: &ClusterId| {
        let required = watched
            .record(id)
            .into_iter()
            .flat_map(|record| &record.findings)
            .filter(|finding| finding.level == Level::Required);
        let why = printable!("cluster {id}: {}", Finding::open_in_brief(required));
        Reason::new(why).about(id)
    };
    Some(match doubt {
        Doubt::Search(trouble) => Reason::new(format!(
            "the run's clusters could not be searched for at the end: {}",
            if trouble.is_empty() { "no answer came in time" } else { trouble }
        )),
        Doubt::Undescribed(id) => {
            let why = format!("cluster {id} has the run's name, but could not be described");
            Reason::new(why).about(id)
        }
        Doubt::Unknown(id) | Doubt::Unseen(id) | Doubt::GoesOn(id) => of_cluster(id),
        Doubt::NoWork => return None,
    })
}

/// The doubts of the watch, in words.
pub(crate) fn doubts(watched: &WatchResult) -> Vec<Reason> {
    watched.conclusion.doubts.iter().filter_map(|doubt| reason(doubt, watched)).collect()
}

/// The reasons why the run cannot be confirmed.
fn unconfirmed(
    runner: Outcome,
    expected: ExpectedEnd,
    has_steps: bool,
    watched: &WatchResult,
) -> (Vec<Reason>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut reasons = doubts(watched);
    if runner == Outcome::Ended(0) {
        let steps = watched
            .clusters
            .iter()
            .map(|record| record.steps.found().map_or(&[][..], Vec::as_slice));
        let work = judge_work(steps, expected, has_steps);
        if work.status != Status::Passed {
            let why = printable!("the runner ended with exit 0, but {}", work.in_brief());
            reasons.push(Reason::new(why));
        }
        findings.push(work);
    }
    (reasons, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::machine::{conclusion::WatchConclusion, ownership::Ownership};

    fn in_region() -> CommandContext {
        CommandContext::in_region("eu-west-1")
    }

    fn unsafe_cluster(end: Option<TerminationResult>) -> ClusterRecord {
        let mut record = ClusterRecord::new("j-1".parse().unwrap(), "list", Ownership::Ours);
        record.is_unsafe = true;
        record.end = end;
        record
    }

    fn outcome(
        runner: Outcome,
        clusters: Vec<ClusterRecord>,
        search_trouble: Option<&str>,
    ) -> Outcome {
        let unjudged = clusters.iter().filter(|record| !record.is_unsafe);
        let doubts = search_trouble
            .map(|trouble| Doubt::Search(trouble.to_owned()))
            .into_iter()
            .chain(unjudged.map(|record| Doubt::Unknown(record.id.clone())))
            .collect();
        let watched = WatchResult {
            clusters,
            search_trouble: search_trouble.map(str::to_owned),
            search_obstacle: None,
            undecided: Vec::new(),
            conclusion: WatchConclusion { doubts, ..WatchConclusion::default() },
            not_enforced: Vec::new(),
        };
        confirm(runner, expected_end(runner, false), true, &watched).outcome
    }

    #[test]
    fn an_unsafe_cluster_that_may_live_beats_one_that_is_over_which_beats_all_else() {
        let alive = || unsafe_cluster(Some(TerminationResult::Unconfirmed("x".to_owned())));
        let over = || unsafe_cluster(Some(TerminationResult::Confirmed));
        for runner in [Outcome::Ended(0), Outcome::Ended(1), Outcome::Signalled(15)] {
            assert_eq!(
                outcome(runner, vec![over(), alive()], Some("x")),
                Outcome::UnsafeClusterAlive
            );
            assert_eq!(
                outcome(runner, vec![over(), unsafe_cluster(None)], None),
                Outcome::UnsafeClusterAlive,
                "an end nobody saw is no end"
            );
            assert_eq!(outcome(runner, vec![over()], Some("x")), Outcome::UnsafeClusterTerminated);
            assert_eq!(outcome(runner, vec![], Some("x")), Outcome::Unconfirmed);
        }
    }

    #[test]
    fn the_runners_own_code_stands_when_nothing_was_started_and_the_search_says_so() {
        for code in [1, 3, 4, 17, 18] {
            assert_eq!(outcome(Outcome::Ended(code), vec![], None), Outcome::Ended(code));
        }
        assert_eq!(
            outcome(Outcome::Ended(0), vec![], None),
            Outcome::Unconfirmed,
            "a success that ran nothing"
        );
    }

    fn confirmation(outcome: Outcome) -> Confirmation {
        Confirmation { outcome, reasons: Vec::new(), findings: Vec::new() }
    }

    fn object_findings(status: Status) -> Vec<Finding> {
        let subject =
            || crate::checks::catalogue::find("written-objects").unwrap().on("log", "SSE-S3");
        vec![match status {
            Status::Failed => subject().failed("nothing"),
            Status::Unknown => subject().unknown("nothing", "look"),
            _ => subject().passed("SSE-S3"),
        }]
    }

    #[test]
    fn a_wrong_object_beats_every_code_of_the_runner_and_an_unseen_one_only_a_success() {
        let after = |runner, status| {
            confirmation(runner).with_objects(runner, object_findings(status)).outcome
        };
        for runner in [Outcome::Ended(0), Outcome::Ended(1), Outcome::Signalled(15)] {
            assert_eq!(after(runner, Status::Passed), runner);
            assert_eq!(after(runner, Status::Failed), Outcome::Unconfirmed);
            let unseen = if runner == Outcome::Ended(0) { Outcome::Unconfirmed } else { runner };
            assert_eq!(after(runner, Status::Unknown), unseen);
        }
    }

    #[test]
    fn what_was_unsafe_before_the_objects_were_looked_at_stays_that() {
        for outcome in [Outcome::UnsafeClusterAlive, Outcome::UnsafeClusterTerminated] {
            for status in [Status::Failed, Status::Unknown, Status::Passed] {
                assert_eq!(
                    confirmation(outcome)
                        .with_objects(Outcome::Ended(0), object_findings(status))
                        .outcome,
                    outcome
                );
            }
        }
    }

    #[test]
    fn by_policy_the_end_of_every_living_cluster_decides_between_76_and_71() {
        let ended = |ends: &[TerminationResult]| {
            let ends: Vec<(ClusterId, TerminationResult)> =
                ends.iter().map(|end| ("j-1".parse().unwrap(), end.clone())).collect();
            confirmation(Outcome::Unconfirmed).by_policy_unsafe(&ends, &in_region()).outcome
        };
        let stuck = TerminationResult::Unconfirmed("x".to_owned());
        assert_eq!(ended(&[]), Outcome::UnsafeClusterTerminated);
        assert_eq!(ended(&[TerminationResult::Confirmed]), Outcome::UnsafeClusterTerminated);
        assert_eq!(ended(&[stuck, TerminationResult::Confirmed]), Outcome::UnsafeClusterAlive);
    }

    #[test]
    fn each_cluster_that_may_live_is_a_call_with_its_own_commands_and_what_is_over_comes_last() {
        let stuck = || Some(TerminationResult::Unconfirmed("denied".to_owned()));
        let named =
            |id: &str, end| ClusterRecord { id: id.parse().unwrap(), ..unsafe_cluster(end) };
        let watched = WatchResult {
            clusters: vec![
                named("j-1", Some(TerminationResult::Confirmed)),
                named("j-2", stuck()),
                named("j-3", None),
                ClusterRecord { is_unsafe: false, ended_by_stop: true, ..named("j-4", stuck()) },
            ],
            ..WatchResult::default()
        }
        .with_remediation(&in_region());
        let (outcome, reasons) = of_unsafe(&watched, true, " of run r", "").unwrap();
        assert_eq!(outcome, Outcome::UnsafeClusterAlive);
        let said: Vec<String> = reasons.iter().map(|reason| reason.headline().into()).collect();
        let end = |id| manual_termination_commands(&id, &in_region());
        let id = |id: &str| id.parse().unwrap();
        assert_eq!(
            said,
            [
                format!(
                    "cluster j-2 of run r is UNSAFE and MAY STILL BE RUNNING: end it now: {}",
                    end(id("j-2"))
                ),
                format!(
                    "cluster j-3 of run r is UNSAFE and MAY STILL BE RUNNING: end it now: {}",
                    end(id("j-3"))
                ),
                format!(
                    "cluster j-4 of run r must end, because the run was stopped, and MAY STILL BE \
                     RUNNING: end it now: {}",
                    end(id("j-4"))
                ),
                "cluster j-1 of run r was unsafe; its end is confirmed; ".to_owned(),
            ]
        );
        assert_eq!(reasons[0].details(), ["denied"]);
        assert_eq!(watched.clusters[0].remediation, None, "it is over");
    }

    #[test]
    fn which_clusters_go_on_is_told_after_every_stop_and_where_the_end_is_not_confirmed() {
        let of = |clusters| WatchResult { clusters, ..WatchResult::default() };
        let none = of(vec![]);
        let good = Outcome::Ended(0);
        assert!(!tells_what_goes_on(good, good, false, &none));
        assert!(!tells_what_goes_on(Outcome::Ended(1), Outcome::Ended(1), false, &none));
        assert!(tells_what_goes_on(good, Outcome::Unconfirmed, false, &none));
        assert!(tells_what_goes_on(good, good, true, &none), "the guard got a signal");
        for signal in [1, 2, 3, 9, 15] {
            for stopped in [Outcome::Signalled(signal), Outcome::Ended(128 + signal)] {
                assert!(tells_what_goes_on(stopped, stopped, false, &none), "{stopped:?}");
            }
        }
        // The guard itself stops the runner because of an unsafe cluster.
        let (runner, ended) = (Outcome::Signalled(15), Outcome::UnsafeClusterTerminated);
        let over = || unsafe_cluster(Some(TerminationResult::Confirmed));
        assert!(!tells_what_goes_on(runner, ended, false, &of(vec![over()])));
        let safe = ClusterRecord::new("j-2".parse().unwrap(), "list", Ownership::Ours);
        assert!(tells_what_goes_on(runner, ended, false, &of(vec![over(), safe])));
    }

    #[test]
    fn a_cluster_that_was_never_judged_is_not_confirmed() {
        let record = ClusterRecord::new("j-1".parse().unwrap(), "list", Ownership::Ours);
        assert_eq!(outcome(Outcome::Ended(1), vec![record], None), Outcome::Unconfirmed);
    }
}

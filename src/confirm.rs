//! Confirmation: from how the runner ended and what the watch saw of its clusters to the outcome of the run. A pure function.

use crate::{
    checks::{
        Finding, Status,
        clusters::{ExpectedEnd, judge_work},
    },
    exit::Outcome,
    terminate::End,
    watch::{ClusterRecord, Watched},
};

/// The codes with which the runner says that it started nothing: no data, earlier run unfinished, lock held, cluster busy.
const STARTED_NOTHING: [u8; 4] = [3, 4, 17, 18];

/// What the clusters' end should look like after the runner ended with `outcome`.
pub(crate) fn expected_end(outcome: Outcome, persistent: bool) -> ExpectedEnd {
    match outcome {
        Outcome::Ended(0) if persistent => ExpectedEnd::Persistent,
        Outcome::Ended(0) => ExpectedEnd::Finished,
        _ => ExpectedEnd::Failed,
    }
}

/// Whether a cluster nobody printed may still be in the making: the runner was stopped, or failed for a reason of its own.
pub(crate) fn may_have_left_one(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Ended(code) if code == 0 || STARTED_NOTHING.contains(&code))
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Confirmation {
    pub(crate) outcome: Outcome,
    /// Why the outcome is not the runner's own, a line each.
    pub(crate) reasons: Vec<String>,
    /// Findings about the run as a whole.
    pub(crate) findings: Vec<Finding>,
}

/// Decides. An unsafe cluster that may live beats one that is over, which beats what is unconfirmed, which beats the runner's code.
pub(crate) fn confirm(runner: Outcome, expected: ExpectedEnd, has_steps: bool, watched: &Watched) -> Confirmation {
    let alive: Vec<String> = watched
        .clusters
        .iter()
        .filter(|record| record.is_unsafe)
        .filter_map(|record| match &record.end {
            Some(End::Confirmed) => None,
            Some(End::Unconfirmed(obstacle)) => Some(still_running(record, obstacle)),
            None => Some(still_running(record, "its termination was not followed to the end")),
        })
        .collect();
    if !alive.is_empty() {
        return Confirmation { outcome: Outcome::UnsafeClusterAlive, reasons: alive, findings: Vec::new() };
    }
    let ended: Vec<String> = watched
        .clusters
        .iter()
        .filter(|record| record.is_unsafe)
        .map(|record| format!("cluster {} was unsafe; its end is confirmed; {}", record.id, Finding::open_in_brief(&record.findings)))
        .collect();
    if !ended.is_empty() {
        return Confirmation { outcome: Outcome::UnsafeClusterTerminated, reasons: ended, findings: Vec::new() };
    }
    let (reasons, findings) = unconfirmed(runner, expected, has_steps, watched);
    let outcome = if reasons.is_empty() { runner } else { Outcome::Unconfirmed };
    Confirmation { outcome, reasons, findings }
}

fn still_running(record: &ClusterRecord, obstacle: &str) -> String {
    let (id, why) = (&record.id, Finding::open_in_brief(&record.findings));
    format!(
        "cluster {id} is unsafe and MAY STILL BE RUNNING: {obstacle}\n  {why}\n  to do: aws emr modify-cluster-attributes --cluster-id {id} --no-termination-protected; aws emr terminate-clusters --cluster-ids {id}"
    )
}

/// What keeps the run from being confirmed.
fn unconfirmed(runner: Outcome, expected: ExpectedEnd, has_steps: bool, watched: &Watched) -> (Vec<String>, Vec<Finding>) {
    let mut reasons = Vec::new();
    let mut findings = Vec::new();
    if let Some(trouble) = &watched.search_trouble {
        reasons.push(format!("the run's clusters could not be searched for at the end: {trouble}"));
    }
    for id in &watched.undecided {
        reasons.push(format!("cluster {id} has the run's name, but could not be described"));
    }
    for record in watched.clusters.iter().filter(|record| !record.is_proved()) {
        reasons.push(format!("cluster {}: {}", record.id, Finding::open_in_brief(&record.findings)));
    }
    if runner == Outcome::Ended(0) {
        let steps = watched.clusters.iter().map(|record| record.steps.found().map_or(&[][..], Vec::as_slice));
        let work = judge_work(steps, expected, has_steps);
        if work.status != Status::Proved {
            reasons.push(format!("the runner ended with exit 0, but {}", work.in_brief()));
        }
        findings.push(work);
    }
    (reasons, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsafe_cluster(end: Option<End>) -> ClusterRecord {
        let mut record = ClusterRecord::new("j-1".parse().unwrap(), "list");
        record.is_unsafe = true;
        record.end = end;
        record
    }

    fn outcome(runner: Outcome, clusters: Vec<ClusterRecord>, search_trouble: Option<&str>) -> Outcome {
        let watched = Watched { clusters, search_trouble: search_trouble.map(str::to_owned), undecided: Vec::new() };
        confirm(runner, expected_end(runner, false), true, &watched).outcome
    }

    #[test]
    fn an_unsafe_cluster_that_may_live_beats_one_that_is_over_which_beats_all_else() {
        let alive = || unsafe_cluster(Some(End::Unconfirmed("x".to_owned())));
        let over = || unsafe_cluster(Some(End::Confirmed));
        for runner in [Outcome::Ended(0), Outcome::Ended(1), Outcome::Signalled(15)] {
            assert_eq!(outcome(runner, vec![over(), alive()], Some("x")), Outcome::UnsafeClusterAlive);
            assert_eq!(outcome(runner, vec![over(), unsafe_cluster(None)], None), Outcome::UnsafeClusterAlive, "an end nobody saw is no end");
            assert_eq!(outcome(runner, vec![over()], Some("x")), Outcome::UnsafeClusterTerminated);
            assert_eq!(outcome(runner, vec![], Some("x")), Outcome::Unconfirmed);
        }
    }

    #[test]
    fn the_runners_own_code_stands_when_nothing_was_started_and_the_search_says_so() {
        for code in [1, 3, 4, 17, 18] {
            assert_eq!(outcome(Outcome::Ended(code), vec![], None), Outcome::Ended(code));
        }
        assert_eq!(outcome(Outcome::Ended(0), vec![], None), Outcome::Unconfirmed, "a success that ran nothing");
    }

    #[test]
    fn a_cluster_that_was_never_judged_is_not_confirmed() {
        let record = ClusterRecord::new("j-1".parse().unwrap(), "list");
        assert_eq!(outcome(Outcome::Ended(1), vec![record], None), Outcome::Unconfirmed);
    }
}

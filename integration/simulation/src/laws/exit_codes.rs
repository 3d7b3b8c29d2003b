//! The guard's final result follows from the truth.

use crate::{
    history::{History, clock},
    laws::facts::{Facts, is_clear, is_launched_by_run, is_of_run, owners, shows_defect},
    model::{
        cluster::{Cluster, Id},
        faults::Operation,
    },
    scenario::{Defect, MINUTE, Ms},
    watch::machine::{
        conclusion::{Cause, ClusterEnd, Doubt, EndResult, WatchConclusion},
        event::{RunnerEnd, WatchNotice},
        ownership::Ownership,
        plan::WatchMode,
        state::State,
    },
};

/// Law (h).
pub(super) fn follow_from_the_truth(history: &History, facts: &Facts) -> Result<(), String> {
    for (at, _, notice) in &facts.notices {
        if let WatchNotice::EndConfirmed(id) = notice
            && !is_over(history, *id, *at)
        {
            return Err(format!("{}: the end of {id} was confirmed, and it lives", clock(*at)));
        }
    }
    for (number, life) in history.lives.iter().enumerate() {
        let Some(conclusion) = life.conclusion() else { continue };
        for (id, end) in &conclusion.clusters {
            cluster_end(history, facts, number, *id, end)?;
        }
        doubts(history, facts, number, conclusion)?;
        nothing_is_left_out(history, facts, number, conclusion)?;
        twice_is_told(history, facts, number)?;
    }
    Ok(())
}

fn is_over(history: &History, id: Id, at: Ms) -> bool {
    history.cluster(id).is_some_and(|cluster| cluster.state(at) == State::Over)
}

fn cluster_end(
    history: &History,
    facts: &Facts,
    number: usize,
    id: Id,
    end: &ClusterEnd,
) -> Result<(), String> {
    let at = history.lives[number].ended();
    let says_over = end.is_over || end.end == Some(EndResult::Confirmed);
    if says_over && !is_over(history, id, at) {
        return Err(format!("guard {number} says that {id} is over, and it lives"));
    }
    if end.cause == Some(Cause::Failed) && !facts.is_known_unsafe(number, id, at) {
        return Err(format!("guard {number} says that {id} is unsafe, and nothing says so"));
    }
    let is_failed = facts.is_known_unsafe(number, id, at);
    let whose = history.cluster(id).map(|cluster| owners(&history.lives[number], cluster));
    let is_strangers = whose.is_none_or(|owners| owners.contains(&Some(Ownership::NotOurs)));
    if is_failed && !is_strangers && !end.is_unsafe() && end.cause.is_none() {
        return Err(format!("guard {number} has seen that {id} is unsafe, and does not say so"));
    }
    Ok(())
}

/// Each doubt is justified.
fn doubts(
    history: &History,
    facts: &Facts,
    number: usize,
    conclusion: &WatchConclusion<Id>,
) -> Result<(), String> {
    let life = &history.lives[number];
    let at = life.ended();
    let met_fault = facts.faults.iter().any(|(_, of, _)| *of == number);
    let is_cut_short = !life.stops.is_empty() || !life.slept.is_empty();
    for doubt in &conclusion.doubts {
        let cluster = |id: &Id| history.cluster(*id);
        let wrong = match doubt {
            // After a suspend a response may be old.
            Doubt::GoesOn(id) => life.slept.is_empty() && is_over(history, *id, at),
            Doubt::NoWork => {
                let did_work = |cluster: &Cluster| {
                    // Another launcher's cluster does no work of this run, even if the guard must
                    // presume that it is the run's.
                    let is_presumed = owners(life, cluster)[0] == Some(Ownership::Presumed);
                    is_of_run(life, cluster)
                        && (!is_presumed || is_launched_by_run(cluster))
                        && cluster.created < at
                        && cluster.work(at - MINUTE, life.adoptable.contains(&cluster.id)).done
                };
                let is_unsafe = conclusion.clusters.iter().any(|(_, end)| end.is_unsafe());
                !matches!(life.runner_end, Some((_, RunnerEnd::Succeeded)))
                    || (!met_fault && !is_unsafe && history.clusters.iter().any(did_work))
            }
            Doubt::Search(_) | Doubt::Undescribed(_) | Doubt::Unknown(_) => {
                !met_fault && !is_cut_short
            }
            Doubt::Unseen(id) => cluster(id).is_none_or(|_| {
                facts
                    .last_told(number, *id, at)
                    .is_some_and(|told| !told.judgement.unseen && !told.judgement.hidden)
            }),
        };
        if wrong {
            return Err(format!("guard {number} doubts without a reason: {doubt:?}"));
        }
    }
    Ok(())
}

/// Facts that AWS shows permanently, and showed for a minute, are in the conclusion.
fn nothing_is_left_out(
    history: &History,
    facts: &Facts,
    number: usize,
    conclusion: &WatchConclusion<Id>,
) -> Result<(), String> {
    let life = &history.lives[number];
    let at = life.ended();
    let is_cut_short = !life.stops.is_empty() || life.mode == WatchMode::Attach;
    if is_cut_short || !is_clear(history, &Operation::ALL, at - 2 * MINUTE, at) {
        return Ok(());
    }
    for cluster in &history.clusters {
        let shown = shows_defect(history, life, cluster);
        let for_good = !cluster.traits.defect.is_some_and(Defect::passes_away);
        let long = shown.is_some_and(|(from, _)| from.max(life.start) < at - MINUTE);
        let is_said =
            conclusion.clusters.iter().any(|(id, end)| *id == cluster.id && end.cause.is_some());
        // A final poll in a run that has just ended takes a few seconds.
        let had_time = facts.told.contains_key(&(number, cluster.id)) || long;
        if is_of_run(life, cluster) && for_good && long && had_time && !is_said {
            return Err(format!(
                "{} is unsafe, and the conclusion of guard {number} does not say so",
                cluster.id
            ));
        }
    }
    Ok(())
}

/// Clusters that ran the same steps are reported.
fn twice_is_told(history: &History, facts: &Facts, number: usize) -> Result<(), String> {
    let life = &history.lives[number];
    let at = life.ended();
    let is_persistent = history.scenario.runner.as_ref().is_none_or(|runner| runner.persistent);
    if life.mode != WatchMode::Run
        || is_persistent
        || !life.stops.is_empty()
        || !is_clear(history, &Operation::ALL, at - 2 * MINUTE, at)
    {
        return Ok(());
    }
    let worked = history.clusters.iter().filter(|cluster| {
        owners(life, cluster) == [Some(Ownership::Ours), None]
            && cluster.created < at - 2 * MINUTE
            // An unsafe cluster is not polled any more.
            && !facts.is_known_unsafe(number, cluster.id, at)
            && !facts.notices.iter().any(|(_, of, notice)| {
                // A cluster with another notice is checked by a person anyway.
                let told = matches!(
                    notice,
                    WatchNotice::Unsafe(id, ..) | WatchNotice::Orphan(id) if *id == cluster.id
                );
                *of == number && told
            })
            && cluster.work(at - 4 * MINUTE, false).begun
    });
    let told = facts
        .notices
        .iter()
        .any(|(_, of, notice)| *of == number && matches!(notice, WatchNotice::Twice(_)));
    if worked.count() > 1 && !told {
        return Err(format!("two clusters ran the same steps, and guard {number} does not say so"));
    }
    Ok(())
}

//! Passed means seen.

use crate::{
    history::{History, Life, clock},
    laws::facts::{Facts, owners},
    model::cluster::Id,
    scenario::{Ms, SECOND},
    watch::machine::{
        conclusion::{Cause, WatchConclusion, WatchVerdict},
        event::{RunnerEnd, WatchNotice},
        ownership::Ownership,
        plan::WatchMode,
    },
};

/// Law (c).
pub(super) fn passed_means_seen(history: &History, facts: &Facts) -> Result<(), String> {
    for (at, number, notice) in &facts.notices {
        let WatchNotice::Passed(id, waiting) = notice else { continue };
        // An event at the same moment may have come just after it.
        let before = facts.last_told(*number, *id, *at - 1);
        let now = facts.told_until(*number, *id, *at).filter(|told| told.at == *at);
        let seen = before.into_iter().chain(now).any(|told| {
            told.described && told.judgement.passed_so_far() && (*waiting || !told.judgement.unseen)
        });
        if !seen {
            return Err(format!(
                "{}: {id} was said to be what was verified, and that was not seen",
                clock(*at)
            ));
        }
    }
    for (number, life) in history.lives.iter().enumerate() {
        let Some(conclusion) = life.conclusion() else { continue };
        let end = life.ended();
        for (id, cluster_end) in &conclusion.clusters {
            if cluster_end.passed && !is_seen(facts, number, *id, end) {
                return Err(format!(
                    "guard {number} says that {id} has passed, and has not seen all of it"
                ));
            }
        }
        if conclusion.verdict() == WatchVerdict::Runner && confirms(life) {
            all_are_seen(history, facts, number, conclusion)?;
        }
    }
    Ok(())
}

fn is_seen(facts: &Facts, number: usize, id: Id, at: Ms) -> bool {
    facts.last_told(number, id, at).is_some_and(|told| told.described && told.judgement.passed())
}

/// Whether the end of a guard's life confirms the run.
fn confirms(life: &Life) -> bool {
    let succeeded = match life.mode {
        WatchMode::Run => matches!(life.runner_end, Some((_, RunnerEnd::Succeeded))),
        WatchMode::Resume => true,
        WatchMode::Attach => true,
    };
    // A run that was stopped has no success to confirm.
    succeeded && life.stops.is_empty() && !life.stopped_to_end
}

fn all_are_seen(
    history: &History,
    facts: &Facts,
    number: usize,
    conclusion: &WatchConclusion<Id>,
) -> Result<(), String> {
    let life = &history.lives[number];
    let end = life.ended();
    let own_did_work = history.clusters.iter().any(|cluster| {
        owners(life, cluster)[0] == Some(Ownership::Ours)
            && cluster.created < end
            && cluster.work(end, false).done
    });
    for cluster in &history.clusters {
        let whose = owners(life, cluster);
        let counts = match whose {
            [Some(Ownership::Ours | Ownership::Named), None] => true,
            [Some(Ownership::Adopted), None] => cluster.has_steps_of_run(end),
            // Another launcher's cluster, as far as can be known.
            [Some(Ownership::Presumed), None] => !own_did_work,
            _ => false,
        };
        // A cluster that ended before anything ran on it holds no data.
        let ran = cluster.steps.iter().any(|step| step.begin < end) && cluster.was_ready(end)
            || life.mode == WatchMode::Run;
        // A cluster that the last search could not show cannot be missed.
        let listed = cluster.created + cluster.traits.list_lag;
        let is_shown = life.mode == WatchMode::Attach
            || facts
                .searched
                .get(&number)
                .map_or(cluster.created + 15 * SECOND <= end, |asked| listed <= *asked);
        // A masked value is never seen. A cluster that the guard itself terminated before it was
        // ready, because of a stop or as an orphan, had nothing to see.
        let is_unused = cluster.traits.masked
            && !cluster.was_ready(end)
            && conclusion.clusters.iter().any(|(id, end)| {
                *id == cluster.id && matches!(end.cause, Some(Cause::Stopped | Cause::Orphaned))
            });
        if !counts || !ran || !is_shown || is_unused {
            continue;
        }
        if !is_seen(facts, number, cluster.id, end) {
            return Err(format!(
                "guard {number} confirms the run, and has not seen all of {}",
                cluster.id
            ));
        }
        if !conclusion.clusters.iter().any(|(id, end)| *id == cluster.id && end.passed) {
            return Err(format!(
                "guard {number} confirms the run, and does not say that {} has passed",
                cluster.id
            ));
        }
    }
    Ok(())
}

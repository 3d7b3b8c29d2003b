//! A watch that judges once, or that was stopped.

use crate::{
    accounts::{
        cluster::{Fact, Id, Place},
        history::{AccountHistory, Record, What},
        laws::places::watched,
        sentinel::{JUDGE_WITHIN, TERMINATION},
    },
    scenario::{MINUTE, Ms},
    watch::machine::account::event::{AccountConclusion, AccountNotice, AccountVerdict},
};

/// Law (J): it ends within its limits, and its conclusion is true.
pub(super) fn ends_with_the_truth(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let started = history.of(sentinel).filter(|record| matches!(record.what, What::Started(_)));
        let Some(start) = started.last().map(|record| record.at) else { continue };
        let finished = history.of(sentinel).find_map(|record| match &record.what {
            What::Finished(conclusion) => Some((record.at, conclusion)),
            _ => None,
        });
        let slept = history.scenario.sleep.map_or(0, |sleep| sleep.until - sleep.from);
        let limit = start + JUDGE_WITHIN + TERMINATION + slept + 5 * MINUTE;
        match finished {
            None if history.scenario.once && limit < history.scenario.end() => {
                return Err(format!("it judges once from {start} on, and has not ended"));
            }
            Some((at, conclusion)) => {
                let early = history.scenario.stop == Some(at);
                is_true(history, sentinel, start, (at, early), conclusion)?;
            }
            None => {}
        }
    }
    Ok(())
}

fn is_true(
    history: &AccountHistory,
    sentinel: usize,
    start: Ms,
    (end, is_stopped): (Ms, bool),
    conclusion: &AccountConclusion<Place, Id>,
) -> Result<(), String> {
    for ((_, id), verdict, is_over) in &conclusion.clusters {
        let Some(cluster) = history.cluster(*id) else {
            return Err(format!("{id} does not exist"));
        };
        let first = cluster.launch.settings;
        let is_bad = first.first == Fact::Bad && first.change.is_none();
        let wrong = match verdict {
            AccountVerdict::Passed => is_bad,
            AccountVerdict::Unsafe => !cluster.was_ever_bad(),
            AccountVerdict::Unjudged => false,
        };
        if wrong || (*is_over && cluster.over().is_none_or(|over| over > end)) {
            return Err(format!("{id} is said to be {verdict:?}, over: {is_over}"));
        }
        let waits = history.scenario.once && !is_stopped && history.scenario.is_calm();
        let ends = cluster.launch.ends && *verdict == AccountVerdict::Unsafe && !is_over;
        let excused = told(history, sentinel, |notice| {
            matches!(notice, AccountNotice::Limited(_, of) | AccountNotice::EndUnconfirmed(_, of, _)
                if of == id)
        });
        if waits && ends && !excused && end - start < JUDGE_WITHIN {
            return Err(format!("{id} is not over, and is not waited for"));
        }
    }
    requested_ones_are_named(history, sentinel, conclusion)?;
    for place in 0..history.scenario.places {
        let listed = history.of(sentinel).any(|record| {
            record.at >= start && matches!(record.what, What::Listed(of, _) if of == place)
        });
        let unseen = conclusion.unseen.iter().any(|(of, _)| *of == place);
        // A place that was not found since the start is not the watcher's: the sentinel around it
        // says that it looks for the place in vain.
        let times = watched(history, sentinel, place);
        let Some(last) = times.last().filter(|last| last.until > start) else { continue };
        if last.until <= end && !unseen {
            return Err(format!("place {place} is gone, and that is not said"));
        }
        if !listed && !unseen {
            return Err(format!("place {place} was not seen, and that is not said"));
        }
        let waits = history.scenario.once && !is_stopped && listed && !unseen;
        for cluster in history.clusters.iter().filter(|_| waits) {
            let shown = cluster.launch.created + cluster.launch.list_lag < start;
            let lives = cluster.over().is_none_or(|over| over > end);
            let named = conclusion.clusters.iter().any(|((_, id), ..)| *id == cluster.id);
            if cluster.launch.place == place && shown && lives && !named {
                return Err(format!("{} lives, and is not named", cluster.id));
            }
        }
    }
    Ok(())
}

/// What was requested and is not known to be over is named as not confirmed.
fn requested_ones_are_named(
    history: &AccountHistory,
    sentinel: usize,
    conclusion: &AccountConclusion<Place, Id>,
) -> Result<(), String> {
    for Record { what, .. } in history.of(sentinel) {
        let What::Terminate(id) = what else { continue };
        let over = told(
            history,
            sentinel,
            |notice| matches!(notice, AccountNotice::Over(_, of, _) if of == id),
        );
        if !over && !conclusion.unconfirmed.iter().any(|(_, of)| of == id) {
            return Err(format!("{id} was to end, and is not named as unconfirmed"));
        }
    }
    Ok(())
}

fn told(
    history: &AccountHistory,
    sentinel: usize,
    is: impl Fn(&AccountNotice<Place, Id>) -> bool,
) -> bool {
    history.of(sentinel).any(|record| match &record.what {
        What::Told(notice) => is(notice),
        _ => false,
    })
}

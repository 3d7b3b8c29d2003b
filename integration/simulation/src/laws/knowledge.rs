//! What a person or the journal knows.

use crate::{
    guard::JUDGE_WITHIN,
    history::{History, clock},
    laws::{
        bounds::{SOON_ADDED, TOLD},
        facts::{Facts, is_launched_by_run, is_of_run, shows_defect},
    },
    model::cluster::{Cluster, Id},
    scenario::{Ms, SECOND},
    watch::machine::{event::Notice, plan::Mode},
};

/// What speaks of this cluster in a way that a person knows of the danger.
fn warns(notice: &Notice<Id>, id: Id) -> bool {
    match notice {
        Notice::Unsafe(of, ..)
        | Notice::Help(of, _)
        | Notice::Unjudged(of)
        | Notice::EndUnconfirmed(of, _) => *of == id,
        _ => false,
    }
}

/// The same, and what speaks of not seeing.
fn warns_or_is_blind(notice: &Notice<Id>, id: Id) -> bool {
    match notice {
        Notice::Blind(_) | Notice::SightLost(None) => true,
        Notice::SightLost(Some(of)) => *of == id,
        other => warns(other, id),
    }
}

/// Law (b).
pub(super) fn no_unsafe_cluster_is_unknown(
    history: &History,
    facts: &Facts,
) -> Result<(), String> {
    for cluster in &history.clusters {
        closed_run_left_none(history, facts, cluster)?;
        for (number, life) in history.lives.iter().enumerate() {
            if life.mode == Mode::Attach || !is_of_run(life, cluster) {
                continue;
            }
            let Some((shown, until)) = shows_defect(history, life, cluster) else { continue };
            // A list shows it by then, and nobody can miss it.
            let seen_from = shown
                .max(life.start)
                .max(cluster.created + cluster.traits.list_lag);
            let asleep: Ms = life.slept.iter().map(|(from, until)| until - from).sum();
            let is_added = shown > cluster.created + SECOND;
            let added = if is_added { SOON_ADDED } else { 0 };
            let limit = seen_from + added + JUDGE_WITHIN + TOLD + asleep;
            let lives_on = cluster.over().is_none_or(|over| over > limit) && until > limit;
            if lives_on
                && life.ended() > limit
                && !facts.notices.iter().any(|(at, of, notice)| {
                    *of == number && *at <= limit && warns_or_is_blind(notice, cluster.id)
                })
            {
                return Err(format!(
                    "{} is unsafe, showed it from {} on, and lives at {}; guard {number} said nothing",
                    cluster.id,
                    clock(seen_from),
                    clock(limit)
                ));
            }
        }
    }
    Ok(())
}

/// Once a run is closed, nobody looks at its clusters again.
fn closed_run_left_none(
    history: &History,
    facts: &Facts,
    cluster: &Cluster,
) -> Result<(), String> {
    let Some(closed) = history.closed else { return Ok(()) };
    let Some(last) = history.lives.last().filter(|life| life.mode != Mode::Attach) else {
        return Ok(());
    };
    if !is_of_run(last, cluster)
        || !(is_launched_by_run(cluster) || last.adoptable.contains(&cluster.id))
    {
        return Ok(());
    }
    let lives_on = cluster.over().is_none_or(|over| over > closed + SECOND);
    if !lives_on {
        return Ok(());
    }
    let is_unsafe = shows_defect(history, last, cluster).is_some_and(|(_, until)| until > closed);
    let told = facts.notices.iter().any(|(_, _, notice)| warns(notice, cluster.id));
    if is_unsafe && !told {
        return Err(format!(
            "{} is unsafe and lives on; the run was closed at {}, and nobody was told of it",
            cluster.id,
            clock(closed)
        ));
    }
    let must_end = facts
        .notices
        .iter()
        .any(|(_, _, notice)| matches!(notice, Notice::Unsafe(id, ..) if *id == cluster.id));
    if must_end && cluster.created < closed {
        return Err(format!(
            "{} must end and lives on, and the run was closed at {}",
            cluster.id,
            clock(closed)
        ));
    }
    Ok(())
}

//! The knowledge of a person or the journal.

use crate::{
    guard::JUDGE_WITHIN,
    history::{History, Life, clock},
    laws::{
        bounds::{SOON_ADDED, SOON_BESIDE_ANOTHER, SOON_GROWN, TOLD},
        endings::{is_slowed, works_beside},
        facts::{Facts, is_launched_by_run, is_of_run, owners, shows_defect},
    },
    model::cluster::{Cluster, Id},
    scenario::{Defect, Ms, SECOND},
    watch::machine::{
        conclusion::Cause, event::WatchNotice, ownership::Ownership, plan::WatchMode,
    },
};

/// Whether the notice tells a person of the danger of this cluster.
fn warns(notice: &WatchNotice<Id>, id: Id) -> bool {
    match notice {
        WatchNotice::Unsafe(of, ..)
        | WatchNotice::Help(of, _)
        | WatchNotice::Unjudged(of)
        | WatchNotice::EndUnconfirmed(of, _) => *of == id,
        _ => false,
    }
}

/// The same, or that nothing could be observed.
fn warns_or_is_blind(notice: &WatchNotice<Id>, id: Id) -> bool {
    match notice {
        WatchNotice::Blind(_) | WatchNotice::SightLost(None) => true,
        WatchNotice::SightLost(Some(of)) => *of == id,
        other => warns(other, id),
    }
}

/// Law (b).
pub(super) fn no_unsafe_cluster_is_unknown(history: &History, facts: &Facts) -> Result<(), String> {
    for cluster in &history.clusters {
        closed_run_left_none(history, facts, cluster)?;
        for (number, life) in history.lives.iter().enumerate() {
            if life.mode == WatchMode::Attach || !is_of_run(life, cluster) {
                continue;
            }
            not_judged_is_told(history, facts, number, cluster)?;
            let Some((shown, until)) = shows_defect(history, life, cluster) else { continue };
            // A list shows it by then.
            let seen_from = shown.max(life.start).max(cluster.created + cluster.traits.list_lag);
            // The time counts from its first request; the search has a limit of its own.
            let asked = facts.asked.get(&(number, cluster.id)).copied().unwrap_or(seen_from);
            let seen_from = asked.clamp(seen_from, seen_from + JUDGE_WITHIN);
            let asleep: Ms = life.slept.iter().map(|(from, until)| until - from).sum();
            let is_added = shown > cluster.created + SECOND;
            let added = if is_added { SOON_ADDED.max(SOON_GROWN) } else { 0 };
            let limit = seen_from
                + added
                + search_pause(history, life, cluster, seen_from)
                + JUDGE_WITHIN
                + TOLD
                + asleep;
            let lives_on = cluster.over().is_none_or(|over| over > limit) && until > limit;
            if lives_on
                && life.ended() > limit
                && !facts.notices.iter().any(|(at, of, notice)| {
                    *of == number && *at <= limit && warns_or_is_blind(notice, cluster.id)
                })
            {
                return Err(format!(
                    "{} is unsafe, showed it from {} on, and lives at {}; guard {number} said \
                     nothing",
                    cluster.id,
                    clock(seen_from),
                    clock(limit)
                ));
            }
        }
    }
    Ok(())
}

/// While another cluster of the run, or one that looks like it, works, the searches are minutes
/// apart, and further when EMR throttles. A cluster that is created in between is found by the next
/// one; if that fails, the alarm comes only when the limit from then on has passed. An alarm that
/// counts from the last successful search would come sooner, but also for faults that are shorter
/// than the limit.
fn search_pause(history: &History, life: &Life, cluster: &Cluster, at: Ms) -> Ms {
    if !works_beside(history, life, cluster, at) {
        0
    } else if is_slowed(history, at) {
        SOON_BESIDE_ANOTHER * 3
    } else {
        SOON_BESIDE_ANOTHER
    }
}

/// Every cluster of the run is evaluated within the limit, or reported; and it is terminated, if it
/// is the run's own and the settings say so.
fn not_judged_is_told(
    history: &History,
    facts: &Facts,
    number: usize,
    cluster: &Cluster,
) -> Result<(), String> {
    let life = &history.lives[number];
    let listed = life.start.max(cluster.created + cluster.traits.list_lag);
    // The time counts from when the search finds it; the search has a limit of its own.
    let asked = facts.asked.get(&(number, cluster.id)).copied();
    let from = asked.unwrap_or(listed).clamp(listed, listed + JUDGE_WITHIN);
    let asleep: Ms = life.slept.iter().map(|(from, until)| until - from).sum();
    let pause = search_pause(history, life, cluster, from);
    let limit = from + pause + JUDGE_WITHIN + TOLD + asleep;
    let lives_on = cluster.over().is_none_or(|over| over > limit);
    if !lives_on || life.ended() <= limit || facts.was_judged(number, cluster.id, limit) {
        return Ok(());
    }
    let mut of_life = facts.notices.iter().filter(|(at, of, _)| *of == number && *at <= limit);
    if !of_life.clone().any(|(.., notice)| warns_or_is_blind(notice, cluster.id)) {
        return Err(format!(
            "{} could not be judged by {}, and guard {number} said nothing",
            cluster.id,
            clock(limit)
        ));
    }
    let found = facts.found(number, cluster.id);
    let ends = history.scenario.settings.rules.on_unjudged
        && owners(life, cluster) == [Some(Ownership::Ours), None]
        && found.is_some_and(|found| found + JUDGE_WITHIN + TOLD + asleep <= limit + SECOND);
    let begun = of_life.any(|(.., notice)| {
        matches!(
            notice,
            WatchNotice::Unsafe(id, ..) | WatchNotice::Ending(id, _) if *id == cluster.id
        )
    });
    if ends && !begun {
        return Err(format!(
            "{} could not be judged by {}, and guard {number} does not end it",
            cluster.id,
            clock(limit)
        ));
    }
    Ok(())
}

/// Once a run is closed, its clusters are not polled again.
fn closed_run_left_none(history: &History, facts: &Facts, cluster: &Cluster) -> Result<(), String> {
    let Some(closed) = history.closed else { return Ok(()) };
    let Some(last) = history.lives.last().filter(|life| life.mode != WatchMode::Attach) else {
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
    // Additions shortly before, or later, cannot be observed.
    let added = |from: Ms| from + SOON_GROWN < closed;
    let is_there = |from: Ms| cluster.traits.defect != Some(Defect::AddedVolumes) || added(from);
    let is_unsafe = shows_defect(history, last, cluster)
        .is_some_and(|(from, until)| until > closed && is_there(from));
    let told = facts.notices.iter().any(|(_, _, notice)| warns(notice, cluster.id));
    if is_unsafe && !told {
        return Err(format!(
            "{} is unsafe and lives on; the run was closed at {}, and nobody was told of it",
            cluster.id,
            clock(closed)
        ));
    }
    // A cluster that could not be evaluated may have been evaluated later.
    let must_end = facts.notices.iter().any(|(_, _, notice)| {
        matches!(notice, WatchNotice::Unsafe(id, Cause::Failed, _) if *id == cluster.id)
    });
    if must_end && cluster.created < closed {
        return Err(format!(
            "{} must end and lives on, and the run was closed at {}",
            cluster.id,
            clock(closed)
        ));
    }
    Ok(())
}

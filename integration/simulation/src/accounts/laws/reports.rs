//! What is reported to people.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    accounts::{
        cluster::{Id, Place},
        history::{AccountHistory, Record, What},
        laws::places::{is_in, watched_to_the_end},
        scenario::{Target, Trouble},
        sentinel::{INTERVAL, JUDGE_WITHIN},
    },
    scenario::{MINUTE, Ms},
    watch::machine::account::event::AccountNotice,
};

/// Law (A): whenever an answer shows a failed fact of a watched cluster, it is reported by the time
/// that it is handled; and what cannot be judged or seen in time is reported, too.
pub(super) fn failed_facts_are_told(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        told_at_once(history, sentinel)?;
    }
    if history.scenario.sentinels == 1 && !history.scenario.once && history.scenario.stop.is_none()
    {
        unjudged_is_told(history)?;
        lost_sight_is_told(history)?;
        cleared_is_told(history)?;
    }
    Ok(())
}

fn told_at_once(history: &AccountHistory, sentinel: usize) -> Result<(), String> {
    let mut told: BTreeSet<Id> = BTreeSet::new();
    let mut watched: BTreeSet<Id> = BTreeSet::new();
    let mut failed: BTreeSet<Id> = BTreeSet::new();
    let mut places: BTreeSet<Place> = BTreeSet::new();
    for Record { at, what, .. } in history.of(sentinel) {
        match what {
            What::Told(AccountNotice::Unsafe(_, id)) => {
                told.insert(*id);
            }
            What::Told(AccountNotice::Cleared(_, id)) => {
                told.remove(id);
            }
            What::Told(AccountNotice::Found(_, id)) => {
                watched.insert(*id);
            }
            What::Told(AccountNotice::Over(_, id, _)) => {
                watched.remove(id);
                failed.remove(id);
            }
            What::Started(known) => places.clone_from(known),
            What::PlaceFound(place, _) => {
                places.insert(*place);
            }
            What::PlaceGone(place) => {
                places.remove(place);
            }
            // An answer from a place that is gone meanwhile changes nothing: if the place comes
            // back, what lives there is judged again, by law (N).
            What::Answered(answer)
                if answer.failed
                    && places.iter().any(|place| is_in(history, answer.id, *place)) =>
            {
                failed.insert(answer.id);
            }
            // The sentinel was killed while it handled the answer: the next one judges it again.
            What::Killed => failed.clear(),
            What::Finished(_) => return Ok(()),
            What::Done => {
                for id in std::mem::take(&mut failed) {
                    if watched.contains(&id) && !told.contains(&id) {
                        return Err(format!("{id} showed a failed fact at {at}, and is not told"));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether one sentinel lived, awake, from before until after, and AWS answered it.
fn undisturbed(history: &AccountHistory, from: Ms, until: Ms) -> bool {
    let scenario = &history.scenario;
    let apart = |start: Ms, end: Ms| end < from || until < start;
    scenario.crashes.iter().all(|crash| apart(crash.at, crash.at + crash.down + MINUTE))
        && scenario.sleep.is_none_or(|sleep| apart(sleep.from, sleep.until + 20 * MINUTE))
        && from > 0
}

fn unjudged_is_told(history: &AccountHistory) -> Result<(), String> {
    let end = history.scenario.end();
    for cluster in &history.clusters {
        let place = cluster.launch.place;
        let Some(watched) = watched_to_the_end(history, 0, place) else { continue };
        // The time in which it must be judged begins again where its place is found.
        let from = (cluster.launch.created + cluster.launch.list_lag).max(watched).max(1);
        let until = from + JUDGE_WITHIN + 12 * MINUTE;
        let never = cluster.launch.settings.first == crate::accounts::cluster::Fact::Unreadable
            && cluster.launch.settings.change.is_none();
        let lives = cluster.over().is_none_or(|over| over > until);
        let faults = &history.scenario.faults;
        let quiet =
            faults.iter().all(|fault| fault.place != place || fault.until + 10 * MINUTE < from);
        if !never || !lives || until > end || !quiet || !undisturbed(history, from, until) {
            continue;
        }
        let is_told = history.records.iter().any(|record| {
            matches!(&record.what,
                What::Told(AccountNotice::Unjudged(_, id) | AccountNotice::Unsafe(_, id))
                    if *id == cluster.id)
        });
        if !is_told {
            return Err(format!("{} cannot be judged since {from}, and is not told", cluster.id));
        }
    }
    Ok(())
}

fn lost_sight_is_told(history: &AccountHistory) -> Result<(), String> {
    for fault in &history.scenario.faults {
        let lists = matches!(fault.target, Target::Lists | Target::All);
        let is_long = fault.until - fault.from > JUDGE_WITHIN + 8 * INTERVAL;
        let denied = fault.trouble == Trouble::Denied;
        if !lists || !is_long || !denied || !undisturbed(history, fault.from, fault.until) {
            continue;
        }
        let earlier = history.scenario.faults.iter().any(|other| {
            // The first fault that concerns a request decides what happens to it.
            other.place == fault.place && (other.from, other.until) != (fault.from, fault.until)
        });
        let is_told = history.records.iter().any(|record| {
            matches!(&record.what, What::Told(AccountNotice::SightLost(place, _))
                if *place == fault.place && record.at <= fault.until)
        });
        // A place that is gone meanwhile is not listed at all.
        let gone = history.scenario.absences.iter().any(|absence| {
            absence.place == fault.place && !absence.is_apart(fault.from, fault.until)
        });
        if !earlier && !gone && !is_told {
            return Err(format!("place {} cannot be listed, and nobody is told", fault.place));
        }
    }
    Ok(())
}

/// A cluster that passes again in the quiet time, and may not be terminated, is said to.
fn cleared_is_told(history: &AccountHistory) -> Result<(), String> {
    let end = history.scenario.end();
    let mut is_unsafe: BTreeMap<Id, bool> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::Told(AccountNotice::Unsafe(_, id)) => is_unsafe.insert(*id, true),
            What::Told(AccountNotice::Cleared(_, id) | AccountNotice::Over(_, id, _)) => {
                is_unsafe.insert(*id, false)
            }
            _ => continue,
        };
    }
    for (id, told) in is_unsafe {
        let Some(cluster) = history.cluster(id).filter(|_| told) else { continue };
        let Some(watched) = watched_to_the_end(history, 0, cluster.launch.place) else { continue };
        let passes = cluster.passes_from().map(|from| from.max(watched));
        let good = passes.is_some_and(|from| from + 20 * MINUTE < end);
        if good && cluster.ends().is_none() && history.calls.len() < 3_000 {
            return Err(format!("{id} passes again, and is not told"));
        }
    }
    Ok(())
}

//! Places that are found, that go, and that come back.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    accounts::{
        cluster::{Id, Place},
        history::{AccountHistory, Record, What},
        laws::FOUND,
        sentinel::world_time,
    },
    scenario::{MINUTE, Ms, SECOND},
    watch::machine::account::event::{AccountEntry, AccountNotice},
};

/// Since when a sentinel watches a place, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    pub(super) from: Ms,
    pub(super) until: Ms,
}

/// The times in which a sentinel watches a place, or would if it lived.
pub(super) fn watched(history: &AccountHistory, sentinel: usize, place: Place) -> Vec<Watched> {
    let all = Ms::MAX / 4;
    if history.scenario.absences.is_empty() {
        return vec![Watched { from: 0, until: all }];
    }
    let mut times: Vec<Watched> = Vec::new();
    for Record { at, what, .. } in history.of(sentinel) {
        let is_watched = match what {
            What::Started(places) => places.contains(&place),
            What::PlaceFound(found, _) if *found == place => true,
            What::PlaceGone(gone) if *gone == place => false,
            _ => continue,
        };
        match times.last_mut().filter(|last| last.until == all) {
            Some(last) if !is_watched => last.until = *at,
            None if is_watched => times.push(Watched { from: *at, until: all }),
            _ => {}
        }
    }
    times
}

/// Since when this place is watched without an end; none if it is not watched at the end: what is
/// not seen there any more cannot be found, judged or reported, and no law can ask for that.
pub(super) fn watched_to_the_end(
    history: &AccountHistory,
    sentinel: usize,
    place: Place,
) -> Option<Ms> {
    let last = watched(history, sentinel, place).last().copied()?;
    (last.until > history.scenario.end()).then_some(last.from)
}

/// Law (K): nothing is asked of a place that is gone or was not found, and nothing is terminated
/// there.
pub(super) fn nothing_is_asked_elsewhere(history: &AccountHistory) -> Result<(), String> {
    if history.scenario.absences.is_empty() {
        return Ok(());
    }
    for sentinel in 0..history.scenario.sentinels {
        for place in 0..history.scenario.places {
            let times = watched(history, sentinel, place);
            let calls = history.calls.iter().filter(|call| call.sentinel == sentinel);
            for call in calls.filter(|call| call.place == place) {
                if !times.iter().any(|time| (time.from..=time.until).contains(&call.at)) {
                    return Err(format!(
                        "{:?} is called at {} in place {place}, which is not watched",
                        call.operation, call.at
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Law (L): when a place goes, it is reported at once which requested terminations there cannot be
/// confirmed.
pub(super) fn open_ends_are_told(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let mut open: BTreeSet<Id> = BTreeSet::new();
        let mut due: BTreeSet<Id> = BTreeSet::new();
        for Record { at, what, .. } in history.of(sentinel) {
            match what {
                What::Terminate(id) => {
                    open.insert(*id);
                }
                What::Told(
                    AccountNotice::EndConfirmed(_, id)
                    | AccountNotice::EndUnconfirmed(_, id, _)
                    | AccountNotice::Over(_, id, _),
                ) => {
                    open.remove(id);
                    due.remove(id);
                }
                What::PlaceGone(place) => {
                    due = open.iter().copied().filter(|id| is_in(history, *id, *place)).collect();
                }
                // The next one follows what was not reported, if it finds the place.
                What::Killed => due.clear(),
                What::Done => {
                    if let Some(id) = due.first() {
                        return Err(format!("{id} was to end, its place is gone at {at}, untold"));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Law (M): what was reported is not reported again, by a later sentinel either, nor where a place
/// comes back.
pub(super) fn nothing_is_told_twice(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let mut is_unsafe: BTreeSet<Id> = BTreeSet::new();
        let mut unjudged: BTreeSet<Id> = BTreeSet::new();
        for Record { at, what, .. } in history.of(sentinel) {
            match what {
                // A sentinel that is killed between a report and its entry reports it again.
                What::Noted(AccountEntry::ToldUnsafe(_, id)) => {
                    is_unsafe.insert(*id);
                }
                What::Noted(AccountEntry::ToldUnjudged(_, id)) => {
                    unjudged.insert(*id);
                }
                What::Told(AccountNotice::Cleared(_, id)) => {
                    is_unsafe.remove(id);
                }
                What::Told(AccountNotice::Unsafe(_, id)) if is_unsafe.contains(id) => {
                    return Err(format!("{id} is told to be unsafe again at {at}"));
                }
                What::Told(AccountNotice::Unjudged(_, id)) if unjudged.contains(id) => {
                    return Err(format!("{id} is told to be unjudged again at {at}"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Law (N): what lives in a place that is found is looked at soon, whatever was known of it before.
pub(super) fn what_lives_is_judged_again(history: &AccountHistory) -> Result<(), String> {
    let scenario = &history.scenario;
    let disturbed = !scenario.faults.is_empty()
        || !scenario.crashes.is_empty()
        || !scenario.forged.is_empty()
        || scenario.sleep.is_some()
        || scenario.stop.is_some()
        || scenario.once;
    if disturbed || scenario.absences.is_empty() {
        return Ok(());
    }
    // Every question of a busy place waits for the quotas.
    let queue = Ms::try_from(scenario.launches.len()).unwrap_or_default() * 20 * SECOND;
    for sentinel in 0..scenario.sentinels {
        for cluster in &history.clusters {
            let launch = &cluster.launch;
            for time in watched(history, sentinel, launch.place) {
                let seen = time.from.max(launch.created + launch.list_lag);
                let limit = seen + FOUND + MINUTE + queue;
                let lives = cluster.over().is_none_or(|over| over > limit);
                // A place may be gone before a sentinel notices it.
                let is_usable = time.until > limit
                    && scenario.absences.iter().all(|absence| {
                        absence.place != launch.place
                            || absence.from > limit
                            || absence.until.is_some_and(|until| until < seen)
                    });
                if !lives || !is_usable || limit > scenario.end() {
                    continue;
                }
                let looked = history.of(sentinel).any(|record| {
                    (time.from..=limit).contains(&record.at)
                        && matches!(record.what, What::Answered(answer)
                            if answer.id == cluster.id && answer.described.is_some())
                });
                if !looked {
                    return Err(format!(
                        "{} is seen from {seen} on, and not looked at by {limit}",
                        cluster.id
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Law (O): no time counts as seen in which a place was not watched: what is noted as seen is not
/// later than the last list of the place since it is watched, or than the time since when it may
/// have been there unseen.
pub(super) fn only_listed_time_is_seen(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let mut listed: BTreeMap<Place, Ms> = BTreeMap::new();
        for Record { at, what, .. } in history.of(sentinel) {
            match what {
                What::Started(_) => listed.clear(),
                What::PlaceFound(place, since) => {
                    listed.insert(*place, *since);
                }
                What::PlaceGone(place) => {
                    listed.remove(place);
                }
                What::Listed(place, served) => {
                    let last = listed.entry(*place).or_insert(*served);
                    *last = (*last).max(*served);
                }
                What::Noted(AccountEntry::SeenUntil(place, until)) => {
                    let until = world_time(*until);
                    if listed.get(place).is_none_or(|last| *last < until) {
                        return Err(format!(
                            "place {place} counts as seen until {until} at {at}, and was not listed"
                        ));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether this cluster is in this place.
pub(super) fn is_in(history: &AccountHistory, id: Id, place: Place) -> bool {
    history.cluster(id).is_some_and(|cluster| cluster.launch.place == place)
}

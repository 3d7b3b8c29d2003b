//! Which clusters are terminated, when, and how often.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    accounts::{
        cluster::{Cluster, Id},
        engine::ends,
        history::{AccountHistory, Record, What},
        laws::{
            FOUND,
            places::{is_in, watched_to_the_end},
        },
        sentinel::{DRIFT, INTERVAL},
    },
    scenario::{HOUR, MINUTE, Ms},
    watch::machine::account::event::{AccountEntry, AccountNotice},
};

/// So long an answer is awaited.
const ANSWER: Ms = 12 * INTERVAL;
/// From one request, or the second look, to the next request: the pauses of a termination, and an
/// answer that does not come.
const AGAIN: Ms = ANSWER + 2 * MINUTE;
/// From a change of a cluster that was looked at before to the look that shows it: also where
/// something about it cannot be read, so that it is looked at in two ways in turn.
const AGED: Ms = DRIFT + FOUND + 7 * MINUTE;

/// What one life of a sentinel knows about a cluster.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The last second look that failed, or the last request after it.
    confirmed: Option<Ms>,
    /// The number of the last question when it was reported as unsafe.
    told_before: Option<u64>,
    last_number: u64,
    noted: bool,
    accepted: bool,
    ends: bool,
}

/// Law (B): every request to terminate follows a failed fact, a rule that says so, and a second
/// look that was requested after that, failed, and is not old; and it was noted before.
pub(super) fn after_a_second_look(history: &AccountHistory) -> Result<(), String> {
    // A suspension that the machine's clock does not count cannot be noticed.
    let sleep = history.scenario.sleep.filter(|sleep| !sleep.counted);
    let again = AGAIN + sleep.map_or(0, |sleep| sleep.until - sleep.from);
    walk(history, |known, cluster, at| {
        let id = cluster.id;
        if !cluster.launch.ends {
            return Err(format!("{id} is terminated at {at}, and no rule says so"));
        }
        if !known.noted {
            return Err(format!("{id} is terminated at {at} before that is noted"));
        }
        // Where protection is lifted first, that answer, too, may not come.
        let again = again + if cluster.launch.protected { ANSWER } else { 0 };
        match known.confirmed {
            None => Err(format!("{id} is terminated at {at} without a second look")),
            Some(confirmed) if at - confirmed > again => {
                Err(format!("{id} is terminated at {at} by a look of {confirmed}"))
            }
            Some(_) => Ok(()),
        }
    })
}

/// Law (D): nothing is terminated that EMR has said it terminates, or that was seen to end; and it
/// is reported how every termination ended, whoever requested it.
pub(super) fn once_only(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let mut open: BTreeMap<Id, bool> = BTreeMap::new();
        for record in history.of(sentinel) {
            match &record.what {
                What::Terminate(id) => {
                    open.insert(*id, true);
                }
                What::Told(
                    AccountNotice::EndConfirmed(_, id) | AccountNotice::EndUnconfirmed(_, id, _),
                ) => {
                    open.insert(*id, false);
                }
                What::Told(AccountNotice::Over(_, id, _)) if open.get(id) == Some(&true) => {
                    return Err(format!("{id} was terminated, and its end is not told"));
                }
                _ => {}
            }
        }
    }
    walk(history, |known, cluster, at| {
        if known.accepted || known.ends {
            return Err(format!("{} ends already, and is terminated at {at}", cluster.id));
        }
        Ok(())
    })
}

/// Calls `check` for every request to terminate, with what that life of the sentinel knew.
fn walk(
    history: &AccountHistory,
    check: impl Fn(Known, &Cluster, Ms) -> Result<(), String>,
) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let mut known: BTreeMap<Id, Known> = BTreeMap::new();
        // An earlier life saw a failed fact of these.
        let mut told: BTreeSet<Id> = BTreeSet::new();
        for Record { at, what, .. } in history.of(sentinel) {
            match what {
                What::Started(_) => {
                    known.clear();
                    for id in &told {
                        let earlier = Known { told_before: Some(0), ..Known::default() };
                        known.insert(*id, earlier);
                    }
                }
                // A second look of before does not count after that.
                What::PlaceGone(place) => {
                    for (id, known) in &mut known {
                        if is_in(history, *id, *place) {
                            known.confirmed = None;
                        }
                    }
                }
                What::Noted(AccountEntry::ToldUnsafe(_, id)) => {
                    told.insert(*id);
                }
                What::Told(AccountNotice::Cleared(_, id)) => {
                    told.remove(id);
                }
                What::Asked { id, number } => known.entry(*id).or_default().last_number = *number,
                What::Accepted(id) => known.entry(*id).or_default().accepted = true,
                What::Noted(AccountEntry::Ending(_, id)) => {
                    known.entry(*id).or_default().noted = true;
                }
                What::Answered(answer) => {
                    let known = known.entry(answer.id).or_default();
                    let is_second = known
                        .told_before
                        .is_some_and(|before| answer.number.is_some_and(|number| number > before));
                    if answer.failed && answer.fresh && is_second && answer.described.is_some() {
                        known.confirmed = Some(answer.served);
                    } else if answer.fresh && answer.number == Some(known.last_number) {
                        known.confirmed = None;
                    }
                    if answer.failed && known.told_before.is_none() {
                        known.told_before = Some(known.last_number);
                    }
                    known.ends |= answer.described.is_some_and(|(state, _)| ends(state));
                }
                What::Terminate(id) => {
                    let entry = known.entry(*id).or_default();
                    let before = *entry;
                    entry.confirmed = entry.confirmed.map(|_| *at);
                    entry.noted = false;
                    let Some(cluster) = history.cluster(*id) else {
                        return Err(format!("{id} does not exist, and is terminated"));
                    };
                    check(before, cluster, *at)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Law (C): within any hour, no sentinel requests the termination of more clusters than the limit
/// allows.
pub(super) fn within_the_limit(history: &AccountHistory) -> Result<(), String> {
    let limit = usize::try_from(history.scenario.limit).unwrap_or(usize::MAX);
    for sentinel in 0..history.scenario.sentinels {
        let mut last: BTreeMap<Id, Ms> = BTreeMap::new();
        for record in history.of(sentinel) {
            if let What::Terminate(id) = record.what {
                last.insert(id, record.at);
                last.retain(|_, at| record.at - *at < HOUR);
                if last.len() > limit {
                    return Err(format!(
                        "{} terminations in the hour to {}",
                        last.len(),
                        record.at
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Law (H): nothing is terminated that never had a failed fact.
pub(super) fn only_bad_ones(history: &AccountHistory) -> Result<(), String> {
    for record in &history.records {
        if let What::Terminate(id) = record.what
            && history.cluster(id).is_none_or(|cluster| !cluster.was_ever_bad())
        {
            return Err(format!("{id} is good, and is terminated at {}", record.at));
        }
    }
    Ok(())
}

/// Law (F): an unsafe cluster is reported soon, and its termination is requested soon where the
/// rule says so and the limit has room.
pub(super) fn soon(history: &AccountHistory) -> Result<(), String> {
    let scenario = &history.scenario;
    if scenario.stop.is_some() || scenario.once || scenario.sentinels > 1 {
        return Ok(());
    }
    let quiet = scenario.busy_until;
    // Every question of a busy place waits for the quotas.
    let queue = Ms::try_from(scenario.launches.len()).unwrap_or_default() * 20_000;
    for cluster in &history.clusters {
        let Some(bad) = cluster.bad_since() else { continue };
        let listed = cluster.launch.created + cluster.launch.list_lag;
        let launch = &cluster.launch;
        // A fact that changes may be known as it was before, also where no list has shown the
        // cluster yet: an event may have named it.
        let is_steady = launch.settings.change.is_none() && launch.volumes.change.is_none();
        let is_new = is_steady && (bad <= listed || bad <= launch.created + launch.starting);
        let bound = if is_new { FOUND + MINUTE } else { AGED } + queue;
        let Some(watched) = watched_to_the_end(history, 0, launch.place) else { continue };
        let seen = listed.max(bad);
        let from = if scenario.is_calm() { seen.max(0) } else { seen.max(quiet + 8 * MINUTE) };
        // Everything in a place that was just found is looked at as if it were new.
        let from = from.max(watched);
        let limit = from + if scenario.is_calm() { bound } else { AGED + queue };
        let lives = cluster.ends().is_none_or(|ends| ends > limit);
        if limit > scenario.end() || !lives && !was_requested(history, cluster.id, scenario.end()) {
            continue;
        }
        if lives && !is_told(history, cluster.id, limit) {
            return Err(format!(
                "{} is unsafe from {from} on, and not told by {limit}",
                cluster.id
            ));
        }
        if lives
            && cluster.launch.ends
            && !was_requested(history, cluster.id, limit)
            && !is_excused(history, cluster.id, limit)
        {
            return Err(format!(
                "{} is unsafe from {from} on, and not terminated by {limit}",
                cluster.id
            ));
        }
    }
    limited_ones_follow(history)
}

fn is_told(history: &AccountHistory, id: Id, by: Ms) -> bool {
    history.records.iter().any(|record| {
        record.at <= by
            && matches!(&record.what, What::Told(AccountNotice::Unsafe(_, told)) if *told == id)
    })
}

fn was_requested(history: &AccountHistory, id: Id, by: Ms) -> bool {
    history.records.iter().any(|record| {
        record.at <= by && matches!(record.what, What::Terminate(ended) if ended == id)
    })
}

/// Whether the limit is reached, and this was reported.
fn is_excused(history: &AccountHistory, id: Id, by: Ms) -> bool {
    history.records.iter().any(|record| {
        record.at <= by
            && matches!(&record.what, What::Told(AccountNotice::Limited(_, told)) if *told == id)
    })
}

/// Where the limit was reached, the termination follows when the hour has room.
fn limited_ones_follow(history: &AccountHistory) -> Result<(), String> {
    let end = history.scenario.end();
    let limit = usize::try_from(history.scenario.limit).unwrap_or(usize::MAX);
    let from = end - 20 * MINUTE;
    let mut last: BTreeMap<Id, Ms> = BTreeMap::new();
    for record in &history.records {
        // What was noted counts, also where the sentinel was killed before it sent the request.
        if let What::Noted(AccountEntry::Ending(_, id)) = record.what {
            last.insert(id, record.at);
        }
    }
    let recent = last.values().filter(|at| **at > from - HOUR - 5 * MINUTE).count();
    for cluster in &history.clusters {
        let bad = cluster.bad_since().is_some_and(|bad| bad < from - 20 * MINUTE);
        let waits = is_excused(history, cluster.id, from - 10 * MINUTE);
        let lives = cluster.ends().is_none()
            && watched_to_the_end(history, 0, cluster.launch.place).is_some();
        if bad && waits && lives && recent < limit && !was_requested(history, cluster.id, end) {
            return Err(format!("{} waits for the limit, which has room", cluster.id));
        }
    }
    Ok(())
}

//! Every cluster is seen, and forgotten in the end.

use crate::{
    accounts::{
        history::{AccountHistory, What},
        laws::{count, places::watched_to_the_end},
    },
    scenario::{MINUTE, Ms},
    watch::machine::account::event::{AccountEntry, AccountNotice},
};

/// From the end of all faults to the report of a cluster that is over.
const REPORTED: Ms = 18 * MINUTE;
/// How long a cluster that is over may be remembered after its end.
const REMEMBERED: Ms = 23 * MINUTE;

/// So many ids of events may be remembered in a place.
const NAMES: usize = 64;

/// Law (E): every cluster that lived when its place could be seen is found, once, and it is over
/// once, whatever comes between. A cluster is never over that lives.
pub(super) fn found_and_over_once(history: &AccountHistory) -> Result<(), String> {
    let scenario = &history.scenario;
    for sentinel in 0..scenario.sentinels {
        let found = count(history, sentinel, |what| match what {
            What::Told(AccountNotice::Found(_, id)) => Some(*id),
            _ => None,
        });
        let over = count(history, sentinel, |what| match what {
            What::Told(AccountNotice::Over(_, id, _)) => Some(*id),
            _ => None,
        });
        for cluster in &history.clusters {
            let id = cluster.id;
            let times = |of: &std::collections::BTreeMap<u32, u32>| of.get(&id).copied();
            let (found, over) = (times(&found).unwrap_or(0), times(&over).unwrap_or(0));
            if found > 1 || over > 1 || over > found {
                return Err(format!("{id} is found {found} times and over {over} times"));
            }
            let ended = cluster.over().unwrap_or(Ms::MAX / 2);
            if over == 1 && ended > scenario.end() {
                return Err(format!("{id} lives, and is told to be over"));
            }
            if scenario.once || scenario.stop.is_some() {
                continue;
            }
            // The rest can be known of clusters that are seen until the end.
            if watched_to_the_end(history, sentinel, cluster.launch.place).is_none() {
                continue;
            }
            let first_list = first_list(history, sentinel, cluster.launch.place);
            let shown = cluster.launch.created + cluster.launch.list_lag;
            let could_be_seen = first_list.is_some_and(|(first, since)| {
                let at_first = shown <= first && ended + cluster.launch.list_lag > first;
                at_first || cluster.launch.created > since
            });
            let settled = scenario.end() - REPORTED;
            if could_be_seen && shown < settled && found == 0 {
                return Err(format!("{id} could be seen, and was not found"));
            }
            if found == 1 && ended < settled && over == 0 {
                return Err(format!("{id} is over since {ended}, and is not told to be"));
            }
        }
    }
    Ok(())
}

/// When the first list of a place was made, and since when clusters are seen that were created
/// then, also if they were over by the time of the list: in a place that was found, since the time
/// that was said. A kill while it is handled, before it is noted, can lose each of them.
fn first_list(history: &AccountHistory, sentinel: usize, place: u8) -> Option<(Ms, Ms)> {
    let (mut list, mut found, mut since) = (None, None, None);
    let mut is_watched = false;
    // A list from before the place was found does not count.
    let mut from = Ms::MIN;
    for record in history.of(sentinel) {
        match &record.what {
            What::Started(places) => {
                (list, found, is_watched) = (None, None, places.contains(&place));
            }
            What::PlaceFound(of, since) if *of == place => {
                (list, found, is_watched, from) = (None, Some(*since), true, record.at);
            }
            What::PlaceGone(of) if *of == place => (list, is_watched) = (None, false),
            What::Listed(of, served) if is_watched && *of == place && *served >= from => {
                list = list.or(Some(*served));
            }
            // What is noted stays, also if the sentinel is killed then.
            What::Noted(AccountEntry::SeenUntil(of, _)) if *of != place => {}
            What::Done | What::Noted(AccountEntry::SeenUntil(..)) => {
                since = since.or(found.take());
                if let Some(first) = list {
                    return Some((first, since.unwrap_or(first)));
                }
            }
            _ => {}
        }
    }
    None
}

/// Law (I): after a quiet time, no more is remembered than the clusters that live, or were over a
/// short time ago.
pub(super) fn memory_is_bounded(history: &AccountHistory) -> Result<(), String> {
    let end = history.scenario.end();
    let recent = history.clusters.iter().filter(|cluster| {
        // What is known of a place that is gone counts if it comes back.
        let is_gone = (0..history.scenario.sentinels)
            .any(|sentinel| watched_to_the_end(history, sentinel, cluster.launch.place).is_none());
        is_gone || cluster.over().is_none_or(|over| over > end - REMEMBERED)
    });
    // EMR may be asked at this moment about a cluster that an event names.
    let most = recent.count() + usize::from(history.scenario.places);
    if history.peak > history.clusters.len() + NAMES * usize::from(history.scenario.places) {
        return Err(format!("after events, {} are remembered", history.peak));
    }
    match history.remembered.iter().max() {
        Some(remembered) if *remembered > most => {
            Err(format!("{remembered} are remembered of at most {most}"))
        }
        _ => Ok(()),
    }
}

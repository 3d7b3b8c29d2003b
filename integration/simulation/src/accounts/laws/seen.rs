//! Every cluster is seen, and forgotten in the end.

use crate::{
    accounts::{
        history::{AccountHistory, What},
        laws::count,
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
            let first_list = first_list(history, sentinel, cluster.launch.place);
            let shown = cluster.launch.created + cluster.launch.list_lag;
            let could_be_seen = first_list.is_some_and(|first| {
                let at_first = shown <= first && ended + cluster.launch.list_lag > first;
                at_first || cluster.launch.created > first
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

/// The first list of a place that is in the ledger, too: a kill right after a list can lose it.
fn first_list(history: &AccountHistory, sentinel: usize, place: u8) -> Option<Ms> {
    let mut last = None;
    for record in history.of(sentinel) {
        match &record.what {
            What::Listed(of, served) if *of == place => last = Some(*served),
            What::Noted(AccountEntry::SeenUntil(of, _)) if *of == place => return last,
            _ => {}
        }
    }
    None
}

/// Law (I): after a quiet time, no more is remembered than the clusters that live, or were over a
/// short time ago.
pub(super) fn memory_is_bounded(history: &AccountHistory) -> Result<(), String> {
    let end = history.scenario.end();
    let recent = history
        .clusters
        .iter()
        .filter(|cluster| cluster.over().is_none_or(|over| over > end - REMEMBERED));
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

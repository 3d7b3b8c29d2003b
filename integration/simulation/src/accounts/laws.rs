//! The laws of the account watcher: properties of every history, whatever happens in it.

mod ends;
mod once;
mod places;
mod quotas;
mod reports;
mod seen;

use std::collections::BTreeMap;

use crate::{
    accounts::{
        cluster::Id,
        history::{AccountHistory, What},
        sentinel::INTERVAL,
    },
    scenario::{MINUTE, Ms},
};

/// From the time that a list shows it to the first look at a cluster, with the largest pause of
/// lists.
const FOUND: Ms = 4 * INTERVAL + MINUTE;

/// A law: it holds, or the sentence describes the violation.
pub type AccountLaw = fn(&AccountHistory) -> Result<(), String>;

/// All laws, by their names.
pub const LAWS: [(&str, AccountLaw); 15] = [
    ("(A) no cluster that showed a failed fact is unreported", reports::failed_facts_are_told),
    ("(B) nothing ends without rule, failed fact and second look", ends::after_a_second_look),
    ("(C) the limit per hour holds over all places and restarts", ends::within_the_limit),
    ("(D) nothing ends twice without a refusal or a loss", ends::once_only),
    ("(E) every cluster is found once, and over once", seen::found_and_over_once),
    ("(F) an unsafe cluster is told and terminated soon", ends::soon),
    ("(G) quotas are kept, and leave room for launches", quotas::kept),
    ("(H) no cluster ends that never had a failed fact", ends::only_bad_ones),
    ("(I) memory is bounded", seen::memory_is_bounded),
    ("(J) a watch that judges once ends in time and says what is true", once::ends_with_the_truth),
    ("(K) nothing is asked of a place that is not watched", places::nothing_is_asked_elsewhere),
    ("(L) an end in a place that goes is told as unconfirmed", places::open_ends_are_told),
    ("(M) nothing is told twice", places::nothing_is_told_twice),
    ("(N) what lives in a place that is found is judged", places::what_lives_is_judged_again),
    ("(O) only listed time counts as seen", places::only_listed_time_is_seen),
];

/// The laws that a history violates, with a description.
#[must_use]
pub fn check(history: &AccountHistory) -> Vec<(&'static str, String)> {
    LAWS.iter().filter_map(|(law, holds)| holds(history).err().map(|why| (*law, why))).collect()
}

/// How a history violates the law of this name, if it does.
#[must_use]
pub fn broken(history: &AccountHistory, law: &str) -> Option<String> {
    LAWS.iter().find(|(name, _)| *name == law).and_then(|(_, holds)| holds(history).err())
}

/// How often something happened to each cluster.
fn count(
    history: &AccountHistory,
    sentinel: usize,
    of: impl Fn(&What) -> Option<Id>,
) -> BTreeMap<Id, u32> {
    let mut counts = BTreeMap::new();
    for record in history.of(sentinel) {
        if let Some(id) = of(&record.what) {
            *counts.entry(id).or_default() += 1;
        }
    }
    counts
}

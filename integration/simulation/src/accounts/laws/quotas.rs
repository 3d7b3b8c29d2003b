//! EMR's quotas.

use std::collections::BTreeMap;

use crate::{
    accounts::{cluster::Place, history::AccountHistory},
    model::faults::Operation,
    scenario::{MINUTE, Ms},
};

/// So many descriptions must be possible at once after a routine look.
const RESERVE: f64 = 5.0;
/// So many looks at ids that do not exist are allowed within a minute.
const FORGED_PER_MINUTE: usize = 25;

/// Law (G): one sentinel alone never empties the bucket that EMR has for a place, across its
/// restarts; a routine look leaves enough for five launches at once; and forged events cause few
/// calls.
pub(super) fn kept(history: &AccountHistory) -> Result<(), String> {
    for sentinel in 0..history.scenario.sentinels {
        let mut buckets: BTreeMap<(Place, Operation), (Ms, f64)> = BTreeMap::new();
        for call in history.calls.iter().filter(|call| call.sentinel == sentinel) {
            let (burst, refill) = call.operation.quota();
            let bucket = buckets.entry((call.place, call.operation)).or_insert((call.at, burst));
            let seconds =
                f64::from(i32::try_from(call.at - bucket.0).unwrap_or(i32::MAX)) / 1_000.0;
            let left = (bucket.1 + seconds * refill).min(burst) - 1.0;
            *bucket = (call.at, left);
            // Sums of fractions are not exact.
            if left < -1e-6 {
                return Err(format!("too many calls of {:?} at {}", call.operation, call.at));
            }
            if call.routine && call.operation == Operation::Describe && left < RESERVE - 1e-6 {
                return Err(format!("a routine look at {} leaves {left}", call.at));
            }
        }
    }
    few_forged(history)
}

fn few_forged(history: &AccountHistory) -> Result<(), String> {
    let forged: Vec<Ms> = history
        .calls
        .iter()
        .filter(|call| call.forged && call.operation == Operation::Describe && call.sentinel == 0)
        .map(|call| call.at)
        .collect();
    let per_place = FORGED_PER_MINUTE * usize::from(history.scenario.places);
    for window in forged.windows(per_place + 1) {
        if window.last().zip(window.first()).is_some_and(|(last, first)| last - first < MINUTE) {
            return Err(format!("forged events cause more than {per_place} calls in a minute"));
        }
    }
    Ok(())
}

//! EMR's quotas.

use std::collections::BTreeMap;

use crate::{
    history::{History, clock},
    laws::facts::Facts,
    model::faults::Operation,
    scenario::Ms,
};

/// Law (g): the guard's calls alone never empty the bucket that EMR has for all of an account's.
pub(super) fn kept(history: &History, _: &Facts) -> Result<(), String> {
    let mut buckets: BTreeMap<Operation, (Ms, f64)> = BTreeMap::new();
    let mut starts = history.lives.iter().map(|life| life.start).peekable();
    for (at, operation) in &history.calls {
        // A guard that starts cannot know what the one before it used up.
        while starts.next_if(|start| start <= at).is_some() {
            buckets.clear();
        }
        let (burst, refill) = operation.quota();
        let (last, left) = buckets.entry(*operation).or_insert((*at, burst));
        let seconds = f64::from(i32::try_from(at - *last).unwrap_or(i32::MAX)) / 1_000.0;
        *left = (*left + seconds * refill).min(burst) - 1.0;
        *last = *at;
        if *left < 0.0 {
            return Err(format!("{}: too many calls of {operation:?}", clock(*at)));
        }
    }
    Ok(())
}

//! EMR's quotas.

use std::collections::BTreeMap;

use crate::{
    history::{History, clock},
    laws::facts::Facts,
    model::faults::Operation,
    scenario::Ms,
};

/// Law (g): the guards' calls alone never empty the bucket that EMR has for an account. The bucket
/// is one for the whole history: a restarted guard gets no new one.
///
/// And nothing is requested that EMR has already accepted and is doing.
pub(super) fn kept(history: &History, facts: &Facts) -> Result<(), String> {
    for (at, life, id) in &facts.terminations {
        let accepted = facts.accepted.get(&(*life, *id));
        let ends = history.cluster(*id).and_then(|cluster| cluster.terminated);
        if accepted
            .is_some_and(|accepted| accepted < at && ends.is_some_and(|ends| ends <= *accepted))
        {
            return Err(format!(
                "{}: {id:?} is being ended, and is asked to end again",
                clock(*at)
            ));
        }
    }

    let mut buckets: BTreeMap<Operation, (Ms, f64)> = BTreeMap::new();
    for (at, operation) in &history.calls {
        let (burst, refill) = operation.quota();
        let (last, left) = buckets.entry(*operation).or_insert((*at, burst));
        let seconds = f64::from(i32::try_from(at - *last).unwrap_or(i32::MAX)) / 1_000.0;
        *left = (*left + seconds * refill).min(burst) - 1.0;
        *last = *at;
        // Sums of fractions are not exact.
        if *left < -1e-6 {
            return Err(format!("{}: too many calls of {operation:?}", clock(*at)));
        }
    }
    Ok(())
}

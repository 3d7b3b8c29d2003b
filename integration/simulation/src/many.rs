//! What all simulations of many histories share: the laws that failed, the work on all processors,
//! and the search for a history in which a deliberate fault shows.

use std::{collections::BTreeMap, ops::Range, sync::Mutex, thread};

/// The number of failing seeds of one law that are kept.
const EXAMPLES: usize = 5;

/// The laws that failed.
#[derive(Clone, Debug, Default)]
pub struct FailedLaws(BTreeMap<&'static str, Failures>);

/// How often a law failed.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// The number of histories.
    pub count: u64,
    /// The first seeds, with the violations.
    pub examples: Vec<(u64, String)>,
}

impl FailedLaws {
    /// Whether none failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its failures.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Failures)> {
        self.0.iter().map(|(law, failures)| (*law, failures))
    }

    /// A line for each of `laws` that failed, with some seeds.
    #[must_use]
    pub fn text(&self, laws: impl IntoIterator<Item = &'static str>, histories: u64) -> String {
        let mut lines = Vec::new();
        for law in laws {
            let Some(Failures { count, examples }) = self.0.get(law) else { continue };
            lines.push(format!("{law}: {count} of {histories}"));
            lines.extend(examples.iter().map(|(seed, why)| format!("    seed {seed}: {why}")));
        }
        lines.join("\n")
    }

    /// A law failed with this seed.
    pub(crate) fn add(&mut self, law: &'static str, seed: u64, why: String) {
        let failures = self.0.entry(law).or_default();
        failures.count += 1;
        if failures.examples.len() < EXAMPLES {
            failures.examples.push((seed, why));
        }
    }

    /// Adds those of other seeds.
    pub(crate) fn merge(&mut self, other: Self) {
        for (law, more) in other.0 {
            let failures = self.0.entry(law).or_default();
            failures.count += more.count;
            failures.examples.extend(more.examples);
            failures.examples.sort_unstable();
            failures.examples.truncate(EXAMPLES);
        }
    }
}

/// What `add` makes of all these seeds, on every processor; `merge` puts the parts together.
pub(crate) fn on_all_processors<S: Default + Send>(
    seeds: Range<u64>,
    add: impl Fn(&mut S, u64) + Sync,
    merge: impl Fn(&mut S, S),
) -> S {
    let workers = thread::available_parallelism().map_or(2, usize::from) as u64;
    let one = |worker: u64| {
        let mut part = S::default();
        for seed in seeds.clone().filter(|seed| seed % workers == worker) {
            add(&mut part, seed);
        }
        part
    };
    let one = &one;
    let mut all = S::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || one(worker))).collect();
        for worker in running {
            match worker.join() {
                Ok(part) => merge(&mut all, part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}

/// The first of these seeds with which a law fails because of a deliberate fault: without the
/// fault, that law holds. `check` gives the violations with the fault, or without it; `law` names
/// the law of a violation.
#[cfg(feature = "mutants")]
pub(crate) fn caught<V>(
    mut seeds: Range<u64>,
    check: impl Fn(u64, bool) -> Vec<V>,
    law: impl Fn(&V) -> &'static str,
) -> Option<(u64, V)> {
    seeds.find_map(|seed| {
        let found = check(seed, true);
        if found.is_empty() {
            return None;
        }
        let anyway = check(seed, false);
        let is_new = |one: &V| !anyway.iter().any(|other| law(other) == law(one));
        found.into_iter().find(is_new).map(|violation| (seed, violation))
    })
}

/// What `catch` says of each deliberate fault, in their order, on two processors.
///
/// # Panics
/// When `catch` does.
pub fn catch_each<M: Copy + Ord + Send, V: Send>(
    mutants: &[M],
    catch: impl Fn(M) -> Option<V> + Sync,
) -> Vec<(M, Option<V>)> {
    let left = Mutex::new(mutants.to_vec());
    let results = Mutex::new(Vec::new());
    let next = || left.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    let work = || {
        while let Some(mutant) = next() {
            let by = catch(mutant);
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((mutant, by));
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(mutant, _)| *mutant);
    results
}

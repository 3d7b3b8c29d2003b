//! Many histories of repairs, on all processors.

use std::{collections::BTreeMap, ops::Range, thread};

#[cfg(feature = "mutants")]
use crate::reencrypt::machine::mutants::RepairMutant;
use crate::{
    objects::{
        coverage,
        engine::{RepairOptions, run},
        laws::{self, BrokenLaw, REPAIR_LAWS},
    },
    sweep::Failures,
};

/// The number of failing seeds of one law that are kept.
const EXAMPLES: usize = 5;

/// The result of many histories.
#[derive(Clone, Debug, Default)]
pub struct RepairSweep {
    /// So many.
    pub histories: u64,
    /// The number of calls in all of them.
    pub calls: u64,
    /// How often each event occurred.
    pub occurred: BTreeMap<&'static str, u64>,
    /// The laws that failed: how often, and the first seeds, with the violations.
    pub failures: BTreeMap<&'static str, Failures>,
}

impl RepairSweep {
    /// The laws that failed, a line each, with some seeds.
    #[must_use]
    pub fn failures_text(&self) -> String {
        let mut lines = Vec::new();
        for law in REPAIR_LAWS {
            let Some(Failures { count, examples }) = self.failures.get(law) else { continue };
            lines.push(format!("{law}: {count} of {}", self.histories));
            lines.extend(examples.iter().map(|(seed, why)| format!("    seed {seed}: {why}")));
        }
        lines.join("\n")
    }

    /// The expected events that have not occurred.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |what: &&&str| !self.occurred.contains_key(**what);
        coverage::EXPECTED.iter().filter(is_missing).copied().collect()
    }

    fn add(&mut self, seed: u64, options: RepairOptions) {
        let history = run(seed, options);
        self.histories += 1;
        self.calls += u64::from(history.ticks);
        for (what, count) in &history.occurred {
            *self.occurred.entry(what).or_default() += count;
        }
        for (law, why) in laws::check(&history) {
            let failures = self.failures.entry(law).or_default();
            failures.count += 1;
            if failures.examples.len() < EXAMPLES {
                failures.examples.push((seed, why));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.calls += other.calls;
        for (what, count) in other.occurred {
            *self.occurred.entry(what).or_default() += count;
        }
        for (law, more) in other.failures {
            let failures = self.failures.entry(law).or_default();
            failures.count += more.count;
            failures.examples.extend(more.examples);
            failures.examples.sort_unstable();
            failures.examples.truncate(EXAMPLES);
        }
    }
}

/// The first of these seeds with which a law fails because of the deliberate fault: without the
/// fault, that law holds.
#[cfg(feature = "mutants")]
#[must_use]
pub fn catch(mutant: RepairMutant, seeds: Range<u64>) -> Option<(u64, BrokenLaw)> {
    seeds.into_iter().find_map(|seed| {
        let options = RepairOptions { mutant: Some(mutant), ..RepairOptions::default() };
        let found = laws::check(&run(seed, options));
        if found.is_empty() {
            return None;
        }
        let anyway = laws::check(&run(seed, RepairOptions::default()));
        let is_new = |(law, _): &BrokenLaw| !anyway.iter().any(|(other, _)| other == law);
        found.into_iter().find(is_new).map(|broken| (seed, broken))
    })
}

/// Runs the histories of all these seeds, on every processor.
#[must_use]
pub fn sweep(seeds: Range<u64>, options: RepairOptions) -> RepairSweep {
    let workers = thread::available_parallelism().map_or(2, usize::from) as u64;
    let one = |worker: u64| {
        let mut sweep = RepairSweep::default();
        for seed in seeds.clone().filter(|seed| seed % workers == worker) {
            sweep.add(seed, options);
        }
        sweep
    };
    let mut all = RepairSweep::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || one(worker))).collect();
        for worker in running {
            match worker.join() {
                Ok(sweep) => all.merge(sweep),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}

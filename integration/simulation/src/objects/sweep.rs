//! Many histories of repairs, on all processors.

use std::{collections::BTreeMap, ops::Range};

#[cfg(feature = "mutants")]
use crate::{many::caught, reencrypt::machine::mutants::RepairMutant};
use crate::{
    many::{FailedLaws, on_all_processors},
    objects::{
        coverage,
        engine::{RepairOptions, run},
        laws::{self, BrokenLaw, REPAIR_LAWS},
    },
};

/// The result of many histories.
#[derive(Clone, Debug, Default)]
pub struct RepairSweep {
    /// So many.
    pub histories: u64,
    /// The number of calls in all of them.
    pub calls: u64,
    /// How often each event occurred.
    pub occurred: BTreeMap<&'static str, u64>,
    /// The laws that failed.
    pub failures: FailedLaws,
}

impl RepairSweep {
    /// The laws that failed, a line each, with some seeds.
    #[must_use]
    pub fn failures_text(&self) -> String {
        self.failures.text(REPAIR_LAWS.iter().copied(), self.histories)
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
            self.failures.add(law, seed, why);
        }
    }

    fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.calls += other.calls;
        for (what, count) in other.occurred {
            *self.occurred.entry(what).or_default() += count;
        }
        self.failures.merge(other.failures);
    }
}

/// The first of these seeds with which a law fails because of the deliberate fault: without the
/// fault, that law holds.
#[cfg(feature = "mutants")]
#[must_use]
pub fn catch(mutant: RepairMutant, seeds: Range<u64>) -> Option<(u64, BrokenLaw)> {
    let check = |seed, fault: bool| {
        let mutant = fault.then_some(mutant);
        laws::check(&run(seed, RepairOptions { mutant, ..RepairOptions::default() }))
    };
    caught(seeds, check, |(law, _)| *law)
}

/// Runs the histories of all these seeds, on every processor.
#[must_use]
pub fn sweep(seeds: Range<u64>, options: RepairOptions) -> RepairSweep {
    on_all_processors(
        seeds,
        |part: &mut RepairSweep, seed| part.add(seed, options),
        RepairSweep::merge,
    )
}

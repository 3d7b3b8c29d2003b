//! Many histories, on all processors.

use std::ops::Range;

use crate::{
    coverage::Coverage,
    laws::{self, LAWS, Violation, good_runs},
    many::{FailedLaws, on_all_processors},
    run::{Options, run},
    scenario::Ms,
};
#[cfg(feature = "mutants")]
use crate::{many::caught, watch::machine::mutants::Mutant};

/// The result of many histories.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// So many.
    pub histories: u64,
    /// Their coverage.
    pub coverage: Coverage,
    /// How many events each of them had.
    pub events: Vec<u32>,
    /// How much longer than their runners the good runs took, in total, and their number.
    pub longer: (Ms, i64),
    /// The laws that failed.
    pub failures: FailedLaws,
}

impl Sweep {
    /// The number of events in the median history.
    #[must_use]
    pub fn median_events(&self) -> u32 {
        let mut events = self.events.clone();
        events.sort_unstable();
        events.get(events.len() / 2).copied().unwrap_or_default()
    }

    /// The laws that failed, a line each, with some seeds.
    #[must_use]
    pub fn failures_text(&self) -> String {
        self.failures.text(LAWS.iter().map(|(law, _)| *law), self.histories)
    }

    /// How much longer than its runner a good run takes on average, in milliseconds.
    #[must_use]
    pub fn average_longer(&self) -> Ms {
        let (sum, count) = self.longer;
        sum / count.max(1)
    }

    fn add(&mut self, seed: u64, options: Options) {
        let history = run(seed, options);
        if let Some(longer) = good_runs::longer(&history) {
            self.longer.0 += longer;
            self.longer.1 += 1;
        }
        self.histories += 1;
        self.coverage.add(&history);
        self.events.push(u32::try_from(history.events()).unwrap_or(u32::MAX));
        for violation in laws::check(&history) {
            self.failures.add(violation.law, seed, violation.why);
        }
    }

    fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.longer.0 += other.longer.0;
        self.longer.1 += other.longer.1;
        self.coverage.merge(&other.coverage);
        self.events.extend(other.events);
        self.failures.merge(other.failures);
    }
}

/// The first of these seeds with which a law fails because of the deliberate fault: without the
/// fault, that law holds.
#[cfg(feature = "mutants")]
#[must_use]
pub fn catch(mutant: Mutant, seeds: Range<u64>) -> Option<(u64, Violation)> {
    let check =
        |seed, fault: bool| laws::check(&run(seed, Options { mutant: fault.then_some(mutant) }));
    caught(seeds, check, |violation| violation.law)
}

/// Runs the histories of all these seeds, on every processor.
#[must_use]
pub fn sweep(seeds: Range<u64>, options: Options) -> Sweep {
    on_all_processors(seeds, |part: &mut Sweep, seed| part.add(seed, options), Sweep::merge)
}

//! Many histories, on all processors.

use std::{collections::BTreeMap, ops::Range, thread};

#[cfg(feature = "mutants")]
use crate::watch::machine::mutants::Mutant;
use crate::{
    coverage::Coverage,
    laws::{self, LAWS, Violation, good_runs},
    run::{Options, run},
    scenario::Ms,
};

/// The number of failing seeds of one law that are kept.
const EXAMPLES: usize = 5;

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
    /// The laws that failed: how often, and the first seeds, with the violations.
    pub failures: BTreeMap<&'static str, Failures>,
}

/// How often a law failed.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// The number of histories.
    pub count: u64,
    /// The first seeds, with the violations.
    pub examples: Vec<(u64, String)>,
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
        let mut lines = Vec::new();
        for (law, _) in LAWS {
            let Some(Failures { count, examples }) = self.failures.get(law) else { continue };
            lines.push(format!("{law}: {count} of {}", self.histories));
            lines.extend(examples.iter().map(|(seed, why)| format!("    seed {seed}: {why}")));
        }
        lines.join("\n")
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
            let failures = self.failures.entry(violation.law).or_default();
            failures.count += 1;
            if failures.examples.len() < EXAMPLES {
                failures.examples.push((seed, violation.why));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.longer.0 += other.longer.0;
        self.longer.1 += other.longer.1;
        self.coverage.merge(&other.coverage);
        self.events.extend(other.events);
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
pub fn catch(mutant: Mutant, seeds: Range<u64>) -> Option<(u64, Violation)> {
    seeds.into_iter().find_map(|seed| {
        let found = laws::check(&run(seed, Options { mutant: Some(mutant) }));
        if found.is_empty() {
            return None;
        }
        let anyway = laws::check(&run(seed, Options::default()));
        let is_new = |violation: &Violation| !anyway.iter().any(|other| other.law == violation.law);
        found.into_iter().find(is_new).map(|violation| (seed, violation))
    })
}

/// Runs the histories of all these seeds, on every processor.
#[must_use]
pub fn sweep(seeds: Range<u64>, options: Options) -> Sweep {
    let workers = thread::available_parallelism().map_or(2, usize::from) as u64;
    let one = |worker: u64| {
        let mut sweep = Sweep::default();
        for seed in seeds.clone().filter(|seed| seed % workers == worker) {
            sweep.add(seed, options);
        }
        sweep
    };
    let mut all = Sweep::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || one(worker))).collect();
        for worker in running {
            match worker.join() {
                Ok(part) => all.merge(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}

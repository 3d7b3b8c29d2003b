//! Many histories of accounts, on all processors.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    accounts::{
        engine::run,
        history::{AccountHistory, What},
        laws::{self, LAWS},
        sentinel::AccountOptions,
    },
    many::{FailedLaws, on_all_processors},
    watch::machine::account::event::AccountNotice,
};
#[cfg(feature = "mutants")]
use crate::{many::caught, watch::machine::account::mutants::AccountMutant};

/// What must occur in many histories, each at least once.
pub const EXPECTED: &[&str] = &[
    "answer: a second look",
    "answer: a second look passes",
    "answer: a second look is undecided",
    "end: judged once",
    "end: stopped",
    "notice: cleared",
    "notice: end confirmed",
    "notice: end unconfirmed",
    "notice: ending",
    "notice: found",
    "notice: help",
    "notice: limited",
    "notice: over, passed",
    "notice: over, unjudged",
    "notice: over, unsafe",
    "notice: passed",
    "notice: sight back",
    "notice: sight lost",
    "notice: unjudged",
    "notice: unsafe",
    "sentinel: killed",
];

/// The result of many histories.
#[derive(Clone, Debug, Default)]
pub struct AccountSweep {
    /// So many.
    pub histories: u64,
    /// All their records.
    pub records: u64,
    /// What occurred in them, and in how many.
    pub occurred: BTreeMap<&'static str, u64>,
    /// The laws that failed.
    pub failures: FailedLaws,
}

impl AccountSweep {
    /// What is expected and never occurred.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        EXPECTED.iter().copied().filter(|what| !self.occurred.contains_key(what)).collect()
    }

    /// The laws that failed, a line each, with some seeds.
    #[must_use]
    pub fn failures_text(&self) -> String {
        self.failures.text(LAWS.iter().map(|(law, _)| *law), self.histories)
    }

    fn add(&mut self, seed: u64, options: AccountOptions) {
        let history = run(seed, options);
        self.histories += 1;
        self.records += history.records.len() as u64;
        let mut occurred: Vec<&str> =
            history.records.iter().filter_map(|record| name(&record.what, &history)).collect();
        occurred.sort_unstable();
        occurred.dedup();
        for what in occurred {
            *self.occurred.entry(what).or_default() += 1;
        }
        for (law, why) in laws::check(&history) {
            self.failures.add(law, seed, why);
        }
    }

    fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.records += other.records;
        for (what, count) in other.occurred {
            *self.occurred.entry(what).or_default() += count;
        }
        self.failures.merge(other.failures);
    }
}

/// The name of what occurred.
fn name(what: &What, history: &AccountHistory) -> Option<&'static str> {
    use crate::watch::machine::account::event::AccountVerdict as Verdict;
    Some(match what {
        What::Killed => "sentinel: killed",
        What::Answered(answer) if answer.fresh => match (answer.failed, answer.unknown) {
            (true, _) => "answer: a second look",
            (false, true) => "answer: a second look is undecided",
            (false, false) => "answer: a second look passes",
        },
        What::Finished(_) if history.scenario.stop.is_some() => "end: stopped",
        What::Finished(_) => "end: judged once",
        What::Told(notice) => match notice {
            AccountNotice::Found(..) => "notice: found",
            AccountNotice::Passed(..) => "notice: passed",
            AccountNotice::Unsafe(..) => "notice: unsafe",
            AccountNotice::Cleared(..) => "notice: cleared",
            AccountNotice::Unjudged(..) => "notice: unjudged",
            AccountNotice::Limited(..) => "notice: limited",
            AccountNotice::Ending(..) => "notice: ending",
            AccountNotice::Help(..) => "notice: help",
            AccountNotice::EndConfirmed(..) => "notice: end confirmed",
            AccountNotice::EndUnconfirmed(..) => "notice: end unconfirmed",
            AccountNotice::Over(_, _, Verdict::Unsafe) => "notice: over, unsafe",
            AccountNotice::Over(_, _, Verdict::Passed) => "notice: over, passed",
            AccountNotice::Over(_, _, Verdict::Unjudged) => "notice: over, unjudged",
            AccountNotice::SightLost(..) => "notice: sight lost",
            AccountNotice::SightBack(..) => "notice: sight back",
        },
        _ => return None,
    })
}

/// The first of these seeds with which a law fails because of the deliberate fault: without the
/// fault, that law holds.
#[cfg(feature = "mutants")]
#[must_use]
pub fn catch(mutant: AccountMutant, seeds: Range<u64>) -> Option<(u64, (&'static str, String))> {
    let check = |seed, fault: bool| {
        laws::check(&run(seed, AccountOptions { mutant: fault.then_some(mutant) }))
    };
    caught(seeds, check, |(law, _)| *law)
}

/// Runs the histories of all these seeds, on every processor.
#[must_use]
pub fn sweep(seeds: Range<u64>, options: AccountOptions) -> AccountSweep {
    on_all_processors(
        seeds,
        |part: &mut AccountSweep, seed| part.add(seed, options),
        AccountSweep::merge,
    )
}

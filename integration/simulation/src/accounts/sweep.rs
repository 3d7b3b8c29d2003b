//! Many histories of accounts, on all processors.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{
    accounts::{
        cluster::{Cluster, Id},
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
    "place: back",
    "place: back after a restart",
    "place: found for the first time",
    "place: found, a cluster was over meanwhile",
    "place: gone with a question under way",
    "place: gone with a request under way",
    "place: gone with an end open",
    "place: gone with an unsafe cluster",
    "place: gone, and never found",
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
        occurred.extend(of_places(&history));
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

/// What occurred when places were found and went.
fn of_places(history: &AccountHistory) -> BTreeSet<&'static str> {
    let mut occurred = BTreeSet::new();
    if history.scenario.absences.is_empty() {
        return occurred;
    }
    let (mut seen, mut lost) = (BTreeSet::new(), BTreeSet::new());
    let (mut asked, mut requested) = (BTreeSet::new(), BTreeSet::new());
    let (mut is_unsafe, mut open) = (BTreeSet::new(), BTreeSet::new());
    let mut was_restarted = false;
    let place_of = |id: Id| history.cluster(id).map(|cluster| cluster.launch.place);
    for record in history.of(0) {
        match &record.what {
            What::Started(places) => {
                was_restarted = true;
                asked.clear();
                requested.clear();
                lost.retain(|place| !places.contains(place));
                seen.extend(places);
            }
            What::Asked { id, .. } => {
                asked.insert(*id);
            }
            What::Answered(answer) => {
                asked.remove(&answer.id);
            }
            What::Terminate(id) => {
                requested.insert(*id);
                open.insert(*id);
            }
            What::Accepted(id) => {
                requested.remove(id);
            }
            What::Told(AccountNotice::Unsafe(_, id)) => {
                is_unsafe.insert(*id);
            }
            What::Told(AccountNotice::EndUnconfirmed(_, id, _)) => {
                open.remove(id);
            }
            What::Told(AccountNotice::Over(_, id, _)) => {
                is_unsafe.remove(id);
                open.remove(id);
            }
            What::PlaceGone(place) => {
                was_restarted = false;
                lost.insert(*place);
                let here = |ids: &BTreeSet<Id>| ids.iter().any(|id| place_of(*id) == Some(*place));
                for (ids, name) in [
                    (&asked, "place: gone with a question under way"),
                    (&requested, "place: gone with a request under way"),
                    (&is_unsafe, "place: gone with an unsafe cluster"),
                    (&open, "place: gone with an end open"),
                ] {
                    occurred.extend(here(ids).then_some(name));
                }
            }
            What::PlaceFound(place, since) => {
                let is_new = seen.insert(*place);
                occurred.insert(match lost.remove(place) {
                    true if was_restarted => "place: back after a restart",
                    false if is_new => "place: found for the first time",
                    _ => "place: back",
                });
                let was_over = |cluster: &Cluster| {
                    cluster.launch.place == *place
                        && cluster.launch.created > *since
                        && cluster.over().is_some_and(|over| over < record.at)
                };
                if history.clusters.iter().any(was_over) {
                    occurred.insert("place: found, a cluster was over meanwhile");
                }
            }
            _ => {}
        }
    }
    if !lost.is_empty() {
        occurred.insert("place: gone, and never found");
    }
    occurred
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

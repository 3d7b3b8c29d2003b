//! The laws of the account watcher hold in every history, and each deliberate fault of it breaks
//! one.

use emr_simulation::{
    accounts::{
        sentinel::AccountOptions,
        sweep::{catch, sweep},
    },
    many::catch_each,
    watch::machine::account::mutants::AccountMutant,
};

/// So many histories.
const SEEDS: u64 = 20_000;

#[test]
fn every_law_of_the_account_watcher_holds_and_everything_that_can_occur_does() {
    let found = sweep(0..SEEDS, AccountOptions::default());
    assert!(found.failures.is_empty(), "{}", found.failures_text());
    assert_eq!(found.missing(), [""; 0], "never occurred");
}

#[test]
fn every_deliberate_fault_of_the_account_watcher_breaks_a_law() {
    assert!(AccountMutant::ALL.len() >= 30);
    let caught = catch_each(AccountMutant::ALL, |mutant| catch(mutant, 0..SEEDS));
    for (mutant, by) in &caught {
        match by {
            Some((seed, (law, why))) => println!("{mutant:?} → {law} (seed {seed}): {why}"),
            None => println!("{mutant:?} survives {SEEDS} histories"),
        }
    }
    let survivors: Vec<&AccountMutant> =
        caught.iter().filter(|(_, by)| by.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "no law catches {survivors:?}");
}

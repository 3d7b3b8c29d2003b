//! The laws of the account watcher hold in every history, and each deliberate fault of it breaks
//! one.

use emr_simulation::{
    accounts::{
        engine::live_through,
        laws,
        scenario::{AccountScenario, draw},
        sentinel::AccountOptions,
        sweep::{catch, sweep},
    },
    many::catch_each,
    shrink::{Decisions as _, replay, shrink},
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

#[test]
fn a_broken_law_is_shown_by_a_short_history_that_can_be_seen_again() {
    for mutant in [
        AccountMutant::OneLookEnds,
        AccountMutant::LimitForgotten,
        AccountMutant::LimitForgottenAtStart,
        AccountMutant::LostTerminationBlocks,
        AccountMutant::SuspendedLookEnds,
        AccountMutant::NoOverlap,
        AccountMutant::FoundSinceForgotten,
        AccountMutant::GoneForgotten,
    ] {
        let options = AccountOptions { mutant: Some(mutant) };
        let (seed, (law, _)) = catch(mutant, 0..SEEDS).unwrap();
        let why = |scenario: &AccountScenario| {
            laws::broken(&live_through(scenario.clone(), options), law)
        };
        let shrunk = shrink(draw(seed), why).unwrap();
        let short = live_through(shrunk.decisions.clone(), options);
        let count = short.eventful().count();
        let before = live_through(draw(seed), options).eventful().count();
        println!("{mutant:?}: {law}: {count} records, {before} before");
        // Two clusters reach the limit, and one does for all else.
        assert!(short.clusters.len() <= 2 && count <= 60, "{mutant:?}: {}", short.text());
        assert_eq!(laws::broken(&short, law), Some(shrunk.violation));
        // It is the fault that breaks it, and not what is left of the decisions.
        let healthy = live_through(shrunk.decisions.clone(), AccountOptions::default());
        let anyway = laws::check(&healthy);
        assert!(anyway.is_empty(), "{mutant:?}: {anyway:?}\n{}", short.text());
        assert_eq!(replay(draw(seed), &shrunk.path), Some(shrunk.decisions));
    }
}

#[test]
fn every_law_holds_in_all_simpler_histories_too() {
    for seed in 0..60 {
        for (number, simpler) in draw(seed).simpler().into_iter().enumerate() {
            let history = live_through(simpler, AccountOptions::default());
            let broken = laws::check(&history);
            assert!(broken.is_empty(), "seed {seed}, change {number}: {broken:?}");
        }
    }
}

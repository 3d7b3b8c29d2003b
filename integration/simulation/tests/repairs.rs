//! The laws of repairs hold in every history, and each deliberate fault of the state machine breaks
//! one.

use emr_simulation::{
    many::catch_each,
    objects::{
        engine::RepairOptions,
        sweep::{catch, sweep},
    },
    reencrypt::machine::mutants::RepairMutant,
};

/// So many histories.
const SEEDS: u64 = 20_000;

#[test]
fn every_law_of_repairs_holds_and_everything_that_can_occur_does() {
    let found = sweep(0..SEEDS, RepairOptions::default());
    assert!(found.failures.is_empty(), "{}", found.failures_text());
    assert_eq!(found.missing(), [""; 0], "never occurred");
}

#[test]
fn every_deliberate_fault_of_a_repair_breaks_a_law() {
    assert!(RepairMutant::ALL.len() >= 37);
    let caught = catch_each(RepairMutant::ALL, |mutant| catch(mutant, 0..SEEDS));
    for (mutant, by) in &caught {
        match by {
            Some((seed, (law, why))) => println!("{mutant:?} → {law} (seed {seed}): {why}"),
            None => println!("{mutant:?} survives {SEEDS} histories"),
        }
    }
    let survivors: Vec<&RepairMutant> =
        caught.iter().filter(|(_, by)| by.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "no law catches {survivors:?}");
}

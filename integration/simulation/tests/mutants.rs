//! Each deliberate fault of the watcher is detected by a law.

use emr_simulation::{many::catch_each, sweep::catch, watch::machine::mutants::Mutant};

/// The number of histories in which a fault must be detected.
const SEEDS: u64 = 20_000;

#[test]
fn every_deliberate_fault_breaks_a_law() {
    assert!(Mutant::ALL.len() >= 25);
    let caught = catch_each(Mutant::ALL, |mutant| catch(mutant, 0..SEEDS));
    for (mutant, by) in &caught {
        match by {
            Some((seed, violation)) => {
                println!("{mutant:?} → {} (seed {seed}): {}", violation.law, violation.why);
            }
            None => println!("{mutant:?} survives {SEEDS} histories"),
        }
    }
    let survivors: Vec<&Mutant> =
        caught.iter().filter(|(_, by)| by.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "no law catches {survivors:?}");
}

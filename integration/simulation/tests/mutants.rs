//! Each deliberate fault of the watcher is detected by a law.

use std::sync::Mutex;

use emr_simulation::{sweep::catch, watch::machine::mutants::Mutant};

/// The number of histories in which a fault must be detected.
const SEEDS: u64 = 20_000;

#[test]
fn every_deliberate_fault_breaks_a_law() {
    assert!(Mutant::ALL.len() >= 25);
    let left = Mutex::new(Mutant::ALL.to_vec());
    let caught = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(mutant) = left.lock().unwrap().pop() else { return };
            caught.lock().unwrap().push((mutant, catch(mutant, 0..SEEDS)));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut caught = caught.into_inner().unwrap();
    caught.sort_by_key(|(mutant, _)| *mutant);
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

//! Checks small scopes in every order.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::sync::Mutex;

use emr_simulation::{
    exhaustive::{Visit, explore, scope::SCOPES},
    run::Options,
    watch::machine::mutants::Mutant,
};

/// The maximum number of states of each scope.
const MOST: usize = 250_000;

/// Searches all scopes, on two threads.
fn explore_all(most: usize, options: Options) -> Vec<(&'static str, Visit)> {
    let left = Mutex::new(SCOPES.to_vec());
    let visits = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(scope) = left.lock().unwrap().pop() else { return };
            let visit = explore(&scope, most, options);
            visits.lock().unwrap().push((scope.name, visit));
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(work);
        work();
    });
    visits.into_inner().unwrap()
}

#[test]
fn the_laws_hold_in_every_order_of_the_small_scopes() {
    let began = std::time::Instant::now();
    let visits = explore_all(MOST, Options::default());
    for (name, visit) in &visits {
        println!("{name}: {} states, {} ends", visit.states, visit.ends);
    }
    println!("{:.1} s", began.elapsed().as_secs_f64());
    for (name, visit) in &visits {
        assert!(visit.failure.is_none(), "{}", visit.failure.clone().unwrap_or_default());
        assert!(visit.is_complete, "{name} has more than {MOST} states");
        assert!(visit.ends > 0, "{name} has no end");
    }
}

#[test]
fn the_small_scopes_are_large_enough_to_show_what_is_wrong() {
    for mutant in [
        Mutant::OtherTagIgnored,
        Mutant::InFlightForgotten,
        Mutant::UnseenPasses,
        Mutant::AcceptedIsOver,
    ] {
        let visits = explore_all(MOST, Options { mutant: Some(mutant) });
        let failure = visits.iter().find_map(|(_, visit)| visit.failure.as_deref());
        let first = failure.and_then(|failure| failure.lines().next());
        println!("{mutant:?} → {first:?}");
        assert!(first.is_some(), "{mutant:?} is not found");
    }
}

//! The cost of the pre-flight: the longest chain of dependent calls, counted without a clock.

use emr_simulator::{Command as Set, Rounds};

use crate::support::Stage;

#[test]
fn the_pre_flight_of_twelve_buckets_takes_fewer_than_six_round_trips() {
    let stage = Stage::with_twelve_buckets().argument("--use-persistent-jobflow");
    // In rounds mode every reply waits until no more requests come: the number of rounds is the
    // longest chain.
    stage.set(Set::Rounds(Rounds { on: true, quiet_ms: 300 }));
    let played = stage.check();
    played.expect_code(0);
    let buckets = played.report["facts"]["buckets"].as_object().unwrap().len();
    assert!(buckets >= 12, "{buckets}");
    let rounds = stage.sim.rounds();
    assert!((1..6).contains(&rounds), "{rounds} rounds");
}

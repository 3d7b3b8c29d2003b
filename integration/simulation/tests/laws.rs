//! The laws hold in every history.

use emr_simulation::{run::Options, sweep::sweep};

#[test]
fn the_laws_hold_in_twenty_thousand_histories_and_everything_occurs_in_them() {
    let began = std::time::Instant::now();
    let found = sweep(0..20_000, Options::default());
    println!("{}", found.coverage.text());
    println!("20000 histories in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(found.coverage.missing(), Vec::<&str>::new(), "never occurred");
    assert_eq!(found.coverage.unexpected(), Vec::<&str>::new(), "occurred unexpectedly");
    assert!(found.median_events() >= 50, "the median history has {} events", found.median_events());
    assert!(found.longer.1 > 2_000, "{} good runs", found.longer.1);
    let longer = found.average_longer();
    assert!(longer <= 1_000, "a good run takes {longer} ms longer than its runner");
    assert!(found.failures.is_empty(), "{}", found.failures_text());
}

//! x
fn main() {
    let t = std::time::Instant::now();
    let n: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2000);
    let mut events: Vec<usize> = Vec::new();
    let mut lives = 0; let mut open = 0;
    for seed in 0..n { let h = emr_simulation::run::run(seed, Default::default()); events.push(h.events()); lives += h.lives.len(); open += usize::from(h.closed.is_none()); }
    events.sort();
    println!("{:?} per history, median {} events, p99 {} max {}, lives {lives}, open {open}", t.elapsed() / u32::try_from(n).unwrap(), events[events.len()/2], events[events.len()*99/100], events[events.len()-1]);
    if let Some(seed) = std::env::args().nth(2) { println!("{}", emr_simulation::run::run(seed.parse().unwrap(), Default::default()).text()); }
}

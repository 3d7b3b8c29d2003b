//! x
use std::collections::BTreeMap;
fn main() {
    let t = std::time::Instant::now();
    let n: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2000);
    let mut seen: BTreeMap<&str, (u32, Vec<(u64, String)>)> = BTreeMap::new();
    for seed in 0..n { let h = emr_simulation::run::run(seed, Default::default());
        for v in emr_simulation::laws::check(&h) { let e = seen.entry(v.law).or_default(); e.0 += 1; if e.1.len() < 6 { e.1.push((seed, v.why)); } }
    }
    println!("{:?} per history", t.elapsed() / u32::try_from(n).unwrap());
    for (law, (count, some)) in seen { println!("{law}: {count}"); for (seed, why) in some { println!("   {seed}: {why}"); } }
    if let Some(seed) = std::env::args().nth(2) { println!("{}", emr_simulation::run::run(seed.parse().unwrap(), Default::default()).text()); }
}

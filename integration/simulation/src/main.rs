//! `simulate [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]`: runs
//! histories, prints the laws that failed with a simple history of each, and the coverage. Exit
//! code 1 if a law fails, or something expected never occurred.

use std::{ops::Range, process::ExitCode, time::Instant};

use emr_simulation::{
    draw::draw,
    history::History,
    laws,
    run::{Options, live_through, run},
    shrink::shrink,
    sweep::{Sweep, catch, sweep},
    watch::machine::mutants::Mutant,
};

const HELP: &str = "simulate [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]

  --seeds FROM..TO  the histories of these seeds; without it: 0..20000
  --mutant NAME     with this deliberate fault in the watcher
  --history SEED    prints the history of one seed, and the laws that fail in it
  --mutants COUNT   prints which law catches each deliberate fault, in so many histories";

/// The requested action.
#[derive(Debug)]
struct Request {
    seeds: Range<u64>,
    history: Option<u64>,
    mutants: Option<u64>,
    options: Options,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request =
        Request { seeds: 0..20_000, history: None, mutants: None, options: Options::default() };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| HELP.to_owned())?;
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no seed\n\n{HELP}"));
        match flag.as_str() {
            "--seeds" => {
                let (from, to) = value.split_once("..").ok_or_else(|| HELP.to_owned())?;
                request.seeds = number(from)?..number(to)?;
            }
            "--mutants" => request.mutants = Some(number(&value)?),
            "--history" => request.history = Some(number(&value)?),
            "--mutant" => {
                let mutant = Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == value);
                let known = format!("{value} is none of {:?}", Mutant::ALL);
                request.options.mutant = Some(*mutant.ok_or(known)?);
            }
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(request)
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(64)
        }
        Ok(Request { history: Some(seed), options, .. }) => {
            let history = run(seed, options);
            println!("{}", history.text());
            report(&history)
        }
        Ok(Request { mutants: Some(count), .. }) => catch_mutants(count),
        Ok(Request { seeds, options, .. }) => {
            let began = Instant::now();
            let found = sweep(seeds, options);
            let spent = began.elapsed();
            println!("{}", found.coverage.text());
            println!(
                "{} histories in {:.1} s; the median has {} events",
                found.histories,
                spent.as_secs_f64(),
                found.median_events()
            );
            println!(
                "{} good runs, each {} ms longer than its runner on average",
                found.longer.1,
                found.average_longer()
            );
            explain(&found, options)
        }
    }
}

/// Prints the law that detects each deliberate fault.
fn catch_mutants(count: u64) -> ExitCode {
    let mut survivors = 0;
    for mutant in Mutant::ALL {
        match catch(*mutant, 0..count) {
            Some((seed, violation)) => println!("{mutant:?}: {} (seed {seed})", violation.law),
            None => {
                survivors += 1;
                println!("{mutant:?}: NOT CAUGHT in {count} histories");
            }
        }
    }
    println!("{} deliberate faults, {survivors} not caught", Mutant::ALL.len());
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(history: &History) -> ExitCode {
    let violations = laws::check(history);
    for violation in &violations {
        println!("{}: {}", violation.law, violation.why);
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shows a simple history for each law that failed.
fn explain(found: &Sweep, options: Options) -> ExitCode {
    for (law, failures) in &found.failures {
        let Some((seed, _)) = failures.examples.first() else { continue };
        let (scenario, violation) = shrink(draw(*seed), law, options);
        println!("\n=== {law}\n=== seed {seed}, made simpler:\n");
        println!("{}", live_through(scenario, options).text());
        println!("{}", violation.map(|violation| violation.why).unwrap_or_default());
    }
    let missing = found.coverage.missing();
    if !missing.is_empty() {
        println!("never occurred: {missing:?}");
    }
    println!("{}", found.failures_text());
    if found.failures.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

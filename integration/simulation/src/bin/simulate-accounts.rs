//! `simulate-accounts [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]`: runs
//! histories of the sentinel, prints the laws that failed with a simple history of each, and the
//! coverage. Exit code 1 if a law fails, or something expected never occurred.

use std::{ops::Range, process::ExitCode, time::Instant};

use emr_simulation::{
    accounts::{
        engine::run,
        history::AccountHistory,
        laws,
        sentinel::AccountOptions,
        sweep::{AccountSweep, catch, sweep},
    },
    watch::machine::account::mutants::AccountMutant,
};

const HELP: &str =
    "simulate-accounts [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]

  --seeds FROM..TO  the histories of these seeds; without it: 0..20000
  --mutant NAME     with this deliberate fault in the machine
  --history SEED    prints the history of one seed, and the laws that fail in it
  --mutants COUNT   prints which law catches each deliberate fault, in so many histories";

/// The requested action.
#[derive(Debug)]
struct Request {
    seeds: Range<u64>,
    history: Option<u64>,
    mutants: Option<u64>,
    options: AccountOptions,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let options = AccountOptions::default();
    let mut request = Request { seeds: 0..20_000, history: None, mutants: None, options };
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
                let named = |mutant: &&AccountMutant| format!("{mutant:?}") == value;
                let known = format!("{value} is none of {:?}", AccountMutant::ALL);
                request.options.mutant = Some(*AccountMutant::ALL.iter().find(named).ok_or(known)?);
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
        Ok(Request { history: Some(seed), options, .. }) => report(&run(seed, options)),
        Ok(Request { mutants: Some(count), .. }) => catch_mutants(count),
        Ok(Request { seeds, options, .. }) => {
            let began = Instant::now();
            let found = sweep(seeds, options);
            let spent = began.elapsed();
            for (what, count) in &found.occurred {
                println!("{count:>10}  {what}");
            }
            println!(
                "{} histories with {} records in {:.1} s",
                found.histories,
                found.records,
                spent.as_secs_f64()
            );
            explain(&found)
        }
    }
}

/// Prints the law that detects each deliberate fault.
fn catch_mutants(count: u64) -> ExitCode {
    let mut survivors = 0;
    for mutant in AccountMutant::ALL {
        match catch(*mutant, 0..count) {
            Some((seed, (law, _))) => println!("{mutant:?}: {law} (seed {seed})"),
            None => {
                survivors += 1;
                println!("{mutant:?}: NOT CAUGHT in {count} histories");
            }
        }
    }
    println!("{} deliberate faults, {survivors} not caught", AccountMutant::ALL.len());
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(history: &AccountHistory) -> ExitCode {
    println!("{}", history.text());
    let broken = laws::check(history);
    for (law, why) in &broken {
        println!("{law}: {why}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what failed, and what never occurred.
fn explain(found: &AccountSweep) -> ExitCode {
    let missing = found.missing();
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
